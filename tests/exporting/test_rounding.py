"""Rounded arrays: by hand, within their bounds, and packed and unpacked as they were."""

import jax
import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.exporting import rounding
from trm_jax.exporting.rounding import Rounded, clipped, floats, nearest, packed, restored, shortened, unpacked, widest


def made(*shape: int) -> np.ndarray:
    """Columns of very different sizes."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * np.geomspace(0.01, 10, shape[-1])).astype(np.float32)


def test_by_hand():
    array = np.array([[7.0, -0.5], [-3.6, 0.25], [2.5, 0.0]], np.float32)
    part = nearest(array, widest(array, 4, (0,)), 4)
    np.testing.assert_array_equal(part.scales, [[1, 0.0712890625]])  # 0.5 / 7 as bfloat16 has it
    np.testing.assert_array_equal(part.integers, [[7, -7], [-4, 4], [2, 0]])
    np.testing.assert_array_equal(floats(part)[:, 0], [7, -4, 2])
    assert part.nbytes == 3 + 4
    assert nearest(array, widest(array, 8, (0,)), 8).nbytes == 6 + 4


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_no_number_is_off_by_more_than_half_a_scale(bits, axes):
    array = made(40, 9)
    part = nearest(array, widest(array, bits, axes), bits)
    # The scale is a bfloat16: the largest number may lie 1 in 256 beyond the largest whole one.
    most = np.maximum(0.5, rounding.largest(bits) / 256)
    assert (np.abs(floats(part) - array) <= part.scales * (most + 1e-5)).all()
    assert np.abs(part.integers).max() == rounding.largest(bits)


def test_what_is_beyond_the_largest_stops_there_and_zeros_are_kept():
    part = nearest(np.array([[100.0, -100.0, 0.2]], np.float32), np.ones((1, 1), np.float32), 4)
    np.testing.assert_array_equal(part.integers, [[7, -7, 0]])
    zeros = np.zeros((3, 2), np.float32)
    np.testing.assert_array_equal(floats(nearest(zeros, widest(zeros, 8, (0,)), 8)), zeros)


@pytest.mark.parametrize("bits", [8, 4])
def test_a_scale_for_each_channel_is_better_than_one_for_all(bits):
    array = made(64, 16)
    each, all_ = (np.abs(floats(nearest(array, widest(array, bits, axes), bits)) - array) for axes in ((0,), (0, 1)))
    assert (each.mean(axis=0) <= all_.mean(axis=0) * 1.05).all()
    assert each[:, 0].mean() < all_[:, 0].mean() / 4  # the smallest channel was nothing but zeros


def test_a_clipped_scale_never_has_the_larger_error():
    array = np.random.default_rng(1).standard_t(3, size=(200, 8)).astype(np.float32)

    def errors(scales: np.ndarray) -> np.ndarray:
        return np.square(floats(nearest(array, scales, 4)) - array).sum(axis=0)

    narrow, wide = errors(clipped(array, 4, (0,))), errors(widest(array, 4, (0,)))
    assert (narrow <= wide).all()
    assert narrow.sum() < 0.8 * wide.sum()


@pytest.mark.parametrize("shape", [(4, 6), (3, 5), (1,), (2, 3, 5)])
def test_packed_numbers_come_back(shape):
    integers = np.random.default_rng(2).integers(-7, 8, shape).astype(np.int8)
    two_to_a_byte = packed(integers)
    assert two_to_a_byte.dtype == np.uint8
    assert two_to_a_byte.size == -(-integers.size // 2)
    np.testing.assert_array_equal(unpacked(jax.numpy.asarray(two_to_a_byte), shape), integers)


def test_packed_by_hand():
    np.testing.assert_array_equal(packed(np.array([-7, 7, 0], np.int8)), [0x81, 0x0F])


def test_a_program_restores_what_the_parts_stand_for():
    array = made(5, 3)
    for part in (array, shortened(array), *(nearest(array, widest(array, bits, (0,)), bits) for bits in (8, 4))):
        np.testing.assert_array_equal(restored(part), floats(part))
        text = jax.jit(lambda part=part: restored(part)).lower().as_text()
        assert text.count("optimization_barrier") == (2 if isinstance(part, Rounded) else part.dtype != np.float32)


def test_bfloat16_is_within_1_in_256():
    array = made(50, 4)
    assert (np.abs(floats(shortened(array)) - array) <= np.abs(array) / 256).all()


def test_an_unknown_type_is_told():
    with pytest.raises(ConfigError, match="weights 'int6' is unknown: "):
        rounding.check_held("int6")
    with pytest.raises(ConfigError, match="weights 'bf16' have no scales to be calibrated: give int8 or int4"):
        rounding.check_calibrated("bf16")
