"""Pictures of a run, as PNG files: how an answer forms, and how training went. Needs matplotlib (extra `viz`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_jax.errors import DataError
from trm_jax.puzzles.kind import Kind
from trm_jax.solve import Thought, Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _CHANGED, _WRONG, _GIVEN = "#222222", "#1a7f37", "#cf222e", "#e8ebef"
_WALL, _PATH, _CHANGED_PATH = "#30363d", "#8ab8ee", "#7fce93"
# Grids in a row of the filmstrip; more would be too small to read on a page.
_ACROSS = 5


def draw_thoughts(path: Path, kind: Kind, question: Tokens, thoughts: Sequence[Thought], most: int = 8) -> None:
    """A filmstrip: the question, then the answer after each supervision step.

    Clues have a grey ground; cells that changed since the step before are green. A maze's path is blue.

    Args:
      path: the PNG file to write.
      kind: how cells are written, and where boxes end.
      question: tokens [cells].
      thoughts: one for each step; with more than `most`, the first ones and the last are drawn.
    """
    shown = list(enumerate(thoughts, start=1))
    if len(shown) > most:
        shown = [*shown[: most - 1], shown[-1]]
    side = min(3.6, max(1.8, 0.24 * kind.shape[0]))
    across = min(_ACROSS, len(shown) + 1)
    down = -(-(len(shown) + 1) // across)
    figure = _figure((side * across + 0.4, (side + 0.7) * down))
    axes = figure.subplots(down, across, squeeze=False).ravel()
    nothing = np.zeros(len(question), np.bool_)
    _draw_grid(axes[0], kind, question, question, nothing, side)
    axes[0].set_title("question", fontsize=10, color=_INK)
    for axis, (step, thought) in zip(axes[1:], shown, strict=False):
        _draw_grid(axis, kind, question, thought.tokens, thought.changed, side)
        sure = 1 / (1 + np.exp(-thought.q_halt))
        axis.set_title(f"step {step}\n{thought.changed.sum()} changed, {sure:.0%} sure", fontsize=10, color=_INK)
        verdict, colour = ("keeps the rules", _CHANGED) if thought.satisfied else ("breaks the rules", _WRONG)
        axis.set_xlabel(verdict, fontsize=10, color=colour)
    for axis in axes[len(shown) + 1 :]:
        axis.set_axis_off()
    _save(figure, path)


def draw_training(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Loss and exact accuracy against optimiser steps, from the rows of metrics.jsonl."""
    figure = _figure((7.5, 3.2))
    left, right = figure.subplots(1, 2)
    for axis, title, lines in (
        (left, "loss per puzzle", {"train/loss": ("total", _INK), "train/lm_loss": ("tokens", "#0969da")}),
        (
            right,
            "puzzles solved exactly",
            {
                "train/exact_accuracy": ("training, as halted", _INK),
                "eval/exact_accuracy": ("held out, averaged", _CHANGED),
            },
        ),
    ):
        for key, (label, colour) in lines.items():
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                marker = "o" if key.startswith("eval") or len(points) == 1 else None
                axis.plot(
                    *zip(*points, strict=True), label=label, color=colour, marker=marker, markersize=4, linewidth=1.4
                )
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("optimiser step", fontsize=9)
        axis.set_xlim(left=0)
        axis.locator_params(axis="x", integer=True)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.lines:
            axis.legend(fontsize=9, frameon=False)
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1.02)
    right.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    _save(figure, path)


def _draw_grid(
    axis: "Axes", kind: Kind, question: Tokens, tokens: Tokens, changed: np.ndarray[Any, Any], side: float
) -> None:
    """Draws one grid into an axis that is about `side` inches wide."""
    rows, columns = kind.shape
    axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", xticks=[], yticks=[])
    glyphs, given = kind.glyphs(tokens), kind.given(question)
    size = min(13.0, 0.7 * 72 * side / rows)
    for cell, glyph in enumerate(glyphs):
        r, c = divmod(cell, columns)
        path = _CHANGED_PATH if changed[cell] else _PATH
        ground = _WALL if glyph == "#" else path if glyph == "o" else _GIVEN if given[cell] else None
        if ground:
            axis.add_patch(_rectangle((c, r), ground))
        if glyph not in "#. o":
            colour = _CHANGED if changed[cell] else _INK
            axis.text(
                c + 0.5, r + 0.52, glyph, ha="center", va="center", fontsize=size, color=colour,
                fontweight="bold" if changed[cell] else "normal",
            )  # fmt: skip
    box_rows, box_cols = kind.boxes or (rows, columns)
    if kind.boxes:
        for r in range(rows + 1):
            axis.axhline(r, color=_INK, linewidth=1.4 if r % box_rows == 0 else 0.3)
        for c in range(columns + 1):
            axis.axvline(c, color=_INK, linewidth=1.4 if c % box_cols == 0 else 0.3)


def _rectangle(corner: tuple[int, int], colour: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, 1, 1, facecolor=colour, edgecolor="none")


def _figure(size: tuple[float, float]) -> "Figure":
    """A figure that needs no screen and leaves matplotlib's global state alone."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError('pictures need matplotlib: pip install "trm_jax[viz]"') from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", path: Path) -> None:
    try:
        figure.savefig(path, dpi=150, format="png", bbox_inches="tight", pad_inches=0.1)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
