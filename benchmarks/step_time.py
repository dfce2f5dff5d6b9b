"""Time, memory and rate of one training step of an experiment on this machine.

    python -m benchmarks.step_time --config=experiments/sudoku_mlp.py [--config.model.dtype=float32] \\
        [--batch 768] [--repeats 10]

Puzzles are random tokens: what a step costs does not depend on them. The rate counts matrix products (trm estimate).
"""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.machine import describe
from trm_jax.cli import load_experiment
from trm_jax.estimate import estimate
from trm_jax.planner import compile_step, memory_of
from trm_jax.planner import describe as describe_memory
from trm_jax.step import init_state
from trm_jax.supervision import Batch

RESULTS = Path(__file__).parent / "results" / "step_time.jsonl"


def main() -> None:
    """Measures one experiment, prints a line and appends it to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=10)
    args, rest = parser.parse_known_args()
    experiment = load_experiment(rest)
    model = replace(experiment.model, num_puzzles=experiment.model.num_puzzles or 1_000)
    experiment = replace(experiment, model=model, train=replace(experiment.train, batch_size=args.batch))

    state = jax.jit(init_state, static_argnums=0)(experiment)
    cells = jax.random.randint(jax.random.key(0), (args.batch, model.seq_len), 1, model.vocab_size)
    batch = Batch(cells, cells, jnp.zeros((args.batch,), jnp.int32))
    start = time.perf_counter()
    step = compile_step(experiment)
    compile_seconds = time.perf_counter() - start
    times = []
    for _ in range(args.repeats + 2):
        start = time.perf_counter()
        state, metrics = step(state, batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - start)
    times = times[2:]
    median = statistics.median(times)
    stats = jax.devices()[0].memory_stats() or {}
    needs = memory_of(step)
    measured = stats.get("peak_bytes_in_use")
    row = {
        "experiment": experiment.name,
        "dtype": model.dtype,
        "policy": describe_memory(experiment.memory),
        "batch": args.batch,
        "seconds_median": round(median, 5),
        "seconds_min": round(min(times), 5),
        "seconds_max": round(max(times), 5),
        "compile_seconds": round(compile_seconds, 1),
        "puzzles_per_second": round(args.batch / median, 1),
        "tflop_per_second": round(estimate(experiment).flops_per_step / median / 1e12, 3),
        "temporary_gb_compiled": round(needs.temporary / 1e9, 3),
        "peak_gb_compiled": round(needs.peak / 1e9, 3),
        "peak_gb_measured": round(measured / 1e9, 3) if measured else None,
        "compiled_by_measured": round(needs.peak / measured, 3) if measured else None,
    }
    for name, value in row.items():
        print(f"{name:24}{value}")
    with RESULTS.open("a") as file:
        file.write(json.dumps(row | describe()) + "\n")


if __name__ == "__main__":
    main()
