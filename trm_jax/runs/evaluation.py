"""The evaluation of the averaged weights while they are trained."""

from dataclasses import dataclass

from trm_jax.config import Experiment
from trm_jax.console import Bar, say
from trm_jax.data import dataset
from trm_jax.data.dataset import PuzzleSet
from trm_jax.data.fit import check_fits
from trm_jax.devices.cluster import any_of_us
from trm_jax.devices.sharding import Layout
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator, Report, is_arc_test, votes_for
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.signals import Stopped, StopSignals
from trm_jax.runs.writers import MetricsWriter
from trm_jax.training.step import TrainState, averaged_weights, model_of


@dataclass(frozen=True)
class Evaluation:
    """Evaluates states of one run on its held-out puzzles.

    arc: whether the votes of all augmentations are counted as well.
    """

    evaluator: Evaluator
    held_out: PuzzleSet
    arc: bool

    @classmethod
    def of(cls, experiment: Experiment, layout: Layout) -> "Evaluation":
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


def tell(report: Report, step: int, writer: MetricsWriter) -> None:
    """Writes and says what an evaluation after a step has found."""
    row = report.rows[-1]
    passed = (report.arc.pass_at if report.arc is not None else None) or {}
    figures = {
        "eval/exact_accuracy": row.exact.value,
        "eval/cell_accuracy": row.cells.value,
        "eval/q_halt_accuracy": row.q_right,
        "time/eval_seconds": report.seconds,
    }
    writer.write(step, figures | {f"eval/arc_pass_{k}": share for k, share in passed.items()})
    if passed:
        say(f"step {step}: ARC tasks solved by vote {passed[1]:.2%}, within two tries {passed[2]:.2%}")
    say(f"step {step}: averaged weights solve {row.exact.value:.2%} of {report.puzzles} held-out puzzles exactly")
