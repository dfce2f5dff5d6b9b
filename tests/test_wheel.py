"""A wheel holds the package with its experiments and nothing else, and works where there is no repository."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from places import ROOT

from trm_jax.version import VERSION


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without a network from a copy, where no earlier build has left anything."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("trm_jax", "experiments", "benchmarks", "site", "tests"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", folder / "dist", folder], check=True, cwd=folder)
    (built,) = (folder / "dist").iterdir()
    return built


def test_a_wheel_holds_the_package_with_its_experiments_and_nothing_else(wheel: Path) -> None:
    assert wheel.name == f"trm_jax-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.endswith("/")}
        about = f"trm_jax-{VERSION}.dist-info/"
        entries = archive.read(f"{about}entry_points.txt").decode()
        metadata = archive.read(f"{about}METADATA").decode()

    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trm_jax").rglob("*.py")}
    sources |= {f"trm_jax/{path.relative_to(ROOT)}" for path in (ROOT / "experiments").rglob("*.py")}
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "trm_jax" / "pretrained").iterdir()}
    page = ROOT / "site" / "solver"
    shipped |= {f"trm_jax/viewing/solver/{path.relative_to(page)}" for path in page.rglob("*.*") if path.is_file()}
    assert "trm_jax/pretrained/sudoku-extreme.safetensors" in shipped
    assert "trm_jax/viewing/solver/core/text/reading.js" in shipped
    assert {"trm_jax/experiments/sudoku_mlp.py", "trm_jax/experiments/ablations/hrm.py"} <= sources
    assert {name for name in held if not name.startswith(about)} == sources | shipped | {"trm_jax/py.typed"}
    assert f"{about}licenses/LICENSE" in held
    assert entries.split() == ["[console_scripts]", "trm", "=", "trm_jax.__main__:run"]
    assert "\nLicense-File: LICENSE\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata


def run(command: Sequence[str | Path], folder: Path, code: int = 0) -> str:
    """What a command prints, started in a folder without any of this process's paths and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "JAX_COMPILATION_CACHE_DIR") if name in os.environ}
    settings = {"JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(command, cwd=folder, env=kept | settings, capture_output=True, text=True, timeout=600)
    assert done.returncode == code, (command, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the commands of a fresh environment: the wheel, and what is installed here, but not this tree."""
    folder = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / "bin" / "python"
    own = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip())
    # A .pth of a folder that a .pth names is not read: so an editable installation of this tree stays outside.
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, "--ignore-installed", wheel], folder)
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_works_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    trm = installed / "trm"

    where = run([installed / "python", "-c", "import trm_jax.experiments as e; print(e.__file__)"], tmp_path)
    assert Path(where).is_relative_to(installed.parent)
    finding = "import importlib.util as u; print(u.find_spec('experiments'), u.find_spec('benchmarks'))"
    assert run([installed / "python", "-c", finding], tmp_path) == "None None\n"
    assert run([trm, "--version"], tmp_path) == f"trm_jax {VERSION}\n"
    assert run([installed / "python", "-m", "trm_jax", "--version"], tmp_path) == f"trm_jax {VERSION}\n"
    assert "trained by AdamATan2" in run([trm, "estimate", "--config=sudoku_mlp:smoke"], tmp_path)
    wrong = [trm, "estimate", "--config=ablations/hrm", "--config.model.width=500"]
    assert "config.model.width = 500" in run(wrong, tmp_path, code=2)  # so it is found, and read
    assert list(tmp_path.iterdir()) == []

    assert "exact accuracy on" in run([trm, "demo", "--variant=smoke", "--workdir=demo"], tmp_path)
    assert (tmp_path / "demo" / "report.json").is_file()
    solving = "import trm_jax as trm; print(trm.load('demo').solve('.21. ...4 .... .1..').digits.shape)"
    assert "(4, 4)" in run([installed / "python", "-c", solving], tmp_path)
