"""The Tiny Recursive Model (arXiv 2510.04871) in JAX.

    import trm_jax as trm
    model = trm.load("runs/demo")
    model.solve(".21. ...4 .... .1..").digits

What `trm.` offers is listed in `__all__` and promised to stay (docs/library.md); the modules below are how it is done.

The house, floor by floor; imports only point downward (tests/test_floors.py):

    commands/    the command `trm`: words in, one call downwards, words out
    original/    the public PyTorch code: its weights in and out, and proof that this is the same model
    library/     what `import trm_jax as trm` offers: load, solve, think, evaluate, stress, calibrate, train, export
    display/     answers and figures for the eye
    exporting/   a model as one file that runs without this package
    viewing/     the page that solves puzzles in a browser
    runs/        what surrounds the steps: the loop, checkpoints, figures, signals, faults
    inference/   what trained weights answer: many steps, many attempts, which to believe, how good they are
    training/    what an optimiser step is: supervision, losses, updates, batches; pure
    devices/     which device has what, what crosses between them, how processes find each other
    data/        tables, contest files and generators -> datasets -> tokens
    model/       a configuration -> pure functions on weights and states
    config/      every value of an experiment, its range and its rules; how experiments are found
    experiments/ one file per experiment: its values, the paper's figure, the command and its cost
    puzzles/     kinds of puzzle: rules, symmetries, generators, search
    recursion/   a network applied again and again, and gradients through it in bounded memory
    errors.py, console.py, sizes.py, version.py

Two things flow. A *batch* goes from indices through file rows and symmetries (data/, training/feed.py) into the carry's
data and the labels of the loss (training/step.py). A *carry* goes from step to step (training/supervision.py), across
devices (devices/sharding.py), into the checkpoint and back (runs/checkpoint.py).

Dimension key, used as suffixes of tensor names and in docstrings:
    B  batch                     L  positions, P + S
    S  cells of a puzzle         D  width of the model
    P  puzzle tokens in front    V  vocabulary
    K  latents z_1 ... z_K       R  length of a row of the puzzle table
    H  attention heads           C  width of one head
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trm_jax.version import VERSION as __version__

if TYPE_CHECKING:
    from trm_jax.config import Experiment as Experiment
    from trm_jax.config.files import experiment as experiment
    from trm_jax.config.mixers import register_mixer as register_mixer
    from trm_jax.errors import TrmError as TrmError
    from trm_jax.library.answers import Answers as Answers
    from trm_jax.library.answers import Moment as Moment
    from trm_jax.library.calibrating import calibrate as calibrate
    from trm_jax.library.export import export as export
    from trm_jax.library.solver import Solver as Solver
    from trm_jax.library.solver import load as load
    from trm_jax.library.stress import stress as stress
    from trm_jax.library.training import batch as batch
    from trm_jax.library.training import init as init
    from trm_jax.library.training import train as train
    from trm_jax.library.training import train_step as train_step
    from trm_jax.recursion.policies import policy as policy
    from trm_jax.recursion.recursion import Networks as Networks
    from trm_jax.recursion.recursion import Schedule as Schedule
    from trm_jax.recursion.recursion import State as State
    from trm_jax.recursion.recursion import recurse as recurse

# Where each name is made. JAX is imported when the first of them is used, so that the command starts at once.
_FACE = {
    "Answers": "library.answers",
    "Experiment": "config",
    "Moment": "library.answers",
    "Networks": "recursion.recursion",
    "Schedule": "recursion.recursion",
    "Solver": "library.solver",
    "State": "recursion.recursion",
    "TrmError": "errors",
    "batch": "library.training",
    "calibrate": "library.calibrating",
    "experiment": "config.files",
    "export": "library.export",
    "init": "library.training",
    "load": "library.solver",
    "policy": "recursion.policies",
    "recurse": "recursion.recursion",
    "register_mixer": "config.mixers",
    "stress": "library.stress",
    "train": "library.training",
    "train_step": "library.training",
}

__all__ = ["__version__", *_FACE]


def __getattr__(name: str) -> Any:
    if name not in _FACE:
        raise AttributeError(f"module 'trm_jax' has no attribute {name!r}")
    value = getattr(import_module(f"trm_jax.{_FACE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
