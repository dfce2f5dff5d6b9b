"""A search in a graph knows the rules by their units."""

import jax
import numpy as np

from trm_jax.exporting.searching import _keeps
from trm_jax.puzzles.kinds import kind_of

ANSWER = "4213132424313142"


def test_an_answer_keeps_the_rules_if_the_kind_says_so():
    kind = kind_of("sudoku", 16)
    right = kind.parse(ANSWER)
    # Rows or columns of different boxes are exchanged; two cells of a row or of a column are.
    others = [right.reshape(4, 4)[[0, 2, 1, 3]].ravel(), right.reshape(4, 4).T[[0, 2, 1, 3]].T.ravel(), *swaps(right)]
    answers = np.stack([right, *others]).astype(np.int32)
    blank = np.full_like(answers, kind.blank)
    told = jax.jit(_keeps, static_argnums=0)(kind.units, answers)
    np.testing.assert_array_equal(told, kind.satisfied(blank, answers))
    assert np.asarray(told).tolist() == [True, *[False] * (len(answers) - 1)]


def swaps(board):
    """Two cells of a row, and two of a column, exchanged."""
    for first, second in ((0, 1), (0, 4)):
        swapped = board.copy()
        swapped[[first, second]] = swapped[[second, first]]
        yield swapped
