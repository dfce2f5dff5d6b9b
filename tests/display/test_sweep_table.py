"""A table of a sweep: what differs, what was measured, what seeds come to, and how far each is from the baseline."""

from typing import Any

from ledger_rows import row, searched

from trm_jax.display.ledger import aligned, piped
from trm_jax.display.sweep import State, cells
from trm_jax.runs.sweep import Point

WAITS = State(None, 0)
N, SEED = "model.latent_steps", "train.seed"


def point(over: dict[str, Any], turn: dict[str, Any] | None = None, steps: int = 1_000) -> Point:
    return Point(f"{over}{turn}", over, turn or {}, steps, 2 * 10**12, searches=False)


def share(value: float) -> dict[str, float]:
    return {"value": value, "low": value / 2, "high": (1 + value) / 2}


def chains(weights: str = "b" * 64, hours: float | None = 1.0, **single: float) -> State:
    """Measured at depths, as in D4=0.5."""
    shares = {name.removeprefix("D"): share(value) for name, value in single.items()}
    return State(row(weights=weights, single=shares, restarts=None, trained__hours=hours), 500)


def table(states: list[tuple[Point, State]]) -> list[list[str]]:
    return cells([point for point, _ in states], {point.name: state for point, state in states})


def test_a_line_for_each_point_with_what_differs_and_what_was_measured() -> None:
    first = chains(D4=0.5, D16=0.75)
    head, *lines = table([
        (point({N: 1}), first),
        (point({N: 2}), State(None, 1_000)),
        (point({N: 3}), State(None, 10)),
        (point({N: 4}), WAITS),
    ])  # fmt: skip
    assert first.row is not None
    assert head == ["latent_steps", "steps", "PFLOP", "hours", "D=4", "D=16", "row"]
    assert lines == [
        ["1", "500", "0.25", "1.00", "50.00% (25.0% to 75.0%)", "75.00% (37.5% to 87.5%)", first.row["id"]],
        ["2", "1,000", "2", "-", "-", "-", "trained"],
        ["3", "1,000", "2", "-", "-", "-", "step 10"],
        ["4", "1,000", "2", "-", "-", "-", "waits"],
    ]


def test_points_that_differ_in_the_seed_come_together_as_mean_and_range() -> None:
    states = [
        (point({SEED: seed, N: n}), chains(hours=hours, D16=value))
        for seed, n, hours, value in ((0, 1, 1.0, 0.5), (0, 2, 2.0, 0.6), (1, 1, 3.0, 0.7), (1, 2, None, 0.8))
    ]
    _, *lines = table([*states, (point({SEED: 2, N: 1}), WAITS), (point({SEED: 0, N: 3}), chains(D16=0.1))])
    assert [line[:2] for line in lines] == [
        ["0", "1"], ["1", "1"], ["2", "1"], ["2 seeds", "1"], ["0", "2"], ["1", "2"], ["2 seeds", "2"], ["0", "3"],
    ]  # fmt: skip
    assert lines[3][2:] == ["500", "0.25", "2.00", "60.00%, 50.00% to 70.00%", ""]
    assert lines[6][2:] == ["500", "0.25", "2.00", "70.00%, 60.00% to 80.00%", ""]


def test_a_turn_is_compared_with_the_baseline_of_its_own_seed() -> None:
    clip = {"optim.clip": 1.0, "model.states": "y"}
    head, *lines = table([
        (point({SEED: 0}), chains(D4=0.1, D16=0.5)),
        (point({SEED: 0}, clip), chains(D4=0.2, D16=0.75)),
        (point({SEED: 1}), chains(D4=0.1, D16=0.9)),
        (point({SEED: 1}, clip), chains(D4=0.2, D16=0.8)),
        (point({SEED: 2}, clip), chains(D4=0.2, D16=0.8)),
        (point({SEED: 2}), WAITS),
    ])  # fmt: skip
    assert (head[1], head[-2]) == ("turn", "difference")
    assert [(line[0], line[1], line[-2]) for line in lines] == [
        ("0", "baseline", "-"),
        ("1", "baseline", "-"),
        ("2", "baseline", "-"),
        ("2 seeds", "baseline", "-"),
        ("0", "clip=1.0+model.states=y", "+25.00 (D=16)"),
        ("1", "clip=1.0+model.states=y", "-10.00 (D=16)"),
        ("2", "clip=1.0+model.states=y", "-"),
        ("3 seeds", "clip=1.0+model.states=y", "+7.50, -10.00 to +25.00 (D=16)"),
    ]


def test_a_search_is_told_by_its_most_calls_and_compared_where_both_were_measured() -> None:
    marks = {"1": share(0.25), "64": share(0.5), "512": {"value": 0.75, "low": 0.7, "high": 0.8}}
    found = State(searched(search={"found": marks, "exact": share(0.75), "calls": 40.25}), 500)
    voted = State(row(restarts=None, single={"1": share(0.25)}, votes={"1": share(0.1), "2": share(0.5)}), 500)
    head, *lines = table([(point({}), found), (point({}, {N: 1}), voted), (point({}, {N: 2}), found)])
    assert head[4:-1] == ["D=1", "pass@2", "found in 512", "difference"]
    assert lines[0][6] == "75.00% (70.0% to 80.0%)"
    assert [line[7] for line in lines] == ["-", "-25.00 (D=1)", "+0.00 (found in 512)"]


def test_both_forms_are_of_the_same_cells() -> None:
    made = table([(point({"data.test": "a|b"}), WAITS), (point({"data.test": "c"}), WAITS)])
    assert aligned(made).splitlines()[1] == "a|b   1,000  2      -      waits"
    assert piped(made).splitlines() == [
        "| test | steps | PFLOP | hours | row |",
        "| --- | --- | --- | --- | --- |",
        "| a\\|b | 1,000 | 2 | - | waits |",
        "| c | 1,000 | 2 | - | waits |",
    ]
