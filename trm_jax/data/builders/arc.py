"""ARC datasets as the original builds them: every task under a thousand augmentations, each an identifier of its own.

A task is a group, and a puzzle of it is the task under one augmentation. The training split holds the demonstration
pairs of all tasks, and of tasks that are not held out the test pairs too; the test split holds the test pairs of
held-out tasks, under the same identifiers. In training, grids are shifted about the board, but for one example of each
puzzle.

What is random depends on the seed and on a task's name alone (arc_augmentations.py).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from trm_jax.data.builders.arc_augmentations import Pair, draw, place, random_places
from trm_jax.data.folder import BLANK
from trm_jax.data.folder_writer import Writer
from trm_jax.errors import DataError
from trm_jax.puzzles.arc import CELLS, VOCAB_SIZE, Grid, canonical_pair
from trm_jax.puzzles.arc_tasks import Task, read_challenges

MOST_AUGMENTATIONS = 10_000

# What the original writes as the label of a test input whose output is hidden.
_HIDDEN = np.zeros((1, 1), np.uint8)


class Subset(NamedTuple):
    """A file or a folder of challenges under its name, with the file of its solutions; None where it has none."""

    name: str
    challenges: Path
    solutions: Path | None


class Overlap(NamedTuple):
    """A held-out task that a training subset has too, under the same name or as the same pair up to symmetry."""

    held_out: str
    task: str
    subset: str


class Sizes(NamedTuple):
    """Of a split; an example is a pair of grids."""

    groups: int
    puzzles: int
    examples: int


@dataclass(frozen=True)
class Summary:
    """What a build made, and what its user should know.

    splits: "train" and, if tasks were held out, "test".
    identifiers: with the blank one.
    hidden: test outputs that are not known; those of held-out tasks have a dummy label, others are left out.
    overlap: held-out tasks that training subsets have too, each with the first task that matches.
    left_out: tasks of a training subset that were left out because a held-out one is the same, (name, subset).
    repeated: tasks left out because an earlier subset has one of that name, (name, subset).
    differing: those of them with other grids than the one that was kept.
    fewer: tasks with fewer augmentations than asked for, and how many they have.
    """

    splits: Mapping[str, Sizes]
    identifiers: int
    hidden: int
    overlap: tuple[Overlap, ...]
    left_out: tuple[tuple[str, str], ...]
    repeated: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, str], ...]
    fewer: Mapping[str, int]


def find_subsets(prefix: str, names: Sequence[str]) -> list[Subset]:
    """The files `{prefix}_{name}_challenges.json` and, where there are any, `{prefix}_{name}_solutions.json`.

    Either `_` may be `-`. Where the prefix is a folder, a subset may be a folder in it, with a file for each task.

    Raises DataError where there are no challenges, naming the subsets that there are; and where there are two.
    """
    subsets = []
    for name in names:
        files = _contest_files(prefix, name, "challenges")
        folders = [folder for folder in (Path(prefix) / name,) if folder.is_dir()]
        found = files + folders
        if len(found) > 1:
            raise DataError(f"subset {name!r:.60} may be {found[0]} or {found[1]}: name one by --files")
        if not found:
            raise DataError(
                f"{prefix}_{name}_challenges.json: no such file: the subsets there are: "
                f"{', '.join(_subsets_of(prefix)[:20]) or 'none with this prefix'}"
            )
        solutions = _contest_files(prefix, name, "solutions") if files else []
        subsets.append(Subset(name, found[0], solutions[0] if solutions else None))
    return subsets


def subset_name(challenges: Path) -> str:
    """What a file or folder of challenges is called as a subset."""
    return re.sub("[_-]challenges$", "", challenges.name.removesuffix(".json"))


def _contest_files(prefix: str, name: str, part: str) -> list[Path]:
    paths = [Path(f"{prefix}{first}{name}{second}{part}.json") for first in "_-" for second in "_-"]
    return [path for path in paths if path.is_file()]


def _subsets_of(prefix: str) -> list[str]:
    """Names of the subsets that there are."""
    start, beside = Path(prefix).name, Path(prefix).parent
    names = [file.name for file in beside.glob("*.json")] if beside.is_dir() else []
    found = [re.fullmatch(re.escape(start) + "[_-](.+)[_-]challenges.json", name) for name in names]
    inside = [path.name for path in Path(prefix).glob("*") if path.is_dir()] if Path(prefix).is_dir() else []
    return sorted([match[1] for match in found if match] + inside)


def build(
    sources: Sequence[Subset],
    out: Path,
    *,
    test: Sequence[str],
    augmentations: int = 1_000,
    seed: int = 0,
    overlap: Literal["refuse", "drop", "keep"] = "refuse",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Builds a dataset folder.

    Args:
      sources: the subsets; tasks keep their order. Of tasks of one name the first is kept, but for held-out ones,
        which come before all others.
      out: the folder to be; must not exist.
      test: names of the subsets whose test examples are held out.
      augmentations: besides the identity, at most so many of each task, all different.
      seed: of all randomness.
      overlap: what to do where a held-out task is in a training subset too, by name or by a pair that is the same up to
        symmetry: refuse, drop the tasks of the training subsets, or keep those that have another name, as the
        original does: then the model has seen answers that it is asked for.
      progress: told after each task: how many are done, of how many.

    Raises:
      DataError: a bad file or number, an overlap, an `out` that exists, a full disk.
    """
    _check(sources, test, augmentations, seed)
    # Refuses an `out` that exists before tasks are compared.
    writer = Writer(out, CELLS, VOCAB_SIZE, puzzle={"kind": "arc"})
    chosen = _choose(sources, frozenset(test), overlap)
    identifiers, fewer = [BLANK], {}
    sizes: dict[str, Sizes] = {}
    with writer:
        for done, (task, held_out) in enumerate(chosen.tasks, 1):
            known, asked = _examples(task, held_out)
            drawn = draw(task.name, known + asked, augmentations, seed)
            count = len(drawn.maps)
            if count < augmentations + 1:
                fewer[task.name] = count - 1
            ids = np.arange(len(identifiers), len(identifiers) + count)
            identifiers += drawn.names(task.name)
            for split, pairs, shifts in (
                ("train", known, random_places(task.name, known, drawn, seed)),
                ("test", asked, np.zeros((count, len(asked), 2), np.intp)),
            ):
                if pairs:
                    writer.split(split).add(*place(pairs, drawn, shifts), np.full(count, len(pairs)), ids)
                    groups, puzzles, examples = sizes.get(split, Sizes(0, 0, 0))
                    sizes[split] = Sizes(groups + 1, puzzles + count, examples + count * len(pairs))
            progress(done, len(chosen.tasks))
        writer.finish(identifiers, {task.name: _json(task) for task, held_out in chosen.tasks if held_out})
    hidden = sum(output is None for task, _ in chosen.tasks for _, output in task.test)
    return Summary(
        sizes,
        len(identifiers),
        hidden,
        chosen.overlap,
        tuple(chosen.left_out),
        tuple(chosen.repeated),
        tuple(chosen.differing),
        fewer,
    )


class _Chosen(NamedTuple):
    tasks: list[tuple[Task, bool]]  # with whether it is held out
    overlap: tuple[Overlap, ...]
    left_out: list[tuple[str, str]]
    repeated: list[tuple[str, str]]
    differing: list[tuple[str, str]]


def _check(sources: Sequence[Subset], test: Sequence[str], augmentations: int, seed: int) -> None:
    names = [source.name for source in sources]
    if not names or len(set(names)) < len(names):
        raise DataError(f"subsets {', '.join(names) or 'none'}: give at least one, and each once")
    for name in test:
        if name not in names:
            raise DataError(f"subset {name!r:.60} is to be held out, but is none of those to build: {', '.join(names)}")
    if not 0 <= augmentations <= MOST_AUGMENTATIONS:
        raise DataError(f"{augmentations} augmentations: give 0 to {MOST_AUGMENTATIONS}")
    if not 0 <= seed < 1 << 64:
        raise DataError(f"seed {seed}: give 0 to 2^64 - 1")


def _choose(sources: Sequence[Subset], test: frozenset[str], overlap: str) -> _Chosen:
    """Reads the tasks, finds what they have in common, and leaves out what may not stand beside another."""
    read = {source.name: read_challenges(source.challenges, source.solutions) for source in sources}
    held_out: dict[str, Task] = {}
    for source in sources:
        for task in read[source.name] if source.name in test else ():
            if not task.test:
                raise DataError(f"{source.challenges}: task {task.name}: no test examples: it is for training alone")
            if task.name in held_out and not _same(task, held_out[task.name]):
                raise DataError(f"{source.challenges}: task {task.name}: another held-out task has this name")
            held_out.setdefault(task.name, task)
    trained = [(task, name) for name, tasks in read.items() if name not in test for task in tasks]
    common = tuple(_overlaps(held_out, trained))
    if common and overlap == "refuse":
        first = common[0]
        raise DataError(
            f"{len(common)} of {len(held_out)} held-out tasks are in the training subsets too, up to symmetry, first "
            f"{first.held_out} ({first.task} in {first.subset}): leave out a subset, or choose to drop the tasks there"
        )
    dropped = _matching(held_out, trained) if overlap == "drop" else set()
    tasks: list[tuple[Task, bool]] = []
    left_out, repeated, differing = [], [], []
    kept: dict[str, Task] = {}
    for name, subset in read.items():
        for task in subset:
            held = name in test
            if not held and task.name in dropped:
                left_out.append((task.name, name))
            elif task.name in kept or (not held and task.name in held_out):
                repeated.append((task.name, name))
                if not _agree(task, kept[task.name] if held or task.name in kept else held_out[task.name]):
                    differing.append((task.name, name))
            else:
                kept[task.name] = task
                tasks.append((task, held))
    return _Chosen(tasks, common, left_out, repeated, differing)


def _overlaps(held_out: Mapping[str, Task], trained: Sequence[tuple[Task, str]]) -> Iterator[Overlap]:
    """Each held-out task that is in a training subset too, with the first task there that has its name or a pair."""
    by_name = {task.name: (task.name, subset) for task, subset in reversed(trained)}
    by_pair = {pair: (task.name, subset) for task, subset in reversed(trained) for pair in _canonical(task)}
    for name, task in held_out.items():
        matches = [by_name.get(name), *(by_pair.get(pair) for pair in _canonical(task))]
        for match in [match for match in matches if match is not None][:1]:
            yield Overlap(name, *match)


def _matching(held_out: Mapping[str, Task], trained: Sequence[tuple[Task, str]]) -> set[str]:
    """Names of tasks in the training subsets that a held-out one has the name or a pair of."""
    pairs = {pair for task in held_out.values() for pair in _canonical(task)}
    return {task.name for task, _ in trained if task.name in held_out or not pairs.isdisjoint(_canonical(task))}


def _canonical(task: Task) -> list[bytes]:
    return [canonical_pair(grid, output) for grid, output in (*task.train, *task.test) if output is not None]


def _same(one: Task, other: Task) -> bool:
    return _json(one) == _json(other)


def _agree(one: Task, other: Task) -> bool:
    """Whether two tasks ask the same; an output that is hidden in one is no difference."""
    if len(one.train) != len(other.train) or len(one.test) != len(other.test):
        return False
    return all(
        np.array_equal(grid, others)
        for pair, its in zip((*one.train, *one.test), (*other.train, *other.test), strict=True)
        for grid, others in zip(pair, its, strict=True)
        if grid is not None and others is not None
    )


def _json(task: Task) -> dict[str, Any]:
    """The task as test_puzzles.json and the contests write it; a hidden output is left out."""

    def listed(grid: Grid, output: Grid | None) -> dict[str, Any]:
        return {"input": grid.tolist()} | ({} if output is None else {"output": output.tolist()})

    return {part: [listed(*pair) for pair in getattr(task, part)] for part in ("train", "test")}


def _examples(task: Task, held_out: bool) -> tuple[list[Pair], list[Pair]]:
    """The pairs for training, and those for the test."""
    if held_out:
        return list(task.train), [(grid, _HIDDEN if output is None else output) for grid, output in task.test]
    return [*task.train, *((grid, output) for grid, output in task.test if output is not None)], []
