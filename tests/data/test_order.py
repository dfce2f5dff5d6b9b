"""The order of training: every group once an epoch, nothing lost between batches, the same in NumPy and JAX."""

import itertools
from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from trm_jax.data.order import Order, Position, digest, shuffled

# Three groups of 2, 1 and 3 puzzles, whose numbers of examples are 2, 1, 3, 1, 2 and 2.
PUZZLES = np.array([0, 2, 3, 6, 7, 9, 11], np.int32)
GROUPS = np.array([0, 2, 3, 6], np.int32)
START = Position()


def singles(count: int, seed: int = 0) -> Order:
    starts = np.arange(count + 1, dtype=np.int32)
    return Order(starts, starts, seed, single=True)


def several(seed: int = 0, forms: int = 0) -> Order:
    return Order(PUZZLES, GROUPS, seed, single=False, forms=forms)


def whole(position: Position) -> Position:
    return Position(*map(int, position))


def drawn(order: Order, sizes, position=START) -> tuple[list[int], Position]:
    """Examples of consecutive batches, and the position after them."""
    found: list[int] = []
    for size in sizes:
        examples, _, position = order.examples(position, size)
        found += examples.tolist()
    return found, whole(position)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 23])
def test_every_epoch_takes_each_puzzle_once_and_batches_lose_none(batch_size):
    found, _ = drawn(singles(10), [batch_size] * -(-30 // batch_size))
    epochs = [found[start : start + 10] for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert drawn(singles(10), [1] * 30)[0] == found[:30], "the order knows nothing of the size of batches"


def test_each_group_once_an_epoch_by_one_of_its_puzzles_with_all_examples():
    order, position, seen, orders = several(5), Position(), set(), set()
    for epoch in range(60):
        examples = []
        while position.epoch == epoch:
            found, _, position = order.examples(position, 1)
            position = whole(position)
            examples += found.tolist()
        puzzle_of = [int(np.searchsorted(PUZZLES, example, side="right")) - 1 for example in examples]
        taken = list(dict.fromkeys(puzzle_of))
        expected = [e for puzzle in taken for e in range(PUZZLES[puzzle], PUZZLES[puzzle + 1])]
        assert sorted(examples) == sorted(expected)
        assert puzzle_of == sorted(puzzle_of, key=taken.index), "the examples of a puzzle stay together"
        groups = [int(np.searchsorted(GROUPS, puzzle, side="right")) - 1 for puzzle in taken]
        assert sorted(groups) == [0, 1, 2]
        seen |= set(taken)
        orders.add(tuple(groups))
        orders |= {tuple(e for e in examples if 3 <= e < 6)} if 2 in taken else set()
    assert seen == set(range(6)), "every puzzle has its turn"
    assert len(orders) == 6 + 6, "groups and examples in every order"


@pytest.mark.parametrize("order", [singles(50), several()], ids=["singles", "several"])
def test_any_cut_into_batches_gives_the_same_examples(order):
    expected, end = drawn(order, [400])
    rng = np.random.default_rng(0)
    for _ in range(5):
        cuts = np.sort(rng.integers(1, 400, 9))
        sizes = [size for size in np.diff([0, *cuts, 400]).tolist() if size]
        found, position = drawn(order, sizes)
        assert found == expected
        assert position == end


@pytest.mark.parametrize(
    "order", [singles(50, 3), several(3), several(3, forms=6)], ids=["singles", "several", "several in forms"]
)
def test_numpy_and_jax_agree(order):
    @jax.jit
    def jitted(puzzle_starts, group_starts, position):
        traced = replace(order, puzzle_starts=puzzle_starts, group_starts=group_starts)
        return traced.examples(position, 64)

    here, there = Position(7, 2, 0), Position(*map(jnp.int32, (7, 2, 0)))
    for _ in range(3):
        *ours, here = order.examples(here, 64)
        *theirs, there = jitted(jnp.asarray(order.puzzle_starts), jnp.asarray(order.group_starts), there)
        for one, other in zip(ours, theirs, strict=True):
            assert one.dtype == other.dtype == np.int32
            np.testing.assert_array_equal(one, other)
        assert whole(here) == whole(there)
        assert bool(ours[1].any()) == bool(order.forms)


def test_a_visit_shows_all_examples_of_a_puzzle_in_one_form():
    order, position = several(5, forms=2), START
    shown = []
    for size in [7] * 60:
        found, forms, position = order.examples(position, size)
        puzzles = np.searchsorted(PUZZLES, found, side="right") - 1
        shown += zip(puzzles.tolist(), forms.tolist(), strict=True)
    plain, end = drawn(several(5), [7] * 60)
    assert plain == drawn(order, [420])[0], "forms change no order"
    assert whole(position) == end
    sizes, visits, i = np.diff(PUZZLES), [], 0
    while i < len(shown):
        visits.append(shown[i])
        assert set(shown[i : i + sizes[shown[i][0]]]) == {shown[i]}
        i += sizes[shown[i][0]]
    assert set(visits) == {(puzzle, form) for puzzle in range(6) for form in range(3)}
    forms = np.array([form for _, form in visits])
    assert np.bincount(forms).min() > 0.25 * len(visits)
    assert 0.5 < (np.diff(forms) != 0).mean() < 0.8, "each visit has a draw of its own"


def test_the_short_way_for_single_examples_leads_to_the_same():
    order = replace(singles(50, 3), forms=6)
    short, long = order.examples(Position(1, 20, 0), 64), replace(order, single=False).examples(Position(1, 20, 0), 64)
    np.testing.assert_array_equal(short.examples, long.examples)
    np.testing.assert_array_equal(short.forms, long.forms)
    assert whole(short.position) == whole(long.position)
    assert set(short.forms.tolist()) == set(range(7))


def test_seeds_differ_and_one_seed_does_not():
    assert drawn(singles(10), [20]) == drawn(singles(10), [20])
    assert len({tuple(drawn(singles(10, seed), [10])[0]) for seed in range(8)}) == 8
    first = (replace(singles(10, seed), forms=999).examples(START, 10) for seed in range(8))
    assert len({one.forms[one.examples == 0].item() for one in first}) == 8


def permutations(count: int, keys: int) -> np.ndarray:
    """One for each of so many keys, [keys, count]."""
    key = digest(np.repeat(np.arange(keys, dtype=np.uint32), count), stream=9)
    places = np.tile(np.arange(count, dtype=np.uint32), keys)
    return shuffled(key, places, np.full_like(places, count)).reshape(keys, count)


@pytest.mark.parametrize("count", [1, 2, 3, 1_000, 65_537])
def test_a_shuffle_is_a_permutation(count):
    for found in permutations(count, keys=3):
        np.testing.assert_array_equal(np.sort(found), np.arange(count))


def test_all_orders_of_four_are_as_likely():
    counts = Counter(tuple(found.tolist()) for found in permutations(4, keys=4_800))
    assert set(counts) == set(itertools.permutations(range(4)))
    # 200 of each are expected; of 23 degrees of freedom fewer than one in a million go beyond 70.
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 70


def test_long_orders_keep_nothing_of_the_old_one():
    found = permutations(1_000, keys=200)
    fixed = (found == np.arange(1_000)).sum(axis=1)
    assert abs(fixed.mean() - 1) < 0.35  # five standard deviations of the mean
    neighbours = (np.diff(found, axis=1) == 1).sum(axis=1)
    assert abs(neighbours.mean() - 1) < 0.35
    correlation = np.corrcoef(found.reshape(-1), np.tile(np.arange(1_000), 200))[0, 1]
    assert abs(correlation) < 5 / np.sqrt(found.size)
    ascents = (np.diff(found, axis=1) > 0).mean()
    assert abs(ascents - 0.5) < 5 * np.sqrt(1 / 12 / found.size)


def test_the_rounds_of_a_shuffle_are_a_loop_for_the_compiler():
    """Written out one after the other, XLA of jax 0.11 fuses them and computes each for every use of it: for ever."""
    words = jnp.zeros((8,), jnp.uint32)
    operations = jax.make_jaxpr(shuffled)(words, words, words + 1).eqns
    assert len(operations) < 60
    assert "scan" in {operation.primitive.name for operation in operations}
