"""What our Python files never do: unpickle, run text as code or as a shell's command, unpack archives, or listen."""

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

# Modules that make objects, or run programs, of what they read.
MODULES = {
    "pickle", "_pickle", "cPickle", "pickletools", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle",
    "runpy", "code", "codeop", "pty",
}  # fmt: skip
# Functions, by their whole names.
FUNCTIONS = {
    *(f"builtins.{name}" for name in ("eval", "exec", "__import__")),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all")),
    *(f"os.{name}" for name in ("system", "popen", "startfile")),
    *("os." + kind + end for kind in ("exec", "spawn") for end in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")),
    *(f"subprocess.{name}" for name in ("getoutput", "getstatusoutput")),
    *(f"pandas.{name}" for name in ("read_pickle", "eval")),
    "asyncio.create_subprocess_shell", "shutil.unpack_archive",
}  # fmt: skip
# Methods of whatever object.
METHODS = {"exec_module", "load_module", "extractall", "read_pickle", "to_pickle"}
# Keyword -> the only value that it may have.
KEYWORDS = {"weights_only": True, "allow_pickle": False, "shell": False}
# Function -> the keyword without which it may unpickle, in some version.
NEEDED = {
    "torch.load": "weights_only", "numpy.load": "allow_pickle", "numpy.lib.format.read_array": "allow_pickle",
    "numpy.lib.npyio.NpzFile": "allow_pickle",
}  # fmt: skip
# Programs of the user's, run since the user names them as such: (file, function, what).
EXCEPTIONS = {
    ("trm_jax/config/files.py", "execute", "exec_module"),  # --config=FILE
    ("trm_jax/data/user_rules.py", "load_rules", "exec_module"),  # --rules FILE
}


class Walker(ast.NodeVisitor):
    """Collects (function, what) for whatever of the above a module has; functions are "" at the top."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._functions: list[str] = []
        self._names = {name: f"builtins.{name}" for name in ("eval", "exec", "__import__", "getattr")}

    def tell(self, what: str) -> None:
        self.found.append((".".join(self._functions), what))

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported(alias.name)
            self._names[alias.asname or alias.name.partition(".")[0]] = (
                alias.name if alias.asname else alias.name.partition(".")[0]
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or node.module is None:
            return
        self.imported(node.module)
        for alias in node.names:
            whole = f"{node.module}.{alias.name}"
            self._names[alias.asname or alias.name] = whole
            self.imported(whole)
            if alias.name == "*" and any(name.startswith(f"{node.module}.") for name in FUNCTIONS):
                self.tell(whole)

    def imported(self, module: str) -> None:
        if module.partition(".")[0] in MODULES or module in FUNCTIONS:
            self.tell(module)

    def whole(self, node: ast.expr) -> str:
        """The whole name of what a name or a chain of attributes stands for; "" for anything else."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, "")
        if isinstance(node, ast.Attribute) and (base := self.whole(node.value)):
            return f"{base}.{node.attr}"
        return ""

    def visit_Name(self, node: ast.Name) -> None:
        # Also where it is not called: it may get another name. Imports were told.
        if (whole := self.whole(node)) in FUNCTIONS and whole.startswith("builtins."):
            self.tell(whole)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self.whole(node) in FUNCTIONS:
            self.tell(self.whole(node))
        elif node.attr in METHODS:
            self.tell(node.attr)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        whole = self.whole(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        for name, only in KEYWORDS.items():
            value = given.get(name)
            if value is not None and not (isinstance(value, ast.Constant) and value.value is only):
                self.tell(f"{name}={ast.unparse(value)}")
        if whole in NEEDED and NEEDED[whole] not in given:
            self.tell(f"{whole} without {NEEDED[whole]}")
        words = [word.value for word in node.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if whole in ("importlib.import_module", "builtins.getattr"):
            base = self.whole(node.args[0]) + "." if whole == "builtins.getattr" else ""
            for word in words:
                if base + word in FUNCTIONS or word in METHODS or (not base and word.partition(".")[0] in MODULES):
                    self.tell(base + word)
        self.generic_visit(node)


def unsafe(text: str) -> list[tuple[str, str]]:
    walker = Walker()
    walker.visit(ast.parse(text))
    return walker.found


def our_files() -> Iterator[Path]:
    """All Python files of the repository, tracked or not; what is installed lies in hidden folders."""
    for folder, inside, files in os.walk(ROOT):
        ours = (name for name in inside if name == ".ci" or not name.startswith("."))
        inside[:] = [name for name in ours if name not in ("build", "__pycache__")]
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def test_our_files_hold_nothing_unsafe_but_the_users_own_programs() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), *each) for path in our_files() for each in unsafe(path.read_text("utf-8"))
    }
    assert found == EXCEPTIONS


def test_all_our_files_are_looked_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in our_files()}
    assert {
        "trm_jax/runs/checkpoint.py", "trm_jax/data/builders/arc.py", "experiments/ablations/hrm.py",
        "benchmarks/reference.py", "tests/conftest.py",
    } <= names  # fmt: skip
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, check=True).stdout
        assert {name for name in listed.decode().split("\0") if name and (ROOT / name).exists()} <= names


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("import pickle", "pickle"),
        ("import pickle as p", "pickle"),
        ("import os, marshal", "marshal"),
        ("import joblib.numpy_pickle", "joblib.numpy_pickle"),
        ("from pickle import loads as parse", "pickle"),
        ("from six.moves import cPickle", None),
        ("from dill import load", "dill"),
        ("def f():\n    import shelve", "shelve"),
        ("import importlib\nimportlib.import_module('pickle')", "pickle"),
        ("from importlib import import_module as get\nget('dill.source')", "dill.source"),
        ("__import__('pickle')", "builtins.__import__"),
        ("eval(text)", "builtins.eval"),
        ("run = exec", "builtins.exec"),
        ("import builtins\nbuiltins.eval(text)", "builtins.eval"),
        ("import builtins as b\nb.exec(text)", "builtins.exec"),
        ("from builtins import eval as value", "builtins.eval"),
        ("import builtins\ngetattr(builtins, 'exec')(text)", "builtins.exec"),
        ("import yaml\nyaml.load(file)", "yaml.load"),
        ("import yaml as y\ny.load(file, y.SafeLoader)", "yaml.load"),
        ("from yaml import unsafe_load", "yaml.unsafe_load"),
        ("from yaml import *", "yaml.*"),
        ("import yaml\nyaml.safe_load(file)", None),
        ("import os\nos.system('ls')", "os.system"),
        ("import os as o\ncall = o.popen", "os.popen"),
        ("import os.path\nos.system('ls')", "os.system"),
        ("from os import system", "os.system"),
        ("from os import *", "os.*"),
        ("from os import path", None),
        ("import os\nos.execvp(name, words)", "os.execvp"),
        ("import os\ngetattr(os, 'system')('ls')", "os.system"),
        ("import subprocess\nsubprocess.run('ls', shell=True)", "shell=True"),
        ("import subprocess\nsubprocess.run('ls', shell=wanted)", "shell=wanted"),
        ("import subprocess\nsubprocess.run(['ls'], shell=False)", None),
        ("import subprocess\nsubprocess.getoutput('ls')", "subprocess.getoutput"),
        ("import torch\ntorch.load(path, weights_only=False)", "weights_only=False"),
        ("import torch\ntorch.load(path)", "torch.load without weights_only"),
        ("from torch import load as read\nread(path)", "torch.load without weights_only"),
        ("import torch\ntorch.load(path, weights_only=True)", None),
        ("import numpy as np\nnp.load(path, allow_pickle=True)", "allow_pickle=True"),
        ("import numpy as np\nnp.load(path, allow_pickle=1)", "allow_pickle=1"),
        ("import numpy as np\nnp.load(path)", "numpy.load without allow_pickle"),
        ("from numpy import load\nload(path, **words)", "numpy.load without allow_pickle"),
        ("import numpy\nnumpy.load(path, allow_pickle=False)", None),
        ("import pandas as pd\npd.read_pickle(path)", "pandas.read_pickle"),
        ("archive.extractall()", "extractall"),
        ("spec.loader.exec_module(module)", "exec_module"),
        ("class A:\n    async def f(self):\n        eval(text)", "builtins.eval"),
        ("model.eval()", None),
        ("import jax\njax.eval_shape(f)", None),
        ("'eval(text)'  # exec(text)", None),
        ("def evaluate(exec_): return exec_", None),
    ],
)
def test_the_walker_finds_what_is_planted(text: str, what: str | None) -> None:
    found = [each for _, each in unsafe(text)]
    assert found[:1] == ([] if what is None else [what])


def test_the_walker_tells_the_function() -> None:
    assert unsafe("def outer():\n    class In:\n        def f(self):\n            eval(t)\neval(t)") == [
        ("outer.In.f", "builtins.eval"),
        ("", "builtins.eval"),
    ]


CONFIG = """
from ml_collections import ConfigDict

def get_config():
    return ConfigDict({
        "name": "quiet",
        "model": {"width": 16, "mixer": "mlp", "positions": "none", "puzzle_dim": 0, "puzzle_tokens": 0, "layers": 1,
                  "latent_steps": 1, "cycles": 1, "supervision_steps": 2, "dtype": "float32"},
        "data": {"puzzle": "sudoku", "side": 4, "train": "generated", "train_puzzles": 50},
        "train": {"steps": 1_000_000, "batch_size": 8, "log_every": 1, "eval_every": 0, "save_every": 0},
        "devices": {"data": 1},
    })
"""


def listening(pid: int) -> list[str]:
    """Addresses, as /proc has them, at which a process listens."""
    home = Path("/proc", str(pid))
    own = {os.readlink(link) for link in (home / "fd").iterdir() if os.path.lexists(link)}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in (home / "net" / kind).read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own]


@pytest.mark.slow  # tests/devices/test_cluster.py looks at one that does not train
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="sockets are looked up in /proc")
def test_a_process_that_trains_alone_listens_nowhere(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert listening(os.getpid())  # the test itself can see
    (tmp_path / "config.py").write_text(CONFIG)
    words = ["-m", "trm_jax", "train", f"--config={tmp_path}/config.py", f"--workdir={tmp_path}/run"]
    own = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1", "PYTHONPATH": str(ROOT)}
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM_", "OMPI_", "PMIX_"))}
    with subprocess.Popen([sys.executable, *words], env=clean | own, stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 100
            figures = tmp_path / "run" / "metrics.jsonl"
            seen = []
            while not figures.exists() or figures.read_bytes().count(b"\n") < 3:
                assert time.monotonic() < deadline
                assert process.poll() is None, process.communicate()[1]
                seen += listening(process.pid)
                time.sleep(0.05)
            seen += listening(process.pid)
            process.send_signal(signal.SIGTERM)
            _, told = process.communicate(timeout=60)
        finally:
            process.kill()
    assert seen == []
    assert process.returncode == 75, told
