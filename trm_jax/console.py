"""What a person sees while something runs: a progress bar on a terminal, plain lines elsewhere."""

import os
import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_hushed = False


class Output(Console):
    """A console that leaves to the command what to do when nobody listens any more (`trm ... | head -1`)."""

    def on_broken_pipe(self) -> None:
        """Called where BrokenPipeError is being handled; rich would end the process with 1 here."""
        raise


def hush() -> None:
    """Nothing is said any more by this process: another one speaks for all."""
    global _hushed
    _hushed = True


def say(message: str) -> None:
    """One line to the person at the terminal, on standard error, where progress goes; results go to standard output."""
    if not _hushed:
        print(message, file=sys.stderr, flush=True)


def say_at_once(message: str) -> None:
    """As `say`, for handlers of signals, which may come in the middle of any other print."""
    if not _hushed:
        os.write(2, f"{message}\n".encode())


def duration(seconds: float) -> str:
    """A length of time as a person writes it: 42s, 3m05s, 2h10m, 3d04h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02}s"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds % 3600 // 60:02}m"
    return f"{seconds // 86_400}d{seconds % 86_400 // 3600:02}h"


class Bar:
    """Progress of one long thing. A context manager; `update` may be called as often as one likes."""

    def __init__(self, title: str, total: int, start: int = 0, every: int = 1) -> None:
        """every: without a terminal, at most one line for so many units."""
        self._title, self._total, self._start, self._every = title, total, start, every
        self._began = time.monotonic()
        self._next, self._said = start + 1, start
        console = Output(stderr=True)
        # Whether a bar is being drawn, so that updates between lines are seen.
        self.live = console.is_terminal and not _hushed
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self._task = self._progress.add_task(title, total=total, completed=start)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:  # or some versions of rich write an empty line for a bar that was never drawn
            self._progress.stop()

    def restart_clock(self, done: int) -> None:
        """Time is counted from here: what came before (compilation, say) tells nothing of the pace."""
        self._began, self._start = time.monotonic(), done
        self._progress.reset(self._task, completed=done)

    def update(self, done: int, note: str | None = None) -> None:
        """So many units are done; the note (figures, say) becomes a line, above the bar where there is one."""
        if self.live:
            if note:
                # Escaped, since a bracket in a note is no mark-up; unwrapped, since a narrow terminal does that itself.
                line = f"{self._title} {done}/{self._total}  {note}"
                self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)
            self._progress.update(self._task, completed=done)
        elif done >= self._next or done == self._total > self._said:
            self._next, self._said = done + self._every, done
            pace = (time.monotonic() - self._began) / max(1, done - self._start)
            eta = duration(pace * (self._total - done))
            say(f"{self._title} {done}/{self._total}{'  ' + note if note else ''}  ETA {eta}")
