"""A model as `trm demo` leaves it, but that nobody has trained: enough to see that what is done with it works."""

from dataclasses import replace
from pathlib import Path

import jax

import trm_jax as trm


def leave_demo(folder: Path) -> None:
    """Makes runs/demo in the folder."""
    experiment = trm.experiment("demo")
    trm.Solver(experiment, trm.init(experiment)).save(folder / "runs" / "demo")


def shaken(weights, seed: int):
    """The weights with normal noise on each, so that none is zero, as those of heads are at first."""
    leaves, tree = jax.tree.flatten(weights.params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    noisy = [a + 0.3 * jax.random.normal(key, a.shape, a.dtype) for a, key in zip(leaves, keys, strict=True)]
    return replace(weights, params=jax.tree.unflatten(tree, noisy))
