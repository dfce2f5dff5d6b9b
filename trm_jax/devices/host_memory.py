"""Memory of a CPU that is used again from call to call, instead of being given back and taken anew."""

import ctypes
import os
import sys

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_memory() -> None:
    """Lets the process keep what it once had of memory; to be called before JAX starts its threads.

    On a CPU, XLA takes the temporary memory of a program from the C library for every call and frees it after. glibc
    maps a block of that size from the kernel and unmaps it again, so that each page of it is zeroed and faulted in at
    every training step: 300,000 pages, a tenth of the step, with the full-size model at batch 8. With blocks from one
    heap that never shrinks this happens once. The process stays as large as it has been; other C libraries, and other
    systems than Linux, stay as they are. Where $XLA_FLAGS makes several devices of this CPU, each thread may have a
    heap of its own: they would wait for each other at the lock of a single one, which made them half as fast.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library than glibc
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    if "--xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        mallopt(_ARENA_MAX, 1)
