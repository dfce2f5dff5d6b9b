"""A run of seconds, as a function and as a command: what the tests of stops, kills and resuming train."""

import json
import os
from pathlib import Path
from typing import Any

from places import ROOT

from trm_jax.config import Experiment, experiment_from
from trm_jax.runs.writers import read_metrics

Row = dict[str, float | None]

# Rows that halt and explore; an epoch of 3.125 batches.
VALUES: dict[str, dict[str, Any]] = {
    "model": {
        "width": 16, "mixer": "mlp", "positions": "none", "puzzle_dim": 16, "puzzle_tokens": 1, "layers": 1,
        "latent_steps": 1, "cycles": 1, "supervision_steps": 3, "exploration": 0.5, "dtype": "float32",
    },
    "optim": {"learning_rate": 3e-4, "warmup_steps": 3, "weight_decay": 0.1, "ema_decay": 0.9,
              "puzzle_learning_rate": 1e-3},
    "data": {"puzzle": "sudoku", "side": 4, "train": "generated", "test": "generated", "train_puzzles": 50,
             "test_puzzles": 30},
    "train": {"steps": 30, "batch_size": 16, "log_every": 6, "eval_every": 10, "eval_batch_size": 16, "save_every": 8,
              "keep_checkpoints": 2},
    "devices": {"data": 1, "puzzles": "resident"},
}  # fmt: skip


def experiment(**changes: Any) -> Experiment:
    """The experiment with some values changed, as in train__steps=3."""
    return experiment_from(_values(changes))


def words(folder: Path, **changes: Any) -> list[str]:
    """Arguments for `python -m trm_jax` to train the same in a folder; the working directory is `run` in it."""
    text = json.dumps({"name": "unnamed", **_values(changes)})
    file = folder / "config.py"
    file.write_text(
        f"import json\nfrom ml_collections import ConfigDict\n\n\ndef get_config():\n"
        f"    return ConfigDict(json.loads({text!r}))\n"
    )
    return ["train", f"--config={file}", f"--workdir={folder / 'run'}"]


def environment(**own: str) -> dict[str, str]:
    """In which a process of a test finds this package, compiles quickly, and makes the same bits as the test itself."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "OMPI_", "PMIX_"))}
    return clean | {
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": str(ROOT),
        **own,
    }


def figures(workdir: Path) -> list[Row]:
    """The rows of a run without what differs from one time to the next."""
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_metrics(workdir)]


def _values(changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    values = {group: dict(pairs) for group, pairs in VALUES.items()}
    for key, value in changes.items():
        group, name = key.split("__")
        values[group][name] = value
    return values
