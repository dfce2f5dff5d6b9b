"""`trm.calibrate` and `Solver.solve(..., confidence=)` in the hand: answers or none, files, nonsense in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trm_jax as trm
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.inference import confidence
from trm_jax.inference.attempts import Attempts
from trm_jax.library import attempting
from trm_jax.library.solver import Solver
from trm_jax.runs.calibration import read

QUESTION, ANSWER = ".21. ...4 .... .1..", "4213132424313142"
# Of these boards the first two are solved, the third is not.
BOARDS = [QUESTION, "4.1. ...4 .... .1..", "..1. ...4 .... .1.."]


@pytest.fixture
def trusted(experiment: Any, monkeypatch: pytest.MonkeyPatch) -> Solver:
    """A solver whose network answers ANSWER to all, and whose margin is small where neither of the first two cells was
    given; there it repeats a digit."""

    def attempt(model: Any, weights: Any, effort: Any, inputs: Any, ids: Any, batch: int, kind: Any, *rest: Any) -> Any:
        n, D = len(inputs), len(effort.depths)
        tokens = np.repeat(kind.parse(ANSWER)[None], n, axis=0)
        known = (np.asarray(inputs)[:, :2] != 1).any(axis=1)
        tokens[~known, 0] = tokens[~known, 1]
        by_step = np.ones((n, 1, effort.steps), np.float32)
        margin = by_step * np.where(known, 9, 1)[:, None, None] + np.arange(n)[:, None, None] % 3
        zeros = np.zeros((n, 1), np.int32)
        answers = np.repeat(tokens[:, None, None], D, axis=2)
        yield Attempts(effort, 0, answers, by_step, by_step, margin.astype(np.float32), zeros, zeros + effort.steps)

    for module in (confidence, attempting):
        monkeypatch.setattr(module, "attempt", attempt)
    return Solver(experiment, None, source="")  # type: ignore[arg-type]


def calibrated(solver: Solver, **more: Any) -> Any:
    puzzles = BOARDS * 160
    return trm.calibrate(solver, puzzles, [ANSWER] * len(puzzles), confidence=0.95, **more)


def test_answers_are_given_or_there_is_none(trusted: Solver, tmp_path: Path) -> None:
    found = calibrated(trusted, save_to=str(tmp_path / "c.json"))
    assert trusted.calibration is found
    assert read(tmp_path / "c.json") == found
    assert found.confidence.most > 0.95
    out = trusted.solve(BOARDS, confidence=0.95)
    assert out.sure.tolist() == out.valid.tolist() == [True, True, False]
    assert [out.text(i) for i in range(3)] == [ANSWER, ANSWER, ""]
    assert (out.confidence[:2] > 0.9).all()
    assert out.confidence[2] < 0.5
    assert out.attempt.tolist() == [0, 0, -1]
    assert repr(out[2]) == "<no answer: not sure, 73% by q>"
    assert "not sure" in out._repr_html_()
    alone = trusted.solve(QUESTION, confidence=0.95)
    assert (bool(alone.sure), alone.text()) == (True, ANSWER)
    plain = trusted.solve(QUESTION)
    assert plain.sure is None
    assert plain.confidence is None
    with pytest.raises(ConfigError, match=r"confidence: calibrated with steps \d+ and not 1: ask in the same way"):
        trusted.solve(QUESTION, confidence=0.95, steps=1)
    with pytest.raises(ConfigError, match=r"confidence 0.9999 cannot be promised: that takes at least"):
        trusted.solve(QUESTION, confidence=0.9999)


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"confidence": 1}, "confidence = 1: give a number between 0 and 1, such as 0.99"),
        ({"confidence": "0.9"}, "confidence = '0.9': give a number"),
        ({"confidence": 0.95, "certify": True}, "certify = True gives answers that keep the rules, which is certain"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked: dict[str, Any], line: str, trusted: Solver) -> None:
    with pytest.raises(ConfigError, match=line):
        trusted.solve(QUESTION, **asked)


@pytest.mark.parametrize(
    ("asked", "error", "line"),
    [
        ({"delta": 0}, ConfigError, "delta = 0: give a number between 0 and 1"),
        ({"steps": [1, 2]}, ConfigError, r"steps = \[1, 2\]: a calibration is of one number of supervision steps"),
        ({"confidence": 0.999}, DataError, "3 independent puzzles: to promise 0.999 takes at least 7943: give more"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(asked: Any, error: Any, line: str, trusted: Solver) -> None:
    with pytest.raises(error, match=line):
        trm.calibrate(trusted, BOARDS, [ANSWER] * 3, **asked)


def test_without_a_calibration_there_is_no_confidence(trusted: Solver, folder: Path) -> None:
    with pytest.raises(ConfigError, match="this model was never calibrated"):
        trusted.solve(QUESTION, confidence=0.9)
    with pytest.raises(CheckpointError, match=r"calibration.json: no calibration there"):
        trm.load(folder).solve(QUESTION, confidence=0.9)


@pytest.mark.slow
def test_a_model_that_searches_needs_none() -> None:
    model = trm.load("sudoku-extreme")
    with pytest.raises(ConfigError, match="a model of candidates searches, and gives answers alone that the rules"):
        trm.calibrate(model)
