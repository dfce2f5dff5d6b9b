"""Datasets of a user's own puzzle: tables of questions and answers on a grid of a declared shape and alphabet."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from trm_jax.data.builders.pairs import Overlap, Pairs, Progress, Summary, Where, apart, check_seed, drawn_images, write
from trm_jax.data.builders.rows import Choice, read
from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.table_columns import USUAL, Columns

# Rows on which declared symmetries are tried, where there are rules.
_TRIED = 8


def build(
    out: Path,
    about: Mapping[str, Any],
    train: Path,
    test: Path | None = None,
    *,
    rules: Rules | None = None,
    columns: Columns = USUAL,
    choice: Choice | None = None,
    holdout: int = 0,
    augmentations: int = 0,
    seed: int = 0,
    overlap: Overlap = "refuse",
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder from CSV or JSONL files.

    Args:
      out: the folder to be; must not exist.
      about: the puzzle's shape, alphabet and symmetries, as puzzles/grid.py has them, with "kind": "grid".
      train, test: the tables; without a test table there is no test split, unless training rows are held out for it.
      rules: tell whether an answer is one of its question; every row has to keep to them.
      columns: of the question and the answer; in JSONL, the keys.
      choice: of training rows.
      holdout: so many training rows, drawn at random, become the test split. No two of them, and none of them and a row
        that stays, are the same up to the declared symmetries; rows that are the same as one of them are left out.
      augmentations: images of each training puzzle under the declared symmetries.
      seed: of what is held out and of the images.
      overlap: what to do where a training row is a test row up to symmetry (`pairs.apart`).
      progress: told after each group: how many are done, of how many.

    Raises:
      DataError: names file, row and column, or what of the description is wrong; a symmetry that the rules refute; too
        few rows to hold out; an overlap; an `out` that exists; a full disk.
    """
    check_seed(seed)
    if test is not None and holdout:
        raise DataError(f"{test} is the test split, so no rows of {train} can be held out for it: give either")
    puzzle = json.dumps(about)
    kind, rows, numbers = read(train, puzzle, rules, choice, columns)
    assert isinstance(kind, Grid)
    kind.check_symmetries(rows.inputs[:_TRIED], rows.labels[:_TRIED])
    dropped, held_out = 0, None
    if test is not None:
        _, held_out, others = read(test, puzzle, rules, columns=columns)
        rows, dropped = apart(kind, rows, held_out, overlap, (Where(train, numbers), Where(test, others)))
    elif holdout:
        rows, held_out, dropped = _held_out(kind, rows, holdout, seed, train)
    images = drawn_images(kind, augmentations, seed) if augmentations else None
    summary = write(out, kind, rows, held_out, images, augmentations, progress)
    return replace(summary, dropped=dropped)


def _held_out(kind: Kind, rows: Pairs, count: int, seed: int, path: Path) -> tuple[Pairs, Pairs, int]:
    """The rows that stay, those that are held out, and how many are neither, being the same as one held out."""
    total = len(rows.inputs)
    # For each row the first that is the same up to symmetry.
    first = np.arange(total)
    for i, j in kind.overlaps(rows.inputs, rows.inputs):
        first[j] = min(first[j], i)
    order = np.random.Generator(np.random.Philox(key=[seed, 5])).permutation(total)
    taken = order[np.sort(np.unique(first[order], return_index=True)[1])][:count]
    stay = ~np.isin(first, first[taken])
    if len(taken) < count or not stay.any():
        classes = len(np.unique(first))
        raise DataError(
            f"{path}: {count} rows cannot be held out: of {total} rows {classes} differ up to symmetry: hold out fewer"
        )
    return rows.take(stay), rows.take(np.sort(taken)), total - int(stay.sum()) - count
