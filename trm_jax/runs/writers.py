"""Figures of a run, kept twice: metrics.jsonl for programs, TensorBoard events for eyes."""

import errno
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from trm_jax.errors import StorageError

FILE = "metrics.jsonl"


class MetricsWriter(AbstractContextManager["MetricsWriter"]):
    """Appends rows of figures. Rows of steps after `resumed_at` are taken back: those steps will be made again."""

    def __init__(self, workdir: Path, resumed_at: int, writes: bool = True) -> None:
        """Args:
          workdir: where the files are, or shall be.
          resumed_at: the step from which the run goes on.
          writes: False in all but one of several processes that share a workdir.

        Raises:
          StorageError: they cannot be written.
        """
        self._writes = writes
        if not writes:
            return
        self._path = workdir / FILE
        with self._storage():
            if self._path.exists():
                _drop_after(self._path, resumed_at)
            self._file = self._path.open("a", encoding="utf-8")
            self._events = _new_event_file(workdir)
            self._add(Event(file_version="brain.Event:2"))
            self._add(Event(step=resumed_at + 1, session_log=SessionLog(status=SessionLog.START)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writes:
            with self._storage() if error is None else suppress(OSError):
                self._file.close()
                self._events.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row, in the file when this returns. A figure that does not exist (nan) is null.

        Raises:
          StorageError: the disk is full, read-only, or the file has gone from its place.
        """
        if not self._writes:
            return
        row = {"step": step} | {k: v if math.isfinite(v) else None for k, v in values.items()}
        with self._storage():
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            # What is written to a file that was removed, or whose disk was, is lost without an error.
            if not os.path.samestat(os.stat(self._path), os.fstat(self._file.fileno())):
                raise FileNotFoundError(errno.ENOENT, "another file is in its place")
            summary = Summary(value=[Summary.Value(tag=k, simple_value=v) for k, v in values.items()])
            self._add(Event(step=step, summary=summary))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._events.write(event.SerializeToString())
        self._events.flush()

    def note(self, name: str, text: str) -> None:
        """A text file beside the figures, whole or not at all. Raises StorageError as `write` does."""
        if self._writes:
            with self._storage():
                write_whole(self._path.with_name(name), text.encode())

    @contextmanager
    def _storage(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"{self._path}: figures cannot be written any more ({error.strerror or error})"
            ) from error


def _new_event_file(workdir: Path) -> RecordWriter:
    """A file under a name by which TensorBoard finds it. Its own writer has a thread, which would tell faults late."""
    place = f"{socket.gethostname()}.{os.getpid()}"
    names = (f"events.out.tfevents.{time.time():.0f}.{place}.{number}" for number in range(1_000_000))
    return RecordWriter((next(path for path in map(workdir.joinpath, names) if not path.exists())).open("xb"))


def read_metrics(workdir: Path) -> list[dict[str, float | None]]:
    """All rows of a run's metrics.jsonl; what is no row of figures, as a last line that was cut short, is left out."""
    return [row for line in (workdir / FILE).read_bytes().splitlines() if (row := _parse(line)) is not None]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is there whole or as it was before, however the process ends. Raises OSError."""
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _drop_after(path: Path, step: int) -> None:
    lines = path.read_bytes().splitlines()
    kept = [line + b"\n" for line in lines if (row := _parse(line)) is not None and (row["step"] or 0) <= step]
    write_whole(path, b"".join(kept))


def _parse(line: bytes) -> dict[str, float | None] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return None
    # Comparing takes whole numbers of any length, and leaves out what is not finite.
    figures = [value for value in row.values() if value is not None]
    good = all(type(value) in (int, float) and -1e308 < value < 1e308 for value in figures)
    return row if good else None
