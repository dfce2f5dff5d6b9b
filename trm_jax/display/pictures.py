"""Pictures of a run: how an answer forms (PNG, animated GIF) and how training went (PNG). Needs the extra `viz`."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.display.boards import shared_window
from trm_jax.display.canvas import (
    CHANGE,
    CHANGED,
    CHANGED_PATH,
    FAINT,
    GIVEN,
    GOAL,
    INK,
    PATH,
    START,
    SURE,
    WALL,
    WRONG,
    WRONG_CELL,
    Panel,
    Sheet,
    draw_board,
    draw_curve,
    draw_panel,
    legend_of,
    literal,
    new_figure,
    panel_legend,
    rgb,
    save_figure,
)
from trm_jax.display.show import changed_cells, latents_shown, marks, outcome, verdict
from trm_jax.errors import DataError
from trm_jax.inference.thoughts import Thought
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

__all__ = ["animate_thoughts", "draw_thoughts", "draw_training", "new_figure", "save_figure"]

# Grids in a row of the filmstrip; more would be too small to read on a page.
_ACROSS = 5
_LATENT_LEGEND = [(CHANGED, "of z: other than what y says")]
# Milliseconds for which a frame of the animation stays: the question, a thought, the end.
_FIRST, _EACH, _LAST = 1_000, 200, 3_000


def draw_thoughts(
    path: Path,
    kind: Kind,
    question: Tokens,
    thoughts: Sequence[Thought],
    title: str = "",
    label: Tokens | None = None,
    most: int = 8,
    panels: Sequence[Panel] = (),
) -> None:
    """A filmstrip: the question, the answer after each supervision step, and how sure the model was.

    Clues have a grey ground; cells that changed since the thought before are green, ARC's bear a dot, and those that
    are wrong are red. A maze's path is blue. Thoughts by several cycles become a row for each supervision step and a
    column for each cycle. Thoughts with latents become a row each, those that say what the one before says left out:
    what z would say after each latent step, green where that is not what y says at the end of the row.

    Args:
      path: the PNG file to write.
      kind: how cells are written, and where boxes end.
      question: tokens [cells].
      title: stands above, such as where the model comes from; how it ended follows.
      label: the known answer [cells], 0 where it is unknown, by which that is told where there are no rules; it also
        tells of a puzzle of the user's own which clues are to stay.
      thoughts: by steps or by cycles; of more than `most` steps, the first ones and the last are drawn. The curves are
        of all.
      panels: more boards about the cells, at the end.
    """
    numbers = sorted({thought.step for thought in thoughts})
    if len(numbers) > most:
        numbers = [*numbers[: most - 1], numbers[-1]]
    shown = [thought for thought in thoughts if thought.step in numbers]
    if latents := latents_shown(shown):
        shown = [shown[0], *(b for a, b in pairwise(shown) if b is shown[-1] or not _alike(a, b))]
    with_curves = len(thoughts) > 1
    cycles = max((thought.cycle for thought in shown), default=0)
    if cycles > 1 or latents:
        # The curves stand beside the question, and each thought or step has a row.
        columns = max(2, 1 + len(latents) if latents else cycles)
        rows = 1 + (len(shown) if latents else len(numbers))
        places = [
            (1 + i, len(latents)) if latents else (1 + numbers.index(thought.step), thought.cycle - 1)
            for i, thought in enumerate(shown)
        ]
        curves_at = (0, 1)
        panels_at = [(rows + i // columns, i % columns) for i in range(len(panels))]
        rows += -(-len(panels) // columns)
    else:
        boards = 1 + len(shown) + with_curves + len(panels)
        columns = boards if boards <= _ACROSS + 1 else _ACROSS
        rows = -(-boards // columns)
        places = [divmod(i, columns) for i in range(1, 1 + len(shown))]
        curves_at = divmod(len(shown) + 1, columns)
        panels_at = [divmod(i, columns) for i in range(boards - len(panels), boards)]

    part = shared_window(kind, [question, *(thought.tokens for thought in shown)])
    longest = max(part.rows, part.columns)
    unit = max(1, min(540, max(270, 36 * longest)) // longest)
    # A flat board leaves little room for curves.
    foot = max(36, 270 - part.rows * unit) if with_curves else 36
    legend = [*legend_of(kind, label), *(_LATENT_LEGEND if latents else ()), *panel_legend(panels)]
    sheet = Sheet(
        part, rows, columns, unit=unit, width=270, head=56, foot=foot, gap=36, margin=24, dpi=150,
        title=_title(title, kind, thoughts, label), legend=legend,
    )  # fmt: skip
    axis = sheet.board_axes(0, 0)
    draw_board(axis, kind, part, question, question, np.zeros(len(question), np.bool_))
    axis.set_title("question", fontsize=10, color=INK)
    for thought, (row, column) in zip(shown, places, strict=True):
        when = f"step {thought.step}" + (f", cycle {thought.cycle}" if cycles > 1 else "")
        for left, i in enumerate(latents):
            assert thought.latents is not None
            axis, said = sheet.board_axes(row, left), thought.latents[i]
            draw_board(axis, kind, part, question, said, said != thought.tokens)
            axis.set_title(f"{when}\nz, latent step {i + 1}", fontsize=10, color=INK)
        axis = sheet.board_axes(row, column)
        draw_board(axis, kind, part, question, thought.tokens, *marks(kind, question, thought, label))
        count = changed_cells(kind, thought).split()[0]
        head = f"{'y, ' if latents else ''}{count} changed, {thought.sure:.0%} sure"
        axis.set_title(f"{when}\n{head}", fontsize=10, color=INK)
        axis.set_xlabel(verdict(thought.satisfied), fontsize=10, color=CHANGED if thought.satisfied else WRONG)
    for panel, at in zip(panels, panels_at, strict=True):
        draw_panel(sheet.board_axes(*at), kind, part, panel)
    if with_curves:
        left, top = sheet.corner(*curves_at)
        # Room for the numbers at the left and below, and for the words above each curve.
        right = sheet.corner(0, curves_at[1] if panels else columns - 1)[0] + sheet.panel[0]
        width, height = right - left - 70, (sheet.panel[1] - 190) // 2
        for i, name in enumerate(("sure", "change")):
            axis = sheet.axes(left + 60, top + 56 + i * (height + 84), width, height)
            draw_curve(axis, thoughts, name, len(thoughts))
    save_figure(sheet.figure, path)


def _alike(first: Thought, second: Thought) -> bool:
    """Whether two thoughts say the same, in z and in y."""
    assert first.latents is not None
    assert second.latents is not None
    return np.array_equal(first.tokens, second.tokens) and np.array_equal(first.latents, second.latents)


def _title(title: str, kind: Kind, thoughts: Sequence[Thought], label: Tokens | None) -> str:
    """The title with how it ended below."""
    return "\n".join(filter(None, [title, outcome(kind, thoughts, label)]))


def animate_thoughts(
    path: Path,
    kind: Kind,
    question: Tokens,
    thoughts: Sequence[Thought],
    title: str = "",
    label: Tokens | None = None,
) -> None:
    """An animation without end: the question, then a frame for each thought, of which the last one stays.

    Of thoughts with latents, z stands beside y and has a frame for each latent step, before y takes the next.

    Args:
      path: the GIF file to write.
      kind, question, thoughts, title, label: as in `draw_thoughts`.
    """
    from PIL import Image

    palette = Image.new("P", (1, 1))
    palette.putpalette(_palette(kind).tobytes())
    images = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE)
        for frame in _frames(kind, question, thoughts, title, label)
    )
    durations = [_FIRST, *[_EACH] * (1 + len(latents_shown(thoughts))) * len(thoughts)]
    durations[-1] = _LAST
    first = next(images)
    try:
        first.save(path, format="GIF", save_all=True, append_images=images, duration=durations, loop=0)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _frames(
    kind: Kind, question: Tokens, thoughts: Sequence[Thought], title: str, label: Tokens | None
) -> Iterator[NDArray[np.uint8]]:
    """The frames of the animation, [height, width, 3]."""
    part = shared_window(kind, [question, *(thought.tokens for thought in thoughts)])
    unit = max(1, min(64, 396 // max(part.rows, part.columns)))
    foot = 118 if len(thoughts) > 1 else 0
    shown_latents, legend = latents_shown(thoughts), legend_of(kind, label)
    latents = bool(shown_latents)
    sheet = Sheet(
        part, 1, 1 + latents, unit=unit, width=396, head=48, foot=foot, gap=28 * latents, margin=14, dpi=100,
        title=_title(title, kind, thoughts, label), legend=[*legend, *_LATENT_LEGEND] if latents else legend,
    )  # fmt: skip
    board = sheet.board_axes(0, 0)
    draw_board(board, kind, part, question, question, np.zeros(len(question), np.bool_))
    (left, top), (across, down), (width, _) = sheet.corner(0, 0), sheet.size, sheet.panel

    def words(x: int, y: int, text: str, **style: Any) -> Any:
        return sheet.figure.text(x / across, 1 - y / down, text, va="top", **style)

    def drawn() -> NDArray[np.uint8]:
        sheet.figure.canvas.draw()
        return np.array(sheet.figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]

    head = words(left, top, "question", fontsize=11, color=INK, fontweight="bold")
    changed = words(left, top + 24, "", fontsize=9, color=INK)
    judged = words(left + width, top + 24, "", fontsize=9, ha="right")
    if latents:
        latent_board = sheet.board_axes(0, 1)
        latent_board.set_axis_off()
        latent_head = words(sheet.corner(0, 1)[0], top + 24, "", fontsize=9, color=INK)
    above = sheet.foot_of(0, 0)
    curves = {}
    if foot:
        curve = (width - 90) // 2
        for name, x in {"sure": left + 30, "change": left + width - curve}.items():
            curves[name] = sheet.axes(x, above - 76, curve, 50)
            draw_curve(curves[name], thoughts, name, 0)
    yield drawn()
    shown = question
    for i, thought in enumerate(thoughts, start=1):
        head.set_text(f"supervision step {thought.step}" + (f", cycle {thought.cycle}" if thought.cycle else ""))
        for step in shown_latents:
            assert thought.latents is not None
            said = thought.latents[step]
            latent_board.set_axis_on()
            draw_board(latent_board, kind, part, question, said, said != shown)
            latent_head.set_text(f"z, latent step {step + 1}")
            yield drawn()
        draw_board(board, kind, part, question, thought.tokens, *marks(kind, question, thought, label))
        shown = thought.tokens
        changed.set_text(("y: " if latents else "") + changed_cells(kind, thought))
        judged.set(text=verdict(thought.satisfied), color=CHANGED if thought.satisfied else WRONG)
        for name, axis in curves.items():
            draw_curve(axis, thoughts, name, i)
        yield drawn()


def _palette(kind: Kind) -> NDArray[np.uint8]:
    """At most 255 colours [n, 3]: all that are drawn with, and mixtures of them for smooth edges.

    The same for every frame, so that what stays the same in a picture is the same in the file, which keeps it small;
    and far enough apart that Pillow, which looks for the nearest by the upper six bits, finds each of them.
    """
    inks = [INK, FAINT, CHANGED, WRONG, SURE, CHANGE, START, GOAL]
    pure = ["#000000", "#ffffff", GIVEN, WRONG_CELL, WALL, PATH, CHANGED_PATH, *inks, *(kind.palette or ())]
    mixtures = [(ink, "#ffffff") for ink in inks] + [(INK, GIVEN), (CHANGED, GIVEN), (WRONG, WRONG_CELL)]
    shares = np.arange(1, 8)[:, None] / 8
    mixed = [(1 - shares) * np.array(rgb(ink)) + shares * np.array(rgb(ground)) for ink, ground in mixtures]
    return np.unique(np.concatenate([[rgb(colour) for colour in pure], *mixed]).round().astype(np.uint8), axis=0)


def draw_training(path: Path, rows: Sequence[Mapping[str, Any]], title: str = "") -> None:
    """Loss and exact accuracy against optimiser steps, from the rows of metrics.jsonl."""
    figure = new_figure((7.5, 3.4 if title else 3.2))
    figure.suptitle(literal(title), fontsize=10, color=INK)
    left, right = figure.subplots(1, 2)
    for axis, title, lines in (
        (left, "loss per puzzle", {"train/loss": ("total", INK), "train/lm_loss": ("tokens", SURE)}),
        (
            right,
            "puzzles solved exactly",
            {
                "train/exact_accuracy": ("training, as halted", INK),
                "eval/exact_accuracy": ("held out, averaged", CHANGED),
            },
        ),
    ):
        # The first is thicker, so that it is seen below the second.
        for (key, (label, colour)), thickness in zip(lines.items(), (3.0, 1.4), strict=True):
            points = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
            if points:
                marker = "o" if key.startswith("eval") or len(points) == 1 else None
                axis.plot(
                    *zip(*points, strict=True),
                    label=label,
                    color=colour,
                    marker=marker,
                    markersize=4,
                    linewidth=thickness,
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
    right.set_ylim(-0.02, 1.02)
    right.set_yticks(np.linspace(0, 1, 6))
    right.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    save_figure(figure, path)
