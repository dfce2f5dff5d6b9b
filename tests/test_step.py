"""One optimiser step: what it touches, what it leaves alone, and what its numbers mean."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trm_jax.chain import check_available
from trm_jax.checkpoint import fingerprint
from trm_jax.config import Experiment, LossConfig, MemoryConfig, ModelConfig, OptimConfig, TrainConfig, validate
from trm_jax.errors import ConfigError
from trm_jax.losses import IGNORE, binary_cross_entropy, correctness, token_loss
from trm_jax.model import Model
from trm_jax.policies import POLICIES, Policy
from trm_jax.step import _gradients, averaged_weights, init_state, supervised_loss, train_step
from trm_jax.supervision import Batch, continue_target, empty_carry, refill

EXPERIMENT = Experiment(
    name="tiny",
    model=ModelConfig(
        vocab_size=5, seq_len=4, num_puzzles=9, width=16, heads=2, expansion=1.0, layers=1, puzzle_dim=16,
        puzzle_tokens=1, latent_steps=1, cycles=2, supervision_steps=3, exploration=0.0, dtype="float32",
    ),
    optim=OptimConfig(learning_rate=1e-2, warmup_steps=0, ema_decay=0.75, puzzle_learning_rate=1e-2),
    train=TrainConfig(steps=50, batch_size=4, seed=3),
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("quick_compilation")
step = jax.jit(train_step, static_argnums=0)
init = jax.jit(init_state, static_argnums=0)
think = jax.jit(Model.think, static_argnums=0)
evaluate = jax.jit(supervised_loss, static_argnums=(0, 1))


def with_model(experiment=EXPERIMENT, **changes) -> Experiment:
    return replace(experiment, model=replace(experiment.model, **changes))


def with_size(experiment, batch_size: int) -> Experiment:
    return replace(experiment, train=replace(experiment.train, batch_size=batch_size))


# Rows that explore, and an average without memory; one compilation for three tests.
EXPLORING = with_size(
    with_model(replace(EXPERIMENT, optim=replace(EXPERIMENT.optim, ema_decay=0.0)), exploration=0.5), 64
)


def batch_of(ids, seed=0) -> Batch:
    rng = np.random.default_rng(seed)
    inputs, labels = rng.integers(1, 5, (2, len(ids), 4)).astype(np.int32)
    return Batch(jnp.asarray(inputs), jnp.asarray(labels), jnp.asarray(ids, jnp.int32))


def with_table(state):
    """The state with a puzzle table in which a decayed row can be told from one that was left alone."""
    table = jax.random.normal(jax.random.key(9), state.weights.puzzle_table.shape)
    return replace(state, weights=replace(state.weights, puzzle_table=table))


def with_q_bias(state, bias):
    head = state.weights.params["q_head"] | {"bias": jnp.asarray(bias, jnp.float32)}
    return replace(state, weights=replace(state.weights, params=state.weights.params | {"q_head": head}))


def test_only_rows_of_carried_puzzles_move():
    before = with_table(init(EXPERIMENT))
    first, _ = step(EXPERIMENT, before, batch_of([1, 1, 3, 5]))
    # No row has halted, so the ids of this batch are not those that are being solved.
    second, _ = step(EXPERIMENT, first, batch_of([2, 7, 8, 0], seed=1))
    for old, new in ((before, first), (first, second)):
        old_table, new_table = np.asarray(old.weights.puzzle_table), np.asarray(new.weights.puzzle_table)
        moved = (old_table != new_table).any(axis=1)
        np.testing.assert_array_equal(np.flatnonzero(moved), [1, 3, 5])
        # rate * sign of the gradient, after a decay by rate * weight decay
        step_size = (new_table - old_table * (1 - 1e-2 * 0.1))[[1, 3, 5]]
        np.testing.assert_allclose(np.abs(step_size), 1e-2, atol=1e-6)


def test_labels_and_everything_else_come_from_the_carry():
    state, _ = step(EXPERIMENT, init(EXPERIMENT), batch_of([1, 1, 3, 5]))
    for expected in (2, 3):
        one, one_metrics = step(EXPERIMENT, state, batch_of([2, 7, 8, 0], seed=1))
        other, other_metrics = step(EXPERIMENT, state, batch_of([4, 4, 4, 4], seed=2))
        assert fingerprint(one) == fingerprint(other)
        assert fingerprint(one_metrics) == fingerprint(other_metrics)
        np.testing.assert_array_equal(one.carry.steps, expected)
        state = one
    # Now every row has done its three steps, and the incoming batch counts.
    assert np.asarray(state.carry.halted).all()
    one, one_metrics = step(EXPERIMENT, state, batch_of([2, 7, 8, 0], seed=1))
    _, other_metrics = step(EXPERIMENT, state, batch_of([4, 4, 4, 4], seed=2))
    assert one_metrics["loss"] != other_metrics["loss"]
    np.testing.assert_array_equal(one.carry.data.puzzle_ids, [2, 7, 8, 0])
    np.testing.assert_array_equal(one.carry.steps, 1)


def test_the_average_follows_the_weights_by_its_formula():
    before = init(EXPERIMENT)
    assert fingerprint(before.ema) == fingerprint(before.weights.params)
    state = before
    for i in range(2):
        new, _ = step(EXPERIMENT, state, batch_of([1, 2, 3, 4], seed=i))
        expected = jax.tree.map(lambda e, w: 0.75 * e + 0.25 * w, state.ema, new.weights.params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), new.ema, expected)
        assert fingerprint(new.ema) != fingerprint(new.weights.params)
        state = new
    averaged = averaged_weights(state)
    assert fingerprint(averaged.params) == fingerprint(state.ema)
    assert fingerprint(averaged.puzzle_table) == fingerprint(state.weights.puzzle_table)
    assert fingerprint(averaged.starts) == fingerprint(before.weights.starts)


def test_without_decay_the_average_is_the_weights():
    before = init(EXPLORING)
    state, _ = step(EXPLORING, before, batch_of([1, 2, 3, 4] * 16))
    assert fingerprint(before.ema) != fingerprint(state.ema)
    assert fingerprint(state.ema) == fingerprint(state.weights.params)


def test_each_step_draws_anew_from_its_number_and_the_seed():
    state = with_q_bias(init(EXPLORING), [5.0, 0.0])  # every row that does not explore halts at once
    batch = batch_of([0] * 64)

    def halted(state):
        after, _ = step(EXPLORING, state, batch)
        np.testing.assert_array_equal(after.key, state.key)
        return np.asarray(after.carry.halted)

    first = halted(state)
    assert 16 < first.sum() < 48
    np.testing.assert_array_equal(first, halted(state))
    assert 16 < (first != halted(replace(state, step=jnp.asarray(1, jnp.int32)))).sum() < 48
    other = replace(state, key=jax.random.key_data(jax.random.key(4)))
    assert 16 < (first != halted(other)).sum() < 48


def test_a_run_is_a_function_of_its_seed():
    def run(seed):
        state = init(replace(EXPLORING, train=replace(EXPLORING.train, seed=seed)))
        state = with_q_bias(state, [5.0, 0.0])
        for i in range(4):
            # The step does not read the seed: the state's key holds it, and one compilation serves both.
            state, _ = step(EXPLORING, state, batch_of([1, 2, 3, 4] * 16, seed=i))
        assert int(state.step) == 4
        return fingerprint(state)

    assert run(3) == run(3) != run(4)


def test_the_loss_is_a_sum_over_rows_and_the_gradient_a_mean():
    once, twice = (with_size(EXPERIMENT, n) for n in (4, 8))
    batch = batch_of([1, 2, 3, 4])
    doubled = jax.tree.map(lambda a: jnp.concatenate([a, a]), batch)
    state, metrics = step(once, init(once), batch)
    state_twice, metrics_twice = step(twice, init(twice), doubled)
    for name in ("loss", "lm_loss", "q_halt_loss"):
        np.testing.assert_allclose(metrics_twice[name], 2 * metrics[name], rtol=1e-5)
    np.testing.assert_allclose(metrics_twice["gradient_norm"], metrics["gradient_norm"], rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state_twice.opt_state.mu, state.opt_state.mu)

    # The undivided gradient, from the function that the recordings check.
    model, fresh = Model(EXPERIMENT.model), init(once)
    carry = refill(model, fresh.weights.starts, fresh.carry, batch)
    rows = model.puzzle_rows(fresh.weights.puzzle_table, carry.data.puzzle_ids)

    def total(params):
        return supervised_loss(model, EXPERIMENT.loss, params, rows, carry, jax.random.key(0))[0]

    loss, grads = jax.jit(jax.value_and_grad(total))(fresh.weights.params)
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["gradient_norm"], optax.tree.norm(grads) / 4, rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], metrics["lm_loss"] + 0.5 * metrics["q_halt_loss"], rtol=1e-6)


@pytest.mark.parametrize("steps_done", [0, 2])
def test_the_continue_head_adds_its_loss_in_training_only(steps_done):
    experiment = with_model(replace(EXPERIMENT, loss=LossConfig(continue_head=True)), halt_by="q_continue")
    model, state = Model(experiment.model), with_q_bias(init(experiment), [-1.0, 0.5])
    weights = state.weights
    carry = refill(model, weights.starts, state.carry, batch_of([1, 2, 3, 4]))
    carry = replace(carry, steps=jnp.full((4,), steps_done, jnp.int32))
    rows = model.puzzle_rows(weights.puzzle_table, carry.data.puzzle_ids)

    def parts(loss, key):
        total, (_, metrics, _) = evaluate(model, loss, weights.params, rows, carry, key)
        return float(total), metrics

    without, plain = parts(LossConfig(), jax.random.key(0))
    assert "q_continue_loss" not in plain
    np.testing.assert_allclose(without, plain["lm_loss"] + 0.5 * plain["q_halt_loss"], rtol=1e-6)
    total, metrics = parts(experiment.loss, jax.random.key(0))
    np.testing.assert_allclose(total, without + 0.5 * metrics["q_continue_loss"], rtol=1e-6)

    middle, readout = think(model, weights.params, rows, carry.state, carry.data.inputs)
    _, following = think(model, weights.params, rows, middle, carry.data.inputs)
    # With steps_done = 2 this is the last of three steps, after which one can only halt.
    best = following.q_halt if steps_done == 2 else np.maximum(following.q_halt, following.q_continue)
    expected = binary_cross_entropy(readout.q_continue, jax.nn.sigmoid(best)).sum()
    np.testing.assert_allclose(metrics["q_continue_loss"], expected, rtol=1e-5)

    evaluated, evaluation = parts(experiment.loss, None)
    assert "q_continue_loss" not in evaluation
    np.testing.assert_allclose(evaluated, without, rtol=1e-6)


def test_metrics_count_finished_rows_with_labels_only():
    model = Model(EXPERIMENT.model)
    state = with_q_bias(init(EXPERIMENT), [1.0, 0.0])  # says of every row that it is solved
    weights, batch = state.weights, batch_of([1, 2, 3, 4, 5])
    carry = refill(model, weights.starts, init(with_size(EXPERIMENT, 5)).carry, batch)
    rows = model.puzzle_rows(weights.puzzle_table, batch.puzzle_ids)
    _, readout = think(model, weights.params, rows, carry.state, batch.inputs)
    labels = np.array(jnp.argmax(readout.logits, axis=-1), np.int32)
    labels[1] = (labels[1] + [0, 1, 1, 1]) % 5  # a quarter right
    labels[1, 3] = IGNORE  # a third right
    labels[2] = IGNORE  # finished, but nothing to be right about
    labels[3] = (labels[3] + 1) % 5  # all wrong, but not finished
    carry = replace(
        carry,
        data=replace(batch, labels=jnp.asarray(labels)),
        steps=jnp.asarray([2, 2, 2, 0, 4], jnp.int32),
        halted=jnp.zeros(5, jnp.bool_),
    )
    # key None: a row ends at supervision step 3 and not before
    _, (after, metrics, _) = evaluate(model, LossConfig(), weights.params, rows, carry, None)
    np.testing.assert_array_equal(after.halted, [True, True, True, False, True])
    assert int(metrics["count"]) == 3
    assert int(metrics["exact_accuracy"]) == 2
    assert int(metrics["q_halt_accuracy"]) == 2
    assert int(metrics["steps"]) == 3 + 3 + 5
    np.testing.assert_allclose(metrics["accuracy"], 1 + 1 / 3 + 1, rtol=1e-6)
    # The losses are of all rows.
    exact = np.float32([1, 0, 1, 0, 1])
    expected = binary_cross_entropy(readout.q_halt, exact).sum()
    np.testing.assert_allclose(metrics["q_halt_loss"], expected, rtol=1e-5)
    assert float(metrics["q_halt_loss"]) > 2.6


# Two programs of the same operations round alike only where the compiler leaves the operations apart: XLA's YNN fusions
# round a reduction by what it is fused with, and LLVM merges products with sums by what it finds beside each other.
APART = {"xla_cpu_experimental_ynn_fusion_type": "", "xla_backend_optimization_level": 0}


def with_memory(experiment, **changes) -> Experiment:
    return replace(experiment, memory=MemoryConfig(**changes))


def half_solved(experiment):
    """Arguments for the gradient: weights whose every head tells something, and rows amid their solution."""
    model, config, rows = Model(experiment.model), experiment.model, experiment.train.batch_size
    rng = np.random.default_rng(5)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    weights = init(experiment).weights
    params = weights.params | {"q_head": {"kernel": 0.3 * normal(config.width, 2), "bias": normal(2)}}
    batch = batch_of([1, 1, 3, 5])
    carry = refill(model, weights.starts, empty_carry(model, weights.starts, rows), batch)
    state = jax.tree.map(lambda a: normal(*a.shape).astype(a.dtype), carry.state)
    steps = jnp.asarray([0, 2, 0, 2], jnp.int32)
    return params, normal(9, config.puzzle_dim)[batch.puzzle_ids], replace(carry, state=state, steps=steps)


def outcome(experiment, arguments, options=APART):
    """Gradients of weights and puzzle rows, the loss, and what the supervision steps lead to."""
    validate(experiment)
    model = Model(experiment.model, experiment.memory)
    return jax.jit(lambda *a: _gradients(model, experiment, *a), compiler_options=options)(*arguments)


def assert_same_bits(found, expected) -> None:
    assert fingerprint(found) == fingerprint(expected)


def assert_close(found, expected, tolerance) -> None:
    """Within so much of the largest entry of each array."""

    def one(a, b):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(one, found, expected)


def available(name: str) -> bool:
    try:
        check_available(Policy(name))
    except ConfigError:
        return False
    return True


RECURRENT = with_model(EXPERIMENT, latent_steps=5, supervision_steps=4)
STEP, NESTED, BINOMIAL = {"policy": "step"}, {"policy": "nested"}, {"policy": "binomial"}
FEW = {"policy": "binomial", "states": 3}
VARIANTS = {
    # Whatever is added to the table of policies comes in here.
    "attention": ({}, [*({"policy": name} for name in POLICIES if name != "none" and available(name)), FEW]),
    "mlp": ({"mixer": "mlp"}, [STEP, {"policy": "nested", "levels": 3}, FEW]),
    "three latents": ({"latents": 3}, [STEP, BINOMIAL]),
    "z only": ({"states": "z"}, [NESTED, BINOMIAL]),
    "y only": ({"states": "y", "grad_cycles": 2}, [STEP, BINOMIAL]),
    "two networks": ({"separate_networks": True, "answer_layers": 2}, [{"policy": "dots"}, STEP]),
    "all cycles": ({"cycles": 3, "grad_cycles": 3}, [STEP, FEW]),
    "one step": ({"gradient": "one_step"}, [STEP, BINOMIAL]),
    "last steps": ({"gradient": "last_k", "gradient_steps": 3}, [NESTED, FEW]),
    "implicit": ({"gradient": "implicit", "latents": 3, "solver_steps": 4}, [NESTED, FEW]),
    "bfloat16": ({"dtype": "bfloat16"}, [STEP, BINOMIAL]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_policy_changes_no_bit_of_the_gradients(name):
    changes, policies = VARIANTS[name]
    experiment = with_model(RECURRENT, **changes)
    arguments = half_solved(experiment)
    expected = outcome(experiment, arguments)
    gradients = jax.tree.leaves(expected[0])
    assert sum(np.asarray(gradient).any() for gradient in gradients) == len(gradients)
    for memory in policies:
        assert_same_bits(outcome(with_memory(experiment, **memory), arguments), expected)


@pytest.mark.parametrize(
    "changes", [{"cycles": 3, "grad_cycles": 3}, {"grad_cycles": 2, "backprop_steps": 2}], ids=["cycles", "steps"]
)
def test_a_policy_of_cycles_and_supervision_steps_changes_the_gradients_by_their_order_of_summing_at_most(changes):
    experiment = with_model(replace(RECURRENT, loss=LossConfig(continue_head=True)), latent_steps=3, **changes)
    arguments = half_solved(experiment)
    plain, first, *others = (
        outcome(with_memory(experiment, outer_policy=outer, **memory), arguments)
        for outer, memory in (("none", {}), ("step", {}), ("dots", STEP), ("binomial", NESTED), ("nested", FEW))
    )
    # Automatic differentiation adds what each part of a cycle contributes; a chain first sums up a cycle.
    assert_close(first[0], plain[0], 1e-6)
    assert_same_bits(first[1:], plain[1:])
    for other in others:
        assert_same_bits(other, first)


def test_a_policy_changes_rounding_only_when_compiled_for_speed():
    experiment = with_model(RECURRENT, grad_cycles=2)
    arguments = half_solved(experiment)
    jax.config.update("jax_disable_most_optimizations", False)
    plain, *others = (
        outcome(with_memory(experiment, **memory), arguments, options=None)
        for memory in ({}, BINOMIAL, {"policy": "step", "outer_policy": "step"})
    )
    for other in others:
        assert_close(other, plain, 2e-6)


@pytest.mark.parametrize("changes", [{}, {"mixer": "mlp", "latents": 2}, {"states": "z"}], ids=["y_z", "latents", "z"])
def test_slices_change_rounding_and_policies_over_slices_nothing(changes):
    experiment = with_model(RECURRENT, **changes)
    arguments = half_solved(experiment)
    sliced = outcome(with_memory(experiment, slices=2), arguments)
    assert_close(sliced, outcome(experiment, arguments), 1e-6)
    for memory in (STEP, FEW):
        assert_same_bits(outcome(with_memory(experiment, slices=2, **memory), arguments), sliced)


def test_micro_batches_take_the_same_step():
    experiment = replace(EXPLORING, loss=LossConfig(continue_head=True), memory=MemoryConfig(micro_batches=4))
    before = with_table(with_q_bias(init(EXPLORING), [5.0, 0.0]))
    (whole, metrics), (parts, metrics_of_parts) = (
        step(replace(experiment, memory=memory), before, batch_of([0, 1, 2, 3] * 16))
        for memory in (MemoryConfig(), experiment.memory)
    )
    # The same rows explore: their draws are those of the whole batch.
    np.testing.assert_array_equal(parts.carry.halted, whole.carry.halted)
    assert 16 < np.asarray(whole.carry.halted).sum() < 48
    assert metrics.keys() == metrics_of_parts.keys() >= {"q_continue_loss", "gradient_norm"}
    assert_close(metrics_of_parts, metrics, 1e-6)
    assert_close(parts.opt_state.mu, whole.opt_state.mu, 5e-6)
    assert_close(parts.weights.puzzle_table, whole.weights.puzzle_table, 1e-6)
    assert_close(parts.carry, whole.carry, 1e-6)


@pytest.mark.parametrize("continue_head", [False, True])
@pytest.mark.parametrize("count", [1, 2])
def test_gradients_flow_through_all_supervision_steps_of_an_optimiser_step(count, continue_head):
    """Against a plain loop over Model.think."""
    experiment = with_model(
        replace(EXPERIMENT, loss=LossConfig(continue_head=continue_head)),
        grad_cycles=2, backprop_steps=count, supervision_steps=4,
    )  # fmt: skip
    model, (params, rows, carry) = Model(experiment.model), half_solved(experiment)

    def plain_loop(params, rows, carry):
        total, state = 0.0, carry.state
        for i in range(count):
            state, readout = think(model, params, rows, state, carry.data.inputs)
            _, exact = correctness(readout.logits, carry.data.labels)
            total += token_loss(readout.logits, carry.data.labels, "stablemax")[0].sum()
            total += 0.5 * binary_cross_entropy(readout.q_halt, exact.astype(jnp.float32)).sum()
            if continue_head:
                _, following = think(model, params, rows, state, carry.data.inputs)
                # The second of two steps is the fourth, and last, for half of the rows.
                target = continue_target(model.config, carry.steps + i + 1, following)
                total += 0.5 * binary_cross_entropy(readout.q_continue, target).sum()
        return total / count, (state, readout)

    (gradients, total, reached) = outcome(experiment, (params, rows, carry))
    differentiate = jax.jit(jax.value_and_grad(plain_loop, argnums=(0, 1), has_aux=True))
    (expected_total, (state, readout)), expected = differentiate(params, rows, carry)
    np.testing.assert_allclose(total, expected_total, rtol=1e-6)
    assert_close((reached.state, reached.readout), (state, readout), 2e-6)
    # The loss is summed over rows, and gradients are of the mean.
    assert_close(gradients, jax.tree.map(lambda a: a / 4, expected), 1e-5)
    np.testing.assert_allclose(total, sum(reached.parts.values()) / 2 + reached.parts["lm_loss"] / 2, rtol=1e-6)


def test_an_optimiser_step_counts_its_supervision_steps():
    experiment = with_model(EXPERIMENT, grad_cycles=2, backprop_steps=2, supervision_steps=4)
    state = with_q_bias(init(experiment), [-5.0, 0.0])
    for expected, done in ((2, False), (4, True), (2, False)):
        state, metrics = step(experiment, state, batch_of([1, 2, 3, 4]))
        np.testing.assert_array_equal(state.carry.steps, expected)
        np.testing.assert_array_equal(state.carry.halted, done)
        assert (int(metrics["count"]), int(metrics["steps"])) == ((4, 16) if done else (0, 0))
