"""The programs on docs/export.md run as they stand."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from places import ROOT, TESTDATA, module_at

import trm_jax as trm

PAGE = (ROOT / "docs" / "export.md").read_text()


def program(about: str) -> str:
    """The one that imports this."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if f"import {about}" in block)
    assert "import trm" not in found
    return found


def run(about: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the present folder."""
    path = Path("exported_program.py").resolve()
    path.write_text(program(about))
    monkeypatch.delitem(sys.modules, path.stem, raising=False)
    module_at(path)


def check_told(out: str) -> None:
    answer, q = out.split()
    assert len(answer) == 16
    assert 0 < float(q) < 1


def test_stablehlo_is_read_without_this_package(tmp_path, monkeypatch, capsys):
    pytest.importorskip("flatbuffers", reason="JAX reads exported programs by flatbuffers (extra stablehlo)")
    shutil.copy(TESTDATA / "exports" / "solve_1.stablehlo", tmp_path / "demo.stablehlo")
    monkeypatch.chdir(tmp_path)
    run("jax.export", monkeypatch)
    check_told(capsys.readouterr().out)
    (tmp_path / "demo.stablehlo").write_bytes((tmp_path / "demo.stablehlo").read_bytes()[:-1])
    with pytest.raises(SystemExit, match=r"demo\.stablehlo is damaged"):
        run("jax.export", monkeypatch)


def test_onnx_is_read_without_this_package(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnx", reason="ONNX is written by the package onnx (extra onnx)")
    pytest.importorskip("onnxruntime", reason="what is written as ONNX is run by onnxruntime (extra dev)")
    monkeypatch.chdir(tmp_path)
    trm.export("sudoku-4x4", "demo.onnx")
    run("onnxruntime", monkeypatch)
    told = capsys.readouterr().out
    check_told(told)
    assert told.startswith("4213132424313142 ")
