"""`trm eval --stress`: the puzzles as they are and made worse in known ways, a row for each, told as one table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trm_jax.commands.asked import Asked, rule_of
from trm_jax.console import Bar, say
from trm_jax.data.stress import SPREAD, stress_sets
from trm_jax.data.stress_folders import check_free, save
from trm_jax.devices.cluster import is_main, noticing_loss, unanimous
from trm_jax.devices.sharding import mesh_layout
from trm_jax.inference.confidence import LAST
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget
from trm_jax.inference.stress import StressReport, StressRow, by_attempts, by_search
from trm_jax.runs import calibration
from trm_jax.runs.sources import load
from trm_jax.sizes import counted


@dataclass(frozen=True)
class Request(Asked):
    """What `trm eval --stress` was asked for.

    how: the effort of attempts, or the budget of searches, as the model needs it.
    limit: the first puzzles; 0: `SPREAD` of them, evenly spread.
    save: a folder to be, into which the puzzles go.
    confidence, calibration: a promise to be kept, 0 for none, and by which file: None is the one beside the weights.
    """

    checkpoint: Path
    how: Effort | Budget
    seed: int = 0
    selection: str = ""
    save: Path | None = None
    confidence: float = 0.0
    calibration: Path | None = None


def stress(request: Request) -> StressReport:
    """Perturbs, saves the puzzles where that is asked for, tries or searches all, prints the table.

    Raises:
      ConfigError, DataError: what was asked for cannot be, or the puzzles are none for this model.
    """
    with unanimous() as facts:
        if request.save is not None:
            check_free(request.save)
        layout = mesh_layout(request.devices)
        experiment, weights = load(request.checkpoint, request.averaged)
        found = request.matched(experiment, request.checkpoint)
        kind, rule = found.kind, rule_of(request.selection, found.kind)
        promise = None
        if request.confidence and isinstance(request.how, Effort):
            how = kind, request.how, rule, request.confidence
            promise = calibration.promise_of(request.checkpoint, request.calibration, weights, *how)
        facts |= {"the fingerprint of the puzzles": found.puzzles.fingerprint[:12]}
    spread = 0 if request.limit else SPREAD
    total = min(len(found.puzzles), spread or len(found.puzzles))
    with Bar("perturbing", total, every=max(1, total // 10)) as bar:
        sets = stress_sets(found.puzzles, kind, found.experiment, request.seed, spread, bar.update)
    if request.save is not None and is_main():
        save(sets.sets, found.puzzles, request.seed, request.save)
        say(f"wrote {request.save}")
    weights = layout.everywhere(weights)
    total = sum(map(len, sets.sets))
    size = request.batch_size or experiment.train.eval_batch_size
    with noticing_loss(), Bar("evaluating", total, every=max(1, total // 10)) as bar:
        what = found.experiment, weights, sets.sets
        if isinstance(request.how, Effort):
            answered = by_attempts(*what, request.how, rule, size, layout, bar.update, promise)
        else:
            answered = by_search(*what, request.how, size, layout, bar.update)
    report = answered.report(request.seed, sets.left_out)
    if is_main():
        _print(report, request)
        about = request.origin((request.checkpoint,), experiment, weights, found)
        request.write(about, {"stress": True} | report.to_dict())
    return report


def _print(report: StressReport, request: Request) -> None:
    """The table for people, on standard output."""
    searches = isinstance(request.how, Budget)
    weights = "averaged" if request.averaged else "trained"
    puzzles = counted(report.rows[0].puzzles, "puzzle")
    print(f"{puzzles} and what becomes of them with seed {report.seed}, {report.seconds:.1f} s, {weights} weights")
    # Columns of which nothing is known in any row are left out.
    columns = [
        (name, cells) for name, cells in _columns(report.rows, searches) if any(cell != _NOTHING for cell in cells)
    ]
    lines = list(zip(*([name, *cells] for name, cells in columns), strict=True))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        print("  ".join([first, *rest]))
    print()
    for row in report.rows:
        print(f"{row.name}: {row.about}")
    if any(row.answers for row in report.rows):
        print("none/one/several: puzzles with so many answers, as a search has counted; exact: of those with a label")
    if searches:
        print("certified: an answer was found that keeps the rules of the kind; false: it is none of this puzzle")
    else:
        print(f"rest: change of the state by each of the last {LAST} steps, the median")
        print("claimed: halted, or q above 0.5 at the end")
        print("false: claimed, and no answer: of all puzzles (95 % interval)")
        if request.confidence:
            print(f"sure: what --confidence {request.confidence:g} gives, without a look at the rules")
            print("false, sure: of these, what is no answer: of all puzzles (95 % interval)")
        told = [f"{name} {value:.3f}" for name, value in report.auroc.items() if value is not None]
        if told:
            print(f"AUROC over all rows, answers against what is none: {', '.join(told)}")
    for name, why in report.left_out.items():
        print(f"left out: {name}: {why}")


_NOTHING = "-"


def _columns(rows: tuple[StressRow, ...], searches: bool) -> list[tuple[str, list[str]]]:
    def told(cells: list[Any], form: str = "") -> list[str]:
        return [_NOTHING if cell is None else str(cell) if not form else format(cell, form) for cell in cells]

    def numbers(row: StressRow) -> str:
        return (
            "/".join(str(row.answers.get(name, 0)) for name in ("none", "one", "several")) if row.answers else _NOTHING
        )

    def values(name: str) -> list[float | None]:
        return [None if (part := getattr(row, name)) is None else part.value for row in rows]

    return [
        ("", [row.name for row in rows]),
        ("puzzles", told([row.puzzles for row in rows])),
        ("none/one/several", [numbers(row) for row in rows]),
        ("exact", told(values("exact"), ".1%")),
        ("valid", told(values("valid"), ".1%")),
        ("clues changed", told([row.changed for row in rows], ".1%")),
        ("halted", told([row.halted for row in rows], ".1%")),
        ("q", told([row.q for row in rows], ".3f")),
        ("rest", told([row.rest for row in rows], ".3g")),
        ("calls" if searches else "steps", told([row.steps for row in rows], ".1f")),
        ("certified" if searches else "claimed", told([row.claimed for row in rows], ".1%")),
        ("false", told([row.false_claims for row in rows])),
        ("sure", told([row.sure for row in rows], ".1%")),
        ("false, sure", told([row.false_sure for row in rows])),
    ]
