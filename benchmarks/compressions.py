"""Ways to keep a carried state in fewer bits, and a step whose gradient is taken at what is restored of one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

# step(params, h [B, L, D], injection) -> h
Step = Callable[[Any, jax.Array, Any], jax.Array]


@dataclass(frozen=True)
class Compression:
    """A state is handed to `keep`, and `restore` makes one of the same shape, in float32, of what that has kept.

    bits: that each number of a state takes.
    """

    name: str
    bits: float
    keep: Callable[[jax.Array], Any]
    restore: Callable[[Any], jax.Array]


def rounded(dtype: DTypeLike) -> Compression:
    """Each number in a shorter format of floating point. No scale: a norm keeps states near 1."""
    name, bits = jnp.dtype(dtype).name, 8 * jnp.dtype(dtype).itemsize
    return Compression(name, bits, lambda z: z.astype(dtype), lambda kept: kept.astype(jnp.float32))


def int8_vectors(width: int) -> Compression:
    """Whole numbers of 8 bits, and for each vector [D] a scale in bfloat16 that gives its largest number 127."""

    def keep(z: jax.Array) -> Any:
        scale = (jnp.max(jnp.abs(z), axis=-1, keepdims=True) / 127).astype(jnp.bfloat16)
        # Divided by the scale as it is kept, which is off by 1 in 256 at most: nothing comes to more than 127.496.
        whole = jnp.round(z / jnp.maximum(scale.astype(jnp.float32), jnp.finfo(jnp.float32).tiny))
        return whole.astype(jnp.int8), scale

    def restore(kept: Any) -> jax.Array:
        whole, scale = kept
        return whole.astype(jnp.float32) * scale.astype(jnp.float32)

    return Compression("int8 a vector", 8 + 16 / width, keep, restore)


def low_rank(basis_DR: jax.Array) -> Compression:
    """Coefficients in bfloat16 on an orthonormal basis [D, R] that all states share, which counts for nothing."""
    width, rank = basis_DR.shape

    def keep(z: jax.Array) -> Any:
        return (z @ basis_DR).astype(jnp.bfloat16)

    def restore(kept: Any) -> jax.Array:
        return kept.astype(jnp.float32) @ basis_DR.T

    return Compression(f"rank {rank} of {width}", 16 * rank / width, keep, restore)


def keeping(step: Step, compression: Compression) -> Step:
    """The same step, with no other value; its gradient keeps but the compressed h, and is taken at what is restored."""

    @jax.custom_vjp
    def run(params: Any, h: jax.Array, injection: Any) -> jax.Array:
        return step(params, h, injection)

    def forward(params: Any, h: jax.Array, injection: Any) -> tuple[jax.Array, Any]:
        return step(params, h, injection), (params, compression.keep(h), injection)

    def backward(kept: Any, gradient: jax.Array) -> Any:
        params, compressed, injection = kept
        _, pull = jax.vjp(step, params, compression.restore(compressed), injection)
        return pull(gradient)

    run.defvjp(forward, backward)
    return run


def repeated(step: Step, times: int) -> Step:
    """So many steps as one, with the same injection."""

    def run(params: Any, h: jax.Array, injection: Any) -> jax.Array:
        return jax.lax.scan(lambda h, _: (step(params, h, injection), None), h, length=times)[0]

    return run if times > 1 else step
