"""How sure a model's answers are, learnt from held-out puzzles: `trm calibrate` in the hand."""

from pathlib import Path
from typing import Any

from trm_jax.data.disk import as_path
from trm_jax.errors import ConfigError
from trm_jax.inference.confidence import calibrate as fitted
from trm_jax.inference.confidence import gather
from trm_jax.library.asked import Asked, share
from trm_jax.library.solver import Solver, load
from trm_jax.model.model import Model
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.runs import calibration
from trm_jax.runs.calibration import Calibrated


def calibrate(
    model: Solver | str | Path,
    puzzles: Any = None,
    answers: Any = None,
    *,
    confidence: float = 0.99,
    delta: float = 0.05,
    save_to: str | Path | None = None,
    split: str = "test",
    columns: Columns = USUAL,
    limit: int = 0,
    steps: int | None = None,
    attempts: int = 1,
    select: str | None = None,
    symmetries: bool | None = None,
    halting: bool = False,
    start_noise: float = 0.0,
    latent_noise: float = 0.0,
    batch_size: int | None = None,
    seed: int = 0,
) -> Calibrated:
    """Tries held-out puzzles, and finds which answers are right how often: for `Solver.solve(..., confidence=)`.

    Args:
      model: a `Solver`, which keeps what is found as its `calibration`, or what `load` takes.
      puzzles, answers, split, columns, limit: as for `Solver.evaluate`; none of them trained on.
      confidence: the promise that is wanted: so many of the answers given are right, 0 to 1.
      delta: the chance, over the puzzles, that some promise is not kept.
      save_to: a file to write, where `load` looks by itself if it is `calibration.json` in the model's folder.
      steps, attempts, select, symmetries, halting, start_noise, latent_noise, batch_size, seed: as for `Solver.solve`,
        which has to be asked in the same way then.

    Returns:
      `Calibrated`; its `confidence.most` is the highest promise that it keeps.

    Raises:
      DataError: puzzles that cannot be read, or are none for this model, or too few for the promise.
      ConfigError: an argument out of range, or one that this kind of puzzle does not allow; a model that searches.

    >>> import trm_jax as trm
    >>> model = trm.load("sudoku-4x4")
    >>> found = trm.calibrate(model, confidence=0.97, limit=300, steps=1)
    >>> found.confidence.most > 0.97, model.calibration is found
    (True, True)
    """
    solver = model if isinstance(model, Solver) else load(model)
    if solver._searches:
        raise ConfigError("a model of candidates searches, and gives answers alone that the rules certify: leave it so")
    confidence, delta = share("confidence", confidence), share("delta", delta)
    asked = Asked(steps, attempts, select, symmetries, halting, start_noise, latent_noise, seed)
    effort = asked.effort(solver.kind, asked.depth(solver._steps, "a calibration is of"))
    rule = asked.rule(solver.kind)
    given = solver._puzzles(puzzles, answers, split, limit, columns)
    size = solver._size(batch_size)
    evidence = gather(Model(given.experiment.model), solver.weights, given.puzzles, given.kind, effort, rule, size)
    found, how = fitted(evidence, confidence, delta, seed), calibration.how_of(effort, rule)
    solver.calibration = Calibrated.of(found, solver.weights, given.kind, how, given.puzzles)
    if save_to is not None:
        calibration.write(as_path(save_to, "save_to"), solver.calibration)
    return solver.calibration
