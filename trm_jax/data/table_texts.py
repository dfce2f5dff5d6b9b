"""The texts of a table as tokens: the first puzzle sets the size of all, all rows together what their signs mean."""

from pathlib import Path

import numpy as np

from trm_jax.puzzles import table
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds import cells_of, kind_of
from trm_jax.puzzles.symmetry import Tokens

_NOTHING = np.zeros(1, np.int32)


class TableTexts:
    """How the texts of one table read. `kind` is theirs, None before the first one has been read."""

    def __init__(
        self, path: Path, puzzle: str, columns: tuple[str, str], rules: Rules | None = None, limit: int | None = None
    ) -> None:
        """Args:
        path: of the table.
        puzzle: a kind, of any size where the description leaves that open.
        columns: of the question and the answer.
        rules: of a user's own puzzle.
        limit: rows that are read; None: all.
        """
        self.kind: Kind | None = None
        self._path, self._puzzle, self._columns = path, puzzle, columns
        self._rules, self._limit = rules, limit

    def parse(self, text: str) -> Tokens:
        """The tokens of one text; DataError as `Kind.parse`, and where the rows do not tell what their signs mean."""
        if self.kind is None:
            self.kind = self._told(kind_of(self._puzzle, cells_of(self._puzzle, text), self._rules))
        return self.kind.parse(text)

    def _told(self, kind: Kind) -> Kind:
        if not kind.in_doubt:
            return kind
        signs: set[str] = set()

        def look(text: str) -> Tokens:
            nonlocal signs
            signs |= kind.signs(text)
            return _NOTHING

        table.read_pairs(self._path, look, limit=self._limit, columns=self._columns)
        return kind.told(signs)
