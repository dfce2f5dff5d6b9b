"""Training makes the same numbers each time: in one process, in two, and those that were recorded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

from benchmarks.losses import DEVICES, TOLERANCE, deviation, losses, names, recorded, verdict, write
from trm_jax.config.files import FOLDER
from trm_jax.runs.writers import read_metrics

# The others, of which most take a minute together, are `slow`.
QUICK = ("demo",)
DEMO = FOLDER / "demo.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names()])
def test_losses_are_those_on_record(name: str) -> None:
    """By the benchmark in a process of its own: compiled as tests are, losses have other bits than those on record."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.losses", name],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, f"was that meant to change? then: python -m benchmarks.losses --record {name}\n{done}"
    assert done.stdout.endswith(", right\n")


@pytest.mark.slow  # test_losses_are_those_on_record has a process of its own too
def test_two_runs_in_one_process_and_one_in_another_give_the_same_bits(tmp_path: Path) -> None:
    """The other one is of a command that has compiled nothing before, with the flag that counts on GPUs alone."""
    first = losses("demo", tmp_path / "first")
    command = [sys.executable, "-m", "trm_jax", "train", f"--config={DEMO}:smoke", f"--workdir={tmp_path / 'run'}"]
    environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}

    second = losses("demo", tmp_path / "second")
    subprocess.run(
        [*command, "--deterministic"],
        check=True,
        capture_output=True,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path), "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        timeout=120,
    )

    assert second == first
    assert [row["train/loss"] for row in read_metrics(tmp_path / "run")] == first


def test_every_experiment_is_on_record_for_both_versions_of_jax() -> None:
    known = recorded()

    on_record: dict[str, set[str]] = {"jax 0.10.2": set(), "jax 0.11.2": set()}
    for name, rows in known.items():
        assert name.endswith(f" with {DEVICES} threads")
        on_record[name.split(" on ")[0]] |= set(rows)
        for values in rows.values():
            assert len(values) == 20
            assert values[-1] < values[0]
    assert on_record == {version: set(names()) for version in on_record}


def test_a_loss_that_is_off_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"here": {"demo": [2.0, 1.0]}, "there": {"demo": [2.0, 1.0005]}}

    assert verdict("demo", [2.0, 1.0], "here", known)[0]
    assert verdict("demo", [2.0, 1.0 + 2**-23], "here", known) == (False, "1e-07 from this machine's")
    assert verdict("demo", [2.0, 1.0 + 2**-23], "elsewhere", known) == (
        True,
        "5e-04, later 5e-04, from other machines'",
    )
    assert not verdict("demo", [2.0, 1.0 - 1.1 * TOLERANCE], "elsewhere", known)[0]
    later = {"here": {"demo": [1.0] * 11}}
    assert verdict("demo", [1.0] * 10 + [1.01], "elsewhere", later)[0]
    assert not verdict("demo", [1.0] * 10 + [1.06], "elsewhere", later)[0]
    assert not verdict("demo", [1.0] * 9 + [1.01] + [1.0], "elsewhere", later)[0]
    assert not verdict("demo", [2.0], "here", known)[0]
    assert verdict("maze", [2.0, 1.0], "here", known) == (False, "never recorded")
    assert deviation([1.0, float("nan")], [1.0, 1.0]) == float("inf")
    assert deviation([1.0, 0.0], [1.0, 0.0]) == 0

    monkeypatch.setattr("benchmarks.losses.FILE", tmp_path / "losses.json")
    assert recorded() == {}
    write(known)
    assert recorded() == known
