"""The study of depth: its points, that it goes on where it was stopped, and what is made of its rows."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import depth_page, depth_points, depth_study
from benchmarks.depth_page import Row
from benchmarks.depth_points import SERIES, Task, tasks
from trm_jax.runs import points, sweep
from trm_jax.runs.entry import Said


def costs(experiment: Any) -> int:
    """In place of an estimate, which traces the model: applications, as the original's gradient comes to them."""
    model = experiment.model
    return 10**9 * (model.cycles + 2) * (model.latent_steps + 1)


@pytest.fixture
def no_puzzles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans are made without looking whether there are any."""
    monkeypatch.setattr(sweep, "check_sources", lambda data: None)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, no_puzzles: None) -> None:
    monkeypatch.setattr(sweep, "_flops_per_step", costs)


@pytest.mark.slow
@pytest.mark.usefixtures("counted")
def test_the_points_are_experiments_that_can_be_and_the_cheapest_come_first(tmp_path: Path) -> None:
    todo = tasks(tmp_path)
    assert {task.series.name for task in todo} == {series.name for series in SERIES}
    flops = [task.point.flops for task in todo]
    assert flops == sorted(flops)
    assert {task.plan.overrides(task.point)["data.side"] for task in todo} == {6}
    seeds = [task.point.over["train.seed"] for task in todo if task.series.name == "n_steps"]
    assert sorted(seeds) == 8 * [0] + 8 * [1] + 8 * [2]
    assert len(tasks(tmp_path, ["gradient"])) == 12


@pytest.mark.usefixtures("counted")
def test_points_at_equal_operations_have_equal_operations(tmp_path: Path) -> None:
    flops = [task.point.flops for task in tasks(tmp_path, ["cycles_operations"])]
    assert max(flops) / min(flops) < 1.05


@pytest.mark.slow
@pytest.mark.usefixtures("no_puzzles")
def test_the_whole_study_is_within_its_operations(tmp_path: Path) -> None:
    """By the real estimate: what two cores do in ten hours at 50 GFLOP/s."""
    total = sum(task.point.flops for task in tasks(tmp_path)) / 1e15
    assert 0.5 < total < 1.8


def row(series: str, values: dict[str, Any], exact: float, seed: int = 0, **more: Any) -> Row:
    shares = {depth: {"value": exact, "low": exact, "high": exact} for depth in ("1", "16", "64")}
    values = {**values, "train.seed": seed}
    return {
        "series": series, "point": str(values), "values": values, "exact": shares, "halted_at": 3.5, "steps": 1000,
        "pflop": 0.001, "hours": 0.1, "peak_gib": None, "gradient_norm_last": 0.5, **more,
    }  # fmt: skip


def of_n(n: int, *exact: float, series: str = "n_steps", **more: Any) -> list[Row]:
    return [row(series, {"model.latent_steps": n}, value, seed, **more) for seed, value in enumerate(exact)]


PROBED: dict[str, Any] = {
    "transfer": [
        {"key": "latent_steps", "value": n, "supervision_steps": depth, "halted": 1.0, "exact": {"value": n / 10}}
        for n in (1, 3)
        for depth in (1, 16)
    ],
    "gradient_along": [[1, 1.0], [2, 0.5], [3, 0.25]],
}


def test_a_table_has_a_line_for_what_is_varied_in_its_order_with_mean_and_spread() -> None:
    rows = [*of_n(12, 0.5), *of_n(3, 0.25, 0.75)]
    text = depth_page.table(rows, SERIES[0]).splitlines()
    assert text[0].startswith("| n at equal steps | seeds |")
    share = "50.0%, 25.0% to 75.0%"
    assert text[2] == f"| latent_steps = 3 | 2 | {share} | {share} | 3.5 | 1,000 | 0.001 | 0.10 | - | 0.5 |"
    assert text[3].startswith("| latent_steps = 12 | 1 | 50.0% | 50.0% |")
    assert len({line.count("|") for line in text}) == 1
    assert depth_page.table(rows, SERIES[1]) == ""


@pytest.mark.parametrize(
    ("name", "switch", "said"),
    [
        ("gradient", {"model.gradient": "one_step"}, ["exact gradient", "gradient = one_step"]),
        ("curriculum", {"train.curriculum": "cycles=1@0.5"}, ["the same throughout", "curriculum = cycles=1@0.5"]),
    ],
)
def test_where_no_switch_is_turned_the_baseline_of_the_series_is_told(
    name: str, switch: dict[str, str], said: list[str]
) -> None:
    (series,) = (series for series in SERIES if series.name == name)
    assert list(depth_page.groups([row(name, {}, 0.5), row(name, switch, 0.4)], series)) == said


def test_a_series_of_switches_says_what_its_baseline_is() -> None:
    assert all(bool(series.baseline) == bool(series.turns) for series in SERIES)


@pytest.mark.usefixtures("no_puzzles")
def test_a_curriculum_of_equal_operations_makes_more_steps(tmp_path: Path) -> None:
    """By what its stages cost, so that a growing N_sup makes no more: a step is one supervision step of any."""
    todo = [task for task in tasks(tmp_path, ["curriculum"]) if task.point.over["train.seed"] == 0]
    flops = [task.point.flops for task in todo]
    assert max(flops) / min(flops) < 1.01
    steps = {task.point.turn.get("train.curriculum", "").partition("=")[0]: task.point.steps for task in todo}
    assert steps["latent_steps"] > steps["cycles"] > steps["supervision_steps"] == steps[""]


def test_the_answer_names_the_best_and_what_is_not_told_apart_from_it() -> None:
    rows = [*of_n(1, 0.1, 0.2), *of_n(3, 0.6, 0.7), *of_n(6, 0.65, 0.8)]
    rows += [*of_n(1, 0.9, 0.95, series="n_operations"), *of_n(6, 0.1, 0.2, series="n_operations")]
    assert depth_page.answer(rows) == (
        "Of n at equal steps, latent_steps = 6 is best: 72.5%, 65.0% to 80.0% (2 seeds; its seeds overlap with those "
        "of latent_steps = 3). Of n at equal operations, latent_steps = 1 is best: 92.5%, 90.0% to 95.0% (2 seeds, "
        "apart from all others)."
    )
    assert depth_page.answer([]) == "Too few points are there for an answer."


def test_accuracy_at_other_depths_is_the_mean_of_seeds() -> None:
    other = {"transfer": [{**told, "exact": {"value": 0.5}} for told in PROBED["transfer"]]}
    rows = [*of_n(3, 0.5, **PROBED), *of_n(3, 0.5, **other)]
    assert depth_page.transferred(rows, "latent_steps") == {1: 0.3, 3: 0.4}
    assert depth_page.transferred(rows, "cycles") == {}


def test_the_last_row_of_a_point_counts_and_a_torn_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    assert depth_page.read(path) == []
    lines = [json.dumps(each) for each in (*of_n(3, 0.1), *of_n(3, 0.2), *of_n(6, 0.3))]
    path.write_text("\n".join(lines) + '\n{"series": "n_st')
    assert [depth_page.exact([each]).mean for each in depth_page.read(path)] == [0.2, 0.3]


@pytest.mark.slow
def test_pictures_are_made_of_what_is_there(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rows = [*of_n(3, 0.1, 0.2), *of_n(384, 0.4, series="n_deepest")]
    assert [path.name for path in depth_page.write(rows, tmp_path)] == ["depth_study.md", "depth_n.png"]
    rows += [*of_n(6, 0.5, **PROBED), row("cycles_steps", {"model.cycles": 2}, 0.5)]
    assert [path.name for path in depth_page.write(rows, tmp_path)] == [
        "depth_study.md", "depth_n.png", "depth_cycles.png", "depth_inference.png", "depth_gradients.png",
    ]  # fmt: skip
    assert "n at equal steps" in (tmp_path / "depth_study.md").read_text()


class FakeRunning:
    """In place of processes: points of n = 2 fail, others are in the ledger afterwards."""

    begun: tuple[str, ...] = ()

    def __init__(self, plan: Any, folder: Any, *_: Any) -> None:
        (self._point,), self._folder = plan.points, folder

    def run(self) -> list[str]:
        FakeRunning.begun += (self._point.name,)
        if self._point.over["model.latent_steps"] == 2:
            return [self._point.name]
        self._folder.place(self._point).mkdir(parents=True, exist_ok=True)
        return []


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch, counted: None) -> None:
    FakeRunning.begun = ()
    monkeypatch.setattr(points, "Running", FakeRunning)
    monkeypatch.setattr(points.Folder, "row", lambda self, point: {} if self.place(point).exists() else None)
    monkeypatch.setattr(depth_study, "probe", lambda task, *_: PROBED)
    monkeypatch.setattr(
        depth_study, "row_of", lambda task, place, ledger_row, probe: row(task.series.name, {}, 0.5, **probe)
        | {"point": task.point.name, "values": {**task.point.over}},
    )  # fmt: skip
    monkeypatch.setattr(depth_page, "write", lambda rows, folder: [])


def begin(tmp_path: Path, todo: list[Task], hours: float = 1.0) -> int:
    return depth_study.run(tmp_path, tmp_path / "puzzles", todo, tmp_path / "rows.jsonl", hours, Said())


@pytest.mark.usefixtures("faked")
def test_the_same_command_goes_on_and_tries_again_what_failed(tmp_path: Path) -> None:
    (tmp_path / "puzzles").mkdir()
    todo = tasks(tmp_path / "puzzles", ["n_steps"])
    assert begin(tmp_path, todo[:2]) == 0
    assert begin(tmp_path, todo[:5]) == 1
    failed = FakeRunning.begun[3:]
    assert failed == ("latent_steps-2+seed-0", "latent_steps-2+seed-1")
    assert len(depth_page.read(tmp_path / "rows.jsonl")) == 3
    FakeRunning.begun = ()
    assert begin(tmp_path, todo[:5]) == 1
    assert FakeRunning.begun == failed


@pytest.mark.usefixtures("faked")
def test_no_point_is_begun_after_the_time(tmp_path: Path) -> None:
    (tmp_path / "puzzles").mkdir()
    assert begin(tmp_path, tasks(tmp_path / "puzzles", ["n_steps"])[:2], hours=0.0) == 75
    assert FakeRunning.begun == ()


def test_an_unknown_series_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        depth_study.main(["--only", "n_steps,depht"])
    assert "no series 'depht': there are n_steps" in capsys.readouterr().err


@pytest.mark.parametrize(("seed", "told"), [(0, PROBED), (1, {})])
def test_a_point_is_probed_once_and_at_the_first_seed_alone(seed: int, told: Any, tmp_path: Path) -> None:
    series = SimpleNamespace(name="n_steps", seeds=(0, 1))
    task: Any = SimpleNamespace(series=series, point=SimpleNamespace(name="p", over={"train.seed": seed}))
    (tmp_path / "probe.json").write_text(json.dumps(PROBED))
    assert depth_study.probe(task, tmp_path, tmp_path) == told


@pytest.mark.slow
def test_the_cheapest_point_from_puzzles_to_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(depth_points.CHANGES, "train.steps", 4)
    monkeypatch.setattr(depth_study, "_PUZZLES", 70)
    words = [f"--workdir={tmp_path / 'work'}", f"--results={tmp_path / 'rows.jsonl'}", "--only=n_steps", "--most=1"]
    assert depth_study.main(words) == 0
    (found,) = depth_page.read(tmp_path / "rows.jsonl")
    assert found["values"] == {"model.latent_steps": 1, "train.seed": 0}
    assert found["steps"] == 4
    assert {told["key"] for told in found["transfer"]} == {"latent_steps", "cycles"}
    assert found["gradient_along"] == [[1, 1.0]]
    assert found["planned_bytes"] > 0
    assert found["gradient_norm_last"] > 0
    assert 1 <= found["halted_at"] <= 65
    assert "latent_steps = 1" in (tmp_path / "depth_study.md").read_text()
    assert depth_study.main(words) == 0
