"""A configuration becomes a model: initial weights by statistics, embedding, readout, sizes, symmetries."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.config import ModelConfig
from trm_jax.model.model import Model, count_weights
from trm_jax.recursion.recursion import State

SMALL = ModelConfig(
    vocab_size=7, seq_len=6, num_puzzles=5, width=16, heads=2, expansion=1.0, layers=1, mixer="attention",
    positions="rope", puzzle_dim=24, puzzle_tokens=2, latent_steps=2, cycles=2, supervision_steps=4, dtype="float32",
)  # fmt: skip


init = jax.jit(Model.init, static_argnums=0)
_think = jax.jit(Model.think, static_argnums=0)
_embed = jax.jit(
    lambda model, params, inputs, rows: model._core.apply({"params": params}, inputs, rows, method="embed"),
    static_argnums=0,
)


def problem(config: ModelConfig, batch: int = 3, seed: int = 0):
    """A model, weights with a puzzle table and a q head that are not zero, and inputs."""
    model = Model(config)
    weights = init(model, jax.random.key(seed))
    rng = np.random.default_rng(seed)
    head = {"kernel": rng.normal(size=(config.width, 2)).astype(np.float32), "bias": np.float32([-1.0, 2.0])}
    table = rng.normal(size=(config.num_puzzles, config.puzzle_dim)).astype(np.float32) if config.puzzle_dim else None
    weights = replace(weights, params=weights.params | {"q_head": head}, puzzle_table=table)
    inputs = rng.integers(0, config.vocab_size, (batch, config.seq_len)).astype(np.int32)
    return model, weights, inputs, model.puzzle_rows(weights.puzzle_table, np.arange(batch) % config.num_puzzles)


def think(model, weights, inputs, rows):
    return _think(model, weights.params, rows, model.start(weights.starts, len(inputs)), inputs)


def embed(model, weights, inputs, rows):
    return np.asarray(_embed(model, weights.params, inputs, rows))


def assert_truncated_normal(values, std: float, tolerance: float) -> None:
    """Standard deviation `std` after the cut, which is at two sigma of the normal before it."""
    values = np.asarray(values, np.float64).ravel() / std
    assert abs(values.std() - 1) < tolerance
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    cut = 2 / 0.87962566103423978
    assert 0.98 * cut < np.abs(values).max() <= cut * (1 + 1e-6)


# Sizes at which no fan in equals a fan out, and sampling errs by well under the 12 % that truncation takes.
LARGE = replace(SMALL, vocab_size=2000, seq_len=150, width=64, puzzle_dim=64, puzzle_tokens=1, positions="learned")


@pytest.mark.parametrize(
    ("mixer", "separate"), [pytest.param("attention", False, marks=pytest.mark.slow), ("mlp", True)]
)
def test_tables_and_projections_have_true_standard_deviation_one_over_root_fan_in(mixer, separate):
    config = replace(LARGE, mixer=mixer, separate_networks=separate)
    params = init(Model(config), jax.random.key(1)).params
    assert_truncated_normal(params["tokens"], 64**-0.5, 0.01)
    assert_truncated_normal(params["positions"], 64**-0.5, 0.03)
    assert_truncated_normal(params["token_head"]["kernel"], 64**-0.5, 0.01)
    for net in ("latent_net", "answer_net") if separate else ("latent_net",):
        block = params[net]["block_0"]
        features = [block["feed_forward"]] + ([block["token_mixer"]] if mixer == "mlp" else [])
        for part, d in zip(features, (64, 151), strict=False):
            assert part["gate_up"]["kernel"].shape == (d, 512)
            assert part["down"]["kernel"].shape == (256, d)
        kernels = jax.tree.leaves(block)
        assert len(kernels) == 4
        for kernel in kernels:
            assert kernel.dtype == jnp.float32
            assert_truncated_normal(kernel, kernel.shape[0] ** -0.5, 0.03)
    if separate:
        assert not np.array_equal(*(params[net]["block_0"]["feed_forward"]["down"]["kernel"] for net in
                                    ("latent_net", "answer_net")))  # fmt: skip


def test_start_vectors_have_standard_deviation_one():
    model = Model(replace(LARGE, latents=2))
    starts = jax.jit(jax.vmap(lambda key: model.init(key).starts))(jax.random.split(jax.random.key(2), 100))
    assert starts.y.shape == (100, 64)
    assert starts.z.shape == (100, 2, 64)
    assert_truncated_normal(starts.y, 1.0, 0.03)
    assert_truncated_normal(starts.z, 1.0, 0.03)
    rows = np.concatenate([starts.y[:, None], starts.z], axis=1).reshape(300, 64)
    assert len(np.unique(rows, axis=0)) == 300, "every start vector is a draw of its own"


def test_heads_and_puzzle_table_start_as_the_original_has_them():
    weights = init(Model(SMALL), jax.random.key(0))
    np.testing.assert_array_equal(weights.params["q_head"]["kernel"], np.zeros((16, 2)))
    np.testing.assert_array_equal(weights.params["q_head"]["bias"], [-5.0, -5.0])
    np.testing.assert_array_equal(weights.puzzle_table, np.zeros((5, 24)))
    assert init(Model(replace(SMALL, puzzle_dim=0)), jax.random.key(0)).puzzle_table is None
    first, same, other = (init(Model(SMALL), jax.random.key(seed)).params["tokens"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert (np.asarray(first) != np.asarray(other)).all()


@pytest.mark.parametrize(
    ("puzzle_tokens", "puzzle_dim", "front"),
    [
        *((0, 0, 0), (0, 17, 2), (5, 16, 5)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((16, 0, 16), (0, 1, 1), (0, 16, 1), (0, 48, 3), (2, 24, 2))
        ),
    ],
)
def test_positions_in_front(puzzle_tokens, puzzle_dim, front):
    config = replace(SMALL, puzzle_tokens=puzzle_tokens, puzzle_dim=puzzle_dim)
    assert (config.tokens_in_front, config.positions_total) == (front, front + 6)
    model, weights, inputs, rows = problem(config)
    assert embed(model, weights, inputs, rows).shape == (3, front + 6, 16)
    assert model.start(weights.starts, 3).y.shape == (3, front + 6, 16)


@pytest.mark.parametrize(
    ("positions", "puzzle_tokens", "puzzle_dim"),
    [
        *(("rope", 0, 0), ("learned", 2, 24)),
        *(pytest.param("rope", *case, marks=pytest.mark.slow) for case in ((3, 0), (2, 24), (0, 32), (4, 16))),
        *(pytest.param("learned", *case, marks=pytest.mark.slow) for case in ((0, 0), (3, 0), (0, 32), (4, 16))),
    ],
)
def test_the_embedding_by_hand(positions, puzzle_tokens, puzzle_dim):
    config = replace(SMALL, positions=positions, puzzle_tokens=puzzle_tokens, puzzle_dim=puzzle_dim)
    model, weights, inputs, rows = problem(config)
    front = np.zeros((3, config.tokens_in_front * 16), np.float32)
    if puzzle_dim:
        front[:, :puzzle_dim] = weights.puzzle_table[:3]
    cells = np.asarray(weights.params["tokens"])[inputs]
    expected = np.concatenate([front.reshape(3, -1, 16), cells], axis=1) * 4.0
    if positions == "learned":
        expected = 0.707106781 * (expected + 4.0 * np.asarray(weights.params["positions"]))
    else:
        assert "positions" not in weights.params
    np.testing.assert_allclose(embed(model, weights, inputs, rows), expected, atol=1e-6)
    if puzzle_dim:
        front[:] = 0
        without = embed(model, weights, inputs, None)
        np.testing.assert_allclose(without, embed(model, weights, inputs, 0 * np.asarray(rows)), atol=0)


@pytest.mark.parametrize(("puzzle_tokens", "puzzle_dim"), [(0, 0), (2, 24)])
def test_q_is_read_from_the_first_position_and_logits_from_the_cells(puzzle_tokens, puzzle_dim):
    config = replace(SMALL, puzzle_tokens=puzzle_tokens, puzzle_dim=puzzle_dim)
    model, weights, inputs, rows = problem(config)
    state, readout = think(model, weights, inputs, rows)
    y, params = np.asarray(state.y), weights.params
    q = y[:, 0] @ params["q_head"]["kernel"] + params["q_head"]["bias"]
    np.testing.assert_allclose(readout.q_halt, q[:, 0], atol=1e-5)
    np.testing.assert_allclose(readout.q_continue, q[:, 1], atol=1e-5)
    assert np.ptp(q) > 0.1
    cells = y[:, config.tokens_in_front :]
    assert cells.shape == (3, 6, 16)
    np.testing.assert_allclose(readout.logits, cells @ np.asarray(params["token_head"]["kernel"]), atol=1e-5)


@pytest.mark.parametrize("mixer", ["attention", pytest.param("mlp", marks=pytest.mark.slow)])
def test_bfloat16_computes_in_it_reads_out_in_float32_and_stays_close(mixer):
    config = replace(SMALL, mixer=mixer)
    model, weights, inputs, rows = problem(config)
    exact_state, exact = think(model, weights, inputs, rows)
    assert exact_state.y.dtype == jnp.float32
    state, readout = think(Model(replace(config, dtype="bfloat16")), weights, inputs, rows)
    assert (state.y.dtype, state.z.dtype) == (jnp.bfloat16, jnp.bfloat16)
    for found, expected in zip(readout, exact, strict=True):
        assert found.dtype == jnp.float32
        # Logits are of the size of 1, q of 4.
        assert np.abs(np.asarray(found) - np.asarray(expected)).mean() < 0.04 * (1 if found.ndim == 3 else 4)
        assert not np.array_equal(found, expected)
    fresh = init(Model(replace(config, dtype="bfloat16")), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(fresh)} == {jnp.dtype(jnp.float32)}


def test_numbers_of_weights_by_hand():
    block = 16 * 48 + 16 * 16 + 16 * 512 + 256 * 16  # qkv, out, gate and up, down
    expected = {
        "network": block,
        "heads": 16 * 7 + 16 * 2 + 2,
        "embeddings": 7 * 16,
        "puzzle table": 5 * 24,
        "start vectors": 2 * 16,
    }

    def count(**changes):
        return count_weights(jax.eval_shape(Model(replace(SMALL, **changes)).init, jax.random.key(0)))

    assert count() == expected
    assert count(layers=3) == expected | {"network": 3 * block}
    hrm = count(layers=2, separate_networks=True, answer_layers=3, gradient="one_step")
    assert hrm == expected | {"network": 5 * block}
    assert count(separate_networks=True) == expected | {"network": 2 * block}
    assert count(positions="learned") == expected | {"embeddings": 7 * 16 + 8 * 16}
    assert count(puzzle_dim=0) == expected | {"puzzle table": 0}
    assert count(latents=4) == expected | {"start vectors": 5 * 16}
    assert count(states="z") == expected | {"start vectors": 16}
    assert count(states="y", answer_layers=2) == expected | {"network": 2 * block, "start vectors": 16}
    mixer = 8 * 512 + 256 * 8 + 16 * 512 + 256 * 16
    assert count(mixer="mlp", positions="none") == expected | {"network": mixer}


@pytest.mark.parametrize("mixer", ["attention", "mlp"])
def test_rows_of_a_batch_do_not_see_each_other(mixer):
    model, weights, inputs, rows = problem(replace(SMALL, mixer=mixer), batch=4)
    order = np.array([2, 0, 3, 1])
    _, readout = think(model, weights, inputs, rows)
    _, permuted = think(model, weights, inputs[order], np.asarray(rows)[order])
    for found, expected in zip(permuted, readout, strict=True):
        np.testing.assert_allclose(found, np.asarray(expected)[order], atol=1e-5)
    changed = inputs.copy()
    changed[0] = (changed[0] + 1) % 7
    _, other = think(model, weights, changed, rows)
    np.testing.assert_allclose(other.logits[1:], readout.logits[1:], atol=1e-5)
    assert np.abs(np.asarray(other.logits[0] - readout.logits[0])).max() > 1e-2


@pytest.mark.parametrize(("positions", "equivariant"), [("none", True), ("rope", False), ("learned", False)])
def test_attention_without_positions_does_not_know_the_order_of_cells(positions, equivariant):
    model, weights, inputs, rows = problem(replace(SMALL, positions=positions))
    order = np.array([3, 1, 5, 0, 2, 4])
    _, readout = think(model, weights, inputs, rows)
    _, permuted = think(model, weights, inputs[:, order], rows)
    error = np.abs(np.asarray(permuted.logits) - np.asarray(readout.logits)[:, order]).max()
    if equivariant:
        assert error < 1e-4
        np.testing.assert_allclose(permuted.q_halt, readout.q_halt, atol=1e-4)
    else:
        assert error > 1e-2


@pytest.mark.parametrize(
    ("latent_steps", "cycles"),
    [(1, 1), (7, 5), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((5, 1), (1, 7)))],
)
def test_any_number_of_latent_steps_and_cycles(latent_steps, cycles):
    model, weights, inputs, rows = problem(replace(SMALL, latent_steps=latent_steps, cycles=cycles))
    state, readout = think(model, weights, inputs, rows)
    variables = {"params": weights.params}
    net = jax.jit(lambda h, injection: model._core.apply(variables, h, injection, method="latent"))
    x = embed(model, weights, inputs, rows)
    start = model.start(weights.starts, 3)
    y, z = start.y, start.z[:, 0]
    for _ in range(cycles):
        for _ in range(latent_steps):
            z = net(z, y + x)
        y = net(y, z)
    np.testing.assert_allclose(state.y, y, atol=2e-4)
    np.testing.assert_allclose(state.z[:, 0], z, atol=2e-4)
    np.testing.assert_allclose(readout.logits, y[:, 2:] @ weights.params["token_head"]["kernel"], atol=1e-3)


def test_thinking_for_some_steps_is_one_after_another():
    model, weights, inputs, rows = problem(SMALL)
    state = start = model.start(weights.starts, 3)
    for _ in range(3):
        state, _ = _think(model, weights.params, rows, state, inputs)
    reached = jax.jit(Model.think_for, static_argnums=0)(model, weights.params, rows, start, inputs, 3)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), reached, state)


@pytest.mark.parametrize("grad_cycles", [1, 2])
def test_gradients_flow_through_what_is_returned_and_into_the_state_if_every_cycle_carries_them(grad_cycles):
    model, weights, inputs, rows = problem(replace(SMALL, grad_cycles=grad_cycles))
    start = model.start(weights.starts, 3)

    parts = ("y", "z", "logits", "q")

    def total(params, rows, start, shares):
        state, readout = model.think(params, rows, start, inputs)
        sums = [jnp.square(array).sum() for array in (state.y, state.z, readout.logits, readout.q_halt)]
        return (jnp.stack(sums) * shares).sum()

    gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))  # of one part at a time, compiled once
    for part, shares in zip(parts, np.eye(4, dtype=np.float32), strict=True):
        params, rows_gradient, state = gradients(weights.params, jnp.asarray(rows), start, shares)
        network = jax.tree.leaves(params["latent_net"])
        assert all(np.asarray(grad).any() for grad in (*network, params["tokens"], rows_gradient)), part
        assert np.asarray(params["token_head"]["kernel"]).any() == (part == "logits")
        assert np.asarray(params["q_head"]["kernel"]).any() == (part == "q")
        reached = [np.asarray(grad).any() for grad in (state.y, state.z)]
        assert reached == [grad_cycles == 2] * 2, part


def test_the_start_is_one_vector_for_every_row_and_position():
    model = Model(replace(SMALL, latents=3, dtype="bfloat16"))
    starts = init(model, jax.random.key(0)).starts
    state = model.start(starts, 2)
    assert state.y.dtype == state.z.dtype == jnp.bfloat16
    assert (state.y.shape, state.z.shape) == ((2, 8, 16), (2, 3, 8, 16))
    y, z = starts.y.astype(jnp.bfloat16), starts.z.astype(jnp.bfloat16)
    np.testing.assert_array_equal(state.y[1, 5], y)
    np.testing.assert_array_equal(state.y, np.broadcast_to(y, (2, 8, 16)))
    np.testing.assert_array_equal(state.z[1, 2, 7], z[2])
    np.testing.assert_array_equal(state.z, np.broadcast_to(np.asarray(z)[None, :, None], (2, 3, 8, 16)))
    assert Model(replace(SMALL, states="z")).start(State(None, starts.z[:1]), 2).y is None
    assert Model(replace(SMALL, states="y")).start(State(starts.y, None), 2).z is None


@pytest.mark.parametrize("mixer", [pytest.param("attention", marks=pytest.mark.slow), "mlp"])
def test_tables_of_rows_columns_and_boxes_are_summed_for_each_cell(mixer):
    config = replace(SMALL, mixer=mixer, seq_len=36, vocab_size=8, puzzle="sudoku", positions="row_column_box")
    _, weights, inputs, rows = problem(config)
    tables = {name: np.asarray(weights.params[name]) for name in ("rows", "columns", "boxes")}
    assert {name: table.shape for name, table in tables.items()} == dict.fromkeys(tables, (6, 16))
    found, plain = (
        embed(Model(c), weights, inputs, rows)
        for c in (config, replace(config, positions="rope" if mixer == "attention" else "none"))
    )
    # 6x6 has boxes of two rows and three columns. Four embeddings have four times the variance of one.
    np.testing.assert_allclose(found[:, :2], plain[:, :2] / 2, atol=1e-6)
    for cell in range(36):
        row, column = divmod(cell, 6)
        of_cell = tables["rows"][row] + tables["columns"][column] + tables["boxes"][2 * (row // 2) + column // 3]
        np.testing.assert_allclose(found[:, 2 + cell], (plain[:, 2 + cell] + 4.0 * of_cell) / 2, atol=1e-6)


def test_a_board_without_boxes_has_tables_of_rows_and_columns():
    config = replace(SMALL, puzzle='{"kind": "maze", "shape": [2, 3]}', positions="row_column_box")
    params = jax.eval_shape(Model(config).init, jax.random.key(0)).params
    assert (params["rows"].shape, params["columns"].shape) == ((2, 16), (3, 16))
    assert "boxes" not in params
