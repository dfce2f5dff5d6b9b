"""The texts of a table as tokens: the first puzzle sets the size of all, all rows together what their signs mean."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import table
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds import cells_of, describe, kind_of, of_another_kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table_columns import USUAL, Columns

# Digits that a spreadsheet keeps of a number; the others become 0.
_KEPT_DIGITS, _LONG = 15, 36


def read_tokens(
    path: Path,
    puzzle: str,
    columns: Columns = USUAL,
    *,
    rules: Rules | None = None,
    limit: int = 0,
    kept: NDArray[np.bool_] | None = None,
    answered: bool = True,
    checked: bool = True,
    dtype: type[np.integer[Any]] = np.int16,
) -> tuple[Kind, Tokens, Tokens, NDArray[np.int64]]:
    """The kind, questions [N, S], answers [N, S] and rows [N] of a table, these as `table.read_numbered` counts them.

    An answer that is not there is 0 in all cells.

    Args:
      path, columns, kept, answered: as for `table.read_numbered`.
      puzzle: a kind, of any size where the description leaves that open.
      rules: of a user's own puzzle.
      limit: rows that are read; 0: all.
      checked: refuse puzzles that contradict themselves, and answers that are none.
      dtype: of the tokens.

    Raises:
      DataError: names file, row and column; or the kind of puzzle, if it does not stand in tables.
    """
    kind: Kind | None = None
    digits = describe(puzzle)["kind"] == "sudoku"

    def parse(text: str) -> Tokens:
        nonlocal kind
        if digits and len(text) >= _LONG and text[0] != "0" and text.isdecimal() and not text[_KEPT_DIGITS:].strip("0"):
            raise DataError(
                f"all but the first {_KEPT_DIGITS} digits are 0, as a spreadsheet makes them of a number: fetch the "
                "file again, and import the column as text"
            )
        try:
            if kind is None:
                kind = _told(kind_of(puzzle, cells_of(puzzle, text), rules), path, columns, limit)
            return kind.parse(text).astype(dtype)
        except DataError as error:
            raise DataError(of_another_kind(puzzle, text) or str(error)) from None

    def check(question: Tokens, answer: Tokens) -> None:
        assert kind is not None
        if answer.any():
            kind.check_pair(question, answer)
            return
        try:
            kind.check_question(question)
        except DataError as error:
            raise DataError(f"question: {str(error).removeprefix('puzzle: ')}") from None

    try:
        if describe(puzzle)["kind"] in ("arc", "tokens"):
            cells_of(puzzle, "")
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    questions, answers, rows = table.read_numbered(
        path, parse, check if checked else None, limit or None, columns, answered, kept
    )
    assert kind is not None
    return kind, questions, answers, rows


def _told(kind: Kind, path: Path, columns: Columns, limit: int) -> Kind:
    """The kind as the signs of all rows tell it."""
    if not kind.in_doubt:
        return kind
    signs: set[str] = set()
    for texts in table.read_texts(path, limit or None, columns, answered=False):
        for text in filter(None, texts):
            signs |= kind.signs(text)
    return kind.told(signs)
