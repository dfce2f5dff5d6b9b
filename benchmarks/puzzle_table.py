"""Time and memory of the puzzle table's update against the table's size; both should not grow with it.

python -m benchmarks.puzzle_table
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.machine import describe, temporary_bytes
from trm_jax.training.optim import sign_sgd_rows

RESULTS = Path(__file__).parent / "results" / "puzzle_table.jsonl"


def measure(rows: int, length: int, batch: int, repeats: int) -> dict[str, float | None]:
    """Milliseconds of an update in place, and the bytes that it needs beside the table."""
    ids = jax.random.randint(jax.random.key(0), (batch,), 0, rows)
    grads = jax.random.normal(jax.random.key(1), (batch, length))
    table = jnp.zeros((rows, length))
    step = jax.jit(lambda t, i, g: sign_sgd_rows(t, i, g, jnp.float32(0.01), 0.1), donate_argnums=0)
    compiled = step.lower(table, ids, grads).compile()
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        table = jax.block_until_ready(compiled(table, ids, grads))
        times.append(1e3 * (time.perf_counter() - start))
    times = times[3:]
    return {
        "rows": rows,
        "milliseconds_median": round(statistics.median(times), 3),
        "milliseconds_min": round(min(times), 3),
        "milliseconds_max": round(max(times), 3),
        "temporary_bytes": temporary_bytes(compiled),
    }


def main() -> None:
    """Measures at four sizes, prints the table and appends it to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=512, help="of a row (512)")
    parser.add_argument("--batch", type=int, default=768, help="rows touched (768)")
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--results", type=Path, default=RESULTS, help="file to which the rows are appended")
    args = parser.parse_args()
    print(f"{'rows':>10}{'median ms':>12}{'min':>9}{'max':>9}{'temporary MB':>14}")
    for rows in (1_000, 10_000, 100_000, 900_000):
        row = measure(rows, args.length, args.batch, args.repeats)
        print(
            f"{rows:>10,}{row['milliseconds_median']:>12.2f}{row['milliseconds_min']:>9.2f}"
            f"{row['milliseconds_max']:>9.2f}{(row['temporary_bytes'] or 0) / 1e6:>14.2f}"
        )
        with args.results.open("a") as file:
            file.write(json.dumps(row | {"length": args.length, "batch": args.batch} | describe()) + "\n")


if __name__ == "__main__":
    main()
