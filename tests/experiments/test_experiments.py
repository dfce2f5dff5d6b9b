"""Every experiment file: complete, valid, true to the paper, and unlike its base only where it says so."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import pytest

from trm_jax.config import Experiment, MemoryConfig, differences, experiment_from, to_dict
from trm_jax.config.files import execute, experiment, find, names, read
from trm_jax.errors import ConfigError
from trm_jax.model.model import Model, count_weights

FILES = [name.replace("/", ".") for name in names()]
VARIANTS: dict[str, tuple[str, ...]] = {name: execute(find(name)).VARIANTS for name in FILES}
CASES = [(name, variant) for name in FILES for variant in ("", *VARIANTS[name])]


def load(name: str, variant: str = "") -> Experiment:
    return experiment(f"{name}:{variant}")


def flat_keys(values: Mapping[str, Any], path: str = "") -> set[str]:
    keys: set[str] = set()
    for key, value in values.items():
        keys |= flat_keys(value, f"{path}{key}.") if isinstance(value, Mapping) else {path + key}
    return keys


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_every_key_is_present_and_valid(name: str, variant: str) -> None:
    config = read(f"{name}:{variant}")

    built = experiment_from(config.to_dict())

    assert flat_keys(config.to_dict()) == flat_keys(to_dict(Experiment()))
    assert name.rpartition(".")[2] in built.name
    assert variant in built.name


@pytest.mark.parametrize("name", FILES)
def test_an_unknown_variant_is_an_error_that_names_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown variant 'n7'.*" + ", ".join(VARIANTS[name])):
        read(f"{name}:n7")


# What the paper and the commands of the original state.
COMMON: dict[str, Any] = {
    "model.width": 512,
    "model.heads": 8,
    "model.layers": 2,
    "model.cycles": 3,
    "model.grad_cycles": 1,
    "model.gradient": "cycles",
    "model.backprop_steps": 1,
    "model.states": "y_z",
    "model.supervision_steps": 16,
    "model.exploration": 0.1,
    "model.puzzle_dim": 512,
    "model.puzzle_tokens": 16,
    "model.halt_by": "q_halt",
    "loss.tokens": "stablemax",
    "loss.continue_head": False,
    "optim.learning_rate": 1e-4,
    "optim.warmup_steps": 2_000,
    "optim.min_ratio": 1.0,
    "optim.beta1": 0.9,
    "optim.beta2": 0.95,
    "optim.atan2_form": "original",
    "optim.ema_decay": 0.999,
    "train.batch_size": 768,
}
PUZZLES: dict[str, Any] = {
    "model.num_puzzles": 1,
    "optim.weight_decay": 1.0,
    "optim.puzzle_weight_decay": 1.0,
    "optim.puzzle_learning_rate": 1e-4,
    "train.steps": 50_000 * 1_000 // 768,
    "data.augment": True,
}
SUDOKU: dict[str, Any] = PUZZLES | {
    "model.vocab_size": 11,
    "model.seq_len": 81,
    "model.latent_steps": 6,
    "data.puzzle": "sudoku",
}
ATTENTION: dict[str, Any] = {"model.mixer": "attention", "model.positions": "rope"}
ARC: dict[str, Any] = ATTENTION | {
    "model.vocab_size": 12,
    "model.seq_len": 900,
    "model.num_puzzles": 0,
    "optim.weight_decay": 0.1,
    "optim.puzzle_weight_decay": 0.1,
    "optim.puzzle_learning_rate": 1e-2,
    "data.puzzle": "arc",
    "data.augment": False,
}
MAZE: dict[str, Any] = PUZZLES | ATTENTION | {"model.vocab_size": 6, "model.seq_len": 900, "model.latent_steps": 4}
MAZE |= {"data.puzzle": "maze"}
PAPER: dict[tuple[str, str], dict[str, Any]] = {
    ("sudoku_mlp", ""): SUDOKU | {"model.mixer": "mlp", "model.positions": "none"},
    ("sudoku_attention", ""): SUDOKU | ATTENTION,
    ("maze", ""): MAZE | {"data.augment": False},  # as the public builder does, not the text
    ("maze", "symmetries"): MAZE,
    ("arc1", ""): ARC | {"model.latent_steps": 4, "train.steps": 518_226},
    ("arc1", "n6"): ARC | {"model.latent_steps": 6, "train.steps": 518_226},
    ("arc2", ""): ARC | {"model.latent_steps": 4, "train.steps": 722_099},
    ("arc2", "n6"): ARC | {"model.latent_steps": 6, "train.steps": 722_099},
}


@pytest.mark.parametrize(("name", "variant"), PAPER)
def test_values_are_those_of_the_paper(name: str, variant: str) -> None:
    values = to_dict(load(name, variant))

    expected = COMMON | PAPER[name, variant]
    found = {key: values[key.partition(".")[0]][key.partition(".")[2]] for key in expected}

    assert found == expected


# What each differs in from sudoku_mlp, besides its name.
CHANGES: dict[str, set[str]] = {
    "sudoku_attention": {"model.mixer", "model.positions"},
    "ablations.continue_head": {"loss.continue_head", "model.halt_by"},
    "ablations.separate_networks": {"model.separate_networks"},
    "ablations.no_ema": {"optim.ema_decay"},
    "ablations.four_layers": {"model.layers", "model.latent_steps"},
    "ablations.shallow_recursion": {"model.latent_steps", "model.cycles"},
    "ablations.one_step_gradient": {"model.gradient"},
    "ablations.six_latents": {"model.latents"},
    "ablations.single_latent": {"model.states"},
    "ablations.latent_steps_and_cycles": set(),
    "ablations.recipe": set(),
    "sudoku_fast": {
        *("model.puzzle_dim", "model.puzzle_tokens", "model.gate", "model.latent_steps", "model.cycles"),
        *("loss.smoothing", "loss.halting", "optim.optimiser", "optim.muon_ratio", "optim.warmup_steps"),
        *("optim.min_ratio", "optim.ema_decay", "optim.ema_start", "optim.weight_dtype"),
        *("train.steps", "train.batch_size"),
    },
    "ablations.direct": {
        *("model.states", "model.mixer", "model.positions"),
        *("model.layers", "model.puzzle_tokens", "model.cycles"),
    },
    "ablations.hrm": {
        *("model.mixer", "model.positions", "model.separate_networks", "model.layers", "model.answer_layers"),
        *("model.puzzle_tokens", "model.latent_steps", "model.cycles", "model.gradient", "model.halt_by"),
        *("loss.continue_head", "optim.ema_decay"),
    },
}


def changed_keys(old: Experiment, new: Experiment) -> set[str]:
    return {line.partition(":")[0] for line in differences(old, new)} - {"name"}


@pytest.mark.parametrize("name", CHANGES)
def test_an_ablation_changes_what_it_names_and_nothing_else(name: str) -> None:
    assert changed_keys(load("sudoku_mlp"), load(name)) == CHANGES[name]


# What a switch of the recipe changes in sudoku_mlp or sudoku_attention.
SWITCHES: dict[str, set[str]] = {
    "muon": {"optim.optimiser"},
    "normalised_gate": {"model.gate"},
    "no_puzzle_tokens": {"model.puzzle_dim", "model.puzzle_tokens"},
    "smoothing": {"loss.smoothing"},
    "late_average": {"optim.ema_start"},
    "bfloat16_weights": {"optim.weight_dtype"},
    "winner_take_all": {"model.latents", "model.winner_take_all"},
    "row_column_box": {"model.positions", "model.puzzle"},
    "damping": {"model.damping"},
    "random_starts": {"model.start_noise"},
    "latent_noise": {"model.latent_noise"},
    "two_steps": {"model.backprop_steps"},
    "qk_norm": {"model.qk_norm"},
    "rope_2d": {"model.positions", "model.puzzle"},
}


@pytest.mark.parametrize("variant", VARIANTS["ablations.recipe"][:-1])
def test_a_variant_of_the_recipe_turns_one_switch(variant: str) -> None:
    base = "sudoku_attention" if variant in ("qk_norm", "rope_2d") else "sudoku_mlp"
    assert changed_keys(load(base), load("ablations.recipe", variant)) == SWITCHES[variant]


def test_every_ablation_is_in_the_table() -> None:
    assert {name for name in FILES if name.startswith("ablations.")} <= set(CHANGES)


@pytest.mark.parametrize(
    ("variant", "n", "cycles", "policy"),
    [
        ("n2_T1", 2, 1, "none"),
        ("n4_T2", 4, 2, "none"),
        ("n6_T3", 6, 3, "none"),
        ("n8_T4", 8, 4, "none"),
        ("n6_T6", 6, 6, "none"),
        ("n12_T3", 12, 3, "step"),
        ("n12_T6", 12, 6, "step"),
    ],
)
def test_depths_of_recursion(variant: str, n: int, cycles: int, policy: str) -> None:
    base = load("sudoku_mlp")
    deeper = replace(base.model, latent_steps=n, cycles=cycles)

    found = load("ablations.latent_steps_and_cycles", variant)

    assert found == replace(base, name=found.name, model=deeper, memory=replace(base.memory, policy=policy))


# The paper's two cells that ran out of memory, and the small model of the deeper one.
RECOMPUTE = [("ablations.latent_steps_and_cycles", variant) for variant in ("n12_T3", "n12_T6", "smoke")]


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case not in RECOMPUTE])
def test_nothing_is_computed_again_where_the_paper_did_not_run_out_of_memory(name: str, variant: str) -> None:
    assert load(name, variant).memory == MemoryConfig(micro_batches=0)


@pytest.mark.parametrize("name", ["arc1", "arc2"])
def test_the_variant_n6_changes_the_latent_steps_only(name: str) -> None:
    assert changed_keys(load(name), load(name, "n6")) == {"model.latent_steps"}


def test_the_variant_symmetries_changes_these_only() -> None:
    assert changed_keys(load("maze"), load("maze", "symmetries")) == {"data.augment"}


def test_arc2_differs_from_arc1_in_the_length_of_the_run_only() -> None:
    assert changed_keys(load("arc1"), load("arc2")) == {"train.steps"}


# Network, heads and embeddings; the paper says 5M, 7M, 7M, 10M and 27M.
@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("sudoku_mlp", 5.0),
        ("sudoku_attention", 6.8),
        ("arc1", 6.8),
        ("ablations.separate_networks", 10.0),
        ("ablations.four_layers", 10.0),
        ("ablations.hrm", 27.3),
        ("ablations.direct", 27.3),
    ],
)
def test_numbers_of_weights(name: str, millions: float) -> None:
    model = replace(load(name).model, num_puzzles=876_406)

    counts = count_weights(jax.eval_shape(Model(model).init, jax.random.key(0)))

    assert counts["puzzle table"] == 876_406 * 512
    trained = counts["network"] + counts["heads"] + counts["embeddings"]
    assert round(trained / 1e6, 1) == millions


@pytest.mark.parametrize("variant", ["", "6x6", "9x9"])
def test_the_demo_fits_the_sudokus_that_it_generates(variant: str) -> None:
    demo = load("demo", variant)

    side = demo.data.side
    assert (demo.model.vocab_size, demo.model.seq_len) == (side + 2, side**2)
    assert demo.model.tokens_in_front == 0
    assert (demo.data.train, demo.data.test) == ("generated", "generated")


# What makes a model tiny and its run short; nothing else does the variant smoke change.
SIZES = {
    *(f"model.{key}" for key in ("width", "heads", "layers", "answer_layers", "puzzle_dim", "puzzle_tokens")),
    *(f"model.{key}" for key in ("latents", "latent_steps", "cycles", "grad_cycles", "supervision_steps")),
    *("model.seq_len", "model.dtype"),
    *("devices.data", "optim.learning_rate", "optim.warmup_steps", "optim.ema_start"),
    *("data.train", "data.train_puzzles"),
    *(f"train.{key}" for key in ("steps", "batch_size", "log_every", "eval_every", "save_every")),
}


@pytest.mark.parametrize("name", FILES)
def test_the_variant_smoke_is_the_experiment_made_tiny(name: str) -> None:
    deepest = {
        "ablations.latent_steps_and_cycles": "n12_T6",
        "ablations.recipe": "winner_take_all",
        "maze": "symmetries",
    }.get(name, "")
    smoke = load(name, "smoke")

    assert changed_keys(load(name, deepest), smoke) <= SIZES
    assert (smoke.train.steps, smoke.train.log_every, smoke.train.batch_size) == (20, 1, 8)
    assert smoke.train.eval_every == 0
    assert max(smoke.model.width, smoke.model.puzzle_dim) == 16
    assert (smoke.data.train == "generated") == (smoke.data.puzzle == "sudoku")


@pytest.mark.parametrize("name", CHANGES)
def test_a_small_ablation_differs_from_the_small_base_as_the_large_one_does(name: str) -> None:
    changed = changed_keys(load("sudoku_mlp", "smoke"), load(name, "smoke"))

    assert changed
    of_variants = {
        "ablations.latent_steps_and_cycles": {"memory.policy"},
        "ablations.recipe": SWITCHES["winner_take_all"],
    }
    assert changed <= (CHANGES[name] or of_variants[name])
