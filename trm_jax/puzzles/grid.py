r"""A puzzle of one's own: a grid of characters of a declared shape, alphabet and, optionally, symmetries.

Tokens are uint8 [cells] in row order: 1 for the first character of the alphabet, and so on; 0 is padding.

Symmetries are declared in one line (declared.py), such as `dihedral relabel(123)`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.declared import Group, group_of, shown
from trm_jax.puzzles.symmetry import Array, Symmetries, choices, permutations, random_words
from trm_jax.puzzles.text.reading import plain_values, read_one
from trm_jax.puzzles.text.writing import Sizes, Writing
from trm_jax.puzzles.units import Units, check_maps, declared_units

Tokens = NDArray[np.uint8]

MAX_CELLS = 40_000
MAX_CHARACTERS = 255  # a token fits in a byte
MAX_SYMMETRIES_TEXT = 4096


@dataclass(frozen=True)
class Grid:
    """The description of a puzzle.

    shape: rows and columns; at most 40,000 cells.
    alphabet: distinct printable characters, at most 255.
    symmetries: as the module says; empty where there are none, or none is known.
    units: groups of cells among which symbols compete, by class (units.declared_units); empty where there are none.

    Raises:
      DataError: starts with the field at fault.
    """

    shape: tuple[int, int]
    alphabet: str
    symmetries: str = ""
    units: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if isinstance(self.shape, list):  # as JSON has it
            object.__setattr__(self, "shape", tuple(self.shape))
        _check_shape(self.shape)
        _check_alphabet(self.alphabet)
        if not isinstance(self.symmetries, str) or len(self.symmetries) > MAX_SYMMETRIES_TEXT:
            raise DataError(
                f"symmetries: a text of at most {MAX_SYMMETRIES_TEXT} characters is needed, such as 'rot90'"
            )
        # What is declared wrongly is to be told at once.
        self._group  # noqa: B018
        self.known_units  # noqa: B018

    @property
    def cells(self) -> int:
        """S, cells of a puzzle."""
        return self.shape[0] * self.shape[1]

    @property
    def vocab_size(self) -> int:
        """V: padding and the characters."""
        return len(self.alphabet) + 1

    @cached_property
    def _group(self) -> Group:
        return group_of(self.symmetries, self.shape, self.alphabet)

    @cached_property
    def known_units(self) -> Units | None:
        """The declared units; None where there are none. Symbols may be renamed if one `relabel` has all of them."""
        if self.units == {}:
            return None
        symbols = np.arange(2, self.vocab_size)
        renamable = any(np.array_equal(members, symbols) for members in self._group.sets)
        units = declared_units(self.units, self.shape, self.alphabet, renamable)
        check_maps(units, self._group.cells)
        return units

    @cached_property
    def writing(self) -> Writing:
        """How these puzzles are written: a character for each cell; where none is a space, spaces may part them."""
        rows, columns = self.shape
        sizes = Sizes.only("grid", self.shape, f"a grid of {rows} x {columns} is needed")
        signs = {char: token for token, char in enumerate(self.alphabet, 1)}
        return Writing(signs, f"is not in the alphabet {shown(self.alphabet)}", sizes)

    def parse(self, text: str) -> Tokens:
        """Reads tokens [S] from one line, from a line for each row, or from a list.

        Raises:
          DataError: for a character that the alphabet lacks, with its place, for a wrong number of cells, and for rows
            of different lengths.
        """
        values = plain_values(text, self.writing)
        return np.array(read_one(text, self.writing).values(self.writing) if values is None else values, np.uint8)

    def to_text(self, tokens: ArrayLike) -> str:
        """One line that `parse` reads back; DataError for padding, other tokens and a wrong number of cells."""
        values = self._checked(np.ravel(tokens))[0].tolist()
        if 0 in values:
            row, column = divmod(values.index(0), self.shape[1])
            raise DataError(f"r{row + 1}c{column + 1} is padding, which has no character")
        return "".join(self.alphabet[token - 1] for token in values)

    def render(self, tokens: ArrayLike) -> str:
        """One line for each row, which `parse` reads back."""
        text = self.to_text(tokens)
        return "\n".join(text[i : i + self.shape[1]] for i in range(0, len(text), self.shape[1]))

    @property
    def words(self) -> int:
        """W, random words that a symmetry is drawn from: one for the map, one for each interchangeable character."""
        return 1 + sum(map(len, self._group.sets))

    def drawn(self, words: Array) -> Symmetries:
        """n symmetries, each one of all that follow from the declared ones with the same probability.

        Args:
          words: random, uint32 [n, W], of NumPy or of JAX.
        """
        xp = words.__array_namespace__()
        cells, renamed, sets = self._group
        maps, tokens = choices(words[:, 0], len(cells)), np.arange(self.vocab_size, dtype=np.int32)
        relabelled, first = xp.broadcast_to(xp.asarray(tokens)[None], (len(words), self.vocab_size)), 1
        for members in sets:
            shuffled = xp.asarray(members)[permutations(words[:, first : first + len(members)])]
            # Tokens that are no members find some place, too, and do not use it.
            places = np.searchsorted(members, tokens).clip(max=len(members) - 1)
            relabelled = xp.where(np.isin(tokens, members)[None], shuffled[:, places], relabelled)
            first += len(members)
        return Symmetries(xp.asarray(cells)[maps], xp.take_along_axis(relabelled, xp.asarray(renamed)[maps], axis=1))

    def draw(self, rng: np.random.Generator, n: int) -> Symmetries:
        """n symmetries, `drawn` from words of this generator."""
        return self.drawn(random_words(rng, n, self.words))

    def canonical(self, questions: ArrayLike, answers: ArrayLike | None = None) -> Tokens:
        """One form for all images of a puzzle: two rows are equal where a symmetry turns one puzzle into the other.

        Args:
          questions: [N, S], or one [S].
          answers: None, or as questions; then the same symmetry has to turn both.

        Returns:
          [N, S], with answers [N, 2 S]: of the images, the one that comes first in the order of tokens.
        """
        grids, cells = self._checked(questions), self._group.cells
        if answers is not None:
            marked = self._checked(answers)
            if len(marked) != len(grids):
                raise DataError(f"{len(grids)} questions, but {len(marked)} answers; give one for each")
            grids, cells = np.hstack([grids, marked]), np.hstack([cells, cells + self.cells])
        best = grids
        for k, (sources, renamed) in enumerate(zip(cells, self._group.tokens.astype(np.uint8), strict=True)):
            image = _in_order_of_appearance(renamed[grids[:, sources]], self._group.sets, self.vocab_size)
            if k == 0:
                best = image
                continue
            differ = (image != best).argmax(axis=1)[:, None]
            smaller = np.take_along_axis(image, differ, axis=1) < np.take_along_axis(best, differ, axis=1)
            best = np.where(smaller, image, best)
        return best

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it back."""
        return {
            "kind": "grid",
            "shape": list(self.shape),
            "alphabet": self.alphabet,
            "symmetries": self.symmetries,
        } | ({"units": dict(self.units)} if self.units else {})

    @classmethod
    def from_dict(cls, data: object, where: str = "grid") -> "Grid":
        """The description that `to_dict` wrote, or somebody by hand, without symmetries perhaps.

        Raises:
          DataError: "{where}: key {key}: ..."
        """
        if not isinstance(data, dict):
            raise DataError(f"{where}: {shown(data)} is no description; needed is an object with shape and alphabet")
        for key in data:
            if key not in ("kind", "shape", "alphabet", "symmetries", "units"):
                known = "kind, shape, alphabet, symmetries, units"
                raise DataError(f"{where}: key {shown(key)} is unknown; known are {known}")
        for key in ("kind", "shape", "alphabet"):
            if key not in data:
                raise DataError(f"{where}: key {key}: is missing; add it")
        if data["kind"] != "grid":
            raise DataError(f"{where}: key kind: is {shown(data['kind'])}, needed is 'grid'")
        try:
            return cls(data["shape"], data["alphabet"], data.get("symmetries", ""), data.get("units", {}))
        except DataError as error:
            raise DataError(f"{where}: key {error}") from None

    def _checked(self, tokens: ArrayLike) -> Tokens:
        values = np.atleast_2d(np.asarray(tokens))
        if values.ndim != 2 or values.shape[1] != self.cells:
            cells = values.shape[-1]
            raise DataError(f"{cells} cells found, but a grid of {self.shape[0]} x {self.shape[1]} is needed")
        if values.dtype.kind not in "iu":
            raise DataError(f"tokens are {values.dtype}, but integers are needed")
        for i in np.flatnonzero((values < 0) | (values > len(self.alphabet)))[:1]:
            row, column = divmod(int(i) % self.cells, self.shape[1])
            raise DataError(
                f"r{row + 1}c{column + 1} is token {values.flat[i]}, but tokens go from 0 to {len(self.alphabet)}"
            )
        return values.astype(np.uint8)


def _check_shape(shape: object) -> None:
    if not isinstance(shape, tuple) or len(shape) != 2 or any(type(side) is not int for side in shape):
        raise DataError(f"shape: {shown(shape)} is not two whole numbers; give rows and columns, such as [5, 5]")
    rows, columns = shape
    if min(rows, columns) < 1 or rows > MAX_CELLS or columns > MAX_CELLS or rows * columns > MAX_CELLS:
        sizes = f"{shown(rows)} x {shown(columns)}"
        raise DataError(f"shape: {sizes} is out of range; each side is at least 1, cells are at most {MAX_CELLS}")


def _check_alphabet(alphabet: object) -> None:
    if not isinstance(alphabet, str) or not alphabet:
        raise DataError(f"alphabet: {shown(alphabet)} is not a text of at least one character; give one, such as '.12'")
    if len(alphabet) > MAX_CHARACTERS:
        raise DataError(f"alphabet: has {len(alphabet)} characters; use at most {MAX_CHARACTERS}")
    for i, char in enumerate(alphabet):
        if not char.isprintable():
            raise DataError(f"alphabet: character {i + 1}, {char!r}, cannot be printed; use another")
        if char in alphabet[:i]:
            raise DataError(f"alphabet: {char!r} stands there twice; remove one")


def _in_order_of_appearance(grids: Tokens, sets: list[NDArray[np.int32]], vocab_size: int) -> Tokens:
    """Grids [N, cells] with the tokens of each set renamed: those that appear first get the smallest numbers."""
    if not sets:
        return grids
    table = np.tile(np.arange(vocab_size, dtype=np.uint8), (len(grids), 1))
    for members in sets:
        first = np.empty((len(grids), len(members)), np.intp)
        for j, member in enumerate(members):
            there = grids == member
            first[:, j] = np.where(there.any(axis=1), there.argmax(axis=1), grids.shape[1])
        order = members[np.argsort(first, axis=1, kind="stable")].astype(np.intp)
        np.put_along_axis(table, order, np.broadcast_to(members.astype(np.uint8), order.shape), axis=1)
    return np.take_along_axis(table, grids.astype(np.intp), axis=1)
