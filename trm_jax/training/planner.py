"""Which gradient policy to train with: the one with the fewest operations whose compiled step fits into memory."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

from trm_jax.config import Experiment, MemoryConfig
from trm_jax.console import say
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import estimate
from trm_jax.recursion.chain import check_available
from trm_jax.recursion.policies import POLICIES, Policy, Residuals, plan
from trm_jax.sizes import format_bytes, parse_bytes
from trm_jax.training.memory import device_memory, needs_of

# What is left to the runtime, and to evaluation.
SHARE = 0.9
# No slice is made smaller than so many rows: matrix products of fewer waste the hardware.
LEAST_ROWS = 8
# Where a device's memory comes from that somebody names; that device need not be here.
GIVEN = "as given"


def describe(memory: MemoryConfig) -> str:
    """A memory configuration in a few words."""
    words = [memory.policy]
    if memory.policy == "nested":
        words.append(f"{memory.levels} levels")
    if memory.policy == "binomial":
        words.append(f"{memory.states} states" if memory.states else f"{memory.repetitions} repetitions")
    for name in ("micro_batches", "slices"):
        if (count := getattr(memory, name)) > 1:
            words.append(f"{count} {name.replace('_', '-')}")
    return ", ".join(words)


def given_memory(experiment: Experiment) -> tuple[int, str]:
    """Bytes that an experiment may have, and where the figure comes from."""
    given = experiment.memory.device_memory
    return (parse_bytes(given), GIVEN) if given else device_memory()


def alternatives(experiment: Experiment) -> list[MemoryConfig]:
    """Every policy that this machine can run, with usual numbers; those that come to the same plan once."""
    memory, n = experiment.memory, experiment.model.latent_steps
    numbers: dict[str, list[dict[str, Any]]] = {
        "nested": [{"levels": levels} for levels in (2, 3)],
        "binomial": [{"repetitions": repetitions, "states": 0} for repetitions in (2, 3, 4)],
    }
    found: dict[Any, MemoryConfig] = {}
    for name in POLICIES:
        if name == "dots" and memory.slices > 1:
            continue
        try:
            check_available(Policy(name))
        except ConfigError:
            continue
        for values in numbers.get(name, [{}]):
            candidate = replace(memory, policy=name, **values)
            how = plan(candidate.step_policy, n)
            found.setdefault(how if isinstance(how, Residuals) else (how.states, how.recomputed), candidate)
    return list(found.values())


def in_order(experiment: Experiment) -> Iterator[list[MemoryConfig]]:
    """What to try: every policy as it is, fewest operations first; then each with twice, four times ... the slices."""
    memory = experiment.memory
    rows = experiment.train.batch_size // memory.parts

    def cost(memory: MemoryConfig) -> int:
        return estimate(replace(experiment, memory=memory)).flops_per_step

    slices = memory.slices
    while slices == memory.slices or (rows % slices == 0 and rows // slices >= LEAST_ROWS):
        yield sorted(alternatives(replace(experiment, memory=replace(memory, slices=slices))), key=cost)
        slices *= 2


def settle(experiment: Experiment) -> Experiment:
    """The experiment with config.memory.policy = "auto" replaced by the fastest policy that fits; others as they are.

    Raises:
      ConfigError: none fits.
    """
    if experiment.memory.policy != "auto":
        return experiment
    size, device = given_memory(experiment)
    too_much: list[str] = []
    for memory in chain.from_iterable(in_order(experiment)):
        candidate = replace(experiment, memory=memory)
        needs = needs_of(candidate)
        peak = f"{describe(memory)} {needs.size}"
        if needs.peak <= SHARE * size:
            say(
                f"memory policy: {peak} of {format_bytes(size)} ({device}), compiled for {needs.platform}"
                f"{'; too much: ' if too_much else ''}{', '.join(too_much)}"
            )
            return candidate
        too_much.append(peak)
    raise ConfigError(
        f"config.memory.policy = 'auto': nothing fits into {SHARE:.0%} of {format_bytes(size)} ({device}; the least is "
        f"{too_much[-1]}): lower config.train.batch_size, or raise config.memory.micro_batches"
    )
