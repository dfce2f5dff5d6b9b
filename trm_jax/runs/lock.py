"""One run in a working directory at a time: a lock that ends with whoever holds it."""

import errno
import fcntl
import json
import os
import socket
import stat
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from trm_jax.errors import ConfigError, LockedError

FILE = "lock"
# Held only while a lock whose holder has died is taken away, and only where there is no flock.
_RECOVERY = "lock.recovery"
# What a holder writes is far shorter; of anything longer no more is read.
_LONGEST = 4_096
# Seconds that another process gets to write its name, or to finish what takes it microseconds.
_PATIENCE = 1.0
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


class Lock:
    """A context manager: while entered, no other process can enter one for the same folder, by whatever path.

    The lock is the kernel's (flock) on the file `lock` in the folder, which tells others who holds it. It ends with
    the holder, killed or not, so that a file that was left behind is in nobody's way. Where the file system has no
    flock, what is written in the file decides: a holder on this host is asked for, one on another host is believed.
    On a mount whose locks are not shared between hosts (NFS with `nolock`), two hosts do not see each other.

    Within a process it may be entered many times, by one Lock or several; the last one out gives it up. A forked child
    does not hold its parent's lock: it is refused like any other process, and leaving there changes nothing.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._entered: list[_Held] = []

    def __enter__(self) -> Self:
        """Takes the lock, and makes the folder if it is not there; takes little more than a second at most.

        Raises:
          LockedError: another process has it; names process, host and time.
          ConfigError: the folder cannot be made or written, or something that is no file is called `lock` in it.
        """
        with _guard:
            held = _hold(self._workdir)
            held.times += 1
        self._entered.append(held)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        held = self._entered.pop()
        with _guard:
            if _all_held.get(held.folder) is not held:  # the parent of this process holds it
                return
            held.times -= 1
            if not held.times:
                del _all_held[held.folder]
                _release(held)


@dataclass
class _Held:
    """A lock that this process holds.

    Attributes:
      folder: device and inode, the same for every path to it.
      path, descriptor: of the open file.
      times: how often it is entered at present.
    """

    folder: tuple[int, int]
    path: Path
    descriptor: int
    times: int = 0


@dataclass(frozen=True)
class _Holder:
    """What the file says of who holds the lock.

    Attributes:
      since: local time, for reading.
      space: in which numbers of processes are compared (a container has its own); "" where there is no /proc.
      start: when the process began, in the kernel's ticks; None where there is no /proc. Tells it from a later process
        of the same number.
    """

    pid: int
    host: str
    since: str
    space: str
    start: int | None

    @classmethod
    def me(cls) -> "_Holder":
        pid = os.getpid()
        return cls(pid, socket.gethostname(), time.strftime("%Y-%m-%d %H:%M"), _space(), _started(pid))

    @classmethod
    def parse(cls, text: bytes) -> "_Holder | None":
        """None for anything but what a holder writes."""
        try:
            holder = cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError):
            return None
        numbers = [holder.pid] if holder.start is None else [holder.pid, holder.start]
        words = [holder.host, holder.since, holder.space]
        # 0 and less would ask for groups of processes; and the words are to fit into one line.
        right = all(type(n) is int and 0 < n < 2**63 for n in numbers) and holder.pid < 2**31
        return holder if right and all(isinstance(w, str) and w.isprintable() and len(w) < 256 for w in words) else None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"

    @property
    def is_here(self) -> bool:
        """Whether this process can ask for that one by its number."""
        return (self.host, self.space) == (socket.gethostname(), _space())

    @property
    def is_gone(self) -> bool:
        """Whether it ran here and holds nothing any more; of those elsewhere nothing is known."""
        if not self.is_here:
            return False
        if self.pid == os.getpid():  # who holds a lock does not ask for it, but who was started anew by exec does
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass  # it is there, and another user's
        now = _started(self.pid)
        return self.start is not None and now is not None and now != self.start


def _space() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started(pid: int) -> int | None:
    """When a process began, in ticks since boot; -1 if it has ended and nobody has taken note; None if nobody tells."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is a name in parentheses, with whatever in it; the state is the 3rd, the start the 22nd.
    state, *others = text.rpartition(b")")[2].split()
    return -1 if state in (b"Z", b"X") else int(others[18])


# Locks that this process holds, by folder: entered again, one is not to meet itself as if it were a stranger's.
_all_held: dict[tuple[int, int], _Held] = {}
_guard = threading.RLock()


def _forget() -> None:
    """In a forked child: its parent's locks are to end with the parent, even if the child lives on."""
    for held in _all_held.values():
        os.close(held.descriptor)
    _all_held.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget)


def _hold(workdir: Path) -> _Held:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        there = workdir.stat()
    except OSError as error:
        raise ConfigError(f"--workdir={workdir}: cannot be made: {error.strerror}") from None
    folder = there.st_dev, there.st_ino
    if folder not in _all_held:
        path = workdir.absolute() / FILE  # the process may change its directory before it leaves
        _all_held[folder] = _Held(folder, path, _take(workdir, path))
    return _all_held[folder]


def _release(held: _Held) -> None:
    # Unlinked while held: afterwards it could be another's. If the folder was deleted meanwhile, nothing is to be done.
    try:
        if _is_same(held.path, held.descriptor):
            held.path.unlink()
    except OSError:
        pass
    finally:
        os.close(held.descriptor)


def _take(workdir: Path, path: Path) -> int:
    """Takes the lock and returns the descriptor that holds it."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            taken = _try(workdir, path)
        except OSError as error:
            raise ConfigError(f"--workdir={workdir}: cannot lock {path}: {error.strerror}") from None
        if isinstance(taken, int):
            return taken
        if time.monotonic() > deadline:
            raise taken
        time.sleep(0.02)


def _try(workdir: Path, path: Path) -> int | LockedError:
    """Tries once to take the lock.

    Returns:
      The descriptor that holds it; or what is to be raised if things stay as they are, which may be for a moment only.

    Raises:
      LockedError, ConfigError: for as long as somebody holds it; for good.
      OSError: the folder cannot be written.
    """
    opened = _open(path)
    if opened is None:
        return _in_use(workdir)
    made, descriptor = opened
    keep = False
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _Holder.parse(_read(descriptor))
            # Whoever has just taken it has not written its name yet; what is there is of a holder before it.
            if holder is None or holder.is_gone:
                return _in_use(workdir, holder)
            raise _in_use(workdir, holder) from None
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            if not made:
                return _judge(workdir, path, descriptor)
            try:
                _write(descriptor)
            except OSError:
                path.unlink()  # without a name it would be in the way for ever
                raise
        else:
            # Between opening and locking, its last holder may have unlinked this very file.
            if not _is_same(path, descriptor):
                return _in_use(workdir)
            # Of a full disk the run itself will tell; the lock holds without a name too.
            with suppress(OSError):
                _write(descriptor)
        keep = True
        return descriptor
    finally:
        if not keep:
            os.close(descriptor)


def _judge(workdir: Path, path: Path, descriptor: int) -> LockedError:
    """Where there is no flock: takes away the lock of a holder that is gone; else raises, or returns, why not."""
    holder = _Holder.parse(_read(descriptor))
    if holder is None:
        return _in_the_way(workdir, path)
    if not holder.is_gone:
        raise _in_use(workdir, holder, "" if holder.is_here else f", or delete {path} if that run is gone") from None
    claim = path.with_name(_RECOVERY)
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return _in_the_way(workdir, claim)
    try:
        # With the claim, no other process can have taken it away, and made its own, since it was read.
        if _is_same(path, descriptor):
            path.unlink()
    finally:
        claim.unlink()
    return _in_use(workdir, holder)


def _in_use(workdir: Path, holder: _Holder | None = None, or_else: str = "") -> LockedError:
    who = holder or "another process"
    return LockedError(f"{workdir} is in use by {who}: wait for it{or_else}, or give another --workdir")


def _in_the_way(workdir: Path, path: Path) -> LockedError:
    return LockedError(f"{path} does not tell who uses {workdir}: delete it if no run does, or give another --workdir")


def _open(path: Path) -> tuple[bool, int] | None:
    """Whether the file was made just now, and its descriptor; None if it was there, and a moment later no longer.

    Raises:
      ConfigError: what is there is no file.
      OSError: the folder cannot be written, or is gone.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe called so would keep us waiting
    try:
        return True, os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        pass
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise ConfigError(f"{path} is no plain file: move it away, or give another --workdir")
        return False, os.open(path, flags)
    except FileNotFoundError:
        return None


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> bytes:
    """What a holder may have written; nothing if it cannot be read or is too long for that."""
    try:
        text = os.pread(descriptor, _LONGEST + 1, 0)
    except OSError:
        return b""
    return text if len(text) <= _LONGEST else b""


def _write(descriptor: int) -> None:
    line = json.dumps(asdict(_Holder.me())) + "\n"
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, line.encode(), 0)
