"""A search for all to see: what each call of the chain that found an answer was asked, and which candidates it left."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from trm_jax.display.boards import board_lines, print_line, side_by_side, window
from trm_jax.display.canvas import (
    CHANGED,
    FAINT,
    GIVEN,
    INK,
    Panel,
    Sheet,
    draw_board,
    draw_panel,
    literal,
    panel_legend,
    save_figure,
)
from trm_jax.inference.search import Call, Found
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.units import Units
from trm_jax.sizes import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Boards of a picture, in rows of so many.
_MOST, _ACROSS = 8, 4
_LEGEND = [
    (GIVEN, "given"), (CHANGED, "found by this call; underlined: guessed for it"), (FAINT, "candidates it took away")
]  # fmt: skip


class Deduced(NamedTuple):
    """What one call came to.

    number: of the call in its chain, from 1.
    tokens: the board [S]: cells with one candidate, all others blank.
    known: cells with one candidate, which had more before, bool [S].
    gone: candidates, bool [S, V].
    guess: the cell that was pinned for it, and its token; None: none was.
    """

    number: int
    tokens: Tokens
    known: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    guess: tuple[int, int] | None


def deduced(path: tuple[Call, ...], question: Tokens, units: Units) -> Iterator[Deduced]:
    """The calls of a chain, as they follow one another."""
    before, tokens = path[0].asked, question
    for number, (asked, left) in enumerate(path, start=1):
        pinned = np.flatnonzero((asked != before).any(axis=-1))
        guess = (int(pinned[0]), units.symbols[int(asked[pinned[0]].argmax())]) if len(pinned) else None
        certain = left.sum(axis=-1) == 1
        board = np.where(certain, np.array(units.symbols)[left.argmax(axis=-1)], units.blank).astype(np.int32)
        yield Deduced(number, board, board != tokens, before & ~left, guess)
        before, tokens = left, board


def show_search(kind: Kind, question: Tokens, found: Found, units: Units, out: Console) -> None:
    """Prints the question, and the board after each call of the chain that found the answer.

    Cells that have become certain are green, or marked ' without colours.
    """
    blocks = [[Text("question"), *board_lines(kind, question, np.zeros(len(question), np.bool_), out)]]
    for step in deduced(found.path, question, units):
        head = f"call {step.number}: {' '.join(filter(None, _told(kind, step)))}"
        blocks.append([Text(head), *board_lines(kind, step.tokens, step.known, out)])
    for line in side_by_side(blocks, out.width):
        print_line(out, line)


def draw_search(
    path: Path, kind: Kind, question: Tokens, found: Found, units: Units, title: str = "", panels: Sequence[Panel] = ()
) -> None:
    """A filmstrip: the question, and the board after each call, with the candidates of cells that have a choice.

    Those that the call took away are crossed out in grey; cells that it made certain are green, a guess is underlined.

    Args:
      path: the PNG file to write.
      kind, question, units: the puzzle, tokens [S].
      found: of a long chain, the first calls and the last are drawn.
      title: stands above; what came of it follows.
      panels: more boards about the cells, at the end.
    """
    ended = f"{'not solved' if found.tokens is None else 'solved'} in {counted(found.calls, 'call')} of the network"
    steps = list(deduced(found.path, question, units))
    shown = steps if len(steps) < _MOST else [*steps[: _MOST - 2], steps[-1]]
    boards = 1 + len(shown) + len(panels)
    columns = min(_ACROSS, boards)
    part = window(kind, question)
    unit = max(1, min(540, max(270, 36 * max(part.rows, part.columns))) // max(part.rows, part.columns))
    sheet = Sheet(
        part, -(-boards // columns), columns, unit=unit, width=270, head=56, foot=12, gap=36, margin=24, dpi=150,
        title="\n".join(filter(None, [title, ended])), legend=[*_LEGEND, *panel_legend(panels)],
    )  # fmt: skip
    still = np.zeros(len(question), np.bool_)
    axis = sheet.board_axes(0, 0)
    draw_board(axis, kind, part, question, question, still)
    axis.set_title("question", fontsize=10, color=INK)
    for i, step in enumerate(shown, start=1):
        axis = sheet.board_axes(*divmod(i, columns))
        draw_board(axis, kind, part, question, step.tokens, step.known)
        _pencil(axis, kind, found.path[step.number - 1].left, step, units, unit)
        guess, came = _told(kind, step)
        axis.set_title(f"call {step.number}{f': {guess}' if guess else ''}\n{came}", fontsize=10, color=INK)
    for i, panel in enumerate(panels, start=boards - len(panels)):
        draw_panel(sheet.board_axes(*divmod(i, columns)), kind, part, panel)
    save_figure(sheet.figure, path)


def _told(kind: Kind, step: Deduced) -> tuple[str, str]:
    """What was guessed for a call, "" for nothing, and what came of it."""
    guess, gone, known = "", int(step.gone.sum()), int(step.known.sum())
    if step.guess is not None:
        (row, column), (glyph,) = divmod(step.guess[0], kind.shape[1]), kind.glyphs(np.array([step.guess[1]], np.int32))
        guess = f"r{row + 1}c{column + 1} = {glyph}?"
    return guess, f"{gone} gone, {known} cell{'s' * (known != 1)} found"


def _pencil(axis: "Axes", kind: Kind, left: NDArray[np.bool_], step: Deduced, units: Units, unit: int) -> None:
    """Small candidates in the cells that have a choice, and a line under a guess."""
    symbols, columns = len(units.symbols), kind.shape[1]
    across = int(np.ceil(np.sqrt(symbols)))
    glyphs = kind.glyphs(np.array(units.symbols, np.int32))
    size = unit * 72 / 150 / across * 0.66
    for cell, symbol in zip(*np.nonzero(left | step.gone), strict=True):
        if left[cell].sum() == 1:
            continue  # its symbol stands there, large
        row, column = divmod(int(cell), columns)
        down, right = divmod(int(symbol), across)
        x, y = column + (right + 0.5) / across, row + (down + 0.5) / across
        gone = bool(step.gone[cell, symbol])
        axis.text(x, y, literal(glyphs[symbol]), ha="center", va="center", fontsize=size, color=FAINT if gone else INK)
        if gone:
            reach = 0.3 / across
            axis.plot((x - reach, x + reach), (y, y), color=FAINT, linewidth=0.6)
    if step.guess is not None:
        row, column = divmod(step.guess[0], columns)
        axis.plot((column + 0.2, column + 0.8), (row + 0.9, row + 0.9), color=CHANGED, linewidth=1.2)
