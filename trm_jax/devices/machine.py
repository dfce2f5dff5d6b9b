"""What a figure was measured on: without it, a figure says nothing."""

import os
import platform
import resource
import sys
from importlib.metadata import version
from typing import Any

import jax

from trm_jax.devices.cores import cores
from trm_jax.version import VERSION


def describe() -> dict[str, Any]:
    """Device, processor, memory and versions of the running process; plain values, ready for JSON."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "platform": device.platform,
        "devices": len(jax.devices()),
        "cores": cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "flax")},
        "trm_jax": VERSION,
    }


def peak_gib() -> float:
    """GiB that this process has had at most so far: of its first device, where that tells, else of the host."""
    told = jax.local_devices()[0].memory_stats() or {}
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1_024)
    return round(told.get("peak_bytes_in_use", resident) / 2**30, 3)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:  # another system than Linux
        names = []
    return names[0] if names else platform.processor()
