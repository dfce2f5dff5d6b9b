"""What a model makes of puzzles that were made worse: whether it is right, whether it rests, and what it claims.

An answer is *claimed* where the attempt that gave it has halted or ends with q > 0; by a search, where the search has
certified it. A claim is *false* where the answer is none: it breaks a rule or changes a clue, or the puzzle has no
answer. Of a puzzle without rules the label says so.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.data.fit import at_size
from trm_jax.data.stress import StressSet, of_one_size
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.inference.answers import believed
from trm_jax.inference.attempts import attempt
from trm_jax.inference.confidence import Promise, change_at_last
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget, search
from trm_jax.inference.selection import Rule, sigmoid
from trm_jax.inference.statistics import Share, calibration, share
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.perturbed import kept_rules_if_any
from trm_jax.puzzles.symmetry import Tokens

# What the figures call what was given.
_TOLD = {"q_halt": "q", "rest": "rest", "likely": "confidence"}


@dataclass(frozen=True)
class StressRow:
    """One perturbation. Shares are of all its puzzles, but for `exact`; None: nothing can be said.

    answers: how many puzzles have "none", "one" or "several"; empty where nobody has looked.
    exact: of the puzzles with a label: answers that are the label's.
    valid: answers that keep to the rules and to every clue.
    changed: clues that the answers changed, of all clues.
    halted: attempts that halted; None of searches, which do not halt.
    q: mean of sigmoid(q_halt) of the answers.
    rest: root mean square change of the state by each of the last steps; the median over the puzzles.
    steps: supervision steps until the attempt halted, or all; of a search, calls of the network.
    claimed: answers that are claimed; false_claims: those among them that are none.
    sure: answers that a confidence gives, without a look at the rules; false_sure: those among them that are none. None
      where no confidence was asked for.
    """

    name: str
    about: str
    puzzles: int
    answers: dict[str, int]
    exact: Share | None
    valid: Share | None
    changed: float | None
    halted: float | None
    q: float | None
    rest: float | None
    steps: float
    claimed: float
    false_claims: Share | None
    sure: float | None = None
    false_sure: Share | None = None


@dataclass(frozen=True)
class StressReport:
    """All perturbations, the plain puzzles first.

    left_out: perturbations that mean nothing here, and why.
    auroc: over all rows, the chance that an answer has more q, a state more at rest, or more confidence than what is
      none; None where there are not both.
    """

    seed: int
    seconds: float
    how: dict[str, Any]
    rows: tuple[StressRow, ...]
    left_out: dict[str, str]
    auroc: dict[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"puzzles": self.rows[0].puzzles, **asdict(self)}


class _Given(NamedTuple):
    """Answers to N puzzles. claimed: bool [N]; steps: [N]; halted, q_halt, rest: [N], None of searches.

    likely, sure: how likely each is right, and whether a confidence gives it, [N]; None where none was asked for.

    tokens: [N, S], 0 everywhere where there is none. right: whether it is an answer, bool [N]; None where unknown.
    """

    tokens: Tokens
    right: NDArray[np.bool_] | None
    claimed: NDArray[np.bool_]
    steps: NDArray[Any]
    halted: NDArray[np.bool_] | None = None
    q_halt: NDArray[np.float32] | None = None
    rest: NDArray[np.float32] | None = None
    likely: NDArray[np.float64] | None = None
    sure: NDArray[np.bool_] | None = None


def by_attempts(
    experiment: Experiment,
    weights: Weights,
    sets: Sequence[StressSet],
    effort: Effort,
    rule: Rule,
    batch_size: int,
    layout: Layout = ALONE,
    progress: Callable[[int], None] = lambda done: None,
    promise: Promise | None = None,
) -> "Answered":
    """Attempts at all puzzles of all sets; arguments as for `attempts.attempt`, and how one of several is chosen.

    promise: of a confidence; it says which answers are sure.
    """
    began, before = time.perf_counter(), 0
    given: dict[str, _Given] = {}
    for group in of_one_size(list(sets)):
        inputs, ids = (np.concatenate([getattr(one, name) for one in group]) for name in ("inputs", "puzzle_ids"))
        model, kind = Model(_sized(experiment, group[0]).model), group[0].kind
        parts: list[_Given] = []

        def tell(done: int, before: int = before) -> None:
            progress(before + done)

        for found in attempt(model, weights, effort, inputs, ids, batch_size, kind, layout, tell):
            rows = np.arange(found.first, found.first + len(found))
            satisfied = _judged(group, rows, found.answers[:, :, -1])
            kept = None if satisfied is None else satisfied[:, :, None]
            chosen = np.zeros(len(found), np.intp) if effort.attempts == 1 else believed(found, kept, rule)
            at: Any = np.arange(len(found)), chosen
            likely, sure = promise(found, chosen) if promise else (None, None)
            halted_at, q_halt = found.halted_at[at], found.q_halt[at][:, -1]
            parts.append(
                _Given(
                    tokens=found.answers[:, :, -1][at],
                    right=None if satisfied is None else satisfied[at],
                    claimed=(halted_at > 0) | (q_halt > 0),
                    steps=np.where(halted_at > 0, halted_at, effort.steps),
                    halted=halted_at > 0,
                    q_halt=q_halt,
                    rest=change_at_last(found, chosen),
                    likely=likely,
                    sure=sure,
                )
            )
        given |= _apart(group, _joined(parts))
        before += len(inputs)
    return Answered(tuple(sets), given, asdict(effort), time.perf_counter() - began)


def by_search(
    experiment: Experiment,
    weights: Weights,
    sets: Sequence[StressSet],
    budget: Budget,
    batch_size: int,
    layout: Layout = ALONE,
    progress: Callable[[int], None] = lambda done: None,
) -> "Answered":
    """Searches for the answers to all puzzles of all sets; arguments as for `search.search`."""
    began, done = time.perf_counter(), 0
    given: dict[str, _Given] = {}
    for group in of_one_size(list(sets)):
        inputs = np.concatenate([one.inputs for one in group])
        tokens, calls = np.zeros_like(inputs), np.zeros(len(inputs), np.int64)
        found, kind = np.zeros(len(inputs), np.bool_), group[0].kind
        model = Model(_sized(experiment, group[0]).model)
        what = model, weights, experiment.candidates, kind, inputs
        for each in search(*what, batch_size, budget, layout, kept_rules_if_any):
            calls[each.number] = each.calls
            if each.tokens is not None:
                tokens[each.number], found[each.number] = each.tokens, True
            progress(done := done + 1)
        right = _judged(group, np.arange(len(inputs)), tokens[:, None])
        given |= _apart(group, _Given(tokens, None if right is None else right[:, 0], found, calls))
    return Answered(tuple(sets), given, vars(budget), time.perf_counter() - began)


@dataclass(frozen=True)
class Answered:
    """The answers to all sets, by the names of these; how: effort or budget; seconds: compilation included."""

    sets: tuple[StressSet, ...]
    given: dict[str, _Given]
    how: dict[str, Any]
    seconds: float

    def report(self, seed: int, left_out: dict[str, str]) -> StressReport:
        """The figures; seed, left_out: of the sets."""
        rows = tuple(_row(one, self.given[one.name]) for one in self.sets)
        return StressReport(seed, self.seconds, self.how, rows, left_out, self._auroc())

    def _auroc(self) -> dict[str, float | None]:
        pairs = [(one, self.given[one.name]) for one in self.sets]
        known = [(given, right) for one, given in pairs if (right := _right(one, given)) is not None]
        right = np.concatenate([each for _, each in known]) if known else None
        found = {}
        for name, sign in (("q_halt", 1), ("rest", -1), ("likely", 1)):
            parts = [getattr(given, name) for given, _ in known]
            if right is not None and parts[0] is not None:
                found[_TOLD[name]] = calibration(sign * np.concatenate(parts), right).auroc
        return found


def _sized(experiment: Experiment, one: StressSet) -> Experiment:
    """The experiment at the size of a set's puzzles."""
    config, kind = experiment.model, one.kind
    if kind.cells == config.seq_len:
        return experiment
    return at_size(experiment, kind.name, kind.cells, kind.vocab_size)


def _judged(group: Sequence[StressSet], rows: NDArray[np.int64], answers: Tokens) -> NDArray[np.bool_] | None:
    """Whether answers [n, K, S] to the puzzles of these rows of a group are any, bool [n, K]; None without rules."""
    if not group[0].kind.has_rules:
        return None
    right = np.zeros(answers.shape[:2], np.bool_)
    first = 0
    for one in group:
        those = np.flatnonzero((rows >= first) & (rows < first + len(one)))
        places = rows[those] - first
        those, places = (part[one.answers[places] != "none"] for part in (those, places))
        for k in range(answers.shape[1] if len(those) else 0):
            right[those, k] = one.judge(one.kind, one.inputs[places], answers[those, k])
        first += len(one)
    return right


def _joined(parts: Sequence[_Given]) -> _Given:
    return _Given._make(None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True))


def _apart(group: Sequence[StressSet], given: _Given) -> dict[str, _Given]:
    """What was given to each set of a group."""
    ends = np.cumsum([len(one) for one in group])
    rows = [slice(end - len(one), end) for one, end in zip(group, ends, strict=True)]
    return {
        one.name: _Given._make(None if part is None else part[row] for part in given)
        for one, row in zip(group, rows, strict=True)
    }


def _exact(one: StressSet, given: _Given) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which puzzles have a label, and whether the answer is the label's, bool [N] each."""
    cells: NDArray[np.bool_] = one.labels != 0
    return np.any(cells, axis=1), np.all((given.tokens == one.labels) | ~cells, axis=1)


def _right(one: StressSet, given: _Given) -> NDArray[np.bool_] | None:
    """Whether each is an answer: by the rules, or else by the labels, if all have one."""
    labelled, exact = _exact(one, given)
    return given.right if given.right is not None else exact if labelled.all() else None


def _row(one: StressSet, given: _Given) -> StressRow:
    units = len(np.unique(one.groups))
    labelled, exact = _exact(one, given)
    right, answered = _right(one, given), np.any(given.tokens, axis=1)
    clues = np.stack([one.kind.given(question) for question in one.inputs]) & answered[:, None]
    # What only looks given, such as a sign that stays hidden, the label changes too.
    clues &= (one.labels == 0) | (one.labels == one.inputs)
    return StressRow(
        name=one.name,
        about=one.about,
        puzzles=len(one),
        answers=one.counts,
        exact=share(float(exact[labelled].mean()), len(np.unique(one.groups[labelled]))) if labelled.any() else None,
        valid=None if given.right is None else share(float(given.right.mean()), units),
        changed=float((given.tokens != one.inputs)[clues].mean()) if clues.any() else None,
        halted=None if given.halted is None else float(given.halted.mean()),
        q=None if given.q_halt is None else float(sigmoid(given.q_halt).mean()),
        rest=None if given.rest is None else float(np.median(given.rest)),
        steps=float(given.steps.mean()),
        claimed=float(given.claimed.mean()),
        false_claims=None if right is None else share(float((given.claimed & ~right).mean()), units),
        sure=None if given.sure is None else float(given.sure.mean()),
        false_sure=None if right is None or given.sure is None else share(float((given.sure & ~right).mean()), units),
    )
