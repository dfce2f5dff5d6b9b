"""Which rows of a table become puzzles of a dataset: the first ones, hard ones, or some at random."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.builders.pairs import Pairs, check_seed
from trm_jax.data.table_texts import TableTexts
from trm_jax.errors import DataError
from trm_jax.puzzles import table
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.symmetry import Tokens

COLUMNS = ("question", "answer")


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
    columns: tuple[str, str] = COLUMNS,
) -> tuple[Kind, Pairs]:
    """Reads puzzles from a table, each of them checked; rows that are not chosen are not looked at.

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
    limit = (choice.limit or None) if kept is None else None
    texts = TableTexts(path, puzzle, columns, rules, limit)
    fields = 0
    skipped = np.zeros(0, np.uint8)

    def parse(text: str) -> Tokens:
        # Fields come in pairs, row by row; the first row is read in any case, since it sets the size.
        nonlocal fields, skipped
        row, fields = fields // 2, fields + 1
        if texts.kind is None or kept is None or kept[row]:
            tokens = texts.parse(text).astype(np.uint8)
            skipped = skipped if len(skipped) else np.zeros_like(tokens)
            if kept is None or kept[row]:
                return tokens
        return skipped

    def check(question: Tokens, answer: Tokens) -> None:
        if texts.kind is not None and question is not skipped:
            texts.kind.check_pair(question, answer)

    pairs = Pairs(*table.read_pairs(path, parse, check, limit, columns))
    assert texts.kind is not None
    return texts.kind, pairs if kept is None else pairs.take(kept)


def _kept(path: Path, choice: Choice, columns: tuple[str, str]) -> NDArray[np.bool_]:
    """Of each row whether it is chosen."""
    check_seed(choice.seed)
    if choice.min_rating is None:
        eligible = np.ones(_survey(path, columns, lambda text: None), np.bool_)
    else:
        eligible = _ratings(path, columns[0]) >= choice.min_rating
    chosen = np.flatnonzero(eligible)[: choice.limit or None]
    if not len(chosen):
        raise DataError(f"{path}: no row has a rating of {choice.min_rating} or more: give a lower --min-rating")
    if choice.sample:
        rng = np.random.Generator(np.random.Philox(key=[choice.seed, 4]))
        chosen = rng.permutation(chosen)[: choice.sample]
    kept = np.zeros_like(eligible)
    kept[chosen] = True
    return kept


def _ratings(path: Path, question: str) -> NDArray[np.int64]:
    """The column `rating` of each row."""
    found: list[int] = []

    def look(text: str) -> None:
        if not (text.isascii() and text.isdecimal() and len(text) < 18):
            raise DataError(f"{text[:20]!r} is no whole number, which --min-rating needs; give one, or leave it out")
        found.append(int(text))

    _survey(path, (question, "rating"), look)
    return np.array(found)


def _survey(path: Path, columns: tuple[str, str], look: Callable[[str], None]) -> int:
    """How many rows a table has; each one's second column is looked at."""
    nothing = np.zeros(1, np.int8)
    fields = 0

    def parse(text: str) -> Tokens:
        nonlocal fields
        fields += 1
        if fields % 2 == 0:
            look(text)
        return nothing

    table.read_pairs(path, parse, columns=columns)
    return fields // 2
