"""Batches made inside the step: bit-equal to NumPy's, from the device or from the host, for any number of devices."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from made_batches import assert_same, key_data, made, with_devices

from trm_jax.config import DataConfig, DevicesConfig, Experiment, ModelConfig, TrainConfig
from trm_jax.data import dataset
from trm_jax.data.order import Order, Position
from trm_jax.data.puzzle_set import from_pairs
from trm_jax.devices.sharding import layout_of
from trm_jax.errors import DataError
from trm_jax.model.losses import IGNORE
from trm_jax.puzzles import sudoku
from trm_jax.puzzles.kinds import kind_of
from trm_jax.training.feed import Feed

SUDOKU = DataConfig(puzzle="sudoku", side=4, train="generated", test="generated", train_puzzles=60, test_puzzles=40)
PLAIN = Experiment(
    model=ModelConfig(vocab_size=6, seq_len=16, num_puzzles=1, width=8, heads=1, puzzle_dim=8),
    data=SUDOKU,
    devices=DevicesConfig(data=1, puzzles="resident"),
    train=TrainConfig(batch_size=48, seed=5),
)
TURNED = replace(PLAIN, data=replace(SUDOKU, augment=True))
EASIER = replace(PLAIN, data=replace(SUDOKU, reveal=0.8, reveal_share=0.5), train=replace(PLAIN.train, steps=6))


@pytest.fixture(scope="module")
def puzzles():
    return dataset.load(SUDOKU, "train", 0)


def reference(experiment, puzzles, steps, seed=5):
    """The same batches in NumPy, but for the random words."""
    order = Order(*(s.astype(np.int32) for s in (puzzles.puzzle_starts, puzzles.group_starts)), 5, single=True)
    kind, position, key = kind_of("sudoku", 16), Position(), jax.random.wrap_key_data(key_data(seed))
    for step in range(1, steps + 1):
        rows, _, position = order.examples(position, 48)
        inputs, labels = puzzles.inputs[rows], puzzles.labels[rows]
        if experiment.data.augment:
            words = jax.random.bits(jax.random.fold_in(jax.random.fold_in(key, 0), step), (48, kind.words))
            inputs, labels = kind.augment(np.asarray(words), inputs, labels)
        yield inputs, labels


@pytest.mark.parametrize("experiment", [PLAIN, TURNED], ids=["plain", "turned"])
def test_batches_are_those_of_numpy(experiment, puzzles):
    found, _ = made(experiment, puzzles)
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {np.dtype(np.int32)}
    for step, (inputs, labels) in enumerate(reference(experiment, puzzles, 6)):
        np.testing.assert_array_equal(found.inputs[:, step], inputs)
        np.testing.assert_array_equal(found.labels[:, step], labels)


@pytest.mark.parametrize("changes", [
    {"puzzles": "streamed"}, {"data": 8}, {"data": 4, "puzzles": "streamed"},
])  # fmt: skip
def test_neither_where_puzzles_lie_nor_how_many_devices_there_are_changes_a_bit(changes, puzzles):
    assert_same(made(with_devices(TURNED, **changes), puzzles), made(TURNED, puzzles))


@pytest.mark.slow
def test_what_is_revealed_to_a_row_depends_on_no_device(puzzles):
    assert_same(made(with_devices(EASIER, puzzles="streamed", data=2), puzzles), made(EASIER, puzzles))


def test_examples_of_a_puzzle_their_ids_and_a_position_within(tmp_path):
    tokens = np.arange(1, 12)[:, None] + np.zeros((11, 16), np.int64)
    ids = np.repeat(np.arange(1, 7), [2, 1, 3, 1, 2, 2]).astype(np.int32)
    labels = tokens.copy()
    labels[:, 3] = 0
    puzzles = replace(
        from_pairs(tokens, labels, 300),
        puzzle_ids=ids,
        puzzle_starts=np.array([0, 2, 3, 6, 7, 9, 11]),
        group_starts=np.array([0, 2, 3, 6]),
        num_puzzles=7,
    )
    start = Position(2, 1, 0)
    resident = made(PLAIN, puzzles, calls=2, start=start)
    streamed = with_devices(PLAIN, puzzles="streamed", data=2)
    assert_same(made(streamed, puzzles, calls=2, start=start), resident)
    batch, _ = resident
    np.testing.assert_array_equal(batch.puzzle_ids, ids[batch.inputs[:, :, 0] - 1])
    np.testing.assert_array_equal(batch.labels[:, :, 3], IGNORE)
    np.testing.assert_array_equal(batch.labels[:, :, 4], batch.inputs[:, :, 4])


def test_augmentation_turns_question_and_answer_alike_and_each_batch_of_each_seed_anew(puzzles):
    layout = sudoku.layout_for(4)
    (plain, _), (turned, _), (other, _) = made(PLAIN, puzzles), made(TURNED, puzzles), made(TURNED, puzzles, seed=6)
    for step in range(6):
        inputs, labels = turned.inputs[:, step], turned.labels[:, step]
        assert sudoku.answers(sudoku.decode(inputs), sudoku.decode(labels), layout).all()
        np.testing.assert_array_equal((plain.inputs[:, step] == 1).sum(axis=1), (inputs == 1).sum(axis=1))
        assert (plain.labels[:, step] != labels).any(axis=1).mean() > 0.9
    one = from_pairs(np.repeat(puzzles.inputs[:1], 20, axis=0), np.repeat(puzzles.labels[:1], 20, axis=0), 6)
    alike, _ = made(TURNED, one, calls=1)
    assert (alike.inputs[:, 0] != alike.inputs[:, 1]).any(axis=1).mean() > 0.9
    assert (turned.inputs != other.inputs).any(axis=2).mean() > 0.9


def test_blanks_are_revealed_from_the_answer_ever_fewer_and_each_row_by_a_share_of_its_own(puzzles):
    (plain, _), (found, _) = made(PLAIN, puzzles), made(EASIER, puzzles)
    np.testing.assert_array_equal(found.labels, plain.labels)
    blank = plain.inputs == 1
    shown = found.inputs != plain.inputs
    assert not (shown & ~blank).any()
    np.testing.assert_array_equal(found.inputs[shown], found.labels[shown])
    of_rows = shown.sum(axis=2) / blank.sum(axis=2)
    # At most 0.8, and less with each step until half of the run is over; a row's share is uniform up to that.
    for step, most in enumerate((0.8 * 2 / 3, 0.8 / 3, 0, 0, 0, 0)):
        assert abs(of_rows[:, step].mean() - most / 2) <= 0.2 * most
    assert np.ptp(of_rows[:, 0]) > 0.35


def test_puzzles_that_fit_lie_on_the_device(puzzles, monkeypatch):
    feed = Feed(puzzles, with_devices(PLAIN, puzzles="auto"), layout_of(PLAIN))
    assert feed.size == 60 * (2 * 16 + 4) + 4 * 2 * 61
    for memory, resident in ((feed.size * 8 * 5, True), (feed.size * 8 * 5 - 8, False)):
        monkeypatch.setattr("trm_jax.training.feed.device_memory", lambda memory=memory: (memory, "as told"))
        assert feed.resident == resident


def test_what_cannot_be_fed_is_told(puzzles, monkeypatch):
    layout = layout_of(PLAIN)
    tokens = replace(PLAIN, data=replace(SUDOKU, puzzle="tokens", augment=True, train="files"))
    with pytest.raises(DataError, match=r"no symmetries are known for 'tokens': declare some, or set False"):
        Feed(puzzles, tokens, layout)
    monkeypatch.setattr(jax, "process_count", lambda: 61)
    with pytest.raises(DataError, match="60 puzzles for 61 processes: start fewer"):
        Feed(puzzles, PLAIN, layout)


def test_a_fault_of_the_thread_reaches_the_loop(puzzles):
    class Unreadable:
        shape, dtype = puzzles.inputs.shape, puzzles.inputs.dtype

        def __len__(self):
            return 60

        def __getitem__(self, rows):
            raise OSError("the disk has gone")

    experiment = with_devices(PLAIN, puzzles="streamed")
    feed = Feed(replace(puzzles, inputs=Unreadable()), experiment, layout_of(experiment))
    with feed, pytest.raises(OSError, match="the disk has gone"):
        next(feed.sources(Position(), [1, 1, 1]))
