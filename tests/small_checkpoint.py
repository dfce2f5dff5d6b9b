"""A state to save that no training made: every array of it is random and unlike the others."""

from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment, ModelConfig, TrainConfig
from trm_jax.training.step import init_state

EXPERIMENT = Experiment(
    name="tiny",
    model=ModelConfig(
        vocab_size=5, seq_len=4, num_puzzles=9, width=8, heads=2, expansion=1.0, layers=1, puzzle_dim=8,
        puzzle_tokens=1, latent_steps=1, cycles=1, supervision_steps=3,
    ),
    train=TrainConfig(steps=50, batch_size=3),
)  # fmt: skip
TOTALS = {"loss": jnp.zeros((), jnp.float32)}


@cache
def _shapes(experiment: Experiment):
    return jax.eval_shape(lambda: init_state(experiment))


def drawn_state(experiment: Experiment, seed: int = 0, step: int = 7):
    """A state in which no array is like another, of the shapes and dtypes of training."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        if leaf.dtype == jnp.bool_:
            return jnp.asarray(rng.random(leaf.shape) < 0.5)
        if jnp.issubdtype(leaf.dtype, jnp.integer):
            return jnp.asarray(rng.integers(0, 1 << 30, leaf.shape), leaf.dtype)
        return jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype)

    return replace(jax.tree.map(draw, _shapes(experiment)), step=jnp.asarray(step, jnp.int32))


def zeros_like(state):
    return jax.tree.map(jnp.zeros_like, state)
