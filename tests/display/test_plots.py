"""Accuracy against operations, drawn: what the lines hold, and that no report is too odd to draw."""

from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from trm_jax.display import plots
from trm_jax.display.plots import draw_effort
from trm_jax.errors import DataError
from trm_jax.inference.evaluate import Row
from trm_jax.inference.statistics import share

RULES = ("first", "q", "change", "vote", "rules")


def row(depth: int, attempts: int, selection: str, exact: float, steps: float, oracle: float = 1.0) -> Row:
    kept = share(exact, 100)
    return Row(depth, attempts, selection, kept, kept, None, share(oracle, 100), 0.5, 0.5, steps, steps * 20e6)


def single(*depths: int, exact: float = 0.5) -> list[Row]:
    return [row(depth, 1, "only", exact + depth / 1000, depth) for depth in depths]


def several(depths: tuple[int, ...], numbers: tuple[int, ...] = (2, 4), rules: tuple[str, ...] = RULES) -> list[Row]:
    """With early halting: `first` costs less the more attempts there are, so that its line turns back."""
    rows = single(*depths)
    for depth in depths:
        for k in numbers:
            rows += [
                row(depth, k, name, 0.5 + 0.05 * k + 0.01 * i, depth * (0.9 - 0.1 * k if name == "first" else k), 0.9)
                for i, name in enumerate(rules)
            ]
    return rows


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws without a file; returns the axes that are left, with labels, and the figure."""

    def call(rows: list[Row], selection: str = "only") -> Any:
        figures: list[Any] = []
        monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
        draw_effort(Path("nowhere.png"), rows, selection)
        (figure,) = figures
        figure.canvas.draw()
        return figure

    return call


def points(axis: Any) -> dict[str, list[tuple[float, float]]]:
    return {line.get_label(): list(zip(*line.get_data(), strict=True)) for line in axis.get_lines()}


def test_a_single_attempt_is_a_line_over_supervision_steps(drawn: Any) -> None:
    rows = single(16, 1, 4)

    (axis,) = drawn(rows).axes

    assert points(axis) == {"1": [(20e6, 0.501), (80e6, 0.504), (320e6, 0.516)]}
    assert [(text.get_text(), text.xy) for text in axis.texts] == [
        ("1", (20e6, 0.501)), ("4", (80e6, 0.504)), ("16", (320e6, 0.516))
    ]  # fmt: skip
    (segments,) = (part.get_segments() for part in axis.collections if hasattr(part, "get_segments"))
    for segment, depth in zip(segments, (1, 4, 16), strict=True):
        (x, low), (_, high) = segment
        kept = share(0.5 + depth / 1000, 100)
        assert (x, low, high) == (depth * 20e6, kept.low, kept.high)
    assert axis.get_xscale() == "log"


def test_steps_that_halting_has_put_in_one_place_share_a_label(drawn: Any) -> None:
    rows = [row(1, 1, "only", 0.4, 1.0), *(row(depth, 1, "only", 0.5, 1.2) for depth in (2, 4))]
    (axis,) = drawn(rows).axes
    assert [text.get_text() for text in axis.texts] == ["1", "2, 4"]
    rows += [row(depth, 1, "only", 0.5, 1.2) for depth in (8, 16)]
    (axis,) = drawn(rows).axes
    assert [text.get_text() for text in axis.texts] == ["1", "2 to 16"]


@pytest.mark.parametrize("depths", [(8,), (1, 8), (1, 2, 4, 8, 16)])
def test_all_tries_and_depths_are_on_one_axis(depths: tuple[int, ...], drawn: Any) -> None:
    figure = drawn(several(depths), "vote")

    left, right = figure.axes
    deepest = f"{depths[-1]} supervision steps, by what chooses (points: 1, 2, 4 attempts)"
    assert [axis.get_title() for axis in figure.axes] == ["numbers: supervision steps, chosen by vote", deepest]
    assert points(left) == {
        str(k): [
            (depth * k * 20e6, pytest.approx(0.5 + depth / 1000 if k == 1 else 0.5 + 0.05 * k + 0.03))
            for depth in depths
        ]
        for k in (1, 2, 4)
    }
    assert [text.get_text() for text in left.texts] == [str(depth) for depth in depths] * 3
    assert len({(line.get_color(), line.get_marker()) for line in left.get_lines()}) == 3
    assert left.get_xlim() == right.get_xlim()
    assert left.get_xlabel() == right.get_xlabel() == "FLOP a puzzle, log scale"


def test_lines_in_one_place_are_all_seen_and_their_steps_can_be_read(drawn: Any) -> None:
    """A model that solves nothing: every line is the same."""
    rows = [row(depth, k, "q" if k > 1 else "only", 0.0, depth * k) for depth in (1, 2, 4, 8) for k in (1, 2, 4, 8)]
    left, right = drawn(rows, "q").axes

    lines = left.get_lines()
    assert [line.get_label() for line in lines] == ["1", "2", "4", "8"]
    for thickness in (
        [line.get_linewidth() for line in lines],
        [line.get_markersize() for line in lines],
    ):
        assert thickness == sorted(set(thickness), reverse=True)
    colours = {line.get_label(): line.get_color() for line in lines}
    assert {text.get_color() for text in left.texts} == set(colours.values())
    renderer = left.figure.canvas.get_renderer()
    places = [text.get_window_extent(renderer) for text in left.texts]
    assert len(places) == 16
    for i, place in enumerate(places):
        assert not any(place.shrunk(0.9, 0.9).overlaps(other.shrunk(0.9, 0.9)) for other in places[:i]), i
    for axis in (left, right):
        assert axis.get_legend().get_window_extent(renderer).y0 >= axis.bbox.y1
        assert axis.title.get_window_extent(renderer).y0 >= axis.get_legend().get_window_extent(renderer).y1


def test_the_ways_to_choose_stand_beside_at_the_most_steps(drawn: Any) -> None:
    _, axis = drawn(several((1, 8)), "vote").axes

    lines = points(axis)
    assert list(lines) == [*RULES, "oracle"]
    start = (160e6, pytest.approx(0.508))
    for i, name in enumerate(RULES):
        costs = [0.7, 0.5] if name == "first" else [2, 4]
        rest = [
            (pytest.approx(cost * 160e6), pytest.approx(0.5 + 0.05 * k + 0.01 * i))
            for cost, k in zip(costs, (2, 4), strict=True)
        ]
        assert lines[name] == [start, *rest]
    assert lines["oracle"] == [(pytest.approx(k * 160e6), 0.9 if k > 1 else 1.0) for k in (1, 2, 4)]
    widths = {line.get_label(): line.get_linewidth() for line in axis.get_lines()}
    assert max(widths, key=lambda name: widths[name]) == "vote"
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["chosen by:", *RULES, "oracle"]


def test_a_title_says_what_was_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    draw_effort(Path("nowhere.png"), single(1), "only", "runs/$x, averaged weights, on test.csv: 20 puzzles")
    assert figures[0].get_suptitle() == "runs/\\$x, averaged weights, on test.csv: 20 puzzles"


def test_a_kind_without_rules_has_no_such_line(drawn: Any) -> None:
    _, axis = drawn(several((4,), rules=RULES[:-1]), "q").axes
    assert list(points(axis)) == [*RULES[:-1], "oracle"]


def test_ticks_are_told_apart_and_no_share_goes_beyond_its_ends(drawn: Any) -> None:
    for exact in (0.0, 0.5, 0.98):
        (axis,) = drawn(single(1, 2, 4, exact=exact)).axes
        for ticks in (axis.get_yticklabels(), axis.get_xticklabels()):
            texts = [tick.get_text() for tick in ticks if tick.get_text()]
            assert len(texts) == len(set(texts)) >= 2, texts
        low, high = axis.get_ylim()
        assert low > -0.1
        assert high < 1.1


@pytest.mark.parametrize(
    "rows",
    [
        single(16),
        single(2),  # at whose cost alone matplotlib finds no limits
        pytest.param(single(1, 2, exact=0.0), marks=pytest.mark.slow),
        pytest.param([row(depth, 1, "only", 1.0, 1.0) for depth in (1, 2)], marks=pytest.mark.slow),
        [row(2, 8, name, 0.5, 3.0, 0.6) for name in RULES],  # of a race, nothing is known of fewer attempts
        pytest.param(several(tuple(range(1, 12)), (2, 4, 8)), marks=pytest.mark.slow),
    ],
)
def test_every_report_can_be_drawn(rows: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "plot.png"

    draw_effort(path, rows, "q")

    image = matplotlib.image.imread(path)
    assert image.shape[1] < 2200
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 10


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written"):
        draw_effort(tmp_path, single(1, 2))
