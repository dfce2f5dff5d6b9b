"""A soak: training that is killed, stopped, damaged and disturbed at random ends as if nothing had happened.

    python -m benchmarks.soak [--minutes 20] [--seed N]

A small model is trained by the command `trm train`, on the processor. Two short runs fill a cache of compiled programs
and tell the pace, from which follows how many steps fit into the time. Then one run is left alone; memory, descriptors
and threads of its process are sampled. Another makes the same steps, but each of its parts is ended at a random moment
by SIGKILL or a signal that asks for a stop. Meanwhile a second run wants the folder, or `trm eval` reads it; between
two parts the newest checkpoint is damaged, or junk is left in the folder.

What has to hold, or else the soak fails with exit code 1 and leaves its folder for inspection:
  - each part ends with the documented exit code and without a traceback, within EXIT_SECONDS of a signal, or three
    times what a start takes, if that is more;
  - each step in checkpoints/ is valid, unless it was damaged just now; the next part goes on from the newest valid one;
  - a signal loses no step, a kill those since the last save began, and if it came before the end of that, those of one
    more interval between two saves;
  - a second run is refused within REFUSAL_SECONDS with exit code 2, and the first goes on;
  - the last checkpoints of both runs are equal bit for bit, and so are their figures but for times;
  - the undisturbed process does not grow (`leaks`).
"""

import argparse
import json
import math
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax

from benchmarks.machine import describe
from trm_jax.devices.sharding import ALONE
from trm_jax.exit_codes import BAD_INPUT, DONE, RESUME_ME
from trm_jax.runs import manifest
from trm_jax.runs.checkpoint import FOLDER, Checkpoints
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.signals import ASKING
from trm_jax.runs.writers import FILE as FIGURES
from trm_jax.runs.writers import read_metrics
from trm_jax.training.program import like, no_metrics

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "soak.jsonl"

# Steps between two saves, evaluations, rows of figures. Some evaluations fall on a save, others do not.
SAVE_EVERY, EVAL_EVERY, LOG_EVERY, KEEP = 100, 150, 10, 3
SETTINGS = {
    "model.puzzle_dim": 16, "model.puzzle_tokens": 1, "model.exploration": 0.5, "optim.learning_rate": 1e-3,
    "optim.min_ratio": 1.0, "data.train_puzzles": 50, "data.test_puzzles": 32, "train.batch_size": 8,
    "train.log_every": LOG_EVERY, "train.eval_every": EVAL_EVERY, "train.eval_batch_size": 32,
    "train.save_every": SAVE_EVERY, "train.keep_checkpoints": KEEP, "devices.data": 1, "devices.steps_per_call": 1,
}  # fmt: skip

# Seconds: until the end after a signal; until a second run is refused; after which a process is given up.
EXIT_SECONDS, REFUSAL_SECONDS, PATIENCE = 10.0, 2.0, 120.0
# Bytes that memory may grow in 1,000 steps, 15 kB for each save; and, in all, what may wait for Python's collector of
# cycles, which comes the more rarely the more objects there are.
GROWTH, GARBAGE = 150_000, 10_000_000
# Descriptors or threads that may come and go.
SLACK = 5
# Steps of the runs that tell the pace, and of the others at least; parts that are ended by a signal, if steps allow.
FIRST_STEPS, LEAST_STEPS, LEAST_PARTS = 600, 2_000, 6

_TROUBLE = re.compile(r"Traceback|\w*(?:Error|Exception|Warning)\b|Fatal|trm: error")
_START = re.compile(r"^(?:starting|going on at step (\d+)), \d+ steps", re.MULTILINE)


class Fault(Exception):
    """Something that must not happen has happened; the message tells what."""


@dataclass(frozen=True)
class Sample:
    """A process at a moment.

    step: the last of which it has written figures.
    used: bytes that it has in use, as it says (benchmarks.watched).
    resident: bytes of its own that are in memory; not what backs a file.
    descriptors, threads: how many.
    """

    step: int
    used: int
    resident: int
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Growth:
    """Bytes in 1,000 steps, the standard error of that, and after how many steps it was known."""

    per_1000_steps: float
    error: float
    steps: int

    @property
    def leaks(self) -> bool:
        """Whether it is above the bound by more than chance."""
        return self.per_1000_steps - 3 * self.error > GROWTH + GARBAGE / (self.steps / 1000)


class Process:
    """A `trm` command under way; what it says on standard error goes into a file.

    seconds: monotonic time at which it was started.
    """

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path, told: Path | None) -> None:
        """told: a file in which it is to tell what it has in use."""
        self._log = log
        self.began = time.monotonic()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *(["trm_jax"] if told is None else ["benchmarks.watched", told]), *words],
                cwd=ROOT,
                env=environment if told is None else {**environment, "PYTHONMALLOC": "malloc"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def said(self) -> str:
        """All that it has said so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def code(self) -> int | None:
        """Its exit code, the negative signal that killed it, or None as long as it runs."""
        return self._process.poll()

    @property
    def hears(self) -> bool:
        """Whether it has got as far as to catch all signals that ask for a stop."""
        caught = int(_status(self.pid).get("SigCgt", "0"), 16)
        return all(caught >> (number - 1) & 1 for number in ASKING)

    @property
    def start(self) -> int | None:
        """The step from which a run goes on; None if it has not come so far."""
        found = _START.search(self.said)
        return None if found is None else int(found[1] or 0)

    @property
    def trains(self) -> bool:
        """Whether a run has made a step."""
        return "first step done" in self.said

    def send(self, number: signal.Signals) -> None:
        """Sends a signal."""
        self._process.send_signal(number)

    def end(self, within: float) -> tuple[int, float]:
        """Waits for the end: the exit code, and the seconds that it took. Raises Fault if it takes longer."""
        began = time.monotonic()
        try:
            return self._process.wait(within), time.monotonic() - began
        except subprocess.TimeoutExpired:
            self.abandon()
            raise Fault(f"still there after {within:.0f} s: {self.last_words}") from None

    def abandon(self) -> None:
        """Kills it, if it still runs."""
        self._process.kill()
        self._process.wait()

    @property
    def last_words(self) -> str:
        """The last line that it said."""
        return next(iter(self.said.splitlines()[::-1]), "nothing said")


def _status(pid: int) -> dict[str, str]:
    """What the kernel says of a process; nothing of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def sample(pid: int, step: int, told: Path) -> Sample | None:
    """The process now; None if it has ended. `told`: the file in which it tells what it has in use."""
    status = _status(pid)
    try:
        return Sample(
            step,
            int(told.read_text()),
            int(status["RssAnon"].split()[0]) * 1024,
            len(os.listdir(f"/proc/{pid}/fd")),
            int(status["Threads"]),
        )
    except (KeyError, OSError, ValueError):  # also if it is just beginning to tell
        return None


def last_step(workdir: Path) -> int:
    """The step of the last whole row of figures; 0 where there is none."""
    try:
        with (workdir / FIGURES).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            text = file.read()
    except FileNotFoundError:
        return 0
    found = re.findall(rb'^\{"step": (\d+),.*\}\n', text, re.MULTILINE)
    return int(found[-1]) if found else 0


def growth(samples: Sequence[Sample], of: str) -> Growth:
    """Least squares over all samples but the first quarter, and those before it last fell by a tenth.

    That happens when Python's collector finds, after thousands of steps, what tracing and compiling have left.

    of: "used" or "resident".

    The error takes into account that neighbours are alike: of n samples, whose residuals have the correlation r with
    those before them, n (1 - r) / (1 + r) count (Bartlett 1935).
    """
    values = [float(getattr(s, of)) for s in samples]
    falls = [i + 1 for i, (a, b) in enumerate(pairwise(values)) if b < 0.9 * a]
    begin = max([len(samples) // 4, *falls])
    later, memory = samples[begin:], values[begin:]
    steps = [s.step / 1000 for s in later]
    if len(set(steps)) < 4:
        raise Fault(f"{len(samples)} samples of the process are too few: give it more minutes")
    slope, at_zero = statistics.linear_regression(steps, memory)
    rest = [y - at_zero - slope * x for x, y in zip(steps, memory, strict=True)]
    squares = sum(r * r for r in rest)
    alike = max(0.0, sum(a * b for a, b in pairwise(rest)) / squares) if squares else 0.0
    count = max(3.0, len(later) * (1 - alike) / (1 + alike))
    error = math.sqrt(squares / len(later) / (count - 2) / statistics.pvariance(steps))
    return Growth(slope, error, later[-1].step - later[0].step)


def leaks(samples: Sequence[Sample]) -> list[str]:
    """What of a process has grown, in clauses.

    Memory, used and resident: its growth over the steps, less three standard errors, is above GROWTH, and GARBAGE
    spread over all steps.
    Descriptors and threads: while a step is being saved there are more of them; the fewest of the last quarter must not
    be more, by SLACK, than the fewest of the second.
    """
    found = []
    for name in ("used", "resident"):
        grown = growth(samples, name)
        if grown.leaks:
            told = f"{grown.per_1000_steps:,.0f} +- {grown.error:,.0f} bytes in 1,000 steps"
            found.append(f"{name} memory grows by {told}")
    quarter = len(samples) // 4
    for name in ("descriptors", "threads"):
        second, last = samples[quarter : 2 * quarter], samples[-quarter:]
        before, after = (min(getattr(s, name) for s in part) for part in (second, last))
        if after > before + SLACK:
            found.append(f"{name} grow from {before} to {after}")
    return found


def _files(step: Path) -> list[Path]:
    return sorted(path for path in step.rglob("*") if path.is_file() and path.stat().st_size)


def flip_bit(step: Path, rng: random.Random) -> str:
    """Turns one bit of one file round; returns what was done, as the others do."""
    path = rng.choice(_files(step))
    content = bytearray(path.read_bytes())
    place = rng.randrange(len(content))
    content[place] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return f"bit flipped in byte {place} of {path.relative_to(step)}"


def truncate(step: Path, rng: random.Random) -> str:
    """Cuts one file short."""
    path = rng.choice(_files(step))
    length = rng.randrange(path.stat().st_size)
    os.truncate(path, length)
    return f"{path.relative_to(step)} cut to {length} bytes"


def delete_file(step: Path, rng: random.Random) -> str:
    """Deletes one file."""
    path = rng.choice(_files(step))
    path.unlink()
    return f"{path.relative_to(step)} deleted"


def empty(step: Path, rng: random.Random) -> str:
    """Deletes all that is in the folder."""
    shutil.rmtree(step)
    step.mkdir()
    return "emptied"


def garble(step: Path, rng: random.Random) -> str:
    """Writes rubbish where JSON is expected."""
    path = step / "meta" / "metadata"
    text = path.read_text()
    place = rng.randrange(len(text))
    path.write_text(rng.choice([text[:place] + "}{" + text[place:], "[" * 5000, "null", '{"format": 4}', "\0" * 40]))
    return "meta/metadata garbled"


DAMAGE: dict[str, Callable[[Path, random.Random], str]] = {
    "bit flipped": flip_bit, "file truncated": truncate, "file deleted": delete_file, "folder emptied": empty,
    "JSON garbled": garble,
}  # fmt: skip


def leave_saving(workdir: Path, rng: random.Random) -> None:
    """What a process leaves that is killed while it saves or deletes."""
    name = f"{rng.randrange(10**6)}.{rng.choice(['saving', 'deleted', 'saving.orbax-checkpoint-tmp'])}"
    folder = workdir / FOLDER / name
    (folder / "weights").mkdir(parents=True, exist_ok=True)
    (folder / "weights" / "half").write_bytes(rng.randbytes(1000))


def leave_strays(workdir: Path, rng: random.Random) -> None:
    """Files and folders of others, some of which look nearly like ours."""
    for name in rng.sample(["notes.txt", ".DS_Store", "07", "-1", "1e3", "latest", "5.damaged"], 3):
        (workdir / FOLDER).mkdir(exist_ok=True)
        (workdir / FOLDER / name).write_text("not a checkpoint")


def garble_lock(workdir: Path, rng: random.Random) -> None:
    """A lock without a holder, or with one that is none."""
    holder = b"process %d on elsewhere since 2026-11-22 12:01\n" % os.getpid()
    (workdir / "lock").write_bytes(rng.choice([b"", rng.randbytes(100), holder, b"[" * 3000]))


def cut_figures(workdir: Path, rng: random.Random) -> None:
    """A row of figures that was not written to its end."""
    with (workdir / FIGURES).open("ab") as file:
        file.write(b'{"step": 123456, "train/lo')


JUNK: dict[str, Callable[[Path, random.Random], None]] = {
    "N.saving left": leave_saving, "stray files": leave_strays, "lock garbled": garble_lock, "figures cut": cut_figures,
}  # fmt: skip
ENDS = {number.name: number for number in (signal.SIGKILL, *ASKING)}
SECOND_RUN, EVALUATION = "second run", "trm eval"


class Deck:
    """Deals names at random, each as often as any other."""

    def __init__(self, names: Iterable[str], rng: random.Random) -> None:
        self._names, self._rng = sorted(names), rng
        self._left: list[str] = []

    def deal(self) -> str:
        """The next one."""
        if not self._left:
            self._left = self._rng.sample(self._names, len(self._names))
        return self._left.pop()


@dataclass
class Tally:
    """What has happened to the disturbed run.

    lost: for each part that was killed the steps that were made again, as far as rows of figures tell.
    exits: for each signal its name and the seconds until the end.
    refusals: seconds of second runs.
    """

    events: Counter[str] = field(default_factory=Counter)
    lost: list[int] = field(default_factory=list)
    exits: list[tuple[float, str]] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Pace:
    """Seconds that a run takes until its first step, and then for each."""

    start: float
    step: float


@dataclass(frozen=True)
class Moment:
    """So many seconds after the figures of a step were written, or, without a step, after the start of the process."""

    step: int | None
    seconds: float


class Runs:
    """Starts the command in a folder of the soak's own, with a cache of compiled programs of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._number = 0
        self._environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *words: str, told: Path | None = None) -> Process:
        """Any command; see Process."""
        self._number += 1
        return Process(words, self._environment, self.folder / f"said.{self._number}", told)

    def train(self, workdir: Path, steps: int, told: Path | None = None) -> Process:
        """The run, up to so many steps; see Process."""
        settings = SETTINGS | {"train.steps": steps}
        config = [f"--config={ROOT}/experiments/demo.py:smoke", *(f"--config.{k}={v}" for k, v in settings.items())]
        return self.start("train", *config, f"--workdir={workdir}", told=told)


def undisturbed(runs: Runs, workdir: Path, steps: int) -> tuple[Pace, list[Sample]]:
    """Trains to the end; samples are taken four times a second, from the first row of figures to the last."""
    told = runs.folder / "told"
    process = runs.train(workdir, steps, told)
    samples: list[Sample] = []
    first: tuple[int, float] | None = None
    start = 0.0
    try:
        while process.code is None:
            now = time.monotonic()
            if 0 < (step := last_step(workdir)) < steps and (one := sample(process.pid, step, told)) is not None:
                first = first or (step, now)
                samples.append(one)
            if process.trains and not start:
                start = now - process.began
            if first is None and now - process.began > PATIENCE:
                raise Fault(f"no step after {PATIENCE:.0f} s: {process.last_words}")
            time.sleep(0.25)
    finally:
        process.abandon()
    _expect(process, DONE)
    if first is None or first[0] >= steps:
        raise Fault("the run was over before its pace was known: more steps are needed")
    return Pace(start, (time.monotonic() - first[1]) / (steps - first[0])), samples


def _expect(process: Process, code: int) -> None:
    """Raises Fault unless it has ended with that code and without a traceback."""
    if process.code != code:
        raise Fault(f"exit code {process.code}, expected {code}: {process.last_words}")
    if found := _TROUBLE.search(process.said):
        line = process.said[: found.end()].splitlines()[-1]
        raise Fault(f"ended with exit code {code}, but said {line!r} ...")


class Disturbed:
    """The run that is disturbed. `go` makes all of its steps, or raises Fault."""

    def __init__(self, runs: Runs, workdir: Path, steps: int, pace: Pace, deadline: float, rng: random.Random) -> None:
        """deadline: monotonic time by which it should be done; the closer, the fewer disturbances."""
        self._runs, self._workdir, self._steps, self._pace = runs, workdir, steps, pace
        self._deadline, self._rng = deadline, rng
        self._checkpoints = workdir / FOLDER
        self._damaged: set[int] = set()
        self._starts = [pace.start]
        self._ends = Deck(ENDS, rng)
        self._between = Deck([*DAMAGE, *JUNK], rng)
        self._meanwhile = Deck([SECOND_RUN, EVALUATION], rng)
        self.tally = Tally()
        self._began = time.monotonic()

    def go(self) -> None:
        """Part after part."""
        while True:
            if self._rng.random() < 0.7:
                self._disturb_folder()
            if self._part():
                return

    @property
    def _listed(self) -> list[int]:
        with Checkpoints(self._workdir) as checkpoints:
            return checkpoints.steps

    def _fault_of(self, step: int) -> str:
        folder = self._checkpoints / str(step)
        return manifest.fault(folder) if (folder / manifest.NAME).exists() else f"{manifest.NAME} is missing"

    def _valid(self) -> list[int]:
        """The steps that are there and valid, in order. Raises Fault if one is not, and was not damaged just now."""
        faults = {step: self._fault_of(step) for step in self._listed}
        for step, wrong in faults.items():
            if wrong and step not in self._damaged:
                raise Fault(f"checkpoint {step} is listed, but {wrong}")
        return [step for step, wrong in faults.items() if not wrong]

    def _disturb_folder(self) -> None:
        name = self._between.deal()
        valid = self._valid()
        if not valid:
            return
        if name in JUNK:
            JUNK[name](self._workdir, self._rng)
            self._tell(name, valid[-1])
        elif len(valid) > 1 and valid[-1] == max(self._listed):
            step = valid[-1]
            what = DAMAGE[name](self._checkpoints / str(step), self._rng)
            self._damaged.add(step)
            if step in self._valid():
                raise Fault(f"checkpoint {step} is taken to be valid after damage: {what}")
            self._tell(name, valid[-2], f"checkpoint {step}: {what}")
        else:
            return
        self.tally.events[name] += 1

    def _moment(self, expected: int) -> Moment | None:
        """When to end a part that goes on from step `expected`; None: not at all.

        On average, so that time and steps end together.
        """
        left = self._steps - expected
        making = left * self._pace.step
        start = statistics.median(self._starts[-5:])
        # What a part costs besides its steps: its start, its end, and on average half an interval that is made again.
        cost = 1.3 * start + SAVE_EVERY / 2 * self._pace.step
        parts = max(
            (self._deadline - time.monotonic() - making) / cost,
            LEAST_PARTS - sum(self.tally.events[name] for name in ENDS),
        )
        if parts < 1:
            return None
        if self._rng.random() < 0.2:
            return Moment(None, self._rng.uniform(0, start))
        steps = int(self._rng.uniform(0, min(2 / parts, 0.9) * left))
        return Moment(expected + steps, self._rng.uniform(0, LOG_EVERY * self._pace.step))

    def _part(self) -> bool:
        """Starts the run, ends it somehow and looks at what is left; whether it has come to its last step."""
        valid = self._valid()
        expected = valid[-1] if valid else 0
        moment = self._moment(expected)
        name = self._ends.deal() if moment is not None else ""
        process = self._runs.train(self._workdir, self._steps)
        try:
            if moment is None or not self._wait(process, moment, heard=name != "SIGKILL"):
                limit = PATIENCE + 10 * self._steps * self._pace.step
                process.end(limit)
                _expect(process, DONE)
                self._look(process, expected, 0, "the end")
                if self._valid()[-1] != self._steps:
                    raise Fault(f"the run has ended at step {self._valid()[-1]} of {self._steps}")
                return True
            number = ENDS[name]
            process.send(number)
            _, seconds = process.end(PATIENCE)
        finally:
            process.abandon()
        self.tally.events[name] += 1
        _expect(process, -number if number == signal.SIGKILL else RESUME_ME)
        if number != signal.SIGKILL:
            self.tally.exits.append((seconds, name))
            # Where others have the processor, a start takes long as well.
            if seconds > max(EXIT_SECONDS, 3 * self._pace.start):
                raise Fault(f"{name}: the end took {seconds:.1f} s")
        self._look(process, expected, SAVE_EVERY if number == signal.SIGKILL else 0, name, seconds)
        return False

    def _wait(self, process: Process, moment: Moment, heard: bool) -> bool:
        """Waits until the moment has come, with a disturbance on the way; False if the run is about to end before.

        heard: a signal is to come, so wait until it would be heard.
        """
        since = process.began if moment.step is None else None
        meanwhile = self._meanwhile.deal() if since is None and self._rng.random() < 0.4 else ""
        trains = False
        close = self._steps - 2 * LOG_EVERY - int(1 / self._pace.step)
        while process.code is None:
            now = time.monotonic()
            if process.trains:
                if not trains:
                    self._starts.append(now - process.began)
                    trains = True
                reached = last_step(self._workdir)
                if reached > close:
                    return False
                if meanwhile:
                    self._disturb_run(process, meanwhile)
                    meanwhile = ""
                elif since is None and moment.step is not None and reached >= moment.step:
                    since = now
            elif now - process.began > PATIENCE:
                raise Fault(f"no step after {PATIENCE:.0f} s: {process.last_words}")
            if since is not None and now > since + moment.seconds and (not heard or process.hears):
                return True
            time.sleep(0.01)
        return False

    def _disturb_run(self, process: Process, name: str) -> None:
        """A second command on the same folder, while the run goes on."""
        if name == EVALUATION and not self._listed:
            return
        step = last_step(self._workdir)
        seconds = self._evaluate() if name == EVALUATION else self._refuse(process)
        if process.code not in (None, DONE):
            raise Fault(f"{name} has ended the run: {process.last_words}")
        self.tally.events[name] += 1
        self._tell(name, step, f"{seconds:.2f} s")

    def _evaluate(self) -> float:
        """Evaluates the folder: the seconds that it took."""
        process = self._runs.start("eval", str(self._workdir))
        _, seconds = process.end(PATIENCE)
        _expect(process, DONE)
        return seconds

    def _refuse(self, process: Process) -> float:
        """Starts a second run: the seconds until it was refused, the best of three if others have the processor."""
        best = math.inf
        for _ in range(3):
            other = self._runs.train(self._workdir, self._steps)
            code, seconds = other.end(10 * REFUSAL_SECONDS)
            if process.code is not None:  # then there was no reason to refuse
                return min(best, seconds)
            if code != BAD_INPUT or "is in use by" not in other.said:
                raise Fault(f"a second run was not refused: exit code {code}: {other.last_words}")
            best = min(best, seconds)
            if best <= REFUSAL_SECONDS:
                self.tally.refusals.append(best)
                return best
        raise Fault(f"a second run was refused after {best:.1f} s only")

    def _look(self, process: Process, expected: int, interval: int, what: str, seconds: float | None = None) -> None:
        """Looks at what a part has left.

        Args:
          expected: the newest valid step before it.
          interval: how many steps may be lost; as many again if a save was cut.
          what, seconds: how it was ended, and how long that took; for telling.
        """
        if process.start is not None:
            if process.start != expected:
                raise Fault(f"went on at step {process.start}, but step {expected} is the newest valid one")
            if left := self._damaged & set(self._listed):
                left_faults = [step for step in left if self._fault_of(step)]
                if left_faults:
                    raise Fault(f"checkpoints {left_faults} are damaged and were not set aside")
            self._damaged.clear()
        valid = self._valid()
        newest = valid[-1] if valid else 0
        leftovers = [path.name for path in self._checkpoints.glob("*.saving*")]
        if leftovers and not interval and process.start is not None:
            raise Fault(f"ended in order, but {leftovers} is left")
        reached = max(expected, last_step(self._workdir)) if process.trains else expected
        lost = max(0, reached - newest)
        # A save begins in a thread, whose folder is there some steps later.
        allowed = 2 * interval if leftovers else interval + (3 * LOG_EVERY if interval else 0)
        if newest < expected or lost > allowed:
            raise Fault(f"{what}: step {reached} was reached, but step {newest} is the newest valid one")
        if interval:
            self.tally.lost.append(lost)
        after = "" if seconds is None else f"exit code {process.code} after {seconds:.2f} s, "
        place = "" if process.trains else " before the first step"
        self._tell(f"{what}{place}", newest, f"{after}from step {expected}, {lost} steps lost")

    def _tell(self, what: str, step: int, more: str = "") -> None:
        print(f"{time.monotonic() - self._began:7.1f} s  step {step:6}  {what:34}{more}", flush=True)


def differences(ours: Path, theirs: Path) -> list[str]:
    """In what two finished runs differ, in clauses: the arrays of the last checkpoint, and figures but for times."""
    found = []
    one, other = (_final(workdir) for workdir in (ours, theirs))
    found += [f"{name} of the last checkpoints" for name in one if fingerprint(one[name]) != fingerprint(other[name])]
    rows, expected = (
        [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_metrics(workdir)]
        for workdir in (ours, theirs)
    )
    if rows != expected:
        steps = [a["step"] for a, b in zip(rows, expected, strict=False) if a != b]
        where = f"from step {steps[0]} on" if steps else f"{len(rows)} rows against {len(expected)}"
        found.append(f"rows of figures, {where}")
    evaluated = Counter(row["step"] for row in rows if "eval/exact_accuracy" in row)
    if twice := [step for step, times in evaluated.items() if times > 1]:
        found.append(f"evaluations at steps {twice[:5]}, which are there more than once")
    return found


def _final(workdir: Path) -> dict[str, Any]:
    """The last checkpoint, each part of the state by its name, and the sums of figures."""
    with Checkpoints(workdir) as checkpoints:
        meta = checkpoints.latest_meta()
        if meta is None:
            raise Fault(f"{workdir} holds no checkpoint")
        state, totals = checkpoints.restore(like(meta.experiment, ALONE)[0], no_metrics(meta.experiment, ALONE))
    return {**vars(state), "totals": totals, "position": dict(meta.position)}


def main() -> int:
    """Runs all, prints what happens and a table, appends a row to the results; 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20, help="for all together, about (20)")
    parser.add_argument("--seed", type=int, help="of moments and disturbances (drawn, and told)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which the row is appended")
    args = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    seed = args.seed if args.seed is not None else random.SystemRandom().randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="trm_soak_"))
    print(f"seed {seed}; in {folder}", flush=True)
    outcome = soak(folder, args.minutes * 60, random.Random(seed))
    row = {"minutes": args.minutes, "seed": seed} | outcome
    for name, value in row.items():
        print(f"{name:36}{value}")
    with args.results.open("a") as file:
        file.write(json.dumps(row | describe()) + "\n")
    if outcome["faults"]:
        print(f"FAILED; everything is in {folder}")
        return 1
    shutil.rmtree(folder)
    print("passed")
    return 0


def soak(folder: Path, seconds: float, rng: random.Random) -> dict[str, Any]:
    """All three runs, in about so many seconds. Returns figures by name; "faults" has what must not be, in clauses."""
    began = time.monotonic()
    runs, plain, rough = Runs(folder), folder / "undisturbed", folder / "disturbed"
    row: dict[str, Any] = {}
    faults: list[str] = []
    tally = Tally()
    try:
        undisturbed(runs, folder / "first", FIRST_STEPS)  # compiles
        pace, _ = undisturbed(runs, folder / "second", FIRST_STEPS)
        left = seconds - (time.monotonic() - began)
        # A third for the run that is left alone, a third for the same steps disturbed, a third for disturbances.
        steps = max(LEAST_STEPS, int((left / 3 - pace.start) / pace.step) // LOG_EVERY * LOG_EVERY)
        print(f"{1 / pace.step:,.0f} steps a second after {pace.start:.1f} s, so {steps:,} steps", flush=True)
        pace, samples = undisturbed(runs, plain, steps)
        (folder / "samples.json").write_text(json.dumps([vars(one) for one in samples]))
        row |= {"steps": steps}
        for name in ("used", "resident"):
            grown = growth(samples, name)
            row |= {
                f"{name}_growth_kb_per_1000_steps": round(grown.per_1000_steps / 1e3, 1),
                f"{name}_growth_error_kb": round(grown.error / 1e3, 1),
                f"{name}_mb": round(getattr(samples[-1], name) / 1e6),
            }
        row |= {
            "descriptors": _range([s.descriptors for s in samples[len(samples) // 2 :]]),
            "threads": _range([s.threads for s in samples[len(samples) // 2 :]]),
        }
        faults += leaks(samples)
        print(f"undisturbed: {len(samples)} samples, {'; '.join(faults) or 'no leak'}", flush=True)
        disturbed = Disturbed(runs, rough, steps, pace, began + seconds, rng)
        tally = disturbed.tally
        disturbed.go()
        faults += [f"the runs differ: {what}" for what in differences(rough, plain)]
    except Fault as error:
        faults.append(str(error))
    return row | {
        **{name.replace(" ", "_"): tally.events[name] for name in (*ENDS, *DAMAGE, *JUNK, SECOND_RUN, EVALUATION)},
        "lost_to_a_kill_most": max(tally.lost, default=None),
        "seconds_after_a_signal_most": _most(seconds for seconds, _ in tally.exits),
        "seconds_of_a_refusal_most": _most(tally.refusals),
        "seconds": round(time.monotonic() - began),
        "faults": faults,
    }


def _range(values: Sequence[int]) -> str:
    return f"{min(values)} to {max(values)}"


def _most(values: Iterable[float]) -> float | None:
    most = max(values, default=None)
    return None if most is None else round(most, 2)


if __name__ == "__main__":
    sys.exit(main())
