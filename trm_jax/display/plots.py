"""Curves of figures, as PNG files. Needs matplotlib (extra `viz`)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trm_jax.display.canvas import INK, new_figure, save_figure
from trm_jax.inference.evaluate import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Of each way to choose among attempts: colour, marker, and the marker's size, so that lines that meet are all seen.
_STYLES = {
    "only": (INK, "o", 5.0),
    "first": ("#1a7f37", "s", 8.5),
    "q": ("#0969da", "o", 7.0),
    "change": ("#8250df", "v", 6.0),
    "vote": ("#bf8700", "D", 4.5),
    "rules": ("#cf222e", "o", 3.5),
}
_ORACLE = "#6e7781"
# Panels beside one another, by how many there are; more than three would be too wide for a page.
_ACROSS = {1: 1, 2: 2, 4: 2}


def draw_effort(path: Path, rows: Sequence[Row], selection: str = "only") -> None:
    """Exact accuracy against operations a puzzle, with 95 % intervals.

    Of single attempts one line, whose points differ in supervision steps. Of several a panel for each number of steps,
    with a line for each way to choose among the attempts, whose points differ in the number of these.

    Args:
      path: the PNG file to write.
      rows: of a report's table, at least one.
      selection: the way to choose whose line is heavier and has intervals; the others' are about as wide.
    """
    depths = sorted({row.supervision_steps for row in rows})
    several = any(row.attempts > 1 for row in rows)
    columns = _ACROSS.get(len(depths), 3) if several else 1
    lines = -(-len(depths) // columns) if several else 1
    figure = new_figure((3.3 * columns + 1.6 if several else 5.0, 2.9 * lines + 0.5))
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).ravel()
    flops = [row.flops for row in rows]
    span = max(flops) / min(flops)
    for axis in grid:
        _dress(axis, span)
    if several:
        for axis, depth in zip(grid, depths, strict=False):
            _panel(axis, [row for row in rows if row.supervision_steps == depth], selection)
            axis.set_title(f"{depth} supervision step{'s' * (depth > 1)}", fontsize=10, color=INK)
        for axis in grid[len(depths) :]:
            axis.remove()
        # Above those that were removed there are panels that lost their numbers to them.
        for axis in grid[max(0, len(depths) - columns) : len(depths)]:
            axis.tick_params(labelbottom=True)
        numbers = ", ".join(str(number) for number in sorted({row.attempts for row in rows}))
        figure.supxlabel(f"FLOP a puzzle (points: {numbers} attempts)", fontsize=9, color=INK)
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside right upper", fontsize=9, frameon=False, title="chosen by", title_fontsize=9
        )
    else:
        _line(grid[0], sorted(rows, key=lambda row: row.supervision_steps), "only", heavy=True)
        _name_steps(grid[0], rows)
        grid[0].set_xlabel("FLOP a puzzle (numbers: supervision steps)", fontsize=9, color=INK)
    around = max(1.25, span**0.1)
    grid[0].set_xlim(min(flops) / around, max(flops) * around)
    low, high = grid[0].get_ylim()
    grid[0].set_ylim(max(low, 0.05 * (low - high)), min(high, 1 + 0.05 * (high - low)))  # no share is beyond 0 and 1
    figure.supylabel("solved exactly", fontsize=9, color=INK)
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


def _panel(axis: "Axes", rows: Sequence[Row], selection: str) -> None:
    """Lines of one number of supervision steps."""
    rows = sorted(rows, key=lambda row: row.attempts)
    names = {row.selection for row in rows if row.attempts > 1}
    for name in [name for name in _STYLES if name in names]:
        _line(axis, [row for row in rows if row.selection in (name, "only")], name, heavy=name == selection)
    # What any choice costs that does not stop at the first to halt.
    oracle = {row.attempts: row for row in rows if row.selection != "first"}.values()
    axis.plot(
        [row.flops for row in oracle], [row.oracle.value for row in oracle],
        color=_ORACLE, linestyle=":", linewidth=1.4, marker="_", markersize=9, label="oracle", zorder=1,
    )  # fmt: skip


def _line(axis: "Axes", rows: Sequence[Row], name: str, heavy: bool) -> None:
    colour, marker, size = _STYLES[name]
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
