"""Figures of training steps: sums on the devices become means on disk, one call late."""

import time
from collections.abc import Mapping
from typing import Any

import jax

from trm_jax.config import TrainConfig
from trm_jax.console import Bar
from trm_jax.losses import Metrics
from trm_jax.writers import MetricsWriter


class Log:
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
