"""Search with a verifier: chains of guesses on sets of candidates, and every answer checked by the puzzle's rules.

The first call on a puzzle is its *root*: what the network eliminates before anything is guessed. A *chain* starts from
there, or from the puzzle itself, with a cell pinned to its likeliest symbol, and goes on call by call, pinning another
cell each time, until the set is an answer, or is given up for a conflict. Then the next chain starts. Several chains of
a puzzle are under way side by side. An answer that breaks the rules is a conflict like others: only answers that keep
to the rules, and to what the puzzle gives, are ever found.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import CandidatesConfig, MemoryConfig
from trm_jax.data.stacked import Stacked
from trm_jax.devices.sharding import ALONE, BY_ROWS, EVERYWHERE, Layout
from trm_jax.errors import ConfigError
from trm_jax.inference.lanes import on_host
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.perturbed import Judge, kept_rules
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.recursion.candidates import eliminated, pinned

# Chains and calls of a puzzle are numbered with 16 bits each to draw their keys.
MOST_CALLS = 1 << 16
# Rows that are computed at once on a device.
_PART = 4


@dataclass(frozen=True)
class Budget:
    """How long to search.

    calls: of the network on a puzzle, all chains together.
    seconds: of this machine's time for a puzzle: of a call that several share, each has its part. 0: as long as the
      calls last.
    chains: side by side at one puzzle, at most.
    seed: of the cells that are picked.
    """

    calls: int = 1_024
    seconds: float = 0.0
    chains: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("calls", self.calls), ("chains", self.chains)):
            if not 1 <= value < MOST_CALLS:
                raise ConfigError(f"--{name} {value}: give 1 to {MOST_CALLS - 1}")
        if not 0 <= self.seconds < 1e9:
            raise ConfigError(f"--seconds {self.seconds}: give a number from 0 (no limit)")


class Call(NamedTuple):
    """One call of a chain: the candidates that went in, with the cell that was pinned, and those that were left."""

    asked: NDArray[np.bool_]
    left: NDArray[np.bool_]


@dataclass(frozen=True)
class Found:
    """How the search for one puzzle's answer ended.

    number: of the puzzle.
    tokens: its answer [S]; None: none was found.
    calls: made.
    chains: that were started.
    refused: complete sets that broke the rules.
    seconds: of the machine's time.
    path: calls of the chain that found it, the root first; where none was found, the root alone.
    first: the tokens that were likeliest after the first call, [S]: what the network says unsearched.
    """

    number: int
    tokens: Tokens | None
    calls: int
    chains: int
    refused: int
    seconds: float
    first: Tokens
    path: tuple[Call, ...]


@dataclass(eq=False)
class _Task:
    """One puzzle that is being searched. root: the row that its chains start from; origin: its call."""

    number: int
    question: NDArray[np.int32]
    root: "_Row | None" = None
    first: Tokens | None = None
    origin: tuple[Call, ...] = ()
    calls: int = 0
    chains: int = 0
    running: int = 0
    refused: int = 0
    seconds: float = 0.0
    over: bool = False

    def found(self, tokens: Tokens | None, path: tuple[Call, ...] | None = None) -> Found:
        """The end of it."""
        assert self.first is not None
        path = self.origin if path is None else path
        self.over = True
        return Found(self.number, tokens, self.calls, self.chains, self.refused, self.seconds, self.first, path)


class _Row(NamedTuple):
    """A row of the batch: a chain of a task, which pins a cell and calls; or its root (chain 0), which only calls.

    path: the calls so far.
    """

    task: _Task
    chain: int
    possible: NDArray[np.bool_]
    symbols: NDArray[np.float32]
    path: tuple[Call, ...] = ()


def search(
    model: Model,
    weights: Weights,
    config: CandidatesConfig,
    kind: Kind,
    questions: Tokens | Stacked,
    batch_size: int,
    budget: Budget,
    layout: Layout = ALONE,
    judge: Judge = kept_rules,
) -> Iterator[Found]:
    """Searches for an answer to each puzzle; yields what became of it, in the order in which that is known.

    Args:
      model, weights: of a model of candidates; weights lie as `layout` says.
      config: when a candidate goes, and a set.
      kind: whose rules verify.
      questions: tokens [N, S].
      batch_size: sets that are called at once, by all devices together; rounded up to what they can share.
      budget: for each puzzle.
      layout: the devices.
      judge: by which an answer is one.

    Raises:
      ConfigError: the model does not carry candidates, or no rules of the puzzle are known.
    """
    if model.config.states != "candidates":
        raise ConfigError(f"a search needs a model of candidates, and config.model.states = {model.config.states!r}")
    if not kind.has_rules:
        raise ConfigError(f"a search has to know an answer when it sees one, and no rules of {kind.name!r} are known")
    size = -(-min(batch_size, len(questions) * budget.chains) // layout.count) * layout.count
    call = _Caller(replace(model, memory=MemoryConfig()), weights, config, budget.seed, size, layout)
    waiting = iter(range(len(questions)))
    tasks: list[_Task] = []
    rows: list[_Row] = []
    while True:
        _fill(rows, size, tasks, budget)
        while len(rows) < size and (number := next(waiting, None)) is not None:
            tasks.append(_Task(number, np.asarray(questions[number], np.int32)))
            rows.append(_Row(tasks[-1], 0, *call.nothing))
        if not rows:
            return
        began = time.perf_counter()
        said = call(rows)
        share = (time.perf_counter() - began) / len(rows)
        answers = _likeliest(model, said.possible, said.symbols)
        keeps = said.solved & judge(kind, np.stack([row.task.question for row in rows]), answers)
        going: list[_Row] = []
        for i, row in enumerate(rows):
            task, path = row.task, (*row.path, Call(said.asked[i], said.possible[i]))
            reached = row._replace(possible=said.possible[i], symbols=said.symbols[i], path=path)
            task.calls, task.seconds = task.calls + 1, task.seconds + share
            if row.chain == 0:
                task.root, task.first, task.origin = reached, answers[i], path
            if task.over:
                continue
            if keeps[i]:
                yield task.found(answers[i], path)
            elif row.chain == 0 and not (said.solved[i] or said.conflict[i]):
                continue  # its chains start from what the root has left
            elif said.solved[i] or said.conflict[i]:
                task.refused += int(said.solved[i])
                task.running -= int(row.chain > 0)
                if row.chain == 0:  # the network is wrong before a guess is made: chains start from the puzzle
                    task.root = row._replace(symbols=said.symbols[i])
            else:
                going.append(reached)
        for task in tasks:
            if not task.over and (task.calls >= budget.calls or 0 < budget.seconds <= task.seconds):
                yield task.found(None)
        tasks = [task for task in tasks if not task.over]
        rows = [row for row in going if not row.task.over]


def _fill(rows: list[_Row], size: int, tasks: list[_Task], budget: Budget) -> None:
    """Starts chains of the puzzles that are under way, the oldest first, as far as the batch has room.

    Every other one starts from the puzzle, with a guess: what the root has lost by mistake is lost to the rest.
    """
    for task in tasks:
        while len(rows) < size and task.root is not None and task.running < budget.chains:
            task.chains, task.running = task.chains + 1, task.running + 1
            row = task.root._replace(chain=task.chains)
            rows.append(row if task.chains % 2 else row._replace(possible=np.ones_like(row.possible), path=()))


def _likeliest(model: Model, possible: NDArray[np.bool_], symbols: NDArray[np.float32]) -> Tokens:
    """The likeliest of the possible symbols of each cell, as tokens [B, S]; of one alone, that."""
    return np.asarray(np.where(possible, symbols, -np.inf).argmax(axis=-1) + model.config.units.symbols[0], np.int32)


class _Said(NamedTuple):
    """What was asked, and what a call came to, for each row: as recursion.candidates.Verdict and Deduction."""

    asked: Any
    possible: Any
    conflict: Any
    solved: Any
    symbols: Any


class _Caller:
    """Calls the network on the rows of a search: always as many, of which those without a chain are not computed."""

    def __init__(
        self, model: Model, weights: Weights, config: CandidatesConfig, seed: int, size: int, layout: Layout
    ) -> None:
        self._model, self._weights, self._config, self._layout = model, weights, config, layout
        self._seed, self._size = seed, size
        # The rows in use go round the devices, so that a few of them keep all busy.
        self._places = np.arange(size).reshape(layout.count, -1).T.ravel()
        shape = model.config.seq_len, len(model.config.units.symbols)
        self.nothing = np.ones(shape, np.bool_), np.zeros(shape, np.float32)

    def __call__(self, rows: list[_Row]) -> _Said:
        """rows: not more than the size that was given."""
        numbers = np.array([(row.task.number, row.chain, row.task.calls) for row in rows], np.uint32)
        arrays = (
            np.ones(len(rows), np.bool_),
            np.stack([row.task.question for row in rows]),
            np.stack([row.possible for row in rows]),
            np.stack([row.symbols for row in rows]),
            numbers,
        )
        places = self._places[: len(rows)]
        filled = [_placed(array, places, self._size) for array in arrays]
        said = _call(self._model, self._config, self._layout, self._weights, self._seed, *self._layout.spread(filled))
        return _Said(*(part[places] for part in on_host(said)))


def _placed(rows: NDArray[Any], places: NDArray[np.int64], size: int) -> NDArray[Any]:
    """So many rows, zeros but at these places."""
    array = np.zeros((size, *rows.shape[1:]), rows.dtype)
    array[places] = rows
    return array


@partial(jax.jit, static_argnames=("model", "config", "layout"))
def _call(
    model: Model,
    config: CandidatesConfig,
    layout: Layout,
    weights: Weights,
    seed: int,
    used_B: Any,
    inputs_BS: Any,
    possible_BSV: Any,
    symbols_BSV: Any,
    numbers_B3: Any,
) -> _Said:
    """Pins a cell of each set, but of roots, and calls the network. numbers: of puzzle, chain (0: root), and call.

    What is said of rows that are not used means nothing.
    """

    def each(weights: Weights, seed: Any, used: Any, inputs: Any, possible: Any, symbols: Any, numbers: Any) -> _Said:
        params = layout.whole(weights.params)

        def key_of(number_3: jax.Array) -> jax.Array:
            key = jax.random.key(seed)
            for number in number_3:
                key = jax.random.fold_in(key, number)
            return key

        possible, given_BS = model.possible(possible, inputs)
        guessed = pinned(possible, symbols, jax.vmap(key_of)(numbers), 0.0)
        possible = jnp.where((numbers[:, 1] > 0)[:, None, None], guessed, possible)
        said = _of_used(lambda *rows: model.deduce(params, *rows), used, possible, inputs)
        found = eliminated(possible, given_BS, said, config.take_away_below, config.give_up_above)
        return _Said(possible, found.possible, found.conflict, found.solved, said.symbols)

    specs = Weights(layout.weight_specs(weights.params), EVERYWHERE, layout.table_spec)  # type: ignore[arg-type]
    together = layout.by_each(each, (specs, EVERYWHERE, *5 * [BY_ROWS]), BY_ROWS)
    said: _Said = together(weights, seed, used_B, inputs_BS, possible_BSV, symbols_BSV, numbers_B3)
    return said


def _of_used(function: Any, used_B: jax.Array, *arrays: jax.Array) -> Any:
    """function(*arrays), a few rows at a time: what is computed of them then stays in a CPU's cache.

    Where none of these few is used, nothing is computed, and the result is zeros.
    """
    rows = used_B.shape[0]
    part = next(count for count in range(min(_PART, rows), 0, -1) if rows % count == 0)

    def of_part(split: tuple[jax.Array, ...]) -> Any:
        used, *inputs = split
        nothing = jax.tree.map(jnp.zeros_like, jax.eval_shape(function, *inputs))
        return jax.lax.cond(used.any(), function, lambda *_: nothing, *inputs)

    split = tuple(a.reshape(rows // part, part, *a.shape[1:]) for a in (used_B, *arrays))
    return jax.tree.map(lambda a: a.reshape(rows, *a.shape[2:]), jax.lax.map(of_part, split))
