"""The list of published hard Sudokus: each has one solution, the one in the list, and no two are the same puzzle."""

import csv
from typing import NamedTuple

import numpy as np
import pytest
from places import TESTDATA

from trm_jax.puzzles import sudoku
from trm_jax.puzzles.sudoku import Grid
from trm_jax.puzzles.sudoku_isomorphism import keys
from trm_jax.puzzles.sudoku_search import solve
from trm_jax.puzzles.table import read_pairs

HARD = TESTDATA / "hard_sudokus.csv"
L9 = sudoku.layout_for(9)


class Listed(NamedTuple):
    """Questions and answers [n, 81], and the rows of the file as they are written."""

    questions: Grid
    answers: Grid
    rows: list[dict[str, str]]


@pytest.fixture(scope="module")
def listed() -> Listed:
    questions, answers = read_pairs(HARD, lambda text: sudoku.parse(text, L9))
    with HARD.open(encoding="ascii", newline="") as file:
        return Listed(questions.astype(np.int8), answers.astype(np.int8), list(csv.DictReader(file)))


def test_every_row_has_a_name_of_its_own_and_says_where_it_was_published(listed: Listed) -> None:
    assert len(listed.rows) >= 60
    assert {tuple(row) for row in listed.rows} == {("question", "answer", "name", "source")}
    assert len({row["name"].lower() for row in listed.rows}) == len(listed.rows)
    for row in listed.rows:
        assert row["name"] == row["name"].strip() != ""
        assert "http://" in row["source"] or "https://" in row["source"], row["name"]


def test_puzzles_are_written_as_the_project_writes_them(listed: Listed) -> None:
    assert [row["question"] for row in listed.rows] == [sudoku.to_text(grid) for grid in listed.questions]
    assert [row["answer"] for row in listed.rows] == [sudoku.to_text(grid) for grid in listed.answers]
    clues = np.count_nonzero(listed.questions, axis=1)
    assert clues.min() == 17  # fewer cannot have one solution: McGuire, Tugemann and Civario (2012)
    assert clues.max() <= 30
    assert np.count_nonzero(clues == 17) >= 10


def test_each_has_the_answer_of_the_list_and_no_other(listed: Listed) -> None:
    dead_ends = []
    for row, question, answer in zip(listed.rows, listed.questions, listed.answers, strict=True):
        result = solve(question, L9)
        assert result.unique, row["name"]
        assert np.array_equal(result.solutions[0], answer), row["name"]
        dead_ends.append(result.backtracks)
    # Some need no guess at all, and most are far from that: this is what the list is for.
    assert min(dead_ends) == 0
    assert np.median(dead_ends) >= 60


def test_no_two_are_the_same_puzzle(listed: Listed) -> None:
    # Isomorphic puzzles have equal keys, so different keys prove that they are not.
    assert len(np.unique(keys(listed.questions, L9))) == len(listed.questions)
