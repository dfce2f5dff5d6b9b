"""How memory and time of a training step grow with the depth of the recursion, under every gradient policy.

    python -m benchmarks.recursion_memory [--sweep quick|full] [--kinds compiled,run,time] [--out benchmarks/results]

benchmarks/recursion_points.py says which points there are, and what "compiled", "run" and "time" mean. Every process
holds one point, or the policies of one "time" group, so that running out of memory or of time ends those and not the
sweep: their rows say why. Rows are appended to recursion_memory.csv as they come. A point whose row is there for the
same device and version of JAX is not measured again: the same command goes on where it was stopped, and a row that is
deleted is measured anew. At the end benchmarks/recursion_plots.py draws the pictures and prints the goal figures;
`--plots-only` does that alone.
"""

import argparse
import csv
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import recursion_plots
from benchmarks.recursion_points import KINDS, Group, Point, Row, sweep
from trm_jax.console import Bar, say

# The process that sweeps stays away from the devices: on a GPU it would take the memory that its points are to have.
RESULTS = Path(__file__).parent / "results"
TABLE = "recursion_memory.csv"
COMMAND = (sys.executable, "-m", "benchmarks.recursion_memory")  # in the root of the repository
ROOT = Path(__file__).parents[1]
MACHINE = ("device", "platform", "devices", "cores", "memory_gib", "python", "jax", "jaxlib", "flax", "trm_jax")
COLUMNS = (
    "key", "kind", "variant", "n", "T", "grad_cycles", "policy", "levels", "repetitions", "states_kept",
    "outer_policy", "slices", "micro_batches", "batch", "dtype", "width", "argument_bytes", "temporary_bytes",
    "peak_bytes", "mb_a_puzzle", "measured_bytes", "seconds_min", "seconds_median", "ratio_to_none", "repeats",
    "compile_seconds", "failed", *MACHINE,
)  # fmt: skip
# Timed steps of a "run" point, which is there for its memory.
_RUN_REPEATS = 2
# Of the memory that is free, a point of kind "run" or "time" may fill so much on a CPU.
_SHARE = 0.85


@dataclass
class _Trial:
    """One point while it is measured."""

    row: Row
    step: Any = None
    seconds: list[float] = field(default_factory=list)


def measure(points: Group, repeats: int) -> list[Row]:
    """A row for each point, all of one kind and one size; running out of memory is told in `failed`.

    Args:
      points: that take turns, if they are several.
      repeats: timed steps of each, after one that is not.
    """
    trials = [_compile(point) for point in points]
    if points[0].kind != "compiled" and any(trial.step for trial in trials):
        _take_turns(points, trials, repeats)
    return [trial.row for trial in trials]


def _compile(point: Point) -> _Trial:
    import jax

    from trm_jax.training.memory import compile_step, memory_of

    trial = _Trial(point.row)
    start = time.perf_counter()
    try:
        step = compile_step(point.experiment)
    except jax.errors.JaxRuntimeError as error:
        _tell(trial, error)
        return trial
    memory = memory_of(step)
    trial.row |= {
        "compile_seconds": round(time.perf_counter() - start, 2),
        "argument_bytes": memory.arguments,
        "temporary_bytes": memory.temporary,
        "peak_bytes": memory.peak,
        "mb_a_puzzle": round(memory.peak / point.batch / 1e6, 4),
    }
    free = _free_bytes() if memory.platform == "cpu" else None
    if point.kind != "compiled" and free is not None and memory.peak > _SHARE * free:
        trial.row["failed"] = f"out of memory: needs {memory.peak / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
    else:
        trial.step = step
    return trial


def _tell(trial: _Trial, error: Exception) -> None:
    """Notes that a point ran out of memory; any other error goes on."""
    if "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    trial.row["failed"] = f"out of memory: {_one_line(str(error))}"
    trial.step = None


def _take_turns(points: Group, trials: Sequence[_Trial], repeats: int) -> None:
    import jax
    import jax.numpy as jnp

    from trm_jax.training.step import init_state
    from trm_jax.training.supervision import Batch

    experiment = points[0].experiment
    model = experiment.model
    rows = points[0].batch
    cells = jax.random.randint(jax.random.key(0), (rows, model.seq_len), 1, model.vocab_size)
    batch = Batch(cells, cells, jnp.zeros((rows,), jnp.int32))
    # Compiled before memory is looked at, as the steps are. The policies share one state, each with its turn.
    fresh_state = jax.jit(partial(init_state, experiment)).lower().compile()
    gc.collect()
    before = _resident("VmRSS")
    state = jax.block_until_ready(fresh_state())
    counted = _reset_peak()
    for number in range(1 + repeats):
        # There and back again: whoever gains by its place in one round loses by it in the next.
        for trial in trials if number % 2 else trials[::-1]:
            if trial.step is None:
                continue
            start = time.perf_counter()
            try:
                state, _ = jax.block_until_ready(trial.step(state, batch))
            except jax.errors.JaxRuntimeError as error:
                _tell(trial, error)
                state = fresh_state()
                continue
            trial.seconds.append(time.perf_counter() - start)
    stats = jax.local_devices()[0].memory_stats() or {}
    peak = stats.get("peak_bytes_in_use") or (_resident("VmHWM") - before if counted else "")
    base = next((trial.seconds[1:] for trial in trials if trial.row["policy"] == "none" and trial.step), None)
    for trial in trials:
        if trial.step is None:
            continue
        seconds = trial.seconds[1:]
        trial.row |= {
            "seconds_min": round(min(seconds), 6),
            "seconds_median": round(statistics.median(seconds), 6),
            "repeats": repeats,
        }
        if len(trials) == 1:
            trial.row["measured_bytes"] = peak
        elif base:
            ratios = [mine / its for mine, its in zip(seconds, base, strict=True)]
            trial.row["ratio_to_none"] = round(statistics.median(ratios), 4)


def _resident(name: str) -> int:
    """Bytes of this process: VmRSS, those resident now, or VmHWM, the most since the mark was reset."""
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith(name))


def _reset_peak() -> bool:
    """Lets the high-water mark start from now (5: see proc(5)), since compilation has raised it; False: it cannot."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _free_bytes() -> int | None:
    with open("/proc/meminfo") as file:
        return next((1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable")), None)


def _in_child(words: str) -> None:
    """Measures the points of one process and prints their rows, the last lines of standard output."""
    # Where memory runs out after all, this process is to be ended, and neither the sweep nor its neighbours.
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        say("the kernel may end another process in place of this one")
    job = json.loads(words)
    rows = measure(tuple(Point(**values) for values in job["points"]), job["repeats"])
    print("", *(json.dumps(row) for row in rows), sep="\n", flush=True)


def measure_apart(points: Group, repeats: int, timeout: float) -> list[Row]:
    """As `measure`, in a process of its own; whatever ends that one early is told in `failed` of all its rows."""
    words = json.dumps({"points": [asdict(point) for point in points], "repeats": repeats})
    # Of a GPU's memory all that can be had.
    environment = {"XLA_PYTHON_CLIENT_MEM_FRACTION": "0.95", **os.environ}
    try:
        done = subprocess.run(
            [*COMMAND, "--point", words], capture_output=True, text=True, timeout=timeout, env=environment, cwd=ROOT
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        failed = f"took more than {timeout:g} seconds"
    else:
        if done.returncode == 0:
            return [json.loads(line) for line in done.stdout.splitlines()[-len(points) :]]
        failed = _reason(done.returncode, done.stderr)
    return [point.row | {"failed": failed} for point in points]


def _reason(code: int, errors: str) -> str:
    """Why a process ended, in words, from its exit code and standard error."""
    lines = [line for line in errors.splitlines() if line.strip()]
    if short := [line for line in lines if "RESOURCE_EXHAUSTED" in line or "MemoryError" in line]:
        return f"out of memory: {_one_line(short[-1])}"
    if code == -signal.SIGKILL:
        return "killed by SIGKILL: out of memory, most likely"
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}: {_one_line(lines[-1] if lines else 'no message')}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _machine() -> Row:
    """What this machine is, asked of a process that gives the device back."""
    done = subprocess.run([*COMMAND, "--describe"], stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return {name: value for name, value in json.loads(done.stdout.splitlines()[-1]).items() if name in MACHINE}


class Table:
    """The rows on disk: appended to as they come, and whole whenever the writer is killed.

    Raises:
      SystemExit: the file has other columns.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if whole != text:  # the last line is one that a kill has torn
            os.truncate(path, len(whole))
        if not whole:
            self._write(dict(zip(COLUMNS, COLUMNS, strict=True)))
        self.rows: list[Row] = recursion_plots.read(path)
        if self.rows and tuple(self.rows[0]) != COLUMNS:
            raise SystemExit(f"{path}: has columns of another version: move it away, or give another --out")

    def has(self, key: str, machine: Row) -> bool:
        """Whether the point has been measured on such a device with this JAX."""
        return any(
            row["key"] == key and row["device"] == machine["device"] and row["jax"] == machine["jax"]
            for row in self.rows
        )  # fmt: skip

    def add(self, row: Row) -> None:
        """Appends a row; columns that it lacks are empty."""
        full = {name: str(row.get(name, "")) for name in COLUMNS}
        self._write(full)
        self.rows.append(full)

    def _write(self, row: Row) -> None:
        with self._path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row[name] for name in COLUMNS)


def run_sweep(groups: Sequence[Group], table: Table, repeats: int, timeout: float, machine: Row | None = None) -> None:
    """Measures the points that the table lacks, each group in its process, and adds their rows."""
    machine = machine or _machine()
    left = [group for group in groups if not all(table.has(point.key, machine) for point in group)]
    done = len(groups) - len(left)
    with Bar("points", len(groups), start=done) as bar:
        for group in left:
            rows = measure_apart(group, repeats if group[0].kind == "time" else _RUN_REPEATS, timeout)
            for row in rows:
                table.add(row | machine)
            done += 1
            bar.update(done, _note(rows))


def _note(rows: Sequence[Row]) -> str:
    """The first point in full, and of each its figure."""
    figures = []
    for row in rows:
        if row.get("failed"):
            figures.append(str(row["failed"]))
        elif row.get("seconds_median"):
            figures.append(f"{row['policy']} {row['seconds_median']:.3g} s")
        else:
            figures.append(f"{row['peak_bytes'] / 1e9:.3g} GB")
    return f"{rows[0]['key']}: {', '.join(figures)}"


def main(argv: Sequence[str] | None = None) -> None:
    """Sweeps, draws the pictures and prints the goal figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweep", choices=("quick", "full"), default="quick", help="how many points (quick)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of points, with commas between (all)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the table and the pictures")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each policy that takes turns (5)")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that one process may take (1800)")
    parser.add_argument("--plots-only", action="store_true", help="draw what the table holds, and measure nothing")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    parser.add_argument("--describe", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.point:
        return _in_child(args.point)
    if args.describe:
        from benchmarks.machine import describe

        return print(json.dumps(describe()))
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--kinds: {', '.join(sorted(unknown))} is unknown: give some of {','.join(KINDS)}")
    args.out.mkdir(parents=True, exist_ok=True)
    table = Table(args.out / TABLE)
    if not args.plots_only:
        machine = _machine()
        groups = [group for group in sweep(args.sweep, machine["platform"]) if group[0].kind in kinds]
        run_sweep(groups, table, args.repeats, args.timeout, machine)
    for path in recursion_plots.draw(table.rows, args.out):
        say(f"wrote {path}")
    print(recursion_plots.goal_table(table.rows))
    return None


if __name__ == "__main__":
    main()
