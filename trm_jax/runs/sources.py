"""Where a model comes from: a working directory, one checkpoint in it, a file, or the name of one that ships."""

import os

from trm_jax.config import Experiment
from trm_jax.data.disk import as_path
from trm_jax.data.identifiers import Identifiers
from trm_jax.errors import CheckpointError, near_miss
from trm_jax.model.model import Weights
from trm_jax.runs import checkpoint, shipped, weights_file


def identifiers(source: str | os.PathLike[str]) -> Identifiers:
    """What the model that `load` finds keeps of the puzzle ids of its training; empty where that is nothing."""
    path = as_path(source, "path")
    return checkpoint.identifiers(path) if path.is_dir() else {}


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
