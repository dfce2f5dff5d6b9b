"""The page is made of files that are all there, ask for nothing from elsewhere, and agree with each other."""

import json
import re
from pathlib import Path

import pytest
from places import ROOT

from trm_jax.errors import ConfigError, StorageError
from trm_jax.viewing import page, server

SOURCES = ROOT / "site" / "solver"
ABOUT = {"puzzle": {"kind": "sudoku", "box": "2x2"}}
RUNTIME = {name: name.encode() for name in page.pin().files}


def made(offline: bool = True) -> dict[str, page.File]:
    return page.files([page.Model(name, ABOUT, name.encode()) for name in ("mine", "other")], RUNTIME, offline)


def test_all_that_the_page_asks_for_is_there() -> None:
    files = made()
    asked = set()
    for path, file in files.items():
        text = file.data.decode()
        here = Path(path).parent
        found = re.findall(r'(?:\bfrom |\bimport )"(\.[^"]+)"|(?:src|href)="([^"]+)"', text)
        if path.endswith((".js", ".html")):
            asked |= {str((SOURCES / here / (one or other)).resolve().relative_to(SOURCES)) for one, other in found}
    assert {"page.js", "style.css", "icon.svg", "core/search.js", "core/text/forms.js"} <= asked
    asked |= {
        "worker.js",
        "offline.js",
        "models/0.onnx",
        "models/1.onnx",
        "page.json",
        "index.html",
        "runtime/ort-wasm-simd-threaded.wasm",
    }
    assert asked | {f"runtime/{name}" for name in RUNTIME} == set(files)


def test_no_source_names_another_host() -> None:
    for path in SOURCES.rglob("*.*"):
        hosts = set(re.findall(r"\w+://[^\s\"']+", path.read_text()))
        assert hosts <= {"http://www.w3.org/2000/svg"}, path


def test_settings_tell_the_model_and_which_files_to_keep() -> None:
    files = made()
    settings = json.loads(files["page.json"].data)
    assert settings["models"] == [
        {"name": "mine", "about": ABOUT, "file": "models/0.onnx"},
        {"name": "other", "about": ABOUT, "file": "models/1.onnx"},
    ]
    assert files["models/1.onnx"].data == b"other"
    assert set(settings["files"]) == set(files) - {"offline.js"}
    assert files["runtime/ort-wasm-simd-threaded.wasm"].type == "application/wasm"

    files = made(offline=False)
    assert "offline.js" not in files
    assert json.loads(files["page.json"].data)["offline"] is False


def test_the_page_and_the_server_have_one_policy() -> None:
    match = re.search(r'Content-Security-Policy" content="([^"]+)"', (SOURCES / "index.html").read_text())
    assert match
    assert f"{match[1]}; frame-ancestors 'none'" == server._HEADERS["Content-Security-Policy"]
    assert "unsafe-inline" not in match[1]


def test_the_runtime_is_pinned_once() -> None:
    pin = page.pin()
    wanted = json.loads((ROOT / "site" / "runtime" / "package.json").read_text())["dependencies"]
    locked = json.loads((ROOT / "site" / "runtime" / "package-lock.json").read_text())["packages"]
    assert wanted == {pin.package: pin.version}
    assert locked[f"node_modules/{pin.package}"]["version"] == pin.version
    assert locked[f"node_modules/{pin.package}"]["integrity"].startswith("sha512-")


def test_a_runtime_that_is_missing_or_another_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"node_modules does not hold .* `npm install --ignore-scripts onnxruntime-web@"
    ):
        page.runtime(None)
    with pytest.raises(ConfigError, match="does not hold the runtime"):
        page.runtime(tmp_path)
    folder = tmp_path / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name in page.pin().files:
        (folder / name).write_bytes(b"other")
    with pytest.raises(ConfigError, match=r"ort\.wasm\.min\.mjs is not of onnxruntime-web@"):
        page.runtime(None)


def test_other_kinds_are_refused_in_one_line() -> None:
    page.check({"kind": "sudoku", "box": "3x3"}, "mine")
    page.check({"kind": "maze", "shape": [11, 11]}, "mine")
    with pytest.raises(
        ConfigError, match="mine: the page shows Sudokus and mazes, and this model's puzzles are of kind 'arc'"
    ):
        page.check({"kind": "arc"}, "mine")


def test_the_page_is_saved_as_files(tmp_path: Path) -> None:
    files = made()
    page.save(files, tmp_path / "page")
    for path, file in files.items():
        assert (tmp_path / "page" / path).read_bytes() == file.data
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        page.save(files, tmp_path / "file")
