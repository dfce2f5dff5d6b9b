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
    cells, count = possible.shape[1:]

    def drawn(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        cell_key, symbol_key = jax.random.split(key)
        return jax.random.uniform(cell_key, (cells,)), temperature * jax.random.gumbel(symbol_key, (count,))

    return pinned_by(possible, symbols, *jax.vmap(drawn)(keys_B))


def pinned_by(possible: jax.Array, symbols: jax.Array, draws_BS: jax.Array, noise_BV: jax.Array) -> jax.Array:
    """As `pinned`, by given numbers: pins the cell of the largest draw, each from 0 to 1, to its likeliest symbol.

    noise_BV: added to the logits of that cell.
    """
    choice_BS = possible.sum(axis=-1) > 1
    cells, count = possible.shape[1:]
    cell_B = jnp.where(choice_BS, draws_BS, -1.0).argmax(axis=-1)
    here_BS = (jnp.arange(cells)[None] == cell_B[:, None]) & choice_BS
    # Of a single cell this is a choice, not a sum; a gather of its row would come to the same.
    logits_BV = jnp.where(here_BS[..., None] & possible, symbols, -jnp.inf).max(axis=1)
    symbol_B = (logits_BV + noise_BV).argmax(axis=-1)
    this_BV = jnp.arange(count)[None] == symbol_B[:, None]
    return possible & (~here_BS[..., None] | this_BV[:, None])
