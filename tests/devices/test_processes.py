"""Training in two real processes: the run of one process with as many devices, figures, files, stops and faults alike.

What a user starts, `trm train`, is started here too, twice (`stopped`); all else is asked of one pair that stays
(`pair`), since starting takes most of the time.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from compiling import QUICK_FLAGS
from jax.experimental.multihost_utils import process_allgather
from numpy.typing import NDArray
from places import TESTS

from trm_jax.config import Experiment, experiment_from, to_dict
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.order import Order, Position
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices import cluster
from trm_jax.devices.sharding import layout_of
from trm_jax.errors import TrmError
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.train import train
from trm_jax.runs.writers import read_metrics
from trm_jax.training.program import like

BATCH, STEPS, HALF = 16, 12, 6
# An evaluation after each step; soon none is better than the best.
MONITORED = {"train__steps": 60, "train__eval_every": 1, "train__save_every": 0, "train__patience": 3}
# What the first and the second process are given, for both to refuse.
FAULTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seeds": ({"train__seed": 1}, {"train__seed": 2}),
    "few": ({"data__train_puzzles": 1}, {"data__train_puzzles": 1}),
    "idle": ({"devices__data": 1}, {"devices__data": 1}),
}

# One of two processes with one device each. What it finds goes into a file of its own.
MEMBER = """
import sys
from trm_jax.devices import cluster
address, process, folder = sys.argv[1:]
cluster.join(address, 2, int(process), 60)
from pathlib import Path
import test_processes
from trm_jax.devices.compilation import remember_programs
remember_programs()
test_processes.be_member(Path(folder))
cluster.leave()
"""


def experiment(**changes: Any) -> Experiment:
    """Rows that halt and explore; a table; an evaluation whose last batch is not full."""
    values: dict[str, Any] = {
        "name": "pair",
        "model": {
            "width": 16, "mixer": "mlp", "positions": "none", "puzzle_dim": 16, "puzzle_tokens": 1, "layers": 1,
            "latent_steps": 1, "cycles": 1, "supervision_steps": 3, "exploration": 0.5, "dtype": "float32",
        },
        "optim": {"learning_rate": 1e-3, "warmup_steps": 3, "weight_decay": 0.1, "ema_decay": 0.9},
        "data": {"puzzle": "sudoku", "side": 4, "train": "generated", "test": "generated", "train_puzzles": 50,
                 "test_puzzles": 29},
        "train": {"steps": STEPS, "batch_size": BATCH, "log_every": 1, "eval_every": HALF, "eval_batch_size": 16,
                  "save_every": HALF},
        "devices": {"data": 2, "puzzles": "resident"},
    }  # fmt: skip
    for key, value in changes.items():
        group, name = key.split("__")
        values[group][name] = value
    return experiment_from(values)


class Watched:
    """Rows of a set that notes which of them the feed's own thread reads."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self.shape, self.dtype = rows.shape, rows.dtype
        self.read: list[list[int]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        if threading.current_thread() is not threading.main_thread():
            self.read.append(np.ravel(index).tolist())
        return self._rows[index]


def be_member(folder: Path) -> None:
    """All that the pair is asked to do, one after the other."""
    found: dict[str, Any] = {"main": cluster.is_main()}
    save, restore, load_puzzles = Checkpoints.save, Checkpoints.restore, dataset.load
    prints: list[str] = []

    def saving(self: Checkpoints, state: Any, totals: Any, meta: Any) -> None:
        prints.append(whole_fingerprint((state, totals)))
        save(self, state, totals, meta)

    def restoring(self: Checkpoints, *shapes: Any) -> Any:
        state, totals = restore(self, *shapes)
        prints.append(whole_fingerprint((state, totals)))
        return state, totals

    Checkpoints.save, Checkpoints.restore = saving, restoring  # type: ignore[method-assign]

    def run(name: str, **changes: Any) -> None:
        prints.clear()
        outcome = train(experiment(**changes), folder / name)
        found[name] = {"step": outcome.step, "finished": outcome.finished, "fingerprints": list(prints)}

    run("plain")
    run("taken_over")
    run("monitored", **MONITORED)
    watched: list[Watched] = []

    def watching(config: Any, split: str, seed: int) -> PuzzleSet:
        puzzles = load_puzzles(config, split, seed)
        watched.append(Watched(np.asarray(puzzles.inputs)))
        return replace(puzzles, inputs=watched[-1])  # type: ignore[arg-type]

    dataset.load = watching
    run("spread", devices__puzzles="streamed", devices__weights="sharded", train__steps=HALF, train__eval_every=0)
    dataset.load = load_puzzles
    found["spread"]["read"] = watched[-1].read

    cluster.SEEN_WITHIN = 0.2
    process = jax.process_index()
    places = {
        "impossible": "/proc/nowhere" if process else "impossible",
        "unwritable": "/proc" if process else "unwritable",
        "apart": f"apart{process}",
    }
    for name in (*FAULTS, *places):
        changes = FAULTS[name][process] if name in FAULTS else {}
        began = time.monotonic()
        try:
            train(experiment(**changes), folder / places.get(name, name))
        except TrmError as error:
            found[name] = [str(error), time.monotonic() - began]
    (folder / f"{process}.json").write_text(json.dumps(found))


def whole_fingerprint(tree: Any) -> str:
    """`fingerprint` of arrays that lie on several processes."""
    return fingerprint(jax.tree.map(lambda a: a if a.is_fully_addressable else process_allgather(a, tiled=True), tree))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts Python with one fake device; whatever still runs at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def call(*words: str) -> subprocess.Popen[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "OMPI_", "PMIX_"))}
        own = {
            "XLA_FLAGS": f"--xla_force_host_platform_device_count=1{QUICK_FLAGS}",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": f"{TESTS.parent}:{TESTS}:{Path(__file__).parent}",
        }
        running.append(
            subprocess.Popen(
                [sys.executable, *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=TESTS.parent,
                env=clean | own,
            )
        )
        return running[-1]

    yield call
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of one process with two devices."""
    workdir = tmp_path_factory.mktemp("alone")
    assert train(experiment(), workdir).finished
    return workdir


def halfway(alone: Path, workdir: Path) -> Path:
    """What one process has left halfway, in a place of its own."""
    shutil.copytree(alone, workdir, dirs_exist_ok=True)
    shutil.rmtree(workdir / "checkpoints" / str(STEPS))
    return workdir


@dataclass(frozen=True)
class Pair:
    """Where the pair worked, and what its processes found."""

    folder: Path
    found: tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, start: Start, alone: Path) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    halfway(alone, folder / "taken_over")
    address = f"127.0.0.1:{free_port()}"
    members = [start("-c", MEMBER, address, str(process), str(folder)) for process in range(2)]
    for member in members:
        _, err = member.communicate(timeout=120)
        assert member.returncode == 0, err
    first, second = (json.loads((folder / f"{process}.json").read_text()) for process in range(2))
    return Pair(folder, (first, second))


def restored(workdir: Path, data: int) -> Any:
    """State and sums of the newest checkpoint as one process with so many devices reads them."""
    config = experiment(devices__data=data)
    wanted = resolve(config, dataset.load(config.data, "train", config.train.seed))
    with Checkpoints(workdir) as checkpoints:
        return checkpoints.restore(*like(wanted, layout_of(wanted)))


def figures(rows: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def assert_same_figures(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [row["step"] for row in ours] == [row["step"] for row in theirs]
    for one, other in zip(figures(ours), figures(theirs), strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name] == (None if value is None else pytest.approx(value, rel=1e-6, abs=1e-6)), (name, one)


# In `make test` the two processes of `stopped` say that they make the figures of one; the pair says all the rest.
of_a_pair = pytest.mark.slow


@of_a_pair
def test_a_pair_makes_the_run_of_one_process(pair: Pair, alone: Path) -> None:
    assert [found["main"] for found in pair.found] == [True, False]
    for found in pair.found:
        assert (found["plain"]["step"], found["plain"]["finished"]) == (STEPS, True)
    theirs = read_metrics(alone)
    assert [row["step"] for row in theirs if "eval/exact_accuracy" in row] == [HALF, STEPS]
    assert theirs[0]["train/loss"] != theirs[1]["train/loss"]
    assert_same_figures(read_metrics(pair.folder / "plain"), theirs)
    assert json.loads((pair.folder / "plain" / "config.json").read_text())["name"] == "pair"


@of_a_pair
def test_one_process_reads_the_pairs_checkpoint_bit_for_bit(pair: Pair, alone: Path) -> None:
    """What was in memory when the pair saved is what a single process reads; and nearly what one would have saved."""
    first, second = (found["plain"]["fingerprints"] for found in pair.found)
    assert len(first) == STEPS // HALF
    assert first == second
    for data in (1, 2):
        ours = restored(pair.folder / "plain", data)
        assert fingerprint(ours) == first[-1]
    for (path, one), other in zip(
        jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(restored(alone, 2)), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=jax.tree_util.keystr(path))


@of_a_pair
def test_a_pair_goes_on_where_one_process_stopped(pair: Pair, alone: Path, tmp_path: Path) -> None:
    given = fingerprint(restored(halfway(alone, tmp_path), 1))
    for found in pair.found:
        assert found["taken_over"]["step"] == STEPS
        assert found["taken_over"]["fingerprints"][0] == given
    assert_same_figures(read_metrics(pair.folder / "taken_over"), read_metrics(alone))


@of_a_pair
def test_a_pair_keeps_the_best_weights_and_ends_by_patience_as_one_process_does(
    pair: Pair, alone: Path, tmp_path: Path
) -> None:
    outcome = train(experiment(**MONITORED), tmp_path)
    assert (outcome.finished, outcome.step < 60) == (True, True)
    for found in pair.found:
        assert (found["monitored"]["step"], found["monitored"]["finished"]) == (outcome.step, True)
    for theirs, mine in ((tmp_path, pair.folder / "monitored"), (alone, pair.folder / "plain")):
        with Checkpoints(theirs, best=True) as one, Checkpoints(mine, best=True) as other:
            assert one.steps == other.steps
        (_, one), (_, other) = (load(workdir / "checkpoints" / "best") for workdir in (theirs, mine))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one, other)


@of_a_pair
def test_puzzles_that_are_streamed_are_read_where_they_are_needed_and_weights_may_be_shared(
    pair: Pair, alone: Path
) -> None:
    theirs = [row for row in figures(read_metrics(alone)) if row["step"] <= HALF and "train/loss" in row]
    assert_same_figures(read_metrics(pair.folder / "spread"), theirs)
    puzzles = dataset.load(experiment().data, "train", 0)
    starts, groups = puzzles.puzzle_starts.astype(np.int32), puzzles.group_starts.astype(np.int32)
    order, position = Order(starts, groups, 0, True), Position()
    for step in range(HALF):
        drawn = order.examples(position, BATCH)
        position = drawn.position
        for process, found in enumerate(pair.found):
            rows = slice(process * BATCH // 2, (process + 1) * BATCH // 2)
            assert found["spread"]["read"][step] == drawn.examples[rows].tolist()
    assert {len(found["spread"]["read"]) for found in pair.found} == {HALF}
    ours = fingerprint(restored(pair.folder / "spread", 1))
    assert [found["spread"]["fingerprints"] for found in pair.found] == [[ours]] * 2


@of_a_pair
def test_faults_are_told_by_all(pair: Pair) -> None:
    first, second = pair.found
    for name in (*FAULTS, "impossible", "unwritable", "apart"):
        assert max(first[name][1], second[name][1]) < 30, name
    for name, line in (
        ("seeds", "the processes were given different experiments: config.train.seed is 1 in process 0, 2 in 1; "),
        ("few", "generated: 1 puzzles for 2 processes: start fewer"),
        ("idle", "config.devices.data = 1, but 2 processes have 2 devices, and none may stand idle: set it to 0"),
    ):
        assert first[name][0].startswith(line)
        assert second[name][0] == first[name][0]
    assert second["impossible"][0] == "--workdir=/proc/nowhere: cannot be made: No such file or directory"
    assert second["unwritable"][0] == "/proc: cannot be written to: No such file or directory"
    for name in ("impossible", "unwritable"):
        assert first[name][0] == f"process 1: {second[name][0]}"
    assert first["apart"][0] == f"{pair.folder}/apart0 is another place in process 1: give all of them a common one"
    assert second["apart"][0] == f"process 0: {first['apart'][0]}"
    for name in ("impossible", "unwritable", "apart0", "apart1"):
        assert not list((pair.folder / name).iterdir()), "no run begins, and no mark is left"


def command(folder: Path, process: int, port: int, **changes: Any) -> list[str]:
    """`trm train` for one of two processes, with a configuration file of its own; a run that nothing ends."""
    config = folder / f"config{process}.py"
    values = to_dict(experiment(**{"train__steps": 10**6, "train__eval_every": 0, "train__save_every": 0} | changes))
    config.write_text(
        f"from ml_collections import ConfigDict\n\ndef get_config():\n    return ConfigDict({values!r})\n"
    )
    flags = f"--config={config} --workdir={folder}/run --coordinator=127.0.0.1:{port} --processes=2"
    return ["-m", "trm_jax", "train", *flags.split(), f"--process={process}"]


def start_run(start: Start, folder: Path) -> list[subprocess.Popen[str]]:
    """Starts a run, or starts it again; returns once it has written some rows."""
    rows = len(read_metrics(folder / "run")) if (folder / "run").exists() else 0
    port = free_port()
    running = [start(*command(folder, process, port)) for process in range(2)]
    deadline = time.monotonic() + 100
    while not (folder / "run" / "metrics.jsonl").exists() or len(read_metrics(folder / "run")) < rows + 3:
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in running), [process.communicate() for process in running]
        time.sleep(0.02)
    return running


@dataclass(frozen=True)
class Part:
    """One part of a run that was stopped: what each of two processes said and how it ended, who listened where."""

    workdir: Path
    pids: tuple[int, ...]
    out: tuple[str, ...]
    err: tuple[str, ...]
    codes: tuple[int, ...]
    listening: tuple[tuple[str, ...], ...]
    files: frozenset[str]
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module", params=[(1,), pytest.param((1, 0), marks=pytest.mark.slow)], ids=["once", "twice"])
def stopped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, start: Start) -> tuple[Part, ...]:
    """`trm train` in two processes, of which one gets SIGTERM; the same again, and then the other gets it."""
    folder = tmp_path_factory.mktemp("stopped")
    parts = []
    for signalled in request.param:
        running = start_run(start, folder)
        listening = tuple(map(listening_of, running))
        running[signalled].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=60) for process in running]
        parts.append(
            Part(
                folder / "run",
                tuple(process.pid for process in running),
                tuple(out for out, _ in said),
                tuple(err for _, err in said),
                tuple(process.returncode for process in running),
                listening,
                frozenset(path.name for path in (folder / "run").iterdir()),
                read_metrics(folder / "run"),
            )
        )
    return tuple(parts)


def listening_of(process: subprocess.Popen[str]) -> tuple[str, ...]:
    """Addresses, as /proc has them, at which a process listens."""
    home = Path("/proc", str(process.pid))
    own = {os.readlink(link) for link in (home / "fd").iterdir() if os.path.lexists(link)}
    rows = [row.split() for kind in ("tcp", "tcp6") for row in (home / "net" / kind).read_text().splitlines()[1:]]
    return tuple(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own)


def test_sigterm_to_one_process_stops_both_at_the_same_step(stopped: tuple[Part, ...], alone: Path) -> None:
    made = 0
    for part, name in zip(stopped, ("another process", "SIGTERM"), strict=False):
        assert part.codes == (75, 75)
        last = re.search(rf"stopped at step (\d+) by {name}; saved: the same command goes on from here", part.err[0])
        assert last, part.err[0]
        assert int(last[1]) >= made + 3
        if made:
            assert f"going on at step {made}, " in part.err[0]
        made = int(last[1])
        assert [row["step"] for row in part.rows] == list(range(1, made + 1))
    theirs = [row for row in read_metrics(alone) if "train/loss" in row][:made]
    assert_same_figures(stopped[-1].rows[: len(theirs)], theirs)
    with Checkpoints(stopped[-1].workdir) as checkpoints:
        assert checkpoints.latest == made


def test_one_process_speaks_and_writes(stopped: tuple[Part, ...]) -> None:
    for number, part in enumerate(stopped):
        assert part.out == ("", "")
        assert part.err[1] == ""
        events = [name for name in part.files if name.startswith("events.")]
        assert part.files - set(events) == {"checkpoints", "config.json", "metrics.jsonl", "parts.jsonl"}
        assert len(events) == number + 1
        assert sum(f".{part.pids[0]}." in name for name in events) == 1
        assert not any(f".{part.pids[1]}." in name for name in events)


def test_nothing_listens_but_on_the_loopback(stopped: tuple[Part, ...]) -> None:
    loopback = re.compile(r"[0-9A-F]{6}7F:|0{24}01000000:|0{16}FFFF0000[0-9A-F]{6}7F:")
    for part in stopped:
        for addresses in part.listening:
            assert addresses
            assert all(map(loopback.match, addresses)), addresses


@pytest.mark.slow  # of the same refusal test_faults_are_told_by_all looks at the line
def test_the_command_line_refuses_two_experiments_as_one(tmp_path: Path, start: Start) -> None:
    port = free_port()
    running = [start(*command(tmp_path, process, port, train__seed=process)) for process in range(2)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (2, "")
        assert err.startswith("trm: error: the processes were given different experiments: config.train.seed is 0 in")
        assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_is_missed_at_once(victim: int, tmp_path: Path, start: Start) -> None:
    running = start_run(start, tmp_path)
    running[victim].kill()
    other = running[1 - victim]
    _, err = other.communicate(timeout=20)
    assert other.returncode == 75
    assert "trm: error: another process has gone (" in err
    assert "Traceback" not in err


def start_evaluation(start: Start, folder: Path) -> list[subprocess.Popen[str]]:
    """Starts a run whose first evaluation, after three steps, takes long; returns once it has begun."""
    port, slow = free_port(), {"train__eval_every": 3, "data__test_puzzles": 20_000}
    running = [start(*command(folder, process, port, **slow)) for process in range(2)]
    err = running[0].stderr
    assert err is not None
    assert any(line.startswith("  evaluating ") for line in err)
    return running


@pytest.mark.slow
@pytest.mark.parametrize("signalled", [0, 1])
def test_a_pair_leaves_an_evaluation_together_and_makes_it_again(signalled: int, tmp_path: Path, start: Start) -> None:
    running = start_evaluation(start, tmp_path)
    running[signalled].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=20) for process in running]
    assert [process.returncode for process in running] == [75, 75], said
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.latest == 3
        meta = checkpoints.latest_meta()
        assert meta is not None
        assert meta.evaluation_due
    assert not any("eval/exact_accuracy" in row for row in read_metrics(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_is_killed_while_all_evaluate_is_missed_too(victim: int, tmp_path: Path, start: Start) -> None:
    running = start_evaluation(start, tmp_path)
    running[victim].kill()
    other = running[1 - victim]
    began = time.monotonic()
    _, err = other.communicate(timeout=60)
    assert time.monotonic() - began < 40
    assert other.returncode in (75, -signal.SIGABRT), err
