"""Training in the hand: the pure functions make the steps of a run, and their figures are means."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import trm_jax as trm
from trm_jax.config import Experiment
from trm_jax.errors import ConfigError, DataError
from trm_jax.training.step import init_state, train_step

TEXTS = [".21....4.....1..", ".4......2.3...2.", ".12....4....3...", ".21....4.....1.."]
ANSWERS = ["4213132424313142", "3412124321344321", "4123231414323241", "4213132424313142"]


@pytest.mark.slow
def test_a_step_is_the_step_of_a_run_and_its_figures_are_means(experiment: Experiment) -> None:
    state, batch = trm.init(experiment), trm.batch(experiment, TEXTS, ANSWERS)
    jax.tree.map(np.testing.assert_array_equal, state, jax.jit(init_state, static_argnums=0)(experiment))
    step = jax.jit(train_step, static_argnums=0)
    mine, theirs = state, state
    sums = []
    for _ in range(3):
        mine, figures = trm.train_step(experiment, mine, batch)
        theirs, totals = step(experiment, theirs, batch)
        sums.append(totals)
        for name in ("loss", "lm_loss", "q_halt_loss"):
            assert float(figures[name]) == pytest.approx(float(totals[name]) / 4, rel=1e-5)
        for name in ("gradient_norm", "learning_rate"):
            assert float(figures[name]) == pytest.approx(float(totals[name]), rel=1e-4)
        assert float(figures["finished"]) == float(totals["count"])
        if totals["count"]:
            exact = float(totals["exact_accuracy"]) / float(totals["count"])
            assert float(figures["exact_accuracy"]) == pytest.approx(exact)
            assert float(figures["steps"]) == pytest.approx(float(totals["steps"]) / float(totals["count"]))
        else:
            assert np.isnan(float(figures["exact_accuracy"]))
    assert any(totals["count"] for totals in sums), "no row finished: accuracies were never looked at"
    assert any(not totals["count"] for totals in sums), "rows finished in each step: nan was never looked at"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), mine.weights.params, theirs.weights.params)


def test_the_same_state_may_be_used_twice(experiment: Experiment) -> None:
    state, batch = trm.init(experiment, seed=5), trm.batch(experiment, TEXTS, ANSWERS)
    (one, _), (two, _) = trm.train_step(experiment, state, batch), trm.train_step(experiment, state, batch)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    other = trm.init(experiment, seed=6)
    assert not np.array_equal(state.weights.params["tokens"], other.weights.params["tokens"])


def test_a_batch_is_checked(experiment: Experiment) -> None:
    batch = trm.batch(experiment, TEXTS, ANSWERS)
    assert batch.inputs.dtype == batch.labels.dtype == batch.puzzle_ids.dtype == np.int32
    assert (np.asarray(batch.labels) >= 2).all()
    with pytest.raises(DataError, match=r"3 puzzles and 3 answers, but .*batch_size = 4"):
        trm.batch(experiment, TEXTS[:3], ANSWERS[:3])
    with pytest.raises(DataError, match=r"puzzles\[1\]: "):
        trm.batch(experiment, TEXTS, [ANSWERS[0]] * 4)
    with pytest.raises(DataError, match=r"answers\[2\]: 1 cells found"):
        trm.batch(experiment, TEXTS, [*ANSWERS[:2], "1", ANSWERS[3]])


def test_sizes_that_come_from_data_have_to_be_given(experiment: Experiment) -> None:
    unsized = replace(experiment, model=replace(experiment.model, seq_len=0))
    with pytest.raises(ConfigError, match=r"config.model.seq_len = 0 comes from the data.*'model.seq_len': 1"):
        trm.init(unsized)
    with pytest.raises(ConfigError, match="no experiment"):
        trm.init("demo")  # type: ignore[arg-type]


def test_a_curriculum_is_for_runs(experiment: Experiment) -> None:
    grown = replace(experiment, train=replace(experiment.train, curriculum="latent_steps=1@0.5"))
    with pytest.raises(ConfigError, match=r"config.train.curriculum = 'latent_steps=1@0.5', but a step is made by it"):
        trm.train_step(grown, None, None)  # type: ignore[arg-type]


def test_weights_of_another_model_are_for_runs(experiment: Experiment, tmp_path: Path) -> None:
    begun = replace(experiment, init=replace(experiment.init, source="runs/a"))
    with pytest.raises(ConfigError, match=r"config.init.source = 'runs/a', but every weight is drawn here: use train"):
        trm.init(begun)
    with pytest.raises(ConfigError, match="init_from is of type int: give a path"):
        trm.train(experiment, tmp_path, init_from=3)  # type: ignore[arg-type]
