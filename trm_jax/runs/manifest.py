"""A manifest: the SHA-256 of every file in a folder, by which a flipped bit, a short file or a missing one is noticed.

The text is what `sha256sum` prints and reads, so that `cd FOLDER && sha256sum -c manifest.sha256` checks it as well.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from trm_jax.data.disk import sync
from trm_jax.errors import printable

NAME = "manifest.sha256"

# Bytes that are read of a manifest beyond what it should have.
_BEYOND = 1 << 20
_LINE = re.compile("([0-9a-f]{64})  (.+)")


def write(folder: Path) -> None:
    """Puts the manifest of all files into the folder; when this returns, they and it are on the disk itself.

    Raises:
      OSError: a file cannot be read, or there is no space left.
    """
    text = _text(_digests(folder, sync=True))
    with (folder / NAME).open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    for there, _, _ in os.walk(folder):
        sync(Path(there))


def fault(folder: Path) -> str:
    """What is wrong with the files of a folder that has a manifest, in a clause; "" if nothing is."""
    try:
        now = _digests(folder)
        if not (folder / NAME).is_file():  # a pipe called so would keep us waiting
            return f"{NAME} is no file"
        expected = _text(now)
        with (folder / NAME).open("rb") as file:
            written = file.read(len(expected) + _BEYOND).decode()
    except (OSError, ValueError) as error:
        return f"{NAME} or a file beside it cannot be read: {_shown(str(error))}"
    if written == expected:
        return ""
    lines = [_LINE.fullmatch(line) for line in written.split("\n")[:-1]]
    before = {line[2]: line[1] for line in lines if line is not None and line[2].isprintable()}
    # A line that is none tells that the manifest itself is damaged, and what else differs comes of that.
    for name in sorted(before.keys() | now.keys()) if len(before) == len(lines) else ():
        if name not in now:
            return f"{_shown(name)} is missing"
        if name not in before:
            return f"{_shown(name)} is not in its manifest"
        if before[name] != now[name]:
            return f"{_shown(name)} is not what was written"
    return f"{NAME} is not what was written"


def _digests(folder: Path, sync: bool = False) -> dict[str, str]:
    """Of each file but the manifest itself, in the order of their names."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name != NAME:
            # Neither a pipe nor a link to nowhere was written here, nor can it be read.
            found[name] = _digest(path, sync) if path.is_file() else "no plain file"
    return found


def _text(digests: Mapping[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def _digest(path: Path, sync: bool) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
    return digest


def _shown(text: str) -> str:
    """For a message: what a damaged manifest, or the name of a foreign file, may hold is neither short nor one line."""
    return printable(text[:400])
