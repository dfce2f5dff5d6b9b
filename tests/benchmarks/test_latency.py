"""The benchmark of one puzzle: which puzzles, what a row says, what is refused; and once the whole, at its smallest."""

import io
import json
import os
import sys
from contextlib import ExitStack
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import latency, latency_worker
from benchmarks.peer import Peer
from benchmarks.turns import Times
from trm_jax.config import DataConfig
from trm_jax.errors import ConfigError
from trm_jax.library.solver import load
from trm_jax.model.estimate import supervision_flops
from trm_jax.puzzles.kinds import kind_of


@pytest.fixture(scope="module")
def solver():
    return load("sudoku-4x4")


def row(solver, way: str = "onnx", batch: int = 1, seconds: tuple[float, ...] = (2.0, 1.0, 4.0), rate: float = 1e9):
    work = SimpleNamespace(source="some", solver=solver, puzzles=range(8))
    told = {"steps": None if way in latency.FRESH else 8.0, "exact": 1.0}
    return latency._row(work, (way, 2, batch), Times(seconds), {"product": "own", "rate": rate}, told)


def test_a_row_tells_milliseconds_of_a_puzzle_and_times_its_arithmetic(solver):
    flops = 8 * supervision_flops(solver.experiment.model)
    told = row(solver, rate=2.5 * flops)  # of which the arithmetic takes 0.4 seconds
    assert (told["milliseconds"], told["milliseconds_min"], told["milliseconds_max"]) == (2000.0, 1000.0, 4000.0)
    assert (told["puzzles_per_second"], told["milliseconds_per_step"]) == (0.5, 250.0)
    assert (told["times_arithmetic"], told["goal"], told["met"]) == (5.0, "times_arithmetic <= 2", False)
    assert row(solver, rate=flops)["met"]


def test_who_has_a_goal(solver):
    fast, slow = (0.3,), (0.301,)
    assert row(solver, "onnx_fresh", seconds=fast)["met"]
    assert not row(solver, "onnx_fresh", seconds=slow)["met"]
    assert "times_arithmetic" not in row(solver, "onnx_fresh")
    for way, batch in (("onnx", 64), ("trm_solve", 1), ("eager", 1)):
        assert "goal" not in row(solver, way, batch)


def test_puzzles_are_held_out_ones_or_generated_or_refused(solver):
    own = latency.puzzles_for(solver, "")
    assert len(own) == latency.MANY
    assert own.seq_len == 16

    def other(kind):
        return SimpleNamespace(
            kind=kind, experiment=SimpleNamespace(data=DataConfig(), model=SimpleNamespace(vocab_size=kind.vocab_size))
        )

    for name, cells in (("maze", 49), ("sudoku", 36)):
        kind = kind_of(name, cells)
        made = latency.puzzles_for(other(kind), "")
        questions, answers = np.asarray(made.inputs), np.asarray(made.labels)
        assert len(made) == latency.MANY
        assert kind.satisfied(questions, answers).all()
    assert (questions > 1).sum(axis=1).min() >= 13
    with pytest.raises(ConfigError, match="no puzzles of kind 'tokens' are held out or generated"):
        latency.puzzles_for(other(kind_of("tokens", 9)), "")


def test_what_is_started_on_fewer_cores_has_them_alone():
    before = os.sched_getaffinity(0)
    with latency.on_cores(1):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before
    with pytest.raises(ConfigError, match=f"--threads 9999: this process has {len(before)} cores"):
        latency.on_cores(9_999).__enter__()


def served(monkeypatch, answer, *turns) -> list[dict]:
    monkeypatch.setitem(latency_worker.WAYS, "made", lambda order: answer)
    order = {"way": "made", "questions": ["a", "b", "c"], "answers": ["A", "B", "X"]}
    requests, answers = io.StringIO("\n".join(map(json.dumps, [order, *turns]))), io.StringIO()
    latency_worker.serve(requests, answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_a_turn_is_puzzles_one_by_one_or_at_once(monkeypatch):
    calls: list[list[str]] = []
    now = iter([0.0, 5.0, 8.0, 0.0, 0.0, 3.0])
    monkeypatch.setattr(latency_worker, "time", SimpleNamespace(perf_counter=lambda: next(now), process_time=lambda: 0))

    def answer(questions):
        calls.append(list(questions))
        return [text.upper() for text in questions], float(len(calls))

    single_ones = {"puzzles": 3, "together": False, "before": True}
    turns = [single_ones, {"puzzles": 2, "together": True, "before": False}]
    _, single, both = served(monkeypatch, answer, *turns)
    assert calls == [["a"], ["a"], ["b"], ["c"], ["a", "b"]]  # the call before is not counted
    assert (single["seconds"], single["first_seconds"], single["steps"], single["exact"]) == (1.0, 5.0, 3.0, 2 / 3)
    assert (both["seconds"], both["first_seconds"], both["steps"], both["exact"]) == (1.5, None, 5.0, 1.0)


def test_a_worker_tells_in_one_line_what_went_wrong(monkeypatch):
    def answer(questions):
        raise ValueError("a\n  b")

    assert served(monkeypatch, answer, {"puzzles": 1, "together": True, "before": False})[1:] == [
        {"error": "ValueError: a b"}
    ]


def test_what_cannot_be_done_is_told_and_left_out(monkeypatch, capsys, solver):
    def order(way):
        raise ConfigError(f"no {way} of this model")

    work = SimpleNamespace(puzzles=range(3), order=order)
    with ExitStack() as processes:
        assert list(latency.variants(work, ["stablehlo", "onnx"], None, "", processes)) == []
    told = capsys.readouterr().err.splitlines()
    assert told == [f"{way} is left out: no {way} of this model" for way in ("stablehlo", "onnx")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such file or folder"),
        (["sudoku-4x4", "--ways", "library,web"], "'web' is none of library, stablehlo"),
        (["sudoku-4x4", "--ways", "eager"], "'eager' needs --reference PATH"),
        (["sudoku-4x4", "--threads", "1,zero"], "--threads 1,zero: give numbers from 1 on"),
        (["sudoku-4x4", "--threads", "0"], "--threads 0: give numbers from 1 on"),
        (["sudoku-4x4", "--repeats", "0"], "--repeats: give a number from 1 on"),
        (["sudoku-4x4", "--reference", "nowhere"], "nowhere: no pretrain.py there"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["latency", *arguments])
    with pytest.raises(SystemExit) as end:
        latency.main()
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.slow
def test_the_smallest_plan(monkeypatch, tmp_path, capsys):
    """Every way of the smallest model, in processes of their own: the same answers, and a row of each."""
    pytest.importorskip("onnx", reason="ONNX is written by the package onnx (extra onnx)")
    pytest.importorskip("onnxruntime", reason="what is written as ONNX is run by onnxruntime (extra dev)")
    monkeypatch.setattr(latency, "RESULTS", tmp_path / "rows.jsonl")
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # of the tests, which have eight devices
    monkeypatch.setattr(sys, "argv", ["latency", "sudoku-4x4", "--threads", "1", "--repeats", "1"])
    latency.main()
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    warm = ["library", "stablehlo", "onnx"]
    assert [(row["way"], row["batch"]) for row in rows] == [
        *((way, 1) for way in (*warm, "trm_solve", "onnx_fresh")),
        *((way, 64) for way in warm),
    ]
    for told in rows:
        assert told["exact"] == 1.0
        assert told["steps"] == (None if told["way"] in latency.FRESH else 8.0)
        assert told["milliseconds_min"] <= told["milliseconds"] <= told["milliseconds_max"]
        assert 20 < told["peak_mb"] < 2_000
        assert ("goal" in told) == (told["batch"] == 1 and told["way"] != "trm_solve")
    # Of two files and two processes, what is small and what is not.
    memory = {told["way"]: told["peak_mb"] for told in rows if told["batch"] == 1}
    assert memory["onnx_fresh"] < memory["trm_solve"] / 2
    assert "is left out" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_process_that_ends_is_told_by_its_last_words():
    peer = Peer("some", [sys.executable, "-c", "import sys; input(); sys.exit('the end of it')"])
    try:
        with pytest.raises(ConfigError, match=r"^some does not run: the end of it$"):
            peer.ask({})
    finally:
        peer.close()
