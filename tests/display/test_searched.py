"""A search, drawn: what stands above the boards, and what their colours are said to mean."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trm_jax.display import canvas, searched
from trm_jax.inference.search import Call, Found
from trm_jax.puzzles.kinds import kind_of, units_of

QUESTION, ANSWER = "12..341.2143432.", "1234341221434321"
KIND, UNITS = kind_of("sudoku", 16), units_of("sudoku", 16)


def candidates(board: str) -> Any:
    """Candidates of each cell, bool [16, 4]: all where it is open."""
    return np.array([[char in (".", digit) for digit in "1234"] for char in board])


@pytest.mark.parametrize(
    ("solved", "calls", "ended"),
    [(True, 2, "solved in 2 calls of the network"), (False, 1, "not solved in 1 call of the network")],
)
def test_it_has_a_title_and_a_legend(
    solved: bool, calls: int, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(searched, "save_figure", lambda figure, path: drawn.append(figure))
    asked, left = candidates(QUESTION), candidates("12.." + ANSWER[4:])
    guessed = left.copy()
    guessed[2] = [False, False, True, False]
    path = (Call(asked, left), Call(guessed, candidates(ANSWER)))[:calls]
    tokens = KIND.parse(ANSWER) if solved else None
    found = Found(0, tokens, calls, 1, 0, 0.1, KIND.parse(ANSWER), path)

    searched.draw_search(tmp_path / "x.png", KIND, KIND.parse(QUESTION), found, UNITS, "sudoku-extreme, row 3")

    (figure,) = drawn
    words = ["given", "found by this call; underlined: guessed for it", "candidates it took away"]
    assert [text.get_text() for text in figure.texts] == ["sudoku-extreme, row 3", ended, *words]
    colours = [patch.get_facecolor()[:3] for patch in figure.artists if isinstance(patch, Rectangle)]
    assert colours == [to_rgb(colour) for colour in (canvas.GIVEN, canvas.CHANGED, canvas.FAINT)]
    boards = [axis.get_title() for axis in figure.axes if axis.images]
    titles = ["question", "call 1\n6 gone, 2 cells found", "call 2: r1c3 = 3?\n6 gone, 2 cells found"]
    assert boards == titles[: calls + 1]
    underlined = [line for axis in figure.axes for line in axis.lines if line.get_color() == canvas.CHANGED]
    assert len(underlined) == calls - 1
