"""Is this the same model? Compares this implementation with recordings of the original's computation.

A recording is an .npz file with random weights, a batch, and what the public PyTorch code computed from them in float32
on a CPU: states, logits, q values, halting, losses, metrics and gradients (forward recordings), or whole optimiser
steps from recorded states (training recordings). Keys are described in docs/parity.md.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from numpy.typing import NDArray

from trm_jax.console import say
from trm_jax.errors import DataError, TrmError, printable
from trm_jax.original import original
from trm_jax.original.reenact import Reenactment, Scene
from trm_jax.sizes import counted

COUNTS = ["metrics/count", "metrics/exact_accuracy", "metrics/q_halt_accuracy", "metrics/steps"]
TABLE = f"params/{original.TABLE}"


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
# Where a quantity is beyond its tolerance, we look how far it moves if every weight starts one unit in the last place
# up or down, at the most of four such attempts: three times as far is allowed then, but never more than ten tolerances
# (in a whole run, where training amplifies rounding step by step, without that bound).
ROUNDING, MOST, NUDGES = 3, 10, 4
# The update alone is a few float32 operations on each weight w: so many roundings of 1e-7 + 2.4e-7 |w| are allowed.
UPDATE_ROUNDINGS = 1.2
# Bytes of a recording's arrays; those of the original's models at full width have a tenth of it.
_LARGEST = 1 << 30


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
    """Runs every recording in a directory, prints the verdict and the table, and returns whether all checks passed.

    Raises:
      DataError: no recordings there; or, once all the others are checked, one that is damaged or lacks a key.
    """
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        there = "no recordings (*.npz) here" if directory.is_dir() else "no such folder"
        raise DataError(f"{directory}: {there}: give the folder that holds them")
    rows = [f"{'recording':28}{'quantity':44}{'largest error':>14}{'tolerance':>11}  verdict"]
    failed = total = 0
    unreadable: list[DataError] = []
    for number, path in enumerate(paths, 1):
        say(f"recording {number}/{len(paths)}: {path.stem}")
        try:
            checks = check_recording(path)
        except DataError as error:
            unreadable.append(error)
            rows.append(f"{path.stem:28}not readable: {error}")
            continue
        for check in checks:
            total += 1
            failed += not check.passed
            verdict = "ok" if check.passed else f"FAIL {check.where}"
            rows.append(f"{check.recording:28}{check.quantity:44}{check.error:14.2e}{check.tolerance:11.1e}  {verdict}")
    found = f"{counted(len(paths), 'recording')}, {counted(total, 'check')}, {failed} failed"
    if unreadable:
        found += f", {len(unreadable)} not readable"
    verdict = "not checked whole" if unreadable else "not the same model" if failed else "the same model"
    print("\n".join([f"{verdict}: {found}", "", *rows]), file=out, flush=True)
    if unreadable:
        raise unreadable[0]
    return not failed


def check_recording(path: Path) -> list[Check]:
    """All checks of one recording, in the order of its steps. Raises DataError where it is damaged."""
    arrays = _load(path)
    try:
        config = _config(arrays)
        with jax.default_matmul_precision("highest"):
            ours = Reenactment(arrays, config)
            tolerances = MIXER if ours.experiment.model.mixer == "mlp" else Tolerances()
            if "steps" not in config:
                return list(_forward(path.stem, ours, tolerances))
            checks = list(_single_steps(path.stem, ours, tolerances))
            # Of the recorded runs only HRM's stays within rounding for all of its steps.
            return checks + (list(_whole_run(path.stem, ours)) if config["kind"] == "hrm" else [])
    except KeyError as error:
        raise DataError(f"{path}: the recording lacks the key {error}") from None
    except TrmError as error:
        raise DataError(f"{path}: {error}") from None
    # How NumPy and JAX tell of shapes and numbers that do not go together.
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise DataError(f"{path}: its arrays do not go with its configuration: {reason:.200}") from error


def _config(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The configuration of a recording, and in it what the recording itself is ordered by."""
    try:
        config = json.loads(str(arrays["config"]))
    except (ValueError, RecursionError) as error:
        raise DataError(f"key 'config' is not JSON: {error}") from None
    if not isinstance(config, dict):
        raise DataError("key 'config' holds no JSON object")
    if "steps" in config:
        steps, snapshots, batches = (config[key] for key in ("steps", "snapshots", "num_batches"))
        whole = isinstance(snapshots, list) and all(type(t) is int for t in (steps, batches, *snapshots))
        if not whole or batches < 1 or not all(1 <= t <= steps for t in snapshots):
            raise DataError("key 'config': steps, snapshots or num_batches are no whole numbers that go together")
    return config


# (ours, theirs) -> how far apart
Measure = Callable[[Any, Any], float]


@dataclass(frozen=True)
class _Beside:
    """Ours beside what is recorded of a scene; makes checks of it.

    nudged: all scenes again, as they come from nudged weights; this one is number `index` among them.
    """

    recording: str
    scene: Scene
    index: int
    nudged: Callable[[], list[list[Scene]]]

    def largest(self, quantity: str, keys: Sequence[str], tolerance: float, measure: Measure | None = None) -> Check:
        """The largest distance of the keys' arrays; beyond the tolerance, against what rounding does to it."""
        measure = measure or _distance
        if not keys:
            raise KeyError(f"{self.scene.recorded.prefix}... for {quantity}")
        errors = {key: measure(*self._both(key)) for key in keys}
        worst = max(errors, key=lambda key: np.inf if np.isnan(errors[key]) else errors[key])
        if errors[worst] > tolerance:
            others = [scenes[self.index].ours for scenes in self.nudged()]
            moved = max(measure(self.scene.ours[key], other[key]) for other in others for key in keys)
            tolerance = max(tolerance, min(ROUNDING * moved, MOST * tolerance))
        return self.check(quantity, errors[worst], tolerance, worst)

    def share(self, quantity: str, keys: Sequence[str], tolerance: float, allowed: float) -> Check:
        """The share of entries that are further apart than the tolerance."""
        share = np.concatenate([_beyond(*self._both(key), tolerance) for key in keys]).mean()
        return self.check(f"{quantity}, share beyond {tolerance:.0e}", float(share), allowed)

    def equal(self, quantity: str, keys: Sequence[str]) -> Check:
        """How many of the keys' arrays are not exactly equal."""
        unequal = [key for key in keys if not np.array_equal(*self._both(key))]
        return self.check(quantity, len(unequal), 0, ", ".join(unequal))

    def loss(self, tolerance: float) -> Check:
        """The total and all that it is made of."""
        parts = [key for key in self.scene.ours if key.startswith("metrics/") and key.endswith("_loss")]
        return self.largest("loss, its parts, accuracy", ["loss", *parts, "metrics/accuracy"], tolerance)

    def below(self, prefix: str) -> list[str]:
        """The recorded keys with a prefix; the recording says what is compared."""
        return [key for key in self.scene.recorded if key.startswith(prefix)]

    def check(self, quantity: str, error: float, tolerance: float, where: str = "") -> Check:
        """A row of the report about this scene."""
        return Check(self.recording, f"{self.scene.label}: {quantity}", error, tolerance, where)

    def _both(self, key: str) -> tuple[Any, Any]:
        """Ours and theirs."""
        if key not in self.scene.ours:
            raise DataError(f"the recording holds {key}, which the model of its configuration does not have")
        return self.scene.ours[key], self.scene.recorded[key]


def _beside(recording: str, perform: Callable[[int], list[Scene]]) -> Iterator[_Beside]:
    """Every scene of a performance, which takes the number of a nudge."""
    nudged = cache(lambda: [perform(nudge) for nudge in range(1, NUDGES + 1)])
    for index, scene in enumerate(perform(0)):
        yield _Beside(recording, scene, index, nudged)


def _forward(name: str, ours: Reenactment, tolerances: Tolerances) -> Iterator[Check]:
    """Evaluation steps one after another, then gradients of the first two training steps."""
    evaluated = False
    for beside in _beside(name, ours.evaluation):
        evaluated = True
        s, scene = beside.scene.number, beside.scene
        if states := beside.below("carry/"):
            yield beside.largest("states", states, tolerances.states[min(s, 1)])
        counts = COUNTS
        if s < 2:
            yield beside.largest("logits", ["logits"], tolerances.states[s])
            yield beside.largest("q", ["q_halt", "q_continue"], tolerances.q[s])
            yield beside.loss(tolerances.loss[s])
        elif tolerances.later_logits is not None:
            yield beside.largest("logits", ["logits"], tolerances.later_logits)
            found, known = (np.argmax(there["logits"], axis=-1) for there in (scene.ours, scene.recorded))
            yield beside.check("predicted tokens", float(not np.array_equal(found, known)), 0, "logits")
        else:
            counts = []
        yield beside.equal("halted, steps, counts", ["halted", "steps", *counts])
    if not evaluated:
        raise KeyError("eval/0/logits")
    for beside in _beside(name, ours.training):
        s = beside.scene.number
        yield beside.loss(tolerances.loss[s])
        yield beside.equal("counts", COUNTS)
        rows = ["puzzle_emb_rows"] if beside.scene.ours["puzzle_emb_rows"] is not None else []
        yield beside.largest("gradients", beside.below("params/") + rows, tolerances.gradients[s])


def _single_steps(name: str, ours: Reenactment, tolerances: Tolerances) -> Iterator[Check]:
    """One optimiser step from each recorded state."""
    for beside in _beside(name, ours.single_steps):
        scene = beside.scene
        weights = [key for key in beside.below("params/") if key != TABLE]
        # An average too many or too few is told by name, below.
        averages = [key for key in beside.below("ema/") if key in scene.ours]
        if scene.number == 1:
            yield beside.share("weights", weights, tolerances.weights, FLIPPED_WEIGHTS)
            yield beside.share("averages", averages, tolerances.ema, FLIPPED_WEIGHTS)
        else:
            yield beside.largest("weights", weights, tolerances.weights)
            yield beside.largest("averages", averages, tolerances.ema)
        if scene.label == f"step {scene.number}" and (alone := ours.update_alone(scene.number)):
            roundings = {key: _roundings(array, scene.recorded[key]) for key, array in alone.items()}
            where = max(roundings, key=roundings.__getitem__)
            yield beside.check("update alone, in roundings", roundings[where], UPDATE_ROUNDINGS, where)
        expected = {key for key in scene.ours if key.startswith("ema/") and f"params/{key[4:]}" in weights}
        differing = sorted(expected ^ set(beside.below("ema/")))
        yield beside.check("which tensors are averaged", len(differing), 0, ", ".join(differing))
        if TABLE in scene.recorded:
            yield beside.share("puzzle table", [TABLE], tolerances.weights, FLIPPED_TABLE)
            in_evaluation = {TABLE: scene.ours[f"evaluation/{original.TABLE}"]}
            evaluated = replace(beside, scene=scene._replace(ours=in_evaluation))
            yield evaluated.share("puzzle table in evaluation", [TABLE], tolerances.weights, FLIPPED_TABLE)
        yield beside.largest("m, relative", beside.below("m/"), tolerances.moments, _relative(5e-9))
        yield beside.largest("v, relative", beside.below("v/"), tolerances.moments, _relative(1e-12))
        yield beside.largest("states", beside.below("carry/z_"), tolerances.states[0])
        yield beside.largest("q", ["q_halt"], tolerances.q[0])
        yield beside.loss(tolerances.loss[0])
        yield beside.largest("learning rate", ["lr"], 1e-6 * ours.experiment.optim.learning_rate)
        data = [f"carry/data/{field}" for field in ("inputs", "labels", "puzzle_identifiers")]
        yield beside.equal("halted, steps, counts, carried puzzles", [*data, "halted", "steps", *COUNTS])


def _whole_run(name: str, ours: Reenactment) -> Iterator[Check]:
    """All optimiser steps in a row. Carried out in float64, the steps of a recorded run leave its q by 7e-5 within 24.

    Beside the run we make nudged ones: how far these have moved tells what rounding can do by each step. From the step
    on at which one of them halts otherwise, and so solves other puzzles, there is nothing left to compare.
    """

    def alike(scenes: tuple[Scene, ...]) -> bool:
        return all(np.array_equal(scenes[0].ours["halted"], other.ours["halted"]) for other in scenes)

    worst: dict[str, Check] = {}
    moved = {"weights": 0.0, "q and loss": 0.0}
    otherwise, beyond = [], []
    runs = (ours.whole_run(nudge) for nudge in range(NUDGES + 1))
    for (label, _, recorded, mine), *others in takewhile(alike, zip(*runs, strict=True)):
        weights = [key for key in recorded if key.startswith("params/") and key != TABLE]  # at snapshots
        compared = {"q and loss": (["q_halt", "loss"], CHAINED_LOSS), "weights": (weights, CHAINED_WEIGHTS)}
        for what, (keys, fixed) in compared.items():
            if not keys:
                continue
            error = max(_distance(mine[key], recorded[key]) for key in keys)
            moves = [_distance(mine[key], other.ours[key]) for other in others for key in keys]
            moved[what] = max(moved[what], *moves)
            check = Check(name, f"whole run: {what}", error, max(fixed, ROUNDING * moved[what]), label)
            # Kept is the step at which error and tolerance come closest; nan comes closer than any number.
            if what not in worst or not check.error / check.tolerance <= worst[what].error / worst[what].tolerance:
                worst[what] = check
        if TABLE in recorded:
            beyond.append(_beyond(mine[TABLE], recorded[TABLE], CHAINED_WEIGHTS))
        if not all(np.array_equal(mine[key], recorded[key]) for key in ("halted", "steps")):
            otherwise.append(label)
    yield from worst.values()
    if beyond:
        quantity = f"whole run: puzzle table, share beyond {CHAINED_WEIGHTS:.0e}"
        yield Check(name, quantity, float(np.concatenate(beyond).mean()), FLIPPED_TABLE)
    yield Check(name, "whole run: halted and steps of every step", len(otherwise), 0, ", ".join(otherwise))


def _beyond(ours: Any, theirs: Any, tolerance: float) -> NDArray[np.bool_]:
    """Which entries are further apart than the tolerance, or not numbers: bool, flat."""
    return ~(np.abs(np.asarray(ours) - theirs) <= tolerance).ravel()


def _distance(ours: Any, theirs: Any) -> float:
    """The largest absolute difference; nan where anything is not a number, or shapes differ."""
    if np.shape(ours) != np.shape(theirs):
        return float("nan")
    return float(np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)).max())


def _roundings(ours: Any, theirs: Any) -> float:
    """The largest distance of two weights, in roundings of an update."""
    return float((np.abs(np.float64(ours) - np.float64(theirs)) / (1e-7 + 2.4e-7 * np.abs(theirs))).max())


def _relative(floor: float) -> Measure:
    """Distance beyond a floor, relative to the largest entry."""
    return lambda ours, theirs: max(_distance(ours, theirs) - floor, 0.0) / max(float(np.abs(theirs).max()), 1e-30)


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a recording; each header is held against the archive's sizes before anything is made of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if (size := sum(member.file_size for member in members)) > _LARGEST:
                raise ValueError(f"it unfolds to {size} bytes, more than any recording has")
            arrays = {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
            if len(arrays) < len(members):
                raise ValueError("two arrays have one name")
            return arrays
    except Exception as error:  # zipfile and NumPy let through what their parsers raise on a damaged header
        # A parser repeats what it has found in a foreign file.
        reason = printable(str(error))[:200] or type(error).__name__
        raise DataError(f"{path}: not a readable recording (.npz): {reason}") from None


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """One array, of numbers or of text. Raises whatever a damaged archive makes of it."""
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"{member.filename} is longer than its header says")
    if array.dtype.kind not in "biufU":
        raise ValueError(f"{member.filename} holds {array.dtype}, not numbers")
    return array
