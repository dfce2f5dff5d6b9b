"""Several arrays of rows as if they were one, without reading them."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Tokens = NDArray[np.integer[Any]]


class Stacked:
    """Rows of several arrays [N_i, ...] as if they were one [N, ...]; nothing is read before it is asked for.

    A part may be a stack itself. Indexing by an integer, a slice or an array of integers gives a plain array, as NumPy
    does; dtype holds the tokens of all parts. Raises ValueError where they differ in more than their number of rows.
    """

    def __init__(self, parts: Sequence["Tokens | Stacked"]) -> None:
        shapes = [part.shape for part in parts]
        if not shapes or any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
            raise ValueError(f"arrays of shapes {shapes} do not form one stack of rows")
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        common = np.result_type(*(part.dtype for part in parts))
        # NumPy would take floats for signed and unsigned numbers of 64 bits; no token is as large.
        self.dtype: np.dtype[Any] = common if common.kind in "iu" else np.dtype(np.int64)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *shapes[0][1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: SupportsIndex | slice | ArrayLike) -> Tokens:
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            return self._taken(np.arange(first, stop, step))
        indices = np.asarray(rows)
        if indices.size == 0 and indices.ndim and not isinstance(rows, np.ndarray):
            indices = indices.astype(np.intp)
        if indices.dtype.kind not in "iu":
            raise IndexError(f"rows are chosen by integers or a slice, not by {indices.dtype}")
        if indices.size and not -len(self) <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"a row between {indices.min()} and {indices.max()} is out of bounds for {len(self)} rows")
        indices = indices.astype(np.int64)
        return self._taken(np.where(indices < 0, indices + len(self), indices))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Tokens:
        if copy is False:
            raise ValueError("several arrays cannot become one without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _taken(self, rows: NDArray[np.int64]) -> Tokens:
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(part_of):
            here = part_of == number
            found[here] = self._parts[number][rows[here] - self._starts[number]]
        return found
