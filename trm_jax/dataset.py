"""Puzzles from files, and batches from puzzles.

A `PuzzleSet` is arrays of tokens, grouped as in the public dataset format: examples belong to puzzles (one task under
one augmentation), puzzles to groups (one task). Training visits each group once an epoch, and one puzzle of it. All
randomness is counter-based: a batch depends on the seed and on its `Position` alone.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import DataConfig, Experiment
from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku, sudoku_search, table
from trm_jax.puzzles.kind import Kind, cells_of, kind_of

Tokens = NDArray[np.integer[Any]]
# (inputs, labels, generator) -> both under the same random symmetry, drawn row by row
Augment = Callable[[Tokens, Tokens, np.random.Generator], tuple[Tokens, Tokens]]

IGNORE = -100


@dataclass(frozen=True)
class PuzzleSet:
    """Examples of one split.

    inputs, labels: tokens [N, S], 0 is padding (in labels: not predicted).
    puzzle_ids: of each example, int32 [N].
    puzzle_starts: example at which each puzzle starts, and N at the end.
    group_starts: puzzle at which each group starts, and the number of puzzles at the end.
    """

    inputs: Tokens
    labels: Tokens
    puzzle_ids: NDArray[np.int32]
    puzzle_starts: NDArray[np.int64]
    group_starts: NDArray[np.int64]
    vocab_size: int
    num_puzzles: int

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def seq_len(self) -> int:
        """S, cells of a puzzle."""
        return int(self.inputs.shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sizes and of up to 4,096 examples; tells whether a run goes on with its own data."""
        sizes = self.inputs.shape, self.vocab_size, self.num_puzzles, len(self.puzzle_starts), len(self.group_starts)
        digest = sha256(repr(sizes).encode())
        for array in (self.inputs, self.labels, self.puzzle_ids, self.puzzle_starts, self.group_starts):
            sample = np.asarray(array[:: -(-len(array) // 4_096) or 1])
            digest.update(sample.astype(np.int64).tobytes())
        return digest.hexdigest()


class Arrays(NamedTuple):
    """A batch on the host: inputs, labels [B, S] int32 (labels: IGNORE where not predicted), puzzle_ids [B] int32."""

    inputs: NDArray[np.int32]
    labels: NDArray[np.int32]
    puzzle_ids: NDArray[np.int32]


@dataclass(frozen=True)
class Position:
    """Where the next batch starts: so many batches were drawn, and it takes `offset` of `epoch`'s order."""

    batch: int = 0
    epoch: int = 0
    offset: int = 0


def from_pairs(inputs: Tokens, labels: Tokens, vocab_size: int) -> PuzzleSet:
    """A set in which every example is a puzzle and a group of its own, all with puzzle id 0."""
    count = len(inputs)
    starts = np.arange(count + 1, dtype=np.int64)
    return PuzzleSet(inputs, labels, np.zeros(count, np.int32), starts, starts, vocab_size, 1)


def load(config: DataConfig, split: str, seed: int) -> PuzzleSet:
    """The puzzles of a split ("train" or "test"), from where the configuration says.

    Args:
      config: paths end in .csv or .csv.gz, name a folder in the public dataset format, or are "generated".
      split: which; of a dataset folder, the subfolder of that name.
      seed: of generated puzzles. Both splits of one seed share no solution.

    Raises:
      DataError: names file, row and column, or array.
    """
    source = config.train if split == "train" else config.test
    if not source:
        raise DataError(f"config.data.{split} names no puzzles: give a CSV file or a dataset folder")
    if source == "generated":
        return _generated(config, split, seed)
    limit = config.test_puzzles if split == "test" else 0
    path = Path(source)
    if path.is_dir():
        return read_folder(path, split, limit)
    return read_csv(path, config.puzzle, limit)


def load_named(experiment: Experiment, source: str, split: str, limit: int) -> PuzzleSet:
    """The puzzles for evaluating an experiment: `source`, or where that is empty the experiment's own held-out ones.

    Args:
      experiment: tells the kind of puzzle, and the seed of generated ones.
      source: a CSV file, a dataset folder, or "".
      split: of a dataset folder.
      limit: at most so many; 0: all.
    """
    data = experiment.data
    if not source:
        if not data.test:
            raise DataError("the experiment has no held-out puzzles of its own: name a CSV file or a dataset folder")
        if data.test == "generated":
            # Which solutions are held out depends on how many puzzles were asked for while training.
            puzzles = load(data, "test", experiment.train.seed)
            return _first(puzzles, limit) if limit else puzzles
        return load(replace(data, test_puzzles=limit or data.test_puzzles), "test", experiment.train.seed)
    path = Path(source)
    return read_folder(path, split, limit) if path.is_dir() else read_csv(path, data.puzzle, limit)


def read_csv(path: Path, puzzle: str, limit: int = 0) -> PuzzleSet:
    """Reads the columns question and answer of a CSV file, plain or gzipped; every row is checked.

    Raises:
      DataError: names file, row and column; or the kind of puzzle, if it cannot be read from CSV.
    """
    if puzzle == "tokens":
        raise DataError(f"{path}: CSV files hold Sudokus or mazes: set config.data.puzzle to 'sudoku' or 'maze'")
    kind: Kind | None = None

    def parse(text: str) -> NDArray[np.int8]:
        # The first puzzle sets the size for all that follow.
        nonlocal kind
        kind = kind or kind_of(puzzle, cells_of(puzzle, text))
        return kind.parse(text).astype(np.int8)

    def check(question: Tokens, answer: Tokens) -> None:
        assert kind is not None
        kind.check_pair(question, answer)

    questions, answers = table.read_pairs(path, parse, check, limit or None)
    return from_pairs(questions, answers, kind_of(puzzle, questions.shape[1]).vocab_size)


def read_folder(path: Path, split: str, limit: int = 0) -> PuzzleSet:
    """Reads one split of a dataset in the public on-disk format, memory-mapped, and checks it against dataset.json.

    Raises:
      DataError: names the file and what is wrong with it.
    """
    folder = path / split
    try:
        about = json.loads((folder / "dataset.json").read_text())
        seq_len, vocab_size = int(about["seq_len"]), int(about["vocab_size"])
        num_puzzles, sets = int(about["num_puzzle_identifiers"]), list(about["sets"])
        ignored = about["ignore_label_id"]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{folder / 'dataset.json'}: not readable as a dataset's description: {error!r}") from None
    if seq_len < 1:
        raise DataError(f"{folder / 'dataset.json'}: seq_len is {seq_len}: a puzzle has at least 1 cell")
    parts = [_read_set(folder, str(name), seq_len, vocab_size, num_puzzles) for name in sets]
    if not parts:
        raise DataError(f"{folder / 'dataset.json'}: names no sets")
    if ignored not in (0, None):
        raise DataError(f"{folder / 'dataset.json'}: ignore_label_id is {ignored}: only 0 and null are known")
    inputs, labels, ids, puzzles, groups = parts[0] if len(parts) == 1 else _joined(parts)
    if ignored is None and (labels == 0).any():
        raise DataError(f"{folder / 'dataset.json'}: ignore_label_id is null, but labels of 0 cannot be learnt")
    per_example = np.repeat(ids, np.diff(puzzles)).astype(np.int32)
    whole = PuzzleSet(inputs, labels, per_example, puzzles, groups, vocab_size, num_puzzles)
    return _first(whole, limit) if limit else whole


def augmentation(config: DataConfig, seq_len: int) -> Augment | None:
    """The random symmetries of the configured puzzle, or None where it asks for none."""
    return kind_of(config.puzzle, seq_len).augment if config.augment else None


class Sampler:
    """Endless training batches; `position` can be kept and set, and says all that the future depends on."""

    def __init__(self, puzzles: PuzzleSet, batch_size: int, seed: int, augment: Augment | None = None) -> None:
        self._puzzles, self._batch_size, self._seed, self._augment = puzzles, batch_size, seed, augment
        self.position = Position()
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __next__(self) -> Arrays:
        batch, epoch, offset = self.position.batch, self.position.epoch, self.position.offset
        taken: list[NDArray[np.int64]] = []
        missing = self._batch_size
        while missing:
            order = self._epoch(epoch)
            piece = order[offset : offset + missing]
            taken.append(piece)
            missing -= len(piece)
            offset += len(piece)
            if offset == len(order):
                epoch, offset = epoch + 1, 0
        rows = np.concatenate(taken)
        self.position = Position(batch + 1, epoch, offset)
        inputs, labels = np.asarray(self._puzzles.inputs[rows]), np.asarray(self._puzzles.labels[rows])
        if self._augment is not None:
            inputs, labels = self._augment(inputs, labels, self._generator(1, batch))
        return _collate(inputs, labels, self._puzzles.puzzle_ids[rows])

    def __iter__(self) -> Iterator[Arrays]:
        return self

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        """The examples of an epoch, in order: groups shuffled, one puzzle of each drawn, its examples shuffled."""
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, self._shuffled(self._generator(0, epoch))
        return self._order[1]

    def _shuffled(self, rng: np.random.Generator) -> NDArray[np.int64]:
        groups, puzzles = self._puzzles.group_starts, self._puzzles.puzzle_starts
        shuffled = rng.permutation(len(groups) - 1)
        drawn = rng.integers(groups[shuffled], groups[shuffled + 1])
        first, sizes = puzzles[drawn], puzzles[drawn + 1] - puzzles[drawn]
        if (sizes == 1).all():
            return first
        # Examples of a puzzle stay together, in random order: sort them by (place of the puzzle, random number).
        place = np.repeat(np.arange(len(drawn)), sizes)
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return (first[place] + within)[np.lexsort((rng.random(len(place)), place))]

    def _generator(self, stream: int, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self._seed, stream], counter=[0, 0, 0, counter]))


def in_order(puzzles: PuzzleSet, batch_size: int) -> Iterator[tuple[Arrays, int]]:
    """Every example once, in order, with how many rows of the batch are real; the last batch is filled up."""
    for start in range(0, len(puzzles), batch_size):
        rows = slice(start, start + batch_size)
        inputs, labels = np.asarray(puzzles.inputs[rows]), np.asarray(puzzles.labels[rows])
        filled = batch_size - len(inputs)
        batch = _collate(inputs, labels, puzzles.puzzle_ids[rows])
        padding = ((0, filled), (0, 0))
        yield (
            Arrays(
                np.pad(batch.inputs, padding),
                np.pad(batch.labels, padding, constant_values=IGNORE),
                np.pad(batch.puzzle_ids, (0, filled)),
            ),
            len(inputs),
        )


def _collate(inputs: Tokens, labels: Tokens, ids: NDArray[np.int32]) -> Arrays:
    labels = labels.astype(np.int32)
    return Arrays(inputs.astype(np.int32), np.where(labels == 0, IGNORE, labels), ids)


@lru_cache(maxsize=2)
def _generated(config: DataConfig, split: str, seed: int) -> PuzzleSet:
    """Made once in a process for each split, however many ask: larger boards take a minute. Nobody writes to a set."""
    layout = sudoku.layout_for(config.side)
    # One stream for the solutions, one for each split's puzzles.
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    if config.side == 4:
        solutions = rng.permutation(sudoku_search.all_solutions_4x4())
        held_out = len(solutions) // 5
    else:
        held_out = max(1, min(config.test_puzzles, 1_000)) if config.test == "generated" else 0
        wanted = held_out + max(1, min(config.train_puzzles, 10_000))
        solutions = np.unique(sudoku_search.random_solutions(wanted, layout, rng), axis=0)
        rng.shuffle(solutions)
    test = split == "test"
    part = solutions[:held_out] if test else solutions[held_out:]
    count = config.test_puzzles if test else config.train_puzzles
    questions, answers = sudoku_search.generate(count, layout, 2 * seed + test, solutions=part)
    return from_pairs(sudoku.encode(questions), sudoku.encode(answers), layout.vocab_size)


_Set = tuple[Tokens, Tokens, Tokens, NDArray[np.int64], NDArray[np.int64]]


def _read_set(folder: Path, name: str, seq_len: int, vocab_size: int, num_puzzles: int) -> _Set:
    if not name.isidentifier():
        raise DataError(f"{folder / 'dataset.json'}: {name!r} is no name for a set: letters, digits and _ only")
    inputs, labels, ids, puzzles, groups = (
        _read_array(folder / f"{name}__{field}.npy")
        for field in ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
    )
    for field, array in (("inputs", inputs), ("labels", labels)):
        path = folder / f"{name}__{field}.npy"
        if array.ndim != 2 or array.shape != (len(inputs), seq_len):
            raise DataError(f"{path}: shape {array.shape}, dataset.json says {seq_len} cells")
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < vocab_size:
            raise DataError(f"{path}: tokens reach from {array.min()} to {array.max()}, dataset.json says {vocab_size}")
    for field, starts, total in (
        ("puzzle_indices", puzzles, len(inputs)),
        ("group_indices", groups, puzzles.size - 1),
    ):
        signed = starts.astype(np.int64)  # the difference of unsigned numbers never falls
        if signed.ndim != 1 or len(signed) < 2 or signed[0] != 0 or signed[-1] != total or (np.diff(signed) < 1).any():
            raise DataError(f"{folder / f'{name}__{field}.npy'}: not rising from 0 to {total}")
    if ids.shape != (len(puzzles) - 1,) or not 0 <= int(ids.min()) <= int(ids.max()) < num_puzzles:
        raise DataError(f"{folder / f'{name}__puzzle_identifiers.npy'}: not one of {num_puzzles} ids for each puzzle")
    return inputs, labels, ids, puzzles.astype(np.int64), groups.astype(np.int64)


def _read_array(path: Path) -> Tokens:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy lets through what its tokenizer and mmap raise on a garbled header
        raise DataError(f"{path}: not readable as an .npy array: {error!r}") from None
    if array.dtype.kind not in "iu":
        raise DataError(f"{path}: holds {array.dtype}, expected integers")
    return array


def _first(puzzles: PuzzleSet, limit: int) -> PuzzleSet:
    """The first `limit` examples, at most as many as there are, and the puzzles and groups that they belong to."""
    limit = min(limit, len(puzzles))
    puzzle_starts, group_starts = puzzles.puzzle_starts, puzzles.group_starts
    kept = np.searchsorted(puzzle_starts, limit)  # as many puzzles start before the limit
    return replace(
        puzzles,
        inputs=puzzles.inputs[:limit],
        labels=puzzles.labels[:limit],
        puzzle_ids=puzzles.puzzle_ids[:limit],
        puzzle_starts=np.append(puzzle_starts[:kept], limit),
        group_starts=np.append(group_starts[: np.searchsorted(group_starts, kept)], kept),
    )


def _joined(parts: list[_Set]) -> _Set:
    inputs, labels, ids = (np.concatenate([part[i] for part in parts]) for i in range(3))
    puzzles, groups = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    for _, _, _, puzzle_starts, group_starts in parts:
        puzzles.append(puzzle_starts[1:] + puzzles[-1][-1])
        groups.append(group_starts[1:] + groups[-1][-1])
    return inputs, labels, ids, np.concatenate(puzzles), np.concatenate(groups)
