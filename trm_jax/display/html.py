"""Boards and tables as HTML, for notebooks."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from trm_jax.display.boards import readable, shared_window
from trm_jax.display.canvas import CHANGED, FAINT, GIVEN, GOAL, INK, PATH, START, WALL, ink_on
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# Boards shown; more would fill the page.
_MOST = 12
# Width of a cell in pixels, on a board with few and with many columns.
_WIDE, _NARROW = 26, 12
_GROUNDS = {"#": WALL, "o": PATH, "S": START, "G": GOAL}


def boards_html(kind: Kind, questions: Tokens, answers: Tokens, captions: Sequence[str]) -> str:
    """Answers [N, S] side by side, each with its caption; clues have a grey ground, what was filled in is green."""
    boards = zip(questions, answers, captions, strict=True)
    shown = [_board(kind, *board) for board, _ in zip(boards, range(_MOST), strict=False)]
    more = f"<p>... and {len(answers) - _MOST} more</p>" if len(answers) > _MOST else ""
    return f'<div style="display:flex;flex-wrap:wrap;gap:16px">{"".join(shown)}</div>{more}'


def table_html(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows with the same keys, which become the head of the table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in row.values())}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _board(kind: Kind, question: Tokens, answer: Tokens, caption: str) -> str:
    part = shared_window(kind, [answer, question])
    tokens, clues = (part.cut(readable(kind, board), kind.shape) for board in (answer, question))
    given = part.cut(kind.given(question), kind.shape)
    glyphs = part.cut(np.array(kind.glyphs(readable(kind, answer))), kind.shape)
    side = _WIDE if part.columns <= 16 else _NARROW
    rows = "".join(
        f"<tr>{''.join(_cell(kind, place, tokens, clues, given, glyphs, side) for place in row)}</tr>"
        for row in [[(r, c) for c in range(part.columns)] for r in range(part.rows)]
    )
    style = f"border-collapse:collapse;border:2px solid {INK};margin:0"
    foot = f'<figcaption style="max-width:{side * part.columns}px">{escape(caption)}</figcaption>'
    return f'<figure style="margin:0"><table style="{style}"><tbody>{rows}</tbody></table>{foot}</figure>'


def _cell(
    kind: Kind,
    place: tuple[int, int],
    tokens: Tokens,
    clues: Tokens,
    given: NDArray[np.bool_],
    glyphs: NDArray[np.str_],
    side: int,
) -> str:
    row, column = at = place
    ground, ink, text = "#ffffff", INK, str(glyphs[at])
    if kind.palette is not None:
        ground, text = kind.palette[tokens[at]], ""
    elif kind.to_dict()["kind"] == "maze":
        ground = _GROUNDS.get(text, ground)
        ink, text = ink_on(ground), text if text in "SG" else ""
    elif given[at]:
        ground = GIVEN
    elif tokens[at] != clues[at]:
        ink = CHANGED
    box_rows, box_columns = kind.boxes or (0, 0)
    above = box_rows and row and row % box_rows == 0
    left = box_columns and column and column % box_columns == 0
    style = (
        f"width:{side}px;height:{side}px;padding:0;text-align:center;color:{ink};background:{ground};"
        f"border:1px solid {FAINT};"
    )
    style += f"border-top:2px solid {INK};" * bool(above) + f"border-left:2px solid {INK};" * bool(left)
    return f'<td style="{style}">{escape(text.replace(".", "").strip())}</td>'
