"""A calibration on disk: a small file of JSON beside the weights that it is of, and of no others.

It holds the regression and its bounds (`inference.confidence.Confidence`), the SHA-256 of the weights, the kind of
puzzle, the puzzles, and how each was tried. A model in a folder has `calibration.json` there; one in a file, such as
those that ship, NAME.calibration.json beside it.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trm_jax.data.disk import as_path
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import CheckpointError, ConfigError, StorageError, first_line
from trm_jax.inference.confidence import SIGNALS, Bound, Confidence, Fit, Promise
from trm_jax.inference.effort import Effort
from trm_jax.model.model import Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.runs import checkpoint, shipped
from trm_jax.runs.named_arrays import fingerprint

NAME = "calibration.json"
FORMAT = 1
# A longer file is none of these.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Calibrated:
    """confidence: what was found.

    weights: SHA-256 of the weights.
    puzzle: the kind, as `Kind.to_dict` has it, and how many cells.
    how: each puzzle was tried, as `how_of` has it.
    puzzles: SHA-256 of the puzzles.
    """

    confidence: Confidence
    weights: str
    puzzle: Mapping[str, Any]
    how: Mapping[str, Any]
    puzzles: str

    @classmethod
    def of(
        cls, confidence: Confidence, weights: Weights, kind: Kind, how: Mapping[str, Any], puzzles: PuzzleSet
    ) -> "Calibrated":
        """What was found with some weights on some puzzles."""
        return cls(confidence, fingerprint(weights), puzzle_of(kind), how, puzzles.fingerprint)


def how_of(effort: Effort, rule: str) -> dict[str, Any]:
    """What has to be the same for a calibration to hold; the names are those of the options of `trm solve`."""
    names = ("attempts", "start_noise", "latent_noise", "symmetries", "halting", "halt_above")
    select = rule if effort.attempts > 1 else ""
    return {"steps": effort.steps} | {name: getattr(effort, name) for name in names} | {"select": select}


def puzzle_of(kind: Kind) -> dict[str, Any]:
    """A kind of puzzle and its size."""
    found: dict[str, Any] = json.loads(json.dumps(kind.to_dict() | {"cells": kind.cells}))
    return found


def place(source: str | os.PathLike[str]) -> Path:
    """Where the calibration of a model lies that `sources.load` finds."""
    path = as_path(source, "path")
    if not path.exists() and path.name in shipped.names():
        path = shipped.path_of(path.name)
    if path.is_file():
        return path.with_name(f"{path.stem}.{NAME}")
    return checkpoint.workdir_of(path) / NAME


def write(path: Path, found: Calibrated) -> None:
    """Writes it, whole or not at all, over what was there. Raises StorageError: it cannot be written."""
    confidence = asdict(found.confidence) | {"bounds": [bound._asdict() for bound in found.confidence.bounds]}
    told = {
        "format": FORMAT,
        "weights_sha256": found.weights,
        "puzzle": dict(found.puzzle),
        "puzzles_sha256": found.puzzles,
        "how": dict(found.how),
        "confidence": confidence,
    }
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(json.dumps(told, indent=1) + "\n")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None


def read(path: Path) -> Calibrated:
    """Raises CheckpointError: no such file, or none that `write` has written."""
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no calibration there: make one with `trm calibrate`") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        told = json.loads(content)
        version = told["format"]
        if version != FORMAT:
            raise ValueError(f"format {version!r:.20}, and this version reads {FORMAT}")
        texts = {name: told[name] for name in ("weights_sha256", "puzzles_sha256")}
        if not all(type(text) is str for text in texts.values()):
            raise ValueError("a hash is no text")
        if not all(isinstance(told[name], dict) for name in ("puzzle", "how")):
            raise ValueError("it does not say of which puzzles, or how these were tried")
        confidence = _confidence(told["confidence"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(f"{path}: no calibration that can be read: {reason}: make it again") from None
    return Calibrated(confidence, texts["weights_sha256"], told["puzzle"], told["how"], texts["puzzles_sha256"])


def check(where: str, found: Calibrated, weights: Weights, kind: Kind, how: Mapping[str, Any]) -> Confidence:
    """The confidence, if it is one in answers like these; where: it was read, for messages.

    Raises:
      CheckpointError: it is of other weights.
      ConfigError: of another kind or size of puzzle, or of puzzles that were tried otherwise.
    """
    if fingerprint(weights) != found.weights:
        raise CheckpointError(f"{where}: a calibration of other weights than these: make it again with `trm calibrate`")
    if puzzle_of(kind) != found.puzzle:
        raise ConfigError(
            f"{where}: calibrated on puzzles of kind {_told(found.puzzle)}, and these are {_told(puzzle_of(kind))}"
        )
    differing = [name for name, value in found.how.items() if how.get(name) != value]
    if differing or set(how) != set(found.how):
        values = ", ".join(f"{name} {found.how[name]!r} and not {how.get(name)!r}" for name in differing)
        raise ConfigError(f"{where}: calibrated with {values}: ask in the same way, or calibrate again")
    return found.confidence


def promise_of(
    source: str | os.PathLike[str],
    found: Path | Calibrated | None,
    weights: Weights,
    kind: Kind,
    effort: Effort,
    rule: str,
    confidence: float,
) -> Promise:
    """Which answers are right as often as `confidence`, by a calibration.

    Args:
      source, weights: a model, and where it comes from.
      found: the calibration, or its file; None: the file where `place` says.
      kind, effort, rule: of the puzzles, and how they are tried.

    Raises:
      CheckpointError: there is none, or it is of other weights.
      ConfigError: it is of other puzzles or another effort, or does not keep this promise.
    """
    if isinstance(found, Calibrated):
        where = "confidence"
    elif found is None and not str(source):
        raise ConfigError(f"confidence {confidence:g}: this model was never calibrated: call calibrate() first")
    else:
        where, found = str(path := found or place(source)), read(path)
    return check(where, found, weights, kind, how_of(effort, rule)).promise(confidence)


def _told(puzzle: Mapping[str, Any]) -> str:
    return f"{puzzle.get('kind')!r:.40} of {puzzle.get('cells')} cells"


def _confidence(told: Any) -> Confidence:
    """Raises ValueError, KeyError or TypeError for what is none."""
    whole, alone = _fit(told["fit"]), tuple(_fit(each) for each in told["alone"])
    names = whole.names
    if names not in (SIGNALS, SIGNALS[:-1]) or [each.names for each in alone] != [(name,) for name in names]:
        raise ValueError("signals that this version does not know")
    bounds = tuple(
        Bound(_number(each["threshold"]), _count(each["answered"]), _count(each["wrong"]), _share(each["most_wrong"]))
        for each in told["bounds"]
    )
    if not bounds:
        raise ValueError("it has no bounds")
    return Confidence(whole, alone, bounds, _share(told["delta"]), _count(told["fitted"]), _count(told["bounded"]))


def _fit(told: Any) -> Fit:
    names = tuple(told["names"])
    mean, scale, weights = (_numbers(told[name]) for name in ("mean", "scale", "weights"))
    if any(len(each) != len(names) for each in (mean, scale, weights)) or min(scale) <= 0:
        raise ValueError("a regression whose lists do not fit each other")
    return Fit(names, mean, scale, weights, _number(told["bias"]))


def _numbers(values: Any) -> tuple[float, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{values!r:.40} is no list of numbers")
    return tuple(map(_number, values))


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40} is no number")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _share(value: Any) -> float:
    if not 0 <= (share := _number(value)) <= 1:
        raise ValueError(f"{value!r:.40} is no share")
    return share
