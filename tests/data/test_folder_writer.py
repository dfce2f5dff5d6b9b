"""Dataset folders are written all or not at all."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from places import ROOT
from written_folder import NAMES, tokens, write

from trm_jax.data.folder import read
from trm_jax.data.folder_writer import Writer
from trm_jax.errors import DataError


def hidden(path: Path) -> list[str]:
    return sorted(child.name for child in path.iterdir() if child.name.startswith("."))


def test_a_folder_that_exists_is_not_touched(tmp_path):
    path = write(tmp_path / "data")
    before = {file: file.read_bytes() for file in sorted(path.rglob("*.*"))}
    with pytest.raises(DataError, match=r"data: exists already: remove it"):
        Writer(path, 4, 30, puzzle=None)
    assert {file: file.read_bytes() for file in sorted(path.rglob("*.*"))} == before
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for out in (tmp_path / "dangling", tmp_path, Path(".")):
        with pytest.raises(DataError, match="exists already"):
            Writer(out, 4, 30, puzzle=None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, DataError, ZeroDivisionError])
def test_an_error_leaves_nothing(tmp_path, error):
    def stopped() -> None:
        with Writer(tmp_path / "data", 4, 30, puzzle=None) as writer:
            writer.split("train").add_singles(tokens(), tokens())
            assert hidden(tmp_path) == [f".data.building-{os.getpid()}"]
            raise error

    with pytest.raises(error):
        stopped()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "data")


def test_a_folder_that_comes_up_meanwhile_is_kept(tmp_path):
    def race() -> None:
        with Writer(tmp_path / "data", 4, 30, puzzle=None) as writer:
            writer.split("train").add_singles(tokens(), tokens())
            (tmp_path / "data").mkdir()
            (tmp_path / "data" / "mine").touch()

    with pytest.raises(DataError, match="data: cannot be written"):
        race()
    assert [path.name for path in tmp_path.rglob("*")] == ["data", "mine"]


def test_two_writers_of_one_name(tmp_path):
    with Writer(tmp_path / "data", 4, 30, puzzle=None) as writer:
        writer.split("train").add_singles(tokens(), tokens())
        with pytest.raises(DataError, match="is being built already"), Writer(tmp_path / "data", 4, 30, puzzle=None):
            pass
        write(tmp_path / "data2")
    assert len(read(tmp_path / "data", "train").inputs) == 11


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from trm_jax.data.folder_writer import Writer
    rows = np.ones((50_000, 4), np.uint8)
    stop = sys.argv[2]
    if stop == "rename":
        Path.rename = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
    with Writer(Path(sys.argv[1]), 4, 30, puzzle=None) as writer:
        for _ in range(3):
            writer.split("train").add_singles(rows, rows)
        if stop == "midway":
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("stop", ["midway", "rename"])
def test_a_killed_build_leaves_nothing_that_could_be_loaded(tmp_path, stop):
    """Killed between its writes, or when all is written but the name."""
    out = tmp_path / "data"
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), out, stop], cwd=ROOT, check=False)
    assert run.returncode == -signal.SIGKILL
    assert not out.exists()
    [left] = hidden(tmp_path)
    size = (tmp_path / left / "train" / "all__inputs.npy").stat().st_size
    assert size > 100_000
    if stop == "midway":
        with pytest.raises(DataError, match=r"dataset\.json"):
            read(tmp_path / left, "train")
    (tmp_path / f".data.building-{os.getppid()}").mkdir()
    (tmp_path / ".data.building-mine").mkdir()
    (tmp_path / ".data.building-99999999999999999999").mkdir()
    (tmp_path / f".data.building-{os.getpid()}").mkdir()
    (tmp_path / ".other.building-99999999").mkdir()
    write(out)
    assert len(read(out, "train").inputs) == 11
    alive = [f".data.building-{os.getppid()}", ".data.building-mine", ".other.building-99999999"]
    assert hidden(tmp_path) == sorted(alive), "what a living process builds stays, and what is not ours"


FULL = """
    import resource, sys
    from pathlib import Path
    import numpy as np
    from trm_jax.errors import DataError
    from trm_jax.data.folder_writer import Writer
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    rows = np.ones((50_000, 4), np.uint8)
    try:
        with Writer(Path(sys.argv[1]), 4, 30, puzzle=None) as writer:
            for _ in range(3):
                writer.split("train").add_singles(rows, rows)
    except DataError as error:
        sys.exit(f"told: {error}")
"""


def test_a_full_disk_is_told_and_cleared(tmp_path):
    """A limit on the size of files stands for the disk; both fail in the same place, in the middle of a write."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL), tmp_path / "data"], cwd=ROOT, check=False, capture_output=True
    )
    assert run.stderr.decode() == f"told: {tmp_path}/data: cannot be written (File too large): " + (
        "make room there or give another place\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "data", tmp_path / ("x" * 300)):
        with pytest.raises(DataError, match=r"cannot be written|exists already"):
            write(out)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_split_without_puzzles_is_an_error(tmp_path):
    def half() -> None:
        with Writer(tmp_path / "x", 4, 30, puzzle=None) as writer:
            writer.split("train").add_singles(tokens(), tokens())
            writer.split("test")

    with pytest.raises(DataError, match="'test' has no puzzles"):
        half()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((tokens(), tokens()[:10], [11], [1]), "do not go"),
        ((tokens(), tokens(), [10], [1]), "do not go"),
        ((tokens(), tokens(), [11], [1, 2]), "do not go"),
        ((tokens(), tokens(), [11, 0], [1, 2]), "without examples"),
        ((tokens()[:, :3], tokens(), [11], [1]), "4 wide"),
        ((tokens(), tokens().astype(float), [11], [1]), "expected integers"),
        ((tokens(20), tokens(), [11], [1]), "reach from 2 to 30"),
        ((tokens(), -tokens().astype(int), [11], [1]), "reach from -11 to -1"),
        ((tokens(), tokens(), [11], [7]), "puzzle ids reach"),
        ((tokens(), tokens(), [11], [-1]), "puzzle ids reach"),
    ],
)
def test_what_a_caller_may_not_write(tmp_path, arguments, expected):
    def wrong() -> None:
        with Writer(tmp_path / "x", 4, 30, puzzle=None) as writer:
            writer.split("train").add(*arguments)
            writer.finish(NAMES)

    with pytest.raises(ValueError, match=expected):
        wrong()
    assert list(tmp_path.iterdir()) == []


def test_the_order_of_calls(tmp_path):
    writer = Writer(tmp_path / "x", 4, 30, puzzle=None)
    for call in (lambda: writer.split("train"), writer.finish):
        with pytest.raises(ValueError, match="no split"):
            call()
    with writer:
        with pytest.raises(ValueError, match=r"no split '\.\./x'"):
            writer.split("../x")
        writer.split("train").add_singles(tokens(), tokens())
        writer.finish()
        for call in (lambda: writer.split("train"), writer.finish):
            with pytest.raises(ValueError, match="finished"):
                call()
    assert len(read(tmp_path / "x", "train").inputs) == 11
