"""A `trm` command that tells on the way how many bytes it has in use.

    python -m benchmarks.watched FILE train --config=...

What a process has from the kernel says little of that: `trm` keeps what it once had (trm_jax/devices/host_memory.py),
most of it while it compiles, and a leak fills that up for a long time before the process grows. The C library knows
better; started with PYTHONMALLOC=malloc, it knows of Python's objects too. Needs glibc 2.33.
"""

import ctypes
import os
import sys
import threading
import time

from trm_jax.commands.cli import main

# Seconds between two looks.
_EVERY = 0.1


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2 returns (malloc.h); hblkhd: bytes in blocks of their own, uordblks: bytes in use in all others."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


# Once, since each look-up leaves a class of its own to the collector.
_mallinfo2 = ctypes.CDLL(None).mallinfo2
_mallinfo2.restype = _Mallinfo2


def bytes_in_use() -> int:
    """What this process has taken from the C library and not given back."""
    found = _mallinfo2()
    return int(found.uordblks + found.hblkhd)


def _tell(descriptor: int) -> None:
    os.pwrite(descriptor, f"{bytes_in_use():20}\n".encode(), 0)


def _go_on_telling(descriptor: int) -> None:
    while True:
        time.sleep(_EVERY)
        _tell(descriptor)


if __name__ == "__main__":
    told = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT)
    _tell(told)
    threading.Thread(target=_go_on_telling, args=(told,), daemon=True).start()
    sys.exit(main())
