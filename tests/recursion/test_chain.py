"""Chains of steps: values and gradients of every policy against a plain loop, and what each keeps in memory."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.recursion import chain as module
from trm_jax.recursion.chain import chain, check_available, in_slices
from trm_jax.recursion.policies import POLICIES, Policy, Program, plan


def available(name: str) -> bool:
    try:
        check_available(Policy(name))
    except ConfigError:
        return False
    return True


# Whatever is added to the table is tested with the numbers that it has by default.
NAMES = [name for name in POLICIES if available(name)]
PROGRAMS = [name for name in NAMES if isinstance(plan(Policy(name), 30), Program)]
CHOSEN = [
    *map(Policy, NAMES),
    *(Policy("nested", levels=levels) for levels in (1, 3)),
    *(Policy("binomial", repetitions=repetitions) for repetitions in (1, 4)),
    *(Policy("binomial", states=states) for states in (2, 5)),
]


def in_words(policy: Policy) -> str:
    return f"{policy.name}-levels{policy.levels}-repetitions{policy.repetitions}-states{policy.states}"


def step(shared, state, i):
    """Two arrays of different shapes that depend on each other, on all that is shared, and on the step's number."""
    a, b = state["a"], state["b"]
    a = jnp.tanh(a @ shared["w"] + b[None] * jnp.sin(1.0 + i) + shared["x"])
    return {"a": a, "b": 0.8 * b + a.mean(axis=0) * shared["c"]}


def plain_loop(shared, state, length):
    for i in range(length):
        state = step(shared, state, i)
    return state


def arguments():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {"w": 0.6 * normal(4, 4), "x": normal(3, 4), "c": normal(4)}, {"a": normal(3, 4), "b": normal(4)}


def loss_of(last):
    return jnp.sum(last["a"] ** 3) + jnp.sum(last["b"] ** 2), last


def assert_close(found, expected, tolerance):
    """Within so much of the largest entry of each array."""

    def one(a, b):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(one, found, expected)


@pytest.fixture(scope="module")
def expected():
    """By length: value, last state, and gradients of what is shared and of the first state."""
    differentiate = jax.value_and_grad(lambda *a: loss_of(plain_loop(*a)), argnums=(0, 1), has_aux=True)
    return {n: differentiate(*arguments(), n) for n in (1, 2, 7, 30)}


@pytest.mark.parametrize("length", [1, 2, 7, 30])
@pytest.mark.parametrize("policy", CHOSEN, ids=in_words)
def test_values_and_gradients_are_those_of_a_plain_loop(policy, length, expected):
    def loss(shared, state):
        return loss_of(chain(step, shared, state, length, policy))

    (value, last), gradients = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(*arguments())

    (expected_value, expected_last), expected_gradients = expected[length]
    np.testing.assert_allclose(value, expected_value, rtol=2e-6)
    assert_close(last, expected_last, 2e-6)
    assert_close(gradients, expected_gradients, 5e-6)


@pytest.mark.parametrize("policy", CHOSEN, ids=in_words)
def test_without_a_gradient_the_last_state_is_that_of_a_plain_loop(policy, expected):
    last = jax.jit(lambda *a: chain(step, *a, 7, policy))(*arguments())
    assert_close(last, expected[7][0][1], 2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_what_is_shared_are_summed_in_float32(name):
    """Each of 4,096 steps adds 2^-9: a sum in bfloat16, of 8 significant bits, would never pass 1/2."""

    def loss(w, s):
        return chain(lambda w, s, i: s + w * jnp.bfloat16(2**-9), w, s, 4096, Policy(name)).astype(jnp.float32).sum()

    ones = jnp.ones(3, jnp.bfloat16)
    w_gradient, s_gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))(ones, ones)
    assert w_gradient.dtype == s_gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(w_gradient.astype(jnp.float32), 4096 * 2.0**-9)
    np.testing.assert_array_equal(s_gradient.astype(jnp.float32), 1.0)


def compiled(policy, length, dtype=jnp.float32, cells=4096):
    def loss(w, s):
        return jnp.sum(chain(lambda w, s, i: jnp.tanh(s * w), w, s, length, policy).astype(jnp.float32) ** 2)

    shapes = jax.ShapeDtypeStruct((), dtype), jax.ShapeDtypeStruct((cells,), dtype)
    return jax.jit(jax.grad(loss, argnums=(0, 1))).lower(*shapes).compile()


@cache
def kept_states(policy, length, dtype=jnp.float32, cells=4096) -> float:
    """Temporary memory, counted in states."""
    temporary = compiled(policy, length, dtype, cells).memory_analysis().temp_size_in_bytes
    return temporary / (cells * dtype.dtype.itemsize)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    "policy", [*map(Policy, PROGRAMS), Policy("binomial", states=5), Policy("nested", levels=3)], ids=in_words
)
def test_memory_grows_by_the_states_that_the_plan_names(policy, dtype):
    short, long = (kept_states(policy, n, dtype) for n in (64, 256))
    by_plan = plan(policy, 256).states - plan(policy, 64).states
    assert long - short == pytest.approx(by_plan, abs=0.05)
    # Beside them a few states that are being worked on.
    assert short - plan(policy, 64).states < 8


def test_memory_by_hand():
    grown = {name: kept_states(Policy(name), 256) - kept_states(Policy(name), 64) for name in NAMES}
    assert grown["step"] == pytest.approx(192, abs=0.05)
    assert grown["nested"] == pytest.approx((16 + 15) - (8 + 7), abs=0.05)
    # The smallest s with s (s + 1) / 2 >= 64, and 256.
    assert grown["binomial"] == pytest.approx(23 - 11, abs=0.05)
    # What tanh has in its derivative besides the state costs more.
    assert grown["none"] > 1.9 * 192


@pytest.mark.parametrize("name", NAMES)
def test_the_program_does_not_grow_with_the_chain(name):
    def instructions(length):
        text = compiled(Policy(name), length, cells=8).as_text()
        return len(re.findall(r"^\s*(?:ROOT )?%\S+ = ", text, re.MULTILINE))

    assert instructions(30) == instructions(3000) > 20


def test_offloading_is_refused_on_a_cpu_before_anything_is_compiled():
    with pytest.raises(ConfigError, match="this device is the host") as refused:
        jax.eval_shape(lambda s: chain(lambda w, s, i: s, (), s, 8, Policy("offload")), jnp.ones(3))
    assert "\n" not in str(refused.value)
    assert "'step'" in str(refused.value)


def test_offloaded_states_go_to_the_hosts_memory_and_come_back(monkeypatch):
    monkeypatch.setattr(module, "check_available", lambda policy: None)

    def loss(w, s):
        return jnp.sum(chain(lambda w, s, i: jnp.tanh(s * w), w, s, 8, Policy("offload")) ** 2)

    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(jnp.float32(1), jnp.ones(5))
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    moves = re.findall(r'annotate_device_placement.*_xla_buffer_placement = "(\w+)".*-> tensor<(\S+)>', text)
    # The state, once on its way out and once on its way back; each in the body of a loop.
    assert moves == [("pinned_host", "5xf32"), ("device", "5xf32")]


def net(params, h, x):
    return h + jnp.tanh((h + x) @ params["up"]) @ params["down"]


def sliced_arguments(rows):
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    return {"up": normal(8, 128), "down": 0.1 * normal(128, 8)}, normal(rows, 3, 8), normal(rows, 3, 8)


def differentiated(function):
    def loss(*a):
        out = function(*a)
        return jnp.sum(out**3), out

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))


@pytest.mark.parametrize("count", [2, 3, 6])
def test_slices_change_neither_values_nor_gradients(count):
    given = sliced_arguments(12)
    run = differentiated(in_slices(net, count))
    found = run(*given)
    assert_close(found, differentiated(net)(*given), 4e-6)
    jax.tree.map(np.testing.assert_array_equal, run(*given), found)


def test_slices_take_less_memory():
    shapes = jax.eval_shape(lambda: sliced_arguments(64))

    def temporary(function):
        return differentiated(function).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    hidden = 64 * 3 * 128 * 4
    assert temporary(net) > hidden
    assert temporary(in_slices(net, 16)) < hidden / 2


def test_what_slices_add_to_a_gradient_is_summed_in_float32():
    def loss(w):
        rows = jnp.ones((2048, 3), jnp.bfloat16)
        return in_slices(lambda w, h: h + w[None] * jnp.bfloat16(2**-9), 2048)(w, rows).astype(jnp.float32).sum()

    gradient = jax.jit(jax.grad(loss))(jnp.ones(3, jnp.bfloat16))
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(gradient.astype(jnp.float32), 2048 * 2.0**-9)
