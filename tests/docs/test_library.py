"""docs/library.md and docs/notebook.py run as they stand, but for the length of training."""

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


@pytest.mark.slow
def test_the_notebook_runs_in_ten_cells(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "notebook.py").read_text()
    cells = [cell for cell in re.split(r"^# %%", text, flags=re.MULTILINE)[1:] if not cell.startswith(" [markdown]")]
    assert len(cells) == 10
    assert run(f"{text}\nprint(answers.digits.shape, len(moments))", tmp_path).endswith("(2, 4, 4) 8\n")
    assert (tmp_path / "runs" / "notebook" / "answer.png").read_bytes().startswith(b"\x89PNG")
