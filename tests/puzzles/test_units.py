"""Units: what the rules of a kind speak of."""

import itertools

import numpy as np
import pytest

from trm_jax.puzzles import maze
from trm_jax.puzzles.units import units_of_maze


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 5), (1, 6), (5, 5)])
def test_a_mazes_units_are_the_pairs_of_cells_side_by_side(shape):
    units = units_of_maze(*shape)
    cells = list(np.ndindex(*shape))
    beside = {
        (i, j)
        for (i, a), (j, b) in itertools.combinations(enumerate(cells), 2)
        if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1
    }
    found = [
        tuple(np.flatnonzero(part == group)) for _, part in units.partitions for group in range(int(part.max()) + 1)
    ]
    assert len(found) == len(beside)
    assert set(found) == beside
    assert {name for name, _ in units.partitions} == {"neighbour"}  # of one class: a maze may be turned


def test_a_mazes_symbols_are_its_tokens_and_free_cells_are_blanks():
    units = units_of_maze(2, 2)
    assert units.symbols == (maze.WALL, maze.FREE, maze.START, maze.GOAL, maze.PATH)
    assert (units.blank, units.renamable) == (maze.FREE, False)
