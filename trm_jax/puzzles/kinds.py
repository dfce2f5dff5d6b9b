"""The kinds of puzzle, and the texts that name them.

A kind is described by text, as in config.data.puzzle: its name where the number of cells says the rest (`sudoku`,
`maze`, `arc`, `tokens`), or else a JSON object, such as `{"kind": "maze", "shape": [20, 30]}`, which a dataset folder
keeps as puzzle.json.
"""

import json
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles import arc, arc_moves, grid, maze, sudoku, sudoku_isomorphism
from trm_jax.puzzles.declared import items_of
from trm_jax.puzzles.faults import Faults, of_clues, of_declared
from trm_jax.puzzles.kind import Kind, Parsed, Rules
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens, random_words
from trm_jax.puzzles.text.reading import read_one, read_several
from trm_jax.puzzles.text.writing import Board, Sizes, Writing
from trm_jax.puzzles.units import Units, units_of_maze, units_of_sudoku

# Of each row under a declared symmetry, when it is tried by the rules.
_IMAGES = 8
NAMES = ("sudoku", "maze", "arc", "grid", "tokens")


class Sudoku(Kind):
    """Sudokus of any box size; symmetries relabel digits and permute bands, stacks, rows and columns."""

    holds_numbers = True

    def __init__(self, layout: sudoku.Layout, legend: str = "") -> None:
        self.layout, self.legend = layout, legend
        self.in_doubt = sudoku.in_doubt(layout) and not legend
        self.shape = layout.side, layout.side
        self.vocab_size = layout.vocab_size
        self.boxes = layout.box_rows, layout.box_cols
        self.units = units_of_sudoku(layout.box_rows, layout.box_cols)
        self.blank = self.units.blank

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "sudoku", "box": f"{self.layout.box_rows}x{self.layout.box_cols}"}

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


class Maze(Kind):
    """Mazes whose answer marks a shortest path; the symmetries are those of the square or the rectangle."""

    vocab_size = maze.VOCAB_SIZE

    def __init__(self, shape: tuple[int, int], legend: str = "") -> None:
        self.shape, self.legend = shape, legend
        self._grid = maze.grid(shape)
        self.units = units_of_maze(*shape)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "maze", "shape": list(self.shape)}

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


class Arc(Kind):
    """ARC grids on 30 x 30: colours, end markers, padding. A task's rule is for the model to find, so none is here."""

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

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "arc"}

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


class Grid(Kind):
    """A puzzle of the user's own: a declared shape, alphabet and symmetries (puzzles/grid.py), and rules if given."""

    def __init__(self, board: grid.Grid, rules: Rules | None = None) -> None:
        self._grid, self._rules = board, rules
        self.shape = board.shape
        self.vocab_size = board.vocab_size
        self.has_rules = rules is not None
        self.has_symmetries = bool(board.symmetries)
        self.units = board.known_units
        self.blank = 1

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


class Numbers(Kind):
    """Tokens of which nothing is known, as in a dataset folder without puzzle.json."""

    padded = True
    holds_numbers = True
    has_rules = False
    has_symmetries = False
    vocab_size = 0  # any

    def __init__(self, cells: int) -> None:
        side = isqrt(cells)
        self.shape = (side, side) if side * side == cells else (1, cells)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "tokens"}

    @cached_property
    def writing(self) -> Writing:
        """Whole numbers; their rows may be of any length, since the shape is not known."""
        needed = f"this puzzle has {self.cells}: add or remove some"
        sizes = Sizes.only("puzzle", (1, self.cells), needed, any_rows=True)
        return Writing({}, "is no token: give whole numbers from 0, separated by spaces", sizes, numbers=range(10**7))

    def encode(self, numbers: NDArray[np.integer[Any]]) -> Tokens:
        """Tokens are numbers already."""
        if numbers.size != self.cells:
            raise DataError(f"{numbers.size} tokens found, but this puzzle has {self.cells}: add or remove some")
        if (numbers < 0).any():
            raise DataError(f"{numbers.min()} is no token: give whole numbers from 0")
        return numbers.ravel().astype(np.int32)

    def decode(self, tokens: Tokens) -> NDArray[np.integer[Any]]:
        return tokens.reshape(self.shape)

    def glyphs(self, tokens: Tokens) -> list[str]:
        digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        return [digits[token] if token < len(digits) else "?" for token in tokens.tolist()]

    def text(self, tokens: Tokens) -> str:
        return " ".join(str(token) for token in tokens.tolist())

    def given(self, question: Tokens) -> NDArray[np.bool_]:
        return np.zeros(len(question), np.bool_)


def kind_of(puzzle: str, cells: int, rules: Rules | None = None) -> Kind:
    """The kind of puzzle that a description names, at this number of cells.

    Args:
      puzzle: as config.data.puzzle: a name, or a JSON object.
      cells: S; a name alone leaves the shape to it.
      rules: of a user's own puzzle.

    Raises:
      DataError: no such kind, no such size, or rules for a kind that has its own.
    """
    about = describe(puzzle)
    name = about["kind"]
    if cells < 1:
        raise DataError(f"{cells} cells found, but a puzzle has at least 1")
    if rules is not None and name != "grid":
        raise DataError(f"puzzles of kind {name!r} take no --rules: only those of kind 'grid' do")
    if name == "sudoku":
        layout = _layout(about["box"]) if "box" in about else sudoku.layout_of_length(cells)
        kind: Kind = Sudoku(layout, about.get("legend", ""))
    elif name == "maze":
        kind = Maze(_shape(about["shape"]) if "shape" in about else maze.square_shape(cells), about.get("legend", ""))
    elif name == "arc":
        kind = Arc()
    elif name == "grid":
        kind = Grid(grid.Grid.from_dict(about), rules)
    else:
        kind = Numbers(cells)
    if kind.cells != cells:
        rows, columns = kind.shape
        raise DataError(
            f"{cells} cells found, but {puzzle} is {rows} x {columns}: change the puzzle or its description"
        )
    return kind


def describe(puzzle: str | Mapping[str, Any]) -> dict[str, Any]:
    """A description as a dictionary with the key "kind", from a name, from JSON text, or from what JSON held.

    Raises:
      DataError: no such kind, not JSON, or a key that the kind does not have.
    """
    about: Any = {"kind": puzzle} if isinstance(puzzle, str) else puzzle
    if isinstance(puzzle, str) and puzzle.lstrip().startswith("{"):
        try:
            about = json.loads(puzzle)
        except (ValueError, RecursionError) as error:
            raise DataError(f"the description of a puzzle is not readable as JSON ({error}): give it as JSON") from None
    name = about.get("kind") if isinstance(about, Mapping) else None
    if name not in NAMES:
        raise DataError(f"{_shown(name)} is no kind of puzzle: give one of {', '.join(NAMES)}")
    known = {
        "sudoku": ("box", "legend"),
        "maze": ("shape", "legend"),
        "grid": ("shape", "alphabet", "symmetries", "units"),
    }.get(name, ())
    for key in about:
        if key != "kind" and key not in known:
            raise DataError(f"{_shown(key)} says nothing of a puzzle of kind {name!r}: known: {', '.join(known)}")
    if name == "grid":
        grid.Grid.from_dict(about)
    if not isinstance(about.get("legend", ""), str):
        raise DataError(f"legend: {_shown(about['legend'])} is none: give the characters of the cells as a text")
    if name == "sudoku":
        _sudokus_written(about)
    if name == "maze":
        _mazes_written(about)
    return dict(about)


def with_keys(puzzle: str, **keys: Any) -> str:
    """A description with these keys besides; DataError where the kind has none of them, or not with these values."""
    about = describe(puzzle) | keys
    describe(about)
    return json.dumps(about)


def cells_of(puzzle: str, text: str) -> int:
    """How many cells a puzzle written as text has; DataError for what no puzzle of the kind looks like."""
    about = describe(puzzle)
    name = about["kind"]
    if name == "sudoku":
        return len(read_one(text, _sudokus_written(about)).cells)
    if name == "maze":
        return len(read_one(text, _mazes_written(about)).cells)
    if name == "grid":
        return grid.Grid.from_dict(about).cells
    raise DataError(
        f"puzzles of kind {name!r} do not stand in tables: use a dataset folder, or set config.data.puzzle to "
        "'sudoku', 'maze' or a grid"
    )


def of_another_kind(puzzle: str | Mapping[str, Any], text: str) -> str:
    """What is wrong with a text that is no board of a kind, but one of another; "" where it is none of any.

    Args:
      puzzle: a description of the kind; of puzzles of the user's own, whose characters may be any, nothing is said.
    """
    wanted = describe(puzzle)["kind"]
    for name in ("sudoku", "maze"):
        if wanted in (name, "grid"):
            continue
        with suppress(DataError):
            kind = kind_of(name, cells_of(name, text))
            tokens = kind.parse(text)
            if name == "sudoku":  # digits may mean anything; what a maze is written with means a maze
                kind.check_question(tokens)
            if kind.given(tokens).any():
                rows, columns = kind.shape
                return (
                    f"a puzzle of kind {name!r}, {rows} x {columns}, but {wanted!r} is needed: give puzzles of one kind"
                )
    return ""


def _sudokus_written(about: Mapping[str, Any]) -> Writing:
    legend = about.get("legend", "")
    if "box" in about:
        return sudoku.writing(_layout(about["box"]), legend)
    # A legend has the blank and as many digits as the side.
    return sudoku.writing(sudoku.layout_for(len(legend) - 1) if legend else None, legend)


def _mazes_written(about: Mapping[str, Any]) -> Writing:
    return maze.writing(_shape(about["shape"]) if "shape" in about else None, about.get("legend", ""))


def _layout(box: Any) -> sudoku.Layout:
    if not isinstance(box, str):
        raise DataError(f"the box of a Sudoku is {_shown(box)}: give text such as '3x3'")
    return sudoku.layout_from(box)


def _shape(value: Any) -> tuple[int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or any(not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= 1000 for side in value)
    ):
        raise DataError(f"the shape of a puzzle is {_shown(value)}: give [rows, columns], each 1 to 1000")
    return value[0], value[1]


def _shown(value: Any) -> str:
    """What a file holds, short enough for a line."""
    try:
        return repr(value)[:60]
    except RecursionError:
        return f"a {type(value).__name__} nested too deep"


def units_of(puzzle: str, cells: int) -> Units:
    """The units of a kind of puzzle; arguments as for `kind_of`. Raises DataError where it declares none."""
    kind = kind_of(puzzle, cells)
    if kind.units is None:
        name = kind.to_dict()["kind"]
        mend = "declare some in its description, as in " + '"units": {"line": "rows columns"}' if name == "grid" else ""
        raise DataError(f"puzzles of kind {name!r} have no units: {mend or 'only Sudokus, mazes and grids have any'}")
    return kind.units
