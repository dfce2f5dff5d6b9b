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
from trm_jax.puzzles import grid, maze, sudoku
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.kinds.tokens import Numbers
from trm_jax.puzzles.text.reading import read_one
from trm_jax.puzzles.text.writing import Writing
from trm_jax.puzzles.units import Units

NAMES = ("sudoku", "maze", "arc", "grid", "tokens")


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
    if name == "sudoku":
        layout = _layout(about["box"]) if "box" in about else sudoku.layout_of_length(cells)
        kind: Kind = Sudoku(layout, about.get("legend", ""))
    elif name == "maze":
        kind = Maze(_shape(about["shape"]) if "shape" in about else maze.square_shape(cells), about.get("legend", ""))
    elif name == "arc":
        kind = Arc()
    elif name == "grid":
        kind = Grid(grid.Grid.from_dict(about), rules)
    else:
        kind = Numbers(cells)
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
        raise DataError(f"{_shown(name)} is no kind of puzzle: give one of {', '.join(NAMES)}")
    known = {
        "sudoku": ("box", "legend"),
        "maze": ("shape", "legend"),
        "grid": ("shape", "alphabet", "symmetries", "units"),
    }.get(name, ())
    for key in about:
        if key != "kind" and key not in known:
            raise DataError(f"{_shown(key)} says nothing of a puzzle of kind {name!r}: known: {', '.join(known)}")
    if name == "grid":
        grid.Grid.from_dict(about)
    if not isinstance(about.get("legend", ""), str):
        raise DataError(f"legend: {_shown(about['legend'])} is none: give the characters of the cells as a text")
    if name == "sudoku":
        _sudokus_written(about)
    if name == "maze":
        _mazes_written(about)
    return dict(about)


def with_keys(puzzle: str, **keys: Any) -> str:
    """A description with these keys besides; DataError where the kind has none of them, or not with these values."""
    about = describe(puzzle) | keys
    describe(about)
    return json.dumps(about)


def cells_of(puzzle: str, text: str) -> int:
    """How many cells a puzzle written as text has; DataError for what no puzzle of the kind looks like."""
    about = describe(puzzle)
    name = about["kind"]
    if name == "sudoku":
        return len(read_one(text, _sudokus_written(about)).cells)
    if name == "maze":
        return len(read_one(text, _mazes_written(about)).cells)
    if name == "grid":
        return grid.Grid.from_dict(about).cells
    raise DataError(
        f"puzzles of kind {name!r} do not stand in tables: use a dataset folder, or set config.data.puzzle to "
        "'sudoku', 'maze' or a grid"
    )


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


def _sudokus_written(about: Mapping[str, Any]) -> Writing:
    legend = about.get("legend", "")
    if "box" in about:
        return sudoku.writing(_layout(about["box"]), legend)
    # A legend has the blank and as many digits as the side.
    return sudoku.writing(sudoku.layout_for(len(legend) - 1) if legend else None, legend)


def _mazes_written(about: Mapping[str, Any]) -> Writing:
    return maze.writing(_shape(about["shape"]) if "shape" in about else None, about.get("legend", ""))


def _layout(box: Any) -> sudoku.Layout:
    if not isinstance(box, str):
        raise DataError(f"the box of a Sudoku is {_shown(box)}: give text such as '3x3'")
    return sudoku.layout_from(box)


def _shape(value: Any) -> tuple[int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 1000 for side in value)
    ):
        raise DataError(f"the shape of a puzzle is {_shown(value)}: give [rows, columns], each 1 to 1000")
    return value[0], value[1]


def _shown(value: Any) -> str:
    """What a file holds, short enough for a line."""
    try:
        return repr(value)[:60]
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"


def units_of(puzzle: str, cells: int) -> Units:
    """The units of a kind of puzzle; arguments as for `kind_of`. Raises DataError where it declares none."""
    kind = kind_of(puzzle, cells)
    if kind.units is None:
        name = kind.to_dict()["kind"]
        mend = "declare some in its description, as in " + '"units": {"line": "rows columns"}' if name == "grid" else ""
        raise DataError(f"puzzles of kind {name!r} have no units: {mend or 'only Sudokus, mazes and grids have any'}")
    return kind.units
