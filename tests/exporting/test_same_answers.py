"""What a file says is what its model says, of 1,000 puzzles of each kind.

Quicker tests of the same are those of the kept file (test_stablehlo.py) and of the page (tests/docs/test_export.py).
"""

import csv
import json
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_run
from exporting.running import FORMS, needs, run
from places import TESTDATA
from untrained import shaken

import trm_jax as trm
from trm_jax.config import Experiment
from trm_jax.inference.search import Budget, search
from trm_jax.library.solver import Solver
from trm_jax.model.model import Model
from trm_jax.puzzles import maze_generator
from trm_jax.puzzles.symmetry import random_words


def untrained(experiment: Experiment) -> Solver:
    """A model that nobody has trained, with noise where weights are zero at first: heads, and the puzzle table.

    With noise on all of them its recursion would be chaotic, and rounding alone would come to other answers.
    """
    weights = jax.jit(Model(experiment.model).init)(jax.random.key(0))
    heads = shaken(weights, 1).params["q_head"]
    table = weights.puzzle_table
    if table is not None:
        table = jax.random.normal(jax.random.key(2), table.shape)
    return Solver(experiment, replace(weights, params=weights.params | {"q_head": heads}, puzzle_table=table))


class Said(NamedTuple):
    """What the model itself says of questions at each step: [steps, N, ...]."""

    logits: np.ndarray
    q_halt: np.ndarray
    change: np.ndarray


def said(solver: Solver, question: np.ndarray, ids: np.ndarray | None, steps: int, batch: int = 100) -> Said:
    from trm_jax.inference.loop import change_of

    model, weights = Model(solver.experiment.model), solver.weights

    @jax.jit
    def step(state, question, ids):
        rows = None if ids is None else model.puzzle_rows(jnp.asarray(weights.puzzle_table), ids)
        after, readout = model.think(jax.tree.map(jnp.asarray, weights.params), rows, state, question)
        return after, Said(readout.logits, readout.q_halt, change_of(state, after))

    parts = []
    for first in range(0, len(question), batch):
        asked = question[first : first + batch]
        of = None if ids is None else ids[first : first + batch]
        state, row = model.start(jax.tree.map(jnp.asarray, weights.starts), len(asked)), []
        for _ in range(steps):
            state, now = step(state, asked, of)
            row.append(jax.tree.map(np.asarray, now))
        parts.append(Said(*map(np.stack, zip(*row, strict=True))))
    return Said(*(np.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


def check_solve(call, expected: Said, batch: int = 100, **asked: np.ndarray) -> None:
    """Rows halt at different steps, and give the answer, q and rest of theirs."""
    halt_above = expected.q_halt[0].mean()
    halts = expected.q_halt > halt_above
    halts[-1] = True
    at = halts.argmax(axis=0)
    assert len(np.unique(at)) > 1
    told = in_batches(call, batch, asked, most_steps=len(expected.q_halt), halt_above=halt_above)
    rows = np.arange(len(at))
    np.testing.assert_array_equal(told["steps"], at + 1)
    np.testing.assert_array_equal(told["answer"], expected.logits[at, rows].argmax(axis=-1))
    np.testing.assert_allclose(told["q"], 1 / (1 + np.exp(-expected.q_halt[at, rows])), atol=1e-4)
    np.testing.assert_allclose(told["rest"], expected.change[at, rows], rtol=1e-3)


def check_step(call, solver: Solver, expected: Said, batch: int = 100, **asked: np.ndarray) -> None:
    """The state that is handed on is the model's; what a row's state holds is nothing to one that begins."""
    start = Model(solver.experiment.model).start(solver.weights.starts, 1)
    parts = {name: part.shape[1:] for name, part in (("y", start.y), ("z", start.z)) if part is not None}
    count = len(asked["question"])
    state = {name: np.full((count, *shape), np.nan, np.float32) for name, shape in parts.items()}
    for step in range(len(expected.logits)):
        told = in_batches(call, batch, asked | state | {"fresh": np.full(count, step == 0)})
        # What the first step rounds otherwise, the next ones make more of.
        np.testing.assert_allclose(told["logits"], expected.logits[step], atol=1e-3 if step else 1e-4, rtol=1e-4)
        np.testing.assert_array_equal(told["answer"], expected.logits[step].argmax(axis=-1))
        state = {name: told[f"next_{name}"] for name in parts}


def in_batches(call, batch: int, rows: dict[str, np.ndarray], **scalars) -> dict[str, np.ndarray]:
    count = len(rows["question"])
    parts = [
        call(**{name: array[i : i + batch] for name, array in rows.items()}, **scalars) for i in range(0, count, batch)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="module")
def tiny():
    experiment = small_run.experiment(model__vocab_size=6, model__seq_len=16, model__num_puzzles=3)
    solver = untrained(experiment)
    question = np.random.default_rng(0).integers(1, 6, (5, 16), np.int32)
    asked = {"question": question, "puzzle_id": np.array([0, 1, 2, 1, 0], np.int32)}
    return solver, asked, said(solver, *asked.values(), steps=3)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_tiny_model(form, tiny, tmp_path):
    needs(form)
    solver, asked, expected = tiny
    path = trm.export(solver, tmp_path / f"solve{form}")
    assert b".py" not in path.read_bytes()  # nothing of where it was made
    check_solve(run(path), expected, **asked)
    check_step(run(trm.export(solver, tmp_path / f"step{form}", program="step")), solver, expected, **asked)


@cache
def shipped_demo() -> tuple[Solver, np.ndarray]:
    solver = trm.load("sudoku-4x4")
    return solver, np.asarray(solver._puzzles(None, None, "test", 1000, ("", "")).puzzles.inputs[:1000], np.int32)


@cache
def mazes() -> tuple[Solver, np.ndarray]:
    """Attention that knows rows and columns; several latents, which take turns."""
    experiment = trm.experiment(
        "maze_unique",
        {"model.width": 32, "model.heads": 2, "model.vocab_size": 6, "model.seq_len": 121, "model.latents": 2,
         "model.dtype": "float32", "model.cycles": 1, "model.latent_steps": 2},
    )  # fmt: skip
    puzzles, _ = maze_generator.generate(1000, (11, 11), 0, min_length=8, perfect=True)
    return untrained(experiment), puzzles.astype(np.int32)


@cache
def grids() -> tuple[Solver, np.ndarray]:
    """Colours as in ARC, with a table of puzzles and positions in front."""
    puzzle = {"kind": "grid", "shape": [10, 10], "alphabet": ".0123456789"}
    experiment = trm.experiment(
        "arc1",
        {"data.puzzle": json.dumps(puzzle), "model.width": 32, "model.heads": 2, "model.layers": 1,
         "model.vocab_size": 12, "model.seq_len": 100, "model.num_puzzles": 1000, "model.puzzle_dim": 32,
         "model.puzzle_tokens": 2, "model.cycles": 2, "model.latent_steps": 2, "model.dtype": "float32"},
    )  # fmt: skip
    return untrained(experiment), np.random.default_rng(0).integers(1, 12, (1000, 100), np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("made", [shipped_demo, mazes, grids])
def test_a_thousand_puzzles(made, form, tmp_path):
    needs(form)
    solver, question = made()
    asked, ids = {"question": question}, None
    if solver.weights.puzzle_table is not None:
        ids = asked["puzzle_id"] = np.arange(len(question), dtype=np.int32)
    expected = said(solver, question, ids, steps=3)
    check_solve(run(trm.export(solver, tmp_path / f"solve{form}")), expected, **asked)
    check_step(run(trm.export(solver, tmp_path / f"step{form}", program="step")), solver, expected, **asked)


def known_hard(kind) -> np.ndarray:
    with (TESTDATA / "hard_sudokus.csv").open(newline="") as file:
        return np.stack([kind.parse(row["question"]) for row in csv.DictReader(file)]).astype(np.int32)


def hard_sudokus(kind, count: int) -> np.ndarray:
    """Images of well-known ones under symmetries of the puzzle."""
    known = known_hard(kind)
    turned = kind.symmetries(random_words(np.random.default_rng(0), count, kind.words))
    return turned.apply(known[np.arange(count) % len(known)])


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_thousand_calls_of_a_model_of_candidates(form, tmp_path):
    """From nothing, and then pinned: the sets that are left are those of the package's own call."""
    needs(form)
    solver = trm.load("sudoku-extreme")
    model, params = Model(solver.experiment.model), jax.tree.map(jnp.asarray, solver.weights.params)
    call = run(trm.export(solver, tmp_path / f"step{form}", program="step"))
    question = hard_sudokus(solver.kind, 1000)
    rng = np.random.default_rng(1)
    possible, symbols = np.ones((1000, 81, 9), bool), np.zeros((1000, 81, 9), np.float32)
    deduce = jax.jit(model.deduce)
    for pin in (False, True):
        asked = {"question": question, "possible": possible, "symbols": symbols, "pin": np.full(1000, pin)}
        told = in_batches(call, 100, asked | {"draws": rng.random((1000, 81), np.float32)})
        fewer = (told["asked"] < (possible & model.possible(possible, question)[0])).any(axis=2)
        assert (fewer.sum(axis=1) == pin).all()
        for first in range(0, 1000, 100):
            rows = slice(first, first + 100)
            expected = deduce(params, told["asked"][rows], question[rows])
            np.testing.assert_allclose(told["keep"][rows], expected.keep, atol=1e-4, rtol=1e-4)
            np.testing.assert_allclose(told["next_symbols"][rows], expected.symbols, atol=1e-4, rtol=1e-4)
        likeliest = np.where(told["next_possible"], told["next_symbols"], -np.inf).argmax(axis=-1)
        np.testing.assert_array_equal(told["answer"], likeliest + 2)
        possible, symbols = told["next_possible"], told["next_symbols"]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_search_goes_the_way_of_the_package(form, tmp_path):
    """The same calls, chains and answers, each puzzle as if it were alone; where none is found, none."""
    needs(form)
    solver = trm.load("sudoku-extreme")
    experiment, most = solver.experiment, 48
    question = known_hard(solver.kind)[1:3]
    told = run(trm.export(solver, tmp_path / f"solve{form}"))(question=question, seed=0, most_calls=most)
    assert told["found"].tolist() == [False, True]
    assert (told["chains"] > 8).all()  # of which 8 are side by side: some have ended and others have begun
    for i, row in enumerate(question):
        budget = Budget(calls=most)
        what = Model(experiment.model), solver.weights, experiment.candidates, solver.kind
        (found,) = search(*what, row[None], 8, budget)
        assert (found.calls, found.chains) == (told["calls"][i], told["chains"][i])
        assert told["found"][i] == (found.tokens is not None)
        np.testing.assert_array_equal(told["answer"][i], 0 if found.tokens is None else found.tokens)
