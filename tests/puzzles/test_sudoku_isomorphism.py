"""Which Sudokus are the same; against whole groups tried out, and counts known from the literature."""

import csv
import itertools
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku
from trm_jax.puzzles import sudoku_search as search
from trm_jax.puzzles.sudoku_isomorphism import isomorphic, keys, overlaps

L4, L9 = sudoku.layout_for(4), sudoku.layout_for(9)
EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))
Grid = NDArray[np.int8]


def message(call, *args) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args)
    text = str(caught.value)
    assert "\n" not in text
    return text


def turned(grids: Grid, layout: sudoku.Layout, seed: int = 0) -> Grid:
    return sudoku.draw_symmetries(np.random.default_rng(seed), len(grids), layout).apply(grids)


def line_orders(groups: int, size: int) -> NDArray[np.intp]:
    """All orders of the rows that keep bands together, or of the columns that keep stacks together."""
    lines = np.arange(groups * size).reshape(groups, size)
    within = itertools.product(*(itertools.permutations(line) for line in lines.tolist()))
    kept = np.array(list(within))
    return np.concatenate([kept[:, order] for order in itertools.permutations(range(groups))]).reshape(
        -1, groups * size
    )


def whole_group(layout: sudoku.Layout) -> NDArray[np.intp]:
    """Source cells of every symmetry of cells [size of the group, cells], without a look at `draw_symmetries`."""
    rows = line_orders(layout.box_cols, layout.box_rows)
    columns = line_orders(layout.box_rows, layout.box_cols)
    cells = (rows[:, None, :, None] * layout.side + columns[None, :, None, :]).reshape(-1, layout.side, layout.side)
    if layout.box_rows == layout.box_cols:
        cells = np.concatenate([cells, cells.transpose(0, 2, 1)])
    return cells.reshape(-1, layout.cells)


def canonical(grid: Grid, group: NDArray[np.intp]) -> bytes:
    """The least of all forms of a puzzle, digits named in the order in which they appear."""
    forms = set()
    for form in set(map(bytes, grid[group])):
        names = {0: 0}
        forms.add(bytes(names.setdefault(digit, len(names)) for digit in form))
    return min(forms)


@pytest.mark.parametrize(("box", "size"), [("2x2", 128), ("1x3", 36), ("2x3", 3456), ("3x2", 3456)])
def test_agrees_with_the_whole_group_on_random_clues(box, size):
    layout = sudoku.layout_from(box)
    group = whole_group(layout)
    assert len({cells.tobytes() for cells in group}) == len(group) == size
    rng = np.random.default_rng(1)
    # Rules play no part in being isomorphic, so any clues do; few of them make equal pairs likely.
    grids = np.zeros((45, layout.cells), np.int8)
    for i, row in enumerate(grids):
        row[rng.permutation(layout.cells)[: 2 + i % 3]] = rng.integers(1, 4, size=2 + i % 3)
    forms, hashes = [canonical(grid, group) for grid in grids], keys(grids, layout)
    equal = 0
    for i, j in itertools.combinations(range(len(grids)), 2):
        same = forms[i] == forms[j]
        equal += same
        assert isomorphic(grids[i], grids[j], layout) == same
        assert (hashes[i] == hashes[j]) == same  # not promised, but so it is here
    assert equal > 5


def test_full_grids_of_side_4_make_two_classes():
    grids = search.all_solutions_4x4()
    _, classes, counts = np.unique(keys(grids, L4), return_inverse=True, return_counts=True)
    assert sorted(counts) == [96, 192]
    for i, j in ((0, 1), (0, 5), (17, 200), (100, 287)):
        assert isomorphic(grids[i], grids[j], L4) == (classes[i] == classes[j])


def test_minimal_puzzles_of_side_4_make_36_classes():
    puzzles, _ = search.generate(6000, L4, 0, minimal=True)
    _, first = np.unique(keys(puzzles, L4), return_index=True)
    assert np.bincount((puzzles[first] != 0).sum(axis=1)).tolist() == [0, 0, 0, 0, 13, 22, 1]
    for i, j in itertools.combinations(first[:12], 2):
        assert not isomorphic(puzzles[i], puzzles[j], L4)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(["1x4", "4x1", "2x2", "2x3", "3x2", "3x3", "2x5", "3x4", "4x4"]),
    st.integers(0, 2**32),
    st.floats(0, 1),
    st.booleans(),
)
def test_a_symmetry_keeps_key_and_class(box, seed, share, valid):
    layout = sudoku.layout_from(box)
    rng = np.random.default_rng(seed)
    if valid:
        grid = search.random_solutions(1, layout, rng)
    else:
        grid = rng.integers(1, layout.side + 1, size=(1, layout.cells)).astype(np.int8)
    puzzle = np.where(rng.random(grid.shape) < share, grid, 0).astype(np.int8)
    other = turned(puzzle, layout, seed)
    assert keys(puzzle, layout) == keys(other, layout)
    assert isomorphic(puzzle[0], other[0], layout)
    assert overlaps(puzzle, other, layout) == [(0, 0)]


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 39), st.integers(0, 2**32), st.booleans())
def test_one_changed_clue_makes_another_puzzle(index, seed, move):
    """Of a puzzle without symmetries a changed clue cannot make a copy, save by a chance far too small to meet."""
    puzzle = forty_puzzles()[index].copy()
    rng = np.random.default_rng(seed)
    cell = rng.choice(np.flatnonzero(puzzle))
    digit = puzzle[cell]
    if move:
        puzzle[cell] = 0
        puzzle[rng.choice(np.flatnonzero(puzzle == 0))] = digit
        if puzzle[cell]:
            return  # moved back to where it was
    else:
        puzzle[cell] = rng.choice(np.setdiff1d(np.arange(1, 10), digit))
    other = turned(puzzle[None], L9, seed)
    assert not isomorphic(forty_puzzles()[index], other[0], L9)
    assert keys(other, L9)[0] != keys(forty_puzzles()[index][None], L9)[0]


_FORTY: list[Grid] = []


def forty_puzzles() -> Grid:
    if not _FORTY:
        _FORTY.append(search.generate(40, L9, 3, minimal=True)[0])
    return _FORTY[0]


@pytest.mark.parametrize("side", [9, 16, 25])
def test_grids_whose_clues_all_look_alike(side):
    layout = sudoku.layout_for(side)
    row, column = np.indices((side, side))
    pattern = ((column + row % layout.box_rows * layout.box_cols + row // layout.box_rows) % side + 1).astype(np.int8)
    other = pattern.copy()
    # The symbols of two rows of a band, exchanged along one of the cycles between them: valid, and no copy.
    cycle = [0]
    while (following := int(np.flatnonzero(pattern[0] == pattern[1, cycle[-1]])[0])) != 0:
        cycle.append(following)
    assert len(cycle) < side
    other[:2, cycle] = other[1::-1, cycle]
    grids = np.stack([pattern.ravel(), other.ravel()])
    assert sudoku.satisfies(grids, layout).all()
    copies = turned(grids, layout)
    assert isomorphic(grids[0], copies[0], layout)
    assert isomorphic(grids[1], copies[1], layout)
    assert not isomorphic(grids[0], copies[1], layout)
    diagonal = np.zeros((2, side, side), np.int8)
    diagonal[:, range(side), range(side)] = 1
    diagonal[1, 0, :2] = 0, 1  # two clues in one column now
    assert isomorphic(diagonal[0], turned(diagonal[:1].reshape(1, -1), layout)[0], layout)
    assert not isomorphic(diagonal[0], diagonal[1], layout)


def test_latin_squares_of_different_groups_differ():
    """Their cells are all alike and stay alike when one is marked, so that only the search can tell."""
    layout = sudoku.Layout(1, 8)
    cyclic, mixed, cube = (np.empty((8, 8), np.int8) for _ in range(3))
    for a, b in itertools.product(range(8), repeat=2):
        cyclic[a, b] = (a + b) % 8 + 1
        mixed[a, b] = (a + b) % 4 + ((a ^ b) & 4) + 1
        cube[a, b] = (a ^ b) + 1
    squares = np.stack([cyclic, mixed, cube]).reshape(3, -1)
    copies = turned(squares, layout)
    for i, j in itertools.product(range(3), repeat=2):
        assert isomorphic(squares[i], copies[j], layout) == (i == j)
    assert overlaps(squares, copies, layout) == [(0, 0), (1, 1), (2, 2)]


def test_half_of_a_puzzle_cannot_be_transposed_alone():
    """Colours know no rows from columns where boxes are square, so only the last look at the units can tell."""
    layout = sudoku.layout_for(16)
    first = [(0, 0), (0, 4)]  # two clues in a row; the others share no band or stack with them
    same_row, same_column = [(4, 8), (4, 12)], [(4, 8), (8, 8)]
    same_band, same_stack = [(4, 8), (5, 12)], [(4, 8), (8, 9)]
    for second, turned_alone in ((same_row, same_column), (same_band, same_stack)):
        puzzles = np.zeros((2, 16, 16), np.int8)
        for puzzle, places in zip(puzzles, (first + second, first + turned_alone), strict=True):
            for digit, place in enumerate(places, 1):
                puzzle[place] = digit
        together, across = puzzles.reshape(2, -1)
        assert not isomorphic(together, across, layout)
        assert isomorphic(across, puzzles[1].T.ravel(), layout)


def test_a_transposed_puzzle_is_a_copy_only_where_boxes_are_square():
    for box, expected in (("3x3", True), ("2x3", False), ("3x2", False)):
        layout = sudoku.layout_from(box)
        puzzle = search.generate(1, layout, 5, minimal=True)[0][0]
        assert isomorphic(puzzle, puzzle.reshape(layout.side, -1).T.ravel(), layout) == expected


def test_overlaps_lists_every_pair():
    first, second = forty_puzzles()[:20], forty_puzzles()[10:]
    assert overlaps(first, second, L9) == [(i, i - 10) for i in range(10, 20)]
    copies = np.concatenate([turned(first[:3], L9, 1), second[10:], turned(first[1:3], L9, 2)])
    doubled = np.concatenate([first, first[1:2]])
    assert overlaps(doubled, copies, L9) == [(0, 0), (1, 1), (1, 23), (2, 2), (2, 24), (20, 1), (20, 23)]
    assert overlaps(first[:0], first, L9) == []


def test_keys_do_not_depend_on_the_company():
    puzzles = np.concatenate([forty_puzzles(), search.random_solutions(2, L9, np.random.default_rng(0))])
    many = np.tile(puzzles, (50, 1))
    hashes = keys(many, L9)
    assert hashes.dtype == np.uint64
    np.testing.assert_array_equal(hashes, np.tile([keys(p[None], L9)[0] for p in puzzles], 50))
    np.testing.assert_array_equal(hashes, keys(many.astype(np.int64), L9))
    assert len(np.unique(hashes)) == 42
    assert keys(puzzles[:0], L9).shape == (0,)


def test_what_is_no_puzzle_is_refused():
    grid = np.zeros(81, np.int8)
    assert message(keys, grid, L9) == "puzzles have shape (81,), needed is [n, 81]"
    assert "shape (1, 81), needed is [n, 16]" in message(keys, grid[None], L4)
    wrong = np.tile(grid, (3, 1))
    wrong[2, 10] = 10
    assert message(keys, wrong, L9).startswith("puzzle 2: r2c2 is 10, but cells go from 0")
    wrong[2, 10] = -1
    assert message(overlaps, np.zeros((1, 81), int), wrong, L9).startswith("puzzle 2: r2c2 is -1")
    assert message(isomorphic, grid, grid[:80], L9).startswith("second puzzle: 80 cells found")
    assert "float64" in message(keys, np.full((1, 81), np.nan), L9)


def test_public_sets_share_no_puzzle_and_planted_copies_are_found(real_data):
    sets = {}
    for name in ("train", "test"):
        with (real_data / "sudoku_extreme" / f"{name}.csv").open(newline="") as file:
            sets[name] = np.array([sudoku.parse(row["question"], L9) for row in csv.DictReader(file)])
    train, test = sets["train"], sets["test"]
    assert (len(train), len(test)) == (1000, 4000)
    assert overlaps(train, test, L9) == []
    planted = np.random.default_rng(0).permutation(1000)[:100]
    mixed = np.concatenate([test[:1000], turned(train[planted], L9)])
    assert overlaps(train, mixed, L9) == sorted(zip(planted.tolist(), range(1000, 1100), strict=True))
