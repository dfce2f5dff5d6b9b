"""Accuracy of weights on puzzles, after every supervision step; and the loop over supervision steps beneath it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from trm_jax.dataset import PuzzleSet, in_order
from trm_jax.losses import correctness
from trm_jax.model import Model, Readout, Weights
from trm_jax.recursion import State

T = TypeVar("T")


def unroll(
    model: Model,
    weights: Weights,
    inputs_BS: jax.Array,
    puzzle_ids_B: jax.Array,
    steps: int,
    read: Callable[[Readout], T],
) -> T:
    """Runs supervision steps from fresh states and keeps what `read` takes of each readout.

    Args:
      model, weights: whose answers.
      inputs_BS, puzzle_ids_B: the puzzles.
      steps: how many; any number, also beyond those trained with.
      read: a function of one step's Readout.

    Returns:
      What `read` returns, with a leading axis [steps].
    """
    rows_BR = model.puzzle_rows(weights.puzzle_table, puzzle_ids_B)

    def step(state: State, _: None) -> tuple[State, T]:
        state, readout = model.think(weights.params, rows_BR, state, inputs_BS)
        return state, read(readout)

    return jax.lax.scan(step, model.start(weights.starts, inputs_BS.shape[0]), None, length=steps)[1]


class Answers(NamedTuple):
    """tokens [steps, B, S] int32 and q_halt [steps, B] float32 after each supervision step."""

    tokens: jax.Array
    q_halt: jax.Array


@partial(jax.jit, static_argnames=("model", "steps"))
def answer(model: Model, weights: Weights, inputs_BS: jax.Array, puzzle_ids_B: jax.Array, steps: int) -> Answers:
    """The answers of a model after each of `steps` supervision steps."""

    def read(readout: Readout) -> Answers:
        return Answers(jnp.argmax(readout.logits, axis=-1).astype(jnp.int32), readout.q_halt)

    return unroll(model, weights, inputs_BS, puzzle_ids_B, steps, read)


@dataclass(frozen=True)
class Row:
    """Means over all puzzles after so many supervision steps.

    exact_accuracy: share of puzzles with every labelled cell right.
    cell_accuracy: mean share of labelled cells that are right.
    q_halt_accuracy: share of puzzles of which q_halt >= 0 tells truly whether they are solved.
    halted: share of puzzles with q_halt > 0, which training would stop working on.
    """

    supervision_steps: int
    exact_accuracy: float
    cell_accuracy: float
    q_halt_accuracy: float
    halted: float


@dataclass(frozen=True)
class Report:
    """An evaluation: how many puzzles, how long it took (compilation included), and a row for each depth asked for."""

    puzzles: int
    seconds: float
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {"rows": [asdict(row) for row in self.rows]}


class Evaluator:
    """Evaluates weights of one model on one set, as often as wanted."""

    def __init__(self, model: Model, puzzles: PuzzleSet, batch_size: int, steps: Sequence[int]) -> None:
        """steps: the numbers of supervision steps to report on, each at least 1."""
        self._model, self._puzzles, self._steps = model, puzzles, sorted(set(steps))
        self._batch_size = min(batch_size, len(puzzles))

    def __call__(self, weights: Weights, progress: Callable[[int], None] = lambda done: None) -> Report:
        """Runs every puzzle; calls progress(puzzles done) after each batch."""
        start = time.perf_counter()
        sums = np.zeros((4, self._steps[-1]))
        done = 0
        for batch, real in in_order(self._puzzles, self._batch_size):
            right, exact, q = (
                np.asarray(part)[:, :real] for part in _judge(self._model, weights, *batch, steps=self._steps[-1])
            )
            labelled = np.maximum((batch.labels[:real] >= 0).sum(axis=-1), 1)
            sums += [
                exact.sum(axis=1),
                (right / labelled).sum(axis=1),
                ((q >= 0) == exact).sum(axis=1),
                (q > 0).sum(axis=1),
            ]
            done += real
            progress(done)
        rows = tuple(Row(n, *(float(value) for value in sums[:, n - 1] / done)) for n in self._steps)
        return Report(done, time.perf_counter() - start, rows)


@partial(jax.jit, static_argnames=("model", "steps"))
def _judge(
    model: Model, weights: Weights, inputs_BS: jax.Array, labels_BS: jax.Array, puzzle_ids_B: jax.Array, steps: int
) -> tuple[jax.Array, ...]:
    """Cells right and whether all are, and q_halt, each [steps, B]."""

    def read(readout: Readout) -> tuple[jax.Array, ...]:
        return *correctness(readout.logits, labels_BS), readout.q_halt

    return unroll(model, weights, inputs_BS, puzzle_ids_B, steps, read)
