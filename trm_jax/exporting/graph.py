"""An ONNX graph being made from a jaxpr: its values and sizes. What each operation becomes is in operations.py.

A value is an array that is known, or the name of one that is not. Whatever is computed of known arrays alone is
computed here. ONNX has little arithmetic of uint32: such values are int64 in the graph, from 0 to 2^32 - 1.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from itertools import count
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import ConfigError
from trm_jax.exporting.program import BATCH

Value: TypeAlias = str | NDArray[Any]
# rule(graph, eqn, *values) -> one value for each that the equation has.
Rule: TypeAlias = Callable[..., Sequence[Value]]

# Known arrays that would grow beyond this many numbers are made where the graph runs.
_MOST_FOLDED = 1 << 16
# Types of constants that are cast before anything is computed of them, and what ONNX calls these.
_STORED = {"int8": "INT8", "uint8": "UINT8", "bfloat16": "BFLOAT16"}
_MULTIPLE = re.compile(rf"(?:(\d+)\*)?{BATCH}$")


def element_type(dtype: Any) -> int:
    """The ONNX type by which the graph holds a dtype of JAX. Raises ConfigError: it holds none such."""
    from onnx import TensorProto

    types = {"float32": "FLOAT", "int32": "INT32", "uint32": "INT64", "bool": "BOOL"}
    if str(dtype) not in types:
        raise ConfigError(f"this model computes with {dtype}, which is not written as ONNX: export it as .stablehlo")
    return int(TensorProto.DataType.Value(types[str(dtype)]))


class Graph:
    """Nodes of one graph; bodies of loops are graphs within it, which share its names and constants."""

    def __init__(self, rules: dict[str, Rule], elementwise: frozenset[str]) -> None:
        """Args:
        rules: by the name of the operation of JAX.
        elementwise: operations whose rules let ONNX broadcast their values to one another.
        """
        self.nodes: list[Any] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}
        self._rules, self._elementwise = rules, elementwise
        self._batch: str | None = None
        self._numbers: Iterator[int] = count()
        # Names of values that are still to be expanded to their shape, should anybody but ONNX's own broadcasting care.
        self._narrow: dict[str, Sequence[Any]] = {}

    def within(self) -> "Graph":
        """A graph for the body of a loop: nodes of its own, and all else in common."""
        inner = copy(self)
        inner.nodes = []
        return inner

    def fresh(self) -> str:
        """A name that nothing has."""
        return f"v{next(self._numbers)}"

    def add(self, operation: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Any:
        """A node; returns the name of its output, or of several outputs a list."""
        from onnx.helper import make_node

        names = [self.fresh() for _ in range(outputs)]
        self.nodes.append(make_node(operation, [self.name(value) for value in inputs], names, **attributes))
        return names[0] if outputs == 1 else names

    def give(self, value: Value, name: str) -> None:
        """Lets a value be the graph's output of this name."""
        from onnx.helper import make_node

        self.nodes.append(make_node("Identity", [self.name(value)], [name]))

    def name(self, value: Value) -> str:
        """The name of a value; one that is known becomes a constant."""
        if isinstance(value, str):
            return value
        from onnx.numpy_helper import from_array

        array = np.asarray(value, np.int64) if value.dtype == np.uint32 else np.asarray(value)
        element_type("uint32" if array.dtype == np.int64 else array.dtype)
        key = str(array.dtype), array.shape, array.tobytes()
        if key not in self.constants:
            # Not through ascontiguousarray, which would give a scalar an axis.
            self.constants[key] = from_array(array.copy(order="C"), self.fresh())
        return str(self.constants[key].name)

    def stored(self, array: NDArray[Any]) -> str:
        """The name of a constant that is kept as it is: of a type in which nothing is computed, such as bfloat16."""
        from onnx import TensorProto
        from onnx.helper import make_tensor

        key = str(array.dtype), array.shape, array.tobytes()
        if key not in self.constants:
            kind = TensorProto.DataType.Value(_STORED[key[0]])
            self.constants[key] = make_tensor(self.fresh(), kind, array.shape, key[2], raw=True)
        return str(self.constants[key].name)

    def let_batch(self, name: str) -> None:
        """The size of the batch is the first size of this array."""
        self._batch = self.add("Shape", name, start=0, end=1)

    def sizes(self, shape: Sequence[Any]) -> Value:
        """A shape as int64 [rank]."""
        if all(isinstance(size, int) for size in shape):
            return np.array(shape, np.int64)
        return str(self.add("Concat", *(self._size(size) for size in shape), axis=0))

    def _size(self, size: Any) -> Value:
        if isinstance(size, int):
            return np.array([size], np.int64)
        if not (found := _MULTIPLE.match(str(size))) or self._batch is None:
            raise ConfigError(f"this model has arrays of size {size}, which ONNX cannot: export it as .stablehlo")
        factor = int(found[1] or 1)
        return self._batch if factor == 1 else str(self.add("Mul", self._batch, np.array([factor], np.int64)))

    def reshaped(self, value: Value, shape: Sequence[Any]) -> Value:
        """Of as many numbers in another shape, at most one of whose sizes is unknown."""
        static = [size if isinstance(size, int) else -1 for size in shape]
        if static.count(-1) > 1:
            raise ConfigError(f"this model has an array of shape {list(shape)}, which ONNX cannot: use .stablehlo")
        return str(self.add("Reshape", value, np.array(static, np.int64)))

    def let_narrow(self, name: str, shape: Sequence[Any]) -> str:
        """The same value, of which is known that it is to be broadcast to this shape, of the same rank."""
        self._narrow[name] = shape
        return name

    def _wide(self, value: Value) -> Value:
        if not isinstance(value, str) or value not in self._narrow:
            return value
        return str(self.add("Expand", value, self.sizes(self._narrow[value])))

    def write(self, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
        """Writes the equations of a jaxpr; returns what it gives.

        Raises:
          ConfigError: an operation that has no rule.
        """
        values: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, constants), strict=True))
        values |= dict(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Value:
            return np.asarray(atom.val, atom.aval.dtype) if hasattr(atom, "val") else values[atom]

        for eqn in jaxpr.eqns:
            given = [read(atom) for atom in eqn.invars]
            if _is_folded(eqn, given):
                made = eqn.primitive.bind(*given, **eqn.params)
                results: list[Value] = list(map(np.asarray, made if eqn.primitive.multiple_results else [made]))
            else:
                if (rule := self._rules.get(eqn.primitive.name)) is None:
                    raise ConfigError(
                        f"this model uses the operation {eqn.primitive.name!r} of JAX, which is not written as ONNX: "
                        "export it as .stablehlo"
                    )
                if eqn.primitive.name not in self._elementwise or not self._some_wide(eqn, given):
                    given = [self._wide(value) for value in given]
                results = list(rule(self, eqn, *given))
            values |= dict(zip(eqn.outvars, results, strict=True))
        return [self._wide(read(atom)) for atom in jaxpr.outvars]

    def _some_wide(self, eqn: Any, given: Sequence[Value]) -> bool:
        """Whether a value has the shape of the result already, so that others need not be expanded to it."""
        shape = eqn.outvars[0].aval.shape
        return any(
            atom.aval.shape == shape and not (isinstance(value, str) and value in self._narrow)
            for atom, value in zip(eqn.invars, given, strict=True)
        )


def _is_folded(eqn: Any, given: Sequence[Value]) -> bool:
    """Whether an equation is computed here and now: all is known, and nothing large comes of it."""
    if any(isinstance(value, str) for value in given) or eqn.primitive.name == "optimization_barrier":
        return False
    if any(hasattr(value, "eqns") or hasattr(value, "jaxpr") for value in eqn.params.values()):
        return False  # its own equations are looked at one by one
    shapes = [variable.aval.shape for variable in eqn.outvars]
    if not all(isinstance(size, int) for shape in shapes for size in shape) or eqn.primitive.name == "dim_as_value":
        return False
    most = max([_MOST_FOLDED, *(value.size for value in given if isinstance(value, np.ndarray))])
    return all(int(np.prod(shape)) <= most for shape in shapes)
