"""The page reads a text as `trm solve` does: the same cells, or refused in the same words."""

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest
from places import TESTS
from viewing.tools import tool

from trm_jax.errors import DataError
from trm_jax.puzzles import maze
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


# The side of a Sudoku, or rows and columns of a maze.
Size: TypeAlias = int | tuple[int, int]


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


def mazes() -> Iterator[tuple[str, tuple[int, int]]]:
    rng = random.Random(18)
    yield from ((text, (2, 3)) for text in ("", "hello", "#S \nG", "#SG", "++-\n+++", "[[1]]", "SG" * 9, "# S\nG  "))
    for _ in range(CASES // 3):
        shape = rows, columns = rng.choice([(3, 3), (4, 6), (11, 11)])
        lines = ["".join(rng.choices("#  SGo", k=columns)) for _ in range(rows)]
        text = rng.choice(
            [
                "".join(lines),
                "\n".join(lines),
                "\n".join(rng.choice([",", ";", "\t"]).join(line) for line in lines),
                json.dumps(lines),
                json.dumps([list(line) for line in lines]),
                "maze = " + repr(lines),
            ]
        )
        around = ["{}"] * 8 + ["{}\n", "Maze 1:\n{}", "```\n{}\n```", "[Puzzle]\n{}", "\ufeff{}", "{}\n\n{}"]
        yield changed(rng, rng.choice(around).replace("{}", text)), shape


def texts() -> Iterator[tuple[str, int]]:
    rng = random.Random(18)
    yield from ((example, side) for form in FORMS for example in form.examples for side in (4, 9, 16))
    yield from ((text, 9) for text in ("", "hello", "\n \n", "{", "[", "Grid 01\n", "12", "1" * 82, "++-", "[[[[1]]]]"))
    for _ in range(CASES):
        side = rng.choice([4, 9, 9, 16])
        yield changed(rng, written(rng, side)), side


def changed(rng: random.Random, text: str) -> str:
    """In some places other signs than before, fewer or more."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 5])):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["", *SIGNS]) + text[at + rng.randrange(2) :]
    return text


def by_trm(text: str, size: Size) -> list[int] | str:
    try:
        board = parse(text, layout_for(size)) if isinstance(size, int) else maze.parse(text, size)
        return board.tolist()
    except DataError as error:
        return str(error).removesuffix("; for other characters give --legend, as #.SG*")


@pytest.mark.slow
@pytest.mark.parametrize("made", [texts, mazes])
def test_texts_are_read_alike(made: Callable[[], Iterator[tuple[str, Size]]]) -> None:
    cases = list(made())
    node = tool("node", "nodejs")
    done = subprocess.run(
        [node, TESTS / "viewing" / "read_texts.mjs"],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
    )
    read = 0
    for (text, size), found in zip(cases, json.loads(done.stdout), strict=True):
        known = by_trm(text, size)
        if "\ufeff" in text[1:]:  # to JavaScript this is a space
            continue
        if isinstance(known, str) and any(words in known for words in OWN_WORDS):
            assert isinstance(found, str), (text, known)
            continue
        assert found == known, (text, size)
        read += isinstance(found, list)
    assert len(cases) / 4 < read < 3 * len(cases) / 4
