"""Boards are written in every form that is read, and come back; half in one and half in another they are refused."""

import json
import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of

FEW, MANY = (int(os.environ.get("TRM_FUZZ", cases)) for cases in ("25", "300"))

Rows = list[list[str]]
# A writer draws how a board is written, its blanks being "."; several lines, or one.
Writer = Callable[[st.DrawFn, Kind, Rows], str]

BLANKS = "._-*xX?0"
SUDOKUS = [kind_of("sudoku", side**2) for side in (4, 6, 9)]
LARGE = kind_of("sudoku", 256)
MAZES = [
    kind_of(json.dumps({"kind": "maze", "shape": shape}), shape[0] * shape[1]) for shape in ([3, 5], [5, 3], [4, 4])
]
OWN = [
    kind_of(json.dumps({"kind": "grid", "shape": shape, "alphabet": alphabet}), shape[0] * shape[1])
    for shape, alphabet in (([3, 4], ".01"), ([2, 6], ".<>^v12"), ([4, 2], "abcd"))
]


def cut(row: list[str], width: int) -> list[list[str]]:
    return [row[i : i + width] for i in range(0, len(row), width)]


def one_line(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    return "".join(map("".join, rows)).replace(".", draw(st.sampled_from(BLANKS)))


def plain_rows(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    between = draw(st.sampled_from(["\n", "\r\n"]))
    return between.join(map("".join, rows)).replace(".", draw(st.sampled_from(BLANKS)))


def words_in_a_line(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    return " ".join(map("".join, rows)).replace(".", draw(st.sampled_from("._0")))


def framed(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    """Boxes between bars, with a frame of some kind, or only lines between the bands."""
    assert kind.boxes
    high, wide = kind.boxes
    gap, bar = draw(st.sampled_from(["", " "])), draw(st.sampled_from("|│┃║"))
    left, cross, right, rule = draw(
        st.sampled_from(["*+*-", ".+.-", ":+:-", "'-'-", "+++-", "+++=", "├┼┤─", "╠╬╣═", "┣╋┫━", "|+|-", "----"])
    )
    pad = " " if gap else ""
    blank = draw(st.sampled_from("._*x?0"))
    lines = [bar.join(pad + gap.join(box) + pad for box in cut(row, wide)).replace(".", blank) for row in rows]
    across = cross.join(rule * (len(pad) * 2 + wide + (wide - 1) * len(gap)) for _ in range(len(rows) // wide))
    whole = draw(st.booleans())
    edge = left + across + right
    lines = [f"{bar}{line}{bar}" for line in lines] if whole else lines
    bands = [lines[i : i + high] for i in range(0, len(lines), high)]
    inner = ("\n" + (edge if whole else across) + "\n").join("\n".join(band) for band in bands)
    return f"{edge}\n{inner}\n{edge}" if whole else inner


def spaces(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    lines = ["".join(row).replace(".", " ") for row in rows]
    return "\n".join(f"|{line}|" for line in lines) if draw(st.booleans()) else "\n".join(lines)


def separated(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    between, blank = draw(st.sampled_from([",", ";", "\t", ", ", " ; "])), draw(st.sampled_from(["", *BLANKS]))
    return "\n".join(between.join(blank if char == "." else char for char in row) for row in rows)


def barred(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    blank = draw(st.sampled_from([" ", *BLANKS]))
    lines = ["| " + " | ".join(blank if char == "." else char for char in row) + " |" for row in rows]
    return "\n".join(lines)


def list_of_texts(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    texts = ["".join(row) for row in rows]
    return draw(st.sampled_from([json.dumps(texts), json.dumps(texts, indent=1), repr(texts), repr(tuple(texts))]))


def list_of_characters(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    return draw(st.sampled_from([json.dumps(rows), repr(rows), str(np.array(rows)), repr(tuple(map(tuple, rows)))]))


def list_of_numbers(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    numbers = [[0 if char == "." else int(char, 36) for char in row] for row in rows]
    array = np.array(numbers)
    flat = array.ravel().tolist()
    nothing = [[number or None for number in row] for row in numbers]
    forms = [json.dumps(numbers), json.dumps(nothing), repr(nothing), repr(numbers), json.dumps(flat)]
    return draw(st.sampled_from([*forms, str(array), repr(array), repr(array.astype(np.int8)), str(array * 1.0)]))


def numbers(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    blank = draw(st.sampled_from("0._"))
    width = draw(st.sampled_from([1, 2]))
    words = [[(blank if char == "." else str(int(char, 36))).rjust(width) for char in row] for row in rows]
    return "\n".join(" ".join(row) for row in words)


def headed(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    """With something around it that is no cell."""
    text = draw(st.sampled_from([plain_rows, framed, separated, one_line]))(draw, kind, rows)
    head, tail = draw(
        st.sampled_from(
            [
                ("# a comment\n", ""), ("#a\n# b\n\n", "\n"), ("[Puzzle]\n", ""), ("Puzzle 12:\n", "\n\n"),
                ("Grid 01\n", ""), ("```\n", "\n```"), ("~~~text\n", "\n~~~\n"), ("\ufeff", ""),
                ("Very hard, by nobody (4.5)\n\n", "\n# end"),
            ]
        )
    )  # fmt: skip
    return head + text + tail


SUDOKU_WRITERS: list[Writer] = [
    one_line, plain_rows, words_in_a_line, framed, spaces, separated, barred, list_of_texts, list_of_characters,
    list_of_numbers, headed,
]  # fmt: skip


@st.composite
def boards(draw: st.DrawFn, kind: Kind) -> Rows:
    """Rows of digits and blanks, from none given to all; what the rules say of them is no matter here."""
    side = kind.shape[1]
    digits = "123456789ABCDEFG"[:side]
    cell = st.sampled_from("." * draw(st.integers(0, 3 * side)) + digits)
    board = draw(st.lists(st.lists(cell, min_size=side, max_size=side), min_size=side, max_size=side))
    # Both the greatest digit and a blank, so that a large Sudoku tells its digits.
    return [[digits[-1], ".", *board[0][2:]], *board[1:]]


@settings(max_examples=FEW, deadline=None)
@given(st.data(), st.sampled_from(SUDOKU_WRITERS))
def test_sudokus_come_back(data: st.DataObject, write: Writer) -> None:
    come_back(write, data)


@pytest.mark.slow
@pytest.mark.parametrize("write", SUDOKU_WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=MANY, deadline=None)
@given(st.data())
def test_sudokus_come_back_in_every_form(write: Writer, data: st.DataObject) -> None:
    come_back(write, data)


def come_back(write: Writer, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(SUDOKUS))
    rows = data.draw(boards(kind))
    if write is spaces and all(char == "." for row in rows for char in row[1::2]):
        return
    text = data.draw(st.composite(lambda draw: write(draw, kind, rows))())
    assert kind.text(kind.parse(text)) == "".join(map("".join, rows))
    assert [kind.text(each.tokens) for each in kind.parse_several(text)] == ["".join(map("".join, rows))]


def hexadecimal(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    """Digits from 0 on, with another blank."""
    signs = dict(zip("123456789ABCDEFG", "0123456789ABCDEF", strict=True))
    text = "\n".join("".join(signs.get(char, ".") for char in row) for row in rows)
    return draw(st.sampled_from([text, text.lower(), text.replace("\n", ""), text.replace(".", "-")]))


@pytest.mark.slow
@pytest.mark.parametrize("write", [one_line, plain_rows, framed, numbers, list_of_numbers, hexadecimal])
@settings(max_examples=MANY, deadline=None)
@given(st.data())
def test_large_sudokus_come_back(write: Writer, data: st.DataObject) -> None:
    rows = data.draw(boards(LARGE))
    if write is hexadecimal:
        rows = [["." if char == "G" else char for char in row] for row in rows]
        rows[1][0] = "1"
    text = data.draw(st.composite(lambda draw: write(draw, LARGE, rows))())
    expected = ["?.123456789ABCDEFG".index(char) for row in rows for char in row]
    assert LARGE.parse(text).tolist() == expected


@pytest.mark.slow
@pytest.mark.parametrize("form", range(6))
@settings(max_examples=MANY, deadline=None)
@given(st.data(), st.sampled_from(MAZES + OWN))
def test_mazes_and_own_puzzles_come_back(form: int, data: st.DataObject, kind: Kind) -> None:
    height, width = kind.shape
    cell = st.sampled_from(list(kind.writing.signs))
    rows = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=height, max_size=height))
    texts = ["".join(row) for row in rows]
    forms = ["".join(texts), "\n".join(texts), "\r\n".join(texts), json.dumps(texts), json.dumps(rows)]
    forms += ["\n".join(",".join(row) for row in rows)]
    assert kind.text(kind.parse(forms[form])) == "".join(texts)


@pytest.mark.slow
@pytest.mark.parametrize("form", range(8))
@settings(max_examples=MANY, deadline=None)
@given(st.data(), st.integers(2, 6), st.integers(2, 6), st.booleans())
def test_arc_grids_come_back(form: int, data: st.DataObject, height: int, width: int, alone: bool) -> None:
    kind = kind_of("arc", 900)
    # A single row that spaces part could be a column.
    height = 1 if alone and form < 6 else height
    cell = st.integers(0, 9)
    grid = data.draw(st.lists(st.lists(cell, min_size=width, max_size=width), min_size=height, max_size=height))
    texts = ["".join(map(str, row)) for row in grid]
    forms = ["/".join(texts), "\n".join(texts), json.dumps(grid), str(np.array(grid)), json.dumps(texts)]
    forms += ["\n".join(",".join(map(str, row)) for row in grid)]
    forms += [" ".join(texts), "\n".join(" ".join(map(str, row)) for row in grid)]
    assert kind.decode(kind.parse(forms[form])).tolist() == grid


@pytest.mark.slow
@pytest.mark.parametrize("form", range(5))
@settings(max_examples=MANY, deadline=None)
@given(st.lists(st.integers(0, 4000), min_size=6, max_size=6))
def test_tokens_come_back(form: int, tokens: list[int]) -> None:
    kind = kind_of("tokens", 6)
    forms = [" ".join(map(str, tokens)), ",".join(map(str, tokens)), str(tokens), str(np.array(tokens))]
    forms += ["\n".join(f"{a} {b}" for a, b in zip(tokens[::2], tokens[1::2], strict=True))]
    assert kind.parse(forms[form]).tolist() == tokens


@pytest.mark.slow
@pytest.mark.parametrize("form", range(8))
@settings(max_examples=MANY, deadline=None)
@given(st.data())
def test_several_come_back(form: int, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(SUDOKUS))
    count = data.draw(st.integers(1, 4))
    all_rows = [data.draw(boards(kind)) for _ in range(count)]
    lines = ["".join(map("".join, rows)) for rows in all_rows]
    stacked = ["\n".join(map("".join, rows)) for rows in all_rows]
    names = [f"No{number}" for number in range(count)]
    forms = ["\n".join(lines), "\n".join(lines).replace(".", "-"), "# all\n" + "\n\n".join(lines), json.dumps(lines)]
    forms += ["\n".join(f"{name} {line} 4.5" for name, line in zip(names, lines, strict=True))]
    forms += ["\n".join(f"{name},{line}" for name, line in zip(names, lines, strict=True))]
    forms += ["\n\n".join(stacked), "\n".join(f"Puzzle {i}:\n{text}" for i, text in enumerate(stacked))]
    assert [kind.text(each.tokens) for each in kind.parse_several(forms[form])] == lines


@settings(max_examples=FEW, deadline=None)
@given(st.data())
def test_mixes_are_refused(data: st.DataObject) -> None:
    be_refused(data)


@pytest.mark.slow
@settings(max_examples=10 * MANY, deadline=None)
@given(st.data())
def test_many_mixes_are_refused(data: st.DataObject) -> None:
    be_refused(data)


def be_refused(data: st.DataObject) -> None:
    """The upper half in one form and the lower half in another: refused, or no mix at all and read as it is meant."""
    kind = data.draw(st.sampled_from(SUDOKUS))
    rows = data.draw(boards(kind))
    half = len(rows) // 2
    writers = st.sampled_from([plain_rows, spaced, spaces, separated, barred, list_of_texts, list_of_numbers, placed])
    first, second = data.draw(writers), data.draw(writers)
    texts = [
        data.draw(st.composite(lambda draw, write=write, part=part: write(draw, kind, part))())
        for write, part in ((first, rows[:half]), (second, rows[half:]))
    ]
    expected = ["".join(map("".join, rows))]
    for found in (read(kind, "\n".join(texts), several=False), read(kind, "\n".join(texts), several=True)):
        if isinstance(found, str):
            assert len(found.splitlines()) == 1
        else:
            assert found == expected
            assert first is second or {first, second} == {plain_rows, spaces}  # without a blank these are one


def read(kind: Kind, text: str, several: bool) -> list[str] | str:
    """The boards of a text, or what is wrong with it."""
    try:
        return (
            [kind.text(each.tokens) for each in kind.parse_several(text)] if several else [kind.text(kind.parse(text))]
        )
    except DataError as error:
        return str(error)


def spaced(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    return "\n".join(map(" ".join, rows))


def placed(draw: st.DrawFn, kind: Kind, rows: Rows) -> str:
    """As HoDoKu does: + before a digit that was filled in. There is always one."""
    return "\n".join("".join([*row[:-1], "+", row[-1]]) for row in rows)
