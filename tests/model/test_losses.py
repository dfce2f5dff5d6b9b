"""Losses against float64 formulas, at the edges too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.model.losses import IGNORE, NEVER, binary_cross_entropy, correctness, log_stablemax, smoothed, token_loss


def reference_log_stablemax(v):
    v = np.asarray(v, np.float64)
    s = np.where(v >= 0, v + 1, 1 / (1 - np.where(v >= 0, 0, v)))
    return np.log(s / s.sum(-1, keepdims=True))


def test_log_stablemax_is_its_formula_from_tiny_to_huge():
    v = np.random.default_rng(0).normal(size=(50, 7)) * 10.0 ** np.arange(-6, 8).repeat(4)[:50, None]
    np.testing.assert_allclose(
        log_stablemax(jnp.asarray(v, jnp.float32)), reference_log_stablemax(v), rtol=2e-5, atol=2e-6
    )


def test_the_gradient_of_log_stablemax_is_right_at_zero_and_both_sides():
    v = jnp.asarray([0.0, 0.0, -2.0, 3.0, -1e-8])
    found = jax.jacobian(log_stablemax)(v)
    h = 1e-6
    eye = np.eye(5) * h
    expected = (
        reference_log_stablemax(np.asarray(v, np.float64) + eye)
        - reference_log_stablemax(np.asarray(v, np.float64) - eye)
    ) / (2 * h)
    np.testing.assert_allclose(found, expected.T, atol=2e-5)


@pytest.mark.parametrize("form", ["stablemax", "softmax"])
def test_token_loss_is_the_mean_over_labelled_cells_and_nothing_else(form):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(3, 4, 5)).astype(np.float32)
    labels = np.asarray([[1, 2, IGNORE, 4], [IGNORE] * 4, [0, 0, 0, 0]])
    loss, counts = token_loss(jnp.asarray(logits), jnp.asarray(labels), form)
    exp = np.exp(logits.astype(np.float64))
    logs = reference_log_stablemax(logits) if form == "stablemax" else np.log(exp / exp.sum(-1, keepdims=True))
    expected = [
        -np.mean([logs[0, 0, 1], logs[0, 1, 2], logs[0, 3, 4]]),
        0.0,
        -logs[2, :, 0].mean(),
    ]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_array_equal(counts, [3, 1, 4])


@pytest.mark.parametrize("form", ["stablemax", "softmax"])
def test_smoothing_is_a_loss_against_labels_of_which_a_share_is_spread_over_what_is_possible(form):
    logits = np.random.default_rng(2).normal(size=(1, 3, 5)).astype(np.float32)
    logits[..., 0] = NEVER  # padding, say: no label can be, and none is spread over it
    labels = np.asarray([[4, IGNORE, 1]])
    targets = np.full((3, 5), 0.2 / 4)
    targets[:, 0] = 0
    targets[0, 4] += 0.8
    targets[2, 1] += 0.8
    possible = logits[0, :, 1:].astype(np.float64)
    exp = np.exp(possible)
    logs = reference_log_stablemax(possible) if form == "stablemax" else np.log(exp / exp.sum(-1, keepdims=True))
    expected = -(targets[:, 1:] * logs).sum(-1)[[0, 2]].mean()
    found, _ = token_loss(jnp.asarray(logits), jnp.asarray(labels), form, 0.2)
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_targets_are_smoothed_over_all_of_them():
    targets = np.float32([[0, 1, 0, 0], [1, 0, 0, 0]])
    np.testing.assert_allclose(smoothed(targets, 0.2), [[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]], rtol=1e-6)
    assert smoothed(targets, 0.0) is targets


def test_binary_cross_entropy_is_its_formula_and_never_overflows():
    v = jnp.asarray([-200.0, -3.0, 0.0, 3.0, 200.0])
    for target in (0.0, 0.25, 1.0):
        p = 1 / (1 + np.exp(-np.asarray(v[1:4], np.float64)))
        found = binary_cross_entropy(v, jnp.full(5, target))
        np.testing.assert_allclose(found[1:4], -target * np.log(p) - (1 - target) * np.log(1 - p), rtol=1e-5)
        np.testing.assert_allclose(found[jnp.asarray([0, 4])], [200 * target, 200 * (1 - target)], rtol=1e-6)


def test_a_row_without_labels_counts_as_right_and_ignored_cells_never_count():
    logits = jax.nn.one_hot(jnp.asarray([[1, 2], [1, 2], [1, 2]]), 4)
    right, exact = correctness(logits, jnp.asarray([[1, 2], [1, IGNORE], [3, IGNORE]]))
    np.testing.assert_array_equal(right, [2, 1, 0])
    np.testing.assert_array_equal(exact, [True, True, False])
    assert correctness(logits[:1], jnp.full((1, 2), IGNORE))[1].all()
