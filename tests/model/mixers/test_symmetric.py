"""The symmetric network on random weights: every declared symmetry of a question permutes the answer, and nothing else.

Through two whole supervision steps, and through a call on candidates; a table of positions or of symbols, planted,
breaks it. Weights made on one board run on others.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from untrained import shaken

from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.model.mixers import symmetric
from trm_jax.model.model import Model
from trm_jax.model.pooling import nodes_of, spread, sums
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.units import Units

JIGSAW = (
    '{"kind": "grid", "shape": [4, 4], "alphabet": ".abcd", "symmetries": "rot180 relabel(abcd)", '
    '"units": {"line": "rows columns", "piece": "aabbaabbccddccdd"}}'
)
CAGES = (
    '{"kind": "grid", "shape": [3, 3], "alphabet": ".123", "symmetries": "transpose", '
    '"units": {"line": "rows columns", "cage": "aa.a....b"}}'
)
KINDS = {
    "sudoku 4x4": ("sudoku", 16),
    "sudoku 2x3": ("sudoku", 36),
    "latin square": ('{"kind": "sudoku", "box": "1x5"}', 25),
    "jigsaw": (JIGSAW, 16),
    "cages, symbols with names": (CAGES, 9),
    "maze": ('{"kind": "maze", "shape": [3, 4]}', 12),
}
QUICK = ("jigsaw", "cages, symbols with names")


init = jax.jit(Model.init, static_argnums=0)
think = jax.jit(Model.think, static_argnums=0)


def config_of(kind, **changes):
    values = {
        "vocab_size": kind.vocab_size, "seq_len": kind.cells, "num_puzzles": 1, "width": 8, "expansion": 2.0,
        "layers": 1, "mixer": "symmetric", "positions": "none", "puzzle_dim": 0, "puzzle_tokens": 0, "latent_steps": 1,
        "cycles": 2, "dtype": "float32",
    }  # fmt: skip
    return ModelConfig(**(values | changes))


def weights_of(config):
    return shaken(init(Model(config), jax.random.key(1)), seed=2)


def questions(kind, n, seed=0):
    """Any tokens, blanks among them: the symmetry is the network's, whatever it is asked."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, kind.vocab_size, (n, kind.cells))
    return np.where(rng.random(tokens.shape) < 0.5, kind.units.blank, tokens).astype(np.int32)


def thought(model, weights, inputs):
    """Logits and q after two supervision steps."""

    state = model.start(weights.starts, len(inputs))
    for _ in range(2):
        state, readout = think(model, weights.params, None, state, inputs)
    return np.asarray(readout.logits), np.asarray(readout.q_halt)


def moved(symmetries, values_nSV, first):
    """Values of cells and symbols, where a symmetry puts them."""
    new = np.take_along_axis(values_nSV, symmetries.cells[:, :, None], axis=1)
    renamed = symmetries.tokens[:, first:]  # what each symbol becomes
    where = np.argsort(renamed, axis=1)
    return np.take_along_axis(new, where[:, None, :], axis=2)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]
)
def test_symmetries_permute_the_answer_and_leave_q(name):
    kind = kind_of(*KINDS[name])
    config = config_of(kind, puzzle=KINDS[name][0])
    model, weights = Model(config), weights_of(config)
    inputs = questions(kind, 4)
    turned = kind.draw(np.random.default_rng(1), len(inputs))
    first = config.units.symbols[0]

    logits, q = thought(model, weights, inputs)
    of_turned, q_of_turned = thought(model, weights, turned.apply(inputs))

    assert np.ptp(logits[..., first:]) > 0.1
    np.testing.assert_allclose(of_turned[..., first:], moved(turned, logits[..., first:], first), atol=2e-4)
    np.testing.assert_allclose(q_of_turned, q, atol=2e-5)


@pytest.mark.parametrize("what", ["position", "symbol"])
def test_what_tells_cells_or_symbols_apart_breaks_it(monkeypatch, what):
    kind = kind_of("sudoku", 16)
    config = config_of(kind, puzzle="sudoku", norm_eps=2e-5 if what == "position" else 3e-5)
    table = jax.random.normal(jax.random.key(5), (1, 16, 1, 8) if what == "position" else (1, 1, 4, 8))
    embed = symmetric.Ends.embed

    def planted(self, inputs_BS, rows):
        x_BLD = embed(self, inputs_BS, rows)
        return (x_BLD.reshape(-1, 16, 4, 8) + 0.1 * table).reshape(x_BLD.shape)

    monkeypatch.setattr(symmetric.Ends, "embed", planted)
    model, weights = Model(config), weights_of(config)
    inputs = questions(kind, 4)
    turned = kind.draw(np.random.default_rng(1), len(inputs))

    logits, _ = thought(model, weights, inputs)
    of_turned, _ = thought(model, weights, turned.apply(inputs))

    assert np.abs(of_turned[..., 2:] - moved(turned, logits[..., 2:], 2)).max() > 1e-3


def test_symmetries_permute_what_is_said_of_candidates():
    kind = kind_of("sudoku", 36)
    config = config_of(kind, puzzle="sudoku", states="candidates", latent_steps=1, cycles=3, grad_cycles=3)
    model, weights = Model(config), weights_of(config)
    inputs = questions(kind, 4)
    possible = np.random.default_rng(3).random((4, 36, 6)) < 0.6
    turned = kind.draw(np.random.default_rng(1), len(inputs))
    deduce = jax.jit(model.deduce)

    said = deduce(weights.params, possible, inputs)
    of_turned = deduce(weights.params, moved(turned, possible, 2), turned.apply(inputs))

    for logits, logits_of_turned in ((said.keep, of_turned.keep), (said.symbols, of_turned.symbols)):
        np.testing.assert_allclose(logits_of_turned, moved(turned, np.asarray(logits), 2), atol=2e-5)
    np.testing.assert_allclose(of_turned.conflict, said.conflict, atol=2e-5)


def test_weights_depend_on_no_size():
    shapes = [
        jax.tree.map(lambda a: a.shape, jax.eval_shape(Model(config_of(kind, puzzle="sudoku")).init, jax.random.key(0)))
        for kind in (kind_of("sudoku", 16), kind_of("sudoku", 36), kind_of("sudoku", 256))
    ]
    assert shapes[0] == shapes[1] == shapes[2]


def test_padding_and_blanks_are_no_answers():
    kind = kind_of("sudoku", 16)
    config = config_of(kind, puzzle="sudoku")
    logits, _ = thought(Model(config), weights_of(config), questions(kind, 2))
    assert (logits.argmax(axis=-1) >= 2).all()


def test_a_kind_without_units_says_so():
    with pytest.raises(
        ConfigError, match="puzzles of kind 'arc' have no units: only Sudokus, mazes and grids have any"
    ):
        config_of(kind_of("sudoku", 16), puzzle="arc", seq_len=900).units  # noqa: B018
    with pytest.raises(ConfigError, match=r"config\.model\.puzzle = '': name the puzzle"):
        config_of(kind_of("sudoku", 16)).units  # noqa: B018


def test_sums_and_their_transposes_are_those_of_the_groups():
    """Against membership matrices, gradients included; groups of unequal sizes, and cells in none."""
    units = Units(
        6, (("pair", ((0, 0, 1, 1, 2, 2),)), ("half", ((0, 0, 0, 0, 1, 1), (0, 1, -1, -1, 1, 1)))), (2, 3), 1, True
    )
    h = jax.random.normal(jax.random.key(0), (2, 6, 2, 3))
    nodes = nodes_of(units)
    assert [(node.name, node.parent) for node in nodes] == [("pair", None), ("half", 0), ("half", None), ("board", 1)]
    found = []
    for node in nodes:
        below = h if node.parent is None else found[node.parent]
        found.append(sums(node, below))
        member = np.arange(len(node.cells))[:, None] == node.group_of[None]
        np.testing.assert_allclose(found[-1], jnp.einsum("gs,bsvc->bgvc", member, below), rtol=1e-6)
        np.testing.assert_allclose(spread(node, found[-1]), jnp.einsum("gs,bgvc->bsvc", member, found[-1]), rtol=1e-6)
        pulled = jax.jit(jax.grad(lambda below, node=node: (sums(node, below) ** 2).sum()))(below)
        np.testing.assert_allclose(pulled, 2 * jnp.einsum("gs,bgvc->bsvc", member, found[-1]), rtol=1e-5)


def test_damping_moves_part_of_the_way():
    kind = kind_of("sudoku", 16)
    plain = config_of(kind, puzzle="sudoku", cycles=1, latent_steps=1, states="y", grad_cycles=1)
    weights, inputs = weights_of(plain), questions(kind, 2)
    start = Model(plain).start(weights.starts, 2)
    new, damped = (
        think(Model(config), weights.params, None, start, inputs)[0].y
        for config in (plain, replace(plain, damping=0.25))
    )
    np.testing.assert_allclose(damped, 0.25 * start.y + 0.75 * new, atol=1e-5)
