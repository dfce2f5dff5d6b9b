"""Puzzles as people hold them (text, lists, arrays) become tokens, or one line says why not and how to mend it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.symmetry import Tokens


def read_questions(kind: Kind, puzzles: Any, vocab_size: int) -> tuple[Tokens, bool]:
    """Questions as tokens int32 [N, S], each free of contradictions, and whether they are one puzzle and no batch.

    Args:
      kind: of puzzle.
      puzzles: as `read_boards` takes them.
      vocab_size: of the model; every token is below it.

    Raises:
      DataError: nothing that can be read, or a question that contradicts itself; names the puzzle and the place.
    """
    tokens, alone = read_boards(kind, puzzles, "puzzle")
    for i, question in enumerate(tokens):
        try:
            kind.check_question(question)
            if question.max() >= vocab_size:
                raise DataError(f"token {question.max()}, but the model takes 0 to {vocab_size - 1}")
        except DataError as error:
            raise _named("puzzle", None if alone else i, error) from None
    return tokens, alone


def read_boards(kind: Kind, boards: Any, what: str) -> tuple[Tokens, bool]:
    """Boards, questions or answers, as tokens int32 [N, S], and whether they are one board and no batch.

    Args:
      kind: of puzzle.
      boards: one, as text, as its rows of text, as characters [rows, columns], or, where cells hold numbers, as whole
        numbers [S] or [rows, columns]; or several: a list of these, or an array with one more axis in front.
      what: a board is called in messages.

    Raises:
      DataError: as `read_questions`, but for contradictions.
    """
    kind = _told(kind, boards)
    if isinstance(boards, str):
        return _one(kind, boards, what, None)[None], True
    if not isinstance(boards, (list, tuple)):  # an array of NumPy or JAX, or a column of a table
        array = np.asarray(boards)
        if array.ndim == 0:
            raise DataError(f"a {type(boards).__name__} is no {what}: {_forms(kind)}")
        boards = array.tolist() if array.dtype.kind in "UO" else array
    if len(boards) == 0:
        raise DataError(f"there is no {what} in what was given: {_forms(kind)}")
    if _is_one(kind, boards):
        return _one(kind, boards, what, None)[None], True
    return np.stack([_one(kind, board, what, i) for i, board in enumerate(boards)]), False


def _told(kind: Kind, boards: Any) -> Kind:
    """The kind as all texts together tell it."""
    if not kind.in_doubt:
        return kind
    texts = [boards] if isinstance(boards, str) else [board for board in boards if isinstance(board, str)]
    signs = [kind.signs(text) for text in texts]
    return kind.told(set[str]().union(*signs)) if any(signs) else kind


def _is_one(kind: Kind, boards: Any) -> bool:
    """Whether a sequence is a single board."""
    rows, columns = kind.shape
    first = boards[0]
    if isinstance(first, str):
        # Rows of a board are shorter than any board.
        return rows > 1 and len(boards) == rows and all(isinstance(row, str) and len(row) == columns for row in boards)
    axes = _axes(first)
    if axes == 0:
        return True
    return axes == 1 and (isinstance(kind, Arc) or (rows > 1 and len(boards) == rows and len(first) == columns))


def _axes(value: Any) -> int:
    """How many axes a nested list has, as far as its first members tell; a text has none."""
    if isinstance(value, (list, tuple)):
        return 1 + (_axes(value[0]) if value else 0)
    return 0 if isinstance(value, str) else int(np.ndim(value))


def _one(kind: Kind, board: Any, what: str, number: int | None) -> Tokens:
    """One board as tokens int32 [S]. number: which of several it is."""
    try:
        if isinstance(board, str):
            return kind.parse(board).astype(np.int32)
        try:
            cells = np.asarray(board)
        except ValueError:
            raise DataError(f"rows of different lengths: {_forms(kind)}") from None
        if cells.dtype.kind == "U":
            return kind.parse(_as_text(cells)).astype(np.int32)
        if not isinstance(kind, Arc) and cells.shape not in ((kind.cells,), kind.shape):
            raise DataError(f"an array of shape {cells.shape}: {_forms(kind)}")
        return kind.encode(_whole(cells)).astype(np.int32)
    except DataError as error:
        raise _named(what, number, error) from None


def _as_text(cells: NDArray[np.str_]) -> str:
    """Rows of text, or characters [rows, columns], as lines; characters [S] as one."""
    if cells.ndim == 2:
        return "\n".join("".join(row) for row in cells.tolist())
    return ("\n" if any(len(row) > 1 for row in cells.tolist()) else "").join(cells.tolist())


def _whole(cells: NDArray[Any]) -> NDArray[np.integer[Any]]:
    """The same numbers as integers; DataError for what is none, with its place."""
    if cells.dtype.kind in "iu":
        return cells
    if cells.dtype.kind == "f":
        wrong = np.argwhere(~(np.isfinite(cells) & (cells == np.round(cells)) & (np.abs(cells) < 1 << 31)))
        if not len(wrong):
            return cells.astype(np.int64)
        at = wrong[0]
        place = f"row {at[0] + 1}, column {at[1] + 1}" if len(at) == 2 else f"cell {at[0] + 1}"
        raise DataError(f"{cells[tuple(at)]} at {place} is no whole number: give 0 for a blank")
    raise DataError(f"cells of type {cells.dtype}: give whole numbers, or text")


def _forms(kind: Kind) -> str:
    """What may be given, as a clause."""
    rows, columns = kind.shape
    if isinstance(kind, Arc):
        return "give a grid of colours 0 to 9 as rows, text with a line for each row, or a list of these"
    numbers = f", or numbers of shape ({kind.cells},) or ({rows}, {columns})" if kind.holds_numbers else ""
    return f"give text of {kind.cells} cells{numbers}, or a list of these"


def _named(what: str, number: int | None, error: DataError) -> DataError:
    """The error with the board's name in front."""
    told = str(error).removeprefix("puzzle: ").removeprefix("grid: ")
    # As Python counts, and says: puzzles[1].
    return DataError(f"{what}{'' if number is None else f's[{number}]'}: {told}")
