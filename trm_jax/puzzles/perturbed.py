"""A puzzle made worse in a way that is known, and how answers to it are judged."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError, RulesError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# Whether each answer [N, S] is one of its question [N, S], bool [N].
Judge = Callable[[Kind, Tokens, Tokens], NDArray[np.bool_]]


@dataclass(frozen=True)
class Perturbed:
    """What has become of a puzzle.

    question: tokens [S].
    label: the answer that `exact` compares with, tokens [S]; 0 everywhere where none is the one.
    answers: how many it has.
    """

    question: Tokens
    label: Tokens
    answers: Literal["none", "one", "several"]


def kept_rules(kind: Kind, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
    """The judge of a kind's own rules."""
    return kind.satisfied(questions, answers)


def kept_rules_if_any(kind: Kind, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
    """That judge of questions which may be none, such as a maze without a way: no answer keeps the rules of these.

    Raises:
      RulesError: a user's own rules fail, which says nothing of the question.
    """

    def judged(question: Tokens, answer: Tokens) -> bool:
        try:
            return bool(kind.satisfied(question[None], answer[None])[0])
        except RulesError:
            raise
        except DataError:
            return False

    return np.array([judged(*pair) for pair in zip(questions, answers, strict=True)], np.bool_)


@dataclass(frozen=True)
class Perturbation:
    """One way to make a puzzle worse.

    name: an identifier.
    about: what becomes of the puzzle, in a few words.
    make: from a question [S] and random numbers; None where this puzzle cannot be made so, or where the search that has
      to say how many answers it has was given up.
    judge: of the answers to a puzzle that has any; the others have been shown to have none.
    """

    name: str
    about: str
    make: Callable[[Tokens, np.random.Generator], Perturbed | None]
    judge: Judge = kept_rules

    def __call__(self, question: Tokens, seed: int) -> Perturbed | None:
        """Follows from the question and the seed alone, wherever in whichever set the question stands."""
        about = f"{self.name} {seed} {' '.join(map(str, question.tolist()))}"
        return self.make(question, np.random.default_rng(list(sha256(about.encode()).digest())))
