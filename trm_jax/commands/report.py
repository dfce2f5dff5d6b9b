"""The command `trm eval`: an evaluation as asked for, told as a table for people, JSON, CSV, a plot, a submission."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

from trm_jax.commands.asked import Asked
from trm_jax.commands.written import write
from trm_jax.console import Bar
from trm_jax.devices.cluster import is_main, noticing_loss, unanimous
from trm_jax.devices.sharding import Layout, mesh_layout
from trm_jax.display.canvas import new_figure
from trm_jax.display.plots import draw_effort
from trm_jax.errors import ConfigError
from trm_jax.inference.by_rules import RulesEvaluator, RulesReport
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator, PuzzleIds, Report, Row, is_arc_test, votes_for
from trm_jax.inference.selection import Rule
from trm_jax.inference.statistics import Share, share
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.arc_votes import ArcResult
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.sources import load
from trm_jax.sizes import counted, si

# More steps than these have no place on a line, each with its own share.
_MOST_STEPS = 8


@dataclass(frozen=True)
class Request(Asked):
    """What `trm eval` was asked for with attempts.

    checkpoints: the one to evaluate, and those whose ARC votes are pooled with its own.
    selection: "" for the best that the kind of puzzle allows.
    """

    checkpoints: tuple[Path, ...]
    effort: Effort
    selection: Rule | str = ""
    puzzle_ids: PuzzleIds = "own"
    table: Path | None = None
    plot: Path | None = None
    submission: Path | None = None


def evaluate(request: Request) -> Report | RulesReport:
    """Evaluates, prints the table, and writes the files asked for.

    With several processes (cluster.join), every one calls this with the same arguments; the first prints and writes.
    """
    with unanimous() as facts:
        evaluator, weights, layout, about = _prepared(request)
        puzzles = evaluator.puzzles
        votes = votes_for(puzzles) if is_arc_test(evaluator.kind, puzzles, request.split) else None
        facts |= {
            "the checkpoints": [str(path) for path in request.checkpoints],
            "the fingerprint of the puzzles": puzzles.fingerprint[:12],
        }
    if isinstance(evaluator, RulesEvaluator):
        with noticing_loss(), Bar("evaluating", len(puzzles), every=max(1, len(puzzles) // 10)) as bar:
            judged = evaluator(layout.everywhere(weights), bar.update)
        if is_main():
            _tell_judged(judged, request, about)
        return judged
    total = len(puzzles) * len(request.checkpoints)
    with noticing_loss(), Bar("evaluating", total, every=max(1, total // 10)) as bar:
        report = evaluator(layout.everywhere(weights), bar.update, votes)
        for number, path in enumerate(request.checkpoints[1:], start=1):
            _, weights = load(path, request.averaged)
            pooled = evaluator(layout.everywhere(weights), partial(_shifted, bar.update, number * len(puzzles)), votes)
            # Figures of single answers stay the first checkpoint's; the votes are everyone's.
            report = replace(report, arc=pooled.arc, seconds=report.seconds + pooled.seconds)
    if is_main():
        _tell(report, request, about)
    return report


def _prepared(request: Request) -> tuple[Evaluator | RulesEvaluator, Weights, Layout, dict[str, Any]]:
    """All that can be wrong is told here, before anything is evaluated, which may take hours.

    Returns:
      The evaluator, the first checkpoint's weights, the layout, and what the JSON file says of where figures come from.
    """
    layout = mesh_layout(request.devices)
    experiment, weights = load(request.checkpoints[0], request.averaged)
    config = experiment.model
    found = request.matched(experiment, request.checkpoints[0])
    puzzles, kind = found.puzzles, found.kind
    is_arc = is_arc_test(kind, puzzles, request.split)
    if len(request.checkpoints) > 1 and not is_arc:
        raise ConfigError("--pool adds up the votes of checkpoints on ARC test puzzles: these are none")
    if request.submission and not is_arc:
        raise ConfigError("--submission writes answers to ARC test puzzles: these are none")
    _check(request.effort, request.selection)
    pooled = {fingerprint(weights): request.checkpoints[0]}
    for path in request.checkpoints[1:]:
        other, others = load(path, request.averaged)
        if other.model != config:
            raise ConfigError(f"{path}: another model than {request.checkpoints[0]}: pool checkpoints of one run")
        key = fingerprint(others)
        if key in pooled:
            raise ConfigError(f"--pool {path}: the weights of {pooled[key]} again, whose votes would count twice")
        pooled[key] = path
    if request.plot:
        new_figure((1, 1))  # or says at once that matplotlib is missing
    selection = request.selection or ("rules" if kind.has_rules else "q")
    batch_size = request.batch_size or experiment.train.eval_batch_size
    model = Model(found.experiment.model)
    rule = cast(Rule, selection)
    evaluator: Evaluator | RulesEvaluator
    if puzzles.has_labels():
        evaluator = Evaluator(model, puzzles, batch_size, request.effort, kind, rule, request.puzzle_ids, layout)
    else:
        _refuse_unanswered(request)
        evaluator = RulesEvaluator(model, puzzles, batch_size, request.effort, kind, rule, layout)
    return evaluator, weights, layout, request.origin(request.checkpoints, experiment, weights, found)


def _refuse_unanswered(request: Request) -> None:
    """ConfigError for what is only told of puzzles that have answers."""
    given = {"table": request.table, "plot": request.plot, "puzzle-ids": request.puzzle_ids != "own"}
    for name in [name for name, value in given.items() if value]:
        raise ConfigError(f"--{name} needs puzzles with their answers, and these have none: leave it out")


def _tell_judged(report: RulesReport, request: Request, about: dict[str, Any]) -> None:
    """As `_tell`, of puzzles without answers."""
    weights = "averaged" if request.averaged else "trained"
    puzzles = counted(report.puzzles, "puzzle")
    print(f"{puzzles} without answers, judged by the rules, {report.seconds:.1f} s, {weights} weights")
    columns = ["steps", "valid (95 % interval)", "certified (95 % interval)"]
    print_table(columns, [[str(row.supervision_steps), str(row.valid), str(row.certified)] for row in report.rows])
    print("certified: an answer that keeps the rules came up after one of these steps, in any attempt")
    request.write(about, report.to_dict())


def _tell(report: Report, request: Request, about: dict[str, Any]) -> None:
    """Prints the table, and writes the files asked for; about: where the figures come from, for the JSON file."""
    _print(report, request)
    request.write(about, report.to_dict())
    if request.table:
        write(request.table, _csv(report.table))
    if request.submission and report.arc is not None:
        write(request.submission, json.dumps(report.arc.submission) + "\n")
    if request.plot:
        weights = "averaged" if request.averaged else "trained"
        data = request.puzzles or "its own held-out puzzles"
        what = f"{request.checkpoints[0]}, {weights} weights, on {data}: {counted(report.puzzles, 'puzzle')}"
        draw_effort(request.plot, report.table, report.selection, what)


def _check(effort: Effort, selection: str) -> None:
    """Raises ConfigError for what means nothing when each puzzle is tried once."""
    effort.check_chosen(selection)
    if effort.attempts > 1:
        return
    if effort.start_noise or effort.latent_noise or effort.symmetries:
        raise ConfigError("the first attempt has neither noise nor symmetries: give --attempts of at least 2")
    if effort.race:
        raise ConfigError("--race is between attempts at a puzzle: give --attempts of at least 2")


def _shifted(update: Callable[[int], None], before: int, done: int) -> None:
    update(before + done)


def _print(report: Report, request: Request) -> None:
    """The table for people, on standard output."""
    weights = "averaged" if request.averaged else "trained"
    tasks = f" of {counted(report.tasks, 'task')}" if report.tasks != report.puzzles else ""
    print(f"{counted(report.puzzles, 'puzzle')}{tasks}, {report.seconds:.1f} s, {weights} weights")
    if report.unlabelled:
        print(f"{report.unlabelled} of them have no labelled cell: exact, cells and q right leave them out")
    if report.puzzle_ids != "own":
        print(f"puzzle ids: {report.puzzle_ids}, not the puzzles' own")
    effort = report.effort
    if effort.attempts > 1:
        print(f"{effort.attempts} attempts, of which one is chosen by {report.selection!r}")
    rules = report.rows[-1].satisfied is not None
    columns = ["steps", "exact (95 % interval)", *["valid"] * rules, "cells", "q right", "halted", "FLOP a puzzle"]
    rows = [
        [
            str(row.supervision_steps),
            str(row.exact),
            *([f"{row.satisfied.value:.2%}"] if row.satisfied else []),
            f"{row.cells.value:.2%}",
            f"{row.q_right:.2%}",
            f"{row.halted:.2%}",
            si(row.flops),
        ]
        for row in report.rows
    ]
    print_table(columns, rows)
    if effort.attempts > 1:
        depth = counted(effort.steps, "step")
        print(f"\nafter {depth}, by what chooses among the attempts (oracle: any of them is right)")
        last = [row for row in report.table if row.supervision_steps == effort.steps]
        numbers = sorted({row.attempts for row in last})
        names = list(dict.fromkeys(row.selection for row in last if row.attempts > 1))
        shares = {(row.attempts, row.selection): row for row in last}
        lines = []
        for k in numbers:
            row = [shares.get((k, name), shares.get((k, "only"))) for name in names]
            oracle = next(cell for cell in row if cell is not None).oracle
            lines.append([str(k), *(f"{cell.exact.value:.2%}" for cell in row if cell), f"{oracle.value:.2%}"])
        print_table(["attempts", *names, "oracle"], lines)
    print(f"\nhalting (first attempts): {_halting(report)}")
    exact, auroc = report.rows[-1].exact.value, report.calibration.auroc
    told = "undefined (it compares right answers with wrong ones)" if auroc is None else f"{auroc:.3f}"
    print(f"q as confidence: AUROC {told}, expected calibration error {report.calibration.expected_error:.3f}")
    if auroc is None:
        answers, q = ("wrong", "doubts") if exact < 0.5 else ("right", "trusts")
        print(f"all answers are {answers}: q right is the share of them that q_halt {q}, and says no more")
    if report.arc is not None:
        _print_arc(report.arc, len(request.checkpoints))


def _halting(report: Report) -> str:
    """At which steps first attempts halted, and how many never did."""
    steps, never = report.effort.steps, report.halting[-1] / report.puzzles
    if never == 1 and not report.effort.race:
        return f"none in {counted(steps, 'step')}, as q_halt never rose above {report.effort.halt_above:g}"
    otherwise = "stopped by another, or never" if report.effort.race else "never"
    return f"{_histogram(report.halting)}; {otherwise} {never:.1%}"


def _histogram(halting: Sequence[int]) -> str:
    """Steps with their shares: 1: 62.0%, 2: 30.1%, ...; if they are many, those from one power of two to the next."""
    total = sum(halting)
    steps = [(step, step, count) for step, count in enumerate(halting[:-1], start=1) if count]
    if len(steps) > _MOST_STEPS:
        ends = [1 << power for power in range(len(halting).bit_length() + 1)]
        steps = [(low + 1, high, sum(halting[low : min(high, len(halting) - 1)])) for low, high in pairwise([0, *ends])]
    parts = [f"{low}{f'-{high}' if high > low else ''}: {count / total:.1%}" for low, high, count in steps if count]
    return "at step " + ", ".join(parts) if parts else "none"


def _print_arc(arc: ArcResult, checkpoints: int) -> None:
    pooled = f", pooled over {checkpoints} checkpoints" if checkpoints > 1 else ""
    print(
        f"\nARC, votes of all augmentations{pooled}: {counted(arc.outputs, 'output')}, "
        f"{arc.unanswered} without any vote"
    )
    if arc.strays or arc.strangers:
        print(
            f"{arc.strays + arc.strangers} answers have no vote: {arc.strangers} to tasks that by their names in "
            f"identifiers.json are none of test_puzzles.json, {arc.strays} to none of their task's test inputs"
        )
    if arc.pass_at is None or arc.output_share is None or arc.task_scores is None:
        print("solutions are hidden: no scores; exact, cells and calibration above compare with a filler")
        return
    tasks = len(next(iter(arc.task_scores.values())))
    rows = [
        [str(k), str(share(arc.pass_at[k], tasks)), str(share(arc.output_share[k], tasks))] for k in sorted(arc.pass_at)
    ]
    print_table(["pass@k", "mean over tasks (paper)", "outputs right (contest)"], rows)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns with their names, aligned to the right."""
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    for row in [columns, *rows]:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))


def _csv(rows: Sequence[Row]) -> str:
    """A line for each row; a share takes three columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for i, row in enumerate(rows):
        flat: dict[str, object] = {}
        for name, value in vars(row).items():
            if isinstance(value, Share):
                flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
            elif value is not None:
                flat[name] = value
        if i == 0:
            writer.writerow(flat)
        writer.writerow(flat.values())
    return out.getvalue()
