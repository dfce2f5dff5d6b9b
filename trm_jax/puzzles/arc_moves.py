"""ARC pairs in other places, turned and recoloured: whole batches of tokens, by NumPy and by JAX alike.

A pair is a question and an answer, tokens [900] each, that `arc.encode` put at the same row and column. All is drawn
from random 32-bit words, and the same words make the same bits in both libraries.
"""

from typing import NamedTuple

import numpy as np

from trm_jax.puzzles.arc import COLOURS, END, FIRST_COLOUR, SIDE, Augmentation
from trm_jax.puzzles.symmetry import Array, choices, renamings

TRANSLATION_WORDS = 3
"""Random words that `translated` takes for a pair: for the row, for the column, and for whether to draw them at all."""

CORNER_SHARE = 4
"""Of so many draws one puts its pair at the top left, where test puzzles lie; the original leaves one example of each
task there, of which there are four on average."""

TURN_WORDS = COLOURS
"""Random words that `turned` takes for a pair: for the map and for each colour but the background."""

# What the eight maps do to a grid, in the order of `dihedral_indices`: where the cell at row i, column j of the image
# comes from, i and j are exchanged first, and then counted from the far side.
_SWAPPED = np.isin(np.arange(8), (1, 3, 6, 7))
_ROWS_REVERSED = np.isin(np.arange(8), (2, 3, 5, 7))
_COLUMNS_REVERSED = np.isin(np.arange(8), (1, 2, 4, 7))


class _Place(NamedTuple):
    """A row and a column for each of n boards, or so many of them, each int32 [n]."""

    rows: Array
    columns: Array


def translated(words: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
    """Both grids of each pair alike at another place: the top left corner, or any at which both fit.

    The corner is chosen outright by one draw in CORNER_SHARE; otherwise all places are as likely.

    Args:
      words: random, uint32 [n, TRANSLATION_WORDS].
      inputs, labels: tokens [n, 900] of any integer dtype, which is kept. Either may be padding alone, and stays so.

    Returns:
      Both as `arc.encode` would put their grids there: ends are marked where there is room.
    """
    xp = words.__array_namespace__()
    question, answer = _size(inputs), _size(labels)
    moves = words[:, 2] % CORNER_SHARE != 0
    place = _Place(
        xp.where(moves, choices(words[:, 0], SIDE + 1 - xp.maximum(question.rows, answer.rows)), 0),
        xp.where(moves, choices(words[:, 1], SIDE + 1 - xp.maximum(question.columns, answer.columns)), 0),
    )
    still = xp.zeros(len(words), dtype=xp.int32)
    origin = _origin(inputs, labels)
    return _moved(inputs, origin, question, place, still), _moved(labels, origin, answer, place, still)


def turned(words: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
    """Both grids of each pair under one `Augmentation`, each map and each change of colours being equally likely.

    The pair stays where it was, or as near as its images fit, where they exchange rows and columns.

    Args:
      words: random, uint32 [n, TURN_WORDS].
      inputs, labels: tokens [n, 900], as for `translated`.
    """
    xp = words.__array_namespace__()
    maps, colours = _drawn(words)
    before = _size(inputs), _size(labels)
    question, answer = (_image_size(size, maps) for size in before)
    origin = _origin(inputs, labels)
    place = _Place(
        xp.minimum(origin.rows, SIDE - xp.maximum(question.rows, answer.rows)),
        xp.minimum(origin.columns, SIDE - xp.maximum(question.columns, answer.columns)),
    )
    # Padding and the end marker keep their names.
    plain = xp.broadcast_to(xp.arange(FIRST_COLOUR, dtype=xp.int32)[None], (len(words), FIRST_COLOUR))
    tokens = xp.concatenate([plain, colours + FIRST_COLOUR], axis=1)
    inputs, labels = (
        xp.take_along_axis(tokens, boards.astype(xp.int32), axis=1).astype(boards.dtype) for boards in (inputs, labels)
    )
    return _moved(inputs, origin, before[0], place, maps), _moved(labels, origin, before[1], place, maps)


def augmentations(words: Array) -> list[Augmentation]:
    """What `turned` does under each of the words [n, TURN_WORDS]: for names and inverses, on the host."""
    maps, colours = _drawn(np.asarray(words))
    return [Augmentation(map, tuple(row)) for map, row in zip(maps.tolist(), colours.tolist(), strict=True)]


def _drawn(words: Array) -> tuple[Array, Array]:
    """Maps int32 [n] and what each colour becomes, int32 [n, 10]."""
    return choices(words[:, 0], len(_SWAPPED)), renamings(words[:, 1:])


def _coloured(boards: Array) -> Array:
    return boards.reshape(-1, SIDE, SIDE) >= FIRST_COLOUR


def _size(boards: Array) -> _Place:
    """Rows and columns of each board's grid, 0 where no cell has a colour."""
    xp = boards.__array_namespace__()
    rows, columns = (_coloured(boards).any(axis=axis).sum(axis=1) for axis in (2, 1))
    return _Place(rows.astype(xp.int32), columns.astype(xp.int32))


def _image_size(size: _Place, maps: Array) -> _Place:
    xp = maps.__array_namespace__()
    swapped = xp.asarray(_SWAPPED)[maps]
    return _Place(xp.where(swapped, size.columns, size.rows), xp.where(swapped, size.rows, size.columns))


def _origin(inputs: Array, labels: Array) -> _Place:
    """Where the top left cells of both grids of each pair are; where only one has a grid, that one's."""
    xp = inputs.__array_namespace__()
    coloured = _coloured(inputs) | _coloured(labels)
    rows, columns = (xp.argmax(coloured.any(axis=axis), axis=1) for axis in (2, 1))
    return _Place(rows.astype(xp.int32), columns.astype(xp.int32))


def _moved(boards: Array, origin: _Place, size: _Place, place: _Place, maps: Array) -> Array:
    """Boards [n, 900]: the image of each grid, which has this size and was at the origin, at another place."""
    xp = boards.__array_namespace__()
    image = _image_size(size, maps)
    cells = xp.arange(SIDE, dtype=xp.int32)
    i, j = cells[None, :, None] - _each(place.rows), cells[None, None, :] - _each(place.columns)
    in_rows, in_columns = (i >= 0) & (i < _each(image.rows)), (j >= 0) & (j < _each(image.columns))
    inside = in_rows & in_columns
    ends = (i == _each(image.rows)) & in_columns | in_rows & (j == _each(image.columns))

    swapped, reversed_rows, reversed_columns = (
        _each(xp.asarray(table)[maps]) for table in (_SWAPPED, _ROWS_REVERSED, _COLUMNS_REVERSED)
    )
    rows, columns = xp.where(swapped, j, i), xp.where(swapped, i, j)
    rows = _each(origin.rows) + xp.where(reversed_rows, _each(size.rows) - 1 - rows, rows)
    columns = _each(origin.columns) + xp.where(reversed_columns, _each(size.columns) - 1 - columns, columns)
    sources = xp.where(inside, rows * SIDE + columns, 0).reshape(boards.shape)
    found = xp.take_along_axis(boards, sources, axis=1).reshape(inside.shape)
    return xp.where(inside, found, ends.astype(boards.dtype) * END).reshape(boards.shape)


def _each(values: Array) -> Array:
    """One value for all cells of a board: [n] as [n, 1, 1]."""
    return values[:, None, None]
