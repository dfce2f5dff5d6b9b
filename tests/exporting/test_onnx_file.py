"""An ONNX file says what it is, passes ONNX's own checker, and is refused once a byte of it has changed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from exporting.running import needs

from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.exporting import export, onnx_file
from trm_jax.exporting.program import Port, Program

ABOUT = {"made_by": "a test", "alphabet": [".", "é"]}


@pytest.fixture(scope="module")
def data() -> bytes:
    needs(".onnx")
    given, made = Port("given", "float32", ("B", 2), ""), Port("made", "float32", ("B", 2), "")
    return onnx_file.to_bytes(Program("step", lambda given: {"made": 2 * given}, (given,), (made,)), ABOUT)


def test_it_is_an_onnx_model_that_tells_what_it_is(data, tmp_path):
    import onnx
    import onnxruntime

    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    about, read = onnx_file.read(path)
    assert (about, read) == (ABOUT, data)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [prop.key for prop in model.metadata_props] == ["trm_jax", "sha256"]
    assert [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim] == ["B", 2]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map.keys() == {"trm_jax", "sha256"}
    (made,) = session.run(None, {"given": np.ones((3, 2), np.float32)})
    assert (made == 2).all()


@pytest.mark.parametrize("place", [0, 40, -100, -70, -1])
def test_what_was_changed_is_refused(place, data, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    changed = bytearray(data)
    changed[place] ^= 1
    for damaged in (bytes(changed), data[:place], data + b"\0", data[-76:], b""):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="is damaged, or no file that `trm export` has written") as caught:
            onnx_file.read(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        onnx_file.read(tmp_path / "none.onnx")


def test_what_it_needs_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for asked in (
        lambda: onnx_file.to_bytes(Program("step", lambda given: {}, (), ()), ABOUT),
        lambda: export.check(Path("model.onnx"), "solve", "int8", calibrated=True),
    ):
        with pytest.raises(ConfigError, match=r"needs onnx: pip install \"trm_jax\[onnx\]\""):
            asked()
