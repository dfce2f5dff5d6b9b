"""The table of a stress test on the page is that of its file."""

import json

from places import ROOT

FIGURES = ROOT / "benchmarks" / "results" / "stress_sudoku-4x4.json"


def test_the_table_on_the_page_is_that_of_the_file() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text()
    figures = json.loads(FIGURES.read_text())
    assert figures["command"].removesuffix(" --json stress.json") in page

    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.1%}".replace("%", " %")

    def of(part: dict[str, float] | None) -> str:
        return share(None if part is None else part["value"])

    for row in figures["rows"]:
        counts, false = row["answers"], row["false_claims"]
        cells = [
            row["name"],
            str(row["puzzles"]),
            " / ".join(str(counts.get(number, 0)) for number in ("none", "one", "several")) if counts else "",
            of(row["exact"]),
            of(row["valid"]),
            share(row["changed"]),
            share(row["halted"]),
            f"{row['q']:.3f}",
            f"{row['rest']:.5f}",
            f"{row['steps']:.1f}",
            f"{of(false)} ({100 * false['low']:.1f} to {100 * false['high']:.1f})",
        ]
        assert f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") in page
    for value in figures["auroc"].values():
        assert f"{value:.3f}" in page
