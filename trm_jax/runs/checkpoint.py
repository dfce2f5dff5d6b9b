"""Checkpoints: everything that a run needs to go on as if it had never stopped.

One step is one folder, named by its number, which appears whole or not at all:
    weights           trained and averaged weights, start vectors, puzzle table: all that `trm eval` and `solve` read
    training          optimiser, carry, random state, step, sums of metrics not yet written
    meta              JSON: format, experiment, position in the data, versions
    manifest.sha256   of every file; a step is used only if all of them are what was written
Arrays are kept by Orbax, under flat names such as `weights.params.latent_net.block_0.feed_forward.down.kernel`, so that
a mismatch can be told by name.
"""

import errno
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from trm_jax.config import Experiment
from trm_jax.data.disk import as_path
from trm_jax.errors import CheckpointError, StorageError, first_line, together
from trm_jax.model.finite import not_finite
from trm_jax.model.model import Model, Params, Weights
from trm_jax.runs.leaks import stop_leaks
from trm_jax.runs.meta import Meta, meta_to_json, read_json, read_meta
from trm_jax.runs.named_arrays import flat, unflat
from trm_jax.runs.step_folders import StepFolders, step_of
from trm_jax.sizes import format_bytes
from trm_jax.training.step import TrainState

FOLDER = "checkpoints"
# In it, the weights that solved the most held-out puzzles, as a step of its own.
BEST = "best"

# Arrays that older formats lack, and that were zero all the time.
_SINCE_FORMAT_4 = ("state.skipped_in_a_row", "totals.skipped", "totals.loss_not_finite")

# What an operating system says of a disk, as text, since it comes wrapped in pages of Orbax's or TensorStore's.
_STORAGE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.ENOENT, errno.ESTALE)

# What goes wrong while saving is told by us, in one line.
logging.getLogger("absl").setLevel(logging.CRITICAL)
stop_leaks()


class Checkpoints(AbstractContextManager["Checkpoints"]):
    """The checkpoints of one working directory. A context manager: leaving it waits for saves under way.

    Several processes make the same calls; one of them, which `writes`, names, deletes and judges folders.
    """

    def __init__(self, workdir: Path, keep: int = 2, writes: bool = True, best: bool = False) -> None:
        """best: not the run's steps, but the weights that are kept in checkpoints/best."""
        folder = workdir / FOLDER / BEST if best else workdir / FOLDER
        self._directory, self._keep, self._writes, self._best = folder.absolute(), keep, writes, best
        self._folders = StepFolders(self._directory, keep, writes)
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
        # Whatever else could not be written, what is to be gone on from is here, unless these are the best weights.
        if isinstance(error, StorageError) and not self._best and not str(error).startswith(f"{self._directory}:"):
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
        return self._folders.steps

    @property
    def latest(self) -> int | None:
        """The newest step on disk, or None."""
        return max(self.steps, default=None)

    def recover(self) -> None:
        """Makes the newest step a valid one, and removes what killed processes left (`StepFolders.recover`).

        Raises:
          CheckpointError: there are steps, and none is valid; all are left as they are.
        """
        self._folders.recover()

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
        self._save(step, jax.tree.map(jnp.copy, flat({"state": state, "totals": dict(totals)})), meta)

    def save_weights(self, weights: Weights, meta: Meta) -> None:
        """Saves weights alone, as step 0, the average equal to the weights: what `trm convert` writes."""
        if self.steps:
            raise CheckpointError(f"{self._directory} holds checkpoints already: give another folder")
        self._save(0, flat({"state": {"weights": weights, "ema": weights.params}}), meta)
        self.wait()

    def replace_weights(self, step: int, state: TrainState, meta: Meta) -> None:
        """Saves a state's weights and their average in place of what is here; returns when they are on disk."""
        if self._writes:
            self._folders.remove_leftovers()
            for old in self.steps:
                if old >= step:  # of a run that was cut after this step, and has come here again
                    self._folders.delete(old)
        self._save(step, jax.tree.map(jnp.copy, flat({"state": {"weights": state.weights, "ema": state.ema}})), meta)
        self.wait()

    def hold(self, until: int) -> int | None:
        """The newest step up to `until`, which from now on is never deleted; None where there is none.

        Waits for a save under way, and raises what `wait` does.
        """
        self.wait()
        step = max((step for step in self.steps if step <= until), default=None)
        if step is not None:
            self._folders.hold(step)
        return step

    def latest_meta(self) -> Meta | None:
        """What the newest checkpoint says of itself; None where there is none. Reads no arrays.

        Raises:
          CheckpointError: it is damaged (`recover` sets such ones aside), or of a newer format.
        """
        return None if self.latest is None else read_meta(self._folders.checked(self.latest))

    def meta_of(self, step: int | None) -> Meta:
        """What the checkpoint of a step, or the newest, says of itself, whether or not it is whole.

        Raises:
          CheckpointError: it is not there, or cannot be read.
        """
        return read_meta(self._folders.of(max(self.steps, default=0) if step is None else step))

    def restore(self, like: TrainState, totals: Mapping[str, jax.Array]) -> tuple[TrainState, dict[str, jax.Array]]:
        """The arrays of the newest checkpoint, in the structure and shapes of `like` and `totals`.

        Where these are arrays, or shapes with a sharding, each array lands where its model lies, however many devices
        have written it.

        Raises:
          CheckpointError: there is none; it is damaged; it holds weights only, or arrays of other names, shapes or
            dtypes (by name; of many, the first).
        """
        step = self.latest
        if step is None:
            raise CheckpointError(f"{self._directory}: no checkpoint here")
        folder = self._folders.checked(step)
        if not (folder / "training").is_dir():
            raise CheckpointError(f"{folder} holds weights without a training state: evaluate it, or train elsewhere")
        tree = {"state": like, "totals": dict(totals)}
        restored = unflat(tree, self._restore(folder, flat(tree)))
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
            step = self._folders.newest_valid()
            try:
                return self._weights_of(step)
            except CheckpointError:
                # A run that is on deletes old steps, also while we read them; there are newer ones then.
                if self._folders.of(step).exists():
                    raise

    def _weights_of(self, step: int) -> tuple[Experiment, Weights, Params]:
        folder = self._folders.checked(step)
        experiment = read_meta(folder).experiment
        try:
            like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
        except Exception as error:  # whatever JAX says of sizes that no model has
            raise CheckpointError(f"{folder} describes no model that can be made: {first_line(error)}") from error
        tree = {"state": {"weights": like, "ema": like.params}}
        restored = unflat(tree, self._restore(folder, flat(tree)))["state"]
        return experiment, restored["weights"], restored["ema"]

    def _save(self, step: int, arrays: dict[str, jax.Array], meta: Meta) -> None:
        items: dict[str, Any] = {item: ocp.args.StandardSave(part) for item, part in _parts(arrays).items()}
        items["meta"] = ocp.args.JsonSave(meta_to_json(step, meta))
        try:
            self._orbax.save(self._folders.saving(step), args=ocp.args.Composite(**items))
        except Exception as error:
            raise self._not_saved(step, error) from error
        self._newest = step
        self._under_way = self._thread.submit(self._publish, step)

    def _publish(self, step: int) -> None:
        """Waits for Orbax, and only then gives the step its name."""
        try:
            self._orbax.wait_until_finished()
            if self._writes:
                self._folders.publish(step)
        except Exception as error:  # whatever Orbax and storage raise, this step is not saved
            raise self._not_saved(step, error) from error

    def _not_saved(self, step: int, error: Exception) -> StorageError:
        left = "" if self._best else f"; {self._what_is_left()}"
        return StorageError(f"{self._directory}: step {step} could not be saved ({_reason(error)}){left}")

    def _what_is_left(self) -> str:
        if (latest := self.latest) is None:
            return "no step is there: mend that, and the same command begins again"
        return f"step {latest} is the last one saved: mend that, and the same command goes on from there"

    def _restore(self, folder: Path, like: dict[str, Any]) -> dict[str, jax.Array]:
        """The named arrays of a step, after checking that they have the names, shapes and dtypes of `like`."""
        try:
            metadata = self._orbax.metadata(folder).item_metadata
        except Exception as error:  # whatever Orbax's JSON parser and storage raise, it is the files' fault
            raise CheckpointError(f"{folder} is damaged: {first_line(error)}") from error
        found: dict[str, Any] = {}
        for item in ("weights", "training"):
            if metadata.get(item) is not None:
                found |= dict(metadata[item].items())
        alone = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shapes = {n: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding or alone) for n, a in like.items()}
        zeros = {}
        if read_json(folder)["format"] < 4:
            for name in _SINCE_FORMAT_4:
                if name in shapes and name not in found:
                    absent = shapes.pop(name)
                    zeros[name] = jnp.zeros(absent.shape, absent.dtype, device=absent.sharding)
        parts = _parts(shapes)
        wrong = [f"{name} is missing" for name in shapes if name not in found]
        for name, array in shapes.items():
            if name in found and (found[name].shape, found[name].dtype) != (array.shape, array.dtype):
                there = f"{found[name].dtype}{list(found[name].shape)}"
                wrong.append(f"{name} is {there}, expected {array.dtype}{list(array.shape)}")
        wrong += [f"{name} is unknown" for name in found if name not in shapes and "training" in parts]
        if wrong:
            raise CheckpointError(f"{folder} does not fit the model: {together(wrong)}")
        requests = {item: ocp.args.StandardRestore(part) for item, part in parts.items()}
        try:
            restored = self._orbax.restore(folder, args=ocp.args.Composite(**requests))
        except Exception as error:
            raise CheckpointError(f"{folder} is damaged: {first_line(error)}") from error
        return zeros | {name: array for item in requests for name, array in restored[item].items()}


def load(path: str | os.PathLike[str], averaged: bool = True) -> tuple[Experiment, Weights]:
    """Weights for evaluation, from a working directory (its newest valid checkpoint) or one checkpoint's own directory.

    Args:
      path: e.g. "runs/demo", or "runs/demo/checkpoints/1000", or "runs/demo/checkpoints/best" for those that solved the
        most held-out puzzles; a str or a Path.
      averaged: the moving average (as the paper evaluates), or the weights as trained.

    Raises:
      CheckpointError: nothing there, damaged, of an unknown format, or weights that are NaN or infinite.
      ConfigError: what was given is no path.
    """
    workdir, step, best = _located(path)
    if not (workdir / FOLDER / BEST if best else workdir / FOLDER).is_dir():
        raise CheckpointError(
            f"{path}: no checkpoint here: give a folder that `trm train` or `trm convert` has written"
        )
    with Checkpoints(workdir, best=best) as checkpoints:
        experiment, weights, ema = checkpoints.restore_weights(step)
    wanted = Weights(ema, weights.starts, weights.puzzle_table) if averaged else weights
    if faults := not_finite(flat(wanted)):
        raise CheckpointError(
            f"{path}: weights that no model can use: {together(faults)}: name an earlier step, {workdir}/{FOLDER}/STEP"
        )
    return experiment, wanted


def meta(path: str | os.PathLike[str]) -> Meta | None:
    """What the checkpoint that `load` reads from a path says of itself; None where there is nothing to be read."""
    workdir, step, best = _located(path)
    with Checkpoints(workdir, best=best) as checkpoints, suppress(CheckpointError):
        return checkpoints.meta_of(step)
    return None


def workdir_of(path: str | os.PathLike[str]) -> Path:
    """The working directory of what `load` takes, whether it is one or one of its checkpoints."""
    return _located(path)[0]


def _located(path: str | os.PathLike[str]) -> tuple[Path, int | None, bool]:
    """The working directory, the step if one is named, and whether the best weights are."""
    workdir, step = as_path(path, "path"), None
    best = workdir.name == BEST and workdir.parent.name == FOLDER
    if best:
        workdir = workdir.parent.parent
    if workdir.parent.name == FOLDER and (named := step_of(workdir.name)) is not None:
        workdir, step = workdir.parent.parent, named
    return workdir, step, best


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


def _parts(arrays: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The named arrays by the item of a checkpoint to which they belong."""
    parts: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        item = "weights" if name.startswith(("state.weights.", "state.ema.")) else "training"
        parts.setdefault(item, {})[name] = array
    return parts


def _reason(error: Exception) -> str:
    said = str(error)
    return next((text for text in map(os.strerror, _STORAGE_FAULTS) if text in said), first_line(error))
