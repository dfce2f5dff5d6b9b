"""One run in a working directory: who is refused and what it is told, and that nothing left behind is in the way."""

import errno
import fcntl
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

import filelock
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import ROOT

from trm_jax.errors import ConfigError, LockedError, TrmError
from trm_jax.runs import lock
from trm_jax.runs.lock import Lock

HERE = socket.gethostname()

# In front of whatever a process of a test does.
PREAMBLE = f"""
import errno, fcntl, os, subprocess, sys, time
sys.path[:0] = [{str(ROOT)!r}, {str(Path(filelock.__file__).parents[1])!r}]
from pathlib import Path
from trm_jax.runs import lock
from trm_jax.errors import LockedError
from trm_jax.runs.lock import Lock
assert not {{"jax", "numpy"}} & set(sys.modules)
def no_flock(*arguments):
    raise OSError(errno.ENOSYS, "Function not implemented")
"""

HOLDER = """
if sys.argv[2] == "contents":
    fcntl.flock = no_flock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

# For each line that it reads, a folder: it gives up the one before and tries to take this one.
RACER = """
lock._PATIENCE = float(sys.argv[2])
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
def holding(folder: Path, mode: str = "flock") -> Iterator["subprocess.Popen[str]"]:
    with running(HOLDER, folder, mode) as child:
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


def name(pid: int, host: str = HERE) -> str:
    """What a holder writes."""
    return f"process {pid} on {host} since 2026-11-22 12:01\n"


@pytest.fixture
def no_flock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without it."""

    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.fixture
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What may change in a moment is taken for what it is."""
    monkeypatch.setattr(lock, "_PATIENCE", 0.0)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for whatever is to happen, on a slow machine too."""
    monkeypatch.setattr(lock, "_PATIENCE", 60.0)


# One after another, and one within another


def test_the_folder_is_made_and_the_file_tells_who_holds_it_and_goes_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    with Lock(folder):
        holder, since = (folder / "lock").read_text().split(" since ")
        assert holder == f"process {os.getpid()} on {HERE}"
        assert time.strptime(since, "%Y-%m-%d %H:%M\n") <= time.localtime()
        assert not is_free(folder)
        (folder / "figures").touch()
    assert [path.name for path in folder.iterdir()] == ["figures"]
    with Lock(folder):
        assert not is_free(folder)
    assert is_free(folder)


def test_a_folder_goes_with_the_lock_that_made_it_if_nothing_was_put_into_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with Lock(tmp_path / "there"), Lock(tmp_path / "a" / "b"), Lock(tmp_path / "a" / "b"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    with Lock(tmp_path / "a" / "b"):
        (tmp_path / "a" / "mine").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["mine"]


def test_a_folder_that_another_takes_along_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, real = tmp_path / "run", lock._lock

    def after_it_has_gone(path: Path) -> Any:
        monkeypatch.setattr(lock, "_lock", real)
        folder.rmdir()
        return real(path)

    monkeypatch.setattr(lock, "_lock", after_it_has_gone)
    with Lock(folder):
        assert not is_free(folder)


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


@pytest.mark.usefixtures("no_patience")
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
    assert is_free(folder)
    with strange(folder) as descriptor:
        os.write(descriptor, name(4711, "host-7").encode())
        for path in paths:
            assert refusal(path).startswith(f"{path} is in use by process 4711 on host-7")


def test_changing_the_directory_while_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Lock(Path("a")):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
    assert not (tmp_path / "a" / "lock").exists()


# Several processes


def test_a_second_process_is_refused_at_once_and_told_who_holds_it(tmp_path: Path) -> None:
    assert lock._PATIENCE <= 0.5  # a second run is to end within two seconds, Python's start included
    with holding(tmp_path) as holder:
        written = (tmp_path / "lock").read_bytes()
        text = refusal(tmp_path)
        since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
        assert re.fullmatch(
            rf"{re.escape(str(tmp_path))} is in use by process {holder.pid} on {re.escape(HERE)} since {since}: "
            "wait for it, or give another --workdir",
            text,
        )
        # Being refused changes nothing.
        assert (tmp_path / "lock").read_bytes() == written
        holder.communicate()
        assert holder.returncode == 0
    with Lock(tmp_path):
        assert not is_free(tmp_path)


def test_a_killed_holder_leaves_a_file_that_is_in_nobodys_way(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert (tmp_path / "lock").read_text().startswith(f"process {holder.pid} on")
    with Lock(tmp_path):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on")
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


def left_behind(folder: Path, mode: str) -> str:
    """What a holder wrote that was killed."""
    (folder / "killed").mkdir()
    with holding(folder / "killed", mode) as holder:
        holder.kill()
        holder.wait()
    return (folder / "killed" / "lock").read_text()


def race(folder: Path, processes: int, rounds: int, mode: str, patience: float) -> None:
    """In every round all processes try to take one lock, and exactly one has it; a dead one's is in every other."""
    with ExitStack() as stack:
        racers = [stack.enter_context(running(RACER, mode, patience)) for _ in range(processes)]
        assert [told(racer) for racer in racers] == ["ready"] * processes
        dead = left_behind(folder, mode)
        for i in range(rounds):
            (folder / str(i)).mkdir()
            if i % 2:
                (folder / str(i) / "lock").write_text(dead)
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


@pytest.mark.parametrize("mode", ["flock", "contents"])
def test_of_processes_that_begin_at_once_exactly_one_has_it(tmp_path: Path, mode: str) -> None:
    race(tmp_path, 4, 6, mode, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["flock", "contents"])
def test_of_twenty_processes_exactly_one_has_it(tmp_path: Path, mode: str) -> None:
    race(tmp_path, 20, 12, mode, 2.0)


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
            os.write(stack.enter_context(strange(tmp_path)), name(4711, "host-7").encode())
        flock(descriptor, operation)

    (tmp_path / "lock").touch()
    monkeypatch.setattr(fcntl, "flock", late)
    with stack:
        if another:
            assert "process 4711 on host-7" in refusal(tmp_path)
        else:
            with Lock(tmp_path):
                assert not is_free(tmp_path)


# What is found in the file


def test_a_holder_that_has_not_written_its_name_yet_is_waited_for(tmp_path: Path) -> None:
    with strange(tmp_path) as descriptor:
        os.write(descriptor, name(4711).encode())  # of a holder before it
        timer = threading.Timer(0.1, os.pwrite, (descriptor, name(4712).encode(), 0))
        timer.start()
        assert f"process 4712 on {HERE}" in refusal(tmp_path)
        timer.join()


@pytest.mark.usefixtures("no_patience")
def test_a_holder_without_a_name(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("mode", ["flock", "contents"])
def test_a_holder_that_leaves_just_before_its_name_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    refuse = lock._refusal

    def late(*arguments: Any) -> str:
        (tmp_path / "lock").unlink()
        return refuse(*arguments)

    monkeypatch.setattr(lock, "_refusal", late)
    if mode == "contents":
        monkeypatch.setattr(fcntl, "flock", raising(errno.ENOLCK))
    with holding(tmp_path, mode):
        assert "in use by another process" in refusal(tmp_path)


@pytest.mark.usefixtures("no_patience")
def test_of_a_huge_file_no_more_is_read_than_a_name_can_have(tmp_path: Path) -> None:
    with strange(tmp_path) as descriptor:
        os.truncate(descriptor, 2**40)
        assert "another process" in refusal(tmp_path)
    with Lock(tmp_path):
        assert (tmp_path / "lock").stat().st_size < 400


def test_a_full_disk_does_not_keep_from_a_lock_that_the_kernel_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(descriptor: int, text: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", pwrite)
    with Lock(tmp_path):
        assert not is_free(tmp_path)
    assert not (tmp_path / "lock").exists()


# What a name becomes with one thing wrong in it, and anything at all.
RIGHT = name(4711)
GARBLED = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\0" * 150, b"[" * 4_000, b"\n" + RIGHT.encode(), RIGHT.replace("4711", "-1").encode()]),
    st.integers(0, len(RIGHT) - 2).map(lambda length: RIGHT[:length].encode()),
    st.sampled_from(["\x1b[2J", "a\nb", "h" * 300, "\xa0", " ", ""]).map(lambda h: RIGHT.replace(HERE, h).encode()),
    st.integers(4_097, 100_000).map(lambda size: b"filelock/2\n".ljust(size)),
).filter(lambda text: not lock._NAME.match(text.decode(errors="replace")))


@settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(text=GARBLED)
def test_garbled_contents(text: bytes, tmp_path: Path, no_patience: None) -> None:
    path = tmp_path / "lock"
    # Where the kernel tells who holds it, they are of no account ...
    path.write_bytes(text)
    with Lock(tmp_path):
        assert path.read_text().startswith(f"process {os.getpid()} on")
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


def raising(number: int) -> Callable[..., None]:
    def fail(*arguments: object, **named: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


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


@pytest.mark.usefixtures("no_patience")
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
    def free() -> int:
        """The descriptor that is opened next."""
        number = os.open(tmp_path, os.O_RDONLY)
        os.close(number)
        return number

    with strange(tmp_path):
        monkeypatch.setattr(fcntl, "flock", raising(errno.EIO))
        before = free()
        text = refusal(tmp_path, ConfigError)
        after = free()
    assert text == f"--workdir={tmp_path}: cannot lock {tmp_path / 'lock'}: Input/output error"
    assert after == before


def test_a_folder_that_is_deleted_while_it_is_held(tmp_path: Path) -> None:
    with Lock(tmp_path / "a"):
        shutil.rmtree(tmp_path / "a")


def test_a_lock_that_was_deleted_and_made_by_another_is_left_to_it(tmp_path: Path) -> None:
    with Lock(tmp_path):
        (tmp_path / "lock").unlink()
        (tmp_path / "lock").write_text("another's")
    assert (tmp_path / "lock").read_text() == "another's"


# Where the file system has no flock


@pytest.mark.usefixtures("no_flock")
class TestByContents:
    def test_taken_and_given_up(self, tmp_path: Path) -> None:
        for _ in range(2):
            with Lock(tmp_path), Lock(tmp_path):
                assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()
            assert list(tmp_path.iterdir()) == []

    def test_a_live_holder_is_believed_and_a_dead_one_is_not(self, tmp_path: Path) -> None:
        with holding(tmp_path, "contents") as holder:
            since = r"\d{4}-\d\d-\d\d \d\d:\d\d"
            assert re.fullmatch(
                rf"{re.escape(str(tmp_path))} is in use by process {holder.pid} on {re.escape(HERE)} since {since}: "
                rf"wait for it, or delete {re.escape(str(tmp_path / 'lock'))} if that run is gone, or give another "
                "--workdir",
                refusal(tmp_path),
            )
            holder.kill()
        with Lock(tmp_path):
            assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()
        assert list(tmp_path.iterdir()) == []

    def test_a_later_process_of_the_same_number_is_no_holder(self, tmp_path: Path) -> None:
        # Written first: of two that begin within a hundredth of a second nobody can tell which it was.
        text = left_behind(tmp_path, "contents")
        with subprocess.Popen(["sleep", "60"]) as other:
            (tmp_path / "lock").write_text(re.sub("pid=.*", f"pid={other.pid}", text))
            try:
                with Lock(tmp_path):
                    assert f"pid={os.getpid()}\n" in (tmp_path / "lock").read_text()
            finally:
                other.kill()

    @pytest.mark.usefixtures("no_patience")
    def test_of_a_process_elsewhere_nothing_is_known(self, tmp_path: Path) -> None:
        text = re.sub("host=.*", "host=host-7\x1b", left_behind(tmp_path, "contents"))
        (tmp_path / "lock").write_text(text)
        assert re.search(r" is in use by process \d+ on host-7\? since .* if that run is gone", refusal(tmp_path))
        assert (tmp_path / "lock").read_text() == text

    @pytest.mark.usefixtures("no_patience")
    def test_a_file_that_tells_nothing_is_not_taken_away(self, tmp_path: Path) -> None:
        (tmp_path / "lock").touch()
        assert refusal(tmp_path) == (
            f"{tmp_path / 'lock'} does not tell who uses {tmp_path}: delete it if no run does, "
            "or give another --workdir"
        )
        assert (tmp_path / "lock").exists()

    def test_a_full_disk_leaves_no_file_without_a_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", raising(errno.ENOSPC))
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
