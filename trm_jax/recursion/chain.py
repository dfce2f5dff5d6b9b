"""A step applied over and over, and its gradient by any policy (policies.py).

Every policy gives the gradient of the plain loop; they differ in what they keep and in what they compute again. The
gradients of what all steps share, the weights and the injected input, are summed in float32, last step first.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from trm_jax.errors import ConfigError
from trm_jax.recursion.policies import Policy, Program, Residuals, plan

S = TypeVar("S")

# step(shared, state, i) -> state, with i an int32 scalar
Step = Callable[[Any, S, jax.Array], S]


def chain(step: Step[S], shared: Any, state: S, length: int, policy: Policy) -> S:
    """The state after step(shared, state, i) for i = 0 ... length - 1.

    Args:
      step: a pure function; what it closes over gets no gradient.
      shared: a pytree of floating-point arrays that every step reads.
      state: a pytree of floating-point arrays; a step leaves shapes and dtypes as they are.
      length: of the chain, at least 1.
      policy: how its gradient is taken.

    Returns:
      The last state, the same for every policy.

    Raises:
      ConfigError: a policy that does not exist, or that cannot take this length.
    """
    how = plan(policy, length)
    check_available(policy)
    if isinstance(how, Program):
        return _by_program(step, how, jax.tree.map(lambda a: a.dtype, state))(shared, state)
    return _by_residuals(step, how, shared, state, length)


def check_available(policy: Policy, key: str = "policy") -> None:
    """Raises ConfigError if this machine's devices cannot do what the policy needs; key: what it was given as."""
    if plan(policy, 1) == Residuals("host") and jax.default_backend() == "cpu":
        raise ConfigError(
            f"{key} = {policy.name!r} moves states from a device to its host's memory, and this device "
            "is the host (cpu): give 'step', or run on a GPU or TPU"
        )


def in_slices(net: Callable[..., jax.Array], count: int) -> Callable[..., jax.Array]:
    """The same function of (params, *arrays), computed over so many slices of the arrays' first axis, one by one.

    Its gradient goes slice by slice as well, and keeps nothing but the arguments: what a slice computes on its way is
    computed again. The gradient of `params` is summed in float32.

    Args:
      net: a pure function of params and of arrays [B, ...], each row by itself.
      count: divides B.
    """

    def split(a: jax.Array) -> jax.Array:
        return a.reshape(count, a.shape[0] // count, *a.shape[1:])

    def join(a: jax.Array) -> jax.Array:
        return a.reshape(-1, *a.shape[2:])

    @jax.custom_vjp
    def run(params: Any, *arrays: jax.Array) -> jax.Array:
        return join(jax.lax.map(lambda part: net(params, *part), tuple(map(split, arrays))))

    def forward(params: Any, *arrays: jax.Array) -> tuple[jax.Array, Any]:
        return run(params, *arrays), (params, arrays)

    def backward(kept: Any, gradient: jax.Array) -> Any:
        params, arrays = kept

        def one(sums: Any, parts: Any) -> Any:
            part, gradient = parts
            _, pull = jax.vjp(net, params, *part)
            shares, *gradients = pull(gradient)
            return _add(sums, shares), gradients

        sums, gradients = jax.lax.scan(one, _zero_sums(params), (tuple(map(split, arrays)), split(gradient)))
        return _in_dtypes_of(params, sums), *map(join, gradients)

    run.defvjp(forward, backward)
    return run


def _by_residuals(step: Step[S], how: Residuals, shared: Any, state: S, length: int) -> S:
    if length == 1 and how.keep == "all":
        return step(shared, state, jnp.int32(0))
    # Automatic differentiation sums a gradient in the dtype of what it belongs to.
    wide = jax.tree.map(lambda a: a.astype(_sum_dtype(a)), shared)

    def body(state: S, i: jax.Array) -> S:
        return step(_in_dtypes_of(shared, wide), state, i)

    # A scan's body is not merged with its recomputation, so the costly barrier against that is not needed.
    if how.keep == "products":
        body = jax.checkpoint(body, prevent_cse=False, policy=jax.checkpoint_policies.dots_saveable)
    elif how.keep == "host":
        body = jax.checkpoint(_naming_its_state(body), prevent_cse=False, policy=_TO_THE_HOST)
    return jax.lax.scan(lambda state, i: (body(state, i), None), state, jnp.arange(length))[0]


_TO_THE_HOST = jax.checkpoint_policies.save_and_offload_only_these_names(
    names_which_can_be_saved=[],
    names_which_can_be_offloaded=["state"],
    offload_src="device",
    offload_dst="pinned_host",
)


def _naming_its_state(body: Callable[[S, jax.Array], S]) -> Callable[[S, jax.Array], S]:
    return lambda state, i: body(jax.tree.map(partial(checkpoint_name, name="state"), state), i)


def _by_program(step: Step[S], program: Program, dtypes: Any) -> Callable[[Any, S], S]:
    """The chain as a function whose gradient runs the program in loops, so that no code grows with its length."""
    n = program.length

    def read(slots: Any, slot: jax.Array | int) -> S:
        def one(a: jax.Array, dtype: Any) -> jax.Array:
            bits = jax.lax.dynamic_index_in_dim(a, slot, keepdims=False)
            return jax.lax.bitcast_convert_type(bits, dtype)

        return jax.tree.map(one, slots, dtypes)

    def write(slots: Any, slot: jax.Array | int, state: S) -> Any:
        return jax.tree.map(lambda a, new: jax.lax.dynamic_update_index_in_dim(a, _bits(new), slot, 0), slots, state)

    def steps(shared: Any, state: S, first: jax.Array | int, last: jax.Array | int) -> S:
        return jax.lax.fori_loop(first, last, lambda i, state: step(shared, state, i), state)

    def advance(shared: Any, slots: Any, row: jax.Array) -> Any:
        first, count, slot = row
        return write(slots, slot + 1, steps(shared, read(slots, slot), first, first + count))

    @jax.custom_vjp
    def run(shared: Any, state: S) -> S:
        return steps(shared, state, 0, n)

    def forward(shared: Any, state: S) -> tuple[S, Any]:
        slots = jax.tree.map(lambda a: jnp.zeros((program.states, *a.shape), _bits(a).dtype), state)
        slots = write(slots, 0, state)
        slots, _ = jax.lax.scan(
            lambda slots, row: (advance(shared, slots, row), None), slots, jnp.asarray(program.forward)
        )
        # In a loop like the others, whose length XLA must not see: unrolled, the step would round otherwise.
        last = jax.lax.optimization_barrier(jnp.int32(n - 1))
        return steps(shared, read(slots, program.slot[0]), last, last + 1), (shared, slots)

    def backward(kept: Any, gradient: S) -> tuple[Any, S]:
        shared, slots = kept

        def reverse_one(gradient: S, sums: Any, i: jax.Array, state: S) -> tuple[S, Any]:
            _, pull = jax.vjp(lambda shared, state: step(shared, state, i), shared, state)
            shares, gradient = pull(gradient)
            return gradient, _add(sums, shares)

        rows = jnp.asarray(program.backward)

        def reverse(carry: Any, order: Any) -> tuple[Any, None]:
            (slots, gradient, sums), (i, begin, end, slot) = carry, order
            slots = jax.lax.fori_loop(begin, end, lambda m, slots: advance(shared, slots, rows[m]), slots)
            return (slots, *reverse_one(gradient, sums, i, read(slots, slot))), None

        def reverse_kept(carry: Any, order: Any) -> tuple[Any, None]:
            # Slots that never change stay out of what the loop carries: it would hold them twice.
            (gradient, sums), (i, _, _, slot) = carry, order
            return reverse_one(gradient, sums, i, read(slots, slot)), None

        order = (jnp.arange(n - 1, -1, -1), program.before[:-1], program.before[1:], program.slot)
        start = (gradient, _zero_sums(shared))
        if len(program.backward):
            (_, gradient, sums), _ = jax.lax.scan(reverse, (slots, *start), order)
        else:
            (gradient, sums), _ = jax.lax.scan(reverse_kept, start, order)
        return _in_dtypes_of(shared, sums), gradient

    run.defvjp(forward, backward)
    return run


def _bits(a: jax.Array) -> jax.Array:
    """As whole numbers: XLA for CPUs turns all of an array of bfloat16 into float32, even to read one slot of it."""
    return jax.lax.bitcast_convert_type(a, jnp.uint16) if a.dtype.itemsize == 2 else a


def _sum_dtype(a: jax.Array) -> Any:
    return jnp.promote_types(a.dtype, jnp.float32)


def _zero_sums(shared: Any) -> Any:
    return jax.tree.map(lambda a: jnp.zeros(a.shape, _sum_dtype(a)), shared)


def _add(sums: Any, shares: Any) -> Any:
    return jax.tree.map(lambda a, b: a + b.astype(a.dtype), sums, shares)


def _in_dtypes_of(shared: Any, sums: Any) -> Any:
    return jax.tree.map(lambda a, b: b.astype(a.dtype), shared, sums)
