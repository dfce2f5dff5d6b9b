"""`trm eval --stress` as a person meets it: one table, its JSON, its folders, and nonsense in one line."""

import json
from pathlib import Path

import jax
import pytest
import small_run
from places import ROOT

from trm_jax.commands.cli import main
from trm_jax.data.folder_writer import Writer
from trm_jax.errors import DataError
from trm_jax.library.solver import Solver
from trm_jax.model.model import Model
from trm_jax.puzzles import maze_generator
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.entry import Said, entry

MAZE = kind_of("maze", 25)
COUNT = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of mazes with a puzzle table that nobody has trained, and mazes of three tasks."""
    folder = tmp_path_factory.mktemp("stress")
    questions, answers = maze_generator.generate(COUNT, (5, 5), 0, min_length=4)
    with Writer(folder / "mazes", 25, 6, puzzle=MAZE.to_dict()) as writer:
        for i, pair in enumerate(zip(questions, answers, strict=True)):
            writer.split("test").add(*(side[None] for side in pair), [1], [1 + i % 3])
        writer.finish(["<blank>", "a", "b", "c"])
    experiment = small_run.experiment(
        model__vocab_size=6,
        model__seq_len=25,
        model__num_puzzles=4,
        model__supervision_steps=2,
        data__puzzle="maze",
        data__train=str(folder / "mazes"),
        data__test=str(folder / "mazes"),
    )
    Solver(experiment, jax.jit(Model(experiment.model).init)(jax.random.key(0))).save(folder / "run")
    return folder


def test_mazes_and_ids_are_told_in_one_table_and_saved(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--devices=1", str(place / "run"), str(place / "mazes")]
    out, path = tmp_path / "saved", tmp_path / "figures.json"
    assert main([*words, "--stress", "--stress-seed=5", "--stress-save", str(out), "--json", str(path)]) == 0
    printed, told = capsys.readouterr()
    figures = json.loads(path.read_text())
    rows = {row["name"]: row for row in figures["rows"]}
    assert list(rows)[:3] == ["plain", "blocked_way", "two_goals"]
    assert list(rows)[-1] == "wrong_id"
    assert rows["blocked_way"]["valid"]["value"] == 0
    assert rows["blocked_way"]["answers"] == {"none": COUNT}
    assert rows["two_goals"]["exact"] is None
    assert rows["wrong_id"]["exact"] is not None
    lines = {line.split()[0]: line.split() for line in printed.splitlines() if line.strip()}
    for name, row in rows.items():
        assert lines[name][1] == str(row["puzzles"])
        assert f"{row['q']:.3f}" in lines[name]
        assert f"{name}: {row['about']}" in printed
    assert "left out: perturbed clues: mazes have none" in printed
    assert (figures["seed"], figures["puzzles"]) == (5, COUNT)
    assert figures["how"]["depths"] == [2]
    assert f"wrote {out}" in told
    assert main([*words, "--stress", "--stress-save", str(out)]) == 2
    assert f"trm: error: {out}: exists already: remove it or give another name" in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_saved_is_evaluated_as_any_folder_is(place: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "saved", tmp_path / "figures.json"
    words = ["eval", "--devices=1", str(place / "run")]
    assert main([*words, str(place / "mazes"), "--stress", "--stress-save", str(out), "--json", str(path)]) == 0
    for row in json.loads(path.read_text())["rows"]:
        assert main([*words, str(out / row["name"]), "--json", str(path)]) == 0
        again = json.loads(path.read_text())["rows"][0]
        if row["exact"] is None:
            assert again["valid"]["value"] == 0
        else:
            assert again["exact"]["value"] == row["exact"]["value"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--stress", "--pool", "other"], "--pool is not of a stress test: leave out either"),
        (["--stress", "--table=a.csv"], "--table is not of a stress test: leave out either"),
        (["--stress", "--plot=a.png"], "--plot is not of a stress test: leave out either"),
        (["--stress", "--submission=a.json"], "--submission is not of a stress test: leave out either"),
        (["--stress", "--puzzle-ids=blank"], "--puzzle-ids: a stress test has a row for wrong ids: leave it out"),
        (["--stress", "--steps=1,2"], "--steps=1,2: a stress test takes one number of supervision steps: give one"),
        (["--stress", "--select=vote"], "--select vote chooses among attempts: give --attempts of at least 2 with it"),
        (["--stress", "--calls=9"], "--calls is for models of candidates, which search, and this is none: leave it"),
        (["--stress", "--stress-seed=-1"], "argument --stress-seed: '-1' is no whole number from 0 to"),
        (["--stress-seed=3"], "--stress-seed is of a stress test: give --stress with it"),
        (["--stress-save=there"], "--stress-save is of a stress test: give --stress with it"),
    ],
)
def test_what_means_nothing_is_refused(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--devices=1", "sudoku-4x4", *words]) == 2
    assert f"trm: error: {line}" in capsys.readouterr().err


def test_a_model_that_searches_takes_its_budget_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--devices=1", "sudoku-extreme", "--stress", "--steps=3"]) == 2
    assert "trm: error: --steps means nothing to a model of candidates, which searches" in capsys.readouterr().err


def test_the_ledger_takes_none_of_these_figures() -> None:
    figures = ROOT / "benchmarks" / "results" / "stress_sudoku-4x4.json"
    with pytest.raises(DataError, match="figures of a stress test, of which the ledger holds none: evaluate without"):
        entry(Path("runs/demo"), figures, Said(), None)
