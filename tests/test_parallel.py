"""Work shared among processes: order, errors, an early end."""

import math
import os
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
