"""What an attempt thought: compared step by step, judged, and the same whether it is read by steps or by cycles."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from trm_jax.config import ModelConfig
from trm_jax.errors import ConfigError
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.lanes import jobs_of
from trm_jax.inference.thoughts import (
    Thought,
    by_cycles,
    by_steps,
    differing_cells,
    is_right,
    judged,
    think,
    with_latents,
)
from trm_jax.inference.trace import Trace, trace
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.recursion.recursion import State

PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"
WRONG = "1244341221434321"  # a 4 too many in the first row
SUDOKU, TOKENS = kind_of("sudoku", 16), kind_of("tokens", 16)
QUESTION = SUDOKU.parse(PUZZLE)
CONFIG = ModelConfig(
    vocab_size=6,
    seq_len=16,
    num_puzzles=3,
    width=16,
    heads=2,
    layers=1,
    latent_steps=1,
    cycles=3,
    puzzle_dim=16,
    puzzle_tokens=0,
    supervision_steps=3,
    mixer="mlp",
    positions="none",
    dtype="float32",
)


def attempts_of(
    kind: Kind, texts: Sequence[Sequence[str]], q: Sequence[Sequence[float]], steps: Sequence[int] | None = None
) -> Attempts:
    """Attempts at one puzzle, by the answers of each after each step; changes of the state are 1, 1/2, 1/3, ..."""
    K, D = len(texts), len(texts[0])
    answers = np.stack([[kind.parse(text) for text in row] for row in texts])[None]
    q_halt = np.array(q, np.float32)[None]
    halts = q_halt > 0
    return Attempts(
        Effort(tuple(range(1, D + 1)), attempts=K, latent_noise=1.0),
        0,
        answers,
        q_halt,
        np.broadcast_to((1 / np.arange(1, D + 1)).astype(np.float32), (1, K, D)),
        np.zeros((1, K, D), np.float32),
        np.where(halts.any(axis=2), halts.argmax(axis=2) + 1, 0).astype(np.int32),
        np.array([steps or [D] * K], np.int32),
    )


def trace_of(found: Attempts, cycles: int, number: int = 0) -> Trace:
    """The trace of an attempt whose answers all stand from the first cycle of a step on."""
    tokens = np.repeat(found.answers[0, number][:, None], cycles, axis=1)
    figures = np.repeat(found.q_halt[0, number][:, None], cycles, axis=1)
    return Trace(tokens, figures, np.linspace(1, 0.1, figures.size).reshape(figures.shape))


def test_each_step_is_compared_with_the_one_before() -> None:
    found = attempts_of(SUDOKU, [[SOLVED] * 3, [WRONG, WRONG, SOLVED]], [[1, 1, 1], [-2, 0.5, 3]])

    rows = by_steps(SUDOKU, QUESTION, found, 1)

    assert [np.flatnonzero(thought.changed).tolist() for thought in rows] == [[2, 3, 7], [], [2]]
    assert [thought.satisfied for thought in rows] == [False, False, True]
    assert [thought.q_halt for thought in rows] == [-2, 0.5, 3]
    assert [thought.sure for thought in rows] == pytest.approx([0.1192, 0.6225, 0.9526], abs=1e-4)
    assert [thought.change for thought in rows] == pytest.approx([1, 1 / 2, 1 / 3])
    assert [(thought.step, thought.cycle) for thought in rows] == [(1, 0), (2, 0), (3, 0)]
    assert [SUDOKU.text(thought.tokens) for thought in rows] == [WRONG, WRONG, SOLVED]
    assert [SUDOKU.text(thought.tokens) for thought in by_steps(SUDOKU, QUESTION, found)] == [SOLVED] * 3


def test_nothing_is_told_of_steps_after_an_attempt_has_ended() -> None:
    found = attempts_of(SUDOKU, [[WRONG, SOLVED, SOLVED]], [[-1, 1, 1]], steps=[2])

    assert [thought.step for thought in by_steps(SUDOKU, QUESTION, found)] == [1, 2]
    rows = by_cycles(SUDOKU, QUESTION, found, trace_of(found, 3))
    assert [(thought.step, thought.cycle) for thought in rows] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]


def test_the_only_cycle_of_a_step_is_the_step() -> None:
    found = attempts_of(SUDOKU, [[WRONG, SOLVED]], [[0, 0]])
    rows = by_cycles(SUDOKU, QUESTION, found, trace_of(found, 1))
    assert [(thought.step, thought.cycle) for thought in rows] == [(1, 0), (2, 0)]


def test_the_last_cycle_of_a_step_shows_the_answer_that_was_judged() -> None:
    found = attempts_of(SUDOKU, [[WRONG, SOLVED]], [[0, 0]])
    other = trace_of(attempts_of(SUDOKU, [[WRONG, WRONG]], [[0, 0]]), 2)

    rows = by_cycles(SUDOKU, QUESTION, found, other)

    assert [SUDOKU.text(thought.tokens) for thought in rows] == [WRONG, WRONG, WRONG, SOLVED]
    assert [thought.satisfied for thought in rows] == [False, False, False, True]
    assert SUDOKU.text(other.tokens[1, 1]) == WRONG  # what was given stays as it was


def test_an_answer_that_forgets_a_clue_is_not_right() -> None:
    relabelled = SUDOKU.parse(SOLVED.translate(str.maketrans("1234", "2341")))
    answers = np.stack([relabelled, SUDOKU.parse(SOLVED), relabelled, np.zeros(16, np.int8)]).reshape(2, 2, 16)

    verdicts = judged(SUDOKU, QUESTION, answers)

    assert verdicts is not None
    assert verdicts.tolist() == [[False, True], [False, False]]
    assert judged(TOKENS, QUESTION, answers) is None


def test_equal_answers_are_judged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = SUDOKU.satisfied

    def counted(questions: Tokens, answers: Tokens) -> NDArray[np.bool_]:
        seen.append(len(answers))
        return original(questions, answers)

    monkeypatch.setattr(SUDOKU, "satisfied", counted)
    answers = np.stack([SUDOKU.parse(text) for text in (SOLVED, WRONG, SOLVED, SOLVED, WRONG)])

    assert judged(SUDOKU, QUESTION, answers).tolist() == [True, False, True, True, False]  # type: ignore[union-attr]
    assert seen == [2]


@pytest.mark.parametrize(
    ("satisfied", "label", "expected"),
    [
        (True, WRONG, True),  # another right answer than the known one
        (False, SOLVED, False),
        (None, SOLVED, True),
        (None, WRONG, False),
        (None, "." * 16, None),
        (None, None, None),
    ],
)
def test_rules_come_before_labels(satisfied: bool | None, label: str | None, expected: bool | None) -> None:
    tokens = SUDOKU.parse(SOLVED)
    known = None if label is None else np.where(SUDOKU.parse(label) == 1, 0, SUDOKU.parse(label))

    assert is_right(Thought(tokens, tokens != tokens, 0.0, satisfied, 0.0, 1), known) is expected


def test_cells_without_a_label_do_not_differ() -> None:
    assert differing_cells(np.array([1, 2, 3, 4]), np.array([1, 0, 4, 5])) == 2


def random_weights(model: Model) -> Weights:
    """Weights whose answers depend on puzzle id and noise, and change from step to step."""
    weights = jax.jit(model.init)(jax.random.key(1))
    assert weights.puzzle_table is not None
    return Weights(weights.params, weights.starts, jax.random.normal(jax.random.key(2), weights.puzzle_table.shape))


EFFORTS = {
    "plain": Effort((1, 2, 3)),
    "noisy": Effort((1, 2, 3), attempts=3, start_noise=1.0, latent_noise=0.7, seed=5),
    "turned": Effort((1, 2, 3), attempts=3, symmetries=True, seed=5),
    "turned and noisy": Effort((1, 2, 3), attempts=3, latent_noise=0.7, start_noise=1.0, symmetries=True, seed=6),
}


@pytest.mark.slow
def test_a_trace_repeats_each_attempt() -> None:
    model = Model(CONFIG)
    weights = random_weights(model)
    answers: dict[str, Tokens] = {}
    for name, effort in EFFORTS.items():
        ids = np.array([2], np.int32)
        (found,) = attempt(model, weights, effort, QUESTION[None], ids, 2, SUDOKU)
        answers[name] = found.answers[0]
        for number in range(effort.attempts):
            traced = trace(model, weights, effort, QUESTION, 2, number, SUDOKU)

            assert traced.tokens.shape == (3, 3, 16)
            np.testing.assert_array_equal(traced.tokens[:, -1], found.answers[0, number], f"{name} {number}")
            np.testing.assert_allclose(traced.q_halt[:, -1], found.q_halt[0, number], atol=1e-4)
            rows = by_cycles(SUDOKU, QUESTION, found, traced, number)
            steps = by_steps(SUDOKU, QUESTION, found, number)
            assert [thought.tokens.tolist() for thought in rows[2::3]] == [thought.tokens.tolist() for thought in steps]
    # The comparison would be worth nothing if all were the same.
    plain = answers["plain"][0]
    for name in ("noisy", "turned", "turned and noisy"):
        np.testing.assert_array_equal(answers[name][0], plain)
        assert all((other != plain).any() for other in answers[name][1:])
    assert (plain[0] != plain[-1]).any()
    thoughts = think(model, weights, SUDOKU, QUESTION, 2)
    assert [thought.step for thought in thoughts] == [1, 2]


def test_latents_are_read_beside_the_answers_and_turned_back() -> None:
    model, effort = Model(CONFIG), EFFORTS["turned"]
    weights = random_weights(model)
    traced = trace(model, weights, effort, QUESTION, 2, 1, SUDOKU, latents=True)
    assert traced.latents.shape == (3, 3, 1, 16)
    assert (traced.latents[:, :, 0] != traced.tokens).any()

    # The same attempt, turned by hand: the plain one at the puzzle that it sees.
    jobs = jobs_of(np.array([1]), effort, QUESTION[None], np.array([2], np.int32), SUDOKU)
    assert jobs.symmetries is not None
    plain = trace(model, weights, EFFORTS["plain"], jobs.inputs[0], 2, 0, SUDOKU, latents=True)
    back = jobs.symmetries.inverse().take(np.zeros(9, int))
    for there, here in zip((plain.tokens, plain.latents), (traced.tokens, traced.latents), strict=True):
        np.testing.assert_array_equal(back.apply(there.reshape(9, 16)).reshape(here.shape), here)

    (found,) = attempt(model, weights, EFFORTS["plain"], jobs.inputs, np.array([2], np.int32), 2, SUDOKU)
    rows = by_cycles(SUDOKU, jobs.inputs[0], found, plain)
    assert [row.latents.tolist() for row in rows if row.latents is not None] == plain.latents.reshape(9, 1, 16).tolist()
    steps = with_latents(by_steps(SUDOKU, jobs.inputs[0], found), plain)
    assert [row.latents.tolist() for row in steps if row.latents is not None] == plain.latents[:, -1].tolist()


def test_what_has_no_latent_shows_none() -> None:
    model = Model(replace(CONFIG, states="y"))
    with pytest.raises(ConfigError, match="states = 'y': this model has no latent z to read out"):
        model.watch({}, None, State(None, None), QUESTION[None])


def test_thinking_takes_the_blank_puzzle_and_no_noise() -> None:
    model = Model(CONFIG)
    weights = random_weights(model)
    effort = Effort((1, 2))
    (blank,) = attempt(model, weights, effort, QUESTION[None], np.zeros(1, np.int32), 1)
    (other,) = attempt(model, weights, effort, QUESTION[None], np.ones(1, np.int32), 1)

    rows = think(model, weights, SUDOKU, QUESTION, 2)

    np.testing.assert_array_equal([thought.tokens for thought in rows], blank.answers[0, 0])
    assert (blank.answers != other.answers).any()
