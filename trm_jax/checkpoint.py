"""Checkpoints: everything that a run needs to go on as if it had never stopped.

One step is one Orbax directory with three items:
    weights    trained and averaged weights, start vectors, puzzle table: all that `trm eval` and `trm solve` read
    training   optimiser, carry, random state, step, sums of metrics not yet written
    meta       JSON: format, experiment, position in the data, versions
Arrays are kept under flat names, such as `weights.params.latent_net.block_0.feed_forward.down.kernel`, so that a
mismatch can be told by name.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from trm_jax.config import Experiment, experiment_from, to_dict
from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.model import Model, Params, Weights
from trm_jax.step import TrainState
from trm_jax.version import VERSION

# 2: config.model.checkpoint became config.memory.policy, and gradient = "last_step" became "one_step".
# 3: batches are drawn in another order, and their position counts groups.
FORMAT = 3
FOLDER = "checkpoints"

# A checkpoint that is written for another number of devices, or on another backend, is nothing to warn of.
logging.getLogger("absl").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself besides arrays.

    experiment: resolved, with the sizes that came from the data.
    position: where the next batch starts (order.Position as a mapping; of a run that an older version began, the next
      epoch) and the fingerprint of the puzzles; empty for converted weights.
    """

    experiment: Experiment
    position: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one working directory. A context manager: leaving it waits for saves under way."""

    def __init__(self, workdir: Path, keep: int = 2) -> None:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            cleanup_tmp_directories=True,
            # An old step is renamed before it is deleted, so that a kill leaves no half step in the list.
            todelete_subdir="deleted",
        )
        self._directory = (workdir / FOLDER).absolute()
        # Named from the start, or else a manager that has not saved yet could not tell names and shapes.
        handlers = {
            "weights": ocp.StandardCheckpointHandler(),
            "training": ocp.StandardCheckpointHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(self._directory, options=options, item_handlers=handlers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.close()

    def wait(self) -> None:
        """Returns once every save under way is on disk; raises what went wrong with one."""
        self._manager.wait_until_finished()

    @property
    def latest(self) -> int | None:
        """The newest step on disk, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, totals: Mapping[str, jax.Array], meta: Meta) -> None:
        """Starts to save the state under its step; training may go on and donate it at once.

        Raises:
          CheckpointError: the save was not made, or an earlier one failed (a full disk shows late).
        """
        step = int(state.step)
        if step == self._manager.latest_step():
            return
        # A copy, since the next training step reuses the state's memory while Orbax still writes.
        arrays = jax.tree.map(jnp.copy, _flat({"state": state, "totals": dict(totals)}))
        try:
            self._manager.check_for_errors()
            made = self._save(step, arrays, meta)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self._directory}: saving step {step} failed: {error}") from error
        if not made:
            raise CheckpointError(f"{self._directory}: step {step} was not saved: is it older than one that is there?")

    def save_weights(self, weights: Weights, meta: Meta) -> None:
        """Saves weights alone, as step 0, the average equal to the weights: what `trm convert` writes."""
        arrays = _flat({"state": {"weights": weights, "ema": weights.params}})
        if not self._save(0, arrays, meta):
            raise CheckpointError(f"{self._directory} holds checkpoints already: give another folder")
        self.wait()

    def latest_meta(self) -> Meta | None:
        """What the newest checkpoint says of itself; None where there is none. Reads no arrays."""
        return None if self.latest is None else _read_meta(self._directory, self.latest)

    def restore(self, like: TrainState, totals: Mapping[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
        """The arrays of the newest checkpoint, in the structure and shapes of `like` and `totals`.

        Where these are arrays, or shapes with a sharding, each array lands where its model lies, however many devices
        have written it.

        Raises:
          CheckpointError: there is none; it holds weights only, or arrays of other names, shapes or dtypes (each is
            named).
        """
        step = self.latest
        if step is None:
            raise CheckpointError(f"{self._directory}: no checkpoint here")
        if not (self._directory / str(step) / "training").is_dir():
            raise CheckpointError(
                f"{self._directory / str(step)} holds weights without a training state: evaluate it, or train elsewhere"
            )
        tree = {"state": like, "totals": dict(totals)}
        restored = _unflat(tree, self._restore(step, _flat(tree)))
        return restored["state"], restored["totals"]

    def restore_weights(self, step: int | None = None) -> tuple[Experiment, Weights, Params]:
        """Experiment, trained weights and averaged parameters of a step; the newest where none is named."""
        step = self.latest if step is None else step
        if step is None or step not in self._manager.all_steps():
            raise CheckpointError(f"{self._directory}: no checkpoint {'' if step is None else f'of step {step} '}here")
        experiment = _read_meta(self._directory, step).experiment
        like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
        tree = {"state": {"weights": like, "ema": like.params}}
        restored = _unflat(tree, self._restore(step, _flat(tree)))["state"]
        return experiment, restored["weights"], restored["ema"]

    def _save(self, step: int, arrays: dict[str, jax.Array], meta: Meta) -> bool:
        weights = {name: array for name, array in arrays.items() if _is_weight(name)}
        training = {name: array for name, array in arrays.items() if name not in weights}
        text = {
            "format": FORMAT,
            "experiment": to_dict(meta.experiment),
            "position": dict(meta.position),
            "versions": {"trm_jax": VERSION, "jax": jax.__version__},
        }
        items: dict[str, Any] = {"weights": ocp.args.StandardSave(weights), "meta": ocp.args.JsonSave(text)}
        if training:
            items["training"] = ocp.args.StandardSave(training)
        return self._manager.save(step, args=ocp.args.Composite(**items))

    def _restore(self, step: int, like: dict[str, Any]) -> dict[str, jax.Array]:
        """The named arrays of a step, after checking that they have the names, shapes and dtypes of `like`."""
        try:
            metadata = self._manager.item_metadata(step)
        except Exception as error:  # whatever Orbax's JSON parser and storage raise, it is the files' fault
            raise CheckpointError(f"{self._directory / str(step)} is damaged: {_first_line(error)}") from error
        found: dict[str, Any] = {}
        for item in ("weights", "training"):
            if metadata.get(item) is not None:
                found |= dict(metadata[item].items())
        items = {
            "weights": [n for n in like if _is_weight(n)],
            "training": [n for n in like if not _is_weight(n)],
        }
        wrong = [f"{name} is missing" for name in like if name not in found]
        for name, array in like.items():
            if name in found and (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
                there = f"{found[name].dtype}{list(found[name].shape)}"
                wrong.append(f"{name} is {there}, expected {array.dtype}{list(array.shape)}")
        wrong += [f"{name} is unknown" for name in found if name not in like and items["training"]]
        if wrong:
            raise CheckpointError(f"{self._directory / str(step)} does not fit the model: {'; '.join(wrong)}")
        alone = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        requests = {}
        for item, names in items.items():
            if names:
                arrays = {n: like[n] for n in names}
                shapes = {
                    n: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding or alone) for n, a in arrays.items()
                }
                requests[item] = ocp.args.StandardRestore(shapes)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**requests))
        except Exception as error:
            raise CheckpointError(f"{self._directory / str(step)} is damaged: {_first_line(error)}") from error
        return {name: array for item in requests for name, array in restored[item].items()}


def load(path: Path, averaged: bool = True) -> tuple[Experiment, Weights]:
    """Weights for evaluation, from a working directory (its newest checkpoint) or one checkpoint's own directory.

    Args:
      path: e.g. runs/demo, or runs/demo/checkpoints/1000.
      averaged: the moving average (as the paper evaluates), or the weights as trained.

    Raises:
      CheckpointError: nothing there, damaged, or of an unknown format.
    """
    workdir, step = path, None
    if path.name.isdigit() and path.parent.name == FOLDER:
        workdir, step = path.parent.parent, int(path.name)
    if not (workdir / FOLDER).is_dir():
        raise CheckpointError(
            f"{path}: no checkpoint here: give a folder that `trm train` or `trm convert` has written"
        )
    with Checkpoints(workdir) as checkpoints:
        experiment, weights, ema = checkpoints.restore_weights(step)
    return experiment, Weights(ema, weights.starts, weights.puzzle_table) if averaged else weights


def fingerprint(tree: Any) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of every array of a pytree; equal if and only if all bits are."""
    digest = sha256()
    for name, array in sorted(_flat(tree).items()):
        values = np.asarray(array)
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _flat(tree: Any) -> dict[str, Any]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _unflat(like: Any, arrays: Mapping[str, Any]) -> Any:
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in _flat(like)])


def _is_weight(name: str) -> bool:
    return name.startswith(("state.weights.", "state.ema."))


def _read_meta(directory: Path, step: int) -> Meta:
    path = directory / str(step) / "meta" / "metadata"
    try:
        text = json.loads(path.read_text())
        if text["format"] not in range(1, FORMAT + 1):
            raise CheckpointError(
                f"{directory / str(step)} has format {text['format']}, this version reads 1 to {FORMAT}: use another "
                "version"
            )
        experiment = _from_format_1(text["experiment"]) if text["format"] == 1 else text["experiment"]
        position = text["position"]
        if text["format"] < 3 and position:
            position = {"epoch": position["epoch"] + 1, "place": 0, "offset": 0, "fingerprint": position["fingerprint"]}
        return Meta(experiment_from(experiment), position)
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{path} is damaged or not ours: {_first_line(error)}") from error


def _from_format_1(experiment: dict[str, Any]) -> dict[str, Any]:
    model = dict(experiment["model"])
    policy = "step" if model.pop("checkpoint", False) else "none"
    if model.get("gradient") == "last_step":
        model["gradient"] = "one_step"
    return experiment | {"model": model, "memory": {"policy": policy}}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
