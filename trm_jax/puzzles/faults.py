"""What is wrong with an answer, cell by cell: clues that it overwrites, cells that break a rule; and in words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.units import Units

# Of places of one kind that many are named.
_MOST_NAMED = 6


class Faults(NamedTuple):
    """Of one answer.

    overwritten: cells that the question gives and the answer holds otherwise, bool [cells].
    broken: cells at which the answer breaks a rule, bool [cells].
    told: both in words, such as "1 clue changed, at r1c3" and "a digit twice in row 1"; () where nothing is known.
    """

    overwritten: NDArray[np.bool_]
    broken: NDArray[np.bool_]
    told: tuple[str, ...] = ()

    @property
    def cells(self) -> NDArray[np.bool_]:
        """All cells that are at fault, bool [cells]."""
        return self.overwritten | self.broken


def none_known(cells: int) -> Faults:
    """Of a kind whose rules do not speak of cells."""
    return Faults(np.zeros(cells, np.bool_), np.zeros(cells, np.bool_))


def of_units(
    given: NDArray[np.bool_], question: Tokens, answer: Tokens, units: NDArray[np.intp], names: Sequence[str], side: int
) -> Faults:
    """Of an answer that is to hold each of its digits once in every unit.

    Args:
      given: which cells the question fixes, bool [S].
      question, answer: digits [S]; any number that is no digit from 1 is an empty cell.
      units: the cells of each unit [units, side].
      names: of the units.
      side: the largest digit, and the columns of the board.
    """
    overwritten = given & (question != answer)
    held = answer[units]
    empty = (answer < 1) | (answer > side)
    twice = (held[:, :, None] == held[:, None, :]).sum(axis=2) > 1
    twice &= ~empty[units]
    broken = empty.copy()
    broken[units[twice]] = True
    told = [*changed_clues(overwritten, side)]
    if empty.any():
        told.append(f"{counted(int(empty.sum()), 'cell')} empty")
    if twice.any():
        told.append(f"a digit twice in {_named([names[i] for i in np.flatnonzero(twice.any(axis=1)).tolist()])}")
    return Faults(overwritten, broken, tuple(told))


def of_clues(fixed: NDArray[np.bool_], question: Tokens, answer: Tokens, columns: int) -> Faults:
    """Of an answer of which nothing is known but which cells of the question are to stay, bool [S]."""
    overwritten = fixed & (question != answer)
    return Faults(overwritten, np.zeros_like(overwritten), tuple(changed_clues(overwritten, columns)))


def of_declared(units: Units, question: Tokens, answer: Tokens, columns: int) -> Faults:
    """Of an answer in which no unit may hold a symbol twice. question, answer: tokens [S]; columns: of the board."""
    symbols = np.isin(answer, units.symbols)
    overwritten = np.isin(question, units.symbols) & (question != answer)
    broken, told = np.zeros(len(answer), np.bool_), changed_clues(overwritten, columns)
    most = int(max(units.symbols)) + 1
    for name, parts in units.classes:
        count = 0
        for groups in np.array(parts, np.int64):
            # A number for each group and symbol: equal where two cells compete for it.
            keys = np.where(symbols & (groups >= 0), groups * most + answer, -1)
            values, counts = np.unique(keys, return_counts=True)
            twice = (keys >= 0) & np.isin(keys, values[counts > 1])
            broken |= twice
            count += len(np.unique(groups[twice]))
        if count:
            told.append(f"a symbol twice in {counted(count, 'unit')} of the class {name!r}")
    return Faults(overwritten, broken, tuple(told))


def changed_clues(overwritten: NDArray[np.bool_], columns: int) -> list[str]:
    """How many clues were changed, and where, in words; [] where none was."""
    places = [f"r{cell // columns + 1}c{cell % columns + 1}" for cell in np.flatnonzero(overwritten)]
    return [f"{counted(len(places), 'clue')} changed, at {_named(places)}"] if places else []


def counted(count: int, noun: str) -> str:
    """How many there are of something; noun: in the singular."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _named(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return ", ".join([*names[:_MOST_NAMED], *more])
