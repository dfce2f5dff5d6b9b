"""What a checkpoint costs: how long training stands still, how long a save takes, and what checking it adds.

    python -m benchmarks.checkpoint [--megabytes 100] [--repeats 10]

A training state of that size, most of it a puzzle table, is saved again and again while compiled training steps go on.
"blocks" is the time that `Checkpoints.save` keeps the loop; "published" the time until the step has its manifest and
its name; "step" that of a training step, alone and while a save is under way; "verified" what reading all files and
comparing them with the manifest takes, as before every restore; "restored" that and the arrays.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.machine import describe
from trm_jax.config import Experiment, ModelConfig, TrainConfig
from trm_jax.devices.host_memory import keep_memory
from trm_jax.devices.sharding import ALONE
from trm_jax.runs import manifest
from trm_jax.runs.checkpoint import FOLDER, Checkpoints
from trm_jax.runs.meta import Meta
from trm_jax.training.program import like, no_metrics
from trm_jax.training.step import TrainState, init_state, train_step
from trm_jax.training.supervision import Batch

RESULTS = Path(__file__).parent / "results" / "checkpoint.jsonl"
_ROW = 512
BATCH = 64


def experiment_of(megabytes: float) -> Experiment:
    """A small model with a puzzle table of about so many MB."""
    rows = int(megabytes * 1e6) // (4 * _ROW)
    model = ModelConfig(
        vocab_size=11, seq_len=16, num_puzzles=rows, width=64, mixer="mlp", positions="none", puzzle_dim=_ROW,
        puzzle_tokens=8, dtype="float32",
    )  # fmt: skip
    return Experiment("checkpoint", model=model, train=TrainConfig(batch_size=BATCH))


def size_of(state: TrainState) -> int:
    """Bytes."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(state))


def main() -> None:
    """Measures, prints and appends a row to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--repeats", type=int, default=10)
    args = parser.parse_args()
    keep_memory()  # as `trm` does
    experiment = experiment_of(args.megabytes)
    state, totals = jax.jit(init_state, static_argnums=0)(experiment), no_metrics(experiment, ALONE)
    # As after some training; the zeros of a fresh table would be compressed to nothing.
    table = jax.random.normal(jax.random.key(1), (experiment.model.num_puzzles, _ROW))
    state = replace(state, weights=replace(state.weights, puzzle_table=table))
    cells = jax.random.randint(jax.random.key(0), (BATCH, experiment.model.seq_len), 1, 11)
    batch = Batch(cells, cells, jnp.arange(BATCH, dtype=jnp.int32))
    step = jax.jit(train_step, static_argnums=0, donate_argnums=1)
    state, _ = step(experiment, state, batch)
    jax.block_until_ready(state)
    seconds: dict[str, list[float]] = {
        name: [] for name in ("step_alone", "blocks", "step_beside_save", "published", "verified", "restored")
    }

    def steps(name: str, until: float) -> None:
        nonlocal state
        while time.perf_counter() < until:
            start = time.perf_counter()
            state, _ = step(experiment, state, batch)
            jax.block_until_ready(state)
            seconds[name].append(time.perf_counter() - start)

    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        with Checkpoints(workdir) as checkpoints:
            for repeat in range(1 + args.repeats):
                steps("step_alone", time.perf_counter() + 0.5)
                here = replace(state, step=jnp.asarray(repeat + 1, jnp.int32))
                start = time.perf_counter()
                checkpoints.save(here, totals, Meta(experiment))
                blocked = time.perf_counter() - start
                state = replace(state, step=jnp.asarray(0, jnp.int32))
                steps("step_beside_save", time.perf_counter() + 0.1)
                checkpoints.wait()
                if repeat:  # the first one also compiles the copy
                    seconds["blocks"].append(blocked)
                    seconds["published"].append(time.perf_counter() - start)
        newest = workdir / FOLDER / str(1 + args.repeats)
        on_disk = sum(path.stat().st_size for path in newest.rglob("*") if path.is_file())
        for _ in range(args.repeats):
            start = time.perf_counter()
            if wrong := manifest.fault(newest):
                raise SystemExit(wrong)
            seconds["verified"].append(time.perf_counter() - start)
            with Checkpoints(workdir) as checkpoints:
                start = time.perf_counter()
                jax.block_until_ready(checkpoints.restore(*like(experiment, ALONE)))
                seconds["restored"].append(time.perf_counter() - start)
    row: dict[str, Any] = {
        "state_mb": round(size_of(state) / 1e6, 1),
        "on_disk_mb": round(on_disk / 1e6, 1),
        "repeats": args.repeats,
    }
    for name, values in seconds.items():
        row |= _milliseconds(name, values)
    for name, value in row.items():
        print(f"{name:32}{value}")
    with RESULTS.open("a") as file:
        file.write(json.dumps(row | describe()) + "\n")


def _milliseconds(name: str, values: Sequence[float]) -> dict[str, float]:
    ms = 1e3 * np.asarray(values)
    return {
        f"{name}_ms_median": round(statistics.median(ms), 2),
        f"{name}_ms_min": round(float(ms.min()), 2),
        f"{name}_ms_max": round(float(ms.max()), 2),
    }


if __name__ == "__main__":
    main()
