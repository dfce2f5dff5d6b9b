"""What a checkpoint says of itself besides arrays: JSON, `meta/metadata` in its folder, of this or an older format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from trm_jax.config import Experiment, experiment_from, to_dict
from trm_jax.config.mixers import UnknownMixer
from trm_jax.data.identifiers import Identifiers, is_identifiers
from trm_jax.data.kept_rules import Kept, is_kept
from trm_jax.data.order import Position
from trm_jax.errors import CheckpointError, ConfigError, first_line
from trm_jax.version import VERSION

# 2: config.model.checkpoint became config.memory.policy, and gradient = "last_step" became "one_step".
# 3: batches are drawn in another order, and their position counts groups.
# 4: every step has a manifest; steps that were skipped are counted.
# 5: what identifies the puzzle ids is kept; and which rules the puzzles have passed.
FORMAT = 5
MANIFEST_SINCE = 4

# It has a few kilobytes.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Meta:
    """What a checkpoint says of itself besides arrays.

    experiment: resolved, with the sizes that came from the data.
    position: where the next batch starts (order.Position as a mapping; of a run that an older version began, the next
      epoch) and the fingerprint of the puzzles; empty for converted weights.
    evaluation_due: the evaluation after this step was cut short; it comes before the next step.
    versions: of trm_jax and jax, by which it was written.
    identifiers: of the puzzles that it was trained on (data/identifiers.py); empty where they have no names.
    rules: which those puzzles have passed (data/kept_rules.py); None where their dataset keeps none.
    """

    experiment: Experiment
    position: Mapping[str, Any] = field(default_factory=dict)
    evaluation_due: bool = False
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    identifiers: Identifiers = field(default_factory=dict)
    rules: Kept | None = None


def meta_to_json(step: int, meta: Meta) -> dict[str, Any]:
    """What is written for the checkpoint of a step, by these versions."""
    return {
        "format": FORMAT,
        "step": step,
        "experiment": to_dict(meta.experiment),
        "position": dict(meta.position),
        "evaluation_due": meta.evaluation_due,
        "identifiers": dict(meta.identifiers),
        "rules": meta.rules and meta.rules._asdict(),
        "versions": {"trm_jax": VERSION, "jax": jax.__version__, "orbax": ocp.__version__, "numpy": np.__version__},
    }


def read_json(folder: Path) -> dict[str, Any]:
    """What was written for a checkpoint: its format, a whole number, and whatever else. Raises CheckpointError."""
    path = folder / "meta" / "metadata"
    try:
        if path.exists() and not path.is_file():  # a pipe called so would keep us waiting
            raise ValueError("it is no file")
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
        if len(content) > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} bytes")
        return with_format(content.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged or not ours: {first_line(error)}") from error


def with_format(content: str) -> dict[str, Any]:
    """JSON text that says of which format it is, a whole number. Raises ValueError or RecursionError."""
    text = json.loads(content)
    if not isinstance(text, dict) or type(text.get("format")) is not int:
        raise ValueError("there is no format in it")
    return text


def read_meta(folder: Path) -> Meta:
    """What a checkpoint says of itself, in the terms of this version.

    Raises:
      CheckpointError: it is damaged, or of a format that this version does not know.
    """
    return meta_from(read_json(folder), folder)


def meta_from(text: dict[str, Any], folder: Path) -> Meta:
    """What was written of a checkpoint, in the terms of this version; `folder` is where it comes from, for messages.

    Raises:
      CheckpointError: as `read_meta`.
    """
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
        identifiers = text.get("identifiers", {})
        if not is_identifiers(identifiers):
            raise ValueError("'identifiers' is none")
        rules = text.get("rules")
        if rules is not None and not is_kept(rules):
            raise ValueError("'rules' are none")
        kept = Kept(**rules) if rules is not None else None
        return Meta(experiment_from(experiment), position, due, versions, identifiers, kept)
    except UnknownMixer as error:
        raise CheckpointError(f"{folder}: {error}") from error
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise CheckpointError(f"{folder} does not describe itself as ours do: {first_line(error)}") from error


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
