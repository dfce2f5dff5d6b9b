"""Every experiment and variant can do all that this package does: a new one is tested by being in the folder."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_run import assert_same_run

from benchmarks import losses
from trm_jax.commands.cli import main
from trm_jax.config import Experiment, experiment_from
from trm_jax.config.files import execute, experiment, find, names, read
from trm_jax.model.estimate import estimate
from trm_jax.original.convert import export_checkpoint, import_checkpoint
from trm_jax.runs.checkpoint import load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.training.planner import needs_of
from trm_jax.training.step import init_state, train_step
from trm_jax.training.supervision import Batch

CASES = [f"{name}:{variant}" for name in names() for variant in ("", *execute(find(name)).VARIANTS)]
# Of `make test`; the others are slow.
LOWERED_QUICKLY = {"arc1:"}
# What a variant of the full size takes over from the variant smoke to be trained here: nothing that sets it apart.
SIZES = {
    "model": ("width", "heads", "puzzle_dim", "puzzle_tokens", "supervision_steps", "dtype"),
    "data": ("train", "train_puzzles"),
    "optim": ("warmup_steps",),
    "train": ("batch_size",),
    "devices": ("data",),
}
# What data of the full size would tell: forms of all ARC tasks; cells and characters of a puzzle of one's own.
FROM_DATA = {"num_puzzles": 876_406, "seq_len": 25, "vocab_size": 7}


class Trained(NamedTuple):
    experiment: Experiment
    puzzles: str  # to evaluate on
    workdir: Path  # after two steps, saved after each


def cases(quick: set[str]) -> list[Any]:
    assert quick <= set(CASES)
    return [case if case in quick else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


def tiny(case: str, folder: Path) -> Experiment:
    """The case with a small network, on few puzzles, which are made in the folder, for two steps."""
    values, small = read(case).to_dict(), losses.config(case.partition(":")[0], folder)
    for group, keys in SIZES.items():
        values[group] |= {key: small[group][key] for key in keys}
    if values["data"]["side"] == small["data"]["side"]:
        values["model"]["seq_len"] = small["model"]["seq_len"]
    values["data"] |= {"test": "generated" if small["data"]["train"] == "generated" else "", "test_puzzles": 3}
    values["train"] |= {"steps": 2, "log_every": 1, "save_every": 1, "eval_every": 0, "eval_batch_size": 4}
    return experiment_from(values)


@pytest.fixture(scope="module", params=cases(set()))
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("matrix")
    found = tiny(request.param, folder)
    assert train(found, folder / "run").finished
    puzzles = found.data.train
    if Path(puzzles).is_dir():  # a dataset, which is evaluated on its part for testing
        shutil.copytree(Path(puzzles) / "train", Path(puzzles) / "test", dirs_exist_ok=True)
    if found.data.puzzle == "arc":
        shutil.copyfile(folder / "tasks_challenges.json", Path(puzzles) / "test_puzzles.json")
    return Trained(found, "" if puzzles == "generated" else puzzles, folder / "run")


def test_a_step_is_saved_and_gone_on_from(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.workdir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "2")

    assert train(trained.experiment, tmp_path / "run").trained

    assert_same_run(trained.experiment, tmp_path / "run", trained.workdir)


def test_what_was_trained_is_evaluated(trained: Trained, tmp_path: Path) -> None:
    source = [trained.puzzles] * bool(trained.puzzles)
    words = ["--devices=1", "--steps=2", "--limit=3", f"--json={tmp_path / 'out.json'}"]

    assert main(["eval", str(trained.workdir), *source, *words]) == 0

    (row,) = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert row["supervision_steps"] == 2
    assert 0 <= row["cells"]["value"] <= 1


def test_weights_go_out_and_come_in(trained: Trained, tmp_path: Path) -> None:
    known, weights = load(trained.workdir, averaged=False)

    export_checkpoint(trained.workdir, tmp_path / "weights.safetensors", averaged=False)
    import_checkpoint(tmp_path / "weights.safetensors", tmp_path / "back", known)

    assert fingerprint(load(tmp_path / "back")[1]) == fingerprint(weights)


@pytest.mark.slow
def test_the_memory_of_a_step_is_told(trained: Trained) -> None:
    assert needs_of(load(trained.workdir)[0]).peak > 0


@pytest.mark.parametrize("case", CASES)
def test_the_cost_of_a_run_is_told(case: str) -> None:
    found = estimate(experiment(case))

    assert found.trained > 0
    assert found.flops_total == found.flops_per_step * experiment(case).train.steps > 0


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("case", cases(LOWERED_QUICKLY))
def test_a_step_of_the_full_size_is_lowered(case: str, platform: str) -> None:
    """No array is allocated, and no such device needed."""
    found = experiment(case)
    model = replace(found.model, **{key: getattr(found.model, key) or size for key, size in FROM_DATA.items()})
    found = replace(found, model=model, devices=replace(found.devices, attention="xla"))
    batch, tokens = found.train.batch_size, jax.ShapeDtypeStruct((found.train.batch_size, model.seq_len), np.int32)
    state = jax.eval_shape(partial(init_state, found))

    traced = jax.jit(partial(train_step, found)).trace(
        state, Batch(tokens, tokens, jax.ShapeDtypeStruct((batch,), jnp.int32))
    )

    assert "stablehlo.dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()
