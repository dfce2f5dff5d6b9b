"""The forms in which rows of cells are written, one function for each; FORMS lists them with their examples.

A form takes the lines of one or several boards, all of them, and a kind's way of writing. It returns their rows; None
where the lines are not written so; and DataError where they are, but wrongly. Whether the signs are any of the kind,
and whether the rows make a board, is not its business.
"""

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from trm_jax.errors import DataError
from trm_jax.puzzles.text.lines import BARS, Line
from trm_jax.puzzles.text.writing import Cell, Writing

_NUMBER = re.compile(r"[-+]?\d+")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_BAR = re.compile(f"[{BARS}]")
_WORD = re.compile(rf"[^\s{BARS}]+")


class Rows(NamedTuple):
    """Rows of cells, and whether their signs are numbers."""

    rows: list[list[Cell]]
    numbered: bool = False


class Form(NamedTuple):
    """A form: its name, how it reads lines, and one Sudoku of 4 x 4 in it (of 16 x 16 the first row, for numbers)."""

    name: str
    read: Callable[[Sequence[Line], Writing], Rows | None]
    examples: tuple[str, ...]


def characters(lines: Sequence[Line], writing: Writing) -> Rows | None:
    """A character for each cell; between them, evenly, spaces and bars."""
    if not writing.signs or separators(lines, writing):
        return None
    if writing.spaced:
        return Rows([_each(line, line.text) for line in lines if line.text])
    rows, patterns = [], []
    for line in lines:
        words = _words(line, writing)
        if len({len(word.sign) for word in words}) > 1:
            return None
        if words:
            rows.append([Cell(char, cell.line, cell.column + i) for cell in words for i, char in enumerate(cell.sign)])
            patterns.append(" ".join(re.sub(rf"[^\s{BARS}]", "c", line.text).split()))
    if len({len(row) for row in rows}) == 1:  # or else their lengths are to be told
        for row, pattern in zip(rows, patterns, strict=True):
            if pattern != patterns[0]:
                raise DataError(
                    f"line {row[0].line} has its spaces and bars elsewhere than line {rows[0][0].line}: "
                    "space all rows alike"
                )
    return Rows(rows)


def spaces(lines: Sequence[Line], writing: Writing) -> Rows | None:
    """A character for each cell, and a space for a blank."""
    if " " not in writing.blanks or separators(lines, writing):
        return None
    texts = [_BAR.sub("", line.text) if writing.framed else line.text for line in lines]
    others = writing.blanks.replace(" ", "")
    if not any(" " in text for text in texts) or any(char in others for text in texts for char in text):
        return None
    if all(not text[1::2].strip() for text in texts):  # every other character is a space: these only part the cells
        return None
    return Rows([_each(line, line.text, writing.framed) for line, text in zip(lines, texts, strict=True) if text])


def separated(lines: Sequence[Line], writing: Writing) -> Rows | None:
    """Commas, semicolons or tabs between cells; nothing between two of them is a blank."""
    found = separators(lines, writing, outside=True)
    if not found:
        return None
    if len(found) > 1:
        raise DataError(f"{' and '.join(_SEPARATORS[char] for char in found)} stand between cells: use one of them")
    rows = []
    for line in lines:
        if found[0] in line.text:
            rows.append(_fields(line, line.text, found[0], writing))
        elif line.text.strip():
            raise DataError(f"line {line.number} has no {_SEPARATORS[found[0]]}, but others have: write all rows alike")
    return Rows(rows, _numbered(rows, writing))


def numbers(lines: Sequence[Line], writing: Writing) -> Rows | None:
    """Numbers of one or several digits, with spaces between them, and bars."""
    if not writing.numbers or writing.spaced:
        return None
    rows = [row for line in lines if (row := _words(line, writing))]
    words = [cell.sign for row in rows for cell in row]
    if not all(_NUMBER.fullmatch(word) or writing.is_blank(word) for word in words):
        return None
    if writing.signs and not any(len(word) > 1 for word in words):  # they are characters
        return None
    return Rows(rows, True)


def barred(lines: Sequence[Line], writing: Writing) -> Rows | None:
    """A bar between each cell and the next; nothing between two of them is a blank."""
    if not writing.framed or separators(lines, writing):
        return None
    rows = []
    for line in lines:
        text = line.text.strip()
        if not text:
            continue
        if not _BAR.search(text):
            return None
        # One bar at either end is the edge; a second one would have an empty cell before it.
        start = line.text.index(text) + (text[0] in BARS)
        inner = text.removeprefix(text[0]) if text[0] in BARS else text
        inner = inner[:-1] if inner[-1:] in tuple(BARS) else inner
        rows.append(_fields(line._replace(column=line.column + start), inner, BARS, writing))
    if any(len(cell.sign) > 1 and not _NUMBER.fullmatch(cell.sign) for row in rows for cell in row):
        return None
    return Rows(rows, _numbered(rows, writing))


FORMS = (
    Form(
        "characters",
        characters,
        (
            "12..341.21434321",
            "12..\n341.\n2143\n4321",
            "1 2 | . .\n3 4 | 1 .\n----+----\n2 1 | 4 3\n4 3 | 2 1",
            "12.. 341. 2143 4321",
            "*-----*\n|12|--|\n|34|1-|\n|--+--|\n|21|43|\n|43|21|\n*-----*",
        ),
    ),
    Form("spaces", spaces, ("12  \n341 \n2143\n4321", "+--+--+\n|12|  |\n|34|1 |\n+--+--+\n|21|43|\n|43|21|\n+--+--+")),
    Form("separated", separated, ("1,2,,\n3,4,1,\n2,1,4,3\n4,3,2,1", "1;2;0;0\n3;4;1;0\n2;1;4;3\n4;3;2;1")),
    Form("numbers", numbers, ("1 2 10 4 5 16 7 8 9 . 11 12 13 14 15 .",)),
    Form(
        "barred",
        barred,
        ("| 1 | 2 |   |   |\n| 3 | 4 | 1 |   |\n|---|---|---|---|\n| 2 | 1 | 4 | 3 |\n| 4 | 3 | 2 | 1 |",),
    ),
)


def separators(lines: Sequence[Line], writing: Writing, outside: bool = False) -> list[str]:
    """Which signs part cells in any of the lines. outside: before or behind all cells, too, where tabs may indent."""
    texts = [line.text if outside else line.text.strip() for line in lines]
    return [char for char in _SEPARATORS if char not in writing.signs and any(char in text for text in texts)]


def _each(line: Line, text: str, framed: bool = False) -> list[Cell]:
    """Each character is a cell, but for bars where these make a frame."""
    return [
        Cell(char, line.number, line.column + i) for i, char in enumerate(text) if not (framed and _BAR.match(char))
    ]


def _words(line: Line, writing: Writing) -> list[Cell]:
    """What spaces part, and bars where these make a frame."""
    pattern = _WORD if writing.framed else re.compile(r"\S+")
    return [Cell(match[0], line.number, line.column + match.start()) for match in pattern.finditer(line.text)]


def _fields(line: Line, text: str, between: str, writing: Writing) -> list[Cell]:
    """What separators part, each less the spaces around it."""
    fields, start = [], 0
    for field in re.split(f"[{between}]", text):
        sign = field if writing.spaced else field.strip()
        fields.append(Cell(sign, line.number, line.column + start + (field.index(sign) if sign else 0)))
        start += len(field) + 1
    return fields


def _numbered(rows: Sequence[Sequence[Cell]], writing: Writing) -> bool:
    return not writing.signs or any(len(cell.sign) > 1 for row in rows for cell in row)
