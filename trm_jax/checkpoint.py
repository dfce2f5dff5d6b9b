"""Checkpoints: everything that a run needs to go on as if it had never stopped.

One step is one folder, named by its number, which appears whole or not at all:
    weights           trained and averaged weights, start vectors, puzzle table: all that `trm eval` and `solve` read
    training          optimiser, carry, random state, step, sums of metrics not yet written
    meta              JSON: format, experiment, position in the data, versions
    manifest.sha256   of every file; a step is used only if all of them are what was written
Arrays are kept by Orbax, under flat names such as `weights.params.latent_net.block_0.feed_forward.down.kernel`, so that
a mismatch can be told by name. Beside the steps there may be, of step 7: 7.saving and 7.deleted, leftovers of a process
that was killed, which the next run removes; 7.damaged, set aside; 7.keep, an empty file of the user's, for whose sake
the step is never deleted.
"""

import errno
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint._src.serialization import tensorstore_utils

from trm_jax import manifest
from trm_jax.config import Experiment, experiment_from, to_dict
from trm_jax.console import say
from trm_jax.disk import sync
from trm_jax.errors import CheckpointError, ConfigError, StorageError, printable
from trm_jax.model import Model, Params, Weights
from trm_jax.order import Position
from trm_jax.sizes import format_bytes
from trm_jax.step import TrainState
from trm_jax.version import VERSION

# 2: config.model.checkpoint became config.memory.policy, and gradient = "last_step" became "one_step".
# 3: batches are drawn in another order, and their position counts groups.
# 4: every step has a manifest; steps that were skipped are counted.
FORMAT = 4
FOLDER = "checkpoints"

# Arrays that older formats lack, and that were zero all the time.
_SINCE_FORMAT_4 = ("state.skipped_in_a_row", "totals.skipped", "totals.loss_not_finite")

# What a step says of itself has a few kilobytes.
_LONGEST_META = 1 << 20

_STEP = re.compile("0|[1-9][0-9]{0,18}")
_LEFTOVER = re.compile(rf"({_STEP.pattern})\.(saving|deleted|orbax-checkpoint-tmp).*")

# What an operating system says of a disk, as text, since it comes wrapped in pages of Orbax's or TensorStore's.
_STORAGE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT, errno.ESTALE)

# What goes wrong while saving is told by us, in one line.
logging.getLogger("absl").setLevel(logging.CRITICAL)
# Orbax asks TensorStore for statistics around each save, to log them, and TensorStore (0.1.86) loses 100 kB each time.
tensorstore_utils.get_tensorstore_raw_bytes = lambda direction=None: 0


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself besides arrays.

    experiment: resolved, with the sizes that came from the data.
    position: where the next batch starts (order.Position as a mapping; of a run that an older version began, the next
      epoch) and the fingerprint of the puzzles; empty for converted weights.
    evaluation_due: the evaluation after this step was cut short; it comes before the next step.
    versions: of trm_jax and jax, by which it was written.
    """

    experiment: Experiment
    position: Mapping[str, Any] = field(default_factory=dict)
    evaluation_due: bool = False
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)


class Checkpoints:
    """The checkpoints of one working directory. A context manager: leaving it waits for saves under way.

    Several processes make the same calls; one of them, which `writes`, names, deletes and judges folders.
    """

    def __init__(self, workdir: Path, keep: int = 2, writes: bool = True) -> None:
        self._directory, self._keep, self._writes = (workdir / FOLDER).absolute(), keep, writes
        # Named from the start, or else metadata could not tell names and shapes.
        items = ocp.CompositeCheckpointHandler(
            weights=ocp.StandardCheckpointHandler(),
            training=ocp.StandardCheckpointHandler(),
            meta=ocp.JsonCheckpointHandler(),
        )
        # If a folder cannot be made in the background, threads wait for it for ten minutes, and the process for them.
        at_once = ocp.options.AsyncOptions(create_directories_asynchronously=False)
        self._orbax = ocp.AsyncCheckpointer(items, async_options=at_once)
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._under_way: Future[None] | None = None
        self._newest: int | None = None
        self._verified: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A save of several processes ends only if all are still there.
        waits = error is None or jax.process_count() == 1
        try:
            if waits:
                self.wait()
        except StorageError:
            if error is None:
                raise
        finally:
            self._thread.shutdown(wait=waits)
            if waits:
                with suppress(Exception):  # what went wrong with a save was told when it was waited for
                    self._orbax.close()
        # Whatever else could not be written, what is to be gone on from is here.
        if isinstance(error, StorageError) and not str(error).startswith(f"{self._directory}:"):
            raise StorageError(f"{error}; {self._what_is_left()}") from error

    def wait(self) -> None:
        """Returns once every save under way is on disk. Raises StorageError: one failed."""
        if self._under_way is not None:
            under_way, self._under_way = self._under_way, None
            under_way.result()

    def check(self) -> None:
        """Raises StorageError if a save under way has failed by now; does not wait."""
        if self._under_way is not None and self._under_way.done():
            self.wait()

    @property
    def steps(self) -> list[int]:
        """The steps on disk, in order, whether or not they are folders whose files are what was written."""
        try:
            names = [path.name for path in self._directory.iterdir()]
        except OSError:
            return []
        return sorted(int(name) for name in names if _STEP.fullmatch(name))

    @property
    def latest(self) -> int | None:
        """The newest step on disk, or None."""
        return max(self.steps, default=None)

    def recover(self) -> None:
        """Removes what killed processes left, and sets aside, and says so, what is newer than the newest valid step.

        Raises:
          CheckpointError: there are steps, and none is valid; all are left as they are.
        """
        if not self._directory.is_dir():
            return
        for path in self._directory.iterdir():
            if _LEFTOVER.fullmatch(path.name):
                _remove(path)
        faults: dict[int, str] = {}
        for step in reversed(self.steps):
            if not (wrong := self._fault(step)):
                self._verified.add(step)
                break
            faults[step] = wrong
        else:
            if faults:
                raise CheckpointError(f"{self._none_valid(faults)}: put a copy there, or give a new --workdir")
        # A process that was killed may have published a step and not come to this.
        if not faults:
            self._delete_old()
        for damaged, wrong in faults.items():
            aside = self._aside(damaged)
            (self._directory / str(damaged)).rename(aside)
            say(
                f"{self._directory / str(damaged)} is damaged: {wrong}; set aside as {aside.name}, step {step} is used "
                "in its place"
            )

    def check_space(self, like: TrainState) -> None:
        """Raises StorageError if there is no space for as many checkpoints of such a state as will be there at once."""
        one = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(like))
        # What is there already is counted, and one more is written before an old one goes.
        missing = max(1, self._keep + 1 - len(self.steps))
        there = next(path for path in (self._directory, *self._directory.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < missing * one:
            raise StorageError(
                f"{there}: {format_bytes(free)} are free, but {missing} more checkpoints of {format_bytes(one)} will "
                "be there at a time: free some, or lower config.train.keep_checkpoints"
            )

    def save(self, state: TrainState, totals: Mapping[str, jax.Array], meta: Meta) -> None:
        """Starts to save the state under its step; training may go on and donate it at once.

        Nothing is done where this step is the newest already.

        Raises:
          StorageError: an earlier save failed (a full disk shows late).
          CheckpointError: a newer step is there.
        """
        step = int(state.step)
        self.wait()
        newest = self.latest if self._newest is None else self._newest
        if step == newest:
            return
        if newest is not None and step < newest:
            raise CheckpointError(f"{self._directory}: step {step} was not saved, since step {newest} is there")
        # A copy, since the next training step reuses the state's memory while Orbax still writes.
        self._save(step, jax.tree.map(jnp.copy, _flat({"state": state, "totals": dict(totals)})), meta)

    def save_weights(self, weights: Weights, meta: Meta) -> None:
        """Saves weights alone, as step 0, the average equal to the weights: what `trm convert` writes."""
        if self.steps:
            raise CheckpointError(f"{self._directory} holds checkpoints already: give another folder")
        self._save(0, _flat({"state": {"weights": weights, "ema": weights.params}}), meta)
        self.wait()

    def hold(self, until: int) -> int | None:
        """The newest step up to `until`, which from now on is never deleted; None where there is none.

        Waits for a save under way, and raises what `wait` does.
        """
        self.wait()
        step = max((step for step in self.steps if step <= until), default=None)
        if step is not None and self._writes:
            (self._directory / f"{step}.keep").touch()
        return step

    def latest_meta(self) -> Meta | None:
        """What the newest checkpoint says of itself; None where there is none. Reads no arrays.

        Raises:
          CheckpointError: it is damaged (`recover` sets such ones aside), or of a newer format.
        """
        return None if self.latest is None else _meta_of(self._checked(self.latest))

    def restore(self, like: TrainState, totals: Mapping[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
        """The arrays of the newest checkpoint, in the structure and shapes of `like` and `totals`.

        Where these are arrays, or shapes with a sharding, each array lands where its model lies, however many devices
        have written it.

        Raises:
          CheckpointError: there is none; it is damaged; it holds weights only, or arrays of other names, shapes or
            dtypes (each is named).
        """
        step = self.latest
        if step is None:
            raise CheckpointError(f"{self._directory}: no checkpoint here")
        folder = self._checked(step)
        if not (folder / "training").is_dir():
            raise CheckpointError(f"{folder} holds weights without a training state: evaluate it, or train elsewhere")
        tree = {"state": like, "totals": dict(totals)}
        restored = _unflat(tree, self._restore(folder, _flat(tree)))
        return restored["state"], restored["totals"]

    def restore_weights(self, step: int | None = None) -> tuple[Experiment, Weights, Params]:
        """Experiment, trained weights and averaged parameters of a step; where none is named, of the newest valid one.

        Raises:
          CheckpointError: there is none, or the one that was named is damaged.
        """
        if step is not None:
            if step not in self.steps:
                raise CheckpointError(f"{self._directory}: no checkpoint of step {step} here")
            return self._weights_of(step)
        while True:
            step = self._newest_valid()
            try:
                return self._weights_of(step)
            except CheckpointError:
                # A run that is on deletes old steps, also while we read them; there are newer ones then.
                if (self._directory / str(step)).exists():
                    raise

    def _weights_of(self, step: int) -> tuple[Experiment, Weights, Params]:
        folder = self._checked(step)
        experiment = _meta_of(folder).experiment
        try:
            like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
        except Exception as error:  # whatever JAX says of sizes that no model has
            raise CheckpointError(f"{folder} describes no model that can be made: {_first_line(error)}") from error
        tree = {"state": {"weights": like, "ema": like.params}}
        restored = _unflat(tree, self._restore(folder, _flat(tree)))["state"]
        return experiment, restored["weights"], restored["ema"]

    def _newest_valid(self) -> int:
        """The newest step that is not damaged; says which ones are, and leaves them where they are."""
        faults: dict[int, str] = {}
        for step in reversed(self.steps):
            if not (wrong := self._fault(step)):
                self._verified.add(step)
                for damaged, what in faults.items():
                    say(f"{self._directory / str(damaged)} is damaged: {what}; step {step} is used in its place")
                return step
            faults[step] = wrong
        raise CheckpointError(self._none_valid(faults) if faults else f"{self._directory}: no checkpoint here")

    def _none_valid(self, faults: Mapping[int, str]) -> str:
        told = [f"{self._directory / str(step)} is damaged: {wrong}" for step, wrong in faults.items()]
        return f"{'; '.join(told)}; no other checkpoint is there"

    def _checked(self, step: int) -> Path:
        """The folder of a step that is not damaged."""
        folder = self._directory / str(step)
        if self._writes and step not in self._verified and (wrong := self._fault(step)):
            raise CheckpointError(f"{folder} is damaged: {wrong}")
        self._verified.add(step)
        return folder

    def _fault(self, step: int) -> str:
        """What is wrong with the files of a step, in a clause; "" if nothing is."""
        folder = self._directory / str(step)
        listed = (folder / manifest.NAME).exists()
        if listed and (wrong := manifest.fault(folder)):
            return wrong
        try:
            text = _read_meta(folder)
        except CheckpointError as error:
            return str(error).removeprefix(f"{folder}/")
        # Older formats had none; what a newer one has instead is for its own version to judge.
        if not listed and text["format"] == FORMAT:
            return f"{manifest.NAME} is missing"
        # A copy under another number would be gone on from at one step and saved at another.
        return "" if text.get("step", step) == step else "meta/metadata is that of another step"

    def _aside(self, step: int) -> Path:
        names = (f"{step}.damaged{f'-{number}' if number else ''}" for number in range(1_000_000))
        return next(path for path in map(self._directory.joinpath, names) if not os.path.lexists(path))

    def _save(self, step: int, arrays: dict[str, jax.Array], meta: Meta) -> None:
        weights = {name: array for name, array in arrays.items() if _is_weight(name)}
        training = {name: array for name, array in arrays.items() if name not in weights}
        text = {
            "format": FORMAT,
            "step": step,
            "experiment": to_dict(meta.experiment),
            "position": dict(meta.position),
            "evaluation_due": meta.evaluation_due,
            "versions": {"trm_jax": VERSION, "jax": jax.__version__, "orbax": ocp.__version__, "numpy": np.__version__},
        }
        items: dict[str, Any] = {"weights": ocp.args.StandardSave(weights), "meta": ocp.args.JsonSave(text)}
        if training:
            items["training"] = ocp.args.StandardSave(training)
        try:
            self._orbax.save(self._directory / f"{step}.saving", args=ocp.args.Composite(**items))
        except Exception as error:
            raise self._not_saved(step, error) from error
        self._newest = step
        self._under_way = self._thread.submit(self._publish, step)

    def _publish(self, step: int) -> None:
        """Waits for Orbax, writes the manifest, and only then gives the step its name; then deletes the oldest."""
        saving = self._directory / f"{step}.saving"
        try:
            self._orbax.wait_until_finished()
            if not self._writes:
                return
            manifest.write(saving)
            saving.rename(self._directory / str(step))
            sync(self._directory)
            self._delete_old()
        except Exception as error:  # whatever Orbax and storage raise, this step is not saved
            raise self._not_saved(step, error) from error

    def _delete_old(self) -> None:
        for old in self.steps[: -self._keep]:
            if not (self._directory / f"{old}.keep").exists():
                deleted = self._directory / f"{old}.deleted"
                # Renamed first, so that a kill leaves no half step in the list.
                (self._directory / str(old)).rename(deleted)
                _remove(deleted)

    def _not_saved(self, step: int, error: Exception) -> StorageError:
        left = self._what_is_left()
        return StorageError(f"{self._directory}: step {step} could not be saved ({_reason(error)}); {left}")

    def _what_is_left(self) -> str:
        if (latest := self.latest) is None:
            return "no step is there: mend that, and the same command begins again"
        return f"step {latest} is the last one saved: mend that, and the same command goes on from there"

    def _restore(self, folder: Path, like: dict[str, Any]) -> dict[str, jax.Array]:
        """The named arrays of a step, after checking that they have the names, shapes and dtypes of `like`."""
        try:
            metadata = self._orbax.metadata(folder).item_metadata
        except Exception as error:  # whatever Orbax's JSON parser and storage raise, it is the files' fault
            raise CheckpointError(f"{folder} is damaged: {_first_line(error)}") from error
        found: dict[str, Any] = {}
        for item in ("weights", "training"):
            if metadata.get(item) is not None:
                found |= dict(metadata[item].items())
        alone = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = {n: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding or alone) for n, a in like.items()}
        zeros = {}
        if _read_meta(folder)["format"] < 4:
            zeros = {n: _zeros(shapes.pop(n)) for n in _SINCE_FORMAT_4 if n in shapes and n not in found}
        items = {
            "weights": [n for n in shapes if _is_weight(n)],
            "training": [n for n in shapes if not _is_weight(n)],
        }
        wrong = [f"{name} is missing" for name in shapes if name not in found]
        for name, array in shapes.items():
            if name in found and (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
                there = f"{found[name].dtype}{list(found[name].shape)}"
                wrong.append(f"{name} is {there}, expected {array.dtype}{list(array.shape)}")
        wrong += [f"{name} is unknown" for name in found if name not in shapes and items["training"]]
        if wrong:
            raise CheckpointError(f"{folder} does not fit the model: {'; '.join(wrong)}")
        requests = {
            item: ocp.args.StandardRestore({n: shapes[n] for n in names}) for item, names in items.items() if names
        }
        try:
            restored = self._orbax.restore(folder, args=ocp.args.Composite(**requests))
        except Exception as error:
            raise CheckpointError(f"{folder} is damaged: {_first_line(error)}") from error
        return zeros | {name: array for item in requests for name, array in restored[item].items()}


def load(path: Path, averaged: bool = True) -> tuple[Experiment, Weights]:
    """Weights for evaluation, from a working directory (its newest valid checkpoint) or one checkpoint's own directory.

    Args:
      path: e.g. runs/demo, or runs/demo/checkpoints/1000.
      averaged: the moving average (as the paper evaluates), or the weights as trained.

    Raises:
      CheckpointError: nothing there, damaged, or of an unknown format.
    """
    workdir, step = path, None
    if path.parent.name == FOLDER and _STEP.fullmatch(path.name):
        workdir, step = path.parent.parent, int(path.name)
    if not (workdir / FOLDER).is_dir():
        raise CheckpointError(
            f"{path}: no checkpoint here: give a folder that `trm train` or `trm convert` has written"
        )
    with Checkpoints(workdir) as checkpoints:
        experiment, weights, ema = checkpoints.restore_weights(step)
    return experiment, Weights(ema, weights.starts, weights.puzzle_table) if averaged else weights


def hush_late_writes() -> None:
    """For programs whose errors are one line: nothing is said of other writes, once a write of a checkpoint has failed.

    Orbax then closes the event loop to which TensorStore still wants to tell of them, and Python prints each attempt.
    """
    tell = sys.unraisablehook

    def tell_all_else(unraisable: "sys.UnraisableHookArgs") -> None:
        if not (isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"):
            tell(unraisable)

    sys.unraisablehook = tell_all_else
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)


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


def _read_meta(folder: Path) -> dict[str, Any]:
    """The JSON of a step: its format, a whole number, and whatever else."""
    path = folder / "meta" / "metadata"
    try:
        if path.exists() and not path.is_file():  # a pipe called so would keep us waiting
            raise ValueError("it is no file")
        with path.open("rb") as file:
            content = file.read(_LONGEST_META + 1)
        if len(content) > _LONGEST_META:
            raise ValueError(f"it has more than {_LONGEST_META} bytes")
        text = json.loads(content.decode())
        if not isinstance(text, dict) or type(text["format"]) is not int:
            raise ValueError("there is no format in it")
    except (OSError, ValueError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not ours: {_first_line(error)}") from error
    return text


def _meta_of(folder: Path) -> Meta:
    """What a step says of itself, in the terms of this version."""
    text = _read_meta(folder)
    number = text["format"]
    if number not in range(1, FORMAT + 1):
        raise CheckpointError(
            f"{folder} has format {number!s:.20}, this version reads 1 to {FORMAT}: use another version"
        )
    try:
        experiment = _from_format_1(text["experiment"]) if number == 1 else text["experiment"]
        position = text["position"]
        if number < 3 and position:
            position = {"epoch": position["epoch"] + 1, "place": 0, "offset": 0, "fingerprint": position["fingerprint"]}
        due, versions = text.get("evaluation_due", False), text.get("versions", {})
        if position != {} and not _is_position(position):
            raise ValueError("'position' is none")
        if type(due) is not bool or type(versions) is not dict or not all(type(v) is str for v in versions.values()):
            raise ValueError("'evaluation_due' or 'versions' is none")
        return Meta(experiment_from(experiment), position, due, versions)
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder} does not describe itself as ours do: {_first_line(error)}") from error


def _is_position(position: Any) -> bool:
    """Whether it is an order.Position, in numbers that int32 takes, with the fingerprint of the puzzles."""
    if type(position) is not dict or position.keys() != {*Position._fields, "fingerprint"}:
        return False
    numbers = [position[name] for name in Position._fields]
    return type(position["fingerprint"]) is str and all(type(n) is int and 0 <= n < 2**31 for n in numbers)


def _from_format_1(experiment: dict[str, Any]) -> dict[str, Any]:
    model = dict(experiment["model"])
    policy = "step" if model.pop("checkpoint", False) else "none"
    if model.get("gradient") == "last_step":
        model["gradient"] = "one_step"
    return experiment | {"model": model, "memory": {"policy": policy}}


def _zeros(like: jax.ShapeDtypeStruct) -> jax.Array:
    values = np.zeros(like.shape, like.dtype)
    return jax.make_array_from_callback(like.shape, like.sharding, lambda index: values[index])


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _reason(error: Exception) -> str:
    said = str(error)
    return next((text for text in map(os.strerror, _STORAGE_FAULTS) if text in said), _first_line(error))


def _first_line(error: BaseException) -> str:
    # A parser repeats what it has found in a damaged file.
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return printable(line[:400])
