"""Mazes: text, shortest paths against an independent search, the public labels; and the dihedral maps."""

import os
from functools import lru_cache
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles import dihedral, maze
from trm_jax.puzzles.table import read_pairs

EXAMPLES = int(os.environ.get("TRM_FUZZ", "100"))
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


@lru_cache
def public_pairs(folder: Path):  # type: ignore[no-untyped-def]
    """All 1,400 public mazes with their labels, two arrays [1400, 900]."""
    splits = [read_pairs(folder / f"{name}.csv.gz", maze.parse) for name in ("train", "test")]
    return tuple(np.concatenate(arrays) for arrays in zip(*splits, strict=True))


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
    assert "'x' in line 2, column 3 of the text" in message(maze.parse, "S  \n #x\n  G")
    assert "'\\x00' in line 1, column 1" in message(maze.parse, "\0" * 9)
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


def test_check_pair_of_a_rectangle():
    question, answer = maze.parse("S G\n   ", (2, 3)), maze.parse("SoG\n   ", (2, 3))
    maze.check_pair(question, answer, (2, 3))
    assert "6 cells found, which is not a square" in message(maze.check_pair, question, answer)
    # As three rows of two, start and goal lie elsewhere, and the cell between them is no path.
    assert message(maze.check_pair, question, answer, (3, 2)).startswith("answer: the 'o' cells are no shortest path")
    tall = maze.parse("SG" + "  " * 3, (2, 4))
    assert message(maze.check_pair, tall, tall[:4], (2, 4)) == "answer: 4 cells found, but a maze of 2 x 4 is needed"
    closed = maze.parse("S#G" * 2, (2, 3))
    assert "a second at r2c1" in message(maze.check_pair, closed, closed, (2, 3))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (-2, -3), (1, 0)])
def test_shapes_without_cells_are_refused(shape):
    assert f"{shape[0]} x {shape[1]} holds no maze" in message(maze.parse, "S   G ", shape)


def test_only_integers_are_tokens():
    assert "tokens are float64" in message(maze.solve, np.full(9, np.nan), (3, 3))
    assert "tokens are bool" in message(maze.check_pair, np.ones(9, bool), np.ones(9, bool))


def test_grid_declares_the_symmetries_of_mazes():
    puzzle, answer = maze.parse(RING), maze.parse(RING_SOLVED)
    for shape, count in (((3, 3), 8), ((1, 9), 4)):
        symmetries = maze.grid(shape).draw(np.random.default_rng(0), 200)
        assert maze.grid(shape).vocab_size == maze.VOCAB_SIZE
        assert (symmetries.tokens == np.arange(maze.VOCAB_SIZE)).all()
        drawn = {cells.tobytes() for cells in symmetries.cells}
        assert len(drawn) == (count if shape[0] > 1 else 2)
    symmetries = maze.grid((3, 3)).draw(np.random.default_rng(0), 100)
    questions, answers = (symmetries.apply(np.tile(each, (100, 1))) for each in (puzzle, answer))
    assert all(maze.is_shortest_path(*pair, (3, 3)) for pair in zip(questions, answers, strict=True))
    assert len(np.unique(maze.grid((3, 3)).canonical(questions, answers), axis=0)) == 1
    wide = maze.parse("S  #\n G  ", (2, 4))
    mirrored = maze.parse("  G \n#  S", (2, 4))
    np.testing.assert_array_equal(maze.grid((2, 4)).canonical(wide), maze.grid((2, 4)).canonical(mirrored))


@settings(max_examples=EXAMPLES, deadline=None)
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


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.text(st.sampled_from("# SGo\n\r") | st.characters(), max_size=30),
    st.none() | st.tuples(st.integers(-2, 6), st.integers(-2, 6)),
)
def test_any_text_is_a_maze_or_a_data_error(text, shape):
    refused = None
    try:
        tokens = maze.parse(text, shape)
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert refused
        assert "\n" not in refused
        return
    kept = text.replace("\r", "").replace("\n", "")
    assert maze.to_text(tokens) == kept
    if shape is None:
        shape = maze.square_shape(len(kept))
    assert shape[0] * shape[1] == len(kept)
    np.testing.assert_array_equal(maze.parse(maze.render(tokens, shape), shape), tokens)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.sampled_from([np.int8, np.uint8, np.int32, np.int64, np.uint64]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["random tokens", "random cells changed", "answered"]),
    st.booleans(),
)
def test_any_pair_is_right_or_a_data_error(shape, dtype, seed, origin, give_shape):
    rng = np.random.default_rng(seed)
    cells = shape[0] * shape[1]
    if origin == "random tokens" or cells < 2:
        question, answer = rng.integers(0, 7, (2, cells)).astype(dtype)
    else:
        question = rng.choice([maze.WALL, maze.FREE, maze.FREE], cells).astype(dtype)
        question[rng.permutation(cells)[:2]] = maze.START, maze.GOAL
        try:
            answer = maze.solve(question, shape).astype(dtype)
        except DataError:
            answer = question.copy()
        if origin == "random cells changed":
            for array in (question, answer):
                array[rng.integers(cells, size=2)] = rng.integers(0, 7, 2)
    refused = None
    try:
        maze.check_pair(question, answer, shape if give_shape else None)
    except DataError as error:
        refused = str(error)
    if not give_shape and isqrt(cells) ** 2 != cells:
        assert "which is not a square" in str(refused)
        return
    shape = shape if give_shape else maze.square_shape(cells)
    ends = sorted(question[(question != maze.WALL) & (question != maze.FREE)].tolist())
    length = relaxed_length(question, shape) if ends == [maze.START, maze.GOAL] else None
    unmarked = np.where((answer == maze.PATH) & (question == maze.FREE), question, answer)
    on_path = np.where(answer == maze.FREE, maze.WALL, answer)
    right = (
        length is not None
        and np.array_equal(unmarked, question)
        and (answer == maze.PATH).sum() == length - 1
        and relaxed_length(on_path, shape) == length
    )
    assert right == (refused is None)
    if refused is not None:
        assert refused.startswith("question: " if length is None else "answer: ")
        assert "\n" not in refused


@pytest.mark.slow
def test_every_public_label_is_the_path_of_solve(real_data):
    questions, answers = public_pairs(real_data / "maze_hard")
    assert questions.shape == (1400, 900)
    solved = np.stack([maze.solve(question, (30, 30)) for question in questions])
    assert (solved == answers).all(axis=1).sum() == 1400


# Solved in a mirror the order is down, right, left, up; then up, left, right, down; then right, up, down, left.
@pytest.mark.parametrize(("turn", "agreeing"), [(np.fliplr, 1297), (np.flipud, 0), (np.transpose, 2)])
def test_no_other_order_of_steps_makes_the_public_labels(real_data, turn, agreeing):
    def turned(mazes):  # type: ignore[no-untyped-def]
        return np.stack([turn(each.reshape(30, 30)).ravel() for each in mazes])

    questions, answers = public_pairs(real_data / "maze_hard")
    solved = turned([maze.solve(question, (30, 30)) for question in turned(questions)])
    for question, path in zip(questions[:50], solved[:50], strict=True):
        assert maze.is_shortest_path(question, path, (30, 30))
    assert (solved == answers).all(axis=1).sum() == agreeing


def test_all_public_pairs_pass(real_data):
    for question, answer in zip(*public_pairs(real_data / "maze_hard"), strict=True):
        maze.check_pair(question, answer)


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
