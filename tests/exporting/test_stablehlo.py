"""A program as StableHLO: it says what the model says, old files stay readable, and what is damaged is refused."""

import json
import sys

import numpy as np
import pytest
from places import TESTDATA

from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.exporting import stablehlo

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
    assert b".py" not in KEPT.read_bytes()


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
