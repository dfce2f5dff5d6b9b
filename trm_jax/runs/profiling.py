"""A window of a run under JAX's profiler."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax

from trm_jax.console import say


class Profile(AbstractContextManager["Profile"]):
    """A window of the run under JAX's profiler. A context manager: leaving it closes a window that is still open."""

    def __init__(self, folder: Path, steps: range) -> None:
        self._folder, self._steps, self._open = folder, steps, False

    def before(self, t: int) -> None:
        """Call with the steps done, before a call is made."""
        if self._steps and t >= self._steps.start and not self._open:
            jax.profiler.start_trace(self._folder)
            self._open = True

    def after(self, t: int, result: Any) -> None:
        """Call with the steps done and what the call leads to."""
        if self._open and t >= self._steps.stop:
            jax.block_until_ready(result)
            self._close()

    def _close(self) -> None:
        jax.profiler.stop_trace()
        self._steps, self._open = range(0), False
        say(f"profile written to {self._folder}: tensorboard --logdir {self._folder.parent}")

    def __exit__(self, *_: object) -> None:
        if self._open:
            self._close()
