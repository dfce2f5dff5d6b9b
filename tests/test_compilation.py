"""Compiled programs are kept, where they belong, and used again."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from trm_jax.compilation import remember_programs


@pytest.fixture
def settings():
    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_the_users_cache_unless_told_otherwise(settings, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    remember_programs()
    folder = Path(jax.config.jax_compilation_cache_dir)
    assert folder.parent == tmp_path / "caches" / "trm_jax"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    remember_programs()
    assert Path(jax.config.jax_compilation_cache_dir) == tmp_path / ".cache" / "trm_jax" / folder.name
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "mine"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "mine"))
    remember_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")


def test_a_second_run_compiles_nothing_again(tmp_path):
    def run(number: int, home: Path) -> set[str]:
        sizes = ("width=16", "layers=1", "latent_steps=2", "cycles=2")
        command = [
            sys.executable, "-m", "trm_jax.cli", "train", "--config=experiments/demo.py",
            f"--workdir={tmp_path / str(number)}", *(f"--config.model.{size}" for size in sizes),
            "--config.data.train_puzzles=40", "--config.train.steps=1", "--config.train.eval_every=0",
            "--config.devices.data=1",
        ]  # fmt: skip
        environment = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        subprocess.run(command, check=True, capture_output=True, env=environment | {"XDG_CACHE_HOME": str(home)})
        return {path.name for path in home.rglob("*-cache")}

    first = run(1, tmp_path / "home")
    assert any("advance" in name for name in first)
    assert run(2, tmp_path / "home") == first
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "trm_jax").touch()  # no folder can be made there
    assert run(3, tmp_path / "locked") == set()
