"""What an exported search draws is what a search of the package draws."""

import jax
import numpy as np

from trm_jax.exporting.draws import draws


def test_they_are_those_of_jax_bit_for_bit():
    seed, chain, calls = 2**32 - 5, np.array([1, 2, 70_000], np.int32), np.array([1, 2**15, 9], np.int32)

    def drawn(chain, calls):
        key = jax.random.key(np.uint32(seed))
        for number in (0, chain, calls):  # as inference.search numbers puzzle, chain and call
            key = jax.random.fold_in(key, number)
        return jax.random.uniform(jax.random.split(key)[0], (81,))

    expected = jax.jit(jax.vmap(drawn))(chain, calls)
    np.testing.assert_array_equal(jax.jit(draws, static_argnums=3)(np.uint32(seed), chain, calls, 81), expected)
