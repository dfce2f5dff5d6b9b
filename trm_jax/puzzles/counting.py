"""How many answers a puzzle has, as far as it matters: none, one or several; by a search that ends, not by a guess."""

from dataclasses import dataclass
from typing import Literal

from trm_jax.puzzles import sudoku, sudoku_search
from trm_jax.puzzles.complete_search import CompleteSearch
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.symmetry import Tokens

Number = Literal["none", "one", "several", "unknown"]

# Beyond so many dead ends or nodes a puzzle counts as unknown, so that one does not hold up a whole set; the hardest
# known Sudokus of 9x9 take half of it.
_DEAD_ENDS, _NODES = 5_000, 2_000


@dataclass(frozen=True)
class Counted:
    """number: of answers, "unknown" where the search was given up; answer: the first, tokens [S], if there is any."""

    number: Number
    answer: Tokens | None


class Counter:
    """Counts the answers to questions of one kind, up to two."""

    def __init__(self, kind: Kind) -> None:
        """Raises ConfigError for a kind without rules, or without a token for empty cells."""
        # The search that generates Sudokus is much the faster one.
        self._layout = kind.layout if isinstance(kind, Sudoku) else None
        self._search = None if self._layout else CompleteSearch(kind)

    def __call__(self, question: Tokens) -> Counted:
        """Of a question, tokens [S]; one that contradicts itself has none."""
        if self._layout is not None:
            found = sudoku_search.solve(sudoku.decode(question), self._layout, 2, _DEAD_ENDS)
            answers = [sudoku.encode(grid).astype(question.dtype) for grid in found.solutions]
            return _counted(answers, found.complete)
        assert self._search is not None
        answers = []
        for ended in self._search.every(question, most=_NODES):
            if ended.tokens is None:
                return _counted(answers, ended.reason == "unsolvable")
            answers.append(ended.tokens.astype(question.dtype))
            if len(answers) == 2:
                break
        return _counted(answers, True)


def _counted(answers: list[Tokens], complete: bool) -> Counted:
    if len(answers) == 2:
        return Counted("several", answers[0])
    if not complete:
        return Counted("unknown", answers[0] if answers else None)
    return Counted("one" if answers else "none", answers[0] if answers else None)
