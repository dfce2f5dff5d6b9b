"""Boards and tables as HTML, for notebooks."""

from collections.abc import Mapping, Sequence
from html import escape

from trm_jax.display.boards import filled_in, shared_window
from trm_jax.display.canvas import FAINT, INK, faces
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# Boards shown; more would fill the page.
_MOST = 12
# Width of a cell in pixels, on a board with few and with many columns.
_WIDE, _NARROW = 26, 12
# Width that a caption has at least, below a small board.
_CAPTION = 180


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
    texts, grounds, inks = faces(
        kind, part, question, answer, filled_in(kind, question, answer), kind.faults(question, answer).cells
    )
    box_rows, box_columns = kind.boxes or (part.rows, part.columns)
    side = _WIDE if part.columns <= 16 else _NARROW
    rows = ""
    for row in range(part.rows):
        rows += "<tr>"
        for column in range(part.columns):
            at = row, column
            style = (
                f"width:{side}px;height:{side}px;padding:0;text-align:center;color:{inks[at]};"
                f"background:{grounds[at]};border:1px solid {FAINT};"
            )
            if row and row % box_rows == 0:
                style += f"border-top:2px solid {INK};"
            if column and column % box_columns == 0:
                style += f"border-left:2px solid {INK};"
            rows += f'<td style="{style}">{escape(str(texts[at]))}</td>'
        rows += "</tr>"
    style = f"border-collapse:collapse;border:2px solid {INK};margin:0"
    foot = f'<figcaption style="max-width:{max(_CAPTION, side * part.columns)}px">{escape(caption)}</figcaption>'
    return f'<figure style="margin:0"><table style="{style}"><tbody>{rows}</tbody></table>{foot}</figure>'
