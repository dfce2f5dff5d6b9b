"""A model in one file that runs without this package: `trm export` in the hand."""

from pathlib import Path

from trm_jax.data.disk import as_path
from trm_jax.errors import ConfigError
from trm_jax.exporting import export as exporting
from trm_jax.exporting.program import Name
from trm_jax.inference.search import MOST_CALLS
from trm_jax.library.asked import whole
from trm_jax.library.solver import Solver, load


def export(
    model: Solver | str | Path, target: str | Path, *, program: Name = "solve", chains: int | None = None
) -> Path:
    """Writes a model as one file that runs anywhere: docs/export.md has its form and programs that read it.

    Args:
      model: a `Solver`, or what `load` takes.
      target: a new file that ends in .stablehlo (JAX, on CPUs, CUDA and TPUs) or .onnx (ONNX Runtime, browsers).
      program: "solve", the whole loop from questions to answers; or "step", one supervision step, or of a model of
        candidates one call, with the state as input and output, for a loop of your own.
      chains: of a model of candidates, how many guesses "solve" follows side by side (8).

    Returns:
      The path.

    Raises:
      ConfigError: another ending, an unknown program, a model that cannot be exported so, or a package is missing.
      CheckpointError: the file is there already, or no model. StorageError: it cannot be written.

    >>> import trm_jax as trm
    >>> trm.export("runs/demo", "demo.stablehlo").stat().st_size < 1_000_000
    True
    """
    path = as_path(target, "target")
    exporting.check(path, program)
    solver = model if isinstance(model, Solver) else load(model)
    if chains is not None and not (solver._searches and program == "solve"):
        raise ConfigError("chains are of the search of a model of candidates, the program 'solve': leave them out")
    side_by_side = whole("chains", 8 if chains is None else chains, MOST_CALLS - 1)
    exporting.export(path, solver.experiment, solver.weights, solver.kind, program, side_by_side)
    return path
