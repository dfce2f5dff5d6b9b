"""Training in the hand: an experiment by name, a whole run, or pure functions on arrays, step by step."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment
from trm_jax.data.disk import as_path
from trm_jax.errors import ConfigError, DataError
from trm_jax.library.questions import read_boards, read_questions
from trm_jax.model.losses import IGNORE, Metrics, means
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs import train as runs
from trm_jax.runs.train import Outcome
from trm_jax.training import step as training
from trm_jax.training.step import TrainState
from trm_jax.training.supervision import Batch


def train(
    experiment: Experiment, workdir: str | Path, *, force: bool = False, init_from: str | Path | None = None
) -> Outcome:
    """Trains until config.train.steps, or until Ctrl-C asks to stop; called again, goes on from where it was.

    Args:
      experiment: what to train, and on what: `experiment("demo")`.
      workdir: receives checkpoints, metrics.jsonl, TensorBoard events; `load(workdir)` gives the trained model.
      force: goes on although the experiment or the puzzles are not those of the workdir.
      init_from: a model whose weights the run begins with, as `load` takes it; config.init says which of them.

    Returns:
      `Outcome`: the step that was reached, whether all is done, and the seconds.

    Raises:
      ConfigError, DataError, CheckpointError, LockedError, StorageError, NotFiniteError: in one line each.

    >>> import trm_jax as trm
    >>> trm.train(trm.experiment("demo", {"train.steps": 200}), "runs/short").finished
    True
    """
    _check_type(experiment)
    if init_from is not None:
        source = str(as_path(init_from, "init_from"))
        experiment = replace(experiment, init=replace(experiment.init, source=source))
    return runs.train(experiment, workdir, force=force)


def init(experiment: Experiment, seed: int | None = None) -> TrainState:
    """A fresh training state: weights, their average, moments, an empty carry of config.train.batch_size rows.

    Args:
      experiment: with all sizes filled in.
      seed: of the weights and of all that is drawn in training (config.train.seed).

    >>> import trm_jax as trm
    >>> state = trm.init(trm.experiment("demo"))
    >>> int(state.step), state.carry.steps.shape
    (0, (96,))
    """
    experiment = _sized(experiment if seed is None else _reseeded(experiment, seed))
    if experiment.init.source:
        raise ConfigError(
            f"config.init.source = {experiment.init.source!r:.80}, but every weight is drawn here: use train, or set "
            "it to ''"
        )
    return _init(experiment)


def batch(experiment: Experiment, puzzles: Any, answers: Any, puzzle_ids: Any = 0) -> Batch:
    """A batch of puzzles and their answers, checked: inputs and labels int32 [B, S], puzzle_ids int32 [B].

    Args:
      experiment: tells the kind of puzzle and B, config.train.batch_size.
      puzzles, answers: B of each, as text or as numbers (`Solver.solve`); a blank in an answer is not trained.
      puzzle_ids: rows of the puzzle table; one for all, or [B].

    Raises:
      DataError: a puzzle or answer that cannot be read, or an answer that is not one of its puzzle.

    >>> import trm_jax as trm
    >>> experiment = trm.experiment("demo", {"train.batch_size": 2})
    >>> trm.batch(experiment, [".21. ...4 .... .1.."] * 2, ["4213132424313142"] * 2).inputs.shape
    (2, 16)
    """
    config = _sized(experiment)
    kind = kind_of(config.data.puzzle or "tokens", config.model.seq_len)
    questions, _ = read_questions(kind, puzzles, config.model.vocab_size)
    labels, _ = read_boards(kind, answers, "answer")
    if not len(questions) == len(labels) == config.train.batch_size:
        raise DataError(
            f"{len(questions)} puzzles and {len(labels)} answers, but config.train.batch_size = "
            f"{config.train.batch_size}: give so many of each, or change it"
        )
    for i, (question, label) in enumerate(zip(questions, labels, strict=True)):
        try:
            kind.check_pair(question, label)
        except DataError as error:
            raise DataError(f"puzzles[{i}]: {error}") from None
    ids = jnp.broadcast_to(jnp.asarray(puzzle_ids, jnp.int32), (len(questions),))
    return Batch(jnp.asarray(questions), jnp.asarray(np.where(labels == 0, IGNORE, labels)), ids)


def train_step(experiment: Experiment, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    """One supervision step on the carry, and one update of everything that learns. Pure: the same in, the same out.

    Rows that have halted take their puzzle from the batch; the others go on with theirs (paper, figure 3).

    Args:
      experiment: with all sizes filled in.
      state: from `init`, or from the step before. It is not used up, so that it costs its memory twice.
      batch: from `batch`, or arrays of its shapes.

    Returns:
      The next state, and figures, each a float32 scalar: `loss` and its parts are means over the batch; `accuracy`,
      `exact_accuracy`, `q_halt_accuracy` and `steps` are means over the rows that have finished their puzzle in this
      step (nan if none has); `finished` is the share of those; norms, learning rates; `skipped` is 1 where the step's
      numbers were not finite and changed nothing.

    >>> import trm_jax as trm
    >>> experiment = trm.experiment("demo", {"train.batch_size": 2})
    >>> state = trm.init(experiment)
    >>> batch = trm.batch(experiment, [".21. ...4 .... .1.."] * 2, ["4213132424313142"] * 2)
    >>> state, figures = trm.train_step(experiment, state, batch)
    >>> int(state.step), bool(figures["loss"] > 0)
    (1, True)
    """
    experiment = _sized(experiment)
    if experiment.train.curriculum:
        raise ConfigError(
            f"config.train.curriculum = {experiment.train.curriculum!r:.80}, but a step is made by itself here: use "
            "train, or set it to ''"
        )
    return _train_step(experiment, state, batch)


@partial(jax.jit, static_argnums=0)
def _init(experiment: Experiment) -> TrainState:
    return training.init_state(experiment)


@partial(jax.jit, static_argnums=0)
def _train_step(experiment: Experiment, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
    state, totals = training.train_step(experiment, state, batch)
    return state, means(totals, 1, experiment.train.batch_size)


def _check_type(experiment: Any) -> None:
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{experiment!r:.60} is no experiment: give experiment('demo'), say")


def _sized(experiment: Experiment) -> Experiment:
    """The same; ConfigError where a size is left to the data."""
    _check_type(experiment)
    for name in ("vocab_size", "seq_len", *(["num_puzzles"] if experiment.model.puzzle_dim else [])):
        if not getattr(experiment.model, name):
            raise ConfigError(
                f"config.model.{name} = 0 comes from the data, and there is none here: set it, as in "
                f"experiment({experiment.name!r}, {{'model.{name}': 1}})"
            )
    return experiment


def _reseeded(experiment: Experiment, seed: int) -> Experiment:
    _check_type(experiment)
    return replace(experiment, train=replace(experiment.train, seed=int(seed)))
