"""What is told of cells: boards of numbers, sentences about mistakes and clues, and their panels."""

import io

import numpy as np
import pytest
from rich.console import Console

from trm_jax.display import canvas
from trm_jax.display.explained import (
    against,
    decision_panels,
    mistake_panel,
    show_decisions,
    told_mistake,
    told_why,
    why_panel,
)
from trm_jax.inference.decisions import Decisions, Mistake
from trm_jax.inference.why import Why
from trm_jax.puzzles.contradictions import Contradiction
from trm_jax.puzzles.kinds import kind_of

SUDOKU = kind_of("sudoku", 16)
QUESTION = SUDOKU.parse("12..341.2143432.").astype(np.int32)
ANSWER = SUDOKU.parse("1234341221434321").astype(np.int32)
WHY = Why(
    2, 4, 5.0, np.array([0, 1, 4, 12]), np.array([3.0, -2.0, 0.5, 6.5], np.float32), np.array([4, 4, 4, 2], np.int32)
)


def test_the_boards_of_numbers() -> None:
    at, changes = np.ones(16, int), np.zeros(16, int)
    at[[2, 3, 1]], changes[[2, 1]] = (10, 2, 4), (3, 1)
    out = io.StringIO()
    show_decisions(SUDOKU, QUESTION, ANSWER, Decisions(at, changes), "step", Console(file=out))
    # The clue r1c2 changed, and so has a number; the last cell is no clue.
    assert out.getvalue() == (
        "step that decided         changes after the first\n"
        "  .  4 | 10  2             . 1 | 3 0\n"
        "  .  . |  .  1             . . | . 0\n"
        "-------+-------           -----+-----\n"
        "  .  . |  .  .             . . | . .\n"
        "  .  . |  .  1             . . | . 0\n"
    )
    first, second = decision_panels(SUDOKU, QUESTION, ANSWER, Decisions(at, changes), "step")
    assert first.texts[:4].tolist() == ["", "4", "10", "2"]
    assert first.grounds[0] == canvas.GIVEN
    assert first.grounds[7] == second.grounds[7] == canvas.WHITE
    assert first.grounds[2] == canvas.shade(canvas.START, 0.6)
    assert second.grounds[1] == canvas.shade(canvas.START, 0.2)
    # A clue that was another from the first step on was decided then.
    (other, _) = decision_panels(SUDOKU, QUESTION, np.roll(ANSWER, -1), Decisions(at, changes), "step")
    assert other.texts[:2].tolist() == ["1", "4"]
    # What a search leaves empty was not decided; it takes nothing back, so that no board tells how often.
    left = ANSWER.copy()
    left[2] = 1
    (alone,) = decision_panels(SUDOKU, QUESTION, left, Decisions(at, None), "call")
    assert (alone.title, alone.texts[2]) == ("call that decided", "")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Contradiction((0,), "overwritten"), "r1c3 is a clue itself, ., which the answer overwrites"),
        (Contradiction((4, 8), "unit", "box"), "no 4 at r1c3: r2c1 = 3, r3c1 = 2 stand in the same box"),
        (Contradiction((4,), "unit", "line"), "no 4 at r1c3: r2c1 = 3 stands in the same line"),
        (Contradiction((4, 5), "search"), "r2c1 = 3, r2c2 = 4, by complete search; it takes all of these"),
        (Contradiction((4,), "search"), "no answer keeps r2c1 = 3, by complete search; it takes this"),
        (Contradiction(tuple(range(14)), "search"), "r3c4 = 3 and 2 more, by complete search"),
    ],
)
def test_clues_that_contradict_are_named(found: Contradiction, told: str) -> None:
    assert told in against(SUDOKU, QUESTION, 2, "4", found)


def test_a_mistake_is_told_and_drawn() -> None:
    wrong = np.arange(16) < 2
    found = Mistake(2, 5, 4, 3, wrong, Contradiction((5,), "unit", "line"))
    first, second = told_mistake(SUDOKU, QUESTION, found, "supervision step")
    assert first == (
        "2 cells wrong in the end; the first for good is r1c3, from supervision step 3 on, which ends as 4 instead of 3"
    )
    assert second.startswith("no 4 at r1c3")
    panel = mistake_panel(SUDOKU, QUESTION, found)
    assert panel.title == "wrong first: 4 at r1c3"
    assert panel.texts[[0, 2, 3]].tolist() == ["1", "4", ""]
    assert panel.notes[1:3].tolist() == ["", "not 3"]
    assert panel.grounds[[0, 2, 3, 5]].tolist() == [
        canvas.GIVEN,
        canvas.WRONG_CELL,
        canvas.WHITE,
        canvas.shade(canvas.CHANGE, 0.6),
    ]


def test_what_an_answer_rests_on_is_told_and_drawn() -> None:
    assert list(told_why(SUDOKU, QUESTION, WHY, "after supervision step 2")) == [
        "why 3 at r1c3: after supervision step 2 it leads the next best by 5.00; what each clue adds to that, and its "
        "share:",
        "  r4c1 = 4      6.50   65%, without it: 1",
        "  r1c1 = 1      3.00   30%",
        "  r2c1 = 3      0.50    5%",
        "  against it: r1c2 (-2.00)",
    ]
    panel = why_panel(SUDOKU, QUESTION, WHY)
    assert panel.title == "what 3 at r1c3 rests on"
    assert panel.texts[[0, 1, 2, 3, 12]].tolist() == ["1", "2", "3", "", "4"]
    assert panel.notes[[0, 1, 2, 12]].tolist() == ["30%", "", "", "65%"]
    assert panel.grounds[12] == canvas.shade(canvas.SURE, 0.6)
    assert panel.grounds[1] == canvas.shade(canvas.CHANGE, 0.6 * 2 / 6.5)
    assert panel.inks[2] == canvas.CHANGED


def test_many_clues_and_none_that_matters() -> None:
    effects = np.array([0.01 * i - 0.02 for i in range(15)], np.float32)
    found = Why(15, 2, 9.0, np.arange(15), effects, np.full(15, 2, np.int32))
    lines = list(told_why(SUDOKU, ANSWER, found, "now"))
    assert len(lines) == 14
    assert lines[11:] == [
        "  2 more clues, together 4%",
        "  no clue alone carries it: without any of them it leads nearly as far",
        "  against it: r1c1 (-0.02), r1c2 (-0.01)",
    ]
