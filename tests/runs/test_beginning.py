"""Runs that begin with another model's weights: what arrives, bit for bit, what is new, and what is told otherwise."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from small_run import experiment as small
from small_run import figures, final_state
from written_folder import write

from trm_jax.config import Experiment, config_hash
from trm_jax.data.dataset import read_folder
from trm_jax.data.fit import resolve
from trm_jax.data.identifiers import identifiers_of
from trm_jax.data.puzzle_set import Origin, PuzzleSet, from_pairs
from trm_jax.devices.sharding import Layout, layout_of
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.model.model import Model, Weights
from trm_jax.runs import weights_file
from trm_jax.runs.beginning import beginning, matching_rows
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint, flat
from trm_jax.runs.resume import as_begun
from trm_jax.runs.train import train
from trm_jax.training.program import fresh_state

SYMMETRIC = {
    "model__mixer": "symmetric", "model__puzzle_dim": 0, "model__puzzle_tokens": 0, "model__width": 8,
    "model__expansion": 1.0,
}  # fmt: skip
NAMES = ["task1", "task2", "task3"]


def boards(side: int = 4) -> PuzzleSet:
    """One Sudoku of this size; what it holds is of no matter here."""
    tokens = np.ones((1, side * side), np.int32)
    return from_pairs(tokens, tokens, side + 2, "sudoku")


def named(folder: Path, *names: str, known: bool = True) -> PuzzleSet:
    """The same with puzzle ids of these names, in a dataset folder."""
    folder.mkdir()
    if known:
        (folder / "identifiers.json").write_text(json.dumps(["<blank>", *names]))
    return replace(boards(), origins=(Origin(folder, 0, 1 + len(names)),), num_puzzles=1 + len(names))


def made(config: Experiment, puzzles: PuzzleSet, seed: int = 1) -> tuple[Experiment, Weights]:
    """The experiment resolved, and weights of it of which no number is drawn twice."""
    resolved, rng = resolve(config, puzzles), np.random.default_rng(seed)
    like = jax.eval_shape(Model(resolved.model).init, jax.random.key(0))
    return resolved, jax.tree.map(lambda a: rng.normal(size=a.shape).astype(np.float32), like)


def saved(workdir: Path, config: Experiment, weights: Weights, puzzles: PuzzleSet) -> Path:
    """A working directory with a checkpoint that keeps the names of its puzzles' ids."""
    with Checkpoints(workdir) as checkpoints:
        meta = Meta(config, identifiers=identifiers_of(puzzles))
        checkpoints.save_weights(jax.tree.map(jax.numpy.asarray, weights), meta)
    return workdir


def begun(source: Path, config: Experiment, puzzles: PuzzleSet, **init: Any) -> tuple[Experiment, Weights]:
    resolved = resolve(replace(config, init=replace(config.init, source=str(source), **init)), puzzles)
    return beginning(resolved, puzzles)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 4x4 Sudokus with a table of the blank id alone."""
    path = tmp_path_factory.mktemp("source") / "model.safetensors"
    weights_file.write(path, *made(small(), boards()))
    return path


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a model that was trained on three named ids."""
    workdir = tmp_path_factory.mktemp("taught")
    puzzles = named(workdir / "data", *NAMES)
    config, weights = made(small(), puzzles)
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save_weights(
            jax.tree.map(jax.numpy.asarray, weights), Meta(config, identifiers=identifiers_of(puzzles))
        )
    return workdir


def test_weights_arrive_by_name_bit_for_bit_and_their_hash_is_kept(file: Path, capsys) -> None:
    _, wanted = weights_file.read(file)
    config, given = begun(file, small(), boards())
    assert fingerprint(given) == fingerprint(wanted) == config.init.weights
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (f"beginning with weights of {file}: network, heads, embeddings, table; rows of 1 puzzle id by name")
    assert begun(file, small(), boards(), weights=config.init.weights)[0] == config
    with pytest.raises(CheckpointError, match=r"and config\.init\.weights = 'abc' are wanted"):
        begun(file, small(), boards(), weights="abc")


def test_parts_that_are_left_out_are_drawn(file: Path) -> None:
    _, wanted = weights_file.read(file)
    parts = {
        "network": {"params.latent_net", "starts.y", "starts.z"},
        "heads": {"params.q_head", "params.token_head"},
        "embeddings": {"params.tokens"},
        "table": {"puzzle_table"},
        "heads,table": {"params.q_head", "params.token_head", "puzzle_table"},
    }
    for words, first in parts.items():
        _, given = begun(file, small(), boards(), parts=words)
        assert {".".join(name.split(".")[:2]) for name in flat(given)} == first, words
        assert all(np.array_equal(array, flat(wanted)[name]) for name, array in flat(given).items())
    _, drawn = made(small(), boards(), seed=2)
    _, given = begun(file, small(), boards(), parts="network")
    mixed = drawn.with_given(given)
    assert mixed.params["latent_net"] is given.params["latent_net"]
    assert mixed.params["tokens"] is drawn.params["tokens"]
    assert (mixed.starts, mixed.puzzle_table is drawn.puzzle_table) == (given.starts, True)


@pytest.mark.parametrize("side", [6, 9])
def test_a_symmetric_network_goes_on_with_larger_boards(side: int, tmp_path: Path, capsys) -> None:
    weights_file.write(tmp_path / "a.safetensors", *made(small(**SYMMETRIC), boards()))
    _, given = begun(tmp_path / "a.safetensors", small(**SYMMETRIC, data__side=side), boards(side))
    assert fingerprint(given) == fingerprint(weights_file.read(tmp_path / "a.safetensors")[1])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"model.vocab_size: 6 -> {side + 2}, model.seq_len: 16 -> {side * side}")


def test_rows_of_the_table_are_found_by_name_however_the_sets_differ(
    taught: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("trm_jax.runs.beginning.load", cache(load))
    table = np.asarray(load(taught)[1].puzzle_table)
    for number, (names, wanted, told) in enumerate(
        (
            (["task2", "new", "task1", "task3"], [0, 2, None, 1, 3], "rows of 4 puzzle ids by name, 1 new (zero)"),
            (["task3"], [0, 3], "rows of 2 puzzle ids by name"),
            (["a", "b"], [0, None, None], "rows of 1 puzzle id by name, 2 new (zero)"),
        )
    ):
        puzzles = named(tmp_path / str(number), *names)
        _, given = begun(taught, small(), puzzles)
        expected = [np.zeros(16, np.float32) if row is None else table[row] for row in wanted]
        np.testing.assert_array_equal(given.puzzle_table, expected)
        assert told in capsys.readouterr().err
    for new, row in (("mean", table[1:].mean(0, dtype=np.float64).astype(np.float32)), ("task2", table[2])):
        _, given = begun(taught, small(), puzzles, new_rows=new)
        np.testing.assert_array_equal(given.puzzle_table, [table[0], row, row])
    with pytest.raises(ConfigError, match="no puzzle id of that name: give one that it does, such as 'task3'"):
        begun(taught, small(), puzzles, new_rows="task4")


def test_forms_that_came_out_alike_are_told_apart_by_their_order() -> None:
    np.testing.assert_array_equal(matching_rows(["_", "a", "b", "a"], ["_", "a", "a", "a", "b"]), [0, 1, 3, -1, 2])


def test_whose_rows_they_are_has_to_be_known(tmp_path: Path) -> None:
    """Of a file, which keeps no names; of a checkpoint of so many ids that it keeps but some of their names."""
    many = [f"task{i}" for i in range(40)]
    puzzles = named(tmp_path / "many", *many)
    config, weights = made(replace(small(), data=replace(small().data, train=str(tmp_path / "many"))), puzzles)
    weights_file.write(tmp_path / "a.safetensors", config, weights)
    with pytest.raises(ConfigError, match=r"keeps no names of its puzzle ids.*--config\.init\.names=FOLDER"):
        begun(tmp_path / "a.safetensors", small(), puzzles)
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_weights(
            jax.tree.map(jax.numpy.asarray, weights), Meta(config, identifiers=identifiers_of(puzzles))
        )
    with pytest.raises(ConfigError, match=r"was trained on a dataset whose names are needed: .*many"):
        begun(tmp_path / "run", small(), puzzles)  # where there are no arrays in that folder
    with pytest.raises(ConfigError, match=r"whose names are needed, and there is no folder elsewhere: give that"):
        begun(tmp_path / "run", small(), puzzles, names="elsewhere")
    with pytest.raises(DataError, match="puzzle ids without names"):
        begun(tmp_path / "run", small(), named(tmp_path / "nameless", *many, known=False))


def test_names_are_read_from_the_dataset_that_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "data")
    puzzles = read_folder(folder, "train")
    config = small(data__puzzle="tokens", data__train=str(folder), data__test="", train__eval_every=0)
    resolved, weights = made(config, puzzles)
    weights_file.write(tmp_path / "a.safetensors", resolved, weights)
    _, given = begun(tmp_path / "a.safetensors", config, puzzles, names=str(folder))
    np.testing.assert_array_equal(given.puzzle_table, weights.puzzle_table)
    padded = replace(resolved, model=replace(resolved.model, num_puzzles=4_096))
    rows = np.zeros((4_096, 16), np.float32)
    weights_file.write(tmp_path / "b.safetensors", padded, replace(weights, puzzle_table=rows))
    with pytest.raises(ConfigError, match=r"its puzzle table has 4,096 rows, and .*data has 7 puzzle ids with names"):
        begun(tmp_path / "b.safetensors", config, puzzles, names=str(folder))


def test_what_does_not_fit_is_told_by_name_with_what_to_leave_out(file: Path, tmp_path: Path) -> None:
    for changes, said in (
        (
            {"model__puzzle_dim": 8},
            "weights that do not fit: puzzle_table is 16 there and 8 here: leave out table, by "
            "--init-parts=network,heads,embeddings",
        ),
        (
            {"model__puzzle_dim": 0},
            "weights that do not fit: puzzle_table has no place here: leave out table, by "
            "--init-parts=network,heads,embeddings",
        ),
        (
            {"model__layers": 2},
            "weights that do not fit: params.latent_net.block_1.feed_forward.down.kernel is missing there; "
            "params.latent_net.block_1.feed_forward.gate_up.kernel is missing there; and 2 more of the network: leave "
            "out network, by --init-parts=heads,embeddings,table",
        ),
    ):  # fmt: skip
        with pytest.raises(CheckpointError) as caught:
            begun(file, small(**changes), boards())
        assert str(caught.value) == f"{file}: {said}"
    with pytest.raises(CheckpointError, match=r"leave out network and heads and embeddings, by --init-parts=table"):
        begun(file, small(data__side=6), boards(6))
    with pytest.raises(CheckpointError, match=r"weights that fit nowhere here: .*give those of a model with the same"):
        begun(file, small(model__width=32, model__puzzle_dim=32), boards())
    with pytest.raises(CheckpointError, match=r"did you mean 'sudoku-4x4'"):
        begun(Path("sudoku-4x5"), small(), boards())


def test_a_run_goes_on_with_the_weights_that_it_began_with(capsys) -> None:
    recorded = {"init__source": "runs/a", "init__weights": "abc", "init__parts": "network"}
    meta = Meta(small(**recorded))
    for given in ({}, recorded, recorded | {"init__weights": ""}):
        assert as_begun(small(**given), meta, Path("runs/b")) == meta.experiment
    same, again = capsys.readouterr().err.splitlines()
    assert same == again == "weights of runs/a were for the beginning: going on with what this run has learnt since"
    for given, began, said in (
        (recorded | {"init__source": "runs/c"}, meta, "weights of runs/a (network): leave out --init-from=runs/c"),
        ({"init__source": "runs/a"}, meta, "weights of runs/a (network)"),
        (recorded | {"init__weights": "abd"}, meta, "weights of runs/a (network)"),
        (recorded, Meta(small()), "weights of its own: leave out --init-from=runs/a to go on with it, or give a new"),
    ):
        with pytest.raises(CheckpointError) as caught:
            as_begun(small(**given), began, Path("runs/b"))
        assert f"runs/b holds a run that began with {said}" in str(caught.value)


def test_a_configuration_is_known_by_its_weights_and_not_by_where_they_lie() -> None:
    of = {key: small(init__source=key[0], init__weights=key[1]) for key in (("a", "1"), ("b", "1"), ("a", "2"))}
    hashes = {key: config_hash(config) for key, config in of.items()}
    assert hashes["a", "1"] == hashes["b", "1"] != hashes["a", "2"] != config_hash(small())


def test_a_run_that_begins_is_given_them(file: Path, tmp_path: Path, monkeypatch) -> None:
    given: list[Weights] = []

    class Given(Exception):
        """Nothing more is to be made."""

    def take(here: Experiment, _: Layout, weights: Weights) -> None:
        given.append(weights)
        assert here.init.weights == fingerprint(weights)
        raise Given

    monkeypatch.setattr("trm_jax.runs.run.fresh_state", take)
    with pytest.raises(Given):
        train(small(init__source=str(file)), tmp_path)
    assert fingerprint(given[0]) == fingerprint(weights_file.read(file)[1])


@pytest.mark.slow
def test_weights_lie_as_devices_share_them() -> None:
    resolved, weights = made(small(devices__data=4, devices__weights="sharded"), boards())
    state = fresh_state(resolved, layout_of(resolved), weights)
    assert fingerprint(state.weights) == fingerprint(weights)
    assert fingerprint(state.ema) == fingerprint(weights.params)
    assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(state.weights))


@pytest.mark.slow
def test_a_run_that_was_cut_needs_no_source_and_makes_the_same_bits(tmp_path: Path, capsys) -> None:
    """A run from another one's average; its frozen part stays what that was."""
    assert train(small(train__steps=4, train__eval_every=0), tmp_path / "source").finished
    config = small(
        train__steps=6, train__log_every=3, train__eval_every=3, train__save_every=3, train__freeze="network",
        train__seed=5, init__source=str(tmp_path / "source"), data__train_puzzles=40,
    )  # fmt: skip
    _, source = load(tmp_path / "source")
    assert train(config, tmp_path / "uncut").finished
    assert train(replace(config, train=replace(config.train, steps=3)), tmp_path / "cut").trained is not False
    shutil.rmtree(tmp_path / "source")
    forgetful = replace(config, init=replace(config.init, source=""))
    assert train(forgetful, tmp_path / "cut").finished
    ours, theirs = (final_state(config, tmp_path / name)[0] for name in ("cut", "uncut"))
    for part in ("weights", "ema", "opt_state", "carry"):
        assert fingerprint(getattr(ours, part)) == fingerprint(getattr(theirs, part)), part
    assert figures(tmp_path / "cut") == figures(tmp_path / "uncut")
    for params in (ours.weights.params, ours.ema):
        assert fingerprint(params["latent_net"]) == fingerprint(source.params["latent_net"])
        assert fingerprint(params["tokens"]) != fingerprint(source.params["tokens"])
    kept, _ = load(tmp_path / "cut")
    assert (kept.init.source, len(kept.init.weights)) == (str(tmp_path / "source"), 64)
