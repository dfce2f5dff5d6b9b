"""Whether two Sudokus are the same puzzle: equal up to the symmetries of their layout, with blanks or without.

The symmetries are those of `sudoku.symmetries`. The method is colour refinement, the
one-dimensional Weisfeiler-Lehman test: a clue's colour is hashed again and again with the colours of its row,
column, box, band, stack and digit. What is hashed is a sum over the clues, so no symmetry changes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.sudoku import Grid, Layout, checked

Hashes = NDArray[np.uint64]

_ROUNDS = 4  # of refinement in a key: two tell the clues of ordinary puzzles apart
_CHUNK_CELLS = 1 << 17  # hashed at once, so that the arrays of one round stay in a processor's cache
_CLUE, _MARKED, _ROW, _COLUMN, _BAND, _STACK, _BOX, _DIGIT = np.arange(1, 9, dtype=np.uint64) * np.uint64(
    0x9E3779B97F4A7C15
)


def _mixed(values: Hashes) -> Hashes:
    """A bijection that spreads every bit over all 64 (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class _Refinement:
    """Refines the colours of many grids [n, cells] of one layout at once; blanks have no colour (0)."""

    def __init__(self, grids: Grid, layout: Layout) -> None:
        self.layout = layout
        self.clues = grids != 0
        self._digits = grids.astype(np.intp)
        # The sum over each digit's clues is a difference of two running sums in order of digits.
        self._by_digit = np.argsort(grids, axis=1, kind="stable")
        steps = np.sort(grids, axis=1)
        self._ends = np.stack([(steps <= d).sum(axis=1) for d in range(layout.side + 1)], axis=1)

    def start(self) -> Hashes:
        return np.where(self.clues, _CLUE, np.uint64(0))

    def round(self, colours: Hashes) -> Hashes:
        """One round, in which every clue sees the clues of all its units."""
        n, (box_rows, box_cols), side = len(colours), (self.layout.box_rows, self.layout.box_cols), self.layout.side
        square = colours.reshape(n, side, side)
        # Where transposition is a symmetry, rows and columns have to be hashed alike.
        column, stack = (_ROW, _BAND) if box_rows == box_cols else (_COLUMN, _STACK)
        rows, columns = (
            _mixed(square.sum(axis=2, dtype=np.uint64) + _ROW),
            _mixed(square.sum(axis=1, dtype=np.uint64) + column),
        )
        bands = _mixed(rows.reshape(n, box_cols, box_rows).sum(axis=2, dtype=np.uint64) + _BAND)
        stacks = _mixed(columns.reshape(n, box_rows, box_cols).sum(axis=2, dtype=np.uint64) + stack)
        boxes = square.reshape(n, box_cols, box_rows, box_rows, box_cols).sum(axis=(2, 4), dtype=np.uint64)
        boxes = _mixed(boxes + _BOX) + bands[:, :, None] + stacks[:, None, :]
        running = np.zeros((n, side * side + 1), np.uint64)
        np.cumsum(np.take_along_axis(colours, self._by_digit, 1), axis=1, out=running[:, 1:])
        running = np.take_along_axis(running, self._ends, 1)
        digits = np.zeros_like(running)
        digits[:, 1:] = _mixed(running[:, 1:] - running[:, :-1] + _DIGIT)

        seen = (rows[:, :, None] + columns[:, None, :]).reshape(n, box_cols, box_rows, box_rows, box_cols)
        seen = (seen + boxes[:, :, None, :, None]).reshape(n, -1) + np.take_along_axis(digits, self._digits, 1)
        return np.where(self.clues, _mixed(colours * np.uint64(3) + seen), np.uint64(0))

    def stable(self, colours: Hashes) -> tuple[Hashes, int]:
        """Refines until no round tells more clues apart; the colours, and how many rounds that took."""
        rounds, count = 0, -1
        while (now := int(_distinct(colours).sum())) > count:
            count, rounds, colours = now, rounds + 1, self.round(colours)
        return colours, rounds


def _distinct(colours: Hashes) -> NDArray[np.intp]:
    """How many different colours each row has, that of blanks included [n]."""
    steps = np.sort(colours, axis=1)
    return 1 + (steps[:, 1:] != steps[:, :-1]).sum(axis=1)


def _chunk_keys(grids: Grid, layout: Layout) -> Hashes:
    refinement = _Refinement(grids, layout)
    colours = refinement.start()
    for _ in range(_ROUNDS):
        colours = refinement.round(colours)
    keys = _mixed(_mixed(colours).sum(axis=1, dtype=np.uint64))
    # Where most clues look alike, as in full grids, a second look marks each clue in turn.
    regular = np.flatnonzero(2 * (_distinct(colours) - 1) < refinement.clues.sum(axis=1))
    for i in regular.tolist():
        places = np.flatnonzero(grids[i])
        keys[i] ^= _mixed(_marked_keys(grids[i], colours[i], places, layout)).sum()
    return keys


def _marked_keys(grid: Grid, colours: Hashes, places: NDArray[np.intp], layout: Layout) -> Hashes:
    """Keys of one grid with each of these clues marked in turn."""
    found = []
    size = max(1, _CHUNK_CELLS // layout.cells)
    for start in range(0, len(places), size):
        part = places[start : start + size]
        refinement = _Refinement(np.tile(grid, (len(part), 1)), layout)
        marked = np.tile(colours, (len(part), 1))
        marked[np.arange(len(part)), part] ^= _MARKED
        for _ in range(_ROUNDS):
            marked = refinement.round(marked)
        found.append(_mixed(_mixed(marked).sum(axis=1, dtype=np.uint64)))
    return np.concatenate(found)


def keys(grids: ArrayLike, layout: Layout) -> Hashes:
    """A key for each grid of [n, cells], uint64 [n]: isomorphic puzzles have equal keys.

    Others nearly always have different ones, but only `isomorphic` makes sure. One core does some 50,000 puzzles
    of side 9 a second, in a few tens of MB, and some 1,000 full grids, which take a second look. Raises DataError
    for another shape and for digits out of range.
    """
    values = np.asarray(grids)
    if values.ndim != 2 or values.shape[1] != layout.cells:
        raise DataError(f"puzzles have shape {values.shape}, needed is [n, {layout.cells}]")
    size = max(1, _CHUNK_CELLS // layout.cells)
    found = np.empty(len(values), np.uint64)
    for start in range(0, len(values), size):
        part = values[start : start + size]
        if part.dtype.kind not in "iu" or part.min() < 0 or part.max() > layout.side:
            for i, row in enumerate(part, start):
                checked(row, layout, f"puzzle {i}")
        found[start : start + size] = _chunk_keys(part.astype(np.int8), layout)
    return found


def isomorphic(first: ArrayLike, second: ArrayLike, layout: Layout) -> bool:
    """Whether a symmetry of the layout turns one puzzle [cells] into the other; exact, never a guess by keys.

    Milliseconds for puzzles as people solve them. The search may take seconds for large grids whose clues all look
    alike and still do when one is marked, such as the tables of two groups as Latin squares.

    Raises DataError for a wrong number of cells and for digits out of range.
    """
    pair = np.stack([checked(first, layout, "first puzzle"), checked(second, layout, "second puzzle")])
    if np.array_equal(*pair):
        return True
    a, b = keys(pair, layout)
    colours = _Refinement(pair, layout).start()
    return bool(a == b) and _extends(pair, colours[:1], colours[1:], layout)


def _extends(pair: Grid, first: Hashes, second: Hashes, layout: Layout) -> bool:
    """Whether a symmetry takes the first puzzle of a pair [2, cells], in the colours `first` [1, cells], to the second.

    The second may be in any of the colours `second` [m, cells]. All are refined; where some clues still look
    alike, one of the first puzzle is marked, those that it may go to are marked in the second, and so on.
    """
    first, rounds = _Refinement(pair[:1], layout).stable(first)
    refinement = _Refinement(np.tile(pair[1], (len(second), 1)), layout)
    for _ in range(rounds):
        second = refinement.round(second)
    second = second[(np.sort(second, axis=1) == np.sort(first, axis=1)).all(axis=1)]
    alike, counts = np.unique(first[first != 0], return_counts=True)
    if (counts < 2).all():
        source, *targets = (np.argsort(colours)[-len(counts) :] for colours in (first[0], *second))
        return any(_is_symmetry(pair, source, target, layout) for target in targets)
    smallest = alike[np.argmin(np.where(counts > 1, counts, layout.cells + 1))]
    first[0, np.flatnonzero(first[0] == smallest)[0]] ^= _MARKED
    for colours in second:
        places = np.flatnonzero(colours == smallest)
        marked = np.tile(colours, (len(places), 1))
        marked[np.arange(len(places)), places] ^= _MARKED
        if _extends(pair, first, marked, layout):
            return True
    return False


def _is_symmetry(pair: Grid, source: NDArray[np.intp], target: NDArray[np.intp], layout: Layout) -> bool:
    """Whether a symmetry takes the clues of the first puzzle at `source` [k] to those of the second at `target`.

    It does if clues share row, band, column, stack or digit exactly where their targets do: what has no clue
    can then be paired off anyhow.
    """

    def shared(grid: Grid, places: NDArray[np.intp], turned: bool = False) -> NDArray[np.bool_]:
        row, column = np.divmod(places, layout.side)
        units = [row, row // layout.box_rows, column, column // layout.box_cols]
        table = np.stack([*(units[2:] + units[:2] if turned else units), grid[places]])
        return np.asarray(table[:, :, None] == table[:, None, :])

    wanted = shared(pair[0], source)
    may_turn = layout.box_rows == layout.box_cols
    return any(
        np.array_equal(wanted, shared(pair[1], target, turned)) for turned in ((False, True) if may_turn else (False,))
    )


def overlaps(first: ArrayLike, second: ArrayLike, layout: Layout) -> list[tuple[int, int]]:
    """All (i, j), sorted, for which puzzle i of `first` [n, cells] and j of `second` [m, cells] are isomorphic.

    Equal keys select the candidates, `isomorphic` decides. Raises DataError as `keys` does.
    """
    sets = np.asarray(first), np.asarray(second)
    found = [keys(grids, layout) for grids in sets]
    common = np.intersect1d(found[0], found[1])
    # Per key the classes met so far: being isomorphic is transitive, so one puzzle stands for its class.
    classes: dict[int, list[tuple[Grid, tuple[list[int], list[int]]]]] = {}
    for side, (grids, hashes) in enumerate(zip(sets, found, strict=True)):
        for i in np.flatnonzero(np.isin(hashes, common)).tolist():
            known = classes.setdefault(int(hashes[i]), [])
            for standing, members in known:
                if isomorphic(standing, grids[i], layout):
                    members[side].append(i)
                    break
            else:
                members = ([], [])
                members[side].append(i)
                known.append((grids[i], members))
    return sorted((i, j) for known in classes.values() for _, (left, right) in known for i in left for j in right)
