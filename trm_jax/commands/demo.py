"""`trm demo`: the whole way from nothing to a solved puzzle, with figures and pictures, in minutes on a laptop."""

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from trm_jax.commands.solve import show, think
from trm_jax.config import files
from trm_jax.console import duration, say
from trm_jax.data import dataset
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.display.pictures import draw_thoughts, draw_training
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator
from trm_jax.model.model import Model, Weights, count_weights
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs import checkpoint
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics


def run(workdir: Path, variant: str = "", steps: int = 0) -> bool:
    """Trains, evaluates, solves and draws; writes report.json, answer.png and training.png into `workdir`.

    variant: of the experiment; steps: of training, 0: as many as it says.
    Interrupted, the same command goes on; finished, it evaluates again what is there. Returns whether it finished.
    """
    began = time.monotonic()
    experiment = files.experiment(f"demo:{variant}", {"train.steps": steps} if steps else None)
    data, side = experiment.data, experiment.data.side
    say(f"making {data.train_puzzles:,} Sudokus of {side}x{side} to learn from, {data.test_puzzles:,} to be tested on")
    test = dataset.load(data, "test", experiment.train.seed)
    shared = _shared_solutions(dataset.load(data, "train", experiment.train.seed), test)
    say(f"solutions that occur in both: {shared}")
    outcome = train(experiment, workdir)
    if not outcome.finished:
        return False

    experiment, weights = checkpoint.load(workdir)
    model, kind = Model(experiment.model), kind_of(data.puzzle, experiment.model.seq_len)
    depth = experiment.model.supervision_steps
    effort = Effort(tuple(range(1, depth + 1)))
    report = Evaluator(model, test, experiment.train.eval_batch_size, effort, kind)(weights)
    print(f"\nexact accuracy on {report.puzzles:,} puzzles whose solutions never occurred in training")
    for row in report.rows:
        print(f"  after {row.supervision_steps:2} supervision steps   {row.exact.value:7.2%}")

    question = np.asarray(test.inputs[_instructive(model, weights, test, depth)])
    thoughts = think(model, weights, kind, question, depth)
    print("\none of them, step by step")
    show(kind, question, thoughts)
    pictures = {"how the answer forms": workdir / "answer.png", "how training went": workdir / "training.png"}
    title = f"{workdir}, averaged weights; one of {len(test):,} held-out puzzles"
    draw_thoughts(pictures["how the answer forms"], kind, question, thoughts, title)
    about = f"{workdir}: {experiment.name}, on {data.train_puzzles:,} puzzles; {len(test):,} held out"
    draw_training(pictures["how training went"], read_metrics(workdir), about)

    path = workdir / "report.json"
    counts = count_weights(weights)
    figures = {
        "exact_accuracy": report.rows[-1].exact.value,
        "puzzles": report.puzzles,
        "shared_solutions": shared,
        "train_seconds": _train_seconds(outcome.seconds, outcome.trained, path),
        "total_seconds": time.monotonic() - began,
        "parameters": counts["network"] + counts["heads"] + counts["embeddings"],
        "rows": report.to_dict()["rows"],
    }
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print()
    for what, picture in pictures.items():
        print(f"{what:22} {picture}")
    print(f"{'figures':22} {path}")
    print(f"{'took':22} {duration(figures['total_seconds'])}; training {duration(figures['train_seconds'])}")
    clues = kind.text(test.inputs[0])
    print(
        f"""
what next
  solve a puzzle of your own     trm solve {workdir} '{clues}' --picture solved.png
  think longer, or shorter       trm eval {workdir} --steps 1,2,4,8,16
  a larger board                 trm demo --variant 6x6 --workdir runs/demo6x6
  the same from Python           import trm_jax as trm; trm.load("{workdir}").solve("{clues}")
  watch the curves               tensorboard --logdir {workdir}
  the paper's Sudoku model       trm train --config=sudoku_mlp --workdir=runs/sudoku_mlp --config.data.train=train.csv
  is it the same model?          trm parity tests/testdata (in the repository)"""
    )
    command = Path(sys.executable).with_name("trm")
    if shutil.which("trm") is None and command.exists():
        print(f"(trm is in {command.parent}: run `source {command.with_name('activate')}` once)")
    return True


def _shared_solutions(train_set: PuzzleSet, test_set: PuzzleSet) -> int:
    """How many solutions occur in both sets; generated sets promise none."""
    known = {row.tobytes() for row in np.unique(train_set.labels, axis=0)}
    return sum(row.tobytes() in known for row in np.unique(test_set.labels, axis=0))


def _instructive(model: Model, weights: Weights, puzzles: PuzzleSet, depth: int) -> int:
    """The puzzle that is solved in the end but takes longest, with the fewest clues: the one worth watching."""
    effort = Effort(tuple(range(1, depth + 1)))
    found = attempt(model, weights, effort, puzzles.inputs, puzzles.puzzle_ids, len(puzzles))
    answers = np.concatenate([part.answers[:, 0] for part in found])
    inputs, labels = np.asarray(puzzles.inputs), np.asarray(puzzles.labels)
    exact = (answers == labels[:, None]).all(axis=-1)
    wrong_for = np.where(exact[:, -1], (~exact).sum(axis=1), -1)
    return int(np.lexsort(((inputs > 1).sum(axis=1), -wrong_for))[0])


def _train_seconds(seconds: float, trained: bool, earlier_report: Path) -> float:
    """How long training took; where nothing was left to train, what the report before this one says."""
    try:
        return seconds if trained else float(json.loads(earlier_report.read_text())["train_seconds"])
    except (OSError, ValueError, KeyError, TypeError):  # none, or not ours
        return seconds
