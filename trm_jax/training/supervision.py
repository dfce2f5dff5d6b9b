"""Deep supervision and halting, as a carry that crosses optimiser steps.

A row of the batch keeps its puzzle for up to N_sup optimiser steps, until it halts. Then it takes a fresh puzzle from
the incoming batch, fresh states, and counts from zero. So one batch holds puzzles at all stages of their solution.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from trm_jax.config import ModelConfig
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.model.model import Model, Readout
from trm_jax.recursion.recursion import State

# Streams of a step's key that nothing else folds in (halting splits it).
_STARTS, _LATENTS = 1 << 30, (1 << 30) + 1


@partial(jax.tree_util.register_dataclass, data_fields=["inputs", "labels", "puzzle_ids"], meta_fields=[])
@dataclass(frozen=True)
class Batch:
    """inputs and labels [B, S] int32 (labels: losses.IGNORE where not predicted), puzzle_ids [B] int32."""

    inputs: jax.Array
    labels: jax.Array
    puzzle_ids: jax.Array


@partial(jax.tree_util.register_dataclass, data_fields=["state", "steps", "halted", "data"], meta_fields=[])
@dataclass(frozen=True)
class Carry:
    """What passes from one supervision step to the next, row by row.

    state: y and z, first axis B.
    steps: supervision steps done with the present puzzle, int32 [B].
    halted: whether the row is to take a fresh puzzle, bool [B].
    data: the row's own puzzle; losses, metrics and the puzzle table's rows go by it, not by the incoming batch.
    """

    state: State
    steps: jax.Array
    halted: jax.Array
    data: Batch


def empty_carry(model: Model, starts: State, batch_size: int) -> Carry:
    """The carry before the first step: every row halted, so that every row takes a puzzle; no memory is shared."""

    def zeros(*cells: int) -> jax.Array:
        return jnp.zeros((batch_size, *cells), jnp.int32)

    S = model.config.seq_len
    data = Batch(inputs=zeros(S), labels=zeros(S), puzzle_ids=zeros())
    return Carry(model.start(starts, batch_size), zeros(), jnp.ones((batch_size,), jnp.bool_), data)


def refill(
    model: Model, starts: State, carry: Carry, batch: Batch, key: jax.Array | None = None, layout: Layout = ALONE
) -> Carry:
    """Halted rows take their row of the batch, fresh states, and zero steps; the others stay as they are.

    `halted` keeps its value, so that it still tells which rows were refilled. With config.start_noise fresh states have
    noise of their own, and with config.latent_noise every row's z has more of it in each step (EqR, arXiv 2605.21488);
    without a key (in evaluation) there is none.

    key: of the step; what is drawn for a row depends on it and on the row's number alone.
    layout: who has the other rows of the batch.
    """

    def choose(fresh: jax.Array, kept: jax.Array) -> jax.Array:
        return jnp.where(carry.halted.reshape(-1, *(1,) * (kept.ndim - 1)), fresh, kept)

    batch_size, c = carry.halted.shape[0], model.config
    fresh = model.start(starts, batch_size)
    keys_B = None
    if key is not None and (c.start_noise or c.latent_noise):
        keys_B = jax.vmap(partial(jax.random.fold_in, key))(layout.own(jnp.arange(layout.count * batch_size)))
    if keys_B is not None and c.start_noise:
        fresh = noised(fresh, keys_B, _STARTS, jnp.full(batch_size, c.start_noise), of_y=True)
    state = jax.tree.map(choose, fresh, carry.state)
    if keys_B is not None and c.latent_noise:
        state = noised(state, keys_B, _LATENTS, jnp.full(batch_size, c.latent_noise), of_y=False)
    return Carry(
        state=state,
        steps=jnp.where(carry.halted, 0, carry.steps),
        halted=carry.halted,
        data=jax.tree.map(choose, batch, carry.data),
    )


def noised(state: State, keys_B: jax.Array, step: Any, scale_B: jax.Array, of_y: bool) -> State:
    """The state with normal noise on z, and on y if wanted; each row's depends on its key and step alone."""
    steps_B = jnp.broadcast_to(step, keys_B.shape)

    def noise(array: jax.Array, stream: int) -> jax.Array:
        def draw(key: jax.Array, step: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, step), stream)
            return jax.random.normal(key, array.shape[1:], jnp.float32)

        scale = scale_B.reshape(-1, *(1,) * (array.ndim - 1))
        return (array + scale * jax.vmap(draw)(keys_B, steps_B)).astype(array.dtype)

    y = noise(state.y, 0) if of_y and state.y is not None else state.y
    return State(y, state.z if state.z is None else noise(state.z, 1))


def halted(
    config: ModelConfig, steps_B: jax.Array, readout: Readout, key: jax.Array | None, layout: Layout = ALONE
) -> jax.Array:
    """Which rows are done after this supervision step, bool [B].

    Args:
      config: N_sup, the rule, and the share of rows that explore.
      steps_B: supervision steps done, this one counted.
      readout: of this step.
      key: for exploration while training; None in evaluation, where every row runs N_sup steps.
      layout: who has the other rows of the batch; what is drawn for a row does not depend on it.
    """
    last_B = steps_B >= config.supervision_steps
    if key is None or config.supervision_steps == 1:
        return last_B
    threshold = readout.q_continue if config.halt_by == "q_continue" else 0.0
    explore_key, minimum_key = jax.random.split(key)
    # Each row tosses its own coin; a row that explores may not halt before a drawn number of steps.
    whole_batch = (layout.count * steps_B.shape[0],)
    explores_B = layout.own(jax.random.bernoulli(explore_key, config.exploration, whole_batch))
    minimum_B = layout.own(jax.random.randint(minimum_key, whole_batch, 2, config.supervision_steps + 1))
    return (last_B | (readout.q_halt > threshold)) & (steps_B >= jnp.where(explores_B, minimum_B, 0))


def next_carry(
    model: Model, carry: Carry, state: State, readout: Readout, key: jax.Array | None, layout: Layout = ALONE
) -> Carry:
    """The carry after an optimiser step's supervision steps, which led to `state` and `readout`.

    key, layout: as for `halted`.
    """
    steps_B = carry.steps + model.config.backprop_steps
    return Carry(state, steps_B, halted(model.config, steps_B, readout, key, layout), carry.data)


def continue_target(config: ModelConfig, steps_B: jax.Array, following: Readout) -> jax.Array:
    """What q_continue should have been: the value [B] of the better choice one supervision step later.

    Args:
      config: N_sup.
      steps_B: steps done, the present one counted; from N_sup on the row can only halt.
      following: the readout of one more supervision step from the new state, same puzzle and weights.
    """
    better_B = jnp.maximum(following.q_halt, following.q_continue)
    target_B = jax.nn.sigmoid(jnp.where(steps_B >= config.supervision_steps, following.q_halt, better_B))
    return jax.lax.stop_gradient(target_B)
