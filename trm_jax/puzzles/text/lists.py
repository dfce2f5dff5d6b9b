"""Lists of Python and JSON, and what NumPy prints: `[[1, 2], [3, 4]]`, `["12", "34"]`, `[[1 2]\n [3 4]]`."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from trm_jax.errors import DataError
from trm_jax.puzzles.text.writing import Board, Cell, Writing

_DEEPEST = 3  # several boards of rows of cells
# Of an assignment and of NumPy, before and behind the list; each holds few spaces at most, so that no text takes long
# to refuse.
_BEFORE = re.compile(r"(?:[A-Za-z_]\w{0,40} ?= ?)?(?:(?P<array>(?:np\.|numpy\.)?array\()\s{0,9})?(?=[\[(])")
_END = re.compile(r"(?:,\s{0,99}dtype=[\w.'\"<>|]{1,40})?\)")
_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<open>[\[(])|(?P<close>[\])])|(?P<comma>,)|"(?P<double>[^"\\\n]*)"|'(?P<single>[^'\\\n]*)'"""
    r"""|(?P<number>[-+]?\d+)(?:\.0*)?(?![\w.])|(?P<none>None|null|nan)\b"""
)
_PAIRS = {"[": "]", "(": ")"}


@dataclass(frozen=True)
class Leaf:
    """A text of some cells; or one cell, a number or nothing."""

    cells: tuple[Cell, ...]
    text: bool = False
    numbered: bool = False


Node: TypeAlias = "Leaf | list[Node]"


def is_list(text: str, writing: Writing) -> bool:
    """Whether a text is written as a list, however wrongly. DataError for an object of JSON."""
    begin = text.lstrip()[:100]
    if begin.startswith("{") and "{" not in writing.signs:
        raise DataError("an object of JSON, but a board is a list of rows: give that alone, or a table by --data")
    return writing.signs.keys().isdisjoint("[(") and _BEFORE.match(begin) is not None


def boards_of(text: str, writing: Writing) -> list[Board]:
    """The boards in a list, or in several one after another.

    Raises:
      DataError: no list, or one that is neither a board nor a list of such.
    """
    top = _parsed(text)
    node = top[0] if len(top) == 1 else top
    if isinstance(node, Leaf):
        raise DataError("the list holds no rows")
    one = _board(node, writing)
    if one is not None:
        return [one]
    several = [_board(each, writing) for each in node]
    if not several or None in several:
        raise _no_board(node, writing)
    return [board for board in several if board is not None]


def _parsed(text: str) -> "list[Node]":
    text = text.rstrip()
    start = len(text) - len(text.lstrip())
    match = _BEFORE.match(text, start)
    if match and match.end() > start:
        # As many spaces keep the places.
        text = " " * match.end() + text[match.end() :]
    if match and match["array"]:
        end = next(
            (end for end in _END.finditer(text, max(match.end(), len(text) - 200)) if end.end() == len(text)), None
        )
        text = text[: end.start()] if end else text
    stack: list[list[Node]] = [[]]
    opened: list[str] = []
    parted: set[bool] = set()  # by commas or not
    comma = False
    at, line, begin = 0, 1, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        cell = Cell("", line, at - begin + 1)
        place = f"line {cell.line}, column {cell.column} of the text"
        if match is None:
            if text.startswith("...", at):
                raise DataError(
                    f"... in {place}: NumPy left cells out; print with np.set_printoptions(threshold=10**6)"
                )
            raise DataError(f"{text[at]!r} in {place} is no part of a list of whole numbers or of texts")
        at = match.end()
        kind = match.lastgroup
        if kind == "space":
            if "\n" in match[0]:
                line, begin = line + match[0].count("\n"), match.start() + match[0].rindex("\n") + 1
            continue
        if kind == "comma":
            if comma or not stack[-1]:
                raise DataError(f"',' in {place} stands before nothing: remove it")
            comma = True
            continue
        if kind != "close" and stack[-1] and opened:
            parted.add(comma)
        comma = False
        if kind == "close":
            if not opened or _PAIRS[opened.pop()] != match[0]:
                raise DataError(f"{match[0]!r} in {place} closes nothing: correct the brackets")
            done = stack.pop()
            stack[-1].append(done)
            continue
        if kind == "open":
            if len(opened) == _DEEPEST:
                raise DataError(f"{match[0]!r} in {place}: lists go {_DEEPEST} deep; candidates of a cell are not read")
            opened.append(match[0])
            stack.append([])
        elif kind in ("double", "single"):
            stack[-1].append(
                Leaf(
                    tuple(cell._replace(sign=c, column=cell.column + 1 + i) for i, c in enumerate(match[kind])),
                    text=True,
                )
            )
        else:
            stack[-1].append(Leaf((cell._replace(sign=match["number"] or ""),), numbered=kind == "number"))
    if opened:
        raise DataError(f"{opened[-1]!r} is still open at the end of the text: close it")
    if len(parted) > 1:
        raise DataError("commas stand between some members of the lists and not between others: write all alike")
    return stack[0]


def _rows(node: "Sequence[Node]") -> list[list[Cell] | None]:
    """The cells of each member, None for one that is no row, as a number is none."""
    return [None if isinstance(each, Leaf) and not each.text else _row(each) for each in node]


def _row(node: "Node") -> list[Cell] | None:
    """The cells of a text, or of a list of single cells; None for what is neither."""
    if isinstance(node, Leaf):
        return list(node.cells)
    if all(isinstance(each, Leaf) and len(each.cells) == 1 for each in node):
        return [each.cells[0] for each in node if isinstance(each, Leaf)]
    return None


def _board(node: "Node", writing: Writing) -> Board | None:
    """The board that a node is; None where it is none."""
    numbered = _has_numbers(node)
    flat = _row(node)
    sizes = writing.sizes
    if flat is not None and not (sizes.any_rows and sizes.cells is None):
        with suppress(DataError):
            return Board(flat, sizes.of_cells(len(flat)), numbered)
    if isinstance(node, Leaf):
        return None
    rows = _rows(node)
    if not rows or None in rows or len({len(row or ()) for row in rows}) != 1:
        return None
    with suppress(DataError):
        shape = sizes.of_rows(len(rows), len(rows[0] or ()))
        return Board([cell for row in rows for cell in row or ()], shape, numbered)
    return None


def _has_numbers(node: "Node") -> bool:
    return node.numbered if isinstance(node, Leaf) else any(map(_has_numbers, node))


def _no_board(node: "Sequence[Node]", writing: Writing) -> DataError:
    """What is wrong with a list, by its rows."""
    rows = _rows(node)
    flat = _row(list(node))
    if flat is not None:
        writing.sizes.of_cells(len(flat))
    if None not in rows:
        lengths = [len(row or ()) for row in rows]
        for number, length in enumerate(lengths, 1):
            if length != lengths[0]:
                return DataError(f"row {number} of the list has {length} cells, but row 1 has {lengths[0]}")
        try:
            writing.sizes.of_rows(len(rows), lengths[0] if lengths else 0)
        except DataError as error:
            return DataError(str(error).replace("lines", "rows", 1).replace("; each row is a line", ""))
    return DataError("the list is no board: give a list of rows, each a text or a list of cells, or a list of such")
