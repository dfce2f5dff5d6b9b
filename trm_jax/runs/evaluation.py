"""The evaluation of the averaged weights while they are trained: on held-out puzzles, which no training step sees."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from trm_jax.config import Experiment
from trm_jax.console import Bar, say
from trm_jax.data import dataset
from trm_jax.data.fit import check_fits
from trm_jax.data.identifiers import Identifiers
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.sample import check_labels
from trm_jax.devices.cluster import any_of_us
from trm_jax.devices.sharding import Layout
from trm_jax.errors import RulesError
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator, Report, is_arc_test, votes_for
from trm_jax.inference.search import Budget
from trm_jax.inference.searches import Searches
from trm_jax.model.model import Weights
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.signals import Stopped, StopSignals
from trm_jax.runs.writers import MetricsWriter
from trm_jax.sizes import counted
from trm_jax.training.step import TrainState, averaged_weights, model_of

# An average that still holds more than this of the weights at the start says little of training.
_LAG = 0.05

Progress = Callable[[int], None]


@dataclass(frozen=True)
class HeldOut:
    """What an evaluation has found.

    exact: share of the held-out puzzles that were solved.
    figures: to be written, by name.
    lines: to be said.
    """

    exact: float
    figures: Mapping[str, float]
    lines: tuple[str, ...]


class Evaluation(ABC):
    """Evaluates states of one run on its held-out puzzles."""

    held_out: PuzzleSet

    @staticmethod
    def of(
        experiment: Experiment, layout: Layout, identifiers: Identifiers | None = None, rules: Rules | None = None
    ) -> "Evaluation":
        """On the experiment's held-out puzzles.

        Args:
          identifiers: of the puzzles that are trained on.
          rules: of a user's own puzzle, for a model that does not search.

        Raises:
          DataError: the model cannot read them, or they have no labels and it does not search.
        """
        data = experiment.data
        held_out = dataset.load(data, "test", experiment.train.seed)
        if experiment.model.states == "candidates":
            kind = check_fits(experiment, held_out, data.test, identifiers=identifiers)
            return _BySearch(experiment, layout, held_out, kind)
        kind = check_fits(experiment, held_out, data.test, rules, identifiers)
        check_labels(held_out, data.test, "be right about")
        return _ByAttempts(experiment, layout, held_out, kind)

    @abstractmethod
    def figures(self, weights: Weights, progress: Progress) -> HeldOut:
        """What these weights make of the puzzles; calls progress(puzzles done) now and then."""

    def __call__(self, state: TrainState, signals: StopSignals) -> HeldOut:
        """Evaluates a state's averaged weights. Raises Stopped if a signal asks for it in the meantime."""
        puzzles = len(self.held_out)
        with Bar("  evaluating", puzzles, every=max(1, puzzles // 4)) as bar:

            def progress(done: int) -> None:
                bar.update(done)
                if any_of_us(signals.stop):
                    raise Stopped

            return self.figures(averaged_weights(state), progress)


class _ByAttempts(Evaluation):
    """One attempt at each puzzle; of ARC tasks the votes of all augmentations are counted as well."""

    def __init__(self, experiment: Experiment, layout: Layout, held_out: PuzzleSet, kind: Kind) -> None:
        self.held_out = held_out
        self._arc = is_arc_test(kind, held_out, "test")
        if self._arc:
            votes_for(held_out)  # what is wrong with its files is told now and not hours later
        effort = Effort((experiment.model.supervision_steps,))
        model, batch_size = model_of(experiment), experiment.train.eval_batch_size
        self._by = partial(Evaluator, model, held_out, batch_size, effort, layout=layout)
        self._evaluator = self._by(kind)

    def figures(self, weights: Weights, progress: Progress) -> HeldOut:
        report = self._report(weights, progress)
        row = report.rows[-1]
        passed = (report.arc.pass_at if report.arc is not None else None) or {}
        figures = {
            "eval/exact_accuracy": row.exact.value,
            "eval/cell_accuracy": row.cells.value,
            "eval/q_halt_accuracy": row.q_right,
            "time/eval_seconds": report.seconds,
        }
        labelled, valid = report.puzzles - report.unlabelled, ""
        if row.satisfied is not None:
            figures["eval/valid"] = row.satisfied.value
            # Of puzzles that have one solution it is the same.
            if row.satisfied.value != row.exact.value:
                valid = f"; valid {row.satisfied.value:.2%}"
        lines = [
            f"averaged weights solve {row.exact.value:.2%} of {counted(labelled, 'held-out puzzle')} exactly{valid}"
        ]
        if passed:
            lines.insert(0, f"ARC tasks solved by vote {passed[1]:.2%}, within two tries {passed[2]:.2%}")
        return HeldOut(
            row.exact.value, figures | {f"eval/arc_pass_{k}": share for k, share in passed.items()}, tuple(lines)
        )

    def _report(self, weights: Weights, progress: Progress) -> Report:
        """Rules of a user's own that fail are told, and left out from then on: they are no reason to end a run."""
        try:
            return self._evaluator(weights, progress, votes_for(self.held_out) if self._arc else None)
        except RulesError as error:
            say(f"{error}; evaluations of this run go on without rules")
            kind = self._evaluator.kind
            self._evaluator = self._by(kind_of(json.dumps(kind.to_dict()), kind.cells))
            return self._report(weights, progress)


class _BySearch(Evaluation):
    """A short search for each puzzle."""

    def __init__(self, experiment: Experiment, layout: Layout, held_out: PuzzleSet, kind: Kind) -> None:
        self.held_out = held_out
        calls = experiment.train.eval_calls
        self._searches = Searches(
            model_of(experiment),
            experiment.candidates,
            held_out,
            kind,
            experiment.train.eval_batch_size,
            Budget(calls=calls, chains=max(1, min(8, calls // 16))),
            layout,
        )

    def figures(self, weights: Weights, progress: Progress) -> HeldOut:
        report = self._searches(weights, progress)
        found = {calls: report.found(calls).value for calls in report.marks}
        exact = found[report.marks[-1]]
        figures = {
            "eval/exact_accuracy": exact,
            "eval/calls": report.calls_per_puzzle,
            "time/eval_seconds": report.seconds,
        }
        if report.first_call is not None:
            figures["eval/first_call_accuracy"] = report.first_call.value
        lines = (
            f"search with averaged weights solves {exact:.2%} of {counted(report.puzzles, 'held-out puzzle')} "
            f"within {counted(report.marks[-1], 'call')}, {found[1]:.2%} in the first",
        )
        return HeldOut(
            exact, figures | {f"eval/found_in_{calls}_calls": share for calls, share in found.items()}, lines
        )


def tell(found: HeldOut, step: int, writer: MetricsWriter, ema_decay: float) -> None:
    """Writes and says what an evaluation after a step has found; ema_decay: of the average that was evaluated."""
    writer.write(step, dict(found.figures))
    for line in found.lines:
        say(f"step {step}: {line}")
    untrained = ema_decay**step
    if untrained > _LAG:
        say(f"step {step}: {untrained:.0%} of the average are still the weights at the start: it lags behind training")
