"""A network made of a puzzle's units and nothing else, which respects every symmetry of the puzzle exactly.

The state has a vector for each cell *and symbol*, [B, S, V, C], held as [B, L, D] with L = S * V and D = C. Cells
speak to each other through sums over their units, symbol by symbol, and the symbols of a cell through their sum:
whatever maps units to units, or renames symbols, only permutes the state. There is no table of positions, and none of
symbols unless they are told apart, so that weights depend neither on the size of the board nor on how many symbols
there are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import ModelConfig
from trm_jax.model.ends import overview, verdict_head
from trm_jax.model.layers import Linear, gated, rms_norm
from trm_jax.model.losses import NEVER
from trm_jax.model.pooling import BOARD, nodes_of, spread, sums

# A sum over the cells of a unit, or over the symbols of a cell, comes to about the size of what it sums. Not a mean:
# that a symbol has one place left in a unit is one number in a sum, whatever the size of the board.
_SCALE = 1 / 3


def shape(config: ModelConfig) -> tuple[int, int]:
    """(L, D): cells times symbols, and the width."""
    return config.seq_len * len(config.units.symbols), config.width


def flops(config: ModelConfig) -> int:
    """Of the products with matrices: on each cell and symbol, each group and symbol, and each cell."""
    symbols, width, inner = len(config.units.symbols), config.width, inner_width(config)
    vectors = config.seq_len * symbols + sum(len(node.cells) for node in nodes_of(config.units)) * symbols
    return 2 * (2 * inner * width * (vectors + config.seq_len) + inner * width * config.seq_len * symbols)


def inner_width(config: ModelConfig) -> int:
    """H, of gate and up each."""
    return round(config.expansion * config.width)


class Block(nn.Module):
    """h = rms(h + W_down(silu(gate) * up)), gate and up from h itself and from all sums that it is in."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        units, inner = c.units, inner_width(c)
        h = h_BLD.reshape(h_BLD.shape[0], c.seq_len, len(units.symbols), c.width)
        projections = {
            name: Linear(2 * inner, c.dtype, name=name)
            for name in ("own", "symbols", BOARD, *(name for name, _ in units.classes))
        }
        nodes = nodes_of(units)
        summed: list[jax.Array] = []
        for node in nodes:
            summed.append(sums(node, h if node.parent is None else summed[node.parent]))
        # What is said to each group; from the coarse to the fine, the last of which say it to the cells.
        said: list[jax.Array | None] = [None] * len(nodes)
        mixed = projections["own"](h) + projections["symbols"](h.sum(axis=2, keepdims=True) * _SCALE)
        for i, node in reversed(list(enumerate(nodes))):
            scale = 1 / np.float32(c.seq_len) if node.name == BOARD else _SCALE
            here = projections[node.name](summed[i] * jnp.asarray(scale, h.dtype))
            if (above := said[i]) is not None:
                here = here + above
            heard = spread(node, here)
            if node.parent is None:
                mixed = mixed + heard
            else:
                before = said[node.parent]
                said[node.parent] = heard if before is None else before + heard
        gate, up = jnp.split(mixed, 2, axis=-1)
        h = rms_norm(h + Linear(c.width, c.dtype, name="down")(gated(gate, up, c)), c.norm_eps)
        return h.reshape(h_BLD.shape)


class _Roles(nn.Module):
    """x [B, L, D] of what each symbol is in each cell, a number below 3; and of the symbols, where they have names."""

    config: ModelConfig

    @nn.compact
    def __call__(self, roles_BSV: jax.Array) -> jax.Array:
        c = self.config
        table = self.param("roles", nn.initializers.normal(1.0), (3, c.width))
        # A product with a 0/1 matrix: the transpose of a gather is a scatter.
        x = jax.nn.one_hot(roles_BSV, 3, dtype=c.dtype) @ table.astype(c.dtype)
        if not c.units.renamable:
            names = self.param("names", nn.initializers.normal(1.0), (len(c.units.symbols), c.width))
            x += names.astype(c.dtype)[None, None]
        return x.reshape(x.shape[0], -1, c.width)


class Ends(nn.Module):
    """Of a symbol and a cell the puzzle says: blank; given, and it is this; given, and it is another."""

    config: ModelConfig

    def setup(self) -> None:
        self.embedding = _Roles(self.config)
        self.token_head = Linear(1, self.config.dtype)
        # Halting starts out improbable, as in the other networks (model/ends.py).
        self.q_head = verdict_head(2, -5.0)

    def embed(self, inputs_BS: jax.Array, puzzle_rows_BR: jax.Array | None) -> jax.Array:
        """x [B, L, D]."""
        units = self.config.units
        given = (inputs_BS != units.blank)[..., None]
        this = inputs_BS[..., None] == jnp.array(units.symbols)[None, None]
        return self.embedding(jnp.where(given, jnp.where(this, 1, 2), 0))

    def read(self, y_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """logits [B, S, V] of tokens, those that are no symbols out of the question; q [B, 2] from means and maxima."""
        c = self.config
        first, count = c.units.symbols[0], len(c.units.symbols)
        logits_BSV = self.token_head(y_BLD).astype(jnp.float32).reshape(y_BLD.shape[0], c.seq_len, count)
        around = (first, c.vocab_size - first - count)
        logits_BSV = jnp.pad(logits_BSV, ((0, 0), (0, 0), around), constant_values=NEVER)
        return logits_BSV, self.q_head(overview(y_BLD))


class CandidateEnds(nn.Module):
    """Of a symbol and a cell the set says: eliminated, possible, or given (model/ends.py says what is read)."""

    config: ModelConfig

    def setup(self) -> None:
        self.embedding = _Roles(self.config)
        self.keep_head = nn.Dense(2, dtype=jnp.float32, kernel_init=nn.initializers.zeros, bias_init=_keep_at_first)
        self.conflict_head = verdict_head(1, -2.0)

    def embed(self, possible_BSV: jax.Array, given_BS: jax.Array) -> jax.Array:
        """x [B, L, D]."""
        return self.embedding(jnp.where(possible_BSV, jnp.where(given_BS[..., None], 2, 1), 0))

    def read(self, h_BLD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits of keeping [B, S, V], of symbols [B, S, V], of a conflict [B]; float32."""
        c = self.config
        pairs = self.keep_head(h_BLD.astype(jnp.float32)).reshape(h_BLD.shape[0], c.seq_len, -1, 2)
        return pairs[..., 0], pairs[..., 1], self.conflict_head(overview(h_BLD))[:, 0]


def _keep_at_first(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    return jnp.array([2.0, 0.0], dtype)
