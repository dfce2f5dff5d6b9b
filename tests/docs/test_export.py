"""The programs on docs/export.md run as they stand."""

import re
import shutil

import pytest
from places import ROOT, TESTDATA

PAGE = (ROOT / "docs" / "export.md").read_text()


def test_the_reader_reads_without_this_package(tmp_path, monkeypatch, capsys):
    pytest.importorskip("flatbuffers", reason="JAX reads exported programs by flatbuffers (extra stablehlo)")
    (source,) = (
        block for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE) if "jax" in block
    )
    assert "trm" not in source
    shutil.copy(TESTDATA / "exports" / "solve_1.stablehlo", tmp_path / "demo.stablehlo")
    monkeypatch.chdir(tmp_path)
    exec(source, {})
    answer, q = capsys.readouterr().out.split()
    assert len(answer) == 16
    assert 0 < float(q) < 1
    damaged = (tmp_path / "demo.stablehlo").read_bytes()[:-1]
    (tmp_path / "demo.stablehlo").write_bytes(damaged)
    with pytest.raises(SystemExit, match=r"demo\.stablehlo is damaged"):
        exec(source, {})
