"""A model in one file: its weights as .safetensors, under the names of a checkpoint, and its experiment beside them.

That is how a model travels, and how those ship that come with the package. The file's metadata hold what a checkpoint
says of itself (`trm_jax`) and the SHA-256 of the weights (`sha256`), since the format does not notice a change.
"""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from trm_jax.config import Experiment
from trm_jax.errors import CheckpointError, StorageError, first_line, together
from trm_jax.model.finite import not_finite
from trm_jax.model.model import Model, Weights
from trm_jax.runs.foreign_files import foreign, is_torch
from trm_jax.runs.meta import Meta, meta_from, meta_to_json, with_format
from trm_jax.runs.named_arrays import fingerprint, flat, unflat

SUFFIX = ".safetensors"
_SAYS, _CHECKSUM = "trm_jax", "sha256"


def write(path: Path, experiment: Experiment, weights: Weights) -> str:
    """Writes a model; whole or not at all. Returns the SHA-256 of its weights.

    Raises:
      CheckpointError: something of that name is there already. StorageError: it cannot be written.
    """
    if path.exists():
        raise CheckpointError(f"{path} exists already: give another name")
    arrays = {name: np.array(array, order="C") for name, array in flat(weights).items()}
    checksum = fingerprint(arrays)
    partial = path.with_name(f"{path.name}.partial")
    try:
        metadata = {_SAYS: json.dumps(meta_to_json(0, Meta(experiment))), _CHECKSUM: checksum}
        partial.write_bytes(save(arrays, metadata))
        partial.rename(path)
    except Exception as error:  # the writer tells a missing folder or a full disk by errors of its own
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {first_line(error)}") from error
    return checksum


def tensors(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """The metadata of any .safetensors file, and its tensors by name. Raises CheckpointError: it is not readable."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except Exception as error:  # the parser's own errors, and whatever a damaged header makes of a dtype or a size
        raise CheckpointError(f"{path}: not a readable {SUFFIX} file: {_reason(path) or first_line(error)}") from error


def _reason(path: Path) -> str:
    """What a file is instead; "" where that is not known."""
    with suppress(OSError):
        if is_torch(path):
            return "it is one of torch.save: give it a name that ends in .pt, and bring it in by `trm convert`"
        return foreign(path)
    return ""


def read(path: Path) -> tuple[Experiment, Weights]:
    """The model in a file that `write` has written.

    Raises:
      CheckpointError: no such file; damaged; weights that are not those that were written, or not of this experiment;
        weights of somebody else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    metadata, arrays = tensors(path)
    if _SAYS not in metadata:
        raise CheckpointError(
            f"{path}: weights without their experiment: `trm convert` brings in what the original has written"
        )
    if fingerprint(arrays) != metadata.get(_CHECKSUM):
        raise CheckpointError(f"{path} is damaged: its weights do not add up to its checksum")
    try:
        text = with_format(metadata[_SAYS])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {first_line(error)}") from error
    experiment = meta_from(text, path).experiment
    like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
    wanted = {name: (array.shape, array.dtype) for name, array in flat(like).items()}
    there = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if wanted != there:
        wrong = [f"{name} is not as it should be" for name in wanted if there.get(name) != wanted[name]]
        wrong += [f"{name} is unknown" for name in there if name not in wanted]
        raise CheckpointError(f"{path} does not fit its own experiment: {together(wrong)}")
    if faults := not_finite(arrays):
        raise CheckpointError(
            f"{path}: weights that no model can use: {together(faults)}: write those of an earlier step"
        )
    return experiment, unflat(like, arrays)
