"""Time, memory and rate of one training step on this machine, beside the original's in PyTorch where that is given.

    python -m benchmarks.step_time --config=experiments/sudoku_mlp.py [--config.model.dtype=float32] \\
        [--batch 768] [--repeats 10] [--reference PATH [--reference-python EXE] [--variants ours,eager,compiled]]

PATH is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels, and EXE a Python that has torch, numpy, einops
and pydantic. Each variant of the original has a process of its own, which sleeps unless it is asked for a step; all
variants have the same sizes, batch, dtype and cores, and take turns: a round is a step of each, one after the other,
and then matrix products of the model's sizes, whose rate is what utilisation is relative to. On a GPU all of them hold
their memory at the same time; where that is too much, name fewer variants.

Puzzles are random tokens: what a step costs does not depend on them. Rates count matrix products (trm estimate).
On a CPU, ours keeps its memory from step to step as `trm` does (trm_jax/devices/host_memory.py), and the original has
its own allocator as it comes.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.machine import describe, faults_told
from benchmarks.matmul import Products
from benchmarks.original import Original, check_checkout, check_loss, order_for
from benchmarks.turns import Times, Variant, device_peak, fields, forget_peak, growth, publish, resident, take_turns
from trm_jax.commands.arguments import load_experiment
from trm_jax.config import Experiment, MemoryConfig
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import estimate
from trm_jax.training.memory import compile_step, memory_of
from trm_jax.training.planner import describe as describe_memory
from trm_jax.training.step import init_state
from trm_jax.training.supervision import Batch

RESULTS = Path(__file__).parent / "results" / "step_time.jsonl"
# Steps before any is counted, the first, which compiles, included.
WARM = 3
VARIANTS = ("ours", "eager", "compiled")


class Ours:
    """The compiled step of this package."""

    def __init__(self, experiment: Experiment, batch: Batch) -> None:
        self._before = resident(os.getpid(), "VmRSS")
        self._batch = batch
        self._state = jax.jit(init_state, static_argnums=0)(experiment)
        start = time.perf_counter()
        self._step = compile_step(experiment)
        self._compile_seconds = time.perf_counter() - start
        self._first_seconds = self._compile_seconds + self.run()
        forget_peak(os.getpid())

    def run(self) -> float:
        """Makes one step and tells its seconds."""
        start = time.perf_counter()
        self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
        seconds = time.perf_counter() - start
        check_loss("ours", float(metrics["loss"]))
        return seconds

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        needs = memory_of(self._step)
        measured = device_peak()
        return {
            "compile_seconds": round(self._compile_seconds, 1),
            "first_seconds": round(self._first_seconds, 1),
            "temporary_gb_compiled": round(needs.temporary / 1e9, 3),
            "peak_gb_compiled": round(needs.peak / 1e9, 3),
            "peak_gb_measured": measured,
            "compiled_by_measured": round(needs.peak / 1e9 / measured, 3) if measured else None,
            "peak_gb_resident": growth(self._before, os.getpid()),
        }


def measure(
    experiment: Experiment, names: Sequence[str], repeats: int, checkout: Path | None, python: str
) -> list[dict[str, Any]]:
    """A row for each variant of the step; experiment: with all sizes filled in."""
    model, rows = experiment.model, experiment.train.batch_size
    cells = jax.random.randint(jax.random.key(0), (rows, model.seq_len), 1, model.vocab_size)
    batch = Batch(cells, cells, jnp.zeros((rows,), jnp.int32))
    trained = estimate(experiment).trained
    with ExitStack() as processes:
        variants: dict[str, Variant] = {}
        for name in names:
            if name == "ours":
                variants[name] = Ours(experiment, batch)
            elif checkout is not None:
                order = order_for(experiment, "train", [batch], name == "compiled", WARM + repeats)
                variants[name] = original = Original(python, checkout, order, trained)
                processes.callback(original.close)
                print(f"the original, {name}, trains {original.parameters:,} parameters, and ours {trained:,}")
        for variant in variants.values():
            for _ in range(WARM - 1):
                variant.run()
        # Before the products, which need memory of their own.
        figures = {name: variant.figures() for name, variant in variants.items()}
        products = Products(experiment)
        times = take_turns(variants, repeats, products.measure)
    return [_row(experiment, name, times, products.best) | figures[name] | describe() for name in variants]


def _row(experiment: Experiment, name: str, times: Mapping[str, Times], best: tuple[str, float]) -> dict[str, Any]:
    batch = experiment.train.batch_size
    # What the original computes again for its gradient is nothing.
    memory = experiment.memory if name == "ours" else MemoryConfig()
    rate = estimate(replace(experiment, memory=memory)).flops_per_step / times[name].median
    return {
        "experiment": experiment.name,
        "dtype": experiment.model.dtype,
        "variant": name,
        "policy": describe_memory(memory) if name == "ours" else None,
        "batch": batch,
        **fields(times, name, "ours", batch),
        "tflop_per_second": round(rate / 1e12, 3),
        "utilisation": round(rate / best[1], 3),
        "product": best[0],
        "product_tflop_per_second": round(best[1] / 1e12, 3),
    }


def main() -> None:
    """Measures one experiment, prints a column for each variant and appends them to the results."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--reference-python", default=sys.executable, metavar="EXE", help="a Python that has torch")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="with --reference: which of them, with commas")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which the rows are appended")
    args, rest = parser.parse_known_args()
    with faults_told():
        names = args.variants.split(",") if args.reference else ["ours"]
        if unknown := set(names) - set(VARIANTS):
            raise ConfigError(f"--variants {args.variants}: {unknown.pop()!r} is none of {', '.join(VARIANTS)}")
        if min(args.batch, args.repeats) < 1:
            raise ConfigError("--batch and --repeats: give numbers from 1 on")
        if args.reference:
            check_checkout(args.reference)
            # The processes share a GPU, so ours may not take all its memory at once.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        experiment = load_experiment(rest)
        model = replace(experiment.model, num_puzzles=experiment.model.num_puzzles or 1_000)
        experiment = replace(experiment, model=model, train=replace(experiment.train, batch_size=args.batch))
        rows = measure(experiment, names, args.repeats, args.reference, args.reference_python)
    publish(rows, args.results)


if __name__ == "__main__":
    main()
