"""Is this the original's model? Recordings of its computation pass, planted faults do not, damage is told.

tests/testdata holds three small recordings of the original's PyTorch code (float32, CPU; keys in
docs/parity.md): forward_mlp (evaluation and gradients of the mixer, zero-padded puzzle tokens), train_mlp
(optimiser steps 1 and 3 of the mixer, from coarsely rounded states) and train_attention (optimiser step 1). To
save space they leave out what is compared of some large tensors. Where a folder shared/parity lies beside the
repository, its recordings are checked as well.
"""

import io
import json
import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from trm_jax import layers, losses, model, optim, parity, recursion, reenact, step
from trm_jax.errors import DataError
from trm_jax.parity import Check, check_recording

TESTDATA = Path(__file__).parent / "testdata"
SHARED = Path(__file__).parents[2] / "shared" / "parity"
SMALL = sorted(TESTDATA.glob("*.npz"))
NOT_SHARED = pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings in {SHARED}"), id="absent")


def failures(path: Path) -> list[Check]:
    return [check for check in check_recording(path) if not check.passed]


def test_the_small_recordings_are_there():
    assert [path.stem for path in SMALL] == ["forward_mlp", "train_attention", "train_mlp"]


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)
def test_small_recordings_pass(path):
    assert failures(path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.npz")) or [NOT_SHARED], ids=lambda path: path.stem)
def test_shared_recordings_pass(path):
    assert failures(path) == []


# Planted faults: each a small function that breaks one thing, and the recordings that must then fail.


def norm_over_features_in_the_mixer(patch):
    rms_norm = layers.rms_norm
    patch.setattr(layers, "rms_norm", lambda h, eps, axis=-1: rms_norm(h, eps))


def interleaved_rotary(patch):
    def faulty(h_BLHC, cos_LC, sin_LC):
        half = cos_LC.shape[-1] // 2
        cos, sin = (jnp.repeat(table[:, :half], 2, axis=-1)[None, :, None] for table in (cos_LC, sin_LC))
        pairs = h_BLHC.reshape(*h_BLHC.shape[:-1], half, 2)
        turned = jnp.stack([-pairs[..., 1], pairs[..., 0]], axis=-1).reshape(h_BLHC.shape)
        return h_BLHC * cos + turned * sin

    patch.setattr(layers, "rotate", faulty)


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
    def faulty(table_NR, ids_B, grads_BR, rate, weight_decay):
        new = optim.sign_sgd_rows(table_NR, ids_B, grads_BR, rate, weight_decay)
        touched = jnp.zeros(len(table_NR), bool).at[ids_B].set(True)
        return jnp.where(touched[:, None], new, table_NR * (1 - rate * weight_decay))

    patch.setattr(step, "sign_sgd_rows", faulty)


def duplicate_rows_not_summed(patch):
    def faulty(table_NR, ids_B, grads_BR, rate, weight_decay):
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
@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize(("fault", "recording"), FAULTS.items(), ids=[fault.__name__ for fault in FAULTS])
def test_a_planted_fault_is_caught(monkeypatch, fault, recording):
    # What is caught was not hidden by anything compiled before: the checks compile their functions anew each time.
    fault(monkeypatch)
    assert failures(TESTDATA / f"{recording}.npz")


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("recording", ["train_attention", "train_mlp"])  # for forward_mlp see the test of nan
def test_no_fault_outlives_its_test(recording):
    assert failures(TESTDATA / f"{recording}.npz") == []


# Damage.


@pytest.fixture
def altered(tmp_path):
    """A function that copies a small recording with some arrays replaced (None: left out) and returns its path."""

    def alter(recording, changes):
        with np.load(TESTDATA / f"{recording}.npz") as archive:
            arrays = dict(archive)
        arrays |= changes
        path = tmp_path / f"{recording}.npz"
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    return alter


@pytest.mark.usefixtures("quick_compilation")
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


@pytest.mark.parametrize("config", ["{", "[]", json.dumps({"kind": "trm"}), json.dumps({"kind": "lstm"})])
def test_a_bad_config_is_told(altered, config):
    with pytest.raises(DataError, match=r"kind|config") as caught:
        check_recording(altered("forward_mlp", {"config": np.asarray(config)}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["nothing", "text", "pickle", "half", "pickled array"])
def test_an_unreadable_file_is_told(tmp_path, content):
    path = tmp_path / "bad.npz"
    if content == "pickled array":
        np.savez(path, config=np.asarray({"kind": "trm"}, dtype=object))
    else:
        whole = SMALL[0].read_bytes()
        contents = {"nothing": b"", "text": b"kind: trm", "pickle": pickle.dumps({}), "half": whole[: len(whole) // 2]}
        path.write_bytes(contents[content])
    with pytest.raises(DataError) as caught:
        check_recording(path)
    assert str(caught.value).startswith(f"{path}: not a readable recording")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("quick_compilation")
def test_nan_in_a_recording_fails(altered):
    logits = np.zeros((6, 16, 7), np.float32)
    logits[0, 0, 0] = np.nan
    bad = failures(altered("forward_mlp", {"eval/0/logits": logits, "grad/0/loss": np.asarray(np.nan)}))
    assert [(check.quantity, np.isnan(check.error)) for check in bad] == [
        ("evaluation 1: logits", True),
        ("training 1: loss, its parts, accuracy", True),
    ]


@pytest.mark.usefixtures("quick_compilation")
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
    assert out.getvalue().splitlines()[-1] == "2 recordings, 2 checks, 0 failed"

    found["two"] = [good, bad]
    out = io.StringIO()
    assert not parity.run(tmp_path, out)
    _, *rows, last = out.getvalue().splitlines()
    assert last == "2 recordings, 3 checks, 1 failed"
    assert [row.split()[-1] for row in rows] == ["ok", "ok", "lm_loss"]
    assert rows[2].split()[-4:-1] == ["nan", "1.0e+00", "FAIL"]


def test_an_empty_folder_is_told(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match="no recordings"):
            parity.run(folder)
