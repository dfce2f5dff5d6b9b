"""`trm calibrate`, and what it is for, as a person meets it: answers or "not sure", figures, nonsense in one line."""

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import ROOT

from trm_jax.commands import solve_several
from trm_jax.commands.cli import main
from trm_jax.errors import DataError
from trm_jax.inference import confidence, stress
from trm_jax.inference.attempts import Attempts
from trm_jax.runs import calibration, shipped
from trm_jax.runs.entry import Said, entry

COUNT = 240
# Of so many puzzles one is answered wrong, and its margin tells.
EACH = 8
MODEL, CALIBRATION = "model.safetensors", "model.calibration.json"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated Sudokus, 4x4, and a model in a file."""
    folder = tmp_path_factory.mktemp("calibrate")
    words = ["data", "sudoku", str(folder / "held.csv"), "--box=2x2", f"--generate={COUNT}", "--minimal", "--workers=1"]
    assert main(words) == 0
    shutil.copy(shipped.path_of("sudoku-4x4"), folder / MODEL)
    return folder


@pytest.fixture(scope="module")
def tried(place: Path) -> Iterator[None]:
    """A network in place of the model's that knows all answers but each eighth, and leads there by less."""
    with (place / "held.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = {row["question"]: (number % EACH == 0, row["answer"]) for number, row in enumerate(rows)}

    def attempt(model: Any, weights: Any, effort: Any, inputs: Any, ids: Any, batch: int, kind: Any, *rest: Any) -> Any:
        found = [known.get(kind.text(np.asarray(question)), (True, "1" * 16)) for question in inputs]
        wrong = np.array([each[0] for each in found])
        tokens = np.stack([kind.parse("1" * 16 if bad else text) for bad, text in found])
        n, D = len(inputs), len(effort.depths)
        by_step = np.ones((n, 1, effort.steps), np.float32)
        margin = by_step * (1 + 8 * ~wrong + np.arange(n) % 5)[:, None, None].astype(np.float32)
        steps = np.full((n, 1), effort.steps, np.int32)
        answers = np.repeat(tokens[:, None, None], D, axis=2)
        yield Attempts(effort, 0, answers, by_step, by_step, margin, 0 * steps, steps)

    with pytest.MonkeyPatch.context() as patch:
        for module in (confidence, solve_several, stress):
            patch.setattr(module, "attempt", attempt)
        yield


@pytest.fixture(scope="module")
def calibrated(place: Path, tried: None) -> Path:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        assert main(["calibrate", "--devices=1", str(place / MODEL), str(place / "held.csv"), "--confidence=0.96"]) == 0
    printed = out.getvalue()
    assert "240 puzzles, 87.50% solved" in printed
    assert "fitted on 80, weights of the standardised signals: q +0.00, rest +0.00, margin +" in printed
    assert "with probability 0.95 all of these hold:" in printed
    assert f"calibrated: `trm solve {place / MODEL} --confidence P` answers, or is not sure" in printed
    assert f"wrote {place / CALIBRATION}" in err.getvalue()
    return place


def test_answers_are_given_or_one_is_not_sure(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["solve", str(calibrated / MODEL), "--confidence=0.96"]
    with (calibrated / "held.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert main([*words, rows[1]["question"]]) == 0
    told = capsys.readouterr()
    assert told.out == f"{rows[1]['answer']}\n"
    assert "sure of 1 of 1 puzzle at confidence 0.96" in told.err
    assert main([*words, rows[0]["question"]]) == 3
    told = capsys.readouterr()
    assert told.out == "not sure\n"
    assert "sure of 0 of 1 puzzle at confidence 0.96; not sure: 1" in told.err
    assert main([*words, "--json", "--data", str(calibrated / "held.csv"), "--row=2"]) == 3
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["answer"], found["right"]) == (None, None)
    assert found["confidence"] < 0.5
    table = calibrated / "answers.csv"
    assert main([*words, "--quiet", "--data", str(calibrated / "held.csv"), "--answers", str(table)]) == 3
    with table.open() as file:
        answers = list(csv.DictReader(file))
    assert [bool(row["answer"]) for row in answers] == [number % EACH > 0 for number in range(COUNT)]
    assert {row["right"] for row in answers} == {"yes", ""}


def test_an_answer_that_breaks_the_rules_is_not_given_however_sure(
    calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The calibration is made to trust everything."""
    path = calibrated / "trusting.json"
    told = json.loads((calibrated / CALIBRATION).read_text())
    told["confidence"]["bounds"] = [{"threshold": -1e9, "answered": 9, "wrong": 0, "most_wrong": 0.0}]
    path.write_text(json.dumps(told))
    with (calibrated / "held.csv").open() as file:
        question = next(csv.DictReader(file))["question"]
    words = ["solve", str(calibrated / MODEL), "--confidence=0.96", "--calibration", str(path), question]
    assert main(words) == 3
    assert capsys.readouterr().out == "not sure\n"


def test_what_it_is_worth_is_told_on_other_puzzles(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--devices=1", str(calibrated / MODEL), str(calibrated / "held.csv"), "--confidence=0.96"]
    figures = calibrated / "figures.json"
    assert main([*words, "--json", str(figures)]) == 0
    told = json.loads(figures.read_text())
    rows = {row["name"]: row for row in told["signals"]}
    assert rows["all"]["calibration"]["auroc"] == 1
    assert rows["q"]["aurc"] == pytest.approx(1 / EACH)
    assert told["asked"]["wrong"]["value"] == 0
    assert (told["reliability"], told["puzzles"], told["confidence"]) == (True, COUNT, 0.96)
    printed = capsys.readouterr().out
    assert "margin  1.000" in printed
    assert "AUROC 0.5 and AURC 12.5000% tell right from wrong no better than chance" in printed
    assert "--confidence 0.96" in printed
    assert "these are the puzzles of the calibration" in printed


@pytest.mark.slow
def test_a_stress_test_tells_what_would_have_been_given(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["eval", "--devices=1", str(calibrated / MODEL), str(calibrated / "held.csv"), "--stress", "--limit=24"]
    figures = calibrated / "stress.json"
    assert main([*words, "--confidence=0.96", "--json", str(figures)]) == 0
    told = json.loads(figures.read_text())
    rows = {row["name"]: row for row in told["rows"]}
    assert (rows["plain"]["sure"], rows["plain"]["false_sure"]["value"]) == (1 - 1 / EACH, 0)
    assert (rows["unsolvable"]["sure"], rows["unsolvable"]["false_sure"]["value"]) == (0, 0)
    assert told["auroc"]["confidence"] > 0.9
    assert "false, sure" in capsys.readouterr().out
    assert main([*words, "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["rows"][0]["sure"] is None
    assert "sure" not in capsys.readouterr().out


def test_weights_that_changed_are_told(calibrated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(calibrated / "other.json")
    told = (calibrated / CALIBRATION).read_text()
    Path(path).write_text(told.replace(shipped.card("sudoku-4x4").sha256, "0" * 64))
    for words in (["solve", "sudoku-4x4", ".21....4.....1.."], ["eval", "--devices=1", "sudoku-4x4"]):
        assert main([*words, "--confidence=0.9", "--calibration", path]) == 2
        assert f"trm: error: {path}: a calibration of other weights than these: make it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["solve", "--confidence=0.96", "--steps=2"], "calibrated with steps 8 and not 2: ask in the same way, or"),
        (
            ["solve", "--confidence=0.999"],
            "confidence 0.999 cannot be promised: that takes at least 7,943 puzzles",
        ),
        (["solve", "--confidence=0.9", "--certify"], "--certify gives answers that keep the rules, which is certain"),
        (["solve", "--confidence=0.9", "--complete"], "--complete gives answers that keep the rules, which is certain"),
        (
            ["solve", "--confidence=0.9", "--picture=a.png"],
            "--picture shows an answer whether it is sure or not:",
        ),
        (["solve", "--confidence=0.9", "--cells"], "--cells is for one puzzle, or for --json: leave it out, or print"),
        (["solve", "--calibration=a"], "--calibration says how sure an answer is: give --confidence with it"),
        (["solve", "--confidence=0.9", "--calibration=a"], "a: no calibration there: make one with `trm calibrate`"),
        (["eval", "--calibration=a"], "--calibration says how sure an answer is: give --confidence with it"),
        (["eval", "--confidence=0.9", "--steps=1,3"], "--steps=1,3: a calibration is of one number of supervision"),
        (["eval", "--confidence=0.9", "--table=a.csv"], "--table does not go with --confidence: leave out either"),
        (["eval", "--confidence=0.9", "--puzzle-ids=blank"], "--puzzle-ids does not go with --confidence: leave out"),
        (["eval", "--confidence=1"], "argument --confidence: '1' is no share: give a number between 0 and 1, such as"),
        (["calibrate", "--confidence=nan"], "argument --confidence: 'nan' is no share: give a number between 0 and 1"),
        (
            ["calibrate"],
            "240 independent puzzles: to promise 0.99 takes at least 791: give more, or ask for less (0.9",
        ),
        (["calibrate", "--select=vote"], "--select vote chooses among attempts: give --attempts of at least 2 with it"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    words: list[str], line: str, calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = words
    puzzles = [".21....4.....1.."] if command == "solve" else [str(calibrated / "held.csv"), "--devices=1"]
    assert main([command, str(calibrated / MODEL), *puzzles, *rest]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert line in error
    assert error.startswith("trm: error: ")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["calibrate", "sudoku-4x4"], "sudoku-4x4 comes with the package: give --out FILE.json, and --calibration"),
        (["calibrate", "sudoku-extreme", "--out=c.json"], "sudoku-extreme: a model of candidates searches, and gives"),
        pytest.param(
            ["eval", "sudoku-extreme", "--confidence=0.9"],
            "--confidence means nothing to a model of candidates, which",
            marks=pytest.mark.slow,
        ),
        (["solve", "sudoku-4x4", ".21....4.....1..", "--confidence=0.9"], "no calibration there: make one with"),
    ],
)
def test_models_that_have_none_are_told(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not calibration.place("sudoku-4x4").exists()
    assert main(words) == 2
    assert line in capsys.readouterr().err


def test_the_ledger_takes_none_of_these_figures() -> None:
    figures = ROOT / "benchmarks" / "results" / "confidence_1_step.json"
    with pytest.raises(DataError, match="figures of a calibration, which no ledger holds: evaluate without --confid"):
        entry(Path("runs/demo"), figures, Said(), None)


def test_puzzles_of_another_kind_are_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.csv"
    assert main(["data", "sudoku", str(other), "--box=2x3", "--generate=4", "--workers=1"]) == 0
    assert main(["calibrate", str(place / MODEL), str(other)]) == 2
    assert "other.csv" in capsys.readouterr().err.splitlines()[-1]
