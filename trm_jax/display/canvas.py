"""What pictures are made of: figures without a screen, boards of cells, curves. Needs matplotlib (extra `viz`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.display.boards import Window, ink_on, readable
from trm_jax.errors import DataError
from trm_jax.inference.thoughts import Thought
from trm_jax.puzzles.kind import Kind, Maze
from trm_jax.puzzles.symmetry import Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

INK, FAINT, CHANGED, WRONG, GIVEN = "#222222", "#b1bac4", "#1a7f37", "#cf222e", "#e8ebef"
WALL, PATH, CHANGED_PATH, START, GOAL = "#30363d", "#8ab8ee", "#7fce93", "#8250df", "#bf3989"
SURE, CHANGE = "#0969da", "#bc4c00"  # of the two curves
# A smaller change of the state than this is drawn as this, since the scale is logarithmic.
_LEAST_CHANGE = 1e-4


def new_figure(size: tuple[float, float], dpi: int = 150, layout: str | None = "constrained") -> "Figure":
    """A figure of width and height in inches that needs no screen and leaves matplotlib's global state alone.

    Raises:
      DataError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError('pictures need matplotlib: pip install "trm_jax[viz]"') from None
    figure = Figure(figsize=size, dpi=dpi, layout=layout)  # type: ignore[arg-type]
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a PNG file, cropped to what is drawn where matplotlib made the layout; DataError if it cannot."""
    cropped: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.1} if figure.get_layout_engine() else {}
    try:
        figure.savefig(path, dpi=figure.dpi, format="png", **cropped)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def rgb(colour: str) -> tuple[int, int, int]:
    """The three numbers of a colour such as #ff4136."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


@dataclass(frozen=True)
class Sheet:
    """A figure with panels in rows and columns: a board in each, with words above it and something below.

    Lengths are whole pixels, so that cells are of equal size and their colours stay pure.

    kind, question: of all boards.
    part: what they show.
    rows, columns: of panels.
    unit: length of a cell.
    width: least width of a panel.
    head, foot: height of what is above and below a board.
    gap, margin: between panels, and round all of them.
    dpi: pixels an inch, which makes the size of the text.
    """

    kind: Kind
    question: Tokens
    part: Window
    rows: int
    columns: int
    unit: int
    width: int
    head: int
    foot: int
    gap: int
    margin: int
    dpi: int

    @property
    def board(self) -> tuple[int, int]:
        """Width and height of a board."""
        return self.part.columns * self.unit, self.part.rows * self.unit

    @property
    def panel(self) -> tuple[int, int]:
        """Width and height of a panel."""
        width, height = self.board
        return max(self.width, width), self.head + height + self.foot

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of all."""
        (width, height), between = self.panel, 2 * self.margin - self.gap
        return self.columns * (width + self.gap) + between, self.rows * (height + self.gap) + between

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and upper edge of a panel."""
        width, height = self.panel
        return self.margin + column * (width + self.gap), self.margin + row * (height + self.gap)

    def figure(self) -> "Figure":
        """An empty one."""
        width, height = self.size
        return new_figure((width / self.dpi, height / self.dpi), self.dpi, None)

    def axes(self, figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
        """Axes at a place that is counted from the upper left corner of the figure."""
        across, down = self.size
        return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))

    def board_axes(self, figure: "Figure", row: int, column: int) -> "Axes":
        """Axes for the board of a panel, in its middle."""
        (left, top), (width, height) = self.corner(row, column), self.board
        return self.axes(figure, left + (self.panel[0] - width) // 2, top + self.head, width, height)


class Board:
    """A board that can be drawn again and again."""

    def __init__(self, axis: "Axes", sheet: Sheet) -> None:
        self._sheet, self._kind, part = sheet, sheet.kind, sheet.part
        self._given = part.cut(sheet.kind.given(sheet.question), sheet.kind.shape)
        axis.set(xticks=[], yticks=[])
        blank = np.zeros((part.rows, part.columns, 3), np.uint8)
        extent = (0.0, float(part.columns), float(part.rows), 0.0)
        self._grounds = axis.imshow(blank, interpolation="nearest", aspect="auto", extent=extent)
        self._axis, self._size = axis, min(13.0, 0.66 * 72 * sheet.unit / sheet.dpi)
        self._texts: dict[tuple[int, int], Text] = {}
        self._dots = axis.scatter([], [], s=(0.2 * 72 * sheet.unit / sheet.dpi) ** 2, linewidths=0)
        self._draw_lines(axis)

    def draw(self, tokens: Tokens, changed: NDArray[np.bool_]) -> None:
        """Draws other tokens [cells]; `changed` ones stand out."""
        kind, part = self._kind, self._sheet.part
        tokens = readable(kind, tokens)
        shown, marks = part.cut(tokens, kind.shape), part.cut(changed, kind.shape)
        if kind.palette is not None:
            palette = np.array([rgb(colour) for colour in kind.palette], np.uint8)
            self._grounds.set_data(palette[shown])
            rows, columns = np.nonzero(marks)
            self._dots.set_offsets(np.stack([columns + 0.5, rows + 0.5], axis=1))
            self._dots.set_facecolor([ink_on(kind.palette[token]) for token in shown[marks]])
            return
        glyphs = np.asarray(part.cut(np.array(kind.glyphs(tokens)), kind.shape))
        grounds = np.full((part.rows, part.columns, 3), 255, np.uint8)
        grounds[self._given] = rgb(GIVEN)
        words = (glyphs != ".") & (glyphs != " ")
        ends = np.zeros_like(words)
        if isinstance(kind, Maze):
            wall, path, start, goal = (glyphs == char for char in "#oSG")
            for cells, colour in (
                (wall, WALL), (path & ~marks, PATH), (path & marks, CHANGED_PATH), (start, START), (goal, GOAL)
            ):  # fmt: skip
                grounds[cells] = rgb(colour)
            ends = start | goal
            words &= ~(wall | path)
        self._grounds.set_data(grounds)
        for place in sorted({*self._texts, *zip(*(index.tolist() for index in np.nonzero(words)), strict=True)}):
            if place not in self._texts:
                row, column = place
                self._texts[place] = self._axis.text(
                    column + 0.5, row + 0.53, "", ha="center", va="center", fontsize=self._size
                )
            text, mark = self._texts[place], marks[place]
            # A dollar sign would begin mathematics.
            text.set_text(glyphs[place].replace("$", r"\$") if words[place] else "")
            text.set_color("white" if ends[place] else CHANGED if mark else INK)
            text.set_fontweight("bold" if mark or ends[place] else "normal")

    def _draw_lines(self, axis: "Axes") -> None:
        """Lines between cells, thick ones between boxes and around all; a maze shows its cells without."""
        rows, columns = self._sheet.part.rows, self._sheet.part.columns
        box_rows, box_cols = self._kind.boxes or (rows, columns)
        if not isinstance(self._kind, Maze):
            colour, thin = (INK, 0.3) if self._kind.palette is None else ("#ffffff", 0.5)
            for r in range(1, rows):
                axis.axhline(r, color=colour if r % box_rows else INK, linewidth=thin if r % box_rows else 1.4)
            for c in range(1, columns):
                axis.axvline(c, color=colour if c % box_cols else INK, linewidth=thin if c % box_cols else 1.4)
        for spine in axis.spines.values():
            spine.set(color=INK if self._kind.palette is None else FAINT, linewidth=1.4 if self._kind.boxes else 0.8)


class Curve:
    """How sure the model was, or how much its state changed, over the supervision steps."""

    def __init__(self, axis: "Axes", thoughts: Sequence[Thought], name: str) -> None:
        """name: "sure" or "change"."""
        self._axis, self._name = axis, name
        cycles = max(thought.cycle for thought in thoughts) or 1
        # A step's last cycle ends where the step does.
        self._at = np.array([thought.step - 1 + (thought.cycle or cycles) / cycles for thought in thoughts])
        values = np.array([thought.sure if name == "sure" else thought.change for thought in thoughts])
        self._values = values if name == "sure" else np.maximum(values, _LEAST_CHANGE)
        colour = SURE if name == "sure" else CHANGE
        (self._line,) = axis.plot([], [], color=colour, linewidth=1.4)
        (self._end,) = axis.plot([], [], color=colour, marker="o", markersize=3.5)
        last = thoughts[-1].step
        axis.set_xlim(self._at[0] - 0.02 * last, last + 0.03 * last)
        axis.set_xticks(range(every := -(-last // 4), last + 1, every))
        axis.tick_params(labelsize=7, colors=INK, length=2, pad=2)
        axis.set_xlabel("supervision step", fontsize=7, color=INK, labelpad=2)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(FAINT)
        if name == "sure":
            axis.set_ylim(-0.05, 1.1)
            axis.set_yticks([0, 1], labels=["0%", "100%"])
        else:
            axis.set_yscale("log")
            axis.minorticks_off()
            low, high = float(self._values.min()), float(self._values.max())
            axis.set_ylim(low / 1.3, high * 1.3)
            ends = [low, high] if low < 0.7 * high else [high]
            axis.set_yticks(ends, labels=[f"{value:.2g}" for value in ends])
        axis.set_title("", fontsize=8, color=colour, loc="left", pad=3)

    def draw(self, count: int) -> None:
        """Draws the first `count` thoughts, and the value of the last of them in words."""
        at, values = self._at[:count], self._values[:count]
        self._line.set_data(at, values)
        self._end.set_data(at[-1:], values[-1:])
        words = {"sure": "confidence", "change": "change of state"}[self._name]
        if count:
            words += f" {values[-1]:.0%}" if self._name == "sure" else f" {values[-1]:.3f}"
        self._axis.set_title(words, fontsize=8, color=self._line.get_color(), loc="left", pad=3)
