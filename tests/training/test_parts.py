"""A CPU takes a few rows at once where all that a block needs fits into its cache, and all of them where it cannot."""

from dataclasses import replace

import pytest

import trm_jax as trm
from trm_jax.devices.sharding import ALONE
from trm_jax.training.parts import parts_for
from trm_jax.training.program import settled


def sized(name, **changes):
    experiment = trm.experiment(name)
    c = experiment.model
    sizes = {"seq_len": c.seq_len or 81, "vocab_size": c.vocab_size or 11, "num_puzzles": c.num_puzzles or 1}
    return replace(experiment, model=replace(c, **sizes | changes))


@pytest.mark.parametrize(
    ("name", "rows", "at_once"),
    [("sudoku_extreme", 32, 1), ("demo", 48, 16), ("demo", 47, 1), ("sudoku_mlp", 384, 384), ("maze", 384, 384)],
)
def test_the_rows_that_fit_into_a_cache(name, rows, at_once):
    assert rows // parts_for(sized(name), rows) == at_once


def test_what_is_left_open_is_settled_and_what_is_said_stays():
    experiment = sized("sudoku_extreme:smoke")
    memory = experiment.memory
    assert memory.micro_batches == 0
    assert settled(experiment, ALONE).memory.micro_batches == parts_for(experiment, experiment.train.batch_size)
    said = replace(experiment, memory=replace(memory, micro_batches=2))
    assert settled(said, ALONE).memory.micro_batches == 2
