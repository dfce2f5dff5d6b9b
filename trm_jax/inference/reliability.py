"""How well each signal, and the regression over all, tells right answers from wrong ones; and whether promises hold."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import ConfigError
from trm_jax.inference.confidence import Confidence, Evidence
from trm_jax.inference.statistics import Calibration, Share, aurc, calibration, risk_coverage, share

# Of a curve so many points at most are kept.
_POINTS = 200


@dataclass(frozen=True)
class SignalRow:
    """One confidence in the answers: "all" for the regression over all signals, a signal's name for one over it alone,
    "q itself" for the model's own word.

    calibration: AUROC, expected error of the confidence, and the bins of a reliability diagram.
    aurc: area under the curve of risk against coverage.
    coverage, risk: points of that curve.
    """

    name: str
    calibration: Calibration
    aurc: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


@dataclass(frozen=True)
class PromiseRow:
    """A threshold. promised: right answers of those above it, at least; answered: the share that is above it here;
    wrong: of these; None where there are none."""

    promised: float
    answered: Share
    wrong: Share | None


@dataclass(frozen=True)
class ReliabilityReport:
    """puzzles: how many; right: the share of right answers, of all; asked: what `confidence` of these promises comes
    to, None where none was asked for."""

    puzzles: int
    seconds: float
    right: Share
    signals: tuple[SignalRow, ...]
    promises: tuple[PromiseRow, ...]
    confidence: float | None
    asked: PromiseRow | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def reliability(found: Evidence, believed: Confidence, confidence: float | None, seconds: float) -> ReliabilityReport:
    """Compares a calibration with other puzzles than those that made it.

    Args:
      found: what attempts at these have left.
      confidence: a promise to report on.
      seconds: how long the attempts took.

    Raises:
      ConfigError: signals of another effort, or a promise that the calibration does not keep.
    """
    if found.names != believed.fit.names:
        raise ConfigError(f"signals {', '.join(found.names)}: calibrated were {', '.join(believed.fit.names)}")
    names = [*found.names, "all"]
    fits = [*believed.alone, believed.fit]
    columns = [found.signals[:, [i]] for i in range(len(found.names))] + [found.signals]
    logits = {"q itself": found.signals[:, 0]}
    logits |= {name: fit.logits(part) for name, fit, part in zip(names, fits, columns, strict=True)}
    of_all = believed.fit.logits(found.signals)
    asked = None
    if confidence is not None:
        asked = _promise(1 - confidence, believed.promise(confidence).threshold, of_all, found.right)
    return ReliabilityReport(
        puzzles=len(found.right),
        seconds=seconds,
        right=share(float(found.right.mean()), len(found.right)),
        signals=tuple(_signal(name, part, found.right) for name, part in logits.items()),
        promises=tuple(_promise(b.most_wrong, b.threshold, of_all, found.right) for b in believed.bounds),
        confidence=confidence,
        asked=asked,
    )


def _signal(name: str, logits: NDArray[np.float64], right: NDArray[np.bool_]) -> SignalRow:
    risk = risk_coverage(logits, right)
    at = np.unique(np.linspace(0, len(risk) - 1, _POINTS).astype(int))
    coverage = (at + 1) / len(risk)
    points = tuple(coverage.tolist()), tuple(risk[at].tolist())
    return SignalRow(name, calibration(logits, right), aurc(logits, right), *points)


def _promise(most_wrong: float, threshold: float, logits: NDArray[np.float64], right: NDArray[np.bool_]) -> PromiseRow:
    above = logits >= threshold
    count = int(above.sum())
    wrong = share(float((~right[above]).mean()), count) if count else None
    return PromiseRow(1 - most_wrong, share(float(above.mean()), len(above)), wrong)
