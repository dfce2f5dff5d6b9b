"""What the benchmark says of answers, and the one scale that it compares scales of channels with."""

from types import SimpleNamespace

import numpy as np
import small_run

import trm_jax as trm
from benchmarks import quantised
from benchmarks.quantised import DEPTHS, Attempts, _of_one_scale, _states
from trm_jax.exporting.rounding import floats, nearest, widest
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort


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


def test_answers_at_each_depth_are_those_of_attempts(monkeypatch):
    """After few steps, when they still change."""
    depths, at = (1, 2, 4), 2
    monkeypatch.setattr(quantised, "DEPTHS", depths)
    monkeypatch.setattr(quantised, "AT", at)
    solver = trm.load("sudoku-4x4")
    model, weights = solver._model, solver.weights
    questions = np.random.default_rng(0).integers(1, 6, (6, 16)).astype(np.int32)
    ids = np.zeros(6, np.int32)
    answers, state = _states(model, weights, questions, ids)
    found = list(attempt(model, weights, Effort(depths), questions, ids, 6))
    wanted = np.concatenate([part.answers[:, 0] for part in found])
    assert (wanted[:, 0] != wanted[:, 1]).any()
    assert (wanted[:, 1] != wanted[:, 2]).any()
    np.testing.assert_array_equal(answers, wanted.transpose(1, 0, 2))
    read = model.read(weights.params, state).logits.argmax(axis=-1)
    np.testing.assert_array_equal(read, answers[depths.index(at)])


def test_one_scale():
    array = np.array([[100, 1], [50, -1]], np.float32)
    part = _of_one_scale(nearest(array, widest(array, 4, (0,)), 4), array)
    assert part.scales.shape == (1, 1)
    assert (floats(part)[:, 1] == 0).all()
    assert _of_one_scale(array, array) is array
