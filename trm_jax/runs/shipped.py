"""The models that come with the package: `trm_jax/pretrained/NAME.safetensors`, and a card beside each, NAME.json.

A card says what the weights were trained on and how, by which command, in which time and on which machine; what they
reach, by which command; their SHA-256; and the licence. `trm models` prints it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from trm_jax.errors import CheckpointError
from trm_jax.runs.weights_file import SUFFIX


@dataclass(frozen=True)
class Card:
    """What is told of a model that ships.

    name: by which it is loaded.
    about: what it does, in one line.
    puzzle: kind and sizes.
    weights: how many; bytes: of the file.
    trained: how it came about, by short names such as "puzzles", "command", "machine".
    figures: what it reaches, each with the puzzles, how many they were, and the command.
    sha256: of the weights.
    licence: its name.
    """

    name: str
    about: str
    puzzle: str
    weights: int
    bytes: int
    trained: Mapping[str, str]
    figures: tuple[Mapping[str, str], ...]
    sha256: str
    licence: str


def names() -> list[str]:
    """Of the models that ship, in alphabetical order."""
    return sorted(path.stem for path in _folder().glob(f"*{SUFFIX}"))


def path_of(name: str) -> Path:
    """The file of a model that ships. Raises CheckpointError where there is none of that name."""
    if name not in names():
        raise CheckpointError(f"no model {name!r:.80} comes with this package: `trm models` lists those that do")
    return _folder() / f"{name}{SUFFIX}"


def card(name: str) -> Card:
    """The card of a model that ships. Raises CheckpointError where there is none of that name."""
    path = path_of(name)
    told: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return Card(name=name, bytes=path.stat().st_size, **told | {"figures": tuple(told["figures"])})


def _folder() -> Path:
    return Path(str(resources.files("trm_jax"))) / "pretrained"
