"""Examples of a dataset or a table: questions beside their answers, on the terminal and as a picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from trm_jax.console import Output, say
from trm_jax.data import folder
from trm_jax.data.builders.sets import OpenSet, open_sets
from trm_jax.display.boards import board_lines, filled_in, print_line, shared_window, side_by_side
from trm_jax.errors import DataError, printable
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table_columns import USUAL, Columns

_MOST_DRAWN = 50
_LARGEST_BOARD = 400  # pixels


def show(
    path: Path,
    split: str = "",
    rows: Sequence[int] | int = 3,
    puzzle: str = "",
    columns: Columns = USUAL,
    rules: Rules | None = None,
    picture: Path | None = None,
    out: Console | None = None,
) -> None:
    """Prints examples, with the cells of the answer that the question leaves open marked, and those that are wrong.

    Args:
      path: a dataset folder or a table.
      split: of a folder; "" for the first, which is train where there is one.
      rows: which examples, as people count them (`PuzzleSet.row`); or how many, the first ones, of those there are.
      puzzle, columns, rules: as for `open_sets`.
      picture: a PNG file to draw them into, too; None for none.
      out: where to print.

    Raises:
      DataError: what cannot be read, a row that is not there, or a picture that cannot be written.
    """
    shown = open_sets(path, puzzle, columns, rules, [split] if split else None)[0]
    if isinstance(rows, int):
        places: Sequence[int] = range(min(rows, len(shown.puzzles)))
    else:
        places = [shown.puzzles.example(row, shown.name) for row in rows]
    if picture is not None and not 1 <= len(places) <= _MOST_DRAWN:
        raise DataError(f"{picture}: a picture has 1 to {_MOST_DRAWN} examples, not {len(places)}: give fewer --rows")
    if shown.guessed:
        name, (height, width) = shown.kind.name, shown.kind.shape
        mend = "--puzzle names another" + (", --size another size" if name == "maze" and not shown.split else "")
        say(
            f"{shown.name}: does not tell the kind of its puzzles; they look like "
            f"{name} {height} x {width} (guessed): {mend}"
        )
    out = out or Output(highlight=False)
    examples = [tuple(side[0] for side in shown.pairs(np.array([row]))) for row in places]
    titles = [
        title + ("" if answer.any() else ", no known answer")
        for title, (_, answer) in zip(_titles(shown, places), examples, strict=True)
    ]
    if picture is not None:
        _draw(picture, shown, titles, examples)
    for title, (question, answer) in zip(titles, examples, strict=True):
        print_line(out, title)
        boards = [board_lines(shown.kind, question, np.zeros(len(question), np.bool_), out)]
        if answer.any():
            marks = filled_in(shown.kind, question, answer)
            boards.append(board_lines(shown.kind, answer, marks, out, _wrong(shown.kind, question, answer)))
        for line in side_by_side(boards, out.width):
            print_line(out, line)
        print_line(out, "")


def _titles(shown: OpenSet, places: Sequence[int]) -> list[str]:
    """The row, and which group it belongs to and what its puzzle is called, where that says anything."""
    puzzles = shown.puzzles
    names: list[str] = []
    if puzzles.num_puzzles > 1 and (shown.path / "identifiers.json").exists():
        names = folder.read_identifiers(shown.path)
    titles = []
    for row in places:
        title = f"{shown.name} {puzzles.row_name(row)}"
        if len(puzzles.group_starts) - 1 < len(puzzles):
            title += f", group {puzzles.groups[row] + 1}"
        number = int(puzzles.puzzle_ids[row])
        if number:
            title += f", id {number}" + (f": {names[number]}" if number < len(names) else "")
        titles.append(printable(title))
    return titles


def _wrong(kind: Kind, question: Tokens, answer: Tokens) -> NDArray[np.bool_]:
    """The cells of a known answer that are wrong, bool [cells]; of one that leaves cells open, none of these."""
    return kind.faults(question, answer).cells & (answer != 0)


def _draw(path: Path, shown: OpenSet, titles: Sequence[str], examples: Sequence[tuple[Tokens, Tokens]]) -> None:
    """One row of the picture for each example: its question, then its answer."""
    from trm_jax.display.canvas import INK, Sheet, draw_board, legend_of_pairs, literal, save_figure

    kind = shown.kind
    part = shared_window(kind, [tokens for example in examples for tokens in example])
    unit = max(4, min(36, _LARGEST_BOARD // max(part.rows, part.columns)))
    # Each title, of letters of nine pixels at most, has the width of both boards.
    width = max(200, -(-(9 * max(map(len, titles)) - 24) // 2))
    sheet = Sheet(
        part,
        len(examples),
        2,
        unit=unit,
        width=width,
        head=26,
        foot=0,
        gap=24,
        margin=16,
        dpi=150,
        legend=legend_of_pairs(kind, any(_wrong(kind, *example).any() for example in examples)),
    )
    for row, (title, (question, answer)) in enumerate(zip(titles, examples, strict=True)):
        nothing = np.zeros(len(question), np.bool_)
        left, right = sheet.board_axes(row, 0), sheet.board_axes(row, 1)
        draw_board(left, kind, part, question, question, nothing)
        marks = (filled_in(kind, question, answer), _wrong(kind, question, answer)) if answer.any() else (nothing,)
        draw_board(right, kind, part, question, answer, *marks)
        left.set_title(literal(title), loc="left", fontsize=7, color=INK, pad=5)
    save_figure(sheet.figure, path)
