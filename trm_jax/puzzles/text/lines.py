"""What stands between boards: a text in lines, less its fences and comments, cut at its titles and sections."""

import re
from itertools import groupby
from typing import NamedTuple

from trm_jax.errors import DataError
from trm_jax.puzzles.text.writing import Writing

_FENCE = re.compile(r"\s*(```|~~~)\s*\w*\s*")
_SECTION = re.compile(r"\s*\[\s*([^\W\d_][\w ]*?)\s*\]\s*")
# A word of three letters or more, and what belongs to it: "Puzzle 1:", "Grid 01", "Easy (#3)".
_TITLE = re.compile(r"\s*[^\W\d_]{3,}[\w\s#.:,()'/-]*")
_LONGEST_NUMBER = 4  # of a title
_LONGEST_HEADING = 200
# Corners, crossings and sides of a frame, and the lines that every frame has.
BARS = "|¦│┃║┆┊"
_FRAME = re.compile(rf"[-=+:.'*`,\s{BARS}\u2500-\u257f]+")
_RULE = re.compile(r"([-=─━═┄┅┈┉╌╍])[ \t|+]*\1|[─━═┄┅┈┉╌╍]")


class Line(NamedTuple):
    """A line of a text: which, from 1, what it holds, and the column of its first character, from 1."""

    number: int
    text: str
    column: int = 1


class Part(NamedTuple):
    """Lines that belong together, and what they are called, "" for nothing."""

    name: str
    lines: list[Line]


def lines_of(text: str) -> list[Line]:
    """All lines, without their ends and without a byte-order mark."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return [Line(number, line) for number, line in enumerate(text.split("\n"), 1)]


def parts_of(lines: list[Line], writing: Writing) -> list[Part]:
    """The parts between titles; of a text with sections, that which is called [Puzzle].

    Raises:
      DataError: sections, but none of a puzzle.
    """
    parts, sections = [Part("", [])], False
    for line in _without_remarks(lines, writing):
        if "[" not in writing.signs and (match := _SECTION.fullmatch(line.text[:_LONGEST_HEADING])):
            sections = True
            parts.append(Part(f"[{match[1].lower()}]", []))
        elif is_title(line.text, writing):
            if not sections:
                name = line.text.strip().rstrip(":")
                if parts[-1].lines:
                    parts.append(Part(name, []))
                elif not parts[-1].name:  # of several titles in a row the first names the board
                    parts[-1] = Part(name, [])
        elif line.text or parts[-1].lines:
            parts[-1].lines.append(line)
    if not sections:
        # A text of titles alone is no text of boards: its words are to be told as what they are.
        return parts if any(part.lines for part in parts) else [Part("", _without_remarks(lines, writing))]
    puzzles = [part for part in parts if part.name.startswith("[puzzle")]
    if not puzzles:
        names = ", ".join(part.name for part in parts if part.name)
        raise DataError(f"none of the sections {names:.60} is [Puzzle]: leave out what is none")
    return [Part("", part.lines) for part in puzzles]


def is_title(text: str, writing: Writing) -> bool:
    """Whether a line names what follows, and can be no row of cells."""
    if len(text) > _LONGEST_HEADING or not _TITLE.fullmatch(text):
        return False
    words = text.split()
    if all(char in writing.plain for char in words[0] if char.isalpha()):
        return False
    # A board may stand behind its name, in the same line and even in the same word.
    if any(len(word) > _LONGEST_NUMBER and writing.plain.issuperset(word) for word in words[1:]):
        return False
    longest = max((len(list(run)) for cells, run in groupby(text, writing.plain.__contains__) if cells), default=0)
    return longest < (writing.sizes.cells or _LONGEST_HEADING)


def is_frame(text: str, writing: Writing) -> bool:
    """Whether a line is nothing but a frame, such as +---+---+ or .-----. or ------; it may be a row of dashes, too."""
    return writing.framed and bool(_FRAME.fullmatch(text) and _RULE.search(text))


def may_be_row(text: str, writing: Writing) -> bool:
    """Whether a line that looks like a frame may be a row of blanks."""
    return "-" in writing.blanks and {"-", " ", "\t", *BARS}.issuperset(text)


def _without_remarks(lines: list[Line], writing: Writing) -> list[Line]:
    """Less fences, and less comments where # is no cell."""
    if "`" not in writing.signs:
        lines = [line for line in lines if not _FENCE.fullmatch(line.text)]
    if "#" in writing.signs or writing.spaced:
        return lines
    lines = [line for line in lines if not line.text.lstrip().startswith("#")]
    return [line._replace(text=re.sub(r"\s#.*", "", line.text)) for line in lines]
