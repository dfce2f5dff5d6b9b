"""ARC grids: augmentations and their names, tokens on the board and back, equal pairs."""

import json
import os
import re
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from places import ROOT

from trm_jax.errors import DataError
from trm_jax.puzzles.arc import (
    CELLS,
    END,
    FIRST_COLOUR,
    IDENTITY,
    PAD,
    SEPARATOR,
    SIDE,
    VOCAB_SIZE,
    Augmentation,
    Grid,
    canonical_pair,
    check_grid,
    crop,
    crop_sizes,
    decode_placed,
    encode,
    parse_name,
)
from trm_jax.puzzles.dihedral import dihedral_indices

FUZZ = settings(max_examples=int(os.environ.get("TRM_FUZZ", "100")), deadline=None)


def grids(colours: int = 10, side: int = SIDE) -> st.SearchStrategy[Grid]:
    shapes = st.tuples(st.integers(1, side), st.integers(1, side))
    return shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, colours - 1)))


augmentations = st.builds(
    Augmentation, st.integers(0, 7), st.permutations(range(1, 10)).map(lambda colours: (0, *colours))
)


def grid(*rows: str) -> Grid:
    return np.array([[int(cell) for cell in row] for row in rows], np.uint8)


def board(*rows: str) -> Grid:
    """Tokens [900] from the top left part of a board: '.' padding, '|' end, 'a' colour 0, 'b' colour 1 and so on."""
    tokens = np.zeros((SIDE, SIDE), np.uint8)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = [".|abcdefghij".index(cell) for cell in row]
    return tokens.ravel()


def test_the_tokens_are_the_public_ones() -> None:
    assert (SIDE, CELLS, VOCAB_SIZE, PAD, END, FIRST_COLOUR, SEPARATOR) == (30, 900, 12, 0, 1, 2, "|||")


# Augmentations.

TURNED = {
    0: grid("123", "456"),
    1: grid("36", "25", "14"),
    2: grid("654", "321"),
    3: grid("41", "52", "63"),
    4: grid("321", "654"),
    5: grid("456", "123"),
    6: grid("14", "25", "36"),
    7: grid("63", "52", "41"),
}


@pytest.mark.parametrize("k", TURNED)
def test_the_eight_maps_of_a_grid_that_is_no_square(k: int) -> None:
    assert Augmentation(k, IDENTITY.colours).apply(TURNED[0]).tolist() == TURNED[k].tolist()


@pytest.mark.parametrize("k", range(8))
def test_the_maps_have_the_order_of_all_square_puzzles(k: int) -> None:
    square = np.random.default_rng(0).integers(0, 10, (7, 7)).astype(np.uint8)
    assert (
        Augmentation(k, IDENTITY.colours).apply(square).ravel() == square.ravel()[dihedral_indices((7, 7))[k]]
    ).all()


def test_a_colour_becomes_the_one_in_its_place() -> None:
    change = Augmentation(0, (0, 3, 5, 2, 4, 7, 9, 8, 1, 6))
    assert change.apply(grid("01", "28")).tolist() == [[0, 3], [5, 1]]
    assert change.invert(grid("03", "51")).tolist() == [[0, 1], [2, 8]]


@FUZZ
@given(augmentations, grids())
def test_inverting_undoes_applying(augmentation: Augmentation, before: Grid) -> None:
    image = augmentation.apply(before)
    again = augmentation.invert(image)
    assert image.dtype == again.dtype == np.uint8
    assert image.flags.c_contiguous
    assert again.shape == before.shape
    assert (again == before).all()
    assert (augmentation.apply(augmentation.invert(before)) == before).all()
    assert (image == 0).sum() == (before == 0).sum()


def test_a_grid_without_cells_can_be_inverted() -> None:
    assert Augmentation(1, (0, 2, 1, *range(3, 10))).invert(np.zeros((0, 0), np.uint8)).shape == (0, 0)


def test_a_ninth_map_is_refused() -> None:
    with pytest.raises(DataError, match="8 is none of the eight maps"):
        Augmentation(8, IDENTITY.colours).apply(TURNED[0])


# Names.


def test_names_as_in_the_datasets_of_hrm() -> None:
    assert parse_name("0934a4d8_t3_0352479816") == ("0934a4d8", Augmentation(3, (0, 3, 5, 2, 4, 7, 9, 8, 1, 6)))
    for task in ("t3_0352479816", "a_t8_0352479816", "a_t3_0352479811", "a_t3_3052479816", "a_b_c", "a_t3"):
        assert parse_name(task) == (task, IDENTITY)


def test_names_as_in_the_public_datasets() -> None:
    augmentation = Augmentation(3, (0, 3, 5, 2, 4, 7, 9, 8, 1, 6))
    assert augmentation.name("e633a9e5") == "e633a9e5|||t3|||0352479816"
    assert parse_name("e633a9e5|||t3|||0352479816") == ("e633a9e5", augmentation)
    assert parse_name("a|||b|||t3|||0352479816") == ("a|||b", augmentation)
    assert IDENTITY.name("e633a9e5") == "e633a9e5"
    assert parse_name("e633a9e5") == ("e633a9e5", IDENTITY)
    assert parse_name("e633a9e5|||t0|||0123456789") == ("e633a9e5", IDENTITY)


@FUZZ
@given(augmentations | st.just(IDENTITY), st.text("ab|t01", min_size=1) | st.text(min_size=1))
def test_a_name_can_be_read_back(augmentation: Augmentation, task: str) -> None:
    assert parse_name(augmentation.name(task)) == (task, augmentation)


@pytest.mark.parametrize(
    "name",
    [
        "task|||t3",
        "task|||",
        "|||t3|||0352479816",
        "task|||t8|||0352479816",
        "task|||3|||0352479816",
        "task|||t٣|||0352479816",
        "task|||t33|||0352479816",
        "task|||t-1|||0352479816",
        "task|||t3|||035247981",
        "task|||t3|||03524798166",
        "task|||t3|||0352479811",
        "task|||t3|||3052479816",
        "task|||t3|||035247981a",
        "task|||t3|||0352479816\n",
        "task|||t3|||0352479816|||",
    ],
)
def test_a_malformed_name_is_refused(name: str) -> None:
    with pytest.raises(DataError, match="is no name of an augmented task") as caught:
        parse_name(name)
    assert "\n" not in str(caught.value)


@FUZZ
@given(st.text() | st.text("t0123456789|"))
def test_any_other_text_is_a_name_or_a_data_error(text: str) -> None:
    try:
        task, augmentation = parse_name(text)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
    else:
        assert augmentation.name(task) == text or augmentation == IDENTITY


# Tokens.


def test_ends_are_marked_where_there_is_room() -> None:
    assert (encode(grid("012", "345")) == board("abc|", "def|", "|||.")).all()
    assert (encode(grid("012", "345"), 1, 2) == board("......", "..abc|", "..def|", "..|||.")).all()
    low = encode(grid("012", "345"), 28, 27).reshape(SIDE, SIDE)
    assert low[28:, 27:].tolist() == [[2, 3, 4], [5, 6, 7]]
    assert low.sum() == low[28:, 27:].sum()
    right = encode(grid("012"), 3, 27).reshape(SIDE, SIDE)
    assert right[4, 27:].tolist() == [1, 1, 1]
    assert (right == END).sum() == 3
    full = np.random.default_rng(0).integers(0, 10, (SIDE, SIDE)).astype(np.uint8)
    assert (encode(full) == full.ravel() + 2).all()
    assert encode(full).dtype == np.uint8


@pytest.mark.parametrize(("row", "column"), [(29, 0), (0, 28), (-1, 0), (0, -1)])
def test_a_grid_has_to_fit(row: int, column: int) -> None:
    with pytest.raises(DataError, match=f"2 x 3 does not fit at row {row}, column {column}"):
        encode(grid("012", "345"), row, column)


@FUZZ
@given(grids())
def test_cropping_undoes_encoding(before: Grid) -> None:
    tokens = encode(before)
    after = crop(tokens)
    assert after.dtype == np.uint8
    assert after.shape == before.shape
    assert (after == before).all()
    assert set(tokens.tolist()) <= set(range(VOCAB_SIZE))


@FUZZ
@given(grids(), st.data())
def test_a_shifted_grid_is_found_again(before: Grid, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, SIDE - before.shape[0]))
    column = data.draw(st.integers(0, SIDE - before.shape[1]))
    tokens = encode(before, row, column)
    after, *place = decode_placed(tokens.astype(data.draw(st.sampled_from([np.uint8, np.int32]))))
    assert place == [row, column]
    assert after.dtype == np.uint8
    assert after.shape == before.shape
    assert (after == before).all()


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [
        (board("...."), "no cell holds a colour"),
        (board("ab|", "cd|", "|||"), "r3c3 is 1, .* grid of 2 x 2 at r1c1"),
        (board("ab|", "c.|", "||."), "r2c2 is 0, .* grid of 2 x 2 at r1c1"),
        (board("ab|", "c||", "||."), "r2c2 is 1"),
        (board("ab.", "cd|", "||."), "r1c3 is 0"),
        (board("ab|", "cd|", "||.", "...", "...j"), "r1c3 is 1"),
        (encode(grid("1", "2")).astype(np.int64) + 300 * (encode(grid("1", "2")) == 0), "r1c3 is 300"),
        (encode(grid("1", "2")).astype(np.int64) * np.where(np.arange(CELLS) == 0, -1, 1), "r1c1 is -3"),
    ],
)
def test_tokens_that_are_no_example_are_refused(tokens: Grid, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        decode_placed(tokens)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (board("ab", "cd"), ["01", "23"]),
        (board("ab|j", "cd|j", "||.j"), ["01", "23"]),  # junk beyond the markers
        (board("abcd", "ab", "ab"), ["01", "01", "01"]),  # 6 cells in two columns beat 4 in a row
        (board("abc", "ab", "a"), ["01", "01"]),  # 3, 4, 3
        (board("abcdef", "abc", "ab"), ["012345"]),  # 6, 6, 6: the fewest rows
        (board("abc", "abc", "ab", "a", "a", "a"), ["012", "012"]),  # 6, 6, 6 again, from the second row
        (board("ab", "", "ab", "ab", "abcdefghij"), ["01"]),  # nothing below a row that starts with no colour
        (board("|bcd", "abcd"), []),
        (board(), []),
    ],
)
def test_the_largest_rectangle_of_colours_is_cut_out(tokens: Grid, expected: list[str]) -> None:
    cut = crop(tokens)
    assert cut.tolist() == [[int(cell) for cell in row] for row in expected]
    assert cut.shape == (len(expected), len(expected[0]) if expected else 0)


def plain_size(tokens: Grid) -> tuple[int, int]:
    """What crop has to find, by trying all rectangles."""
    best = (0, 0)
    colour = [[2 <= token <= 11 for token in row] for row in tokens.reshape(SIDE, SIDE).tolist()]
    runs = [row.index(False) if False in row else SIDE for row in colour]
    for height in range(1, SIDE + 1):
        width = min(runs[:height])
        if height * width > best[0] * best[1]:
            best = (height, width)
    return best


@st.composite
def hostile_boards(draw: st.DrawFn) -> Grid:
    """Answers of a model that has learnt something: grids with tokens changed, ends missing, junk; or only junk."""
    dtype: Any = draw(st.sampled_from([np.uint8, np.int16, np.int32, np.int64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.tuples(st.integers(1, SIDE), st.integers(1, SIDE)))
    tokens = encode(rng.integers(0, 10, shape).astype(np.uint8)).astype(dtype)
    beyond = draw(st.sampled_from([np.array([0]), np.array([1]), np.arange(12), np.arange(2, 12), np.arange(256)]))
    tokens = np.where(tokens == 0, rng.choice(beyond, CELLS), tokens).astype(dtype)
    if draw(st.booleans()):
        tokens[tokens == END] = draw(st.integers(0, 11))
    changed = rng.integers(0, CELLS, draw(st.integers(0, 12)))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    tokens[changed] = rng.choice(np.array([max(low, -1), low, high, 0, 1, 2, 11, 12]), len(changed)).astype(dtype)
    return tokens


@FUZZ
@given(st.lists(hostile_boards(), min_size=1, max_size=4))
def test_cropping_whatever_a_model_says(boards: list[Grid]) -> None:
    sizes = [plain_size(tokens) for tokens in boards]
    for tokens, (height, width) in zip(boards, sizes, strict=True):
        cut = crop(tokens)
        assert cut.shape == (height, width)
        assert (cut == tokens.reshape(SIDE, SIDE)[:height, :width] - 2).all()
        assert cut.size == 0 or cut.max() <= 9
    assert crop_sizes(np.stack(boards)).tolist() == [list(size) for size in sizes]


def test_no_boards_have_no_sizes() -> None:
    assert crop_sizes(np.zeros((0, CELLS), np.uint8)).shape == (0, 2)


# Values from JSON.


def test_a_grid_from_json() -> None:
    assert check_grid([[0, 9], [1, 2], [3, 4]], "here").tolist() == [[0, 9], [1, 2], [3, 4]]
    assert check_grid([[7]], "here").dtype == np.uint8
    assert check_grid([[5] * SIDE] * SIDE, "here").shape == (SIDE, SIDE)


def test_whole_floats_are_colours() -> None:
    grid = check_grid([[1.0, 2], [0.0, 9.0]], "x")
    assert (grid.tolist(), grid.dtype) == ([[1, 2], [0, 9]], np.uint8)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "null is no grid: give a list of rows"),
        ("123", '"123" is no grid: give a list of rows'),
        ("x" * 1000, f'"{"x" * 59} is no grid: give a list of rows'),
        ({}, "an object is no grid: give a list of rows"),
        ((1, 2), "of type tuple is no grid: give a list of rows"),
        ([], "0 rows, but a grid has 1 to 30"),
        ([[1]] * 31, "31 rows, but a grid has 1 to 30"),
        ([[]], "row 1 has 0 cells, but a row has 1 to 30"),
        ([[1], [1] * 31], "row 2 has 31 cells, but a row has 1 to 30"),
        ([1, 2], "row 1 is 1: give a list of colours"),
        ([[1], {"a": 1}], "row 2 is an object: give a list of colours"),
        ([[1, 2], [1]], "row 2 has 1 cells, but row 1 has 2: make them equal"),
        ([[1, 2], [3, 10]], "row 2, column 2 is 10, but colours are integers from 0 to 9"),
        ([[1, -1]], "row 1, column 2 is -1, but colours are integers from 0 to 9"),
        ([[1, 10**80]], f"row 1, column 2 is 1{'0' * 59}, but colours are integers from 0 to 9"),
        ([[True]], "row 1, column 1 is true, but colours are integers from 0 to 9"),
        ([[1.5]], "row 1, column 1 is 1.5, but colours are integers from 0 to 9"),
        ([[None]], "row 1, column 1 is null, but colours are integers from 0 to 9"),
        ([["a\nb"]], r'row 1, column 1 is "a\nb", but colours are integers from 0 to 9'),
        ([[[[1]]]], "row 1, column 1 is a list of 1, but colours are integers from 0 to 9"),
    ],
)
def test_what_is_no_grid_is_refused(value: object, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        check_grid(value, "file: task t")
    assert str(caught.value) == f"file: task t: {problem}"


# Equal pairs.


@FUZZ
@given(augmentations, grids(side=8), grids(side=8))
def test_images_of_a_pair_have_its_canonical_form(augmentation: Augmentation, a: Grid, b: Grid) -> None:
    assert canonical_pair(augmentation.apply(a), augmentation.apply(b)) == canonical_pair(a, b)


def images(a: Grid, b: Grid, colours: int) -> set[tuple[object, object]]:
    """All images of a pair, with colours below the given number."""
    changes = [(0, *change, *range(colours, 10)) for change in permutations(range(1, colours))]
    return {
        (str(augmentation.apply(a).tolist()), str(augmentation.apply(b).tolist()))
        for k in range(8)
        for augmentation in (Augmentation(k, change) for change in changes)
    }


@FUZZ
@given(*[arrays(np.uint8, shape, elements=st.integers(0, 3)) for shape in ((1, 2), (2, 2), (1, 2), (2, 2))])
def test_no_other_pairs_have_it(a: Grid, b: Grid, c: Grid, d: Grid) -> None:
    equal = (str(c.tolist()), str(d.tolist())) in images(a, b, 4)
    assert (canonical_pair(a, b) == canonical_pair(c, d)) == equal


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((grid("112"), grid("1")), (grid("112"), grid("2"))),  # one change of colours for both grids
        ((grid("01"), grid("1")), (grid("10"), grid("0"))),  # 0 stays
        ((grid("0"), grid("00")), (grid("00"), grid("0"))),  # which of them is the input
        ((grid("12", "00"), grid("12", "00")), (grid("12", "00"), grid("12", "00")[::-1])),  # one map for both
        ((grid("00", "00"), grid("1")), (grid("0000"), grid("1"))),  # shapes
    ],
)
def test_pairs_that_look_alike_and_are_not(one: tuple[Grid, Grid], other: tuple[Grid, Grid]) -> None:
    assert canonical_pair(*one) != canonical_pair(*other)


def test_every_example_of_the_public_builder() -> None:
    folder = ROOT.parent / "shared" / "parity" / "arc_eval" / "dataset"
    if not folder.is_dir():
        pytest.skip(f"no dataset of the public builder at {folder}")
    names = json.loads((folder / "identifiers.json").read_text())
    tasks = json.loads((folder / "test_puzzles.json").read_text())
    for split in ("train", "test"):
        inputs, labels, ids, starts = (
            np.load(folder / split / f"all__{field}.npy", allow_pickle=False)
            for field in ("inputs", "labels", "puzzle_identifiers", "puzzle_indices")
        )
        shifted = 0
        for number, first, end in zip(ids, starts[:-1], starts[1:], strict=True):
            task, augmentation = parse_name(names[number])
            assert re.fullmatch("[0-9a-f]{8}", task)
            assert len(tasks[task][split]) == end - first
            for row, pair in zip(range(first, end), tasks[task][split], strict=True):
                images_ = [augmentation.apply(check_grid(pair[part], part)) for part in ("input", "output")]
                place = decode_placed(inputs[row])[1:]
                shifted += place != (0, 0)
                assert (encode(images_[0], *place) == inputs[row]).all()
                assert (encode(images_[1], *place) == labels[row]).all()
                if split == "test":
                    assert place == (0, 0)
                    assert (augmentation.invert(crop(labels[row])) == check_grid(pair["output"], "output")).all()
        assert (shifted > 0) == (split == "train")
