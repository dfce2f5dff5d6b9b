"""Is this the same model? Compares this implementation with recordings of the original's computation.

A recording is an .npz file with random weights, a batch, and what the public PyTorch code computed from them in float32
on a CPU: states, logits, q values, halting, losses, metrics and gradients (forward recordings), or whole optimiser
steps from recorded states (training recordings). Keys are described in docs/parity.md.
"""

import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax import original
from trm_jax.config import Experiment
from trm_jax.errors import DataError, TrmError
from trm_jax.losses import Metrics
from trm_jax.model import Model, Readout, Weights
from trm_jax.optim import AdamATan2State
from trm_jax.recursion import State
from trm_jax.step import (
    TrainState,
    averaged_weights,
    init_state,
    make_optimiser,
    supervised_loss,
    train_step,
)
from trm_jax.supervision import Batch, Carry, empty_carry, refill

Arrays = Mapping[str, NDArray[Any]]

COUNTS = ("count", "exact_accuracy", "q_halt_accuracy", "steps")


@dataclass(frozen=True)
class Tolerances:
    """Largest absolute errors that rounding explains: float32, highest precision, XLA against PyTorch.

    Pairs are for supervision steps 1 and 2. m and v are relative to the tensor's largest entry.
    """

    states: tuple[float, float] = (5e-5, 2e-4)
    q: tuple[float, float] = (1e-5, 3e-5)
    loss: tuple[float, float] = (1e-5, 3e-5)
    gradients: tuple[float, float] = (2e-5, 1e-4)
    later_logits: float | None = 5e-3
    weights: float = 1e-6
    ema: float = 1e-6
    moments: float = 5e-5


# The mixer's norm over positions multiplies rounding by about 40 a supervision step.
MIXER = Tolerances(
    states=(5e-4, 2e-2),
    q=(1e-4, 3e-3),
    loss=(5e-5, 3e-3),
    gradients=(5e-4, 1e-2),
    later_logits=None,
    weights=2e-5,
    ema=2e-6,
    moments=5e-4,
)
# Where a gradient is smaller than its rounding error, the first step (whose size is the rate, whatever the gradient)
# and every step of sign-SGD may go the other way: so large a share of entries may be beyond the tolerance.
FLIPPED_WEIGHTS, FLIPPED_TABLE = 1e-3, 2e-2
CHAINED_WEIGHTS, CHAINED_LOSS = 2e-6, 1e-5


@dataclass(frozen=True)
class Check:
    """One row of the report; `error` is the largest found, or a count or share of entries that differ."""

    recording: str
    quantity: str
    error: float
    tolerance: float
    where: str = ""

    @property
    def passed(self) -> bool:
        """Whether the error is a number within the tolerance; nan is not."""
        return self.error <= self.tolerance


def run(directory: Path, out: TextIO | None = None) -> bool:
    """Runs every recording in a directory, prints the table, and returns whether all checks passed.

    Raises:
      DataError: no recordings there, or one that is damaged or lacks a key; names file and key.
    """
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        raise DataError(f"{directory}: no recordings (*.npz) here: give the folder that holds them")
    print(f"{'recording':28}{'quantity':44}{'largest error':>14}{'tolerance':>11}  verdict", file=out)
    failed = total = 0
    for path in paths:
        for check in check_recording(path):
            total += 1
            failed += not check.passed
            verdict = "ok" if check.passed else f"FAIL {check.where}"
            print(
                f"{check.recording:28}{check.quantity:44}{check.error:14.2e}{check.tolerance:11.1e}  {verdict}",
                file=out,
                flush=True,
            )
    print(f"{len(paths)} recordings, {total} checks, {failed} failed", file=out)
    return not failed


def check_recording(path: Path) -> list[Check]:
    """All checks of one recording, in the order of its steps. Raises DataError where it is damaged."""
    arrays = _load(path)
    try:
        config = json.loads(str(arrays["config"]))
        if not isinstance(config, dict):
            raise DataError("key 'config' holds no JSON object")
        experiment = original.experiment_of(config)
        with jax.default_matmul_precision("highest"):
            referee = _Referee(
                path.stem, arrays, experiment, MIXER if experiment.model.mixer == "mlp" else Tolerances()
            )
            if "steps" not in config:
                return list(referee.forward())
            checks = list(referee.single_steps(config))
            # Of the recorded runs only HRM's stays within rounding for all of its steps.
            return checks + (list(referee.chained(config)) if config["kind"] == "hrm" else [])
    except KeyError as error:
        raise DataError(f"{path}: the recording lacks the key {error}") from None
    except TrmError as error:
        raise DataError(f"{path}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: key 'config' is not JSON: {error}") from None


class _Referee:
    def __init__(self, name: str, arrays: Arrays, experiment: Experiment, tolerances: Tolerances) -> None:
        self.name, self.arrays, self.experiment, self.tolerances = name, arrays, experiment, tolerances
        self.model = Model(experiment.model)
        self.like: Weights = jax.eval_shape(self.model.init, jax.random.key(0))

    def forward(self) -> Iterator[Check]:
        """Evaluation steps one after another, then gradients of the first two training steps."""
        weights = original.import_weights(self.like, _below(self.arrays, "params/"))
        batch = _batch(self.arrays, "batch/")
        size = batch.inputs.shape[0]

        step = jax.jit(partial(_supervise, self.model, self.experiment))
        carry = empty_carry(self.model, weights.starts, size)
        count = len({match[1] for name in self.arrays if (match := re.match(r"eval/(\d+)/", name))})
        if not count:
            raise KeyError("eval/0/logits")
        for s in range(count):
            carry, total, metrics, readout = step(weights, carry, batch)
            recorded = _below(self.arrays, f"eval/{s}/")
            label = f"evaluation {s + 1}"
            states = _below(recorded, "carry/")
            if states:
                yield self._states(f"{label}: states", carry.state, states, self.tolerances.states[s])
            if s < 2:
                yield self._compare(f"{label}: logits", readout.logits, recorded["logits"], self.tolerances.states[s])
                yield self._q(label, readout, recorded, self.tolerances.q[s])
                yield self._loss(label, total, metrics, recorded, self.tolerances.loss[s])
            elif self.tolerances.later_logits is not None:
                yield self._compare(
                    f"{label}: logits", readout.logits, recorded["logits"], self.tolerances.later_logits
                )
                tokens = {"predicted tokens": (readout.logits.argmax(-1), recorded["logits"].argmax(-1))}
                yield self._equal(f"{label}: predicted tokens", tokens)
            ours = {"halted": carry.halted, "steps": carry.steps}
            if s < 2 or self.tolerances.later_logits is not None:
                ours |= {f"metrics/{name}": metrics[name] for name in COUNTS}
            yield self._equal(f"{label}: halted, steps, counts", {k: (v, recorded[k]) for k, v in ours.items()})

        gradient = jax.jit(partial(_gradient, self.model, self.experiment))
        carry = empty_carry(self.model, weights.starts, size)
        for s in range(2):
            (grads, rows), carry, total, metrics = gradient(weights, carry, batch)
            recorded = _below(self.arrays, f"grad/{s}/")
            label = f"training {s + 1}"
            yield self._loss(label, total, metrics, recorded, self.tolerances.loss[s])
            counts = {name: (metrics[name], recorded[f"metrics/{name}"]) for name in COUNTS}
            yield self._equal(f"{label}: counts", counts)
            pairs = _pairs(original.export_params(grads), _below(recorded, "params/"))
            if rows is not None:
                pairs["puzzle_emb_rows"] = (np.asarray(rows), recorded["puzzle_emb_rows"])
            yield self._largest(f"{label}: gradients", pairs, self.tolerances.gradients[s])

    def single_steps(self, config: Mapping[str, Any]) -> Iterator[Check]:
        """One optimiser step from each recorded state; at the first also from our own fresh optimiser and average."""
        step = self._train_step
        for t in config["snapshots"]:
            before = _below(self.arrays, f"before/{t}/")
            state = self._state_from(before, t - 1)
            yield from self._one_step(step, state, config, t, f"step {t}")
            if t == 1:
                params = original.import_weights(self.like, _below(before, "params/")).params
                optimiser = make_optimiser(self.experiment)
                fresh = replace(state, ema=params, opt_state=optimiser.init(params))
                yield from self._one_step(step, fresh, config, t, "step 1, own start")

    def chained(self, config: Mapping[str, Any]) -> Iterator[Check]:
        """All optimiser steps in a row, from the recorded initial weights.

        Training amplifies rounding: carried out in float64, these steps leave the recorded q by 7e-5 within 24
        steps. So beside the run we make a second one whose initial weights differ by one unit in the last place. Where
        that alone moves a quantity further than its tolerance, three times the movement is allowed instead.
        """
        start = self._state_from({f"params/{k}": v for k, v in _below(self.arrays, "params0/").items()}, 0)
        ours, nudged = self._run(start, config), self._run(_nudge(start), config)
        rows = _below(self.arrays, "rows/")
        halting, tables, moved = {}, {}, {"weights": 0.0, "q and loss": 0.0}
        worst: dict[str, Check] = {}
        for t, mine, other in zip(range(1, config["steps"] + 1), ours, nudged, strict=True):
            pairs: dict[str, list[tuple[Any, Any, Any]]] = {}
            pairs["q and loss"] = [
                (mine.q, other.q, rows["q_halt"][t - 1]),
                (mine.loss, other.loss, rows["loss"][t - 1]),
            ]
            if t in config["snapshots"]:
                recorded = _below(self.arrays, f"after/{t}/params/")
                if original.TABLE in recorded:
                    tables[f"step {t}"] = (mine.weights[original.TABLE], recorded.pop(original.TABLE))
                pairs["weights"] = [(mine.weights[k], other.weights[k], array) for k, array in recorded.items()]
            for what, triples in pairs.items():
                moved[what] = max([moved[what], *(_beyond(a, b, 0.0) for a, b, _ in triples)])
                error = max(_beyond(a, c, 0.0) for a, _, c in triples)
                base = CHAINED_WEIGHTS if what == "weights" else CHAINED_LOSS
                check = Check(self.name, f"whole run: {what}", error, max(base, 3 * moved[what]), f"step {t}")
                if what not in worst or not check.error / check.tolerance <= worst[what].error / worst[what].tolerance:
                    worst[what] = check
            halting[f"halted, step {t}"] = (mine.halted, rows["halted"][t - 1])
            halting[f"steps, step {t}"] = (mine.steps, rows["steps"][t - 1])
        yield from worst.values()
        if tables:
            yield self._share("whole run: puzzle table, share beyond", tables, CHAINED_WEIGHTS, FLIPPED_TABLE)
        yield self._equal("whole run: halted and steps of every step", halting)

    def _run(self, state: TrainState, config: Mapping[str, Any]) -> Iterator["_Step"]:
        step = self._train_step
        for t in range(1, config["steps"] + 1):
            state, metrics, readout = step(state, self._training_batch(config, t))
            weights = original.export_weights(state.weights) if t in config["snapshots"] else {}
            carry = state.carry
            yield _Step(readout.q_halt, metrics["loss"], carry.halted, carry.steps, weights)

    def _one_step(self, step: Any, state: TrainState, config: Mapping[str, Any], t: int, label: str) -> Iterator[Check]:
        tolerances = self.tolerances
        state, metrics, readout = step(state, self._training_batch(config, t))
        after, rows = _below(self.arrays, f"after/{t}/"), _below(self.arrays, "rows/")
        row = {name: values[t - 1] for name, values in rows.items()}

        table = {original.TABLE} & set(_below(after, "params/"))
        recorded = {k: v for k, v in _below(after, "params/").items() if k not in table}
        recorded_ema = _below(after, "ema/")
        ours = original.export_weights(state.weights)
        average = original.export_weights(averaged_weights(state))
        trained = set(original.export_params(state.weights.params))
        if t == 1:
            for what, values, theirs, tolerance in (
                ("weights", ours, recorded, tolerances.weights),
                ("averages", average, recorded_ema, tolerances.ema),
            ):
                yield self._share(f"{label}: {what}, share beyond", _pairs(values, theirs), tolerance, FLIPPED_WEIGHTS)
        else:
            yield self._largest(f"{label}: weights", _pairs(ours, recorded), tolerances.weights)
            yield self._largest(f"{label}: averages", _pairs(average, recorded_ema), tolerances.ema)
        averaged = {"names": (sorted(trained & set(recorded)), sorted(recorded_ema))}
        yield self._equal(f"{label}: which tensors are averaged", averaged)
        for source, values in (("table", ours), ("table in evaluation", average)):
            pairs = {name: (values[name], after[f"params/{name}"]) for name in table}
            if pairs:
                yield self._share(f"{label}: puzzle {source}, share beyond", pairs, tolerances.weights, FLIPPED_TABLE)
        opt_state = state.opt_state
        assert isinstance(opt_state, AdamATan2State)
        for what, moment, floor in (("m", opt_state.mu, 5e-9), ("v", opt_state.nu, 1e-12)):
            pairs = _pairs(original.export_params(moment), _below(after, f"{what}/"))
            relative = {k: _beyond(a, b, floor) / max(float(np.abs(b).max()), 1e-30) for k, (a, b) in pairs.items()}
            worst = max(relative, key=relative.__getitem__)
            yield Check(self.name, f"{label}: {what}, relative", relative[worst], tolerances.moments, worst)

        carry = state.carry
        yield self._states(f"{label}: states", carry.state, _below(after, "carry/"), tolerances.states[0])
        yield self._q(label, readout, row, tolerances.q[0])
        yield self._loss(label, metrics["loss"], metrics, row, tolerances.loss[0])
        yield self._compare(f"{label}: learning rate", metrics["learning_rate"], row["lr"], 1e-6 * config["lr"])
        data = carry.data
        equal = {f"data/{k}": (v, after[f"carry/data/{n}"]) for k, n, v in _fields(data)}
        equal |= {"halted": (carry.halted, row["halted"]), "steps": (carry.steps, row["steps"])}
        equal |= {name: (metrics[name], row[f"metrics/{name}"]) for name in COUNTS}
        yield self._equal(f"{label}: halted, steps, counts, carried puzzles", equal)

    @cached_property
    def _train_step(self) -> Any:
        """train_step, with the readout besides: the recordings hold q of every step."""

        def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics, Readout]:
            weights = state.weights
            carry = refill(self.model, weights.starts, state.carry, batch)
            rows = self.model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
            _, readout = self.model.think(weights.params, rows, carry.state, carry.data.inputs)
            return *train_step(self.experiment, state, batch), readout

        return jax.jit(step)

    def _training_batch(self, config: Mapping[str, Any], t: int) -> Batch:
        batches = {
            name: values[(t - 1) % config["num_batches"]] for name, values in _below(self.arrays, "batches/").items()
        }
        return _batch(batches, "")

    def _state_from(self, before: Arrays, steps_done: int) -> TrainState:
        weights = original.import_weights(self.like, _below(before, "params/"))
        batch_size = self.experiment.train.batch_size
        optimiser = make_optimiser(self.experiment)
        state = init_state(self.experiment)
        opt_state = optimiser.init(weights.params)
        assert isinstance(opt_state, AdamATan2State)
        moments, ema = {}, weights.params
        for what in ("m", "v"):
            recorded = _below(before, f"{what}/")
            zeros = jax.tree.map(np.zeros_like, weights.params)
            moments[what] = original.import_params(weights.params, recorded) if recorded else zeros
        if recorded_ema := _below(before, "ema/"):
            ema = original.import_params(weights.params, recorded_ema)
        carry = empty_carry(self.model, weights.starts, batch_size)
        if recorded_carry := _below(before, "carry/"):
            carry = Carry(
                original.import_state(carry.state, recorded_carry, ""),
                jnp.asarray(recorded_carry["steps"]),
                jnp.asarray(recorded_carry["halted"]),
                _batch(recorded_carry, "data/"),
            )
        return replace(
            state,
            step=jnp.int32(steps_done),
            weights=weights,
            ema=ema,
            opt_state=AdamATan2State(jnp.int32(steps_done), moments["m"], moments["v"]),
            carry=carry,
        )

    def _states(self, quantity: str, state: State, recorded: Arrays, tolerance: float) -> Check:
        pairs = {name: (array, recorded[name]) for name, array in original.export_state(state).items()}
        return self._largest(quantity, pairs, tolerance)

    def _q(self, label: str, readout: Readout, recorded: Arrays, tolerance: float) -> Check:
        pairs = {k: (getattr(readout, k), recorded[k]) for k in ("q_halt", "q_continue") if k in recorded}
        return self._largest(f"{label}: q", pairs, tolerance)

    def _loss(self, label: str, total: Any, metrics: Metrics, recorded: Arrays, tolerance: float) -> Check:
        parts = [name for name in metrics if name.endswith("_loss")]
        pairs = {name: (metrics[name], recorded[f"metrics/{name}"]) for name in [*parts, "accuracy"]}
        return self._largest(
            f"{label}: loss, its parts, accuracy", pairs | {"loss": (total, recorded["loss"])}, tolerance
        )

    def _compare(self, quantity: str, ours: Any, recorded: Any, tolerance: float) -> Check:
        return self._largest(quantity, {quantity: (ours, recorded)}, tolerance)

    def _largest(self, quantity: str, pairs: Mapping[str, tuple[Any, Any]], tolerance: float) -> Check:
        errors = {name: _beyond(ours, recorded, 0.0) for name, (ours, recorded) in pairs.items()}
        worst = max(errors, key=lambda name: np.inf if np.isnan(errors[name]) else errors[name])
        return Check(self.name, quantity, errors[worst], tolerance, worst)

    def _share(self, quantity: str, pairs: Mapping[str, tuple[Any, Any]], tolerance: float, allowed: float) -> Check:
        beyond = [(~(np.abs(ours - recorded) <= tolerance)).ravel() for ours, recorded in pairs.values()]
        return Check(self.name, f"{quantity} {tolerance:.0e}", float(np.concatenate(beyond).mean()), allowed)

    def _equal(self, quantity: str, pairs: Mapping[str, tuple[Any, Any]]) -> Check:
        unequal = [name for name, (ours, recorded) in pairs.items() if not np.array_equal(ours, recorded)]
        return Check(self.name, quantity, len(unequal), 0, ", ".join(unequal))


@dataclass(frozen=True)
class _Step:
    """What a whole run is compared by, after one optimiser step; weights only at the recorded snapshots."""

    q: jax.Array
    loss: jax.Array
    halted: jax.Array
    steps: jax.Array
    weights: dict[str, NDArray[Any]]


def _nudge(state: TrainState) -> TrainState:
    """The state with every trained weight one unit in the last place up or down."""
    rng = np.random.default_rng(0)

    def nudge(w: Any) -> NDArray[np.float32]:
        return np.nextafter(w, np.where(rng.random(w.shape) < 0.5, -np.inf, np.inf).astype(np.float32))

    params = jax.tree.map(nudge, state.weights.params)
    return replace(state, weights=replace(state.weights, params=params), ema=params)


def _supervise(
    model: Model, experiment: Experiment, weights: Weights, carry: Carry, batch: Batch
) -> tuple[Carry, jax.Array, Metrics, Readout]:
    carry = refill(model, weights.starts, carry, batch)
    rows = model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
    total, (carry, metrics, readout) = supervised_loss(model, experiment.loss, weights.params, rows, carry, None)
    return carry, total, metrics, readout


def _gradient(model: Model, experiment: Experiment, weights: Weights, carry: Carry, batch: Batch) -> Any:
    carry = refill(model, weights.starts, carry, batch)
    rows = model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)
    loss = partial(supervised_loss, model, experiment.loss, carry=carry, key=jax.random.key(0))
    (total, (carry, metrics, _)), grads = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(weights.params, rows)
    return grads, carry, total, metrics


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    # A lone array (.npy) in place of an archive is no context manager: TypeError.
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a readable recording (.npz): {error}") from None


class _Below(dict[str, NDArray[Any]]):
    """Part of a recording; a key that it lacks is told by its whole name."""

    def __init__(self, arrays: Arrays, prefix: str) -> None:
        super().__init__(arrays)
        self.prefix = prefix

    def __missing__(self, name: str) -> NDArray[Any]:
        raise KeyError(self.prefix + name)


def _below(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    found = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return _Below(found, (arrays.prefix if isinstance(arrays, _Below) else "") + prefix)


def _batch(arrays: Arrays, prefix: str) -> Batch:
    inputs, labels, ids = (arrays[prefix + name] for name in ("inputs", "labels", "puzzle_identifiers"))
    return Batch(jnp.asarray(inputs, jnp.int32), jnp.asarray(labels, jnp.int32), jnp.asarray(ids, jnp.int32))


def _fields(data: Batch) -> list[tuple[str, str, jax.Array]]:
    names = ("inputs", "inputs"), ("labels", "labels"), ("puzzle_ids", "puzzle_identifiers")
    return [(ours, theirs, getattr(data, ours)) for ours, theirs in names]


def _pairs(ours: Mapping[str, Any], recorded: Arrays) -> dict[str, tuple[Any, Any]]:
    """Every recorded tensor beside ours; the recording says what is compared."""
    return {name: (ours[name], array) for name, array in recorded.items()}


def _beyond(ours: Any, recorded: Any, floor: float) -> float:
    """The largest absolute difference, less a floor; nan where anything is not a number, or shapes differ."""
    if np.shape(ours) != np.shape(recorded):
        return float("nan")
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(recorded, np.float64))
    return max(0.0, float(difference.max()) - floor) if not np.isnan(difference).any() else float("nan")
