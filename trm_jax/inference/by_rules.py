"""Puzzles without known answers: how many answers keep to the rules, by supervision steps."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.errors import DataError
from trm_jax.inference.answers import believed, kept_rules
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.selection import Rule
from trm_jax.inference.statistics import Share, share
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind


@dataclass(frozen=True)
class RulesRow:
    """After so many supervision steps: valid, puzzles whose chosen answer keeps to the rules; certified, those of which
    any attempt has given such an answer, after any of the steps that are reported up to here."""

    supervision_steps: int
    valid: Share
    certified: Share


@dataclass(frozen=True)
class RulesReport:
    """An evaluation of puzzles without answers.

    puzzles: how many; seconds: how long it took, compilation included.
    rows: one for each depth of the effort.
    selection: how one of several attempts is chosen.
    """

    puzzles: int
    seconds: float
    effort: Effort
    selection: str
    rows: tuple[RulesRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class RulesEvaluator:
    """Evaluates weights of one model on puzzles that have no answers, as `evaluate.Evaluator` does on others."""

    def __init__(
        self,
        model: Model,
        puzzles: PuzzleSet,
        batch_size: int,
        effort: Effort,
        kind: Kind,
        selection: Rule = "q",
        layout: Layout = ALONE,
    ) -> None:
        """Args: as for `Evaluator`.

        Raises:
          DataError: no rules are known for the kind, so that nothing can be said of answers.
        """
        if not kind.has_rules:
            raise DataError(
                f"none of {len(puzzles)} puzzles has an answer to compare with, and no rules are known to judge by: "
                "give answers, or --rules FILE for a puzzle of your own"
            )
        self._model, self.puzzles, self._batch_size, self._layout = model, puzzles, batch_size, layout
        self._effort, self.kind, self._selection = effort, kind, selection

    def __call__(self, weights: Weights, progress: Callable[[int], None] = lambda done: None) -> RulesReport:
        """Runs every puzzle; calls progress(puzzles done) about once a second."""
        start = time.perf_counter()
        effort, puzzles, kind, layout = self._effort, self.puzzles, self.kind, self._layout
        valid, certified = np.zeros((2, len(effort.depths)))
        inputs, ids, done = puzzles.inputs, puzzles.puzzle_ids, 0
        for found in attempt(self._model, weights, effort, inputs, ids, self._batch_size, kind, layout, progress):
            # The rules would refuse to speak of questions that break them, and no answer is one of such a question.
            satisfied: NDArray[np.bool_] | None = np.zeros(found.answers.shape[:3], np.bool_)
            if not puzzles.faulty:
                satisfied = kept_rules(found, kind, np.asarray(inputs[found.first : found.first + len(found)]))
            assert satisfied is not None
            each = np.arange(len(found))
            for d, depth in enumerate(effort.depths):
                valid[d] += satisfied[each, believed(found, satisfied, self._selection, depth), d].sum()
                certified[d] += satisfied[:, :, : d + 1].any(axis=(1, 2)).sum()
            done += len(found)
        units = len(puzzles.group_starts) - 1
        rows = tuple(
            RulesRow(depth, share(valid[d] / done, units), share(certified[d] / done, units))
            for d, depth in enumerate(effort.depths)
        )
        shown = self._selection if effort.attempts > 1 else "only"
        return RulesReport(done, time.perf_counter() - start, effort, shown, rows)
