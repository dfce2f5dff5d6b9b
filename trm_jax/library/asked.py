"""What a call asks for, checked in the words of the library before anything is computed."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trm_jax.errors import ConfigError, near_miss
from trm_jax.inference.effort import MOST_ATTEMPTS, MOST_STEPS, Effort
from trm_jax.inference.selection import RULES, Rule
from trm_jax.puzzles.kind import Kind


def whole(name: str, value: Any, most: int, least: int = 1) -> int:
    """A whole number from `least` to `most`. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ConfigError(f"{name} = {value!r}: give a whole number from {least} to {most}")
    return int(value)


def share(name: str, value: Any) -> float:
    """A number above 0 and below 1. Raises ConfigError."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)) or not 0 < value < 1:
        raise ConfigError(f"{name} = {value!r}: give a number between 0 and 1, such as 0.99")
    return float(value)


def depths_from(steps: Any, default: int) -> tuple[int, ...]:
    """Numbers of supervision steps, rising, from one number, several, or None for the default."""
    several = isinstance(steps, (Sequence, np.ndarray)) and not isinstance(steps, str) and len(steps) > 0
    asked = list(steps) if several else [default if steps is None else steps]
    return tuple(sorted({whole("steps", step, MOST_STEPS) for step in asked}))


def effort_from(
    kind: Kind,
    depths: tuple[int, ...],
    *,
    attempts: int,
    symmetries: bool | None,
    halting: bool,
    start_noise: float,
    latent_noise: float,
    seed: int,
) -> Effort:
    """How much is computed for a puzzle of a kind; the arguments are those of `Solver.solve`.

    Raises:
      ConfigError: one is out of range, or does not go with another or with the kind.
    """
    whole("attempts", attempts, MOST_ATTEMPTS)
    whole("seed", seed, (1 << 31) - 1, least=0)
    for name, value in (("start_noise", start_noise), ("latent_noise", latent_noise)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
            raise ConfigError(f"{name} = {value!r}: give a standard deviation, 0 or more")
    noisy = bool(start_noise or latent_noise)
    if symmetries is None:
        symmetries = attempts > 1 and kind.has_symmetries and not noisy
    if symmetries and not kind.has_symmetries:
        name = kind.name
        raise ConfigError(f"symmetries = True: none are known for puzzles of kind {name!r}: give latent_noise=0.3")
    if attempts > 1 and not (symmetries or noisy):
        raise ConfigError(f"attempts = {attempts} would all be the same: give symmetries=True or latent_noise=0.3")
    if attempts == 1 and (symmetries or noisy):
        raise ConfigError("the first attempt has neither noise nor symmetries: give attempts of at least 2")
    return Effort(
        depths,
        halting=bool(halting),
        attempts=attempts,
        start_noise=start_noise,
        latent_noise=latent_noise,
        symmetries=symmetries,
        seed=int(seed),
    )


def rule_from(kind: Kind, select: str | None, certify: bool = False) -> Rule:
    """How one of several attempts is chosen; None: by rules if the kind has any, or else by q. Raises ConfigError."""
    if select is not None and select not in RULES:
        raise ConfigError(f"select = {select!r} is unknown: {near_miss(str(select), RULES)}")
    if not kind.has_rules and (certify or select == "rules"):
        name, what = kind.name, "certify = True" if certify else "select = 'rules'"
        mend = "give rules= to load()" if name == "grid" else "only kind 'grid' takes some"
        raise ConfigError(f"{what} needs rules to check answers by; puzzles of kind {name!r} have none: {mend}")
    return select or ("rules" if kind.has_rules else "q")
