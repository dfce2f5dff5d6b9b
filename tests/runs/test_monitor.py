"""What follows from evaluations: the best weights are kept, patience ends a run, a collapse is told, time is kept."""

import numpy as np
from small_run import experiment

from trm_jax.runs import train as training
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.evaluation import HeldOut
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics


def planned(monkeypatch, *exact):
    """Evaluations that find these shares, one after the other."""
    shares = iter(exact)

    def figures(self, weights, progress):
        share = next(shares)
        return HeldOut(share, {"eval/exact_accuracy": share}, (f"{share:.2%}",))

    monkeypatch.setattr(training.evaluation._ByAttempts, "figures", figures)


def monitored(steps, patience=0):
    return experiment(
        train__steps=steps, train__eval_every=1, train__save_every=0, train__log_every=1, train__patience=patience
    )


def test_the_best_weights_are_kept_and_a_collapse_is_told(tmp_path, monkeypatch, capsys):
    planned(monkeypatch, 0.2, 0.6, 0.6, 0.1)
    assert train(monitored(4), tmp_path).finished
    of_best, best = load(tmp_path / "checkpoints" / "best")
    of_last, last = load(tmp_path)
    assert of_best == of_last
    assert fingerprint(best) != fingerprint(last)
    with Checkpoints(tmp_path, best=True) as kept:
        assert kept.steps == [2]  # of equals the earliest
    told = capsys.readouterr().err
    assert "step 4 solves 10.00%, after 60.00% at step 2: training has collapsed" in told


def test_patience_ends_a_run_for_good(tmp_path, monkeypatch, capsys):
    planned(monkeypatch, 0.2, 0.6, 0.5, 0.6)
    outcome = train(monitored(9, patience=2), tmp_path)
    assert (outcome.finished, outcome.step) == (True, 4)
    assert "no better than 60.00% of step 2 in 2 evaluations: ending" in capsys.readouterr().err
    again = train(monitored(9, patience=2), tmp_path)
    assert (again.finished, again.trained) == (True, False)
    # More patience goes on from there, and knows what was best.
    planned(monkeypatch, 0.55, 0.7, 0.1)
    assert train(monitored(7, patience=5), tmp_path).step == 7
    with Checkpoints(tmp_path, best=True) as kept:
        assert kept.steps == [6]


def test_a_time_limit_stops_and_saves(tmp_path, capsys):
    endless = experiment(train__steps=10**6, train__save_every=0, train__eval_every=0)
    outcome = train(endless, tmp_path, max_minutes=0.02)
    assert not outcome.finished
    assert outcome.seconds < 60
    with Checkpoints(tmp_path) as kept:
        assert kept.steps == ([outcome.step] if outcome.step else [])
    assert "by --max-minutes=0.02" in capsys.readouterr().err
    assert all(np.isfinite(row["step"]) for row in read_metrics(tmp_path))
