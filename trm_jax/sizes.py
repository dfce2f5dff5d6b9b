"""Sizes as people write them: 80GiB, 42.7 GFLOP."""

import re

_UNITS = {"": 1, "B": 1, "kB": 1000}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS |= {f"{_letter}B": 1000**_power, f"{_letter}iB": 1024**_power}


def parse_bytes(text: str) -> int:
    """Bytes: "80GiB" is 80 * 1024^3, "80GB" is 80 * 1000^3. Raises ValueError with what is expected instead."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18}) ?([KMGT]i?B|kB|B|)", text.strip())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < 1:
        raise ValueError("give a size such as 80GiB, 1.5GB or 500MiB")
    return size


def format_bytes(size: float) -> str:
    """Three digits and a decimal unit: 1.32 GB."""
    return _three_digits(size, "B", "kMGTP")


def si(flops: float) -> str:
    """Operations as a person writes them: 42.7 GFLOP."""
    return _three_digits(flops, "FLOP", "KMGTPE")


def _three_digits(value: float, unit: str, prefixes: str) -> str:
    for prefix in ("", *prefixes[:-1]):
        if value < 999.5:  # beyond it three digits would round to 1e+03
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.3g} {prefixes[-1]}{unit}"
