"""Several arrays of rows are indexed as if they were one."""

import os
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_jax.data.stacked import Stacked

FUZZ = settings(max_examples=int(os.environ.get("TRM_FUZZ", "100")), deadline=None)

PARTS = st.lists(st.integers(0, 5), min_size=1, max_size=4)


@FUZZ
@given(PARTS, st.data())
def test_a_stack_is_indexed_like_the_arrays_joined(sizes, data):
    total, dtypes = sum(sizes), [np.uint8, np.int32, np.int8]
    values = np.arange(total * 3).reshape(total, 3) % 100
    ends = np.cumsum([0, *sizes])
    parts = [values[a:b].astype(dtypes[i % 3]) for i, (a, b) in enumerate(pairwise(ends))]
    stack, whole = Stacked(parts), np.concatenate(parts)
    assert (stack.shape, stack.dtype, len(stack)) == (whole.shape, whole.dtype, total)
    one = st.integers(-total - 2, total + 1)
    edge = st.none() | one
    rows = data.draw(
        one
        | one.map(np.int16)
        | st.builds(slice, edge, edge, st.none() | st.integers(1, 3) | st.integers(-3, -1))
        | st.lists(one, max_size=6)
        | st.lists(one, max_size=6).map(lambda drawn: np.array(drawn, np.int64))
        | st.lists(one, min_size=4, max_size=4).map(lambda drawn: np.array(drawn).reshape(2, 2))
    )
    try:
        expected = whole[np.asarray(rows, np.intp) if isinstance(rows, list) else rows]
    except IndexError:
        with pytest.raises(IndexError):
            stack[rows]
        return
    assert type(stack[rows]) is np.ndarray
    assert stack[rows].dtype == expected.dtype
    np.testing.assert_array_equal(stack[rows], expected)


def test_a_stack_of_stacks_and_as_an_array():
    parts = [np.arange(6, dtype=np.uint8).reshape(3, 2) + 10 * i for i in range(4)]
    stack = Stacked([Stacked(parts[:2]), parts[2], Stacked(parts[3:])])
    np.testing.assert_array_equal(np.asarray(stack), np.concatenate(parts))
    np.testing.assert_array_equal(list(stack), np.concatenate(parts))
    assert np.asarray(stack, np.int32).dtype == np.int32
    with pytest.raises(ValueError, match="copy"):
        np.array(stack, copy=False)
    assert Stacked([np.ones((1, 1), np.uint64), np.ones((1, 1), np.int64)])[:].dtype == np.int64


@pytest.mark.parametrize("rows", [1.0, [0.5], [True, False], np.array([True]), "1", None, ([0], [1])])
def test_a_stack_is_not_indexed_by_anything_else(rows):
    with pytest.raises((IndexError, ValueError)):
        Stacked([np.ones((1, 2), np.uint8)])[rows]


@pytest.mark.parametrize("shapes", [[], [()], [(1, 2), (1, 3)], [(2,), (2, 1)]])
def test_what_is_no_stack(shapes):
    with pytest.raises(ValueError, match="do not form"):
        Stacked([np.ones(shape, np.uint8) for shape in shapes])
