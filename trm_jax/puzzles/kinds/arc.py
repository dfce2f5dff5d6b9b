"""The grids of ARC tasks as a kind of puzzle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import arc, arc_moves
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.symmetry import Array, Tokens
from trm_jax.puzzles.text.writing import Board, Sizes, Writing


class Arc(Kind):
    """ARC grids on 30 x 30: colours, end markers, padding. A task's rule is for the model to find, so none is here."""

    name = "arc"
    shape = arc.SIDE, arc.SIDE
    vocab_size = arc.VOCAB_SIZE
    padded = True
    holds_numbers = True
    has_rules = False
    # A turned or recoloured task has a puzzle id of its own; what keeps the id, the place, depends on the grid.
    has_symmetries = False
    # Padding, end marker, then the ten colours of the contest's own viewer.
    palette = (
        "#ffffff", "#e1e4e8", "#000000", "#0074d9", "#ff4136", "#2ecc40",
        "#ffdc00", "#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25",
    )  # fmt: skip

    turning_words = arc_moves.TURN_WORDS  # random words that `turned` takes for a pair

    @classmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> "Arc":
        return cls()

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.name}

    @property
    def words(self) -> int:
        return arc_moves.TRANSLATION_WORDS

    def augment(self, words: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
        """Both grids of each pair at another place on the board (`arc_moves.translated`): the task stays the same."""
        return arc_moves.translated(words, inputs, labels)

    def turned(self, words: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
        """Each pair mapped and recoloured (`arc_moves.turned`), from words uint32 [n, turning_words]: another task."""
        return arc_moves.turned(words, inputs, labels)

    def augmentation(self, words: Array) -> list[arc.Augmentation]:
        """What `turned` does under each of the words [n, turning_words], to name it and to undo it; on the host."""
        return arc_moves.augmentations(words)

    writing = Writing(
        {str(colour): colour for colour in range(arc.COLOURS)},
        "is no colour of an ARC grid: give digits 0-9",
        Sizes("grid", lambda cells: (1, cells), any_rows=True),
        numbers=range(arc.COLOURS),
        row_mark="/",
    )

    def _tokens(self, board: Board) -> Tokens:
        """A grid, at the top left."""
        rows = np.reshape(board.values(self.writing), board.shape).tolist()
        return arc.encode(arc.check_grid(rows, "grid")).astype(np.int32)

    def check_question(self, tokens: Tokens) -> None:
        arc.decode_placed(tokens)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        for name, tokens in (("question", question), ("answer", answer)):
            try:
                arc.decode_placed(tokens)
            except DataError as error:
                raise DataError(f"{name}: {error}") from None

    def encode(self, numbers: NDArray[np.integer[Any]]) -> Tokens:
        """Of a grid of colours, of any size; it lands at the top left."""
        return arc.encode(arc.check_grid(numbers.tolist(), "grid")).astype(np.int32)

    def decode(self, tokens: Tokens) -> NDArray[np.integer[Any]]:
        """The grid that the board is read as in evaluation (`arc.crop`)."""
        return arc.crop(tokens)

    def glyphs(self, tokens: Tokens) -> list[str]:
        return [" |0123456789"[token] for token in tokens.tolist()]

    def text(self, tokens: Tokens) -> str:
        return "/".join("".join(str(colour) for colour in row) for row in arc.crop(tokens).tolist())

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return np.zeros(len(question), np.bool_)
