"""ARC pairs moved, turned and recoloured as whole batches, against one grid at a time; by NumPy and JAX alike."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.puzzles import arc
from trm_jax.puzzles.arc_moves import TRANSLATION_WORDS, TURN_WORDS, augmentations, translated, turned
from trm_jax.puzzles.dihedral import dihedral_indices
from trm_jax.puzzles.kinds.arc import Arc

Pair = tuple[np.ndarray, np.ndarray]


def words(n: int, count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, (n, count), dtype=np.uint32)


def colours(rng: np.random.Generator, shape: tuple[int, ...]) -> arc.Grid:
    return rng.integers(0, 10, shape).astype(np.uint8)


def random_pairs(n: int) -> tuple[Pair, list[tuple[Pair, int, int]]]:
    """Tokens of n pairs of all sizes, the least and the largest often, and where the grids are."""
    rng = np.random.default_rng(1)
    boards: list[Pair] = []
    pairs = []
    for _ in range(n):
        sizes = np.where(rng.random((2, 2)) < 0.5, rng.choice([1, 2, 29, 30], (2, 2)), rng.integers(1, 31, (2, 2)))
        height, width = sizes.max(axis=0)
        row, column = int(rng.integers(31 - height)), int(rng.integers(31 - width))
        pair = colours(rng, tuple(sizes[0])), colours(rng, tuple(sizes[1]))
        boards.append((arc.encode(pair[0], row, column), arc.encode(pair[1], row, column)))
        pairs.append((pair, row, column))
    return (np.stack([b[0] for b in boards]), np.stack([b[1] for b in boards])), pairs


def check_against_single_grids(found: Pair, expected: list[tuple[arc.Grid, arc.Grid, int, int]]) -> None:
    for question, answer, (grid, output, row, column) in zip(*found, expected, strict=True):
        np.testing.assert_array_equal(question, arc.encode(grid, row, column))
        np.testing.assert_array_equal(answer, arc.encode(output, row, column))


def test_a_translated_pair_is_encoded_elsewhere() -> None:
    (inputs, labels), pairs = random_pairs(400)
    drawn = words(400, TRANSLATION_WORDS)
    expected = []
    for (pair, _, _), (for_row, for_column, for_corner) in zip(pairs, drawn.tolist(), strict=True):
        height, width = np.max([grid.shape for grid in pair], axis=0).tolist()
        place = (for_row % (31 - height), for_column % (31 - width)) if for_corner % 4 else (0, 0)
        expected.append((*pair, *place))
    check_against_single_grids(translated(drawn, inputs, labels), expected)


def test_a_turned_pair_is_the_augmentation_of_its_words() -> None:
    (inputs, labels), pairs = random_pairs(400)
    drawn = words(400, TURN_WORDS)
    changes = augmentations(drawn)
    assert {change.map for change in changes} == set(range(8))
    expected, pushed = [], 0
    for (pair, row, column), change in zip(pairs, changes, strict=True):
        assert arc.parse_name(change.name("task")) == ("task", change)
        images = [change.apply(grid) for grid in pair]
        height, width = np.max([image.shape for image in images], axis=0).tolist()
        expected.append((*images, min(row, 30 - height), min(column, 30 - width)))
        pushed += expected[-1][2:] != (row, column)
    assert pushed > 10, "there are images that do not fit where the pair was"
    check_against_single_grids(turned(drawn, inputs, labels), expected)


def test_words_say_map_and_colours() -> None:
    drawn = np.array([[11, 9, 8, 7, 6, 5, 4, 3, 2, 1], [2**32 - 1, *range(1, 10)]], np.uint32)
    assert augmentations(drawn) == [
        arc.Augmentation(3, (0, 9, 8, 7, 6, 5, 4, 3, 2, 1)), arc.Augmentation(7, tuple(range(10)))
    ]  # fmt: skip
    assert augmentations(jnp.asarray(drawn)) == augmentations(drawn)


@pytest.mark.parametrize("k", range(8))
def test_full_boards_turn_as_the_tables_say(k: int) -> None:
    board = colours(np.random.default_rng(0), (900,)) + np.uint8(2)
    drawn = np.array([[k, *range(9)]], np.uint32)
    for image in turned(drawn, board[None], board[None]):
        np.testing.assert_array_equal(image[0], board[dihedral_indices((30, 30))[k]])


def test_ends_are_marked_again_where_there_is_room() -> None:
    grid = colours(np.random.default_rng(0), (2, 29))
    low = arc.encode(grid, 28, 1)
    assert (low != arc.END).all()
    (found,), (also,) = translated(np.array([[4, 0, 1]], np.uint32), low[None], low[None])
    np.testing.assert_array_equal(found, arc.encode(grid, 4, 0))
    assert (found == arc.END).sum() == 2 + 29
    np.testing.assert_array_equal(also, found)
    (again,), _ = translated(np.array([[28, 1, 2]], np.uint32), found[None], found[None])
    np.testing.assert_array_equal(again, low)


@pytest.mark.parametrize(("move", "count"), [(translated, TRANSLATION_WORDS), (turned, TURN_WORDS)])
def test_padding_stays_padding(move: Callable[..., Pair], count: int) -> None:
    """Rows that fill up a batch, and answers that are not known; the other grid moves as it would alone."""
    nothing = np.zeros((50, 900), np.uint8)
    asked = np.stack([arc.encode(colours(np.random.default_rng(i), (3, 7)), i % 27, i % 23) for i in range(50)])
    drawn = words(50, count)
    assert not np.any(move(drawn, nothing, nothing))
    question, answer = move(drawn, asked, nothing)
    np.testing.assert_array_equal(question, move(drawn, asked, asked)[0])
    assert not answer.any()
    question, answer = move(drawn, nothing, asked)
    np.testing.assert_array_equal(answer, move(drawn, asked, asked)[1])
    assert not question.any()


def test_every_place_is_as_likely() -> None:
    """Both grids fit at 31 - 27 rows and 31 - 29 columns, and a quarter of draws goes to the first of all."""
    rng = np.random.default_rng(0)
    pair = arc.encode(colours(rng, (27, 5)), 3, 0), arc.encode(colours(rng, (2, 29)), 3, 0)
    inputs, labels = (np.tile(tokens, (4000, 1)) for tokens in pair)
    found, _ = translated(words(4000, TRANSLATION_WORDS), inputs, labels)
    boards, counts = np.unique(found, axis=0, return_counts=True)
    assert sorted(arc.decode_placed(board)[1:] for board in boards) == [(r, c) for r in range(4) for c in range(2)]
    expected = np.array(
        [4000 * (1 / 4 + 3 / 32 if arc.decode_placed(board)[1:] == (0, 0) else 3 / 32) for board in boards]
    )
    assert ((counts - expected) ** 2 / expected).sum() < 30  # chi-square, 7 degrees of freedom, p = 1e-4


def test_every_map_and_change_of_colours_is_as_likely() -> None:
    changes = augmentations(words(14_400, TURN_WORDS))
    assert all(change.colours[0] == 0 for change in changes)
    for colour in (1, 9):
        becomes = np.array([(change.map, change.colours[colour]) for change in changes])
        counts = np.bincount(becomes[:, 0] * 9 + becomes[:, 1] - 1, minlength=72)
        assert len(counts) == 72
        assert ((counts - 200) ** 2 / 200).sum() < 123  # 71 degrees of freedom
    pairs = np.array([change.colours[1:3] for change in changes])
    assert len(np.unique(pairs, axis=0)) == 72


@pytest.mark.parametrize(
    ("of_kind", "alone", "count"), [(Arc.augment, translated, Arc().words), (Arc.turned, turned, Arc.turning_words)]
)
def test_jax_moves_as_numpy_does(of_kind: Callable[..., Pair], alone: Callable[..., Pair], count: int) -> None:
    (inputs, labels), _ = random_pairs(200)
    inputs[:5], labels[3:8] = 0, 0
    drawn, compiled = words(200, count, 2), jax.jit(partial(of_kind, Arc()))
    for dtype in (np.uint8, np.int32):
        before = inputs.astype(dtype), labels.astype(dtype)
        by_numpy, by_jax = alone(drawn, *before), compiled(*map(jnp.asarray, (drawn, *before)))
        for host, device in zip(by_numpy, by_jax, strict=True):
            assert host.dtype == device.dtype == dtype
            np.testing.assert_array_equal(device, host)
        assert (by_numpy[0] != before[0]).any(axis=1).mean() > 0.5


def test_the_kind_tells_how_to_undo_a_turn() -> None:
    kind, rng = Arc(), np.random.default_rng(0)
    grids = [colours(rng, (3, 8)) for _ in range(20)]
    boards = np.stack([arc.encode(grid) for grid in grids])
    drawn = words(20, kind.turning_words)
    images, _ = kind.turned(drawn, boards, boards)
    for image, change, grid in zip(images, kind.augmentation(drawn), grids, strict=True):
        np.testing.assert_array_equal(change.invert(arc.crop(image)), grid)
