"""Checkpoints give back every bit, and say in one line what is wrong with a folder."""

import gc
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_checkpoint import EXPERIMENT, TOTALS, drawn_state, zeros_like

from trm_jax.data.kept_rules import Kept
from trm_jax.errors import CheckpointError
from trm_jax.runs import checkpoint, manifest
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint

WITHOUT_TABLE = replace(EXPERIMENT, model=replace(EXPERIMENT.model, puzzle_dim=0, puzzle_tokens=0, dtype="float32"))
RULES = Kept("/home/me/rules.py", "of their content", "a key")


def saved(workdir: Path, experiment=EXPERIMENT, steps=(7,)):
    """Saves a drawn state under each step and returns the last; waits."""
    with Checkpoints(workdir) as checkpoints:
        for step in steps:
            state = drawn_state(experiment, seed=step, step=step)
            checkpoints.save(
                state,
                {"loss": jnp.asarray(step / 3, jnp.float32)},
                Meta(experiment, {"epoch": step, "place": 2, "offset": 1, "fingerprint": "of puzzles"}, rules=RULES),
            )
    return state


def restored(workdir: Path, like):
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(like, TOTALS)


@pytest.mark.parametrize("experiment", [EXPERIMENT, WITHOUT_TABLE], ids=["bfloat16", "no table"])
def test_every_bit_comes_back(experiment, tmp_path):
    state = saved(tmp_path, experiment)
    dtypes = {str(leaf.dtype) for leaf in jax.tree.leaves(state)}
    expected = {"float32", "int32", "uint32", "bool"} | ({"bfloat16"} if experiment is EXPERIMENT else set())
    assert dtypes == expected
    assert (state.weights.puzzle_table is None) == (experiment is WITHOUT_TABLE)
    found, totals = restored(tmp_path, zeros_like(state))
    assert jax.tree.structure(found) == jax.tree.structure(state)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(found), strict=True):
        assert before.dtype == after.dtype
        assert np.asarray(before).tobytes() == np.asarray(after).tobytes()
    assert fingerprint(found) == fingerprint(state)
    assert totals == {"loss": np.float32(7 / 3)}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 7
        assert checkpoints.latest_meta() == Meta(
            experiment, {"epoch": 7, "place": 2, "offset": 1, "fingerprint": "of puzzles"}, rules=RULES
        )


def test_unusual_numbers_come_back(tmp_path):
    state = drawn_state(EXPERIMENT)
    odd = jnp.asarray([jnp.nan, jnp.inf, -jnp.inf, -0.0, 1e-45, 3e38, 0.1, -1e-38], jnp.float32)
    table = jnp.broadcast_to(odd, state.weights.puzzle_table.shape)
    state = replace(state, weights=replace(state.weights, puzzle_table=table))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, TOTALS, Meta(EXPERIMENT))
    found, _ = restored(tmp_path, zeros_like(state))
    assert np.asarray(found.weights.puzzle_table).tobytes() == np.asarray(table).tobytes()


def test_of_many_arrays_that_do_not_fit_the_first_are_named(tmp_path):
    saved(tmp_path)
    deeper = replace(EXPERIMENT, model=replace(EXPERIMENT.model, layers=8))
    with pytest.raises(CheckpointError) as caught:
        restored(tmp_path, zeros_like(drawn_state(deeper)))
    assert str(caught.value).count(" is missing") == 12
    assert re.search(r"\.kernel is missing; and \d+ more$", str(caught.value))
    assert len(str(caught.value)) < 2_000


def test_saves_leave_no_memory_behind(tmp_path):
    """Objects of Python's, of which Orbax and TensorStore left some two hundred for each save of these arrays."""
    state, counts = drawn_state(EXPERIMENT), []
    gc.freeze()  # what other tests have left need not be looked through
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 11):
            checkpoints.save(replace(state, step=jnp.asarray(step)), TOTALS, Meta(EXPERIMENT))
            checkpoints.wait()
            gc.collect()
            counts.append(sys.getallocatedblocks())
    gc.unfreeze()
    # Now and then a table of somebody's becomes larger.
    assert np.median(np.diff(counts[4:])) < 150


def test_weights_load_from_a_workdir_or_from_one_step_averaged_or_as_trained(tmp_path):
    saved(tmp_path, steps=(5, 7))
    for path, step in (
        (tmp_path, 7),
        (tmp_path / "checkpoints" / "7", 7),
        (tmp_path / "checkpoints" / "5", 5),
    ):
        state = drawn_state(EXPERIMENT, seed=step, step=step)
        experiment, averaged = load(path)
        assert experiment == EXPERIMENT
        _, trained = load(path, averaged=False)
        assert fingerprint(averaged.params) == fingerprint(state.ema)
        assert fingerprint(trained) == fingerprint(state.weights)
        assert fingerprint(averaged.params) != fingerprint(trained.params)
        for part in ("starts", "puzzle_table"):
            assert fingerprint(getattr(averaged, part)) == fingerprint(getattr(state.weights, part))
    with pytest.raises(CheckpointError, match="no checkpoint of step 6"):
        load(tmp_path / "checkpoints" / "6")


def test_a_step_that_is_deleted_while_it_is_read_is_no_fault(tmp_path, monkeypatch):
    """`trm eval` beside a run: by the time that it reads the newest step, this is the oldest, and goes."""
    saved(tmp_path, steps=(5,))
    read = Checkpoints._weights_of

    def late(self, step):
        if step == 5:
            saved(tmp_path, steps=(7,))
            shutil.rmtree(tmp_path / "checkpoints" / "5")
        return read(self, step)

    monkeypatch.setattr(Checkpoints, "_weights_of", late)
    assert fingerprint(load(tmp_path)[1].params) == fingerprint(drawn_state(EXPERIMENT, seed=7, step=7).ema)


def test_what_a_killed_process_could_not_delete_goes_at_the_next_start(tmp_path):
    saved(tmp_path, steps=(5, 7))
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.recover()
        assert checkpoints.steps == [7]


def test_weights_alone(tmp_path):
    weights = drawn_state(WITHOUT_TABLE).weights
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_weights(weights, Meta(WITHOUT_TABLE))
    # As documented, without us: sha256sum reads the manifest, and it lists every file.
    folder = tmp_path / "checkpoints" / "0"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    told = subprocess.run(["sha256sum", "-c", manifest.NAME], cwd=folder, text=True, capture_output=True, check=True)
    assert {line.removesuffix(": OK") for line in told.stdout.splitlines()} == files - {manifest.NAME}
    for averaged in (True, False):
        experiment, found = load(tmp_path, averaged)
        assert experiment == WITHOUT_TABLE
        assert fingerprint(found) == fingerprint(weights)
    with pytest.raises(CheckpointError, match="without a training state"):
        restored(tmp_path, drawn_state(WITHOUT_TABLE))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match="holds checkpoints already"):
        checkpoints.save_weights(weights, Meta(WITHOUT_TABLE))


@pytest.mark.parametrize("keep", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_only_the_newest_are_kept(keep, tmp_path):
    with Checkpoints(tmp_path, keep) as checkpoints:
        for step in (1, 2, 3, 10):
            checkpoints.save(drawn_state(EXPERIMENT, step=step), TOTALS, Meta(EXPERIMENT))
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit())
    assert kept == [1, 2, 3, 10][-keep:]


def test_a_second_save_of_a_step_changes_nothing_and_an_older_one_is_refused(tmp_path):
    state = saved(tmp_path)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(drawn_state(EXPERIMENT, seed=99), {"loss": jnp.ones(())}, Meta(WITHOUT_TABLE))
        with pytest.raises(CheckpointError, match="step 6 was not saved"):
            checkpoints.save(drawn_state(EXPERIMENT, step=6), TOTALS, Meta(EXPERIMENT))
        assert checkpoints.latest_meta().position["epoch"] == 7
    found, totals = restored(tmp_path, state)
    assert fingerprint(found) == fingerprint(state)
    assert totals["loss"] == np.float32(7 / 3)


def test_a_save_survives_the_donation_of_its_state(tmp_path):
    large = replace(EXPERIMENT, model=replace(EXPERIMENT.model, num_puzzles=100_000))
    state = drawn_state(large)
    expected = fingerprint(state)
    overwrite = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf * 0, state), donate_argnums=0)
    shapes = jax.tree.map(jnp.zeros_like, state)
    overwrite(jax.tree.map(jnp.copy, shapes))  # compiled: the next call writes at once
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, TOTALS, Meta(large))
        jax.block_until_ready(overwrite(state))
        assert state.weights.puzzle_table.is_deleted()
        checkpoints.wait()
    assert fingerprint(restored(tmp_path, shapes)[0]) == expected


# --- What is not a checkpoint of ours


def assert_one_line(caught) -> None:
    assert "\n" not in str(caught.value)


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    (tmp_path / "foreign" / "checkpoints" / "notes").mkdir(parents=True)
    (tmp_path / "foreign" / "checkpoints" / "7").mkdir(parents=True)
    (tmp_path / "foreign" / "checkpoints" / "7" / "model.pt").write_bytes(b"\x80\x04")
    for name in ("absent", "absent/checkpoints/3", "file", "empty", "empty/checkpoints/3", "foreign"):
        with pytest.raises(CheckpointError, match=name.split("/")[0]) as caught:
            load(tmp_path / name)
        assert_one_line(caught)
    with Checkpoints(tmp_path / "new") as checkpoints:
        assert checkpoints.latest is None
        assert checkpoints.latest_meta() is None
        with pytest.raises(CheckpointError, match="no checkpoint here"):
            checkpoints.restore(drawn_state(EXPERIMENT), TOTALS)


def described(workdir: Path, text) -> None:
    """Has step 7 say something else of itself, with a manifest that agrees."""
    folder = workdir / "checkpoints" / "7"
    content = text if isinstance(text, bytes) else json.dumps(text).encode()
    (folder / "meta" / "metadata").write_bytes(content)
    (folder / manifest.NAME).unlink(missing_ok=True)
    manifest.write(folder)


def test_meta_that_is_not_ours_or_of_another_format(tmp_path):
    state = saved(tmp_path)
    good = json.loads((tmp_path / "checkpoints" / "7" / "meta" / "metadata").read_text())
    assert good["format"] == 5
    assert good["versions"].keys() == {"trm_jax", "jax", "orbax", "numpy"}

    def refused(text, expected: str) -> None:
        described(tmp_path, text)
        for attempt in (lambda: load(tmp_path), lambda: Checkpoints(tmp_path).latest_meta()):
            with pytest.raises(CheckpointError, match=expected) as caught:
                attempt()
            assert_one_line(caught)

    for content in (b"", b"{", b"[]", b"3", b"null", b'"format"', b"\xff\xfe", b"{}", b"\0" * 100, b"[" * 100_000):
        refused(content, "metadata is damaged or not ours")
    refused(good | {"format": 99}, "7 has format 99, this version reads 1 to 5: use another version")
    for change in ({"experiment": []}, {"experiment": {"model": {"width": "wide"}}}, {"experiment": {"more": 1}}):
        refused(good | change, "7 does not describe itself as ours do")
    refused(good | {"identifiers": {"count": 1}}, "7 does not describe itself as ours do: 'identifiers' is none")
    for rules in ([], {}, "rules.py", {"path": "rules.py"}):
        refused(good | {"rules": rules}, "7 does not describe itself as ours do: 'rules' are none")
    refused({"format": 4, "experiment": good["experiment"]}, "7 does not describe itself as ours do: 'position'")
    described(tmp_path, good)
    assert fingerprint(load(tmp_path)[1].params) == fingerprint(state.ema)


def as_of_format(number: int, workdir: Path, *, change) -> None:
    """Makes step 7 what version `number` of the format would have written."""
    folder = workdir / "checkpoints" / "7"
    text = json.loads((folder / "meta" / "metadata").read_text())
    change(text)
    (folder / "meta" / "metadata").write_text(json.dumps(text | {"format": number}))
    (folder / manifest.NAME).unlink()


@pytest.mark.parametrize(("checkpointed", "policy"), [(True, "step"), (False, "none")])
def test_a_checkpoint_of_format_1_is_read(tmp_path, checkpointed, policy):
    saved(tmp_path)

    def change(text):
        del text["experiment"]["memory"]
        for name in ("gradient_steps", "solver_tolerance", "solver_steps", "backprop_steps"):
            del text["experiment"]["model"][name]
        text["experiment"]["model"] |= {"checkpoint": checkpointed, "gradient": "last_step"}
        text["position"] = {"batch": 9, "epoch": 4, "offset": 3, "fingerprint": "of puzzles"}

    as_of_format(1, tmp_path, change=change)

    experiment, _ = load(tmp_path)

    with Checkpoints(tmp_path) as checkpoints:
        # Its place in an order that is no more; training goes on with the next epoch.
        expected = {"epoch": 5, "place": 0, "offset": 0, "fingerprint": "of puzzles"}
        assert checkpoints.latest_meta().position == expected
    model = replace(EXPERIMENT.model, gradient="one_step")
    assert experiment == replace(EXPERIMENT, model=model, memory=replace(EXPERIMENT.memory, policy=policy))


def test_a_checkpoint_of_format_3_goes_on_with_no_step_skipped(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        # What it had: neither the count of skipped steps nor their sums.
        flat = checkpoint.flat
        patch.setattr(
            checkpoint,
            "flat",
            lambda tree: {k: v for k, v in flat(tree).items() if k not in checkpoint._SINCE_FORMAT_4},
        )
        state = saved(tmp_path)
    as_of_format(3, tmp_path, change=lambda text: text["experiment"]["train"].pop("bad_steps"))
    more = {name.removeprefix("totals."): jnp.ones(()) for name in checkpoint._SINCE_FORMAT_4 if "totals" in name}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.recover()
        assert checkpoints.latest_meta().experiment == EXPERIMENT
        found, totals = checkpoints.restore(zeros_like(state), TOTALS | more)
    assert fingerprint(found) == fingerprint(replace(state, skipped_in_a_row=jnp.zeros((), jnp.int32)))
    assert totals == {"loss": np.float32(7 / 3)} | dict.fromkeys(more, np.float32(0))
    # One that says it is of a later format has no excuse for lacking its manifest.
    as_of_format_4 = tmp_path / "checkpoints" / "7" / "meta" / "metadata"
    as_of_format_4.write_text(as_of_format_4.read_text().replace('"format": 3', '"format": 4'))
    with pytest.raises(CheckpointError, match=r"7 is damaged: manifest\.sha256 is missing"):
        load(tmp_path)


def test_arrays_that_do_not_fit_are_named(tmp_path):
    state = saved(tmp_path)
    table = "state.weights.puzzle_table"
    wide = replace(state, weights=replace(state.weights, puzzle_table=jnp.zeros((9, 6), jnp.float32)))
    half = replace(state, weights=replace(state.weights, puzzle_table=jnp.zeros((9, 8), jnp.bfloat16)))
    none = replace(state, weights=replace(state.weights, puzzle_table=None))
    long = replace(state, carry=replace(state.carry, steps=jnp.zeros((4,), jnp.int32)))
    for like, expected in (
        (wide, rf"{table} is float32\[9, 8\], expected float32\[9, 6\]"),
        (half, rf"{table} is float32\[9, 8\], expected bfloat16\[9, 8\]"),
        (none, f"{table} is unknown"),
        (long, r"state\.carry\.steps is int32\[3\], expected int32\[4\]"),
    ):
        with pytest.raises(CheckpointError, match=expected) as caught:
            restored(tmp_path, like)
        assert_one_line(caught)
        assert str(tmp_path / "checkpoints" / "7") in str(caught.value)
        assert str(caught.value).count(";") == 0, "nothing but what is wrong"
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(CheckpointError, match=r"totals\.more is missing"):
        checkpoints.restore(state, TOTALS | {"more": jnp.zeros(())})
    # The same through the experiment that the checkpoint names.
    meta = json.loads((tmp_path / "checkpoints" / "7" / "meta" / "metadata").read_text())
    meta["experiment"]["model"]["vocab_size"] = 6
    described(tmp_path, meta)
    with pytest.raises(CheckpointError, match=r"state\.weights\.params\.tokens is float32\[5, 8\], expected") as caught:
        load(tmp_path)
    assert_one_line(caught)


# --- The fingerprint


def test_the_fingerprint_changes_with_a_bit_dtype_shape_or_name():
    values = np.arange(6, dtype=np.float32)
    bit = values.copy()
    bit.view(np.uint32)[3] ^= 1
    minus = values.copy()
    minus[0] = -0.0
    trees = [
        {"a": values},
        {"a": bit},
        {"a": minus},
        {"a": values.reshape(2, 3)},
        {"a": values.reshape(3, 2)},
        {"a": values.view(np.int32)},
        {"b": values},
        {"a": {"b": values}},
        {"a": values, "b": values},
        {"a": values[:5], "b": values[5:]},
        {"a": jnp.asarray(values, jnp.bfloat16)},
        {},
    ]
    assert len({fingerprint(tree) for tree in trees}) == len(trees)
    assert fingerprint({"a": values, "b": bit}) == fingerprint({"b": jnp.asarray(bit), "a": jnp.asarray(values)})
    assert fingerprint({"a": values.reshape(2, 3).T}) == fingerprint({"a": values.reshape(2, 3).T.copy()})
    state = drawn_state(EXPERIMENT)
    assert fingerprint(state) == fingerprint(drawn_state(EXPERIMENT)) != fingerprint(drawn_state(EXPERIMENT, step=8))
