"""`trm sweep` as a person meets it: a plan is shown or refused, and a real one is run to its table, or stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_rows import row
from small_run import environment

from trm_jax.commands.cli import main
from trm_jax.runs import ledger, sweep
from trm_jax.runs.points import Running

TWO = ["--over", "train.seed=0,1"]


def trm(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """What a sweep of the smallest demo says: its table, and what it tells meanwhile."""
    capsys.readouterr()
    own = [f"--workdir={folder / 'study'}", f"--ledger={folder / 'ledger.jsonl'}"]
    assert main(["sweep", "--config=demo:smoke", *own, *words]) == code
    out, err = capsys.readouterr()
    return out, err


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_flops_per_step", lambda costly: 1_000_000)


@pytest.mark.usefixtures("uncounted")
def test_a_plan_is_shown_and_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = trm(capsys, tmp_path, *TWO, "--turn=optim.clip=1", "--pflop=1e-6", "--show")
    assert [line.split() for line in out.splitlines()[:5]] == [
        ["seed", "turn", "steps", "PFLOP", "hours", "difference", "row"],
        ["0", "baseline", "1,000", "1e-06", "-", "-", "waits"],
        ["1", "baseline", "1,000", "1e-06", "-", "-", "waits"],
        ["0", "clip=1.0", "1,000", "1e-06", "-", "-", "waits"],
        ["1", "clip=1.0", "1,000", "1e-06", "-", "-", "waits"],
    ]
    assert "(a to b): 95 % interval" in out
    assert "difference: from the baseline" in out
    assert err == ""
    assert list(tmp_path.iterdir()) == []
    out, _ = trm(capsys, tmp_path, *TWO, "--show", "--markdown")
    assert out.startswith("| seed | steps | PFLOP | hours | row |\n| --- |")
    assert "difference" not in out


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "nothing to go through: give --over KEY=VALUE"),
        ([*TWO, "--config.train.seed=0"], "--over train.seed=0,1: --config.train.seed is given too: leave it out"),
        ([*TWO, "--config=demo"], "which experiment? give one --config="),
        ([*TWO, "--pflop=0"], "argument --pflop: '0' is no number of 1e15 operations"),
        ([*TWO, "--pflop=nan"], "argument --pflop: 'nan' is no number of 1e15 operations"),
        ([*TWO, "--eval-steps=1,0"], "argument --eval-steps: '0' is no whole number of at least 1"),
        ([*TWO, "--calls=3"], "--calls: no point of this sweep searches"),
        ([*TWO, "--overs=3"], "unknown option --overs: did you mean '--over'?"),
    ],
)
def test_what_is_no_sweep_is_told_in_one_line(
    words: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = trm(capsys, tmp_path, *words, code=2)
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"trm: error: {fault}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("uncounted")
def test_the_exit_code_tells_of_points_that_failed_and_of_a_signal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(running: Running) -> list[str]:
        place = running.folder.place(running.plan.points[0])
        place.mkdir(exist_ok=True)
        running.folder.record(running.plan.points[0], row(), None)
        return ["seed-1"]

    def stopped(running: Running) -> list[str]:
        signal.raise_signal(signal.SIGINT)
        return []

    monkeypatch.setattr(Running, "run", fail)
    out, err = trm(capsys, tmp_path, *TWO, code=1)
    assert out.splitlines()[1].endswith(row()["id"])
    assert err == "1 of 2 points failed: seed-1: the same command tries them again\n"
    monkeypatch.setattr(Running, "run", stopped)
    _, err = trm(capsys, tmp_path, *TWO, code=75)
    assert err.endswith("stopped by SIGINT: the same command goes on from here\n")

    _, err = trm(capsys, tmp_path, *TWO, "--turn=optim.clip=1", "--limit=3", "--show", code=2)
    assert "study belongs to another sweep; these differ: eval limit: None -> 3: use those" in err
    (tmp_path / "ledger.jsonl").write_text("{")
    _, err = trm(capsys, tmp_path, *TWO, code=2)
    assert "ledger.jsonl: line 1: it was cut short" in err


@pytest.mark.slow
def test_a_sweep_comes_to_a_table_and_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    small = ["--config.devices.data=1", "--config.train.eval_every=10"]
    words = [*TWO, *small, "--eval-steps=1,4", "--limit=20", "--note=tiny"]
    out, err = trm(capsys, tmp_path, *words)
    rows = ledger.read(tmp_path / "ledger.jsonl")
    assert [found["seed"] for found in rows] == [0, 1]
    for found in rows:
        assert found["note"] == f"sweep study: seed-{found['seed']}; tiny"
        assert found["overrides"]["train.eval_every"] == 10
        assert f"--workdir=runs/seed-{found['seed']}" in found["trained"]["command"]
        assert found["evaluated"]["command"].startswith(
            f"trm eval runs/seed-{found['seed']}/checkpoints/best --limit=20"
        )
        assert (found["evaluated"]["puzzles"], found["single"].keys()) == (20, {"1", "4"})
        assert str(tmp_path) not in json.dumps(found)
    table = out.splitlines()
    assert [line.split()[0] for line in table[:4]] == ["seed", "0", "1", "2"]
    assert table[1].endswith(rows[0]["id"])
    assert "sweep: seed-1 done; 2 of 2 points, " in err

    logs = [path.read_bytes() for path in (tmp_path / "study").glob("*/log.txt")]
    assert trm(capsys, tmp_path, *words) == (out, "")
    assert [path.read_bytes() for path in (tmp_path / "study").glob("*/log.txt")] == logs  # nothing was started


@pytest.mark.slow
def test_a_sweep_that_is_asked_to_stop_has_its_training_saved(tmp_path: Path) -> None:
    study = tmp_path / "study"
    words = [
        "sweep",
        "--config=demo:smoke",
        f"--workdir={study}",
        f"--ledger={tmp_path / 'rows'}",
        "--over=train.seed=5",
    ]
    long = ["--config.devices.data=1", "--config.train.steps=1000000", "--config.train.eval_every=0"]
    python = [sys.executable, "-m", "trm_jax"]
    with subprocess.Popen([*python, *words, *long], env=environment(), stderr=subprocess.PIPE, text=True) as process:
        metrics, until = study / "seed-5" / "metrics.jsonl", time.monotonic() + 120
        while not (metrics.exists() and metrics.read_bytes()) and time.monotonic() < until:
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 75
    assert "stopped by SIGTERM: the same command goes on from here" in err
    assert "by SIGTERM; saved: the same command goes on from here" in (study / "seed-5" / "log.txt").read_text()
    assert (study / "seed-5" / "checkpoints").is_dir()
