"""The original's names: trees go out under them and come back unchanged, and every misfit is named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import Experiment, ModelConfig
from trm_jax.errors import CheckpointError, ConfigError
from trm_jax.model.model import Model
from trm_jax.original import original
from trm_jax.recursion.recursion import State

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
    "mlp": {"mixer": "mlp", "positions": "none", "layers": 2},
    "learned positions": {"positions": "learned"},
    "no puzzle table": {"puzzle_dim": 0, "puzzle_tokens": 0},
    "single z": {"states": "z"},
    "three z": {"latents": 3},
    "hrm": {"separate_networks": True, "answer_layers": 2},
    "transformer": {"states": "y", "layers": 2},
}
RECORDED = {
    "kind": "trm",
    "vocab_size": 7,
    "seq_len": 16,
    "num_puzzle_identifiers": 9,
    "hidden_size": 32,
    "num_heads": 2,
    "expansion": 4,
    "L_layers": 2,
    "H_layers": 3,
    "mlp_t": False,
    "pos_encodings": "rope",
    "puzzle_emb_ndim": 48,
    "puzzle_emb_len": 4,
    "L_cycles": 6,
    "H_cycles": 3,
    "halt_max_steps": 8,
    "halt_exploration_prob": 0.0,
    "forward_dtype": "float32",
    "no_ACT_continue": True,
}
TRAINING = {
    "steps": 24,
    "batch_size": 6,
    "lr": 0.01,
    "warmup": 5,
    "lr_min_ratio": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "weight_decay": 0.5,
    "puzzle_emb_lr": 0.02,
    "puzzle_emb_weight_decay": 0.1,
    "ema": 0.9,
}


def weights_of(variant, **changes):
    model = Model(dataclasses.replace(TINY, **(VARIANTS[variant] | changes)))
    weights = jax.jit(model.init)(jax.random.key(1))
    rng = np.random.default_rng(0)
    # Tables and heads that start at zero would hide a mix-up.
    return jax.tree.map(lambda w: jnp.asarray(rng.standard_normal(w.shape), jnp.float32), weights)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_come_back_unchanged(variant):
    weights = weights_of(variant)
    exported = original.export_weights(weights)
    assert {name: array.shape for name, array in exported.items()} == original.export_shapes(weights)
    assert_same(original.import_weights(weights, exported), weights)
    compiled = {"_orig_mod." + name: array for name, array in exported.items()}
    assert_same(original.import_weights(jax.eval_shape(lambda: weights), compiled), weights)


@pytest.mark.parametrize("variant", VARIANTS)
def test_params_and_states_come_back_unchanged(variant):
    weights = weights_of(variant)
    assert_same(original.import_params(weights.params, original.export_params(weights.params)), weights.params)
    model = Model(dataclasses.replace(TINY, **VARIANTS[variant]))
    state = jax.tree.map(
        lambda a: a + jnp.arange(3.0)[:, None, None].reshape(3, *(1,) * (a.ndim - 1)),
        model.start(weights.starts, 3),
    )
    arrays = {"carry/" + name: array for name, array in original.export_state(state).items()}
    assert_same(original.import_state(state, arrays, "carry/"), state)


def test_linear_weights_are_transposed_and_tables_are_not():
    weights = weights_of("attention")
    exported = original.export_params(weights.params)
    np.testing.assert_array_equal(exported["model.inner.lm_head.weight"], weights.params["token_head"]["kernel"].T)
    np.testing.assert_array_equal(exported["model.inner.embed_tokens.embedding_weight"], weights.params["tokens"])


@pytest.mark.parametrize(
    ("variant", "states", "starts"),
    [
        ("attention", ["z_H", "z_L"], ["H_init", "L_init"]),
        ("single z", ["z_L"], ["L_init"]),
        ("three z", ["z_H", "z_L1", "z_L2", "z_L3"], ["H_init", "L1_init", "L2_init", "L3_init"]),
        ("transformer", ["z_H"], ["H_init"]),
    ],
)
def test_names_of_states_and_starts(variant, states, starts):
    weights = weights_of(variant)
    state = Model(dataclasses.replace(TINY, **VARIANTS[variant])).start(weights.starts, 2)
    assert list(original.export_state(state)) == states
    assert list(original.export_state(weights.starts, "_init")) == starts


def test_two_networks_are_two_levels():
    names = original.export_shapes(weights_of("hrm"))
    assert "model.inner.L_level.layers.0.self_attn.qkv_proj.weight" in names
    assert "model.inner.H_level.layers.1.mlp.down_proj.weight" in names
    assert not any("L_level.layers.1" in name for name in names)
    assert not any("L_level" in name for name in original.export_shapes(weights_of("transformer")))


def test_every_misfit_is_named_in_one_line():
    weights = weights_of("mlp")
    arrays = original.export_weights(weights)
    arrays["model.inner.surplus"] = np.zeros(1, np.float32)
    arrays["model.inner.q_head.bias"] = np.zeros(3, np.float32)
    arrays["model.inner.L_init"] = np.zeros((1, 8), np.float32)
    arrays["model.inner.puzzle_emb.weights"] = np.zeros((3, 8), np.int64)
    del arrays["model.inner.lm_head.weight"], arrays["model.inner.H_init"]
    with pytest.raises(CheckpointError) as caught:
        original.import_weights(weights, arrays)
    what, _, clauses = str(caught.value).partition(": ")
    assert what == "weights do not fit the model"
    assert sorted(clauses.split("; ")) == [
        "model.inner.H_init is missing",
        "model.inner.L_init has shape [1, 8], the model [8]",
        "model.inner.lm_head.weight is missing",
        "model.inner.puzzle_emb.weights holds int64, not floats",
        "model.inner.q_head.bias has shape [3], the model [2]",
        "model.inner.surplus is not part of the model",
    ]


def test_a_misfit_in_params_or_states_is_named_and_others_are_ignored():
    weights = weights_of("attention")
    exported = original.export_params(weights.params) | {"other": np.zeros(1)}
    assert_same(original.import_params(weights.params, exported), weights.params)
    del exported["model.inner.q_head.bias"]
    with pytest.raises(CheckpointError, match=r"^weights do not fit the model: model\.inner\.q_head\.bias is missing$"):
        original.import_params(weights.params, exported)
    state = State(np.zeros((2, 4, 8), np.float32), np.zeros((2, 1, 4, 8), np.float32))
    with pytest.raises(CheckpointError, match=r"^states do not fit the model: carry/z_H has shape \[2\], the model"):
        original.import_state(state, {"carry/z_H": np.zeros(2), "carry/z_L": np.zeros((2, 4, 8))}, "carry/")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "trm",
            {
                "states": "y_z",
                "latents": 1,
                "separate_networks": False,
                "puzzle_tokens": 4,
                "answer_layers": 0,
            },
        ),
        ("singlez", {"states": "z", "puzzle_tokens": 4}),
        ("hier6", {"states": "y_z", "latents": 6}),
        (
            "hrm",
            {
                "separate_networks": True,
                "gradient": "one_step",
                "halt_by": "q_continue",
                "layers": 2,
                "answer_layers": 3,
                "puzzle_tokens": 0,
                "tokens_in_front": 2,
            },
        ),
        ("transformer", {"states": "y", "halt_by": "q_continue", "cycles": 1, "answer_layers": 3}),
    ],
)
def test_experiment_of_each_kind(kind, expected):
    experiment = original.experiment_of(RECORDED | {"kind": kind})
    assert {name: getattr(experiment.model, name) for name in expected} == expected
    assert experiment.loss.continue_head == (kind == "hrm")
    assert experiment.optim == Experiment().optim


def test_experiment_of_switches():
    experiment = original.experiment_of(RECORDED | {"mlp_t": True, "no_ACT_continue": False, "rope_theta": 100.0})
    assert experiment.model.mixer == "mlp"
    assert experiment.model.halt_by == "q_continue"
    assert experiment.loss.continue_head
    assert experiment.model.rope_theta == 100.0
    # HRM has the mixer too; the baseline has no such switch.
    assert original.experiment_of(RECORDED | {"kind": "hrm", "mlp_t": True}).model.mixer == "mlp"
    assert original.experiment_of(RECORDED | {"kind": "transformer", "mlp_t": True}).model.mixer == "attention"


def test_experiment_of_a_training_recording():
    experiment = original.experiment_of(RECORDED | TRAINING)
    optim, train = experiment.optim, experiment.train
    assert (train.steps, train.batch_size) == (24, 6)
    assert (optim.learning_rate, optim.puzzle_learning_rate, optim.warmup_steps) == (0.01, 0.02, 5)
    assert (optim.weight_decay, optim.puzzle_weight_decay, optim.ema_decay, optim.min_ratio) == (
        0.5,
        0.1,
        0.9,
        0.1,
    )


# What the original itself gives a default.
OPTIONAL = {"mlp_t": False, "puzzle_emb_ndim": 0, "puzzle_emb_len": 16, "no_ACT_continue": True}


@pytest.mark.parametrize("key", OPTIONAL)
def test_keys_that_the_original_gives_a_default_may_be_missing(key):
    without = {name: value for name, value in RECORDED.items() if name != key}
    assert original.experiment_of(without) == original.experiment_of(RECORDED | {key: OPTIONAL[key]})


@pytest.mark.parametrize("key", [key for key in [*RECORDED, *TRAINING] if key != "steps" and key not in OPTIONAL])
def test_a_missing_key_is_named(key):
    # Only models of two networks need H_layers, which TRM ignores.
    config = RECORDED | TRAINING | ({"kind": "hrm"} if key == "H_layers" else {})
    config = {name: value for name, value in config.items() if name != key}
    with pytest.raises(ConfigError, match=f"lacks the key '{key}'"):
        original.experiment_of(config)


def test_an_unknown_kind_is_told():
    with pytest.raises(ConfigError, match="kind 'lstm': known are trm, singlez, hier6, hrm, transformer"):
        original.experiment_of(RECORDED | {"kind": "lstm"})
