"""The ledger: a file of rows, one for weights that were trained, or for each evaluation of such.

It only ever grows, by whole rows, and takes no row twice. A row names commands; what they run has to be in the
repository, so that a figure can be had again. How a row is made of a run is in entry.py.
"""

import json
import math
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import lock_descriptor

from trm_jax.config import files
from trm_jax.config.mappings import wanted
from trm_jax.errors import ConfigError, DataError, first_line, printable, together

# In the repository.
PLACE = Path("benchmarks/results/ledger.jsonl")

# A longer file is no ledger.
_LONGEST = 1 << 26

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows of a ledger.

    Raises:
      DataError: it cannot be read, or some rows are not well-formed; names the lines.
    """
    rows, faults = parse(_content(path))
    if faults:
        raise DataError(f"{path}: {together(faults)}")
    return rows


def faults_in(path: Path, root: Path | None) -> list[str]:
    """A line for each fault of a ledger: rows that are not well-formed, and commands that are not in the repository.

    Args:
      path: of the ledger.
      root: of the repository; None where there is none, and so none of its programs.

    Raises:
      DataError: it cannot be read.
    """
    rows, faults = parse(_content(path))
    for row in rows:
        faults += (f"{row['id']}: {fault}" for fault in foreign(row, root))
    return [f"{path}: {fault}" for fault in faults]


def append(path: Path, row: Row, root: Path | None) -> None:
    """Adds a row at the end of a ledger, made if it is not there: on the disk when this returns, or not at all.

    Raises:
      DataError: the row is not well-formed, stands there already, or names what is not in the repository; the ledger
        is damaged.
      OSError: it cannot be written; it is as it was.
    """
    if faults := [*_malformed(row, _FORM), *foreign(row, root)]:
        raise DataError(f"no row of the ledger: {together(faults)}")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        lock_descriptor(descriptor, blocking=True)  # until it is closed
        size = os.fstat(descriptor).st_size
        rows, faults = parse(_content(path))
        if faults:
            raise DataError(f"{path} is damaged, and was left as it is: {together(faults)}")
        for other in rows:
            if other["id"] == row["id"] or ("evaluated" not in row and other["weights"] == row["weights"]):
                raise DataError(f"{path}: these weights, evaluated so, stand there already as {other['id']}")
        line = (json.dumps(row) + "\n").encode()
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{path}: no space for another row")
            os.fsync(descriptor)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def identity(row: Mapping[str, Any]) -> str:
    """The name of a row: its experiment, and a hash of what was evaluated how. Figures and notes are no part of it."""
    evaluated = row.get("evaluated", {})
    parts = [row["config"], row["weights"], *(evaluated.get(key) for key in ("sha256", "puzzles", "how"))]
    digest = sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{re.sub('[/:]', '-', row['experiment'])}-{digest[:8]}"


def parse(content: bytes) -> tuple[list[Row], list[str]]:
    """The well-formed rows, and a fault for each other line."""
    rows: list[Row] = []
    faults: list[str] = []
    places: dict[str, int] = {}
    lines = content.split(b"\n")
    if lines.pop():
        faults.append(f"line {len(lines) + 1}: it was cut short: remove it")
    for number, line in enumerate(lines, start=1):
        row, fault = _row(line)
        if not fault and (first := places.setdefault(row["id"], number)) != number:
            fault = f"{row['id']} stands in line {first} already"
        if fault:
            faults.append(f"line {number}: {fault}")
        else:
            rows.append(row)
    return rows, faults


def foreign(row: Row, root: Path | None) -> list[str]:
    """What a well-formed row names that is not in the repository, as faults."""
    source, faults = row["experiment"], []
    if source not in files.sources():
        faults.append(f"no experiment {source!r} in the repository")
    for key in row["overrides"]:
        try:
            wanted(key)
        except ConfigError as error:
            faults.append(str(error))
    commands = (row[part]["command"] for part in ("trained", "evaluated") if part in row)
    return faults + [f"`{command}`: {fault}" for command in commands if (fault := _not_ours(command, root))]


def _not_ours(command: str, root: Path | None) -> str:
    """Why a command cannot be run in the repository; "" if it can."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        return first_line(error)
    match words:
        case ["trm", "train" | "eval", *rest]:
            sources = [word.partition("=")[2] for word in rest if word.startswith("--config=")]
            unknown = [source for source in sources if source not in files.sources()]
            return f"no experiment {unknown[0]!r} in the repository" if unknown else ""
        case ["python", "-m", module, *_] if re.fullmatch(r"benchmarks(\.\w+)+", module):
            program = f"{module.replace('.', '/')}.py"
            return "" if root is not None and (root / program).is_file() else f"no program {program} in the repository"
    return "neither `trm train`, `trm eval` nor a program of benchmarks/"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}: give a ledger by --ledger") from None
    if len(content) > _LONGEST:
        raise DataError(f"{path}: more than {_LONGEST} bytes: that is no ledger")
    return content


def _row(line: bytes) -> tuple[Row, str]:
    """A row, and what is wrong with it ("" if nothing is)."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"no JSON: {first_line(error)}"
    if not isinstance(row, dict):
        return {}, "no row: it is no JSON object"
    if faults := list(_malformed(row, _FORM)):
        return {}, together(faults)
    return row, "" if row["id"] == identity(row) else f"{row['id']} is not the name of this row: {identity(row)} is"


# --- The form of a row


def _is_text(value: Any) -> bool:
    return type(value) is str and value != "" and value == printable(value)


def _is_hash(value: Any) -> bool:
    return type(value) is str and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_commit(value: Any) -> bool:
    return type(value) is str and re.fullmatch("[0-9a-f]{40}(-dirty)?", value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and value >= 0 and math.isfinite(value)


def _is_share(value: Any) -> bool:
    if not isinstance(value, dict) or value.keys() != {"value", "low", "high"}:
        return False
    return all(map(_is_amount, value.values())) and 0 <= value["low"] <= value["value"] <= value["high"] <= 1


def _are_shares(value: Any) -> bool:
    """By numbers of steps or calls, as text, as JSON has them."""
    return isinstance(value, dict) and all(key.isdecimal() and _is_share(share) for key, share in value.items())


def _are_settings(value: Any) -> bool:
    """Values by names: numbers, text, truths, and lists of whole numbers."""
    return isinstance(value, dict) and all(
        type(one) in (bool, str) or (type(one) in (int, float) and math.isfinite(one)) or _are(_is_count, one)
        for one in value.values()
    )


def _are(judge: Callable[[Any], bool], value: Any) -> bool:
    return isinstance(value, list) and all(map(judge, value))


# What each field has to be, and how that is said. A field that a row does not have is absent.
_TEXT, _HASH, _COUNT = (_is_text, "text"), (_is_hash, "a SHA-256"), (_is_count, "a whole number from 0")
_AMOUNT = (_is_amount, "a number from 0")
_SHARE = (_is_share, "a share with its interval")
_SHARES = (_are_shares, "shares with their intervals")
_SETTINGS = (_are_settings, "values by names")
_COMMIT = (_is_commit, "a commit of 40 digits")
_FORM: dict[str, Any] = {
    "id": _TEXT,
    "experiment": _TEXT,
    "overrides": _SETTINGS,
    "config": _HASH,
    "weights": _HASH,
    "averaged": (lambda value: type(value) is bool, "true or false"),
    "step": _COUNT,
    "seed": _COUNT,
    "weight_count": _COUNT,
    "trained": {
        "command": _TEXT,
        "commits": (lambda value: _are(_is_commit, value), "a list of commits"),
        "machines": (lambda value: _are(_are_settings, value), "a list of machines"),
        "versions": _SETTINGS,
        "puzzles": _HASH,
        "rows": _COUNT,
        "pflop": _AMOUNT,
        "hours": _AMOUNT,
        "peak_gib": _AMOUNT,
        "beside": _TEXT,
    },
    "evaluated": {
        "command": _TEXT,
        "commit": _COMMIT,
        "machine": _SETTINGS,
        "name": _TEXT,
        "split": _TEXT,
        "sha256": _HASH,
        "puzzles": _COUNT,
        "seconds": _AMOUNT,
        "peak_gib": _AMOUNT,
        "how": _SETTINGS,
    },
    "single": _SHARES,
    "restarts": {"attempts": _COUNT, "selection": _TEXT, "exact": _SHARES, "oracle": _SHARES},
    "search": {"found": _SHARES, "exact": _SHARE, "calls": _AMOUNT},
    "votes": _SHARES,
    "note": _TEXT,
}
_NEEDED = {
    "": ("id", "experiment", "overrides", "config", "weights", "averaged", "step", "seed", "trained"),
    "trained.": ("command", "rows", "pflop"),
    "evaluated.": ("command", "name", "sha256", "puzzles", "how"),
    "restarts.": ("attempts", "selection", "exact"),
    "search.": ("found", "exact", "calls"),
}


def _malformed(row: Any, form: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """What in a row, or in a part of it, is not as the form has it."""
    if not isinstance(row, dict):
        yield f"{path[:-1]} is no group of values"
        return
    yield from (f"{path}{key} is missing" for key in _NEEDED[path] if key not in row)
    for key, value in row.items():
        field = form.get(key)
        if field is None:
            yield f"{printable(path + key):.60} is unknown"
        elif isinstance(field, dict):
            yield from _malformed(value, field, f"{path}{key}.")
        elif not field[0](value):
            yield f"{path}{key} is not {field[1]}"
    if not path and ("evaluated" in row) != bool(row.keys() & {"single", "restarts", "search", "votes"}):
        yield "an evaluation goes with figures"
