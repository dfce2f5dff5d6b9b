"""Another process that works when it is asked: requests go out as lines, answers come back as lines of JSON."""

import json
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trm_jax.errors import ConfigError

ROOT = Path(__file__).parent.parent


class Peer:
    """The process. Between requests it sleeps.

    pid: of the process.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        """Starts it in the root of the repository.

        Args:
          name: for errors.
          command: a program and its words.

        Raises:
          OSError: there is no such program.
        """
        self._name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the process does
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=self._errors, text=True)
        except OSError:
            self._errors.close()
            raise
        self.pid = self._process.pid

    def ask(self, request: Any) -> dict[str, Any]:
        """Sends a request, plain values, and waits for what comes back. Raises ConfigError as `answer`."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # the answer tells why
            print(json.dumps(request), file=self._process.stdin, flush=True)
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """What comes next. Raises ConfigError: one line, an "error" that was told, or the last words of the process."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        told = json.loads(line) if line else {"error": self._last_words()}
        if "error" in told:
            raise ConfigError(f"{self._name} does not run: {told['error']}")
        return dict(told)

    def close(self) -> None:
        """Ends the process; may be called again."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        return next((line for line in reversed(lines) if line.strip()), f"its process ended with status {code}")
