"""A run that is killed, at whatever moment, goes on by itself: from whole steps, and with no more lost than promised.

Killed processes are real ones. Besides, the files are looked at as they are before each change of a name and each
deletion, since a kill leaves just these.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_run import environment, experiment, figures, words

from trm_jax.runs import manifest
from trm_jax.runs.checkpoint import FOLDER, Checkpoints, load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train

SAVE_EVERY = 2
# One row of figures for each step, two checkpoints, and two evaluations.
CHANGES = {"train__log_every": 1, "train__save_every": SAVE_EVERY, "train__keep_checkpoints": 2}
# What changes names or takes files away, as the standard library calls the system.
CHANGING = ("rename", "replace", "unlink", "rmdir")


@dataclass(frozen=True)
class Result:
    """What a run comes to: digests of its weights, raw and averaged, and its figures."""

    raw: str
    averaged: str
    rows: list[dict[str, float | None]]

    @classmethod
    def of(cls, workdir: Path) -> "Result":
        raw, averaged = (fingerprint(load(workdir, averaged)[1]) for averaged in (False, True))
        return cls(raw, averaged, figures(workdir))


def whole(workdir: Path) -> list[int]:
    """The steps on disk, of each of which every file has the hash that it was written with."""
    with Checkpoints(workdir) as checkpoints:
        steps = checkpoints.steps
    for step in steps:
        assert manifest.fault(workdir / FOLDER / str(step)) == ""
    return steps


def listed(workdir: Path) -> list[int]:
    """The steps on disk, each of which is whole and loads."""
    steps = whole(workdir)
    for step in steps:
        load(workdir / FOLDER / str(step))
    return steps


@contextmanager
def before_each_change(workdir: Path, act: Callable[[str], None]) -> Iterator[None]:
    """While entered, `act` is called with what is to be done before any name in a folder changes or goes."""
    at_once = threading.Lock()

    def watching(name: str) -> Callable[..., Any]:
        change = getattr(os, name)

        def changing(path: Any, *args: Any, **kwargs: Any) -> Any:
            # Inside rmtree paths are relative to folders that were opened.
            if kwargs.get("dir_fd") is not None or Path(path).is_relative_to(workdir):
                with at_once:
                    act(f"{name} {Path(path).name}")
            return change(path, *args, **kwargs)

        return changing

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            patch.setattr(os, name, watching(name))
        yield


@dataclass(frozen=True)
class Left:
    """What a kill would leave: before what, in which folder."""

    before: str
    folder: Path


@pytest.mark.parametrize("begun", [10, *(pytest.param(step, marks=pytest.mark.slow) for step in (0, 2, 6, 12))])
def test_before_each_change_of_the_files_a_run_could_be_killed(begun: int, tmp_path: Path) -> None:
    """What is there before each renaming and deletion, once a save has begun, is gone on from."""
    config = experiment(**CHANGES | {"train__steps": 12, "train__eval_every": 6, "train__log_every": 2})
    last, done = 0, -1
    left: list[Left] = []
    save, publish, write = Checkpoints.save, Checkpoints._publish, manifest.write
    unlinked = 0

    def saving(self: Checkpoints, state: Any, *rest: Any) -> None:
        nonlocal last
        last = int(state.step)
        save(self, state, *rest)
        self.wait()  # no step is made while files are copied

    def publishing(self: Checkpoints, step: int) -> None:
        nonlocal done
        publish(self, step)
        done = step

    def look(change: str) -> None:
        nonlocal unlinked
        if last != begun or done == begun:
            return
        # Of the many files of a step it is enough to see the first one go, and the tenth.
        unlinked += change.startswith(("unlink", "rmdir"))
        if not change.startswith(("unlink", "rmdir")) or unlinked in (1, 10):
            left.append(Left(change, tmp_path / f"left{len(left)}"))
            with suppress(shutil.Error):  # of what is being written, a file may have gone in the meantime
                shutil.copytree(tmp_path / "run", left[-1].folder)

    def writing(folder: Path) -> None:
        look("manifest")
        write(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "save", saving)
        patch.setattr(Checkpoints, "_publish", publishing)
        patch.setattr(manifest, "write", writing)
        with before_each_change(tmp_path / "run", look):
            assert train(config, tmp_path / "run").finished
    result = Result.of(tmp_path / "run")
    for one in left:
        steps = whole(one.folder)  # the newest is gone on from, and so loads
        assert max(steps, default=0) >= begun - SAVE_EVERY, one
        assert len(steps) <= 3
        assert train(config, one.folder).finished
        assert Result.of(one.folder) == result, one
        # One more than wanted where the last of all was killed before it could go.
        assert {path.name for path in (one.folder / FOLDER).iterdir()} - {"8", "best"} == {"10", "12"}, one
    names = [one.before for one in left]
    if begun:
        assert {"manifest", f"rename {begun}.saving.orbax-checkpoint-tmp", f"rename {begun}.saving"} <= {*names}
    else:
        assert names[0] == "replace config.json.tmp"
    if begun > 4:
        assert f"rename {begun - 4}" in names
        assert sum(name.startswith("unlink") for name in names) == 2


@pytest.mark.slow
def test_a_killed_recovery_is_made_again(tmp_path: Path) -> None:
    """What starting anew removes and sets aside may itself be cut short at any of its changes."""
    config = experiment(**CHANGES | {"train__steps": 8, "train__eval_every": 0})
    assert train(config, tmp_path / "whole").finished
    result = Result.of(tmp_path / "whole")
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "whole", killed)
    folder = killed / FOLDER
    shutil.copytree(folder / "6", folder / "4.deleted")
    shutil.copytree(folder / "8", folder / "10.saving")
    (folder / "10.saving.orbax-checkpoint-tmp").mkdir()
    (folder / "8" / "meta" / "metadata").write_text("{")
    left: list[Path] = []

    def look(change: str) -> None:
        left.append(tmp_path / f"left{len(left)}")
        shutil.copytree(killed, left[-1])

    with before_each_change(killed, look):
        assert train(config, killed).finished
    assert len(left) > 50
    assert Result.of(killed) == result
    # Removing takes the most of them; then comes setting aside.
    for one in (left[20], left[-3], left[-2]):
        assert train(config, one).finished
        assert Result.of(one) == result
        assert {path.name for path in (one / FOLDER).iterdir()} == {"6", "8", "8.damaged"}


# The command `trm`, which kills itself before the so-manieth change of a name in a folder; taking away the files of a
# step counts as one.
KILLS_ITSELF = """
import os, signal, sys
from pathlib import Path
left, folder, *sys.argv[1:] = sys.argv[1:]
from trm_jax.commands.cli import main
left, last = int(left), ""
def watching(name):
    change = getattr(os, name)
    def changing(path, *args, **kwargs):
        global left, last
        inside = kwargs.get("dir_fd") is not None
        if inside or Path(path).is_relative_to(folder):
            if not (inside and last == "inside"):
                left -= 1
            last = "inside" if inside else ""
            if left < 0:
                print("killed before", name, path, file=sys.stderr, flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        return change(path, *args, **kwargs)
    return changing
for name in ("rename", "replace", "unlink", "rmdir"):
    setattr(os, name, watching(name))
sys.exit(main())
"""


class Victim:
    """`trm train`, which is killed again and again."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.workdir = folder / "run"
        self._words = words(folder, **CHANGES | {"train__steps": steps, "train__eval_every": steps // 2})

    def start(self, program: tuple[str, ...] = ("-m", "trm_jax")) -> subprocess.Popen[str]:
        command = [sys.executable, *program, *self._words]
        return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True, bufsize=1)

    def run(self) -> str:
        """Lets it come to its end; returns what it told."""
        process = self.start()
        _, told = process.communicate(timeout=300)
        assert process.returncode == 0, told
        return told

    def check(self) -> int:
        """That all that is listed is whole, and not more is lost than promised; returns the newest step."""
        steps = listed(self.workdir)
        newest = max(steps, default=0)
        assert len(steps) <= 3
        rows = figures(self.workdir) if (self.workdir / "metrics.jsonl").exists() else []
        reached = int(max((row["step"] or 0 for row in rows), default=0))
        # A save is begun after the row of its step was written, once the save before it has come to its end.
        assert reached - newest <= 2 * SAVE_EVERY, (reached, steps)
        return newest


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Result]:
    """What a run of so many steps comes to."""
    found: dict[int, Result] = {}

    def result(steps: int) -> Result:
        if steps not in found:
            workdir = tmp_path_factory.mktemp("undisturbed")
            changes = {"train__steps": steps, "train__eval_every": steps // 2, "train__save_every": 0}
            assert train(experiment(**CHANGES | changes), workdir).finished
            found[steps] = Result.of(workdir)
        return found[steps]

    return result


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "steps", "seed"), [(5, 20, 1), (20, 100, 2)], ids=["five", "twenty"])
def test_kills_at_random_moments(
    kills: int, steps: int, seed: int, undisturbed: Callable[[int], Result], tmp_path: Path
) -> None:
    """One run, killed while it trains and saves, and each fifth time perhaps while it begins."""
    drawn = random.Random(seed)
    victim = Victim(tmp_path, steps)
    newest = 0
    for kill in range(kills):
        process = victim.start()
        assert process.stderr is not None
        if kill % 5 == 1:
            time.sleep(drawn.uniform(0.1, 2.0))
        else:
            further = drawn.randint(1, steps // kills)
            if kill == kills - 1 and not newest:  # on a slow machine nothing may have been saved so far
                further = 2 * SAVE_EVERY + 1
            told, until = "", f"training {newest + further}/"
            for line in process.stderr:
                told += line
                if line.startswith(until):
                    break
            else:
                pytest.fail(told)
            time.sleep(drawn.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        before, newest = newest, victim.check()
        assert newest >= before
    assert 0 < newest < steps
    told = victim.run()
    assert f"going on at step {newest}," in told
    assert "damaged" not in told
    assert Result.of(victim.workdir) == undisturbed(steps)


@pytest.mark.slow
def test_kills_before_each_change_of_the_files(undisturbed: Callable[[int], Result], tmp_path: Path) -> None:
    """The first start is killed before its first change, the second before its second ..., until one is not."""
    victim = Victim(tmp_path, 12)
    killed: list[str] = []
    newest = 0
    while True:
        process = victim.start(("-c", KILLS_ITSELF, str(len(killed)), str(victim.workdir)))
        _, told = process.communicate(timeout=300)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, told
        assert "damaged" not in told
        killed.append(next(line for line in told.splitlines() if line.startswith("killed before")).split("/")[-1])
        before, newest = newest, victim.check()
        assert newest >= before
        assert len(killed) < 100
    assert len(killed) > 12
    assert Result.of(victim.workdir) == undisturbed(12)
