"""Sudoku: a solver, and a generator of puzzles with one solution.

The solver holds a whole position in one integer of side**3 bits, one bit per candidate (digit, row, column).
"Each cell has a digit" and "each row, column and box has each digit" then have the same form, a constraint
that owns `side` candidates and keeps exactly one: the same few shifts find naked and hidden singles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.parallel import in_order
from trm_jax.puzzles.sudoku import Grid, Layout, checked, draw_symmetries, satisfies

_SQUARE_4 = Layout(2, 2)  # so small that all its grids are kept
MAX_ATTEMPTS = 200
"""Draws in a row without a puzzle before a generator gives up."""


def _default_clues(layout: Layout) -> tuple[int, int]:
    """A range of clues that digging reaches in good time; the shares in between are interpolated."""
    sides = (4, 6, 9, 16, 25)
    shares = np.array([[4 / 16, 8 / 36, 22 / 81, 100 / 256, 300 / 625], [8 / 16, 16 / 36, 34 / 81, 140 / 256, 0.6]])
    low, high = (round(np.interp(layout.side, sides, share) * layout.cells) for share in shares)
    return low, high


def _max_backtracks(layout: Layout) -> int:
    """A uniqueness check that needs more dead ends than this is given up, which bounds the time of generation."""
    return 1000 if layout.side <= 12 else 30


class _Tables(NamedTuple):
    """The exact-cover form of a layout; the candidate (digit, cell) is bit (digit - 1) * cells + cell."""

    full: int
    keep: list[int]  # per candidate: all candidates that can stand beside it, itself included
    # Per kind of constraint: first candidate of each, shifts to all its candidates, these as one factor.
    kinds: list[tuple[int, list[int], int]]


@lru_cache
def _tables(layout: Layout) -> _Tables:
    side = layout.side
    bits = np.arange(side**3).reshape(side, side, side)
    kinds = []
    for bases, shifts in (
        (bits[0], bits[:, 0, 0]),  # one digit in each (row, column)
        (bits[:, :, 0], bits[0, 0]),  # one column for each (digit, row)
        (bits[:, 0], bits[0, :, 0]),  # one row for each (digit, column)
        (bits[:, :: layout.box_rows, :: layout.box_cols], bits[0, : layout.box_rows, : layout.box_cols]),
    ):
        steps = shifts.ravel().tolist()
        kinds.append((sum(1 << b for b in bases.ravel().tolist()), steps, sum(1 << s for s in steps)))
    rivals = [0] * side**3
    full = (1 << side**3) - 1
    for base, shifts, spread in kinds:
        for bit in _bits(base):
            members = spread << bit
            for s in shifts:
                rivals[bit + s] |= members
    return _Tables(full, [full & ~r | 1 << bit for bit, r in enumerate(rivals)], kinds)


def _bits(value: int) -> Iterator[int]:
    """Positions of the set bits, lowest first."""
    while value:
        low = value & -value
        yield low.bit_length() - 1
        value ^= low


def _propagate(state: int, placed: int, tables: _Tables) -> tuple[int, int]:
    """Places singles until none is left; the position becomes 0 when a constraint loses all candidates."""
    changed = True
    while changed:
        changed = False
        for base, shifts, spread in tables.kinds:
            once = twice = 0
            for shift in shifts:
                bits = (state >> shift) & base
                twice |= once & bits
                once |= bits
            if once != base:
                return 0, placed
            # The product copies the bit of each constraint with one candidate to the places of all its own.
            new = state & ((once ^ twice) * spread) & ~placed
            if new:
                changed = True
                placed |= new
                for bit in _bits(new):
                    state &= tables.keep[bit]
    return state, placed


def _branch(state: int, tables: _Tables) -> list[int]:
    """The candidates of an open constraint with fewest of them (fewest as far as three, then any)."""
    best, chosen = 5, 0
    for base, shifts, spread in tables.kinds:
        two = three = four = one = 0
        for shift in shifts:
            bits = (state >> shift) & base
            four |= three & bits
            three |= two & bits
            two |= one & bits
            one |= bits
        for count, constraints in ((2, two ^ three), (3, three ^ four), (4, four)):
            if constraints and count < best:
                best, chosen = count, state & ((constraints & -constraints) * spread)
        if best == 2:
            break
    return list(_bits(chosen))


def _search(
    state: int,
    layout: Layout,
    limit: int,
    max_backtracks: float,
    rng: np.random.Generator | None = None,
    placed: int = 0,
) -> tuple[list[int], int, bool]:
    """Depth-first search: solved positions, dead ends met, and whether nothing was left unsearched."""
    tables = _tables(layout)
    solved: list[int] = []
    backtracks = 0
    stack = [(state, placed)]
    while stack:
        state, placed = _propagate(*stack.pop(), tables)
        if not state:
            backtracks += 1
            if backtracks > max_backtracks:
                return solved, backtracks, False
        elif state.bit_count() == layout.cells:
            solved.append(state)
            if len(solved) == limit:
                return solved, backtracks, not stack
        else:
            choices = _branch(state, tables)
            if rng is not None:
                rng.shuffle(choices)
            stack += [(state & tables.keep[bit], placed | 1 << bit) for bit in reversed(choices)]
    return solved, backtracks, True


def _position(grid: Grid, layout: Layout) -> tuple[int, int]:
    """The candidates that the clues leave, and the candidates that the clues are."""
    keep, state, placed = _tables(layout).keep, _tables(layout).full, 0
    for cell, digit in enumerate(grid.tolist()):
        if digit:
            bit = (digit - 1) * layout.cells + cell
            state &= keep[bit]
            placed |= 1 << bit
    return state, placed


def _grid_of(solved: int, layout: Layout) -> Grid:
    grid = np.zeros(layout.cells, np.int8)
    for bit in _bits(solved):
        grid[bit % layout.cells] = bit // layout.cells + 1
    return grid


@dataclass(frozen=True)
class SolveResult:
    """At most `limit` solutions [cells], dead ends met, and whether these are all the solutions."""

    solutions: list[Grid]
    backtracks: int
    complete: bool

    @property
    def unique(self) -> bool:
        """Whether the puzzle is proven to have exactly one solution."""
        return self.complete and len(self.solutions) == 1


def solve(puzzle: ArrayLike, layout: Layout, limit: int = 2, max_backtracks: int | None = None) -> SolveResult:
    """Solves one puzzle [cells], stopping after `limit` solutions or more than `max_backtracks` dead ends.

    Clues that contradict each other give no solution; a wrong length or a digit out of range is a DataError.
    """
    state, placed = _position(checked(puzzle, layout, "puzzle"), layout)
    cap = float("inf") if max_backtracks is None else max_backtracks
    solved, backtracks, complete = _search(state, layout, limit, cap, placed=placed)
    return SolveResult([_grid_of(s, layout) for s in solved], backtracks, complete)


@lru_cache
def all_solutions_4x4() -> Grid:
    """All 288 full grids of side 4 with square boxes, [288, 16] in lexicographic order; read-only."""
    solved, _, _ = _search(_tables(_SQUARE_4).full, _SQUARE_4, limit=289, max_backtracks=float("inf"))
    grids = np.array(sorted(_grid_of(s, _SQUARE_4).tolist() for s in solved), np.int8)
    grids.setflags(write=False)
    return grids


def random_solutions(n: int, layout: Layout, rng: np.random.Generator) -> Grid:
    """Full grids [n, cells], drawn independently.

    Side 4 with square boxes is uniform over the 288 grids. The others come from the depth-first search on an
    empty grid, with values tried in random order and a restart after 20 dead ends, followed by a random symmetry:
    the grids of one symmetry class are equally likely, the classes are not weighted by their size. At side 25
    a grid takes about a tenth of a second.
    """
    if layout == _SQUARE_4:
        return all_solutions_4x4()[rng.integers(288, size=n)]
    grids = np.empty((n, layout.cells), np.int8)
    for row in grids:
        solved: list[int] = []
        while not solved:
            solved, _, _ = _search(_tables(layout).full, layout, limit=1, max_backtracks=20, rng=rng)
        row[:] = _grid_of(solved[0], layout)
    return draw_symmetries(rng, n, layout).apply(grids)


def dig(puzzle: Grid, solution: Grid, order: Iterable[int], target: int, layout: Layout) -> Grid:
    """Blanks clues of a unique puzzle in this order where it stays unique, while there are more than `target`."""
    puzzle, clues = puzzle.copy(), np.count_nonzero(puzzle)
    for cell in order:
        if clues <= target:
            break
        puzzle[cell] = 0
        state, placed = _position(puzzle, layout)
        # The puzzle was unique with this clue, so another solution has to have another digit here.
        state &= ~(1 << (int(solution[cell]) - 1) * layout.cells + cell)
        others, _, complete = _search(state, layout, 1, _max_backtracks(layout), placed=placed)
        if complete and not others:
            clues -= 1
        else:
            puzzle[cell] = solution[cell]
    return puzzle


def _dig_4x4(solutions: Grid, orders: NDArray[np.intp], targets: NDArray[np.intp]) -> Grid:
    """`dig` for many grids of side 4: a puzzle is unique if just one of the 288 grids agrees with it."""
    weights = 1 << np.arange(16, dtype=np.uint16)
    # Bit c of differs[i, g] says that grid g and solution i differ in cell c.
    differs = np.stack([(all_solutions_4x4() != s).dot(weights) for s in solutions])
    kept = np.full(len(solutions), 0xFFFF, np.uint16)
    for cells in orders.T:
        tried = kept & ~weights[cells]
        unique = ((differs & tried[:, None]) == 0).sum(axis=1) == 1
        kept = np.where(unique & (np.bitwise_count(kept) > targets), tried, kept)
    return np.where(kept[:, None] & weights, solutions, 0).astype(np.int8)


def stream(seed: int, attempt: int, index: int) -> np.random.Generator:
    """Random numbers for one attempt at one puzzle of a seed, independent of all others."""
    # The low half of the counter is the generator's own; the rest gives each draw a stream to itself.
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, attempt, index]))


class _Recipe(NamedTuple):
    """What all draws of one `generate` have in common: clues drawn from low to high, full grids from a pool."""

    layout: Layout
    seed: int
    low: int
    high: int
    pool: Grid | None


def _draw(recipe: _Recipe, attempt: int, indices: Sequence[int]) -> tuple[Grid, Grid]:
    """Puzzles of these indices and their answers, [len(indices), cells] each."""
    layout, seed, low, high, pool = recipe
    full = np.empty((len(indices), layout.cells), np.int8)
    orders = np.empty(full.shape, np.intp)
    targets = np.empty(len(indices), np.intp)
    for row, i in enumerate(indices):
        rng = stream(seed, attempt, i)
        targets[row] = rng.integers(low, high, endpoint=True)
        orders[row] = rng.permutation(layout.cells)
        full[row] = random_solutions(1, layout, rng)[0] if pool is None else pool[rng.integers(len(pool))]
    if layout == _SQUARE_4:
        return _dig_4x4(full, orders, targets), full
    drafts = zip(full, full, orders.tolist(), targets.tolist(), strict=True)
    return np.array([dig(*draft, layout) for draft in drafts], np.int8), full


def check_request(n: int, seed: int) -> None:
    """Raises DataError unless so many puzzles can be asked for, and from this seed."""
    if n < 0 or not 0 <= seed < 2**128:
        raise DataError(f"generate: n is {n} and seed is {seed}; neither may be negative, nor seed above 2**128")


def generate(
    n: int,
    layout: Layout,
    seed: int,
    *,
    clues: tuple[int, int] | None = None,
    solutions: ArrayLike | None = None,
    minimal: bool = False,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[Grid, Grid]:
    """Makes n distinct puzzles with exactly one solution each: (puzzles [n, cells], answers [n, cells]).

    Cells of a full grid are blanked in random order while the solution stays unique, down to a number of
    clues drawn evenly from `clues` = (low, high) or, if `minimal`, until no clue can go. Where none can go a
    puzzle keeps more clues than drawn, and so it does where proving uniqueness would take too many dead ends
    (1000 up to side 12, 30 beyond). `solutions` [m, cells] restricts the full grids to these. Puzzle i depends
    on seed and i alone, save that one equal to an earlier puzzle is drawn again, so a larger n only appends,
    and the number of processes, `workers`, changes nothing. `progress` is told how many puzzles there are.
    Raises DataError for arguments out of range, when no further distinct puzzle turns up, and when none of the first
    block has as few clues as were asked for.
    """
    if minimal and clues is not None:
        raise DataError("generate: give either clues or minimal, not both")
    low, high = (0, 0) if minimal else clues or _default_clues(layout)
    if not 0 <= low <= high <= layout.cells:
        raise DataError(f"generate: clues {(low, high)} must be a (low, high) pair within 0 to {layout.cells}")
    check_request(n, seed)
    pool = None if solutions is None else _checked_solutions(solutions, layout)
    if pool is None and layout == _SQUARE_4:
        pool = all_solutions_4x4()
    recipe = _Recipe(layout, seed, low, high, pool)

    puzzles, found = np.empty((2, n, layout.cells), np.int8)
    seen: set[bytes] = set()
    block = 1024 if layout == _SQUARE_4 else max(1, 5000 // layout.cells)
    blocks = [range(start, min(start + block, n)) for start in range(0, n, block)]
    with closing(in_order(partial(_draw, recipe, 0), blocks, workers)) as draws:
        for rows, drawn in zip(blocks, draws, strict=True):
            puzzles[rows.start : rows.stop], found[rows.start : rows.stop] = drawn
            for i in rows:
                attempt = 0
                while puzzles[i].tobytes() in seen:
                    attempt += 1
                    if attempt == MAX_ATTEMPTS:
                        raise DataError(
                            f"generate: only {i} of {n} distinct puzzles turned up; "
                            "ask for fewer, for a wider range of clues, or give more solutions"
                        )
                    puzzles[i : i + 1], found[i : i + 1] = _draw(recipe, attempt, [i])
                seen.add(puzzles[i].tobytes())
            fewest = int((puzzles[rows.start : rows.stop] != 0).sum(axis=1).min())
            if clues is not None and rows.start == 0 and fewest > high:
                raise DataError(
                    f"generate: none of the first {rows.stop} puzzles came down to {high} clues, the fewest is "
                    f"{fewest}, since each has to keep a single solution: ask for more clues"
                )
            if progress is not None:
                progress(rows.stop)
    return puzzles, found


def _checked_solutions(solutions: ArrayLike, layout: Layout) -> Grid:
    grids = np.asarray(solutions)
    if grids.ndim != 2 or not len(grids) or grids.shape[1] != layout.cells:
        raise DataError(f"solutions have shape {grids.shape}, needed is [at least 1, {layout.cells}]")
    wrong = np.flatnonzero(~satisfies(grids, layout))
    if wrong.size:
        raise DataError(f"solutions: row {wrong[0]} is not a complete and valid grid; remove or correct it")
    return grids.astype(np.int8)
