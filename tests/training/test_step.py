"""One optimiser step: what it touches, what it leaves alone, and what its numbers mean."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_step import (
    EXPERIMENT,
    EXPLORING,
    batch_of,
    init,
    step,
    think,
    with_model,
    with_q_bias,
    with_size,
    with_table,
)

from trm_jax.config import LossConfig
from trm_jax.model.losses import IGNORE, binary_cross_entropy
from trm_jax.model.model import Model
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.training.step import averaged_weights, supervised_loss
from trm_jax.training.supervision import refill

evaluate = jax.jit(supervised_loss, static_argnums=(0, 1))


def test_only_rows_of_carried_puzzles_move():
    before = with_table(init(EXPERIMENT))
    first, _ = step(EXPERIMENT, before, batch_of([1, 1, 3, 5]))
    # No row has halted, so the ids of this batch are not those that are being solved.
    second, _ = step(EXPERIMENT, first, batch_of([2, 7, 8, 0], seed=1))
    for old, new in ((before, first), (first, second)):
        old_table, new_table = np.asarray(old.weights.puzzle_table), np.asarray(new.weights.puzzle_table)
        moved = (old_table != new_table).any(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(moved), [1, 3, 5])
        # rate * sign of the gradient, after a decay by rate * weight decay
        step_size = (new_table - old_table * (1 - 1e-2 * 0.1))[[1, 3, 5]]
        np.testing.assert_allclose(np.abs(step_size), 1e-2, atol=1e-6)


def test_labels_and_everything_else_come_from_the_carry():
    state, _ = step(EXPERIMENT, init(EXPERIMENT), batch_of([1, 1, 3, 5]))
    for expected in (2, 3):
        one, one_metrics = step(EXPERIMENT, state, batch_of([2, 7, 8, 0], seed=1))
        other, other_metrics = step(EXPERIMENT, state, batch_of([4, 4, 4, 4], seed=2))
        assert fingerprint(one) == fingerprint(other)
        assert fingerprint(one_metrics) == fingerprint(other_metrics)
        np.testing.assert_array_equal(one.carry.steps, expected)
        state = one
    # Now every row has done its three steps, and the incoming batch counts.
    assert np.asarray(state.carry.halted).all()
    one, one_metrics = step(EXPERIMENT, state, batch_of([2, 7, 8, 0], seed=1))
    _, other_metrics = step(EXPERIMENT, state, batch_of([4, 4, 4, 4], seed=2))
    assert one_metrics["loss"] != other_metrics["loss"]
    np.testing.assert_array_equal(one.carry.data.puzzle_ids, [2, 7, 8, 0])
    np.testing.assert_array_equal(one.carry.steps, 1)


def test_the_average_follows_the_weights_by_its_formula():
    before = init(EXPERIMENT)
    assert fingerprint(before.ema) == fingerprint(before.weights.params)
    state = before
    for i in range(2):
        new, _ = step(EXPERIMENT, state, batch_of([1, 2, 3, 4], seed=i))
        expected = jax.tree.map(lambda e, w: 0.75 * e + 0.25 * w, state.ema, new.weights.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), new.ema, expected)
        assert fingerprint(new.ema) != fingerprint(new.weights.params)
        state = new
    averaged = averaged_weights(state)
    assert fingerprint(averaged.params) == fingerprint(state.ema)
    assert fingerprint(averaged.puzzle_table) == fingerprint(state.weights.puzzle_table)
    assert fingerprint(averaged.starts) == fingerprint(before.weights.starts)


def test_without_decay_the_average_is_the_weights():
    before = init(EXPLORING)
    state, _ = step(EXPLORING, before, batch_of([1, 2, 3, 4] * 16))
    assert fingerprint(before.ema) != fingerprint(state.ema)
    assert fingerprint(state.ema) == fingerprint(state.weights.params)


def test_each_step_draws_anew_from_its_number_and_the_seed():
    state = with_q_bias(init(EXPLORING), [5.0, 0.0])  # every row that does not explore halts at once
    batch = batch_of([0] * 64)

    def halted(state):
        after, _ = step(EXPLORING, state, batch)
        np.testing.assert_array_equal(after.key, state.key)
        return np.asarray(after.carry.halted)

    first = halted(state)
    assert 16 < first.sum() < 48
    np.testing.assert_array_equal(first, halted(state))
    assert 16 < (first != halted(replace(state, step=jnp.asarray(1, jnp.int32)))).sum() < 48
    other = replace(state, key=jax.random.key_data(jax.random.key(4)))
    assert 16 < (first != halted(other)).sum() < 48


def test_a_run_is_a_function_of_its_seed():
    def run(seed):
        state = init(replace(EXPLORING, train=replace(EXPLORING.train, seed=seed)))
        state = with_q_bias(state, [5.0, 0.0])
        for i in range(4):
            # The step does not read the seed: the state's key holds it, and one compilation serves both.
            state, _ = step(EXPLORING, state, batch_of([1, 2, 3, 4] * 16, seed=i))
        assert int(state.step) == 4
        return fingerprint(state)

    assert run(3) == run(3) != run(4)


def test_the_loss_is_a_sum_over_rows_and_the_gradient_a_mean():
    once, twice = (with_size(EXPERIMENT, n) for n in (4, 8))
    batch = batch_of([1, 2, 3, 4])
    doubled = jax.tree.map(lambda a: jnp.concatenate([a, a]), batch)
    state, metrics = step(once, init(once), batch)
    state_twice, metrics_twice = step(twice, init(twice), doubled)
    for name in ("loss", "lm_loss", "q_halt_loss"):
        np.testing.assert_allclose(metrics_twice[name], 2 * metrics[name], rtol=1e-5)
    np.testing.assert_allclose(metrics_twice["gradient_norm"], metrics["gradient_norm"], rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state_twice.opt_state.mu, state.opt_state.mu)

    # The undivided gradient, from the function that the recordings check.
    model, fresh = Model(EXPERIMENT.model), init(once)
    carry = refill(model, fresh.weights.starts, fresh.carry, batch)
    rows = model.puzzle_rows(fresh.weights.puzzle_table, carry.data.puzzle_ids)

    def total(params):
        return supervised_loss(model, EXPERIMENT.loss, params, rows, carry, jax.random.key(0))[0]

    loss, grads = jax.jit(jax.value_and_grad(total))(fresh.weights.params)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["gradient_norm"], optax.tree.norm(grads) / 4, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], metrics["lm_loss"] + 0.5 * metrics["q_halt_loss"], rtol=1e-6)


@pytest.mark.parametrize("steps_done", [0, 2])
def test_the_continue_head_adds_its_loss_in_training_only(steps_done):
    experiment = with_model(replace(EXPERIMENT, loss=LossConfig(continue_head=True)), halt_by="q_continue")
    model, state = Model(experiment.model), with_q_bias(init(experiment), [-1.0, 0.5])
    weights = state.weights
    carry = refill(model, weights.starts, state.carry, batch_of([1, 2, 3, 4]))
    carry = replace(carry, steps=jnp.full((4,), steps_done, jnp.int32))
    rows = model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)

    def parts(loss, key):
        total, (_, metrics, _) = evaluate(model, loss, weights.params, rows, carry, key)
        return float(total), metrics

    without, plain = parts(LossConfig(), jax.random.key(0))
    assert "q_continue_loss" not in plain
    np.testing.assert_allclose(without, plain["lm_loss"] + 0.5 * plain["q_halt_loss"], rtol=1e-6)
    total, metrics = parts(experiment.loss, jax.random.key(0))
    np.testing.assert_allclose(total, without + 0.5 * metrics["q_continue_loss"], rtol=1e-6)

    middle, readout = think(model, weights.params, rows, carry.state, carry.data.inputs)
    _, following = think(model, weights.params, rows, middle, carry.data.inputs)
    # With steps_done = 2 this is the last of three steps, after which one can only halt.
    best = following.q_halt if steps_done == 2 else np.maximum(following.q_halt, following.q_continue)
    expected = binary_cross_entropy(readout.q_continue, jax.nn.sigmoid(best)).sum()
    np.testing.assert_allclose(metrics["q_continue_loss"], expected, rtol=1e-5)

    evaluated, evaluation = parts(experiment.loss, None)
    assert "q_continue_loss" not in evaluation
    np.testing.assert_allclose(evaluated, without, rtol=1e-6)


def test_metrics_count_finished_rows_with_labels_only():
    model = Model(EXPERIMENT.model)
    state = with_q_bias(init(EXPERIMENT), [1.0, 0.0])  # says of every row that it is solved
    weights, batch = state.weights, batch_of([1, 2, 3, 4, 5])
    carry = refill(model, weights.starts, init(with_size(EXPERIMENT, 5)).carry, batch)
    rows = model.puzzle_rows(weights.puzzle_table, batch.puzzle_ids)
    _, readout = think(model, weights.params, rows, carry.state, batch.inputs)
    labels = np.array(jnp.argmax(readout.logits, axis=-1), np.int32)
    labels[1] = (labels[1] + [0, 1, 1, 1]) % 5  # a quarter right
    labels[1, 3] = IGNORE  # a third right
    labels[2] = IGNORE  # finished, but nothing to be right about
    labels[3] = (labels[3] + 1) % 5  # all wrong, but not finished
    carry = replace(
        carry,
        data=replace(batch, labels=jnp.asarray(labels)),
        steps=jnp.asarray([2, 2, 2, 0, 4], jnp.int32),
        halted=jnp.zeros(5, jnp.bool_),
    )
    # key None: a row ends at supervision step 3 and not before
    _, (after, metrics, _) = evaluate(model, LossConfig(), weights.params, rows, carry, None)
    np.testing.assert_array_equal(after.halted, [True, True, True, False, True])
    assert int(metrics["count"]) == 3
    assert int(metrics["exact_accuracy"]) == 2
    assert int(metrics["q_halt_accuracy"]) == 2
    assert int(metrics["steps"]) == 3 + 3 + 5
    np.testing.assert_allclose(metrics["accuracy"], 1 + 1 / 3 + 1, rtol=1e-6)
    # The losses are of all rows.
    exact = np.float32([1, 0, 1, 0, 1])
    expected = binary_cross_entropy(readout.q_halt, exact).sum()
    np.testing.assert_allclose(metrics["q_halt_loss"], expected, rtol=1e-5)
    assert float(metrics["q_halt_loss"]) > 2.6
