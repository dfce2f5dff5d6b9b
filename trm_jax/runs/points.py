"""The points of a sweep, run one after another: trained, evaluated, and put into the ledger.

Training and evaluating are processes of their own, so that one that fails takes no other with it, and memory is given
back in between. Whatever ends this, the next time goes on where it was.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trm_jax.console import duration, say
from trm_jax.errors import TrmError, first_line, one_line, printable
from trm_jax.exit_codes import RESUME_ME
from trm_jax.runs import ledger
from trm_jax.runs.checkpoint import BEST, FOLDER
from trm_jax.runs.entry import Said, entry
from trm_jax.runs.ledger import Row
from trm_jax.runs.signals import StopSignals
from trm_jax.runs.sweep import Plan, Point
from trm_jax.runs.writers import read_metrics, write_whole
from trm_jax.sizes import si

# In the folder of a point: what its processes said, what `trm eval` wrote, and the name of its row in the ledger.
LOG, FIGURES, ROW = "log.txt", "figures.json", "row.json"

# Seconds between two looks at a process, and between two lines about it.
_LOOK, _TELL = 0.5, 300.0
_TAIL = 1 << 13


class Call(Protocol):
    """Runs a command to its end."""

    def __call__(self, words: Sequence[str], log: Path, look: Callable[[], None]) -> int:
        """The exit code of `trm` with these words, whose output goes to the end of a log; calls `look` meanwhile."""


class _Failed(Exception):
    """A point cannot go on; says why."""


class Folder:
    """The folder of a sweep, and the ledger that its rows go into."""

    def __init__(self, workdir: Path, ledger_path: Path) -> None:
        """Raises DataError: the ledger is damaged."""
        self._workdir, self.ledger_path = workdir, ledger_path
        self._rows = {row["id"]: row for row in ledger.read(ledger_path)} if ledger_path.exists() else {}

    def place(self, point: Point) -> Path:
        """The working directory of a point."""
        return self._workdir / point.name

    def row(self, point: Point) -> Row | None:
        """The row of a point, once it stands in the ledger."""
        with suppress(OSError, ValueError, RecursionError):
            told = json.loads((self.place(point) / ROW).read_bytes())
            if isinstance(told, dict) and type(told.get("id")) is str:
                return self._rows.get(told["id"])
        return None

    def reached(self, point: Point) -> int:
        """The last step of a point that it has told of."""
        with suppress(OSError):
            return min(point.steps, max((int(row["step"] or 0) for row in read_metrics(self.place(point))), default=0))
        return 0

    def record(self, point: Point, row: Row, root: Path | None) -> None:
        """Adds a row to the ledger, unless it stands there already, and remembers it. Raises DataError, OSError."""
        if row["id"] not in self._rows:
            ledger.append(self.ledger_path, row, root)
            self._rows[row["id"]] = row
        write_whole(self.place(point) / ROW, (json.dumps({"id": row["id"]}) + "\n").encode())


class Progress:
    """How much of a sweep's training is done, in operations, and how long the rest takes at the pace so far."""

    def __init__(self, points: Sequence[Point], folder: Folder) -> None:
        self._folder, self._points = folder, points
        self._done = {point.name: self._made(point) if folder.row(point) is None else point.flops for point in points}
        self._total = self._left = sum(point.flops for point in points)
        # What was done before tells nothing of the pace.
        self._before = sum(self._done.values())
        self._left -= self._before
        self._began = self._told = time.monotonic()

    def look(self, point: Point) -> None:
        """Says how far a point is, now and then."""
        if time.monotonic() - self._told < _TELL:
            return
        self._count(point, self._made(point))
        reached = self._folder.reached(point)
        far = "trained, is evaluated" if reached == point.steps else f"at step {reached:,} of {point.steps:,}"
        self.tell(f"{point.name} {far}")

    def end(self, point: Point) -> None:
        """A point is done."""
        self._count(point, point.flops)
        self.tell(f"{point.name} done")

    def give_up(self, point: Point, why: str) -> None:
        """A point failed: what is left of it is not waited for."""
        self._left -= point.flops - self._done[point.name]
        self.tell(f"{point.name} failed: {why}")

    def tell(self, what: str) -> None:
        """One line: what happened, the points and operations that are done, and the time left."""
        self._told = time.monotonic()
        done = sum(self._done.values())
        ended = sum(self._folder.row(point) is not None for point in self._points)
        eta = time_left(done - self._before, self._left, self._told - self._began)
        say(f"sweep: {what}; {ended} of {len(self._points)} points, {si(done)} of {si(self._total)}, ETA {eta}")

    def _made(self, point: Point) -> int:
        return self._folder.reached(point) * point.flops_per_step

    def _count(self, point: Point, made: int) -> None:
        self._left -= made - self._done[point.name]
        self._done[point.name] = made


def time_left(made: int, left: int, seconds: float) -> str:
    """In words, of operations that are left after some were made in so many seconds, evaluations among them."""
    return duration(left * seconds / made) if made > 0 else "unknown yet"


@dataclass(frozen=True)
class Running:
    """A sweep on its way.

    said: for the rows; its note is told after the name of the sweep.
    root: of the repository, or None.
    network: Python file that makes networks known, for the processes.
    call: how a command is run; None: as a process.
    """

    plan: Plan
    folder: Folder
    said: Said
    root: Path | None
    signals: StopSignals
    network: Path | None = None
    call: Call | None = None

    def run(self) -> list[str]:
        """Brings each point that is not there yet into the ledger, the cheapest first, until a signal asks to stop.

        Returns:
          The names of the points that failed; a line has told of each.
        """
        points = self.plan.cheapest_first()
        progress = Progress(points, self.folder)
        failed = []
        for point in points:
            if self.signals.stop:
                break
            if self.folder.row(point) is not None:
                continue
            progress.tell(f"{point.name}, {point.steps:,} steps, {si(point.flops)}")
            try:
                if self._make(point, progress):
                    progress.end(point)
            except (_Failed, TrmError) as error:
                failed.append(point.name)
                progress.give_up(point, one_line(error))
        return failed

    def _make(self, point: Point, progress: Progress) -> bool:
        """Takes a point from where it is into the ledger; False if it was stopped. Raises _Failed, TrmError."""
        place = self.folder.place(point)
        place.mkdir(exist_ok=True)
        figures = place / FIGURES
        if not _whole(figures) and not (self._train(point, progress) and self._evaluate(point, figures, progress)):
            return False
        notes = [f"sweep {place.resolve().parent.name}: {point.name}", self.said.note]
        said = Said(self.said.beside, "; ".join(filter(None, notes)))
        self.folder.record(point, entry(place, figures, said, self.root), self.root)
        return True

    def _train(self, point: Point, progress: Progress) -> bool:
        """Until it is done. What was stopped by another is started again, as long as it gets on."""
        overrides = (f"--config.{key}={value}" for key, value in self.plan.overrides(point).items())
        words = [f"--config={self.plan.source}", *overrides, f"--workdir={self.folder.place(point)}"]
        before = -1
        while True:
            code = self._call(point, progress, "train", *words)
            reached = self.folder.reached(point)
            if code != RESUME_ME or self.signals.stop or reached <= before:
                return self._is_done("train", code, point)
            before = reached

    def _evaluate(self, point: Point, figures: Path, progress: Progress) -> bool:
        place = self.folder.place(point)
        best = place / FOLDER / BEST
        weights = str(best if best.is_dir() else place)
        words = [weights, *self.plan.asked.words(point.searches), f"--json={figures}"]
        return self._is_done("eval", self._call(point, progress, "eval", *words), point)

    def _call(self, point: Point, progress: Progress, *words: str) -> int:
        call = self.call or _Process(self.signals)
        network = [f"--network={self.network}"] if self.network else []
        return call([*words, *network], self.folder.place(point) / LOG, lambda: progress.look(point))

    def _is_done(self, command: str, code: int, point: Point) -> bool:
        """Whether a command came to its end; False where a signal kept it from that. Raises _Failed otherwise."""
        if code and not self.signals.stop:
            log = self.folder.place(point) / LOG
            raise _Failed(f"trm {command} ended with {code}: {_last_words(log)} (see {log})")
        return not code


def _whole(figures: Path) -> bool:
    """Whether an evaluation was written to its end: a beginning of JSON is none."""
    try:
        return isinstance(json.loads(figures.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _last_words(log: Path) -> str:
    """The last line that a process has written."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError as error:
        return first_line(error)
    last = next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return printable(last.strip().removeprefix("trm: error: "))[:400]


class _Process:
    """A `Call` that starts a process, and passes the request to stop on to it."""

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def __call__(self, words: Sequence[str], log: Path, look: Callable[[], None]) -> int:
        with (
            log.open("ab") as out,
            subprocess.Popen(
                [sys.executable, "-m", "trm_jax", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out
            ) as process,
        ):
            passed_on = False
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_LOOK)
                if self._signals.stop and not passed_on:
                    # Not the signal itself: a terminal has sent SIGINT to it too, and a second one interrupts it.
                    process.terminate()
                    passed_on = True
                look()
