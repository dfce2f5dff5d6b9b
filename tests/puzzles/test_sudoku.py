"""Sudoku: text, rules, symmetries and tokens."""

import os
import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku
from trm_jax.puzzles.symmetry import Symmetries

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
SIDES = [4, 6, 9, 16]
BOXES = [
    "1x2",
    "2x1",
    "2x2",
    "1x5",
    "2x3",
    "3x2",
    "2x4",
    "3x3",
    "2x5",
    "5x2",
    "3x4",
    "4x4",
    "3x6",
    "4x5",
    "5x5",
    "1x25",
]
EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))
L4, L9 = sudoku.layout_for(4), sudoku.layout_for(9)


def pattern(layout: sudoku.Layout) -> NDArray[np.int8]:
    """The textbook grid: each row is the one above shifted by a box width, and by one more at each band."""
    row, column = np.indices((layout.side, layout.side))
    shifted = column + row % layout.box_rows * layout.box_cols + row // layout.box_rows
    return (shifted % layout.side + 1).astype(np.int8).ravel()


def message(call, *args, **kwargs) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def test_layouts():
    expected = {4: (2, 2, 16, 6), 6: (2, 3, 36, 8), 9: (3, 3, 81, 11), 16: (4, 4, 256, 18)}
    for side, (rows, columns, cells, vocab) in expected.items():
        layout = sudoku.layout_for(side)
        assert (layout.box_rows, layout.box_cols, layout.cells, layout.vocab_size) == (
            rows,
            columns,
            cells,
            vocab,
        )
        assert layout.side == side
        assert sudoku.layout_of_length(cells) == layout
    assert "side 5" in message(sudoku.layout_for, 5)


def test_the_most_square_boxes_are_chosen():
    boxes = {8: (2, 4), 10: (2, 5), 12: (3, 4), 14: (2, 7), 15: (3, 5), 18: (3, 6), 20: (4, 5), 22: (2, 11), 24: (4, 6)}
    for side, box in {**boxes, 25: (5, 5)}.items():
        assert sudoku.layout_for(side) == sudoku.layout_of_length(side**2) == sudoku.Layout(*box)
    for side in (2, 3, 5, 7, 11, 13, 17, 19, 23):
        text = message(sudoku.layout_for, side)
        assert text.startswith(f"no Sudoku layout of side {side}: ")
        assert f"1 x {side};" in text
        assert message(sudoku.layout_of_length, side**2).startswith(f"{side**2} cells found, but a Sudoku of side ")
    for side in (-9, 0, 1, 26, 10**30):
        assert f"side {side}: choose 4, 6, 8, 9" in message(sudoku.layout_for, side)
    assert message(sudoku.layout_of_length, 80) == (
        "80 cells found, but a Sudoku of side 8 has 64 and one of side 9 has 81: add or remove some"
    )
    assert "side 4 has 16: add" in message(sudoku.layout_of_length, 0)
    assert "side 25 has 625: add" in message(sudoku.layout_of_length, 676)


def test_boxes_are_read_as_rows_by_columns():
    for text in ("2x5", " 2X5\n", "2 x 5", "02x05"):
        assert sudoku.layout_from(text) == sudoku.Layout(2, 5)
    assert sudoku.layout_from("5x2") == sudoku.Layout(5, 2)
    assert sudoku.layout_from("1x7").side == 7
    for text in ("", "x", "3", "3x", "3x3x3", "-3x3", "3.0x3", "٣x٣", "100x1", "3\n.x3", "9" * 5000 + "x1"):
        assert message(sudoku.layout_from, text).startswith(repr(text[:40]) + " is no box size: ")
    for box in ((0, 3), (3, 0), (1, 1), (2, 13), (26, 1), (99, 99), (-2, -2)):
        assert f"boxes of {box[0]} x {box[1]} make" in message(sudoku.Layout, *box)
    assert "boxes of 9 x 9 make" in message(sudoku.layout_from, "9x9")


@given(st.text(max_size=8) | st.from_regex(r"\d{0,3} ?[xX*] ?\d{0,3}"))
@settings(max_examples=EXAMPLES, deadline=None)
def test_any_box_is_a_layout_or_a_data_error(text):
    parts = [part.strip() for part in text.lower().split("x")]
    numbers = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 2]
    if len(parts) == len(numbers) == 2 and min(numbers) >= 1 and 2 <= numbers[0] * numbers[1] <= 25:
        assert sudoku.layout_from(text) == sudoku.Layout(*numbers)
    else:
        assert message(sudoku.layout_from, text)


@pytest.mark.parametrize("box", BOXES)
def test_every_layout_has_units_text_and_answers(box):
    layout = sudoku.layout_from(box)
    side = layout.side
    grid = pattern(layout)
    assert sudoku.satisfies(grid, layout)
    square = grid.reshape(side, side)
    bands, stacks = range(0, side, layout.box_rows), range(0, side, layout.box_cols)
    boxes = [square[r : r + layout.box_rows, c : c + layout.box_cols] for r in bands for c in stacks]
    assert [sorted(b.ravel()) for b in boxes] == [list(range(1, side + 1))] * side
    assert sudoku.parse(sudoku.to_text(grid), layout).tolist() == grid.tolist()
    assert sudoku.parse(sudoku.render(grid, layout), layout).tolist() == grid.tolist()
    assert len({len(row) for row in sudoku.render(grid, layout).splitlines()}) == 1
    sudoku.check_pair(np.where(np.arange(layout.cells) % 2, grid, 0), grid, layout)
    swapped = square.copy()
    swapped[[0, -1]] = swapped[[-1, 0]]
    assert sudoku.satisfies(swapped.ravel(), layout) == (layout.box_rows in (1, side))  # the same band, or no bands
    turned = sudoku.draw_symmetries(np.random.default_rng(0), 5, layout).apply(np.tile(grid, (5, 1)))
    assert sudoku.satisfies(turned, layout).all()


def test_pairs_are_checked_by_the_layout_that_is_given():
    tall, wide = sudoku.Layout(5, 2), sudoku.Layout(2, 5)
    answer = pattern(tall)
    sudoku.check_pair(np.zeros(100, np.int8), answer, tall)
    assert "stands twice in box 1" in message(sudoku.check_pair, np.zeros(100, np.int8), answer, wide)
    assert message(sudoku.check_pair, np.zeros(100, np.int8), answer) == message(
        sudoku.check_pair, np.zeros(100, np.int8), answer, wide
    )
    assert message(sudoku.check_pair, answer, answer, L9).startswith(
        "question: 100 cells found, but this Sudoku has 81"
    )
    assert message(sudoku.check_pair, answer[:80], answer).startswith(
        "question: 80 cells found, but a Sudoku of side 8"
    )


def test_letters_go_on_to_25():
    text = "123456789ABCDEFGHIJKLMNOP"
    grid = pattern(sudoku.Layout(5, 5))
    assert sudoku.to_text(grid[:25]) == text
    for lines in (sudoku.to_text(grid), sudoku.to_text(grid).lower()):
        np.testing.assert_array_equal(sudoku.parse(lines), grid)
    assert "'Q' in line 1, column 2 of the text is neither a digit 1-9 or A-P nor" in message(
        sudoku.parse, ".Q" + "." * 623
    )
    assert "'K' in line 1, column 1 of the text (r1c1) is neither a digit 1-9 or A-J" in message(
        sudoku.parse, "K" * 361, sudoku.Layout(1, 19)
    )


@pytest.mark.parametrize("side", SIDES)
def test_text_round_trips(side):
    layout = sudoku.layout_for(side)
    grid = pattern(layout)
    grid[:: side - 1] = 0
    line, square = sudoku.to_text(grid), sudoku.render(grid, layout)
    assert len(line) == layout.cells
    assert len(square.splitlines()) == side + layout.box_cols - 1
    assert len({len(row) for row in square.splitlines()}) == 1
    for text in (
        line,
        line.lower(),
        line.replace(".", "0"),
        line.replace(".", "_"),
        square,
        f"  {square}\r\n",
    ):
        parsed = sudoku.parse(text)
        assert parsed.dtype == np.int8
        np.testing.assert_array_equal(parsed, grid)
        np.testing.assert_array_equal(sudoku.parse(text, layout), grid)


def test_rendered_square_looks_as_people_draw_it():
    assert (
        sudoku.render(sudoku.parse("1234.4.12.4.4321"), L4) == "1 2 | 3 4\n. 4 | . 1\n----+----\n2 . | 4 .\n4 3 | 2 1"
    )


def test_parse_errors_name_the_place():
    assert "'z' in line 1, column 3 of the text (r1c3) is" in message(sudoku.parse, "12z4341221434321", L4)
    assert "'z' in line 2, column 4 of the text (r2c4) is" in message(sudoku.parse, "1234\n341z\n2143\n4321")
    assert "'7' in line 1, column 2 of the text (r1c2) is neither a digit 1-4" in message(sudoku.parse, "17" + 14 * ".")
    assert "'G'" in message(sudoku.parse, "G" * 81)
    assert "80 cells found" in message(sudoku.parse, "." * 80)
    assert "80 cells found, but this Sudoku has 81" in message(sudoku.parse, "." * 80, L9)
    assert "0 cells found" in message(sudoku.parse, "")
    assert "'\\x00'" in message(sudoku.parse, "\0" * 81)
    assert "cell 2 of the grid is 26" in message(sudoku.to_text, [0, 26])
    assert "r1c2 is 5" in message(sudoku.render, [0, 5] + [0] * 14, L4)
    assert "15 cells found, but this Sudoku has 16" in message(sudoku.render, [0] * 15, L4)
    assert "grid: cells are of type float64, but they have to be whole" in message(sudoku.render, [np.nan] * 16, L4)
    assert "are of type object" in message(sudoku.render, [10**30] * 16, L4)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.sampled_from("01234._| \n" * 8 + "5z\0é٣+-"), min_size=14, max_size=24).map("".join))
def test_parse_loads_right_or_raises_data_error(text):
    kept = [char for char in text if char not in "| \n"]
    expected = [0 if char in "._-" else int(char) for char in kept] if set(kept) <= set("01234._-") else None
    if kept == list(text) and len(kept) == 16 and expected and len(set(kept) & set("0._-")) < 2:
        assert sudoku.parse(text).tolist() == expected
        return
    read = found(text)
    assert read == expected or set(str(read)) & set("0123456789")  # a place or a count


def found(text: str, layout: sudoku.Layout | None = None) -> list[int] | str:
    """The digits of a text, or what is wrong with it."""
    try:
        return sudoku.parse(text, layout).tolist()  # type: ignore[no-any-return]
    except DataError as error:
        return str(error)


@st.composite
def edited_texts(draw) -> str:  # type: ignore[no-untyped-def]
    """A good puzzle of some layout on one line or several, with up to four edits: ragged rows, strange characters."""
    layout = sudoku.layout_from(draw(st.sampled_from(["2x2", "3x3", "2x5", "5x5"])))
    grid = pattern(layout)
    grid[draw(st.integers(0, 3)) :: 2] = 0
    text = sudoku.render(grid, layout) if draw(st.booleans()) else sudoku.to_text(grid)
    for _ in range(draw(st.integers(0, 4))):
        at, cut = draw(st.integers(0, len(text))), draw(st.sampled_from([0, 1, 1, 2, 20]))
        new = draw(
            st.sampled_from(
                ["", ".", "0", "1", "9", "a", "P", "q", "\n", " ", "|", "\0", "\u0663", "-", "..", "\ud800"]
            )
        )
        text = text[:at] + new + text[at + cut :]
    return text


@settings(max_examples=EXAMPLES, deadline=None)
@given(edited_texts(), st.sampled_from([None, "2x2", "3x3", "2x5", "5x5"]))
@example("." * 80, None)
@example("." * 80 + "z", None)
@example("", "3x3")
def test_edited_texts_are_read_right_or_refused(text, box):
    layout = sudoku.layout_from(box) if box else None
    alphabet = "0123456789abcdefghijklmnop"
    rows = [line for line in text.split("\n") if "-" not in line or set(line) - set("-+|. ")]
    values = [alphabet.find("0" if c in "._-" else c.lower()) for row in rows for c in row if c not in " |"]
    sides = {16: 4, 36: 6, 64: 8, 81: 9, 100: 10, 144: 12, 625: 25} if layout is None else {layout.cells: layout.side}
    good = len(values) in sides and 0 <= min(values) <= max(values) <= sides[len(values)]
    read = found(text, layout)
    if good and text == sudoku.to_text(values):
        assert read == values
    elif isinstance(read, str):
        assert re.search(r" of the text|line \d+|\d+ (cells|lines)|two signs|0 may be", read)
    else:
        assert good
        assert read == values


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(["2x2", "2x3", "3x2", "3x3", "2x5"]),
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 99), st.integers(-2, 12) | st.sampled_from([-128, 127, 300])),
        max_size=3,
    ),
    st.sampled_from([0, 0, 0, 1, 7]),
    st.booleans(),
    st.booleans(),
)
def test_any_pair_is_right_or_refused_with_its_side_named(box, edits, cut, blank, given_layout):
    layout = sudoku.layout_from(box)
    answer = pattern(layout).astype(np.int16)
    question = np.where(np.arange(layout.cells) % 3, 0, answer)
    for in_answer, cell, value in edits:
        (answer if in_answer else question)[cell % layout.cells] = value
    if blank:
        answer[:] = 0
    question = question[: layout.cells - cut]
    arguments = (question, answer, layout) if given_layout else (question, answer)
    judged = layout if given_layout or box != "3x2" else sudoku.Layout(2, 3)
    row, column = np.divmod(np.arange(layout.cells), layout.side)
    units = [row, column, row // judged.box_rows * judged.box_rows + column // judged.box_cols]
    digits = set(range(1, layout.side + 1))
    good = not cut and all(
        set(answer[unit == number].tolist()) == digits for unit in units for number in range(layout.side)
    )
    good = good and ((question == 0) | (question == answer)).all()
    if good:
        sudoku.check_pair(*arguments)
    else:
        assert message(sudoku.check_pair, *arguments).startswith(("question: ", "answer: "))


def test_conflicts_and_clues():
    grid = np.zeros(81, np.int8)
    assert sudoku.conflicts(grid, L9) == []
    sudoku.check_clues(grid, L9)
    grid[[0, 1, 80]] = 7  # one pair shares a row and a box and counts once
    assert sudoku.conflicts(grid, L9) == [(0, 1)]
    for cells, unit in (((18, 25), "row 3"), ((3, 75), "column 4"), ((3, 13), "box 2")):
        grid = np.zeros(81, np.int8)
        grid[list(cells)] = 5
        assert sudoku.conflicts(grid, L9) == [cells]
        places = " and ".join(f"r{cell // 9 + 1}c{cell % 9 + 1}" for cell in cells)
        assert f"clues: digit 5 stands twice in {unit}, at {places};" in message(sudoku.check_clues, grid, L9, "clues")
    six = sudoku.layout_for(6)
    wide = np.zeros(36, np.int8)
    wide[[3, 11]] = 2  # boxes of side 6 are two rows high and three columns wide
    assert "box 2" in message(sudoku.check_clues, wide, six)
    wide[[11, 15]] = 0, 2
    assert "column 4" in message(sudoku.check_clues, wide, six)


@pytest.mark.parametrize("side", SIDES)
def test_satisfies_accepts_valid_grids_only(side):
    layout = sudoku.layout_for(side)
    grid = pattern(layout)
    blank, above, below = grid.copy(), grid.copy(), grid.copy()
    assert grid[0] == 1  # the digit that a value out of range is likeliest to be taken for
    blank[0], above[0], below[0] = 0, side + 1, -1
    swapped_row = grid.copy()
    swapped_row[:2] = grid[1::-1]  # rows and boxes hold, columns do not
    latin = (np.add.outer(np.arange(side), np.arange(side)) % side + 1).ravel()  # boxes do not
    stack = np.stack([grid, blank, above, below, swapped_row, latin]).reshape(2, 3, -1)
    expected = [[True, False, False], [False, False, False]]
    for dtype in (np.int8, np.int32, np.int64):
        np.testing.assert_array_equal(sudoku.satisfies(stack.astype(dtype), layout), expected)
    assert sudoku.satisfies(grid, layout).shape == ()


def test_answers_keeps_clues():
    puzzle, answer = sudoku.parse(EASY), sudoku.parse(EASY_ANSWER)
    relabelled = np.concatenate([[0], np.roll(np.arange(1, 10), 1)])[answer]
    candidates = np.stack([answer, relabelled, puzzle])
    np.testing.assert_array_equal(sudoku.satisfies(candidates, L9), [True, True, False])
    np.testing.assert_array_equal(sudoku.answers(puzzle, candidates, L9), [True, False, False])


def test_check_pair_names_the_side_at_fault():
    puzzle, answer = sudoku.parse(EASY), sudoku.parse(EASY_ANSWER)
    sudoku.check_pair(puzzle, answer)
    assert message(sudoku.check_pair, puzzle, puzzle).startswith("answer: r1c3 is blank")
    other = np.concatenate([[0], np.roll(np.arange(1, 10), 1)])[answer]
    assert message(sudoku.check_pair, puzzle, other).startswith("answer: r1c1 is 4, but the question gives 5")
    wrong = answer.copy()
    wrong[2] = 5
    assert message(sudoku.check_pair, puzzle, wrong).startswith(
        "answer: digit 5 stands twice in row 1, at r1c1 and r1c3"
    )
    clash = puzzle.copy()
    clash[2] = 5
    assert message(sudoku.check_pair, clash, answer).startswith("question: digit 5 stands twice in row 1")
    assert message(sudoku.check_pair, puzzle, answer[:16]).startswith("answer: 16 cells")


def relation_kept(symmetries: Symmetries, layout: sudoku.Layout) -> bool:
    """Whether two cells share a unit exactly where their sources do, for every symmetry."""
    row, column = np.divmod(np.arange(layout.cells), layout.side)
    box = row // layout.box_rows * layout.box_rows + column // layout.box_cols
    together = sum((unit[:, None] == unit).astype(int) for unit in (row, column, box)) > 0
    return all(np.array_equal(together[np.ix_(cells, cells)], together) for cells in symmetries.cells)


@pytest.mark.parametrize("side", SIDES)
def test_symmetries_keep_units_digits_and_pairs(side):
    layout = sudoku.layout_for(side)
    n = 30
    symmetries = sudoku.draw_symmetries(np.random.default_rng(0), n, layout)
    assert (symmetries.cells.dtype, symmetries.tokens.dtype) == (np.int32, np.int32)
    np.testing.assert_array_equal(np.sort(symmetries.cells, axis=1), np.tile(np.arange(layout.cells), (n, 1)))
    np.testing.assert_array_equal(np.sort(symmetries.tokens, axis=1), np.tile(np.arange(side + 1), (n, 1)))
    assert (symmetries.tokens[:, 0] == 0).all()
    assert relation_kept(symmetries, layout)
    answer = pattern(layout)
    puzzle = np.where(np.arange(layout.cells) % 3 == 0, answer, 0).astype(np.int8)
    puzzles = symmetries.apply(np.tile(puzzle, (n, 1)))
    answers = symmetries.apply(np.tile(answer, (n, 1)))
    assert puzzles.dtype == np.int8
    assert sudoku.answers(puzzles, answers, layout).all()
    np.testing.assert_array_equal((puzzles != 0).sum(axis=1), np.full(n, (puzzle != 0).sum()))
    assert len({a.tobytes() for a in answers}) > n // 2
    for i in (0, n - 1):
        expected = [symmetries.tokens[i][puzzle[source]] for source in symmetries.cells[i]]
        assert puzzles[i].tolist() == expected


def test_symmetries_reach_the_whole_group():
    # Side 4: 2! bands, 2!**2 rows within, the same for columns, and transposition.
    drawn = sudoku.draw_symmetries(np.random.default_rng(0), 12800, L4)
    _, counts = np.unique(drawn.cells, axis=0, return_counts=True)
    assert len(counts) == 8 * 8 * 2
    assert ((counts - 100) ** 2 / 100).sum() < 195  # chi-square, 127 degrees of freedom, p = 1e-4
    # Digits and cells together: each of the 128 * 24 as likely, so that neither tells of the other.
    _, counts = np.unique(np.hstack([drawn.cells, drawn.tokens]), axis=0, return_counts=True)
    degrees, mean = 128 * 24 - 1, 12800 / (128 * 24)
    chi_square = ((counts - mean) ** 2 / mean).sum() + (degrees + 1 - len(counts)) * mean
    assert abs(chi_square - degrees) < 5 * np.sqrt(2 * degrees)
    for side, share in ((6, 0.0), (9, 0.5), (16, 0.5)):
        layout = sudoku.layout_for(side)
        cells = sudoku.draw_symmetries(np.random.default_rng(0), 400, layout).cells
        transposed = cells[:, 0] // side != cells[:, 1] // side  # neighbours in a row come from a column
        assert abs(transposed.mean() - share) <= 0.1 * share + 0.02
    six = sudoku.draw_symmetries(np.random.default_rng(0), 2000, sudoku.layout_for(6)).cells
    # Three bands of two rows and two stacks of three columns: 3! 2!**3 row maps and 2! 3!**2 column maps.
    assert len(np.unique(six[:, ::6] // 6, axis=0)) == 48
    assert len(np.unique(six[:, :6] % 6, axis=0)) == 72


@pytest.mark.parametrize("box", ["2x2", "3x3", "2x3", "3x2", "1x5"])
def test_words_say_the_symmetry(box):
    """Each part from its own words, in the order of digits, bands, rows, stacks, columns, transposition."""
    layout = sudoku.layout_from(box)
    side, rows, columns = layout.side, layout.box_rows, layout.box_cols
    assert layout.words == 3 * side + rows + columns + (rows == columns)
    words = np.random.default_rng(0).integers(0, 2**32, (6, layout.words), dtype=np.uint32)
    drawn = sudoku.symmetries(words, layout)
    for i, row in enumerate(words.tolist()):
        parts = iter(row)

        def order(count: int, parts: Iterator[int] = parts) -> list[int]:
            taken = [next(parts) for _ in range(count)]
            return sorted(range(count), key=taken.__getitem__)

        digits, bands = order(side), order(columns)
        within = [order(rows) for _ in range(columns)]
        row_sources = [rows * bands[b] + r for b in range(columns) for r in within[b]]
        stacks = order(rows)
        within = [order(columns) for _ in range(rows)]
        column_sources = [columns * stacks[s] + c for s in range(rows) for c in within[s]]
        cells = np.add.outer(side * np.array(row_sources), column_sources)
        cells = cells.T if rows == columns and next(parts) % 2 else cells
        assert drawn.cells[i].tolist() == cells.ravel().tolist()
        assert drawn.tokens[i].tolist() == [0, *(d + 1 for d in digits)]
        assert next(parts, None) is None


def test_tokens():
    grid = np.array([[0, 1, 9]], np.int8)
    np.testing.assert_array_equal(sudoku.encode(grid), [[1, 2, 10]])
    assert sudoku.encode(grid).dtype == np.int8
    np.testing.assert_array_equal(sudoku.decode(sudoku.encode(grid)), grid)
    for dtype in (np.int8, np.uint8, np.int32):
        decoded = sudoku.decode(np.array([0, 1, 2, 10], dtype))
        np.testing.assert_array_equal(decoded, [0, 0, 1, 9])
        assert decoded.dtype == dtype
