"""Pictures: they can be read back, hold what they should, and nothing lies outside them or on top of another."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from trm_jax import pictures
from trm_jax.errors import DataError
from trm_jax.pictures import draw_thoughts, draw_training
from trm_jax.puzzles.kind import Kind, kind_of
from trm_jax.solve import Thought

SUDOKU_4 = "12..341.21434321", "1234341221434321"
SUDOKU_9 = (
    "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79",
    "534678912672195348198342567859761423426853791713924856961537284287419635345286179",
)
MAZE = "S#  " "  # " "# ##" "#  G", "S#  " "oo# " "#o##" "#ooG"  # fmt: skip
CASES = [("sudoku", *SUDOKU_4), ("sudoku", *SUDOKU_9), ("maze", *MAZE)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is saved, to look into after it was."""
    figures: list[Figure] = []
    save = pictures._save

    def keep(figure: Figure, path: Path) -> None:
        save(figure, path)
        figures.append(figure)

    monkeypatch.setattr(pictures, "_save", keep)
    return figures


def thoughts_of(kind: Kind, question: str, answer: str, steps: int) -> list[Thought]:
    """The question as it is until the last step, at which the answer appears."""
    asked, answered = kind.parse(question), kind.parse(answer)
    nothing = np.zeros(len(asked), np.bool_)
    rows = [Thought(asked, nothing, -5.0, False)] * (steps - 1)
    return [*rows, Thought(answered, asked != answered, 5.0, True)]


def pixels(path: Path) -> NDArray[np.floating[Any]]:
    assert path.read_bytes().startswith(b"\x89PNG")
    return matplotlib.image.imread(path)[..., :3]


def holds(image: NDArray[np.floating[Any]], colour: str) -> int:
    """How many pixels have just this colour."""
    return int((np.abs(image - to_rgb(colour)) < 0.5 / 255).all(axis=-1).sum())


@pytest.mark.parametrize(("puzzle", "question", "answer"), CASES)
@pytest.mark.parametrize(("steps", "across", "down"), [(1, 2, 1), (4, 5, 1), (40, 5, 2)])
def test_filmstrip(
    puzzle: str, question: str, answer: str, steps: int, across: int, down: int, tmp_path: Path, drawn: list[Figure]
) -> None:
    kind, path = kind_of(puzzle, len(question)), tmp_path / "strip.png"

    draw_thoughts(path, kind, kind.parse(question), thoughts_of(kind, question, answer, steps))

    image = pixels(path)
    height, width = image.shape[:2]
    side = 150 * max(1.8, 0.24 * kind.shape[0])  # of a grid, in pixels
    assert side * across < width < 1.4 * side * across
    assert side * down < height < 1.6 * side * down
    assert 0.3 < (image == 1).all(axis=-1).mean() < 0.95
    assert holds(image, pictures._GIVEN) > 500
    assert (holds(image, pictures._WALL) > 500) == (puzzle == "maze")
    assert (holds(image, pictures._CHANGED_PATH) > 500) == (puzzle == "maze")
    # White all round: nothing was cut.
    for edge in (image[:5], image[-5:], image[:, :5], image[:, -5:]):
        assert (edge == 1).all()
    titles = [axis.get_title().splitlines()[0] for axis in drawn[0].axes if axis.axison]
    numbers = range(1, steps + 1) if steps < 9 else [*range(1, 8), steps]
    assert titles == ["question", *(f"step {number}" for number in numbers)]


def test_titles_verdicts_and_changed_cells(tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of("sudoku", 16)

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(SUDOKU_4[0]), thoughts_of(kind, *SUDOKU_4, 2))

    asked, first, last = drawn[0].axes
    assert (asked.get_title(), asked.get_xlabel()) == ("question", "")
    assert (first.get_title(), first.get_xlabel()) == ("step 1\n0 changed, 1% sure", "breaks the rules")
    assert (last.get_title(), last.get_xlabel()) == ("step 2\n3 changed, 99% sure", "keeps the rules")
    assert last.xaxis.label.get_color() == pictures._CHANGED
    assert first.xaxis.label.get_color() == pictures._WRONG
    assert [text.get_text() for text in asked.texts] == [char for char in SUDOKU_4[0] if char != "."]
    assert "".join(text.get_text() for text in last.texts) == SUDOKU_4[1]
    green = [i for i, text in enumerate(last.texts) if text.get_color() == pictures._CHANGED]
    assert green == [i for i, char in enumerate(SUDOKU_4[0]) if char == "."]


@pytest.mark.parametrize(("puzzle", "question", "answer"), [*CASES, ("sudoku", "." * 256, "." * 256)])
def test_no_text_lies_on_another(puzzle: str, question: str, answer: str, tmp_path: Path, drawn: list[Figure]) -> None:
    kind = kind_of(puzzle, len(question))

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), thoughts_of(kind, question, answer, 9))

    drawn[0].canvas.draw()  # saving has left some places as they were within the cropped figure
    renderer = drawn[0].canvas.get_renderer()  # type: ignore[attr-defined]
    texts = [text for axis in drawn[0].axes for text in (axis.title, axis.xaxis.label, *axis.texts) if text.get_text()]
    boxes = [text.get_window_extent(renderer) for text in texts]
    for text in texts:
        assert text.get_fontsize() >= 5
    for i, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[:i])


def test_a_large_maze_stays_of_a_size_that_can_be_looked_at(tmp_path: Path) -> None:
    kind = kind_of("maze", 900)
    question = "S" + " " * 898 + "G"

    draw_thoughts(tmp_path / "strip.png", kind, kind.parse(question), thoughts_of(kind, question, question, 8))

    assert max(pixels(tmp_path / "strip.png").shape) < 3_000


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
    assert (left.get_ylim()[0], right.get_ylim()) == (0, (0, 1.02))
    assert [label.get_text() for label in right.get_yticklabels()][:3] == ["0%", "20%", "40%"]
    for colour in (pictures._INK, pictures._CHANGED):
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
    ],
)
def test_a_picture_that_cannot_be_written_is_told_with_its_path(draw: Callable[[Path], None], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        draw(tmp_path / "missing" / "x.png")

    assert str(caught.value) == f"{tmp_path}/missing/x.png: cannot be written: No such file or directory"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)

    with pytest.raises(DataError, match=r'pictures need matplotlib: pip install "trm_jax\[viz\]"'):
        draw_training(tmp_path / "x.png", [])
