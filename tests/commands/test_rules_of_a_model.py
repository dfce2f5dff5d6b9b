"""Rules of an own puzzle go from its dataset through training to later commands, and none that were not named."""

from pathlib import Path
from typing import Any

import pytest

import trm_jax as trm
from trm_jax.commands.cli import main
from trm_jax.config import experiment_from
from trm_jax.data.kept_rules import kept_by
from trm_jax.runs.run import begin
from trm_jax.runs.sources import trained_on

pytestmark = pytest.mark.slow  # tests/data/test_kept_rules.py says when they are run, this that they get there

RULES = """
def check(question, answer):
    return answer[0] != answer[1]
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`: the start of a run on a dataset that was built with `rules.py`, and is now at `moved`; `open.csv`: puzzles
    without answers."""
    folder = tmp_path_factory.mktemp("rules")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    (folder / "rules.py").write_text(RULES)
    (folder / "set.csv").write_text("question,answer\n1.,12\n.1,21\n")
    (folder / "open.csv").write_text("question\n1.\n.2\n")
    table, rules = str(folder / "set.csv"), str(folder / "rules.py")
    words = ["--train", table, "--test", table, "--overlap=keep", "--shape=1x2", "--alphabet=.12", "--rules", rules]
    assert main(["data", "grid", str(folder / "set"), *words]) == 0
    model = {"width": 8, "mixer": "mlp", "positions": "none", "layers": 1, "latent_steps": 1, "cycles": 1,
             "supervision_steps": 1, "puzzle_dim": 0, "puzzle_tokens": 0, "dtype": "float32"}  # fmt: skip
    data = {"train": str(folder / "set"), "test": str(folder / "set")}
    values: dict[str, Any] = {"model": model, "data": data, "devices": {"data": 1}}
    values["train"] = {"batch_size": 2, "steps": 1, "eval_every": 0}
    run = begin(experiment_from(values), folder / "run", False, False)
    with run.checkpoints:
        run.save()
    patch.undo()
    (folder / "set").rename(folder / "moved")
    return folder


@pytest.fixture
def home(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the user who built the dataset."""
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))


def test_a_run_keeps_what_its_dataset_keeps_and_so_does_a_copy(place: Path, tmp_path: Path) -> None:
    kept = kept_by([place / "moved"])
    assert kept is not None
    assert trained_on(place / "run").rules == kept
    trm.load(place / "run").save(tmp_path / "copy")
    assert trained_on(tmp_path / "copy").rules == kept
    # A file travels, and says nothing of anybody's folders.
    trm.load(place / "run").save(tmp_path / "model.safetensors")
    assert kept.key.encode() not in (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.usefixtures("home")
def test_they_judge_without_being_named_when_the_dataset_is_gone(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["solve", str(place / "run"), "1."])
    out, err = capsys.readouterr()
    assert err == f"{place / 'run'}: its rules are in {place / 'rules.py'}: answers are checked by them\n"
    assert ("not solved" in out) == (code == 1)
    assert ("solved at step 1" in out) == (code == 0)
    assert main(["eval", "--devices=1", str(place / "run"), str(place / "open.csv")]) == 0
    assert "judged by the rules" in capsys.readouterr().out


def test_what_another_user_named_is_not_run(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["solve", str(place / "run"), "1."]) == 0
    out, err = capsys.readouterr()
    assert err == (
        f"{place / 'run'}: its rules are in {place / 'rules.py'}, which you have not named here to build a dataset: "
        "give --rules FILE if you trust it\n"
    )
    assert "not checked" in out
