"""What training runs on its devices: several steps in one compiled program, each on a batch that it makes itself."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment
from trm_jax.config.curriculum import deepest
from trm_jax.config.mixers import mixer
from trm_jax.console import say
from trm_jax.data.order import Position
from trm_jax.devices.sharding import BY_ROWS, EVERYWHERE, Layout
from trm_jax.model.attention import choose as attention_for
from trm_jax.model.losses import Metrics
from trm_jax.model.model import Weights
from trm_jax.recursion.chain import check_available
from trm_jax.training.feed import Source, next_batch
from trm_jax.training.parts import parts_for
from trm_jax.training.planner import settle
from trm_jax.training.step import TrainState, init_state, state_specs, train_step


def settled(experiment: Experiment, layout: Layout) -> Experiment:
    """The experiment as it is run here: with the memory policy and the attention that "auto" comes to.

    Of a curriculum, memory is planned for the deepest stage.

    Raises:
      ConfigError: something that these devices cannot do.
    """
    # Only that much of the batch is on one device.
    rows, memory = experiment.train.batch_size // layout.count, experiment.memory
    if memory.micro_batches == 0:
        parts = parts_for(experiment, rows // memory.slices) if jax.default_backend() == "cpu" else 1
        memory = replace(memory, micro_batches=parts)
        if parts > 1:
            say(f"{rows} rows on each device, {rows // parts} at once, which a CPU's cache holds")
    share = replace(deepest(experiment), memory=memory)
    share = replace(share, train=replace(share.train, batch_size=rows))
    check_available(experiment.memory.cycle_policy, "config.memory.outer_policy")
    memory, model = settle(share).memory, experiment.model
    check_available(memory.step_policy, "config.memory.policy")
    attention: Literal["xla", "cudnn"] = "xla"
    if mixer(model.mixer).attends and model.positions != "relations":  # the fused kernel takes no bias
        attention, reason = attention_for(
            experiment.devices.attention,
            model.heads,
            model.width,
            model.positions_total,
            model.dtype,
            jax.default_backend(),
        )
        say(reason)
    return replace(experiment, memory=memory, devices=replace(experiment.devices, attention=attention))


class Signs(NamedTuple):
    """What the host looks at after each call, the same on all devices.

    asked: how many devices' processes were asked to stop, int32 []; None: there is but one process, which knows.
    skipped_in_a_row: as in the state, which the next call takes away.
    loss_not_finite: whether the last step was skipped for its loss.
    """

    asked: jax.Array | None
    skipped_in_a_row: jax.Array
    loss_not_finite: jax.Array

    @property
    def metric(self) -> str:
        """What was not finite, if the last step was skipped."""
        return "loss" if jax.device_get(self.loss_not_finite) else "gradient_norm"


# Compiled once for an experiment, however often a process trains it.
@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def advance(
    experiment: Experiment,
    layout: Layout,
    count: int,
    state: TrainState,
    totals: Metrics,
    position: Position,
    source: Source,
    asked: jax.Array | None,
) -> tuple[TrainState, Metrics, Position, Signs]:
    """`count` steps on fresh batches, with their metrics added to those since the last row.

    asked: whether each device's process was asked to stop; None: there is but one process.
    """

    def steps(state: TrainState, totals: Metrics, position: Position, source: Source, asked: Any) -> Any:
        def step(i: jax.Array | int, reached: Any) -> Any:
            state, totals, position, _ = reached
            batch, position = next_batch(experiment, layout, source, position, state.key, state.step + 1, i)
            state, metrics = train_step(experiment, state, batch, layout)
            totals = {name: totals[name] + metrics[name].astype(jnp.float32) for name in totals}
            return state, totals, position, metrics["loss_not_finite"]

        reached = state, totals, position, jnp.zeros((), jnp.float32)
        reached = step(0, reached) if count == 1 else jax.lax.fori_loop(0, count, step, reached)
        state, totals, position, for_loss = reached
        told = None if asked is None else layout.total(asked.sum())
        return state, totals, position, Signs(told, state.skipped_in_a_row, for_loss)

    reached = state_specs(experiment, layout), EVERYWHERE, EVERYWHERE
    together = layout.by_each(steps, (*reached, source.specs(), BY_ROWS), (*reached, EVERYWHERE))
    return together(state, totals, position, source, asked)


def compile_ahead(*call: Any) -> None:
    """Compiles what `advance` runs on the same arguments, and leaves them as they are."""
    advance.lower(*call).compile()


def asked_to_stop(layout: Layout, stop: bool) -> jax.Array | None:
    """What `advance` is told of this process's signals."""
    if jax.process_count() == 1:
        return None
    flags: jax.Array = layout.spread(np.full(layout.count, stop, np.int32))
    return flags


def fresh_state(experiment: Experiment, layout: Layout, given: Weights | None = None) -> TrainState:
    """The state before the first step, made where it is to lie.

    given: weights that are not drawn, NumPy arrays, the same in every process (`Weights.with_given`).
    """
    return _initialiser(experiment, layout)(*(() if given is None else (given,)))


@lru_cache(maxsize=8)
def _initialiser(experiment: Experiment, layout: Layout) -> Callable[..., TrainState]:
    return jax.jit(partial(init_state, experiment), out_shardings=layout.shardings(state_specs(experiment, layout)))


@lru_cache(maxsize=8)  # the whole step is traced for them
def _metric_names(experiment: Experiment) -> list[str]:
    state: Any = jax.eval_shape(partial(init_state, experiment))
    _, metrics = jax.eval_shape(partial(train_step, experiment), state, state.carry.data)
    return list(metrics)


def no_metrics(experiment: Experiment, layout: Layout) -> Metrics:
    """Sums of no steps yet."""
    nothing: Metrics = layout.everywhere({name: np.zeros((), np.float32) for name in _metric_names(experiment)})
    return nothing


def like(experiment: Experiment, layout: Layout) -> tuple[TrainState, Metrics]:
    """State and sums without arrays: shapes, dtypes, and where each array lies."""

    def placed(shapes: Any, specs: Any) -> Any:
        shardings = layout.shardings(specs)
        return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), shapes, shardings)

    state: Any = jax.eval_shape(partial(init_state, experiment))
    totals = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in _metric_names(experiment)}
    return placed(state, state_specs(experiment, layout)), placed(totals, dict.fromkeys(totals, EVERYWHERE))
