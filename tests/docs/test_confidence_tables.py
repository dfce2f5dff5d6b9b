"""The tables of docs/confidence.md are those of their files."""

import json
from typing import Any

from places import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "confidence.md").read_text()


def read(name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((RESULTS / f"confidence_{name}.json").read_text())
    assert figures["command"].partition(" --json")[0].partition(" --plot")[0] in PAGE
    return figures


def share(part: float | dict[str, float] | None, digits: int = 1) -> str:
    value = part["value"] if isinstance(part, dict) else part
    return "" if value is None else f"{value:.{digits}%}".replace("%", " %")


def interval(part: dict[str, float]) -> str:
    return f"{share(part, 2)} ({100 * part['low']:.2f} to {100 * part['high']:.2f})"


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def test_each_signal_by_itself_and_all_together() -> None:
    one, all_steps = read("1_step"), read("8_steps")
    for first, last in zip(one["signals"], all_steps["signals"], strict=True):
        told = [f"{each['calibration']['auroc']:.3f} | {share(each['aurc'], 4)}" for each in (first, last)]
        assert row(first["name"], *told) in PAGE
    for figures in (one, all_steps):
        asked = figures["asked"]
        cells = (
            f"{figures['confidence']:g}",
            share(figures["right"], 2),
            share(asked["answered"]),
            interval(asked["wrong"]),
        )
        assert row(*cells) in PAGE


def test_what_would_have_been_let_through() -> None:
    one, all_steps = read("stress_1_step"), read("stress_8_steps")
    for first, last in zip(one["rows"], all_steps["rows"], strict=True):
        cells = [cell for each in (first, last) for cell in (share(each["sure"]), share(each["false_sure"]))]
        assert row(first["name"], str(first["puzzles"]), *cells) in PAGE
    for figures in (one, all_steps):
        for value in figures["auroc"].values():
            assert f"{value:.3f}" in PAGE


def test_promises_in_random_splits() -> None:
    rows = [json.loads(line) for line in (RESULTS / "promises.jsonl").read_text().splitlines()]
    assert len(rows) >= 8
    for told in rows:
        assert row(
            str(told["steps"]), f"{told['confidence']:g}", str(told["silent"]), str(told["over"]),
            share(told["answered"]), share(told["wrong"], 3),
        ) in PAGE  # fmt: skip
