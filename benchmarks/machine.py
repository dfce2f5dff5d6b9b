"""What a figure was measured on, and what a compiled program needs: what the benchmarks have in common."""

import jax

from trm_jax.devices.machine import describe as describe


def temporary_bytes(compiled: jax.stages.Compiled) -> int | None:
    """What a compiled program needs beside its arguments and results, where the backend tells."""
    memory = compiled.memory_analysis()
    return None if memory is None else int(memory.temp_size_in_bytes)
