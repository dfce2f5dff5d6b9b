"""Cell by cell: when an attempt made up its mind, how often it changed it, and where it went wrong."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.puzzles.contradictions import Contradiction, clash, contradiction
from trm_jax.puzzles.counting import Counter, Number
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


class Decisions(NamedTuple):
    """When the cells of an answer came to stay.

    at: the step, from 1, from which on a cell stays as it ends, int [S].
    changes: in how many steps after the first it became another, int [S]; None of a search, which takes nothing back.
    """

    at: NDArray[np.intp]
    changes: NDArray[np.intp] | None


@dataclass(frozen=True)
class Mistake:
    """Where an answer went wrong.

    cell: the first cell that was wrong for good; of several, a clue that was overwritten, or else one that a clue
      clashes with, or else the first on the board.
    token, right: what it ends with, and what would have been right.
    step: from which on it was wrong, from 1.
    wrong: all cells that are wrong in the end, bool [S].
    against: what the clues say against the token; None where nothing is known to.
    """

    cell: int
    token: int
    right: int
    step: int
    wrong: NDArray[np.bool_]
    against: Contradiction | None


class Truth(NamedTuple):
    """What an answer is held to.

    answer: tokens [S], 0 where nothing is known; None: there is none to hold it to.
    why: "given", or how many answers a complete search has found.
    """

    answer: Tokens | None
    why: Number | Literal["given"]


def decisions(answers: Tokens) -> Decisions:
    """Of the answers after each step, tokens [D, S]."""
    steps = np.arange(1, len(answers) + 1)[:, None]
    other = answers != answers[-1]
    return Decisions((steps * other).max(axis=0) + 1, (answers[1:] != answers[:-1]).sum(axis=0))


def truth(kind: Kind, question: Tokens, label: Tokens | None = None) -> Truth:
    """The answer that a puzzle [S] has: the known one, or the only one, by complete search within its budget."""
    if label is not None and (label != 0).any():
        return Truth(label, "given")
    if not kind.has_rules or kind.blank is None:
        return Truth(None, "unknown")
    counted = Counter(kind)(question)
    return Truth(counted.answer if counted.number == "one" else None, counted.number)


def mistake(kind: Kind, question: Tokens, answers: Tokens, right: Tokens) -> Mistake | None:
    """The first mistake of an attempt that lasted; None where its last answer is right.

    Args:
      kind, question: the puzzle, tokens [S].
      answers: after each step, tokens [D, S].
      right: the answer that it has, tokens [S], 0 where nothing is known.
    """
    wrong = (answers != right) & (right != 0)
    if not wrong[-1].any():
        return None
    steps = np.arange(1, len(answers) + 1)[:, None]
    since = np.where(wrong[-1], (steps * ~wrong).max(axis=0) + 1, len(answers) + 1)
    first = np.flatnonzero(since == since.min()).tolist()

    def plain(cell: int) -> int:
        found = clash(kind, question, cell, int(answers[-1, cell]))
        return 2 if found is None else found.how == "unit"

    cell = min(first, key=plain)
    token = int(answers[-1, cell])
    against = contradiction(kind, question, cell, token)
    return Mistake(cell, token, int(right[cell]), int(since[cell]), wrong[-1], against)
