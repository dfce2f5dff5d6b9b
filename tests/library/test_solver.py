"""A model in the hand: it answers as the functions below it do, and says in one line what it cannot do."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT

import trm_jax as trm
from trm_jax.commands.cli import main
from trm_jax.config import Experiment
from trm_jax.errors import CheckpointError, ConfigError, DataError
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.library.solver import Solver, load
from trm_jax.recursion.recursion import State
from trm_jax.training.step import init_state

TEXTS = [".21....4.....1..", ".4......2.3...2.", ".12....4....3..."]


def test_answers_are_those_of_the_attempts(solver: Solver) -> None:
    out = solver.solve(TEXTS, steps=2)
    tokens = np.stack([solver.kind.parse(text) for text in TEXTS])
    model = solver._model
    (found,) = attempt(model, solver.weights, Effort((2,)), tokens, np.zeros(3, np.int32), 8)
    np.testing.assert_array_equal(out.tokens, found.answers[:, 0, 0])
    np.testing.assert_allclose(out.q, 1 / (1 + np.exp(-found.q_halt[:, 0, 1])), rtol=1e-6)
    assert out.steps.tolist() == [2, 2, 2]
    np.testing.assert_array_equal(out.valid, solver.kind.satisfied(tokens, out.tokens))
    np.testing.assert_array_equal(out.digits, np.maximum(out.tokens, 1).reshape(3, 4, 4) - 1)
    assert [out.text(i) for i in range(3)] == ["".join(board.ravel()) for board in out.characters]


def test_one_puzzle_gives_one_answer_and_many_give_many(solver: Solver) -> None:
    one, many = solver.solve(TEXTS[1], steps=2), solver.solve(TEXTS, steps=2)
    assert one.digits.shape == (4, 4)
    assert one.tokens.shape == (16,)
    assert (len(one), len(many)) == (1, 3)
    assert isinstance(float(one.q), float)
    np.testing.assert_array_equal(one.digits, many[1].digits)
    assert [answer.text() for answer in many] == [many.text(i) for i in range(3)]
    assert [answer.text() for answer in one] == [one.text()]
    with pytest.raises(TypeError):
        one[0]
    board = solver.kind.decode(solver.kind.parse(TEXTS[1]))
    assert solver.solve(board, steps=2).text() == one.text()


def test_several_attempts_differ_by_symmetries_and_the_batch_does_not_matter(solver: Solver) -> None:
    out = solver.solve(TEXTS, steps=2, attempts=4, select="change", seed=3)
    again = solver.solve(TEXTS, steps=2, attempts=4, select="change", seed=3, batch_size=2)
    np.testing.assert_array_equal(out.tokens, again.tokens)
    assert set(out.attempt.tolist()) - {0}, "no attempt but the plain one was ever chosen"
    alone = solver.solve(TEXTS[0], steps=2, attempts=4, select="change", seed=3)
    assert alone.attempt == out.attempt[0]


def test_an_answer_that_cannot_be_certified_is_none(solver: Solver) -> None:
    """Weights that nobody has trained solve nothing: what comes back must not look like an answer."""
    out = solver.solve(TEXTS, steps=2, certify=True)
    assert not out.valid.any()
    assert out.attempt.tolist() == [-1] * 3
    assert not out.tokens.any()
    assert out.text(1) == ""
    assert "not found" in repr(out[0])


def test_thinking_goes_through_the_answers_of_solving(solver: Solver) -> None:
    moments = list(solver.think(TEXTS[0], steps=3))
    assert [moment.step for moment in moments] == [1, 2, 3]
    for moment in moments:
        out = solver.solve(TEXTS[0], steps=moment.step)
        np.testing.assert_array_equal(moment.answer.digits, out.digits)
        assert moment.q == pytest.approx(float(out.q), rel=1e-5)
        assert moment.answer.valid == out.valid
        assert moment.y is not None
        assert moment.z is not None
        assert moment.y.shape == (17, 16)  # one puzzle token in front
        assert moment.z.shape == (1, 17, 16)
    assert not np.allclose(moments[0].z, moments[1].z)
    with pytest.raises(DataError, match="one puzzle at a time is followed, and 3 were given"):
        solver.think(TEXTS)


@pytest.mark.slow
def test_thinking_shows_what_the_latents_say(solver: Solver) -> None:
    config = solver.experiment.model
    plain = list(solver.think(TEXTS[0], steps=2))
    watched = list(solver.think(TEXTS[0], steps=2, latents=True))
    for one, other in zip(plain, watched, strict=True):
        assert one.latents is None
        assert other.latents is not None
        assert other.latents.shape == (config.cycles, config.latent_steps, 16)
        assert one.answer.text() == other.answer.text()
        assert one.z is not None
        np.testing.assert_allclose(one.z, other.z, atol=1e-5)
        # Of one latent, the last step's is what stands in z.
        y_of_z = State(jnp.asarray(one.z), None)
        said = solver._model.read(solver.weights.params, y_of_z).logits[0].argmax(-1)
        np.testing.assert_array_equal(other.latents[-1, -1], said)


def test_cells_and_reasons_are_those_of_the_answer(solver: Solver) -> None:
    cells, moments = solver.cells(TEXTS[0], steps=2), list(solver.think(TEXTS[0], steps=2))
    first, last = (moment.answer.tokens.reshape(4, 4) for moment in moments)
    assert cells.changes is not None
    np.testing.assert_array_equal(cells.decided_at, np.where(first == last, 1, 2))
    np.testing.assert_array_equal(cells.changes, first != last)
    # Nobody has trained it, so that it is wrong.
    assert cells.mistake is not None
    at = cells.mistake.row - 1, cells.mistake.column - 1
    assert solver.kind.glyphs(last[at].reshape(1))[0] == cells.mistake.symbol != cells.mistake.right

    why = solver.why(TEXTS[0], 1, 1, steps=2)
    assert why.symbol == solver.kind.glyphs(last[0, :1])[0]
    assert {(clue.row, clue.column, clue.symbol) for clue in why.clues} == {
        (1, 2, "2"),
        (1, 3, "1"),
        (2, 4, "4"),
        (4, 2, "1"),
    }
    effects = [clue.effect for clue in why.clues]
    assert effects == sorted(effects, reverse=True)
    assert "r1c2 = 2" in why._repr_html_()
    for row, column, told in ((1, 2, "is a clue"), (1, 5, "the board has rows 1 to 4")):
        with pytest.raises(ConfigError, match=told):
            solver.why(TEXTS[0], row, column)


def test_a_saved_model_answers_the_same(solver: Solver, folder: Path, experiment: Experiment) -> None:
    for source in (str(folder), folder, folder / "checkpoints" / "0"):
        loaded = trm.load(source)
        assert loaded.experiment == experiment
        assert loaded.solve(TEXTS, steps=2).text(2) == solver.solve(TEXTS, steps=2).text(2)
    jax.tree.map(np.testing.assert_array_equal, loaded.weights, solver.weights)
    with pytest.raises(CheckpointError, match="holds checkpoints already"):
        solver.save(folder)


def test_figures_are_those_of_the_command(
    solver: Solver, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figures.json"
    words = ["eval", str(folder), "--limit=20", "--steps=1,2", "--devices=1", f"--json={file}"]
    assert main(words) == 0
    told = json.loads(file.read_text())
    found = json.loads(json.dumps(load(folder).evaluate(limit=20, steps=[2, 1])))
    assert {key for key in found if told[key] != found[key]} <= {"seconds"}
    assert found["puzzles"] == 20


def test_puzzles_may_be_given_with_their_answers(solver: Solver) -> None:
    answers = ["4213132424313142", "3412124321344321", "4123231414323241"]
    figures = solver.evaluate(TEXTS, answers, steps=1)
    assert figures["puzzles"] == 3
    own = solver.solve(TEXTS, steps=1)
    right = [own.text(i) == answers[i] for i in range(3)]
    assert figures["rows"][0]["exact"]["value"] == pytest.approx(np.mean(right))
    cells = np.mean([[a == b for a, b in zip(own.text(i), answers[i], strict=True)] for i in range(3)])
    assert figures["rows"][0]["cells"]["value"] == pytest.approx(cells)
    with pytest.raises(DataError, match="3 puzzles, but 2 answers"):
        solver.evaluate(TEXTS, answers[:2])
    with pytest.raises(DataError, match="compares with known answers"):
        solver.evaluate(TEXTS)


def test_a_table_may_have_other_columns_and_no_answers(solver: Solver, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("mine\n" + "\n".join(TEXTS) + "\n")
    figures = solver.evaluate(str(path), columns=("mine", ""), steps=1)
    assert figures["puzzles"] == 3
    assert figures["rows"][0]["valid"]["value"] == pytest.approx(np.mean(solver.solve(TEXTS, steps=1).valid))
    assert "<th>valid</th><th>certified</th>" in figures._repr_html_().replace("\n", "")
    with pytest.raises(DataError, match="column question: is missing"):
        solver.evaluate(str(path), steps=1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"steps": 0}, "steps = 0: give a whole number from 1 to 65536"),
        ({"steps": 2.5}, "steps = 2.5"),
        ({"attempts": 0}, "attempts = 0: give a whole number from 1 to 4096"),
        ({"attempts": True}, "attempts = True"),
        ({"attempts": 2, "symmetries": False}, "attempts = 2 would all be the same: give symmetries=True"),
        ({"symmetries": True}, "give attempts of at least 2"),
        ({"latent_noise": 0.3}, "give attempts of at least 2"),
        ({"attempts": 2, "latent_noise": -1}, "latent_noise = -1: give a standard deviation"),
        ({"select": "rule"}, "select = 'rule' is unknown: did you mean 'rules'?"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"puzzle_ids": 1}, "puzzle_ids from 1 to 1: the puzzle table has rows 0 to 0"),
        ({"puzzle_ids": [0, 0]}, "give one whole number, or 3"),
        ({"puzzle_ids": 0.0}, "puzzle_ids float64[]"),
    ],
)
def test_arguments_that_make_no_sense_are_told(solver: Solver, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        solver.solve(TEXTS, **arguments)
    assert told in str(error.value)
    assert "--" not in str(error.value), "flags of the command mean nothing here"


def test_what_cannot_be_loaded_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        trm.load(str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=r"load\(5\): give the path of a folder"):
        trm.load(5)  # type: ignore[arg-type]


def test_weights_may_come_from_a_training_state(experiment: Experiment) -> None:
    state = jax.jit(init_state, static_argnums=0)(experiment)
    jax.tree.map(np.testing.assert_array_equal, Solver(experiment, state).weights.params, state.ema)


def test_a_notebook_shows_boards_and_tables(solver: Solver) -> None:
    html = solver.solve(TEXTS, steps=1)._repr_html_()
    assert html.count("<figure") == 3
    assert html.count("<td") == 48
    assert "<th>exact</th>" in solver.evaluate(TEXTS, ["4213132424313142"] * 3, steps=1)._repr_html_()
    assert "unnamed" in solver._repr_html_()
    assert repr(solver).startswith("<unnamed: ")


def test_the_face_is_lazy_and_whole() -> None:
    """Nothing is imported before a name is used; every name is there, and no other."""
    program = (
        "import sys, trm_jax as trm; assert 'jax' not in sys.modules and 'numpy' not in sys.modules; "
        "assert all(getattr(trm, name) is not None for name in trm.__all__); assert set(trm.__all__) <= set(dir(trm))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        trm.lode  # noqa: B018
