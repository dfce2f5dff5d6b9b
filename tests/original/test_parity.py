"""Is this the original's model? Recordings of its computation pass, planted faults do not, damage is told.

tests/testdata holds three small recordings of the original's PyTorch code (float32, CPU; keys in
docs/parity.md): forward_mlp (evaluation and gradients of the mixer, zero-padded puzzle tokens), train_mlp
(optimiser steps 1 and 3 of the mixer, from coarsely rounded states) and train_attention (optimiser step 1). To
save space they leave out what is compared of some large tensors. Where a folder shared/parity lies beside the
repository, its recordings are checked as well.
"""

import io
import json
import os
import struct
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hostile import EDITS, assert_told, damaged, little_memory, read_or_told
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import SHARED, TESTDATA

from trm_jax.errors import DataError
from trm_jax.model import layers, losses, model
from trm_jax.model.mixers import attention, mlp
from trm_jax.original import parity, reenact
from trm_jax.original.original import experiment_of
from trm_jax.original.parity import Check, check_recording
from trm_jax.recursion import recursion
from trm_jax.training import optim, step

RECORDINGS = SHARED / "parity"
SMALL = sorted(TESTDATA.glob("*.npz"))
FUZZ = settings(
    max_examples=int(os.environ.get("TRM_FUZZ", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
# As in a recording of training.
CONFIG = {
    "batch_size": 6, "seq_len": 16, "puzzle_emb_ndim": 16, "num_puzzle_identifiers": 9, "vocab_size": 7, "H_cycles": 3,
    "L_cycles": 6, "H_layers": 1, "L_layers": 1, "hidden_size": 16, "expansion": 4, "num_heads": 1,
    "pos_encodings": "none", "halt_max_steps": 3, "halt_exploration_prob": 0.0, "forward_dtype": "float32",
    "mlp_t": True, "puzzle_emb_len": 4, "no_ACT_continue": True, "kind": "trm", "steps": 10, "lr": 0.02, "warmup": 4,
    "lr_min_ratio": 0.1, "weight_decay": 0.5, "puzzle_emb_lr": 0.02, "puzzle_emb_weight_decay": 0.5, "ema": 0.9,
    "num_batches": 3, "beta1": 0.9, "beta2": 0.95, "snapshots": [1, 3],
}  # fmt: skip
VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2**40)
    | st.floats()
    | st.sampled_from([10**400, -(10**400), "", "trm", "hrm", "x\n\x1b", "\ud800", [], [1], [0], [2**70], {}, {"a": 1}])
)
NOT_SHARED = pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings in {RECORDINGS}"), id="absent")


def failures(path: Path) -> list[Check]:
    return [check for check in check_recording(path) if not check.passed]


def test_the_small_recordings_are_there():
    assert [path.stem for path in SMALL] == ["forward_mlp", "train_attention", "train_mlp"]


# Attention's steps take twice as long as the MLP's; `make parity` has them too.
@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem == "train_attention")) for path in SMALL],
)
def test_small_recordings_pass(path):
    assert failures(path) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.npz")) or [NOT_SHARED], ids=lambda path: path.stem)
def test_shared_recordings_pass(path):
    assert failures(path) == []


# Planted faults: each a small function that breaks one thing, and the recordings that must then fail.


def norm_over_features_in_the_mixer(patch):
    patch.setattr(mlp, "rms_norm", lambda h, eps, axis=-1: layers.rms_norm(h, eps))


def interleaved_rotary(patch):
    def faulty(h_BLHC, cos_LC, sin_LC):
        half = cos_LC.shape[-1] // 2
        cos, sin = (jnp.repeat(table[:, :half], 2, axis=-1)[None, :, None] for table in (cos_LC, sin_LC))
        pairs = h_BLHC.reshape(*h_BLHC.shape[:-1], half, 2)
        turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], axis=-1).reshape(h_BLHC.shape)
        return h_BLHC * cos + turned * sin

    patch.setattr(attention, "rotate", faulty)


def gradient_through_one_cycle_more(patch):
    def faulty(nets, params, state, x_BLD, schedule):
        return recursion.recurse(nets, params, state, x_BLD, replace(schedule, grad_cycles=schedule.grad_cycles + 1))

    patch.setattr(model, "recurse", faulty)


def labels_of_the_incoming_batch(patch):
    refill, token_loss, correctness, incoming = step.refill, step.token_loss, step.correctness, []

    def remember(model, starts, carry, batch):
        incoming.append(batch.labels)
        return refill(model, starts, carry, batch)

    patch.setattr(step, "refill", remember)
    patch.setattr(step, "token_loss", lambda logits, labels, form: token_loss(logits, incoming[-1], form))
    patch.setattr(step, "correctness", lambda logits, labels: correctness(logits, incoming[-1]))


def softmax_for_stablemax(patch):
    patch.setattr(losses, "log_stablemax", jax.nn.log_softmax)


def q_head_from_the_mean(patch):
    read = model._Core.read

    def faulty(self, y_BLD):
        return read(self, y_BLD.at[:, 0].set(y_BLD.mean(axis=1)))

    def both(self, y_BLD):
        return read(self, y_BLD)._replace(
            **{name: getattr(faulty(self, y_BLD), name) for name in ("q_halt", "q_continue")}
        )

    patch.setattr(model._Core, "read", both)


def adam_with(patch, direction):
    """AdamATan2 with the right moments, whose step is `direction(w, m, v, rate, corrections, decay)`."""

    def faulty(learning_rate, beta1, beta2, weight_decay, form):
        right = optim.adam_atan2(learning_rate, beta1, beta2, weight_decay, form)

        def update(grads, state, params):
            _, new = right.update(grads, state, params)
            rate, corrections = learning_rate(new.steps), (1 - beta1**new.steps, 1 - beta2**new.steps)
            take = partial(direction, rate=rate, corrections=corrections, decay=weight_decay)
            return jax.tree.map(take, params, new.mu, new.nu), new

        return optax.GradientTransformation(right.init, update)

    patch.setattr(step, "adam_atan2", faulty)


def bias_correction_inside_the_atan2(patch):
    def direction(w, m, v, rate, corrections, decay):
        return -rate * (decay * w + jnp.arctan2(m / corrections[0], jnp.sqrt(v / corrections[1])))

    adam_with(patch, direction)


def bias_correction_inside_and_factor(patch):
    def direction(w, m, v, rate, corrections, decay):
        return -rate * (decay * w + 1.27 * jnp.arctan2(m / corrections[0], jnp.sqrt(v / corrections[1])))

    adam_with(patch, direction)


def weight_decay_after_the_step(patch):
    def direction(w, m, v, rate, corrections, decay):
        stepped = w - rate / corrections[0] * jnp.arctan2(m, jnp.sqrt(v / corrections[1]))
        return stepped * (1 - rate * decay) - w

    adam_with(patch, direction)


def no_weight_decay_of_vectors(patch):
    def direction(w, m, v, rate, corrections, decay):
        return -rate * (
            (decay if w.ndim > 1 else 0) * w + jnp.arctan2(m, jnp.sqrt(v / corrections[1])) / corrections[0]
        )

    adam_with(patch, direction)


def average_of_the_puzzle_table(patch):
    state_from, averaged_weights, before = reenact.Reenactment._state, reenact.averaged_weights, []

    def remember(self, *args):
        state = state_from(self, *args)
        before.append((state.weights.puzzle_table, self.experiment.optim.ema_decay))
        return state

    def faulty(state):
        weights = averaged_weights(state)
        old, decay = before[-1]
        return replace(weights, puzzle_table=decay * old + (1 - decay) * weights.puzzle_table)

    patch.setattr(reenact.Reenactment, "_state", remember)
    patch.setattr(reenact, "averaged_weights", faulty)


def decay_of_untouched_rows(patch):
    def faulty(table_NR, ids_B, grads_BR, rate, weight_decay, first):
        new = optim.sign_sgd_rows(table_NR, ids_B, grads_BR, rate, weight_decay, first)
        touched = jnp.zeros(len(table_NR), bool).at[ids_B].set(True)
        return jnp.where(touched[:, None], new, table_NR * (1 - rate * weight_decay))

    patch.setattr(step, "sign_sgd_rows", faulty)


def duplicate_rows_not_summed(patch):
    def faulty(table_NR, ids_B, grads_BR, rate, weight_decay, first):
        rows_BR = table_NR[ids_B] * (1 - rate * weight_decay) - rate * jnp.sign(grads_BR)
        return table_NR.at[ids_B].set(rows_BR)

    patch.setattr(step, "sign_sgd_rows", faulty)


# Each fault with a recording that has to catch it.
FAULTS = {
    norm_over_features_in_the_mixer: "forward_mlp",
    interleaved_rotary: "train_attention",
    gradient_through_one_cycle_more: "forward_mlp",
    # Only here do rows that go on with a puzzle meet another batch.
    labels_of_the_incoming_batch: "train_mlp",
    softmax_for_stablemax: "forward_mlp",
    q_head_from_the_mean: "forward_mlp",
    bias_correction_inside_the_atan2: "train_mlp",
    bias_correction_inside_and_factor: "train_mlp",
    weight_decay_after_the_step: "train_mlp",
    no_weight_decay_of_vectors: "train_mlp",
    average_of_the_puzzle_table: "train_mlp",
    decay_of_untouched_rows: "train_mlp",
    duplicate_rows_not_summed: "train_mlp",
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "recording"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_planted_fault_is_caught(monkeypatch, fault, recording):
    # What is caught was not hidden by anything compiled before: the checks compile their functions anew each time.
    fault(monkeypatch)
    assert failures(TESTDATA / f"{recording}.npz")


@pytest.mark.slow
@pytest.mark.parametrize("recording", ["train_attention", "train_mlp"])  # for forward_mlp see the test of nan
def test_no_fault_outlives_its_test(recording):
    assert failures(TESTDATA / f"{recording}.npz") == []


# Damage.


@pytest.fixture
def altered(tmp_path):
    """A function that copies a small recording with some arrays replaced (None: left out) and returns its path."""

    def alter(recording, changes):
        with np.load(TESTDATA / f"{recording}.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        arrays |= changes
        path = tmp_path / f"{recording}.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return alter


@pytest.mark.parametrize(
    ("recording", "key"),
    [
        ("forward_mlp", "config"),
        ("forward_mlp", "batch/labels"),
        ("forward_mlp", "eval/0/logits"),
        ("train_mlp", "batches/inputs"),
        ("train_mlp", "before/1/params/model.inner.H_init"),
    ],
)
def test_a_missing_key_is_named(altered, recording, key):
    path = altered(recording, {key: None})
    with pytest.raises(DataError, match=key.rpartition("/")[2]) as caught:
        check_recording(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))


BAD_CONFIGS = {
    "cut": "{",
    "list": "[]",
    "few keys": json.dumps({"kind": "trm"}),
    "kind": json.dumps({"kind": "lstm"}),
    "kinds": json.dumps(CONFIG | {"kind": ["trm"]}),
    "deep": "[" * 100_000,
    "digits": "9" * 5_000,
    "whole": json.dumps(CONFIG | {"seq_len": 10**400}),
    "float": json.dumps(CONFIG | {"lr": 10**400}),
    "nan": json.dumps(CONFIG | {"lr": float("nan")}),
    "snapshots": json.dumps(CONFIG | {"snapshots": 3}),
    "late": json.dumps(CONFIG | {"snapshots": [11]}),
    "batches": json.dumps(CONFIG | {"num_batches": 0}),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_a_bad_config_is_told(tmp_path, name):
    path = tmp_path / "bad.npz"
    np.savez(path, config=np.asarray(BAD_CONFIGS[name]))
    with pytest.raises(DataError, match=r"kind|config") as caught:
        check_recording(path)
    assert_told(caught.value, path)


@pytest.mark.parametrize("content", ["nothing", "text", "pickle", "half", "pickled array"])
def test_an_unreadable_file_is_told(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content == "pickled array":
        np.savez(path, config=np.asarray({"kind": "trm"}, dtype=object))
    else:
        whole = SMALL[0].read_bytes()
        contents = {"nothing": b"", "text": b"kind: trm", "pickle": b"\x80\x04}.", "half": whole[: len(whole) // 2]}
        path.write_bytes(contents[content])
    with pytest.raises(DataError) as caught:
        check_recording(path)
    assert str(caught.value).startswith(f"{path}: not a readable recording")
    assert "\n" not in str(caught.value)


LEVELS = {"config": np.asarray("{}"), "a/b": np.arange(6.0).reshape(2, 3), "eval/0/logits": np.zeros(3, np.int8)}


def packed(directory: Path, compressed: bool) -> bytes:
    path = directory / f"good{compressed}.npz"
    if not path.exists():
        (np.savez_compressed if compressed else np.savez)(path, **LEVELS)
    return path.read_bytes()


@FUZZ
@given(EDITS, st.none() | st.integers(0, 1 << 12), st.booleans())
def test_any_archive_is_read_right_or_told(tmp_path, edits, cut, compressed):
    path = tmp_path / "fuzzed.npz"
    path.write_bytes(damaged(packed(tmp_path, compressed), edits, cut))
    arrays, told = read_or_told(lambda: parity._load(path), DataError)
    if told:
        assert_told(told, path)
        assert edits or cut is not None
        return
    # zipfile checks sums of the content, not the names.
    good = {(array.dtype, array.shape, array.tobytes()) for array in LEVELS.values()}
    assert {(array.dtype, array.shape, array.tobytes()) for array in arrays.values()} <= good


def header_of(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HEADERS = st.builds(
    header_of,
    st.sampled_from(["'<f4'", "'|u1'", "'<U3'", "'|O'", "'V4'", "[('a', '<f4')]", "('<f4', (3,))", "'<M8[s]'", "7"]),
    st.lists(st.sampled_from([0, 1, 2, 4, -1, 2**31, 250 * 10**9, 2**63, 10**30, True, "1L"]), max_size=3).map(
        lambda shape: f"({''.join(f'{length}, ' for length in shape)})"
    ),
)


@FUZZ
@given(HEADERS, st.binary(max_size=16), st.sampled_from(["a.npy", "a", "../a.npy", "/a.npy", "config.npy"]))
def test_any_array_header_is_read_right_or_told(tmp_path, header, content, name):
    path = tmp_path / "fuzzed.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, header + content)
    arrays, told = read_or_told(lambda: parity._load(path), DataError)
    if told:
        assert_told(told, path)
    else:
        assert [array.tobytes() for array in arrays.values()] == [content]
        assert {array.dtype.kind for array in arrays.values()} <= set("biufU")
    assert [file.name for file in tmp_path.iterdir()] == ["fuzzed.npz"]


@pytest.mark.parametrize("what", ["header", "sizes", "bomb", "twins", "password", "method"])
def test_an_archive_that_claims_much_takes_no_memory(tmp_path, monkeypatch, what):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        if what == "header":
            archive.writestr("a.npy", header_of("'<f4'", "(250000000000,)") + bytes(100))
        elif what == "bomb":
            with archive.open("a.npy", "w") as file:
                file.write(header_of("'|u1'", f"({1 << 26},)"))
                for _ in range(64):
                    file.write(bytes(1 << 20))
        else:
            archive.writestr("a.npy", header_of("'<f4'", "(2,)") + bytes(8))
            if what == "twins":
                archive.writestr("a", header_of("'<f4'", "(2,)") + bytes(8))
    content = path.read_bytes()
    at = content.index(b"PK\x01\x02")
    if what == "sizes":
        content = content[: at + 20] + struct.pack("<II", 100, (1 << 31) - 1) + content[at + 28 :]
    if what == "password":
        content = content[: at + 8] + b"\x01" + content[at + 9 :]
        content = content[:6] + b"\x01" + content[7:]
    if what == "method":
        content = content[: at + 10] + b"\x63" + content[at + 11 :]
    path.write_bytes(content)
    monkeypatch.setattr(parity, "_LARGEST", 1 << 25)
    with little_memory(1 << 26), pytest.raises(DataError) as caught:
        parity._load(path)
    assert_told(caught.value, path)


@FUZZ
@given(EDITS, st.dictionaries(st.sampled_from(sorted(CONFIG)), VALUES, max_size=2), st.booleans())
def test_any_config_is_one_of_an_experiment_or_told(edits, changes, by_value):
    text = json.dumps(CONFIG | changes) if by_value else damaged(json.dumps(CONFIG).encode(), edits).decode("latin-1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "_load", lambda path: {"config": np.asarray(text)})
        patch.setattr(parity, "_single_steps", lambda *_: [])
        patch.setattr(parity, "_forward", lambda *_: [])
        patch.setattr(parity, "_whole_run", lambda *_: [])
        patch.setattr(parity, "Reenactment", lambda _, config: SimpleNamespace(experiment=experiment_of(config)))
        told = None
        try:
            assert check_recording(Path("recording.npz")) == []
        except DataError as error:
            told = error
    if told:
        assert_told(told, Path("recording.npz"))
        assert changes if by_value else edits


@pytest.mark.parametrize(
    ("recording", "changes"),
    [
        ("forward_mlp", {"batch/inputs": np.asarray(["a", "b"])}),
        ("forward_mlp", {"batch/inputs": np.zeros((6, 3), np.int32)}),
        ("forward_mlp", {"batch/puzzle_identifiers": np.zeros((6, 6), np.int32)}),
        ("train_mlp", {"batches/inputs": np.int32(3)}),
    ],
)
def test_arrays_that_do_not_go_together_are_told(altered, recording, changes):
    path = altered(recording, changes)
    with pytest.raises(DataError) as caught:
        check_recording(path)
    assert_told(caught.value, path)


def test_nan_in_a_recording_fails(altered):
    logits = np.zeros((6, 16, 7), np.float32)
    logits[0, 0, 0] = np.nan
    bad = failures(altered("forward_mlp", {"eval/0/logits": logits, "grad/0/loss": np.asarray(np.nan)}))
    assert [(check.quantity, np.isnan(check.error)) for check in bad] == [
        ("evaluation 1: logits", True),
        ("training 1: loss, its parts, accuracy", True),
    ]


def test_nan_in_ours_fails(monkeypatch):
    monkeypatch.setattr(losses, "log_stablemax", lambda logits: logits * jnp.nan)
    bad = failures(TESTDATA / "forward_mlp.npz")
    assert {"evaluation 1: loss, its parts, accuracy", "training 1: gradients"} <= {check.quantity for check in bad}


def test_run_prints_a_table_and_tells_whether_all_passed(tmp_path, monkeypatch):
    good, bad = Check("one", "step 1: q", 0.5, 1.0, "q_halt"), Check("two", "step 1: loss", np.nan, 1.0, "lm_loss")
    found = {"one": [good], "two": [good]}
    for name in found:
        (tmp_path / f"{name}.npz").touch()
    monkeypatch.setattr(parity, "check_recording", lambda path: found[path.stem])
    out = io.StringIO()
    assert parity.run(tmp_path, out)
    assert out.getvalue().splitlines()[0] == "the same model: 2 recordings, 2 checks, 0 failed"

    found["two"] = [good, bad]
    out = io.StringIO()
    assert not parity.run(tmp_path, out)
    first, _, _, *rows = out.getvalue().splitlines()
    assert first == "not the same model: 2 recordings, 3 checks, 1 failed"
    assert [row.split()[-1] for row in rows] == ["ok", "ok", "lm_loss"]
    assert rows[2].split()[-4:-1] == ["nan", "1.0e+00", "FAIL"]


def test_an_empty_folder_is_told(tmp_path):
    for folder, told in ((tmp_path, "no recordings"), (tmp_path / "absent", "no such folder")):
        with pytest.raises(DataError, match=told):
            parity.run(folder)
