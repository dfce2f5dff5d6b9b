"""The benchmark of inference: what it measures, what it tells the original, and what it refuses."""

import json
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from small_step import EXPERIMENT, batch_of

from benchmarks import inference, turns
from benchmarks.inference import Work, from_experiment, from_run, measure
from benchmarks.original import Original, order_for
from trm_jax.data import dataset, puzzle_set
from trm_jax.errors import ConfigError
from trm_jax.model.model import Model

FIRST = '{"torch": "9.9"}'


def work_of(weights_from="runs/some", halt_above=0.0) -> Work:
    """Ten puzzles, four at a time, three supervision steps; the model halts at once above -1, and never above 1."""
    rng = np.random.default_rng(0)
    cells = rng.integers(1, 5, (10, 4)).astype(np.int32)
    weights = jax.jit(Model.init, static_argnums=0)(Model(EXPERIMENT.model), jax.random.key(0))
    head = {"kernel": np.zeros((16, 2), np.float32), "bias": np.zeros(2, np.float32)}
    weights = replace(weights, params=weights.params | {"q_head": head})
    return Work(EXPERIMENT, weights, puzzle_set.from_pairs(cells, cells, 5), weights_from, halt_above, None)


def test_both_of_ours_are_measured_on_the_same_puzzles():
    fixed, halting = measure(work_of(halt_above=-1.0), ["fixed", "halting"], 2, None, "")
    assert (fixed["variant"], halting["variant"]) == ("fixed", "halting")
    assert (fixed["mean_steps"], halting["mean_steps"]) == (3.0, 1.0)
    assert (fixed["halt_above"], halting["halt_above"]) == (None, -1.0)
    assert halting["same_answers"] < 1
    assert fixed["exact"] == halting["exact"] == 0.0
    for row in (fixed, halting):
        assert (row["puzzles"], row["rounds"], row["steps"], row["batch_size"]) == (10, 2, 3, 4)
        assert 0 < row["seconds_min"] <= row["seconds_median"] <= row["seconds_max"]
        assert row["puzzles_per_second"] == pytest.approx(10 / row["seconds_median"], rel=0.01)
        assert row["weights"] == "runs/some"
        assert row["device"]
    ratio = halting["seconds_min"] / fixed["seconds_min"]
    assert halting["times_fixed_of_minima"] == pytest.approx(ratio, rel=0.02)
    assert "times_fixed_of_minima" not in fixed


def test_who_never_halts_gives_the_same_answers(monkeypatch):
    calls = []
    attempt = inference.attempt

    def counted(model, weights, effort, inputs, puzzle_ids, batch_size):
        calls.append((effort.halting, len(inputs), batch_size))
        return attempt(model, weights, effort, inputs, puzzle_ids, batch_size)

    monkeypatch.setattr(inference, "attempt", counted)
    work = work_of(weights_from="random", halt_above=1.0)
    fixed, halting = measure(work, ["fixed", "halting"], 1, None, "")
    assert halting["same_answers"] == 1.0
    assert halting["mean_steps"] == 3.0
    assert (fixed["exact"], halting["exact"]) == (None, None)  # of random answers, the share that is right says nothing
    # The first pass of each, one that does not count, and the rounds.
    assert calls == [(False, 10, 4)] * 2 + [(True, 10, 4)] * 2 + [(False, 10, 4), (True, 10, 4)]


def test_an_answer_is_right_where_every_cell_that_has_a_label_is():
    work = work_of()
    labels = inference.Ours(work, halting=False).answers.astype(np.int32)
    labels[5:9, 0] += 1
    labels[8:, 0] = 0  # no label
    work = replace(work, puzzles=replace(work.puzzles, labels=labels))
    assert inference.Ours(work, halting=False).figures()["exact"] == 0.7


def test_an_experiment_brings_random_puzzles_and_its_own_steps():
    work = from_experiment(EXPERIMENT, None, 2, 0)
    assert (work.steps, work.batch_size, work.random) == (3, 2, True)
    assert work.puzzles.inputs.shape == (8, 4)
    assert set(np.unique(work.puzzles.inputs)) == {1, 2, 3, 4}
    assert (work.puzzles.inputs[0] != work.puzzles.inputs[1]).any()
    few = from_experiment(EXPERIMENT, 5, 256, 3)
    assert (few.steps, few.batch_size, len(few.puzzles)) == (5, 3, 3)  # or the original would fill up to 256


def test_a_run_brings_its_weights_and_its_own_puzzles(monkeypatch):
    work = work_of()
    monkeypatch.setattr(inference, "load", lambda run: (EXPERIMENT, work.weights))
    monkeypatch.setattr(dataset, "load_named", lambda experiment, *asked: (asked, work.puzzles)[1])
    found = from_run(inference.Path("runs/some"), "", None, 256, 0, 2.0)
    assert (found.steps, found.batch_size, found.random, found.halt_above) == (3, 10, False, 2.0)
    assert found.weights is work.weights
    assert found.weights_from == "runs/some"


def test_the_original_is_given_every_puzzle_once_in_batches_of_one_size(monkeypatch, tmp_path):
    orders = []

    class Reference:
        def __init__(self, python, checkout, order, trained):
            orders.append(order)

        def run(self):
            return 4.0

        def figures(self):
            return {"torch": "9.9"}

        def close(self):
            orders.append("closed")

    monkeypatch.setattr(inference, "Original", Reference)
    work = replace(work_of(), experiment=inference._sized(EXPERIMENT, 6, 4))
    eager, compiled = measure(work, ["eager", "compiled"], 3, tmp_path, "python")
    assert [row["seconds_median"] for row in (eager, compiled)] == [4.0, 4.0]
    assert (eager["weights"], eager["puzzles_per_second"], eager["torch"]) == ("random", 2.5, "9.9")
    assert orders[2:] == ["closed", "closed"]
    assert [(order["task"], order["compiled"]) for order in orders[:2]] == [("evaluate", False), ("evaluate", True)]
    order = orders[0]
    assert order["config"]["arch"]["halt_max_steps"] == 6
    assert order["config"]["global_batch_size"] == 4
    inputs, labels = (np.array([batch[name] for batch in order["batches"]]) for name in ("inputs", "labels"))
    assert inputs.shape == (3, 4, 4)
    np.testing.assert_array_equal(inputs.reshape(12, 4)[:10], work.puzzles.inputs)
    assert (labels.reshape(12, 4)[10:] == -100).all()  # rows that the last batch lacks


@pytest.mark.parametrize("compiled", [False, True])
def test_the_worker_makes_the_evaluation_of_the_pretrain_that_it_is_given(tmp_path, compiled):
    pytest.importorskip("torch")
    (tmp_path / "pretrain.py").write_text(PRETRAIN)
    order = order_for(EXPERIMENT, "evaluate", [batch_of([1, 2, 3, 4]), batch_of([5, 6, 7, 8])], compiled)
    original = Original(sys.executable, tmp_path, order, trained=6)
    try:
        assert original.run() > 0
        with pytest.raises(ConfigError, match=r"made 2.0 supervision steps, and was asked for 3"):
            original.run()
    finally:
        original.close()


# In place of the real one, which runs a model: two evaluations with all supervision steps, then one with fewer.
PRETRAIN = """
import os
from types import SimpleNamespace

import numpy as np
import torch

PretrainConfig = SimpleNamespace
calls = []


def init_train_state(config, metadata, rank, world_size):
    return SimpleNamespace(model=torch.nn.Linear(2, 2))


def evaluate(config, train_state, eval_loader, eval_metadata, evaluators, rank, world_size, cpu_group):
    assert not train_state.model.training
    with torch.inference_mode():
        (evaluator,) = evaluators
        evaluator.begin_eval()
        values = torch.zeros((len(eval_metadata.sets), 2), dtype=torch.float32, device="cuda")
        for name, batch, size in eval_loader:
            assert name in eval_metadata.sets
            assert size == config.global_batch_size == 4
            batch = {name: rows.cuda() for name, rows in batch.items()}
            keys = set(evaluator.required_outputs)
            evaluator.update_batch(batch, {key: torch.ones(size, dtype=torch.bfloat16) for key in keys})
            values += batch["puzzle_identifiers"].sum()
        assert values[0, 0] == sum(range(1, 9))
        assert len(evaluator._kept) == 2
        assert evaluator.result(None, rank=rank, world_size=world_size, group=cpu_group) is None
    calls.append(name)
    steps = config.arch["halt_max_steps"] - (len(calls) == 3)
    return {"all": {"lm_loss": np.float32(1.5), "steps": np.float32(steps)}}
"""


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ('{"seconds": 1, "loss": NaN, "steps": 3, "bytes": 0}', "the original, compiled: the loss is nan"),
        ('{"seconds": 1, "loss": 1, "steps": 2.5, "bytes": 0}', "made 2.5 supervision steps, and was asked for 3"),
    ],
)
def test_an_original_that_does_other_work_is_told_in_one_line(tmp_path, told, message):
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nprint('{FIRST}', '{{\"parameters\": 7}}', '{told}', sep='\\n')\n")
    python.chmod(0o755)
    order = order_for(EXPERIMENT, "evaluate", [batch_of([0] * 4)], True)
    with pytest.raises(ConfigError, match=message) as error:
        Original(str(python), tmp_path, order, 7)
    assert "\n" not in str(error.value)


def test_main_keeps_memory_first_and_adds_a_row_for_each_variant(monkeypatch, tmp_path, capsys):
    log = []
    monkeypatch.setattr(inference, "keep_memory", lambda: log.append("memory"))
    monkeypatch.setattr(inference, "load_experiment", lambda words: (log.append(words), EXPERIMENT)[1])
    monkeypatch.setattr(inference, "RESULTS", tmp_path / "rows.jsonl")
    monkeypatch.setattr(
        inference,
        "measure",
        lambda work, names, repeats, checkout, python: [{"variant": name, "steps": work.steps} for name in names],
    )
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    (tmp_path / "pretrain.py").touch()
    arguments = ["--config=some.py", "--config.model.width=8", "--limit", "2", "--reference", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["inference", *arguments])
    inference.main()
    assert log == ["memory", ["--config=some.py", "--config.model.width=8"]]
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert rows == [{"variant": name, "steps": 3} for name in ("fixed", "eager", "compiled")]
    assert capsys.readouterr().out.split() == ["variant", "fixed", "eager", "compiled", "steps", "3", "3", "3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a RUN, or --config"),
        (["runs/some", "--config=experiments/demo.py"], "--config=experiments/demo.py: unknown beside a RUN"),
        (["--config=experiments/demo.py", "--variants", "fixed,halting"], "'halting' needs a RUN"),
        (["--config=experiments/demo.py", "--variants", "eager"], "'eager' needs --reference PATH"),
        (["runs/some", "--variants", "ours"], "'ours' is none of fixed, halting, eager, compiled"),
        (["runs/some", "--reference", "nowhere"], "nowhere: no pretrain.py there"),
        (["runs/some", "--steps", "0"], "give numbers from 1 on"),
        (["runs/some", "--limit", "-1"], "to --limit one from 0 on"),
        (["nowhere"], "nowhere: no checkpoint here"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(inference, "keep_memory", lambda: None)
    monkeypatch.setattr(sys, "argv", ["inference", *arguments])
    with pytest.raises(SystemExit) as end:
        inference.main()
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux keeps the account")
def test_memory_that_compilation_freed_is_not_counted():
    pid = turns.os.getpid()
    turns.forget_peak(pid)
    before = turns.resident(pid, "VmRSS")
    # Pieces too small for mappings of their own, of which a few stay: the C library would keep what is between them.
    pieces = [bytearray(b"x") * 100_000 for _ in range(640)]
    kept = pieces[::16]
    del pieces
    assert turns.growth(before, pid) > 0.055
    turns.forget_peak(pid)
    assert turns.growth(before, pid) < 0.02
    assert len(kept) == 40
