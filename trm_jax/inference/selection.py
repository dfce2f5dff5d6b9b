"""Which of several attempts at one puzzle to believe.

first   the first to halt; where none halts, as `q`
q       the most confident, by q_halt
change  the one whose last supervision step changed y and z least
vote    the answer that most attempts agree on; among equals the one with the highest mean confidence
rules   one that keeps to the puzzle's rules; among those, and where none does, as `q`
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import ConfigError
from trm_jax.puzzles.symmetry import Tokens

Rule = Literal["first", "q", "change", "vote", "rules"]
RULES: tuple[Rule, ...] = get_args(Rule)


def select(
    rule: Rule | str,
    answers: Tokens,
    q_halt: NDArray[np.float32],
    change: NDArray[np.float32],
    halted_at: NDArray[np.int32],
    satisfied: NDArray[np.bool_] | None,
) -> NDArray[np.intp]:
    """The number of the chosen attempt at each puzzle, [N]; of equals the earliest.

    Args:
      rule: see above.
      answers: [N, K, S].
      q_halt, change: of the supervision step that gave the answer, [N, K].
      halted_at: the first step with q_halt > 0, 0 where there was none, [N, K].
      satisfied: whether answers keep to the rules, [N, K]; None where there are no rules.

    Raises:
      ConfigError: unknown rule, or "rules" without any.
    """
    if rule == "q":
        return q_halt.argmax(axis=1)
    if rule == "first":
        steps = np.where(halted_at > 0, halted_at, np.iinfo(np.int32).max)
        return np.where(steps == steps.min(axis=1, keepdims=True), q_halt, -np.inf).argmax(axis=1)
    if rule == "change":
        return change.argmin(axis=1)
    if rule == "vote":
        same = same_answers(answers)
        votes = same.sum(axis=2)
        confidence = (same * sigmoid(q_halt)[:, None]).sum(axis=2) / votes
        most = votes == votes.max(axis=1, keepdims=True)
        return np.where(most, confidence, -1.0).argmax(axis=1)
    if rule == "rules":
        if satisfied is None:
            raise ConfigError(
                "no rules are known for this kind of puzzle, so none can select: choose another selection"
            )
        kept = np.where(satisfied.any(axis=1, keepdims=True), satisfied, True)
        return np.where(kept, q_halt, -np.inf).argmax(axis=1)
    raise ConfigError(f"selection {rule!r} is unknown: give one of {', '.join(RULES)}")


def same_answers(answers: Tokens) -> NDArray[np.bool_]:
    """Whether attempts i and j at a puzzle gave the same answer, [N, K, K]; compared by 64 bits of each answer."""
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 1 << 63, answers.shape[2], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    sums = np.stack([(row.astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64) for row in answers])
    return sums[:, :, None] == sums[:, None, :]


def sigmoid(logits: ArrayLike) -> NDArray[np.float64]:
    """How sure a logit is, 0 to 1."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, np.float64), -700, 700)))
