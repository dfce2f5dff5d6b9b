"""Sums over the units of a puzzle, and back: what a group of cells holds together is said to each of its cells.

Some partitions refine others: a row is made of its segments. Such a row is summed from theirs, and what it says reaches
its cells through them, so that arrays of the size of a state are read and written for the finest partitions alone.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from trm_jax.puzzles.units import Units

# The name of the class that has one group, of all cells.
BOARD = "board"


@dataclass(frozen=True, eq=False)
class Node:
    """One partition.

    name: of its class.
    parent: number of the node whose groups its groups are made of; None: cells.
    members: groups of the parent (or cells) in each group, int32 [G, most]; where a group has fewer, -1 fills it up.
    group_of: the group of each group of the parent (or cell), -1 where it is in none.
    cells: how many cells each group has, [G].
    """

    name: str
    parent: int | None
    members: NDArray[np.int32]
    group_of: NDArray[np.int32]
    cells: NDArray[np.int32]


@lru_cache
def nodes_of(units: Units) -> tuple[Node, ...]:
    """The partitions of a puzzle and the whole board, each after the one that it is made of."""
    parts = [*units.partitions, (BOARD, np.zeros(units.cells, np.int32))]
    parts.sort(key=lambda part: -int(part[1].max()))
    nodes: list[Node] = []
    for place, (name, group) in enumerate(parts):
        # Of all that refine it, the coarsest is the cheapest to sum.
        parent = next((i for i in reversed(range(place)) if _refines(parts[i][1], group)), None)
        group_of = group if parent is None else _coarser(parts[parent][1], group)
        count = int(group.max()) + 1
        lists = [np.flatnonzero(group_of == number) for number in range(count)]
        members = np.full((count, max(map(len, lists))), -1, np.int32)
        for row, members_of in zip(members, lists, strict=True):
            row[: len(members_of)] = members_of
        cells = np.array([(group == number).sum() for number in range(count)], np.int32)
        nodes.append(Node(name, parent, members, group_of.astype(np.int32), cells))
    return tuple(nodes)


def _refines(fine: NDArray[Any], coarse: NDArray[Any]) -> bool:
    """Whether each group of one partition lies within a group of the other, and both have all cells."""
    if min(fine.min(), coarse.min()) < 0:
        return False
    pairs = np.unique(np.stack([fine, coarse]), axis=1)
    return len(pairs[0]) == len(np.unique(fine)) > len(np.unique(coarse))


def _coarser(fine: NDArray[Any], coarse: NDArray[Any]) -> NDArray[Any]:
    """For each group of the finer partition, the coarser one's group that it lies in."""
    found = np.empty(int(fine.max()) + 1, np.int32)
    found[fine] = coarse
    return found


def sums(node: Node, h_BSVC: jax.Array) -> jax.Array:
    """Over the members of each group: [B, S, ...] -> [B, G, ...]."""
    return _summed(h_BSVC, _Table(node.members), _Table(node.group_of))


def spread(node: Node, h_BGVC: jax.Array) -> jax.Array:
    """What each group says, to its members: [B, G, ...] -> [B, S, ...]; zeros to those that are in no group."""
    return _spread(h_BGVC, _Table(node.members), _Table(node.group_of))


class _Table:
    """An array of indices that is static to a function: compared by what it holds."""

    def __init__(self, values: NDArray[np.int32]) -> None:
        self.values = values

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and np.array_equal(self.values, other.values)


# Each is the transpose of the other. XLA would make a scatter of a gather's transpose, which CPUs do row by row.
@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _summed(h: jax.Array, members: _Table, group_of: _Table) -> jax.Array:
    return _taken(h, members.values).sum(axis=2)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _spread(h: jax.Array, members: _Table, group_of: _Table) -> jax.Array:
    return _taken(h, group_of.values)


_summed.defvjp(
    lambda h, members, group_of: (_summed(h, members, group_of), None),
    lambda members, group_of, _, g: (_spread(g, members, group_of),),
)
_spread.defvjp(
    lambda h, members, group_of: (_spread(h, members, group_of), None),
    lambda members, group_of, _, g: (_summed(g, members, group_of),),
)


def _taken(h: jax.Array, places: NDArray[np.int32]) -> jax.Array:
    """h[:, places], with zeros where a place is -1."""
    if (places >= 0).all():
        return h[:, places]
    return jnp.pad(h, ((0, 0), (0, 1), *((0, 0),) * (h.ndim - 2)))[:, np.where(places < 0, h.shape[1], places)]
