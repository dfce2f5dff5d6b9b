"""Parts of the weights that are frozen: not a bit of them moves, and what is not frozen learns."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from small_step import EXPERIMENT, batch_of, init, step, with_table

from trm_jax.config import WEIGHT_PARTS
from trm_jax.model.model import part_of
from trm_jax.training.step import TrainState


def moved(before: TrainState, after: TrainState) -> set[str]:
    """The parts of which any bit has changed, in the weights or in their average."""
    parts = set()
    for old, new in ((before.weights.params, after.weights.params), (before.ema, after.ema)):
        parts |= {part_of(name) for name in old if any(jax.tree.leaves(jax.tree.map(_differ, old[name], new[name])))}
    return parts | ({"table"} if _differ(before.weights.puzzle_table, after.weights.puzzle_table) else set())


def _differ(old: jax.Array, new: jax.Array) -> bool:
    return np.asarray(old).tobytes() != np.asarray(new).tobytes()


@pytest.mark.parametrize(
    "freeze",
    ["network", pytest.param("table", marks=pytest.mark.slow), "network,heads,embeddings"],
)
def test_frozen_parts_keep_every_bit_while_the_others_learn(freeze: str) -> None:
    """Weights decay, and their average is another than they are, so that it too would move."""
    experiment = replace(EXPERIMENT, train=replace(EXPERIMENT.train, freeze=freeze))
    state = with_table(init(EXPERIMENT))
    state = replace(state, ema=jax.tree.map(lambda a: a + 1, state.ema))
    after, metrics = step(experiment, state, batch_of([1, 2, 1, 0]))
    assert moved(state, after) == set(WEIGHT_PARTS) - set(freeze.split(","))
    learning = freeze.count(",") == 0
    assert (float(metrics["gradient_norm"]) > 0, float(metrics["update_norm"]) > 0) == (learning, learning)
