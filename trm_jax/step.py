"""One optimiser step: a state of arrays and a batch in, the next state and metrics out. Pure; jitted by its caller."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from trm_jax.config import Experiment, LossConfig
from trm_jax.losses import IGNORE, Metrics, binary_cross_entropy, correctness, token_loss
from trm_jax.model import Model, Params, Readout, Weights
from trm_jax.optim import adam_atan2, sign_sgd_rows, warmup_cosine
from trm_jax.supervision import Batch, Carry, advance, continue_target, empty_carry, refill


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "weights", "ema", "opt_state", "carry", "key"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """Everything that training changes, and nothing else.

    step: optimiser steps taken, int32 [].
    weights: as trained.
    ema: moving average of weights.params; the puzzle table has none.
    opt_state: of AdamATan2.
    carry: the half-solved batch.
    key: raw key data of the random stream; constant, each step folds its number in.
    """

    step: jax.Array
    weights: Weights
    ema: Params
    opt_state: optax.OptState
    carry: Carry
    key: jax.Array


def init_state(experiment: Experiment) -> TrainState:
    """A fresh state from the experiment's seed: random weights, their copy as average, an empty carry."""
    model, config = Model(experiment.model), experiment.train
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    weights = model.init(init_key)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        ema=jax.tree.map(jnp.copy, weights.params),
        opt_state=make_optimiser(experiment).init(weights.params),
        carry=empty_carry(model, weights.starts, config.batch_size),
        key=jax.random.key_data(step_key),
    )


def make_optimiser(experiment: Experiment) -> optax.GradientTransformation:
    """AdamATan2 on a warm-up and cosine schedule over the experiment's steps."""
    config = experiment.optim
    rate = warmup_cosine(config.learning_rate, config.warmup_steps, experiment.train.steps, config.min_ratio)
    return adam_atan2(rate, config.beta1, config.beta2, config.weight_decay, config.atan2_form)


def supervised_loss(
    model: Model,
    loss: LossConfig,
    params: Params,
    rows_BR: jax.Array | None,
    carry: Carry,
    key: jax.Array | None,
) -> tuple[jax.Array, tuple[Carry, Metrics, Readout]]:
    """One supervision step from a refilled carry, and what it costs.

    Args:
      model, loss: what is computed.
      params, rows_BR: the arguments to differentiate with respect to (rows: None where there is no puzzle table).
      carry: refilled.
      key: as for supervision.halted; None: evaluation.

    Returns:
      The total loss, summed over rows; the next carry, metrics (see `_metrics`), and the readout.
    """
    inputs, labels = carry.data.inputs, carry.data.labels
    state, readout = model.think(params, rows_BR, carry.state, inputs)
    new_carry = advance(model, carry, state, readout, key)

    loss_B, labelled_B = token_loss(readout.logits, labels, loss.tokens)
    right_B, exact_B = correctness(readout.logits, labels)
    parts = {
        "lm_loss": loss_B.sum(),
        "q_halt_loss": binary_cross_entropy(readout.q_halt, exact_B.astype(jnp.float32)).sum(),
    }
    total = parts["lm_loss"] + 0.5 * parts["q_halt_loss"]
    # With a single supervision step there is nothing to continue to.
    if loss.continue_head and key is not None and model.config.supervision_steps > 1:
        frozen = jax.lax.stop_gradient((params, rows_BR))
        _, following = model.think(*frozen, state, inputs)
        target_B = continue_target(model.config, new_carry.steps, following)
        parts["q_continue_loss"] = binary_cross_entropy(readout.q_continue, target_B).sum()
        total += 0.5 * parts["q_continue_loss"]
    metrics = parts | _metrics(new_carry, readout, right_B / labelled_B, exact_B)
    return total, (new_carry, metrics, readout)


def _metrics(carry: Carry, readout: Readout, cells_B: jax.Array, exact_B: jax.Array) -> Metrics:
    """Sums over the rows that have halted and have a labelled cell; divide by `count` for means."""
    counted_B = carry.halted & (carry.data.labels != IGNORE).any(axis=-1)
    return {
        "count": counted_B.sum(),
        "accuracy": jnp.where(counted_B, cells_B, 0.0).sum(),
        "exact_accuracy": (counted_B & exact_B).sum(),
        "q_halt_accuracy": (counted_B & ((readout.q_halt >= 0) == exact_B)).sum(),
        "steps": jnp.where(counted_B, carry.steps, 0).sum(),
    }


def train_step(experiment: Experiment, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """One supervision step on the carry, and one update of everything that learns.

    Args:
      experiment: with all sizes filled in; hashable, so that it may be static to `jax.jit`. Donate the state.
      state: as after the step before.
      batch: fresh puzzles, of which only halted rows take theirs.

    Returns:
      The next state, and metrics: those of `supervised_loss`, `loss` (the total), the two learning rates, and the
      global norms of gradients, weights and updates.
    """
    model, optimiser = Model(experiment.model), make_optimiser(experiment)
    config, batch_size = experiment.optim, batch.inputs.shape[0]
    weights = state.weights
    step = state.step + 1
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), step)
    carry = refill(model, weights.starts, state.carry, batch)
    rows_BR = model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)

    def mean_loss(params: Params, rows_BR: jax.Array | None) -> tuple[jax.Array, Any]:
        total, rest = supervised_loss(model, experiment.loss, params, rows_BR, carry, key)
        return total / batch_size, (total, rest)

    grads, (total, (new_carry, metrics, _)) = jax.grad(mean_loss, argnums=(0, 1), has_aux=True)(weights.params, rows_BR)
    param_grads, row_grads_BR = grads
    updates, opt_state = optimiser.update(param_grads, state.opt_state, weights.params)
    params = optax.apply_updates(weights.params, updates)
    schedule = (config.warmup_steps, experiment.train.steps, config.min_ratio)
    metrics |= {
        "loss": total,
        "learning_rate": warmup_cosine(config.learning_rate, *schedule)(step),
        "gradient_norm": optax.tree.norm(param_grads),
        "weight_norm": optax.tree.norm(params),
        "update_norm": optax.tree.norm(updates),
    }
    table = weights.puzzle_table
    if table is not None:
        rate = warmup_cosine(config.puzzle_learning_rate, *schedule)(step)
        table = sign_sgd_rows(table, carry.data.puzzle_ids, row_grads_BR, rate, config.puzzle_weight_decay)
        metrics["puzzle_learning_rate"] = rate
    new_state = replace(
        state,
        step=step,
        weights=replace(weights, params=params, puzzle_table=table),
        ema=optax.incremental_update(params, state.ema, 1 - config.ema_decay),
        opt_state=opt_state,
        carry=new_carry,
    )
    return new_state, metrics


def averaged_weights(state: TrainState) -> Weights:
    """The weights that evaluation uses: the average of what AdamATan2 trains, and the puzzle table as it is."""
    return replace(state.weights, params=state.ema)
