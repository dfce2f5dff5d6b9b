"""The augmentations of an ARC task, all different, and the boards that they make of its pairs.

All randomness is counter-based and belongs to a task: its augmentations depend on the seed and on its name alone, and
more of them begin with the same ones.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from trm_jax.puzzles.arc import (
    CELLS,
    COLOURS,
    END,
    FIRST_COLOUR,
    IDENTITY,
    SIDE,
    VOCAB_SIZE,
    Augmentation,
    Grid,
)

Pair = tuple[Grid, Grid]
Uint64 = NDArray[np.uint64]

_MAPS = 8
# The maps that make rows of columns.
_SWAPPING = (1, 3, 6, 7)
# Simple tasks look alike under most augmentations; after so many draws for each one wanted, fewer have to do.
_DRAWS_PER_AUGMENTATION = 5


class Augmentations(NamedTuple):
    """n augmentations of a task, the identity first: maps [n], colours [n, 10] uint8, as in `Augmentation`."""

    maps: NDArray[np.intp]
    colours: NDArray[np.uint8]

    def names(self, task: str) -> list[str]:
        """Their identifiers."""
        pairs = zip(self.maps.tolist(), self.colours.tolist(), strict=True)
        return [Augmentation(turn, tuple(colours)).name(task) for turn, colours in pairs]


def draw(task: str, pairs: Sequence[Pair], augmentations: int, seed: int) -> Augmentations:
    """The identity and up to so many augmentations, no two of which make the same pairs of these, in whatever order."""
    rng = _generator(seed, task, 0)
    identity = np.array([IDENTITY.colours], np.uint8)
    maps, colours = np.zeros(1, np.intp), identity
    tables = _hash_tables(pairs)
    hashes = _hashes(tables, maps, colours)
    for _ in range(_DRAWS_PER_AUGMENTATION):
        if len(maps) > augmentations:
            break
        numbers = rng.random((augmentations, COLOURS))
        permuted = np.pad(np.argsort(numbers[:, 1:], axis=1) + 1, ((0, 0), (1, 0)))
        maps = np.append(maps, (numbers[:, 0] * _MAPS).astype(np.intp))
        colours = np.concatenate([colours, permuted.astype(np.uint8)])
        hashes = np.append(hashes, _hashes(tables, maps[len(hashes) :], colours[len(hashes) :]))
        kept = np.sort(np.unique(hashes, return_index=True)[1])
        maps, colours, hashes = maps[kept], colours[kept], hashes[kept]
    return Augmentations(maps[: augmentations + 1], colours[: augmentations + 1])


def random_places(task: str, pairs: Sequence[Pair], drawn: Augmentations, seed: int) -> NDArray[np.intp]:
    """Where both grids of each pair fit, [n, E, 2], as `place` takes it; one of each puzzle stays at the top left."""
    count = len(drawn.maps)
    numbers = _generator(seed, task, 1).random((count, 2 * len(pairs) + 1))
    sizes = np.array([np.maximum(grid.shape, output.shape) for grid, output in pairs])
    swapped = np.isin(drawn.maps, _SWAPPING)[:, None, None]
    room = SIDE + 1 - np.where(swapped, sizes[:, ::-1], sizes)
    shifts = (numbers[:, 1:].reshape(count, len(pairs), 2) * room).astype(np.intp)
    shifts[np.arange(count), (numbers[:, 0] * len(pairs)).astype(np.intp)] = 0
    return shifts


def place(
    pairs: Sequence[Pair], drawn: Augmentations, shifts: NDArray[np.intp]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Tokens of E pairs under n augmentations: inputs and labels [n * E, 900], all pairs of an augmentation together.

    Args:
      pairs: E of them.
      drawn: n augmentations.
      shifts: row and column of the top left cell of both grids of each pair, [n, E, 2]; they have to leave room.
    """
    shape = len(drawn.maps), len(pairs), CELLS
    placed = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    # What each token becomes, for all augmentations in one row: padding and end markers stay.
    tokens = np.zeros((len(drawn.maps), VOCAB_SIZE), np.uint8)
    tokens[:, END], tokens[:, FIRST_COLOUR:] = END, drawn.colours + FIRST_COLOUR
    own = (np.arange(len(drawn.maps)) * VOCAB_SIZE)[:, None]
    for e, pair in enumerate(pairs):
        rows, columns = shifts[:, e, 0], shifts[:, e, 1]
        for grid, target in zip(pair, placed, strict=True):
            cut = _windows(grid)[drawn.maps, SIDE - rows, SIDE - columns]
            np.take(tokens, cut.reshape(-1, CELLS) + own, out=target[:, e])
    inputs, labels = placed
    return inputs.reshape(-1, CELLS), labels.reshape(-1, CELLS)


def _windows(grid: Grid) -> NDArray[np.uint8]:
    """Boards [8, 31, 31, 30, 30]: a grid's eight images, each with its top left cell at row and column 30 minus index.

    A view: every board is a window of one image in the middle of emptiness, which cuts off markers without room.
    """
    around = np.zeros((_MAPS, 2 * SIDE + 1, 2 * SIDE + 1), np.uint8)
    for turn, board in enumerate(around):
        image = _image(grid, turn)
        below, right = SIDE + image.shape[0], SIDE + image.shape[1]
        board[SIDE:below, SIDE:right] = image + FIRST_COLOUR
        board[below, SIDE:right] = END
        board[SIDE:below, right] = END
    return sliding_window_view(around, (SIDE, SIDE), axis=(1, 2))


def _image(grid: Grid, turn: int) -> Grid:
    return Augmentation(turn, IDENTITY.colours).apply(grid)


def _hash_tables(pairs: Sequence[Pair]) -> list[Uint64]:
    """For each pair [8, 10, 10]: what colour a, having become b, adds to the pair's hash under each map.

    A pair's hash is the sum over its cells of random numbers, one for each grid, place and colour, and so the
    augmentations of a pair can be told apart without making them.
    """
    numbers = _random_numbers()
    tables = []
    for pair in pairs:
        table = np.zeros((_MAPS, COLOURS, COLOURS), np.uint64)
        for turn in range(_MAPS):
            for grid, of_grid in zip(pair, numbers, strict=True):
                image = _image(grid, turn)
                cells = of_grid[: image.shape[0], : image.shape[1]].reshape(-1, COLOURS)
                table[turn] += (image.ravel() == np.arange(COLOURS)[:, None]).astype(np.uint64) @ cells
        tables.append(table)
    return tables


def _hashes(tables: Sequence[Uint64], maps: NDArray[np.intp], colours: NDArray[np.uint8]) -> Uint64:
    """Hashes [n] of the pairs under n augmentations, the same for any order of the pairs."""
    total = np.zeros(len(maps), np.uint64)
    for table in tables:
        total += _mixed(table[maps[:, None], np.arange(COLOURS), colours].sum(axis=1, dtype=np.uint64))
    return total


def _mixed(values: Uint64) -> Uint64:
    """The finaliser of SplitMix64: without it, pairs that swap cells would add up to the same."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@lru_cache(maxsize=1)
def _random_numbers() -> Uint64:
    """For each grid of a pair, row, column and colour, [2, 30, 30, 10]."""
    rng = np.random.Generator(np.random.Philox(key=0))
    return rng.integers(0, 1 << 64, (2, SIDE, SIDE, COLOURS), np.uint64)


def _generator(seed: int, task: str, stream: int) -> np.random.Generator:
    name = int.from_bytes(sha256(task.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.Philox(key=[seed, name], counter=[0, 0, 0, stream]))
