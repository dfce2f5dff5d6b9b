"""Attention by XLA's own operations or by cuDNN's fused kernel, and which of them a device is to use.

The fused kernel keeps no scores [B, H, L, L] in memory; its backward pass computes them again. It differs from the
plain one by rounding alone: both multiply 16-bit queries, keys and values, add up in float32, take the softmax in
float32, and round it to 16 bits for the product with the values.
"""

import math
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from trm_jax.errors import ConfigError

Implementation = Literal["xla", "cudnn"]

# The kernel works on tiles of this many positions, so that filling up the last one costs it little. JAX refuses a
# backward pass over an odd number of positions; and several versions of cuDNN, 9.26 among them, are known to give
# gradients of nan where the last tile is not full, or where they are not told how much of it is.
TILE = 128
# Of a result or a gradient: ten times what bfloat16 rounds; filling that gets attention errs by more (0.16 at 97
# positions, 0.07 at 916).
TOLERANCE = 0.03


def attend(
    q_BLHC: jax.Array,
    k_BLHC: jax.Array,
    v_BLHC: jax.Array,
    implementation: Implementation = "xla",
    bias_HLL: jax.Array | None = None,
) -> jax.Array:
    """softmax(q k^T / sqrt(C) + bias) v over all positions of each head [B, L, H, C], without a mask.

    implementation: "xla" takes any sizes; "cudnn" what `choose` says it can, and no bias.
    """
    if implementation != "xla":
        return attend_in_tiles(q_BLHC, k_BLHC, v_BLHC, implementation)
    # With the heads in front these are plain products of matrices; XLA for CPUs copies much for any other order.
    q_BHLC, k_BHLC, v_BHLC = (h_BLHC.swapaxes(1, 2) for h_BLHC in (q_BLHC, k_BLHC, v_BLHC))
    scores_BHLL = jnp.matmul(q_BHLC, k_BHLC.swapaxes(2, 3), preferred_element_type=jnp.float32)
    scores_BHLL = scores_BHLL / math.sqrt(q_BHLC.shape[-1])
    if bias_HLL is not None:
        scores_BHLL += bias_HLL[None]
    shares_BHLL = jax.nn.softmax(scores_BHLL).astype(v_BHLC.dtype)
    return (shares_BHLL @ v_BHLC).swapaxes(1, 2)


def attend_in_tiles(
    q_BLHC: jax.Array, k_BLHC: jax.Array, v_BLHC: jax.Array, implementation: Implementation
) -> jax.Array:
    """The same, computed on whole tiles: what fills up the last one gets no attention, and is cut off again."""
    batch, length = q_BLHC.shape[:2]
    fill = ((0, 0), (0, padded_length(length) - length), (0, 0), (0, 0))
    q_BTHC, k_BTHC, v_BTHC = (jnp.pad(h_BLHC, fill) for h_BLHC in (q_BLHC, k_BLHC, v_BLHC))
    # Only keys are given a length: a query that is mere filling attends to the true keys, so that each row of the
    # softmax has something to sum. Where all tiles are full the length is given as well: see TILE.
    lengths_B = jnp.full((batch,), length, jnp.int32)
    mixed_BTHC = jax.nn.dot_product_attention(
        q_BTHC, k_BTHC, v_BTHC, key_value_seq_lengths=lengths_B, implementation=implementation
    )
    return mixed_BTHC[:, :length]


def padded_length(length: int) -> int:
    """Positions T that the fused kernel is given for `length`: the next multiple of TILE."""
    return -(-length // TILE) * TILE


def choose(
    wanted: Literal["auto", "xla", "cudnn"], heads: int, width: int, length: int, dtype: DTypeLike, platform: str
) -> tuple[Implementation, str]:
    """Which attention a model is to use on this machine's default device, and why, in one line for the log.

    On a GPU, the fused kernel is compiled at these sizes and run once, forwards and backwards, on a batch of two.

    Args:
      wanted: config.devices.attention.
      heads, width, length: H, D and L of the model.
      dtype: of the model's computation.
      platform: of the default device, as JAX names it: "gpu" or "cuda", "cpu", "tpu".

    Raises:
      ConfigError: "cudnn" is wanted where it is not possible; says why.
    """
    if wanted == "xla":
        return "xla", "attention: plain, as config.devices.attention says"
    hindrance = _hindrance(heads, width // heads, length, jnp.dtype(dtype), platform)
    if hindrance is None:
        padded = padded_length(length)
        return "cudnn", f"attention: cuDNN, fused, {length} positions" + (f" padded to {padded}" * (padded != length))
    if wanted == "cudnn":
        raise ConfigError(
            f"config.devices.attention = 'cudnn' is not possible here, since {hindrance}: set it to 'auto' or 'xla'"
        )
    return "xla", f"attention: plain, since {hindrance}"


def _hindrance(heads: int, head_width: int, length: int, dtype: Any, platform: str) -> str | None:
    """What keeps the fused kernel from being used, as a clause; None if nothing does."""
    if platform not in ("gpu", "cuda"):
        return f"cuDNN needs an NVIDIA GPU and the platform is {platform}"
    if dtype not in (jnp.bfloat16, jnp.float16):
        return f"cuDNN takes bfloat16 and float16, not {dtype.name}"
    if head_width % 8 or head_width > 256:
        return f"cuDNN takes heads of a width that is a multiple of 8, 256 at most, not {head_width}"
    try:
        error = trial(heads, head_width, length, dtype, "cudnn")
    except (RuntimeError, ValueError) as refusal:
        reason = next(iter(str(refusal).strip().splitlines()), type(refusal).__name__)
        return f"cuDNN refuses {heads} heads of width {head_width} on {length} positions ({reason.rstrip('.')})"
    if not error <= TOLERANCE:  # nan, too
        return f"cuDNN's result or gradient is off by {error:.2g} of its size"
    return None


def trial(heads: int, head_width: int, length: int, dtype: Any, implementation: Implementation) -> float:
    """The largest relative error of attention in tiles and of its gradients, against the plain one, on random numbers.

    Relative: the norm of the difference over the norm. Raises what JAX raises where it cannot compile it.
    """
    shape = (2, length, heads, head_width)
    drawn = [jax.random.normal(key, shape, dtype) for key in jax.random.split(jax.random.key(0), 4)]

    @jax.jit
    def errors(q_BLHC: jax.Array, k_BLHC: jax.Array, v_BLHC: jax.Array, pulled_BLHC: jax.Array) -> jax.Array:
        results = []
        for attention in (partial(attend_in_tiles, implementation=implementation), attend):
            mixed_BLHC, pull_back = jax.vjp(attention, q_BLHC, k_BLHC, v_BLHC)
            results.append([h.astype(jnp.float32).ravel() for h in (mixed_BLHC, *pull_back(pulled_BLHC))])
        norm = jnp.linalg.norm
        return jnp.stack([norm(h - plain) / norm(plain) for h, plain in zip(*results, strict=True)])

    return float(errors(*drawn).max())
