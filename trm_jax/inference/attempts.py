"""More computation at inference: any number of supervision steps, early halting, many attempts at one puzzle.

An *attempt* starts one puzzle once. The first attempt of a puzzle is the plain one; the others differ from it by noise
on the start, noise on the latent, or a random symmetry of the puzzle, undone afterwards. Attempts wait in a pool on
the device. Each row of the batch works on one of them; where it ends, the row takes the next that waits, so that the
batch stays full though some attempts take one supervision step and some take all. One `while_loop` empties a pool.

Where there are several devices, each is a *lane* with its own part of the pool, of the batch and of every array here
that has rows for them, and its own loop, which turns as often as that lane needs: devices exchange nothing meanwhile.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import MemoryConfig
from trm_jax.data.stacked import Stacked
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.errors import ConfigError
from trm_jax.inference.effort import Effort
from trm_jax.inference.lanes import Jobs, Lane, jobs_of, joined, lane_by_lane, on_host, rows_of
from trm_jax.inference.loop import Pool, Progress, Records, Slots, Work, empty_pool, idle
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# Attempts in a pool, as a multiple of the batch: the loop returns to the host once for so many.
_POOL = 4
# Supervision steps of a batch without a look at how far they are, and how many seconds lie between two looks.
_UNSEEN, _LOOK_SECONDS = (1 << 31) - 1, 1.0
_LARGE = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Attempts:
    """All attempts at some consecutive puzzles; what came after an attempt's end repeats its end.

    effort: that of all.
    first: index of the first puzzle.
    answers: tokens after each of the effort's depths, as the puzzle stood, [n, K, depths, S].
    q_halt: logit after each supervision step, [n, K, D].
    change: root mean square change of y and z by each supervision step, [n, K, D].
    margin: by how much the likeliest token of a cell leads the next, at the cell where that is least, after each
      supervision step, [n, K, D].
    halted_at: the first step at which q_halt was high enough to halt, 0 if there was none, [n, K].
    steps: supervision steps computed, [n, K].
    """

    effort: Effort
    first: int
    answers: Tokens
    q_halt: NDArray[np.float32]
    change: NDArray[np.float32]
    margin: NDArray[np.float32]
    halted_at: NDArray[np.int32]
    steps: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.steps)


def attempt(
    model: Model,
    weights: Weights,
    effort: Effort,
    inputs: Tokens | Stacked,
    puzzle_ids: NDArray[np.int32],
    batch_size: int,
    kind: Kind | None = None,
    layout: Layout = ALONE,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Attempts]:
    """Tries every puzzle, and yields the attempts in the order of the puzzles.

    What comes out is the same, but for rounding, whatever the batch and the number of devices and processes; where
    there are several processes, each calls this with the same arguments.

    Args:
      model, weights: who tries; weights that lie as `layout` says.
      effort: how hard.
      inputs, puzzle_ids: tokens [N, S] and rows of the puzzle table [N].
      batch_size: attempts worked on at once, by all devices together; rounded up to what they can share.
      kind: of the puzzles; needed for symmetries alone.
      layout: the devices.
      progress: told about once a second how many puzzles are done, those that are worked on counted in part.

    Raises:
      ConfigError: symmetries are asked for, but the kind has none.
    """
    if effort.symmetries and (kind is None or not kind.has_symmetries):
        name = "tokens" if kind is None else kind.name
        raise ConfigError(
            f"--symmetries: none are known for puzzles of kind {name!r}: let attempts differ by noise instead"
        )
    K, total = effort.attempts, len(inputs) * effort.attempts
    # The end of a race has to reach all attempts at a puzzle, so these wait in the same part of the same pool.
    together = K if effort.race else 1
    # The numbers that follow are of one lane; `share` is the most attempts that any has in the end.
    share = -(-total // (together * layout.count)) * together
    batch_size = min(-(-batch_size // layout.count), share)
    pool_size = min(-(-_POOL * batch_size // K) * K, share)
    rows = pool_size + batch_size
    collector = _Collector(effort)
    lanes = [Lane(effort, model.config, rows, batch_size) for _ in range(layout.count)]
    # Nothing is kept for gradients here. Neither seed nor number of attempts nor symmetries change the program.
    model, static = replace(model, memory=MemoryConfig()), replace(effort, attempts=1, symmetries=False, seed=0)
    state, finished = idle(model, layout, weights.starts, batch_size), 0
    for begin in range(0, total, pool_size * layout.count):
        numbers = np.arange(begin, min(begin + pool_size * layout.count, total))
        fresh = jobs_of(numbers, effort, inputs, puzzle_ids, kind)
        places = np.arange(len(numbers)).reshape(-1, together)
        for i, lane in enumerate(lanes):
            # Neighbours may be turns of one task, as hard as each other: dealt out, they load all lanes alike.
            lane.receive(rows_of(fresh, places[i :: layout.count].ravel()))
        pool, records = joined([lane.pool() for lane in lanes]), joined([lane.records for lane in lanes])
        slots = Slots(layout.spread(np.concatenate([lane.slots for lane in lanes])), state)
        taken = np.array([(lane.slots < rows).sum() for lane in lanes], np.int32)
        # In a race, nothing that still runs can have lost: who halts ends the others at once.
        won = np.zeros(rows * layout.count, np.bool_)
        work = Work(slots, *layout.spread((records, taken, won)))
        pool, last = layout.spread(pool), begin + len(numbers) == total

        def step(work: Work, turns: int, pool: Pool = pool, last: bool = last) -> tuple[Work, Progress]:
            return empty_pool(model, static, layout, weights, effort.seed, pool, work, last, turns)

        work = _emptied(step, work, partial(_tell, progress, finished, K) if progress else None)
        state, found = work.slots.state, on_host((work.slots.job, work.records))
        for lane, (job, known) in zip(lanes, lane_by_lane(found, layout.count), strict=True):
            collector.add(*(ended := lane.finish(job, known)))
            finished += len(ended[0].number)
        yield from collector.ready()


def _emptied(
    step: Callable[[Work, int], tuple[Work, Progress]], work: Work, tell: Callable[[float], None] | None
) -> Work:
    """The work when it is done; tell: told now and then how many of its jobs are, if anybody wants to know."""
    busy, turns = True, 1 if tell else _UNSEEN
    while busy:
        began = time.perf_counter()
        work, seen = step(work, turns)
        lanes = on_host(seen)
        busy = bool(lanes.busy.any())
        if tell:
            tell(float(lanes.done.sum()))
        pace = turns / max(time.perf_counter() - began, 1e-6)
        turns = max(1, min(_UNSEEN, int(pace * _LOOK_SECONDS)))
    return work


def _tell(progress: Callable[[int], None], finished: int, attempts: int, done: float) -> None:
    """Progress in puzzles; finished, done: jobs of earlier pools and of this one."""
    progress(int((finished + done) / attempts))


class _Collector:
    """Takes finished jobs in any order and gives out puzzles in theirs."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._next = 0
        self._done: dict[int, tuple[Any, ...]] = {}

    def add(self, jobs: Jobs, records: Records) -> None:
        answers = records.answers
        if jobs.symmetries is not None:
            back = jobs.symmetries.inverse()
            for depth in range(answers.shape[1]):
                answers[:, depth] = back.apply(answers[:, depth])
        # After an attempt's end the last value stands.
        at = np.minimum(np.arange(self._effort.steps), np.maximum(records.steps, 1)[:, None] - 1)
        by_step = records.q_halt, records.change, records.margin
        q_halt, change, margin = (np.take_along_axis(part, at, axis=1) for part in by_step)
        # A model that has diverged says nan, which would win every comparison: it is sure of nothing, never at rest.
        q_halt, change = np.nan_to_num(q_halt, nan=-_LARGE), np.nan_to_num(change, nan=_LARGE)
        margin = np.nan_to_num(margin, nan=0.0)
        rows = zip(answers, q_halt, change, margin, records.halted_at, records.steps, strict=True)
        self._done.update(zip(jobs.number.tolist(), rows, strict=True))

    def ready(self) -> Iterator[Attempts]:
        K, first = self._effort.attempts, self._next
        while all(number in self._done for number in range(self._next * K, (self._next + 1) * K)):
            self._next += 1
        if self._next == first:
            return
        rows = [self._done.pop(number) for number in range(first * K, self._next * K)]
        parts = (np.stack(part) for part in zip(*rows, strict=True))
        yield Attempts(self._effort, first, *(part.reshape(self._next - first, K, *part.shape[1:]) for part in parts))
