r"""A puzzle of one's own: a grid of characters of a declared shape, alphabet and, optionally, symmetries.

Tokens are uint8 [cells] in row order: 1 for the first character of the alphabet, and so on; 0 is padding.

Symmetries are declared in one line, items separated by spaces:

    rot90 rot180 rot270 fliplr flipud transpose antitranspose
        The puzzle stays one when turned counter-clockwise, mirrored, or mirrored at a diagonal; NumPy's names, and
        antitranspose is fliplr after rot90.
    dihedral
        All of these, and nothing is renamed.
    fliplr(<>)   rot90(<v>^)   transpose(<^ >v)
        Characters that change under a map, as cycles: each becomes the next, the last the first.
    relabel(123456789)
        These characters are interchangeable. There can be several such sets, without a character in common.

A backslash makes a space or a bracket in the brackets mean itself: relabel(a\ b).
Whatever follows from the declared symmetries is a symmetry, too: from rot90 follow rot180 and rot270.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.dihedral import dihedral_indices
from trm_jax.puzzles.symmetry import Array, Symmetries, choices, permutations, random_words

Tokens = NDArray[np.uint8]

MAX_CELLS = 40_000
MAX_CHARACTERS = 255  # a token fits in a byte
MAX_SYMMETRIES_TEXT = 4096

# In the order of `dihedral_indices`; the identity cannot be named.
_MAPS: dict[str, Callable[[NDArray[np.int32]], NDArray[np.int32]]] = {
    "": lambda cells: cells,
    "rot90": np.rot90,
    "rot180": lambda cells: np.rot90(cells, 2),
    "rot270": lambda cells: np.rot90(cells, 3),
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "transpose": np.transpose,
    "antitranspose": lambda cells: np.fliplr(np.rot90(cells)),
}
_NAMES = tuple(_MAPS)
_SWAP_SIDES = frozenset(("rot90", "rot270", "transpose", "antitranspose", "dihedral"))
_ITEM = re.compile(r" *([^ ()]+)(?:\(((?:[^()\\]|\\.)*)\))?(?= |\Z)", re.DOTALL)
_CHARACTER = re.compile(r"\\(.)|([^\\])", re.DOTALL)


class _Item(NamedTuple):
    text: str
    name: str
    cycles: list[str] | None  # what stands in the brackets, taken apart at spaces; None without brackets


class _Group(NamedTuple):
    """What the declared symmetries generate: each map in turn, and any permutation within each set on top of it."""

    cells: NDArray[np.int32]  # source cell of each target cell [maps, S]
    tokens: NDArray[np.int32]  # what each token becomes [maps, V]
    sets: list[NDArray[np.int32]]  # interchangeable tokens, ascending


@dataclass(frozen=True)
class Grid:
    """The description of a puzzle.

    shape: rows and columns; at most 40,000 cells.
    alphabet: distinct printable characters, at most 255.
    symmetries: as the module says; empty where there are none, or none is known.

    Raises:
      DataError: starts with the field at fault.
    """

    shape: tuple[int, int]
    alphabet: str
    symmetries: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.shape, list):  # as JSON has it
            object.__setattr__(self, "shape", tuple(self.shape))
        _check_shape(self.shape)
        _check_alphabet(self.alphabet)
        if not isinstance(self.symmetries, str) or len(self.symmetries) > MAX_SYMMETRIES_TEXT:
            raise DataError(
                f"symmetries: a text of at most {MAX_SYMMETRIES_TEXT} characters is needed, such as 'rot90'"
            )
        self._group  # noqa: B018 - what is declared wrongly is to be told at once

    @property
    def cells(self) -> int:
        """S, cells of a puzzle."""
        return self.shape[0] * self.shape[1]

    @property
    def vocab_size(self) -> int:
        """V: padding and the characters."""
        return len(self.alphabet) + 1

    @cached_property
    def _token_of(self) -> dict[str, int]:
        return {char: token for token, char in enumerate(self.alphabet, 1)}

    @cached_property
    def _group(self) -> _Group:
        maps, sets = _declared(self)
        renamings = _closure(self, maps, sets)
        numbers = np.arange(self.cells, dtype=np.int32).reshape(self.shape)
        return _Group(
            np.stack([_MAPS[_NAMES[k]](numbers).ravel() for k in renamings]), np.stack([*renamings.values()]), sets
        )

    def parse(self, text: str) -> Tokens:
        """Reads tokens [S] from one line or several; line ends are skipped, a space is a character like others.

        Raises:
          DataError: for a character that the alphabet lacks, with its place, and for a wrong number of cells.
        """
        token_of = self._token_of
        tokens = []
        for i, char in enumerate(text):
            if char in token_of:
                tokens.append(token_of[char])
            elif char not in "\r\n":
                row, column = text.count("\n", 0, i) + 1, i - text.rfind("\n", 0, i)
                raise DataError(
                    f"{char!r} in row {row}, column {column} of the text is not in the alphabet {_shown(self.alphabet)}"
                )
        return self._checked(tokens)[0]

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
        }

    @classmethod
    def from_dict(cls, data: object, where: str = "grid") -> "Grid":
        """The description that `to_dict` wrote, or somebody by hand, without symmetries perhaps.

        Raises:
          DataError: "{where}: key {key}: ..."
        """
        if not isinstance(data, dict):
            raise DataError(f"{where}: {_shown(data)} is no description; needed is an object with shape and alphabet")
        for key in data:
            if key not in ("kind", "shape", "alphabet", "symmetries"):
                raise DataError(f"{where}: key {_shown(key)} is unknown; known are kind, shape, alphabet, symmetries")
        for key in ("kind", "shape", "alphabet"):
            if key not in data:
                raise DataError(f"{where}: key {key}: is missing; add it")
        if data["kind"] != "grid":
            raise DataError(f"{where}: key kind: is {_shown(data['kind'])}, needed is 'grid'")
        try:
            return cls(data["shape"], data["alphabet"], data.get("symmetries", ""))
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
        raise DataError(f"shape: {_shown(shape)} is not two whole numbers; give rows and columns, such as [5, 5]")
    rows, columns = shape
    if min(rows, columns) < 1 or rows > MAX_CELLS or columns > MAX_CELLS or rows * columns > MAX_CELLS:
        sizes = f"{_shown(rows)} x {_shown(columns)}"
        raise DataError(f"shape: {sizes} is out of range; each side is at least 1, cells are at most {MAX_CELLS}")


def _check_alphabet(alphabet: object) -> None:
    if not isinstance(alphabet, str) or not alphabet:
        raise DataError(
            f"alphabet: {_shown(alphabet)} is not a text of at least one character; give one, such as '.12'"
        )
    if len(alphabet) > MAX_CHARACTERS:
        raise DataError(f"alphabet: has {len(alphabet)} characters; use at most {MAX_CHARACTERS}")
    for i, char in enumerate(alphabet):
        if not char.isprintable():
            raise DataError(f"alphabet: character {i + 1}, {char!r}, cannot be printed; use another")
        if char in alphabet[:i]:
            raise DataError(f"alphabet: {char!r} stands there twice; remove one")


def _declared(grid: Grid) -> tuple[list[tuple[int, NDArray[np.int32]]], list[NDArray[np.int32]]]:
    """The declared maps (number, what each token becomes [V]), and the sets of interchangeable tokens."""
    maps: dict[str, tuple[str, NDArray[np.int32]]] = {}
    sets: list[NDArray[np.int32]] = []
    for item in _items(grid.symmetries):
        shown = f"symmetries: {_shown(item.text)}"
        if item.name not in (*_NAMES[1:], "dihedral", "relabel"):
            raise DataError(f"{shown} is unknown; known are {', '.join(_NAMES[1:])}, dihedral and relabel(...)")
        if item.name in _SWAP_SIDES and grid.shape[0] != grid.shape[1]:
            rows, columns = grid.shape
            raise DataError(
                f"{shown} exchanges rows and columns, but the shape is {rows} x {columns}; "
                "take rot180, fliplr or flipud, or a square"
            )
        named = _named(grid, item, shown)
        if item.name == "relabel":
            if len(named) != 1:
                raise DataError(
                    f"{shown} needs one set, such as relabel(123); write '\\ ' for the space as a character"
                )
            sets.append(np.sort(named[0]))
            if len(np.unique(np.concatenate(sets))) < sum(map(len, sets)):
                raise DataError(f"{shown} names a character that another relabel has, too; join them, or remove it")
            continue
        if item.name == "dihedral" and item.cycles is not None:
            raise DataError(f"{shown} renames nothing; name the maps, such as rot90(...) fliplr(...)")
        renamed = np.arange(grid.vocab_size, dtype=np.int32)
        for cycle in named:
            renamed[cycle] = np.roll(cycle, -1)
        for name in _NAMES[1:] if item.name == "dihedral" else (item.name,):
            if name in maps:
                raise DataError(f"{shown} says again what {name} is, after {_shown(maps[name][0])}; keep one of them")
            maps[name] = item.text, renamed
    for text, renamed in maps.values():
        _check_sets_stay(grid, text, renamed, sets)
    return [(_NAMES.index(name), renamed) for name, (_, renamed) in maps.items()], sets


def _items(text: str) -> Iterator[_Item]:
    place, end = 0, len(text.rstrip(" "))
    while place < end:
        match = _ITEM.match(text, place, end)
        if match is None:
            rest = text[place:end].lstrip(" ")
            raise DataError(
                f"symmetries: {_shown(rest)} is not readable; separate items by spaces, close brackets, "
                "and write a backslash before a bracket that is a character"
            )
        name, inside = match.groups()
        yield _Item(match[0].strip(" "), name, None if inside is None else _cycles(inside))
        place = match.end()


def _cycles(inside: str) -> list[str]:
    cycles = [""]
    for escaped, plain in _CHARACTER.findall(inside):
        if plain == " ":
            cycles.append("")
        else:
            cycles[-1] += escaped or plain
    return [cycle for cycle in cycles if cycle]


def _named(grid: Grid, item: _Item, shown: str) -> list[NDArray[np.int32]]:
    """The tokens of each cycle in the brackets."""
    seen: set[str] = set()
    for char in "".join(item.cycles or ()):
        if char not in grid.alphabet:
            alphabet = _shown(grid.alphabet)
            raise DataError(
                f"{shown} names {char!r}, which is not in the alphabet {alphabet}; add it there, or remove it"
            )
        if char in seen:
            raise DataError(f"{shown} names {char!r} twice; remove one")
        seen.add(char)
    if item.cycles is not None and (not item.cycles or min(map(len, item.cycles)) < 2):
        raise DataError(
            f"{shown} needs two characters or more together in the brackets; add some, or remove the brackets"
        )
    return [np.array([grid.alphabet.index(char) + 1 for char in cycle], np.int32) for cycle in item.cycles or ()]


def _check_sets_stay(grid: Grid, text: str, renamed: NDArray[np.int32], sets: list[NDArray[np.int32]]) -> None:
    """Without this the maps and the permutations within the sets would make no group of the form of `_Group`."""
    whole = {frozenset(members.tolist()) for members in sets}
    for members in sets:
        if frozenset(renamed[members].tolist()) not in whole:
            letters = _shown("".join(grid.alphabet[token - 1] for token in members))
            raise DataError(
                f"symmetries: {_shown(text)} turns some of the interchangeable characters {letters} into others; "
                "relabel all of them together, or rename none of them"
            )


def _closure(
    grid: Grid, maps: list[tuple[int, NDArray[np.int32]]], sets: list[NDArray[np.int32]]
) -> dict[int, NDArray[np.int32]]:
    """Every map that follows, with what it renames; DataError where two ways to one map rename differently."""
    # Ways that differ by a permutation within the sets do not contradict each other.
    class_of = np.arange(grid.vocab_size)
    for members in sets:
        class_of[members] = members[0]
    product = _products()
    renamings = {0: np.arange(grid.vocab_size, dtype=np.int32)}
    pending = [0]
    while pending:
        first = pending.pop()
        for second, renamed in maps:
            both, renamed_by_both = product[first][second], renamed[renamings[first]]
            if both not in renamings:
                renamings[both] = renamed_by_both
                pending.append(both)
            for token in np.flatnonzero(class_of[renamed_by_both] != class_of[renamings[both]])[:1]:
                one, other = (grid.alphabet[r[token] - 1] for r in (renamings[both], renamed_by_both))
                raise DataError(
                    f"symmetries: the maps do not fit together, as they make {grid.alphabet[token - 1]!r} both {one!r} "
                    f"and {other!r} under {_NAMES[both] or 'the identity'}; correct the brackets, or relabel them"
                )
    return renamings


@lru_cache
def _products() -> list[list[int]]:
    """[first][second]: the map that the two make together. The corners of a square tell all eight apart."""
    corners = dihedral_indices((2, 2))
    number_of = {row.tobytes(): k for k, row in enumerate(corners)}
    return [[number_of[first[second].tobytes()] for second in corners] for first in corners]


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


def _shown(value: object) -> str:
    """A value for an error's line, short whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if type(value) is int:
        return str(value) if abs(value) < 10**12 else "a number of many digits"
    return f"a {type(value).__name__}"
