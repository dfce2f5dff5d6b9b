"""From one puzzle to its answer: milliseconds, and puzzles a second of many at once, in every way that a model is used.

    python -m benchmarks.latency MODEL [PUZZLES] [--threads 1,2] [--repeats 10] [--ways library,onnx]
        [--reference PATH [--reference-python EXE]]

MODEL is what `trm solve` takes, PUZZLES a table of its kind with answers (a run's own held-out ones; where there are
none, generated Sudokus and mazes, always the same). The ways:

    trm_solve    a process of `trm solve` for each puzzle, with what it keeps of earlier ones (compiled programs)
    library      `trm.load(MODEL).solve`
    stablehlo    exported by `trm export`, called by JAX
    onnx         likewise, in ONNX Runtime
    onnx_fresh   a process for each puzzle, which starts ONNX Runtime, loads the file and answers
    eager, compiled   the original in PyTorch; PATH and EXE are as in benchmarks/inference.py, and so is the work

The browser has its own: benchmarks/solver_page.py. A model that makes attempts takes all its supervision steps, in
every way the same; a model of candidates searches, and its calls of the network are told: the library counts them for
each puzzle, as the exported search does. What a way cannot do is told in a line, and it is left out.

Each way has a process of its own for each number of threads, on as many cores, and sleeps unless it is its turn. A turn
is eight puzzles one by one, or 64 at once; of a process for each puzzle, one. What comes before is told apart: until a
process can be asked (start), and its first call, which compiles; where each puzzle has a process, the first finds
nothing compiled. Memory is that of the whole process once it has answered, and at most until then. Beside other work
on the machine, milliseconds are too many; those that cores have spent (cpu) are told, too.

Warm and of one puzzle, a way is compared with its arithmetic alone (of the products with matrices that trm_jax.model.
estimate counts) at the rate of the fastest of these products, measured in the same rounds with as many threads: twice
that is the goal. So are 300 milliseconds of `onnx_fresh`. A row for each way goes to results/latency.jsonl.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import trm_jax as trm
from benchmarks.batches import in_order
from benchmarks.latency_worker import WAYS, Order, Turn
from benchmarks.machine import describe, faults_told
from benchmarks.original import Original, check_checkout, order_for
from benchmarks.peer import Peer
from benchmarks.turns import Times, Variant, publish, resident, take_turns
from trm_jax.console import say
from trm_jax.data import puzzle_set
from trm_jax.data.fit import matched
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import ConfigError
from trm_jax.library.solver import Solver
from trm_jax.model.estimate import estimate, supervision_flops
from trm_jax.puzzles import maze_generator, sudoku, sudoku_search

RESULTS = Path(__file__).parent / "results" / "latency.jsonl"
FRESH, THEIRS = ("trm_solve", "onnx_fresh"), ("eager", "compiled")
# Puzzles of a turn: one by one, and at once.
ONES, MANY = 8, 64
# The share of cells that are given in generated Sudokus, least and most: 30 to 36 of 81, as newspapers print them.
CLUES = 0.37, 0.45
# What is wished for: times the arithmetic, and milliseconds of a process of ONNX Runtime.
MOST_TIMES, MOST_MILLISECONDS = 2.0, 300.0


@dataclass(frozen=True)
class Work:
    """What every way is to answer.

    source: what the user named.
    solver: the model.
    puzzles: the same for all, MANY at most.
    folder: for exported files and compiled programs.
    """

    source: str
    solver: Solver
    puzzles: PuzzleSet
    folder: Path

    def order(self, way: str) -> Order:
        """For a worker. Raises ConfigError: the model has no such form."""
        source = self.source
        if form := {"stablehlo": "solve.stablehlo", "onnx": "solve.onnx", "onnx_fresh": "solve.onnx"}.get(way):
            path = self.folder / form
            source = str(path if path.exists() else trm.export(self.solver, path))
        questions, answers = (
            [self.solver.kind.text(row) for row in np.asarray(rows[:MANY])]
            for rows in (self.puzzles.inputs, self.puzzles.labels)
        )
        return Order(way=way, source=source, questions=questions, answers=answers, cache=str(self.folder))


class Worker(Peer):
    """A process that answers in one way (benchmarks/latency_worker.py). start_seconds: until it could be asked."""

    def __init__(self, order: Order) -> None:
        began = time.perf_counter()
        super().__init__(order["way"], [sys.executable, "-m", "benchmarks.latency_worker"])
        self.ask(order)
        self.start_seconds = time.perf_counter() - began


class Ours:
    """Turns of a worker; the first comes at once.

    Before single puzzles there is one each time that does not count; many at once, the first time alone.
    """

    def __init__(self, worker: Worker, turn: Turn, fresh: bool) -> None:
        self._worker, self._turn = worker, Turn(**turn | {"before": turn["before"] and not turn["together"]})
        self._cpu: list[float] = []
        told = worker.ask(turn)
        self._first: dict[str, Any] = {"first_ms": _ms(told["seconds"] if fresh else told["first_seconds"])}
        if not fresh:
            now, most = (resident(worker.pid, field) for field in ("VmRSS", "VmHWM"))
            self._first |= {"start_ms": _ms(worker.start_seconds), "resident_mb": _mb(now), "peak_mb": _mb(most)}

    def run(self) -> float:
        """Seconds of each puzzle."""
        self._told = self._worker.ask(self._turn)
        self._cpu.append(self._told["cpu_seconds"])
        return float(self._told["seconds"])

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        peak = {"peak_mb": _mb(self._told["peak_bytes"])} if self._told["peak_bytes"] else {}
        cpu = {"cpu_ms": _ms(statistics.median(self._cpu))}
        return cpu | self._first | peak | {name: self._told[name] for name in ("steps", "exact")}


class Theirs:
    """Turns of the original: an evaluation of as many puzzles."""

    def __init__(self, original: Original, puzzles: int, steps: int) -> None:
        self._original, self._puzzles, self._steps = original, puzzles, steps

    def run(self) -> float:
        """Seconds of each puzzle."""
        return self._original.run() / self._puzzles

    def figures(self) -> dict[str, Any]:
        """See Variant."""
        told = self._original.figures()
        return {"first_ms": _ms(told["first_seconds"]), "steps": self._steps, "torch": told["torch"]}


def variants(
    work: Work, ways: Sequence[str], checkout: Path | None, python: str, processes: ExitStack
) -> Iterator[tuple[str, int, Variant]]:
    """(way, batch, variant) of all that can be done with the cores that this process has now.

    What cannot is told in a line. Processes are ended with the stack.
    """
    count = len(work.puzzles)
    turns = {
        1: Turn(puzzles=min(ONES, count), together=False, before=True),
        count: Turn(puzzles=count, together=True, before=True),
    }
    for way in ways:
        try:
            if way in THEIRS:
                assert checkout is not None
                for batch, turn in turns.items():
                    original = _original(work, batch, turn["puzzles"], way == "compiled", checkout, python)
                    processes.callback(original.close)
                    yield way, batch, Theirs(original, turn["puzzles"], work.solver.experiment.model.supervision_steps)
                continue
            worker = Worker(work.order(way))
            processes.callback(worker.close)
            if way in FRESH:
                yield way, 1, Ours(worker, Turn(puzzles=1, together=False, before=False), True)
            else:
                for batch, turn in turns.items():
                    yield way, batch, Ours(worker, turn, False)
        except ConfigError as error:
            say(f"{way} is left out: {error}")


def _original(work: Work, batch: int, puzzles: int, compiled: bool, checkout: Path, python: str) -> Original:
    experiment = work.solver.experiment
    experiment = replace(experiment, train=replace(experiment.train, batch_size=batch))
    few = puzzle_set.from_pairs(work.puzzles.inputs[:puzzles], work.puzzles.labels[:puzzles], work.puzzles.vocab_size)
    order = order_for(experiment, "evaluate", [rows for rows, _ in in_order(few, batch)], compiled)
    return Original(python, checkout, order, estimate(experiment).trained)


def measure(
    work: Work, ways: Sequence[str], threads: Sequence[int], repeats: int, checkout: Path | None, python: str
) -> list[dict[str, Any]]:
    """A row for each way, number of threads and size of batch.

    Raises:
      ConfigError: nothing of it can be done, or a process fails later.
    """
    load = round(os.getloadavg()[0], 2)  # of what else there is
    with ExitStack() as processes:
        found: dict[tuple[str, int, int], Variant] = {}
        products: dict[int, Worker] = {}
        for count in threads:
            with on_cores(count):
                made = variants(work, ways, checkout, python, processes)
                found |= {(way, count, batch): variant for way, batch, variant in made}
                products[count] = Worker(work.order("product"))
                processes.callback(products[count].close)
        if not found:
            raise ConfigError("no way is left that can be measured: the lines above say why")
        sizes = {(count, batch): Turn(puzzles=batch, together=batch > 1, before=False) for _, count, batch in found}
        rates: dict[tuple[int, int], dict[str, Any]] = {}

        def multiply() -> None:
            rates.update({size: products[size[0]].ask(turn) for size, turn in sizes.items()})

        names = {" ".join(map(str, key)): key for key in found}
        times = take_turns({name: found[key] for name, key in names.items()}, repeats, multiply)
        about = describe() | {"load_average": load}  # the machine is this process's, which has all cores
        return [
            _row(work, key, times[name], rates[key[1:]], found[key].figures()) | about for name, key in names.items()
        ]


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """What is started meanwhile has so many of this process's cores. Raises ConfigError: it has fewer."""
    cores = os.sched_getaffinity(0)
    if count > len(cores):
        raise ConfigError(f"--threads {count}: this process has {len(cores)} cores")
    os.sched_setaffinity(0, sorted(cores)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def puzzles_for(solver: Solver, source: str) -> PuzzleSet:
    """MANY puzzles at most, with answers.

    Raises:
      ConfigError: none are named, none are held out, and none can be generated of this kind.
      DataError: they cannot be read, have no answers, or are none for this model.
    """
    if source or solver.experiment.data.test:
        found = matched(solver.experiment, source, "test", MANY).puzzles
        if not found.has_labels():
            raise ConfigError(f"{source}: puzzles without answers, by which others are judged: name a table with both")
        return found
    shape, name = solver.kind.shape, solver.kind.to_dict()["kind"]
    if name == "sudoku":
        layout = sudoku.layout_for(shape[0])
        low, high = (round(share * layout.cells) for share in CLUES)
        questions, answers = map(sudoku.encode, sudoku_search.generate(MANY, layout, 0, clues=(low, high)))
    elif name == "maze":
        questions, answers = maze_generator.generate(MANY, shape, 0, min_length=max(shape), perfect=True)
    else:
        raise ConfigError(f"no puzzles of kind {name!r} are held out or generated: name a table with answers")
    return puzzle_set.from_pairs(questions, answers, solver.experiment.model.vocab_size, name)


def goal_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a row that has a goal: what is measured, how much there may be of it, and whether that is kept."""
    if row["way"] == "onnx_fresh":
        name, most = "milliseconds", MOST_MILLISECONDS
    elif row["way"] not in (*FRESH, *THEIRS) and row["batch"] == 1:
        name, most = "times_arithmetic", MOST_TIMES
    else:
        return {}
    return {"goal": f"{name} <= {most:g}", "met": row[name] <= most}


def _row(
    work: Work, key: tuple[str, int, int], times: Times, product: Mapping[str, Any], told: Mapping[str, Any]
) -> dict[str, Any]:
    (way, threads, batch), model = key, work.solver.experiment.model
    steps = told["steps"]
    row = {
        "model": work.source,
        "puzzles": len(work.puzzles),
        "dtype": "float32" if way.startswith("onnx") else model.dtype,
        "way": way,
        "threads": threads,
        "batch": batch,
        "rounds": len(times.seconds),
        "milliseconds": _ms(times.median),
        "milliseconds_min": _ms(min(times.seconds)),
        "milliseconds_max": _ms(max(times.seconds)),
        "puzzles_per_second": float(f"{1 / times.median:.4g}"),
        **told,
    }
    if steps and way not in FRESH:
        arithmetic = steps * supervision_flops(model) / product["rate"]
        row |= {
            "milliseconds_per_step": _ms(times.median / steps),
            "times_arithmetic": float(f"{times.median / arithmetic:.3g}"),
            "product": product["product"],
            "product_gflop_per_second": round(product["rate"] / 1e9, 2),
        }
    return row | goal_of(row)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{1e3 * seconds:.4g}")


def _mb(size: int | None) -> float | None:
    return None if size is None else round(size / 1e6, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("model", help="a workdir, a file of weights, or a name of `trm models`")
    parser.add_argument("puzzles", nargs="?", default="")
    parser.add_argument("--threads", default="1,2", help="numbers of them, with commas (1,2)")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--ways", help="some of them, with commas (all that are possible)")
    parser.add_argument("--reference", type=Path, metavar="PATH", help="a checkout of the original")
    parser.add_argument("--reference-python", default=sys.executable, metavar="EXE", help="a Python that has torch")
    return parser


def _ways(wanted: str | None, reference: Path | None) -> list[str]:
    """Raises ConfigError: one that is unknown, or one of the original without it."""
    every = [*WAYS, *(THEIRS if reference else ())]
    ways = list(dict.fromkeys(wanted.split(","))) if wanted else every
    for way in ways:
        if way not in every:
            lacks = "needs --reference PATH" if way in THEIRS else f"is none of {', '.join((*WAYS, *THEIRS))}"
            raise ConfigError(f"--ways {wanted}: {way!r} {lacks}")
    return ways


def _threads(words: str) -> list[int]:
    """Raises ConfigError: no numbers from 1 on."""
    numbers = words.split(",")
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise ConfigError(f"--threads {words}: give numbers from 1 on, with commas")
    return list(dict.fromkeys(map(int, numbers)))


def main() -> None:
    """Measures, prints a table for each number of threads and size of batch, and appends all rows to the results."""
    args = _parser().parse_args()
    with faults_told(), tempfile.TemporaryDirectory() as folder:
        ways, threads = _ways(args.ways, args.reference), _threads(args.threads)
        if args.repeats < 1:
            raise ConfigError("--repeats: give a number from 1 on")
        if args.reference:
            check_checkout(args.reference)
        solver = trm.load(args.model)
        work = Work(args.model, solver, puzzles_for(solver, args.puzzles), Path(folder))
        rows = measure(work, ways, threads, args.repeats, args.reference, args.reference_python)
    for size in dict.fromkeys((row["threads"], row["batch"]) for row in rows):
        publish([row for row in rows if (row["threads"], row["batch"]) == size], RESULTS)
        print()


if __name__ == "__main__":
    main()
