"""What pictures are made of: figures without a screen, boards of cells, curves. Needs matplotlib (extra `viz`)."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.display.boards import Window, ink_on, readable, what_is_wrong
from trm_jax.errors import DataError
from trm_jax.inference.thoughts import Thought
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.symmetry import Tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, CHANGED, WRONG = "#222222", "#b1bac4", "#1a7f37", "#cf222e"
WHITE, GIVEN, WRONG_CELL = "#ffffff", "#e8ebef", "#ffd0cc"
WALL, PATH, CHANGED_PATH, START, GOAL = "#30363d", "#8ab8ee", "#7fce93", "#8250df", "#bf3989"
SURE, CHANGE = "#0969da", "#bc4c00"  # of the two curves
DOT = "dot"  # in a legend: a dot in a cell, whatever its colour
# A smaller change of the state than this is drawn as this, since the scale is logarithmic.
_LEAST_CHANGE = 1e-4
# Points of the title and of the legend.
_TITLE, _SMALL = 9.0, 7.0


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


def shade(colour: str, share: float) -> str:
    """A share of a colour, 0 to 1, the rest white."""
    return "#" + "".join(f"{round(255 + share * (part - 255)):02x}" for part in rgb(colour))


def faces(
    kind: Kind,
    part: Window,
    question: Tokens,
    tokens: Tokens,
    changed: NDArray[np.bool_],
    wrong: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.str_]]:
    """What is seen of each cell of a part: its text ("" where colour says it all), its ground and its ink.

    Args:
      kind, question: the puzzle; cells that it gives have a grey ground, unless the kind has a palette.
      tokens: what is shown, [cells].
      changed: which cells stand out, bool [cells].
      wrong: which of them are wrong; none where a kind has a palette.

    Returns:
      Three arrays [rows, columns]; colours are such as #ff4136.
    """
    tokens = readable(kind, tokens)
    marks, faulty = (
        part.cut(np.zeros_like(changed) if each is None else each, kind.shape) for each in (changed, wrong)
    )
    if kind.palette is not None:
        grounds = np.array(kind.palette)[part.cut(tokens, kind.shape)]
        return np.full_like(grounds, ""), grounds, np.vectorize(ink_on, otypes=[np.str_])(grounds)
    texts = part.cut(np.array(kind.glyphs(tokens)), kind.shape)
    silent = [".", " "]
    grounds = np.where(part.cut(kind.given(question), kind.shape), GIVEN, WHITE)
    inks = np.where(marks, CHANGED, INK)
    if isinstance(kind, Maze):
        silent = [" ", "#", "o"]
        for glyph, ground in (("#", WALL), ("o", np.where(marks, CHANGED_PATH, PATH)), ("S", START), ("G", GOAL)):
            grounds = np.where(texts == glyph, ground, grounds)
        inks = np.where(np.isin(texts, ["S", "G"]), WHITE, inks)
        grounds = np.where(faulty, WRONG, grounds)
    else:
        grounds, inks = np.where(faulty, WRONG_CELL, grounds), np.where(faulty, WRONG, inks)
    return np.where(np.isin(texts, silent), "", texts), grounds, inks


class Sheet:
    """A figure with panels in rows and columns: a board in each, with words above it and something below.

    Lengths are whole pixels, so that cells are of equal size and their colours stay pure. Places are counted from the
    upper left corner. `size` is the width and height of all, `panel` those of a panel.
    """

    def __init__(
        self, part: Window, rows: int, columns: int, *, unit: int, width: int, head: int, foot: int, gap: int,
        margin: int, dpi: int, title: str = "", legend: Sequence[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        """Args:
        part: what the boards show.
        rows, columns: of panels.
        unit: length of a cell.
        width: least width of a panel.
        head, foot: height of what is above and below a board.
        gap, margin: between panels, and round all of them.
        dpi: pixels an inch, which makes the size of the text.
        title: stands above all, on as many lines as it takes.
        legend: stands below all: colours, such as #ff4136, or DOT, and what each means.
        """
        self._board = part.columns * unit, part.rows * unit
        self._head, self._gap, self._margin = head, gap, margin
        self.panel = max(width, self._board[0]), head + self._board[1] + foot
        # Of a letter of the title and of the legend; lines are twice as high.
        letter, small = (0.62 * points * dpi / 72 for points in (_TITLE, _SMALL))
        self._top = 0
        right, bottom = self.corner(rows, columns)
        across = right - gap + margin
        lines = [
            part for line in title.splitlines() for part in wrap(line, max(8, int((across - 2 * margin) / letter)))
        ]
        self._top = round((len(lines) + 0.6) * 2.2 * letter) if lines else 0
        places, below = _in_rows([(len(words) + 4) * small for _, words in legend], across - 2 * margin)
        down = self._top + bottom - gap + margin
        self.size = across, down + round((below + 0.4) * 2.4 * small if legend else 0)
        self.figure = new_figure((self.size[0] / dpi, self.size[1] / dpi), dpi, None)
        for i, line in enumerate(lines):
            self._words(margin, margin + (i + 0.5) * 2.2 * letter, line, _TITLE)
        for (colour, words), (x, row) in zip(legend, places, strict=True):
            y = down + (row + 0.3) * 2.4 * small
            self._sample(margin + x, y - 0.7 * small, 1.4 * small, colour)
            self._words(margin + x + 2.1 * small, y, words, _SMALL)

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and upper edge of a panel."""
        width, height = self.panel
        return self._margin + column * (width + self._gap), self._top + self._margin + row * (height + self._gap)

    def axes(self, left: float, top: float, width: float, height: float) -> "Axes":
        """New axes anywhere."""
        across, down = self.size
        return self.figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))

    def _words(self, left: float, middle: float, text: str, points: float) -> None:
        across, down = self.size
        self.figure.text(
            left / across, 1 - middle / down, literal(text), fontsize=points, color=INK, va="center_baseline"
        )

    def _sample(self, left: float, top: float, side: float, colour: str) -> None:
        """A square of a colour, or with a dot in it."""
        from matplotlib.patches import Ellipse, Rectangle

        across, down = self.size
        (x, y), (width, height) = (left / across, 1 - (top + side) / down), (side / across, side / down)
        face, place = WHITE if colour == DOT else colour, self.figure.transFigure
        square = Rectangle((x, y), width, height, facecolor=face, edgecolor=FAINT, linewidth=0.5, transform=place)
        self.figure.add_artist(square)
        if colour == DOT:
            middle = x + width / 2, y + height / 2
            dot = Ellipse(middle, 0.3 * width, 0.3 * height, facecolor=INK, linewidth=0, transform=place)
            self.figure.add_artist(dot)

    def foot_of(self, row: int, column: int) -> int:
        """Lower edge of a panel."""
        return self.corner(row, column)[1] + self.panel[1]

    def board_axes(self, row: int, column: int) -> "Axes":
        """New axes for the board of a panel, in its middle."""
        (left, top), (width, height) = self.corner(row, column), self._board
        return self.axes(left + (self.panel[0] - width) // 2, top + self._head, width, height)


def _in_rows(widths: Sequence[float], most: float) -> tuple[list[tuple[float, int]], int]:
    """Where things of these widths begin that stand side by side: the place and the row of each; how many rows."""
    places: list[tuple[float, int]] = []
    x, row = 0.0, 0
    for width in widths:
        if x and x + width > most:
            x, row = 0.0, row + 1
        places.append((x, row))
        x += width
    return places, row + 1


def legend_of(kind: Kind, label: Tokens | None = None) -> list[tuple[str, str]]:
    """What is seen on boards of answers, each with its words; label: the known answer [cells], if there is one."""
    mark = DOT if kind.palette is not None else CHANGED_PATH if isinstance(kind, Maze) else CHANGED
    changed = [(mark, "path, changed" if isinstance(kind, Maze) else "changed")]
    return [*_cells_of(kind), *changed, *([(WRONG, what_is_wrong(kind))] if kind.finds_faults(label) else [])]


def legend_of_pairs(kind: Kind, faulty: bool) -> list[tuple[str, str]]:
    """What is seen on boards of questions and known answers; faulty: some of these are wrong."""
    coloured = kind.palette is not None or isinstance(kind, Maze)
    filled = [] if coloured else [(CHANGED, "filled in")]
    return [*_cells_of(kind), *filled, *([(WRONG, what_is_wrong(kind))] if faulty else [])]


def _cells_of(kind: Kind) -> list[tuple[str, str]]:
    if isinstance(kind, Maze):
        return [(WALL, "wall"), (START, "S, start"), (GOAL, "G, goal"), (PATH, "path")]
    if kind.palette is not None:
        return [(colour, str(number)) for number, colour in enumerate(kind.palette[2:])]
    return [(GIVEN, "given")]


def draw_board(
    axis: "Axes",
    kind: Kind,
    part: Window,
    question: Tokens,
    tokens: Tokens,
    changed: NDArray[np.bool_],
    wrong: NDArray[np.bool_] | None = None,
) -> None:
    """Draws part of a board into axes of its size, in place of what they hold; the arguments are those of `faces`."""
    axis.clear()
    axis.set(xticks=[], yticks=[])
    texts, grounds, inks = faces(kind, part, question, tokens, changed, wrong)
    unit = _points_of_cell(axis, part)
    if kind.palette is not None:
        marks = part.cut(changed, kind.shape)
        rows, columns = np.nonzero(marks)
        axis.scatter(columns + 0.5, rows + 0.5, s=(0.2 * unit) ** 2, c=inks[marks].tolist(), linewidths=0)
    _fill(axis, kind, part, texts, grounds, inks, min(13.0, 0.66 * unit))


class Panel(NamedTuple):
    """A board of words or numbers about the cells of another.

    title: stands above.
    texts: of each cell [S]; notes: smaller ones below them.
    grounds, inks: their colours, such as #ff4136.
    legend: colours and what each means, as for a `Sheet`.
    """

    title: str
    texts: NDArray[np.str_]
    notes: NDArray[np.str_]
    grounds: NDArray[np.str_]
    inks: NDArray[np.str_]
    legend: tuple[tuple[str, str], ...] = ()


def panel_legend(panels: Sequence[Panel]) -> list[tuple[str, str]]:
    """What is seen on panels, each colour once."""
    return list(dict.fromkeys(entry for panel in panels for entry in panel.legend))


def draw_panel(axis: "Axes", kind: Kind, part: Window, panel: Panel) -> None:
    """Draws part of a board about cells into axes of its size."""
    axis.set(xticks=[], yticks=[])
    axis.set_title(panel.title, fontsize=10, color=INK)
    texts, notes, grounds, inks = (part.cut(each, kind.shape) for each in panel[1:5])
    unit = _points_of_cell(axis, part)
    for (row, column), note in np.ndenumerate(notes):
        if note:
            axis.text(column + 0.5, row + 0.86, note, ha="center", va="center", fontsize=0.24 * unit, color=INK)
    longest = max((len(text) for text in texts.flat), default=1)
    _fill(axis, kind, part, texts, grounds, inks, min(13.0, 0.66 * unit, 1.4 * unit / max(1, longest)))


def _points_of_cell(axis: "Axes", part: Window) -> float:
    """The side of a cell in points, as text is measured."""
    return axis.bbox.width / part.columns * 72 / axis.get_figure(root=True).dpi  # type: ignore[union-attr]


def _fill(
    axis: "Axes",
    kind: Kind,
    part: Window,
    texts: NDArray[np.str_],
    grounds: NDArray[np.str_],
    inks: NDArray[np.str_],
    size: float,
) -> None:
    """The cells [rows, columns]: texts of a size in points on their grounds, and the lines between them."""
    for (row, column), text in np.ndenumerate(texts):
        if text:
            ink = inks[row, column]
            axis.text(
                column + 0.5,
                row + 0.53,
                literal(text),
                ha="center",
                va="center",
                fontsize=size,
                color=ink,
                fontweight="normal" if ink == INK else "bold",
            )
    pixels = np.array([rgb(ground) for ground in grounds.flat], np.uint8).reshape(*grounds.shape, 3)
    axis.imshow(pixels, interpolation="nearest", aspect="auto", extent=(0, part.columns, part.rows, 0))
    _rule(axis, kind, part)


def _rule(axis: "Axes", kind: Kind, part: Window) -> None:
    """Lines between cells, thick ones between boxes and around all; a maze shows its cells without."""
    box_rows, box_cols = kind.boxes or (part.rows, part.columns)
    if not isinstance(kind, Maze):
        thin, width = (INK, 0.3) if kind.palette is None else (WHITE, 0.5)
        for draw, count, box in ((axis.axhline, part.rows, box_rows), (axis.axvline, part.columns, box_cols)):
            for place in range(1, count):
                between = place % box == 0
                draw(place, color=INK if between else thin, linewidth=1.4 if between else width)
    for spine in axis.spines.values():
        spine.set(color=INK if kind.palette is None else FAINT, linewidth=1.4 if kind.boxes else 0.8)


def literal(text: str) -> str:
    """The text for matplotlib, to which a dollar sign would begin mathematics."""
    return text.replace("$", r"\$")


def draw_curve(axis: "Axes", thoughts: Sequence[Thought], name: str, count: int) -> None:
    """How sure the model was, or how much its state changed, over the supervision steps; in place of what was drawn.

    Args:
      thoughts: what the axes have room for, at least one.
      name: "sure" or "change".
      count: so many are drawn, and the value of the last of them is written above.
    """
    axis.clear()
    cycles = max(thought.cycle for thought in thoughts) or 1
    # A step's last cycle ends where the step does.
    at = [thought.step - 1 + (thought.cycle or cycles) / cycles for thought in thoughts]
    last = thoughts[-1].step
    if name == "sure":
        colour, words, form = SURE, "confidence", " {:.0%}"
        values = [thought.sure for thought in thoughts]
        axis.set_ylim(-0.05, 1.1)
        axis.set_yticks([0, 1], labels=["0%", "100%"])
    else:
        colour, words, form = CHANGE, "change (log scale)", " {:.2g}"
        values = [max(thought.change, _LEAST_CHANGE) for thought in thoughts]
        low, high = min(values), max(values)
        ends = [low, high] if low < 0.7 * high else [high]
        axis.set_yscale("log")
        axis.minorticks_off()
        axis.set_ylim(low / 1.3, high * 1.3)
        axis.set_yticks(ends, labels=[f"{value:.2g}" for value in ends])
    axis.plot(at[:count], values[:count], color=colour, linewidth=1.4)
    axis.plot(at[:count][-1:], values[:count][-1:], color=colour, marker="o", markersize=3.5)
    axis.set_xlim(at[0] - 0.02 * last, last + 0.03 * last)
    axis.set_xticks(range(every := -(-last // 4), last + 1, every))
    axis.tick_params(labelsize=7, colors=INK, length=2, pad=2)
    axis.set_xlabel("supervision step", fontsize=7, color=INK, labelpad=2)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(FAINT)
    title = words + (form.format(values[count - 1]) if count else "")
    axis.set_title(title, fontsize=8, color=colour, loc="left", pad=3)
