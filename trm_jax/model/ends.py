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
        self.q_head = nn.Dense(
            2, dtype=jnp.float32, kernel_init=nn.initializers.zeros, bias_init=nn.initializers.constant(-5.0)
        )

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
