"""Training: from an experiment and a working directory to weights, resumable at any step.

One loop, in order: let the devices make some steps, now and then write figures, evaluate the averaged weights, save. A
run that was cut and goes on from its last checkpoint makes the same steps, bit for bit, as one that was never cut.
"""

import json
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import jax
import numpy as np

from trm_jax import dataset
from trm_jax.checkpoint import Checkpoints, Meta
from trm_jax.cluster import check_shared, is_main, noticing_loss, unanimous
from trm_jax.config import (
    DevicesConfig,
    Experiment,
    MemoryConfig,
    ModelConfig,
    differences,
    to_dict,
    validate,
)
from trm_jax.console import Bar, say
from trm_jax.dataset import PuzzleSet
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.evaluate import Evaluator, is_arc_test, votes_for
from trm_jax.feed import Feed, forms_of
from trm_jax.figures import Log
from trm_jax.inference import Effort
from trm_jax.model import count_weights
from trm_jax.order import Position
from trm_jax.profiling import Profile
from trm_jax.program import advance, asked_to_stop, fresh_state, like, no_metrics, settled
from trm_jax.puzzles.kind import kind_of
from trm_jax.sharding import Layout, layout_of
from trm_jax.signals import StopSignals
from trm_jax.sizes import format_bytes
from trm_jax.step import TrainState, averaged_weights, model_of
from trm_jax.version import VERSION
from trm_jax.writers import MetricsWriter

# Rows of a large puzzle table are a multiple of this.
_TABLE_UNIT = 1_024

# Keys that may change between the parts of one run without making it another run.
HARMLESS = (
    "name",
    "data.train",  # the puzzles themselves are compared by fingerprint
    "data.test",
    "data.test_puzzles",
    # No value depends on these, but for rounding.
    *(f"memory.{field.name}" for field in fields(MemoryConfig)),
    *(f"devices.{field.name}" for field in fields(DevicesConfig)),
    "train.steps",
    "train.log_every",
    "train.eval_every",
    "train.eval_batch_size",
    "train.save_every",
    "train.keep_checkpoints",
)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at which step, whether that was the last one, and whether this part of the run made any."""

    step: int
    finished: bool
    trained: bool
    seconds: float


def resolve(experiment: Experiment, puzzles: PuzzleSet) -> Experiment:
    """Fills in the sizes and the kind of puzzle that the experiment leaves to the data, and checks what it states.

    Raises:
      ConfigError: the data is of another size or kind than the experiment says.
    """
    # A large table gets rows that nobody uses, so that any usual number of devices can share it.
    rows = forms_of(experiment).number_of_ids(puzzles.num_puzzles)
    if rows > _TABLE_UNIT and experiment.model.num_puzzles != rows:
        rows = -(-rows // _TABLE_UNIT) * _TABLE_UNIT
    sizes = {"vocab_size": puzzles.vocab_size, "seq_len": puzzles.seq_len, "num_puzzles": rows}
    for name, found in sizes.items():
        stated = getattr(experiment.model, name)
        if stated not in (0, found):
            raise ConfigError(
                f"config.model.{name} = {stated}, but the puzzles have {found}: set it to {found}, or to 0"
            )
    stated, found_puzzle = experiment.data.puzzle, puzzles.puzzle or "tokens"
    if stated and puzzles.puzzle:
        there, here = (kind_of(puzzle, puzzles.seq_len).to_dict() for puzzle in (puzzles.puzzle, stated))
        if there != here:
            raise ConfigError(
                f"config.data.puzzle = {stated!r}, but the data says {json.dumps(there)}: set it to that, or to ''"
            )
    resolved = replace(
        experiment,
        model=replace(experiment.model, **sizes),  # type: ignore[arg-type]
        data=replace(experiment.data, puzzle=stated or found_puzzle),
    )
    validate(resolved)
    return resolved


def train(experiment: Experiment, workdir: Path, profile: range = range(0)) -> Outcome:
    """Trains until config.train.steps, or until a signal asks to stop; goes on from a checkpoint where there is one.

    With several processes (cluster.join), every one calls this with the same arguments; the first of them writes.

    Args:
      experiment: what to train, and on what.
      workdir: receives checkpoints/, metrics.jsonl, TensorBoard events and config.json (for reading; checkpoints hold
        their own); made if it does not exist. Processes need a common one.
      profile: steps of which a profile is written to profile/, for TensorBoard or Perfetto; whole calls.

    Raises:
      ConfigError, DataError, CheckpointError: in one line; a workdir of another experiment is left as it is.
      ProcessLost: another process has gone.
    """
    began = time.monotonic()
    config = experiment.train
    with unanimous() as facts:
        puzzles = dataset.load(experiment.data, "train", config.seed)
        experiment = resolve(experiment, puzzles)
        layout = layout_of(experiment)
        here = settled(experiment, layout)  # checkpoints keep what was given: another machine may need something else
        feed = Feed(puzzles, experiment, layout)
        evaluation = _Evaluation.of(here, layout) if config.eval_every else None
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--workdir={workdir}: cannot be made: {error.strerror}") from None
        facts |= _facts(here, feed, puzzles, evaluation)
    check_shared(workdir)
    with (
        noticing_loss(),
        feed,
        Checkpoints(workdir, config.keep_checkpoints) as checkpoints,
        StopSignals() as signals,
    ):
        nothing = no_metrics(here, layout)
        meta = checkpoints.latest_meta()
        if meta is None:
            state, totals, position = fresh_state(here, layout), nothing, Position()
        else:
            _check_same_run(meta, experiment, puzzles, workdir)
            state, totals = checkpoints.restore(*like(here, layout))
            position = Position(**{k: v for k, v in meta.position.items() if k != "fingerprint"})
        first = int(state.step)
        _announce(experiment, layout, feed, state, workdir, first)
        if is_main():
            (workdir / "config.json").write_text(json.dumps(to_dict(experiment), indent=1) + "\n")
        with (
            MetricsWriter(workdir, first, is_main()) as metrics_writer,
            Bar("training", config.steps, first, every=config.log_every) as bar,
            Profile(workdir / "profile", profile) as profiler,
        ):
            log = Log(config, metrics_writer, bar)
            place = layout.everywhere(Position(*map(np.int32, position)))
            calls = _calls(first, config.steps, experiment.devices.steps_per_call)
            sources = feed.sources(position, (count for _, count in calls))
            heard: jax.Array | None = None
            for (t, count), source in zip(calls, sources, strict=True):
                previous, heard_before = totals, heard
                profiler.before(t - count)
                asked = asked_to_stop(layout, signals.stop)
                with jax.transfer_guard("disallow"):
                    state, totals, place, heard = advance(here, layout, count, state, totals, place, source, asked)
                    # While the devices work, the figures before are fetched and written.
                    log.write_late()
                    # Waiting for the call before keeps the queue short, so that a signal is answered at once.
                    jax.block_until_ready(previous)
                profiler.after(t, totals)
                # Several processes agree on the step to stop at: all know who had been asked one call before.
                stopping = signals.stop if asked is None else heard_before is not None and bool(heard_before)
                last = t == config.steps or stopping
                if t - count == first:
                    jax.block_until_ready(totals)
                    say(f"first step done after {time.monotonic() - began:.1f} s, compilation included")
                    log.restart_clock(t)
                if t % config.log_every == 0 or t == config.steps:
                    log.due(t, totals)
                    totals = nothing
                elif bar.live:
                    bar.update(t)
                evaluates = evaluation and (t % config.eval_every == 0 or t == config.steps)
                saves = last or (config.save_every and t % config.save_every == 0)
                if evaluates or saves:
                    log.write_late()
                if evaluation and evaluates:
                    evaluation(state, metrics_writer, t)
                    log.restart_clock(t)
                if saves:
                    there = {name: int(value) for name, value in jax.device_get(place)._asdict().items()}
                    checkpoints.save(state, totals, Meta(experiment, there | {"fingerprint": puzzles.fingerprint}))
                    metrics_writer.flush()
                if last:
                    break
        checkpoints.wait()
        done = int(state.step)
    if done < config.steps and stopping:
        say(f"stopped at step {done} by {signals.name or 'another process'}; saved: the same command goes on from here")
    return Outcome(done, done >= config.steps, done > first, time.monotonic() - began)


def _facts(
    experiment: Experiment, feed: Feed, puzzles: PuzzleSet, evaluation: "_Evaluation | None"
) -> dict[str, object]:
    """What has to be the same in all processes, for they are to run one program: names to values."""
    groups = to_dict(experiment)
    settings = {f"config.{g}.{key}": value for g in groups if g != "name" for key, value in groups[g].items()}
    return settings | {
        "config.devices.puzzles": "resident" if feed.resident else "streamed",
        "the fingerprint of config.data.train": puzzles.fingerprint[:12],
        "the fingerprint of config.data.test": evaluation and evaluation.held_out.fingerprint[:12],
        "the version of trm_jax": VERSION,
        "the version of jax": jax.__version__,
    }


def _calls(first: int, steps: int, at_once: int) -> list[tuple[int, int]]:
    """For each call the step that it leads to and how many it makes: up to the next multiple of `at_once`."""
    ends = [*range(first // at_once * at_once + at_once, steps, at_once), steps]
    return [(end, end - start) for start, end in zip([first, *ends], ends, strict=False)] if first < steps else []


def check_fits(config: ModelConfig, puzzles: PuzzleSet, source: str) -> None:
    """Raises DataError if a model of these sizes cannot read the puzzles."""
    for what, takes, found in (
        ("cells", config.seq_len, puzzles.seq_len),
        ("kinds of token", config.vocab_size, puzzles.vocab_size),
    ):
        if takes != found:
            raise DataError(f"{source}: puzzles with {found} {what}, the model takes {takes}: give puzzles of its kind")
    if config.puzzle_dim and int(puzzles.puzzle_ids.max()) >= config.num_puzzles:
        raise DataError(
            f"{source}: puzzle id {puzzles.puzzle_ids.max()}, the model's puzzle table ends before {config.num_puzzles}"
        )


@dataclass(frozen=True)
class _Evaluation:
    """The evaluation of the averaged weights while they are trained."""

    evaluator: Evaluator
    held_out: PuzzleSet
    arc: bool

    @classmethod
    def of(cls, experiment: Experiment, layout: Layout) -> "_Evaluation":
        """On the experiment's held-out puzzles. Raises DataError if the model cannot read them."""
        data, model = experiment.data, model_of(experiment)
        held_out = dataset.load(data, "test", experiment.train.seed)
        check_fits(experiment.model, held_out, data.test)
        kind = kind_of(data.puzzle, held_out.seq_len)
        arc = is_arc_test(kind, held_out, "test")
        if arc:
            votes_for(held_out)  # what is wrong with its files is told now and not hours later
        effort = Effort((experiment.model.supervision_steps,))
        batch_size = experiment.train.eval_batch_size
        return cls(Evaluator(model, held_out, batch_size, effort, kind, layout=layout), held_out, arc)

    def __call__(self, state: TrainState, writer: MetricsWriter, t: int) -> None:
        """Evaluates a state, and writes and says what came out."""
        held_out = self.held_out
        with Bar("  evaluating", len(held_out), every=max(1, len(held_out) // 4)) as bar:
            report = self.evaluator(averaged_weights(state), bar.update, votes_for(held_out) if self.arc else None)
        row = report.rows[-1]
        passed = report.arc.pass_at if report.arc is not None else None
        writer.write(
            t,
            {
                "eval/exact_accuracy": row.exact.value,
                "eval/cell_accuracy": row.cells.value,
                "eval/q_halt_accuracy": row.q_right,
                "time/eval_seconds": report.seconds,
                **{f"eval/arc_pass_{k}": share for k, share in (passed or {}).items()},
            },
        )
        if passed:
            say(f"step {t}: ARC tasks solved by vote {passed[1]:.2%}, within two tries {passed[2]:.2%}")
        say(f"step {t}: averaged weights solve {row.exact.value:.2%} of {report.puzzles} held-out puzzles exactly")


def _check_same_run(meta: Meta, experiment: Experiment, puzzles: PuzzleSet, workdir: Path) -> None:
    harmful = [d for d in differences(meta.experiment, experiment) if d.partition(":")[0] not in HARMLESS]
    if meta.experiment.train.steps != experiment.train.steps and experiment.optim.min_ratio != 1:
        harmful.append(f"train.steps: {meta.experiment.train.steps} -> {experiment.train.steps} (bends the schedule)")
    if harmful:
        raise CheckpointError(
            f"{workdir} holds another experiment; these differ: {'; '.join(harmful)}: use them, or a new workdir"
        )
    if meta.position and meta.position["fingerprint"] != puzzles.fingerprint:
        raise CheckpointError(
            f"{workdir} was trained on other puzzles than {experiment.data.train!r} holds: give those, or a new workdir"
        )


def _announce(experiment: Experiment, layout: Layout, feed: Feed, state: TrainState, workdir: Path, first: int) -> None:
    counts = count_weights(state.weights)
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    device = jax.devices()[0]
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    say(f"{experiment.name}: {parts} weights; on {layout.count} x {device.device_kind}{processes}; into {workdir}")
    where = "on each device" if feed.resident else "streamed from the host"
    say(f"{len(feed):,} examples, {format_bytes(feed.size)}, {where}")
    steps, size = experiment.train.steps, experiment.train.batch_size
    if first >= steps:
        say(f"finished already, at step {first}: raise config.train.steps to go on, or give a new workdir")
    else:
        say(f"{f'going on at step {first}' if first else 'starting'}, {steps} steps of batch {size}; compiling ...")
