"""Puzzles without answers: what is counted of attempts at them; and nothing where no rules are known."""

from typing import Any

import numpy as np
import pytest

from trm_jax.data import puzzle_set
from trm_jax.errors import DataError
from trm_jax.inference import by_rules
from trm_jax.inference.attempts import Attempts
from trm_jax.inference.by_rules import RulesEvaluator
from trm_jax.inference.effort import Effort
from trm_jax.puzzles.kinds import kind_of

KIND = kind_of("sudoku", 16)
PUZZLE, RIGHT = "12..341.21434321", "1234341221434321"
WRONG, OTHER = "1244341221434321", "2341412332141432"  # a 4 twice in a row; other clues
DEPTHS = (1, 3)
# Of each puzzle and attempt the answers at these depths; by the change the first attempt is believed, later the second.
ANSWERS = [
    [[RIGHT, WRONG], [WRONG, WRONG]],  # certified at once, valid only then
    [[WRONG, WRONG], [WRONG, RIGHT]],  # both, at the end
    [[WRONG, WRONG], [OTHER, WRONG]],  # neither
    [[RIGHT, WRONG], [WRONG, RIGHT]],  # both, from the first
]


def puzzles() -> puzzle_set.PuzzleSet:
    inputs = np.stack([KIND.parse(PUZZLE)] * len(ANSWERS))
    return puzzle_set.from_pairs(inputs, np.zeros_like(inputs), 6, "sudoku")


def test_valid_and_certified_are_counted_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    effort = Effort(DEPTHS, attempts=2, latent_noise=0.1)

    def attempt(model: Any, weights: Any, given: Effort, inputs: Any, ids: Any, *rest: Any) -> Any:
        assert given == effort
        rest[-1](2)
        for first, rows in ((0, ANSWERS[:3]), (3, ANSWERS[3:])):
            tokens = np.array([[[KIND.parse(text) for text in row] for row in each] for each in rows])
            n = len(rows)
            change = np.array([[[2, 2, 2], [3, 2, 1]]] * n, np.float32)
            none = np.zeros((n, 2), np.int32)
            zeros = np.zeros((n, 2, 3), np.float32)
            yield Attempts(effort, first, tokens, zeros, change, zeros, none, none + 3)

    monkeypatch.setattr(by_rules, "attempt", attempt)
    told: list[int] = []
    model: Any = None
    weights: Any = None
    report = RulesEvaluator(model, puzzles(), 3, effort, KIND, "change")(weights, told.append)
    assert told == [2]
    assert (report.puzzles, report.selection) == (4, "change")
    assert [(row.supervision_steps, row.valid.value, row.certified.value) for row in report.rows] == [
        (1, 0.5, 0.5),
        (3, 0.5, 0.75),
    ]
    assert report.rows[0].valid.low < 0.5 < report.rows[0].valid.high
    assert report.to_dict()["rows"][1]["certified"]["value"] == 0.75


def test_without_rules_there_is_nothing_to_say() -> None:
    model: Any = None
    with pytest.raises(DataError, match="none of 4 puzzles has an answer to compare with, and no rules are known"):
        RulesEvaluator(model, puzzles(), 3, Effort(DEPTHS), kind_of("tokens", 16))
