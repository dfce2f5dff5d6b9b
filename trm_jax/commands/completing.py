"""`trm solve --complete`: what the network has not answered, a complete search answers, or shows to have no answer."""

import numpy as np

from trm_jax.commands.questions import Task
from trm_jax.config import Experiment
from trm_jax.inference.guides import guide_by
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.complete_search import CompleteSearch, Ended, unguided


def completed(experiment: Experiment, weights: Weights, task: Task, nodes: int, guided: bool = True) -> Ended:
    """The complete search for an answer to one puzzle.

    Args:
      experiment, weights: of the network that says what to try first.
      nodes: to look at, at most.
      guided: whether it is asked; without, symbols are tried in their order.

    Raises:
      ConfigError: a kind of puzzle without rules, or of which the network does not know all symbols.
    """
    search = CompleteSearch(task.kind)
    question = np.asarray(task.question, np.int32)
    guide = guide_by(Model(experiment.model), weights, question, search.units, task.puzzle_id) if guided else unguided
    return search(question, guide, nodes)
