"""One, two, four and eight devices train the same: losses, states, table, evaluation; and what crosses between them."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.hlo import collectives_of
from trm_jax.config import Experiment, experiment_from
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.order import Position
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import ALONE, BY_ROWS, EVERYWHERE, layout_of
from trm_jax.errors import ConfigError
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics
from trm_jax.training import program
from trm_jax.training.feed import Feed
from trm_jax.training.optim import sign_sgd_rows
from trm_jax.training.program import advance, fresh_state, like, no_metrics
from trm_jax.training.step import TrainState, init_state

DATA = {"puzzle": "sudoku", "side": 4, "train": "generated", "test": "generated", "train_puzzles": 90,
        "test_puzzles": 30}  # fmt: skip


def experiment(data: int = 1, **changes) -> Experiment:
    """Rows that halt and explore, a table whose rows a batch uses several times, an average."""
    values = {
        "name": "shared",
        "model": {
            "width": 32, "heads": 2, "mixer": "attention", "puzzle_dim": 32, "puzzle_tokens": 1, "latent_steps": 2,
            "cycles": 2, "supervision_steps": 3, "exploration": 0.5, "dtype": "float32",
        },
        "optim": {"learning_rate": 1e-3, "warmup_steps": 3, "ema_decay": 0.9, "puzzle_learning_rate": 1e-3},
        "data": DATA,
        "train": {"steps": 20, "batch_size": 16, "log_every": 1, "eval_every": 20, "eval_batch_size": 8,
                  "save_every": 20},
        "devices": {"data": data, "puzzles": "resident"},
    }  # fmt: skip
    for key, value in changes.items():
        group, name = key.split("__")
        values[group][name] = value
    return experiment_from(values)


def with_ids(puzzles: PuzzleSet) -> PuzzleSet:
    """Every example gets one of 64 puzzle ids; consecutive ones share it."""
    return replace(puzzles, puzzle_ids=(np.arange(len(puzzles)) // 2 % 64).astype(np.int32), num_puzzles=64)


def with_opinions(state: TrainState) -> TrainState:
    """The state with a halting head that is of two minds, as a fresh one is not."""
    params = state.weights.params
    kernel = jax.random.normal(jax.random.key(1), params["q_head"]["kernel"].shape)
    params = params | {"q_head": {"kernel": kernel, "bias": jnp.zeros(2)}}
    return replace(state, weights=replace(state.weights, params=params))


@pytest.fixture(scope="module", autouse=True)
def sets():
    load = dataset.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "load", lambda config, split, seed: with_ids(load(config, split, seed)))
        patch.setattr(program, "init_state", lambda experiment: with_opinions(init_state(experiment)))
        yield


class Runs(dict):
    """Working directories by number of devices, each trained when it is first asked for."""

    def __init__(self, folders):
        super().__init__()
        self._folders = folders

    def __missing__(self, data):
        self[data] = self._folders.mktemp(f"run{data}")
        changes = {"devices__weights": "sharded"} if data == "sharded" else {}
        if data in (2, 4):
            changes["train__eval_every"] = 0
        assert train(experiment(8 if data == "sharded" else data, **changes), self[data]).finished
        return self[data]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return Runs(tmp_path_factory)


# "sharded": eight devices, with weights in parts.
of_every_number = pytest.mark.parametrize(
    "data", [*(pytest.param(data, marks=pytest.mark.slow) for data in (2, 4, 8)), "sharded"]
)


def restored(workdir: Path, data: int, **changes):
    wanted = resolve(experiment(data, **changes), dataset.load(experiment().data, "train", 0))
    shapes = like(wanted, layout_of(wanted))
    with Checkpoints(workdir) as checkpoints:
        state, totals = checkpoints.restore(*shapes)
    for found, expected in zip(jax.tree.leaves(state), jax.tree.leaves(shapes[0]), strict=True):
        assert found.sharding == expected.sharding
    return state, totals


@pytest.mark.slow
@of_every_number
def test_twenty_steps_are_the_same_on_any_number_of_devices(runs, data):
    ours, alone = read_metrics(runs[data]), read_metrics(runs[1])
    assert [row["step"] for row in alone] == [*range(1, 21), 20]
    if data in (2, 4):
        alone = alone[:20]  # without the evaluation
    assert [row["step"] for row in ours] == [row["step"] for row in alone]
    for one, other in zip(ours, alone, strict=True):
        for name, value in other.items():
            if value is None:
                assert one[name] is None
            elif name in ("train/finished", "train/steps", "eval/exact_accuracy", "train/learning_rate"):
                assert one[name] == value, name
            elif not name.startswith("time/"):
                assert one[name] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    assert alone[19]["train/loss"] < 0.8 * alone[0]["train/loss"]
    assert any(row.get("train/finished") not in (None, 0.0, 16.0) for row in alone), "rows halt one by one"


@of_every_number
def test_states_are_the_same_on_any_number_of_devices(runs, data):
    changes = {"devices__weights": "sharded"} if data == "sharded" else {}
    ours, _ = restored(runs[data], 8 if data == "sharded" else data, **changes)
    alone, _ = restored(runs[1], 1)
    table = alone.weights.puzzle_table
    assert 0 < (np.asarray(table) != 0).any(axis=1).sum() < 64, "some rows were used, and others not"
    paths = jax.tree_util.tree_leaves_with_path(alone)
    for (path, expected), found in zip(paths, jax.tree.leaves(ours), strict=True):
        if expected.dtype == jnp.float32:
            error = np.abs(np.asarray(found) - np.asarray(expected)).max()
            assert error <= 1e-4 * (1e-3 + np.abs(np.asarray(expected)).max()), jax.tree_util.keystr(path)
        else:
            np.testing.assert_array_equal(found, expected, jax.tree_util.keystr(path))


@pytest.mark.parametrize("weights", [pytest.param("replicated", marks=pytest.mark.slow), "sharded"])
def test_a_checkpoint_of_eight_devices_is_bit_equal_on_four_two_and_one(runs, weights):
    state, totals = restored(runs["sharded"], 8, devices__weights="sharded")
    for data in (4, 2, 1):
        found, sums = restored(runs["sharded"], data, devices__weights=weights)
        assert fingerprint((found, sums)) == fingerprint((state, totals))


@pytest.mark.slow
def test_a_run_goes_on_with_other_devices(runs, tmp_path):
    """Ten steps on eight devices and ten on two are twenty on one."""
    half = experiment(8, train__steps=10, train__save_every=10, train__eval_every=0)
    assert train(half, tmp_path).finished
    assert train(experiment(2, train__eval_every=0, train__save_every=10), tmp_path).finished
    ours, alone = read_metrics(tmp_path), read_metrics(runs[1])[:20]
    for one, other in zip(ours, alone, strict=True):
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=1e-5)


def compiled_step(**changes):
    puzzles = dataset.load(experiment().data, "train", 0)
    wanted = resolve(experiment(8, **changes), puzzles)
    layout = layout_of(wanted)
    state, totals = jax.eval_shape(partial(fresh_state, wanted, layout)), no_metrics(wanted, layout)
    position = layout.everywhere(Position(*map(np.int32, Position())))
    with Feed(puzzles, wanted, layout) as feed:
        source = next(feed.sources(Position(), [1]))
        lowered = advance.lower(wanted, layout, 1, like(wanted, layout)[0], totals, position, source, None)
    return lowered.compile(), state


def test_nothing_crosses_but_gradients_touched_rows_and_metrics():
    compiled, state = compiled_step()
    sizes = {}
    for collective in collectives_of(compiled):
        assert collective.times == 1, "nothing crosses within the recursion"
        sizes[collective.kind] = sizes.get(collective.kind, 0) + collective.payload
    gradients = sum(leaf.size * 4 for leaf in jax.tree.leaves(state.weights.params))
    rows, ids, row = 16, 16 * 4, 32 * 4
    # Touched rows come as a sum of parts, their gradients go to all.
    assert sizes.pop("reduce-scatter", 0) + sizes.pop("all-gather") <= rows * row * 2 + 3 * ids
    metrics = 20 * 4
    assert gradients <= sizes.pop("all-reduce") <= gradients + metrics
    assert not sizes


def test_weights_in_parts_cross_once_each_way():
    compiled, state = compiled_step(devices__weights="sharded")
    weights = sum(leaf.size * 4 for leaf in jax.tree.leaves(state.weights.params))
    sizes = {}
    for collective in collectives_of(compiled):
        sizes[collective.kind] = sizes.get(collective.kind, 0) + collective.payload
    rows, ids, row = 16, 16 * 4, 32 * 4
    assert set(sizes) <= {"all-gather", "reduce-scatter", "all-reduce"}
    assert sizes["all-gather"] <= weights + rows * row + 3 * ids
    assert sum(sizes.values()) <= 2 * weights + 2 * rows * row + 3 * ids + 1_024


def test_rows_of_a_split_table_come_from_and_go_to_where_they_are():
    """Ids twice on one device and on several; rows at the borders of parts."""
    wanted = resolve(experiment(8), dataset.load(experiment().data, "train", 0))
    layout = layout_of(wanted)
    assert layout.table_split
    rng = np.random.default_rng(0)
    table = rng.normal(size=(64, 32)).astype(np.float32)
    ids = np.array([0, 63, 7, 7, 8, 0, 31, 32, 7, 7, 63, 1, 2, 3, 40, 8], np.int32)
    grads = rng.normal(size=(16, 32)).astype(np.float32)

    def update(layout, table, ids, grads):
        rows = layout.table_rows(table, ids)
        collected = layout.collected(ids), layout.collected(grads)
        return rows, sign_sgd_rows(table, *collected, jnp.float32(0.1), 0.5, layout.first_row(table))

    expected = jax.jit(partial(update, ALONE))(table, ids, grads)
    split = jax.jit(
        jax.shard_map(
            partial(update, layout),
            mesh=layout.mesh,
            in_specs=(BY_ROWS, BY_ROWS, BY_ROWS),
            out_specs=(BY_ROWS, layout.table_spec),
            check_vma=False,
        )
    )(table, ids, grads)
    np.testing.assert_array_equal(split[0], table[ids])
    np.testing.assert_array_equal(split[1], expected[1])
    touched = np.unique(ids)
    untouched = np.setdiff1d(np.arange(64), touched)
    np.testing.assert_array_equal(np.asarray(split[1])[untouched], table[untouched])
    total = np.stack([grads[ids == i].sum(axis=0) for i in touched])
    np.testing.assert_allclose(np.asarray(split[1])[touched], table[touched] * 0.95 - 0.1 * np.sign(total), rtol=1e-6)


def test_a_layout_says_where_everything_lies():
    wanted = resolve(experiment(8, devices__weights="sharded"), dataset.load(experiment().data, "train", 0))
    layout = layout_of(wanted)
    state = fresh_state(wanted, layout)
    assert state.carry.data.inputs.sharding.spec == BY_ROWS
    assert state.key.sharding.spec == EVERYWHERE
    largest = max(jax.tree.leaves(state.weights.params), key=lambda leaf: leaf.size)
    for leaf in (largest, state.weights.puzzle_table, state.carry.state.y):
        assert {shard.data.nbytes for shard in leaf.addressable_shards} == {leaf.nbytes // 8}
    alone = resolve(experiment(1), dataset.load(experiment().data, "train", 0))
    assert layout_of(alone) == ALONE
    assert fingerprint(fresh_state(alone, ALONE)) == fingerprint(state)


@pytest.mark.parametrize(("changes", "message"), [
    ({"devices__data": 9, "train__batch_size": 18},
     r"config.devices.data = 9, but there are 8 devices: lower it, or set it to 0"),
    ({"devices__data": 0, "train__batch_size": 20},
     r"config.train.batch_size = 20 cannot be shared by 8 devices: give a multiple of 8"),
    ({"devices__data": 0, "memory__micro_batches": 4},
     r"config.memory.micro_batches = 4 and config.memory.slices = 1 do not divide the 2 rows that each of 8 devices"),
])  # fmt: skip
def test_what_devices_cannot_share_is_told(changes, message, monkeypatch):
    values = {key: value for key, value in changes.items() if not key.startswith("memory")}
    wanted = experiment(**values)
    if "memory__micro_batches" in changes:
        wanted = replace(wanted, memory=replace(wanted.memory, micro_batches=4))
    with pytest.raises(ConfigError, match=message):
        layout_of(wanted)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ConfigError, match="2 processes have 8 devices, and none may stand idle: set it to 0"):
        layout_of(experiment(4))


def test_a_batch_that_the_named_devices_cannot_share_is_told_before_jax_starts():
    with pytest.raises(ConfigError, match=r"config.train.batch_size = 16 cannot be shared by config.devices.data = 3"):
        experiment(3)
