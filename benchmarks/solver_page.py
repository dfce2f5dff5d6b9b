"""The page that solves puzzles, in a headless Chromium: how large it is, how soon it answers, what it solves.

    python -m benchmarks.solver_page PAGE TABLE [--limit N] [--visits 5]

PAGE is a folder that `trm view NAME --save PAGE` or `make solver` has written, TABLE a CSV file of Sudokus 9x9 with the
columns question and answer, such as tests/testdata/hard_sudokus.csv. Each of some visits begins with nothing kept: from
the address to the button that can be pressed, and from that press to the checked answer of the first example. Then each
puzzle of the table is pasted and solved at full pace, all in one visit: looks at the board (calls of the network), and
seconds. A search without an answer after all of its looks is begun again, at most twice, with other guesses.

Needs Chromium (the program `chromium`, or what the variable CHROMIUM names) and the Python package playwright.
"""

import argparse
import csv
import os
import re
import shutil
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.machine import describe
from benchmarks.turns import publish

RESULTS = Path(__file__).parent / "results" / "solver_page.jsonl"
_TRIES = 3
# Milliseconds until a search of all looks has surely ended.
_PATIENCE = 600_000


def main() -> int:
    """Measures, prints and appends a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("--limit", type=int, help="puzzles (all)")
    parser.add_argument("--visits", type=int, default=5)
    args = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not (chromium and (args.page / "page.json").is_file()):
        what = f"{args.page} is no page: write it by `make solver`" if chromium else "there is no chromium: install it"
        print(f"solver_page: {what}", file=sys.stderr)
        return 2
    with args.table.open(newline="") as file:
        puzzles = list(islice(csv.DictReader(file), args.limit))
    with _served(args.page) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        visits = [_visit(browser, url) for _ in range(args.visits)]
        solved = _solve_all(browser, url, puzzles)
        version = browser.version
        browser.close()
    row = {
        "page": args.page.name,
        "megabytes": round(sum(path.stat().st_size for path in args.page.rglob("*") if path.is_file()) / 1e6, 2),
        "visits": len(visits),
        "ready_seconds_median": round(statistics.median(ready for ready, _ in visits), 2),
        "answer_seconds_median": round(statistics.median(answer for _, answer in visits), 2),
        "both_seconds_max": round(max(map(sum, visits)), 2),
        "table": args.table.name,
        **solved,
        "chromium": version,
        **describe(),
    }
    publish([row], RESULTS)
    return 0


def _visit(browser: Any, url: str) -> tuple[float, float]:
    """Seconds until the first example can be solved, and until it is."""
    began = time.perf_counter()
    page = _opened(browser, url)
    ready = time.perf_counter()
    page.click("#solve")
    page.wait_for_selector("#status.solved")
    seconds = ready - began, time.perf_counter() - ready
    page.context.close()
    return seconds


def _solve_all(browser: Any, url: str, puzzles: list[dict[str, str]]) -> dict[str, Any]:
    """Fields of the row."""
    page = _opened(browser, url)
    page.select_option("#pace", "0")
    right, looks, seconds = 0, [], []
    for puzzle in puzzles:
        page.fill("#text", puzzle["question"])
        spent, began = 0, time.perf_counter()
        for _ in range(_TRIES):
            page.click("#solve")
            page.wait_for_selector("#solve:text('Solve again')")
            said = page.text_content("#status")
            spent += int(re.search(r"after (\d+) look", said)[1])  # type: ignore[index]
            if said.startswith("Solved"):
                right += (
                    page.eval_on_selector_all(".cell", "all => all.map(x => x.textContent).join('')")
                    == puzzle["answer"]
                )
                break
        looks.append(spent)
        seconds.append(time.perf_counter() - began)
        print(f"{len(looks)}/{len(puzzles)}: {spent} looks, {seconds[-1]:.1f} s", file=sys.stderr)
    return {
        "puzzles": len(puzzles),
        "solved": right,
        "looks_median": statistics.median(looks),
        "looks_max": max(looks),
        "seconds_median": round(statistics.median(seconds), 2),
        "seconds_max": round(max(seconds), 1),
    }


def _opened(browser: Any, url: str) -> Any:
    """The page, ready, in a browser that has kept nothing."""
    page = browser.new_context().new_page()
    page.set_default_timeout(_PATIENCE)
    page.goto(url)
    page.wait_for_selector("#solve:enabled")
    return page


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of a folder's files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


if __name__ == "__main__":
    sys.exit(main())
