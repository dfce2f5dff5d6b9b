"""`trm export` refuses in one line what it cannot write, before anything is computed."""

import os
from pathlib import Path

import jax.numpy as jnp
import pytest

import trm_jax as trm
from trm_jax.exporting import export as exporting
from trm_jax.exporting import operations
from trm_jax.library import export as library
from trm_jax.puzzles.kinds import kind_of


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sudoku-4x4", "model.onxx"], "model.onxx: give a file whose name ends in .stablehlo or .onnx"),
        (["sudoku-4x4", "model"], "model: give a file whose name ends in"),
        (["sudoku-4x4", "there.stablehlo"], "there.stablehlo exists already: give another name"),
        (["sudoku-4x4", "none/model.stablehlo"], "there is no folder none"),
        (["sudoku-4x5", "model.stablehlo"], "did you mean 'sudoku-4x4'?"),
        (["sudoku-4x4", "model.stablehlo", "--program=sovle"], "program 'sovle' is unknown: did you mean 'solve'?"),
        (["sudoku-4x4", "model.stablehlo", "--chains=4"], "chains are of the search of a model of candidates"),
        (["sudoku-extreme", "model.stablehlo", "--program=step", "--chains=4"], "chains are of the search"),
        (["sudoku-4x4", "model.stablehlo", "--steps=4"], "unknown option --steps"),
        (["sudoku-4x4", "model.stablehlo", "--weights=int5"], "weights 'int5' is unknown: did you mean 'int8'?"),
        (
            ["sudoku-4x4", "model.stablehlo", "--weights=bf16", "--calibrate"],
            "no scales to be calibrated: give int8 or",
        ),
        (["sudoku-4x4", "model.stablehlo", "--calibrate", "t.csv"], "weights 'float32' have no scales"),
        (["sudoku-4x4", "model.stablehlo", "--weights=int4", "--calibrate", "none.csv"], "none.csv"),
    ],
)
def test_bad_input_is_one_line(words, told, refusal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.stablehlo").write_bytes(b"mine")
    assert told in refusal("export", *words)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("there.stablehlo", b"mine")]


def test_what_does_not_fit_into_one_file_is_told(refusal, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_MOST_BYTES", 100_000)
    told = refusal("export", "sudoku-4x4", str(tmp_path / "model.stablehlo"))
    assert "weights of 496 kB with the puzzle table do not fit" in told


def test_a_search_whose_rules_are_not_units_is_told(tmp_path):
    """As of a puzzle of one's own, whose rules stand in a file of Python."""
    solver = trm.load("sudoku-extreme")
    solver.kind = kind_of("tokens", 81)
    with pytest.raises(trm.TrmError, match="the rules of 'tokens' are not of units alone: export the program 'step'"):
        trm.export(solver, tmp_path / "model.stablehlo")


def _tokens(monkeypatch):
    solver = trm.load("sudoku-extreme")
    solver.kind = kind_of("tokens", 81)
    return solver


def _too_large(monkeypatch):
    monkeypatch.setattr(exporting, "_MOST_BYTES", 10_000)
    return trm.load("sudoku-4x4")


def _without_rule(monkeypatch):
    monkeypatch.delitem(operations.RULES, "rsqrt")
    return trm.load("sudoku-4x4")


def _of_half(monkeypatch):
    """A network that computes with a type which ONNX files of ours have not."""
    solver = trm.load("sudoku-4x4")
    monkeypatch.setattr(
        exporting.attempting, "change_of", lambda before, after: jnp.zeros(after.y.shape[0], jnp.float16)
    )
    return solver


@pytest.mark.parametrize(
    ("model", "target", "told"),
    [
        (_tokens, "model.stablehlo", "the rules of 'tokens' are not of units alone: export the program 'step'"),
        (_too_large, "model.onnx", "with the puzzle table do not fit"),
        (_without_rule, "model.onnx", "the operation 'rsqrt' of JAX, which is not written as ONNX"),
        (_of_half, "model.onnx", "this model computes with float16"),
        (lambda _: trm.load("sudoku-4x4"), "none/model.onnx", "there is no folder .*none"),
        (lambda _: trm.load("sudoku-4x4"), "closed/model.onnx", "the folder may not be written to"),
    ],
)
def test_what_cannot_be_written_is_told_before_it_is_calibrated(model, target, told, tmp_path, monkeypatch):
    if target.endswith(".onnx"):
        pytest.importorskip("onnx")
    may = os.access
    (tmp_path / "closed").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and may(path, mode))

    def calibrated(*_, **__):
        pytest.fail("calibration has begun")

    monkeypatch.setattr(library, "calibrated", calibrated)
    with pytest.raises(trm.TrmError, match=told) as refusal:
        trm.export(model(monkeypatch), tmp_path / target, weights="int4", calibrate=True)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.rglob("*")] == ["closed"]
