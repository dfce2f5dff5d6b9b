"""Weights of the original in and out: bit for bit, and every bad file is one clear line."""

import dataclasses
import json
import os
import struct
import sys
import zipfile
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from hostile import EDITS, assert_told, damaged, little_memory, read_or_told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from trm_jax.config import Experiment, ModelConfig
from trm_jax.errors import CheckpointError, ConfigError, TrmError
from trm_jax.model.model import Model
from trm_jax.original import convert, original
from trm_jax.runs import checkpoint, named_arrays
from trm_jax.runs.meta import Meta
from trm_jax.training.step import init_state

FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
TINY = ModelConfig(
    vocab_size=5,
    seq_len=4,
    num_puzzles=3,
    width=8,
    heads=2,
    expansion=1.0,
    layers=1,
    puzzle_dim=8,
    puzzle_tokens=2,
    dtype="float32",
)
VARIANTS = {
    "attention": {},
    "mlp": {"mixer": "mlp", "positions": "none"},
    "learned positions": {"positions": "learned"},
    "no puzzle table": {"puzzle_dim": 0, "puzzle_tokens": 0},
    "single z": {"states": "z"},
    "three z": {"latents": 3},
    "hrm": {"separate_networks": True, "answer_layers": 2},
    "transformer": {"states": "y", "layers": 2},
}
# The state dict of the original's TinyRecursiveReasoningModel_ACTV1 inside its loss head, as its own code
# builds it with mlp_t, hidden_size 8, expansion 1, one layer, 4 cells, 5 tokens, 3 puzzles, 2 puzzle tokens
# and puzzle_emb_ndim 8.
MLP_IN_THE_ORIGINAL = {
    "model.inner.H_init": (8,),
    "model.inner.L_init": (8,),
    "model.inner.embed_tokens.embedding_weight": (5, 8),
    "model.inner.lm_head.weight": (5, 8),
    "model.inner.q_head.weight": (2, 8),
    "model.inner.q_head.bias": (2,),
    "model.inner.puzzle_emb.weights": (3, 8),
    "model.inner.L_level.layers.0.mlp_t.gate_up_proj.weight": (512, 6),
    "model.inner.L_level.layers.0.mlp_t.down_proj.weight": (6, 256),
    "model.inner.L_level.layers.0.mlp.gate_up_proj.weight": (512, 8),
    "model.inner.L_level.layers.0.mlp.down_proj.weight": (8, 256),
}


def experiment_for(variant, **changes):
    return Experiment(name=variant, model=dataclasses.replace(TINY, **(VARIANTS[variant] | changes)))


def state_dict_for(variant):
    """Random tensors, not a fresh model's: what starts at zero would hide a mix-up."""
    like = jax.eval_shape(Model(experiment_for(variant).model).init, jax.random.key(0))
    rng = np.random.default_rng(0)
    shapes = original.export_shapes(like)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def assert_identical(a, b):
    assert set(a) == set(b)
    for name, array in a.items():
        assert (array.dtype, array.shape) == (b[name].dtype, b[name].shape), name
        assert array.tobytes() == b[name].tobytes(), name


@pytest.fixture(params=["safetensors", "torch"])
def suffix(request):
    if request.param == "torch":
        pytest.importorskip("torch", reason="PyTorch, an optional extra, is not installed")
        return ""
    return ".safetensors"


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch, an optional extra, is not installed")


@pytest.fixture
def mlp_file(tmp_path):
    path = tmp_path / "mlp.safetensors"
    save_file(state_dict_for("mlp"), path)
    return path


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("variant", VARIANTS)
def test_file_to_ours_to_file_is_exact(tmp_path, suffix, variant, compiled):
    arrays = state_dict_for(variant)
    prefix = "_orig_mod." if compiled else ""
    given = {prefix + name: array for name, array in arrays.items()}
    source, workdir, target = tmp_path / f"step_7{suffix}", tmp_path / "ours", tmp_path / f"out{suffix}"
    convert.write_state_dict(source, given)

    told = convert.convert(source, workdir, experiment_for(variant))
    size = sum(array.size for array in arrays.values())
    assert told == f"{workdir}: wrote {len(arrays)} tensors, {size:,} weights, from {source}"
    told = convert.convert(workdir, target, compiled=compiled)
    assert told == f"{target}: wrote {len(arrays)} tensors, {size:,} weights, from {workdir}"
    assert_identical(convert.read_state_dict(target), given)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "ours", target.name])


def test_ours_computes_with_the_given_weights(tmp_path, mlp_file):
    weights = convert.import_checkpoint(mlp_file, tmp_path / "ours", experiment_for("mlp"))
    experiment, loaded = checkpoint.load(tmp_path / "ours")
    assert experiment == experiment_for("mlp")
    assert named_arrays.fingerprint(loaded) == named_arrays.fingerprint(weights)


def test_names_and_shapes_are_the_originals():
    like = jax.eval_shape(Model(experiment_for("mlp").model).init, jax.random.key(0))
    assert original.export_shapes(like) == MLP_IN_THE_ORIGINAL


def test_torch_reads_what_is_exported(tmp_path, torch, mlp_file):
    convert.convert(mlp_file, tmp_path / "ours", experiment_for("mlp"))
    convert.convert(tmp_path / "ours", tmp_path / "step_1")
    loaded = torch.load(tmp_path / "step_1", weights_only=True)
    assert {name: tuple(tensor.shape) for name, tensor in loaded.items()} == MLP_IN_THE_ORIGINAL
    assert {tensor.dtype for tensor in loaded.values()} == {torch.float32}
    assert all(tensor.is_contiguous() for tensor in loaded.values())


def test_averaged_or_trained_weights_go_out(tmp_path):
    experiment = experiment_for("attention")
    state = jax.jit(init_state, static_argnums=0)(experiment)
    state = dataclasses.replace(state, ema=jax.tree.map(lambda w: w + 1, state.weights.params))
    with checkpoint.Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save(state, {}, Meta(experiment))
    name = "model.inner.lm_head.weight"
    kernel = np.asarray(state.weights.params["token_head"]["kernel"]).T
    for averaged, expected in ((True, kernel + 1), (False, kernel)):
        target = tmp_path / f"{averaged}.safetensors"
        convert.convert(tmp_path / "run", target, averaged=averaged)
        np.testing.assert_array_equal(convert.read_state_dict(target)[name], expected)


@pytest.mark.parametrize("variant", ["mlp", "learned positions"])
def test_sizes_that_are_left_open_come_from_the_tensors(tmp_path, variant):
    convert.write_state_dict(tmp_path / "w.safetensors", state_dict_for(variant))
    open_sizes = experiment_for(variant, vocab_size=0, seq_len=0, num_puzzles=0)
    convert.import_checkpoint(tmp_path / "w.safetensors", tmp_path / "ours", open_sizes)
    assert checkpoint.load(tmp_path / "ours")[0] == experiment_for(variant)


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("attention", {"seq_len": 0}, "set config.model.seq_len"),
        ("mlp", {"seq_len": 0, "puzzle_tokens": 6}, "6 puzzle tokens leave no cells of the 6 positions"),
    ],
)
def test_a_size_that_nothing_tells_is_asked_for(tmp_path, variant, changes, message):
    convert.write_state_dict(tmp_path / "w.safetensors", state_dict_for(variant))
    with pytest.raises(ConfigError, match=message):
        convert.import_checkpoint(tmp_path / "w.safetensors", tmp_path / "ours", experiment_for(variant, **changes))
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("embed_tokens.embedding_weight", None, "model.inner.embed_tokens.embedding_weight is missing"),
        ("embed_tokens.embedding_weight", np.zeros(4), r"embed_tokens.embedding_weight has shape \[4\]"),
        ("L_level.layers.0.mlp_t.gate_up_proj.weight", None, "mlp_t.gate_up_proj.weight is missing"),
    ],
)
def test_sizes_cannot_come_from_tensors_that_are_not_there(tmp_path, name, array, message):
    arrays = state_dict_for("mlp")
    del arrays["model.inner." + name]
    if array is not None:
        arrays["model.inner." + name] = array
    convert.write_state_dict(tmp_path / "w.safetensors", arrays)
    with pytest.raises(CheckpointError, match=message):
        convert.import_checkpoint(
            tmp_path / "w.safetensors", tmp_path / "ours", experiment_for("mlp", vocab_size=0, seq_len=0)
        )


def test_misfits_are_named_in_one_line(tmp_path, mlp_file):
    arrays = convert.read_state_dict(mlp_file)
    arrays["model.inner.surplus"] = np.zeros(1, np.float32)
    arrays["model.inner.lm_head.weight"] = np.zeros((5, 9), np.float32)
    del arrays["model.inner.q_head.bias"]
    bad = tmp_path / "bad.safetensors"
    convert.write_state_dict(bad, arrays)
    with pytest.raises(CheckpointError) as caught:
        convert.import_checkpoint(bad, tmp_path / "ours", experiment_for("mlp"))
    told = str(caught.value)
    assert told.startswith(f"{bad}: weights do not fit the model: ")
    assert "\n" not in told
    for clause in (
        "model.inner.lm_head.weight has shape [5, 9], the model [5, 8]",
        "model.inner.q_head.bias is missing",
        "model.inner.surplus is not part of the model",
    ):
        assert clause in told
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.nan, np.float32), (np.inf, np.float16), (-np.inf, ml_dtypes.bfloat16), (1e300, np.float64)],
)
def test_weights_that_are_no_numbers_are_told(tmp_path, value, dtype):
    """The last is one in its own dtype, and none in ours."""
    arrays, name = state_dict_for("mlp"), "model.inner.lm_head.weight"
    arrays[name] = arrays[name].astype(dtype)
    arrays[name][1, 2:4] = value
    source = tmp_path / "file.safetensors"
    save_file(arrays, source)
    message = rf"file.safetensors: weights that no model can use: {name} holds 2 of 40 values that are NaN or infinite:"

    with pytest.raises(CheckpointError, match=message):
        convert.import_checkpoint(source, tmp_path / "ours", experiment_for("mlp"))

    assert not (tmp_path / "ours").exists()


def test_a_file_needs_an_experiment(tmp_path, mlp_file):
    with pytest.raises(ConfigError, match="give --config="):
        convert.convert(mlp_file, tmp_path / "ours")
    for experiment in (None, experiment_for("mlp")):
        with pytest.raises(CheckpointError, match="no such file"):
            convert.convert(tmp_path / "absent", tmp_path / "ours", experiment)


def test_a_folder_without_a_checkpoint_is_told(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        convert.convert(tmp_path, tmp_path / "out.safetensors")


def test_an_experiment_for_a_checkpoint_that_has_one_is_refused(tmp_path, mlp_file):
    convert.convert(mlp_file, tmp_path / "ours", experiment_for("mlp"))
    with pytest.raises(ConfigError, match="a checkpoint of ours, which holds its experiment: leave out --config"):
        convert.convert(tmp_path / "ours", tmp_path / "step_1", experiment_for("mlp"))
    assert not (tmp_path / "step_1").exists()


def test_nothing_is_overwritten(tmp_path, mlp_file):
    before = mlp_file.read_bytes()
    with pytest.raises(CheckpointError, match="exists already"):
        convert.write_state_dict(mlp_file, state_dict_for("attention"))
    assert mlp_file.read_bytes() == before
    convert.convert(mlp_file, tmp_path / "ours", experiment_for("mlp"))
    # A file where the folder is to be, and a folder in use.
    for target in (mlp_file, tmp_path / "ours"):
        with pytest.raises(CheckpointError, match="holds checkpoints already, or is a file"):
            convert.convert(mlp_file, target, experiment_for("mlp"))


def test_a_failed_write_leaves_nothing_behind(tmp_path, monkeypatch, suffix):
    with pytest.raises(CheckpointError, match="cannot be written"):
        convert.write_state_dict(tmp_path / "absent" / f"w{suffix}", state_dict_for("mlp"))

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(convert.Path, "rename", full)
    with pytest.raises(CheckpointError, match="No space left"):
        convert.write_state_dict(tmp_path / f"w{suffix}", state_dict_for("mlp"))
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_becomes_float32(tmp_path, suffix):
    values = np.arange(-3, 3).astype(ml_dtypes.bfloat16).reshape(2, 3)
    if suffix:
        save_file({"w": values}, tmp_path / f"w{suffix}")
    else:
        torch = pytest.importorskip("torch", reason="PyTorch, an optional extra, is not installed")
        torch.save({"w": torch.tensor(values.astype(np.float32), dtype=torch.bfloat16)}, tmp_path / "w")
    read = convert.read_state_dict(tmp_path / f"w{suffix}")["w"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, values.astype(np.float32))


@pytest.mark.parametrize("length", [0, 1, 7, 8, 40, 400, 4000])
def test_truncated_files_are_told(tmp_path, suffix, length):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    convert.write_state_dict(whole, state_dict_for("mlp"))
    cut.write_bytes(whole.read_bytes()[:length])
    with pytest.raises(CheckpointError) as caught:
        convert.read_state_dict(cut)
    assert str(caught.value).startswith(f"{cut}: not a ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_files_are_told(tmp_path, suffix, seed):
    garbage = np.random.default_rng(seed).bytes(300)
    heads = (b"", b"\x80\x02", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{")
    path = tmp_path / f"garbage{suffix}"
    path.write_bytes(heads[seed % len(heads)] + garbage)
    with pytest.raises(CheckpointError) as caught:
        convert.read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_told(tmp_path, suffix):
    with pytest.raises(CheckpointError, match="no such file"):
        convert.read_state_dict(tmp_path / f"absent{suffix}")


class _Creates:
    """Whoever unpickles this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("form", ["plain pickle", "torch.save", "inside a state dict", "legacy torch.save"])
def test_code_in_a_pickle_is_never_run(tmp_path, torch, form):
    path, created = tmp_path / "step_1", tmp_path / "created"
    evil = _Creates(created)
    if form == "plain pickle":
        path.write_bytes(f"cbuiltins\nopen\n(V{created}\nVw\ntR.".encode())
    elif form == "inside a state dict":
        torch.save({"model.inner.H_init": torch.zeros(8), "model.inner.L_init": evil}, path)
    else:
        torch.save(evil, path, _use_new_zipfile_serialization=form == "torch.save")
    with pytest.raises(CheckpointError) as caught:
        convert.read_state_dict(path)
    assert ("but text" if form == "plain pickle" else "never unpickled") in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not created.exists()


def test_anything_but_a_flat_dict_is_told(tmp_path, torch):
    path = tmp_path / "step_1"
    tensor = torch.zeros(2)
    for content, message in (
        ({"model": {"w": tensor}}, "'model' is a dict: give a flat state dict"),
        ({"w": tensor, "step": 3}, "'step' is a int: give a flat state dict"),
        ({1: tensor}, "1 is a Tensor: give a flat state dict"),
        ([tensor], "holds a list, not a state dict"),
        (tensor, "holds a Tensor, not a state dict"),
        ({"w": tensor.to_sparse()}, "'w' is not a plain tensor"),
    ):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match=message) as caught:
            convert.read_state_dict(path)
        assert "\n" not in str(caught.value)


def test_a_zip_that_is_no_state_dict_is_told(tmp_path, torch):
    with zipfile.ZipFile(tmp_path / "step_1", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    with pytest.raises(CheckpointError, match=r"not a state dict as torch\.save writes it"):
        convert.read_state_dict(tmp_path / "step_1")


def test_without_torch_the_way_out_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with zipfile.ZipFile(tmp_path / "step_1", "w") as archive:
        archive.writestr("step_1/data.pkl", b"\x80\x02}X\x0e\0\0\0lm_head.weight.")
    for act in (
        lambda: convert.read_state_dict(tmp_path / "step_1"),
        lambda: convert.write_state_dict(tmp_path / "step_2", {}),
    ):
        with pytest.raises(TrmError, match=r'pip install "trm_jax\[torch\]", or give a .safetensors file'):
            act()
    assert not (tmp_path / "step_2").exists()


# --- .safetensors: content is checked where we wrote it, structure always


FEW = {
    "model.inner.H_init": np.arange(4, dtype=np.float32),
    "a": np.array([[1.5, -0.0], [np.inf, 3.25]], np.float64),
    "b": np.array([[True, False, True]]),
    "none": np.zeros((0, 3), np.float32),
    "one": np.array(7, np.float32),
}
CHECKSUM_OF_FEW = "f3eb3a8a9c3c0eaf1ede2c4dbb03c4542fed0bf659e5e63d3316e753e5e7530d"


def written(path: Path) -> bytes:
    convert.write_state_dict(path, FEW)
    return path.read_bytes()


def claim(header: object, data: bytes = b"") -> bytes:
    """A file with this header, and these bytes behind it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_every_flipped_bit_of_the_data_is_found(tmp_path):
    path = tmp_path / "w.safetensors"
    good = written(path)
    assert_identical(convert.read_state_dict(path), FEW)
    start = 8 + struct.unpack("<Q", good[:8])[0]
    assert len(good) - start == sum(array.nbytes for array in FEW.values()) == 55
    for place in range(start, len(good)):
        for bit in range(8):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
            load_file(path)  # which the format itself does not see
            with pytest.raises(CheckpointError, match="differs from what was written") as caught:
                convert.read_state_dict(path)
            assert_told(caught.value, path)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"one"', b'"two"'), (b'"F64"', b'"I64"'), (b"[2,2]", b"[4,1]"), (b"[1,3]", b"[3,1]"), (b"[4]", b"[4]")],
)
def test_names_dtypes_and_shapes_count_too(tmp_path, old, new):
    path = tmp_path / "w.safetensors"
    good = written(path)
    assert old in good
    path.write_bytes(good.replace(old, new))
    if old == new:
        assert_identical(convert.read_state_dict(path), FEW)
    else:
        with pytest.raises(CheckpointError, match="differs from what was written"):
            convert.read_state_dict(path)


def test_files_of_others_have_no_checksum_and_are_read(tmp_path):
    path = tmp_path / "w.safetensors"
    for metadata in (None, {"format": "pt"}):
        save_file(FEW, path, metadata)
        assert_identical(convert.read_state_dict(path), FEW)
    save_file(FEW, path, {"sha256": "0" * 64})
    with pytest.raises(CheckpointError, match="differs from what was written"):
        convert.read_state_dict(path)


def test_the_checksum_is_the_same_for_ever_and_in_either_byte_order(tmp_path):
    path = tmp_path / "w.safetensors"
    good = written(path)
    header = json.loads(good[8 : 8 + struct.unpack("<Q", good[:8])[0]])
    assert list(header["__metadata__"]) == ["sha256"]
    assert header["__metadata__"]["sha256"] == CHECKSUM_OF_FEW
    big = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in FEW.items()}
    convert.write_state_dict(tmp_path / "big.safetensors", big)
    assert_identical(convert.read_state_dict(tmp_path / "big.safetensors"), FEW)
    assert (tmp_path / "big.safetensors").read_bytes() == good


@FUZZ
@given(EDITS, st.none() | st.integers(0, 1 << 16), st.booleans())
def test_any_file_is_read_right_or_told(tmp_path, edits, cut, ours):
    path = tmp_path / "fuzzed.safetensors"
    if ours:
        good = written(tmp_path / "w.safetensors") if not (tmp_path / "w.safetensors").exists() else None
        good = good or (tmp_path / "w.safetensors").read_bytes()
    else:
        save_file(FEW, tmp_path / "theirs.safetensors")
        good = (tmp_path / "theirs.safetensors").read_bytes()
    content = damaged(good, edits, cut)
    path.write_bytes(content)
    arrays, told = read_or_told(lambda: convert.read_state_dict(path), CheckpointError)
    if told:
        assert_told(told, path)
    elif ours and b'"sha256"' in content:
        assert_identical(arrays, FEW)
    else:
        assert sum(array.nbytes for array in arrays.values()) <= len(content)


NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 8, -1, 2**31, 2**62, 2**64 - 1, 2**64, 250 * 10**9, 1e999, 0.5, None, "4"])


@FUZZ
@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "", "../x", "\n\x1b", "\ud800", "__metadata__", "x" * 300]),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "F32", "F64", "BF16", "F8_E4M3", "F4", "U8", "BOOL", "V9", 3]),
                "shape": st.lists(NUMBERS, max_size=3) | st.just(7),
                "data_offsets": st.lists(NUMBERS, min_size=2, max_size=2) | st.lists(NUMBERS, max_size=3),
            }
        )
        | st.dictionaries(st.sampled_from(["sha256", "dtype"]), st.text(max_size=3)),
        max_size=3,
    ),
    st.binary(max_size=40),
)
def test_any_header_is_read_right_or_told(tmp_path, header, data):
    path = tmp_path / "w.safetensors"
    path.write_bytes(claim(header, data))
    arrays, told = read_or_told(lambda: convert.read_state_dict(path), CheckpointError)
    if told:
        assert_told(told, path)
    else:
        assert sum(array.nbytes for array in arrays.values()) <= 2 * len(data)  # bfloat16 became float32


@pytest.mark.parametrize(
    "content",
    [
        claim({"a": {"dtype": "F32", "shape": [250 * 10**9], "data_offsets": [0, 10**12]}}),
        claim({"a": {"dtype": "F32", "shape": [1 << 62, 0], "data_offsets": [0, 0]}}, b"1234"),
        claim({"a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}}, b"1234"),
        struct.pack("<Q", 10**12) + b"{}",
        struct.pack("<Q", 1 << 63) + b"{}",
        struct.pack("<Q", 90_000_000) + b"{",
        claim(b'{"a":' * 100_000),
    ],
)
def test_a_claim_of_a_terabyte_takes_no_memory(tmp_path, content):
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with little_memory(), pytest.raises(CheckpointError) as caught:
        convert.read_state_dict(path)
    assert_told(caught.value, path)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.inner.embed_tokens.embedding_weight": np.zeros((0, 8), np.float32)},
        {"model.inner.puzzle_emb.weights": np.zeros((1 << 40, 0), np.float32)},
        {"model.inner.embed_tokens.embedding_weight": np.zeros((5, 8), np.int64)},
        {"model.inner.H_init": np.array(0, np.float32)},
        {"a\nb\x1b[2J": np.zeros(1, np.float32)},
        {"x" * 100_000: np.zeros(1, np.float32)},
        {f"other {i}": np.zeros(0, np.float32) for i in range(10_000)},
    ],
)
def test_tensors_that_no_model_has_are_told_in_a_line(tmp_path, changes):
    path = tmp_path / "w.safetensors"
    save_file(state_dict_for("mlp") | changes, path)
    experiment = experiment_for("mlp", vocab_size=0, seq_len=0, num_puzzles=0)
    with little_memory(1 << 30), pytest.raises(TrmError) as caught:
        convert.import_checkpoint(path, tmp_path / "ours", experiment)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 5_000
    assert not (tmp_path / "ours").exists()


# --- torch.save: what it never writes is refused


def test_a_compressed_archive_is_told(tmp_path, torch):
    torch.save({"w": torch.zeros(1_000)}, tmp_path / "good")
    with zipfile.ZipFile(tmp_path / "good") as good, zipfile.ZipFile(tmp_path / "bad", "w") as bad:
        for member in good.infolist():
            bad.writestr(member.filename, good.read(member), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="it is compressed") as caught:
        convert.read_state_dict(tmp_path / "bad")
    assert_told(caught.value, tmp_path / "bad")


def test_a_view_larger_than_the_file_is_told(tmp_path, torch):
    path = tmp_path / "step_1"
    tied = torch.arange(1_000.0)
    torch.save({"w": tied, "tied": tied}, path)
    assert_identical(convert.read_state_dict(path), dict.fromkeys(("w", "tied"), np.arange(1_000, dtype=np.float32)))
    for dtype in (torch.float32, torch.bfloat16):
        torch.save({"w": torch.zeros(1, dtype=dtype).expand(1 << 40)}, path)
        with pytest.raises(CheckpointError, match="'w' and those before it are larger than the file") as caught:
            convert.read_state_dict(path)
        assert_told(caught.value, path)


@pytest.mark.slow  # seconds, for torch takes 20 ms a file
@FUZZ
@given(EDITS, st.none() | st.integers(0, 1 << 16), st.booleans())
def test_any_torch_file_is_read_right_or_told(tmp_path, torch, edits, cut, legacy):
    path, good = tmp_path / "fuzzed", tmp_path / f"good{legacy}"
    if not good.exists():
        tensors = {"w": torch.arange(6.0).reshape(2, 3), "n": torch.arange(3)}
        torch.save(tensors, good, _use_new_zipfile_serialization=not legacy)
    path.write_bytes(damaged(good.read_bytes(), edits, cut))
    arrays, told = read_or_told(lambda: convert.read_state_dict(path), CheckpointError)
    if told:
        assert_told(told, path)
    else:
        assert sum(array.nbytes for array in arrays.values()) <= 4 * path.stat().st_size
