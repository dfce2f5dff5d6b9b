"""What is said of an evaluation while weights are trained."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from trm_jax.config import Experiment, experiment_from
from trm_jax.data.folder_writer import Writer
from trm_jax.devices.sharding import ALONE
from trm_jax.errors import DataError, RulesError
from trm_jax.inference.statistics import Share
from trm_jax.puzzles.kind import Kind
from trm_jax.runs import evaluation, run
from trm_jax.runs.evaluation import Evaluation, HeldOut, tell
from trm_jax.runs.writers import MetricsWriter

OWN = json.dumps({"kind": "grid", "shape": [1, 2], "alphabet": ".12"})


class _Writer:
    def write(self, step: int, figures: dict[str, float]) -> None:
        self.written = step, figures


@pytest.mark.parametrize(("step", "share"), [(100, "90%"), (2_000, "14%"), (3_500, "")])
def test_an_average_that_lags_behind_is_told(step: int, share: str, capsys: pytest.CaptureFixture[str]) -> None:
    writer = _Writer()

    tell(HeldOut(0.5, {"eval/exact_accuracy": 0.5}, ("half",)), step, cast(MetricsWriter, writer), 0.999)

    assert writer.written == (step, {"eval/exact_accuracy": 0.5})
    lag = f"step {step}: {share} of the average are still the weights at the start: it lags behind training"
    assert capsys.readouterr().err.splitlines() == [f"step {step}: half", *[lag] * bool(share)]


def on(path: Path, puzzle: str, row: str, vocab_size: int) -> Experiment:
    """An experiment whose held-out puzzles are a row of a table."""
    path.write_text(f"question,answer\n{row}\n")
    model = {
        "width": 8,
        "heads": 2,
        "vocab_size": vocab_size,
        "seq_len": row.index(","),
        "num_puzzles": 1,
        "puzzle_dim": 0,
        "puzzle_tokens": 0,
    }
    return experiment_from({"model": model, "data": {"test": str(path), "puzzle": puzzle}})


class _Evaluator:
    """Finds one of four answers right, and two that keep the rules."""

    failing = False

    def __init__(self, model: object, puzzles: object, batch_size: int, effort: object, kind: Kind, **_: Any) -> None:
        self.kind = kind

    def __call__(self, *_: object) -> Any:
        if self.failing and self.kind.has_rules:
            raise RulesError("--rules x.py: check failed: KeyError")
        exact, valid = Share(0.25, 0.0, 1.0), Share(0.5, 0.0, 1.0)
        row = SimpleNamespace(exact=exact, cells=exact, q_right=0.5, satisfied=valid if self.kind.has_rules else None)
        return SimpleNamespace(rows=[row], arc=None, seconds=1.0, puzzles=4, unlabelled=0)


@pytest.mark.parametrize(
    ("puzzle", "row", "vocab_size", "own", "valid"),
    [("maze", "S  G,So G", 6, False, True), (OWN, "1.,12", 4, True, True), (OWN, "1.,12", 4, False, False)],
)
def test_answers_that_keep_the_rules_are_counted_where_there_are_any(
    puzzle: str, row: str, vocab_size: int, own: bool, valid: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "Evaluator", _Evaluator)
    rules = (lambda question, answer: True) if own else None

    found = Evaluation.of(on(tmp_path / "t.csv", puzzle, row, vocab_size), ALONE, rules=rules).figures({}, print)

    assert found.figures.get("eval/valid") == (0.5 if valid else None)
    told = "averaged weights solve 25.00% of 4 held-out puzzles exactly"
    assert found.lines == (told + "; valid 50.00%" * valid,)


@pytest.mark.parametrize(
    ("processes", "states", "asked"), [(1, "y_z", True), (2, "y_z", False), (1, "candidates", False)]
)
def test_rules_are_looked_for_by_one_process_that_does_not_search(
    processes: int, states: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jax.process_count", lambda: processes)
    monkeypatch.setattr(run, "rules_of", lambda named, sources, **_: sources)
    experiment = experiment_from({"data": {"train": "a,b", "test": "c"}})
    experiment = replace(experiment, model=replace(experiment.model, states=states))

    assert run._own_rules(experiment) == (["c", "a", "b"] if asked else None)


def test_rules_that_fail_end_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluation, "Evaluator", _Evaluator)
    monkeypatch.setattr(_Evaluator, "failing", True)
    judge = Evaluation.of(on(tmp_path / "t.csv", OWN, "1.,12", 4), ALONE, rules=lambda question, answer: True)

    for _ in range(2):
        assert "eval/valid" not in judge.figures({}, print).figures

    assert capsys.readouterr().err == (
        "--rules x.py: check failed: KeyError; evaluations of this run go on without rules\n"
    )


def test_held_out_puzzles_without_labels_are_told_with_their_name(tmp_path: Path) -> None:
    with Writer(tmp_path / "set", 2, 4, puzzle=None) as writer:
        writer.split("test").add_singles(np.array([[2, 1]]), np.zeros((1, 2), np.int64))
        writer.finish()
    experiment = on(tmp_path / "t.csv", OWN, "1.,12", 4)
    experiment = replace(experiment, data=replace(experiment.data, test=str(tmp_path / "set")))

    with pytest.raises(DataError, match="none of its 1 puzzles has a labelled cell, so there is nothing to be") as told:
        Evaluation.of(experiment, ALONE)

    assert str(told.value).startswith(f"{tmp_path / 'set'}: none")
