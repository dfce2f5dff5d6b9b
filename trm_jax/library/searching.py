"""A model of candidates in the hand: it searches, with a verifier, where others make attempts."""

from collections.abc import Iterator

import numpy as np

from trm_jax.config import Experiment
from trm_jax.errors import ConfigError
from trm_jax.inference.search import MOST_CALLS, Budget, Found, search
from trm_jax.library.answers import Answers, Moment
from trm_jax.library.asked import whole
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


def budget_from(calls: int, seconds: float, chains: int, seed: int) -> Budget:
    """How long to search; the arguments are those of `Solver.solve`. Raises ConfigError for one out of range."""
    whole("seed", seed, (1 << 31) - 1, least=0)
    limits = {name: whole(name, value, MOST_CALLS - 1) for name, value in (("calls", calls), ("chains", chains))}
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e9:
        raise ConfigError(f"seconds = {seconds!r}: give a number from 0 (no limit)")
    return Budget(**limits, seconds=float(seconds), seed=seed)


def found(
    experiment: Experiment, weights: Weights, kind: Kind, questions: Tokens, budget: Budget, batch_size: int
) -> list[Found]:
    """What the search for each question's answer came to, in the order of the questions [N, S]."""
    results = search(Model(experiment.model), weights, experiment.candidates, kind, questions, batch_size, budget)
    return sorted(results, key=lambda result: result.number)


def answers(results: list[Found], questions: Tokens, kind: Kind) -> Answers:
    """Answers to all questions [N, S]: verified ones, or none."""
    nothing = np.zeros_like(questions[0])
    solved = np.array([result.tokens is not None for result in results])
    return Answers(
        np.stack([nothing if result.tokens is None else result.tokens for result in results]),
        solved,
        solved.astype(np.float32),
        np.array([result.calls for result in results]),
        np.where(solved, 0, -1),
        questions,
        kind,
    )


def moments(result: Found, question: Tokens, kind: Kind, symbols: tuple[int, ...], blank: int) -> Iterator[Moment]:
    """The calls of the chain that found the answer; cells with a choice are blank. Where none was found, the first."""
    for step, call in enumerate(result.path, start=1):
        certain = call.left.sum(axis=-1) == 1
        tokens = np.where(certain, np.asarray(symbols)[call.left.argmax(axis=-1)], blank).astype(np.int32)
        last = result.tokens is not None and step == len(result.path)
        answer = Answers(tokens, last, float(last), step, 0, question, kind)
        yield Moment(step, answer, None, None, float(last), call.left)
