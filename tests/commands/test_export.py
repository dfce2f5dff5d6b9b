"""`trm export` refuses in one line what it cannot write, before anything is computed."""

import pytest

import trm_jax as trm
from trm_jax.exporting import export as exporting
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
