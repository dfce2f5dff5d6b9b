"""Files and folders that appear complete or not at all, where they are no dataset folders (folder_writer.py)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trm_jax.data.disk import remove, remove_leftovers, sync
from trm_jax.errors import DataError


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """Gives a hidden path beside `out`, at which to write a file or a folder; at the end it takes the name `out`.

    An exception leaves nothing. What a killed process left is removed by the next one that makes the same name.

    Raises:
      DataError: `out` exists, or comes up meanwhile, or the disk is full or not writable.
    """
    check_free(out)
    hidden = out.absolute().parent / f".{out.name}.making-{os.getpid()}"
    try:
        hidden.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(hidden)
        yield hidden
        _flush(hidden)
        check_free(out)
        hidden.rename(out)
        _flush(hidden.parent)
    except OSError as error:
        raise DataError(
            f"{out}: cannot be written ({error.strerror or error}): make room or give another place"
        ) from None
    finally:
        remove(hidden, ignore_errors=True)


def check_free(out: Path) -> None:
    """Raises DataError where there is something of this name, be it a link that leads nowhere."""
    if os.path.lexists(out):
        raise DataError(f"{out}: exists already: remove it or give another name")


def _flush(path: Path) -> None:
    """What was written at a path, and in the files of a folder, is on the disk when this returns."""
    for each in (path, *path.glob("*")) if path.is_dir() else (path,):
        sync(each)
