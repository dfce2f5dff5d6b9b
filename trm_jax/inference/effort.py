"""How much is computed for a puzzle at inference."""

from dataclasses import dataclass

from trm_jax.errors import ConfigError

# Numbers are kept of every supervision step, and attempts at a puzzle are compared each with each: beyond these,
# memory would not do.
MOST_STEPS, MOST_ATTEMPTS = 1 << 16, 1 << 12


@dataclass(frozen=True)
class Effort:
    """How much is computed for a puzzle.

    depths: numbers of supervision steps after which answers are kept, rising; the last one is the most of an attempt.
    halting: an attempt ends at the first step at which it halts and keeps that answer, instead of going on to the last.
    halt_above: it halts where q_halt is above this; 0 as in training, more for less haste.
    attempts: K, how often each puzzle is tried.
    start_noise: standard deviation of normal noise on the initial y and z (which are of size 1), but for the first try.
    latent_noise: the same on z before every supervision step (PTRM, arXiv 2605.19943), but for the first try.
    symmetries: every try but the first sees the puzzle under a random symmetry of its kind.
    race: all attempts at a puzzle end when the first of them halts; which that is depends on who runs side by side.
    seed: of noise and symmetries. Attempt k of puzzle i is the same whatever else is computed beside it.
    """

    depths: tuple[int, ...]
    halting: bool = False
    halt_above: float = 0.0
    attempts: int = 1
    start_noise: float = 0.0
    latent_noise: float = 0.0
    symmetries: bool = False
    race: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.depths or self.depths[0] < 1 or sorted(set(self.depths)) != list(self.depths):
            raise ConfigError(f"supervision steps {list(self.depths)}: give rising numbers from 1")
        if self.steps > MOST_STEPS:
            raise ConfigError(f"{self.steps} supervision steps: give at most {MOST_STEPS}")
        if not 1 <= self.attempts <= MOST_ATTEMPTS:
            raise ConfigError(f"--attempts {self.attempts}: give 1 to {MOST_ATTEMPTS}")
        for name, value in (("--start-noise", self.start_noise), ("--latent-noise", self.latent_noise)):
            if not 0 <= value < 1e6:
                raise ConfigError(f"{name} {value}: give a standard deviation from 0 to below 1000000")
        if not abs(self.halt_above) < 1e6:
            raise ConfigError(f"halting above {self.halt_above}: give a logit, such as 0 or 2.5")
        if self.attempts > 1 and not (self.start_noise or self.latent_noise or self.symmetries):
            raise ConfigError(
                f"{self.attempts} attempts would all be the same: let them differ by --start-noise, --latent-noise or "
                "--symmetries"
            )
        if self.race and not self.halting:
            raise ConfigError("--race ends all attempts when one of them halts: give --halting with it")

    def check_chosen(self, selection: str) -> None:
        """Raises ConfigError for a selection where there is one attempt, of which none needs to be chosen."""
        if selection and self.attempts == 1:
            raise ConfigError(f"--select {selection} chooses among attempts: give --attempts of at least 2 with it")

    @property
    def steps(self) -> int:
        """D, the most supervision steps of an attempt."""
        return self.depths[-1]
