"""One answer to each puzzle, out of all attempts at it: chosen by a rule, or certified by the puzzle's own."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.inference.attempts import Attempts
from trm_jax.inference.selection import Rule, select
from trm_jax.inference.thoughts import judged
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


@dataclass(frozen=True)
class Chosen:
    """An answer to each of n puzzles.

    tokens: [n, S]; all 0 where there is none.
    attempt: which it comes from, [n]; -1 where there is none.
    step: the supervision step after which that attempt gave it, [n].
    q_halt: the model's own logit that it is right, [n].
    satisfied: whether it keeps to the rules and to the question, bool [n]; None where no rules are known.
    """

    tokens: Tokens
    attempt: NDArray[np.integer[Any]]
    step: NDArray[np.integer[Any]]
    q_halt: NDArray[np.float32]
    satisfied: NDArray[np.bool_] | None


def kept_rules(found: Attempts, kind: Kind, questions: Tokens) -> NDArray[np.bool_] | None:
    """Whether each answer of all attempts keeps to the rules, bool [n, K, depths]; None where none are known.

    questions: those that were tried, [n, S].
    """
    return judged(kind, questions[:, None, None], found.answers)


def choose(found: Attempts, satisfied: NDArray[np.bool_] | None, rule: Rule) -> Chosen:
    """The answers with which the attempts ended, one to each puzzle as `selection.select` says.

    satisfied: as `kept_rules` says.

    Raises:
      ConfigError: the rule needs rules of the puzzle, and none are known.
    """
    attempt = believed(found, satisfied, rule)
    at: Any = np.arange(len(found)), attempt
    last: Any = *at, -1
    kept = None if satisfied is None else satisfied[last]
    return Chosen(found.answers[last], attempt, found.steps[at], found.q_halt[last], kept)


def believed(
    found: Attempts, satisfied: NDArray[np.bool_] | None, rule: Rule | str, depth: int = 0, k: int | None = None
) -> NDArray[np.intp]:
    """The number of the attempt to believe at each puzzle, [n], as `choose` does.

    depth: after so many steps, one of the effort's depths; 0: the last.
    k: among the first k attempts; None: all.
    """
    depth = depth or found.effort.steps
    d = found.effort.depths.index(depth)
    return select(
        rule,
        found.answers[:, :k, d],
        found.q_halt[:, :k, depth - 1],
        found.change[:, :k, depth - 1],
        np.where(found.halted_at <= depth, found.halted_at, 0)[:, :k],
        None if satisfied is None else satisfied[:, :k, d],
    )


def certify(found: Attempts, satisfied: NDArray[np.bool_]) -> Chosen:
    """The earliest answer to each puzzle that keeps to the rules, wherever in the attempts it came up; or none.

    found: with answers kept after every supervision step.
    satisfied: as `kept_rules` says.
    """
    n, K = satisfied.shape[:2]
    # Step by step, and of each step attempt by attempt.
    in_time = satisfied.swapaxes(1, 2).reshape(n, -1)
    verified = np.asarray(in_time.any(axis=1))
    depth, attempt = np.divmod(in_time.argmax(axis=1), K)
    at: Any = np.arange(n), attempt, depth
    return Chosen(
        tokens=np.where(verified[:, None], found.answers[at], 0),
        attempt=np.where(verified, attempt, -1),
        step=depth + 1,
        q_halt=found.q_halt[at],
        satisfied=verified,
    )
