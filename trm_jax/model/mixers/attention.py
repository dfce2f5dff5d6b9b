"""Self-attention over all positions, then a SwiGLU on each; paper, table 1, "w/ self-attention"."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from trm_jax.config import ModelConfig
from trm_jax.model.attention import Implementation, attend
from trm_jax.model.layers import Linear, SwiGLU, rms_norm, swiglu_flops


class Block(nn.Module):
    """Mix the positions, then the features; each followed by a residual sum and a norm (post-norm)."""

    config: ModelConfig
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        theta = c.rope_theta if c.positions == "rope" else None
        mixed_BLD = Attention(c.heads, theta, c.dtype, self.implementation, name="attention")(h_BLD)
        h_BLD = rms_norm(h_BLD + mixed_BLD, c.norm_eps)
        return rms_norm(h_BLD + SwiGLU(c.expansion, c.dtype, name="feed_forward")(h_BLD), c.norm_eps)


def flops(config: ModelConfig) -> int:
    """Of the projections, of scores and sums over positions, and of the SwiGLU."""
    L, D = config.positions_total, config.width
    return 2 * (4 * D * D * L + 2 * L * L * D) + L * swiglu_flops(D, config.expansion)


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
