"""A CPU becomes as many devices as it has cores, unless somebody has decided otherwise; a batch is shared."""

from dataclasses import replace

import jax
import pytest

from trm_jax.config import experiment_from
from trm_jax.devices import cores, sharding
from trm_jax.devices.cores import MOST, use_cores

EXPERIMENT = experiment_from(
    {"model": {"vocab_size": 6, "seq_len": 16, "num_puzzles": 1, "width": 8, "heads": 2, "puzzle_dim": 0}}
)


@pytest.fixture
def flags(monkeypatch):
    """What $XLA_FLAGS says after use_cores on a machine of so many cores."""
    monkeypatch.setattr(cores, "_taken", False)

    def after(before: str, count: int) -> str:
        monkeypatch.setenv("XLA_FLAGS", before)
        monkeypatch.setattr(cores, "cores", lambda: count)
        use_cores()
        return cores.os.environ["XLA_FLAGS"]

    return after


def test_each_core_is_a_device_of_one_thread(flags):
    expected = "--xla_force_host_platform_device_count=4 --xla_cpu_multi_thread_eigen=false"
    assert flags("", 4) == expected
    assert cores.taken()
    assert flags("--xla_dump_to=x", 4) == f"--xla_dump_to=x {expected}"


@pytest.mark.parametrize(
    ("before", "count"),
    [
        ("", 1),
        ("", MOST + 1),
        ("--xla_force_host_platform_device_count=3", 4),
        ("flags.txt", 4),
    ],
)
def test_what_was_decided_stays(flags, before, count):
    assert flags(before, count) == before
    assert not cores.taken()


@pytest.mark.parametrize(
    ("batch", "micro_batches", "devices"), [(96, 1, 8), (60, 1, 6), (7, 1, 7), (96, 24, 4), (22, 0, 2)]
)
def test_as_many_devices_as_can_share_the_batch(monkeypatch, batch, micro_batches, devices):
    monkeypatch.setattr(sharding, "taken", lambda: True)
    wanted = replace(
        EXPERIMENT,
        train=replace(EXPERIMENT.train, batch_size=batch),
        memory=replace(EXPERIMENT.memory, micro_batches=micro_batches),
    )
    assert len(jax.devices()) == 8
    assert sharding.layout_of(wanted).count == devices
