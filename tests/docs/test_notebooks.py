"""The notebooks run as they stand, from an empty folder, but for the length of training."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from small_run import environment

FOLDER = ROOT / "docs" / "notebooks"
# What is made shorter, and what is asked of the names that the notebook leaves.
RUNS = {
    "solve_and_look_inside": (
        ("limit=500", "limit=20"),
        "print(bool(answer.valid), int(calls[-1].possible.sum()), len(moments), answers.digits.shape)",
        "True 81 8 (2, 4, 4)\n",
    ),
    "deep_recursion": (
        ("STEPS = 200", "STEPS = 20"),
        "print(len(losses), losses[-1] < losses[0], list(right), 20 * megabytes['binomial'] < megabytes['none'], "
        "all(value < 1e-4 * largest for value in apart.values()))",
        "20 True [1, 10, 30, 100, 300, 1000] True True\n",
    ),
    "your_own_puzzle": (
        ('"train.steps": 250', '"train.steps": 4'),
        "print(len(full), check(question, rows[question]), check(question, question), answer.valid in (True, False))",
        "960 True False True\n",
    ),
}
PICTURES = {"solve_and_look_inside": "answer.png"}


def test_every_notebook_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_has_a_title_an_answer_to_why_and_cells_that_can_be_read(name: str) -> None:
    first, *cells = (FOLDER / f"{name}.py").read_text().split("# %%")[1:]
    assert first.startswith(" [markdown]\n# # ")
    assert len(first.splitlines()) >= 4
    for cell in cells:
        if not cell.startswith(" [markdown]"):
            ast.parse(cell)
            assert len(cell.splitlines()) <= 50


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    (long, short), asked, told = RUNS[name]
    program = (FOLDER / f"{name}.py").read_text()
    assert program.count(long) == 1
    (tmp_path / "program.py").write_text(f"{program.replace(long, short)}\n{asked}\n")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment(XLA_FLAGS=""),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(told), done.stdout[-400:]
    if name in PICTURES:
        assert (tmp_path / PICTURES[name]).read_bytes().startswith(b"\x89PNG")
