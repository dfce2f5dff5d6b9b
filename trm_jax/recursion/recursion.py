"""The recursion: n latent steps and one answer step make a cycle; T cycles make a supervision step.

The networks come in as functions, and nothing here knows what they are made of. The variants of the paper's Tables
1 and 2 differ only in what a state holds:

    state holds     latent step, n times a cycle                 answer step, once a cycle      known as
    y and one z     z <- f(z, y + x)                             y <- g(y, z)                   TRM; HRM
    y and K z's     z_k <- f(z_1 + ... + z_K, y + x)             y <- g(y, z_1 + ... + z_K)     TRM, k latents
    one z           z <- f(z, x)                                 z <- g(z, 0)                   single z
    y               none                                         y <- g(y, x)                   one-pass baseline

f and g are one network in TRM and two in HRM. What a row of a state looks like is the network's business: in TRM it is
[L, D], L positions of D numbers. A `Schedule` says how long to recurse, through how much of it gradients
flow, and by which policies (policies.py) memory is traded for computation: nothing outside this module knows.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from trm_jax.errors import ConfigError, near_miss
from trm_jax.recursion.chain import chain, in_slices
from trm_jax.recursion.fixed_point import attach_gradient
from trm_jax.recursion.policies import KEEP_ALL, Policy, as_policy

# net(params, h [B, ...], injection [B, ...]) -> h [B, ...]
NetFn = Callable[[Any, jax.Array, jax.Array | float], jax.Array]
Gradient = Literal["cycles", "one_step", "last_k", "implicit"]


class Networks(NamedTuple):
    """f, which improves the latent, and g, which improves the answer. One function that is both needs no Networks.

    >>> def f(params, h, injection):
    ...     return jnp.tanh((h + injection) @ params["latent"])
    >>> def g(params, h, injection):
    ...     return jnp.tanh((h + injection) @ params["answer"])
    >>> params = {"latent": jnp.eye(3), "answer": 0.5 * jnp.eye(3)}
    >>> state = State(y=jnp.zeros((2, 3)), z=jnp.zeros((2, 3)))
    >>> recurse(Networks(f, g), params, state, jnp.ones((2, 3)), Schedule(latent_steps=6, cycles=3)).y.shape
    (2, 3)
    """

    latent: NetFn
    answer: NetFn


@partial(jax.tree_util.register_dataclass, data_fields=["y", "z"], meta_fields=[])
@dataclass(frozen=True)
class State:
    """What recursion improves; None where there is none. A pytree.

    y: the answer [B, ...].
    z: the latents [B, K, ...]; beside a y also [B, ...], if there is but one.

    >>> state = State(y=jnp.zeros((4, 97, 512)), z=jnp.zeros((4, 2, 97, 512)))  # K = 2 latents
    >>> state.readout.shape
    (4, 97, 512)
    """

    y: jax.Array | None
    z: jax.Array | None

    @property
    def readout(self) -> jax.Array:
        """The array [B, ...] from which an answer is read: y, or the one z where there is no y."""
        if self.y is not None:
            return self.y
        assert self.z is not None
        return self.z[:, 0]


@dataclass(frozen=True)
class Schedule:
    """How long to recurse, through how much of it gradients flow, and what is kept for them. Hashable.

    latent_steps: n, at least 1 (unused where the state has no z).
    cycles: T, at least 1.
    grad_cycles: the last so many cycles carry gradients, 1 ... T (the paper: 1, with all its n + 1 applications).
    gradient: "cycles": the exact gradient of those cycles. Estimators of it, through the last cycle only: "one_step",
      HRM's, through its last latent step and its answer step; "last_k", through its last `gradient_steps` latent steps
      and its answer step; "implicit": as if the latents had come to a fixed point (fixed_point.py).
    gradient_steps: k of "last_k", at most n.
    tolerance: of the linear solver of "implicit", relative to its right-hand side.
    solver_steps: how many products with the Jacobian it may take.
    policy: of the latent steps and the answer step: a name, or what `policies.policy` makes.
    outer_policy: of the cycles, likewise; "none" keeps what `policy` keeps in each of them.
    slices: each application runs over so many slices of the batch, one by one; divides B.

    Raises:
      ConfigError: a value that is out of range, unknown, or at odds with another.

    >>> Schedule(latent_steps=1000, cycles=3, policy="binomial").grad_cycles
    1
    >>> Schedule(latent_steps=6, cycles=3, grad_cycles=4)
    Traceback (most recent call last):
    trm_jax.errors.ConfigError: grad_cycles = 4 is more than cycles = 3: lower it
    """

    latent_steps: int
    cycles: int
    grad_cycles: int = 1
    gradient: Gradient = "cycles"
    gradient_steps: int = 1
    tolerance: float = 1e-2
    solver_steps: int = 30
    policy: Policy | str = KEEP_ALL
    outer_policy: Policy | str = KEEP_ALL
    slices: int = 1

    def __post_init__(self) -> None:
        for name in ("latent_steps", "cycles", "grad_cycles", "gradient_steps", "solver_steps", "slices"):
            if not _is_count(value := getattr(self, name)):
                raise ConfigError(f"{name} = {value!r:.60}: give a whole number of at least 1")
        if not isinstance(self.tolerance, int | float) or not 0 < self.tolerance <= 1:
            raise ConfigError(f"tolerance = {self.tolerance!r:.60}: give a number above 0, at most 1")
        if self.grad_cycles > self.cycles:
            raise ConfigError(f"grad_cycles = {self.grad_cycles} is more than cycles = {self.cycles}: lower it")
        if self.gradient not in get_args(Gradient):
            known = near_miss(str(self.gradient), get_args(Gradient))
            raise ConfigError(f"gradient = {self.gradient!r:.60} is unknown: {known}")
        if self.gradient != "cycles" and self.grad_cycles > 1:
            within = f"gradient = {self.gradient!r} estimates within the last cycle"
            raise ConfigError(f"grad_cycles = {self.grad_cycles}, but {within}: set it to 1")
        if self.gradient == "last_k" and self.gradient_steps > self.latent_steps:
            steps = f"gradient_steps = {self.gradient_steps}"
            raise ConfigError(f"{steps} is more than latent_steps = {self.latent_steps}: lower it")
        as_policy(self.policy)
        as_policy(self.outer_policy, "outer_policy")


def recurse(nets: Networks | NetFn, params: Any, state: State, x: jax.Array, schedule: Schedule) -> State:
    """Improves the state by T cycles of n latent steps and one answer step (paper, figure 3).

    Args:
      nets: one network, or two: pure functions of (params, h, injection) that return the next h, all [B, ...] and of
        one dtype. Where nothing is injected, in a state without y, the injection is 0.0.
      params: a pytree of floating-point arrays; gradients reach it only through the steps that `schedule` names, and
        nothing that a network closes over gets any.
      state: y and z, detached before use unless every cycle carries gradients.
      x: the embedded puzzle [B, ...], shaped like y.
      schedule: numbers of steps, and how gradients are taken.

    Returns:
      The state after the last cycle, same shapes and dtype; not yet detached.

    Raises:
      ConfigError: arguments of another kind, or whose shapes do not go together.

    A thousand latent steps, and their gradient in the memory of 45 states:

    >>> def net(params, h, injection):
    ...     return jnp.tanh((h + injection) @ params["w"] + params["b"])
    >>> params = {"w": 0.5 * jnp.eye(4), "b": jnp.zeros((1, 4))}
    >>> x, start = jnp.ones((8, 4)), State(y=jnp.zeros((8, 4)), z=jnp.zeros((8, 4)))
    >>> schedule = Schedule(latent_steps=1000, cycles=3, policy="binomial")
    >>> def loss(params):
    ...     return jnp.sum(recurse(net, params, start, x, schedule).y)
    >>> jax.tree.map(jnp.shape, jax.jit(jax.grad(loss))(params))
    {'b': (1, 4), 'w': (4, 4)}
    """
    _check(nets, params, state, x, schedule)
    if state.y is not None and state.z is not None and state.z.ndim == x.ndim:
        reached = recurse(nets, params, State(state.y, state.z[:, None]), x, schedule)
        return State(reached.y, None if reached.z is None else reached.z[:, 0])
    nets = Networks(*map(_keeping_shapes, nets if isinstance(nets, Networks) else (nets, nets)))
    if schedule.slices > 1:
        nets = Networks(*(_sliced(net, schedule.slices) for net in nets))
    n, policy, exact = schedule.latent_steps, as_policy(schedule.policy), schedule.gradient == "cycles"
    free_cycles = schedule.cycles - (schedule.grad_cycles if exact else 1)

    def cycle(shared: Any, state: State, policy: Policy) -> State:
        return _answer_step(nets.answer, shared, _latent_steps(nets.latent, shared, state, 0, n, policy), policy)

    def cycles(shared: Any, state: State, count: int, policy: Policy, outer_policy: Policy) -> State:
        # What becomes of a single cycle is the business of its own policy.
        outer_policy = outer_policy if count > 1 else KEEP_ALL
        return chain(lambda shared, state, _: cycle(shared, state, policy), shared, state, count, outer_policy)

    shared = params, x
    # No derivative enters the free steps, so none of their intermediate values is kept.
    free_shared = jax.lax.stop_gradient(shared)
    if free_cycles:
        state = jax.lax.stop_gradient(
            cycles(free_shared, jax.lax.stop_gradient(state), free_cycles, KEEP_ALL, KEEP_ALL)
        )
    if exact:
        return cycles(shared, state, schedule.grad_cycles, policy, as_policy(schedule.outer_policy))

    free_steps = {"one_step": n - 1, "last_k": n - schedule.gradient_steps, "implicit": n}[schedule.gradient]
    state = jax.lax.stop_gradient(_latent_steps(nets.latent, free_shared, state, 0, free_steps, KEEP_ALL))
    if schedule.gradient == "implicit" and state.z is not None:
        state = _at_fixed_point(nets.latent, shared, state, schedule)
    state = _latent_steps(nets.latent, shared, state, free_steps, n, policy)
    return _answer_step(nets.answer, shared, state, policy)


def watched_cycle(
    nets: Networks, params: Any, state: State, x: jax.Array, latent_steps: int
) -> tuple[State, jax.Array]:
    """One cycle as `recurse` makes it, and what each of its latent steps wrote; not for gradients.

    Args:
      nets, params, x: as for `recurse`.
      state: y, or None, and z [B, K, ...].
      latent_steps: n.

    Returns:
      The state after the cycle, and the latents as they were written, one after the other, [n, B, ...].
    """
    assert state.z is not None
    injection, latents = x if state.y is None else state.y + x, state.z.shape[1]

    def step(z: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = _latent_step(nets.latent, params, injection, z, i)
        return z, jax.lax.dynamic_index_in_dim(z, i % latents, axis=1, keepdims=False)

    z, written = jax.lax.scan(step, state.z, jnp.arange(latent_steps))
    return _answer_step(nets.answer, (params, x), State(state.y, z), KEEP_ALL), written


def _latent_steps(net: NetFn, shared: Any, state: State, first: int, last: int, policy: Policy) -> State:
    """Latent steps first ... last - 1 of a cycle; step i overwrites latent i mod K. shared: params and x."""
    if state.z is None or first == last:
        return state
    params, x = shared
    injection = x if state.y is None else state.y + x

    def step(shared: Any, z: jax.Array, i: jax.Array) -> jax.Array:
        params, injection = shared
        return _latent_step(net, params, injection, z, first + i)

    return State(state.y, chain(step, (params, injection), state.z, last - first, policy))


def _latent_step(net: NetFn, params: Any, injection: Any, z: jax.Array, i: Any) -> jax.Array:
    """Latent step i of a cycle, which overwrites latent i mod K."""
    new, latents = net(params, _sum_latents(z), injection), z.shape[1]
    return new[:, None] if latents == 1 else jax.lax.dynamic_update_index_in_dim(z, new, i % latents, axis=1)


def _answer_step(net: NetFn, shared: Any, state: State, policy: Policy) -> State:
    params, x = shared

    def once(step: Callable[..., jax.Array], others: Any, h: jax.Array) -> jax.Array:
        return chain(lambda shared, h, _: step(shared[0], h, *shared[1:]), (params, *others), h, 1, policy)

    if state.y is None:
        assert state.z is not None
        z = once(lambda params, z: net(params, z, 0.0), (), state.z[:, 0])
        return State(None, z[:, None])
    if state.z is None:
        return State(once(net, (x,), state.y), None)
    return State(once(net, (_sum_latents(state.z),), state.y), state.z)


def _at_fixed_point(net: NetFn, shared: Any, state: State, schedule: Schedule) -> State:
    """The same state, with the gradient that its latents have as a fixed point of one pass over all of them."""

    def improve(shared_and_y: Any, z: jax.Array) -> jax.Array:
        shared, y = shared_and_y
        improved = _latent_steps(net, shared, State(y, z), 0, z.shape[1], as_policy(schedule.policy))
        assert improved.z is not None
        return improved.z

    assert state.z is not None
    z = attach_gradient(improve, (shared, state.y), state.z, schedule.tolerance, schedule.solver_steps)
    return State(state.y, z)


def _sum_latents(z: jax.Array) -> jax.Array:
    return z[:, 0] if z.shape[1] == 1 else z.sum(axis=1)


def _sliced(net: NetFn, count: int) -> NetFn:
    def sliced(params: Any, h: jax.Array, injection: jax.Array | float) -> jax.Array:
        if isinstance(injection, float):  # the same for all slices
            return in_slices(lambda params, h: net(params, h, injection), count)(params, h)
        return in_slices(net, count)(params, h, injection)

    return sliced


def _keeping_shapes(net: NetFn) -> NetFn:
    """The same network; ConfigError as soon as it returns something other than it was given."""

    def checked(params: Any, h: jax.Array, injection: jax.Array | float) -> jax.Array:
        new = net(params, h, injection)
        if not _is_array(new) or (new.shape, new.dtype) != (h.shape, h.dtype):
            raise ConfigError(f"the network makes {_in_words(new)} of {_in_words(h)}: let it keep shape and dtype")
        return new

    return checked


def _check(nets: Any, params: Any, state: Any, x: Any, schedule: Any) -> None:
    """ConfigError for whatever `recurse` cannot work with."""
    if not all(map(callable, nets if isinstance(nets, Networks) else [nets])):
        raise ConfigError(f"nets = {nets!r:.60}: give a function net(params, h, injection), or Networks of two")
    if not isinstance(schedule, Schedule):
        raise ConfigError(f"schedule = {schedule!r:.60}: give Schedule(latent_steps=..., cycles=...)")
    if not isinstance(state, State):
        raise ConfigError(f"state is of type {type(state).__name__}: give State(y=..., z=...)")
    if state.y is None and state.z is None:
        raise ConfigError("state holds neither y nor z: give one or both")
    arrays = {"state.y": state.y, "state.z": state.z, "x": x}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        arrays[f"params{jax.tree_util.keystr(path)}"] = leaf
    for name, array in arrays.items():
        if not _is_array(array) or not jnp.issubdtype(array.dtype, jnp.floating):
            raise ConfigError(f"{name} is {_in_words(array)}: give an array of floating-point numbers")
    if not _is_array(x) or not x.ndim:
        raise ConfigError(f"x is {_in_words(x)}: give an array [B, ...], rows first")
    if state.y is not None and state.y.shape != x.shape:
        raise ConfigError(f"state.y has shape {list(state.y.shape)} and x {list(x.shape)}: give both the same")
    if state.z is not None:
        latents = [*x.shape[:1], "K", *x.shape[1:]]
        lone = state.y is not None and state.z.shape == x.shape
        if not lone and (state.z.ndim != len(latents) or state.z.shape[:1] + state.z.shape[2:] != x.shape):
            wanted = ", ".join(map(str, latents))
            raise ConfigError(f"state.z has shape {list(state.z.shape)} and x {list(x.shape)}: give z [{wanted}]")
        if not lone and (state.z.shape[1] < 1 or (state.y is None and state.z.shape[1] > 1)):
            many = f"{state.z.shape[1]} latents"
            raise ConfigError(f"state.z holds {many}: give at least one, and without y exactly one")
    if x.shape[0] % schedule.slices:
        raise ConfigError(f"slices = {schedule.slices} does not divide the {x.shape[0]} rows of x: change either")


def _is_array(value: Any) -> bool:
    return hasattr(value, "shape") and hasattr(value, "dtype")


def _in_words(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if _is_array(value) else f"of type {type(value).__name__}"


def _is_count(value: Any) -> bool:
    try:
        return operator.index(value) >= 1 and not isinstance(value, bool)
    except TypeError:
        return False
