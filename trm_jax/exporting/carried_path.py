"""The way of a model over puzzles without answers, and how far other weights stray from it with each step.

Every step of other weights begins where the model itself was: what they would carry on to next is not asked, so that
what one step does is not drowned in what a chaotic recursion makes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import CandidatesConfig, Experiment
from trm_jax.model.model import Model, Params, Readout, Weights
from trm_jax.recursion.candidates import Deduction, eliminated, pinned_by
from trm_jax.recursion.recursion import State

# What a step makes of what it takes, float32 arrays [M, ...] by name.
Said: TypeAlias = Callable[[Params, Any], dict[str, jax.Array]]


class Steps(NamedTuple):
    """Steps of the model, a row for each: what it took, and what it said of it, arrays [M, ...]."""

    taken: Any
    said: dict[str, jax.Array]


@dataclass(frozen=True)
class CarriedPath:
    """Where the model has been, and what a step under any weights says."""

    steps: Steps
    say: Said

    def distance(self, params: Params, steps: Steps) -> jax.Array:
        """How far these weights stray in some of the steps: relative to what the model said, root mean square."""
        made = self.say(params, steps.taken)
        squares = [
            jnp.sum(jnp.square(made[name] - wanted)) / jnp.sum(jnp.square(wanted))
            for name, wanted in steps.said.items()
        ]
        # The root has no gradient at 0.
        return jnp.sqrt(sum(squares, jnp.float32(1e-12)) / len(squares))


def carried_path(
    experiment: Experiment,
    weights: Weights,
    questions: NDArray[np.int32],
    puzzle_ids: NDArray[np.int32],
    steps: int,
    seed: int = 0,
) -> CarriedPath:
    """The path over puzzles [N, S] in float32, of so many steps.

    Of y and z: supervision steps from the start; they say the next state, and what is read of it. Of candidates: calls
    of a chain that pins a cell each time and begins again after its end; they say logits, of the candidates that they
    were asked about, and of a conflict. seed: of the cells that are pinned.
    """
    model = Model(replace(experiment.model, dtype="float32"))
    weights = jax.tree.map(jnp.asarray, weights)
    asked = jnp.asarray(questions)
    if experiment.model.states == "candidates":
        keys = jax.random.split(jax.random.key(seed), steps)
        found, say = _of_candidates(model, experiment.candidates, weights, asked, keys)
    else:
        found, say = _of_states(model, weights, asked, jnp.asarray(puzzle_ids), steps)
    return CarriedPath(jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), found), say)


def _of_states(model: Model, weights: Weights, questions: jax.Array, ids: jax.Array, steps: int) -> tuple[Steps, Said]:
    table_rows = model.puzzle_rows(weights.puzzle_table, ids)

    def told(state: State, readout: Readout) -> dict[str, jax.Array]:
        parts = {"y": state.y, "z": state.z, "logits": readout.logits, "q_halt": readout.q_halt}
        return {name: part for name, part in parts.items() if part is not None}

    def say(params: Params, taken: Any) -> dict[str, jax.Array]:
        state, question, rows = taken
        return told(*model.think(params, rows, state, question))

    @jax.jit
    def path(weights: Weights) -> Steps:
        def step(state: State, _: None) -> tuple[State, Steps]:
            after, readout = model.think(weights.params, table_rows, state, questions)
            return after, Steps((state, questions, table_rows), told(after, readout))

        found: Steps = jax.lax.scan(step, model.start(weights.starts, len(questions)), length=steps)[1]
        return found

    return path(weights), say


def _of_candidates(
    model: Model, config: CandidatesConfig, weights: Weights, questions: jax.Array, keys: jax.Array
) -> tuple[Steps, Said]:
    everything = model.start(weights.starts, len(questions)).y
    assert everything is not None
    no_noise = jnp.zeros((len(questions), everything.shape[2]), jnp.float32)

    def told(asked: jax.Array, found: Deduction) -> dict[str, jax.Array]:
        each = {"keep": found.keep, "symbols": found.symbols}
        return {name: jnp.where(asked, logits, 0) for name, logits in each.items()} | {"conflict": found.conflict}

    def say(params: Params, taken: Any) -> dict[str, jax.Array]:
        asked, question = taken
        return told(asked, model.deduce(params, asked, question))

    @jax.jit
    def path(params: Params) -> Steps:
        def call(possible: jax.Array, key: jax.Array) -> tuple[jax.Array, Steps]:
            asked, given = model.possible(possible, questions)
            found = model.deduce(params, asked, questions)
            left, conflict, solved = eliminated(asked, given, found, config.take_away_below, config.give_up_above)
            left = jnp.where((conflict | solved)[:, None, None], everything, left)
            draws = jax.random.uniform(key, questions.shape)
            pinned = pinned_by(model.possible(left, questions)[0], found.symbols, draws, no_noise)
            return pinned, Steps((asked, questions), told(asked, found))

        found: Steps = jax.lax.scan(call, everything, keys)[1]
        return found

    return path(weights.params), say
