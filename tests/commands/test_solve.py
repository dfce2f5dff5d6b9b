"""The command `trm solve`: which puzzle is read, which attempt is shown, what certifying never does, exit codes."""

import io
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import trm_jax.commands.report  # noqa: F401 - imported before what it takes from others is replaced here
from trm_jax.commands import completing, explaining, questions, solve, solve_several
from trm_jax.commands.cli import main
from trm_jax.commands.questions import read_questions, read_tasks
from trm_jax.commands.solve import Request, run
from trm_jax.config import DataConfig, Experiment, ModelConfig
from trm_jax.display import pictures
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Found
from trm_jax.inference.trace import Trace
from trm_jax.inference.why import Why
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles import arc
from trm_jax.puzzles.complete_search import unguided
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.runs import sources

PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"
WRONG = "1244341221434321"  # a 4 too many in the first row
FORGETFUL = "2341412332141432"  # keeps the rules, but not the clues
SUDOKU, MAZE = kind_of("sudoku", 16), kind_of("maze", 16)
MAZE_QUESTION = "S#  \n  # \n# ##\n#  G"
MAZE_SOLVED = "S#  \noo# \n#o##\n#ooG"
GRID = '{"kind": "grid", "shape": [2, 2], "alphabet": ".ab"}'
RUN = Path("anywhere")


def experiment_of(puzzle: str, cells: int, vocab_size: int, **data: Any) -> Experiment:
    model = ModelConfig(vocab_size=vocab_size, seq_len=cells, num_puzzles=5, supervision_steps=2)
    return Experiment(model=model, data=DataConfig(puzzle=puzzle, **data))


SUDOKU_RUN = experiment_of("sudoku", 16, 6)


def read_question(kind: Kind, source: str) -> Tokens:
    return read_questions(kind, source)[0].question


class Fake:
    """Stands for a model: attempts answer with given texts, whatever the puzzle."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, experiment: Experiment, cycles: int = 2) -> None:
        self.kind = kind_of(experiment.data.puzzle, experiment.model.seq_len)
        self.cycles = cycles
        self.texts: Sequence[Sequence[str]] = [[WRONG, SOLVED]]
        self.q: Sequence[Sequence[float]] = [[0.0, 0.0]]
        self.calls: list[tuple[Effort, Any, Any]] = []
        self.traced: list[tuple[Effort, int, int]] = []
        monkeypatch.setattr(solve, "load", lambda source: (experiment, None))
        for module in (solve, solve_several):
            monkeypatch.setattr(module, "attempt", self._attempt)
        monkeypatch.setattr(solve, "trace", self._trace)

    def answers(self, texts: Sequence[Sequence[str]], q: Sequence[Sequence[float]] | None = None) -> None:
        """texts, q: of each attempt, after each step; the last ones go on for as long as is asked."""
        self.texts = texts
        self.q = q if q is not None else [[0.0] * len(row) for row in texts]

    def _attempt(self, model: Any, weights: Any, effort: Effort, inputs: Any, ids: Any, batch: int, kind: Kind) -> Any:
        self.calls.append((effort, np.asarray(inputs).tolist(), np.asarray(ids).tolist()))
        D = effort.steps
        tokens = np.stack([[self.kind.parse(row[min(d, len(row) - 1)]) for d in range(D)] for row in self.texts])
        q = np.array([[row[min(d, len(row) - 1)] for d in range(D)] for row in self.q], np.float32)
        halted = np.where((q > 0).any(axis=1), (q > 0).argmax(axis=1) + 1, 0)
        K = len(self.texts)
        change = np.broadcast_to((1 / np.arange(1, D + 1)).astype(np.float32), (1, K, D))
        # Each puzzle alone, as a pool may give them out.
        for first in range(len(inputs)):
            steps = np.full((1, K), D, np.int32)
            yield Attempts(effort, first, tokens[None], q[None], change, change, halted[None], steps)

    def _trace(
        self,
        model: Any,
        weights: Any,
        effort: Effort,
        inputs: Any,
        puzzle_id: int,
        number: int,
        kind: Kind,
        latents: bool,
    ) -> Trace:
        self.traced.append((effort, puzzle_id, number))
        (found,) = self._attempt(None, None, effort, inputs[None], [puzzle_id], 1, kind)
        self.calls.pop()
        tokens = np.repeat(found.answers[0, number][:, None], self.cycles, axis=1)
        return Trace(
            tokens,
            np.repeat(found.q_halt[0, number][:, None], self.cycles, axis=1),
            np.ones((effort.steps, self.cycles), np.float32),
            # z says of two latent steps first nothing, and then what y says.
            np.stack([np.full_like(tokens, 1), tokens], axis=2) if latents else None,
        )


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    return Fake(monkeypatch, SUDOKU_RUN)


def command(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `trm solve anywhere ...`."""
    capsys.readouterr()
    code = main(["solve", str(RUN), *words])
    return code, *capsys.readouterr()


# ---- the question ----


def test_questions_come_from_text_files_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = SUDOKU.parse(PUZZLE).tolist()
    file = tmp_path / "puzzle"
    file.write_bytes(b"\xef\xbb\xbf1 2 | . .\r\n3 4 | 1 .\r\n----+----\r\n2 1 | 4 3\r\n4 3 | 2 1\r\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"\ufeff{PUZZLE}\n"))

    for source in (PUZZLE, str(file), "-", "12..\n341.\n2143\n4321\n"):
        assert read_question(SUDOKU, source).tolist() == expected
    maze = read_question(MAZE, MAZE_QUESTION)
    assert MAZE.text(maze) == MAZE_QUESTION.replace("\n", "")


def test_files_are_utf_8_or_utf_16(tmp_path: Path) -> None:
    file = tmp_path / "puzzle"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        file.write_text("12..\n341.\n2143\n4321\n", encoding)
        assert read_question(SUDOKU, str(file)).tolist() == SUDOKU.parse(PUZZLE).tolist()
    for content in (b"\x89PNG", b"\xff\xfe1"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"not readable as text: .*; save it as UTF-8$"):
            read_question(SUDOKU, str(file))


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
        (SUDOKU, " ", "puzzle: 0 cells found, but this Sudoku has 16: add or remove some"),
        (SUDOKU, "", "puzzle: the text is empty: give the characters of a puzzle, a file, or - for standard input"),
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


def test_a_table_is_told_to_be_one(tmp_path: Path) -> None:
    file = tmp_path / "puzzles.csv"
    file.write_text(f"question,answer\n{PUZZLE},{PUZZLE}\n")

    with pytest.raises(DataError, match=rf"a table is named by --data {re.escape(str(file))}$"):
        read_question(SUDOKU, str(file))


def test_a_closed_standard_input_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    with pytest.raises(DataError, match="standard input: 0 cells found"):
        read_question(SUDOKU, "-")


KINDS = [SUDOKU, MAZE, kind_of("arc", 900), kind_of(GRID, 4), kind_of("tokens", 4)]
LIKELY = [PUZZLE, SOLVED, MAZE_QUESTION, MAZE_SOLVED, "ab.a", "1 2 3 4", "012\n345", "0/1"]
ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@st.composite
def nearly_right(draw: st.DrawFn) -> str:
    """A puzzle of some kind with a few characters put in, taken out or replaced."""
    text = draw(st.sampled_from(LIKELY))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(["", "\n", "/", *"0123.#SGo ab", "\0", "é", "\u2028"])) + text[at + 1 :]
    return text


def read(kind: Kind, source: str) -> Tokens | str:
    """The question, or what is wrong with it."""
    try:
        return read_question(kind, source)
    except DataError as error:
        return str(error)


@settings(max_examples=int(os.environ.get("TRM_FUZZ", "100")), deadline=None)
@given(st.sampled_from(KINDS), nearly_right() | ANY)
def test_any_text_is_a_puzzle_or_told_in_one_line(kind: Kind, text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.StringIO(text))
        found = [read(kind, text), read(kind, "-")]
    for question in found:
        if isinstance(question, str):
            assert len(question.splitlines()) == 1
            assert question.startswith(("puzzle: ", "standard input: ", f"{text}: ", f"{text} is a folder"))
        else:
            assert question.shape == (kind.cells,)
            assert question.min() >= 0
            assert kind.vocab_size == 0 or question.max() < kind.vocab_size
            np.testing.assert_array_equal(kind.parse(kind.text(question)), question)
            kind.check_question(question)


@settings(max_examples=int(os.environ.get("TRM_FUZZ", "100")), deadline=None)
@given(st.sampled_from(KINDS), st.binary(max_size=40) | nearly_right().map(lambda text: text.encode()))
def test_any_file_is_a_puzzle_or_told_with_its_name(kind: Kind, content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "puzzle")
        path.write_bytes(content)
        question = read(kind, str(path))
    if isinstance(question, str):
        assert question.startswith(f"{path}: ")
        assert len(question.splitlines()) == 1
    else:
        assert len(question) == kind.cells


# ---- several puzzles, and puzzles in other words ----


def test_all_puzzles_of_a_file_are_solved(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "puzzles.txt"
    file.write_text(f"# two\neasy {PUZZLE} 1.2\nhard {'.' * 16} 4.5\n")

    assert command(str(file), capsys=capsys) == (0, f"{SOLVED}\n{SOLVED}\n", "all 2 puzzles are solved\n")
    assert fake.calls[-1][1] == [SUDOKU.parse(PUZZLE).tolist(), [1] * 16]
    assert command(str(file), "--quiet", capsys=capsys) == (0, f"{SOLVED}\n{SOLVED}\n", "")
    fake.answers([[FORGETFUL]])  # which keeps no clues, and of the second there are none
    told = "1 of 2 puzzles are not solved: 1\n"
    assert command(str(file), capsys=capsys) == (1, f"{FORGETFUL}\n{FORGETFUL}\n", told)
    assert command(str(file), "--certify", capsys=capsys) == (1, f"not solved\n{FORGETFUL}\n", told)
    file.write_text("\n".join([PUZZLE] * 7))
    assert command(str(file), capsys=capsys)[2] == "7 of 7 puzzles are not solved: 1, 2, 3, 4, 5, ...\n"


def test_answers_as_json(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "puzzles.txt"
    file.write_text(f"easy {PUZZLE}\nhard {'.' * 16}\n")
    fake.answers([[WRONG]])
    told = f"{tmp_path / 'a.csv'}: the answers to 1 puzzle\n"
    written = command(PUZZLE, f"--answers={tmp_path / 'a.csv'}", capsys=capsys)
    assert written == (1, told, "the puzzle is not solved\n")
    fake.answers([[WRONG, SOLVED, WRONG, SOLVED, FORGETFUL]], [[-1.0, 2.0]])

    code, out, err = command(str(file), "--json", "--steps=7", capsys=capsys)

    assert (code, err) == (1, "")
    figures = {"attempt": 1, "step": 7, "settled_at": 5, "q_halt": 2.0}
    assert json.loads(out) == [
        {"puzzle": 1, "name": "easy", "question": PUZZLE, "answer": FORGETFUL, "right": False}
        | figures | {"solved_at": None},
        # Another answer that is right, which an empty grid has, came before.
        {"puzzle": 2, "name": "hard", "question": "." * 16, "answer": FORGETFUL, "right": True}
        | figures | {"solved_at": 4},
    ]  # fmt: skip
    code, out, _ = command(PUZZLE, "--json", "--certify", "--steps=7", capsys=capsys)
    (told,) = json.loads(out)
    assert code == 0
    assert (told["answer"], told["step"], told["settled_at"], told["solved_at"]) == (SOLVED, 2, 2, 2)
    fake.answers([[WRONG, FORGETFUL]])
    code, out, _ = command(PUZZLE, "--json", "--certify", capsys=capsys)
    assert code == 1
    assert json.loads(out) == [{"puzzle": 1, "name": "", "question": PUZZLE, "answer": None, "right": False}]


def test_several_puzzles_are_searched_for_at_once(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searching = replace(SUDOKU_RUN, model=replace(SUDOKU_RUN.model, states="candidates"))
    monkeypatch.setattr(solve, "load", lambda source: (searching, None))

    def searched(experiment: Any, weights: Any, kind: Kind, questions: Tokens, budget: Any) -> Any:
        assert SUDOKU.text(questions[0]) == PUZZLE
        none = np.zeros(16, np.int32)
        # The second is known first.
        yield Found(1, None, 9, 1, 0, 1.0, none, ())
        yield Found(0, SUDOKU.parse(SOLVED), 3, 1, 0, 1.0, none, ())

    monkeypatch.setattr(solve_several, "searched", searched)
    file = tmp_path / "puzzles.txt"
    file.write_text(f"{PUZZLE}\n{'.' * 16}\n")
    told = "1 of 2 puzzles are not solved: 2\n"
    assert command(str(file), capsys=capsys) == (1, f"{SOLVED}\nnot solved\n", told)
    code, out, _ = command(str(file), "--json", capsys=capsys)
    assert code == 1
    assert [(each["answer"], each["right"], each["calls"]) for each in json.loads(out)] == [
        (SOLVED, True, 3), (None, False, 9)
    ]  # fmt: skip


def test_what_the_network_leaves_a_complete_search_ends(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(completing, "guide_by", lambda *_: unguided)
    fake.answers([[WRONG, SOLVED]], [[9.0, 9.0]])
    by_network = "answered by the network: 1, by complete search, in the network's order: 0\n"
    assert command(PUZZLE, "--complete", capsys=capsys) == (0, f"{SOLVED}\n", f"{by_network}the puzzle is solved\n")
    fake.answers([[WRONG, WRONG]], [[9.0, 9.0]])
    code, out, err = command(PUZZLE, "--complete", capsys=capsys)
    assert (code, out) == (0, f"{SOLVED}\n")
    assert err.startswith("answered by the network: 0, by complete search, in the network's order: 1; ")
    code, out, err = command("12........3...4.", "--complete", capsys=capsys)
    assert (code, out) == (1, "no answer\n")
    assert "shown to have no answer: 1" in err
    code, out, _ = command("." * 16, "--complete", "--nodes=1", "--json", capsys=capsys)
    assert (code, json.loads(out)[0]["unsolvable"], json.loads(out)[0]["nodes"]) == (1, False, 1)


def test_pictures_and_cycles_are_for_one_puzzle(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        ([f"{PUZZLE}\n{PUZZLE}", "--cycles"], "--cycles is for one puzzle: leave it out, or name one"),
        ([f"{PUZZLE}\n{PUZZLE}", f"--gif={tmp_path}/x.gif"], "--gif is for one puzzle: leave it out, or name one"),
        ([PUZZLE, "--json", f"--picture={tmp_path}/x.png"], "--picture is for people, not for --json: leave it out"),
    ):
        assert command(*words, capsys=capsys) == (2, "", f"trm: error: {told}\n")
    assert not fake.calls


def test_a_puzzle_that_begins_with_a_dash_is_no_option(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    dashes = "-2--3412" + "-" * 8
    for words in (
        [dashes], ["--quiet", dashes], [dashes, "--quiet"], ["-" * 16], ["--" + dashes[2:]], ["-234341221434321"],
        [dashes, "--halt-above", "-2.5", "--halting"], ["--halting", "--halt-above=-2.5", dashes],
    ):  # fmt: skip
        code, out, _ = command(*words, capsys=capsys)
        assert code == 0
        assert SOLVED in out
    assert command("-2--", "--quiet", capsys=capsys)[2].startswith("trm: error: puzzle: 4 cells found")
    assert command("--quite", PUZZLE, capsys=capsys)[2].startswith(
        "trm: error: unknown option --quite: did you mean '--quiet'?"
    )
    for words in (["--quiet", PUZZLE], ["--", dashes, "--quiet"], ["--quiet", "--", PUZZLE]):
        assert command(*words, capsys=capsys) == (0, f"{SOLVED}\n", "")
    assert "no whole number" in command(PUZZLE, "--seed", "-1", capsys=capsys)[2]
    assert "several puzzles are named" in command(dashes, PUZZLE, capsys=capsys)[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_who_waits_for_standard_input_says_so(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "reading puzzles from standard input, up to its end (Ctrl-D)\n"
    for words in ([], ["-"]):
        monkeypatch.setattr(sys, "stdin", Terminal(PUZZLE))
        assert command("--quiet", *words, capsys=capsys) == (0, f"{SOLVED}\n", told)
    monkeypatch.setattr(sys, "stdin", io.StringIO(PUZZLE))
    assert command("--quiet", capsys=capsys) == (0, f"{SOLVED}\n", "")
    monkeypatch.setattr(sys, "stdin", None)
    assert command("", capsys=capsys)[2].startswith("trm: error: puzzle: the text is empty: give the characters")


def test_a_text_that_is_too_long_is_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(questions, "_LONGEST", 17)
    file = tmp_path / "puzzles"
    file.write_text(f"{PUZZLE}\n")
    assert command(str(file), "--quiet", capsys=capsys)[0] == 0
    file.write_text(f"{PUZZLE}\n{PUZZLE}\n")
    told = f"trm: error: {file}: over 17 characters: build a dataset of them, for `trm eval`\n"
    assert command(str(file), capsys=capsys) == (2, "", told)


def test_the_puzzle_at_fault_is_named(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "puzzles"
    file.write_text(f"# two\n{PUZZLE}\n\n11{PUZZLE[2:]}\n")
    told = (
        f"trm: error: {file}: puzzle 2, line 4: digit 1 stands twice in row 1, at r1c1 and r1c2; correct one of them\n"
    )
    assert command(str(file), capsys=capsys) == (2, "", told)


def test_answers_are_written_as_questions_are() -> None:
    large, text = kind_of("sudoku", 256), "0123456789ABCDEF" + "." * 240
    (task,) = read_questions(large, text)
    assert task.kind.text(task.question) == text
    assert task.question[:16].tolist() == list(range(2, 18))


def test_a_legend_of_another_size_of_board(capsys: pytest.CaptureFixture[str]) -> None:
    """The network serves every size: the legend is that of the puzzle, not of the puzzles it was trained on."""
    experiment = sources.load("sudoku-extreme")[0]
    full = "".join("0123456789ABCDEF"[(4 * r + r // 4 + c) % 16] for r in range(16) for c in range(16))
    for legend, tokens in ((".0123456789ABCDEF", 0), ("0123456789ABCDEFG", 1)):
        _, (task,) = read_tasks(experiment, Request(full[:16] + "." * 240 if tokens == 0 else full, legend=legend))
        assert task.kind.text(task.question)[:16] == full[:16]
        assert task.question[:2].tolist() == [2 - tokens, 3 - tokens]
    with pytest.raises(DataError, match="0 may be a blank or a digit, since neither G nor another blank stands there"):
        read_tasks(experiment, Request(full))


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (
            SUDOKU,
            "####\n#SG#\n####\n####",
            "a puzzle of kind 'maze', 4 x 4, but 'sudoku' is needed: give puzzles of one",
        ),
        (MAZE, PUZZLE, "a puzzle of kind 'sudoku', 4 x 4, but 'maze' is needed: give puzzles of one kind"),
        (kind_of("tokens", 16), MAZE_QUESTION, "a puzzle of kind 'maze', 4 x 4, but 'tokens' is needed"),
        (
            MAZE,
            "." * 15 + "\n",
            "'.' in line 1, column 1 of the text",
        ),  # of no clue nothing is told
        (MAZE, "11" + PUZZLE[2:], "'1' in line 1, column 1 of the text (r1c1) is none of '#' wall"),
        (
            kind_of("sudoku", 81),
            "8.1275E+80",
            "'8.1275E+80' is a number that a spreadsheet has made of the cells, and ",
        ),
        (kind_of("sudoku", 81), "1" * 80, "80 cells found, but this Sudoku has 81: add or remove some; did a spread"),
        (
            SUDOKU,
            "[[4,-1,3,2],[3,2,4,1],[2,4,1,3],[1,3,2,4]]",
            "'-1' in line 1, column 5 of the text (r1c2) is neither a digit 1-4",
        ),
    ],
)
def test_what_a_text_is_instead(kind: Kind, text: str, told: str) -> None:
    with pytest.raises(DataError) as caught:
        read_questions(kind, text)
    assert str(caught.value).startswith(f"puzzle: {told}")


def test_a_legend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake(monkeypatch, experiment_of("maze", 16, 6))
    fake.answers([[MAZE_SOLVED]])
    question, solved = (text.translate(str.maketrans(" Go", ".E*")) for text in (MAZE_QUESTION, MAZE_SOLVED))
    code, out, _ = command(question, "--legend=#.SE*", "--quiet", capsys=capsys)
    assert (code, out) == (0, solved.replace("\n", "") + "\n")
    assert fake.calls[-1][1] == [MAZE.parse(MAZE_QUESTION).tolist()]
    assert "for other characters give --legend" in command(question, capsys=capsys)[2]
    assert "is none: give 5 characters" in command(question, "--legend=#.", capsys=capsys)[2]
    told = command("--data", str(tmp_path), "--legend=#.SE*", capsys=capsys)[2]
    assert f"--legend is of tables and texts; {tmp_path} is a dataset folder" in told
    Fake(monkeypatch, experiment_of("arc", 900, 12))
    assert "'legend' says nothing of a puzzle of kind 'arc'" in command("01", "--legend=abc", capsys=capsys)[2]


# ---- a row of a dataset ----


def table(tmp_path: Path) -> Path:
    path = tmp_path / "puzzles.csv"
    path.write_text(f"question,answer\n{SOLVED},{SOLVED}\n{PUZZLE},{SOLVED}\n")
    return path


def test_a_row_of_a_table(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path)

    code, out, _ = command("--data", str(path), "--row", "3", capsys=capsys)

    assert code == 0
    assert out.startswith("question\n 1 2 | . .\n")
    assert out.endswith(f"\nsolved at supervision step 2: {SOLVED}\nthe answer equals the known one\n")
    assert fake.calls[-1][1:] == ([SUDOKU.parse(PUZZLE).tolist()], [0])
    _, (task,) = read_tasks(SUDOKU_RUN, Request(data=str(path)))
    assert SUDOKU.text(task.question) == SOLVED  # the first row, where none is named
    assert task.label is not None
    assert SUDOKU.text(task.label) == SOLVED


def test_answers_to_all_rows_become_a_table(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "puzzles.csv", tmp_path / "answers.csv"
    source.write_text(f"id;Quizzes;note\n1;{PUZZLE};\n2;{'.' * 16};\n")
    told = command("--data", str(source), "--answers", str(out), capsys=capsys)
    assert told == (0, f"{out}: the answers to 2 puzzles\n", "all 2 puzzles are solved\n")
    assert out.read_text() == f"question,answer,right\n{PUZZLE},{SOLVED},yes\n{'.' * 16},{SOLVED},yes\n"
    # What it writes, it reads.
    assert len(read_tasks(SUDOKU_RUN, Request(data=str(out), answers=out))[1]) == 2

    fake.answers([[FORGETFUL]])
    code, _, err = command("--data", str(source), "--answers", str(out), "--certify", capsys=capsys)
    assert (code, err) == (1, "1 of 2 puzzles are not solved: row 2\n")
    assert out.read_text() == f"question,answer,right\n{PUZZLE},,no\n{'.' * 16},{FORGETFUL},yes\n"
    told = command("--data", str(source), "--row=3", "--answers", str(out), capsys=capsys)
    assert told == (0, f"{out}: the answers to 1 puzzle\n", "the puzzle is solved\n")
    assert out.read_text() == f"question,answer,right\n{'.' * 16},{FORGETFUL},yes\n"

    for words, expected in (
        (["--columns=note"], f"{source}: row 2, column note: "),
        (["--columns=none"], f"{source}: row 1, column none: is missing; the header has 'id', 'Quizzes', 'note': say"),
        (["--json"], "--json prints the answers and --answers writes them as a table: give one of them"),
        (["--cycles"], "--cycles is for one puzzle: leave it out, or name one"),
        (["--row=2", "--cycles"], "--cycles is for people, not for --answers: leave it out"),
    ):
        code, _, err = command("--data", str(source), "--answers", str(out), *words, capsys=capsys)
        assert code == 2
        assert err.startswith(f"trm: error: {expected}")
    code, _, err = command(PUZZLE, "--columns=q,a", capsys=capsys)
    assert (code, err) == (2, "trm: error: --columns are of a table: name it by --data\n")


def test_answers_to_rows_that_contradict_themselves(tmp_path: Path) -> None:
    path = tmp_path / "puzzles.csv"
    path.write_text(f"puzzle\n{PUZZLE}\n11{'.' * 14}\n")
    with pytest.raises(DataError, match=r"puzzles\.csv: row 3, column puzzle: digit 1 stands twice in row 1"):
        read_tasks(SUDOKU_RUN, Request(data=str(path), answers=path))


def test_the_experiments_own_held_out_puzzles_have_rows(tmp_path: Path) -> None:
    experiment = experiment_of("sudoku", 16, 6, test=str(table(tmp_path)))

    assert SUDOKU.text(read_tasks(experiment, Request(row=3))[1][0].question) == PUZZLE


def test_rows_that_are_not_there(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path)

    for words, expected in (
        (["--row=4"], f"{path}: no row 4: the last is 3, as the lines of the file are counted"),
        (["--row=1"], f"{path}: row 1, as lines are counted, holds no puzzle; the next is row 2"),
        (
            ["--row=0"],
            "argument --row: there is no row 0: the line of a table's file, as an editor counts; in a folder",
        ),
        (["--row=-1"], "argument --row: '-1' is no whole number of at least 1"),
        ([PUZZLE, "--row=1"], "two puzzles are named, one by its characters and one by --data or --row: give one"),
        ([PUZZLE], "two puzzles are named, one by its characters and one by --data or --row: give one of them"),
    ):
        code, out, err = command(*words, f"--data={path}", capsys=capsys)
        assert (code, out) == (2, "")
        assert err.startswith(f"trm: error: {expected}")
    code, out, err = command("--row=2", capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith("trm: error: the experiment has no held-out puzzles of its own")
    assert not fake.calls


def arc_folder(path: Path, ids: Sequence[int], wrong: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """A dataset folder of ARC examples, each a puzzle of its own with one of these ids."""
    rng = np.random.default_rng(0)
    grids = rng.integers(0, 10, (2, len(ids), 3, 4)).astype(np.uint8)
    inputs, labels = (np.stack([arc.encode(grid) for grid in part]) for part in grids)
    if wrong is not None:
        inputs[wrong] = 99
    folder = path / "test"
    folder.mkdir(parents=True)
    starts = np.arange(len(ids) + 1, dtype=np.int32)
    for name, array in (
        ("inputs", inputs),
        ("labels", labels),
        ("puzzle_identifiers", np.array(ids, np.int32)),
        ("puzzle_indices", starts),
        ("group_indices", starts),
    ):
        np.save(folder / f"all__{name}.npy", array)
    about = {
        "seq_len": 900, "vocab_size": 12, "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0,
        "num_puzzle_identifiers": 5, "total_groups": len(ids), "mean_puzzle_examples": 1.0,
        "total_puzzles": len(ids), "sets": ["all"],
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(about))
    return inputs, labels


def test_a_row_of_arc_keeps_its_puzzle_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, labels = arc_folder(tmp_path / "arc", [3, 1, 4])
    experiment = experiment_of("arc", 900, 12)
    fake = Fake(monkeypatch, experiment)
    right = arc.crop(labels[2])
    text = "/".join("".join(map(str, row)) for row in right.tolist())
    fake.answers([[text]])

    code, out, _ = command("--data", str(tmp_path / "arc"), "--row=3", "--cycles", capsys=capsys)

    assert fake.calls[-1][1:] == ([inputs[2].tolist()], [4])
    assert fake.traced[-1][1] == 4
    assert code == 0
    assert out.endswith(f"\nsolved at supervision step 1, cycle 1: {text}\nthe answer equals the known one\n")
    assert read_tasks(experiment, Request(data=str(tmp_path / "arc"), row=1))[1][0].puzzle_id == 3
    # One colour off, and it is not solved.
    fake.answers([[str((int(text[0]) + 1) % 10) + text[1:]]])
    code, out, _ = command("--data", str(tmp_path / "arc"), "--row=3", capsys=capsys)
    assert code == 1
    assert "\nnot solved: the last answer is not the known one" in out
    labelled = 3 * 4 + 3 + 4
    assert out.endswith(f"the answer differs from the known one in 1 of {labelled} cells\n")
    # An ARC grid by its characters has no id, and nothing to check it by.
    code, out, _ = command("01/23", capsys=capsys)
    assert code == 0
    assert "\nnot checked, since no rules are known for puzzles of kind 'arc', and no label for this one: " in out
    assert fake.calls[-1][2] == [0]
    code, out, err = command("01/23", "--quiet", capsys=capsys)
    assert (code, out.count("\n")) == (0, 1)
    assert err == "not checked: there are no rules and no known answer to check it by\n"


def test_puzzles_of_another_size_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arc_folder(tmp_path / "arc", [3, 1, 4])
    Fake(monkeypatch, experiment_of("tokens", 16, 6))

    code, out, err = command("--data", str(tmp_path / "arc"), capsys=capsys)
    assert (code, out) == (2, "")
    assert "puzzles with 900 cells, the model takes 16" in err
    code, out, err = command(" ".join(["3"] * 15 + ["6"]), capsys=capsys)
    assert (code, out) == (2, "")
    assert err == "trm: error: puzzle: token 6, but the model takes 0 to 5\n"
    Fake(monkeypatch, experiment_of("sudoku", 16, 9))
    code, out, err = command(PUZZLE, capsys=capsys)
    assert (code, out) == (2, "")
    assert err == "trm: error: sudoku: 6 kinds of token, but the model takes 9\n"


def test_a_row_that_contradicts_itself_is_told_with_its_number(tmp_path: Path) -> None:
    arc_folder(tmp_path / "set", [1, 2])
    folder = tmp_path / "set" / "test"
    inputs = np.full((2, 16), 1, np.uint8)
    inputs[1, :2] = 3
    np.save(folder / "all__inputs.npy", inputs)
    np.save(folder / "all__labels.npy", np.zeros((2, 16), np.uint8))
    about = json.loads((folder / "dataset.json").read_text()) | {"seq_len": 16, "vocab_size": 6}
    (folder / "dataset.json").write_text(json.dumps(about))

    with pytest.raises(DataError) as caught:
        read_tasks(SUDOKU_RUN, Request(data=str(tmp_path / "set"), row=2))

    assert str(caught.value).startswith(
        f"{tmp_path / 'set'}: row 2 is no puzzle of kind 'sudoku' (puzzle: digit 2 stands twice"
    )


# ---- what is printed, and what is returned ----


@pytest.mark.parametrize(("answer", "code"), [(SOLVED, 0), (WRONG, 1), (FORGETFUL, 1), ("." * 16, 1)])
def test_the_exit_code_says_whether_the_last_answer_keeps_rules_and_clues(
    answer: str, code: int, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.answers([[SOLVED, answer]])

    assert command(PUZZLE, "--quiet", capsys=capsys) == (code, f"{answer}\n", "")
    assert fake.calls[-1][0].depths == (1, 2)
    told, out, _ = command(PUZZLE, "--steps=7", capsys=capsys)
    assert told == code
    assert out.startswith("question\n 1 2 | . .\n")
    assert fake.calls[-1][0].depths == (1, 2, 3, 4, 5, 6, 7)


def test_another_right_answer_than_the_known_one_is_right(
    tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "open.csv"
    path.write_text(f"question,answer\n{'.' * 16},{SOLVED}\n")
    fake.answers([[FORGETFUL]])

    code, out, _ = command("--data", str(path), capsys=capsys)

    assert code == 0
    assert out.endswith(f"1: {FORGETFUL}\nthe answer differs from the known one in 16 of 16 cells\n")


def test_effort_reaches_the_model(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[WRONG], [WRONG], [WRONG]])

    command(
        PUZZLE, "--steps=3", "--halting", "--halt-above=1.5", "--attempts=3", "--start-noise=0.5",
        "--latent-noise=0.25", "--symmetries", "--seed=7", capsys=capsys,
    )  # fmt: skip

    assert fake.calls[-1][0] == Effort(
        (1, 2, 3), halting=True, halt_above=1.5, attempts=3, start_noise=0.5, latent_noise=0.25, symmetries=True, seed=7
    )
    assert not fake.traced  # no cycles are asked for


def test_attempts_are_listed_and_one_is_shown(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[WRONG, WRONG], [WRONG, SOLVED], [WRONG, WRONG]], [[2.0, 3.0], [-1.0, 1.0], [-1.0, -2.0]])
    several = ("--attempts=3", "--latent-noise=0.1")

    code, out, _ = command(PUZZLE, *several, capsys=capsys)

    assert code == 0
    assert out.startswith(
        "attempt 1: halted at step 1, q_halt +3.00 (95% sure), change 0.500, breaks the rules\n"
        "attempt 2: halted at step 2, q_halt +1.00 (73% sure), change 0.500, keeps the rules\n"
        "attempt 3: did not halt, q_halt -2.00 (12% sure), change 0.500, breaks the rules\n"
        "attempt 2 is shown, selected by rules\n"
        "\n"
        "question\n"
    )
    assert "supervision step 2: 1 cell changed, q_halt +1.00 (73% sure), change 0.500, keeps the rules" in out
    for rule, shown, code in (("q", 1, 1), ("first", 1, 1), ("vote", 1, 1), ("rules", 2, 0)):
        told, out, _ = command(PUZZLE, *several, f"--select={rule}", "--cycles", capsys=capsys)
        assert told == code
        assert f"\nattempt {shown} is shown, selected by {rule}\n" in out
        assert fake.traced[-1][2] == shown - 1
    assert command(PUZZLE, *several, "--quiet", capsys=capsys) == (0, f"{SOLVED}\n", "")


def test_cycles_and_pictures_come_from_the_trace(
    tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, gif = tmp_path / "x.png", tmp_path / "x.gif"

    code, out, err = command(PUZZLE, "--cycles", f"--picture={picture}", f"--gif={gif}", capsys=capsys)

    assert (code, err) == (0, f"wrote {picture}\nwrote {gif}\n")
    assert "cycle 1: 3 changed       cycle 2: 0 changed" in out
    assert out.endswith(f"solved at supervision step 2, cycle 1: {SOLVED}\n")
    with Image.open(gif) as image:
        assert image.n_frames == 1 + 2 * 2  # type: ignore[attr-defined]
    with Image.open(picture) as image:
        tall = image.size
    command(PUZZLE, f"--picture={picture}", capsys=capsys)
    with Image.open(picture) as image:
        assert image.size[1] < tall[1] / 2
    assert len(fake.traced) == 1


def test_a_trace_that_went_elsewhere_is_told(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = fake._trace

    def elsewhere(*args: Any) -> Trace:
        found = trace(*args)
        found.tokens[-1] = SUDOKU.parse(WRONG)
        return found

    monkeypatch.setattr(solve, "trace", elsewhere)

    code, out, err = command(PUZZLE, "--cycles", capsys=capsys)

    assert code == 0
    assert out.endswith(f"solved at supervision step 2, cycle 2: {SOLVED}\n")
    assert err.startswith("the cycles shown are those of a repetition")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--attempts=2"], "2 attempts would all be the same: let them differ by --start-noise, --latent-n"),
        (["--symmetries"], "the first attempt has neither noise nor symmetries: give --attempts of at least 2"),
        (["--latent-noise=1"], "the first attempt has neither noise nor symmetries: give --attempts of at least 2"),
        (["--start-noise=nan"], "argument --start-noise: 'nan' is no standard deviation"),
        (["--seed=-1"], "argument --seed: '-1' is no whole number"),
        (["--select=rule"], "--select=rule is unknown"),
        (["--rules=no.py"], "--rules no.py: no such file"),
        (["--halt-above=2"], "--halt-above says when an attempt halts: give --halting with it"),
        (["--nodes=9"], "--nodes limits a complete search: give --complete with it"),
        (["--gif=no/x.gif"], "argument --gif: no/x.gif cannot be written: there is no folder no"),
    ],
)
def test_what_cannot_be_asked_for(
    words: list[str], expected: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(PUZZLE, *words, capsys=capsys)

    assert (code, out) == (2, "")
    assert err.startswith(f"trm: error: {expected}")
    assert err.count("\n") == 1
    assert not fake.calls


def test_rules_are_for_grids_alone(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.py"
    file.write_text("def check(question, answer):\n    return True\n")

    code, out, err = command(PUZZLE, f"--rules={file}", capsys=capsys)

    assert (code, out) == (2, "")
    assert err == "trm: error: puzzles of kind 'sudoku' take no --rules: only those of kind 'grid' do\n"


# ---- certifying ----


def grids_in(text: str) -> int:
    """How many lines look like a row of a 4x4 grid or like a whole one."""
    return sum(sum(char in "1234." for char in line.split(":")[-1]) >= 4 for line in text.splitlines())


def test_certifying_finds_the_one_right_answer_wherever_it_stands(
    fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        for step in range(4):
            texts = [[WRONG, FORGETFUL, WRONG, "." * 16] for _ in range(3)]
            texts[number][step] = SOLVED
            # However sure the wrong ones are.
            fake.answers(texts, [[-9.0 if text == SOLVED else 9.0 for text in row] for row in texts])
            words = (PUZZLE, "--certify", "--steps=4", "--attempts=3", "--latent-noise=1")

            code, out, _ = command(*words, capsys=capsys)

            assert code == 0
            assert out == (
                " 1 2 | 3 4\n 3 4 | 1 2\n-----+-----\n 2 1 | 4 3\n 4 3 | 2 1\n"
                f"verified, from supervision step {step + 1} of attempt {number + 1}: {SOLVED}\n"
            )
            assert command(*words, "--quiet", capsys=capsys) == (0, f"{SOLVED}\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--certify", "--cycles"], "--certify shows the answer that keeps the rules and no other: leave out --cycles"),
        (
            ["--certify", "--select=vote", "--attempts=2", "--latent-noise=1"],
            "--certify takes the first answer that keeps the rules, of any attempt: leave out --select",
        ),
        (["--select=vote"], "--select vote chooses among attempts: give --attempts of at least 2 with it"),
        (
            ["--quiet", "--cycles"],
            "--quiet prints the last answer alone: leave out --cycles, or draw them with --picture",
        ),
        (["--calls=9"], "--calls is for models of candidates, which search, and this is none: leave it out"),
        (["--seconds=9"], "--seconds is for models of candidates, which search, and this is none: leave it out"),
        (["--chains=9"], "--chains is for models of candidates, which search, and this is none: leave it out"),
    ],
)
def test_switches_that_would_be_ignored_are_refused(
    words: list[str], told: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(PUZZLE, *words, capsys=capsys) == (2, "", f"trm: error: {told}\n")


@pytest.mark.parametrize("asked", ["solve", "eval"])
def test_switches_of_attempts_mean_nothing_to_a_search(
    asked: str, fake: Fake, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    searching = replace(SUDOKU_RUN, model=replace(SUDOKU_RUN.model, states="candidates"))
    monkeypatch.setattr(solve, "load", lambda *_: (searching, None))
    monkeypatch.setattr(sources, "load", lambda *_: (searching, None))
    words = {
        "--steps": ["--steps=3"],
        "--halting": ["--halting"],
        "--halt-above": ["--halt-above=1"],
        "--attempts": ["--attempts=2", "--symmetries"],
        "--start-noise": ["--start-noise=1"],
        "--select": ["--select=vote"],
    }
    endings = {"gif": "gif"} if asked == "solve" else {"table": "csv", "plot": "png", "submission": "json"}
    words |= {f"--{name}": [f"--{name}={tmp_path / 'x'}.{ending}"] for name, ending in endings.items()}
    words |= (
        {"--cycles": ["--cycles"]}
        if asked == "solve"
        else {"--puzzle-ids": ["--puzzle-ids=blank"], "--pool": ["--pool=x"]}
    )
    for name, switch in words.items():
        capsys.readouterr()
        assert main([asked, "anywhere", *([PUZZLE] if asked == "solve" else []), *switch]) == 2
        assert capsys.readouterr().err == (
            f"trm: error: {name} means nothing to a model of candidates, which searches: leave it out; "
            "--calls, --seconds, --chains and --seed say how\n"
        )


def test_certifying_never_prints_a_wrong_grid(tmp_path: Path, fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[WRONG, FORGETFUL], ["." * 16, WRONG]], [[9.0, 9.0], [9.0, 9.0]])
    words = (PUZZLE, "--certify", "--attempts=2", "--latent-noise=1")
    picture, gif = tmp_path / "x.png", tmp_path / "x.gif"

    code, out, err = command(*words, f"--picture={picture}", f"--gif={gif}", capsys=capsys)

    assert (code, err) == (1, f"wrote {picture}\nwrote {gif}\n")
    assert out == "not solved: no answer in 2 attempts of up to 2 supervision steps keeps the rules\n"
    assert grids_in(out) == 0
    assert command(*words, "--quiet", capsys=capsys) == (1, "not solved\n", "")
    # The pictures hold the question, and nothing else.
    only = tmp_path / "only.png"
    pictures.draw_thoughts(only, SUDOKU, SUDOKU.parse(PUZZLE), [], f"{RUN}, averaged weights")
    assert picture.read_bytes() == only.read_bytes()
    with Image.open(gif) as image:
        assert getattr(image, "n_frames", 1) == 1


def test_pictures_of_a_certified_answer_show_no_other(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[Any] = []
    for name in ("draw_thoughts", "animate_thoughts"):
        monkeypatch.setattr(pictures, name, lambda path, kind, question, rows, *_, **__: drawn.append(rows))
    fake.answers([[WRONG, SOLVED, WRONG]])

    code, _, _ = command(
        PUZZLE, "--certify", "--steps=3", f"--picture={tmp_path}/x.png", f"--gif={tmp_path}/x.gif", capsys=capsys
    )

    assert code == 0
    assert [[SUDOKU.text(row.tokens) for row in rows] for rows in drawn] == [[SOLVED], [SOLVED]]
    assert np.flatnonzero(drawn[0][0].changed).tolist() == [2, 3, 7]
    assert not fake.traced


def test_certifying_needs_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for puzzle, cells, vocab_size, question in (
        ("arc", 900, 12, "01"),
        ("tokens", 4, 9, "1 2 3 4"),
        (GRID, 4, 4, "ab.."),
    ):
        fake = Fake(monkeypatch, experiment_of(puzzle, cells, vocab_size))
        for word in ("--certify", "--select=rules"):
            code, out, err = command(question, word, capsys=capsys)
            assert (code, out) == (2, "")
            assert "--rules" in err
            assert err.startswith(f"trm: error: {word} needs rules to check answers by; puzzles of kind ")
            assert err.count("\n") == 1
        assert not fake.calls


def test_a_grid_is_certified_by_the_rules_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake(monkeypatch, experiment_of(GRID, 4, 4))
    file = tmp_path / "rules.py"
    file.write_text("def check(question, answer):\n    print('checking')\n    return answer == 'abba'\n")
    fake.answers([["abab", "abba", "abab"]])
    words = ("ab..", "--steps=3", f"--rules={file}")

    code, out, err = command(*words, "--certify", "--quiet", capsys=capsys)
    assert (code, out) == (0, "abba\n")
    assert "checking" in err
    code, out, _ = command(*words, capsys=capsys)
    assert code == 1
    assert "not solved: the last answer breaks the rules" in out
    fake.answers([["abab"]])
    assert command(*words, "--certify", "--quiet", capsys=capsys)[:2] == (1, "not solved\n")
    # Rules that fail are an error, not a verdict; and so are rules that say something else than True or False.
    for body in ("1 / 0", "return 'no'"):
        file.write_text(f"def check(question, answer):\n    {body}\n")
        code, out, err = command(*words, "--certify", capsys=capsys)
        assert (code, out) == (2, "")
        assert err.startswith(f"trm: error: --rules {file}: check ")


# ---- with a model ----


def test_with_a_model_ids_and_attempts_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ModelConfig(
        vocab_size=6, seq_len=16, num_puzzles=5, width=16, heads=2, layers=1, latent_steps=1, cycles=2, puzzle_dim=16,
        puzzle_tokens=0, supervision_steps=2, mixer="mlp", positions="none", dtype="float32",
    )  # fmt: skip
    model = Model(config)
    fresh = jax.jit(model.init)(jax.random.key(0))
    assert fresh.puzzle_table is not None
    weights = Weights(fresh.params, fresh.starts, jax.random.normal(jax.random.key(1), fresh.puzzle_table.shape))
    experiment = Experiment(model=config, data=DataConfig(puzzle="tokens"))
    monkeypatch.setattr(solve, "load", lambda source: (experiment, weights))
    arc_folder(tmp_path / "set", [1, 4])
    folder = tmp_path / "set" / "test"
    np.save(folder / "all__inputs.npy", np.full((2, 16), 3, np.uint8))
    np.save(folder / "all__labels.npy", np.full((2, 16), 2, np.uint8))
    about = json.loads((folder / "dataset.json").read_text()) | {"seq_len": 16, "vocab_size": 6}
    (folder / "dataset.json").write_text(json.dumps(about))
    words = ("--data", str(tmp_path / "set"), "--quiet")
    kind, question = kind_of("tokens", 16), np.full((1, 16), 3, np.int32)

    lines = []
    for row, puzzle_id in ((0, 1), (1, 4)):
        (found,) = attempt(model, weights, Effort((1, 2)), question, np.array([puzzle_id], np.int32), 1)
        code, out, _ = command(*words, f"--row={row + 1}", capsys=capsys)
        assert (code, out) == (1, kind.text(found.answers[0, 0, -1]) + "\n")
        lines.append(out)
    assert lines[0] != lines[1]
    several = ("--attempts=3", "--latent-noise=2", "--cycles", "--row=1", "--select=q", f"--gif={tmp_path / 'x.gif'}")
    code, out, err = command(*words[:2], *several, capsys=capsys)
    assert (code, err) == (1, f"wrote {tmp_path / 'x.gif'}\n")
    assert out.count("attempt ") == 4
    assert out.count("cycle 2: ") == 2
    assert command(*words[:2], *several, capsys=capsys) == (code, out, err)  # the same again


def test_run_raises_what_the_command_line_tells(fake: Fake) -> None:
    assert run(RUN, Request(PUZZLE, quiet=True)) is True
    with pytest.raises(ConfigError):
        run(RUN, Request(PUZZLE, effort=Effort((1,), symmetries=True)))


# ---- seeing why ----


def test_cells_are_told_after_the_answer(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[SOLVED, WRONG, WRONG]])

    code, out, _ = command(PUZZLE, "--cells", "--steps=3", capsys=capsys)

    assert code == 1
    assert out.endswith(
        "step that decided         changes after the first\n"
        " . . | 2 1                 . . | 1 0\n"
        " . . | . 1                 . . | . 0\n"
        "-----+-----               -----+-----\n"
        " . . | . .                 . . | . .\n"
        " . . | . .                 . . | . .\n"
        "\n"
        "1 cell wrong in the end; the first for good is r1c3, from supervision step 2 on, which ends as 4 "
        "instead of 3\n"
        "no 4 at r1c3: r3c3 = 4 stands in the same line\n"
    )
    fake.answers([[SOLVED]])
    assert command(PUZZLE, "--cells", capsys=capsys)[1].endswith(" . . | . .                 . . | . .\n")
    # Of a puzzle that has no answer, or several, no cell is the wrong one.
    fake.answers([[WRONG]])
    for puzzle, number in (("1" + "." * 15, "has several answers"), ("12.. ...3 .... ...4", "has no answer")):
        assert f"the puzzle {number}, by complete search: no cell is" in command(puzzle, "--cells", capsys=capsys)[1]


def test_cells_are_told_as_json(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[SOLVED, WRONG, WRONG]])
    code, out, _ = command(PUZZLE, "--cells", "--steps=3", "--json", capsys=capsys)
    assert code == 1
    (told,) = json.loads(out)
    assert told["decided_at"] == [[1, 1, 2, 1], [1] * 4, [1] * 4, [1] * 4]
    assert told["changes"] == [[0, 0, 1, 0], [0] * 4, [0] * 4, [0] * 4]
    assert told["first_mistake"] == {"place": [1, 3], "step": 2, "wrong_cells": 1, "against": [[3, 3]]}
    fake.answers([[SOLVED]])
    (told,) = json.loads(command(PUZZLE, "--cells", "--json", capsys=capsys)[1])
    assert "first_mistake" not in told
    assert "decided_at" not in json.loads(command(PUZZLE, "--json", capsys=capsys)[1])[0]


def test_latents_are_shown_by_steps_and_by_cycles(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.answers([[WRONG, SOLVED]])
    for words, times in (((), 2), (("--cycles",), 4)):
        out = command(PUZZLE, "--latents", *words, capsys=capsys)[1]
        assert out.count("z, latent step 2") == times
        assert fake.traced.pop()[1:] == (0, 0)


def test_why_is_told_and_drawn(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def why(model: Any, weights: Any, kind: Kind, question: Tokens, cell: int, steps: int, puzzle_id: int) -> Why:
        asked.append((cell, steps, puzzle_id))
        one = np.array([1.0], np.float32)
        return Why(cell, 4, 2.0, np.array([0]), one, np.array([4], np.int32))

    monkeypatch.setattr(explaining, "why", why)
    panels: list[Any] = []
    monkeypatch.setattr(pictures, "draw_thoughts", lambda *_, panels: panels_of(panels))

    def panels_of(given: Any) -> None:
        panels.extend(panel.title for panel in given)

    picture = f"--picture={tmp_path}/x.png"
    code, out, _ = command(PUZZLE, "--why=1,3", "--cells", "--steps=3", picture, capsys=capsys)

    assert (code, asked) == (0, [(2, 3, 0)])
    assert out.endswith(
        "\nwhy 3 at r1c3: after supervision step 3 it leads the next best by 2.00; what each clue adds to that, "
        "and its share:\n  r1c1 = 1      1.00  100%\n"
    )
    assert panels == ["step that decided", "changes after the first", "what 3 at r1c3 rests on"]
    assert command(PUZZLE, "--why=1,3", "--quiet", picture, capsys=capsys)[1] == f"{SOLVED}\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--why=5,1"], "row 5, column 1: the board has rows 1 to 4 and columns 1 to 4"),
        (["--why=1,1"], "row 1, column 1 is a clue: name a cell that the model fills"),
        (["--why=0,1"], "argument --why: '0' is no whole number of at least 1 (see `trm solve --help`)"),
        (["--why=3"], "argument --why: '3' is no cell: give ROW,COLUMN, both from 1, such as 2,5"),
        (["--why=1,3", "--json"], "--why is for people, not for --json: leave it out"),
        (["--latents", "--json"], "--latents is for people, not for --json: leave it out"),
        (["--why=1,3", "--attempts=2", "--latent-noise=1"], "--why tells of the first attempt: leave out --attempts"),
        (["--why=1,3", "--complete"], "--why tells of the first attempt: leave out --attempts and --complete"),
        (["--cells", "--complete"], "--cells is for one puzzle, or for --json: leave it out, or print"),
        (["--cells", "--certify"], "--certify shows the answer that keeps the rules and no other: leave out --cells"),
        (["--latents", "--quiet"], "--quiet prints the last answer alone: leave out --latents, or draw them with"),
        (["--why=1,3", "--quiet"], "--quiet prints the last answer alone: leave out --why, or draw it with"),
    ],
)
def test_what_cannot_be_explained_is_told(
    words: list[str], told: str, fake: Fake, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(PUZZLE, *words, capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"trm: error: {told}")
    assert err.count("\n") == 1
    assert not fake.calls


def test_a_model_of_candidates_has_no_latents(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    searching = replace(SUDOKU_RUN, model=replace(SUDOKU_RUN.model, states="candidates"))
    monkeypatch.setattr(solve, "load", lambda *_: (searching, None))
    assert command(PUZZLE, "--latents", capsys=capsys) == (
        2,
        "",
        "trm: error: --latents: a model of candidates has no latent z: leave it out; --picture draws the candidates "
        "that each call leaves\n",
    )


@pytest.mark.slow
def test_a_search_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "x.png"
    assert main(["solve", "sudoku-extreme", PUZZLE, "--cells", "--why=1,3", f"--picture={picture}"]) == 0
    out = capsys.readouterr().out
    assert "\ncall that decided\n . . | 1 1\n . . | . 1\n" in out
    assert "why 3 at r1c3: after the first call it leads the next best by" in out
    assert picture.stat().st_size > 1000
    assert main(["solve", "sudoku-extreme", PUZZLE, "--cells", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["decided_at"][0] == [1, 1, 1, 1]
    assert "changes" not in told
