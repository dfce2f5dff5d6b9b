"""Experiment files: found by path or by name, run beside ours, and changed by keys."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trm_jax.config.files import FOLDER, changed, experiment, find, names, read, source_of, sources
from trm_jax.errors import ConfigError

MINE = """
from ml_collections import ConfigDict
from trm_jax.experiments import sudoku_mlp

def get_config(variant=""):
    config = sudoku_mlp.get_config()
    config.name = "mine" + variant
    return config
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, of somebody who has a file demo.py and a package `experiments` of his own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "demo.py").write_text(MINE)
    (tmp_path / "demo").mkdir()
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "__init__.py").write_text("raise RuntimeError('not ours')")
    (tmp_path / "experiments" / "sudoku_mlp.py").write_text("raise RuntimeError('not ours')")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sudoku_mlp", "sudoku_mlp.py"),
        ("sudoku_mlp.py", "sudoku_mlp.py"),
        ("demo", "demo.py"),
        ("ablations/hrm", "ablations/hrm.py"),
        ("ablations/hrm.py", "ablations/hrm.py"),
        ("ablations.hrm", "ablations/hrm.py"),
    ],
)
def test_an_experiment_of_ours_is_found_by_name(name: str, file: str) -> None:
    assert find(name) == FOLDER / file


def test_a_path_goes_before_a_name(folder: Path) -> None:
    assert find("demo.py").resolve() == folder / "demo.py"
    assert experiment("demo.py").name == "mine"
    assert experiment("demo.py:5").name == "mine5"
    assert experiment("demo").name == "demo"


@pytest.mark.usefixtures("folder")
def test_a_file_imports_our_experiments_whatever_else_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trm_jax.experiments", raising=False)
    monkeypatch.delitem(sys.modules, "trm_jax.experiments.sudoku_mlp", raising=False)

    assert experiment("demo.py").model == experiment("sudoku_mlp").model
    assert sys.modules["trm_jax.experiments.sudoku_mlp"].__file__ == str(FOLDER / "sudoku_mlp.py")
    assert "experiments" not in sys.modules


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sudoku_mpl", "sudoku_mpl: no such Python file, did you mean 'sudoku_mlp'?"),
        ("dmeo.py", "dmeo.py: no such Python file, did you mean 'demo.py'?"),
        ("ablations/hmr", "ablations/hmr: no such Python file, did you mean 'ablations/hrm'?"),
        ("nowhere/x.py", "nowhere/x.py: no such Python file, known: ablations/continue_head, "),
        ("experiments", "experiments: no such Python file, "),
        ("../experiments/demo", "../experiments/demo: no such Python file, "),
        ("", ": no such Python file, "),
    ],
)
def test_what_is_neither_is_told_with_what_is_near(name: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(name)

    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_names_are_those_of_the_files() -> None:
    found = names()

    assert {"demo", "arc1", "ablations/hrm"} <= set(found)
    assert all(find(name) == FOLDER / f"{name}.py" for name in found)
    assert not any("__init__" in name for name in found)


def test_changes_are_by_key() -> None:
    base, other = experiment("demo"), experiment("demo", {"model.width": 128, "name": "wide", "optim.beta1": 0})

    assert (other.model.width, other.name, other.optim.beta1, type(other.optim.beta1)) == (128, "wide", 0.0, float)
    assert (base.model.width, base.name) != (128, "wide")
    assert other.data == base.data


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model.witdh": 1}, "config.model.witdh is unknown: did you mean 'width'?"),
        ({"modle.width": 1}, "config.modle is unknown: did you mean 'model'?"),
        ({"model": 3}, "config.model is a group of values: give config.model.KEY=VALUE"),
        ({"model.width.x": 3}, "config.model.width.x is unknown: config.model.width is one value, not a group"),
        ({"model.width": "128"}, "config.model.width = '128' is of type str: give a whole number"),
        ({"model.width": {"x": 1}}, "config.model.width = {'x': 1} is of type dict: give a whole number"),
        ({"model.width": None}, "config.model.width = None is of type NoneType: give a whole number"),
        ({"data.augment": 1}, "config.data.augment = 1 is of type int: give True or False"),
        ({"model.mixer": "mlpp"}, "config.model.mixer = 'mlpp' is unknown: give one of 'attention', 'mlp'"),
        ({"train.steps": 0}, "config.train.steps = 0 is out of range: give a value from 1 to"),
    ],
)
def test_wrong_changes_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment("demo", changes)

    assert str(caught.value).startswith(expected)


def test_what_refers_to_a_changed_value_follows_it_and_what_a_file_leaves_out_can_be_given() -> None:
    from ml_collections import ConfigDict

    config = ConfigDict({"optim": {"learning_rate": 1}})
    config.optim.puzzle_learning_rate = config.optim.get_ref("learning_rate")
    config.lock()

    found = changed(config, {"optim.learning_rate": 0.5, "model.width": 64, "optim.beta1": 0.5})

    assert (found.optim.learning_rate, found.optim.puzzle_learning_rate) == (0.5, 0.5)
    assert (found.model.width, found.optim.beta1) == (64, 0.5)


def test_what_a_file_raises_is_told_after_its_name() -> None:
    with pytest.raises(ConfigError, match=r"^demo:7x7: unknown variant '7x7' of the experiment: there are 6x6, 9x9, "):
        read("demo:7x7")


def test_the_words_by_which_an_experiment_is_had_give_it_again() -> None:
    for source, changes in (
        ("demo", {}),
        ("demo:6x6", {"train.seed": 3}),
        ("ablations/hrm:smoke", {"optim.clip": 0.5, "data.train": "x.csv"}),
        ("own_puzzle", {"data.puzzle": "sudoku"}),
        ("sudoku_extreme:single", {"model.width": 16}),
    ):
        made = experiment(source, changes)
        assert source_of(made) == (source, changes)
        # What the data has filled in is no change.
        filled = replace(made, model=replace(made.model, seq_len=made.model.seq_len or 9))
        assert source_of(filled) == (source, changes)


def test_no_two_experiments_share_a_name_unless_they_are_the_same() -> None:
    by_name: dict[str, list[str]] = {}
    for source, name in sources().items():
        by_name.setdefault(name, []).append(source)
    for alike in by_name.values():
        assert all(experiment(source) == experiment(alike[0]) for source in alike[1:]), alike
    assert {name.partition(":")[0] for name in sources()} == {*names()}


def test_an_experiment_of_ones_own_is_had_by_no_words() -> None:
    with pytest.raises(ConfigError, match="no experiment of this package is called 'own'"):
        source_of(replace(experiment("demo"), name="own"))
