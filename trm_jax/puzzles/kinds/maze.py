"""Mazes as a kind of puzzle."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import maze
from trm_jax.puzzles.faults import Faults
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds.values import legend_of, shown
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens
from trm_jax.puzzles.text.writing import Writing
from trm_jax.puzzles.units import units_of_maze


class Maze(Kind):
    """Mazes whose answer marks a shortest path; the symmetries are those of the square or the rectangle."""

    name = "maze"
    keys = ("shape", "legend")
    vocab_size = maze.VOCAB_SIZE

    def __init__(self, shape: tuple[int, int], legend: str = "") -> None:
        self.shape, self.legend = shape, legend
        self._grid = maze.grid(shape)
        self.units = units_of_maze(*shape)

    @classmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> "Maze":
        return cls(_shape(about["shape"]) if "shape" in about else maze.square_shape(cells), legend_of(about))

    @classmethod
    def writing_of(cls, about: Mapping[str, Any]) -> Writing:
        legend = legend_of(about)
        return maze.writing(_shape(about["shape"]) if "shape" in about else None, legend)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.name, "shape": list(self.shape)}

    @property
    def writing(self) -> Writing:
        return maze.writing(self.shape, self.legend)

    def parse(self, text: str) -> Tokens:
        return maze.parse(text, self.shape, self.legend)

    def text(self, tokens: Tokens) -> str:
        return "".join("?" if token == 0 else (self.legend or maze.CHARACTERS)[token - 1] for token in tokens)

    def check_question(self, tokens: Tokens) -> None:
        maze.check_puzzle(tokens, self.shape)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        maze.check_pair(question, answer, self.shape)

    def satisfied(self, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        pairs = zip(questions, answers, strict=True)
        return np.array([maze.is_shortest_path(q, a, self.shape) for q, a in pairs], np.bool_)

    def finds_faults(self, label: Tokens | None = None) -> bool:
        return True

    def faults(self, question: Tokens, answer: Tokens, label: Tokens | None = None) -> Faults:
        return maze.faults(question, answer, self.shape)

    def glyphs(self, tokens: Tokens) -> list[str]:
        return ["?" if token == 0 else maze.CHARACTERS[token - 1] for token in tokens]

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return question != maze.FREE

    @property
    def words(self) -> int:
        return self._grid.words

    def symmetries(self, words: Array) -> Symmetries:
        return self._grid.drawn(words)

    def _keys(self, questions: Tokens) -> list[bytes]:
        return [row.tobytes() for row in self._grid.canonical(questions)]


def _shape(value: Any) -> tuple[int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 1000 for side in value)
    ):
        raise DataError(f"the shape of a puzzle is {shown(value)}: give [rows, columns], each 1 to 1000")
    return value[0], value[1]
