"""Sudoku datasets: from tables in the form of the public Sudoku-Extreme files, or generated."""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.builders.pairs import (
    Overlap,
    Pairs,
    Progress,
    Summary,
    Where,
    apart,
    counting,
    drawn_images,
    generate_apart,
    write,
)
from trm_jax.data.builders.rows import Choice, read
from trm_jax.data.builders.tables import write_table
from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku, sudoku_rating, sudoku_search
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.parallel import in_order
from trm_jax.puzzles.table_columns import USUAL, Columns

# Of the 288 full grids of side 4, so many are for the test.
_TEST_GRIDS = 57
_MOST_NEIGHBOURS = 1_000
# How many rows of a table are looked at for a second solution, how far into each, and for how long.
_PROVED, _DEAD_ENDS, _PROOFS_SECONDS = 1_000, 1_000, 10.0


class Wishes(NamedTuple):
    """What generated Sudokus are like.

    box: rows x columns of a box, such as "3x3".
    clues: (low, high), between which their number is drawn; None: as many as suit the side.
    minimal: no clue can go without a second solution.
    min_rating: dead ends that a solver meets at least; None: any.
    """

    box: str = "3x3"
    clues: tuple[int, int] | None = None
    minimal: bool = False
    min_rating: int | None = None


def build(
    out: Path,
    train: Path,
    test: Path | None,
    *,
    box: str = "",
    legend: str = "",
    columns: Columns = USUAL,
    choice: Choice | None = None,
    neighbours: int = 0,
    augmentations: int = 0,
    seed: int = 0,
    overlap: Overlap = "refuse",
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder from tables.

    Args:
      out: the folder to be; must not exist.
      train, test: the tables; without the second there is no test split.
      box: rows x columns of a box; "": as the number of cells has it (`sudoku.layout_of_length`).
      legend: the blank, then the digits, where these are others (`sudoku.writing`).
      columns: of the question and the answer.
      choice: of training rows.
      neighbours: puzzles beside each training puzzle that have its answer and other clues (`sudoku_rating.neighbours`);
        none of them is a test puzzle up to symmetry, whatever `overlap` says.
      augmentations: images of each training puzzle, neighbours too.
      seed: of the neighbours and the images.
      overlap: what to do where a training puzzle is a test puzzle up to symmetry (`pairs.apart`).
      workers: processes that look for neighbours.
      progress: told after each group: how many are done, of how many.

    Raises:
      DataError: names file, row and column; an overlap; an `out` that exists; a full disk.
    """
    puzzle = json.dumps({"kind": "sudoku"} | ({"box": box} if box else {}) | ({"legend": legend} if legend else {}))
    kind, puzzles, numbers = read(train, puzzle, choice=choice, columns=columns)
    dropped, held_out = 0, None
    if test is not None:
        other, held_out, others = read(test, puzzle, columns=columns)
        if other.cells != kind.cells:
            raise DataError(f"{test}: {other.cells} cells, but {train} has {kind.cells}: build them apart")
        puzzles, dropped = apart(kind, puzzles, held_out, overlap, (Where(train, numbers), Where(test, others)))
    notes = [*_ambiguous(kind, puzzles, str(train)), *(_ambiguous(kind, held_out, str(test)) if held_out else ())]
    images = drawn_images(kind, augmentations, seed) if augmentations else None
    if neighbours:
        puzzles = _with_neighbours(kind, puzzles, held_out, neighbours, seed, workers, progress)
    summary = write(out, kind, puzzles, held_out, images, augmentations, progress)
    return replace(summary, dropped=dropped, notes=tuple(notes))


def generate(
    out: Path,
    train: int,
    test: int,
    wishes: Wishes,
    *,
    seed: int,
    augmentations: int = 0,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder from generated puzzles, each with one solution.

    No test puzzle is a training puzzle up to symmetry or has its solution: such a one is passed over. All depends on
    the wishes and the seed alone, and more puzzles begin with the same ones.

    Args:
      out: the folder to be; must not exist.
      train, test: how many puzzles; 0 for no test split.
      wishes, seed, workers: as for `sudoku_search.generate` and `sudoku_rating.generate_rated`.
      augmentations: images of each training puzzle.
      progress: told after each puzzle: how many are made, of how many.

    Raises:
      DataError: numbers out of range, not so many puzzles, an `out` that exists, a full disk.
    """
    kind, total = Sudoku(sudoku.layout_from(wishes.box)), train + test
    images = drawn_images(kind, augmentations, seed) if augmentations else None
    if wishes.min_rating is not None:
        # Rated puzzles all differ up to symmetry; the test comes first, so that training can grow beside it.
        puzzles, _ = _rated(total, kind.layout, wishes, seed, workers, counting(progress, 0, total))
        held_out = puzzles.take(slice(test)) if test else None
        return write(out, kind, puzzles.take(slice(test, None)), held_out, images, augmentations)
    parts = _parts(kind.layout, seed) if test else (None, None)

    def make(count: int, stream: int) -> Pairs:
        told = counting(progress, stream * train, total)
        return _generated(count, kind.layout, wishes, 2 * seed + stream, parts[stream], workers, told)

    puzzles, held_out = generate_apart(kind, make, train, test) if test else (make(train, 0), None)
    notes = _beyond(wishes, puzzles, *([held_out] if held_out else []))
    return replace(write(out, kind, puzzles, held_out, images, augmentations), notes=notes)


def generate_table(
    out: Path,
    count: int,
    wishes: Wishes,
    *,
    seed: int,
    workers: int = 1,
    progress: Progress = lambda done, total: None,
) -> tuple[str, ...]:
    """Writes generated puzzles as a CSV file, with their rating; of larger boards than 16x16, which is left empty.

    Returns:
      Lines to be told of what is not as it was asked for.
    """
    kind = Sudoku(sudoku.layout_from(wishes.box))
    told = counting(progress, 0, count)
    ratings: Sequence[int | None]
    if wishes.min_rating is not None:
        puzzles, ratings = _rated(count, kind.layout, wishes, seed, workers, told)
    else:
        puzzles = _generated(count, kind.layout, wishes, 2 * seed, None, workers, told)
        # A proof for a larger board may take hours.
        ratings = [None] * count
        if kind.layout.side <= sudoku_rating.MAX_RATED_SIDE:
            ratings = [sudoku_rating.rating(question, kind.layout) for question in sudoku.decode(puzzles.inputs)]
    write_table(out, kind, puzzles, f"trm_jax seed {seed}", ratings)
    return _beyond(wishes, puzzles)


def _with_neighbours(
    kind: Kind, puzzles: Pairs, held_out: Pairs | None, count: int, seed: int, workers: int, progress: Progress
) -> Pairs:
    """Each puzzle with its neighbours behind it, but for those that are test puzzles.

    Raises DataError: a number out of range, or a board whose puzzles cannot be rated.
    """
    assert isinstance(kind, Sudoku)
    if count > _MOST_NEIGHBOURS:
        raise DataError(f"{count} neighbours: give 0 to {_MOST_NEIGHBOURS}")
    if kind.layout.side > sudoku_rating.MAX_RATED_SIDE:
        raise DataError(
            f"neighbours are known by their rating, up to side {sudoku_rating.MAX_RATED_SIDE}: leave them out"
        )
    total = len(puzzles.inputs)
    groups: list[Pairs] = []
    rows = zip(range(total), *map(sudoku.decode, puzzles), strict=True)
    with closing(in_order(partial(_neighbours, kind.layout, count, seed), rows, workers)) as near:
        for questions, answers in near:
            groups.append(_encoded(questions, answers))
            progress(len(groups), total)
    found = Pairs(*map(np.concatenate, zip(*groups, strict=True)))
    kept = np.ones(len(found.inputs), np.bool_)
    if held_out is not None:
        kept[[i for i, _ in kind.overlaps(found.inputs, held_out.inputs)]] = False
    # What the table has is for `overlap` to judge.
    kept[np.cumsum([0, *(len(group.inputs) for group in groups[:-1])])] = True
    return found.take(kept)


def _neighbours(
    layout: sudoku.Layout, count: int, seed: int, row: tuple[int, NDArray[np.int8], NDArray[np.int8]]
) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """A puzzle and its neighbours, and the answer of each."""
    number, puzzle, answer = row
    rng = np.random.Generator(np.random.Philox(key=[seed, 4], counter=[0, 0, 0, number]))
    found = np.concatenate([puzzle[None], sudoku_rating.neighbours(puzzle, answer, count, layout, rng)])
    return found, np.repeat(answer[None], len(found), axis=0)


def _beyond(wishes: Wishes, *parts: Pairs) -> tuple[str, ...]:
    """A line where puzzles kept more clues than were asked for."""
    if wishes.clues is None:
        return ()
    counts = np.concatenate([(sudoku.decode(part.inputs) > 0).sum(axis=1) for part in parts])
    more, high = int((counts > wishes.clues[1]).sum()), wishes.clues[1]
    if not more:
        return ()
    return (
        f"{more} of {len(counts)} puzzles have more than {high} clues, since with fewer they had several solutions",
    )


def _ambiguous(kind: Kind, puzzles: Pairs, where: str) -> tuple[str, ...]:
    """A line where rows of a table turn out to have several solutions; of many rows only some are looked at."""
    assert isinstance(kind, Sudoku)
    count, began = len(puzzles.inputs), time.monotonic()
    rows = np.unique(np.linspace(0, count - 1, min(_PROVED, count)).astype(np.int64))
    looked, several = 0, 0
    for question in sudoku.decode(np.asarray(puzzles.inputs[rows])):
        result = sudoku_search.solve(question, kind.layout, limit=2, max_backtracks=_DEAD_ENDS)
        looked, several = looked + 1, several + (len(result.solutions) > 1)
        if time.monotonic() - began > _PROOFS_SECONDS:
            break
    if not several:
        return ()
    return (
        f"{where}: {several} of {looked} puzzles looked at have several solutions, of which the answer is one: what is "
        "right may count as wrong; `trm data verify` names them",
    )


def _parts(layout: sudoku.Layout, seed: int) -> tuple[NDArray[np.int8] | None, NDArray[np.int8] | None]:
    """The full grids from which training and test puzzles are made; None for any."""
    if layout != sudoku.layout_for(4):
        return None, None
    # So few that both would have all of them.
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    grids = rng.permutation(sudoku_search.all_solutions_4x4())
    return grids[_TEST_GRIDS:], grids[:_TEST_GRIDS]


def _generated(
    count: int,
    layout: sudoku.Layout,
    wishes: Wishes,
    seed: int,
    solutions: NDArray[np.int8] | None,
    workers: int,
    progress: Callable[[int], None],
) -> Pairs:
    return _encoded(
        *sudoku_search.generate(
            count,
            layout,
            seed,
            clues=wishes.clues,
            minimal=wishes.minimal,
            solutions=solutions,
            workers=workers,
            progress=progress,
        )
    )


def _rated(
    count: int, layout: sudoku.Layout, wishes: Wishes, seed: int, workers: int, progress: Callable[[int], None]
) -> tuple[Pairs, list[int]]:
    """Puzzles and their ratings."""
    if wishes.clues is not None:
        raise DataError("puzzles of a rating have no clue to spare, so their number cannot be asked for: give either")
    found = sudoku_rating.generate_rated(
        count, layout, seed, min_rating=wishes.min_rating or 0, workers=workers, progress=progress
    )
    return _encoded(found.puzzles, found.answers), found.ratings.tolist()


def _encoded(questions: NDArray[np.int8], answers: NDArray[np.int8]) -> Pairs:
    return Pairs(sudoku.encode(questions), sudoku.encode(answers))
