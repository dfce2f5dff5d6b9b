"""One answer out of many attempts: by hand-made attempts at 1 x 2 puzzles whose rule is that both cells differ."""

from dataclasses import replace

import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.inference.answers import believed, certify, choose, kept_rules
from trm_jax.inference.attempts import Attempts
from trm_jax.inference.effort import Effort
from trm_jax.puzzles.kinds import kind_of

ABOUT = '{"kind": "grid", "shape": [1, 2], "alphabet": ".ab"}'
PAIR = kind_of(ABOUT, 2, lambda question, answer: answer in ("ab", "ba"))
QUESTIONS = np.array([[1, 1], [1, 1]])
A, B = 2, 3

# Two puzzles, three attempts, three depths. The first puzzle: attempt 1 is right at step 2 and leaves that again,
# attempt 2 is right at steps 2 and 3. The second is never right.
FOUND = Attempts(
    effort=Effort((1, 2, 3), attempts=3, latent_noise=0.1),
    first=0,
    answers=np.array(
        [
            [[[A, A], [A, A], [A, A]], [[A, A], [A, B], [B, B]], [[A, A], [B, A], [B, A]]],
            [[[A, A], [A, A], [A, A]], [[A, A], [A, A], [B, B]], [[A, A], [A, A], [A, A]]],
        ]
    ),
    q_halt=np.array([[[0, 0, 3], [0, 0, 1], [0, 0, 2]], [[0, 0, 1], [0, 0, 5], [0, 0, 1]]], np.float32),
    change=np.array([[[9, 9, 1], [9, 9, 2], [9, 9, 3]], [[9, 9, 3], [9, 9, 2], [9, 9, 1]]], np.float32),
    margin=np.zeros((2, 3, 3), np.float32),
    halted_at=np.array([[3, 0, 2], [0, 0, 0]], np.int32),
    steps=np.full((2, 3), 3, np.int32),
)


def test_rules_judge_every_answer() -> None:
    kept = kept_rules(FOUND, PAIR, QUESTIONS)
    assert kept is not None
    np.testing.assert_array_equal(np.argwhere(kept), [[0, 1, 1], [0, 2, 1], [0, 2, 2]])
    assert kept_rules(FOUND, kind_of("tokens", 2), QUESTIONS) is None


@pytest.mark.parametrize(
    ("rule", "attempts"), [("q", [0, 1]), ("change", [0, 2]), ("first", [2, 1]), ("vote", [0, 0]), ("rules", [2, 1])]
)
def test_the_end_of_the_chosen_attempt_is_the_answer(rule: str, attempts: list[int]) -> None:
    chosen = choose(FOUND, kept_rules(FOUND, PAIR, QUESTIONS), rule)  # type: ignore[arg-type]
    assert chosen.attempt.tolist() == attempts
    np.testing.assert_array_equal(chosen.tokens, [FOUND.answers[i, k, -1] for i, k in enumerate(attempts)])
    assert chosen.q_halt.tolist() == [FOUND.q_halt[i, k, -1] for i, k in enumerate(attempts)]
    assert chosen.step.tolist() == [3, 3]
    assert chosen.satisfied is not None
    assert chosen.satisfied.tolist() == [attempts[0] == 2, False]


def test_an_earlier_depth_and_the_first_few_attempts_may_be_asked_for() -> None:
    kept = kept_rules(FOUND, PAIR, QUESTIONS)
    assert believed(FOUND, kept, "rules", 2).tolist() == [1, 0]
    assert believed(FOUND, kept, "rules", 3, 2).tolist() == [0, 1]
    assert believed(FOUND, None, "first", 2).tolist() == [2, 0]
    # The second of three leaves the third.
    turning = [[[A, A], [A, A], [A, A]], [[A, A], [B, B], [A, A]], [[A, A], [B, B], [B, B]]]
    found = replace(FOUND, answers=np.array([turning, turning]))
    assert [believed(found, None, "vote", depth).tolist() for depth in (2, 3)] == [[1, 1], [0, 0]]


def test_without_rules_nothing_is_known_of_an_answer() -> None:
    assert choose(FOUND, None, "q").satisfied is None
    with pytest.raises(ConfigError, match="no rules are known"):
        choose(FOUND, None, "rules")


def test_the_earliest_answer_that_keeps_the_rules_is_certified_or_none() -> None:
    kept = kept_rules(FOUND, PAIR, QUESTIONS)
    assert kept is not None
    found = certify(FOUND, kept)
    assert found.tokens.tolist() == [[A, B], [0, 0]]
    assert found.attempt.tolist() == [1, -1]
    assert found.step[0] == 2
    assert found.satisfied is not None
    assert found.satisfied.tolist() == [True, False]
