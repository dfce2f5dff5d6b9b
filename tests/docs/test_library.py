"""docs/library.md runs as it stands, but for the length of training."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from small_run import environment
from untrained import leave_demo

LONG = '"train.steps": 300'
SHORT = '"train.steps": 2, "train.eval_every": 0, "data.train_puzzles": 96, "data.test_puzzles": 60'


def run(program: str, folder: Path) -> str:
    """Runs a program in a folder, its training shortened, and returns what it prints."""
    assert program.count(LONG) == 1
    file = folder / "program.py"
    file.write_text(program.replace(LONG, SHORT))
    done = subprocess.run(
        [sys.executable, file.name], cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    leave_demo(tmp_path)
    (tmp_path / "test.csv").write_text("question,answer\n.21....4.....1..,4213132424313142\n")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "library.md").read_text(), re.DOTALL)
    told = run("\n".join([*blocks, "print('finished', outcome.finished, figures['loss'] > 0)"]), tmp_path)
    assert "puzzles[1]: digit 1 stands twice in row 1, at r1c1 and r1c2; correct one of them" in told
    assert told.endswith("finished True True\n")
    assert (tmp_path / "answer.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "runs" / "by_hand" / "checkpoints" / "0").is_dir()
