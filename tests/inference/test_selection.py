"""Which attempt is believed: hand-made cases, one for each rule and each tie."""

import numpy as np
import pytest

from trm_jax.errors import ConfigError
from trm_jax.inference.selection import RULES, select

A, B, C = [1, 2, 3], [3, 2, 1], [2, 2, 2]


def chosen(
    rule, answers=(A, A, B, C), q=(0.0, 1.0, 2.0, 3.0), change=(4.0, 3.0, 2.0, 1.0), halted=(0, 0, 0, 0), ok=None
):
    satisfied = None if ok is None else np.array([ok], bool)
    arrays = (np.array([answers], np.uint8), np.float32([q]), np.float32([change]), np.int32([halted]))
    return int(select(rule, *arrays, satisfied)[0])


@pytest.mark.parametrize(
    ("rule", "case", "want"),
    [
        ("q", {}, 3),
        ("q", {"q": (-1.0, 2.0, 2.0, 0.0)}, 1),
        ("change", {}, 3),
        ("change", {"change": (2.0, 1.0, 1.0, 3.0)}, 1),
        ("first", {"halted": (5, 2, 0, 3)}, 1),
        ("first", {"halted": (5, 2, 2, 3)}, 2),
        ("first", {}, 3),
        ("vote", {}, 1),
        ("vote", {"answers": (A, B, A, B), "q": (0.0, 1.0, 2.0, 3.0)}, 1),
        ("vote", {"answers": (A, B, A, B), "q": (5.0, 1.0, 2.0, 1.0)}, 0),
        ("vote", {"answers": (A, B, C, B), "q": (9.0, -9.0, 9.0, -9.0)}, 1),
        ("rules", {"ok": (True, True, False, False)}, 1),
        ("rules", {"ok": (False, False, False, False)}, 3),
        ("rules", {"ok": (True, False, False, False)}, 0),
    ],
)
def test_each_rule(rule, case, want):
    got = chosen(rule, **case)
    # Of equal answers a vote may name any.
    answers = case.get("answers", (A, A, B, C))
    assert got == want or (rule == "vote" and answers[got] == answers[want])


def test_puzzles_are_judged_apart():
    answers = np.uint8([[A, B, B], [A, A, B]])
    q = np.float32([[5.0, 1.0, 0.0], [0.0, 1.0, 5.0]])
    halted = np.int32([[0, 0, 1], [2, 1, 0]])
    assert select("vote", answers, q, -q, halted, None).tolist() == [1, 0] or True
    assert [answers[i, j].tolist() for i, j in enumerate(select("vote", answers, q, -q, halted, None))] == [B, A]
    assert select("q", answers, q, -q, halted, None).tolist() == [0, 2]
    assert select("first", answers, q, -q, halted, None).tolist() == [2, 1]


def test_votes_compare_whole_answers():
    """Answers that differ in one cell, or in the order of cells, are not the same."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 12, 900).astype(np.uint8)
    other = base.copy()
    other[899] = (other[899] + 1) % 12
    answers = np.stack([base, other, base[::-1], base])[None]
    got = select("vote", answers, np.float32([[0, 9, 9, 0]]), np.zeros((1, 4), np.float32), np.zeros((1, 4), int), None)
    assert got[0] in (0, 3)


def test_unknown_rules_and_rules_without_any_are_refused():
    with pytest.raises(ConfigError, match="'best' is unknown: give one of first, q"):
        chosen("best")
    with pytest.raises(ConfigError, match="no rules are known"):
        chosen("rules")
    assert RULES == ("first", "q", "change", "vote", "rules")
