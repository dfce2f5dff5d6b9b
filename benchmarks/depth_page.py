"""Tables, pictures and the answer of benchmarks/depth_study.py, from what rows there are. Pictures need matplotlib.

A figure of several seeds is their mean, with the least and the most; accuracies are exact answers after 16 supervision
steps, on 400 held-out puzzles, unless they say otherwise. Where a point is there twice, the last row counts.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.depth_points import SERIES, N, Series
from trm_jax.display.canvas import INK, new_figure, save_figure
from trm_jax.runs.sweep import SEED, short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = dict[str, Any]
TABLES = "depth_study.md"
# Of supervision steps.
_DEPTH = "16"


class Several(NamedTuple):
    """A figure of so many seeds: the mean, the least and the most."""

    mean: float
    least: float
    most: float
    seeds: int

    def __str__(self) -> str:
        spread = f", {self.least:.1%} to {self.most:.1%}" if self.seeds > 1 else ""
        return f"{self.mean:.1%}{spread}"


def read(path: Path) -> list[Row]:
    """The rows so far; a line that a kill has torn is none."""
    found = {}
    with suppress(FileNotFoundError):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                row = json.loads(line)
                found[row["series"], row["point"]] = row
    return list(found.values())


def several(values: Iterable[float]) -> Several:
    """Of at least one seed."""
    values = list(values)
    return Several(fmean(values), min(values), max(values), len(values))


def groups(rows: Iterable[Row], series: Series) -> dict[str, list[Row]]:
    """The rows of a series by what is varied, in the order of the plan: points that differ in the seed alone."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in sorted((row for row in rows if row["series"] == series.name), key=_order(series)):
        varied = {short(key): value for key, value in row["values"].items() if key != SEED}
        found[", ".join(f"{key} = {value}" for key, value in varied.items()) or series.baseline].append(row)
    return dict(found)


def _order(series: Series) -> Callable[[Row], Any]:
    return lambda row: (row["values"].get(series.key, 0), len(row["values"]), str(row["values"]))


def exact(rows: Sequence[Row], depth: str = _DEPTH) -> Several:
    """The accuracy of points that differ in the seed."""
    return several(row["exact"][depth]["value"] for row in rows)


def table(rows: Sequence[Row], series: Series) -> str:
    """A series as a table for a page; "" if there is nothing of it."""
    lines = [
        f"| {series.title} | seeds | exact, D = 16 | D = 64 | halts at | steps | PFLOP | hours | peak GiB | "
        "gradient norm |",
        "| --- |" + 9 * " --- |",
    ]
    for words, found in groups(rows, series).items():
        cells = [words, str(len(found)), str(exact(found)), str(exact(found, "64"))]
        cells += [_mean(found, name, form) for name, form in _COLUMNS]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if len(lines) > 2 else ""


_COLUMNS = (
    ("halted_at", ".1f"), ("steps", ",.0f"), ("pflop", ".3g"), ("hours", ".2f"), ("peak_gib", ".2f"),
    ("gradient_norm_last", ".2g"),
)  # fmt: skip


def _mean(rows: Sequence[Row], name: str, form: str) -> str:
    values = [row[name] for row in rows if row.get(name) is not None]
    return format(fmean(values), form) if values else "-"


def answer(rows: Sequence[Row]) -> str:
    """In words, which n is best at equal steps and at equal operations, and whether another is told apart from it."""
    sentences = []
    for series in SERIES[:2]:
        found = [(words, exact(each)) for words, each in groups(rows, series).items()]
        if len(found) < 2:
            continue
        words, best = max(found, key=lambda each: each[1].mean)
        alike = [other for other, figure in found if other != words and figure.most >= best.least]
        apart = f"; its seeds overlap with those of {', '.join(alike)}" if alike else ", apart from all others"
        sentences.append(f"Of {series.title}, {words} is best: {best} ({best.seeds} seeds{apart}).")
    return " ".join(sentences) or "Too few points are there for an answer."


def write(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes the tables, and those of the four pictures for which there are rows; the files."""
    parts = [answer(rows), *(text for series in SERIES if (text := table(rows, series)))]
    (folder / TABLES).write_text("\n\n".join(parts) + "\n")
    written = [folder / TABLES]
    for name, draw, title in _PICTURES:
        figure = new_figure((6.4, 4.2))
        axis = figure.subplots()
        if draw(axis, rows):
            axis.set_title(title, fontsize=10, color=INK)
            axis.grid(alpha=0.25)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(fontsize=8, frameon=False)
            save_figure(figure, folder / f"depth_{name}.png")
            written.append(folder / f"depth_{name}.png")
    return written


def _by_name(*names: str) -> list[Series]:
    return [series for series in SERIES if series.name in names]


def _lines(axis: "Axes", rows: Sequence[Row], series: Iterable[Series]) -> bool:
    """Accuracy against what is varied, a line for each series, with bars from the least seed to the most."""
    drawn = False
    for each in series:
        found = [(float(rows_[0]["values"][each.key]), exact(rows_)) for rows_ in groups(rows, each).values()]
        if found:
            places, figures = zip(*found, strict=True)
            spread = [[f.mean - f.least for f in figures], [f.most - f.mean for f in figures]]
            axis.errorbar(
                places, [f.mean for f in figures], spread, marker="o", markersize=4, capsize=3, label=each.title
            )
            drawn = True
    axis.set_ylabel("exact answers", fontsize=9)
    return drawn


def _log(axis: "Axes", which: str) -> None:
    """A logarithmic axis, x or y, with numbers written as they are."""
    axis.set(**{f"{which}scale": "log"})
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_formatter("{x:g}")
    ticks.set_minor_formatter("{x:g}")
    axis.tick_params(which="both", labelsize=8)


def _draw_n(axis: "Axes", rows: Sequence[Row]) -> bool:
    _log(axis, "x")
    axis.set_xlabel("latent steps n", fontsize=9)
    return _lines(axis, rows, _by_name("n_steps", "n_operations", "n_deepest"))


def _draw_cycles(axis: "Axes", rows: Sequence[Row]) -> bool:
    axis.set_xlabel("cycles T, or what gradients run through", fontsize=9)
    names = ("cycles_steps", "cycles_operations", "grad_cycles", "backprop_steps")
    return _lines(axis, rows, _by_name(*names))


def _of_each_n(rows: Sequence[Row]) -> dict[int, list[Row]]:
    """The rows of n at equal steps that were probed, by the n of training."""
    found: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["series"] == "n_steps" and "transfer" in row:
            found[row["values"][N]].append(row)
    return dict(sorted(found.items()))


def _draw_inference(axis: "Axes", rows: Sequence[Row]) -> bool:
    _log(axis, "x")
    axis.set_xlabel("latent steps n at inference", fontsize=9)
    axis.set_ylabel("exact answers", fontsize=9)
    trained = _of_each_n(rows)
    for n, found in trained.items():
        curve = transferred(found, short(N))
        axis.plot(*zip(*curve.items(), strict=True), marker="o", markersize=4, label=f"trained at n = {n}")
    return bool(trained)


def transferred(rows: Sequence[Row], key: str) -> dict[int, float]:
    """Mean accuracy of some models at other values of "latent_steps" or "cycles", after 16 supervision steps."""
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        for told in row["transfer"]:
            if told["key"] == key and told["supervision_steps"] == int(_DEPTH):
                found[told["value"]].append(told["exact"]["value"])
    return {value: fmean(shares) for value, shares in sorted(found.items())}


def _draw_gradients(axis: "Axes", rows: Sequence[Row]) -> bool:
    _log(axis, "x")
    _log(axis, "y")
    axis.set_xlabel("latent steps before the answer", fontsize=9)
    axis.set_ylabel("norm of the gradient in z, relative to the last step's", fontsize=9)
    trained = {n: found for n, found in _of_each_n(rows).items() if n > 1}
    for n, found in trained.items():
        norms: Mapping[int, list[float]] = defaultdict(list)
        for row in found:
            for k, norm in row["gradient_along"]:
                norms[k].append(norm)
        axis.plot(list(norms), [fmean(values) for values in norms.values()], marker="o", markersize=4, label=f"n = {n}")
    return bool(trained)


_PICTURES = (
    ("n", _draw_n, "Depth of the recursion in training"),
    ("cycles", _draw_cycles, "Cycles, and how far gradients run"),
    ("inference", _draw_inference, "A model used at another depth than it was trained at"),
    ("gradients", _draw_gradients, "How the gradient fades along the recursion"),
)
