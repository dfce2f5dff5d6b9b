"""What training costs beside the compiled step: from the command to the first step, and between steps.

    python -m benchmarks.overhead [--config=experiments/demo.py] [--steps 200] [--repeats 5]

First step: `trm train` in a process of its own, from its start to the line that tells of the first step, with nothing
compiled before (cold) and with what that run has kept (warm).
Between steps: `trm_jax.runs.train.train`, which logs and saves as the experiment says but does not evaluate, against
the same number of calls of the same compiled program one after the other; both take turns in one process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.machine import describe
from trm_jax.commands.arguments import load_experiment
from trm_jax.config import Experiment
from trm_jax.console import hush
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.order import Position
from trm_jax.devices.sharding import layout_of
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics
from trm_jax.training.feed import Feed
from trm_jax.training.program import advance, fresh_state, no_metrics, settled

RESULTS = Path(__file__).parent / "results" / "overhead.jsonl"


def first_step(words: list[str], cache: Path) -> float:
    """Seconds from the start of a `trm train` to its first finished step; it is ended then."""
    short = ["--config.train.steps=1", "--config.train.eval_every=0"]
    command = [sys.executable, "-m", "trm_jax", "train", *words, *short]
    with tempfile.TemporaryDirectory() as workdir:
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, f"--workdir={workdir}/run"],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)},
        ) as process:
            assert process.stderr is not None
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("first step done"):
                    seconds = time.perf_counter() - start
                    process.communicate()
                    return seconds
    raise SystemExit("no first step:\n" + "".join(lines))


def calls_alone(experiment: Experiment, steps: int) -> Callable[[], float]:
    """A measurement: seconds of so many steps of the compiled program, one call after the other."""
    puzzles = dataset.load(experiment.data, "train", experiment.train.seed)
    resolved = resolve(experiment, puzzles)
    layout, at_once = layout_of(resolved), resolved.devices.steps_per_call
    here = settled(resolved, layout)
    feed = Feed(puzzles, resolved, layout)

    def measure() -> float:
        state, totals = fresh_state(here, layout), no_metrics(here, layout)
        place = layout.everywhere(Position(*map(np.int32, Position())))
        with feed:
            for number, source in enumerate(feed.sources(Position(), [at_once] * (1 + steps // at_once))):
                if number == 1:  # the first is not counted, as in training
                    jax.block_until_ready(totals)
                    start = time.perf_counter()
                state, totals, place, _ = advance(here, layout, at_once, state, totals, place, source, None)
            jax.block_until_ready(totals)
            return time.perf_counter() - start

    return measure


def whole_training(experiment: Experiment, steps: int) -> Callable[[], float]:
    """A measurement: seconds that `train` takes for so many steps, by its own rows of figures."""
    at_once, every, batch_size = (
        experiment.devices.steps_per_call,
        experiment.train.log_every,
        experiment.train.batch_size,
    )
    total = -(-(at_once + steps) // every) * every
    longer = replace(experiment, train=replace(experiment.train, steps=total, eval_every=0))

    def measure() -> float:
        with tempfile.TemporaryDirectory() as workdir:
            train(longer, Path(workdir) / "run")
            paces = [row["time/puzzles_per_second"] for row in read_metrics(Path(workdir) / "run")]
        # Its clock starts after the first call, whose compilation is no part of a step.
        counts = [every - at_once] + [every] * (len(paces) - 1)
        seconds = sum(count * batch_size / pace for count, pace in zip(counts, paces, strict=True) if pace)
        return seconds * steps / sum(counts)

    return measure


def main() -> None:
    """Measures, prints and appends a row to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which the rows are appended")
    args, words = parser.parse_known_args()
    words = words if any(word.startswith("--config=") for word in words) else ["--config=experiments/demo.py", *words]
    experiment = load_experiment(words)
    cold, warm = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(first_step(words, Path(cache)))
            warm.append(first_step(words, Path(cache)))
    hush()
    ways = {"alone": calls_alone(experiment, args.steps), "training": whole_training(experiment, args.steps)}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(1 + args.repeats):
        for name, measure in ways.items():
            took = measure()
            if repeat:
                seconds[name].append(took)
    outside = [1 - alone / whole for alone, whole in zip(seconds["alone"], seconds["training"], strict=True)]
    row: dict[str, Any] = {
        "experiment": experiment.name,
        "batch": experiment.train.batch_size,
        "steps_per_call": experiment.devices.steps_per_call,
        "first_step_cold_seconds": [round(s, 2) for s in cold],
        "first_step_warm_seconds": [round(s, 2) for s in warm],
        "steps": args.steps,
        "step_alone_ms_median": round(1e3 * statistics.median(seconds["alone"]) / args.steps, 3),
        "step_training_ms_median": round(1e3 * statistics.median(seconds["training"]) / args.steps, 3),
        "outside_median": round(statistics.median(outside), 4),
        "outside_min": round(min(outside), 4),
        "outside_max": round(max(outside), 4),
    }
    for name, value in row.items():
        print(f"{name:28}{value}")
    with args.results.open("a") as file:
        file.write(json.dumps(row | describe()) + "\n")


if __name__ == "__main__":
    main()
