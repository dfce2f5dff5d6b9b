"""Halting, refilling and exploration, row by row."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.model.model import Model, Readout
from trm_jax.training.supervision import Batch, continue_target, empty_carry, halted, next_carry, refill

CONFIG = ModelConfig(
    vocab_size=5, seq_len=4, num_puzzles=9, width=8, heads=2, puzzle_dim=8, puzzle_tokens=1, dtype="float32",
    supervision_steps=6, exploration=0.0,
)  # fmt: skip
MODEL = Model(CONFIG)
STARTS = jax.jit(MODEL.init)(jax.random.key(0)).starts


def batch_of(value, size=3):
    cells = jnp.full((size, 4), value, jnp.int32)
    return Batch(cells, cells + 100, jnp.full((size,), value, jnp.int32))


def readout(q_halt, q_continue=None):
    q_halt = jnp.asarray(q_halt, jnp.float32)
    return Readout(
        jnp.zeros((len(q_halt), 4, 5)), q_halt, q_halt * 0 if q_continue is None else jnp.asarray(q_continue)
    )


def test_at_the_start_every_row_takes_a_puzzle():
    carry = refill(MODEL, STARTS, empty_carry(MODEL, STARTS, 3), batch_of(7))
    np.testing.assert_array_equal(carry.data.inputs, 7)
    np.testing.assert_array_equal(carry.steps, 0)
    fresh = MODEL.start(STARTS, 3)
    jax.tree.map(np.testing.assert_array_equal, carry.state, fresh)


def test_only_halted_rows_take_data_states_and_a_new_count():
    first = refill(MODEL, STARTS, empty_carry(MODEL, STARTS, 3), batch_of(1))
    moved = jax.tree.map(lambda s: s + 1.0, first.state)
    carry = replace(first, state=moved, steps=jnp.asarray([3, 4, 5]), halted=jnp.asarray([False, True, False]))
    carry = refill(MODEL, STARTS, carry, batch_of(2))
    np.testing.assert_array_equal(carry.data.inputs[:, 0], [1, 2, 1])
    np.testing.assert_array_equal(carry.data.labels[:, 0], [101, 102, 101])
    np.testing.assert_array_equal(carry.data.puzzle_ids, [1, 2, 1])
    np.testing.assert_array_equal(carry.steps, [3, 0, 5])
    fresh = MODEL.start(STARTS, 3)
    for name in ("y", "z"):
        found, start = getattr(carry.state, name), getattr(fresh, name)
        np.testing.assert_array_equal(found[1], start[1])
        np.testing.assert_array_equal(found[0], start[0] + 1.0)


def test_starts_and_latents_have_noise_of_the_size_that_is_configured():
    noisy = Model(replace(MODEL.config, start_noise=1.0, latent_noise=0.1))
    size = 64
    carry = empty_carry(noisy, STARTS, size)
    halted = jnp.arange(size) < 32
    carry = replace(carry, state=jax.tree.map(jnp.zeros_like, carry.state), halted=halted)
    fresh = refill(MODEL, STARTS, carry, batch_of(1, size))  # without a key, without noise
    jax.tree.map(np.testing.assert_array_equal, refill(noisy, STARTS, carry, batch_of(1, size)), fresh)
    noised = jax.jit(lambda key: refill(noisy, STARTS, carry, batch_of(1, size), key).state)
    found, other = noised(jax.random.key(1)), noised(jax.random.key(2))
    dy, dz = (np.float64(a) - np.float64(b) for a, b in ((found.y, fresh.state.y), (found.z, fresh.state.z)))

    # Rows that take a puzzle: both; rows that go on: z alone, by so much as it gets in each step.
    assert np.std(dy[:32]) == pytest.approx(1.0, rel=0.05)
    assert np.std(dz[:32]) == pytest.approx(np.hypot(1.0, 0.1), rel=0.05)
    assert not dy[32:].any()
    assert np.std(dz[32:]) == pytest.approx(0.1, rel=0.05)
    assert all(abs(np.mean(part)) < 0.1 for part in (dy[:32], dz[:32], dz[32:]))
    assert len(np.unique(dy[:32])) > 0.99 * dy[:32].size, "rows and positions differ"
    assert (np.asarray(other.z) != np.asarray(found.z)).mean() > 0.99


def test_steps_count_and_the_carry_keeps_its_own_data():
    carry = refill(MODEL, STARTS, empty_carry(MODEL, STARTS, 3), batch_of(1))
    after = next_carry(MODEL, carry, carry.state, readout([1.0, -1.0, 0.0]), jax.random.key(0))
    np.testing.assert_array_equal(after.steps, 1)
    np.testing.assert_array_equal(after.halted, [True, False, False])
    assert after.data is carry.data


@pytest.mark.parametrize("training", [True, False])
def test_every_row_halts_at_the_last_step_and_evaluation_at_no_other(training):
    key = jax.random.key(0) if training else None
    steps = jnp.asarray([1, 5, 6, 7])
    found = halted(CONFIG, steps, readout([5.0, 5.0, -5.0, -5.0]), key)
    np.testing.assert_array_equal(found, [training, training, True, True])


def test_with_a_continue_head_the_greater_of_the_two_decides():
    config = replace(CONFIG, halt_by="q_continue")
    found = halted(config, jnp.ones(3, jnp.int32), readout([1.0, -1.0, -2.0], [2.0, -2.0, -2.0]), jax.random.key(0))
    np.testing.assert_array_equal(found, [False, True, False])


def test_one_supervision_step_leaves_nothing_to_decide():
    config = replace(CONFIG, supervision_steps=1, exploration=1.0)
    assert halted(config, jnp.ones(4, jnp.int32), readout([-9.0] * 4), jax.random.key(0)).all()


def test_exploration_is_drawn_row_by_row_with_its_share_and_uniform_minimum():
    rows, share, n_sup = 60_000, 0.3, 6
    config = replace(CONFIG, exploration=share, supervision_steps=n_sup)
    eager = readout(np.full(rows, 9.0))
    kept_on = [
        1 - float(halted(config, jnp.full((rows,), s, jnp.int32), eager, jax.random.key(s)).mean())
        for s in range(1, n_sup + 1)
    ]
    # A row explores with probability 0.3 and draws its minimum from 2 ... 6: at step s it must go on if minimum > s.
    expected = [share * (n_sup - max(s, 1)) / (n_sup - 1) for s in range(1, n_sup + 1)]
    np.testing.assert_allclose(kept_on, expected, atol=4 * np.sqrt(0.21 / rows))


def test_the_continue_target_is_the_better_choice_one_step_later():
    following = readout([1.0, -1.0, 1.0], [2.0, 3.0, 2.0])
    target = continue_target(CONFIG, jnp.asarray([1, 1, 6]), following)
    np.testing.assert_allclose(target, jax.nn.sigmoid(jnp.asarray([2.0, 3.0, 1.0])), rtol=1e-6)
