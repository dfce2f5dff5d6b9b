"""What a file offers to whoever runs it: one function of named arrays, and what each of them is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

# What programs are called: one loop to the answer, or one supervision step (of candidates: one call).
Name: TypeAlias = Literal["solve", "step"]
# What `step` gives under this and a name, it takes under that name the next time.
NEXT = "next_"
# The size that is open: puzzles in a batch.
BATCH = "B"


@dataclass(frozen=True)
class Port:
    """An array that goes in or comes out.

    name: of the argument or the result.
    dtype: "int32", "uint32", "float32" or "bool".
    shape: sizes; BATCH for the size of the batch.
    about: what it is, in one line.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    about: str

    def spec(self, batch: Any) -> jax.ShapeDtypeStruct:
        """Its shape and dtype, where the batch has this size, which may be symbolic."""
        return jax.ShapeDtypeStruct(
            tuple(batch if size == BATCH else size for size in self.shape), np.dtype(self.dtype)
        )


@dataclass(frozen=True)
class Program:
    """A pure function, function(**inputs) -> outputs by name, with weights in it."""

    name: Name
    function: Callable[..., dict[str, jax.Array]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def specs(self, batch: Any) -> dict[str, jax.ShapeDtypeStruct]:
        """Of all inputs, by name."""
        return {port.name: port.spec(batch) for port in self.inputs}
