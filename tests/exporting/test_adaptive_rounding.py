"""Rounding that is chosen by the model's way keeps to it better than the nearest numbers do, on other puzzles too."""

from dataclasses import replace

import jax
import numpy as np
import pytest
import small_run
from exporting.running import needs
from untrained import shaken

import trm_jax as trm
from trm_jax.config import Experiment
from trm_jax.exporting import stablehlo
from trm_jax.exporting.adaptive_rounding import calibrated
from trm_jax.exporting.carried_path import carried_path
from trm_jax.exporting.held import known, to_nearest
from trm_jax.model.model import Model, Weights


def of_states() -> Experiment:
    return small_run.experiment(model__vocab_size=6, model__seq_len=16, model__num_puzzles=3)


def of_candidates() -> Experiment:
    puzzle = '{"kind": "sudoku", "box": "2x2"}'
    return trm.experiment(
        "sudoku_extreme",
        {"model.width": 8, "model.cycles": 2, "model.grad_cycles": 2, "model.layers": 1, "model.vocab_size": 6,
         "model.seq_len": 16, "model.num_puzzles": 1, "model.puzzle": puzzle, "data.puzzle": puzzle},
    )  # fmt: skip


def untrained(experiment: Experiment) -> Weights:
    """With noise where weights are zero at first, in the heads."""
    weights = jax.jit(Model(experiment.model).init)(jax.random.key(0))
    heads = {name: part for name, part in shaken(weights, 1).params.items() if name.endswith("_head")}
    return replace(weights, params=weights.params | heads)


@pytest.mark.slow
@pytest.mark.parametrize("made", [of_states, of_candidates])
def test_it_keeps_to_the_path_better(made):
    experiment = made()
    weights, rng = untrained(experiment), np.random.default_rng(0)
    questions = rng.integers(1, 6, (24, 16), np.int32)
    ids = rng.integers(0, experiment.model.num_puzzles, 24).astype(np.int32)
    others = carried_path(experiment, weights, questions[12:], ids[12:], steps=8, seed=3)

    def distance(parts) -> float:
        return float(others.distance(jax.tree.map(jax.numpy.asarray, known(parts).params), others.steps))

    done: list[int] = []
    found = calibrated(experiment, weights, "int4", questions[:12], ids[:12], descent=60, progress=done.append)
    assert (found.name, found.puzzles) == ("int4", 12)
    assert done == list(range(1, 61))
    assert distance(found.parts) < 0.8 * distance(to_nearest(weights, "int4").parts)


@pytest.mark.slow
def test_the_path_is_the_models_own():
    """Of y and z: the states before its supervision steps, with the rows of the puzzle table; one step leads on."""
    experiment = of_states()
    weights, model = untrained(experiment), Model(experiment.model)
    questions = np.random.default_rng(1).integers(1, 6, (2, 16), np.int32)
    ids = np.array([0, 2], np.int32)
    path = carried_path(experiment, weights, questions, ids, steps=3)
    state = model.start(jax.tree.map(jax.numpy.asarray, weights.starts), 2)
    for step in range(3):
        for mine, its in zip(jax.tree.leaves(path.steps.taken[0]), jax.tree.leaves(state), strict=True):
            np.testing.assert_allclose(mine[2 * step : 2 * step + 2], its, atol=1e-5)
        state, readout = model.think(weights.params, weights.puzzle_table[ids], state, questions)
    np.testing.assert_allclose(path.steps.said["z"][4:], state.z, atol=1e-5)
    np.testing.assert_allclose(path.steps.said["logits"][4:], readout.logits, atol=1e-4)
    assert float(path.distance(weights.params, path.steps)) < 1e-5


@pytest.mark.slow
def test_a_file_tells_by_how_many_puzzles_it_was_rounded(tmp_path, monkeypatch):
    """Its own held-out ones, or a table's, which needs no answers."""
    needs(".stablehlo")
    monkeypatch.setattr(
        "trm_jax.library.export.calibrated",
        lambda experiment, weights, name, questions, ids, progress: replace(
            to_nearest(weights, name), puzzles=len(questions) * (questions.shape == (*ids.shape, 16))
        ),
    )
    experiment = small_run.experiment(model__vocab_size=6, model__seq_len=16, model__num_puzzles=3)
    solver = trm.Solver(experiment, untrained(experiment))
    with pytest.raises(trm.TrmError, match="calibrate is of type list: give a path"):
        trm.export(solver, tmp_path / "a.stablehlo", weights="int4", calibrate=["1" * 16])
    table = tmp_path / "puzzles.csv"
    table.write_text("question\n" + "\n".join(f"{row:016d}" for row in range(1, 4)))
    for calibrate, puzzles in ((False, 0), (True, 30), (table, 3)):  # 30 are held out
        file = trm.export(solver, tmp_path / f"{puzzles}.stablehlo", weights="int4", calibrate=calibrate)
        told = stablehlo.read(file)[0]["weights"]
        assert (told["held_as"], told["calibrated_on"]) == ("int4", puzzles)
