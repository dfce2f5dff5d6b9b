"""Training on sets of candidates: what a call costs, what becomes of the sets, for any number of devices and parts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import shaken

from trm_jax.config import Experiment, MemoryConfig, ModelConfig, OptimConfig, TrainConfig
from trm_jax.model.model import Model
from trm_jax.puzzles.kinds import kind_of
from trm_jax.recursion import candidates
from trm_jax.recursion.candidates import Deduction, eliminated
from trm_jax.recursion.recursion import State
from trm_jax.training import deduction
from trm_jax.training.step import init_state, train_step
from trm_jax.training.supervision import Batch, Carry

ANSWER = np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1], np.int32) + 1
QUESTION = np.where(np.arange(16) % 3 == 0, ANSWER, 1)
EXPERIMENT = Experiment(
    model=ModelConfig(
        vocab_size=6, seq_len=16, num_puzzles=1, width=8, expansion=1.0, layers=1, mixer="symmetric", puzzle="sudoku",
        positions="none", puzzle_dim=0, puzzle_tokens=0, states="candidates", latent_steps=1, cycles=2, grad_cycles=2,
        supervision_steps=3, exploration=0.0, dtype="float32",
    ),
    optim=OptimConfig(optimiser="adamw", clip=1.0, learning_rate=1e-2, warmup_steps=0),
    train=TrainConfig(steps=50, batch_size=4, seed=3),
)  # fmt: skip
MODEL = Model(EXPERIMENT.model)


def right():
    return np.asarray(ANSWER[:, None] == np.arange(2, 6))


def carry_of(*sets):
    """Rows of the one puzzle, with these sets of candidates."""
    n = len(sets)
    rows = [jnp.asarray(np.tile(tokens, (n, 1)), jnp.int32) for tokens in (QUESTION, ANSWER)]
    data = Batch(*rows, jnp.zeros(n, jnp.int32))
    return Carry(State(jnp.asarray(np.stack(sets)), None), jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.bool_), data)


def said_of(n, keep=5.0, conflict=-5.0, symbols=None):
    keep = np.broadcast_to(np.asarray(keep, np.float32), (n, 16, 4))
    symbols = np.zeros((n, 16, 4), np.float32) if symbols is None else symbols
    return Deduction(jnp.asarray(keep), jnp.asarray(symbols), jnp.full(n, conflict, jnp.float32))


_next_carry = jax.jit(deduction.next_carry, static_argnums=(0, 1))
pinned = jax.jit(candidates.pinned, static_argnums=3)


def after(carry, said):
    return _next_carry(EXPERIMENT, MODEL, carry, said, jax.random.key(0))


def test_what_is_doubted_goes_and_what_is_given_stays():
    given = jnp.asarray(QUESTION != 1)[None]
    possible = jnp.ones((1, 16, 4), jnp.bool_)
    possible = jnp.where(given[..., None], jnp.asarray(right())[None], possible)
    keep = np.where(right(), 5.0, -5.0)[None].astype(np.float32)
    found = eliminated(possible, given, said_of(1, keep=-5.0), 0.1, 0.5)
    np.testing.assert_array_equal(found.possible[0, QUESTION != 1], right()[QUESTION != 1])
    assert found.conflict[0]
    assert not found.solved[0]
    found = eliminated(possible, given, said_of(1, keep), 0.1, 0.5)
    np.testing.assert_array_equal(found.possible[0], right())
    assert found.solved[0]
    assert not eliminated(possible, given, said_of(1, keep, conflict=1.0), 0.1, 0.5).solved[0]


def test_one_cell_with_a_choice_is_pinned_to_its_likeliest_symbol():
    possible = np.broadcast_to(right(), (64, 16, 4)).copy()
    possible[:, [3, 7]] = [True, True, False, True]
    symbols = np.zeros((64, 16, 4), np.float32)
    symbols[:, :, 1], symbols[:, :, 2] = 2.0, 9.0  # the last is impossible
    found = np.asarray(pinned(possible, symbols, jax.random.split(jax.random.key(0), 64), 0.0))
    changed = (found != possible).any(axis=2)
    assert (changed.sum(axis=1) == 1).all()
    assert 16 < changed[:, 3].sum() < 48  # either of the two
    assert (changed[:, 3] | changed[:, 7]).all()
    np.testing.assert_array_equal(found[changed], np.broadcast_to([False, True, False, False], (64, 4)))
    # At a temperature, others come up as well; where nothing is to choose, nothing is done.
    others = np.asarray(pinned(possible, symbols, jax.random.split(jax.random.key(0), 64), 2.0))
    assert set(others[(others != possible).any(axis=2)].argmax(axis=1)) == {0, 1, 3}
    done = np.broadcast_to(right(), (1, 16, 4))
    np.testing.assert_array_equal(pinned(done, symbols[:1], jax.random.split(jax.random.key(0), 1), 0.0), done)


def test_a_row_is_done_when_solved_or_lost_with_reason_or_old():
    lost = right().copy()
    lost[1] = [True, False, False, False] if not right()[1, 0] else [False, True, False, False]
    everything = np.ones((16, 4), np.bool_)
    carry = carry_of(right(), lost, lost, everything)
    new, metrics = after(carry, said_of(4, conflict=-5.0))
    np.testing.assert_array_equal(new.halted, [True, True, True, False])  # a wrong answer is taken for one
    assert (metrics["count"], metrics["exact_accuracy"], metrics["lost"]) == (3, 1, 0.5)
    new, metrics = after(carry, said_of(4, conflict=5.0))
    np.testing.assert_array_equal(new.halted, [False, True, True, False])  # given up, the first and last without reason
    np.testing.assert_array_equal(new.state.y[3], model_possible(everything))  # nothing is pinned in a conflict
    old = replace(carry, steps=jnp.full(4, 2, jnp.int32))
    assert after(old, said_of(4, conflict=5.0))[0].halted.all()


def model_possible(possible):
    return np.asarray(MODEL.possible(jnp.asarray(possible)[None], jnp.asarray(QUESTION)[None])[0][0])


def test_the_loss_is_what_the_formulas_say(monkeypatch):
    lost = np.ones((16, 4), np.bool_)
    lost[1, right()[1]] = False
    carry = carry_of(np.ones((16, 4), np.bool_), lost)
    rng = np.random.default_rng(0)
    keep, symbols = rng.normal(size=(2, 2, 16, 4)).astype(np.float32)
    conflict = np.array([0.3, -0.7], np.float32)
    said = Deduction(*map(jnp.asarray, (keep, symbols, conflict)))
    monkeypatch.setattr(Model, "deduce_supervised", lambda self, params, possible, inputs, cost: (said, cost(said)))

    total, _, parts = deduction.supervise(MODEL, EXPERIMENT.candidates, 0.0, {}, carry)

    def bce(logit, target):
        return np.log1p(np.exp(-logit)) if target else np.log1p(np.exp(logit))

    blank = QUESTION == 1
    elimination = [
        np.mean([
            (4.0 if right()[s, v] else 0.5) * bce(keep[b, s, v], right()[s, v])
            for s in np.flatnonzero(blank) for v in range(4) if (b == 0 or lost[s, v])
        ])
        for b in range(2)
    ]  # fmt: skip
    shares = symbols[0] - np.log(np.exp(symbols[0]).sum(axis=1, keepdims=True))
    naming = -shares[blank][right()[blank]].mean()  # of the row that has lost something nothing
    np.testing.assert_allclose(parts["elimination_loss"], sum(elimination), rtol=1e-5)
    np.testing.assert_allclose(parts["lm_loss"], naming, rtol=1e-5)
    np.testing.assert_allclose(parts["conflict_loss"], bce(0.3, False) + bce(-0.7, True), rtol=1e-5)
    np.testing.assert_allclose(total, sum(elimination) + naming + 0.1 * parts["conflict_loss"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory",
    [MemoryConfig(policy="step", micro_batches=2), pytest.param(MemoryConfig(policy="dots"), marks=pytest.mark.slow)],
)
def test_parts_and_policies_change_nothing(memory):
    step = jax.jit(train_step, static_argnums=0)
    state = jax.jit(init_state, static_argnums=0)(EXPERIMENT)
    state = replace(state, weights=shaken(state.weights, seed=1))
    data = carry_of(*[np.ones((16, 4), np.bool_)] * 4).data
    plain, figures = step(EXPERIMENT, state, data)
    other, others = step(replace(EXPERIMENT, memory=memory), state, data)
    np.testing.assert_allclose(others["gradient_norm"], figures["gradient_norm"], rtol=1e-4)
    np.testing.assert_array_equal(other.carry.state.y, plain.carry.state.y)
    assert kind_of("sudoku", 16).units == EXPERIMENT.model.units
