"""Tables of puzzles: CSV or JSONL files of questions and answers, read with every row checked."""

import csv
import gzip
import json
import math
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError

Grid = NDArray[np.integer[Any]]

# Far above any row of fields within csv's own limit; it keeps a file that never ends a row out of memory.
_LONGEST_ROW = 1 << 20
# Bytes that a gzipped file may unfold to, whatever its size; and how many times its size, which puzzles stay far below.
_MOST_UNFOLDED, _MOST_TIMES = 1 << 26, 200
_UNKNOWN = "?"


class _Fault(Exception):
    """A fault in a column, to be completed with path and row."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        # A quoted name in a header may hold line ends and be of any length.
        self.column = repr(column[:40])[1:-1]


def read_pairs(
    path: str | Path,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None = None,
    limit: int | None = None,
    columns: tuple[str, str] = ("question", "answer"),
) -> tuple[Grid, Grid]:
    """Reads (questions [N, cells], answers [N, cells]) from a CSV or JSONL file.

    The name says which: .csv or anything else is CSV with a header; .jsonl has on each line an object, in which a
    puzzle is a string, or a list of strings, one for each row of the grid. With .gz after it the file is gzipped.
    It is UTF-8, with or without a byte-order mark, with LF or CRLF. Other columns and keys are ignored, empty lines
    skipped; what follows the last row that was asked for is left unread. Memory is bounded by the rows that are
    kept and 1 MiB for a row of the file; and a gzipped file may not unfold to more than 200 times its size.

    Args:
      path: of the file.
      parse: reads one puzzle.
      check: refuses a (question, answer) by a DataError, which starts with 'question: ' if that is where the fault is.
      limit: rows to read; None: all.
      columns: of the question and the answer; in JSONL, the keys.

    Raises:
      DataError: "{path}: row {line as an editor counts}, column {name, or ? where it is unknown}: ..."; for JSONL
        it says key instead of column.
    """
    if limit is not None and limit < 1:
        raise DataError(f"{path}: limit is {limit}; read at least 1 row")
    if columns[0] == columns[1]:
        raise DataError(f"{path}: question and answer are both read from {columns[0]!r}; name two columns")
    packed = str(path).endswith(".gz")
    try:
        file = cast(BinaryIO, gzip.open(path) if packed else open(path, "rb"))  # noqa: SIM115
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be opened ({reason}); check the path") from None
    with file:
        jsonl = str(path).removesuffix(".gz").endswith(".jsonl")
        most = max(_MOST_UNFOLDED, _MOST_TIMES * os.fstat(file.fileno()).st_size) if packed else math.inf
        rows = _JsonRows(_Lines(file, most), columns) if jsonl else _CsvRows(_Lines(file, most), columns)
        try:
            return _read(rows, parse, check, limit, columns)
        except _Fault as fault:
            raise DataError(f"{path}: row {rows.line}, {rows.term} {fault.column}: {fault}") from None


class _Lines:
    """Lines of text; bytes that are not UTF-8 become surrogates, so that row and column can be named."""

    def __init__(self, file: BinaryIO, most: float) -> None:
        """most: bytes of all lines together."""
        self.number = 0  # of the line read last
        self._file = file
        self._left = _LONGEST_ROW
        self._left_of_all = most

    def end_row(self) -> None:
        """What follows belongs to another row."""
        self._left = _LONGEST_ROW

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._file.readline(self._left + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise _Fault(_UNKNOWN, f"the file is damaged or cut off ({error}); fetch it again") from None
        if not line:
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise _Fault(_UNKNOWN, f"the row does not end within {_LONGEST_ROW} bytes; is this a table of puzzles?")
        self._left_of_all -= len(line)
        if self._left_of_all < 0:
            raise _Fault(_UNKNOWN, f"it unfolds to over {_MOST_TIMES} times its size; if it should, unpack it first")
        self.number += 1
        return line.removeprefix(b"\xef\xbb\xbf" if self.number == 1 else b"").decode("utf-8", "surrogateescape")


class _CsvRows:
    """The two fields of each row of a CSV file."""

    term = "column"

    def __init__(self, lines: _Lines, columns: tuple[str, str]) -> None:
        self.line = 1  # at which the row starts that is being read
        self._lines = lines
        self._reader = csv.reader(self._lines, strict=True)
        self._columns = columns
        self._header: list[str] | None = None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        question, answer = self._columns
        while fields := self._fields():
            _check_fields(fields, self._header)
            if self._header is None:
                self._header = _checked_header(fields, self._columns)
            else:
                row = dict(zip(self._header, fields, strict=True))
                yield row[question], row[answer]
        if self._header is None:
            self.line = 1
            raise _Fault(question, f"the file is empty; give a header with {question} and {answer}, then rows")

    def _fields(self) -> list[str] | None:
        """The fields of the next row that is not empty; None at the end."""
        fields: list[str] | None = []
        while fields == []:
            self.line = self._lines.number + 1
            try:
                fields = next(self._reader, None)
            except csv.Error as error:
                raise _Fault(_UNKNOWN, f"not readable as CSV ({error}); correct the quotes or commas") from None
        self._lines.end_row()
        return fields


class _JsonRows:
    """The two values of each line of a JSONL file, lists of strings joined by line ends."""

    term = "key"

    def __init__(self, lines: _Lines, columns: tuple[str, str]) -> None:
        self.line = 1
        self._lines = lines
        self._columns = columns

    def __iter__(self) -> Iterator[tuple[str, str]]:
        while True:
            self.line = self._lines.number + 1
            text = next(self._lines, None)
            if text is None:
                return
            if not text.strip(" \t\r\n"):
                continue
            self._lines.end_row()
            row = _object(text)
            question, answer = (_grid_text(row, key) for key in self._columns)
            yield question, answer


def _read(
    rows: _CsvRows | _JsonRows,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None,
    limit: int | None,
    columns: tuple[str, str],
) -> tuple[Grid, Grid]:
    pairs: list[tuple[Grid, Grid]] = []
    for texts in rows:
        pair = _parsed_pair(texts, parse, check, columns)
        if pairs and len(pair[0]) != len(pairs[0][0]):
            wanted = len(pairs[0][0])
            raise _Fault(columns[0], f"{len(pair[0])} cells, but the first row has {wanted}; use one size")
        pairs.append(pair)
        if len(pairs) == limit:
            break
    if not pairs:
        raise _Fault(columns[0], "the file holds no row of puzzles; give at least one")
    questions, answers = zip(*pairs, strict=True)
    return np.stack(questions), np.stack(answers)


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


def _checked_header(names: list[str], columns: tuple[str, str]) -> list[str]:
    for name in columns:
        if names.count(name) != 1:
            problem = "stands there twice" if name in names else "is missing"
            there = ", ".join(repr(other[:40]) for other in names[:20])
            raise _Fault(name, f"{problem}; the header has {there}, needed once each: {', '.join(columns)}")
    return [name or str(number) for number, name in enumerate(names, 1)]


def _object(text: str) -> dict[str, Any]:
    """The object on one line, without any key twice."""
    if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text):
        raise _Fault(_UNKNOWN, "bytes that are not UTF-8; save the file as UTF-8")
    try:
        row = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _Fault(
            _UNKNOWN, f"not readable as JSON ({error.msg}, character {error.pos + 1}); give one object on each line"
        ) from None
    except RecursionError:
        raise _Fault(_UNKNOWN, "not readable as JSON (nested too deep); give one flat object on each line") from None
    except ValueError as error:  # a number of thousands of digits
        raise _Fault(_UNKNOWN, f"not readable as JSON ({error}); shorten or remove the number") from None
    if not isinstance(row, dict):
        raise _Fault(_UNKNOWN, f"the line holds {_type_name(row)}; give one object on each line")
    return row


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            raise _Fault(key, "stands there twice; remove one")
        row[key] = value
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise _Fault(_UNKNOWN, f"not readable as JSON ({name} is no JSON number); write null, or remove it")


def _grid_text(row: dict[str, Any], key: str) -> str:
    if key not in row:
        there = ", ".join(repr(other[:40]) for other in list(row)[:20]) or "none"
        raise _Fault(key, f"is missing; the keys are {there}")
    value = row[key]
    rows = value if isinstance(value, list) else [value]
    for number, part in enumerate(rows, 1):
        if not isinstance(part, str):
            place = f"element {number} of the list" if rows is value else "the value"
            raise _Fault(key, f"{place} is {_type_name(part)}; give a string, or a list of strings, one for each row")
        if not part.isascii() and any("\ud800" <= char <= "\udfff" for char in part):
            raise _Fault(key, "half of a surrogate pair; write the character itself, or both halves")
    return "\n".join(rows)


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _parsed_pair(
    texts: tuple[str, str],
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None,
    columns: tuple[str, str],
) -> tuple[Grid, Grid]:
    parsed = []
    for name, text in zip(columns, texts, strict=True):
        try:
            parsed.append(parse(text))
        except DataError as error:
            raise _Fault(name, str(error)) from None
    question, answer = parsed
    if len(answer) != len(question):
        raise _Fault(columns[1], f"{len(answer)} cells, but the question has {len(question)}; make them equal")
    if check is not None:
        try:
            check(question, answer)
        except DataError as error:
            side = "question" if str(error).startswith("question: ") else "answer"
            name = columns[0] if side == "question" else columns[1]
            raise _Fault(name, str(error).removeprefix(f"{side}: ")) from None
    return question, answer
