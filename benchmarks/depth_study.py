"""Does depth pay? One small model at many depths of recursion and of gradients, at equal steps and equal operations.

    python -m benchmarks.depth_study [--workdir runs/depth] [--only NAME,NAME] [--hours 10] [--beside TEXT] [--show]

benchmarks/depth_points.py says which points there are. Each is trained and evaluated by processes of its own, as in
`trm sweep`, and looked at by benchmarks/depth_probe.py where its seed is the first; the cheapest come first, so that a
table that is not done yet is of use. The same command goes on where it was stopped; after so many hours no further
point is begun. The puzzles are generated at first. Rows are written to --results as they come, and after each of them
the tables and the four pictures are made anew beside it; `--show` does that alone.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from benchmarks import depth_page
from benchmarks.depth_points import SERIES, Task, tasks
from benchmarks.machine import describe
from trm_jax.console import Bar, say
from trm_jax.errors import TrmError
from trm_jax.runs import points, sweep
from trm_jax.runs.entry import Said
from trm_jax.runs.lock import Lock
from trm_jax.runs.parts import repository
from trm_jax.runs.signals import StopSignals
from trm_jax.runs.sweep import SEED
from trm_jax.runs.writers import read_metrics

RESULTS = Path(__file__).parent / "results" / "depth_study.jsonl"
ROOT = Path(__file__).parents[1]
_RESUME_ME = 75
# As so many operations starting, compiling, evaluating and the probe count; and so many are a unit of progress.
_BESIDE, _UNIT = 3e12, 1e9
_PUZZLES = 1_000
_PROBE = "probe.json"


def make_puzzles(folder: Path) -> None:
    """Minimal 6x6 Sudokus to train on and as many to test on, of which none is another's image."""
    if not folder.exists():
        words = ["data", "sudoku", str(folder), "--generate", f"{_PUZZLES},{_PUZZLES}", "--box", "2x3", "--minimal"]
        subprocess.run([sys.executable, "-m", "trm_jax", *words], cwd=ROOT, check=True)


def row_of(task: Task, place: Path, ledger_row: Mapping[str, Any], probe: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a point: its figures by name, plain values."""
    figures = json.loads((place / points.FIGURES).read_bytes())
    norms = [norm for row in read_metrics(place) if (norm := row.get("train/gradient_norm")) is not None]
    halting = figures["halting"]
    reached = sum((step + 1) * count for step, count in enumerate(halting)) / sum(halting)
    trained = ledger_row["trained"]
    return {
        "series": task.series.name,
        "point": task.point.name,
        "values": {**task.point.over, **task.point.turn},
        "steps": ledger_row["step"],
        "pflop": trained["pflop"],
        "hours": trained.get("hours"),
        "peak_gib": trained.get("peak_gib"),
        "exact": ledger_row["single"],
        "halted_at": round(reached, 2),
        "gradient_norm_last": norms[-1] if norms else None,
        "gradient_norm_most": max(norms, default=None),
        **probe,
        "beside": trained.get("beside", ""),
        **describe(),
    }


def probe(task: Task, place: Path, data: Path) -> dict[str, Any]:
    """What benchmarks/depth_probe.py tells of a point, at the first seed of its series; {} at the others.

    {} also where it fails, which the log of the point tells.
    """
    if task.point.over[SEED] != task.series.seeds[0]:
        return {}
    path = place / _PROBE
    if not path.exists():
        words = [str(place), f"--eval={data}", f"--json={path}.part"]
        words += [] if task.series.probed else ["--memory"]
        with (place / points.LOG).open("ab") as log:
            command = [sys.executable, "-m", "benchmarks.depth_probe", *words]
            if subprocess.run(command, stdout=log, stderr=log, cwd=ROOT).returncode:
                say(f"{task.series.name}/{task.point.name}: the probe failed (see {place / points.LOG})")
                return {}
        path.with_suffix(".json.part").rename(path)
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def run(workdir: Path, data: Path, todo: Sequence[Task], results: Path, hours: float, said: Said) -> int:
    """Brings every point into the results; the exit code: 0 done, 1 some failed, 75 stopped or out of time."""
    known = {(row["series"], row["point"]) for row in depth_page.read(results)}
    left = [task for task in todo if (task.series.name, task.point.name) not in known]
    total, end, failed = sum(map(_cost, todo)), time.monotonic() + 3600 * hours, 0
    done = total - sum(map(_cost, left))
    with StopSignals() as signals, Bar("depth, GFLOP", total, start=done) as bar:
        for task in left:
            if signals.stop or time.monotonic() > end:
                return _RESUME_ME
            name, folder = task.series.name, workdir / task.series.name
            sweep.claim(folder, task.plan)
            shared = points.Folder(folder, workdir / f"{name}.jsonl")
            failures = points.Running(task.alone, shared, said, repository(), signals).run()
            done += _cost(task)
            if (row := shared.row(task.point)) is not None:
                place = shared.place(task.point)
                kept = row_of(task, place, row, probe(task, place, data))
                with results.open("a") as file:
                    file.write(json.dumps(kept) + "\n")
                depth_page.write(depth_page.read(results), results.parent)
                bar.update(done, f"{name}/{task.point.name}: {kept['exact']['16']['value']:.1%}")
            elif failures:
                failed += 1
                bar.update(done, f"{name}/{task.point.name} failed")
    return 1 if failed else 0


def _cost(task: Task) -> int:
    """In units of progress."""
    return round((task.point.flops + _BESIDE) / _UNIT)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is left of the study, or draws what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workdir", type=Path, default=Path("runs/depth"), help="folder of puzzles and runs (runs/depth)"
    )
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="some of the series")
    parser.add_argument("--most", type=int, default=0, metavar="K", help="only the K cheapest points")
    parser.add_argument("--hours", type=float, default=10.0, help="after which no point is begun any more (10)")
    parser.add_argument("--beside", default="", metavar="TEXT", help="what else the machine does meanwhile")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of rows; tables and pictures lie beside it")
    parser.add_argument("--plan", action="store_true", help="print the points and what they cost, and run nothing")
    parser.add_argument(
        "--show", action="store_true", help="make tables and pictures of what there is, and run nothing"
    )
    args = parser.parse_args(argv)
    names = args.only.split(",") if args.only else []
    if unknown := set(names) - {series.name for series in SERIES}:
        parser.error(f"--only: no series {min(unknown)!r}: there are {', '.join(series.name for series in SERIES)}")
    args.results.parent.mkdir(parents=True, exist_ok=True)
    if args.show:
        for path in depth_page.write(depth_page.read(args.results), args.results.parent):
            print(path)
        return 0
    # Devices are for the processes that train.
    jax.config.update("jax_platforms", "cpu")
    workdir = args.workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    data = workdir / "puzzles"
    try:
        with Lock(workdir):
            make_puzzles(data)
            todo = tasks(data, names)[: args.most or None]
            if args.plan:
                for task in todo:
                    print(f"{task.series.name:20}{task.point.name:40}{task.point.flops / 1e12:10.2f} TFLOP")
                print(f"{len(todo)} points, {sum(task.point.flops for task in todo) / 1e15:.3f} PFLOP of training")
                return 0
            return run(workdir, data, todo, args.results, args.hours, Said(args.beside))
    except TrmError as error:
        say(str(error))
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
