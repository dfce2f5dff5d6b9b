"""What a cell rests on is what it loses without a clue, computed here one board at a time; and what is refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.inference import why as module
from trm_jax.inference.why import Why, cell_at, place_of, why
from trm_jax.model.model import Model
from trm_jax.puzzles.kinds import kind_of

KIND = kind_of("sudoku", 16)
QUESTION = KIND.parse("12.. ...4 .3.. ....").astype(np.int32)
CANDIDATES = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=1, width=8, expansion=1.0, layers=1, mixer="symmetric", puzzle="sudoku",
    positions="none", puzzle_dim=0, puzzle_tokens=0, states="candidates", latent_steps=1, cycles=1, dtype="float32",
)  # fmt: skip
Y_Z = replace(CANDIDATES, states="y_z", mixer="mlp", puzzle="", num_puzzles=3, puzzle_dim=8, puzzle_tokens=1)


@pytest.mark.parametrize(
    "config", [pytest.param(Y_Z, id="y and z"), pytest.param(CANDIDATES, id="candidates", marks=pytest.mark.slow)]
)
def test_each_clue_is_taken_away_alone(config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, cell, steps = Model(config), 5, 2
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    weights = jax.tree.map(lambda a: jnp.asarray(0.5 * rng.normal(size=a.shape), a.dtype), shapes)

    @jax.jit
    def once(state, question):
        if config.states == "candidates":
            return state, model.deduce(weights.params, np.ones((1, 16, 4), np.bool_), question[None]).symbols
        state, readout = model.think(weights.params, weights.puzzle_table[2:], state, question[None])
        return state, readout.logits

    def logits_of(question):
        state = model.start(weights.starts, 1)
        for _ in range(steps):
            state, logits = once(state, question)
        return logits[0, cell]

    def lead(question, symbol):
        logits = np.asarray(logits_of(question)).tolist()
        return logits[symbol] - max(logits[:symbol] + logits[symbol + 1 :])

    monkeypatch.setattr(module, "_ROWS", 3)  # so that a board more than one batch is asked about
    found = why(model, weights, KIND, QUESTION, cell, steps, puzzle_id=2)

    first = 2 if config.states == "candidates" else 0
    symbol = int(np.asarray(logits_of(QUESTION)).argmax())
    assert (found.cell, found.token) == (cell, symbol + first)
    assert found.clues.tolist() == [0, 1, 7, 9]
    np.testing.assert_allclose(found.lead, lead(QUESTION, symbol), rtol=1e-4, atol=1e-5)
    for clue, effect, says in zip(found.clues, found.effects, found.without, strict=True):
        fewer = QUESTION.copy()
        fewer[clue] = 1
        np.testing.assert_allclose(effect, found.lead - lead(fewer, symbol), rtol=1e-3, atol=1e-4)
        assert says == np.asarray(logits_of(fewer)).argmax() + first
    assert len(set(found.effects.tolist())) > 2
    assert found.lead > 0


def test_shares_are_of_what_clues_contribute() -> None:
    effects = np.array([3.0, -2.0, 1.0, 0.0], np.float32)
    found = Why(0, 2, 1.5, np.arange(4), effects, np.full(4, 2, np.int32))
    assert found.shares.tolist() == [0.75, 0.0, 0.25, 0.0]
    assert replace(found, effects=-np.abs(effects)).shares.tolist() == [0.0] * 4


def test_a_cell_is_named_by_row_and_column_from_1() -> None:
    cell = cell_at(KIND, QUESTION, 2, 3)
    assert (cell, place_of(KIND, cell)) == (6, (2, 3))
    maze = kind_of("maze", 16)
    for kind, question, at, told in (
        (KIND, QUESTION, (5, 1), "row 5, column 1: the board has rows 1 to 4 and columns 1 to 4"),
        (KIND, QUESTION, (1, 0), "row 1, column 0: the board has"),
        (KIND, QUESTION, (1, 2), "row 1, column 2 is a clue: name a cell that the model fills"),
        (KIND, np.ones(16, np.int32), (1, 2), "row 1, column 2: the puzzle has no clues for an answer to rest on"),
        (maze, maze.parse("S#    # # ##   G"), (1, 3), "puzzles of kind 'maze' have no empty cell to put in place"),
    ):
        with pytest.raises(ConfigError, match=told):
            cell_at(kind, question, *at)
