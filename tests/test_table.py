"""Reading CSV files of puzzles: right, or one line that names file, row and column."""

import csv
import gzip
import io
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import maze, sudoku
from trm_jax.puzzles.sudoku_search import random_solutions
from trm_jax.puzzles.table import read_pairs

Q1, A1 = "12..341.21434321", "1234341221434321"
Q2, A2 = "..34341221434321", A1
GOOD = f"source,question,answer,rating\na,{Q1},{A1},1\nb,{Q2},{A2},\n"


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
        f'question,answer,näme\n"{Q1}",{A1},é\n"{Q2[:8]}\n{Q2[8:]}",{A2},"a,\nb"\n',
    ],
)
def test_forms_of_a_good_file(write, content):
    for path in (write(content), write(gzip.compress(content.encode()), "rows.csv.gz")):
        for where in (path, str(path)):
            questions, answers = read_pairs(where, sudoku.parse, sudoku.check_pair)
            assert questions.dtype == answers.dtype == np.int8
            assert as_text(questions) == [Q1, Q2]
            assert as_text(answers) == [A1, A2]


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
        ("question,answer\n", "row 2, column question: the header is not followed by any row"),
        (
            "question,reply\n",
            "row 1, column answer: is missing; the header has 'question', 'reply', needed once each: ",
        ),
        ("Question,answer\n", "row 1, column question: is missing; the header has 'Question', 'answer'"),
        ("question,answer,answer\n", "row 1, column answer: stands there twice"),
        (GOOD + f"c,{Q1}\n", "row 4, column answer: 2 fields, but the header has 4"),
        ("question,,answer\n1\n", "row 2, column 2: 1 fields, but the header has 3"),
        (GOOD + f"c,{Q1},{A1},1,2\n", "row 4, column 5: 5 fields, but the header has 4"),
        (GOOD + f"c,{Q1},{A1[:-1]}x,1\n", "row 4, column answer: 'x' in row 1, column 16 of the text"),
        (GOOD + f"\n\nc,x,{A1},1\n", "row 6, column question: 'x' in row 1, column 1 of the text"),
        (GOOD + f'c,"{Q1[:8]}\n\n{Q1[8:]}",{A1},1\nd,12,{A1},\n', "row 7, column question: 2 cells found"),
        (GOOD + f"c,{Q1},{'.' * 36},1\n", "row 4, column answer: 36 cells, but the question has 16"),
        (GOOD + f"c,{'.' * 36},{A1},1\n", "row 4, column answer: 16 cells, but the question has 36"),
        (GOOD + f"c,11..............,{A1},1\n", "row 4, column question: digit 1 stands twice in row 1"),
        (GOOD + f"c,{Q1},{Q1},1\n", "row 4, column answer: r1c3 is blank"),
        (GOOD + f"c,{Q1},2143432112343412,1\n", "row 4, column answer: r1c1 is 2, but the question gives 1"),
        (GOOD + f"c\0,{Q1},{A1},1\n", "row 4, column source: a NUL byte"),
        (GOOD + f'c,"{Q1}"x,{A1},1\n', "row 4, column ?: not readable as CSV"),
        (GOOD + f'c,"{Q1}', "row 4, column ?: not readable as CSV"),
        (GOOD + f"c,{Q1},{A1},{'x' * 131073}\n", "row 4, column ?: not readable as CSV (field larger"),
        (GOOD + "x" * (1 << 21), "row 4, column ?: the line is longer than 1048576 bytes"),
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
        (GOOD.replace("\n", "\r"), "row 1, column ?: not readable as CSV"),
        (gzip.compress(GOOD.encode(), mtime=0), "row 1, column "),
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


def mutated(content: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    for place, new, cut in edits:
        at = round(place * len(content))
        content = content[:at] + new + content[at + cut :]
    return content


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(
        st.tuples(
            st.floats(0, 1),
            st.sampled_from([b"", b",", b'"', b"\n", b"\r", b"\0", b"\xff", b"5", b"4", b".", b"question"])
            | st.binary(max_size=3),
            st.integers(0, 30),
        ),
        max_size=3,
    ),
    zipped=st.booleans(),
    damage_zip=st.booleans(),
    limit=st.none() | st.integers(1, 3),
)
def test_any_content_loads_right_or_is_a_data_error(tmp_path, edits, zipped, damage_zip, limit):
    if zipped and damage_zip:
        content = mutated(gzip.compress(GOOD.encode(), mtime=0), edits)
    else:
        content = mutated(GOOD.encode(), edits)
        content = gzip.compress(content) if zipped else content
    path = tmp_path / ("rows.csv.gz" if zipped else "rows.csv")
    path.write_bytes(content)
    try:
        questions, answers = read_pairs(path, sudoku.parse, sudoku.check_pair, limit)
    except DataError as error:
        text = str(error)
    else:
        text = ""
    if text:
        assert re.fullmatch(re.escape(str(path)) + r": row \d+, column .+?: .+", text)
        return
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


def test_faults_of_the_caller_are_not_hidden(write):
    def broken(text: str) -> NDArray[np.int8]:
        raise ZeroDivisionError(text)

    with pytest.raises(ZeroDivisionError):
        read_pairs(write(GOOD), broken)
