"""Forms of ARC tasks, turned and recoloured, drawn as they are needed and never stored.

A task has K + 1 forms: number 0 is the task itself, and each of the others shows all its grids under one random
`Augmentation`. Every form has a puzzle id of its own, and what it looks like follows from the id and the seed alone: in
NumPy, where sets are evaluated, as inside a jitted step, bit for bit. Forms may come out alike, most often those of
tasks with few colours and much symmetry: nobody looks for that, as `trm data arc` does for those that it stores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.data.order import digest
from trm_jax.data.stacked import Stacked
from trm_jax.puzzles.arc import IDENTITY, parse_name
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.symmetry import Array, Tokens

_KIND = Arc()
# A stream of random numbers that `order` does not use.
_OF_WORDS = 5
# Pairs that are turned at once: the work takes some 50 kB for each.
_CHUNK = 1_024


@dataclass(frozen=True)
class Forms:
    """Which forms each task has.

    count: K, how many besides the task itself; 0: none.
    seed: of the draws.
    """

    count: int
    seed: int

    def number_of_ids(self, num_puzzles: int) -> int:
        """How many ids the forms of so many puzzles have, the blank one included on both sides."""
        return 1 + (num_puzzles - 1) * (self.count + 1)

    def ids(self, puzzle_ids: Array, numbers: Array) -> Array:
        """Ids of tasks in these forms, int32 [n]; the blank id 0 stays as it is.

        Args:
          puzzle_ids: of the tasks, int32 [n].
          numbers: of the forms, 0 ... K, int32 [n].
        """
        xp = puzzle_ids.__array_namespace__()
        return xp.where(puzzle_ids > 0, 1 + (puzzle_ids - 1) * (self.count + 1) + numbers, 0)

    def turned(self, ids: Array, inputs: Array, labels: Array) -> tuple[Array, Array]:
        """Pairs of tasks as the forms of these ids show them.

        Args:
          ids: as `ids` gives them, int32 [n].
          inputs, labels: tokens [n, 900] of the tasks themselves, of any integer dtype, which is kept.
        """
        xp = ids.__array_namespace__()
        plain = self._plain(ids)[:, None]
        images = _KIND.turned(self._words(ids), inputs, labels)
        return xp.where(plain, inputs, images[0]), xp.where(plain, labels, images[1])

    def names(self, names: Sequence[str]) -> list[str]:
        """The name of each form's id, as in identifiers.json, from those of the tasks' ids, the blank one first."""
        if not self.count:
            return list(names)
        ids = np.arange(1, self.number_of_ids(len(names)), dtype=np.int32)
        tasks = (parse_name(name)[0] for name in names[1:] for _ in range(self.count + 1))
        drawn = zip(tasks, self._plain(ids).tolist(), _KIND.augmentation(self._words(ids)), strict=True)
        return [names[0], *((IDENTITY if plain else change).name(task) for task, plain, change in drawn)]

    def _plain(self, ids: Array) -> Array:
        """Which ids are those of tasks themselves, or blank: bool [n]."""
        return (ids == 0) | ((ids - 1) % (self.count + 1) == 0)

    def _words(self, ids: Array) -> Array:
        """Random words [n, W] from which the forms of these ids are drawn."""
        xp = ids.__array_namespace__()
        seed, *numbers = (xp.asarray([each], dtype=xp.uint32) for each in (self.seed, *range(_KIND.turning_words)))
        return xp.stack([digest(seed, ids, number, stream=_OF_WORDS) for number in numbers], axis=1)


NO_FORMS = Forms(0, 0)


def forms_of(experiment: Experiment) -> Forms:
    """The forms of each puzzle that an experiment trains on."""
    return Forms(experiment.data.forms, experiment.train.seed)


@dataclass(frozen=True)
class AllForms:
    """The examples of a set in all forms: one puzzle after the other, and of each one form after the other.

    forms: which.
    inputs, labels: tokens [N, 900] of the tasks themselves.
    puzzle_ids: of each example, int32 [N].
    puzzle_starts: example at which each puzzle starts, and N at the end.
    """

    forms: Forms
    inputs: Tokens | Stacked
    labels: Tokens | Stacked
    puzzle_ids: NDArray[np.int32]
    puzzle_starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.puzzle_ids) * (self.forms.count + 1)

    def stacked(self) -> tuple[Stacked, Stacked]:
        """Inputs and labels, tokens [N * (K + 1), 900], of which nothing is made before it is asked for."""
        inputs, labels = (Stacked([cast(Tokens, _Side(self, side))]) for side in range(2))
        return inputs, labels

    def ids(self, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Puzzle ids of these rows, [n]."""
        examples, numbers = self._places(rows)
        ids: NDArray[np.int32] = self.forms.ids(self.puzzle_ids[examples], numbers)
        return ids

    def pairs(self, rows: NDArray[np.int64]) -> tuple[Tokens, Tokens]:
        """Inputs and labels of these rows, tokens [n, 900]."""
        found = np.empty((2, len(rows), self.inputs.shape[1]), np.result_type(self.inputs.dtype, self.labels.dtype))
        for start in range(0, len(rows), _CHUNK):
            part = slice(start, start + _CHUNK)
            examples, numbers = self._places(rows[part])
            ids = self.forms.ids(self.puzzle_ids[examples], numbers)
            found[:, part] = self.forms.turned(ids, self.inputs[examples], self.labels[examples])
        return found[0], found[1]

    def _places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Of each row, its example and the number of its form."""
        starts = self.puzzle_starts
        puzzles = np.searchsorted(starts * (self.forms.count + 1), rows, side="right") - 1
        first = starts[puzzles]
        numbers, within = np.divmod(rows - first * (self.forms.count + 1), starts[puzzles + 1] - first)
        return first + within, numbers.astype(np.int32)


@dataclass(frozen=True)
class _Side:
    """The inputs (0) or the labels (1) of all forms, with as much of an array as `Stacked` asks of a part."""

    whole: AllForms
    side: int

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = (self.whole.inputs, self.whole.labels)[self.side].dtype
        return dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self.whole.inputs.shape[1:]

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, rows: NDArray[np.int64]) -> Tokens:
        return self.whole.pairs(rows)[self.side]
