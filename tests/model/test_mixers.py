"""A network of one's own goes all the way: trained, cut and resumed, evaluated, solved with, estimated, converted."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
from small_step import EXPERIMENT, batch_of, init, step, with_model

from trm_jax.commands.cli import main
from trm_jax.config import ModelConfig, validate
from trm_jax.config import mixers as registry
from trm_jax.config.files import load_network
from trm_jax.config.mixers import register_mixer
from trm_jax.errors import ConfigError
from trm_jax.model.estimate import estimate, forward_flops
from trm_jax.model.model import Model, count_weights
from trm_jax.runs.checkpoint import load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train

# Plain functions, in a file as a user would write it.
FILE = """
import jax
import jax.numpy as jnp
import trm_jax as trm


def init(key, config):
    left, right = jax.random.split(key)
    normal = jax.nn.initializers.lecun_normal()
    return {"mix": normal(left, (config.positions_total,) * 2), "out": normal(right, (config.width,) * 2)}


def apply(weights, h, config):
    mixed = jnp.einsum("ml,bld->bmd", weights["mix"].astype(h.dtype), h) @ weights["out"].astype(h.dtype)
    h = h + jax.nn.silu(mixed)
    return h * jax.lax.rsqrt((h * h).mean(axis=-1, keepdims=True) + config.norm_eps)


def rules(config):
    return "config.model.layers = 3 is too much for it: lower it" if config.layers == 3 else None


trm.register_mixer("square", (init, apply), rules=rules)
"""


@pytest.fixture(autouse=True, scope="module")
def as_before() -> Iterator[None]:
    """Other modules find the names that they know."""
    known = dict(registry._mixers)
    yield
    registry._mixers.clear()
    registry._mixers.update(known)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("network") / "square.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def run(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four steps under a memory policy, with a checkpoint of the second and of the fourth."""
    small = {"latent_steps": 3, "cycles": 2, "mixer": "square"}
    changes = {f"model__{key}": value for key, value in small.items()}
    intervals = {"train__steps": 4, "train__save_every": 2, "train__eval_every": 0, "train__log_every": 2}
    folder = tmp_path_factory.mktemp("run")
    words = small_run.words(folder, **changes, **intervals, memory__policy="binomial")
    assert main([*words, f"--network={file}"]) == 0
    return folder / "run"


@pytest.mark.slow  # of any mixer in tests/runs/test_resume.py
def test_what_was_cut_and_resumed_is_what_was_not(run: Path, tmp_path: Path) -> None:
    experiment, weights = load(run, averaged=False)
    cut = tmp_path / "cut"
    shutil.copytree(run, cut)
    shutil.rmtree(cut / "checkpoints" / "4")

    # In parts on several devices, what is resumed adds up in another order.
    assert train(experiment, cut).finished
    spread = replace(experiment, devices=replace(experiment.devices, data=2, weights="sharded"))
    shutil.rmtree(cut / "checkpoints" / "4")
    one = fingerprint(load(run, averaged=False)[1])
    assert train(spread, cut, force=True).finished

    assert one == fingerprint(weights)
    for found, expected in zip(jax.tree.leaves(load(cut, averaged=False)[1]), jax.tree.leaves(weights), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_the_commands_find_it_in_the_file_that_network_names(
    run: Path, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, report, tensors = f"--network={file}", tmp_path / "report.json", tmp_path / "weights.safetensors"
    registry._mixers.pop("square")
    assert main(["eval", str(run)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"trm: error: {run}/checkpoints/4: config.model.mixer = 'square' is unknown: give one of ")
    assert told.endswith("trm_jax.register_mixer, in the experiment's file or in one that --network names")

    assert main(["eval", str(run), network, "--json", str(report), "--limit=4", "--batch-size=4", "--devices=1"]) == 0
    assert json.loads(report.read_text())["puzzles"] == 4
    assert main(["solve", str(run), network, "--row=1", "--steps=2", "--quiet"]) in (0, 1)
    assert len(capsys.readouterr().out.splitlines()[-1]) == 16

    # What the original has no name for keeps its own.
    experiment, weights = load(run)
    config = f"--config={run.parent / 'config.py'}"
    assert main(["convert", str(run), str(tensors), network]) == 0
    assert main(["convert", config, network, str(tensors), str(tmp_path / "back"), "--config.model.seq_len=16"]) == 0
    again, back = load(tmp_path / "back")
    assert again.model == experiment.model
    assert fingerprint(back) == fingerprint(weights)

    broken = tmp_path / "broken.py"
    broken.write_text("import trm_jax as trm\ntrm.register_mixer('mlp', print)\n")
    for path, said in ((broken, "register_mixer: 'mlp' is one of this project's own"), (tmp_path, "no such Python")):
        assert main(["eval", str(run), f"--network={path}"]) == 2
        assert f"trm: error: --network={path}: {said}" in capsys.readouterr().err


def test_policies_agree_and_an_estimate_counts_what_xla_does(run: Path) -> None:
    experiment, weights = load(run)
    model, rows = experiment.model, 2
    inputs = np.arange(32, dtype=np.int32).reshape(2, 16) % model.vocab_size

    def gradient(**memory: Any) -> Any:
        thinking = Model(model, replace(experiment.memory, **memory))

        def loss(params: Any) -> jax.Array:
            return jnp.sum(thinking.think(params, None, thinking.start(weights.starts, rows), inputs)[1].logits ** 2)

        return jax.jit(jax.grad(loss))(weights.params)

    expected = gradient(policy="none")
    for found in (gradient(policy="step"), gradient(policy="none", slices=2)):
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5 * float(jnp.abs(b).max()) + 1e-9)

    positions, width = 17, 16
    products = 2 * (positions**2 * width + positions * width**2)
    assert products < forward_flops(model, 1) < 1.3 * products  # the rest is not in products
    assert forward_flops(model, 2) == 2 * forward_flops(model, 1)
    assert estimate(experiment).weights["network"] == positions**2 + width**2


class Linear(nn.Module):
    config: ModelConfig

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        return nn.Dense(self.config.width, use_bias=False, dtype=self.config.dtype)(h_BLD)


def test_a_name_that_is_registered_again_stands_for_the_new_network() -> None:
    """What was compiled for the old one is forgotten."""
    model, compiled = Model(with_model(mixer="changing").model), jax.jit(Model.init, static_argnums=0)

    def weights(block: Any) -> set[str]:
        register_mixer("changing", block)
        return set(compiled.eval_shape(replace(model), jax.random.key(0)).params["latent_net"]["block_0"])

    once, functions = registry.revision(), (lambda key, config: jnp.ones((1, 1, 16)), lambda w, h, config: w * h)
    assert weights(Linear) == {"Dense_0"}
    assert weights(functions) == weights(functions) == {"weights"}
    assert registry.revision() == once + 1


def refused(config: ModelConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        jax.eval_shape(Model(config).init, jax.random.key(0))
    return str(caught.value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            (lambda k, c: jnp.ones(3), lambda w, h, c: h[:, :, :3]),
            "its block makes float32[1, 5, 3]: let it make float32",
        ),
        (
            (lambda k, c: jnp.ones(3), lambda w, h, c: h.astype("bfloat16")),
            "its block makes bfloat16[1, 5, 16]: let it",
        ),
        ((lambda k, c: jnp.ones(3), lambda w, h, c: None), "its block makes a NoneType: let it make float32[1, 5, 16]"),
        (
            (lambda k, c: jnp.ones(3, int), lambda w, h, c: h),
            "latent_net.block_0.weights is int32: let weights be float",
        ),
        (lambda config, name: 3, "its block makes a int: let it be a flax module"),
    ],
    ids=["shape", "dtype", "nothing", "weights", "no module"],
)
def test_a_block_that_does_not_keep_to_its_promise_is_told_by_name(block: Any, message: str) -> None:
    register_mixer("wrong", block)
    assert refused(with_model(mixer="wrong").model).startswith(f"config.model.mixer = 'wrong': {message}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mlp", Linear), "register_mixer: 'mlp' is one of this project's own mixers: give another name"),
        (("", Linear), "register_mixer: name = '': give text"),
        ((3, Linear), "register_mixer: name = 3: give text"),
        (
            ("x", 3),
            "register_mixer: block of 'x' is of type int: give a flax module class, two functions (init, apply),",
        ),
        (("x", (print,)), "register_mixer: block of 'x' is of type tuple: give"),
        (("x", "no colon"), "register_mixer: block of 'x' is of type str: give a flax module class"),
        (
            ("x", Linear, {"flops": 3}),
            "register_mixer: flops of 'x' is of type int: give a function of the configuration",
        ),
    ],
)
def test_what_cannot_be_registered_is_told_in_one_line(arguments: Any, message: str) -> None:
    name, block, *parts = arguments
    with pytest.raises(ConfigError) as caught:
        register_mixer(name, block, **(parts[0] if parts else {}))
    assert str(caught.value).startswith(message)


def test_a_part_that_is_nowhere_and_a_rule_that_is_broken_are_told(file: Path) -> None:
    register_mixer("lost", "trm_jax.model.nowhere:Block")
    assert refused(with_model(mixer="lost").model) == (
        "block = 'trm_jax.model.nowhere:Block' of a mixer is not found: No module named 'trm_jax.model.nowhere'"
    )
    load_network(file)
    with pytest.raises(ConfigError, match=r"^config\.model\.layers = 3 is too much for it: lower it$"):
        validate(with_model(mixer="square", layers=3))


class Symmetric(nn.Module):
    """One position for each cell and symbol, which learns of its cell's symbols and of its symbol's cells."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h_BLD: jax.Array) -> jax.Array:
        c = self.config
        h = h_BLD.reshape(len(h_BLD), c.seq_len, -1, c.width)
        symbols, cells = (jnp.broadcast_to(h.mean(axis, keepdims=True), h.shape) for axis in (1, 2))
        mixed = nn.tanh(nn.Dense(c.width, use_bias=False)(jnp.concatenate([h, symbols, cells], axis=-1)))
        return mixed.reshape(h_BLD.shape)


class SymmetricEnds(nn.Module):
    """Token 0 is an empty cell, and the others are the symbols."""

    config: ModelConfig

    def setup(self) -> None:
        self.given = self.param("given", nn.initializers.normal(1.0), (2, self.config.width))
        self.score, self.q_head = nn.Dense(1, use_bias=False), nn.Dense(2)

    def embed(self, inputs_BS: jax.Array, puzzle_rows_BR: jax.Array | None) -> jax.Array:
        is_given = jax.nn.one_hot(inputs_BS, self.config.vocab_size, dtype=int)[..., 1:]
        return self.given[is_given].reshape(len(inputs_BS), -1, self.config.width)

    def read(self, y_BLD: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = self.score(y_BLD).reshape(len(y_BLD), self.config.seq_len, -1)
        return jnp.pad(scores, ((0, 0), (0, 0), (1, 0))), self.q_head(y_BLD.mean(axis=1))


def test_a_network_may_have_positions_and_ends_of_its_own() -> None:
    """A vector for each cell and symbol: names of symbols do not matter, exactly."""
    register_mixer(
        "by_symbol", Symmetric, ends=SymmetricEnds, shape=lambda c: (c.seq_len * (c.vocab_size - 1), c.width)
    )
    experiment = with_model(EXPERIMENT, mixer="by_symbol", puzzle_dim=0, puzzle_tokens=0, latent_steps=2)
    model, state = Model(experiment.model), init(experiment)
    assert (model.config.state_shape, state.carry.state.z.shape) == ((16, 16), (4, 1, 16, 16))
    counts = count_weights(state.weights)
    assert (counts["network"], counts["heads"], counts["embeddings"]) == (3 * 16 * 16, 2 * 16 + 2, 2 * 16 + 16)
    batch = batch_of([0, 0, 0, 0])
    weights = step(experiment, state, batch)[0].weights

    def logits(inputs: Any) -> Any:
        return model.think(weights.params, None, model.start(weights.starts, 4), inputs)[1].logits

    renamed = np.array([0, 3, 1, 4, 2])
    np.testing.assert_allclose(
        logits(renamed[batch.inputs])[:, :, renamed], logits(np.asarray(batch.inputs)), atol=1e-5
    )
    register_mixer("by_symbol", Symmetric, shape=lambda c: (c.seq_len * (c.vocab_size - 1), c.width))
    assert refused(experiment.model) == (
        "config.model.mixer = 'by_symbol': its embed makes float32[1, 4, 16]: let it make float32[1, 16, 16]"
    )
