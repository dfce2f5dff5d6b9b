"""What a run keeps and tells: rows of figures, TensorBoard events, and progress without a terminal."""

import json
import math
import os
from pathlib import Path

import pytest
from hostile import EDITS, damaged
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from trm_jax import console
from trm_jax.console import Bar, duration, say
from trm_jax.runs.writers import FILE, MetricsWriter, read_metrics


def write(workdir: Path, resumed_at: int, steps: range) -> None:
    with MetricsWriter(workdir, resumed_at) as writer:
        for step in steps:
            writer.write(step, {"loss": step / 4})


def steps_of(workdir: Path) -> list[float | None]:
    return [row["step"] for row in read_metrics(workdir)]


def test_rows_are_on_disk_when_write_returns(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        writer.write(3, {"loss": 0.25, "accuracy": 1.0})
        assert (tmp_path / FILE).read_text() == '{"step": 3, "loss": 0.25, "accuracy": 1.0}\n'
        assert read_metrics(tmp_path) == [{"step": 3, "loss": 0.25, "accuracy": 1.0}]


def test_rows_after_the_step_of_resumption_are_taken_back(tmp_path: Path) -> None:
    write(tmp_path, 0, range(1, 8))
    write(tmp_path, 4, range(5, 7))

    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6]
    write(tmp_path, 0, range(1, 2))
    assert steps_of(tmp_path) == [1]
    assert not list(tmp_path.glob("*.tmp"))


def test_rows_of_the_step_of_resumption_stay_all(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        for step, name in ((2, "train/loss"), (2, "eval/accuracy"), (3, "train/loss")):
            writer.write(step, {name: 0.5})

    write(tmp_path, 2, range(0))

    assert read_metrics(tmp_path) == [{"step": 2, "train/loss": 0.5}, {"step": 2, "eval/accuracy": 0.5}]


@pytest.mark.parametrize("cut", ['{"step": 3, "lo', '{"step": 3, "loss": 0.75}', '{"loss": 1}', "3", "\0\0\0"])
def test_a_last_line_that_was_cut_is_survived(tmp_path: Path, cut: str) -> None:
    write(tmp_path, 0, range(1, 3))
    with (tmp_path / FILE).open("a") as file:
        file.write(cut)

    whole = cut.endswith("5}")
    assert steps_of(tmp_path) == ([1, 2, 3] if whole else [1, 2])
    write(tmp_path, 3, range(4, 6))
    assert steps_of(tmp_path) == ([1, 2, 3, 4, 5] if whole else [1, 2, 4, 5])
    assert [json.loads(line)["step"] for line in (tmp_path / FILE).read_text().splitlines()] == steps_of(tmp_path)


def test_figures_that_do_not_exist_are_null(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 0) as writer:
        writer.write(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.0})

    assert (tmp_path / FILE).read_text() == '{"step": 1, "a": null, "b": null, "c": null, "d": 0.0}\n'
    assert read_metrics(tmp_path) == [{"step": 1, "a": None, "b": None, "c": None, "d": 0.0}]


def test_tensorboard_events_can_be_read_back(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path, 4) as writer:
        writer.write(5, {"train/loss": 0.25, "train/accuracy": math.nan})
        writer.write(6, {"train/loss": 0.125})

    (path,) = tmp_path.glob("events.out.tfevents.*")
    events = [event for event in EventFileLoader(str(path)).Load() if not event.file_version]
    # TensorBoard forgets what an earlier part of the run had told from this step on.
    assert (events[0].step, events[0].session_log.status) == (5, events[0].session_log.START)
    read = [(event.step, v.tag, v.tensor.float_val[0]) for event in events[1:] for v in event.summary.value]
    assert [(step, tag) for step, tag, _ in read] == [(5, "train/loss"), (5, "train/accuracy"), (6, "train/loss")]
    assert (read[0][2], read[2][2]) == (0.25, 0.125)
    assert math.isnan(read[1][2])
    assert all(event.wall_time > 1e9 for event in events)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (42.4, "42s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3_599.7, "1h00m"),
        (7_800, "2h10m"),
        (86_399.9, "1d00h"),
        (3 * 86_400 + 4 * 3_600 + 59, "3d04h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_say_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    say("hello")

    assert capsys.readouterr() == ("", "hello\n")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set by the test."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


def test_bar_without_a_terminal_writes_lines(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Bar("training", 4) as bar:
        assert not bar.live
        for done in range(1, 5):
            clock[0] += 30
            bar.update(done, f"loss {done}" if done % 2 else None)

    assert capsys.readouterr() == (
        "",
        "training 1/4  loss 1  ETA 1m30s\n"
        "training 2/4  ETA 1m00s\n"
        "training 3/4  loss 3  ETA 30s\n"
        "training 4/4  ETA 0s\n",
    )


def test_bar_writes_a_line_for_so_many_units_and_one_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Bar("training", 12, every=5) as bar:
        for done in range(1, 13):
            clock[0] += 1
            bar.update(done)

    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["1/12", "6/12", "11/12", "12/12"]


def test_bar_of_a_run_that_goes_on_counts_the_pace_from_there(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with Bar("training", 1_000, start=900, every=10) as bar:
        clock[0] += 20
        bar.update(910)

    assert capsys.readouterr().err == "training 910/1000  ETA 3m00s\n"


def test_bar_on_a_terminal_is_live(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")

    with Bar("training", 4) as bar:
        assert bar.live
        bar.update(1, "loss 0.5")
        bar.update(4)

    shown = capsys.readouterr().err
    assert "training" in shown
    assert "4/4" in shown
    assert "loss 0.5" in shown  # a note stays until there is another


ROWS = b'{"step": 1, "train/loss": 0.5}\n{"step": 2, "train/loss": null, "a": 1e5}\n{"step": 30, "eval/loss": 1}\n'


@settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(EDITS, st.none() | st.integers(0, 1 << 8))
@example([(0, b"[" * 100_000 + b"\n", 0)], None)
@example([(ROWS.index(b"0.5"), b"1e999", 3)], None)
@example([(ROWS.index(b"0.5"), b"9" * 400, 3)], None)
@example([(ROWS.index(b"0.5"), b"true", 3)], None)
@example([(ROWS.index(b"2,"), b"2.5", 1)], None)
def test_whatever_the_file_holds_rows_are_read_and_what_is_none_is_left_out(
    tmp_path: Path, edits: list[tuple[int, bytes, int]], cut: int | None
) -> None:
    (tmp_path / FILE).write_bytes(damaged(ROWS, edits, cut))
    rows = read_metrics(tmp_path)
    for row in rows:
        assert type(row["step"]) is int
        for value in row.values():
            assert value is None or (not isinstance(value, bool) and math.isfinite(value))
    # Lines that no edit has come near are there.
    whole = [json.loads(line) for line in ROWS.splitlines() if line in damaged(ROWS, edits, cut).splitlines()]
    assert [row for row in rows if row in whole] == whole
    assert len(rows) <= damaged(ROWS, edits, cut).count(b"\n") + damaged(ROWS, edits, cut).count(b"\r") + 1
