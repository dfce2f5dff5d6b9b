"""Puzzles as arrays of tokens, wherever they come from.

A `PuzzleSet` is grouped as in the public dataset format: examples belong to puzzles (one task under one augmentation),
puzzles to groups (one task). In which order training visits them is told by `order`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.forms import NO_FORMS, Forms
from trm_jax.data.stacked import Stacked
from trm_jax.errors import DataError
from trm_jax.puzzles.symmetry import Tokens

# Rows that are looked at together.
_LOOK = 256


@dataclass(frozen=True)
class Origin:
    """A dataset folder that a set comes from, in which puzzle id i > 0 is id i + shift of the set; 0 stays 0."""

    path: Path
    shift: int
    num_puzzles: int


@dataclass(frozen=True)
class PuzzleSet:
    """Examples of one split, of one dataset or of several.

    inputs, labels: tokens [N, S], 0 is padding (in labels: not predicted).
    puzzle_ids: of each example, int32 [N].
    puzzle_starts: example at which each puzzle starts, and N at the end.
    group_starts: puzzle at which each group starts, and the number of puzzles at the end.
    puzzle: description of the kind of puzzle (puzzles/kinds/), "" where the files do not tell.
    rows: of each example what people call it, int64 [N]: of a table, the line at which it begins (`row_name`); None:
      counted from 1.
    files: of a set out of several, the name of each and its number of examples.
    origins: the folders, where it comes from folders.
    forms: in which each puzzle of the folders stands here, each with an id of its own (`forms.Forms`).
    faulty: whether questions break the rules of their kind, as they are meant to (`stress_folders.save`).
    """

    inputs: Tokens | Stacked
    labels: Tokens | Stacked
    puzzle_ids: NDArray[np.int32]
    puzzle_starts: NDArray[np.int64]
    group_starts: NDArray[np.int64]
    vocab_size: int
    num_puzzles: int
    puzzle: str = ""
    rows: NDArray[np.int64] | None = None
    files: tuple[tuple[str, int], ...] = ()
    origins: tuple[Origin, ...] = ()
    forms: Forms = NO_FORMS
    faulty: bool = False

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def seq_len(self) -> int:
        """S, cells of a puzzle."""
        return int(self.inputs.shape[1])

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Of each example, the number of its group (its task): int64 [N]."""
        group_of_puzzle = np.repeat(np.arange(len(self.group_starts) - 1), np.diff(self.group_starts))
        return np.repeat(group_of_puzzle, np.diff(self.puzzle_starts))

    def has_labels(self) -> bool:
        """Whether any cell of any example is labelled; reads no further than the first that is."""
        return any(np.asarray(self.labels[row : row + _LOOK]).any() for row in range(0, len(self), _LOOK))

    def row(self, example: int) -> int:
        """What people call an example, by its index: the line of its table, or else its number, counted from 1."""
        return example + 1 if self.rows is None else int(self.rows[example])

    def row_name(self, example: int) -> str:
        """The same in words, such as "row 5"; of a set out of several, "row 5 of b.csv"."""
        name, first = "", 0
        for file, count in self.files:
            if first <= example < first + count:
                name = f" of {file}"
                break
            first += count
        return f"row {self.row(example)}{name}"

    def example(self, row: int, source: str) -> int:
        """The index of the example that people call by this row.

        Raises:
          DataError: there is none, or the set is made of several, each with rows of its own.
        """
        if self.files:
            raise DataError(f"{source}: rows are counted in each of them: name one")
        if self.rows is None:
            if not 1 <= row <= len(self):
                raise DataError(f"{source}: no row {row}: there are {len(self)}, counted from 1")
            return row - 1
        at = int(np.searchsorted(self.rows, row))
        if at == len(self):
            raise DataError(
                f"{source}: no row {row}: the last is {self.rows[-1]}, as the lines of the file are counted"
            )
        if self.rows[at] != row:
            raise DataError(
                f"{source}: row {row}, as lines are counted, holds no puzzle; the next is row {self.rows[at]}"
            )
        return at

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sizes and of up to 4,096 examples; tells whether a run goes on with its own data."""
        sizes = self.inputs.shape, self.vocab_size, self.num_puzzles, len(self.puzzle_starts), len(self.group_starts)
        digest = sha256(repr(sizes).encode())
        for array in (self.inputs, self.labels, self.puzzle_ids, self.puzzle_starts, self.group_starts):
            sample = np.asarray(array[np.arange(0, len(array), -(-len(array) // 4_096) or 1)])
            digest.update(sample.astype(np.int64).tobytes())
        return digest.hexdigest()


def from_pairs(
    inputs: Tokens, labels: Tokens, vocab_size: int, puzzle: str = "", rows: NDArray[np.int64] | None = None
) -> PuzzleSet:
    """A set in which every example is a puzzle and a group of its own, all with puzzle id 0."""
    count = len(inputs)
    starts = np.arange(count + 1, dtype=np.int64)
    return PuzzleSet(inputs, labels, np.zeros(count, np.int32), starts, starts, vocab_size, 1, puzzle, rows)


def join(parts: list[PuzzleSet], names: Sequence[str]) -> PuzzleSet:
    """One set out of several. Puzzle id 0, the blank one, is common to all; the others keep apart.

    Args:
      parts: sets of one kind of puzzle at one size.
      names: of each.

    Raises:
      DataError: they differ in cells, tokens or kind.
    """
    for what, values in (
        ("numbers of cells", {part.seq_len for part in parts}),
        ("numbers of tokens", {part.vocab_size for part in parts}),
        ("kinds of puzzle", {part.puzzle for part in parts if part.puzzle}),
    ):
        if len(values) > 1:
            raise DataError(
                f"{','.join(names)}: different {what} ({', '.join(map(str, sorted(values)))}): train on them apart"
            )
    ids, puzzles, groups, origins = [], [np.zeros(1, np.int64)], [np.zeros(1, np.int64)], []
    shift = 0
    for part in parts:
        ids.append(np.where(part.puzzle_ids > 0, part.puzzle_ids + shift, 0).astype(np.int32))
        puzzles.append(part.puzzle_starts[1:] + puzzles[-1][-1])
        groups.append(part.group_starts[1:] + groups[-1][-1])
        origins += [replace(origin, shift=origin.shift + shift) for origin in part.origins]
        shift += part.num_puzzles - 1
    return PuzzleSet(
        Stacked([part.inputs for part in parts]),
        Stacked([part.labels for part in parts]),
        np.concatenate(ids),
        np.concatenate(puzzles),
        np.concatenate(groups),
        parts[0].vocab_size,
        shift + 1,
        next((part.puzzle for part in parts if part.puzzle), ""),
        np.concatenate([np.arange(1, len(part) + 1) if part.rows is None else part.rows for part in parts]),
        tuple(zip(names, map(len, parts), strict=True)),
        tuple(origins),
        faulty=any(part.faulty for part in parts),
    )


def first_examples(puzzles: PuzzleSet, limit: int) -> PuzzleSet:
    """The first `limit` examples (0, or more than there are: all), and the puzzles and groups that they belong to."""
    if not 0 < limit < len(puzzles):
        return puzzles
    puzzle_starts, group_starts = puzzles.puzzle_starts, puzzles.group_starts
    kept = np.searchsorted(puzzle_starts, limit)  # as many puzzles start before the limit
    return replace(
        puzzles,
        inputs=puzzles.inputs[:limit],
        labels=puzzles.labels[:limit],
        puzzle_ids=puzzles.puzzle_ids[:limit],
        rows=None if puzzles.rows is None else puzzles.rows[:limit],
        puzzle_starts=np.append(puzzle_starts[:kept], limit),
        group_starts=np.append(group_starts[: np.searchsorted(group_starts, kept)], kept),
    )
