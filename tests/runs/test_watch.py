"""Numbers that go wrong: no update that is not finite is applied, kept or saved, and people are told."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_step
from jax.experimental import io_callback
from small_run import final_state
from small_run import learning as small_experiment
from small_step import EXPERIMENT, batch_of, init, with_size, with_table

from trm_jax.data.order import Position
from trm_jax.devices.sharding import AXIS, BY_ROWS, EVERYWHERE, Layout, mesh_layout
from trm_jax.errors import ConfigError, NotFiniteError
from trm_jax.runs import nans, watch
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.runs.watch import LossWatch, check_finite
from trm_jax.runs.writers import read_metrics
from trm_jax.training import step
from trm_jax.training.feed import Streamed
from trm_jax.training.program import Signs, state_specs

IDS = [1, 2, 3, 4]
KEPT = ("weights", "ema", "opt_state", "key")


def finite(tree) -> bool:
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)


def bad_weight(gradients, total, rows, value):
    """A single number of a single tensor."""
    leaves, tree = jax.tree.flatten(gradients)
    return jax.tree.unflatten(tree, [leaves[0].at[(0,) * leaves[0].ndim].add(value), *leaves[1:]]), total, rows


def bad_row(gradients, total, rows, value):
    return gradients, total, rows.at[2, 5].add(value)


def bad_loss(gradients, total, rows, value):
    return gradients, total + value, rows


def poison(monkeypatch, fault, value):
    """Has gradients, or the loss, of every step be wrong; value: a number, or a function of nothing that gives one."""
    gradients = step._gradients

    def poisoned(*args):
        (weights, rows), total, reached = gradients(*args)
        number = io_callback(value, jax.ShapeDtypeStruct((), jnp.float32)) if callable(value) else value
        weights, total, rows = fault(weights, total, rows, number)
        return (weights, rows), total, reached

    monkeypatch.setattr(step, "_gradients", poisoned)


@pytest.mark.parametrize("fault", [bad_weight, *(pytest.param(f, marks=pytest.mark.slow) for f in (bad_row, bad_loss))])
def test_a_step_that_is_not_finite_changes_nothing_that_learns(fault, monkeypatch):
    state, _ = small_step.step(EXPERIMENT, with_table(init(EXPERIMENT)), batch_of(IDS))
    values = iter([np.nan, np.inf, -np.inf, np.nan])
    poison(monkeypatch, fault, lambda: np.float32(next(values)))
    broken = jax.jit(lambda *args: step.train_step(*args), static_argnums=0)
    for _ in range(2):
        after, metrics = broken(EXPERIMENT, state, batch_of(IDS, seed=1))
        again, _ = broken(EXPERIMENT, after, batch_of(IDS, seed=2))
        assert_skipped(fault, state, after, again, metrics)

    # And the next good step is one.
    good, metrics = small_step.step(EXPERIMENT, again, batch_of(IDS, seed=3))
    assert int(good.skipped_in_a_row) == 0
    assert float(metrics["skipped"]) == 0
    assert fingerprint(good.weights.params) != fingerprint(state.weights.params)
    assert fingerprint(good.weights.puzzle_table) != fingerprint(state.weights.puzzle_table)


def assert_skipped(fault, state, after, again, metrics) -> None:
    for name in KEPT:
        assert fingerprint(getattr(after, name)) == fingerprint(getattr(state, name)), name
    assert [int(s.skipped_in_a_row) for s in (state, after, again)] == [0, 1, 2]
    assert [int(s.step) for s in (state, after, again)] == [1, 2, 3]
    assert finite(after)
    # Half solved puzzles would lead to the same numbers again.
    assert after.carry.halted.all()
    assert np.array_equal(again.carry.data.inputs, batch_of(IDS, seed=2).inputs)
    told = {name: float(value) for name, value in metrics.items()}
    assert told.pop("skipped") == 1
    assert told.pop("loss_not_finite") == (fault is bad_loss)
    assert set(told.values()) == {0.0}


def test_weights_that_overflow_are_noticed_by_their_loss():
    state = with_table(init(EXPERIMENT))
    params = jax.tree.map(lambda a: a.at[(0,) * a.ndim].set(jnp.inf), state.weights.params)
    _, metrics = small_step.step(
        EXPERIMENT, replace(state, weights=replace(state.weights, params=params)), batch_of(IDS)
    )
    assert (float(metrics["skipped"]), float(metrics["loss_not_finite"])) == (1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [bad_row, pytest.param(bad_weight, marks=pytest.mark.slow)])
def test_one_of_several_devices_is_enough(fault, monkeypatch):
    layout = mesh_layout(2)
    layout = Layout(layout.mesh, (), False)
    config = with_size(EXPERIMENT, 8)

    def on_the_second(gradients, total, rows, value):
        return fault(gradients, total, rows, jnp.where(jax.lax.axis_index(AXIS) == 1, value, 0.0))

    poison(monkeypatch, on_the_second, np.nan)
    specs = state_specs(config, layout)
    together = layout.by_each(
        lambda state, batch: step.train_step(config, state, batch, layout), (specs, BY_ROWS), (specs, EVERYWHERE)
    )
    state = with_table(init(config))
    after, metrics = jax.jit(together)(state, batch_of([*IDS, *IDS]))
    assert float(metrics["skipped"]) == 1
    assert int(after.skipped_in_a_row) == 1
    for name in KEPT:
        assert fingerprint(getattr(after, name)) == fingerprint(getattr(state, name)), name
    assert finite(after)


# --- In a run


def poisoned_steps(monkeypatch, bad) -> None:
    """Gradients of these steps, counted from 1 in this process, are nan."""
    made = iter(range(1, 10**6))
    poison(monkeypatch, bad_weight, lambda: np.float32(np.nan if next(made) in bad else 0))


def run_of(name: str, **changes):
    """An experiment that no other test has compiled."""
    short = {"train__steps": 12, "train__eval_every": 0, "train__save_every": 4, "train__log_every": 4}
    return replace(small_experiment(**short | changes), name=name)


@pytest.mark.slow  # so does the run of the next test, and a step of the ones above
def test_a_run_goes_on_past_steps_that_are_not_finite(tmp_path, monkeypatch, capsys):
    poisoned_steps(monkeypatch, {3, 6, 7})
    config = run_of("some", train__bad_steps=3)
    assert train(config, tmp_path).finished
    state, _ = final_state(config, tmp_path)
    assert finite(state)
    assert int(state.step) == 12
    assert int(state.opt_state.steps) == 9
    rows = read_metrics(tmp_path)
    assert [row["train/skipped"] for row in rows] == [1, 2, 0]
    assert [row["train/loss_not_finite"] for row in rows] == [0, 0, 0]
    # Means over the steps that were made, and not over all.
    assert [row["train/learning_rate"] for row in rows] == pytest.approx(
        [np.mean([1e-3, 2e-3, 3e-3]), 3e-3, 3e-3], rel=1e-5
    )
    assert 0.5 < rows[1]["train/loss"] / rows[0]["train/loss"] < 2
    assert "1 steps not finite, skipped" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_ends_after_some_in_a_row_and_names_step_and_metric(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        poisoned_steps(patch, {2, *range(6, 100)})
        config = run_of("many", train__bad_steps=3)
        with pytest.raises(NotFiniteError, match=r"step 8: gradient_norm is not finite, in the last of 3 ") as caught:
            train(config, tmp_path)
    assert "step 5 is the last good one" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    state, _ = final_state(config, tmp_path)
    assert int(state.step) == 9  # the host looks one call late
    assert finite(state)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [4, 8] or checkpoints.steps == [8, 9]
    # What made them wrong is gone: the same command goes on.
    monkeypatch.undo()
    assert train(replace(config, name="mended"), tmp_path).finished
    assert int(final_state(config, tmp_path)[0].skipped_in_a_row) == 0


@pytest.mark.parametrize(("count", "bad", "raised"), [(1, 1, True), (2, 3, False), (3, 3, True), (9, 3, True)])
def test_what_the_signs_say(count, bad, raised):
    signs = Signs(None, jnp.asarray(count, jnp.int32), jnp.asarray(1.0))
    if not raised:
        check_finite(signs, 20, bad)
        return
    with pytest.raises(NotFiniteError, match=rf"step 20: loss .* step {20 - count} is the last good"):
        check_finite(signs, 20, bad)


# --- Losses that explode


def looked(losses, start=1):
    watch = LossWatch()
    return [watch.look(start + i, loss) for i, loss in enumerate(losses)]


def test_an_explosion_is_told_once_with_the_last_good_step():
    told = looked([2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 8.0, 900.0, 1.4, 1.3, 7.0])
    assert [i for i, what in enumerate(told) if what] == [6, 10]
    assert (told[6].step, told[6].loss, told[6].usual, told[6].good_step) == (7, 8.0, 1.75, 6)
    assert told[10].good_step == 10
    assert str(told[6]) == "step 7: the loss is 8, 5 times what it was; the last good step known is 6"


@pytest.mark.parametrize("losses", [
    [2.0, 1.9, 1.8, 1.7, 8.0],  # too few to tell what is usual
    [1.0] * 5 + [3.9],
    [1.0] * 6 + [None, float("nan"), float("inf")],  # told elsewhere
    [10.0 * 0.5**i for i in range(20)],
])  # fmt: skip
def test_what_is_no_explosion(losses):
    assert not any(looked(losses))


def test_what_was_usual_is_known_after_a_resume():
    rows = [{"step": s, "train/loss": 1.0} for s in range(1, 7)] + [{"step": 6, "eval/exact_accuracy": 0.5}]
    told = LossWatch(rows).look(7, 50.0)
    assert (told.usual, told.good_step) == (1.0, 6)


def test_the_checkpoint_before_an_explosion_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(watch, "FEWEST", 2)
    values = {7: 100.0, 8: 100.0}
    looking = LossWatch.look
    monkeypatch.setattr(LossWatch, "look", lambda self, step, loss: looking(self, step, values.get(step, loss)))
    config = run_of("kept", train__log_every=1, train__save_every=2, train__keep_checkpoints=1)
    assert train(config, tmp_path).finished
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [6, 12]
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert told.startswith("warning: step 7: the loss is 100, ")
    assert told.endswith("the last good step known is 6; checkpoint 6 will not be deleted")


# --- Where it began


@pytest.mark.slow
def test_the_operation_is_named():
    state = with_table(init(EXPERIMENT))
    head = state.weights.params["q_head"]
    broken = state.weights.params | {"q_head": head | {"bias": jnp.asarray([jnp.inf, 0.0])}}
    state = replace(state, weights=replace(state.weights, params=broken))

    batch = batch_of(IDS)
    one = (part[None] for part in (batch.inputs, batch.labels, batch.puzzle_ids))
    start = Position(*(jnp.zeros((1,), jnp.int32) for _ in range(3)))
    signs = Signs(None, jnp.asarray(1), jnp.asarray(1.0))
    with pytest.raises(NotFiniteError) as caught:
        nans.check_step(EXPERIMENT, state, start, Streamed(*one, start), signs)
    assert re.fullmatch(
        r"step 1: loss is not finite; the first nan came from the operation \w+ in .*", str(caught.value)
    )
    nans.check_step(EXPERIMENT, state, start, None, signs._replace(skipped_in_a_row=jnp.asarray(0)))


def test_several_devices_are_refused():
    with pytest.raises(ConfigError, match=r"looks at one device, not 2: add --config\.devices\.data=1"):
        nans.prepare(mesh_layout(2))
