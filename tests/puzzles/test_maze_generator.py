"""Generated mazes: long enough, valid, distinct, reproducible, and like the public ones."""

import os
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles import maze, maze_generator
from trm_jax.puzzles.table import read_pairs

EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))


def refused(n, shape, seed=0, **kwargs) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        maze_generator.generate(n, shape, seed, **kwargs)
    text = str(caught.value)
    assert text.startswith("generate: ")
    assert "\n" not in text
    return text.removeprefix("generate: ")


def check(puzzles, answers, n, shape, min_length) -> None:  # type: ignore[no-untyped-def]
    assert puzzles.shape == answers.shape == (n, shape[0] * shape[1])
    assert puzzles.dtype == answers.dtype == np.int8
    assert len(np.unique(puzzles, axis=0)) == n
    for puzzle, answer in zip(puzzles, answers, strict=True):
        maze.check_pair(puzzle, answer, shape)
        assert maze.shortest_length(puzzle, shape) >= min_length
        np.testing.assert_array_equal(maze.solve(puzzle, shape), answer)


@pytest.mark.parametrize(
    ("n", "shape", "min_length"),
    [
        (20, (30, 30), 110),
        (20, (30, 30), 1),
        (3, (30, 30), 200),  # chance does not find these: walls have to move
        (5, (20, 40), 100),
        (5, (40, 20), 100),
        (20, (2, 3), 3),
        (4, (3, 3), 6),
        (3, (2, 60), 70),
        (2, (200, 200), 500),
    ],
)
def test_mazes_are_long_enough_valid_and_distinct(n, shape, min_length):
    check(*maze_generator.generate(n, shape, 0, min_length=min_length), n, shape, min_length)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(2, 7), st.integers(2, 7), st.floats(0, 0.7), st.integers(0, 2**128 - 1))
def test_any_small_maze_is_right_or_refused(rows, columns, share, seed):
    shape, walls = (rows, columns), (0.25, 0.5)
    min_length = max(1, int(share * maze_generator.longest_possible(shape)))
    puzzles, answers = maze_generator.generate(2, shape, seed, min_length=min_length, walls=walls)
    check(puzzles, answers, 2, shape, min_length)


@pytest.mark.parametrize(("n", "shape", "min_length"), [(20, (11, 11), 20), (5, (30, 30), 100), (4, (8, 13), 12)])
def test_a_perfect_maze_has_one_path_between_any_two_cells(n, shape, min_length):
    puzzles, answers = maze_generator.generate(n, shape, 5, min_length=min_length, perfect=True)
    check(puzzles, answers, n, shape, min_length)
    for puzzle in puzzles:
        is_open = (puzzle != maze.WALL).reshape(shape)
        # A tree: every other cell of every other row, all joined, by one less openings between them than cells.
        assert is_open[::2, ::2].all()
        assert not is_open[1::2, 1::2].any()
        joints = int((is_open[:, :-1] & is_open[:, 1:]).sum() + (is_open[:-1] & is_open[1:]).sum())
        assert joints == is_open.sum() - 1
    other, _ = maze_generator.generate(n, shape, 6, min_length=min_length, perfect=True)
    assert not (puzzles == other).all(axis=1).any()


def test_a_perfect_maze_that_cannot_be_is_told():
    assert "no maze of 5 x 5" in refused(2, (5, 5), min_length=17, perfect=True)


def test_a_maze_depends_on_the_seed_and_its_number_alone():
    whole = maze_generator.generate(12, (8, 9), 7, min_length=12)
    part = maze_generator.generate(5, (8, 9), 7, min_length=12)
    for many, few in zip(whole, part, strict=True):
        np.testing.assert_array_equal(many[:5], few)
    other = maze_generator.generate(12, (8, 9), 8, min_length=12)
    assert not (whole[0] == other[0]).all(axis=1).any()


@pytest.mark.parametrize(("n", "shape", "min_length"), [(40, (12, 12), 30), (24, (2, 3), 2)])
def test_any_number_of_workers_makes_the_same_mazes(n, shape, min_length):
    seen: list[int] = []
    alone = maze_generator.generate(n, shape, 3, min_length=min_length, progress=seen.append)
    assert seen == list(range(1, n + 1))
    seen.clear()
    together = maze_generator.generate(n, shape, 3, min_length=min_length, workers=2, progress=seen.append)
    assert seen == list(range(1, n + 1))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_faults_in_a_worker_reach_the_caller():
    assert "turned up, the longest had" in refused(40, (4, 4), min_length=12, workers=2)


def test_no_mazes():
    puzzles, answers = maze_generator.generate(0, (4, 5), 0, min_length=3, workers=2)
    assert puzzles.shape == answers.shape == (0, 20)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 3), (2, 5), (3, 4)])
def test_longest_possible_bounds_all_mazes(shape):
    cells = shape[0] * shape[1]
    longest = 0
    grid = np.arange(cells).reshape(shape)
    steps = [[] for _ in range(cells)]  # type: ignore[var-annotated]
    for one, other in [
        *zip(grid[1:].flat, grid[:-1].flat, strict=True),
        *zip(grid[:, 1:].flat, grid[:, :-1].flat, strict=True),
    ]:
        steps[one].append(other)
        steps[other].append(one)
    for is_open in product((False, True), repeat=cells):
        for start in np.flatnonzero(is_open).tolist():
            reached, border, length = {start}, [start], 0
            while border := [
                c for b in border for c in steps[b] if is_open[c] and not (c in reached or reached.add(c))
            ]:
                length += 1
            longest = max(longest, length)
    bound = maze_generator.longest_possible(shape)
    assert longest <= bound <= longest + 1
    if shape in ((2, 2), (3, 3)):
        assert bound == longest


@pytest.mark.parametrize(
    ("kwargs", "expected"),
    [
        ({"shape": (1, 9)}, "shape is 1 x 9; each side goes from 2 to 200"),
        ({"shape": (9, 201)}, "shape is 9 x 201; each side goes from 2 to 200"),
        ({"n": -1}, "n is -1 and seed is 0; neither may be negative"),
        ({"seed": 2**128}, "n is 2 and seed is 340282366920938463463374607431768211456"),
        ({"walls": (0.5, 0.4)}, "walls (0.5, 0.4) must be a (low, high) pair"),
        ({"walls": (float("nan"), 0.4)}, "walls (nan, 0.4) must be"),
        ({"walls": (0.5, 1.0)}, "walls (0.5, 1.0) must be"),
        ({"min_length": 0}, "min_length is 0, but a shortest path in 9 x 9 cells has from 1 to 58 steps; lower it"),
        ({"min_length": 59}, "min_length is 59, but a shortest path in 9 x 9 cells has from 1 to 58 steps; lower it"),
        ({"min_length": 58}, "no maze of 9 x 9 with a shortest path of 58 steps turned up, the longest had"),
        (
            {"walls": (0.9999999, 0.9999999)},
            "no maze of 9 x 9 with a shortest path of 8 steps turned up, the longest had",
        ),
        (
            {"walls": (0.0, 0.0), "min_length": 17},
            "no maze of 9 x 9 with a shortest path of 17 steps turned up, the longest had 16",
        ),
        ({"n": 1000, "shape": (2, 2), "min_length": 2}, "only 12 of 1000 distinct mazes turned up; ask for fewer"),
    ],
)
def test_what_cannot_be_is_refused(kwargs, expected):
    assert refused(**{"n": 2, "shape": (9, 9), "min_length": 8, **kwargs}).startswith(expected)


def test_moving_walls_keeps_their_number_and_never_shortens_the_path():
    search = maze_generator._Search((15, 15), np.random.Generator(np.random.Philox(key=0)), 100)
    found, is_open, levels = search.draw((0.35, 0.45))
    assert found is None
    moved, longer = search.move_walls(is_open, levels)
    assert moved.bit_count() == is_open.bit_count()
    assert len(longer) - 1 >= 100 > len(levels) - 1
    puzzle, pairs = search.with_ends(moved, longer)
    assert pairs >= 1
    assert maze.shortest_length(puzzle, (15, 15)) >= 100


@pytest.mark.slow
def test_mazes_are_like_the_public_ones(real_data):
    """Their walls and lengths, with the public floor; the mean length is the one thing that falls a little short."""
    shape = (30, 30)
    public, _ = read_pairs(real_data / "maze_hard" / "train.csv.gz", maze.parse)
    made, _ = maze_generator.generate(150, shape, 0, min_length=109)
    lengths = [np.array([maze.shortest_length(puzzle, shape) for puzzle in puzzles]) for puzzles in (public, made)]
    walls = [(puzzles == maze.WALL).mean(axis=1) for puzzles in (public, made)]
    assert lengths[0].min() == 109
    # Three standard errors of the means of 150.
    assert abs(walls[0].mean() - walls[1].mean()) < 0.0066
    assert abs(walls[0].std() - walls[1].std()) < 0.005
    assert 111 < lengths[1].mean() < 115
    assert lengths[1].max() > 120
    # A wall says nothing of its neighbour, and the edge is no wall of its own.
    squares = [(puzzles == maze.WALL).reshape(-1, *shape) for puzzles in (public, made)]
    for square in squares:
        assert abs(np.corrcoef(square[:, :, 1:].ravel(), square[:, :, :-1].ravel())[0, 1]) < 0.02
        assert abs(square[:, 0].mean() - square.mean()) < 0.03
    # Start and goal are as many rows and columns apart.
    apart = []
    for puzzles in (public, made):
        ends = [np.argmax(puzzles == end, axis=1) for end in (maze.START, maze.GOAL)]
        (r1, c1), (r2, c2) = (np.divmod(cells, shape[1]) for cells in ends)
        apart.append((np.abs(r1 - r2) + np.abs(c1 - c2)).mean())
    assert abs(apart[0] - apart[1]) < 3.5
