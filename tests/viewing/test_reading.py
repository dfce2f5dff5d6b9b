"""The page reads a text as `trm solve` does: the same digits, or refused in the same words."""

import json
import random
import subprocess
from collections.abc import Iterator

import pytest
from places import TESTS
from viewing.tools import tool

from trm_jax.errors import DataError
from trm_jax.puzzles.sudoku import layout_for, parse
from trm_jax.puzzles.text.forms import FORMS

CASES = 3000
SOLVED = {
    4: "1234341221434321",
    9: "162857493534129678789643521475312986913586742628794135356478219241935867897261354",
    16: "".join("123456789ABCDEFG"[(4 * (r % 4) + r // 4 + c) % 16] for r in range(16) for c in range(16)),
}
SIGNS = " \t\n|-+.,;0123456789AGg*xX?_[](){}'\"#=:abnzé\u2502\u2500~`\\"
# What the page says otherwise, since it knows no tables and no legends.
OWN_WORDS = "an object of JSON", "0 may be a blank or a digit", "are they puzzle and answer"


def rows_of(rng: random.Random, side: int, blank: str) -> list[list[str]]:
    share = rng.random()
    signs = [blank if rng.random() < share else char for char in SOLVED[side]]
    return [signs[i : i + side] for i in range(0, side * side, side)]


def written(rng: random.Random, side: int) -> str:
    blank = rng.choice("..._-*xX?0 ")
    rows = rows_of(rng, side, blank)
    lines = ["".join(row) for row in rows]
    numbers = [[str(int(char, 17)) if char.isalnum() and char not in "xX" else char for char in row] for row in rows]
    box = layout_for(side).box_cols
    barred = ["|".join("".join(row[i : i + box]) for i in range(0, side, box)) for row in rows]
    rule = "+".join(["-" * box] * (side // box))
    framed = [line for i in range(0, side, 2) for line in (*barred[i : i + 2], rule)]
    text = rng.choice(
        [
            "".join(lines),
            "\n".join(lines),
            "\n".join(" ".join(row) for row in rows),
            " ".join(lines),
            "\n".join(rng.choice([",", ";", "\t", ", "]).join(row) for row in rows),
            "\n".join(",".join("" if char == blank else char for char in row) for row in rows),
            "\n".join(" ".join(row) for row in numbers),
            "\n".join(f"|{line}|" for line in barred),
            "\n".join(framed),
            "\n".join("| " + " | ".join(row) + " |" for row in rows),
            json.dumps([[int(char) if char.isdecimal() else None for char in row] for row in numbers]),
            json.dumps(lines),
            str([[int(char) if char.isdecimal() else 0 for char in row] for row in numbers]).replace("],", "]\n"),
            "board = " + repr(lines),
            "np.array([" + ",\n       ".join("[" + ", ".join(row) + "]" for row in numbers) + "], dtype=int8)",
        ]
    )
    around = [
        "{}",
        "{}\n",
        "Puzzle 1:\n{}",
        "# easy\n{}",
        "```\n{}\n```",
        "[Puzzle]\n{}\n[State]\n.",
        "{} # hard",
        "\ufeff{}",
    ]
    return rng.choice([*["{}"] * 8, *around]).replace("{}", text)


def texts() -> Iterator[tuple[str, int]]:
    rng = random.Random(18)
    yield from ((example, side) for form in FORMS for example in form.examples for side in (4, 9, 16))
    yield from ((text, 9) for text in ("", "hello", "\n \n", "{", "[", "Grid 01\n", "12", "1" * 82, "++-", "[[[[1]]]]"))
    for _ in range(CASES):
        side = rng.choice([4, 9, 9, 16])
        text = written(rng, side)
        for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(["", *SIGNS]) + text[at + rng.randrange(2) :]
        yield text, side


def by_trm(text: str, side: int) -> list[int] | str:
    try:
        return parse(text, layout_for(side)).tolist()
    except DataError as error:
        return str(error)


@pytest.mark.slow
def test_texts_are_read_alike() -> None:
    cases = list(texts())
    node = tool("node", "nodejs")
    done = subprocess.run(
        [node, TESTS / "viewing" / "read_texts.mjs"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    read = 0
    for (text, side), found in zip(cases, json.loads(done.stdout), strict=True):
        known = by_trm(text, side)
        if "\ufeff" in text[1:]:  # to JavaScript this is a space
            continue
        if isinstance(known, str) and any(words in known for words in OWN_WORDS):
            assert isinstance(found, str), (text, known)
            continue
        assert found == known, (text, side)
        read += isinstance(found, list)
    assert len(cases) / 4 < read < 3 * len(cases) / 4
