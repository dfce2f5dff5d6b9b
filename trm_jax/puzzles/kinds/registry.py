"""The kinds of puzzle by name, and the texts that name them.

A kind is described by text, as in config.data.puzzle: its name where the number of cells says the rest (`sudoku`,
`maze`, `arc`, `tokens`), or else a JSON object, such as `{"kind": "maze", "shape": [20, 30]}`, which a dataset folder
keeps as puzzle.json.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.kinds.tokens import Numbers
from trm_jax.puzzles.kinds.values import shown
from trm_jax.puzzles.units import Units

KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Sudoku, Maze, Arc, Grid, Numbers)}
NAMES = tuple(KINDS)


def kind_of(puzzle: str, cells: int, rules: Rules | None = None) -> Kind:
    """The kind of puzzle that a description names, at this number of cells.

    Args:
      puzzle: as config.data.puzzle: a name, or a JSON object.
      cells: S; a name alone leaves the shape to it.
      rules: of a user's own puzzle.

    Raises:
      DataError: no such kind, no such size, or rules for a kind that has its own.
    """
    about = describe(puzzle)
    name = about["kind"]
    if cells < 1:
        raise DataError(f"{cells} cells found, but a puzzle has at least 1")
    if rules is not None and name != "grid":
        raise DataError(f"puzzles of kind {name!r} take no --rules: only those of kind 'grid' do")
    kind = KINDS[name].described(about, cells, rules)
    if kind.cells != cells:
        rows, columns = kind.shape
        raise DataError(
            f"{cells} cells found, but {puzzle} is {rows} x {columns}: change the puzzle or its description"
        )
    return kind


def describe(puzzle: str | Mapping[str, Any]) -> dict[str, Any]:
    """A description as a dictionary with the key "kind", from a name, from JSON text, or from what JSON held.

    Raises:
      DataError: no such kind, not JSON, or a key that the kind does not have.
    """
    about: Any = {"kind": puzzle} if isinstance(puzzle, str) else puzzle
    if isinstance(puzzle, str) and puzzle.lstrip().startswith("{"):
        try:
            about = json.loads(puzzle)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the description of a puzzle is not readable as JSON ({error}): give it as JSON") from None
    name = about.get("kind") if isinstance(about, Mapping) else None
    if name not in NAMES:
        raise DataError(f"{shown(name)} is no kind of puzzle: give one of {', '.join(NAMES)}")
    known = KINDS[name].keys
    for key in about:
        if key != "kind" and key not in known:
            raise DataError(f"{shown(key)} says nothing of a puzzle of kind {name!r}: known: {', '.join(known)}")
    KINDS[name].writing_of(about)  # which checks the values
    return dict(about)


def with_keys(puzzle: str, **keys: Any) -> str:
    """A description with these keys besides; DataError where the kind has none of them, or not with these values."""
    about = describe(puzzle) | keys
    describe(about)
    return json.dumps(about)


def cells_of(puzzle: str, text: str) -> int:
    """How many cells a puzzle written as text has; DataError for what no puzzle of the kind looks like."""
    about = describe(puzzle)
    return KINDS[about["kind"]].cells_of(about, text)


def of_another_kind(puzzle: str | Mapping[str, Any], text: str) -> str:
    """What is wrong with a text that is no board of a kind, but one of another; "" where it is none of any.

    Args:
      puzzle: a description of the kind; of puzzles of the user's own, whose characters may be any, nothing is said.
    """
    wanted = describe(puzzle)["kind"]
    for name in ("sudoku", "maze"):
        if wanted in (name, "grid"):
            continue
        with suppress(DataError):
            kind = kind_of(name, cells_of(name, text))
            tokens = kind.parse(text)
            if name == "sudoku":  # digits may mean anything; what a maze is written with means a maze
                kind.check_question(tokens)
            if kind.given(tokens).any():
                rows, columns = kind.shape
                return (
                    f"a puzzle of kind {name!r}, {rows} x {columns}, but {wanted!r} is needed: give puzzles of one kind"
                )
    return ""


def units_of(puzzle: str, cells: int) -> Units:
    """The units of a kind of puzzle; arguments as for `kind_of`. Raises DataError where it declares none."""
    kind = kind_of(puzzle, cells)
    if kind.units is None:
        name = kind.name
        mend = "declare some in its description, as in " + '"units": {"line": "rows columns"}' if name == "grid" else ""
        raise DataError(f"puzzles of kind {name!r} have no units: {mend or 'only Sudokus, mazes and grids have any'}")
    return kind.units
