"""A search finds what keeps to the rules and nothing else, whoever shares the batch, within its budget."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import CandidatesConfig, ModelConfig
from trm_jax.devices.sharding import mesh_layout
from trm_jax.errors import ConfigError
from trm_jax.inference import search as searching
from trm_jax.inference.search import Budget, search
from trm_jax.model.model import Model
from trm_jax.puzzles.kinds import kind_of
from trm_jax.recursion.candidates import Deduction

KIND = kind_of("sudoku", 16)
CONFIG = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=1, width=8, expansion=1.0, layers=1, mixer="symmetric", puzzle="sudoku",
    positions="none", puzzle_dim=0, puzzle_tokens=0, states="candidates", latent_steps=1, cycles=1, dtype="float32",
)  # fmt: skip
PUZZLES = np.stack([KIND.parse(text) for text in ("1.............2.", "..3.4......1....", "12..34..2.......")])


@pytest.fixture(scope="module")
def made():
    model = Model(CONFIG)
    return model, jax.jit(model.init)(jax.random.key(0))


def shares_a_unit():
    return jnp.asarray((CONFIG.units.relations & 3) > 0) & ~jnp.eye(16, dtype=bool)


def by_the_rules(self, params, possible, inputs):
    """A network that eliminates what a cell with one symbol left forbids, and sees cells without any."""
    possible, _ = self.possible(possible, inputs)
    single = possible & (possible.sum(axis=-1, keepdims=True) == 1)
    seen = jnp.einsum("st,btv->bsv", shares_a_unit().astype(jnp.float32), single.astype(jnp.float32)) > 0
    keep = jnp.where(seen, -9.0, 9.0)
    conflict = jnp.where((single & seen).any(axis=(1, 2)), 9.0, -9.0)
    return Deduction(keep, jnp.zeros_like(keep), conflict)


def blind(self, params, possible, inputs):
    """One that is sure of nonsense: the last symbol, everywhere."""
    keep = jnp.broadcast_to(jnp.where(jnp.arange(4) == 3, 9.0, -9.0)[None, None], (len(inputs), 16, 4))
    return Deduction(keep, keep, jnp.full(len(inputs), -9.0))


def wrong_at_the_root(self, params, possible, inputs):
    """As by the rules; but where nothing has been guessed the last symbol is all that is left of the first cell."""
    said = by_the_rules(self, params, possible, inputs)
    possible, given = self.possible(possible, inputs)
    guessed = ((possible.sum(axis=-1) == 1) != given).any(axis=-1)[:, None]
    keep = jnp.where(guessed[..., None], said.keep, 9.0)
    keep = keep.at[:, 0].set(jnp.where(guessed, keep[:, 0], jnp.where(jnp.arange(4) == 3, 9.0, -9.0)))
    return said._replace(keep=keep)


def found_by(made, network, monkeypatch, budget, batch_size=8, layout=None, puzzles=PUZZLES):
    monkeypatch.setattr(Model, "deduce", network)
    searching._call.clear_cache()
    model, weights = made
    arguments = (model, weights, CandidatesConfig(), KIND, puzzles, batch_size, budget)
    results = list(search(*arguments) if layout is None else search(*arguments, layout))
    searching._call.clear_cache()
    return sorted(results, key=lambda found: found.number)


def test_every_answer_keeps_to_the_rules(made, monkeypatch):
    results = found_by(made, by_the_rules, monkeypatch, Budget(calls=400, chains=4))
    assert [found.number for found in results] == [0, 1, 2]
    tokens = np.stack([found.tokens for found in results])
    assert KIND.satisfied(PUZZLES, tokens).all()
    assert all(1 < found.calls <= 400 and found.chains >= 1 and found.seconds > 0 for found in results)


def test_the_path_leads_from_the_question_to_the_answer(made, monkeypatch):
    for found in found_by(made, by_the_rules, monkeypatch, Budget(calls=400, chains=4)):
        question = PUZZLES[found.number]
        before = np.where((question > 1)[:, None], np.arange(4) + 2 == question[:, None], True)
        for number, (asked, left) in enumerate(found.path):
            # A guess at one cell in each call but the root's, which not every chain starts from; nothing comes back.
            guesses = ((asked != before).any(axis=-1)).sum()
            assert guesses == 1 or number == guesses == 0
            assert not (asked & ~before).any()
            assert not (left & ~asked).any()
            before = left
        assert (before.sum(axis=-1) == 1).all()
        np.testing.assert_array_equal(before.argmax(axis=-1) + 2, found.tokens)


def test_what_the_root_has_lost_is_not_lost_to_every_chain(made, monkeypatch):
    one_answer = KIND.parse(".2343412214.4321")[None]
    (found,) = found_by(made, wrong_at_the_root, monkeypatch, Budget(calls=60, chains=2), puzzles=one_answer)
    assert found.tokens is not None
    assert KIND.text(found.tokens)[0] == "1"  # of which the root has left nothing


def test_what_breaks_the_rules_is_refused_however_sure(made, monkeypatch):
    results = found_by(made, blind, monkeypatch, Budget(calls=12, chains=2))
    assert all(found.tokens is None for found in results)
    assert sum(found.refused for found in results) == sum(found.calls for found in results)
    # A call that several chains share is over for all of them.
    assert all(12 <= found.calls < 12 + 2 for found in results)
    assert (results[0].first[PUZZLES[0] == 1] == 5).all()


def test_seconds_end_a_search(made, monkeypatch):
    results = found_by(made, blind, monkeypatch, Budget(calls=60_000, seconds=1e-6))
    assert [found.calls for found in results] == [1, 1, 1]


def test_devices_share_the_rows(made, monkeypatch):
    results = found_by(made, by_the_rules, monkeypatch, Budget(calls=400, chains=4), layout=mesh_layout(4))
    alone = found_by(made, by_the_rules, monkeypatch, Budget(calls=400, chains=4))
    assert [found.calls for found in results] == [found.calls for found in alone]
    np.testing.assert_array_equal([f.tokens for f in results], [f.tokens for f in alone])


def test_parts_of_the_batch_without_a_chain_are_not_computed():
    used = jnp.arange(12) < 5
    came = searching._of_used(lambda rows: rows + 1.0, used, jnp.ones((12, 2)))
    np.testing.assert_array_equal(came[:, 0], [2.0] * 8 + [0.0] * 4)


def test_a_few_rows_go_round_the_devices(made):
    call = searching._Caller(*made, CandidatesConfig(), 0, 8, mesh_layout(4))
    task = searching._Task(0, PUZZLES[0].astype(np.int32))
    said = call([searching._Row(task, chain, *call.nothing) for chain in range(3)])
    assert call._places.tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    assert [len(part) for part in said] == [3] * 5
    # The root of a puzzle is asked as it is, a chain with a cell pinned, wherever its row lies.
    left = [int(asked.sum()) for asked in said.asked]
    assert left[0] > left[1] == left[2]


def test_what_cannot_be_searched_is_told(made):
    model, weights = made
    other = Model(replace(CONFIG, states="y_z"))
    with pytest.raises(ConfigError, match="a search needs a model of candidates"):
        next(search(other, weights, CandidatesConfig(), KIND, PUZZLES, 8, Budget()))
    grid = kind_of('{"kind": "grid", "shape": [4, 4], "alphabet": ".1234"}', 16)
    with pytest.raises(ConfigError, match="no rules of 'grid' are known"):
        next(search(model, weights, CandidatesConfig(), grid, PUZZLES, 8, Budget()))
    for wrong in ({"calls": 0}, {"chains": 70_000}, {"seconds": -1.0}):
        with pytest.raises(ConfigError, match="--"):
            Budget(**wrong)
