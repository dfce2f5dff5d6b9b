"""A checkpoint of every format that was ever released is read, bit for bit, and training goes on from it."""

import hashlib
import math
import zipfile
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from places import TESTDATA

from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.meta import FORMAT
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics

FORMATS = range(1, FORMAT + 1)
# Digests of the weights after step 3, as trained and averaged, by the code that wrote them. Format 3 came with another
# order of the batches.
BEFORE_3, SINCE_3 = ("854023ffb94f504e", "23220d396afb1ce5"), ("4284126285a8bb26", "ed3b15cf17a9ea00")


def digest(weights) -> str:
    leaves = (np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(weights))
    return hashlib.sha256(b"".join(leaves)).hexdigest()[:16]


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The working directory that a run of three steps left, in the format asked for."""
    with zipfile.ZipFile(TESTDATA / "formats" / f"format_{request.param}.zip") as archive:
        for name in archive.namelist():
            path = tmp_path / "run" / name
            if name.endswith("/"):
                path.mkdir(parents=True)
            else:
                path.write_bytes(archive.read(name))
    return tmp_path / "run"


@pytest.mark.parametrize(("number", "run"), [(number, number) for number in FORMATS], indirect=["run"])
def test_weights_load_and_training_goes_on(number: int, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment, _ = load(run)
    assert (experiment.model.width, experiment.memory.policy) == (2, "step")
    expected = BEFORE_3 if number < 3 else SINCE_3
    assert tuple(digest(load(run, averaged)[1]) for averaged in (False, True)) == expected

    further = replace(experiment, train=replace(experiment.train, steps=5), devices=replace(experiment.devices, data=1))
    assert train(further, run).finished

    told = capsys.readouterr().err
    assert "going on at step 3, " in told
    # Runs on any number of devices came with format 3.
    changed = "train.steps: 3 -> 5" if number >= 3 else "devices.data: 0 -> 1; train.steps: 3 -> 5"
    assert f"going on with other settings than before: {changed}\n" in told
    rows = read_metrics(run)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert all(math.isfinite(row["train/loss"]) for row in rows)
    assert rows[-1]["train/skipped"] == 0  # which is counted since format 4
    with Checkpoints(run) as checkpoints:
        assert checkpoints.steps == [3, 5]
