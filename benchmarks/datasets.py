"""How fast datasets are made, and in how much memory: each figure is one run of `trm data` as a user would start it.

python -m benchmarks.datasets [--arc data/arc/arc-agi]

The prefix of ARC's JSON files adds the paper's whole ARC-1 dataset, which takes 7 GB of disk while it is measured.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "datasets.jsonl"

# what is made -> (how many of it, the words after `trm data`; OUT is where it goes)
RUNS: dict[str, tuple[int, str]] = {
    "Sudokus 9x9, one solution": (5_000, "sudoku OUT.csv --generate 5000 --workers 2"),
    "minimal Sudokus 9x9": (2_000, "sudoku OUT.csv --generate 2000 --minimal --workers 2"),
    "minimal Sudokus 9x9, rating >= 10": (300, "sudoku OUT.csv --generate 300 --minimal --min-rating 10 --workers 2"),
    "Sudokus 16x16, one solution": (300, "sudoku OUT.csv --generate 300 --box 4x4 --workers 2"),
    "mazes 30x30, path >= 110": (1_000, "maze OUT.csv --generate 1000 --size 30x30 --min-length 110 --workers 2"),
}
ARC = "arc OUT --prefix {prefix} --subsets training,evaluation,concept --test evaluation --overlap drop"


def measure(words: str) -> tuple[float, float, float]:
    """Seconds, peak resident megabytes of the largest process, and megabytes written, of one run."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trm_jax", "data", *words.replace("OUT", f"{folder}/out").split()]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"failed: {' '.join(command)}")
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return seconds, usage.ru_maxrss / 1024, size / 1e6


def main() -> None:
    """Runs each command, prints the table and appends it to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arc", metavar="PREFIX", help="of the files PREFIX_training_challenges.json and so on")
    parser.add_argument("--repeats", type=int, default=3, help="of all but ARC (3)")
    args = parser.parse_args()
    runs = {what: (count, words, args.repeats) for what, (count, words) in RUNS.items()}
    if args.arc:
        if shutil.disk_usage(tempfile.gettempdir()).free < 8e9:
            raise SystemExit(f"{tempfile.gettempdir()}: 8 GB of disk are needed for ARC: set TMPDIR")
        runs["ARC-1, 1,000 augmentations"] = (1, ARC.format(prefix=args.arc), 1)
    rows = []
    print(f"{'what':36}{'seconds':>18}{'a minute':>10}{'peak MB':>9}{'MB':>8}")
    for what, (count, words, repeats) in runs.items():
        found = [measure(words) for _ in range(repeats)]
        seconds = sorted(run[0] for run in found)
        middle = seconds[len(seconds) // 2]
        row = {
            "what": what,
            "command": f"trm data {words}" if count > 1 else "trm data " + ARC.format(prefix="arc-agi"),
            "seconds_median": round(middle, 2),
            "seconds_min": round(seconds[0], 2),
            "seconds_max": round(seconds[-1], 2),
            "a_minute": round(60 * count / middle) if count > 1 else None,
            "peak_mb": round(max(run[1] for run in found)),
            "written_mb": round(found[0][2], 1),
        }
        spread = f"{middle:.1f} ({seconds[0]:.1f}-{seconds[-1]:.1f})"
        rate = f"{row['a_minute']:,}" if row["a_minute"] else ""
        print(f"{what:36}{spread:>18}{rate:>10}{row['peak_mb']:>9}{row['written_mb']:>8.0f}")
        rows.append(row)
    # Not before: a new process counts the memory of the one that started it, and this brings JAX.
    from benchmarks.machine import describe

    with RESULTS.open("a") as file:
        file.writelines(json.dumps(row | describe()) + "\n" for row in rows)


if __name__ == "__main__":
    main()
