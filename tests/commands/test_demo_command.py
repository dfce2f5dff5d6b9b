"""`trm demo --steps N` trains so long, and otherwise as its experiment says."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from trm_jax.commands import demo
from trm_jax.commands.parser import parse
from trm_jax.config import Experiment


@pytest.mark.parametrize(("words", "steps"), [([], 0), (["--steps", "7"], 7)])
def test_steps_are_those_of_training(
    words: list[str], steps: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[Experiment] = []

    def train(experiment: Experiment, workdir: Path) -> SimpleNamespace:
        trained.append(experiment)
        return SimpleNamespace(finished=False)

    monkeypatch.setattr(demo, "train", train)
    args, _ = parse(["demo", "--variant=smoke", *words])
    assert demo.run(tmp_path, args.variant, args.steps) is False
    assert trained[0].train.steps == (steps or demo.files.experiment("demo:smoke").train.steps)
