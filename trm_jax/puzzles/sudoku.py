"""Sudoku of side 2 to 25, with boxes of any shape: text, rules, symmetries and dataset tokens.

A grid is a flat int8 array [cells] in row order: 0 is a blank, 1 .. side are the digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Set
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.faults import Faults, of_units
from trm_jax.puzzles.symmetry import Array, Symmetries, choices, permutations, random_words, renamings
from trm_jax.puzzles.text.reading import plain_values, read_one
from trm_jax.puzzles.text.writing import Board, Sizes, Writing, check_legend

Grid = NDArray[np.int8]

MAX_SIDE = 25
_CHARACTERS = ".123456789ABCDEFGHIJKLMNOP"
_BLANKS = ".0_-*xX? "
_FROM_ZERO = "0123456789ABCDEFGHIJKLMNO"
# From this side on there are two ways to write digits: 1-9, A, ... and, as in hexadecimal, 0-9, A, ...
_LEAST_IN_DOUBT = 10


@dataclass(frozen=True)
class Layout:
    """The geometry of a Sudoku: boxes of box_rows x box_cols cells, as many of them as a box has cells.

    Boxes of one row or one column make a Latin square. Raises DataError unless the side is 2 to 25.
    """

    box_rows: int
    box_cols: int

    def __post_init__(self) -> None:
        if min(self.box_rows, self.box_cols) < 1 or not 2 <= self.side <= MAX_SIDE:
            raise DataError(
                f"boxes of {self.box_rows} x {self.box_cols} make no Sudoku: give two numbers, from 1 on, "
                f"whose product, the side, is 2 to {MAX_SIDE}"
            )

    @property
    def side(self) -> int:
        """Rows, columns, boxes and digits."""
        return self.box_rows * self.box_cols

    @property
    def cells(self) -> int:
        """Length of a flat grid."""
        return self.side**2

    @property
    def vocab_size(self) -> int:
        """Tokens of the dataset format: pad, blank and the digits."""
        return self.side + 2

    @property
    def words(self) -> int:
        """W, random words that a symmetry is drawn from."""
        return sum(_words(self))


def _most_square(side: int) -> tuple[int, int]:
    """Rows and columns of the most square box of `side` cells, with no more rows than columns."""
    box_rows = max(rows for rows in range(1, isqrt(side) + 1) if side % rows == 0)
    return box_rows, side // box_rows


_BOXES = {side: box for side in range(4, MAX_SIDE + 1) if (box := _most_square(side))[0] > 1}


def layout_for(side: int) -> Layout:
    """The layout of a given side whose boxes are the most square, with no more rows than columns.

    Raises DataError outside 4 to 25 and for primes, whose boxes could only be single rows: a Latin square is
    made by `Layout(1, side)` on purpose, not by accident.
    """
    if side not in _BOXES:
        reason = f"its boxes could only be 1 x {side}; " if 2 <= side <= MAX_SIDE else ""
        choices = ", ".join(map(str, list(_BOXES)[:-1]))
        raise DataError(f"no Sudoku layout of side {side}: {reason}choose {choices} or {MAX_SIDE}")
    return Layout(*_BOXES[side])


def layout_of_length(cells: int) -> Layout:
    """The layout that `layout_for` gives to a flat grid of this many cells; DataError where there is none."""
    for side in _BOXES:
        if side * side == cells:
            return layout_for(side)
    near = [side for side in _BOXES if side * side < cells][-1:] + [side for side in _BOXES if side * side > cells][:1]
    sizes = " and one of ".join(f"side {side} has {side * side}" for side in near)
    raise DataError(f"{cells} cells found, but a Sudoku of {sizes}: add or remove some")


def layout_from(box: str) -> Layout:
    """The layout of a box written as rows x columns, such as "3x3" or "2x5"; DataError for anything else."""
    match = re.fullmatch(r"([0-9]{1,2})\s*[xX]\s*([0-9]{1,2})", box.strip())
    if match is None:
        raise DataError(f"{box[:40]!r} is no box size: give its rows and columns as in 3x3 or 2x5")
    return Layout(int(match[1]), int(match[2]))


def writing(layout: Layout | None, legend: str = "") -> Writing:
    """How Sudokus are written.

    Args:
      layout: None where the number of cells decides.
      legend: the blank, then the digits, instead of . and 1-9, A-P, whose blanks are many. Needs a layout.

    Raises:
      DataError: a legend of another length, or with a character twice.
    """
    return _writing(layout, legend)


@lru_cache(64)
def _writing(layout: Layout | None, legend: str) -> Writing:
    side = layout.side if layout else MAX_SIDE
    if legend:
        check_legend(legend, side + 1, "the blank, then each digit")
    characters = legend or _CHARACTERS[: side + 1]
    signs = {case: digit for digit, char in enumerate(characters[1:], 1) for case in (char.lower(), char.upper())}
    signs |= {char: digit for digit, char in enumerate(characters[1:], 1)}
    blanks = "".join(char for char in (_BLANKS if legend in ("", *_legends(side)) else legend[0]) if char not in signs)
    shown = " ".join(char for char in blanks if char not in "X ") + (" or a space" if " " in blanks else "")
    digits = f"{characters[1]}-{characters[-1]}"
    if not legend and side > 9:
        digits = f"1-9 or A-{characters[-1]}"
    needed = f"is neither a digit {digits} nor a blank ({shown})"
    if layout is None:
        sizes = Sizes("Sudoku", lambda cells: (layout_of_length(cells).side,) * 2)
    else:
        sizes = Sizes.only("Sudoku", (side, side), f"this Sudoku has {side * side}: add or remove some")
    larger = frozenset(_CHARACTERS[1:] + _CHARACTERS[1:].lower())
    return Writing(signs, needed, sizes, blanks, numbers=range(side + 1), framed=True, beyond=larger)


def _legends(side: int) -> tuple[str, str]:
    """Digits from 1 on, and from 0 on, for which every blank is read."""
    return _CHARACTERS[: side + 1], "." + _FROM_ZERO[:side]


def in_doubt(layout: Layout | None) -> bool:
    """Whether digits of this size may begin with 1 or with 0."""
    return layout is None or layout.side >= _LEAST_IN_DOUBT


def signs_of(boards: Iterable[Board]) -> set[str]:
    """What stands in the cells of boards that are written in characters."""
    return {cell.sign for board in boards if not board.numbered for cell in board.cells}


def legend_of(signs: Set[str], layout: Layout) -> str:
    """The legend that all signs of one source show, "" where there is no doubt.

    Raises:
      DataError: 0 may be a blank, and may be a digit.
    """
    if not in_doubt(layout):
        return ""
    from_one, from_zero = _legends(layout.side)
    top = from_one[-1]
    zero, highest = "0" in signs, not signs.isdisjoint((top, top.lower()))
    blanks = any(sign != "0" and (not sign or sign in _BLANKS) for sign in signs)
    if not zero or (highest and not blanks):
        return from_one
    if not highest and blanks:
        return from_zero
    both = f"both {top} and another blank stand" if blanks else f"neither {top} nor another blank stands"
    raise DataError(
        f"0 may be a blank or a digit, since {both} there: say by --legend=0{from_one[1:]} or --legend={from_zero}"
    )


def parse(text: str, layout: Layout | None = None, legend: str = "") -> Grid:
    """Reads a grid [cells], in any form of `text.forms`.

    Digits are 1-9, then A-P for 10-25 in either case, or what the legend says; from a side of 10 on, the text may show
    that they begin with 0. Without a layout the number of cells decides.

    Raises:
      DataError: any other character or digit, with its place; a wrong number of cells; rows of different lengths; a
        text of which the form or the digits cannot be told.
    """
    known = writing(layout, legend)
    values = plain_values(text, known) if legend or not in_doubt(layout) else None
    if values is None:
        board = read_one(text, known)
        layout = layout or layout_for(board.shape[0])
        values = board.values(writing(layout, legend or legend_of(signs_of([board]), layout)))
    return np.array(values, np.int8)


def to_text(grid: ArrayLike, legend: str = "") -> str:
    """One line of digits with '.' for blanks, or by a legend; parse reads it back. DataError for values beyond."""
    values, characters = np.asarray(grid).ravel().tolist(), legend or _CHARACTERS
    for cell, value in enumerate(values):
        if not 0 <= value < len(characters):
            top = len(characters) - 1
            raise DataError(f"cell {cell + 1} of the grid is {value}: only 0 (blank) to {top} can be written")
    return "".join(characters[value] for value in values)


def render(grid: ArrayLike, layout: Layout) -> str:
    """Several lines for people, with box separators; parse reads it back."""
    text, side = to_text(checked(grid, layout)), layout.side
    rule = "+".join(["-" * (2 * layout.box_cols + 1)] * layout.box_rows)[1:-1]
    lines = []
    for r in range(side):
        if r and r % layout.box_rows == 0:
            lines.append(rule)
        row = text[r * side : (r + 1) * side]
        stacks = [" ".join(row[c : c + layout.box_cols]) for c in range(0, side, layout.box_cols)]
        lines.append(" | ".join(stacks))
    return "\n".join(lines)


def checked(grid: ArrayLike, layout: Layout, where: str = "grid") -> Grid:
    """The grid as a flat int8 array [cells] with digits in range, or DataError."""
    values = np.asarray(grid)
    if values.size != layout.cells:
        raise DataError(f"{where}: {values.size} cells found, but this Sudoku has {layout.cells}")
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: cells are of type {values.dtype}, but they have to be whole numbers")
    values = values.ravel()
    bad = np.flatnonzero((values < 0) | (values > layout.side))
    if bad.size:
        place, value = _place(int(bad[0]), layout), values[bad[0]]
        raise DataError(f"{where}: {place} is {value}, but cells go from 0 (blank) to {layout.side}")
    return values.astype(np.int8)


def _place(cell: int, layout: Layout) -> str:
    return f"r{cell // layout.side + 1}c{cell % layout.side + 1}"


@lru_cache
def _units(layout: Layout) -> NDArray[np.intp]:
    """Cells of each unit [3 * side, side]: the rows, then the columns, then the boxes."""
    rows = np.arange(layout.cells).reshape(layout.side, layout.side)
    boxes = rows.reshape(layout.box_cols, layout.box_rows, layout.box_rows, layout.box_cols)
    return np.concatenate([rows, rows.T, boxes.transpose(0, 2, 1, 3).reshape(rows.shape)])


def _clashes(grid: ArrayLike, layout: Layout, where: str) -> dict[tuple[int, int], str]:
    """Pairs of cells (a < b) with the same digit -> the first unit that both are in."""
    values = checked(grid, layout, where).tolist()
    found: dict[tuple[int, int], str] = {}
    for index, unit in enumerate(_units(layout).tolist()):
        kind, number = divmod(index, layout.side)
        for i, a in enumerate(unit):
            for b in unit[i + 1 :]:
                if values[a] and values[a] == values[b]:
                    found.setdefault((a, b), f"{('row', 'column', 'box')[kind]} {number + 1}")
    return found


def conflicts(grid: ArrayLike, layout: Layout) -> list[tuple[int, int]]:
    """Pairs of cells (a < b), sorted, that hold the same digit in one row, column or box."""
    return sorted(_clashes(grid, layout, "grid"))


def check_clues(grid: ArrayLike, layout: Layout, where: str = "puzzle") -> None:
    """Raises DataError, naming digit, cells and unit, when two clues contradict each other."""
    for (a, b), unit in _clashes(grid, layout, where).items():
        digit = to_text(np.asarray(grid).ravel()[a])
        cells = f"{_place(a, layout)} and {_place(b, layout)}"
        raise DataError(f"{where}: digit {digit} stands twice in {unit}, at {cells}; correct one of them")


def satisfies(grids: ArrayLike, layout: Layout) -> NDArray[np.bool_]:
    """Whether each grid [..., cells] is complete and valid [...]; any value out of range counts as wrong."""
    values = np.asarray(grids)
    in_range = (values >= 1) & (values <= layout.side)
    bits = np.left_shift(1, np.where(in_range, values, 1) - 1, dtype=np.int32) * in_range
    seen = np.bitwise_or.reduce(bits[..., _units(layout)], axis=-1)
    return np.asarray((seen == (1 << layout.side) - 1).all(axis=-1))


def answers(puzzle: ArrayLike, grid: ArrayLike, layout: Layout) -> NDArray[np.bool_]:
    """Whether each grid [..., cells] is complete, valid and keeps every clue of its puzzle [..., cells]."""
    clues, values = np.asarray(puzzle), np.asarray(grid)
    return np.asarray(satisfies(values, layout) & ((clues == 0) | (clues == values)).all(axis=-1))


def faults(puzzle: ArrayLike, grid: ArrayLike, layout: Layout) -> Faults:
    """What is wrong with a grid [cells] as the answer to a puzzle [cells]: clues changed, units with a digit twice."""
    clues = np.asarray(puzzle)
    names = [f"{kind} {number}" for kind in ("row", "column", "box") for number in range(1, layout.side + 1)]
    return of_units(clues > 0, clues, np.asarray(grid), _units(layout), names, layout.side)


def check_pair(question: ArrayLike, answer: ArrayLike, layout: Layout | None = None) -> None:
    """Raises DataError, starting with 'question: ' or 'answer: ', unless the answer solves the question.

    Without a layout the number of cells in the question decides.
    """
    if layout is None:
        try:
            layout = layout_of_length(np.asarray(question).size)
        except DataError as error:
            raise DataError(f"question: {error}") from None
    clues, values = checked(question, layout, "question"), checked(answer, layout, "answer")
    if answers(clues, values, layout):
        return
    check_clues(clues, layout, "question")
    for cell in np.flatnonzero(values == 0)[:1]:
        raise DataError(f"answer: {_place(cell, layout)} is blank; an answer fills every cell")
    check_clues(values, layout, "answer")
    for cell in np.flatnonzero((clues != 0) & (clues != values))[:1]:
        was, now = to_text(clues[cell]), to_text(values[cell])
        raise DataError(f"answer: {_place(cell, layout)} is {now}, but the question gives {was} there")


def _words(layout: Layout) -> list[int]:
    """Random words for digits, bands, rows in bands, stacks, columns in stacks and transposition."""
    side, box_rows, box_cols = layout.side, layout.box_rows, layout.box_cols
    return [side, box_cols, side, box_rows, side, int(box_rows == box_cols)]


def symmetries(words: Array, layout: Layout) -> Symmetries:
    """n symmetries of grids [n, cells], drawn evenly from the group of the layout; blanks stay blank.

    The group is made of permutations of the digits, the bands, the rows in a band, the stacks and the columns in a
    stack, and, where boxes are square, of transposition.

    Args:
      words: random, uint32 [n, layout.words], of NumPy or of JAX.

    Returns:
      Tables of n x cells cells and n x (side + 1) digits.
    """
    xp = words.__array_namespace__()
    n, side, box_rows, box_cols = len(words), layout.side, layout.box_rows, layout.box_cols
    ends = np.cumsum(_words(layout))[:-1].tolist()
    digits, bands, in_bands, stacks, in_stacks, transposed = xp.split(words, ends, axis=1)
    rows = permutations(bands)[:, :, None] * box_rows + permutations(in_bands.reshape(n, box_cols, box_rows))
    columns = permutations(stacks)[:, :, None] * box_cols + permutations(in_stacks.reshape(n, box_rows, box_cols))
    cells = rows.reshape(n, side, 1) * side + columns.reshape(n, 1, side)
    if box_rows == box_cols:
        cells = xp.where(choices(transposed, 2)[:, :, None] == 1, xp.swapaxes(cells, 1, 2), cells)
    return Symmetries(cells.reshape(n, layout.cells), renamings(digits))


def draw_symmetries(rng: np.random.Generator, n: int, layout: Layout) -> Symmetries:
    """n of the `symmetries` of a layout, by NumPy."""
    return symmetries(random_words(rng, n, layout.words), layout)


def encode(grids: NDArray[np.integer]) -> NDArray[np.integer]:
    """Grids -> tokens of the public dataset: 0 is padding, 1 a blank, d + 1 digit d. Keeps the dtype."""
    return grids + 1


def decode(tokens: NDArray[np.integer]) -> NDArray[np.integer]:
    """Tokens -> grids; padding becomes a blank. Keeps the dtype."""
    return np.maximum(tokens, 1) - 1
