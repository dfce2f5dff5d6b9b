"""The random numbers of a search, of whole numbers alone: exported programs cannot all hold keys of `jax.random`.

They are those that `inference.search` draws for a puzzle that is searched alone, bit for bit: Threefry-2x32 (Salmon and
others, 2011) with JAX's way of deriving keys.
"""

import jax
import jax.numpy as jnp

_ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
_PARITY = 0x1BD11BDA

# Two words, uint32 arrays that broadcast to each other.
Words = tuple[jax.Array, jax.Array]


def draws(seed: jax.Array, chain_B: jax.Array, calls_B: jax.Array, cells: int) -> jax.Array:
    """float32 [B, S], evenly from 0 to 1, for the cells of each set.

    Args:
      seed: uint32 scalar.
      chain_B: number of the chain, from 1.
      calls_B: calls that were made on its puzzle before this one.
      cells: S.
    """
    zero = jnp.zeros((), jnp.uint32)
    key: Words = zero, seed
    for number in (zero, chain_B.astype(jnp.uint32), calls_B.astype(jnp.uint32)):
        if number.ndim:
            key = threefry((_like(key[0], number), _like(key[1], number)), (jnp.zeros_like(number), number))
        else:
            key = threefry(key, (zero, number))
    # The first of two keys that a split makes; the other is for noise, of which a search has none.
    key = threefry(key, (jnp.zeros_like(key[0]), jnp.zeros_like(key[0])))
    place_BS = jnp.broadcast_to(jnp.arange(cells, dtype=jnp.uint32)[None], (chain_B.shape[0], cells))
    first, second = threefry((key[0][:, None], key[1][:, None]), (jnp.zeros_like(place_BS), place_BS))
    return ((first ^ second) >> 9).astype(jnp.float32) * jnp.float32(2**-23)


def threefry(key: Words, count: Words) -> Words:
    """Two words of the block cipher, 20 rounds."""
    keys = (*key, key[0] ^ key[1] ^ jnp.uint32(_PARITY))
    first, second = count[0] + keys[0], count[1] + keys[1]
    for i in range(5):
        for distance in _ROTATIONS[i % 2]:
            first = first + second
            second = (second << distance) | (second >> (32 - distance))
            second = first ^ second
        first = first + keys[(i + 1) % 3]
        second = second + keys[(i + 2) % 3] + jnp.uint32(i + 1)
    return first, second


def _like(word: jax.Array, array: jax.Array) -> jax.Array:
    return jnp.broadcast_to(word, array.shape)
