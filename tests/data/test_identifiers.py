"""Puzzle ids that mean other puzzles than in training are told, however the sets differ."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trm_jax.data.identifiers import check_identifiers, identifiers_of, is_identifiers
from trm_jax.data.puzzle_set import Origin, from_pairs
from trm_jax.errors import DataError

NAMES = [f"task{i}|||t3|||0352479816" for i in range(1, 200)]


def puzzles(folder: Path, *parts: list[str] | None):
    """A set from dataset folders whose ids have these names; None: one without names."""
    origins = []
    for number, names in enumerate(parts):
        path = folder / f"{len(list(folder.iterdir()))}_{number}"
        path.mkdir()
        if names is not None:
            (path / "identifiers.json").write_text(json.dumps(["<blank>", *names]))
        origins.append(Origin(path, 0, 1 + len(names or NAMES)))
    tokens = np.ones((1, 4), np.int32)
    return replace(from_pairs(tokens, tokens, 3), origins=tuple(origins))


def test_the_same_names_are_taken(tmp_path: Path) -> None:
    known = identifiers_of(puzzles(tmp_path, NAMES))
    assert known["count"] == 200
    assert is_identifiers(json.loads(json.dumps(known)))
    assert len(json.dumps(known)) < 2_000
    for same in (NAMES, NAMES[:120], [*NAMES, "another"]):
        check_identifiers(known, puzzles(tmp_path, same), "set")
    both = identifiers_of(puzzles(tmp_path, NAMES, ["b"] * 9))
    check_identifiers(both, puzzles(tmp_path, NAMES), "set")
    check_identifiers(both, puzzles(tmp_path, NAMES, ["b"] * 9), "set")


def test_one_other_name_of_many_is_told(tmp_path: Path) -> None:
    known = identifiers_of(puzzles(tmp_path, NAMES))
    for place in (3, 64, 130, 198):
        other = [*NAMES]
        other[place - 1] = "other"
        with pytest.raises(DataError, match=rf"set: puzzle (id {place}|of ids .*{place // 64 * 64} to) "):
            check_identifiers(known, puzzles(tmp_path, other), "set")


def test_what_a_sample_tells_is_named(tmp_path: Path) -> None:
    known = identifiers_of(puzzles(tmp_path, NAMES))
    drawn = [name.replace("0352479816", "0123456789") for name in NAMES]
    told = "set: puzzle id 1 is 'task1|||t3|||0123456789' here and was 'task1|||t3|||0352479816' in training"
    for other in (drawn, drawn[:3]):
        with pytest.raises(DataError) as caught:
            check_identifiers(known, puzzles(tmp_path, other), "set")
        assert str(caught.value).startswith(told)
    with pytest.raises(DataError, match="set: puzzle id 1 is 'b'"):  # the second of two sets, alone
        check_identifiers(identifiers_of(puzzles(tmp_path, NAMES, ["b"])), puzzles(tmp_path, ["b"]), "set")


def test_nothing_is_held_against_what_has_no_names(tmp_path: Path) -> None:
    assert identifiers_of(puzzles(tmp_path, None)) == {}
    check_identifiers({}, puzzles(tmp_path, NAMES), "set")
    check_identifiers(identifiers_of(puzzles(tmp_path, NAMES)), puzzles(tmp_path, None), "set")


def test_a_million_names_stay_small(tmp_path: Path) -> None:
    known = identifiers_of(puzzles(tmp_path, [str(i) for i in range(100_000)] * 6))
    assert len(json.dumps(known)) < 1 << 17


@pytest.mark.parametrize(
    "value",
    [[], "x", {"count": 1}, {"count": 3, "together": 0, "hashes": "", "sample": {}},
     {"count": 3, "together": 64, "hashes": "ab", "sample": {}},
     {"count": 3, "together": 64, "hashes": "abcdefab", "sample": {"x": "y"}},
     {"count": 3, "together": 64, "hashes": "abcdefab", "sample": {"1": 2}}],
)  # fmt: skip
def test_what_is_no_description_of_ids_is_told_from_one(value) -> None:
    assert not is_identifiers(value)
