"""What checks of a dataset found."""

from dataclasses import dataclass
from typing import Any

from trm_jax.errors import printable

_FEW = 5  # places told of each check


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    where: in which set, or in which two.
    what: was looked at.
    checked: how many.
    faults: how many of them are wrong.
    places: the first few faults.
    note: figures that are no faults.
    """

    where: str
    what: str
    checked: int
    faults: int = 0
    places: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All checks, in the order in which they were made."""

    checks: tuple[Check, ...]

    @property
    def faults(self) -> int:
        """Of all checks."""
        return sum(check.faults for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "faults": self.faults,
            "checks": [vars(check) | {"places": list(check.places)} for check in self.checks],
        }


class Faults:
    """Counts faults and keeps the places of the first few."""

    def __init__(self) -> None:
        self.count, self.places = 0, []  # type: int, list[str]

    def add(self, place: str) -> None:
        self.count += 1
        if len(self.places) < _FEW:
            self.places.append(printable(place))

    def check(self, where: str, what: str, checked: int, note: str = "") -> Check:
        return Check(where, what, checked, self.count, tuple(self.places), note)
