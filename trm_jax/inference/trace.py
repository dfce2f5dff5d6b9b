"""One attempt at a puzzle again, read out after every cycle of every supervision step."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.inference.effort import Effort
from trm_jax.inference.lanes import jobs_of
from trm_jax.inference.loop import change_of
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.recursion.recursion import State
from trm_jax.training.supervision import noised


class Trace(NamedTuple):
    """What one attempt says after every cycle of every supervision step.

    tokens [D, T, S], q_halt [D, T], change [D, T]: root mean square change of y and z by the cycle.
    latents: what z would say after each latent step (`Model.watch`), tokens [D, T, n, S]; None where nobody asks.
    """

    tokens: Any
    q_halt: Any
    change: Any
    latents: Any = None


@partial(jax.jit, static_argnames=("model", "effort", "latents"))
def _trace(
    model: Model,
    effort: Effort,
    weights: Weights,
    seed: int,
    inputs_BS: Any,
    puzzle_ids_B: Any,
    puzzle: int,
    number: int,
    latents: bool,
) -> Trace:
    # T supervision steps of one cycle are one supervision step of T cycles, read out in between.
    one = Model(replace(model.config, cycles=1, grad_cycles=1))
    keys_B = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), puzzle), number)[None]
    noisy_B = jnp.full((1,), number > 0)
    rows_BR = model.puzzle_rows(weights.puzzle_table, puzzle_ids_B)

    def cycle(state: State, _: None) -> tuple[State, Trace]:
        if latents:
            new, readout, said_nBS = one.watch(weights.params, rows_BR, state, inputs_BS)
        else:
            new, readout = one.think(weights.params, rows_BR, state, inputs_BS)
        tokens, said = jnp.argmax(readout.logits[0], axis=-1), said_nBS[:, 0] if latents else None
        return new, Trace(tokens, readout.q_halt[0], change_of(state, new)[0], said)

    def supervise(state: State, step: jax.Array) -> tuple[State, Trace]:
        if effort.latent_noise:
            state = noised(state, keys_B, step, effort.latent_noise * noisy_B, of_y=False)
        return jax.lax.scan(cycle, state, None, length=model.config.cycles)

    state = model.start(weights.starts, 1)
    if effort.start_noise:
        state = noised(state, keys_B, 0, effort.start_noise * noisy_B, of_y=True)
    trace: Trace = jax.lax.scan(supervise, state, jnp.arange(1, effort.steps + 1))[1]
    return trace


def trace(
    model: Model,
    weights: Weights,
    effort: Effort,
    inputs: Tokens,
    puzzle_id: int,
    number: int = 0,
    kind: Kind | None = None,
    latents: bool = False,
) -> Trace:
    """Repeats one attempt at the first puzzle of a set, and reads the answer out after every cycle.

    Args:
      model, weights, effort, kind: as given to `attempt`.
      inputs, puzzle_id: tokens [S] of that puzzle, and its row of the puzzle table.
      number: which attempt.
      latents: whether z is read out too.

    Returns:
      Its `Trace` as arrays on the host, the tokens as the puzzle stood; it goes on where halting would have ended it.

    Raises:
      ConfigError: latents are asked for, and the model has none.
    """
    static = replace(effort, attempts=1, symmetries=False, race=False, halting=False, seed=0)
    jobs = jobs_of(np.array([number]), effort, inputs[None], np.array([puzzle_id], np.int32), kind)
    found = _trace(model, static, weights, effort.seed, jobs.inputs, jobs.puzzle_ids, 0, number, latents)
    tokens, q_halt, change = (np.asarray(part) for part in found[:3])
    said = np.asarray(found.latents) if latents else None
    if jobs.symmetries is not None:
        back = jobs.symmetries.inverse()

        def as_it_stood(turned: Tokens) -> Tokens:
            flat = turned.reshape(-1, turned.shape[-1])
            return back.take(np.zeros(len(flat), int)).apply(flat).reshape(turned.shape)

        tokens, said = as_it_stood(tokens), None if said is None else as_it_stood(said)
    return Trace(tokens, q_halt, change, said)
