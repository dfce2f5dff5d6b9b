"""Signals that ask a run to stop, at every moment of its life: it ends soon, and the same command goes on.

These are processes and signals as a user's: `trm train`, from the first moment at which it can hear to the last.
"""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_run import environment, experiment, figures, words

from trm_jax.runs import signals
from trm_jax.runs.checkpoint import FOLDER, load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.signals import Stopped, StopSignals
from trm_jax.runs.train import train

STEPS = 30
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LONGEST = 10.0  # seconds from a signal to the end
DONE, RESUME_ME = 0, 75

CHANGES = {"train__log_every": 1, "train__eval_every": 15, "train__save_every": 4, "train__keep_checkpoints": 3}

# The command `trm`, but for one function, which tells that it is entered and then takes longer.
SLOWED = """
import importlib, sys, time
target, seconds, *sys.argv[1:] = sys.argv[1:]
from trm_jax.commands.cli import main
module, _, names = target.partition(":")
owner = importlib.import_module(module)
*path, name = names.split(".")
for part in path:
    owner = getattr(owner, part)
real = getattr(owner, name)
def slowed(*args, **kwargs):
    print("entered", target, file=sys.stderr, flush=True)
    time.sleep(float(seconds))
    return real(*args, **kwargs)
setattr(owner, name, slowed)
sys.exit(main())
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, its standard error, and seconds since the signal."""

    code: int
    told: str
    seconds: float


Reached = Callable[[subprocess.Popen[str], Path], bool]


@dataclass(frozen=True)
class Moment:
    """When a signal is sent.

    line: once standard error has a line with this in it; "": see `reached`.
    reached: otherwise, once this is true of the process and its working directory.
    slowed, seconds: MODULE:FUNCTION that takes so much longer; "": none.
    words: arguments besides the usual ones, which make the moment longer and change nothing in what is computed.
    cold: whether all has to be compiled anew.
    codes: with which the process may end.
    """

    line: str = ""
    reached: Reached | None = None
    slowed: str = ""
    seconds: float = 0.0
    words: tuple[str, ...] = ()
    cold: bool = False
    codes: tuple[int, ...] = (RESUME_ME,)


def hears(process: subprocess.Popen[str], workdir: Path) -> bool:
    """Whether signals are caught rather than deadly, as the kernel has it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGUSR1 - 1) & 1)


def has_lock(process: subprocess.Popen[str], workdir: Path) -> bool:
    return (workdir / "lock").exists()


def some_saved(process: subprocess.Popen[str], workdir: Path) -> bool:
    return (workdir / FOLDER / "4").exists()


# In the order in which one run can be stopped at all of them, one after the other.
MOMENTS = {
    "as soon as it hears": Moment(reached=hears),
    "importing": Moment(reached=has_lock),
    "generating puzzles": Moment(
        line="entered", slowed="trm_jax.data.dataset:load", words=("--config.data.train_puzzles=2_000_000",)
    ),
    "compiling": Moment(line="compiling ...", cold=True, words=("--config.model.width=512", "--config.model.layers=6")),
    "training": Moment(line="training 3/", codes=(RESUME_ME,)),
    "saving": Moment(line="entered", slowed="trm_jax.runs.manifest:write", seconds=1.0),
    "restoring": Moment(line="entered", slowed="trm_jax.runs.checkpoint:Checkpoints.restore", seconds=30.0),
    "evaluating": Moment(line="training 15/", words=("--config.data.test_puzzles=30_000",)),
    "deleting": Moment(line="entered", slowed="trm_jax.runs.step_folders:remove", seconds=1.0),
    "at the end": Moment(line=f"training {STEPS}/", codes=(RESUME_ME, DONE)),
}


class Command:
    """`trm train` of the small experiment."""

    def __init__(self, folder: Path) -> None:
        self.workdir = folder / "run"
        self._folder, self._words = folder, words(folder, **CHANGES)

    def start(self, moment: Moment) -> subprocess.Popen[str]:
        program = ["-c", SLOWED, moment.slowed, str(moment.seconds)] if moment.slowed else ["-m", "trm_jax"]
        own = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0", "JAX_COMPILATION_CACHE_DIR": str(self._folder / "cold")}
        return subprocess.Popen(
            [sys.executable, *program, *self._words, *moment.words],
            env=environment(**own if moment.cold else {}),
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self) -> str:
        """Lets it come to its end; returns what it told."""
        process = self.start(Moment())
        _, told = process.communicate(timeout=120)
        assert process.returncode == DONE, told
        return told

    def stop(self, moment: Moment, *numbers: int) -> Ended:
        """Starts it and sends it signals at a moment."""
        process = self.start(moment)
        told = ""
        try:
            assert process.stderr is not None
            if moment.reached:
                deadline = time.monotonic() + 60
                while not moment.reached(process, self.workdir):
                    assert process.poll() is None, process.stderr.read()
                    assert time.monotonic() < deadline
                    time.sleep(0.002)
            else:
                for line in process.stderr:
                    told += line
                    if moment.line in line:
                        break
                else:
                    pytest.fail(f"no line with {moment.line!r}:\n{told}")
            began = time.monotonic()
            for number in numbers:
                process.send_signal(number)
            told += process.communicate(timeout=60)[1]
            return Ended(process.returncode, told, time.monotonic() - began)
        finally:
            process.kill()
            process.communicate()

    def result(self) -> tuple[Any, ...]:
        """What a run comes to: digests of its weights, raw and averaged, and its figures without times."""
        weights = (fingerprint(load(self.workdir, averaged)[1]) for averaged in (False, True))
        return (*weights, figures(self.workdir))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    command = Command(tmp_path_factory.mktemp("undisturbed"))
    assert train(experiment(**CHANGES | {"train__save_every": 0}), command.workdir).finished
    assert [row["step"] for row in command.result()[2]] == [*range(1, 16), *range(15, 31), 30]
    return command.result()


def assert_ended_well(ended: Ended, moment: Moment) -> None:
    assert ended.code in moment.codes, ended.told
    assert ended.seconds < LONGEST, ended.told
    for word in ("Traceback", "Fatal", "Error", "terminate called", "Aborted", "exception"):
        assert word not in ended.told, ended.told


@pytest.mark.parametrize(
    "names",
    [("training",), pytest.param(("importing", "compiling", "training", "evaluating"), marks=pytest.mark.slow)],
    ids=len,
)
def test_one_run_is_stopped_again_and_again(
    names: tuple[str, ...], undisturbed: tuple[Any, ...], tmp_path: Path
) -> None:
    """The same command again and again, until nobody stops it any more."""
    command = Command(tmp_path)
    numbers = itertools.cycle(ASKING)
    for name in names:
        ended = command.stop(MOMENTS[name], next(numbers))
        assert_ended_well(ended, MOMENTS[name])
        if name in ("importing", "compiling"):
            assert not (command.workdir / FOLDER).is_dir() or not list((command.workdir / FOLDER).iterdir())
        else:
            assert "saved" in ended.told or ended.code == DONE
    told = command.run()
    assert "damaged" not in told
    assert command.result() == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", ASKING, ids=lambda number: number.name)
@pytest.mark.parametrize("name", MOMENTS)
def test_each_signal_is_answered_at_each_moment(
    name: str, number: signal.Signals, undisturbed: tuple[Any, ...], tmp_path: Path
) -> None:
    command, moment = Command(tmp_path), MOMENTS[name]
    if name == "restoring":
        assert_ended_well(command.stop(MOMENTS["training"], number), MOMENTS["training"])
    ended = command.stop(moment, number)
    assert_ended_well(ended, moment)
    if name in ("training", "saving", "evaluating", "deleting"):
        assert f"{number.name}: stopping after this step, then saving" in ended.told
    told = command.run()
    assert "damaged" not in told
    if name in ("training", "saving", "evaluating", "deleting", "restoring"):
        assert "going on at step" in told
    assert command.result() == undisturbed


@pytest.mark.slow
def test_a_second_interrupt_ends_it_at_once_and_loses_no_more_than_a_kill(
    undisturbed: tuple[Any, ...], tmp_path: Path
) -> None:
    command = Command(tmp_path)
    slow = Moment(line="training 9/", slowed="trm_jax.runs.manifest:write", seconds=8.0)
    process = command.start(slow)
    assert process.stderr is not None
    for line in process.stderr:
        if "training 6/" in line:
            break
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Traceback" not in told
    command.run()
    assert command.result() == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_that_is_repeated_changes_nothing(
    again: signal.Signals, undisturbed: tuple[Any, ...], tmp_path: Path
) -> None:
    """As batch systems do that tell each process, and the first of them for all."""
    command = Command(tmp_path)
    ended = command.stop(MOMENTS["training"], signal.SIGTERM, again, again)
    assert_ended_well(ended, MOMENTS["training"])
    assert ended.told.count("stopping after this step") == 1
    command.run()
    assert command.result() == undisturbed


# Builds of minutes.
BUILDS: dict[str, tuple[str, ...]] = {
    "sudoku": ("sudoku", "out", "--generate", "200000"),
    "sudoku by processes": ("sudoku", "out", "--generate", "200000", "--workers", "2"),
    "maze": ("maze", "out", "--generate", "100000", "--size", "21x21", "--min-length", "40"),
    "images": ("sudoku", "out", "--train", "train.csv", "--augmentations", "10000"),
}


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("images", signal.SIGUSR1),
        *(
            pytest.param(name, number, marks=pytest.mark.slow)
            for name in BUILDS
            for number in ASKING
            if (name, number) != ("images", signal.SIGUSR1)
        ),
    ],
)
def test_builders_leave_nothing(name: str, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("question,answer\n" + "12..341.21434321,1234341221434321\n" * 300)
    command = [sys.executable, "-m", "trm_jax", "data", *BUILDS[name]]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, env=environment(), text=True)
    try:
        deadline = time.monotonic() + 60
        while not hears(process, tmp_path):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(1.0)
        began = time.monotonic()
        process.send_signal(number)
        told = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == {"SIGTERM": 143, "SIGINT": 130, "SIGUSR1": 138}[number.name], told
    assert time.monotonic() - began < LONGEST
    assert told.splitlines()[-1] in ("trm: terminated", "trm: interrupted")
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


@pytest.mark.parametrize("number", [ASKING[0], *(pytest.param(each, marks=pytest.mark.slow) for each in ASKING[1:])])
def test_work_is_left_at_a_signal_and_its_result_ignored(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_left", [])
    assert signals.ASKING == ASKING
    handlers = {s: signal.getsignal(s) for s in ASKING}
    released: list[str] = []

    def work() -> int:
        os.kill(os.getpid(), number)
        time.sleep(1.0)
        released.append("done")
        return 1

    with StopSignals() as stop:
        assert stop.during(lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            stop.during(lambda: 1 // 0)
        began = time.monotonic()
        with pytest.raises(Stopped):
            stop.during(work)
        assert time.monotonic() - began < 0.9
        assert (stop.stop, stop.name, released) == (True, number.name, [])
        with pytest.raises(Stopped):  # nothing is begun any more
            stop.during(lambda: released.append("begun"))
        assert released == []
        assert [thread.name for thread in signals._left] == ["work"]
    assert {s: signal.getsignal(s) for s in ASKING} == handlers
    signals._left[0].join()
    assert signals.leave(3) == 3


# Work that would go on for a minute is left at a signal; then the process ends as the command `trm` does.
LEAVING = """
import atexit, os, signal, sys, time
from trm_jax.runs.signals import Stopped, StopSignals, leave
atexit.register(print, "torn down under it")
try:
    with StopSignals() as stop:
        stop.during(lambda: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(60)))
except Stopped:
    print("left")
    sys.exit(leave(75))
"""


def test_nothing_is_torn_down_under_work_that_was_left() -> None:
    began = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", LEAVING], env=environment(), capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (75, "left\n"), ended.stderr
    assert time.monotonic() - began < LONGEST


def test_work_of_several_processes_is_not_left() -> None:
    with StopSignals(leaves=False) as stop:

        def work() -> int:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(0.1)
            return 5

        assert stop.during(work) == 5
        assert stop.stop


def test_a_second_interrupt_is_not_taken_for_the_first() -> None:
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR1)
        assert stop.name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
