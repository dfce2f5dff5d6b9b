"""Stages in a budget: one that is late or fails ends alone, with all that it started, and nothing grows too large."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.stages import LOG, ROWS, Folder, Row, Running, Stage, line
from trm_jax.runs.signals import StopSignals


@pytest.fixture
def signals() -> Iterator[StopSignals]:
    with StopSignals() as entered:
        yield entered


def shell(name: str, command: str, expected: float = 0.0, limit: float | None = 5.0, **more: object) -> Stage:
    return Stage(name, ("sh", "-c", command), expected, limit, **more)  # type: ignore[arg-type]


def run(
    tmp_path: Path, signals: StopSignals, *stages: Stage, budget: float = 10.0, files: int = 8, size: int = 60_000_000
) -> list[Row]:
    folder = Folder(tmp_path / "out", files, size)
    return Running(folder, tmp_path / "work", budget, tmp_path, os.environ, signals).run(stages)


def states(rows: list[Row]) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in rows}


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        # What has died and was not waited for is there, but does nothing.
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    return False


def test_a_late_stage_is_killed_with_all_that_it_started_and_takes_no_time_of_the_next(tmp_path, signals):
    began = time.monotonic()
    stubborn = "trap '' TERM; sleep 30 & echo $! > {out}/pid; echo so far; while :; do sleep 0.02; done"
    rows = run(tmp_path, signals, shell("late", stubborn, limit=0.2), shell("next", "echo done"))
    assert time.monotonic() - began < 2
    assert states(rows) == {"late": "late", "next": "ok"}
    assert [row["said"] for row in rows] == ["so far", "done"]
    child = int((tmp_path / "out" / "pid").read_text())
    end = time.monotonic() + 2
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.01)
    assert not is_alive(child)


def test_a_stage_is_asked_to_end_before_it_is_killed_and_may_go_on_in_the_next_visit(tmp_path, signals):
    command = "trap 'echo saved; exit 75' TERM; while :; do sleep 0.02; done"
    rows = run(
        tmp_path, signals,
        shell("training", command, limit=None, goes_on=True, farewell=0.2),
        shell("after", "echo no", expected=1.0),
        budget=0.6,
    )  # fmt: skip
    assert states(rows) == {"training": "saved", "after": "skipped"}
    assert rows[0]["said"] == "saved"
    assert "about 1 are needed" in rows[1]["said"]
    rows = run(tmp_path, signals, shell("other", "exit 75"))
    assert states(rows) == {"other": "failed"}  # of a stage that does not go on


def test_a_stage_that_fails_is_told_with_its_last_words_and_the_next_one_runs(tmp_path, signals):
    rows = run(
        tmp_path, signals,
        shell("fails", "echo first; echo 'out of memory' >&2; exit 3"),
        Stage("missing", ("{work}/no-such-program",), 0, 5),
        shell("next", "true"),
    )  # fmt: skip
    assert states(rows) == {"fails": "failed", "missing": "failed", "next": "ok"}
    assert (rows[0]["said"], rows[0]["code"]) == ("out of memory", 3)
    assert "no-such-program: No such file" in rows[1]["said"]
    assert line(rows[0]).split() == ["failed", "fails", f"{rows[0]['seconds']}", "s", "out", "of", "memory"]
    assert "first\nout of memory" in (tmp_path / "out" / LOG).read_text()


def test_rows_are_there_as_soon_as_a_stage_has_ended(tmp_path, signals):
    rows = run(tmp_path, signals, shell("first", "true"), shell("second", f"cp {{out}}/{ROWS} {{out}}/seen"))
    assert states(rows) == {"first": "ok", "second": "ok"}
    assert [json.loads(text)["stage"] for text in (tmp_path / "out" / "seen").read_text().splitlines()] == ["first"]


def test_what_an_earlier_visit_has_done_is_not_done_again(tmp_path, signals):
    count = shell("count", "echo x >> {out}/counted")
    again = shell("again", "echo x >> {out}/tried; exit 1")
    run(tmp_path, signals, count, again)
    with (tmp_path / "out" / ROWS).open("a") as file:
        file.write('{"stage": "torn')  # by a kill
    rows = run(tmp_path, signals, count, again)
    assert states(rows) == {"count": "ok", "again": "failed"}
    assert "earlier visit" in rows[0]["said"]
    assert (tmp_path / "out" / "counted").read_text() == "x\n"
    assert (tmp_path / "out" / "tried").read_text() == "x\nx\n"
    rows = run(tmp_path, signals, shell("count", "echo another >> {out}/counted"))
    assert (tmp_path / "out" / "counted").read_text() == "x\nanother\n"  # another command is another stage


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("for i in 1 2 3 4 5; do echo $i > {out}/$i; done", "files, and 4 may be there"),
        ("mkdir {out}/a; for i in 1 2 3; do echo $i > {out}/a/$i; done", "files, and 4 may be there"),
        ("head -c 3000000 /dev/zero > {out}/large", "3 MB, and 2 may be there"),
        ("while :; do head -c 100000 /dev/zero; done", "MB, and 2 may be there"),
        ("while :; do head -c 100000 /dev/zero >> {out}/grows; done", "MB, and 2 may be there"),
    ],
)
def test_what_leaves_too_much_fails_and_is_cleared_away(tmp_path, signals, command, told):
    before = shell("before", "echo 1 > {out}/grows")
    rows = run(tmp_path, signals, before, shell("large", command), shell("next", "true"), files=4, size=2_000_000)
    assert states(rows) == {"before": "ok", "large": "failed", "next": "ok"}
    assert told in rows[1]["said"]
    left = Folder(tmp_path / "out", 4, 2_000_000)
    assert left.excess() == ""
    assert {path.name for path in left.files()} == {ROWS, LOG, "grows"}
    assert (tmp_path / "out" / "grows").read_text() == "1\n"


def test_of_much_that_is_said_the_end_is_kept(tmp_path, signals):
    run(tmp_path, signals, shell("talks", f'{sys.executable} -c \'print("begin" + 700_000 * "x" + "end")\''))
    log = (tmp_path / "out" / LOG).read_text()
    assert len(log) < 600_000
    assert log.endswith("xend\n")


def test_a_signal_ends_the_stage_and_leaves_out_the_others(tmp_path, signals):
    timer = threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    rows = run(tmp_path, signals, shell("first", "while :; do sleep 0.02; done"), shell("second", "true"))
    assert states(rows) == {"first": "stopped", "second": "skipped"}
    assert rows[1]["said"] == "SIGTERM"


def test_the_budget_is_for_all_together(tmp_path, signals):
    rows = run(
        tmp_path, signals,
        shell("first", "exec sleep 5", limit=0.2),
        shell("dear", "true", expected=3.0),
        shell("cheap", "true", expected=0.0),
        shell("long", "exec sleep 5", expected=0.0, limit=9.0),
        budget=0.6,
    )  # fmt: skip
    assert states(rows) == {"first": "late", "dear": "skipped", "cheap": "ok", "long": "late"}
    assert sum(row["seconds"] for row in rows) < 0.8
