"""The gradients of one optimiser step: the same under every policy, and through as many steps as asked for."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compiling import AS_USERS
from small_step import (
    EXPERIMENT,
    EXPLORING,
    batch_of,
    init,
    step,
    think,
    with_model,
    with_q_bias,
    with_table,
)

from trm_jax.config import Experiment, LossConfig, MemoryConfig, validate
from trm_jax.errors import ConfigError
from trm_jax.model.losses import binary_cross_entropy, correctness, token_loss
from trm_jax.model.model import Model
from trm_jax.recursion.chain import check_available
from trm_jax.recursion.policies import POLICIES, Policy
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.training.step import _gradients
from trm_jax.training.supervision import continue_target, empty_carry, refill

# Two programs of the same operations round alike only where the compiler leaves the operations apart: XLA's YNN fusions
# round a reduction by what it is fused with, and LLVM merges products with sums by what it finds beside each other.
APART = AS_USERS | {"xla_cpu_experimental_ynn_fusion_type": "", "xla_backend_optimization_level": 0}


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
    "mlp": ({"mixer": "mlp"}, [FEW, {"policy": "nested", "levels": 3}, STEP]),
    "three latents": ({"latents": 3}, [BINOMIAL, STEP]),
    "rivals": ({"latents": 3, "winner_take_all": True}, [BINOMIAL, STEP]),
    "z only": ({"states": "z"}, [NESTED, BINOMIAL]),
    "y only": ({"states": "y", "grad_cycles": 2}, [STEP, BINOMIAL]),
    "two networks": ({"separate_networks": True, "answer_layers": 2}, [{"policy": "dots"}, STEP]),
    "all cycles": ({"cycles": 3, "grad_cycles": 3}, [FEW, STEP]),
    "one step": ({"gradient": "one_step"}, [STEP, BINOMIAL]),
    "last steps": ({"gradient": "last_k", "gradient_steps": 3}, [NESTED, FEW]),
    "implicit": ({"gradient": "implicit", "latents": 3, "solver_steps": 4}, [NESTED, FEW]),
    "bfloat16": ({"dtype": "bfloat16"}, [STEP, BINOMIAL]),
}


def assert_no_bit_changes(changes, policies) -> None:
    experiment = with_model(RECURRENT, **changes)
    arguments = half_solved(experiment)
    expected = outcome(experiment, arguments)
    gradients = jax.tree.leaves(expected[0])
    assert sum(np.asarray(gradient).any() for gradient in gradients) == len(gradients)
    for memory in policies:
        assert_same_bits(outcome(with_memory(experiment, **memory), arguments), expected)


@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("attention", "all cycles", "implicit", "bfloat16")),
    ],
)
def test_a_policy_changes_no_bit_of_the_gradients(name):
    changes, policies = VARIANTS[name]
    assert_no_bit_changes(changes, [STEP, FEW] if name == "attention" else policies[:1])


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_no_policy_changes_a_bit_of_the_gradients(name):
    assert_no_bit_changes(*VARIANTS[name])


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"cycles": 3, "grad_cycles": 3}, id="cycles", marks=pytest.mark.slow),
        pytest.param({"grad_cycles": 2, "backprop_steps": 2}, id="steps", marks=pytest.mark.slow),
    ],
)
def test_a_policy_of_cycles_and_supervision_steps_changes_the_gradients_by_their_order_of_summing_at_most(changes):
    experiment = with_model(replace(RECURRENT, loss=LossConfig(continue_head=True)), latent_steps=3, **changes)
    arguments = half_solved(experiment)
    plain, first, *others = (
        outcome(with_memory(experiment, outer_policy=outer, **memory), arguments)
        for outer, memory in (("none", {}), ("step", {}), ("binomial", NESTED))
    )
    # Automatic differentiation adds what each part of a cycle contributes; a chain first sums up a cycle.
    assert_close(first[0], plain[0], 1e-6)
    assert_same_bits(first[1:], plain[1:])
    for other in others:
        assert_same_bits(other, first)


@pytest.mark.slow
def test_a_policy_changes_rounding_only_when_compiled_for_speed(optimised):
    experiment = with_model(RECURRENT, grad_cycles=2)
    arguments = half_solved(experiment)
    plain, *others = (outcome(with_memory(experiment, **memory), arguments, options=None) for memory in ({}, BINOMIAL))
    for other in others:
        assert_close(other, plain, 2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"mixer": "mlp", "latents": 2}, {"states": "z"}], ids=["latents", "z"])
def test_slices_change_rounding_and_policies_over_slices_nothing(changes):
    experiment = with_model(RECURRENT, **changes)
    arguments = half_solved(experiment)
    sliced = outcome(with_memory(experiment, slices=2), arguments)
    assert_close(sliced, outcome(experiment, arguments), 1e-6)
    assert_same_bits(outcome(with_memory(experiment, slices=2, **FEW), arguments), sliced)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "continue_head", "grad_cycles"),
    [
        pytest.param(1, False, 2, marks=pytest.mark.slow),
        (2, True, 2),
        pytest.param(2, False, 1, marks=pytest.mark.slow),
    ],
)
def test_gradients_flow_through_all_supervision_steps_of_an_optimiser_step(count, continue_head, grad_cycles):
    """Against a plain loop over Model.think; where not every cycle carries gradients, each step has its own."""
    experiment = with_model(
        replace(EXPERIMENT, loss=LossConfig(continue_head=continue_head)),
        grad_cycles=grad_cycles, backprop_steps=count, supervision_steps=4,
    )  # fmt: skip
    model, (params, rows, carry) = Model(experiment.model), half_solved(experiment)

    def plain_loop(params, rows, carry):
        total, state = 0.0, carry.state
        for i in range(count):
            if grad_cycles == 1:
                state = jax.lax.stop_gradient(state)
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

    (gradients, total, reached) = outcome(experiment, (params, rows, carry), options=None)
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
