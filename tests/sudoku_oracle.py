"""An oracle for Sudokus: their rules as clauses for a SAT solver that has nothing to do with this repository."""

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pysat.solvers import Cadical153

from trm_jax.puzzles import sudoku


class Oracle:
    """The rules of a layout as clauses: variable cell * side + digit says that the cell, from 0 on, has the digit."""

    def __init__(self, layout: sudoku.Layout) -> None:
        self.side = side = layout.side
        self.solver = Cadical153()
        self.fresh = layout.cells * side + 1

        def box(cell: int) -> tuple[int, int]:
            return cell // side // layout.box_rows, cell % side // layout.box_cols

        for cell in range(layout.cells):
            self.solver.add_clause([self.literal(cell, digit) for digit in range(1, side + 1)])
            for pair in itertools.combinations(range(1, side + 1), 2):
                self.solver.add_clause([-self.literal(cell, digit) for digit in pair])
        for a, b in itertools.combinations(range(layout.cells), 2):
            if a // side == b // side or a % side == b % side or box(a) == box(b):
                for digit in range(1, side + 1):
                    self.solver.add_clause([-self.literal(a, digit), -self.literal(b, digit)])

    def literal(self, cell: int, digit: int) -> int:
        return cell * self.side + digit

    def clues(self, puzzle: NDArray[np.int8]) -> list[int]:
        return [self.literal(cell, digit) for cell, digit in enumerate(puzzle.tolist()) if digit]

    def solutions(self, puzzle: NDArray[np.int8], limit: int) -> set[bytes]:
        """Up to `limit` solutions, each forbidden by a clause once it is found."""
        found: set[bytes] = set()
        # Clauses that forbid hold only while this variable is assumed, so the next puzzle starts afresh.
        here, self.fresh = self.fresh, self.fresh + 1
        while len(found) < limit and self.solver.solve(assumptions=[here, *self.clues(puzzle)]):
            true = [v for v in self.solver.get_model() if 0 < v <= self.side**3]
            assert len(true) == self.side**2
            found.add(bytes((v - 1) % self.side + 1 for v in true))
            self.solver.add_clause([-here, *(-v for v in true)])
        return found

    def needs(self, puzzle: NDArray[np.int8], cell: int) -> bool:
        """Whether the clue of this cell is needed: without it the cell may hold another digit."""
        fewer = puzzle.copy()
        fewer[cell] = 0
        wrong = -self.literal(int(cell), int(puzzle[cell]))
        return bool(self.solver.solve(assumptions=[wrong, *self.clues(fewer)]))


@lru_cache
def oracle(box: str) -> Oracle:
    return Oracle(sudoku.layout_from(box))
