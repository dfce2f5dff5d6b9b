"""Training: from an experiment and a working directory to weights, resumable at any step.

One loop, in order: let the devices make some steps, now and then write figures, evaluate the averaged weights, save. A
run that was cut and goes on from its last checkpoint makes the same steps, bit for bit, as one that was never cut.
"""

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.config import Experiment, ModelConfig, to_dict, validate
from trm_jax.console import Bar, say
from trm_jax.data import dataset
from trm_jax.data.dataset import PuzzleSet
from trm_jax.data.order import Position
from trm_jax.devices.cluster import any_of_us, check_shared, is_main, joined, noticing_loss, unanimous
from trm_jax.devices.sharding import Layout, layout_of
from trm_jax.errors import ConfigError, DataError, NotFiniteError
from trm_jax.inference.attempts import Effort
from trm_jax.inference.evaluate import Evaluator, Report, is_arc_test, votes_for
from trm_jax.model.losses import Metrics
from trm_jax.model.model import count_weights
from trm_jax.puzzles.kind import kind_of
from trm_jax.runs import nans
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.figures import Log
from trm_jax.runs.lock import Lock
from trm_jax.runs.meta import Meta
from trm_jax.runs.profiling import Profile
from trm_jax.runs.resume import check_same_run, position_of
from trm_jax.runs.signals import Stopped, StopSignals
from trm_jax.runs.watch import LossWatch, check_finite
from trm_jax.runs.writers import MetricsWriter, read_metrics
from trm_jax.sizes import format_bytes
from trm_jax.training.feed import Feed, Source, forms_of
from trm_jax.training.program import (
    Signs,
    advance,
    asked_to_stop,
    compile_ahead,
    fresh_state,
    like,
    no_metrics,
    settled,
)
from trm_jax.training.step import TrainState, averaged_weights, model_of
from trm_jax.version import VERSION

# Rows of a large puzzle table are a multiple of this.
_TABLE_UNIT = 1_024


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at which step, whether nothing is left to be done, and whether this part of the run made any."""

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


def train(
    experiment: Experiment, workdir: Path, profile: range = range(0), force: bool = False, debug_nans: bool = False
) -> Outcome:
    """Trains until config.train.steps, or until a signal asks to stop; goes on from a checkpoint where there is one.

    With several processes (cluster.join), every one calls this with the same arguments; the first of them writes.

    Args:
      experiment: what to train, and on what.
      workdir: receives checkpoints/, metrics.jsonl, TensorBoard events and config.json (for reading; checkpoints hold
        their own); made if it does not exist. Processes need a common one.
      profile: steps of which a profile is written to profile/, for TensorBoard or Perfetto; whole calls.
      force: goes on from a checkpoint of another experiment, or on other puzzles, as far as the arrays fit.
      debug_nans: looks at the first step that is not finite operation by operation, and says where it began. Each step
        is copied before it is made.

    Raises:
      ConfigError, DataError, CheckpointError, LockedError: in one line; a workdir of another experiment is left as it
        is.
      NotFiniteError: config.train.bad_steps steps in a row were skipped; or, to debug, one.
      StorageError: the disk is full, read-only or gone.
      ProcessLost: another process has gone.
    """
    began = time.monotonic()
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals(leaves=not joined()))
        stack.enter_context(noticing_loss())
        with unanimous():
            if is_main():
                stack.enter_context(Lock(workdir))
        try:
            run = signals.during(partial(_begin, experiment, workdir, force, debug_nans))
        except Stopped:
            say(f"stopped by {signals.name} before a step was made: run the same command again")
            return Outcome(0, False, False, time.monotonic() - began)
        stack.enter_context(run.feed)
        stack.enter_context(run.checkpoints)
        first = run.step
        _announce(run)
        with MetricsWriter(workdir, first, is_main()) as writer:
            writer.note("config.json", json.dumps(to_dict(run.experiment), indent=1) + "\n")
            _go_on(run, signals, writer, profile, began)
        run.checkpoints.wait()
    finished = run.step >= run.experiment.train.steps and not run.evaluation_due
    if not finished:
        by = signals.name or "another process"
        say(f"stopped at step {run.step} by {by}; saved: the same command goes on from here")
    return Outcome(run.step, finished, run.step > first, time.monotonic() - began)


@dataclass
class _Run:
    """A run as it stands after a step.

    debug_nans: as for `train`.
    experiment: as given, with sizes filled in: what checkpoints keep, since another machine may settle otherwise.
    here: as these devices run it.
    position: where the next batch starts, on the devices.
    step: as in the state, which is not to be waited for.
    evaluation_due: the evaluation after this step has not been made, or not to its end.
    """

    workdir: Path
    debug_nans: bool
    experiment: Experiment
    here: Experiment
    layout: Layout
    puzzles: PuzzleSet
    feed: Feed
    evaluation: "_Evaluation | None"
    checkpoints: Checkpoints
    state: TrainState
    totals: Metrics
    position: Position
    step: int
    evaluation_due: bool

    def save(self) -> None:
        """Starts to save; see Checkpoints.save."""
        place = {name: int(value) for name, value in jax.device_get(self.position)._asdict().items()}
        meta = Meta(self.experiment, place | {"fingerprint": self.puzzles.fingerprint}, self.evaluation_due)
        self.checkpoints.save(self.state, self.totals, meta)


def _begin(experiment: Experiment, workdir: Path, force: bool, debug_nans: bool) -> _Run:
    """Everything that comes before the first step but its compilation."""
    config = experiment.train
    with unanimous() as facts:
        puzzles = dataset.load(experiment.data, "train", config.seed)
        experiment = resolve(experiment, puzzles)
        layout = layout_of(experiment)
        if debug_nans:
            nans.prepare(layout)
        here = settled(experiment, layout)
        feed = Feed(puzzles, experiment, layout)
        evaluation = _Evaluation.of(here, layout) if config.eval_every else None
        try:
            workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--workdir={workdir}: cannot be made: {error.strerror}") from None
        facts |= _facts(here, feed, puzzles, evaluation)
    check_shared(workdir)
    checkpoints = Checkpoints(workdir, config.keep_checkpoints, is_main())
    empty, nothing = like(here, layout)
    with unanimous():
        if is_main():
            checkpoints.recover()
            checkpoints.check_space(empty)
    with unanimous():
        meta = checkpoints.latest_meta()
        if meta is not None:
            check_same_run(meta, experiment, puzzles.fingerprint, workdir, force)
    if meta is None:
        state, totals, position = fresh_state(here, layout), no_metrics(here, layout), Position()
    else:
        state, totals = checkpoints.restore(empty, nothing)
        position = position_of(meta, puzzles.fingerprint)
    return _Run(
        workdir,
        debug_nans,
        experiment,
        here,
        layout,
        puzzles,
        feed,
        evaluation,
        checkpoints,
        state,
        totals,
        layout.everywhere(Position(*map(np.int32, position))),
        step=int(state.step),
        evaluation_due=meta is not None and meta.evaluation_due and evaluation is not None,
    )


def _go_on(run: _Run, signals: StopSignals, writer: MetricsWriter, profile: range, began: float) -> None:
    """Makes the steps that are left, or those until a signal comes; the last of them is saved."""
    config, first = run.here.train, run.step
    nothing = no_metrics(run.here, run.layout)
    ends = _calls(first, config.steps, 1 if run.debug_nans else run.here.devices.steps_per_call)
    sources = run.feed.sources(Position(*map(int, jax.device_get(run.position))), (count for _, count in ends))
    earlier = read_metrics(run.workdir) if is_main() else []
    watch = LossWatch(earlier)
    # Its row is there already if the process was killed before it could save again.
    evaluated = any(row["step"] == first and "eval/exact_accuracy" in row for row in earlier)
    run.evaluation_due = run.evaluation_due and not any_of_us(evaluated)

    def look(step: int, loss: float) -> None:
        run.checkpoints.check()
        if explosion := watch.look(step, loss):
            kept = run.checkpoints.hold(explosion.good_step)
            say(f"warning: {explosion}" + ("" if kept is None else f"; checkpoint {kept} will not be deleted"))

    with (
        Bar("training", config.steps, first, every=config.log_every) as bar,
        Profile(run.workdir / "profile", profile) as profiler,
    ):
        log = Log(config, writer, bar, look)
        calls = _Calls(run, signals, log, profiler)
        fault: NotFiniteError | None = None
        try:
            if run.evaluation_due:
                _evaluate(run, signals, writer)
            for (t, count), source in zip(ends, sources, strict=True):
                calls.make(t, count, source)
                if t - count == first:
                    jax.block_until_ready(run.totals)
                    say(f"first step done after {time.monotonic() - began:.1f} s, compilation included")
                    log.restart_clock(t)
                if t % config.log_every == 0 or t == config.steps:
                    log.due(t, run.totals)
                    run.totals = nothing
                elif bar.live:
                    bar.update(t)
                run.evaluation_due = bool(config.eval_every) and (t % config.eval_every == 0 or t == config.steps)
                saves = config.save_every and t % config.save_every == 0 and t < config.steps
                if calls.stop:
                    raise Stopped
                if run.evaluation_due or saves:
                    log.write_late()
                if run.evaluation_due:
                    _evaluate(run, signals, writer)
                    log.restart_clock(t)
                if saves:
                    run.save()
            calls.check_last()
        except Stopped:
            pass
        except NotFiniteError as error:  # what was reached before is good
            fault = error
        log.write_late()
        if run.step:
            run.save()
        if fault is not None:
            run.checkpoints.wait()
            raise fault


class _Calls:
    """Calls of the compiled program; what they tell is looked at one call late, while the devices work."""

    def __init__(self, run: _Run, signals: StopSignals, log: Log, profiler: Profile) -> None:
        self._run, self._signals, self._log, self._profiler = run, signals, log, profiler
        self._compiled: set[int] = set()
        self._signs: Signs | None = None
        self._signs_before: Signs | None = None

    def make(self, t: int, count: int, source: Source) -> None:
        """Makes `count` steps, up to step t.

        Raises:
          Stopped: a signal came before them, while they were compiled.
          NotFiniteError: too many steps before these were skipped; or, to debug, one of these.
        """
        run, self._signs_before = self._run, self._signs
        asked = asked_to_stop(run.layout, self._signals.stop)
        call = run.here, run.layout, count, run.state, run.totals, run.position, source, asked
        if count not in self._compiled:
            self._signals.during(partial(compile_ahead, *call))
            self._compiled.add(count)
        totals_before, position_before = run.totals, run.position
        state_before = jax.tree.map(jnp.copy, run.state) if run.debug_nans else None
        self._profiler.before(t - count)
        with jax.transfer_guard("disallow"):
            run.state, run.totals, run.position, self._signs = advance(*call)
            run.step = t
            # While the devices work, the figures before are fetched and written.
            self._log.write_late()
            # Waiting for the call before keeps the queue short, so that a signal is answered at once.
            jax.block_until_ready(totals_before)
        self._profiler.after(t, run.totals)
        if state_before is not None:
            nans.check_step(run.here, state_before, position_before, source, self._signs)
        if self._signs_before is not None:
            check_finite(self._signs_before, t - count, run.here.train.bad_steps)

    @property
    def stop(self) -> bool:
        """Whether a signal asks to stop after the last call."""
        if jax.process_count() == 1:
            return self._signals.stop
        # Several processes agree on the step to stop at: all know who had been asked one call before.
        return self._signs_before is not None and bool(self._signs_before.asked)

    def check_last(self) -> None:
        """Raises NotFiniteError if too many steps up to the last one were skipped."""
        if self._signs is not None:
            check_finite(self._signs, self._run.step, self._run.here.train.bad_steps)


def _evaluate(run: _Run, signals: StopSignals, writer: MetricsWriter) -> None:
    """The evaluation that is due. Raises Stopped if a signal comes first; it is due still, then."""
    assert run.evaluation is not None
    report = signals.during(partial(run.evaluation, run.state, signals))
    run.evaluation.tell(report, run.step, writer)
    run.evaluation_due = False


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

    def __call__(self, state: TrainState, signals: StopSignals) -> Report:
        """Evaluates a state. Raises Stopped if a signal asks for it in the meantime."""
        held_out = self.held_out
        with Bar("  evaluating", len(held_out), every=max(1, len(held_out) // 4)) as bar:

            def progress(done: int) -> None:
                bar.update(done)
                if any_of_us(signals.stop):
                    raise Stopped

            return self.evaluator(averaged_weights(state), progress, votes_for(held_out) if self.arc else None)

    def tell(self, report: Report, t: int, writer: MetricsWriter) -> None:
        """Writes and says what came out."""
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


def _announce(run: _Run) -> None:
    experiment, feed = run.experiment, run.feed
    counts = count_weights(run.state.weights)
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    devices = f"{run.layout.count} x {jax.devices()[0].device_kind}"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    say(f"{experiment.name}: {parts} weights; on {devices}{processes}; into {run.workdir}")
    where = "on each device" if feed.resident else "streamed from the host"
    say(f"{len(feed):,} examples, {format_bytes(feed.size)}, {where}")
    steps, size = experiment.train.steps, experiment.train.batch_size
    if run.step >= steps:
        say(f"finished already, at step {run.step}: raise config.train.steps to go on, or give a new workdir")
    else:
        start = f"going on at step {run.step}" if run.step else "starting"
        say(f"{start}, {steps} steps of batch {size}; compiling ...")
