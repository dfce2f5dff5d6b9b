"""The page in a real browser: it solves, refuses in words, works by keyboard and offline, and asks nobody else."""

import csv
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from places import ROOT, TESTDATA
from small_run import environment
from viewing.driven import Visit, browser
from viewing.tools import tool

from trm_jax.commands.cli import main
from trm_jax.errors import ConfigError
from trm_jax.viewing import page

pytestmark = pytest.mark.slow
HARD = 5  # puzzles of the list; benchmarks.solver_page takes them all
EASY = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That of `make solver`, or else from npm."""
    pytest.importorskip("onnx", reason="needs onnx: pip install 'trm_jax[dev]'")
    folder = ROOT / "build" / "runtime" / "node_modules" / "onnxruntime-web" / "dist"
    try:
        page.runtime(folder)
        return folder
    except ConfigError:
        new = tmp_path_factory.mktemp("runtime")
        for name in ("package.json", "package-lock.json"):
            (new / name).write_bytes((ROOT / "site" / "runtime" / name).read_bytes())
        done = subprocess.run([tool("npm", "npm"), "ci", "--ignore-scripts"], cwd=new, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm cannot install the runtime: {done.stderr[-200:]}")
        return new / "node_modules" / "onnxruntime-web" / "dist"


@contextmanager
def viewed(model: str, runtime: Path) -> Iterator[str]:
    """The address of `trm view`, which ends well with Ctrl-C."""
    words = [sys.executable, "-m", "trm_jax", "view", model, "--port=0", f"--runtime={runtime}"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(PYTHONPATH=str(ROOT))
    )
    try:
        assert process.stdout
        url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", url), process.communicate(timeout=60)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (0, False), err


@pytest.fixture(scope="module")
def address(runtime: Path) -> Iterator[str]:
    with viewed("sudoku-extreme", runtime) as url:
        yield url


@pytest.fixture
def visit(chromium: Any, address: str) -> Iterator[Visit]:
    visit = Visit(chromium, address)
    yield visit
    visit.context.close()
    assert visit.faults == []


def test_hard_puzzles_are_solved(visit: Visit) -> None:
    with (TESTDATA / "hard_sudokus.csv").open() as file:
        rows = list(csv.DictReader(file))[:HARD]
    for row in rows:
        assert visit.paste(row["question"]).startswith("Read: ")
        said = visit.solve()
        assert re.match(r"Solved after \d+ looks? at the board", said), (row["name"], said)
        assert said.endswith("It is the only answer.")
        assert visit.board == row["answer"]
    assert visit.page.locator("#log li").count() > 1


def test_contradictions_are_told_in_words(visit: Visit) -> None:
    visit.paste("55" + EASY[2:])
    assert visit.status == "5 stands twice in row 1, at r1c1 and r1c2: change one of them."
    assert visit.page.locator(".cell.wrong").count() == 2
    assert "stands twice" in visit.solve()

    visit.paste("12345678." + "........9" + "." * 63)
    assert visit.solve() == (
        "No answer has these clues together: r1c1, r1c2, r1c3, r1c4, r1c5, r1c6, r2c9. Change one of them."
    )
    assert visit.page.locator(".cell.wrong").count() == 7

    visit.paste("." * 81)
    assert visit.solve() == "The board is empty: choose, paste or type a puzzle."
    visit.paste("12" + "." * 79)
    visit.page.click("#step")
    visit.page.wait_for_selector("#log li:nth-child(2)")
    assert visit.page.locator("#log li").last.text_content().startswith("The puzzle has more than one answer")


def test_a_novel_is_refused_and_does_no_harm(visit: Visit) -> None:
    before = visit.board
    said = visit.paste("It was the best of times, it was the worst of times. " * 20_000)
    assert said == "Not read: a text of 1,060,000 characters is no Sudoku: give 9 rows of 9 cells, and no more."
    assert "neither a digit 1-9 nor a blank" in visit.paste(
        "It was the best of times, it was the worst of times. " * 300
    )
    assert "neither a digit 1-9 nor a blank" in visit.paste("<script>alert(1)</script>".ljust(81, "."))
    assert visit.board == before
    assert visit.solve().startswith("Solved")


def test_a_step_shows_candidates_and_a_cell_its_clues(visit: Visit) -> None:
    visit.page.select_option("#examples", index=2)
    visit.page.click("#step")
    visit.page.wait_for_selector("#log li")
    assert visit.status == "Look 1: no guess yet. 50 of 57 empty cells are decided."
    assert visit.page.locator(".cell .marks").count() == 7
    assert visit.page.locator(".cell").nth(9).get_attribute("aria-label") == "row 2, column 1: 3, 6 possible"

    visit.page.locator(".cell").nth(4 * 9).click()
    visit.page.click("#why")
    visit.page.wait_for_selector("#why-said li")
    # As `trm solve --why 5,1` says of this puzzle.
    clues = visit.page.locator("#why-said li").all_text_contents()
    assert clues[:2] == ["5 in row 5, column 5: 23 %", "2 in row 9, column 4: 17 %"]
    assert visit.page.locator(".cell.rests").count() == len(clues)

    visit.page.click("#restart")
    assert visit.page.locator(".cell .marks, .cell.rests").count() == 0
    clues_before = sorted(visit.board)
    visit.page.click("#shuffle")
    assert sorted(visit.board) != clues_before
    assert visit.solve().endswith("It is the only answer.")


def test_it_works_by_keyboard_and_tells_what_a_screen_reader_reads(visit: Visit) -> None:
    assert visit.page.get_by_role("grid").count() == 1
    assert visit.page.get_by_role("row").count() == 9
    assert visit.page.get_by_role("gridcell").count() == 81
    assert visit.page.locator("#status").get_attribute("aria-live") == "polite"
    visit.page.click("#clear")
    visit.page.locator("#board .cell[tabindex='0']").focus()
    for key in ("5", "ArrowRight", "3", "ArrowDown", "5", "End", "7", "Backspace", "Home", "x"):
        visit.page.keyboard.press(key)
    assert visit.board == "53......." + ".5......." + "." * 63
    assert visit.status == "5 stands twice in box 1, at r1c1 and r2c2: change one of them."
    assert visit.page.evaluate("document.activeElement.getAttribute('aria-label')") == "row 2, column 1: empty"
    label = visit.page.locator(".cell").nth(10).get_attribute("aria-label")
    assert label == "row 2, column 2: clue 5, contradicts another clue"
    visit.page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(30):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"solve", "step", "pace", "examples", "shuffle", "clear", "text", "cell"} <= reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(chromium: Any, address: str, scheme: str) -> None:
    visit = Visit(chromium, address, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 360
    visit.page.locator(".cell").nth(0).tap()
    visit.page.locator("#pad button").nth(7).tap()
    assert visit.board[0] == "7"
    back, ink = visit.page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    bright = [sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in (back, ink)]
    assert (bright[0] > 700 and bright[1] < 120) if scheme == "light" else (bright[0] < 120 and bright[1] > 600)
    visit.context.close()
    assert visit.faults == []


def test_mazes_are_solved_and_refused_in_words(chromium: Any, runtime: Path) -> None:
    with viewed("maze-perfect", runtime) as url:
        visit = Visit(chromium, url)
        assert visit.page.locator("#models").is_hidden()
        assert visit.page.title() == "Maze, solved by a small neural network"
        visit.page.click("#step")
        visit.page.wait_for_selector("#log li")
        assert re.fullmatch(r"Look 1: no guess yet\. \d+ of \d+ free cells are decided\.", visit.status)
        assert visit.page.locator(".cell.open").count() > 0
        said = visit.solve()
        assert re.match(
            r"Solved after \d+ looks at the board and \d+ rounds? of guesses\. Checked: the path leads", said
        )
        assert said.endswith("It is the only answer.")
        drawn = visit.board
        assert drawn.count("S") == drawn.count("G") == 1
        path = [cell for cell, sign in enumerate(drawn) if sign == "●"]
        assert len(path) == 21  # of the first example, whose way has 22 steps
        label = visit.page.locator(".cell").nth(path[0]).get_attribute("aria-label")
        assert re.fullmatch(r"row \d+, column \d+: path, \d+ % sure|row \d+, column \d+: path, a guess", str(label))
        assert visit.page.locator(".cell.open, #why:visible").count() == 0

        wall = "#" * 11
        assert visit.paste(f"S{' ' * 10}\n{wall}\n" + "\n".join([" " * 11] * 9)) == "Read: 11 walls."
        assert visit.solve() == "There is no goal: write G into a cell."
        visit.page.locator(".cell").nth(33).click()
        for key in ("g", "ArrowUp", "End", "s"):
            visit.page.keyboard.press(key)
        assert visit.status == "2 starts S, at r1c1 and r3c11: leave one of them."
        assert visit.page.locator(".cell.wrong").count() == 2
        visit.page.keyboard.press("Backspace")
        assert visit.status == "11 walls. Press Solve."
        assert visit.solve() == "No way leads from S to G: free some walls."
        assert visit.paste("It was the best of times. " * 9).startswith("Not read: ")
        visit.page.click("#clear")
        assert visit.status == "The board is empty: choose, paste or type a maze."
        visit.page.select_option("#examples", index=4)
        visit.page.click("#shuffle")
        assert visit.status == "Turned or mirrored: the same maze. Press Solve."
        assert visit.solve().endswith("It is the only answer.")
        visit.context.close()
    assert visit.faults == []


def test_a_model_of_y_and_z_shows_its_steps(chromium: Any, runtime: Path) -> None:
    with viewed("sudoku-4x4", runtime) as url:
        visit = Visit(chromium, url)
        visit.paste("....4..2....24.1")
        said = visit.solve()
        visit.context.close()
    assert said.startswith("Solved after 2 steps. Checked:")
    assert visit.faults == []


def test_what_is_saved_works_without_a_network(chromium: Any, runtime: Path, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    assert main(["view", "sudoku-extreme", "maze-perfect", f"--save={folder}", f"--runtime={runtime}"]) == 0
    assert sum(path.stat().st_size for path in folder.rglob("*.*")) < 15_000_000

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        visit = Visit(chromium, f"http://127.0.0.1:{server.server_port}/")
        visit.page.evaluate("navigator.serviceWorker.ready.then(() => null)")
        server.shutdown()
        thread.join()
    assert visit.faults == []
    visit.page.reload()
    visit.page.wait_for_selector("#solve:enabled")
    assert visit.solve().startswith("Solved after 1 look")
    visit.page.get_by_role("link", name="Maze").click()
    visit.page.wait_for_selector("#board.maze")
    visit.page.wait_for_selector("#solve:enabled")
    assert visit.page.locator("#models a[aria-current]").text_content() == "Maze"
    assert visit.solve().startswith("Solved after")
    visit.page.get_by_role("link", name="Sudoku").click()
    visit.page.wait_for_selector("#board.sudoku")
    visit.context.close()
