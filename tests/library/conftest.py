"""A small model that nobody has trained: what the library does with one does not depend on what it has learnt."""

from pathlib import Path

import jax
import pytest
import small_run

from trm_jax.config import Experiment
from trm_jax.library.solver import Solver
from trm_jax.model.model import Model


@pytest.fixture(scope="package")
def experiment() -> Experiment:
    return small_run.experiment(
        model__vocab_size=6, model__seq_len=16, model__num_puzzles=1, train__batch_size=4, train__eval_batch_size=8
    )


@pytest.fixture(scope="package")
def solver(experiment: Experiment) -> Solver:
    return Solver(experiment, jax.jit(Model(experiment.model).init)(jax.random.key(0)))


@pytest.fixture(scope="package")
def folder(solver: Solver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "model"
    solver.save(str(path))
    return path
