"""A run: all that belongs to it, how it begins or goes on from a checkpoint, and what it says of itself."""

from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from trm_jax.config import Experiment, to_dict
from trm_jax.config.curriculum import stages
from trm_jax.console import say
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.identifiers import Identifiers, identifiers_of
from trm_jax.data.kept_rules import Kept, kept_by, rules_of
from trm_jax.data.order import Position
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.sample import check_labels, check_sample
from trm_jax.devices.cluster import check_shared, is_main, unanimous
from trm_jax.devices.sharding import Layout, layout_of
from trm_jax.errors import ConfigError
from trm_jax.model.losses import Metrics
from trm_jax.model.model import count_weights
from trm_jax.puzzles.kind import Rules
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs import nans
from trm_jax.runs.beginning import beginning
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.evaluation import Evaluation
from trm_jax.runs.meta import Meta
from trm_jax.runs.resume import as_begun, check_same_run, position_of
from trm_jax.sizes import counted, format_bytes
from trm_jax.training.feed import Feed
from trm_jax.training.program import fresh_state, like, no_metrics, settled
from trm_jax.training.step import TrainState
from trm_jax.version import VERSION


@dataclass
class Run:
    """A run as it stands after a step.

    experiment: as given, with sizes filled in: what checkpoints keep, since another machine may settle otherwise.
    here: as these devices run it.
    fingerprint, identifiers, rules: of the puzzles; the rules are kept for later commands.
    evaluation: None: the run makes none.
    position: where the next batch starts, on the devices.
    step: as in the state, which is not to be waited for.
    evaluation_due: the evaluation after this step has not been made, or not to its end.
    """

    workdir: Path
    experiment: Experiment
    here: Experiment
    layout: Layout
    fingerprint: str
    identifiers: Identifiers
    rules: Kept | None
    feed: Feed
    evaluation: Evaluation | None
    checkpoints: Checkpoints
    state: TrainState
    totals: Metrics
    position: Position
    step: int
    evaluation_due: bool

    @property
    def meta(self) -> Meta:
        """What a checkpoint of this step says of itself."""
        place = {name: int(value) for name, value in jax.device_get(self.position)._asdict().items()}
        return Meta(
            self.experiment,
            place | {"fingerprint": self.fingerprint},
            self.evaluation_due,
            identifiers=self.identifiers,
            rules=self.rules,
        )

    def save(self) -> None:
        """Starts to save; see Checkpoints.save."""
        self.checkpoints.save(self.state, self.totals, self.meta)


def begin(experiment: Experiment, workdir: Path, force: bool, debug_nans: bool) -> Run:
    """Everything that comes before the first step but its compilation. Arguments and errors are those of `train`."""
    config = experiment.train
    with unanimous() as facts:
        puzzles = dataset.load(experiment.data, "train", config.seed)
        experiment = resolve(experiment, puzzles)
        check_sample(kind_of(experiment.data.puzzle, puzzles.seq_len), puzzles, experiment.data.train)
        check_labels(puzzles, experiment.data.train)
        layout = layout_of(experiment)
        if debug_nans:
            nans.prepare(layout)
        here = settled(experiment, layout)
        feed = Feed(puzzles, experiment, layout)
        identifiers = identifiers_of(puzzles) if experiment.model.puzzle_dim else {}
        rules = kept_by(filter(None, experiment.data.train.split(",")))
        evaluation = Evaluation.of(here, layout, identifiers, _own_rules(here)) if config.eval_every else None
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
            experiment = as_begun(experiment, meta, workdir)
            check_same_run(meta, experiment, puzzles.fingerprint, workdir, force)
    with unanimous() as facts:
        given = None
        if meta is None and experiment.init.source:
            experiment, given = beginning(experiment, puzzles)
        facts["the SHA-256 of config.init.source"] = experiment.init.weights
    here = replace(here, init=experiment.init)
    if meta is None:
        state, totals, position = fresh_state(here, layout, given), no_metrics(here, layout), Position()
    else:
        state, totals = checkpoints.restore(empty, nothing)
        position = position_of(meta, puzzles.fingerprint)
    return Run(
        workdir=workdir,
        experiment=experiment,
        here=here,
        layout=layout,
        fingerprint=puzzles.fingerprint,
        identifiers=identifiers,
        rules=rules,
        feed=feed,
        evaluation=evaluation,
        checkpoints=checkpoints,
        state=state,
        totals=totals,
        position=layout.everywhere(Position(*map(np.int32, position))),
        step=int(state.step),
        evaluation_due=meta is not None and meta.evaluation_due and evaluation is not None,
    )


def _own_rules(experiment: Experiment) -> Rules | None:
    """By which evaluations judge; none in several processes, to which a user's program need not say the same."""
    if jax.process_count() > 1 or experiment.model.states == "candidates":
        return None
    return rules_of(None, dataset.sources_of(experiment, ""), option=False)


def _facts(experiment: Experiment, feed: Feed, puzzles: PuzzleSet, evaluation: Evaluation | None) -> dict[str, object]:
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


def announce(run: Run) -> None:
    """Says what is trained on what, and from where it goes on."""
    experiment, feed = run.experiment, run.feed
    counts = count_weights(run.state.weights)
    parts = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
    devices = f"{run.layout.count} x {jax.devices()[0].device_kind}"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    say(f"{experiment.name}: {parts} weights; on {devices}{processes}; into {run.workdir}")
    where = "on each device" if feed.resident else "streamed from the host"
    say(f"{counted(len(feed), 'example')}, {format_bytes(feed.size)}, {where}")
    *growing, _ = stages(experiment)
    if growing:
        say(f"curriculum: {', '.join(f'{stage.name} up to step {stage.end}' for stage in growing)}, then as configured")
    steps, size = experiment.train.steps, experiment.train.batch_size
    if run.step >= steps:
        say(f"finished already, at step {run.step}: raise config.train.steps to go on, or give a new workdir")
    else:
        start = f"going on at step {run.step}" if run.step else "starting"
        say(f"{start}, {counted(steps, 'step')} of batch {size}; compiling ...")
