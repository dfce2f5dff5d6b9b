"""A model in one file comes back bit for bit, and what is not one, or no longer the one, is refused in one line."""

import json

import jax
import numpy as np
import pytest
import small_run
from places import ROOT
from safetensors import safe_open
from safetensors.numpy import save_file

from trm_jax.commands.cli import main
from trm_jax.errors import CheckpointError, StorageError
from trm_jax.model.estimate import estimate
from trm_jax.model.model import Model
from trm_jax.runs import shipped, weights_file
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.sources import load

LEDGER = ROOT / "benchmarks" / "results" / "ledger.jsonl"


@pytest.fixture(scope="module")
def model():
    experiment = small_run.experiment(model__vocab_size=6, model__seq_len=16, model__num_puzzles=1)
    return experiment, jax.jit(Model(experiment.model).init)(jax.random.key(3))


@pytest.fixture
def file(model, tmp_path):
    path = tmp_path / "model.safetensors"
    weights_file.write(path, *model)
    return path


def test_it_comes_back_bit_for_bit(model, file):
    experiment, weights = load(file)
    assert experiment == model[0]
    assert fingerprint(weights) == fingerprint(model[1])
    assert jax.tree.structure(weights) == jax.tree.structure(model[1])


def tampered(path, change):
    with safe_open(path, framework="numpy") as opened:
        metadata = opened.metadata()
        arrays = {name: opened.get_tensor(name).copy() for name in opened.keys()}  # noqa: SIM118
    change(arrays, metadata)
    save_file(arrays, path, metadata)


def one_bit(arrays, metadata):
    next(array for array in arrays.values() if array.size).view(np.uint8).flat[0] ^= 1


def no_experiment(arrays, metadata):
    del metadata["trm_jax"]


def later_format(arrays, metadata):
    metadata["trm_jax"] = json.dumps(json.loads(metadata["trm_jax"]) | {"format": 99})


def no_json(arrays, metadata):
    metadata["trm_jax"] = "[" * 100_000


def other_experiment(arrays, metadata):
    said = json.loads(metadata["trm_jax"])
    said["experiment"]["model"]["width"] *= 2
    metadata["trm_jax"] = json.dumps(said)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (one_bit, "is damaged: its weights do not add up"),
        (no_experiment, "weights without their experiment"),
        (later_format, "has format 99"),
        (no_json, "is damaged"),
        (other_experiment, "does not fit its own experiment"),
    ],
)
def test_what_was_changed_is_refused(file, change, told):
    tampered(file, change)
    with pytest.raises(CheckpointError, match=told) as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_half_a_file_and_none_are_refused(file):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"not a readable \.safetensors file"):
        load(file)
    with pytest.raises(CheckpointError, match="no such file"):
        weights_file.read(file.with_name("other.safetensors"))


def test_nothing_is_overwritten_or_left_half_written(model, file):
    before = file.read_bytes()
    with pytest.raises(CheckpointError, match="exists already"):
        weights_file.write(file, *model)
    with pytest.raises(StorageError, match="cannot be written"):
        weights_file.write(file.parent / "none" / "model.safetensors", *model)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_names_are_of_models_that_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="or the name of a model that ships: did you mean 'sudoku-ex"):
        load("sudoku-extrem")
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load("runs/none")
    # What lies there comes first.
    (tmp_path / "sudoku-extreme").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load("sudoku-extreme")


@pytest.mark.parametrize("name", shipped.names())
def test_a_card_tells_of_its_file(name, capsys):
    card = shipped.card(name)
    experiment, weights = load(name)
    assert fingerprint(weights) == card.sha256
    assert estimate(experiment).trained == card.weights
    assert card.bytes <= 2 * 1024**2
    assert all(figure.keys() >= {"what", "puzzles", "command", "ledger"} for figure in card.figures)
    # Every figure stands in the ledger, of these very weights.
    rows = {row["id"]: row for row in map(json.loads, LEDGER.read_text().splitlines())}
    assert card.figures
    assert all(rows[figure["ledger"]]["weights"] == card.sha256 for figure in card.figures)
    assert {"trained on", "command", "machine", "hours"} <= card.trained.keys()
    assert main(["models", name]) == 0
    assert card.sha256 in capsys.readouterr().out


def test_all_that_ship_are_listed_and_small(capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in shipped.names())
    assert "sudoku-extreme" in out
    assert sum(shipped.card(name).bytes for name in shipped.names()) <= 4 * 1024**2
    assert main(["models", "none"]) == 2
    assert "no model 'none'" in capsys.readouterr().err


def test_a_model_goes_out_by_convert(tmp_path, capsys):
    assert main(["convert", "sudoku-extreme", str(tmp_path / "out.safetensors"), "--own"]) == 0
    assert shipped.card("sudoku-extreme").sha256 in capsys.readouterr().out
    experiment, weights = load(tmp_path / "out.safetensors")
    assert experiment == load("sudoku-extreme")[0]
    assert fingerprint(weights) == shipped.card("sudoku-extreme").sha256
