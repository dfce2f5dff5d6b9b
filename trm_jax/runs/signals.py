"""Signals that ask a run to stop, heard at any moment: also while a compiler keeps the main thread for minutes."""

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from types import FrameType
from typing import NoReturn, Self, TypeVar

from trm_jax.console import say_at_once

# SIGUSR1 is what batch systems send some time before the end, where one asks for it.
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

# Seconds between two looks at whether a signal has come.
_LOOK = 0.05

# Seconds in which Python hears a signal, unless a library keeps its main thread.
_PATIENCE = 1.0
INTERRUPTED = 130  # what a shell tells of a command that Ctrl-C ended

Result = TypeVar("Result")

_left: list[threading.Thread] = []
_interrupted = False


class Stopped(Exception):
    """A signal came, and what was going on has been left."""


class StopSignals(AbstractContextManager["StopSignals"]):
    """While entered, SIGTERM, SIGINT and SIGUSR1 ask for a stop; a second SIGINT interrupts at once.

    Elsewhere than in the main thread, where Python hears no signals, nothing happens.
    """

    def __init__(self, leaves: bool = True) -> None:
        """leaves: whether `during` leaves its work. What several processes do together has to be left by all."""
        self._leaves = leaves
        self.stop = False
        self.name = ""
        self._entered = ExitStack()
        self._hears = False

    def __enter__(self) -> Self:
        self._hears = self._entered.enter_context(heard_by(self._ask))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()

    def ask_at(self, moment: float, name: str) -> None:
        """Asks for a stop itself at a moment of time.monotonic(), as a signal would; leaving this takes it back."""

        def ask() -> None:
            if not self.stop:
                self.stop, self.name = True, name
                say_at_once(f"{name}: stopping after this step, then saving")

        timer = threading.Timer(max(0.0, moment - time.monotonic()), ask)
        timer.daemon = True
        timer.start()
        self._entered.callback(timer.cancel)

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
        if not (self._leaves and self._hears):
            return work()
        outcome: Future[Result] = Future()

        def run() -> None:
            try:
                outcome.set_result(work())
            except BaseException as error:  # raised again below, where it belongs
                outcome.set_exception(error)

        self.check()
        # Python would wait for the threads of an executor before it ends.
        thread = threading.Thread(target=run, name="work", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK)
            if self.stop and thread.is_alive():
                _left.append(thread)
                raise Stopped
        return outcome.result()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.stop:
            self.stop, self.name = True, signal.Signals(number).name
            say_at_once(f"{self.name}: stopping after this step, then saving")


@contextmanager
def ending_at_once(exit_code: int, tidy: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While entered, the same signals end the process with a code and a line: there is nothing yet that could be lost.

    For the main program alone, and to be entered before anything that takes long, imports included.

    Args:
      exit_code: to end with.
      tidy: gives up what is held, before the process ends.
    """

    def end(number: int, frame: FrameType | None) -> None:
        say_at_once(f"{signal.Signals(number).name}: stopped before anything was begun")
        try:
            tidy()
        finally:
            os._exit(exit_code)

    with heard_by(end):
        yield


@contextmanager
def heard_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[bool]:
    """Has a handler hear the signals of ASKING, and gives whether it does: in the main thread alone."""
    hears = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in ASKING if hears}
    try:
        yield hears
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def heed_interrupts() -> None:
    """From here on Ctrl-C ends the process soon, whatever it does; for the main program alone, in its main thread.

    As long as all is Python it raises KeyboardInterrupt, as ever, so that what is half built is removed. Once there is
    JAX the process ends where it is: an exception out of nowhere does not get through libraries in C++, and what such
    a command may lose is its own answer. Whoever hears signals by a handler of his own (`StopSignals`) decides himself.
    """
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)
    # Python hears nothing while XLA compiles, for minutes; this is written to whatever the main thread does.
    signal.set_wakeup_fd(mouth, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupt)

    def watch() -> None:
        while number := os.read(ear, 1):
            if number[0] == signal.SIGINT and signal.getsignal(signal.SIGINT) is _interrupt and "jax" in sys.modules:
                time.sleep(_PATIENCE)
                _end_interrupted()

    threading.Thread(target=watch, name="interrupts", daemon=True).start()
    tell = sys.unraisablehook

    def again(unraisable: "sys.UnraisableHookArgs") -> None:
        """What is raised in the middle of a finaliser is dropped there, and so it is raised once more."""
        if unraisable.exc_type is KeyboardInterrupt:
            _thread.interrupt_main()
        else:
            tell(unraisable)

    sys.unraisablehook = again


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _interrupted
    _interrupted = True
    if "jax" in sys.modules:
        _end_interrupted()
    raise KeyboardInterrupt


def _end_interrupted() -> NoReturn:
    show = "\033[?25h" if os.isatty(2) else ""  # the cursor, which a bar hides
    say_at_once(f"{show}trm: interrupted")
    end(INTERRUPTED)


def was_interrupted() -> bool:
    """Whether Ctrl-C was heard (`heed_interrupts`): an error after it may be what a library made of it."""
    return _interrupted


def end(exit_code: int) -> NoReturn:
    """Ends the process at once, after what it has to say.

    XLA may be at work still, in threads of its own: it must not be when Python takes down what it works with, which
    would be a segmentation fault.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):  # closed, gone, or interrupted in the middle of a write
            stream.flush()
    os._exit(exit_code)


def leave(exit_code: int) -> int:
    """The code, for the main program to end with; ends it at once where work goes on that was left to itself.

    Python would wait for the compiler, or pull down the interpreter under it.
    """
    if any(thread.is_alive() for thread in _left):
        end(exit_code)
    return exit_code
