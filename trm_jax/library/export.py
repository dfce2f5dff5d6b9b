"""A model in one file that runs without this package: `trm export` in the hand."""

from pathlib import Path

import numpy as np

from trm_jax.console import Bar
from trm_jax.data.disk import as_path
from trm_jax.data.fit import Matched
from trm_jax.errors import ConfigError
from trm_jax.exporting import export as exporting
from trm_jax.exporting.adaptive_rounding import DESCENT, PUZZLES, calibrated
from trm_jax.exporting.held import HeldWeights, to_nearest
from trm_jax.exporting.program import Name
from trm_jax.exporting.rounding import Held
from trm_jax.inference.search import MOST_CALLS
from trm_jax.library.asked import whole
from trm_jax.library.solver import Solver, load
from trm_jax.puzzles.table_columns import USUAL


def export(
    model: Solver | str | Path,
    target: str | Path,
    *,
    program: Name = "solve",
    chains: int | None = None,
    weights: Held = "float32",
    calibrate: bool | str | Path = False,
) -> Path:
    """Writes a model as one file that runs anywhere: docs/export.md has its form and programs that read it.

    Args:
      model: a `Solver`, or what `load` takes.
      target: a new file that ends in .stablehlo (JAX, on CPUs, CUDA and TPUs) or .onnx (ONNX Runtime, browsers).
      program: "solve", the whole loop from questions to answers; or "step", one supervision step, or of a model of
        candidates one call, with the state as input and output, for a loop of your own.
      chains: of a model of candidates, how many guesses "solve" follows side by side (8).
      weights: how the file holds them: "float32"; "bf16"; "int8" or "int4", whole numbers with a scale for each
        channel. The program computes in floats all the same.
      calibrate: of "int8" and "int4", whether to choose the rounding by what the model then does on 32 puzzles, which
        takes minutes: True: of its own held-out ones; or a path of others, as for `Solver.evaluate`. Their answers are
        not looked at. False: each number goes to the nearest.

    Returns:
      The path.

    Raises:
      ConfigError: another ending, an unknown program, a model that cannot be exported so, or a package is missing.
      DataError: no puzzles to calibrate by.
      CheckpointError: the file is there already, or no model. StorageError: it cannot be written.
      Whatever refuses a model does so before anything is calibrated.

    >>> import trm_jax as trm
    >>> trm.export("runs/demo", "demo.stablehlo").stat().st_size < 1_000_000
    True
    """
    path = as_path(target, "target")
    exporting.check(path, program, weights, calibrate is not False)
    solver = model if isinstance(model, Solver) else load(model)
    if chains is not None and not (solver._searches and program == "solve"):
        raise ConfigError("chains are of the search of a model of candidates, the program 'solve': leave them out")
    side_by_side = whole("chains", 8 if chains is None else chains, MOST_CALLS - 1)
    asked = path, solver.experiment, solver.weights, solver.kind, program, side_by_side
    if calibrate is False:
        held = to_nearest(solver.weights, weights)
    else:
        named = None if calibrate is True else as_path(calibrate, "calibrate")
        puzzles = solver._puzzles(named, None, "test", PUZZLES, USUAL)
        # Made for trial, in seconds: calibrated weights, which take minutes, differ from these in their numbers alone.
        exporting.contents(*asked, to_nearest(solver.weights, weights))
        held = _calibrated(solver, weights, puzzles)
    exporting.export(*asked, held)
    return path


def _calibrated(solver: Solver, name: Held, found: Matched) -> HeldWeights:
    questions, ids = (np.asarray(a[:PUZZLES], np.int32) for a in (found.puzzles.inputs, found.puzzles.puzzle_ids))
    with Bar("calibrating", DESCENT, every=DESCENT // 8) as bar:
        return calibrated(found.experiment, solver.weights, name, questions, ids, progress=bar.update)
