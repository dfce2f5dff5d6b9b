"""Solving one puzzle: reading the question, what each step changed, and what a person sees of it."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from trm_jax import solve
from trm_jax.config import DataConfig, Experiment, ModelConfig
from trm_jax.errors import DataError
from trm_jax.evaluate import Answers
from trm_jax.puzzles.kind import Kind, kind_of
from trm_jax.solve import Thought, read_question, run, show, think

PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"
WRONG = "1244341221434321"  # a 4 too many in the first row
SUDOKU, MAZE = kind_of("sudoku", 16), kind_of("maze", 16)
MAZE_QUESTION = "S#  \n  # \n# ##\n#  G"
MAZE_SOLVED = "S#  \noo# \n#o##\n#ooG"


def stub_answers(monkeypatch: pytest.MonkeyPatch, kind: Kind, texts: Sequence[str], q: Sequence[float]) -> list[Any]:
    """Lets the model answer these texts, one for each step; returns the list of its calls."""
    calls = []

    def answer(model: Any, weights: Any, inputs: Any, ids: Any, steps: int) -> Answers:
        calls.append((np.asarray(inputs).tolist(), np.asarray(ids).tolist(), steps))
        return Answers(np.stack([kind.parse(text) for text in texts])[:, None], np.array(q, np.float32)[:, None])  # type: ignore[arg-type]

    monkeypatch.setattr(solve, "answer", answer)
    return calls


def thoughts_of(kind: Kind, question: str, texts: Sequence[str], q: Sequence[float]) -> list[Thought]:
    """What `think` makes of answers, by hand."""
    thoughts, before, asked = [], kind.parse(question), kind.parse(question)
    for text, logit in zip(texts, q, strict=True):
        tokens = kind.parse(text)
        changed = np.array([a != b for a, b in zip(tokens.tolist(), before.tolist(), strict=True)])
        thoughts.append(Thought(tokens, changed, logit, kind.satisfied(asked, tokens)))
        before = tokens
    return thoughts


def printed(kind: Kind, question: str, thoughts: list[Thought], **console: Any) -> str:
    out = io.StringIO()
    show(kind, kind.parse(question), thoughts, Console(file=out, highlight=False, **console))
    return out.getvalue()


def test_think_compares_each_answer_with_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stub_answers(monkeypatch, SUDOKU, [WRONG, WRONG, SOLVED], [-2.0, 0.5, 3.0])
    question = SUDOKU.parse(PUZZLE)

    thoughts = think(None, None, SUDOKU, question, 3)  # type: ignore[arg-type]

    assert calls == [([question.tolist()], [0], 3)]
    assert [np.flatnonzero(thought.changed).tolist() for thought in thoughts] == [[2, 3, 7], [], [2]]
    assert [thought.satisfied for thought in thoughts] == [False, False, True]
    assert [thought.q_halt for thought in thoughts] == [-2.0, 0.5, 3.0]
    assert [SUDOKU.text(thought.tokens) for thought in thoughts] == [WRONG, WRONG, SOLVED]


def test_an_answer_that_forgets_a_clue_is_not_right(monkeypatch: pytest.MonkeyPatch) -> None:
    relabelled = SOLVED.translate(str.maketrans("1234", "2341"))
    stub_answers(monkeypatch, SUDOKU, [relabelled], [1.0])

    (thought,) = think(None, None, SUDOKU, SUDOKU.parse(PUZZLE), 1)  # type: ignore[arg-type]

    assert not thought.satisfied


def test_the_whole_screen_without_colours() -> None:
    thoughts = thoughts_of(SUDOKU, PUZZLE, [WRONG, WRONG, SOLVED], [-2.0, 0.0, 3.0])

    assert printed(SUDOKU, PUZZLE, thoughts) == (
        "question\n"
        " 1 2 | . .\n"
        " 3 4 | 1 .\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "supervision step 1: 3 cells changed, q_halt -2.00 (12% sure), breaks the rules\n"
        " 1 2 | 4'4'\n"
        " 3 4 | 1 2'\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "supervision step 2: 0 cells changed, q_halt +0.00 (50% sure), breaks the rules\n"
        "\n"
        "supervision step 3: 1 cell changed, q_halt +3.00 (95% sure), keeps the rules\n"
        " 1 2 | 3'4\n"
        " 3 4 | 1 2\n"
        "-----+-----\n"
        " 2 1 | 4 3\n"
        " 4 3 | 2 1\n"
        "\n"
        "solved at supervision step 3: 1234341221434321\n"
    )


def test_an_answer_that_stays_wrong_or_becomes_so_is_not_called_solved() -> None:
    end = "\nnot solved: the last answer breaks the rules; more --steps may help\n"

    assert printed(SUDOKU, PUZZLE, thoughts_of(SUDOKU, PUZZLE, [WRONG], [0.0])).endswith(end)
    assert printed(SUDOKU, PUZZLE, thoughts_of(SUDOKU, PUZZLE, [SOLVED, WRONG], [0.0, 0.0])).endswith(end)
    early = printed(SUDOKU, PUZZLE, thoughts_of(SUDOKU, PUZZLE, [SOLVED, SOLVED], [0.0, 0.0]))
    assert early.endswith(f"\nsolved at supervision step 1: {SOLVED}\n")


def test_on_a_terminal_colours_take_the_place_of_marks() -> None:
    thoughts = thoughts_of(SUDOKU, PUZZLE, [SOLVED], [0.0])

    coloured = printed(SUDOKU, PUZZLE, thoughts, force_terminal=True, color_system="standard", no_color=False)

    assert "'" not in coloured
    assert "\x1b[1;32m3 \x1b[0m\x1b[1;32m4\x1b[0m" in coloured
    assert "\x1b[32mkeeps the rules\x1b[0m" in coloured
    assert "'" in printed(SUDOKU, PUZZLE, thoughts, force_terminal=True, color_system="standard", no_color=True)


def test_a_maze_has_solid_walls_and_a_frame() -> None:
    thoughts = thoughts_of(MAZE, MAZE_QUESTION, [MAZE_SOLVED], [0.0])

    assert printed(MAZE, MAZE_QUESTION, thoughts).splitlines() == [
        "question",
        "+--------+",
        "|S ##    |",
        "|    ##  |",
        "|##  ####|",
        "|##    G |",
        "+--------+",
        "",
        "supervision step 1: 5 cells changed, q_halt +0.00 (50% sure), keeps the rules",
        "+--------+",
        "|S ##    |",
        "|o'o'##  |",
        "|##o'####|",
        "|##o'o'G |",
        "+--------+",
        "",
        "solved at supervision step 1: S#  oo# #o###ooG",
    ]


@pytest.mark.parametrize("side", [6, 9, 16])
def test_larger_grids_are_aligned_and_never_wrapped(side: int) -> None:
    kind = kind_of("sudoku", side * side)
    blank = "." * side * side
    thought = Thought(kind.parse(blank), np.ones(side * side, np.bool_), 12.345, False)

    text = printed(kind, blank, [thought] * 16, width=20)

    lines = text.splitlines()
    rows, rules = [line for line in lines if ". ." in line or ".'." in line], [line for line in lines if "--+" in line]
    assert len(rows) == 17 * side
    assert kind.boxes is not None
    bars = {tuple(i for i, char in enumerate(line) if char in "|+") for line in rows + rules}
    width = 2 * kind.boxes[1] + 2
    assert bars == {tuple(range(width - 1, width * (side // kind.boxes[1]) - 1, width))}
    assert f"supervision step 16: {side * side} cells changed, q_halt +12.35 (100% sure), breaks the rules" in lines


def test_questions_come_from_text_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = SUDOKU.parse(PUZZLE).tolist()
    file = tmp_path / "puzzle"
    file.write_bytes(b"\xef\xbb\xbf1 2 | . .\r\n3 4 | 1 .\r\n----+----\r\n2 1 | 4 3\r\n4 3 | 2 1\r\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PUZZLE}\n"))

    for source in (PUZZLE, str(file), "-", "12..\n341.\n2143\n4321\n"):
        assert read_question(SUDOKU, source).tolist() == expected
    maze = read_question(MAZE, MAZE_QUESTION)
    assert MAZE.text(maze) == MAZE_QUESTION.replace("\n", "")


def test_a_puzzle_longer_than_any_file_name_is_a_puzzle() -> None:
    large = kind_of("sudoku", 256)

    assert read_question(large, "." * 256).tolist() == [1] * 256
    maze = "S" + " " * 898 + "G"
    assert len(read_question(kind_of("maze", 900), maze)) == 900


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (SUDOKU, PUZZLE[:15], "puzzle: 15 cells found, but this Sudoku has 16: add or remove some"),
        (SUDOKU, "11" + PUZZLE[2:], "puzzle: digit 1 stands twice in row 1, at r1c1 and r1c2; correct one of them"),
        (SUDOKU, "", "puzzle: 0 cells found, but this Sudoku has 16: add or remove some"),
        (MAZE, MAZE_QUESTION.replace("G", " "), "puzzle: exactly one goal G is needed, but 0 found"),
        (MAZE, MAZE_SOLVED, "puzzle: r2c1 is path 'o', but a puzzle has none; make it free"),
    ],
)
def test_bad_questions(kind: Kind, text: str, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read_question(kind, text)

    assert str(caught.value) == expected


def test_bad_questions_in_files_are_told_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "puzzle"
    file.write_text("11" + PUZZLE[2:])

    with pytest.raises(DataError) as caught:
        read_question(SUDOKU, str(file))

    assert str(caught.value).startswith(f"{file}: digit 1 stands twice in row 1")


@pytest.mark.parametrize(("answer", "right"), [(SOLVED, True), (WRONG, False)])
@pytest.mark.parametrize("quiet", [True, False])
def test_run_prints_and_tells_whether_the_answer_is_right(
    answer: str, right: bool, quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ModelConfig(vocab_size=6, seq_len=16, num_puzzles=1, supervision_steps=2)
    experiment = Experiment(model=model, data=DataConfig(puzzle="sudoku"))
    monkeypatch.setattr(solve.checkpoint, "load", lambda source: (experiment, None))
    calls = stub_answers(monkeypatch, SUDOKU, [WRONG, answer], [0.0, 0.0])

    assert run(Path("anywhere"), PUZZLE, 0, quiet, None) is right

    assert calls[0][2] == 2
    out = capsys.readouterr().out
    if quiet:
        assert out == f"{answer}\n"
    else:
        assert out.startswith("question\n 1 2 | . .\n")
    assert run(Path("anywhere"), PUZZLE, 7, quiet, None) is right
    assert calls[1][2] == 7
