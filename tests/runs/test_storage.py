"""Disks that are full, read-only or gone, and folders in use: told in one line, and nothing that was saved is lost."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from tensorboard.summary.writer.record_writer import RecordWriter

from trm_jax.commands.cli import main
from trm_jax.devices.sharding import layout_of
from trm_jax.errors import CheckpointError, StorageError
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.writers import FILE, MetricsWriter, read_metrics
from trm_jax.training.program import like, settled

MEGABYTE = 1 << 20
SIZE = 40 * MEGABYTE
STEPS, SAVE_EVERY, LOG_EVERY = 24, 4, 2

# An experiment whose checkpoints have 6 MB. Asked to, it waits after steps until the test lets it go on.
EXPERIMENT = f"""
import os, time
from pathlib import Path
from ml_collections import ConfigDict
from trm_jax.runs import train
from trm_jax.config import experiment_from, to_dict

def get_config():
    return ConfigDict(to_dict(experiment_from({{
        "name": "small",
        "model": {{
            "width": 128, "mixer": "mlp", "positions": "none", "puzzle_dim": 0, "puzzle_tokens": 0, "latent_steps": 1,
            "cycles": 1, "supervision_steps": 3, "dtype": "float32",
        }},
        "data": {{"puzzle": "sudoku", "side": 4, "train": "generated", "test": "generated", "train_puzzles": 20,
                  "test_puzzles": 5}},
        "train": {{"steps": {STEPS}, "batch_size": 4, "log_every": {LOG_EVERY}, "eval_every": 0,
                   "save_every": {SAVE_EVERY}}},
        "devices": {{"data": 1}},
    }})))

if "TRM_TEST_WAITS" in os.environ:
    folder, *steps = os.environ["TRM_TEST_WAITS"].split(os.pathsep)
    advance, made = train.advance, [0]

    def waiting(*arguments):
        outcome = advance(*arguments)
        made[0] += 1
        if str(made[0]) in steps:
            Path(folder, f"at-{{made[0]}}").touch()
            end = time.monotonic() + 300
            while not Path(folder, f"go-{{made[0]}}").exists():
                assert time.monotonic() < end
                time.sleep(0.01)
        return outcome

    train.advance = waiting
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The argument that names the experiment."""
    path = tmp_path_factory.mktemp("experiment") / "small.py"
    path.write_text(EXPERIMENT)
    return f"--config={path}"


class Disk:
    """A file system of its own, of 40 MB, in memory; and what befalls it.

    It is mounted in a namespace of its own, which ends with a process that waits: so that nobody needs to be root, and
    nothing is left behind however the tests end. The way to it leads through that process's root.
    """

    def __init__(self, mounted: Path, holder: "subprocess.Popen[str]") -> None:
        self._mounted, self._holder = mounted, holder
        self.path = Path(f"/proc/{holder.pid}/root") / mounted.relative_to("/")
        self.workdir = self.path / "run"

    def inside(self, script: str) -> None:
        """Runs a script in the namespace, with the disk and the working directory as $DISK and $RUN."""
        enter = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", str(self._holder.pid), "sh", "-ec", script]
        places = {"DISK": str(self._mounted), "RUN": str(self._mounted / "run")}
        subprocess.run(enter, check=True, env=os.environ | places)

    def fill(self, left: int = 0) -> None:
        """Leaves so many bytes."""
        there = os.statvfs(self.path)
        with (self.path / "filling").open("wb", buffering=0) as file, suppress(OSError):
            for _ in range((there.f_bavail * there.f_frsize - left) // 4096 + (left == 0)):
                file.write(bytes(4096))

    def free(self) -> None:
        (self.path / "filling").unlink()

    def fill_but_a_megabyte(self) -> None:
        self.fill(MEGABYTE)

    def remove(self) -> None:
        shutil.rmtree(self.workdir)

    def put_a_file_in_its_place(self) -> None:
        self.workdir.rename(self.path / "elsewhere")
        self.workdir.touch()

    def put_it_back(self) -> None:
        self.workdir.unlink()
        (self.path / "elsewhere").rename(self.workdir)

    def unmount(self) -> None:
        self.inside('umount -l "$DISK"')

    def make_read_only(self) -> None:
        self.inside('mount --bind "$RUN" "$RUN"; mount -o remount,bind,ro "$RUN"')

    def make_writable(self) -> None:
        self.inside('umount "$RUN"')


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    script = f'mount -t tmpfs -o size={SIZE} none "$1" && echo mounted && exec cat'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(mounted)]
    try:
        holder = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    except FileNotFoundError:
        pytest.skip("no unshare here to mount a small disk with")
    with holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        if holder.stdout.readline() != "mounted\n":
            pytest.skip(f"no small disk can be mounted here: {holder.stderr.read().strip()}")
        yield Disk(mounted, holder)
        holder.stdin.close()


class Run:
    """`trm train` in a process of its own, which waits after the named steps. A context manager: leaving it ends it."""

    def __init__(self, config: str, workdir: Path, place: Path, *waits: int) -> None:
        """place: where its output and its signs to wait and go on lie."""
        self._place = place
        asked = {"TRM_TEST_WAITS": os.pathsep.join([str(place), *map(str, waits)])}
        command = [sys.executable, "-m", "trm_jax", "train", config, f"--workdir={workdir}"]
        with (place / "said").open("wb") as said:
            self.process = subprocess.Popen(command, stderr=said, stdout=said, env=os.environ | asked)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> list[str]:
        return (self._place / "said").read_text().splitlines()

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 240
        while not is_so():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.01)

    def comes_to(self, step: int, saved: Path | None = None) -> None:
        """Returns when it waits after this step, and, where asked for, this checkpoint is whole."""
        self.wait_until((self._place / f"at-{step}").exists)
        if saved is not None:
            self.wait_until(saved.exists)

    def goes_on(self, step: int) -> None:
        (self._place / f"go-{step}").touch()

    def ends(self) -> int:
        return self.process.wait(240)

    def told(self) -> str:
        """The one error; asserts that beside it there are lines of progress alone, as pages of tracebacks are not."""
        errors = [line for line in self.said if line.startswith("trm: error: ")]
        assert len(errors) == 1, self.said
        others = [line for line in self.said if line not in errors]
        usual = r"small: .* weights; .*|20 examples, .*|starting, .*|first step done .*|training \d+/24 .*|SIGTERM: .*"
        assert [line for line in others if not re.fullmatch(usual, line)] == []
        return errors[0].removeprefix("trm: error: ")

    @property
    def last_row(self) -> int:
        """The last step of which it told figures."""
        return max([0, *(int(line.split()[1].partition("/")[0]) for line in self.said if line.startswith("training"))])


def trained(config: str, workdir: Path) -> int:
    """The same command in this process; its exit code."""
    return main(["train", config, f"--workdir={workdir}"])


def results(workdir: Path) -> tuple[str, list[dict[str, float | None]]]:
    """A fingerprint of all arrays of the newest checkpoint, and all figures but times."""
    with Checkpoints(workdir) as checkpoints:
        assert checkpoints.latest == STEPS
        meta = checkpoints.latest_meta()
        assert meta is not None
        layout = layout_of(meta.experiment)
        arrays = checkpoints.restore(*like(settled(meta.experiment, layout), layout))
    rows = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_metrics(workdir)]
    return fingerprint(arrays), rows


@pytest.fixture(scope="module")
def undisturbed(config: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, float | None]]]:
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    assert trained(config, workdir) == 0
    found = results(workdir)
    assert [row["step"] for row in found[1]] == [*range(LOG_EVERY, STEPS + 1, LOG_EVERY)]
    return found


Results = tuple[str, list[dict[str, float | None]]]

GOES_ON = "mend that, and the same command goes on from there"
ENOSPC, EROFS, ENOENT, ENOTDIR = map(os.strerror, (errno.ENOSPC, errno.EROFS, errno.ENOENT, errno.ENOTDIR))


def leave(disk: Disk) -> None:
    """Nothing is to be mended."""


# What befalls the disk after step 6; the reason that is told; the step that is left; the last step of which figures
# may come: at the latest those of the next due save; and how it is mended.
FAULTS = [
    pytest.param(Disk.fill_but_a_megabyte, ENOSPC, 4, 12, Disk.free, id="no-space-for-a-checkpoint"),
    pytest.param(Disk.fill, ENOSPC, 4, 12, Disk.free, id="no-space-at-all", marks=pytest.mark.slow),
    pytest.param(Disk.make_read_only, EROFS, 4, 8, Disk.make_writable, id="read-only", marks=pytest.mark.slow),
    pytest.param(Disk.remove, ENOENT, None, 6, leave, id="removed", marks=pytest.mark.slow),
    pytest.param(Disk.put_a_file_in_its_place, ENOTDIR, None, 6, Disk.put_it_back, id="a-file", marks=pytest.mark.slow),
    pytest.param(Disk.unmount, ENOENT, None, 6, leave, id="unmounted", marks=pytest.mark.slow),
]


@pytest.mark.slow  # what a full disk is told as is below, in process
@pytest.mark.parametrize(("befalls", "reason", "left", "latest_row", "mend"), FAULTS)
def test_a_disk_that_fails(
    befalls: Callable[[Disk], None],
    reason: str,
    left: int | None,
    latest_row: int,
    mend: Callable[[Disk], None],
    disk: Disk,
    config: str,
    undisturbed: Results,
    tmp_path: Path,
) -> None:
    """The run ends with one line that names folder, reason and what is left; mended, the same command goes on."""
    with Run(config, disk.workdir, tmp_path, 6) as run:
        run.comes_to(6, disk.workdir / "checkpoints" / "4")
        befalls(disk)
        run.goes_on(6)
        assert run.ends() == 1, run.said
        message = run.told()

    assert str(disk.workdir) in message
    assert f"({reason})" in message
    if left is None:
        assert message.endswith("no step is there: mend that, and the same command begins again")
    else:
        assert message.endswith(f"step {left} is the last one saved: {GOES_ON}")
        with Checkpoints(disk.workdir) as checkpoints:
            assert checkpoints.latest == left
        assert load(disk.workdir)[0].name == "small"
    assert run.last_row <= latest_row
    mend(disk)
    assert trained(config, disk.workdir) == 0
    assert results(disk.workdir) == undisturbed


def test_a_save_that_failed_is_told_with_the_next_row(
    config: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It may be hours until the next save, at which it could not be missed."""
    save = Checkpoints.save

    def publish(checkpoints: Checkpoints, step: int) -> None:
        raise checkpoints._not_saved(step, OSError(errno.ENOSPC, ENOSPC))

    def save_and_see(checkpoints: Checkpoints, *arguments: Any) -> None:
        save(checkpoints, *arguments)
        assert checkpoints._under_way is not None
        checkpoints._under_way.exception()

    monkeypatch.setattr(Checkpoints, "_publish", publish)
    monkeypatch.setattr(Checkpoints, "save", save_and_see)
    assert trained(config, tmp_path) == 1
    assert f"step {SAVE_EVERY} could not be saved ({ENOSPC})" in capsys.readouterr().err.splitlines()[-1]
    assert [row["step"] for row in read_metrics(tmp_path)] == [2, 4, 6]


def listed(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True], ids=["at the end", "asked to stop"])
def test_the_last_save_fails(asked: bool, disk: Disk, config: str, undisturbed: Results, tmp_path: Path) -> None:
    """Nothing follows by which it could be noticed, and yet the run neither seems done nor well stopped."""
    with Run(config, disk.workdir, tmp_path, 22) as run:
        run.comes_to(22, disk.workdir / "checkpoints" / "20")
        run.wait_until(lambda: listed(disk.workdir) == ["16", "20"])  # the one before them takes space until it is gone
        disk.fill(MEGABYTE)
        if asked:
            run.process.send_signal(signal.SIGTERM)
        run.goes_on(22)
        assert run.ends() == 1, run.said
        message = run.told()

    failed = f"{disk.workdir}/checkpoints: step {22 if asked else 24} could not be saved ({ENOSPC})"
    assert message == f"{failed}; step 20 is the last one saved: {GOES_ON}"
    disk.free()
    assert trained(config, disk.workdir) == 0
    assert results(disk.workdir) == undisturbed


# --- Before anything is lost


def test_too_little_space_is_told_before_the_first_step(
    disk: Disk, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    disk.fill(10 * MEGABYTE)
    assert trained(config, disk.workdir) == 1

    said = capsys.readouterr().err
    assert said.count("\n") == 1
    found = re.fullmatch(
        r"trm: error: (.*): (.*) are free, but 3 more checkpoints of (.*) will be there at a time: free some, or lower "
        r"config\.train\.keep_checkpoints\n",
        said,
    )
    assert found is not None, said
    assert found[1] == str(disk.workdir)
    assert found[2] == "10.5 MB"
    assert 6 < float(found[3].removesuffix(" MB")) < 7
    assert [path.name for path in disk.path.rglob("*")] == ["filling"]


def test_space_is_counted_for_what_will_be_there_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two are kept, and a third is written before the first goes; those that are there take no more."""
    state = {"a": jax.ShapeDtypeStruct((1000,), np.dtype("float32")), "b": jax.ShapeDtypeStruct((), np.dtype("int32"))}
    one = 4004
    for number, needed in ((0, 3), (1, 2), (2, 1), (3, 1)):
        if number:
            (tmp_path / "checkpoints" / str(number)).mkdir(parents=True)
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            for free in (needed * one, needed * one - 1):
                monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(0, 0, free))
                if free == needed * one:
                    checkpoints.check_space(state)  # type: ignore[arg-type]
                else:
                    with pytest.raises(StorageError, match=f"but {needed} more checkpoints of 4 kB"):
                        checkpoints.check_space(state)  # type: ignore[arg-type]


# --- Figures


def test_figures_and_notes_are_whole_on_a_full_disk(disk: Disk) -> None:
    """Neither taking rows back nor writing config.json loses what was there."""
    with MetricsWriter(disk.path, 0) as writer:
        for step in range(1, 300):
            writer.write(step, {"loss": step / 4, "noise": 1 / step})
        writer.note("config.json", '{"a": 1}\n')
    rows = (disk.path / FILE).read_bytes()
    disk.fill()

    with pytest.raises(StorageError, match=ENOSPC):
        MetricsWriter(disk.path, 200)

    assert (disk.path / FILE).read_bytes() == rows
    disk.free()
    with MetricsWriter(disk.path, 200) as writer:
        disk.fill()
        with pytest.raises(StorageError, match=ENOSPC):
            writer.note("config.json", '{"a": 2}\n' * 1000)
        assert (disk.path / "config.json").read_text() == '{"a": 1}\n'
        with pytest.raises(StorageError, match=ENOSPC):  # noqa: PT012 - the last page takes some rows yet
            for step in range(201, 500):
                writer.write(step, {"loss": step / 4, "noise": 1 / step})
        disk.free()
    steps = [row["step"] for row in read_metrics(disk.path)]
    assert steps == [*range(1, len(steps) + 1)]
    assert 200 <= len(steps) < 400


def test_events_that_cannot_be_written_are_told_as_well(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 1.0})
        good = writer._events
        writer._events = RecordWriter(Path("/dev/full").open("wb"))  # noqa: SIM115 - what it holds never gets out
        with pytest.raises(StorageError) as caught:
            writer.write(2, {"loss": 1.0})
        writer._events = good
    assert str(caught.value) == f"{tmp_path / FILE}: figures cannot be written any more ({ENOSPC})"


def test_what_stops_a_run_says_from_where_it_can_go_on(tmp_path: Path) -> None:
    """Also if it was not the checkpoints that failed; but other errors stay as they are."""
    (tmp_path / "checkpoints" / "8").mkdir(parents=True)
    for error in (StorageError("figures: no"), CheckpointError("no"), OSError("no")):
        with pytest.raises(type(error)) as caught, Checkpoints(tmp_path):
            raise error
        more = f"; step 8 is the last one saved: {GOES_ON}"
        assert str(caught.value) == f"{error}" + (more if isinstance(error, StorageError) else "")


# --- Readers


@pytest.mark.slow  # tests/runs/test_damage.py lists what a reader leaves
def test_readers_write_nothing(
    disk: Disk, config: str, undisturbed: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a disk that cannot be written they work, and training says that it cannot."""
    assert trained(config, disk.workdir) == 0
    disk.make_read_only()
    before = {path: path.stat().st_mtime_ns for path in disk.path.rglob("*")}

    assert results(disk.workdir) == undisturbed
    assert load(disk.workdir)[0].name == "small"
    capsys.readouterr()
    assert main(["eval", str(disk.workdir), "--limit", "2", "--devices", "1"]) == 0
    assert re.fullmatch(r"(evaluating [01]/2 .*\n)*evaluating 2/2 .*\n", capsys.readouterr().err)
    assert trained(config, disk.workdir) == 2
    said = capsys.readouterr().err
    assert said == f"trm: error: --workdir={disk.workdir}: cannot lock {disk.workdir / 'lock'}: {EROFS}\n"
    assert {path: path.stat().st_mtime_ns for path in disk.path.rglob("*")} == before


# --- One run at a time


def refusal(arguments: list[str]) -> tuple[str, float]:
    """What a command says that has to be refused, in a process of its own, and the seconds it takes."""
    began = time.monotonic()
    command = [sys.executable, "-m", "trm_jax", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    return done.stderr, time.monotonic() - began


def listing(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.slow
def test_a_folder_in_use_is_refused_and_a_killed_run_is_in_nobodys_way(
    config: str, undisturbed: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workdir, state_dict = tmp_path / "run", tmp_path / "weights.safetensors"
    with Run(config, workdir, tmp_path, 2, 6) as run:
        run.comes_to(2)
        holder = rf"process {run.process.pid} on {re.escape(socket.gethostname())} since [-0-9]+ [0-9:]+"
        expected = rf"trm: error: {re.escape(str(workdir))} is in use by {holder}: wait for it, or give another .*\n"
        before = listing(workdir)
        said, seconds = refusal(["train", config, f"--workdir={workdir}"])
        print(f"refused after {seconds:.1f} s")
        assert re.fullmatch(expected, said)
        assert seconds < 10, "2 on a machine that is not busy otherwise"
        export(config, state_dict, tmp_path / "other")
        capsys.readouterr()
        for arguments in (
            ["convert", str(state_dict), str(workdir), config],
            ["demo", "--variant=smoke", f"--workdir={workdir}"],
        ):
            assert main(arguments) == 2
            # What a demonstration does first is told before.
            assert re.fullmatch(expected, capsys.readouterr().err.splitlines(keepends=True)[-1])
        assert listing(workdir) == before
        run.goes_on(2)
        run.comes_to(6, workdir / "checkpoints" / "4")
        run.process.send_signal(signal.SIGKILL)
        assert run.ends() == -signal.SIGKILL
    assert (workdir / "lock").exists()
    assert trained(config, workdir) == 0
    assert not (workdir / "lock").exists()
    assert results(workdir) == undisturbed


def export(config: str, state_dict: Path, workdir: Path) -> None:
    """Weights of the model as a file that can be converted, from a run of no more than a step."""
    assert main(["train", config, f"--workdir={workdir}", "--config.train.steps=1"]) == 0
    assert main(["convert", str(workdir), str(state_dict)]) == 0


@pytest.mark.slow
def test_a_run_does_not_notice_who_was_refused(config: str, undisturbed: Results, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    with Run(config, workdir, tmp_path, 6) as run:
        run.comes_to(6)
        for _ in range(3):
            refusal(["train", config, f"--workdir={workdir}"])
        run.goes_on(6)
        assert run.ends() == 0, run.said
    assert results(workdir) == undisturbed
