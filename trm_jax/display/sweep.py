"""A sweep as a table: a line for each point, and one for points that differ in nothing but the seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from trm_jax.display.ledger import NONE
from trm_jax.inference.statistics import Share
from trm_jax.runs.ledger import Row
from trm_jax.runs.sweep import BASELINE, SEED, Point, short

# What stands under a table.
LEGEND = "(a to b): 95 % interval over puzzles; of several seeds the mean, and from the least to the most"
DIFFERENCE_LEGEND = "difference: from the baseline, in percentage points of the figure that is named"

_PFLOP = 1e15
# Of votes, how many answers count.
_PASS_AT = "2"

Shares = dict[str, Share]


@dataclass(frozen=True)
class State:
    """Where a point is: its row in the ledger, or how many steps it has made."""

    row: Row | None
    reached: int

    @property
    def shares(self) -> Shares:
        """The accuracies of its row, by what they are."""
        if self.row is None:
            return {}
        found = {f"D={depth}": share for depth, share in self.row.get("single", {}).items()}
        if votes := self.row.get("votes", {}).get(_PASS_AT):
            found[f"pass@{_PASS_AT}"] = votes
        if search := self.row.get("search", {}).get("found"):
            calls = max(search, key=int)
            found[f"found in {calls}"] = search[calls]
        return {name: Share(**share) for name, share in found.items()}


def cells(points: Sequence[Point], states: Mapping[str, State]) -> list[list[str]]:
    """The table, its head first.

    Args:
      points: of a sweep. states: of each point by its name.
    """
    keys = list(points[0].over)
    turned = any(point.turn for point in points)
    names = _figures(states)
    head = [short(key) for key in keys] + ["turn"] * turned
    table = [[*head, "steps", "PFLOP", "hours", *names, *(["difference"] if turned else []), "row"]]
    baselines = {_place(point): states[point.name] for point in points if not point.turn}
    groups: dict[str, list[Point]] = {}
    for point in points:
        without_seed = {key: value for key, value in point.over.items() if key != SEED}
        groups.setdefault(f"{without_seed} {point.turn}", []).append(point)
    for group in groups.values():
        lines = []
        for point in group:
            state = states[point.name]
            difference = _difference(state, baselines[_place(point)], names) if point.turn else None
            lines.append(_Line(point, state, difference))
            table.append(lines[-1].cells(keys, turned, names))
        if len(told := [line for line in lines if line.state.row is not None]) > 1:
            table.append(_mean(told, keys, turned, names))
    return table


@dataclass(frozen=True)
class _Line:
    """A point with its difference to the baseline: of which figure, and how much."""

    point: Point
    state: State
    difference: tuple[str, float] | None

    def cells(self, keys: Sequence[str], turned: bool, names: Sequence[str]) -> list[str]:
        point, row, shares = self.point, self.state.row, self.state.shares
        trained: Mapping[str, Any] = {} if row is None else row["trained"]
        differences = [] if self.difference is None else [self.difference]
        return [
            *(str(point.over[key]) for key in keys),
            *([_turn(point)] if turned else []),
            f"{point.steps if row is None else row['step']:,}",
            f"{trained.get('pflop', point.flops / _PFLOP):.3g}",
            f"{trained['hours']:.2f}" if "hours" in trained else NONE,
            *(str(shares[name]) if name in shares else NONE for name in names),
            *([_told(differences)] if turned else []),
            row["id"] if row is not None else _waiting(self.state, point),
        ]


def _mean(lines: Sequence[_Line], keys: Sequence[str], turned: bool, names: Sequence[str]) -> list[str]:
    """Of points that differ in the seed."""
    rows = [line.state.row for line in lines if line.state.row is not None]
    hours = [row["trained"]["hours"] for row in rows if "hours" in row["trained"]]
    shares = [line.state.shares for line in lines]
    cells = []
    for name in names:
        values = [each[name].value for each in shares if name in each]
        cells.append(f"{fmean(values):.2%}, {min(values):.2%} to {max(values):.2%}" if values else NONE)
    point = lines[0].point
    return [
        *(f"{len(lines)} seeds" if key == SEED else str(point.over[key]) for key in keys),
        *([_turn(point)] if turned else []),
        f"{fmean(row['step'] for row in rows):,.0f}",
        f"{fmean(row['trained']['pflop'] for row in rows):.3g}",
        f"{fmean(hours):.2f}" if hours else NONE,
        *cells,
        *([_told([line.difference for line in lines if line.difference is not None])] if turned else []),
        "",
    ]


def _figures(states: Mapping[str, State]) -> list[str]:
    """What is measured anywhere: depths, votes, searches, each from less to more."""
    names = {name for state in states.values() for name in state.shares}

    def order(name: str) -> tuple[int, int]:
        number = int(name.removeprefix("D=").removeprefix("pass@").removeprefix("found in "))
        return ("Dpf".index(name[0]), number)

    return sorted(names, key=order)


def _difference(state: State, baseline: State, names: Sequence[str]) -> tuple[str, float] | None:
    """In the last figure that both have."""
    ours, theirs = state.shares, baseline.shares
    name = next((name for name in reversed(names) if name in ours and name in theirs), None)
    return None if name is None else (name, ours[name].value - theirs[name].value)


def _told(differences: Sequence[tuple[str, float]]) -> str:
    """One difference, or the mean of several of the same figure with the least and the most."""
    if not differences:
        return NONE
    name, values = differences[0][0], [100 * value for _, value in differences]
    if len({figure for figure, _ in differences}) > 1:
        return NONE
    spread = f", {min(values):+.2f} to {max(values):+.2f}" if len(values) > 1 else ""
    return f"{fmean(values):+.2f}{spread} ({name})"


def _place(point: Point) -> str:
    """Which baseline a point has."""
    return str(dict(point.over))


def _turn(point: Point) -> str:
    return "+".join(f"{short(key)}={value}" for key, value in point.turn.items()) or BASELINE


def _waiting(state: State, point: Point) -> str:
    if state.reached == point.steps:
        return "trained"
    return f"step {state.reached:,}" if state.reached else "waits"
