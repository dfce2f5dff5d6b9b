"""Memory of a CPU that is used again from call to call, instead of being given back and taken anew."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_memory() -> None:
    """Lets the process keep what it once had of memory; to be called before JAX starts its threads.

    On a CPU, XLA takes the temporary memory of a program from the C library for every call and frees it after. glibc
    maps a block of that size from the kernel and unmaps it again, so that each page of it is zeroed and faulted in at
    every training step: 300,000 pages, a tenth of the step, with the full-size model at batch 8. With blocks from
    heaps that never shrink this happens once. (One heap for all threads is no better, and where several devices are
    threads of this process, they would wait for each other at its lock: half as fast.) The process stays as large as
    it has been; other C libraries, and other systems than Linux, stay as they are.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library than glibc
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
