"""A confidence: what its signals are, that the regression is the usual one, and that what it promises is kept."""

import math
from dataclasses import replace

import numpy as np
import pytest

from trm_jax.errors import ConfigError, DataError
from trm_jax.inference import confidence
from trm_jax.inference.attempts import Attempts
from trm_jax.inference.confidence import (
    SIGNALS,
    Bound,
    Confidence,
    Evidence,
    Fit,
    bounded,
    calibrate,
    fit,
    gather,
    most_wrong,
    names_of,
    needed,
    signals_of,
)
from trm_jax.inference.effort import Effort
from trm_jax.inference.statistics import share
from trm_jax.puzzles.kinds import kind_of

PLAIN = Fit(("q",), (0.0,), (1.0,), (1.0,), 0.0)


def attempts(answers, q_halt, change, margin):
    """Attempts [n, K] whose answers [n, K, S] and q_halt are of the end; change and margin are by step, [n, K, D]."""
    n, K, D = np.shape(change)
    effort = Effort((D,), attempts=K, latent_noise=float(K > 1))
    by_step = np.repeat(np.asarray(q_halt, np.float32)[..., None], D, axis=-1)
    zeros = np.zeros((n, K), np.int32)
    tokens = np.asarray(answers)[:, :, None]
    return Attempts(effort, 0, tokens, by_step, np.float32(change), np.float32(margin), zeros, zeros + D)


def test_signals_are_those_of_the_chosen_attempt_at_its_end():
    found = attempts(
        answers=[[[1, 2], [1, 2], [2, 2]], [[1, 1], [2, 2], [1, 2]]],
        q_halt=[[3, 1, 2], [-1, 0.5, 4]],
        change=[[[9, 0.1, 0.1, 0.1, 0.1], [9] * 5, [9] * 5], [[9] * 5, [9, 2, 4, 6, 8], [9] * 5]],
        margin=[[[0, 0, 0, 0, 7], [1] * 5, [1] * 5], [[1] * 5, [0, 0, 0, 0, 2], [1] * 5]],
    )
    assert names_of(found.effort) == SIGNALS
    wanted = [[3, 1, 7, 2 / 3], [0.5, -math.log10(5), 2, 1 / 3]]
    np.testing.assert_allclose(signals_of(found, np.array([0, 1])), wanted, rtol=1e-6)


def test_one_attempt_agrees_with_nobody_and_a_diverged_one_says_nothing_wild():
    huge = float(np.finfo(np.float32).max)
    found = attempts([[[1]], [[1]]], [[-huge], [2]], [[[huge]], [[0]]], [[[0]], [[3e30]]])
    assert names_of(found.effort) == ("q", "rest", "margin")
    signals = signals_of(found, np.zeros(2, int))
    assert signals.shape == (2, 3)
    assert np.abs(signals).max() <= 100
    assert signals[1, 1] == 9  # a state that rests wholly


def test_the_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(3)
    signals = np.round(rng.normal(size=(60, 3)), 3)
    right = signals @ [1.5, -0.5, 0] + rng.logistic(size=60) > -1
    # LogisticRegression(C=1, tol=1e-10) of scikit-learn 1.9 on the standardised signals.
    wanted = [1.4361165747748417, -0.13067550440827805, 0.09007454219949569]
    found = fit(("a", "b", "c"), signals, right)
    np.testing.assert_allclose(found.weights, wanted, rtol=1e-5)
    assert found.bias == pytest.approx(1.2471554662492546, rel=1e-5)
    # In other units the logits are the same.
    other = fit(("a", "b", "c"), 1_000 * signals + 7, right)
    np.testing.assert_allclose(other.logits(1_000 * signals + 7), found.logits(signals), atol=1e-4)


def test_a_signal_that_never_changes_and_answers_that_are_all_right_fit_too():
    signals = np.stack([np.arange(8.0), np.full(8, 0.5)], axis=1)
    found = fit(("q", "rest"), signals, np.arange(8) > 3)
    assert abs(found.weights[1]) < 1e-9
    all_right = fit(("q", "rest"), signals, np.ones(8, bool))
    np.testing.assert_allclose(all_right.logits(signals), math.log(9))  # Laplace: 9 in 10


@pytest.mark.parametrize(("wrong", "answered"), [(0, 10), (3, 40), (39, 40)])
def test_the_bound_is_where_so_few_wrong_answers_become_unlikely(wrong: int, answered: int):
    bound = most_wrong(wrong, answered, 0.05)
    chance = sum(math.comb(answered, k) * bound**k * (1 - bound) ** (answered - k) for k in range(wrong + 1))
    assert chance == pytest.approx(0.05)


def test_of_no_answers_or_none_right_nothing_is_promised():
    assert most_wrong(0, 0, 0.05) == most_wrong(5, 5, 0.05) == 1


@pytest.mark.parametrize("promise", [0.9, 0.99, 0.999])
def test_so_many_puzzles_are_needed_and_not_one_less(promise: float):
    count = needed(promise, 0.05)
    rng = np.random.default_rng(0)
    evidence = Evidence(("q",), rng.normal(size=(count, 1)), np.ones(count, bool))
    assert calibrate(evidence, promise, 0.05).most >= promise
    fewer = Evidence(("q",), evidence.signals[1:], evidence.right[1:])
    with pytest.raises(DataError, match=f"puzzles: to promise {promise:g} takes at least {count}: give more, or ask"):
        calibrate(fewer, promise, 0.05)
    # The worst case: each threshold is another one, and all answers that bound are right.
    bind = count - count // 3
    assert most_wrong(0, bind, 0.05 / 10) <= 1 - promise < most_wrong(0, bind - 1, 0.05 / 10)


def test_who_fits_does_not_bound():
    """With a signal that says nothing, and answers right by a coin, thresholds set by who bounds would look good."""
    rng = np.random.default_rng(1)
    found = calibrate(Evidence(("q",), rng.normal(size=(900, 1)), rng.random(900) < 0.5), 0.9, 0.05)
    assert (found.fitted, found.bounded) == (300, 600)
    assert found.bounds[0].answered <= 600
    assert sum(bound.answered == 600 for bound in found.bounds) <= 1
    assert found.most < 0.6


def test_a_model_that_solves_nothing_is_told():
    with pytest.raises(DataError, match="none of 60 answers is right: this model is not to be believed"):
        calibrate(Evidence(("q",), np.arange(180.0)[:, None], np.zeros(180, bool)), 0.9, 0.05)


def promised(*bounds: Bound) -> Confidence:
    return Confidence(PLAIN, (PLAIN,), bounds, 0.05, 1_000, 2_000)


def test_a_promise_gives_as_many_answers_as_may_be():
    found = promised(Bound(-1, 9, 3, 0.2), Bound(0, 8, 1, 0.04), Bound(1, 7, 0, 0.02), Bound(2, 6, 1, 0.05))
    assert found.promise(0.96).threshold == 0
    assert found.promise(0.97).threshold == 1
    assert found.promise(0.5).threshold == -1
    with pytest.raises(ConfigError, match=r"confidence 0.99 cannot be promised: of the 2000 .* ask for at most 0.98$"):
        found.promise(0.99)
    with pytest.raises(ConfigError, match=r"that takes at least 7,943 puzzles, and this calibration has 3000: ask"):
        found.promise(0.999)


def test_nothing_is_given_that_is_less_sure_than_all_that_was_fitted():
    fitted = np.array([1.0, 2.0, 3.0])
    bounds = bounded(fitted, np.array([-5.0, 1.0, 4.0]), np.array([True, True, False]), 0.05)
    assert [(b.threshold, b.answered, b.wrong) for b in bounds] == [(1, 2, 1), (2, 1, 1), (3, 1, 1)]
    assert bounds[0].most_wrong == most_wrong(1, 2, 0.05 / 3)  # of three thresholds, and not of ten


def drawn(rng, count: int):
    """Logits, and answers that are wrong with a chance that falls with them; and that chance."""
    logits = rng.normal(size=count)
    chance = 1 / (1 + np.exp(2 + 2 * logits))
    return logits, rng.random(count) >= chance, chance


def test_what_is_promised_is_kept_in_random_splits():
    """The truth of each threshold is the mean chance above it, in very many draws; a promise may fail in 1 of 20."""
    many, _, chance = drawn(np.random.default_rng(0), 200_000)
    order = np.argsort(many)
    sums = np.cumsum(chance[order][::-1])[::-1]
    broken, given = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed + 1)
        fitted, (logits, right, _) = rng.normal(size=200), drawn(rng, 400)
        found = promised(*bounded(fitted, logits, right, 0.05))
        try:
            threshold = found.promise(0.9).threshold
        except ConfigError:  # no answer is given, so none is wrong
            continue
        above = np.searchsorted(many[order], threshold)
        broken += sums[above] / (len(many) - above) > 0.1
        given += np.mean(many >= threshold)
    # Wilson's interval of the share that was broken begins at or below delta.
    assert share(broken / 100, 100).low <= 0.05
    assert given / 100 > 0.25  # it is kept by answers, not by silence


@pytest.fixture
def found(monkeypatch):
    """Answers to five puzzles of three groups, of a kind without rules; the second group is right."""
    kind = kind_of('{"kind": "grid", "shape": [1, 2], "alphabet": ".ab"}', 2)
    asked = []

    def attempt(model, weights, effort, inputs, ids, *rest):
        asked.append((inputs.tolist(), ids.tolist()))
        n = len(inputs)
        yield replace(attempts([[[2, 3]]] * n, [[1]] * n, [[[1]]] * n, [[[1]]] * n), effort=effort)

    monkeypatch.setattr(confidence, "attempt", attempt)
    return kind, asked


class Puzzles:
    """As much of a `PuzzleSet` as is looked at."""

    def __init__(self, labels, groups):
        self.inputs = np.arange(1, 2 * len(groups) + 1).reshape(-1, 2) % 3 + 1
        self.labels, self.groups = np.array(labels), np.array(groups)
        self.puzzle_ids = np.arange(len(groups), dtype=np.int32)

    def __len__(self):
        return len(self.groups)


def test_of_images_of_one_puzzle_one_counts_and_labels_judge_without_rules(found):
    kind, asked = found
    puzzles = Puzzles([[3, 2], [2, 3], [2, 3], [0, 3], [3, 0]], [0, 0, 1, 2, 3])
    evidence = gather(None, None, puzzles, kind, Effort((1,)), "q", 8)
    assert asked == [(puzzles.inputs[[0, 2, 3, 4]].tolist(), [0, 2, 3, 4])]
    assert evidence.right.tolist() == [False, True, True, False]
    assert evidence.names == ("q", "rest", "margin")


def test_puzzles_that_nobody_can_judge_are_left_out_or_refused(found):
    kind, asked = found
    gather(None, None, Puzzles([[0, 0], [2, 3]], [0, 1]), kind, Effort((1,)), "q", 8)
    assert asked[0][1] == [1]
    with pytest.raises(DataError, match="none of 2 puzzles has an answer, and no rules are known"):
        gather(None, None, Puzzles([[0, 0], [0, 0]], [0, 1]), kind, Effort((1,)), "q", 8)
