"""One optimiser step: a state of arrays and a batch in, the next state and metrics out. Pure; jitted by its caller."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from trm_jax.config import Experiment, LossConfig
from trm_jax.devices.sharding import ALONE, BY_ROWS, EVERYWHERE, Layout
from trm_jax.model.losses import IGNORE, Metrics, binary_cross_entropy, correctness, token_loss
from trm_jax.model.model import Model, Params, Readout, Weights, part_of
from trm_jax.recursion.candidates import Deduction
from trm_jax.recursion.chain import chain
from trm_jax.recursion.policies import KEEP_ALL
from trm_jax.recursion.recursion import State
from trm_jax.training import deduction
from trm_jax.training.competition import think_best
from trm_jax.training.optim import (
    Schedule,
    adam_atan2,
    adamw,
    averaged,
    muon,
    rounded,
    sign_sgd_rows,
    warmup_cosine,
)
from trm_jax.training.supervision import Batch, Carry, continue_target, empty_carry, next_carry, refill


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "weights", "ema", "opt_state", "carry", "key", "skipped_in_a_row"],
    meta_fields=[],
)
@dataclass(frozen=True)
class TrainState:
    """Everything that training changes, and nothing else.

    step: optimiser steps taken, those that were skipped included, int32 [].
    weights: as trained.
    ema: moving average of weights.params; the puzzle table has none.
    opt_state: of the optimiser.
    carry: the half-solved batch.
    key: raw key data of the random stream; constant, each step folds its number in.
    skipped_in_a_row: how many steps up to this one changed nothing, for their numbers were not finite, int32 [].
    """

    step: jax.Array
    weights: Weights
    ema: Params
    opt_state: optax.OptState
    carry: Carry
    key: jax.Array
    skipped_in_a_row: jax.Array


def init_state(experiment: Experiment, given: Weights | None = None) -> TrainState:
    """A fresh state from the experiment's seed: random weights, their copy as average, an empty carry.

    given: what is not drawn (`Weights.with_given`).
    """
    model, config = Model(experiment.model), experiment.train
    init_key, step_key = jax.random.split(jax.random.key(config.seed))
    weights = model.init(init_key)
    if given is not None:
        weights = weights.with_given(given)
    weights = replace(weights, params=rounded(weights.params, experiment.optim.weight_dtype))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        weights=weights,
        ema=jax.tree.map(jnp.copy, weights.params),
        opt_state=make_optimiser(experiment).init(weights.params),
        carry=empty_carry(model, weights.starts, config.batch_size),
        key=jax.random.key_data(step_key),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )


def model_of(experiment: Experiment) -> Model:
    """The model as an experiment runs it; its attention is fused only where config.devices.attention names that."""
    attention = experiment.devices.attention
    return Model(experiment.model, experiment.memory, "xla" if attention == "auto" else attention)


def state_specs(experiment: Experiment, layout: Layout) -> TrainState:
    """How a training state lies on the devices of a layout: a PartitionSpec in place of each array."""
    state: Any = jax.eval_shape(partial(init_state, experiment))
    weights = layout.weight_specs(state.weights.params)
    table: Any = None if state.weights.puzzle_table is None else layout.table_spec
    once: Any = EVERYWHERE
    tree: Any = jax.tree.structure(state.weights.params)

    def alike(part: Any) -> bool:
        return bool(tree == jax.tree.structure(part))

    return TrainState(
        step=once,
        weights=Weights(weights, jax.tree.map(lambda _: EVERYWHERE, state.weights.starts), table),
        ema=weights,
        # What an optimiser keeps for each weight lies as the weight does; all else is small.
        opt_state=jax.tree.map(lambda a: weights if alike(a) else once, state.opt_state, is_leaf=alike),
        carry=jax.tree.map(lambda _: BY_ROWS, state.carry),
        key=once,
        skipped_in_a_row=once,
    )


def make_optimiser(experiment: Experiment) -> optax.GradientTransformation:
    """The experiment's optimiser, on a warm-up and cosine schedule over its steps."""
    config = experiment.optim
    rate = schedule(experiment, config.learning_rate)
    betas = config.beta1, config.beta2
    if config.optimiser == "adam_atan2":
        return adam_atan2(rate, *betas, config.weight_decay, config.atan2_form)
    if config.optimiser == "adamw":
        return adamw(rate, *betas, config.weight_decay)
    return muon(rate, *betas, config.weight_decay, config.muon_ratio)


def schedule(experiment: Experiment, base: float) -> Schedule:
    """A learning rate over the experiment's steps: `base`, after its warm-up and before its decay."""
    config = experiment.optim
    return warmup_cosine(base, config.warmup_steps, experiment.train.steps, config.min_ratio)


@partial(jax.tree_util.register_dataclass, data_fields=["state", "readout", "parts"], meta_fields=[])
@dataclass(frozen=True)
class Supervised:
    """What the supervision steps of one optimiser step lead to.

    state: y and z, rows first; or sets of candidates as they were.
    readout: of the last of them; or what was said of the sets.
    parts: the losses by name, each summed over rows and averaged over these supervision steps.
    """

    state: State
    readout: Readout | Deduction
    parts: Metrics


def supervise(
    model: Model, loss: LossConfig, params: Params, rows_BR: jax.Array | None, carry: Carry, *, training: bool
) -> tuple[jax.Array, Supervised]:
    """The supervision steps of one optimiser step (one, unless gradients flow through several), and what they cost.

    Nothing here is random, and every row is by itself, so that a batch may be taken apart. Of sets of candidates,
    deduction.supervise does the same.

    Args:
      model, loss: what is computed.
      params, rows_BR: the arguments to differentiate with respect to (rows: None where there is no puzzle table).
      carry: refilled.
      training: also costs the continue head, where it is trained; and lets latents compete, where they do.

    Returns:
      The total loss, summed over rows, and the outcome.
    """
    inputs, labels = carry.data.inputs, carry.data.labels
    count = model.config.backprop_steps
    # With a single supervision step there is nothing to continue to.
    continues = loss.continue_head and training and model.config.supervision_steps > 1

    def tokens_loss(logits_BSV: jax.Array) -> jax.Array:
        return token_loss(logits_BSV, labels, loss.tokens, loss.smoothing)[0]

    def step(learned: Any, reached: Supervised, i: jax.Array) -> Supervised:
        params, rows_BR = learned
        if model.config.winner_take_all and training:
            state, readout = think_best(model, params, rows_BR, reached.state, inputs, tokens_loss)
        else:
            state, readout = model.think(params, rows_BR, reached.state, inputs)
        _, exact_B = correctness(readout.logits, labels)
        parts = {
            "lm_loss": tokens_loss(readout.logits).sum(),
            "q_halt_loss": binary_cross_entropy(readout.q_halt, exact_B.astype(jnp.float32)).sum(),
        }
        if continues:
            _, following = model.think(*jax.lax.stop_gradient((params, rows_BR, state)), inputs)
            target_B = continue_target(model.config, carry.steps + i + 1, following)
            parts["q_continue_loss"] = binary_cross_entropy(readout.q_continue, target_B).sum()
        return Supervised(state, readout, {name: reached.parts[name] + part / count for name, part in parts.items()})

    nothing = jnp.zeros((), jnp.float32)
    start = Supervised(
        carry.state,
        jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(model.read, params, carry.state)),
        dict.fromkeys(("lm_loss", "q_halt_loss", *(["q_continue_loss"] if continues else [])), nothing),
    )
    reached = chain(step, (params, rows_BR), start, count, model.memory.cycle_policy if count > 1 else KEEP_ALL)
    parts = reached.parts
    total = parts["lm_loss"] + loss.halting * parts["q_halt_loss"]
    if continues:
        total += loss.halting * parts["q_continue_loss"]
    return total, reached


def supervised_loss(
    model: Model,
    loss: LossConfig,
    params: Params,
    rows_BR: jax.Array | None,
    carry: Carry,
    key: jax.Array | None,
) -> tuple[jax.Array, tuple[Carry, Metrics, Readout]]:
    """`supervise`, and what it makes of the carry.

    Args:
      model, loss, params, rows_BR, carry: as for `supervise`.
      key: as for supervision.halted; None: evaluation.

    Returns:
      The total loss, summed over rows; the next carry, metrics (see `_metrics`), and the readout.
    """
    total, reached = supervise(model, loss, params, rows_BR, carry, training=key is not None)
    new_carry, metrics = _conclude(model, carry, reached, key, ALONE)
    assert isinstance(reached.readout, Readout)
    return total, (new_carry, metrics, reached.readout)


def _conclude(
    model: Model, carry: Carry, reached: Supervised, key: jax.Array | None, layout: Layout
) -> tuple[Carry, Metrics]:
    assert isinstance(reached.readout, Readout)
    new_carry = next_carry(model, carry, jax.lax.stop_gradient(reached.state), reached.readout, key, layout)
    return new_carry, reached.parts | _metrics(new_carry, reached.readout)


def _metrics(carry: Carry, readout: Readout) -> Metrics:
    """Sums over the rows that have halted and have a labelled cell; divide by `count` for means."""
    labelled_B = (carry.data.labels != IGNORE).sum(axis=-1)
    right_B, exact_B = correctness(readout.logits, carry.data.labels)
    cells_B = right_B / jnp.maximum(labelled_B, 1)
    counted_B = carry.halted & (labelled_B > 0)
    return {
        "count": counted_B.sum(),
        "accuracy": jnp.where(counted_B, cells_B, 0.0).sum(),
        "exact_accuracy": (counted_B & exact_B).sum(),
        "q_halt_accuracy": (counted_B & ((readout.q_halt >= 0) == exact_B)).sum(),
        "steps": jnp.where(counted_B, carry.steps, 0).sum(),
    }


def train_step(
    experiment: Experiment, state: TrainState, batch: Batch, layout: Layout = ALONE
) -> tuple[TrainState, Metrics]:
    """One supervision step on the carry, and one update of everything that learns.

    A step whose loss or gradients are not finite is skipped: weights, average, moments and puzzle table stay as they
    are, its metrics count nothing, and every row of the batch begins with a fresh puzzle, since those that are half
    solved would lead to the same numbers again.

    Args:
      experiment: with all sizes filled in; hashable, so that it may be static to `jax.jit`. Donate the state.
      state: as after the step before; of several devices, what this one has of it (`state_specs`).
      batch: fresh puzzles, of which only halted rows take theirs; of several devices, this one's rows.
      layout: who makes this step together; several: call this inside `jax.shard_map` over its mesh.

    Returns:
      The next state, and metrics over the whole batch: those of `supervised_loss`, `loss` (the total), the two learning
      rates, and the global norms of gradients, weights and updates; `skipped`, 1 if the step was; `loss_not_finite`, 1
      if that is why, and not the gradients.
    """
    model, optimiser = model_of(experiment), make_optimiser(experiment)
    config = experiment.optim
    weights = state.weights
    step = state.step + 1
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), step)
    carry = refill(model, weights.starts, state.carry, batch, key, layout)
    table, ids_B = weights.puzzle_table, carry.data.puzzle_ids
    rows_BR = None if table is None else layout.table_rows(table, ids_B)

    whole = layout.whole(weights.params)
    (param_grads, row_grads_BR), total, reached = _gradients(model, experiment, whole, rows_BR, carry, layout.count)
    param_grads = layout.reduced(param_grads)
    param_grads = _held(experiment, param_grads, jax.tree.map(jnp.zeros_like, param_grads))
    if isinstance(reached.readout, Deduction):
        new_carry, metrics = deduction.next_carry(experiment, model, carry, reached.readout, key, layout)
        metrics |= reached.parts
    else:
        new_carry, metrics = _conclude(model, carry, reached, key, layout)
    wrong_rows = jnp.zeros((), jnp.int32) if row_grads_BR is None else (~jnp.isfinite(row_grads_BR)).sum()
    metrics = layout.total(metrics | {"loss": total, "wrong_rows": wrong_rows})
    gradient_norm = layout.norm(param_grads)
    finite_loss = jnp.isfinite(metrics["loss"])
    sound = is_sound(finite_loss, gradient_norm, metrics.pop("wrong_rows"))

    def if_sound(new: Any, old: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, old)

    if config.clip:
        shrink = jnp.minimum(1.0, config.clip / jnp.maximum(gradient_norm, 1e-12))
        param_grads = jax.tree.map(lambda grad: shrink * grad, param_grads)
    updates, opt_state = optimiser.update(param_grads, state.opt_state, weights.params)
    updates = _held(experiment, updates, jax.tree.map(jnp.zeros_like, updates))
    params = rounded(optax.apply_updates(weights.params, updates), config.weight_dtype)
    params = _held(experiment, if_sound(params, weights.params), weights.params)
    metrics |= {
        "learning_rate": schedule(experiment, config.learning_rate)(step),
        "gradient_norm": gradient_norm,
        "weight_norm": layout.norm(params),
        "update_norm": layout.norm(updates),
    }
    if table is not None:
        assert row_grads_BR is not None
        rate = schedule(experiment, config.puzzle_learning_rate)(step)
        if "table" not in experiment.train.frozen:
            table = sign_sgd_rows(
                table,
                jnp.where(sound, layout.collected(ids_B), -1),  # no row has this id
                layout.collected(row_grads_BR),
                rate,
                config.puzzle_weight_decay,
                layout.first_row(table),
            )
        metrics["puzzle_learning_rate"] = rate
    metrics = {name: jnp.where(sound, value, jnp.zeros_like(value)) for name, value in metrics.items()}
    ema = if_sound(averaged(state.ema, params, step, config.ema_decay, config.ema_start), state.ema)
    new_state = replace(
        state,
        step=step,
        weights=replace(weights, params=params, puzzle_table=table),
        ema=_held(experiment, ema, state.ema),
        opt_state=if_sound(opt_state, state.opt_state),
        carry=replace(
            new_carry,
            state=jax.tree.map(lambda a: jnp.where(sound, a, jnp.zeros_like(a)), new_carry.state),
            halted=new_carry.halted | ~sound,
        ),
        skipped_in_a_row=jnp.where(sound, 0, state.skipped_in_a_row + 1),
    )
    skipped = {"skipped": ~sound, "loss_not_finite": ~finite_loss}
    return new_state, metrics | {name: flag.astype(jnp.float32) for name, flag in skipped.items()}


def _held(experiment: Experiment, new: Params, old: Params) -> Params:
    """The new tensors, but those of parts that are frozen (config.train.freeze) as they were."""
    frozen = experiment.train.frozen
    return {name: old[name] if part_of(name) in frozen else module for name, module in new.items()} if frozen else new


def is_sound(finite_loss: jax.Array, gradient_norm: jax.Array, wrong_rows: jax.Array) -> jax.Array:
    """Whether an update may be applied: the norm of the gradients is not finite if one of them is not."""
    return finite_loss & jnp.isfinite(gradient_norm) & (wrong_rows == 0)


def _gradients(
    model: Model, experiment: Experiment, params: Params, rows_BR: jax.Array | None, carry: Carry, devices: int = 1
) -> tuple[tuple[Params, jax.Array | None], jax.Array, Supervised]:
    """What these rows add to the gradients of the whole batch's mean loss, with respect to weights and puzzle rows.

    Besides, their loss, summed, and the outcome. In micro-batches, one after the other, only one of them is in memory
    at a time.
    """
    count, batch_size = experiment.memory.parts, carry.halted.shape[0]

    def mean_loss(params: Params, rows_BR: jax.Array | None, carry: Carry) -> tuple[jax.Array, Any]:
        if model.config.states == "candidates":
            config, smoothing = experiment.candidates, experiment.loss.smoothing
            total, said, parts = deduction.supervise(model, config, smoothing, params, carry)
            reached = Supervised(carry.state, said, parts)
        else:
            total, reached = supervise(model, experiment.loss, params, rows_BR, carry, training=True)
        return total / (devices * batch_size), (total, reached)

    gradients = jax.grad(mean_loss, argnums=(0, 1), has_aux=True)
    if count == 1:
        grads, (total, reached) = gradients(params, rows_BR, carry)
        return grads, total, reached

    def add(sums: Any, part: Any) -> Any:
        (param_grads, row_grads), (total, reached) = gradients(params, *part)
        sums = jax.tree.map(jnp.add, sums, (param_grads, total, reached.parts))
        return sums, (row_grads, reached.state, reached.readout)

    parts = jax.tree.map(lambda a: a.reshape(count, batch_size // count, *a.shape[1:]), (rows_BR, carry))
    one = jax.eval_shape(gradients, params, *jax.tree.map(lambda a: a[0], parts))
    zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), (one[0][0], one[1][0], one[1][1].parts))
    (param_grads, total, losses), rows = jax.lax.scan(add, zeros, parts)
    row_grads, state, readout = jax.tree.map(lambda a: a.reshape(batch_size, *a.shape[2:]), rows)
    return (param_grads, row_grads), total, Supervised(state, readout, losses)


def averaged_weights(state: TrainState) -> Weights:
    """The weights that evaluation uses: the average of what AdamATan2 trains, and the puzzle table as it is."""
    return replace(state.weights, params=state.ema)
