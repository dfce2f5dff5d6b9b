"""Whose the rows of a puzzle table are: what a checkpoint keeps of the names of puzzle ids, and whether a set's agree.

A row was learnt for one puzzle. A dataset that was built with another seed has the same sizes and other puzzles under
the same ids, and what a model makes of them means nothing.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

from trm_jax.data import folder
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import DataError, printable

# Names that are hashed together, or more of them where there would be too many hashes; and hexadecimal digits of each.
_TOGETHER, _MOST_HASHES, _DIGITS = 64, 8_192, 8
# Names that are kept as they are, and their longest.
_SAMPLE, _LONGEST = 16, 80

Identifiers = Mapping[str, Any]


def names_of(puzzles: PuzzleSet) -> list[str]:
    """The names of the ids of a set's folders, the blank one first; none where a folder with several ids has no names.

    Raises:
      DataError: identifiers.json is no list of names.
    """
    names = [folder.BLANK]
    for origin in puzzles.origins:
        if origin.num_puzzles == 1:
            continue
        if not (origin.path / "identifiers.json").exists():
            return []
        names += folder.read_identifiers(origin.path)[1 : origin.num_puzzles]
    return names


def identifiers_of(puzzles: PuzzleSet) -> dict[str, Any]:
    """What identifies the puzzle ids of a training set, ready for JSON; empty where they have no names.

    count: how many ids, the blank one included. together: names to a hash. hashes: one behind the other.
    sample: some of the names, by id.
    """
    names = names_of(puzzles)
    if len(names) <= 1:
        return {}
    together = max(_TOGETHER, -(-len(names) // _MOST_HASHES))
    sample = np.unique(np.linspace(1, len(names) - 1, _SAMPLE).astype(int)).tolist()
    return {
        "count": len(names),
        "together": together,
        "hashes": "".join(_hashes(names, together)),
        "sample": {str(i): names[i][:_LONGEST] for i in sample},
    }


def all_names(known: Identifiers) -> list[str]:
    """The names of all ids, the blank one first, where a checkpoint keeps every one of them whole; none otherwise."""
    sample = known["sample"] if known else {}
    whole = [sample.get(str(i), "") for i in range(1, known["count"] if known else 1)]
    return [folder.BLANK, *whole] if whole and all(0 < len(name) < _LONGEST for name in whole) else []


def is_identifiers(value: Any) -> bool:
    """Whether it is what `identifiers_of` gives, or nothing."""
    if value == {}:
        return True
    if type(value) is not dict or value.keys() != {"count", "together", "hashes", "sample"}:
        return False
    numbers, sample = (value["count"], value["together"]), value["sample"]
    return (
        all(type(number) is int and 0 < number < 2**31 for number in numbers)
        and type(value["hashes"]) is str
        and len(value["hashes"]) == _DIGITS * -(-numbers[0] // numbers[1])
        and type(sample) is dict
        and all(type(name) is str and key.isascii() and key.isdecimal() for key, name in sample.items())
    )


def check_identifiers(known: Identifiers, puzzles: PuzzleSet, source: str) -> None:
    """Raises DataError if puzzle ids of a set are named otherwise than those that a model was trained on.

    Args:
      known: what the model's checkpoint keeps; empty: nothing, as an older one.
      source: the puzzles' name, for the error.
    """
    names = names_of(puzzles) if known else []
    if len(names) <= 1:
        return
    for key, name in known["sample"].items():
        if int(key) < len(names) and names[int(key)][:_LONGEST] != name:
            here = printable(names[int(key)][:_LONGEST])
            raise DataError(_differing(source, f"id {key} is {here!r} here and was {printable(name)!r} in training"))
    together, hashes = known["together"], known["hashes"]
    for number, found in enumerate(_hashes(names, together)):
        first, end = number * together, min((number + 1) * together, len(names))
        # Of the last names, which may be fewer than were hashed in training, the sample has to do.
        comparable = end == min((number + 1) * together, known["count"])
        if comparable and found != hashes[_DIGITS * number : _DIGITS * (number + 1)]:
            raise DataError(_differing(source, f"of ids {first} to {end - 1} some had other names in training"))


def _differing(source: str, what: str) -> str:
    return (
        f"{source}: puzzle {what}, so the model's puzzle table does not speak of these puzzles: give the dataset that "
        "it was trained on"
    )


def _hashes(names: Sequence[str], together: int) -> list[str]:
    parts = (names[first : first + together] for first in range(0, len(names), together))
    return [sha256("\n".join(part).encode()).hexdigest()[:_DIGITS] for part in parts]
