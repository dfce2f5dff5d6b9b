"""Work shared among processes: order, errors, an early end."""

import math
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from itertools import count, islice

import pytest

from trm_jax.errors import DataError
from trm_jax.puzzles.parallel import in_order


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(in_order(math.factorial, [2000, *range(30)], workers)) == list(map(math.factorial, [2000, *range(30)]))
    assert list(in_order(math.sqrt, [], workers)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_items_may_be_endless_and_the_rest_is_left(workers):
    items = count()
    with closing(in_order(math.isqrt, items, workers)) as results:
        assert list(islice(results, 10)) == [math.isqrt(i) for i in range(10)]
    assert next(items) <= 10 + 4 * workers


def test_several_processes_work_and_none_of_them_is_this_one():
    assert os.getpid() not in set(in_order(pid_after, [0.05] * 8, 2))
    assert set(in_order(pid_after, [0.0] * 2, 1)) == {os.getpid()}


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_errors_of_the_function_come_through():
    with pytest.raises(ValueError, match=r"math domain error|nonnegative"):
        list(in_order(math.sqrt, [1.0, -1.0], 2))


def test_a_process_that_dies_is_a_data_error():
    with pytest.raises(DataError, match=r"^a worker process ended early: give workers=1, or [^\n]+$"):
        list(in_order(os._exit, [3], 2))


@pytest.mark.parametrize("workers", [0, -1, 257])
def test_numbers_of_processes_that_make_no_sense_are_refused(workers):
    with pytest.raises(DataError, match=f"^workers is {workers}: give 1 to 256 processes$"):
        list(in_order(math.sqrt, [1.0], workers))


def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        "import os, sys, time\n"
        "from trm_jax.puzzles.parallel import in_order\n"
        "def say(seconds):\n"
        "    time.sleep(seconds)\n"
        "    return os.getpid()\n"
        "if __name__ == '__main__':\n"
        "    for pid in in_order(say, [0.0, 60.0, 60.0, 60.0], 2):\n"
        "        print(pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while is_running(worker):
        assert time.monotonic() < deadline, "the worker works on for nobody"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether there is such a process that has not ended; one that nobody has asked how it ended is a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
