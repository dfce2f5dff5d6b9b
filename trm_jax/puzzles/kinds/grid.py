"""Puzzles of the user's own as a kind of puzzle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import grid
from trm_jax.puzzles.declared import items_of
from trm_jax.puzzles.faults import Faults, of_clues, of_declared
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens, random_words
from trm_jax.puzzles.text.writing import Writing

# Of each row under a declared symmetry, when it is tried by the rules.
_IMAGES = 8


class Grid(Kind):
    """A puzzle of the user's own: a declared shape, alphabet and symmetries (puzzles/grid.py), and rules if given."""

    name = "grid"
    keys = ("shape", "alphabet", "symmetries", "units")

    def __init__(self, board: grid.Grid, rules: Rules | None = None) -> None:
        self._grid, self._rules = board, rules
        self.shape = board.shape
        self.vocab_size = board.vocab_size
        self.has_rules = rules is not None
        self.has_symmetries = bool(board.symmetries)
        self.units = board.known_units
        self.blank = 1

    @classmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> "Grid":
        return cls(grid.Grid.from_dict(about), rules)

    @classmethod
    def writing_of(cls, about: Mapping[str, Any]) -> Writing:
        return grid.Grid.from_dict(about).writing

    @classmethod
    def cells_of(cls, about: Mapping[str, Any], text: str) -> int:
        return grid.Grid.from_dict(about).cells

    def to_dict(self) -> dict[str, Any]:
        return self._grid.to_dict()

    @property
    def writing(self) -> Writing:
        return self._grid.writing

    def parse(self, text: str) -> Tokens:
        return self._grid.parse(text)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        if self._rules and not self.satisfied(question[None], answer[None])[0]:
            raise DataError("answer: the rules given do not accept it for this question; correct either")
        half = np.where(np.arange(len(question)) % 2, question, answer)
        if any(self.refuted(question, board) for board in (question, half, answer)):
            raise DataError(
                "answer: check accepts it, and check_partial refuses a board on the way to it: correct that"
            )

    def satisfied(self, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        if self._rules is None:
            return super().satisfied(questions, answers)
        verdicts = []
        for question, answer in zip(questions, answers, strict=True):
            if (answer == 0).any():  # padding is no character, so no rule can speak of it
                verdicts.append(False)
            else:
                verdicts.append(bool(self._rules(self.text(question), self.text(answer))))
        return np.array(verdicts, np.bool_)

    def refuted(self, question: Tokens, board: Tokens) -> bool:
        partial = getattr(self._rules, "partial", None)
        return partial is not None and not partial(self.text(question), self.text(board))

    def check_symmetries(self, questions: Tokens, answers: Tokens) -> None:
        """Tries every declared symmetry on pairs [N, S] that keep to the rules; without rules nothing is known.

        Raises:
          DataError: names the first after which a pair keeps to them no more.
        """
        if self._rules is None or not len(questions):
            return
        rng, repeated = np.random.default_rng(0), np.repeat(np.arange(len(questions)), _IMAGES)
        for item in items_of(self._grid.symmetries):
            board = replace(self._grid, symmetries=item, units={})
            turned = board.drawn(random_words(rng, len(repeated), board.words))
            kept = self.satisfied(turned.apply(questions[repeated]), turned.apply(answers[repeated]))
            if not kept.all():
                i = int(kept.argmin())
                image = Symmetries(turned.cells[i : i + 1], turned.tokens[i : i + 1])
                question, answer = (image.apply(side[repeated[i : i + 1]])[0] for side in (questions, answers))
                raise DataError(
                    f"symmetries: {item!r:.60} is none by the rules, which refuse {self.text(answer)!r:.100} as the "
                    f"answer to {self.text(question)!r:.100}, an image of a pair that they accept: leave it out"
                )

    def finds_faults(self, label: Tokens | None = None) -> bool:
        return self.units is not None or label is not None

    def faults(self, question: Tokens, answer: Tokens, label: Tokens | None = None) -> Faults:
        """As far as the declared units tell, or else clues that the label keeps; the rules speak of no cell."""
        if self.units is not None:
            return of_declared(self.units, question, answer, self.shape[1])
        if label is None:
            return super().faults(question, answer)
        return of_clues(self.given(question) & (label == question), question, answer, self.shape[1])

    def glyphs(self, tokens: Tokens) -> list[str]:
        return ["?" if token == 0 else self._grid.alphabet[token - 1] for token in tokens.tolist()]

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        """What a question leaves open only its rules know; the first character of the alphabet is taken for a blank."""
        return question != 1

    @property
    def words(self) -> int:
        return self._grid.words if self.has_symmetries else 0

    def symmetries(self, words: Array) -> Symmetries:
        return self._grid.drawn(words) if self.has_symmetries else super().symmetries(words)

    def _keys(self, questions: Tokens) -> list[bytes]:
        return [row.tobytes() for row in self._grid.canonical(questions)]
