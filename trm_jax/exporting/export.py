"""A model becomes a file; the ending of its name says which form."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment
from trm_jax.errors import CheckpointError, ConfigError, StorageError, first_line, near_miss
from trm_jax.exporting import attempting, onnx_file, searching, stablehlo
from trm_jax.exporting.about import about
from trm_jax.exporting.held import HeldWeights, in_program, to_nearest
from trm_jax.exporting.program import Name, Program
from trm_jax.exporting.rounding import check_calibrated, check_held
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.sizes import format_bytes

FORMS: dict[str, ModuleType] = {form.SUFFIX: form for form in (stablehlo, onnx_file)}
# A message of Protocol Buffers, as ONNX and XLA write programs, holds less than 2 GiB; weights are all but a few MB.
_MOST_BYTES = 2**31 - 2**26


def check(path: Path, name: str, held: str = "float32", calibrated: bool = False) -> None:
    """What can be said before a model is read.

    Raises:
      ConfigError: an unknown ending or program, a package is missing, or weights are not held, or calibrated, so.
      CheckpointError: the file exists. StorageError: its folder is missing, or closed to this user.
    """
    if path.suffix not in FORMS:
        raise ConfigError(f"{path}: give a file whose name ends in {' or '.join(FORMS)}")
    if name not in get_args(Name):
        raise ConfigError(f"program {name!r:.60} is unknown: {near_miss(str(name), get_args(Name))}")
    if path.exists():
        raise CheckpointError(f"{path} exists already: give another name")
    if not os.access(path.parent, os.W_OK):
        what = "the folder may not be written to" if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise StorageError(f"{path}: cannot be written: {what}")
    FORMS[path.suffix].check_installed()
    check_held(held)
    if calibrated:
        check_calibrated(held)


def export(
    path: Path,
    experiment: Experiment,
    weights: Weights,
    kind: Kind,
    name: Name = "solve",
    chains: int = 8,
    held: HeldWeights | None = None,
) -> dict[str, Any]:
    """Writes one program of a model; whole or not at all. Returns its metadata.

    Args:
      path: a new file; its ending says the form (FORMS).
      experiment, weights, kind: the model, and its kind of puzzle.
      name: the loop to the answer, or one step of it.
      chains: of a model of candidates, how many `solve` has side by side.
      held: the weights as the file is to hold them; None: as they are, in float32.

    Raises:
      ConfigError: an unknown ending or program; a model that this form cannot hold.
      CheckpointError: the file exists. StorageError: it cannot be written.
    """
    check(path, name)
    held = to_nearest(weights, "float32") if held is None else held
    told, data = contents(path, experiment, weights, kind, name, chains, held)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.rename(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StorageError(f"{path}: cannot be written: {error.strerror or first_line(error)}") from error
    return told


def contents(
    path: Path, experiment: Experiment, weights: Weights, kind: Kind, name: Name, chains: int, held: HeldWeights
) -> tuple[dict[str, Any], bytes]:
    """The metadata, and the file with them in it, as `export` writes it; arguments as for that.

    Raises:
      ConfigError: a model that this form cannot hold.
    """
    size = sum(part.nbytes for part in jax.tree.leaves(held.parts))
    if size > _MOST_BYTES:
        raise ConfigError(
            f"{path}: weights of {format_bytes(size)} with the puzzle table do not fit into one file of this form, "
            f"which holds {format_bytes(_MOST_BYTES)}"
        )
    if path.suffix == onnx_file.SUFFIX:
        # Many runtimes have no products of 16-bit floats for CPUs; weights are float32 in any case.
        experiment = replace(experiment, model=replace(experiment.model, dtype="float32"))
    program = _program(experiment, jax.tree.map(jnp.asarray, weights), kind, name, chains)
    program = replace(program, function=_restoring(experiment, held, kind, name, chains))
    told = about(experiment, weights, kind, program, held)
    return told, FORMS[path.suffix].to_bytes(program, told)


def _restoring(
    experiment: Experiment, held: HeldWeights, kind: Kind, name: Name, chains: int
) -> Callable[..., dict[str, jax.Array]]:
    """The program's function, which makes floats of the weights first, once, whatever loops follow."""

    def function(**inputs: jax.Array) -> dict[str, jax.Array]:
        return _program(experiment, in_program(held.parts), kind, name, chains).function(**inputs)

    return function


def _program(experiment: Experiment, weights: Weights, kind: Kind, name: Name, chains: int) -> Program:
    model, config = Model(experiment.model), experiment.candidates
    if experiment.model.states != "candidates":
        return attempting.solve(model, weights) if name == "solve" else attempting.step(model, weights)
    if name == "solve":
        return searching.solve(model, weights, config, kind, chains)
    return searching.step(model, weights, config)
