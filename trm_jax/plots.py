"""Curves of figures, as PNG files. Needs matplotlib (extra `viz`)."""

from collections.abc import Sequence
from pathlib import Path

from trm_jax.evaluate import Row
from trm_jax.pictures import new_figure, save_figure

_COLOURS = {
    "only": "#222222",
    "first": "#1a7f37",
    "q": "#0969da",
    "change": "#8250df",
    "vote": "#bf8700",
    "rules": "#cf222e",
}


def draw_effort(path: Path, rows: Sequence[Row]) -> None:
    """Exact accuracy against operations a puzzle, a line for each way to choose among attempts.

    Args:
      path: the PNG file to write.
      rows: of a report's table; points along a line differ in attempts, panels in supervision steps.
    """
    depths = sorted({row.supervision_steps for row in rows})
    several = any(row.attempts > 1 for row in rows)
    figure = new_figure((4.2 * (len(depths) if several else 1) + 0.6, 3.6))
    if not several:
        axis = figure.subplots()
        _line(axis, rows, "only", [str(row.supervision_steps) for row in rows])
        axis.set_title("numbers: supervision steps", fontsize=10)
        axes = [axis]
    else:
        axes = list(figure.subplots(1, len(depths), sharey=True, squeeze=False).ravel())
        for axis, depth in zip(axes, depths, strict=True):
            here = [row for row in rows if row.supervision_steps == depth]
            for name in dict.fromkeys(row.selection for row in here if row.attempts > 1):
                line = [row for row in here if row.selection in (name, "only")]
                _line(axis, line, name, None)
            oracle = sorted({row.attempts: row for row in here}.items())
            axis.plot(
                [row.flops for _, row in oracle], [row.oracle.value for _, row in oracle],
                color="#8c959f", linestyle=":", label="oracle",
            )  # fmt: skip
            steps = "step" if depth == 1 else "steps"
            axis.set_title(f"{depth} supervision {steps}", fontsize=10)
        axes[0].legend(fontsize=8, frameon=False, title="chosen by", title_fontsize=8)
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xlabel("FLOP a puzzle", fontsize=9)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes[0].set_ylabel("solved exactly", fontsize=9)
    save_figure(figure, path)


def _line(axis, rows: Sequence[Row], name: str, labels: Sequence[str] | None) -> None:  # type: ignore[no-untyped-def]
    rows = sorted(rows, key=lambda row: row.flops)
    flops, values = [row.flops for row in rows], [row.exact.value for row in rows]
    colour = _COLOURS[name]
    axis.plot(flops, values, color=colour, marker="o", markersize=4, linewidth=1.4, label=name)
    axis.fill_between(
        flops, [row.exact.low for row in rows], [row.exact.high for row in rows], color=colour, alpha=0.10, linewidth=0
    )
    for label, x, y in zip(labels or (), flops, values, strict=False):
        axis.annotate(label, (x, y), textcoords="offset points", xytext=(0, 6), ha="center", fontsize=8)
