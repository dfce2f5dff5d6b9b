"""Risk-coverage curves and reliability diagrams of confidences, as PNG files. Needs matplotlib (extra `viz`)."""

from pathlib import Path

from trm_jax.display.canvas import INK, literal, new_figure, save_figure
from trm_jax.inference.reliability import ReliabilityReport

# Of each confidence its colour; "all" is drawn last and heavier.
_COLOURS = {
    "q itself": "#6e7781",
    "q": "#0969da",
    "rest": "#8250df",
    "margin": "#bf8700",
    "agreement": "#1a7f37",
    "all": INK,
}


def draw_reliability(path: Path, report: ReliabilityReport, title: str = "") -> None:
    """On the left the share of wrong answers among those that are most confident, on the right how often answers of a
    confidence are right.

    Args:
      path: the PNG file to write.
      report: of one calibration.
      title: what was evaluated on what.
    """
    figure = new_figure((9.2, 4.0 + (0.2 if title else 0)))
    if title:
        figure.suptitle(literal(title), fontsize=9, color=INK)
    left, right = figure.subplots(1, 2)
    for row in report.signals:
        heavy = 2.0 if row.name == "all" else 1.1
        left.plot(row.coverage, row.risk, color=_COLOURS[row.name], linewidth=heavy, label=row.name)
        bins = [(mean, accuracy) for _, mean, accuracy in row.calibration.bins if mean is not None]
        means, accuracies = zip(*bins, strict=True)
        right.plot(
            means, accuracies, color=_COLOURS[row.name], linewidth=heavy, marker="o", markersize=3, label=row.name
        )
    left.axhline(1 - report.right.value, color=INK, linestyle=":", linewidth=1)
    left.set_xlabel("answered, the surest first", fontsize=9, color=INK)
    left.set_ylabel("wrong, of those", fontsize=9, color=INK)
    left.set_title("risk and coverage (dotted: all answers)", fontsize=9, color=INK)
    if report.asked is not None and report.asked.wrong is not None and report.confidence is not None:
        left.axhline(1 - report.confidence, color="#cf222e", linestyle="--", linewidth=1)
        left.plot([report.asked.answered.value], [report.asked.wrong.value], color="#cf222e", marker="D", markersize=5)
    right.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1)
    right.set_xlabel("confidence", fontsize=9, color=INK)
    right.set_ylabel("right", fontsize=9, color=INK)
    right.set_title("reliability (dotted: as it should be)", fontsize=9, color=INK)
    for axis in (left, right):
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    left.set_xlim(0, 1)
    left.set_ylim(bottom=0)
    left.legend(fontsize=8, frameon=False)
    save_figure(figure, path)
