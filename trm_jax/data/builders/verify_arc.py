"""ARC datasets checked from the outside: boards, and that each puzzle is its task under the augmentation it names.

Nothing that built them is used: boards are taken apart and turned back, not made again. What a task is, is told by
test_puzzles.json, and of tasks that are not in it by the puzzle that bears the task's own name.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from trm_jax.data import folder
from trm_jax.data.builders.checks import Check, Faults
from trm_jax.data.builders.sets import OpenSet
from trm_jax.errors import DataError
from trm_jax.puzzles import arc
from trm_jax.puzzles.dihedral import INVERSE, dihedral_indices
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.sizes import counted

Boards = NDArray[np.uint8]
Advance = Callable[[int], None]

_EXAMPLES = 4_096  # at once
# The label of a test input whose output is hidden, as the public builder writes it.
_HIDDEN = [[0]]


def check_examples(each: OpenSet, advance: Advance) -> Iterator[Check]:
    """Boards, tasks and augmentations of one split."""
    puzzles = each.puzzles
    names = folder.read_identifiers(each.path)
    tasks, augmentations = Faults(), Faults()
    of_puzzle = _named(each, names, tasks)
    tasks_known = _tasks_known(each, of_puzzle, tasks)
    yield tasks.check(each.name, "tasks", len(puzzles.group_starts) - 1, counted(len(tasks_known), "task"))
    boards = Faults()
    for first, stop in _batches(puzzles.puzzle_starts):
        rows = np.arange(puzzles.puzzle_starts[first], puzzles.puzzle_starts[stop])
        sides = [_lift(tokens) for tokens in each.pairs(slice(int(rows[0]), int(rows[-1]) + 1))]
        for row in np.flatnonzero(~sides[0].well | ~sides[1].well):
            side = "label" if sides[0].well[row] else "input"
            boards.add(f"{puzzles.row_name(rows[row])}: the {side} is no single grid with its end markers")
        well = sides[0].well & sides[1].well
        for row in np.flatnonzero(well & (sides[0].corners != sides[1].corners).any(axis=1)):
            boards.add(f"{puzzles.row_name(rows[row])}: input and label begin at different places")
        if each.split == "test":
            for row in np.flatnonzero(well & (sides[1].corners > 0).any(axis=1)):
                boards.add(f"{puzzles.row_name(rows[row])}: not at the top left, where answers are read")
        puzzle_of = np.repeat(np.arange(first, stop), np.diff(puzzles.puzzle_starts[first : stop + 1]))
        turned = [of_puzzle[puzzle].augmentation for puzzle in puzzle_of]
        keys = _keys(*(_undo(side.boards, turned) for side in sides))
        start = 0
        for puzzle in range(first, stop):
            count = int(puzzles.puzzle_starts[puzzle + 1] - puzzles.puzzle_starts[puzzle])
            wanted = tasks_known.get(of_puzzle[puzzle].task)
            if wanted is not None:
                named = puzzles.row(int(rows[start]))
                _compare(keys[start : start + count], wanted, named, of_puzzle[puzzle].task, augmentations)
            start += count
        advance(len(rows))
    yield boards.check(each.name, "boards", len(puzzles))
    yield augmentations.check(each.name, "augmentations", len(puzzles))


def check_overlap(one: OpenSet, other: OpenSet) -> Check:
    """Examples, not augmented, that both sets have up to symmetry.

    A test pair that is a demonstration of its own task, too, is none of them: whoever is asked has seen it.
    """
    there: dict[bytes, str] = {}
    for example in _originals(one):
        there.setdefault(example.form, example.place)
    shown = _demonstrations(one) | _demonstrations(other)
    faults, own, count = Faults(), 0, 0
    for example in _originals(other):
        count += 1
        if example.form in there and (example.task, example.form) in shown:
            own += 1
        elif example.form in there:
            faults.add(f"{example.place} is {there[example.form]} up to symmetry")
    note = f"{own} more are demonstrations of their own task" if own else ""
    return faults.check(f"{one.name} / {other.name}", "overlap", count, note)


class _Example(NamedTuple):
    """form: equal for pairs that are the same up to symmetry."""

    task: str
    form: bytes
    place: str


def _originals(each: OpenSet) -> Iterator[_Example]:
    """The examples of each task's first puzzle."""
    puzzles = each.puzzles
    names = folder.read_identifiers(each.path)
    for puzzle in puzzles.group_starts[:-1]:
        first, stop = int(puzzles.puzzle_starts[puzzle]), int(puzzles.puzzle_starts[puzzle + 1])
        number = int(puzzles.puzzle_ids[first])
        task = names[number] if number < len(names) else ""
        sides = [_at_top_left(_lift(tokens).boards) for tokens in each.pairs(slice(first, stop))]
        for i, (question, answer) in enumerate(zip(*sides, strict=True)):
            form = arc.canonical_pair(_grid(question), _grid(answer))
            yield _Example(task, form, f"{puzzles.row_name(first + i)} of {each.name} ({task[:60]})")


def _demonstrations(each: OpenSet) -> set[tuple[str, bytes]]:
    """(task, form) of the pairs that held-out tasks show, from test_puzzles.json where there is one."""
    if not (each.path / "test_puzzles.json").exists():
        return set()
    found = set()
    for task, content in folder.read_test_puzzles(each.path).items():
        for i, pair in enumerate(content["train"], 1):
            where = f"{each.path / 'test_puzzles.json'}: task {task[:60]}, train example {i}"
            grids = [arc.check_grid(pair.get(side), f"{where}, {side}") for side in ("input", "output")]
            found.add((task, arc.canonical_pair(*grids)))
    return found


class _Named(NamedTuple):
    task: str
    augmentation: arc.Augmentation


def _named(each: OpenSet, names: Sequence[str], faults: Faults) -> list[_Named]:
    """Task and augmentation of each puzzle; a puzzle without gets the task ""."""
    puzzles = each.puzzles
    found = []
    for number in puzzles.puzzle_ids[puzzles.puzzle_starts[:-1]].tolist():
        try:
            if not 0 < number < len(names):
                raise DataError(f"puzzle id {number} has no name in identifiers.json")
            found.append(_Named(*arc.parse_name(names[number])))
        except DataError as error:
            faults.add(str(error))
            found.append(_Named("", arc.IDENTITY))
    seen: dict[str, int] = {}
    for group, (first, stop) in enumerate(zip(puzzles.group_starts[:-1], puzzles.group_starts[1:], strict=True)):
        tasks = {named.task for named in found[first:stop]} - {""}
        if len(tasks) > 1:
            faults.add(f"group {group}: puzzles of different tasks, {', '.join(sorted(tasks))[:60]}")
        for task in tasks:
            if seen.setdefault(task, group) != group:
                faults.add(f"group {group}: task {task[:60]}, as in group {seen[task]}")
    return found


def _tasks_known(each: OpenSet, of_puzzle: Sequence[_Named], faults: Faults) -> dict[str, Counter[bytes]]:
    """The examples that each task should have in this split."""
    puzzles = each.puzzles
    known: dict[str, Counter[bytes]] = {}
    if (each.path / "test_puzzles.json").exists():
        part = "test" if each.split == "test" else "train"
        for task, content in folder.read_test_puzzles(each.path).items():
            known[task] = _from_json(content[part], f"{each.path / 'test_puzzles.json'}: task {task[:60]}, {part}")
    there = {named.task for named in of_puzzle} - {""}
    if each.split == "test":
        for task in known.keys() - there:
            faults.add(f"task {task[:60]} of test_puzzles.json is missing")
    for puzzle, named in enumerate(of_puzzle):
        if named.task and named.task not in known and named.augmentation == arc.IDENTITY:
            rows = slice(int(puzzles.puzzle_starts[puzzle]), int(puzzles.puzzle_starts[puzzle + 1]))
            known[named.task] = Counter(_keys(*(_at_top_left(_lift(tokens).boards) for tokens in each.pairs(rows))))
    for task in sorted(there - known.keys()):
        faults.add(f"task {task[:60]}: no puzzle bears its own name, so there is nothing to compare with")
    return known


def _from_json(pairs: Sequence[Mapping[str, object]], where: str) -> Counter[bytes]:
    found = []
    for i, pair in enumerate(pairs, 1):
        grids = [
            arc.check_grid(pair.get("input"), f"{where} example {i}, input"),
            arc.check_grid(pair.get("output", _HIDDEN), f"{where} example {i}, output"),
        ]
        sides = np.zeros((2, 1, arc.SIDE, arc.SIDE), np.uint8)
        for side, grid in zip(sides, grids, strict=True):
            side[0, : grid.shape[0], : grid.shape[1]] = grid + arc.FIRST_COLOUR
        found += _keys(*sides.reshape(2, 1, -1))
    return Counter(found)


def _compare(keys: Sequence[bytes], wanted: Counter[bytes], row: int, task: str, faults: Faults) -> None:
    """Whether the examples of a puzzle, turned back, are those of its task; row: what people call the first."""
    left = Counter(wanted)
    for i, key in enumerate(keys):
        if left[key] > 0:
            left[key] -= 1
        else:
            faults.add(f"row {row + i}: turned back, it is no example of task {task[:60]}")
    if len(keys) < wanted.total():
        faults.add(f"row {row}: {len(keys)} examples, but task {task[:60]} has {wanted.total()}")


def _batches(starts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of puzzles with few enough examples together, at least one puzzle."""
    first, count = 0, len(starts) - 1
    while first < count:
        stop = max(first + 1, int(np.searchsorted(starts, starts[first] + _EXAMPLES, side="right")) - 1)
        yield first, stop
        first = stop


class _Lifted(NamedTuple):
    """Grids without their end markers.

    boards: tokens [n, 900] with 0 around the grid, which stays where it is.
    corners: row and column of its first cell [n, 2].
    well: whether there was a grid with its end markers and nothing else [n].
    """

    boards: Boards
    corners: NDArray[np.intp]
    well: NDArray[np.bool_]


def _lift(tokens: Tokens) -> _Lifted:
    boards = tokens.reshape(-1, arc.SIDE, arc.SIDE)
    coloured = np.greater_equal(boards, arc.FIRST_COLOUR)
    across, down = np.any(coloured, axis=2), np.any(coloured, axis=1)
    (in_rows, below), (in_columns, beside) = _span(across), _span(down)
    grid = in_rows[:, :, None] & in_columns[:, None, :]
    ends = (below[:, :, None] & in_columns[:, None, :]) | (in_rows[:, :, None] & beside[:, None, :])
    wrong = (coloured != grid) | (np.equal(boards, arc.END) != ends)
    # Without any colour the spans are the whole board, so that is wrong, too.
    well = ~np.any(wrong, axis=(1, 2))
    corners = np.stack([across.argmax(axis=1), down.argmax(axis=1)], axis=1)
    return _Lifted((boards * coloured).astype(np.uint8).reshape(-1, arc.CELLS), corners, well)


def _span(used: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """From the first place that is used to the last, and the place behind that, if there is one; [n, 30] each."""
    places = np.arange(arc.SIDE)
    first, last = used.argmax(axis=1)[:, None], arc.SIDE - 1 - used[:, ::-1].argmax(axis=1)[:, None]
    return np.logical_and(places >= first, places <= last), np.equal(places, last + 1)


def _undo(boards: Boards, augmentations: Sequence[arc.Augmentation]) -> Boards:
    """The grids, at the top left of tokens [n, 900], whose images under these n augmentations are on the boards."""
    colours = np.argsort([each.colours for each in augmentations], axis=1)
    tables = np.pad(colours + arc.FIRST_COLOUR, ((0, 0), (arc.FIRST_COLOUR, 0))).astype(np.uint8)
    rows = (np.arange(len(boards)) * arc.VOCAB_SIZE)[:, None]
    turned = np.take(tables, boards + rows)
    maps = np.array([each.map for each in augmentations])
    for k, cells in enumerate(dihedral_indices((arc.SIDE, arc.SIDE))[list(INVERSE)]):
        turned[maps == k] = turned[maps == k][:, cells]
    return _at_top_left(turned)


def _at_top_left(boards: Boards) -> Boards:
    """Boards [n, 900] with what is not 0 moved as far up and left as it goes."""
    squares = boards.reshape(-1, arc.SIDE, arc.SIDE)
    top, left = (np.any(squares, axis=axis).argmax(axis=1) for axis in (2, 1))
    room = np.pad(squares, ((0, 0), (0, arc.SIDE), (0, arc.SIDE)))
    windows = sliding_window_view(room, (arc.SIDE, arc.SIDE), axis=(1, 2))
    return windows[np.arange(len(boards)), top, left].reshape(-1, arc.CELLS)


def _keys(inputs: Boards, labels: Boards) -> list[bytes]:
    return [row.tobytes() for row in np.concatenate([inputs, labels], axis=1)]


def _grid(board: Boards) -> arc.Grid:
    """The grid at the top left of a board [900]."""
    cells = board.reshape(arc.SIDE, arc.SIDE)
    rows, columns = max(1, int((cells[:, 0] > 0).sum())), max(1, int((cells[0] > 0).sum()))
    return (cells[:rows, :columns].clip(arc.FIRST_COLOUR) - arc.FIRST_COLOUR).astype(np.uint8)
