"""A program as StableHLO: it says what the model says, old files stay readable, and what is damaged is refused."""

import json
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
import small_run
from places import TESTDATA
from untrained import shaken

from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.exporting import stablehlo
from trm_jax.library.export import export
from trm_jax.library.solver import Solver
from trm_jax.model.model import Model

KEPT = TESTDATA / "exports" / "solve_1.stablehlo"


@pytest.fixture(scope="module")
def kept():
    pytest.importorskip("flatbuffers", reason="JAX reads exported programs by flatbuffers (extra stablehlo)")
    return stablehlo.read(KEPT)


def test_the_kept_file_says_what_it_said(kept):
    about, program = kept
    told = json.loads(KEPT.with_suffix(".json").read_text())
    inputs = {port["name"]: np.array(told[port["name"]], port["dtype"]) for port in about["inputs"]}
    for name, array in program.call(**inputs).items():
        expected = np.array(told[name], array.dtype)
        np.testing.assert_allclose(array, expected, rtol=1e-4, err_msg=name)
    assert set(program.platforms) == {"cpu", "cuda", "tpu"}


def test_it_tells_what_it_is(kept):
    about, _ = kept
    assert about["convention"] == 1
    assert about["puzzle"] == {"kind": "sudoku", "box": "2x2"}
    assert about["alphabet"] == [".", ".", "1", "2", "3", "4"]
    assert [port["name"] for port in about["inputs"]] == ["question", "most_steps", "halt_above"]
    assert about["inputs"][0]["shape"] == ["B", 16]
    assert about["card"] is None
    assert len(KEPT.read_bytes()) < 100_000


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "first": (lambda data: flipped(data, 0), "is not a"),
    "version": (lambda data: flipped(data, 8), "has version 0, and this package reads 1"),
    "length": (lambda data: data[:12] + b"\xff\xff\xff\xff" + data[16:], "is damaged"),
    "checksum": (lambda data: flipped(data, 20), "is damaged"),
    "metadata": (lambda data: flipped(data, 60), "is damaged"),
    "program": (lambda data: flipped(data, len(data) - 1), "is damaged"),
    "truncated": (lambda data: data[:-1], "is damaged"),
    "longer": (lambda data: data + b"\0", "is damaged"),
    "head alone": (lambda data: data[:47], "is not a"),
    "empty": (lambda data: b"", "is not a"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_was_changed_is_refused(damage, tmp_path):
    change, told = DAMAGES[damage]
    path = tmp_path / "model.stablehlo"
    path.write_bytes(change(KEPT.read_bytes()))
    with pytest.raises(CheckpointError, match=told) as caught:
        stablehlo.read(path)
    assert "\n" not in str(caught.value)


def test_no_file_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        stablehlo.read(tmp_path / "none.stablehlo")


def test_what_it_needs_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ConfigError, match=r"needs flatbuffers: pip install \"trm_jax\[stablehlo\]\""):
        stablehlo.read(KEPT)


def test_a_fresh_one_says_what_the_model_says(tmp_path):
    """Rows with ids of a puzzle table, each halting by itself."""
    pytest.importorskip("flatbuffers", reason="JAX writes exported programs by flatbuffers (extra stablehlo)")
    experiment = small_run.experiment(
        model__vocab_size=6, model__seq_len=16, model__num_puzzles=3, train__eval_batch_size=8
    )
    weights = shaken(jax.jit(Model(experiment.model).init)(jax.random.key(0)), 1)
    table = jax.random.normal(jax.random.key(2), weights.puzzle_table.shape)
    solver = Solver(experiment, replace(weights, puzzle_table=table))
    _, program = stablehlo.read(export(solver, tmp_path / "model.stablehlo"))
    question = np.random.default_rng(0).integers(1, 6, (5, 16), np.int32)
    ids = np.array([0, 1, 2, 1, 0], np.int32)
    think = jax.jit(Model(experiment.model).think)
    state, rows, readouts = Model(experiment.model).start(weights.starts, 5), table[ids], []
    for _ in range(3):
        state, readout = think(weights.params, rows, state, question)
        readouts.append(jax.tree.map(np.asarray, readout))
    halt_above = readouts[0].q_halt.mean()
    told = program.call(question=question, puzzle_id=ids, most_steps=np.int32(3), halt_above=halt_above)
    halts = np.stack([readout.q_halt for readout in readouts]) > halt_above
    halts[-1] = True
    at = halts.argmax(axis=0)
    np.testing.assert_array_equal(told["steps"], at + 1)
    assert {1, 2} <= set(at + 1) or {1, 3} <= set(at + 1)
    for row, step in enumerate(at):
        np.testing.assert_array_equal(told["answer"][row], readouts[step].logits[row].argmax(axis=-1))
        np.testing.assert_allclose(told["q"][row], jax.nn.sigmoid(readouts[step].q_halt[row]), atol=1e-5)
