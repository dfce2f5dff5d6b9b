"""The 4x4 model that ships keeps what a confidence promises, in 100 random splits; and where nothing is promised."""

from typing import Any

import numpy as np
import pytest

from benchmarks.promises import kept
from trm_jax.data import puzzle_set
from trm_jax.data.stress import stress_sets
from trm_jax.inference.confidence import SIGNALS, calibrate, gather
from trm_jax.inference.effort import Effort
from trm_jax.inference.statistics import calibration, share
from trm_jax.inference.stress import by_attempts
from trm_jax.model.model import Model
from trm_jax.puzzles import sudoku, sudoku_search
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.sources import load

COUNT, CALIBRATED = 6_000, 2_500
PLAIN, SEVERAL = Effort((1,)), Effort((1,), attempts=4, symmetries=True)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def puzzles() -> Any:
    """Minimal Sudokus, of which the model gets one in a hundred wrong after one step."""
    layout = sudoku.layout_from("2x2")
    questions, answers = sudoku_search.generate(COUNT, layout, 11, minimal=True)
    return puzzle_set.from_pairs(sudoku.encode(questions), sudoku.encode(answers), 6, "sudoku")


@pytest.mark.parametrize(("kind", "effort"), [("sudoku", PLAIN), ("tokens", PLAIN), ("sudoku", SEVERAL)])
def test_the_promise_is_kept_in_random_splits(puzzles: Any, kind: str, effort: Effort) -> None:
    """Of kind "tokens" no rules are known: the labels judge."""
    experiment, weights = load("sudoku-4x4")
    found = gather(Model(experiment.model), weights, puzzles, kind_of(kind, 16), effort, "q", 1_000)
    assert found.names == (SIGNALS if effort.attempts > 1 else SIGNALS[:-1])
    assert 0.95 < found.right.mean() < 1
    told = kept(found, CALIBRATED, 0.99, 0.05, 100)
    assert told["silent"] == 0
    assert share(told["over"] / 100, 100).low <= 0.05
    assert told["wrong"] <= 0.01
    assert told["answered"] > 0.9


def test_after_one_step_the_margin_tells_and_after_all_the_rest_of_the_state(puzzles: Any) -> None:
    experiment, weights = load("sudoku-4x4")
    auroc = {}
    for steps in (1, experiment.model.supervision_steps):
        what = puzzles, kind_of("sudoku", 16), Effort((steps,)), "q", 1_000
        found = gather(Model(experiment.model), weights, *what)
        auroc[steps] = [calibration(column, found.right).auroc for column in found.signals.T]
    (_, still, margin), (q, rest, _) = auroc.values()
    assert margin > 0.95 > still
    assert rest > 0.9 > q


def test_on_puzzles_without_an_answer_it_is_not_to_be_trusted(puzzles: Any) -> None:
    """A failure that is known (docs/confidence.md): the promise is about puzzles like those of the calibration."""
    experiment, weights = load("sudoku-4x4")
    kind = kind_of("sudoku", 16)
    found = gather(Model(experiment.model), weights, puzzles, kind, PLAIN, "q", 1_000)
    promise = calibrate(found, 0.99, 0.05).promise(0.99)
    sets = stress_sets(puzzles, kind, experiment, 0, 200)
    answered = by_attempts(experiment, weights, sets.sets, PLAIN, "q", 1_000, promise=promise)
    rows = {row.name: row for row in answered.report(0, sets.left_out).rows}
    assert rows["plain"].false_sure is not None
    assert rows["plain"].false_sure.value <= 0.02
    plain, unsolvable = rows["plain"].sure, rows["unsolvable"].sure
    assert plain is not None
    assert unsolvable is not None
    assert np.isclose(plain, 1, atol=0.05)
    assert unsolvable < plain
    assert rows["unsolvable"].false_sure is not None
    assert rows["unsolvable"].false_sure.value > 0.2
