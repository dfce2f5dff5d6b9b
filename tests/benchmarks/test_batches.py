"""Batches for measurements: every example once, and the last batch filled up."""

import numpy as np
import pytest

from benchmarks.batches import in_order
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.model.losses import IGNORE


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (50, [11]), (1, [1] * 11)])
def test_every_example_comes_once_and_the_last_batch_is_filled_up(batch_size, sizes):
    tokens = np.arange(1, 12, dtype=np.uint8)[:, None] * np.array([1, 1, 1, 0], np.uint8)
    batches = list(in_order(from_pairs(tokens, tokens, 12), batch_size))
    assert [real for _, real in batches] == sizes
    for batch, real in batches:
        arrays = batch.inputs, batch.labels, batch.puzzle_ids
        assert [array.shape for array in arrays] == [(batch_size, 4), (batch_size, 4), (batch_size,)]
        assert {array.dtype for array in arrays} == {np.dtype(np.int32)}
        np.testing.assert_array_equal(batch.labels[real:], IGNORE)
        np.testing.assert_array_equal(batch.labels[:real, 3], IGNORE)
        np.testing.assert_array_equal(batch.inputs[real:], 0)
    found = np.concatenate([batch.inputs[:real, 0] for batch, real in batches])
    np.testing.assert_array_equal(found, np.arange(1, 12))
