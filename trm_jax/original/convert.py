"""Weights of the original in and out: its state dict files, and folders of ours.

The original saves `model.state_dict()` by torch.save, averaged weights and puzzle table together, in files
called `step_65104` or the like. Such a file, or the same tensors as .safetensors, becomes a folder that
`trm eval`, `trm solve` and everything else reads; and a folder of ours becomes such a file, bit for bit.

The .safetensors format does not notice a changed weight. Files of ours hold a SHA-256 of all tensors in their metadata,
under the key "sha256", and are held against it when they are read; the original's have none.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from trm_jax.config import Experiment, validate
from trm_jax.errors import CheckpointError, ConfigError, TrmError, first_line, printable, together
from trm_jax.model.model import Model, Weights
from trm_jax.original import all_config, original
from trm_jax.original.unpacked import predictions_among, predictions_in, state_dict_in
from trm_jax.original.widths import overrides_for
from trm_jax.runs.checkpoint import FOLDER, Checkpoints, load
from trm_jax.runs.foreign_files import foreign, is_safetensors
from trm_jax.runs.lock import Lock
from trm_jax.runs.meta import Meta
from trm_jax.runs.weights_file import tensors

StateDict = dict[str, NDArray[Any]]

SAFETENSORS = ".safetensors"
CHECKSUM = "sha256"
# As the original calls its state dicts.
_STEP = re.compile(r"step_(\d{1,15})(\.safetensors|\.pt|\.pth|\.bin)?")
_FILES = {SAFETENSORS, ".pt", ".pth", ".bin", ".npz"}
_MOST_NAMED = 5
# Tensors that share their numbers, as tied embeddings do, add up to more than the file has.
_MOST_REPEATED = 2


def convert(
    source: Path,
    target: Path,
    experiment: Experiment | None = None,
    averaged: bool = True,
    compiled: bool = False,
) -> str:
    """Converts in the direction that `source` implies: a folder of ours goes out to a file, a file comes in.

    Args:
      source: a working directory or one checkpoint in it; or a state dict file of the original, or a folder in which
        there are some, called step_N, of which the newest is taken.
      target: the file, or the working directory, to be written; must not hold one already.
      experiment: what the file's weights belong to; None: as all_config.yaml beside it says.
      averaged, compiled: on the way out, as for `export_checkpoint`.

    Returns:
      One line that says what was written.

    Raises:
      ConfigError, CheckpointError, TrmError: as `import_checkpoint` and `export_checkpoint`.
    """
    found, whence = _file_in(source), ""
    if found is None:
        if experiment is not None:
            raise ConfigError(f"{source}: a checkpoint of ours, which holds its experiment: leave out --config")
        arrays = export_checkpoint(source, target, averaged, compiled)
    else:
        source = found
        if compiled or not averaged:
            what = "--compiled" if compiled else "--trained-weights"
            raise ConfigError(f"{what} is for weights of ours that go out, and {source} comes in: leave it out")
        if experiment is None and (about := all_config.beside(source)):
            whence = f", as {about} describes them"
        arrays = original.export_weights(import_checkpoint(source, target, experiment))
    size = sum(array.size for array in arrays.values())
    return f"{target}: wrote {len(arrays)} tensors, {size:,} weights, from {source}{whence}"


def _file_in(source: Path) -> Path | None:
    """The state dict file that is meant: the source itself, or in a folder of the original's its newest step's.

    None where the folder is one of ours. Raises CheckpointError where it is neither, but has files that look like some.
    """
    if not source.is_dir():
        _must_exist(source)
        return source
    steps = {
        int(match[1]): file for file in source.iterdir() if (match := _STEP.fullmatch(file.name)) and file.is_file()
    }
    if (source / FOLDER).exists():
        return None
    if steps:
        return steps[max(steps)]
    likely = [file.name for file in source.iterdir() if file.suffix in _FILES or file.name.startswith("step_")]
    if likely:
        names = printable(", ".join(sorted(likely)[:_MOST_NAMED]))
        raise CheckpointError(
            f"{source}: no checkpoint of ours, and no step_N: name the file of weights, of {names:.200}"
        )
    return None


def import_checkpoint(source: Path, workdir: Path, experiment: Experiment | None) -> Weights:
    """Reads a state dict file of the original and saves it as step 0 of a new working directory.

    Args:
      source: see `read_state_dict`.
      workdir: where the checkpoint goes; made if it is not there.
      experiment: the model; vocab_size, seq_len and num_puzzles may be 0 where the tensors tell them. None: as
        all_config.yaml beside the source says; where there is one, an experiment has to agree with it.

    Raises:
      ConfigError: no experiment and no all_config.yaml; an experiment that differs from it, each value by its key;
        seq_len is 0, and attention with rotary positions leaves no trace of it.
      CheckpointError: an unreadable file; tensors that do not fit, each by name; a workdir that holds checkpoints.
      LockedError: a run has the workdir.
    """
    arrays = read_state_dict(source)
    if names := predictions_among(arrays):
        raise _of_predictions(source, names)
    if (workdir / FOLDER).exists() or (workdir.exists() and not workdir.is_dir()):
        raise CheckpointError(f"{workdir} holds checkpoints already, or is a file: give another folder")
    if workdir.suffix in _FILES:
        raise CheckpointError(f"{workdir} is called like a file, and would become a folder: give another name")
    try:
        plain = original.plain_names(arrays)
        experiment = _with_sizes(_experiment_for(source, experiment, plain), plain)
        like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
        try:
            weights = original.import_weights(like, arrays)
        except CheckpointError as error:
            raise CheckpointError(f"{error}{overrides_for(experiment, plain)}") from None
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from None
    try:
        with Lock(workdir), Checkpoints(workdir) as checkpoints:
            checkpoints.save_weights(weights, Meta(experiment))
    except OSError as error:
        raise CheckpointError(f"{workdir}: cannot save a checkpoint here: {error}") from error
    return weights


def _of_predictions(path: Path, names: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: holds predictions ({names}), not weights: give the file of the step itself, such as step_1000"
    )


def _experiment_for(source: Path, experiment: Experiment | None, arrays: Mapping[str, NDArray[Any]]) -> Experiment:
    """The experiment that is given, unless all_config.yaml beside the source says otherwise; or else what that says."""
    path = all_config.beside(source)
    if path is None:
        if experiment is None:
            raise ConfigError(
                f"{source} does not say which model its weights belong to: give --config=experiments/<file>.py"
            )
        return experiment
    tokens = arrays.get(original.PREFIX + "embed_tokens.embedding_weight")
    theirs = all_config.read(path, 0 if tokens is None else len(tokens))
    if experiment is None:
        return theirs
    if different := all_config.differences(experiment.model, theirs.model):
        raise ConfigError(
            f"{source}: trained otherwise than the experiment says, by {path}: {together(different)}: set these as "
            "there, or leave --config out"
        )
    return experiment


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
    """The tensors of a file by name: .safetensors, by its name or its bytes, or a flat state dict of torch.save.

    bfloat16 becomes float32, which loses nothing; other dtypes stay. Nothing but tensors is unpickled.

    Raises:
      CheckpointError: no such file, a damaged one, one that differs from what was written, or one that holds anything
        but a flat dict of tensors.
      TrmError: PyTorch is needed and not installed.
    """
    _must_exist(path)
    if path.suffix != SAFETENSORS and not is_safetensors(path):
        if told := foreign(path):
            raise CheckpointError(
                f"{path}: not a state dict as torch.save writes it, but {told}: give the file of weights itself"
            )
        if names := predictions_in(path):
            raise _of_predictions(path, names)
        return _read_torch(path)
    metadata, arrays = tensors(path)
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(arrays):
        raise CheckpointError(f"{path}: differs from what was written: its weights do not add up to its checksum")
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
            save_file(copies, partial, {CHECKSUM: _checksum(copies)})
        else:
            torch.save({name: torch.from_numpy(array) for name, array in copies.items()}, partial)
        partial.rename(path)
    except Exception as error:  # both writers tell a missing folder or a full disk by errors of their own
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written: {first_line(error)}") from error


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes (little-endian, in row order) of all tensors."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode() + b"\n")
        little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _read_torch(path: Path) -> StateDict:
    torch = _torch(path)
    _check_unpacked(path)
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
    size = 0
    for name, value in state_dict_in(loaded, torch.Tensor, path).items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise CheckpointError(
                f"{path}: {name!r:.100} is a {type(value).__name__}: give a flat state dict of tensors by name"
            )
        try:
            dense = value.detach()
            # A view may repeat what is stored once, as often as the file likes.
            if (size := size + dense.numel() * dense.element_size()) > _MOST_REPEATED * path.stat().st_size:
                raise CheckpointError(f"{path}: {name!r:.100} and those before it are larger than the file")
            arrays[name] = (dense.float() if dense.dtype == torch.bfloat16 else dense).numpy()
        except (RuntimeError, TypeError, NotImplementedError) as error:
            raise CheckpointError(f"{path}: {name!r:.100} is not a plain tensor: {first_line(error)}") from error
    return arrays


def _check_unpacked(path: Path) -> None:
    """CheckpointError for an archive with compressed parts: torch.save writes none, and they may unfold to anything."""
    members: list[zipfile.ZipInfo] = []
    with suppress(Exception), zipfile.ZipFile(path) as archive:  # what is damaged or no archive, torch tells
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError(f"{path}: not a state dict as torch.save writes it: it is compressed")


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
        if arrays[name].ndim != 2 or not arrays[name].size:
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
