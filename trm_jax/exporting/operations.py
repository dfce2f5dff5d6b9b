"""What each operation of JAX becomes in an ONNX graph: RULES by name, for those that networks use. Opset 18."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trm_jax.errors import ConfigError
from trm_jax.exporting.graph import Graph, Rule, Value, element_type

_WORD = np.array(0xFFFFFFFF, np.int64)


def _dtype(atom: Any) -> str:
    return str(atom.aval.dtype)


def _cannot(eqn: Any, what: str) -> ConfigError:
    return ConfigError(
        f"this model uses the operation {eqn.primitive.name!r} of JAX {what}, which is not written as ONNX: export it "
        "as .stablehlo"
    )


def _longs(*numbers: int) -> Value:
    return np.array(numbers, np.int64)


def _named(operation: str, **attributes: Any) -> Rule:
    """The operation of the same meaning."""

    def rule(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
        made = graph.add(operation, *values, **attributes)
        # Sums and products of 32-bit words forget what is beyond.
        words = _dtype(eqn.outvars[0]) == "uint32" and operation in ("Add", "Mul")
        return [graph.add("BitwiseAnd", made, _WORD) if words else made]

    return rule


def _logical(name: str) -> Rule:
    """And, Or, Xor: of truth values, or bit by bit."""

    def rule(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
        return [graph.add(name if _dtype(eqn.outvars[0]) == "bool" else f"Bitwise{name}", *values)]

    return rule


def _not(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    if _dtype(eqn.outvars[0]) != "bool":
        raise _cannot(eqn, "on whole numbers")
    return [graph.add("Not", value)]


def _unequal(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
    return [graph.add("Not", graph.add("Equal", *values))]


def _inverse_root(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.add("Reciprocal", graph.add("Sqrt", value))]


def _square(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.add("Mul", value, value)]


def _integer_power(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.add("Pow", value, np.array(eqn.params["y"], _dtype(eqn.invars[0])))]


def _select(graph: Graph, eqn: Any, which: Value, *cases: Value) -> list[Value]:
    if _dtype(eqn.invars[0]) != "bool":
        raise _cannot(eqn, "with more than two cases")
    if _dtype(eqn.outvars[0]) != "bool":
        return [graph.add("Where", which, cases[1], cases[0])]
    # ONNX Runtime has no choice between truth values.
    others = graph.add("And", graph.add("Not", which), cases[0])
    return [graph.add("Or", graph.add("And", which, cases[1]), others)]


def _shift(operation: str) -> Rule:
    """Of 32-bit words, by a known number of bits: a product with a power of two, or a quotient."""

    def rule(graph: Graph, eqn: Any, value: Value, bits: Value) -> list[Value]:
        if isinstance(bits, str) or _dtype(eqn.invars[0]) != "uint32":
            raise _cannot(eqn, "on other than words, or by a number that is not known")
        shifted = graph.add(operation, value, np.left_shift(np.int64(1), bits.astype(np.int64)))
        return [graph.add("BitwiseAnd", shifted, _WORD) if operation == "Mul" else shifted]

    return rule


def _convert(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    old, new = _dtype(eqn.invars[0]), _dtype(eqn.outvars[0])
    cast = graph.add("Cast", value, to=element_type(new))
    return [graph.add("BitwiseAnd", cast, _WORD) if (old, new) == ("int32", "uint32") else cast]


def _reduce(operation: str) -> Rule:
    """Over axes; of truth values by way of whole numbers."""

    def rule(graph: Graph, eqn: Any, value: Value) -> list[Value]:
        truth = _dtype(eqn.invars[0]) == "bool"
        value = graph.add("Cast", value, to=element_type("int32")) if truth else value
        made = graph.add(operation, value, _longs(*eqn.params["axes"]), keepdims=0)
        return [graph.add("Cast", made, to=element_type("bool")) if truth else made]

    return rule


def _arg(operation: str) -> Rule:
    """The first place of the largest or smallest."""

    def rule(graph: Graph, eqn: Any, value: Value) -> list[Value]:
        if _dtype(eqn.invars[0]) == "bool":
            value = graph.add("Cast", value, to=element_type("int32"))
        place = graph.add(operation, value, axis=eqn.params["axes"][0], keepdims=0)
        return [graph.add("Cast", place, to=element_type(_dtype(eqn.outvars[0])))]

    return rule


def _cumulative_sum(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.add("CumSum", value, np.array(eqn.params["axis"], np.int64), reverse=int(eqn.params["reverse"]))]


def _broadcast(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    shape, places = eqn.params["shape"], eqn.params["broadcast_dimensions"]
    given = eqn.invars[0].aval.shape
    if new := [axis for axis in range(len(shape)) if axis not in places]:
        value = graph.add("Unsqueeze", value, _longs(*new))
    filled = [given[places.index(axis)] if axis in places else 1 for axis in range(len(shape))]
    return [value if tuple(filled) == tuple(shape) else graph.let_narrow(graph.add("Identity", value), shape)]


def _reshape(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.reshaped(value, eqn.outvars[0].aval.shape)]


def _transpose(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    return [graph.add("Transpose", value, perm=eqn.params["permutation"])]


def _concatenate(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
    return [graph.add("Concat", *values, axis=eqn.params["dimension"])]


def _split(graph: Graph, eqn: Any, value: Value) -> Sequence[Value]:
    sizes = eqn.params["sizes"]
    made = graph.add("Split", value, _longs(*sizes), axis=eqn.params["axis"], outputs=len(sizes))
    return made if len(sizes) > 1 else [made]


def _slice(graph: Graph, eqn: Any, value: Value) -> list[Value]:
    shape, p = eqn.invars[0].aval.shape, eqn.params
    steps = p["strides"] or (1,) * len(shape)
    cuts = [
        (axis, *cut)
        for axis, (size, *cut) in enumerate(zip(shape, p["start_indices"], p["limit_indices"], steps, strict=True))
        if cut != [0, size, 1]
    ]
    if not cuts:
        return [value]
    axes, starts, ends, steps = zip(*cuts, strict=True)
    return [graph.add("Slice", value, _longs(*starts), _longs(*ends), _longs(*axes), _longs(*steps))]


def _pad(graph: Graph, eqn: Any, value: Value, filling: Value) -> list[Value]:
    low, high, between = zip(*eqn.params["padding_config"], strict=True)
    if any(between):
        raise _cannot(eqn, "between elements")
    return [graph.add("Pad", value, _longs(*low, *high), filling)]


def _count(graph: Graph, eqn: Any) -> list[Value]:
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    if not isinstance(shape[axis], int):
        raise _cannot(eqn, "over the batch")
    numbers = np.arange(shape[axis], dtype=_dtype(eqn.outvars[0]))
    narrow = numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return [graph.let_narrow(graph.add("Identity", narrow), shape)]


def _size(graph: Graph, eqn: Any) -> list[Value]:
    size = graph.add("Squeeze", graph.sizes([eqn.params["dim"]]), _longs(0))
    return [graph.add("Cast", size, to=element_type(_dtype(eqn.outvars[0])))]


def _gather(graph: Graph, eqn: Any, value: Value, places: Value) -> list[Value]:
    """Whole rows along one axis: those of given places, or so many from a known place on."""
    numbers, sizes = eqn.params["dimension_numbers"], list(eqn.params["slice_sizes"])
    shape, places_shape = eqn.invars[0].aval.shape, eqn.invars[1].aval.shape[:-1]
    if len(numbers.start_index_map) != 1 or numbers.operand_batching_dims:
        raise _cannot(eqn, "by several indices")
    (axis,) = numbers.start_index_map
    if any(size != sizes[i] for i, size in enumerate(shape) if i != axis):
        raise _cannot(eqn, "of parts")
    if not numbers.collapsed_slice_dims and not places_shape and not isinstance(places, str):
        first = int(places[0])
        return [graph.add("Slice", value, _longs(first), _longs(first + sizes[axis]), _longs(axis))]
    # Where ONNX puts the axes of the places: where the axis was.
    after = axis + len(places_shape)
    others = (*range(axis), *range(after, after + len(shape) - axis - 1))
    if numbers.collapsed_slice_dims != (axis,) or numbers.offset_dims != others:
        raise _cannot(eqn, "of parts, or in another order")
    return [graph.add("Gather", value, graph.reshaped(places, places_shape), axis=axis)]


def _one_axis(eqn: Any, shape: Sequence[Any], part: Sequence[Any], starts: Sequence[Value]) -> int:
    """The axis along which a part has one row, where along the others it has all."""
    axes = [axis for axis, (size, of_part) in enumerate(zip(shape, part, strict=True)) if size != of_part]
    if (
        len(axes) != 1
        or part[axes[0]] != 1
        or any(isinstance(start, str) or start != 0 for i, start in enumerate(starts) if i not in axes)
    ):
        raise _cannot(eqn, "for other than one row")
    return axes[0]


def _dynamic_slice(graph: Graph, eqn: Any, value: Value, *starts: Value) -> list[Value]:
    axis = _one_axis(eqn, eqn.invars[0].aval.shape, eqn.params["slice_sizes"], starts)
    return [graph.add("Gather", value, graph.reshaped(starts[axis], [1]), axis=axis)]


def _dynamic_update(graph: Graph, eqn: Any, value: Value, part: Value, *starts: Value) -> list[Value]:
    shape = eqn.invars[0].aval.shape
    axis = _one_axis(eqn, shape, eqn.invars[1].aval.shape, starts)
    rows = np.arange(shape[axis], dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    if _dtype(eqn.outvars[0]) == "bool":
        raise _cannot(eqn, "on truth values")
    return [graph.add("Where", graph.add("Equal", rows, starts[axis]), part, value)]


def _product(graph: Graph, eqn: Any, left: Value, right: Value) -> list[Value]:
    """A product of matrices: axes of both that are summed, that stay side by side, and that are of one alone."""
    (left_sum, right_sum), (left_same, right_same) = eqn.params["dimension_numbers"]
    left_shape, right_shape = (atom.aval.shape for atom in eqn.invars)
    if _dtype(eqn.outvars[0]) != "float32":
        raise _cannot(eqn, f"on {_dtype(eqn.outvars[0])}")
    left_own = [axis for axis in range(len(left_shape)) if axis not in (*left_sum, *left_same)]
    right_own = [axis for axis in range(len(right_shape)) if axis not in (*right_sum, *right_same)]

    def matrices(value: Value, shape: Sequence[Any], *groups: Sequence[int]) -> Value:
        """Transposed and reshaped so that each group of axes, those side by side apart, is one."""
        order = [axis for group in groups for axis in group]
        if order != sorted(order):
            value = graph.add("Transpose", value, perm=order)
        sizes = [*(shape[axis] for axis in groups[0]), *(_joined(shape, group) for group in groups[1:])]
        return value if len(sizes) == len(shape) else graph.reshaped(value, sizes)

    product = graph.add(
        "MatMul",
        matrices(left, left_shape, left_same, left_own, left_sum),
        matrices(right, right_shape, right_same, right_sum, right_own),
    )
    if len(left_own) == len(right_own) == 1:
        return [product]
    return [graph.reshaped(product, eqn.outvars[0].aval.shape)]


def _joined(shape: Sequence[Any], axes: Sequence[int]) -> Any:
    size: Any = 1
    for axis in axes:
        size = size * shape[axis]
    return size


def _barrier(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
    """What is known stays a constant of its own type, and what is computed of it is computed where the graph runs."""
    return [value if isinstance(value, str) else graph.stored(value) for value in values]


def _inline(graph: Graph, eqn: Any, *values: Value) -> list[Value]:
    """A function that is called: its equations, in place."""
    called = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    return graph.write(getattr(called, "jaxpr", called), getattr(called, "consts", ()), values)


def _while(graph: Graph, eqn: Any, *values: Value) -> Sequence[Value]:
    """Goes on as long as a condition holds, which is asked before each turn."""
    p = eqn.params
    asks, does = p["cond_nconsts"], p["body_nconsts"]
    of_condition, of_body, start = values[:asks], values[asks : asks + does], values[asks + does :]

    def holds(graph: Graph, carried: Sequence[Value]) -> Value:
        return graph.write(p["cond_jaxpr"].jaxpr, p["cond_jaxpr"].consts, [*of_condition, *carried])[0]

    def turn(inner: Graph, number: str, carried: Sequence[Value]) -> tuple[Value, Sequence[Value]]:
        after = inner.write(p["body_jaxpr"].jaxpr, p["body_jaxpr"].consts, [*of_body, *carried])
        return holds(inner, after), after

    return _loop(graph, "", holds(graph, start), start, [atom.aval for atom in eqn.invars[asks + does :]], [], turn)


def _scan(graph: Graph, eqn: Any, *values: Value) -> Sequence[Value]:
    """So many turns, each with a row of some arrays, and a row of others as its result."""
    p = eqn.params
    if p["reverse"]:
        raise _cannot(eqn, "from the last to the first")
    body = p["jaxpr"].jaxpr

    def alike(outside: Sequence[Any], inside: Sequence[Any]) -> int:
        return sum(len(o.aval.shape) == len(i.aval.shape) for o, i in zip(outside, inside, strict=True))

    # How many there are of each, versions of JAX tell by different names; rows have one axis less within.
    rows, goes_round = alike(eqn.invars, body.invars), alike(eqn.outvars, body.outvars)
    fixed = rows - goes_round
    constants, start, arrays = values[:fixed], values[fixed:rows], values[rows:]

    def turn(inner: Graph, number: str, carried: Sequence[Value]) -> tuple[Value, Sequence[Value]]:
        here = [inner.add("Gather", array, number, axis=0) for array in arrays]
        return np.array(True), inner.write(body, p["jaxpr"].consts, [*constants, *carried, *here])

    carried = [atom.aval for atom in eqn.invars[fixed:rows]]
    made = [atom.aval for atom in body.outvars[goes_round:]]
    return _loop(graph, np.array(p["length"], np.int64), np.array(True), start, carried, made, turn)


def _loop(
    graph: Graph,
    turns: Value,
    begins: Value,
    start: Sequence[Value],
    carried: Sequence[Any],
    made: Sequence[Any],
    turn: Any,
) -> Sequence[Value]:
    """A node "Loop": at most so many turns ("": no limit). carried, made: avals of what goes round, and of rows."""
    from onnx.helper import make_graph, make_tensor_value_info

    def info(name: str, aval: Any) -> Any:
        return make_tensor_value_info(name, element_type(aval.dtype), [_dimension(size) for size in aval.shape])

    inner = graph.within()
    number, condition, *names = (inner.fresh() for _ in range(2 + len(start)))
    goes_on, after = turn(inner, number, names)
    # What a body gives has to be made in it.
    outputs = [inner.add("Identity", value) for value in (goes_on, *after)]
    body = make_graph(
        inner.nodes,
        "body",
        [
            make_tensor_value_info(number, element_type("uint32"), []),
            make_tensor_value_info(condition, element_type("bool"), []),
            *map(info, names, carried),
        ],
        [make_tensor_value_info(outputs[0], element_type("bool"), []), *map(info, outputs[1:], [*carried, *made])],
    )
    results = graph.add("Loop", turns, begins, *start, outputs=len(after), body=body)
    return results if len(after) > 1 else [results]


def _dimension(size: Any) -> int | str:
    return size if isinstance(size, int) else str(size)


_ALIKE = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "div": "Div", "eq": "Equal", "erf": "Erf", "exp": "Exp",
    "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual", "log": "Log", "logistic": "Sigmoid",
    "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg", "pow": "Pow", "sign": "Sign", "sin": "Sin",
    "sqrt": "Sqrt", "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
_OF_ELEMENTS: dict[str, Rule] = {
    **{name: _named(operation) for name, operation in _ALIKE.items()},
    "and": _logical("And"),
    "convert_element_type": _convert,
    "integer_pow": _integer_power,
    "ne": _unequal,
    "not": _not,
    "or": _logical("Or"),
    "rem": _named("Mod", fmod=1),
    "rsqrt": _inverse_root,
    "select_n": _select,
    "shift_left": _shift("Mul"),
    "shift_right_logical": _shift("Div"),
    "square": _square,
    "xor": _logical("Xor"),
}
ELEMENTWISE = frozenset(_OF_ELEMENTS)
RULES: dict[str, Rule] = {
    **_OF_ELEMENTS,
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "cumsum": _cumulative_sum,
    "custom_jvp_call": _inline,
    "custom_vjp_call": _inline,
    "dim_as_value": _size,
    "dot_general": _product,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update,
    "gather": _gather,
    "iota": _count,
    "jit": _inline,
    "optimization_barrier": _barrier,
    "pad": _pad,
    "reduce_and": _reduce("ReduceMin"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_or": _reduce("ReduceMax"),
    "reduce_sum": _reduce("ReduceSum"),
    "reshape": _reshape,
    "scan": _scan,
    "slice": _slice,
    "split": _split,
    "squeeze": _reshape,
    "stop_gradient": _named("Identity"),
    "transpose": _transpose,
    "while": _while,
}
