"""Which perturbations a kind of puzzle has, and why it has no others."""

from typing import NamedTuple

from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.perturbed import Perturbation
from trm_jax.puzzles.perturbed_clues import of_clues
from trm_jax.puzzles.perturbed_mazes import of_mazes


class Known(NamedTuple):
    """The perturbations of a kind, and those that mean nothing to it: their names and why."""

    perturbations: list[Perturbation]
    left_out: dict[str, str]


def perturbations_of(kind: Kind, clues: tuple[int, int]) -> Known:
    """All that are known; clues: the fewest and the most that a question of the set has."""
    if isinstance(kind, Maze):
        return Known(of_mazes(kind.shape), {"perturbed clues": "mazes have none"})
    of_other = {"blocked_way, two_goals, other_tie_break": "of mazes"}
    if not kind.has_rules:
        return Known([], {"perturbed clues": "no rules are known that say how many answers a puzzle has"} | of_other)
    if kind.units is None:
        return Known([], {"perturbed clues": "the puzzle declares no units"} | of_other)
    return Known(of_clues(kind, clues), of_other)
