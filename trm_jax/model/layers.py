"""The network: attention or token mixing, then a SwiGLU, each with a residual and a norm after it.

Initialisers, norm and sizes are those of the original (see docs/paper_to_code.md). All weights are float32; a module
computes in its `dtype`, except for the norm, the softmax and the rotary angles, which are float32.
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from trm_jax.model.attention import Implementation, attend

# Truncated at two sigma with the variance that truncation takes away given back: true standard deviation
# 1 / sqrt(fan in).
lecun_normal = nn.initializers.lecun_normal()
# The same for a table [rows, D], whose rows are to have standard deviation 1 / sqrt(D).
embedding_normal = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=-1, out_axis=-2)


def rms_norm(h: jax.Array, eps: float, axis: int = -1) -> jax.Array:
    """h / sqrt(mean(h^2) + eps) over one axis, without a scale, in float32."""
    h32 = h.astype(jnp.float32)
    scale = jax.lax.rsqrt(jnp.mean(jnp.square(h32), axis=axis, keepdims=True) + eps)
    return (h32 * scale).astype(h.dtype)


def swiglu_width(d: int, expansion: float) -> int:
    """The inner width of a SwiGLU on d features: two thirds of the expansion, rounded up to a multiple of 256."""
    return -(-round(expansion * d * 2 / 3) // 256) * 256


def rotary_angles(length: int, head_width: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines [L, C] of the rotary position embedding, in the rotate-half convention."""
    frequencies = 1.0 / theta ** (jnp.arange(0, head_width, 2, dtype=jnp.float32) / head_width)
    angles_LC2 = jnp.outer(jnp.arange(length, dtype=jnp.float32), frequencies)
    angles_LC = jnp.concatenate([angles_LC2, angles_LC2], axis=-1)
    return jnp.cos(angles_LC), jnp.sin(angles_LC)


def rotate(h_BLHC: jax.Array, cos_LC: jax.Array, sin_LC: jax.Array) -> jax.Array:
    """Turns each pair (c, c + C/2) of a head's features by its position's angle."""
    h32 = h_BLHC.astype(jnp.float32)
    first, second = jnp.split(h32, 2, axis=-1)
    turned = h32 * cos_LC[None, :, None] + jnp.concatenate([-second, first], axis=-1) * sin_LC[None, :, None]
    return turned.astype(h_BLHC.dtype)


class Linear(nn.Module):
    """A projection of the last axis [..., d] -> [..., features], or of the first [d, ...] -> [features, ...]; no bias.

    It multiplies matrices: with more than two axes XLA copies activations to transpose them for the weights' gradient,
    which made a training step on a CPU twice as slow.
    """

    features: int
    dtype: DTypeLike
    axis: Literal[0, -1] = -1

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        d = h.shape[self.axis]
        kernel = self.param("kernel", lecun_normal, (d, self.features)).astype(self.dtype)
        if self.axis == 0:
            return (kernel.T @ h.reshape(d, -1)).reshape(self.features, *h.shape[1:])
        return (h.reshape(-1, d) @ kernel).reshape(*h.shape[:-1], self.features)


class SwiGLU(nn.Module):
    """W_down(silu(gate) * up) over the last or the first axis, gate and up from one projection."""

    expansion: float
    dtype: DTypeLike
    axis: Literal[0, -1] = -1

    @nn.compact
    def __call__(self, h: jax.Array) -> jax.Array:
        d = h.shape[self.axis]
        inner = swiglu_width(d, self.expansion)
        gate, up = jnp.split(Linear(2 * inner, self.dtype, self.axis, name="gate_up")(h), 2, axis=self.axis)
        return Linear(d, self.dtype, self.axis, name="down")(jax.nn.silu(gate) * up)


class Attention(nn.Module):
    """Full self-attention over all positions, puzzle tokens included; no mask, no bias."""

    heads: int
    rope_theta: float | None
    dtype: DTypeLike
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        batch, length, d = h_BLD.shape
        qkv = Linear(3 * d, self.dtype, name="qkv")(h_BLD).reshape(batch, length, 3 * self.heads, d // self.heads)
        q_BLHC, k_BLHC, v_BLHC = jnp.split(qkv, 3, axis=2)
        if self.rope_theta is not None:
            cos_LC, sin_LC = rotary_angles(length, d // self.heads, self.rope_theta)
            q_BLHC, k_BLHC = rotate(q_BLHC, cos_LC, sin_LC), rotate(k_BLHC, cos_LC, sin_LC)
        mixed_BLHC = attend(q_BLHC, k_BLHC, v_BLHC, self.implementation)
        return Linear(d, self.dtype, name="out")(mixed_BLHC.reshape(batch, length, d))


class Block(nn.Module):
    """Mix the positions, then the features; each followed by a residual sum and a norm (post-norm)."""

    mixer: Literal["attention", "mlp"]
    heads: int
    expansion: float
    rope_theta: float | None
    norm_eps: float
    dtype: DTypeLike
    # Not `attention`, which is the name of what it contains.
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        if self.mixer == "mlp":
            # With the positions in front, mixing them is one product of matrices, [., L] @ [L, B * D].
            h_LBD = h_BLD.swapaxes(0, 1)
            mixed_LBD = SwiGLU(self.expansion, self.dtype, axis=0, name="token_mixer")(h_LBD)
            # This norm is over the positions, not over the features.
            h_BLD = rms_norm(h_LBD + mixed_LBD, self.norm_eps, axis=0).swapaxes(0, 1)
        else:
            attention = Attention(self.heads, self.rope_theta, self.dtype, self.implementation, name="attention")
            mixed_BLD = attention(h_BLD)
            h_BLD = rms_norm(h_BLD + mixed_BLD, self.norm_eps)
        return rms_norm(h_BLD + SwiGLU(self.expansion, self.dtype, name="feed_forward")(h_BLD), self.norm_eps)


class Network(nn.Module):
    """net(h, injection) = blocks(h + injection); one of these is all that recurses."""

    layers: int
    mixer: Literal["attention", "mlp"]
    heads: int
    expansion: float
    rope_theta: float | None
    norm_eps: float
    dtype: DTypeLike
    attention: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array, injection_BLD: jax.Array | float) -> jax.Array:
        h_BLD = h_BLD + injection_BLD
        for i in range(self.layers):
            block = Block(
                self.mixer,
                self.heads,
                self.expansion,
                self.rope_theta,
                self.norm_eps,
                self.dtype,
                self.attention,
                name=f"block_{i}",
            )
            h_BLD = block(h_BLD)
        return h_BLD
