"""Rounding that is chosen by what the model then does, on puzzles without answers.

The float32 model goes its way over some puzzles. From each state on that way, both models take one step; the measure is
how far the rounded one's comes out from the other's (`Path.distance`). Descent on that measure moves each number to
one of its neighbours, and each scale a little, as adaptive rounding does (arXiv 2004.10568) with the gradient passed
straight through the rounding (arXiv 1308.3432, and for scales 1902.08153). Of all that it came by, the best is taken;
the nearest numbers are among that, so that nothing gets worse by this measure.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.exporting.held import HeldWeights, known, shared_axes, to_nearest
from trm_jax.exporting.rounding import BITS, Held, Rounded, as_scales, check_calibrated, clipped, largest, nearest
from trm_jax.model.model import Model, Params, Weights
from trm_jax.recursion.candidates import eliminated, pinned_by

# Puzzles that are enough for it.
PUZZLES = 32
# Steps of the float32 model on each puzzle; steps of the descent, rows of each, how often the measure is taken.
_STEPS, _DESCENT, _BATCH, _LOOK_EVERY = 8, 200, 32, 20
# Rows on which the measure is taken, and rates: of numbers, in units of their scale, and of scales' logarithms.
_MEASURED, _NUMBER_RATE, _SCALE_RATE = 128, 0.03, 0.001
# said(params, rows) -> arrays by name, and for each which of its numbers count, float32 of the same shape or to be
# broadcast to it.
Said = Callable[[Params, Any], dict[str, tuple[jax.Array, jax.Array]]]


@dataclass(frozen=True)
class Path:
    """Where the float32 model has been.

    rows: arrays [M, ...] of what a step takes, a row for each step of each puzzle.
    said: what a step makes of rows.
    """

    rows: Any
    said: Said

    def distance(self, params: Params, of: Params, rows: Any) -> jax.Array:
        """How far one step's results under `params` are from those under `of`: root of the mean relative square."""
        made, wanted = self.said(params, rows), self.said(of, rows)
        squares = [
            jnp.sum(counts * jnp.square(made[name][0] - right)) / jnp.sum(counts * jnp.square(right))
            for name, (right, counts) in wanted.items()
        ]
        # The root has no gradient at 0.
        return jnp.sqrt(sum(squares, jnp.float32(1e-12)) / len(squares))


def path_of(
    experiment: Experiment,
    weights: Weights,
    questions: NDArray[np.int32],
    puzzle_ids: NDArray[np.int32],
    steps: int = _STEPS,
    seed: int = 0,
) -> Path:
    """The float32 model's path over puzzles [N, S], of so many steps.

    Of y and z: the states before each supervision step; a step says the next state, and what is read of it. Of
    candidates: the sets of a chain of calls that pins a cell each time and begins again after its end; a call says its
    logits of candidates that are asked about, and of a conflict.
    """
    model = Model(replace(experiment.model, dtype="float32"))
    made = _candidate_path if experiment.model.states == "candidates" else _state_path
    rows, said = made(model, experiment, weights, jnp.asarray(questions), jnp.asarray(puzzle_ids), steps, seed)
    return Path(jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), rows), said)


def _state_path(
    model: Model,
    experiment: Experiment,
    weights: Weights,
    questions: jax.Array,
    ids: jax.Array,
    steps: int,
    seed: int,
) -> tuple[Any, Said]:
    table = None if weights.puzzle_table is None else jnp.asarray(weights.puzzle_table)
    table_rows = model.puzzle_rows(table, ids)

    @jax.jit
    def states(weights: Weights) -> Any:
        def step(state: Any, _: None) -> Any:
            return model.think(weights.params, table_rows, state, questions)[0], state

        return jax.lax.scan(step, model.start(weights.starts, len(questions)), length=steps)[1]

    def said(params: Params, rows: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        state, question, table_rows = rows
        after, readout = model.think(params, table_rows, state, question)
        parts = {"y": after.y, "z": after.z, "logits": readout.logits, "q": readout.q_halt}
        return {
            name: (part.astype(jnp.float32), jnp.ones((), jnp.float32))
            for name, part in parts.items()
            if part is not None
        }

    repeated = jax.tree.map(lambda a: jnp.broadcast_to(a[None], (steps, *a.shape)), (questions, table_rows))
    return (states(jax.tree.map(jnp.asarray, weights)), *repeated), said


def _candidate_path(
    model: Model,
    experiment: Experiment,
    weights: Weights,
    questions: jax.Array,
    ids: jax.Array,
    steps: int,
    seed: int,
) -> tuple[Any, Said]:
    rules = experiment.candidates

    @jax.jit
    def sets(params: Params) -> jax.Array:
        everything = model.start(weights.starts, len(questions)).y
        assert everything is not None
        noise = jnp.zeros((len(questions), everything.shape[2]), jnp.float32)

        def call(asked: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            asked, given = model.possible(asked, questions)
            found = model.deduce(params, asked, questions)
            verdict = eliminated(asked, given, found, rules.take_away_below, rules.give_up_above)
            ended = verdict.conflict | verdict.solved
            left = jnp.where(ended[:, None, None], model.possible(everything, questions)[0], verdict.possible)
            return pinned_by(left, found.symbols, jax.random.uniform(key, questions.shape), noise), asked

        return jax.lax.scan(call, everything, jax.random.split(jax.random.key(seed), steps))[1]

    def said(params: Params, rows: Any) -> dict[str, tuple[jax.Array, jax.Array]]:
        asked, question = rows
        found, counts = model.deduce(params, asked, question), asked.astype(jnp.float32)
        return {
            "keep": (found.keep, counts),
            "symbols": (found.symbols, counts),
            "conflict": (found.conflict, jnp.ones((), jnp.float32)),
        }

    repeated = jnp.broadcast_to(questions[None], (steps, *questions.shape))
    return (sets(jax.tree.map(jnp.asarray, weights.params)), repeated), said


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
    descent: int = _DESCENT,
) -> HeldWeights:
    """Weights rounded so that the model keeps to its path over these puzzles [N, S]; their answers are not needed.

    puzzle_ids: [N], for models with a puzzle table; its rows are rounded to the nearest.
    seed: of the batches, and of cells that are pinned. descent: how many steps it has.

    Raises:
      ConfigError: weights that are not to be whole numbers.
    """
    check_calibrated(name)
    bits = BITS[name]
    path = path_of(experiment, weights, questions, puzzle_ids, seed=seed)
    floats, measured = (
        jax.tree.map(jnp.asarray, weights.params),
        _some(path.rows, np.random.default_rng(seed), _MEASURED),
    )
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
        return float(distance(known(parts).params, floats, measured))

    falling = partial(optax.cosine_decay_schedule, decay_steps=descent)
    optimiser = optax.multi_transform(
        {"numbers": optax.adam(falling(_NUMBER_RATE)), "stretch": optax.adam(falling(_SCALE_RATE))},
        {i: _Moved("numbers", "stretch") for i in scales},  # type: ignore[arg-type]
    )

    @jax.jit
    def improve(moved: dict[int, _Moved], kept: Any, rows: Any) -> Any:
        gradient = jax.grad(lambda moved: path.distance(params_of(moved), floats, rows))(moved)
        changes, kept = optimiser.update(gradient, kept, moved)
        return optax.apply_updates(moved, changes), kept

    moved: Any = {
        i: _Moved(jnp.asarray(arrays[i][1] / scale), jnp.zeros(scale.shape, jnp.float32)) for i, scale in scales.items()
    }
    kept, rng = optimiser.init(moved), np.random.default_rng(seed + 1)
    best, least = start, missed(start)
    for step in range(1, descent + 1):
        moved, kept = improve(moved, kept, _some(path.rows, rng, _BATCH))
        if step % _LOOK_EVERY == 0 or step == descent:
            parts = parts_of(moved)
            if (now := missed(parts)) < least:
                best, least = parts, now
    return HeldWeights(name, best, len(questions))


def _some(rows: Any, rng: np.random.Generator, count: int) -> Any:
    """So many rows, or all if there are fewer."""
    there = len(jax.tree.leaves(rows)[0])
    taken = rng.choice(there, min(count, there), replace=False)
    return jax.tree.map(lambda a: a[taken], rows)


def _through(rounding: Callable[[jax.Array], jax.Array], numbers: jax.Array) -> jax.Array:
    """The rounded numbers; gradients pass as if they were not rounded."""
    return numbers + jax.lax.stop_gradient(rounding(numbers) - numbers)


def _whole(bits: int) -> Callable[[jax.Array], jax.Array]:
    most = largest(bits)
    return lambda numbers: jnp.clip(jnp.round(numbers), -most, most)


def _held(scales: jax.Array) -> jax.Array:
    return scales.astype(jnp.bfloat16).astype(jnp.float32)
