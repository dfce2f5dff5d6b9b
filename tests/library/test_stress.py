"""`trm.stress` in the hand: figures that show themselves, folders, and nonsense in one line."""

from pathlib import Path
from typing import Any

import pytest

import trm_jax as trm
from trm_jax.data.dataset import read_folder
from trm_jax.errors import ConfigError, DataError
from trm_jax.library.solver import Solver


def test_figures_show_themselves_and_folders_hold_the_puzzles(solver: Solver, tmp_path: Path) -> None:
    out = tmp_path / "saved"
    figures = trm.stress(solver, limit=6, stress_seed=2, save_to=out, halting=True)
    rows = {row["name"]: row for row in figures["rows"]}
    assert figures["seed"] == 2
    assert rows["unsolvable"]["valid"]["value"] == 0
    assert rows["unsolvable"]["answers"] == {"none": rows["unsolvable"]["puzzles"]}
    for name, row in rows.items():
        assert len(read_folder(out / name, "test")) == row["puzzles"]
    assert "contradictory" in figures._repr_html_()


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"stress_seed": -1}, "stress_seed = -1: give a whole number from 0 to"),
        ({"steps": [1, 2]}, r"steps = \[1, 2\]: a stress test takes one number of supervision steps: give one"),
        ({"select": "best"}, "select = 'best' is unknown"),
        ({"attempts": 0}, "attempts = 0: give a whole number from 1 to"),
        ({"batch_size": 0}, "batch_size = 0: give a whole number from 1 to"),
    ],
)
def test_what_cannot_be_is_refused(solver: Solver, asked: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        trm.stress(solver, **asked)


def test_a_folder_that_is_there_is_kept(solver: Solver, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists already: remove it or give another name"):
        trm.stress(solver, save_to=tmp_path)


def test_a_model_that_searches_takes_calls_alone() -> None:
    with pytest.raises(ConfigError, match="attempts: a model of candidates searches: give calls, seconds or chains"):
        trm.stress("sudoku-extreme", attempts=2)
