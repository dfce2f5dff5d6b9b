"""The errors that a user can cause: one clear line each, saying what, where and how to mend it."""

import difflib
from collections.abc import Iterable, Sequence

# Of many faults of one kind that many are told.
_MOST_TOLD = 12


class TrmError(Exception):
    """A fault in what the user gave. The command line prints its one line and exits with `exit_code`."""

    exit_code = 2


class DataError(TrmError):
    """A puzzle, a row or a dataset that is not what it claims to be; names file, row and column."""


class RulesError(DataError):
    """Rules of a user's own that cannot be run; names their file. No puzzle is to blame."""


class ConfigError(TrmError, ValueError):
    """A configuration value or an argument of the wrong type, out of range, or at odds with another; names it."""


class CheckpointError(TrmError):
    """Weights or a checkpoint that are missing, damaged, or of another shape; names path and tensor."""


class StorageError(TrmError):
    """A disk that is full, read-only or gone: no fault of what was given; names the folder and the last good step."""

    exit_code = 1


class NotFiniteError(TrmError):
    """Training whose numbers went wrong and stayed so; names step and metric."""

    exit_code = 1


class LockedError(TrmError):
    """A working directory that another process uses; names process, host and since when."""


def printable(text: str) -> str:
    """A text that may come from a foreign file, without line ends and what else would move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line that is not too long: a parser repeats what it found in a file."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return printable(line[:400])


def one_line(error: BaseException) -> str:
    """All that an error says, in one line; its name where it says nothing."""
    try:
        return " ".join(str(error).split()) or type(error).__name__
    except Exception:  # an exception of the user's own may fail to print
        return type(error).__name__


def together(faults: Sequence[str]) -> str:
    """Several faults in one line; of many, the first ones and how many more there are."""
    more = [f"and {len(faults) - _MOST_TOLD} more"] if len(faults) > _MOST_TOLD else []
    return "; ".join([*faults[:_MOST_TOLD], *more])


def near_miss(name: str, known: Iterable[str]) -> str:
    """A clause that names what was probably meant, or lists what there is."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
