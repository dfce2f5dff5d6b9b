"""The rows of tables in each of their formats: CSV, JSONL, and an array of JSON."""

import csv
import json
import re
from collections.abc import Iterator, Sequence, Set
from contextlib import suppress
from typing import Any, NoReturn

from trm_jax.puzzles.table_columns import SHORTEST_PUZZLE, USUAL, Columns, choose, is_usual, refuse_unnamed_answers
from trm_jax.puzzles.table_lines import UNKNOWN, Fault, Lines

Texts = tuple[str, str | None]
"""A question and its answer, as a row has them; None for no answer."""

_SEPARATORS = ",;\t"
# What some spreadsheets write before the header.
_TOLD_SEPARATOR = re.compile("sep=([,;\t])\n?")
_QUOTED = re.compile('"(?:[^"]|"")*(?:"|$)')
# The header of answers in the ARC contest of 2020.
_OF_2020 = ["output_id", "output"]
# What a header may hold, and a puzzle hardly ever is.
_WORDS = re.compile(r"[^\W\d][\w ]*")
_JSON = re.compile(r'\s*(\[\s*$|(\[\s*)?\{\s*("|$))')
_JSON_SPACE = " \t\r\n"
# In characters, of all of a JSON array.
_LONGEST_ARRAY = 1 << 28


class CsvRows:
    """The two fields of each row of a CSV file, whose fields end with commas, semicolons or tabs."""

    term = "column"

    def __init__(self, lines: Lines, columns: Columns, answered: bool) -> None:
        self.line = 1  # at which the row starts that is being read
        self.names: tuple[str, str | None] = columns[0] or "question", columns[1] or "answer"
        self._lines, self._columns, self._answered = lines, columns, answered

    def __iter__(self) -> Iterator[Texts]:
        told = _TOLD_SEPARATOR.fullmatch(self._lines.peek())
        if told:
            next(self._lines)
        if _JSON.match(self._lines.peek()):
            raise Fault(UNKNOWN, "JSON, by its first line: give it a name that ends in .json, or .jsonl for lines")
        separator = told[1] if told else _separator(self._lines.peek(), self._columns)
        self._reader = csv.reader(self._lines, delimiter=separator, strict=True)
        first = self._fields()
        if first is None:
            self.line = 1
            raise Fault(self.names[0], "the file is empty; give a header such as question,answer, then rows")
        _check_fields(first, None)
        if [name.strip().lower() for name in first] == _OF_2020:
            raise Fault(
                UNKNOWN, "ARC answers in the CSV of the contest of 2020, which is not read: "
                "give its tasks, which are JSON, to `trm data arc`"
            )  # fmt: skip
        headed = not self._is_row(first)
        header = [name or str(number) for number, name in enumerate(first, 1)]
        if headed:
            self.names = choose(header, self._columns, self._answered, "the header has")
        else:
            header = [str(number) for number, _ in enumerate(first, 1)]
            self.names = header[0], (*header, None)[1]
        at = [header.index(name) for name in self.names if name is not None]
        fields = self._fields() if headed else first
        if headed and fields and self._columns == USUAL and self.names[1] is None:
            refuse_unnamed_answers(dict(zip(header, fields, strict=False)), self.names[0])
        while fields is not None:
            _check_fields(fields, header)
            texts = [fields[place] for place in at]
            yield texts[0], texts[1] if len(texts) > 1 and (texts[1] or self._answered) else None
            fields = self._fields()

    def _is_row(self, first: Sequence[str]) -> bool:
        """Whether the first row is no header but puzzles: a question and an answer as long, or a question alone.

        Raises Fault for other rows that are no header.
        """
        if self._columns != USUAL or any(is_usual(name) for name in first) or not any(map(_is_puzzle, first)):
            return False
        if _is_puzzle(first[0]) and len({len(field) for field in first}) == 1:
            if len(first) == 2 or (len(first) == 1 and not self._answered):
                return True
            if len(first) == 1:
                raise Fault("answer", "is missing: the file holds one puzzle a line, without answers")
        raise Fault(UNKNOWN, "the first row is no header, but a puzzle: write one above it, such as question,answer")

    def _fields(self) -> list[str] | None:
        """The fields of the next row that is not empty; None at the end."""
        fields: list[str] | None = []
        while fields == []:
            self.line = self._lines.number + 1
            try:
                fields = next(self._reader, None)
            except csv.Error as error:
                raise Fault(UNKNOWN, f"not readable as CSV ({error}); correct the quotes or separators") from None
        self._lines.end_row()
        return fields


class JsonRows:
    """The two values of each object, lists of strings joined by line ends; the first object tells which they are."""

    term = "key"

    def __init__(self, lines: Lines, columns: Columns, answered: bool) -> None:
        self.line = 1
        self.names: tuple[str, str | None] = columns[0] or "question", columns[1] or "answer"
        self._lines, self._columns, self._answered = lines, columns, answered

    def __iter__(self) -> Iterator[Texts]:
        keys: Set[str] | None = None
        for row in self._objects():
            if row.keys() != keys:
                names = choose(list(row), self._columns, self._answered, "the keys are")
                if keys is not None and names != self.names:
                    there = " and ".join(repr(name[:40]) for name in self.names if name is not None)
                    raise Fault(
                        UNKNOWN, f"other keys than in the first object, where {there} were read: name all alike"
                    )
                if self._columns == USUAL and names[1] is None:
                    refuse_unnamed_answers(row, names[0])
                self.names, keys = names, row.keys()
            question, answer = self.names
            missing = answer is None or (row[answer] is None and not self._answered)
            yield _grid_text(row, question), None if missing else _grid_text(row, str(answer))

    def _objects(self) -> Iterator[dict[str, Any]]:
        while True:
            self.line = self._lines.number + 1
            text = next(self._lines, None)
            if text is None:
                return
            if not text.strip(_JSON_SPACE):
                continue
            self._lines.end_row()
            _check_utf8(text)
            row, _ = _decoded(text.removesuffix("\n"), "give one object on each line")
            yield _object(row, "the line holds", "on each line")


class JsonArrayRows(JsonRows):
    """The same of the objects in an array, which may be written in any number of lines.

    Objects are counted instead of lines where a line holds several.
    """

    def _objects(self) -> Iterator[dict[str, Any]]:
        text = self._whole()
        self._counts = _share_lines(text)
        at = self._next(text, 0, 0)
        if text[at : at + 1] != "[":
            raise Fault(
                UNKNOWN, "no array; give [{...}, ...], or one object on each line and a name that ends in .jsonl"
            )
        at = self._next(text, at, at + 1)
        while text[at : at + 1] != "]":
            row, end = _decoded(text, "give an array of objects", at)
            yield _object(row, "the array holds", "for each puzzle")
            at = self._next(text, at, end)
            if text[at : at + 1] == ",":
                at = self._next(text, at, at + 1)
                self.line += self._counts
            elif text[at : at + 1] != "]":
                raise Fault(UNKNOWN, "not readable as JSON (neither , nor ] behind an object); correct it")
        if text[at + 1 :].strip(_JSON_SPACE):
            raise Fault(UNKNOWN, "not readable as JSON (something stands behind the array); remove it")

    def _next(self, text: str, at: int, end: int) -> int:
        """Where the next sign after `end` is; the line, where lines count, goes on from that of `at` to its line."""
        end = _after_space(text, end)
        self.line += 0 if self._counts else text.count("\n", at, end)
        return end

    def _whole(self) -> str:
        parts, length = [], 0
        for line in self._lines:
            self._lines.end_row()
            self.line = self._lines.number
            _check_utf8(line)
            parts.append(line)
            length += len(line)
            if length > _LONGEST_ARRAY:
                raise Fault(UNKNOWN, f"over {_LONGEST_ARRAY} characters; write an object on each line, as .jsonl")
        self.line = 1
        return "".join(parts)


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in _JSON_SPACE:
        at += 1
    return at


def _share_lines(text: str) -> bool:
    """Whether two objects of an array begin on one line, as far as the array is readable."""
    at, decoder, last = _after_space(text, 0), json.JSONDecoder(), -1
    with suppress(ValueError, RecursionError):
        while text[at : at + 1] in ("[", ","):
            at = _after_space(text, at + 1)
            if last >= 0 and "\n" not in text[last:at]:
                return True
            last, (_, end) = at, decoder.raw_decode(text, at)
            at = _after_space(text, end)
    return False


def _separator(line: str, columns: Columns) -> str:
    """What ends the fields of a line, the first of a file: of several that it has, the one that makes named columns."""
    bare = _QUOTED.sub("", line)
    found = [char for char in _SEPARATORS if char in bare]
    for char in found if len(found) > 1 else ():
        names = {name.strip() for name in bare.strip("\n").split(char)}
        if (columns[0] in names) if columns[0] else any(map(is_usual, names)):
            return char
    return found[0] if found else _SEPARATORS[0]


def _is_puzzle(text: str) -> bool:
    return len(text) >= SHORTEST_PUZZLE and not _WORDS.fullmatch(text)


def _check_fields(fields: Sequence[str], header: Sequence[str] | None) -> None:
    for number, field in enumerate(fields):
        name = header[number] if header and number < len(header) else str(number + 1)
        if "\0" in field:
            raise Fault(name, "a NUL byte; save the file as plain UTF-8 text")
        if _has_other_bytes(field):
            raise Fault(name, "bytes that are not UTF-8; save the file as UTF-8")
    if header and len(fields) != len(header):
        name = header[len(fields)] if len(fields) < len(header) else str(len(header) + 1)
        raise Fault(name, f"{len(fields)} fields, but the header has {len(header)}; add or remove some")


def _decoded(text: str, mend: str, at: int | None = None) -> tuple[Any, int]:
    """The value that a text is, or that stands at a place in it, and where it ends."""
    try:
        return (_DECODER.decode(text), len(text)) if at is None else _DECODER.raw_decode(text, at)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, " * (error.lineno > 1) + f"character {error.colno}"
        raise Fault(UNKNOWN, f"not readable as JSON ({error.msg}, {place}); {mend}") from None
    except RecursionError:
        raise Fault(UNKNOWN, f"not readable as JSON (nested too deep); {mend}") from None
    except ValueError as error:  # a number of thousands of digits
        raise Fault(UNKNOWN, f"not readable as JSON ({error}); shorten or remove the number") from None


def _has_other_bytes(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text)


def _check_utf8(text: str) -> None:
    if _has_other_bytes(text):
        raise Fault(UNKNOWN, "bytes that are not UTF-8; save the file as UTF-8")


def _object(value: Any, holds: str, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Fault(UNKNOWN, f"{holds} {_type_name(value)}; give one object {where}")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            raise Fault(key, "stands there twice; remove one")
        row[key] = value
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise Fault(UNKNOWN, f"not readable as JSON ({name} is no JSON number); write null, or remove it")


_DECODER = json.JSONDecoder(object_pairs_hook=_without_twins, parse_constant=_refuse_constant)


def _grid_text(row: dict[str, Any], key: str) -> str:
    value = row[key]
    if isinstance(value, list) and value and (all(map(_is_list, value)) or all(type(cell) is int for cell in value)):
        return json.dumps(value, ensure_ascii=False)  # a board as a list, which is one of the forms of texts
    rows = value if isinstance(value, list) else [value]
    for number, part in enumerate(rows, 1):
        if not isinstance(part, str):
            place = f"element {number} of the list" if rows is value else "the value"
            raise Fault(
                key, f"{place} is {_type_name(part)}; give a string, or a list of strings or of lists, one a row"
            )
        if not part.isascii() and any("\ud800" <= char <= "\udfff" for char in part):
            raise Fault(key, "half of a surrogate pair; write the character itself, or both halves")
    return "\n".join(rows)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
