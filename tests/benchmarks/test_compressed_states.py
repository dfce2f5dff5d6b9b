"""The study of compressed states: its arithmetic by hand, and that a compressed gradient is what it says."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pytest
from places import ROOT

from benchmarks import compressed_states
from benchmarks.compressed_states import Peak, compared, directions, peaks, ranks, stretch_of
from benchmarks.compressions import Compression, int8_vectors, keeping, low_rank, repeated, rounded
from benchmarks.recursion_points import Point
from benchmarks.reversible import backward, forward, round_trip_error
from trm_jax.recursion.policies import Policy, Program, plan


def test_ranks_hold_their_shares_of_the_sum_of_squares() -> None:
    values = np.array([4.0, 3.0, 0.0])  # 16 and 25 of 25
    assert ranks(values, (0.6, 0.64, 0.65, 1.0)) == [1, 1, 2, 2]
    one, three = [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    assert ranks(np.array([one, three, three]), (0.5, 0.9)) == [2, 3]
    assert ranks(np.array([one, one, three]), (0.9,)) == [1]
    assert ranks(np.array([one, three]), (0.9,)) == [2]


def test_stretches_divide_the_steps() -> None:
    assert [stretch_of(n) for n in (1, 6, 7, 24, 96)] == [1, 2, 1, 4, 8]


def test_the_first_directions_hold_most() -> None:
    states = np.array([[[[0.0, 3.0, 0.0], [0.1, 0.0, 0.0]], [[0.0, -2.0, 0.0], [0.0, 0.0, 1.0]]]])
    basis = directions(states)
    assert np.abs(basis) == pytest.approx(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))


def test_a_peak_is_a_floor_and_states() -> None:
    peak = Peak(floor=10.0, state=2.0, states=5)
    assert (peak.bytes(), peak.bytes(0), peak.bytes(0.5)) == (20, 10, 15)
    assert peak.gain(0.25) == pytest.approx(20 / 12.5)


def test_rows_of_peaks_count_states_and_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_states, "DEPTHS", (384,))
    rows = list(peaks(1e9, 1e8, 16, Point().experiment.model))
    assert [row["states"] for row in rows] == [384, 38, 28, 13, 9]
    step, _, two, three, _ = rows
    assert (two["peak_gb"], two["gain_half"], two["gain_quarter"]) == (3.8, round(3.8 / 2.4, 3), round(3.8 / 1.7, 3))
    assert two["share_of_states"] == round(2.8 / 3.8, 3)
    # T = 3 with gradients through one: 5 (n + 1), and again all steps and what is advanced over beyond the first time.
    how = plan(Policy("binomial"), 384)
    assert isinstance(how, Program)
    advanced = 384 + 1 + how.recomputed
    assert two["operations"] == round(1 + advanced / (5 * 385), 3)
    # 26 states, two fewer than two repetitions need: hardly more operations than those.
    assert two["operations"] < three["operations_half"] < two["operations"] + 0.03 < three["operations"]
    # All are kept already.
    assert step["operations_half"] == step["operations"]


@pytest.mark.parametrize(
    ("compression", "error"),
    [(rounded(jnp.bfloat16), 2**-8), (rounded(jnp.float8_e4m3fn), 2**-4), (rounded(jnp.float8_e5m2), 2**-3)],
    ids=["bfloat16", "float8_e4m3fn", "float8_e5m2"],
)
def test_numbers_come_back_as_their_format_has_them(compression: Compression, error: float) -> None:
    z = np.linspace(0.1, 8, 60, dtype=np.float32)
    kept, restored = there_and_back(compression, z)
    assert kept.dtype == compression.name
    assert 8 * kept.dtype.itemsize == compression.bits
    assert error / 4 < np.abs(restored / z - 1).max() <= error


def there_and_back(compression: Compression, z: npt.ArrayLike) -> tuple[Any, npt.NDArray[np.float32]]:
    """What is kept of a state, and what is restored; of one compiled program."""

    @jax.jit
    def run(z: jax.Array) -> tuple[Any, jax.Array]:
        kept = compression.keep(z)
        return kept, compression.restore(kept)

    kept, restored = run(np.asarray(z, np.float32))
    return kept, np.asarray(restored)


def test_whole_numbers_have_the_scale_of_their_vector() -> None:
    # Of the last ones the scale cannot be kept as it is: however it is rounded, their number stays within 127.
    between = [[size, 0.0, 0.0] for size in np.linspace(127, 254, 1001)]
    z = np.array([[127.0, -1.0, 0.4], [0.0, 0.0, 0.0], [-1.27, 0.01, 0.0], *between])
    (whole, scale), restored = there_and_back(int8_vectors(3), z)
    assert (whole.dtype, scale.dtype, scale.shape) == (jnp.int8, jnp.bfloat16, (1004, 1))
    assert whole[:3].tolist() == [[127, -1, 0], [0, 0, 0], [-127, 1, 0]]
    off = np.abs(restored - z)
    assert off[0].tolist() == [0, 0, pytest.approx(0.4)]
    assert off[2].max() < 0.005
    assert (off[3:] / z[3:, :1]).max() < 2**-8
    assert int8_vectors(3).bits == 8 + 16 / 3


def test_of_low_rank_remains_what_the_basis_has() -> None:
    compression = low_rank(jnp.asarray(np.eye(4, 2, dtype=np.float32)))
    kept, restored = there_and_back(compression, [[[1.0, 2.0, 3.0, 4.0]]])
    assert (kept.shape, kept.dtype, restored.tolist()) == ((1, 1, 2), jnp.bfloat16, [[[1.0, 2.0, 0.0, 0.0]]])
    assert (compression.name, compression.bits) == ("rank 2 of 4", 8)


def test_a_compressed_step_is_exact_and_its_gradient_is_taken_at_what_is_restored() -> None:
    def step(a: jax.Array, h: jax.Array, injection: jax.Array) -> jax.Array:
        return a * h**2 + injection

    to_whole = Compression("whole", 32, jnp.round, lambda kept: kept)

    @partial(jax.jit, static_argnums=0)
    def value_and_shares(times: int, *arguments: jax.Array) -> Any:
        value, pull = jax.vjp(keeping(repeated(step, times), to_whole), *arguments)
        return value, pull(jnp.ones_like(value))

    def floats(values: Any) -> list[float]:
        return [float(value) for value in values]

    value, shares = value_and_shares(1, 3.0, 1.25, 0.5)
    assert float(value) == 3 * 1.25**2 + 0.5
    # At h = 1: h^2 by a, 2 a h by h.
    assert floats(shares) == [1, 6, 1]
    # Two of them: the first begins at 1 in place of 1.25, and the second where that leads, at 3.5 in place of 5.19.
    value, shares = value_and_shares(2, 3.0, 1.25, 0.5)
    assert float(value) == 3 * (3 * 1.25**2 + 0.5) ** 2 + 0.5
    assert floats(shares) == [3.5**2 + 6 * 3.5, 6 * 6 * 3.5, 1 + 6 * 3.5]


def test_gradients_are_compared_by_direction_and_distance() -> None:
    exact, other = {"w": np.float32([3.0, 0.0])}, {"w": np.float32([3.0, 4.0])}
    assert compared(exact, exact) == {"cosine": 1.0, "error": 0.0}
    assert compared(other, exact) == {"cosine": 0.6, "error": 1.33}


@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_coupled_streams_come_back(keep: float) -> None:
    a, b = streams = np.float32([0.3, -1.0]), np.float32([0.7, 2.0])

    @jax.jit
    def run(streams: Any) -> Any:
        once = forward(jnp.square, streams, 2, keep)
        # Eighty applications: what rounding takes is multiplied by 1 / keep, step after step.
        return once, backward(jnp.square, once, 2, keep), round_trip_error(jnp.tanh, streams, 80, keep)

    once, back, error = run(streams)
    new_a = keep * a + b**2
    np.testing.assert_allclose(once, (new_a, keep * b + new_a**2), rtol=1e-6)
    np.testing.assert_allclose(back, streams, rtol=1e-5)
    assert error < 1e-5 if keep == 1 else error > 1e-2


@pytest.mark.slow
def test_the_whole_study_of_a_small_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimised: None) -> None:
    monkeypatch.setattr(compressed_states, "RESULTS", tmp_path / "rows.jsonl")
    monkeypatch.setattr(compressed_states, "N", (6,))
    parts = "spectrum,gradient,reversible"
    monkeypatch.setattr("sys.argv", ["compressed_states", "--puzzles", "2", "--parts", parts])
    compressed_states.main()
    rows: list[dict[str, Any]] = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["model"] for row in rows} == {"sudoku-4x4", "random"}
    gradients = {(row["model"][:6], row["kept"], row["stretch"]): row for row in rows if row["part"] == "gradient"}
    for model in ("sudoku", "random"):
        errors = [gradients[model, kept, 1]["error"] for kept in ("bfloat16", "float8_e4m3fn", "float8_e5m2")]
        assert 0 < errors[0] < errors[1] < errors[2] < 0.5
        assert gradients[model, "bfloat16", 2]["cosine"] > 0.9999
    for row in (row for row in rows if row["part"] == "spectrum"):
        assert 1 <= row["rank_0.9_all"] <= row["rank_0.99_all"] <= row["rank_0.999_all"] <= row["width"]


def test_what_is_no_part_and_what_has_no_latent_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (["--parts", "spectrum,size"], "there is no size"),
        (["sudoku-extreme"], "a model of y and one z"),
    ):
        monkeypatch.setattr("sys.argv", ["compressed_states", *words])
        with pytest.raises(SystemExit) as left:
            compressed_states.main()
        assert left.value.code == 2
        assert said in capsys.readouterr().err


def tables(page: str) -> list[list[list[str]]]:
    """The cells of its tables, heads left off."""
    found = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]] for table in found
    ]


def as_told(error: float | None) -> str:
    return "-" if error is None else "over 10" if error > 10 else f"{error:.2g}"


def test_the_page_says_what_the_rows_say() -> None:
    page = (ROOT / "docs" / "deep_recursion.md").read_text().partition("## Fewer bits")[2].partition("\n## ")[0]
    rows = [json.loads(line) for line in compressed_states.RESULTS.read_text().splitlines()]
    saved, errors = tables(page)
    peaks_there = {(r["policy"], r["number"], r["n"]): r for r in rows if r["part"] == "peak" and r["slices"] == 16}
    for name, *cells in saved:
        repetitions, n = re.match(r"(?:.*?(\d) repetitions)?.*?([\d,]+)$", name).groups()  # type: ignore[union-attr]
        row = peaks_there[
            "binomial" if repetitions else "step", repetitions and int(repetitions), int(n.replace(",", ""))
        ]
        told = [float(re.match(r"[\d.]+", cell)[0]) for cell in cells]  # type: ignore[index]
        known = [row["states"], 100 * row["share_of_states"], row["peak_gb"], row["gain_half"], row["gain_quarter"]]
        known += [row["operations"], row["operations_half"]]
        known[1] = round(known[1])
        assert told == pytest.approx(known, abs=0.0051), name
    # Ranks are told as shares of the directions: in the order of the rows.
    for model, column, stretched in (("sudoku-4x4", 2, 0), ("runs/deep", 3, 0), ("runs/deep", 4, 1), ("random", 5, 0)):
        those = [r for r in rows if r["part"] == "gradient" and r["model"] == model]
        kept = dict.fromkeys(r["kept"] for r in those)
        for cells, name in zip(errors, kept, strict=True):
            found = [r["error"] for r in those if r["kept"] == name and (r["stretch"] > 1) == stretched]
            told_there = [cell for cell in cells[column].split("; ") if cell]
            assert len(told_there) == len(found)
            assert told_there == [as_told(error) for error in found]
