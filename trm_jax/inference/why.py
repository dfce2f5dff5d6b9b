"""What a cell's answer rests on: how much of its lead is lost when a clue is taken away, one clue at a time.

The *lead* of a symbol is its logit above that of the best other one; a constant on all logits, which says nothing,
leaves it as it is, and below zero the cell says something else. A clue is no number that could change a little, so a
gradient with respect to it would tell of boards that do not exist. Here each clue is replaced by an empty cell, and
the model thinks again from its start: the difference is exact, and means what it says.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import ConfigError
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# Boards that the model thinks about at once.
_ROWS = 64
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Why:
    """What one cell's answer rests on.

    cell: which, from 0 in the order of rows.
    token: what the model says there.
    lead: the logit of that token above that of the best other.
    clues: the cells of the clues, ascending, int [C].
    effects: how much smaller the lead is without each of them, float [C]; below zero where a clue speaks against it.
    without: what the cell says without each of them, tokens [C].
    """

    cell: int
    token: int
    lead: float
    clues: NDArray[np.intp]
    effects: NDArray[np.float32]
    without: Tokens

    @property
    def shares(self) -> NDArray[np.float32]:
        """Each clue's part of all that clues contribute, float [C]; 0 for those that contribute nothing."""
        positive = np.maximum(self.effects, 0)
        return np.asarray(positive / max(float(positive.sum()), _TINY), np.float32)


def cell_at(kind: Kind, question: Tokens, row: int, column: int) -> int:
    """A cell that a question [S] leaves open, by its row and column, from 1.

    Raises:
      ConfigError: the board ends before, the cell is a clue, there are no clues, or the kind has no empty cell to put
        in their place.
    """
    rows, columns = kind.shape
    place = f"row {row}, column {column}"
    if kind.blank is None:
        raise ConfigError(
            f"{place}: puzzles of kind {kind.name!r} have no empty cell to put in place of a clue: leave it out"
        )
    if not (1 <= row <= rows and 1 <= column <= columns):
        raise ConfigError(f"{place}: the board has rows 1 to {rows} and columns 1 to {columns}")
    given, cell = kind.given(question), (row - 1) * columns + column - 1
    if given[cell]:
        raise ConfigError(f"{place} is a clue: name a cell that the model fills")
    if not given.any():
        raise ConfigError(f"{place}: the puzzle has no clues for an answer to rest on: give some")
    return cell


def place_of(kind: Kind, cell: int) -> tuple[int, int]:
    """The reverse of `cell_at`."""
    row, column = divmod(cell, kind.shape[1])
    return row + 1, column + 1


def why(model: Model, weights: Weights, kind: Kind, question: Tokens, cell: int, steps: int, puzzle_id: int = 0) -> Why:
    """What the answer in a cell rests on.

    Args:
      model, weights: of the puzzle's size. A model of candidates is asked once, of the puzzle as it stands: what it
        says before anything is guessed.
      kind, question: the puzzle, tokens [S].
      cell: as `cell_at` gives it.
      steps: supervision steps.
      puzzle_id: row of the puzzle table.
    """
    assert kind.blank is not None
    clues = np.flatnonzero(kind.given(question))
    boards = np.repeat(question[None], len(clues) + 1, axis=0)
    boards[np.arange(1, len(boards)), clues] = kind.blank
    logits = _logits_of(model, weights, boards, cell, steps, puzzle_id)
    first = model.config.units.symbols[0] if model.config.states == "candidates" else 0
    symbol = int(logits[0].argmax())
    leads = logits[:, symbol] - np.delete(logits, symbol, axis=1).max(axis=1)
    said = (logits.argmax(axis=1) + first).astype(np.int32)
    return Why(cell, int(said[0]), float(leads[0]), clues, leads[0] - leads[1:], said[1:])


def _logits_of(
    model: Model, weights: Weights, boards: Tokens, cell: int, steps: int, puzzle_id: int
) -> NDArray[np.float32]:
    """The logits of one cell of each board [N, S], float32 [N, V]."""
    size = min(_ROWS, len(boards))
    filled = np.concatenate([boards, np.repeat(boards[:1], -len(boards) % size, axis=0)])
    parts = [
        np.asarray(_logits(model, weights, filled[i : i + size], cell, steps, puzzle_id))
        for i in range(0, len(filled), size)
    ]
    return np.concatenate(parts)[: len(boards)]


@partial(jax.jit, static_argnames="model")
def _logits(model: Model, weights: Weights, inputs_BS: Any, cell: int, steps: int, puzzle_id: int) -> jax.Array:
    batch = inputs_BS.shape[0]
    state = model.start(weights.starts, batch)
    if model.config.states == "candidates":
        assert state.y is not None
        return model.deduce(weights.params, state.y, inputs_BS).symbols[:, cell]
    rows_BR = model.puzzle_rows(weights.puzzle_table, jnp.full((batch,), puzzle_id))
    state = model.think_for(weights.params, rows_BR, state, inputs_BS, steps)
    return model.read(weights.params, state).logits[:, cell]
