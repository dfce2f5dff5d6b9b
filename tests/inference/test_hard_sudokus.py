"""Every one of the well-known hard Sudokus of tests/testdata is answered and certified, within a budget."""

import csv
from pathlib import Path

import pytest
from places import TESTDATA

from trm_jax.commands.cli import main

# Names and sources of the puzzles stand in the file.
HARD = TESTDATA / "hard_sudokus.csv"
# Calls of the network for each puzzle, all chains together; a complete search in its order answers what is left.
# docs/small_models.md says how many are found by calls alone.
CALLS = 256


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_all_of_them_are_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = tmp_path / "answers.csv"
    words = ["solve", "sudoku-extreme", "--data", str(HARD), "--answers", str(answers)]
    assert main([*words, "--complete", f"--calls={CALLS}"]) == 0
    wanted, found = rows(HARD), rows(answers)
    assert len(wanted) == len(found) >= 40
    assert {row["right"] for row in found} == {"yes"}
    assert [row["answer"] for row in found] == [row["answer"] for row in wanted]
    assert "by complete search" in capsys.readouterr().err
