"""When cells were decided, by hand; which answer is held to be right; the first cell that was wrong for good."""

import json

import numpy as np
import pytest

from trm_jax.inference.decisions import decisions, mistake, truth
from trm_jax.puzzles.kinds import kind_of

SUDOKU = kind_of("sudoku", 16)
PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"


def test_a_cell_is_decided_when_it_stays_as_it_ends() -> None:
    found = decisions(np.array([[5, 1, 2, 7], [5, 2, 2, 8], [5, 1, 2, 7], [5, 1, 3, 7]], np.int32))
    assert found.at.tolist() == [1, 3, 4, 3]
    assert found.changes is not None
    assert found.changes.tolist() == [0, 2, 1, 2]
    alone = decisions(np.array([[5, 1]], np.int32))
    assert (alone.at.tolist(), alone.changes is not None and alone.changes.tolist()) == ([1, 1], [0, 0])


def test_the_right_answer_is_the_known_one_or_the_only_one() -> None:
    question = SUDOKU.parse(PUZZLE)
    label = np.where(np.arange(16) == 3, 0, SUDOKU.parse(SOLVED))
    assert truth(SUDOKU, question, label).answer is label
    for unknown in (None, np.zeros(16, np.int32)):
        found = truth(SUDOKU, question, unknown)
        assert found.answer is not None
        assert (SUDOKU.text(found.answer), found.why) == (SOLVED, "one")
    assert truth(SUDOKU, SUDOKU.parse("1" + "." * 15)) == (None, "several")
    assert truth(SUDOKU, SUDOKU.parse("12.. ...3 .... ...4")) == (None, "none")
    assert truth(kind_of("tokens", 4), np.ones(4, np.int32)) == (None, "unknown")


@pytest.mark.parametrize(
    ("answers", "cell", "step", "wrong", "how"),
    [
        # r1c3 and r1c4 are wrong from the second step on; only the latter stands against a clue.
        (["1234341221434321", "1243341221434321", "1243341221434321"], 2, 2, [2, 3], "unit"),
        # A cell that was wrong and is right again is none.
        (["2234341221434321", "1234341221434321", "1234341121434321"], 7, 3, [7], "unit"),
        # Of two, the one that was wrong for longer, though another was wrong before.
        (["1224341221434321", "1234341121434321", "1224341121434321"], 7, 2, [2, 7], "unit"),
        # A clue that was overwritten says most, though another cell comes before it and clashes.
        (["1234441221434321"], 4, 1, [4], "overwritten"),
        (["1244341221434322"], 15, 1, [2, 15], "overwritten"),
    ],
)
def test_the_first_mistake_is_the_first_that_lasted(
    answers: list[str], cell: int, step: int, wrong: list[int], how: str
) -> None:
    question, right = SUDOKU.parse(PUZZLE), SUDOKU.parse(SOLVED)
    rows = np.stack([SUDOKU.parse(text) for text in answers])
    found = mistake(SUDOKU, question, rows, right)
    assert found is not None
    assert (found.cell, found.step, np.flatnonzero(found.wrong).tolist()) == (cell, step, wrong)
    assert (found.token, found.right) == (rows[-1, cell], right[cell])
    assert found.against is not None
    assert found.against.how == how
    assert mistake(SUDOKU, question, rows, rows[-1]) is None


def test_of_mistakes_at_once_one_that_clashes_is_named() -> None:
    name = json.dumps({"kind": "grid", "shape": [2, 2], "alphabet": ".ab", "units": {"line": "rows columns"}})
    grid = kind_of(name, 4)
    question, right, answer = (grid.parse(text) for text in ("...a", "abba", "baba"))
    found = mistake(grid, question, answer[None], right)
    assert found is not None
    assert np.flatnonzero(found.wrong).tolist() == [0, 1]
    assert (found.cell, found.against is not None and found.against.clues) == (1, (3,))
    # And otherwise the first on the board; where a label says nothing, nothing is wrong.
    found = mistake(grid, question, grid.parse("aabb")[None], grid.parse("ab.b") * [1, 1, 0, 1])
    assert found is not None
    assert np.flatnonzero(found.wrong).tolist() == [1]
