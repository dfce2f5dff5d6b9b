"""Sizes as people write them, read and written."""

import pytest

from trm_jax.sizes import counted, format_bytes, parse_bytes, si


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("80GiB", 80 * 1024**3),
        ("80GB", 80 * 1000**3),
        ("500MiB", 500 * 1024**2),
        ("500 MB", 500_000_000),
        ("3KiB", 3072),
        ("3 KB", 3000),
        ("3 kB", 3000),
        ("2TiB", 2 * 1024**4),
        ("2TB", 2 * 1000**4),
        ("1.5GB", 1_500_000_000),
        (".5GiB", 1024**3 // 2),
        ("2.MiB", 2 * 1024**2),
        ("17000000", 17_000_000),
        ("17B", 17),
        ("17 B", 17),
        ("  80 GiB\n", 80 * 1024**3),
        ("1.9B", 1),  # whole bytes, rounded down
    ],
)
def test_sizes_are_read_with_either_kind_of_unit(text: str, size: int) -> None:
    found = parse_bytes(text)

    assert (found, type(found)) == (size, int)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "lots", "GiB", "B", ".", ".GiB"),
        *("0", "80", "999999", "0GiB", "0.5B", "-1GiB", "+1GiB"),
        *("80gib", "80Gib", "80 gb", "80G", "80iB", "80PB", "80 G iB", "80  GiB", "80GiB/s"),
        *("1,5GB", "1_000", "1e9", "1.2.3GB", "0x10", "inf", "nan", "80GiB 40GiB", "9" * 400),
    ],
)
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"^give a size such as 80GiB, 1\.5GB or 500MiB$"):
        parse_bytes(text)


def test_one_is_singular_and_thousands_are_grouped() -> None:
    assert [counted(n, "task") for n in (0, 1, 2, 2_000)] == ["0 tasks", "1 task", "2 tasks", "2,000 tasks"]


def test_the_examples_of_the_refusal_are_sizes() -> None:
    assert [parse_bytes(text) for text in ("80GiB", "1.5GB", "500MiB")] == [85_899_345_920, 1_500_000_000, 524_288_000]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (999.4, "999 B"),
        (999.5, "1 kB"),
        (1_000, "1 kB"),
        (1_049, "1.05 kB"),
        (99_940, "99.9 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (1_318_000_000, "1.32 GB"),
        (80 * 1024**3, "85.9 GB"),
        (2.5e12, "2.5 TB"),
        (2.5e15, "2.5 PB"),
        (2.5e17, "250 PB"),
    ],
)
def test_bytes_are_written_with_three_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_what_is_written_can_be_read_again() -> None:
    """To the three digits that are written."""
    for power in range(15):
        for digits in (1, 1.23, 4.56, 9.99):
            size = round(digits * 10**power)
            assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=5e-3, abs=1)


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0 FLOP"),
        (12, "12 FLOP"),
        (999.5, "1 KFLOP"),
        (42_700_000_000, "42.7 GFLOP"),
        (3.21e12, "3.21 TFLOP"),
        (1.6e15, "1.6 PFLOP"),
        (2.07e18, "2.07 EFLOP"),
        (2.21e20, "221 EFLOP"),
    ],
)
def test_operations_are_written_with_three_digits(flops: float, text: str) -> None:
    assert si(flops) == text
