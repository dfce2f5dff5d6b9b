"""Maze datasets: from tables in the form of the public Maze-Hard files, or generated with a floor on the path."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trm_jax.data.builders.pairs import (
    Images,
    Overlap,
    Pairs,
    Progress,
    Summary,
    Where,
    apart,
    counting,
    different,
    generate_apart,
    write,
)
from trm_jax.data.builders.rows import Choice, read
from trm_jax.data.builders.tables import write_table
from trm_jax.errors import DataError
from trm_jax.puzzles import maze, maze_generator
from trm_jax.puzzles.dihedral import dihedral_indices
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.puzzles.text.writing import Shape


class Wishes(NamedTuple):
    """What generated mazes are like: rows and columns, steps that a shortest path has at least, and whether they have
    but one path (`maze_generator`)."""

    shape: Shape
    min_length: int
    perfect: bool = False


def build(
    out: Path,
    train: Path,
    test: Path | None,
    *,
    puzzle: str = "maze",
    columns: Columns = USUAL,
    choice: Choice | None = None,
    augment: bool = False,
    overlap: Overlap = "refuse",
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder from tables.

    Args:
      out: the folder to be; must not exist.
      train, test: the tables; without the second there is no test split.
      puzzle: "maze", or a description that tells the shape where mazes are no squares.
      columns: of the question and the answer.
      choice: of training rows.
      augment: each training maze becomes a group with all its images, as the original's `aug` makes it.
      overlap: what to do where a training maze is a test maze up to symmetry (`pairs.apart`).
      progress: told after each group: how many are done, of how many.

    Raises:
      DataError: names file, row and column; an overlap; an `out` that exists; a full disk.
    """
    kind, mazes, numbers = read(train, puzzle, choice=choice, columns=columns)
    dropped, held_out = 0, None
    if test is not None:
        other, held_out, others = read(test, puzzle, columns=columns)
        if other.shape != kind.shape:
            raise DataError(f"{test}: mazes of another size than those of {train}: build them apart")
        mazes, dropped = apart(kind, mazes, held_out, overlap, (Where(train, numbers), Where(test, others)))
    images = _all_images(kind.shape) if augment else None
    return replace(write(out, kind, mazes, held_out, images, progress=progress), dropped=dropped)


def generate(
    out: Path,
    train: int,
    test: int,
    wishes: Wishes,
    *,
    seed: int,
    augment: bool = False,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder from generated mazes.

    No test maze is a training maze up to symmetry: such a one is passed over. All depends on the wishes and the
    seed alone, and more mazes begin with the same ones.

    Args:
      out: the folder to be; must not exist.
      train, test: how many mazes; 0 for no test split.
      wishes, seed, workers: as for `maze_generator.generate`.
      augment: each training maze becomes a group with all its images.
      progress: told after each maze: how many are made, of how many.

    Raises:
      DataError: numbers out of range, not so many mazes, an `out` that exists, a full disk.
    """
    kind, total = Maze(wishes.shape), train + test

    def make(count: int, stream: int) -> Pairs:
        return _generated(count, wishes, 2 * seed + stream, workers, counting(progress, stream * train, total))

    mazes, held_out = generate_apart(kind, make, train, test) if test else (make(train, 0), None)
    return write(out, kind, mazes, held_out, _all_images(kind.shape) if augment else None)


def generate_table(
    out: Path,
    count: int,
    wishes: Wishes,
    *,
    seed: int,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> tuple[()]:
    """Writes generated mazes as a CSV file, with the steps of a shortest path as their rating.

    Returns:
      No lines: all is as it was asked for.
    """
    mazes = _generated(count, wishes, 2 * seed, workers, counting(progress, 0, count))
    lengths = (mazes.labels == maze.PATH).sum(axis=1) + 1
    write_table(out, Maze(wishes.shape), mazes, f"trm_jax seed {seed}", lengths.tolist())
    return ()


def _generated(count: int, wishes: Wishes, seed: int, workers: int, progress: Callable[[int], None]) -> Pairs:
    return Pairs(
        *maze_generator.generate(
            count,
            wishes.shape,
            seed,
            min_length=wishes.min_length,
            perfect=wishes.perfect,
            workers=workers,
            progress=progress,
        )
    )


def _all_images(shape: Shape) -> Images:
    """The maze, then all its other images, in the order of `dihedral`."""
    square = shape[0] == shape[1]
    cells = np.arange(shape[0] * shape[1]).reshape(shape)
    maps = (
        dihedral_indices(shape)
        if square
        else np.stack([m.ravel() for m in (cells, cells[::-1, ::-1], cells[:, ::-1], cells[::-1])])
    )

    def images(group: int, pair: Pairs) -> Pairs:
        return different(Pairs(pair.inputs[0][maps], pair.labels[0][maps]))

    return images
