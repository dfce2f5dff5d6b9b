"""Rules of a user's own puzzle, from a Python file with `def check(question: str, answer: str) -> bool`.

The file is a program of the user's, run as an experiment file is: whoever names it trusts it.
"""

import importlib.abc
import importlib.util
import sys
import traceback
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np

from trm_jax.errors import RulesError, TrmError, one_line
from trm_jax.puzzles.kind import Rules


class _Source(importlib.abc.ExecutionLoader):
    """Loads one file, whatever it is called, and leaves no __pycache__ beside it."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content

    def get_filename(self, fullname: str) -> str:
        return str(self._path)

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._content)


def read_source(path: Path) -> bytes:
    """A file of rules, as it stands. Raises RulesError where there is none."""
    if not path.is_file():
        raise RulesError(f"--rules {path}: no such file: give a Python file with a function check(question, answer)")
    try:
        return path.read_bytes()
    except OSError as error:
        raise RulesError(f"--rules {path}: {one_line(error)[:200]}") from None


def load_rules(path: Path, digest: str = "") -> Rules:
    """The file's function `check`, as rules for a puzzle of kind "grid"; both texts are as the dataset writes them.

    What the file prints goes to standard error, so that results stay alone on standard output.

    Args:
      path: of the file.
      digest: SHA-256 of the content that is meant; "" for any.

    Raises:
      RulesError: no such file, it has another content, it does not run, or it has no function `check`. So do the rules
        themselves, when `check` raises anything or returns something other than True or False.
    """
    content = read_source(path)
    if digest and sha256(content).hexdigest() != digest:
        raise RulesError(f"--rules {path}: it has changed at this moment: start again")
    loader = _Source(path, content)
    module = ModuleType("rules")
    module.__file__ = str(path)
    try:
        with redirect_stdout(sys.stderr):
            loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's program raises is told as its fault
        raise RulesError(f"--rules {path}: {_told(error, path)}") from error
    check = getattr(module, "check", None)
    if not callable(check):
        raise RulesError(f"--rules {path}: no function check: write def check(question, answer), returning a bool")

    def rules(question: str, answer: str) -> bool:
        try:
            with redirect_stdout(sys.stderr):
                verdict = check(question, answer)
        except (Exception, SystemExit) as error:
            raise RulesError(f"--rules {path}: check failed: {_told(error, path)}") from error
        # A count of conflicts, say, would be taken for its opposite.
        if not isinstance(verdict, bool | np.bool_):
            name = type(verdict).__name__[:40]
            raise RulesError(f"--rules {path}: check returned a value of type {name}: let it return True or False")
        return bool(verdict)

    return rules


def _told(error: BaseException, path: Path) -> str:
    """The error in one line, with the line of the user's file where it arose."""
    if isinstance(error, TrmError | OSError):
        return one_line(error)[:200]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    if isinstance(error, SyntaxError):
        lines = [error.lineno]
    where = f" (line {lines[-1]})" if lines and lines[-1] else ""
    message = error.msg if isinstance(error, SyntaxError) else one_line(error)[:200]
    name = type(error).__name__
    return f"{name}{where}" + (f": {message}" if message != name else "")
