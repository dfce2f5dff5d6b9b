"""Rules from a user's file: what it says counts, and whatever is wrong with it is one line that names file and line."""

from pathlib import Path

import numpy as np
import pytest

from trm_jax.data.user_rules import load_rules
from trm_jax.errors import DataError
from trm_jax.puzzles.kinds import kind_of

GRID = '{"kind": "grid", "shape": [2, 2], "alphabet": ".ab"}'
ROWS_DIFFER = """
def check(question: str, answer: str) -> bool:
    kept = all(a == q for q, a in zip(question, answer) if q != ".")
    return kept and answer[:2] != answer[2:] and "." not in answer
"""


def written(tmp_path: Path, text: str | bytes, name: str = "rules.py") -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_rules_judge_answers_of_a_grid(tmp_path: Path) -> None:
    kind = kind_of(GRID, 4, load_rules(written(tmp_path, ROWS_DIFFER)))
    questions = np.stack([kind.parse(text) for text in ("a...", "a...", "a...", "....")])
    answers = np.stack([kind.parse(text) for text in ("abba", "abab", "baab", "bbab")])

    assert kind.has_rules
    assert kind.satisfied(questions, answers).tolist() == [True, False, False, True]


def test_rules_judge_boards_that_are_filled_in_part(tmp_path: Path) -> None:
    """Planted: `refuted` without its `not`; a `check_partial` that is asked about the answer only."""
    partial = "def check_partial(question, board):\n    return board[:2] != 'ab'\n"
    kind = kind_of(GRID, 4, load_rules(written(tmp_path, ROWS_DIFFER + partial)))
    question, board, other = (kind.parse(text) for text in ("a...", "ab..", "aa.."))

    assert kind.refuted(question, board)
    assert not kind.refuted(question, other)
    assert not kind_of(GRID, 4, load_rules(written(tmp_path, ROWS_DIFFER))).refuted(question, board)
    with pytest.raises(DataError, match="check accepts it, and check_partial refuses a board on the way to it"):
        kind.check_pair(question, kind.parse("abba"))
    kind.check_pair(question, kind.parse("aabb"))


@pytest.mark.parametrize("name", ["rules.py", "rules", "rules.txt"])
def test_the_file_may_have_any_name_and_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, "def check(question, answer):\n    return True\n", name)

    assert load_rules(path)("a", "b") is True
    assert [file.name for file in tmp_path.iterdir()] == [name]
    # No stale bytecode: the same size, in the same second.
    path.write_text("def check(question, answer):\n    return None\n")
    with pytest.raises(DataError):
        load_rules(path)("a", "b")


@pytest.mark.parametrize(("verdict", "expected"), [("True", True), ("False", False), ("numpy.bool_(True)", True)])
def test_verdicts_are_plain_bools(verdict: str, expected: bool, tmp_path: Path) -> None:
    path = written(tmp_path, f"import numpy\ndef check(question, answer):\n    return {verdict}\n")

    assert load_rules(path)("", "") is expected


def test_what_the_file_prints_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, "print('loading')\ndef check(question, answer):\n    print(answer)\n    return True\n")

    assert load_rules(path)("ab", "ba")

    out, err = capsys.readouterr()
    assert (out, err) == ("", "loading\nba\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no function check: write def check(question, answer), returning a bool"),
        ("check = 3\n", "no function check: write def check(question, answer), returning a bool"),
        ("def check(q, a):\nreturn True\n", "IndentationError (line 2): expected an indented block after function"),
        ("import nothing_of_this_name\n", "ModuleNotFoundError (line 1): No module named 'nothing_of_this_name'"),
        (ROWS_DIFFER + "check_partial = 1\n", "check_partial is no function: write def check_partial(question, board)"),
        ("\n\n1 / 0\n", "ZeroDivisionError (line 3): division by zero"),
        ("raise SystemExit(3)\n", "SystemExit (line 1): 3"),
        ("raise ValueError('one\\ntwo')\n", "ValueError (line 1): one two"),
        ("def f():\n    f()\nf()\n", "RecursionError (line 2): maximum recursion depth exceeded"),
        (b"x = 1\0\n", "SyntaxError: source code string cannot contain null bytes"),
        (b"# caf\xe9\n", "SyntaxError: invalid or missing encoding declaration"),
        (b"# -*- coding: nonsense -*-\n", "SyntaxError: unknown encoding: nonsense"),
    ],
)
def test_files_that_are_no_rules(text: str | bytes, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)

    with pytest.raises(DataError) as caught:
        load_rules(path)

    assert str(caught.value).startswith(f"--rules {path}: {expected}")
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.py", tmp_path, Path("a\0b")):
        with pytest.raises(DataError) as caught:
            load_rules(path)
        assert str(caught.value).startswith(f"--rules {path}: no such file: give a Python file with a function check")


class_without_text = """
class Odd(Exception):
    def __str__(self):
        raise RuntimeError
def check(question, answer):
    raise Odd
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def check(question):\n    return True\n", "check failed: TypeError: check() takes 1 positional argument"),
        (
            "def check(q, a):\n    x = 1\n    return q[99]\n",
            "check failed: IndexError (line 3): string index out of range",
        ),
        ("def check(q, a):\n    raise SystemExit\n", "check failed: SystemExit (line 2)"),
        ("def check(q, a):\n    raise KeyError('a\\nb')\n", "check failed: KeyError (line 2): 'a\\nb'"),
        ("def check(q, a):\n    return 0\n", "check returned a value of type int: let it return True or False"),
        ("def check(q, a):\n    return 'wrong'\n", "check returned a value of type str: let it return True or False"),
        ("def check(q, a):\n    pass\n", "check returned a value of type NoneType: let it return True or False"),
        ("def check(q, a):\n    yield True\n", "check returned a value of type generator: let it return True or False"),
        (class_without_text, "check failed: Odd (line 6)"),
    ],
)
def test_rules_that_fail_when_asked(text: str, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    rules = load_rules(path)

    with pytest.raises(DataError) as caught:
        rules("ab", "ba")

    assert str(caught.value).startswith(f"--rules {path}: {expected}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "def check_partial(q, b):\n    return None\n",
            "check_partial returned a value of type NoneType: let it return",
        ),
        ("def check_partial(q):\n    return True\n", "check_partial failed: TypeError: check_partial() takes 1"),
    ],
)
def test_a_judge_of_parts_that_fails_is_named(text: str, expected: str, tmp_path: Path) -> None:
    path = written(tmp_path, ROWS_DIFFER + text)
    partial = load_rules(path).partial

    assert partial is not None
    with pytest.raises(DataError) as caught:
        partial("a...", "ab..")
    assert str(caught.value).startswith(f"--rules {path}: {expected}")
