"""Dataset folders in the public on-disk format: read, with everything checked.

A folder holds one subfolder for each split, and for both of them `identifiers.json` (the name of each puzzle id), for
ARC also `test_puzzles.json`, and if we wrote it `puzzle.json` (the kind of puzzle, for the program's own use) and, of
puzzles that were made worse, `stress.json`. A split has `dataset.json` and for each of its sets five arrays,
`<set>__<field>.npy`: inputs and labels [N, S], the id of each puzzle, the example at which each puzzle starts, and the
puzzle at which each group starts, both with the end behind.

All of these lie in the folder itself: what a link in it leads to elsewhere is not read, wherever the folder came from.
"""

import json
import math
import os
import stat
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.stacked import Stacked, Tokens
from trm_jax.errors import DataError

BLANK = "<blank>"
"""The name of puzzle id 0."""

_CHUNK_BYTES = 1 << 26
_LONGEST_DESCRIPTION = 1 << 20
# Several times what a million names take; as lists and texts it would be some gigabytes.
_LONGEST_JSON = 1 << 28
_WHOLE_FOLDER = ("identifiers.json", "test_puzzles.json", "puzzle.json")
# Whole numbers of any length can stand in a file, but not be printed or made a float.
_BOUND = 1 << 63


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


def read_rules(path: Path) -> dict[str, Any] | None:
    """Which rules the rows of a dataset folder have passed, from rules.json; None where the folder says nothing."""
    file = path / "rules.json"
    _check_inside(path, [file])
    return _read_object(file) if os.path.lexists(file) else None


def is_faulty(path: Path) -> bool:
    """Whether stress.json says that questions of a dataset folder break the rules of their kind, as they are meant to.

    Raises DataError: it says something else.
    """
    file = path / "stress.json"
    _check_inside(path, [file])
    faulty = _read_object(file).get("faulty") if os.path.lexists(file) else False
    if type(faulty) is not bool:
        raise DataError(f"{file}: faulty is {faulty!r:.40}, expected true or false: write the folder again")
    return faulty


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
        splits = sorted(file.parent.name for file in path.parent.parent.glob(f"*/{path.name}"))
        mend = f"the splits there are: {', '.join(splits)}" if splits else "name a folder that `trm data` has built"
        raise DataError(f"{path}: not readable: no such file; {mend}") from None
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
