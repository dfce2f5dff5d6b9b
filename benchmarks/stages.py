"""Stages of a plan, each a process with a limit, run one after another until a budget of seconds is used.

A stage that fails or runs late ends alone: whatever it has started is killed with it, and the next one begins. A row is
written as soon as a stage ends. What all of them leave fits through a narrow door: so many files, so many bytes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_jax.console import say
from trm_jax.errors import printable
from trm_jax.exit_codes import RESUME_ME
from trm_jax.runs.signals import StopSignals

# In the folder of results: a row for each stage that ended, and what all of them have said.
ROWS, LOG = "visit.jsonl", "visit.log"

# Seconds between two looks at a process.
_LOOK = 0.05
# Bytes that are kept of what one stage says, from its end.
_SAID = 500_000

Row = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One part of a plan.

    words: of the command; {python} stands for this Python, {out} for the folder of results, {work} for one that goes.
    expected: seconds that it is thought to take. It is left out where fewer are left.
    limit: seconds after which it is killed; None: all that are left.
    farewell: seconds before the limit at which it is asked to end.
    goes_on: whether it may end with 75, saved, to go on in the next visit.
    """

    name: str
    words: tuple[str, ...]
    expected: float
    limit: float | None
    farewell: float = 2.0
    goes_on: bool = False


class Folder:
    """The folder of results."""

    def __init__(self, path: Path, most_files: int = 8, most_bytes: int = 60_000_000) -> None:
        self.path, self._most_files, self._most_bytes = path, most_files, most_bytes
        path.mkdir(parents=True, exist_ok=True)

    def files(self) -> dict[Path, int]:
        """All files, those in folders too, and their bytes."""
        found = {}
        for path in self.path.rglob("*"):
            with suppress(OSError):  # gone meanwhile
                if not path.is_dir():
                    found[path] = path.lstat().st_size
        return found

    def excess(self) -> str:
        """By what there is more than may be; "" if by nothing."""
        sizes = self.files()
        if len(sizes) > self._most_files:
            return f"{len(sizes)} files, and {self._most_files} may be there"
        if sum(sizes.values()) > self._most_bytes:
            return f"{sum(sizes.values()) / 1e6:.0f} MB, and {self._most_bytes / 1e6:.0f} may be there"
        return ""

    def back_to(self, sizes: Mapping[Path, int]) -> None:
        """Removes files that were not there, and what was added to others."""
        for path, size in self.files().items():
            if path not in sizes:
                path.unlink(missing_ok=True)
            elif size > sizes[path]:
                os.truncate(path, sizes[path])

    def rows(self) -> list[Row]:
        """The rows so far; a line that a kill has torn is none."""
        found = []
        with suppress(FileNotFoundError):
            for line in (self.path / ROWS).read_text().splitlines():
                with suppress(ValueError):
                    found.append(json.loads(line))
        return found

    def add(self, row: Row) -> None:
        """Writes a row."""
        path = self.path / ROWS
        torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size
        with path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(row) + "\n")


@dataclass(frozen=True)
class Running:
    """A plan on its way.

    work: a folder for what need not be kept.
    budget: seconds for all stages together.
    root: in which the commands are run.
    """

    folder: Folder
    work: Path
    budget: float
    root: Path
    environment: Mapping[str, str]
    signals: StopSignals

    def run(self, stages: Sequence[Stage]) -> list[Row]:
        """Runs what no earlier visit has done; a row for each stage of the plan, in its order."""
        end = time.monotonic() + self.budget
        done = {(row["stage"], row["command"]): row for row in self.folder.rows() if row["state"] == "ok"}
        rows = []
        for stage in stages:
            command = " ".join(stage.words)
            left = end - time.monotonic()
            row: Row = {"stage": stage.name, "state": "skipped", "seconds": 0.0, "said": "", "command": command}
            if earlier := done.get((stage.name, command)):
                rows.append(earlier | {"said": "done in an earlier visit"})
                continue
            if self.signals.stop:
                row["said"] = self.signals.name
            elif left < stage.expected:
                row["said"] = f"{left:.0f} s are left, and about {stage.expected:.0f} are needed"
            else:
                say(f"{stage.name}: {left:.0f} s are left")
                row |= self._stage(stage, left if stage.limit is None else min(stage.limit, left))
            say(line(row))
            self.folder.add(row)
            rows.append(row)
        return rows

    def _stage(self, stage: Stage, limit: float) -> Row:
        """Runs a stage for so many seconds at most; what there is to tell of it."""
        places = {"{python}": sys.executable, "{out}": str(self.folder.path), "{work}": str(self.work)}
        words = [_filled(word, places) for word in stage.words]
        log, before, farewell = self.folder.path / LOG, self.folder.files(), min(stage.farewell, limit / 4)
        with log.open("ab") as out:
            out.write(f"\n== {stage.name}: {' '.join(words)}\n".encode())
            out.flush()
            start = out.tell()
            began = time.monotonic()
            try:
                # A session of its own, so that all that it starts can be killed with it.
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.root,
                    env=self.environment, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                return {"state": "failed", "limit": round(limit, 1), "said": f"{words[0]}: {error.strerror}"}
            try:
                why = self._wait(process, began, limit, farewell)
            finally:
                with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
                    os.killpg(process.pid, signal.SIGKILL)
                code = process.wait()
        seconds = time.monotonic() - began
        said = _last_words(log, start)
        _shorten(log, start)
        if why or (why := self.folder.excess()):
            self.folder.back_to(before | {log: start})
            state, said = "failed", f"{why}: what it left was removed"
        elif code == 0:
            state = "ok"
        elif code == RESUME_ME and stage.goes_on:
            state = "saved"
        elif self.signals.stop:
            state = "stopped"
        else:
            state = "late" if seconds >= limit - farewell else "failed"
        return {"state": state, "seconds": round(seconds, 1), "limit": round(limit, 1), "code": code, "said": said}

    def _wait(self, process: "subprocess.Popen[bytes]", began: float, limit: float, farewell: float) -> str:
        """Until a stage has ended, or has to be killed; what it did that it may not, or ""."""
        last = began + limit
        asked = False
        while True:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK)
                return ""
            now = time.monotonic()
            if now > last:
                return ""
            if not asked and (self.signals.stop or now > last - farewell):
                process.terminate()
                asked, last = True, min(last, now + farewell)
            if excess := self.folder.excess():
                return excess


def line(row: Row) -> str:
    """A row for people."""
    return f"{row['state']:8} {row['stage']:28} {row['seconds']:6.1f} s  {row['said']}".rstrip()


def _filled(word: str, places: Mapping[str, str]) -> str:
    for name, place in places.items():
        word = word.replace(name, place)
    return word


def _last_words(log: Path, start: int) -> str:
    """The last line that a stage has said."""
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - 8_192))
        lines = file.read().decode(errors="replace").splitlines()
    return printable(next((text.strip() for text in reversed(lines) if text.strip()), "it said nothing"))[:300]


def _shorten(log: Path, start: int) -> None:
    """Leaves the end of what a stage has said, where that is much."""
    content = log.read_bytes()
    if len(content) - start > _SAID:
        log.write_bytes(content[:start] + b"...\n" + content[-_SAID:])
