"""Accuracy of weights on puzzles: by supervision steps, by attempts, by how one of them is chosen; with intervals."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.folder import BLANK
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import ALONE, Layout
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.answers import believed
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.selection import RULES, Rule
from trm_jax.inference.statistics import Calibration, Share, calibration, share
from trm_jax.model.estimate import supervision_flops
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.arc_tasks import Task, read_challenges
from trm_jax.puzzles.arc_votes import ArcResult, Votes, read_names
from trm_jax.puzzles.kind import Kind

PuzzleIds = Literal["own", "blank", "random"]


@dataclass(frozen=True)
class Row:
    """Means over all puzzles, for one number of supervision steps and of attempts, and one way to choose among these.

    exact: puzzles with every labelled cell right. This, cells, oracle and q_right leave out puzzles without a labelled
      cell, since there is nothing to be right about.
    cells: labelled cells that are right, puzzle by puzzle.
    satisfied: puzzles whose answer keeps to the rules, whatever the label says; None where no rules are known.
    oracle: puzzles with every labelled cell right in at least one attempt: what a perfect choice would reach.
    q_right: puzzles of which q_halt >= 0 tells truly whether they are solved.
    halted: puzzles whose chosen attempt has halted, whether or not that ended it.
    steps: supervision steps computed for a puzzle, all attempts together.
    flops: operations for a puzzle, by the matrix products' arithmetic.
    """

    supervision_steps: int
    attempts: int
    selection: str
    exact: Share
    cells: Share
    satisfied: Share | None
    oracle: Share
    q_right: float
    halted: float
    steps: float
    flops: float


@dataclass(frozen=True)
class Report:
    """An evaluation.

    puzzles: how many; tasks: how many are independent (augmentations of one task count once: intervals go by these).
    unlabelled: puzzles among them without a labelled cell, which no label can judge.
    seconds: how long it took, compilation included.
    rows: one for each depth, with all attempts and the selection asked for.
    table: one for each depth, number of attempts (powers of two, and all; of a race all alone) and selection.
    halting: of the first attempts, how many halted first at step 1, 2, ...; the last number never did (in a race: were
      stopped by another, or never did).
    calibration: of the confidence in the answers of the last row.
    arc: what the votes of all augmentations say, of ARC tasks.
    """

    puzzles: int
    tasks: int
    unlabelled: int
    seconds: float
    effort: Effort
    selection: str
    puzzle_ids: str
    rows: tuple[Row, ...]
    table: tuple[Row, ...]
    halting: tuple[int, ...]
    calibration: Calibration
    arc: ArcResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without the submission, which has a file of its own."""
        return asdict(replace(self, arc=None)) | {"arc": None if self.arc is None else _arc_figures(self.arc)}


def is_arc_test(kind: Kind, puzzles: PuzzleSet, split: str) -> bool:
    """Whether the votes of a set's augmentations can be counted: ARC test examples, from dataset folders."""
    return kind.name == "arc" and split == "test" and bool(puzzles.origins)


def votes_for(puzzles: PuzzleSet) -> Votes:
    """Empty votes for the ARC test puzzles of the dataset folders that a set comes from.

    A task that several folders hold is one task, and all votes for it count.

    Raises:
      DataError: it comes from no folder, or one without identifiers.json or test_puzzles.json, or with names for fewer
        puzzles than it has; two folders hold different tasks of one name.
    """
    if not puzzles.origins:
        raise DataError("ARC tasks are voted on in dataset folders: give one that `trm data arc` has built")
    names = [BLANK]
    tasks: dict[str, Task] = {}
    for origin in puzzles.origins:
        path = origin.path / "identifiers.json"
        here = read_names(path)
        if len(here) < origin.num_puzzles:
            raise DataError(f"{path}: {len(here)} names, but there are {origin.num_puzzles} puzzle ids: build it again")
        names += here[1 : origin.num_puzzles]
        path = origin.path / "test_puzzles.json"
        for task in read_challenges(path, None):
            if not _same(tasks.setdefault(task.name, task), task):
                raise DataError(
                    f"{path}: task {task.name}: another dataset has a different task of this name: evaluate them apart"
                )
    return Votes(puzzles.forms.names(names), list(tasks.values()))


def _same(one: Task, other: Task) -> bool:
    """Whether two tasks ask the same, and know the same solutions."""

    def listed(task: Task) -> list[tuple[list[Any], list[Any] | None]]:
        return [(grid.tolist(), None if output is None else output.tolist()) for grid, output in task.test]

    return listed(one) == listed(other)


def _arc_figures(arc: ArcResult) -> dict[str, Any]:
    """Everything but the submission: pass@k with intervals, both ways to count, and each task's score."""
    figures: dict[str, Any] = {"outputs": arc.outputs, "unanswered": arc.unanswered, "strays": arc.strays}
    figures["strangers"] = arc.strangers
    if arc.pass_at is None or arc.output_share is None or arc.task_scores is None:
        return figures | {"pass_at": None, "output_share": None, "task_scores": None}  # hidden solutions
    tasks = len(next(iter(arc.task_scores.values())))
    return figures | {
        "pass_at": {k: asdict(share(value, tasks)) for k, value in arc.pass_at.items()},
        "output_share": {k: asdict(share(value, tasks)) for k, value in arc.output_share.items()},
        "task_scores": arc.task_scores,
    }


class Evaluator:
    """Evaluates weights of one model on one set, as often as wanted."""

    def __init__(
        self,
        model: Model,
        puzzles: PuzzleSet,
        batch_size: int,
        effort: Effort,
        kind: Kind,
        selection: Rule = "q",
        puzzle_ids: PuzzleIds = "own",
        layout: Layout = ALONE,
    ) -> None:
        """Args:
          model, puzzles, kind: what is evaluated on what.
          batch_size: attempts worked on at once, by all devices together.
          effort: depths to report on, halting, attempts.
          selection: how the reported attempt is chosen.
          puzzle_ids: the puzzles' own; or, to see what they are worth, the blank one for all, or others at random.
          layout: the devices; the weights to evaluate lie as it says.

        Raises:
          ConfigError: a selection that the kind of puzzle does not allow.
          DataError: no puzzle has a labelled cell.
        """
        if selection == "rules" and not kind.has_rules:
            mend = "give some with --rules FILE, or " if kind.name == "grid" else ""
            raise ConfigError(
                f"--select rules: no rules are known for puzzles of kind {kind.name!r}: {mend}choose another selection"
            )
        if not puzzles.has_labels():
            raise DataError(
                f"none of {len(puzzles)} puzzles has a labelled cell, so there is nothing to be right about: "
                "give puzzles with their answers"
            )
        self._model, self.puzzles, self._batch_size, self._layout = model, puzzles, batch_size, layout
        self._effort, self.kind, self._selection = effort, kind, selection
        self._ids_name = puzzle_ids
        self._ids = puzzles.puzzle_ids
        if puzzle_ids == "blank":
            self._ids = np.zeros_like(self._ids)
        elif puzzle_ids == "random":
            rng = np.random.default_rng(effort.seed)
            self._ids = rng.integers(0, max(1, model.config.num_puzzles), len(self._ids), dtype=np.int32)

    def __call__(
        self,
        weights: Weights,
        progress: Callable[[int], None] = lambda done: None,
        votes: Votes | None = None,
    ) -> Report:
        """Runs every puzzle; calls progress(puzzles done) about once a second; adds ARC predictions to `votes`."""
        start = time.perf_counter()
        effort = self._effort
        rules = [rule for rule in RULES if rule != "rules" or self.kind.has_rules]
        sums: dict[tuple[int, int, str], Any] = {
            (depth, k, rule): 0.0
            for depth in effort.depths
            for k in _numbers_of_attempts(effort)
            for rule in (rules if k > 1 else ["only"])
        }
        halting = np.zeros(effort.steps + 1, np.int64)
        confidence: list[NDArray[np.float32]] = []
        right: list[NDArray[np.bool_]] = []
        labelled = np.zeros(len(self.puzzles), np.bool_)
        done = 0
        inputs, layout = self.puzzles.inputs, self._layout
        what = self._model, weights, effort, inputs, self._ids, self._batch_size, self.kind, layout
        for found in attempt(*what, progress):
            rows = slice(found.first, found.first + len(found))
            judged = _Judged(found, self.puzzles, self.kind)
            labelled[rows] = judged.labelled
            for key in sums:
                sums[key] += judged.sums(*key)
            each, chosen = np.arange(len(found)), judged.choose(effort.steps, effort.attempts, self._selection)
            confidence.append(found.q_halt[each, chosen, -1])
            right.append(judged.exact[each, chosen, -1])
            np.add.at(halting, np.where(found.halted_at[:, 0] > 0, found.halted_at[:, 0], effort.steps + 1) - 1, 1)
            if votes is not None:
                # Votes go by the puzzle's own id, which says how it was turned, whatever the model was told.
                own = self.puzzles.puzzle_ids[rows]
                votes.add(np.asarray(inputs[rows]), found.answers[each, chosen, -1], own, confidence[-1])
            done += len(found)
        tasks = len(self.puzzles.group_starts) - 1
        known = int(labelled.sum()), len(np.unique(self.puzzles.groups[labelled]))
        table = tuple(self._row(key, values, (done, tasks), known) for key, values in sorted(sums.items()))
        shown = (effort.attempts, self._selection if effort.attempts > 1 else "only")
        return Report(
            puzzles=done,
            tasks=tasks,
            unlabelled=done - known[0],
            seconds=time.perf_counter() - start,
            effort=effort,
            selection=shown[1],
            puzzle_ids=self._ids_name,
            rows=tuple(row for row in table if (row.attempts, row.selection) == shown),
            table=table,
            halting=tuple(halting.tolist()),
            calibration=calibration(np.concatenate(confidence)[labelled], np.concatenate(right)[labelled]),
            arc=votes.result() if votes is not None else None,
        )

    def _row(
        self, key: tuple[int, int, str], sums: NDArray[np.float64], all_of: tuple[int, int], known: tuple[int, int]
    ) -> Row:
        """Means of sums as `_Judged.sums` has them; all_of, known: puzzles and tasks, and those with a label."""
        of_label, of_all = (sums[:4] / known[0]).tolist(), (sums[4:] / all_of[0]).tolist()
        (exact, cells, oracle, q_right), (satisfied, halted, steps) = of_label, of_all
        return Row(
            *key,
            exact=share(exact, known[1]),
            cells=share(cells, known[1]),
            satisfied=share(satisfied, all_of[1]) if self.kind.has_rules else None,
            oracle=share(oracle, known[1]),
            q_right=q_right,
            halted=halted,
            steps=steps,
            flops=steps * supervision_flops(self._model.config),
        )


class _Judged:
    """Attempts at some puzzles, compared with labels and rules; arrays are [n, K, depths]."""

    def __init__(self, found: Attempts, puzzles: PuzzleSet, kind: Kind) -> None:
        rows = slice(found.first, found.first + len(found))
        inputs, labels = np.asarray(puzzles.inputs[rows]), np.asarray(puzzles.labels[rows])
        self._found = found
        cells = labels != 0
        hits = (found.answers == labels[:, None, None]) & cells[:, None, None]
        count = cells.sum(axis=1)[:, None, None]
        self.labelled = cells.any(axis=1)  # [n]
        # Of a puzzle without a labelled cell this says nothing; the sums leave it out.
        self.exact = hits.sum(axis=-1) == count
        self.cells = hits.sum(axis=-1) / np.maximum(count, 1)
        self.satisfied: NDArray[np.bool_] | None = None
        if kind.has_rules:
            flat = found.answers.reshape(-1, found.answers.shape[-1])
            asked = np.repeat(inputs, len(flat) // len(inputs), axis=0)
            try:
                # Not by answers.kept_rules: to find the answers that are the same takes longer than to check them.
                self.satisfied = kind.satisfied(asked, flat).reshape(self.exact.shape)
            except DataError as error:
                raise DataError(f"{_blamed(kind, puzzles, rows)}{error}") from None

    def choose(self, depth: int, k: int, rule: str) -> NDArray[np.intp]:
        """The attempt chosen among the first k after so many steps, for each puzzle; of one alone, that."""
        return np.zeros(len(self.exact), np.intp) if k == 1 else believed(self._found, self.satisfied, rule, depth, k)

    def sums(self, depth: int, k: int, rule: str) -> NDArray[np.float64]:
        """After so many steps of k attempts, over puzzles with a label: exact, cells, oracle, q right; over all:
        satisfied, halted, steps."""
        found, d = self._found, self._found.effort.depths.index(depth)
        chosen, each = self.choose(depth, k, rule), np.arange(len(self.exact))
        exact, known = self.exact[each, chosen, d], self.labelled
        halted_at = found.halted_at[each, chosen]
        steps = np.minimum(found.steps[:, :k], depth)
        if rule == "first" and found.effort.halting:
            # Whoever takes the first to halt stops all the others then.
            steps = np.broadcast_to(steps.min(axis=1, keepdims=True), steps.shape)
        return np.array(
            [
                exact[known].sum(),
                self.cells[each, chosen, d][known].sum(),
                self.exact[:, :k, d].any(axis=1)[known].sum(),
                ((found.q_halt[each, chosen, depth - 1] >= 0) == exact)[known].sum(),
                0.0 if self.satisfied is None else self.satisfied[each, chosen, d].sum(),
                ((halted_at > 0) & (halted_at <= depth)).sum(),
                steps.sum(),
            ],
            np.float64,
        )


def _blamed(kind: Kind, puzzles: PuzzleSet, rows: slice) -> str:
    """Names the first puzzle that is none of its kind, so that no rules can judge an answer; "" if the rules failed."""
    for i, question in enumerate(np.asarray(puzzles.inputs[rows]), start=rows.start):
        try:
            kind.check_question(question)
        except DataError:
            return f"{puzzles.row_name(i)}: "
    return ""


def _numbers_of_attempts(effort: Effort) -> list[int]:
    """1, 2, 4, ... and the most; of a race that alone, since the first few were stopped by all the others."""
    most = effort.attempts
    if effort.race:
        return [most]
    return sorted({1 << power for power in range(most.bit_length()) if 1 << power <= most} | {most})
