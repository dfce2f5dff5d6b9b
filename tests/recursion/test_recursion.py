"""The recursion against a plain Python loop, where its gradients flow, and what it refuses."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.recursion.policies import Policy, policy
from trm_jax.recursion.recursion import Networks, Schedule, State, recurse, watched_cycle

B, L, D = 2, 3, 4
# Of gradients that were added up in another order; how far off differs from one kind of processor to another.
CLOSE = {"rtol": 2e-5, "atol": 2e-5}


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
        lambda a, b: np.testing.assert_allclose(a, b, atol=4e-6), found, plain_loop(params, state, x, n, cycles)
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
        np.testing.assert_allclose(a, b, **CLOSE)
    if grad_cycles < cycles:
        longer = gradient_of(Schedule(n, cycles, grad_cycles + 1), latents=latents)
        assert not np.allclose(found[0], longer[0], atol=1e-4)


def last_steps(params, state, x, n, cycles, k):
    """A plain loop with gradients through the last k latent steps and the last answer step."""
    before = jax.lax.stop_gradient(plain_loop(params, state, x, n, cycles - 1))
    y, z = before.y, [before.z[:, i] for i in range(before.z.shape[1])]
    injection = x if y is None else y + x
    for i in range(n):
        new = net_fn(params, sum(z), injection)
        z[i % len(z)] = new if i >= n - k else jax.lax.stop_gradient(new)
    return jnp.sum((net_fn(params, z[0], 0.0) if y is None else net_fn(params, y, sum(z))) ** 2)


@pytest.mark.parametrize(("states", "latents"), [("yz", 1), ("yz", 3), ("z", 1)])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (4, 1), (4, 2), (4, 4)])
def test_gradients_flow_through_the_last_latent_steps_and_the_answer_step(states, latents, n, k):
    params, state, x = inputs(states, latents)
    expected = jax.grad(lambda params, x: last_steps(params, state, x, n, 2, k), argnums=(0, 1))(params, x)
    schedules = [Schedule(n, 2, gradient="last_k", gradient_steps=k)]
    schedules += [Schedule(n, 2, gradient="one_step")] if k == 1 else []
    schedules += [Schedule(n, 2)] if k == n else []
    for schedule in schedules:
        for a, b in zip(gradient_of(schedule, states, latents), expected, strict=True):
            np.testing.assert_allclose(a, b, **CLOSE)
    if k < n:
        more = gradient_of(Schedule(n, 2, gradient="last_k", gradient_steps=k + 1), states, latents)
        assert not np.allclose(more[0], expected[0], atol=1e-4)


@pytest.mark.parametrize(("states", "latents"), [("yz", 2), pytest.param("z", 1, marks=pytest.mark.slow)])
def test_the_implicit_gradient_is_that_of_many_latent_steps(states, latents):
    """A net with a slope of 0.2 at most: forty steps come to the fixed point, and gradients vanish on the way."""
    params, state, x = inputs(states, latents)
    params = 0.2 * params / jnp.linalg.norm(params, 2)
    n = 40

    def gradient(**how):
        def loss(params, x):
            return jnp.sum(recurse(NETS, params, state, x, Schedule(n, 2, **how)).readout ** 2)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x)

    def error(found):
        return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(found, exact, strict=True))

    exact = gradient()
    precise, rough, cut_short = (
        error(gradient(gradient="implicit", tolerance=tolerance, solver_steps=steps))
        for tolerance, steps in ((1e-6, 30), (1e-1, 30), (1e-6, 1))
    )
    assert precise < 1e-5
    assert 10 * precise < rough < 0.2
    assert 10 * precise < cut_short < 0.2


@pytest.mark.parametrize(("cycles", "gradient"), [(1, "cycles"), (2, "cycles"), (1, "one_step"), (1, "implicit")])
def test_the_first_state_gets_a_gradient_only_if_every_cycle_carries_them(cycles, gradient):
    params, state, x = inputs("yz")

    def loss(state):
        return jnp.sum(recurse(NETS, params, state, x, Schedule(2, cycles, gradient=gradient)).readout ** 2)

    found = jax.jit(jax.grad(loss))(state)
    expected = jax.grad(lambda state: jnp.sum(plain_loop(params, state, x, 2, cycles).y ** 2))(state)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        whole = gradient == "cycles" and cycles == 1
        np.testing.assert_allclose(a, b if whole else np.zeros(b.shape), **CLOSE)


MEMORY = [
    {"policy": Policy("dots")},
    {"policy": Policy("step"), "outer_policy": Policy("binomial", states=2)},
    {"policy": Policy("nested"), "outer_policy": Policy("step")},
    {"policy": Policy("binomial"), "outer_policy": Policy("dots")},
    {"policy": Policy("binomial", states=3), "slices": 2},
]


@pytest.mark.parametrize(
    ("states", "latents"),
    [
        ("yz", 1),
        pytest.param("yz", 3, marks=pytest.mark.slow),
        pytest.param("z", 1, marks=pytest.mark.slow),
        pytest.param("y", 1, marks=pytest.mark.slow),
    ],
)
def test_no_policy_changes_a_gradient(states, latents, optimised):
    """As compiled for speed; bit by bit in test_gradients.py."""
    schedule = Schedule(5, 4, 3)
    expected = gradient_of(schedule, states, latents)
    for memory in MEMORY:
        for a, b in zip(gradient_of(replace(schedule, **memory), states, latents), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * np.abs(b).max())


def kept(schedule):
    params, state, x = inputs("yz")
    grad = jax.jit(jax.grad(lambda p: jnp.sum(recurse(NETS, p, state, x, schedule).y ** 2)))
    return grad.lower(params).compile().memory_analysis().temp_size_in_bytes


STATE_BYTES = B * L * D * 4


def test_policies_of_latent_steps_keep_fewer_values():
    none, step, binomial = (kept(Schedule(256, 1, policy=Policy(name))) for name in ("none", "step", "binomial"))
    # 256 states, or 23: s (s + 1) / 2 >= 256. Without a policy what the network computes within itself is kept besides.
    assert none - step > 200 * STATE_BYTES
    assert step - binomial > 200 * STATE_BYTES


def test_policies_of_cycles_keep_fewer_values():
    long = Schedule(8, 64, 64)
    none, step, both = (
        kept(replace(long, outer_policy=outer, policy=policy))
        for outer, policy in (
            (Policy(), Policy()),
            (Policy("step"), Policy()),
            (Policy("binomial"), Policy("step")),
        )
    )
    # Each of 64 cycles has 8 latent steps; kept are all their values, or only y and z before each cycle.
    assert none - step > 64 * 8 * STATE_BYTES
    assert step - both > 64 * STATE_BYTES


def test_cycles_without_gradients_keep_nothing():
    assert kept(Schedule(4, 100)) <= kept(Schedule(4, 2)) + 1024


@pytest.mark.parametrize("gradient", ["one_step", "implicit"])
def test_estimators_keep_no_more_of_many_steps_than_of_few(gradient):
    assert kept(Schedule(256, 2, gradient=gradient)) <= kept(Schedule(8, 2, gradient=gradient)) + 1024


def test_the_two_networks_are_used_for_what_they_are_for():
    params, state, x = inputs("yz")
    nets = Networks(lambda p, h, i: h + i, lambda p, h, i: 2 * h + i)
    found = recurse(nets, params, state, x, Schedule(1, 1))
    np.testing.assert_allclose(found.z[:, 0], state.z[:, 0] + state.y + x, rtol=1e-6)
    np.testing.assert_allclose(found.y, 2 * state.y + found.z[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("n", "cycles", "grad_cycles"), list(product([0, 1], [0, 1], [0, 2]))[:-1])
def test_impossible_schedules_are_refused(n, cycles, grad_cycles):
    with pytest.raises(ConfigError, match=r"give a whole number of at least 1$|is more than cycles = 1: lower it$"):
        Schedule(n, cycles, grad_cycles)


@pytest.mark.parametrize("steps", [0, 4])
def test_more_steps_with_gradients_than_there_are_are_refused(steps):
    with pytest.raises(ConfigError, match="gradient_steps"):
        Schedule(3, 1, gradient="last_k", gradient_steps=steps)


def test_a_plain_function_is_both_networks_and_a_policy_may_be_given_by_its_name():
    params, state, x = inputs("yz")

    def gradient(nets, **how):
        return jax.jit(jax.grad(lambda p: jnp.sum(recurse(nets, p, state, x, Schedule(5, 2, **how)).y ** 2)))(params)

    expected = gradient(NETS, policy=Policy("binomial", repetitions=3), outer_policy=Policy("step"))
    found = gradient(net_fn, policy=policy("binomial", repetitions=3), outer_policy="step")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(gradient(net_fn, policy="step"), gradient(NETS, policy=Policy("step")))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)], ids=str)
def test_a_row_may_have_any_shape_and_a_single_latent_needs_no_axis(shape):
    """Against the same rows laid out as [B, L, D], and a latent with its axis."""
    schedule = Schedule(3, 2, policy="step", slices=3)
    rng = np.random.default_rng(0)
    y, z, x = (jnp.asarray(rng.normal(size=(3, *shape)), jnp.float32) for _ in range(3))
    params = jnp.asarray(rng.normal(size=(D, D)), jnp.float32)
    flat = [a.reshape(3, -1, D) for a in (y, z, x)]

    found = recurse(net_fn, params, State(y, z), x, schedule)
    expected = recurse(net_fn, params, State(flat[0], flat[1][:, None]), flat[2], schedule)

    assert found.y.shape == found.z.shape == y.shape
    np.testing.assert_allclose(found.y.reshape(3, -1, D), expected.y, atol=1e-6)
    np.testing.assert_allclose(found.z.reshape(3, 1, -1, D), expected.z, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nets": 3}, "nets = 3: give a function net(params, h, injection), or Networks of two"),
        ({"nets": Networks(net_fn, None)}, "nets = Networks(latent=<function"),
        ({"schedule": 6}, "schedule = 6: give Schedule(latent_steps=..., cycles=...)"),
        ({"state": jnp.ones((B, L, D))}, "state is of type "),
        ({"state": State(None, None)}, "state holds neither y nor z: give one or both"),
        ({"state": State([1.0], None)}, "state.y is of type list: give an array of floating-point numbers"),
        ({"state": State(jnp.ones((B, L, D + 1)), None)}, "state.y has shape [2, 3, 5] and x [2, 3, 4]: give both"),
        (
            {"state": State(None, jnp.ones((B, L, D)))},
            "state.z has shape [2, 3, 4] and x [2, 3, 4]: give z [2, K, ",
        ),
        ({"state": State(None, jnp.ones((B, 2, L, D)))}, "state.z holds 2 latents: give at least one, and without y "),
        ({"state": State(jnp.ones((B, L, D)), jnp.ones((B, 0, L, D)))}, "state.z holds 0 latents: give at least one"),
        ({"x": jnp.ones((B, L, D), int)}, "x is int32[2, 3, 4]: give an array of floating-point numbers"),
        ({"x": jnp.float32(1)}, "x is float32[]: give an array [B, ...], rows first"),
        ({"x": None}, "x is of type NoneType: give an array"),
        ({"params": {"w": [jnp.eye(D), jnp.tanh]}}, "params['w'][1] is of type "),
        ({"params": {"w": 0.5}}, "params['w'] is of type float: give an array of floating-point numbers"),
        (
            {"nets": lambda p, h, i: h[:, :1]},
            "the network makes float32[2, 1, 4] of float32[2, 3, 4]: let it keep shape",
        ),
        (
            {"nets": lambda p, h, i: h.astype("bfloat16")},
            "the network makes bfloat16[2, 3, 4] of float32[2, 3, 4]: let",
        ),
        ({"nets": lambda p, h, i: (h, h)}, "the network makes of type tuple of float32[2, 3, 4]: let it keep shape"),
        ({"schedule": Schedule(1, 1, slices=4)}, "slices = 4 does not divide the 2 rows of x: change either"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_arguments_that_do_not_go_together_are_told_in_one_line(changes, message):
    params, state, x = inputs("yz")
    arguments = {"nets": net_fn, "params": params, "state": state, "x": x, "schedule": Schedule(1, 1)} | changes
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its text is looked at
        recurse(**arguments)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"latent_steps": 2.0}, "latent_steps = 2.0: give a whole number of at least 1"),
        ({"slices": True}, "slices = True: give a whole number of at least 1"),
        ({"tolerance": 0}, "tolerance = 0: give a number above 0, at most 1"),
        ({"gradient": "cycle"}, "gradient = 'cycle' is unknown: did you mean 'cycles'?"),
        ({"gradient": "one_step", "grad_cycles": 2}, "grad_cycles = 2, but gradient = 'one_step' estimates within the"),
        ({"policy": "binomal"}, "policy = 'binomal' is unknown: did you mean 'binomial'?"),
        ({"outer_policy": Policy("stp")}, "outer_policy = 'stp' is unknown: did you mean 'step'?"),
        ({"policy": 3}, "policy = 3: give a policy, or its name: one of none, dots, step"),
    ],
)
def test_schedules_that_cannot_be_are_told_in_one_line(values, message):
    with pytest.raises(ConfigError) as refused:
        Schedule(**{"latent_steps": 3, "cycles": 3, **values})
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(("states", "latents"), [("yz", 1), ("yz", 3), ("z", 1)])
def test_a_watched_cycle_is_a_cycle_and_tells_what_was_written(states, latents):
    params, state, x = inputs(states, latents)
    found, written = watched_cycle(NETS, params, state, x, 4)
    assert written.shape == (4, B, L, D)
    for i in range(4):
        # After i + 1 latent steps of a plain loop, latent i mod K is the one that was written last.
        z = [state.z[:, k] for k in range(latents)]
        for j in range(i + 1):
            z[j % latents] = net_fn(params, sum(z), x if state.y is None else state.y + x)
        np.testing.assert_allclose(written[i], z[i % latents], atol=2e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), found, plain_loop(params, state, x, 4, 1))
