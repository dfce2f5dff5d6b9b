"""What is done to puzzles is what is said of it: every claim is held against a count that searches nothing cleverly."""

import json
from functools import lru_cache
from itertools import permutations

import numpy as np
import pytest

from trm_jax.puzzles import maze, perturbed_clues, sudoku, sudoku_search
from trm_jax.puzzles.counting import Counted
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.perturbations import perturbations_of
from trm_jax.puzzles.perturbed_clues import clue_range

BOXES = kind_of("sudoku", 16)
LATIN = kind_of('{"kind": "grid", "shape": [4, 4], "alphabet": ".1234", "units": {"line": "rows columns"}}', 16)
SHAPE = (5, 5)
MAZES = kind_of("maze", 25)


@lru_cache
def filled(boxes):
    """All squares of 1 to 4 without a digit twice in a row, a column and, it may be, a box: by trying all, [N, 16]."""
    squares = [()]
    for _ in range(4):
        squares = [
            (*above, row)
            for above in squares
            for row in permutations(range(1, 5))
            if all(row[c] != other[c] for other in above for c in range(4))
        ]
    found = np.array(squares)
    if boxes:
        quarters = found.reshape(-1, 2, 2, 2, 2).swapaxes(2, 3).reshape(-1, 4, 4)
        found = found[(np.sort(quarters, axis=-1) == [1, 2, 3, 4]).all(axis=(1, 2))]
    return found.reshape(-1, 16)


def answers(question, boxes):
    """All answers to digits [16], 0 for a blank."""
    squares = filled(boxes)
    return squares[((question == 0) | (squares == question)).all(axis=1)]


def latin_rules(question, answer):
    return all(len(set(answer[4 * i : 4 * i + 4])) == 4 == len(set(answer[i::4])) for i in range(4))


def questions(boxes):
    """Twelve with one answer, tokens [12, 16]; of those of Sudokus, clues are more than needed."""
    rng, found = np.random.default_rng(5), []
    for full in filled(boxes)[rng.permutation(len(filled(boxes)))[:12]]:
        question = full.copy()
        for cell in rng.permutation(16)[: 16 if len(found) % 2 else 10]:
            if len(answers(np.where(np.arange(16) == cell, 0, question), boxes)) == 1:
                question[cell] = 0
        found.append(question + 1)
    return np.array(found, np.int32)


def of(boxes):
    """The questions, and what is known of their kind, by name."""
    kind = BOXES if boxes else kind_of(json.dumps(LATIN.to_dict()), 16, latin_rules)
    asked = questions(boxes)
    return asked, {each.name: each for each in perturbations_of(kind, clue_range(kind, asked)).perturbations}


def rivals(boxes):
    row, column = np.divmod(np.arange(16), 4)
    units = [row, column] + ([row // 2 * 2 + column // 2] if boxes else [])
    return np.any([unit[:, None] == unit for unit in units], axis=0) & ~np.eye(16, dtype=bool)


def repeats(digits, boxes):
    return bool(((digits[:, None] == digits) & (digits > 0) & rivals(boxes)).any())


@pytest.mark.parametrize("boxes", [True, False])
def test_each_perturbation_of_clues_is_what_it_claims(boxes):
    asked, known = of(boxes)
    clues = (asked > 1).sum(axis=1)
    made = dict.fromkeys(known, 0)
    for question in asked:
        (right,) = answers(question - 1, boxes)
        for name, each in known.items():
            if (after := each(question, 7)) is None:
                continue
            made[name] += 1
            digits, changed = after.question - 1, (after.question != question)
            found = answers(digits, boxes)
            assert after.answers == ("none", "one", "several")[min(len(found), 2)], name
            assert (after.label == (found[0] + 1 if len(found) == 1 else 0)).all(), name
            was_clue, is_clue = question > 1, digits > 0
            assert repeats(digits, boxes) == (name == "contradictory"), name
            if name.startswith("wrong_clues_"):
                assert changed.sum() == int(name[-1])
                assert (was_clue & is_clue)[changed].all()
                assert (digits != right)[changed].all()
            elif name == "several_answers":
                assert (was_clue & ~is_clue)[changed].all()
                assert after.answers == "several"
            elif name in ("contradictory", "unsolvable"):
                assert changed.sum() == 1
                assert (~was_clue & is_clue)[changed].all()
                assert after.answers == "none"
            else:
                assert after.answers == "one"
                assert (found[0] == right).all()
                count = int(is_clue.sum())
                assert count < min(clues) if name == "fewer_clues" else max(clues) < count < 16
    assert set(made) == {
        "wrong_clues_1", "wrong_clues_2", "wrong_clues_4", "several_answers", "contradictory", "unsolvable",
        "fewer_clues", "more_clues",
    }  # fmt: skip
    assert all(count >= 8 for name, count in made.items() if name not in ("fewer_clues", "more_clues")), made


def test_fewer_clues_than_the_set_has_leave_one_answer():
    full = filled(True)[100]
    question = np.where(np.arange(16) == 3, 0, full).astype(np.int32) + 1
    known = {each.name: each for each in perturbations_of(BOXES, (15, 15)).perturbations}
    after = known["fewer_clues"](question, 0)
    assert (after.question > 1).sum() == 14
    assert len(answers(after.question - 1, True)) == 1
    # Where one cell alone is open, and others have as few, nothing more can be shown.
    assert known["more_clues"](question, 0) is None


def test_a_seed_makes_the_same_and_another_seed_others():
    asked, known = of(True)
    for name in ("wrong_clues_1", "several_answers", "contradictory", "unsolvable"):
        first, again, other = ([known[name](question, seed) for question in asked] for seed in (1, 1, 2))
        assert all((a.question == b.question).all() for a, b in zip(first, again, strict=True))
        assert any((a.question != b.question).any() for a, b in zip(first, other, strict=True)), name
        # Nor does it matter what else was perturbed before.
        assert (known[name](asked[5], 1).question == first[5].question).all()


def test_a_puzzle_that_has_not_one_answer_is_left_alone():
    _, known = of(True)
    empty, against = np.ones(16, np.int32), np.array([2, 2] + [1] * 14, np.int32)
    assert all(each(question, 0) is None for each in known.values() for question in (empty, against))


def test_what_the_count_does_not_confirm_is_not_claimed(monkeypatch):
    asked, _ = of(True)
    (right,) = answers(asked[0] - 1, True)
    monkeypatch.setattr(perturbed_clues, "Counter", lambda kind: lambda question: Counted("one", right + 1))
    known = {each.name: each for each in perturbations_of(BOXES, (4, 8)).perturbations}
    assert [known[name](asked[0], 0) for name in ("contradictory", "unsolvable", "several_answers")] == [None] * 3
    assert known["wrong_clues_1"](asked[0], 0).answers == "one"


def test_larger_and_oblong_sudokus_are_perturbed_too():
    for layout in (sudoku.layout_from("2x3"), sudoku.layout_from("1x5")):
        kind = kind_of(f'{{"kind": "sudoku", "box": "{layout.box_rows}x{layout.box_cols}"}}', layout.cells)
        asked = (sudoku_search.generate(3, layout, 4)[0] + 1).astype(np.int32)
        for each in perturbations_of(kind, clue_range(kind, asked)).perturbations:
            for after in filter(None, (each(question, 0) for question in asked)):
                count = len(sudoku_search.solve(after.question - 1, layout, 2).solutions)
                assert after.answers == ("none", "one", "several")[count], each.name


def paths(question, goal):
    """The shortest paths from S to a goal through free cells, by trying all ways: sets of cells."""
    start = int(np.flatnonzero(question == maze.START)[0])
    ways, seen = [(start,)], []
    while ways and not seen:
        longer = []
        for way in ways:
            row, column = divmod(way[-1], SHAPE[1])
            for r, c in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                cell = r * SHAPE[1] + c
                if not (0 <= r < SHAPE[0] and 0 <= c < SHAPE[1]) or cell in way:
                    continue
                if cell == goal:
                    seen.append(way[1:])
                elif question[cell] == maze.FREE:
                    longer.append((*way, cell))
        ways = longer
    return {tuple(sorted(way)) for way in seen}


MAZE_TEXTS = ["S    ## #       # # #   G", "S   # ## ##       # #   G", "SG     # #     # #       "]


@pytest.mark.parametrize("text", MAZE_TEXTS)
def test_each_perturbation_of_a_maze_is_what_it_claims(text):
    question = maze.parse(text, SHAPE).astype(np.int32)
    known = {each.name: each for each in perturbations_of(MAZES, (0, 0)).perturbations}
    goal = int(np.flatnonzero(question == maze.GOAL)[0])
    blocked, tie, two = (known[name](question, 3) for name in ("blocked_way", "other_tie_break", "two_goals"))
    if question[1] == maze.GOAL:
        assert blocked is None
    else:
        assert blocked.answers == "none"
        assert not paths(blocked.question, goal)
        changed = blocked.question != question
        assert (question[changed] == maze.FREE).all()
        assert (blocked.question[changed] == maze.WALL).all()
    every = paths(question, goal)
    assert (tie is None) == (len(every) == 1)
    if tie is not None:
        marked = tuple(np.flatnonzero(tie.label == maze.PATH).tolist())
        assert marked in every
        assert marked != tuple(np.flatnonzero(maze.solve(question, SHAPE) == maze.PATH).tolist())
        assert (tie.question == question).all()
    goals = np.flatnonzero(two.question == maze.GOAL)
    assert len(goals) == 2
    assert (two.question != question).sum() == 1
    accepted = {way for end in goals for way in paths(two.question, int(end))}
    assert len(accepted) >= 2
    for way in [*accepted, tuple(np.flatnonzero(question == maze.FREE))]:
        answer = two.question.copy()
        answer[list(way)] = maze.PATH
        judged = known["two_goals"].judge(MAZES, two.question[None], answer[None])
        assert judged == [way in accepted]
        for goal in goals:
            without = np.where(np.arange(25) == goal, maze.FREE, answer)
            assert not known["two_goals"].judge(MAZES, two.question[None], without[None])[0]


def test_a_second_goal_that_hides_behind_the_first_is_none():
    known = {each.name: each for each in perturbations_of(kind_of("maze", 9), (0, 0)).perturbations}
    assert known["two_goals"](maze.parse("SG #     ", (3, 3)).astype(np.int32), 0) is None


def test_what_means_nothing_to_a_kind_is_left_out_and_said():
    assert perturbations_of(BOXES, (4, 8)).left_out == {"blocked_way, two_goals, other_tie_break": "of mazes"}
    assert perturbations_of(MAZES, (0, 0)).left_out == {"perturbed clues": "mazes have none"}
    for kind, why in ((kind_of("arc", 900), "no rules"), (LATIN, "no rules"), (kind_of("tokens", 9), "no rules")):
        perturbations, left_out = perturbations_of(kind, (0, 0))
        assert perturbations == []
        assert why in left_out["perturbed clues"]
    own = kind_of('{"kind": "grid", "shape": [2, 2], "alphabet": ".12"}', 4, lambda question, answer: True)
    assert perturbations_of(own, (0, 0)).left_out["perturbed clues"] == "the puzzle declares no units"
