"""A model as `trm demo` leaves it, but that nobody has trained: enough to see that what is done with it works."""

from pathlib import Path

import trm_jax as trm


def leave_demo(folder: Path) -> None:
    """Makes runs/demo in the folder."""
    experiment = trm.experiment("demo")
    trm.Solver(experiment, trm.init(experiment)).save(folder / "runs" / "demo")
