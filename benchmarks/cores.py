"""Time of one training step on this CPU as one device and as several, the batch in one piece and in parts.

    python -m benchmarks.cores --config=experiments/demo.py [--batch 96] [--rounds 8] [--ways 1x1,2x1,2x4,2x16,auto]

A way is DEVICESxPARTS: so many devices of one thread each (1: one device with all threads), and so many micro-batches
of each device's rows; `auto` is what `trm train` does by itself (trm_jax/devices/cores.py). Each has a process of its
own, which sleeps unless it is asked for a step, and they take turns; the first one named is what the others are
compared with. Puzzles are random tokens: what a step costs does not depend on them.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import faults_told
from benchmarks.turns import fields, publish, take_turns
from trm_jax.commands.arguments import load_experiment
from trm_jax.config import Experiment
from trm_jax.devices.cores import use_cores
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError

RESULTS = Path(__file__).parent / "results" / "cores.jsonl"
# Of a turn, at least: a step of a small model is over in a moment.
SECONDS = 1.0


class Way:
    """A process that trains in one way."""

    def __init__(self, name: str, words: list[str]) -> None:
        self._name = name
        command = [sys.executable, "-m", "benchmarks.cores", "--work", name, *words]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._told = json.loads(self._answer())

    def run(self) -> float:
        """Seconds of a step, of several made one after the other."""
        assert self._process.stdin is not None
        self._process.stdin.write("again\n")
        self._process.stdin.flush()
        return float(self._answer())

    def figures(self) -> dict[str, Any]:
        """See turns.Variant."""
        return dict(self._told)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConfigError(f"--ways: {self._name} cannot be run; its process said why")
        return line


def work(experiment: Experiment, way: str) -> None:
    """Makes steps in one way whenever a line comes in; tells what it is, and then seconds a step."""
    if way == "auto":
        use_cores()
    elif not way.startswith("1x"):
        use_cores(int(way.partition("x")[0]))
    keep_memory()
    import jax
    import jax.numpy as jnp

    from benchmarks.machine import describe
    from trm_jax.devices.sharding import BY_ROWS, EVERYWHERE, layout_of
    from trm_jax.training.program import fresh_state, settled
    from trm_jax.training.step import state_specs, train_step
    from trm_jax.training.supervision import Batch

    if way != "auto":
        parts = int(way.partition("x")[2])
        experiment = replace(experiment, memory=replace(experiment.memory, micro_batches=parts))
    layout = layout_of(experiment)
    here = settled(experiment, layout)
    rows, model = experiment.train.batch_size, experiment.model
    cells = jax.random.randint(jax.random.key(0), (rows, model.seq_len), 1, model.vocab_size)
    batch = layout.spread(jax.device_get(Batch(cells, cells, jnp.zeros((rows,), jnp.int32))))
    specs = state_specs(here, layout)
    together = layout.by_each(
        lambda state, batch: train_step(here, state, batch, layout), (specs, BY_ROWS), (specs, EVERYWHERE)
    )
    step = jax.jit(together, donate_argnums=0)
    state = fresh_state(here, layout)
    began = time.perf_counter()
    for _ in range(3):
        state, _ = jax.block_until_ready(step(state, batch))
    seconds = time.perf_counter() - began
    once = time.perf_counter()
    state, _ = jax.block_until_ready(step(state, batch))
    count = max(1, round(SECONDS / (time.perf_counter() - once)))
    told = {"devices": layout.count, "micro_batches": here.memory.micro_batches, "first_seconds": round(seconds, 1)}
    print(json.dumps(describe() | told), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        for _ in range(count):
            state, _ = jax.block_until_ready(step(state, batch))
        print((time.perf_counter() - began) / count, flush=True)


def measure(experiment: Experiment, ways: list[str], rounds: int, words: list[str]) -> list[dict[str, Any]]:
    """A row for each way."""
    from benchmarks.matmul import Products
    from trm_jax.model.estimate import estimate

    batch = experiment.train.batch_size
    with ExitStack() as processes:
        variants: dict[str, Way] = {}
        for way in ways:
            variants[way] = Way(way, words)
            processes.callback(variants[way].close)
        products = Products(experiment)
        times = take_turns(variants, rounds, products.measure)
        name, rate = products.best
    flops = estimate(experiment).flops_per_step
    rows = []
    for way, variant in variants.items():
        reached = flops / times[way].median
        row = {"experiment": experiment.name, "dtype": experiment.model.dtype, "way": way, "batch": batch}
        row |= fields(times, way, ways[0], batch) | {"utilisation": round(reached / rate, 3)}
        rows.append(row | {"product": name, "product_tflop_per_second": round(rate / 1e12, 4)} | variant.figures())
    return rows


def main() -> None:
    """Measures one experiment, prints a column for each way and appends them to the results."""
    keep_memory()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=0, help="rows of a step (the experiment's)")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--ways", default="1x1,2x1,auto", help="DEVICESxPARTS or auto, with commas")
    parser.add_argument("--work", metavar="WAY", help=argparse.SUPPRESS)
    args, rest = parser.parse_known_args()
    with faults_told():
        experiment = load_experiment(rest)
        model = replace(experiment.model, num_puzzles=experiment.model.num_puzzles or 1_000)
        batch = args.batch or experiment.train.batch_size
        experiment = replace(experiment, model=model, train=replace(experiment.train, batch_size=batch))
        if args.work:
            work(experiment, args.work)
            return
        rows = measure(experiment, args.ways.split(","), args.rounds, [*rest, f"--batch={batch}"])
    publish(rows, RESULTS)


if __name__ == "__main__":
    main()
