"""What searches report of a set: the figures that labels judge leave out what has none."""

import numpy as np
import pytest

from trm_jax.commands.searching import _table
from trm_jax.config import CandidatesConfig, ModelConfig
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.inference import searches
from trm_jax.inference.search import Budget, Found
from trm_jax.inference.searches import Searches
from trm_jax.inference.statistics import share
from trm_jax.model.model import Model
from trm_jax.puzzles.kinds import kind_of

KIND = kind_of("sudoku", 16)
CONFIG = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=1, width=8, expansion=1.0, layers=1, mixer="symmetric", puzzle="sudoku",
    positions="none", puzzle_dim=0, puzzle_tokens=0, states="candidates", latent_steps=1, cycles=1, dtype="float32",
)  # fmt: skip
ANSWER = KIND.parse("1234341221434321")
OTHER = KIND.parse("2143432112343412")


def report(monkeypatch, labels):
    """Of a search that finds ANSWER for all, and whose first call says OTHER of the last."""

    def found(*arguments):
        for i in range(len(labels)):
            yield Found(i, ANSWER, 3, 1, 0, 0.1, OTHER if i == len(labels) - 1 else ANSWER, ())

    monkeypatch.setattr(searches, "search", found)
    puzzles = from_pairs(np.ones_like(labels), labels, 6, "sudoku")
    return Searches(Model(CONFIG), CandidatesConfig(), puzzles, KIND, 4, Budget(calls=4))(None)


def test_known_answers_are_counted_among_puzzles_that_have_one(monkeypatch):
    none = np.zeros_like(ANSWER)
    found = report(monkeypatch, np.stack([ANSWER, none, OTHER, none, none, ANSWER]))
    assert found.unlabelled == 3
    assert found.exact == share(2 / 3, 3)
    assert found.first_call == share(1 / 3, 3)
    assert found.found(4).value == 1
    assert "3 of 6 puzzles have no labelled cell: they have no known answer to be held to" in _table(found)


def test_where_no_answer_is_known_none_is_said_to_be_right(monkeypatch):
    found = report(monkeypatch, np.zeros((2, 16), np.int32))
    assert (found.unlabelled, found.exact, found.first_call) == (2, None, None)
    assert found.to_dict()["exact"] is None
    assert found.found(4).value == pytest.approx(1)
    assert "known answer:" not in _table(found)
