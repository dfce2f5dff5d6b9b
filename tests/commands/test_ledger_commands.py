"""`trm ledger` as a person meets it: rows are added and shown, and a page that quotes a figure wrongly is told."""

import json
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import row, searched
from small_checkpoint import TOTALS, drawn_state

from trm_jax.commands.cli import main
from trm_jax.config.files import experiment
from trm_jax.display.ledger import markdown
from trm_jax.runs import parts
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.ledger import PLACE, append, read
from trm_jax.runs.meta import Meta

ROWS = [row(), searched(weights="0" * 64, experiment="sudoku_extreme"), row(experiment="demo", seed=4)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a ledger of three rows and a page of two tables."""
    folder = tmp_path / "repository"
    for name in (PLACE.parent, "docs"):
        (folder / name).mkdir(parents=True)
    for one in ROWS:
        append(folder / PLACE, one, folder)
    (folder / "docs" / "page.md").write_text(f"# A page\n\n{markdown(ROWS[:1])}\n\n{markdown(ROWS, ['id', 'D=1'])}\n")
    monkeypatch.setattr(parts, "repository", lambda: folder)
    return folder


def trm(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> str:
    capsys.readouterr()
    assert main(["ledger", *map(str, words)]) == code
    out, err = capsys.readouterr()
    return out + err


def test_rows_are_shown_by_experiment_by_name_and_in_three_forms(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(trm(capsys, "show").splitlines()) == 4
    assert json.loads(trm(capsys, "show", "--json")) == ROWS
    for name, expected in (("sudoku_extreme", ROWS[:2]), ("sudoku_extreme:single", ROWS[:1]), ("demo", ROWS[2:])):
        assert json.loads(trm(capsys, "show", "--json", "--experiment", name)) == expected
    ids = f"{ROWS[2]['id']},{ROWS[0]['id']}"
    shown = trm(capsys, "show", "--markdown", f"--rows={ids}", "--columns=id,D=16")
    assert shown == markdown([ROWS[2], ROWS[0]], ["id", "D=16"]) + "\n"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["show", "--experiment=sudoku_extrem"], "--experiment=sudoku_extrem: no such row in the ledger, did you mean"),
        (["show", "--rows=x"], "--rows=x: no such row in the ledger"),
        (["show", "--columns=hour"], "no column 'hour' in the ledger: did you mean 'hours'?"),
        (["show", "--ledger=gone.jsonl"], "gone.jsonl: cannot be read"),
        (["check", "--ledger=gone.jsonl"], "gone.jsonl: cannot be read"),
        (["add", "run", "--commit=abc"], "argument --commit: 'abc' is no commit: give all 40 digits"),
        (["add", "gone"], "gone: no such folder"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    words: list[str], fault: str, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = trm(capsys, *words, code=2)
    assert told.startswith(f"trm: error: {fault}")
    assert told.count("\n") == 1


def test_a_sound_ledger_and_its_pages_pass(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trm(capsys, "check").endswith("ledger.jsonl: 3 rows, 2 tables of them on our pages, all right\n")


def test_each_fault_is_a_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    foreign = row(weights="1" * 64, evaluated__command="python own.py")
    with (root / PLACE).open("a") as file:
        file.write(json.dumps(foreign) + "\n" + json.dumps(row(seed="x")) + "\n")
    page = root / "docs" / "page.md"
    page.write_text(page.read_text().replace("25.00%", "26.00%"))
    (root / "README.md").write_text("\n<!-- ledger: x id -->\n| id |\n")

    told = sorted(trm(capsys, "check", code=1).splitlines())

    assert len(told) == 4
    for line, beginning in zip(
        told,
        (
            f"{root / 'README.md'}, line 2: no row 'x' in the ledger",
            f"{root / PLACE}: line 5: seed is not a whole number",
            f"{root / PLACE}: {foreign['id']}: `python own.py`: neither",
            f"{page}, line 3: the table is not what the ledger says",
        ),
        strict=True,
    ):
        assert line.startswith(beginning)


def test_without_a_repository_a_ledger_has_to_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parts, "repository", lambda: None)
    for words in (["add", "run"], ["show"], ["check"]):
        assert "which ledger? there is no repository here" in trm(capsys, *words, code=2)
    path = tmp_path / "own.jsonl"
    append(path, row(), None)
    assert "1 row, 0 tables" in trm(capsys, "check", "--ledger", path)


def evaluated(
    source: str, changes: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> list[dict[str, Any]]:
    """Evaluates random weights on generated puzzles, adds that twice, and returns the rows of the ledger."""
    config = experiment(source, {"data.test": "generated", "data.test_puzzles": 6} | changes)
    run, figures, ledger = tmp_path / "run", tmp_path / "figures.json", tmp_path / "ledger.jsonl"
    with Checkpoints(run) as checkpoints:
        checkpoints.save(drawn_state(config), TOTALS, Meta(config))
    assert main(["eval", str(run), "--devices=1", f"--json={figures}", *words]) == 0
    adding = ["add", run, "--eval", figures, "--ledger", ledger, "--note", "drawn"]
    assert "added " in trm(capsys, *adding)
    assert "stand there already" in trm(capsys, *adding, code=2)
    assert "all right" in trm(capsys, "check", "--ledger", ledger)
    return read(ledger)


@pytest.mark.slow
def test_what_eval_writes_is_a_row_of_single_chains_and_restarts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--steps=1,4", "--attempts=2", "--latent-noise=0.5"]
    (found,) = evaluated("demo:smoke", {}, tmp_path, capsys, *words)
    assert found["evaluated"]["puzzles"] == 6
    assert found["evaluated"]["command"].startswith("trm eval runs/run --devices=1 --json=figures.json --steps=1,4")
    assert (found["single"].keys(), found["restarts"]["attempts"]) == ({"1", "4"}, 2)
    assert found["evaluated"]["peak_gib"] > 0
    assert "search" not in found


@pytest.mark.slow
def test_what_eval_writes_is_a_row_of_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = evaluated("sudoku_extreme:smoke", {}, tmp_path, capsys, "--calls=8", "--chains=2")
    assert found["evaluated"]["how"] == {"calls": 8, "seconds": 0.0, "chains": 2, "seed": 0}
    assert (found["search"]["found"].keys(), found["single"].keys()) == ({"1", "4", "8"}, {"1"})
    assert found["note"] == "revealed clues; drawn"
    assert "restarts" not in found
