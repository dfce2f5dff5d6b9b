"""The benchmark of the training step: its stand-in for an optimiser, its arithmetic, and what it refuses."""

import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from small_step import EXPERIMENT, batch_of, with_model

from benchmarks import matmul, step_time
from benchmarks.original import Original, order_for
from benchmarks.step_time import measure
from benchmarks.turns import Times, take_turns
from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import estimate, forward_flops
from trm_jax.training.optim import adam_atan2

FIRST = '{"torch": "9.9"}'


@pytest.mark.parametrize("steps", [1, 5])
def test_the_stand_in_takes_the_steps_of_the_original_optimiser(steps):
    torch = pytest.importorskip("torch")
    from benchmarks.reference import AdamATan2

    rng = np.random.default_rng(0)
    start = {"a": rng.normal(size=(3, 4)).astype(np.float32), "b": rng.normal(size=5).astype(np.float32)}
    theirs = {name: torch.nn.Parameter(torch.tensor(w)) for name, w in start.items()}
    optimiser = AdamATan2(theirs.values(), lr=0, weight_decay=0.5, betas=(0.9, 0.95))
    transform = adam_atan2(lambda t: 0.01 * t, 0.9, 0.95, 0.5)
    ours = {name: jnp.asarray(w) for name, w in start.items()}
    state = transform.init(ours)
    for t in range(1, steps + 1):
        grads = {name: rng.normal(size=w.shape).astype(np.float32) for name, w in start.items()}
        for name, p in theirs.items():
            p.grad = torch.tensor(grads[name])
        optimiser.param_groups[0]["lr"] = 0.01 * t  # as train_batch sets it
        optimiser.step()
        updates, state = transform.update(grads, state, ours)
        ours = {name: w + updates[name] for name, w in ours.items()}
    for name, p in theirs.items():
        np.testing.assert_allclose(p.detach().numpy(), ours[name], atol=2e-6)


def test_the_worker_makes_the_steps_of_the_pretrain_that_it_is_given(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "pretrain.py").write_text(PRETRAIN)
    order = order_for(EXPERIMENT, "train", [batch_of([1, 2, 3, 4])], False, 3)
    original = Original(sys.executable, tmp_path, order, trained=6)
    try:
        assert original.run() > 0
        assert original.figures()["torch"]
        with pytest.raises(ConfigError, match=r"the original, eager: the loss is nan"):
            original.run()
    finally:
        original.close()


# In place of the real one, which trains a model: two finite losses, then none.
PRETRAIN = """
import os
from types import SimpleNamespace

import torch
import wandb
from adam_atan2 import AdamATan2
from omegaconf import DictConfig

PretrainConfig = SimpleNamespace


class EMAHelper:
    def __init__(self, mu):
        assert mu == 0.75

    def register(self, model):
        model.averaged = 0

    def update(self, model):
        model.averaged += 1


def init_train_state(config, metadata, rank, world_size):
    assert "DISABLE_COMPILE" in os.environ
    assert metadata.seq_len == 4
    model = torch.nn.Linear(2, 2)
    model.steps = 0
    assert config.epochs * metadata.total_groups // config.global_batch_size == 50
    print("this is no answer")
    return SimpleNamespace(model=model, optimiser=AdamATan2(model.parameters(), 0.1, 0.0, (0.9, 0.95)))


def train_batch(config, state, batch, global_batch_size, rank, world_size):
    model = state.model
    assert model.averaged == model.steps
    model.steps += 1
    with torch.device("cuda"):
        x = torch.ones(global_batch_size, 2) * batch["inputs"].cuda().float().mean()
    model(x).sum().backward()
    state.optimiser.step()
    return {"train/lm_loss": float("nan") if model.steps == 3 else 1.0}
"""


def test_ratios_are_those_of_medians_of_minima_and_of_rounds():
    slow, fast = Times((4.0, 9.0, 8.0)), Times((2.0, 3.0, 4.0))
    assert slow.over(fast) == {"of_medians": 8 / 3, "of_minima": 2.0, "median_of_rounds": 2.0}
    assert fast.over(slow)["median_of_rounds"] == 0.5
    assert (slow.median, slow.spread) == (8.0, 5 / 8)


class Clock:
    """Stands in for variants and products, and notes whose turn it was."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def run(self):
        self.log.append(self.name)
        return float(len(self.log))

    def measure(self):
        self.log.append("products")


def test_variants_take_turns_and_products_come_in_every_round():
    log = []
    times = take_turns({"a": Clock("a", log), "b": Clock("b", log)}, 2, Clock("products", log).measure)
    assert log == ["a", "b", "products", "a", "b", "products"]
    assert times == {"a": Times((1.0, 4.0)), "b": Times((2.0, 5.0))}


@pytest.mark.parametrize("mixer", ["mlp", "attention"])
def test_the_products_are_those_that_an_estimate_counts(mixer):
    model = ModelConfig(seq_len=5, width=24, heads=2, expansion=8.0, puzzle_tokens=2, mixer=mixer)
    products = 2 * sum(m * k * n for m, k, n in matmul.sizes(model, 3).values())
    own = 4 * model.positions_total**2 * model.width * 3 if mixer == "attention" else 0  # attention's scores and sums
    assert products + own == 3 * forward_flops(model, 1)


def test_the_products_of_the_network_of_units_are_those_that_an_estimate_counts():
    model = ModelConfig(
        vocab_size=6, seq_len=16, width=24, expansion=1.7, mixer="symmetric", puzzle="sudoku", states="candidates"
    )
    products = 2 * sum(m * k * n for m, k, n in matmul.sizes(model, 3).values())
    assert products == 3 * forward_flops(model, 1)


def test_a_rate_counts_every_repetition(monkeypatch):
    products = matmul.Products(EXPERIMENT)
    monkeypatch.setattr(products, "_counts", dict.fromkeys(products._counts, 10))
    monkeypatch.setattr(products, "_seconds", lambda name: 2.0 if name == "feed_forward/down" else 10.0)
    products.measure()
    # [4 * 5, 256] @ [256, 16], ten times in two seconds
    assert products.best == ("feed_forward/down", 2 * 20 * 256 * 16 * 10 / 2.0)


def test_ours_alone_needs_no_reference():
    (row,) = measure(EXPERIMENT, ["ours"], 2, None, "")
    assert 0 < row["seconds_min"] <= row["seconds_median"] <= row["seconds_max"]
    assert row["puzzles_per_second"] == pytest.approx(4 / row["seconds_median"], rel=0.01)
    assert row["rounds"] == 2
    assert row["peak_gb_compiled"] >= 0
    assert not any(name.startswith("times_ours") for name in row)


def test_utilisation_is_the_rate_over_that_of_the_best_product():
    experiment = replace(EXPERIMENT, memory=replace(EXPERIMENT.memory, policy="step"))
    flops = estimate(EXPERIMENT).flops_per_step
    times = {"ours": Times((1.0,)), "eager": Times((2.0,))}
    row = step_time._row(experiment, "eager", times, ("down", 10.0 * flops))
    assert row["utilisation"] == 0.05  # without what our policy computes again
    assert (row["times_ours_of_minima"], row["puzzles_per_second"]) == (2.0, 2.0)
    assert row["policy"] is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"latents": 2}, "model.latents"), ({"grad_cycles": 2}, "model.grad_cycles"), ({"states": "z"}, "model.states")],
)
def test_what_the_original_cannot_run_is_refused(changes, key):
    with pytest.raises(ConfigError, match=key):
        order_for(with_model(**changes), "train", [batch_of([0] * 4)], False, 1)


def test_the_order_says_the_same_sizes():
    short = replace(EXPERIMENT, train=replace(EXPERIMENT.train, steps=2))
    order = order_for(short, "train", [batch_of([7, 7, 1, 2])], True, 9)
    assert (order["config"]["arch"]["hidden_size"], order["metadata"]["num_puzzle_identifiers"]) == (16, 9)
    assert order["batches"][0]["puzzle_identifiers"] == [7, 7, 1, 2]
    assert order["config"]["epochs"] == 9  # or its last steps would do nothing
    assert order["compiled"]
    assert order["device"] == "cpu"


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; sys.exit('ModuleNotFoundError: no torch')", "eager does not run: ModuleNotFoundError: no torch"),
        ("import sys; sys.exit(3)", "its process ended with status 3"),
        ("""print('{"error": "ImportError: of einops"}')""", "does not run: ImportError: of einops"),
        (f"""print('{FIRST}', '{{"parameters": 6}}', sep='\\n')""", "trains 6 parameters, and ours 7"),
        (
            f"""print('{FIRST}', '{{"parameters": 7}}', '{{"seconds": 1, "loss": NaN, "bytes": 0}}', sep='\\n')""",
            "the original, eager: the loss is nan",
        ),
    ],
)
def test_a_reference_that_fails_is_told_in_one_line(tmp_path, program, message):
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n{program}\n")
    python.chmod(0o755)
    with pytest.raises(ConfigError) as error:
        Original(str(python), tmp_path, order_for(EXPERIMENT, "train", [batch_of([0] * 4)], False, 1), 7)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reference", "nowhere"], "nowhere: no pretrain.py there"),
        (["--reference", ".", "--variants", "ours,fast"], "'fast' is none of"),
        (["--repeats", "0"], "--batch and --repeats"),
        (["--reference", "CHECKOUT", "--variants", "eager", "--reference-python", "nopython"], "No such file"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "pretrain.py").touch()
    given = [word.replace("CHECKOUT", str(tmp_path)) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["step_time", "--config=experiments/demo.py", "--batch", "2", *given])
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    kept = []
    monkeypatch.setattr(step_time, "keep_memory", lambda: kept.append(True))  # itself, it would last for all tests
    with pytest.raises(SystemExit) as end:
        step_time.main()
    assert kept == [True]
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert told.count("\n") == 1
