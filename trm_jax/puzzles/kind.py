"""What a program needs to know of a kind of puzzle, whichever it is: reading, showing, judging, turning.

Everything here speaks of tokens as the model sees them, flat [cells], 0 being padding. The kinds are in kinds/.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Set
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.faults import Faults, none_known
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens, random_words
from trm_jax.puzzles.text.reading import read_one, read_several
from trm_jax.puzzles.text.writing import Board, Writing
from trm_jax.puzzles.units import Units

# (question, answer), as text -> whether the answer keeps to the rules; how a user's own puzzle gets any
Rules = Callable[[str, str], bool]


class Parsed(NamedTuple):
    """A board in a text: its name, "" where it has none, the line on which it begins, and its tokens [cells]."""

    name: str
    line: int
    tokens: Tokens


class Kind(ABC):
    """One kind of puzzle at one size."""

    name: str  # as descriptions name the kind
    keys: tuple[str, ...] = ()  # what a description may say besides
    shape: tuple[int, int]  # rows, columns
    vocab_size: int  # 0: any
    boxes: tuple[int, int] | None = None  # rows and columns of a box, where the rules have boxes
    palette: tuple[str, ...] | None = None  # colour of each token, where cells are colours
    has_rules = True  # whether `satisfied` can judge
    padded = False  # whether token 0, padding, may stand in a puzzle
    holds_numbers = False  # whether cells hold numbers, which `encode` takes and `decode` gives
    has_symmetries = True  # whether `symmetries` and `draw` can: changes that do not depend on the puzzle
    units: Units | None = None  # what the rules speak of, where they speak of groups of cells
    in_doubt = False  # whether `told` has something to say
    blank: int | None = None  # the token of a cell that is to be filled, where there is such a token

    @classmethod
    @abstractmethod
    def described(cls, about: Mapping[str, Any], cells: int, rules: Rules | None) -> Self:
        """The kind that a description names, checked by `writing_of`.

        Args:
          about: the description.
          cells: S, for what the description leaves to it.
          rules: of a user's own puzzle; None for all other kinds.

        Raises:
          DataError: no puzzle of the kind has so many cells, where the description leaves them open.
        """

    @classmethod
    def writing_of(cls, about: Mapping[str, Any]) -> Writing | None:
        """How boards of a description are written, as far as it tells; None where they do not stand in tables.

        Args:
          about: the description, of which the keys are known.

        Raises:
          DataError: a value that the kind cannot have.
        """
        return None

    @classmethod
    def cells_of(cls, about: Mapping[str, Any], text: str) -> int:
        """How many cells a puzzle written as text has; DataError for what no puzzle of the kind looks like."""
        writing = cls.writing_of(about)
        if writing is None:
            raise DataError(
                f"puzzles of kind {cls.name!r} do not stand in tables: use a dataset folder, or set config.data.puzzle "
                "to 'sudoku', 'maze' or a grid"
            )
        return len(read_one(text, writing).cells)

    @property
    def cells(self) -> int:
        """S, cells of a puzzle."""
        return self.shape[0] * self.shape[1]

    @property
    def places(self) -> NDArray[np.int32]:
        """Number of the row, of the column and, where the rules have boxes, of the box of each cell, [2 or 3, S]."""
        columns = self.shape[1]
        row, column = np.divmod(np.arange(self.cells, dtype=np.int32), np.int32(columns))
        if self.boxes is None:
            return np.stack([row, column])
        box_rows, box_columns = self.boxes
        return np.stack([row, column, row // box_rows * (columns // box_columns) + column // box_columns])

    @property
    def words(self) -> int:
        """W, random words that `augment` takes for a pair; 0 where a kind has nothing to draw."""
        return 0

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The description that `kind_of` reads back, ready for JSON."""

    @property
    @abstractmethod
    def writing(self) -> Writing:
        """How boards of this kind are written."""

    def parse(self, text: str) -> Tokens:
        """Reads a question or an answer in any form of `text.forms`.

        Raises:
          DataError: one line with the place, for characters and lengths that cannot be, and what cannot be told.
        """
        return self._tokens(read_one(text, self.writing))

    def parse_several(self, text: str) -> list[Parsed]:
        """Reads all boards of a text, at least one; DataError as `parse`."""
        boards = read_several(text, self.writing)
        return [Parsed(board.name, board.cells[0].line, self._tokens(board)) for board in boards]

    def _tokens(self, board: Board) -> Tokens:
        return np.array(board.values(self.writing), np.int32)

    def signs(self, text: str) -> set[str]:
        """What stands in a text's cells; nothing where `told` would not ask for it, or the text is no board."""
        return set()

    def told(self, signs: Set[str]) -> "Kind":
        """The kind as all signs of a source together tell it: whether the digits of large Sudokus begin with 0.

        Raises:
          DataError: it cannot be told.
        """
        return self

    @abstractmethod
    def glyphs(self, tokens: Tokens) -> list[str]:
        """One character for each cell; blanks as the kind writes them."""

    @abstractmethod
    def given(self, question: Tokens) -> NDArray[np.bool_]:
        """Which cells the question fixes."""

    def text(self, tokens: Tokens) -> str:
        """One line that `parse` reads back."""
        return "".join(self.glyphs(tokens))

    def encode(self, numbers: NDArray[np.integer[Any]]) -> Tokens:
        """Tokens [S] of a board of the numbers that people write into its cells, [rows, columns] or [S].

        Raises:
          DataError: another shape, a number that no cell can hold (with its place), or cells that are characters.
        """
        raise DataError(f"puzzles of kind {self.name!r} are characters, not numbers: give them as text")

    def decode(self, tokens: Tokens) -> NDArray[np.integer[Any]]:
        """The reverse of `encode`: numbers [rows, columns]. Raises DataError where cells are characters."""
        raise DataError(f"puzzles of kind {self.name!r} are characters, not numbers: take their text")

    def check_question(self, tokens: Tokens) -> None:  # noqa: B027 (no rules: nothing to contradict)
        """DataError, naming the place, for a question that contradicts itself."""

    def check_pair(self, question: Tokens, answer: Tokens) -> None:  # noqa: B027
        """DataError, naming the place, unless the answer is one of the question."""

    def satisfied(self, questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        """Whether each answer [N, S] keeps to the rules and to its question [N, S]: bool [N].

        Raises:
          DataError: no rules are known (`has_rules`).
        """
        raise DataError(f"no rules are known for puzzles of kind {self.name!r}: give some with --rules")

    def refuted(self, question: Tokens, board: Tokens) -> bool:
        """Whether the rules tell that no answer to a question [S] fills the empty cells (`blank`) of a board [S]."""
        return False

    def finds_faults(self, label: Tokens | None = None) -> bool:
        """Whether `faults` knows anything of cells, with this label."""
        return False

    def faults(self, question: Tokens, answer: Tokens, label: Tokens | None = None) -> Faults:
        """What is wrong with an answer [cells], as far as it can be told of cells; of any answer, right or not.

        Args:
          label: the known answer [cells], 0 where it is unknown. Of a puzzle of the user's own it tells which clues are
            to stay; other kinds know that.
        """
        return none_known(len(answer))

    def symmetries(self, words: Array) -> Symmetries:
        """n symmetries, each of the kind's equally likely.

        Args:
          words: random, uint32 [n, W], of NumPy or of JAX; the same words make the same symmetries in both.

        Raises:
          DataError: none are known (`has_symmetries`).
        """
        raise DataError(f"no symmetries are known for puzzles of kind {self.name!r}")

    def draw(self, rng: np.random.Generator, n: int) -> Symmetries:
        """n symmetries as arrays of NumPy; DataError where none are known."""
        return self.symmetries(random_words(rng, n, self.words))

    def augment(self, words: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
        """Questions and answers in another form of the same puzzle, drawn for each row; where W is 0, DataError.

        Args:
          words: random, uint32 [n, W].
          inputs, labels: tokens [n, S] of any integer dtype, which is kept; 0 is padding, and stays padding.
            All three are of NumPy, or all of JAX, traced or not; the same words make the same bits.
        """
        symmetries = self.symmetries(words)
        return symmetries.apply(inputs), symmetries.apply(labels)

    def overlaps(self, first: Tokens, second: Tokens) -> list[tuple[int, int]]:
        """Pairs (i, j) of questions first[i] and second[j] that are the same up to the kind's symmetries."""
        return _joined(self._keys(first), self._keys(second))

    def _keys(self, questions: Tokens) -> list[bytes]:
        """One for each question of [N, S], equal for those that are images of one another."""
        return [row.tobytes() for row in questions.astype(np.int32)]


def _joined(first: list[bytes], second: list[bytes]) -> list[tuple[int, int]]:
    places: dict[bytes, list[int]] = {}
    for i, key in enumerate(first):
        places.setdefault(key, []).append(i)
    return [(i, j) for j, key in enumerate(second) for i in places.get(key, ())]
