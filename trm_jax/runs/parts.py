"""The parts of a run, from a start to a stop: at which commit and on which machine each was made.

`parts.jsonl` in the working directory has a row for each. What a run computes never depends on it.
"""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from trm_jax.devices.machine import describe, peak_gib
from trm_jax.runs.writers import MetricsWriter

FILE = "parts.jsonl"
Part = dict[str, Any]


def repository() -> Path | None:
    """The checkout that this package is run from; None where it is installed without one."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "benchmarks" / "results").is_dir() else None


@cache
def commit() -> str:
    """The commit of the checkout, with "-dirty" where files differ from it; "" where nothing tells."""
    root = repository()
    if root is None or not (root / ".git").exists():
        return ""
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):  # no git, or it does not trust the folder's owner
        return ""
    return told.stdout.strip()


def read_parts(workdir: Path) -> list[Part]:
    """The parts of a run so far, in order; none of one that an older version trained. What is no part is left out."""
    try:
        lines = (workdir / FILE).read_bytes().splitlines()
    except OSError:
        return []
    return [part for line in lines if (part := _parse(line)) is not None]


class PartsLog:
    """Writes the row of the part that is under way: when it begins, and once more when it has ended."""

    def __init__(self, writer: MetricsWriter, workdir: Path, first: int) -> None:
        """first: the step from which the part goes on."""
        self._writer, self._before = writer, read_parts(workdir)
        self._part: Part = {"first": first, "commit": commit(), "machine": describe()}
        self._write()

    def end(self, last: int) -> None:
        """The part has come to step `last`. One that is killed never says so."""
        self._part |= {"last": last, "peak_gib": peak_gib()}
        self._write()

    def _write(self) -> None:
        self._writer.note(FILE, "".join(json.dumps(part) + "\n" for part in (*self._before, self._part)))


def _parse(line: bytes) -> Part | None:
    try:
        part = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return part if isinstance(part, dict) and type(part.get("first")) is int else None
