"""Time, memory and rate of one training step on this machine, beside the original's in PyTorch where that is given.

    python -m benchmarks.step_time --config=experiments/sudoku_mlp.py [--config.model.dtype=float32] \\
        [--batch 768] [--repeats 10] [--reference PATH [--reference-python EXE] [--variants ours,eager,compiled]]

PATH is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels, and EXE a Python that has torch, numpy, einops
and pydantic. Each variant of the original has a process of its own, which sleeps unless it is asked for a step; all
variants have the same sizes, batch, dtype and cores, and take turns: a round is a step of each, one after the other,
and then matrix products of the model's sizes, whose rate is what utilisation is relative to. On a GPU all of them hold
their memory at the same time; where that is too much, name fewer variants.

Puzzles are random tokens: what a step costs does not depend on them. Rates count matrix products (trm estimate).
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from benchmarks.matmul import Products
from trm_jax.cli import load_experiment
from trm_jax.config import Experiment, MemoryConfig, differences
from trm_jax.errors import ConfigError, TrmError
from trm_jax.estimate import estimate
from trm_jax.original import experiment_of
from trm_jax.planner import compile_step, memory_of
from trm_jax.planner import describe as describe_memory
from trm_jax.step import init_state
from trm_jax.supervision import Batch

if TYPE_CHECKING:
    from benchmarks.reference import Order

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "step_time.jsonl"
# Steps before any is counted, the first, which compiles, included.
WARM = 3
VARIANTS = ("ours", "eager", "compiled")


@dataclass(frozen=True)
class Times:
    """Seconds of one variant's steps, one for each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """From the fastest to the slowest, relative to the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median

    def over(self, other: "Times") -> dict[str, float]:
        """How many times as long as the other's steps these take, told in three ways."""
        rounds = [mine / its for mine, its in zip(self.seconds, other.seconds, strict=True)]
        return {
            "of_medians": self.median / other.median,
            "of_minima": min(self.seconds) / min(other.seconds),
            "median_of_rounds": statistics.median(rounds),
        }


class Variant(Protocol):
    """One way to make the same training step."""

    def step(self) -> float:
        """Makes one and tells its seconds."""

    def figures(self) -> dict[str, Any]:
        """What is known of it besides, after at least one step: fields of its row."""


class Ours:
    """The compiled step of this package."""

    def __init__(self, experiment: Experiment, batch: Batch) -> None:
        self._before = resident(os.getpid(), "VmRSS")
        self._batch = batch
        self._state = jax.jit(init_state, static_argnums=0)(experiment)
        start = time.perf_counter()
        self._step = compile_step(experiment)
        self._compile_seconds = time.perf_counter() - start
        self._first_seconds = self._compile_seconds + self.step()
        forget_peak(os.getpid())

    def step(self) -> float:
        """Makes one and tells its seconds."""
        start = time.perf_counter()
        self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
        seconds = time.perf_counter() - start
        _check_loss("ours", float(metrics["loss"]))
        return seconds

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        needs = memory_of(self._step)
        measured = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
        return {
            "compile_seconds": round(self._compile_seconds, 1),
            "first_seconds": round(self._first_seconds, 1),
            "temporary_gb_compiled": round(needs.temporary / 1e9, 3),
            "peak_gb_compiled": round(needs.peak / 1e9, 3),
            "peak_gb_measured": round(measured / 1e9, 3) if measured else None,
            "compiled_by_measured": round(needs.peak / measured, 3) if measured else None,
            "peak_gb_resident": _growth(self._before, os.getpid()),
        }


class Original:
    """The original's step, in a process of its own (benchmarks/reference.py)."""

    def __init__(self, python: str, checkout: Path, order: "Order", trained: int) -> None:
        """Starts the process and makes the first step, which compiles.

        Args:
          python: that has torch.
          checkout: of the original.
          order: what to run.
          trained: how many parameters it is to have.

        Raises:
          ConfigError: one line that says what the process lacks.
        """
        self._name = "the original, " + ("compiled" if order["compiled"] else "eager")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process does
        try:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.reference", str(checkout.resolve())],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            raise ConfigError(f"--reference-python {python}: {error.strerror}") from None
        try:
            self._begin(order, trained)
        except BaseException:
            self.close()
            raise

    def step(self) -> float:
        """Makes one and tells its seconds."""
        self._ask("step")
        told = self._answer()
        _check_loss(self._name, told["loss"])
        self._bytes = told["bytes"]
        return float(told["seconds"])

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        return {
            "first_seconds": round(self._first_seconds, 1),
            "peak_gb_measured": round(self._bytes / 1e9, 3) if self._bytes else None,
            "peak_gb_resident": _growth(self._before, self._process.pid),
            "torch": self._version,
        }

    def close(self) -> None:
        """Ends the process; may be called again."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _begin(self, order: "Order", trained: int) -> None:
        self._version = self._answer()["torch"]
        self._before = resident(self._process.pid, "VmRSS")
        self._ask(json.dumps(order))
        self.parameters = int(self._answer()["parameters"])
        if self.parameters != trained:
            raise ConfigError(f"{self._name} trains {self.parameters:,} parameters, and ours {trained:,}")
        self._first_seconds = self.step()
        forget_peak(self._process.pid)

    def _ask(self, line: str) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer tells why
            print(line, file=self._process.stdin, flush=True)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {"error": self._last_words()}
        if "error" in told:
            raise ConfigError(f"{self._name} does not run: {told['error']}")
        return dict(told)

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"its process ended with status {code}")


def order_for(experiment: Experiment, batch: Batch, compiled: bool, steps: int) -> "Order":
    """The experiment in the original's words, to be run for so many steps.

    Raises:
      ConfigError: the original has no such model.
    """
    m, o, train = experiment.model, experiment.optim, experiment.train
    arch = {
        "halt_exploration_prob": m.exploration,
        "halt_max_steps": m.supervision_steps,
        "H_cycles": m.cycles,
        "L_cycles": m.latent_steps,
        "H_layers": 0,
        "L_layers": m.layers,
        "hidden_size": m.width,
        "num_heads": m.heads,
        "expansion": m.expansion,
        "puzzle_emb_ndim": m.puzzle_dim,
        "puzzle_emb_len": m.puzzle_tokens,
        "pos_encodings": m.positions,
        "rope_theta": m.rope_theta,
        "rms_norm_eps": m.norm_eps,
        "forward_dtype": m.dtype,
        "mlp_t": m.mixer == "mlp",
        "no_ACT_continue": not experiment.loss.continue_head,
    }
    metadata = {"vocab_size": m.vocab_size, "seq_len": m.seq_len, "num_puzzle_identifiers": m.num_puzzles}
    there = experiment_of({"kind": "trm"} | arch | metadata)
    same = replace(experiment, model=there.model, loss=there.loss, optim=replace(o, atan2_form="original"))
    other = differences(same, experiment)
    if other:
        raise ConfigError(f"the original cannot run this experiment, by config.{other[0]}")
    backend = jax.default_backend()
    if backend not in ("cpu", "gpu"):
        raise ConfigError(f"the original runs on CPUs and GPUs, and this is a {backend}")
    config = {
        "arch": arch
        | {
            "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
            "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
        },
        "data_paths": [],
        "global_batch_size": train.batch_size,
        "epochs": max(train.steps, steps),
        "lr": o.learning_rate,
        "lr_min_ratio": o.min_ratio,
        "lr_warmup_steps": o.warmup_steps,
        "weight_decay": o.weight_decay,
        "beta1": o.beta1,
        "beta2": o.beta2,
        "puzzle_emb_lr": o.puzzle_learning_rate,
        "puzzle_emb_weight_decay": o.puzzle_weight_decay,
        "ema": True,
        "ema_rate": o.ema_decay,
    }
    return {
        "compiled": compiled,
        "device": "cuda" if backend == "gpu" else "cpu",
        "threads": len(os.sched_getaffinity(0)),
        "config": config,
        # An epoch of so many puzzles is one step.
        "metadata": metadata | {"total_groups": train.batch_size, "mean_puzzle_examples": 1},
        "batch": {
            "inputs": np.asarray(batch.inputs).tolist(),
            "labels": np.asarray(batch.labels).tolist(),
            "puzzle_identifiers": np.asarray(batch.puzzle_ids).tolist(),
        },
    }


def resident(pid: int, field: str) -> int | None:
    """Bytes of a process's memory by Linux's account, now (VmRSS) or at most (VmHWM); None where nobody keeps one."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)


def forget_peak(pid: int) -> None:
    """Lets VmHWM begin anew, so that what compilation needed is not counted."""
    control = Path(f"/proc/{pid}/clear_refs")
    if control.exists():
        control.write_text("5")


def take_turns(variants: Mapping[str, Variant], products: Products, repeats: int) -> dict[str, Times]:
    """So many rounds, in each of which every variant makes a step."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            seconds[name].append(variant.step())
        products.measure()
    return {name: Times(tuple(values)) for name, values in seconds.items()}


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
                order = order_for(experiment, batch, name == "compiled", WARM + repeats)
                variants[name] = original = Original(python, checkout, order, trained)
                processes.callback(original.close)
                print(f"the original, {name}, trains {original.parameters:,} parameters, and ours {trained:,}")
        for variant in variants.values():
            for _ in range(WARM - 1):
                variant.step()
        # Before the products, which need memory of their own.
        figures = {name: variant.figures() for name, variant in variants.items()}
        products = Products(experiment)
        times = take_turns(variants, products, repeats)
    return [_row(experiment, name, times, products.best) | figures[name] | describe() for name in variants]


def _row(experiment: Experiment, name: str, times: Mapping[str, Times], best: tuple[str, float]) -> dict[str, Any]:
    batch, mine = experiment.train.batch_size, times[name]
    # What the original computes again for its gradient is nothing.
    memory = experiment.memory if name == "ours" else MemoryConfig()
    rate = estimate(replace(experiment, memory=memory)).flops_per_step / mine.median
    ratios = mine.over(times["ours"]) if "ours" in times and name != "ours" else {}
    return {
        "experiment": experiment.name,
        "dtype": experiment.model.dtype,
        "variant": name,
        "policy": describe_memory(memory) if name == "ours" else None,
        "batch": batch,
        "rounds": len(mine.seconds),
        "seconds_median": round(mine.median, 5),
        "seconds_min": round(min(mine.seconds), 5),
        "seconds_max": round(max(mine.seconds), 5),
        "spread": round(mine.spread, 3),
        **{f"times_ours_{way}": round(ratio, 3) for way, ratio in ratios.items()},
        "puzzles_per_second": round(batch / mine.median, 1),
        "tflop_per_second": round(rate / 1e12, 3),
        "utilisation": round(rate / best[1], 3),
        "product": best[0],
        "product_tflop_per_second": round(best[1] / 1e12, 3),
    }


def _growth(before: int | None, pid: int) -> float | None:
    most = resident(pid, "VmHWM")
    return None if before is None or most is None else round((most - before) / 1e9, 3)


def _check_loss(name: str, loss: float) -> None:
    if not math.isfinite(loss):
        raise ConfigError(f"{name}: the loss is {loss}, so its time means nothing")


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        print(f"{name:27}" + "".join(f"{'' if row.get(name) is None else row[name]!s:>26}" for row in rows))


def main() -> None:
    """Measures one experiment, prints a column for each variant and appends them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--reference-python", default=sys.executable, metavar="EXE", help="a Python that has torch")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="with --reference: which of them, with commas")
    args, rest = parser.parse_known_args()
    try:
        names = args.variants.split(",") if args.reference else ["ours"]
        if unknown := set(names) - set(VARIANTS):
            raise ConfigError(f"--variants {args.variants}: {unknown.pop()!r} is none of {', '.join(VARIANTS)}")
        if min(args.batch, args.repeats) < 1:
            raise ConfigError("--batch and --repeats: give numbers from 1 on")
        if args.reference:
            if not (args.reference / "pretrain.py").is_file():
                raise ConfigError(f"--reference {args.reference}: no pretrain.py there, so it is no checkout")
            # The processes share a GPU, so ours may not take all its memory at once.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        experiment = load_experiment(rest)
        model = replace(experiment.model, num_puzzles=experiment.model.num_puzzles or 1_000)
        experiment = replace(experiment, model=model, train=replace(experiment.train, batch_size=args.batch))
        rows = measure(experiment, names, args.repeats, args.reference, args.reference_python)
    except TrmError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    _print(rows)
    with RESULTS.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
