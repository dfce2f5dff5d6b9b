"""Clues that are wrong, missing, too many or against each other, in puzzles whose rules speak of units.

Every question here that is perturbed has exactly one answer before, and what it has afterwards is counted by a search.
"""

from collections.abc import Iterable
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from trm_jax.puzzles.counting import Counted, Counter
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.perturbed import Perturbation, Perturbed
from trm_jax.puzzles.symmetry import Tokens

WRONG = (1, 2, 4)
# Of several wrong clues at once, before a puzzle is held for one that has no place for them.
_DRAWS = 20


def of_clues(kind: Kind, clues: tuple[int, int]) -> list[Perturbation]:
    """The perturbations of clues for a kind with rules and units; clues: the fewest and the most of the set."""
    made = _Clues(kind)
    low, high = clues
    return [
        *(
            Perturbation(
                f"wrong_clues_{k}", f"{k} of the clues changed, none repeated in a unit", partial(made.wrong, k)
            )
            for k in WRONG
        ),
        Perturbation("several_answers", "clues removed until there are several answers", made.several),
        Perturbation("contradictory", "a clue repeated in one of its units", made.contradictory),
        Perturbation("unsolvable", "a clue more, which repeats none and leaves no answer", made.unsolvable),
        Perturbation(
            "fewer_clues", f"fewer clues than {low}, the fewest of the set; one answer", partial(made.fewer, low)
        ),
        Perturbation(
            "more_clues", f"more clues than {high}, the most of the set; one answer", partial(made.more, high)
        ),
    ]


class _Clues:
    """Makes each of them for questions [S] of one kind."""

    def __init__(self, kind: Kind) -> None:
        assert kind.units is not None
        assert kind.blank is not None
        self._kind, self._blank = kind, kind.blank
        self._rivals = (kind.units.relations != 0) & ~np.eye(kind.cells, dtype=np.bool_)
        count = Counter(kind)

        @lru_cache(1 << 10)  # all perturbations of a question begin with its answer
        def counted(question: bytes) -> Counted:
            return count(np.frombuffer(question, np.int32))

        self._counted = counted

    def wrong(self, k: int, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """k clues changed to symbols that no other clue of their units shows."""
        if (answer := self._answer(question)) is None or len(self._clues(question)) < k:
            return None
        for _ in range(_DRAWS):
            changed = question.copy()
            for cell in rng.choice(self._clues(question), k, replace=False):
                if not len(symbols := self._free(changed, answer, cell)):
                    break
                changed[cell] = rng.choice(symbols)
            else:
                return self._judged(changed)
        return None

    def several(self, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """Clues removed in random order until there is more than one answer."""
        if self._answer(question) is None:
            return None
        left = question.copy()
        for cell in rng.permutation(self._clues(question)):
            left[cell] = self._blank
            if self._count(left).number != "one":
                return self._judged(left, "several")
        return None

    def contradictory(self, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """The symbol of a clue once more, in an open cell that shares a unit with it."""
        if self._answer(question) is None:
            return None
        for clue in rng.permutation(self._clues(question)):
            if len(cells := np.flatnonzero(self._rivals[clue] & (question == self._blank))):
                return self._judged(_with(question, rng.choice(cells), question[clue]), "none")
        return None

    def unsolvable(self, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """An open cell filled with a symbol that is not the answer's, though no clue of its units shows it."""
        if (answer := self._answer(question)) is None:
            return None
        for cell in rng.permutation(np.flatnonzero(question == self._blank)):
            if len(symbols := self._free(question, answer, cell)):
                return self._judged(_with(question, cell, rng.choice(symbols)), "none")
        return None

    def fewer(self, low: int, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """Clues removed while the answer stays the only one, until there are fewer than `low`."""
        if self._answer(question) is None:
            return None
        left = question.copy()
        for cell in rng.permutation(self._clues(question)):
            without = _with(left, cell, self._blank)
            if self._count(without).number == "one":
                left = without
            if len(self._clues(left)) < low:
                return self._judged(left, "one")
        return None

    def more(self, high: int, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
        """Cells of the answer revealed until there are more clues than `high`; at least one cell stays open."""
        if (answer := self._answer(question)) is None:
            return None
        open_cells, clues = np.flatnonzero(question == self._blank), len(self._clues(question))
        most = clues + len(open_cells) - 1
        if most <= high:
            return None
        shown = rng.permutation(open_cells)[: rng.integers(high + 1, most, endpoint=True) - clues]
        return self._judged(_with(question, shown, answer[shown]), "one")

    def _answer(self, question: Tokens) -> Tokens | None:
        """The only answer; None where there are others, none, or too much to search."""
        counted = self._count(question)
        return counted.answer if counted.number == "one" else None

    def _count(self, question: Tokens) -> Counted:
        return self._counted(question.astype(np.int32).tobytes())

    def _judged(self, question: Tokens, claimed: str = "") -> Perturbed | None:
        """With the number of answers that the search has found; None where it is unknown, or not what is claimed."""
        counted = self._count(question)
        if counted.number == "unknown" or claimed not in ("", counted.number):
            return None
        label = counted.answer if counted.number == "one" else None
        return Perturbed(question, np.zeros_like(question) if label is None else label, counted.number)

    def _clues(self, question: Tokens) -> NDArray[np.intp]:
        """Given cells that compete with others."""
        return np.flatnonzero(self._kind.given(question) & self._rivals.any(axis=1))

    def _free(self, question: Tokens, answer: Tokens, cell: int) -> NDArray[np.integer]:
        """Symbols of a cell's units that no clue there shows; in the answer the cell has none of them."""
        rivals = self._rivals[cell]
        return np.setdiff1d(answer[rivals], question[rivals & self._kind.given(question)])


def _with(question: Tokens, cells: int | NDArray[np.intp], tokens: int | Tokens) -> Tokens:
    changed = question.copy()
    changed[cells] = tokens
    return changed


def clue_range(kind: Kind, questions: Iterable[Tokens]) -> tuple[int, int]:
    """The fewest and the most clues of some questions, at least one."""
    counts = [int(kind.given(question).sum()) for question in questions]
    return min(counts), max(counts)
