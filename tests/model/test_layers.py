"""The gates of a feed-forward, by their formulas."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.model.layers import SwiGLU, gated

CONFIG = ModelConfig(expansion=1.0, dtype="float32", norm_eps=1e-5)
NORMALISED = replace(CONFIG, gate="normalised")


def by_hand(gate, up, form, axis):
    gate, up = np.float64(gate), np.float64(up)
    product = gate * up
    if form == "normalised":
        product = product / np.sqrt((product**2).mean(axis, keepdims=True) + 1e-5)
    return product / (1 + np.exp(-gate))


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("config", [CONFIG, NORMALISED])
def test_a_gate_is_its_formula_and_what_is_normalised_does_not_grow(config, axis):
    gate, up = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype(np.float32)
    found = np.asarray(gated(gate, up, config, axis))
    np.testing.assert_allclose(found, by_hand(gate, up, config.gate, axis), atol=1e-5)
    grown = np.asarray(gated(gate, 1000 * up, config, axis)) / found
    np.testing.assert_allclose(grown, 1 if config.gate == "normalised" else 1000, rtol=2e-2)


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("config", [CONFIG, NORMALISED])
def test_a_feed_forward_gates_what_one_projection_makes(config, axis):
    h = np.random.default_rng(1).normal(size=(6, 2, 6)).astype(np.float32)
    params = SwiGLU(config, axis).init(jax.random.key(0), h)["params"]
    gate_up, down = (np.asarray(params[name]["kernel"]) for name in ("gate_up", "down"))
    first = np.moveaxis(h, axis, -1) @ gate_up
    expected = by_hand(first[..., :256], first[..., 256:], config.gate, -1) @ down
    found = SwiGLU(config, axis).apply({"params": params}, h)
    np.testing.assert_allclose(np.moveaxis(np.asarray(found), axis, -1), expected, atol=1e-5)
