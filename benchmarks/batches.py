"""A set of puzzles in batches on the host, for what is measured without the feed of training."""

from collections.abc import Iterator

import numpy as np

from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.model.losses import IGNORE
from trm_jax.training.supervision import Batch


def in_order(puzzles: PuzzleSet, batch_size: int) -> Iterator[tuple[Batch, int]]:
    """Every example once, in order, with how many rows of the batch are real; the last batch is filled up.

    The batches hold int32 arrays of NumPy.
    """
    for start in range(0, len(puzzles), batch_size):
        rows = slice(start, start + batch_size)
        inputs, labels = (np.asarray(part[rows], np.int32) for part in (puzzles.inputs, puzzles.labels))
        count = len(inputs)
        padding = ((0, batch_size - count), (0, 0))
        batch = Batch(
            np.pad(inputs, padding),  # type: ignore[arg-type]
            np.pad(np.where(labels == 0, IGNORE, labels), padding, constant_values=IGNORE),  # type: ignore[arg-type]
            np.pad(puzzles.puzzle_ids[rows], padding[0]),  # type: ignore[arg-type]
        )
        yield batch, count
