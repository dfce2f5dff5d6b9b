"""A program as one file of StableHLO, by `jax.export`: for CPUs, CUDA and TPUs, and readable by JAX alone.

    bytes 0 to 7     TRMSHLO and a line end
    8 to 11          version of this layout, 1, an unsigned number, the lowest byte first
    12 to 15         length n of the metadata, likewise
    16 to 47         SHA-256 of all that follows
    48 to 47 + n     metadata: `about.about` as JSON
    the rest         what `jax.export.Exported.serialize` has written

Every input is an argument by name, the result a dictionary; the size of the batch is open.
"""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from trm_jax.errors import CheckpointError, ConfigError, first_line
from trm_jax.exporting.program import BATCH, Program

if TYPE_CHECKING:
    from jax.export import Exported

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")
_MAGIC, _VERSION = b"TRMSHLO\n", 1
_HEAD = struct.Struct("<8sII32s")


def check_installed() -> None:
    """Raises ConfigError: flatbuffers, by which JAX writes programs, is missing."""
    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise ConfigError(f'{SUFFIX} needs flatbuffers: pip install "trm_jax[stablehlo]"') from None


def to_bytes(program: Program, about: dict[str, Any]) -> bytes:
    """The file. Raises ConfigError: flatbuffers is missing."""
    check_installed()
    from jax.export import export, symbolic_shape

    (batch,) = symbolic_shape(BATCH)
    with _without_places():
        payload = export(jax.jit(program.function), platforms=PLATFORMS)(**program.specs(batch)).serialize()
    told = json.dumps(about).encode()
    body = told + bytes(payload)
    return _HEAD.pack(_MAGIC, _VERSION, len(told), sha256(body).digest()) + body


def read(path: Path) -> tuple[dict[str, Any], "Exported"]:
    """The metadata and the program of a file that `to_bytes` has made; `program.call(**inputs)` runs it.

    Raises:
      CheckpointError: no such file, not one of these, of an unknown version, or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) < _HEAD.size or not data.startswith(_MAGIC):
        raise CheckpointError(f"{path} is not a {SUFFIX} file that `trm export` has written, or less than its head")
    _, version, length, checksum = _HEAD.unpack_from(data)
    if version != _VERSION:
        raise CheckpointError(f"{path} has version {version}, and this package reads {_VERSION}: export the model anew")
    body = data[_HEAD.size :]
    if sha256(body).digest() != checksum or length > len(body):
        raise CheckpointError(f"{path} is damaged: it does not add up to its checksum: export the model anew")
    check_installed()
    from jax.export import deserialize

    try:
        return json.loads(body[:length]), deserialize(bytearray(body[length:]))
    except Exception as error:  # whatever JAX makes of a program that is newer than itself
        raise CheckpointError(f"{path}: this version of JAX cannot read it: {first_line(error)}") from error


@contextmanager
def _without_places() -> Iterator[None]:
    """Programs do not say in which files of this machine their operations stand."""
    name = "jax_traceback_in_locations_limit"
    before = getattr(jax.config, name)
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)
