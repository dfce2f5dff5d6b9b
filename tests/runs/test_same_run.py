"""What a run may be gone on with: what differs is told, and what makes another run of it is refused or forced."""

from dataclasses import replace
from pathlib import Path

import jax
import pytest
from small_run import learning as experiment

from trm_jax.data.order import Position
from trm_jax.errors import CheckpointError
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.meta import Meta
from trm_jax.runs.resume import check_same_run, position_of
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics

PLACE = {"epoch": 2, "place": 3, "offset": 1, "fingerprint": "these"}
BEFORE = Meta(experiment(), PLACE, versions={"jax": jax.__version__})


def said_of(now, capsys, fingerprint="these", before=BEFORE, force=False) -> list[str]:
    check_same_run(before, now, fingerprint, Path("runs/a"), force)
    return capsys.readouterr().err.splitlines()


def test_the_same_run_needs_no_word(capsys):
    assert said_of(experiment(), capsys) == []


def test_harmless_differences_are_told(capsys):
    now = experiment(train__log_every=7, devices__steps_per_call=1, train__steps=40)
    (line,) = said_of(now, capsys)
    assert line == "going on with other settings than before: train.steps: 20 -> 40; train.log_every: 5 -> 7"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"optim__learning_rate": 1e-4}, "optim.learning_rate: 0.003 -> 0.0001"),
        ({"model__width": 32}, "model.width: 16 -> 32"),
        ({"train__seed": 1}, "train.seed: 0 -> 1"),
        ({"train__batch_size": 8, "data__augment": False}, "train.batch_size: 16 -> 8"),
    ],
)
def test_what_makes_another_run_is_refused_or_forced(changes, told, capsys):
    with pytest.raises(CheckpointError) as caught:
        said_of(experiment(**changes), capsys)
    assert str(caught.value) == (
        f"runs/a holds another experiment; these differ: {told}: use them, or a new workdir, or --force to go on all "
        "the same"
    )
    assert said_of(experiment(**changes), capsys, force=True) == [f"going on with other settings than before: {told}"]


def test_more_steps_are_another_run_where_they_bend_the_schedule(capsys):
    bent = Meta(experiment(optim__min_ratio=0.1), PLACE)
    with pytest.raises(CheckpointError, match=r"train\.steps: 20 -> 30 \(bends the schedule\)"):
        said_of(experiment(optim__min_ratio=0.1, train__steps=30), capsys, before=bent)
    assert said_of(experiment(optim__min_ratio=0.1), capsys, before=bent) == []
    growing = {"model__latent_steps": 2, "train__curriculum": "latent_steps=1@0.5"}
    with pytest.raises(CheckpointError, match=r"train\.steps: 20 -> 30 \(moves the stages of the curriculum\)"):
        said_of(experiment(train__steps=30, **growing), capsys, before=Meta(experiment(**growing), PLACE))


def test_other_puzzles_are_refused_or_begun_with_an_epoch(capsys):
    with pytest.raises(CheckpointError, match="was trained on other puzzles than 'generated' holds"):
        said_of(experiment(), capsys, fingerprint="others")
    (line,) = said_of(experiment(), capsys, fingerprint="others", force=True)
    assert line.startswith("going on with other puzzles than before")
    assert position_of(BEFORE, "these") == Position(2, 3, 1)
    assert position_of(BEFORE, "others") == Position(3, 0, 0)
    assert position_of(replace(BEFORE, position={}), "these") == Position()


def test_another_version_of_jax_is_told(capsys):
    (line,) = said_of(experiment(), capsys, before=replace(BEFORE, versions={"jax": "0.9.9"}))
    assert f"jax: 0.9.9 -> {jax.__version__}" in line


@pytest.mark.slow
def test_a_forced_run_goes_on_from_where_it_was(tmp_path):
    short = {"train__eval_every": 0, "train__log_every": 1, "train__save_every": 0}
    assert train(experiment(**short, train__steps=3), tmp_path).finished
    other = experiment(**short, train__steps=5, optim__learning_rate=1e-5)
    with pytest.raises(CheckpointError, match="--force"):
        train(other, tmp_path)
    assert train(other, tmp_path, force=True).step == 5
    rates = [row["train/learning_rate"] for row in read_metrics(tmp_path)]
    assert rates == pytest.approx([1e-3, 2e-3, 3e-3, 1e-5, 1e-5])
    # What does not fit is named, forced or not.
    with pytest.raises(CheckpointError, match=r"state\.weights\.params\..* expected float32\[.*32"):
        train(experiment(**short, model__width=32, train__steps=9), tmp_path, force=True)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 5
