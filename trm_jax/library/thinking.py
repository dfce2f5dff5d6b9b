"""A puzzle being solved in the hand, one supervision step after another, as they are asked for."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from trm_jax.inference.selection import sigmoid
from trm_jax.library.answers import Answers, Moment
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


def moments(
    model: Model, weights: Weights, kind: Kind, question: Tokens, ids: NDArray[np.int32], steps: int, latents: bool
) -> Iterator[Moment]:
    """The answer to a question [1, S] after each supervision step; ids [1] and the rest as for `Solver.think`."""
    state = model.start(weights.starts, 1)
    for step in range(1, steps + 1):
        supervise = _supervise_watching if latents else _supervise
        state, tokens, q_halt, said = supervise(model, weights, state, question, ids)
        answer = np.asarray(tokens)[0]
        valid = kind.satisfied(question, answer[None])[0] if kind.has_rules else None
        q = float(sigmoid(np.asarray(q_halt))[0])
        y, z = (None if part is None else np.asarray(part[0], np.float32) for part in (state.y, state.z))
        read = None if said is None else np.asarray(said)
        yield Moment(step, Answers(answer, valid, q, step, 0, question[0], kind), y, z, q, latents=read)


@partial(jax.jit, static_argnames="model")
def _supervise(model: Model, weights: Weights, state: Any, inputs_BS: Any, ids_B: Any) -> Any:
    rows_BR = model.puzzle_rows(weights.puzzle_table, ids_B)
    state, readout = model.think(weights.params, rows_BR, state, inputs_BS)
    return state, readout.logits.argmax(-1), readout.q_halt, None


@partial(jax.jit, static_argnames="model")
def _supervise_watching(model: Model, weights: Weights, state: Any, inputs_BS: Any, ids_B: Any) -> Any:
    """The same, cycle by cycle, and what the latents of the first row say, [T, n, S]."""
    rows_BR = model.puzzle_rows(weights.puzzle_table, ids_B)

    def cycle(state: Any, _: None) -> Any:
        state, readout, said_nBS = model.watch(weights.params, rows_BR, state, inputs_BS)
        return state, (readout.logits.argmax(-1), readout.q_halt, said_nBS[:, 0])

    state, (tokens, q_halt, said) = jax.lax.scan(cycle, state, None, length=model.config.cycles)
    return state, tokens[-1], q_halt[-1], said
