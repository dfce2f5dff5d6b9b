"""ARC grids: their augmentations, their tokens on a board of 30 x 30, and a form that tells equal pairs.

A grid is a uint8 array [h, w] of colours 0-9 with 1 to 30 rows and columns; 0 is the background. As tokens, uint8
[900] in row order, 0 is padding, 1 marks the end of the grid, and 2-11 are the colours.
"""

import json
import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.dihedral import INVERSE

Grid = NDArray[np.uint8]

SIDE = 30
CELLS = SIDE * SIDE
VOCAB_SIZE = 12
PAD, END, FIRST_COLOUR = 0, 1, 2
COLOURS = 10
SEPARATOR = "|||"
"""Between task, map and colours in the name of an augmented task."""

_MAP = re.compile("t[0-7]")
_DIGITS = "0123456789"
_QUOTED = 60  # characters of a foreign text that an error message repeats


class Augmentation(NamedTuple):
    """A change of colours, then one of the eight maps of `dihedral`, for every grid of a task alike.

    map: 0-7, in the order of `dihedral_indices`.
    colours: what each of the ten colours becomes; colours[0] is 0.
    """

    map: int
    colours: tuple[int, ...]

    def apply(self, grid: Grid) -> Grid:
        """The image of a grid, [h, w] or [w, h]."""
        return np.ascontiguousarray(_mapped(np.array(self.colours, np.uint8)[grid], self.map))

    def invert(self, grid: Grid) -> Grid:
        """The grid whose image this is: undoes `apply`."""
        return np.ascontiguousarray(_mapped(np.argsort(self.colours).astype(np.uint8)[grid], INVERSE[self.map]))

    def name(self, task: str) -> str:
        """As in identifiers.json: "task|||t3|||0352479816", and the task's own name for the identity.

        `parse_name` reads it back, whatever the task is called, as long as it is called something.
        """
        if self == IDENTITY and SEPARATOR not in task:
            return task
        return SEPARATOR.join((task, f"t{self.map}", "".join(map(str, self.colours))))


IDENTITY = Augmentation(0, tuple(range(COLOURS)))


def parse_name(name: str) -> tuple[str, Augmentation]:
    """The task and the augmentation that a name in identifiers.json stands for.

    Only the last two parts are the augmentation's. HRM's datasets have the same parts with "_" between them:
    "task_t3_0352479816". Raises DataError for a name that has a separator and is not made as by `Augmentation.name`.
    """
    if SEPARATOR not in name:
        task, turned, colours = (["", "", *name.rsplit("_", 2)])[-3:]
        if task and _MAP.fullmatch(turned) and sorted(colours) == list(_DIGITS) and colours[0] == "0":
            return task, Augmentation(int(turned[1]), tuple(map(int, colours)))
        return name, IDENTITY
    task, turned, colours = (["", "", *name.rsplit(SEPARATOR, 2)])[-3:]
    if not task or not _MAP.fullmatch(turned) or sorted(colours) != list(_DIGITS) or colours[0] != "0":
        raise DataError(
            f"{name[:_QUOTED]!r} is no name of an augmented task: it has to be like 'task|||t3|||0352479816', "
            "with a map t0-t7 and each colour once, 0 first"
        )
    return task, Augmentation(int(turned[1]), tuple(map(int, colours)))


def _mapped(grid: Grid, k: int) -> Grid:
    """Map k of `dihedral_indices` as a view; a grid need not be a square."""
    match k:
        case 0:
            return grid
        case 1:
            return grid.T[::-1]
        case 2:
            return grid[::-1, ::-1]
        case 3:
            return grid.T[:, ::-1]
        case 4:
            return grid[:, ::-1]
        case 5:
            return grid[::-1]
        case 6:
            return grid.T
        case 7:
            return grid.T[::-1, ::-1]
        case _:
            raise DataError(f"{k} is none of the eight maps 0-7")


def encode(grid: Grid, row: int = 0, column: int = 0) -> Grid:
    """Tokens [900] with the grid's top left cell at (row, column).

    One row of end markers lies below it and one column right of it where there is room; the corner between the two
    stays padding. Raises DataError where the grid does not fit there.
    """
    height, width = grid.shape
    below, right = row + height, column + width
    if row < 0 or column < 0 or below > SIDE or right > SIDE:
        raise DataError(f"a grid of {height} x {width} does not fit at row {row}, column {column} of {SIDE} x {SIDE}")
    board = np.zeros((SIDE, SIDE), np.uint8)
    board[row:below, column:right] = grid + np.uint8(FIRST_COLOUR)
    board[below : below + 1, column:right] = END
    board[row:below, right : right + 1] = END
    return board.ravel()


def crop(tokens: ArrayLike) -> Grid:
    """The grid that tokens [900] of any integer type are read as in evaluation; it may be 0 x 0.

    Of the rectangles that are anchored at the top left and hold only colours it is the one with the largest area;
    of several as large, the one with the fewest rows.
    """
    board = np.asarray(tokens).reshape(SIDE, SIDE)
    height, width = crop_sizes(board.reshape(1, CELLS))[0]
    return (board[:height, :width] - FIRST_COLOUR).astype(np.uint8)


def crop_sizes(tokens: NDArray[Any]) -> NDArray[np.int64]:
    """Rows and columns [N, 2] of what `crop` makes of each of tokens [N, 900]."""
    boards = tokens.reshape(-1, SIDE, SIDE)
    other = (boards < FIRST_COLOUR) | (boards >= VOCAB_SIZE)
    # How far colours reach from the left in each row, and in that row and all above it.
    reach = np.where(other.any(axis=2), other.argmax(axis=2), SIDE)
    widths = np.minimum.accumulate(reach, axis=1)
    areas = widths * np.arange(1, SIDE + 1)
    last = areas.argmax(axis=1)
    width = widths[np.arange(len(boards)), last]
    return np.stack([np.where(width > 0, last + 1, 0), width], axis=1).astype(np.int64)


def decode_placed(tokens: ArrayLike) -> tuple[Grid, int, int]:
    """(grid, row, column) such that encode(grid, row, column) is these tokens [900].

    This reads examples, which may be shifted; a model's answers are read by `crop`. Raises DataError for tokens
    that encode never makes, or only from a grid of no cells.
    """
    board = np.asarray(tokens).reshape(SIDE, SIDE)
    coloured = (board >= FIRST_COLOUR) & (board < VOCAB_SIZE)
    rows, columns = np.flatnonzero(coloured.any(axis=1)), np.flatnonzero(coloured.any(axis=0))
    if not len(rows):
        raise DataError(f"no grid in these tokens: no cell holds a colour, {FIRST_COLOUR} to {VOCAB_SIZE - 1}")
    row, column = int(rows[0]), int(columns[0])
    inside = board[row : rows[-1] + 1, column : columns[-1] + 1]
    # Where the box holds other tokens than colours, clipping makes them differ below.
    grid = (inside.astype(np.int64) - FIRST_COLOUR).clip(0, COLOURS - 1).astype(np.uint8)
    for cell in np.flatnonzero(encode(grid, row, column) != board.ravel())[:1]:
        raise DataError(
            f"no single grid in these tokens: r{cell // SIDE + 1}c{cell % SIDE + 1} is {board.ravel()[cell]}, which "
            f"does not go with a grid of {grid.shape[0]} x {grid.shape[1]} at r{row + 1}c{column + 1}"
        )
    return grid, row, column


def check_grid(value: object, where: str) -> Grid:
    """The grid that a value from JSON stands for; DataError "{where}: ..." unless it is a list of equal rows of 0-9."""
    if not isinstance(value, list):
        raise DataError(f"{where}: {shown(value)} is no grid: give a list of rows")
    if not 1 <= len(value) <= SIDE:
        raise DataError(f"{where}: {len(value)} rows, but a grid has 1 to {SIDE}")
    for r, row in enumerate(value, 1):
        if not isinstance(row, list):
            raise DataError(f"{where}: row {r} is {shown(row)}: give a list of colours")
        if not 1 <= len(row) <= SIDE:
            raise DataError(f"{where}: row {r} has {len(row)} cells, but a row has 1 to {SIDE}")
        if len(row) != len(value[0]):
            raise DataError(f"{where}: row {r} has {len(row)} cells, but row 1 has {len(value[0])}: make them equal")
        for c, cell in enumerate(row, 1):
            # A bool is an int to Python, and equal to one; 3.0 is what some programs write for 3.
            if (type(cell) is not int and not (type(cell) is float and cell.is_integer())) or not 0 <= cell < COLOURS:
                raise DataError(f"{where}: row {r}, column {c} is {shown(cell)}, but colours are integers from 0 to 9")
    return np.array(value, np.uint8)


def shown(value: object) -> str:
    """A value from JSON in a message, whatever its size and depth."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, str | int | float | None):
        return json.dumps(value)[:_QUOTED]
    return "an object" if isinstance(value, dict) else f"of type {type(value).__name__}"


def canonical_pair(input: Grid, output: Grid) -> bytes:
    """The same bytes for pairs that are images of one another, and for no others.

    Images are made by one of the eight maps and one permutation of the colours 1-9, the same for both grids.
    """
    return min(_relabelled(_mapped(input, k), _mapped(output, k)) for k in range(len(INVERSE)))


def _relabelled(input: Grid, output: Grid) -> bytes:
    """Both shapes, then all cells with the colours 1-9 numbered in the order in which they appear."""
    cells = input.tobytes() + output.tobytes()
    table = bytearray(256)
    for number, colour in enumerate(dict.fromkeys(cells.translate(None, b"\0")), 1):
        table[colour] = number
    return bytes((*input.shape, *output.shape)) + cells.translate(table)
