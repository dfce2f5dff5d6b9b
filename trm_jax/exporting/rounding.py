"""Arrays in few bits: whole numbers with a scale for each channel, of 8 bits or two of 4 to a byte; or bfloat16.

A channel is what one scale is for: one output of a projection, one row of a table. Numbers go from -127 to 127, or from
-7 to 7, so that each has its negative; their product with the scale is the float that they stand for.
"""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import ConfigError, near_miss

# How the weights of an exported program lie in its file.
Held: TypeAlias = Literal["float32", "bf16", "int8", "int4"]
BITS = {"int8": 8, "int4": 4}


@dataclass(frozen=True)
class Rounded:
    """Whole numbers for an array.

    integers: int8, of the array's shape.
    scales: float32 that bfloat16 holds too, of the array's rank; 1 long along the axes that share a scale.
    bits: 8 or 4, of each number.
    """

    integers: NDArray[np.int8]
    scales: NDArray[np.float32]
    bits: int

    @property
    def nbytes(self) -> int:
        """Of both as a file holds them."""
        return -(-self.integers.size * self.bits // 8) + 2 * self.scales.size


# An array as a file holds it: float32, bfloat16 or whole numbers.
Part: TypeAlias = NDArray[Any] | Rounded


def check_held(held: str) -> None:
    """Raises ConfigError: weights are not held so."""
    if held not in get_args(Held):
        raise ConfigError(f"weights {held!r:.60} is unknown: {near_miss(str(held), get_args(Held))}")


def check_calibrated(held: str) -> None:
    """Raises ConfigError: rounding of this kind leaves nothing to choose."""
    if held not in BITS:
        raise ConfigError(
            f"weights {held!r} have no scales to be calibrated: give {' or '.join(BITS)}, or none of that"
        )


def largest(bits: int) -> int:
    """Of whole numbers of so many bits that have their negative."""
    return int(2 ** (bits - 1) - 1)


def widest(array: NDArray[Any], bits: int, axes: tuple[int, ...]) -> NDArray[np.float32]:
    """Scales by which the largest number of each channel becomes the largest whole number.

    axes: those that share a scale. A channel of zeros has scale 1.

    As the scale is rounded, the largest number may come to 127.5 in place of 127, or to 7.03 in place of 7.
    """
    return as_scales(np.abs(array).max(axis=axes, keepdims=True) / largest(bits))


def as_scales(wanted: NDArray[Any]) -> NDArray[np.float32]:
    """Scales that files can hold, the nearest: off by 1 in 256 at most, and 1 instead of 0."""
    held = shortened(wanted).astype(np.float32)
    return np.where(held > 0, held, np.float32(1))


def nearest(array: NDArray[Any], scales: NDArray[np.float32], bits: int) -> Rounded:
    """Each number as the nearest that there is: within half a scale, unless it is beyond the largest."""
    most = largest(bits)
    return Rounded(np.clip(np.rint(array / scales), -most, most).astype(np.int8), scales, bits)


def clipped(array: NDArray[Any], bits: int, axes: tuple[int, ...]) -> NDArray[np.float32]:
    """For each channel the scale, from 0.5 to 1 of `widest`, whose nearest numbers have the least squared error."""
    wide = widest(array, bits, axes)
    tried = [as_scales(wide * share) for share in np.linspace(1, 0.5, 21)]
    errors = [np.square(floats(nearest(array, each, bits)) - array).sum(axis=axes, keepdims=True) for each in tried]
    best = np.argmin(np.stack(errors), axis=0)
    return np.take_along_axis(np.stack(tried), best[None], axis=0)[0]


def floats(part: Part) -> NDArray[np.float32]:
    """What a part stands for."""
    if isinstance(part, Rounded):
        return part.integers * part.scales
    return np.asarray(part, np.float32)


def shortened(array: NDArray[Any]) -> NDArray[Any]:
    """As bfloat16: within 1 in 256 of each number."""
    return array.astype(ml_dtypes.bfloat16)


def packed(integers: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Numbers from -8 to 7, two to a byte: those of the first half below, those of the second half above; [n / 2]."""
    numbers = (integers.ravel() + 8).astype(np.uint8)
    low, high = np.split(np.pad(numbers, (0, numbers.size % 2)), 2)
    return np.asarray(low | high << 4, np.uint8)


def unpacked(numbers: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """What `packed` has packed, int32 of this shape."""
    wide = numbers.astype(jnp.int32)
    halves = jnp.concatenate([jax.lax.rem(wide, 16), jax.lax.div(wide, 16)])
    return halves[: int(np.prod(shape))].reshape(shape) - 8


def restored(part: Part) -> jax.Array:
    """What a part stands for, float32, computed where the program runs.

    A barrier keeps compilers from doing that when the program is written, which would then hold the floats.
    """
    if isinstance(part, Rounded):
        stored = jax.lax.optimization_barrier(packed(part.integers) if part.bits == 4 else part.integers)
        whole = unpacked(stored, part.integers.shape) if part.bits == 4 else stored
        return whole.astype(jnp.float32) * restored(shortened(part.scales))
    if part.dtype == np.float32:
        return jnp.asarray(part)
    return jax.lax.optimization_barrier(part).astype(jnp.float32)
