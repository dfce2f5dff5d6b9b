"""Pictures: they can be read back, hold what they should, and nothing lies outside them or on top of another."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from trm_jax.display import canvas, pictures
from trm_jax.display.pictures import animate_thoughts, draw_thoughts, draw_training
from trm_jax.errors import DataError
from trm_jax.inference.thoughts import Thought
from trm_jax.puzzles import arc
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.symmetry import Tokens

SUDOKU_4 = "12..341.21434321", "1234341221434321"
SUDOKU_9 = (
    "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179",
)
MAZE = "S#  " "  # " "# ##" "#  G", "S#  " "oo# " "#o##" "#ooG"  # fmt: skip
CASES = [("sudoku", *SUDOKU_4), ("sudoku", *SUDOKU_9), ("maze", *MAZE), ("arc", "123/456", "0123/4567")]
# Drawing takes long where there are many cells: small Sudokus stand for large ones, but in `make test-all`.
CASES_BY_SIZE = [pytest.param(*case, marks=pytest.mark.slow) if case[1] == SUDOKU_9[0] else case for case in CASES]

WRONG = "breaks a rule or overwrites a clue"
COLOURS = (canvas.WHITE, canvas.GIVEN, canvas.WALL, canvas.PATH, canvas.CHANGED_PATH, canvas.START, canvas.GOAL)


def grid(**units: str) -> str:
    """A puzzle of the user's own, of four cells."""
    return json.dumps({"kind": "grid", "shape": [2, 2], "alphabet": ".ab", "units": units})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved, to look into after it was."""
    figures: list[Figure] = []
    save = pictures.save_figure

    def keep(figure: Figure, path: Path) -> None:
        save(figure, path)
        figures.append(figure)

    monkeypatch.setattr(pictures, "save_figure", keep)
    return figures


def thoughts_of(kind: Kind, question: str, answer: str, steps: int, cycles: int = 0) -> list[Thought]:
    """The question as it is until the last step (and cycle), at which the answer appears."""
    asked, answered = kind.parse(question), kind.parse(answer)
    nothing = np.zeros(len(asked), np.bool_)
    keeps = (None, None) if kind.palette else (False, True)
    times = [(step, cycle) for step in range(1, steps + 1) for cycle in (range(1, cycles + 1) if cycles else [0])]
    rows = [Thought(asked, nothing, -5.0, keeps[0], 1 / (1 + i), *time) for i, time in enumerate(times[:-1])]
    return [*rows, Thought(answered, asked != answered, 5.0, keeps[1], 0.0, *times[-1])]


def pixels(path: Path) -> NDArray[np.floating[Any]]:
    assert path.read_bytes().startswith(b"\x89PNG")
    return matplotlib.image.imread(path)[..., :3]


def holds(image: NDArray[np.floating[Any]], colour: str) -> int:
    """How many pixels have just this colour."""
    return int((np.abs(image - to_rgb(colour)) < 0.5 / 255).all(axis=-1).sum())


def boards(figure: Figure) -> list[Any]:
    return [axis for axis in figure.axes if axis.images]


def curves(figure: Figure) -> list[Any]:
    return [axis for axis in figure.axes if not axis.images]


# ---- filmstrips ----


@pytest.mark.parametrize(("puzzle", "question", "answer"), CASES_BY_SIZE)
@pytest.mark.parametrize(
    ("steps", "across", "down"), [(1, 2, 1), (4, 6, 1), pytest.param(40, 5, 2, marks=pytest.mark.slow)]
)
def test_filmstrip(
    puzzle: str, question: str, answer: str, steps: int, across: int, down: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    kind, path = kind_of(puzzle, 900 if puzzle == "arc" else len(question)), tmp_path / "strip.png"

    draw_thoughts(path, kind, kind.parse(question), thoughts_of(kind, question, answer, steps))

    image = pixels(path)
    height, width = image.shape[:2]
    part = boards(drawn[0])[0].get_window_extent()
    longest = 324 if puzzle == "sudoku" and len(question) == 81 else 270
    assert longest - 10 < max(part.width, part.height) < longest + 0.01
    assert max(270, part.width) * across < width < 1.4 * max(270, part.width) * across
    assert part.height * down < height < 2 * max(270, part.height) * down
    assert 0.3 < (image == 1).all(axis=-1).mean() < 0.97
    assert (holds(image, canvas.GIVEN) > 500) == (puzzle == "sudoku")
    assert (holds(image, canvas.WALL) > 500) == (puzzle == "maze")
    assert (holds(image, canvas.CHANGED_PATH) > 500) == (puzzle == "maze")
    assert (holds(image, "#0074d9") > 500) == (puzzle == "arc")
    # White all round: nothing was cut.
    for edge in (image[:5], image[-5:], image[:, :5], image[:, -5:]):
        assert (edge == 1).all()
    titles = [axis.get_title().splitlines()[0] for axis in boards(drawn[0])]
    numbers = range(1, steps + 1) if steps < 9 else [*range(1, 8), steps]
    assert titles == ["question", *(f"step {number}" for number in numbers)]
    assert len(curves(drawn[0])) == (2 if steps > 1 else 0)


def test_cycles_fill_a_row_for_each_step(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 20, cycles=3))

    question, *cells = boards(drawn[0])
    places = [axis.get_window_extent() for axis in cells]
    rows, columns = (sorted({round(getattr(place, edge)) for place in places}) for edge in ("y0", "x0"))
    assert (len(rows), len(columns)) == (8, 3)
    titles = {
        (-rows.index(round(place.y0)), columns.index(round(place.x0))): axis.get_title().splitlines()[0]
        for axis, place in zip(cells, places, strict=True)
    }
    numbers = [*range(1, 8), 20]
    for i, row in enumerate(range(-7, 1)):
        for column in range(3):
            assert titles[row, column] == f"step {numbers[i]}, cycle {column + 1}"
    assert question.get_window_extent().y0 > max(rows)
    for axis in curves(drawn[0]):
        # Of all thoughts, though not all are drawn; a step's last cycle ends at its number.
        x, y = axis.lines[0].get_data()
        assert len(x) == 60
        np.testing.assert_allclose(x[2::3], range(1, 21))
        assert len(y) == 60


def with_z(thoughts: Sequence[Thought], steps: int = 2) -> list[Thought]:
    """The thoughts, and of each what z says: of the first cell alone, and in its last latent step what y says."""
    rows = []
    for thought in thoughts:
        first = np.where(np.arange(len(thought.tokens)) == 0, thought.tokens, 1)
        rows.append(replace(thought, latents=np.stack([*[first] * (steps - 1), thought.tokens])))
    return rows


def test_latents_stand_in_a_row_before_their_answer(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)
    thoughts = with_z(thoughts_of(kind, *SUDOKU_4, 3))
    thoughts += [replace(thoughts[-1], step=step, changed=thoughts[0].changed) for step in (4, 5)]

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(SUDOKU_4[0]), thoughts)

    # What says the same as the row before is left out, but for the last.
    rows = [thought for thought in thoughts if thought.changed.any() or thought.step in (1, 5)]
    titles = [axis.get_title().partition(" changed")[0] for axis in boards(drawn[0])[1:]]
    words = "z, latent step 1", "z, latent step 2", "y, {}"
    assert titles == [f"step {t.step}\n{each.format(t.changed.sum())}" for t in rows for each in words]
    places = [axis.get_window_extent() for axis in boards(drawn[0])[1:]]
    assert len({round(place.y0) for place in places}) == len(rows)
    # Of many latent steps, the first and the last have a board.
    assert pictures.latents_shown(with_z(thoughts[:1], steps=30)) == [0, 1, 2, 3, 4, 5, 29]


@pytest.mark.parametrize("cycles", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_panels_follow_at_the_end(cycles: int, tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)
    texts, plain = np.array(["12", *[""] * 15]), np.full(16, "")
    pink, ink = np.full(16, "#ffd0cc"), np.full(16, canvas.INK)
    panel = canvas.Panel("more", texts, plain, pink, ink, (("#ffd0cc", "a word"),))

    rows = thoughts_of(kind, *SUDOKU_4, 2, cycles)
    draw_thoughts(tmp_path / "x.png", kind, kind.parse(SUDOKU_4[0]), rows, panels=[panel, panel])
    *others, first, second = boards(drawn[0])
    assert [axis.get_title() for axis in (first, second)] == ["more", "more"]
    assert [text.get_text() for text in first.texts] == ["12"]
    places = [axis.get_window_extent() for axis in (*others, first, second, *curves(drawn[0]))]
    assert not any(a.overlaps(b) for i, a in enumerate(places) for b in places[:i])
    assert [text.get_text() for text in drawn[0].texts].count("a word") == 1


@pytest.mark.slow
def test_an_animation_of_latents_has_a_frame_for_each(tmp_path: Path) -> None:
    kind, path = kind_of("sudoku", 16), tmp_path / "x.gif"

    animate_thoughts(path, kind, kind.parse(SUDOKU_4[0]), with_z(thoughts_of(kind, *SUDOKU_4, 2), steps=2))

    with Image.open(path) as image:
        assert image.n_frames == 1 + 2 * 3
        image.seek(5)
        assert image.info["duration"] == 200
        image.seek(6)
        assert image.info["duration"] == 3000


def test_titles_verdicts_and_changed_cells(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 2))

    asked, first, last = boards(drawn[0])
    assert (asked.get_title(), asked.get_xlabel()) == ("question", "")
    assert (first.get_title(), first.get_xlabel()) == ("step 1\n0 changed, 1% sure", "breaks the rules")
    assert (last.get_title(), last.get_xlabel()) == ("step 2\n3 changed, 99% sure", "keeps the rules")
    assert last.xaxis.label.get_color() == canvas.CHANGED
    assert first.xaxis.label.get_color() == canvas.WRONG
    written = []
    for axis in (asked, last):
        places = [text.get_position() for text in axis.texts]
        written.append({(int(y), int(x)): text for (x, y), text in zip(places, axis.texts, strict=True)})
    assert {place: text.get_text() for place, text in written[0].items()} == {
        divmod(i, 4): char for i, char in enumerate(SUDOKU_4[0]) if char != "."
    }
    assert [written[1][divmod(i, 4)].get_text() for i in range(16)] == list(SUDOKU_4[1])
    green = sorted(4 * r + c for (r, c), text in written[1].items() if text.get_color() == canvas.CHANGED)
    assert green == [i for i, char in enumerate(SUDOKU_4[0]) if char == "."]


def test_a_changed_clue_and_a_broken_rule_are_red(tmp_path: Path, drawn: list[Figure]) -> None:
    for puzzle, (question, answer), wrong, ground in (
        ("sudoku", SUDOKU_4, "4", canvas.WRONG_CELL),
        ("maze", MAZE, "o", canvas.WRONG),
    ):
        kind = kind_of(puzzle, 16)
        clue = next(i for i, char in enumerate(question) if char in "123#")
        bad = answer[:clue] + wrong + answer[clue + 1 :]
        rows = [replace(thoughts_of(kind, question, bad, 1)[0], satisfied=False)]
        draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), rows, "runs/x")
        assert holds(pixels(tmp_path / "strip.png"), ground) > 2_000
        animate_thoughts(tmp_path / "x.gif", kind, kind.parse(question), rows, "runs/x")
        assert holds(frames_of(tmp_path / "x.gif")[0][-1] / 255, ground) > 2_000
        for figure in drawn[-2:]:
            assert [text.get_text() for text in figure.texts[:2]] == ["runs/x", "not solved"]
    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), thoughts_of(kind, question, answer, 1))
    assert drawn[-1].texts[0].get_text() == "solved at supervision step 1"


def test_what_colours_mean_stands_below(tmp_path: Path, drawn: list[Figure]) -> None:
    for puzzle, cells, expected in (
        ("sudoku", 16, ["given", "changed", WRONG]),
        ("maze", 16, ["wall", "S, start", "G, goal", "path", "path, changed", WRONG]),
        ("arc", 900, [*"0123456789", "changed"]),
        (grid(), 4, ["given", "changed"]),
        (grid(line="rows columns"), 4, ["given", "changed", WRONG]),
    ):
        draw_thoughts(tmp_path / "x.png", kind_of(puzzle, cells), np.full(cells, 2, np.int32), [], "runs/x")
        assert [text.get_text() for text in drawn[-1].texts][-len(expected) :] == expected


def test_a_known_answer_tells_which_clues_of_an_own_puzzle_are_to_stay(tmp_path: Path, drawn: list[Figure]) -> None:
    """Where its rules are unknown, or speak of no cell; of what the answer itself changes, nothing is said."""
    for about, clues in ((grid(), [1]), (grid(line="rows columns"), [0, 1])):
        kind = kind_of(about, 4)
        question, label = kind.parse("ab.."), kind.parse("bbab")
        thought = Thought(kind.parse("baab"), np.ones(4, np.bool_), 0.0, None, 0.1, 1)
        draw_thoughts(tmp_path / "x.png", kind, question, [thought], "runs/x", label)
        figure = drawn[-1]
        red = [i for i, text in enumerate(boards(figure)[1].texts) if text.get_color() == canvas.WRONG]
        assert [i for i in red if i in (0, 1)] == clues
        legend = figure.texts[-1].get_text()
        assert legend == ("overwrites a clue" if about == grid() else WRONG)


def test_a_long_title_takes_several_lines_and_nothing_of_it_is_cut(tmp_path: Path, drawn: list[Figure]) -> None:
    kind, title = kind_of("sudoku", 16), "runs/a_name_that_is_long, averaged weights; row 17 of " + "a folder/" * 12

    draw_thoughts(tmp_path / "x.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 1), title)

    renderer = drawn[0].canvas.get_renderer()  # type: ignore[attr-defined]
    ends = [text.get_window_extent(renderer).x1 for text in drawn[0].texts]
    assert max(ends) < drawn[0].bbox.width
    assert len(ends) > 5


def test_one_cycle_a_step_makes_a_strip(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)

    draw_thoughts(tmp_path / "x.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 4, cycles=1))

    assert len({round(axis.get_position().y0, 3) for axis in boards(drawn[0])}) == 1
    assert boards(drawn[0])[1].get_title() == "step 1\n0 changed, 1% sure"


def test_the_curves_are_of_confidence_and_change(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 3))

    sure, change = curves(drawn[0])
    assert [axis.get_title(loc="left") for axis in (sure, change)] == ["confidence 99%", "change (log scale) 0.0001"]
    np.testing.assert_allclose(sure.lines[0].get_data()[1], [0.0067, 0.0067, 0.9933], atol=1e-4)
    # No change at all has no logarithm.
    np.testing.assert_allclose(change.lines[0].get_data()[1], [1, 0.5, 1e-4])
    assert change.get_yscale() == "log"
    assert [label.get_text() for label in sure.get_xticklabels()] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("puzzle", "question", "answer", "cycles"),
    [
        *((*case, 2) for case in CASES if case[1] != SUDOKU_9[0]),
        *(pytest.param(*case, 0, marks=pytest.mark.slow) for case in CASES),
        pytest.param("sudoku", "." * 256, "." * 256, 0, marks=pytest.mark.slow),
        ("tokens", " ".join("7" * 50), " ".join("9" * 50), 0),
        pytest.param("tokens", " ".join("7" * 50), " ".join("9" * 50), 2, marks=pytest.mark.slow),
    ],
)
def test_no_text_lies_on_another(
    puzzle: str, question: str, answer: str, cycles: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    cells = {"arc": 900, "tokens": 50}.get(puzzle, len(question))
    kind = kind_of(puzzle, cells)

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), thoughts_of(kind, question, answer, 9, cycles))

    renderer = drawn[0].canvas.get_renderer()  # type: ignore[attr-defined]
    texts: list[Any] = []
    for axis in drawn[0].axes:
        ticks = [*axis.get_xticklabels(), *axis.get_yticklabels()]
        texts += [axis.title, getattr(axis, "_left_title"), axis.xaxis.label, *axis.texts, *ticks]  # noqa: B009
    texts = [text for text in texts if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    width, height = (int(length) for length in drawn[0].canvas.get_width_height())
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= (2 if puzzle == "tokens" else 5)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for i, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:i]), texts[i].get_text()


def test_cells_have_whole_pixels_and_pure_colours(tmp_path: Path) -> None:
    kind = kind_of("maze", 900)
    question = "S" + " " * 29 + (" " + " #" * 14 + " ") * 28 + " " * 29 + "G"

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), [])

    image = pixels(tmp_path / "strip.png")
    assert holds(image, canvas.WALL) == 28 * 14 * 18 * 18 + holds(image[-50:], canvas.WALL)
    assert max(image.shape) < 800


def test_a_large_maze_stays_of_a_size_that_can_be_looked_at(tmp_path: Path) -> None:
    kind = kind_of("maze", 900)
    question = "S" + " " * 898 + "G"

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), thoughts_of(kind, question, question, 8))

    assert max(pixels(tmp_path / "strip.png").shape) < 3_000


def test_all_panels_of_arc_show_the_same_part(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("arc", 900)
    question, answer = kind.parse("12/34/56"), kind.parse("1234")
    # What a model leaves outside its grid is neither shown nor counted.
    untidy = np.where(answer == arc.PAD, 9, answer)

    draw_thoughts(tmp_path / "x.png", kind, question, [Thought(untidy, untidy != question, 0.0, None, 1.0, 1)])

    asked, answered = (np.asarray(axis.images[0].get_array()) for axis in boards(drawn[0]))
    assert asked.shape == answered.shape == (3, 4, 3)
    assert answered[1:].min() == 255
    assert boards(drawn[0])[1].get_title() == "step 1\n2 changed, 50% sure"
    dots = np.asarray(boards(drawn[0])[1].collections[0].get_offsets())
    assert sorted(dots.tolist()) == [[2.5, 0.5], [3.5, 0.5]]


def test_characters_that_mean_something_to_matplotlib(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of('{"kind": "grid", "shape": [1, 4], "alphabet": ".$_^\\\\%"}', 4)
    question = kind.parse("$_$^")

    draw_thoughts(tmp_path / "x.png", kind, question, [])

    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["\\$", "_", "\\$", "^"]


# ---- animations ----


def frames_of(path: Path) -> tuple[list[NDArray[np.uint8]], list[int]]:
    """The frames as RGB, and how long each stays, in milliseconds."""
    with Image.open(path) as image:
        frames, durations = [], []
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            durations.append(int(image.info["duration"]))
        assert image.format == "GIF"
        assert image.info["loop"] == 0
    return frames, durations


@pytest.mark.parametrize(
    ("puzzle", "question", "answer"),
    [case if case[0] == "maze" else pytest.param(*case, marks=pytest.mark.slow) for case in CASES],
)
def test_an_animation_has_a_frame_for_each_cycle_and_holds_the_last(
    puzzle: str, question: str, answer: str, tmp_path: Path
) -> None:
    kind, path = kind_of(puzzle, 900 if puzzle == "arc" else len(question)), tmp_path / "x.gif"
    thoughts = thoughts_of(kind, question, answer, 3, cycles=2)

    animate_thoughts(path, kind, kind.parse(question), thoughts)

    frames, durations = frames_of(path)
    assert len(frames) == 1 + 6
    assert durations == [1_000, *[200] * 5, 3_000]
    assert len({frame.shape for frame in frames}) == 1
    assert frames[0].shape[1] == 424
    for before, after in pairwise(frames):
        assert (before != after).any()
    shown = {
        "sudoku": canvas.GIVEN, "maze": canvas.CHANGED_PATH, "arc": "#0074d9"
    }[puzzle]  # fmt: skip
    assert holds(frames[-1] / 255, shown) > 500
    assert frames[-1][:5].min() == 255
    assert frames[-1][-5:].min() == 255
    first = path.read_bytes()
    animate_thoughts(path, kind, kind.parse(question), thoughts)
    assert path.read_bytes() == first


def test_an_animation_shows_what_a_picture_shows(tmp_path: Path) -> None:
    kind = kind_of("maze", 16)

    animate_thoughts(tmp_path / "x.gif", kind, kind.parse(MAZE[0]), thoughts_of(kind, *MAZE, 2, cycles=2))

    frames, _ = frames_of(tmp_path / "x.gif")
    # The board begins, below what stands above it, with the start.
    top = int((frames[0] == canvas.rgb(canvas.START)).all(axis=-1).any(axis=1).argmax())
    left, unit = 14 + (396 - 256) // 2, 64
    for text, frame in ((MAZE[0], frames[0]), (MAZE[0], frames[3]), (MAZE[1], frames[4])):
        for cell, char in enumerate(text):
            r, c = divmod(cell, 4)
            corner = frame[top + r * unit + 6, left + c * unit + 6]
            colour = {"#": canvas.WALL, "o": canvas.CHANGED_PATH, "S": canvas.START, "G": canvas.GOAL, " ": "#ffffff"}
            assert tuple(corner) == canvas.rgb(colour[char])


def random_run(kind: Kind, question: Tokens, steps: int, cycles: int) -> list[Thought]:
    """Answers of which a third of the cells changes each time."""
    rng = np.random.default_rng(0)
    values = np.array([1, 2, 5]) if isinstance(kind, Maze) else np.arange(2, kind.vocab_size)
    thoughts, before = [], question
    for step in range(1, steps + 1):
        for cycle in range(1, cycles + 1):
            fresh = rng.choice(values, len(question))
            tokens = np.where(rng.random(len(question)) < 1 / 3, fresh, before)
            thoughts.append(Thought(tokens, tokens != before, rng.normal(), False, rng.random(), step, cycle))
            before = tokens
    return thoughts


@pytest.mark.parametrize(
    ("puzzle", "cells", "most"),
    [("sudoku", 81, 1_000_000), ("maze", 900, 3_000_000)],
)
@pytest.mark.slow
def test_an_animation_stays_small(puzzle: str, cells: int, most: int, tmp_path: Path) -> None:
    kind = kind_of(puzzle, cells)
    question = np.ones(cells, np.int32)

    animate_thoughts(tmp_path / "x.gif", kind, question, random_run(kind, question, 16, 3))

    assert (tmp_path / "x.gif").stat().st_size < most
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == 49  # type: ignore[attr-defined]
        assert max(image.size) < 700


def test_an_animation_of_no_thoughts_is_the_question(tmp_path: Path) -> None:
    kind = kind_of("maze", 16)

    animate_thoughts(tmp_path / "x.gif", kind, kind.parse(MAZE[0]), [])

    with Image.open(tmp_path / "x.gif") as image:
        assert getattr(image, "n_frames", 1) == 1
        assert holds(np.asarray(image.convert("RGB")) / 255, canvas.WALL) > 500


def test_the_colours_of_an_animation_fit_a_gif() -> None:
    for kind in (kind_of("arc", 900), kind_of("sudoku", 81)):
        palette = pictures._palette(kind)
        assert len(palette) < 256
        for colour in (canvas.INK, canvas.CHANGED, canvas.PATH, *(kind.palette or ())):
            assert (palette == canvas.rgb(colour)).all(axis=1).any()
        # Pillow looks for the nearest by the upper six bits of each part.
        image = Image.new("P", (1, 1))
        image.putpalette(palette.tobytes())
        pure = [canvas.rgb(colour) for colour in (*COLOURS, *(kind.palette or ()))]
        found = Image.fromarray(np.array([pure], np.uint8)).quantize(palette=image, dither=Image.Dither.NONE)
        np.testing.assert_array_equal(np.asarray(found.convert("RGB"))[0], pure)


# ---- training ----


def training_rows(count: int) -> list[dict[str, float | None]]:
    rows: list[dict[str, float | None]] = []
    for step in range(20, 20 * count + 1, 20):
        share = None if step == 20 else 1 - np.exp(-step / 200)
        rows.append(
            {"step": step, "train/loss": np.exp(-step / 300), "train/lm_loss": 0.1, "train/exact_accuracy": share}
        )
        if step % 100 == 0:
            rows.append({"step": step, "eval/exact_accuracy": 0.5})
    return rows


def test_training_curves(tmp_path: Path, drawn: list[Figure]) -> None:
    path, rows = tmp_path / "training.png", training_rows(50)

    draw_training(path, rows)

    assert 400 < pixels(path).shape[0] < 600
    assert 1_000 < pixels(path).shape[1] < 1_300
    left, right = drawn[0].axes
    assert [line.get_label() for line in left.lines] == ["total", "tokens"]
    assert [line.get_label() for line in right.lines] == ["training, as halted", "held out, averaged"]
    assert np.asarray(left.lines[0].get_xdata()).tolist() == list(range(20, 1001, 20))
    assert np.asarray(right.lines[0].get_xdata()).tolist() == list(range(40, 1001, 20))  # the first row had none
    assert np.asarray(right.lines[1].get_xydata()).tolist() == [[step, 0.5] for step in range(100, 1001, 100)]
    assert (left.get_ylim()[0], right.get_ylim()) == (0, (-0.02, 1.02))  # none solved is a line above the axis
    assert left.lines[0].get_linewidth() > 2 * left.lines[1].get_linewidth()  # where both are the same, both are seen
    assert [label.get_text() for label in right.get_yticklabels()][:3] == ["0%", "20%", "40%"]
    for colour in (canvas.INK, canvas.CHANGED):
        assert holds(pixels(path), colour) > 100


@pytest.mark.parametrize("rows", [[], training_rows(1), [{"step": 1, "train/loss": None}]])
def test_training_curves_of_next_to_nothing(rows: Sequence[dict[str, Any]], tmp_path: Path) -> None:
    draw_training(tmp_path / "training.png", rows)

    assert pixels(tmp_path / "training.png").std() > 0.01


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: draw_training(path, []),
        lambda path: draw_thoughts(path, kind_of("sudoku", 16), np.ones(16, np.int8), []),
        lambda path: animate_thoughts(path, kind_of("sudoku", 16), np.ones(16, np.int8), []),
    ],
)
def test_a_picture_that_cannot_be_written_is_told_with_its_path(draw: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        draw(tmp_path / "missing" / "x.png")

    assert str(caught.value) == f"{tmp_path}/missing/x.png: cannot be written: No such file or directory"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    question = np.ones(16, np.int8)
    for draw in (draw_thoughts, animate_thoughts):
        with pytest.raises(DataError, match=r'pictures need matplotlib: pip install "trm_jax\[viz\]"'):
            draw(tmp_path / "x", kind_of("sudoku", 16), question, [])
    with pytest.raises(DataError, match=r'pictures need matplotlib: pip install "trm_jax\[viz\]"'):
        draw_training(tmp_path / "x.png", [])
