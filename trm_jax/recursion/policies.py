"""Gradient policies: what the backward pass of a long chain keeps, and what it computes again.

A chain is a step applied over and over, s_(i+1) = step(s_i): the n latent steps of a cycle, the cycles, the supervision
steps. Its backward pass needs every s_i, last one first. A policy turns a chain's length into a plan of one of two
kinds:

    Residuals: automatic differentiation keeps so much of every step.
    Program: a few states are kept, and the others computed again from them, in an order that is fixed beforehand.

A program comes from one rule, how to halve a stretch of the chain whose first state is kept: advance over the left
part, keep the state there, reverse the right part, forget that state, reverse the left part. The policies differ in
where they cut. With r the times that a step is advanced over, the forward pass included, and s the states kept:

    policy        cut                                  states                       r
    step          after one step                       n                            1
    nested        equal parts on each of L levels      about L n^(1/L)              L
    binomial      as treeverse does                    smallest s: C(s-1+r, r) >= n as given, or from s

To add a policy, write a function from (length, Policy) to a plan and give it a line in POLICIES: configuration, command
line, planner, benchmark and tests take their names from there, and `policy` the numbers that it takes. Nothing here
imports JAX.

Treeverse: Griewank 1992, doi 10.1080/10556789208805505; Griewank and Walther 2000, doi 10.1145/347837.347846.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, comb
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from trm_jax.errors import ConfigError, near_miss

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Policy:
    """The name of a policy, and the numbers that some of them take.

    name: a key of POLICIES.
    levels: of `nested`, at least 1.
    repetitions: of `binomial`: how often each step may be advanced over, the forward pass included; at least 1.
    states: of `binomial`: how many states may be kept, at least 2; 0: as few as `repetitions` allows.
    """

    name: str = "none"
    levels: int = 2
    repetitions: int = 2
    states: int = 0


KEEP_ALL = Policy()


@dataclass(frozen=True)
class Residuals:
    """What automatic differentiation keeps of every step.

    keep: "all" intermediate values; only the matrix "products"; or only the state before the step, in "host" memory.
    """

    keep: Literal["all", "products", "host"]


class Advance(NamedTuple):
    """From the state in `slot`, which is state number `first`, make `steps` steps; keep the result in slot + 1."""

    first: int
    steps: int
    slot: int


@dataclass(frozen=True, eq=False)
class Program:
    """In which order the steps of a chain of n are reversed, and how their states are come by.

    Slot 0 holds the first state. The last step is reversed first: reversal number j is of step n - 1 - j.

    forward: the `Advance`s [F, 3] of the forward pass; they end with the state before the last step.
    backward: the `Advance`s [M, 3] of the backward pass.
    before: reversal j is preceded by the advances before[j] ... before[j + 1] - 1 of the backward pass, [n + 1].
    slot: which slot then holds the state before the step, [n].
    """

    forward: Ints
    backward: Ints
    before: Ints
    slot: Ints

    @property
    def length(self) -> int:
        """n, the steps of the chain."""
        return len(self.slot)

    @property
    def states(self) -> int:
        """How many states are kept at most, the first one included."""
        return int(self.slot.max()) + 1

    @property
    def recomputed(self) -> int:
        """Steps that the backward pass advances over, those not counted that are part of reversing a step."""
        return int(self.backward[:, 1].sum())


Plan = Residuals | Program

# What of a stretch is cut off on the left, and by which rule each part is cut in its turn.
Cut = tuple[int, Any, Any]


def _program(length: int, rule: Any, cut: Callable[[int, Any], Cut]) -> Program:
    """Reverses a chain by halving it; `cut` takes a stretch's length, more than 1, and its rule."""
    advances: list[Advance] = []
    before: list[int] = []
    slots: list[int] = []
    stretches = [(0, length, 0, rule)]
    while stretches:
        first, steps, slot, rule = stretches.pop()
        while steps > 1:
            left, left_rule, right_rule = cut(steps, rule)
            advances.append(Advance(first, left, slot))
            stretches.append((first, left, slot, left_rule))
            # The slots above this one are free: whatever lay there has been reversed.
            first, steps, slot, rule = first + left, steps - left, slot + 1, right_rule
        before.append(len(advances))
        slots.append(slot)
    table = np.array(advances, np.int32).reshape(-1, 3)
    forward = before[0]
    bounds = np.array([forward, *before], np.int32) - forward
    return Program(table[:forward], table[forward:], bounds, np.array(slots, np.int32))


def _step(length: int, policy: Policy) -> Plan:
    return _program(length, None, lambda steps, _: (1, None, None))


def _nested(length: int, policy: Policy) -> Plan:
    # A rule is how many levels are left, and the size of this level's parts once it has been settled.
    def cut(steps: int, rule: tuple[int, int]) -> Cut:
        levels, part = rule
        if not part:
            part = ceil(steps / _root(steps, levels))
        while steps <= part and levels > 1:
            levels -= 1
            part = ceil(steps / _root(steps, levels))
        return part, (levels - 1, 0), (levels, part)

    return _program(length, (policy.levels, 0), cut)


def _root(n: int, degree: int) -> int:
    """The smallest whole number whose power of this degree is at least n."""
    root = max(1, round(n ** (1 / degree)))
    return root if root**degree >= n else root + 1


def _binomial(length: int, policy: Policy) -> Plan:
    free = policy.states - 1 if policy.states else _free_slots(length, policy.repetitions)
    if length > 1 and free < 1:
        raise ConfigError(f"a chain of {length} steps cannot be reversed with {policy.states} kept state")

    def reach(free: int, repetitions: int) -> int:
        """How long a stretch may be that is reversed with so many free slots and so many advances over each step."""
        return comb(free + repetitions, free) if repetitions >= 0 else 0

    # A rule is how many slots are free. The cut leaves each part within reach of the fewest repetitions.
    def cut(steps: int, free: int) -> Cut:
        repetitions = 1
        while reach(free, repetitions) < steps:
            repetitions += 1
        left = max(1, reach(free, repetitions - 2), steps - reach(free - 1, repetitions))
        return left, free, free - 1

    return _program(length, free, lru_cache(maxsize=None)(cut))


def _free_slots(length: int, repetitions: int) -> int:
    low, high = 0, length - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if comb(middle + repetitions, middle) >= length else (middle + 1, high)
    return low


class Kind(NamedTuple):
    """A policy for people and for code; numbers: which of a Policy's it takes."""

    summary: str
    plan: Callable[[int, Policy], Plan]
    numbers: tuple[str, ...] = ()


POLICIES = {
    "none": Kind("keep everything that the backward pass reads", lambda length, policy: Residuals("all")),
    "dots": Kind("keep the matrix products of every step", lambda length, policy: Residuals("products")),
    "step": Kind("keep every state", _step),
    "offload": Kind("keep every state, in the host's memory", lambda length, policy: Residuals("host")),
    "nested": Kind("keep states on several levels", _nested, ("levels",)),
    "binomial": Kind(
        "keep given states, or repeat a given number of times, with the least computation",
        _binomial,
        ("repetitions", "states"),
    ),
}
_LEAST = {"levels": 1, "repetitions": 1, "states": 2}


def policy(name: str, **numbers: int) -> Policy:
    """A gradient policy by its name: what the backward pass of a recursion keeps, and what it computes again.

    Args:
      name: "none", "dots", "step", "offload", "nested" or "binomial"; `trm_jax.recursion.policies` says what each does.
      numbers: of "nested" its `levels` (2); of "binomial" either `repetitions`, how often each step may be advanced
        over (2), or `states`, how many may be kept.

    Raises:
      ConfigError: no such policy, or numbers that it does not take.

    >>> policy("step").name
    'step'
    >>> plan(policy("binomial", repetitions=2), length=1000).states  # kept of a thousand
    45
    >>> policy("binomal")
    Traceback (most recent call last):
    trm_jax.errors.ConfigError: policy = 'binomal' is unknown: did you mean 'binomial'?
    """
    named = as_policy(name)
    taken = POLICIES[named.name].numbers
    for key, number in numbers.items():
        if key not in taken:
            raise ConfigError(f"policy {named.name!r} takes no {key}: it takes {' or '.join(taken) or 'no numbers'}")
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < _LEAST[key]:
            least = _LEAST[key]
            raise ConfigError(f"{key} = {number!r} of policy {named.name!r}: give a whole number of at least {least}")
    if {"repetitions", "states"} <= numbers.keys():
        raise ConfigError(f"policy {named.name!r} takes repetitions or states, not both: one follows from the other")
    given: dict[str, Any] = {key: int(number) for key, number in numbers.items()}
    return replace(named, **given)


def as_policy(given: str | Policy, argument: str = "policy") -> Policy:
    """A policy that may be given by its name alone. Raises ConfigError, naming the argument, if there is none such."""
    named = Policy(given) if isinstance(given, str) else given
    if not isinstance(named, Policy):
        raise ConfigError(f"{argument} = {given!r:.60}: give a policy, or its name: one of {', '.join(POLICIES)}")
    if named.name not in POLICIES:
        raise ConfigError(f"{argument} = {named.name!r} is unknown: {near_miss(named.name, POLICIES)}")
    return named


@lru_cache(maxsize=64)
def plan(policy: Policy, length: int) -> Plan:
    """What the policy does with a chain of this length, at least 1.

    Raises:
      ConfigError: there is no such policy, or it cannot work with its numbers.
    """
    as_policy(policy)
    return POLICIES[policy.name].plan(length, policy)


def again(policy: Policy, length: int) -> int:
    """How many steps of a chain are computed again for its gradient, as far as matrix products are concerned."""
    how = plan(policy, length)
    if isinstance(how, Program):
        return how.recomputed + length  # reversing a step begins with making it
    return length if how.keep == "host" else 0
