"""Evaluation against a plain loop, puzzle by puzzle."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.dataset import PuzzleSet, from_pairs
from trm_jax.evaluate import Evaluator, answer
from trm_jax.model import Model

CONFIG = ModelConfig(
    vocab_size=4, seq_len=3, num_puzzles=5, width=16, heads=2, expansion=1.0, layers=1, puzzle_dim=16, puzzle_tokens=1,
    latent_steps=1, cycles=1, supervision_steps=2, dtype="float32",
)  # fmt: skip
MODEL = Model(CONFIG)
COUNT, DEPTH = 11, 6

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def weights():
    weights = jax.jit(MODEL.init)(jax.random.key(0))
    rng = np.random.default_rng(0)
    q_head = {"kernel": rng.normal(size=(16, 2)).astype(np.float32), "bias": np.float32([0.5, 0.0])}
    table = rng.normal(size=(5, 16)).astype(np.float32)
    return replace(weights, params=weights.params | {"q_head": q_head}, puzzle_table=table)


@pytest.fixture(scope="module")
def loop(weights):
    """inputs [N, S], puzzle ids [N], answers [DEPTH, N, S] and q [DEPTH, N] of a loop over supervision steps."""
    rng = np.random.default_rng(1)
    inputs = rng.integers(1, 4, (COUNT, 3)).astype(np.int32)
    ids = rng.integers(0, 5, COUNT).astype(np.int32)
    think = jax.jit(MODEL.think)
    tokens, q = np.zeros((DEPTH, COUNT, 3), np.int32), np.zeros((DEPTH, COUNT), np.float32)
    for i in range(COUNT):
        state = MODEL.start(weights.starts, 1)
        for step in range(DEPTH):
            state, readout = think(weights.params, weights.puzzle_table[ids[i : i + 1]], state, inputs[i : i + 1])
            tokens[step, i], q[step, i] = np.asarray(readout.logits).argmax(-1)[0], readout.q_halt[0]
    return inputs, ids, tokens, q


@pytest.fixture(scope="module")
def puzzles(loop) -> PuzzleSet:
    """Labels of which some are right at some depths, some not predicted, and one row without any."""
    inputs, ids, tokens, _ = loop
    labels = np.stack([tokens[i % DEPTH, i] for i in range(COUNT)])
    labels[::3, 1] = (labels[::3, 1] + 1) % 4
    labels[1:4, 0] = 0
    labels[5] = 0
    return replace(from_pairs(inputs, labels, 4), puzzle_ids=ids, num_puzzles=5)


def expected_row(puzzles, loop, depth):
    _, _, tokens, q = loop
    exact, cells, told, halted = [], [], [], []
    for i, labels in enumerate(puzzles.labels):
        labelled = [cell for cell in range(3) if labels[cell] != 0]
        right = [tokens[depth - 1, i, cell] == labels[cell] for cell in labelled]
        exact.append(all(right))
        cells.append(sum(right) / max(1, len(labelled)))
        told.append((q[depth - 1, i] >= 0) == exact[-1])
        halted.append(q[depth - 1, i] > 0)
    return [np.mean(values) for values in (exact, cells, told, halted)]


def figures(row):
    return [row.exact_accuracy, row.cell_accuracy, row.q_halt_accuracy, row.halted]


@pytest.mark.parametrize("batch_size", [3, 4, 11, 100])
def test_figures_are_those_of_a_plain_loop_whatever_the_batch(batch_size, weights, loop, puzzles):
    told = []
    report = Evaluator(MODEL, puzzles, batch_size, [6, 1, 3, 3])(weights, told.append)
    assert report.puzzles == COUNT
    assert report.seconds > 0
    assert [row.supervision_steps for row in report.rows] == [1, 3, 6]
    for row in report.rows:
        np.testing.assert_allclose(figures(row), expected_row(puzzles, loop, row.supervision_steps), rtol=1e-9)
    assert told == [min(done, COUNT) for done in range(batch_size, COUNT + batch_size, batch_size)][: len(told)]
    assert told[-1] == COUNT
    assert len(told) == -(-COUNT // batch_size)


def test_the_example_tells_figures_and_depths_apart(loop, puzzles):
    rows = [expected_row(puzzles, loop, depth) for depth in (1, 3, 6)]
    assert all(0 < np.mean(column) < 1 for column in zip(*rows, strict=True)), rows
    assert all(len(set(row)) >= 3 for row in rows), rows
    assert len({tuple(row) for row in rows}) == 3, rows


def test_an_evaluator_serves_other_weights_and_again_the_first(weights, puzzles):
    evaluate = Evaluator(MODEL, puzzles, 4, [2])
    first = figures(evaluate(weights).rows[0])
    other = replace(weights, params=weights.params | {"tokens": -weights.params["tokens"]})
    assert figures(evaluate(other).rows[0]) != first
    assert figures(evaluate(weights).rows[0]) == first


def test_a_report_is_plain_values(weights, puzzles):
    report = Evaluator(MODEL, puzzles, 4, [1, 2])(weights)
    plain = report.to_dict()
    assert set(plain) == {"puzzles", "seconds", "rows"}
    assert [row["supervision_steps"] for row in plain["rows"]] == [1, 2]
    assert plain["rows"][1]["cell_accuracy"] == report.rows[1].cell_accuracy
    assert {type(value) for row in plain["rows"] for value in row.values()} == {int, float}


def test_answers_are_those_of_the_loop(weights, loop):
    inputs, ids, tokens, q = loop
    found = answer(MODEL, weights, inputs, ids, DEPTH)
    assert found.tokens.dtype == np.int32
    np.testing.assert_array_equal(found.tokens, tokens)
    np.testing.assert_allclose(found.q_halt, q, atol=2e-4)
    assert np.abs(q).min() > 2e-4, "no q so near to zero that its sign is rounding"
    short = answer(MODEL, weights, inputs[:2], ids[:2], 1)
    np.testing.assert_array_equal(short.tokens, tokens[:1, :2])
