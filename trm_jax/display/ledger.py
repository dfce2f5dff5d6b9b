"""The ledger as tables: for the terminal, and for pages, where a line above a table tells of which rows it is made.

    <!-- ledger: ID,ID COLUMN,COLUMN -->
    | ... |

That table has to be what `trm ledger show --markdown` makes of these rows and columns. Single chains, restarts and
searches with a verifier stand in columns of their own: they are no figures of one kind.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from trm_jax.errors import ConfigError, near_miss
from trm_jax.inference.statistics import Share
from trm_jax.runs.ledger import Row
from trm_jax.runs.resume import HARMLESS

# What a row does not have.
NONE = "-"

_SIGN = re.compile(r"^<!-- ledger:.*$", re.MULTILINE)
_NAMED = re.compile(r"<!-- ledger: (\S+) (\S+) -->")
# A single chain of so many supervision steps.
_DEPTH = re.compile("D=([1-9][0-9]{0,5})")


def _share(value: dict[str, float] | None) -> str:
    return NONE if value is None else str(Share(**value))


def _last(shares: dict[str, Any]) -> tuple[str, dict[str, float]]:
    """Of the largest number."""
    return max(shares.items(), key=lambda each: int(each[0]))


def _changes(row: Row) -> str:
    """What differs from the experiment and changes a result; a hash of weights beside where they lie does not help."""
    hidden = (*HARMLESS, "init.weights")
    return " ".join(f"{key}={value}" for key, value in row["overrides"].items() if key not in hidden) or NONE


def _single(depth: str) -> Callable[[Row], str]:
    return lambda row: _share(row.get("single", {}).get(depth))


def _restarts(row: Row) -> str:
    if "restarts" not in row:
        return NONE
    restarts = row["restarts"]
    steps, exact = _last(restarts["exact"])
    return f"{_share(exact)}, {restarts['attempts']} of {steps} steps by {restarts['selection']}"


def _search(row: Row) -> str:
    if "search" not in row:
        return NONE
    calls, found = _last(row["search"]["found"])
    budget = row["evaluated"]["how"]
    seconds = f", {budget['seconds']} s" if budget.get("seconds") else ""
    return f"{_share(found)}, {calls} calls{seconds}, {budget.get('chains', NONE)} chains"


def _votes(row: Row) -> str:
    return _share(row["votes"].get("2")) if "votes" in row else NONE


def _puzzles(row: Row) -> str:
    return f"{row['evaluated']['puzzles']:,} of {row['evaluated']['name']}" if "evaluated" in row else NONE


def _trained(name: str, form: str = "") -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        return format(row["trained"][name], form) if name in row["trained"] else NONE

    return cell


COLUMNS: dict[str, Callable[[Row], str]] = {
    "id": lambda row: row["id"],
    "experiment": lambda row: row["experiment"],
    "changes": _changes,
    "seed": lambda row: str(row["seed"]),
    "weights": lambda row: f"{row['weight_count']:,}" if "weight_count" in row else NONE,
    "rows": _trained("rows", ","),
    "PFLOP": _trained("pflop", ".3g"),
    "hours": _trained("hours", ".2f"),
    "puzzles": _puzzles,
    **{f"D={depth}": _single(str(depth)) for depth in (1, 4, 16, 64)},
    "restarts": _restarts,
    "search": _search,
    "calls": lambda row: f"{row['search']['calls']:.1f}" if "search" in row else NONE,
    "votes": _votes,
    "peak_gib": _trained("peak_gib", ".2f"),
    "beside": _trained("beside"),
    "note": lambda row: row.get("note", NONE),
}


def cells(rows: Sequence[Row], columns: Sequence[str] = ()) -> list[list[str]]:
    """The table of these rows, its head first; columns: of COLUMNS, or D=N for any N (all of COLUMNS).

    Raises:
      ConfigError: there is no such column.
    """
    wanted = [(name, _column(name)) for name in columns or COLUMNS]
    return [[name for name, _ in wanted], *([cell(row) for _, cell in wanted] for row in rows)]


def text(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """Lines for the terminal."""
    return aligned(cells(rows, columns))


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Any table, its head first, as lines for the terminal."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows: Sequence[Row], columns: Sequence[str] = ()) -> str:
    """A table for a page, under the line by which `misquoted` knows it."""
    table = cells(rows, columns)
    return f"<!-- ledger: {','.join(row['id'] for row in rows)} {','.join(table[0])} -->\n{piped(table)}"


def piped(table: Sequence[Sequence[str]]) -> str:
    """Any table, its head first, for a page."""
    head, *body = [[cell.replace("|", "\\|") for cell in row] for row in table]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body))


def quoted(page: str) -> int:
    """How many tables of a page say that they are of the ledger."""
    return len(_SIGN.findall(page))


def misquoted(page: str, rows: Sequence[Row]) -> Iterator[tuple[int, str]]:
    """What on a page says that it is of the ledger, and is not: the number of its line, and what is wrong."""
    by_id = {row["id"]: row for row in rows}
    for sign in _SIGN.finditer(page):
        line = page.count("\n", 0, sign.start()) + 1
        if (named := _NAMED.fullmatch(sign[0].rstrip())) is None:
            yield line, "write <!-- ledger: ID,ID COLUMN,COLUMN --> above a table of the ledger"
            continue
        ids, columns = named[1].split(","), named[2].split(",")
        if missing := [name for name in ids if name not in by_id]:
            yield line, f"no row {missing[0]!r:.60} in the ledger"
            continue
        try:
            made = markdown([by_id[name] for name in ids], columns)
        except ConfigError as error:
            yield line, str(error)
            continue
        found = page[sign.start() :].split("\n\n", 1)[0].rstrip("\n")
        if found != made:
            words = f"trm ledger show --markdown --rows={named[1]} --columns={named[2]}"
            yield line, f"the table is not what the ledger says: put there what `{words}` prints"


def _column(name: str) -> Callable[[Row], str]:
    if depth := _DEPTH.fullmatch(name):
        return _single(depth[1])
    if name not in COLUMNS:
        raise ConfigError(f"no column {name!r:.60} in the ledger: {near_miss(name, COLUMNS)}")
    return COLUMNS[name]
