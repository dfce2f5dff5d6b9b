"""A program as one ONNX file, for ONNX Runtime on any machine and in browsers. Needs the package onnx (extra `onnx`).

The file's metadata have `trm_jax`, `about.about` as JSON, and `sha256`, over all bytes before the entry of that name.
This entry is the last 76 bytes: a message of Protocol Buffers may be followed by more of its fields.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
from jax.export import symbolic_shape

from trm_jax.errors import CheckpointError, ConfigError, first_line
from trm_jax.exporting.graph import Graph, element_type
from trm_jax.exporting.operations import ELEMENTWISE, RULES
from trm_jax.exporting.program import BATCH, Port, Program

SUFFIX = ".onnx"
_OPSET, _IR_VERSION = 18, 9
_SAYS = "trm_jax"
# Before 64 hexadecimal digits, an entry of ModelProto.metadata_props: field 14, of 74 bytes; its key; its value.
_CHECKSUM = b"\x72\x4a\x0a\x06sha256\x12\x40"


def check_installed() -> None:
    """Raises ConfigError: the package onnx is missing, or a folder of that name stands in its way."""
    try:
        import onnx.checker  # noqa: F401
    except ImportError:
        raise ConfigError(f'{SUFFIX} needs onnx: pip install "trm_jax[onnx]"') from None


def to_bytes(program: Program, about: dict[str, Any]) -> bytes:
    """The file.

    Raises:
      ConfigError: the package onnx is missing; or the model uses an operation that has no form here, which it names.
    """
    check_installed()
    from onnx.checker import check_model
    from onnx.helper import make_graph, make_model, make_opsetid, set_model_props

    (batch,) = symbolic_shape(BATCH)
    specs = program.specs(batch)
    # A dictionary's values come to a jaxpr by the order of their names, going in and out.
    closed = jax.make_jaxpr(lambda inputs: program.function(**inputs))(specs)
    graph = Graph(RULES, ELEMENTWISE)
    graph.let_batch(next(port.name for port in program.inputs if port.shape[:1] == (BATCH,)))
    words = {port.name for port in program.inputs if port.dtype == "uint32"}
    inputs = [graph.add("Cast", name, to=element_type("uint32")) if name in words else name for name in sorted(specs)]
    for port, value in zip(
        sorted(program.outputs, key=lambda port: port.name),
        graph.write(closed.jaxpr, closed.consts, inputs),
        strict=True,
    ):
        graph.give(value, port.name)
    taken, given = ([_info(port) for port in ports] for ports in (program.inputs, program.outputs))
    model = make_model(
        make_graph(graph.nodes, program.name, taken, given, initializer=list(graph.constants.values())),
        opset_imports=[make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
        producer_name=about["made_by"],
    )
    set_model_props(model, {_SAYS: json.dumps(about)})
    check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data + _checksum(data)


def read(path: Path) -> tuple[dict[str, Any], bytes]:
    """The metadata of a file that `to_bytes` has made, and all its bytes, which onnxruntime.InferenceSession takes.

    Raises:
      CheckpointError: no such file, not one of these, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    end = len(data) - len(_checksum(b""))
    if end <= 0 or data[end:] != _checksum(data[:end]):
        raise CheckpointError(f"{path} is damaged, or no file that `trm export` has written: export the model anew")
    check_installed()
    from onnx import load_from_string

    try:
        props = {prop.key: prop.value for prop in load_from_string(data).metadata_props}
        return json.loads(props[_SAYS]), data
    except Exception as error:
        raise CheckpointError(f"{path}: not a readable {SUFFIX} file: {first_line(error)}") from error


def _checksum(data: bytes) -> bytes:
    return _CHECKSUM + sha256(data).hexdigest().encode()


def _info(port: Port) -> Any:
    from onnx import TensorProto
    from onnx.helper import make_tensor_value_info

    kind = TensorProto.UINT32 if port.dtype == "uint32" else element_type(port.dtype)
    return make_tensor_value_info(port.name, kind, port.shape)
