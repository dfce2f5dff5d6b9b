"""Puzzles a second of evaluation, with a fixed number of supervision steps and with early halting and refilled rows.

    python -m benchmarks.inference RUN [PUZZLES] [--steps 16] [--batch-size 256] [--repeats 5] [--halt-above 0]

RUN is a workdir of `trm train` or `trm demo`; PUZZLES a table or a dataset folder (the experiment's own held-out ones).
Both ways take turns in one process, after each has run once and is compiled.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import describe
from trm_jax import dataset
from trm_jax.checkpoint import load
from trm_jax.dataset import PuzzleSet
from trm_jax.inference import Effort, attempt
from trm_jax.model import Model, Weights
from trm_jax.puzzles.symmetry import Tokens

RESULTS = Path(__file__).parent / "results" / "inference.jsonl"
WAYS = ("fixed", "halting")


def run(
    model: Model, weights: Weights, effort: Effort, puzzles: PuzzleSet, batch_size: int
) -> tuple[float, Tokens, NDArray[np.int32]]:
    """Seconds of one pass over the puzzles, the last answers [N, S], and the supervision steps taken [N]."""
    start = time.perf_counter()
    parts = list(attempt(model, weights, effort, puzzles.inputs, puzzles.puzzle_ids, batch_size))
    seconds = time.perf_counter() - start
    answers = np.concatenate([part.answers[:, 0, -1] for part in parts])
    return seconds, answers, np.concatenate([part.steps[:, 0] for part in parts])


def measure(
    run_path: Path, source: str, steps: int, batch_size: int, repeats: int, limit: int, halt_above: float
) -> dict[str, Any]:
    """Both ways on the same puzzles: their rates, accuracies and steps, and how far they agree."""
    experiment, weights = load(run_path)
    model = Model(experiment.model)
    puzzles = dataset.load_named(experiment, source, "test", limit)
    labels = np.asarray(puzzles.labels)
    efforts = {"fixed": Effort((steps,)), "halting": Effort((steps,), halting=True, halt_above=halt_above)}
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    figures: dict[str, Any] = {}
    answers: dict[str, Tokens] = {}
    for repeat in range(1 + repeats):
        for way in WAYS:
            took, answers[way], taken = run(model, weights, efforts[way], puzzles, batch_size)
            if repeat == 0:
                exact = ((answers[way] == labels) | (labels == 0)).all(axis=1).mean()
                figures |= {
                    f"{way}_first_seconds": round(took, 2),  # with compilation
                    f"{way}_exact": float(exact),
                    f"{way}_mean_steps": float(taken.mean()),
                }
            else:
                seconds[way].append(took)
    for way in WAYS:
        rates = [len(puzzles) / took for took in seconds[way]]
        figures |= {
            f"{way}_puzzles_per_second_median": round(statistics.median(rates), 1),
            f"{way}_puzzles_per_second_min": round(min(rates), 1),
            f"{way}_puzzles_per_second_max": round(max(rates), 1),
        }
    speedups = [fixed / halting for fixed, halting in zip(seconds["fixed"], seconds["halting"], strict=True)]
    return {
        "experiment": experiment.name,
        "puzzles": len(puzzles),
        "steps": steps,
        "batch_size": batch_size,
        "repeats": repeats,
        "halt_above": halt_above,
        **figures,
        "speedup_median": round(statistics.median(speedups), 2),
        "speedup_min": round(min(speedups), 2),
        "speedup_max": round(max(speedups), 2),
        "same_answers": float((answers["fixed"] == answers["halting"]).all(axis=1).mean()),
    }


def main() -> None:
    """Measures, prints the table and appends it to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("puzzles", nargs="?", default="")
    parser.add_argument("--steps", type=int, default=16, help="supervision steps at most (16)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=int, default=0, help="only the first so many puzzles")
    parser.add_argument("--halt-above", type=float, default=0.0, help="the q_halt that it takes to halt (0)")
    args = parser.parse_args()
    row = measure(args.run, args.puzzles, args.steps, args.batch_size, args.repeats, args.limit, args.halt_above)
    print(f"{row['puzzles']} puzzles, at most {row['steps']} supervision steps, {row['batch_size']} at a time")
    print(f"{'':>8}{'puzzles/s':>12}{'min':>10}{'max':>10}{'exact':>9}{'steps':>8}")
    for way in WAYS:
        median, least, most = (row[f"{way}_puzzles_per_second_{which}"] for which in ("median", "min", "max"))
        print(
            f"{way:>8}{median:>12,.0f}{least:>10,.0f}{most:>10,.0f}{row[f'{way}_exact']:>9.2%}"
            f"{row[f'{way}_mean_steps']:>8.2f}"
        )
    spread = f"{row['speedup_min']} to {row['speedup_max']}"
    print(
        f"halting is {row['speedup_median']} times as fast ({spread}); {row['same_answers']:.2%} of answers are equal"
    )
    with RESULTS.open("a") as file:
        file.write(json.dumps(row | describe()) + "\n")


if __name__ == "__main__":
    main()
