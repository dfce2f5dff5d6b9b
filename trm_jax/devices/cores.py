"""A CPU as several devices of one thread each, which keeps it busier than one device whose operations share threads."""

import os

_COUNT, _EIGEN = "--xla_force_host_platform_device_count", "--xla_cpu_multi_thread_eigen"

_taken = False

# More devices than this have not been measured: sums over all of them may cost what they gain.
MOST = 16


def use_cores(count: int = 0) -> None:
    """Makes JAX see as many CPU devices as this process has cores; to be called before it makes its first array.

    The operations of a small model are too short for several threads to share: the batch is shared instead. Where
    $XLA_FLAGS says how many devices there are, or names a file of flags, that stays; so it does on a machine of one
    core, or of more than MOST. GPUs and TPUs know nothing of it.

    count: of devices; 0: as many as cores.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    count = count or cores()
    if _COUNT in flags or flags[:1].strip(" \t\n-") or not 1 < count <= MOST:
        return
    global _taken
    _taken = True
    os.environ["XLA_FLAGS"] = f"{flags} {_COUNT}={count} {_EIGEN}=false".strip()


def taken() -> bool:
    """Whether `use_cores` has made this process's CPU several devices, which nobody has asked for by number."""
    return _taken


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
