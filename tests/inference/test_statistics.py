"""Intervals and calibration against figures worked out by other means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trm_jax.inference.statistics import calibration, share


@pytest.mark.parametrize(
    ("right", "units", "low", "high"),
    # From the formula's closed form, as tabled for the Wilson interval (Brown, Cai, DasGupta 2001, section 3).
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 20, 0.0089, 0.2361),
        (874, 1000, 0.8520, 0.8932),
    ],
)
def test_intervals_are_wilsons(right, units, low, high):
    found = share(right / units, units)
    assert found.value == right / units
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-4), pytest.approx(high, abs=6e-4))


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_intervals_hold_their_value_and_stay_within_bounds(units, value):
    found = share(value, units)
    assert 0 <= found.low <= value <= found.high <= 1
    assert share(value, units * 4).high - share(value, units * 4).low <= found.high - found.low + 1e-12


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = [(lambda s: s.low <= 0.8 <= s.high)(share(rng.binomial(50, 0.8) / 50, 50)) for _ in range(2_000)]
    assert 0.93 < np.mean(covered) < 0.97


def test_auroc_is_the_chance_of_the_right_order():
    rng = np.random.default_rng(0)
    q, right = rng.integers(-3, 4, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in q[right] for b in q[~right]]
    assert calibration(q, right).auroc == pytest.approx(np.mean(pairs))
    assert calibration([1.0, 2.0], [False, True]).auroc == 1
    assert calibration([1.0, 2.0], [True, False]).auroc == 0
    assert calibration([1.0, 2.0], [True, True]).auroc is None


def test_the_calibration_error_is_zero_for_honest_confidence_and_large_for_boasting():
    honest = calibration(np.full(1_000, np.log(3)), np.arange(1_000) % 4 > 0)
    assert honest.expected_error == pytest.approx(0, abs=1e-9)
    assert honest.bins[11] == (1_000, pytest.approx(0.75), 0.75)
    assert honest.bins[0] == (0, None, None)
    boasting = calibration(np.full(10, 40.0), np.zeros(10, bool))
    assert boasting.expected_error == pytest.approx(1)
    mixed = calibration([-800.0, 800.0, 800.0, 800.0], [False, True, True, False])
    assert mixed.expected_error == pytest.approx(0.25)
    assert [count for count, _, _ in mixed.bins] == [1] + 13 * [0] + [3]
