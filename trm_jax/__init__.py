"""The Tiny Recursive Model (arXiv 2510.04871) in JAX.

The house, floor by floor; imports only point downward (tests/test_floors.py):

    commands/    the command `trm`: words in, one call downwards, words out
    original/    the public PyTorch code: its weights in and out, and proof that this is the same model
    display/     answers and figures for the eye
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

from trm_jax.version import VERSION as __version__

__all__ = ["__version__"]
