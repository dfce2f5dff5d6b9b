"""How hard Sudokus are, a generator of hard ones, and hard ones near a given one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import count, islice
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trm_jax.errors import DataError
from trm_jax.puzzles.parallel import in_order
from trm_jax.puzzles.sudoku import Grid, Layout
from trm_jax.puzzles.sudoku_isomorphism import keys
from trm_jax.puzzles.sudoku_search import MAX_ATTEMPTS, check_request, dig, random_solutions, solve, stream

MAX_RATED_SIDE = 16
# A climb: moves before it is given up, clues removed by one at most, and the share of the rating that it has to keep.
# None of them matters much: from 100 to 300 moves, 1 or 2 clues and 0.8 to 1 were tried.
_MOVES = 200
_REMOVED = 2
_KEPT = 0.9
# Neighbours: a rating that is high enough, how many are looked at for each wanted, and the longest proof.
_HARD, _LOOKS, _MOST_DEAD_ENDS = 20, 8, 5_000
# If none of the first so many climbs comes as far as half the rating that is asked for, it is out of reach.
_FIRST = 16


def rating(puzzle: ArrayLike, layout: Layout) -> int:
    """How hard a puzzle [cells] is: the dead ends that `solve` meets until its one solution is proven.

    The number is deterministic, but belongs to this solver, and isomorphic puzzles differ in it. The public data
    counts the backtracks of another solver. On the 1,000 training puzzles of Sudoku-Extreme the two have a rank
    correlation of 0.67 (isomorphic copies have 0.82 here). All 620 with 10 or more there have 20 or more here, as
    738 have in all; the medians are 16 there and 87 here. Random puzzles without a clue to spare have 1.

    Raises DataError unless there is exactly one solution.
    """
    result = solve(puzzle, layout)
    if not result.unique:
        number = "two or more solutions" if result.solutions else "no solution"
        raise DataError(f"puzzle: {number}, but only one with a single solution can be rated; change some clues")
    return result.backtracks


class RatedPuzzles(NamedTuple):
    """Puzzles int8 [n, cells], their answers int8 [n, cells] and ratings int64 [n], as `rating` counts them."""

    puzzles: Grid
    answers: Grid
    ratings: NDArray[np.int64]


class _Climb(NamedTuple):
    puzzle: Grid
    answer: Grid
    rating: int
    key: int


def _rating(puzzle: Grid, layout: Layout, most: int) -> int:
    """The rating, or -1 where the puzzle is not proven unique in so many dead ends."""
    result = solve(puzzle, layout, max_backtracks=most)
    return result.backtracks if result.unique else -1


def _neighbour(puzzle: Grid, answer: Grid, layout: Layout, most: int, rng: np.random.Generator) -> Grid:
    """A puzzle with the same answer that shares most clues: some removed, others added, needless ones removed."""
    puzzle = puzzle.copy()
    clues = np.flatnonzero(puzzle)
    removed = int(rng.integers(1, min(_REMOVED, len(clues)), endpoint=True))
    puzzle[rng.choice(clues, removed, replace=False)] = 0
    while not (result := solve(puzzle, layout, max_backtracks=most)).unique:
        others = [solution for solution in result.solutions if not np.array_equal(solution, answer)]
        # A clue where the answer differs from another solution rules that out; any clue helps a long proof.
        useful = np.flatnonzero(others[0] != answer if others else puzzle == 0)
        cell = rng.choice(useful)
        puzzle[cell] = answer[cell]
    return dig(puzzle, answer, rng.permutation(np.flatnonzero(puzzle)).tolist(), 0, layout)


def neighbours(puzzle: Grid, answer: Grid, most: int, layout: Layout, rng: np.random.Generator) -> Grid:
    """Other puzzles with the same answer, other clues, and much as hard; int8 [n, cells], all different.

    Each is a few clues away from the puzzle, or from one found before: some go, others come until there is one solution
    again, and needless ones go. Few of a hard puzzle's neighbours are hard, so most are thrown away: those with a lower
    rating than the puzzle's own, or than 20 where it has more.

    Args:
      puzzle: int8 [cells], with exactly one solution, the answer.
      answer: int8 [cells].
      most: how many are wanted. There may be fewer: eight times as many are looked at.
      layout: of both.
      rng: draws the clues.
    """
    found, seen = [puzzle], {puzzle.tobytes()}
    wanted = min(max(0, _rating(puzzle, layout, _MOST_DEAD_ENDS)), _HARD)
    for _ in range(_LOOKS * most):
        if len(found) > most:
            break
        other = _neighbour(found[rng.integers(len(found))], answer, layout, _MOST_DEAD_ENDS, rng)
        if other.tobytes() not in seen and _rating(other, layout, _MOST_DEAD_ENDS) >= wanted:
            found.append(other)
        seen.add(other.tobytes())
    return np.array(found[1:], np.int8).reshape(-1, layout.cells)


def _climb(layout: Layout, seed: int, min_rating: int, index: int) -> _Climb:
    """Climb `index` of a seed, which ends at the first puzzle of this rating or after so many moves."""
    # The attempts of `generate` end below MAX_ATTEMPTS, so this stream is none of its own.
    rng = stream(seed, MAX_ATTEMPTS, index)
    most = 10 * max(100, min_rating)
    answer = random_solutions(1, layout, rng)[0]
    puzzle = dig(answer, answer, rng.permutation(layout.cells).tolist(), 0, layout)
    reached = _rating(puzzle, layout, most)
    for _ in range(_MOVES):
        if reached >= min_rating:
            break
        other = _neighbour(puzzle, answer, layout, most, rng)
        its = _rating(other, layout, most)
        if its + 1 >= _KEPT * (reached + 1):
            puzzle, reached = other, its
    return _Climb(puzzle, answer, reached, int(keys(puzzle[None], layout)[0]))


def generate_rated(
    n: int,
    layout: Layout,
    seed: int,
    *,
    min_rating: int = 0,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> RatedPuzzles:
    """Makes n puzzles with exactly one solution, no clue to spare and a `rating` of at least `min_rating`.

    Each comes from a climb of its own: a random full grid is dug until no clue can go; then the puzzle moves to
    neighbours about as hard or harder, until it is hard enough. A climb of too many moves is given up. A clue
    also stays where proving it needless would take too many dead ends: 1000 up to side 12, 30 beyond.

    No two puzzles are isomorphic, nor two answers equal, so that a result may be split in any way. It depends
    on layout, seed and min_rating alone, not on the number of processes, `workers`; a larger n only appends.
    `progress` is told how many puzzles there are. One core makes some 7 puzzles of side 9 a second from a rating of
    10 on, 2.5 from 20 on, 0.5 from 40 on. Raises DataError for arguments out of range, for a rating of which the first
    16 climbs come not even half as far, which takes half a minute at side 9, and when 200 in a row bring no further
    puzzle, which takes minutes.
    """
    check_request(n, seed)
    if layout.side > MAX_RATED_SIDE:
        raise DataError(
            f"generate: side is {layout.side}, but puzzles can only be rated up to side {MAX_RATED_SIDE}, as beyond it "
            "solving those without a clue to spare may take hours; choose a smaller side"
        )
    if min_rating < 0:
        raise DataError(f"generate: min_rating is {min_rating}; give 0 or more dead ends")
    found: list[_Climb] = []
    seen: set[int | bytes] = set()
    highest = 0
    with closing(in_order(partial(_climb, layout, seed, min_rating), count(), workers)) as climbs:
        while len(found) < n:
            for tried, climb in enumerate(islice(climbs, MAX_ATTEMPTS), 1):
                names: set[int | bytes] = {climb.key, climb.answer.tobytes()}
                if climb.rating >= min_rating and not names & seen:
                    break
                highest = max(highest, climb.rating)
                if not found and tried == _FIRST and 2 * highest < min_rating:
                    raise DataError(
                        f"generate: none of the first {tried} puzzles came near a rating of {min_rating}, the highest "
                        f"is {highest}: ask for a lower min_rating"
                    )
            else:
                raise DataError(
                    f"generate: only {len(found)} of {n} puzzles with a rating of at least {min_rating} turned up; "
                    "ask for fewer, or for a lower min_rating"
                )
            seen |= names
            found.append(climb)
            if progress is not None:
                progress(len(found))
    puzzles, answers = (np.array([climb[i] for climb in found], np.int8).reshape(n, layout.cells) for i in (0, 1))
    return RatedPuzzles(puzzles, answers, np.array([climb.rating for climb in found], np.int64))
