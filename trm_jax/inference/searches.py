"""Searches over a whole set of puzzles: how many answers are found, by how many calls; with intervals."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import CandidatesConfig
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.inference.search import Budget, search
from trm_jax.inference.statistics import Share, share
from trm_jax.model.estimate import supervision_flops
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind


@dataclass(frozen=True)
class SearchReport:
    """What searches have found. A search has a verifier: these figures stand apart from those of single chains.

    puzzles: how many; seconds: how long all took, compilation included.
    budget: of each.
    thresholds: of the search, by the names of `CandidatesConfig`.
    calls: after how many an answer was found that keeps to the rules, [N]; 0: none was.
    made: calls made, [N].
    unlabelled: puzzles without a labelled cell, which exact and first_call leave out; they are None if all are such.
    exact: answers that are the known one; where a puzzle has several, others keep to the rules, too.
    first_call: puzzles whose likeliest symbols after the first call are the known answer: no search, no verifier.
    refused: complete sets that broke the rules, all puzzles together.
    flops_per_call: operations.
    """

    puzzles: int
    seconds: float
    budget: Budget
    thresholds: dict[str, float]
    calls: NDArray[np.int64]
    made: NDArray[np.int64]
    unlabelled: int
    exact: Share | None
    first_call: Share | None
    refused: int
    flops_per_call: int

    @property
    def marks(self) -> tuple[int, ...]:
        """Numbers of calls at which to look: 1, 4, 16, ... and the most."""
        most = self.budget.calls
        return (*(4**power for power in range(16) if 4**power < most), most)

    @property
    def calls_per_puzzle(self) -> float:
        """Mean of the calls made."""
        return float(self.made.mean())

    def found_by(self, calls: int) -> NDArray[np.bool_]:
        """Which puzzles had an answer after so many calls."""
        return (self.calls > 0) & (self.calls <= calls)

    def found(self, calls: int) -> Share:
        """How many had, with an interval."""
        return share(float(self.found_by(calls).mean()), self.puzzles)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "search": "with a verifier: only answers that keep to the rules count",
            "puzzles": self.puzzles,
            "seconds": self.seconds,
            "budget": vars(self.budget),
            "thresholds": self.thresholds,
            "found": {calls: vars(self.found(calls)) for calls in self.marks},
            "unlabelled": self.unlabelled,
            "exact": None if self.exact is None else vars(self.exact),
            "first_call": None if self.first_call is None else vars(self.first_call),
            "calls": self.calls_per_puzzle,
            "refused": self.refused,
            "flops": self.calls_per_puzzle * self.flops_per_call,
        }


class Searches:
    """Searches with weights of one model through one set, as often as wanted."""

    def __init__(
        self,
        model: Model,
        config: CandidatesConfig,
        puzzles: PuzzleSet,
        kind: Kind,
        batch_size: int,
        budget: Budget,
        layout: Layout = ALONE,
    ) -> None:
        """Arguments as for `search`."""
        self._model, self._config, self._puzzles, self._kind = model, config, puzzles, kind
        self._batch_size, self._budget, self._layout = batch_size, budget, layout

    def __call__(self, weights: Weights, progress: Callable[[int], None] = lambda done: None) -> SearchReport:
        """Searches for every puzzle's answer; calls progress(puzzles done) now and then."""
        began, count = time.perf_counter(), len(self._puzzles)
        calls, made, refused = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
        exact, first, labelled = (np.zeros(count, np.bool_) for _ in range(3))
        results = search(
            self._model,
            weights,
            self._config,
            self._kind,
            self._puzzles.inputs,
            self._batch_size,
            self._budget,
            self._layout,
        )
        for done, found in enumerate(results, start=1):
            label = np.asarray(self._puzzles.labels[found.number])
            cells = label != 0
            labelled[found.number] = cells.any()
            made[found.number] = found.calls
            first[found.number] = (found.first == label)[cells].all()
            if found.tokens is not None:
                calls[found.number] = found.calls
                exact[found.number] = (found.tokens == label)[cells].all()
            refused += found.refused
            progress(done)
        return SearchReport(
            puzzles=count,
            seconds=time.perf_counter() - began,
            budget=self._budget,
            thresholds={name: getattr(self._config, name) for name in ("take_away_below", "give_up_above")},
            calls=calls,
            made=made,
            unlabelled=int((~labelled).sum()),
            exact=_among(exact, labelled),
            first_call=_among(first, labelled),
            refused=refused,
            flops_per_call=supervision_flops(self._model.config),
        )


def _among(right: NDArray[np.bool_], labelled: NDArray[np.bool_]) -> Share | None:
    """The share of those with a label that are right; None where there are none."""
    return share(float(right[labelled].mean()), int(labelled.sum())) if labelled.any() else None
