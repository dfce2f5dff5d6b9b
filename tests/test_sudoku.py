"""Sudoku: text, validity, solver, generator and symmetries; counts against an independent enumeration."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku

EXTREME = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "sudoku_extreme"
EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
SIDES = [4, 6, 9, 16]
SMALL_SIDES = [4, 6, 9]
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
    text = message(sudoku.layout_of_length, 80)
    assert "80 cells found" in text
    assert "16, 36, 81 or 256" in text


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
    assert "'x' in row 1, column 3 of the text" in message(sudoku.parse, "12x4341221434321")
    assert "'x' in row 2, column 4 of the text" in message(sudoku.parse, "1234\n341x\n2143\n4321")
    assert "'7' in row 1, column 2 of the text is neither a digit 1-4" in message(sudoku.parse, "17" + 14 * ".")
    assert "'G'" in message(sudoku.parse, "G" * 81)
    assert "80 cells found" in message(sudoku.parse, "." * 80)
    assert "80 cells found, but this Sudoku has 81" in message(sudoku.parse, "." * 80, L9)
    assert "0 cells found" in message(sudoku.parse, "")
    assert "'\\x00'" in message(sudoku.parse, "\0" * 81)
    assert "cell 2 of the grid is 17" in message(sudoku.to_text, [0, 17])
    assert "r1c2 is 5" in message(sudoku.render, [0, 5] + [0] * 14, L4)
    assert "15 cells found, but this Sudoku has 16" in message(sudoku.render, [0] * 15, L4)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("01234._|-+ \n" * 8 + "5x\0é٣"), min_size=14, max_size=24).map("".join))
def test_parse_loads_right_or_raises_data_error(text):
    kept = [char for char in text if char not in "|-+ \n"]
    good = len(kept) == 16 and set(kept) <= set("01234._")
    if good:
        assert sudoku.parse(text).tolist() == [0 if char in "._" else int(char) for char in kept]
    else:
        assert set(message(sudoku.parse, text)) & set("0123456789")  # a place or a count


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


def test_solver_finds_the_known_answer():
    result = sudoku.solve(sudoku.parse(EASY), L9)
    assert result.unique
    assert sudoku.to_text(result.solutions[0]) == EASY_ANSWER
    # A puzzle with 17 clues, the fewest there can be.
    puzzle = sudoku.parse(14 * "." + "3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9")
    hard = sudoku.solve(puzzle, L9)
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
            result = sudoku.solve(puzzle, L4, limit=300)
            assert result.complete
            assert len(result.solutions) == count_4x4(puzzle, every_4x4)
            assert len({s.tobytes() for s in result.solutions}) == len(result.solutions)
            assert all(sudoku.answers(puzzle, s, L4) for s in result.solutions)


def test_solver_stops_where_told():
    empty = np.zeros(81, np.int8)
    two = sudoku.solve(empty, L9, limit=2)
    assert (len(two.solutions), two.complete, two.unique) == (2, False, False)
    assert not np.array_equal(*two.solutions)
    clash = empty.copy()
    clash[:2] = 1
    none = sudoku.solve(clash, L9)
    assert (none.solutions, none.complete, none.unique) == ([], True, False)
    hard = sudoku.parse("8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4..")
    free, capped = sudoku.solve(hard, L9), sudoku.solve(hard, L9, max_backtracks=0)
    assert free.unique
    assert free.backtracks > 1
    assert (capped.backtracks, capped.complete, capped.unique) == (1, False, False)
    assert "r1c1 is 10" in message(sudoku.solve, [10] + [0] * 80, L9)


def test_all_4x4(every_4x4):
    assert len(every_4x4) == 288
    np.testing.assert_array_equal(sudoku.all_solutions_4x4(), every_4x4)


@pytest.mark.parametrize("side", SIDES)
def test_random_solutions_are_valid_and_vary(side):
    layout = sudoku.layout_for(side)
    grids = sudoku.random_solutions(8, layout, np.random.default_rng(1))
    assert sudoku.satisfies(grids, layout).all()
    assert len({g.tobytes() for g in grids}) >= 7
    np.testing.assert_array_equal(grids, sudoku.random_solutions(8, layout, np.random.default_rng(1)))


def test_random_4x4_solutions_are_uniform():
    drawn = sudoku.random_solutions(28800, L4, np.random.default_rng(2))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 288
    assert ((counts - 100) ** 2 / 100).sum() < 380  # chi-square, 287 degrees of freedom, p = 2e-4


@pytest.mark.parametrize(("side", "n"), [(4, 400), (6, 40), (9, 40), (16, 2)])
def test_generated_puzzles(side, n):
    layout = sudoku.layout_for(side)
    puzzles, found = sudoku.generate(n, layout, seed=3)
    assert puzzles.shape == found.shape == (n, layout.cells)
    assert puzzles.dtype == found.dtype == np.int8
    assert sudoku.answers(puzzles, found, layout).all()
    assert len({p.tobytes() for p in puzzles}) == n
    for puzzle, answer in zip(puzzles, found, strict=True):
        result = sudoku.solve(puzzle, layout)
        assert result.unique
        np.testing.assert_array_equal(result.solutions[0], answer)
    again, _ = sudoku.generate(n, layout, seed=3)
    np.testing.assert_array_equal(puzzles, again)
    assert not np.array_equal(puzzles[:2], sudoku.generate(2, layout, seed=4)[0])


def test_generated_4x4_are_unique_by_brute_force_and_appended_to(every_4x4):
    puzzles, found = sudoku.generate(1500, L4, seed=0)
    assert [count_4x4(p, every_4x4) for p in puzzles] == [1] * 1500
    for n in (1, 700, 1024, 1025):
        fewer, fewer_found = sudoku.generate(n, L4, seed=0)
        np.testing.assert_array_equal(fewer, puzzles[:n])
        np.testing.assert_array_equal(fewer_found, found[:n])


@pytest.mark.parametrize("side", SMALL_SIDES)
def test_minimal_puzzles_need_every_clue(side):
    layout = sudoku.layout_for(side)
    puzzles, _ = sudoku.generate(5, layout, seed=1, minimal=True)
    for puzzle in puzzles:
        assert sudoku.solve(puzzle, layout).unique
        for cell in np.flatnonzero(puzzle):
            fewer = puzzle.copy()
            fewer[cell] = 0
            assert len(sudoku.solve(fewer, layout).solutions) == 2


@pytest.mark.parametrize(("side", "clues"), [(4, (9, 11)), (6, (20, 22)), (9, (40, 42)), (16, (180, 182))])
def test_clue_counts_fill_the_range(side, clues):
    puzzles, _ = sudoku.generate(30, sudoku.layout_for(side), seed=5, clues=clues)
    assert set((puzzles != 0).sum(axis=1)) == set(range(clues[0], clues[1] + 1))


@pytest.mark.parametrize("side", [4, 9])
def test_held_out_solutions_are_respected(side):
    layout = sudoku.layout_for(side)
    grids = sudoku.random_solutions(6, layout, np.random.default_rng(0))
    _, found = sudoku.generate(60, layout, seed=2, solutions=grids[:3])
    assert {f.tobytes() for f in found} == {g.tobytes() for g in grids[:3]}


def test_generation_that_runs_out_of_distinct_puzzles_ends(every_4x4):
    text = message(sudoku.generate, 30, L4, 0, clues=(15, 15), solutions=every_4x4[:1])
    assert "16 of 30 distinct puzzles" in text  # sixteen ways to blank one cell
    puzzles, _ = sudoku.generate(16, L4, 0, clues=(15, 15), solutions=every_4x4[:1])
    assert sorted(np.flatnonzero(p == 0).tolist() for p in puzzles) == [[cell] for cell in range(16)]
    np.testing.assert_array_equal(sudoku.generate(9, L4, 0, clues=(15, 15), solutions=every_4x4[:1])[0], puzzles[:9])


def test_generate_refuses_bad_arguments():
    assert "not both" in message(sudoku.generate, 1, L4, 0, clues=(4, 5), minimal=True)
    for clues in ((5, 4), (-1, 4), (4, 17)):
        assert str(clues) in message(sudoku.generate, 1, L4, 0, clues=clues)
    assert "seed is -1" in message(sudoku.generate, 1, L4, -1)
    assert "n is -1" in message(sudoku.generate, -1, L4, 0)
    assert "row 1 is not a complete" in message(
        sudoku.generate, 1, L4, 0, solutions=[pattern(L4), np.zeros(16, np.int8)]
    )
    assert "(1, 16)" in message(sudoku.generate, 1, L9, 0, solutions=[pattern(L4)])
    assert sudoku.generate(0, L4, 0)[0].shape == (0, 16)


def relation_kept(symmetries: sudoku.Symmetries, layout: sudoku.Layout) -> bool:
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
    assert (symmetries.cells.dtype, symmetries.digits.dtype) == (np.int32, np.int8)
    np.testing.assert_array_equal(np.sort(symmetries.cells, axis=1), np.tile(np.arange(layout.cells), (n, 1)))
    np.testing.assert_array_equal(np.sort(symmetries.digits, axis=1), np.tile(np.arange(side + 1), (n, 1)))
    assert (symmetries.digits[:, 0] == 0).all()
    assert relation_kept(symmetries, layout)
    answer = pattern(layout)
    puzzle = np.where(np.arange(layout.cells) % 3 == 0, answer, 0).astype(np.int8)
    puzzles = sudoku.apply(np.tile(puzzle, (n, 1)), symmetries)
    answers = sudoku.apply(np.tile(answer, (n, 1)), symmetries)
    assert puzzles.dtype == np.int8
    assert sudoku.answers(puzzles, answers, layout).all()
    np.testing.assert_array_equal((puzzles != 0).sum(axis=1), np.full(n, (puzzle != 0).sum()))
    assert len({a.tobytes() for a in answers}) > n // 2
    for i in (0, n - 1):
        expected = [symmetries.digits[i][puzzle[source]] for source in symmetries.cells[i]]
        assert puzzles[i].tolist() == expected


def test_symmetries_keep_uniqueness():
    for side in SMALL_SIDES:
        layout = sudoku.layout_for(side)
        puzzles, found = sudoku.generate(20, layout, seed=7)
        doubled = puzzles.copy()
        doubled[np.arange(20), [np.flatnonzero(p)[0] for p in puzzles]] = 0
        symmetries = sudoku.draw_symmetries(np.random.default_rng(1), 20, layout)
        for before, after in (
            (puzzles, sudoku.apply(puzzles, symmetries)),
            (doubled, sudoku.apply(doubled, symmetries)),
        ):
            counts = [[len(sudoku.solve(p, layout).solutions) for p in batch] for batch in (before, after)]
            assert counts[0] == counts[1]
        for moved, answer in zip(sudoku.apply(puzzles, symmetries), sudoku.apply(found, symmetries), strict=True):
            np.testing.assert_array_equal(sudoku.solve(moved, layout).solutions[0], answer)


def test_symmetries_reach_the_whole_group(every_4x4):
    # Side 4: 2! bands, 2!**2 rows within, the same for columns, and transposition.
    drawn = sudoku.draw_symmetries(np.random.default_rng(0), 12800, L4)
    _, counts = np.unique(drawn.cells, axis=0, return_counts=True)
    assert len(counts) == 8 * 8 * 2
    assert ((counts - 100) ** 2 / 100).sum() < 195  # chi-square, 127 degrees of freedom, p = 1e-4
    assert len(np.unique(drawn.digits, axis=0)) == 24
    for side, share in ((6, 0.0), (9, 0.5), (16, 0.5)):
        layout = sudoku.layout_for(side)
        cells = sudoku.draw_symmetries(np.random.default_rng(0), 400, layout).cells
        transposed = cells[:, 0] // side != cells[:, 1] // side  # neighbours in a row come from a column
        assert abs(transposed.mean() - share) <= 0.1 * share + 0.02
    six = sudoku.draw_symmetries(np.random.default_rng(0), 2000, sudoku.layout_for(6)).cells
    # Three bands of two rows and two stacks of three columns: 3! 2!**3 row maps and 2! 3!**2 column maps.
    assert len(np.unique(six[:, ::6] // 6, axis=0)) == 48
    assert len(np.unique(six[:, :6] % 6, axis=0)) == 72


def test_tokens():
    grid = np.array([[0, 1, 9]], np.int8)
    np.testing.assert_array_equal(sudoku.encode(grid), [[1, 2, 10]])
    assert sudoku.encode(grid).dtype == np.int8
    np.testing.assert_array_equal(sudoku.decode(sudoku.encode(grid)), grid)
    for dtype in (np.int8, np.uint8, np.int32):
        decoded = sudoku.decode(np.array([0, 1, 2, 10], dtype))
        np.testing.assert_array_equal(decoded, [0, 0, 1, 9])
        assert decoded.dtype == dtype


def test_public_training_rows_are_unique_and_right():
    path = EXTREME / "train.csv"
    if not path.exists():
        pytest.skip("the public Sudoku-Extreme rows are not at ../shared/data/sudoku_extreme/train.csv")
    with path.open(newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), 200))
    assert len(rows) == 200
    for row in rows:
        question = sudoku.parse(row["question"])
        sudoku.check_pair(question, sudoku.parse(row["answer"]))
        result = sudoku.solve(question, L9)
        assert result.unique
        assert sudoku.to_text(result.solutions[0]) == row["answer"]
