"""Sets of puzzles for a look from the outside: every split of a dataset folder, or a table, with the kind of puzzle.

Unlike `dataset.load` nothing here refuses a puzzle that breaks its rules.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trm_jax.data import dataset, puzzle_set
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.table_texts import read_tokens
from trm_jax.errors import DataError
from trm_jax.puzzles import arc, maze, sudoku, table
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds import cells_of, describe, kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.puzzles.text.reading import read_one

# Digits and blanks, some with a sign before them, which no kind has.
_SIGNED = re.compile(r"(?=.*[-+]\d)[-+\d\s.,;|/_*?xX\[\]]+", re.DOTALL)


@dataclass(frozen=True)
class OpenSet:
    """One set of puzzles.

    name: for people: the path, and which split of it.
    path: of the table or the dataset folder.
    split: of a dataset folder; "" for a table.
    puzzles: as read.
    kind: told by the files, by the user, or guessed.
    guessed: whether it was.
    """

    name: str
    path: Path
    split: str
    puzzles: PuzzleSet
    kind: Kind
    guessed: bool

    def firsts(self) -> NDArray[np.int64]:
        """The first example of each group: the puzzle that is not augmented."""
        return self.puzzles.puzzle_starts[self.puzzles.group_starts[:-1]]

    def pairs(self, rows: NDArray[np.int64] | slice) -> tuple[Tokens, Tokens]:
        """Questions and answers of some rows."""
        return np.asarray(self.puzzles.inputs[rows]), np.asarray(self.puzzles.labels[rows])


def open_sets(
    path: Path,
    puzzle: str = "",
    columns: Columns = USUAL,
    rules: Rules | None = None,
    splits: list[str] | None = None,
) -> list[OpenSet]:
    """The splits of a dataset folder, train first, or the one set of a table, whose puzzles need no answers.

    Args:
      path: of either.
      puzzle: its kind (puzzles/kinds/); "" for what the files tell, or else a guess.
      columns: of the question and the answer in a table.
      rules: of a user's own puzzle.
      splits: of a dataset folder; None for all.

    Raises:
      DataError: what cannot be read, or of which kind it is cannot be told.
    """
    if not path.is_dir():
        if splits:
            raise DataError(f"{path}: a table has no splits: leave out {', '.join(splits):.60}")
        return [_open_table(path, puzzle, columns, rules)]
    found = sorted(each.parent.name for each in path.glob("*/dataset.json"))
    names = splits or sorted(found, key=lambda name: (name != "train", name))
    if not names:
        raise DataError(f"{path}: no dataset folder: none of its folders holds a dataset.json")
    for name in names:
        if name not in found:
            there = f"there {'is' if len(found) == 1 else 'are'} {', '.join(found) or 'none'}"
            raise DataError(f"{path}: no split {name!r:.60}: {there}")
    return [_open_split(path, name, puzzle, rules) for name in names]


def _open_split(path: Path, split: str, puzzle: str, rules: Rules | None) -> OpenSet:
    puzzles = dataset.read_folder(path, split)
    told = puzzle or puzzles.puzzle
    kind = kind_of(told or _guess(puzzles), puzzles.seq_len, rules)
    if kind.vocab_size not in (0, puzzles.vocab_size):
        raise DataError(
            f"{path / split}: {puzzles.vocab_size} tokens, but {kind.name} has {kind.vocab_size}: give another --puzzle"
        )
    return OpenSet(f"{path} {split}", path, split, puzzles, kind, not told)


def _guess(puzzles: PuzzleSet) -> str:
    """The kind that has so many cells and so many tokens, in the folders of the original's builders."""
    cells, tokens = puzzles.seq_len, puzzles.vocab_size
    if (cells, tokens) == (arc.CELLS, arc.VOCAB_SIZE):
        return "arc"
    with suppress(DataError):
        if sudoku.layout_of_length(cells).vocab_size == tokens:
            return "sudoku"
    with suppress(DataError):
        maze.square_shape(cells)
        return "maze" if tokens == maze.VOCAB_SIZE else "tokens"
    return "tokens"


def _open_table(path: Path, puzzle: str, columns: Columns, rules: Rules | None) -> OpenSet:
    told = puzzle or _guess_text(*_first_row(path, columns), path)
    about = describe(told)
    if about["kind"] in ("arc", "tokens"):
        raise DataError(f"{path}: puzzles of kind {about['kind']!r} do not stand in tables: give a dataset folder")
    kind, questions, answers, rows = read_tokens(path, told, columns, rules=rules, answered=False, checked=False)
    puzzles = puzzle_set.from_pairs(questions, answers, kind.vocab_size, json.dumps(kind.to_dict()), rows)
    return OpenSet(str(path), path, "", puzzles, kind, not puzzle)


def _first_row(path: Path, columns: Columns) -> table.Texts:
    for texts in table.read_texts(path, 1, columns, answered=False):
        return texts
    raise DataError(f"{path}: the file holds no row of puzzles; give at least one")


def _guess_text(question: str, answer: str | None, path: Path) -> str:
    """The kind whose questions look like this one."""
    for name in ("sudoku", "maze"):
        with suppress(DataError):
            # What its digits mean only all rows tell.
            read_one(question, kind_of(name, cells_of(name, question)).writing)
            return name
    if _SIGNED.fullmatch(question):
        return "sudoku"  # whose reader tells what is wrong with the signs, whatever the kind
    told = table.spoilt("give --puzzle, or of mazes that are no squares --size", question, answer)
    raise DataError(f"{path}: of which kind are its puzzles? they look like neither sudoku nor maze: {told}")
