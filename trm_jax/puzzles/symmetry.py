"""Symmetries of puzzles on a grid, whatever the kind: cells change places, tokens change names.

One pair of tables says it for all: a Sudoku's shuffled rows and relabelled digits, a turned maze, a mirrored board
whose '<' and '>' change roles. Tables apply to a whole batch at once, and can be inverted.

All is drawn from random 32-bit words, by NumPy on the host or by JAX inside a compiled step: the array's own namespace
does the work, so the same words make the same bits in both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer[Any]]
Array = Any  # of NumPy or of JAX, traced or not


@dataclass(frozen=True)
class Symmetries:
    """n symmetries of puzzles with S cells and V tokens, as arrays of NumPy or of JAX.

    cells: source cell of each target cell, int32 [n, S].
    tokens: what each token becomes, int32 [n, V]; padding (0) stays padding.
    """

    cells: Array
    tokens: Array

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Any) -> "Symmetries":
        """The symmetries of some rows: a slice, or an array of indices."""
        return Symmetries(self.cells[rows], self.tokens[rows])

    def apply(self, grids: Array) -> Array:
        """Applies symmetry i to grid i of [n, S], for questions and answers alike; keeps the dtype."""
        xp = self.cells.__array_namespace__()
        moved = xp.take_along_axis(grids, self.cells, axis=1)
        return xp.take_along_axis(self.tokens, moved.astype(xp.int32), axis=1).astype(grids.dtype)

    def inverse(self) -> "Symmetries":
        """What undoes each of them: `s.inverse().apply(s.apply(grids))` is `grids`."""
        return Symmetries(_order(self.cells), _order(self.tokens))


def identities(n: int, cells: int, vocab_size: int) -> Symmetries:
    """n symmetries that change nothing, as arrays of NumPy."""
    return Symmetries(
        np.broadcast_to(np.arange(cells, dtype=np.int32), (n, cells)),
        np.broadcast_to(np.arange(vocab_size, dtype=np.int32), (n, vocab_size)),
    )


def random_words(rng: np.random.Generator, n: int, words: int) -> NDArray[np.uint32]:
    """What n symmetries of so many words each are drawn from, uint32 [n, words]."""
    return rng.integers(0, 2**32, (n, words), dtype=np.uint32)


def permutations(words: Array) -> Array:
    """Permutations of 0 .. k - 1, int32 [..., k], from words uint32 [..., k]: the order that sorts them.

    All are equally likely, but for the k (k - 1) / 2**33 of draws with two equal words, which keep their order.
    """
    return _order(words)


def renamings(words: Array) -> Array:
    """Permutations of 0 .. k that keep 0, int32 [n, k + 1], from words uint32 [n, k]."""
    return words.__array_namespace__().pad(permutations(words) + 1, ((0, 0), (1, 0)))


def choices(words: Array, count: int | Array) -> Array:
    """Numbers below `count`, int32 [n], from words uint32 [n]: the remainders.

    One number can be likelier than another by count / 2**32 of itself, and is not where count is a power of two.

    Args:
      count: at least 1, for all or for each, [n].
    """
    xp = words.__array_namespace__()
    return (words % xp.asarray(count, dtype=xp.uint32)).astype(xp.int32)


def _order(values: Array) -> Array:
    xp = values.__array_namespace__()
    return xp.argsort(values, axis=-1, stable=True).astype(xp.int32)
