"""The host's side of attempts: jobs, which device has which of them, and what is known of them.

Each device is a lane with its own part of the pool, of the batch and of every array here that has rows for them.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather
from numpy.typing import NDArray

from trm_jax.config import ModelConfig
from trm_jax.data.stacked import Stacked
from trm_jax.inference.effort import Effort
from trm_jax.inference.loop import Pool, Records
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Array, Symmetries, Tokens, identities

# Symmetries drawn at once.
_DRAWN = 16

_Arrays = TypeVar("_Arrays")


class Jobs(NamedTuple):
    """Attempts that wait or are worked on.

    number: puzzle * K + attempt.
    inputs, puzzle_ids: the puzzle as the model sees it.
    turned: the cells and tokens of the `Symmetries` under which it sees it; None: as it stands.
    """

    number: NDArray[np.int64]
    inputs: NDArray[np.int32]
    puzzle_ids: NDArray[np.int32]
    turned: tuple[Array, Array] | None

    @property
    def symmetries(self) -> Symmetries | None:
        """What turned the puzzles, if anything did."""
        return None if self.turned is None else Symmetries(*self.turned)


def jobs_of(
    numbers: NDArray[np.int64],
    effort: Effort,
    inputs: Tokens | Stacked,
    puzzle_ids: NDArray[np.int32],
    kind: Kind | None,
) -> Jobs:
    """The jobs of these numbers, at puzzles [N, S] with rows of the puzzle table [N]."""
    puzzles, attempts = np.divmod(numbers, effort.attempts)
    tokens = np.asarray(inputs[puzzles])
    turned = None
    if effort.symmetries and kind is not None:
        symmetries = _turns(kind, effort.seed, puzzles, attempts)
        tokens = symmetries.apply(tokens)
        turned = (symmetries.cells, symmetries.tokens)
    return Jobs(numbers, tokens.astype(np.int32), puzzle_ids[puzzles], turned)


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


class Lane:
    """The host's side of one device: its jobs, what is known of them, and which of them each of its slots works on."""

    def __init__(self, effort: Effort, config: ModelConfig, rows: int, batch_size: int) -> None:
        """rows: of its pool; batch_size: its slots."""
        self._effort, self._config, self._rows = effort, config, rows
        self._jobs = Jobs(np.zeros(0, np.int64), np.zeros((0, config.seq_len), np.int32), np.zeros(0, np.int32), None)
        self.records = self._no_records(rows)
        self.slots = np.full(batch_size, rows, np.int32)

    def receive(self, fresh: Jobs) -> None:
        """Jobs to do after those that it has."""
        self._jobs = joined([self._jobs, fresh]) if len(self._jobs.number) else fresh

    def pool(self) -> Pool:
        """All its jobs; those that its slots are at come first."""
        jobs, padding = self._jobs, self._rows - len(self._jobs.number)
        puzzle, attempt = (np.pad(part, (0, padding)) for part in np.divmod(jobs.number, self._effort.attempts))
        return Pool(
            inputs=np.pad(jobs.inputs, ((0, padding), (0, 0))),
            puzzle_ids=np.pad(jobs.puzzle_ids, (0, padding)),
            puzzle=puzzle.astype(np.uint32),
            attempt=attempt.astype(np.uint32),
            puzzle_row=np.unique(puzzle, return_inverse=True)[1].astype(np.int32),
            filled=np.array([len(jobs.number)], np.int32),
        )

    def finish(self, job: NDArray[np.int32], records: Records) -> tuple[Jobs, Records]:
        """Given what the device has left: the jobs that are done. Those that are not move to the front of the pool."""
        busy = np.flatnonzero(job < self._rows)
        unfinished = job[busy]
        done = np.setdiff1d(np.arange(len(self._jobs.number)), unfinished)
        finished = rows_of(self._jobs, done), rows_of(records, done)
        self._jobs = rows_of(self._jobs, unfinished)
        self.records = joined([rows_of(records, unfinished), self._no_records(self._rows - len(unfinished))])
        self.slots = np.full(len(job), self._rows, np.int32)
        self.slots[busy] = np.arange(len(unfinished))
        return finished

    def _no_records(self, rows: int) -> Records:
        depths, steps = len(self._effort.depths), self._effort.steps
        tokens = np.uint8 if self._config.vocab_size <= 256 else np.int32
        return Records(
            answers=np.zeros((rows, depths, self._config.seq_len), tokens),
            q_halt=np.zeros((rows, steps), np.float32),
            change=np.zeros((rows, steps), np.float32),
            margin=np.zeros((rows, steps), np.float32),
            halted_at=np.zeros(rows, np.int32),
            steps=np.zeros(rows, np.int32),
        )


def rows_of(arrays: _Arrays, rows: NDArray[np.integer[Any]]) -> _Arrays:
    """Some rows of every array."""
    return jax.tree.map(lambda array: array[rows], arrays)


def joined(parts: Sequence[_Arrays]) -> _Arrays:
    """The rows of all parts, one part after the other."""
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def lane_by_lane(arrays: _Arrays, count: int) -> Iterator[_Arrays]:
    """The parts of so many lanes that `joined` has joined."""
    for i in range(count):
        yield jax.tree.map(lambda a, i=i: a.reshape(count, -1, *a.shape[1:])[i], arrays)


def on_host(arrays: _Arrays) -> _Arrays:
    """All rows, in every process."""

    def fetched(array: jax.Array) -> NDArray[Any]:
        if array.is_fully_addressable:
            return np.asarray(array)
        return np.asarray(process_allgather(array, tiled=True))

    # Lanes are done at different times, and one device would not wait long for another within a single exchange.
    return jax.tree.map(fetched, jax.block_until_ready(arrays))
