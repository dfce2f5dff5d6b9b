"""Puzzles a second of evaluation: fixed steps, early halting with refilled rows, and the original in PyTorch.

    python -m benchmarks.inference RUN [PUZZLES] [--limit N] [--halt-above 0] ...
    python -m benchmarks.inference --config=experiments/sudoku_mlp.py [--config.GROUP.KEY=VALUE] [--limit N] ...
        [--steps N] [--batch-size 256] [--repeats 5]
        [--reference PATH [--reference-python EXE]] [--variants fixed,halting,eager,compiled]

RUN is a workdir of `trm train` or `trm demo`; PUZZLES a table or a dataset folder (the run's own held-out ones). With
an experiment in place of a run, weights and puzzles are random, which is enough for the cost of a fixed number of
supervision steps; halting is left out, since what it saves depends on the weights.

PATH is a checkout of github.com/SamsungSAILMontreal/TinyRecursiveModels, and EXE a Python that has torch, numpy, einops
and pydantic; each variant of the original has a process of its own (benchmarks/reference.py). It evaluates the same
puzzles in the same batches with as many supervision steps, by its own loop, and keeps its random weights: it never
halts early when it evaluates, so that its cost does not depend on them. That loop also works out losses and metrics at
every step, and ours how much y and z change. On a CPU, ours keeps its memory from pass to pass as `trm` does
(trm_jax/devices/host_memory.py), and the original has its own allocator as it comes.

All variants take turns: a round is a pass of each over all puzzles. Before, each makes a first pass, which compiles and
is told apart, and one that does not count. The variants of ours share a process, so that its peaks of memory are those
of the larger so far. A row for each variant goes to results/inference.jsonl.
"""

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.batches import in_order
from benchmarks.machine import describe, faults_told
from benchmarks.original import Original, check_checkout, order_for
from benchmarks.turns import Times, Variant, device_peak, fields, forget_peak, growth, publish, resident, take_turns
from trm_jax.commands.arguments import load_experiment
from trm_jax.config import Experiment
from trm_jax.data import dataset, puzzle_set
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.model.estimate import estimate
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.runs.checkpoint import load
from trm_jax.training.step import model_of

RESULTS = Path(__file__).parent / "results" / "inference.jsonl"
OURS = ("fixed", "halting")
VARIANTS = (*OURS, "eager", "compiled")
# Batches of random puzzles, unless --limit tells how many puzzles.
BATCHES = 4


@dataclass(frozen=True)
class Work:
    """What every variant is to solve, and how.

    experiment: with all sizes filled in; its supervision steps and training batch are those of this evaluation.
    weights: of ours.
    puzzles: the same for all.
    weights_from: the run, or "random".
    halt_above: the q_halt that it takes to halt.
    before: bytes of this process before there were weights (turns.resident).
    """

    experiment: Experiment
    weights: Weights
    puzzles: PuzzleSet
    weights_from: str
    halt_above: float
    before: int | None

    @property
    def steps(self) -> int:
        """Supervision steps, or how many there are at most with halting."""
        return self.experiment.model.supervision_steps

    @property
    def batch_size(self) -> int:
        """Puzzles at a time."""
        return self.experiment.train.batch_size

    @property
    def random(self) -> bool:
        """Whether answers mean nothing."""
        return self.weights_from == "random"


class Ours:
    """A pass of `trm_jax.inference.attempts.attempt`, one attempt at each puzzle."""

    def __init__(self, work: Work, halting: bool) -> None:
        self._work, self._model = work, model_of(work.experiment)
        self._halting = halting
        self._effort = Effort((work.steps,), halting, work.halt_above) if halting else Effort((work.steps,))
        self._first_seconds = self.run()
        forget_peak(os.getpid())

    def run(self) -> float:
        """Solves all puzzles and tells its seconds."""
        work, puzzles = self._work, self._work.puzzles
        start = time.perf_counter()
        parts = list(
            attempt(self._model, work.weights, self._effort, puzzles.inputs, puzzles.puzzle_ids, work.batch_size)
        )
        seconds = time.perf_counter() - start
        self.answers: Tokens = np.concatenate([part.answers[:, 0, -1] for part in parts])
        self._taken = np.concatenate([part.steps[:, 0] for part in parts])
        return seconds

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        labels = np.asarray(self._work.puzzles.labels)
        known = labels.any(axis=1)  # of a puzzle without a label nothing is right
        exact = float(((self.answers == labels) | (labels == 0)).all(axis=1)[known].mean()) if known.any() else None
        return {
            "halt_above": self._work.halt_above if self._halting else None,
            "attention": self._model.attention,
            "exact": None if self._work.random else exact,
            "mean_steps": float(self._taken.mean()),
            "first_seconds": round(self._first_seconds, 2),
            "peak_gb_measured": device_peak(),
            "peak_gb_resident": growth(self._work.before, os.getpid()),
        }


def from_run(run: Path, source: str, steps: int | None, batch_size: int, limit: int, halt_above: float) -> Work:
    """A trained model, and `source`'s puzzles or its own held-out ones."""
    before = _resident_now()
    experiment, weights = load(run)
    puzzles = dataset.load_named(experiment, source, "test", limit)
    experiment = _sized(experiment, steps, min(batch_size, len(puzzles)))
    return Work(experiment, weights, puzzles, str(run), halt_above, before)


def from_experiment(experiment: Experiment, steps: int | None, batch_size: int, limit: int) -> Work:
    """A model without training, and random tokens."""
    before = _resident_now()
    model, count = experiment.model, limit or BATCHES * batch_size
    experiment = replace(experiment, model=replace(model, num_puzzles=model.num_puzzles or 1_000))
    weights = jax.jit(Model.init, static_argnums=0)(model_of(experiment), jax.random.key(experiment.train.seed))
    experiment = _sized(experiment, steps, min(batch_size, count))
    cells = np.random.default_rng(0).integers(1, model.vocab_size, (count, model.seq_len), np.int32)
    return Work(experiment, weights, puzzle_set.from_pairs(cells, cells, model.vocab_size), "random", 0.0, before)


def measure(work: Work, names: Sequence[str], repeats: int, checkout: Path | None, python: str) -> list[dict[str, Any]]:
    """A row for each variant named.

    Raises:
      ConfigError: the original cannot do this work, or its process fails.
    """
    trained = estimate(work.experiment).trained
    with ExitStack() as processes:
        variants: dict[str, Variant] = {}
        figures: dict[str, dict[str, Any]] = {}
        for name in names:
            if name in OURS:
                variants[name] = Ours(work, name == "halting")
            elif checkout is not None:
                # No more rows than puzzles: the original would fill the batch up, where ours makes it smaller.
                batches = [batch for batch, _ in in_order(work.puzzles, work.batch_size)]
                order = order_for(work.experiment, "evaluate", batches, name == "compiled")
                variants[name] = original = Original(python, checkout, order, trained)
                processes.callback(original.close)
            variants[name].run()
            # At once, so that what a later variant of ours needs is not added to an earlier one's.
            figures[name] = variants[name].figures()
        times = take_turns(variants, repeats)
    ours = {name: variant.answers for name, variant in variants.items() if isinstance(variant, Ours)}
    if len(ours) == len(OURS):
        same = (ours["fixed"] == ours["halting"]).all(axis=1).mean()
        figures["halting"]["same_answers"] = float(same)
    return [_row(work, name, times) | figures[name] | describe() for name in variants]


def _resident_now() -> int | None:
    jax.devices()  # what JAX needs for itself is none of the work's
    return resident(os.getpid(), "VmRSS")


def _sized(experiment: Experiment, steps: int | None, batch_size: int) -> Experiment:
    model, train = experiment.model, experiment.train
    steps = model.supervision_steps if steps is None else steps
    return replace(
        experiment,
        model=replace(model, supervision_steps=steps),
        train=replace(train, batch_size=batch_size),
    )


def _row(work: Work, name: str, times: Mapping[str, Times]) -> dict[str, Any]:
    return {
        "experiment": work.experiment.name,
        "dtype": work.experiment.model.dtype,
        "variant": name,
        "weights": work.weights_from if name in OURS else "random",
        "puzzles": len(work.puzzles),
        "steps": work.steps,
        "batch_size": work.batch_size,
        **fields(times, name, "fixed", len(work.puzzles)),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", nargs="?", type=Path, help="or --config=FILE")
    parser.add_argument("puzzles", nargs="?", default="")
    parser.add_argument("--steps", type=int, help="supervision steps, at most (the experiment's own)")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--limit", type=int, default=0, help="so many puzzles: the first ones, or random ones")
    parser.add_argument("--halt-above", type=float, default=0.0, help="the q_halt that it takes to halt (0)")
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--reference-python", default=sys.executable, metavar="EXE", help="a Python that has torch")
    parser.add_argument("--variants", help="some of them, with commas (all that are possible)")
    return parser


def _names(wanted: str | None, run: Path | None, reference: Path | None) -> list[str]:
    """The variants to measure, those that are possible unless told.

    Raises:
      ConfigError: one of those wanted is unknown or not possible.
    """
    lacks = {"halting": run is None and "a RUN", "eager": reference is None and "--reference PATH"}
    lacks["compiled"] = lacks["eager"]
    if wanted is None:
        return [name for name in VARIANTS if not lacks.get(name)]
    names = list(dict.fromkeys(wanted.split(",")))
    for name in names:
        if name not in VARIANTS:
            raise ConfigError(f"--variants {wanted}: {name!r} is none of {', '.join(VARIANTS)}")
        if lacks.get(name):
            raise ConfigError(f"--variants {wanted}: {name!r} needs {lacks[name]}")
    return names


def main() -> None:
    """Measures, prints a column for each variant and appends them to the results."""
    keep_memory()
    args, rest = _parser().parse_known_args()
    with faults_told():
        names = _names(args.variants, args.run, args.reference)
        if min(args.batch_size, args.repeats) < 1 or args.limit < 0 or (args.steps is not None and args.steps < 1):
            raise ConfigError("--batch-size, --repeats and --steps: give numbers from 1 on, to --limit one from 0 on")
        if args.reference:
            check_checkout(args.reference)
            # The processes share a GPU, so ours may not take all its memory at once.
            os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        if args.run is None:
            if not any(word.startswith("--config=") for word in rest):
                raise ConfigError("give a RUN, or --config=experiments/NAME.py")
            work = from_experiment(load_experiment(rest), args.steps, args.batch_size, args.limit)
        elif rest:
            raise ConfigError(f"{rest[0]}: unknown beside a RUN, which brings its experiment with it")
        else:
            work = from_run(args.run, args.puzzles, args.steps, args.batch_size, args.limit, args.halt_above)
        rows = measure(work, names, args.repeats, args.reference, args.reference_python)
    publish(rows, RESULTS)


if __name__ == "__main__":
    main()
