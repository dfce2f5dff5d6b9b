"""Datasets of questions with one answer each: what the builders of Sudokus, mazes and users' own grids have in common.

A training puzzle is a group: the puzzle as it is, then images of it under symmetries of its kind. Test puzzles are
never augmented. All randomness is counter-based: the images of a puzzle depend on the seed and its number alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.folder_writer import Writer
from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

MOST_AUGMENTATIONS = 10_000

Overlap = Literal["refuse", "drop", "keep"]
Progress = Callable[[int, int], None]

# Where a puzzle has few images, fewer have to do.
_DRAWS = 5
# Test puzzles made for each one wanted, where training has most of them already.
_MOST_DRAWN = 8
# After so many, the share of those that training does not have is known well enough to give up.
_TELLING = 256


class Pairs(NamedTuple):
    """Questions and their answers, tokens [N, S] each."""

    inputs: Tokens
    labels: Tokens

    def take(self, rows: slice | NDArray[Any]) -> "Pairs":
        """Those of some rows: a slice, or an array of indices or of bools."""
        return Pairs(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True)
class Summary:
    """What a build made.

    groups, puzzles: of the training split; a group is a puzzle with its images.
    test: puzzles of the test split.
    dropped: training puzzles left out because a test puzzle is the same up to symmetry.
    fewer: groups with fewer images than asked for, since they have no more that differ.
    notes: lines to be told of what is not as it was asked for, or as it should be.
    """

    groups: int
    puzzles: int
    test: int
    dropped: int = 0
    fewer: int = 0
    notes: tuple[str, ...] = ()


# (number of the group, question and answer [1, S]) -> both with all images behind it, all different
Images = Callable[[int, Pairs], Pairs]


def drawn_images(kind: Kind, augmentations: int, seed: int) -> Images:
    """Up to so many images of a puzzle, under symmetries drawn evenly from those of the kind."""
    if not 0 <= augmentations <= MOST_AUGMENTATIONS:
        raise DataError(f"{augmentations} augmentations: give 0 to {MOST_AUGMENTATIONS}")
    if augmentations and not kind.has_symmetries:
        raise DataError(f"{augmentations} augmentations, but no symmetries are known: declare some with --symmetries")
    check_seed(seed)

    def images(group: int, pair: Pairs) -> Pairs:
        rng = np.random.Generator(np.random.Philox(key=[seed, 3], counter=[0, 0, 0, group]))
        found = pair
        for _ in range(_DRAWS):
            symmetries = kind.draw(rng, augmentations)
            more = Pairs(*(symmetries.apply(np.repeat(tokens, augmentations, axis=0)) for tokens in pair))
            found = different(Pairs(*(np.concatenate(each) for each in zip(found, more, strict=True))))
            if len(found.inputs) > augmentations:
                break
        return found.take(slice(augmentations + 1))

    return images


def different(pairs: Pairs) -> Pairs:
    """Each pair once, in the order of their first appearance."""
    both = np.concatenate(pairs, axis=1)
    return pairs.take(np.sort(np.unique(both, axis=0, return_index=True)[1]))


def check_seed(seed: int) -> None:
    """Raises DataError for a seed that a generator does not take."""
    if not 0 <= seed < 1 << 63:
        raise DataError(f"seed {seed}: give 0 to 2^63 - 1")


class Where(NamedTuple):
    """From which file puzzles are, and the row of each [N] (`table.read_numbered`)."""

    path: Path
    rows: NDArray[np.int64]

    def name(self, puzzle: int) -> str:
        """One of them in words, by its index."""
        return f"row {self.rows[puzzle]} of {self.path}"


def apart(kind: Kind, train: Pairs, test: Pairs, overlap: Overlap, where: tuple[Where, Where]) -> tuple[Pairs, int]:
    """The training puzzles that may stand beside these test puzzles, and how many were left out for that.

    Args:
      kind: whose symmetries count.
      train, test: the puzzles.
      overlap: what to do where a training puzzle is a test puzzle up to symmetry: refuse, drop it, or keep it.
      where: they are from, for an error.

    Raises:
      DataError: there are such puzzles and `overlap` is "refuse".
    """
    if overlap == "keep":
        return train, 0
    common = kind.overlaps(train.inputs, test.inputs)
    if common and overlap == "refuse":
        first, second = common[0]
        raise DataError(
            f"{len({i for i, _ in common})} training puzzles are test puzzles too, up to symmetry; first "
            f"{where[0].name(first)} and {where[1].name(second)}: drop them from training by --overlap drop"
        )
    kept = np.ones(len(train.inputs), np.bool_)
    kept[[i for i, _ in common]] = False
    return train.take(kept), int((~kept).sum())


def counting(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    """What tells `progress` of puzzles made behind so many others; those made in place of others do not count."""
    return lambda done: progress(min(before + done, total), total)


def generate_apart(kind: Kind, make: Callable[[int, int], Pairs], train: int, test: int) -> tuple[Pairs, Pairs]:
    """Training and test puzzles that have no puzzle up to symmetry and no answer in common.

    Args:
      kind: whose symmetries count.
      make: (how many, 0 for training or 1 for the test) -> so many puzzles; more begin with the same ones.
      train, test: how many; test puzzles that training has are passed over.

    Raises:
      DataError: not so many test puzzles turn up.
    """
    learnt = make(train, 0)
    answers = {answer.tobytes() for answer in learnt.labels}
    fresh = np.zeros(0, np.bool_)
    wanted = test
    while True:
        drawn = make(wanted, 1)
        new = drawn.take(slice(len(fresh), None))
        good = np.array([answer.tobytes() not in answers for answer in new.labels], np.bool_)
        good[[j for _, j in kind.overlaps(learnt.inputs, new.inputs)]] = False
        fresh = np.append(fresh, good)
        if fresh.sum() >= test:
            return learnt, drawn.take(np.flatnonzero(fresh)[:test])
        # Further ones are fresh less often, not more: at a rate that is too low by now there will never be enough.
        most = 2 * _MOST_DRAWN * test
        hopeless = len(fresh) >= _TELLING and fresh.sum() * most < test * len(fresh)
        if wanted > _MOST_DRAWN * test or hopeless:
            raise DataError(
                f"of {wanted} test puzzles only {fresh.sum()} are no training puzzle up to symmetry and share no "
                f"answer with one, but {test} are needed: ask for fewer training puzzles, or for larger ones"
            )
        wanted += max(wanted, 16)


def write(
    out: Path,
    kind: Kind,
    train: Pairs,
    test: Pairs | None,
    images: Images | None = None,
    augmentations: int = 0,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Writes a dataset folder.

    Args:
      out: the folder to be; must not exist.
      kind: of the puzzles.
      train, test: the puzzles; without test puzzles there is no test split.
      images: how each training puzzle becomes a group; None leaves it alone in its own.
      augmentations: how many images were asked for besides the puzzle itself.
      progress: told after each group: how many are done, of how many.

    Raises:
      DataError: no puzzles, an `out` that exists, or a full disk.
    """
    groups = puzzles = len(train.inputs)
    fewer = 0
    if not groups:
        raise DataError(f"{out}: no training puzzles are left: give more, or ask for less of them")
    with Writer(out, kind.cells, kind.vocab_size, puzzle=kind.to_dict()) as writer:
        split = writer.split("train")
        if images is None:
            split.add_singles(*train)
        else:
            puzzles = 0
            for group in range(groups):
                found = images(group, train.take(slice(group, group + 1)))
                count = len(found.inputs)
                split.add(*found, np.ones(count, np.int32), np.zeros(count, np.int32))
                puzzles += count
                fewer += count <= augmentations
                progress(group + 1, groups)
        if test is not None:
            writer.split("test").add_singles(*test)
    return Summary(groups, puzzles, 0 if test is None else len(test.inputs), fewer=fewer)
