"""Several ways to do the same work, measured side by side: they take turns, so that a machine's moods hit all alike."""

import ctypes
import json
import os
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax


@dataclass(frozen=True)
class Times:
    """Seconds of one variant, one for each round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """From the fastest to the slowest, relative to the median."""
        return (max(self.seconds) - min(self.seconds)) / self.median

    def over(self, other: "Times") -> dict[str, float]:
        """How many times as long as the other's rounds these take, told in three ways."""
        rounds = [mine / its for mine, its in zip(self.seconds, other.seconds, strict=True)]
        return {
            "of_medians": self.median / other.median,
            "of_minima": min(self.seconds) / min(other.seconds),
            "median_of_rounds": statistics.median(rounds),
        }


class Variant(Protocol):
    """One way to do the work."""

    def run(self) -> float:
        """Does it once and tells its seconds."""

    def figures(self) -> dict[str, Any]:
        """What is known of it besides, after at least one run: fields of its row."""


def take_turns(
    variants: Mapping[str, Variant], repeats: int, after_round: Callable[[], None] = lambda: None
) -> dict[str, Times]:
    """So many rounds, in each of which every variant runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, variant in variants.items():
            seconds[name].append(variant.run())
        after_round()
    return {name: Times(tuple(values)) for name, values in seconds.items()}


def fields(times: Mapping[str, Times], name: str, base: str, puzzles: int) -> dict[str, Any]:
    """What a row of results tells of a variant's times; puzzles: in a round; base: whose times it is compared with."""
    mine = times[name]
    ratios = mine.over(times[base]) if base in times and name != base else {}
    return {
        "rounds": len(mine.seconds),
        "seconds_median": round(mine.median, 5),
        "seconds_min": round(min(mine.seconds), 5),
        "seconds_max": round(max(mine.seconds), 5),
        "spread": round(mine.spread, 3),
        **{f"times_{base}_{way}": float(f"{ratio:.4g}") for way, ratio in ratios.items()},
        "puzzles_per_second": round(puzzles / mine.median, 1),
    }


def resident(pid: int, field: str) -> int | None:
    """Bytes of a process's memory by Linux's account, now (VmRSS) or at most (VmHWM); None where nobody keeps one."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)


def growth(before: int | None, pid: int) -> float | None:
    """GB by which the most memory of a process (VmHWM) exceeds what it had before; None where nobody keeps account."""
    most = resident(pid, "VmHWM")
    return None if before is None or most is None else round((most - before) / 1e9, 3)


def forget_peak(pid: int) -> None:
    """Lets VmHWM begin anew, so that what compilation needed is not counted."""
    if pid == os.getpid():
        _give_back()
    control = Path(f"/proc/{pid}/clear_refs")
    if control.exists():
        control.write_text("5")


def device_peak() -> float | None:
    """GB that this process has had at most on its first device; None where the device keeps no account, as on CPUs."""
    measured = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return round(measured / 1e9, 3) if measured else None


def print_rows(rows: Sequence[Mapping[str, Any]]) -> None:
    """A column for each row of results, a line for each of their fields."""
    names = dict.fromkeys(name for row in rows for name in row)
    for name in names:
        print(f"{name:34}" + "".join(f"{'' if row.get(name) is None else row[name]!s:>26}" for row in rows))


def publish(rows: Sequence[Mapping[str, Any]], results: Path) -> None:
    """Prints rows of results and appends them to a file, a line of JSON each."""
    print_rows(rows)
    with results.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _give_back() -> None:
    """Returns what this process has freed: after `keep_memory` it would stay resident, and count as used."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):  # another C library than glibc
            return
