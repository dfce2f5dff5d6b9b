"""A model that makes attempts in the hand: an answer of one of them to each puzzle, or none where none is sure."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.inference.answers import certify as certified
from trm_jax.inference.answers import choose, kept_rules
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.selection import Rule, sigmoid
from trm_jax.library.answers import Answers
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.runs.calibration import Promise


def answers(
    model: Model,
    weights: Weights,
    kind: Kind,
    questions: Tokens,
    ids: NDArray[np.int32],
    effort: Effort,
    rule: Rule,
    certify: bool,
    batch_size: int,
    promise: Promise | None,
) -> Answers:
    """Answers to all questions [N, S] with puzzle ids [N].

    Args:
      effort: with answers kept after every supervision step, if they are certified.
      rule: how an attempt is chosen, unless they are certified.
      promise: which answers are given, where only sure ones are.
    """
    parts, likely, sure = [], [], []
    for part in attempt(model, weights, effort, questions, ids, batch_size, kind):
        asked = questions[part.first : part.first + len(part)]
        satisfied = kept_rules(part, kind, asked)
        if certify:
            assert satisfied is not None
            parts.append(certified(part, satisfied))
        else:
            parts.append(choose(part, satisfied, rule))
        if promise is not None:
            chances, enough = promise(part, parts[-1].attempt)
            likely.append(chances)
            kept = parts[-1].satisfied
            sure.append(enough if kept is None else enough & kept)
    fields = ("tokens", "satisfied", "q_halt", "step", "attempt")
    tokens, valid, q_halt, step, attempt_of = (_joined([getattr(part, name) for part in parts]) for name in fields)
    found = Answers(tokens.astype(np.int32), valid, sigmoid(q_halt), step, attempt_of, questions, kind)
    if promise is not None:
        given = np.concatenate(sure)
        found = replace(
            found,
            tokens=np.where(given[:, None], found.tokens, 0),
            valid=None if valid is None else valid & given,
            attempt=np.where(given, attempt_of, -1),
            confidence=np.concatenate(likely),
            sure=given,
        )
    return found


def _joined(parts: list[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)
