"""What follows from the evaluations of a run: which weights are kept as the best, when it ends early, what is told."""

from collections.abc import Iterable, Mapping
from typing import Any

from trm_jax.console import say
from trm_jax.devices.cluster import any_of_us, is_main
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.evaluation import HeldOut
from trm_jax.runs.meta import Meta
from trm_jax.training.step import TrainState

_EXACT = "eval/exact_accuracy"
# A late collapse: less than this share of what the best weights solve.
_COLLAPSE = 0.5


class Monitor:
    """Watches one figure, the share of held-out puzzles that are solved; of equals the earliest is the best.

    exhausted: whether patience has come to its end.

    It knows nothing that is not in the rows of metrics.jsonl, so that a run that goes on knows what one that was never
    cut knows.
    """

    def __init__(self, best: Checkpoints, rows: Iterable[Mapping[str, Any]], until: int, patience: int) -> None:
        """Args:
        best: where the best weights are kept.
        rows: of the run's metrics so far, in order; of several processes, those of the one that writes.
        until: the step from which the run goes on; later rows are none of this run's any more.
        patience: so many evaluations in a row without a better one end the run; 0: never.
        """
        self._best, self._patience = best, patience
        self._exact, self._step, self._since = -1.0, 0, 0
        for row in rows:
            if _EXACT in row and row["step"] <= until:
                self._count(row[_EXACT], row["step"])
        self.exhausted = any_of_us(self._at_its_end)

    @property
    def _at_its_end(self) -> bool:
        return 0 < self._patience <= self._since

    def look(self, found: HeldOut, step: int, state: TrainState, meta: Meta) -> None:
        """Keeps the weights if they are the best so far, and says what is to be said."""
        before, of = self._exact, self._step
        # The process that writes has read the rows, and decides for all.
        if any_of_us(self._count(found.exact, step) and is_main()):
            self._best.replace_weights(step, state, meta)
        elif found.exact < _COLLAPSE * before:
            say(
                f"warning: step {step} solves {found.exact:.2%}, after {before:.2%} at step {of}: training has "
                "collapsed; the weights of that step are kept in checkpoints/best"
            )
        self.exhausted = any_of_us(self._at_its_end and is_main())
        if self.exhausted:
            say(
                f"no better than {self._exact:.2%} of step {self._step} in {self._since} evaluations: ending, as "
                "config.train.patience says"
            )

    def _count(self, exact: float, step: int) -> bool:
        """Whether this is the best so far."""
        if exact > self._exact:
            self._exact, self._step, self._since = exact, step, 0
            return True
        self._since += 1
        return False
