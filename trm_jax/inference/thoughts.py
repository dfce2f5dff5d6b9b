"""What an attempt at one puzzle thought, moment by moment: the answer, what changed in it, how sure the model was."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.selection import sigmoid
from trm_jax.inference.trace import Trace
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


@dataclass(frozen=True)
class Thought:
    """The answer after one supervision step, or after one cycle of it.

    tokens: the answer [cells], the question's fixed cells as the model gave them too.
    changed: which cells differ from the thought before (at the first: from the question), bool [cells].
    q_halt: the model's own logit that the answer is right.
    satisfied: whether the answer keeps to the rules and to the question; None where no rules are known.
    change: root mean square change of y and z since the thought before.
    step: the supervision step, from 1.
    cycle: the cycle in it, from 1; 0 for the step as a whole, as where it has one cycle alone.
    latents: what z would say after each latent step of the cycle, of a step's last one, tokens [n, cells]; None where
      it was not read.
    """

    tokens: Tokens
    changed: NDArray[np.bool_]
    q_halt: float
    satisfied: bool | None
    change: float
    step: int
    cycle: int = 0
    latents: Tokens | None = None

    @property
    def sure(self) -> float:
        """Sigmoid of q_halt."""
        return float(sigmoid(self.q_halt))


def think(model: Model, weights: Weights, kind: Kind, question: Tokens, steps: int) -> list[Thought]:
    """The model's answers to one question [cells], one after each of `steps` supervision steps."""
    effort = Effort(tuple(range(1, steps + 1)))
    (found,) = attempt(model, weights, effort, question[None], np.zeros(1, np.int32), 1)
    return by_steps(kind, question, found)


def by_steps(kind: Kind, question: Tokens, found: Attempts, number: int = 0) -> list[Thought]:
    """One thought for each supervision step of an attempt, up to its end.

    Args:
      kind, question: the puzzle, tokens [cells].
      found: attempts at this puzzle alone, with answers kept after every supervision step.
      number: which attempt.
    """
    steps = int(found.steps[0, number])
    answers = found.answers[0, number, :steps]
    times = [(step, 0) for step in range(1, steps + 1)]
    return _thoughts(kind, question, answers, found.q_halt[0, number], found.change[0, number], times)


def by_cycles(kind: Kind, question: Tokens, found: Attempts, traced: Trace, number: int = 0) -> list[Thought]:
    """One thought for each cycle of each supervision step of an attempt, up to its end.

    The answer after a step's last cycle is the attempt's own. That of the trace is the same but for rounding, since
    it is computed by another program; yet what is shown last has to be what was judged.

    Args:
      kind, question, found, number: as in `by_steps`.
      traced: the same attempt, repeated.
    """
    steps, cycles = int(found.steps[0, number]), traced.tokens.shape[1]
    tokens = traced.tokens[:steps].copy()
    tokens[:, -1] = found.answers[0, number, :steps]
    numbers = range(1, cycles + 1) if cycles > 1 else [0]
    times = [(step, cycle) for step in range(1, steps + 1) for cycle in numbers]
    thoughts = _thoughts(
        kind, question, tokens.reshape(len(times), -1), traced.q_halt.ravel(), traced.change.ravel(), times
    )
    if traced.latents is None:
        return thoughts
    said = traced.latents[:steps].reshape(len(times), *traced.latents.shape[2:])
    return [replace(thought, latents=latents) for thought, latents in zip(thoughts, said, strict=True)]


def with_latents(thoughts: Sequence[Thought], traced: Trace) -> list[Thought]:
    """Thoughts by steps, with what the latents of each step's last cycle say; traced: the same attempt, repeated."""
    return [replace(thought, latents=traced.latents[thought.step - 1, -1]) for thought in thoughts]


def judged(kind: Kind, questions: Tokens, answers: Tokens) -> NDArray[np.bool_] | None:
    """Whether each answer [..., cells] keeps to the rules and to its question: bool [...]; None without rules.

    questions: [cells], or whatever can be broadcast to the answers' shape.

    Raises:
      DataError: a question that is none of its kind, or rules that fail.
    """
    if not kind.has_rules:
        return None
    # Most answers of a puzzle are the same, and a check may be slow.
    pairs = np.stack([np.broadcast_to(questions, answers.shape), answers], axis=-2)
    different, places = np.unique(pairs.reshape(-1, *pairs.shape[-2:]), axis=0, return_inverse=True)
    return kind.satisfied(different[:, 0], different[:, 1])[places].reshape(answers.shape[:-1])


def is_right(thought: Thought, label: Tokens | None) -> bool | None:
    """As `judge`, of a thought's answer."""
    return judge(thought.satisfied, thought.tokens, label)


def judge(satisfied: bool | None, answer: Tokens, label: Tokens | None) -> bool | None:
    """Whether the rules, or where there are none the label [cells], say so; None where neither says anything."""
    if satisfied is not None:
        return satisfied
    if label is None or not (label != 0).any():
        return None
    return differing_cells(answer, label) == 0


def since(holds: Sequence[bool | None]) -> int:
    """The place from which on all hold; their number where the last does not."""
    return max((place + 1 for place, each in enumerate(holds) if not each), default=0)


def differing_cells(answer: Tokens, label: Tokens) -> int:
    """In how many cells an answer [cells] differs from a label that is 0 where nothing is known."""
    return int(((answer != label) & (label != 0)).sum())


def _thoughts(
    kind: Kind,
    question: Tokens,
    answers: Tokens,
    q_halt: NDArray[np.float32],
    change: NDArray[np.float32],
    times: Sequence[tuple[int, int]],
) -> list[Thought]:
    satisfied = judged(kind, question, answers)
    thoughts, before = [], question
    for i, (tokens, (step, cycle)) in enumerate(zip(answers, times, strict=True)):
        keeps = None if satisfied is None else bool(satisfied[i])
        thoughts.append(Thought(tokens, tokens != before, float(q_halt[i]), keeps, float(change[i]), step, cycle))
        before = tokens
    return thoughts
