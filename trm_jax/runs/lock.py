"""One run in a working directory at a time: a lock that ends with whoever holds it."""

import errno
import os
import re
import socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from filelock import BaseFileLock, MarkerSoftFileLock, Timeout, UnixFileLock, lock_descriptor

from trm_jax.errors import ConfigError, LockedError, printable

FILE = "lock"
# Seconds that another process gets to leave, or to write its name.
_PATIENCE = 0.5
_NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
# What a holder writes; whatever else the file may hold is told to nobody.
_NAME = re.compile(r"process \d{1,10} on [\w.-]{1,253} since \d{4}-\d\d-\d\d \d\d:\d\d")


class Lock:
    """A context manager: while entered, no other process can enter one for the same folder, by whatever path.

    The lock is the kernel's (flock) on the file `lock` in the folder, which tells others who holds it. It ends with
    the holder, killed or not, so that a file that was left behind is in nobody's way. Where the file system has no
    flock, what is written in the file decides: a holder on this host is asked for, one on another host is believed.
    On a mount whose locks are not shared between hosts (NFS with `nolock`), two hosts do not see each other.

    A folder that it has made, and that nothing was put into, goes with it: a run that is refused leaves nothing behind.

    Within a process it may be entered many times, by one Lock or several; the last one out gives it up. A forked child
    does not hold its parent's lock: it is refused like any other process, and leaving there changes nothing.
    """

    def __init__(self, workdir: Path) -> None:
        self._workdir = workdir
        self._entered: list[tuple[BaseFileLock, list[Path]]] = []

    def __enter__(self) -> Self:
        """Takes the lock, and makes the folder if it is not there; takes little more than a second at most.

        Raises:
          LockedError: another process has it; names process, host and time.
          ConfigError: the folder cannot be made or written, or something that is no file is called `lock` in it.
        """
        folder = self._workdir.absolute()  # the process may change its directory before it leaves
        made = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--workdir={self._workdir}: cannot be made: {error.strerror}") from None
        path = folder / FILE
        try:
            with suppress(FileNotFoundError):  # not there, or no longer
                if not stat.S_ISREG(path.lstat().st_mode):
                    raise ConfigError(f"{path} is no plain file: move it away, or give another --workdir")
            lock = _lock(path)
            lock.acquire(_PATIENCE, 0.02)
        except Timeout:
            raise LockedError(_refusal(self._workdir, path, lock)) from None
        except OSError as error:
            if not folder.exists():  # whoever had made it has left, and taken it along
                return self.__enter__()
            raise ConfigError(f"--workdir={self._workdir}: cannot lock {path}: {error.strerror}") from None
        self._entered.append((lock, made))
        return self

    def __exit__(self, *exception: object) -> None:
        lock, made = self._entered.pop()
        lock.release()
        with suppress(OSError):  # what is not empty stays
            for folder in made:
                folder.rmdir()


class _KernelLock(UnixFileLock):
    """A lock of the kernel's whose file goes with its last holder."""

    def _release(self) -> None:
        # While it is still held: afterwards the file could be another's, and it may be so if somebody deleted ours.
        descriptor, path = self._context.lock_file_fd, Path(self.lock_file)
        with suppress(OSError):
            if descriptor is not None and os.path.samestat(path.lstat(), os.fstat(descriptor)):
                path.unlink()
        super()._release()


def _lock(path: Path) -> BaseFileLock:
    """The one lock that this process has for the file, of the kind that its file system knows."""
    with tempfile.TemporaryFile(prefix=f"{FILE}.", dir=path.parent) as probe:
        try:
            lock_descriptor(probe.fileno(), blocking=False)
        except OSError as error:
            if error.errno not in _NO_FLOCK:
                raise
            return MarkerSoftFileLock(path, thread_local=False, is_singleton=True)
    return _KernelLock(path, thread_local=False, is_singleton=True, on_acquired=_write_name)


def _write_name(descriptor: int) -> None:
    name = _name(os.getpid(), socket.gethostname(), time.time()) + "\n"
    # Of a full disk the run itself will tell; the lock holds without a name too.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, name.encode(), 0)


def _name(pid: int, host: str, seconds: float) -> str:
    return f"process {pid} on {host} since {time.strftime('%Y-%m-%d %H:%M', time.localtime(seconds))}"


def _refusal(workdir: Path, path: Path, lock: BaseFileLock) -> str:
    """What is told when the lock is not to be had: who has it, since when, and what to do."""
    name, or_else = "another process", ""
    with suppress(OSError), path.open("rb") as file:  # it may have been given up by now
        if not isinstance(lock, MarkerSoftFileLock):
            found = _NAME.match(file.read(400).decode(errors="replace"))
            name = found[0] if found else name
        elif owner := lock.owner:
            host = printable(owner.hostname.partition("?pidns-")[0])  # without the number of its container
            name = _name(owner.pid, host, os.fstat(file.fileno()).st_mtime)
            or_else = f", or delete {path} if that run is gone"
        else:
            return f"{path} does not tell who uses {workdir}: delete it if no run does, or give another --workdir"
    return f"{workdir} is in use by {name}: wait for it{or_else}, or give another --workdir"
