"""One run in a working directory: who is refused and what it is told, and that nothing left behind is in the way."""

import errno
import fcntl
import json
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import ROOT

from trm_jax.errors import ConfigError, LockedError, TrmError
from trm_jax.runs import lock
from trm_jax.runs.lock import Lock

HERE, SPACE = socket.gethostname(), os.readlink("/proc/self/ns/pid") if Path("/proc/self/ns").exists() else ""

# In front of whatever a process of a test does.
PREAMBLE = f"""
import errno, fcntl, os, subprocess, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from trm_jax.runs import lock
from trm_jax.errors import LockedError
from trm_jax.runs.lock import Lock
assert not {{"jax", "numpy"}} & set(sys.modules)
def no_flock(*arguments):
    raise OSError(errno.ENOSYS, "Function not implemented")
"""

HOLDER = """
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

# For each line that it reads, a folder: it gives up the one before and tries to take this one.
RACER = """
lock._PATIENCE = 60.0  # however slow the machine, what is told is the truth and no guess
if sys.argv[1] == "contents":
    fcntl.flock = no_flock
held = None
print("ready", flush=True)
for line in sys.stdin:
    if held:
        held.__exit__(None, None, None)
        held = None
    try:
        if line.strip():
            held = Lock(Path(line.strip())).__enter__()
        print("taken" if held else "left", flush=True)
    except LockedError as error:
        print(error, flush=True)
"""

# It takes and leaves the lock again and again, and counts how often it had it, and how often not alone.
CHURN = """
folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
if sys.argv[3] == "contents":
    fcntl.flock = no_flock
taken = wrong = 0
until = time.monotonic() + seconds
while time.monotonic() < until:
    try:
        with Lock(folder):
            taken += 1
            try:
                os.close(os.open(folder / "inside", os.O_CREAT | os.O_EXCL))
                time.sleep(0)
                os.unlink(folder / "inside")
            except FileExistsError:
                wrong += 1
    except LockedError:
        pass
print(taken, wrong)
"""


def process(script: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-S", "-E", "-c", PREAMBLE + script, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(child: "subprocess.Popen[str]") -> str:
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def tell(child: "subprocess.Popen[str]", line: object) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


@contextmanager
def running(script: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    with process(script, *arguments) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def holding(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    with running(HOLDER, folder) as child:
        assert told(child) == "held"
        yield child


@contextmanager
def strange(folder: Path) -> Iterator[int]:
    """The lock of one who is not this process, as far as the kernel knows; yields its descriptor."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_free(folder: Path) -> bool:
    """Whether another process could take the lock."""
    if not (folder / "lock").exists():
        return True
    try:
        with strange(folder):
            return True
    except BlockingIOError:
        return False


def refusal(folder: Path, kind: type[TrmError] = LockedError) -> str:
    """What is said, in one line, when the lock is not to be had."""
    with pytest.raises(kind) as caught, Lock(folder):
        pass
    text = str(caught.value)
    assert text.isprintable()
    assert caught.value.exit_code == 2
    return text


def name(**changes: Any) -> str:
    """What this process would write, changed."""
    mine = {"pid": os.getpid(), "host": HERE, "since": "2026-11-22 12:01", "space": SPACE}
    return json.dumps(mine | {"start": lock._started(os.getpid())} | changes)


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without it."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may change in a moment is taken for what it is."""
    monkeypatch.setattr(lock, "_PATIENCE", -1.0)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for whatever is to happen, on a slow machine too."""
    monkeypatch.setattr(lock, "_PATIENCE", 60.0)


@pytest.fixture
def other() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that lives and has nothing to do with us."""
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def by_contents(folder: Path, **changes: Any) -> str:
    """The contents of the lock file of a holder that is not this process."""
    path = folder / "lock"
    path.write_text(name(**changes))
    return path.read_text()


# One after another, and one within another


def test_the_folder_is_made_and_the_file_tells_who_holds_it_and_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with Lock(folder):
        lines = (folder / "lock").read_text().splitlines()
        found = json.loads(lines[0])
        assert len(lines) == 1
        assert (found["pid"], found["host"]) == (os.getpid(), HERE)
        assert time.strptime(found["since"], "%Y-%m-%d %H:%M") <= time.localtime()
        assert not is_free(folder)
    assert list(folder.iterdir()) == []
    with Lock(folder):
        assert not is_free(folder)
    assert is_free(folder)


def test_it_is_given_up_when_what_was_done_under_it_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Lock(tmp_path):
        raise ZeroDivisionError
    assert is_free(tmp_path)


def test_the_last_one_out_gives_it_up(tmp_path: Path) -> None:
    one, two = Lock(tmp_path), Lock(tmp_path)
    with one:
        with two, one:
            assert not is_free(tmp_path)
        with two:
            pass
        assert not is_free(tmp_path)
        assert (tmp_path / "lock").exists()
    assert is_free(tmp_path)
    assert lock._all_held == {}


def test_leaving_in_another_order_than_entering(tmp_path: Path) -> None:
    first, second = ExitStack(), ExitStack()
    first.enter_context(Lock(tmp_path))
    second.enter_context(Lock(tmp_path))
    first.close()
    assert not is_free(tmp_path)
    second.close()
    assert is_free(tmp_path)


def test_threads_of_one_process_share_it(tmp_path: Path) -> None:
    free: list[bool] = []
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        for _ in range(25):
            with Lock(tmp_path):
                free.append(is_free(tmp_path))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert free == [False] * 200
    assert is_free(tmp_path)
    assert lock._all_held == {}


def test_folders_are_independent(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with Lock(a), Lock(b):
        assert not is_free(a)
        assert not is_free(b)
        (a / "b").mkdir()
        with Lock(a / "b"):
            pass
    assert is_free(a)
    assert is_free(b)


def test_one_folder_by_several_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "real" / "a"
    folder.mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "a").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    paths = [folder, Path("real/a"), Path("linked/a"), Path("real/../linked/a/."), tmp_path / "a"]
    # In this process they are one lock, which is not refused to itself.
    with ExitStack() as stack:
        for path in paths:
            stack.enter_context(Lock(path))
        assert len(lock._all_held) == 1
    assert is_free(folder)
    with strange(folder) as descriptor:
        os.write(descriptor, name(pid=4711, host="host-7").encode())
        for path in paths:
            assert refusal(path).startswith(f"{path} is in use by process 4711 on host-7")


def test_changing_the_directory_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Lock(Path("a")):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (tmp_path / "a" / "lock").exists()


# Several processes


def test_a_second_process_is_refused_at_once_and_told_who_holds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holding(tmp_path) as holder:
        written = (tmp_path / "lock").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", raising(errno.EINTR))  # there is nothing to wait for
            text = refusal(tmp_path)
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
        assert re.fullmatch(
            rf"{re.escape(str(tmp_path))} is in use by process {holder.pid} on {re.escape(HERE)} since {since}: "
            "wait for it, or give another --workdir",
            text,
        )
        # Being refused changes nothing.
        assert (tmp_path / "lock").read_bytes() == written
        assert holder.pid == json.loads(written)["pid"]
        refusal(tmp_path)
        holder.communicate()
        assert holder.returncode == 0
    with Lock(tmp_path):
        assert not is_free(tmp_path)


def test_a_killed_holder_leaves_a_file_that_is_in_nobodys_way(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert json.loads((tmp_path / "lock").read_text())["pid"] == holder.pid
    with Lock(tmp_path):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


def test_a_killed_holder_is_not_survived_by_what_it_started(tmp_path: Path) -> None:
    script = """
with Lock(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    forked = os.fork()
    if not forked:
        time.sleep(60)
    print(child.pid, forked, flush=True)
    sys.stdin.read()
"""
    with running(script, tmp_path) as holder:
        started = [int(pid) for pid in told(holder).split()]
        try:
            assert f"process {holder.pid} on" in refusal(tmp_path)
            holder.kill()
            holder.wait()
            with Lock(tmp_path):
                assert not is_free(tmp_path)
        finally:
            for pid in started:
                os.kill(pid, signal.SIGKILL)


def test_a_forked_child_does_not_hold_the_lock_of_its_parent(tmp_path: Path) -> None:
    script = """
folder = Path(sys.argv[1])
with Lock(folder) as held, Lock(folder):
    inode = os.stat(folder / "lock").st_ino
    if not os.fork():
        try:
            with held:
                print("taken", flush=True)
        except LockedError as error:
            print(error, flush=True)
        # It leaves by the end of the block, as its parent does.
    else:
        assert not os.waitstatus_to_exitcode(os.wait()[1])
        assert os.stat(folder / "lock").st_ino == inode
        print("held", flush=True)
        sys.stdin.read()
"""
    with running(script, tmp_path) as holder:
        assert f"in use by process {holder.pid} on" in told(holder)
        assert told(holder) == "held"
        assert f"process {holder.pid} on" in refusal(tmp_path)
        holder.communicate()
        assert holder.returncode == 0
    assert not (tmp_path / "lock").exists()


def test_workers_of_multiprocessing_are_like_any_other_process(tmp_path: Path) -> None:
    script = """
import multiprocessing
def work(folder):
    try:
        with Lock(folder):
            print("taken", flush=True)
    except LockedError as error:
        print(error, flush=True)
if __name__ == "__main__":
    with Lock(Path(sys.argv[1])):
        worker = multiprocessing.get_context("fork").Process(target=work, args=(Path(sys.argv[1]),))
        worker.start()
        worker.join()
        print("held", worker.exitcode, flush=True)
        sys.stdin.read()
"""
    assert "fork" in multiprocessing.get_all_start_methods()
    with running(script, tmp_path) as holder:
        assert f"in use by process {holder.pid} on" in told(holder)
        assert told(holder) == "held 0"
        assert not is_free(tmp_path)


def race(folder: Path, processes: int, rounds: int, mode: str, prepare: Callable[[Path], object]) -> None:
    """In every round all processes try to take one lock, and exactly one has it."""
    with ExitStack() as stack:
        racers = [stack.enter_context(running(RACER, mode)) for _ in range(processes)]
        assert [told(racer) for racer in racers] == ["ready"] * processes
        for i in range(rounds):
            (folder / str(i)).mkdir()
            prepare(folder / str(i))
            for racer in racers:
                tell(racer, folder / str(i))
            answers = [told(racer) for racer in racers]
            assert answers.count("taken") == 1, answers
            winner = racers[answers.index("taken")]
            assert all(f"process {winner.pid} on {HERE}" in answer for answer in answers if answer != "taken")
            for racer in racers:
                tell(racer, "")
            assert [told(racer) for racer in racers] == ["left"] * processes
            assert list((folder / str(i)).iterdir()) == []


def stale(folder: Path) -> None:
    by_contents(folder, start=1)


@pytest.mark.parametrize("mode", ["flock", "contents"])
@pytest.mark.parametrize("prepare", [Path.exists, stale])
def test_of_processes_that_begin_at_once_exactly_one_has_it(
    tmp_path: Path, mode: str, prepare: Callable[[Path], object]
) -> None:
    race(tmp_path, 4, 10, mode, prepare)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["flock", "contents"])
@pytest.mark.parametrize("prepare", [Path.exists, stale])
def test_of_twenty_processes_exactly_one_has_it(tmp_path: Path, mode: str, prepare: Callable[[Path], object]) -> None:
    race(tmp_path, 20, 50, mode, prepare)


def churn(folder: Path, processes: int, seconds: float, mode: str) -> None:
    with ExitStack() as stack:
        children = [stack.enter_context(process(CHURN, folder, seconds, mode)) for _ in range(processes)]
        counts = [tuple(map(int, told(child).split())) for child in children]
    assert sum(wrong for _, wrong in counts) == 0
    assert sum(taken for taken, _ in counts) > 0
    assert not (folder / "lock").exists()


@pytest.mark.parametrize("mode", ["flock", "contents"])
def test_while_it_changes_hands_two_never_have_it(tmp_path: Path, mode: str) -> None:
    churn(tmp_path, 3, 0.3, mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["flock", "contents"])
def test_while_it_changes_hands_among_many_two_never_have_it(tmp_path: Path, mode: str) -> None:
    churn(tmp_path, 12, 8.0, mode)


@pytest.mark.parametrize("another", [False, True])
def test_a_holder_that_leaves_between_opening_and_locking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    """What is opened then is no longer the file that others see, and which another may hold by now."""
    flock, stack = fcntl.flock, ExitStack()

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        (tmp_path / "lock").unlink()
        if another:
            os.write(stack.enter_context(strange(tmp_path)), name(pid=4711, host="host-7").encode())
        flock(descriptor, operation)

    (tmp_path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", late)
    with stack:
        if another:
            assert "process 4711 on host-7" in refusal(tmp_path)
        else:
            with Lock(tmp_path):
                assert not is_free(tmp_path)


@pytest.mark.parametrize("step", ["lstat", "open"])
def test_a_holder_that_leaves_while_the_file_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "lock"
    path.touch()
    owner: Any = Path if step == "lstat" else os
    original = getattr(owner, step)

    def late(place: Any, flags: int = 0, mode: int = 0o777) -> Any:
        if not flags & os.O_CREAT:
            monkeypatch.setattr(owner, step, original)
            path.unlink()
        return original(place) if step == "lstat" else original(place, flags, mode)

    monkeypatch.setattr(owner, step, late)
    with Lock(tmp_path):
        assert not is_free(tmp_path)


# What is found in the file


@pytest.mark.usefixtures("patience")
def test_a_holder_that_has_not_written_its_name_yet_is_waited_for(tmp_path: Path) -> None:
    with strange(tmp_path) as descriptor:
        os.write(descriptor, name(start=1).encode())  # of a holder before it
        late = name(pid=os.getppid(), start=lock._started(os.getppid())).encode()
        timer = threading.Timer(0.1, os.pwrite, (descriptor, late.ljust(200), 0))
        timer.start()
        assert f"process {os.getppid()} on {HERE}" in refusal(tmp_path)
        timer.join()


def test_a_holder_without_a_name(tmp_path: Path) -> None:
    assert lock._PATIENCE <= 1.0  # a second run is to end within two seconds, Python's start included
    with strange(tmp_path):
        assert refusal(tmp_path) == (f"{tmp_path} is in use by another process: wait for it, or give another --workdir")


@pytest.mark.usefixtures("patience")
def test_a_holder_that_leaves_meanwhile_makes_room(tmp_path: Path) -> None:
    with ExitStack() as stack:
        stack.enter_context(strange(tmp_path))
        timer = threading.Timer(0.1, stack.close)
        timer.start()
        with Lock(tmp_path):
            assert not is_free(tmp_path)
        timer.join()


def test_a_full_disk_does_not_keep_from_a_lock_that_the_kernel_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(descriptor: int, text: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with Lock(tmp_path):
        assert not is_free(tmp_path)
    assert not (tmp_path / "lock").exists()


# A name with one thing wrong, and anything at all.
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "pid": st.one_of(st.integers(max_value=0), st.integers(min_value=2**31), st.booleans(), st.none(), st.floats()),
    "host": st.one_of(st.none(), st.integers(), st.just("a\nb"), st.just("\x1b[2J"), st.just("h" * 3_000)),
    "since": st.one_of(st.none(), st.lists(st.integers()), st.just("today\r"), st.just("\ud800")),
    "space": st.one_of(st.none(), st.just("\0"), st.dictionaries(st.text(max_size=3), st.none(), max_size=2)),
    "start": st.one_of(st.integers(max_value=0), st.integers(min_value=2**63), st.text(), st.booleans(), st.floats()),
    "more": st.text(),
}
GARBLED = st.one_of(
    st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace"))).filter(
        lambda text: b'"pid"' not in text  # shrinking may find a right name
    ),
    st.sampled_from([b"", b"\0" * 150, b"[" * 4_000, b"{" * 4_000, b"9" * 4_096, b"null", b"[]", b"{}", b"1e999"]),
    st.integers(0, len(name()) - 1).map(lambda length: name().encode()[:length]),
    st.integers(4_097, 100_000).map(lambda size: name(start=1).encode().ljust(size)),
    st.one_of(st.fixed_dictionaries({key: values}) for key, values in WRONG.items()).map(lambda c: name(**c).encode()),
    st.sampled_from(["pid", "host", "since", "space", "start"]).map(
        lambda key: json.dumps({k: v for k, v in json.loads(name()).items() if k != key}).encode()
    ),
)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What was sent to which process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


@settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "300")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=GARBLED)
def test_garbled_contents(text: bytes, tmp_path: Path, no_patience: None, signals: list[tuple[int, int]]) -> None:
    path = tmp_path / "lock"
    # Where the kernel tells who holds it, they are of no account ...
    path.write_bytes(text)
    with Lock(tmp_path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    # ... and of a lock that is held, no reason to say more than that.
    with strange(tmp_path) as descriptor:
        os.pwrite(descriptor, text, 0)
        assert "in use by another process" in refusal(tmp_path)
        assert path.read_bytes() == text
    # Where it does not, nobody can be said to be gone.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", raising(errno.ENOLCK))
        assert f"{path} does not tell who uses" in refusal(tmp_path)
    assert path.read_bytes() == text
    assert signals == []


def raising(number: int) -> Callable[..., None]:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.usefixtures("no_patience")
def test_of_a_huge_file_no_more_is_read_than_a_name_can_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: (asked.append(size), pread(fd, size, at))[1])
    with strange(tmp_path) as descriptor:
        os.truncate(descriptor, 2**40)
        assert "another process" in refusal(tmp_path)
    with Lock(tmp_path):
        assert (tmp_path / "lock").stat().st_size < 400
    assert max(asked) <= 4_097


# What else can be in the way


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder, target = tmp_path / "a", tmp_path / "precious"
    folder.mkdir()
    (folder / "lock").symlink_to(target)
    assert refusal(folder, ConfigError) == (
        f"{folder / 'lock'} is no plain file: move it away, or give another --workdir"
    )
    assert not target.exists()
    target.write_text("precious")
    assert "is no plain file" in refusal(folder, ConfigError)
    assert target.read_text() == "precious"
    assert (folder / "lock").is_symlink()


def test_a_file_that_becomes_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, target, os_open = tmp_path / "a", tmp_path / "precious", os.open
    folder.mkdir()
    (folder / "lock").touch()
    target.write_text("precious")

    def late(path: Any, flags: int, mode: int = 0o777) -> int:
        if not flags & os.O_CREAT:
            (folder / "lock").unlink()
            (folder / "lock").symlink_to(target)
        return os_open(path, flags, mode)

    monkeypatch.setattr(os, "open", late)
    assert "cannot lock" in refusal(folder, ConfigError)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    assert f"{tmp_path / 'lock'} is no plain file" in refusal(tmp_path, ConfigError)
    assert (tmp_path / "lock").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "a", "Not a directory")):
        assert refusal(path, ConfigError) == f"--workdir={path}: cannot be made: {why}"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.ENOENT])
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", raising(number))
        text = refusal(tmp_path, ConfigError)
    assert text == f"--workdir={tmp_path}: cannot lock {tmp_path / 'lock'}: {os.strerror(number)}"


@pytest.mark.skipif(os.geteuid() == 0, reason="to root every folder is open")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert "Permission denied" in refusal(tmp_path, ConfigError)
    finally:
        tmp_path.chmod(0o700)


def test_a_lock_that_fails_otherwise_is_a_fault_and_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with strange(tmp_path) as here:
        monkeypatch.setattr(fcntl, "flock", raising(errno.EIO))
        text = refusal(tmp_path, ConfigError)
        again = os.open(tmp_path, os.O_RDONLY)
        os.close(again)
    assert text == f"--workdir={tmp_path}: cannot lock {tmp_path / 'lock'}: Input/output error"
    assert again == here + 1


def test_a_folder_that_is_deleted_while_it_is_held(tmp_path: Path) -> None:
    with Lock(tmp_path / "a"):
        shutil.rmtree(tmp_path / "a")
    assert lock._all_held == {}


def test_a_lock_that_was_deleted_and_made_by_another_is_left_to_it(tmp_path: Path) -> None:
    with Lock(tmp_path):
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").write_text("another's")
    assert (tmp_path / "lock").read_text() == "another's"


# What the kernel tells of processes


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="no /proc")
@pytest.mark.parametrize("called", ["sleep", "a) Z 1 2", "((", ") S 1 1 1 1"])
def test_when_a_process_began(tmp_path: Path, called: str) -> None:
    (tmp_path / called).symlink_to(shutil.which("sleep") or "/bin/sleep")
    with subprocess.Popen([tmp_path / called, "60"]) as child:
        until = time.monotonic() + 10
        while f"({called})" not in Path(f"/proc/{child.pid}/stat").read_text() and time.monotonic() < until:
            time.sleep(0.01)  # it has not begun to be that program yet
        up = float(Path("/proc/uptime").read_text().split()[0])
        began = lock._started(child.pid)
        assert began is not None
        assert began / os.sysconf("SC_CLK_TCK") == pytest.approx(up, abs=20)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert lock._started(child.pid) == -1
    assert lock._started(child.pid) is None


# Where the file system has no flock


@pytest.mark.usefixtures("no_flock")
class TestByContents:
    def test_taken_and_given_up(self, tmp_path: Path) -> None:
        for _ in range(2):
            with Lock(tmp_path), Lock(tmp_path):
                assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
            assert list(tmp_path.iterdir()) == []

    def test_a_live_holder_is_believed(self, tmp_path: Path, other: "subprocess.Popen[bytes]") -> None:
        text = by_contents(tmp_path, pid=other.pid, start=lock._started(other.pid))
        assert refusal(tmp_path) == (
            f"{tmp_path} is in use by process {other.pid} on {HERE} since 2026-11-22 12:01: "
            "wait for it, or give another --workdir"
        )
        other.kill()
        # It has ended; that its parent has not taken note of it yet makes it no holder.
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert (tmp_path / "lock").read_text() == text
        with Lock(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        assert list(tmp_path.iterdir()) == []

    def test_a_dead_holder_is_not(self, tmp_path: Path) -> None:
        with subprocess.Popen(["true"]) as gone:
            pass
        by_contents(tmp_path, pid=gone.pid)
        with Lock(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
        assert list(tmp_path.iterdir()) == []

    def test_a_later_process_of_the_same_number_is_no_holder(
        self, tmp_path: Path, other: "subprocess.Popen[bytes]"
    ) -> None:
        started = lock._started(other.pid)
        assert started is not None
        by_contents(tmp_path, pid=other.pid, start=started - 1)
        with Lock(tmp_path):
            pass
        assert not (tmp_path / "lock").exists()

    @pytest.mark.parametrize("written", [None, 1])
    def test_without_proc_the_number_decides(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        other: "subprocess.Popen[bytes]",
        written: int | None,
    ) -> None:
        monkeypatch.setattr(lock, "_started", lambda pid: None)
        by_contents(tmp_path, pid=other.pid, start=written)
        assert f"process {other.pid} on" in refusal(tmp_path)
        other.kill()
        other.wait()
        with Lock(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["start"] is None

    def test_another_users_process_is_alive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: "subprocess.Popen[bytes]"
    ) -> None:
        by_contents(tmp_path, pid=other.pid, start=lock._started(other.pid))
        with monkeypatch.context() as patch:
            patch.setattr(os, "kill", raising(errno.EPERM))
            assert f"process {other.pid} on" in refusal(tmp_path)

    def test_this_process_started_anew_is_no_holder(self, tmp_path: Path) -> None:
        by_contents(tmp_path)
        with Lock(tmp_path):
            pass
        assert not (tmp_path / "lock").exists()

    @pytest.mark.parametrize("changes", [{"host": "host-7"}, {"space": "pid:[1]"}])
    def test_of_a_process_elsewhere_nothing_is_known(self, tmp_path: Path, changes: dict[str, str]) -> None:
        text = by_contents(tmp_path, pid=2**31 - 1, **changes)
        assert refusal(tmp_path) == (
            f"{tmp_path} is in use by process {2**31 - 1} on {changes.get('host', HERE)} since 2026-11-22 12:01: "
            f"wait for it, or delete {tmp_path / 'lock'} if that run is gone, or give another --workdir"
        )
        assert (tmp_path / "lock").read_text() == text

    @pytest.mark.usefixtures("patience")
    def test_a_file_that_is_being_written_is_waited_for(self, tmp_path: Path, other: "subprocess.Popen[bytes]") -> None:
        (tmp_path / "lock").touch()
        changes = {"pid": other.pid, "start": lock._started(other.pid)}
        timer = threading.Timer(0.1, by_contents, (tmp_path,), changes)
        timer.start()
        assert f"process {other.pid} on" in refusal(tmp_path)
        timer.join()

    @pytest.mark.usefixtures("no_patience")
    def test_a_file_that_tells_nothing_is_not_taken_away(self, tmp_path: Path) -> None:
        (tmp_path / "lock").touch()
        assert refusal(tmp_path) == (
            f"{tmp_path / 'lock'} does not tell who uses {tmp_path}: delete it if no run does, "
            "or give another --workdir"
        )
        assert (tmp_path / "lock").exists()

    @pytest.mark.usefixtures("patience")
    def test_two_do_not_take_one_dead_lock_away(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Another has begun to, and waits before its last step.
        text = by_contents(tmp_path, start=1)
        (tmp_path / "lock.recovery").touch()
        with monkeypatch.context() as patch:
            patch.setattr(lock, "_PATIENCE", -1.0)
            assert f"{tmp_path / 'lock.recovery'} does not tell who uses" in refusal(tmp_path)
        assert (tmp_path / "lock").read_text() == text
        timer = threading.Timer(0.1, (tmp_path / "lock.recovery").unlink)
        timer.start()
        with Lock(tmp_path):
            pass
        timer.join()
        assert list(tmp_path.iterdir()) == []

    def test_what_was_read_may_be_another_by_now(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: "subprocess.Popen[bytes]"
    ) -> None:
        by_contents(tmp_path, start=1)
        os_open, start = os.open, lock._started(other.pid)

        def slow(path: Any, flags: int, mode: int = 0o777) -> int:
            """Before the claim is there, another has taken the dead lock away and made its own."""
            if Path(path).name == "lock.recovery":
                (tmp_path / "lock").unlink()
                by_contents(tmp_path, pid=other.pid, start=start)
            return os_open(path, flags, mode)

        monkeypatch.setattr(os, "open", slow)
        assert f"process {other.pid} on" in refusal(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["lock"]

    def test_a_full_disk_leaves_no_file_without_a_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", raising(errno.ENOSPC))
            assert "No space left on device" in refusal(tmp_path, ConfigError)
        assert list(tmp_path.iterdir()) == []
        with Lock(tmp_path):
            pass

    def test_a_forked_child_leaves_the_file_to_its_parent(self, tmp_path: Path) -> None:
        script = """
fcntl.flock = no_flock
with Lock(Path(sys.argv[1])) as held:
    if not os.fork():
        held.__exit__(None, None, None)
        os._exit(0)
    os.wait()
    print("held", flush=True)
    sys.stdin.read()
"""
        with running(script, tmp_path) as holder:
            assert told(holder) == "held"
            assert f"process {holder.pid} on" in refusal(tmp_path)
            holder.communicate()
        assert not (tmp_path / "lock").exists()
