"""Rated Sudokus: what a rating is, and puzzles that are as hard as asked for."""

import csv
import itertools

import numpy as np
import pytest
from sudoku_oracle import oracle

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku, sudoku_rating
from trm_jax.puzzles.sudoku_isomorphism import isomorphic, keys
from trm_jax.puzzles.sudoku_rating import generate_rated, neighbours, rating
from trm_jax.puzzles.sudoku_search import generate, solve

L4, L9 = sudoku.layout_for(4), sudoku.layout_for(9)
HARD = "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."


def message(call, *args, **kwargs) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args, **kwargs)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_rating_counts_the_dead_ends_of_the_solver():
    hard, easy = sudoku.parse(HARD), generate(1, L9, 0, clues=(50, 50))[0][0]
    assert rating(hard, L9) == solve(hard, L9).backtracks > 20
    assert rating(easy, L9) == 0


def test_only_puzzles_with_one_solution_have_a_rating():
    puzzle = np.zeros(16, np.int8)
    assert message(rating, puzzle, L4).startswith("puzzle: two or more solutions, but only")
    puzzle[:2] = 1
    assert message(rating, puzzle, L4).startswith("puzzle: no solution, but only")
    assert message(rating, puzzle[:9], L4).startswith("puzzle: 9 cells found")


@pytest.mark.parametrize(
    ("box", "n", "floor"),
    [
        ("3x3", 5, 0),
        ("2x3", 4, 1),
        ("2x5", 3, 30),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("3x3", 4, 20), ("3x4", 2, 60), ("4x4", 1, 0))),
    ],
)
def test_rated_puzzles_against_a_sat_solver(box, n, floor):
    layout = sudoku.layout_from(box)
    puzzles, answers, ratings = generate_rated(n, layout, 1, min_rating=floor)
    assert puzzles.shape == answers.shape == (n, layout.cells)
    assert (puzzles.dtype, answers.dtype, ratings.dtype) == (np.int8, np.int8, np.int64)
    assert ratings.min() >= floor
    assert ratings.tolist() == [rating(puzzle, layout) for puzzle in puzzles]
    for puzzle, answer in zip(puzzles, answers, strict=True):
        assert oracle(box).solutions(puzzle, 2) == {answer.tobytes()}
        if layout.side <= 12:
            assert all(oracle(box).needs(puzzle, cell) for cell in np.flatnonzero(puzzle))
    assert len({answer.tobytes() for answer in answers}) == n
    assert not any(isomorphic(a, b, layout) for a, b in itertools.combinations(puzzles, 2))


def test_all_36_minimal_puzzles_of_side_4_turn_up_once_each():
    rated = generate_rated(36, L4, 0)
    assert np.bincount((rated.puzzles != 0).sum(axis=1)).tolist() == [0, 0, 0, 0, 13, 22, 1]
    assert len(set(keys(rated.puzzles, L4).tolist())) == 36
    assert "only 36 of 37 puzzles with a rating of at least 0 turned up" in message(generate_rated, 37, L4, 0)


def test_a_rating_out_of_reach_is_given_up(monkeypatch):
    monkeypatch.setattr(sudoku_rating, "_MOVES", 2)
    early = "none of the first 16 puzzles came near a rating of 9, the highest is "
    assert early in message(generate_rated, 1, L4, 0, min_rating=9)

    def climb(layout, seed, min_rating, index):
        return sudoku_rating._Climb(np.zeros(16), np.zeros(16), 40 if index == 15 else 39, index)

    monkeypatch.setattr(sudoku_rating, "_climb", climb)
    assert "a rating of 81, the highest is 40: ask" in message(generate_rated, 1, L4, 0, min_rating=81)
    expected = "only 0 of 1 puzzles with a rating of at least 80 turned up; ask for fewer, or for a lower min_rating"
    assert expected in message(generate_rated, 1, L4, 0, min_rating=80)


def test_the_seed_alone_decides_whatever_the_number_of_processes():
    told: list[int] = []
    several = generate_rated(7, L9, 3, min_rating=8, workers=2, progress=told.append)
    assert told == list(range(1, 8))
    for part, other in zip(several, generate_rated(7, L9, 3, min_rating=8), strict=True):
        np.testing.assert_array_equal(part, other)
    for part, fewer in zip(several, generate_rated(3, L9, 3, min_rating=8), strict=True):
        np.testing.assert_array_equal(part[:3], fewer)
    assert not np.array_equal(several.puzzles[:2], generate_rated(2, L9, 4, min_rating=8).puzzles)


def test_neighbours_have_the_same_answer_other_clues_and_no_fewer_dead_ends(monkeypatch):
    monkeypatch.setattr(sudoku_rating, "_HARD", 15)
    puzzle = sudoku.parse(HARD)
    (answer,) = solve(puzzle, L9).solutions
    found = neighbours(puzzle, answer, 2, L9, np.random.default_rng(1))
    assert len({other.tobytes() for other in (puzzle, *found)}) == 3
    for other in found:
        assert rating(other, L9) >= 15
        np.testing.assert_array_equal(solve(other, L9).solutions, [answer])
        assert oracle("3x3").needs(other, np.flatnonzero(other)[0])
    assert neighbours(puzzle, answer, 0, L9, np.random.default_rng(1)).shape == (0, 81)
    # Whatever it starts from, what it finds has one solution.
    monkeypatch.setattr(sudoku_rating, "_HARD", 0)
    (other,) = neighbours(
        np.where(np.arange(81) < 40, answer, 0).astype(np.int8), answer, 1, L9, np.random.default_rng(1)
    )
    np.testing.assert_array_equal(solve(other, L9).solutions, [answer])


def test_requests_that_make_no_sense_are_refused():
    assert "n is -1" in message(generate_rated, -1, L9, 0)
    assert "seed is -1" in message(generate_rated, 1, L9, -1)
    assert "min_rating is -1" in message(generate_rated, 1, L9, 0, min_rating=-1)
    assert "workers is 0" in message(generate_rated, 1, L9, 0, workers=0)
    assert "side is 20, but puzzles can only be rated up to side 16" in message(
        generate_rated, 1, sudoku.Layout(4, 5), 0
    )
    empty = generate_rated(0, L9, 0)
    assert (empty.puzzles.shape, empty.answers.shape, empty.ratings.shape) == ((0, 81), (0, 81), (0,))


def test_ratings_go_with_those_of_the_public_data(real_data):
    """The figures of the docstring, on the first 300 puzzles."""
    with (real_data / "sudoku_extreme" / "train.csv").open(newline="") as file:
        rows = list(itertools.islice(csv.DictReader(file), 300))
    public = np.array([int(row["rating"]) for row in rows])
    own = np.array([rating(sudoku.parse(row["question"]), L9) for row in rows])

    def ranks(values):  # type: ignore[no-untyped-def]
        _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[places]

    assert 0.55 < np.corrcoef(ranks(public), ranks(own))[0, 1] < 0.8
    assert own[public >= 10].min() >= 20
    assert public[own == 0].max() <= 2
