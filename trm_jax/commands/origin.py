"""Where the figures of a JSON file of `trm eval` come from: what `trm ledger add` compares with the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trm_jax.config import Experiment, config_hash
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.machine import describe
from trm_jax.model.model import Weights
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.parts import commit


def origin(
    command: str,
    checkpoints: Sequence[Path],
    averaged: bool,
    experiment: Experiment,
    weights: Weights,
    puzzles: PuzzleSet,
    source: str,
    split: str,
) -> dict[str, Any]:
    """Plain values, ready for JSON.

    Args:
      command: what was said.
      checkpoints, averaged, experiment, weights: what is evaluated; of several checkpoints, the first one's.
      puzzles, source, split: on what, and where that lies.
    """
    return {
        "command": command,
        "commit": commit(),
        "machine": describe(),
        "checkpoints": [str(path) for path in checkpoints],
        "weights": "averaged" if averaged else "trained",
        "weights_sha256": fingerprint(weights),
        "config_sha256": config_hash(experiment),
        "data": source,
        "data_sha256": puzzles.fingerprint,
        "split": split,
    }
