"""Submissions against solutions: a task's score, both totals, and what does not go together."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import EDITS, assert_told, damaged
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trm_jax.errors import DataError
from trm_jax.puzzles import arc_tasks
from trm_jax.puzzles.arc import Grid
from trm_jax.puzzles.arc_score import run, score

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

X, Y = np.array([[1, 2]], np.uint8), np.array([[1], [2]], np.uint8)
SOLUTIONS = {"t1": [X], "t2": [X, Y], "t3": [Y]}


def answer(*attempts: Grid | None) -> dict[str, Grid | None]:
    return {f"attempt_{i}": attempt for i, attempt in enumerate(attempts, 1)}


def test_any_attempt_may_be_right() -> None:
    given_ = {"t1": [answer(X, None)], "t2": [answer(Y, X), answer(X, X)], "t3": [answer(None, None)]}
    result = score(given_, SOLUTIONS)
    assert result.tasks == {"t1": 1.0, "t2": 0.5, "t3": 0.0}
    assert (result.outputs_right, result.outputs, result.missing) == (2, 4, ())
    assert (result.total, result.task_mean, result.output_share) == (1.5, 0.5, 0.5)


def test_only_so_many_attempts_count() -> None:
    third = {"t1": [answer(Y, Y, X)]}
    assert [score(third, SOLUTIONS, attempts).total for attempts in (1, 2, 3)] == [0, 0, 1]
    assert score({"t1": [{"attempt_2": X}]}, SOLUTIONS, 1).total == 0
    assert score({"t1": [{"attempt_2": X, "attempt_1": Y}]}, SOLUTIONS).total == 1
    with pytest.raises(DataError, match="attempts is 0: allow at least 1"):
        score(third, SOLUTIONS, 0)


def test_both_right_attempts_count_once() -> None:
    assert score({"t1": [answer(X, X)]}, SOLUTIONS).outputs_right == 1


def test_the_shape_is_part_of_an_answer() -> None:
    assert score({"t1": [answer(Y, X.ravel()[:, None])]}, SOLUTIONS).total == 0


def test_tasks_without_an_answer_count_as_wrong() -> None:
    result = score({"t3": [answer(Y)], "t2": []}, SOLUTIONS)
    assert result.tasks == {"t1": 0.0, "t2": 0.0, "t3": 1.0}
    assert list(result.tasks) == list(SOLUTIONS)
    assert result.missing == ("t1", "t2")
    assert (result.task_mean, result.output_share) == (1 / 3, 1 / 4)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(DataError, match=r"^task t4: is not among the 3 tasks of the solutions; remove it$"):
        score({"t1": [answer(X)], "t4": [], "t5": []}, SOLUTIONS)
    for answers in ([answer(X)], [answer(X)] * 3):
        with pytest.raises(DataError, match=rf"^task t2: {len(answers)} outputs, but the solutions have 2$"):
            score({"t2": answers}, SOLUTIONS)


attempts_drawn = st.lists(st.sampled_from([X, Y, None]), min_size=1, max_size=3).map(lambda grids: answer(*grids))


@FUZZ
@given(
    st.dictionaries(st.text("abc", min_size=1), st.lists(st.sampled_from([X, Y]), min_size=1, max_size=3), min_size=1),
    st.integers(1, 3),
    st.data(),
)
def test_scores_add_up(solutions: dict[str, list[Grid]], attempts: int, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(solutions)), unique=True))
    submission = {name: [data.draw(attempts_drawn) for _ in solutions[name]] for name in names}
    result = score(submission, solutions, attempts)
    right = {
        name: [
            any(f"attempt_{k}" in given_ and given_[f"attempt_{k}"] is output for k in range(1, attempts + 1))
            for given_, output in zip(submission.get(name, [{}] * len(outputs)), outputs, strict=True)
        ]
        for name, outputs in solutions.items()
    }
    assert result.tasks == {name: sum(each) / len(each) for name, each in right.items()}
    assert result.outputs_right == sum(map(sum, right.values()))
    assert result.outputs == sum(map(len, solutions.values()))
    assert result.total == pytest.approx(sum(result.tasks.values()))
    assert set(result.missing) == set(solutions) - set(names)
    perfect = {name: [answer(output) for output in outputs] for name, outputs in solutions.items()}
    assert score(perfect, solutions).task_mean == score(perfect, solutions).output_share == 1


def test_attempts_beyond_those_allowed_are_told(tmp_path: Path) -> None:
    grid, other = [[1]], [[2]]
    (tmp_path / "solutions.json").write_text(json.dumps({"a": [grid, grid], "b": [grid]}))
    answers = {
        "a": [{"attempt_1": other, "attempt_2": other, "attempt_3": grid}, {"attempt_1": grid}],
        "b": [{"attempt_3": grid}],
    }
    (tmp_path / "submission.json").write_text(json.dumps(answers))
    out = io.StringIO()

    result = run(tmp_path / "submission.json", tmp_path / "solutions.json", out=out)

    assert result.outputs_right == 1
    assert "outputs with more attempts than are allowed, which are not looked at: 2" in out.getvalue()


def test_the_published_scores_of_a_published_submission(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "arc_submissions"
    out = io.StringIO()
    result = run(
        folder / "o3_low_attempts.json",
        real_data / "arc" / "arc-agi_evaluation_solutions.json",
        tmp_path / "score.json",
        out=out,
    )
    published = json.loads((folder / "o3_low_results.json").read_text())
    assert result.tasks == published["task_results"]
    assert result.total == published["score"] == 331.0
    assert len(result.tasks) == published["total_tasks"] == 400
    assert (result.outputs_right, result.outputs) == (349, 419)
    written = json.loads((tmp_path / "score.json").read_text())
    assert {key: written[key] for key in published} == published
    assert len(written["malformed"]) == 17
    text = out.getvalue()
    assert "331.00    400    82.75%" in text
    assert "349    419    83.29%" in text
    assert "attempts that are no grid and count as wrong: 17; the first:" in text
    assert "task ff72ca3e, output 1, attempt_2: 31 rows, but a grid has 1 to 30" in text


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    submission, solutions = tmp_path / "submission.json", tmp_path / "solutions.json"
    solutions.write_text(json.dumps({name: [grid.tolist() for grid in grids] for name, grids in SOLUTIONS.items()}))
    content: dict[str, Any] = {"t1": [{"attempt_1": [[1, 2]], "attempt_2": [[0]]}], "t3": []}
    submission.write_text(json.dumps(content))
    return submission, solutions


def test_the_table(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    run(*files)
    assert capsys.readouterr().out == (
        "submission.json against solutions.json; attempts allowed: 2\n"
        "                                        right     of     share\n"
        "tasks, each the mean of its outputs      1.00      3    33.33%\n"
        "outputs                                     1      4    25.00%\n"
        "tasks without an answer: 2 (t2, t3)\n"
    )
    run(*files, attempts=1, each_task=True)
    assert capsys.readouterr().out.startswith(
        "task                       score\n"
        "t1                         1.000\n"
        "t2                         0.000  no answer\n"
        "t3                         0.000  no answer\n"
        "submission.json against solutions.json; attempts allowed: 1\n"
    )


def test_a_fault_names_the_file(files: tuple[Path, Path], tmp_path: Path) -> None:
    submission, solutions = files
    with pytest.raises(DataError, match=r"absent/x.json: cannot be written \(No such file or directory\)"):
        run(submission, solutions, tmp_path / "absent" / "x.json")
    submission.write_text(json.dumps({"t9": []}))
    with pytest.raises(DataError) as caught:
        run(submission, solutions)
    assert str(caught.value) == f"{submission}: task t9: is not among the 3 tasks of the solutions; remove it"
    with pytest.raises(DataError, match=r"solutions.json: task t1, output 1: .* holds no attempts"):
        run(solutions, solutions)
    with pytest.raises(DataError, match=r"absent.json: cannot be read"):
        run(submission, tmp_path / "absent.json")


@FUZZ
@given(EDITS, EDITS, st.none() | st.integers(0, 1 << 8))
def test_any_files_are_scored_or_told(files: tuple[Path, Path], to_one: Any, to_other: Any, cut: int | None) -> None:
    submission, solutions = files
    good = submission.read_bytes(), solutions.read_bytes()
    told, out = None, io.StringIO()
    try:
        submission.write_bytes(damaged(good[0], to_one, cut))
        solutions.write_bytes(damaged(good[1], to_other))
        result = run(submission, solutions, submission.parent / "score.json", each_task=True, out=out)
    except DataError as error:
        told = error
    finally:
        content = solutions.read_bytes()
        submission.write_bytes(good[0])
        solutions.write_bytes(good[1])
    if told:
        assert_told(told, submission.parent)
        assert to_one or to_other or cut is not None
    else:
        assert list(result.tasks) == list(json.loads(content.decode("utf-8-sig")))
        assert 0 <= result.outputs_right <= result.outputs
        assert all(line.isprintable() for line in out.getvalue().split("\n"))
        assert json.loads((submission.parent / "score.json").read_text())["score"] == result.total
    assert {path.name for path in submission.parent.iterdir()} <= {"submission.json", "solutions.json", "score.json"}


def test_files_without_end_are_told(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arc_tasks, "_LONGEST", 1 << 16)
    with pytest.raises(DataError, match="/dev/zero: more than 65536 bytes"):
        run(Path("/dev/zero"), files[1])
