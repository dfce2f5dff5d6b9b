"""Sudokus as a kind of puzzle; Latin squares are those whose boxes are of one row or one column."""

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku, sudoku_isomorphism
from trm_jax.puzzles.faults import Faults
from trm_jax.puzzles.kind import Kind, Parsed, Rules
from trm_jax.puzzles.kinds.values import legend_of, shown
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens
from trm_jax.puzzles.text.reading import read_several
from trm_jax.puzzles.text.writing import Board, Writing
from trm_jax.puzzles.units import units_of_sudoku


class Sudoku(Kind):
    """Sudokus of any box size; symmetries relabel digits and permute bands, stacks, rows and columns."""

    name = "sudoku"
    keys = ("box", "legend")
    holds_numbers = True

    def __init__(self, layout: sudoku.Layout, legend: str = "") -> None:
        self.layout, self.legend = layout, legend
        self.in_doubt = sudoku.in_doubt(layout) and not legend
        self.shape = layout.side, layout.side
        self.vocab_size = layout.vocab_size
        self.boxes = layout.box_rows, layout.box_cols
        self.units = units_of_sudoku(layout.box_rows, layout.box_cols)
        self.blank = self.units.blank

    @classmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> "Sudoku":
        layout = _layout(about["box"]) if "box" in about else sudoku.layout_of_length(cells)
        return cls(layout, legend_of(about))

    @classmethod
    def writing_of(cls, about: Mapping[str, Any]) -> Writing:
        legend = legend_of(about)
        if "box" in about:
            return sudoku.writing(_layout(about["box"]), legend)
        # A legend has the blank and as many digits as the side.
        return sudoku.writing(sudoku.layout_for(len(legend) - 1) if legend else None, legend)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.name, "box": f"{self.layout.box_rows}x{self.layout.box_cols}"}

    @property
    def writing(self) -> Writing:
        return sudoku.writing(self.layout, self.legend)

    def parse(self, text: str) -> Tokens:
        return sudoku.encode(sudoku.parse(text, self.layout, self.legend))

    def parse_several(self, text: str) -> list[Parsed]:
        told = self.told(self.signs(text))
        return super().parse_several(text) if told is self else told.parse_several(text)

    def _tokens(self, board: Board) -> Tokens:
        return sudoku.encode(super()._tokens(board))

    def signs(self, text: str) -> set[str]:
        try:
            return sudoku.signs_of(read_several(text, self.writing)) if self.in_doubt else set()
        except DataError:  # which reading it tells
            return set()

    def told(self, signs: Set[str]) -> Kind:
        return Sudoku(self.layout, sudoku.legend_of(signs, self.layout)) if self.in_doubt else self

    def check_question(self, tokens: Tokens) -> None:
        sudoku.check_clues(sudoku.decode(tokens), self.layout)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        sudoku.check_pair(sudoku.decode(question), sudoku.decode(answer), self.layout)

    def satisfied(self, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        return sudoku.answers(sudoku.decode(questions), sudoku.decode(answers), self.layout)

    def finds_faults(self, label: Tokens | None = None) -> bool:
        return True

    def faults(self, question: Tokens, answer: Tokens, label: Tokens | None = None) -> Faults:
        return sudoku.faults(sudoku.decode(question), sudoku.decode(answer), self.layout)

    def encode(self, numbers: NDArray[np.integer[Any]]) -> Tokens:
        """Of digits, 0 for a blank."""
        return sudoku.encode(sudoku.checked(numbers, self.layout, "puzzle").astype(np.int32))

    def decode(self, tokens: Tokens) -> NDArray[np.integer[Any]]:
        return sudoku.decode(tokens).reshape(self.shape)

    def glyphs(self, tokens: Tokens) -> list[str]:
        return list(sudoku.to_text(sudoku.decode(tokens), self.legend))

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return sudoku.decode(question) > 0

    @property
    def words(self) -> int:
        return self.layout.words

    def symmetries(self, words: Array) -> Symmetries:
        symmetries = sudoku.symmetries(words, self.layout)
        # A digit's token is one more, and so is the blank's; padding comes before it.
        tokens = words.__array_namespace__().pad(symmetries.tokens + 1, ((0, 0), (1, 0)))
        return Symmetries(symmetries.cells, tokens)

    def overlaps(self, first: Tokens, second: Tokens) -> list[tuple[int, int]]:
        return sudoku_isomorphism.overlaps(sudoku.decode(first), sudoku.decode(second), self.layout)


def _layout(box: Any) -> sudoku.Layout:
    if not isinstance(box, str):
        raise DataError(f"the box of a Sudoku is {shown(box)}: give text such as '3x3'")
    return sudoku.layout_from(box)
