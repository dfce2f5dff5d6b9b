"""A small dataset folder, as our writer makes it."""

from itertools import pairwise
from pathlib import Path

import numpy as np

from trm_jax.data.folder_writer import Writer

# Three groups of 2, 1 and 3 puzzles, whose numbers of examples are 2, 1, 3, 1, 2 and 2.
PUZZLES = np.array([0, 2, 3, 6, 7, 9, 11])
GROUPS = np.array([0, 2, 3, 6])
IDS = np.array([4, 1, 2, 6, 5, 3])
NAMES = ["<blank>", *(f"task{i}" for i in range(1, 7))]


def tokens(first: int = 1) -> np.ndarray:
    """[11, 4]; example i holds first + i in its first cell."""
    grid = np.full((11, 4), 2, np.uint8)
    grid[:, 0] = first + np.arange(11)
    return grid


def write(out: Path, vocab_size: int = 30, puzzle: dict | None = None) -> Path:
    """The same three groups by our writer, in both splits."""
    inputs, labels = tokens(), tokens()
    labels[:, 3] = 0
    with Writer(out, 4, vocab_size, puzzle=puzzle) as writer:
        for split in ("train", "test"):
            for start, end in pairwise(GROUPS):
                rows = slice(PUZZLES[start], PUZZLES[end])
                sizes = np.diff(PUZZLES)[start:end]
                writer.split(split).add(inputs[rows], labels[rows], sizes, IDS[start:end])
        writer.finish(identifiers=NAMES, test_puzzles={"task1": {"train": [], "test": []}})
    return out
