"""Votes over augmented ARC tasks: the public evaluator's ranking, scores and submission."""

import json
import os
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import EDITS, assert_told, damaged, read_or_told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from places import SHARED

from trm_jax.errors import DataError
from trm_jax.puzzles.arc import CELLS, IDENTITY, SIDE, Augmentation, Grid, crop, encode, parse_name
from trm_jax.puzzles.arc_tasks import Task, read_challenges
from trm_jax.puzzles.arc_votes import Votes, read_names

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

RECORDED = SHARED / "parity" / "arc_eval"


def grid(*rows: str) -> Grid:
    return np.array([[int(cell) for cell in row] for row in rows], np.uint8)


QUESTION, OTHER_QUESTION = grid("123"), grid("45", "67")
A, B, C, D = grid("11", "22"), grid("3"), grid("44"), grid("5", "5", "0")
TURNS = [IDENTITY, *(Augmentation(k, (0, 3, 5, 2, 4, 7, 9, 8, 1, 6)) for k in range(8))]
NAMES = ["<blank>", *(turn.name("one") for turn in TURNS), *(turn.name("two") for turn in TURNS), "elsewhere"]
PLAIN, TWO, ELSEWHERE = 1, 1 + len(TURNS), len(NAMES) - 1


def task(name: str, *test: tuple[Grid, Grid | None]) -> Task:
    return Task(name, ((QUESTION, A),), test)


ONE = task("one", (QUESTION, A))
BOTH = task("two", (QUESTION, A), (OTHER_QUESTION, B))


Row = tuple[Grid, NDArray[Any], int, float]


class Ballot:
    """Rows for Votes.add, written by the untransformed grids."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def vote(self, answer: Grid, q: float = 0.0, by: int = PLAIN, question: Grid = QUESTION) -> "Ballot":
        """by: the puzzle id under whose augmentation question and answer are seen."""
        turn = parse_name(NAMES[by])[1]
        self.rows.append((encode(turn.apply(question)), encode(turn.apply(answer)), by, q))
        return self

    def raw(self, tokens: NDArray[Any], q: float = 0.0, by: int = PLAIN, question: Grid = QUESTION) -> "Ballot":
        self.rows.append((encode(parse_name(NAMES[by])[1].apply(question)), tokens, by, q))
        return self

    def into(self, votes: Votes, size: int = 1000) -> Votes:
        for start in range(0, len(self.rows), size):
            votes.add(*map(np.array, zip(*self.rows[start : start + size], strict=True)))
        return votes

    def counted(self, *tasks: Task) -> Votes:
        return self.into(Votes(NAMES, tasks or [ONE]))


def submitted(votes: Votes, attempts: int = 2, name: str = "one", output: int = 0) -> list[Any]:
    return list(votes.result(attempts).submission[name][output].values())


# The recording.


@pytest.fixture(scope="module")
def recording() -> dict[str, np.ndarray]:
    if not RECORDED.is_dir():
        pytest.skip(f"no recording of the public evaluator at {RECORDED}")
    with np.load(RECORDED / "predictions.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_recorded_results_of_the_public_evaluator(recording: dict[str, np.ndarray], size: int) -> None:
    votes = Votes.from_folder(RECORDED / "dataset")
    for start in range(0, len(recording["order"]), size):
        rows = recording["order"][start : start + size]
        votes.add(*(recording[key][rows] for key in ("inputs", "preds", "puzzle_identifiers", "q_halt_logits")))
    result = votes.result()
    expected = json.loads((RECORDED / "expected.json").read_text())
    assert result.pass_at == {k: expected[f"ARC/pass@{k}"] for k in (1, 2, 5, 10, 100, 1000)}
    assert result.outputs_right is not None
    assert result.output_share is not None
    assert result.outputs_right[2] == expected["outputs_right_with_two_attempts"]
    assert result.outputs == expected["outputs"]
    assert result.output_share[2] == expected["outputs_right_with_two_attempts"] / expected["outputs"]
    submission = json.loads((RECORDED / "submission.json").read_text())
    assert result.submission == submission
    assert list(result.submission) == list(submission)
    assert json.loads(json.dumps(result.submission)) == submission
    assert (result.unanswered, result.strays) == (1, 0)


# Ranking.


def test_most_votes_win_whatever_the_confidence() -> None:
    votes = Ballot().vote(A, 9).vote(B, -9).vote(B, -9).counted()
    assert submitted(votes) == [B.tolist(), A.tolist()]


def test_the_mean_confidence_decides_between_equal_votes() -> None:
    # A is the surest once, and by its mean logit; B by its mean confidence.
    votes = Ballot().vote(A, 10).vote(A, -1).vote(B, 2).vote(B, 2).counted()
    assert submitted(votes) == [B.tolist(), A.tolist()]


def test_of_full_ties_the_first_seen_wins() -> None:
    assert submitted(Ballot().vote(A).vote(B).vote(C).counted(), 3) == [A.tolist(), B.tolist(), C.tolist()]
    assert submitted(Ballot().vote(C).vote(B).vote(A).counted(), 3) == [C.tolist(), B.tolist(), A.tolist()]
    # What counts is when a candidate came first, not when it last came or caught up.
    assert submitted(Ballot().vote(B, 1).vote(A, 1).vote(A, 2).vote(B, 2).counted()) == [B.tolist(), A.tolist()]


def test_confidence_that_overflows_or_is_no_number() -> None:
    votes = Ballot().vote(A, float("nan")).vote(B, -np.inf).vote(C, -1000).vote(D, np.inf).counted()
    assert submitted(votes, 4) == [D.tolist(), A.tolist(), B.tolist(), C.tolist()]
    assert submitted(Ballot().vote(A, float("nan")).vote(B, -30).counted()) == [B.tolist(), A.tolist()]


def test_votes_under_all_augmentations_are_pooled() -> None:
    ballot = Ballot().vote(B, 9).vote(B, 9)
    for by in range(PLAIN, TWO):
        ballot.vote(D, by=by)
    assert submitted(ballot.counted()) == [D.tolist(), B.tolist()]


def test_grids_of_another_shape_are_other_candidates() -> None:
    ballot = Ballot().vote(grid("1122"), -1).vote(grid("11", "22")).vote(grid("1", "1", "2", "2"), 1)
    assert submitted(ballot.counted(), 3) == [[[1], [1], [2], [2]], [[1, 1], [2, 2]], [[1, 1, 2, 2]]]


def test_equal_areas_are_cropped_to_the_fewest_rows() -> None:
    tokens = np.zeros((SIDE, SIDE), np.uint8)
    tokens[0, :4] = tokens[1, :2] = 3
    assert submitted(Ballot().raw(tokens.ravel()).counted()) == [[[1, 1, 1, 1]]] * 2


def test_an_empty_grid_votes_and_can_win() -> None:
    nothing = np.zeros(CELLS, np.uint8)
    votes = Ballot().vote(A, 5).raw(nothing).raw(nothing + 1, by=3).counted()
    assert submitted(votes) == [[], A.tolist()]
    result = votes.result()
    assert result.outputs_right is not None
    assert (result.outputs_right[1], result.outputs_right[2], result.unanswered) == (0, 1, 0)


def test_one_candidate_is_submitted_twice() -> None:
    assert submitted(Ballot().vote(A).vote(A).counted()) == [A.tolist()] * 2
    assert submitted(Ballot().vote(A).vote(B, 1).counted(), 4) == [B.tolist(), A.tolist(), B.tolist(), B.tolist()]
    assert list(Ballot().vote(A).counted().result(3).submission["one"][0]) == ["attempt_1", "attempt_2", "attempt_3"]


def test_tokens_that_are_none_vote_for_what_is_left() -> None:
    tokens = np.full(CELLS, 255, np.int64)
    tokens[:3], tokens[3] = (2, 11, 5), 12
    assert submitted(Ballot().raw(tokens).counted()) == [[[0, 9, 3]]] * 2


# Which votes count.


def test_rows_of_padding_do_not_count() -> None:
    padding: list[Row] = [(encode(QUESTION), encode(C), 0, 9.0)] * 3
    ballot = Ballot()
    ballot.rows = [*padding, *Ballot().vote(A, -1).rows, *padding, *Ballot().vote(B, 1).rows]
    # Not even where id 0 has the name of a task.
    votes = ballot.into(Votes(["one", *NAMES[1:]], [ONE]))
    assert submitted(votes, 3) == [B.tolist(), A.tolist(), B.tolist()]
    ballot.rows = padding
    assert ballot.counted().result().unanswered == 1
    empty = Votes(NAMES, [ONE])
    empty.add(np.zeros((0, CELLS)), np.zeros((0, CELLS)), np.zeros(0, int), np.zeros(0))
    assert empty.result().unanswered == 1


def test_answers_to_other_tasks_do_not_count() -> None:
    result = Ballot().vote(B, by=ELSEWHERE).vote(B, by=TWO).vote(A).counted().result()
    assert result.submission == {"one": [{"attempt_1": A.tolist(), "attempt_2": A.tolist()}]}
    assert (result.strays, result.unanswered) == (0, 0)
    assert result.strangers == 2


def test_an_answer_to_no_test_input_is_a_stray() -> None:
    result = Ballot().vote(B, 9, question=OTHER_QUESTION).vote(B, 9, by=4, question=A).vote(A).counted().result()
    assert result.submission["one"] == [{"attempt_1": A.tolist(), "attempt_2": A.tolist()}]
    assert (result.strays, result.strangers) == (2, 0)
    assert result.pass_at is not None
    assert result.pass_at[2] == 1
    only = Ballot().vote(A, question=OTHER_QUESTION).counted().result()
    assert (only.submission, only.strays, only.unanswered) == ({"one": []}, 1, 1)


def test_each_test_input_has_its_own_votes() -> None:
    ballot = Ballot().vote(A, by=TWO).vote(B, by=TWO + 3, question=OTHER_QUESTION).vote(C, 1, by=TWO + 5)
    result = ballot.counted(BOTH).result()
    assert result.submission["two"] == [
        {"attempt_1": C.tolist(), "attempt_2": A.tolist()},
        {"attempt_1": B.tolist(), "attempt_2": B.tolist()},
    ]
    assert result.task_scores is not None
    assert (result.task_scores[1], result.task_scores[2]) == ({"two": 0.5}, {"two": 1.0})


def test_an_unanswered_input_keeps_its_place() -> None:
    result = Ballot().vote(B, by=TWO, question=OTHER_QUESTION).counted(BOTH).result()
    assert result.submission["two"] == [
        {"attempt_1": [], "attempt_2": []},
        {"attempt_1": B.tolist(), "attempt_2": B.tolist()},
    ]
    assert (result.unanswered, result.outputs) == (1, 2)
    assert result.pass_at is not None
    assert result.pass_at[2] == 0.5


def test_equal_test_inputs_share_their_votes() -> None:
    twins = task("one", (QUESTION, A), (QUESTION, B), (QUESTION, C))
    result = Ballot().vote(A, 3).vote(A, 3).vote(B, 1).counted(twins).result()
    assert result.submission["one"] == [{"attempt_1": A.tolist(), "attempt_2": B.tolist()}] * 3
    assert result.outputs_right is not None
    assert (result.outputs_right[1], result.outputs_right[2], result.outputs) == (1, 2, 3)


# Scores.


def test_tasks_count_the_same_and_outputs_count_the_same() -> None:
    result = Ballot().vote(A).vote(A, by=TWO).counted(ONE, BOTH, task("three", (QUESTION, A))).result()
    assert result.task_scores is not None
    assert result.task_scores[1] == {"one": 1.0, "two": 0.5, "three": 0.0}
    assert result.pass_at is not None
    assert result.pass_at[1] == 1.5 / 3
    assert result.outputs_right is not None
    assert result.outputs_right[1] == 2
    assert result.output_share is not None
    assert result.output_share[1] == 2 / 4
    assert (result.outputs, result.unanswered) == (4, 2)
    assert result.submission["three"] == []


def test_pass_at_k_looks_at_the_first_k() -> None:
    ballot = Ballot().vote(A, -1)
    for i in range(9):
        ballot.vote(grid(str(i)), i)
    result = ballot.counted().result(ks=(1, 9, 10, 11, 1000))
    assert result.pass_at == {1: 0, 9: 0, 10: 1, 11: 1, 1000: 1}


def test_hidden_solutions_leave_a_submission_without_scores() -> None:
    result = Ballot().vote(A).vote(A, by=TWO).counted(ONE, task("two", (QUESTION, None))).result()
    assert (result.task_scores, result.outputs_right, result.pass_at, result.output_share) == (None,) * 4
    assert {name: len(outputs) for name, outputs in result.submission.items()} == {"one": 1, "two": 1}
    assert (result.outputs, result.unanswered) == (2, 0)


def test_evaluations_are_pooled_by_adding() -> None:
    votes = Ballot().vote(B).counted()
    assert submitted(votes) == [B.tolist()] * 2
    for _ in range(2):
        Ballot().vote(A, -5).into(votes)
    assert submitted(votes) == [A.tolist(), B.tolist()]
    assert submitted(votes) == [A.tolist(), B.tolist()]


def test_memory_grows_with_candidates_and_not_with_votes() -> None:
    rng = np.random.default_rng(0)
    ballot = Ballot()
    for _ in range(50):
        ballot.vote(rng.integers(0, 10, (SIDE, SIDE)).astype(np.uint8))
    votes = ballot.counted()
    tracemalloc.start()
    for _ in range(10):
        ballot.into(votes)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert grown < 20_000  # the 500 votes hold 450,000 cells


# Against the obvious way to do it: keep every answer, count at the end.


def obvious(rows: Sequence[Row], tasks: Sequence[Task]) -> tuple[dict[str, Any], list[float]]:
    kept = []
    for question, answer, number, q in rows:
        if number:
            name, turn = parse_name(NAMES[number])
            cut = [turn.invert(crop(tokens)).tolist() for tokens in (question, answer)]
            kept.append((name, *cut, float(1 / (1 + np.exp(-np.float64(q))))))
    submission: dict[str, Any] = {}
    sums = [0.0, 0.0]
    for each in tasks:
        rankings = []
        for question, _ in each.test:
            pool = [(answer, q) for name, asked, answer, q in kept if name == each.name and asked == question.tolist()]
            distinct = [answer for i, (answer, _) in enumerate(pool) if answer not in [seen for seen, _ in pool[:i]]]
            shares = [[q for other, q in pool if other == answer] for answer in distinct]
            strengths = [(-len(share), -sum(share) / len(share), i) for i, share in enumerate(shares)]
            rankings.append([distinct[i] for *_, i in sorted(strengths)])
        submission[each.name] = [
            dict(zip(("attempt_1", "attempt_2"), [*ranking[:2], *ranking[:1], [], []], strict=False))
            for ranking in rankings
        ]
        if not any(rankings):
            submission[each.name] = []
        for i in range(2):
            right = [
                solution is not None and solution.tolist() in ranking[: i + 1]
                for ranking, (_, solution) in zip(rankings, each.test, strict=True)
            ]
            sums[i] += sum(right) / len(right)
    return submission, [total / len(tasks) for total in sums]


votes_cast = st.tuples(
    st.sampled_from([A, B, C, D, np.zeros((0, 0), np.uint8)]),
    st.sampled_from([-2.0, 0.0, 0.1, 3.0]),
    st.integers(0, len(NAMES) - 1),
    st.sampled_from([QUESTION, OTHER_QUESTION, A]),
)


@FUZZ
@given(st.lists(votes_cast, max_size=40), st.integers(1, 9))
def test_streamed_votes_are_those_counted_at_the_end(cast: list[tuple[Grid, float, int, Grid]], size: int) -> None:
    ballot = Ballot()
    for answer, q, by, question in cast:
        ballot.vote(answer, q, by, question)
    tasks = [BOTH, ONE]
    result = ballot.into(Votes(NAMES, tasks), size).result(ks=(1, 2))
    submission, means = obvious(ballot.rows, tasks)
    assert result.submission == submission
    assert result.pass_at == dict(zip((1, 2), means, strict=True))


# What a user can get wrong.


@pytest.mark.parametrize(
    ("ids", "shapes", "problem"),
    [
        (
            [1, len(NAMES)],
            (CELLS, CELLS, 2),
            rf"puzzle id {len(NAMES)} has no name: identifiers.json holds {len(NAMES)}",
        ),
        ([1, -1], (CELLS, CELLS, 2), "puzzle id -1 has no name"),
        ([1, 1], (81, 81, 2), r"shape \(2, 81\) where \(2, 900\) is needed"),
        ([1, 1], (CELLS, 81, 2), r"shape \(2, 81\) where \(2, 900\) is needed"),
        ([1, 1], (CELLS, CELLS, 3), r"shape \(3,\) where \(2,\) is needed"),
        (1, (CELLS, CELLS, 2), r"shape \(2, 900\) where \(0, 900\) is needed"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_whole(ids: Any, shapes: tuple[int, int, int], problem: str) -> None:
    votes = Votes(NAMES, [ONE])
    with pytest.raises(DataError, match=problem):
        votes.add(np.full((2, shapes[0]), 3), np.full((2, shapes[1]), 3), np.array(ids), np.zeros(shapes[2]))
    result = votes.result()
    assert (result.unanswered, result.strays) == (1, 0)


def test_no_attempts_are_refused() -> None:
    with pytest.raises(DataError, match="attempts is 0: a submission has at least 1"):
        Votes(NAMES, [ONE]).result(0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"a": 1}', "not a list of names; build the dataset again"),
        ('["<blank>", 7]', "name 1: is no text; build the dataset again"),
        ('["<blank>", "a|||t9|||0123456789"]', "name 1: 'a|||t9|||0123456789' is no name of an augmented task"),
        ("[", "not readable as JSON"),
    ],
)
def test_names_that_are_none(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "identifiers.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_names(path)
    assert str(caught.value).startswith(f"{path}: {problem}")
    assert "\n" not in str(caught.value)


@FUZZ
@given(EDITS, st.none() | st.integers(0, 1 << 10))
def test_any_names_are_read_as_they_are_or_told(tmp_path: Path, edits: Any, cut: int | None) -> None:
    path = tmp_path / "identifiers.json"
    path.write_bytes(damaged(json.dumps(NAMES).encode(), edits, cut))
    names, told = read_or_told(lambda: read_names(path), DataError)
    if told:
        assert_told(told, path)
        assert edits or cut is not None
    else:
        assert names == json.loads(path.read_bytes().decode("utf-8-sig"))
        assert all(parse_name(name)[1].colours[0] == 0 for name in names)


def test_a_folder_holds_names_and_tasks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"identifiers.json: cannot be read"):
        Votes.from_folder(tmp_path)
    (tmp_path / "identifiers.json").write_text(json.dumps(NAMES))
    with pytest.raises(DataError, match=r"test_puzzles.json: cannot be read"):
        Votes.from_folder(tmp_path)
    test = [{"input": QUESTION.tolist(), "output": A.tolist()}]
    (tmp_path / "test_puzzles.json").write_text(json.dumps({"one": {"train": test, "test": test}}))
    assert len(read_challenges(tmp_path / "test_puzzles.json", None)) == 1
    assert submitted(Ballot().vote(A, by=3).into(Votes.from_folder(tmp_path))) == [A.tolist()] * 2
