"""The ledger grows by whole, well-formed rows that the repository can make again, and by nothing else."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import SHARE, row, searched
from places import ROOT

from trm_jax.errors import DataError
from trm_jax.runs import ledger
from trm_jax.runs.ledger import append, faults_in, identity, read


def test_rows_are_added_at_the_end_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, row(), ROOT)
    before = path.read_bytes()
    append(path, searched(), ROOT)

    assert path.read_bytes().startswith(before)
    assert read(path) == [row(), searched()]
    assert faults_in(path, ROOT) == []


def test_what_was_evaluated_how_is_the_name_of_a_row_and_figures_are_not() -> None:
    name = identity(row())
    assert name.startswith("sudoku_extreme-single-")
    for change in ({"note": "x"}, {"trained__hours": 9.0}, {"single": {"1": SHARE}}, {"evaluated__seconds": 1.0}):
        assert identity(row(**change)) == name, change
    others = [
        {"config": "0" * 64},
        {"weights": "0" * 64},
        {"evaluated__sha256": "0" * 64},
        {"evaluated__puzzles": 10},
        {"evaluated__how": {"depths": [1], "attempts": 8}},
    ]
    assert len({name, *(identity(row(**change)) for change in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "second",
    [
        row(note="another", trained__hours=2.0),
        row(evaluated=None, single=None, restarts=None),  # nothing that is not there already
    ],
)
def test_a_row_that_stands_there_is_refused(second: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, row(), ROOT)
    before = path.read_bytes()
    with pytest.raises(DataError, match=f"stand there already as {row()['id']}$"):
        append(path, second, ROOT)
    assert path.read_bytes() == before


def test_of_many_that_add_the_same_at_once_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, parse = tmp_path / "ledger.jsonl", ledger.parse

    def slowly(content: bytes) -> tuple[list[ledger.Row], list[str]]:
        time.sleep(0.005)  # in which others could write, if they were let
        return parse(content)

    monkeypatch.setattr(ledger, "parse", slowly)

    def add(number: int) -> bool:
        try:
            append(path, row(weights=f"{number % 4:064}"), ROOT)
        except DataError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(add, range(16))) == 4
    assert len(read(path)) == 4


def test_a_write_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    append(path, row(), ROOT)
    before = path.read_bytes()
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:100]))
        with pytest.raises(OSError, match="no space for another row"):
            append(path, searched(), ROOT)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"experiment": "sudoku_gone"}, "no experiment 'sudoku_gone' in the repository"),
        ({"experiment": "sudoku_extreme:gone"}, "no experiment 'sudoku_extreme:gone' in the repository"),
        ({"experiment": "own.py"}, "no experiment 'own.py' in the repository"),
        ({"overrides": {"train.stepz": 3}}, "config.train.stepz is unknown"),
        ({"trained__command": "trm train --config=own.py"}, "`trm train --config=own.py`: no experiment 'own.py'"),
        ({"trained__command": "trm gone"}, "`trm gone`: neither `trm train`, `trm eval` nor a program of benchmarks/"),
        ({"evaluated__command": "python own.py"}, "`python own.py`: neither"),
        ({"evaluated__command": "python -m benchmarks.gone"}, "no program benchmarks/gone.py in the repository"),
        ({"evaluated__command": "python -m benchmarks.guard.x/../y"}, "neither"),
        ({"evaluated__command": "trm eval 'runs"}, "No closing quotation"),
    ],
)
def test_what_is_not_in_the_repository_is_refused(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(DataError) as refused:
        append(path, row(**changes), ROOT)
    assert fault in str(refused.value)
    assert not path.exists()
    path.write_text(json.dumps(row(**changes)) + "\n")
    (told,) = faults_in(path, ROOT)
    assert fault in told


def test_a_program_of_the_repository_may_have_made_a_row_where_there_is_one(tmp_path: Path) -> None:
    made = row(evaluated__command="python -m benchmarks.guard")
    append(tmp_path / "ledger.jsonl", made, ROOT)
    with pytest.raises(DataError, match=r"no program benchmarks/guard\.py"):
        append(tmp_path / "other.jsonl", made, None)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"seed": None}, "seed is missing"),
        ({"trained__rows": None}, "trained.rows is missing"),
        ({"luck": 3}, "luck is unknown"),
        ({"evaluated__mood": 3}, "evaluated.mood is unknown"),
        ({"seed": True}, "seed is not a whole number from 0"),
        ({"seed": -1}, "seed is not a whole number from 0"),
        ({"weights": "B" * 64}, "weights is not a SHA-256"),
        ({"trained__commits": ["c" * 7]}, "trained.commits is not a list of commits"),
        ({"trained__hours": float("nan")}, "trained.hours is not a number from 0"),
        ({"trained__pflop": "1"}, "trained.pflop is not a number from 0"),
        ({"note": "two\nlines"}, "note is not text"),
        ({"note": ""}, "note is not text"),
        ({"single": {"1": {"value": 0.7, "low": 0.4, "high": 0.6}}}, "single is not shares with their intervals"),
        ({"single": {"1": {"value": 0.5}}}, "single is not shares with their intervals"),
        ({"single": {"x": SHARE}}, "single is not shares with their intervals"),
        ({"overrides": {"a": {}}}, "overrides is not values by names"),
        ({"search": {"found": {"1": SHARE}, "calls": 3}}, "search.exact is missing"),
        ({"search": 3}, "search is no group of values"),
        ({"single": None, "restarts": None}, "an evaluation goes with figures"),
        ({"id": "sudoku_extreme-single-0"}, "sudoku_extreme-single-0 is not the name of this row"),
    ],
)
def test_a_row_of_another_form_is_a_fault(changes: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    bad = row(**changes) | ({"id": changes["id"]} if "id" in changes else {})
    path.write_text(json.dumps(searched()) + "\n" + json.dumps(bad) + "\n")
    (told,) = faults_in(path, ROOT)
    assert told.startswith(f"{path}: line 2: ")
    assert fault in told
    with pytest.raises(DataError, match="line 2"):
        read(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "line 1: it was cut short: remove it"),
        (b"x\n", "line 1: no JSON"),
        (b"\n", "line 1: no JSON"),
        (b"[" * 100_000 + b"\n", "line 1: no JSON"),
        (b"\xff\n", "line 1: no JSON"),
        (b"[]\n", "line 1: no row"),
        (json.dumps(row()).encode() + b"\n" + json.dumps(row()).encode() + b"\n", "stands in line 1 already"),
    ],
)
def test_a_damaged_ledger_is_told_and_takes_no_row(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    (told,) = faults_in(path, ROOT)
    assert fault in told
    with pytest.raises(DataError, match="is damaged, and was left as it is"):
        append(path, searched(), ROOT)
    assert path.read_bytes() == content


def test_a_ledger_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read(tmp_path / "gone.jsonl")
