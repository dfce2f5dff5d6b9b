"""The files of the page that solves puzzles (site/solver): its sources, ONNX Runtime, and models."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_jax.errors import ConfigError, StorageError, first_line

_SOURCES = Path(__file__).parent / "solver"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".onnx": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
}
# Where `npm install` puts the runtime, seen from where it was called; and where `make solver` has it.
_PLACES = Path("node_modules/onnxruntime-web/dist"), Path("build/runtime/node_modules/onnxruntime-web/dist")
# Those that site/solver/core/kinds.js knows.
_KINDS = "sudoku", "maze"
# Not for the page, but for us.
_PIN = "runtime.json"


@dataclass(frozen=True)
class File:
    """What a browser gets: bytes, and their media type."""

    data: bytes
    type: str


@dataclass(frozen=True)
class Model:
    """A model that the page offers.

    name: in the page's address, so that each has another.
    about: its metadata, as docs/export.md has them.
    data: the program `step` as ONNX.
    """

    name: str
    about: Mapping[str, Any]
    data: bytes


@dataclass(frozen=True)
class Pin:
    """The runtime that the page was tried with: an npm package, its version, and the SHA-256 of each of its files."""

    package: str
    version: str
    files: Mapping[str, str]


def pin() -> Pin:
    """As site/solver/runtime.json has it."""
    return Pin(**json.loads((_SOURCES / _PIN).read_text()))


def check(puzzle: Mapping[str, Any], of: str) -> None:
    """Raises ConfigError for a kind of puzzle that the page cannot show. of: the model, as it was named."""
    if puzzle["kind"] not in _KINDS:
        raise ConfigError(
            f"{of}: the page shows Sudokus and mazes, and this model's puzzles are of kind {puzzle['kind']!r}"
        )


def runtime(folder: Path | None) -> dict[str, bytes]:
    """The files of the pinned runtime, by name.

    Args:
      folder: where they lie; None: where npm puts them, below the folder in which one is.

    Raises:
      ConfigError: they are not there, or are others.
    """
    wanted = pin()
    package = f"{wanted.package}@{wanted.version}"
    places = (folder,) if folder else _PLACES
    place = next((place for place in places if all((place / name).is_file() for name in wanted.files)), None)
    if place is None:
        where = folder or "the folder node_modules"
        raise ConfigError(
            f"{where} does not hold the runtime of the page: run `npm install --ignore-scripts {package}` here, "
            "or name its folder `dist` by --runtime"
        )
    found = {name: (place / name).read_bytes() for name in wanted.files}
    for name, data in found.items():
        if hashlib.sha256(data).hexdigest() != wanted.files[name]:
            raise ConfigError(f"{place / name} is not of {package}, for which the page was made: install that version")
    return found


def files(models: Sequence[Model], runtime: Mapping[str, bytes], offline: bool) -> dict[str, File]:
    """All files of the page, by their paths from it; index.html is the page.

    Args:
      models: what is offered; the first is chosen at first.
      runtime: as the function of this name gives it.
      offline: whether the browser is to keep the files, and show the page from them where there is no network.
    """
    sources = {path.relative_to(_SOURCES).as_posix(): path for path in sorted(_SOURCES.rglob("*")) if path.is_file()}
    data = {path: source.read_bytes() for path, source in sources.items() if path != _PIN}
    if not offline:
        del data["offline.js"]
    data |= {f"runtime/{file}": each for file, each in runtime.items()}
    places = [f"models/{number}.onnx" for number in range(len(models))]
    data |= {place: model.data for place, model in zip(places, models, strict=True)}
    kept = [path for path in data if path != "offline.js"]
    offered = [
        {"name": model.name, "about": model.about, "file": place} for place, model in zip(places, models, strict=True)
    ]
    settings = {"models": offered, "offline": offline, "files": [*kept, "page.json"]}
    data["page.json"] = json.dumps(settings).encode()
    return {path: File(each, _TYPES[Path(path).suffix]) for path, each in data.items()}


def save(files: Mapping[str, File], folder: Path) -> None:
    """Writes the files into a new folder. Raises StorageError where that fails."""
    try:
        for path, file in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(file.data)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or first_line(error)}") from error
