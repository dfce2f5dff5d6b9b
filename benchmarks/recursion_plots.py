"""Pictures and goal figures of benchmarks/recursion_memory.py, from its table. Needs matplotlib (extra `viz`).

Rows of other platforms and kinds never meet in one picture; where a point was measured several times, the last counts.
"""

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trm_jax.display.canvas import INK, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = dict[str, str]

# Table 3 of the paper: n and T, and what it found there.
CELLS = {
    (2, 1): "63.2 %", (4, 2): "81.9 %", (6, 3): "87.4 %", (8, 4): "84.2 %", (12, 3): "out of memory",
    (6, 6): "85.8 %", (12, 6): "out of memory",
}  # fmt: skip
CARDS = (16, 40, 80)  # GB of device memory, 10^9 bytes
_DEPTHS = (384, 1024, 10_000)  # of the table


class Goal(NamedTuple):
    """A figure and its limit.

    words: what it is.
    where: values of columns that single out its rows.
    column, unit: the figure is the column's value divided by the unit.
    limit: it is to be at most so much.
    """

    words: str
    where: dict[str, str]
    column: str
    unit: float
    limit: float


def _time_goal(policy: str, limit: float) -> Goal:
    name, _, number = policy.partition(" ")
    where = {
        "kind": "time", "platform": "cpu", "variant": "mlp", "n": "6", "T": "3", "width": "512", "policy": name,
        "levels": number if name == "nested" else "", "repetitions": number if name == "binomial" else "",
    }  # fmt: skip
    return Goal(f"Time of {_words(policy)} against none, full width, n = 6, CPU", where, "ratio_to_none", 1.0, limit)


def _memory_goal(n: int, repetitions: int, slices: int, column: str, unit: float, limit: float) -> Goal:
    where = _PAPER | {
        "n": str(n), "T": "3", "policy": "binomial", "repetitions": str(repetitions), "slices": str(slices),
    }  # fmt: skip
    what = "MB a puzzle, peak" if column == "mb_a_puzzle" else "Temporary GB"
    return Goal(f"{what}: n = {n:,}, binomial, r = {repetitions}, {_pieces(slices)}", where, column, unit, limit)


# Columns of the compiled MLP at full size, which then differ in n, T, policy and slices alone.
_PAPER = {
    "kind": "compiled", "variant": "mlp", "grad_cycles": "1", "outer_policy": "none", "micro_batches": "1",
    "batch": "768", "dtype": "bfloat16", "width": "512",
}  # fmt: skip

# Of each policy: colour and line. Those of one family differ in the number that they take.
_STYLES = {
    "none": (INK, "-"),
    "dots": ("#bf8700", "-"),
    "step": ("#0969da", "-"),
    "offload": ("#8250df", "-"),
    "nested 2": ("#1a7f37", "-"),
    "nested 3": ("#1a7f37", "--"),
    "nested 4": ("#1a7f37", ":"),
    "binomial 2": ("#cf222e", "-"),
    "binomial 3": ("#cf222e", "--"),
    "binomial 4": ("#cf222e", ":"),
}
_LEFT = 0.7  # where the axis of depths begins, and its bars


def read(path: Path) -> list[Row]:
    """The rows of a table, every value as text."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def draw(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draws what the rows suffice for, each platform by itself; returns the files written."""
    written = []
    for platform in sorted({row["platform"] for row in rows}):
        here = _latest(row for row in rows if row["platform"] == platform)
        for name, draw_one in (("peak", draw_peak), ("deepest", draw_deepest), ("time", draw_time)):
            path = folder / f"recursion_{name}_{platform}.png"
            if draw_one(here, platform, path):
                written.append(path)
    return written


def draw_peak(rows: Sequence[Row], platform: str, path: Path) -> bool:
    """Peak memory of the full-size MLP against n, a line for each policy; False if there are no such rows."""
    panels = _panels(rows)
    if not panels:
        return False
    figure = new_figure((5.4 * len(panels) + 0.4, 4.9))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (slices, curves) in zip(axes, panels.items(), strict=True):
        _dress(axis, _pieces(slices))
        axis.set_yscale("log")
        axis.set_ylim(0.9, 3000)
        axis.set_xlim(0.4, 130_000)
        axis.set_xticks([1, 10, 100, 1000, 10_000])
        for size in CARDS:
            axis.axhline(size, color=INK, linewidth=0.6, alpha=0.45, linestyle=(0, (1, 2)), zorder=0)
            axis.text(0.43, size * 1.05, f"{size} GB", fontsize=7, color=INK, alpha=0.7, va="bottom")
        _lines(axis, {name: [(n, peak / 1e9) for n, peak in curve] for name, curve in curves.items()})
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axis.set_xlabel("latent steps n", fontsize=9, color=INK)
    axes[0].set_ylabel("peak memory of a training step, GB", fontsize=9, color=INK)
    _title(figure, f"MLP, 768 puzzles, T = 3, bfloat16: XLA's buffer assignment ({platform})")
    save_figure(figure, path)
    return True


def draw_deepest(rows: Sequence[Row], platform: str, path: Path) -> bool:
    """The largest n that fits, by policy and device memory; False if there are no such rows."""
    panels = _panels(rows)
    if not panels:
        return False
    heights = [len(curves) for curves in panels.values()]
    figure = new_figure((8.6, 0.27 * sum(heights) + 1.7))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    columns = list(zip(CARDS, ("#0a3069", "#218bff", "#b6e3ff"), (1.1, 1.21, 1.32), strict=True))
    for axis, (slices, curves) in zip(axes, panels.items(), strict=True):
        _dress(axis, _pieces(slices))
        words = axis.get_yaxis_transform()
        for row, curve in enumerate(curves.values()):
            # The longest first, so that each is seen beyond the next smaller card's.
            for size, shade, place in reversed(columns):
                depth, more = deepest(curve, size * 1e9)
                if depth:
                    axis.barh(row, depth - _LEFT, left=_LEFT, height=0.66, color=shade)
                figures = f"\u2265 {depth:,}" if more else f"{depth:,}" if depth else f"< {curve[0][0]}"
                axis.text(place, row, figures, transform=words, ha="right", va="center", fontsize=8, color=INK)
        axis.set_yticks(range(len(curves)), labels=[_words(name) for name in curves], fontsize=8)
        axis.set_ylim(len(curves) - 0.4, -0.6)
        axis.set_xlim(_LEFT, 13_000)
        axis.grid(axis="y", alpha=0)
        for size, shade, place in columns:
            axis.text(
                place, -0.9, f"{size} GB", transform=words, ha="right", va="bottom", fontsize=8,
                color="white" if size < CARDS[-1] else INK,
                bbox={"facecolor": shade, "edgecolor": "none", "pad": 2},
            )  # fmt: skip
    axes[-1].set_xlabel("deepest recursion that fits, latent steps n (log-log between measured depths)", fontsize=9)
    _title(figure, f"MLP, 768 puzzles, T = 3, bfloat16: how deep fits by XLA's buffer assignment ({platform})")
    save_figure(figure, path)
    return True


def draw_time(rows: Sequence[Row], platform: str, path: Path) -> bool:
    """Time of a step against that under "none", by n; False if there are no such rows."""
    found = [row for row in rows if row["kind"] == "time" and row["ratio_to_none"]]
    if not found:
        return False
    # The size that was timed at most depths; others in other pictures would be points.
    sizes = defaultdict(set)
    for row in found:
        sizes[_size(row)].add(row["n"])
    size = max(sizes, key=lambda size: len(sizes[size]))
    curves = _curves((row for row in found if _size(row) == size), lambda row: float(row["ratio_to_none"]))
    figure = new_figure((7.4, 4.4))
    axis = figure.subplots()
    _dress(axis, "")
    depths = [n for curve in curves.values() for n, _ in curve]
    ratios = [ratio for curve in curves.values() for _, ratio in curve]
    around = 0.1 * (max(ratios) - min(ratios)) + 0.01
    axis.set_xlim(min(depths) * 0.9, max(depths) * (max(depths) / min(depths)) ** 0.25 * 1.1)
    axis.set_ylim(min(ratios) - around, max(ratios) + around)
    _lines(axis, curves)
    ticks = sorted(set(depths))
    axis.set_xticks(ticks, labels=[f"{n:,}" for n in ticks])
    axis.set_xlabel("latent steps n", fontsize=9, color=INK)
    axis.set_ylabel("time of a training step, as a multiple of none's", fontsize=9, color=INK)
    variant, width, batch, dtype = size
    _title(figure, f"{_MIXERS[variant]}, width {width}, {batch} puzzles, T = 3, {dtype} ({platform})")
    save_figure(figure, path)
    return True


def deepest(curve: Sequence[tuple[int, float]], size: float) -> tuple[int, bool]:
    """The largest n whose peak is within `size` bytes, and whether a deeper one was not measured.

    Between two measured depths the peak is interpolated on logarithmic axes. Every policy's peak is a constant and a
    power of n, which is convex there: no n is promised that does not fit. 0: not even the least depth measured does.
    """
    fitting = [i for i, (_, peak) in enumerate(curve) if peak <= size]
    if not fitting:
        return 0, False
    (n, peak), deeper = curve[fitting[-1]], curve[fitting[-1] + 1 :]
    if not deeper:
        return n, True
    next_n, next_peak = deeper[0]
    share = math.log(size / peak) / math.log(next_peak / peak)
    return min(int(n * (next_n / n) ** share + 1e-9), next_n - 1), False


def goal_table(rows: Sequence[Row]) -> str:
    """The figures that the study is for, by platform; where there is a goal, it and the verdict stand beside them."""
    lines = []
    for platform in sorted({row["platform"] for row in rows}):
        here = _latest(row for row in rows if row["platform"] == platform)
        lines += [*_depth_lines(here, platform), *_cell_lines(here), *_measured_lines(here), *_goal_lines(here)]
        lines += [f"failed: {row['key']}: {row['failed']}" for row in here if row["failed"]]
    return "\n".join(lines)


def _depth_lines(rows: Sequence[Row], platform: str) -> list[str]:
    """Peak memory by policy at the depths of _DEPTHS, without and with slices."""
    panels = _panels(rows)
    if not panels:
        return []
    lines = [f"Peak GB by XLA's buffer assignment ({platform}): MLP, 768 puzzles, T = 3, bfloat16; and MB a puzzle"]
    columns = [(n, slices) for n in _DEPTHS for slices in panels]
    lines.append(" " * 18 + "".join(f"{f'n={n:,} /{slices}':>19}" for n, slices in columns))
    for name in _STYLES:
        found = [dict(panels[slices].get(name, [])).get(n) for n, slices in columns]
        if any(found):
            cells = [f"{_short(peak / 1e9)} ({_short(peak / 768e6)})" if peak else "-" for peak in found]
            lines.append(f"{_words(name):18}" + "".join(f"{cell:>19}" for cell in cells))
    return lines


def _short(value: float) -> str:
    return f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def _cell_lines(rows: Sequence[Row]) -> list[str]:
    """Table 3 of the paper, and what its cells take."""
    lines = []
    for (n, cycles), paper in CELLS.items():
        peaks = {
            _name(row): float(row["peak_bytes"])
            for row in rows
            if _is_paper(row) and row["slices"] == "1" and (row["n"], row["T"]) == (str(n), str(cycles))
        }
        words = ", ".join(f"{name} {peaks[name] / 1e9:,.1f} GB" for name in ("none", "step") if name in peaks)
        if words:
            lines.append(f"Table 3, n = {n}, T = {cycles} (paper: {paper}): {words}")
    return lines


def _measured_lines(rows: Sequence[Row]) -> list[str]:
    shares = [
        float(row["measured_bytes"]) / float(row["peak_bytes"])
        for row in rows
        if row["kind"] == "run" and row["measured_bytes"]
    ]
    if not shares:
        return []
    spread = f"{min(shares):.2f} to {max(shares):.2f}"
    return [f"Memory taken in fact, as a share of XLA's buffer assignment: {spread} ({len(shares)} points)"]


def _goal_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for goal in GOALS:
        values = [
            float(row[goal.column]) / goal.unit
            for row in rows
            if row[goal.column] and all(row[name] == value for name, value in goal.where.items())
        ]
        for value in values:
            verdict = "met" if value <= goal.limit else "MISSED"
            lines.append(f"{goal.words}: {value:.3g}, goal <= {goal.limit:g}: {verdict}")
        if not values:
            lines.append(f"{goal.words}: not measured, goal <= {goal.limit:g}")
    return lines


_MIXERS = {"mlp": "MLP", "attention": "Attention"}


def _size(row: Row) -> tuple[str, str, str, str]:
    return row["variant"], row["width"], row["batch"], row["dtype"]


def _is_paper(row: Row) -> bool:
    """Whether a row is of the MLP at full size, compiled, and differs in n, T, policy and slices alone."""
    return bool(row["peak_bytes"]) and all(row[name] == value for name, value in _PAPER.items())


def _panels(rows: Sequence[Row]) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """For each number of slices, and each policy: (n, peak bytes) at T = 3."""
    found = [row for row in rows if _is_paper(row) and row["T"] == "3"]
    return {
        slices: _curves((row for row in found if row["slices"] == str(slices)), lambda row: float(row["peak_bytes"]))
        for slices in sorted({int(row["slices"]) for row in found})
    }


def _curves(rows: Iterable[Row], value: Callable[[Row], float]) -> dict[str, list[tuple[int, float]]]:
    """(n, value) by policy, shallowest first; the policies in the order of _STYLES."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        curves[_name(row)].append((int(row["n"]), value(row)))
    return {name: sorted(curves[name]) for name in _STYLES if name in curves}


def _latest(rows: Iterable[Row]) -> list[Row]:
    return list({row["key"]: row for row in rows}.values())


def _name(row: Row) -> str:
    return f"{row['policy']} {row['levels']}{row['repetitions']}".strip()


def _words(name: str) -> str:
    policy, _, number = name.partition(" ")
    return {"nested": f"nested, {number} levels", "binomial": f"binomial, r = {number}"}.get(policy, policy)


def _pieces(slices: int) -> str:
    return f"{slices} slices of the batch, one by one" if slices > 1 else "the batch in one piece"


GOALS = (
    _memory_goal(384, 3, 16, "temporary_bytes", 1e9, 4.0),
    _memory_goal(10_000, 4, 16, "temporary_bytes", 1e9, 5.0),
    _memory_goal(384, 3, 1, "temporary_bytes", 1e9, 13.0),
    _memory_goal(10_000, 3, 1, "temporary_bytes", 1e9, 16.0),
    _memory_goal(1_024, 4, 16, "mb_a_puzzle", 1.0, 4.0),
    _time_goal("step", 1.15),
    _time_goal("nested 2", 1.3),
    _time_goal("binomial 2", 1.3),
)


def _dress(axis: "Axes", title: str) -> None:
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.tick_params(labelsize=8)
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    if title:
        axis.set_title(title, fontsize=9, color=INK)


def _title(figure: "Figure", text: str) -> None:
    figure.suptitle(text, fontsize=10, color=INK)


def _lines(axis: "Axes", curves: dict[str, list[tuple[int, float]]]) -> None:
    """Draws the curves, and writes each one's name beside its last point within the limits, which must be set."""
    ends: dict[int, list[tuple[float, str]]] = defaultdict(list)
    low, high = axis.get_ylim()
    for name, curve in curves.items():
        colour, style = _STYLES[name]
        axis.plot(*zip(*curve, strict=True), color=colour, linestyle=style, marker="o", markersize=2.6, linewidth=1.4)
        n, value = [point for point in curve if low <= point[1] <= high][-1]
        ends[n].append((value, name))
    scale, back = (math.log, math.exp) if axis.get_yscale() == "log" else (float, float)
    left, right = axis.get_xlim()
    beside = (right / left) ** 0.025
    least = 0.042 * (scale(high) - scale(low))  # between two names, as high as a line of text
    for n, here in ends.items():
        here.sort()
        for (value, name), place in zip(here, _apart([scale(value) for value, _ in here], least), strict=True):
            colour = _STYLES[name][0]
            axis.annotate(
                _words(name), (n, value), xytext=(n * beside, back(place)), textcoords="data", fontsize=8, color=colour,
                va="center", bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.6},
                arrowprops={
                    "arrowstyle": "-", "color": colour, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkA": 0,
                    "shrinkB": 2,
                },
            )  # fmt: skip


def _apart(values: Sequence[float], least: float) -> list[float]:
    """The nearest places to ascending values that are at least so far apart: those too near spread about their mean."""
    clusters: list[list[float]] = []
    for value in values:
        clusters.append([value])
        while len(clusters) > 1 and _spread(clusters[-1], least)[0] - _spread(clusters[-2], least)[-1] < least:
            last = clusters.pop()
            clusters[-1] += last
    return [place for cluster in clusters for place in _spread(cluster, least)]


def _spread(values: Sequence[float], least: float) -> list[float]:
    middle = sum(values) / len(values)
    return [middle + (i - (len(values) - 1) / 2) * least for i in range(len(values))]
