"""Attempts on several devices, and in several processes, against the same on one."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from compiling import QUICK_FLAGS
from places import TESTS

from trm_jax.commands.report import Request, evaluate
from trm_jax.config import DataConfig, Experiment, MemoryConfig, ModelConfig
from trm_jax.data.folder_writer import Writer
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.devices.sharding import ALONE, EVERYWHERE, Layout, mesh_layout
from trm_jax.errors import ConfigError
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.meta import Meta

CONFIG = ModelConfig(
    vocab_size=5, seq_len=6, num_puzzles=16, width=16, heads=2, expansion=1.0, layers=1, mixer="mlp", positions="none",
    puzzle_dim=16, puzzle_tokens=1, latent_steps=1, cycles=1, supervision_steps=4, dtype="float32",
)  # fmt: skip
MODEL = Model(CONFIG)
GRID = json.dumps({"kind": "grid", "shape": [2, 3], "alphabet": "abcd", "symmetries": "fliplr rot180"})
KIND = kind_of(GRID, 6)
FIELDS = ("answers", "q_halt", "change", "margin", "halted_at", "steps")
COUNT, BATCH = 19, 3
# Halting with refilled slots, noise of both kinds, symmetries: what one program can show.
EFFORT = Effort((1, 3, 6), halting=True, attempts=2, start_noise=0.5, latent_noise=0.5, symmetries=True)
RACE = Effort((6,), halting=True, halt_above=0.3, attempts=4, latent_noise=1.0, race=True)

# One of two processes with two devices each: writes what it finds, and evaluates a checkpoint.
MEMBER = """
import sys
from trm_jax.devices import cluster
address, process, checkpoint, folder = sys.argv[1:]
cluster.join(address, 2, int(process), 60)
from pathlib import Path
import numpy as np
import test_attempts_sharded as example
found = example.tried(example.split(4))
np.savez(Path(folder, process), **{name: getattr(found, name) for name in example.FIELDS})
example.told(Path(checkpoint), 0, Path(folder, f"{process}.json"))
cluster.leave()
"""


def split(count: int) -> Layout:
    """So many devices that share all that can be shared: the puzzle table, and every matrix along its first axis."""
    shapes: Any = jax.eval_shape(MODEL.init, jax.random.key(0))
    axes = tuple(0 if leaf.shape[0] % count == 0 else None for leaf in jax.tree.leaves(shapes.params))
    return replace(mesh_layout(count), weight_axes=axes, table_split=True)


def example_weights(layout: Layout) -> Weights:
    """Random ones, with q of either sign, that lie as the layout says."""
    rng = np.random.default_rng(2)
    weights: Weights = jax.tree.map(
        lambda a: rng.normal(size=a.shape).astype(np.float32) / np.sqrt(a.shape[0]),
        jax.eval_shape(MODEL.init, jax.random.key(0)),
    )
    weights = replace(weights, puzzle_table=rng.normal(size=(16, 16)).astype(np.float32))
    specs = Weights(
        layout.weight_specs(weights.params), jax.tree.map(lambda _: EVERYWHERE, weights.starts), layout.table_spec
    )

    def put(host: Any, sharding: Any) -> jax.Array:
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    return jax.tree.map(put, weights, layout.shardings(specs))


def puzzles(count: int) -> tuple[Any, Any]:
    """Questions, and rows of the table, of which most devices have none of their puzzles'."""
    rng = np.random.default_rng(1)
    return rng.integers(1, 5, (count, 6)).astype(np.int8), np.arange(16, 16 - count, -1, dtype=np.int32) % 16


def tried(layout: Layout, effort: Effort = EFFORT, batch_size: int = BATCH, count: int = COUNT) -> Attempts:
    """All parts as one; checks that they follow each other."""
    weights = example_weights(layout)
    parts = list(attempt(MODEL, weights, effort, *puzzles(count), batch_size, KIND, layout))
    assert [part.first for part in parts] == np.cumsum([0, *[len(part) for part in parts]])[:-1].tolist()
    return Attempts(effort, 0, *(np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS))


def assert_same(found: Attempts | Any, expected: Attempts) -> None:
    for name in ("answers", "halted_at", "steps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("q_halt", "change", "margin"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def alone() -> Attempts:
    """What one device finds."""
    return tried(ALONE)


def test_the_example_tells_lanes_apart(alone: Attempts) -> None:
    assert len(set(alone.steps.ravel().tolist())) >= 4, alone.steps
    assert (alone.halted_at == 0).any()
    assert np.abs(alone.q_halt).min() > 1e-3, "no q so near to zero that its sign is rounding"
    ends = alone.answers[:, :, -1].reshape(-1, 6)
    assert len(np.unique(ends, axis=0)) > len(ends) / 2


@pytest.mark.parametrize(
    ("lay_out", "count"), [pytest.param(split, 2, marks=pytest.mark.slow), (mesh_layout, 2), (split, 8)]
)
def test_any_number_of_devices_finds_the_same(lay_out: Callable[[int], Layout], count: int, alone: Attempts) -> None:
    assert_same(tried(lay_out(count)), alone)


def test_fewer_puzzles_than_devices(alone: Attempts) -> None:
    few = tried(split(8), count=2, batch_size=100)
    assert_same(few, Attempts(EFFORT, 0, *(getattr(alone, name)[:2] for name in FIELDS)))


@pytest.mark.slow
def test_in_a_race_all_attempts_at_a_puzzle_meet(alone: Attempts) -> None:
    """Where all start together it is decided who wins, so the number of devices changes nothing."""
    everyone = RACE.attempts * (COUNT + 8)
    expected = tried(ALONE, RACE, everyone)
    assert (expected.steps == expected.steps[:, :1]).all()
    assert len(set(expected.steps[:, 0].tolist())) >= 3
    assert_same(tried(split(8), RACE, everyone), expected)
    narrow = tried(split(8), RACE, BATCH)
    won = (narrow.halted_at > 0).any(axis=1)
    np.testing.assert_array_equal(won, (expected.halted_at > 0).any(axis=1))
    assert (narrow.steps[~won] == 6).all()


def told(checkpoint: Path, devices: int, to: Path) -> None:
    """What `trm eval` does, into a JSON file."""
    evaluate(Request((checkpoint,), EFFORT, batch_size=BATCH, json=to, devices=devices))


@pytest.fixture(scope="module")
def checkpoint(alone: Attempts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With puzzles whose labels are the plain answers, but for some cells of some puzzles."""
    folder = tmp_path_factory.mktemp("sharded")
    inputs, ids = puzzles(COUNT)
    labels = np.maximum(alone.answers[:, 0, -1], 1).astype(np.int32)
    labels[::3, 1] = labels[::3, 1] % 4 + 1
    with Writer(folder / "data", 6, 5, puzzle=json.loads(GRID)) as writer:
        for i in range(COUNT):
            writer.split("test").add(inputs[i : i + 1].astype(np.int32), labels[i : i + 1], [1], ids[i : i + 1])
        writer.finish(["<blank>", *map(str, range(1, 16))])
    data = DataConfig(GRID, str(folder / "data"), str(folder / "data"))
    with Checkpoints(folder) as checkpoints:
        checkpoints.save_weights(example_weights(ALONE), Meta(Experiment("own", CONFIG, data=data)))
    return folder


@pytest.fixture(scope="module")
def report(checkpoint: Path) -> dict[str, Any]:
    """Of one device."""
    told(checkpoint, 1, checkpoint / "alone.json")
    return figures(checkpoint / "alone.json")


def figures(path: Path) -> dict[str, Any]:
    """Every figure of a report under its own name."""
    report = json.loads(path.read_text()) | {"seconds": 0}
    leaves, _ = jax.tree_util.tree_flatten_with_path(report)
    return {jax.tree_util.keystr(name): leaf for name, leaf in leaves}


def test_reports_are_equal(checkpoint: Path, report: dict[str, Any], tmp_path: Path) -> None:
    assert 0 < report["['rows'][2]['exact']['value']"] < 1
    told(checkpoint, 2, tmp_path / "two.json")
    assert figures(tmp_path / "two.json") == pytest.approx(report)


def test_each_device_has_its_share_of_the_batch() -> None:
    rows = []

    class Watched(Model):
        def think(self, params: Any, puzzle_rows_BR: Any, state: Any, inputs_BS: Any) -> Any:
            rows.append(inputs_BS.shape[0])
            return super().think(params, puzzle_rows_BR, state, inputs_BS)

    inputs, ids = puzzles(COUNT)
    held_out = replace(from_pairs(inputs, inputs, 5), puzzle_ids=ids, num_puzzles=16)
    layout = mesh_layout(2)
    Evaluator(Watched(CONFIG), held_out, 7, Effort((1,)), KIND, layout=layout)(example_weights(layout))
    assert set(rows) == {4}


def test_what_serves_gradients_alone_is_left_out(alone: Attempts) -> None:
    """Slices divide the batch of training, and seldom that of evaluation."""
    sliced = replace(MODEL, memory=MemoryConfig(slices=16))
    parts = list(attempt(sliced, example_weights(ALONE), EFFORT, *puzzles(COUNT), BATCH, KIND))
    np.testing.assert_array_equal(np.concatenate([part.answers for part in parts]), alone.answers)


@pytest.mark.slow
def test_two_processes_find_the_same(checkpoint: Path, report: dict[str, Any], alone: Attempts, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = f"localhost:{door.getsockname()[1]}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "PMIX_"))}
    here = {
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS, Path(__file__).parent))),
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=2{QUICK_FLAGS}",
        "JAX_PLATFORMS": "cpu",
    }
    members = [
        subprocess.Popen(
            [sys.executable, "-c", MEMBER, address, str(process), str(checkpoint), str(tmp_path)],
            env=clean | here,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]
    try:
        said = [member.communicate(timeout=120) for member in members]
    finally:
        for member in members:
            member.kill()
    for process, (member, (out, err)) in enumerate(zip(members, said, strict=True)):
        assert member.returncode == 0, err
        assert ("exact (95 % interval)" in out) == (process == 0)
        with np.load(tmp_path / f"{process}.npz", allow_pickle=False) as arrays:
            assert_same(Attempts(EFFORT, 0, *(arrays[name] for name in FIELDS)), alone)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["0.json"]
    assert figures(tmp_path / "0.json") == pytest.approx(report)


def test_devices_that_are_not_there_are_refused() -> None:
    assert mesh_layout(1) == ALONE
    assert mesh_layout(0).count == len(jax.devices()) == 8
    with pytest.raises(
        ConfigError, match=r"^--devices = 9, but there are 8 devices: lower it, or set it to 0 for all$"
    ):
        mesh_layout(9)
