"""The study of memory against depth: what it measures, that it survives its points, goes on, and is drawn."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import matplotlib.image
import numpy as np
import pytest

from benchmarks import recursion_memory, recursion_plots
from benchmarks.recursion_memory import TABLE, Table, measure, measure_apart, run_sweep
from benchmarks.recursion_points import Group, Point, Row, sweep
from trm_jax.training import memory

MACHINE = {"device": "Abacus 3", "platform": "cpu", "jax": "0.10.2"}
SMALL: dict[str, Any] = {"width": 32, "batch": 8, "dtype": "float32"}
# Stands in for the process of a point: it ends as the number of latent steps says, or gives rows.
CHILD = """
import json, os, sys, time
points = json.loads(sys.argv[2])["points"]
if points[0]["n"] == 9:
    os.kill(os.getpid(), 9)
if points[0]["n"] == 11:
    os.kill(os.getpid(), 11)
if points[0]["n"] == 8:
    sys.exit("RESOURCE_EXHAUSTED: Out of memory  allocating 7 bytes.")
if points[0]["n"] == 7:
    sys.exit("ValueError: a fault")
if points[0]["n"] == 60:
    time.sleep(60)
print("a word of a library")
for point in points:
    print(json.dumps(point | {"key": f"{point['policy']} {point['n']}", "peak_bytes": 10 ** 9 * point["n"]}))
"""


def full_row(point: Point, peak: float = 1e9, **values: Any) -> Row:
    return point.row | {"peak_bytes": int(peak)} | MACHINE | values


@pytest.fixture
def child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recursion_memory, "COMMAND", (sys.executable, "-c", CHILD))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Measures nothing; returns the keys of the points that were to be measured, in order."""
    keys: list[str] = []

    def fake(points: Group, repeats: int, timeout: float) -> list[Row]:
        keys.extend(point.key for point in points)
        return [point.row | {"peak_bytes": 10**9} for point in points]

    monkeypatch.setattr(recursion_memory, "measure_apart", fake)
    return keys


def test_the_key_of_a_point_stays() -> None:
    point = Point(policy="nested", levels=3, repetitions=9, n=384, slices=16)
    assert point.key == (
        "compiled mlp n=384 T=3 grad_cycles=1 nested 3 outer=none slices=16 micro_batches=1 batch=768 bfloat16 "
        "width=512"
    )
    others = {"kind": "run", "variant": "attention", "n": 2, "T": 2, "grad_cycles": 2, "policy": "binomial"}
    others |= {"levels": 4, "outer_policy": "step", "slices": 1, "micro_batches": 2, "batch": 1, "dtype": "float32"}
    for name, value in others.items():
        assert Point(**{**vars(point), name: value}).key != point.key, name


@pytest.mark.parametrize("platform", [pytest.param("cpu", marks=pytest.mark.slow), "gpu"])
def test_what_a_full_sweep_holds(platform: str) -> None:
    groups = sweep("full", platform)
    points = [point for group in groups for point in group]
    keys = {point.key for point in points}
    assert len(keys) == len(points)
    assert 150 <= sum(point.kind == "compiled" for point in points) <= 250
    for n, cycles in ((2, 1), (4, 2), (6, 3), (8, 4), (12, 3), (6, 6), (12, 6)):
        for policy in ("none", "step"):
            assert Point(n=n, T=cycles, policy=policy).key in keys
    for group in groups:
        assert len({point.kind for point in group}) == 1
        if len(group) > 1:
            assert "none" in [point.policy for point in group]  # what the others are compared with
    assert ("offload" in {point.policy for point in points}) == (platform == "gpu")
    for point in points:
        assert point.experiment.model.latent_steps == point.n  # made without an error


def test_the_same_sweep_again_measures_nothing(tmp_path: Path, asked: list[str]) -> None:
    groups: list[Group] = [(Point(n=1),), (Point("time", n=2), Point("time", n=2, policy="step"))]
    run_sweep(groups, Table(tmp_path / TABLE), 1, 1.0, MACHINE)
    assert asked == [point.key for group in groups for point in group]
    written = (tmp_path / TABLE).read_bytes()
    run_sweep(groups, Table(tmp_path / TABLE), 1, 1.0, MACHINE)
    assert len(asked) == 3
    assert (tmp_path / TABLE).read_bytes() == written
    run_sweep([*groups, (Point(n=3),)], Table(tmp_path / TABLE), 1, 1.0, MACHINE)
    assert asked[3:] == [Point(n=3).key]


@pytest.mark.parametrize("change", [{"device": "Abacus 4"}, {"jax": "0.11.0"}])
def test_another_device_or_version_is_measured_anew(tmp_path: Path, asked: list[str], change: Row) -> None:
    for machine in (MACHINE, MACHINE | change, MACHINE, MACHINE | change):
        run_sweep([(Point(),)], Table(tmp_path / TABLE), 1, 1.0, machine)
    assert asked == 2 * [Point().key]
    assert [row["device"] + row["jax"] for row in Table(tmp_path / TABLE).rows] == [
        machine["device"] + machine["jax"] for machine in (MACHINE, MACHINE | change)
    ]


@pytest.mark.parametrize("left", [0, 1, 40, -1])
def test_a_torn_line_is_dropped_and_its_point_measured(tmp_path: Path, asked: list[str], left: int) -> None:
    path = tmp_path / TABLE
    groups: list[Group] = [(Point(n=1),), (Point(n=2),)]
    run_sweep(groups, Table(path), 1, 1.0, MACHINE)
    whole = path.read_bytes()
    start = whole[:-1].rindex(b"\n") + 1
    path.write_bytes(whole[:start] + whole[start:][:left])
    assert [row["key"] for row in Table(path).rows] == [Point(n=1).key]
    run_sweep(groups, Table(path), 1, 1.0, MACHINE)
    assert asked[2:] == [Point(n=2).key]
    assert path.read_bytes() == whole


def test_policies_that_take_turns_are_measured_together_again(tmp_path: Path, asked: list[str]) -> None:
    path = tmp_path / TABLE
    pair = (Point("time"), Point("time", policy="step"))
    run_sweep([pair], Table(path), 1, 1.0, MACHINE)
    path.write_bytes(path.read_bytes()[:-5])
    run_sweep([pair], Table(path), 1, 1.0, MACHINE)
    assert asked == 2 * [point.key for point in pair]
    run_sweep([pair], Table(path), 1, 1.0, MACHINE)
    assert len(asked) == 4


def test_a_table_whose_head_is_torn_begins_anew_and_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / TABLE
    path.write_text("key,kind,va")
    assert Table(path).rows == []
    assert path.read_text().startswith("key,kind,variant,")
    path.write_text("key,peak\n1,2\n")
    with pytest.raises(SystemExit, match="columns of another version"):
        Table(path)


def test_points_that_die_become_rows_and_the_sweep_goes_on(tmp_path: Path, child: None) -> None:
    table = Table(tmp_path / TABLE)
    pair = (Point(n=9), Point(n=9, policy="step"))
    run_sweep([pair, (Point(n=8),), (Point(n=7),), (Point(n=11),), (Point(n=6),)], table, 1, 30.0, MACHINE)
    rows = Table(tmp_path / TABLE).rows
    assert [(row["n"], row["policy"], row["failed"]) for row in rows] == [
        ("9", "none", "killed by SIGKILL: out of memory, most likely"),
        ("9", "step", "killed by SIGKILL: out of memory, most likely"),
        ("8", "none", "out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes."),
        ("7", "none", "exit code 1: ValueError: a fault"),
        ("11", "none", "killed by SIGSEGV"),
        ("6", "none", ""),
    ]
    assert rows[-1]["peak_bytes"] == "6000000000"
    assert [row["device"] for row in rows] == 6 * ["Abacus 3"]


def test_a_point_that_takes_too_long_is_ended(child: None) -> None:
    (row,) = measure_apart((Point(n=60),), 1, 0.5)
    assert row["failed"] == "took more than 0.5 seconds"


def test_too_large_a_step_is_compiled_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "compile_step", lambda experiment: f"{experiment.model.latent_steps} steps")
    monkeypatch.setattr(memory, "memory_of", lambda compiled: memory.Memory(10**9, 7 * 10**9, "cpu"))
    monkeypatch.setattr(recursion_memory, "_free_bytes", lambda: 9 * 10**9)
    (row,) = measure((Point("run", **SMALL),), 1)
    assert row["failed"] == "out of memory: needs 8.0 GB, and 9.0 GB are free"  # not to the last byte
    assert (row["argument_bytes"], row["temporary_bytes"], row["peak_bytes"]) == (10**9, 7 * 10**9, 8 * 10**9)
    assert "seconds_min" not in row
    (row,) = measure((Point(**SMALL),), 1)
    assert "failed" not in row  # what is only compiled may be of any size
    assert row["mb_a_puzzle"] == 1000.0


@pytest.mark.slow
def test_policies_take_turns_and_one_that_runs_out_of_memory_ends_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    def fake_compile(point: Point) -> Any:
        def step(state: Any, batch: Any) -> Any:
            assert not state.step.is_deleted()
            turns.append(point.policy)
            time.sleep({"none": 0.02, "step": 0.06, "dots": 0.0}[point.policy])
            if point.policy == "dots":
                state.step.delete()  # as one that was donated may be
                raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\n  allocating 9 bytes.")
            return state, {}

        return recursion_memory._Trial(point.row, step)

    monkeypatch.setattr(recursion_memory, "_compile", fake_compile)
    points = tuple(Point("time", policy=policy, **SMALL) for policy in ("dots", "none", "step"))
    exhausted, base, step = measure(points, 3)
    assert turns == ["step", "none", "dots", "none", "step", "step", "none", "none", "step"]
    assert exhausted["failed"] == "out of memory: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."
    assert "seconds_min" not in exhausted
    assert base["ratio_to_none"] == 1.0
    assert 1.2 < step["ratio_to_none"] < 10  # 3 on a machine that is not busy
    assert base["repeats"] == step["repeats"] == 3
    assert 0.06 <= step["seconds_min"] <= step["seconds_median"]


def test_other_errors_are_no_lack_of_memory() -> None:
    trial = recursion_memory._Trial({})
    with pytest.raises(ValueError, match="a fault"):
        recursion_memory._tell(trial, ValueError("a fault"))
    assert trial.row == {}


@pytest.mark.slow
def test_a_real_point_takes_the_memory_that_its_compilation_foretells(monkeypatch: pytest.MonkeyPatch) -> None:
    size: dict[str, Any] = {"width": 32, "batch": 64, "dtype": "float32", "n": 12, "T": 1}
    (foretold,) = measure((Point(**size),), 1)
    (found,) = measure_apart((Point("run", **size),), 2, 120.0)
    assert foretold["peak_bytes"] == found["peak_bytes"] > 1e8
    assert foretold["peak_bytes"] == foretold["argument_bytes"] + foretold["temporary_bytes"]
    assert foretold["mb_a_puzzle"] == pytest.approx(foretold["peak_bytes"] / 64e6, rel=1e-3)
    assert found["measured_bytes"] == pytest.approx(foretold["peak_bytes"], rel=0.3)
    assert 0 < found["seconds_min"] <= found["seconds_median"]
    assert "measured_bytes" not in foretold


def test_the_high_water_mark_is_of_what_came_after_its_reset() -> None:
    if not recursion_memory._reset_peak():
        pytest.skip("this kernel does not let a process reset its mark")
    before = recursion_memory._resident("VmRSS")
    block = np.ones(200_000_000, np.uint8)
    del block
    assert recursion_memory._resident("VmHWM") - before == pytest.approx(2e8, rel=0.1)
    assert recursion_memory._reset_peak()
    assert recursion_memory._resident("VmHWM") - before < 5e7


def test_states_kept_are_those_of_the_plan() -> None:
    kept = {
        point.policy_name: point.row["states_kept"]
        for point in (
            Point(n=10), Point(policy="step", n=10), Point(policy="offload", n=10), Point(policy="nested", n=16),
            Point(policy="binomial", n=10),
        )
    }  # fmt: skip
    # C(3 + 2, 3) = 10: three free states beside the first.
    assert kept == {"none": "", "step": 10, "offload": 10, "nested 2": 7, "binomial 2": 4}


def test_the_deepest_recursion_that_fits() -> None:
    curve = [(1, 1.0), (10, 10.0), (1000, 100.0)]
    assert recursion_plots.deepest(curve, 0.9) == (0, False)
    assert recursion_plots.deepest(curve, 1.0) == (1, False)
    assert recursion_plots.deepest(curve, 5.0) == (5, False)
    assert recursion_plots.deepest(curve, 10 * 10**0.5) == (100, False)
    assert recursion_plots.deepest(curve, 99.999) == (999, False)
    assert recursion_plots.deepest(curve, 100.0) == (1000, True)
    # A shallower one may take more: another plan.
    assert recursion_plots.deepest([(1, 3.0), (2, 2.0), (4, 8.0)], 2.5) == (2, False)
    # A constant and a power of n: what is promised does fit.
    peak = lambda n: 11 + 0.08 * n**0.5  # noqa: E731
    for size in (11.3, 12.0, 14.0):
        n, _ = recursion_plots.deepest([(n, peak(n)) for n in (1, 6, 64, 1024, 10_000)], size)
        assert peak(n) <= size
        assert peak(2 * n) > size


def test_names_beside_lines_keep_apart() -> None:
    places = recursion_plots._apart([0.0, 0.1, 0.15, 5.0], 1.0)
    assert places == pytest.approx([0.25 / 3 - 1, 0.25 / 3, 0.25 / 3 + 1, 5.0])


def study() -> list[Row]:
    """A table as a small sweep leaves it: two platforms, a point measured twice, one that failed."""
    rows = []
    for n in (1, 6, 100, 384, 10_000):
        rows += [
            full_row(Point(n=n), 16e9 * n),
            full_row(Point(n=n, policy="step"), 11e9 + 80e6 * n),
            full_row(Point(n=n, policy="binomial", slices=16), 2e9),
            full_row(Point(n=n, policy="step", batch=96), 5e9),
            full_row(Point(n=n, policy="step", dtype="float32"), 5e9),
        ]
    rows += [full_row(Point(n=12, T=6), 99e9), full_row(Point(n=12, T=6, policy="step"), 12.34e9)]
    rows += [full_row(Point(n=384, policy="step"), 40e9)]
    rows += [full_row(Point(policy="none", n=6), 1e9, platform="gpu")]
    rows += [
        full_row(Point("run", n=n, **SMALL), 1e9, measured_bytes=int(share * 1e9))
        for n, share in ((6, 1.02), (7, 0.97))
    ]
    for n in (6, 48):
        rows += [full_row(Point("time", n=n, **SMALL), ratio_to_none=1.0)]
        rows += [full_row(Point("time", n=n, policy="step", **SMALL), ratio_to_none=1 + n / 100)]
    for policy, ratio in (("step", 1.149), ("nested", 1.42)):
        rows += [full_row(Point("time", n=6, policy=policy, batch=8, dtype="float32"), ratio_to_none=ratio)]
    rows += [Point("run", n=384, **SMALL).row | MACHINE | {"peak_bytes": "", "failed": "killed by SIGKILL"}]
    return rows


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path / TABLE)
    for row in study():
        table.add(row)
    return Table(tmp_path / TABLE)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keeps figures by the names of their files, in place of writing them."""
    figures: dict[str, Any] = {}
    monkeypatch.setattr(recursion_plots, "save_figure", lambda figure, path: figures.update({path.stem: figure}))
    return figures


def curves(axis: Any) -> list[list[tuple[float, float]]]:
    lines = [line.get_data() for line in axis.get_lines() if len(line.get_xdata()) > 2]
    return [[(int(n), round(float(value), 9)) for n, value in zip(*line, strict=True)] for line in lines]


def test_what_the_picture_of_peaks_shows(table: Table, drawn: dict[str, Any], tmp_path: Path) -> None:
    recursion_plots.draw(table.rows, tmp_path)
    whole, sliced = drawn["recursion_peak_cpu"].axes
    depths = (1, 6, 100, 384, 10_000)
    # The last measurement of a point counts; other batches, formats and platforms are not here.
    step = [(n, 40.0 if n == 384 else 11 + 0.08 * n) for n in depths]
    assert curves(whole) == [[(n, 16.0 * n) for n in depths], step]
    assert curves(sliced) == [[(n, 2.0) for n in depths]]
    assert {"none", "step"} <= {text.get_text() for text in whole.texts}
    assert "binomial, r = 2" in {text.get_text() for text in sliced.texts}
    assert (whole.get_xscale(), whole.get_yscale()) == ("log", "log")
    assert len(drawn["recursion_peak_gpu"].axes) == 1


def test_what_the_other_pictures_show(table: Table, drawn: dict[str, Any], tmp_path: Path) -> None:
    recursion_plots.draw(table.rows, tmp_path)
    whole, sliced = drawn["recursion_deepest_cpu"].axes
    assert [label.get_text() for label in whole.get_yticklabels()] == ["none", "step"]
    figures = [text.get_text() for text in whole.texts]
    assert figures[:3] == ["5", "2", "1"]  # of none in 80, 40 and 16 GB: 16 GB for each step
    assert "384" in figures  # of step in 40 GB
    assert [text.get_text() for text in sliced.texts][:3] == 3 * ["≥ 10,000"]
    (axis,) = drawn["recursion_time_cpu"].axes
    lines = [list(zip(*line.get_data(), strict=True)) for line in axis.get_lines()]
    assert lines == [[(6, 1.0), (48, 1.0)], [(6, 1.06), (48, 1.48)]]


def test_the_figures_that_are_told(table: Table) -> None:
    text = recursion_plots.goal_table(table.rows)
    assert "Table 3, n = 12, T = 6 (paper: out of memory): none 99.0 GB, step 12.3 GB" in text
    assert "as a share of XLA's buffer assignment: 0.97 to 1.02 (2 points)" in text
    assert "Time of step against none, full width, n = 6, CPU: 1.15, goal <= 1.15: met" in text
    assert "Time of nested, 2 levels against none, full width, n = 6, CPU: 1.42, goal <= 1.3: MISSED" in text
    assert "Time of binomial, r = 2 against none, full width, n = 6, CPU: not measured, goal <= 1.3" in text
    assert "batch=8 float32 width=32: killed by SIGKILL" in text
    (line,) = [line for line in text.splitlines() if line.startswith("step ")]
    assert line.split()[1:5] == ["40.0", "(52.1)", "-", "-"]


def test_pictures_alone_are_drawn_from_a_table(table: Table, tmp_path: Path, asked: list[str], capsys: Any) -> None:
    recursion_memory.main(["--plots-only", "--out", str(tmp_path)])
    assert asked == []
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == [
        f"recursion_{name}.png" for name in ("deepest_cpu", "deepest_gpu", "peak_cpu", "peak_gpu", "time_cpu")
    ]
    for path in tmp_path.glob("*.png"):
        assert path.stat().st_size < 200_000
        assert min(matplotlib.image.imread(path).shape[:2]) > 200
    assert "goal <= 1.15: met" in capsys.readouterr().out


def test_rows_of_a_child_come_back_as_they_were(child: None) -> None:
    points = (Point(n=3), Point(n=3, policy="step"))
    assert [(row["key"], row["peak_bytes"]) for row in measure_apart(points, 1, 30.0)] == [
        ("none 3", 3 * 10**9),
        ("step 3", 3 * 10**9),
    ]
    assert json.loads(json.dumps(points[0].row)) == points[0].row
