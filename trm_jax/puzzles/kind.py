"""What a program needs to know of a kind of puzzle, whichever it is: reading, showing, judging, turning.

Everything here speaks of tokens as the model sees them, flat [cells], 0 being padding.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import dihedral, maze, sudoku

Tokens = NDArray[np.integer[Any]]


class Kind(ABC):
    """One kind of puzzle at one size."""

    shape: tuple[int, int]  # rows, columns
    vocab_size: int
    boxes: tuple[int, int] | None = None  # rows and columns of a box, where the rules have boxes

    @abstractmethod
    def parse(self, text: str) -> Tokens:
        """Reads a question or an answer; DataError for characters and lengths that cannot be."""

    @abstractmethod
    def check_question(self, tokens: Tokens) -> None:
        """DataError, naming the place, for a question that contradicts itself."""

    @abstractmethod
    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        """DataError, naming the place, unless the answer is one of the question."""

    @abstractmethod
    def satisfied(self, question: Tokens, answer: Tokens) -> bool:
        """Whether the answer keeps to the rules and to the question."""

    @abstractmethod
    def glyphs(self, tokens: Tokens) -> list[str]:
        """One character for each cell; blanks as the kind writes them."""

    @abstractmethod
    def given(self, question: Tokens) -> NDArray[np.bool_]:
        """Which cells the question fixes."""

    @abstractmethod
    def augment(self, inputs: Tokens, labels: Tokens, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        """Both [N, cells] under the same random symmetry of the kind, drawn row by row."""

    def text(self, tokens: Tokens) -> str:
        """One line that `parse` reads back."""
        return "".join(self.glyphs(tokens))


class Sudoku(Kind):
    """Sudokus of side 4, 6, 9 or 16; symmetries relabel digits and permute bands, stacks, rows and columns."""

    def __init__(self, cells: int) -> None:
        self._layout = sudoku.layout_of_length(cells)
        self.shape = self._layout.side, self._layout.side
        self.vocab_size = self._layout.vocab_size
        self.boxes = self._layout.box_rows, self._layout.box_cols

    def parse(self, text: str) -> Tokens:
        return sudoku.encode(sudoku.parse(text, self._layout))

    def check_question(self, tokens: Tokens) -> None:
        sudoku.check_clues(sudoku.decode(tokens), self._layout)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        sudoku.check_pair(sudoku.decode(question), sudoku.decode(answer))

    def satisfied(self, question: Tokens, answer: Tokens) -> bool:
        return bool(sudoku.answers(sudoku.decode(question), sudoku.decode(answer), self._layout))

    def glyphs(self, tokens: Tokens) -> list[str]:
        return list(sudoku.to_text(sudoku.decode(tokens)))

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return sudoku.decode(question) > 0

    def augment(self, inputs: Tokens, labels: Tokens, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        symmetries = sudoku.draw_symmetries(rng, len(inputs), self._layout)
        turned = [sudoku.encode(sudoku.apply(sudoku.decode(tokens), symmetries)) for tokens in (inputs, labels)]
        return turned[0], turned[1]


class Maze(Kind):
    """Square mazes whose answer marks a shortest path; the symmetries are the eight of the square."""

    vocab_size = maze.VOCAB_SIZE

    def __init__(self, cells: int) -> None:
        self.shape = maze.square_shape(cells)
        self._maps = dihedral.dihedral_indices(self.shape)

    def parse(self, text: str) -> Tokens:
        return maze.parse(text.strip("\r\n"), self.shape)

    def check_question(self, tokens: Tokens) -> None:
        maze.check_puzzle(tokens, self.shape)

    def check_pair(self, question: Tokens, answer: Tokens) -> None:
        maze.check_pair(question, answer)

    def satisfied(self, question: Tokens, answer: Tokens) -> bool:
        return maze.is_shortest_path(question, answer, self.shape)

    def glyphs(self, tokens: Tokens) -> list[str]:
        return ["?" if token == 0 else maze.CHARACTERS[token - 1] for token in tokens]

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return question != maze.FREE

    def augment(self, inputs: Tokens, labels: Tokens, rng: np.random.Generator) -> tuple[Tokens, Tokens]:
        cells = self._maps[rng.integers(0, len(self._maps), len(inputs))]
        return np.take_along_axis(inputs, cells, axis=1), np.take_along_axis(labels, cells, axis=1)


def kind_of(puzzle: str, cells: int) -> Kind:
    """The kind that config.data.puzzle names, at this number of cells; DataError where it has no such size or rules."""
    if puzzle == "sudoku":
        return Sudoku(cells)
    if puzzle == "maze":
        return Maze(cells)
    raise DataError(f"puzzles of kind {puzzle!r} have no rules here: set config.data.puzzle to 'sudoku' or 'maze'")


def cells_of(puzzle: str, text: str) -> int:
    """How many cells a puzzle written as text has; DataError for what no puzzle of the kind looks like."""
    return len(sudoku.parse(text)) if puzzle == "sudoku" else len(maze.parse(text.strip("\r\n")))
