"""What a kind declares of how its boards are written, and a board that was read, of which each cell knows its place."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from trm_jax.errors import DataError

Shape = tuple[int, int]


class Cell(NamedTuple):
    """A sign, "" for a field that is empty, and where it begins in the text, from 1."""

    sign: str
    line: int
    column: int


@dataclass(frozen=True)
class Sizes:
    """Which shapes boards have.

    board: what one is called.
    of_cells: rows and columns of a board of so many cells; DataError where there is none.
    shape: the only one, where that is known.
    any_rows: so many cells may stand in rows of any one length.
    """

    board: str
    of_cells: Callable[[int], Shape]
    shape: Shape | None = None
    any_rows: bool = False

    @property
    def cells(self) -> int | None:
        """S, where it is known."""
        return self.shape and self.shape[0] * self.shape[1]

    @classmethod
    def only(cls, board: str, shape: Shape, needed: str, any_rows: bool = False) -> "Sizes":
        """One shape. needed: what a board of it is, to end the message that so many cells were found."""

        def of_cells(cells: int) -> Shape:
            if cells != shape[0] * shape[1]:
                raise DataError(f"{cells} cells found, but {needed}")
            return shape

        return cls(board, of_cells, shape, any_rows)

    def of_rows(self, rows: int, columns: int) -> Shape:
        """The shape of a board of so many rows and columns; DataError where there is none."""
        if self.any_rows:
            self.of_cells(rows * columns)
            return rows, columns
        try:
            if self.of_cells(rows * columns) == (rows, columns):
                return rows, columns
        except DataError:
            pass
        wanted = "this {} is {} x {}".format(self.board, *self.shape) if self.shape else f"no {self.board} is so"
        raise DataError(f"{rows} lines of {columns} cells found, but {wanted}; each row is a line")


@dataclass(frozen=True)
class Writing:
    """How boards of a kind are written.

    signs: the value of each character that fills a cell.
    wanted: what a sign should have been, after its place in a message: "is neither a digit 1-9 nor a blank".
    sizes: shapes of boards.
    blanks: further characters, each of which leaves a cell blank; a board uses one of them.
    blank: the value of a blank.
    numbers: values that a cell may name as a number of several digits.
    framed: whether frames and bars may stand around cells.
    row_mark: ends a row where a board stands in one line.
    beyond: signs that fill cells of larger boards; where there are too many cells, that is what is wrong.
    """

    signs: Mapping[str, int]
    wanted: str
    sizes: Sizes
    blanks: str = ""
    blank: int = 0
    numbers: range = range(0)
    framed: bool = False
    row_mark: str = ""
    beyond: Set[str] = frozenset()

    @cached_property
    def spaced(self) -> bool:
        """Whether a space fills a cell, so that none is decoration."""
        return " " in self.signs

    @cached_property
    def plain(self) -> frozenset[str]:
        """Characters that are cells wherever they stand."""
        return frozenset(self.signs) | frozenset(self.blanks.replace(" ", ""))

    def is_blank(self, sign: str) -> bool:
        """Whether a sign leaves a cell blank."""
        return bool(self.blanks) and (not sign or sign in self.blanks)

    def value(self, sign: str, numbered: bool) -> int | None:
        """The value of a cell; None where the sign has none. numbered: the board is written in numbers."""
        if numbered and self.numbers and sign.isascii() and sign.isdecimal():
            longest = len(str(self.numbers[-1]))
            return int(sign) if len(sign) <= longest and int(sign) in self.numbers else None
        return self.blank if self.is_blank(sign) else self.signs.get(sign)


@dataclass(frozen=True)
class Board:
    """A board as it was read.

    cells: in row order.
    shape: rows and columns.
    numbered: cells are numbers, so that 10 is one.
    name: of a title or beside it, "" where it has none.
    """

    cells: Sequence[Cell]
    shape: Shape
    numbered: bool = False
    name: str = ""

    def values(self, writing: Writing) -> list[int]:
        """The value of each cell; DataError, with its place, for one that has none, and for two signs of a blank."""
        values, blank = [], None
        for number, cell in enumerate(self.cells):
            value = writing.value(cell.sign, self.numbered)
            if value is None:
                raise unknown(cell, writing, divmod(number, self.shape[1]))
            if writing.is_blank(cell.sign):
                blank = blank or cell
                if cell.sign.lower() != blank.sign.lower():
                    raise DataError(
                        f"two signs for a blank, {_shown(blank)} and {_shown(cell)} "
                        f"(r{number // self.shape[1] + 1}c{number % self.shape[1] + 1}): use one of them"
                    )
            values.append(value)
        return values


def check_legend(legend: str, length: int, what: str) -> None:
    """DataError unless a legend has so many characters, each once. what: they stand for, in their order."""
    if len(legend) != length or len(set(legend)) != length or not legend.isprintable():
        raise DataError(f"legend: {legend[:40]!r} is none: give {length} characters that differ, {what}")


def unknown(cell: Cell, writing: Writing, at: tuple[int, int] | None) -> DataError:
    """The error of a sign that is none. at: row and column of the cell on its board, from 0, where they are known."""
    place = f" (r{at[0] + 1}c{at[1] + 1})" if at else ""
    return DataError(f"{_shown(cell)} of the text{place} {writing.wanted}{_hint(cell, writing)}")


def _shown(cell: Cell) -> str:
    sign = repr(cell.sign[:20]) if cell.sign else "an empty field"
    return f"{sign} in line {cell.line}, column {cell.column}"


def _hint(cell: Cell, writing: Writing) -> str:
    """What a sign probably meant."""
    if cell.sign == "+" and writing.blanks:
        return ": if + marks a digit that was filled in, leave out both"
    if cell.sign[:1] == "-" and cell.sign[1:2].isdecimal() and writing.blanks:
        return f": a blank is one sign, such as {writing.blanks[0]}"
    return ""
