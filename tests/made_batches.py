"""Batches as training makes them, for the tests of what is in them."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment
from trm_jax.data.order import Position
from trm_jax.devices.sharding import BY_ROWS, EVERYWHERE, layout_of
from trm_jax.training.feed import Feed, next_batch

START = Position()


def with_devices(experiment: Experiment, **changes) -> Experiment:
    return replace(experiment, devices=replace(experiment.devices, **changes))


def key_data(seed: int):
    return jax.random.key_data(jax.random.key(seed))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _batches(experiment, layout, count, source, position, key, first):
    """`count` batches of one call, as training makes them: one step after the other."""

    def body(source, position, key, first):
        made = []
        for number in range(count):
            batch, position = next_batch(experiment, layout, source, position, key, first + number, number)
            made.append(batch)
        return jax.tree.map(lambda *parts: jnp.stack(parts, axis=1), *made), position

    if layout.mesh is None:
        return body(source, position, key, first)
    inside = (source.specs(), EVERYWHERE, EVERYWHERE, EVERYWHERE)
    mapped = jax.shard_map(body, mesh=layout.mesh, in_specs=inside, out_specs=(BY_ROWS, EVERYWHERE), check_vma=False)
    return mapped(source, position, key, first)


def made(experiment, puzzles, calls=3, count=2, seed=5, start=START):
    """Arrays [B, calls * count, ...] of consecutive batches, and the position after them."""
    layout = layout_of(experiment)
    parts = []
    with Feed(puzzles, experiment, layout) as feed:
        assert feed.resident == (experiment.devices.puzzles == "resident")
        position = layout.everywhere(Position(*map(np.int32, start)))
        for call, source in enumerate(feed.sources(start, [count] * calls)):
            first = jnp.int32(1 + call * count)
            batch, position = _batches(experiment, layout, count, source, position, key_data(seed), first)
            parts.append(jax.tree.map(np.asarray, batch))
    return jax.tree.map(lambda *each: np.concatenate(each, axis=1), *parts), tuple(map(int, position))


def assert_same(one, other):
    assert one[1] == other[1]
    jax.tree.map(np.testing.assert_array_equal, one[0], other[0])
