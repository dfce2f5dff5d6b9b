"""How all weights of a model lie in a file: which arrays are rounded, along which axes, and back to weights."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from trm_jax.exporting.rounding import BITS, Held, Part, floats, nearest, restored, shortened, widest
from trm_jax.model.model import Weights, part_of


@dataclass(frozen=True)
class HeldWeights:
    """A model's weights as a file is to hold them.

    name: of the form, one of `rounding.Held`.
    parts: `Weights` whose arrays are parts.
    puzzles: by which the rounding was chosen; 0: each number went to the nearest.
    """

    name: Held
    parts: Any
    puzzles: int = 0


def is_rounded(path: Any, array: NDArray[Any]) -> bool:
    """Whether an array is worth it: matrices and tables. Vectors are few numbers, and much depends on each.

    path: where in `Weights` it stands, as jax.tree_util names it.
    """
    return array.ndim >= 2 and path[0].name != "starts"


def shared_axes(path: Any, array: NDArray[Any]) -> tuple[int, ...]:
    """Axes along which numbers share a scale: all but that of a projection's outputs, or of a table's rows."""
    is_table = path[0].name == "puzzle_table" or part_of(path[1].key) == "embeddings"
    own = 0 if is_table else array.ndim - 1
    return tuple(axis for axis in range(array.ndim) if axis != own)


def to_nearest(weights: Weights, name: Held) -> HeldWeights:
    """Each number rounded to the nearest that there is."""

    def part(path: Any, array: Any) -> Part:
        array = np.asarray(array, np.float32)
        if name == "float32" or not is_rounded(path, array):
            return array
        if name == "bf16":
            return shortened(array)
        return nearest(array, widest(array, BITS[name], shared_axes(path, array)), BITS[name])

    return HeldWeights(name, jax.tree_util.tree_map_with_path(part, weights))


def known(parts: Any) -> Weights:
    """The float32 weights that parts stand for."""
    weights: Weights = jax.tree.map(floats, parts)
    return weights


def in_program(parts: Any) -> Weights:
    """The same, computed where a program runs: for a function that is traced."""
    weights: Weights = jax.tree.map(restored, parts)
    return weights
