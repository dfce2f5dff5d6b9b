"""None, one or several answers; and where the search is given up, nothing is claimed."""

import numpy as np
import pytest

from trm_jax.puzzles import counting
from trm_jax.puzzles.counting import Counter
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.sudoku_search import all_solutions_4x4

SUDOKU = kind_of("sudoku", 16)
LATIN = kind_of(
    '{"kind": "grid", "shape": [3, 3], "alphabet": ".123", "units": {"line": "rows columns"}}',
    9,
    lambda question, answer: answer[0] != "3",
)


def test_sudokus_are_counted_as_all_grids_say() -> None:
    count, grids, rng = Counter(SUDOKU), all_solutions_4x4(), np.random.default_rng(2)
    seen = set()
    for clues in (2, 4, 6, 8) * 10:
        first, second = grids[rng.integers(288, size=2)]
        cells = rng.permutation(16)
        question = np.zeros(16, np.int32)
        question[cells[: clues - 2]], question[cells[clues - 2 : clues]] = (
            first[cells[: clues - 2]],
            second[cells[clues - 2 : clues]],
        )
        answers = [grid for grid in grids if (grid == question)[question > 0].all()]
        found = count(question + 1)
        assert found.number == ("none", "one", "several")[min(len(answers), 2)]
        assert (found.answer is None) == (not answers)
        assert found.answer is None or any((found.answer - 1 == grid).all() for grid in answers)
        seen.add(found.number)
    assert seen == {"none", "one", "several"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("1........", "several"), ("123......", "several"), ("12.2.....", "one"), ("3........", "none")],
)
def test_an_own_puzzle_is_counted_by_its_units_and_rules(text: str, number: str) -> None:
    assert Counter(LATIN)(np.asarray(LATIN.parse(text), np.int32)).number == number


def test_what_is_given_up_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_NODES", 1)
    assert Counter(LATIN)(np.ones(9, np.int32)).number == "unknown"
    monkeypatch.setattr(counting, "_DEAD_ENDS", 0)
    assert Counter(SUDOKU)(np.asarray(SUDOKU.parse("1.2...........11"), np.int32)).number == "unknown"
    # Two answers are several, whatever is left.
    assert Counter(SUDOKU)(np.ones(16, np.int32)).number == "several"
