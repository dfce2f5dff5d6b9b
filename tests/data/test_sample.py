"""Sets in the encoding of another program are told before anything is made of them, whatever the kind."""

import json

import numpy as np
import pytest

from trm_jax.config import DataConfig, Experiment, ModelConfig
from trm_jax.data.fit import check_fits
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.data.sample import check_labels, check_sample
from trm_jax.errors import DataError, RulesError
from trm_jax.puzzles import arc
from trm_jax.puzzles.kinds import kind_of

GRID = json.dumps({"kind": "grid", "shape": [1, 4], "alphabet": "abcd"})


def differs(question: str, answer: str) -> bool:
    return answer != question


def boards(*grids: np.ndarray) -> np.ndarray:
    return np.stack([arc.encode(grid.astype(np.uint8)) for grid in grids]).astype(np.int32)


def pair_of(name: str):
    """A kind, its questions and answers, 20 of each."""
    if name == "arc":
        rng = np.random.default_rng(0)
        grids = [rng.integers(0, 10, (2 + i, 3)) for i in range(20)]
        return kind_of("arc", 900), boards(*grids), boards(*grids[::-1])
    puzzle, question, answer, rules = {
        "sudoku": ("sudoku", "1234............", "1234341221434321", None),
        "maze": ("maze", "S ## ##G#", "So##o##G#", None),
        "grid": (GRID, "aaab", "abcd", differs),
    }[name]
    kind = kind_of(puzzle, len(question), rules)
    return kind, *(np.tile(kind.parse(text).astype(np.int32), (20, 1)) for text in (question, answer))


@pytest.mark.parametrize("name", ["sudoku", "maze", "grid", "arc"])
def test_what_is_encoded_as_here_is_taken(name) -> None:
    kind, questions, answers = pair_of(name)
    check_sample(kind, from_pairs(questions, answers, kind.vocab_size), "set")
    partly = answers.copy()
    partly[3], partly[5, 0] = 0, 0
    if name != "arc":
        check_sample(kind, from_pairs(questions, partly, kind.vocab_size), "set")


@pytest.mark.parametrize(
    ("name", "shift"),
    [
        *((name, 1) for name in ("sudoku", "maze", "grid", "arc")),
        ("sudoku", -1),
        ("maze", -1),
        ("grid", -1),
        ("arc", 2),
    ],
)
def test_tokens_that_are_shifted_are_told_as_that(name, shift) -> None:
    kind, questions, answers = pair_of(name)
    shifted = from_pairs(questions + shift, answers + shift, kind.vocab_size + 2)

    with pytest.raises(DataError) as caught:
        check_sample(kind, shifted, "set")

    told = f"set: every token is {abs(shift)} too {'high' if shift > 0 else 'low'} for puzzles of kind {name!r}: "
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("name", ["sudoku", "maze", "grid", "arc"])
def test_a_row_at_fault_is_told_with_its_number(name) -> None:
    kind, questions, answers = pair_of(name)
    questions[19, 1 if name == "sudoku" else 0] = {"sudoku": 2, "maze": 2, "grid": 0, "arc": 0}[name]
    told = {
        "sudoku": "puzzle: digit 1 stands twice in row 1, at r1c1 and r1c2",
        "maze": "puzzle: exactly one start S is needed, but 0 found",
        "grid": "padding, which no puzzle of this kind has",
        "arc": "",
    }[name]

    with pytest.raises(DataError) as caught:
        check_sample(kind, from_pairs(questions, answers, kind.vocab_size), "set")

    assert str(caught.value).startswith(f"set: row 20 is no puzzle of kind {name!r} ({told}")


def test_an_answer_that_is_none_is_told() -> None:
    kind, questions, answers = pair_of("sudoku")
    answers[0, [4, 5]] = answers[0, [5, 4]]
    with pytest.raises(DataError, match=r"row 1 is no puzzle of kind 'sudoku' \(answer: digit"):
        check_sample(kind, from_pairs(questions, answers, 6), "set")


def test_rules_that_fail_are_not_the_puzzles_fault() -> None:
    def fails(question: str, answer: str) -> bool:
        raise RulesError("--rules mine.py: check failed")

    _, questions, answers = pair_of("grid")
    with pytest.raises(RulesError, match=r"^--rules mine\.py: check failed$"):
        check_sample(kind_of(GRID, 4, fails), from_pairs(questions, answers, 5), "set")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"kind": "sudoku", "box": "2x3"}, {"kind": "sudoku", "box": "3x2"}),
        ({"kind": "maze", "shape": [4, 9]}, {"kind": "maze", "shape": [6, 6]}),
        (
            {"kind": "grid", "shape": [1, 36], "alphabet": "abcd"},
            {"kind": "grid", "shape": [1, 36], "alphabet": "dcba"},
        ),
    ],
)
def test_another_kind_of_the_same_size_is_refused(theirs, ours) -> None:
    vocab_size = kind_of(json.dumps(ours), 36).vocab_size
    experiment = Experiment(
        model=ModelConfig(vocab_size=vocab_size, seq_len=36, num_puzzles=1), data=DataConfig(json.dumps(ours))
    )
    puzzles = from_pairs(np.ones((2, 36), np.int32), np.zeros((2, 36), np.int32), vocab_size, json.dumps(theirs))

    with pytest.raises(DataError) as caught:
        check_fits(experiment, puzzles, "set")

    assert str(caught.value).startswith(f"set: puzzles that are {json.dumps(theirs)}")
    assert f"the model was made for {json.dumps(ours)}" in str(caught.value)


def test_a_set_without_any_label_is_nothing_to_train_on() -> None:
    _, questions, answers = pair_of("sudoku")
    check_labels(from_pairs(questions, np.where(np.arange(20)[:, None] == 19, answers, 0), 6), "some")
    with pytest.raises(
        DataError, match=r"^mine: none of its 20 puzzles has a labelled cell, so there is nothing to le"
    ):
        check_labels(from_pairs(questions, np.zeros_like(answers), 6), "mine")
