"""A set of puzzles as it is, and perturbed in every way that is known for its kind and its model."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import ConfigError
from trm_jax.puzzles import sudoku, sudoku_search
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.perturbations import perturbations_of
from trm_jax.puzzles.perturbed import Judge, Perturbed, kept_rules
from trm_jax.puzzles.perturbed_clues import clue_range
from trm_jax.puzzles.symmetry import Tokens

PLAIN = "plain"
# Puzzles that are taken of a set, evenly spread over it, where nobody says how many: each is searched many times.
SPREAD = 512
_SIDES = (4, 6, 9)


@dataclass(frozen=True)
class StressSet:
    """Puzzles of one perturbation.

    name, about: of the perturbation.
    kind: of these puzzles.
    inputs, labels: tokens [N, S]; a label is 0 everywhere where no answer is the one.
    puzzle_ids, groups: int [N], as in `PuzzleSet`.
    answers: how many each has: "none", "one", "several", or "" where nobody has looked, [N].
    judge: of the answers to those that have any.
    """

    name: str
    about: str
    kind: Kind
    inputs: Tokens
    labels: Tokens
    puzzle_ids: NDArray[np.int32]
    groups: NDArray[np.int64]
    answers: NDArray[np.str_]
    judge: Judge = kept_rules

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def counts(self) -> dict[str, int]:
        """How many puzzles have no answer, one, or several; those that nobody has looked at are not among them."""
        found = Counter(self.answers.tolist())
        return {number: found[number] for number in ("none", "one", "several") if found[number]}


@dataclass
class StressSets:
    """The plain puzzles, then those of each perturbation; left_out: perturbations that there are not, and why."""

    sets: list[StressSet]
    left_out: dict[str, str] = field(default_factory=dict)


def stress_sets(
    puzzles: PuzzleSet,
    kind: Kind,
    experiment: Experiment,
    seed: int,
    spread: int = SPREAD,
    progress: Callable[[int], None] = lambda done: None,
) -> StressSets:
    """All perturbations of the puzzles that mean something to their kind and to the model of an experiment.

    Args:
      puzzles, kind, experiment: as `fit.matched` has them.
      seed: from 0; the same puzzles and seed give the same perturbations.
      spread: at most so many puzzles, evenly spread over the set; 0: all.
      progress: told how many puzzles are done.

    Raises:
      ConfigError: a seed below 0.
    """
    if seed < 0:
        raise ConfigError(f"--stress-seed {seed}: give a whole number from 0")
    rows = np.arange(len(puzzles))
    if 0 < spread < len(puzzles):
        rows = np.linspace(0, len(puzzles) - 1, spread).astype(np.int64)
    inputs, labels = (np.asarray(part[rows]).astype(np.int32) for part in (puzzles.inputs, puzzles.labels))
    ids, groups = puzzles.puzzle_ids[rows], puzzles.groups[rows]
    plain = StressSet(PLAIN, "as they are", kind, inputs, labels, ids, groups, np.full(len(rows), "", "<U7"))
    found = StressSets([plain])
    known = perturbations_of(kind, clue_range(kind, inputs))
    made: list[list[Perturbed | None]] = [[] for _ in known.perturbations]
    for done, question in enumerate(inputs, start=1):
        for each, results in zip(known.perturbations, made, strict=True):
            results.append(each(question, seed))
        progress(done)
    for each, results in zip(known.perturbations, made, strict=True):
        kept = [i for i, result in enumerate(results) if result is not None]
        if not kept:
            found.left_out[each.name] = f"none of {len(rows)} puzzles can be made so"
            continue
        those = [result for result in results if result is not None]
        taken = _rows(plain, kept)
        found.sets.append(
            replace(
                taken,
                name=each.name,
                about=each.about,
                inputs=np.array([one.question for one in those]),
                labels=np.array([one.label for one in those]),
                answers=np.array([one.answers for one in those]),
                judge=each.judge,
            )
        )
    found.left_out |= known.left_out
    _add_wrong_ids(found, plain, experiment, seed)
    _add_sizes(found, plain, experiment, seed)
    return found


def _add_wrong_ids(found: StressSets, plain: StressSet, experiment: Experiment, seed: int) -> None:
    """The same questions under the id of a puzzle of another task."""
    if not experiment.model.puzzle_dim:
        found.left_out["wrong_id"] = "the model has no puzzle table"
        return
    rng = np.random.default_rng([seed, 1])
    numbers, named = np.arange(len(plain)), plain.puzzle_ids > 0
    wrong = plain.puzzle_ids.copy()
    for i in numbers[named]:
        others = numbers[named & (plain.groups != plain.groups[i]) & (plain.puzzle_ids != plain.puzzle_ids[i])]
        if len(others):
            wrong[i] = plain.puzzle_ids[rng.choice(others)]
    kept = np.flatnonzero(wrong != plain.puzzle_ids)
    if not len(kept):
        found.left_out["wrong_id"] = "the puzzles have no ids of several tasks"
        return
    about = "under the puzzle id of another task"
    found.sets.append(replace(_rows(plain, kept), name="wrong_id", about=about, puzzle_ids=wrong[kept]))


def _rows(one: StressSet, rows: NDArray[np.intp] | list[int]) -> StressSet:
    parts = {name: getattr(one, name)[rows] for name in ("inputs", "labels", "puzzle_ids", "groups", "answers")}
    return replace(one, **parts)


def _add_sizes(found: StressSets, plain: StressSet, experiment: Experiment, seed: int) -> None:
    """As many Sudokus of other sizes, with one answer each, where the network serves every size."""
    if not isinstance(plain.kind, Sudoku) or min(plain.kind.boxes or (1,)) < 2:
        found.left_out["other sizes"] = "only Sudokus with boxes are generated in every size"
    elif not experiment.model.any_size:
        found.left_out["other sizes"] = "the network serves boards of one size"
    else:
        for side in _SIDES:
            if side != plain.kind.shape[0]:
                found.sets.append(_of_side(side, len(plain), seed))


def _of_side(side: int, count: int, seed: int) -> StressSet:
    layout = sudoku.layout_for(side)
    pairs = sudoku_search.generate(count, layout, seed)
    inputs, labels = (sudoku.encode(part).astype(np.int32) for part in pairs)
    return StressSet(
        f"size_{side}x{side}",
        f"generated Sudokus of {side} x {side}; one answer",
        kind_of("sudoku", layout.cells),
        inputs,
        labels,
        np.zeros(count, np.int32),
        np.arange(count),
        np.full(count, "one"),
    )


def of_one_size(sets: list[StressSet]) -> Iterator[list[StressSet]]:
    """The sets in their order, those of one kind together, since they go through the same network."""
    by_kind: dict[str, list[StressSet]] = {}
    for each in sets:
        by_kind.setdefault(repr(each.kind.to_dict()), []).append(each)
    yield from by_kind.values()
