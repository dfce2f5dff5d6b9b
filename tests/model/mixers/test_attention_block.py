"""What attention does before it compares: norms of queries and keys, and turns by one or two coordinates."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.model.mixers.attention import Attention, coordinates, rotary_angles, rotate

# Cells of a board of three rows and four columns, and two positions in front.
CONFIG = ModelConfig(
    vocab_size=7, seq_len=12, width=16, heads=2, puzzle='{"kind": "maze", "shape": [3, 4]}', positions="none",
    puzzle_dim=0, puzzle_tokens=2, dtype="float32",
)  # fmt: skip
H_BLD = np.random.default_rng(0).normal(size=(2, 14, 16)).astype(np.float32)


def params_of(config):
    return Attention(config).init(jax.random.key(1), H_BLD)["params"]


def mixed(config, params):
    return np.asarray(Attention(config).apply({"params": params}, H_BLD))


def by_hand(config, params):
    """Attention in float64, where queries and keys have been normalised."""
    qkv = (np.float64(H_BLD) @ np.float64(params["qkv"]["kernel"])).reshape(2, 14, 3, 2, 8)
    q, k, v = (qkv[:, :, i] for i in range(3))
    if config.qk_norm:
        q, k = (part / np.sqrt((part**2).mean(-1, keepdims=True) + config.norm_eps) for part in (q, k))
    scores = np.exp(np.einsum("blhc,bmhc->bhlm", q, k) / np.sqrt(8))
    shares = scores / scores.sum(-1, keepdims=True)
    return np.einsum("bhlm,bmhc->blhc", shares, v).reshape(2, 14, 16) @ np.float64(params["out"]["kernel"])


@pytest.mark.parametrize("qk_norm", [False, True])
def test_queries_and_keys_are_compared_at_one_size_if_so_configured(qk_norm):
    config = replace(CONFIG, qk_norm=qk_norm)
    params = params_of(config)
    np.testing.assert_allclose(mixed(config, params), by_hand(config, params), atol=1e-5)
    # Ten times the queries' weights: with the norm it makes no difference.
    larger = params | {"qkv": {"kernel": params["qkv"]["kernel"].at[:, :16].multiply(10.0)}}
    assert np.allclose(mixed(config, larger), mixed(config, params), atol=1e-4) == qk_norm


def test_one_dimension_turns_by_the_number_of_a_position_and_two_by_row_and_column():
    (numbers,) = coordinates(replace(CONFIG, positions="rope"), 14)
    np.testing.assert_array_equal(numbers, np.arange(14))
    rows, columns = coordinates(replace(CONFIG, positions="rope_2d"), 14)
    np.testing.assert_array_equal(rows, [0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(columns, [0, 0, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4])


def test_half_of_a_head_is_turned_by_the_row_and_half_by_the_column():
    rows, columns = coordinates(replace(CONFIG, positions="rope_2d"), 14)
    cos, sin = rotary_angles((rows, columns), 8, 10.0)
    # Pairs (c, c + 4): two wavelengths of the row, then the same two of the column.
    angles = np.stack([rows, rows / 10**0.5, columns, columns / 10**0.5], axis=-1)
    np.testing.assert_allclose(cos, np.cos(np.tile(angles, 2)), atol=1e-6)
    np.testing.assert_allclose(sin, np.sin(np.tile(angles, 2)), atol=1e-6)
    whole = rotary_angles((jnp.arange(14.0),), 8, 10.0)
    np.testing.assert_allclose(whole[0][:, 1], np.cos(np.arange(14) / 10**0.25), atol=1e-6)


def test_how_two_cells_compare_depends_on_their_distance_in_rows_and_columns_alone():
    rng = np.random.default_rng(2)
    q, k = (jnp.broadcast_to(jnp.asarray(rng.normal(size=8), jnp.float32), (1, 14, 1, 8)) for _ in range(2))
    cos, sin = rotary_angles(coordinates(replace(CONFIG, positions="rope_2d"), 14), 8, 10.0)
    q, k = (np.asarray(rotate(part, cos, sin))[0, 2:, 0].reshape(3, 4, 8) for part in (q, k))
    np.testing.assert_allclose(q[0, 0] @ k[1, 2], q[1, 1] @ k[2, 3], rtol=1e-4)
    assert abs(q[0, 0] @ k[1, 2] - q[0, 0] @ k[2, 1]) > 0.02


@pytest.mark.parametrize("positions", ["rope", "rope_2d"])
def test_attention_turns_queries_and_keys(positions):
    config = replace(CONFIG, positions=positions)
    params = params_of(config)
    turned = mixed(config, params)
    assert np.abs(turned - mixed(CONFIG, params)).max() > 1e-2
    # Who attends to equal keys attends to all alike, wherever they are: only what is turned can tell.
    alike = params | {"qkv": {"kernel": params["qkv"]["kernel"].at[:, :32].set(0.0)}}
    np.testing.assert_allclose(mixed(config, alike), mixed(CONFIG, alike), atol=1e-6)
