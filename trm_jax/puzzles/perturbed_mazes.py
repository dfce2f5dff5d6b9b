"""Mazes without a way, with two goals, or with another of their shortest paths for a label."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import maze
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.perturbed import Perturbation, Perturbed
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.text.writing import Shape


def of_mazes(shape: Shape) -> list[Perturbation]:
    """The perturbations of mazes of a shape."""
    return [
        Perturbation("blocked_way", "walls on the way until none leads to the goal", partial(_blocked, shape)),
        Perturbation(
            "two_goals", "a second goal; a shortest path to either is an answer", partial(_two_goals, shape), _to_either
        ),
        Perturbation(
            "other_tie_break",
            "as it was, if it has several shortest paths; the label is another one",
            partial(_tie, shape),
        ),
    ]


def _blocked(shape: Shape, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
    """A wall at random on a shortest path, and on the next, until there is none; None where S and G are neighbours."""
    blocked = question.copy()
    while (path := _path(blocked, shape)) is not None:
        if not len(path):
            return None
        blocked[rng.choice(path)] = maze.WALL
    return Perturbed(blocked, np.zeros_like(question), "none")


def _two_goals(shape: Shape, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
    """A free cell becomes a goal, such that neither goal is on all shortest paths to the other."""
    for cell in rng.permutation(np.flatnonzero(question == maze.FREE)):
        changed = question.copy()
        changed[cell] = maze.GOAL
        if all(_is_near(changed, one, shape) for one in _towards_either(changed)):
            return Perturbed(changed, np.zeros_like(question), "several")
    return None


def _tie(shape: Shape, question: Tokens, rng: np.random.Generator) -> Perturbed | None:
    """The label of a search that tries the steps in the reverse order; None where it finds the same path."""
    label = maze.solve(question[::-1], shape)[::-1].astype(question.dtype)
    if (label == maze.solve(question, shape)).all():
        return None
    return Perturbed(question, label, "several")


def _path(question: Tokens, shape: Shape) -> NDArray[np.intp] | None:
    """The free cells on a shortest path; None where there is no way."""
    try:
        return np.flatnonzero(maze.solve(question, shape) == maze.PATH)
    except DataError:
        return None


def _towards_either(question: Tokens) -> list[Tokens]:
    """The mazes that a maze with several goals stands for: in each one of these is the goal, the others are free."""
    goals = np.flatnonzero(question == maze.GOAL)
    return [np.where(np.isin(np.arange(len(question)), goals[goals != goal]), maze.FREE, question) for goal in goals]


def _is_near(question: Tokens, one: Tokens, shape: Shape) -> bool:
    """Whether a shortest path to this goal does without the other, which `question` has and `one` has not."""
    walled = np.where(question != one, maze.WALL, one)
    try:
        return maze.shortest_length(walled, shape) == maze.shortest_length(one, shape)
    except DataError:
        return False


def _to_either(kind: Kind, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
    """Whether an answer leaves all as it is, and marks a shortest path to one of the goals."""

    def is_one(question: Tokens, answer: Tokens) -> bool:
        kept = (answer == maze.GOAL) == (question == maze.GOAL)
        return bool(kept.all()) and any(
            maze.is_shortest_path(one, np.where(one != question, maze.FREE, answer), kind.shape)
            for one in _towards_either(question)
        )

    return np.array([is_one(*pair) for pair in zip(questions, answers, strict=True)], np.bool_)
