"""Evaluation against a plain loop, puzzle by puzzle."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.data.puzzle_set import PuzzleSet, from_pairs
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator
from trm_jax.inference.statistics import calibration, share
from trm_jax.model.estimate import supervision_flops
from trm_jax.model.model import Model
from trm_jax.puzzles.grid import Grid
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.kinds.grid import Grid as GridKind

CONFIG = ModelConfig(
    vocab_size=4, seq_len=3, num_puzzles=5, width=16, heads=2, expansion=1.0, layers=1, puzzle_dim=16, puzzle_tokens=1,
    latent_steps=1, cycles=1, supervision_steps=2, dtype="float32",
)  # fmt: skip
MODEL = Model(CONFIG)
COUNT, DEPTH = 11, 6
KIND = kind_of("tokens", 3)


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
    """exact, cells, q right, halted by then; of the row without a label only the last says something."""
    _, _, tokens, q = loop
    exact, cells, told, halted = [], [], [], []
    for i, labels in enumerate(puzzles.labels):
        halted.append((q[:depth, i] > 0).any())
        labelled = [cell for cell in range(3) if labels[cell] != 0]
        if not labelled:
            continue
        right = [tokens[depth - 1, i, cell] == labels[cell] for cell in labelled]
        exact.append(all(right))
        cells.append(sum(right) / len(labelled))
        told.append((q[depth - 1, i] >= 0) == exact[-1])
    return [np.mean(values) for values in (exact, cells, told, halted)]


def figures(row):
    return [row.exact.value, row.cells.value, row.q_right, row.halted]


def evaluator(puzzles, batch_size, *depths, **more):
    kind = more.pop("kind", KIND)
    options = {name: more.pop(name) for name in ("selection", "puzzle_ids") if name in more}
    return Evaluator(MODEL, puzzles, batch_size, Effort(depths, **more), kind, **options)


@pytest.mark.parametrize("batch_size", [3, 4, 11, 100])
def test_figures_are_those_of_a_plain_loop_whatever_the_batch(batch_size, weights, loop, puzzles):
    told = []
    report = evaluator(puzzles, batch_size, 1, 3, 6)(weights, told.append)
    assert report.puzzles == report.tasks == COUNT
    unlabelled = int((puzzles.labels == 0).all(axis=1).sum())
    assert report.unlabelled == unlabelled >= 1
    assert report.seconds > 0
    assert [row.supervision_steps for row in report.rows] == [1, 3, 6]
    for row in report.rows:
        np.testing.assert_allclose(figures(row), expected_row(puzzles, loop, row.supervision_steps), rtol=1e-9)
        assert row.steps == row.supervision_steps
        assert row.flops == row.steps * supervision_flops(CONFIG)
        assert row.exact == share(row.exact.value, COUNT - unlabelled)
        assert row.satisfied is None
        assert row.oracle == row.exact
    assert told == sorted(told)
    assert told[-1] == COUNT


def test_halting_and_calibration_are_those_of_the_loop(weights, loop, puzzles):
    _, _, tokens, q = loop
    report = evaluator(puzzles, 4, 1, 6)(weights)
    first = [next((step for step in range(6) if q[step, i] > 0), 6) for i in range(COUNT)]
    assert list(report.halting) == [first.count(step) for step in range(7)]
    known = np.flatnonzero(puzzles.labels.any(axis=1))
    exact = [(tokens[5, i] == puzzles.labels[i])[puzzles.labels[i] != 0].all() for i in known]
    assert report.calibration.auroc == pytest.approx(calibration(q[5, known], exact).auroc)
    assert report.calibration.expected_error == pytest.approx(calibration(q[5, known], exact).expected_error, abs=1e-4)


def test_with_halting_the_answer_is_that_of_the_step_that_halted(weights, loop, puzzles):
    _, _, tokens, q = loop
    report = evaluator(puzzles, 3, 2, 6, halting=True)(weights)
    for row in report.rows:
        stops = [
            next((s for s in range(row.supervision_steps) if q[s, i] > 0), row.supervision_steps - 1)
            for i in range(COUNT)
        ]
        exact = [
            (tokens[stop, i] == puzzles.labels[i])[puzzles.labels[i] != 0].all()
            for i, stop in enumerate(stops)
            if puzzles.labels[i].any()
        ]
        assert row.exact.value == pytest.approx(np.mean(exact))
        assert row.steps == pytest.approx(np.mean(stops) + 1)


def test_several_attempts_are_tabled_by_number_and_selection(weights, puzzles):
    report = evaluator(puzzles, 4, 1, 2, attempts=5, latent_noise=1.0, selection="vote")(weights)
    keys = [(row.supervision_steps, row.attempts, row.selection) for row in report.table]
    names = ["change", "first", "q", "vote"]
    assert keys == [
        key for d in (1, 2) for key in [(d, 1, "only"), *[(d, k, name) for k in (2, 4, 5) for name in names]]
    ]
    assert [(row.attempts, row.selection) for row in report.rows] == [(5, "vote")] * 2
    by_key = dict(zip(keys, report.table, strict=True))
    plain = evaluator(puzzles, 4, 1, 2)(weights)
    for depth in (1, 2):
        assert by_key[depth, 1, "only"].exact == plain.rows[depth - 1].exact
        oracles = [by_key[depth, 1, "only"].oracle.value] + [by_key[depth, k, "q"].oracle.value for k in (2, 4, 5)]
        assert oracles == sorted(oracles)
        for k in (2, 4, 5):
            for name in names:
                row = by_key[depth, k, name]
                assert row.exact.value <= row.oracle.value
                assert row.steps == k * depth


def test_the_first_to_halt_is_the_first_by_that_depth(weights, puzzles):
    """An attempt that halts later has not halted yet: then, as without any, the most confident is taken."""
    effort = Effort((1, 2, 6), attempts=4, latent_noise=1.0)
    tried = list(attempt(MODEL, weights, effort, puzzles.inputs, puzzles.puzzle_ids, 100))
    assert len(tried) == 1
    report = Evaluator(MODEL, puzzles, 100, effort, KIND, "first")(weights)
    late = 0
    for d, row in enumerate(report.rows):
        depth, right = effort.depths[d], []
        for i, labels in enumerate(puzzles.labels):
            halted = [h if 0 < h <= depth else 99 for h in tried[0].halted_at[i]]
            late += any(h > depth for h in tried[0].halted_at[i]) and min(halted) == 99
            q = tried[0].q_halt[i, :, depth - 1]
            best = max(range(4), key=lambda k, halted=halted, q=q: (-halted[k], q[k]))
            if labels.any():
                right.append((tried[0].answers[i, best, d] == labels)[labels != 0].all())
        assert row.exact.value == pytest.approx(np.mean(right))
    assert late > 0


def test_intervals_count_tasks_and_not_their_augmentations(weights, puzzles):
    grouped = replace(puzzles, group_starts=np.array([0, 4, 11], np.int64))
    report = evaluator(grouped, 4, 1)(weights)
    assert (report.puzzles, report.tasks) == (COUNT, 2)
    assert report.rows[0].exact == share(evaluator(puzzles, 4, 1)(weights).rows[0].exact.value, 2)


def test_puzzles_without_a_labelled_cell_count_for_nothing(weights, puzzles):
    """Half of the labels gone, the others are as right as they were alone, and so is how sure that figure is."""
    labels = np.where(np.arange(COUNT)[:, None] % 2, 0, puzzles.labels)
    half = evaluator(replace(puzzles, labels=labels), 4, 2, attempts=2, latent_noise=1.0)(weights)
    kept = np.flatnonzero(labels.any(axis=1))
    starts = np.arange(len(kept) + 1)
    alone = replace(
        puzzles, inputs=puzzles.inputs[kept], labels=puzzles.labels[kept], puzzle_ids=puzzles.puzzle_ids[kept],
        puzzle_starts=starts, group_starts=starts,
    )  # fmt: skip
    plain = evaluator(alone, 4, 2)(weights)
    one = next(row for row in half.table if row.attempts == 1)
    assert (half.puzzles, half.unlabelled, half.tasks) == (COUNT, COUNT - len(kept), COUNT)
    assert (one.exact, one.cells, one.q_right) == (plain.rows[0].exact, plain.rows[0].cells, plain.rows[0].q_right)
    assert half.rows[0].oracle.low == share(half.rows[0].oracle.value, len(kept)).low
    with pytest.raises(DataError, match="none of 11 puzzles has a labelled cell, so there is nothing to be right"):
        evaluator(replace(puzzles, labels=np.zeros_like(puzzles.labels)), 4, 2)


def test_puzzle_ids_can_be_blanked_or_drawn(weights, puzzles):
    own = figures(evaluator(puzzles, 4, 3)(weights).rows[0])
    blank = evaluator(puzzles, 4, 3, puzzle_ids="blank")(weights)
    assert blank.puzzle_ids == "blank"
    without = evaluator(replace(puzzles, puzzle_ids=np.zeros_like(puzzles.puzzle_ids)), 4, 3)(weights)
    assert figures(blank.rows[0]) == figures(without.rows[0]) != own
    drawn = [figures(evaluator(puzzles, 4, 3, puzzle_ids="random", seed=seed)(weights).rows[0]) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_rules_judge_answers_whatever_the_labels_say(weights, loop, puzzles):
    _, _, tokens, _ = loop
    board = Grid((1, 3), "abc", "")
    kind = GridKind(board, lambda question, answer: answer[0] != answer[1])
    report = evaluator(puzzles, 4, 1, 4, kind=kind)(weights)
    for row in report.rows:
        answers = tokens[row.supervision_steps - 1]
        kept = [(answer > 0).all() and answer[0] != answer[1] for answer in answers]
        assert row.satisfied == share(np.mean(kept), COUNT)
    with pytest.raises(ConfigError, match="no rules are known"):
        evaluator(puzzles, 4, 1, selection="rules")


def test_the_example_tells_figures_and_depths_apart(loop, puzzles):
    rows = [expected_row(puzzles, loop, depth) for depth in (1, 3, 6)]
    assert all(0 < np.mean(column) < 1 for column in zip(*rows, strict=True)), rows
    assert all(len(set(row)) >= 3 for row in rows), rows
    assert len({tuple(row) for row in rows}) == 3, rows


def test_an_evaluator_serves_other_weights_and_again_the_first(weights, puzzles):
    evaluate = evaluator(puzzles, 4, 2)
    first = figures(evaluate(weights).rows[0])
    other = replace(weights, params=weights.params | {"tokens": -weights.params["tokens"]})
    assert figures(evaluate(other).rows[0]) != first
    assert figures(evaluate(weights).rows[0]) == first


def test_a_report_is_plain_values(weights, puzzles):
    report = evaluator(puzzles, 4, 1, 2, attempts=2, start_noise=1.0)(weights)
    plain = json.loads(json.dumps(report.to_dict()))
    assert [row["supervision_steps"] for row in plain["rows"]] == [1, 2]
    assert plain["rows"][1]["cells"] == {
        "value": report.rows[1].cells.value, "low": report.rows[1].cells.low, "high": report.rows[1].cells.high
    }  # fmt: skip
    assert plain["effort"]["attempts"] == 2
    assert plain["arc"] is None
    assert len(plain["table"]) == 2 * (1 + 4)
    assert len(plain["calibration"]["bins"]) == 15
