"""Dataset folders: read as written; what is not right is told before it is mapped."""

import io
import json
import os
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hostile import EDITS, assert_told, damaged, little_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from written_folder import GROUPS, IDS, NAMES, PUZZLES, tokens, write

from trm_jax.data import dataset, folder
from trm_jax.data.folder import Split, read, read_identifiers, read_puzzle, read_test_puzzles
from trm_jax.data.folder_writer import Writer
from trm_jax.data.stacked import Stacked
from trm_jax.errors import DataError
from trm_jax.puzzles.grid import Grid

FUZZ = settings(max_examples=int(os.environ.get("TRM_FUZZ", "100")), deadline=None)
FIELDS = ("inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices")
PUBLIC_KEYS = {
    "pad_id", "ignore_label_id", "blank_identifier_id", "vocab_size", "seq_len", "num_puzzle_identifiers",
    "total_groups", "mean_puzzle_examples", "total_puzzles", "sets",
}  # fmt: skip


def hand_written(path: Path, name: str = "all", first: int = 1, **changes) -> Path:
    """The folder as the public builders write it, by np.save, with some arrays or keys of dataset.json changed."""
    split = path / "train"
    split.mkdir(parents=True, exist_ok=True)
    labels = tokens(first)
    labels[:, 3] = 0
    arrays = dict(
        zip(FIELDS, (tokens(first), labels, *(a.astype(np.int32) for a in (IDS, PUZZLES, GROUPS))), strict=True)
    )
    about = {
        "seq_len": 4, "vocab_size": 30, "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0,
        "num_puzzle_identifiers": 7, "total_groups": 3, "mean_puzzle_examples": 11 / 6, "total_puzzles": 6,
        "sets": ["all"],
    }  # fmt: skip
    for field, value in changes.items():
        (arrays if field in arrays else about)[field] = value
    for field, array in arrays.items():
        np.save(split / f"{name}__{field}.npy", array)
    (split / "dataset.json").write_text(json.dumps({k: v for k, v in about.items() if v != "left out"}))
    return path


def fault_of(path: Path, split: str = "train") -> str:
    with pytest.raises(DataError) as caught:
        read(path, split)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Written and read back


@pytest.mark.parametrize(("vocab_size", "dtype"), [(30, np.uint8), (256, np.uint8), (257, np.int32)])
def test_what_was_written_is_read(tmp_path, vocab_size, dtype):
    path = write(tmp_path / "a" / "data", vocab_size)
    labels = tokens()
    labels[:, 3] = 0
    for split in ("train", "test"):
        puzzles = read(path, split)
        assert isinstance(puzzles.inputs, np.memmap)
        assert isinstance(puzzles.labels, np.memmap)
        np.testing.assert_array_equal(puzzles.inputs, tokens())
        np.testing.assert_array_equal(puzzles.labels, labels)
        np.testing.assert_array_equal(puzzles.puzzle_ids, IDS)
        np.testing.assert_array_equal(puzzles.puzzle_starts, PUZZLES)
        np.testing.assert_array_equal(puzzles.group_starts, GROUPS)
        assert puzzles.inputs.dtype == puzzles.labels.dtype == dtype
        assert (puzzles.puzzle_ids.dtype, puzzles.puzzle_starts.dtype, puzzles.group_starts.dtype) == (
            np.int32, np.int64, np.int64
        )  # fmt: skip
        assert (puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzles) == (4, vocab_size, 7)
        assert puzzles.ignore_label_id == 0
        about = json.loads((path / split / "dataset.json").read_text())
        assert set(about) == PUBLIC_KEYS
        assert [about[key] for key in ("total_groups", "total_puzzles", "num_puzzle_identifiers")] == [3, 6, 7]
        assert about["mean_puzzle_examples"] == 11 / 6
        # As any other reader sees it.
        arrays = {
            field: np.load(path / split / f"all__{field}.npy", mmap_mode="r", allow_pickle=False) for field in FIELDS
        }
        np.testing.assert_array_equal(arrays["inputs"], tokens())
        assert {arrays[field].dtype for field in FIELDS[2:]} == {np.dtype(np.int32)}
    assert read_identifiers(path) == NAMES
    assert read_test_puzzles(path) == {"task1": {"train": [], "test": []}}
    assert read_puzzle(path) is None
    assert list(path.parent.iterdir()) == [path]


def test_singles_and_no_word_of_finish(tmp_path):
    with Writer(tmp_path / "data", 4, 30, puzzle={"kind": "sudoku", "side": 2}) as writer:
        writer.split("train").add_singles(tokens()[:5], tokens()[:5])
        writer.split("train").add_singles(tokens()[:0], tokens()[:0])
        writer.split("train").add_singles(tokens()[5:], tokens()[5:])
        writer.split("train").add(tokens()[:2].astype(np.int64)[:, ::-1], tokens()[:2], [1, 1], [0, 0])
    puzzles = read(tmp_path / "data", "train")
    np.testing.assert_array_equal(puzzles.inputs, np.concatenate([tokens(), tokens()[:2, ::-1]]))
    np.testing.assert_array_equal(puzzles.puzzle_starts, np.arange(14))
    np.testing.assert_array_equal(puzzles.group_starts, [*range(12), 13])
    np.testing.assert_array_equal(puzzles.puzzle_ids, np.zeros(13))
    assert read_puzzle(tmp_path / "data") == {"kind": "sudoku", "side": 2}
    assert read_identifiers(tmp_path / "data") == ["<blank>"]
    assert not (tmp_path / "data" / "test_puzzles.json").exists()


def test_the_dataset_of_the_public_builder_and_ours_are_of_one_form(tmp_path):
    dataset = ROOT.parent / "shared" / "parity" / "arc_eval" / "dataset"
    if not dataset.is_dir():
        pytest.skip(f"no dataset of the public builder at {dataset}")
    ours = write(tmp_path / "data")
    for split, examples in (("train", 832), ("test", 260)):
        puzzles = read(dataset, split)
        assert (puzzles.inputs.shape, puzzles.seq_len, puzzles.vocab_size) == ((examples, 900), 900, 12)
        assert (len(puzzles.group_starts), len(puzzles.puzzle_starts), puzzles.num_puzzles) == (17, 209, 209)
        np.testing.assert_array_equal(puzzles.puzzle_ids, np.arange(1, 209))
        for field in FIELDS:
            theirs, own = (np.load(path / split / f"all__{field}.npy", allow_pickle=False) for path in (dataset, ours))
            assert (theirs.dtype, theirs.ndim) == (own.dtype, own.ndim), field
        theirs, own = (json.loads((path / split / "dataset.json").read_text()) for path in (dataset, ours))
        assert {key: type(value) for key, value in theirs.items()} == {key: type(value) for key, value in own.items()}
    assert len(read_identifiers(dataset)) == 209
    assert len(read_test_puzzles(dataset)) == 16
    assert read_puzzle(dataset) is None


def test_a_split_that_is_missing_names_those_that_are_there(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset[.]json: not readable: no such file; the splits there are: train$"):
        read(tmp_path, "test")


def test_two_sets_follow_each_other(tmp_path):
    changes = {"sets": ["one", "two"], "total_groups": 6, "total_puzzles": 12}
    hand_written(tmp_path, "one", **changes)
    hand_written(tmp_path, "two", 12, **changes)
    puzzles = read(tmp_path, "train")
    assert isinstance(puzzles.inputs, Stacked)
    assert isinstance(puzzles.labels, Stacked)
    np.testing.assert_array_equal(puzzles.inputs[:][:, 0], np.arange(1, 23))
    np.testing.assert_array_equal(puzzles.labels[[0, 21, 11]][:, 0], [1, 22, 12])
    np.testing.assert_array_equal(puzzles.puzzle_ids, np.tile(IDS, 2))
    np.testing.assert_array_equal(puzzles.puzzle_starts, [*PUZZLES, *(PUZZLES[1:] + 11)])
    np.testing.assert_array_equal(puzzles.group_starts, [*GROUPS, *(GROUPS[1:] + 6)])


def test_arrays_of_other_types_and_links_within_the_folder(tmp_path):
    hand_written(
        tmp_path / "data",
        inputs=tokens().astype(">i8"),
        puzzle_indices=PUZZLES.astype(np.uint64),
        group_indices=GROUPS.astype(np.uint8),
    )
    (tmp_path / "data" / "train").rename(tmp_path / "data" / "elsewhere")
    (tmp_path / "data" / "train").symlink_to("elsewhere")
    (tmp_path / "data" / "train" / "all__labels.npy").rename(tmp_path / "data" / "labels")
    (tmp_path / "data" / "train" / "all__labels.npy").symlink_to("../labels")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    puzzles = read(tmp_path / "link", "train")
    np.testing.assert_array_equal(puzzles.inputs, tokens())
    np.testing.assert_array_equal(puzzles.puzzle_starts, PUZZLES)
    np.testing.assert_array_equal(puzzles.group_starts, GROUPS)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize(
    "name", ["dataset.json", *(f"all__{field}.npy" for field in FIELDS), "", "../identifiers.json", "../puzzle.json"]
)
def test_a_link_out_of_the_folder_is_not_followed(tmp_path, name, split):
    path = write(tmp_path / "data", puzzle={"kind": "grid"})
    file = path / split / name
    real = Path(os.path.normpath(file))
    real.rename(tmp_path / "outside")
    for target in (tmp_path / "outside", "../" * (len(real.relative_to(path).parts)) + "outside"):
        real.symlink_to(target)
        assert real.exists()
        assert fault_of(path, split).endswith("a link leads out of the folder: put the file itself there")
        assert fault_of(path, split).startswith(f"{path}/")
        real.unlink()
    # A way out and in again is no way out.
    real.symlink_to(tmp_path / "data" / ".." / "data" / "again")
    (tmp_path / "outside").rename(path / "again")
    assert len(read(path, split).inputs) == 11


def test_a_link_in_the_folder_to_a_neighbour_of_like_name_leads_out(tmp_path):
    path = write(tmp_path / "data")
    (path / "identifiers.json").rename(tmp_path / "data2")
    (path / "identifiers.json").symlink_to(tmp_path / "data2")
    for call in (lambda: read(path, "train"), lambda: read_identifiers(path)):
        with pytest.raises(DataError, match=r"identifiers\.json: a link leads out"):
            call()
    for name, call in (("test_puzzles", read_test_puzzles), ("puzzle", read_puzzle)):
        (path / f"{name}.json").unlink(missing_ok=True)
        (path / f"{name}.json").symlink_to("/etc/passwd")
        with pytest.raises(DataError, match=f"{name}.json: a link leads out") as caught:
            call(path)
        assert ":0:" not in str(caught.value)
    (path / "puzzle.json").unlink()
    (path / "puzzle.json").symlink_to("puzzle.json")
    with pytest.raises(DataError, match=r"puzzle\.json"):
        read_puzzle(path)


# --- Folders that are not what they claim to be


BAD = {
    "seq_len": ({"seq_len": 5}, "all__inputs.npy: shape (11, 4), dataset.json says 5 cells"),
    "no cells": ({"seq_len": 0, "inputs": np.zeros((11, 0), int)}, "dataset.json: seq_len is 0"),
    "infinite": ({"seq_len": float("inf")}, "dataset.json: not readable as a dataset's description: seq_len is inf"),
    "text": ({"vocab_size": "many"}, "dataset.json: not readable as a dataset's description: vocab_size is 'many'"),
    "truth": ({"pad_id": False}, "pad_id is False, expected a whole number"),
    "float": ({"seq_len": 4.0}, "seq_len is 4.0, expected a whole number"),
    "huge": ({"vocab_size": 10**400}, "dataset.json: vocab_size is 1000"),
    "missing": ({"pad_id": "left out"}, "pad_id is missing"),
    "no sets key": ({"sets": "left out"}, "sets is no list"),
    "no ignored key": ({"ignore_label_id": "left out"}, "ignore_label_id is missing"),
    "padding": ({"pad_id": 1}, "dataset.json: pad_id is 1: only 0"),
    "blank": ({"blank_identifier_id": 3}, "dataset.json: blank_identifier_id is 3: only 0"),
    "ids": ({"num_puzzle_identifiers": -1}, "num_puzzle_identifiers is -1"),
    "no list": ({"sets": 3}, "dataset.json: not readable"),
    "no sets": ({"sets": []}, "dataset.json: names no sets"),
    "outside": ({"sets": ["../x"]}, "dataset.json: '../x' is no name for a set"),
    "number": ({"sets": [7]}, "dataset.json: '7' is no name for a set"),
    "twice": ({"sets": ["all", "all"]}, "dataset.json: names a set twice"),
    "absent set": ({"sets": ["all", "more"]}, "more__inputs.npy: not readable"),
    "long set": ({"sets": ["x" * 400]}, "__inputs.npy: not readable"),
    "ignored": ({"ignore_label_id": 5}, "dataset.json: ignore_label_id is 5"),
    "null": ({"ignore_label_id": None}, "dataset.json: ignore_label_id is null"),
    "groups": ({"total_groups": 4}, "dataset.json: total_groups is 4, but the arrays hold 3"),
    "puzzles": ({"total_puzzles": 5}, "dataset.json: total_puzzles is 5, but the arrays hold 6"),
    "mean": ({"mean_puzzle_examples": 2}, "dataset.json: mean_puzzle_examples is 2, but the arrays have 1.83333"),
    "mean nan": ({"mean_puzzle_examples": float("nan")}, "mean_puzzle_examples is nan"),
    "mean text": ({"mean_puzzle_examples": "1"}, "mean_puzzle_examples is '1'"),
    "mean huge": ({"mean_puzzle_examples": -(10**400)}, "mean_puzzle_examples is -1000"),
    "flat": ({"inputs": np.zeros(44, np.uint8)}, "all__inputs.npy: shape (44,)"),
    "scalar": ({"inputs": np.uint8(3)}, "all__inputs.npy: shape ()"),
    "labels": ({"labels": np.zeros((10, 4), np.uint8)}, "all__labels.npy: shape (10, 4), dataset.json says 4"),
    "scalar labels": ({"labels": np.uint8(3)}, "all__labels.npy: shape ()"),
    "three axes": ({"labels": np.ones((11, 4, 1), np.uint8)}, "all__labels.npy: not readable"),
    "columns": ({"inputs": np.asfortranarray(tokens())}, "all__inputs.npy: lies in Fortran order"),
    "floats": ({"inputs": np.ones((11, 4))}, "all__inputs.npy: holds float64, expected integers"),
    "bool": ({"labels": np.ones((11, 4), bool)}, "all__labels.npy: holds bool"),
    "record": ({"labels": np.ones(11, "i4,i4")}, "all__labels.npy: holds [("),
    "times": ({"inputs": np.ones((11, 4), "m8[s]")}, "all__inputs.npy: holds timedelta64[s]"),
    "pickled": ({"inputs": np.array([[1], None], object)}, "all__inputs.npy: holds object"),
    "high": ({"inputs": np.full((11, 4), 30, np.uint8)}, "all__inputs.npy: tokens reach from 30 to 30"),
    "negative": ({"labels": np.full((11, 4), -1, np.int8)}, "all__labels.npy: tokens reach from -1 to -1"),
    "falling": ({"puzzle_indices": np.array([0, 2, 3, 7, 6, 9, 11])}, "all__puzzle_indices.npy: not rising"),
    "unsigned": ({"puzzle_indices": PUZZLES[[0, 1, 2, 4, 3, 5, 6]].astype(np.uint32)}, "puzzle_indices.npy: not ris"),
    "wrapping": (
        {"puzzle_indices": np.array([0, 2**62, 2**63 - 1, -(2**63) + 5, -1, 1, 11])}, "puzzle_indices.npy: not rising"
    ),
    "equal": ({"group_indices": np.array([0, 2, 2, 6])}, "all__group_indices.npy: not rising from 0 to 6"),
    "short": ({"puzzle_indices": PUZZLES[:-1]}, "all__puzzle_indices.npy: not rising from 0 to 11"),
    "late": ({"group_indices": GROUPS[1:]}, "all__group_indices.npy: not rising"),
    "no groups": ({"group_indices": np.zeros(0, int)}, "all__group_indices.npy: not rising"),
    "deep": ({"puzzle_indices": PUZZLES[None]}, "all__puzzle_indices.npy: not rising"),
    "scalar indices": ({"puzzle_indices": np.int64(3)}, "all__puzzle_indices.npy: not rising"),
    "high id": ({"puzzle_identifiers": IDS + 1}, "all__puzzle_identifiers.npy: not one of 7 ids"),
    "negative id": ({"puzzle_identifiers": IDS - 2}, "all__puzzle_identifiers.npy: not one of 7 ids"),
    "few ids": ({"puzzle_identifiers": IDS[:5]}, "all__puzzle_identifiers.npy: not one of 7 ids"),
    "scalar id": ({"puzzle_identifiers": np.int64(3)}, "all__puzzle_identifiers.npy: not one of 7 ids"),
    "wide id": (
        {"puzzle_identifiers": IDS + 2**31, "num_puzzle_identifiers": 2**40}, "all__puzzle_identifiers.npy: not one"
    ),
    "empty": (
        {"inputs": np.zeros((0, 4), int), "labels": np.zeros((0, 4), int), "puzzle_identifiers": np.zeros(0, int),
         "puzzle_indices": np.zeros(1, int), "group_indices": np.zeros(1, int)},
        "all__puzzle_indices.npy: not rising",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_an_error_that_names_the_file(name, tmp_path):
    changes, expected = BAD[name]
    assert expected in fault_of(hand_written(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"total_puzzles": 3},
        {"total_groups": None, "mean_puzzle_examples": None, "total_puzzles": None},
        {"total_groups": "left out", "mean_puzzle_examples": "left out", "total_puzzles": "left out"},
        {"ignore_label_id": None, "labels": tokens()},
        {"mean_puzzle_examples": 1.8333333},
        {"something": "else"},
    ],
)
def test_what_is_allowed_in_a_description(changes, tmp_path):
    assert len(read(hand_written(tmp_path, **changes), "train").inputs) == 11


@pytest.mark.parametrize("split", ["../train", "", "train/..", "a b"])
def test_a_split_is_a_name(split, tmp_path):
    assert "no name for a split" in fault_of(hand_written(tmp_path), split)


def test_tokens_are_looked_at_in_pieces_to_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_CHUNK_BYTES", 16)
    inputs = tokens().astype(np.int32)
    inputs[-1, -1] = 30
    hand_written(tmp_path, inputs=inputs)
    assert "tokens reach from 1 to 30" in fault_of(tmp_path)
    assert len(read(tmp_path, "train", check_values=False).inputs) == 11


def test_a_terabyte_is_neither_mapped_nor_loaded(tmp_path, monkeypatch):
    hand_written(tmp_path)
    path = tmp_path / "train" / "all__inputs.npy"
    path.write_bytes(path.read_bytes().replace(b"(11, 4), }" + b" " * 10, b"(250000000000, 4), }", 1))
    for function in ("memmap", "fromfile"):
        monkeypatch.setattr(np, function, None)
    assert fault_of(tmp_path).endswith("172 bytes, its header says 1000000000128")


@pytest.mark.parametrize("field", FIELDS)
def test_a_damaged_array_is_an_error_that_names_the_file(field, tmp_path):
    path = hand_written(tmp_path) / "train" / f"all__{field}.npy"
    good = path.read_bytes()
    header = good.index(b"{")
    shape = good.index(b"(")
    damaged = {
        "cut off": good[:-1],
        "trailing": good + b"\0",
        "no data": good[:header],
        "half a header": good[: header + 20],
        "empty": b"",
        "text": b"1,2,3\n",
        "zip": b"PK\x03\x04" + bytes(40),
        "pickle": b"\x80\x04K\x01.",
        "brackets": good.replace(b"{'", b"({"),
        "quotes": good.replace(b"'descr'", b"'''scr'"),
        "tabs": good.replace(b", 'shape'", b"\n\t\n shape"),
        "shape": good.replace(b"(", b"-", 1),
        "negative": good.replace(b"(11", b"(-1").replace(b"(6,)", b"(-6)").replace(b"(7,)", b"(-7)"),
        "truth": good[:shape] + b"(True,), }".ljust(good.index(b"\n", 10) - shape) + good[good.index(b"\n", 10) :],
        "long": good[:8] + b"\xff\xff" + b" " * 70_000,
        "a later version": good[:6] + b"\x09" + good[7:],
        "unicode": good[:6] + b"\x03" + good[7:],
    }
    for how, content in damaged.items():
        if content == good:
            continue
        path.write_bytes(content)
        assert f"all__{field}.npy" in fault_of(tmp_path), how
    path.unlink()
    assert f"all__{field}.npy" in fault_of(tmp_path)
    path.mkdir()
    assert f"all__{field}.npy" in fault_of(tmp_path)
    path.rmdir()
    os.mkfifo(path)
    assert f"all__{field}.npy: not readable as an .npy array: not a file" in fault_of(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"all"', "null", "{}", "[" * 100_000, "\ud800", '{"seq_len": [1]}', " " * (1 << 21)]
)
def test_a_damaged_description_is_an_error(text, tmp_path):
    path = hand_written(tmp_path) / "train" / "dataset.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert "dataset.json" in fault_of(tmp_path)
    path.unlink()
    assert "dataset.json" in fault_of(tmp_path)
    os.mkfifo(path)
    assert "dataset.json: not a file" in fault_of(tmp_path)
    assert "test/dataset.json" in fault_of(tmp_path, "test")


@pytest.mark.parametrize(
    ("function", "file", "text", "expected"),
    [
        (read_identifiers, "identifiers", None, "not readable"),
        (read_identifiers, "identifiers", "{}", "expected a list of names"),
        (read_identifiers, "identifiers", "[]", "expected a list of names"),
        (read_identifiers, "identifiers", '["<blank>", 3]', "entry 1 is 3, expected a name"),
        (read_identifiers, "identifiers", '["<blank>", ' + "[" * 90 + "]" * 90 + "]", "entry 1 is"),
        (read_test_puzzles, "test_puzzles", None, "not readable"),
        (read_test_puzzles, "test_puzzles", "[]", "expected a JSON object"),
        (read_test_puzzles, "test_puzzles", '{"a": []}', "task 'a' has no list of pairs named 'train'"),
        (read_test_puzzles, "test_puzzles", '{"a": {"train": []}}', "task 'a' has no list of pairs named 'test'"),
        (read_test_puzzles, "test_puzzles", '{"a": {"train": [1], "test": []}}', "no list of pairs named 'train'"),
        (read_puzzle, "puzzle", "3", "expected a JSON object"),
        (read_puzzle, "puzzle", "{", "not readable"),
        (read_puzzle, "puzzle", "[" * 100_000, "not readable"),
    ],
)
def test_what_is_wrong_with_the_other_files_is_told(function, file, text, expected, tmp_path):
    if text is not None:
        (tmp_path / f"{file}.json").write_text(text)
    with pytest.raises(DataError, match=f"{file}.json: .*{expected}") as caught:
        function(tmp_path)
    assert "\n" not in str(caught.value)


# --- Hostile folders: right, or a DataError of one line, and no map beyond its file


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    path = hand_written(tmp_path_factory.mktemp("template"))
    return path, {file.name: file.read_bytes() for file in (path / "train").iterdir()}


LENGTH = st.sampled_from([0, 1, 3, 4, 6, 7, 11, -1, 2**31, 2**63 - 1, 2**63, 10**30, True]) | st.integers(-5, 50)
DESCR = [
    "'|u1'", "'<i4'", "'>i8'", "'|O'", "'<u8'", "'|b1'", "'<f4'", "'V4'", "[('a', '<i4')]", "('<i4', (3,))", "'U3'",
    "'|i1'", "7", "None",
]  # fmt: skip
HEADER = st.builds(
    lambda descr, order, shape, tail: f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{tail}",
    st.sampled_from(DESCR),
    st.sampled_from(["False", "False", "True", "0", "None"]),
    st.lists(LENGTH, max_size=4).map(tuple).map(str)
    | st.sampled_from(["(11L, 4L)", "11", "[11, 4]", "()", "((11,), 4)"]),
    st.sampled_from([", }", ", }", "}", ", 'more': 1}", "", "\0}"]),
)


@st.composite
def damage(draw: st.DrawFn, good: bytes) -> bytes:
    kind = draw(st.sampled_from(["flip", "flip", "cut", "append", "header", "insert"]))
    if kind == "cut":
        return good[: draw(st.integers(0, len(good) - 1))]
    if kind == "append":
        return good + draw(st.binary(min_size=1, max_size=40))
    if kind == "header" and good.startswith(b"\x93"):
        text = draw(HEADER).encode()
        if draw(st.booleans()):
            text = text.ljust(117) + b"\n"
        version = draw(st.sampled_from([(1, 2), (1, 2), (2, 4), (3, 4)]))
        return b"\x93NUMPY" + bytes([version[0], 0]) + len(text).to_bytes(version[1], "little") + text + good[128:]
    at = draw(st.integers(0, min(len(good) - 1, 130)) | st.integers(0, len(good) - 1))
    new = draw(st.binary(min_size=1, max_size=3))
    return good[:at] + new + good[at + (len(new) if kind == "flip" else 0) :]


def assert_right(found: Split, split: Path) -> None:
    """Everything that a reader may rely on, with np.load as witness."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = {field: np.load(split / f"all__{field}.npy", allow_pickle=False) for field in FIELDS}
    for field, array in zip(
        FIELDS, (found.inputs, found.labels, found.puzzle_ids, found.puzzle_starts, found.group_starts), strict=True
    ):
        np.testing.assert_array_equal(array, arrays[field])
        assert array.dtype.kind in "iu"
    assert found.inputs.shape == found.labels.shape == (len(found.inputs), found.seq_len)
    for array in (found.inputs, found.labels):
        assert 0 <= np.min(array) <= np.max(array) < found.vocab_size
    for starts, total in (
        (found.puzzle_starts, len(found.inputs)), (found.group_starts, len(found.puzzle_ids))
    ):  # fmt: skip
        assert (starts[0], starts[-1]) == (0, total)
        assert (np.diff(starts) > 0).all()
    assert len(found.puzzle_starts) == len(found.puzzle_ids) + 1
    assert 0 <= found.puzzle_ids.min() <= found.puzzle_ids.max() < found.num_puzzles


def read_or_told(path: Path) -> bool:
    """Whether the folder was read; maps are held to the file's size."""

    def map_checked(file: Path, dtype: np.dtype, mode: str, offset: int, shape: tuple[int, ...]) -> np.ndarray:
        assert mode == "r"
        assert offset + int(np.prod(shape, dtype=object)) * dtype.itemsize == file.stat().st_size
        return original(file, dtype, mode, offset, shape)

    original = np.memmap
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "memmap", map_checked)
        try:
            found = read(path, "train")
            told = ""
        except DataError as error:
            told = str(error)
    if told:
        assert told.startswith(f"{path}/train/")
        assert "\n" not in told
        assert len(told) < 1_000
    else:
        assert_right(found, path / "train")
    return not told


@settings(FUZZ, max_examples=2 * FUZZ.max_examples)
@given(st.data())
def test_damaged_arrays_are_read_right_or_told(template, data):
    path, good = template
    field = data.draw(st.sampled_from(FIELDS))
    file = path / "train" / f"all__{field}.npy"
    try:
        file.write_bytes(data.draw(damage(good[file.name])))
        read_or_told(path)
    finally:
        file.write_bytes(good[file.name])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, 4, 7, 10**400, -1, 2**63])
    | st.floats()
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SET_NAME = (
    st.sampled_from(["../x", "../train/all", "/etc/passwd", "all", "a\0b", "", ".", "all__", "ａｌｌ"]) | st.text()
)


@FUZZ
@given(st.data())
def test_garbled_descriptions_are_read_right_or_told(template, data):
    path, good = template
    file = path / "train" / "dataset.json"
    about = json.loads(good["dataset.json"])
    for key in data.draw(st.lists(st.sampled_from(sorted(about)), min_size=1, max_size=2)):
        about[key] = data.draw(st.lists(SET_NAME, max_size=2) | JSON if key == "sets" else JSON)
        if data.draw(st.integers(0, 5)) == 0:
            del about[key]
    text = data.draw(st.just(json.dumps(about).encode()) | damage(good["dataset.json"]))
    try:
        file.write_bytes(text)
        read_or_told(path)
    finally:
        file.write_bytes(good["dataset.json"])


# Their own error, or the value that json.loads sees.
OTHERS = {
    "identifiers.json": (read_identifiers, ["<blank>", "task1", "t\u00e4sk|||t0|||0123456789"]),
    "test_puzzles.json": (
        read_test_puzzles, {"task1": {"train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[0]]}]}}
    ),
    "puzzle.json": (read_puzzle, Grid((2, 2), " abcdefghijklmnopqrstuvwxyzAB", "rot90").to_dict()),
}  # fmt: skip


@FUZZ
@given(st.sampled_from(sorted(OTHERS)), EDITS, st.none() | st.integers(0, 1 << 10))
def test_the_other_files_are_read_as_they_are_or_told(template, name, edits, cut):
    path, function = template[0], OTHERS[name][0]
    content = damaged(json.dumps(OTHERS[name][1]).encode(), edits, cut)
    (path / name).write_bytes(content)
    told = None
    try:
        found = function(path)
        if name == "puzzle.json":
            found = json.loads(dataset.read_folder(path, "train").puzzle)
    except DataError as error:
        told = error
    finally:
        (path / name).unlink()
    if told:
        assert_told(told, path)
        assert edits or cut is not None
    elif name == "puzzle.json":
        assert found.items() >= json.loads(content).items()
    else:
        assert repr(found) == repr(json.loads(content))


def test_a_claim_of_a_terabyte_takes_no_memory(tmp_path):
    hand_written(tmp_path)
    for field in FIELDS:
        path = tmp_path / "train" / f"all__{field}.npy"
        good = path.read_bytes()
        for shape in (b"(250000000000, 4)", b"(1000000000000,)", b"(9223372036854775807, 9223372036854775807)"):
            header = good[: good.index(b"(")] + shape + b", }"
            path.write_bytes(header.ljust(127) + b"\n" + good[128:])
            with little_memory():
                assert path.name in fault_of(tmp_path)
        # As large as it says, and with nothing in it.
        count = 1 << 33
        header = good[: good.index(b"(")] + (b"(%d, 4)" if field in FIELDS[:2] else b"(%d,)") % count + b", }"
        width = (4 if field in FIELDS[:2] else 1) * np.load(io.BytesIO(good), allow_pickle=False).itemsize
        path.write_bytes(header.ljust(127) + b"\n")
        os.truncate(path, 128 + count * width)
        with little_memory():
            told = fault_of(tmp_path)
        assert "__" in told
        assert "Memory" not in told
        path.write_bytes(good)
    for name, (function, _) in OTHERS.items():
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 34)
        with little_memory(), pytest.raises(DataError, match=f"{name}: 17179869184 bytes, more than any such file"):
            function(tmp_path)


def test_the_template_of_these_is_good(template):
    assert read_or_told(template[0])


def test_reading_takes_little_memory(tmp_path, monkeypatch):
    """Tokens of 16 MB in pieces of 64 KiB."""
    monkeypatch.setattr(folder, "_CHUNK_BYTES", 1 << 16)
    with Writer(tmp_path / "data", 1_000, 30, puzzle=None) as writer:
        rows = np.ones((800, 1_000), np.uint8)
        for _ in range(10):
            writer.split("train").add_singles(rows, rows)
    tracemalloc.start()
    try:
        assert len(read(tmp_path / "data", "train").inputs) == 8_000
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
