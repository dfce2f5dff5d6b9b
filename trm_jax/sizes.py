"""Sizes as people write them: 80GiB, 42.7 GFLOP."""

import re

# A smaller number without a unit is no memory of anything, but one whose unit was forgotten.
_LEAST_WITHOUT_UNIT = 1_000_000

_UNITS = {"": 1, "B": 1, "kB": 1000}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}iB": 1024**_power}


def parse_bytes(text: str) -> int:
    """Bytes: "80GiB" is 80 * 1024^3, "80GB" is 80 * 1000^3. Raises ValueError with what is expected instead.

    Without a unit these are bytes, a million at least.
    """
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18}) ?([KMGT]i?B|kB|B|)", text.strip())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1 or (match and not match[2] and size < _LEAST_WITHOUT_UNIT):
        raise ValueError("give a size such as 80GiB, 1.5GB or 500MiB")
    return size


def format_bytes(size: float) -> str:
    """Three digits and a decimal unit: 1.32 GB."""
    return _three_digits(size, "B", "kMGTP")


def counted(count: int, noun: str) -> str:
    """How many there are of something: "1 puzzle", "2,000 puzzles"; noun: in the singular."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def si(flops: float) -> str:
    """Operations as a person writes them: 42.7 GFLOP."""
    return _three_digits(flops, "FLOP", "KMGTPE")


def _three_digits(value: float, unit: str, prefixes: str) -> str:
    for prefix in ("", *prefixes[:-1]):
        if value < 999.5:  # beyond it three digits would round to 1e+03
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.3g} {prefixes[-1]}{unit}"
