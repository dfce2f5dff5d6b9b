"""Clues that speak against a symbol: one that clashes, or a set of which none can go."""

import json

import numpy as np
from sudoku_oracle import oracle

from trm_jax.errors import RulesError
from trm_jax.puzzles.contradictions import Contradiction, clash, contradiction
from trm_jax.puzzles.kinds import kind_of

SUDOKU = kind_of("sudoku", 16)
GRID = {"kind": "grid", "shape": [2, 2], "alphabet": ".ab"}


def against(question: str, row: int, column: int, digit: int) -> Contradiction | None:
    return contradiction(SUDOKU, SUDOKU.parse(question), 4 * row + column - 5, digit + 1)


def test_a_clue_that_is_overwritten_or_clashes_comes_first() -> None:
    question = "1... ..2. .... 4..1"
    assert against(question, 1, 1, 2) == Contradiction((0,), "overwritten")
    assert against(question, 1, 1, 1) is None
    assert against(question, 1, 2, 1) == Contradiction((0,), "unit", "line")
    assert against(question, 2, 2, 1) == Contradiction((0,), "unit", "box")
    assert against(question, 4, 3, 2) == Contradiction((6,), "unit", "line")
    assert clash(SUDOKU, SUDOKU.parse(question), 1, 4) is None


def test_of_a_set_of_clues_none_can_go() -> None:
    """Of every digit of a puzzle with one answer, by a SAT solver: nothing has it with these clues, and without any."""
    question = SUDOKU.parse("4....2....3...14")
    digits, judge, sets = (question - 1).astype(np.int8), oracle("2x2"), []
    for cell in np.flatnonzero(digits == 0).tolist():
        for digit in range(1, 5):
            found = contradiction(SUDOKU, question, cell, digit + 1)
            pinned = digits.copy()
            pinned[cell] = digit
            assert (found is None) == bool(judge.solutions(pinned, 1))
            if found is None or found.how == "unit":
                assert found is None or (digits[list(found.clues)] == digit).all()
                continue
            sets.append(found.clues)
            kept = np.where(np.isin(np.arange(16), [cell, *found.clues]), pinned, 0)
            assert not judge.solutions(kept, 1)
            for clue in found.clues:
                fewer = kept.copy()
                fewer[clue] = 0
                assert judge.solutions(fewer, 1)
    assert len(sets) > 5
    assert min(map(len, sets)) < 4


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert contradiction(kind_of("tokens", 4), np.array([1, 1, 2, 1], np.int32), 0, 2) is None
    # Units without rules still show clashes.
    grid = kind_of(json.dumps(GRID | {"units": {"line": "rows columns"}}), 4)
    question = grid.parse("a...")
    assert contradiction(grid, question, 1, 2) == Contradiction((0,), "unit", "line")
    assert contradiction(grid, question, 3, 2) is None


def test_clues_that_the_rules_cannot_do_without_stay() -> None:
    def rules(question: str, answer: str) -> bool:
        if question[0] != "a":
            raise RulesError("check failed")
        return answer in ("abba", "aabb")

    grid = kind_of(json.dumps(GRID), 4, rules)
    assert contradiction(grid, grid.parse("a..."), 3, 3) is None
    assert contradiction(grid, grid.parse("ab.."), 3, 3) == Contradiction((0, 1), "search")
