"""Training: from an experiment and a working directory to weights, resumable at any step.

One loop, in order: draw a batch, step, now and then write figures, evaluate the averaged weights, save. A run that was
cut and goes on from its last checkpoint makes the same steps, bit for bit, as one that was never cut.
"""

import json
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import jax
import jax.numpy as jnp

from trm_jax import dataset
from trm_jax.chain import check_available
from trm_jax.checkpoint import Checkpoints, Meta
from trm_jax.config import Experiment, MemoryConfig, ModelConfig, differences, to_dict, validate
from trm_jax.console import Bar, say
from trm_jax.dataset import Position, PuzzleSet, Sampler
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.evaluate import Evaluator, is_arc_test, votes_for
from trm_jax.inference import Effort
from trm_jax.losses import Metrics
from trm_jax.model import Model, count_weights
from trm_jax.planner import settle
from trm_jax.puzzles.kind import kind_of
from trm_jax.step import TrainState, averaged_weights, init_state, train_step
from trm_jax.supervision import Batch
from trm_jax.writers import MetricsWriter

# Keys that may change between the parts of one run without making it another run.
HARMLESS = (
    "name",
    "data.train",  # the puzzles themselves are compared by fingerprint
    "data.test",
    "data.test_puzzles",
    *(f"memory.{field.name}" for field in fields(MemoryConfig)),  # no value depends on them, but for rounding
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
    sizes = {"vocab_size": puzzles.vocab_size, "seq_len": puzzles.seq_len, "num_puzzles": puzzles.num_puzzles}
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


def train(experiment: Experiment, workdir: Path) -> Outcome:
    """Trains until config.train.steps, or until a signal asks to stop; goes on from a checkpoint where there is one.

    Args:
      experiment: what to train, and on what.
      workdir: receives checkpoints/, metrics.jsonl, TensorBoard events and config.json (for reading; checkpoints hold
        their own); made if it does not exist.

    Raises:
      ConfigError, DataError, CheckpointError: in one line; a workdir of another experiment is left as it is.
    """
    began = time.monotonic()
    data, config = experiment.data, experiment.train
    puzzles = dataset.load(data, "train", config.seed)
    experiment = resolve(experiment, puzzles)
    data = experiment.data
    model = Model(experiment.model)
    sampler = Sampler(puzzles, config.batch_size, config.seed, dataset.augmentation(data, puzzles.seq_len))
    held_out = dataset.load(data, "test", config.seed) if config.eval_every else None
    evaluator = None
    if held_out is not None:
        check_fits(experiment.model, held_out, data.test)
        effort = Effort((experiment.model.supervision_steps,))
        kind = kind_of(data.puzzle, held_out.seq_len)
        evaluator = Evaluator(model, held_out, config.eval_batch_size, effort, kind)
        if is_arc_test(kind, held_out, "test"):
            votes_for(held_out)  # what is wrong with its files is told now and not hours later
    # What a checkpoint says stays as it was given: another machine may need another policy.
    check_available(experiment.memory.cycle_policy, "outer_policy")
    settled = settle(experiment)
    check_available(settled.memory.step_policy)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be made: {error.strerror}") from None
    state = _fresh_state(experiment)
    totals = _no_metrics(settled, state)
    with Checkpoints(workdir, config.keep_checkpoints) as checkpoints, StopSignals() as signals:
        meta = checkpoints.latest_meta()
        if meta is not None:
            _check_same_run(meta, experiment, puzzles, workdir)
            state, totals = checkpoints.restore(state, totals)
            sampler.position = Position(**{k: v for k, v in meta.position.items() if k != "fingerprint"})
        (workdir / "config.json").write_text(json.dumps(to_dict(experiment), indent=1) + "\n")
        first = int(state.step)
        _announce(experiment, state, workdir, first)
        with (
            MetricsWriter(workdir, first) as metrics_writer,
            Bar("training", config.steps, first, every=config.log_every) as bar,
        ):
            clock = _Clock(first)
            for t in range(first + 1, config.steps + 1):
                batch = Batch(*map(jnp.asarray, next(sampler)))
                previous = totals
                state, totals = _step(settled, state, totals, batch)
                # Waiting for the step before keeps the queue short, so that a signal is answered at once.
                jax.block_until_ready(previous)
                last = t == config.steps or signals.stop
                if t == first + 1:
                    jax.block_until_ready(totals)
                    say(f"first step done after {time.monotonic() - began:.1f} s, compilation included")
                    clock = _Clock(t)
                    bar.restart_clock(t)
                if t % config.log_every == 0 or t == config.steps:
                    steps = (t - 1) % config.log_every + 1
                    row = _means(totals, steps, config.batch_size)
                    totals = jax.tree.map(jnp.zeros_like, totals)
                    pace = clock.steps_per_second(t)
                    metrics_writer.write(t, row | {"time/puzzles_per_second": pace * config.batch_size})
                    bar.update(t, _note(row, pace * config.batch_size))
                elif bar.live:
                    bar.update(t)
                if evaluator and (t % config.eval_every == 0 or t == config.steps):
                    _evaluate(evaluator, state, held_out, metrics_writer, t)
                    clock = _Clock(t)
                if last or (config.save_every and t % config.save_every == 0):
                    position = asdict(sampler.position) | {"fingerprint": puzzles.fingerprint}
                    checkpoints.save(state, totals, Meta(experiment, position))
                    metrics_writer.flush()
                if last:
                    break
        checkpoints.wait()
        done = int(state.step)
    if signals.stop and done < config.steps:
        say(f"stopped at step {done} by {signals.name}; saved: the same command goes on from here")
    return Outcome(done, done >= config.steps, done > first, time.monotonic() - began)


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


class _Clock:
    """Steps per second since the last reading."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()

    def steps_per_second(self, step: int) -> float:
        now = time.monotonic()
        pace = (step - self._step) / max(now - self._time, 1e-9)
        self._step, self._time = step, now
        return pace


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


def _evaluate(
    evaluator: Evaluator, state: TrainState, held_out: PuzzleSet | None, writer: MetricsWriter, t: int
) -> None:
    assert held_out is not None
    votes = votes_for(held_out) if is_arc_test(evaluator.kind, held_out, "test") else None
    with Bar("  evaluating", len(held_out), every=max(1, len(held_out) // 4)) as bar:
        report = evaluator(averaged_weights(state), bar.update, votes)
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


# Compiled once for an experiment, however often a process trains it.
_fresh_state = jax.jit(init_state, static_argnums=0)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _step(experiment: Experiment, state: TrainState, totals: Metrics, batch: Batch) -> tuple[TrainState, Metrics]:
    """train_step, with its metrics added to those since the last row."""
    state, metrics = train_step(experiment, state, batch)
    return state, {name: totals[name] + metrics[name].astype(jnp.float32) for name in totals}


def _no_metrics(experiment: Experiment, state: TrainState) -> Metrics:
    _, metrics = jax.eval_shape(partial(train_step, experiment), state, state.carry.data)
    return {name: jnp.zeros((), jnp.float32) for name in metrics}


def _means(totals: Mapping[str, jax.Array], steps: int, batch_size: int) -> dict[str, float]:
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


def _announce(experiment: Experiment, state: TrainState, workdir: Path, first: int) -> None:
    counts = count_weights(state.weights)
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    device = jax.devices()[0]
    say(f"{experiment.name}: {parts} weights; on {len(jax.devices())} x {device.device_kind}; into {workdir}")
    steps, size = experiment.train.steps, experiment.train.batch_size
    if first >= steps:
        say(f"finished already, at step {first}: raise config.train.steps to go on, or give a new workdir")
    else:
        say(f"{f'going on at step {first}' if first else 'starting'}, {steps} steps of batch {size}; compiling ...")
