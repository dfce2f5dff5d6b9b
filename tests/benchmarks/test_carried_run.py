"""A run carried in a few small files: what is in them, what is refused, and that it goes on from there."""

from pathlib import Path

import numpy as np
import pytest
from small_checkpoint import EXPERIMENT, drawn_state

from benchmarks import carried_run
from benchmarks.carried_run import PIECES, carry, unpack
from trm_jax.devices.sharding import ALONE
from trm_jax.errors import CheckpointError
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.training.program import like, no_metrics
from trm_jax.training.step import TrainState

pytestmark = pytest.mark.slow  # whole training states are made and saved
POSITION = {"epoch": 3, "place": 1, "offset": 2, "fingerprint": "these"}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_run, "_LARGEST", 30_000)


def saved(workdir: Path) -> TrainState:
    state = drawn_state(EXPERIMENT, step=7)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save(state, no_metrics(EXPERIMENT, ALONE), Meta(EXPERIMENT, POSITION))
    return state


def restored(workdir: Path) -> tuple[TrainState, Meta]:
    with Checkpoints(workdir) as checkpoints:
        meta = checkpoints.latest_meta()
        assert meta is not None
        return checkpoints.restore(*like(meta.experiment, ALONE))[0], meta


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainState]:
    workdir = tmp_path_factory.mktemp("carried") / "run"
    return workdir, saved(workdir)


def test_what_was_learned_goes_on_and_the_rest_begins_anew(run: tuple[Path, TrainState], tmp_path: Path) -> None:
    workdir, state = run
    assert carry(workdir, tmp_path) == 7
    assert unpack(tmp_path, tmp_path / "elsewhere") == 7
    found, meta = restored(tmp_path / "elsewhere")
    assert (meta.experiment, meta.position) == (EXPERIMENT, POSITION)
    for name in ("step", "weights", "ema", "key", "skipped_in_a_row"):
        assert fingerprint(getattr(found, name)) == fingerprint(getattr(state, name)), name
    assert found.opt_state.steps == state.opt_state.steps  # of which the rate is a function
    assert not np.any(np.concatenate([np.ravel(a) for a in carried_run.flat(found.opt_state.mu).values()]))
    assert np.all(found.carry.halted)  # so that each row begins with a fresh puzzle
    assert max((tmp_path / name).stat().st_size for name in PIECES) == 30_000


def test_it_is_carried_over_what_was_carried_before(run: tuple[Path, TrainState], tmp_path: Path) -> None:
    for name in PIECES:
        (tmp_path / name).write_bytes(b"older" * 10_000)
    carry(run[0], tmp_path)
    assert unpack(tmp_path, tmp_path / "elsewhere") == 7


def test_what_does_not_fit_is_not_carried(
    run: tuple[Path, TrainState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carried_run, "_LARGEST", 1_000)
    with pytest.raises(CheckpointError, match=r"MB to be carried, and 0 may be"):
        carry(run[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_carried_of_a_run_without_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        carry(tmp_path / "nothing", tmp_path)


@pytest.mark.parametrize("fault", ["a bit", "no last piece", "an older piece"])
def test_what_is_damaged_is_refused(run: tuple[Path, TrainState], tmp_path: Path, fault: str) -> None:
    carry(run[0], tmp_path)
    if fault == "no last piece":
        (tmp_path / PIECES[2]).unlink()
    else:
        content = bytearray((tmp_path / PIECES[1]).read_bytes())
        content[100] ^= 1
        (tmp_path / PIECES[1]).write_bytes(content if fault == "a bit" else content[:50])
    with pytest.raises(CheckpointError, match=r"run\.0: nothing to go on from: .*bring all three pieces, or none"):
        unpack(tmp_path, tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere").exists()
