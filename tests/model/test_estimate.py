"""The cost of an experiment: the paper's arithmetic, and XLA's own count of operations."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from trm_jax.config import Experiment, LossConfig, MemoryConfig, ModelConfig, TrainConfig
from trm_jax.config.files import experiment
from trm_jax.model.estimate import (
    Estimate,
    applications,
    estimate,
    forward_flops,
    mean_step_flops,
    training_flops,
)
from trm_jax.model.network import Network
from trm_jax.sizes import si


def paper_model(**changes: Any) -> ModelConfig:
    return replace(experiment("sudoku_mlp").model, **changes)


@pytest.fixture(scope="module")
def paper() -> Estimate:
    return estimate(experiment("sudoku_mlp"))


def test_sudoku_mlp_has_the_papers_cost(paper: Estimate) -> None:
    # Two blocks of 97 positions x 512 features; inner widths 1536 (of 512) and 512 (of 97, rounded up to 256s).
    by_hand = 2 * 2 * (3 * 512 * 1536 * 97 + 3 * 97 * 512 * 512)
    assert paper.flops_per_application == by_hand
    assert paper.flops_per_application == pytest.approx(1.22e9, rel=0.005)
    assert paper.applications_per_step == (3 + 2) * (6 + 1) == 35
    assert paper.flops_per_puzzle_step == 35 * by_hand
    assert paper.flops_per_puzzle_step == pytest.approx(42.7e9, rel=0.005)
    assert paper.flops_per_step == 768 * 35 * by_hand
    assert paper.flops_total == 65_104 * 768 * 35 * by_hand


def test_weights_by_part(paper: Estimate) -> None:
    network = 2 * (3 * 512 * 1536 + 3 * 97 * 512)  # two blocks, each a SwiGLU of features and one of positions
    heads = 512 * 11 + 512 * 2 + 2
    assert paper.weights == {
        "network": network,
        "heads": heads,
        "embeddings": 11 * 512,
        "puzzle table": 512,
        "start vectors": 2 * 512,
    }
    assert paper.trained == network + heads + 11 * 512
    assert paper.from_data == []


def test_sizes_left_to_the_data_are_told() -> None:
    figures = estimate(Experiment(model=paper_model(seq_len=0, num_puzzles=0)))

    assert figures.from_data == ["config.model.seq_len", "config.model.num_puzzles"]
    assert "(counted as 1, to come from the data: config.model.seq_len, config.model.num_puzzles)" in figures.table()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (30, 5)),
        ({"cycles": 1}, (18, 3)),
        ({"grad_cycles": 3}, (54, 9)),
        ({"gradient": "one_step"}, (18 + 2, 3 + 2)),
        ({"gradient": "last_k", "gradient_steps": 4}, (18 + 8, 3 + 2)),
        # One pass over the latents, and its transposed products: one to end with, two for each of the solver's steps.
        ({"gradient": "implicit", "solver_steps": 10}, (18 + 1 + 2 * 11, 3 + 2)),
        ({"grad_cycles": 3, "backprop_steps": 4}, (4 * 54, 4 * 9)),
        ({"backprop_steps": 2}, (2 * 30, 2 * 5)),
        ({"latents": 4, "winner_take_all": True}, (4 * 18 + 30, 4 * 3 + 5)),
        ({"states": "y"}, (0, 5)),
        ({"latent_steps": 2, "cycles": 2}, (8, 4)),
    ],
)
def test_applications(changes: dict[str, Any], expected: tuple[int, int]) -> None:
    assert applications(paper_model(**changes)) == applications(paper_model(**changes), MemoryConfig()) == expected


@pytest.mark.parametrize(
    ("memory", "changes", "expected"),
    [
        # Reversing a step begins with making it again; the answer step is a chain of one.
        (MemoryConfig("step"), {}, (30 + 6, 5 + 1)),
        (MemoryConfig("offload"), {}, (30 + 6, 5 + 1)),
        (MemoryConfig("dots"), {}, (30, 5)),
        # 6 steps in parts of 2: the second step of the first two parts is advanced over once more, by one each.
        (MemoryConfig("nested", levels=2), {}, (30 + 6 + 2, 5 + 1)),
        (MemoryConfig("nested", levels=1), {}, (30 + 6, 5 + 1)),
        # Three states for six steps: the least is 8 advances, of which 5 are the forward pass.
        (MemoryConfig("binomial", states=3), {}, (30 + 6 + 3, 5 + 1)),
        (MemoryConfig("binomial", repetitions=2), {}, (30 + 6 + 3, 5 + 1)),
        (MemoryConfig("binomial", states=2), {}, (30 + 6 + 10, 5 + 1)),
        # A slice keeps what it begins with, whatever the policy.
        (MemoryConfig(slices=4), {}, (30 + 6, 5 + 1)),
        (MemoryConfig("step", slices=4), {}, (30 + 6, 5 + 1)),
        (MemoryConfig(micro_batches=4), {}, (30, 5)),
        (MemoryConfig("step"), {"grad_cycles": 3}, (54 + 18, 9 + 3)),
        (MemoryConfig(outer_policy="step"), {}, (30, 5)),
        (MemoryConfig(outer_policy="step"), {"grad_cycles": 3}, (54 + 18, 9 + 3)),
        (MemoryConfig(outer_policy="dots"), {"grad_cycles": 3}, (54, 9)),
        # Within a cycle that is made again, its steps are made again once more.
        (MemoryConfig("step", outer_policy="step"), {"grad_cycles": 3}, (54 + 18 + 18, 9 + 3 + 3)),
        # Two states for three cycles: the first is advanced over once more.
        (MemoryConfig(outer_policy="binomial", states=2), {"grad_cycles": 3}, (54 + 18 + 6, 9 + 3 + 1)),
        # Cycles and supervision steps alike: every cycle is made, again for its supervision step, again for itself.
        (MemoryConfig(outer_policy="step"), {"grad_cycles": 3, "backprop_steps": 2}, (2 * (54 + 36), 2 * (9 + 6))),
        (MemoryConfig("step"), {"gradient": "one_step"}, (18 + 3, 3 + 3)),
        (MemoryConfig("step"), {"gradient": "last_k", "gradient_steps": 4}, (18 + 8 + 4, 3 + 3)),
        (MemoryConfig("binomial", states=2), {"gradient": "last_k", "gradient_steps": 4}, (18 + 8 + 4 + 3, 3 + 3)),
        (MemoryConfig(slices=2), {"gradient": "last_k", "gradient_steps": 4}, (18 + 8 + 4, 3 + 3)),
        (MemoryConfig("step"), {"gradient": "implicit", "solver_steps": 10}, (18 + 1 + 2 * 11, 3 + 3)),
        (MemoryConfig("step"), {"states": "y"}, (0, 6)),
    ],
)
def test_applications_that_policies_repeat(
    memory: MemoryConfig, changes: dict[str, Any], expected: tuple[int, int]
) -> None:
    assert applications(paper_model(**changes), memory) == expected


def test_a_policy_is_part_of_an_experiments_cost(paper: Estimate) -> None:
    figures = estimate(Experiment(model=paper_model(), memory=MemoryConfig("step"), train=TrainConfig(batch_size=768)))

    assert figures.applications_per_step == 36 + 6
    assert figures.flops_per_step * 35 == paper.flops_per_step * 42


def test_the_continue_head_costs_one_more_supervision_step_without_gradients(paper: Estimate) -> None:
    figures = estimate(Experiment(model=paper_model(), loss=LossConfig(continue_head=True)))

    assert figures.applications_per_step == 35 + 3 * (6 + 1)
    assert figures.flops_per_application == paper.flops_per_application


def test_two_networks_may_be_of_two_depths() -> None:
    model = paper_model(separate_networks=True, answer_layers=1)

    figures = estimate(Experiment(model=model, train=TrainConfig(steps=3, batch_size=2)))

    assert figures.flops_per_puzzle_step == 30 * forward_flops(model, 2) + 5 * forward_flops(model, 1)
    assert figures.flops_total == 6 * figures.flops_per_puzzle_step
    assert figures.weights["network"] == 3 * (3 * 512 * 1536 + 3 * 97 * 512)


def test_attention_by_hand() -> None:
    model = experiment("maze").model
    projections, scores_and_mixture = 4 * 512 * 512 * 916, 2 * 916 * 916 * 512

    assert forward_flops(model, 1) == 2 * (3 * 512 * 1536 * 916 + projections + scores_and_mixture)


@pytest.mark.parametrize(("mixer", "seq_len"), [("mlp", 36), ("attention", 252)])
@pytest.mark.parametrize("layers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_application_costs_what_xla_counts(mixer: Any, seq_len: int, layers: int) -> None:
    model = ModelConfig(width=64, heads=2, seq_len=seq_len, puzzle_dim=0, puzzle_tokens=4, mixer=mixer, dtype="float32")
    network = Network(model, layers)
    h_BLD = jnp.zeros((1, model.positions_total, model.width))
    params = jax.jit(network.init)(jax.random.key(0), h_BLD, 0.0)

    cost = jax.jit(network.apply).lower(params, h_BLD, h_BLD).compile().cost_analysis()

    assert forward_flops(model, layers) == pytest.approx(cost["flops"], rel=0.15)


def test_table_and_dictionary(paper: Estimate) -> None:
    lines = paper.table().splitlines()

    assert lines[0] == f"{'network':28}{5_016_576:>16,} weights"
    assert f"{'network applications a step':28}{35:>16,} (a backward pass counts two)" in lines
    assert f"{'one application':28}{'1.22 GFLOP':>16} a puzzle" in lines
    assert f"{'one training step':28}{'42.7 GFLOP':>16} a puzzle" in lines
    assert f"{'the whole run':28}{'2.14 EFLOP':>16}" in lines
    assert paper.to_dict()["weights"]["network"] == 5_016_576
    # A part that an experiment does not have is not listed.
    no_table = estimate(experiment("demo"))
    assert no_table.weights["puzzle table"] == 0
    assert "puzzle table" not in no_table.table()


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (0, "0 FLOP"),
        (999, "999 FLOP"),
        (999.4, "999 FLOP"),
        (999.6, "1 KFLOP"),
        (1_500, "1.5 KFLOP"),
        (999_600, "1 MFLOP"),
        (1.22e9, "1.22 GFLOP"),
        (2.1e18, "2.1 EFLOP"),
        (5e21, "5e+03 EFLOP"),
    ],
)
def test_si(flops: float, text: str) -> None:
    assert si(flops) == text


def test_each_stage_of_a_curriculum_counts_at_its_own_cost(paper: Estimate) -> None:
    """Of 1,000 steps, 300 at T = 1 and n = 2, 300 at T = 3 and n = 2, and 400 as in the paper: (T + 2)(n + 1) each."""
    growing = "cycles=1+latent_steps=2@0.3,latent_steps=2@0.6"
    made = experiment("sudoku_mlp", {"train.steps": 1_000, "train.curriculum": growing})
    one = 768 * paper.flops_per_application
    found = estimate(made)
    assert found.flops_total == training_flops(made, 1_000) == one * (300 * 9 + 300 * 15 + 400 * 35)
    assert (found.flops_per_step, found.stages) == (one * 35, 3)
    assert found.table().endswith("(of 3 stages of depth, each counted in the whole run; a step is one of the last)")
    assert [training_flops(made, steps) for steps in (0, 300, 310, 601)] == [
        0, one * 300 * 9, one * (300 * 9 + 10 * 15), one * (300 * 9 + 300 * 15 + 35)
    ]  # fmt: skip
    assert mean_step_flops(made) == found.flops_total // 1_000
    assert (paper.stages, "stages" in paper.table()) == (1, False)
