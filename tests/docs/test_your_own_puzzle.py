"""docs/your_own_puzzle.md does what it says: its file and its commands are run as they stand on the page."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

PAGE = (ROOT / "docs" / "your_own_puzzle.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def run(folder: Path, *, steps: int = 0, attempts: int = 0) -> list[str]:
    """Runs the page in a folder and returns what each command printed; fewer steps, more attempts, if given."""
    (source,) = blocks("python")
    (folder / "futoshiki.py").write_text(source)
    printed = []
    for line in "".join(blocks("sh")).replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        if steps and words[1] == "train":
            words += [f"--config.train.steps={steps}", "--config.train.eval_every=0", "--config.optim.ema_decay=0.9"]
        if attempts and "--attempts" in words:
            words[words.index("--attempts") + 1] = str(attempts)
        command = [sys.executable, *(words[1:] if words[0] == "python" else ["-m", "trm_jax", *words[1:]])]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        printed.append(done.stdout)
        # What is shown without --certify may be wrong, and a model that has hardly begun may find nothing.
        assert done.returncode == 0 or (words[1] == "solve" and done.returncode == 1), (line, done.stderr)
    return printed


def exact_accuracy(table: str) -> dict[int, float]:
    return {int(steps): float(share) for steps, share in re.findall(r"^ *(\d+)  +([\d.]+)% \(", table, re.MULTILINE)}


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path) -> None:
    built, shown, *_, table, solved, certified = run(tmp_path, steps=80)[1:]
    assert "train  5,495 puzzles" in built
    assert "test  500 puzzles" in built
    assert "data/futoshiki test row 1" in shown
    assert list(exact_accuracy(table)) == [1, 2, 4, 8, 12]
    # Eighty steps teach it to copy what is given, which is most of the board.
    assert float(re.findall(r"\) +[\d.]+% +([\d.]+)%", table)[-1]) > 60  # of cells, which stand behind valid answers
    assert "supervision step 4" in solved
    assert (tmp_path / "futoshiki.png").read_bytes().startswith(b"\x89PNG")
    answer = re.search(r"^verified, .*: (.{49})$", certified, re.MULTILINE)
    assert answer is not None or certified.startswith("not solved: no answer in 16 attempts")
    about = json.loads((tmp_path / "data" / "futoshiki" / "puzzle.json").read_text())
    assert about["symmetries"] == "fliplr(<>) flipud(^v) transpose(<^ >v)"


@pytest.mark.slow
def test_the_page_is_right(tmp_path: Path) -> None:
    *_, table, _, certified = run(tmp_path)
    found = exact_accuracy(table)
    (claimed,) = re.findall(r"```\n(steps .*?)```", PAGE, re.DOTALL)
    # Another processor rounds otherwise, and training amplifies that.
    assert found[12] > exact_accuracy(claimed)[12] - 6
    assert found[1] < found[2] < found[4]
    assert "verified, from supervision step" in certified
