"""The builders of datasets: what lands in a folder, what is refused, and that a half dataset never appears."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import EDITS, assert_told, damaged, read_or_told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from trm_jax.data import dataset, folder
from trm_jax.data.builders import grid, maze, pairs, rows, sudoku, tables
from trm_jax.data.builders.appear import appearing
from trm_jax.data.builders.pairs import Pairs
from trm_jax.data.builders.sets import open_sets
from trm_jax.errors import DataError
from trm_jax.puzzles import maze as mazes
from trm_jax.puzzles import maze_generator, sudoku_rating, sudoku_search
from trm_jax.puzzles import sudoku as sudokus
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.kinds.sudoku import Sudoku

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SUDOKU = Sudoku(sudokus.layout_for(9))
SMALL = Sudoku(sudokus.layout_for(4))


def generated(count: int, seed: int = 1, kind: Sudoku = SUDOKU) -> Pairs:
    questions, answers = sudoku_search.generate(count, kind.layout, seed)
    return Pairs(sudokus.encode(questions), sudokus.encode(answers))


def table_of(path: Path, kind: Any, puzzles: Pairs, ratings: Sequence[object] | None = None) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("source", "question", "answer", "rating"))
        for i, (question, answer) in enumerate(zip(*puzzles, strict=True)):
            writer.writerow(("here", kind.text(question), kind.text(answer), ratings[i] if ratings else ""))
    return path


def read(out: Path, split: str = "train") -> Pairs:
    part = folder.read(out, split)
    return Pairs(np.asarray(part.inputs), np.asarray(part.labels))


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def image(kind: Any, puzzles: Pairs, seed: int = 0) -> Pairs:
    symmetries = kind.draw(np.random.default_rng(seed), len(puzzles.inputs))
    return Pairs(symmetries.apply(puzzles.inputs), symmetries.apply(puzzles.labels))


class TestSudoku:
    def test_each_training_puzzle_is_a_group_that_begins_with_itself(self, tmp_path: Path) -> None:
        train, test = generated(6), generated(4, seed=2)
        out = tmp_path / "out"
        summary = sudoku.build(
            out,
            table_of(tmp_path / "train.csv", SUDOKU, train),
            table_of(tmp_path / "test.csv", SUDOKU, test),
            augmentations=9,
        )
        assert (summary.groups, summary.puzzles, summary.test, summary.fewer) == (6, 60, 4, 0)
        puzzles = dataset.read_folder(out, "train")
        assert puzzles.group_starts.tolist() == list(range(0, 61, 10))
        assert puzzles.puzzle_starts.tolist() == list(range(61))
        inputs, labels = read(out)
        np.testing.assert_array_equal(inputs[::10], train.inputs)
        np.testing.assert_array_equal(labels[::10], train.labels)
        assert SUDOKU.satisfied(inputs, labels).all()
        for group in range(6):
            part = inputs[10 * group : 10 * group + 10]
            assert len(np.unique(part, axis=0)) == 10
            assert SUDOKU.overlaps(part[:1], part) == [(0, j) for j in range(10)]
        for side, wanted in zip(read(out, "test"), test, strict=True):
            np.testing.assert_array_equal(side, wanted)
        assert folder.read_identifiers(out) == ["<blank>"]
        assert folder.read_puzzle(out) == {"kind": "sudoku", "box": "3x3"}
        about = json.loads((out / "train" / "dataset.json").read_text())
        assert (about["vocab_size"], about["seq_len"], about["total_groups"]) == (11, 81, 6)

    def test_images_depend_on_seed_and_place_alone(self, tmp_path: Path) -> None:
        file = table_of(tmp_path / "train.csv", SUDOKU, generated(5))
        for name, seed, limit in (("a", 7, 0), ("b", 7, 0), ("c", 8, 0), ("d", 7, 3)):
            sudoku.build(tmp_path / name, file, None, choice=rows.Choice(limit=limit), augmentations=4, seed=seed)
        assert content(tmp_path / "a") == content(tmp_path / "b") != content(tmp_path / "c")
        np.testing.assert_array_equal(read(tmp_path / "a").inputs[:15], read(tmp_path / "d").inputs)
        assert not (tmp_path / "a" / "test").exists()

    def test_equal_puzzles_have_other_images(self, tmp_path: Path) -> None:
        puzzles = generated(1).take(np.zeros(2, np.intp))
        sudoku.build(tmp_path / "out", table_of(tmp_path / "t.csv", SUDOKU, puzzles), None, augmentations=1)
        first, second = read(tmp_path / "out").inputs[[1, 3]]
        assert not np.array_equal(first, second)

    def test_few_images_have_to_do_where_there_are_no_more(self) -> None:
        full = np.array([[2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2]], np.uint8)
        whole = Pairs(full, full)
        found = pairs.drawn_images(SMALL, 1_000, 0)(0, whole)
        # Of 288 full grids this is one of the 96 or of the 192 that are images of one another.
        assert len(np.unique(found.inputs, axis=0)) == len(found.inputs) in (96, 192)

    def test_a_box_that_cells_do_not_tell(self, tmp_path: Path) -> None:
        kind = Sudoku(sudokus.layout_from("3x2"))
        file = table_of(tmp_path / "train.csv", kind, generated(3, kind=kind))
        sudoku.build(tmp_path / "out", file, None, box="3x2")
        assert folder.read_puzzle(tmp_path / "out") == {"kind": "sudoku", "box": "3x2"}
        with pytest.raises(DataError, match=r"train\.csv: row 2, column (question|answer): digit"):
            sudoku.build(tmp_path / "other", file, None, box="2x3")

    @pytest.mark.parametrize(("box", "count"), [("3x3", 40), ("2x2", 900)])
    def test_generated_splits_share_no_puzzle_and_no_answer(self, tmp_path: Path, box: str, count: int) -> None:
        # Nine hundred puzzles of side 4 would have all 288 answers.
        out = tmp_path / "out"
        sudoku.generate(out, count, 15, sudoku.Wishes(box), seed=3)
        train, test = read(out), read(out, "test")
        kind = SUDOKU if box == "3x3" else SMALL
        assert (len(train.inputs), len(test.inputs)) == (count, 15)
        assert kind.satisfied(train.inputs, train.labels).all()
        assert kind.satisfied(test.inputs, test.labels).all()
        assert not kind.overlaps(train.inputs, test.inputs)
        assert not {row.tobytes() for row in train.labels} & {row.tobytes() for row in test.labels}

    def test_more_generated_puzzles_begin_with_the_same(self, tmp_path: Path) -> None:
        for name, train, test in (("a", 12, 4), ("b", 20, 6)):
            sudoku.generate(tmp_path / name, train, test, sudoku.Wishes(clues=(30, 40)), seed=5)
        for split in ("train", "test"):
            few, many = read(tmp_path / "a", split), read(tmp_path / "b", split)
            np.testing.assert_array_equal(few.inputs, many.inputs[: len(few.inputs)])

    def test_wishes_are_kept(self, tmp_path: Path) -> None:
        sudoku.generate(tmp_path / "clues", 10, 0, sudoku.Wishes(clues=(33, 35)), seed=1)
        given = SUDOKU.given(read(tmp_path / "clues").inputs).sum(axis=1)
        assert 33 <= given.min() <= given.max() <= 35
        sudoku.generate(tmp_path / "rated", 3, 2, sudoku.Wishes(min_rating=4), seed=1)
        train, test = (read(tmp_path / "rated", split).inputs for split in ("train", "test"))
        assert (len(train), len(test)) == (3, 2)
        assert not SUDOKU.overlaps(train, test)
        for split in (train, test):
            for question in sudokus.decode(split):
                assert sudoku_rating.rating(question, SUDOKU.layout) >= 4
        with pytest.raises(DataError, match="give either"):
            sudoku.generate(tmp_path / "both", 3, 0, sudoku.Wishes(clues=(30, 31), min_rating=4), seed=1)

    def test_the_number_of_processes_changes_nothing(self, tmp_path: Path) -> None:
        for name, workers in (("one", 1), ("two", 2)):
            sudoku.generate(tmp_path / name, 70, 3, sudoku.Wishes(clues=(40, 45)), seed=9, workers=workers)
        assert content(tmp_path / "one") == content(tmp_path / "two")

    def test_neighbours_stand_behind_their_puzzle_and_are_no_test_puzzles(self, tmp_path: Path) -> None:
        train = table_of(tmp_path / "train.csv", SMALL, generated(3, kind=SMALL))

        def built(name: str, test: Path | None = None, **how: Any) -> Pairs:
            sudoku.build(tmp_path / name, train, test, neighbours=4, seed=5, overlap="drop", **how)
            return read(tmp_path / name)

        found = built("one")
        starts = [int(np.flatnonzero((found.inputs == own).all(axis=1))[0]) for own in generated(3, kind=SMALL).inputs]
        assert starts[0] == 0
        assert [b - a > 1 for a, b in pairwise([*starts, len(found.inputs)])] == [True] * 3
        for start, end in pairwise([*starts, len(found.inputs)]):
            assert len(np.unique(found.labels[start:end], axis=0)) == 1
            assert len(np.unique(found.inputs[start:end], axis=0)) == end - start
        held_out = image(SMALL, found.take(slice(1, 2)))
        apart = built("apart", table_of(tmp_path / "test.csv", SMALL, held_out))
        assert len(apart.inputs) < len(found.inputs)
        assert not SMALL.overlaps(apart.inputs, held_out.inputs)
        with pytest.raises(DataError, match=r"^1001 neighbours: give 0 to 1000$"):
            sudoku.build(tmp_path / "many", train, None, neighbours=1_001)

    def test_what_cannot_be_held_apart_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"of 96 test puzzles only \d are no training puzzle .* 8 are needed"):
            sudoku.generate(tmp_path / "out", 400, 8, sudoku.Wishes("2x2", minimal=True), seed=0)
        assert list(tmp_path.iterdir()) == []


class TestRows:
    def file(self, tmp_path: Path) -> tuple[Path, Pairs]:
        puzzles = generated(12)
        return table_of(tmp_path / "t.csv", SUDOKU, puzzles, [3 * i for i in range(12)]), puzzles

    def test_hard_ones(self, tmp_path: Path) -> None:
        file, puzzles = self.file(tmp_path)
        _, found, lines = rows.read(file, "sudoku", choice=rows.Choice(min_rating=20))
        np.testing.assert_array_equal(found.inputs, puzzles.inputs[7:])
        assert lines.tolist() == list(range(9, 14))  # the header is row 1
        _, found, _ = rows.read(file, "sudoku", choice=rows.Choice(min_rating=21, limit=2))
        np.testing.assert_array_equal(found.labels, puzzles.labels[7:9])
        with pytest.raises(DataError, match=r"t\.csv: no row has a rating of 34 or more"):
            rows.read(file, "sudoku", choice=rows.Choice(min_rating=34))

    def test_a_sample_is_drawn_by_its_seed(self, tmp_path: Path) -> None:
        file, puzzles = self.file(tmp_path)
        drawn = [rows.read(file, "sudoku", choice=rows.Choice(sample=5, seed=seed))[1] for seed in (0, 0, 1)]
        assert [len(found.inputs) for found in drawn] == [5, 5, 5]
        np.testing.assert_array_equal(drawn[0].inputs, drawn[1].inputs)
        assert not np.array_equal(drawn[0].inputs, drawn[2].inputs)
        places = [i for _, i in SUDOKU.overlaps(drawn[0].inputs, puzzles.inputs)]
        assert len(places) == 5
        assert places == sorted(set(places))
        _, everything, _ = rows.read(file, "sudoku", choice=rows.Choice(sample=100))
        np.testing.assert_array_equal(everything.inputs, puzzles.inputs)

    def test_only_chosen_rows_are_looked_at(self, tmp_path: Path) -> None:
        puzzles = generated(4)
        wrong = puzzles.labels.copy()
        wrong[2, :2] = wrong[2, 1::-1]
        file = table_of(tmp_path / "t.csv", SUDOKU, Pairs(puzzles.inputs, wrong), [9, 9, 1, 9])
        _, found, _ = rows.read(file, "sudoku", choice=rows.Choice(min_rating=2))
        np.testing.assert_array_equal(found.labels, puzzles.labels[[0, 1, 3]])
        with pytest.raises(DataError, match=r"t\.csv: row 4, column answer: digit \d stands twice"):
            rows.read(file, "sudoku", choice=rows.Choice(min_rating=1))

    @pytest.mark.parametrize("value", ["", "-1", "3.5", "many", "9" * 40, "٣"])
    def test_a_rating_that_is_none(self, tmp_path: Path, value: str) -> None:
        file = table_of(tmp_path / "t.csv", SUDOKU, generated(2), [3, value])
        with pytest.raises(DataError, match=r"t\.csv: row 3, column rating: (.* is no whole number|is empty)"):
            rows.read(file, "sudoku", choice=rows.Choice(min_rating=1))

    def test_none_to_draw_from(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("question,answer\n")
        with pytest.raises(DataError, match=r"t\.csv: row 2, column question: the file holds no row of puzzles"):
            rows.read(tmp_path / "t.csv", "sudoku", choice=rows.Choice(sample=1))

    def test_no_column_of_ratings(self, tmp_path: Path) -> None:
        (tmp_path / "t.csv").write_text("question,answer\n1,1\n")
        with pytest.raises(DataError, match="column rating: is missing"):
            rows.read(tmp_path / "t.csv", "sudoku", choice=rows.Choice(min_rating=1))


class TestOverlap:
    def files(self, tmp_path: Path) -> tuple[Path, Path, Pairs]:
        train, test = generated(5), generated(3, seed=2)
        hidden = image(SUDOKU, train.take(slice(3, 4)))
        test = Pairs(*(np.concatenate(each) for each in zip(test, hidden, strict=True)))
        return (
            table_of(tmp_path / "train.csv", SUDOKU, train),
            table_of(tmp_path / "test.csv", SUDOKU, test),
            train,
        )

    def test_is_refused(self, tmp_path: Path) -> None:
        train, test, _ = self.files(tmp_path)
        with pytest.raises(DataError, match=r"1 training .* first row 5 of \S+train\.csv and row 5 of \S+test\.csv: "):
            sudoku.build(tmp_path / "out", train, test)
        assert not (tmp_path / "out").exists()

    def test_is_dropped_from_training(self, tmp_path: Path) -> None:
        train, test, puzzles = self.files(tmp_path)
        summary = sudoku.build(tmp_path / "out", train, test, overlap="drop")
        assert (summary.dropped, summary.groups, summary.test) == (1, 4, 4)
        np.testing.assert_array_equal(read(tmp_path / "out").inputs, puzzles.inputs[[0, 1, 2, 4]])

    def test_is_kept(self, tmp_path: Path) -> None:
        train, test, _ = self.files(tmp_path)
        summary = sudoku.build(tmp_path / "out", train, test, overlap="keep")
        assert (summary.dropped, summary.groups) == (0, 5)

    def test_nothing_left_to_train_on(self, tmp_path: Path) -> None:
        file = table_of(tmp_path / "same.csv", SUDOKU, generated(2))
        with pytest.raises(DataError, match="no training puzzles are left"):
            sudoku.build(tmp_path / "out", file, file, overlap="drop")

    def test_generated_test_puzzles_are_passed_over(self) -> None:
        train, other = generated(4), generated(6, seed=2)
        spoilt = Pairs(*(side.copy() for side in other))
        for side, known in zip(spoilt, image(SUDOKU, train), strict=True):
            side[1] = known[2]  # the same puzzle up to symmetry
        spoilt.labels[3] = train.labels[0]  # another puzzle with the same answer
        asked = []

        def make(count: int, stream: int) -> Pairs:
            asked.append((count, stream))
            return (spoilt if stream else train).take(slice(count))

        learnt, held_out = pairs.generate_apart(SUDOKU, make, 4, 4)
        assert len(learnt.inputs) == 4
        np.testing.assert_array_equal(held_out.inputs, other.inputs[[0, 2, 4, 5]])
        assert asked == [(4, 0), (4, 1), (20, 1)]


class TestMaze:
    def mazes(self, count: int = 4, shape: tuple[int, int] = (8, 8), seed: int = 0) -> Pairs:
        return Pairs(*maze_generator.generate(count, shape, seed, min_length=8))

    def test_all_images_in_the_original_order(self, tmp_path: Path) -> None:
        puzzles = self.mazes()
        file = table_of(tmp_path / "t.csv", Maze((8, 8)), puzzles)
        summary = maze.build(tmp_path / "out", file, None, augment=True)
        assert (summary.groups, summary.puzzles) == (4, 32)
        for side, wanted in zip(read(tmp_path / "out"), puzzles, strict=True):
            for group, tokens in enumerate(wanted.reshape(-1, 8, 8)):
                turns = [np.rot90(tokens, k) for k in range(4)]
                images = [*turns, np.fliplr(tokens), np.flipud(tokens), tokens.T, np.fliplr(turns[1])]
                np.testing.assert_array_equal(side[8 * group : 8 * group + 8], [each.ravel() for each in images])

    def test_a_rectangle_has_four(self, tmp_path: Path) -> None:
        puzzles = self.mazes(3, (6, 9))
        file = table_of(tmp_path / "t.csv", Maze((6, 9)), puzzles)
        maze.build(tmp_path / "out", file, None, puzzle='{"kind": "maze", "shape": [6, 9]}', augment=True)
        found = read(tmp_path / "out").inputs[:4].reshape(-1, 6, 9)
        first = puzzles.inputs[0].reshape(6, 9)
        np.testing.assert_array_equal(found, [first, np.rot90(first, 2), np.fliplr(first), np.flipud(first)])
        assert dataset.read_folder(tmp_path / "out", "train").puzzle == '{"kind": "maze", "shape": [6, 9]}'

    def test_generated(self, tmp_path: Path) -> None:
        news: list[tuple[int, int]] = []
        wishes = maze.Wishes((10, 12), 20)
        maze.generate(tmp_path / "out", 6, 3, wishes, seed=1, progress=lambda done, total: news.append((done, total)))
        for split, count in (("train", 6), ("test", 3)):
            found = read(tmp_path / "out", split)
            assert len(found.inputs) == count
            for question, answer in zip(*found, strict=True):
                assert mazes.shortest_length(question, (10, 12)) >= 20
                assert mazes.is_shortest_path(question, answer, (10, 12))
        assert [done for done, _ in news] == list(range(1, 10))
        assert {total for _, total in news} == {9}

    def test_overlap_up_to_symmetry(self, tmp_path: Path) -> None:
        puzzles = self.mazes()
        train = table_of(tmp_path / "train.csv", Maze((8, 8)), puzzles)
        turned = Pairs(*(np.rot90(side.reshape(-1, 8, 8), 1, (1, 2)).reshape(-1, 64) for side in puzzles))
        test = table_of(tmp_path / "test.csv", Maze((8, 8)), turned.take(slice(1, 2)))
        with pytest.raises(DataError, match="1 training puzzles are test puzzles"):
            maze.build(tmp_path / "out", train, test)

    def test_sizes_that_differ(self, tmp_path: Path) -> None:
        train = table_of(tmp_path / "train.csv", Maze((8, 8)), self.mazes())
        test = table_of(tmp_path / "test.csv", Maze((7, 7)), self.mazes(2, (7, 7)))
        with pytest.raises(DataError, match="another size"):
            maze.build(tmp_path / "out", train, test)


class TestGrid:
    ABOUT = {"kind": "grid", "shape": [2, 3], "alphabet": ".ab", "symmetries": "rot180 relabel(ab)"}  # noqa: RUF012

    def rules(self, question: str, answer: str) -> bool:
        return answer == question.translate(str.maketrans("ab", "ba"))

    def file(self, tmp_path: Path, count: int = 60) -> Path:
        rng = np.random.default_rng(0)
        lines = []
        for _ in range(count):
            question = "".join(rng.choice(list(".ab"), 6))
            answer = question.translate(str.maketrans("ab", "ba"))
            lines.append(json.dumps({"q": [question[:3], question[3:]], "a": answer}))
        (tmp_path / "rows.jsonl").write_text("\n".join(lines))
        return tmp_path / "rows.jsonl"

    def test_rows_held_out_are_like_none_that_stays(self, tmp_path: Path) -> None:
        out = tmp_path / "out"
        summary = grid.build(
            out, self.ABOUT, self.file(tmp_path), rules=self.rules, columns=("q", "a"), holdout=10, augmentations=3
        )
        kind = kind_of(json.dumps(self.ABOUT), 6, self.rules)
        train, test = read(out), read(out, "test")
        assert len(test.inputs) == 10 == len({i for i, j in kind.overlaps(test.inputs, test.inputs) if i == j})
        assert len(kind.overlaps(test.inputs, test.inputs)) == 10
        assert not kind.overlaps(train.inputs, test.inputs)
        assert summary.groups + summary.dropped + 10 == 60
        assert summary.dropped > 0
        assert kind.satisfied(train.inputs, train.labels).all()
        assert kind.satisfied(test.inputs, test.labels).all()
        # Two maps by two relabellings make four images at most.
        assert summary.groups < summary.puzzles <= 4 * summary.groups
        again = tmp_path / "again"
        grid.build(again, self.ABOUT, self.file(tmp_path), columns=("q", "a"), holdout=10, augmentations=3)
        assert content(out) == content(again)

    def test_more_held_out_than_differ(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="60 rows cannot be held out"):
            grid.build(tmp_path / "out", self.ABOUT, self.file(tmp_path), columns=("q", "a"), holdout=60)

    def test_rows_that_break_the_rules(self, tmp_path: Path) -> None:
        file = self.file(tmp_path, 5)
        file.write_text(file.read_text() + '\n{"q": "abab..", "a": "abab.."}\n')
        with pytest.raises(DataError, match=r"rows\.jsonl: row 6, key a: the rules given do not accept it"):
            grid.build(tmp_path / "out", self.ABOUT, file, rules=self.rules, columns=("q", "a"))

    def test_no_symmetries_to_augment_by(self, tmp_path: Path) -> None:
        about = self.ABOUT | {"symmetries": ""}
        with pytest.raises(DataError, match="no symmetries are known"):
            grid.build(tmp_path / "out", about, self.file(tmp_path), columns=("q", "a"), augmentations=2)

    def test_held_out_and_a_test_file(self, tmp_path: Path) -> None:
        file = self.file(tmp_path)
        with pytest.raises(DataError, match="give either"):
            grid.build(tmp_path / "out", self.ABOUT, file, file, columns=("q", "a"), holdout=3)

    def test_a_wrong_description(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="alphabet: 'a' stands there twice"):
            grid.build(tmp_path / "out", self.ABOUT | {"alphabet": ".aa"}, self.file(tmp_path), columns=("q", "a"))


class TestTables:
    def test_a_table_reads_back(self, tmp_path: Path) -> None:
        for name in ("a.csv", "b.csv.gz", "c.csv.gz"):
            sudoku.generate_table(tmp_path / name, 4, sudoku.Wishes(min_rating=2), seed=2)
        text = (tmp_path / "a.csv").read_bytes()
        assert gzip.decompress((tmp_path / "b.csv.gz").read_bytes()) == text
        assert (tmp_path / "b.csv.gz").read_bytes() == (tmp_path / "c.csv.gz").read_bytes()
        # No time, and no name: these bytes of a gzip file would tell that there are some.
        assert (tmp_path / "b.csv.gz").read_bytes()[3:8] == bytes(5)
        lines = list(csv.DictReader(text.decode().splitlines()))
        assert [line["source"] for line in lines] == ["trm_jax seed 2"] * 4
        assert all(
            int(line["rating"]) == sudoku_rating.rating(sudokus.parse(line["question"]), SUDOKU.layout) >= 2
            for line in lines
        )
        assert len(dataset.read_table(tmp_path / "b.csv.gz", "sudoku")) == 4

    def test_the_rating_of_a_maze_is_its_length(self, tmp_path: Path) -> None:
        maze.generate_table(tmp_path / "m.csv", 3, maze.Wishes((7, 9), 9), seed=0)
        for line in csv.DictReader((tmp_path / "m.csv").open()):
            assert int(line["rating"]) == mazes.shortest_length(mazes.parse(line["question"], (7, 9)), (7, 9)) >= 9

    def test_names(self) -> None:
        found = [name for name in ("a.csv", "x/a.csv.gz", "a.csv/b", "a.gz", "csv") if tables.is_table(Path(name))]
        assert found == ["a.csv", "x/a.csv.gz"]


class TestAppearing:
    def test_a_file_and_a_folder(self, tmp_path: Path) -> None:
        with appearing(tmp_path / "deep" / "file") as path:
            path.write_text("x")
            assert not (tmp_path / "deep" / "file").exists()
        with appearing(tmp_path / "folder") as path:
            path.mkdir()
            (path / "in").write_text("y")
        assert content(tmp_path) == {"deep/file": b"x", "folder/in": b"y"}

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
    def test_an_exception_leaves_nothing(self, tmp_path: Path, error: type[BaseException]) -> None:
        def fail() -> None:
            with appearing(tmp_path / "out") as path:
                path.mkdir()
                (path / "half").write_text("x")
                raise error

        with pytest.raises(error):
            fail()
        assert list(tmp_path.iterdir()) == []

    def test_what_exists_is_never_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        for name in ("file", "link"):
            with pytest.raises(DataError, match="exists already"), appearing(tmp_path / name):
                pytest.fail("begun")
        with pytest.raises(DataError, match="exists already"):
            self.come_late(tmp_path / "late")
        assert content(tmp_path) == {"file": b"mine", "late": b"mine"}

    def come_late(self, out: Path) -> None:
        with appearing(out) as path:
            path.write_text("x")
            out.write_text("mine")

    def test_what_the_dead_left_is_removed(self, tmp_path: Path) -> None:
        ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
        dead = tmp_path / f".out.making-{int(ended.stdout)}"
        dead.mkdir()
        (dead / "half").write_text("x")
        living = tmp_path / f".out.making-{os.getppid()}"
        living.write_text("x")
        with appearing(tmp_path / "out") as path:
            path.write_text("x")
        assert {each.name for each in tmp_path.iterdir()} == {"out", living.name}

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(DataError, match="cannot be written"), appearing(tmp_path / "file" / "out"):
            pytest.fail("begun")


TRM = [sys.executable, "-c", "import sys; from trm_jax.commands.cli import main; sys.exit(main(sys.argv[1:]))", "data"]


class TestFullDisk:
    @pytest.mark.parametrize("out", ["out", "out.csv.gz", pytest.param("out.csv", marks=pytest.mark.slow)])
    def test_nothing_half_stays(self, tmp_path: Path, out: str) -> None:
        done = subprocess.run(
            # In blocks of 1,024 bytes.
            ["bash", "-c", 'ulimit -f 1 && exec "$@"', "limited", *TRM, "sudoku", out, "--generate", "60"],
            cwd=tmp_path,
            capture_output=True,
        )
        assert done.returncode == 2
        (line,) = done.stderr.decode().splitlines()
        assert f"{out}: cannot be written (File too large)" in line
        assert list(tmp_path.iterdir()) == []


class TestKilled:
    def start(self, tmp_path: Path, *words: str) -> "subprocess.Popen[bytes]":
        """A build of minutes, as soon as it writes."""
        file = table_of(tmp_path / "train.csv", SUDOKU, generated(300))
        command = [*TRM, "sudoku", "out", "--train", str(file), "--augmentations", "10000", *words]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while not list(tmp_path.glob(".out.building-*/train/*inputs.npy")):
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.3)
        return process

    @pytest.mark.slow  # tests/runs/test_signals.py stops builders too
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
    def test_by_a_signal_that_can_be_answered(self, tmp_path: Path, number: int, code: int) -> None:
        process = self.start(tmp_path)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert errors.decode().splitlines()[-1] in ("trm: terminated", "trm: interrupted")
        assert b"Traceback" not in errors
        assert {path.name for path in tmp_path.iterdir()} == {"train.csv"}

    def test_by_one_that_cannot(self, tmp_path: Path) -> None:
        process = self.start(tmp_path)
        process.kill()
        process.communicate(timeout=60)
        (left,) = tmp_path.glob(".out.building-*")
        assert not (tmp_path / "out").exists()
        with pytest.raises(DataError):
            folder.read(left, "train")
        done = subprocess.run([*TRM, "sudoku", "out", "--train", "train.csv"], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr
        assert len(dataset.read_folder(tmp_path / "out", "train")) == 300
        assert {path.name for path in tmp_path.iterdir()} == {"train.csv", "out"}

    @pytest.mark.slow  # tests/runs/test_signals.py stops builders too
    def test_while_processes_help(self, tmp_path: Path) -> None:
        command = [*TRM, "sudoku", "out", "--generate", "100000", "--workers", "2"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE)
        assert process.stderr is not None
        assert b"generating" in process.stderr.readline()
        process.terminate()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 143
        assert errors.decode().splitlines()[-1] == "trm: terminated"
        assert list(tmp_path.iterdir()) == []


def test_grid_kind_is_what_the_folder_tells(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer\n.1,21\n1.,12\n")
    grid.build(tmp_path / "out", {"kind": "grid", "shape": [1, 2], "alphabet": ".12"}, tmp_path / "t.csv")
    kind = kind_of(dataset.read_folder(tmp_path / "out", "train").puzzle, 2)
    assert isinstance(kind, Grid)
    assert read(tmp_path / "out").labels.tolist() == [[3, 2], [2, 3]]


ROW = "{},12..341.21434321,1234341221434321,{}\n"
RATED = "source,question,answer,rating\n" + ROW.format("a", 1) + ROW.format("b", 20) + ROW.format("c", 3)


@FUZZ
@given(EDITS, st.none() | st.integers(0, 1 << 8), st.sampled_from([None, 3]), st.integers(0, 2))
@example([(RATED.index(",20"), b",\xc2\xb2", 3)], None, 3, 0)
@example([(RATED.index(",20"), b"," + b"9" * 5_000, 3)], None, 3, 0)
def test_any_table_is_chosen_from_or_told(
    tmp_path: Path, edits: Any, cut: int | None, min_rating: int | None, sample: int
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(damaged(RATED.encode(), edits, cut))
    choice = rows.Choice(min_rating=min_rating, sample=sample)
    for read_table in (lambda: rows.read(path, "sudoku", choice=choice)[1], lambda: open_sets(path)[0].pairs(slice(9))):
        table, told = read_or_told(read_table, DataError)
        if told:
            assert_told(told, path)
            assert edits or cut is not None
        else:
            inputs, labels = table
            assert inputs.shape == labels.shape
            assert len(inputs) >= 1
