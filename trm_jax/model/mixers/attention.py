"""Self-attention over all positions, then a SwiGLU on each; paper, table 1, "w/ self-attention"."""

from dataclasses import dataclass
from functools import lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from trm_jax.config import ModelConfig
from trm_jax.model.attention import Implementation, attend
from trm_jax.model.layers import Linear, SwiGLU, rms_norm, swiglu_flops
from trm_jax.puzzles.units import Units


class Block(nn.Module):
    """Mix the positions, then the features; each followed by a residual sum and a norm (post-norm)."""

    config: ModelConfig
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        theta = c.rope_theta if c.positions == "rope" else None
        relations = relations_of(c.units, c.tokens_in_front) if c.positions == "relations" else None
        mixed_BLD = Attention(c.heads, theta, c.dtype, self.implementation, relations, name="attention")(h_BLD)
        h_BLD = rms_norm(h_BLD + mixed_BLD, c.norm_eps)
        return rms_norm(h_BLD + SwiGLU(c.expansion, c.dtype, name="feed_forward")(h_BLD), c.norm_eps)


def flops(config: ModelConfig) -> int:
    """Of the projections, of scores and sums over positions, and of the SwiGLU."""
    L, D = config.positions_total, config.width
    return 2 * (4 * D * D * L + 2 * L * L * D) + L * swiglu_flops(D, config.expansion)


@dataclass(frozen=True)
class Relations:
    """What each two of L positions have in common: a number below `count`, [L, L] nested; and that count."""

    numbers: tuple[tuple[int, ...], ...]
    count: int


@lru_cache
def relations_of(units: Units, in_front: int) -> Relations:
    """Of cells, which classes of units they share and whether they are the same; of positions in front, two more."""
    cells = units.relations
    own = 1 << len(units.classes)
    cells = np.where(np.eye(len(cells), dtype=bool), own, cells)
    numbers = np.full((in_front + len(cells),) * 2, own + 1)
    numbers[:in_front, :in_front] = own + 2
    numbers[in_front:, in_front:] = cells
    return Relations(tuple(map(tuple, numbers.tolist())), own + (3 if in_front else 1))


class Attention(nn.Module):
    """Full self-attention over all positions, puzzle tokens included; no mask, no bias."""

    heads: int
    rope_theta: float | None
    dtype: DTypeLike
    implementation: Implementation = "xla"
    relations: Relations | None = None

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        batch, length, d = h_BLD.shape
        qkv = Linear(3 * d, self.dtype, name="qkv")(h_BLD).reshape(batch, length, 3 * self.heads, d // self.heads)
        q_BLHC, k_BLHC, v_BLHC = jnp.split(qkv, 3, axis=2)
        if self.rope_theta is not None:
            cos_LC, sin_LC = rotary_angles(length, d // self.heads, self.rope_theta)
            q_BLHC, k_BLHC = rotate(q_BLHC, cos_LC, sin_LC), rotate(k_BLHC, cos_LC, sin_LC)
        bias_HLL = None
        if self.relations is not None:
            # One number for each relation of two positions and each head, as a product with a 0/1 matrix.
            table_RH = self.param("relations", nn.initializers.zeros, (self.relations.count, self.heads))
            numbers_LL = jnp.array(self.relations.numbers)
            bias_HLL = (jax.nn.one_hot(numbers_LL, self.relations.count) @ table_RH).transpose(2, 0, 1)
        mixed_BLHC = attend(q_BLHC, k_BLHC, v_BLHC, self.implementation, bias_HLL)
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
