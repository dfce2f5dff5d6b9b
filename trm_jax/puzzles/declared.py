r"""Symmetries of a puzzle of one's own, declared in one line: what it means, and all that follows from it.

Items are separated by spaces:

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
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.dihedral import dihedral_indices

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


class Group(NamedTuple):
    """What the declared symmetries generate: each map in turn, and any permutation within each set on top of it."""

    cells: NDArray[np.int32]  # source cell of each target cell [maps, S]
    tokens: NDArray[np.int32]  # what each token becomes [maps, V]
    sets: list[NDArray[np.int32]]  # interchangeable tokens, ascending


def group_of(text: str, shape: tuple[int, int], alphabet: str) -> Group:
    """What the symmetries declared in `text` generate, on a grid [rows, columns] of characters of the alphabet.

    Raises:
      DataError: starts with "symmetries: ".
    """
    maps, sets = _declared(text, shape, alphabet)
    renamings = _closure(alphabet, maps, sets)
    numbers = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    return Group(
        np.stack([_MAPS[_NAMES[k]](numbers).ravel() for k in renamings]), np.stack([*renamings.values()]), sets
    )


def items_of(text: str) -> list[str]:
    """The items of a declaration, each as it stands there; DataError as `group_of`."""
    return [item.text for item in _items(text)]


def _declared(
    text: str, shape: tuple[int, int], alphabet: str
) -> tuple[list[tuple[int, NDArray[np.int32]]], list[NDArray[np.int32]]]:
    """The declared maps (number, what each token becomes [V]), and the sets of interchangeable tokens."""
    maps: dict[str, tuple[str, NDArray[np.int32]]] = {}
    sets: list[NDArray[np.int32]] = []
    for item in _items(text):
        quoted = f"symmetries: {shown(item.text)}"
        if item.name not in (*_NAMES[1:], "dihedral", "relabel"):
            raise DataError(f"{quoted} is unknown; known are {', '.join(_NAMES[1:])}, dihedral and relabel(...)")
        if item.name in _SWAP_SIDES and shape[0] != shape[1]:
            rows, columns = shape
            raise DataError(
                f"{quoted} exchanges rows and columns, but the shape is {rows} x {columns}; "
                "take rot180, fliplr or flipud, or a square"
            )
        named = _named(alphabet, item, quoted)
        if item.name == "relabel":
            if len(named) != 1:
                raise DataError(
                    f"{quoted} needs one set, such as relabel(123); write '\\ ' for the space as a character"
                )
            sets.append(np.sort(named[0]))
            if len(np.unique(np.concatenate(sets))) < sum(map(len, sets)):
                raise DataError(f"{quoted} names a character that another relabel has, too; join them, or remove it")
            continue
        if item.name == "dihedral" and item.cycles is not None:
            raise DataError(f"{quoted} renames nothing; name the maps, such as rot90(...) fliplr(...)")
        renamed = np.arange(len(alphabet) + 1, dtype=np.int32)
        for cycle in named:
            renamed[cycle] = np.roll(cycle, -1)
        for name in _NAMES[1:] if item.name == "dihedral" else (item.name,):
            if name in maps:
                raise DataError(f"{quoted} says again what {name} is, after {shown(maps[name][0])}; keep one of them")
            maps[name] = item.text, renamed
    for said, renamed in maps.values():
        _check_sets_stay(alphabet, said, renamed, sets)
    return [(_NAMES.index(name), renamed) for name, (_, renamed) in maps.items()], sets


def _items(text: str) -> Iterator[_Item]:
    place, end = 0, len(text.rstrip(" "))
    while place < end:
        match = _ITEM.match(text, place, end)
        if match is None:
            rest = text[place:end].lstrip(" ")
            raise DataError(
                f"symmetries: {shown(rest)} is not readable; separate items by spaces, close brackets, "
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


def _named(alphabet: str, item: _Item, quoted: str) -> list[NDArray[np.int32]]:
    """The tokens of each cycle in the brackets."""
    seen: set[str] = set()
    for char in "".join(item.cycles or ()):
        if char not in alphabet:
            raise DataError(
                f"{quoted} names {char!r}, which is not in the alphabet {shown(alphabet)}; add it there, or remove it"
            )
        if char in seen:
            raise DataError(f"{quoted} names {char!r} twice; remove one")
        seen.add(char)
    if item.cycles is not None and (not item.cycles or min(map(len, item.cycles)) < 2):
        raise DataError(
            f"{quoted} needs two characters or more together in the brackets; add some, or remove the brackets"
        )
    return [np.array([alphabet.index(char) + 1 for char in cycle], np.int32) for cycle in item.cycles or ()]


def _check_sets_stay(alphabet: str, text: str, renamed: NDArray[np.int32], sets: list[NDArray[np.int32]]) -> None:
    """Without this the maps and the permutations within the sets would make no group of the form of `_Group`."""
    whole = {frozenset(members.tolist()) for members in sets}
    for members in sets:
        if frozenset(renamed[members].tolist()) not in whole:
            letters = shown("".join(alphabet[token - 1] for token in members))
            raise DataError(
                f"symmetries: {shown(text)} turns some of the interchangeable characters {letters} into others; "
                "relabel all of them together, or rename none of them"
            )


def _closure(
    alphabet: str, maps: list[tuple[int, NDArray[np.int32]]], sets: list[NDArray[np.int32]]
) -> dict[int, NDArray[np.int32]]:
    """Every map that follows, with what it renames; DataError where two ways to one map rename differently."""
    # Ways that differ by a permutation within the sets do not contradict each other.
    class_of = np.arange(len(alphabet) + 1)
    for members in sets:
        class_of[members] = members[0]
    product = _products()
    renamings = {0: np.arange(len(alphabet) + 1, dtype=np.int32)}
    pending = [0]
    while pending:
        first = pending.pop()
        for second, renamed in maps:
            both, renamed_by_both = product[first][second], renamed[renamings[first]]
            if both not in renamings:
                renamings[both] = renamed_by_both
                pending.append(both)
            for token in np.flatnonzero(class_of[renamed_by_both] != class_of[renamings[both]])[:1]:
                one, other = (alphabet[r[token] - 1] for r in (renamings[both], renamed_by_both))
                raise DataError(
                    f"symmetries: the maps do not fit together, as they make {alphabet[token - 1]!r} both {one!r} "
                    f"and {other!r} under {_NAMES[both] or 'the identity'}; correct the brackets, or relabel them"
                )
    return renamings


@lru_cache
def _products() -> list[list[int]]:
    """[first][second]: the map that the two make together. The corners of a square tell all eight apart."""
    corners = dihedral_indices((2, 2))
    number_of = {row.tobytes(): k for k, row in enumerate(corners)}
    return [[number_of[first[second].tobytes()] for second in corners] for first in corners]


def shown(value: object) -> str:
    """A value for an error's line, short whatever it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:40] + "...")
    if type(value) is int:
        return str(value) if abs(value) < 10**12 else "a number of many digits"
    return f"a {type(value).__name__}"
