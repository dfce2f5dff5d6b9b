"""ARC tasks, solutions and submissions from JSON: right, or one line that names file, task and place."""

import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles.arc_tasks import Task, read_challenges, read_json, read_solutions, read_submission

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

CHALLENGES = {
    "b1": {
        "train": [{"input": [[1, 2]], "output": [[3]]}, {"input": [[0]], "output": [[4], [5]]}],
        "test": [{"input": [[6]]}, {"input": [[7, 7]]}],
    },
    "A-2_x.y": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[8]], "output": [[9]]}]},
}
SOLUTIONS = {"A-2_x.y": [[[9]]], "b1": [[[1, 1]], [[2]]]}
SUBMISSION = {
    "b1": [{"attempt_1": [[1, 1]], "attempt_2": [[0]]}, {"attempt_1": None, "attempt_2": []}],
    "A-2_x.y": [],
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def to_file(content: object, name: str = "file.json") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return to_file


def fault(read: Callable[..., object], *paths: Path | None) -> str:
    """The error's line without the folder of the files."""
    with pytest.raises(DataError) as caught:
        read(*paths)
    text = str(caught.value)
    assert "\n" not in text
    assert paths[0] is not None
    return text.replace(f"{paths[0].parent}/", "")


def changed(content: object, *keys: Any, value: object = ...) -> Any:
    """A copy with the value at a path of keys replaced, or removed where no value is given."""
    result: Any = deepcopy(content)
    place = result
    for key in keys[:-1]:
        place = place[key]
    if value is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return result


def test_tasks_in_the_order_of_the_file(write: Callable[..., Path]) -> None:
    tasks = read_challenges(write(CHALLENGES), None)
    assert [task.name for task in tasks] == ["b1", "A-2_x.y"]
    first, second = tasks
    assert [(a.tolist(), b.tolist()) for a, b in first.train] == [([[1, 2]], [[3]]), ([[0]], [[4], [5]])]
    assert [(a.tolist(), b) for a, b in first.test] == [([[6]], None), ([[7, 7]], None)]
    assert first.train[0][0].dtype == np.uint8
    assert [(a.tolist(), b.tolist()) for a, b in second.test if b is not None] == [([[8]], [[9]])]


def test_solutions_fill_in_what_is_hidden(write: Callable[..., Path]) -> None:
    first, second = read_challenges(write(CHALLENGES), write(SOLUTIONS, "solutions.json"))
    assert [b.tolist() for _, b in first.test if b is not None] == [[[1, 1]], [[2]]]
    assert [b.tolist() for _, b in second.test if b is not None] == [[[9]]]
    more = write(SOLUTIONS | {"other": [[[1]]]}, "solutions.json")
    assert len(read_challenges(write(CHALLENGES), more)) == 2


def test_without_a_file_of_solutions_they_are_hidden(write: Callable[..., Path], tmp_path: Path) -> None:
    for absent in (tmp_path / "none.json", tmp_path / ("x" * 300), tmp_path / "none\0.json"):
        assert read_challenges(write(CHALLENGES), absent)[0].test[0][1] is None


def test_a_byte_order_mark_and_foreign_keys_are_no_fault(write: Callable[..., Path]) -> None:
    content = changed(changed(CHALLENGES, "b1", "name", value="é"), "b1", "train", 0, "note", value=[[None]])
    assert len(read_challenges(write(b"\xef\xbb\xbf" + json.dumps(content).encode()), None)) == 2


def test_solutions_from_either_form(write: Callable[..., Path]) -> None:
    plain = read_solutions(write(SOLUTIONS))
    assert {name: [grid.tolist() for grid in grids] for name, grids in plain.items()} == SOLUTIONS
    full = deepcopy(CHALLENGES)
    full["b1"]["test"] = [{"input": [[6]], "output": [[1, 1]]}, {"input": [[7, 7]], "output": [[2]]}]
    public = read_solutions(write(full))
    assert {name: [grid.tolist() for grid in grids] for name, grids in public.items()} == SOLUTIONS
    assert fault(read_solutions, write(CHALLENGES)) == (
        "file.json: task b1: a test example without output: give the file with its solutions"
    )


def test_a_submission(write: Callable[..., Path]) -> None:
    found = read_submission(write(SUBMISSION))
    assert list(found.answers) == ["b1", "A-2_x.y"]
    first, second = found.answers["b1"]
    assert {key: grid is not None and grid.tolist() for key, grid in first.items()} == SUBMISSION["b1"][0]
    assert second == {"attempt_1": None, "attempt_2": None}
    assert found.answers["A-2_x.y"] == []
    assert found.malformed == ()


def test_an_answer_that_is_no_grid_is_a_wrong_answer(write: Callable[..., Path]) -> None:
    found = read_submission(write({"t": [{"attempt_1": [["system"]], "attempt_2": [[1]]}, {"attempt_1": [[1], []]}]}))
    (first, second) = found.answers["t"]
    assert first["attempt_1"] is None
    assert first["attempt_2"] is not None
    assert second == {"attempt_1": None}
    assert [line.rsplit("/", 1)[1] for line in found.malformed] == [
        'file.json: task t, output 1, attempt_1: row 1, column 1 is "system", but colours are integers from 0 to 9',
        "file.json: task t, output 2, attempt_1: row 2 has 0 cells, but a row has 1 to 30",
    ]


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("b1",), [1], 'task b1: a list of 1 is no task: give {"train": [...], "test": [...]}'),
        (("b1", "train"), ..., "task b1: key 'train' is missing; a task has 'train' and 'test'"),
        (("b1", "test"), ..., "task b1: key 'test' is missing; a task has 'train' and 'test'"),
        (("b1", "train"), [], "task b1, train: no examples; give at least one"),
        (("b1", "test"), [], "task b1, test: no examples; give at least one"),
        (("b1", "test"), {"0": 1}, "task b1, test: an object where a list of examples is needed"),
        (("b1", "train", 1), 3, "task b1, train example 2: 3 is no example: give an object with input and output"),
        (("b1", "test", 1), None, "task b1, test example 2: null is no example: give an object with input"),
        (("b1", "train", 1, "output"), ..., "task b1, train example 2: key 'output' is missing; give its grid"),
        (("b1", "test", 0, "input"), ..., "task b1, test example 1: key 'input' is missing; give its grid"),
        (
            ("b1", "train", 1, "output", 1, 0),
            10,
            "task b1, train example 2, output: row 2, column 1 is 10, but colours are integers from 0 to 9",
        ),
        (
            ("b1", "train", 0, "input", 0),
            [],
            "task b1, train example 1, input: row 1 has 0 cells, but a row has 1 to 30",
        ),
        (("b1", "test", 1, "input"), "x", 'task b1, test example 2, input: "x" is no grid: give a list of rows'),
        (("A-2_x.y", "test", 0, "output"), None, "task A-2_x.y, test example 1, output: null is no grid: give a list"),
    ],
)
def test_what_is_wrong_with_challenges(write: Callable[..., Path], keys: Any, value: object, problem: str) -> None:
    assert fault(read_challenges, write(changed(CHALLENGES, *keys, value=value)), None).startswith(
        f"file.json: {problem}"
    )


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a..b", "a/b", "a\\b", "a b", "é", "a\n", "a\0", "x" * 101])
def test_a_name_has_to_be_safe_for_a_file(write: Callable[..., Path], name: str) -> None:
    for read, content in ((read_solutions, SOLUTIONS["b1"]), (read_submission, SUBMISSION["b1"])):
        assert ": a name has 1 to 100 letters, digits" in fault(read, write({name: content}))
    assert ": a name has 1 to 100" in fault(read_challenges, write({"ok": CHALLENGES["b1"], name: 1}), None)


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("b1",), ..., "solutions.json: task b1: is missing, but file.json holds it"),
        (("b1",), [[[1]]], "solutions.json: task b1: 1 outputs for the 2 test examples of the challenge"),
        (("b1",), [], "solutions.json: task b1: no outputs; give at least one"),
        (("b1",), 5, "solutions.json: task b1: 5 where a list of outputs is needed"),
        (("b1", 1), 5, "solutions.json: task b1, output 2: 5 is no grid: give a list of rows"),
        (
            ("A-2_x.y",),
            [[[9, 9]]],
            "file.json: task A-2_x.y, test example 1: its output is not the one in solutions.json: task A-2_x.y",
        ),
    ],
)
def test_solutions_that_do_not_go_with_the_challenges(
    write: Callable[..., Path], keys: Any, value: object, problem: str
) -> None:
    solutions = write(changed(SOLUTIONS, *keys, value=value), "solutions.json")
    assert fault(read_challenges, write(CHALLENGES), solutions).startswith(problem)


PAIRS = [{"input": [[1]], "output": [[2, 2]]}, {"input": [[3]], "output": [[4.0, 4]]}]


def test_a_folder_holds_a_task_in_each_file(tmp_path: Path) -> None:
    (tmp_path / "b1.json").write_text(json.dumps(CHALLENGES["b1"]))
    (tmp_path / "a1.json").write_text(json.dumps(PAIRS))  # as RE-ARC has them
    (tmp_path / "README.md").write_text("no task")
    first, second = read_challenges(tmp_path, None)
    assert (first.name, second.name) == ("a1", "b1")
    assert [(one.tolist(), two.tolist()) for one, two in first.train] == [([[1]], [[2, 2]]), ([[3]], [[4, 4]])]
    assert first.test == ()
    assert same_task(second, next(task for task in read_challenges(write_to(tmp_path), None) if task.name == "b1"))
    # One of the files alone, too.
    assert same_task(read_challenges(tmp_path / "b1.json", None)[0], second)
    assert same_task(read_challenges(tmp_path / "a1.json", None)[0], first)
    (tmp_path / "a1.json").write_text(json.dumps([*PAIRS, {"input": [[1]]}]))
    assert fault(read_challenges, tmp_path, None).startswith(
        f"{tmp_path.name}/a1.json: task a1, train example 3: key 'output' is missing"
    )
    (tmp_path / "a1.json").write_text("[]")
    assert fault(read_challenges, tmp_path, None).startswith(
        f"{tmp_path.name}/a1.json: task a1: a list of 0 is no task"
    )


def write_to(folder: Path) -> Path:
    path = folder.parent / "challenges.json"
    path.write_text(json.dumps(CHALLENGES))
    return path


def same_task(one: Task, other: Task) -> bool:
    def plain(task: Task) -> list[Any]:
        pairs = [*task.train, *task.test]
        return [task.name, [(x.tolist(), None if y is None else y.tolist()) for x, y in pairs]]

    return plain(one) == plain(other)


def test_answers_as_the_contests_program_writes_them(tmp_path: Path) -> None:
    attempt = {"answer": [[1.0, 2]], "metadata": {"model": "x", "choices": [1]}, "correct": None}
    content = [{"attempt_1": attempt, "attempt_2": {"answer": None}}]
    (tmp_path / "t.json").write_text(json.dumps({"t": content}))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "t.json").write_text(json.dumps(content))
    for path in (tmp_path / "t.json", folder, folder / "t.json"):
        answers, malformed = read_submission(path)
        assert list(answers) == ["t"]
        (answer,) = answers["t"]
        assert answer["attempt_1"] is not None
        assert answer["attempt_1"].tolist() == [[1, 2]]
        assert answer["attempt_2"] is None
        assert not malformed


@pytest.mark.parametrize(
    ("keys", "value", "problem"),
    [
        (("b1",), 5, "task b1: 5 where a list of outputs is needed"),
        (("b1",), {}, "task b1: an object where a list of outputs is needed"),
        (("b1", 0), [[1]], 'task b1, output 1: a list of 1 holds no attempts: give {"attempt_1": grid, ...}'),
        (("b1", 1), {}, 'task b1, output 2: an object holds no attempts: give {"attempt_1": grid, ...}'),
        (("b1", 0, "attempt1"), [[1]], 'task b1, output 1: key "attempt1" is none of attempt_1, attempt_2 and so on'),
        (("b1", 0, "attempt_0"), [[1]], 'task b1, output 1: key "attempt_0" is none of attempt_1, attempt_2 and so on'),
        (("b1", 0, "attempt_1"), "x", 'task b1, output 1, attempt_1: "x" is no grid: give a list of rows, or null'),
        (("b1", 0, "attempt_2"), {"reply": [[1]]}, "task b1, output 1, attempt_2: an object is no grid: give a list"),
        (("b1", 0, "attempt_2"), {"answer": "x"}, 'task b1, output 1, attempt_2: "x" is no grid: give a list of rows'),
        (("b1", 0, "attempt_2"), False, "task b1, output 1, attempt_2: false is no grid: give a list of rows, or null"),
    ],
)
def test_what_is_wrong_with_a_submission(write: Callable[..., Path], keys: Any, value: object, problem: str) -> None:
    assert fault(read_submission, write(changed(SUBMISSION, *keys, value=value))).startswith(f"file.json: {problem}")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not readable as JSON (Expecting value: line 1 column 1 (char 0)); fetch or write it again"),
        (b"\xff{}", "not readable as JSON ('utf-8' codec can't decode byte 0xff"),
        (b'{"a": 1', "not readable as JSON (Expecting ',' delimiter"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not readable as JSON (Exceeds the limit"),
        (b'{"a": [NaN]}', "NaN is no value that JSON knows; replace it"),
        (b'{"a": [-Infinity]}', "-Infinity is no value that JSON knows; replace it"),
        (b"[" * 100_000, "lists or objects too deep in one another; write it again"),
        (b'{"a":' * 100_000, "lists or objects too deep in one another; write it again"),
        (b'{"a": [], "b": [], "a": []}', 'key "a" stands twice in one object; remove one'),
        (b'{"a": [{"attempt_1": [], "attempt_1": []}]}', 'key "attempt_1" stands twice in one object; remove one'),
        (b"[]", "a list of 0 where an object is needed: give {task: ...}"),
        (b"7", "7 where an object is needed: give {task: ...}"),
        (b"{}", "holds no tasks; give at least one"),
    ],
)
def test_what_is_wrong_with_any_file(write: Callable[..., Path], content: bytes, problem: str) -> None:
    path = write(content)
    for read, *more in ((read_challenges, None), (read_solutions,), (read_submission,)):
        assert fault(read, path, *more).startswith(f"file.json: {problem}")


@pytest.mark.parametrize(
    "header", ["output_id,output", '"output_id","output"', "\ufeffoutput_id,output", "output_id;x"]
)
def test_the_csv_of_2020_is_told_as_that_with_what_is_wanted_in_its_place(
    write: Callable[..., Path], header: str
) -> None:
    path = write(f"{header}\na_0,|12|34| \n".encode())
    for read, more, wanted in (
        (read_challenges, [None], 'tasks as JSON, {task: {"train": [...], "test": [...]}}'),
        (read_solutions, [], "solutions as JSON, {task: [grid, ...]}"),
        (read_submission, [], 'attempts as JSON, {task: [{"attempt_1": grid, "attempt_2": grid}, ...]}'),
        (read_json, [], "JSON"),
    ):
        assert fault(read, path, *more) == (
            f"file.json: answers in the CSV of the contest of 2020, which is not read: give {wanted}"
        )


def test_a_submission_in_place_of_tasks_is_told(write: Callable[..., Path]) -> None:
    path = write(b'{"a": [{"attempt_1": [[1]], "attempt_2": null}]}')
    assert fault(read_challenges, path, None) == (
        "file.json: task a, train example 1: attempts of a submission, not examples: "
        'give tasks as JSON, {task: {"train": [...], "test": [...]}}'
    )


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert fault(read_submission, tmp_path / "absent.json") == (
        "absent.json: cannot be read (No such file or directory); check the path"
    )
    assert fault(read_solutions, tmp_path).endswith("holds no *.json; check it")
    assert "cannot be read (embedded null byte" in fault(read_json, tmp_path / "a\0")


def test_the_public_files(real_data: Path) -> None:
    found = {}
    for name in ("training", "evaluation", "training2", "evaluation2", "concept"):
        files = [real_data / "arc" / f"arc-agi_{name}_{part}.json" for part in ("challenges", "solutions")]
        tasks = read_challenges(files[0], files[1])
        assert all(output is not None for task in tasks for _, output in task.test)
        assert [task.name for task in tasks] == list(json.loads(files[0].read_text()))
        found[name] = len(tasks), sum(len(task.test) for task in tasks)
    assert found == {
        "training": (400, 416),
        "evaluation": (400, 419),
        "training2": (1000, 1076),
        "evaluation2": (120, 172),
        "concept": (160, 480),
    }
    assert all(
        output is None
        for task in read_challenges(real_data / "arc" / "arc-agi_evaluation2_challenges.json", None)
        for _, output in task.test
    )


# Fuzzing: whatever a file holds, it is read as it is written or refused by one line.

scalars = st.none() | st.booleans() | st.integers(-3, 12) | st.floats() | st.text(max_size=3)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abt_12"), inner))


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of keys to all values within a value."""
    items: Any = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items if isinstance(content, dict | list) else ():
        yield (*at, key)
        if isinstance(value, dict | list):
            yield from places(value, (*at, key))


def value_at(content: Any, keys: tuple[Any, ...]) -> Any:
    return reduce(lambda value, key: value[key], keys, content)


@st.composite
def mutated(draw: st.DrawFn, content: Any) -> bytes:
    """JSON text of a content in which values were replaced, removed or put elsewhere; perhaps cut or with odd bytes."""
    for _ in range(draw(st.integers(0, 3))):
        if not (at := list(places(content))):
            break
        where = draw(st.sampled_from(at))
        other = value_at(content, draw(st.sampled_from(at)))
        alike: Any = (
            st.integers(0, 9)
            if isinstance(value_at(content, where), int)
            else st.sampled_from([[[0]], [[1, 2], [3, 4]]])
        )
        replacement = st.one_of(alike, values, st.just(...), st.just(deepcopy(other)))
        content = changed(content, *where, value=draw(replacement))
    text = json.dumps(content).encode()
    for _ in range(draw(st.sampled_from([0] * 6 + [1, 2]))):
        start = draw(st.integers(0, len(text)))
        text = text[:start] + draw(st.binary(max_size=2)) + text[draw(st.integers(start, start + 3)) :]
    return text


def read_or_refused(read: Callable[..., Any], path: Path, *more: Path | None) -> Any:
    """What was read; None where a DataError refused it by one line that starts with a file."""
    try:
        return read(path, *more)
    except DataError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017
        assert str(error).startswith(f"{path.parent}/")  # noqa: PT017
        return None


def same(grid: Any, value: Any) -> bool:
    """Whether a grid is a value from JSON, to the type: True is no 1."""
    return (
        grid.dtype == np.uint8 and 1 <= min(grid.shape) <= max(grid.shape) <= 30 and repr(grid.tolist()) == repr(value)
    )


@FUZZ
@given(mutated(CHALLENGES), mutated(SOLUTIONS) | st.none())
def test_challenges_are_read_as_written_or_refused(
    write: Callable[..., Path], challenges: bytes, solutions: bytes | None
) -> None:
    path = write(challenges)
    known = write(solutions, "solutions.json") if solutions is not None else None
    tasks = read_or_refused(read_challenges, path, known)
    if tasks is None:
        return
    content = json.loads(challenges)
    outputs = json.loads(solutions) if solutions is not None else {}
    assert [task.name for task in tasks] == list(content)
    for task in tasks:
        written = content[task.name]
        assert task.train
        assert task.test
        for pair, example in zip(task.train, written["train"], strict=True):
            assert same(pair[0], example["input"])
            assert same(pair[1], example["output"])
        for i, (pair, example) in enumerate(zip(task.test, written["test"], strict=True)):
            assert same(pair[0], example["input"])
            expected = outputs.get(task.name) or written
            if isinstance(expected, dict):
                expected = [other.get("output") for other in expected["test"]]
            assert same(pair[1], expected[i]) if expected[i] is not None else pair[1] is None


@FUZZ
@given(mutated(SOLUTIONS) | mutated(CHALLENGES))
def test_solutions_are_read_as_written_or_refused(write: Callable[..., Path], content: bytes) -> None:
    found = read_or_refused(read_solutions, write(content))
    for name, written in json.loads(content).items() if found is not None else ():
        outputs = [example["output"] for example in written["test"]] if isinstance(written, dict) else written
        assert len(found[name]) == len(outputs) > 0
        assert all(same(grid, value) for grid, value in zip(found[name], outputs, strict=True))


@FUZZ
@given(mutated(SUBMISSION))
def test_submissions_are_read_as_written_or_refused(write: Callable[..., Path], content: bytes) -> None:
    found = read_or_refused(read_submission, write(content))
    malformed = 0
    for name, outputs in json.loads(content).items() if found is not None else ():
        for answer, output in zip(found.answers[name], outputs, strict=True):
            assert list(answer) == list(output)
            for key, value in output.items():
                if answer[key] is None:
                    malformed += bool(value)
                else:
                    assert same(answer[key], value)
    assert found is None or malformed == len(found.malformed)


@FUZZ
@given(st.binary(max_size=40) | st.text('{}[]",:1a\\u ').map(str.encode) | values.map(lambda v: json.dumps(v).encode()))
def test_random_bytes_are_refused(write: Callable[..., Path], content: bytes) -> None:
    path = write(content)
    assert read_or_refused(read_challenges, path, None) is None
    assert read_or_refused(read_challenges, write(CHALLENGES, "other.json"), path) is None
    assert read_or_refused(read_solutions, path) is None
    found = read_or_refused(read_submission, path)
    assert found is None or not any(grid is not None for answers in found.answers.values() for grid in answers)
