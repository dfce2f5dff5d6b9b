"""Every name that the library promises has an example in its docstring, and the examples run as they stand."""

import doctest
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from untrained import leave_demo

import trm_jax as trm

# What is no more than a type of what others take or give back.
TYPES = {"Answers", "Experiment", "Moment", "TrmError", "__version__"}
# Takes a minute; tests/docs/test_library.py trains in its manner.
LONG = {"train"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which runs/demo is a model of the demo's sizes, which nobody has trained."""
    folder = tmp_path_factory.mktemp("examples")
    leave_demo(folder)
    return folder


def examples(name: str) -> list[doctest.DocTest]:
    value = getattr(trm, name)
    module = import_module(value.__module__)
    names = dict(vars(module))
    found = doctest.DocTestFinder(exclude_empty=True).find(value, name, module, globs=names)
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [name for name in trm.__all__ if name not in TYPES])
def test_examples_run_as_they_stand(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    tests = examples(name)
    assert tests, f"trm.{name} has no example"
    if name in LONG:
        return
    if name == "export":
        pytest.importorskip("flatbuffers", reason="JAX writes exported programs by flatbuffers (extra stablehlo)")
    runner = doctest.DocTestRunner(optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    for test in tests:
        told: list[str] = []
        runner.run(test, out=told.append)
        assert runner.summarize(verbose=False).failed == 0, "".join(told)


@pytest.mark.parametrize("name", [name for name in trm.__all__ if name != "__version__"])
def test_every_name_says_what_it_is(name: str) -> None:
    text = inspect.getdoc(getattr(trm, name)) or ""
    assert len(text) > 20
