"""all_config.yaml, which the original leaves beside its checkpoints: which model their weights belong to."""

import math
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from trm_jax.config import Experiment, ModelConfig
from trm_jax.errors import CheckpointError, ConfigError, first_line
from trm_jax.original.original import experiment_of

NAME = "all_config.yaml"

# Such a file has a kilobyte.
_LONGEST = 1 << 20
# The module that `arch.name` begins with, after its package -> kind of a recording.
_KINDS = {
    "trm": "trm",
    "trm_singlez": "singlez",
    "trm_hier6": "hier6",
    "hrm": "hrm",
    "transformers_baseline": "transformer",
}
# Values of the model that the file does not tell, or that no answer depends on; and those that attention alone has.
_FREE = {"vocab_size", "seq_len", "num_puzzles", "puzzle", "exploration"}
_OF_ATTENTION = {"heads", "rope_theta"}


def beside(file: Path) -> Path | None:
    """The all_config.yaml in a file's folder, if there is one."""
    path = file.parent / NAME
    return path if path.is_file() else None


def read(path: Path, vocab_size: int) -> Experiment:
    """The experiment that an all_config.yaml describes; sizes that nothing there tells are 0.

    Args:
      vocab_size: as the weights have it; together with the name of the data it tells the kind of puzzle.

    Raises:
      CheckpointError: it cannot be read, or describes no model of the original's.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ValueError(f"it has more than {_LONGEST} bytes")
        content = yaml.safe_load(text)  # builds plain values and nothing else
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise CheckpointError(f"{path}: not readable as YAML: {first_line(error)}") from None
    arch = content.get("arch") if isinstance(content, Mapping) else None
    if not isinstance(arch, Mapping) or not isinstance(arch.get("name"), str):
        raise CheckpointError(f"{path}: has no arch with a name: give --config, which says what model it is")
    module = arch["name"].partition("@")[0].rpartition(".")[2]
    if module not in _KINDS:
        known = ", ".join(_KINDS)
        raise CheckpointError(f"{path}: arch.name {arch['name']!r:.100} is none of {known}: give --config")
    flat = {**arch, "kind": _KINDS[module], "vocab_size": vocab_size, "seq_len": 0, "num_puzzle_identifiers": 0}
    try:
        experiment = experiment_of(flat)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"{path}: {first_line(error)}: give --config, which says what model it is") from None
    puzzle, seq_len = _puzzle(content, vocab_size)
    data = replace(experiment.data, puzzle=puzzle)
    return replace(experiment, data=data, model=replace(experiment.model, seq_len=seq_len))


def _puzzle(content: Mapping[str, Any], vocab_size: int) -> tuple[str, int]:
    """Kind of puzzle and number of cells, where the data's name and the number of tokens agree; "" and 0 elsewhere."""
    paths = content.get("data_paths", content.get("data_path", ""))
    name = str(paths)[:1_000].lower()
    side = vocab_size - 2
    if "sudoku" in name and side >= 4:
        return "sudoku", side * side
    if "arc" in name and vocab_size == 12:
        return "arc", 900
    if "maze" in name and vocab_size == 6:
        size = re.search(r"(\d{1,3})x(\d{1,3})", name)
        cells = int(size[1]) * int(size[2]) if size else 0
        return "maze", cells if math.isqrt(cells) ** 2 == cells else 0
    return "", 0


def differences(ours: ModelConfig, theirs: ModelConfig) -> list[str]:
    """Values of the model in which an experiment differs from the file, each with what it says there."""
    free = _FREE if theirs.mixer == "attention" else _FREE | _OF_ATTENTION | {"positions"}
    pairs = {field.name: (getattr(ours, field.name), getattr(theirs, field.name)) for field in fields(ModelConfig)}
    return [
        f"config.model.{name} = {here}, there {there}"
        for name, (here, there) in pairs.items()
        if name not in free and here != there
    ]
