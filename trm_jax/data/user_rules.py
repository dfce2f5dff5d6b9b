"""Rules of a user's own puzzle, from a Python file with `def check(question: str, answer: str) -> bool`.

A second function, `check_partial(question, board)`, may judge a board of which a part is filled: False if no answer
begins so. A complete search is spared what it refuses.

The file is a program of the user's, run as an experiment file is: whoever names it trusts it.
"""

import importlib.abc
import importlib.util
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from hashlib import sha256
from pathlib import Path
from types import ModuleType

import numpy as np

from trm_jax.errors import RulesError, TrmError, one_line


class FileRules:
    """The functions of a file of rules; both take a question and a board as texts, as the dataset writes them.

    partial: whether a board with empty cells may be the beginning of an answer; None where the file does not tell.

    Raises RulesError where a function raises anything, or returns something other than True or False.
    """

    def __init__(self, path: Path, check: Callable[..., object], partial: Callable[..., object] | None) -> None:
        self._path, self._check = path, check
        self.partial = None if partial is None else lambda question, board: self._ask(partial, question, board)

    def __call__(self, question: str, answer: str) -> bool:
        return self._ask(self._check, question, answer)

    def _ask(self, judge: Callable[..., object], question: str, board: str) -> bool:
        name = "check" if judge is self._check else "check_partial"
        try:
            with redirect_stdout(sys.stderr):
                verdict = judge(question, board)
        except (Exception, SystemExit) as error:
            raise RulesError(f"--rules {self._path}: {name} failed: {_told(error, self._path)}") from error
        # A count of conflicts, say, would be taken for its opposite.
        if not isinstance(verdict, bool | np.bool_):
            given = type(verdict).__name__[:40]
            raise RulesError(
                f"--rules {self._path}: {name} returned a value of type {given}: let it return True or False"
            )
        return bool(verdict)


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


def load_rules(path: Path, digest: str = "") -> FileRules:
    """The file's function `check`, as rules for a puzzle of kind "grid"; and its `check_partial`, where it has one.

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
    partial = getattr(module, "check_partial", None)
    if partial is not None and not callable(partial):
        raise RulesError(f"--rules {path}: check_partial is no function: write def check_partial(question, board)")
    return FileRules(path, check, partial)


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
