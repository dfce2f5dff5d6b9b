"""Search with a verifier: chains of guesses on sets of candidates, and every answer checked by the puzzle's rules.

The first call on a puzzle is its *root*: what the network eliminates before anything is guessed. A *chain* starts from
there with a cell pinned to its likeliest symbol, and goes on call by call, pinning another cell each time, until the
set is an answer, or is given up for a conflict. Then the next chain starts. Several chains of a puzzle are under way
side by side. An answer that breaks the rules is a conflict like others: only answers that keep to the rules, and to
what the puzzle gives, are ever found.
"""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

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
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.recursion.candidates import eliminated, pinned

# Chains and calls of a puzzle are numbered with 16 bits each to draw their keys.
MOST_CALLS = 1 << 16


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


@dataclass(frozen=True)
class Found:
    """How the search for one puzzle's answer ended.

    number: of the puzzle.
    tokens: its answer [S]; None: none was found.
    calls: made.
    chains: that were started.
    refused: complete sets that broke the rules.
    seconds: of the machine's time.
    first: the tokens that were likeliest after the first call, [S]: what the network says unsearched.
    """

    number: int
    tokens: Tokens | None
    calls: int
    chains: int
    refused: int
    seconds: float
    first: Tokens


@dataclass(eq=False)
class _Task:
    """One puzzle that is being searched. root: candidates and logits of symbols after the first call."""

    number: int
    question: NDArray[np.int32]
    root: tuple[NDArray[np.bool_], NDArray[np.float32]] | None = None
    calls: int = 0
    chains: int = 0
    running: int = 0
    refused: int = 0
    seconds: float = 0.0
    over: bool = False


@dataclass(eq=False)
class _Row:
    """One row of the batch: a chain of a task, or its root (chain 0)."""

    task: _Task
    chain: int
    possible: NDArray[np.bool_]
    symbols: NDArray[np.float32] | None = field(default=None)


def search(
    model: Model,
    weights: Weights,
    config: CandidatesConfig,
    kind: Kind,
    questions: Tokens | Stacked,
    batch_size: int,
    budget: Budget,
    layout: Layout = ALONE,
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

    Raises:
      ConfigError: no rules of the puzzle are known.
    """
    if not kind.has_rules:
        name = kind.to_dict()["kind"]
        raise ConfigError(f"a search has to know an answer when it sees one, and no rules of {name!r} are known")
    size = -(-min(batch_size, len(questions) * budget.chains) // layout.count) * layout.count
    caller = _Caller(replace(model, memory=MemoryConfig()), weights, config, budget.seed, size, layout)
    waiting = iter(range(len(questions)))
    tasks: deque[_Task] = deque()
    rows: list[_Row] = []
    while True:
        # Chains of puzzles that are under way come first; what is left of the batch begins new ones.
        for task in tasks:
            while len(rows) < size and task.root is not None and task.running < budget.chains:
                task.chains, task.running = task.chains + 1, task.running + 1
                rows.append(_Row(task, task.chains, *task.root))
        while len(rows) < size and (number := next(waiting, None)) is not None:
            task = _Task(number, np.asarray(questions[number], np.int32))
            tasks.append(task)
            rows.append(_Row(task, 0, np.ones((model.config.seq_len, caller.symbols), np.bool_)))
        if not rows:
            return
        began = time.perf_counter()
        said = caller(rows)
        share = (time.perf_counter() - began) / len(rows)
        going: list[_Row] = []
        answers = _answers(model, rows, said.possible)
        keeps = kind.satisfied(np.stack([row.task.question for row in rows]), answers) & said.solved
        for i, row in enumerate(rows):
            task = row.task
            task.calls, task.seconds = task.calls + 1, task.seconds + share
            if task.over:
                continue
            if row.chain == 0:
                first = _likeliest(model, task.question, said.possible[i], said.symbols[i])
                task.root, task.first = (said.possible[i], said.symbols[i]), first
            if keeps[i]:
                task.over = True
                yield _found(task, answers[i])
            elif said.solved[i] or said.conflict[i] or row.chain == 0:
                task.refused += int(said.solved[i])
                task.running -= row.chain > 0
            else:
                going.append(_Row(task, row.chain, said.possible[i], said.symbols[i]))
        for task in tasks:
            spent = task.calls >= budget.calls or 0 < budget.seconds <= task.seconds
            if not task.over and spent:
                task.over = True
                yield _found(task, None)
        tasks = deque(task for task in tasks if not task.over)
        rows = [row for row in going if not row.task.over]
