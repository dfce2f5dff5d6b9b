"""Sudoku of side 4, 6, 9 and 16: text, validity, a solver, a generator, symmetries and dataset tokens.

A grid is a flat int8 array [cells] in row order: 0 is a blank, 1 .. side are the digits.
The solver holds a whole position in one integer of side**3 bits, one bit per candidate (digit, row, column).
"Each cell has a digit" and "each row, column and box has each digit" then have the same form, a constraint
that owns `side` candidates and keeps exactly one: the same few shifts find naked and hidden singles.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError

Grid = NDArray[np.int8]

_CHARACTERS = ".123456789ABCDEFG"
_DIGIT_OF = {c: d for d, pair in enumerate(zip(_CHARACTERS, _CHARACTERS.lower(), strict=True)) for c in pair}
_DIGIT_OF |= {"0": 0, "_": 0}
_DECORATION = frozenset("|-+")
_BOXES = {4: (2, 2), 6: (2, 3), 9: (3, 3), 16: (4, 4)}
_DEFAULT_CLUES = {4: (4, 8), 6: (8, 16), 9: (22, 34), 16: (100, 140)}
# A uniqueness check that needs more dead ends than this is given up, which bounds the time of generation.
_MAX_BACKTRACKS = {4: 1000, 6: 1000, 9: 1000, 16: 30}
_MAX_ATTEMPTS = 200


@dataclass(frozen=True)
class Layout:
    """The geometry of a Sudoku: boxes of box_rows x box_cols cells, as many of them as a box has cells."""

    box_rows: int
    box_cols: int

    @property
    def side(self) -> int:
        """Rows, columns, boxes and digits."""
        return self.box_rows * self.box_cols

    @property
    def cells(self) -> int:
        """Length of a flat grid."""
        return self.side**2

    @property
    def vocab_size(self) -> int:
        """Tokens of the dataset format: pad, blank and the digits."""
        return self.side + 2


def layout_for(side: int) -> Layout:
    """The layout of a given side; DataError unless it is 4, 6, 9 or 16."""
    if side not in _BOXES:
        raise DataError(f"no Sudoku layout of side {side}: choose 4, 6, 9 or 16")
    return Layout(*_BOXES[side])


def layout_of_length(cells: int) -> Layout:
    """The layout of a flat grid of 16, 36, 81 or 256 cells; DataError for any other length."""
    for side in _BOXES:
        if side * side == cells:
            return layout_for(side)
    raise DataError(f"{cells} cells found, but a Sudoku has 16, 36, 81 or 256: add or remove some")


def parse(text: str, layout: Layout | None = None) -> Grid:
    """Reads a grid [cells] from one line or a pretty-printed square.

    Digits are 1-9, then A-G for 10-16 in either case; '.', '0' and '_' are blanks; white space and the
    characters | - + are skipped. Without a layout the number of cells decides. Raises DataError for any other
    character or digit (with its place in the text) and for a wrong number of cells.
    """
    kept = [i for i, char in enumerate(text) if not (char.isspace() or char in _DECORATION)]
    digits = [_DIGIT_OF.get(text[i], -1) for i in kept]
    if -1 not in digits:
        layout = layout or layout_of_length(len(kept))
        if len(kept) != layout.cells:
            raise DataError(f"{len(kept)} cells found, but this Sudoku has {layout.cells}: add or remove some")
    top = layout.side if layout else max(_BOXES)
    for i, digit in zip(kept, digits, strict=True):
        if not 0 <= digit <= top:
            row, column = text.count("\n", 0, i) + 1, i - text.rfind("\n", 0, i)
            raise DataError(
                f"{text[i]!r} in row {row}, column {column} of the text is neither a digit "
                f"1-{_CHARACTERS[top]} nor a blank (. 0 _)"
            )
    return np.array(digits, np.int8)


def to_text(grid: ArrayLike) -> str:
    """One line of digits with '.' for blanks; parse reads it back. DataError for a value outside 0-16."""
    values = np.asarray(grid).ravel().tolist()
    for cell, value in enumerate(values):
        if not 0 <= value <= 16:
            raise DataError(f"cell {cell + 1} of the grid is {value}: only 0 (blank) to 16 can be written")
    return "".join(_CHARACTERS[value] for value in values)


def render(grid: ArrayLike, layout: Layout) -> str:
    """Several lines for people, with box separators; parse reads it back."""
    text, side = to_text(_checked(grid, layout)), layout.side
    rule = "+".join(["-" * (2 * layout.box_cols + 1)] * layout.box_rows)[1:-1]
    lines = []
    for r in range(side):
        if r and r % layout.box_rows == 0:
            lines.append(rule)
        row = text[r * side : (r + 1) * side]
        stacks = [" ".join(row[c : c + layout.box_cols]) for c in range(0, side, layout.box_cols)]
        lines.append(" | ".join(stacks))
    return "\n".join(lines)


def _checked(grid: ArrayLike, layout: Layout, where: str = "grid") -> Grid:
    """The grid as a flat int8 array [cells] with digits in range, or DataError."""
    values = np.asarray(grid)
    if values.size != layout.cells:
        raise DataError(f"{where}: {values.size} cells found, but this Sudoku has {layout.cells}")
    values = values.ravel()
    bad = np.flatnonzero((values < 0) | (values > layout.side))
    if bad.size:
        place, value = _place(int(bad[0]), layout), values[bad[0]]
        raise DataError(f"{where}: {place} is {value}, but cells go from 0 (blank) to {layout.side}")
    return values.astype(np.int8)


def _place(cell: int, layout: Layout) -> str:
    return f"r{cell // layout.side + 1}c{cell % layout.side + 1}"


@lru_cache
def _units(layout: Layout) -> NDArray[np.intp]:
    """Cells of each unit [3 * side, side]: the rows, then the columns, then the boxes."""
    rows = np.arange(layout.cells).reshape(layout.side, layout.side)
    boxes = rows.reshape(layout.box_cols, layout.box_rows, layout.box_rows, layout.box_cols)
    return np.concatenate([rows, rows.T, boxes.transpose(0, 2, 1, 3).reshape(rows.shape)])


def _clashes(grid: ArrayLike, layout: Layout, where: str) -> dict[tuple[int, int], str]:
    """Pairs of cells (a < b) with the same digit -> the first unit that both are in."""
    values = _checked(grid, layout, where).tolist()
    found: dict[tuple[int, int], str] = {}
    for index, unit in enumerate(_units(layout).tolist()):
        kind, number = divmod(index, layout.side)
        for i, a in enumerate(unit):
            for b in unit[i + 1 :]:
                if values[a] and values[a] == values[b]:
                    found.setdefault((a, b), f"{('row', 'column', 'box')[kind]} {number + 1}")
    return found


def conflicts(grid: ArrayLike, layout: Layout) -> list[tuple[int, int]]:
    """Pairs of cells (a < b), sorted, that hold the same digit in one row, column or box."""
    return sorted(_clashes(grid, layout, "grid"))


def check_clues(grid: ArrayLike, layout: Layout, where: str = "puzzle") -> None:
    """Raises DataError, naming digit, cells and unit, when two clues contradict each other."""
    for (a, b), unit in _clashes(grid, layout, where).items():
        digit = to_text(np.asarray(grid).ravel()[a])
        cells = f"{_place(a, layout)} and {_place(b, layout)}"
        raise DataError(f"{where}: digit {digit} stands twice in {unit}, at {cells}; correct one of them")


def satisfies(grids: ArrayLike, layout: Layout) -> NDArray[np.bool_]:
    """Whether each grid [..., cells] is complete and valid [...]; any value out of range counts as wrong."""
    values = np.asarray(grids)
    in_range = (values >= 1) & (values <= layout.side)
    bits = np.left_shift(1, np.where(in_range, values, 1) - 1, dtype=np.int32) * in_range
    seen = np.bitwise_or.reduce(bits[..., _units(layout)], axis=-1)
    return np.asarray((seen == (1 << layout.side) - 1).all(axis=-1))


def answers(puzzle: ArrayLike, grid: ArrayLike, layout: Layout) -> NDArray[np.bool_]:
    """Whether each grid [..., cells] is complete, valid and keeps every clue of its puzzle [..., cells]."""
    clues, values = np.asarray(puzzle), np.asarray(grid)
    return np.asarray(satisfies(values, layout) & ((clues == 0) | (clues == values)).all(axis=-1))


def check_pair(question: ArrayLike, answer: ArrayLike) -> None:
    """Raises DataError, starting with 'question: ' or 'answer: ', unless the answer solves the question."""
    layout = layout_of_length(np.asarray(question).size)
    clues, values = _checked(question, layout, "question"), _checked(answer, layout, "answer")
    if answers(clues, values, layout):
        return
    check_clues(clues, layout, "question")
    for cell in np.flatnonzero(values == 0)[:1]:
        raise DataError(f"answer: {_place(cell, layout)} is blank; an answer fills every cell")
    check_clues(values, layout, "answer")
    for cell in np.flatnonzero((clues != 0) & (clues != values))[:1]:
        was, now = to_text(clues[cell]), to_text(values[cell])
        raise DataError(f"answer: {_place(cell, layout)} is {now}, but the question gives {was} there")


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
    state, placed = _position(_checked(puzzle, layout, "puzzle"), layout)
    cap = float("inf") if max_backtracks is None else max_backtracks
    solved, backtracks, complete = _search(state, layout, limit, cap, placed=placed)
    return SolveResult([_grid_of(s, layout) for s in solved], backtracks, complete)


@lru_cache
def all_solutions_4x4() -> Grid:
    """All 288 full grids of side 4, [288, 16] in lexicographic order; read-only."""
    layout = layout_for(4)
    solved, _, _ = _search(_tables(layout).full, layout, limit=289, max_backtracks=float("inf"))
    grids = np.array(sorted(_grid_of(s, layout).tolist() for s in solved), np.int8)
    grids.setflags(write=False)
    return grids


def random_solutions(n: int, layout: Layout, rng: np.random.Generator) -> Grid:
    """Full grids [n, cells], drawn independently.

    Side 4 is uniform over the 288 grids. The others come from the depth-first search on an empty grid, with
    values tried in random order and a restart after 20 dead ends, followed by a random symmetry: the grids of
    one symmetry class are equally likely, the classes are not weighted by their size.
    """
    if layout.side == 4:
        return all_solutions_4x4()[rng.integers(288, size=n)]
    grids = np.empty((n, layout.cells), np.int8)
    for row in grids:
        solved: list[int] = []
        while not solved:
            solved, _, _ = _search(_tables(layout).full, layout, limit=1, max_backtracks=20, rng=rng)
        row[:] = _grid_of(solved[0], layout)
    return apply(grids, draw_symmetries(rng, n, layout))


def _dig(solution: Grid, order: NDArray[np.intp], target: int, layout: Layout) -> Grid:
    """Blanks cells in this order where the solution stays unique, while more than `target` clues are left."""
    puzzle, clues = solution.copy(), layout.cells
    for cell in order.tolist():
        if clues <= target:
            break
        puzzle[cell] = 0
        state, placed = _position(puzzle, layout)
        # The puzzle was unique with this clue, so another solution has to have another digit here.
        state &= ~(1 << (int(solution[cell]) - 1) * layout.cells + cell)
        others, _, complete = _search(state, layout, 1, _MAX_BACKTRACKS[layout.side], placed=placed)
        if complete and not others:
            clues -= 1
        else:
            puzzle[cell] = solution[cell]
    return puzzle


def _dig_4x4(solutions: Grid, orders: NDArray[np.intp], targets: NDArray[np.intp]) -> Grid:
    """`_dig` for many grids of side 4: a puzzle is unique if just one of the 288 grids agrees with it."""
    weights = 1 << np.arange(16, dtype=np.uint16)
    # Bit c of differs[i, g] says that grid g and solution i differ in cell c.
    differs = np.stack([(all_solutions_4x4() != s).dot(weights) for s in solutions])
    kept = np.full(len(solutions), 0xFFFF, np.uint16)
    for cells in orders.T:
        tried = kept & ~weights[cells]
        unique = ((differs & tried[:, None]) == 0).sum(axis=1) == 1
        kept = np.where(unique & (np.bitwise_count(kept) > targets), tried, kept)
    return np.where(kept[:, None] & weights, solutions, 0).astype(np.int8)


def generate(
    n: int,
    layout: Layout,
    seed: int,
    *,
    clues: tuple[int, int] | None = None,
    solutions: ArrayLike | None = None,
    minimal: bool = False,
) -> tuple[Grid, Grid]:
    """Makes n distinct puzzles with exactly one solution each: (puzzles [n, cells], answers [n, cells]).

    Cells of a full grid are blanked in random order while the solution stays unique, down to a number of
    clues drawn evenly from `clues` = (low, high) or, if `minimal`, until no clue can go. Where none can go a
    puzzle keeps more clues than drawn, and so it does where proving uniqueness would take too many dead ends.
    `solutions` [m, cells] restricts the full grids to these. Puzzle i depends on seed and i alone, save that
    one equal to an earlier puzzle is drawn again, so a larger n only appends. Raises DataError for arguments
    out of range, and when no further distinct puzzle turns up.
    """
    if minimal and clues is not None:
        raise DataError("generate: give either clues or minimal, not both")
    low, high = (0, 0) if minimal else clues or _DEFAULT_CLUES[layout.side]
    if not 0 <= low <= high <= layout.cells:
        raise DataError(f"generate: clues {(low, high)} must be a (low, high) pair within 0 to {layout.cells}")
    if n < 0 or not 0 <= seed < 2**128:
        raise DataError(f"generate: n is {n} and seed is {seed}; neither may be negative, nor seed above 2**128")
    pool = None if solutions is None else _checked_solutions(solutions, layout)
    if pool is None and layout.side == 4:
        pool = all_solutions_4x4()

    def draw(indices: Sequence[int], attempt: int) -> tuple[Grid, Grid]:
        full = np.empty((len(indices), layout.cells), np.int8)
        orders = np.empty(full.shape, np.intp)
        targets = np.empty(len(indices), np.intp)
        for row, i in enumerate(indices):
            # The low half of the counter is the generator's own; the rest gives each draw a stream to itself.
            rng = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, attempt, i]))
            targets[row] = rng.integers(low, high, endpoint=True)
            orders[row] = rng.permutation(layout.cells)
            full[row] = random_solutions(1, layout, rng)[0] if pool is None else pool[rng.integers(len(pool))]
        if layout.side == 4:
            return _dig_4x4(full, orders, targets), full
        dug = [_dig(*draft, layout) for draft in zip(full, orders, targets.tolist(), strict=True)]
        return np.array(dug, np.int8), full

    puzzles, found = np.empty((2, n, layout.cells), np.int8)
    seen: set[bytes] = set()
    block = 1024 if layout.side == 4 else 1
    for start in range(0, n, block):
        rows = range(start, min(start + block, n))
        puzzles[start : rows.stop], found[start : rows.stop] = draw(rows, 0)
        for i in rows:
            attempt = 0
            while puzzles[i].tobytes() in seen:
                attempt += 1
                if attempt == _MAX_ATTEMPTS:
                    raise DataError(
                        f"generate: only {i} of {n} distinct puzzles turned up; "
                        "ask for fewer, for a wider range of clues, or give more solutions"
                    )
                puzzles[i : i + 1], found[i : i + 1] = draw([i], attempt)
            seen.add(puzzles[i].tobytes())
    return puzzles, found


def _checked_solutions(solutions: ArrayLike, layout: Layout) -> Grid:
    grids = np.asarray(solutions)
    if grids.ndim != 2 or not len(grids) or grids.shape[1] != layout.cells:
        raise DataError(f"solutions have shape {grids.shape}, needed is [at least 1, {layout.cells}]")
    wrong = np.flatnonzero(~satisfies(grids, layout))
    if wrong.size:
        raise DataError(f"solutions: row {wrong[0]} is not a complete and valid grid; remove or correct it")
    return grids.astype(np.int8)


class Symmetries(NamedTuple):
    """n symmetries: target cell -> source cell [n, cells] int32, and digit -> digit [n, side + 1] int8."""

    cells: NDArray[np.int32]
    digits: NDArray[np.int8]


def draw_symmetries(rng: np.random.Generator, n: int, layout: Layout) -> Symmetries:
    """Draws n symmetries evenly from the group of the layout.

    It is made of permutations of the digits, the bands, the rows in a band, the stacks and the columns in a
    stack, and, where boxes are square, of transposition.
    """

    def shuffled(*shape: int) -> NDArray[np.intp]:
        return rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)

    side, box_rows, box_cols = layout.side, layout.box_rows, layout.box_cols
    rows = shuffled(n, box_cols)[:, :, None] * box_rows + shuffled(n, box_cols, box_rows)
    columns = shuffled(n, box_rows)[:, :, None] * box_cols + shuffled(n, box_rows, box_cols)
    cells = rows.reshape(n, side, 1) * side + columns.reshape(n, 1, side)
    if box_rows == box_cols:
        flip = rng.integers(2, size=(n, 1, 1)) == 1
        cells = np.where(flip, cells.transpose(0, 2, 1), cells)
    digits = np.zeros((n, side + 1), np.int8)
    digits[:, 1:] = shuffled(n, side) + 1
    return Symmetries(cells.reshape(n, -1).astype(np.int32), digits)


def apply(grids: ArrayLike, symmetries: Symmetries) -> Grid:
    """Applies symmetry i to grid i of [n, cells], for puzzles and answers alike; blanks stay blank."""
    moved = np.take_along_axis(np.asarray(grids), symmetries.cells, axis=1)
    return np.take_along_axis(symmetries.digits, moved.astype(np.intp), axis=1)


def encode(grids: NDArray[np.integer]) -> NDArray[np.integer]:
    """Grids -> tokens of the public dataset: 0 is padding, 1 a blank, d + 1 digit d. Keeps the dtype."""
    return grids + 1


def decode(tokens: NDArray[np.integer]) -> NDArray[np.integer]:
    """Tokens -> grids; padding becomes a blank. Keeps the dtype."""
    return np.maximum(tokens, 1) - 1
