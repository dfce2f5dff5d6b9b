"""What a call asks for, checked in the words of the library before anything is computed."""

from collections.abc import Sequence
from dataclasses import dataclass
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


def refuse(**asked: Any) -> None:
    """Raises ConfigError for what was asked of a model that searches, and belongs to attempts."""
    if names := [name for name, value in asked.items() if value]:
        raise ConfigError(f"{names[0]}: a model of candidates searches: give calls, seconds or chains instead")


@dataclass(frozen=True)
class Asked:
    """What a call asks of attempts: arguments of `Solver.solve`, as they were given, and checked by what reads them.

    steps: numbers of supervision steps: one, several, or None for the default.
    """

    steps: Any
    attempts: int
    select: str | None
    symmetries: bool | None
    halting: bool
    start_noise: float
    latent_noise: float
    seed: int

    def refuse(self) -> None:
        """Raises ConfigError if there is anything that a model that searches does not do."""
        refuse(**vars(self) | {"attempts": self.attempts > 1, "seed": None})

    def depths(self, default: int) -> tuple[int, ...]:
        """Numbers of supervision steps, rising. Raises ConfigError."""
        steps = self.steps
        several = isinstance(steps, (Sequence, np.ndarray)) and not isinstance(steps, str) and len(steps) > 0
        asked = list(steps) if several else [default if steps is None else steps]
        return tuple(sorted({whole("steps", step, MOST_STEPS) for step in asked}))

    def depth(self, default: int, taker: str) -> tuple[int]:
        """`depths`, if it is one. Raises ConfigError, which says that the `taker` takes one."""
        depths = self.depths(default)
        if len(depths) > 1:
            raise ConfigError(f"steps = {list(depths)}: {taker} one number of supervision steps: give one")
        return (depths[0],)

    def effort(self, kind: Kind, depths: tuple[int, ...]) -> Effort:
        """How much is computed for a puzzle of a kind, and after which supervision steps answers are kept.

        Raises:
          ConfigError: something is out of range, or does not go with something else or with the kind.
        """
        whole("attempts", self.attempts, MOST_ATTEMPTS)
        whole("seed", self.seed, (1 << 31) - 1, least=0)
        for name, value in (("start_noise", self.start_noise), ("latent_noise", self.latent_noise)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e6:
                raise ConfigError(f"{name} = {value!r}: give a standard deviation, 0 or more")
        several, noisy, symmetries = self.attempts > 1, bool(self.start_noise or self.latent_noise), self.symmetries
        if symmetries is None:
            symmetries = several and kind.has_symmetries and not noisy
        if symmetries and not kind.has_symmetries:
            raise ConfigError(
                f"symmetries = True: none are known for puzzles of kind {kind.name!r}: give latent_noise=0.3"
            )
        if several and not (symmetries or noisy):
            raise ConfigError(
                f"attempts = {self.attempts} would all be the same: give symmetries=True or latent_noise=0.3"
            )
        if not several and (symmetries or noisy):
            raise ConfigError("the first attempt has neither noise nor symmetries: give attempts of at least 2")
        return Effort(
            depths,
            halting=bool(self.halting),
            attempts=self.attempts,
            start_noise=self.start_noise,
            latent_noise=self.latent_noise,
            symmetries=symmetries,
            seed=int(self.seed),
        )

    def rule(self, kind: Kind, certify: bool = False) -> Rule:
        """How one of several attempts is chosen: if nothing is said by rules, or by q if the kind has none.

        Raises:
          ConfigError: no such rule, or one that needs rules of a kind that has none.
        """
        select = self.select
        if select is not None and select not in RULES:
            raise ConfigError(f"select = {select!r} is unknown: {near_miss(str(select), RULES)}")
        if not kind.has_rules and (certify or select == "rules"):
            what = "certify = True" if certify else "select = 'rules'"
            mend = "give rules= to load()" if kind.name == "grid" else "only kind 'grid' takes some"
            raise ConfigError(
                f"{what} needs rules to check answers by; puzzles of kind {kind.name!r} have none: {mend}"
            )
        return select or ("rules" if kind.has_rules else "q")
