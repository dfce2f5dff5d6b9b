"""How sure an answer may be held to be: what an attempt leaves behind, a regression over it, and bounds that hold.

Signals, each of the attempt that gave the answer, at its end:

q          the model's own logit that the answer is right
rest       how still the state has come: -log10 of its mean change over the last steps
margin     by how much the likeliest token of a cell leads the next, at the cell where that is least
agreement  the share of the attempts that gave this answer, where there are several

A third of the calibration puzzles fits a logistic regression over them. Its probability is a confidence that orders
answers; on what it says of itself nothing rests. The other two thirds bound, for each of at most ten thresholds that
the first third has set, how often an answer above the threshold is wrong: by Clopper and Pearson (1934), all thresholds
together with probability 1 - delta (Angelopoulos et al., Learn then test, arXiv 2110.01052, with Bonferroni's
correction). So any promise may be asked for afterwards, and the lowest threshold that keeps it be taken.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.answers import believed, kept_rules
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.selection import Rule, same_answers, sigmoid
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.sizes import counted

SIGNALS = ("q", "rest", "margin", "agreement")
# `rest` is over so many supervision steps, the last.
LAST = 4
# Of the calibration puzzles one in so many fits, the others bound.
_FITS = 3
# Thresholds are where such shares of the puzzles that fit are above. Even the lowest lets no answer pass that is less
# sure than all of these: nothing is known of such.
_SHARES = (1.0, 0.99, 0.98, 0.95, 0.9, 0.8, 0.65, 0.5, 0.3, 0.1)
# A signal is no further than this from 0: a model that has diverged says numbers without meaning.
_FARTHEST = 100.0
_STILL = 1e-9


def signals_of(found: Attempts, chosen: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """The signals [n, F] of the answers with which the chosen attempts [n] ended; F as `names_of` says."""
    at: Any = np.arange(len(found)), chosen
    columns = [found.q_halt[at][:, -1], -np.log10(np.maximum(change_at_last(found, chosen), _STILL))]
    columns.append(found.margin[at][:, -1])
    if found.effort.attempts > 1:
        columns.append(same_answers(found.answers[:, :, -1])[at].mean(axis=1))
    return np.clip(np.stack(columns, axis=1).astype(np.float64), -_FARTHEST, _FARTHEST)


def names_of(effort: Effort) -> tuple[str, ...]:
    """The signals that attempts of this effort leave."""
    return SIGNALS if effort.attempts > 1 else SIGNALS[:-1]


def change_at_last(found: Attempts, chosen: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """The root mean square change of the chosen attempts' state by a step, mean of the last `LAST` steps, [n]."""
    changes: NDArray[np.float32] = found.change[np.arange(len(found)), chosen]
    return changes[:, -LAST:].mean(axis=1)


class Evidence(NamedTuple):
    """What attempts at N puzzles have left: signals [N, F] by their names, and which answers are right, bool [N]."""

    names: tuple[str, ...]
    signals: NDArray[np.float64]
    right: NDArray[np.bool_]


def gather(
    model: Model,
    weights: Weights,
    puzzles: PuzzleSet,
    kind: Kind,
    effort: Effort,
    rule: Rule,
    batch_size: int,
    layout: Layout = ALONE,
    progress: Callable[[int], None] = lambda done: None,
) -> Evidence:
    """Attempts one puzzle of each group, since augmentations of one puzzle are not independent of one another.

    An answer is right if it keeps to the rules; where none are known, if it is the label.

    Args:
      model, weights, effort, batch_size, layout, progress: as for `attempts.attempt`.
      puzzles, kind: held out.
      rule: how one of several attempts is chosen.

    Raises:
      DataError: there are neither rules nor labels.
    """
    rows = independent(puzzles)
    if not kind.has_rules:
        labels = np.asarray(puzzles.labels[rows])
        rows = rows[(labels != 0).any(axis=1)]
        if not len(rows):
            raise DataError(
                f"none of {counted(len(puzzles), 'puzzle')} has an answer, and no rules are known: nothing tells which "
                "answers are right: give puzzles with their answers"
            )
    inputs, labels = (np.asarray(part[rows]) for part in (puzzles.inputs, puzzles.labels))
    signals, right = [], []
    for found in attempt(model, weights, effort, inputs, puzzles.puzzle_ids[rows], batch_size, kind, layout, progress):
        theirs = slice(found.first, found.first + len(found))
        satisfied = kept_rules(found, kind, inputs[theirs])
        chosen = np.zeros(len(found), np.intp) if effort.attempts == 1 else believed(found, satisfied, rule)
        signals.append(signals_of(found, chosen))
        at: Any = np.arange(len(found)), chosen, -1
        known = labels[theirs]
        exact = ((found.answers[at] == known) | (known == 0)).all(axis=1)
        right.append(exact if satisfied is None else satisfied[at])
    return Evidence(names_of(effort), np.concatenate(signals), np.concatenate(right))


def independent(puzzles: PuzzleSet) -> NDArray[np.intp]:
    """The first puzzle of each group, in their order."""
    return np.sort(np.unique(puzzles.groups, return_index=True)[1])


@dataclass(frozen=True)
class Fit:
    """A logistic regression over signals, standardised by mean and scale; all lists are by `names`."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def logits(self, signals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the chance that an answer is right, [N]; signals: [N, F]."""
        return ((signals - self.mean) / self.scale) @ np.asarray(self.weights) + self.bias


def fit(names: tuple[str, ...], signals: NDArray[np.float64], right: NDArray[np.bool_]) -> Fit:
    """The weights of greatest likelihood, less half the sum of their squares, so that they stay finite.

    Of answers that are all right nothing can be learnt: each is held for as sure as Laplace's rule of succession says.

    Args:
      signals, right: [N, F] and bool [N], at least one of them right.
    """
    mean, spread = signals.mean(axis=0), signals.std(axis=0)
    scale = np.where(spread > _STILL, spread, 1.0)
    standard, sign = (signals - mean) / scale, np.where(right, 1.0, -1.0)

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = at[:-1]
        leads = sign * (standard @ weights + at[-1])
        slopes = -sign * sigmoid(-leads)
        value = np.logaddexp(0, -leads).sum() + weights @ weights / 2
        return float(value), np.append(standard.T @ slopes + weights, slopes.sum())

    at = np.zeros(len(names) + 1)
    if right.all():
        at[-1] = math.log(len(right) + 1)
    else:
        from scipy.optimize import minimize  # a quarter second that an answer without a promise need not wait

        at = minimize(loss, at, jac=True, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 1e-14}).x
    return Fit(names, tuple(mean.tolist()), tuple(scale.tolist()), tuple(at[:-1].tolist()), float(at[-1]))


class Bound(NamedTuple):
    """Of the puzzles that bound: how many answers had a logit of at least `threshold`, how many of these were wrong,
    and the share that is at most wrong of all puzzles of their kind."""

    threshold: float
    answered: int
    wrong: int
    most_wrong: float


@dataclass(frozen=True)
class Confidence:
    """A regression, and what it may be trusted with.

    fit: over all signals; alone: over each of them alone, for comparison.
    bounds: from the most answers to the fewest; with probability 1 - delta over the puzzles that bound, all hold.
    fitted, bounded: how many puzzles did which.
    """

    fit: Fit
    alone: tuple[Fit, ...]
    bounds: tuple[Bound, ...]
    delta: float
    fitted: int
    bounded: int

    @property
    def most(self) -> float:
        """The highest promise that it keeps."""
        return 1 - min(bound.most_wrong for bound in self.bounds)

    def promise(self, confidence: float) -> "Promise":
        """Which answers to give so that they are right as often as this, 0 to 1: as many as may be.

        Raises:
          ConfigError: none is: there were too few puzzles, or the signals do not tell right answers from wrong ones.
        """
        kept = [bound.threshold for bound in self.bounds if bound.most_wrong <= 1 - confidence]
        if kept:
            return Promise(self.fit, min(kept))
        puzzles = self.fitted + self.bounded
        lowest = needed(confidence, self.delta)
        reason = (
            f"that takes at least {counted(lowest, 'puzzle')}, and this calibration has {puzzles}"
            if puzzles < lowest
            else f"of the {self.bounded} answers that it was measured by, too many were wrong where it was sure"
        )
        # Rounded down: what is told can be asked for.
        most = math.floor(self.most * 1_000) / 1_000
        raise ConfigError(f"confidence {confidence:g} cannot be promised: {reason}: ask for at most {most:g}")


@dataclass(frozen=True)
class Promise:
    """A regression, and the threshold of its logit from which on an answer is sure."""

    fit: Fit
    threshold: float

    def __call__(
        self, found: Attempts, chosen: NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Of the answers of the chosen attempts [n]: how likely each is right by the regression, and which are sure."""
        logits = self.fit.logits(signals_of(found, chosen))
        return sigmoid(logits), logits >= self.threshold


def calibrate(evidence: Evidence, confidence: float, delta: float, seed: int = 0) -> Confidence:
    """Fits and bounds.

    Args:
      evidence: of puzzles like those that will be asked.
      confidence: the promise that is wanted, as a share of right answers; it says how many puzzles it takes.
      delta: the chance, over the calibration puzzles, that some promise is not kept.
      seed: of who fits and who bounds.

    Raises:
      DataError: too few puzzles for the promise, or none was solved.
    """
    names, signals, right = evidence
    count = len(right)
    refuse_too_few(count, confidence, delta)
    order = np.random.default_rng(seed).permutation(count)
    fits, binds = order[: count // _FITS], order[count // _FITS :]
    if not right[fits].any():
        raise DataError(
            f"none of {counted(len(fits), 'answer')} is right: this model is not to be believed in anything"
        )
    whole = fit(names, signals[fits], right[fits])
    alone = tuple(fit((name,), signals[fits][:, [i]], right[fits]) for i, name in enumerate(names))
    bounds = bounded(whole.logits(signals[fits]), whole.logits(signals[binds]), right[binds], delta)
    return Confidence(whole, alone, bounds, delta, len(fits), len(binds))


def bounded(
    fitted: NDArray[np.float64], logits: NDArray[np.float64], right: NDArray[np.bool_], delta: float
) -> tuple[Bound, ...]:
    """Thresholds, set by the logits of some puzzles, and their bounds, by the answers to others.

    Args:
      fitted: [M]; logits, right: [N] each.
      delta: all bounds hold with probability 1 - delta.
    """
    thresholds, bounds = _thresholds(fitted), []
    for threshold in thresholds:
        above = logits >= threshold
        answered, wrong = int(above.sum()), int((above & ~right).sum())
        bounds.append(Bound(threshold, answered, wrong, most_wrong(wrong, answered, delta / len(thresholds))))
    return tuple(bounds)


def refuse_too_few(puzzles: int, confidence: float, delta: float) -> None:
    """Raises DataError where a promise cannot be kept with so many puzzles, whatever the answers."""
    if puzzles < (least := needed(confidence, delta)):
        raise DataError(
            f"{counted(puzzles, 'independent puzzle')}: to promise {confidence:g} takes at least {least}: give more, "
            f"or ask for less ({math.floor(promised_by(puzzles, delta) * 1_000) / 1_000:g} at the very most)"
        )


def most_wrong(wrong: int, answered: int, level: float) -> float:
    """The share of wrong answers that is exceeded with probability `level` at most (Clopper and Pearson, one-sided)."""
    from scipy.special import betaincinv  # here for the same reason as in `fit`

    return 1.0 if wrong == answered else float(betaincinv(wrong + 1, answered - wrong, 1 - level))


def needed(confidence: float, delta: float) -> int:
    """Puzzles without which a promise cannot be kept though all answers were right and all thresholds different."""
    level = delta / len(_SHARES)
    bind = math.ceil(math.log(level) / math.log(confidence))
    while most_wrong(0, bind, level) > 1 - confidence:  # rounding
        bind += 1
    return (_FITS * bind - 1) // (_FITS - 1)


def promised_by(puzzles: int, delta: float) -> float:
    """The promise that so many puzzles can keep at the very most, as `needed` counts."""
    return 1 - most_wrong(0, puzzles - puzzles // _FITS, delta / len(_SHARES))


def _thresholds(logits: NDArray[np.float64]) -> list[float]:
    """Rising, each once."""
    falling = np.sort(logits)[::-1]
    places = [math.ceil(len(falling) * share) - 1 for share in _SHARES]
    return sorted({float(falling[place]) for place in places})
