"""Mazes in the form of the public Maze-Hard data: text, shortest paths, and checks of puzzles and answers.

A maze is a flat int8 array of tokens [cells] in row order: 1 wall '#', 2 free ' ', 3 start 'S', 4 goal 'G',
5 path 'o'; 0 is padding. Steps go down, left, right and up between cells that are not walls.
"""

from collections import deque
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.faults import Faults, changed_clues, counted
from trm_jax.puzzles.grid import Grid
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.text.reading import plain_values, read_one
from trm_jax.puzzles.text.writing import Shape, Sizes, Writing, check_legend

Maze = NDArray[np.int8]

CHARACTERS = "# SGo"
_NAMES = ("wall", "free", "start", "goal", "path")
VOCAB_SIZE = len(CHARACTERS) + 1
WALL, FREE, START, GOAL, PATH = range(1, VOCAB_SIZE)


def square_shape(cells: int) -> Shape:
    """(side, side) of a square of this many cells; DataError when there is none."""
    side = isqrt(cells)
    if side * side != cells or not cells:
        raise DataError(f"{cells} cells found, which is not a square: add or remove some, or give the shape")
    return side, side


def grid(shape: Shape) -> Grid:
    """Mazes as grids of characters, with the symmetries that keep shortest paths: all that the shape allows."""
    return Grid(shape, CHARACTERS, "dihedral" if shape[0] == shape[1] else "rot180 fliplr flipud")


@lru_cache(64)
def writing(shape: Shape | None, legend: str = "") -> Writing:
    """How mazes are written: a character for each cell, a space among them, so that nothing is decoration.

    Args:
      shape: None for a square of any size.
      legend: the characters of wall, free, start, goal and path, instead of "# SGo".

    Raises:
      DataError: a legend of another length, or with a character twice; a shape without cells.
    """
    characters = legend or CHARACTERS
    check_legend(characters, len(CHARACTERS), "those of wall, free, start, goal and path")
    names = [f"{char!r} {name}" for char, name in zip(characters, _NAMES, strict=True)]
    other = "" if legend else "; for other characters give --legend, as #.SG*"
    if shape is None:
        sizes = Sizes("maze", square_shape)
    else:
        _check_shape(shape, "maze")
        sizes = Sizes.only("maze", shape, f"a maze of {shape[0]} x {shape[1]} is needed")
    signs = {char: token for token, char in enumerate(characters, WALL)}
    return Writing(signs, f"is none of {', '.join(names)}{other}", sizes)


def parse(text: str, shape: Shape | None = None, legend: str = "") -> Maze:
    """Reads tokens [cells] from one line, from a line for each row, or from a list; without a shape it is a square.

    Raises:
      DataError: another character, with its place; a wrong number of cells; rows of different lengths.
    """
    known = writing(shape, legend)
    values = plain_values(text, known)
    return np.array(read_one(text, known).values(known) if values is None else values, np.int8)


def to_text(tokens: ArrayLike, legend: str = "") -> str:
    """One line that parse reads back. DataError for a token outside 1-5."""
    values, characters = np.asarray(tokens).ravel(), legend or CHARACTERS
    return "".join(characters[token - 1] for token in _checked(values, (1, values.size), "maze").tolist())


def render(tokens: ArrayLike, shape: Shape) -> str:
    """One line per row, which parse reads back."""
    text = to_text(_checked(tokens, shape, "maze"))
    return "\n".join(text[i : i + shape[1]] for i in range(0, len(text), shape[1]))


def _check_shape(shape: Shape, where: str) -> None:
    if min(shape) < 1:
        raise DataError(f"{where}: a shape of {shape[0]} x {shape[1]} holds no maze; each side is at least 1")


def _checked(tokens: ArrayLike, shape: Shape, where: str) -> Maze:
    values = np.asarray(tokens).ravel()
    _check_shape(shape, where)
    if values.size != shape[0] * shape[1]:
        raise DataError(f"{where}: {values.size} cells found, but a maze of {shape[0]} x {shape[1]} is needed")
    if values.dtype.kind not in "iu":
        raise DataError(f"{where}: tokens are {values.dtype}, but integers are needed")
    for cell in np.flatnonzero((values < WALL) | (values > PATH))[:1]:
        raise DataError(f"{where}: {_place(cell, shape)} is token {values[cell]}, but cells go from 1 to 5")
    return values.astype(np.int8)


def _place(cell: int, shape: Shape) -> str:
    return f"r{cell // shape[1] + 1}c{cell % shape[1] + 1}"


def _route(tokens: Maze, shape: Shape, closed: tuple[int, ...]) -> list[int] | None:
    """Cells from S to G, both included, on the first shortest path that a breadth-first search meets."""
    width = shape[1] + 2
    # A border of walls spares the search all tests for the edge.
    padded = np.pad(tokens.reshape(shape), 1, constant_values=WALL).ravel()
    start, goal = (int(np.flatnonzero(padded == end)[0]) for end in (START, GOAL))
    is_open = (~np.isin(padded, closed)).tolist()
    parent = {start: start}
    queue = deque([start])
    while queue and goal not in parent:
        cell = queue.popleft()
        for step in (width, -1, 1, -width):  # down, left, right, up: the order behind the public labels
            if is_open[cell + step] and cell + step not in parent:
                parent[cell + step] = cell
                queue.append(cell + step)
    if goal not in parent:
        return None
    route = [goal]
    while route[-1] != start:
        route.append(parent[route[-1]])
    return [(cell // width - 1) * shape[1] + cell % width - 1 for cell in reversed(route)]


def _solved(tokens: ArrayLike, shape: Shape, where: str) -> tuple[Maze, list[int]]:
    """The checked puzzle and its route."""
    maze = _checked(tokens, shape, where)
    for token, name in ((START, "start S"), (GOAL, "goal G")):
        cells = np.flatnonzero(maze == token)
        if len(cells) != 1:
            second = f", a second at {_place(cells[1], shape)}" if len(cells) > 1 else ""
            raise DataError(f"{where}: exactly one {name} is needed, but {len(cells)} found{second}")
    for cell in np.flatnonzero(maze == PATH)[:1]:
        raise DataError(f"{where}: {_place(cell, shape)} is path 'o', but a puzzle has none; make it free")
    route = _route(maze, shape, closed=(WALL,))
    if route is None:
        raise DataError(f"{where}: no path leads from S to G; open some walls")
    return maze, route


def check_puzzle(tokens: ArrayLike, shape: Shape, where: str = "puzzle") -> None:
    """Raises DataError unless there is exactly one S, exactly one G, no 'o', and a path from S to G."""
    _solved(tokens, shape, where)


def shortest_length(tokens: ArrayLike, shape: Shape) -> int:
    """Steps on a shortest path from S to G of a puzzle; DataError as in check_puzzle."""
    return len(_solved(tokens, shape, "puzzle")[1]) - 1


def solve(puzzle: ArrayLike, shape: Shape) -> Maze:
    """The puzzle with a shortest path in 'o' between S and G; DataError as in check_puzzle.

    Of several shortest paths it is that of a breadth-first search from S which tries down, left, right, up
    and keeps the first parent of a cell: the rule that reproduces the public labels.
    """
    maze, route = _solved(puzzle, shape, "puzzle")
    maze[route[1:-1]] = PATH
    return maze


def is_shortest_path(puzzle: ArrayLike, answer: ArrayLike, shape: Shape) -> bool:
    """Whether the answer is the puzzle with exactly one shortest path marked, no matter which.

    Raises DataError for a bad puzzle, never for a bad answer.
    """
    maze, route = _solved(puzzle, shape, "puzzle")
    marked = np.asarray(answer).ravel()
    if marked.shape != maze.shape:
        return False
    on_path = (marked == PATH) & (maze == FREE)
    if not np.array_equal(np.where(on_path, PATH, maze), marked) or on_path.sum() != len(route) - 2:
        return False
    # As many marked cells as a shortest path has, and a way through them: then they are that path.
    return _route(marked, shape, closed=(WALL, FREE)) is not None


def faults(question: Tokens, answer: Tokens, shape: Shape) -> Faults:
    """Of an answer that is to mark a shortest path of a maze: a chain, each with two neighbours but the ends."""
    overwritten = (question != answer) & (question != FREE)
    strange = (question == FREE) & ~np.isin(answer, (FREE, PATH))
    steps = np.isin(answer, (START, GOAL, PATH)).reshape(shape)
    around = np.pad(steps, 1).astype(np.int32)
    neighbours = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    wanted = np.where(answer == PATH, 2, 1).reshape(shape)
    loose = (steps & (neighbours != wanted)).ravel()
    told = [*changed_clues(overwritten, shape[1])]
    if strange.any():
        told.append(f"{counted(int(strange.sum()), 'free cell')} neither free nor path")
    if loose.any():
        told.append(f"the path has {counted(int(loose.sum()), 'loose or forked cell')}")
    elif not told and not _is_accepted(question, answer, shape):
        told.append("the path is longer than a shortest one, or in pieces")
    # The way may be missing at an end, but the end stands where it should.
    return Faults(overwritten, loose & (answer == PATH) | strange, tuple(told))


def _is_accepted(puzzle: ArrayLike, answer: ArrayLike, shape: Shape) -> bool:
    """As `is_shortest_path`; of a puzzle that is none, where there is nothing to compare with, True."""
    try:
        return is_shortest_path(puzzle, answer, shape)
    except DataError:
        return True


def check_pair(question: ArrayLike, answer: ArrayLike, shape: Shape | None = None) -> None:
    """Raises DataError, starting with 'question: ' or 'answer: ', unless the answer is a shortest path.

    Without a shape the maze is a square.
    """
    shape = shape or square_shape(np.asarray(question).size)
    maze, route = _solved(question, shape, "question")
    marked = _checked(answer, shape, "answer")
    for cell in np.flatnonzero((marked != maze) & ~((marked == PATH) & (maze == FREE)))[:1]:
        was, now = to_text(maze[cell]), to_text(marked[cell])
        raise DataError(f"answer: {_place(cell, shape)} is {now!r}, but the question has {was!r} there")
    if not is_shortest_path(maze, marked, shape):
        raise DataError(f"answer: the 'o' cells are no shortest path from S to G ({len(route) - 1} steps)")
