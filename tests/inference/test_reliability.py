"""Risk against coverage by hand, and what is told of a calibration on other puzzles."""

import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.inference.confidence import Bound, Confidence, Evidence, Fit
from trm_jax.inference.reliability import reliability
from trm_jax.inference.statistics import aurc, risk_coverage

RIGHT = np.array([True, False, True, False])


def test_risk_grows_as_less_sure_answers_are_given():
    np.testing.assert_allclose(risk_coverage([4, 3, 2, 1], RIGHT), [0, 1 / 2, 1 / 3, 1 / 2])
    np.testing.assert_allclose(risk_coverage([1, 2, 3, 4], RIGHT), [1, 1 / 2, 2 / 3, 1 / 2])
    assert aurc([4, 3, 2, 1], RIGHT) == pytest.approx((1 / 2 + 1 / 3 + 1 / 2) / 4)


def test_equal_confidence_comes_in_every_order():
    np.testing.assert_allclose(risk_coverage([1, 1, 1, 1], RIGHT), [0.5] * 4)
    np.testing.assert_allclose(risk_coverage([2, 2, 1, 1], RIGHT), [1 / 2, 1 / 2, 1 / 2, 1 / 2])
    np.testing.assert_allclose(risk_coverage([2, 1, 1, 1], RIGHT), [0, 1 / 3, 4 / 9, 1 / 2])


def one(name: str, weight: float) -> Fit:
    return Fit((name,), (0.0,), (1.0,), (weight,), 0.0)


def calibrated() -> Confidence:
    whole = Fit(("q", "rest", "margin"), (0.0,) * 3, (1.0,) * 3, (0.0, 0.0, 1.0), 0.0)
    alone = (one("q", -1.0), one("rest", 1.0), one("margin", 1.0))
    return Confidence(whole, alone, (Bound(-9, 10, 4, 0.6), Bound(1, 5, 0, 0.25), Bound(99, 1, 0, 0.9)), 0.05, 9, 10)


def test_each_signal_is_told_alone_and_all_together_and_each_promise():
    signals = np.array([[4, 0, 2.0], [3, 0, -1], [2, 0, 1], [1, 0, 0]])
    report = reliability(Evidence(("q", "rest", "margin"), signals, RIGHT), calibrated(), 0.7, 1.5)
    rows = {row.name: row for row in report.signals}
    assert list(rows) == ["q itself", "q", "rest", "margin", "all"]
    auroc = {name: row.calibration.auroc for name, row in rows.items()}
    assert auroc == {"q itself": 0.75, "q": 0.25, "rest": 0.5, "margin": 1, "all": 1}
    assert rows["all"].aurc == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert rows["rest"].aurc == 1 - report.right.value == 0.5
    assert rows["all"].coverage == (0.25, 0.5, 0.75, 1)
    assert rows["all"].risk == pytest.approx([0, 0, 1 / 3, 1 / 2])
    told = [(row.promised, row.answered.value, row.wrong and row.wrong.value) for row in report.promises]
    assert told == [(0.4, 1, 0.5), (0.75, 0.5, 0), (pytest.approx(0.1), 0, None)]
    assert report.asked is not None
    assert (report.asked.promised, report.asked.answered.value) == (pytest.approx(0.7), 0.5)
    assert report.to_dict()["asked"]["wrong"]["value"] == 0


def test_signals_of_another_effort_are_refused():
    with pytest.raises(ConfigError, match="signals q, rest: calibrated were q, rest, margin"):
        reliability(Evidence(("q", "rest"), np.zeros((4, 2)), RIGHT), calibrated(), None, 0.0)
