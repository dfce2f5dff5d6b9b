"""What a model makes of puzzles that were made worse in known ways: `trm eval --stress` in the hand."""

from pathlib import Path
from typing import Any

from trm_jax.data.stress import SPREAD, stress_sets
from trm_jax.data.stress_folders import check_free, save
from trm_jax.inference.stress import by_attempts, by_search
from trm_jax.library.answers import Figures
from trm_jax.library.asked import Asked, whole
from trm_jax.library.searching import budget_from
from trm_jax.library.solver import Solver, load
from trm_jax.puzzles.table_columns import USUAL, Columns


def stress(
    model: Solver | str | Path,
    puzzles: Any = None,
    answers: Any = None,
    *,
    stress_seed: int = 0,
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
    calls: int = 1_024,
    seconds: float = 0.0,
    chains: int = 8,
) -> Figures:
    """A row for the puzzles as they are, and one for each way to make them worse: what `trm eval --stress` tells.

    Args:
      model: a `Solver`, or what `load` takes.
      puzzles, answers, split, columns: as for `Solver.evaluate`.
      stress_seed: of what becomes of the puzzles; the same seed makes the same ones.
      save_to: a folder to be, into which the puzzles go: a dataset folder for each row.
      limit: the first puzzles; 0: 512 of them, evenly spread.
      steps, attempts, select, symmetries, halting, start_noise, latent_noise, batch_size, seed, calls, seconds, chains:
        as for `Solver.solve`.

    Returns:
      Figures; their "rows" are those of `inference.stress.StressRow`, "left_out" says what means nothing here.

    Raises:
      DataError: puzzles that cannot be read, or are none for this model; the folder exists.
      ConfigError: an argument out of range, or one that this kind of puzzle does not allow.

    >>> import trm_jax as trm
    >>> figures = trm.stress("runs/demo", limit=8, steps=2)
    >>> [row["name"] for row in figures["rows"]][:2], figures["rows"][-1]["answers"]
    (['plain', 'wrong_clues_1'], {'one': 8})
    """
    solver = model if isinstance(model, Solver) else load(model)
    whole("stress_seed", stress_seed, (1 << 31) - 1, least=0)
    if save_to is not None:
        check_free(Path(save_to))
    size = solver._size(batch_size)
    asked = Asked(steps, attempts, select, symmetries, halting, start_noise, latent_noise, seed)
    if solver._searches:
        asked.refuse()
        budget = budget_from(calls, seconds, chains, seed)
    else:
        effort = asked.effort(solver.kind, asked.depth(solver._steps, "a stress test takes"))
        rule = asked.rule(solver.kind)
    given = solver._puzzles(puzzles, answers, split, limit, columns)
    sets = stress_sets(given.puzzles, given.kind, given.experiment, stress_seed, 0 if limit else SPREAD)
    if save_to is not None:
        save(sets.sets, given.puzzles, stress_seed, Path(save_to))
    what = given.experiment, solver.weights, sets.sets
    answered = by_search(*what, budget, size) if solver._searches else by_attempts(*what, effort, rule, size)
    about = {"checkpoints": [solver.source], "data": given.source, "split": split}
    return Figures(about | answered.report(stress_seed, sets.left_out).to_dict())
