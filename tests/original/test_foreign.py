"""Weights as others leave them: other names, wrappers, folders, and what says how they were trained."""

import dataclasses
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from trm_jax.commands.cli import main
from trm_jax.config import Experiment, ModelConfig
from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.model.model import Model
from trm_jax.original import convert, original
from trm_jax.original.unpacked import predictions_among, predictions_in, state_dict_in
from trm_jax.runs.checkpoint import load

TINY = ModelConfig(
    vocab_size=6, seq_len=16, num_puzzles=1, width=8, heads=2, expansion=1.0, layers=1, mixer="mlp", positions="none",
    puzzle_dim=8, puzzle_tokens=2, latent_steps=4, dtype="float32",
)  # fmt: skip
YAML = """
arch:
  H_cycles: 3
  H_layers: 0
  L_cycles: 4
  L_layers: 1
  expansion: 1
  forward_dtype: float32
  halt_exploration_prob: 0.1
  halt_max_steps: 16
  hidden_size: 8
  loss:
    loss_type: stablemax_cross_entropy
    name: losses@ACTLossHead
  mlp_t: true
  name: recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1
  no_ACT_continue: true
  num_heads: 2
  pos_encodings: none
  puzzle_emb_len: 2
  puzzle_emb_ndim: 8
data_paths:
- data/sudoku-4x4-aug-1000
lr: 0.0001
"""


def tensors(**changes: Any) -> dict[str, np.ndarray]:
    like = jax.eval_shape(Model(dataclasses.replace(TINY, **changes)).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    return {n: rng.standard_normal(shape).astype(np.float32) for n, shape in original.export_shapes(like).items()}


def like() -> Any:
    return jax.eval_shape(Model(TINY).init, jax.random.key(0))


NAMINGS = {
    "compiled": lambda name: "_orig_mod." + name,
    "data parallel": lambda name: "module." + name,
    "compiled within": lambda name: name.replace("model.", "model._orig_mod."),
    "both, in parts": lambda name: (
        "module." + name.replace("inner.", "inner._orig_mod.").replace("mlp.", "module.mlp.")
    ),
    "without the head of losses": lambda name: name.removeprefix("model."),
    "the network alone": lambda name: name.removeprefix("model.inner."),
    "the network alone, compiled": lambda name: "_orig_mod." + name.removeprefix("model.inner."),
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_names_of_any_wrapping_are_read(naming: str) -> None:
    arrays = tensors()
    named = {NAMINGS[naming](name): array for name, array in arrays.items()}

    found = original.export_weights(original.import_weights(like(), named))

    assert set(named) != set(arrays)
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in arrays.items()}


def test_names_that_become_one_are_told() -> None:
    arrays = tensors()
    twice = arrays | {f"module.{original.PREFIX}H_init": arrays[original.PREFIX + "H_init"]}
    with pytest.raises(CheckpointError, match=r"two tensors are 'model.inner.H_init' but for what wraps their names"):
        original.import_weights(like(), twice)


@pytest.mark.parametrize("order", [("model", "optimizers", "step"), ("step", "optimizers", "model")])
def test_the_state_dict_of_a_training_state_is_found(order: tuple[str, ...], tmp_path: Path) -> None:
    arrays = tensors()
    whole: dict[str, Any] = {"model": arrays, "optimizers": [{"state": {0: arrays}}], "step": 7}
    assert state_dict_in({name: whole[name] for name in order}, np.ndarray, tmp_path) is arrays
    assert state_dict_in(arrays, np.ndarray, tmp_path) is arrays
    with pytest.raises(CheckpointError, match="holds several sets of weights, 'model', 'ema': save the one"):
        state_dict_in({"model": arrays, "ema": arrays}, np.ndarray, tmp_path)


def test_predictions_are_told_from_weights(tmp_path: Path) -> None:
    path = tmp_path / "step_10_all_preds.safetensors"
    save_file({"inputs": np.ones((2, 16), np.int32), "logits": np.ones((2, 16, 6), np.float32)}, path)
    with pytest.raises(CheckpointError, match=r"holds predictions \(inputs, logits\), not weights: give the file of"):
        convert.import_checkpoint(path, tmp_path / "out", Experiment(model=TINY))
    assert predictions_among(tensors()) == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"no weights\n", "text"),
        ("Gewichte für später".encode(), "text"),
        (b'{"model": 1}', "text"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
        (b"%PDF-1.4", "a PDF"),
        (b"\x1f\x8b\x08", "a gzipped file, which has to be unpacked first"),
        (b"\x93NUMPY\x01\0", "an array of NumPy"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "what Git LFS keeps in place of a file, which `git lfs pull`",
        ),
        (b"\0\1\2\xff" * 9, "damaged, or of another form"),
    ],
)
def test_what_holds_no_weights_is_told_by_its_bytes(content: bytes, told: str, tmp_path: Path) -> None:
    """Whether PyTorch is there or not."""
    for name in ("step_1", "step_1.pt", "step_1.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            convert.import_checkpoint(tmp_path / name, tmp_path / "ours", Experiment(model=TINY))
        begin = (
            "not a readable .safetensors file: "
            if name.endswith("s")
            else "not a state dict as torch.save writes it, but "
        )
        assert str(caught.value).startswith(f"{tmp_path / name}: {begin}{told}")
        assert "\n" not in str(caught.value)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "/", 1).replace("_", "."), content)
    return path


def test_files_of_torch_are_told_whatever_their_name(tmp_path: Path) -> None:
    path = tmp_path / "step_1.safetensors"
    told = "not a readable .safetensors file: it is one of torch.save: give it a name that ends in .pt, and bring it in"
    for old in (True, False):
        path.write_bytes(b"\x80\x02}q\0.")
        if not old:
            archive(path, step_data_pkl=b"\x80\x02}q\0.")
        with pytest.raises(CheckpointError) as caught:
            convert.read_state_dict(path)
        assert str(caught.value) == f"{path}: {told} by `trm convert`"
    archive(path, word_document_xml=b"x")
    with pytest.raises(CheckpointError, match=r"not a readable \.safetensors file: an archive of other files"):
        convert.read_state_dict(path)


def test_archives_that_hold_no_weights_are_told_by_their_members(tmp_path: Path) -> None:
    for members, told in (
        ({"word_document_xml": b"x"}, "not a state dict as torch.save writes it, but an archive of other files"),
        ({"a_b_npy": b"x"}, "not a state dict as torch.save writes it, but arrays of NumPy"),
        (
            {"step_data_pkl": b"\x80\x02}X\x06\0\0\0logitsX\x05\0\0\0preds."},
            r"holds predictions \(logits, preds\), not weights: give the file of the step itself",
        ),
    ):
        with pytest.raises(CheckpointError, match=told):
            convert.read_state_dict(archive(tmp_path / "step_1", **members))
    path = archive(tmp_path / "step_1", step_data_pkl=b"\x80\x02}X\x06\0\0\0logitsX\x0e\0\0\0lm_head.weight.")
    assert predictions_in(path) == ""


def test_safetensors_are_read_under_any_name(tmp_path: Path) -> None:
    arrays = tensors()
    save_file(arrays, tmp_path / "step_1")
    found = convert.read_state_dict(tmp_path / "step_1")
    assert {name: array.tobytes() for name, array in found.items()} == {n: a.tobytes() for n, a in arrays.items()}


def test_a_folder_without_a_step_names_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    (tmp_path / "step_99_all_preds.0").touch()
    told = "no checkpoint of ours, and no step_N: name the file of weights, of model.safetensors, step_99_all_preds.0$"
    with pytest.raises(CheckpointError, match=told):
        convert.convert(tmp_path, tmp_path / "ours", Experiment(model=TINY))


def leave(folder: Path, *steps: int, yaml: str = YAML) -> Path:
    """A folder of the original's."""
    folder.mkdir()
    for step in steps:
        save_file(tensors() | {original.TABLE: np.full((1, 8), step, np.float32)}, folder / f"step_{step}.safetensors")
    (folder / "step_99_all_preds.0").write_text("no weights")
    if yaml:
        (folder / "all_config.yaml").write_text(yaml)
    return folder


def test_a_folder_of_the_original_is_its_newest_step_as_its_yaml_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = leave(tmp_path / "theirs", 9, 10)

    assert main(["convert", str(folder), str(tmp_path / "ours")]) == 0

    experiment, weights = load(tmp_path / "ours")
    assert experiment.model == TINY
    assert experiment.data.puzzle == "sudoku"
    assert (np.asarray(weights.puzzle_table) == 10).all()
    told = capsys.readouterr().out
    assert told.endswith(f"from {folder / 'step_10.safetensors'}, as {folder / 'all_config.yaml'} describes them\n")


def test_an_experiment_that_differs_from_the_yaml_is_refused_with_every_difference(tmp_path: Path) -> None:
    folder = leave(tmp_path / "theirs", 1)
    source = folder / "step_1.safetensors"
    other = Experiment(model=dataclasses.replace(TINY, latent_steps=6, cycles=2, heads=4, exploration=0.5))
    with pytest.raises(ConfigError) as caught:
        convert.import_checkpoint(source, tmp_path / "ours", other)
    assert str(caught.value) == (
        f"{source}: trained otherwise than the experiment says, by {folder / 'all_config.yaml'}: "
        "config.model.latent_steps = 6, there 4; config.model.cycles = 2, there 3: "
        "set these as there, or leave --config out"
    )
    assert not (tmp_path / "ours").exists()
    convert.import_checkpoint(source, tmp_path / "ours", Experiment("mine", TINY))
    assert load(tmp_path / "ours")[0].name == "mine"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("arch: [", "not readable as YAML"),
        ("arch: !!python/object/apply:os.system ['touch run']", "not readable as YAML"),
        ("3", "has no arch with a name"),
        ("arch: {name: models.other@Net}", "arch.name 'models.other@Net' is none of trm, trm_singlez"),
        ("arch: {name: recursive_reasoning.trm@X}", "lacks the key 'hidden_size': give --config"),
        (YAML.replace("hidden_size: 8", "hidden_size: wide"), "give --config"),
        (" " * (1 << 21), "it has more than"),
    ],
)
def test_a_yaml_that_says_nothing_is_told(yaml: str, message: str, tmp_path: Path) -> None:
    folder = leave(tmp_path / "theirs", 1, yaml=yaml)
    with pytest.raises((CheckpointError, ConfigError), match=message) as caught:
        convert.import_checkpoint(folder / "step_1.safetensors", tmp_path / "ours", None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("name", "vocab_size", "expected"),
    [
        ("data/sudoku-extreme-1k-aug-1000", 11, ("sudoku", 81)),
        ("data/arc1concept-aug-1000", 12, ("arc", 900)),
        ("data/maze-30x30-hard-1k", 6, ("maze", 900)),
        ("data/maze-hard", 6, ("maze", 0)),
        ("data/arc-like-sudoku", 5, ("", 0)),
        ("data/mine", 11, ("", 0)),
    ],
)
def test_kind_and_cells_come_from_the_name_of_the_data_where_tokens_agree(
    name: str, vocab_size: int, expected: tuple[str, int], tmp_path: Path
) -> None:
    from trm_jax.original.all_config import read

    (tmp_path / "all_config.yaml").write_text(YAML.replace("data/sudoku-4x4-aug-1000", name))
    experiment = read(tmp_path / "all_config.yaml", vocab_size)
    assert (experiment.data.puzzle, experiment.model.seq_len) == expected


@pytest.mark.parametrize(
    ("changes", "overrides"),
    [
        ({"width": 16}, ["width=16"]),
        ({"width": 16, "layers": 2, "puzzle_dim": 24}, ["width=16", "puzzle_dim=24", "layers=2"]),
        ({"mixer": "attention", "positions": "rope"}, ["mixer=attention", "positions=rope"]),
        ({"puzzle_tokens": 3}, ["puzzle_tokens=3"]),
        ({"width": 512, "expansion": 4.0}, ["width=512", "expansion=4.0"]),
        ({"separate_networks": True, "answer_layers": 2}, ["separate_networks=True", "answer_layers=2"]),
    ],
)
def test_overrides_that_would_fit_are_named(changes: dict[str, Any], overrides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(tensors(**changes), path)
    with pytest.raises(CheckpointError, match="weights do not fit the model: ") as caught:
        convert.import_checkpoint(path, tmp_path / "ours", Experiment(model=TINY))
    _, _, named = str(caught.value).partition("; they would with ")
    assert sorted(named.split()) == sorted(f"--config.model.{override}" for override in overrides)
    convert.import_checkpoint(path, tmp_path / "ours", Experiment(model=dataclasses.replace(TINY, **changes)))


def test_where_nothing_would_fit_nothing_is_promised(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(tensors(width=16) | {"what.is.this": np.ones(3, np.float32)}, path)
    with pytest.raises(CheckpointError) as caught:
        convert.import_checkpoint(path, tmp_path / "ours", Experiment(model=TINY))
    assert "would with" not in str(caught.value)


def test_a_folder_is_not_called_like_a_file(tmp_path: Path) -> None:
    source = leave(tmp_path / "theirs", 1) / "step_1.safetensors"
    with pytest.raises(CheckpointError, match=r"ours.pt is called like a file, and would become a folder"):
        convert.import_checkpoint(source, tmp_path / "ours.pt", None)
