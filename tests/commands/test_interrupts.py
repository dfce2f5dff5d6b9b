"""Ctrl-C ends every command with 130, also while XLA is at work, and a reader that goes away is no fault."""

import io
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from places import ROOT
from small_run import environment
from untrained import leave_demo

from trm_jax.commands import cli
from trm_jax.commands.cli import main
from trm_jax.console import Output
from trm_jax.runs import signals

PUZZLE = ".21. ...4 .... .1.."
COMMANDS = {
    "estimate": ["estimate", "--config=demo"],
    "parity": ["parity", str(ROOT / "tests" / "testdata")],
    "eval": ["eval", "runs/demo", "--attempts=64", "--latent-noise=0.5", "--steps=64"],
    "solve": ["solve", "runs/demo", PUZZLE, "--attempts=512", "--latent-noise=0.5", "--steps=64"],
    "convert": ["convert", "runs/demo", "new.safetensors"],
    "data": ["data", "sudoku", "new", "--generate=100000", "--workers=2"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interrupts")
    leave_demo(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(10))
@pytest.mark.parametrize("name", COMMANDS)
def test_an_interrupt_ends_a_command_at_any_moment(name: str, moment: int, place: Path) -> None:
    """Planted: where it always raises KeyboardInterrupt and Python ends as usual, `estimate` dies of SIGSEGV."""
    seconds = 0.2 + moment * random.Random(f"{name} {moment}").uniform(0.2, 1.0)
    process = subprocess.Popen(
        [sys.executable, "-m", "trm_jax", *COMMANDS[name]], cwd=place, env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGINT)  # all that the terminal's Ctrl-C reaches
    before = time.monotonic()
    _, err = process.communicate(timeout=60)

    if process.returncode != 0:  # it had not ended before
        assert process.returncode in (130, -signal.SIGINT), err  # the second: before Python reads our first line
        assert time.monotonic() - before < 10
        assert "Traceback" not in err or process.returncode < 0
    assert not (place / "new").exists()
    (place / "new.safetensors").unlink(missing_ok=True)


class Ended(BaseException):
    """In place of the end of the process."""


class Heeding:
    """Interrupts heeded as by the command itself, but for the thread that watches, which is `watch` to be called.

    codes: with which the process would have ended.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.codes: list[int] = []
        self.watch: Callable[[], None] = lambda: None
        monkeypatch.setattr(signals.os, "_exit", self._ended)
        monkeypatch.setattr(signals.threading, "Thread", self._kept)
        monkeypatch.setattr(signals, "_interrupted", False)
        monkeypatch.setattr(signals, "_PATIENCE", 0.0)
        signals.heed_interrupts()

    def _ended(self, code: int) -> None:
        self.codes.append(code)
        raise Ended

    def _kept(self, target: Callable[[], None], **_: object) -> SimpleNamespace:
        self.watch = target
        return SimpleNamespace(start=lambda: None)


@pytest.fixture
def heeding(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heeding]:
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield Heeding(monkeypatch)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, handler)
    sys.unraisablehook = hook


def test_with_jax_the_process_ends_where_it_is(heeding: Heeding, capfd: pytest.CaptureFixture[str]) -> None:
    print("what it had to say")
    with pytest.raises(Ended):
        signal.raise_signal(signal.SIGINT)
    assert heeding.codes == [130]
    assert capfd.readouterr() == ("what it had to say\n", "trm: interrupted\n")


def test_without_jax_what_is_under_way_is_told(heeding: Heeding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jax")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signals.was_interrupted()
    assert heeding.codes == []


def test_an_interrupt_that_was_dropped_comes_again(heeding: Heeding, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jax")

    def dropped() -> None:
        sys.unraisablehook(SimpleNamespace(exc_type=KeyboardInterrupt))
        time.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        dropped()


def test_who_is_kept_by_a_library_is_ended_by_another_thread(heeding: Heeding) -> None:
    """As while XLA compiles: the main thread hears nothing, and the watching one is told by the operating system."""
    with pytest.raises(Ended):
        signal.raise_signal(signal.SIGINT)  # here the main thread hears as well
    heeding.codes.clear()
    with pytest.raises(Ended):
        heeding.watch()
    assert heeding.codes == [130]


def test_an_error_after_an_interrupt_is_one(
    heeding: Heeding, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def made_of_it(*_: object) -> int:
        raise ImportError("half of numpy is missing")

    monkeypatch.setitem(cli.COMMANDS, "parity", made_of_it)
    with pytest.raises(ImportError):
        main(["parity", "x"])
    monkeypatch.setattr(signals, "_interrupted", True)
    assert main(["parity", "x"]) == 130
    assert capsys.readouterr().err == "trm: interrupted\n"


class Gone(io.StringIO):
    """A pipe whose reader has gone."""

    def __init__(self, folder: Path, at: str) -> None:
        super().__init__()
        self._file, self._at = (folder / "pipe").open("w"), at

    def fileno(self) -> int:
        return self._file.fileno()

    def write(self, text: str) -> int:
        if self._at == "write":
            raise BrokenPipeError
        return len(text)

    def flush(self) -> None:
        if self._at == "flush":
            raise BrokenPipeError


@pytest.mark.parametrize("by", ["print", "rich"])
@pytest.mark.parametrize("at", ["write", "flush"])
def test_a_reader_that_goes_away_is_no_fault(by: str, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`trm solve ... | head -1`: rich would end the process with 1, which says that the answer breaks the rules."""

    def say(*_: object) -> int:
        print("a board") if by == "print" else Output(highlight=False).print("a board")
        return 1

    monkeypatch.setitem(cli.COMMANDS, "parity", say)
    monkeypatch.setattr(sys, "stdout", Gone(tmp_path, at))
    assert main(["parity", "x"]) == 0
