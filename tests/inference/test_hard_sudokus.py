"""The shipped weights find and certify every one of the well-known hard Sudokus of tests/testdata, within a budget."""

from dataclasses import replace

import numpy as np
import pytest
from places import ROOT

import trm_jax as trm
from trm_jax.data import dataset
from trm_jax.data.dataset import PuzzleSet

# Of each: calls of the network, all chains together. What all of them took is in docs/small_models.md.
CALLS = 8_192


def hard() -> PuzzleSet:
    """Names and sources of the puzzles stand in the file."""
    experiment = trm.load("sudoku-extreme").experiment
    data = replace(experiment.data, test=str(ROOT / "tests" / "testdata" / "hard_sudokus.csv"))
    return dataset.load(data, "test", 0)


@pytest.mark.slow
def test_all_of_them_are_certified():
    puzzles = hard()
    answers = trm.load("sudoku-extreme").solve(puzzles.inputs, calls=CALLS, chains=16)
    assert len(puzzles) >= 40
    missing = np.flatnonzero(~answers.valid)
    assert not len(missing), f"rows {missing.tolist()} of hard_sudokus.csv"
    np.testing.assert_array_equal(answers.tokens, puzzles.labels)
