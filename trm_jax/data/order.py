"""In which order training visits puzzles: any stretch of an endless sequence, from its position and the seed alone.

An epoch visits every group (task) once, in a new order, and one puzzle of it, in one of its forms where puzzles have
several; the examples of that puzzle come one after the other, in a new order too. No order is ever stored or sorted: a
place in it is enciphered into what stands there. Everything is written over the array namespace of its arguments, so
that the same lines run in NumPy, where batches are gathered on the host, and inside a jitted step, bit for bit alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Rounds of the shuffle. In each, every place changes with another or not; statistics settle after a dozen.
_ROUNDS = 32
# Streams of random numbers that must not resemble each other.
_OF_GROUPS, _OF_PUZZLE, _OF_EXAMPLES, _OF_FORM = 1, 2, 3, 4


class Position(NamedTuple):
    """Where the next batch starts.

    epoch: how often all groups were visited.
    place: groups visited in this epoch.
    offset: examples taken of the group that stands at that place.

    Python integers, or int32 scalars of NumPy or JAX.
    """

    epoch: Any = 0
    place: Any = 0
    offset: Any = 0


class Drawn(NamedTuple):
    """A stretch of the sequence.

    examples: int32 [count].
    forms: the number of the form in which each is shown, int32 [count].
    position: the one after them.
    """

    examples: Any
    forms: Any
    position: Position


@dataclass(frozen=True)
class Order:
    """The sequence over one set of puzzles.

    puzzle_starts: example at which each puzzle starts, and the number of examples at the end, int32 [puzzles + 1].
    group_starts: puzzle at which each group starts, and the number of puzzles at the end, int32 [groups + 1].
    seed: int32 scalar, or an int.
    single: whether every puzzle has a single example, which spares half of the work.
    forms: K, forms that each puzzle has besides itself.
    """

    puzzle_starts: Any
    group_starts: Any
    seed: Any
    single: bool
    forms: int = 0

    def examples(self, position: Position, count: int) -> Drawn:
        """The next `count` examples from a position."""
        xp = self.group_starts.__array_namespace__()
        groups = self.group_starts.shape[0] - 1
        # Every group has an example at least, so that so many groups suffice.
        ahead = xp.arange(count, dtype=xp.int32) + xp.asarray(position.place, dtype=xp.int32)
        epochs = ahead // groups + xp.asarray(position.epoch, dtype=xp.int32)
        seed = xp.asarray(self.seed, dtype=xp.uint32)[None]
        order = digest(seed, epochs, stream=_OF_GROUPS)
        group = shuffled(order, (ahead % groups).astype(xp.uint32), xp.full((count,), groups, dtype=xp.uint32))
        first = self.group_starts[group]
        puzzles = (self.group_starts[group + 1] - first).astype(xp.uint32)
        puzzle = first + (digest(seed, epochs, group, stream=_OF_PUZZLE) % puzzles).astype(xp.int32)
        # One for all examples of a visit.
        forms = xp.zeros(count, dtype=xp.int32)
        if self.forms:
            forms = (digest(seed, epochs, puzzle, stream=_OF_FORM) % (self.forms + 1)).astype(xp.int32)
        start = self.puzzle_starts[puzzle]
        if self.single:
            return Drawn(start, forms, _moved(xp, position, groups, count, 0))
        sizes = self.puzzle_starts[puzzle + 1] - start
        # Where each group's examples begin in the batch; the first group's began before it.
        ends = xp.cumsum(sizes, dtype=xp.int32) - xp.asarray(position.offset, dtype=xp.int32)
        begins = ends - sizes
        wanted = xp.arange(count, dtype=xp.int32)
        which = xp.searchsorted(ends, wanted, side="right")
        within = (wanted - begins[which]).astype(xp.uint32)
        keys = digest(seed, epochs, puzzle, stream=_OF_EXAMPLES)[which]
        examples = start[which] + shuffled(keys, within, sizes[which].astype(xp.uint32))
        done = (ends <= count).sum(dtype=xp.int32)
        taken = count - xp.concat([begins, ends[-1:]])[done]
        return Drawn(examples, forms[which], _moved(xp, position, groups, done, taken))


def _moved(xp: Any, position: Position, groups: int, done: Any, offset: Any) -> Position:
    place = xp.asarray(position.place, dtype=xp.int32) + done
    epoch = xp.asarray(position.epoch, dtype=xp.int32) + place // groups
    return Position(epoch, place % groups, xp.asarray(offset, dtype=xp.int32))


def shuffled(keys: Any, places: Any, counts: Any) -> Any:
    """What stands at a place of a shuffled sequence 0 ... count - 1: a permutation for each key, int32.

    The swap-or-not shuffle (Hoang, Morris, Rogaway, CRYPTO 2012): each round pairs x with K - x modulo the count, and a
    coin that both of a pair see the same way says whether they change places.

    Args:
      keys: uint32, one for each place; equal keys, equal permutations.
      places: uint32, below their counts.
      counts: uint32, from 1 to 2**31.
    """
    xp = keys.__array_namespace__()

    def swapped(x: Any, word: Any) -> Any:
        partner = word % counts + counts - x
        partner = xp.where(partner >= counts, partner - counts, partner)
        coin = digest(word, xp.maximum(x, partner), stream=0) >> 31
        return xp.where(coin == 1, partner, x)

    words = digest(keys[None], stream=np.arange(_ROUNDS)[:, None] << 8 | 0x80)
    return _folded(xp, swapped, places, words).astype(xp.int32)


def _folded(xp: Any, function: Callable[[Any, Any], Any], start: Any, rows: Any) -> Any:
    """The function over the rows, one after the other."""
    if xp is not np:
        import jax

        # Written out, the rounds would be fused into one, in which XLA of jax 0.11 computes each again for every use of
        # it, and those again: it never ends.
        return jax.lax.scan(lambda x, row: (function(x, row), None), start, rows)[0]
    for row in rows:
        start = function(start, row)
    return start


def digest(*words: Any, stream: int | NDArray[np.int64]) -> Any:
    """One random-looking 32-bit word for each tuple of words: MurmurHash3's finaliser (A. Appleby) over their chain.

    Args:
      words: integers, arrays of one shape, or of length 1 along any axis.
      stream: different ones give unrelated words; several, of as many axes as the words have.
    """
    xp = words[0].__array_namespace__()
    # At least one axis: NumPy warns of scalars that wrap around, as these are meant to.
    h = xp.asarray(np.atleast_1d(stream * 0x9E3779B9 + 0x7F4A7C15 & 0xFFFFFFFF).astype(np.uint32))
    for word in words:
        h = (h ^ word.astype(xp.uint32)) * np.uint32(0x9E3779B1) + np.uint32(0x85EBCA77)
        h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
        h = h ^ (h >> 16)
    return h
