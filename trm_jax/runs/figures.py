"""Figures of training steps: sums on the devices become means on disk, one call late."""

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from trm_jax.config import TrainConfig
from trm_jax.console import Bar
from trm_jax.model.losses import Metrics, means
from trm_jax.runs.writers import MetricsWriter


class Log:
    """Rows of figures, written one call late: fetching them at once would make the devices wait for the host."""

    def __init__(
        self, config: TrainConfig, writer: MetricsWriter, bar: Bar, watch: Callable[[int, float], None]
    ) -> None:
        """watch: called with step and mean loss of each row."""
        self._config, self._writer, self._bar, self._watch = config, writer, bar, watch
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
        steps = (t - 1) % config.log_every + 1
        sums = {name: np.float64(value) for name, value in jax.device_get(totals).items()}
        with np.errstate(invalid="ignore"):  # of none, a mean is nan
            row = {f"train/{name}": float(mean) for name, mean in means(sums, steps, config.batch_size).items()}
        now = time.monotonic()
        pace = (t - self._step) / max(now - self._time, 1e-9) * config.batch_size
        self._step, self._time = t, now
        self._writer.write(t, row | {"time/puzzles_per_second": pace})
        self._bar.update(t, _note(row, pace))
        self._watch(t, row["train/loss"])


def _note(row: Mapping[str, float], pace: float) -> str:
    finished = row["train/finished"] > 0
    solved = f"exact {row['train/exact_accuracy']:6.2%}  halts after {row['train/steps']:4.1f}"
    skipped = f"  {row['train/skipped']:.0f} steps not finite, skipped" if row["train/skipped"] else ""
    solved = solved if finished else "none finished yet"
    # Of the first steps, which were compiled for, no pace is known.
    return f"loss {row['train/loss']:.4f}  {solved:28}" + (f"  {pace:,.0f} puzzles/s" if pace else "") + skipped
