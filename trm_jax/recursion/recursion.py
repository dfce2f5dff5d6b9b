"""The recursion: n latent steps and one answer step make a cycle; T cycles make a supervision step.

The networks come in as functions, and nothing here knows what they are made of. The variants of the paper's Tables
1 and 2 differ only in what a state holds:

    state holds     latent step, n times a cycle                 answer step, once a cycle      known as
    y and one z     z <- f(z, y + x)                             y <- g(y, z)                   TRM; HRM
    y and K z's     z_k <- f(z_1 + ... + z_K, y + x)             y <- g(y, z_1 + ... + z_K)     TRM, k latents
    one z           z <- f(z, x)                                 z <- g(z, 0)                   single z
    y               none                                         y <- g(y, x)                   one-pass baseline

f and g are one network in TRM and two in HRM. A `Schedule` says how long to recurse, through how much of it gradients
flow, and by which policies (policies.py) memory is traded for computation: nothing outside this module knows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import chex
import jax

from trm_jax.recursion.chain import chain, in_slices
from trm_jax.recursion.fixed_point import attach_gradient
from trm_jax.recursion.policies import KEEP_ALL, Policy

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
    """How long to recurse, through how much of it gradients flow, and what is kept for them.

    latent_steps: n, at least 1 (unused where the state has no z).
    cycles: T, at least 1.
    grad_cycles: the last so many cycles carry gradients, 1 ... T (the paper: 1, with all its n + 1 applications).
    gradient: "cycles": the exact gradient of those cycles. Estimators of it, through the last cycle only: "one_step",
      HRM's, through its last latent step and its answer step; "last_k", through its last `gradient_steps` latent steps
      and its answer step; "implicit": as if the latents had come to a fixed point (fixed_point.py).
    gradient_steps: k of "last_k", at most n.
    tolerance: of the linear solver of "implicit", relative to its right-hand side.
    solver_steps: how many products with the Jacobian it may take.
    policy: of the latent steps and the answer step.
    outer_policy: of the cycles; "none" keeps what `policy` keeps in each of them.
    slices: each application runs over so many slices of the batch, one by one; divides B.
    """

    latent_steps: int
    cycles: int
    grad_cycles: int = 1
    gradient: Literal["cycles", "one_step", "last_k", "implicit"] = "cycles"
    gradient_steps: int = 1
    tolerance: float = 1e-2
    solver_steps: int = 30
    policy: Policy = KEEP_ALL
    outer_policy: Policy = KEEP_ALL
    slices: int = 1

    def __post_init__(self) -> None:
        if self.latent_steps < 1 or self.cycles < 1 or not 1 <= self.grad_cycles <= self.cycles:
            raise ValueError(
                f"recursion needs latent_steps >= 1, cycles >= 1 and 1 <= grad_cycles <= cycles, got "
                f"{self.latent_steps}, {self.cycles} and {self.grad_cycles}"
            )
        if self.gradient == "last_k" and not 1 <= self.gradient_steps <= self.latent_steps:
            raise ValueError(f"1 <= gradient_steps <= latent_steps, got {self.gradient_steps} of {self.latent_steps}")


def recurse(nets: Networks, params: Any, state: State, x_BLD: jax.Array, schedule: Schedule) -> State:
    """Improves the state by T cycles of n latent steps and one answer step (paper, figure 3).

    Args:
      nets: the two networks, each a pure function of (params, h [B, L, D], injection [B, L, D]).
      params: any pytree; gradients reach it only through the steps that `schedule` names.
      state: y [B, L, D] and z [B, K, L, D], detached before use unless every cycle carries gradients.
      x_BLD: the embedded puzzle.
      schedule: numbers of steps, and how gradients are taken.

    Returns:
      The state after the last cycle, same shapes and dtype; not yet detached.
    """
    if state.y is not None:
        chex.assert_equal_shape([state.y, x_BLD])
    if state.z is not None:
        chex.assert_shape(state.z, (x_BLD.shape[0], None, *x_BLD.shape[1:]))
    if schedule.slices > 1:
        nets = Networks(*(_sliced(net, schedule.slices) for net in nets))
    n, policy, exact = schedule.latent_steps, schedule.policy, schedule.gradient == "cycles"
    free_cycles = schedule.cycles - (schedule.grad_cycles if exact else 1)

    def cycle(shared: Any, state: State, policy: Policy) -> State:
        return _answer_step(nets.answer, shared, _latent_steps(nets.latent, shared, state, 0, n, policy), policy)

    def cycles(shared: Any, state: State, count: int, policy: Policy, outer_policy: Policy) -> State:
        # What becomes of a single cycle is the business of its own policy.
        outer_policy = outer_policy if count > 1 else KEEP_ALL
        return chain(lambda shared, state, _: cycle(shared, state, policy), shared, state, count, outer_policy)

    shared = params, x_BLD
    # No derivative enters the free steps, so none of their intermediate values is kept.
    free_shared = jax.lax.stop_gradient(shared)
    if free_cycles:
        state = jax.lax.stop_gradient(
            cycles(free_shared, jax.lax.stop_gradient(state), free_cycles, KEEP_ALL, KEEP_ALL)
        )
    if exact:
        return cycles(shared, state, schedule.grad_cycles, policy, schedule.outer_policy)

    free_steps = {"one_step": n - 1, "last_k": n - schedule.gradient_steps, "implicit": n}[schedule.gradient]
    state = jax.lax.stop_gradient(_latent_steps(nets.latent, free_shared, state, 0, free_steps, KEEP_ALL))
    if schedule.gradient == "implicit" and state.z is not None:
        state = _at_fixed_point(nets.latent, shared, state, schedule)
    state = _latent_steps(nets.latent, shared, state, free_steps, n, policy)
    return _answer_step(nets.answer, shared, state, policy)


def _latent_steps(net: NetFn, shared: Any, state: State, first: int, last: int, policy: Policy) -> State:
    """Latent steps first ... last - 1 of a cycle; step i overwrites latent i mod K. shared: params and x [B, L, D]."""
    if state.z is None or first == last:
        return state
    params, x_BLD = shared
    latents = state.z.shape[1]
    injection_BLD = x_BLD if state.y is None else state.y + x_BLD

    def step(shared: Any, z_BKLD: jax.Array, i: jax.Array) -> jax.Array:
        params, injection_BLD = shared
        new_BLD = net(params, _sum_latents(z_BKLD), injection_BLD)
        if latents == 1:
            return new_BLD[:, None]
        return jax.lax.dynamic_update_index_in_dim(z_BKLD, new_BLD, (first + i) % latents, axis=1)

    return State(state.y, chain(step, (params, injection_BLD), state.z, last - first, policy))


def _answer_step(net: NetFn, shared: Any, state: State, policy: Policy) -> State:
    params, x_BLD = shared

    def once(step: Callable[..., jax.Array], others: Any, h_BLD: jax.Array) -> jax.Array:
        return chain(lambda shared, h_BLD, _: step(shared[0], h_BLD, *shared[1:]), (params, *others), h_BLD, 1, policy)

    if state.y is None:
        assert state.z is not None
        z_BLD = once(lambda params, z_BLD: net(params, z_BLD, 0.0), (), state.z[:, 0])
        return State(None, z_BLD[:, None])
    if state.z is None:
        return State(once(net, (x_BLD,), state.y), None)
    return State(once(net, (_sum_latents(state.z),), state.y), state.z)


def _at_fixed_point(net: NetFn, shared: Any, state: State, schedule: Schedule) -> State:
    """The same state, with the gradient that its latents have as a fixed point of one pass over all of them."""

    def improve(shared_and_y: Any, z_BKLD: jax.Array) -> jax.Array:
        shared, y = shared_and_y
        improved = _latent_steps(net, shared, State(y, z_BKLD), 0, z_BKLD.shape[1], schedule.policy)
        assert improved.z is not None
        return improved.z

    assert state.z is not None
    z_BKLD = attach_gradient(improve, (shared, state.y), state.z, schedule.tolerance, schedule.solver_steps)
    return State(state.y, z_BKLD)


def _sum_latents(z_BKLD: jax.Array) -> jax.Array:
    return z_BKLD[:, 0] if z_BKLD.shape[1] == 1 else z_BKLD.sum(axis=1)


def _sliced(net: NetFn, count: int) -> NetFn:
    def sliced(params: Any, h_BLD: jax.Array, injection_BLD: jax.Array | float) -> jax.Array:
        if isinstance(injection_BLD, float):  # the same for all slices
            return in_slices(lambda params, h_BLD: net(params, h_BLD, injection_BLD), count)(params, h_BLD)
        return in_slices(net, count)(params, h_BLD, injection_BLD)

    return sliced
