"""Tables of puzzles: CSV and JSON files of questions and answers, read with every row checked."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.table_columns import SHORTEST_PUZZLE, USUAL, Columns
from trm_jax.puzzles.table_lines import Fault, Lines
from trm_jax.puzzles.table_rows import CsvRows, JsonArrayRows, JsonRows, Texts

Grid = NDArray[np.integer[Any]]

# With an exponent, or with a point and zeros behind all digits.
_FLOAT = re.compile(r"\s*[0-9]([.,][0-9]+)?[eE]\+?[0-9]+\s*|[0-9]{16,}[.,]0+")


def read_texts(
    path: str | Path, limit: int | None = None, columns: Columns = USUAL, answered: bool = True
) -> Iterator[Texts]:
    """The question and the answer of each row, as they are written; None for an answer that is not there.

    Args: as for `read_pairs`. Raises DataError as that does.
    """
    with _rows(path, limit, columns, answered) as rows:
        for number, texts in enumerate(rows, 1):
            yield texts
            if number == limit:
                break


def read_pairs(
    path: str | Path,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None = None,
    limit: int | None = None,
    columns: Columns = USUAL,
    answered: bool = True,
    kept: NDArray[np.bool_] | None = None,
) -> tuple[Grid, Grid]:
    """Reads (questions [N, cells], answers [N, cells]) from a file of CSV or JSON, as `read_numbered` does."""
    return read_numbered(path, parse, check, limit, columns, answered, kept)[:2]


def read_numbered(
    path: str | Path,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None = None,
    limit: int | None = None,
    columns: Columns = USUAL,
    answered: bool = True,
    kept: NDArray[np.bool_] | None = None,
) -> tuple[Grid, Grid, NDArray[np.int64]]:
    """Reads (questions [N, cells], answers [N, cells], rows [N]) from a file of CSV or JSON.

    A row is called by the line of the file at which it begins, as an editor counts them; where a whole array of JSON
    stands in one line, by its place in the array, from 1.

    The name says which: .jsonl has on each line an object, .json an array of objects, in which a puzzle is a string, or
    a list of strings, one for each row of the grid; anything else is CSV, with commas, semicolons or tabs, and with a
    header, unless each row holds a question and an answer that are as long. With .gz after it the file is gzipped. It
    is UTF-8, with or without a byte-order mark, or UTF-16 with one; lines end with LF, CRLF or CR. Other columns and
    keys are ignored, empty lines skipped; what follows the last row that was asked for is left unread. Memory is
    bounded by the rows that are kept and 1 Mi characters for a row of the file; and a gzipped file may not unfold to
    more than 200 times its size.

    Args:
      path: of the file.
      parse: reads one puzzle.
      check: refuses a (question, answer) by a DataError, which starts with 'question: ' if that is where the fault is.
      limit: rows to read; None: all.
      columns: of the question and the answer; in JSON, the keys. "" for a usual name (`table_columns`).
      answered: refuse a puzzle without its answer; otherwise, where there is none, the answer is 0 in all cells.
      kept: bool [rows], which to read; others are passed over. None: all.

    Raises:
      DataError: "{path}: row {line as an editor counts}, column {name, or ? where it is unknown}: ..."; for JSON
        it says key instead of column.
    """
    pairs: list[tuple[Grid, Grid]] = []
    begins: list[int] = []
    with _rows(path, limit, columns, answered) as rows:
        for number, texts in enumerate(rows):
            if kept is None or kept[number]:
                pair = _parsed_pair(texts, parse, check, rows.names)
                if pairs and len(pair[0]) != len(pairs[0][0]):
                    wanted = len(pairs[0][0])
                    raise Fault(rows.names[0], f"{len(pair[0])} cells, but the first row has {wanted}; use one size")
                pairs.append(pair)
                begins.append(rows.line)
            if number + 1 == limit:
                break
        if not pairs:
            raise Fault(rows.names[0], "the file holds no row of puzzles; give at least one")
    questions, answers = zip(*pairs, strict=True)
    return np.stack(questions), np.stack(answers), np.array(begins, np.int64)


@contextmanager
def _rows(path: str | Path, limit: int | None, columns: Columns, answered: bool) -> Iterator[CsvRows | JsonRows]:
    """The rows of a file; a Fault while they are read becomes a DataError."""
    if limit is not None and limit < 1:
        raise DataError(f"{path}: limit is {limit}; read at least 1 row")
    if columns[0] and columns[0] == columns[1]:
        raise DataError(f"{path}: question and answer are both read from {columns[0]!r}; name two columns")
    name = str(path).lower().removesuffix(".gz")
    kind = JsonRows if name.endswith(".jsonl") else JsonArrayRows if name.endswith(".json") else CsvRows
    with Lines(path) as lines:
        rows = kind(lines, columns, answered)
        try:
            yield rows
        except Fault as fault:
            raise DataError(f"{path}: row {rows.line}, {rows.term} {fault.column}: {fault}") from None


def _parsed_pair(
    texts: Texts,
    parse: Callable[[str], Grid],
    check: Callable[[Grid, Grid], None] | None,
    names: tuple[str, str | None],
) -> tuple[Grid, Grid]:
    parsed: list[Grid] = []
    for name, text, other in zip(names, texts, reversed(texts), strict=True):
        if text is None or name is None:
            parsed.append(np.zeros_like(parsed[0]))
            continue
        if not text:
            raise Fault(name, "is empty; fill it in")
        try:
            parsed.append(parse(text))
        except DataError as error:
            raise Fault(name, spoilt(str(error), text, other)) from None
    question, answer = parsed
    answer_name = names[1] or names[0]
    if len(answer) != len(question):
        told = f"{len(answer)} cells, but the question has {len(question)}; make them equal"
        raise Fault(answer_name, spoilt(told, *texts))
    if check is not None:
        try:
            check(question, answer)
        except DataError as error:
            side = "question" if str(error).startswith("question: ") else "answer"
            name = names[0] if side == "question" else answer_name
            raise Fault(name, str(error).removeprefix(f"{side}: ")) from None
    return question, answer


def spoilt(told: str, text: str, other: str | None = None) -> str:
    """What is wrong with a text, where by all appearances a spreadsheet took it for a number.

    Args:
      told: what else is wrong with it, which is returned where nothing speaks for a spreadsheet.
      other: another text of the same row.
    """
    mend = "fetch the file again, and import the column as text"
    if _FLOAT.fullmatch(text):
        return f"{text.strip()[:30]!r} is a number that a spreadsheet has made of the cells, and rounded: {mend}"
    if (
        len(text) >= SHORTEST_PUZZLE
        and text.isascii()
        and text.isdecimal()
        and (len(text) < len(other or "") or isqrt(len(text)) ** 2 != len(text))
    ):
        return f"{told}; did a spreadsheet drop zeros at its start? {mend}"
    return told
