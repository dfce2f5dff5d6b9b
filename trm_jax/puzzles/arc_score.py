"""Scores a submission to an ARC contest against the solutions."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from trm_jax.errors import DataError
from trm_jax.puzzles.arc import Grid
from trm_jax.puzzles.arc_tasks import Answer, read_solutions, read_submission


@dataclass(frozen=True)
class Score:
    """What a submission gets.

    tasks: for each task of the solutions, in their order, the share of its outputs that any attempt gets right.
    outputs_right, outputs: the same, counted over the outputs of all tasks.
    missing: tasks to which the submission has no answer at all; they count as 0.
    """

    tasks: dict[str, float]
    outputs_right: int
    outputs: int
    missing: tuple[str, ...]

    @property
    def total(self) -> float:
        """Sum over tasks."""
        return fsum(self.tasks.values())

    @property
    def task_mean(self) -> float:
        """The measure of the paper: each task counts the same."""
        return self.total / len(self.tasks)

    @property
    def output_share(self) -> float:
        """The measure of the contest: each output counts the same."""
        return self.outputs_right / self.outputs

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; score, total_tasks and task_results are the names in published results."""
        return {
            "score": self.total,
            "total_tasks": len(self.tasks),
            "task_mean": self.task_mean,
            "outputs_right": self.outputs_right,
            "outputs": self.outputs,
            "output_share": self.output_share,
            "missing": list(self.missing),
            "task_results": self.tasks,
        }


def score(
    submission: Mapping[str, Sequence[Answer]], solutions: Mapping[str, Sequence[Grid]], attempts: int = 2
) -> Score:
    """Compares answers with solutions, in as many attempts, from "attempt_1" on, as are allowed.

    Raises DataError for a task that the solutions do not have, and for a number of outputs other than theirs.
    """
    if attempts < 1:
        raise DataError(f"attempts is {attempts}: allow at least 1")
    for name in submission:
        if name not in solutions:
            raise DataError(f"task {name}: is not among the {len(solutions)} tasks of the solutions; remove it")
    allowed = [f"attempt_{i}" for i in range(1, attempts + 1)]
    tasks: dict[str, float] = {}
    missing: list[str] = []
    outputs_right = 0
    for name, outputs in solutions.items():
        answers = submission.get(name, ())
        if not answers:
            missing.append(name)
        elif len(answers) != len(outputs):
            raise DataError(f"task {name}: {len(answers)} outputs, but the solutions have {len(outputs)}")
        right = sum(
            any(np.array_equal(attempt, output) for key in allowed if (attempt := answer.get(key)) is not None)
            for answer, output in zip(answers, outputs, strict=False)
        )
        tasks[name] = right / len(outputs)
        outputs_right += right
    return Score(tasks, outputs_right, sum(map(len, solutions.values())), tuple(missing))


def run(
    submission: Path,
    solutions: Path,
    json_out: Path | None = None,
    *,
    attempts: int = 2,
    each_task: bool = False,
    out: TextIO | None = None,
) -> Score:
    """Prints what a submission gets, and with `each_task` a line for each task; writes it to `json_out` too if given.

    Raises DataError for files that cannot be read or written, or do not go together.
    """
    known, given = read_solutions(solutions), read_submission(submission)
    try:
        result = score(given.answers, known, attempts)
    except DataError as error:
        raise DataError(f"{submission}: {error}") from None
    if json_out is not None:
        content = result.to_dict() | {"attempts": attempts, "malformed": list(given.malformed)}
        try:
            json_out.write_text(json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise DataError(f"{json_out}: cannot be written ({error.strerror}); give another path") from None
    if each_task:
        print(f"{'task':<24}{'score':>8}", file=out)
        for name, share in result.tasks.items():
            print(f"{name:<24}{share:8.3f}{'  no answer' if name in result.missing else ''}", file=out)
    print(f"{submission.name} against {solutions.name}; attempts allowed: {attempts}", file=out)
    print(f"{'':<36}{'right':>9}{'of':>7}{'share':>10}", file=out)
    print(f"{'tasks, each the mean of its outputs':<36}{result.total:9.2f}{len(result.tasks):7}", end="", file=out)
    print(f"{result.task_mean:10.2%}", file=out)
    print(f"{'outputs':<36}{result.outputs_right:9}{result.outputs:7}{result.output_share:10.2%}", file=out)
    if result.missing:
        names = ", ".join(result.missing[:5]) + (", ..." if len(result.missing) > 5 else "")
        print(f"tasks without an answer: {len(result.missing)} ({names})", file=out)
    allowed = {f"attempt_{i}" for i in range(1, attempts + 1)}
    more = sum(not allowed.issuperset(answer) for answers in given.answers.values() for answer in answers)
    if more:
        print(f"outputs with more attempts than are allowed, which are not looked at: {more}", file=out)
    if given.malformed:
        print(f"attempts that are no grid and count as wrong: {len(given.malformed)}; the first:", file=out)
        print(given.malformed[0], file=out)
    return result
