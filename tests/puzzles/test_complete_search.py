"""A complete search answers what has an answer and shows that the rest has none, whatever its guide believes."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from places import TESTDATA

from trm_jax.errors import ConfigError, DataError
from trm_jax.puzzles import sudoku
from trm_jax.puzzles.complete_search import CompleteSearch, Ended
from trm_jax.puzzles.grid import Grid as GridForm
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.sudoku_search import all_solutions_4x4
from trm_jax.puzzles.table import read_pairs

FOUR, NINE = kind_of("sudoku", 16), kind_of("sudoku", 81)


class Knows:
    """A guide that knows the answer, and says so, or says the contrary."""

    def __init__(self, answer: NDArray[np.integer[Any]], sign: float) -> None:
        self._answer, self._sign, self.asked = answer, sign, 0

    def __call__(self, possible: NDArray[np.bool_]) -> NDArray[np.float64]:
        self.asked += 1
        symbols = np.arange(2, 2 + possible.shape[1])
        right = (possible.sum(axis=-1) > 1)[:, None] & (self._answer[:, None] == symbols)
        return np.where(right, self._sign, 0.0)


def draw_guess(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return lambda possible: rng.normal(size=possible.shape)


@pytest.mark.parametrize("guided", [False, True])
def test_the_verdict_is_that_of_all_grids(guided: bool) -> None:
    rng, grids = np.random.default_rng(3), all_solutions_4x4()
    seen = set()
    for case in range(60):
        # Clues of two grids that do not contradict each other at sight often have no answer together.
        first, second = grids[rng.integers(288, size=2)]
        cells = rng.permutation(16)
        question = np.zeros(16, np.int64)
        question[cells[:3]], question[cells[3:6]] = first[cells[:3]], second[cells[3:6]]
        if sudoku.conflicts(question, sudoku.layout_for(4)):
            continue
        answers = {grid.tobytes() for grid in grids if (grid == question)[question > 0].all()}
        ended = CompleteSearch(FOUR)(question.astype(np.int32) + 1, *([draw_guess(case)] if guided else []))
        assert ended.reason == ("answered" if answers else "unsolvable")
        assert (ended.tokens is None) != bool(answers)
        assert ended.tokens is None or (ended.tokens - 1).astype(np.int8).tobytes() in answers
        seen.add(ended.reason)
    assert seen == {"answered", "unsolvable"}


def test_hard_puzzles_are_answered_and_a_guide_that_knows_wastes_no_node() -> None:
    questions, answers = read_pairs(
        TESTDATA / "hard_sudokus.csv", lambda text: sudoku.parse(text, sudoku.layout_for(9))
    )
    search, right, plain, wrong = CompleteSearch(NINE), [], [], []
    for question, answer in zip(questions[:5] + 1, answers[:5] + 1, strict=True):
        for guide, nodes in (((), plain), ((Knows(answer, 1.0),), right), ((Knows(answer, -1.0),), wrong)):
            ended = search(question.astype(np.int32), *guide)
            assert (ended.tokens == answer).all()
            nodes.append(ended.nodes)
            if nodes is right:
                # Every node but the last was split.
                assert guide[0].asked == ended.nodes - 1  # type: ignore[attr-defined]
    assert max(right) < 25 < np.mean(plain)
    assert np.mean(right) < np.mean(plain) < np.mean(wrong)


def test_what_units_leave_open_the_rules_decide() -> None:
    """A Latin square of side 3 with a rule that no unit knows: the first row is in order."""

    def ascending(question: str, answer: str) -> bool:
        rows = [answer[i : i + 3] for i in (0, 3, 6)]
        lines = [*rows, *map("".join, zip(*rows, strict=True))]
        return all(sorted(line) == ["1", "2", "3"] for line in lines) and rows[0] == "123"

    form = GridForm((3, 3), ".123", units={"line": "rows columns"})
    search = CompleteSearch(Grid(form, ascending))
    ended = search(search._kind.parse("........."))
    assert ended.tokens is not None
    assert search._kind.text(ended.tokens)[:3] == "123"
    assert search(search._kind.parse("3........")).reason == "unsolvable"


def test_rules_that_judge_boards_in_part_spare_nodes_and_no_answer() -> None:
    """Planted: a search that drops what is not refused, or that asks about the question alone."""

    class Ascending:
        def __call__(self, question: str, answer: str) -> bool:
            return answer == "".join(sorted(answer)) and len(set(answer)) == 4

        def partial(self, question: str, board: str) -> bool:
            filled = board.replace(".", "")
            return filled == "".join(sorted(filled)) and len(set(filled)) == len(filled)

    form, rules = GridForm((1, 4), ".abcdxyz"), Ascending()
    pruned, plain = CompleteSearch(Grid(form, rules)), CompleteSearch(Grid(form, rules.__call__))
    for question in (".c..", "a..x"):
        tokens = Grid(form).parse(question)
        found, all_found = (
            [None if e.tokens is None else bytes(e.tokens) for e in s.every(tokens)] for s in (pruned, plain)
        )
        assert sorted(filter(None, found)) == sorted(filter(None, all_found))
    few, many = (search(Grid(form).parse("x...")) for search in (pruned, plain))
    assert few.reason == many.reason == "unsolvable"
    assert few.nodes < many.nodes / 3


def test_more_nodes_than_allowed_are_not_looked_at() -> None:
    question = NINE.parse("." * 81)
    assert CompleteSearch(NINE)(question, most=5) == Ended(None, 5, "nodes")


def test_what_has_no_rules_or_contradicts_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--complete needs rules .* kind 'arc' have none"):
        CompleteSearch(kind_of("arc", 900))
    with pytest.raises(DataError, match="row 1"):
        CompleteSearch(FOUR)(FOUR.parse("11.............."))
