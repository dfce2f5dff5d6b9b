"""Dataset folders in the public on-disk format: read with everything checked, written all or not at all.

A folder holds one subfolder for each split, and for both of them `identifiers.json` (the name of each puzzle id), for
ARC also `test_puzzles.json`, and if we wrote it `puzzle.json` (the kind of puzzle, for the program's own use). A split
has `dataset.json` and for each of its sets five arrays, `<set>__<field>.npy`: inputs and labels [N, S], the id of each
puzzle, the example at which each puzzle starts, and the puzzle at which each group starts, both with the end behind.

All of these lie in the folder itself: what a link in it leads to elsewhere is not read, wherever the folder came from.
"""

import json
import math
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, NamedTuple, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from trm_jax.data.disk import remove, remove_leftovers, sync
from trm_jax.errors import DataError

Tokens = NDArray[np.integer[Any]]

BLANK = "<blank>"
"""The name of puzzle id 0."""

_CHUNK_BYTES = 1 << 26
_HEADER_BYTES = 128
_LONGEST_DESCRIPTION = 1 << 20
# Several times what a million names take; as lists and texts it would be some gigabytes.
_LONGEST_JSON = 1 << 28
_WHOLE_FOLDER = ("identifiers.json", "test_puzzles.json", "puzzle.json")
# Whole numbers of any length can stand in a file, but not be printed or made a float.
_BOUND = 1 << 63


class Stacked:
    """Rows of several arrays [N_i, ...] as if they were one [N, ...]; nothing is read before it is asked for.

    A part may be a stack itself. Indexing by an integer, a slice or an array of integers gives a plain array, as NumPy
    does; dtype holds the tokens of all parts. Raises ValueError where they differ in more than their number of rows.
    """

    def __init__(self, parts: Sequence["Tokens | Stacked"]) -> None:
        shapes = [part.shape for part in parts]
        if not shapes or any(not shape or shape[1:] != shapes[0][1:] for shape in shapes):
            raise ValueError(f"arrays of shapes {shapes} do not form one stack of rows")
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        common = np.result_type(*(part.dtype for part in parts))
        # NumPy would take floats for signed and unsigned numbers of 64 bits; no token is as large.
        self.dtype: np.dtype[Any] = common if common.kind in "iu" else np.dtype(np.int64)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *shapes[0][1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: SupportsIndex | slice | ArrayLike) -> Tokens:
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            return self._taken(np.arange(first, stop, step))
        indices = np.asarray(rows)
        if indices.size == 0 and indices.ndim and not isinstance(rows, np.ndarray):
            indices = indices.astype(np.intp)
        if indices.dtype.kind not in "iu":
            raise IndexError(f"rows are chosen by integers or a slice, not by {indices.dtype}")
        if indices.size and not -len(self) <= int(indices.min()) <= int(indices.max()) < len(self):
            raise IndexError(f"a row between {indices.min()} and {indices.max()} is out of bounds for {len(self)} rows")
        indices = indices.astype(np.int64)
        return self._taken(np.where(indices < 0, indices + len(self), indices))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Tokens:
        if copy is False:
            raise ValueError("several arrays cannot become one without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def _taken(self, rows: NDArray[np.int64]) -> Tokens:
        found = np.empty((*rows.shape, *self.shape[1:]), self.dtype)
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(part_of):
            here = part_of == number
            found[here] = self._parts[number][rows[here] - self._starts[number]]
        return found


@dataclass(frozen=True)
class Split:
    """One split of a dataset folder.

    inputs, labels: tokens [N, S], memory-mapped; 0 is padding (in labels: not predicted).
    puzzle_ids: of each puzzle, int32 [puzzles].
    puzzle_starts: example at which each puzzle starts, and N at the end, int64 [puzzles + 1].
    group_starts: puzzle at which each group starts, and the number of puzzles at the end, int64 [groups + 1].
    seq_len: S; vocab_size: tokens are below it; num_puzzles: ids are below it.
    ignore_label_id: 0, or None where every label is predicted; then none is 0.
    """

    inputs: Tokens | Stacked
    labels: Tokens | Stacked
    puzzle_ids: NDArray[np.int32]
    puzzle_starts: NDArray[np.int64]
    group_starts: NDArray[np.int64]
    seq_len: int
    vocab_size: int
    num_puzzles: int
    ignore_label_id: int | None


def read(path: Path, split: str, *, check_values: bool = True) -> Split:
    """Reads a split, memory-mapped. Several sets follow each other, in the order in which dataset.json names them.

    Args:
      path: the dataset folder.
      split: which subfolder of it.
      check_values: look at every token, in bounded memory: seconds for gigabytes. Headers, file sizes and indices are
        always checked.

    Raises:
      DataError: names the file and what is wrong with it.
    """
    if not split.isidentifier():
        raise DataError(f"{path}: {split!r} is no name for a split: letters, digits and _ only")
    folder = path / split
    files = [*(path / name for name in _WHOLE_FOLDER), folder / "dataset.json"]
    _check_inside(path, files)
    about = _read_description(folder / "dataset.json")
    for name in about.sets:
        _check_inside(path, _set_files(folder, name).values())
    sets = [_read_set(folder, name, about, check_values) for name in about.sets]
    ids = np.concatenate([part.puzzle_ids for part in sets])
    puzzles = _joined([part.puzzle_starts for part in sets])
    groups = _joined([part.group_starts for part in sets])
    _check_totals(folder / "dataset.json", about, len(groups) - 1, len(ids), int(puzzles[-1]))
    inputs, labels = ([getattr(part, field) for part in sets] for field in ("inputs", "labels"))
    return Split(
        inputs=inputs[0] if len(sets) == 1 else Stacked(inputs),
        labels=labels[0] if len(sets) == 1 else Stacked(labels),
        puzzle_ids=ids,
        puzzle_starts=puzzles,
        group_starts=groups,
        seq_len=about.seq_len,
        vocab_size=about.vocab_size,
        num_puzzles=about.num_puzzles,
        ignore_label_id=about.ignore_label_id,
    )


def read_identifiers(path: Path) -> list[str]:
    """The name of each puzzle id, from identifiers.json of a dataset folder; DataError where it holds no names."""
    file = path / "identifiers.json"
    _check_inside(path, [file])
    names = _read_json(file, _LONGEST_JSON)
    if not isinstance(names, list) or not names:
        raise DataError(f"{file}: expected a list of names, one for each puzzle id")
    for number, name in enumerate(names):
        if not isinstance(name, str):
            raise DataError(f"{file}: entry {number} is {name!r:.40}, expected a name in quotes")
    return names


def read_test_puzzles(path: Path) -> dict[str, Any]:
    """The tasks of the test split as JSON, from test_puzzles.json of a dataset folder: name -> train and test lists.

    Only this frame is checked, the grids are not. Raises DataError naming the task.
    """
    file = path / "test_puzzles.json"
    _check_inside(path, [file])
    tasks = _read_object(file)
    for name, task in tasks.items():
        for part in ("train", "test"):
            pairs = task.get(part) if isinstance(task, dict) else None
            if not isinstance(pairs, list) or not all(isinstance(pair, dict) for pair in pairs):
                raise DataError(f"{file}: task {name!r:.40} has no list of pairs named {part!r}")
    return tasks


def read_puzzle(path: Path) -> dict[str, Any] | None:
    """What kind of puzzle a dataset folder holds, from puzzle.json; None where the folder has none."""
    file = path / "puzzle.json"
    _check_inside(path, [file])
    return _read_object(file) if os.path.lexists(file) else None


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

    def finish(self, identifiers: Sequence[str] = (BLANK,), test_puzzles: Mapping[str, Any] | None = None) -> None:
        """Writes what is missing, sees to it that all of it is on the disk, and gives the folder its name.

        Args:
          identifiers: the name of each puzzle id.
          test_puzzles: the tasks of the test split, for test_puzzles.json; None writes none.

        Raises:
          DataError: a split without puzzles, a full disk, or a folder of that name that has come up meanwhile.
        """
        if not self._open or not self._splits:
            raise ValueError(f"{self._out}: no split was written, or the folder is finished already")
        descriptions = {name: split.close(len(identifiers)) for name, split in self._splits.items()}
        jsons = {"identifiers": list(identifiers), "test_puzzles": test_puzzles, "puzzle": self._puzzle}
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
        for field in ("inputs", "labels"):
            self._files[field] = (folder / f"all__{field}.npy").open("wb")
            self._files[field].write(bytes(_HEADER_BYTES))
        self._sizes: list[NDArray[np.int64]] = []  # examples of each puzzle
        self._ids: list[NDArray[np.int64]] = []
        self._group_sizes: list[NDArray[np.int64]] = []  # puzzles of each group
        self._examples = 0

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
            for file in self._files.values():
                file.seek(0)
                file.write(_header(self._dtype, (self._examples, self._seq_len)))
                _flush(file)
                file.close()
            for field, array in indices.items():
                with (self._folder / f"all__{field}.npy").open("wb") as file:
                    values = array.astype("<i4")
                    file.write(_header(values.dtype, values.shape))
                    file.write(values.data)
                    _flush(file)
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


class _About(NamedTuple):
    """What dataset.json says; the totals are None where it does not."""

    seq_len: int
    vocab_size: int
    num_puzzles: int
    ignore_label_id: int | None
    sets: list[str]
    total_groups: int | None
    total_puzzles: int | None
    mean_puzzle_examples: float | None


class _Array(NamedTuple):
    """Where the values of an .npy file lie."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int  # bytes


class _Set(NamedTuple):
    inputs: Tokens
    labels: Tokens
    puzzle_ids: NDArray[np.int32]
    puzzle_starts: NDArray[np.int64]
    group_starts: NDArray[np.int64]


def _check_inside(folder: Path, files: Iterable[Path]) -> None:
    """DataError for a file that links take out of the dataset folder; those that are not there are no concern here."""
    try:
        home = os.path.realpath(folder)
    except ValueError as error:  # a zero byte
        raise DataError(f"{str(folder)!r}: not readable: {error}") from None
    for file in files:
        if os.path.commonpath([home, os.path.realpath(file)]) != home:
            raise DataError(f"{file}: a link leads out of the folder: put the file itself there")


def _read_json(path: Path, limit: int) -> Any:
    try:
        about = path.stat()
        # Opening a pipe would wait for ever.
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{path}: not a file")
        if about.st_size > limit:
            raise DataError(f"{path}: {about.st_size} bytes, more than any such file needs")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: not readable: no such file; name a folder that `trm data` has built") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error!r:.200}") from None


def _read_object(path: Path) -> dict[str, Any]:
    value = _read_json(path, _LONGEST_JSON)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a JSON object in braces")
    return value


def _read_description(path: Path) -> _About:
    about = _read_json(path, _LONGEST_DESCRIPTION)
    if not isinstance(about, dict):
        raise DataError(f"{path}: not readable as a dataset's description: expected a JSON object in braces")

    def whole(key: str, least: int) -> int:
        value = about.get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            found = f"is {value!r:.40}" if key in about else "is missing"
            raise DataError(f"{path}: not readable as a dataset's description: {key} {found}, expected a whole number")
        if not least <= value < _BOUND:
            raise DataError(f"{path}: {key} is {value!r:.40}, expected at least {least} and less than 2^63")
        return value

    for key in ("pad_id", "blank_identifier_id"):
        if whole(key, 0) != 0:
            raise DataError(f"{path}: {key} is {about[key]}: only 0 is known")
    if "ignore_label_id" not in about:
        raise DataError(f"{path}: not readable as a dataset's description: ignore_label_id is missing")
    ignored = about["ignore_label_id"]
    if ignored is not None and whole("ignore_label_id", 0) != 0:
        raise DataError(f"{path}: ignore_label_id is {ignored}: only 0 and null are known")
    mean = about.get("mean_puzzle_examples")
    if mean is not None and (not isinstance(mean, int | float) or isinstance(mean, bool) or not 0 < mean < _BOUND):
        raise DataError(f"{path}: mean_puzzle_examples is {mean!r:.40}, expected a number above 0")
    return _About(
        seq_len=whole("seq_len", 1),
        vocab_size=whole("vocab_size", 1),
        num_puzzles=whole("num_puzzle_identifiers", 1),
        ignore_label_id=ignored,
        sets=_checked_sets(path, about.get("sets")),
        total_groups=None if about.get("total_groups") is None else whole("total_groups", 1),
        total_puzzles=None if about.get("total_puzzles") is None else whole("total_puzzles", 1),
        mean_puzzle_examples=mean,
    )


def _checked_sets(path: Path, sets: Any) -> list[str]:
    if not isinstance(sets, list):
        raise DataError(f"{path}: not readable as a dataset's description: sets is no list of names")
    if not sets:
        raise DataError(f"{path}: names no sets")
    for name in sets:
        # The name becomes part of a path.
        if not isinstance(name, str) or not name.isidentifier():
            raise DataError(f"{path}: {str(name)[:40]!r} is no name for a set: letters, digits and _ only")
    if len(set(sets)) < len(sets):
        raise DataError(f"{path}: names a set twice")
    return sets


def _check_totals(path: Path, about: _About, groups: int, puzzles: int, examples: int) -> None:
    if about.total_groups not in (None, groups):
        raise DataError(f"{path}: total_groups is {about.total_groups}, but the arrays hold {groups}")
    # The public builders of Sudoku and Maze count groups there, however many puzzles augmentation makes of each.
    if about.total_puzzles not in (None, puzzles, groups):
        raise DataError(f"{path}: total_puzzles is {about.total_puzzles}, but the arrays hold {puzzles}")
    mean = about.mean_puzzle_examples
    if mean is not None and not math.isclose(mean, examples / puzzles, rel_tol=1e-6):
        raise DataError(f"{path}: mean_puzzle_examples is {mean:.6g}, but the arrays have {examples / puzzles:.6g}")


def _set_files(folder: Path, name: str) -> dict[str, Path]:
    """Of each field of a set, its file."""
    fields = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
    return {field: folder / f"{name}__{field}.npy" for field in fields}


def _read_set(folder: Path, name: str, about: _About, check_values: bool) -> _Set:
    files = _set_files(folder, name)
    arrays = {field: _inspect(path) for field, path in files.items()}
    examples = arrays["inputs"].shape[0] if arrays["inputs"].shape else 0
    for field in ("inputs", "labels"):
        path, array = files[field], arrays[field]
        if array.shape != (examples, about.seq_len):
            raise DataError(f"{path}: shape {array.shape}, dataset.json says {about.seq_len} cells, {examples} rows")
    puzzles = _read_starts(files["puzzle_indices"], arrays["puzzle_indices"], examples)
    groups = _read_starts(files["group_indices"], arrays["group_indices"], len(puzzles) - 1)
    path, array = files["puzzle_identifiers"], arrays["puzzle_identifiers"]
    ids = _load(path, array) if array.shape == (len(puzzles) - 1,) else None
    if ids is None or not 0 <= int(ids.min()) <= int(ids.max()) < min(about.num_puzzles, 1 << 31):
        raise DataError(f"{path}: not one of {about.num_puzzles} ids for each of {len(puzzles) - 1} puzzles")
    if check_values:
        for field in ("inputs", "labels"):
            low, high = _extent(files[field], arrays[field])
            if not 0 <= low <= high < about.vocab_size:
                limit = f"dataset.json says {about.vocab_size}"
                raise DataError(f"{files[field]}: tokens reach from {low} to {high}, {limit}")
            if field == "labels" and about.ignore_label_id is None and low == 0:
                raise DataError(f"{folder / 'dataset.json'}: ignore_label_id is null, but labels of 0 cannot be learnt")
    inputs, labels = (_load(files[field], arrays[field], mapped=True) for field in ("inputs", "labels"))
    return _Set(inputs, labels, ids.astype(np.int32), puzzles, groups)


def _inspect(path: Path) -> _Array:
    """Reads the header of an .npy file and holds it against the file's size; nothing of the values is read."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DataError(f"{path}: not readable as an .npy array: not a file")
        with path.open("rb") as file, warnings.catch_warnings():
            # NumPy warns of headers that Python 2 wrote, and reads them all the same.
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            elif version == (2, 0):
                shape, fortran_order, dtype = np.lib.format.read_array_header_2_0(file)
            else:
                raise DataError(f"{path}: not readable as an .npy array: version {version} of the format")
            offset = file.tell()
    except DataError:
        raise
    except Exception as error:  # NumPy lets through what its tokenizer raises on a garbled header
        raise DataError(f"{path}: not readable as an .npy array: {error!r:.200}") from None
    if dtype.kind not in "iu":
        raise DataError(f"{path}: holds {dtype!s:.40}, expected integers")
    if fortran_order and len(shape) > 1:
        raise DataError(f"{path}: lies in Fortran order: save it again from np.ascontiguousarray")
    if len(shape) > 2 or any(not 0 <= length < _BOUND for length in shape):
        raise DataError(f"{path}: not readable as an .npy array: no shape of one or two axes")
    expected = offset + math.prod(shape) * dtype.itemsize
    if about.st_size != expected:
        raise DataError(f"{path}: not readable as an .npy array: {about.st_size} bytes, its header says {expected}")
    return _Array(dtype, shape, offset)


def _load(path: Path, array: _Array, mapped: bool = False) -> Tokens:
    try:
        if mapped:
            return np.memmap(path, array.dtype, "r", array.offset, array.shape)
        return np.fromfile(path, array.dtype, math.prod(array.shape), offset=array.offset).reshape(array.shape)
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"{path}: not readable as an .npy array: {error!r:.200}") from None


def _read_starts(path: Path, array: _Array, total: int) -> NDArray[np.int64]:
    # Rising by at least 1 each, there can be no more of them; that bounds what is loaded.
    fits = len(array.shape) == 1 and 2 <= array.shape[0] <= total + 1
    starts = _load(path, array) if fits else None
    if starts is None or starts[0] != 0 or starts[-1] != total or (starts[1:] <= starts[:-1]).any():
        raise DataError(f"{path}: not rising from 0 to {total}")
    return starts.astype(np.int64)


def _extent(path: Path, array: _Array) -> tuple[int, int]:
    """The smallest and the largest value; read in pieces, since the pages of a map would count as memory in use."""
    lows, highs = [], []
    try:
        with path.open("rb") as file:
            file.seek(array.offset)
            while len(values := np.fromfile(file, array.dtype, _CHUNK_BYTES // array.dtype.itemsize)):
                lows.append(int(values.min()))
                highs.append(int(values.max()))
    except OSError as error:
        raise DataError(f"{path}: not readable as an .npy array: {error!r:.200}") from None
    return min(lows), max(highs)


def _joined(starts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Starts of sets that follow each other."""
    ends = np.cumsum([0, *(each[-1] for each in starts)])
    return np.concatenate([np.zeros(1, np.int64), *(each[1:] + end for each, end in zip(starts, ends, strict=False))])


def _starts(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """An .npy header that keeps its length whatever the shape, so that it can be written again over itself."""
    about = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    start = np.lib.format.magic(1, 0)
    length = _HEADER_BYTES - len(start) - 2
    return start + length.to_bytes(2, "little") + about.encode().ljust(length - 1) + b"\n"


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}): make room there or give another place") from None


def _write_json(path: Path, value: Any) -> None:
    with path.open("wb") as file:
        file.write(json.dumps(value).encode())
        _flush(file)


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
