"""Every program and every command that stands in a block of a document is run by a test, or it is said why not."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT
from small_run import environment

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "data/README.md",
    *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
COMMAND = re.compile(r"(?:\w+=\S+ )*(?:\.venv/bin/)?(?:trm|make|python|pip|for|tensorboard) ")

# Pages whose blocks another test runs, all but those that are named below.
RUN_BY = {
    "docs/library.md": "tests/docs/test_library.py",
    "docs/export.md": "tests/docs/test_export.py",
    "docs/seeing_why.md": "tests/docs/test_seeing_why.py",
    "docs/recursion_for_your_own_network.md": "tests/docs/test_recursion_for_your_own_network.py",
    "docs/your_own_puzzle.md": "tests/docs/test_your_own_puzzle.py",
}
# Blocks that are run below by how they begin, with what is made shorter and what has to be printed.
RUN_HERE: dict[tuple[str, str], tuple[dict[str, str], str]] = {
    ("docs/paper_to_code.md", "import jax\nfrom trm_jax"): ({}, f"'puzzle table': {876_406 * 512}"),
    ("docs/new_puzzles.md", "SMALL="): (
        {
            'SMALL="': 'SMALL="--config.data.train_puzzles=96 --config.data.test_puzzles=60 ',
            "train.steps=300": "train.steps=2",
            "train.steps=100": "train.steps=2",
        },
        "",
    ),
    ("docs/small_models.md", "trm models  "): (
        {"--seconds 5": "--seconds 2"},
        "812753649943682175675491283154237896369845721287169534521974368438526917796318452",
    ),
}
# And those that are not run as they stand, by page and how they begin.
NOT_RUN = {
    "README.md": {
        "make setup && .venv/bin/trm": "makes an environment; the solver is run from docs/small_models.md",
        "make setup && source": "makes an environment",
        "trm train --config=sudoku_mlp": "the paper's model: hours of a GPU, and the public puzzles",
    },
    "CONTRIBUTING.md": {"make setup": "makes an environment, and runs these tests"},
    "docs/confidence.md": {
        "trm calibrate RUN": "words that stand for a run; tests/commands/test_calibrate.py has a small one",
        "trm data sudoku calibration.csv": "20,000 puzzles; tests/docs/test_confidence_tables.py has its figures",
        "trm eval sudoku-4x4 other.csv": "on puzzles of that block, and likewise",
    },
    "docs/deep_recursion.md": {
        "trm estimate": "minutes of compiling; tests/commands/test_report.py compiles a small one",
        "trm train --config=sudoku_extreme:single": "hours of two cores, and the public puzzles",
    },
    "docs/does_depth_pay.md": {
        "python -m benchmarks.depth_study": "hours of training; tests/benchmarks/test_depth_study.py has a short one"
    },
    "docs/evaluation.md": {
        "trm eval sudoku-4x4 --stress": "its table is that of a file: tests/docs/test_stress_table.py",
        "trm data maze mazes11.csv": "minutes of searching; its table is that of a file, likewise",
        "trm eval runs/arc1": "needs a model of ARC; tests/commands/test_arc_end_to_end.py makes one",
        "trm sweep": "nine trainings; tests/commands/test_sweep_command.py has short ones",
    },
    "docs/export.md": {"trm export": "needs a trained demo; tests/commands/test_export.py has a small one"},
    "docs/many_devices.md": {"for process": "two processes that train: tests/devices/test_processes.py"},
    "docs/measured.md": {
        "trm eval runs/small": "needs a run that is trained; tests/commands/test_ledger_commands.py makes one"
    },
    "docs/new_puzzles.md": {"trm train --config=demo:6x6 --config.model": "as a line of the block that is run"},
    "docs/parity.md": {"trm parity": "needs the recordings; tests/original/test_parity.py takes those that are here"},
    "docs/solver_page.md": {
        "pip install": "installs packages; tests/viewing/test_browser.py drives the page",
        "make solver": "likewise, and minutes in a browser",
    },
    "docs/your_own_puzzle.md": {
        "trm data maze mazes": "two trainings more; tests/runs/test_beginning.py takes weights over",
        "python futoshiki.py calibration.csv": "on that model; tests/commands/test_calibrate.py has a small one",
        "trm solve runs/from_mazes": "likewise; tests/puzzles/test_complete_search.py searches by such rules",
    },
    "docs/small_models.md": {
        "SMALL=": "28 trainings, whose rows are in the ledger; tests/commands/test_sweep_command.py has short ones"
    },
    "docs/recipes.md": {"trm train --config=ablations/recipe": "hours of a GPU, and the public puzzles"},
}
LEFT = [(page, start) for page, starts in NOT_RUN.items() for start in starts]


def blocks() -> Iterator[tuple[str, str, str]]:
    """Page, language and text of each block that holds a program or begins with a command."""
    for page in PAGES:
        text = (ROOT / page).read_text()
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language or COMMAND.match(block):
                yield page, language, block
        for block in re.findall(r"(?<=\n\n)((?:    \S.*\n)+)", text):
            if COMMAND.match(block.strip()):
                yield page, "", block.strip() + "\n"


def named(page: str, block: str) -> list[tuple[str, str]]:
    """Which of the tables above name a block, by how it begins."""
    return [key for key in (*RUN_HERE, *LEFT) if key[0] == page and block.startswith(key[1])]


def test_every_block_is_run_or_it_is_said_why_not() -> None:
    unused = {*RUN_HERE, *LEFT}
    for page, _, block in blocks():
        keys = named(page, block)
        assert len(keys) == 1 or (page in RUN_BY and not keys), (page, block.splitlines()[0], keys)
        unused -= set(keys)
    assert unused == set(), "no block begins so"


def test_those_who_run_a_page_name_it() -> None:
    for page, test in RUN_BY.items():
        assert Path(page).name in (ROOT / test).read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("page", "start"), RUN_HERE)
def test_a_block_runs(page: str, start: str, tmp_path: Path) -> None:
    shorter, told = RUN_HERE[page, start]
    ((language, block),) = ((language, block) for at, language, block in blocks() if (page, start) in named(at, block))
    for old, new in shorter.items():
        assert old in block
        block = block.replace(old, new)
    puzzle = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."
    answer = "812753649943682175675491283154237896369845721287169534521974368438526917796318452"
    (tmp_path / "test.csv").write_text(f"question,answer\n{puzzle},{answer}\n")
    trm = f'set -e\ntrm() {{ {sys.executable} -m trm_jax "$@"; }}\n'
    command = [sys.executable, "-c", block] if language == "python" else ["bash", "-c", trm + block]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(XLA_FLAGS=""), capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
