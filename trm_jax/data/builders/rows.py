"""Which rows of a table become puzzles of a dataset: the first ones, hard ones, or some at random."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.builders.pairs import Pairs, check_seed
from trm_jax.data.table_texts import read_tokens
from trm_jax.errors import DataError
from trm_jax.puzzles import table
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.table_columns import USUAL, Columns


@dataclass(frozen=True)
class Choice:
    """Which rows to take.

    limit: at most the first so many; 0: all.
    min_rating: only those whose column `rating` is at least this; None: any, the column need not be there.
    sample: so many drawn at random, by `seed`, of all that the above leaves; 0: all.
    """

    limit: int = 0
    min_rating: int | None = None
    sample: int = 0
    seed: int = 0


def read(
    path: Path,
    puzzle: str,
    rules: Rules | None = None,
    choice: Choice | None = None,
    columns: Columns = USUAL,
) -> tuple[Kind, Pairs, NDArray[np.int64]]:
    """Reads puzzles from a table, each of them checked, and its row [N]; rows that are not chosen are not looked at.

    Args:
      path: a CSV or JSONL file, plain or gzipped.
      puzzle: its kind; the first puzzle that is read sets the size where the kind leaves it open.
      rules: of a user's own puzzle.
      choice: of rows; None takes all.
      columns: of the question and the answer.

    Raises:
      DataError: names file, row and column; or no row is chosen.
    """
    choice = choice or Choice()
    kept = _kept(path, choice, columns) if choice.sample or choice.min_rating is not None else None
    limit = choice.limit if kept is None else 0
    kind, inputs, labels, rows = read_tokens(path, puzzle, columns, rules=rules, limit=limit, kept=kept, dtype=np.uint8)
    return kind, Pairs(inputs, labels), rows


def _kept(path: Path, choice: Choice, columns: Columns) -> NDArray[np.bool_]:
    """Of each row whether it is chosen."""
    check_seed(choice.seed)
    if choice.min_rating is None:
        eligible = np.ones(sum(1 for _ in table.read_texts(path, columns=columns)), np.bool_)
    else:
        eligible = _ratings(path, columns[0]) >= choice.min_rating
    chosen = np.flatnonzero(eligible)[: choice.limit or None]
    if not len(chosen) and choice.min_rating is not None:
        raise DataError(f"{path}: no row has a rating of {choice.min_rating} or more: give a lower --min-rating")
    if choice.sample:
        rng = np.random.Generator(np.random.Philox(key=[choice.seed, 4]))
        chosen = rng.permutation(chosen)[: choice.sample]
    kept = np.zeros_like(eligible)
    kept[chosen] = True
    return kept


def _ratings(path: Path, question: str) -> NDArray[np.int64]:
    """The column `rating` of each row."""
    last = ""

    def rating(text: str) -> NDArray[np.int64]:
        nonlocal last
        last = text
        return np.array([int(text) if text.isascii() and text.isdecimal() and len(text) < 18 else -1])

    def check(_: NDArray[Any], found: NDArray[Any]) -> None:
        if found[0] < 0:
            raise DataError(f"{last[:20]!r} is no whole number, which --min-rating needs; give one, or leave it out")

    _, found = table.read_pairs(path, rating, check, columns=(question, "rating"))
    return found[:, 0].astype(np.int64)
