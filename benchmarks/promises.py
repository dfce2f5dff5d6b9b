"""Whether a confidence keeps what it promises: many random splits of one set into calibration and all the rest.

    python -m benchmarks.promises MODEL PUZZLES --calibrated 3000 --confidence 0.99 [--steps N] [--splits 100]

MODEL is what `trm calibrate` takes, PUZZLES a table or a dataset folder. Every puzzle is tried once. Each split draws
so many puzzles for the calibration; of the rest it counts the answers that are given and those of them that are
wrong. A split is over where more than 1 - confidence of these are: of the rest, a sample of its own, so that some
splits may be over by chance though the promise is kept.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe, faults_told
from benchmarks.turns import publish
from trm_jax.data.fit import matched
from trm_jax.devices.cores import use_cores
from trm_jax.errors import ConfigError
from trm_jax.inference.confidence import Evidence, calibrate, gather
from trm_jax.inference.effort import Effort
from trm_jax.inference.statistics import calibration
from trm_jax.model.model import Model
from trm_jax.runs.sources import load, trained_on

RESULTS = Path(__file__).parent / "results" / "promises.jsonl"


def kept(found: Evidence, calibrated: int, confidence: float, delta: float, splits: int) -> dict[str, Any]:
    """What comes of a promise in random splits.

    Args:
      found: of all puzzles.
      calibrated: so many of them make each calibration.

    Returns:
      silent: splits in which it could not be made. Of the others: over, in how many of them the rest has a larger share
      of wrong answers; and means over them: answered, the share of the rest, and wrong, of these.
    """
    silent, over, answered, wrong = 0, 0, [], []
    for split in range(splits):
        order = np.random.default_rng(split).permutation(len(found.right))
        made, rest = order[:calibrated], order[calibrated:]
        trusted = calibrate(Evidence(found.names, found.signals[made], found.right[made]), confidence, delta, split)
        try:
            promise = trusted.promise(confidence)
        except ConfigError:
            silent += 1
            continue
        given = promise.fit.logits(found.signals[rest]) >= promise.threshold
        answered.append(given.mean())
        wrong.append((~found.right[rest][given]).mean())
        over += wrong[-1] > 1 - confidence
    means = {"answered": float(np.mean(answered)), "wrong": float(np.mean(wrong))} if answered else {}
    return {"silent": silent, "over": int(over)} | means


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each promise.

    Raises:
      TrmError: the puzzles are none for the model, or too few.
    """
    experiment, weights = load(args.model)
    found = matched(experiment, args.puzzles, args.split, 0, None, trained_on(args.model).identifiers)
    effort = Effort((args.steps or experiment.model.supervision_steps,))
    size = experiment.train.eval_batch_size
    evidence = gather(Model(found.experiment.model), weights, found.puzzles, found.kind, effort, "q", size)
    auroc = {
        name: calibration(column, evidence.right).auroc
        for name, column in zip(evidence.names, evidence.signals.T, strict=True)
    }
    about = {
        "model": args.name or args.model.name,
        "data": Path(args.puzzles).name,
        "puzzles": len(evidence.right),
        "rules": found.kind.has_rules,
        "steps": effort.steps,
        "right": float(evidence.right.mean()),
        "auroc": auroc,
        "calibrated": args.calibrated,
        "splits": args.splits,
        "delta": args.delta,
    }
    rows = []
    for confidence in args.confidence:
        about_it = kept(evidence, args.calibrated, confidence, args.delta, args.splits)
        rows.append(about | {"confidence": confidence} | about_it | describe())
    return rows


def main() -> None:
    """Measures, prints a row for each promise and appends them to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a run, or a model of `trm models`")
    parser.add_argument("puzzles", help="a table or a dataset folder")
    parser.add_argument("--split", default="test", help="of a dataset folder (test)")
    parser.add_argument("--name", default="", help="of the model, in the rows")
    parser.add_argument("--calibrated", type=int, default=3_000, help="puzzles for a calibration (3000)")
    parser.add_argument("--confidence", type=float, nargs="+", default=[0.99], help="what is promised (0.99)")
    parser.add_argument("--delta", type=float, default=0.05, help="as for `trm calibrate` (0.05)")
    parser.add_argument("--steps", type=int, default=0, help="supervision steps (N_sup)")
    parser.add_argument("--splits", type=int, default=100, help="how many (100)")
    args = parser.parse_args()
    use_cores()
    with faults_told():
        rows = measure(args)
    publish(rows, RESULTS)


if __name__ == "__main__":
    main()
