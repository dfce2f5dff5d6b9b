"""What the benchmark says of answers, and the one scale that it compares scales of channels with."""

from types import SimpleNamespace

import numpy as np
import small_run

from benchmarks.quantised import DEPTHS, Attempts, _of_one_scale
from trm_jax.exporting.rounding import floats, nearest, widest


def test_shares_of_answers():
    labels = np.array([[2, 3, 4, 0], [3, 2, 4, 5]])
    puzzles = SimpleNamespace(
        inputs=np.ones((3, 4)), labels=np.concatenate([labels[:1], labels]), puzzle_ids=np.zeros(3)
    )
    figures = Attempts(small_run.experiment(), puzzles, slice(1, 3))
    right = np.array([[2, 3, 4, 5], [3, 2, 4, 5]])  # a cell without a label may say anything
    wrong = right[::-1]
    figures._first = np.stack([right, right, right]), np.zeros(0)
    told = figures.told(np.stack([right, np.stack([right[0], wrong[1]]), wrong]))
    assert [told[f"exact_{depth}"] for depth in DEPTHS] == [100, 50, 0]
    assert told["same"] == 50


def test_one_scale():
    array = np.array([[100, 1], [50, -1]], np.float32)
    part = _of_one_scale(nearest(array, widest(array, 4, (0,)), 4), array)
    assert part.scales.shape == (1, 1)
    assert (floats(part)[:, 1] == 0).all()
    assert _of_one_scale(array, array) is array
