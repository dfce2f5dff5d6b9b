"""From a model's answers to augmented ARC tasks to ranked answers: votes, pass@k, and what to submit.

Each answer is cropped to a grid and its augmentation undone; equal grids for the same test input pool their votes. The
ranking is by votes, then by mean confidence (the sigmoid of q_halt), then by which was seen first. What is kept grows
with the number of distinct grids, not with that of answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from trm_jax.errors import DataError
from trm_jax.puzzles.arc import CELLS, FIRST_COLOUR, SIDE, Grid, crop_sizes, parse_name
from trm_jax.puzzles.arc_tasks import Task, read_challenges, read_json

KS = (1, 2, 5, 10, 100, 1000)

Rows = list[list[int]]


@dataclass(frozen=True)
class ArcResult:
    """What the votes say of every task, answered or not.

    task_scores: k -> task -> share of its test inputs whose solution is among the first k candidates. None, as all
      scores, where the solution of any test input is hidden.
    outputs_right: k -> number of test inputs whose solution is among the first k.
    outputs: number of test inputs of all tasks.
    unanswered: number of those that got no vote.
    strays: number of answers that belong to a task here but to none of its test inputs; they are not counted.
    strangers: number of answers that belong to no task here, by the names of their puzzle ids; neither are they.
    submission: task -> one {"attempt_1": grid, ...} for each test input, the best first and the best again where
      candidates run out; an attempt at a test input without votes is an empty list, as is a task without any.
    """

    task_scores: dict[int, dict[str, float]] | None
    outputs_right: dict[int, int] | None
    outputs: int
    unanswered: int
    strays: int
    strangers: int
    submission: dict[str, list[dict[str, Rows]]]

    @property
    def pass_at(self) -> dict[int, float] | None:
        """k -> mean of the task scores: the measure of the paper."""
        if self.task_scores is None:
            return None
        return {k: fsum(scores.values()) / len(scores) for k, scores in self.task_scores.items()}

    @property
    def output_share(self) -> dict[int, float] | None:
        """k -> share of all test inputs that are right: the measure of the contest."""
        if self.outputs_right is None:
            return None
        return {k: right / self.outputs for k, right in self.outputs_right.items()}


class Votes:
    """Counts answers as they come; answers of several checkpoints are pooled by adding all of them."""

    def __init__(self, names: Sequence[str], tasks: Sequence[Task]) -> None:
        """names: of the augmented tasks, by puzzle id. tasks: those to answer."""
        self._names, self._tasks = names, tasks
        self._strays = self._strangers = 0
        # task -> test input -> candidate -> [votes, sum of confidence], where dicts keep the order of arrival.
        # Test inputs that are the same have the same candidates.
        self._votes: dict[str, dict[bytes, dict[bytes, list[float]]]] = {
            task.name: {_key(question): {} for question, _ in task.test} for task in tasks
        }

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """For the test puzzles of a dataset in the public on-disk format.

        Raises DataError where identifiers.json or test_puzzles.json is missing or not what it should be.
        """
        return cls(read_names(folder / "identifiers.json"), read_challenges(folder / "test_puzzles.json", None))

    def add(self, inputs: ArrayLike, predictions: ArrayLike, puzzle_ids: ArrayLike, q_halt: ArrayLike) -> None:
        """Counts one vote for each row that is not padding and belongs to a task to answer.

        Args:
          inputs, predictions: tokens [N, 900] of any integer type.
          puzzle_ids: [N]; 0 is padding.
          q_halt: [N] logits.

        Raises:
          DataError: arrays of other shapes, or an id that has no name; then nothing is counted.
        """
        questions, answers, ids = np.asarray(inputs), np.asarray(predictions), np.asarray(puzzle_ids)
        q = np.asarray(q_halt, np.float64)
        n = len(ids) if ids.ndim else 0
        for array, shape in ((questions, (n, CELLS)), (answers, (n, CELLS)), (ids, (n,)), (q, (n,))):
            if array.shape != shape:
                raise DataError(f"ARC answers: an array of shape {array.shape} where {shape} is needed")
        for i in ids[(ids < 0) | (ids >= len(self._names))][:1]:
            raise DataError(f"ARC answers: puzzle id {i} has no name: identifiers.json holds {len(self._names)}")
        with np.errstate(over="ignore"):  # exp of a large number is inf, and its inverse 0
            confidence = 1 / (1 + np.exp(-q))
        # A model that has diverged is sure of nothing; nan has no place in any order.
        confidence[np.isnan(confidence)] = 0
        rows = np.flatnonzero(ids)
        plans = [parse_name(self._names[i]) for i in ids[rows].tolist()]
        sizes = zip(crop_sizes(questions[rows]).tolist(), crop_sizes(answers[rows]).tolist(), strict=True)
        for row, (task, augmentation), (question_size, answer_size) in zip(rows.tolist(), plans, sizes, strict=True):
            if task not in self._votes:
                self._strangers += 1
                continue
            question = _key(augmentation.invert(_grid(questions[row], question_size)))
            if question not in self._votes[task]:
                self._strays += 1
                continue
            answer = _key(augmentation.invert(_grid(answers[row], answer_size)))
            counts = self._votes[task][question].setdefault(answer, [0, 0.0])
            counts[0] += 1
            counts[1] += float(confidence[row])

    def result(self, attempts: int = 2, ks: Sequence[int] = KS) -> ArcResult:
        """The present state of the votes. attempts: how many the submission holds for each test input, at least 1."""
        if attempts < 1:
            raise DataError(f"attempts is {attempts}: a submission has at least 1")
        hidden = any(solution is None for task in self._tasks for _, solution in task.test)
        task_scores: dict[int, dict[str, float]] = {k: {} for k in ks}
        outputs_right = dict.fromkeys(ks, 0)
        submission: dict[str, list[dict[str, Rows]]] = {}
        unanswered = 0
        for task in self._tasks:
            rankings = [_ranking(self._votes[task.name][_key(question)]) for question, _ in task.test]
            unanswered += rankings.count([])
            answers = [_attempts(ranking, attempts) for ranking in rankings]
            submission[task.name] = answers if any(rankings) else []
            if hidden:
                continue
            for k in ks:
                right = sum(
                    solution is not None and _key(solution) in ranking[:k]
                    for ranking, (_, solution) in zip(rankings, task.test, strict=True)
                )
                task_scores[k][task.name] = right / len(task.test)
                outputs_right[k] += right
        return ArcResult(
            task_scores=None if hidden else task_scores,
            outputs_right=None if hidden else outputs_right,
            outputs=sum(len(task.test) for task in self._tasks),
            unanswered=unanswered,
            strays=self._strays,
            strangers=self._strangers,
            submission=submission,
        )


def read_names(path: Path) -> list[str]:
    """The names in identifiers.json, by puzzle id; each is one that parse_name knows.

    Raises DataError "{path}: name {id}: ..." where it is not.
    """
    names = read_json(path)
    if not isinstance(names, list):
        raise DataError(f"{path}: not a list of names; build the dataset again")
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise DataError(f"{path}: name {i}: is no text; build the dataset again")
        try:
            parse_name(name)
        except DataError as error:
            raise DataError(f"{path}: name {i}: {error}") from None
    return names


def _grid(tokens: Grid, size: Sequence[int]) -> Grid:
    """The top left part of tokens [900], which holds only colours, as colours."""
    height, width = size
    return (tokens.reshape(SIDE, SIDE)[:height, :width] - FIRST_COLOUR).astype(np.uint8)


def _key(grid: Grid) -> bytes:
    """Height, width and cells: the same for grids that are the same."""
    return bytes(grid.shape) + grid.tobytes()


def _ranking(candidates: Mapping[bytes, Sequence[float]]) -> list[bytes]:
    """The candidates, best first."""

    def strength(candidate: bytes) -> tuple[float, float]:
        votes, confidence = candidates[candidate]
        return votes, confidence / votes

    return sorted(candidates, key=strength, reverse=True)  # stable, also in reverse: first seen first


def _attempts(ranking: Sequence[bytes], attempts: int) -> dict[str, Rows]:
    grids: list[Rows] = [
        np.frombuffer(key[2:], np.uint8).reshape(tuple(key[:2])).tolist() for key in ranking[:attempts]
    ]
    grids += [grids[0] if grids else []] * (attempts - len(grids))
    return {f"attempt_{i}": grid for i, grid in enumerate(grids, 1)}
