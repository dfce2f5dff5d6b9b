"""What this implementation computes where the original left a recording: the same quantities under the same keys.

Each scene of a recording is an evaluation step, a training step or an optimiser step. With a `nudge` (a seed; 0: none),
every trained weight starts one unit in the last place up or down, so that two performances tell how far rounding alone
can carry a quantity.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

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


class Below(dict[str, NDArray[Any]]):
    """The part of a recording below a prefix; a key that it lacks is told by its whole name."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        super().__init__({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        self.prefix: str = (arrays.prefix if isinstance(arrays, Below) else "") + prefix

    def __missing__(self, name: str) -> NDArray[Any]:
        raise KeyError(self.prefix + name)


class Scene(NamedTuple):
    """A part of a recording, and ours beside it under the same keys.

    number: of the supervision step, from 0, or of the optimiser step, from 1.
    """

    label: str
    number: int
    recorded: Below
    ours: dict[str, Any]


class Reenactment:
    """One recording, computed again. Compiled functions are shared by all its scenes, nudged or not."""

    def __init__(self, arrays: Arrays, config: Mapping[str, Any]) -> None:
        """Raises ConfigError where the recording's configuration is not one that we know."""
        self._arrays, self._config = arrays, config
        self.experiment: Experiment = original.experiment_of(config)
        self._model = Model(self.experiment.model)
        self._like: Weights = jax.eval_shape(self._model.init, jax.random.key(0))
        self._evaluate = jax.jit(self._evaluated)
        self._differentiate = jax.jit(self._differentiated)
        self._step = jax.jit(self._stepped)

    def evaluation(self, nudge: int = 0) -> list[Scene]:
        """Supervision steps one after another, as many as are recorded."""
        steps = {match[1] for name in self._arrays if (match := re.match(r"eval/(\d+)/", name))}
        weights, batch, carry = self._beginning(nudge)
        scenes = []
        for s in range(len(steps)):
            total, (carry, metrics, readout) = self._evaluate(weights, carry, batch)
            ours = _outcome(carry, total, metrics) | readout._asdict()
            scenes.append(Scene(f"evaluation {s + 1}", s, Below(self._arrays, f"eval/{s}/"), ours))
        return scenes

    def training(self, nudge: int = 0) -> list[Scene]:
        """The first two supervision steps in training, with their gradients; weights stay as they are."""
        weights, batch, carry = self._beginning(nudge)
        scenes = []
        for s in range(2):
            (total, (carry, metrics, _)), (grads, rows) = self._differentiate(weights, carry, batch)
            ours = _outcome(carry, total, metrics) | _under("params", original.export_params(grads))
            scenes.append(Scene(f"training {s + 1}", s, Below(self._arrays, f"grad/{s}/"), ours))
            ours["puzzle_emb_rows"] = rows
        return scenes

    def single_steps(self, nudge: int = 0) -> list[Scene]:
        """Optimiser steps from each recorded state; at the first also from our fresh optimiser and average."""
        scenes = []
        for t in self._config["snapshots"]:
            state = self._state(Below(self._arrays, f"before/{t}/"), t - 1)
            state = replace(state, weights=_nudged(state.weights, nudge))
            scenes.append(self._scene(f"step {t}", t, *self._step(state, self._batch(t))))
            if t == 1:
                params = state.weights.params
                fresh = replace(state, ema=params, opt_state=make_optimiser(self.experiment).init(params))
                scenes.append(self._scene(f"step {t}, own start", t, *self._step(fresh, self._batch(t))))
        return scenes

    def whole_run(self, nudge: int = 0) -> Iterator[Scene]:
        """All optimiser steps in a row, from the recorded initial weights."""
        state = self._state(_under("params", Below(self._arrays, "params0/")), 0)
        weights = _nudged(state.weights, nudge)
        state = replace(state, weights=weights, ema=weights.params)
        for t in range(1, self._config["steps"] + 1):
            state, metrics, readout = self._step(state, self._batch(t))
            yield self._scene(f"step {t}", t, state, metrics, readout)

    def update_alone(self, t: int) -> dict[str, NDArray[Any]]:
        """The weights after step t, from the recorded moments, with the gradient that these imply; no network runs.

        Keys are params/NAME, for those tensors of which the recording has all that it takes. Elementwise, so that the
        original's layout will do.
        """
        before, after = Below(self._arrays, f"before/{t}/"), Below(self._arrays, f"after/{t}/")
        names = [name for name in Below(after, "m/") if f"params/{name}" in after]
        moments = [{n: before.get(f"{what}/{n}", np.zeros_like(after[f"m/{n}"])) for n in names} for what in "mv"]
        beta1 = self.experiment.optim.beta1
        grads = {n: (after[f"m/{n}"].astype(np.float64) - beta1 * moments[0][n]) / (1 - beta1) for n in names}
        grads = {name: grad.astype(np.float32) for name, grad in grads.items()}
        weights = {name: before[f"params/{name}"] for name in names}
        optimiser = make_optimiser(self.experiment)
        updates: Any = optimiser.update(grads, AdamATan2State(jnp.int32(t - 1), *moments), weights)[0]
        return {f"params/{name}": np.asarray(weights[name] + updates[name]) for name in names}

    def _beginning(self, nudge: int) -> tuple[Weights, Batch, Carry]:
        weights = _nudged(original.import_weights(self._like, Below(self._arrays, "params/")), nudge)
        batch = _batch(Below(self._arrays, "batch/"))
        return weights, batch, empty_carry(self._model, weights.starts, batch.inputs.shape[0])

    def _evaluated(self, weights: Weights, carry: Carry, batch: Batch) -> Any:
        """What `supervised_loss` gives."""
        loss, rows = self._loss(weights, carry, batch, None)
        return loss(weights.params, rows)

    def _differentiated(self, weights: Weights, carry: Carry, batch: Batch) -> Any:
        """The same in training, and the gradients with respect to the weights and to the batch's puzzle rows."""
        # The key is for exploration, of which recordings have none.
        loss, rows = self._loss(weights, carry, batch, jax.random.key(0))
        return jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(weights.params, rows)

    def _loss(self, weights: Weights, carry: Carry, batch: Batch, key: jax.Array | None) -> tuple[Any, Any]:
        """The loss as a function of weights and puzzle rows, and these rows."""
        carry = refill(self._model, weights.starts, carry, batch)
        rows = self._model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
        return partial(supervised_loss, self._model, self.experiment.loss, carry=carry, key=key), rows

    def _stepped(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, Readout]:
        """train_step, with the readout besides: the recordings hold q of every step."""
        weights = state.weights
        carry = refill(self._model, weights.starts, state.carry, batch)
        rows = self._model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
        _, readout = self._model.think(weights.params, rows, carry.state, carry.data.inputs)
        return *train_step(self.experiment, state, batch), readout

    def _scene(self, label: str, t: int, state: TrainState, metrics: Metrics, readout: Readout) -> Scene:
        recorded = Below(self._arrays, f"after/{t}/")
        recorded.update({key: values[t - 1] for key, values in Below(self._arrays, "rows/").items()})
        opt_state, data = state.opt_state, state.carry.data
        assert isinstance(opt_state, AdamATan2State)
        average = original.export_weights(averaged_weights(state))
        ours = {
            **_outcome(state.carry, metrics["loss"], metrics),
            **_under("params", original.export_weights(state.weights)),
            **_under("m", original.export_params(opt_state.mu)),
            **_under("v", original.export_params(opt_state.nu)),
            **_under("ema", {name: average[name] for name in original.export_params(state.ema)}),
            # What evaluation would use: the table as well, which has no average.
            **_under("evaluation", average),
            "carry/data/inputs": data.inputs,
            "carry/data/labels": data.labels,
            "carry/data/puzzle_identifiers": data.puzzle_ids,
            "lr": metrics["learning_rate"],
            "q_halt": readout.q_halt,
        }
        return Scene(label, t, recorded, ours)

    def _batch(self, t: int) -> Batch:
        batches = Below(self._arrays, "batches/")
        return _batch({name: values[(t - 1) % self._config["num_batches"]] for name, values in batches.items()})

    def _state(self, before: Arrays, steps_done: int) -> TrainState:
        """A recorded state; what it lacks (at the first step: moments, average, carry) as at the very start."""
        weights = original.import_weights(self._like, Below(before, "params/"))
        fresh = init_state(self.experiment)
        carry = fresh.carry

        def recorded_or(what: str, start: Params) -> Params:
            recorded = Below(before, f"{what}/")
            return original.import_params(weights.params, recorded) if recorded else start

        zeros = jax.tree.map(np.zeros_like, weights.params)
        if recorded := Below(before, "carry/"):
            carry = Carry(
                original.import_state(carry.state, recorded, ""),
                jnp.asarray(recorded["steps"]),
                jnp.asarray(recorded["halted"]),
                _batch(Below(recorded, "data/")),
            )
        return replace(
            fresh,
            step=jnp.int32(steps_done),
            weights=weights,
            ema=recorded_or("ema", weights.params),
            opt_state=AdamATan2State(jnp.int32(steps_done), recorded_or("m", zeros), recorded_or("v", zeros)),
            carry=carry,
        )


def _outcome(carry: Carry, total: jax.Array, metrics: Metrics) -> dict[str, Any]:
    """What every scene has: states, halting, the total loss and the metrics."""
    reached = {"halted": carry.halted, "steps": carry.steps, "loss": total}
    return _under("carry", original.export_state(carry.state)) | _under("metrics", metrics) | reached


def _under(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of Below: PREFIX/NAME."""
    return {f"{prefix}/{name}": array for name, array in arrays.items()}


def _batch(arrays: Arrays) -> Batch:
    return Batch(*(jnp.asarray(arrays[name], jnp.int32) for name in ("inputs", "labels", "puzzle_identifiers")))


def _nudged(weights: Weights, seed: int) -> Weights:
    """Every trained weight one unit in the last place up or down, by the coin tosses of a seed; 0: as they are."""
    if not seed:
        return weights
    rng = np.random.default_rng(seed)

    def nudge(w: Any) -> NDArray[np.float32]:
        return np.nextafter(w, np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(np.float32))

    return replace(weights, params=jax.tree.map(nudge, weights.params))
