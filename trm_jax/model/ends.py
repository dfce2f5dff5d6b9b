"""The two ends of a model: a puzzle becomes the input of the recursion, and a state becomes an answer."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from trm_jax.config import ModelConfig
from trm_jax.model.layers import Linear, embedding_normal


class Ends(nn.Module):
    """One position for each cell, and P in front of them; a mixer may have ends of its own (config/mixers.py)."""

    config: ModelConfig

    def setup(self) -> None:
        c = self.config
        self.tokens = self.param("tokens", embedding_normal, (c.vocab_size, c.width))
        if c.positions == "learned":
            self.position_table = self.param("positions", embedding_normal, (c.positions_total, c.width))
        self.token_head = Linear(c.vocab_size, c.dtype)
        # Halting starts out improbable, whatever the answer (sigmoid(-5) < 1 %), as in the original.
        self.q_head = verdict_head(2, -5.0)

    def embed(self, inputs_BS: jax.Array, puzzle_rows_BR: jax.Array | None) -> jax.Array:
        """x [B, L, D], of tokens and the batch's rows of the puzzle table (zeros where there are none)."""
        c = self.config
        x_BLD = self.tokens[inputs_BS].astype(c.dtype)
        if c.tokens_in_front:
            shape = (inputs_BS.shape[0], c.tokens_in_front, c.width)
            if puzzle_rows_BR is None:
                front_BPD = jnp.zeros(shape, c.dtype)
            else:
                padding = math.prod(shape[1:]) - puzzle_rows_BR.shape[1]
                front_BPD = jnp.pad(puzzle_rows_BR, ((0, 0), (0, padding))).reshape(shape).astype(c.dtype)
            x_BLD = jnp.concatenate([front_BPD, x_BLD], axis=1)
        if c.positions == "learned":
            # The sum of two embeddings has twice the variance of one.
            x_BLD = math.sqrt(0.5) * (x_BLD + self.position_table.astype(c.dtype)[None])
        return math.sqrt(c.width) * x_BLD

    def read(self, y_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """logits [B, S, V] of the cells, and q [B, 2], halt and continue, of the first position; float32."""
        logits_BSV = self.token_head(y_BLD[:, self.config.tokens_in_front :]).astype(jnp.float32)
        return logits_BSV, self.q_head(y_BLD[:, 0])


class CandidateEnds(nn.Module):
    """Ends of a network whose input is a set of symbols for each cell, with one position for each cell.

    A set becomes x; of a state three things are read: which candidates to keep, which symbol each cell has, and whether
    the set is in conflict, that is to say, has lost what is right.
    """

    config: ModelConfig

    def setup(self) -> None:
        c = self.config
        symbols = len(c.units.symbols)
        self.candidates = Linear(c.width, c.dtype)
        self.given = self.param("given", embedding_normal, (1, c.width))
        if c.positions == "learned":
            self.position_table = self.param("positions", embedding_normal, (c.positions_total, c.width))
        self.keep_head = nn.Dense(
            symbols, dtype=jnp.float32, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(2.0)
        )
        self.symbol_head = nn.Dense(symbols, dtype=jnp.float32, kernel_init=nn.initializers.zeros)
        self.conflict_head = verdict_head(1, -2.0)

    def embed(self, possible_BSV: jax.Array, given_BS: jax.Array) -> jax.Array:
        """x [B, L, D], of candidates and of the cells that the puzzle gives."""
        c = self.config
        x_BLD = self.candidates(possible_BSV.astype(c.dtype))
        x_BLD += given_BS[..., None].astype(c.dtype) * math.sqrt(c.width) * self.given.astype(c.dtype)[None]
        x_BLD = jnp.pad(x_BLD, ((0, 0), (c.tokens_in_front, 0), (0, 0)))
        if c.positions == "learned":
            x_BLD += math.sqrt(c.width) * self.position_table.astype(c.dtype)[None]
        return x_BLD

    def read(self, h_BLD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits of keeping [B, S, V], of symbols [B, S, V], of a conflict [B]; float32."""
        cells = h_BLD[:, self.config.tokens_in_front :].astype(jnp.float32)
        return self.keep_head(cells), self.symbol_head(cells), self.conflict_head(overview(h_BLD))[:, 0]


def verdict_head(features: int, logit: float) -> nn.Dense:
    """A head whose logits, float32, are this one at first, whatever it reads."""
    return nn.Dense(
        features, dtype=jnp.float32, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(logit)
    )


def overview(h_BLD: jax.Array) -> jax.Array:
    """Means and maxima over all positions, float32 [B, 2 D]."""
    h32 = h_BLD.astype(jnp.float32)
    return jnp.concatenate([h32.mean(axis=1), h32.max(axis=1)], axis=-1)
