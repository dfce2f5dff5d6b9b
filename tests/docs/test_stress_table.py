"""The tables of stress tests on the page are those of their files."""

import json
from typing import Any

from places import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "evaluation.md").read_text()


def read(name: str) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((RESULTS / f"stress_{name}.json").read_text())
    assert figures["command"].partition(" --json")[0] in PAGE
    return figures


def share(part: float | dict[str, float] | None) -> str:
    value = part["value"] if isinstance(part, dict) else part
    return "" if value is None else f"{value:.1%}".replace("%", " %")


def interval(part: dict[str, float]) -> str:
    return f"{share(part)} ({100 * part['low']:.1f} to {100 * part['high']:.1f})"


def first_cells(row: dict[str, Any]) -> list[str]:
    """Those that stand in both tables."""
    counts = row["answers"]
    told = " / ".join(str(counts.get(number, 0)) for number in ("none", "one", "several")) if counts else ""
    return [row["name"], str(row["puzzles"]), told, share(row["exact"]), share(row["valid"])]


def stands(cells: list[str]) -> bool:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") in PAGE


def test_the_table_of_the_model_that_answers() -> None:
    figures = read("sudoku-4x4")
    for row in figures["rows"]:
        assert stands(
            [
                *first_cells(row),
                share(row["changed"]),
                share(row["halted"]),
                f"{row['q']:.3f}",
                f"{row['rest']:.5f}",
                f"{row['steps']:.1f}",
                interval(row["false_claims"]),
            ]
        ), row["name"]
    for value in figures["auroc"].values():
        assert f"{value:.3f}" in PAGE


def test_the_table_of_the_model_that_searches() -> None:
    for row in read("maze-perfect")["rows"]:
        certified = [f"{row['steps']:.1f}", share(row["claimed"]), interval(row["false_claims"])]
        assert stands([*first_cells(row), *certified]), row["name"]
