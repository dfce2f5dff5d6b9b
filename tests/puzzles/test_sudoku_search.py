"""The Sudoku solver and generator, against an enumeration of all grids of side 4 and against a SAT solver."""

import csv
import itertools
import os
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sudoku_oracle import oracle

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku
from trm_jax.puzzles import sudoku_search as search

EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
SIDES = [4, 6, 9, 16]
SMALL_SIDES = [4, 6, 9]
EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))
L4, L9 = sudoku.layout_for(4), sudoku.layout_for(9)


@pytest.fixture(scope="module")
def every_4x4() -> NDArray[np.int8]:
    """All valid grids of side 4 by trying all 24**4 combinations of rows, in lexicographic order."""
    rows = np.array(list(itertools.permutations((1, 2, 3, 4))), np.int8)
    grids = rows[np.array(list(itertools.product(range(24), repeat=4)))]
    columns = np.sort(grids, axis=1) == np.arange(1, 5)[:, None]
    boxes = grids.reshape(-1, 2, 2, 2, 2).swapaxes(2, 3).reshape(-1, 4, 4)
    valid = columns.all(axis=(1, 2)) & (np.sort(boxes, axis=2) == np.arange(1, 5)).all(axis=(1, 2))
    return grids[valid].reshape(-1, 16)


def count_4x4(puzzle: NDArray[np.int8], every_4x4: NDArray[np.int8]) -> int:
    return int(((puzzle == 0) | (puzzle == every_4x4)).all(axis=1).sum())


def message(call, *args, **kwargs) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def test_solver_finds_the_known_answer():
    result = search.solve(sudoku.parse(EASY), L9)
    assert result.unique
    assert sudoku.to_text(result.solutions[0]) == EASY_ANSWER
    # A puzzle with 17 clues, the fewest there can be.
    puzzle = sudoku.parse(14 * "." + "3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9")
    hard = search.solve(puzzle, L9)
    assert hard.unique
    assert sudoku.answers(puzzle, hard.solutions[0], L9)


def test_solver_counts_as_brute_force_does(every_4x4):
    rng = np.random.default_rng(0)
    for clues in range(9):
        for _ in range(12):
            puzzle = every_4x4[rng.integers(288)].copy()
            puzzle[rng.permutation(16)[clues:]] = 0
            if clues and rng.integers(2):
                puzzle[np.flatnonzero(puzzle)[0]] = rng.integers(1, 5)  # sometimes no solution at all
            result = search.solve(puzzle, L4, limit=300)
            assert result.complete
            assert len(result.solutions) == count_4x4(puzzle, every_4x4)
            assert len({s.tobytes() for s in result.solutions}) == len(result.solutions)
            assert all(sudoku.answers(puzzle, s, L4) for s in result.solutions)


def test_solver_stops_where_told():
    empty = np.zeros(81, np.int8)
    two = search.solve(empty, L9, limit=2)
    assert (len(two.solutions), two.complete, two.unique) == (2, False, False)
    assert not np.array_equal(*two.solutions)
    clash = empty.copy()
    clash[:2] = 1
    none = search.solve(clash, L9)
    assert (none.solutions, none.complete, none.unique) == ([], True, False)
    hard = sudoku.parse("8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..")
    free, capped = search.solve(hard, L9), search.solve(hard, L9, max_backtracks=0)
    assert free.unique
    assert free.backtracks > 1
    assert (capped.backtracks, capped.complete, capped.unique) == (1, False, False)
    assert "r1c1 is 10" in message(search.solve, [10] + [0] * 80, L9)


def test_all_4x4(every_4x4):
    assert len(every_4x4) == 288
    np.testing.assert_array_equal(search.all_solutions_4x4(), every_4x4)


@pytest.mark.parametrize("side", SIDES)
def test_random_solutions_are_valid_and_vary(side):
    layout = sudoku.layout_for(side)
    grids = search.random_solutions(8, layout, np.random.default_rng(1))
    assert sudoku.satisfies(grids, layout).all()
    assert len({g.tobytes() for g in grids}) >= 7
    np.testing.assert_array_equal(grids, search.random_solutions(8, layout, np.random.default_rng(1)))


def test_latin_squares_of_side_4_need_no_boxes():
    squares = search.random_solutions(40, sudoku.Layout(1, 4), np.random.default_rng(0))
    assert 10 < sudoku.satisfies(squares, L4).sum() < 30  # 288 of 576 do


def test_random_4x4_solutions_are_uniform():
    drawn = search.random_solutions(28800, L4, np.random.default_rng(2))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 288
    assert ((counts - 100) ** 2 / 100).sum() < 380  # chi-square, 287 degrees of freedom, p = 2e-4


@pytest.mark.parametrize(("side", "n"), [(4, 400), (6, 40), (9, 40), (16, 2)])
def test_generated_puzzles(side, n):
    layout = sudoku.layout_for(side)
    puzzles, found = search.generate(n, layout, seed=3)
    assert puzzles.shape == found.shape == (n, layout.cells)
    assert puzzles.dtype == found.dtype == np.int8
    assert sudoku.answers(puzzles, found, layout).all()
    assert len({p.tobytes() for p in puzzles}) == n
    for puzzle, answer in zip(puzzles, found, strict=True):
        result = search.solve(puzzle, layout)
        assert result.unique
        np.testing.assert_array_equal(result.solutions[0], answer)
    again, _ = search.generate(n, layout, seed=3)
    np.testing.assert_array_equal(puzzles, again)
    assert not np.array_equal(puzzles[:2], search.generate(2, layout, seed=4)[0])


@pytest.mark.parametrize(
    "box",
    [
        *("1x2", "1x3", "3x1", "1x4", "2x2", "2x3", "3x2", "1x7", "2x4", "3x3", "2x5"),
        *(pytest.param(box, marks=pytest.mark.slow) for box in ("3x4", "4x4")),
    ],
)
def test_generated_puzzles_against_a_sat_solver(box):
    layout = sudoku.layout_from(box)
    for options in ({}, {"minimal": True}):
        puzzles, found = search.generate(4, layout, 11, **options)
        for puzzle, answer in zip(puzzles, found, strict=True):
            assert oracle(box).solutions(puzzle, 2) == {answer.tobytes()}
            if options and layout.side <= 12:  # beyond, a proof may be given up
                assert all(oracle(box).needs(puzzle, cell) for cell in np.flatnonzero(puzzle))


@pytest.mark.parametrize("box", ["3x6", *(pytest.param(box, marks=pytest.mark.slow) for box in ("4x5", "5x5"))])
def test_large_puzzles_come_in_good_time_and_are_right(box):
    layout = sudoku.layout_from(box)
    puzzles, found = search.generate(1, layout, 0)
    assert sudoku.answers(puzzles, found, layout).all()
    result = search.solve(puzzles[0], layout)
    assert result.unique
    np.testing.assert_array_equal(result.solutions[0], found[0])
    low, high = search._default_clues(layout)
    assert low <= np.count_nonzero(puzzles[0]) <= high


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.sampled_from(["1x3", "2x2", "2x3", "3x2", "3x3", "2x5"]),
    st.integers(0, 2**32),
    st.integers(0, 3),
    st.integers(0, 2),
    st.booleans(),
)
def test_solver_and_sat_solver_find_the_same_solutions(box, seed, removed, changed, two_digits):
    """On puzzles with none, one, two and many solutions: minimal ones less some clues or with wrong ones."""
    layout = sudoku.layout_from(box)
    rng = np.random.default_rng(seed)
    puzzles, answers = some_puzzles(box)
    i = rng.integers(len(puzzles))
    puzzle = puzzles[i].copy()
    if two_digits:  # often just two solutions: chains of two digits that may be exchanged
        puzzle = np.where(np.isin(answers[i], rng.permutation(layout.side)[:2] + 1), 0, answers[i])
    for cell in rng.permutation(np.flatnonzero(puzzle))[:removed]:
        puzzle[cell] = 0
    for cell in rng.permutation(np.flatnonzero(puzzle))[:changed]:
        puzzle[cell] = rng.integers(1, layout.side + 1)
    result = search.solve(puzzle, layout, limit=12)
    expected = oracle(box).solutions(puzzle, 12)
    assert len(result.solutions) == len(expected)
    assert len({s.tobytes() for s in result.solutions}) == len(expected)
    assert all(sudoku.answers(puzzle, s, layout) for s in result.solutions)
    assert result.unique == (len(expected) == 1)
    if len(expected) < 12:
        assert result.complete
        assert {s.tobytes() for s in result.solutions} == expected


@lru_cache
def some_puzzles(box: str) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    return search.generate(4, sudoku.layout_from(box), 5, minimal=True)


def test_default_clues_are_the_old_ones_where_there_were_some():
    expected = {4: (4, 8), 6: (8, 16), 9: (22, 34), 16: (100, 140)}
    assert {side: search._default_clues(sudoku.layout_for(side)) for side in SIDES} == expected


def test_puzzles_do_not_depend_on_the_number_of_processes():
    layout = sudoku.layout_for(9)
    pool = search.random_solutions(5, layout, np.random.default_rng(0))
    told: list[int] = []
    several = search.generate(150, layout, 4, solutions=pool, workers=2, progress=told.append)
    np.testing.assert_array_equal(several, search.generate(150, layout, 4, solutions=pool))
    assert told[-1] == 150
    assert told == sorted(set(told))
    told.clear()
    search.generate(3, L4, 0, progress=told.append)
    assert told == [3]
    assert "workers is 0" in message(search.generate, 1, L4, 0, workers=0)


def test_generated_4x4_are_unique_by_brute_force_and_appended_to(every_4x4):
    puzzles, found = search.generate(1500, L4, seed=0)
    assert [count_4x4(p, every_4x4) for p in puzzles] == [1] * 1500
    for n in (1, 700, 1024, 1025):
        fewer, fewer_found = search.generate(n, L4, seed=0)
        np.testing.assert_array_equal(fewer, puzzles[:n])
        np.testing.assert_array_equal(fewer_found, found[:n])


def test_a_clue_stays_where_uniqueness_was_not_proven(monkeypatch):
    monkeypatch.setattr(search, "_max_backtracks", lambda layout: -1)  # every proof is given up at its first dead end
    puzzles, found = search.generate(1, L9, seed=0)
    np.testing.assert_array_equal(puzzles, found)


@pytest.mark.parametrize(("side", "clues", "fewest"), [(4, (3, 3), 4), (9, (17, 17), 22), (9, (10, 12), 22)])
def test_so_few_clues_as_never_come_up_are_refused(side, clues, fewest):
    with pytest.raises(DataError, match=rf"none of the first 40 puzzles came down to {clues[1]} clues, the fewest is "):
        search.generate(40, sudoku.layout_for(side), seed=0, clues=clues)


@pytest.mark.parametrize("side", SMALL_SIDES)
def test_minimal_puzzles_need_every_clue(side):
    layout = sudoku.layout_for(side)
    puzzles, _ = search.generate(5, layout, seed=1, minimal=True)
    for puzzle in puzzles:
        assert search.solve(puzzle, layout).unique
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert len(search.solve(fewer, layout).solutions) == 2


@pytest.mark.parametrize(("side", "clues"), [(4, (9, 11)), (6, (20, 22)), (9, (40, 42)), (16, (180, 182))])
def test_clue_counts_fill_the_range(side, clues):
    puzzles, _ = search.generate(30, sudoku.layout_for(side), seed=5, clues=clues)
    assert set((puzzles != 0).sum(axis=1)) == set(range(clues[0], clues[1] + 1))


@pytest.mark.parametrize("side", [4, 9])
def test_held_out_solutions_are_respected(side):
    layout = sudoku.layout_for(side)
    grids = search.random_solutions(6, layout, np.random.default_rng(0))
    _, found = search.generate(60, layout, seed=2, solutions=grids[:3])
    assert {f.tobytes() for f in found} == {g.tobytes() for g in grids[:3]}


def test_generation_that_runs_out_of_distinct_puzzles_ends(every_4x4):
    text = message(search.generate, 30, L4, 0, clues=(15, 15), solutions=every_4x4[:1])
    assert "16 of 30 distinct puzzles" in text  # sixteen ways to blank one cell
    puzzles, _ = search.generate(16, L4, 0, clues=(15, 15), solutions=every_4x4[:1])
    assert sorted(np.flatnonzero(p == 0).tolist() for p in puzzles) == [[cell] for cell in range(16)]
    np.testing.assert_array_equal(search.generate(9, L4, 0, clues=(15, 15), solutions=every_4x4[:1])[0], puzzles[:9])


def test_generate_refuses_bad_arguments(every_4x4):
    assert "not both" in message(search.generate, 1, L4, 0, clues=(4, 5), minimal=True)
    for clues in ((5, 4), (-1, 4), (4, 17)):
        assert str(clues) in message(search.generate, 1, L4, 0, clues=clues)
    assert "seed is -1" in message(search.generate, 1, L4, -1)
    assert "n is -1" in message(search.generate, -1, L4, 0)
    assert "row 1 is not a complete" in message(
        search.generate, 1, L4, 0, solutions=[every_4x4[0], np.zeros(16, np.int8)]
    )
    assert "(1, 16)" in message(search.generate, 1, L9, 0, solutions=every_4x4[:1])
    assert search.generate(0, L4, 0)[0].shape == (0, 16)


def test_symmetries_keep_uniqueness():
    for side in SMALL_SIDES:
        layout = sudoku.layout_for(side)
        puzzles, found = search.generate(20, layout, seed=7)
        doubled = puzzles.copy()
        doubled[np.arange(20), [np.flatnonzero(p)[0] for p in puzzles]] = 0
        symmetries = sudoku.draw_symmetries(np.random.default_rng(1), 20, layout)
        for before, after in (
            (puzzles, symmetries.apply(puzzles)),
            (doubled, symmetries.apply(doubled)),
        ):
            counts = [[len(search.solve(p, layout).solutions) for p in batch] for batch in (before, after)]
            assert counts[0] == counts[1]
        for moved, answer in zip(symmetries.apply(puzzles), symmetries.apply(found), strict=True):
            np.testing.assert_array_equal(search.solve(moved, layout).solutions[0], answer)


def test_public_training_rows_are_unique_and_right(real_data):
    path = real_data / "sudoku_extreme" / "train.csv"
    with path.open(newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), 200))
    assert len(rows) == 200
    for row in rows:
        question = sudoku.parse(row["question"])
        sudoku.check_pair(question, sudoku.parse(row["answer"]))
        result = search.solve(question, L9)
        assert result.unique
        assert sudoku.to_text(result.solutions[0]) == row["answer"]
