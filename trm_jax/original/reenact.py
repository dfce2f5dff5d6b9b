"""What this implementation computes where the original left a recording: the same quantities under the same keys.

Each scene of a recording (an evaluation step, a training step, an optimiser step) becomes a dictionary with the keys
that the recording has for it. With a `nudge` (a seed; 0: none), every trained weight starts one unit in the last place
up or down, so that two performances tell how far rounding alone can carry a quantity.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.model.losses import Metrics
from trm_jax.model.model import Model, Params, Readout, Weights
from trm_jax.original import original
from trm_jax.training.optim import AdamATan2State
from trm_jax.training.step import TrainState, averaged_weights, init_state, make_optimiser, supervised_loss, train_step
from trm_jax.training.supervision import Batch, Carry, empty_carry, refill

Arrays = Mapping[str, NDArray[Any]]
# label of a scene -> key -> array
Scenes = dict[str, dict[str, Any]]


class Below(dict[str, NDArray[Any]]):
    """The part of a recording below a prefix; a key that it lacks is told by its whole name."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        super().__init__({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        self.prefix: str = (arrays.prefix if isinstance(arrays, Below) else "") + prefix

    def __missing__(self, name: str) -> NDArray[Any]:
        raise KeyError(self.prefix + name)


@dataclass(frozen=True)
class RunStep:
    """What a whole run is compared by, after one optimiser step; weights only at the recorded snapshots."""

    q_halt: NDArray[Any]
    loss: NDArray[Any]
    halted: NDArray[Any]
    steps: NDArray[Any]
    weights: dict[str, NDArray[Any]]


class Reenactment:
    """One recording, computed again. Compiled functions are shared by all its scenes, nudged or not."""

    def __init__(self, arrays: Arrays, config: Mapping[str, Any]) -> None:
        """Raises ConfigError where the recording's configuration is not one that we know."""
        self._arrays, self._config = arrays, config
        self.experiment: Experiment = original.experiment_of(config)
        self._model = Model(self.experiment.model)
        self._like: Weights = jax.eval_shape(self._model.init, jax.random.key(0))

    @property
    def evaluation_steps(self) -> int:
        """How many supervision steps a forward recording evaluates."""
        return len({match[1] for name in self._arrays if (match := re.match(r"eval/(\d+)/", name))})

    def forward(self, nudge: int = 0) -> Scenes:
        """Scenes "evaluation 1" ... one after another, and "training 1" and "training 2" with their gradients."""
        weights = original.import_weights(self._like, Below(self._arrays, "params/"))
        if nudge:
            weights = replace(weights, params=_nudged(weights.params, nudge))
        batch = _batch(self._arrays, "batch/")
        scenes: Scenes = {}
        carry = empty_carry(self._model, weights.starts, batch.inputs.shape[0])
        for s in range(self.evaluation_steps):
            carry, total, metrics, readout = self._evaluate(weights, carry, batch)
            scenes[f"evaluation {s + 1}"] = _outcome(carry, total, metrics) | readout._asdict()
        carry = empty_carry(self._model, weights.starts, batch.inputs.shape[0])
        for s in range(2):
            (grads, rows), carry, total, metrics = self._gradient(weights, carry, batch)
            named = {f"params/{name}": grad for name, grad in original.export_params(grads).items()}
            scenes[f"training {s + 1}"] = _outcome(carry, total, metrics) | named | {"puzzle_emb_rows": rows}
        return scenes

    def single_steps(self, nudge: int = 0) -> Scenes:
        """Scenes "step t", from each recorded state; and "step 1, own start", with our fresh optimiser and average."""
        scenes: Scenes = {}
        for t in self._config["snapshots"]:
            state = self._state(Below(self._arrays, f"before/{t}/"), t - 1)
            if nudge:
                state = replace(state, weights=replace(state.weights, params=_nudged(state.weights.params, nudge)))
            scenes[f"step {t}"] = self._scene(*self._step(state, self._batch(t)))
            if t == 1:
                params = state.weights.params
                fresh = replace(state, ema=params, opt_state=make_optimiser(self.experiment).init(params))
                scenes["step 1, own start"] = self._scene(*self._step(fresh, self._batch(t)))
        return scenes

    def update_alone(self, t: int) -> dict[str, NDArray[Any]]:
        """The weights after step t, from the recorded moments, with the gradient that these imply; no network runs.

        Keys are params/NAME, for those tensors of which the recording has all that it takes. Elementwise, so that the
        original's layout will do.
        """
        before, after = Below(self._arrays, f"before/{t}/"), Below(self._arrays, f"after/{t}/")
        names = [key.removeprefix("m/") for key in after if key.startswith("m/") and f"params/{key[2:]}" in after]
        moments = [{n: before.get(f"{what}/{n}", np.zeros_like(after[f"m/{n}"])) for n in names} for what in "mv"]
        beta1 = self.experiment.optim.beta1
        grads = {n: (after[f"m/{n}"].astype(np.float64) - beta1 * moments[0][n]) / (1 - beta1) for n in names}
        grads = {name: grad.astype(np.float32) for name, grad in grads.items()}
        weights = {name: before[f"params/{name}"] for name in names}
        optimiser = make_optimiser(self.experiment)
        updates: Any = optimiser.update(grads, AdamATan2State(jnp.int32(t - 1), *moments), weights)[0]
        return {f"params/{name}": np.asarray(weights[name] + updates[name]) for name in names}

    def whole_run(self, nudge: int = 0) -> Iterator[RunStep]:
        """All optimiser steps in a row, from the recorded initial weights."""
        state = self._state({f"params/{k}": v for k, v in Below(self._arrays, "params0/").items()}, 0)
        if nudge:
            params = _nudged(state.weights.params, nudge)
            state = replace(state, weights=replace(state.weights, params=params), ema=params)
        for t in range(1, self._config["steps"] + 1):
            state, metrics, readout = self._step(state, self._batch(t))
            weights = original.export_weights(state.weights) if t in self._config["snapshots"] else {}
            q, loss, halted, steps = readout.q_halt, metrics["loss"], state.carry.halted, state.carry.steps
            yield RunStep(np.asarray(q), np.asarray(loss), np.asarray(halted), np.asarray(steps), weights)

    @cached_property
    def _evaluate(self) -> Any:
        def evaluate(weights: Weights, carry: Carry, batch: Batch) -> tuple[Carry, jax.Array, Metrics, Readout]:
            carry = refill(self._model, weights.starts, carry, batch)
            rows = self._model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
            loss = self.experiment.loss
            total, (carry, metrics, readout) = supervised_loss(self._model, loss, weights.params, rows, carry, None)
            return carry, total, metrics, readout

        return jax.jit(evaluate)

    @cached_property
    def _gradient(self) -> Any:
        def gradient(weights: Weights, carry: Carry, batch: Batch) -> Any:
            carry = refill(self._model, weights.starts, carry, batch)
            rows = self._model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
            key = jax.random.key(0)  # for exploration, of which recordings have none
            loss = partial(supervised_loss, self._model, self.experiment.loss, carry=carry, key=key)
            graded = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
            (total, (carry, metrics, _)), grads = graded(weights.params, rows)
            return grads, carry, total, metrics

        return jax.jit(gradient)

    @cached_property
    def _step(self) -> Any:
        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, Readout]:
            """train_step, with the readout besides: the recordings hold q of every step."""
            weights = state.weights
            carry = refill(self._model, weights.starts, state.carry, batch)
            rows = self._model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
            _, readout = self._model.think(weights.params, rows, carry.state, carry.data.inputs)
            return *train_step(self.experiment, state, batch), readout

        return jax.jit(step)

    def _scene(self, state: TrainState, metrics: Metrics, readout: Readout) -> dict[str, Any]:
        opt_state = state.opt_state
        assert isinstance(opt_state, AdamATan2State)
        average = original.export_weights(averaged_weights(state))
        scene = _outcome(state.carry, metrics["loss"], metrics)
        for prefix, arrays in (
            ("params", original.export_weights(state.weights)),
            ("m", original.export_params(opt_state.mu)),
            ("v", original.export_params(opt_state.nu)),
            ("ema", {name: average[name] for name in original.export_params(state.ema)}),
            # The table that evaluation would use: it has no average.
            ("evaluation", {name: average[name] for name in average if name == original.TABLE}),
        ):
            scene |= {f"{prefix}/{name}": array for name, array in arrays.items()}
        data = state.carry.data
        scene |= {"carry/data/inputs": data.inputs, "carry/data/labels": data.labels}
        return scene | {
            "carry/data/puzzle_identifiers": data.puzzle_ids,
            "lr": metrics["learning_rate"],
            "q_halt": readout.q_halt,
        }

    def _batch(self, t: int) -> Batch:
        batches = Below(self._arrays, "batches/")
        return _batch({name: values[(t - 1) % self._config["num_batches"]] for name, values in batches.items()}, "")

    def _state(self, before: Arrays, steps_done: int) -> TrainState:
        """A recorded state; what it lacks (at the first step: moments, average, carry) as at the very start."""
        weights = original.import_weights(self._like, Below(before, "params/"))
        fresh = init_state(self.experiment)
        moments = []
        for what in ("m", "v"):
            recorded = Below(before, f"{what}/")
            zeros = jax.tree.map(np.zeros_like, weights.params)
            moments.append(original.import_params(weights.params, recorded) if recorded else zeros)
        recorded_ema, carry = Below(before, "ema/"), fresh.carry
        if recorded := Below(before, "carry/"):
            carry = Carry(
                original.import_state(carry.state, recorded, ""),
                jnp.asarray(recorded["steps"]),
                jnp.asarray(recorded["halted"]),
                _batch(recorded, "data/"),
            )
        return replace(
            fresh,
            step=jnp.int32(steps_done),
            weights=weights,
            ema=original.import_params(weights.params, recorded_ema) if recorded_ema else weights.params,
            opt_state=AdamATan2State(jnp.int32(steps_done), *moments),
            carry=carry,
        )


def _outcome(carry: Carry, total: jax.Array, metrics: Metrics) -> dict[str, Any]:
    """What every scene has: states, halting, the total loss and the metrics."""
    scene: dict[str, Any] = {f"carry/{name}": state for name, state in original.export_state(carry.state).items()}
    scene |= {f"metrics/{name}": value for name, value in metrics.items()}
    return scene | {"halted": carry.halted, "steps": carry.steps, "loss": total}


def _batch(arrays: Arrays, prefix: str) -> Batch:
    inputs, labels, ids = (arrays[prefix + name] for name in ("inputs", "labels", "puzzle_identifiers"))
    return Batch(jnp.asarray(inputs, jnp.int32), jnp.asarray(labels, jnp.int32), jnp.asarray(ids, jnp.int32))


def _nudged(params: Params, seed: int) -> Params:
    """Every weight one unit in the last place up or down, by the coin tosses of a seed."""
    rng = np.random.default_rng(seed)

    def nudge(w: Any) -> NDArray[np.float32]:
        return np.nextafter(w, np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(np.float32))

    nudged: Params = jax.tree.map(nudge, params)
    return nudged
