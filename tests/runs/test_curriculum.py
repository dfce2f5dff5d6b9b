"""Training whose depth grows: the steps are those of runs of each depth, one after the other."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from small_run import experiment, figures, final_state

from trm_jax.config import Experiment
from trm_jax.config.curriculum import KEYS, stages
from trm_jax.devices.sharding import ALONE
from trm_jax.runs import train as training
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.training import program
from trm_jax.training.program import Signs, like

DEPTHS: dict[str, Any] = {"model__latent_steps": 2, "train__eval_every": 0, "train__log_every": 2, "train__steps": 10}
GROWING = {"train__curriculum": "latent_steps=1+supervision_steps=2@0.5"}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Experiment, int]]:
    """What is compiled meanwhile: the experiment, and how many steps it makes."""
    compiled, compile_ahead = [], training.compile_ahead

    def noting(*call: Any) -> None:
        compiled.append((call[0], call[2]))
        compile_ahead(*call)

    monkeypatch.setattr(training, "compile_ahead", noting)
    return compiled


@pytest.mark.parametrize("first", [0, 3, 6])
def test_each_call_is_of_its_stage_which_is_compiled_when_it_begins(
    first: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a part of a run goes on amid a stage. Programs are named here, and not run."""
    grown = experiment(**DEPTHS, **GROWING)
    told: list[Any] = []
    signs = Signs(None, np.zeros((), np.int32), np.zeros((), np.float32))  # type: ignore[arg-type]

    def advance(made: Experiment, layout: Any, count: int, *reached: Any) -> Any:
        told.append((made.model.latent_steps, count))
        return *reached[:3], signs

    def compile_ahead(made: Experiment, *_: Any) -> None:
        told.append(f"compile n = {made.model.latent_steps}")

    def restart_clock(t: int) -> None:
        told.append(f"pace counts from step {t}")

    monkeypatch.setattr(training, "advance", advance)
    monkeypatch.setattr(training, "compile_ahead", compile_ahead)
    log: Any = SimpleNamespace(write_late=lambda: told.append("row"), restart_clock=restart_clock)
    run: Any = SimpleNamespace(here=grown, layout=ALONE, state=0, totals=0, position=0, step=first)
    signals: Any = SimpleNamespace(stop=False, during=lambda function: function())
    profiler: Any = SimpleNamespace(before=lambda t: None, after=lambda t, totals: None)
    calls = training._Calls(run, stages(grown), signals, log, profiler, debug_nans=False)
    source: Any = None
    for t in range(first + 1, 11):
        calls.make(t, 1, source)
    # The row of the steps before is written before compilation takes its time.
    shallow = ["row", "compile n = 1", f"pace counts from step {first}", *((5 - first) * [(1, 1), "row"])]
    deep = ["row", "compile n = 2", f"pace counts from step {max(first, 5)}", *(min(10 - first, 5) * [(2, 1), "row"])]
    assert told == (shallow if first < 5 else []) + deep


@pytest.mark.parametrize("policy", ["auto", "step"])
def test_memory_is_planned_for_the_deepest_stage(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def settle(made: Experiment) -> Experiment:
        asked.append(made)
        return replace(made, memory=replace(made.memory, policy="binomial"))

    monkeypatch.setattr(program, "settle", settle)
    changes = {"model__latent_steps": 4, "model__cycles": 2, "train__curriculum": "latent_steps=9+cycles=1@0.3"}
    grown = experiment(memory__policy=policy, **changes)
    found = program.settled(grown, ALONE)
    assert [(made.model.latent_steps, made.model.cycles) for made in asked] == [(9, 2)]
    assert found.memory.policy == "binomial"
    assert (found.model, found.train) == (grown.model, grown.train)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [1, 2])
def test_a_growing_run_is_a_shallow_one_that_a_deep_one_goes_on_from(
    at_once: int, programs: list[tuple[Experiment, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit; with two steps in a call too, which the boundary at step 5 cuts in two."""
    together = DEPTHS | {"devices__steps_per_call": at_once}
    grown = experiment(**together, **GROWING)
    assert train(grown, tmp_path / "grown").finished
    assert "curriculum: latent_steps=1+supervision_steps=2 up to step 5, then as configured" in capsys.readouterr().err
    assert len(programs) == len(set(programs)) == {1: 2, 2: 4}[at_once]
    assert {made.model.latent_steps for made, _ in programs} == {1, 2}
    assert not any(made.train.curriculum for made, _ in programs)

    by_hand = tmp_path / "by hand"
    deep = experiment(**together)
    shallow = replace(deep, model=replace(deep.model, latent_steps=1, supervision_steps=2))
    assert train(replace(shallow, train=replace(shallow.train, steps=5)), by_hand).step == 5
    assert train(deep, by_hand, force=True).finished
    ours, theirs = final_state(grown, tmp_path / "grown"), final_state(deep, by_hand)
    assert fingerprint(ours[0]) == fingerprint(theirs[0])

    rows = {row["step"]: row["train/loss"] for row in figures(by_hand)}
    assert [row["train/loss"] for row in figures(tmp_path / "grown") if row["step"] != 6] == [
        loss
        for step, loss in rows.items()
        if step not in (5, 6)  # of step 5 it told as its last one
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model__states": "z"},
        {"model__latents": 2, "model__winner_take_all": True},
        {"loss__continue_head": True},
        {"model__gradient": "implicit"},
        {"model__gradient": "last_k"},
        {"memory__policy": "binomial", "memory__states": 2},
        {"memory__policy": "nested", "memory__levels": 3, "memory__outer_policy": "step"},
        {"model__mixer": "symmetric", "model__states": "candidates", "model__puzzle_dim": 0, "model__puzzle_tokens": 0,
         "model__grad_cycles": 4, "model__puzzle": "sudoku"},
    ],
)  # fmt: skip
def test_depth_changes_no_shape_and_no_name_of_a_figure(changes: dict[str, Any]) -> None:
    """What `like` says of a state and of its figures is what checkpoints of every stage hold."""
    sizes = {"model__vocab_size": 6, "model__seq_len": 16, "model__num_puzzles": 1}
    free = changes.get("model__gradient", "cycles") == "cycles"
    values = sizes | {"model__latent_steps": 5, "model__cycles": 4, "model__grad_cycles": 2 if free else 1} | changes
    depth = {"latent_steps": 1, "cycles": 1, "grad_cycles": 1, "supervision_steps": 2}
    assert depth.keys() == set(KEYS)
    made = experiment(**values, train__curriculum=f"{'+'.join(f'{k}={v}' for k, v in depth.items())}@0.5")
    shallow, deep = (like(stage.experiment, ALONE) for stage in stages(made))
    assert shallow == deep
    assert list(shallow[1]) == list(deep[1])
    assert jax.tree.leaves(shallow)
