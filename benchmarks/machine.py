"""What a figure was measured on: without it, a figure says nothing."""

import os
import platform
from importlib.metadata import version
from typing import Any

import jax


def describe() -> dict[str, Any]:
    """Device, processor, memory and versions of the running process."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "platform": device.platform,
        "devices": len(jax.devices()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "flax", "trm_jax")},
    }


def temporary_bytes(compiled: jax.stages.Compiled) -> int | None:
    """What a compiled program needs beside its arguments and results, where the backend tells."""
    memory = compiled.memory_analysis()
    return None if memory is None else int(memory.temp_size_in_bytes)


def _processor() -> str:
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.processor()
