"""Is this the same model? Compares this implementation with recordings of the original's computation.

A recording is an .npz file with random weights, a batch, and what the public PyTorch code computed from them in float32
on a CPU: states, logits, q values, halting, losses, metrics and gradients (forward recordings), or whole optimiser
steps from recorded states (training recordings). Keys are described in docs/parity.md.
"""

import json
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError, TrmError, printable
from trm_jax.original import original
from trm_jax.original.reenact import Below, Reenactment, RunStep, Scenes

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
    """Runs every recording in a directory, prints the table, and returns whether all checks passed.

    Raises:
      DataError: no recordings there; or, once all the others are checked, one that is damaged or lacks a key.
    """
    paths = sorted(directory.glob("*.npz"))
    if not paths:
        raise DataError(f"{directory}: no recordings (*.npz) here: give the folder that holds them")
    print(f"{'recording':28}{'quantity':44}{'largest error':>14}{'tolerance':>11}  verdict", file=out)
    failed = total = 0
    unreadable: list[DataError] = []
    for path in paths:
        try:
            checks = check_recording(path)
        except DataError as error:
            unreadable.append(error)
            print(f"{path.stem:28}not readable: {error}", file=out, flush=True)
            continue
        for check in checks:
            total += 1
            failed += not check.passed
            verdict = "ok" if check.passed else f"FAIL {check.where}"
            print(
                f"{check.recording:28}{check.quantity:44}{check.error:14.2e}{check.tolerance:11.1e}  {verdict}",
                file=out,
                flush=True,
            )
    print(f"{len(paths)} recordings, {total} checks, {failed} failed", file=out)
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
                return list(_forward(path.stem, arrays, ours, tolerances))
            checks = list(_single_steps(path.stem, arrays, ours, tolerances, config))
            # Of the recorded runs only HRM's stays within rounding for all of its steps.
            return checks + (list(_whole_run(path.stem, arrays, ours, config)) if config["kind"] == "hrm" else [])
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


class _Scene:
    """One scene of a recording beside ours; makes checks of it."""

    def __init__(
        self, recording: str, label: str, recorded: Below, ours: Scenes, nudged: Callable[[], list[Scenes]]
    ) -> None:
        self._recording, self._label, self.recorded = recording, label, recorded
        self.ours, self._nudged = ours[label], lambda: [scenes[label] for scenes in nudged()]

    def largest(self, quantity: str, keys: Sequence[str], tolerance: float, measure: Measure | None = None) -> Check:
        """The largest distance of the keys' arrays; beyond the tolerance, against what rounding does to it."""
        measure = measure or _distance
        if not keys:
            raise KeyError(f"{self.recorded.prefix}... for {quantity}")
        errors = {key: measure(self._of_ours(key), self.recorded[key]) for key in keys}
        worst = max(errors, key=lambda key: np.inf if np.isnan(errors[key]) else errors[key])
        if errors[worst] > tolerance:
            moved = max(measure(self.ours[key], nudged[key]) for nudged in self._nudged() for key in errors)
            tolerance = max(tolerance, min(ROUNDING * moved, MOST * tolerance))
        return self._check(quantity, errors[worst], tolerance, worst)

    def share(self, quantity: str, keys: Iterable[str], tolerance: float, allowed: float, source: str = "") -> Check:
        """The share of entries that are further apart than the tolerance; ours under `source` in the keys' place."""
        beyond = [
            ~(
                np.abs(
                    np.asarray(self._of_ours(key.replace("params/", source, 1) if source else key)) - self.recorded[key]
                )
                <= tolerance
            )
            for key in keys
        ]
        share = float(np.concatenate([entries.ravel() for entries in beyond]).mean())
        return self._check(f"{quantity}, share beyond {tolerance:.0e}", share, allowed)

    def equal(self, quantity: str, keys: Iterable[str]) -> Check:
        """How many of the keys' arrays are not exactly equal."""
        unequal = [key for key in keys if not np.array_equal(self._of_ours(key), self.recorded[key])]
        return self._check(quantity, len(unequal), 0, ", ".join(unequal))

    def below(self, prefix: str) -> list[str]:
        """The recorded keys with a prefix; the recording says what is compared."""
        return [key for key in self.recorded if key.startswith(prefix)]

    def _of_ours(self, key: str) -> Any:
        if key not in self.ours:
            raise DataError(f"the recording holds {key}, which the model of its configuration does not have")
        return self.ours[key]

    def _check(self, quantity: str, error: float, tolerance: float, where: str = "") -> Check:
        return Check(self._recording, f"{self._label}: {quantity}", error, tolerance, where)


def _forward(name: str, arrays: Mapping[str, Any], ours: Reenactment, tolerances: Tolerances) -> Iterator[Check]:
    """Evaluation steps one after another, then gradients of the first two training steps."""
    if not ours.evaluation_steps:
        raise KeyError("eval/0/logits")
    scenes, nudged = ours.forward(), cache(lambda: [ours.forward(nudge) for nudge in range(1, NUDGES + 1)])
    for s in range(ours.evaluation_steps):
        scene = _Scene(name, f"evaluation {s + 1}", Below(arrays, f"eval/{s}/"), scenes, nudged)
        if states := scene.below("carry/"):
            yield scene.largest("states", states, tolerances.states[min(s, 1)])
        counts = [f"metrics/{count}" for count in COUNTS]
        if s < 2:
            yield scene.largest("logits", ["logits"], tolerances.states[s])
            yield scene.largest("q", ["q_halt", "q_continue"], tolerances.q[s])
            yield _loss(scene, tolerances.loss[s])
        elif tolerances.later_logits is not None:
            yield scene.largest("logits", ["logits"], tolerances.later_logits)
            tokens = (np.argmax(logits, axis=-1) for logits in (scene.ours["logits"], scene.recorded["logits"]))
            yield Check(name, f"evaluation {s + 1}: predicted tokens", float(not np.array_equal(*tokens)), 0, "logits")
        else:
            counts = []
        yield scene.equal("halted, steps, counts", ["halted", "steps", *counts])
    for s in range(2):
        scene = _Scene(name, f"training {s + 1}", Below(arrays, f"grad/{s}/"), scenes, nudged)
        yield _loss(scene, tolerances.loss[s])
        yield scene.equal("counts", [f"metrics/{count}" for count in COUNTS])
        rows = ["puzzle_emb_rows"] if scene.ours["puzzle_emb_rows"] is not None else []
        yield scene.largest("gradients", scene.below("params/") + rows, tolerances.gradients[s])


def _single_steps(
    name: str, arrays: Mapping[str, Any], ours: Reenactment, tolerances: Tolerances, config: Mapping[str, Any]
) -> Iterator[Check]:
    """One optimiser step from each recorded state."""
    scenes, nudged = ours.single_steps(), cache(lambda: [ours.single_steps(nudge) for nudge in range(1, NUDGES + 1)])
    for label in scenes:
        t = int(label.partition(",")[0].removeprefix("step "))
        recorded = Below(arrays, f"after/{t}/")
        recorded.update({key: values[t - 1] for key, values in Below(arrays, "rows/").items()})
        scene = _Scene(name, label, recorded, scenes, nudged)
        table = [key for key in scene.below("params/") if key == f"params/{original.TABLE}"]
        weights = [key for key in scene.below("params/") if key not in table]
        # An average too many or too few is told by name, below.
        averages = [key for key in scene.below("ema/") if key in scene.ours]
        if t == 1:
            yield scene.share("weights", weights, tolerances.weights, FLIPPED_WEIGHTS)
            yield scene.share("averages", averages, tolerances.ema, FLIPPED_WEIGHTS)
        else:
            yield scene.largest("weights", weights, tolerances.weights)
            yield scene.largest("averages", averages, tolerances.ema)
        if label == f"step {t}":
            alone = ours.update_alone(t)
            roundings = {key: _roundings(array, recorded[key]) for key, array in alone.items()}
            if roundings:
                where = max(roundings, key=roundings.__getitem__)
                yield Check(name, f"{label}: update alone, in roundings", roundings[where], UPDATE_ROUNDINGS, where)
        expected = {
            key for key in scene.ours if key.startswith("ema/") and key.replace("ema/", "params/", 1) in weights
        }
        differing = sorted(expected ^ set(scene.below("ema/")))
        yield Check(name, f"{label}: which tensors are averaged", len(differing), 0, ", ".join(differing))
        if table:
            yield scene.share("puzzle table", table, tolerances.weights, FLIPPED_TABLE)
            yield scene.share("puzzle table in evaluation", table, tolerances.weights, FLIPPED_TABLE, "evaluation/")
        yield scene.largest("m, relative", scene.below("m/"), tolerances.moments, _relative(5e-9))
        yield scene.largest("v, relative", scene.below("v/"), tolerances.moments, _relative(1e-12))
        yield scene.largest("states", scene.below("carry/z_"), tolerances.states[0])
        yield scene.largest("q", ["q_halt"], tolerances.q[0])
        yield _loss(scene, tolerances.loss[0])
        yield scene.largest("learning rate", ["lr"], 1e-6 * config["lr"])
        data = [f"carry/data/{field}" for field in ("inputs", "labels", "puzzle_identifiers")]
        counts = [f"metrics/{count}" for count in COUNTS]
        yield scene.equal("halted, steps, counts, carried puzzles", [*data, "halted", "steps", *counts])


def _whole_run(name: str, arrays: Mapping[str, Any], ours: Reenactment, config: Mapping[str, Any]) -> Iterator[Check]:
    """All optimiser steps in a row. Carried out in float64, the steps of a recorded run leave its q by 7e-5 within 24.

    Beside the run we make nudged ones: how far these have moved tells what rounding can do by each step. From the step
    on at which one of them halts otherwise, and so solves other puzzles, there is nothing left to compare.
    """
    rows = Below(arrays, "rows/")

    def alike(performances: tuple[RunStep, ...]) -> bool:
        return all(np.array_equal(performances[0].halted, other.halted) for other in performances)

    worst: dict[str, Check] = {}
    moved = {"weights": 0.0, "q and loss": 0.0}
    otherwise, beyond = [], [np.zeros(0, np.bool_)]
    runs = (ours.whole_run(nudge) for nudge in range(NUDGES + 1))
    for t, (mine, *others) in enumerate(takewhile(alike, zip(*runs, strict=True)), start=1):
        # what -> (ours, nudged ones, recorded)
        compared: dict[str, list[tuple[Any, list[Any], Any]]] = {
            "q and loss": [
                (mine.q_halt, [other.q_halt for other in others], rows["q_halt"][t - 1]),
                (mine.loss, [other.loss for other in others], rows["loss"][t - 1]),
            ]
        }
        if t in config["snapshots"]:
            recorded = Below(arrays, f"after/{t}/params/")
            if original.TABLE in recorded:
                difference = np.abs(mine.weights[original.TABLE] - recorded.pop(original.TABLE))
                beyond.append(~(difference <= CHAINED_WEIGHTS).ravel())
            compared["weights"] = [
                (mine.weights[key], [other.weights[key] for other in others], array) for key, array in recorded.items()
            ]
        for what, entries in compared.items():
            moved[what] = max([moved[what], *(_distance(a, b) for a, nudged, _ in entries for b in nudged)])
            error = max(_distance(a, b) for a, _, b in entries)
            fixed = CHAINED_WEIGHTS if what == "weights" else CHAINED_LOSS
            check = Check(name, f"whole run: {what}", error, max(fixed, ROUNDING * moved[what]), f"step {t}")
            # Kept is the step at which error and tolerance come closest; nan comes closer than any number.
            if what not in worst or not check.error / check.tolerance <= worst[what].error / worst[what].tolerance:
                worst[what] = check
        if not (
            np.array_equal(mine.halted, rows["halted"][t - 1]) and np.array_equal(mine.steps, rows["steps"][t - 1])
        ):
            otherwise.append(f"step {t}")
    yield from worst.values()
    if sum(map(len, beyond)):
        share = float(np.concatenate(beyond).mean())
        quantity = f"whole run: puzzle table, share beyond {CHAINED_WEIGHTS:.0e}"
        yield Check(name, quantity, share, FLIPPED_TABLE)
    yield Check(name, "whole run: halted and steps of every step", len(otherwise), 0, ", ".join(otherwise))


def _loss(scene: _Scene, tolerance: float) -> Check:
    parts = [key for key in scene.ours if key.startswith("metrics/") and key.endswith("_loss")]
    return scene.largest("loss, its parts, accuracy", ["loss", *parts, "metrics/accuracy"], tolerance)


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
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"{member.filename} has version {version} of the .npy format")
        shape, _, dtype = readers[version](file)
        if dtype.kind not in "biufU":
            raise ValueError(f"{member.filename} holds {dtype}, not numbers")
        if member.file_size != file.tell() + math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{member.filename} has {member.file_size} bytes, its header says otherwise")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return array
