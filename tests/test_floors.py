"""The house has floors: an import may go down or stay within its room, never up."""

import ast
import re
from collections.abc import Iterator

import pytest
from places import ROOT

import trm_jax

PACKAGE = ROOT / "trm_jax"

# From the ground up. What stands in one line is one room, or rooms that know nothing of each other.
FLOORS = (
    ("version", "errors", "exit_codes", "sizes", "console"),
    ("recursion",),
    ("puzzles",),
    ("experiments",),
    ("config",),
    ("model",),
    ("data",),
    ("devices",),
    ("training",),
    ("inference",),
    ("runs",),
    ("display", "exporting", "viewing"),
    ("original", "library"),
    ("commands",),
    ("__main__", "__init__"),
)
HEIGHT = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}

# The recursion is for any network: whoever wants only that takes these and nothing else of ours.
MAY_KNOW = {
    "recursion": {"recursion", "errors"},
    "puzzles": {"puzzles", "errors"},
    "experiments": {"experiments"},
}
# And what mathematics must not reach for: files, time, the terminal.
PURE = ("recursion", "model", "training", "inference")
IMPURE = {"pathlib", "shutil", "tempfile", "signal", "socket", "subprocess", "orbax", "rich"}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(source: str) -> Iterator[str]:
    """Every module that a file names in an import, those within functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the floor"
            yield node.module or ""
            if node.module == "trm_jax":
                yield from (f"trm_jax.{alias.name}" for alias in node.names if alias.name in HEIGHT)


def faults(name: str, source: str) -> list[str]:
    """What a file, named by its path in the package, imports and must not."""
    room = name.removesuffix(".py").split("/")[0]
    ours = {room_of(module) for module in imports(source) if module.split(".")[0] == "trm_jax" and "." in module}
    foreign = {module.split(".")[0] for module in imports(source)}
    bad = [f"{name} imports {other}/, which is above it" for other in sorted(ours) if HEIGHT[other] > HEIGHT[room]]
    bad += [
        f"{name} imports {other}/ on its own floor" for other in sorted(ours - {room}) if HEIGHT[other] == HEIGHT[room]
    ]
    bad += [f"{name} knows of {other}" for other in sorted(ours - MAY_KNOW.get(room, ours))]
    bad += [f"{name} uses {other}, but {room}/ is pure" for other in sorted(foreign & IMPURE) if room in PURE]
    return bad


def modules() -> dict[str, str]:
    folders = (PACKAGE, PACKAGE / "experiments")  # the second is a link, which rglob does not follow
    paths = sorted(path for folder in folders for path in folder.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in paths}


def test_no_import_runs_upwards() -> None:
    found = modules()
    assert len(found) > 80
    assert [fault for name, source in found.items() for fault in faults(name, source)] == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("recursion/chain.py", "from trm_jax.model.layers import Network"),
        ("recursion/chain.py", "def f():\n    from trm_jax import config"),
        ("recursion/chain.py", "import trm_jax.console"),
        ("puzzles/maze.py", "from trm_jax.recursion.policies import plan"),
        ("training/step.py", "from trm_jax.runs import checkpoint"),
        ("training/step.py", "from pathlib import Path"),
        ("inference/evaluate.py", "import orbax.checkpoint as ocp"),
        ("sizes.py", "from trm_jax.errors import DataError"),
        ("runs/train.py", "from trm_jax.display import pictures"),
        ("experiments/maze.py", "from trm_jax.config import experiment_from"),
    ],
)
def test_an_import_that_goes_astray_is_found(name: str, source: str) -> None:
    assert faults(name, source)


def test_every_room_has_a_floor_and_says_what_it_is_for() -> None:
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms == set(HEIGHT)
    for folder in (path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE):
        text = ast.get_docstring(ast.parse(folder.read_text()))
        assert text, f"{folder} does not say what it is for"


def test_the_map_shows_the_floors_in_order() -> None:
    """The docstring of the package, read from the top, is FLOORS read from the top."""
    mapped = re.findall(r"^    (\w+)(?:/|\.py) ", trm_jax.__doc__ or "", flags=re.MULTILINE)
    listed = [room for rooms in reversed(FLOORS) for room in rooms if room in mapped]
    assert mapped == listed
    assert {room for room in HEIGHT if (PACKAGE / room).is_dir()} <= set(mapped)
