"""Plans of gradient policies: replayed step by step, and against the numbers that theory gives them."""

import subprocess
import sys
from dataclasses import replace
from functools import cache
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import Experiment, MemoryConfig, validate
from trm_jax.errors import ConfigError
from trm_jax.recursion import policies
from trm_jax.recursion.chain import chain
from trm_jax.recursion.policies import POLICIES, Kind, Plan, Policy, Program, Residuals, again, as_policy, plan

LEVELS = [Policy("nested", levels=levels) for levels in range(1, 6)]
REPETITIONS = [Policy("binomial", repetitions=repetitions) for repetitions in range(1, 6)]
STATES = [Policy("binomial", states=states) for states in range(2, 9)]
PROGRAMS = [Policy("step"), *LEVELS, *REPETITIONS, *STATES]
LENGTHS = [*range(1, 61), 1000]


def in_words(policy: Policy) -> str:
    return f"{policy.name}-levels{policy.levels}-repetitions{policy.repetitions}-states{policy.states}"


def replay(program: Program) -> tuple[list[int], list[int]]:
    """Follows a program over slots that hold no state but its number.

    Returns:
      How often each step is advanced over in the forward pass, and in the backward pass.
    """
    n = program.length
    slots: list[int | None] = [0] + [None] * (program.states - 1)
    forward, backward = [0] * n, [0] * n

    def advance(row, times):
        first, steps, slot = (int(number) for number in row)
        assert steps >= 1
        assert slots[slot] == first
        for i in range(first, first + steps):
            times[i] += 1
        slots[slot + 1] = first + steps

    for row in program.forward:
        advance(row, forward)
    assert slots[program.slot[0]] == n - 1, "the forward pass ends before the last step"
    assert program.before[0] == program.before[1] == 0
    assert program.before[n] == len(program.backward)
    for j in range(n):
        for row in program.backward[program.before[j] : program.before[j + 1]]:
            advance(row, backward)
        assert slots[program.slot[j]] == n - 1 - j
    assert None not in slots, "a slot that is never used"
    return forward, backward


@pytest.mark.parametrize("policy", PROGRAMS, ids=in_words)
def test_every_state_is_there_when_its_step_is_reversed(policy):
    for n in LENGTHS:
        program = plan(policy, n)
        assert isinstance(program, Program)
        assert program.length == n
        forward, backward = replay(program)
        # The last step is no part of the forward pass's advances: whoever takes the gradient makes it himself.
        assert forward == [1] * (n - 1) + [0]
        assert sum(backward) == program.recomputed
        assert again(policy, n) == program.recomputed + n


def test_step_keeps_every_state_and_repeats_nothing():
    for n in LENGTHS:
        program = plan(Policy("step"), n)
        assert (program.states, program.recomputed) == (n, 0)


@pytest.mark.parametrize("policy", LEVELS, ids=in_words)
def test_nested_keeps_the_levels_root_of_the_states_and_repeats_once_a_further_level(policy):
    for n in LENGTHS:
        program = plan(policy, n)
        root = next(root for root in range(1, n + 1) if root**policy.levels >= n)
        assert program.states <= policy.levels * root
        _, backward = replay(program)
        assert max(backward) <= policy.levels - 1


def test_nested_on_two_levels_by_hand():
    # 16 steps in 4 parts of 4. Kept: states 0, 4, 8, 12, and of one part at a time the 3 states after its first.
    program = plan(Policy("nested", levels=2), 16)
    assert program.forward.tolist() == [[0, 4, 0], [4, 4, 1], [8, 4, 2], [12, 1, 3], [13, 1, 4], [14, 1, 5]]
    assert program.backward.tolist() == [
        *([8, 1, 2], [9, 1, 3], [10, 1, 4]),
        *([4, 1, 1], [5, 1, 2], [6, 1, 3]),
        *([0, 1, 0], [1, 1, 1], [2, 1, 2]),
    ]
    assert program.before.tolist() == [0, 0, 0, 0, 0, 3, 3, 3, 3, 6, 6, 6, 6, 9, 9, 9, 9]
    assert program.slot.tolist() == [6, 5, 4, 3, 5, 4, 3, 2, 4, 3, 2, 1, 3, 2, 1, 0]
    assert (program.states, program.recomputed) == (7, 9)


@pytest.mark.parametrize("policy", REPETITIONS, ids=in_words)
def test_binomial_by_repetitions_keeps_as_few_states_as_they_allow(policy):
    r = policy.repetitions
    for n in LENGTHS:
        program = plan(policy, n)
        assert program.states == next(s for s in range(1, n + 1) if comb(s - 1 + r, r) >= n)
        forward, backward = replay(program)
        assert max(map(sum, zip(forward, backward, strict=True))) <= r


@cache
def fewest_advances(steps: int, free: int) -> float:
    """Over how many steps one has to advance at least to reverse a stretch, with so many free slots."""
    if steps == 1:
        return 0
    if not free:
        return float("inf")
    return min(k + fewest_advances(steps - k, free - 1) + fewest_advances(k, free) for k in range(1, steps))


@pytest.mark.parametrize("states", range(2, 9))
def test_binomial_by_states_advances_over_as_few_steps_as_can_be(states):
    policy = Policy("binomial", states=states)
    for n in range(1, 41):
        program = plan(policy, n)
        assert program.states == min(n, states)
        assert program.forward[:, 1].sum() + program.recomputed == fewest_advances(n, states - 1)


@pytest.mark.parametrize("policy", REPETITIONS, ids=in_words)
def test_binomial_by_repetitions_is_optimal_with_the_states_that_it_keeps(policy):
    for n in range(2, 41):
        program = plan(policy, n)
        assert program.forward[:, 1].sum() + program.recomputed == fewest_advances(n, program.states - 1)


def test_long_chains_are_planned_with_few_states():
    # C(8 - 1 + 8, 8) = 6,435; C(181 - 1 + 2, 2) = 16,471 > 16,384 > 16,290.
    assert plan(Policy("binomial", repetitions=8), 6435).states == 8
    assert plan(Policy("binomial", repetitions=2), 16384).states == 181
    assert plan(Policy("nested", levels=2), 16384).states == 128 + 127


def test_what_automatic_differentiation_keeps():
    for name, keep, repeated in (("none", "all", 0), ("dots", "products", 0), ("offload", "host", 30)):
        assert plan(Policy(name), 30) == Residuals(keep)
        assert again(Policy(name), 30) == repeated


def test_unknown_policies_are_refused_with_the_name_that_was_meant():
    for refuse in (lambda policy: plan(policy, 5), as_policy, lambda policy: again(policy, 5)):
        with pytest.raises(ConfigError, match=r"^policy = 'binomal' is unknown: did you mean 'binomial'\?$"):
            refuse(Policy("binomal"))


@pytest.mark.parametrize(
    ("name", "numbers", "message"),
    [
        ("magic", {}, "policy = 'magic' is unknown: known: binomial, dots, nested, none, offload, step"),
        ("step", {"levels": 2}, "policy 'step' takes no levels: it takes no numbers"),
        ("binomial", {"levels": 2}, "policy 'binomial' takes no levels: it takes repetitions or states"),
        ("nested", {"levels": 0}, "levels = 0 of policy 'nested': give a whole number of at least 1"),
        ("nested", {"levels": 2.0}, "levels = 2.0 of policy 'nested': give a whole number of at least 1"),
        ("binomial", {"states": 1}, "states = 1 of policy 'binomial': give a whole number of at least 2"),
        ("binomial", {"states": 9, "repetitions": 2}, "policy 'binomial' takes repetitions or states, not both"),
    ],
)
def test_a_policy_that_cannot_be_is_told_in_one_line(name, numbers, message):
    with pytest.raises(ConfigError) as refused:
        policies.policy(name, **numbers)
    assert str(refused.value).startswith(message)


def test_every_policy_comes_by_its_name_with_the_numbers_it_takes():
    for name, kind in POLICIES.items():
        assert policies.policy(name) == Policy(name)
        for key in kind.numbers:
            assert policies.policy(name, **{key: 3}) == Policy(name, **{key: 3})
    assert policies.policy(Policy("nested"), levels=np.int64(3)) == Policy("nested", levels=3)


def test_one_state_is_not_enough_for_more_than_one_step():
    assert plan(Policy("binomial", states=1), 1).states == 1
    with pytest.raises(ConfigError, match="chain of 2 steps cannot be reversed with 1 kept state"):
        plan(Policy("binomial", states=1), 2)


def test_plans_are_made_without_jax():
    made = "import sys, trm_jax.recursion.policies as p; p.plan(p.Policy('binomial'), 9)"
    code = f"{made}; assert not {{'jax', 'jaxlib'}} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_new_policy_is_one_line_in_the_table(monkeypatch):
    def in_halves(length: int, policy: Policy) -> Plan:
        return policies._program(length, None, lambda steps, _: (steps // 2, None, None))

    monkeypatch.setitem(POLICIES, "halves", Kind("keep the state in the middle of every stretch", in_halves))

    program = plan(Policy("halves"), 30)
    replay(program)
    assert program.states == 6  # 30, 15, 8, 4, 2, 1 steps that are left on the right
    validate(replace(Experiment(), memory=MemoryConfig(policy="halves", outer_policy="halves")))

    def gradient(policy):
        def loss(w, s):
            return jnp.sum(chain(lambda w, s, i: jnp.tanh(w @ s + 0.1 * i), w, s, 30, policy) ** 2)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(w, s)

    rng = np.random.default_rng(0)
    w, s = jnp.asarray(rng.normal(size=(4, 4)), jnp.float32), jnp.asarray(rng.normal(size=4), jnp.float32)
    for found, expected in zip(gradient(Policy("halves")), gradient(Policy("none")), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
