"""The losses of the first 20 steps of each experiment, made tiny (variant smoke): what training computes, bit for bit.

    python -m benchmarks.losses [--record] [NAME ...]

Each is trained as `trm train --config=experiments/NAME.py:smoke` does it, but compiled with few of XLA's optimisations
(JAX_DISABLE_MOST_OPTIMIZATIONS=1), which takes half the time. Its losses are compared with the recorded ones: bit for
bit where they were recorded with this version of JAX on such a machine, within a tolerance elsewhere.
--record writes them down for this version and machine, beside those of others. tests/runs/test_determinism.py compares
too.

A machine is a kind of processor and a number of threads: XLA shares a sum among its threads, so their number shows in
the last bits. It has one for each core, but no fewer than devices; the tests have eight fake devices, and so has this.
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from trm_jax.config import experiment_from, files
from trm_jax.console import hush
from trm_jax.data.builders import arc, grid, maze
from trm_jax.devices.compilation import processor
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics

FILE = Path(__file__).parent.parent / "tests" / "testdata" / "losses.json"
DEVICES = 8

# Between two machines a loss may differ by so much of itself, for the first steps and for those after them. A float32
# operation is right within 6e-8, and in 20 steps that grows: AdamATan2 begins with steps of nearly the same size for
# every weight, along the sign of its gradient, and the sign of a gradient near 0 may turn. Seen so far, with another
# version of JAX: 7e-6 in the first ten steps, and then up to 1.5e-2 with four layers, 2e-6 with all others.
TOLERANCE, FIRST, TOLERANCE_LATER = 1e-3, 10, 5e-2

# Name of a machine -> name of an experiment -> its losses.
Recorded = dict[str, dict[str, list[float]]]


def names() -> list[str]:
    """All experiments, ablations last, as modules below experiments/."""
    return sorted((name.replace("/", ".") for name in files.names()), key=lambda name: (name.count("."), name))


def losses(name: str, folder: Path) -> list[float]:
    """Trains an experiment's variant smoke, and returns the loss of each step, a float32.

    Args:
      name: of the experiment, as in `names`.
      folder: empty; receives its puzzles and the run.
    """
    experiment = experiment_from(config(name, folder))
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        train(experiment, folder / "run")
    finally:
        jax.config.update("jax_disable_most_optimizations", before)
    return [float(row["train/loss"] or 0) for row in read_metrics(folder / "run")]


def config(name: str, folder: Path) -> dict[str, Any]:
    """The values of an experiment's variant smoke; puzzles that it reads from files are made in the folder."""
    values: dict[str, Any] = files.read(f"{name}:smoke").to_dict()
    if not values["data"]["train"]:
        make = {"maze": _mazes, "arc": _tasks, "": _latin_squares}[values["data"]["puzzle"]]
        values["data"]["train"] = str(make(folder))
    return values


def _mazes(folder: Path) -> Path:
    path = folder / "mazes.csv"
    maze.generate_table(path, 16, maze.Wishes((8, 8), 10), seed=0)
    return path


def _tasks(folder: Path) -> Path:
    """Two tasks: every grid comes back upside down."""
    grids = [[[(i + r * c + 3 * r) % 10 for c in range(3 + i)] for r in range(2 + i % 3)] for i in range(6)]
    pairs = [{"input": rows, "output": rows[::-1]} for rows in grids]
    tests = [{"input": grids[0]}]
    challenges = {"one": {"train": pairs[:3], "test": tests}, "two": {"train": pairs[3:], "test": tests}}
    path = folder / "tasks_challenges.json"
    path.write_text(json.dumps(challenges))
    arc.build([arc.Subset("tasks", path, None)], folder / "tasks", test=(), augmentations=3)
    return folder / "tasks"


def _latin_squares(folder: Path) -> Path:
    """Rows that are each the row above it, shifted by one."""
    rows = ["".join("1234"[(i + i * r // 4 + r + c) % 4] for r in range(4) for c in range(4)) for i in range(4)]
    blanked = ["".join("." if (i + j) % 3 else cell for j, cell in enumerate(row)) for i, row in enumerate(rows)]
    path = folder / "squares.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("question", "answer"), *zip(blanked, rows, strict=True)])
    about = {"kind": "grid", "shape": [4, 4], "alphabet": ".1234", "symmetries": "relabel(1234)"}
    grid.build(folder / "squares", about, path)
    return folder / "squares"


def machine() -> str:
    """The version of JAX and all else that bits depend on."""
    device = jax.devices()[0]
    threads = max(len(os.sched_getaffinity(0)), jax.local_device_count())
    kind = f"{processor()} with {threads} threads" if device.platform == "cpu" else device.device_kind
    return f"jax {jax.__version__} on {kind}"


def recorded() -> Recorded:
    """All that was ever recorded."""
    found: Recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    return found


def deviation(found: Sequence[float], known: Sequence[float]) -> float:
    """The largest difference, relative to the known loss; infinite where a loss is missing or is no number."""
    if len(found) != len(known):
        return float("inf")
    parts = [0.0 if a == b else abs(a - b) / abs(b) for a, b in zip(found, known, strict=True)]
    return max(part if part < float("inf") else float("inf") for part in parts)


def verdict(name: str, found: Sequence[float], here: str, known: Recorded) -> tuple[bool, str]:
    """Whether losses are right, and a word on it: bit for bit where there is a recording of this machine."""
    own = known.get(here, {}).get(name)
    others = [rows[name] for rows in known.values() if name in rows]
    if own is not None:
        return list(found) == own, f"{deviation(found, own):.0e} from this machine's"
    if not others:
        return False, "never recorded"
    first = max(deviation(found[:FIRST], other[:FIRST]) for other in others)
    worst = max(deviation(found, other) for other in others)
    right = first <= TOLERANCE and worst <= TOLERANCE_LATER
    return right, f"{first:.0e}, later {worst:.0e}, from other machines'"


def write(known: Recorded) -> None:
    """A line for each experiment, so that a change is easy to see."""
    parts = []
    for name, rows in sorted(known.items()):
        lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(values)}" for key, values in rows.items())
        parts.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    FILE.write_text("{\n" + ",\n".join(parts) + "\n}\n")


def main() -> int:
    """Trains, compares or records; 1 if any losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as maze or ablations.hrm (all)")
    parser.add_argument("--record", action="store_true", help="write the losses into tests/testdata/losses.json")
    args = parser.parse_args()
    flags = os.environ.get("XLA_FLAGS", "")
    if "device_count" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={DEVICES}"
    hush()
    here, known, wrong = machine(), recorded(), 0
    print(here)
    for name in args.names or names():
        with tempfile.TemporaryDirectory() as folder:
            found = losses(name, Path(folder))
        right, word = verdict(name, found, here, known)
        if args.record:
            known.setdefault(here, {})[name] = found
            write(known)
            word += ", recorded"
        else:
            wrong += not right
            word += ", right" if right else ", WRONG"
        print(f"{name:36}{found[0]:.6f} ... {found[-1]:.6f}  {word}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
