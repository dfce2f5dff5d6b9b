"""Puzzles from files: nothing lost, nothing made up, and every fault named with its place."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from places import ROOT

from trm_jax.config import DataConfig, Experiment, experiment_from
from trm_jax.data.dataset import load, load_named, peek, read_folder, read_table
from trm_jax.data.puzzle_set import PuzzleSet, from_pairs, join
from trm_jax.errors import DataError
from trm_jax.puzzles import maze, sudoku

SUDOKU = DataConfig(puzzle="sudoku", side=4, train="generated", test="generated", train_puzzles=60, test_puzzles=40)

# Three groups of 2, 1 and 3 puzzles, whose numbers of examples are 2, 1, 3, 1, 2 and 2.
PUZZLES = np.array([0, 2, 3, 6, 7, 9, 11])
GROUPS = np.array([0, 2, 3, 6])
IDS = np.array([4, 1, 2, 6, 5, 3])


def write_folder(path: Path, split: str = "train", name: str = "all", first_token: int = 1, **changes) -> Path:
    """A small dataset in the public on-disk format; example i holds the token first_token + i in its first cell."""
    folder = path / split
    folder.mkdir(parents=True, exist_ok=True)
    inputs = np.full((11, 4), 2, np.uint8)
    inputs[:, 0] = first_token + np.arange(11)
    labels = inputs.copy()
    labels[:, 3] = 0
    arrays = {
        "inputs": inputs,
        "labels": labels,
        "puzzle_identifiers": IDS.astype(np.int32),
        "puzzle_indices": PUZZLES.astype(np.int32),
        "group_indices": GROUPS.astype(np.int32),
    }
    about = {
        "seq_len": 4, "vocab_size": 30, "pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0,
        "num_puzzle_identifiers": 7, "total_groups": 3, "mean_puzzle_examples": 11 / 6, "total_puzzles": 6,
        "sets": ["all"],
    }  # fmt: skip
    for field, value in changes.items():
        (arrays if field in arrays else about)[field] = value
    for field, array in arrays.items():
        np.save(folder / f"{name}__{field}.npy", array)
    (folder / "dataset.json").write_text(json.dumps(about))
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_folder(tmp_path / "data")


def assert_consistent(puzzles: PuzzleSet) -> None:
    count = len(puzzles)
    assert len(puzzles.inputs) == len(puzzles.labels) == len(puzzles.puzzle_ids) == count
    for starts, total in ((puzzles.puzzle_starts, count), (puzzles.group_starts, len(puzzles.puzzle_starts) - 1)):
        assert starts[0] == 0
        assert starts[-1] == total
        assert (np.diff(starts) > 0).all()


# --- CSV files


@pytest.fixture
def maze_csv(tmp_path) -> Path:
    rng, rows = np.random.default_rng(0), []
    while len(rows) < 6:
        cells = np.where(rng.random(25) < 0.3, maze.WALL, maze.FREE).astype(np.int8)
        cells[rng.choice(25, 2, replace=False)] = maze.START, maze.GOAL
        try:
            rows.append(f"{maze.to_text(cells)},{maze.to_text(maze.solve(cells, (5, 5)))}\n")
        except DataError:
            continue
    path = tmp_path / "maze.csv"
    path.write_text("question,answer\n" + "".join(rows))
    return path


def test_mazes_from_csv(maze_csv):
    puzzles = read_table(maze_csv, "maze")
    assert (len(puzzles), puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzles) == (6, 25, 6, 1)
    question, answer = maze_csv.read_text().splitlines()[4].split(",")
    np.testing.assert_array_equal(puzzles.inputs[3], maze.parse(question))
    np.testing.assert_array_equal(puzzles.labels[3], maze.parse(answer))
    assert_consistent(puzzles)
    limited = read_table(maze_csv, "maze", 2)
    assert_consistent(limited)
    np.testing.assert_array_equal(limited.inputs, puzzles.inputs[:2])


def test_sudokus_from_csv_and_limits(tmp_path):
    path = tmp_path / "sudoku.csv"
    path.write_text(
        "source,question,answer\na,1.34341221434321,1234341221434321\nb,12343412214343..,1234341221434321\n"
    )
    config = DataConfig(puzzle="sudoku", train=str(path), test=str(path), test_puzzles=1)
    puzzles = load(config, "train", 0)
    assert (len(puzzles), puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzles) == (2, 16, 6, 1)
    np.testing.assert_array_equal(puzzles.inputs[0], [2, 1, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2])
    np.testing.assert_array_equal(puzzles.labels[0], [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2])
    np.testing.assert_array_equal(puzzles.puzzle_ids, [0, 0])
    assert len(load(config, "test", 0)) == 1
    experiment = experiment_from({"data": {"puzzle": "sudoku", "test": str(path)}})
    for source in ("", str(path)):
        assert [len(load_named(experiment, source, "test", limit)) for limit in (0, 1, 9)] == [2, 1, 2]


def test_columns_are_named_by_the_configuration_or_beside_it(tmp_path):
    path, other = tmp_path / "own.csv", tmp_path / "other.csv"
    path.write_text("a;q\n1234341221434321;1.34341221434321\n")
    other.write_text("Puzzles\n12343412........\n")
    config = DataConfig(puzzle="sudoku", train=str(path), columns="q,a")
    expected = [[2, 1, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2]], [[2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2]]
    for puzzles in (load(config, "train", 0), peek(config), load_named(Experiment(data=config), str(path), "test", 0)):
        assert (puzzles.inputs.tolist(), puzzles.labels.tolist()) == expected
    with pytest.raises(DataError, match="row 1, column question: is missing; the header has 'a', 'q': say with --col"):
        load(replace(config, columns=""), "train", 0)
    # To evaluate, no answers are needed; to train, they are.
    unanswered = load_named(Experiment(data=config), str(other), "test", 0, ("Puzzles", ""))
    assert unanswered.inputs.tolist() == [[2, 3, 4, 5, 4, 5, 2, 3, *[1] * 8]]
    assert not unanswered.has_labels()
    with pytest.raises(DataError, match="row 1, column answer: is missing"):
        load(replace(config, train=str(other), columns=""), "train", 0)
    other.write_text("Puzzles\n11343412........\n")
    with pytest.raises(DataError, match="row 2, column Puzzles: digit 1 stands twice in row 1"):
        read_table(other, "sudoku", answered=False)


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        ("sudoku", "####S  G########,####SooG########", "a puzzle of kind 'maze', 4 x 4, but 'sudoku' is needed: give"),
        ("maze", "12..341.21434321,1234341221434321", "a puzzle of kind 'sudoku', 4 x 4, but 'maze' is needed: give"),
        ('{"kind": "maze", "shape": [2, 8]}', "12..341.21434321,1234341221434321", "a puzzle of kind 'sudoku', 4 x 4"),
        (
            '{"kind": "grid", "shape": [4, 4], "alphabet": "01"}',
            "####S  ####G####,1",
            "line 1, '####S  ####G####', is a",
        ),
        ("sudoku", "12..341.21434321,12##", "'#' in line 1, column 3 of the text"),
    ],
)
def test_a_table_of_another_kind_is_told_as_that(tmp_path, kind, row, told):
    path = tmp_path / "t.csv"
    path.write_text(f"question,answer\n{row}\n")
    with pytest.raises(DataError) as caught:
        read_table(path, kind)
    assert re.match(rf"{path}: row 2, column (question|answer): {re.escape(told)}", str(caught.value))
    assert "\n" not in str(caught.value)


def test_rows_are_counted_as_the_lines_of_a_file(tmp_path):
    """So that a message, a title and --row mean the same puzzle; where there are no lines, from 1."""
    table, array = tmp_path / "a.csv", tmp_path / "b.json"
    table.write_text('\nid,puzzle\n\n1,1234341221434321\n"2\n2",1234............\n3,12..............\n')
    puzzles = read_table(table, "sudoku", answered=False)
    assert [puzzles.row(i) for i in range(3)] == [4, 5, 7]
    assert [puzzles.example(row, "a") for row in (4, 5, 7)] == [0, 1, 2]
    limited = read_table(table, "sudoku", 2, answered=False)
    assert [limited.row_name(i) for i in range(2)] == ["row 4", "row 5"]
    for row, told in (
        (8, "a: no row 8: the last is 7, as"),
        (3, "a: row 3, as lines are counted, holds no puzzle; the next is row 4"),
        (6, "a: row 6, as lines are counted, holds no puzzle; the next is row 7"),
    ):
        with pytest.raises(DataError, match=told):
            puzzles.example(row, "a")
    first, second = (json.dumps({"puzzle": clues.ljust(16, ".")}) for clues in ("1234", "12"))
    array.write_text(f"[{first}, {second}]")
    told_apart = read_table(array, "sudoku", answered=False)
    assert [told_apart.example(row, "b") for row in (1, 2)] == [0, 1]
    array.write_text(f"[{first}, {second},\n{first}]")
    told_apart = read_table(array, "sudoku", answered=False)
    assert [told_apart.example(row, "b") for row in (1, 2, 3)] == [0, 1, 2]
    generated = load(DataConfig(puzzle="sudoku", train="generated", train_puzzles=2, side=4), "train", 0)
    assert [generated.example(row, "g") for row in (1, 2)] == [0, 1]
    for row in (0, 3):
        with pytest.raises(DataError, match=f"g: no row {row}: there are 2, counted from 1"):
            generated.example(row, "g")
    both = join([puzzles, from_pairs(puzzles.inputs, puzzles.labels, 6)], ["a.csv", "set"])
    assert [both.row_name(i) for i in (2, 3)] == ["row 7 of a.csv", "row 1 of set"]
    with pytest.raises(DataError, match=r"a\.csv,set: rows are counted in each of them: name one"):
        both.example(1, "a.csv,set")


def test_a_number_of_a_spreadsheet_is_no_sudoku(tmp_path):
    path = tmp_path / "rounded.csv"
    path.write_text(f"puzzle\n{'534678912672195'}{'0' * 66}\n")
    with pytest.raises(DataError, match="row 2, column puzzle: all but the first 15 digits are 0, as a spreadsheet"):
        read_table(path, "sudoku", answered=False)


def test_what_cannot_be_loaded_is_told(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text("question,answer\n1.34341221434321,2234341221434321\n")
    for make, expected in (
        (lambda: read_table(path, "sudoku"), "wrong.csv: row 2, column answer"),
        (lambda: read_table(path, "tokens"), r"wrong.csv: .*config\.data\.puzzle"),
        (lambda: read_table(tmp_path / "absent.csv", "sudoku"), "absent.csv"),
        (lambda: load(DataConfig(puzzle="sudoku"), "train", 0), r"config\.data\.train names no puzzles"),
        (lambda: load_named(experiment_from({}), "", "test", 0), "no held-out puzzles"),
        (lambda: load_named(experiment_from({}), str(tmp_path), "test", 0), "dataset.json"),
    ):
        with pytest.raises(DataError, match=expected) as caught:
            make()
        assert "\n" not in str(caught.value)


# --- Folders in the public format


def test_a_folder_is_read_as_written(folder):
    puzzles = read_folder(folder, "train")
    assert (len(puzzles), puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzles) == (11, 4, 30, 7)
    np.testing.assert_array_equal(puzzles.inputs[:, 0], np.arange(1, 12))
    np.testing.assert_array_equal(puzzles.puzzle_ids, [4, 4, 1, 2, 2, 2, 6, 5, 5, 3, 3])
    assert puzzles.puzzle_ids.dtype == np.int32
    np.testing.assert_array_equal(puzzles.puzzle_starts, PUZZLES)
    np.testing.assert_array_equal(puzzles.group_starts, GROUPS)
    assert isinstance(puzzles.inputs, np.memmap)
    np.testing.assert_array_equal(load(DataConfig(train=str(folder)), "train", 0).inputs, puzzles.inputs)


@pytest.mark.parametrize(
    ("limit", "puzzles", "groups"),
    [
        (1, [0, 1], [0, 1]),
        (2, [0, 2], [0, 1]),
        (3, [0, 2, 3], [0, 2]),
        (5, [0, 2, 3, 5], [0, 2, 3]),
        (7, [0, 2, 3, 6, 7], [0, 2, 3, 4]),
        (11, PUZZLES, GROUPS),
        (99, PUZZLES, GROUPS),
    ],
)
def test_a_limit_leaves_whole_what_it_keeps(folder, limit, puzzles, groups):
    limited = read_folder(folder, "train", limit)
    assert_consistent(limited)
    assert len(limited) == min(limit, 11)
    np.testing.assert_array_equal(limited.puzzle_starts, puzzles)
    np.testing.assert_array_equal(limited.group_starts, groups)
    np.testing.assert_array_equal(limited.puzzle_ids, read_folder(folder, "train").puzzle_ids[:limit])
    np.testing.assert_array_equal(limited.inputs[:, 0], np.arange(min(limit, 11)) + 1)


def test_two_sets_are_joined(tmp_path):
    both = {"sets": ["one", "two"], "total_groups": 6, "total_puzzles": 12}
    write_folder(tmp_path, name="one", **both)
    write_folder(tmp_path, name="two", **both, first_token=12)
    puzzles = read_folder(tmp_path, "train")
    assert len(puzzles) == 22
    np.testing.assert_array_equal(np.asarray(puzzles.inputs)[:, 0], np.arange(1, 23))
    np.testing.assert_array_equal(np.asarray(puzzles.labels)[:, 0], np.arange(1, 23))
    np.testing.assert_array_equal(puzzles.puzzle_ids, np.tile(np.repeat(IDS, np.diff(PUZZLES)), 2))
    np.testing.assert_array_equal(puzzles.puzzle_starts, [*PUZZLES, *(PUZZLES[1:] + 11)])
    np.testing.assert_array_equal(puzzles.group_starts, [*GROUPS, *(GROUPS[1:] + 6)])
    assert_consistent(read_folder(tmp_path, "train", 13))


def test_several_datasets_are_one_and_keep_their_puzzle_ids_apart(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    write_folder(first)
    write_folder(second, puzzle_identifiers=np.array([0, 1, 2, 3, 6, 6]))
    whole = load(DataConfig(train=f"{first},{second}"), "train", 0)
    one, two = read_folder(first, "train"), read_folder(second, "train")
    np.testing.assert_array_equal(whole.inputs[:11], one.inputs)
    np.testing.assert_array_equal(whole.labels[np.arange(11, 22)], two.labels)
    assert whole.num_puzzles == 13
    np.testing.assert_array_equal(whole.puzzle_ids[:11], one.puzzle_ids)
    np.testing.assert_array_equal(whole.puzzle_ids[11:], np.where(two.puzzle_ids > 0, two.puzzle_ids + 6, 0))
    assert [(origin.path, origin.shift) for origin in whole.origins] == [(first, 0), (second, 6)]
    assert_consistent(whole)
    assert len(whole) == 22
    assert whole.fingerprint not in (one.fingerprint, two.fingerprint)


def test_datasets_of_different_puzzles_are_not_joined(folder, maze_csv):
    with pytest.raises(DataError, match=r"data,.*maze\.csv: different numbers of cells \(25, 4\)|\(4, 25\)"):
        load(DataConfig(puzzle="maze", train=f"{folder},{maze_csv}"), "train", 0)
    two = load(DataConfig(puzzle="maze", train=f"{maze_csv},{maze_csv}"), "train", 0)
    assert (len(two), two.num_puzzles, len(two.group_starts)) == (12, 1, 13)
    assert len(load(DataConfig(puzzle="maze", test=f"{maze_csv},{maze_csv}", test_puzzles=9), "test", 0)) == 9


def test_a_folder_says_of_which_kind_its_puzzles_are(folder):
    about = {"kind": "grid", "shape": [2, 2], "alphabet": "".join(map(chr, range(65, 65 + 29))), "symmetries": "fliplr"}
    (folder / "puzzle.json").write_text(json.dumps(about))
    puzzles = read_folder(folder, "train")
    assert json.loads(puzzles.puzzle) == about
    for wrong, message in (
        (about | {"alphabet": "ABC"}, "dataset.json has 30 tokens, puzzle.json 4"),
        (about | {"shape": [2, 3]}, "puzzle.json: 4 cells found"),
        ({"kind": "chess"}, "puzzle.json: 'chess' is no kind of puzzle"),
        (about | {"colour": 1}, "puzzle.json: 'colour' says nothing"),
    ):
        (folder / "puzzle.json").write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=message):
            read_folder(folder, "train")


def test_a_folder_by_the_public_builder():
    dataset = ROOT.parent / "shared" / "parity" / "arc_eval" / "dataset"
    if not dataset.is_dir():
        pytest.skip(f"no dataset of the public builder at {dataset}")
    for split, per_puzzle in (("train", 4.0), ("test", 1.25)):
        puzzles = read_folder(dataset, split)
        assert (puzzles.seq_len, puzzles.vocab_size, puzzles.num_puzzles) == (900, 12, 209)
        assert_consistent(puzzles)
        assert (len(puzzles.group_starts) - 1, len(puzzles.puzzle_starts) - 1) == (16, 208)
        assert len(puzzles) == 208 * per_puzzle
        assert sorted(set(puzzles.puzzle_ids.tolist())) == list(range(1, 209))
        assert (np.asarray(puzzles.labels) != 0).any(axis=1).all()
        assert_consistent(read_folder(dataset, split, 7))


BAD = {
    "seq_len": ({"seq_len": 5}, "all__inputs.npy: shape .* dataset.json says 5 cells"),
    "no cells": ({"seq_len": 0, "inputs": np.zeros((11, 0), int)}, "dataset.json: seq_len is 0"),
    "infinite": ({"seq_len": float("inf")}, "dataset.json: not readable"),
    "text": ({"vocab_size": "many"}, "dataset.json: not readable"),
    "no list": ({"sets": 3}, "dataset.json: not readable"),
    "no sets": ({"sets": []}, "dataset.json: names no sets"),
    "outside": ({"sets": ["../x"]}, r"dataset.json: '../x' is no name for a set"),
    "number": ({"sets": [7]}, "dataset.json: '7' is no name for a set"),
    "absent set": ({"sets": ["all", "more"]}, "more__inputs.npy: not readable"),
    "ignored": ({"ignore_label_id": 5}, "dataset.json: ignore_label_id is 5"),
    "null": ({"ignore_label_id": None}, "dataset.json: ignore_label_id is null"),
    "flat": ({"inputs": np.zeros(44, np.uint8)}, r"all__inputs.npy: shape \(44,\)"),
    "scalar": ({"inputs": np.uint8(3)}, r"all__inputs.npy: shape \(\)"),
    "labels": ({"labels": np.zeros((10, 4), np.uint8)}, r"all__labels.npy: shape \(10, 4\)"),
    "scalar labels": ({"labels": np.uint8(3)}, r"all__labels.npy: shape \(\)"),
    "float": ({"inputs": np.ones((11, 4))}, "all__inputs.npy: holds float64, expected integers"),
    "bool": ({"labels": np.ones((11, 4), bool)}, "all__labels.npy: holds bool"),
    "pickled": ({"inputs": np.array([[1], None], object)}, "all__inputs.npy: holds object"),
    "high": ({"inputs": np.full((11, 4), 30, np.uint8)}, "all__inputs.npy: tokens reach from 30 to 30"),
    "negative": ({"labels": np.full((11, 4), -1, np.int8)}, "all__labels.npy: tokens reach from -1 to -1"),
    "falling": ({"puzzle_indices": np.array([0, 2, 3, 7, 6, 9, 11])}, "all__puzzle_indices.npy: not rising"),
    "unsigned": ({"puzzle_indices": PUZZLES[[0, 1, 2, 4, 3, 5, 6]].astype(np.uint32)}, "puzzle_indices.npy: not ris"),
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
    "empty": (
        {"inputs": np.zeros((0, 4), int), "labels": np.zeros((0, 4), int), "puzzle_identifiers": np.zeros(0, int),
         "puzzle_indices": np.zeros(1, int), "group_indices": np.zeros(1, int)},
        "all__puzzle_indices.npy: not rising",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_folder_is_an_error_that_names_the_file(name, tmp_path):
    changes, expected = BAD[name]
    write_folder(tmp_path, **changes)
    with pytest.raises(DataError, match=expected) as caught:
        read_folder(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_a_null_label_is_allowed_where_no_label_is_padding(tmp_path):
    write_folder(tmp_path, ignore_label_id=None, labels=np.full((11, 4), 2, np.uint8))
    assert len(read_folder(tmp_path, "train")) == 11


@pytest.mark.parametrize("field", ["inputs", "labels", "puzzle_identifiers", "puzzle_indices", "group_indices"])
def test_a_damaged_array_is_an_error_that_names_the_file(field, folder):
    path = folder / "train" / f"all__{field}.npy"
    good = path.read_bytes()
    header = good.index(b"{")
    damaged = {
        "cut off": good[:-3],
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
        "long": good[:8] + b"\xff\xff" + b" " * 70_000,
        "a later version": good[:6] + b"\x09" + good[7:],
    }
    for how, content in damaged.items():
        if content == good:
            continue
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"all__{field}.npy") as caught:
            read_folder(folder, "train")
        assert "\n" not in str(caught.value), how
    path.unlink()
    with pytest.raises(DataError, match=f"all__{field}.npy"):
        read_folder(folder, "train")
    path.mkdir()
    with pytest.raises(DataError, match=f"all__{field}.npy"):
        read_folder(folder, "train")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"all"', "null", "{}", "[" * 100_000, "\ud800", '{"seq_len": [1]}']
)
def test_a_damaged_description_is_an_error(text, folder):
    path = folder / "train" / "dataset.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(DataError, match=r"dataset\.json") as caught:
        read_folder(folder, "train")
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_folder(folder, "train")
    with pytest.raises(DataError, match=r"test.dataset\.json"):
        read_folder(folder, "test")


# --- Generated puzzles, and the fingerprint


def solutions(puzzles: PuzzleSet) -> set[bytes]:
    return {np.asarray(row, np.int8).tobytes() for row in puzzles.labels}


NINE = replace(SUDOKU, side=9, train_puzzles=25, test_puzzles=12)


@pytest.mark.parametrize("config", [SUDOKU, NINE], ids=["4x4", "9x9"])
def test_generated_sets_share_no_solution_and_follow_the_seed(config):
    train, test = load(config, "train", 1), load(config, "test", 1)
    assert (len(train), len(test)) == (config.train_puzzles, config.test_puzzles)
    assert not solutions(train) & solutions(test)
    layout = sudoku.layout_for(config.side)
    assert (train.seq_len, train.vocab_size) == (layout.cells, layout.vocab_size)
    for puzzles in (train, test):
        assert sudoku.answers(sudoku.decode(puzzles.inputs), sudoku.decode(puzzles.labels), layout).all()
        assert len(np.unique(puzzles.inputs, axis=0)) == len(puzzles)
        assert (puzzles.inputs == 1).any(axis=1).all()
    again = load(config, "train", 1)
    np.testing.assert_array_equal(train.inputs, again.inputs)
    np.testing.assert_array_equal(train.labels, again.labels)
    other = load(replace(config, train_puzzles=10), "train", 2)
    assert not np.array_equal(train.inputs[:10], other.inputs)


@pytest.mark.parametrize("config", [SUDOKU, NINE], ids=["4x4", "9x9"])
def test_a_limit_draws_from_the_solutions_that_were_held_out(config):
    """`trm eval --limit` must not measure on what was trained on."""
    experiment = experiment_from({"data": vars(config), "train": {"seed": 1}})
    test = load_named(experiment, "", "test", 0)
    for limit in (1, 5, 1000):
        limited = load_named(experiment, "", "test", limit)
        assert_consistent(limited)
        np.testing.assert_array_equal(limited.inputs, test.inputs[:limit])
        assert not solutions(limited) & solutions(load(config, "train", 1))


def test_the_fingerprint_tells_sets_apart():
    tokens = np.stack([np.arange(10), np.ones(10)], axis=1).astype(np.uint8) + 1
    singles = from_pairs(tokens, tokens, 12)
    changed = singles.labels.copy()
    changed[7, 1] += 1
    prints = {
        singles.fingerprint,
        replace(singles, labels=changed).fingerprint,
        replace(singles, inputs=changed).fingerprint,
        from_pairs(singles.inputs[:9], singles.labels[:9], 12).fingerprint,
        replace(singles, group_starts=np.array([0, 10])).fingerprint,
    }
    assert len(prints) == 5
    assert from_pairs(singles.inputs.copy(), singles.labels.copy(), 12).fingerprint == singles.fingerprint
