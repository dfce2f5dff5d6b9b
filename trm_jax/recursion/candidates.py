"""Sets of candidates: what is carried from one call of a network to the next in place of y and z.

For every cell of a puzzle, the symbols that it may still have, bool [B, S, V]. A network says of each whether to keep
it; those that it does not keep are eliminated. When every cell has one symbol left, there is an answer; when a cell has
none, or the network sees that something right has been lost, there is a conflict, and the set is given up. Otherwise a
cell is picked at random and pinned to one of its symbols, so that the next call has something to go on (lattice
deduction, arXiv 2605.08605). Pinning is a guess: only a conflict undoes it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Deduction(NamedTuple):
    """What a network says of a set of candidates, float32 logits.

    keep: of each candidate, that it is right, [B, S, V].
    symbols: of the symbol that each cell has, [B, S, V].
    conflict: that the set has lost a symbol that is right, [B].
    """

    keep: jax.Array
    symbols: jax.Array
    conflict: jax.Array


class Verdict(NamedTuple):
    """What has become of sets of candidates.

    possible: the candidates that are left, bool [B, S, V].
    conflict: a set to be given up, bool [B].
    solved: one candidate in every cell, and no conflict, bool [B].
    """

    possible: jax.Array
    conflict: jax.Array
    solved: jax.Array


def all_possible(given_BS: jax.Array, this_BSV: jax.Array) -> jax.Array:
    """The set that a puzzle starts with: what is given, and everything where nothing is.

    given_BS: whether the puzzle gives the cell; this_BSV: whether it gives this symbol.
    """
    return jnp.where(given_BS[..., None], this_BSV, True)


def eliminated(
    possible: jax.Array, given_BS: jax.Array, said: Deduction, eliminate_below: Any, conflict_above: Any
) -> Verdict:
    """Takes away the candidates that are kept with less than a probability; what is given stays."""
    doubted = jax.nn.sigmoid(said.keep) < eliminate_below
    possible = possible & ~(doubted & ~given_BS[..., None])
    left_BS = possible.sum(axis=-1)
    conflict = (left_BS == 0).any(axis=-1) | (jax.nn.sigmoid(said.conflict) > conflict_above)
    return Verdict(possible, conflict, (left_BS == 1).all(axis=-1) & ~conflict)


def pinned(possible: jax.Array, symbols: jax.Array, keys_B: jax.Array, temperature: Any) -> jax.Array:
    """Leaves one cell of each set, any that has a choice, a single symbol: sampled, or at temperature 0 the likeliest.

    Args:
      possible: candidates [B, S, V]; a set without a choice stays as it is.
      symbols: logits [B, S, V].
      keys_B: random keys, one for each set.
      temperature: of the sampling.
    """
    choice_BS = possible.sum(axis=-1) > 1

    def one(possible_SV: jax.Array, logits_SV: jax.Array, choice_S: jax.Array, key: jax.Array) -> jax.Array:
        cell_key, symbol_key = jax.random.split(key)
        cell = jnp.argmax(jnp.where(choice_S, jax.random.uniform(cell_key, choice_S.shape), -1.0))
        logits_V = jnp.where(possible_SV[cell], logits_SV[cell], -jnp.inf)
        noise_V = temperature * jax.random.gumbel(symbol_key, logits_V.shape)
        symbol = jnp.argmax(logits_V + noise_V)
        here_S = (jnp.arange(choice_S.shape[0]) == cell) & choice_S.any()
        return possible_SV & (~here_S[:, None] | (jnp.arange(logits_V.shape[0]) == symbol)[None])

    return jax.vmap(one)(possible, symbols, choice_BS, keys_B)
