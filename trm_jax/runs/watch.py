"""Numbers that go wrong, told while there is still something to go back to."""

import math
import statistics
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import jax

from trm_jax.errors import NotFiniteError
from trm_jax.training.program import Signs

# A loss so many times the median of so many rows before it has exploded; with fewer rows nothing is judged.
FACTOR, ROWS, FEWEST = 4.0, 10, 5


@dataclass(frozen=True)
class Explosion:
    """step: of the row. loss: its mean. usual: the median before. good_step: of the last row that was as usual."""

    step: int
    loss: float
    usual: float
    good_step: int

    def __str__(self) -> str:
        return (
            f"step {self.step}: the loss is {self.loss:.4g}, {self.loss / self.usual:.0f} times what it was; the last "
            f"good step known is {self.good_step}"
        )


class LossWatch:
    """Looks at the mean loss of each row of figures."""

    def __init__(self, rows: Iterable[Mapping[str, float | None]] = ()) -> None:
        """rows: of the part of the run before this one, in order."""
        self._usual: deque[float] = deque(maxlen=ROWS)
        self._good_step, self._alarmed = 0, False
        for row in rows:
            if "train/loss" in row:
                self.look(int(row["step"] or 0), row["train/loss"])

    def look(self, step: int, loss: float | None) -> Explosion | None:
        """What is to be told of a row: that the loss has exploded, once until it is as usual again."""
        if loss is None or not math.isfinite(loss):
            return None
        usual = statistics.median(self._usual) if len(self._usual) >= FEWEST else math.inf
        if loss <= FACTOR * usual:
            self._usual.append(loss)
            self._good_step, self._alarmed = step, False
            return None
        alarmed, self._alarmed = self._alarmed, True
        return None if alarmed else Explosion(step, loss, usual, self._good_step)


def check_finite(signs: Signs, step: int, allowed: int) -> None:
    """Raises NotFiniteError if so many steps in a row, up to this one, were skipped."""
    skipped = int(jax.device_get(signs.skipped_in_a_row))
    if skipped >= allowed:
        raise NotFiniteError(
            f"step {step}: {signs.metric} is not finite, in the last of {skipped} such steps in a row, none of which "
            f"was applied (config.train.bad_steps = {allowed}); step {step - skipped} is the last good one: lower "
            "config.optim.learning_rate, or look for the operation with --debug-nans"
        )
