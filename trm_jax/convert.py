"""Weights of the original in and out: its state dict files, and folders of ours.

The original saves `model.state_dict()` by torch.save, averaged weights and puzzle table together, in files
called `step_65104` or the like. Such a file, or the same tensors as .safetensors, becomes a folder that
`trm eval`, `trm solve` and everything else reads; and a folder of ours becomes such a file, bit for bit.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from trm_jax import original
from trm_jax.checkpoint import FOLDER, Checkpoints, Meta, load
from trm_jax.config import Experiment, validate
from trm_jax.errors import CheckpointError, ConfigError, TrmError
from trm_jax.model import Model, Weights

StateDict = dict[str, NDArray[Any]]

SAFETENSORS = ".safetensors"


def convert(
    source: Path,
    target: Path,
    experiment: Experiment | None = None,
    averaged: bool = True,
    compiled: bool = False,
) -> str:
    """Converts in the direction that `source` implies: a folder of ours goes out to a file, a file comes in.

    Args:
      source: a working directory or one checkpoint in it; or a state dict file of the original.
      target: the file, or the working directory, to be written; must not hold one already.
      experiment: what the file's weights belong to; needed on the way in.
      averaged, compiled: on the way out, as for `export_checkpoint`.

    Returns:
      One line that says what was written.

    Raises:
      ConfigError, CheckpointError, TrmError: as `import_checkpoint` and `export_checkpoint`.
    """
    if source.is_dir():
        arrays = export_checkpoint(source, target, averaged, compiled)
    elif experiment is None:
        _must_exist(source)
        raise ConfigError(
            f"{source} does not say which model its weights belong to: give --config=experiments/<file>.py"
        )
    else:
        arrays = original.export_weights(import_checkpoint(source, target, experiment))
    size = sum(array.size for array in arrays.values())
    return f"{target}: wrote {len(arrays)} tensors, {size:,} weights, from {source}"


def import_checkpoint(source: Path, workdir: Path, experiment: Experiment) -> Weights:
    """Reads a state dict file of the original and saves it as step 0 of a new working directory.

    Args:
      source: see `read_state_dict`.
      workdir: where the checkpoint goes; made if it is not there.
      experiment: the model; vocab_size, seq_len and num_puzzles may be 0 where the tensors tell them.

    Raises:
      ConfigError: seq_len is 0, and attention with rotary positions leaves no trace of it.
      CheckpointError: an unreadable file; tensors that do not fit, each by name; a workdir in use.
    """
    arrays = original.strip_compiled(read_state_dict(source))
    if (workdir / FOLDER).exists() or (workdir.exists() and not workdir.is_dir()):
        raise CheckpointError(f"{workdir} holds checkpoints already, or is a file: give another folder")
    try:
        experiment = _with_sizes(experiment, arrays)
        like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
        weights = original.import_weights(like, arrays)
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    try:
        with Checkpoints(workdir) as checkpoints:
            checkpoints.save_weights(weights, Meta(experiment))
    except OSError as error:
        raise CheckpointError(f"{workdir}: cannot save a checkpoint here: {error}") from error
    return weights


def export_checkpoint(source: Path, target: Path, averaged: bool = True, compiled: bool = False) -> StateDict:
    """Writes a checkpoint of ours as a state dict file that the original loads.

    Args:
      source: a working directory (its newest checkpoint), or one checkpoint's own directory.
      target: see `write_state_dict`.
      averaged: the moving average, which is what the original saves; or the weights as trained.
      compiled: put `_orig_mod.` before every name, as a model under torch.compile expects.

    Returns:
      What was written, by name.

    Raises:
      CheckpointError: no checkpoint there, or a target that cannot be written.
    """
    _, weights = load(source, averaged)
    prefix = original.COMPILED if compiled else ""
    arrays = {prefix + name: array for name, array in original.export_weights(weights).items()}
    write_state_dict(target, arrays)
    return arrays


def read_state_dict(path: Path) -> StateDict:
    """The tensors of a file by name: .safetensors, or else a flat state dict as torch.save writes it.

    bfloat16 becomes float32, which loses nothing; other dtypes stay. Nothing but tensors is unpickled.

    Raises:
      CheckpointError: no such file, a damaged one, or one that holds anything but a flat dict of tensors.
      TrmError: PyTorch is needed and not installed.
    """
    _must_exist(path)
    if path.suffix != SAFETENSORS:
        return _read_torch(path)
    try:
        arrays = load_file(path)
    except Exception as error:  # the parser's own errors, and whatever a damaged header makes of a dtype or a size
        raise CheckpointError(f"{path}: not a readable .safetensors file: {_first_line(error)}") from error
    return {
        name: array.astype(np.float32) if array.dtype.name == "bfloat16" else array for name, array in arrays.items()
    }


def write_state_dict(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes tensors as .safetensors where the name ends so, else by torch.save; whole or not at all.

    Raises:
      CheckpointError: the file is there already, or cannot be written.
      TrmError: PyTorch is needed and not installed.
    """
    if path.exists():
        raise CheckpointError(f"{path} exists already: give another name")
    # Copies in row order: transposed views and arrays that belong to JAX are not what the writers want.
    copies = {name: np.array(array, order="C") for name, array in arrays.items()}
    torch = None if path.suffix == SAFETENSORS else _torch(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        if torch is None:
            save_file(copies, partial)
        else:
            torch.save({name: torch.from_numpy(array) for name, array in copies.items()}, partial)
        partial.rename(path)
    except Exception as error:  # both writers tell a missing folder or a full disk by errors of their own
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {_first_line(error)}") from error


def _read_torch(path: Path) -> StateDict:
    torch = _torch(path)
    try:
        loaded = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # garbage makes an unpickler raise anything
        # Not torch's own words: they explain how to switch the protection off.
        raise CheckpointError(
            f"{path}: not a state dict as torch.save writes it: damaged, or it holds objects, which are "
            f"never unpickled ({type(error).__name__})"
        ) from error
    if not isinstance(loaded, Mapping):
        raise CheckpointError(f"{path}: holds a {type(loaded).__name__}, not a state dict of tensors by name")
    arrays = {}
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: {name!r} is a {type(value).__name__}: give a flat state dict of tensors by name"
            )
        try:
            dense = value.detach()
            arrays[name] = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise CheckpointError(f"{path}: {name!r} is not a plain tensor: {_first_line(error)}") from error
    return arrays


def _torch(path: Path) -> ModuleType:
    try:
        import torch
    except ImportError:
        raise TrmError(
            f'{path}: PyTorch files need PyTorch: pip install "trm_jax[torch]", or give a {SAFETENSORS} file'
        ) from None
    return torch


def _with_sizes(experiment: Experiment, arrays: Mapping[str, NDArray[Any]]) -> Experiment:
    """The experiment with the sizes that it leaves open, as the tensors tell them."""

    def size(name: str, axis: int) -> int:
        name = original.PREFIX + name
        if name not in arrays:
            raise CheckpointError(f"weights do not fit the model: {name} is missing")
        if arrays[name].ndim != 2:
            raise CheckpointError(f"weights do not fit the model: {name} has shape {list(arrays[name].shape)}")
        return arrays[name].shape[axis]

    model = experiment.model
    vocab_size, seq_len, num_puzzles = model.vocab_size, model.seq_len, model.num_puzzles
    if not vocab_size:
        vocab_size = size("embed_tokens.embedding_weight", 0)
    if not num_puzzles and model.puzzle_dim:
        num_puzzles = size("puzzle_emb.weights", 0)
    if not seq_len:
        if model.positions == "learned":
            positions = size("embed_pos.embedding_weight", 0)
        elif model.mixer == "mlp":
            level = "H_level" if model.states == "y" else "L_level"
            positions = size(f"{level}.layers.0.mlp_t.gate_up_proj.weight", 1)
        else:
            raise ConfigError("no tensor tells the number of cells here: set config.model.seq_len")
        seq_len = positions - model.tokens_in_front
        if seq_len < 1:
            raise ConfigError(
                f"{model.tokens_in_front} puzzle tokens leave no cells of the {positions} positions that the "
                "weights have: lower config.model.puzzle_tokens"
            )
    sized = replace(model, vocab_size=vocab_size, seq_len=seq_len, num_puzzles=num_puzzles)
    experiment = replace(experiment, model=sized)
    validate(experiment)
    return experiment


def _must_exist(path: Path) -> None:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
