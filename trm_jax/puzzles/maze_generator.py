"""Mazes made at random, with a floor on the length of the shortest path.

The walls are those of the public mazes: each cell is one with the same probability, which is drawn evenly between 0.3
and 0.5 for each maze (arXiv 2402.14083), and only mazes with a long enough path are kept. Where chance hardly ever
finds one, walls are moved until the path is long enough.

A perfect maze has one path between any two of its cells: a random tree over every other cell of every other row, which
a walk that turns back only where it must has made.

Sets of cells are integers here, one bit a cell, with one more column that is always closed so that no shift leads from
the end of a row to the next: one step of a breadth-first search is then four shifts, whatever the size of the maze.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import maze
from trm_jax.puzzles.maze import Maze, Shape
from trm_jax.puzzles.parallel import in_order

LONGEST_SIDE = 200

_MAX_ATTEMPTS = 200
# At 30 x 30 one draw in 200 has a path of 110 steps.
_RANDOM_DRAWS = 2000
# A draw with so many pairs of ends for each cell is always taken, one with fewer in proportion.
_PAIRS_PER_CELL = 5
# Moves in a row that make the path no longer; then the maze is given up.
_PATIENCE = 3000
_CLIMBS = 3
# Perfect mazes that are drawn until one has a long enough path.
_TREES = 500
_CHUNK = 16


def longest_possible(shape: Shape) -> int:
    """Steps that no shortest path exceeds in a maze of this shape, however its walls stand.

    No two cells of a shortest path touch but those that follow each other. So of the 4n sides of its n cells all but
    2(n - 1) lie on the edge, which has 2(rows + columns) sides, or on other cells, which have 4(cells - n):
    6n <= 4 cells + 2(rows + columns) - 2.
    """
    rows, columns = shape
    return (2 * rows * columns + rows + columns - 1) // 3 - 1


def generate(
    n: int,
    shape: Shape,
    seed: int,
    *,
    min_length: int,
    walls: tuple[float, float] = (0.3, 0.5),
    perfect: bool = False,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[Maze, Maze]:
    """Makes n distinct mazes, whose answers are those of `maze.solve`: (puzzles [n, cells], answers [n, cells]).

    Args:
      n: how many.
      shape: rows and columns, each from 2 to 200.
      seed: maze i depends on the arguments, the seed and i alone, save that one equal to an earlier maze is drawn
        again; so a larger n only appends.
      min_length: steps that a shortest path from S to G has at least. Start and goal are drawn among the pairs of
        cells that far apart.
      walls: the probability of a wall is drawn between these two, for each maze.
      perfect: mazes with a single path in place of such walls.
      workers: processes; their number changes nothing but the time.
      progress: called with the number of mazes made so far, after each.

    Raises:
      DataError: for arguments out of range, where no maze with so long a path turns up, and where no further
        distinct one does.
    """
    _check(n, shape, seed, min_length, walls, workers)
    draw = partial(_drawn, shape, seed, min_length, None if perfect else walls)
    puzzles = np.empty((n, shape[0] * shape[1]), np.int8)
    answers = np.empty_like(puzzles)
    seen: set[bytes] = set()
    for i, puzzle in enumerate(_in_order(draw, n, workers)):
        attempt = 0
        while puzzle.tobytes() in seen:
            attempt += 1
            if attempt == _MAX_ATTEMPTS:
                raise DataError(
                    f"generate: only {i} of {n} distinct mazes turned up; "
                    "ask for fewer, for a larger shape, or for a lower min_length"
                )
            puzzle = draw(i, attempt)
        seen.add(puzzle.tobytes())
        puzzles[i], answers[i] = puzzle, maze.solve(puzzle, shape)
        if progress is not None:
            progress(i + 1)
    return puzzles, answers


def _check(n: int, shape: Shape, seed: int, min_length: int, walls: tuple[float, float], workers: int) -> None:
    if not all(2 <= side <= LONGEST_SIDE for side in shape):
        raise DataError(f"generate: shape is {shape[0]} x {shape[1]}; each side goes from 2 to {LONGEST_SIDE}")
    if n < 0 or not 0 <= seed < 2**128:
        raise DataError(f"generate: n is {n} and seed is {seed}; neither may be negative, nor seed above 2**128")
    if not 0 <= walls[0] <= walls[1] < 1:
        raise DataError(f"generate: walls {walls} must be a (low, high) pair of probabilities, 0 <= low <= high < 1")
    bound = longest_possible(shape)
    if not 1 <= min_length <= bound:
        raise DataError(
            f"generate: min_length is {min_length}, but a shortest path in {shape[0]} x {shape[1]} cells has from 1 to "
            f"{bound} steps; lower it, or take a larger shape"
        )


def _in_order(draw: Callable[[int, int], Maze], n: int, workers: int) -> Iterator[Maze]:
    """The first draw of each maze, made by this process or by several."""
    size = 1 if workers == 1 else _CHUNK
    chunks = (range(start, min(start + size, n)) for start in range(0, n, size))
    with closing(in_order(partial(_chunk, draw), chunks, workers)) as drawn:
        yield from chain.from_iterable(drawn)


def _chunk(draw: Callable[[int, int], Maze], indices: range) -> list[Maze]:
    return [draw(i, 0) for i in indices]


def _drawn(shape: Shape, seed: int, min_length: int, walls: tuple[float, float] | None, i: int, attempt: int) -> Maze:
    """Maze i [cells], drawn for the `attempt`-th time; without probabilities of walls, a perfect one."""
    # The low half of the counter is the generator's own; the rest gives each draw a stream to itself.
    rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, attempt, i]))
    search = _Search(shape, rng, min_length)
    longest = 0
    for _ in range(_CLIMBS if walls else _TREES):
        if walls:
            found, is_open, levels = search.draw(walls)
            if found is not None:
                return found
            is_open, levels = search.move_walls(is_open, levels)
        else:
            is_open, levels = search.tree()
        if len(levels) > min_length:
            return search.with_ends(is_open, levels)[0]
        longest = max(longest, len(levels) - 1)
    hint = ", or walls nearer to (0.3, 0.5)" if walls else ""
    raise DataError(
        f"generate: no maze of {shape[0]} x {shape[1]} with a shortest path of {min_length} steps turned up, the "
        f"longest had {longest}; lower min_length, or take a larger shape{hint}"
    )


class _Search:
    """Sets of cells of one shape as integers, and random choices among them."""

    def __init__(self, shape: Shape, rng: np.random.Generator, min_length: int) -> None:
        self._shape, self._rng, self._min_length = shape, rng, min_length
        self._width = shape[1] + 1
        row = (1 << shape[1]) - 1
        self._all = sum(row << i * self._width for i in range(shape[0]))

    def draw(self, walls: tuple[float, float]) -> tuple[Maze | None, int, list[int]]:
        """A maze of random walls and random ends; where there is none, open cells and levels with the longest path.

        As the public mazes are (walls, start, goal) drawn together until the path is long enough, walls count as often
        as they have pairs of ends.
        """
        best: tuple[int, list[int]] = 1, [1]
        chosen, total = None, 0
        for _ in range(_RANDOM_DRAWS):
            is_open = self._random_cells(1 - self._rng.uniform(*walls))
            if not is_open:
                continue
            levels = self._levels(is_open, self._one_of(is_open))
            # From a cell in the middle of a long path it is half as far to its ends.
            if 2 * (len(levels) - 1) < self._min_length and len(best[1]) > 1:
                continue
            levels = self._levels(is_open, self._one_of(levels[-1]))
            if len(levels) > len(best[1]):
                best = is_open, levels
            if len(levels) > self._min_length:
                found, pairs = self.with_ends(is_open, levels)
                total += pairs
                if self._rng.random() * total < pairs:
                    chosen = found
                if self._rng.random() * _PAIRS_PER_CELL * found.size < pairs:
                    return found, *best
        return chosen, *best

    def tree(self) -> tuple[int, list[int]]:
        """A perfect maze, and its levels from one end of its longest path."""
        rows, columns = self._shape
        nodes = {(r, c) for r in range(0, rows, 2) for c in range(0, columns, 2)}
        walk = [min(nodes)]
        nodes.discard(walk[0])
        is_open = 1
        while walk:
            r, c = walk[-1]
            ahead = [n for n in ((r - 2, c), (r + 2, c), (r, c - 2), (r, c + 2)) if n in nodes]
            if not ahead:
                walk.pop()
                continue
            r2, c2 = ahead[int(self._rng.integers(len(ahead)))]
            nodes.discard((r2, c2))
            walk.append((r2, c2))
            is_open |= 1 << r2 * self._width + c2 | 1 << (r + r2) // 2 * self._width + (c + c2) // 2
        levels = self._levels(is_open, 1)
        return is_open, self._levels(is_open, self._one_of(levels[-1]))

    def move_walls(self, is_open: int, levels: list[int]) -> tuple[int, list[int]]:
        """Moves one wall after the other, half of them onto the path, never making the path shorter."""
        idle = 0
        path = self._path(levels)
        while len(levels) <= self._min_length and idle < _PATIENCE:
            idle += 1
            start, end = levels[0], levels[-1] & path
            closing = (path if self._rng.random() < 0.5 else is_open) & ~(start | end)
            opening = self._all & ~is_open
            if not closing or not opening:
                break
            moved = (is_open ^ self._one_of(closing)) | self._one_of(opening)
            # Searching from the far end moves the near end away, if there is a cell further off.
            trial = self._levels(moved, end)
            if len(trial) >= len(levels):
                if len(trial) > len(levels):
                    idle = 0
                is_open, levels = moved, trial
                path = self._path(levels)
        return is_open, levels

    def with_ends(self, is_open: int, levels: list[int]) -> tuple[Maze, int]:
        """The maze [cells] with random ends far enough apart, and an estimate of how many pairs of ends there are.

        `levels` show that there is a pair. Start is drawn from the cells that are far from either end of the longest
        path, goal from those far from start: the product of the two numbers is right on average.
        """
        back = self._levels(is_open, self._one_of(levels[-1]))
        starts = self._far(levels) | self._far(back)
        start = self._one_of(starts)
        goals = self._far(self._levels(is_open, start))
        goal = self._one_of(goals)
        tokens = np.full(self._shape[0] * self._width, maze.WALL, np.int8)
        for token, cells in ((maze.FREE, is_open), (maze.START, start), (maze.GOAL, goal)):
            tokens[self._bits(cells)] = token
        return tokens.reshape(-1, self._width)[:, :-1].ravel(), starts.bit_count() * goals.bit_count()

    def _levels(self, is_open: int, start: int) -> list[int]:
        """The cells at 0, 1, 2, ... steps from `start`, as far as any can be reached."""
        levels, left, width = [start], is_open ^ start, self._width
        while True:
            cells = levels[-1]
            cells = (cells << 1 | cells >> 1 | cells << width | cells >> width) & left
            if not cells:
                return levels
            left ^= cells
            levels.append(cells)

    def _path(self, levels: list[int]) -> int:
        """The cells of one shortest path from the first level to a random cell of the last, both included."""
        path = cell = self._one_of(levels[-1])
        for level in reversed(levels[:-1]):
            before = (cell << 1 | cell >> 1 | cell << self._width | cell >> self._width) & level
            cell = before & -before
            path |= cell
        return path

    def _far(self, levels: list[int]) -> int:
        """The cells at `min_length` steps and more."""
        cells = 0
        for level in levels[self._min_length :]:
            cells |= level
        return cells

    def _random_cells(self, probability: float) -> int:
        bits = np.packbits(self._rng.random(self._shape[0] * self._width) < probability, bitorder="little")
        return int.from_bytes(bits.tobytes(), "little") & self._all

    def _bits(self, cells: int) -> NDArray[np.intp]:
        size = -(-self._shape[0] * self._width // 8)
        return np.flatnonzero(np.unpackbits(np.frombuffer(cells.to_bytes(size, "little"), np.uint8), bitorder="little"))

    def _one_of(self, cells: int) -> int:
        """A random cell of a set that is not empty, as a set."""
        bits = self._bits(cells)
        return 1 << int(bits[self._rng.integers(len(bits))])
