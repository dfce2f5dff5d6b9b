"""The recursion against a plain Python loop, and where its gradients flow."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.recursion import Networks, Schedule, State, recurse

B, L, D = 2, 3, 4


def net_fn(params, h, injection):
    return jnp.tanh((h + injection) @ params)


NETS = Networks(net_fn, net_fn)


def inputs(states, latents=1, seed=0):
    rng = np.random.default_rng(seed)
    params = jnp.asarray(rng.normal(size=(D, D)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(B, L, D)), jnp.float32) if "y" in states else None
    z = jnp.asarray(rng.normal(size=(B, latents, L, D)), jnp.float32) if "z" in states else None
    return params, State(y, z), jnp.asarray(rng.normal(size=(B, L, D)), jnp.float32)


def plain_loop(params, state, x, n, cycles):
    """The paper's figure 3, written without scan, carry or schedule."""
    y, z = state.y, None if state.z is None else [state.z[:, k] for k in range(state.z.shape[1])]
    for _ in range(cycles):
        if z is None:
            y = net_fn(params, y, x)
            continue
        for i in range(n):
            z[i % len(z)] = net_fn(params, sum(z), x if y is None else y + x)
        if y is None:
            z = [net_fn(params, z[0], 0.0)]
        else:
            y = net_fn(params, y, sum(z))
    return State(y, None if z is None else jnp.stack(z, axis=1))


@pytest.mark.parametrize(("states", "latents"), [("yz", 1), ("yz", 2), ("yz", 3), ("z", 1), ("y", 1)])
@pytest.mark.parametrize(("n", "cycles"), [(1, 1), (3, 2), (4, 3)])
def test_states_equal_those_of_a_plain_loop(states, latents, n, cycles):
    params, state, x = inputs(states, latents)
    found = recurse(NETS, params, state, x, Schedule(n, cycles))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, plain_loop(params, state, x, n, cycles)
    )


def gradient_of(schedule, states="yz", latents=1):
    params, state, x = inputs(states, latents)
    return jax.jit(jax.grad(lambda p, x: jnp.sum(recurse(NETS, p, state, x, schedule).readout ** 2), argnums=(0, 1)))(
        params, x
    )


@pytest.mark.parametrize("grad_cycles", [1, 2, 3])
@pytest.mark.parametrize("latents", [1, 2])
def test_gradients_flow_through_exactly_the_last_cycles(grad_cycles, latents):
    params, state, x = inputs("yz", latents)
    n, cycles = 2, 3

    def truncated(params, x):
        before = jax.lax.stop_gradient(plain_loop(params, state, x, n, cycles - grad_cycles))
        return jnp.sum(plain_loop(params, before, x, n, grad_cycles).y ** 2)

    expected = jax.grad(truncated, argnums=(0, 1))(params, x)
    found = gradient_of(Schedule(n, cycles, grad_cycles), latents=latents)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-5)
    if grad_cycles < cycles:
        longer = gradient_of(Schedule(n, cycles, grad_cycles + 1), latents=latents)
        assert not np.allclose(found[0], longer[0], atol=1e-4)


@pytest.mark.parametrize("n", [1, 3])
def test_the_one_step_gradient_is_that_of_the_last_two_applications(n):
    params, state, x = inputs("yz")
    cycles = 2

    def one_step(params, x):
        before = jax.lax.stop_gradient(plain_loop(params, state, x, n, cycles - 1))
        y, z = before.y, before.z[:, 0]
        for _ in range(n - 1):
            z = jax.lax.stop_gradient(net_fn(params, z, y + x))
        z = net_fn(params, z, y + x)
        return jnp.sum(net_fn(params, y, z) ** 2)

    expected = jax.grad(one_step, argnums=(0, 1))(params, x)
    for a, b in zip(gradient_of(Schedule(n, cycles, gradient="one_step")), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("states", ["yz", "z", "y"])
@pytest.mark.parametrize("gradient", ["cycles", "one_step"])
def test_checkpointing_changes_no_bit(states, gradient):
    for grad_cycles in (1, 2) if gradient == "cycles" else (1,):
        plain, recomputed = (
            gradient_of(Schedule(3, 2, grad_cycles, gradient, checkpoint), states) for checkpoint in (False, True)
        )
        for a, b in zip(plain, recomputed, strict=True):
            np.testing.assert_array_equal(a, b)


def test_checkpointing_keeps_fewer_values():
    params, state, x = inputs("yz")

    def kept(checkpoint):
        schedule = Schedule(64, 1, checkpoint=checkpoint)
        grad = jax.jit(jax.grad(lambda p: jnp.sum(recurse(NETS, p, state, x, schedule).y ** 2)))
        return grad.lower(params).compile().memory_analysis().temp_size_in_bytes

    assert kept(True) < kept(False)


def test_cycles_without_gradients_keep_nothing():
    params, state, x = inputs("yz")

    def kept(cycles):
        grad = jax.jit(jax.grad(lambda p: jnp.sum(recurse(NETS, p, state, x, Schedule(4, cycles)).y ** 2)))
        return grad.lower(params).compile().memory_analysis().temp_size_in_bytes

    assert kept(100) <= kept(2) + 1024


def test_the_two_networks_are_used_for_what_they_are_for():
    params, state, x = inputs("yz")
    nets = Networks(lambda p, h, i: h + i, lambda p, h, i: 2 * h + i)
    found = recurse(nets, params, state, x, Schedule(1, 1))
    np.testing.assert_allclose(found.z[:, 0], state.z[:, 0] + state.y + x, rtol=1e-6)
    np.testing.assert_allclose(found.y, 2 * state.y + found.z[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("n", "cycles", "grad_cycles"), list(product([0, 1], [0, 1], [0, 2]))[:-1])
def test_impossible_schedules_are_refused(n, cycles, grad_cycles):
    with pytest.raises(ValueError, match="recursion needs"):
        Schedule(n, cycles, grad_cycles)
