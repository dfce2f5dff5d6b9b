"""A run of seconds, as a function and as a command: what the tests of stops, kills and resuming train."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from places import ROOT

from trm_jax.config import Experiment, experiment_from
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.writers import read_metrics
from trm_jax.training.step import init_state

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

# The demo of 4x4 puzzles with a model that three steps do not teach anything, as words of the command line.
SMALL_DEMO = [
    f"--config={ROOT / 'experiments' / 'demo.py'}",
    *(
        f"--config.{setting}"
        for setting in (
            "model.width=16",
            "model.layers=1",
            "model.latent_steps=1",
            "model.cycles=1",
            "data.train_puzzles=40",
            "data.test_puzzles=20",
            "optim.min_ratio=1.0",
            "train.steps=3",
            "train.batch_size=4",
            "devices.data=1",
            "train.eval_batch_size=10",
            "train.log_every=1",
            "train.eval_every=0",
        )
    ),
]


def experiment(**changes: Any) -> Experiment:
    """The experiment with some values changed, as in train__steps=3."""
    return experiment_from(_values(changes))


def learning(**changes: Any) -> Experiment:
    """The experiment at a rate at which twenty steps are seen to lower the loss."""
    values = {"optim__learning_rate": 3e-3, "train__steps": 20, "train__log_every": 5}
    return experiment(**values | changes)


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
        "PYTHONPATH": str(ROOT),
        **own,
    }


def figures(workdir: Path) -> list[Row]:
    """The rows of a run without what differs from one time to the next."""
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in read_metrics(workdir)]


def final_state(config: Experiment, workdir: Path) -> tuple[Any, dict[str, jax.Array]]:
    """The state and totals of the last checkpoint of a run."""
    resolved = replace(config, model=load(workdir)[0].model)
    state = jax.jit(init_state, static_argnums=0)(resolved)
    with Checkpoints(workdir) as checkpoints:
        folder = workdir / "checkpoints" / str(checkpoints.latest)
        item = checkpoints._orbax.metadata(folder).item_metadata["training"]
        names = [name.removeprefix("totals.") for name in item if name.startswith("totals.")]
        return checkpoints.restore(state, {name: jax.numpy.zeros(()) for name in names})


def assert_same_run(config: Experiment, workdir: Path, uncut: Path) -> None:
    """Both runs ended at the last step with the same bits and told the same figures."""
    ours, theirs = final_state(config, workdir), final_state(config, uncut)
    assert int(ours[0].step) == config.train.steps
    for part in ("weights", "ema", "opt_state", "carry", "key"):
        assert fingerprint(getattr(ours[0], part)) == fingerprint(getattr(theirs[0], part)), part
    assert fingerprint(ours[1]) == fingerprint(theirs[1])
    assert figures(workdir) == figures(uncut)


def _values(changes: dict[str, Any]) -> dict[str, dict[str, Any]]:
    values = {group: dict(pairs) for group, pairs in VALUES.items()}
    for key, value in changes.items():
        group, name = key.split("__")
        values.setdefault(group, {})[name] = value
    return values
