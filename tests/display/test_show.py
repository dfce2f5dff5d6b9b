"""What a person sees on the terminal: grids, marks, figures, verdicts; with colours and without, wide and narrow."""

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from trm_jax.display.boards import Window, readable, shared_window, window
from trm_jax.display.show import changed_cells, show
from trm_jax.inference.thoughts import Thought, judged
from trm_jax.puzzles import arc
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.symmetry import Tokens

PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"
WRONG = "1244341221434321"  # a 4 too many in the first row
SUDOKU, MAZE, ARC = kind_of("sudoku", 16), kind_of("maze", 16), kind_of("arc", 900)
MAZE_QUESTION = "S#  \n  # \n# ##\n#  G"
MAZE_SOLVED = "S#  \noo# \n#o##\n#ooG"


def thoughts_of(
    kind: Kind, question: str, texts: Sequence[str], q: Sequence[float], cycles: int = 0
) -> tuple[Tokens, list[Thought]]:
    """The question, and what becomes of these answers; changes of the state are 1, 1/2, 1/4, ..."""
    asked = kind.parse(question).astype(np.int32)
    answers = np.stack([kind.parse(text) for text in texts])
    satisfied = judged(kind, asked, answers)
    thoughts, before = [], asked
    for i, (tokens, logit) in enumerate(zip(answers, q, strict=True)):
        step, cycle = divmod(i, cycles) if cycles else (i, -1)
        keeps = None if satisfied is None else bool(satisfied[i])
        thoughts.append(Thought(tokens, tokens != before, logit, keeps, 0.5**i, step + 1, cycle + 1))
        before = tokens
    return asked, thoughts


def printed(
    kind: Kind, question: Tokens, thoughts: Sequence[Thought], label: Tokens | None = None, **console: Any
) -> str:
    out = io.StringIO()
    show(kind, question, thoughts, Console(file=out, highlight=False, **console), label)
    return out.getvalue()


def test_the_whole_screen_without_colours() -> None:
    screen = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [WRONG, WRONG, SOLVED], [-2.0, 0.0, 3.0]))

    assert screen == (
        "question\n"
        " 1 2 | . .\n"
        " 3 4 | 1 .\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "(': changed since the board before, !: breaks a rule or overwrites a clue)\n"
        "\n"
        "supervision step 1: 3 cells changed, q_halt -2.00 (12% sure), change 1.000, breaks the rules\n"
        " 1 2 | 4!4!\n"
        " 3 4 | 1 2'\n"
        "-----+-----\n"
        " 2 1 | 4!3\n"
        " 4 3 | 2 1\n"
        "\n"
        "supervision step 2: 0 cells changed, q_halt +0.00 (50% sure), change 0.500, breaks the rules\n"
        "\n"
        "supervision step 3: 1 cell changed, q_halt +3.00 (95% sure), change 0.250, keeps the rules\n"
        " 1 2 | 3'4\n"
        " 3 4 | 1 2\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "solved at supervision step 3: 1234341221434321\n"
    )


def test_cycles_stand_side_by_side() -> None:
    rows = thoughts_of(SUDOKU, PUZZLE, [WRONG, SOLVED, SOLVED, SOLVED], [-2.0, 0.0, 3.0, 3.0], cycles=2)

    screen = printed(SUDOKU, *rows, width=80)

    assert screen == (
        "question\n"
        " 1 2 | . .\n"
        " 3 4 | 1 .\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "(': changed since the board before, !: breaks a rule or overwrites a clue)\n"
        "\n"
        "supervision step 1: keeps the rules\n"
        "cycle 1: 3 changed       cycle 2: 1 changed\n"
        "q_halt -2.00, 12% sure   q_halt +0.00, 50% sure\n"
        "change 1.000             change 0.500\n"
        " 1 2 | 4!4!               1 2 | 3'4\n"
        " 3 4 | 1 2'               3 4 | 1 2\n"
        "-----+-----              -----+-----\n"
        " 2 1 | 4!3                2 1 | 4 3\n"
        " 4 3 | 2 1                4 3 | 2 1\n"
        "\n"
        "supervision step 2: keeps the rules\n"
        "cycle 1: 0 changed       cycle 2: 0 changed\n"
        "q_halt +3.00, 95% sure   q_halt +3.00, 95% sure\n"
        "change 0.250             change 0.125\n"
        "\n"
        "solved at supervision step 1, cycle 2: 1234341221434321\n"
    )


@pytest.mark.parametrize(("width", "across"), [(20, 1), (46, 1), (47, 2), (72, 3), (1000, 3)])
def test_as_many_cycles_as_fit_stand_in_a_row(width: int, across: int) -> None:
    rows = thoughts_of(SUDOKU, PUZZLE, [WRONG, SOLVED, SOLVED], [-2.0, 0.0, 3.0], cycles=3)

    lines = printed(SUDOKU, *rows, width=width).splitlines()

    heads = [line for line in lines if line.startswith("cycle ")]
    assert [line.count("cycle ") for line in heads] == [across] * (3 // across) + [1] * (3 % across > 0)
    assert all(len(line) <= max(width, 38) for line in lines[9:-1])


def test_an_answer_that_stays_wrong_or_becomes_so_is_not_called_solved() -> None:
    told = "a digit twice in row 1, column 3, box 2"
    end = f"\nnot solved: the last answer breaks the rules: {told}; more --steps may help\n"

    assert printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [WRONG], [0.0])).endswith(end)
    assert printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [SOLVED, WRONG], [0.0, 0.0])).endswith(end)
    early = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [SOLVED, SOLVED], [0.0, 0.0]))
    assert early.endswith(f"\nsolved at supervision step 1: {SOLVED}\n")
    # What was right for a while was not yet the answer.
    again = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [SOLVED, WRONG, SOLVED, SOLVED], [0.0] * 4))
    assert again.endswith(f"\nsolved at supervision step 3: {SOLVED}\n")


def test_the_known_answer_is_compared_with() -> None:
    rows = thoughts_of(SUDOKU, PUZZLE, [WRONG, SOLVED], [0.0, 0.0])
    label = SUDOKU.parse(SOLVED)

    assert printed(SUDOKU, *rows, label).endswith(f"step 2: {SOLVED}\nthe answer equals the known one\n")
    other = SUDOKU.parse(WRONG)
    assert printed(SUDOKU, *rows, other).endswith("the answer differs from the known one in 1 of 16 cells\n")
    other[2:] = 0  # known in two cells
    assert printed(SUDOKU, *rows, other).endswith("the answer equals the known one\n")
    assert printed(SUDOKU, *rows, np.zeros(16, np.int8)).endswith(f"step 2: {SOLVED}\n")


def test_without_rules_the_known_answer_decides() -> None:
    kind = kind_of("tokens", 4)
    rows = thoughts_of(kind, "1 2 3 4", ["4 4 4 4", "5 6 7 8", "5 6 7 8"], [0.0] * 3)

    screen = printed(kind, *rows, np.array([5, 0, 7, 8]))

    assert "rules" not in screen
    assert "supervision step 1: 3 cells changed, q_halt +0.00 (50% sure), change 1.000\n" in screen
    assert screen.endswith("\nsolved at supervision step 2: 5 6 7 8\nthe answer equals the known one\n")
    wrong = printed(kind, *rows, np.array([5, 0, 7, 9]))
    assert wrong.endswith(
        "\nnot solved: the last answer is not the known one; more --steps may help\n"
        "the answer differs from the known one in 1 of 3 cells\n"
    )
    for unknown in (None, np.zeros(4, np.int8)):
        assert printed(kind, *rows, unknown).endswith(
            "\nnot checked, since no rules are known for puzzles of kind 'tokens', and no label for this one: 5 6 7 8\n"
        )


def test_on_a_terminal_colours_take_the_place_of_marks() -> None:
    rows = thoughts_of(SUDOKU, PUZZLE, [SOLVED], [0.0])

    coloured = printed(SUDOKU, *rows, force_terminal=True, color_system="standard", no_color=False)

    assert "'" not in coloured
    assert "\x1b[1;32m3 \x1b[0m\x1b[1;32m4\x1b[0m" in coloured
    assert "\x1b[32mkeeps the rules\x1b[0m" in coloured
    assert "'" in printed(SUDOKU, *rows, force_terminal=True, color_system="standard", no_color=True)


def test_a_maze_has_solid_walls_and_a_frame() -> None:
    rows = thoughts_of(MAZE, MAZE_QUESTION, [MAZE_SOLVED], [0.0])

    assert printed(MAZE, *rows).splitlines() == [
        "question",
        "+--------+",
        "|S ##    |",
        "|    ##  |",
        "|##  ####|",
        "|##    G |",
        "+--------+",
        "",
        "(#: wall, S: start, G: goal, o: path)",
        "(': changed since the board before, !: breaks a rule or overwrites a clue)",
        "",
        "supervision step 1: 5 cells changed, q_halt +0.00 (50% sure), change 1.000, keeps the rules",
        "+--------+",
        "|S ##    |",
        "|o'o'##  |",
        "|##o'####|",
        "|##o'o'G |",
        "+--------+",
        "",
        "solved at supervision step 1: S#  oo# #o###ooG",
    ]
    coloured = printed(MAZE, *rows, force_terminal=True, color_system="truecolor", no_color=False)
    assert "\x1b[1;37;48;2;130;80;223mS \x1b[0m" in coloured
    assert "'" not in coloured
    assert "green: changed since the board before, red: breaks a rule or overwrites a clue" in coloured


def test_steps_after_the_answer_has_settled_are_one_line() -> None:
    rows = thoughts_of(SUDOKU, PUZZLE, [WRONG, SOLVED, *[SOLVED] * 4], [-2.0, 0.0, 1.0, 3.0, 2.0, 2.5])

    screen = printed(SUDOKU, *rows)

    assert (
        "\n\nsupervision steps 3 to 6: nothing changed, q_halt +1.00 to +3.00\n\nsolved at supervision step 2" in screen
    )
    assert screen.count("supervision step ") == 3
    cycles = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [SOLVED] * 8, [1.0] * 8, cycles=2))
    assert "\n\nsupervision steps 2 to 4: nothing changed, q_halt +1.00 to +1.00\n\nsolved at" in cycles


def test_what_is_wrong_is_marked_and_told() -> None:
    changed = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, ["4" + SOLVED[1:]], [0.0]))
    assert " 4!2 | 3'4!\n" in changed
    assert "breaks the rules: 1 clue changed, at r1c1; a digit twice in row 1, column 1, box 1; more" in changed
    empty = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, [SOLVED[:3] + "." + SOLVED[4:]], [0.0]))
    assert "breaks the rules: 1 cell empty; more" in empty
    coloured = {"force_terminal": True, "color_system": "truecolor", "no_color": False}
    red = printed(SUDOKU, *thoughts_of(SUDOKU, PUZZLE, ["4" + SOLVED[1:]], [0.0]), **coloured)
    assert red.count("\x1b[1;37;48;2;207;34;46m4") == 4
    path = printed(MAZE, *thoughts_of(MAZE, MAZE_QUESTION, [MAZE_SOLVED.replace("oo# ", "ooo ")], [0.0]))
    assert "|o'o!o!  |\n" in path
    assert "breaks the rules: 1 clue changed, at r2c3; the path has 2 loose or forked cells; more" in path


@pytest.mark.parametrize("side", [6, 9, 16])
def test_larger_grids_are_aligned_and_never_wrapped(side: int) -> None:
    kind = kind_of("sudoku", side * side)
    blank = kind.parse("." * side * side)
    thought = Thought(blank, np.ones(side * side, np.bool_), 12.345, False, 0.5, 1)

    text = printed(kind, blank, [replace(thought, step=step) for step in range(1, 17)], width=20)

    lines = text.splitlines()
    rows, rules = [line for line in lines if ". ." in line or ".!." in line], [line for line in lines if "--+" in line]
    assert len(rows) == 17 * side
    assert kind.boxes is not None
    bars = {tuple(i for i, char in enumerate(line) if char in "|+") for line in rows + rules}
    width = 2 * kind.boxes[1] + 2
    assert bars == {tuple(range(width - 1, width * (side // kind.boxes[1]) - 1, width))}
    last = (
        f"supervision step 16: {side * side} cells changed, q_halt +12.35 (100% sure), change 0.500, breaks the rules"
    )
    assert last in lines


@pytest.mark.parametrize("kind", [kind_of("maze", 900), ARC, kind_of("tokens", 900)])
def test_boards_of_30_by_30_fit_a_terminal_of_80(kind: Kind) -> None:
    full = np.full(900, 2, np.int32)
    screen = printed(kind, full, [Thought(full, full == 2, 0.0, None, 1.0, 1, 1)], width=80)

    grid = [line for line in screen.splitlines() if line.startswith("|")]
    assert len(grid) == 60
    assert {len(line) for line in grid} == {62}
    assert max(map(len, screen.splitlines()[:-1])) <= 80


def test_brackets_and_colons_in_a_grid_mean_themselves() -> None:
    kind = kind_of('{"kind": "grid", "shape": [1, 11], "alphabet": ".:[]/redsmil"}', 11)
    rows = thoughts_of(kind, "...........", ["[red]:mile:"], [0.0])

    screen = printed(kind, *rows, force_terminal=True, color_system="truecolor", no_color=False)

    assert screen.rstrip("\n").endswith("no label for this one: [red]:mile:")
    assert printed(kind, *rows).count("|['r'e'd']':'m'i'l'e':'|") == 1


# ---- ARC ----


def board(rows: Sequence[str], row: int = 0, column: int = 0) -> Tokens:
    return arc.encode(np.array([[int(char) for char in line] for line in rows], np.uint8), row, column).astype(np.int32)


def junk(tokens: Tokens) -> Tokens:
    """The board with colours in all cells that are neither grid nor end marker, as a model leaves them."""
    return np.where(tokens == arc.PAD, 5, tokens)


def test_what_is_worth_a_look_of_an_arc_board() -> None:
    tokens = board(["012", "345"])

    np.testing.assert_array_equal(readable(ARC, junk(tokens)), np.where(tokens == arc.END, arc.PAD, tokens))
    assert window(ARC, junk(tokens)) == Window(0, 2, 0, 3)
    shifted = board(["012", "345"], 4, 6)
    np.testing.assert_array_equal(readable(ARC, shifted), np.where(shifted == arc.END, arc.PAD, shifted))
    assert window(ARC, shifted) == Window(4, 6, 6, 9)
    full = np.full(900, 3, np.int32)
    assert window(ARC, full) == Window(0, 30, 0, 30)
    assert window(ARC, np.zeros(900, np.int32)) == Window(0, 1, 0, 1)
    assert window(SUDOKU, SUDOKU.parse(PUZZLE)) == Window(0, 4, 0, 4)
    assert shared_window(ARC, [shifted, tokens, shifted]) == Window(0, 6, 0, 9)


def test_cells_outside_an_arc_grid_do_not_count_as_changed() -> None:
    before, after = junk(board(["01", "34"])), np.where(board(["01", "35"]) == arc.PAD, 7, board(["01", "35"]))

    thought = Thought(after, after != before, 0.0, None, 0.0, 1)

    assert thought.changed.sum() > 800
    assert changed_cells(ARC, thought) == "1 cell changed"


def test_arc_without_colours_shows_digits() -> None:
    question = board(["01", "34"])
    first, second = junk(board(["012", "345"])), junk(board(["012", "346"]))
    thoughts = [
        Thought(first, first != question, 0.0, None, 1.0, 1),
        Thought(second, second != first, 2.0, None, 0.5, 2),
        Thought(second, second != second, 2.0, None, 0.5, 3),
    ]

    assert printed(ARC, question, thoughts, board(["012", "346"])).splitlines() == [
        "question",
        "+----+",
        "|0 1 |",
        "|3 4 |",
        "+----+",
        "",
        "(': changed since the board before)",
        "",
        "supervision step 1: 2 cells changed, q_halt +0.00 (50% sure), change 1.000",
        "+------+",
        "|0 1 2'|",
        "|3 4 5'|",
        "+------+",
        "",
        "supervision step 2: 1 cell changed, q_halt +2.00 (88% sure), change 0.500",
        "+------+",
        "|0 1 2 |",
        "|3 4 6'|",
        "+------+",
        "",
        "supervision step 3: 0 cells changed, q_halt +2.00 (88% sure), change 0.500",
        "",
        "solved at supervision step 2: 012/346",
        "the answer equals the known one",
    ]


def test_arc_with_colours_shows_backgrounds() -> None:
    question, answer = board(["3"]), board(["4"])
    thought = Thought(answer, answer != question, 0.0, None, 1.0, 1)

    screen = printed(ARC, question, [thought], force_terminal=True, color_system="truecolor", no_color=False)

    assert "\x1b[1;37;48;2;46;204;64m  \x1b[0m" in screen or "\x1b[1;30;48;2;46;204;64m  \x1b[0m" in screen
    assert "\x1b[1;30;48;2;255;220;0m<>\x1b[0m" in screen


def test_latents_stand_beside_the_answer() -> None:
    question, thoughts = thoughts_of(SUDOKU, PUZZLE, [WRONG, SOLVED], [-2.0, 3.0])
    z = [np.stack([SUDOKU.parse(text) for text in texts]) for texts in ((PUZZLE, WRONG), (SOLVED, SOLVED))]
    rows = [replace(thought, latents=latents) for thought, latents in zip(thoughts, z, strict=True)]

    screen = printed(SUDOKU, question, rows, width=80)

    assert "(z: what the latent says through the head of y; what y does not say is marked as changed)" in screen
    assert (
        "supervision step 1: 3 cells changed, q_halt -2.00 (12% sure), change 1.000, breaks the rules\n"
        "z, latent step 1   z, latent step 2   y\n"
        " 1 2 | .'.'         1 2 | 4 4          1 2 | 4!4!\n"
        " 3 4 | 1 .'         3 4 | 1 2          3 4 | 1 2'\n"
    ) in screen
    by_cycles = [replace(row, step=1, cycle=cycle) for cycle, row in enumerate(rows, 1)]
    screen = printed(SUDOKU, question, by_cycles, width=80)
    # Boards stand at the same height, below the figures of the cycle.
    assert [" ".join(line.split()) for line in screen.splitlines()[11:15]] == [
        "z, latent step 1 z, latent step 2 cycle 1: 3 changed",
        "q_halt -2.00, 12% sure",
        "change 1.000",
        "1 2 | .'.' 1 2 | 4 4 1 2 | 4!4!",
    ]
    # One line of boards for each cycle.
    assert screen.count("z, latent step 1 ") == 2
