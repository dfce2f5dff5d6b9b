"""Losses and metrics of one supervision step, as sums over the batch (docs/paper_to_code.md, "Loss")."""

from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

# Cells with this label are not predicted: padding, and in evaluation whole rows that fill up a batch.
IGNORE = -100

# The logit of what can not be an answer, whatever the network says.
NEVER = -1e9

Metrics = dict[str, jax.Array]


def log_stablemax(logits: jax.Array) -> jax.Array:
    """log(s(v) / sum s) over the last axis, s(v) = v + 1 for v >= 0 and 1 / (1 - v) below (arXiv 2501.04697).

    Its gradient does not vanish as fast as the softmax's once a prediction is confident.
    """
    positive = logits >= 0
    # Both branches get arguments on which they are finite: a gradient passes through both.
    above, below = jnp.where(positive, logits, 0.0), jnp.where(positive, 0.0, logits)
    s = jnp.where(positive, 1.0 + above, 1.0 / (1.0 - below))
    log_s = jnp.where(positive, jnp.log1p(above), -jnp.log1p(-below))
    return log_s - jnp.log(s.sum(axis=-1, keepdims=True))


def smoothed(targets: jax.Array, smoothing: float) -> jax.Array:
    """Targets [..., V] that sum to 1, with so much of each spread evenly over all V."""
    return targets if smoothing == 0 else (1 - smoothing) * targets + smoothing / targets.shape[-1]


def token_loss(
    logits_BSV: jax.Array, labels_BS: jax.Array, form: Literal["stablemax", "softmax"], smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy, mean over each row's labelled cells, and how many cells those are.

    Args:
      logits_BSV: float32.
      labels_BS: tokens, or IGNORE.
      form: how logits become probabilities.
      smoothing: share of each label that is spread evenly over all tokens whose logit is not out of the question.

    Returns:
      loss [B], zero for a row without labels; the number of labelled cells [B], at least 1.
    """
    labelled = labels_BS != IGNORE
    log_probabilities = log_stablemax(logits_BSV) if form == "stablemax" else jax.nn.log_softmax(logits_BSV)
    targets = jnp.where(labelled, labels_BS, 0)[..., None]
    of_label_BS = jnp.take_along_axis(log_probabilities, targets, axis=-1)[..., 0]
    if smoothing:
        possible = logits_BSV > NEVER
        of_all_BS = jnp.where(possible, log_probabilities, 0.0).sum(axis=-1) / possible.sum(axis=-1)
        of_label_BS = (1 - smoothing) * of_label_BS + smoothing * of_all_BS
    count_B = jnp.maximum(labelled.sum(axis=-1), 1)
    return -jnp.where(labelled, of_label_BS, 0.0).sum(axis=-1) / count_B, count_B


def binary_cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """-t log sigmoid(v) - (1 - t) log sigmoid(-v), elementwise and without overflow."""
    return jnp.maximum(logits, 0.0) - logits * targets + jnp.log1p(jnp.exp(-jnp.abs(logits)))


def correctness(logits_BSV: jax.Array, labels_BS: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Per row: how many labelled cells are right, and whether all are (a row without labels counts as right)."""
    labelled = labels_BS != IGNORE
    right_B = (labelled & (jnp.argmax(logits_BSV, axis=-1) == labels_BS)).sum(axis=-1)
    return right_B, right_B == labelled.sum(axis=-1)


def means(sums: Mapping[str, Any], steps: Any, batch_size: int) -> dict[str, Any]:
    """Means of metrics that were summed over the rows of a batch and over some training steps.

    Args:
      sums: what training.step.train_step returns, added up; arrays of JAX or of NumPy. Of steps that were skipped
        nothing is in them but their number.
      steps: how many.
      batch_size: rows B of a step.

    Returns:
      Losses for each row; accuracies, and the `steps` it took, for each row that has finished its puzzle (nan where
      none has); norms and rates for each step; `finished`, rows that have finished for each step; `skipped` and
      `loss_not_finite`, numbers of steps.
    """
    counts = {name: sums[name] for name in ("skipped", "loss_not_finite")}
    made, finished = steps - sums["skipped"], sums["count"]
    found = {}
    for name in sums.keys() - {"count", *counts}:
        of_finished = name in ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps")
        found[name] = sums[name] / (finished if of_finished else made * batch_size if name.endswith("loss") else made)
    return found | counts | {"finished": finished / steps}
