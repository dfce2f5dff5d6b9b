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
# Of each number of attempts: a colour and a marker; more of them begin again.
_BY_ATTEMPTS = (INK, "#0969da", "#1a7f37", "#bf8700", "#cf222e", "#8250df", "#1b7c83", "#bc4c00")
_MARKERS = "osvDP^X*"
# Height of a line of text, in points.
_LETTERS = 9.0


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
    figure = new_figure((9.2 if several else 5.0, (3.9 if several else 3.4) + (0.2 if title else 0)))
    if title:
        figure.suptitle(literal("\n".join(wrap(title, 118 if several else 66))), fontsize=9, color=INK)
    left, *right = figure.subplots(1, 2 if several else 1, sharey=True, squeeze=False).ravel()
    flops = [row.flops for row in rows]
    span = max(flops) / min(flops)
    around = max(1.25, span**0.1)
    for axis in (left, *right):
        _dress(axis, span)
        axis.set_xlim(min(flops) / around, max(flops) * around)  # before there are points, one of which spans nothing
        axis.set_xlabel("FLOP a puzzle, log scale", fontsize=9, color=INK)
    named = []
    for i, number in enumerate(numbers):
        chosen = [row for row in rows if row.attempts == number and row.selection in (selection, "only")]
        chosen.sort(key=lambda row: row.supervision_steps)
        # Later ones are thinner, so that what lies below them is seen.
        thickness = max(1.0, 0.8 * (len(numbers) - i)) + 0.6
        colour = _BY_ATTEMPTS[i % len(_BY_ATTEMPTS)]
        look = colour, _MARKERS[i % len(_MARKERS)], 3.0 + 1.4 * thickness
        _line(left, chosen, str(number), look, thickness, heavy=True)
        named += [(row, text, colour) for row, text in _steps_named(chosen)]
    how = f", chosen by {selection}" if several else ""
    left.set_title(f"numbers: supervision steps{how}", fontsize=9, color=INK)
    if several:
        _legend(left, "attempts:")
        _choices(right[0], [row for row in rows if row.supervision_steps == deepest], selection)
        told = ", ".join(map(str, numbers))
        steps = counted(deepest, "supervision step")
        right[0].set_title(f"{steps}, by what chooses (points: {told} attempts)", fontsize=9, color=INK)
        _legend(right[0], "chosen by:")
    low, high = left.get_ylim()
    left.set_ylim(max(low, 0.05 * (low - high)), min(high, 1 + 0.05 * (high - low)))  # no share is beyond 0 and 1
    left.set_ylabel("solved exactly", fontsize=9, color=INK)
    _write_steps(left, named)
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


def _legend(axis: "Axes", head: str) -> None:
    """A legend in one line between the title and the axis, where it covers nothing."""
    from matplotlib.lines import Line2D

    lines = axis.get_legend_handles_labels()[0]
    axis.legend(
        handles=[Line2D([], [], linestyle="none", label=head), *lines], ncols=len(lines) + 1, loc="lower center",
        bbox_to_anchor=(0.5, 1.0), fontsize=8, frameon=False, handlelength=1.6, handletextpad=0.4, columnspacing=0.8,
        borderpad=0.0,
    )  # fmt: skip
    axis.set_title(axis.get_title(), fontsize=9, color=INK, pad=20)


def _choices(axis: "Axes", rows: Sequence[Row], selection: str) -> None:
    """A line for each way to choose among the attempts, at one number of supervision steps."""
    rows = sorted(rows, key=lambda row: row.attempts)
    names = {row.selection for row in rows if row.attempts > 1}
    for name in [name for name in _STYLES if name in names]:
        chosen, heavy = [row for row in rows if row.selection in (name, "only")], name == selection
        _line(axis, chosen, name, _STYLES[name], 2.0 if heavy else 1.0, heavy)
    # What any choice costs that does not stop at the first to halt.
    oracle = {row.attempts: row for row in rows if row.selection != "first"}.values()
    axis.plot(
        [row.flops for row in oracle], [row.oracle.value for row in oracle],
        color=_ORACLE, linestyle=":", linewidth=1.4, marker="_", markersize=14, label="oracle", zorder=1,
    )  # fmt: skip


def _line(
    axis: "Axes", rows: Sequence[Row], name: str, look: tuple[str, str, float], thickness: float, heavy: bool
) -> None:
    colour, marker, size = look
    flops, values = [row.flops for row in rows], [row.exact.value for row in rows]
    axis.plot(
        flops, values, color=colour, marker=marker, markersize=size, label=name, linewidth=thickness,
        markerfacecolor=colour if heavy else "white", zorder=3 if heavy else 2,
    )  # fmt: skip
    if heavy:
        low, high = [row.exact.low for row in rows], [row.exact.high for row in rows]
        axis.fill_between(flops, low, high, color=colour, alpha=0.12, linewidth=0, zorder=0)
        axis.vlines(flops, low, high, color=colour, alpha=0.5, linewidth=1.0, zorder=0)


def _steps_named(rows: Sequence[Row]) -> list[tuple[Row, str]]:
    """Points and their supervision steps; together where early halting has put points in one place."""
    places: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        places.setdefault((f"{row.flops:.2g}", row.exact.value), []).append(row)
    named = []
    for here in places.values():
        steps = [str(row.supervision_steps) for row in here]
        named.append((here[0], ", ".join(steps) if len(steps) < 4 else f"{steps[0]} to {steps[-1]}"))
    return named


def _write_steps(axis: "Axes", named: Sequence[tuple[Row, str, str]]) -> None:
    """Writes beside each point its text, in its colour; above one another where points of one cost lie close.

    The limits of the axis have to be set.
    """
    low, high = axis.get_ylim()
    height = axis.bbox.height * 72 / axis.get_figure(root=True).dpi  # type: ignore[union-attr]
    tops: dict[str, float] = {}
    for row, text, colour in sorted(named, key=lambda each: each[0].exact.value):
        at, column = (row.exact.value - low) / (high - low) * height, f"{row.flops:.2g}"
        base = max(at + 5, tops.get(column, -_LETTERS) + _LETTERS)
        tops[column] = base
        axis.annotate(
            text, (row.flops, row.exact.value), textcoords="offset points", xytext=(-5, base - at), ha="right",
            fontsize=8, color=colour,
        )  # fmt: skip
