"""Whether the training steps of experiments compile on this device at full size, how long that takes, and their plan.

    python -m benchmarks.compiles sudoku_mlp sudoku_attention [--results FILE]

Nothing is run, and no array is made. One that does not compile is told in one line and does not keep the others from
it; the exit code is 1 then.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from benchmarks.machine import describe
from trm_jax.config import Experiment, files
from trm_jax.devices.sharding import layout_of
from trm_jax.errors import TrmError, first_line
from trm_jax.training.memory import memory_of, trace_step
from trm_jax.training.program import settled

RESULTS = Path(__file__).parent / "results" / "compiles.jsonl"
# What an experiment leaves to its data, as it is in the largest: ARC-1 with 1,000 augmentations, boards of 30 x 30.
_PUZZLES, _CELLS, _TOKENS = 876_000, 900, 12


def full_size(source: str) -> Experiment:
    """An experiment, of which sizes that wait for data are those of large data."""
    found = files.experiment(source)
    model = replace(
        found.model,
        num_puzzles=found.model.num_puzzles or _PUZZLES,
        seq_len=found.model.seq_len or _CELLS,
        vocab_size=found.model.vocab_size or _TOKENS,
    )
    return replace(found, model=model)


def measure(source: str) -> dict[str, Any]:
    """A row of results; what went wrong is told in `failed`."""
    row: dict[str, Any] = {"experiment": source}
    began = time.perf_counter()
    try:
        found = full_size(source)
        alone = replace(found, devices=replace(found.devices, data=1))
        lowered = trace_step(settled(alone, layout_of(alone))).lower()
        row["lower_seconds"] = round(time.perf_counter() - began, 1)
        began = time.perf_counter()
        needs = memory_of(lowered.compile())
    except (TrmError, jax.errors.JaxRuntimeError) as error:
        return row | {"failed": first_line(error)}
    row["compile_seconds"] = round(time.perf_counter() - began, 1)
    return row | {"argument_bytes": needs.arguments, "temporary_bytes": needs.temporary}


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line for each experiment, and appends their rows to the results; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="+", metavar="NAME[:VARIANT]")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which the rows are appended")
    args = parser.parse_args(argv)
    failed = 0
    for source in args.experiments:
        row = measure(source)
        failed += "failed" in row
        print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
        with args.results.open("a") as file:
            file.write(json.dumps(row | describe()) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
