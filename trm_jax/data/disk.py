"""Files and folders: paths, when something is on the disk itself, and how it goes away, other processes' too."""

import os
import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

from trm_jax.errors import ConfigError


def as_path(given: str | os.PathLike[str], name: str) -> Path:
    """A path from what a caller gave as the argument of this name. Raises ConfigError: it is none."""
    try:
        return Path(given)
    except TypeError:
        raise ConfigError(f"{name} is of type {type(given).__name__}: give a path, as a str or a Path") from None


def sync(path: Path) -> None:
    """Returns once a file's content, or a folder's list of names, is on the disk itself. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path, ignore_errors: bool = False) -> None:
    """Removes a file, a link or a folder with all that is in it. Raises OSError unless errors are ignored."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors)
    else:
        with suppress(OSError) if ignore_errors else nullcontext():
            path.unlink()


def remove_leftovers(own: Path) -> None:
    """Removes what is at a name that ends in this process's number, and at the like names of processes that have gone.

    Raises:
      OSError: the folder cannot be listed.
    """
    prefix = own.name.removesuffix(str(os.getpid()))
    for path in own.parent.iterdir():
        number = path.name.removeprefix(prefix)
        if path.name.startswith(prefix) and number.isdecimal() and (path == own or not _runs(int(number))):
            remove(path, ignore_errors=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
