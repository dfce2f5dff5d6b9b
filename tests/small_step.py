"""A small model, and one step of it: what the tests of the step and of its gradients begin with."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment, ModelConfig, OptimConfig, TrainConfig
from trm_jax.model.model import Model
from trm_jax.training.step import init_state, train_step
from trm_jax.training.supervision import Batch

EXPERIMENT = Experiment(
    name="tiny",
    model=ModelConfig(
        vocab_size=5, seq_len=4, num_puzzles=9, width=16, heads=2, expansion=1.0, layers=1, puzzle_dim=16,
        puzzle_tokens=1, latent_steps=1, cycles=2, supervision_steps=3, exploration=0.0, dtype="float32",
    ),
    optim=OptimConfig(learning_rate=1e-2, warmup_steps=0, ema_decay=0.75, puzzle_learning_rate=1e-2),
    train=TrainConfig(steps=50, batch_size=4, seed=3),
)  # fmt: skip

step = jax.jit(train_step, static_argnums=0)
init = jax.jit(init_state, static_argnums=0)
think = jax.jit(Model.think, static_argnums=0)


def with_model(experiment=EXPERIMENT, **changes) -> Experiment:
    return replace(experiment, model=replace(experiment.model, **changes))


def with_size(experiment, batch_size: int) -> Experiment:
    return replace(experiment, train=replace(experiment.train, batch_size=batch_size))


# Rows that explore, and an average without memory; one compilation for three tests.
EXPLORING = with_size(
    with_model(replace(EXPERIMENT, optim=replace(EXPERIMENT.optim, ema_decay=0.0)), exploration=0.5), 64
)


def batch_of(ids, seed=0) -> Batch:
    rng = np.random.default_rng(seed)
    inputs, labels = rng.integers(1, 5, (2, len(ids), 4)).astype(np.int32)
    return Batch(jnp.asarray(inputs), jnp.asarray(labels), jnp.asarray(ids, jnp.int32))


def with_table(state):
    """The state with a puzzle table in which a decayed row can be told from one that was left alone."""
    table = jax.random.normal(jax.random.key(9), state.weights.puzzle_table.shape)
    return replace(state, weights=replace(state.weights, puzzle_table=table))


def with_q_bias(state, bias):
    head = state.weights.params["q_head"] | {"bias": jnp.asarray(bias, jnp.float32)}
    return replace(state, weights=replace(state.weights, params=state.weights.params | {"q_head": head}))
