"""Where a model comes from: a working directory, one checkpoint in it, a file, or the name of one that ships."""

import os
from types import MappingProxyType
from typing import NamedTuple

from trm_jax.config import Experiment
from trm_jax.data.disk import as_path
from trm_jax.data.identifiers import Identifiers
from trm_jax.data.kept_rules import Kept
from trm_jax.errors import CheckpointError, near_miss
from trm_jax.model.model import Weights
from trm_jax.runs import checkpoint, shipped, weights_file


class TrainedOn(NamedTuple):
    """What a model keeps of the puzzles of its training, as `Meta` has it: names of their ids, and their rules."""

    identifiers: Identifiers = MappingProxyType({})
    rules: Kept | None = None


NOTHING_KNOWN = TrainedOn()


def trained_on(source: str | os.PathLike[str]) -> TrainedOn:
    """Of the model that `load` finds. Files keep nothing of it, since they travel."""
    path = as_path(source, "path")
    meta = checkpoint.meta(path) if path.is_dir() else None
    return TrainedOn(meta.identifiers, meta.rules) if meta else NOTHING_KNOWN


def load(source: str | os.PathLike[str], averaged: bool = True) -> tuple[Experiment, Weights]:
    """A model's experiment and weights for evaluation.

    Args:
      source: a folder as for `checkpoint.load`; a file of `weights_file`; or, where nothing of that name is there, a
        model that ships (`shipped.names`).
      averaged: the moving average, as the paper evaluates, or the weights as trained. Files have the average alone.

    Raises:
      CheckpointError: nothing there, damaged, or of an unknown format.
      ConfigError: what was given is no path.
    """
    path = as_path(source, "path")
    if path.exists() or len(path.parts) != 1:
        if not path.exists() and path.parent.name != checkpoint.FOLDER:
            raise CheckpointError(
                f"{path}: no such file or folder: give one that `trm train` or `trm convert` has written"
            )
        if path.suffix == weights_file.SUFFIX:
            return weights_file.read(path)
        return checkpoint.load(path, averaged)
    if path.name in shipped.names():
        return weights_file.read(shipped.path_of(path.name))
    hint = near_miss(path.name, shipped.names())
    raise CheckpointError(
        f"{path}: no such file or folder: give a folder that `trm train` or `trm convert` has written, or the "
        f"name of a model that ships: {hint}"
    )
