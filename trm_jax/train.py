"""Training: from an experiment and a working directory to weights, resumable at any step.

One loop, in order: let the devices make some steps, now and then write figures, evaluate the averaged weights, save. A
run that was cut and goes on from its last checkpoint makes the same steps, bit for bit, as one that was never cut.
"""

import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax import dataset
from trm_jax.attention import choose as attention_for
from trm_jax.chain import check_available
from trm_jax.checkpoint import Checkpoints, Meta
from trm_jax.cluster import is_main
from trm_jax.config import (
    DevicesConfig,
    Experiment,
    MemoryConfig,
    ModelConfig,
    TrainConfig,
    differences,
    to_dict,
    validate,
)
from trm_jax.console import Bar, say
from trm_jax.dataset import PuzzleSet
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.evaluate import Evaluator, is_arc_test, votes_for
from trm_jax.feed import Feed, Source, next_batch
from trm_jax.inference import Effort
from trm_jax.losses import Metrics
from trm_jax.model import count_weights
from trm_jax.order import Position
from trm_jax.planner import settle
from trm_jax.puzzles.kind import kind_of
from trm_jax.sharding import BY_ROWS, EVERYWHERE, Layout, layout_of
from trm_jax.sizes import format_bytes
from trm_jax.step import TrainState, averaged_weights, init_state, model_of, state_specs, train_step
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
    rows = puzzles.num_puzzles
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
    """
    began = time.monotonic()
    config = experiment.train
    puzzles = dataset.load(experiment.data, "train", config.seed)
    experiment = resolve(experiment, puzzles)
    layout = layout_of(experiment)
    settled = _settled(experiment, layout)
    evaluation = _Evaluation.of(settled) if config.eval_every else None
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be made: {error.strerror}") from None
    with (
        Feed(puzzles, experiment, layout) as feed,
        Checkpoints(workdir, config.keep_checkpoints) as checkpoints,
        StopSignals() as signals,
    ):
        meta = checkpoints.latest_meta()
        if meta is None:
            state, totals, position = _fresh_state(settled, layout), _no_metrics(settled, layout), Position()
        else:
            _check_same_run(meta, experiment, puzzles, workdir)
            state, totals = checkpoints.restore(*_like(settled, layout))
            position = Position(**{k: v for k, v in meta.position.items() if k != "fingerprint"})
        first = int(state.step)
        _announce(experiment, layout, feed, state, workdir, first)
        if is_main():
            (workdir / "config.json").write_text(json.dumps(to_dict(experiment), indent=1) + "\n")
        with (
            MetricsWriter(workdir, first, is_main()) as metrics_writer,
            Bar("training", config.steps, first, every=config.log_every) as bar,
            _Profile(workdir / "profile", profile) as profiler,
        ):
            log = _Log(config, metrics_writer, bar)
            place = layout.everywhere(Position(*map(np.int32, position)))
            nothing = layout.everywhere({name: np.zeros((), np.float32) for name in totals})
            calls = _calls(first, config.steps, experiment.devices.steps_per_call)
            sources = feed.sources(position, (count for _, count in calls))
            for (t, count), source in zip(calls, sources, strict=True):
                previous = totals
                profiler.before(t - count)
                asked = _asked(layout, signals.stop)
                with jax.transfer_guard("disallow"):
                    state, totals, place, heard = _advance(settled, layout, count, state, totals, place, source, asked)
                    # While the devices work, the figures before are fetched and written.
                    log.write_late()
                    # Waiting for the call before keeps the queue short, so that a signal is answered at once.
                    jax.block_until_ready(previous)
                profiler.after(t, totals)
                stopping = signals.stop if heard is None else bool(heard)
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


def _calls(first: int, steps: int, at_once: int) -> list[tuple[int, int]]:
    """For each call the step that it leads to and how many it makes: up to the next multiple of `at_once`."""
    ends = [*range(first // at_once * at_once + at_once, steps, at_once), steps]
    return [(end, end - start) for start, end in zip([first, *ends], ends, strict=False)] if first < steps else []


class StopSignals:
    """While entered, SIGTERM and SIGINT ask for a stop after the present step; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.stop = False
        self.name = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.stop and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop, self.name = True, signal.Signals(number).name
        say(f"{self.name}: stopping after this step, then saving")


class _Log:
    """Rows of figures, written one call late: fetching them at once would make the devices wait for the host."""

    def __init__(self, config: TrainConfig, writer: MetricsWriter, bar: Bar) -> None:
        self._config, self._writer, self._bar = config, writer, bar
        self._waiting: tuple[int, Metrics] | None = None
        self._step, self._time = 0, time.monotonic()

    def restart_clock(self, t: int) -> None:
        """The pace counts from here: what came before (compilation, an evaluation) tells nothing of it."""
        self._step, self._time = t, time.monotonic()
        self._bar.restart_clock(t)

    def due(self, t: int, totals: Metrics) -> None:
        """The sums of a row of step t, perhaps still to be computed."""
        self._waiting = t, totals

    def write_late(self) -> None:
        """Writes the row that is due, if there is one; returns once it is computed."""
        if self._waiting is None:
            return
        (t, totals), self._waiting = self._waiting, None
        config = self._config
        row = _means(jax.device_get(totals), (t - 1) % config.log_every + 1, config.batch_size)
        now = time.monotonic()
        pace = (t - self._step) / max(now - self._time, 1e-9) * config.batch_size
        self._step, self._time = t, now
        self._writer.write(t, row | {"time/puzzles_per_second": pace})
        self._bar.update(t, _note(row, pace))


class _Profile:
    """A window of the run under JAX's profiler. A context manager: leaving it closes a window that is still open."""

    def __init__(self, folder: Path, steps: range) -> None:
        self._folder, self._steps, self._open = folder, steps, False

    def before(self, t: int) -> None:
        """Call with the steps done, before a call is made."""
        if self._steps and t >= self._steps.start and not self._open:
            jax.profiler.start_trace(str(self._folder))
            self._open = True

    def after(self, t: int, result: Any) -> None:
        """Call with the steps done and what the call leads to."""
        if self._open and t >= self._steps.stop:
            jax.block_until_ready(result)
            self._close()

    def _close(self) -> None:
        jax.profiler.stop_trace()
        self._steps, self._open = range(0), False
        say(f"profile written to {self._folder}: tensorboard --logdir {self._folder.parent}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            self._close()


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
    def of(cls, experiment: Experiment) -> "_Evaluation":
        """On the experiment's held-out puzzles. Raises DataError if the model cannot read them."""
        data, model = experiment.data, model_of(experiment)
        held_out = dataset.load(data, "test", experiment.train.seed)
        check_fits(experiment.model, held_out, data.test)
        kind = kind_of(data.puzzle, held_out.seq_len)
        arc = is_arc_test(kind, held_out, "test")
        if arc:
            votes_for(held_out)  # what is wrong with its files is told now and not hours later
        effort = Effort((experiment.model.supervision_steps,))
        return cls(Evaluator(model, held_out, experiment.train.eval_batch_size, effort, kind), held_out, arc)

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


def _settled(experiment: Experiment, layout: Layout) -> Experiment:
    """The experiment as it is run here. A checkpoint says what was given: another machine may need something else."""
    # Only that much of the batch is on one device.
    share = replace(experiment, train=replace(experiment.train, batch_size=experiment.train.batch_size // layout.count))
    check_available(experiment.memory.cycle_policy, "outer_policy")
    memory, model = settle(share).memory, experiment.model
    check_available(memory.step_policy)
    attention: Literal["xla", "cudnn"] = "xla"
    if model.mixer == "attention":
        attention, reason = attention_for(
            experiment.devices.attention,
            model.heads,
            model.width,
            model.positions_total,
            model.dtype,
            jax.default_backend(),
        )
        say(reason)
    return replace(experiment, memory=memory, devices=replace(experiment.devices, attention=attention))


# Compiled once for an experiment, however often a process trains it.
@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _advance(
    experiment: Experiment,
    layout: Layout,
    count: int,
    state: TrainState,
    totals: Metrics,
    position: Position,
    source: Source,
    asked: jax.Array | None,
) -> tuple[TrainState, Metrics, Position, jax.Array | None]:
    """`count` steps on fresh batches, with their metrics added to those since the last row.

    asked: whether each device's process was asked to stop; comes back as how many were, the same for all. None: there
      is but one process, which knows.
    """

    def steps(state: TrainState, totals: Metrics, position: Position, source: Source, asked: Any) -> Any:
        def step(i: jax.Array | int, reached: Any) -> Any:
            state, totals, position = reached
            batch, position = next_batch(experiment, layout, source, position, state.key, state.step + 1, i)
            state, metrics = train_step(experiment, state, batch, layout)
            return state, {name: totals[name] + metrics[name].astype(jnp.float32) for name in totals}, position

        reached = state, totals, position
        reached = step(0, reached) if count == 1 else jax.lax.fori_loop(0, count, step, reached)
        return *reached, None if asked is None else layout.total(asked.sum())

    arguments = state, totals, position, source, asked
    if layout.mesh is None:
        return steps(*arguments)
    reached = (state_specs(experiment, layout), EVERYWHERE, EVERYWHERE)
    return jax.shard_map(
        steps,
        mesh=layout.mesh,
        in_specs=(*reached, source.specs(), BY_ROWS),
        out_specs=(*reached, EVERYWHERE),
        check_vma=False,
    )(*arguments)


def _asked(layout: Layout, stop: bool) -> jax.Array | None:
    """What `_advance` is told of this process's signals."""
    if jax.process_count() == 1:
        return None
    here = np.full(layout.count, stop, np.int32)
    return jax.make_array_from_callback(here.shape, layout.shardings(BY_ROWS), lambda index: here[index])


def _fresh_state(experiment: Experiment, layout: Layout) -> TrainState:
    shardings = layout.shardings(state_specs(experiment, layout))
    state: TrainState = jax.jit(init_state, static_argnums=0, out_shardings=shardings)(experiment)
    return state


def _metric_names(experiment: Experiment) -> list[str]:
    state: Any = jax.eval_shape(partial(init_state, experiment))
    _, metrics = jax.eval_shape(partial(train_step, experiment), state, state.carry.data)
    return list(metrics)


def _no_metrics(experiment: Experiment, layout: Layout) -> Metrics:
    nothing: Metrics = layout.everywhere({name: np.zeros((), np.float32) for name in _metric_names(experiment)})
    return nothing


def _like(experiment: Experiment, layout: Layout) -> tuple[TrainState, Metrics]:
    """What a checkpoint is to hold: shapes, dtypes and where each array goes, without any."""

    def placed(shapes: Any, specs: Any) -> Any:
        shardings = layout.shardings(specs)
        return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), shapes, shardings)

    state: Any = jax.eval_shape(partial(init_state, experiment))
    totals = {name: jax.ShapeDtypeStruct((), jnp.float32) for name in _metric_names(experiment)}
    return placed(state, state_specs(experiment, layout)), placed(totals, dict.fromkeys(totals, EVERYWHERE))


def _means(totals: Mapping[str, Any], steps: int, batch_size: int) -> dict[str, float]:
    """Means since the last row: losses per puzzle, accuracies per finished puzzle (nan if none), norms per step."""
    sums = {name: float(value) for name, value in totals.items()}
    count = sums.pop("count")
    means = {}
    for name, value in sums.items():
        if name.endswith("loss"):
            means[f"train/{name}"] = value / (steps * batch_size)
        elif name in ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps"):
            means[f"train/{name}"] = value / count if count else float("nan")
        else:
            means[f"train/{name}"] = value / steps
    return means | {"train/finished": count / steps}


def _note(row: Mapping[str, float], pace: float) -> str:
    finished = row["train/finished"] > 0
    solved = f"exact {row['train/exact_accuracy']:6.2%}  halts after {row['train/steps']:4.1f}"
    return f"loss {row['train/loss']:.4f}  {solved if finished else 'none finished yet':28}  {pace:,.0f} puzzles/s"


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
