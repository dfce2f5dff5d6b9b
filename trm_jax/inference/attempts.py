"""More computation at inference: any number of supervision steps, early halting, many attempts at one puzzle.

An *attempt* starts one puzzle once. The first attempt of a puzzle is the plain one; the others differ from it by noise
on the start, noise on the latent, or a random symmetry of the puzzle, undone afterwards. Attempts wait in a pool on
the device. Each row of the batch works on one of them; where it ends, the row takes the next that waits, so that the
batch stays full though some attempts take one supervision step and some take all. One `while_loop` empties a pool.

Where there are several devices, each is a *lane* with its own part of the pool, of the batch and of every array here
that has rows for them, and its own loop, which turns as often as that lane needs: devices exchange nothing meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from numpy.typing import NDArray

from trm_jax.config import MemoryConfig, ModelConfig
from trm_jax.data.stacked import Stacked
from trm_jax.devices.sharding import ALONE, BY_ROWS, EVERYWHERE, Layout
from trm_jax.errors import ConfigError
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Symmetries, Tokens, identities
from trm_jax.recursion.recursion import State

# Attempts in a pool, as a multiple of the batch: the loop returns to the host once for so many.
_POOL = 4
# Symmetries drawn at once.
_DRAWN = 16
# Numbers are kept of every supervision step, and attempts at a puzzle are compared each with each: beyond these,
# memory would not do.
_MOST_STEPS, _MOST_ATTEMPTS = 1 << 16, 1 << 12
_LARGE = float(np.finfo(np.float32).max)

_Arrays = TypeVar("_Arrays")


@dataclass(frozen=True)
class Effort:
    """How much is computed for a puzzle.

    depths: numbers of supervision steps after which answers are kept, rising; the last one is the most of an attempt.
    halting: an attempt ends at the first step at which it halts and keeps that answer, instead of going on to the last.
    halt_above: it halts where q_halt is above this; 0 as in training, more for less haste.
    attempts: K, how often each puzzle is tried.
    start_noise: standard deviation of normal noise on the initial y and z (which are of size 1), but for the first try.
    latent_noise: the same on z before every supervision step (PTRM, arXiv 2605.19943), but for the first try.
    symmetries: every try but the first sees the puzzle under a random symmetry of its kind.
    race: all attempts at a puzzle end when the first of them halts; which that is depends on who runs side by side.
    seed: of noise and symmetries. Attempt k of puzzle i is the same whatever else is computed beside it.
    """

    depths: tuple[int, ...]
    halting: bool = False
    halt_above: float = 0.0
    attempts: int = 1
    start_noise: float = 0.0
    latent_noise: float = 0.0
    symmetries: bool = False
    race: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.depths or self.depths[0] < 1 or sorted(set(self.depths)) != list(self.depths):
            raise ConfigError(f"supervision steps {list(self.depths)}: give rising numbers from 1")
        if self.steps > _MOST_STEPS:
            raise ConfigError(f"{self.steps} supervision steps: give at most {_MOST_STEPS}")
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ConfigError(f"--attempts {self.attempts}: give 1 to {_MOST_ATTEMPTS}")
        for name, value in (("--start-noise", self.start_noise), ("--latent-noise", self.latent_noise)):
            if not 0 <= value < 1e6:
                raise ConfigError(f"{name} {value}: give a standard deviation from 0 to below 1000000")
        if not abs(self.halt_above) < 1e6:
            raise ConfigError(f"halting above {self.halt_above}: give a logit, such as 0 or 2.5")
        if self.attempts > 1 and not (self.start_noise or self.latent_noise or self.symmetries):
            raise ConfigError(
                f"{self.attempts} attempts would all be the same: let them differ by --start-noise, --latent-noise or "
                "--symmetries"
            )
        if self.race and not self.halting:
            raise ConfigError("--race ends all attempts when one of them halts: give --halting with it")

    @property
    def steps(self) -> int:
        """D, the most supervision steps of an attempt."""
        return self.depths[-1]


@dataclass(frozen=True)
class Attempts:
    """All attempts at some consecutive puzzles; what came after an attempt's end repeats its end.

    effort: that of all.
    first: index of the first puzzle.
    answers: tokens after each of the effort's depths, as the puzzle stood, [n, K, depths, S].
    q_halt: logit after each supervision step, [n, K, D].
    change: root mean square change of y and z by each supervision step, [n, K, D].
    halted_at: the first step at which q_halt was high enough to halt, 0 if there was none, [n, K].
    steps: supervision steps computed, [n, K].
    """

    effort: Effort
    first: int
    answers: Tokens
    q_halt: NDArray[np.float32]
    change: NDArray[np.float32]
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

    Raises:
      ConfigError: symmetries are asked for, but the kind has none.
    """
    if effort.symmetries and (kind is None or not kind.has_symmetries):
        name = "tokens" if kind is None else kind.to_dict()["kind"]
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
    lanes = [_Lane(effort, model.config, rows, batch_size) for _ in range(layout.count)]
    # Nothing is kept for gradients here. Neither seed nor number of attempts nor symmetries change the program.
    model, static = replace(model, memory=MemoryConfig()), replace(effort, attempts=1, symmetries=False, seed=0)
    state = _start(model, layout, weights.starts, batch_size)
    for begin in range(0, total, pool_size * layout.count):
        numbers = np.arange(begin, min(begin + pool_size * layout.count, total))
        fresh = _jobs(numbers, effort, inputs, puzzle_ids, kind, model.config)
        places = np.arange(len(fresh)).reshape(-1, together)
        for i, lane in enumerate(lanes):
            # Neighbours may be turns of one task, as hard as each other: dealt out, they load all lanes alike.
            lane.receive(fresh.take(places[i :: layout.count].ravel()))
        pool, records = _side_by_side([lane.pool() for lane in lanes]), _side_by_side([lane.records for lane in lanes])
        slots = _Slots(layout.spread(np.concatenate([lane.slots for lane in lanes])), state)
        last = begin + len(numbers) == total
        slots, records = _empty_pool(
            model, static, layout, weights, effort.seed, layout.spread(pool), slots, layout.spread(records), last
        )
        state, found = slots.state, _on_host((slots.job, records))
        for lane, (job, known) in zip(lanes, _lane_by_lane(found, layout.count), strict=True):
            collector.add(*lane.finish(job, known))
        yield from collector.ready()


class _Slots(NamedTuple):
    """The rows of the batch: which job each works on (a row of the lane's pool; past its end: none), and y and z."""

    job: Any
    state: State


class _Pool(NamedTuple):
    """Jobs as the device sees them, padded to a fixed number of rows; `filled` [1] of them are real.

    puzzle and attempt number a job's noise; attempts at one puzzle share a `puzzle_row`.
    """

    inputs: Any
    puzzle_ids: Any
    puzzle: Any
    attempt: Any
    puzzle_row: Any
    filled: Any


class _Records(NamedTuple):
    """What is known of each job of a pool; the fields are those of `Attempts`, by job."""

    answers: Any
    q_halt: Any
    change: Any
    halted_at: Any
    steps: Any

    @staticmethod
    def none(rows: int, effort: Effort, config: ModelConfig) -> "_Records":
        depths, steps = len(effort.depths), effort.steps
        dtype = np.uint8 if config.vocab_size <= 256 else np.int32
        return _Records(
            np.zeros((rows, depths, config.seq_len), dtype),
            np.zeros((rows, steps), np.float32),
            np.zeros((rows, steps), np.float32),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.int32),
        )

    def take(self, rows: NDArray[np.integer[Any]]) -> "_Records":
        return _Records(*(array[rows] for array in self))

    def joined(self, other: "_Records") -> "_Records":
        return _Records(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))


@dataclass(frozen=True)
class _Jobs:
    """Attempts that wait or are worked on: job number puzzle * K + attempt, and the puzzle as the model sees it."""

    number: NDArray[np.int64]
    inputs: NDArray[np.int32]
    puzzle_ids: NDArray[np.int32]
    symmetries: Symmetries | None

    @staticmethod
    def none(config: ModelConfig) -> "_Jobs":
        return _Jobs(np.zeros(0, np.int64), np.zeros((0, config.seq_len), np.int32), np.zeros(0, np.int32), None)

    def __len__(self) -> int:
        return len(self.number)

    def take(self, rows: NDArray[np.integer[Any]]) -> "_Jobs":
        turned = None if self.symmetries is None else self.symmetries.take(rows)
        return _Jobs(self.number[rows], self.inputs[rows], self.puzzle_ids[rows], turned)

    def joined(self, other: "_Jobs") -> "_Jobs":
        if not len(self):
            return other
        symmetries = other.symmetries
        if self.symmetries is not None and symmetries is not None:
            symmetries = Symmetries(
                np.concatenate([self.symmetries.cells, symmetries.cells]),
                np.concatenate([self.symmetries.tokens, symmetries.tokens]),
            )
        return _Jobs(
            np.concatenate([self.number, other.number]),
            np.concatenate([self.inputs, other.inputs]),
            np.concatenate([self.puzzle_ids, other.puzzle_ids]),
            symmetries,
        )

    def pool(self, rows: int, attempts: int) -> _Pool:
        padding = rows - len(self)
        puzzle, attempt = (np.pad(part, (0, padding)) for part in np.divmod(self.number, attempts))
        return _Pool(
            np.pad(self.inputs, ((0, padding), (0, 0))),
            np.pad(self.puzzle_ids, (0, padding)),
            puzzle.astype(np.uint32),
            attempt.astype(np.uint32),
            np.unique(puzzle, return_inverse=True)[1].astype(np.int32),
            np.array([len(self)], np.int32),
        )


class _Lane:
    """The host's side of one device: its jobs, what is known of them, and which of them each of its slots works on."""

    def __init__(self, effort: Effort, config: ModelConfig, rows: int, batch_size: int) -> None:
        """rows: of its pool; batch_size: its slots."""
        self._effort, self._config, self._rows = effort, config, rows
        self._jobs = _Jobs.none(config)
        self.records = _Records.none(rows, effort, config)
        self.slots = np.full(batch_size, rows, np.int32)

    def receive(self, fresh: _Jobs) -> None:
        """Jobs to do after those that it has."""
        self._jobs = self._jobs.joined(fresh)

    def pool(self) -> _Pool:
        """All its jobs; those that its slots are at come first."""
        return self._jobs.pool(self._rows, self._effort.attempts)

    def finish(self, job: NDArray[np.int32], records: _Records) -> tuple[_Jobs, _Records]:
        """Given what the device has left: the jobs that are done. Those that are not move to the front of the pool."""
        busy = np.flatnonzero(job < self._rows)
        unfinished = job[busy]
        done = np.setdiff1d(np.arange(len(self._jobs)), unfinished)
        finished = self._jobs.take(done), records.take(done)
        self._jobs = self._jobs.take(unfinished)
        nothing = _Records.none(self._rows - len(unfinished), self._effort, self._config)
        self.records = records.take(unfinished).joined(nothing)
        self.slots = np.full(len(job), self._rows, np.int32)
        self.slots[busy] = np.arange(len(unfinished))
        return finished


def _side_by_side(lanes: Sequence[_Arrays]) -> _Arrays:
    """Every lane's rows, one lane after the other."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *lanes)


def _lane_by_lane(arrays: _Arrays, count: int) -> Iterator[_Arrays]:
    """The reverse of `_side_by_side`."""
    for i in range(count):
        yield jax.tree.map(lambda a, i=i: a.reshape(count, -1, *a.shape[1:])[i], arrays)


def _on_host(arrays: _Arrays) -> _Arrays:
    """All rows, in every process."""

    def fetched(array: jax.Array) -> NDArray[Any]:
        if array.is_fully_addressable:
            return np.asarray(array)
        return np.asarray(process_allgather(array, tiled=True))

    # Lanes are done at different times, and one device would not wait long for another within a single exchange.
    return jax.tree.map(fetched, jax.block_until_ready(arrays))


def _jobs(
    numbers: NDArray[np.int64],
    effort: Effort,
    inputs: Tokens | Stacked,
    puzzle_ids: NDArray[np.int32],
    kind: Kind | None,
    config: ModelConfig,
) -> _Jobs:
    puzzles, attempts = np.divmod(numbers, effort.attempts)
    tokens = np.asarray(inputs[puzzles])
    symmetries = None
    if effort.symmetries and kind is not None:
        symmetries = _turns(kind, effort.seed, puzzles, attempts)
        tokens = symmetries.apply(tokens)
    return _Jobs(numbers, tokens.astype(np.int32), puzzle_ids[puzzles], symmetries)


def _turns(kind: Kind, seed: int, puzzles: NDArray[np.int64], attempts: NDArray[np.int64]) -> Symmetries:
    """The symmetry of each attempt; that of a first attempt changes nothing."""
    plain = identities(len(puzzles), kind.cells, kind.vocab_size)
    cells, tokens = plain.cells.copy(), plain.tokens.copy()
    # Drawn sixteen at a time, because a single draw takes as long.
    blocks = attempts // _DRAWN
    new = np.flatnonzero((np.diff(puzzles) != 0) | (np.diff(blocks) != 0)) + 1
    for rows in np.split(np.arange(len(puzzles)), new):
        puzzle, block = int(puzzles[rows[0]]), int(blocks[rows[0]])
        rng = np.random.Generator(np.random.Philox(key=[seed, 3], counter=[0, 0, block, puzzle]))
        drawn = kind.draw(rng, _DRAWN)
        turned = rows[attempts[rows] > 0]
        cells[turned] = drawn.cells[attempts[turned] % _DRAWN]
        tokens[turned] = drawn.tokens[attempts[turned] % _DRAWN]
    return Symmetries(cells, tokens)


class _Collector:
    """Takes finished jobs in any order and gives out puzzles in theirs."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._next = 0
        self._done: dict[int, tuple[Any, ...]] = {}

    def add(self, jobs: _Jobs, records: _Records) -> None:
        answers = records.answers
        if jobs.symmetries is not None:
            back = jobs.symmetries.inverse()
            for depth in range(answers.shape[1]):
                answers[:, depth] = back.apply(answers[:, depth])
        # After an attempt's end the last value stands.
        at = np.minimum(np.arange(self._effort.steps), np.maximum(records.steps, 1)[:, None] - 1)
        q_halt, change = (np.take_along_axis(part, at, axis=1) for part in (records.q_halt, records.change))
        # A model that has diverged says nan, which would win every comparison: it is sure of nothing, never at rest.
        q_halt, change = np.nan_to_num(q_halt, nan=-_LARGE), np.nan_to_num(change, nan=_LARGE)
        rows = zip(answers, q_halt, change, records.halted_at, records.steps, strict=True)
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


@partial(jax.jit, static_argnames=("model", "layout", "batch_size"))
def _start(model: Model, layout: Layout, starts: State, batch_size: int) -> State:
    """The state of slots that have no job yet, so many in each lane."""
    state: State = layout.by_each(lambda starts: model.start(starts, batch_size), (EVERYWHERE,), BY_ROWS)(starts)
    return state


@partial(jax.jit, static_argnames=("model", "effort", "layout"))
def _empty_pool(
    model: Model,
    effort: Effort,
    layout: Layout,
    weights: Weights,
    seed: int,
    pool: _Pool,
    slots: _Slots,
    records: _Records,
    last: bool,
) -> tuple[_Slots, _Records]:
    """Every lane works until no job of its pool waits any more, and after the last pool until none is left.

    The first jobs of a lane are those that its slots are at already.
    """
    found: tuple[_Slots, _Records] = layout.by_each(
        partial(_empty_lane, model, effort, layout),
        (
            Weights(layout.weight_specs(weights.params), EVERYWHERE, layout.table_spec),  # type: ignore[arg-type]
            EVERYWHERE,
            BY_ROWS,
            BY_ROWS,
            BY_ROWS,
            EVERYWHERE,
        ),
        BY_ROWS,
    )(weights, seed, pool, slots, records, last)
    return found


def _empty_lane(
    model: Model,
    effort: Effort,
    layout: Layout,
    weights: Weights,
    seed: Any,
    pool: _Pool,
    slots: _Slots,
    records: _Records,
    last: Any,
) -> tuple[_Slots, _Records]:
    """What one device does of `_empty_pool`."""
    # Devices exchange what they have parts of before the loop: in it, one does not know how far another is.
    params, table = layout.whole(weights.params), weights.puzzle_table
    table_rows = None if table is None else layout.table_rows(table, pool.puzzle_ids)
    filled = pool.filled[0]
    rows = pool.puzzle_ids.shape[0]
    depths = jnp.array(effort.depths)[None]
    noisy = pool.attempt > 0
    keys = jax.vmap(
        lambda puzzle, attempt: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), puzzle), attempt)
    )(pool.puzzle, pool.attempt)

    def unfinished(loop: tuple[_Slots, _Records, jax.Array, jax.Array]) -> jax.Array:
        slots, _, next_job, _ = loop
        return (next_job < filled) | (last & (slots.job < rows).any())

    def supervise(
        loop: tuple[_Slots, _Records, jax.Array, jax.Array],
    ) -> tuple[_Slots, _Records, jax.Array, jax.Array]:
        slots, records, next_job, won = loop
        idle = slots.job >= rows
        waiting = next_job + jnp.cumsum(idle) - 1
        takes = idle & (waiting < filled)
        job = jnp.where(takes, waiting, slots.job)
        # A slot without a job computes what the last row says; its records are dropped.
        row = jnp.minimum(job, rows - 1)

        state = model.start(weights.starts, job.shape[0])
        if effort.start_noise:
            state = _noised(state, keys[row], 0, effort.start_noise * noisy[row], of_y=True)
        state = jax.tree.map(partial(_where, takes), state, slots.state)
        before, steps = state, records.steps[row] + 1
        if effort.latent_noise:
            state = _noised(state, keys[row], steps, effort.latent_noise * noisy[row], of_y=False)
        rows_BR = None if table_rows is None else table_rows[row]
        state, readout = model.think(params, rows_BR, state, pool.inputs[row])

        halts = readout.q_halt > effort.halt_above
        ends = steps >= effort.steps
        if effort.halting:
            ends |= halts
        if effort.race:
            won = won.at[jnp.where(job < rows, pool.puzzle_row[row], rows)].max(halts, mode="drop")
            ends |= won[pool.puzzle_row[row]]
        tokens = jnp.argmax(readout.logits, axis=-1).astype(records.answers.dtype)
        keeps = (depths == steps[:, None]) | (ends[:, None] & (depths >= steps[:, None]))
        records = _Records(
            answers=records.answers.at[job].set(
                jnp.where(keeps[:, :, None], tokens[:, None], records.answers[row]), mode="drop"
            ),
            q_halt=records.q_halt.at[job, steps - 1].set(readout.q_halt, mode="drop"),
            change=records.change.at[job, steps - 1].set(_change(before, state), mode="drop"),
            halted_at=records.halted_at.at[job].set(
                jnp.where(halts & (records.halted_at[row] == 0), steps, records.halted_at[row]), mode="drop"
            ),
            steps=records.steps.at[job].set(steps, mode="drop"),
        )
        return _Slots(jnp.where(ends, rows, job), state), records, next_job + takes.sum(), won

    # In a race, nothing that still runs can have lost: who halts ends the others at once.
    won = jnp.zeros(rows, jnp.bool_)
    working = (slots.job < rows).sum()
    slots, records, _, _ = jax.lax.while_loop(unfinished, supervise, (slots, records, working, won))
    return slots, records


def _noised(state: State, keys_B: jax.Array, step: Any, scale_B: jax.Array, of_y: bool) -> State:
    """The state with normal noise on z, and on y if wanted; each row's depends on its key and step alone."""
    steps_B = jnp.broadcast_to(step, keys_B.shape)

    def noise(array: jax.Array, stream: int) -> jax.Array:
        def draw(key: jax.Array, step: jax.Array) -> jax.Array:
            key = jax.random.fold_in(jax.random.fold_in(key, step), stream)
            return jax.random.normal(key, array.shape[1:], jnp.float32)

        scale = scale_B.reshape(-1, *(1,) * (array.ndim - 1))
        return (array + scale * jax.vmap(draw)(keys_B, steps_B)).astype(array.dtype)

    y = noise(state.y, 0) if of_y and state.y is not None else state.y
    return State(y, state.z if state.z is None else noise(state.z, 1))


def _change(before: State, after: State) -> jax.Array:
    """Root mean square of what a supervision step changed in y and z, [B]."""

    def square(old: jax.Array, new: jax.Array) -> jax.Array:
        difference = new.astype(jnp.float32) - old.astype(jnp.float32)
        return jnp.square(difference).reshape(old.shape[0], -1).mean(axis=-1)

    parts = jax.tree.leaves(jax.tree.map(square, before, after))
    return jnp.sqrt(sum(parts) / len(parts))


def _where(takes: jax.Array, fresh: jax.Array, kept: jax.Array) -> jax.Array:
    return jnp.where(takes.reshape(-1, *(1,) * (kept.ndim - 1)), fresh, kept)


class Trace(NamedTuple):
    """What one attempt says after every cycle of every supervision step.

    tokens [D, T, S], q_halt [D, T], change [D, T]: root mean square change of y and z by the cycle.
    """

    tokens: Any
    q_halt: Any
    change: Any


@partial(jax.jit, static_argnames=("model", "effort"))
def _trace(
    model: Model,
    effort: Effort,
    weights: Weights,
    seed: int,
    inputs_BS: Any,
    puzzle_ids_B: Any,
    puzzle: int,
    number: int,
) -> Trace:
    # T supervision steps of one cycle are one supervision step of T cycles, read out in between.
    one = Model(replace(model.config, cycles=1, grad_cycles=1))
    keys_B = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), puzzle), number)[None]
    noisy_B = jnp.full((1,), number > 0)
    rows_BR = model.puzzle_rows(weights.puzzle_table, puzzle_ids_B)

    def cycle(state: State, _: None) -> tuple[State, Trace]:
        new, readout = one.think(weights.params, rows_BR, state, inputs_BS)
        return new, Trace(jnp.argmax(readout.logits[0], axis=-1), readout.q_halt[0], _change(state, new)[0])

    def supervise(state: State, step: jax.Array) -> tuple[State, Trace]:
        if effort.latent_noise:
            state = _noised(state, keys_B, step, effort.latent_noise * noisy_B, of_y=False)
        return jax.lax.scan(cycle, state, None, length=model.config.cycles)

    state = model.start(weights.starts, 1)
    if effort.start_noise:
        state = _noised(state, keys_B, 0, effort.start_noise * noisy_B, of_y=True)
    trace: Trace = jax.lax.scan(supervise, state, jnp.arange(1, effort.steps + 1))[1]
    return trace


def trace(
    model: Model,
    weights: Weights,
    effort: Effort,
    inputs: Tokens,
    puzzle_id: int,
    number: int = 0,
    kind: Kind | None = None,
) -> Trace:
    """Repeats one attempt at the first puzzle of a set, and reads the answer out after every cycle.

    Args:
      model, weights, effort, kind: as given to `attempt`.
      inputs, puzzle_id: tokens [S] of that puzzle, and its row of the puzzle table.
      number: which attempt.

    Returns:
      Its `Trace` as arrays on the host, the tokens as the puzzle stood; it goes on where halting would have ended it.
    """
    static = replace(effort, attempts=1, symmetries=False, race=False, halting=False, seed=0)
    jobs = _jobs(np.array([number]), effort, inputs[None], np.array([puzzle_id], np.int32), kind, model.config)
    found = _trace(model, static, weights, effort.seed, jobs.inputs, jobs.puzzle_ids, 0, number)
    tokens, q_halt, change = (np.asarray(part) for part in found)
    if jobs.symmetries is not None:
        flat = tokens.reshape(-1, tokens.shape[-1])
        tokens = jobs.symmetries.inverse().take(np.zeros(len(flat), int)).apply(flat).reshape(tokens.shape)
    return Trace(tokens, q_halt, change)
