"""What a model tells a complete search: probabilities of the candidates that are left, together those of the set."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.inference.guides import guide_by
from trm_jax.model.model import Model
from trm_jax.puzzles.complete_search import CompleteSearch
from trm_jax.puzzles.kinds import kind_of

KIND = kind_of("sudoku", 16)
CANDIDATES = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=1, width=8, expansion=1.0, layers=1, mixer="symmetric", puzzle="sudoku",
    positions="none", puzzle_dim=0, puzzle_tokens=0, states="candidates", latent_steps=1, cycles=1, dtype="float32",
)  # fmt: skip
Y_Z = replace(CANDIDATES, states="y_z", mixer="attention", heads=2, positions="rope")


@pytest.mark.parametrize("config", [CANDIDATES, Y_Z], ids=["candidates", "y and z"])
def test_candidates_share_the_probability_of_their_set(config: ModelConfig) -> None:
    model, question = Model(config), KIND.parse("1.............2.")
    rng = np.random.default_rng(0)
    weights = jax.tree.map(
        lambda a: a + 0.3 * rng.normal(size=a.shape).astype(a.dtype), jax.jit(model.init)(jax.random.key(0))
    )
    search = CompleteSearch(KIND)
    guide = guide_by(model, weights, question, search.units, 0)
    possible = search.conclude(search.start(question))
    likely = guide(possible)
    assert likely.shape == (16, 4)
    assert (np.isfinite(likely) == possible).all()
    together = np.exp(likely).sum(axis=-1)
    np.testing.assert_allclose(together, together[0], rtol=1e-5)
    assert 0 < together[0] < 1
    # What a node knows beyond the question is told to the model.
    possible[5] = [False, False, True, False]
    assert np.abs(np.exp(guide(possible)) - np.exp(likely))[[0, 10, 15]].max() > 1e-6
    assert search(question, guide).reason == "answered"


def test_a_model_that_lacks_symbols_is_refused() -> None:
    model, nine = Model(CANDIDATES), kind_of("sudoku", 81)
    with pytest.raises(ConfigError, match=r"tokens up to 10, and config.model.vocab_size = 6: --complete needs"):
        guide_by(model, None, nine.parse("." * 81), CompleteSearch(nine).units, 0)  # type: ignore[arg-type]
