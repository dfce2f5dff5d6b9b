"""How training gets its puzzles: indices, symmetries and labels are made inside the compiled step.

A `Source` is what the step reads from: the whole set, where it fits on every device; or else the next few batches,
which a thread gathers on the host and sends ahead. Both give the same batches, bit for bit, and so does any number of
devices and processes: what is drawn for a row depends on the seed, the step and the row's number alone. Of a set that
is streamed, each process reads its own rows only.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.data.forms import forms_of
from trm_jax.data.order import Order, Position
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.stacked import Stacked
from trm_jax.devices.sharding import AXIS, EVERYWHERE, Layout
from trm_jax.errors import DataError
from trm_jax.model.losses import IGNORE
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.training.memory import device_memory
from trm_jax.training.supervision import Batch

# A set may take this share of a device's memory.
RESIDENT_SHARE = 0.2
# Calls that the host is ahead of the devices.
_AHEAD = 2
# No step has the number 0, so that its key is free for the stream of symmetries.
_SYMMETRIES = 0
# Nor the largest number that a step's count holds: that of the stream of revealed cells.
_REVEALED = (1 << 31) - 1

Rows = tuple[jax.Array, jax.Array, jax.Array, Position]

jax.tree_util.register_dataclass(
    Order, data_fields=["puzzle_starts", "group_starts"], meta_fields=["seed", "single", "forms"]
)


@partial(jax.tree_util.register_dataclass, data_fields=["inputs", "labels", "puzzle_ids", "order"], meta_fields=[])
@dataclass(frozen=True)
class Resident:
    """A whole set on each device.

    inputs, labels: tokens [N, S], uint8 where they fit into that.
    puzzle_ids: int32 [N], of the puzzles themselves.
    order: in which they come.
    """

    inputs: jax.Array
    labels: jax.Array
    puzzle_ids: jax.Array
    order: Order

    def specs(self) -> Any:
        """How the arrays lie."""
        return jax.tree.map(lambda _: EVERYWHERE, self)

    def rows(self, experiment: Experiment, layout: Layout, position: Position, number: jax.Array | int) -> Rows:
        """This device's rows of the next batch as tokens, the ids of their forms, and the position after the batch.

        The tokens are those of the puzzles themselves: no form is shown yet.
        """
        examples, forms, after = self.order.examples(position, experiment.train.batch_size)
        own, forms = layout.own((examples, forms))
        return self.inputs[own], self.labels[own], forms_of(experiment).ids(self.puzzle_ids[own], forms), after


@partial(jax.tree_util.register_dataclass, data_fields=["inputs", "labels", "puzzle_ids", "after"], meta_fields=[])
@dataclass(frozen=True)
class Streamed:
    """The batches of one call.

    inputs, labels: tokens [K, B, S] of the puzzles themselves.
    puzzle_ids: of the forms to show, int32 [K, B].
    after: the position after each batch, arrays int32 [K].
    """

    inputs: jax.Array
    labels: jax.Array
    puzzle_ids: jax.Array
    after: Position

    def specs(self) -> Any:
        """How the arrays lie."""
        by_rows = PartitionSpec(None, AXIS)
        return Streamed(by_rows, by_rows, by_rows, Position(EVERYWHERE, EVERYWHERE, EVERYWHERE))  # type: ignore[arg-type]

    def rows(self, experiment: Experiment, layout: Layout, position: Position, number: jax.Array | int) -> Rows:
        """As `Resident.rows`, of batch `number` of the call."""
        take = partial(jax.lax.dynamic_index_in_dim, index=number, axis=0, keepdims=False)
        return take(self.inputs), take(self.labels), take(self.puzzle_ids), Position(*map(take, self.after))


Source = Resident | Streamed


def next_batch(
    experiment: Experiment,
    layout: Layout,
    source: Source,
    position: Position,
    key_data: jax.Array,
    step: jax.Array,
    number: jax.Array | int,
) -> tuple[Batch, Position]:
    """This device's rows of the batch of a step, each in its form and, if so configured, moved at random. Pure.

    Args:
      experiment: resolved.
      layout: who makes the step; several devices: call this inside `jax.shard_map`.
      source: where puzzles come from.
      position: where the batch starts.
      key_data: of the random stream (TrainState.key).
      step: the optimiser step that the batch is for, from 1.
      number: of the step within the call, from 0.

    Returns:
      The rows, and the position after the whole batch.
    """
    inputs, labels, ids, after = source.rows(experiment, layout, position, number)
    if experiment.data.forms:
        inputs, labels = forms_of(experiment).turned(ids, inputs, labels)
    if experiment.data.augment:
        kind = kind_of(experiment.data.puzzle, experiment.model.seq_len)
        key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key_data), _SYMMETRIES), step)
        words = jax.random.bits(key, (experiment.train.batch_size, kind.words))
        inputs, labels = kind.augment(layout.own(words), inputs, labels)
    if experiment.data.reveal:
        inputs = _revealed(experiment, layout, inputs, labels, key_data, step)
    labels = labels.astype(jnp.int32)
    return Batch(inputs.astype(jnp.int32), jnp.where(labels == 0, IGNORE, labels), ids), after


def _revealed(
    experiment: Experiment, layout: Layout, inputs: jax.Array, labels: jax.Array, key_data: jax.Array, step: jax.Array
) -> jax.Array:
    """Questions with some blanks filled from their answers, so that rows are easier at first (config.data.reveal)."""
    data, train = experiment.data, experiment.train
    blank = kind_of(data.puzzle, experiment.model.seq_len).blank
    key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(key_data), _REVEALED), step)
    most = data.reveal * jnp.maximum(0.0, 1.0 - step / (data.reveal_share * train.steps))
    rows = layout.own(jnp.arange(train.batch_size))

    def draw(row: jax.Array) -> jax.Array:
        share_key, cells_key = jax.random.split(jax.random.fold_in(key, row))
        return jax.random.uniform(cells_key, inputs.shape[1:]) < most * jax.random.uniform(share_key)

    return jnp.where((inputs == blank) & (labels > 0) & jax.vmap(draw)(rows), labels, inputs)


class Feed(AbstractContextManager["Feed"]):
    """The sources of a run's calls, one after the other. A context manager."""

    def __init__(self, puzzles: PuzzleSet, experiment: Experiment, layout: Layout) -> None:
        """Args:
          puzzles: the set.
          experiment: resolved.
          layout: who trains.

        Raises:
          DataError: fewer examples than processes, or more than can be counted; no symmetries to draw.
        """
        if len(puzzles) < jax.process_count():
            raise DataError(
                f"{experiment.data.train}: {len(puzzles)} puzzles for {jax.process_count()} processes: start fewer"
            )
        if len(puzzles) >= 1 << 31:
            raise DataError(f"{experiment.data.train}: {len(puzzles):,} puzzles: give fewer than {1 << 31:,}")
        if experiment.data.augment and not kind_of(experiment.data.puzzle, puzzles.seq_len).words:
            raise DataError(
                f"config.data.augment = True, but no symmetries are known for {experiment.data.puzzle!r}: "
                "declare some, or set False"
            )
        if experiment.data.reveal and kind_of(experiment.data.puzzle, puzzles.seq_len).blank is None:
            raise DataError(
                f"config.data.reveal = {experiment.data.reveal}, but puzzles of kind {experiment.data.puzzle!r} have "
                "no blanks to fill: set it to 0"
            )
        self._puzzles, self._experiment, self._layout = puzzles, experiment, layout
        starts, groups = (part.astype(np.int32) for part in (puzzles.puzzle_starts, puzzles.group_starts))
        self._forms = forms_of(experiment)
        single = bool((np.diff(starts) == 1).all())
        self._order = Order(starts, groups, experiment.train.seed, single, self._forms.count)
        self._dtype = np.dtype(np.uint8 if puzzles.vocab_size <= 256 else np.int32)
        self._thread = ThreadPoolExecutor(1, "puzzles") if not self.resident else None

    def __len__(self) -> int:
        return len(self._puzzles)

    @property
    def size(self) -> int:
        """Bytes of the set on a device."""
        tokens = 2 * self._puzzles.seq_len * self._dtype.itemsize
        starts = len(self._order.puzzle_starts) + len(self._order.group_starts)
        return len(self._puzzles) * (tokens + 4) + 4 * starts

    @property
    def resident(self) -> bool:
        """Whether the whole set lies on each device."""
        wanted = self._experiment.devices.puzzles
        if wanted != "auto":
            return wanted == "resident"
        memory, _ = device_memory()
        if jax.default_backend() == "cpu":
            memory //= jax.local_device_count()  # they share it
        return self.size <= RESIDENT_SHARE * memory

    def sources(self, position: Position, counts: Iterable[int]) -> Iterator[Source]:
        """A source for each call, which makes so many steps; the first batch starts at `position`."""
        if self._thread is None:
            source = self._whole()
            for _ in counts:
                yield source
            return
        self._position = position
        waiting: deque[Future[Streamed]] = deque()
        for count in counts:
            waiting.append(self._thread.submit(self._sent, count))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _whole(self) -> Resident:
        puzzles = self._puzzles
        inputs, labels = (np.asarray(part).astype(self._dtype, copy=False) for part in (puzzles.inputs, puzzles.labels))
        everything: Any = Resident(inputs, labels, puzzles.puzzle_ids, self._order)  # type: ignore[arg-type]
        whole: Resident = self._layout.everywhere(everything)
        return whole

    def _sent(self, count: int) -> Streamed:
        """Draws and gathers the batches of a call, in the feed's thread, which does one call after the other."""
        batch_size = self._experiment.train.batch_size
        drawn, after = [], []
        for _ in range(count):
            drawn.append(self._order.examples(self._position, batch_size))
            self._position = drawn[-1].position
            after.append([np.int32(value) for value in self._position])
        examples_KB, numbers_KB = (np.stack(part) for part in ([d.examples for d in drawn], [d.forms for d in drawn]))

        def placed(rows: Callable[[Any], NDArray[Any]], *axes: int) -> jax.Array:
            """An array [K, B, *axes], made of its rows by index, each on the device that works on it."""
            sharding = self._layout.shardings(PartitionSpec(None, AXIS))
            return jax.make_array_from_callback((*examples_KB.shape, *axes), sharding, rows)

        def tokens(values: Tokens | Stacked) -> jax.Array:
            """Those of these examples; no others are read."""
            return placed(
                lambda index: np.asarray(values[examples_KB[index[:2]]]).astype(self._dtype, copy=False),
                self._puzzles.seq_len,
            )

        ids_KB = self._forms.ids(self._puzzles.puzzle_ids[examples_KB], numbers_KB)
        return Streamed(
            tokens(self._puzzles.inputs),
            tokens(self._puzzles.labels),
            placed(lambda index: ids_KB[index]),
            self._layout.everywhere(Position(*np.array(after, np.int32).T)),
        )

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
