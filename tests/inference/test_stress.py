"""The figures of a stress test, from answers that are known: by hand, for attempts and for searches."""

import numpy as np
import pytest

from trm_jax.config import CandidatesConfig, Experiment, ModelConfig
from trm_jax.data.stress import StressSet
from trm_jax.errors import DataError
from trm_jax.inference import stress
from trm_jax.inference.attempts import Attempts
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget, Found
from trm_jax.inference.selection import sigmoid
from trm_jax.inference.statistics import share
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.perturbed import kept_rules_if_any

KIND = kind_of("sudoku", 16)
CONFIG = ModelConfig(vocab_size=6, seq_len=16, num_puzzles=1, width=16, heads=2, layers=1)
EXPERIMENT = Experiment("stress", CONFIG, candidates=CandidatesConfig())
RIGHT, OTHER = KIND.parse("1234341221434321"), KIND.parse("2143432112343412")
QUESTION = KIND.parse("12......2.......")
WRONG = np.where(np.arange(16) == 15, OTHER, RIGHT)  # keeps both clues, breaks a rule
CHANGED = np.where(np.arange(16) == 0, 5, RIGHT)  # changes one of three clues


def made(name, answers, labels, judge=KIND.satisfied, kind=KIND):
    count = len(answers)
    return StressSet(
        name, f"about {name}", kind, np.stack([QUESTION] * count), np.stack(labels), np.zeros(count, np.int32),
        np.arange(count), np.array(answers), lambda kind, questions, given: judge(questions, given),
    )  # fmt: skip


NONE = np.zeros(16, np.int32)
PLAIN = made("plain", ["", "", ""], [RIGHT, RIGHT, RIGHT])
UNSOLVABLE = made("unsolvable", ["none", "none"], [NONE, NONE])


def answered(monkeypatch, sets, tokens, q_halt, halted_at, change, effort, promise=None):
    """Attempts that give these, [N, K, ...], in two parts."""

    def attempt(model, weights, effort, inputs, ids, batch_size, kind, layout, tell):
        assert (inputs == np.concatenate([one.inputs for one in sets])).all()
        for rows in (slice(0, 2), slice(2, len(inputs))):
            steps = np.full(halted_at[rows].shape, effort.steps)
            given = (array[rows] for array in (tokens, q_halt, change, np.zeros_like(change), halted_at))
            yield Attempts(effort, rows.start, *given, steps)

    monkeypatch.setattr(stress, "attempt", attempt)
    return stress.by_attempts(EXPERIMENT, None, sets, effort, "rules", 4, promise=promise)


def test_rows_are_what_answers_come_to(monkeypatch):
    tokens = np.stack([RIGHT, WRONG, CHANGED, RIGHT, WRONG])[:, None, None]
    ends = np.array([2.0, 1.0, -1.0, 3.0, -2.0])
    q_halt = np.stack([np.zeros(5), ends], axis=-1)[:, None]
    halted_at = np.array([1, 0, 0, 2, 0])[:, None]
    change = np.array([[0.1, 0.3], [1, 1], [2, 4], [0.2, 0.2], [5, 7]])[:, None]

    def promise(found, chosen):
        margin = found.q_halt[np.arange(len(found)), chosen, -1]
        return margin, margin >= 2

    found = answered(monkeypatch, [PLAIN, UNSOLVABLE], tokens, q_halt, halted_at, change, Effort((2,)), promise)
    report = found.report(4, {"other sizes": "none"})
    plain, unsolvable = report.rows
    assert plain.exact == plain.valid == share(1 / 3, 3)
    assert plain.changed == pytest.approx(1 / 9)
    assert plain.halted == pytest.approx(1 / 3)
    assert plain.q == pytest.approx(sigmoid(ends[:3]).mean())
    assert plain.rest == pytest.approx(1.0)  # the median of 0.2, 1 and 3
    assert plain.steps == pytest.approx((1 + 2 + 2) / 3)
    assert plain.claimed == pytest.approx(2 / 3)
    assert plain.false_claims == share(1 / 3, 3)
    assert plain.answers == {}
    # What fills the board well is no answer where there is none.
    assert unsolvable.exact is None
    assert unsolvable.valid == share(0.0, 2)
    assert unsolvable.changed == 0
    assert unsolvable.claimed == 0.5
    assert unsolvable.false_claims == share(0.5, 2)
    assert unsolvable.answers == {"none": 2}
    # What a confidence says, it says without a look at the rules.
    assert (plain.sure, plain.false_sure) == (pytest.approx(1 / 3), share(0.0, 3))
    assert (unsolvable.sure, unsolvable.false_sure) == (0.5, share(0.5, 2))
    # The only answer: one of four others has more q, and one is as much at rest.
    assert report.auroc == {"q": pytest.approx(3 / 4), "rest": pytest.approx(3.5 / 4), "confidence": 3 / 4}
    assert report.to_dict()["rows"][1]["name"] == "unsolvable"
    assert (report.seed, report.left_out) == (4, {"other sizes": "none"})


def test_of_several_attempts_the_rules_choose_by_the_judge_of_the_row(monkeypatch):
    either = made("either", ["several"] * 3, [NONE] * 3, lambda questions, answers: answers[:, 15] == OTHER[15])
    tokens = np.stack([np.stack([RIGHT, WRONG])] * 3)[:, :, None]
    q_halt = np.tile(np.array([2.0, 1.0])[:, None], (3, 1, 1))
    found = answered(
        monkeypatch, [either], tokens, q_halt, np.zeros((3, 2), int), np.ones((3, 2, 1)),
        Effort((1,), attempts=2, latent_noise=0.1),
    )  # fmt: skip
    (row,) = found.report(0, {}).rows
    assert row.valid == share(1.0, 3)
    assert row.q == pytest.approx(sigmoid(1.0))


def test_without_rules_labels_say_what_is_an_answer(monkeypatch):
    kind = kind_of("tokens", 16)
    plain = made("plain", [""] * 3, [RIGHT] * 3, kind=kind)
    tokens = np.stack([RIGHT, WRONG, RIGHT])[:, None, None]
    found = answered(
        monkeypatch, [plain], tokens, np.ones((3, 1, 1)), np.zeros((3, 1), int), np.ones((3, 1, 1)), Effort((1,))
    )
    (row,) = found.report(0, {}).rows
    assert row.valid is None
    assert row.changed is None
    assert row.exact == share(2 / 3, 3)
    assert row.false_claims == share(1 / 3, 3)


def test_searches_claim_what_they_have_certified(monkeypatch):
    def search(model, weights, config, kind, inputs, batch_size, budget, layout, judge):
        assert judge is kept_rules_if_any
        for number, tokens in ((2, None), (0, RIGHT), (1, None), (4, RIGHT), (3, None)):
            yield Found(number, tokens, 3 + number, 1, 0, 0.1, RIGHT, ())

    monkeypatch.setattr(stress, "search", search)
    seen = []
    found = stress.by_search(EXPERIMENT, None, [PLAIN, UNSOLVABLE], Budget(calls=9), 4, progress=seen.append)
    plain, unsolvable = found.report(0, {}).rows
    assert seen == [1, 2, 3, 4, 5]
    assert plain.exact == plain.valid == share(1 / 3, 3)
    assert plain.changed == 0  # of the answers that were found
    assert plain.steps == 4
    assert plain.claimed == pytest.approx(1 / 3)
    assert plain.false_claims == share(0.0, 3)
    assert unsolvable.false_claims == share(0.5, 2)
    assert (plain.halted, plain.q, plain.rest) == (None, None, None)
    assert found.report(0, {}).auroc == {}


def test_rules_that_fail_are_told(monkeypatch):
    def fails(questions, answers):
        raise DataError("rules.py: check: fails")

    tokens = np.stack([RIGHT] * 2)[:, None, None]
    with pytest.raises(DataError, match="check: fails"):
        answered(
            monkeypatch, [made("plain", ["one"] * 2, [RIGHT] * 2, fails)], tokens, np.ones((2, 1, 1)),
            np.zeros((2, 1), int), np.ones((2, 1, 1)), Effort((1,)),
        )  # fmt: skip
