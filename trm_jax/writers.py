"""Figures of a run, kept twice: metrics.jsonl for programs, TensorBoard events for eyes."""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

FILE = "metrics.jsonl"


class MetricsWriter:
    """Appends rows of figures. Rows of steps after `resumed_at` are taken back: those steps will be made again."""

    def __init__(self, workdir: Path, resumed_at: int, writes: bool = True) -> None:
        """writes: False in all but one of several processes that share a workdir."""
        self._writes = writes
        if not writes:
            return
        path = workdir / FILE
        if path.exists():
            _drop_after(path, resumed_at)
        self._file = path.open("a", encoding="utf-8")
        self._events = EventFileWriter(str(workdir))
        self._events.add_event(
            Event(step=resumed_at + 1, session_log=SessionLog(status=SessionLog.START), wall_time=time.time())
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writes:
            self._file.close()
            self._events.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row, on disk when this returns. A figure that does not exist (nan) is null."""
        if not self._writes:
            return
        row = {"step": step} | {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()
        summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
        self._events.add_event(Event(step=step, summary=summary, wall_time=time.time()))

    def flush(self) -> None:
        """Sends what TensorBoard's writer still holds to disk."""
        if self._writes:
            self._events.flush()


def read_metrics(workdir: Path) -> list[dict[str, float | None]]:
    """All rows of a run's metrics.jsonl; a last line that was cut short is left out."""
    return [row for line in (workdir / FILE).read_text().splitlines() if (row := _parse(line)) is not None]


def _drop_after(path: Path, step: int) -> None:
    kept = [
        line
        for line in path.read_text().splitlines()
        if (row := _parse(line)) is not None and (row["step"] or 0) <= step
    ]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept))
    temporary.replace(path)


def _parse(line: str) -> dict[str, float | None] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None
