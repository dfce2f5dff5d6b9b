"""Whatever form a puzzle comes in, the same tokens; and what is none is told in one line with its place."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import DataError
from trm_jax.library.questions import read_boards, read_questions
from trm_jax.puzzles.kinds import kind_of

SUDOKU = kind_of("sudoku", 16)
WIDE = kind_of(json.dumps({"kind": "sudoku", "box": "2x3"}), 36)
MAZE = kind_of(json.dumps({"kind": "maze", "shape": [2, 4]}), 8)
ARC = kind_of("arc", 900)
NUMBERS = kind_of("tokens", 6)
GRID = kind_of(json.dumps({"kind": "grid", "shape": [2, 3], "alphabet": ".ab"}), 6)

BOARD = np.array([[0, 2, 1, 0], [0, 0, 0, 4], [0, 0, 0, 0], [0, 1, 0, 0]])
TEXT = ".21....4.....1.."
ROWS = [".21.", "...4", "....", ".1.."]
TOKENS = BOARD.ravel() + 1


@pytest.mark.parametrize(
    "one",
    [
        TEXT, "\n".join(ROWS), " ".join(ROWS), ROWS, tuple(ROWS), np.array(ROWS), [list(row) for row in ROWS],
        np.array([list(row) for row in ROWS]), BOARD, BOARD.tolist(), BOARD.ravel(), BOARD.ravel().tolist(),
        BOARD.astype(np.uint8), BOARD.astype(float), jnp.asarray(BOARD), list(BOARD), tuple(map(tuple, BOARD.tolist())),
    ],
)  # fmt: skip
def test_one_puzzle_in_any_form(one: object) -> None:
    tokens, alone = read_questions(SUDOKU, one, 6)
    assert alone
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(tokens, TOKENS[None])


@pytest.mark.parametrize(
    "many",
    [
        [TEXT] * 3, np.array([TEXT] * 3), np.array([TEXT] * 3, object), ["\n".join(ROWS)] * 3, [ROWS] * 3,
        np.stack([BOARD] * 3), np.stack([BOARD.ravel()] * 3), [BOARD] * 3, [BOARD.tolist()] * 3,
        [BOARD.ravel().tolist()] * 3, [TEXT, BOARD, ROWS], (BOARD, BOARD, BOARD), jnp.stack([jnp.asarray(BOARD)] * 3),
    ],
)  # fmt: skip
def test_many_puzzles_in_any_form(many: object) -> None:
    tokens, alone = read_questions(SUDOKU, many, 6)
    assert not alone
    np.testing.assert_array_equal(tokens, np.stack([TOKENS] * 3))


def test_a_batch_of_one_stays_a_batch() -> None:
    for many in ([TEXT], BOARD[None], [BOARD], [ROWS], BOARD.ravel()[None]):
        tokens, alone = read_questions(SUDOKU, many, 6)
        assert tokens.shape == (1, 16)
        assert not alone


def test_as_many_puzzles_as_rows_are_no_board() -> None:
    """Four texts of 16 cells, and four rows of four: told apart by their lengths."""
    assert read_questions(SUDOKU, [TEXT] * 4, 6)[0].shape == (4, 16)
    assert read_questions(SUDOKU, ROWS, 6)[0].shape == (1, 16)
    assert read_questions(SUDOKU, np.stack([BOARD.ravel()] * 4), 6)[0].shape == (4, 16)


def test_boards_that_are_not_square() -> None:
    board = np.zeros((6, 6), int)
    board[0, 1] = 6
    for one in (board, board.ravel(), "." + "6" + "." * 34):
        tokens, alone = read_questions(WIDE, one, 8)
        assert alone
        np.testing.assert_array_equal(tokens[0], board.ravel() + 1)


def test_mazes_and_own_puzzles_are_characters() -> None:
    for maze in ("S  G####", ["S  G", "####"], [list("S  G"), list("####")]):
        tokens, alone = read_questions(MAZE, maze, 6)
        assert alone
        assert MAZE.text(tokens[0]) == "S  G####"
    assert [GRID.text(row) for row in read_questions(GRID, ["ab.", "..b"], 4)[0]] == ["ab...b"]
    assert [GRID.text(row) for row in read_questions(GRID, ["ab...b", "......"], 4)[0]] == ["ab...b", "......"]
    with pytest.raises(DataError, match=r"^puzzle: puzzles of kind 'grid' are characters.*give them as text$"):
        read_questions(GRID, [[1, 2, 0], [0, 0, 2]], 4)


def test_arc_grids_have_sizes_of_their_own() -> None:
    grids = [[[1, 2], [3, 4]], [[5, 0, 1]], [[7]]]
    tokens, alone = read_questions(ARC, grids, 12)
    assert not alone
    assert [ARC.decode(row).tolist() for row in tokens] == grids
    tokens, alone = read_questions(ARC, grids[1], 12)
    assert alone
    assert ARC.decode(tokens[0]).tolist() == grids[1]
    assert ARC.decode(read_questions(ARC, "12/34", 12)[0][0]).tolist() == grids[0]


def test_tokens_are_numbers() -> None:
    tokens, alone = read_questions(NUMBERS, [0, 1, 2, 3, 4, 5], 9)
    assert alone
    np.testing.assert_array_equal(tokens, [[0, 1, 2, 3, 4, 5]])
    assert read_questions(NUMBERS, [[0, 1, 2, 3, 4, 5]] * 2, 9)[0].shape == (2, 6)
    with pytest.raises(DataError, match=r"^puzzle: token 9, but the model takes 0 to 8$"):
        read_questions(NUMBERS, [0, 1, 2, 3, 4, 9], 9)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (5, "a int is no puzzle: give text of 16 cells, or numbers of shape (16,) or (4, 4), or a list of these"),
        (None, "a NoneType is no puzzle"),
        ({"a": 1}, "a dict is no puzzle"),
        (b"....", "a bytes is no puzzle"),
        ([], "there is no puzzle in what was given"),
        ("12", "puzzle: 2 cells found, but this Sudoku has 16"),
        ([TEXT, "12"], "puzzles[1]: 2 cells found"),
        (TEXT.replace("4", "x"), "'x'"),
        (BOARD[:3], "puzzles[0]: an array of shape (4,): give text of 16 cells"),
        (BOARD[:, :3], "puzzles[0]: an array of shape (3,)"),
        ([[1, 2], [3]], "puzzles[0]: an array of shape (2,)"),
        ([[[1, 2, 3, 4], [1]]], "puzzles[0]: rows of different lengths"),
        (BOARD - 1, "puzzle: r1c1 is -1, but cells go from 0 (blank) to 4"),
        ([BOARD, BOARD + 1], "puzzles[1]: r2c4 is 5"),
        (BOARD + 0.5, "puzzle: 0.5 at row 1, column 1 is no whole number: give 0 for a blank"),
        (np.where(BOARD == 0, np.nan, BOARD), "puzzle: nan at row 1, column 1 is no whole number"),
        ([None] * 16, "puzzle: cells of type object: give whole numbers, or text"),
        (BOARD.astype(bool), "puzzle: cells of type bool"),
        ("\n".join([TEXT[:8], TEXT[8:]]), "puzzle: 2 lines of 8 cells found, but this Sudoku is 4 x 4"),
        (np.array([list(TEXT[:8]), list(TEXT[8:])]), "puzzles[0]: 8 cells found"),
        (np.array([[list(TEXT[:8]), list(TEXT[8:])]]), "puzzles[0]: 2 lines of 8 cells found"),
        (np.array([[TEXT[:8], TEXT[8:]]]), "puzzles[0]: 2 lines of 8 cells found"),
        ([[*ROWS[:3], "1"]], "puzzles[0]: line 4 has 1 cells, but line 1 has 4"),
        ("11..............", "puzzle: digit 1 stands twice in row 1, at r1c1 and r1c2"),
        ([TEXT, TEXT, "11.............."], "puzzles[2]: digit 1 stands twice"),
        (np.zeros((2, 2, 4, 4), int), "puzzles[0]: an array of shape (2, 4, 4)"),
    ],
)  # fmt: skip
def test_what_is_no_puzzle_is_told_in_one_line(given: object, told: str) -> None:
    with pytest.raises(DataError) as error:
        read_questions(SUDOKU, given, 6)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_boards_may_contradict_themselves_and_are_called_as_asked() -> None:
    assert read_boards(SUDOKU, "11..............", "answer")[0].shape == (1, 16)
    with pytest.raises(DataError, match=r"^answers\[1\]: "):
        read_boards(SUDOKU, [TEXT, "1"], "answer")


def test_the_digits_of_large_sudokus_are_told_by_all_puzzles() -> None:
    kind = kind_of("sudoku", 256)
    dots, zeros = "." * 255 + "F", "." * 254 + "0F"
    tokens, _ = read_boards(kind, [dots, zeros], "puzzle")
    assert tokens[:, -2:].tolist() == [[1, 17], [2, 17]]
    assert read_boards(kind, dots, "puzzle")[0][0, -1] == 16
    with pytest.raises(DataError, match=r"^0 may be a blank or a digit, since neither G nor another blank"):
        read_boards(kind, ["0" * 255 + "F"], "puzzle")
