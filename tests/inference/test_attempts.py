"""Attempts against a plain loop, row by row: halting, refilled batches, noise, symmetries, races, traces."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.inference import attempts
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.trace import trace
from trm_jax.model.model import Model
from trm_jax.puzzles.kinds import kind_of

CONFIG = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=3, width=32, heads=2, expansion=1.0, layers=1, mixer="mlp", positions="none",
    puzzle_dim=32, puzzle_tokens=1, latent_steps=2, cycles=2, supervision_steps=4, dtype="float32",
)  # fmt: skip
MODEL, KIND = Model(CONFIG), kind_of("sudoku", 16)
COUNT, DEPTH = 13, 6


@pytest.fixture(scope="module")
def weights():
    weights = jax.jit(MODEL.init)(jax.random.key(0))
    rng = np.random.default_rng(2)
    q_head = {"kernel": 0.2 * rng.normal(size=(32, 2)).astype(np.float32), "bias": np.float32([-0.5, 0.0])}
    table = rng.normal(size=(3, 32)).astype(np.float32)
    return replace(weights, params=weights.params | {"q_head": q_head}, puzzle_table=table)


@pytest.fixture(scope="module")
def puzzles():
    rng = np.random.default_rng(1)
    return rng.integers(1, 6, (COUNT, 16)).astype(np.int8), rng.integers(0, 3, COUNT).astype(np.int32)


@pytest.fixture(scope="module")
def loop(weights, puzzles):
    """tokens [N, DEPTH, S]; q, change and margin, each [N, DEPTH], of supervision steps one after the other."""
    inputs, ids = puzzles
    think = jax.jit(MODEL.think)
    tokens = np.zeros((COUNT, DEPTH, 16), np.int32)
    q, change, margin = np.zeros((3, COUNT, DEPTH))
    for i in range(COUNT):
        state = MODEL.start(weights.starts, 1)
        for step in range(DEPTH):
            before = np.stack([state.y[0], state.z[0, 0]])
            state, readout = think(weights.params, weights.puzzle_table[ids[i : i + 1]], state, inputs[i : i + 1])
            tokens[i, step], q[i, step] = np.asarray(readout.logits).argmax(-1)[0], readout.q_halt[0]
            change[i, step] = np.sqrt(np.square(np.stack([state.y[0], state.z[0, 0]]) - before).mean())
            ranked = np.sort(np.asarray(readout.logits)[0], axis=-1)
            margin[i, step] = (ranked[:, -1] - ranked[:, -2]).min()
    return tokens, q, change, margin


def gathered(found) -> Attempts:
    """All parts as one; checks that they follow each other."""
    parts = list(found)
    assert [part.first for part in parts] == np.cumsum([0, *[len(part) for part in parts]])[:-1].tolist()
    fields = ("answers", "q_halt", "change", "margin", "halted_at", "steps")
    return Attempts(parts[0].effort, 0, *(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def run(weights, puzzles, batch_size=5, kind=None, **effort) -> Attempts:
    return gathered(attempt(MODEL, weights, Effort(**effort), *puzzles, batch_size, kind))


def first_halt(q: np.ndarray) -> np.ndarray:
    """The first step [N] with q > 0, 0 where there is none."""
    return np.where((q > 0).any(axis=1), (q > 0).argmax(axis=1) + 1, 0)


def test_the_example_halts_at_many_steps_and_also_never(loop):
    steps = first_halt(loop[1])
    assert {0, 1} < set(steps.tolist())
    assert len(set(steps.tolist())) >= 4, steps
    assert np.abs(loop[1]).min() > 1e-3, "no q so near to zero that its sign is rounding"


@pytest.mark.parametrize("batch_size", [4, 50, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 13))])
def test_fixed_steps_are_those_of_the_loop(batch_size, weights, puzzles, loop):
    tokens, q, change, margin = loop
    found = run(weights, puzzles, batch_size, depths=(1, 4, 6))
    np.testing.assert_array_equal(found.answers[:, 0], tokens[:, [0, 3, 5]])
    np.testing.assert_allclose(found.q_halt[:, 0], q, atol=1e-3)
    np.testing.assert_allclose(found.change[:, 0], change, rtol=1e-3)
    np.testing.assert_allclose(found.margin[:, 0], margin, atol=1e-3)
    np.testing.assert_array_equal(found.halted_at[:, 0], first_halt(q))
    assert (found.steps == 6).all()
    assert found.answers.dtype == np.uint8


@pytest.mark.parametrize("batch_size", [4, 50, *(pytest.param(size, marks=pytest.mark.slow) for size in (1, 2, 5))])
def test_with_halting_an_attempt_stops_where_the_loop_says_so_and_its_end_stands(batch_size, weights, puzzles, loop):
    tokens, q, _, _ = loop
    found = run(weights, puzzles, batch_size, depths=(1, 2, 5), halting=True)
    halted = np.where(first_halt(q) <= 5, first_halt(q), 0)
    np.testing.assert_array_equal(found.halted_at[:, 0], halted)
    stops = np.where(halted > 0, halted, 5)
    np.testing.assert_array_equal(found.steps[:, 0], stops)
    for i, stop in enumerate(stops):
        for d, depth in enumerate((1, 2, 5)):
            np.testing.assert_array_equal(found.answers[i, 0, d], tokens[i, min(depth, stop) - 1])
        np.testing.assert_allclose(found.q_halt[i, 0], q[i, np.minimum(np.arange(5), stop - 1)], atol=1e-3)


@pytest.mark.parametrize(
    "effort",
    [
        {},
        pytest.param({"halting": True}, marks=pytest.mark.slow),
        pytest.param({"attempts": 3, "latent_noise": 1.0, "halting": True, "race": True}, marks=pytest.mark.slow),
    ],
)
def test_progress_is_told_within_a_batch_and_changes_nothing(effort, weights, puzzles, monkeypatch):
    """A batch of hours says how far it is; here after every supervision step."""
    monkeypatch.setattr(attempts, "_LOOK_SECONDS", 0.0)
    effort, told = Effort(depths=(DEPTH,), **effort), []
    silent = gathered(attempt(MODEL, weights, effort, *puzzles, 2))
    heard = gathered(attempt(MODEL, weights, effort, *puzzles, 2, progress=told.append))
    for name in ("answers", "q_halt", "change", "margin", "halted_at", "steps"):
        np.testing.assert_array_equal(getattr(heard, name), getattr(silent, name))
    assert told == sorted(told)
    assert told[-1] == COUNT
    if not effort.halting:
        # Two slots, a step each time: of thirteen puzzles a sixth of two more, and in the end of the last.
        assert told == [(2 * turn) // 6 for turn in range(1, 37)] + [12 + turn // 6 for turn in range(1, 7)]


def test_it_may_take_more_to_halt(weights, puzzles, loop):
    _, q, _, _ = loop
    found = run(weights, puzzles, depths=(6,), halting=True, halt_above=0.4)
    np.testing.assert_array_equal(found.halted_at[:, 0], first_halt(q - 0.4))
    np.testing.assert_array_equal(found.steps[:, 0], np.where(first_halt(q - 0.4) > 0, first_halt(q - 0.4), 6))
    assert (first_halt(q - 0.4) != first_halt(q)).any()


def test_halting_saves_steps_because_rows_are_refilled(weights, puzzles, loop):
    """The device loop runs about as often as the steps of all attempts, divided by the batch, say."""
    counted = []

    class Counting(Model):
        def think(self, *args):
            jax.debug.callback(lambda: counted.append(1))
            return super().think(*args)

    found = gathered(attempt(Counting(CONFIG), weights, Effort((6,), halting=True), *puzzles, 3))
    jax.effects_barrier()
    total = int(found.steps.sum())
    assert total / 3 <= len(counted) <= total / 3 + 6
    assert len(counted) < 6 * COUNT / 3 - 4, "as many as without halting"


def test_the_first_attempt_is_the_plain_one_and_the_others_differ(weights, puzzles, loop):
    for noise in ({"start_noise": 0.5}, {"latent_noise": 0.5}, {"symmetries": True, "kind": KIND}):
        found = run(weights, puzzles, depths=(1, 6), attempts=3, **noise)
        np.testing.assert_array_equal(found.answers[:, 0], loop[0][:, [0, 5]])
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert (found.answers[:, one] != found.answers[:, other]).any(axis=(1, 2)).mean() > 0.9


def test_an_attempt_depends_on_seed_puzzle_and_number_alone(weights, puzzles):
    effort = {"depths": (2, 3), "start_noise": 0.3, "latent_noise": 0.2, "symmetries": True, "kind": KIND}
    many = run(weights, puzzles, 4, attempts=4, **effort)
    few = run(weights, puzzles, 50, attempts=2, **effort)
    np.testing.assert_array_equal(many.answers[:, :2], few.answers)
    part = run(weights, (puzzles[0][:3], puzzles[1][:3]), 2, attempts=2, **effort)
    np.testing.assert_array_equal(few.answers[:3], part.answers)
    other = run(weights, puzzles, 4, attempts=4, seed=1, **effort)
    np.testing.assert_array_equal(many.answers[:, 0], other.answers[:, 0])
    assert (many.answers[:, 1:] != other.answers[:, 1:]).any(axis=(2, 3)).mean() > 0.9


def test_noise_has_the_standard_deviation_asked_for(weights, puzzles):
    """With a network that gives back what it is given, the change by a step shows the noise on z."""

    class Still(Model):
        def think(self, params, rows, state, inputs):
            return state, Model(CONFIG).think(params, rows, state, inputs)[1]

    effort = Effort((2,), attempts=2, latent_noise=0.3)
    found = gathered(attempt(Still(CONFIG), weights, effort, *puzzles, 5))
    assert (found.change[:, 0] == 0).all()
    # y stays, so the mean square over y and z is half of that of the noise.
    np.testing.assert_allclose(np.square(found.change[:, 1]).mean(), 0.3**2 / 2, rtol=0.05)


def test_symmetries_are_undone(weights, puzzles):
    """A model that answers with the question answers with it under any symmetry."""

    class Echo(Model):
        def think(self, params, rows, state, inputs):
            state, readout = super().think(params, rows, state, inputs)
            return state, readout._replace(logits=jax.nn.one_hot(inputs, CONFIG.vocab_size))

    effort = Effort((1, 2), attempts=20, symmetries=True)
    found = gathered(attempt(Echo(CONFIG), weights, effort, *puzzles, 7, KIND))
    assert (found.answers == puzzles[0][:, None, None]).all()


@pytest.mark.slow
def test_a_race_ends_all_attempts_at_a_puzzle_with_the_first_that_halts(weights, puzzles):
    effort = {"depths": (6,), "attempts": 4, "latent_noise": 0.5, "halting": True}
    free, race = run(weights, puzzles, 52, **effort), run(weights, puzzles, 52, race=True, **effort)
    first = np.where(free.halted_at > 0, free.halted_at, 6).min(axis=1)
    # Started together, all end together.
    np.testing.assert_array_equal(race.steps, np.broadcast_to(first[:, None], (COUNT, 4)))
    np.testing.assert_array_equal(race.halted_at == first[:, None], free.halted_at == first[:, None])
    assert race.steps.sum() < free.steps.sum()
    narrow = run(weights, puzzles, 3, race=True, **effort)
    assert ((narrow.halted_at > 0).any(axis=1) == (free.halted_at > 0).any(axis=1)).all()
    assert narrow.steps.sum() < free.steps.sum()


@pytest.mark.slow  # tests/inference/test_thoughts.py traces each attempt
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("noise", [{}, {"start_noise": 0.3, "latent_noise": 0.2}, {"symmetries": True}])
def test_a_trace_repeats_an_attempt_cycle_by_cycle(number, noise, weights, puzzles):
    if number and not noise:
        pytest.skip("a single attempt has no second one")
    effort = Effort((1, 2, 3), attempts=3 if noise else 1, **noise)
    found = gathered(attempt(MODEL, weights, effort, *puzzles, 5, KIND))
    replay = trace(MODEL, weights, effort, puzzles[0][0], int(puzzles[1][0]), number, KIND)
    assert replay.tokens.shape == (3, 2, 16)
    assert replay.q_halt.shape == replay.change.shape == (3, 2)
    np.testing.assert_array_equal(replay.tokens[:, -1], found.answers[0, number])
    np.testing.assert_allclose(replay.q_halt[:, -1], found.q_halt[0, number], atol=1e-3)
    assert (replay.change > 0).all()


@pytest.mark.parametrize(
    ("effort", "message"),
    [
        ({"depths": ()}, "give rising numbers"),
        ({"depths": (0, 1)}, "give rising numbers"),
        ({"depths": (2, 1)}, "give rising numbers"),
        ({"depths": (1, 1)}, "give rising numbers"),
        ({"depths": (1, 65_537)}, "65537 supervision steps: give at most 65536"),
        ({"depths": (1,), "attempts": 0}, "--attempts 0: give 1 to 4096"),
        ({"depths": (1,), "attempts": 4_097, "symmetries": True}, "--attempts 4097: give 1 to 4096"),
        ({"depths": (1,), "attempts": 2}, "would all be the same: .* by --start-noise, --latent-noise or --symmetries"),
        ({"depths": (1,), "start_noise": -1.0}, "--start-noise -1.0: give a standard deviation"),
        ({"depths": (1,), "latent_noise": float("nan")}, "--latent-noise nan: give a standard deviation"),
        ({"depths": (1,), "race": True}, "--race ends all .*: give --halting with it"),
    ],
)
def test_an_effort_that_makes_no_sense_is_refused(effort, message):
    with pytest.raises(ConfigError, match=message):
        Effort(**effort)


def test_symmetries_need_a_kind_that_has_them(weights, puzzles):
    for kind in (None, kind_of("tokens", 16)):
        with pytest.raises(ConfigError, match="--symmetries: none are known for puzzles of kind 'tokens'"):
            run(weights, puzzles, depths=(1,), attempts=2, symmetries=True, kind=kind)
