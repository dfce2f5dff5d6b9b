"""When a run may go on from a checkpoint: what has to be as before, and what is told."""

from dataclasses import fields, replace
from pathlib import Path

import jax

from trm_jax.config import DevicesConfig, Experiment, MemoryConfig, differences
from trm_jax.console import say
from trm_jax.data.order import Position
from trm_jax.errors import CheckpointError
from trm_jax.runs.meta import Meta

# Keys that may change between the parts of one run without making it another run.
HARMLESS = (
    "name",
    "data.train",  # the puzzles themselves are compared by fingerprint
    "data.columns",
    "data.test",
    "data.test_puzzles",
    # No value depends on these, but for rounding.
    *(f"memory.{field.name}" for field in fields(MemoryConfig)),
    *(f"devices.{field.name}" for field in fields(DevicesConfig)),
    "train.steps",
    "train.log_every",
    "train.eval_every",
    "train.eval_batch_size",
    "train.eval_calls",
    "train.patience",
    "train.save_every",
    "train.keep_checkpoints",
    "train.bad_steps",
)


def position_of(meta: Meta, fingerprint: str) -> Position:
    """Where the next batch starts. In other puzzles than before (with --force): at the start of the next epoch."""
    if not meta.position:
        return Position()
    position = Position(**{k: v for k, v in meta.position.items() if k != "fingerprint"})
    return position if meta.position["fingerprint"] == fingerprint else Position(position.epoch + 1)


def as_begun(experiment: Experiment, meta: Meta, workdir: Path) -> Experiment:
    """The experiment with the weights that its run began with, which going on does not need.

    Raises:
      CheckpointError: it began with other weights than those that are given.
    """
    given, began = experiment.init, meta.experiment.init
    if given.source:
        if given not in (began, replace(began, weights="")):
            first = f"weights of {began.source} ({began.parts})" if began.source else "weights of its own"
            raise CheckpointError(
                f"{workdir} holds a run that began with {first}: leave out --init-from={given.source} to go on with "
                "it, or give a new workdir"
            )
        say(f"weights of {given.source} were for the beginning: going on with what this run has learnt since")
    return replace(experiment, init=began)


def check_same_run(meta: Meta, experiment: Experiment, fingerprint: str, workdir: Path, force: bool) -> None:
    """Tells what differs from the run that left a checkpoint.

    Args:
      meta: of the checkpoint.
      experiment, fingerprint: with which it is to go on, resolved, and that of the training puzzles.
      force: whether it may go on although it becomes another run.

    Raises:
      CheckpointError: it would become another run, and is not forced to.
    """
    changes = differences(meta.experiment, experiment)
    harmful = [change for change in changes if change.partition(":")[0] not in HARMLESS]
    for bends, what in (
        (experiment.optim.min_ratio != 1, "bends the schedule"),
        (experiment.train.curriculum, "moves the stages of the curriculum"),
    ):
        if bends and meta.experiment.train.steps != experiment.train.steps:
            harmful.append(f"train.steps: {meta.experiment.train.steps} -> {experiment.train.steps} ({what})")
    if harmful and not force:
        raise CheckpointError(
            f"{workdir} holds another experiment; these differ: {'; '.join(harmful)}: use them, or a new workdir, or "
            "--force to go on all the same"
        )
    other_puzzles = bool(meta.position) and meta.position["fingerprint"] != fingerprint
    if other_puzzles and not force:
        raise CheckpointError(
            f"{workdir} was trained on other puzzles than {experiment.data.train!r} holds: give those, or a new "
            "workdir, or --force to go on all the same"
        )
    if other_puzzles:
        say("going on with other puzzles than before, from the start of an epoch, since --force was given")
    if changes:
        say(f"going on with other settings than before: {'; '.join(changes)}")
    if (version := meta.versions.get("jax", jax.__version__)) != jax.__version__:
        change = f"jax: {version} -> {jax.__version__}"
        say(f"going on with other versions than before, and so perhaps with other rounding: {change}")
