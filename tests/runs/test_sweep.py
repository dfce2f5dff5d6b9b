"""A sweep is planned whole before anything is run: its points, their names and costs, and whose folder it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trm_jax.config.files import experiment
from trm_jax.errors import ConfigError, DataError
from trm_jax.model.estimate import estimate
from trm_jax.runs import sweep
from trm_jax.runs.sweep import Asked, Plan, check, claim, name_of, short

DEMO = "demo:smoke"


@pytest.fixture
def uncounted() -> Iterator[None]:
    """Operations are made up, where they are not what a test is about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_flops_per_step", lambda costly: 1_000 * costly.model.latent_steps)
        yield


def plan(over: list[str], turns: list[str] | None = None, changes: dict[str, Any] | None = None, **more: Any) -> Plan:
    return sweep.plan(more.pop("source", DEMO), changes or {}, over, turns or [], **more)


def names(made: Plan) -> list[str]:
    return [point.name for point in made.points]


@pytest.mark.usefixtures("uncounted")
def test_all_combinations_are_points_and_each_switch_is_turned_by_itself_at_each() -> None:
    both = plan(["model.latent_steps=2,1", "train.seed=0,7"])
    assert names(both) == [
        "latent_steps-2+seed-0",
        "latent_steps-2+seed-7",
        "latent_steps-1+seed-0",
        "latent_steps-1+seed-7",
    ]
    assert both.points[1].over == {"model.latent_steps": 2, "train.seed": 7}
    assert [point.name for point in both.cheapest_first()] == [names(both)[place] for place in (2, 3, 0, 1)]

    turned = plan(["train.seed=0,1"], ["optim.clip=1e+0+optim.optimiser=muon", "model.damping=0.5"])
    assert names(turned) == [
        f"seed-{seed}{turn}" for seed in (0, 1) for turn in ("", "+clip-1.0+optimiser-muon", "+damping-0.5")
    ]
    assert turned.points[1].turn == {"optim.clip": 1.0, "optim.optimiser": "muon"}
    assert names(plan([], ["optim.clip=1"])) == ["baseline", "clip-1.0"]


@pytest.mark.usefixtures("uncounted")
def test_an_experiment_is_trained_with_its_changes_those_of_the_point_and_its_steps() -> None:
    changes = {"optim.clip": 0.5, "data.train_puzzles": 30}
    made = plan(["train.seed=3"], ["optim.clip=2"], changes)
    assert made.overrides(made.points[0]) == changes | {"train.seed": 3}
    assert made.overrides(made.points[1]) == changes | {"train.seed": 3, "optim.clip": 2.0}
    together = {"model.states": "candidates", "model.grad_cycles": 2}  # no experiment without two cycles
    assert len(plan(["model.cycles=2"], source="sudoku_extreme:smoke", changes=together, asked=Asked(".")).points) == 1
    budgeted = plan(["model.latent_steps=1,4"], changes=changes, pflop=1e-9)  # 1e6 operations
    assert [point.steps for point in budgeted.points] == [1_000, 250]
    assert budgeted.overrides(budgeted.points[1]) == changes | {"model.latent_steps": 4, "train.steps": 250}
    assert plan(["train.seed=0"], pflop=1e-13).points[0].steps == 1  # never none


def test_operations_are_those_of_the_experiment_also_where_sizes_come_from_the_data() -> None:
    two = {"model.latent_steps": 2, "train.batch_size": 7}
    expected = estimate(experiment(DEMO, two)).flops_per_step
    (point,) = plan(["model.latent_steps=2"], changes={"train.batch_size": 7}).points
    assert (point.flops_per_step, point.flops) == (expected, expected * point.steps)
    sizeless = {"model.vocab_size": 0, "model.seq_len": 0, "train.batch_size": 7}
    assert plan(["model.latent_steps=2"], changes=sizeless).points[0].flops_per_step == expected


def test_a_curriculum_is_a_turn_like_any_other_and_each_of_its_stages_counts() -> None:
    growing = "latent_steps=1+cycles=1@0.25,latent_steps=2@0.5"
    deep = {"model.latent_steps": 3, "model.cycles": 2}
    points = plan([], [f"train.curriculum={growing}+optim.clip=1"], deep, pflop=1e-4).points
    assert points[1].turn == {"train.curriculum": growing, "optim.clip": 1.0}
    # (T + 2)(n + 1) network applications of a step: 16 without, and for a quarter, a quarter and a half of the steps:
    assert points[1].flops_per_step / points[0].flops_per_step == (6 / 4 + 12 / 4 + 16 / 2) / 16
    assert points[1].flops == pytest.approx(points[0].flops, rel=0.01)


@pytest.mark.usefixtures("uncounted")
@pytest.mark.parametrize(
    ("over", "turns", "more", "fault"),
    [
        ([], [], {}, "nothing to go through: give --over"),
        (["model.latent_step=1"], [], {}, "--over: config.model.latent_step is unknown: did you mean 'latent_steps'?"),
        ([], ["optim.clipp=1"], {}, "--turn: config.optim.clipp is unknown: did you mean 'clip'?"),
        (["model=1"], [], {}, "--over: config.model is a group of values"),
        (["model.latent_steps=1,x"], [], {}, "--over: config.model.latent_steps = 'x': give a whole number"),
        (["model.latent_steps=1,"], [], {}, "--over: config.model.latent_steps = '': give a whole number"),
        (["model.latent_steps"], [], {}, "--over model.latent_steps: give --over KEY=VALUE"),
        ([], ["optim.clip"], {}, "--turn optim.clip: give --turn KEY=VALUE"),
        (["train.seed=1", "train.seed=2"], [], {}, "--over train.seed=2: train.seed is there twice"),
        (["train.seed=1,01"], [], {}, "--over train.seed=1,01: 1 is there twice"),
        (["optim.clip=1"], [], {"changes": {"optim.clip": 2.0}}, "--over optim.clip=1: --config.optim.clip is"),
        (["optim.clip=1"], ["optim.clip=2"], {}, "--turn optim.clip=2: optim.clip is in --over already"),
        ([], ["optim.clip=2+optim.clip=3"], {}, "--turn optim.clip=2+optim.clip=3: optim.clip is there twice"),
        ([], ["optim.clip=2", "optim.clip=2.0"], {}, "points clip-2.0 and clip-2.0 are the same experiment"),
        ([], ["optim.clip=0"], {}, "points baseline and clip-0.0 are the same experiment: leave one out"),
        (["train.seed=0", "model.cycles=1,-1"], [], {}, "point seed-0+cycles--1: config.model.cycles = -1 "),
        (["model.grad_cycles=9"], [], {}, "point grad_cycles-9: config.model.grad_cycles = 9 is more than"),
        (["data.train=gone.csv"], [], {}, "point train-gone.csv: config.data.train = 'gone.csv': there is no file"),
        (["train.steps=1,2"], [], {"pflop": 1.0}, "--pflop says how many steps there are: leave train.steps out"),
        ([], ["train.steps=2"], {"pflop": 1.0}, "--pflop says how many steps there are"),
        (["train.seed=0"], [], {"pflop": 1.0, "changes": {"train.steps": 3}}, "--pflop says how many steps there are"),
        (["train.seed=0"], [], {"changes": {"data.test": ""}}, "point seed-0 has no held-out puzzles: give --eval"),
        (["train.seed=0"], [], {"asked": Asked("gone.csv")}, "--eval=gone.csv: there is no file or folder 'gone.csv'"),
        (["train.seed=0"], [], {"asked": Asked(calls=3)}, "--calls: no point of this sweep searches"),
        (["train.seed=0"], [], {"source": "sudoku_extreme:smoke", "asked": Asked(".", (3,))}, "--eval-steps: every"),
        (["train.seed=0"], [], {"changes": {"name": "own"}}, "no experiment of this package is called 'own'"),
        ([f"train.seed={','.join(map(str, range(101)))}", f"model.width={','.join(map(str, range(100)))}"], [], {},
         "10,100 points: a sweep has at most 10,000"),
        ([f"train.seed={','.join(map(str, range(5_001)))}"], ["optim.clip=1"], {}, "10,002 points"),
    ],
)  # fmt: skip
def test_what_is_no_sweep_is_told_in_one_line(over: list[str], turns: list[str], more: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as told:
        plan(over, turns, **more)
    assert str(told.value).startswith(fault)
    assert "\n" not in str(told.value)


def test_a_folder_has_a_safe_name_that_tells_what_differs_and_is_like_no_other() -> None:
    assert name_of({}) == "baseline"
    assert name_of({"optim.learning_rate": 1e-5, "data.augment": True}) == "learning_rate-1e-05+augment-true"
    assert (short("model.states"), short("memory.states"), short("name")) == ("model.states", "memory.states", "name")
    hostile = [
        "../../etc",
        "a/b",
        "A.csv",
        "a.csv",
        ".hidden",
        "a+seed-1",
        "a,b=c",
        "Ünïcode",
        "",
        "-",
        "a b",
        "x" * 300,
    ]
    found = [name_of({"data.train": text}) for text in hostile]
    assert len({name.casefold() for name in found}) == len(hostile)
    for name in found:
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-")
        assert name.startswith("train-")
        assert len(name) <= 100
    long = [name_of({"model.width": 1, "data.train": "x" * 300, "train.seed": seed}) for seed in (0, 1)]
    assert long[0] != long[1]
    assert len(long[0]) == 100


@pytest.mark.usefixtures("uncounted")
def test_an_evaluation_is_asked_for_in_words_that_the_model_takes() -> None:
    asked = Asked("a.csv", (1, 16), 64, 4, 2.5, 100)
    assert asked.words(searches=False) == ["a.csv", "--limit=100", "--steps=1,16"]
    assert asked.words(searches=True) == ["a.csv", "--limit=100", "--calls=64", "--chains=4", "--seconds=2.5"]
    assert Asked().words(searches=True) == Asked().words(searches=False) == []
    for source, searches in (("demo:smoke", False), ("sudoku_extreme:smoke", True)):
        held_out = {"data.test": "generated", "data.test_puzzles": 9}
        (point,) = plan(["train.seed=0"], changes=held_out, source=source).points
        assert point.searches is searches


@pytest.mark.usefixtures("uncounted")
def test_a_folder_is_one_sweeps_which_may_grow(tmp_path: Path) -> None:
    folder, first = tmp_path / "sweep", plan(["train.seed=0,1"], changes={"optim.clip": 0.5})
    check(folder, first)
    assert not folder.exists()
    claim(folder, first)
    written = (folder / "sweep.json").read_bytes()
    claim(folder, first)
    assert (folder / "sweep.json").read_bytes() == written

    for other, fault in (
        (plan(["train.seed=0,1"], changes={"optim.clip": 0.6}), "changes: {'optim.clip': 0.5} -> {'optim.clip': 0.6}"),
        (plan(["train.seed=0,2"], changes={"optim.clip": 0.5}), "without point 'seed-1'"),
        (plan(["train.seed=0,1"], changes={"optim.clip": 0.5}, pflop=1.0), "pflop: None -> 1.0; without point"),
        (plan(["train.seed=0,1"], changes={"optim.clip": 0.5}, asked=Asked(limit=3)), "eval limit: None -> 3:"),
    ):
        with pytest.raises(ConfigError, match=r"belongs to another sweep; these differ: ") as told:
            claim(folder, other)
        assert fault in str(told.value)
    assert (folder / "sweep.json").read_bytes() == written

    claim(folder, plan(["train.seed=0,1,2"], ["model.damping=0.5"], {"optim.clip": 0.5}))
    assert len(json.loads((folder / "sweep.json").read_bytes())["points"]) == 6
    with pytest.raises(ConfigError, match=r"without point 'seed-0\+damping-0.5'"):
        check(folder, first)


@pytest.mark.usefixtures("uncounted")
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    made = plan(["train.seed=0"])
    for ours in ("lock", "sweep.json.tmp"):
        (tmp_path / ours).touch()
    check(tmp_path, made)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ConfigError, match="holds something else than a sweep"):
        claim(tmp_path, made)
    for content in (b"", b"[]", b"{}", b"{", b"\xff", b"3"):
        (tmp_path / "sweep.json").write_bytes(content)
        with pytest.raises(DataError, match=r"sweep.json: no plan of a sweep"):
            claim(tmp_path, made)
    (tmp_path / "sweep.json").write_text('{"points": {}}')
    with pytest.raises(ConfigError, match="belongs to another sweep"):
        claim(tmp_path, made)
