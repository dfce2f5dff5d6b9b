"""Training as a user runs it: it learns, stops, resumes bit for bit, and refuses what is not its own."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from small_run import figures
from small_run import learning as experiment

from trm_jax.config import experiment_from, to_dict
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.model.model import Model
from trm_jax.runs import train as training
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.figures import Log
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.parts import read_parts
from trm_jax.runs.resume import HARMLESS
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics


@pytest.fixture(scope="module")
def uncut(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("uncut")
    outcome = train(experiment(), workdir)
    assert outcome.finished
    assert outcome.step == 20
    return workdir


def test_a_finished_run_makes_no_further_step(uncut):
    before = (uncut / "metrics.jsonl").read_text()
    outcome = train(experiment(), str(uncut))
    assert (outcome.finished, outcome.trained) == (True, False)
    assert (uncut / "metrics.jsonl").read_text() == before


def test_arguments_of_a_wrong_type_are_told_in_one_line(uncut):
    assert fingerprint(load(str(uncut))[1]) == fingerprint(load(uncut)[1])
    for call, said in (
        (lambda: train(experiment(), 3), "workdir is of type int"),
        (lambda: train(to_dict(experiment()), uncut), "experiment is of type dict"),
        (lambda: load(None), "path is of type NoneType"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_rows_hold_what_was_promised(uncut):
    rows = read_metrics(uncut)
    assert [row["step"] for row in rows] == [5, 10, 10, 15, 20, 20]
    training = [row for row in rows if "train/loss" in row]
    for name in ("loss", "lm_loss", "q_halt_loss", "exact_accuracy", "accuracy", "steps", "learning_rate",
                 "puzzle_learning_rate", "gradient_norm", "weight_norm", "update_norm", "finished"):  # fmt: skip
        assert all(f"train/{name}" in row for row in training), name
    assert training[-1]["train/loss"] < training[0]["train/loss"]
    assert training[-1]["train/learning_rate"] == pytest.approx(3e-3)
    total = training[0]["train/lm_loss"] + 0.5 * training[0]["train/q_halt_loss"]
    assert training[0]["train/loss"] == pytest.approx(total, rel=1e-5)
    evaluations = [row for row in rows if "eval/exact_accuracy" in row]
    assert [row["step"] for row in evaluations] == [10, 20]


def test_each_part_of_a_run_tells_from_where_to_where_it_went(uncut):
    part = read_parts(uncut)[0]
    assert (part["first"], part["last"], part["machine"]["platform"]) == (0, 20, jax.default_backend())


def test_a_workdir_of_another_experiment_is_refused_and_left_alone(uncut, tmp_path):
    files = {path: path.stat().st_mtime_ns for path in uncut.rglob("*") if path.is_file()}
    for changes, key in (({"model__width": 32}, "model.width: 16 -> 32"), ({"optim__beta1": 0.8}, "optim.beta1")):
        with pytest.raises(CheckpointError, match=key) as caught:
            train(experiment(**changes), uncut)
        assert "\n" not in str(caught.value)
    other = tmp_path / "other.csv"
    other.write_text("question,answer\n1.34341221434321,1234341221434321\n")
    with pytest.raises(CheckpointError, match="other puzzles"):
        train(experiment(data__train=str(other)), uncut)
    assert files == {path: path.stat().st_mtime_ns for path in uncut.rglob("*") if path.is_file()}


def test_converted_weights_cannot_be_resumed(tmp_path):
    config = replace(experiment(), model=replace(experiment().model, vocab_size=6, seq_len=16, num_puzzles=1))
    weights = jax.jit(Model(config.model).init)(jax.random.key(0))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_weights(weights, Meta(config))
    with pytest.raises(CheckpointError, match="without a training state"):
        train(config, tmp_path)
    assert fingerprint(load(tmp_path)[1]) == fingerprint(weights)


def test_sizes_come_from_the_data_and_contradictions_are_told(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.model\.seq_len = 81, but the puzzles have 16"):
        train(experiment(model__seq_len=81), tmp_path)
    with pytest.raises(DataError, match="absent"):
        train(experiment(data__train="absent.csv"), tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be made"):
        train(experiment(), tmp_path / "file" / "below")


@pytest.mark.parametrize(
    "model",
    [
        {"mixer": "attention", "positions": "rope", "heads": 2},
        pytest.param({"mixer": "attention", "positions": "learned", "heads": 2, "states": "z"}, marks=pytest.mark.slow),
        pytest.param({"latents": 3, "latent_steps": 4, "dtype": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param(
            {"separate_networks": True, "answer_layers": 1, "cycles": 2, "grad_cycles": 2, "memory__policy": "step"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"separate_networks": True, "gradient": "one_step", "halt_by": "q_continue"}, marks=pytest.mark.slow
        ),
        pytest.param({"states": "y", "layers": 3, "mixer": "attention", "heads": 2}, marks=pytest.mark.slow),
        pytest.param(
            {
                "cycles": 2,
                "grad_cycles": 2,
                "backprop_steps": 2,
                "supervision_steps": 4,
                "memory__policy": "binomial",
                "memory__outer_policy": "step",
                "memory__micro_batches": 2,
            },
            marks=pytest.mark.slow,
        ),
        pytest.param({"gradient": "implicit", "memory__slices": 2}, marks=pytest.mark.slow),
        pytest.param({"puzzle_dim": 0, "puzzle_tokens": 0}, marks=pytest.mark.slow),
        pytest.param({"puzzle_dim": 0, "puzzle_tokens": 16}, marks=pytest.mark.slow),
        pytest.param({"puzzle_dim": 40, "puzzle_tokens": 0}, marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_model_trains_on_what_it_remembers(model, tmp_path):
    """Each configuration lowers its loss within a few steps, with finite numbers throughout."""
    changes = {k if "__" in k else f"model__{k}": v for k, v in model.items()}
    if model.get("halt_by") == "q_continue":
        changes["loss__continue_head"] = True
    values = to_dict(experiment())
    values["train"] |= {"steps": 12, "log_every": 4, "eval_every": 0, "save_every": 0}
    for key, value in changes.items():
        group, name = key.split("__")
        values[group][name] = value
    config = experiment_from(values)
    assert train(config, tmp_path).finished
    losses = [row["train/loss"] for row in read_metrics(tmp_path)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


@pytest.mark.slow  # tests/model/test_losses.py and tests/training/test_optim.py have them alone
def test_both_losses_and_the_other_form_of_the_update_train(tmp_path):
    values = to_dict(experiment())
    values["train"] |= {"steps": 6, "log_every": 3, "eval_every": 0, "save_every": 0}
    values["loss"] |= {"tokens": "softmax", "continue_head": True}
    values["optim"]["atan2_form"] = "debiased"
    assert train(experiment_from(values), tmp_path).finished
    rows = read_metrics(tmp_path)
    assert rows[-1]["train/loss"] < rows[0]["train/loss"]
    assert rows[-1]["train/q_continue_loss"] > 0


@pytest.mark.slow
def test_auto_is_settled_afresh_by_each_part_of_a_run(tmp_path, monkeypatch, capsys):
    asked = []

    def settle(experiment):
        asked.append(experiment.memory.policy)
        return replace(experiment, memory=replace(experiment.memory, policy="step"))

    monkeypatch.setattr("trm_jax.training.program.settle", settle)
    values = to_dict(experiment())
    values["memory"]["policy"] = "auto"
    values["train"] |= {"steps": 4, "eval_every": 0, "log_every": 2}
    assert train(experiment_from(values), tmp_path).finished
    assert asked == ["auto"]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_meta().experiment.memory.policy == "auto"

    values["memory"] |= {"policy": "nested", "micro_batches": 2}
    values["train"]["steps"] = 6
    assert train(experiment_from(values), tmp_path).finished
    assert asked == ["auto", "nested"]


def test_a_policy_that_this_machine_lacks_is_refused_before_anything_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr("trm_jax.runs.run.fresh_state", lambda *_: pytest.fail("compiled"))
    for key in ("policy", "outer_policy"):
        values = to_dict(experiment())
        values["memory"][key] = "offload"
        with pytest.raises(ConfigError, match=rf"config\.memory\.{key} = 'offload' moves states") as caught:
            train(experiment_from(values), tmp_path)
        assert "\n" not in str(caught.value)


def test_every_harmless_key_exists():
    values = to_dict(experiment())
    groups = {name: value for name, value in values.items() if isinstance(value, dict)}
    known = {"name"} | {f"{group}.{key}" for group, value in groups.items() for key in value}
    assert set(HARMLESS) <= known


def test_several_steps_in_one_call_are_the_same_steps(uncut, tmp_path):
    at_once = experiment(devices__steps_per_call=5, train__save_every=10, train__steps=10)
    assert train(at_once, tmp_path).finished
    ours, theirs = figures(tmp_path), figures(uncut)[:3]
    assert [row["step"] for row in ours] == [row["step"] for row in theirs] == [5, 10, 10]
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if value is not None:
                assert one[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize(("first", "steps", "at_once", "expected"), [
    (0, 3, 1, [(1, 1), (2, 1), (3, 1)]),
    (0, 10, 4, [(4, 4), (8, 4), (10, 2)]),
    (3, 10, 4, [(4, 1), (8, 4), (10, 2)]),
    (8, 9, 4, [(9, 1)]),
    (0, 2, 4, [(2, 2)]),
    (4, 8, 4, [(8, 4)]),
    (5, 5, 4, []),
])  # fmt: skip
def test_calls_end_at_multiples_and_at_the_last_step(first, steps, at_once, expected):
    assert training._calls(first, [steps], at_once) == expected


@pytest.mark.parametrize(("first", "at_once", "expected"), [
    (0, 1, [(end, 1) for end in range(1, 11)]),
    (0, 4, [(3, 3), (4, 1), (8, 4), (10, 2)]),
    (3, 4, [(4, 1), (8, 4), (10, 2)]),
    (2, 4, [(3, 1), (4, 1), (8, 4), (10, 2)]),
    (9, 4, [(10, 1)]),
    (10, 4, []),
])  # fmt: skip
def test_calls_end_where_a_stage_of_the_curriculum_does(first, at_once, expected):
    """A part that goes on from the end of a call makes the calls of the run that was not cut."""
    assert training._calls(first, [3, 8, 10], at_once) == expected


def test_figures_are_fetched_while_the_next_call_runs(tmp_path, monkeypatch):
    order, advance, write = [], training.advance, Log.write_late

    def advancing(*args):
        order.append("call")
        return advance(*args)

    def writing(self):
        if self._waiting is not None:
            order.append(f"row {self._waiting[0]}")
        write(self)

    monkeypatch.setattr(training, "advance", advancing)
    monkeypatch.setattr(Log, "write_late", writing)
    train(experiment(train__steps=11, train__eval_every=0, train__save_every=0), tmp_path)
    calls_before = [order[:i].count("call") for i, what in enumerate(order) if what.startswith("row")]
    assert [what for what in order if what != "call"] == ["row 5", "row 10", "row 11"]
    assert calls_before == [6, 11, 11]


def test_nothing_moves_between_host_and_device_unasked(tmp_path, monkeypatch):
    levels, advance = [], training.advance

    def advancing(*args):
        levels.append(jax.config.jax_transfer_guard)
        with pytest.raises(Exception, match="Disallowed host-to-device transfer"):
            jax.numpy.ones(3) + np.ones(3)
        return advance(*args)

    monkeypatch.setattr(training, "advance", advancing)
    train(experiment(train__steps=2, train__log_every=2, train__eval_every=0, train__save_every=0), tmp_path)
    assert len(levels) == 2


@pytest.mark.slow
def test_a_window_of_steps_is_profiled(tmp_path, capsys):
    short = experiment(train__steps=6, train__eval_every=0, train__save_every=0)
    train(short, tmp_path, profile=range(2, 4))
    assert "profile written to" in capsys.readouterr().err
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
