"""Points are run one after another; whatever ends that, the same again goes on where it was. No process is started."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ledger_rows import row

from trm_jax.errors import CheckpointError
from trm_jax.runs import ledger, points
from trm_jax.runs.entry import Said
from trm_jax.runs.points import Folder, Running, time_left
from trm_jax.runs.signals import StopSignals
from trm_jax.runs.sweep import Asked, Plan, Point

COSTS = {"dear": 300, "cheap": 100, "middling": 200}
SAID = Said("nothing else", "a note")
AS_USUAL = Asked()


def planned(asked: Asked = AS_USUAL, **costs: int) -> Plan:
    """Points that differ in n, of so many operations in a hundred steps."""
    found = (Point(name, {"model.latent_steps": n}, {}, 100, n, searches=False) for name, n in (costs or COSTS).items())
    return Plan("demo:smoke", {"optim.clip": 0.5}, "a" * 64, None, asked, tuple(found))


@dataclass
class Machine:
    """Stands for the processes: keeps what was said, and leaves in a folder what they would; codes: what they end with.

    A code of 75 has made half of the steps that were left.
    """

    codes: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    words: list[Sequence[str]] = field(default_factory=list)
    then: Callable[[str, str], None] = lambda command, name: None
    best: bool = False

    def __call__(self, words: Sequence[str], log: Path, look: Callable[[], None]) -> int:
        command, name = words[0], log.parent.name
        self.said.append((command, name))
        self.words.append(words)
        code = next(iter(self.codes.get((command, name), [])), 0)
        if code:
            self.codes[command, name].pop(0)
        with log.open("a") as file:
            file.write(f"so far\ntrm: error: {command} is weary\n" if code else "fine\n")
        look()
        if command == "train":
            self._train(log.parent, code)
        elif not code:
            (path,) = (word.removeprefix("--json=") for word in words if word.startswith("--json="))
            Path(path).write_text(json.dumps({"name": name}))
        self.then(command, name)
        return code

    def _train(self, place: Path, code: int) -> None:
        if self.best:
            (place / "checkpoints" / "best").mkdir(parents=True, exist_ok=True)
        metrics = place / "metrics.jsonl"
        before = json.loads(metrics.read_text().splitlines()[-1])["step"] if metrics.exists() else 0
        step = 100 if not code else before + (100 - before) // 2 if code == 75 else before
        if step != before:
            with metrics.open("a") as file:
                file.write(json.dumps({"step": step}) + "\n")


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a sweep whose rows are made up of the names of points."""

    def entry(run: Path, figures: Path, said: Said, root: Path | None) -> ledger.Row:
        assert json.loads(figures.read_text()) == {"name": run.name}
        return row(weights=f"{len(run.name):064d}", note=f"{said.note} / {said.beside}")

    monkeypatch.setattr(points, "entry", entry)
    folder = tmp_path / "study"
    folder.mkdir()
    return folder


def run(workdir: Path, machine: Machine, plan: Plan | None = None, **more: Any) -> list[str]:
    folder = Folder(workdir, workdir.parent / "ledger.jsonl")
    with StopSignals() as signals:
        return Running(plan or planned(), folder, SAID, None, signals, call=machine, **more).run()


def notes(workdir: Path) -> list[str]:
    return [found["note"] for found in ledger.read(workdir.parent / "ledger.jsonl")]


def test_each_point_is_trained_evaluated_and_recorded_the_cheapest_first(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine()
    assert run(workdir, machine, planned(Asked("a.csv", (1, 4)), **COSTS), network=Path("own.py")) == []
    assert machine.said == [(command, name) for name in ("cheap", "middling", "dear") for command in ("train", "eval")]
    place = workdir / "cheap"
    assert machine.words[0] == [
        "train", "--config=demo:smoke", "--config.optim.clip=0.5", "--config.model.latent_steps=100",
        f"--workdir={place}", "--network=own.py",
    ]  # fmt: skip
    assert machine.words[1] == [
        "eval", str(place), "a.csv", "--steps=1,4", f"--json={place / 'figures.json'}", "--network=own.py"
    ]  # fmt: skip
    assert notes(workdir) == [f"sweep study: {name}; a note / nothing else" for name in ("cheap", "middling", "dear")]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "sweep: cheap, 100 steps, 10 KFLOP; 0 of 3 points, 0 FLOP of 60 KFLOP, ETA unknown yet"
    assert lines[-1].startswith("sweep: dear done; 3 of 3 points, 60 KFLOP of 60 KFLOP, ETA 0s")


def test_the_best_weights_are_evaluated_where_a_run_has_kept_them(workdir: Path) -> None:
    machine = Machine(best=True)
    run(workdir, machine, planned(cheap=100))
    assert machine.words[1][1] == str(workdir / "cheap" / "checkpoints" / "best")


def test_what_stands_in_the_ledger_is_not_run_again(workdir: Path) -> None:
    run(workdir, Machine())
    again = Machine()
    assert run(workdir, again) == []
    assert again.said == []
    assert len(notes(workdir)) == 3


def test_a_row_that_was_lost_is_made_again_of_the_same_figures(workdir: Path) -> None:
    run(workdir, Machine())
    path = workdir.parent / "ledger.jsonl"
    path.write_bytes(b"\n".join(path.read_bytes().split(b"\n")[1:]))
    again = Machine()
    run(workdir, again)
    assert again.said == []
    assert len(notes(workdir)) == 3


def test_one_that_was_recorded_but_not_marked_is_marked_and_not_recorded_twice(workdir: Path) -> None:
    run(workdir, Machine())
    for content in (None, "{", "[]", '{"id": 3}', '{"id": "gone"}'):
        mark = workdir / "cheap" / "row.json"
        mark.unlink() if content is None else mark.write_text(content)
        again = Machine()
        run(workdir, again)
        assert again.said == []
        assert len(notes(workdir)) == 3
        assert json.loads(mark.read_text())["id"].startswith("sudoku_extreme-single-")


def test_an_evaluation_that_was_cut_short_is_made_again(workdir: Path) -> None:
    run(workdir, Machine(), planned(cheap=100))
    (workdir / "cheap" / "row.json").unlink()
    (workdir / "cheap" / "figures.json").write_text('{"name": ')
    again = Machine()
    run(workdir, again, planned(cheap=100))
    assert again.said == [("train", "cheap"), ("eval", "cheap")]


def test_a_point_that_fails_is_told_in_one_line_and_the_others_go_on(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine({("train", "cheap"): [2], ("eval", "dear"): [-9]})
    assert run(workdir, machine) == ["cheap", "dear"]
    failed = [line for line in capsys.readouterr().err.splitlines() if "failed" in line]
    assert len(failed) == 2
    log = workdir / "cheap" / "log.txt"
    assert failed[0].startswith(f"sweep: cheap failed: trm train ended with 2: train is weary (see {log}); 0 of 3 ")
    assert "sweep: dear failed: trm eval ended with -9: eval is weary" in failed[1]
    assert len(notes(workdir)) == 1
    assert run(workdir, again := Machine()) == []
    assert again.said == [(command, name) for name in ("cheap", "dear") for command in ("train", "eval")]


def test_a_row_that_cannot_be_made_is_a_point_that_fails(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> ledger.Row:
        raise CheckpointError("none of the weights")

    monkeypatch.setattr(points, "entry", refuse)
    assert run(workdir, Machine(), planned(cheap=100)) == ["cheap"]
    assert "sweep: cheap failed: none of the weights; 0 of 1 points" in capsys.readouterr().err


def test_training_that_another_has_stopped_goes_on_as_long_as_it_gets_on(workdir: Path) -> None:
    machine = Machine({("train", "cheap"): [75, 75, 75]})
    assert run(workdir, machine, planned(cheap=100)) == []
    assert machine.said == [("train", "cheap")] * 4 + [("eval", "cheap")]

    stuck = Machine({("train", "dear"): [75] * 99})
    assert run(workdir, stuck, planned(dear=300)) == ["dear"]
    assert len(stuck.said) < 12  # half of what is left is nothing after seven


@pytest.mark.parametrize("at", ["train", "eval"])
def test_a_signal_ends_it_and_the_next_time_goes_on(at: str, workdir: Path) -> None:
    def stop(command: str, name: str) -> None:
        if (command, name) == (at, "middling"):
            os.kill(os.getpid(), signal.SIGTERM)

    code = {"train": 75, "eval": -15}[at]
    machine = Machine({(at, "middling"): [code]}, then=stop)
    assert run(workdir, machine) == []
    assert machine.said[-1] == (at, "middling")
    assert len(notes(workdir)) == 1
    again = Machine()
    assert run(workdir, again) == []
    assert again.said == [(command, name) for name in ("middling", "dear") for command in ("train", "eval")]
    assert len(notes(workdir)) == 3


def test_a_signal_that_comes_too_late_for_a_point_ends_it_after_that(workdir: Path) -> None:
    machine = Machine(then=lambda command, name: os.kill(os.getpid(), signal.SIGTERM) if command == "eval" else None)
    assert run(workdir, machine) == []
    assert machine.said == [("train", "cheap"), ("eval", "cheap")]
    assert len(notes(workdir)) == 1


def test_the_time_left_is_of_this_parts_pace_and_without_what_failed(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    run(workdir, Machine(), planned(cheap=100))
    (workdir / "middling").mkdir()
    (workdir / "middling" / "metrics.jsonl").write_text('{"step": 50}\n')
    capsys.readouterr()

    def later(command: str, name: str) -> None:
        nonlocal now
        now += 100.0

    machine = Machine({("train", "dear"): [1]}, then=later)
    run(workdir, machine, planned(cheap=100, middling=200, dear=300, dearest=400))
    lines = [line for line in capsys.readouterr().err.splitlines() if "done" in line or "failed" in line]
    # Half of 20 KFLOP in 200 s, and 70 are left; then 40; in 500 s.
    assert [line.rpartition(" points, ")[2] for line in lines] == [
        "30 KFLOP of 100 KFLOP, ETA 23m20s",
        "30 KFLOP of 100 KFLOP, ETA 20m00s",
        "70 KFLOP of 100 KFLOP, ETA 0s",
    ]


def test_a_line_tells_now_and_then_how_far_a_point_is(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    folder = Folder(workdir, workdir.parent / "ledger.jsonl")
    (point,) = planned(middling=200).points
    progress = points.Progress([point], folder)
    (workdir / "middling").mkdir()
    for seconds, step in ((299.0, 10), (300.0, 20), (500.0, 30), (600.0, 100)):
        now = seconds
        (workdir / "middling" / "metrics.jsonl").write_text(f'{{"step": {step}}}\n{{"ste')
        progress.look(point)
    assert capsys.readouterr().err.splitlines() == [
        "sweep: middling at step 20 of 100; 0 of 1 points, 4 KFLOP of 20 KFLOP, ETA 20m00s",
        "sweep: middling trained, is evaluated; 0 of 1 points, 20 KFLOP of 20 KFLOP, ETA 0s",
    ]


def test_time_is_unknown_before_anything_was_made() -> None:
    assert time_left(0, 10, 5.0) == time_left(-3, 10, 5.0) == "unknown yet"
    assert time_left(5, 10, 60.0) == "2m00s"


SHELL = """#!/bin/sh
echo $3 $4
trap 'echo stopped; exit 75' TERM
[ $3 = quick ] && exit 3
echo ready
for i in $(seq 500); do sleep 0.01; done
"""


def test_a_process_writes_into_the_log_and_is_asked_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a shell in place of Python, which would take long to start."""
    program = tmp_path / "program"
    program.write_text(SHELL)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(points, "_LOOK", 0.01)
    log = tmp_path / "log.txt"
    with StopSignals() as signals:
        process = points._Process(signals)
        assert process(["quick", "--a=b"], log, lambda: None) == 3
        assert log.read_text() == "quick --a=b\n"

        def look() -> None:
            if "ready" in log.read_text() and not signals.stop:
                os.kill(os.getpid(), signal.SIGINT)

        assert process(["slow"], log, look) == 75
    assert log.read_text() == "quick --a=b\nslow\nready\nstopped\n"
