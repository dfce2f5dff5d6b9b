"""A board on the terminal: which part of it is worth a look, and its cells as lines of text."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from trm_jax.puzzles import arc
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.symmetry import Tokens

# Cells as colours, two characters wide so that they look square.
_WALL, _PATH, _CHANGED_PATH = "grey37 on grey37", "black on sky_blue2", "black on pale_green3"
_WRONG = "bold white on #cf222e"
_ENDS = {"S": "bold white on #8250df", "G": "bold white on #bf3989"}  # of a maze
_GAP = 3  # characters between grids side by side


class Window(NamedTuple):
    """The rows and columns of a board that are worth showing, first and last + 1 of each."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def rows(self) -> int:
        return self.bottom - self.top

    @property
    def columns(self) -> int:
        return self.right - self.left

    def cut(self, cells: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
        """The part of flat cells [S] that lies in the window, [rows, columns]."""
        return cells.reshape(shape)[self.top : self.bottom, self.left : self.right]


def readable(kind: Kind, tokens: Tokens) -> Tokens:
    """The cells [S] worth a look: of an ARC board those of the grid, and padding elsewhere.

    What a model says of cells outside the grid was never trained and is not read, and the markers of its end are no
    cells of it. Where no grid starts at the top left, as answers do, the whole board is taken.
    """
    if not isinstance(kind, Arc):
        return tokens
    height, width = arc.crop(tokens).shape
    board = np.where(tokens == arc.END, arc.PAD, tokens).reshape(kind.shape)
    if height:
        board[height:], board[:, width:] = arc.PAD, arc.PAD
    return board.ravel()


def window(kind: Kind, tokens: Tokens) -> Window:
    """Where on the board there is something readable: all of it, or of an ARC board the least rectangle."""
    rows, columns = kind.shape
    if not isinstance(kind, Arc):
        return Window(0, rows, 0, columns)
    filled = readable(kind, tokens).reshape(kind.shape) != arc.PAD
    if not filled.any():
        return Window(0, 1, 0, 1)
    across, down = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    return Window(int(across[0]), int(across[-1]) + 1, int(down[0]), int(down[-1]) + 1)


def shared_window(kind: Kind, boards: Sequence[Tokens]) -> Window:
    """The smallest window that holds what is readable of all boards."""
    tops, bottoms, lefts, rights = zip(*(window(kind, tokens) for tokens in boards), strict=True)
    return Window(min(tops), max(bottoms), min(lefts), max(rights))


def filled_in(kind: Kind, question: Tokens, answer: Tokens) -> NDArray[np.bool_]:
    """The cells of an answer to mark, bool [cells]: those that the question leaves open, where that is not plain."""
    if isinstance(kind, Arc | Maze):
        return np.zeros(len(question), np.bool_)
    return np.not_equal(question, answer)


def marks_explained(kind: Kind, out: Console, label: Tokens | None = None) -> str:
    """What the marks of `board_lines` mean, with a known answer or without; a second line for a maze's characters."""
    plain = out.no_color or out.color_system is None
    changed = "'" if plain else "<>" if kind.palette is not None else "green"
    wrong = f", {'!' if plain else 'red'}: {what_is_wrong(kind)}" if kind.finds_faults(label) else ""
    cells = "#: wall, S: start, G: goal, o: path)\n(" if isinstance(kind, Maze) else ""
    return f"({cells}{changed}: changed since the board before{wrong})"


def what_is_wrong(kind: Kind) -> str:
    """What is known of a cell that `Kind.faults` names."""
    return "breaks a rule or overwrites a clue" if kind.finds_faults() else "overwrites a clue"


def print_line(out: Console, line: str | Text) -> None:
    """One line, taken literally, and unwrapped: a narrow terminal does that itself, and a file has no width."""
    out.print(line, soft_wrap=True, markup=False, emoji=False)


def board_lines(
    kind: Kind, tokens: Tokens, changed: NDArray[np.bool_], out: Console, wrong: NDArray[np.bool_] | None = None
) -> list[Text]:
    """The cells as lines, two characters a cell so that it looks square: with lines between boxes, or with a frame.

    Args:
      kind, tokens: the board [cells].
      changed: the cells to mark, bool [cells].
      out: where the lines are to be printed, with colours or without.
      wrong: those to mark as wrong, whether changed or not.
    """
    marked = out.no_color or out.color_system is None
    part = window(kind, tokens)
    box_rows, box_cols = kind.boxes or (part.rows, part.columns)
    shown = readable(kind, tokens)
    glyphs = part.cut(np.array(kind.glyphs(shown)), kind.shape)
    numbers, marks = part.cut(shown, kind.shape), part.cut(changed, kind.shape)
    faulty = part.cut(np.zeros_like(changed) if wrong is None else wrong, kind.shape)
    rule = "+".join(["-" * (2 * box_cols + 1)] * (part.columns // box_cols))
    lines = []
    for r in range(part.rows):
        if r and r % box_rows == 0:
            lines.append(Text(rule, "dim"))
        line = Text()
        for c in range(part.columns):
            if c and c % box_cols == 0:
                line.append("| ", "dim")
            about = str(glyphs[r, c]), int(numbers[r, c]), bool(marks[r, c]), bool(faulty[r, c])
            line.append(*_cell(kind, *about, marked))
        if kind.boxes:
            line = Text(" ") + line
            line.rstrip()
        else:
            line = Text.assemble(("|", "dim"), line, ("|", "dim"))
        lines.append(line)
    if not kind.boxes:
        frame = Text("+" + "-" * (2 * part.columns) + "+", "dim")
        lines = [frame, *lines, frame]
    return lines


def number_lines(kind: Kind, part: Window, texts: NDArray[np.str_]) -> list[Text]:
    """A word or a number for each cell [S], as lines: columns as wide as the longest, rules between boxes."""
    words = part.cut(texts, kind.shape)
    width = max(len(word) for word in words.flat)
    box_rows, box_cols = kind.boxes or (part.rows, part.columns)
    lines = []
    for r, row in enumerate(words):
        boxes = [row[c : c + box_cols] for c in range(0, part.columns, box_cols)]
        if r and r % box_rows == 0:
            lines.append(Text("+".join("-" * ((width + 1) * len(box) + 1) for box in boxes), "dim"))
        lines.append(Text(" " + " | ".join(" ".join(f"{word:>{width}}" for word in box) for box in boxes)))
    return lines


def _cell(kind: Kind, glyph: str, token: int, changed: bool, wrong: bool, marked: bool) -> tuple[str, str]:
    """Two characters, and their style; `marked` where there are no colours."""
    wall, path = isinstance(kind, Maze) and glyph == "#", isinstance(kind, Maze) and glyph == "o"
    if marked:
        # Walls of a maze are solid.
        return glyph + ("!" if wrong else "'" if changed else "#" if wall else " "), ""
    if kind.palette is not None and token > arc.PAD:
        return ("<>" if changed else "  "), f"bold {ink_on(kind.palette[token])} on {kind.palette[token]}"
    if wrong:
        return glyph + " ", _WRONG
    if wall and not changed:
        return "##", _WALL
    if path:
        return "o ", _CHANGED_PATH if changed else _PATH
    if isinstance(kind, Maze) and glyph in _ENDS:
        return glyph + " ", _ENDS[glyph]
    return glyph + " ", "bold green" if changed else ""


def ink_on(ground: str) -> str:
    """Black or white, whichever is easier to see on a ground such as #ff4136."""
    red, green, blue = (int(ground[i : i + 2], 16) for i in (1, 3, 5))
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def side_by_side(blocks: Sequence[Sequence[Text]], width: int) -> Iterator[Text]:
    """Blocks of lines beside one another, as many as fit into `width` characters, and the others below them."""
    widths = max(len(line) for block in blocks for line in block)
    across = max(1, (width + _GAP) // (widths + _GAP))
    for first in range(0, len(blocks), across):
        row = blocks[first : first + across]
        if first:
            yield Text()
        for r in range(max(len(block) for block in row)):
            line = Text()
            for block in row:
                cell = block[r].copy() if r < len(block) else Text()
                cell.pad_right(widths + _GAP - len(cell))
                line.append_text(cell)
            line.rstrip()
            yield line
