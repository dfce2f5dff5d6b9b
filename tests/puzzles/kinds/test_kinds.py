"""Kinds of puzzle behind one face: descriptions, text, rules, symmetries, overlaps."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError, RulesError
from trm_jax.puzzles import maze, maze_generator, sudoku, sudoku_search
from trm_jax.puzzles.grid import Grid as GridForm
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import NAMES, cells_of, describe, kind_of
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.perturbed import kept_rules_if_any

FUZZ = int(os.environ.get("TRM_FUZZ", "100"))

GRID = '{"kind": "grid", "shape": [2, 3], "alphabet": ".ab", "symmetries": "fliplr relabel(ab)"}'
DESCRIPTIONS = [
    ("sudoku", 16), ("sudoku", 81), ('{"kind": "sudoku", "box": "3x2"}', 36), ("maze", 25),
    ('{"kind": "maze", "shape": [3, 5]}', 15), ("arc", 900), (GRID, 6), ("tokens", 7), ("tokens", 9),
]  # fmt: skip


@pytest.mark.parametrize(("puzzle", "cells"), DESCRIPTIONS)
def test_a_description_is_read_back(puzzle: str, cells: int) -> None:
    kind = kind_of(puzzle, cells)
    assert kind.cells == cells
    again = kind_of(json.dumps(kind.to_dict()), cells)
    assert again.to_dict() == kind.to_dict()
    assert (again.shape, again.vocab_size, again.boxes) == (kind.shape, kind.vocab_size, kind.boxes)


@pytest.mark.parametrize(("puzzle", "cells"), DESCRIPTIONS)
def test_text_is_read_back(puzzle: str, cells: int) -> None:
    kind = kind_of(puzzle, cells)
    tokens = np.random.default_rng(0).integers(1, kind.vocab_size or 30, cells)
    if kind.to_dict()["kind"] == "arc":
        tokens = kind.parse("0123/4567").astype(np.int64)
        assert kind.text(tokens) == "0123/4567"
        assert kind.glyphs(tokens)[:6] == list("0123| ")
        return
    np.testing.assert_array_equal(kind.parse(kind.text(tokens)), tokens)
    assert len(kind.glyphs(tokens)) == len(kind.given(tokens)) == cells


@pytest.mark.parametrize(
    ("puzzle", "cells", "message"),
    [
        ("chess", 9, "'chess' is no kind of puzzle: give one of sudoku, maze"),
        ('{"kind": "maze", "shape": [3, 5]}', 16, "16 cells found, but .* is 3 x 5"),
        ('{"kind": "maze", "shape": [3]}', 3, r"give \[rows, columns\]"),
        ('{"kind": "maze", "shape": [true, 5]}', 5, r"give \[rows, columns\]"),
        ('{"kind": "maze", "colour": 1}', 9, "'colour' says nothing of a puzzle of kind 'maze': known: shape"),
        ('{"kind": "sudoku", "box": "3"}', 9, "3"),
        ('{"kind": "sudoku", "box": [3, 3]}', 81, "3"),
        ('{"kind": ["sudoku"]}', 81, "is no kind of puzzle"),
        ('{"kind": "grid"}', 9, "shape"),
        ("{", 9, "not readable as JSON"),
        ('{"kind": ' + "[" * 100_000, 9, "not readable as JSON"),
        ("sudoku", 17, "17 cells"),
        ("maze", 17, "17 cells found, which is not a square"),
        ("arc", 81, "81 cells found, but arc is 30 x 30"),
    ],
)
def test_what_describes_no_puzzle_is_refused_in_one_line(puzzle: str, cells: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        kind_of(puzzle, cells)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("puzzle", "message"),
    [
        ('{"kind": "sudoku", "box": [3, 3]}', "the box of a Sudoku is"),
        ('{"kind": "sudoku", "box": "1x1"}', "make no Sudoku"),
        ('{"kind": "sudoku", "legend": ".123"}', "3"),
        ('{"kind": "sudoku", "box": "2x2", "legend": ".1123"}', "legend: '.1123' is none"),
        ('{"kind": "maze", "shape": [0, 5]}', r"give \[rows, columns\]"),
        ('{"kind": "maze", "legend": "##SGo"}', "legend: '##SGo' is none"),
        ('{"kind": "maze", "legend": 5}', "legend: 5 is none: give the characters"),
        ('{"kind": "grid", "shape": [2, 2], "alphabet": "aa"}', "'a' stands there twice"),
    ],
)
def test_values_are_checked_before_the_cells_are_known(puzzle: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        describe(puzzle)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=6), inside, max_size=4),
    max_leaves=8,
)
KEYS = st.sampled_from(["kind", "box", "shape", "alphabet", "symmetries", "colour"])


@settings(max_examples=FUZZ, deadline=None)
@given(
    st.dictionaries(KEYS, JSON, max_size=5) | st.text(max_size=30) | st.just({}),
    st.sampled_from(NAMES) | JSON,
    st.integers(-1, 1_000),
)
def test_any_description_is_a_kind_or_a_data_error(about: object, name: object, cells: int) -> None:
    text = about if isinstance(about, str) else json.dumps({**about, "kind": name})  # type: ignore[dict-item]
    try:
        kind = kind_of(text, cells)
    except DataError:
        return
    assert kind.cells == cells
    assert describe(text)["kind"] == kind.to_dict()["kind"]


@settings(max_examples=FUZZ, deadline=None)
@given(
    st.sampled_from([(puzzle, cells) for puzzle, cells in DESCRIPTIONS]), st.text(max_size=120) | st.binary(max_size=90)
)
def test_any_text_is_a_puzzle_or_a_data_error(described: tuple[str, int], text: str | bytes) -> None:
    puzzle, cells = described
    kind = kind_of(puzzle, cells)
    words = text.decode("latin-1") if isinstance(text, bytes) else text
    try:
        tokens = kind.parse(words)
        kind.check_question(tokens)
        kind.check_pair(tokens, tokens)
    except DataError:
        return
    assert tokens.shape == (cells,)


def test_a_sudokus_symmetries_keep_answers_answers_and_padding_padding() -> None:
    layout = sudoku.layout_for(9)
    questions, answers = sudoku_search.generate(6, layout, 0)
    kind = kind_of("sudoku", 81)
    asked, answered = sudoku.encode(questions), sudoku.encode(answers)
    symmetries = kind.draw(np.random.default_rng(0), 6)
    turned_asked, turned_answered = symmetries.apply(asked), symmetries.apply(answered)
    assert kind.satisfied(turned_asked, turned_answered).all()
    assert (turned_asked != asked).any(axis=1).all()
    assert (symmetries.apply(np.zeros_like(asked)) == 0).all()
    assert ((turned_asked == 1).sum(axis=1) == (asked == 1).sum(axis=1)).all(), "blanks stay blanks"
    assert not kind.satisfied(turned_asked, answered).any()


ARROWS = (
    '{"kind": "grid", "shape": [3, 3], "alphabet": "<>^v12ab", '
    '"symmetries": "fliplr(<>) flipud(^v) transpose(<^ >v) relabel(12) relabel(ab)"}'
)
AUGMENTED = [
    ("sudoku", 16, 17), ("sudoku", 81, 34), ('{"kind": "sudoku", "box": "3x2"}', 36, 23), ("maze", 25, 1),
    ('{"kind": "maze", "shape": [3, 5]}', 15, 1), (GRID, 6, 3), (ARROWS, 9, 5),
]  # fmt: skip


@pytest.mark.parametrize(("puzzle", "cells", "words"), AUGMENTED)
def test_jax_augments_as_numpy_does(puzzle: str, cells: int, words: int) -> None:
    kind = kind_of(puzzle, cells)
    assert kind.words == words
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 2**32, (50, words), dtype=np.uint32)
    augment, symmetries = jax.jit(kind.augment), kind.symmetries(drawn)
    for dtype in (np.uint8, np.int32):
        inputs, labels = rng.integers(0, kind.vocab_size, (2, 50, cells)).astype(dtype)
        by_numpy, by_jax = kind.augment(drawn, inputs, labels), augment(*map(jnp.asarray, (drawn, inputs, labels)))
        for before, host, device in zip((inputs, labels), by_numpy, by_jax, strict=True):
            assert host.dtype == device.dtype == dtype
            np.testing.assert_array_equal(device, host)
            np.testing.assert_array_equal(host, symmetries.apply(before))
            assert (host != before).any()
            np.testing.assert_array_equal((host == 0).sum(axis=1), (before == 0).sum(axis=1))


@pytest.mark.parametrize(("puzzle", "cells", "words"), AUGMENTED)
def test_drawing_takes_its_words_from_the_generator(puzzle: str, cells: int, words: int) -> None:
    kind = kind_of(puzzle, cells)
    drawn = kind.draw(np.random.default_rng(5), 7)
    same = kind.symmetries(np.random.default_rng(5).integers(0, 2**32, (7, words), dtype=np.uint32))
    np.testing.assert_array_equal(drawn.cells, same.cells)
    np.testing.assert_array_equal(drawn.tokens, same.tokens)
    assert (drawn.cells.shape, drawn.tokens.shape) == ((7, cells), (7, kind.vocab_size))
    assert len(drawn) == 7


@pytest.mark.parametrize("puzzle", ["sudoku", '{"kind": "sudoku", "box": "2x3"}', "maze"])
def test_augmented_answers_are_answers(puzzle: str) -> None:
    rng = np.random.default_rng(0)
    if puzzle == "maze":
        kind = kind_of(puzzle, 64)
        asked, answered = maze_generator.generate(40, (8, 8), 0, min_length=4)
    else:
        kind = kind_of(puzzle, 36) if "box" in puzzle else kind_of(puzzle, 81)
        layout = sudoku.Layout(*kind.boxes or (0, 0))
        asked, answered = map(sudoku.encode, sudoku_search.generate(40, layout, 0))
    words = rng.integers(0, 2**32, (40, kind.words), dtype=np.uint32)
    turned_asked, turned_answered = kind.augment(words, asked, answered)
    assert kind.satisfied(turned_asked, turned_answered).all()
    assert (turned_asked != asked).any(axis=1).mean() > 0.6, "an eighth of a maze's symmetries change nothing"
    assert kind.satisfied(asked, turned_answered).mean() < 0.3


def overlap_case(puzzle: str, cells: int, rng: np.random.Generator) -> tuple[Kind, np.ndarray]:
    kind = kind_of(puzzle, cells)
    if puzzle == "sudoku":
        return kind, sudoku.encode(sudoku_search.generate(6, sudoku.layout_of_length(cells), 1)[0])
    grids = rng.integers(1, kind.vocab_size or 9, (6, cells))
    if puzzle == "maze":
        grids = np.where(grids > maze.FREE, maze.FREE, grids)
        grids[:, 0], grids[:, 7] = maze.START, maze.GOAL
    return kind, grids


@pytest.mark.parametrize(("puzzle", "cells"), [("sudoku", 81), ("maze", 36), (GRID.replace("[2, 3]", "[4, 5]"), 20)])
def test_images_overlap_and_others_do_not(puzzle: str, cells: int) -> None:
    rng = np.random.default_rng(0)
    kind, grids = overlap_case(puzzle, cells, rng)
    images = kind.draw(rng, 6).apply(grids)
    assert kind.overlaps(grids[:4], images[2:]) == [(2, 0), (3, 1)]
    assert kind.overlaps(grids[:3], grids[3:]) == []


def test_kinds_without_symmetries_or_rules_say_so() -> None:
    for puzzle, cells in (("arc", 900), ("tokens", 9)):
        kind = kind_of(puzzle, cells)
        assert not kind.has_rules
        assert not kind.has_symmetries
        with pytest.raises(DataError, match="no rules are known for puzzles of kind"):
            kind.satisfied(np.ones((1, cells), int), np.ones((1, cells), int))
        with pytest.raises(DataError, match="no symmetries are known"):
            kind.draw(np.random.default_rng(0), 1)
        assert (kind.words > 0) == (puzzle == "arc"), "an ARC pair can be elsewhere on the board"
        rows = np.random.default_rng(0).integers(0, 9, (2, cells))
        assert kind.overlaps(rows, rows[::-1]) == [(1, 0), (0, 1)]


def test_kinds_with_nothing_to_draw_do_not_augment() -> None:
    undeclared = GRID.replace("fliplr relabel(ab)", "")
    for puzzle, cells in ((undeclared, 6), ("tokens", 6)):
        kind = kind_of(puzzle, cells)
        assert kind.words == 0
        rows = np.ones((2, cells), np.uint8)
        with pytest.raises(DataError, match="no symmetries are known"):
            kind.augment(np.zeros((2, 0), np.uint32), rows, rows)


def test_a_puzzle_of_ones_own_has_the_rules_that_it_is_given() -> None:
    kind = kind_of(GRID, 6, lambda question, answer: answer.count("a") == 2)
    assert isinstance(kind, Grid)
    answers = np.array([[2, 2, 1, 1, 1, 1], [2, 1, 1, 1, 1, 1], [2, 2, 0, 1, 1, 1]])
    assert kind.satisfied(np.ones((3, 6), int), answers).tolist() == [True, False, False]
    kind.check_pair(answers[0], answers[0])
    with pytest.raises(DataError, match="the rules given do not accept it"):
        kind.check_pair(answers[1], answers[1])
    with pytest.raises(DataError, match="take no --rules"):
        kind_of("sudoku", 81, lambda question, answer: True)


def test_cells_of_text() -> None:
    assert cells_of("sudoku", "." * 36) == 36
    assert cells_of("maze", "S  G") == 4
    assert cells_of(GRID, "whatever") == 6
    for puzzle in ("arc", "tokens"):
        with pytest.raises(DataError, match="do not stand in tables"):
            cells_of(puzzle, "1 2 3")


def test_a_known_answer_tells_which_clues_are_to_stay() -> None:
    """A puzzle may change what is given; a label shows where it does not. Units are of puzzles that keep clues."""
    about = {"kind": "grid", "shape": [2, 3], "alphabet": ".ab "}
    kind = kind_of(json.dumps(about), 6)
    question, label, answer = (kind.parse(text) for text in ("ab b a", "aa bba", "bb bb."))
    label[5] = 0  # unknown
    found = kind.faults(question, answer, label)
    assert np.flatnonzero(found.overwritten).tolist() == [0]
    assert (found.broken.any(), found.told) == (False, ("1 clue changed, at r1c1",))
    assert kind.finds_faults(label)
    with_units = kind_of(json.dumps(about | {"units": {"line": "rows"}}), 6)
    answer = kind.parse("aaab a")
    assert np.flatnonzero(with_units.faults(question, answer, label).overwritten).tolist() == [1, 2]


def test_a_users_own_units_tell_which_cells_are_at_fault() -> None:
    """Without them nothing is known of cells: the rules judge a whole answer."""
    about = {"kind": "grid", "shape": [2, 3], "alphabet": ".abc", "units": {"line": "rows columns", "piece": "aab.bb"}}
    kind, plain = (kind_of(json.dumps(each), 6) for each in (about, about | {"units": {}}))
    question, answer = kind.parse("a....."), kind.parse("bab.ab")
    found = kind.faults(question, answer)
    assert found.overwritten.tolist() == [True, False, False, False, False, False]
    # r1c1 and r1c3 are b, r1c2 and r2c2 are a, r1c3 and r2c3 are b, in a column and in a piece.
    assert found.broken.tolist() == [True, True, True, False, True, True]
    assert found.told == (
        "1 clue changed, at r1c1",
        "a symbol twice in 3 units of the class 'line'",
        "a symbol twice in 1 unit of the class 'piece'",
    )
    assert not plain.faults(question, answer).cells.any()
    assert (kind.finds_faults(), plain.finds_faults()) == (True, False)
    right = kind.faults(question, kind.parse("abc..."))
    assert (right.cells.any(), right.told) == (False, ())


@pytest.mark.parametrize("question", ["S#  G#   ", "S G   G  ", "S        "])
def test_a_maze_that_is_none_has_no_answer(question: str) -> None:
    """A search asks this of mazes whose way was blocked; elsewhere such a question is told as what it is."""
    kind = kind_of("maze", 9)
    blocked = np.array([{"S": maze.START, "G": maze.GOAL, "#": maze.WALL, " ": maze.FREE}[c] for c in question])
    if question.startswith("S#"):
        blocked[3] = maze.WALL
    answer = np.where(blocked == maze.FREE, maze.PATH, blocked)

    assert kept_rules_if_any(kind, blocked[None], answer[None]).tolist() == [False]
    for asked in (lambda: kind.check_question(blocked), lambda: kind.satisfied(blocked[None], answer[None])):
        with pytest.raises(DataError):
            asked()


def test_rules_that_fail_are_no_word_on_the_question() -> None:
    def fails(question: str, answer: str) -> bool:
        raise RulesError("rules.py: check failed")

    kind = Grid(GridForm((1, 4), ".abcd"), fails)
    tokens = kind.parse("abcd")
    with pytest.raises(RulesError, match="check failed"):
        kept_rules_if_any(kind, tokens[None], tokens[None])
