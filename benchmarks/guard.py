"""What it costs to look at every step whether its numbers are finite, and to skip it if they are not.

    python -m benchmarks.guard [--config=experiments/sudoku_mlp.py] [--batch 8] [--repeats 10]

The training step as it is against the same step that takes every update to be sound, which lets the compiler remove
the guard; both take turns in one process.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from benchmarks.machine import describe
from benchmarks.turns import fields, print_rows, take_turns
from trm_jax.commands.arguments import load_experiment
from trm_jax.config import Experiment
from trm_jax.training.memory import compile_step
from trm_jax.training.step import init_state
from trm_jax.training.supervision import Batch

RESULTS = Path(__file__).parent / "results" / "guard.jsonl"


class Step:
    """A compiled training step and its state."""

    def __init__(self, experiment: Experiment) -> None:
        model, rows = experiment.model, experiment.train.batch_size
        cells = jax.random.randint(jax.random.key(0), (rows, model.seq_len), 1, model.vocab_size)
        self._batch = Batch(cells, cells, jnp.zeros((rows,), jnp.int32))
        self._state = jax.jit(init_state, static_argnums=0)(experiment)
        self._step = compile_step(experiment)
        self.run()

    def run(self) -> float:
        """Makes one step and tells its seconds."""
        start = time.perf_counter()
        self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
        return time.perf_counter() - start

    def figures(self) -> dict[str, Any]:
        """Nothing besides."""
        return {}


def _always(*_: jax.Array) -> jax.Array:
    return jnp.ones((), bool)


def main() -> None:
    """Measures, prints and appends the rows to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=10)
    args, words = parser.parse_known_args()
    words = words if any(w.startswith("--config=") for w in words) else ["--config=experiments/sudoku_mlp.py", *words]
    experiment = load_experiment(words)
    experiment = replace(experiment, train=replace(experiment.train, batch_size=args.batch))
    guarded = Step(experiment)
    jax.clear_caches()  # or else the step that was traced for the first would be compiled again
    with mock.patch("trm_jax.training.step.is_sound", _always):
        bare = Step(experiment)
    variants = {"bare": bare, "guarded": guarded}
    times = take_turns(variants, args.repeats)
    about = {"experiment": experiment.name, "batch": args.batch, "dtype": experiment.model.dtype}
    rows = [about | {"variant": name} | fields(times, name, "bare", args.batch) for name in variants]
    print_rows(rows)
    with RESULTS.open("a") as file:
        for row in rows:
            file.write(json.dumps(row | describe()) + "\n")


if __name__ == "__main__":
    main()
