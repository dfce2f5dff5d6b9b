"""Tables of symmetries: applied, inverted, taken apart."""

import numpy as np
import pytest

from trm_jax.puzzles.symmetry import Symmetries, identities


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
