"""`trm view` refuses in one line what the page cannot show, before a model is exported."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sudoku-4x4"], "node_modules does not hold the runtime of the page: run `npm install --ignore-scripts"),
        (["sudoku-4x4", "--runtime=there"], "there does not hold the runtime of the page"),
        (["sudoku-4x4", "maze-perfect"], "node_modules does not hold the runtime of the page"),
        (["sudoku-4x4", "runs/sudoku-4x4"], "two models are called sudoku-4x4: give each once, or rename a folder"),
        (["sudoku-4x5"], "did you mean 'sudoku-4x4'?"),
        (["sudoku-4x4", "--port=70000"], "'70000' is no port: give a number from 0 to 65535"),
        (["sudoku-4x4", "--port=http"], "'http' is no port"),
        (["sudoku-4x4", "--save=there"], "there exists already: remove it or give another name"),
        (["sudoku-4x4", "--host=0.0.0.0"], "unknown option --host"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], told: str, refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert told in refusal("view", *words)
