"""Reading CSV and JSONL files of puzzles: right, or one line that names file, row and column or key."""

import csv
import gzip
import io
import itertools
import json
import os
import re
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import maze, sudoku, table_lines
from trm_jax.puzzles.grid import Grid
from trm_jax.puzzles.sudoku_search import random_solutions
from trm_jax.puzzles.table import read_numbered, read_pairs, read_texts

Q1, A1 = "12..341.21434321", "1234341221434321"
Q2, A2 = "..34341221434321", A1
GOOD = f"source,question,answer,rating\na,{Q1},{A1},1\nb,{Q2},{A2},\n"
J1 = json.dumps({"question": Q1, "answer": A1})
GOOD_JSONL = (
    J1 + "\n" + json.dumps({"answer": [A2[i : i + 4] for i in (0, 4, 8, 12)], "rating": 1, "question": Q2}) + "\n"
)
EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))


@pytest.fixture
def write(tmp_path):
    def to_file(content: str | bytes, name: str = "rows.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


def fault(path: Path, **kwargs) -> str:  # type: ignore[no-untyped-def]
    """The error's line without the path in front."""
    with pytest.raises(DataError) as caught:
        read_pairs(path, sudoku.parse, **{"check": sudoku.check_pair, **kwargs})
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def as_text(grids: NDArray[np.int8]) -> list[str]:
    return [sudoku.to_text(grid) for grid in grids]


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.rstrip("\n"),
        GOOD.replace("\n", "\n\n"),
        f"answer,question\n{A1},{Q1}\n{A2},{Q2}\n",
        f'question,answer,näme\n"{Q1}",{A1},é\n"{Q2[:4]}\n{Q2[4:8]}\n{Q2[8:12]}\n{Q2[12:]}",{A2},"a,\nb"\n',
    ],
)
def test_forms_of_a_good_file(write, content):
    for path in (write(content), write(gzip.compress(content.encode()), "rows.csv.gz")):
        for where in (path, str(path)):
            questions, answers = read_pairs(where, sudoku.parse, sudoku.check_pair)
            assert questions.dtype == answers.dtype == np.int8
            assert as_text(questions) == [Q1, Q2]
            assert as_text(answers) == [A1, A2]


KAGGLE = f" Puzzle ;SOLUTION; clues\n{Q1};{A1};1,5\n{Q2};{A2};\n"
ARRAY = json.dumps([{"Puzzles": Q1, "x": [1], "solutions": A1}, {"Puzzles": Q2.split(), "solutions": A2}], indent=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("usual.csv", GOOD.replace("question", "quizzes").replace("answer", "solutions")),
        ("semicolons.csv", KAGGLE),
        ("told.csv", "sep=;\n" + KAGGLE.replace(" clues", "a,question")),
        ("comma_in_a_name.csv", KAGGLE.replace(" clues", "x,y")),
        ("tabs.tsv", KAGGLE.replace(";", "\t")),
        ("quoted.csv", KAGGLE.replace(" Puzzle ", '"Puzzle"').replace(" clues", '"a,b\t"')),
        ("commas.csv", KAGGLE.replace(",", "/").replace(";", ",").replace(" clues", "a;b")),
        ("first.csv", f"Question ,puzzle,answer,solution\n{Q1},x,{A1},y\n{Q2},x,{A2},y\n"),
        ("no_header.csv", f"{Q1},{A1}\n{Q2},{A2}\n"),
        ("no_header.TXT", f"\n{Q1}\t{A1}\n\n{Q2}\t{A2}"),
        ("old.csv", GOOD.replace("\n", "\r")),
        ("old.jsonl", GOOD_JSONL.replace("\n", "\r")),
        ("utf16.csv", KAGGLE.encode("utf-16")),
        ("big_endian.csv", "\ufeff".encode("utf-16-be") + KAGGLE.replace("\n", "\r\n").encode("utf-16-be")),
        ("utf16.jsonl", GOOD_JSONL.encode("utf-16")),
        ("array.json", ARRAY),
        ("array.JSON", "\ufeff \n" + ARRAY.replace("\n", "")),
    ],
)
def test_forms_of_tables(write, name, content):
    packed = gzip.compress(content.encode() if isinstance(content, str) else content)
    for path in (write(content, name), write(packed, name + ".gz")):
        questions, answers = read_pairs(path, sudoku.parse, sudoku.check_pair)
        assert as_text(questions) == [Q1, Q2]
        assert as_text(answers) == [A1, A2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "row 1, key ?: no array; give [{...}, ...]"),
        ("[]", "row 1, key question: the file holds no row of puzzles"),
        (GOOD_JSONL, "row 1, key ?: no array; give [{...}, ...], or one object on each line and a name that ends in"),
        ("\n[\n\n" + J1 + "\n,\n 5]", "row 6, key ?: the array holds a number; give one object for each puzzle"),
        (f"[{J1}\n{J1}]", "row 2, key ?: not readable as JSON (neither , nor ] behind an object)"),
        (f"[{J1},\n", "row 2, key ?: not readable as JSON (Expecting value, line 2, character 1)"),
        (f"[{J1}]\n]", "row 1, key ?: not readable as JSON (something stands behind the array)"),
        ("[" + J1 + ',\n{"question":\n"z",\n"answer": ""}]', "row 2, key question: 'z' in line 1, column 1"),
        ("[" * 100_000, "row 1, key ?: not readable as JSON"),
        (b'[\n{"question": "\xff"}]', "row 2, key ?: bytes that are not UTF-8"),
    ],
)
def test_bad_arrays_are_placed(write, content, expected):
    assert fault(write(content, "rows.json")).startswith(expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("one.csv", f"quizzes\n{Q1}\n{Q2}\n"),
        ("more.csv", f"puzzle;rating\n{Q1};1\n{Q2};2\n"),
        ("list.txt", f"{Q1}\n{Q2}\n"),
        ("rows.jsonl", f'{{"puzzle": "{Q1}"}}\n{{"puzzle": "{Q2}"}}\n'),
        ("null.json", json.dumps([{"question": Q1, "answer": None}, {"question": Q2, "answer": None}])),
        ("empty.csv", f"question,answer\n{Q1},\n{Q2},\n"),
    ],
)
def test_puzzles_without_answers(write, name, content):
    path = write(content, name)
    questions, answers = read_pairs(path, sudoku.parse, answered=False)
    assert as_text(questions) == [Q1, Q2]
    assert not answers.any()
    assert re.match(r"row \d, (key|column) answer: (is missing|is empty|the value is null)", fault(path))


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("own.csv", f"puzzle,rating,key\n{Q1},1,{A1}\n", "row 2, column key"),
        (
            "own.jsonl",
            json.dumps({side: [text[i : i + 4] for i in (0, 4, 8, 12)] for side, text in (("quiz", Q1), ("key", A1))}),
            "row 1, key key",
        ),
        ("own.json", json.dumps([{"puzzle": Q1, "key": A1}]), "row 1, key key"),
    ],
)
def test_answers_under_another_name_are_not_passed_over(write, name, content, place):
    path = write(content, name)
    told = fault(path, answered=False)
    question = "quiz" if "quiz" in content else "puzzle"
    assert told.startswith(f"{place}: are these the answers? they are as long as '{question}': say --columns '")
    assert not read_pairs(path, sudoku.parse, columns=(question, ""), answered=False)[1].any(), (
        "there are none, it says"
    )
    assert as_text(read_pairs(path, sudoku.parse, columns=(question, "key"), answered=False)[1]) == [A1]


def test_objects_of_an_array_in_one_line_are_counted(write):
    rows = [{"question": Q1, "answer": A1}, {"question": Q2, "answer": A2}, {"question": Q1, "answer": "z"}]
    assert fault(write(json.dumps(rows), "rows.json")).startswith("row 3, key answer: 'z' in line 1")
    assert fault(write(json.dumps(rows, indent=1), "rows.json")).startswith("row 10, key answer: 'z' in line 1")
    numbers = read_numbered(write(json.dumps(rows[:2]) + "\n", "rows.json"), sudoku.parse)[2]
    assert numbers.tolist() == [1, 2]


def test_objects_are_counted_wherever_two_of_them_share_a_line(write):
    good, bad = (json.dumps({"question": Q1, "answer": answer}) for answer in (A1, "z"))
    for array, row in (
        (f"[\n{good}, {bad}\n]", 2),
        (f"[{good},\n{good}, {good},\n\n{bad}]", 4),
        (f"[{good}, {good}, {{}}]", 3),
        (f"[{good},\n\n{bad}, {good}]", 2),
        (f"[\n{good}\n,\n{bad}\n]", 4),  # each has a line of its own
        (f"[{bad},\n{good}, {good}]", 1),
    ):
        assert fault(write(array, "rows.json")).startswith(f"row {row}, key ")
    _, _, numbers = read_numbered(write(f"[\n{good}, {good},\n{good}\n]", "rows.json"), sudoku.parse)
    assert numbers.tolist() == [1, 2, 3]


def test_some_puzzles_without_answers(write):
    questions, answers = read_pairs(write(f"question,answer\n{Q1},\n{Q2},{A2}\n"), sudoku.parse, answered=False)
    assert as_text(questions) == [Q1, Q2]
    assert [bool(answer.any()) for answer in answers] == [False, True]
    late = write(f'{{"puzzle": "{Q1}"}}\n{{"puzzle": "{Q2}", "solution": "{A2}"}}', "late.jsonl")
    with pytest.raises(
        DataError, match=r"row 2, key \?: other keys than in the first object, where 'puzzle' were read"
    ):
        read_pairs(late, sudoku.parse, answered=False)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (f"{Q1.replace('.', '0')[:15]},{A1}", "; did a spreadsheet drop zeros at its start? fetch the file again"),
        ("1" * 9 + "," + A1, "; did a spreadsheet drop zeros at its start?"),  # a whole number of rows, and too few
    ],
)
def test_zeros_that_a_spreadsheet_dropped_are_told(write, row, told):
    message = fault(write(f"question,answer\n{row}\n"))
    assert re.match(r"row 2, column (question|answer): ", message)
    assert told in message
    assert "spreadsheet" not in fault(write(f"question,answer\nz{row[1:]}\n"))


@pytest.mark.parametrize("number", ["1.23e+15", "1,2E15", "1E+15", f"{A1}.0"])
@pytest.mark.parametrize("side", ["question", "answer"])
def test_a_number_that_a_spreadsheet_rounded_is_told_as_that_alone(write, number, side):
    row = {"question": Q1, "answer": A1} | {side: f'"{number}"'}
    told = f"row 2, column {side}: {number!r} is a number that a spreadsheet has made of the cells, and rounded: "
    assert fault(write(f"question,answer\n{row['question']},{row['answer']}\n")) == (
        told + "fetch the file again, and import the column as text"
    )
    assert "spreadsheet" not in fault(write(f"question,answer\n{Q1},{A1[:-1]}z\n"))


def test_limit(write):
    path = write(GOOD + "broken\n")
    assert as_text(read_pairs(path, sudoku.parse, limit=1)[0]) == [Q1]
    assert as_text(read_pairs(path, sudoku.parse, limit=2)[0]) == [Q1, Q2]
    assert fault(path, limit=3).startswith("row 4, column question: 1 fields, but the header has 4")
    assert fault(path, limit=0).startswith("limit is 0")


def test_mazes_keep_their_blanks(write):
    path = write("question,answer\nS   #   G,S  o# ooG\n")
    questions, answers = read_pairs(path, maze.parse, maze.check_pair)
    assert maze.to_text(questions[0]) == "S   #   G"
    assert maze.to_text(answers[0]) == "S  o# ooG"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "row 1, column question: the file is empty"),
        ("\ufeff", "row 1, column question: the file is empty"),
        ("\n\n", "row 1, column question: the file is empty"),
        ("question,answer\n", "row 2, column question: the file holds no row of puzzles"),
        (
            "question,reply\n",
            "row 1, column answer: is missing; the header has 'question', 'reply': say with --columns",
        ),
        ("ask,answer\n", "row 1, column question: is missing; the header has 'ask', 'answer': say with --columns"),
        ("Question,QUESTION,answer\n", "row 1, column question: may be each of 'Question', 'QUESTION'; the header has"),
        ("puzzle,quizzes,solution\n", "row 1, column question: may be each of 'puzzle', 'quizzes'; the header has"),
        ("question,puzzle,solution\n", "row 1, column question: may be each of 'question', 'puzzle'; the header has"),
        ("question,answer,answer\n", "row 1, column answer: stands there twice"),
        (GOOD + f"c,{Q1}\n", "row 4, column answer: 2 fields, but the header has 4"),
        ("question,,answer\n1\n", "row 2, column 2: 1 fields, but the header has 3"),
        (GOOD + f"c,{Q1},{A1},1,2\n", "row 4, column 5: 5 fields, but the header has 4"),
        (GOOD + f"c,{Q1},{A1[:-1]}z,1\n", "row 4, column answer: 'z' in line 1, column 16 of the text"),
        (GOOD + f"\n\nc,z,{A1},1\n", "row 6, column question: 'z' in line 1, column 1 of the text"),
        (GOOD + f'c,"12..\n341.\n\n2143\n4321",{A1},1\nd,12,{A1},\n', "row 9, column question: 2 cells found"),
        (GOOD + f"c,{Q1},{'.' * 36},1\n", "row 4, column answer: 36 cells, but the question has 16"),
        (GOOD + f"c,{'.' * 36},{A1},1\n", "row 4, column answer: 16 cells, but the question has 36"),
        (GOOD + f"c,11..............,{A1},1\n", "row 4, column question: digit 1 stands twice in row 1"),
        (GOOD + f"c,{Q1},{Q1},1\n", "row 4, column answer: r1c3 is blank"),
        (GOOD + f"c,{Q1},2143432112343412,1\n", "row 4, column answer: r1c1 is 2, but the question gives 1"),
        (GOOD + f"c\0,{Q1},{A1},1\n", "row 4, column source: a NUL byte"),
        (GOOD + f'c,"{Q1}"x,{A1},1\n', "row 4, column ?: not readable as CSV"),
        (GOOD + f'c,"{Q1}', "row 4, column ?: not readable as CSV"),
        (GOOD + f"c,{Q1},{A1},{'x' * 131073}\n", "row 4, column ?: not readable as CSV (field larger"),
        (GOOD + "x" * (1 << 21), "row 4, column ?: the row does not end within 1048576 characters"),
        (
            GOOD.encode() + b"c," + Q1.encode() + b",\xff\xfe,1\n",
            "row 4, column answer: bytes that are not UTF-8",
        ),
        (
            GOOD.encode() + b"caf\xe9," + Q1.encode() + b"," + A1.encode() + b",1\n",
            "row 4, column source: bytes",
        ),
        (b"question,answer,\xe9\n", "row 1, column 3: bytes that are not UTF-8"),
        ('question,answer,"a\nb"\n1,2,\0\n', "row 3, column a\\nb: a NUL byte"),
        (
            gzip.compress(GOOD.encode(), mtime=0),
            "row 1, column ?: no table, but gzipped: give it a name that ends in .gz",
        ),
        (
            b"PK\x03\x04" + b"\0" * 9,
            "row 1, column ?: no table, but a spreadsheet or another zip archive: save it as CSV",
        ),
        (b"PAR1\x15", "row 1, column ?: no table, but a Parquet file: write it as CSV or JSONL"),
        (b"\x89PNG\r\n\x1a\n", "row 1, column ?: no table, but a picture: give the cells as text"),
        (b"<!DOCTYPE html>", "row 1, column ?: no table, but a web page: fetch the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\n", "row 1, column ?: no table, but what Git LFS keeps in place"),
        (ARRAY.encode(), "row 1, column ?: JSON, by its first line: give it a name that ends in .json, or .jsonl for"),
        (GOOD_JSONL.encode(), "row 1, column ?: JSON, by its first line: give it a name that ends in .json, or"),
        (GOOD.encode("utf-16-le"), "row 1, column 1: a NUL byte; save the file as plain UTF-8 text"),
        (GOOD.encode("utf-16")[:-1], "row 3, column ?: bytes that are not UTF-16, as the file begins"),
        # No header.
        (f"a,{Q1},{A1}\n", "row 1, column ?: the first row is no header, but a puzzle: write one above it, such as"),
        (f"{Q1},{A1[:-1]}\n", "row 1, column ?: the first row is no header, but a puzzle"),
        (f"{Q1}\n{Q2}\n", "row 1, column answer: is missing: the file holds one puzzle a line, without answers"),
        (f"{Q1},{A1}\n{Q2}\n", "row 2, column 2: 1 fields, but the header has 2"),
        (f"{Q1},{A1}\n{A2},{Q2}\n", "row 2, column 2: r1c1 is blank"),
        # No answers, where they are needed.
        (f"puzzle\n{Q1}\n", "row 1, column answer: is missing; the header has 'puzzle': say with --columns"),
        (GOOD + f"c,{Q1},,1\n", "row 4, column answer: is empty; fill it in"),
        # What spreadsheets do.
        (
            GOOD + f"c,{Q1.replace('.', '0')[:-1]},{A1},1\n",
            "row 4, column question: 15 cells",
        ),
        (GOOD + f"c,4.3e+79,{A1},1\n", "row 4, column question: "),
    ],
)
def test_bad_content_is_placed(write, content, expected):
    assert fault(write(content)).startswith(expected)


def test_rows_of_different_sizes(write):
    full_6x6 = sudoku.to_text(random_solutions(1, sudoku.layout_for(6), np.random.default_rng(0)))
    path = write(GOOD + f"c,{full_6x6},{full_6x6},1\n")
    assert fault(path).startswith("row 4, column question: 36 cells, but the first row has 16")


def test_without_check_only_the_form_counts(write):
    questions, answers = read_pairs(write(f"question,answer\n{A1},{Q1}\n"), sudoku.parse)
    assert as_text(questions) == [A1]
    assert as_text(answers) == [Q1]


def test_damaged_gzip(write):
    rows = "".join(f"c,{Q1},{A1},{i}\n" for i in range(3000))
    whole = gzip.compress((GOOD + rows).encode())
    half = fault(write(whole[: len(whole) // 2], "half.csv.gz"))
    assert re.match(r"row \d{3,}, column \?: the file is damaged or cut off", half)
    assert "cut off" in fault(write(whole[:-4], "tail.csv.gz"))
    assert "damaged" in fault(write(GOOD, "plain.csv.gz"))
    flipped = bytearray(whole)
    flipped[-6] ^= 1  # the checksum
    assert "damaged" in fault(write(bytes(flipped), "sum.csv.gz"))
    flipped = bytearray(whole)
    flipped[11] ^= 0xFF  # the compressed stream
    assert fault(write(bytes(flipped), "stream.csv.gz"))
    assert fault(write(b"", "empty.csv.gz")).startswith("row 1, column question: the file is empty")


def test_files_that_cannot_be_opened(tmp_path):
    for name in ("none.csv", "none.csv.gz"):
        assert fault(tmp_path / name).startswith("cannot be opened (No such file or directory)")
    assert fault(tmp_path).startswith("cannot be opened (Is a directory)")


@pytest.mark.parametrize(
    "content",
    [
        GOOD_JSONL,
        GOOD_JSONL.replace("\n", "\r\n"),
        "\ufeff" + GOOD_JSONL,
        GOOD_JSONL.rstrip("\n"),
        "\n \t\n" + GOOD_JSONL.replace("\n", "\n\n\r\n"),
        GOOD_JSONL.replace('"rating"', '"r\u00e9\u2028\\ud800"').replace(": 1,", ": [{}, null, 1e999, [[]]],"),
    ],
)
def test_forms_of_a_good_jsonl_file(write, content):
    for path in (write(content, "rows.jsonl"), write(gzip.compress(content.encode()), "rows.jsonl.gz")):
        questions, answers = read_pairs(path, sudoku.parse, sudoku.check_pair)
        assert questions.dtype == answers.dtype == np.int8
        assert as_text(questions) == [Q1, Q2]
        assert as_text(answers) == [A1, A2]


def test_rows_of_a_list_are_lines_of_the_grid(write):
    path = write(json.dumps({"question": ["S  ", " # ", "  G"], "answer": "S  o# ooG"}), "mazes.jsonl")
    questions, answers = read_pairs(path, maze.parse, maze.check_pair)
    assert maze.render(questions[0], (3, 3)) == "S  \n # \n  G"
    assert maze.to_text(answers[0]) == "S  o# ooG"
    bad = write(json.dumps({"question": ["S  ", " # ", "  x"], "answer": ""}), "bad.jsonl")
    with pytest.raises(DataError, match="row 1, key question: 'x' in line 3, column 3 of the text"):
        read_pairs(bad, maze.parse)


@pytest.mark.parametrize(
    "board",
    [
        [[1, 2, 0, 0], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]],
        [["1", "2", ".", "."], ["3", "4", "1", "2"], ["2", "1", "4", "3"], ["4", "3", "2", "1"]],
        [[1, 2, None, None], [3, 4, 1, 2], [2, 1, 4, 3], [4, 3, 2, 1]],
        [1, 2, 0, 0, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1],
    ],
)
def test_boards_are_lists_of_lists_or_of_cells_too(write, board):
    path = write(json.dumps({"question": board}) + "\n", "rows.jsonl")
    assert as_text(read_pairs(path, sudoku.parse, answered=False)[0]) == ["12..341221434321"]


def test_limit_of_jsonl(write):
    path = write(GOOD_JSONL + "broken\n", "rows.jsonl")
    assert as_text(read_pairs(path, sudoku.parse, limit=1)[0]) == [Q1]
    assert as_text(read_pairs(path, sudoku.parse, limit=2)[0]) == [Q1, Q2]
    assert fault(path, limit=3).startswith("row 3, key ?: not readable as JSON")


def pair(**kwargs) -> str:  # type: ignore[no-untyped-def]
    return json.dumps({"question": Q1, "answer": A1, **kwargs}) + "\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "row 1, key question: the file holds no row of puzzles"),
        ("\ufeff\n\n", "row 3, key question: the file holds no row of puzzles"),
        ("{}", "row 1, key question: is missing; the keys are none"),
        ('{"question": "1", "reply": 2}', "row 1, key answer: is missing; the keys are 'question', 'reply'"),
        (GOOD_JSONL + "\n\n" + J1[:-1], "row 5, key ?: not readable as JSON (Expecting ',' delimiter, character "),
        (GOOD_JSONL + J1 + J1, "row 3, key ?: not readable as JSON (Extra data, character "),
        (GOOD_JSONL + "\n{\n" + J1[1:], "row 4, key ?: not readable as JSON (Expecting property name"),
        ("\ufeff\ufeff" + J1, "row 1, key ?: not readable as JSON (Expecting value, character 1"),
        ("[" + J1 + "]", "row 1, key ?: the line holds a list; give one object on each line"),
        ("5", "row 1, key ?: the line holds a number"),
        ("null", "row 1, key ?: the line holds null"),
        ('"question"', "row 1, key ?: the line holds a string"),
        ("NaN", "row 1, key ?: not readable as JSON (NaN is no JSON number)"),
        ('{"question": -Infinity}', "row 1, key ?: not readable as JSON (-Infinity is no JSON number)"),
        ('{"question": ' + "1" * 5000 + "}", "row 1, key ?: not readable as JSON (Exceeds the limit"),
        ("[" * 200_000, "row 1, key ?: not readable as JSON"),
        ('{"a":' * 100_000, "row 1, key ?: not readable as JSON"),
        ('{"question": "1", "question": "2"}', "row 1, key question: stands there twice; remove one"),
        ('{"a": {"x\\n": 1, "x\\n": 2}}', "row 1, key x\\n: stands there twice"),
        (pair(question=12), "row 1, key question: the value is a number; give a string, or a list of strings"),
        (pair(question=None), "row 1, key question: the value is null"),
        (pair(answer={"rows": []}), "row 1, key answer: the value is an object"),
        (pair(answer=True), "row 1, key answer: the value is true or false"),
        (pair(answer=["1234", 3412]), "row 1, key answer: element 2 of the list is a number"),
        (
            pair(answer=[["1234"]]),
            "row 1, key answer: the list is no board: give a list of rows, each a text or a list",
        ),
        (pair(answer=[[1, 2, 3], [3, 4, 1, 2]]), "row 1, key answer: row 2 of the list has 4 cells, but row 1 has 3"),
        (pair(answer=[[1, 2, 3, 4], "3412"]), "row 1, key answer: element 1 of the list is a list"),
        (pair(answer=[True] * 16), "row 1, key answer: element 1 of the list is true or false"),
        (pair(answer=[]), "row 1, key answer: is empty; fill it in"),
        (pair() + pair(question="12..341.2143432z"), "row 2, key question: 'z' in line 1, column 16 of the text"),
        (pair(question="\ud800"), "row 1, key question: half of a surrogate pair"),
        (pair(question="\0"), "row 1, key question: '\\x00' in line 1, column 1 of the text"),
        (pair().encode() + b'{"question": "\xff"}', "row 2, key ?: bytes that are not UTF-8"),
        (pair() + pair(answer="2143432112343412"), "row 2, key answer: r1c1 is 2, but the question gives 1"),
        (pair() + pair(question="11.............."), "row 2, key question: digit 1 stands twice in row 1"),
        (pair() + pair(question="." * 36, answer="." * 36), "row 2, key question: 36 cells, but the first row has 16"),
        (pair(answer="." * 36), "row 1, key answer: 36 cells, but the question has 16"),
        (pair() + '"' + "x" * (1 << 20), "row 2, key ?: the row does not end within 1048576 characters"),
        (pair().rstrip() + " " + pair(), "row 1, key ?: not readable as JSON (Extra data"),
        (
            pair() + json.dumps({"puzzle": Q1, "answer": A1}),
            "row 2, key ?: other keys than in the first object, where 'question' and 'answer' were read",
        ),
    ],
)
def test_bad_jsonl_is_placed(write, content, expected):
    kwargs = {"check": None} if "first row" in expected else {}
    assert fault(write(content, "rows.jsonl"), **kwargs).startswith(expected)


def test_damaged_gzip_of_jsonl(write):
    whole = gzip.compress((GOOD_JSONL * 3000).encode())
    assert re.match(r"row \d+, key \?: the file is damaged or cut off", fault(write(whole[:-4], "tail.jsonl.gz")))
    assert "damaged" in fault(write(GOOD_JSONL, "plain.jsonl.gz"))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_columns_can_be_named(write, name):
    if name == "rows.csv":
        path = write(f"question,puzzle,solution\nx,{Q1},{A1}\n", name)
    else:
        path = write(json.dumps({"puzzle": Q1, "solution": A1, "question": 5}), name)
    questions, answers = read_pairs(path, sudoku.parse, sudoku.check_pair, columns=("puzzle", "solution"))
    assert as_text(questions) == [Q1]
    assert as_text(answers) == [A1]
    assert " other: is missing; the " in fault(path, columns=("puzzle", "other"))
    assert fault(path, columns=("puzzle", "puzzle")).startswith("question and answer are both read from 'puzzle'")
    swapped = fault(path, columns=("solution", "puzzle"))
    assert re.match(r"row \d, (column|key) puzzle: r1c3 is blank", swapped)
    clash = re.sub("12", "11", path.read_text(), count=1)
    assert re.match(r"row \d, (column|key) puzzle: digit 1", fault(write(clash, name), columns=("puzzle", "solution")))


@pytest.mark.parametrize(
    "bomb",
    [
        b"x",  # a line that never ends
        b"\n",  # empty lines
        b'","\n',  # one row of endless quoted fields, each on two lines
        b"\0",
    ],
)
@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz"])
def test_gzip_bombs_stay_small(write, monkeypatch, name, bomb):
    """16 MiB from 16 KiB: refused after a row's worth, and left alone where the rows asked for come before it."""
    monkeypatch.setattr(table_lines, "_LONGEST_ROW", 1 << 16)
    good = (f"question,answer\n{Q1},{A1}\n" if name == "rows.csv.gz" else J1 + "\n").encode()
    start = good + (b'"' if bomb == b'","\n' else b"")
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = squeeze.compress(start) + b"".join(squeeze.compress(bomb * ((1 << 20) // len(bomb))) for _ in range(16))
    path = write(packed + squeeze.flush(), name)
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    text = fault(path)
    questions, _ = read_pairs(path, sudoku.parse, limit=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert re.match(r"row \d+, (column|key) \?: ", text)
    assert as_text(questions) == [Q1]
    assert peak < 2 << 20


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz"])
def test_bombs_of_good_rows_are_refused(write, monkeypatch, name):
    monkeypatch.setattr(table_lines, "_MOST_UNFOLDED", 1 << 12)
    monkeypatch.setattr(table_lines, "_MOST_TIMES", 20)
    row = (f"{Q1},{A1}\n" if name == "rows.csv.gz" else J1 + "\n").encode()
    head = b"question,answer\n" if name == "rows.csv.gz" else b""
    path = write(gzip.compress(head + row * 2_000), name)
    size = path.stat().st_size
    assert 20 * size < 2_000 * len(row)
    place = re.match(r"row (\d+), (column|key) \?: it unfolds to over 20 times its size", fault(path))
    assert place
    assert int(place[1]) * len(row) == pytest.approx(20 * size, abs=2 * len(row))
    assert len(read_pairs(path, sudoku.parse, limit=100)[0]) == 100
    # Neither what is small, nor what is plain.
    monkeypatch.setattr(table_lines, "_MOST_UNFOLDED", 1 << 22)
    assert len(read_pairs(path, sudoku.parse)[0]) == 2_000
    monkeypatch.setattr(table_lines, "_MOST_UNFOLDED", 1)
    assert len(read_pairs(write(head + row * 300, name[:-3]), sudoku.parse)[0]) == 300


def test_paths_that_are_none(tmp_path):
    assert "cannot be opened" in fault(tmp_path / "a\0b.csv")


CELLS = " .#SGo0123"
FORMS = ("csv", "csv without a header", "jsonl", "json")


@st.composite
def tables(draw: st.DrawFn, form: str) -> tuple[str, bytes, list[list[str]], tuple[str, str]]:
    """A table in one of the forms: its name, its bytes, its rows, and the columns to ask for."""
    form, headed = form.split()[0], form != "csv without a header"
    count = draw(st.integers(9, 12))
    alphabet = CELLS + ",;\t\n\"'" if headed else CELLS
    text = st.text(alphabet, min_size=count, max_size=count)
    first = text if headed else text.map(lambda cells: "." + cells[1:])
    rows = [list(row) for row in draw(st.lists(st.tuples(first, text), min_size=1, max_size=4))]
    names = draw(
        st.sampled_from([("question", "answer"), (" Puzzle", "SOLUTION "), ("quizzes", "Solutions"), ("a b", "c")])
    )
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, delimiter=draw(st.sampled_from(",;\t")), lineterminator="\n")
        if headed:
            writer.writerow([*names, "other"])
        writer.writerows([*row, "x"] if headed else row for row in rows)
        content = out.getvalue()
    else:
        objects = [{"other": 1, names[1]: answer, names[0]: question} for question, answer in rows]
        content = json.dumps(objects) if form == "json" else "\n".join(map(json.dumps, objects))
    encoded = content.replace("\n", draw(st.sampled_from(["\n", "\r\n", "\r"])))
    packed = draw(st.booleans())
    data = encoded.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])))
    name = f"t.{form}{'.gz' if packed else ''}"
    asked = names if headed and (names[0] == "a b" or draw(st.booleans())) else ("", "")
    return name, gzip.compress(data) if packed else data, rows, asked


def codes(text: str) -> NDArray[np.int32]:
    return np.array([ord(char) for char in text], np.int32)


@settings(max_examples=max(EXAMPLES, 100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(FORMS).flatmap(tables))
def test_what_is_written_in_any_form_is_read_back(tmp_path, made):
    read_back(tmp_path, *made)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=max(EXAMPLES, 300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_written_in_each_form_is_read_back(tmp_path, form, data):
    read_back(tmp_path, *data.draw(tables(form)))


def read_back(tmp_path, name, content, rows, columns):
    path = tmp_path / name
    path.write_bytes(content)
    questions, answers = read_pairs(path, codes, columns=columns)
    assert questions.tolist() == [codes(question).tolist() for question, _ in rows]
    assert answers.tolist() == [codes(answer).tolist() for _, answer in rows]
    assert list(read_texts(path, columns=columns)) == [(question, answer) for question, answer in rows]


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(
            [b"", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"5", b"4", b".", b"question", b"[", b"{", b"NaN"]
        )
        | st.binary(max_size=3),
        st.integers(0, 30),
    ),
    max_size=3,
)


def mutated(content: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for place, new, cut in edits:
        at = round(place * len(content))
        content = content[:at] + new + content[at + cut :]
    return content


def read_or_refuse(path: Path, content: bytes, limit: int | None):  # type: ignore[no-untyped-def]
    """(questions, answers), or None where a DataError in due form came instead."""
    path.write_bytes(content)
    text = ""
    try:
        return read_pairs(path, sudoku.parse, sudoku.check_pair, limit)
    except DataError as error:
        text = str(error)
    term = "key" if ".jsonl" in path.name else "column"
    assert re.fullmatch(re.escape(str(path)) + rf": row \d+, {term} .+?: .+", text)
    return None


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, zipped=st.booleans(), damage_zip=st.booleans(), limit=st.none() | st.integers(1, 3))
def test_any_content_loads_right_or_is_a_data_error(tmp_path, edits, zipped, damage_zip, limit):
    if zipped and damage_zip:
        content = mutated(gzip.compress(GOOD.encode(), mtime=0), edits)
    else:
        content = mutated(GOOD.encode(), edits)
        content = gzip.compress(content) if zipped else content
    pairs = read_or_refuse(tmp_path / ("rows.csv.gz" if zipped else "rows.csv"), content, limit)
    if pairs is None:
        return
    questions, answers = pairs
    assert sudoku.answers(questions, answers, sudoku.layout_for(4)).all()
    if zipped and damage_zip and limit is not None:
        return  # the damage may lie in the part left unread, and then nothing plain is there to compare with
    plain = gzip.decompress(content) if zipped else content
    text = plain.decode(errors="replace").removeprefix("\ufeff")
    rows = filter(None, csv.reader(io.StringIO(text, newline="")))
    header = next(rows)
    expected = [dict(zip(header, row, strict=True)) for row in itertools.islice(rows, limit)]
    assert as_text(questions) == [sudoku.to_text(sudoku.parse(row["question"])) for row in expected]
    assert as_text(answers) == [sudoku.to_text(sudoku.parse(row["answer"])) for row in expected]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS, zipped=st.booleans(), limit=st.none() | st.integers(1, 3))
def test_any_jsonl_loads_right_or_is_a_data_error(tmp_path, edits, zipped, limit):
    content = mutated(GOOD_JSONL.encode(), edits)
    name = "rows.jsonl.gz" if zipped else "rows.jsonl"
    pairs = read_or_refuse(tmp_path / name, gzip.compress(content) if zipped else content, limit)
    if pairs is None:
        return
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    expected = list(itertools.islice((json.loads(line) for line in lines if line.strip(b" \t\r")), limit))
    for key, grids in zip(("question", "answer"), pairs, strict=True):
        texts = [row[key] if isinstance(row[key], str) else "".join(row[key]) for row in expected]
        assert as_text(grids) == [sudoku.to_text(sudoku.parse(text)) for text in texts]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from([Q1, A1, Q1[:8]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["question", "answer", "x"]), inner),
    max_leaves=6,
)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40) | JSON_VALUES.map(lambda value: json.dumps(value).encode()), max_size=4))
def test_any_lines_are_rows_or_a_data_error(tmp_path, lines):
    pairs = read_or_refuse(tmp_path / "rows.jsonl", b"\n".join(lines), None)
    if pairs is not None:
        assert sudoku.answers(*pairs, sudoku.layout_for(4)).all()
    read_or_refuse(tmp_path / "rows.csv", b"question,answer\n" + b"\n".join(lines), None)
    read_or_refuse(tmp_path / "any.csv", b"\n".join(lines), None)
    read_or_refuse(tmp_path / "any.csv.gz", b"\x1f\x8b\x08" + b"".join(lines), None)


def test_declared_grids_are_read_from_tables(write):
    description = Grid((2, 2), "# ab", "dihedral")
    path = write(json.dumps({"question": [" #", "a "], "answer": [" #", "ab"]}), "grids.jsonl")
    questions, answers = read_pairs(path, description.parse)
    assert description.to_text(questions[0]) == " #a "
    assert description.to_text(answers[0]) == " #ab"
    path = write('question,answer\n" #\na ", #a?\n', "grids.csv")
    with pytest.raises(
        DataError, match=r"row 2, column answer: '\?' in line 1, column 4 of the text \(r2c2\) is not in"
    ):
        read_pairs(path, description.parse)


def test_faults_of_the_caller_are_not_hidden(write):
    def broken(text: str) -> NDArray[np.int8]:
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        read_pairs(write(GOOD), broken)
