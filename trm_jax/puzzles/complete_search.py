"""Complete search over the units and rules of a puzzle: it ends with an answer, or with the proof that there is none.

A *node* is a set of candidates for each cell. What the units refute is taken away, and so is a node whose filled cells
the rules refuse, where they judge a board in part. A node that is left with a choice is split into one node for each
candidate of a cell, so that every answer of the puzzle is in one of them. Which cell, and in which order, decides how
many nodes it takes, and nothing else: a guide, such as a network, can mislead it but cannot make it wrong. The
likeliest node is the next; of equals, the last that was made.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trm_jax.errors import ConfigError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.units import Units

# Of the candidates of a node, bool [S, V]: the logarithms of how likely it is that the node has an answer, and that the
# cell has this symbol there, float [S, V].
Guide = Callable[[NDArray[np.bool_]], NDArray[np.floating[Any]]]


def unguided(possible: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The guide that knows nothing. Then the search goes depth first, and takes symbols in their order."""
    return np.zeros(possible.shape, np.float32)


@dataclass(frozen=True)
class Ended:
    """How a complete search ended.

    tokens: the answer [S]; None: there is none, or none was found.
    nodes: that were looked at.
    reason: "answered"; "unsolvable", shown by all nodes; or "nodes", of which no more were allowed.
    """

    tokens: Tokens | None
    nodes: int
    reason: Literal["answered", "unsolvable", "nodes"]


class CompleteSearch:
    """Searches for the answers to puzzles of one kind."""

    def __init__(self, kind: Kind) -> None:
        """Raises ConfigError for a kind without rules, or without a token for empty cells."""
        if not kind.has_rules or kind.blank is None:
            raise ConfigError(
                f"--complete needs rules and cells to fill; puzzles of kind {kind.name!r} have none: leave it out"
            )
        self._kind = kind
        self.units = kind.units or Units(kind.cells, (), tuple(range(2, kind.vocab_size)), kind.blank, renamable=False)
        self._symbols = np.array(self.units.symbols, np.int32)
        groups = [part == group for _, part in self.units.partitions for group in np.unique(part[part >= 0])]
        members = np.array(groups, np.float32).reshape(-1, kind.cells)
        rivals = (members.T @ members > 0) & ~np.eye(kind.cells, dtype=np.bool_)
        self._rivals = rivals.astype(np.float32)
        # A group of as many cells as there are symbols has each of them.
        self._complete = members[members.sum(axis=1) == len(self._symbols)]

    def start(self, question: Tokens) -> NDArray[np.bool_]:
        """The candidates [S, V] that a question [S] leaves before anything is concluded."""
        given = self._kind.given(question)
        return np.where(given[:, None], question[:, None] == self._symbols, True)

    def conclude(self, possible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Takes away what the units refute, until nothing more follows; a node that cannot be becomes empty.

        A cell's only candidate is none of its rivals'; a symbol that has one place left in a complete group is there.

        possible: [S, V].
        """
        while True:
            single = possible & (possible.sum(axis=-1, keepdims=True) == 1)
            after = possible & ~(self._rivals @ single > 0)
            places = self._complete @ after
            only = after & (self._complete.T @ (places == 1) > 0)
            if (places == 0).any() or (only.sum(axis=-1) > 1).any() or not after.any(axis=-1).all():
                return np.zeros_like(possible)
            after = np.where(only.any(axis=-1, keepdims=True), only, after)
            if (after == possible).all():
                return after
            possible = after

    def __call__(self, question: Tokens, guide: Guide = unguided, most: int = 1_000_000) -> Ended:
        """Searches for an answer.

        Args:
          question: tokens [S].
          guide: says what is likely; it is asked about each node that is split.
          most: nodes.

        Raises:
          DataError: the question contradicts itself.
        """
        self._kind.check_question(question)
        return next(self.every(question, guide, most))

    def every(self, question: Tokens, guide: Guide = unguided, most: int = 1_000_000) -> Iterator[Ended]:
        """Every answer of a question, each as soon as it is found; at last why there is no further one.

        Arguments are those of a search, but a question that contradicts itself is one without an answer.
        """
        waiting, nodes, made = [(0.0, 0, self.start(question))], 0, 0
        while waiting:
            if nodes == most:
                yield Ended(None, nodes, "nodes")
                return
            possible = self.conclude(heapq.heappop(waiting)[-1])
            nodes += 1
            left = possible.sum(axis=-1)
            board = np.where(left == 1, self._symbols[possible.argmax(axis=-1)], self.units.blank)
            if (left == 1).all():
                if self._kind.satisfied(question[None], board[None])[0]:
                    yield Ended(board, nodes, "answered")
            elif (left > 1).any() and not self._kind.refuted(question, board):
                for likely, child in self._split(possible, guide(possible)):
                    made += 1
                    heapq.heappush(waiting, (-likely, -made, child))
        yield Ended(None, nodes, "unsolvable")

    @staticmethod
    def _split(
        possible: NDArray[np.bool_], likely: NDArray[np.floating[Any]]
    ) -> Iterator[tuple[float, NDArray[np.bool_]]]:
        """A node for each candidate of a cell with fewest; of several such cells, the surest. The last symbol first."""
        left = possible.sum(axis=-1)
        fewest = np.flatnonzero(left == left[left > 1].min())
        cell = fewest[np.where(possible, likely, -np.inf)[fewest].max(axis=-1).argmax()]
        for symbol in reversed(np.flatnonzero(possible[cell])):
            child = possible.copy()
            child[cell] = np.arange(possible.shape[1]) == symbol
            yield float(likely[cell, symbol]), child
