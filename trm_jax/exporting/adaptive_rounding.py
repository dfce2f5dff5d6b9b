"""Rounding that is chosen by what the model then does, on puzzles without answers.

The measure is how far each step of the rounded weights strays from the float32 model's own (carried_path.py). Descent
on it moves each number to one of its neighbours, and each scale a little, as adaptive rounding does (arXiv 2004.10568),
with the gradient passed straight through the rounding (arXiv 1308.3432; of scales 1902.08153). Of what it comes by, the
best is taken; the nearest numbers are among that, so that nothing gets worse by this measure.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.exporting.carried_path import Steps, carried_path
from trm_jax.exporting.held import HeldWeights, known, shared_axes, to_nearest
from trm_jax.exporting.rounding import BITS, Held, Rounded, as_scales, check_calibrated, clipped, largest, nearest
from trm_jax.model.model import Params, Weights

# Puzzles that are enough for it.
PUZZLES = 32
# Steps of the descent.
DESCENT = 200
# Steps of the model on each puzzle; and on how many of these each of the descent's is taken: sets of candidates are as
# many times larger as there are symbols.
_STEPS, _BATCH, _BATCH_OF_SETS = 8, 32, 8
# How often the measure is taken, and on how many steps of the model.
_LOOK_EVERY, _MEASURED = 25, 64
# Rates of the descent: of numbers, in units of their scale, and of scales' logarithms.
_NUMBER_RATE, _SCALE_RATE = 0.03, 0.001


class _Moved(NamedTuple):
    """Of one array: its numbers in units of the first scales, before they are rounded, and logarithms of what scales
    were multiplied by."""

    numbers: jax.Array
    stretch: jax.Array


def calibrated(
    experiment: Experiment,
    weights: Weights,
    name: Held,
    questions: NDArray[np.int32],
    puzzle_ids: NDArray[np.int32],
    seed: int = 0,
    descent: int = DESCENT,
    progress: Callable[[int], None] = lambda done: None,
) -> HeldWeights:
    """Weights rounded so that the model keeps to its path over these puzzles [N, S]; their answers are not needed.

    puzzle_ids: [N], for models with a puzzle table; its rows are rounded to the nearest.
    seed: of the batches, and of cells that are pinned. descent: how many steps it has; progress is told how many are
      done.

    Raises:
      ConfigError: weights that are not to be whole numbers.
    """
    check_calibrated(name)
    bits = BITS[name]
    path = carried_path(experiment, weights, questions, puzzle_ids, _STEPS, seed)
    measured = _some(path.steps, np.random.default_rng(seed), _MEASURED)
    batch = _BATCH_OF_SETS if experiment.model.states == "candidates" else _BATCH
    distance = jax.jit(path.distance)
    start = to_nearest(weights, name).parts
    firsts, (arrays, treedef) = jax.tree.leaves(start), jax.tree_util.tree_flatten_with_path(weights)
    scales = {
        i: clipped(np.asarray(array), bits, shared_axes(where, array))
        for i, ((where, array), first) in enumerate(zip(arrays, firsts, strict=True))
        if isinstance(first, Rounded) and where[0].name == "params"
    }

    def params_of(moved: dict[int, _Moved]) -> Params:
        leaves = [jnp.asarray(array) for _, array in arrays]
        for i, (numbers, stretch) in moved.items():
            leaves[i] = _through(_whole(bits), numbers) * _through(_held, jnp.exp(stretch) * scales[i])
        params: Params = jax.tree.unflatten(treedef, leaves).params
        return params

    def parts_of(moved: dict[int, _Moved]) -> Any:
        leaves = list(firsts)
        for i, (numbers, stretch) in moved.items():
            whole = nearest(np.asarray(numbers), np.ones((), np.float32), bits).integers
            leaves[i] = Rounded(whole, as_scales(scales[i] * np.exp(np.asarray(stretch))), bits)
        return jax.tree.unflatten(treedef, leaves)

    def missed(parts: Any) -> float:
        return float(distance(known(parts).params, measured))

    falling = partial(optax.cosine_decay_schedule, decay_steps=descent)
    optimiser = optax.multi_transform(
        {"numbers": optax.adam(falling(_NUMBER_RATE)), "stretch": optax.adam(falling(_SCALE_RATE))},
        {i: _Moved("numbers", "stretch") for i in scales},  # type: ignore[arg-type]
    )

    @jax.jit
    def improve(moved: dict[int, _Moved], kept: Any, steps: Steps) -> Any:
        gradient = jax.grad(lambda moved: path.distance(params_of(moved), steps))(moved)
        changes, kept = optimiser.update(gradient, kept, moved)
        return optax.apply_updates(moved, changes), kept

    moved: Any = {
        i: _Moved(jnp.asarray(arrays[i][1] / scale), jnp.zeros(scale.shape, jnp.float32)) for i, scale in scales.items()
    }
    kept, rng = optimiser.init(moved), np.random.default_rng(seed + 1)
    best, least = start, missed(start)
    for step in range(1, descent + 1):
        moved, kept = improve(moved, kept, _some(path.steps, rng, batch))
        if step % _LOOK_EVERY == 0 or step == descent:
            parts = parts_of(moved)
            if (now := missed(parts)) < least:
                best, least = parts, now
        progress(step)
    return HeldWeights(name, best, len(questions))


def _some(steps: Steps, rng: np.random.Generator, count: int) -> Steps:
    """So many of them, or all if there are fewer."""
    there = len(jax.tree.leaves(steps)[0])
    taken = rng.choice(there, min(count, there), replace=False)
    some: Steps = jax.tree.map(lambda a: a[taken], steps)
    return some


def _through(rounding: Callable[[jax.Array], jax.Array], numbers: jax.Array) -> jax.Array:
    """The rounded numbers; gradients pass as if they were not rounded."""
    return numbers + jax.lax.stop_gradient(rounding(numbers) - numbers)


def _whole(bits: int) -> Callable[[jax.Array], jax.Array]:
    most = largest(bits)
    return lambda numbers: jnp.clip(jnp.round(numbers), -most, most)


def _held(scales: jax.Array) -> jax.Array:
    return scales.astype(jnp.bfloat16).astype(jnp.float32)
