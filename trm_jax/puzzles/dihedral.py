"""The eight symmetries of a square grid, as index arrays."""

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError

INVERSE = (0, 3, 2, 1, 4, 5, 6, 7)
"""INVERSE[k] is the map that undoes map k of `dihedral_indices`."""


def dihedral_indices(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Source cell of each target cell, [8, cells] int32: `flat[..., indices[k]]` applies map k.

    The order is identity, np.rot90 once, twice and three times, fliplr, flipud, transpose, and fliplr after
    rot90. Raises DataError unless the shape is a square, which all eight maps keep.
    """
    rows, columns = shape
    if rows != columns or rows < 1:
        raise DataError(f"a grid of {rows} x {columns} has no eight symmetries: pad it to a square first")
    grid = np.arange(rows * columns, dtype=np.int32).reshape(shape)
    turned = [np.rot90(grid, k) for k in range(4)]
    maps = [*turned, np.fliplr(grid), np.flipud(grid), grid.T, np.fliplr(turned[1])]
    return np.stack([m.ravel() for m in maps])
