"""The figures of the page on depth are those of the study's rows."""

from places import ROOT

from benchmarks import depth_page

RESULTS = ROOT / "benchmarks" / "results"
PAGE = (ROOT / "docs" / "does_depth_pay.md").read_text()
ROWS = depth_page.read(RESULTS / "depth_study.jsonl")


def test_its_tables_are_those_that_the_rows_make() -> None:
    tables = [table for series in depth_page.SERIES if (table := depth_page.table(ROWS, series))]
    assert tables
    assert [table for table in tables if table not in PAGE] == []
    assert f"{len(ROWS)} of 142 points are there" in PAGE


def test_its_table_of_other_depths_is_that_of_the_probed_rows() -> None:
    for n, (row,) in depth_page._of_each_n(ROWS).items():
        at_n, at_cycles = (depth_page.transferred([row], key) for key in ("latent_steps", "cycles"))
        figures = [at_n[k] for k in (1, 3, 6, 12, 24)] + [at_cycles[k] for k in (1, 2, 4, 6)]
        cells = [f"n = {n}, T = 2", *(f"{100 * figure:.0f}" for figure in figures)]
        assert f"| {' | '.join(cells)} |" in PAGE
