"""A model of candidates in the hand searches, on boards of every size, and says what belongs to attempts."""

from functools import partial

import pytest

import trm_jax as trm
from trm_jax.commands.cli import main
from trm_jax.data.fit import at_size
from trm_jax.errors import ConfigError

PUZZLES = [
    "1.36.56....3526...4..2.6.15462..4.3.",
    "612453.45.2613.54225...14..2355.....",
    "6..341....2..651344.156.1...5..4.2.3",
]


@pytest.fixture(scope="module")
def model():
    return trm.load("sudoku-extreme").at(36)


def test_answers_are_verified(model):
    out = model.solve(PUZZLES, calls=200, batch_size=8)
    assert out.valid.all()
    assert model.kind.satisfied(out.questions, out.tokens).all()
    assert (out.steps >= 1).all()
    assert out.attempt.tolist() == [0, 0, 0]
    assert model.solve(PUZZLES[1], calls=200, batch_size=8).digits.shape == (6, 6)


def test_where_none_is_found_there_is_none(model):
    out = model.solve("123456" + 29 * "." + "1", calls=3, batch_size=8)
    assert not out.valid
    assert (out.text(), int(out.attempt)) == ("", -1)
    assert out.steps >= 3


def test_a_search_is_followed_call_by_call(model):
    moments = list(model.think(PUZZLES[0]))
    assert [moment.step for moment in moments] == list(range(1, len(moments) + 1))
    left = [int(moment.possible.sum()) for moment in moments]
    assert left == sorted(left, reverse=True)
    assert left[-1] == 36
    assert moments[-1].answer.valid
    assert moments[0].y is None


def test_what_belongs_to_attempts_is_refused(model):
    asked = {"steps": 4, "attempts": 2, "select": "q", "symmetries": True, "halting": True}
    asked |= {"start_noise": 0.1, "latent_noise": 0.1}
    out_of_range = {"calls": 0, "chains": "two", "seconds": -1, "seed": -1}
    for call in (partial(model.solve, PUZZLES[0]), model.evaluate, partial(trm.stress, model)):
        for name, value in asked.items():
            with pytest.raises(ConfigError, match=f"^{name}: a model of candidates searches"):
                call(**{name: value})
        for name, value in out_of_range.items():
            with pytest.raises(ConfigError, match=f"^{name} = "):
                call(**{name: value})


def test_other_sizes_are_those_of_the_kind(model):
    assert model.at(16).kind.boxes == (2, 2)
    with pytest.raises(ConfigError, match=r"at\(17\)"):
        model.at(17)


@pytest.mark.slow
def test_a_table_of_another_size_is_evaluated(model, tmp_path, capsys):
    answers = model.solve(PUZZLES, calls=200, batch_size=8)
    table = tmp_path / "small.csv"
    rows = [f"{puzzle},{answers.text(i)}" for i, puzzle in enumerate(PUZZLES)]
    table.write_text("\n".join(["question,answer", *rows]) + "\n")
    figures = trm.load("sudoku-extreme").evaluate(str(table), calls=200, batch_size=8)
    assert figures["puzzles"] == 3
    assert figures["found"][200]["value"] == 1.0
    assert main(["eval", "sudoku-extreme", str(table), "--calls=200", "--devices=1"]) == 0
    assert "search with a verifier, 3 puzzles" in capsys.readouterr().out
    assert main(["solve", "sudoku-extreme", "--data", str(table), "--row=3", "--picture", str(tmp_path / "s.png")]) == 0
    out = capsys.readouterr().out
    assert "call 1: " in out
    assert "verified, found by search" in out
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_a_puzzle_of_another_size_is_read_and_solved(capsys):
    assert main(["solve", "sudoku-extreme", PUZZLES[0], "--quiet"]) == 0
    assert len(capsys.readouterr().out.strip()) == 36
    # What is no puzzle of any size is told at the model's own.
    assert main(["solve", "sudoku-extreme", PUZZLES[0] + "."]) == 2
    assert "81" in capsys.readouterr().err


def test_a_kind_with_other_units_is_refused():
    latin = '{"kind": "grid", "shape": [4, 4], "alphabet": ".1234", "units": {"line": "rows columns"}}'
    with pytest.raises(ConfigError, match="the network is made of units"):
        at_size(trm.load("sudoku-extreme").experiment, latin, 16, 6)
