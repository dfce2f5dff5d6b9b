"""Boards in every form that people write are read as they are meant, and what could be misread is refused."""

import json
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from places import ROOT

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.text.forms import FORMS
from trm_jax.puzzles.text.reading import plain_values, read_one

BOARD = "12..341.21434321"
ROWS = ["12..", "341.", "2143", "4321"]
FOUR, NINE, SIXTEEN = kind_of("sudoku", 16), kind_of("sudoku", 81), kind_of("sudoku", 256)
EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_ROWS = [EASY[i : i + 9] for i in range(0, 81, 9)]
MAZE = kind_of(json.dumps({"kind": "maze", "shape": [3, 4]}), 12)
MAZE_ROWS = ["S  #", "## #", "   G"]
OWN = kind_of(json.dumps({"kind": "grid", "shape": [3, 4], "alphabet": ".01"}), 12)
ARC, NUMBERS = kind_of("arc", 900), kind_of("tokens", 6)


def refused(kind: Kind, text: str) -> str:
    """What is wrong with a text, in one line."""
    with pytest.raises(DataError) as caught:
        kind.parse(text)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def several(kind: Kind, text: str) -> list[tuple[str, str]]:
    """Names and boards."""
    return [(each.name, kind.text(each.tokens)) for each in kind.parse_several(text)]


# ---- read as they are meant ----


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_examples_of_each_form(form) -> None:  # type: ignore[no-untyped-def]
    for example in form.examples:
        if form.name == "numbers":
            row = SIXTEEN.parse("\n".join([example] + [" ".join(["."] * 16)] * 15))[:16]
            assert (row - 1).tolist() == [1, 2, 10, 4, 5, 16, 7, 8, 9, 0, 11, 12, 13, 14, 15, 0]
        else:
            assert FOUR.text(FOUR.parse(example)) == BOARD


BOXED = "\n".join(["1 2 | . .", "3 4 | 1 .", "{}", "2 1 | 4 3", "4 3 | 2 1"])


@pytest.mark.parametrize(
    "text",
    [
        BOARD.replace(".", blank) for blank in "0_-*xX?"
    ] + [
        "\n".join(ROWS).replace(".", blank) for blank in "0_-*xX? "
    ] + [
        BOXED.format(frame)
        for frame in ("----+----", "=====+=====", "─────┼─────", "━━━━╋━━━━", "═════╬═════", "- - + - -")
    ] + [
        "{}\n|12|..|\n|34|1.|\n{}\n|21|43|\n|43|21|\n{}".format(*frame)
        for frame in (
            ["*-----*", "|--+--|", "*-----*"], [".-----.", ":--+--:", "'-----'"], ["┌──┬──┐", "├──┼──┤", "└──┴──┘"],
            ["+--+--+"] * 3, ["╔══╦══╗", "╠══╬══╣", "╚══╩══╝"],
        )
    ] + [
        "│1 2│. .│\n│3 4│1 .│\n├───┼───┤\n│2 1│4 3│\n│4 3│2 1│",
        "# a comment\n#another\n" + "\n".join(ROWS),
        "\n".join(ROWS).replace("\n", "  # a remark\n"),
        "[Puzzle]\n" + "\n".join(ROWS),
        "[Puzzle]\n" + "\n".join(ROWS) + "\n[State]\n1234\n3412\n2143\n4321\n",
        "Puzzle 1:\n" + "\n".join(ROWS),
        "Grid 01\n" + "\n".join(ROWS),
        "Easy (#3)\n\n" + BOARD + "\n",
        "```text\n" + "\n".join(ROWS) + "\n```",
        "\ufeff" + "\r\n".join(ROWS) + "\r\n",
        "\r".join(ROWS),
        "12..\n341.\n\n2143\n4321",
        "\n\n  12..\n  341.\n  2143\n  4321\n\n",
        "1\t2\t\t\n3\t4\t1\t\n2\t1\t4\t3\n4\t3\t2\t1",
        "1, 2, ., .\n3, 4, 1, .\n2, 1, 4, 3\n4, 3, 2, 1",
        "[[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]]",
        "[[1, 2, null, null], [3, 4, 1, null], [2, 1, 4, 3], [4, 3, 2, 1]]",
        "((1, 2, None, None), (3, 4, 1, None), (2, 1, 4, 3), (4, 3, 2, 1),)",
        "board = [[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]]",
        "grid=np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]], dtype=int)",
        "[1,2,0,0,\n3,4,1,0,\n2,1,4,3,\n4,3,2,1]",
        '["12..", "341.", "2143", "4321"]',
        '[["1","2",".","."],["3","4","1","."],["2","1","4","3"],["4","3","2","1"]]',
        "[1, 2, 0, 0]\n[3, 4, 1, 0]\n[2, 1, 4, 3]\n[4, 3, 2, 1]",
        str(np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]])),
        repr(np.array([[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]], np.int8)),
        str(np.array([[1.0, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]])),
        "```json\n[[1, 2, 0, 0], [3, 4, 1, 0], [2, 1, 4, 3], [4, 3, 2, 1]]\n```",
    ],
)  # fmt: skip
def test_forms_of_a_sudoku(text: str) -> None:
    assert FOUR.text(FOUR.parse(text)) == BOARD
    assert several(FOUR, text)[0][1] == BOARD
    assert sudoku.to_text(sudoku.parse(text)) == BOARD, "the size is told by the text"


def test_rows_of_dashes_are_blanks_where_the_count_says_so() -> None:
    rows = ["53--7----", "---------", "-98----6-", *EASY_ROWS[3:8], "---------"]
    expected = "".join(rows).replace("-", ".")
    text = "\n".join(rows).replace(".", "-")
    assert NINE.text(NINE.parse(text)) == expected
    framed = "\n---+---+---\n".join("\n".join(text.split("\n")[i : i + 3]) for i in (0, 3, 6))
    assert NINE.text(NINE.parse(framed)) == expected
    tabs = "\n".join("\t".join(row) for row in text.split("\n"))
    assert NINE.text(NINE.parse(tabs)) == NINE.text(NINE.parse(tabs.replace("\t", "|"))) == expected
    assert FOUR.text(FOUR.parse("-" * 16)) == FOUR.text(FOUR.parse("----\n----\n----\n----")) == "." * 16


def test_what_this_program_prints_is_read() -> None:
    for kind in (FOUR, NINE, SIXTEEN):
        side = kind.shape[0]
        grid = np.random.default_rng(0).integers(0, side + 1, side * side)
        text = sudoku.render(grid, sudoku.layout_for(side))
        np.testing.assert_array_equal(kind.parse(text) - 1, grid)


def test_numbers_of_two_digits() -> None:
    grid = np.arange(256).reshape(16, 16) % 17
    for text in (
        "\n".join(" ".join(map(str, row)) for row in grid),
        "\n".join(" ".join(f"{digit:2}" for digit in row) for row in grid),
        "\n".join(" ".join(f"{digit:02}" if digit else "." for digit in row) for row in grid),
        "\n".join(",".join(str(digit) if digit else "" for digit in row) for row in grid),
        "\n".join("|" + "|".join(f" {digit or ' ':>2} " for digit in row) + "|" for row in grid),
        json.dumps(grid.tolist()),
        str(grid),
    ):
        np.testing.assert_array_equal(SIXTEEN.parse(text) - 1, grid.ravel())


def test_arc_grids_and_tokens() -> None:
    for text in ("0123/4567", "0123\n4567", "0123 4567", "0 1 2 3\n4 5 6 7", "0,1,2,3\n4,5,6,7", "0 1 2 3/4 5 6 7",
                 "[[0, 1, 2, 3], [4, 5, 6, 7]]", "[[0 1 2 3]\n [4 5 6 7]]", '["0123", "4567"]'):  # fmt: skip
        assert ARC.text(ARC.parse(text)) == "0123/4567"
    assert ARC.text(ARC.parse("0/1/2")) == ARC.text(ARC.parse("0\n1\n2")) == "0/1/2"
    assert several(ARC, "01/23\n4/5/6") == [("", "01/23"), ("", "4/5/6")]
    assert several(ARC, "01\n23\n\n456") == [("", "01/23"), ("", "456")]
    for text in ("0 1 2 30 4 5", "0 1 2\n30 4 5", "0,1,2,30,4,5", "[0, 1, 2, 30, 4, 5]", "[[0, 1], [2, 30], [4, 5]]"):
        assert NUMBERS.parse(text).tolist() == [0, 1, 2, 30, 4, 5]


def test_mazes_and_own_puzzles() -> None:
    for text in ("".join(MAZE_ROWS), "\n".join(MAZE_ROWS), "\r\n".join(MAZE_ROWS) + "\r\n", json.dumps(MAZE_ROWS)):
        assert MAZE.text(MAZE.parse(text)) == "".join(MAZE_ROWS)
    other = kind_of(json.dumps({"kind": "maze", "shape": [3, 4], "legend": "#.SE*"}), 12)
    tokens = other.parse("S..#\n##.#\n...E")
    np.testing.assert_array_equal(tokens, MAZE.parse("\n".join(MAZE_ROWS)))
    assert other.text(tokens) == "S..###.#...E"
    assert kind_of(json.dumps(other.to_dict()), 12).text(tokens) == "".join(MAZE_ROWS)
    for text in (".01.0000...1", ".01.\n0000\n...1", ". 0 1 .\n0 0 0 0\n. . . 1", ".,0,1,.\n0,0,0,0\n.,.,.,1"):
        assert OWN.text(OWN.parse(text)) == ".01.0000...1"


def hexadecimal(text: str) -> str:
    """The same digits, from 0 on."""
    return text.translate(str.maketrans("123456789ABCDEFG", "0123456789ABCDEF"))


FULL = "".join("123456789ABCDEFG"[(4 * r + r // 4 + c) % 16] for r in range(16) for c in range(16))
OPEN = "..." + FULL[3:250] + "......"


def test_digits_from_0_on_are_told_by_a_text() -> None:
    kind = SIXTEEN.told(SIXTEEN.signs(hexadecimal(OPEN)))
    tokens = SIXTEEN.parse(OPEN)
    for text in (hexadecimal(OPEN), hexadecimal(OPEN).lower(), hexadecimal(OPEN).replace(".", "_")):
        np.testing.assert_array_equal(SIXTEEN.parse(text), tokens)
        np.testing.assert_array_equal(kind.parse(text), tokens)
        np.testing.assert_array_equal(SIXTEEN.parse_several(f"{text}\n{text}")[1].tokens, tokens)
        np.testing.assert_array_equal(sudoku.parse(text), tokens - 1)
    assert kind.text(tokens) == hexadecimal(OPEN)
    assert SIXTEEN.text(tokens) == OPEN
    # One puzzle of several tells for all.
    first = hexadecimal(OPEN).replace("0", ".")
    found = SIXTEEN.parse_several(first + "\n" + hexadecimal(OPEN))
    np.testing.assert_array_equal(found[1].tokens, tokens)
    assert found[0].tokens.max() == 17
    for text in (OPEN.replace(".", "0"), OPEN, FULL):
        np.testing.assert_array_equal(SIXTEEN.parse(text), SIXTEEN.parse(text.replace("0", ".")))


def test_where_0_may_be_a_blank_or_a_digit_it_is_asked() -> None:
    for text in (OPEN.replace(".", "0").replace("G", "0"), hexadecimal(FULL), "0" * 256):
        message = refused(SIXTEEN, text)
        assert message == (
            "0 may be a blank or a digit, since neither G nor another blank stands there: say by "
            "--legend=0123456789ABCDEFG or --legend=.0123456789ABCDEF"
        )
        assert refused_by(lambda text=text: sudoku.parse(text)) == message
    assert refused(SIXTEEN, "0" + OPEN[1:]).startswith(
        "0 may be a blank or a digit, since both G and another blank stand"
    )
    from_one, from_zero = (
        kind_of(json.dumps({"kind": "sudoku", "legend": legend}), 256)
        for legend in ("0123456789ABCDEFG", ".0123456789ABCDEF")
    )
    np.testing.assert_array_equal(from_zero.parse(hexadecimal(FULL)), SIXTEEN.parse(FULL))
    np.testing.assert_array_equal(from_one.parse(OPEN.replace(".", "0")), SIXTEEN.parse(OPEN))
    assert refused(from_one, OPEN).startswith("'.' in line 1, column 1 of the text (r1c1) is neither a digit 1-G nor a")
    # On small boards there is no doubt: 0 is a blank.
    assert FOUR.text(FOUR.parse(BOARD.replace(".", "0"))) == BOARD
    assert "two signs for a blank" in refused(FOUR, "10.." + BOARD[4:])


def refused_by(read: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        read()
    return str(caught.value)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"kind": "maze", "legend": "#.SE"},
            "legend: '#.SE' is none: give 5 characters that differ, those of wall, free",
        ),
        ({"kind": "maze", "legend": "#.SEE"}, "legend: '#.SEE' is none: give 5 characters that differ"),
        ({"kind": "maze", "legend": "#.SE\n"}, "legend: '#.SE\\n' is none: give 5 characters that differ"),
        ({"kind": "maze", "legend": 5}, "legend: 5 is none: give the characters of the cells as a text"),
        ({"kind": "sudoku", "legend": ".12"}, "no Sudoku layout of side 2"),
        (
            {"kind": "sudoku", "box": "2x2", "legend": ".123"},
            "legend: '.123' is none: give 5 characters that differ, the",
        ),
        ({"kind": "arc", "legend": ".123"}, "'legend' says nothing of a puzzle of kind 'arc'"),
    ],
)
def test_legends_that_are_none(about: dict[str, object], message: str) -> None:
    assert refused_by(lambda: kind_of(json.dumps(about), 16)).startswith(message)


def test_the_short_way_reads_what_the_long_way_reads() -> None:
    for kind, text in (
        (FOUR, BOARD), (FOUR, "\n".join(ROWS)), (FOUR, BOARD.replace(".", "x")), (FOUR, "-" * 16), (NINE, EASY),
        (FOUR, "----\n" * 3 + "----"), (MAZE, "".join(MAZE_ROWS)), (MAZE, "\n".join(MAZE_ROWS)), (OWN, ".01." * 3),
    ):  # fmt: skip
        assert plain_values(text, kind.writing) == read_one(text, kind.writing).values(kind.writing)
    for kind, text in (
        (FOUR, "1" + BOARD), (FOUR, "12.-" * 4), (FOUR, "12x0" * 4), (FOUR, "12..\n341.\n2143432\n1"), (FOUR, ""),
        (FOUR, "12+." * 4), (MAZE, "S  #\n## #\n G"), (MAZE, "S  ###\n #   G"), (OWN, ".01-" * 3), (ARC, "01"),
    ):  # fmt: skip
        assert plain_values(text, kind.writing) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["\n", " ", "- ", "=|", "[a ", "1\n", "| ", "Abc ", "array( ", "a #", "[1,", "\t", "---\n", " ,dtype"]
)
def test_no_text_takes_long_to_refuse(text: str) -> None:
    """Each would take minutes where a pattern or a loop goes back and forth."""
    began = time.monotonic()
    for begin, end in (("", ""), ("", "!"), ("[", "]"), ("array([", ")")):
        for kind in (FOUR, MAZE):
            with pytest.raises(DataError):
                kind.parse_several(begin + text * 50_000 + end)
    assert time.monotonic() - began < 60


def test_the_page_lists_all_forms() -> None:
    page = (ROOT / "data" / "README.md").read_text()
    for form in FORMS:
        assert f"| {form.name} | " in page


# ---- several ----


def test_several_boards() -> None:
    second = "." * 16
    expected = [BOARD, second]
    for text, names in (
        (f"{BOARD}\n{second}\n", ["", ""]),
        (f"{BOARD}\n\n# one more\n{second}", ["", ""]),
        (f"first {BOARD}\nsecond {second}", ["first", "second"]),
        (f"{BOARD} 4.5\n{second} 1", ["", ""]),
        (f"Golden Nugget;{BOARD};11.9\nnone, {second}", ["Golden Nugget", "none"]),
        # Without spaces, a line is no title for having a name before its board.
        (f"first,{BOARD},1.2\nsecond,{second},9.1", ["first", "second"]),
        (f"first:{BOARD}\nsecond: {second}", ["first", "second"]),
        (f"first {BOARD}\nsecond,{second}", ["first", "second"]),
        ("\n".join(ROWS) + "\n\n....\n....\n....\n....\n", ["", ""]),
        ("Grid 01\n" + "\n".join(ROWS) + "\nGrid 02\n....\n....\n....\n....", ["Grid 01", "Grid 02"]),
        (f"Easy:\n{BOARD}\nHard:\n{second}", ["Easy", "Hard"]),
        (json.dumps([BOARD, second]), ["", ""]),
        (json.dumps([ROWS, ["...."] * 4]), ["", ""]),
        (f'"{BOARD}"\n"{second}"'.replace('"', "["), None),
    ):
        if names is None:
            with pytest.raises(DataError):
                FOUR.parse_several(text)
        else:
            assert several(FOUR, text) == list(zip(names, expected, strict=True))
            assert re.match(
                r"2 boards found|commas and|'first' in|\d+ lines of|line \d|\d+ cells found|the list|\d+ rows of",
                refused(FOUR, text),
            )
    assert [each.line for each in FOUR.parse_several(f"# x\n{BOARD}\n\n{second}")] == [2, 4]
    lines = "".join(MAZE_ROWS)
    assert several(MAZE, f"{lines}\n{lines}\n") == [("", lines)] * 2
    assert several(MAZE, "\n".join(MAZE_ROWS) + "\n\n" + "\n".join(MAZE_ROWS)) == [("", lines)] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BOARD}\n{BOARD[:15]}", "line 2 has 15 cells, but line 1 has 16: each row is a line"),
        (f"{BOARD} {BOARD}", "line 1 holds 2 boards: are they puzzle and answer? give a table by --data"),
        (f"question,answer\n{BOARD},{BOARD}", "line 2 holds 2 boards"),
        (
            "12--\n341-\n2143\n4321\n\n" + "\n".join(["----"] * 4),  # a second board, or a frame
            "line 1: the text can be read in more than one way: write . for each blank",
        ),
        ("\n".join(ROWS * 2), "8 lines of 4 cells found, but this Sudoku is 4 x 4"),
        ("\n".join(ROWS) + "\n\n1234\n1234", "6 lines of 4 cells found"),
        # Lines that were dropped as titles, although they hold a board.
        (f"first{'.' * 16}\n{BOARD}", "'r' in line 1, column 3 of the text"),
        (f"first({BOARD})\n{BOARD}", "'r' in line 1, column 3 of the text"),
        (f"#1 {BOARD}\n#2 {BOARD}", f"line 1, '#1 {BOARD}', is a remark, a title or a frame, as every line is: "),
        ("---+---\n===", "line 1, '---+---', is a remark, a title or a frame, as every line is: there is no cell"),
    ],
)
def test_several_boards_that_are_none(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        FOUR.parse_several(text)
    assert str(caught.value).startswith(message)


# ---- refused, where it could be misread ----


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        # Decoration that is content.
        (
            FOUR,
            "4 2 -1 3\n3 -1 2 4\n2 4 3 1\n1 3 4 2",
            "'-1' in line 1, column 5 of the text (r1c3) is neither a digit 1-4",
        ),
        (FOUR, "4 2 -1 3 3 -1 2 4 2 4 3 1 1 3 4 2", "'-1' in line 1, column 5 of the text (r1c3) is neither"),
        (FOUR, "4,2,-1,3\n3,-1,2,4\n2,4,3,1\n1,3,4,2", "'-1' in line 1, column 5 of the text (r1c3) is neither"),
        (FOUR, "[[4,2,-1,3],[3,1,2,4],[2,4,3,1],[1,3,4,2]]", "'-1' in line 1, column 7 of the text (r1c3) is neither"),
        (
            NINE,
            "53+4+67....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
            "'+' in line 1, column 3",
        ),
        (FOUR, "12+.341.2143432", "'+' in line 1, column 3 of the text is neither"),
        (FOUR, "12+3\n341.\n2143\n4321", "'+' in line 1, column 3 of the text (r1c3) is neither"),
        (FOUR, "12-.341.21434321", "two signs for a blank, '-' in line 1, column 3 and '.' in line 1, column 4 (r1c4)"),
        (
            FOUR,
            "120.\n341.\n2143\n4321",
            "two signs for a blank, '0' in line 1, column 3 and '.' in line 1, column 4 (r1c4)",
        ),
        # Shape.
        (MAZE, "S  ## \n## #\n G", "line 1 has 6 cells, but a row of this maze has 4"),
        (
            MAZE,
            "S  #\n##\n   G",
            "line 2 has 2 cells, but line 1 has 4: each row is a line; were spaces at its end lost?",
        ),
        (MAZE, "S  #\n\n   G", "2 lines of 4 cells found, but this maze is 3 x 4; each row is a line"),
        (MAZE, "S  ###\n #   G", "2 lines of 6 cells found, but this maze is 3 x 4"),
        (MAZE, "S  \n## \n## \n  G", "4 lines of 3 cells found, but this maze is 3 x 4"),
        (MAZE, '["S  ", "## ", "## ", "  G"]', "4 rows of 3 cells found, but this maze is 3 x 4"),
        (OWN, ".01\n000\n...\n...", "4 lines of 3 cells found, but this grid is 3 x 4"),
        (
            NINE,
            "\n".join([EASY_ROWS[0][:8], EASY_ROWS[1] + ".", *EASY_ROWS[2:]]),
            "line 1 has 8 cells, but a row of this",
        ),
        (
            NINE,
            "\n".join([*EASY_ROWS[:2], EASY_ROWS[2] + ".", *EASY_ROWS[3:]]),
            "line 3 has 10 cells, but line 1 has 9",
        ),
        (NINE, EASY[:40] + "\n" + EASY[40:], "line 2 has 41 cells, but line 1 has 40"),
        (
            NINE,
            EASY[:27] + "\n" + EASY[27:54] + "\n" + EASY[54:],
            "3 lines of 27 cells found, but this Sudoku is 9 x 9",
        ),
        (kind_of("sudoku", 64), "\n".join(["1234"] * 16), "16 lines of 4 cells found, but this Sudoku is 8 x 8"),
        (FOUR, "12  \n341 \n2143\n432", "line 1 has 2 cells, but a row of this Sudoku has 4"),
        (
            FOUR,
            "12\n341\n2143\n4321",
            "line 1 has 2 cells, but a row of this Sudoku has 4: each row is a line; were spaces",
        ),
        (FOUR, "[[1,2,0],[3,4,1,0],[2,1,4,3],[4,3,2,1]]", "row 2 of the list has 4 cells, but row 1 has 3"),
        (FOUR, "[[1,2,0,0],[3,4,1,0]]", "2 rows of 4 cells found, but this Sudoku is 4 x 4"),
        (FOUR, '["12..", "341."]', "2 rows of 4 cells found"),
        (FOUR, "[1,2,0]", "3 cells found, but this Sudoku has 16"),
        # Candidates.
        (NINE, "123456789" * 81, "line 1: cells hold several digits, which are candidates (pencil marks)"),
        (NINE, "\n".join(["123 5 6 | 12 3 4 | 7 8 9"] * 9), "line 1: cells hold several digits, which are candidates"),
        (NINE, "[[[1, 2], [3]]]", "the list is no board"),
        (NINE, "[[[[1]]]]", "'[' in line 1, column 4 of the text: lists go 3 deep; candidates of a cell are not read"),
        # Mixes of forms.
        (
            FOUR,
            "1 2 . .\n341.\n2143\n4321",
            "line 2 has its spaces and bars elsewhere than line 1: space all rows alike",
        ),
        (FOUR, "1 2 | . .\n3 4 1 .\n2 1 | 4 3\n4 3 | 2 1", "line 2 has its spaces and bars elsewhere than line 1"),
        (FOUR, "1,2,.,.\n341.\n2143\n4321", "line 2 has no commas, but others have: write all rows alike"),
        (FOUR, "1,2,.,.\n3;4;1;.\n2;1;4;3\n4;3;2;1", "commas and semicolons stand between cells: use one of them"),
        (FOUR, "[1, 2, 0, 0]\n341.\n2143\n4321", "the list is no board: give a list of rows"),
        (
            FOUR,
            "[[1, 2, 0, 0], [3 4 1 0], [2, 1, 4, 3], [4, 3, 2, 1]]",
            "commas stand between some members of the lists",
        ),
        (FOUR, '[[1, 2, 0, 0], "341.", [2, 1, 4, 3], [4, 3, 2, "."]]', "two signs for a blank"),
        (FOUR, "12..\n3 41.\n2143\n4321", "line 1, '12..', is no row of cells: space them evenly or not at all"),
        (FOUR, "[Puzzle]\n12..\n[Puzzle]\n341.\n2143\n4321", "4 cells found, but this Sudoku has 16"),
        (FOUR, "[State]\n" + "\n".join(ROWS), "none of the sections [state] is [Puzzle]"),
        (FOUR, f"{BOARD}\n" + "\n".join(ROWS), "line 2 has 4 cells, but line 1 has 16"),
        (ARC, "01/23\n45", "some rows end with /, others with their lines: write all alike"),
        (ARC, "0 1 2", "line 1: is it a row of 3 cells or a column? put / between rows, or a row in each line"),
        (ARC, "01/2", "row 2 has 1 cells, but row 1 has 2: make all rows equally long"),
        (ARC, "01\n23\n\n45", "2 boards found, the second from line 4 on, but one is needed here"),
        (ARC, "[0, 1, 2]", "the list is no board: give a list of rows"),
        (ARC, "[[0, 10]]", "'10' in line 1, column 6 of the text"),
        (NUMBERS, "0 1 2 -3 4 5", "'-3' in line 1, column 7 of the text"),
        (FOUR, "|\n000000000000", "12 cells found, but this Sudoku has 16"),
        # No lists.
        (
            FOUR,
            '{"puzzle": "12..341.21434321"}',
            "an object of JSON, but a board is a list of rows: give that alone, or",
        ),
        (FOUR, "[[1, 2, 0, 0], [3, 4, 1, 0]", "'[' is still open at the end of the text: close it"),
        (FOUR, "[[1, 2, 0, 0], [3, 4, 1, 0)]", "')' in line 1, column 27 of the text closes nothing"),
        (FOUR, "[1,, 2]", "',' in line 1, column 4 of the text stands before nothing"),
        (
            FOUR,
            "[1, 2,\n 3.5]",
            "'3' in line 2, column 2 of the text is no part of a list of whole numbers or of texts",
        ),
        (FOUR, str(np.zeros((40, 40), int)), "... in line 1, column 9 of the text: NumPy left cells out"),
        (MAZE, "S  #\n##E#\n   G", "'E' in line 2, column 3 of the text (r2c3) is none of '#' wall, ' ' free"),
        (
            MAZE,
            "+----+\n|S  #|\n|## #|\n|   G|\n+----+",
            "'+' in line 1, column 1 of the text (r1c1) is none of '#' wall",
        ),
    ],
)
def test_what_could_be_misread_is_refused(kind: Kind, text: str, message: str) -> None:
    assert refused(kind, text).startswith(message)
