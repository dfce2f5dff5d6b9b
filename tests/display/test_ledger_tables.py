"""Tables of the ledger: what a row does not have is a dash, kinds of figures stand apart, pages quote what is there."""

import pytest
from ledger_rows import row, searched

from trm_jax.display.ledger import COLUMNS, cells, markdown, misquoted, quoted, text
from trm_jax.errors import ConfigError
from trm_jax.runs.ledger import Row

ROWS = [row(), searched(weights="0" * 64, note=None), row(evaluated=None, single=None, restarts=None)]


def cell(of: Row, column: str) -> str:
    return cells([of], [column])[1][0]


def test_each_kind_of_figure_has_its_column_and_what_is_missing_is_a_dash() -> None:
    head, chains, search, untried = cells(ROWS)
    assert head == [*COLUMNS]
    by_name = [dict(zip(head, line, strict=True)) for line in (chains, search, untried)]
    assert [line["D=16"] for line in by_name] == ["25.00% (20.0% to 30.0%)", "-", "-"]
    assert [line["D=4"] for line in by_name] == ["-"] * 3
    assert [line["D=1"] for line in by_name] == ["50.00% (40.0% to 60.0%)"] * 2 + ["-"]
    assert by_name[0]["restarts"] == "50.00% (40.0% to 60.0%), 8 of 16 steps by rules"
    assert by_name[1]["search"] == "75.00% (70.0% to 80.0%), 512 calls, 5.0 s, 8 chains"
    assert [line["search"] for line in (by_name[0], by_name[2])] == ["-", "-"]
    assert [line["restarts"] for line in by_name[1:]] == ["-", "-"]
    assert by_name[0]["puzzles"] == "1,000 of test.csv"
    assert by_name[2]["puzzles"] == "-"
    assert [by_name[0][name] for name in ("weights", "rows", "PFLOP", "hours")] == ["53,442", "32,000", "0.25", "1.50"]
    assert by_name[0]["changes"] == "optim.clip=0.5"  # where data lies and how often is saved changes no result
    assert [line["note"] for line in by_name] == ["revealed clues", "-", "revealed clues"]


def test_any_depth_is_a_column_and_nothing_else_is() -> None:
    assert cell(row(single={"128": row()["single"]["16"]}), "D=128") == "25.00% (20.0% to 30.0%)"
    with pytest.raises(ConfigError, match="no column 'hour' in the ledger: did you mean 'hours'"):
        cells(ROWS, ["hour"])


def test_a_table_for_the_terminal_has_its_columns_below_each_other() -> None:
    lines = text(ROWS, ["id", "D=16", "seed"]).splitlines()
    assert len(lines) == 4
    assert {line[lines[0].index("seed") :] for line in lines} == {"seed", "3"}


def page(table: str) -> str:
    return f"# Title\n\nText.\n\n{table}\n\nMore text.\n"


def test_a_page_with_the_table_that_is_printed_quotes_the_ledger() -> None:
    table = markdown(ROWS[:2], ["id", "D=16", "search"])
    assert table.splitlines()[0] == f"<!-- ledger: {ROWS[0]['id']},{ROWS[1]['id']} id,D=16,search -->"
    assert table.splitlines()[3] == f"| {ROWS[0]['id']} | 25.00% (20.0% to 30.0%) | - |"
    whole = page(table) + page(markdown(ROWS))
    assert quoted(whole) == 2
    assert list(misquoted(whole, ROWS)) == []
    assert list(misquoted(table, ROWS)) == []  # at the end of a page


TABLE = markdown(ROWS[:1], ["id", "D=16"])


@pytest.mark.parametrize(
    ("quote", "fault"),
    [
        (TABLE.replace("25.00%", "26.00%"), "the table is not what the ledger says: put there what `trm ledger show"),
        (TABLE.replace("| D=16 |", "| D=64 |"), "the table is not"),
        (TABLE + "\n| x | 1 |", "the table is not"),
        (TABLE.splitlines()[0], "the table is not"),
        (TABLE.replace(" -->", "-->"), "write <!-- ledger: ID,ID COLUMN,COLUMN -->"),
        (TABLE.replace("ledger: sudoku", "ledger: another"), "no row 'another"),
        (TABLE.replace("id,D=16 -->", "id,D=x -->"), "no column 'D=x'"),
    ],
)
def test_a_page_that_quotes_it_wrongly_is_told_with_its_line(quote: str, fault: str) -> None:
    ((line, told),) = misquoted(page(quote), ROWS)
    assert line == 5
    assert told.startswith(fault)


def test_a_bar_in_a_note_ends_no_cell() -> None:
    assert r"a \| b" in markdown([row(note="a | b")], ["note"])
