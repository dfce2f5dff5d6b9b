"""What a figure was measured on, and what a compiled program needs: what the benchmarks have in common."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import jax

from trm_jax.devices.machine import describe as describe
from trm_jax.errors import TrmError


def temporary_bytes(compiled: jax.stages.Compiled) -> int | None:
    """What a compiled program needs beside its arguments and results, where the backend tells."""
    memory = compiled.memory_analysis()
    return None if memory is None else int(memory.temp_size_in_bytes)


@contextmanager
def faults_told() -> Iterator[None]:
    """Ends the program in one line, with the exit code of the fault, where a TrmError is raised."""
    try:
        yield
    except TrmError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
