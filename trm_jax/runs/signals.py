"""Signals that ask a run to stop, heard at any moment: also while a compiler keeps the main thread for minutes."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

from trm_jax.console import say_at_once

# SIGUSR1 is what batch systems send some time before the end, where one asks for it.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

# Seconds between two looks at whether a signal has come.
_LOOK = 0.05

Result = TypeVar("Result")

_left: list[threading.Thread] = []


class Stopped(Exception):
    """A signal came, and what was going on has been left."""


class StopSignals:
    """While entered, SIGTERM, SIGINT and SIGUSR1 ask for a stop; a second SIGINT interrupts at once.

    Elsewhere than in the main thread, where Python hears no signals, nothing happens.
    """

    def __init__(self, leaves: bool = True) -> None:
        """leaves: whether `during` leaves its work. What several processes do together has to be left by all."""
        self._leaves = leaves
        self.stop = False
        self.name = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._ask) for s in ASKING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises Stopped if a stop was asked for."""
        if self.stop:
            raise Stopped

    def during(self, work: Callable[[], Result]) -> Result:
        """What `work` returns, unless a stop is asked for first.

        It runs in a thread of its own, since Python hears signals between operations of the main thread only, and XLA
        may compile for minutes in a single one.

        Raises:
          Stopped: at once; the work goes on by itself until it is done or the process ends (`leave`), and what becomes
            of it is of no interest any more.
        """
        if not (self._leaves and self._previous):
            return work()
        outcome: list[Result] = []
        fault: list[BaseException] = []

        def run() -> None:
            try:
                outcome.append(work())
            except BaseException as error:  # raised again below, where it belongs
                fault.append(error)

        self.check()
        thread = threading.Thread(target=run, name="work", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK)
            if self.stop and thread.is_alive():
                _left.append(thread)
                raise Stopped
        if fault:
            raise fault[0]
        return outcome[0]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.stop:
            self.stop, self.name = True, signal.Signals(number).name
            say_at_once(f"{self.name}: stopping after this step, then saving")


@contextmanager
def ending_at_once(exit_code: int) -> Iterator[None]:
    """While entered, the same signals end the process with a code and a line: there is nothing yet that could be lost.

    For the main program alone, and to be entered before anything that takes long, imports included.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        say_at_once(f"{signal.Signals(number).name}: stopped before anything was begun")
        os._exit(exit_code)

    previous = {s: signal.signal(s, end) for s in ASKING}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def leave(exit_code: int) -> int:
    """The code, for the main program to end with; ends it at once where work goes on that was left to itself.

    Python would wait for the compiler, or pull down the interpreter under it.
    """
    if any(thread.is_alive() for thread in _left):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exit_code)
    return exit_code
