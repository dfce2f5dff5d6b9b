"""Symmetries of puzzles on a grid, whatever the kind: cells change places, tokens change names.

One pair of tables says it for all: a Sudoku's shuffled rows and relabelled digits, a turned maze, a mirrored board
whose '<' and '>' change roles. Tables apply to a whole batch at once, and can be inverted.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Symmetries:
    """n symmetries of puzzles with S cells and V tokens.

    cells: source cell of each target cell, int32 [n, S].
    tokens: what each token becomes, int32 [n, V]; padding (0) stays padding.
    """

    cells: NDArray[np.int32]
    tokens: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cells)

    def take(self, rows: Any) -> "Symmetries":
        """The symmetries of some rows: a slice, or an array of indices."""
        return Symmetries(self.cells[rows], self.tokens[rows])

    def apply(self, grids: Tokens) -> Tokens:
        """Applies symmetry i to grid i of [n, S], for questions and answers alike; keeps the dtype."""
        moved = np.take_along_axis(grids, self.cells, axis=1)
        return np.take_along_axis(self.tokens, moved.astype(np.intp), axis=1).astype(grids.dtype)

    def inverse(self) -> "Symmetries":
        """What undoes each of them: `s.inverse().apply(s.apply(grids))` is `grids`."""
        return Symmetries(
            np.argsort(self.cells, axis=1).astype(np.int32), np.argsort(self.tokens, axis=1).astype(np.int32)
        )


def identities(n: int, cells: int, vocab_size: int) -> Symmetries:
    """n symmetries that change nothing."""
    return Symmetries(
        np.broadcast_to(np.arange(cells, dtype=np.int32), (n, cells)),
        np.broadcast_to(np.arange(vocab_size, dtype=np.int32), (n, vocab_size)),
    )
