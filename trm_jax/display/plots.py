"""Curves of figures, as PNG files. Needs matplotlib (extra `viz`)."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from trm_jax.display.canvas import INK, literal, new_figure, save_figure
from trm_jax.inference.evaluate import Row
from trm_jax.sizes import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of each way to choose among attempts: colour, marker, and the marker's size, so that lines that meet are all seen.
_STYLES = {
    "first": ("#1a7f37", "s", 8.5),
    "q": ("#0969da", "o", 7.0),
    "change": ("#8250df", "v", 6.0),
    "vote": ("#bf8700", "D", 4.5),
    "rules": ("#cf222e", "o", 3.5),
}
_ORACLE = "#6e7781"
# Of each number of attempts: colours from dark to light, and a marker; more of them begin again.
_BY_ATTEMPTS = (INK, "#0969da", "#1a7f37", "#bf8700", "#cf222e", "#8250df", "#1b7c83", "#bc4c00")
_MARKERS = "osvDP^X*"


def draw_effort(path: Path, rows: Sequence[Row], selection: str = "only", title: str = "") -> None:
    """Exact accuracy against operations a puzzle, with 95 % intervals.

    All tries and depths are on one axis: of each number of attempts a line, whose points differ in supervision steps,
    so that eight tries of one step can be compared with one of eight. Where there are several attempts, a second axis
    has a line for each way to choose among them, at the most steps.

    Args:
      path: the PNG file to write.
      rows: of a report's table, at least one.
      selection: the way to choose of the first axis, and of the heavier line of the second.
      title: what was evaluated on what.
    """
    numbers = sorted({row.attempts for row in rows})
    deepest = max(row.supervision_steps for row in rows)
    several = numbers[-1] > 1
    figure = new_figure((9.2 if several else 5.0, 3.6 if title else 3.4))
    if title:
        figure.suptitle(literal("\n".join(wrap(title, 118 if several else 66))), fontsize=9, color=INK)
    left, *right = figure.subplots(1, 2 if several else 1, sharey=True, squeeze=False).ravel()
    flops = [row.flops for row in rows]
    span = max(flops) / min(flops)
    for axis in (left, *right):
        _dress(axis, span)
        axis.set_xlabel("FLOP a puzzle, log scale", fontsize=9, color=INK)
    for i, number in enumerate(numbers):
        chosen = [row for row in rows if row.attempts == number and row.selection in (selection, "only")]
        look = _BY_ATTEMPTS[i % len(_BY_ATTEMPTS)], _MARKERS[i % len(_MARKERS)], 7.0 - 0.5 * min(i, 6)
        _line(left, sorted(chosen, key=lambda row: row.supervision_steps), str(number), look, heavy=True)
        _name_steps(left, chosen)
    how = f", chosen by {selection}" if several else ""
    left.set_title(f"numbers: supervision steps{how}", fontsize=9, color=INK)
    if several:
        left.legend(fontsize=8, frameon=False, title="attempts", title_fontsize=8)
        _choices(right[0], [row for row in rows if row.supervision_steps == deepest], selection)
        told = ", ".join(map(str, numbers))
        steps = counted(deepest, "supervision step")
        right[0].set_title(f"{steps}, by what chooses (points: {told} attempts)", fontsize=9, color=INK)
        right[0].legend(fontsize=8, frameon=False, title="chosen by", title_fontsize=8)
    around = max(1.25, span**0.1)
    for axis in (left, *right):
        axis.set_xlim(min(flops) / around, max(flops) * around)
    low, high = left.get_ylim()
    left.set_ylim(max(low, 0.05 * (low - high)), min(high, 1 + 0.05 * (high - low)))  # no share is beyond 0 and 1
    left.set_ylabel("solved exactly", fontsize=9, color=INK)
    save_figure(figure, path)


def _dress(axis: "Axes", span: float) -> None:
    """Scales, ticks and grid; span: the quotient of the largest and the smallest number of operations."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, PercentFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 3) if span > 10 else (1, 2, 3, 5, 7), numticks=8))
    axis.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.yaxis.set_major_formatter(PercentFormatter(1))  # with as many decimals as tell the ticks apart
    axis.tick_params(labelsize=8)
    axis.margins(y=0.12)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)


def _choices(axis: "Axes", rows: Sequence[Row], selection: str) -> None:
    """A line for each way to choose among the attempts, at one number of supervision steps."""
    rows = sorted(rows, key=lambda row: row.attempts)
    names = {row.selection for row in rows if row.attempts > 1}
    for name in [name for name in _STYLES if name in names]:
        _line(
            axis, [row for row in rows if row.selection in (name, "only")], name, _STYLES[name], heavy=name == selection
        )
    # What any choice costs that does not stop at the first to halt.
    oracle = {row.attempts: row for row in rows if row.selection != "first"}.values()
    axis.plot(
        [row.flops for row in oracle], [row.oracle.value for row in oracle],
        color=_ORACLE, linestyle=":", linewidth=1.4, marker="_", markersize=9, label="oracle", zorder=1,
    )  # fmt: skip


def _line(axis: "Axes", rows: Sequence[Row], name: str, look: tuple[str, str, float], heavy: bool) -> None:
    colour, marker, size = look
    flops, values = [row.flops for row in rows], [row.exact.value for row in rows]
    axis.plot(
        flops, values, color=colour, marker=marker, markersize=size, label=name, linewidth=2.0 if heavy else 1.0,
        markerfacecolor=colour if heavy else "white", zorder=3 if heavy else 2,
    )  # fmt: skip
    if heavy:
        low, high = [row.exact.low for row in rows], [row.exact.high for row in rows]
        axis.fill_between(flops, low, high, color=colour, alpha=0.12, linewidth=0, zorder=0)
        axis.vlines(flops, low, high, color=colour, alpha=0.5, linewidth=1.0, zorder=0)


def _name_steps(axis: "Axes", rows: Sequence[Row]) -> None:
    """Writes the supervision steps beside each point; together where early halting has put points in one place."""
    places: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.supervision_steps):
        places.setdefault((f"{row.flops:.2g}", row.exact.value), []).append(row)
    for here in places.values():
        steps = [str(row.supervision_steps) for row in here]
        axis.annotate(
            ", ".join(steps) if len(steps) < 4 else f"{steps[0]} to {steps[-1]}",
            (here[0].flops, here[0].exact.value), textcoords="offset points", xytext=(-4, 5), ha="right", fontsize=8,
            color=INK,
        )  # fmt: skip
