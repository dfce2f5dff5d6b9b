"""How sure a figure is: intervals of shares, and how well a confidence tells right from wrong."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.inference.selection import sigmoid

# Two-sided 95 % of a normal distribution.
_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """A mean of values between 0 and 1, and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2%} ({self.low:.1%} to {self.high:.1%})"


def share(value: float, units: int) -> Share:
    """The Wilson score interval of a share (E. B. Wilson, 1927).

    Args:
      value: mean over `units` independent units of something between 0 and 1; of values other than 0 and 1 the
        variance is smaller than the interval assumes, so that it errs on the wide side.
      units: how many; puzzles that are augmentations of one another are one unit. At least 1.
    """
    squared = _Z95**2
    middle = (value + squared / (2 * units)) / (1 + squared / units)
    spread = value * (1 - value) / units + squared / (4 * units**2)
    half = _Z95 / (1 + squared / units) * math.sqrt(max(0.0, spread))
    # Rounding must not put 0 % or 100 % outside of their own intervals.
    return Share(value, max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value)))


@dataclass(frozen=True)
class Calibration:
    """How well the model's own confidence sigmoid(q_halt) tells whether it is right.

    auroc: the chance that a right answer has more confidence than a wrong one; None if all are right, or all wrong.
    expected_error: mean distance of confidence and accuracy over equal bins of confidence, weighted by their counts.
    bins: of each bin its count, mean confidence and accuracy (None where it is empty).
    """

    auroc: float | None
    expected_error: float
    bins: tuple[tuple[int, float | None, float | None], ...]


def calibration(q_halt: ArrayLike, right: ArrayLike, bins: int = 15) -> Calibration:
    """The calibration of logits [N] against outcomes, bool [N]; N at least 1."""
    logits, hits = np.asarray(q_halt, np.float64), np.asarray(right, np.bool_)
    confidence = sigmoid(logits)
    places = np.minimum((confidence * bins).astype(int), bins - 1)
    table: list[tuple[int, float | None, float | None]] = [(0, None, None)] * bins
    error = 0.0
    for place in np.unique(places):
        inside = places == place
        mean, accuracy = float(confidence[inside].mean()), float(hits[inside].mean())
        error += abs(mean - accuracy) * float(inside.mean())
        table[place] = int(inside.sum()), mean, accuracy
    return Calibration(_auroc(logits, hits), error, tuple(table))


def _auroc(logits: NDArray[np.float64], hits: NDArray[np.bool_]) -> float | None:
    """By ranks, those of equal logits averaged (the Mann-Whitney statistic)."""
    positives = int(hits.sum())
    negatives = len(hits) - positives
    if not positives or not negatives:
        return None
    _, group, counts = np.unique(logits, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    ranks = float(mean_rank[group][hits].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> NDArray[np.float64]:
    """The share of wrong answers among the n that are most confident, for n = 1 to N: [N].

    Answers of equal confidence come in every order, so that the mean over these is told.

    Args:
      confidence: any numbers that grow with it, [N]; right: bool [N].
    """
    values, wrong = np.asarray(confidence, np.float64), ~np.asarray(right, np.bool_)
    falling = np.argsort(-values, kind="stable")
    _, group, counts = np.unique(-values[falling], return_inverse=True, return_counts=True)
    shares = np.bincount(group, wrong[falling]) / counts
    return np.asarray(np.cumsum(shares[group]) / np.arange(1, len(values) + 1))


def aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """The area under that curve, the mean risk over all coverages; without order it is the share of wrong answers."""
    return float(risk_coverage(confidence, right).mean())
