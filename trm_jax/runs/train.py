"""Training: from an experiment and a working directory to weights, resumable at any step.

One loop, in order: let the devices make some steps, now and then write figures, evaluate the averaged weights, save. A
run that was cut and goes on from its last checkpoint makes the same steps, bit for bit, as one that was never cut.
"""

import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp

from trm_jax.config import Experiment, to_dict
from trm_jax.config.curriculum import Stage, stages
from trm_jax.console import Bar, say
from trm_jax.data.disk import as_path
from trm_jax.data.order import Position
from trm_jax.devices.cluster import any_of_us, is_main, joined, noticing_loss, unanimous
from trm_jax.errors import ConfigError, NotFiniteError
from trm_jax.runs import evaluation, nans
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.figures import Log
from trm_jax.runs.lock import Lock
from trm_jax.runs.monitor import Monitor
from trm_jax.runs.parts import PartsLog
from trm_jax.runs.profiling import Profile
from trm_jax.runs.run import Run, announce, begin
from trm_jax.runs.signals import Stopped, StopSignals
from trm_jax.runs.watch import LossWatch, check_finite
from trm_jax.runs.writers import MetricsWriter, read_metrics
from trm_jax.training.feed import Source
from trm_jax.training.program import Signs, advance, asked_to_stop, compile_ahead, no_metrics


@dataclass(frozen=True)
class Outcome:
    """How a run ended: at which step, whether nothing is left to be done, and whether this part of the run made any."""

    step: int
    finished: bool
    trained: bool
    seconds: float


def train(
    experiment: Experiment,
    workdir: str | os.PathLike[str],
    profile: range = range(0),
    force: bool = False,
    debug_nans: bool = False,
    max_minutes: float = 0.0,
) -> Outcome:
    """Trains until config.train.steps, or until a signal asks to stop; goes on from a checkpoint where there is one.

    With several processes (cluster.join), every one calls this with the same arguments; the first of them writes.

    Args:
      experiment: what to train, and on what.
      workdir: receives checkpoints/, metrics.jsonl, TensorBoard events, parts.jsonl and config.json (for reading;
        checkpoints hold their own); made if it does not exist. Processes need a common one.
      profile: steps of which a profile is written to profile/, for TensorBoard or Perfetto; whole calls.
      force: goes on from a checkpoint of another experiment, or on other puzzles, as far as the arrays fit.
      debug_nans: looks at the first step that is not finite operation by operation, and says where it began. Each step
        is copied before it is made.
      max_minutes: after so long it stops, saved, as if a signal had asked for it; 0: never.

    Raises:
      ConfigError, DataError, CheckpointError, LockedError: in one line; a workdir of another experiment is left as it
        is.
      NotFiniteError: config.train.bad_steps steps in a row were skipped; or, to debug, one.
      StorageError: the disk is full, read-only or gone.
      ProcessLost: another process has gone.
    """
    began = time.monotonic()
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"experiment is of type {type(experiment).__name__}: give an Experiment")
    folder = as_path(workdir, "workdir")
    with ExitStack() as stack:
        signals = stack.enter_context(StopSignals(leaves=not joined()))
        stack.enter_context(noticing_loss())
        with unanimous():
            if is_main():
                stack.enter_context(Lock(folder))
        try:
            run = signals.during(partial(begin, experiment, folder, force, debug_nans))
        except Stopped:
            say(f"stopped by {signals.name} before a step was made: run the same command again")
            return Outcome(0, False, False, time.monotonic() - began)
        stack.enter_context(run.feed)
        stack.enter_context(run.checkpoints)
        first = run.step
        announce(run)
        with MetricsWriter(folder, first, is_main()) as writer:
            writer.note("config.json", json.dumps(to_dict(run.experiment), indent=1) + "\n")
            part = PartsLog(writer, folder, first)
            with Checkpoints(folder, keep=1, writes=is_main(), best=True) as best:
                monitor = Monitor(best, read_metrics(folder) if is_main() else [], first, run.here.train.patience)
                if max_minutes:
                    signals.ask_at(began + 60 * max_minutes, f"--max-minutes={max_minutes:g}")
                if not monitor.exhausted or run.evaluation_due:
                    _go_on(run, signals, writer, profile, debug_nans, began, monitor)
            part.end(run.step)
        run.checkpoints.wait()
    finished = (run.step >= run.experiment.train.steps or monitor.exhausted) and not run.evaluation_due
    if not finished:
        by = signals.name or "another process"
        say(f"stopped at step {run.step} by {by}; saved: the same command goes on from here")
    return Outcome(run.step, finished, run.step > first, time.monotonic() - began)


def _go_on(
    run: Run,
    signals: StopSignals,
    writer: MetricsWriter,
    profile: range,
    debug_nans: bool,
    began: float,
    monitor: Monitor,
) -> None:
    """Makes the steps that are left, or those until a signal comes; the last of them is saved."""
    config, first = run.here.train, run.step
    nothing = no_metrics(run.here, run.layout)
    depths = stages(run.here)
    ends = _calls(first, [stage.end for stage in depths], 1 if debug_nans else run.here.devices.steps_per_call)
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

    def evaluate() -> None:
        """The evaluation that is due; where a signal comes first, which raises Stopped, it is due still."""
        assert run.evaluation is not None
        found = signals.during(partial(run.evaluation, run.state, signals))
        evaluation.tell(found, run.step, writer, run.here.optim.ema_decay)
        run.evaluation_due = False
        monitor.look(found, run.step, run.state, run.meta)

    with (
        Bar("training", config.steps, first, every=config.log_every) as bar,
        Profile(run.workdir / "profile", profile) as profiler,
    ):
        log = Log(config, writer, bar, look)
        calls = _Calls(run, depths, signals, log, profiler, debug_nans)
        fault: NotFiniteError | None = None
        try:
            if run.evaluation_due:
                evaluate()
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
                    evaluate()
                    log.restart_clock(t)
                if saves:
                    run.save()
                if monitor.exhausted:
                    raise Stopped
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


def _calls(first: int, ends: Sequence[int], at_once: int) -> list[tuple[int, int]]:
    """For each call the step that it leads to and how many it makes: up to the next multiple of `at_once`.

    ends: steps beyond which no call reaches, in their order; the last one is that of the run.
    """
    steps = ends[-1]
    wanted = {*range(first // at_once * at_once + at_once, steps, at_once), *ends}
    reached = [first, *sorted(step for step in wanted if step > first)]
    return [(end, end - start) for start, end in pairwise(reached)]


class _Calls:
    """Calls of the compiled program; what they tell is looked at one call late, while the devices work."""

    def __init__(
        self,
        run: Run,
        depths: Sequence[Stage],
        signals: StopSignals,
        log: Log,
        profiler: Profile,
        debug_nans: bool,
    ) -> None:
        """depths: the stages of the curriculum, of which each call is in one."""
        self._run, self._depths, self._signals, self._log, self._profiler = run, depths, signals, log, profiler
        self._debug_nans = debug_nans
        self._compiled: set[tuple[Experiment, int]] = set()
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
        here = next(stage.experiment for stage in self._depths if t <= stage.end)
        call = here, run.layout, count, run.state, run.totals, run.position, source, asked
        if (here, count) not in self._compiled:
            self._log.write_late()
            self._signals.during(partial(compile_ahead, *call))
            self._log.restart_clock(t - count)
            self._compiled.add((here, count))
        if run.layout.count > 1 and jax.default_backend() == "cpu":
            # Of two calls under way, each device's thread may wait for another's in the other call, for ever.
            jax.block_until_ready(run.totals)
        totals_before, position_before = run.totals, run.position
        state_before = jax.tree.map(jnp.copy, run.state) if self._debug_nans else None
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
            nans.check_step(here, state_before, position_before, source, self._signs)
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
