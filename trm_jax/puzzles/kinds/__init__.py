"""The kinds of puzzle behind one face (kind.py), a file each, and the registry that finds a kind by its description.

    sudoku.py    Sudokus, and Latin squares, whose boxes are of one row or one column
    maze.py      mazes
    arc.py       the grids of ARC tasks
    grid.py      puzzles of the user's own: declared shape, alphabet, symmetries and units
    tokens.py    tokens of which nothing is known
    values.py    what several of them may be described by
    registry.py  which kinds there are, and the texts that describe them

What these puzzles are, their rules and how their boards are written, stands in the files of the same names above.
"""

from trm_jax.puzzles.kinds.registry import (
    NAMES,
    cells_of,
    describe,
    kind_of,
    of_another_kind,
    units_of,
    with_keys,
)

__all__ = ["NAMES", "cells_of", "describe", "kind_of", "of_another_kind", "units_of", "with_keys"]
