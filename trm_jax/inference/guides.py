"""Models as guides of a complete search: how likely they hold it that a set has an answer, and which."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import MemoryConfig
from trm_jax.errors import ConfigError
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.complete_search import Guide
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.units import Units


def guide_by(model: Model, weights: Weights, question: Tokens, units: Units, puzzle_id: int) -> Guide:
    """A guide that calls the model on each node of the search for one puzzle's answer.

    A model of candidates is called on the node's set. Any other makes one supervision step from its start, with the
    cells that have one candidate left as clues.

    Args:
      model, weights: of the puzzle's size.
      question: tokens [S].
      units: whose symbols the candidates are.
      puzzle_id: row of the puzzle table.

    Raises:
      ConfigError: the model does not know all symbols.
    """
    if units.symbols[-1] >= model.config.vocab_size:
        raise ConfigError(
            f"the puzzle's symbols are tokens up to {units.symbols[-1]}, and config.model.vocab_size = "
            f"{model.config.vocab_size}: --complete needs a model of this kind of puzzle"
        )
    plain, symbols = Model(model.config, MemoryConfig(), model.attention), np.array(units.symbols, np.int32)

    def guide(possible: NDArray[np.bool_]) -> NDArray[np.float32]:
        known = question
        if plain.config.states != "candidates":
            known = np.where(possible.sum(axis=-1) == 1, symbols[possible.argmax(axis=-1)], units.blank)
        return np.asarray(_likely(plain, units.symbols, weights, puzzle_id, known.astype(np.int32), possible))

    return guide


@partial(jax.jit, static_argnames=("model", "symbols"))
def _likely(
    model: Model, symbols: tuple[int, ...], weights: Weights, puzzle_id: int, inputs_S: Any, possible_SV: Any
) -> jax.Array:
    """The logarithms of the probabilities of candidates where the set has an answer, and of that, summed."""
    if model.config.states == "candidates":
        deduced = model.deduce(weights.params, possible_SV[None], inputs_S[None])
        symbols_SV, sound = deduced.symbols[0], -deduced.conflict[0]
    else:
        rows = model.puzzle_rows(weights.puzzle_table, jnp.array([puzzle_id]))
        _, said = model.think(weights.params, rows, model.start(weights.starts, 1), inputs_S[None])
        symbols_SV, sound = said.logits[0][:, jnp.array(symbols)], said.q_halt[0]
    likely_SV = jax.nn.log_softmax(jnp.where(possible_SV, symbols_SV, -jnp.inf), axis=-1)
    return likely_SV + jax.nn.log_sigmoid(sound)
