"""Signals that ask a run to stop."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from trm_jax.console import say


class StopSignals:
    """While entered, SIGTERM and SIGINT ask for a stop after the present step; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.stop = False
        self.name = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop, self.name = True, signal.Signals(number).name
        say(f"{self.name}: stopping after this step, then saving")
