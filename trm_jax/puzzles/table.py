"""Tables of puzzles: CSV files with the columns `question` and `answer`, read with every row checked."""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError

Grid = NDArray[np.int8]

_NEEDED = ("question", "answer")
# Far above any row of fields within csv's own limit; it keeps a file without line ends out of memory.
_LONGEST_LINE = 1 << 20
_UNKNOWN = "?"


class _Fault(Exception):
    """A fault in a column, to be completed with path and row."""

    def __init__(self, column: str, message: str) -> None:
        # A quoted name in a header may hold line ends and be of any length.
        super().__init__(f"column {repr(column[:40])[1:-1]}: {message}")


def read_pairs(
    path: str | Path,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None = None,
    limit: int | None = None,
) -> tuple[Grid, Grid]:
    """Reads (questions [N, cells], answers [N, cells]) from a CSV file, gzipped if its name ends in .gz.

    The file is UTF-8, with or without a byte-order mark, with LF or CRLF; other columns are ignored, empty
    lines are skipped. `parse` reads one field; `check(question, answer)` refuses a pair by a DataError, which
    starts with 'question: ' if that is where the fault lies. After `limit` rows the rest is left unread.
    Whatever is wrong with the content is a DataError
    "{path}: row {line as an editor counts}, column {name, or ? where it is unknown}: ...".
    """
    if limit is not None and limit < 1:
        raise DataError(f"{path}: limit is {limit}; read at least 1 row")
    try:
        file = cast(BinaryIO, gzip.open(path) if str(path).endswith(".gz") else open(path, "rb"))  # noqa: SIM115
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror}); check the path") from None
    with file:
        return _read(str(path), file, parse, check, limit)


def _read(
    path: str,
    file: BinaryIO,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None,
    limit: int | None,
) -> tuple[Grid, Grid]:
    rows: list[tuple[Grid, Grid]] = []
    header: list[str] | None = None
    reader = csv.reader(_lines(file), strict=True)
    line = 1
    try:
        while len(rows) != limit:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise _Fault(_UNKNOWN, f"not readable as CSV ({error}); correct the quotes or commas") from None
            if fields is None:
                break
            if not fields:
                continue
            _check_fields(fields, header)
            if header is None:
                header = _checked_header(fields)
                continue
            pair = _parsed_pair(dict(zip(header, fields, strict=True)), parse, check)
            if rows and len(pair[0]) != len(rows[0][0]):
                wanted = len(rows[0][0])
                raise _Fault("question", f"{len(pair[0])} cells, but the first row has {wanted}; use one size")
            rows.append(pair)
        if header is None:
            line = 1
            raise _Fault("question", "the file is empty; give a header with question and answer, then rows")
        if not rows:
            raise _Fault("question", "the header is not followed by any row; give at least one")
    except _Fault as fault:
        raise DataError(f"{path}: row {line}, {fault}") from None
    questions, answers = zip(*rows, strict=True)
    return np.stack(questions), np.stack(answers)


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines of text; bytes that are not UTF-8 become surrogates, so that row and column can be named."""
    first = True
    while True:
        try:
            line = file.readline(_LONGEST_LINE + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise _Fault(_UNKNOWN, f"the file is damaged or cut off ({error}); fetch it again") from None
        if not line:
            return
        if len(line) > _LONGEST_LINE:
            raise _Fault(_UNKNOWN, f"the line is longer than {_LONGEST_LINE} bytes; is this a CSV file?")
        yield line.removeprefix(b"\xef\xbb\xbf" if first else b"").decode("utf-8", "surrogateescape")
        first = False


def _check_fields(fields: list[str], header: list[str] | None) -> None:
    for number, field in enumerate(fields):
        name = header[number] if header and number < len(header) else str(number + 1)
        if "\0" in field:
            raise _Fault(name, "a NUL byte; save the file as plain UTF-8 text")
        if not field.isascii() and any("\udc80" <= char <= "\udcff" for char in field):
            raise _Fault(name, "bytes that are not UTF-8; save the file as UTF-8")
    if header and len(fields) != len(header):
        name = header[len(fields)] if len(fields) < len(header) else str(len(header) + 1)
        raise _Fault(name, f"{len(fields)} fields, but the header has {len(header)}; add or remove some")


def _checked_header(names: list[str]) -> list[str]:
    for name in _NEEDED:
        if names.count(name) != 1:
            problem = "stands there twice" if name in names else "is missing"
            there = ", ".join(repr(other[:40]) for other in names[:20])
            raise _Fault(name, f"{problem}; the header has {there}, needed once each: question, answer")
    return [name or str(number) for number, name in enumerate(names, 1)]


def _parsed_pair(
    row: dict[str, str], parse: Callable[[str], Grid], check: Callable[[Grid, Grid], None] | None
) -> tuple[Grid, Grid]:
    parsed = []
    for name in _NEEDED:
        try:
            parsed.append(parse(row[name]))
        except DataError as error:
            raise _Fault(name, str(error)) from None
    question, answer = parsed
    if len(answer) != len(question):
        raise _Fault("answer", f"{len(answer)} cells, but the question has {len(question)}; make them equal")
    if check is not None:
        try:
            check(question, answer)
        except DataError as error:
            name = "question" if str(error).startswith("question: ") else "answer"
            raise _Fault(name, str(error).removeprefix(f"{name}: ")) from None
    return question, answer
