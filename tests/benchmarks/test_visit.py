"""The plan of a visit: what it holds, what is refused, and a dry run of it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from places import ROOT

from benchmarks import visit
from benchmarks.stages import ROWS, Stage
from trm_jax.commands.arguments import load_experiment

FULL = visit.plan("/train.csv", "/monitor.csv", "/original")


def names(stages: list[Stage]) -> list[str]:
    return [stage.name for stage in stages]


def test_what_matters_most_comes_first() -> None:
    assert names(FULL)[:7] == [
        "compile", "parity", "step_and_eager", "step_and_compiled", "memory_n6_T6", "memory_n12_T6", "training",
    ]  # fmt: skip
    assert names(FULL)[7:10] == ["attention", "offload", "arc_table"]
    assert "step" in names(visit.plan())
    assert "training" not in names(visit.plan())
    assert [stage.name for stage in FULL if stage.limit is None] == ["training"]


def test_the_stages_before_training_leave_it_half_of_ten_minutes_if_all_goes_as_expected() -> None:
    before = FULL[: names(FULL).index("training")]
    assert sum(stage.expected for stage in before) <= 330
    assert all(stage.limit is not None and stage.expected < stage.limit for stage in before)


@pytest.mark.parametrize("stage", [*FULL, *visit.plan(dry=True)], ids=lambda stage: stage.name)
def test_every_stage_names_a_program_and_values_that_there_are(stage: Stage) -> None:
    assert stage.words[:2] == ("{python}", "-m")
    program = ROOT / f"{stage.words[2].replace('.', '/')}"
    assert program.with_suffix(".py").is_file() or (program / "__main__.py").is_file()
    if config := [word for word in stage.words if word.startswith("--config")]:
        load_experiment(config)


def test_measurements_go_into_one_file_of_the_results() -> None:
    own = [stage for stage in FULL if stage.words[2] not in ("trm_jax", "benchmarks.carried_run")]
    assert all("--results={out}/results.jsonl" in stage.words for stage in own)


def test_the_page_has_the_plan_as_it_is() -> None:
    assert visit.table(visit.plan("train.csv", "monitor.csv", "original")) in (ROOT / "docs/measured.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--budget", "0"], "--budget: give seconds"),
        (["--budget", "nan"], "--budget: give seconds"),
        (["--train", "no/such.csv"], "--train no/such.csv: there is no such file"),
        (["--only", "compile,compiel"], "no stage 'compiel': there are compile, parity"),
    ],
)
def test_what_cannot_be_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        visit.main(words)
    assert end.value.code == 2
    assert told in capsys.readouterr().err


def test_the_plan_is_shown_and_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert visit.main(["--show", "--only", "parity,compile"]) == 0
    assert re.findall(r"^\| (\w+) \| \d", capsys.readouterr().out, re.MULTILINE) == ["compile", "parity"]


def dry_run(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    return subprocess.run(
        [ROOT / "benchmarks" / "visit.sh", "--dry-run", f"--out={out}", *words],
        env=environment | {"PYTHON": sys.executable}, cwd=out.parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_a_dry_run_of_a_minute(tmp_path: Path) -> None:
    began = time.monotonic()
    done = dry_run(tmp_path / "out", "--budget", "60")
    assert time.monotonic() - began < 70
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(text) for text in (tmp_path / "out" / ROWS).read_text().splitlines()]
    assert [row["stage"] for row in rows] == names(visit.plan(dry=True))
    assert "failed" not in {row["state"] for row in rows}
    assert rows[0]["state"] == "ok", "the first stage does not come to its end in a quarter of the time"
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(files) <= 8
    assert sum(path.stat().st_size for path in files) < 60e6
    assert f"{len(files)} files" in done.stdout


@pytest.mark.slow
def test_a_second_visit_goes_on_with_training_where_the_first_one_ended(tmp_path: Path) -> None:
    """On another machine: what need not be kept is gone."""
    out = tmp_path / "out"
    steps = []
    for _ in range(2):
        done = dry_run(out, "--budget", "60", "--only", "training")
        assert done.returncode == 0, done.stdout + done.stderr
        (row,) = [json.loads(text) for text in (out / ROWS).read_text().splitlines()][-1:]
        assert row["state"] == "saved", row
        steps.append(int(re.findall(r"carried: step ([\d,]+)", (out / "visit.log").read_text())[-1].replace(",", "")))
    assert f"an earlier visit carried: step {steps[0]:,}\n" in (out / "visit.log").read_text()
    assert steps[1] > steps[0] > 0
    told = [json.loads(text)["step"] for text in (out / "metrics.jsonl").read_text().splitlines()]
    assert told == sorted(set(told))
    assert told[0] <= steps[0] < told[-1]
