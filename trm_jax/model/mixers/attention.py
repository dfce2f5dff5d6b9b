"""Self-attention over all positions, then a SwiGLU on each; paper, table 1, "w/ self-attention"."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

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
        h_BLD = rms_norm(h_BLD + Attention(c, self.implementation, name="attention")(h_BLD), c.norm_eps)
        return rms_norm(h_BLD + SwiGLU(c, name="feed_forward")(h_BLD), c.norm_eps)


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
    """Full self-attention over all positions, puzzle tokens included; no mask, and no bias but that of relations.

    With config.qk_norm queries and keys have root mean square 1 before they are turned and compared, so that no score
    exceeds sqrt(C) (arXiv 2010.04245; here without a learned scale, like every norm of the network).
    """

    config: ModelConfig
    implementation: Implementation = "xla"

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        batch, length, d = h_BLD.shape
        qkv = Linear(3 * d, c.dtype, name="qkv")(h_BLD).reshape(batch, length, 3 * c.heads, d // c.heads)
        q_BLHC, k_BLHC, v_BLHC = jnp.split(qkv, 3, axis=2)
        if c.qk_norm:
            q_BLHC, k_BLHC = rms_norm(q_BLHC, c.norm_eps), rms_norm(k_BLHC, c.norm_eps)
        if c.positions in ("rope", "rope_2d"):
            cos_LC, sin_LC = rotary_angles(coordinates(c, length), d // c.heads, c.rope_theta)
            q_BLHC, k_BLHC = rotate(q_BLHC, cos_LC, sin_LC), rotate(k_BLHC, cos_LC, sin_LC)
        bias_HLL = None
        if c.positions == "relations":
            relations = relations_of(c.units, c.tokens_in_front)
            # One number for each relation of two positions and each head, as a product with a 0/1 matrix.
            table_RH = self.param("relations", nn.initializers.zeros, (relations.count, c.heads))
            numbers_LL = jnp.array(relations.numbers)
            bias_HLL = (jax.nn.one_hot(numbers_LL, relations.count) @ table_RH).transpose(2, 0, 1)
        mixed_BLHC = attend(q_BLHC, k_BLHC, v_BLHC, self.implementation, bias_HLL)
        return Linear(d, c.dtype, name="out")(mixed_BLHC.reshape(batch, length, d))


def coordinates(config: ModelConfig, length: int) -> tuple[jax.Array, ...]:
    """By what positions are turned, float32 [L] each: their number; of "rope_2d" the row and the column of their cell.

    Rows and columns count from 1: those in front of the cells stand at 0.
    """
    if config.positions == "rope":
        return (jnp.arange(length, dtype=jnp.float32),)
    front = (config.tokens_in_front, 0)
    return tuple(jnp.pad(jnp.array(place_S + 1.0, jnp.float32), front) for place_S in config.places[:2])


def rotary_angles(coordinates_L: Sequence[jax.Array], head_width: int, theta: float) -> tuple[jax.Array, jax.Array]:
    """Cosines and sines [L, C] of the rotary position embedding, in the rotate-half convention.

    Each coordinate has an equal share of a head's pairs of features, and all wavelengths. With two, row and column, it
    is the axial form for two dimensions (arXiv 2403.13298), as in SE-RRM (arXiv 2603.02193) and Sotaku.
    """
    width = head_width // len(coordinates_L)
    frequencies = 1.0 / theta ** (jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles_LC2 = jnp.concatenate([jnp.outer(one_L, frequencies) for one_L in coordinates_L], axis=-1)
    angles_LC = jnp.concatenate([angles_LC2, angles_LC2], axis=-1)
    return jnp.cos(angles_LC), jnp.sin(angles_LC)


def rotate(h_BLHC: jax.Array, cos_LC: jax.Array, sin_LC: jax.Array) -> jax.Array:
    """Turns each pair (c, c + C/2) of a head's features by its position's angle."""
    h32 = h_BLHC.astype(jnp.float32)
    first, second = jnp.split(h32, 2, axis=-1)
    turned = h32 * cos_LC[None, :, None] + jnp.concatenate([-second, first], axis=-1) * sin_LC[None, :, None]
    return turned.astype(h_BLHC.dtype)
