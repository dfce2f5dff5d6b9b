"""Figures of training steps: sums on the devices become means on disk, one call late."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax

from trm_jax.config import TrainConfig
from trm_jax.console import Bar
from trm_jax.model.losses import Metrics
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
        row = _means(jax.device_get(totals), (t - 1) % config.log_every + 1, config.batch_size)
        now = time.monotonic()
        pace = (t - self._step) / max(now - self._time, 1e-9) * config.batch_size
        self._step, self._time = t, now
        self._writer.write(t, row | {"time/puzzles_per_second": pace})
        self._bar.update(t, _note(row, pace))
        self._watch(t, row["train/loss"])


def _means(totals: Mapping[str, Any], steps: int, batch_size: int) -> dict[str, float]:
    """Means since the last row: losses per puzzle, accuracies per finished puzzle (nan if none), norms per step.

    Of steps that were skipped nothing is in the sums; `skipped` and `loss_not_finite` are their numbers.
    """
    sums = {name: float(value) for name, value in totals.items()}
    count, skipped = sums.pop("count"), sums.pop("skipped")
    means = {"train/skipped": skipped, "train/loss_not_finite": sums.pop("loss_not_finite")}
    made = steps - skipped
    for name, value in sums.items():
        if name.endswith("loss"):
            over = made * batch_size
        else:
            over = count if name in ("accuracy", "exact_accuracy", "q_halt_accuracy", "steps") else made
        means[f"train/{name}"] = value / over if over else float("nan")
    return means | {"train/finished": count / steps}


def _note(row: Mapping[str, float], pace: float) -> str:
    finished = row["train/finished"] > 0
    solved = f"exact {row['train/exact_accuracy']:6.2%}  halts after {row['train/steps']:4.1f}"
    skipped = f"  {row['train/skipped']:.0f} steps not finite, skipped" if row["train/skipped"] else ""
    solved = solved if finished else "none finished yet"
    return f"loss {row['train/loss']:.4f}  {solved:28}  {pace:,.0f} puzzles/s{skipped}"
