"""Winner-take-all: which latent wins, what goes on from it, and what is trained; with a network of one product."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_step import EXPERIMENT, batch_of, init, with_model

from trm_jax.config import LossConfig
from trm_jax.model.model import Model, Readout
from trm_jax.recursion.recursion import State
from trm_jax.training.competition import think_best
from trm_jax.training.step import supervise
from trm_jax.training.supervision import empty_carry, refill


class Product:
    """y = w z + row, and z grows by one: the answer is as good as it is near to the label."""

    def think(self, params, rows_BR, state, inputs_BS):
        y = params["w"] * state.z[:, 0] + rows_BR[:, None] + 0 * state.y
        return State(y, state.z + 1), Readout(y, y[:, 0, 0], y[:, 0, 0])


def test_the_nearest_latent_wins_its_y_goes_on_and_it_alone_is_trained():
    z = np.float32([[1, 5, 9], [4, 2, 3]])[..., None, None]  # [B, K, L, D]
    labels = np.float32([[[11.0]], [[11.0]]])
    rows = jnp.asarray([[1.0], [2.0]])
    state = State(jnp.zeros((2, 1, 1)), jnp.asarray(z))

    def loss(logits):
        return jnp.square(logits - labels).sum(axis=(1, 2))

    def total(params, rows):
        reached, readout = think_best(Product(), params, rows, state, None, loss)
        return loss(readout.logits).sum(), (reached, readout)

    # With w = 2 the answers are 3, 11, 19 and 10, 6, 8: of the first row the second latent wins, of the other the first
    gradients, (reached, readout) = jax.grad(total, argnums=(0, 1), has_aux=True)({"w": jnp.float32(2.0)}, rows)
    np.testing.assert_array_equal(np.ravel(reached.y), [11, 10])
    np.testing.assert_array_equal(np.ravel(readout.logits), [11, 10])
    np.testing.assert_array_equal(reached.z, z + 1)  # each latent keeps its own
    # 2 (y - label) z of the winners alone.
    np.testing.assert_allclose(gradients[0]["w"], 2 * (0 * 5 - 1 * 4))
    np.testing.assert_allclose(np.ravel(gradients[1]), [0, -2])


@pytest.mark.slow
def test_latents_that_begin_alike_are_one_latent_in_training_and_the_first_stands_for_all_at_inference():
    alone = with_model(EXPERIMENT, puzzle_dim=0, puzzle_tokens=0)
    rivals = with_model(alone, latents=2, winner_take_all=True)
    weights = init(alone).weights
    starts = State(weights.starts.y, jnp.concatenate([weights.starts.z] * 2))

    def after_a_step(experiment, starts, training):
        model = Model(experiment.model)
        carry = refill(model, starts, empty_carry(model, starts, 4), batch_of([1, 2, 3, 4]))
        made = jax.jit(lambda params: supervise(model, LossConfig(), params, None, carry, training=training))
        return made(weights.params)

    total, reached = after_a_step(alone, weights.starts, True)
    for training in (True, False):
        total_of_two, of_two = after_a_step(rivals, starts, training)
        np.testing.assert_allclose(total_of_two, total, rtol=1e-6)
        np.testing.assert_allclose(of_two.state.y, reached.state.y, atol=1e-6)
        np.testing.assert_allclose(of_two.state.z[:, :1], reached.state.z, atol=1e-6)
        # In training both have made the step; at inference the second has not.
        moved = np.abs(of_two.state.z[:, 1] - reached.state.z[:, 0]).max() < 1e-6
        assert moved == training


@pytest.mark.slow
def test_another_latent_that_does_better_is_the_one_that_is_trained():
    """The loss of several is the smallest of those that each latent has by itself."""
    rivals = with_model(EXPERIMENT, puzzle_dim=0, puzzle_tokens=0, latents=3, winner_take_all=True)
    model, weights = Model(rivals.model), init(rivals).weights
    carry = refill(model, weights.starts, empty_carry(model, weights.starts, 4), batch_of([1, 2, 3, 4]))
    made = jax.jit(
        lambda z, training: supervise(
            model, LossConfig(halting=0.0), weights.params, None, replace(carry, state=State(carry.state.y, z)),
            training=training,
        )[0],
        static_argnums=1,
    )  # fmt: skip
    z = carry.state.z
    by_itself = [float(made(jnp.roll(z, -k, axis=1), False)) for k in range(3)]
    assert len(set(by_itself)) == 3
    assert float(made(z, True)) <= min(by_itself) + 1e-6
    assert float(made(z.at[:, 1:].set(0.0), False)) == by_itself[0]  # at inference the first alone is asked
