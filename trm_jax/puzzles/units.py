"""What the rules of a puzzle speak of: its units, groups of cells among which symbols compete, and its symbols.

A network that is made of these, and of nothing else that tells one cell or one symbol from another, respects every
symmetry that maps units to units (model/mixers/symmetric.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.declared import shown

# In a drawing of groups, a cell with this character is in none.
_NO_GROUP = "."


@dataclass(frozen=True)
class Units:
    """Groups of cells by class, and symbols. Hashable.

    cells: S.
    classes: (name, partitions) each; a partition says for each cell the number of its group, -1 for none. Units of one
      class play the same part: a symmetry may turn one of them into another, as a transposition turns rows into
      columns.
    symbols: the tokens that are symbols, ascending, one after the other.
    blank: the token of an empty cell.
    renamable: whether symbols may change their names.
    """

    cells: int
    classes: tuple[tuple[str, tuple[tuple[int, ...], ...]], ...]
    symbols: tuple[int, ...]
    blank: int
    renamable: bool

    @cached_property
    def partitions(self) -> tuple[tuple[str, NDArray[np.int32]], ...]:
        """All partitions with the name of their class, each int32 [S]."""
        return tuple((name, np.array(part, np.int32)) for name, parts in self.classes for part in parts)

    @cached_property
    def relations(self) -> NDArray[np.int32]:
        """What two cells share, int32 [S, S]: one bit for each class, in its order."""
        shared = np.zeros((self.cells, self.cells), np.int32)
        for bit, (_, parts) in enumerate(self.classes):
            for part in parts:
                group = np.array(part)
                shared |= ((group[:, None] == group) & (group >= 0)).astype(np.int32) << bit
        return shared


def units_of_sudoku(box_rows: int, box_cols: int) -> Units:
    """Rows, columns, boxes, and segments: the cells that a row or a column has within a box.

    Boxes of one row or one column make a Latin square, which has rows and columns alone.
    """
    side = box_rows * box_cols
    row, column = np.divmod(np.arange(side * side), side)
    band, stack = row // box_rows, column // box_cols
    classes = [("line", [row, column])]
    if min(box_rows, box_cols) > 1:
        classes.append(("box", [band * box_rows + stack]))
        classes.append(("segment", [row * box_rows + stack, column * box_cols + band]))
    return Units(side * side, _frozen(classes), tuple(range(2, side + 2)), blank=1, renamable=True)


def units_of_maze(rows: int, columns: int) -> Units:
    """Pairs of cells that lie side by side: what a path may step between. The tokens are those of puzzles/maze.py."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    classes = [("neighbour", [*_pairs(column, columns, 1), *_pairs(row, rows, columns)])]
    return Units(rows * columns, _frozen(classes), symbols=(1, 2, 3, 4, 5), blank=2, renamable=False)


def _pairs(along: NDArray[Any], length: int, step: int) -> list[NDArray[Any]]:
    """Partitions into a cell and the next along one axis, whose place there is `along`: from every second cell on."""
    found = []
    for first in (0, 1):
        begins = np.flatnonzero((along % 2 == first) & (along + 1 < length))
        part = np.full(len(along), -1)
        part[begins] = part[begins + step] = np.arange(len(begins))
        found += [part] if len(begins) else []
    return found


def declared_units(declared: object, shape: tuple[int, int], alphabet: str, renamable: bool) -> Units:
    """The units of a puzzle of one's own.

    Args:
      declared: a mapping from names of classes to partitions, separated by spaces: the words `rows` and `columns`, or
        a drawing, one character for each cell in row order, in which cells of one character are a group and those
        with a dot are in none. For a Sudoku whose boxes are pieces of a jigsaw: {"line": "rows columns", "piece":
        "AAB..."}, with 81 characters.
      shape, alphabet: of the puzzle; the first character is that of an empty cell, the others are symbols.
      renamable: whether all symbols are interchangeable.

    Raises:
      DataError: starts with "units: ".
    """
    if not isinstance(declared, Mapping) or not declared:
        raise DataError(f"units: {shown(declared)} names no units; give an object such as {{'line': 'rows columns'}}")
    rows, columns = shape
    row, column = np.divmod(np.arange(rows * columns), columns)
    classes = []
    for name, text in declared.items():
        if not isinstance(name, str) or not name.isidentifier():
            raise DataError(f"units: {shown(name)} is no name of a class of units; take a word, such as 'line'")
        if not isinstance(text, str) or not text.split():
            raise DataError(f"units: {name}: {shown(text)} is no text; give partitions, such as 'rows columns'")
        parts = []
        for word in text.split():
            if word in ("rows", "columns"):
                parts.append(row if word == "rows" else column)
            elif len(word) != rows * columns:
                raise DataError(
                    f"units: {name}: {shown(word)} has {len(word)} characters; give rows, columns, or one character "
                    f"for each of the {rows * columns} cells"
                )
            else:
                groups = {char: i for i, char in enumerate(dict.fromkeys(word.replace(_NO_GROUP, "")))}
                parts.append(np.array([groups.get(char, -1) for char in word]))
        classes.append((name, parts))
    if len(alphabet) < 3:
        raise DataError(f"units: the alphabet {shown(alphabet)} has no symbols that compete; give a blank and two more")
    return Units(rows * columns, _frozen(classes), tuple(range(2, len(alphabet) + 1)), blank=1, renamable=renamable)


def check_maps(units: Units, cells: NDArray[np.integer[Any]]) -> None:
    """Raises DataError if a symmetry, source cell of each target cell [maps, S], turns a unit into something else."""
    for name, parts in units.classes:
        groups = _groups(np.array(parts))
        for sources in cells:
            if _groups(np.array(parts)[:, sources]) != groups:
                raise DataError(
                    f"units: a declared symmetry turns units of the class {name!r} into groups that are none; declare "
                    "those, too, or leave out the symmetry"
                )


def _groups(parts: NDArray[Any]) -> set[bytes]:
    found = set()
    for part in parts:
        found |= {np.flatnonzero(part == group).tobytes() for group in np.unique(part[part >= 0])}
    return found


def _frozen(classes: list[tuple[str, list[NDArray[Any]]]]) -> Any:
    return tuple((name, tuple(tuple(part.tolist()) for part in parts)) for name, parts in classes)
