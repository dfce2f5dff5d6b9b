"""Memory that a process had once costs nothing the next time."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
from trm_jax.devices.host_memory import keep_memory
if sys.argv[1] == "keep":
    keep_memory()
faults = []
def use():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(64 << 20)
    block[::4096] = bytes(64 << 8)
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
for _ in range(3):  # as XLA does, each time from a thread of its own
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
print(*faults)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_a_large_block_is_faulted_in_once():
    def faults(way):
        # As on one device; several have a heap for each thread.
        alone = os.environ | {"XLA_FLAGS": ""}
        said = subprocess.check_output([sys.executable, "-c", PROGRAM, way], text=True, env=alone)
        return [int(n) for n in said.split()]

    pages = (64 << 20) // 4096
    plain, kept = faults("plain"), faults("keep")
    if plain[2] < pages / 2:
        pytest.skip("this machine's pages are larger, or its C library keeps blocks anyway")
    assert kept[2] < pages / 100 < plain[2]
