"""`verify` finds what is wrong with a dataset, says where, and finds nothing wrong with a right one."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trm_jax.data.builders import arc, maze, sudoku
from trm_jax.data.builders.arc import Subset
from trm_jax.data.builders.checks import Check, Report
from trm_jax.data.builders.verify import verify
from trm_jax.data.folder_writer import Writer
from trm_jax.errors import DataError
from trm_jax.puzzles import maze as mazes
from trm_jax.puzzles import maze_generator, sudoku_search
from trm_jax.puzzles import sudoku as sudokus
from trm_jax.puzzles.kinds.sudoku import Sudoku

FUZZ = int(os.environ.get("TRM_FUZZ", "100"))
SUDOKU = Sudoku(sudokus.layout_for(9))

Change = Callable[[NDArray[np.uint8]], None]


def found(report: Report, what: str, where: str = "") -> Check:
    (check,) = [check for check in report.checks if check.what == what and check.where.endswith(where)]
    return check


def at_fault(report: Report) -> dict[str, int]:
    counts: dict[str, int] = {}
    for check in report.checks:
        if check.faults:
            counts[check.what] = counts.get(check.what, 0) + check.faults
    return counts


def edit(out: Path, field: str, change: Change, split: str = "train") -> None:
    path = out / split / f"all__{field}.npy"
    array = np.load(path, allow_pickle=False)
    change(array)
    np.save(path, array)


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A right dataset of each kind."""
    made = {name: tmp_path_factory.mktemp("right") / name for name in ("sudoku", "maze", "arc")}
    sudoku.generate(made["sudoku"], 6, 3, sudoku.Wishes(), seed=0, augmentations=3)
    maze.generate(made["maze"], 5, 3, maze.Wishes((9, 9), 10), seed=0, augment=True)
    files = tmp_path_factory.mktemp("tasks")
    arc.build(
        [write_tasks(files, "train", 4), write_tasks(files, "eval", 3)], made["arc"], test=["eval"], augmentations=5
    )
    return made


def grid_of(rng: np.random.Generator) -> list[list[int]]:
    height, width = rng.integers(2, 7, 2)
    cells = rng.integers(0, 10, (height, width))
    return [[int(cell) for cell in row] for row in cells]


def write_tasks(folder: Path, name: str, count: int) -> Subset:
    rng = np.random.default_rng(len(name))
    tasks, solutions = {}, {}
    for number in range(count):
        task = f"{name}{number}"
        examples = [{"input": grid_of(rng), "output": grid_of(rng)} for _ in range(3)]
        tasks[task] = {"train": examples, "test": [{"input": grid_of(rng)} for _ in range(2)]}
        solutions[task] = [grid_of(rng) for _ in range(2)]
    paths = folder / f"{name}_challenges.json", folder / f"{name}_solutions.json"
    for path, content in zip(paths, (tasks, solutions), strict=True):
        path.write_text(json.dumps(content))
    return Subset(name, *paths)


@pytest.mark.parametrize("kind", ["sudoku", "maze", "arc"])
def test_a_right_dataset_has_no_faults(right: Mapping[str, Path], kind: str) -> None:
    report = verify([right[kind]])
    assert report.faults == 0
    looked = {check.what for check in report.checks if check.checked}
    assert (
        looked
        >= {
            "sudoku": {"structure", "no padding", "rules", "one solution", "images", "repeats", "overlap"},
            "maze": {"structure", "no padding", "rules", "public tie-break", "images", "repeats", "overlap"},
            "arc": {"structure", "identifiers", "tasks", "boards", "augmentations", "overlap"},
        }[kind]
    )


def test_progress_reaches_its_end(right: Mapping[str, Path]) -> None:
    for kind in ("sudoku", "arc"):
        news: list[tuple[int, int]] = []
        verify([right[kind]], progress=lambda done, total, news=news: news.append((done, total)))
        assert news[-1][0] == news[-1][1]
        assert news == sorted(news)


class TestSudoku:
    def test_a_label_that_breaks_the_rules(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")

        def change(labels: NDArray[np.uint8]) -> None:
            labels[5, :2] = labels[5, 1::-1]

        edit(out, "labels", change)
        report = verify([out])
        assert at_fault(report) == {"rules": 1}
        assert found(report, "rules", "train").places[0].startswith("row 6: answer: digit ")

    def test_a_clue_that_the_label_does_not_keep(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        labels = np.load(out / "train/all__labels.npy", allow_pickle=False)

        def change(inputs: NDArray[np.uint8]) -> None:
            # A clue goes and another digit comes, which no unit has twice.
            place = np.flatnonzero(inputs[4] > 1)[0]
            for digit in range(2, 11):
                trial = inputs[4].copy()
                trial[place] = digit
                if digit != labels[4, place] and not sudokus.conflicts(sudokus.decode(trial), SUDOKU.layout):
                    inputs[4] = trial
                    return

        edit(out, "inputs", change)
        report = verify([out])
        assert at_fault(report)["rules"] == 1
        assert "but the question gives" in found(report, "rules", "train").places[0]
        # Row 4 begins its group: it has no solution, or another, and the others are no images of it.
        assert at_fault(report)["one solution"] == 1
        assert at_fault(report)["images"] == 3

    def test_a_second_solution(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")

        def change(inputs: NDArray[np.uint8]) -> None:
            inputs[8, np.flatnonzero(inputs[8] > 1)[:12]] = 1
            inputs[9, np.flatnonzero(inputs[9] > 1)[:12]] = 1  # no first of its group

        edit(out, "inputs", change)
        report = verify([out])
        check = found(report, "one solution", "train")
        assert (check.faults, check.places) == (1, ("row 9: more than one solution",))
        assert (found(report, "rules", "train").faults, found(report, "images", "train").faults) == (0, 3)
        assert at_fault(verify([out], quick=True)) == {}

    def test_processes_find_the_same(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        edit(out, "inputs", lambda inputs: inputs.__setitem__((0, slice(0, 40)), 1))
        assert verify([out], workers=2) == verify([out])

    def test_an_image_of_another_puzzle(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        for field in ("inputs", "labels"):
            edit(out, field, lambda array: array.__setitem__(7, array[0]))
        report = verify([out])
        assert at_fault(report) == {"images": 1}
        assert found(report, "images", "train").places == ("row 8: no image of row 5, with which its group begins",)

    def test_padding(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        edit(out, "inputs", lambda inputs: inputs.__setitem__((2, np.flatnonzero(inputs[2] == 1)[0]), 0), "test")
        report = verify([out])
        assert at_fault(report) == {"no padding": 1}
        assert found(report, "no padding", "test").places == ("row 3: padding, which no puzzle of this kind has",)

    def test_repeats_and_overlaps(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        train = {field: np.load(out / f"train/all__{field}.npy", allow_pickle=False) for field in ("inputs", "labels")}
        for field, array in train.items():
            # Row 13 is an image of row 12, with which its group begins.
            edit(out, field, lambda test, array=array: test.__setitem__(slice(1, 3), array[13]), "test")
        report = verify([out])
        assert at_fault(report) == {"repeats": 1, "overlap": 2}
        assert found(report, "repeats", "test").places == ("row 3: the same question as in row 2",)
        assert found(report, "overlap").places[0] == f"row 2 of {out} test is row 13 of {out} train up to symmetry"

    def test_two_paths_are_compared(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        part = (
            np.load(right["sudoku"] / "train/all__inputs.npy", allow_pickle=False),
            np.load(right["sudoku"] / "train/all__labels.npy", allow_pickle=False),
        )
        lines = [",".join(SUDOKU.text(side[row]) for side in part) for row in (1, 21)]
        table = tmp_path / "other.csv"
        table.write_text("question,answer\n" + "\n".join(lines) + "\n")
        report = verify([right["sudoku"], table])
        assert at_fault(report) == {"overlap": 2}
        assert found(report, "overlap", f"train / {table}").faults == 2
        assert found(report, "overlap", f"test / {table}").faults == 0

    def test_names_that_do_not_go_with_ids(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["sudoku"], tmp_path / "out")
        (out / "identifiers.json").write_text('["zero", "one", "one"]')
        check = found(verify([out]), "identifiers", "train")
        assert check.faults == 3
        assert "has 3 names, dataset.json has 1" in check.places[0]

    def test_of_the_originals_builder(self, tmp_path: Path) -> None:
        questions, answers = sudoku_search.generate(3, SUDOKU.layout, 0)
        with Writer(tmp_path / "out", 81, 11, puzzle=None) as writer:
            writer.split("train").add_singles(sudokus.encode(questions), sudokus.encode(answers))
        report = verify([tmp_path / "out"])
        assert report.faults == 0
        assert "sudoku 9 x 9 (guessed)" in report.checks[0].note

    @settings(
        max_examples=max(20, FUZZ // 10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(row=st.integers(0, 23), cell=st.integers(0, 80), token=st.integers(0, 10))
    def test_every_wrong_token_of_a_label_is_found(
        self, right: Mapping[str, Path], tmp_path: Path, row: int, cell: int, token: int
    ) -> None:
        out = tmp_path / f"{row}-{cell}-{token}"
        if not out.exists():
            copied(right["sudoku"], out)
            edit(out, "labels", lambda labels: labels.__setitem__((row, cell), token))
        before = np.load(right["sudoku"] / "train/all__labels.npy", allow_pickle=False)[row, cell]
        check = found(verify([out], quick=True), "rules", "train")
        assert check.faults == (token != before)


class TestMaze:
    def test_a_path_that_is_not_the_shortest_and_one_that_is(self, tmp_path: Path) -> None:
        puzzle = (
            mazes.parse("S  ##     G", (1, 11)) if False else mazes.parse("S   " + " #  " + "    " + "   G", (4, 4))
        )
        down_first = mazes.solve(puzzle, (4, 4))
        right_first = mazes.parse("Sooo" + " # o" + "   o" + "   G", (4, 4))
        longer = mazes.parse("So  " + "o#  " + "o   " + "oooG", (4, 4))
        assert not np.array_equal(down_first, right_first)
        with Writer(tmp_path / "out", 16, 6, puzzle={"kind": "maze", "shape": [4, 4]}) as writer:
            other = mazes.parse("S   " + "  # " + "    " + "   G", (4, 4))
            third = mazes.parse("S   " + "    " + "  # " + "   G", (4, 4))
            answers = [down_first, mazes.parse("Sooo" + "  #o" + "   o" + "   G", (4, 4)), longer]
            writer.split("train").add_singles(np.stack([puzzle, other, third]), np.stack(answers))
        report = verify([tmp_path / "out"])
        assert found(report, "rules").faults == 1
        assert found(report, "rules").places[0].startswith("row 3: answer: ")
        assert found(report, "public tie-break").note == "1 of 3 labels follow it"

    def test_a_question_that_is_none(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["maze"], tmp_path / "out")
        edit(out, "inputs", lambda inputs: inputs.__setitem__((1, inputs[1] == mazes.START), mazes.FREE), "test")
        report = verify([out])
        assert found(report, "rules", "test").places == ("row 2: question: exactly one start S is needed, but 0 found",)
        assert found(report, "public tie-break", "test").checked == 2

    def test_an_image_that_is_none(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["maze"], tmp_path / "out")
        for field in ("inputs", "labels"):
            edit(out, field, lambda array: array.__setitem__(11, array[16]))
        assert at_fault(verify([out])) == {"images": 1}


class TestArc:
    def row_of(self, out: Path, split: str, name: str) -> int:
        """The first example of the first puzzle whose name holds this."""
        names = json.loads((out / "identifiers.json").read_text())
        ids = np.load(out / split / "all__puzzle_identifiers.npy", allow_pickle=False)
        puzzle = next(i for i, number in enumerate(ids) if name in names[number])
        return int(np.load(out / split / "all__puzzle_indices.npy", allow_pickle=False)[puzzle])

    def change_board(self, out: Path, split: str, row: int, change: Change, field: str = "labels") -> None:
        def edited(array: NDArray[np.uint8]) -> None:
            board = array[row].reshape(30, 30)
            change(board)

        edit(out, field, edited, split)

    def test_a_wrong_colour(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        for split, task in (("train", "train2|||"), ("train", "eval1|||"), ("test", "eval1|||")):
            out = copied(right["arc"], tmp_path / f"{split}{task[0]}")
            row = self.row_of(out, split, task)

            def change(board: NDArray[np.uint8]) -> None:
                y, x = np.argwhere(board > 1)[0]
                board[y, x] = 2 + (board[y, x] - 1) % 10

            self.change_board(out, split, row, change)
            report = verify([out])
            assert at_fault(report) == {"augmentations": 1}
            name = task.removesuffix("|||")
            assert found(report, "augmentations", split).places == (
                f"row {row + 1}: turned back, it is no example of task {name}",
            )

    def test_markers(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        def no_marker(board: NDArray[np.uint8]) -> None:
            board[tuple(np.argwhere(board == 1)[0])] = 0

        def one_more(board: NDArray[np.uint8]) -> None:
            y, x = np.argwhere(board == 1).max(axis=0)
            board[y, x] = 1  # the corner between both, which stays padding

        def colour_outside(board: NDArray[np.uint8]) -> None:
            board[29, 29] = 5

        def empty(board: NDArray[np.uint8]) -> None:
            board[:] = 0

        for i, change in enumerate((no_marker, one_more, colour_outside, empty)):
            out = copied(right["arc"], tmp_path / f"out{i}")
            row = self.row_of(out, "test", "eval0|||")
            self.change_board(out, "test", row, change, "inputs")
            report = verify([out])
            check = found(report, "boards", "test")
            assert check.places == (f"row {row + 1}: the input is no single grid with its end markers",), change

    def test_places(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        row = self.row_of(out, "test", "eval2|||")

        def down(board: NDArray[np.uint8]) -> None:
            board[:] = np.roll(board, 1, axis=0)

        self.change_board(out, "test", row, down)
        report = verify([out])
        assert at_fault(report) == {"boards": 2}
        assert set(found(report, "boards", "test").places) == {
            f"row {row + 1}: input and label begin at different places",
            f"row {row + 1}: not at the top left, where answers are read",
        }

    def test_a_name_that_is_not_the_augmentation(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        names = json.loads((out / "identifiers.json").read_text())
        number = next(i for i, name in enumerate(names) if name.startswith("train1|||"))
        task, turn, colours = names[number].split("|||")
        names[number] = "|||".join((task, f"t{(int(turn[1]) + 1) % 8}", colours))
        (out / "identifiers.json").write_text(json.dumps(names))
        assert at_fault(verify([out])) == {"augmentations": 5}

    def test_names_that_are_none(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        names = json.loads((out / "identifiers.json").read_text())
        numbers = [i for i, name in enumerate(names) if name.startswith("train1")]
        names[numbers[1]] = "train1|||t9|||0123456789"
        names[numbers[2]] = names[numbers[3]]
        (out / "identifiers.json").write_text(json.dumps(names))
        report = verify([out])
        assert any("is no name of an augmented task" in place for place in found(report, "tasks", "train").places)
        assert found(report, "identifiers", "train").faults == 1

    def test_a_task_without_its_own_name(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        names = json.loads((out / "identifiers.json").read_text())
        names[names.index("train3")] = "train3|||t1|||0123456789"
        (out / "identifiers.json").write_text(json.dumps(names))
        check = found(verify([out]), "tasks", "train")
        assert check.places == ("task train3: no puzzle bears its own name, so there is nothing to compare with",)

    def test_a_group_of_two_tasks_and_a_missing_one(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        names = json.loads((out / "identifiers.json").read_text())
        number = next(i for i, name in enumerate(names) if name.startswith("train0|||"))
        names[number] = names[number].replace("train0", "train1")
        (out / "identifiers.json").write_text(json.dumps(names))
        content = json.loads((out / "test_puzzles.json").read_text())
        content["another"] = content["eval0"]
        (out / "test_puzzles.json").write_text(json.dumps(content))
        report = verify([out])
        places = [place for check in report.checks for place in check.places]
        assert "group 0: puzzles of different tasks, train0, train1" in places
        assert "task another of test_puzzles.json is missing" in places

    def test_an_example_too_few(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        content = json.loads((out / "test_puzzles.json").read_text())
        content["eval0"]["test"].append(content["eval1"]["test"][0])
        (out / "test_puzzles.json").write_text(json.dumps(content))
        check = found(verify([out]), "augmentations", "test")
        assert check.faults == 6
        assert "2 examples, but task eval0 has 3" in check.places[0]

    def test_an_example_twice(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        row = self.row_of(out, "train", "train0|||")
        for field in ("inputs", "labels"):
            edit(out, field, lambda array: array.__setitem__(row + 1, array[row]))
        check = found(verify([out]), "augmentations", "train")
        assert check.places == (f"row {row + 2}: turned back, it is no example of task train0",)

    def test_a_name_that_would_move_the_cursor(self, right: Mapping[str, Path], tmp_path: Path) -> None:
        out = copied(right["arc"], tmp_path / "out")
        names = json.loads((out / "identifiers.json").read_text())
        names[names.index("train0")] = "evil\x1b[2J|||t1|||0123456789"
        (out / "identifiers.json").write_text(json.dumps(names))
        assert "task evil?[2J: no puzzle bears" in " ".join(found(verify([out]), "tasks", "train").places)

    def test_hidden_outputs(self, tmp_path: Path) -> None:
        subset = write_tasks(tmp_path, "contest", 2)
        out = tmp_path / "out"
        arc.build([subset._replace(solutions=None)], out, test=["contest"], augmentations=3)
        assert at_fault(verify([out])) == {}
        self.change_board(out, "test", 3, lambda board: board.__setitem__((0, 0), 7))
        assert at_fault(verify([out])) == {"augmentations": 1}

    def test_overlap(self, tmp_path: Path) -> None:
        train, held_out = write_tasks(tmp_path, "train", 3), write_tasks(tmp_path, "eval", 2)
        tasks = {subset: json.loads(subset.challenges.read_text()) for subset in (train, held_out)}
        assert held_out.solutions is not None
        solutions = json.loads(held_out.solutions.read_text())
        # A training task shows a test pair, turned and with two colours exchanged.
        swap = {3: 4, 4: 3}
        pair = {"input": tasks[held_out]["eval0"]["test"][0]["input"], "output": solutions["eval0"][0]}
        tasks[train]["train1"]["train"][0] = {
            side: [[swap.get(cell, cell) for cell in row] for row in np.rot90(np.array(grid)).tolist()]
            for side, grid in pair.items()
        }
        # A held-out task shows its own.
        tasks[held_out]["eval1"]["train"][1] = {
            "input": tasks[held_out]["eval1"]["test"][1]["input"], "output": solutions["eval1"][1],
        }  # fmt: skip
        for subset, content in tasks.items():
            subset.challenges.write_text(json.dumps(content))
        out = tmp_path / "out"
        arc.build([train, held_out], out, test=["eval"], augmentations=2, overlap="keep")
        check = found(verify([out]), "overlap")
        assert (check.faults, check.checked) == (1, 4)
        assert "(eval0) is row" in check.places[0]
        assert check.places[0].endswith("(train1) up to symmetry")
        assert check.note == "1 more are demonstrations of their own task"

    def test_of_the_originals_builder(self, real_data: Path) -> None:
        out = real_data.parent / "parity" / "arc_eval" / "dataset"
        report = verify([out])
        assert report.faults == 0
        assert found(report, "augmentations", "train").checked == 832


class TestTables:
    def test_a_wrong_answer_is_a_fault_and_not_unreadable(self, tmp_path: Path) -> None:
        questions, answers = sudoku_search.generate(3, SUDOKU.layout, 0)
        answers[1, :2] = answers[1, 1::-1]
        lines = [f"{sudokus.to_text(q)},{sudokus.to_text(a)}" for q, a in zip(questions, answers, strict=True)]
        (tmp_path / "t.csv").write_text("question,answer\n" + "\n".join(lines) + "\n")
        report = verify([tmp_path / "t.csv"])
        assert found(report, "rules").faults == 1
        assert found(report, "rules").places[0].startswith("row 3: ")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "the file is empty"),
            ("question,answer\n", "holds no row"),
            ("question,answer\nhello,world\n", "of which kind are its puzzles"),
            ("question,answer\n1...,1234341221434321\n", "of which kind"),
            (f"question,answer\n{'.' * 81},{'z' * 81}\n", "row 2, column answer: 'z' in line 1"),
        ],
    )
    def test_what_cannot_be_read(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "t.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            verify([tmp_path / "t.csv"])

    def test_a_users_own(self, tmp_path: Path) -> None:
        (tmp_path / "t.jsonl").write_text('{"a": "x.", "b": ".x"}\n{"a": ".x", "b": "x."}\n{"a": "xx", "b": "xx"}\n')
        about = json.dumps({"kind": "grid", "shape": [1, 2], "alphabet": ".x", "symmetries": "fliplr"})
        paths, columns = [tmp_path / "t.jsonl"], ("a", "b")
        plain = verify(paths, puzzle=about, columns=columns)
        assert plain.faults == 0
        assert found(plain, "rules").note == "none known: give --rules"
        judged = verify(paths, puzzle=about, columns=columns, rules=lambda question, answer: question != answer)
        assert found(judged, "rules").places == ("row 3: the rules do not accept the answer",)

    def test_mazes_are_recognised(self, tmp_path: Path) -> None:
        questions, answers = maze_generator.generate(2, (6, 6), 0, min_length=5)
        lines = [f"{mazes.to_text(q)},{mazes.to_text(a)}" for q, a in zip(questions, answers, strict=True)]
        (tmp_path / "t.csv").write_text("question,answer\n" + "\n".join(lines) + "\n")
        report = verify([tmp_path / "t.csv"])
        assert report.faults == 0
        assert "maze 6 x 6 (guessed)" in report.checks[0].note

    def test_the_public_data(self, real_data: Path) -> None:
        sudokus_there = [real_data / "sudoku_extreme" / f"{name}.csv" for name in ("train", "test", "monitor")]
        report = verify(sudokus_there, quick=True)
        assert report.faults == 0
        assert sum(check.checked for check in report.checks if check.what == "overlap") == 4_000 + 1_000 + 1_000
        report = verify([real_data / "maze_hard" / "test.csv.gz"])
        assert report.faults == 0
        assert found(report, "public tie-break").note == "400 of 400 labels follow it"


class TestHostile:
    def test_no_dataset(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"none of its folders holds a dataset\.json"):
            verify([tmp_path])
        with pytest.raises(DataError, match="cannot be opened"):
            verify([tmp_path / "nowhere.csv"])

    def test_another_kind_than_the_folder_has(self, right: Mapping[str, Path]) -> None:
        with pytest.raises(DataError, match="81 cells found, but arc is 30 x 30"):
            verify([right["sudoku"]], puzzle="arc")

    def test_tokens_of_which_nothing_is_known(self, tmp_path: Path) -> None:
        with Writer(tmp_path / "out", 7, 300, puzzle=None) as writer:
            for split, start in (("train", 0), ("test", 1)):
                tokens = np.arange(start, start + 21).reshape(3, 7) * 7
                writer.split(split).add_singles(tokens, tokens)
        report = verify([tmp_path / "out"])
        assert report.faults == 0
        assert "tokens 1 x 7 (guessed)" in report.checks[0].note

    @settings(max_examples=FUZZ, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_damaged_folder_is_refused_or_judged(
        self, right: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        kind = data.draw(st.sampled_from(sorted(right)))
        out = copied(right[kind], tmp_path_factory.mktemp("hostile") / "out")
        files = sorted(path for path in out.rglob("*") if path.is_file())
        path = data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(content) - 1))
            content[place] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content))
        told = []
        try:
            told += [place for check in verify([out], quick=True).checks for place in check.places]
        except DataError as error:
            told.append(str(error))
        shutil.rmtree(out)
        assert all(line.isprintable() for line in told)


def test_a_report_as_json(right: Mapping[str, Path], tmp_path: Path) -> None:
    out = copied(right["sudoku"], tmp_path / "out")
    edit(out, "labels", lambda labels: labels.__setitem__(slice(0, 8), 2))
    report = verify([out], quick=True)
    told: Any = json.loads(json.dumps(report.to_dict()))
    assert told["faults"] == report.faults == 8
    (check,) = [check for check in told["checks"] if check["faults"]]
    assert (check["what"], check["checked"], len(check["places"])) == ("rules", 24, 5)
