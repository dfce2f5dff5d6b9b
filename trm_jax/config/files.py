"""Experiment files: programs whose `get_config(variant)` returns an ml_collections ConfigDict of every value.

Those that come with this package are in trm_jax/experiments, which in a checkout is a link to experiments/.
"""

import importlib.util
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from trm_jax.config.mappings import experiment_from, flat, wanted
from trm_jax.config.values import Experiment
from trm_jax.errors import ConfigError, near_miss, one_line

# Of the package itself: a folder `experiments` elsewhere is never taken for it.
FOLDER = Path(__file__).parents[1] / "experiments"
# What an experiment may leave to the data, as 0 or "".
_FROM_DATA = ("model.vocab_size", "model.seq_len", "model.num_puzzles", "model.puzzle")


def experiment(source: str, changes: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment that a file describes, with some values changed.

    Args:
      source: FILE or FILE:VARIANT, where FILE is a path, or the name of an experiment of this package, such as
        "sudoku_mlp" or "ablations/hrm".
      changes: new values by their keys, as in {"model.width": 128, "train.steps": 1_000}.

    Raises:
      ConfigError: one line that names the file or the key; typos with what was probably meant.

    >>> import trm_jax as trm
    >>> trm.experiment("sudoku_mlp", {"model.width": 128}).model.width
    128
    >>> trm.experiment("demo:6x6").data.side
    6
    """
    return changed(read(source), changes or {})


def names() -> list[str]:
    """The experiments of this package, each as `experiment` takes it."""
    files = (file.relative_to(FOLDER).with_suffix("") for file in FOLDER.rglob("*.py") if file.name != "__init__.py")
    return sorted(file.as_posix() for file in files)


@cache
def sources() -> Mapping[str, str]:
    """The experiments of this package with their variants, as `experiment` takes them, and their names."""
    told: dict[str, str] = {}
    for file in names():
        module = execute(find(file))
        told |= {f"{file}:{v}" if v else file: module.get_config(v).name for v in ("", *module.VARIANTS)}
    return told


def source_of(found: Experiment) -> tuple[str, dict[str, Any]]:
    """By which words an experiment is had: its file in this package, with the variant, and what is changed in it.

    What it left to the data is no change.

    Raises:
      ConfigError: no experiment of this package has its name.
    """
    source = next((source for source, name in sources().items() if name == found.name), None)
    if source is None:
        raise ConfigError(f"no experiment of this package is called {found.name!r}: put its file into experiments/")
    base = flat(experiment(source))
    changes = {key: value for key, value in flat(found).items() if value != base[key]}
    return source, {key: value for key, value in changes.items() if base[key] or key not in _FROM_DATA}


def find(name: str) -> Path:
    """The file of an experiment. A Python file goes before a name of ours, which may also be written with dots.

    Raises:
      ConfigError: neither; with the nearest of those that there are.
    """
    path = Path(name)
    if path.suffix == ".py" and path.is_file():
        return path
    known = names()
    ours = name.removesuffix(".py")
    ours = ours if "/" in ours else ours.replace(".", "/")
    if ours in known:
        return FOLDER / f"{ours}.py"
    near = [file.name for file in path.parent.glob("*.py") if file.name != "__init__.py"]
    raise ConfigError(f"{name}: no such Python file, {near_miss(path.name if near else ours, [*near, *known])}")


def execute(path: Path) -> ModuleType:
    """Runs a file with the rights of the user, who has named it; it may raise whatever a program raises."""
    spec = importlib.util.spec_from_file_location("experiment", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # where a dataclass looks up the types of its fields, flax modules as well
    spec.loader.exec_module(module)
    return module


def load_network(path: Path) -> None:
    """Runs a Python file that makes networks known by register_mixer.

    Raises:
      ConfigError: there is no such file, or what is wrong with it.
    """
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(f"--network={path}: no such Python file: give one that calls trm_jax.register_mixer")
    try:
        execute(path)
    except (Exception, SystemExit) as error:  # whatever the user's program raises is told as its fault
        raise ConfigError(f"--network={path}: {one_line(error)}") from error


def read(source: str) -> Any:
    """The ConfigDict that get_config of an experiment file returns; `source` as for `experiment`.

    Raises:
      ConfigError: what is wrong with the file, after the source.
    """
    from ml_collections import ConfigDict

    name, _, variant = source.partition(":")
    path = find(name)
    try:
        module = execute(path)
        config = module.get_config(variant) if variant else module.get_config()
    except Exception as error:  # the file is a program of the user's: whatever it raises is told as its fault
        raise ConfigError(f"{source}: {one_line(error)}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(f"{source}: get_config returns {config!r}: let it return an ml_collections ConfigDict")
    return config


def changed(config: Any, changes: Mapping[str, Any]) -> Experiment:
    """The experiment of a ConfigDict in which some values, by their keys, are others. What refers to them follows.

    Raises:
      ConfigError: an unknown key, or a value of the wrong type, out of range or at odds with another.
    """
    for key, value in changes.items():
        wanted(key)  # so that a key that does not exist is told as one
        group, _, name = key.rpartition(".")
        # Types are looked at below, all at once: a ConfigDict knows none but those of the values in the file.
        with config.unlocked(), config.ignore_type():
            config.update({group: {name: value}} if group else {name: value})
    return experiment_from(config.to_dict())
