"""Dataset folders written: all of one or nothing. The format is that of folder.py, which reads them."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.data.disk import remove, remove_leftovers, sync
from trm_jax.data.folder import BLANK
from trm_jax.data.stacked import Tokens
from trm_jax.errors import DataError


class Writer:
    """Writes a dataset folder that appears complete or not at all.

        with Writer(out, seq_len=81, vocab_size=11, puzzle=None) as writer:
            writer.split("train").add_singles(inputs, labels)
            writer.finish(identifiers=["<blank>"])

    Arrays stream to a hidden folder beside `out`, which takes its name as the last act of `finish`. A block left
    without `finish` is finished with the blank identifier alone; one left by an exception leaves nothing. What a killed
    process leaves behind has no dataset.json, and the next build of that name removes it.

    Args:
      out: the dataset folder to be; must not exist.
      seq_len: S, cells of a puzzle.
      vocab_size: tokens are below it; up to 256 they take a byte each.
      puzzle: the kind of puzzle, as JSON, for puzzle.json; None writes none.

    Raises:
      DataError: `out` exists, another writer of this process builds it, or the disk is full or not writable.
      ValueError: a caller's fault: tokens, ids or shapes that the format cannot hold.
    """

    _building: ClassVar[set[Path]] = set()

    def __init__(self, out: Path, seq_len: int, vocab_size: int, *, puzzle: Mapping[str, Any] | None) -> None:
        if os.path.lexists(out):
            raise DataError(f"{out}: exists already: remove it or give another name")
        self._out, self._seq_len, self._vocab_size, self._puzzle = out.absolute(), seq_len, vocab_size, puzzle
        self._folder = self._out.parent / f".{out.name}.building-{os.getpid()}"
        self._splits: dict[str, SplitWriter] = {}
        self._open = False

    def __enter__(self) -> Self:
        if self._folder in Writer._building:
            raise DataError(f"{self._out}: is being built already: wait for it or give another name")
        with _writing(self._out):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self._folder)
            self._folder.mkdir()
        Writer._building.add(self._folder)
        self._open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._open:
                self.finish()
        finally:
            for split in self._splits.values():
                split.abandon()
            if self._open:
                remove(self._folder, ignore_errors=True)
                self._closed()

    def split(self, name: str) -> "SplitWriter":
        """The writer of a split, begun if this is the first time."""
        if not self._open or not name.isidentifier():
            raise ValueError(f"no split {name!r} can be written: it is no name, or the folder is finished or not begun")
        if name not in self._splits:
            with _writing(self._out):
                (self._folder / name).mkdir()
                self._splits[name] = SplitWriter(self._out, self._folder / name, self._seq_len, self._vocab_size)
        return self._splits[name]

    def finish(
        self,
        identifiers: Sequence[str] = (BLANK,),
        test_puzzles: Mapping[str, Any] | None = None,
        stress: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes what is missing, sees to it that all of it is on the disk, and gives the folder its name.

        Args:
          identifiers: the name of each puzzle id.
          test_puzzles: the tasks of the test split, for test_puzzles.json; None writes none.
          stress: what was done to the puzzles, for stress.json; None writes none.

        Raises:
          DataError: a split without puzzles, a full disk, or a folder of that name that has come up meanwhile.
        """
        if not self._open or not self._splits:
            raise ValueError(f"{self._out}: no split was written, or the folder is finished already")
        descriptions = {name: split.close(len(identifiers)) for name, split in self._splits.items()}
        jsons = {"identifiers": list(identifiers), "test_puzzles": test_puzzles}
        jsons |= {"puzzle": self._puzzle, "stress": stress}
        with _writing(self._out):
            for name, value in jsons.items():
                if value is not None:
                    _write_json(self._folder / f"{name}.json", value)
            # Without dataset.json nothing of the folder can be loaded.
            for name, description in descriptions.items():
                _write_json(self._folder / name / "dataset.json", description)
                sync(self._folder / name)
            sync(self._folder)
            self._folder.rename(self._out)
            sync(self._folder.parent)
        self._closed()

    def _closed(self) -> None:
        self._open = False
        Writer._building.discard(self._folder)


class SplitWriter:
    """Appends the groups of one split; `Writer.split` gives it."""

    def __init__(self, out: Path, folder: Path, seq_len: int, vocab_size: int) -> None:
        self._out, self._folder, self._seq_len, self._vocab_size = out, folder, seq_len, vocab_size
        self._dtype = np.dtype(np.uint8 if vocab_size <= 256 else "<i4")
        self._files: dict[str, BinaryIO] = {}
        self._sizes: list[NDArray[np.int64]] = []  # examples of each puzzle
        self._ids: list[NDArray[np.int64]] = []
        self._group_sizes: list[NDArray[np.int64]] = []  # puzzles of each group
        self._examples = 0
        for field in ("inputs", "labels"):
            self._files[field] = (folder / f"all__{field}.npy").open("wb")
            self._write_header(field)

    def add(self, inputs: Tokens, labels: Tokens, examples_per_puzzle: ArrayLike, puzzle_ids: ArrayLike) -> None:
        """Appends one group of P puzzles.

        Args:
          inputs, labels: tokens [E, S] of the puzzles' examples, one puzzle after the other.
          examples_per_puzzle: [P], at least 1 each, E together.
          puzzle_ids: [P].
        """
        sizes, ids = np.asarray(examples_per_puzzle), np.asarray(puzzle_ids)
        self._append(inputs, labels, sizes, ids, np.array([sizes.size]))

    def add_singles(self, inputs: Tokens, labels: Tokens) -> None:
        """Appends N groups [N, S], each a puzzle of one example with id 0."""
        ones = np.ones(len(inputs), np.int32)
        self._append(inputs, labels, ones, np.zeros_like(ones), ones)

    def close(self, num_puzzles: int) -> dict[str, Any]:
        """Completes the arrays; gives the content of dataset.json. DataError for a split without puzzles."""
        if not self._examples:
            raise DataError(f"{self._out}: the split {self._folder.name!r} has no puzzles")
        ids, sizes, groups = (np.concatenate(each) for each in (self._ids, self._sizes, self._group_sizes))
        if not 0 <= ids.min() <= ids.max() < num_puzzles:
            raise ValueError(f"puzzle ids reach from {ids.min()} to {ids.max()}, but there are {num_puzzles} names")
        indices: dict[str, Tokens] = {
            "puzzle_identifiers": ids,
            "puzzle_indices": _starts(sizes),
            "group_indices": _starts(groups),
        }
        with _writing(self._out):
            for field, file in self._files.items():
                file.seek(0)
                self._write_header(field)
                file.close()
            for field, array in indices.items():
                np.save(self._folder / f"all__{field}.npy", array.astype("<i4"))
            for field in (*self._files, *indices):
                sync(self._folder / f"all__{field}.npy")
        return {
            "seq_len": self._seq_len,
            "vocab_size": self._vocab_size,
            "pad_id": 0,
            "ignore_label_id": 0,
            "blank_identifier_id": 0,
            "num_puzzle_identifiers": num_puzzles,
            "total_groups": len(groups),
            "mean_puzzle_examples": self._examples / len(sizes),
            "total_puzzles": len(sizes),
            "sets": ["all"],
        }

    def abandon(self) -> None:
        """Closes the files, whatever still waits to be written."""
        for file in self._files.values():
            with suppress(OSError):
                file.close()

    def _write_header(self, field: str) -> None:
        """As many bytes however many examples there are, so that it can be written again over itself."""
        about = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._examples, self._seq_len)}
        np.lib.format.write_array_header_1_0(self._files[field], about)

    def _append(self, inputs: Tokens, labels: Tokens, sizes: Tokens, ids: Tokens, group_sizes: Tokens) -> None:
        examples = len(inputs)
        if not examples == int(sizes.sum()) == len(labels) or sizes.ndim != 1 or sizes.shape != ids.shape:
            counts = f"{len(labels)} labels, {sizes.sum()} examples of puzzles {sizes.shape}, ids {ids.shape}"
            raise ValueError(f"{examples} inputs do not go with {counts}")
        if sizes.size and sizes.min() < 1:
            raise ValueError("a puzzle without examples")
        if not examples:
            return
        for tokens in (inputs, labels):
            if tokens.shape != (examples, self._seq_len) or tokens.dtype.kind not in "iu":
                raise ValueError(f"tokens are {tokens.dtype} {tokens.shape}, expected integers {self._seq_len} wide")
            low, high = int(tokens.min()), int(tokens.max())
            if not 0 <= low <= high < self._vocab_size:
                raise ValueError(f"tokens reach from {low} to {high}, the vocabulary has {self._vocab_size}")
        if self._examples + examples >= 1 << 31:
            raise DataError(f"{self._out}: more examples than the format's 32-bit indices can count: build fewer")
        with _writing(self._out):
            for field, tokens in (("inputs", inputs), ("labels", labels)):
                self._files[field].write(np.ascontiguousarray(tokens, self._dtype).data)
        self._examples += examples
        for kept, array in ((self._sizes, sizes), (self._ids, ids), (self._group_sizes, group_sizes)):
            kept.append(array.astype(np.int64))


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}): make room there or give another place") from None


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))
    sync(path)
