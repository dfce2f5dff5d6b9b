"""ARC tasks, solutions and submissions from JSON files in the forms of the public contests and repositories.

- challenges: {task: {"train": [{"input": grid, "output": grid}], "test": [{"input": grid}]}}, where a test example may
  hold its output too;
- solutions: {task: [grid, one for each test example]};
- submissions: {task: [{"attempt_1": grid, "attempt_2": grid}, one for each test example]}, where an attempt may be null
  or [] for no answer.

In place of a file with many tasks, a folder may hold a file for each, named by the task: its object or list as above,
or the pairs that RE-ARC makes of it, [{"input": grid, "output": grid}], all of which are for training.

A grid is a list of rows of colours 0-9; an attempt may also be {"answer": grid, ...}, as the contest's own program
writes it. Other keys of a task or of an example are ignored.

Whatever is wrong with the content is a DataError "{path}: task {name}, {place}: ...".
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trm_jax.errors import DataError
from trm_jax.puzzles.arc import Grid, check_grid, shown

# The largest public file has 6 MB.
_LONGEST = 1 << 28
_CSV_OF_2020 = re.compile(rb"(\xef\xbb\xbf)?\s*\"?output_id\"?\s*[,;\t]")
# What files hold, for errors.
_CHALLENGES = 'tasks as JSON, {task: {"train": [...], "test": [...]}}'
_SOLUTIONS = "solutions as JSON, {task: [grid, ...]}"
_SUBMISSION = 'attempts as JSON, {task: [{"attempt_1": grid, "attempt_2": grid}, ...]}'
_NAME = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,100}")
_ATTEMPT = re.compile("attempt_[1-9][0-9]{0,2}")


@dataclass(frozen=True, eq=False)
class Task:
    """train: pairs of input and output. test: the same, where an output of None is hidden; () of RE-ARC."""

    name: str
    train: tuple[tuple[Grid, Grid], ...]
    test: tuple[tuple[Grid, Grid | None], ...]


Answer = dict[str, Grid | None]
"""The attempts at one output by name, "attempt_1" and so on; None is no answer."""


class Submission(NamedTuple):
    """answers: for each task one for each of its outputs; an empty list is no answer to any.

    malformed: what is wrong with each attempt that is a list and yet no grid. Models do give such answers: they
    are in published submissions, and they count as wrong, so here they are None.
    """

    answers: dict[str, list[Answer]]
    malformed: tuple[str, ...]


def read_challenges(challenges: Path, solutions: Path | None) -> list[Task]:
    """The tasks of a file of challenges, in its order, or of a folder, by name.

    Args:
      challenges: the file or folder.
      solutions: the file that holds the outputs of all its test examples, and perhaps of other tasks. None, or a
        path at which there is no file: outputs are those in the challenges, all others stay hidden.

    Raises:
      DataError: a file that cannot be read, is not as above, or solutions that do not go with the challenges.
    """
    known = read_solutions(solutions) if solutions is not None and os.path.exists(solutions) else None
    tasks = []
    for name, content, where in _tasks(challenges, _CHALLENGES):
        task = _task(name, content, where)
        if known is not None:
            if name not in known:
                raise DataError(f"{solutions}: task {name}: is missing, but {challenges} holds it")
            task = _with_solutions(task, known[name], f"{solutions}: task {name}", where)
        tasks.append(task)
    return tasks


def read_solutions(path: Path) -> dict[str, list[Grid]]:
    """The outputs of each task's test examples, from a file of solutions or of challenges that hold their outputs.

    Raises DataError as above, and where an output is hidden.
    """
    found = {}
    for name, content, where in _tasks(path, _SOLUTIONS):
        if isinstance(content, dict):
            outputs = [output for _, output in _task(name, content, where).test]
            found[name] = [output for output in outputs if output is not None]
            if len(found[name]) < len(outputs):
                raise DataError(f"{where}: a test example without output: give the file with its solutions")
        else:
            grids = _list(content, where, "outputs")
            found[name] = [check_grid(grid, f"{where}, output {i}") for i, grid in enumerate(grids, 1)]
    return found


def read_submission(path: Path) -> Submission:
    """Reads a submission. Raises DataError as above, but not for an answer that is a list and yet no grid."""
    answers: dict[str, list[Answer]] = {}
    malformed: list[str] = []
    for name, content, where in _tasks(path, _SUBMISSION):
        outputs = content if content == [] else _list(content, where, "outputs")
        answers[name] = [_answer(output, f"{where}, output {i}", malformed) for i, output in enumerate(outputs, 1)]
    return Submission(answers, tuple(malformed))


def _answer(output: Any, where: str, malformed: list[str]) -> Answer:
    if not isinstance(output, dict) or not output:
        raise DataError(f'{where}: {shown(output)} holds no attempts: give {{"attempt_1": grid, ...}}')
    answer: Answer = {}
    for key, value in output.items():
        if not _ATTEMPT.fullmatch(key):
            raise DataError(f"{where}: key {shown(key)} is none of attempt_1, attempt_2 and so on")
        if isinstance(value, dict) and "answer" in value:
            value = value["answer"]
        if value is not None and not isinstance(value, list):
            raise DataError(f"{where}, {key}: {shown(value)} is no grid: give a list of rows, or null for no answer")
        answer[key] = None
        if value:
            try:
                answer[key] = check_grid(value, f"{where}, {key}")
            except DataError as error:
                malformed.append(str(error))
    return answer


def read_json(path: Path, wanted: str = "") -> Any:
    """The content of a JSON file, strictly: no key twice in one object, no NaN, no Infinity; DataError otherwise.

    wanted: what the file should hold, for the error.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: cannot be read ({problem}); check the path") from None
    if len(data) > _LONGEST:
        raise DataError(f"{path}: more than {_LONGEST} bytes, which no such file needs; is it the right one?")
    try:
        return json.loads(data.decode("utf-8-sig"), object_pairs_hook=_object, parse_constant=_constant)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: lists or objects too deep in one another; write it again") from None
    except ValueError as error:
        if _CSV_OF_2020.match(data):
            raise DataError(
                f"{path}: answers in the CSV of the contest of 2020, which is not read: give {wanted or 'JSON'}"
            ) from None
        raise DataError(f"{path}: not readable as JSON ({error}); fetch or write it again") from None


def _tasks(path: Path, wanted: str) -> Iterator[tuple[str, Any, str]]:
    """(name, content, "{path}: task {name}") of each entry of a file, or of each file of a folder.

    wanted: what they should hold, for an error.
    """
    if path.is_dir():
        files = sorted(path.glob("*.json"))
        if not files:
            inner = ", ".join(sorted(each.name for each in path.iterdir() if each.is_dir())[:5])
            raise DataError(f"{path}: holds no *.json; {f'name one of its folders: {inner}' if inner else 'check it'}")
        for file in files:
            yield _checked_name(file.stem, path), read_json(file, wanted), f"{file}: task {file.stem}"
        return
    content = read_json(path, wanted)
    if _is_one_task(content):
        yield _checked_name(path.stem, path), content, f"{path}: task {path.stem}"
        return
    if not isinstance(content, dict):
        raise DataError(f"{path}: {shown(content)} where an object is needed: give {{task: ...}}")
    if not content:
        raise DataError(f"{path}: holds no tasks; give at least one")
    for name, entry in content.items():
        yield _checked_name(name, path), entry, f"{path}: task {name}"


def _is_one_task(content: Any) -> bool:
    """Whether a file holds no tasks by name, but one that is named as the file."""
    if isinstance(content, dict):
        return any(isinstance(content.get(part), list) for part in ("train", "test")) and "train" in content
    return isinstance(content, list) and bool(content) and isinstance(content[0], dict)


def _checked_name(name: str, path: Path) -> str:
    if not _NAME.fullmatch(name):
        raise DataError(
            f"{path}: task {shown(name)}: a name has 1 to 100 letters, digits, '_', '-' and single '.', "
            "and does not start with '.'"
        )
    return name


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (twice, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise DataError(f"key {shown(twice)} stands twice in one object; remove one")
    return content


def _constant(name: str) -> None:
    raise DataError(f"{name} is no value that JSON knows; replace it")


def _task(name: str, content: Any, where: str) -> Task:
    pairs_alone = isinstance(content, list) and bool(content) and isinstance(content[0], dict)
    if pairs_alone:
        content = {"train": content, "test": []}
    if not isinstance(content, dict):
        raise DataError(f'{where}: {shown(content)} is no task: give {{"train": [...], "test": [...]}}')
    train = tuple(
        (check_grid(example["input"], f"{place}, input"), check_grid(example["output"], f"{place}, output"))
        for example, place in _examples(content, "train", ("input", "output"), where)
    )
    test = tuple(
        (
            check_grid(example["input"], f"{place}, input"),
            check_grid(example["output"], f"{place}, output") if "output" in example else None,
        )
        for example, place in (() if pairs_alone else _examples(content, "test", ("input",), where))
    )
    return Task(name, train, test)


def _examples(
    content: Mapping[str, Any], part: str, needed: tuple[str, ...], where: str
) -> Iterator[tuple[dict[str, Any], str]]:
    """(example, place) of each of a task's examples for training or for the test."""
    if part not in content:
        raise DataError(f"{where}: key '{part}' is missing; a task has 'train' and 'test'")
    for i, example in enumerate(_list(content[part], f"{where}, {part}", "examples"), 1):
        place = f"{where}, {part} example {i}"
        if not isinstance(example, dict):
            raise DataError(f"{place}: {shown(example)} is no example: give an object with {' and '.join(needed)}")
        for key in needed:
            if key not in example:
                if any(map(_ATTEMPT.fullmatch, example)):
                    raise DataError(f"{place}: attempts of a submission, not examples: give {_CHALLENGES}")
                raise DataError(f"{place}: key '{key}' is missing; give its grid")
        yield example, place


def _list(value: Any, where: str, items: str) -> list[Any]:
    if not isinstance(value, list):
        raise DataError(f"{where}: {shown(value)} where a list of {items} is needed")
    if not value:
        raise DataError(f"{where}: no {items}; give at least one")
    return value


def _with_solutions(task: Task, outputs: list[Grid], solution: str, challenge: str) -> Task:
    """The task with its outputs filled in; an output that it already has must be the same."""
    if len(outputs) != len(task.test):
        raise DataError(f"{solution}: {len(outputs)} outputs for the {len(task.test)} test examples of the challenge")
    for i, ((_, given), output) in enumerate(zip(task.test, outputs, strict=True), 1):
        if given is not None and not np.array_equal(given, output):
            raise DataError(f"{challenge}, test example {i}: its output is not the one in {solution}; remove one")
    test = tuple((question, output) for (question, _), output in zip(task.test, outputs, strict=True))
    return Task(task.name, task.train, test)
