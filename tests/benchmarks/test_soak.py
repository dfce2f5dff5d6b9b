"""The soak: whether it would notice what it looks for; and a short one, which passes."""

import json
import mmap
import os
import random
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT
from small_step import EXPERIMENT

from benchmarks import soak
from benchmarks.soak import DAMAGE, JUNK, SAVE_EVERY, Deck, Disturbed, Fault, Pace, Runs, Sample
from benchmarks.watched import bytes_in_use
from trm_jax.devices.sharding import ALONE
from trm_jax.runs import manifest
from trm_jax.runs.checkpoint import FOLDER, Checkpoints
from trm_jax.runs.meta import Meta
from trm_jax.runs.writers import MetricsWriter
from trm_jax.training.program import like, no_metrics

MB = 1_000_000


def samples_of(memory, descriptors=None, steps: int = 50_000) -> list[Sample]:
    """As many as there are numbers, over so many steps; as many threads as descriptors."""
    places = np.linspace(10, steps, len(memory)).astype(int).tolist()
    counts = descriptors or [6] * len(memory)
    return [Sample(*each) for each in zip(places, memory, memory, counts, counts, strict=True)]


def collected(steps: int, samples: int, rng: np.random.Generator) -> list[int]:
    """Memory of a process that grows by 8 MB until Python's collector comes, again and again."""
    at = np.linspace(10, steps, samples)
    return (250 * MB + 8 * MB * (at / 6_000 % 1) + rng.normal(0, 0.2 * MB, samples)).astype(int).tolist()


def test_growth_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    samples = samples_of([int(250 * MB + 300 * i + rng.normal(0, 5_000)) for i in range(400)])
    later = samples[100:]
    line, covariance = np.polyfit([s.step / 1000 for s in later], [s.used for s in later], 1, cov=True)
    found = soak.growth(samples, "used")
    assert found.per_1000_steps == pytest.approx(line[0], rel=1e-6)
    # White noise: neighbours are not alike.
    assert found.error == pytest.approx(covariance[0, 0] ** 0.5, rel=0.15)
    assert found.steps == later[-1].step - later[0].step


def test_the_error_of_growth_knows_that_neighbours_are_alike() -> None:
    """Slopes of random processes without growth scatter as their errors say."""
    rng = np.random.default_rng(1)
    ratios = []
    for _ in range(100):
        noise, memory = 0.0, []
        for _ in range(600):
            noise = 0.95 * noise + rng.normal(0, 100_000)
            memory.append(int(250 * MB + noise))
        found = soak.growth(samples_of(memory), "used")
        ratios.append(found.per_1000_steps / found.error)
    assert 0.8 < np.std(ratios) < 1.4


def test_warm_up_is_no_growth_and_what_the_collector_finds_at_last_hides_none() -> None:
    memory = [200 * MB + min(i, 99) * MB for i in range(400)]
    assert soak.growth(samples_of(memory), "used").per_1000_steps == 0
    memory = [(500 if i < 200 else 250) * MB + 10_000 * i for i in range(400)]
    found = soak.growth(samples_of(memory), "used")
    assert found.per_1000_steps == pytest.approx(10_000 / 0.1253, rel=1e-3)
    assert found.steps == pytest.approx(25_000, rel=0.01)


def test_too_few_samples_are_told() -> None:
    with pytest.raises(Fault, match="give it more minutes"):
        soak.growth(samples_of([MB] * 3), "used")


@pytest.mark.parametrize("name", ["used", "resident"])
@pytest.mark.parametrize("seed", range(3))
def test_one_array_of_100_kb_for_each_save_is_a_leak_and_the_collector_is_none(name: str, seed: int) -> None:
    """Also if it comes on top of what saving costs anyway, 0.4 MB in 1,000 steps."""
    samples = samples_of(collected(50_000, 1_200, np.random.default_rng(seed)))
    assert soak.leaks(samples) == []
    known = [replace(s, **{name: getattr(s, name) + 400 * s.step}) for s in samples]
    assert soak.leaks(known) == []
    leaking = [replace(s, **{name: getattr(s, name) + s.step // SAVE_EVERY * 100_000}) for s in known]
    assert [what.split(" by ")[0] for what in soak.leaks(leaking)] == [f"{name} memory grows"]


@pytest.mark.parametrize("name", ["descriptors", "threads"])
def test_one_descriptor_or_thread_for_each_save_is_a_leak_and_saves_are_none(name: str) -> None:
    rng = random.Random(0)
    samples = samples_of([MB] * 80, [6 + rng.choice([0, 0, 4, 20]) for _ in range(80)], steps=2_000)
    assert soak.leaks(samples) == []
    leaking = [replace(s, **{name: getattr(s, name) + s.step // SAVE_EVERY}) for s in samples]
    assert [what.split(" from ")[0] for what in soak.leaks(leaking)] == [f"{name} grow"]


def test_a_sample_counts_what_the_process_has(tmp_path: Path) -> None:
    told = tmp_path / "told"
    assert soak.sample(os.getpid(), 3, told) is None
    told.write_text(f"{12:20}\n")
    before = soak.sample(os.getpid(), 3, told)
    assert before is not None
    with open(os.devnull), mmap.mmap(-1, 32 * MB, mmap.MAP_PRIVATE) as ballast:  # no heap has this already
        ballast.write(b"1" * 32 * MB)
        after = soak.sample(os.getpid(), 3, told)
    assert after is not None
    assert (after.step, after.used, after.descriptors - before.descriptors) == (3, 12, 1)
    assert after.resident - before.resident > 0.9 * 32 * MB
    assert soak.sample(2**22 + 1, 0, told) is None


def test_bytes_in_use_are_those_that_were_not_given_back() -> None:
    before = bytes_in_use()
    ballast = [np.ones(5_000) for _ in range(100)]
    assert bytes_in_use() - before == pytest.approx(100 * ballast[0].nbytes, rel=0.1)
    del ballast
    assert bytes_in_use() - before == pytest.approx(0, abs=400_000)


def test_a_watched_command_tells_what_it_uses(tmp_path: Path) -> None:
    process = Runs(tmp_path).start("--version", told=tmp_path / "told")
    assert process.end(60)[0] == 0
    assert 1_000_000 < int((tmp_path / "told").read_text()) < 1_000_000_000


def test_the_last_step_is_that_of_the_last_whole_row(tmp_path: Path) -> None:
    assert soak.last_step(tmp_path) == 0
    with MetricsWriter(tmp_path, 0) as writer:
        for step in range(1, 200):
            writer.write(step, {f"train/{i}": 0.5 for i in range(10)})
    assert soak.last_step(tmp_path) == 199
    JUNK["figures cut"](tmp_path, random.Random(0))
    assert soak.last_step(tmp_path) == 199


def make_step(workdir: Path, step: int) -> Path:
    """A folder like that of a checkpoint, with its manifest."""
    folder = workdir / FOLDER / str(step)
    (folder / "meta").mkdir(parents=True)
    (folder / "weights").mkdir()
    (folder / "meta" / "metadata").write_text(json.dumps({"format": 4, "step": step}))
    (folder / "weights" / "data").write_bytes(random.Random(step).randbytes(200))
    (folder / "weights" / "nothing").touch()
    manifest.write(folder)
    return folder


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_one(name: str, tmp_path: Path) -> None:
    for seed in range(12):
        folder = make_step(tmp_path / str(seed), 7)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        assert DAMAGE[name](folder, random.Random(seed))
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} != before
        assert not (folder / manifest.NAME).exists() or manifest.fault(folder)


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_no_step_and_harms_none(name: str, tmp_path: Path) -> None:
    folder = make_step(tmp_path, 7)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    for seed in range(10):
        JUNK[name](tmp_path, random.Random(seed))
    assert {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert manifest.fault(folder) == ""
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [7]


def test_a_deck_deals_each_name_as_often_as_any_other() -> None:
    deck = Deck("abc", random.Random(0))
    rounds = ["".join(deck.deal() for _ in range(3)) for _ in range(30)]
    assert {"".join(sorted(one)) for one in rounds} == {"abc"}
    assert len(set(rounds)) == 6


def test_a_process_ends_with_a_code_and_without_a_traceback(tmp_path: Path) -> None:
    version = Runs(tmp_path).start("--version")
    assert version.end(60)[0] == 0
    soak._expect(version, 0)
    with pytest.raises(Fault, match="exit code 0, expected 75"):
        soak._expect(version, 75)
    unknown = Runs(tmp_path).start("no such command")
    assert unknown.end(60)[0] == 2
    with pytest.raises(Fault, match="but said 'trm: error'"):
        soak._expect(unknown, 2)
    with pytest.raises(Fault, match="still there after 0 s"):
        Runs(tmp_path).start("--version").end(0)


@dataclass
class Ended:
    """A run that has ended, as `Disturbed` sees it."""

    start: int | None
    trains: bool
    code: int = 75


def disturbed(workdir: Path) -> Disturbed:
    return Disturbed(Runs(workdir.parent), workdir, 1_000, Pace(1, 0.01), 0, random.Random(0))


def with_rows(workdir: Path, last: int) -> None:
    with MetricsWriter(workdir, 0) as writer:
        writer.write(last, {"train/loss": 1.0})


@pytest.mark.parametrize(
    ("steps", "rows", "process", "interval", "fault"),
    [
        ([200, 250], 250, Ended(200, True), 0, None),
        ([200], 200, Ended(None, False), 0, None),
        ([200], 250, Ended(None, False), 0, None),  # rows of the part before, of steps that it has lost
        ([200], 250, Ended(200, True), 0, "step 250 was reached, but step 200 is the newest"),
        ([200], 250, Ended(100, True), 0, "went on at step 100, but step 200 is"),
        ([100], 110, Ended(200, True), 0, "step 200 was reached, but step 100 is the newest"),
        ([200], 300, Ended(200, True), SAVE_EVERY, None),
        ([200], 340, Ended(200, True), SAVE_EVERY, "step 340 was reached, but step 200 is the newest"),
        ([200, "300.saving"], 400, Ended(200, True), SAVE_EVERY, None),
        ([200, "300.saving"], 410, Ended(200, True), SAVE_EVERY, "step 410 was reached"),
        ([200, 210, "300.saving"], 210, Ended(200, True), 0, "ended in order, but"),
    ],
)
def test_what_a_part_leaves_is_judged(steps, rows, process, interval, fault, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    for step in steps:
        make_step(workdir, step)
    with_rows(workdir, rows)
    if fault is None:
        disturbed(workdir)._look(process, 200, interval, "SIGTERM")
    else:
        with pytest.raises(Fault, match=fault):
            disturbed(workdir)._look(process, 200, interval, "SIGTERM")


def test_a_damaged_step_may_stay_only_until_a_run_has_begun(tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    make_step(workdir, 100)
    DAMAGE["bit flipped"](make_step(workdir, 200), random.Random(0))
    with_rows(workdir, 100)
    one = disturbed(workdir)
    with pytest.raises(Fault, match="checkpoint 200 is listed, but"):
        one._look(Ended(None, False), 100, 0, "SIGTERM")
    one._damaged.add(200)
    one._look(Ended(None, False), 100, 0, "SIGTERM")
    with pytest.raises(Fault, match="damaged and were not set aside"):
        one._look(Ended(100, False), 100, 0, "SIGTERM")


def test_moments_spread_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """1,000 steps of 10 ms and 100 parts of 1.8 s: on average 10 steps each, if they get to make any."""
    monkeypatch.setattr(soak.time, "monotonic", lambda: 0.0)
    one = Disturbed(Runs(tmp_path), tmp_path, 1_200, Pace(1, 0.01), 10 + 180, random.Random(0))
    moments = [one._moment(200) for _ in range(2_000)]
    later = [moment.step for moment in moments if moment.step is not None]
    assert 0.75 < len(later) / len(moments) < 0.85
    assert np.mean(later) == pytest.approx(209.5, abs=0.5)
    assert min(later) == 200
    assert all(0 <= moment.seconds <= 1 for moment in moments)
    late = Disturbed(Runs(tmp_path), tmp_path, 1_000, Pace(1, 0.01), 0, random.Random(0))
    assert late._moment(0) is not None  # a few parts there are in any case
    late.tally.events["SIGKILL"] = soak.LEAST_PARTS
    assert late._moment(0) is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """Writes finished runs of one state, changed as one says."""
    shapes, nothing = like(EXPERIMENT, ALONE)[0], no_metrics(EXPERIMENT, ALONE)
    state = jax.tree.map(lambda leaf: jnp.asarray(np.zeros(leaf.shape, leaf.dtype)), shapes)

    def write(ema: float = 0.0, loss: float = 0.0) -> Path:
        workdir = tmp_path_factory.mktemp("finished")
        average = jax.tree.map(lambda leaf: jnp.asarray(np.full(leaf.shape, ema, leaf.dtype)), state.ema)
        with Checkpoints(workdir) as checkpoints:
            changed = replace(state, ema=average, step=jnp.asarray(10, jnp.int32))
            checkpoints.save(changed, nothing | {"loss": jnp.asarray(loss)}, Meta(EXPERIMENT))
        with MetricsWriter(workdir, 0) as writer:
            writer.write(10, {"train/loss": 1.0, "time/puzzles_per_second": random.random()})
            writer.write(10, {"eval/exact_accuracy": 1.0})
        return workdir

    return write


def test_runs_are_compared_array_by_array_and_row_by_row(finished) -> None:
    plain, same = finished(), finished()
    assert soak.differences(same, plain) == []
    assert soak.differences(finished(ema=1e-7, loss=1.0), plain) == [
        "ema of the last checkpoints",
        "totals of the last checkpoints",
    ]
    with MetricsWriter(same, 10) as writer:
        writer.write(10, {"eval/exact_accuracy": 1.0})
    assert soak.differences(same, plain) == [
        "rows of figures, 3 rows against 2",
        "evaluations at steps [10], which are there more than once",
    ]
    (same / "metrics.jsonl").write_text('{"step": 9}\n{"step": 10, "eval/exact_accuracy": 1.0}\n')
    assert soak.differences(same, plain) == ["rows of figures, from step 9 on"]


@pytest.mark.slow
def test_a_short_soak_passes(tmp_path: Path) -> None:
    results = tmp_path / "soak.jsonl"
    words = ["--minutes=1", "--seed=1", f"--results={results}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads(results.read_text())
    assert row["faults"] == []
    assert sum(row[name] for name in soak.ENDS) >= 2
    assert row["steps"] >= soak.LEAST_STEPS
    assert row["seconds_after_a_signal_most"] < soak.EXIT_SECONDS
