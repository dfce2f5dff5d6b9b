"""Compiled programs are kept, where they belong, and used again."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from trm_jax.devices.compilation import processor, remember_programs, repeat_on_gpus
from trm_jax.errors import ConfigError


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


@pytest.mark.slow
def test_a_second_run_compiles_nothing_again(tmp_path):
    def run(number: int, home: Path) -> set[str]:
        sizes = ("width=16", "layers=1", "latent_steps=2", "cycles=2")
        command = [
            sys.executable, "-m", "trm_jax", "train", "--config=experiments/demo.py",
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


WANTED = "--xla_gpu_deterministic_ops=true"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, WANTED),
        ("", WANTED),
        ("--xla_a=1  --xla_b", f"--xla_a=1  --xla_b {WANTED}"),
        (f" --xla_a=1 {WANTED} --xla_b", f" --xla_a=1 {WANTED} --xla_b"),
        ("--xla_gpu_deterministic_ops=false", f"--xla_gpu_deterministic_ops=false {WANTED}"),
        (f"{WANTED} --xla_gpu_deterministic_ops=false", f"{WANTED} --xla_gpu_deterministic_ops=false {WANTED}"),
        ("--xla_gpu_deterministic_ops_not=true", f"--xla_gpu_deterministic_ops_not=true {WANTED}"),
    ],
)
def test_the_flag_for_gpus_is_added_once_and_has_the_last_word(monkeypatch, before, after):
    if before is None:
        monkeypatch.delenv("XLA_FLAGS")
    else:
        monkeypatch.setenv("XLA_FLAGS", before)
    repeat_on_gpus()
    repeat_on_gpus()
    assert os.environ["XLA_FLAGS"] == after


def test_a_file_of_flags_is_left_alone(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "flags.txt")
    with pytest.raises(ConfigError, match=f"XLA_FLAGS=flags.txt is a file of them: write {WANTED} into it"):
        repeat_on_gpus()
    assert os.environ["XLA_FLAGS"] == "flags.txt"


@pytest.mark.parametrize(("words", "flags"), [([], "--xla_a=1"), (["--deterministic"], f"--xla_a=1 {WANTED}")])
def test_the_command_sets_the_flag_before_jax_is_imported(tmp_path, words, flags):
    program = """
import os, sys
from trm_jax.commands.cli import main
class Told:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            print(os.environ["XLA_FLAGS"])
            os._exit(0)
sys.meta_path.insert(0, Told())
print("before", flush=True)
main(sys.argv[1:])
"""
    command = ["train", "--config=experiments/demo.py", f"--workdir={tmp_path / 'run'}", *words]
    done = subprocess.run(
        [sys.executable, "-u", "-c", program, *command],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"XLA_FLAGS": "--xla_a=1"},
        timeout=60,
    )
    assert done.stdout == f"before\n{flags}\n"


def test_the_processor_has_a_name_that_stays():
    assert processor() == processor()
    assert processor().count("-") == 1
