"""Runs exported files of both forms alike: run(path)(**inputs) -> outputs by name, as NumPy arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trm_jax.exporting import onnx_file, stablehlo

FORMS = [".stablehlo", ".onnx"]


def needs(form: str) -> None:
    """Skips a test where what writes and runs this form is not installed."""
    if form == ".stablehlo":
        pytest.importorskip("flatbuffers", reason="JAX writes exported programs by flatbuffers (extra stablehlo)")
    else:
        pytest.importorskip("onnx", reason="ONNX is written by the package onnx (extra onnx)")
        pytest.importorskip("onnxruntime", reason="what is written as ONNX is run by onnxruntime (extra dev)")


def run(path: Path) -> Callable[..., dict[str, np.ndarray]]:
    if path.suffix == ".stablehlo":
        about, program = stablehlo.read(path)
    else:
        import onnxruntime

        about, data = onnx_file.read(path)
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    dtypes = {port["name"]: port["dtype"] for port in about["inputs"]}

    def call(**given) -> dict[str, np.ndarray]:
        inputs = {name: np.asarray(value, dtypes[name]) for name, value in given.items()}
        if path.suffix == ".stablehlo":
            return {name: np.asarray(value) for name, value in program.call(**inputs).items()}
        names = [port["name"] for port in about["outputs"]]
        return dict(zip(names, session.run(names, inputs), strict=True))

    return call
