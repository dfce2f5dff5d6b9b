"""Which arrays of a model are rounded, along which axes, and that a file holds them so."""

import jax
import numpy as np
import pytest
from exporting.running import FORMS, needs, run

import trm_jax as trm
from trm_jax.exporting import onnx_file, stablehlo
from trm_jax.exporting.held import in_program, known, to_nearest
from trm_jax.exporting.program import Port, Program
from trm_jax.model.model import Weights
from trm_jax.recursion.recursion import State


@pytest.fixture(scope="module")
def weights() -> Weights:
    rng = np.random.default_rng(0)

    def made(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    params = {
        "answer_net": {"block_0": {"down": {"kernel": made(300, 200)}}},
        "q_head": {"kernel": made(64, 2), "bias": made(2)},
        "tokens": made(6, 64),
    }
    return Weights(params, State(made(64), made(1, 64)), made(11, 32))


def test_projections_have_a_scale_for_each_output_and_tables_for_each_row(weights):
    parts = to_nearest(weights, "int4").parts
    assert parts.params["answer_net"]["block_0"]["down"]["kernel"].scales.shape == (1, 200)
    assert parts.params["q_head"]["kernel"].scales.shape == (1, 2)
    assert parts.params["tokens"].scales.shape == (6, 1)
    assert parts.puzzle_table.scales.shape == (11, 1)


@pytest.mark.parametrize("name", ["bf16", "int8", "int4"])
def test_vectors_stay_as_they_are(weights, name):
    parts = to_nearest(weights, name).parts
    bias = parts.params["q_head"]["bias"], weights.params["q_head"]["bias"]
    for mine, its in [bias, (parts.starts.y, weights.starts.y), (parts.starts.z, weights.starts.z)]:
        np.testing.assert_array_equal(mine, its)
        assert mine.dtype == np.float32


def test_parts_are_as_small_as_their_numbers_and_near(weights):
    whole = sum(array.nbytes for array in jax.tree.leaves(weights))
    for name, most_bytes, most_error in (
        ("float32", 1, 0),
        ("bf16", 0.51, 0.004),
        ("int8", 0.27, 0.01),
        ("int4", 0.15, 0.15),
    ):
        parts = to_nearest(weights, name).parts
        assert sum(part.nbytes for part in jax.tree.leaves(parts)) <= most_bytes * whole
        for mine, its in zip(jax.tree.leaves(known(parts)), jax.tree.leaves(weights), strict=True):
            assert np.square(mine - its).mean() <= most_error**2 * np.square(its).mean()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["bf16", "int8", "int4"])
def test_a_file_holds_the_parts_and_computes_with_floats(form, name, weights, tmp_path):
    needs(form)
    parts = to_nearest(weights, name).parts

    def function(given: jax.Array) -> dict[str, jax.Array]:
        return {"made": given @ in_program(parts).params["answer_net"]["block_0"]["down"]["kernel"]}

    ports = (Port("given", "float32", ("B", 300), ""),), (Port("made", "float32", ("B", 200), ""),)
    form_of = onnx_file if form == ".onnx" else stablehlo
    about = {"made_by": "a test", "inputs": [{"name": "given", "dtype": "float32"}], "outputs": [{"name": "made"}]}
    path = tmp_path / f"model{form}"
    path.write_bytes(form_of.to_bytes(Program("step", function, *ports), about))
    bits = {"bf16": 16, "int8": 8, "int4": 4}[name]
    assert path.stat().st_size < 300 * 200 * bits / 8 + 4_000
    given = np.eye(3, 300, dtype=np.float32)
    expected = known(parts).params["answer_net"]["block_0"]["down"]["kernel"][:3]
    np.testing.assert_array_equal(run(path)(given=given)["made"], expected)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "smaller"), [("bf16", 1.8), ("int8", 3.2), ("int4", 5)])
def test_the_demo_in_fewer_bits_gives_the_same_answers(form, name, smaller, tmp_path):
    needs(form)
    solver = trm.load("sudoku-4x4")
    question = np.asarray(solver._puzzles(None, None, "test", 20, ("", "")).puzzles.inputs[:20], np.int32)
    whole, small = (tmp_path / f"{held}{form}" for held in ("float32", name))
    trm.export(solver, whole)
    trm.export(solver, small, weights=name)
    assert small.stat().st_size * smaller < whole.stat().st_size
    told = run(small)(question=question, most_steps=8, halt_above=np.inf)
    expected = run(whole)(question=question, most_steps=8, halt_above=np.inf)
    np.testing.assert_array_equal(told["answer"], expected["answer"])
    np.testing.assert_allclose(told["q"], expected["q"], atol=0.05)
