"""What the commands `trm data ...` share: how they stop, show progress and end."""

import argparse
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from trm_jax.sizes import counted

if TYPE_CHECKING:
    from trm_jax.data.builders.pairs import Summary

# What a shell tells of a command that such a signal ended. SIGUSR1 is what batch systems send some time before the end,
# where one asks for it.
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 138}

_MOMENT = 2.0  # seconds


def stoppable(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Runs a command such that SIGTERM and SIGUSR1 unwind it, as SIGINT does: what is half built goes.

    Returns:
      The command's exit code; 143 after SIGTERM, 138 after SIGUSR1. (SIGINT is a KeyboardInterrupt, which ends `trm`
      with 130.)
    """
    if threading.current_thread() is not threading.main_thread():
        return run(args)
    before = {number: signal.signal(number, _end) for number in EXIT_CODES}
    try:
        return run(args)
    except _Terminated as terminated:
        print("trm: terminated", file=sys.stderr)
        return EXIT_CODES[terminated.by]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Terminated(BaseException):
    """A signal came. No Exception, which library code may catch."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__()
        self.by = by


def _end(number: int, frame: FrameType | None) -> None:
    # A second one may not interrupt the tidying up.
    for other in EXIT_CODES:
        signal.signal(other, signal.SIG_IGN)
    raise _Terminated(signal.Signals(number))


class Progress:
    """A bar for what takes longer than a moment; how much there is to do comes with the first news."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._began = time.monotonic()
        self._bar: Any = None
        self._most = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.__exit__(kind, error, trace)

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None and time.monotonic() - self._began > _MOMENT:
            from trm_jax.console import Bar

            self._bar = Bar(self._title, total, done, every=max(1, total // 10)).__enter__()
        if self._bar and done > self._most:  # what was told is not told again, and a bar never runs back
            self._bar.update(done)
        self._most = max(self._most, done)


def tell_pairs(out: Path, summary: "Summary", began: float) -> None:
    """Prints what a dataset of pairs consists of, and the end."""
    images = f", {counted(summary.puzzles, 'puzzle')} with their images" if summary.puzzles > summary.groups else ""
    print(f"   train  {counted(summary.groups, 'puzzle')}{images}")
    if summary.test:
        print(f"    test  {counted(summary.test, 'puzzle')}")
    if summary.dropped:
        print(f"left out of training, being test puzzles up to symmetry: {counted(summary.dropped, 'puzzle')}")
    if summary.fewer:
        print(f"{counted(summary.fewer, 'puzzle')} with fewer images than asked for, since no more of theirs differ")
    for note in summary.notes:
        print(note)
    tell_end(out, began)


def tell_table(out: Path, count: int, notes: Sequence[str], began: float) -> None:
    """Prints how many puzzles a table has, what is not as it was asked for, and the end."""
    print(counted(count, "puzzle"))
    for note in notes:
        print(note)
    tell_end(out, began)


def tell_end(out: Path, began: float) -> None:
    """Prints size, time since `began` (time.monotonic) and memory."""
    size = sum(path.stat().st_size for path in (out.rglob("*") if out.is_dir() else (out,)) if path.is_file())
    print(f"{out}: {in_bytes(size)}, {time.monotonic() - began:.1f} s{_peak()}")


def in_bytes(count: float) -> str:
    """A number of bytes as a person writes it: 1.5 MB."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _peak() -> str:
    """The most memory that this process has had."""
    try:
        import resource
    except ImportError:  # not a Unix
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f", peak memory {in_bytes(peak * (1 if sys.platform == 'darwin' else 1024))}"
