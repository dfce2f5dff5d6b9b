"""Which clues of a puzzle speak against a symbol in a cell: one that clashes, or a set that leaves it no place."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trm_jax.errors import DataError
from trm_jax.puzzles.counting import Counter
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


@dataclass(frozen=True)
class Contradiction:
    """Why a symbol cannot stand in a cell.

    clues: the cells of the clues, ascending.
    how: "overwritten": the cell is a clue itself, of another symbol. "unit": each of the clues has the symbol already,
      in a group with the cell. "search": no answer keeps these clues and has the symbol there, shown by a complete
      search; and none of the clues can be left out, but where the search for the answers of the rest was given up.
    unit: of "unit": the class of the groups.
    """

    clues: tuple[int, ...]
    how: Literal["overwritten", "unit", "search"]
    unit: str = ""


def clash(kind: Kind, question: Tokens, cell: int, token: int) -> Contradiction | None:
    """The clues of a question [S] that speak against a token in a cell at first sight; None where there are none."""
    given = kind.given(question)
    if given[cell]:
        return None if question[cell] == token else Contradiction((cell,), "overwritten")
    for name, part in kind.units.partitions if kind.units is not None else ():
        same = given & (question == token) & (part == part[cell]) & (part >= 0)
        if same.any():
            return Contradiction(tuple(np.flatnonzero(same).tolist()), "unit", name)
    return None


def contradiction(kind: Kind, question: Tokens, cell: int, token: int) -> Contradiction | None:
    """What the clues of a question [S] say against a token in a cell; None where nothing is known to.

    A clue that clashes comes first. Otherwise clues are taken away from the whole question, one by one, as long as no
    answer is left; those first that share no group with the cell. Of what remains none can go.
    """
    found, given = clash(kind, question, cell, token), kind.given(question)
    if found is not None or given[cell]:
        return found
    if not kind.has_rules or kind.blank is None:
        return None
    impossible = _Impossible(kind, cell, token)
    if not impossible(question):
        return None
    near = np.zeros(kind.cells, np.bool_) if kind.units is None else kind.units.relations[cell] > 0
    left = question.copy()
    clues = np.flatnonzero(given)
    for clue in [*clues[~near[clues]], *clues[near[clues]]]:
        fewer = left.copy()
        fewer[clue] = kind.blank
        if impossible(fewer):
            left = fewer
    return Contradiction(tuple(np.flatnonzero(kind.given(left)).tolist()), "search")


class _Impossible:
    """Whether a question is known to have no answer with a token in a cell."""

    def __init__(self, kind: Kind, cell: int, token: int) -> None:
        self._count, self._cell, self._token = Counter(kind), cell, token

    def __call__(self, question: Tokens) -> bool:
        pinned = question.copy()
        pinned[self._cell] = self._token
        with suppress(DataError):  # rules of the user's own need not know a question with clues taken away
            return self._count(pinned).number == "none"
        return False
