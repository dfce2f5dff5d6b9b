"""The lines of a table's file: unpacked, decoded, and bounded, whatever the file holds."""

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from trm_jax.errors import DataError

# Far above any row of fields within csv's own limit; it keeps a file that never ends a row out of memory.
_LONGEST_ROW = 1 << 20
# What a gzipped file may unfold to, whatever its size; and how many times its size, which puzzles stay far below.
_MOST_UNFOLDED, _MOST_TIMES = 1 << 26, 200
UNKNOWN = "?"
"""The column of a fault that lies in none, or in any."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What files of other formats begin with, and what to do about it.
_OTHERS = {
    b"PK\x03\x04": "a spreadsheet or another zip archive: save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet: save it as CSV",
    b"PAR1": "a Parquet file: write it as CSV or JSONL",
    b"\x93NUMPY": "a NumPy array: give the dataset folder that it lies in, or a table",
    b"\x1f\x8b": "gzipped: give it a name that ends in .gz",
    b"\x89PNG": "a picture: give the cells as text",
    b"%PDF": "a PDF: give the cells as text",
    b"<!DOCTYPE": "a web page: fetch the file itself",
    b"<!doctype": "a web page: fetch the file itself",
    b"<html": "a web page: fetch the file itself",
    b"version https://git-lfs": "what Git LFS keeps in place of a file: fetch the file itself by `git lfs pull`",
}
_LONGEST_MAGIC = max(map(len, _OTHERS))


class Fault(Exception):
    """A fault in a column, to be completed with path and row."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        # A quoted name in a header may hold line ends and be of any length.
        self.column = repr(column[:40])[1:-1]


class Lines:
    """Lines of text, each ending in LF whatever the file has: LF, CRLF, or CR alone.

    UTF-16 is known by its byte-order mark. All else is UTF-8; bytes that are not become surrogates, so that row and
    column can be named.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises DataError where there is no such file."""
        self.number = 0  # of the line read last
        packed = str(path).endswith(".gz")
        try:
            self._file = cast(BinaryIO, gzip.open(path) if packed else open(path, "rb"))  # noqa: SIM115
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{path}: cannot be opened ({reason}); check the path") from None
        self._left = _LONGEST_ROW
        size = os.fstat(self._file.fileno()).st_size
        self._left_of_all = max(_MOST_UNFOLDED, _MOST_TIMES * size) if packed else math.inf
        self._text: io.TextIOWrapper | None = None
        self._ahead: str | None = None

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def end_row(self) -> None:
        """What follows belongs to another row."""
        self._left = _LONGEST_ROW

    def peek(self) -> str:
        """The next line that is not empty, which stays the next one; "" at the end. Empty lines before it are gone."""
        while self._ahead is None:
            line = next(self, "")
            if line.strip("\n") or not line:
                self._ahead = line
                self.number -= bool(line)
        return self._ahead

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, self._ahead = self._ahead, None
        if line is None:
            line = self._read()
        if not line:
            raise StopIteration
        self.number += 1
        return line

    def _read(self) -> str:
        try:
            if self._text is None:
                self._text = self._decoded()
            line = self._text.readline(min(self._left, _LONGEST_ROW) + 1)
        except UnicodeDecodeError:
            raise Fault(UNKNOWN, "bytes that are not UTF-16, as the file begins; save it as UTF-8") from None
        except (EOFError, OSError, zlib.error) as error:
            raise Fault(UNKNOWN, f"the file is damaged or cut off ({error}); fetch it again") from None
        self._left -= len(line)
        if self._left < 0:
            raise Fault(UNKNOWN, f"the row does not end within {_LONGEST_ROW} characters; is this a table of puzzles?")
        self._left_of_all -= len(line)
        if self._left_of_all < 0:
            raise Fault(UNKNOWN, f"it unfolds to over {_MOST_TIMES} times its size; if it should, unpack it first")
        return line

    def _decoded(self) -> io.TextIOWrapper:
        begin = cast(io.BufferedReader, self._file).peek(_LONGEST_MAGIC)
        for other, told in _OTHERS.items():
            if begin.startswith(other):
                raise Fault(UNKNOWN, f"no table, but {told}")
        if begin.startswith(_UTF_16):
            return io.TextIOWrapper(self._file, "utf-16")
        return io.TextIOWrapper(self._file, "utf-8-sig", "surrogateescape")
