"""Tables of symmetries: applied, inverted, taken apart, and what they are drawn from; by NumPy and JAX alike."""

from itertools import permutations as every_permutation

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.puzzles.symmetry import Symmetries, choices, identities, permutations, random_words, renamings


def drawn(n: int = 5, cells: int = 7, vocab: int = 4) -> Symmetries:
    rng = np.random.default_rng(0)
    tokens = np.zeros((n, vocab), np.int32)
    tokens[:, 1:] = rng.permuted(np.tile(np.arange(1, vocab), (n, 1)), axis=1)
    return Symmetries(rng.permuted(np.tile(np.arange(cells, dtype=np.int32), (n, 1)), axis=1), tokens)


def test_a_symmetry_moves_cells_and_then_renames_tokens() -> None:
    one = Symmetries(np.array([[2, 0, 1]], np.int32), np.array([[0, 2, 3, 1]], np.int32))
    moved = one.apply(np.array([[1, 2, 3]], np.uint8))
    assert moved.tolist() == [[1, 2, 3]]
    assert moved.dtype == np.uint8
    assert one.apply(np.array([[1, 1, 0]])).tolist() == [[0, 2, 2]]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_the_inverse_undoes(dtype: type) -> None:
    symmetries = drawn()
    grids = np.random.default_rng(1).integers(0, 4, (5, 7)).astype(dtype)
    turned = symmetries.apply(grids)
    assert (turned != grids).any()
    assert (symmetries.inverse().apply(turned) == grids).all()
    assert turned.dtype == dtype


def test_identities_change_nothing_and_rows_can_be_taken() -> None:
    grids = np.random.default_rng(1).integers(0, 4, (3, 7))
    assert (identities(3, 7, 4).apply(grids) == grids).all()
    symmetries = drawn()
    whole = symmetries.apply(np.tile(grids[:1], (5, 1)))
    assert (symmetries.take(np.array([4, 1])).apply(np.tile(grids[:1], (2, 1))) == whole[[4, 1]]).all()
    assert len(symmetries.take(slice(1, 3))) == 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32])
def test_jax_applies_and_inverts_as_numpy_does(dtype: type) -> None:
    symmetries = drawn()
    grids = np.random.default_rng(1).integers(0, 4, (5, 7)).astype(dtype)

    @jax.jit
    def turned(cells: jax.Array, tokens: jax.Array, grids: jax.Array) -> tuple[jax.Array, jax.Array]:
        inside = Symmetries(cells, tokens).take(slice(1, 4))
        there = inside.apply(grids[1:4])
        return there, inside.inverse().apply(there)

    there, back = turned(jnp.asarray(symmetries.cells), jnp.asarray(symmetries.tokens), jnp.asarray(grids))
    assert there.dtype == back.dtype == dtype
    np.testing.assert_array_equal(there, symmetries.apply(grids)[1:4])
    np.testing.assert_array_equal(back, grids[1:4])


def test_words_make_permutations_renamings_and_choices() -> None:
    words = np.array([[30, 10, 20], [2**32 - 1, 2**31, 5], [7, 7, 6], [0, 0, 0]], np.uint32)
    assert permutations(words).tolist() == [[1, 2, 0], [2, 1, 0], [2, 0, 1], [0, 1, 2]]
    assert permutations(2**32 - 1 - np.arange(3, dtype=np.uint32)).tolist() == [2, 1, 0], "no bit is lost"
    assert permutations(words.reshape(2, 2, 3)).tolist() == permutations(words).reshape(2, 2, 3).tolist()
    assert renamings(words).tolist() == [[0, 2, 3, 1], [0, 3, 2, 1], [0, 3, 1, 2], [0, 1, 2, 3]]
    first = words[:, 0]
    assert choices(first, 4).tolist() == [2, 3, 3, 0]
    assert choices(first, np.array([7, 2**31 - 1, 1, 9], np.int32)).tolist() == [2, 1, 0, 0]
    assert {each.dtype for each in (permutations(words), renamings(words), choices(first, 4))} == {np.dtype(np.int32)}


def test_jax_draws_as_numpy_does() -> None:
    """Ties as well, and words that a signed number could not hold."""
    rng = np.random.default_rng(0)
    words = np.where(rng.random((300, 9)) < 0.2, 2**32 - 1, random_words(rng, 300, 9)).astype(np.uint32)
    counts = rng.integers(1, 40, 300).astype(np.int32)
    for draw, others in ((permutations, ()), (renamings, ()), (lambda w: choices(w[:, 0], 31), ()),
                         (lambda w, c: choices(w[:, 0], c), (counts,))):  # fmt: skip
        by_jax = jax.jit(draw)(jnp.asarray(words), *map(jnp.asarray, others))
        assert by_jax.dtype == jnp.int32
        np.testing.assert_array_equal(by_jax, draw(words, *others))


def test_draws_are_even_and_words_reach_both_ends() -> None:
    words = random_words(np.random.default_rng(0), 24_000, 4)
    assert (words.dtype, words.shape) == (np.uint32, (24_000, 4))
    assert int(words.min()) < 2**32 // 10_000 < 2**32 - 2**32 // 10_000 < int(words.max())
    orders, counts = np.unique(permutations(words), axis=0, return_counts=True)
    assert orders.tolist() == [list(order) for order in every_permutation(range(4))]
    assert ((counts - 1000) ** 2 / 1000).sum() < 56  # chi-square, 23 degrees of freedom, p = 1e-4
    counts = np.bincount(choices(words[:, 1], 12))
    assert ((counts - 2000) ** 2 / 2000).sum() < 38  # 11 degrees of freedom
