"""Mazes: text, shortest paths against an independent search, the public labels; and the dihedral maps."""

import csv
import gzip
import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles import dihedral, maze

HARD = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "maze_hard"
# Two shortest paths lead around the wall in the middle; a search that tries down first takes the lower one.
RING = "S  \n # \n  G"
RING_SOLVED = "S  \no# \nooG"


def message(call, *args) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError) as caught:
        call(*args)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


def public_rows(name: str, count: int | None) -> list[dict[str, str]]:
    path = HARD / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"the public Maze-Hard rows are not at ../shared/data/maze_hard/{name}.csv.gz")
    with gzip.open(path, "rt", newline="") as file:
        return list(itertools.islice(csv.DictReader(file), count))


def relaxed_length(tokens, shape) -> int | None:  # type: ignore[no-untyped-def]
    """Steps from S to G by repeated relaxation of all cells at once, without a queue."""
    grid = tokens.reshape(shape)
    reached = grid == maze.START
    for steps in range(1, grid.size):
        padded = np.pad(reached, 1)
        reached = (padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]) & (
            grid != maze.WALL
        ) | reached
        if reached[grid == maze.GOAL][0]:
            return steps
    return None


def test_text_round_trips():
    tokens = maze.parse("# SGo# S ")
    assert tokens.dtype == np.int8
    assert tokens.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 2]
    assert maze.VOCAB_SIZE == 6
    assert maze.to_text(tokens) == "# SGo# S "
    assert maze.render(tokens, (3, 3)) == "# S\nGo#\n S "
    np.testing.assert_array_equal(maze.parse(maze.render(tokens, (3, 3)).replace("\n", "\r\n")), tokens)
    np.testing.assert_array_equal(maze.parse("S  G##", (2, 3)), [3, 2, 2, 4, 1, 1])


def test_parse_errors_name_the_place():
    assert "'x' in row 2, column 3 of the text" in message(maze.parse, "S  \n #x\n  G")
    assert "'\\x00' in row 1, column 1" in message(maze.parse, "\0" * 9)
    assert "8 cells found" in message(maze.parse, "S      G")
    assert "0 cells found" in message(maze.parse, "")
    assert "4 cells found, but a maze of 2 x 3" in message(maze.parse, "S  G", (2, 3))
    assert "r1c2 is token 0" in message(maze.to_text, [1, 0])
    assert "r2c1 is token 6" in message(maze.render, [1, 2, 6, 2], (2, 2))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  G", "exactly one start S is needed, but 0 found"),
        ("S  ", "exactly one goal G is needed, but 0 found"),
        ("S SG", "exactly one start S is needed, but 2 found, a second at r1c3"),
        ("SGGG", "exactly one goal G is needed, but 3 found, a second at r1c3"),
        ("SoG", "r1c2 is path 'o'"),
        ("S#G", "no path leads from S to G"),
    ],
)
def test_bad_puzzles_are_refused(text, expected):
    shape = (1, len(text))
    tokens = maze.parse(text, shape)
    for call in (maze.check_puzzle, maze.shortest_length, maze.solve):
        assert message(call, tokens, shape).startswith("puzzle: ")
        assert message(call, tokens, shape).removeprefix("puzzle: ").startswith(expected)
    assert message(maze.is_shortest_path, tokens, tokens, shape)


def test_shortest_length():
    ring = maze.parse(RING)
    maze.check_puzzle(ring, (3, 3))
    assert maze.shortest_length(ring, (3, 3)) == 4
    assert maze.shortest_length(maze.parse("SG  "), (2, 2)) == 1


@pytest.mark.parametrize(
    ("puzzle", "solved"),
    [
        (RING, RING_SOLVED),  # down before right
        ("  S\n # \nG  ", "  S\n #o\nGoo"),  # down before left
        ("   \nS#G\n   ", "   \nS#G\nooo"),  # down before up
        (" S \n # \n G ", "oS \no# \noG "),  # left before right
        ("G  \n # \n  S", "G  \no# \nooS"),  # left before up
        ("  G\n # \nS  ", "  G\n #o\nSoo"),  # right before up
    ],
)
def test_ties_go_down_left_right_up(puzzle, solved):
    tokens = maze.parse(puzzle)
    assert maze.render(maze.solve(tokens, (3, 3)), (3, 3)) == solved
    np.testing.assert_array_equal(tokens, maze.parse(puzzle))  # the puzzle itself is left alone


def test_paths_do_not_wrap_around_the_edge():
    assert "no path" in message(maze.solve, maze.parse("##S\nG##", (2, 3)), (2, 3))
    assert "no path" in message(maze.solve, maze.parse("S#\n##\nG#", (3, 2)), (3, 2))


def test_is_shortest_path():
    ring = maze.parse(RING)
    for text, expected in (
        (RING_SOLVED, True),
        ("Soo\n #o\n  G", True),  # any shortest path will do
        (RING, False),
        ("Soo\no#o\nooG", False),  # both ways at once
        ("So \no# \no G", False),  # as many cells, not connected
        ("S  \noo \n oG", False),  # through the wall
        ("S  \no# \noo ", False),  # the goal is gone
    ):
        answer = maze.parse(text)
        assert maze.is_shortest_path(ring, answer, (3, 3)) is expected, text
        assert maze.is_shortest_path(ring, answer.astype(np.int32), (3, 3)) is expected
    detour = maze.parse("S G\n   ", (2, 3))
    assert maze.is_shortest_path(detour, maze.parse("SoG\n   ", (2, 3)), (2, 3))
    assert not maze.is_shortest_path(detour, maze.parse("S G\nooo", (2, 3)), (2, 3))  # a path, but longer
    assert not maze.is_shortest_path(ring, ring[:4], (3, 3))
    assert not maze.is_shortest_path(ring, np.zeros(9, np.int8), (3, 3))
    neighbours = maze.parse("SG  ")
    assert maze.is_shortest_path(neighbours, neighbours, (2, 2))


def test_check_pair_names_the_side_at_fault():
    ring = maze.parse(RING)
    maze.check_pair(ring, maze.parse(RING_SOLVED))
    assert message(maze.check_pair, ring, ring).startswith("answer: the 'o' cells are no shortest path")
    changed = message(maze.check_pair, ring, maze.parse("S  \no  \nooG"))
    assert changed.startswith("answer: r2c2 is ' ', but the question has '#' there")
    assert message(maze.check_pair, maze.parse(RING_SOLVED), ring).startswith("question: r2c1 is path 'o'")
    assert message(maze.check_pair, ring, ring[:4]).startswith("answer: 4 cells found")
    assert "8 cells found" in message(maze.check_pair, ring[:8], ring)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 7), st.integers(2, 7), st.floats(0, 0.6), st.integers(0, 2**32 - 1))
def test_lengths_agree_with_relaxation(rows, columns, density, seed):
    rng = np.random.default_rng(seed)
    tokens = np.where(rng.random(rows * columns) < density, maze.WALL, maze.FREE).astype(np.int8)
    tokens[rng.permutation(rows * columns)[:2]] = maze.START, maze.GOAL
    shape = (rows, columns)
    length = relaxed_length(tokens, shape)
    if length is None:
        assert "no path" in message(maze.solve, tokens, shape)
    else:
        solved = maze.solve(tokens, shape)
        assert maze.shortest_length(tokens, shape) == length
        assert (solved == maze.PATH).sum() == length - 1
        assert maze.is_shortest_path(tokens, solved, shape)


def check_public(rows: list[dict[str, str]]) -> None:
    for row in rows:
        question, answer = maze.parse(row["question"]), maze.parse(row["answer"])
        maze.check_pair(question, answer)
        np.testing.assert_array_equal(maze.solve(question, (30, 30)), answer)


@pytest.mark.parametrize("name", ["train", "test"])
def test_public_labels_of_a_sample(name):
    check_public(public_rows(name, 60))


@pytest.mark.slow
def test_all_public_labels():
    rows = public_rows("train", None) + public_rows("test", None)
    assert len(rows) == 1400
    check_public(rows)


def test_dihedral_maps_in_order():
    grid = np.arange(16).reshape(4, 4) ** 2
    expected = [
        grid,
        np.rot90(grid),
        np.rot90(grid, 2),
        np.rot90(grid, 3),
        np.fliplr(grid),
        np.flipud(grid),
        grid.T,
        np.fliplr(np.rot90(grid)),
    ]
    indices = dihedral.dihedral_indices((4, 4))
    assert (indices.shape, indices.dtype) == ((8, 16), np.int32)
    assert len(np.unique(indices, axis=0)) == 8
    for index, image in zip(indices, expected, strict=True):
        np.testing.assert_array_equal(grid.ravel()[index], image.ravel())


def test_dihedral_inverse():
    indices = dihedral.dihedral_indices((5, 5))
    for k, inverse in enumerate(dihedral.INVERSE):
        np.testing.assert_array_equal(indices[k][indices[inverse]], np.arange(25))
    assert "3 x 4" in message(dihedral.dihedral_indices, (3, 4))


def test_dihedral_maps_keep_shortest_paths():
    puzzle, answer = maze.parse(RING), maze.parse(RING_SOLVED)
    for index in dihedral.dihedral_indices((3, 3)):
        assert maze.is_shortest_path(puzzle[index], answer[index], (3, 3))
