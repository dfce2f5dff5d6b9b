"""The recursion: n latent steps and one answer step make a cycle; T cycles make a supervision step.

The networks come in as functions, and nothing here knows what they are made of. The variants of the paper's Tables
1 and 2 differ only in what a state holds:

    state holds     latent step, n times a cycle                 answer step, once a cycle      known as
    y and one z     z <- f(z, y + x)                             y <- g(y, z)                   TRM; HRM
    y and K z's     z_k <- f(z_1 + ... + z_K, y + x)             y <- g(y, z_1 + ... + z_K)     TRM, k latents
    one z           z <- f(z, x)                                 z <- g(z, 0)                   single z
    y               none                                         y <- g(y, x)                   one-pass baseline

f and g are one network in TRM and two in HRM. Where gradients start is a `Schedule`, the seam at which memory is
traded for computation: no caller knows which schedule runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

# net_fn(params, h_BLD, injection_BLD) -> h_BLD
NetFn = Callable[[Any, jax.Array, jax.Array | float], jax.Array]


class Networks(NamedTuple):
    """f, which improves the latent, and g, which improves the answer; in TRM the same function."""

    latent: NetFn
    answer: NetFn


@partial(jax.tree_util.register_dataclass, data_fields=["y", "z"], meta_fields=[])
@dataclass(frozen=True)
class State:
    """What recursion improves: the answer y [B, L, D] and the latents z [B, K, L, D]; None where there is none."""

    y: jax.Array | None
    z: jax.Array | None

    @property
    def readout(self) -> jax.Array:
        """The array [B, L, D] from which logits and q are read: y, or the one z where there is no y."""
        if self.y is not None:
            return self.y
        assert self.z is not None
        return self.z[:, 0]


@dataclass(frozen=True)
class Schedule:
    """How long to recurse, and through how much of it gradients flow.

    latent_steps: n, at least 1 (unused where the state has no z).
    cycles: T, at least 1.
    grad_cycles: the last so many cycles carry gradients, 1 ... T (the paper: 1, with all its n + 1 applications).
    gradient: "cycles", or "last_step" for HRM's one-step gradient: only the very last latent and answer steps.
    checkpoint: recompute each network application in the backward pass instead of keeping its residuals.
    """

    latent_steps: int
    cycles: int
    grad_cycles: int = 1
    gradient: Literal["cycles", "last_step"] = "cycles"
    checkpoint: bool = False

    def __post_init__(self) -> None:
        if self.latent_steps < 1 or self.cycles < 1 or not 1 <= self.grad_cycles <= self.cycles:
            raise ValueError(
                f"recursion needs latent_steps >= 1, cycles >= 1 and 1 <= grad_cycles <= cycles, got "
                f"{self.latent_steps}, {self.cycles} and {self.grad_cycles}"
            )


def recurse(nets: Networks, params: Any, state: State, x_BLD: jax.Array, schedule: Schedule) -> State:
    """Improves the state by T cycles of n latent steps and one answer step (paper, figure 3).

    Args:
      nets: the two networks, each a pure function of (params, h [B, L, D], injection [B, L, D]).
      params: any pytree; gradients reach it only through the steps that `schedule` names.
      state: y [B, L, D] and z [B, K, L, D], detached before use unless every cycle carries gradients.
      x_BLD: the embedded puzzle.
      schedule: numbers of steps, and where gradients start.

    Returns:
      The state after the last cycle, same shapes and dtype; not yet detached.
    """
    if state.y is not None:
        chex.assert_equal_shape([state.y, x_BLD])
    if state.z is not None:
        chex.assert_shape(state.z, (x_BLD.shape[0], None, *x_BLD.shape[1:]))
    free_cycles = schedule.cycles - (1 if schedule.gradient == "last_step" else schedule.grad_cycles)
    n = schedule.latent_steps

    # No derivative enters the free steps, so none of their intermediate values is kept.
    detached = jax.lax.stop_gradient((params, state, x_BLD))
    frozen_params, frozen_state, frozen_x = detached
    if free_cycles:
        frozen_state = _cycles(nets, frozen_params, frozen_state, frozen_x, n, free_cycles, checkpoint=False)
        state = jax.lax.stop_gradient(frozen_state)

    if schedule.gradient == "last_step":
        if n > 1:
            state = _latent_steps(nets.latent, frozen_params, jax.lax.stop_gradient(state), frozen_x, 0, n - 1)
            state = jax.lax.stop_gradient(state)
        state = _latent_steps(nets.latent, params, state, x_BLD, n - 1, n, schedule.checkpoint)
        return _answer_step(nets.answer, params, state, x_BLD, schedule.checkpoint)
    return _cycles(nets, params, state, x_BLD, n, schedule.grad_cycles, schedule.checkpoint)


def _cycles(nets: Networks, params: Any, state: State, x_BLD: jax.Array, n: int, count: int, checkpoint: bool) -> State:
    def cycle(state: State, _: None) -> tuple[State, None]:
        state = _latent_steps(nets.latent, params, state, x_BLD, 0, n, checkpoint)
        return _answer_step(nets.answer, params, state, x_BLD, checkpoint), None

    return jax.lax.scan(cycle, state, None, length=count)[0]


def _latent_steps(
    net: NetFn, params: Any, state: State, x_BLD: jax.Array, first: int, last: int, checkpoint: bool = False
) -> State:
    """Latent steps first ... last - 1 of a cycle; step i overwrites latent i mod K."""
    if state.z is None:
        return state
    latents = state.z.shape[1]
    injection_BLD = x_BLD if state.y is None else state.y + x_BLD

    def step(z_BKLD: jax.Array, k: jax.Array) -> tuple[jax.Array, None]:
        new_BLD = net(params, _sum_latents(z_BKLD), injection_BLD)
        if latents == 1:
            return new_BLD[:, None], None
        return jax.lax.dynamic_update_index_in_dim(z_BKLD, new_BLD, k, axis=1), None

    if checkpoint:
        # A scan's body is not merged with its recomputation, so the costly barrier against that is not needed.
        step = jax.checkpoint(step, prevent_cse=False)
    z_BKLD, _ = jax.lax.scan(step, state.z, jnp.arange(first, last) % latents)
    return State(state.y, z_BKLD)


def _answer_step(net: NetFn, params: Any, state: State, x_BLD: jax.Array, checkpoint: bool = False) -> State:
    apply = jax.checkpoint(net, prevent_cse=False) if checkpoint else net
    if state.y is None:
        assert state.z is not None
        return State(None, apply(params, state.z[:, 0], 0.0)[:, None])
    if state.z is None:
        return State(apply(params, state.y, x_BLD), None)
    return State(apply(params, state.y, _sum_latents(state.z)), state.z)


def _sum_latents(z_BKLD: jax.Array) -> jax.Array:
    return z_BKLD[:, 0] if z_BKLD.shape[1] == 1 else z_BKLD.sum(axis=1)
