"""A run that was cut, at whatever step, is the run that never was: every bit of it, from the cut to the end.

Cuts are real signals. What an undisturbed run has is noted after each of its steps; what a cut one has is read from
its files.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from small_run import Row, experiment, figures

from trm_jax.config import Experiment
from trm_jax.data import dataset
from trm_jax.data.fit import resolve
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.devices.sharding import layout_of
from trm_jax.inference.evaluate import Evaluator
from trm_jax.runs import train as training
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.meta import Meta
from trm_jax.runs.train import Outcome, train
from trm_jax.runs.writers import MetricsWriter
from trm_jax.training import program
from trm_jax.training.program import like
from trm_jax.training.step import TrainState, init_state

STEPS, CUTS = 30, 10

# Variant -> what is other than in `small_run`.
VARIANTS: dict[str, dict[str, Any]] = {
    "bfloat16": {"model__dtype": "bfloat16"},
    "spread": {
        "devices__data": 4, "devices__weights": "sharded", "devices__puzzles": "streamed", "model__mixer": "attention",
        "model__heads": 2, "data__train_puzzles": 48, "train__log_every": 1,
    },
    "mixer": {"model__latent_steps": 2, "model__cycles": 2},
    "attention": {"model__mixer": "attention", "model__heads": 2, "model__positions": "rope", "model__cycles": 2,
                  "model__latent_steps": 2},
    "devices": {"devices__data": 4},
    "sharded": {"devices__data": 8, "devices__weights": "sharded"},
    "two steps in a call": {"devices__steps_per_call": 2, "train__steps": 29, "train__log_every": 4,
                            "train__save_every": 2},
    "streamed": {"devices__puzzles": "streamed", "data__augment": True, "data__side": 6},
    "many latents": {"model__latents": 2, "model__latent_steps": 3, "optim__min_ratio": 0.1},
    "curriculum": {"model__latent_steps": 2, "model__supervision_steps": 4,
                   "train__curriculum": "latent_steps=1+supervision_steps=2@0.3,supervision_steps=3@0.55"},
    "no table": {"model__puzzle_dim": 0, "model__puzzle_tokens": 0},
}  # fmt: skip
QUICK = ("bfloat16",)


@pytest.fixture(scope="module", autouse=True)
def lively_runs() -> Iterator[None]:
    """Every example has one of 64 puzzle ids, and the halting head is of two minds, as a fresh one is not."""
    load = dataset.load

    def with_ids(puzzles: PuzzleSet) -> PuzzleSet:
        return replace(puzzles, puzzle_ids=(np.arange(len(puzzles)) % 64).astype(np.int32), num_puzzles=64)

    def with_opinions(experiment: Experiment) -> TrainState:
        state = init_state(experiment)
        kernel = 3 * jax.random.normal(jax.random.key(1), state.weights.params["q_head"]["kernel"].shape)
        params = state.weights.params | {"q_head": {"kernel": kernel, "bias": jax.numpy.zeros(2)}}
        return replace(state, weights=replace(state.weights, params=params))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "load", lambda config, split, seed: with_ids(load(config, split, seed)))
        patch.setattr(program, "init_state", with_opinions)
        program._initialiser.cache_clear()
        yield
        program._initialiser.cache_clear()


@dataclass(frozen=True)
class Snapshot:
    """What a run has after a step: digests of all arrays by name, which rows are done, and where the next batch starts.

    steps, halted: of the carry.
    """

    arrays: Mapping[str, str]
    steps: NDArray[np.int32]
    halted: NDArray[np.bool_]
    position: Mapping[str, int]

    @classmethod
    def of(cls, state: TrainState, totals: Any, position: Mapping[str, int]) -> "Snapshot":
        leaves, _ = jax.tree_util.tree_flatten_with_path({"state": state, "totals": totals})
        arrays = {jax.tree_util.keystr(path): digest(np.asarray(leaf)) for path, leaf in leaves}
        carry = state.carry
        return cls(arrays, np.asarray(carry.steps), np.asarray(carry.halted), dict(position))


def digest(array: NDArray[Any]) -> str:
    return sha256(f"{array.dtype} {array.shape} ".encode() + array.tobytes()).hexdigest()


def assert_same(ours: Snapshot, theirs: Snapshot) -> None:
    """That all bits are equal; names the arrays of which some are not."""
    assert ours.arrays.keys() == theirs.arrays.keys()
    assert [name for name, value in ours.arrays.items() if value != theirs.arrays[name]] == []
    assert ours.position == theirs.position


@dataclass(frozen=True)
class Uncut:
    """A run that nothing disturbed.

    snapshots: after each step.
    rows: its figures, without times.
    """

    config: Experiment
    snapshots: Mapping[int, Snapshot]
    rows: list[Row]


def uncut_run(config: Experiment, workdir: Path) -> Uncut:
    snapshots: dict[int, Snapshot] = {}
    advance, last, reached = training.advance, config.train.steps, 0

    def noting(*call: Any) -> Any:
        nonlocal reached
        reached += call[2]
        state, totals, position, signs = advance(*call)
        # Sums that a row of figures was made of are not gone on with.
        told = reached % config.train.log_every == 0 or reached == last
        kept = {name: np.zeros((), np.float32) for name in totals} if told else totals
        place = {name: int(value) for name, value in position._asdict().items()}
        snapshots[reached] = Snapshot.of(state, kept, place)
        return state, totals, position, signs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "advance", noting)
        assert train(config, workdir).finished
    return Uncut(config, snapshots, figures(workdir))


_uncut: dict[str, Uncut] = {}


@pytest.fixture
def uncut(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Uncut:
    """Of the variant that a test names, or else the first; made once."""
    variant = getattr(request, "param", "bfloat16")
    if variant not in _uncut:
        _uncut[variant] = uncut_run(experiment(**VARIANTS[variant]), tmp_path_factory.mktemp("uncut"))
    return _uncut[variant]


def of_variants(*quick: str) -> pytest.MarkDecorator:
    """A test for each variant, of which those that are not named are slow."""
    values = [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
    return pytest.mark.parametrize("uncut", values, indirect=True)


def evaluated(workdir: Path) -> list[float | None]:
    """The steps of which there are rows of an evaluation."""
    return [row["step"] for row in figures(workdir) if "eval/exact_accuracy" in row]


def restored(workdir: Path, config: Experiment) -> tuple[TrainState, Any]:
    """State and sums of the newest checkpoint, on the devices of the experiment."""
    wanted = resolve(config, dataset.load(config.data, "train", config.train.seed))
    with Checkpoints(workdir) as checkpoints:
        state, totals = checkpoints.restore(*like(wanted, layout_of(wanted)))
    return state, totals


def saved(workdir: Path, config: Experiment) -> Snapshot:
    """The newest checkpoint, from its files."""
    position = {name: value for name, value in latest_meta(workdir).position.items() if name != "fingerprint"}
    return Snapshot.of(*restored(workdir, config), position)


def latest_meta(workdir: Path) -> Meta:
    with Checkpoints(workdir) as checkpoints:
        meta = checkpoints.latest_meta()
    assert meta is not None
    return meta


@contextmanager
def signal_in_step(step: int, first: int, number: int) -> Iterator[None]:
    """While entered, a signal comes in the call that leads to a step of a run, or past it, which begins at `first`."""
    reached, advance = first, training.advance

    def signalled(*call: Any) -> Any:
        nonlocal reached
        before, reached = reached, reached + call[2]
        if before < step <= reached:
            signal.raise_signal(number)
        return advance(*call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "advance", signalled)
        yield


@contextmanager
def signal_in_evaluation(number: int) -> Iterator[None]:
    """While entered, SIGTERM comes in the first, second ... evaluation, before it is done."""
    evaluate, begun = Evaluator.__call__, 0

    def evaluating(self: Evaluator, weights: Any, progress: Callable[[int], None], votes: Any = None) -> Any:
        nonlocal begun
        begun += 1

        def telling(done: int) -> None:
            if begun == number:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.3)  # the main thread, which hears it, looks every twentieth of a second
            progress(done)

        return evaluate(self, weights, telling, votes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluator, "__call__", evaluating)
        yield
    assert begun == number


def cut_run(config: Experiment, workdir: Path, step: int, first: int, number: int = signal.SIGTERM) -> Outcome:
    with signal_in_step(step, first, number):
        return train(config, workdir)


@of_variants(*QUICK)
def test_ten_cuts_leave_no_trace(uncut: Uncut, tmp_path: Path) -> None:
    """A chain of parts, each cut by a signal at a random step: what is saved then, and what all of it comes to."""
    config, at_once = uncut.config, uncut.config.devices.steps_per_call
    last = config.train.steps
    # The last step of a call is the one that is saved.
    cuts = sorted(min(cut * at_once, last) for cut in random.Random(20).sample(range(1, (last - 1) // at_once), CUTS))
    numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]
    first = 0
    for i, cut in enumerate(cuts):
        outcome = cut_run(config, tmp_path, cut, first, numbers[i % 3])
        assert (outcome.step, outcome.finished) == (cut, False)
        assert_same(saved(tmp_path, config), uncut.snapshots[cut])
        first = cut
    assert train(config, tmp_path).finished
    assert_same(saved(tmp_path, config), uncut.snapshots[last])
    assert figures(tmp_path) == uncut.rows
    # These were indeed the moments that matter: segments under way, and an epoch over since the cut before.
    half_way = [((uncut.snapshots[cut].steps > 0) & ~uncut.snapshots[cut].halted).any() for cut in cuts]
    assert sum(half_way) >= CUTS - 1
    assert any(uncut.snapshots[cut].halted.any() and not uncut.snapshots[cut].halted.all() for cut in cuts)
    assert len({uncut.snapshots[cut].position["epoch"] for cut in cuts}) >= 4
    if config.data.train_puzzles % config.train.batch_size == 0:
        assert any(uncut.snapshots[cut].position["place"] == 0 for cut in cuts), "an epoch has just ended"
    if config.train.log_every > 1:
        assert any(cut % config.train.log_every for cut in cuts), "sums of figures are under way"


@pytest.mark.slow
@of_variants("bfloat16")
def test_cuts_while_evaluating_leave_no_trace(uncut: Uncut, tmp_path: Path) -> None:
    """At every evaluation, at the first one twice: each is made once, before the next step, on the same weights."""
    config, last = uncut.config, uncut.config.train.steps
    evaluations = [*range(10, last, 10), last]
    for due, number in ((10, 1), (10, 1), *((due, 2) for due in evaluations[1:])):
        with signal_in_evaluation(number):
            outcome = train(config, tmp_path)
        assert (outcome.step, outcome.finished) == (due, False)
        assert latest_meta(tmp_path).evaluation_due
        assert_same(saved(tmp_path, config), uncut.snapshots[due])
        assert evaluated(tmp_path) == [step for step in evaluations if step < due]
    outcome = train(config, tmp_path)
    assert (outcome.finished, outcome.trained) == (True, False)
    assert_same(saved(tmp_path, config), uncut.snapshots[last])
    assert figures(tmp_path) == uncut.rows


@pytest.mark.slow  # a cut amid an evaluation, above, leaves the same checkpoint
@pytest.mark.parametrize("due", [10, STEPS])
def test_a_kill_after_a_late_evaluation_was_written_does_not_repeat_it(
    due: int, uncut: Uncut, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint says that an evaluation is due, and its row is there: so files are if the process dies then."""
    config = uncut.config
    assert cut_run(config, tmp_path / "run", due, 0).step == due
    assert latest_meta(tmp_path / "run").evaluation_due
    write = MetricsWriter.write

    def writing(self: MetricsWriter, step: int, values: Mapping[str, float]) -> None:
        write(self, step, values)
        if "eval/exact_accuracy" in values and not (tmp_path / "killed").exists():
            shutil.copytree(tmp_path / "run", tmp_path / "killed")

    with monkeypatch.context() as patch:
        patch.setattr(MetricsWriter, "write", writing)
        train(config, tmp_path / "run")
    killed = tmp_path / "killed"
    assert latest_meta(killed).evaluation_due
    assert saved(killed, config).arrays == uncut.snapshots[due].arrays
    evaluations, evaluate = [], Evaluator.__call__

    def evaluating(self: Evaluator, *arguments: Any) -> Any:
        evaluations.append(1)
        return evaluate(self, *arguments)

    monkeypatch.setattr(Evaluator, "__call__", evaluating)
    assert train(config, killed).finished
    assert len(evaluations) == (STEPS - due) // 10
    assert figures(killed) == uncut.rows
    assert_same(saved(killed, config), uncut.snapshots[STEPS])


@pytest.mark.slow
def test_a_part_of_a_run_may_save_and_log_at_other_steps(uncut: Uncut, tmp_path: Path) -> None:
    """What is harmless to change changes no bit of the state."""
    changes = VARIANTS["bfloat16"] | {
        "train__log_every": 7,
        "train__eval_every": 0,
        "train__save_every": 3,
        "train__keep_checkpoints": 1,
    }
    assert cut_run(experiment(**changes), tmp_path, 11, 0).step == 11
    assert cut_run(uncut.config, tmp_path, 23, 11).step == 23
    ours, theirs = saved(tmp_path, uncut.config), uncut.snapshots[23]
    assert {k: v for k, v in ours.arrays.items() if "state" in k} == {
        k: v for k, v in theirs.arrays.items() if "state" in k
    }
    assert ours.position == theirs.position


@pytest.fixture(scope="module")
def thirteen_steps_of_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four devices with weights in parts, stopped by a signal."""
    workdir = tmp_path_factory.mktemp("four")
    assert cut_run(experiment(**VARIANTS["spread"]), workdir, 13, 0).step == 13
    return workdir


@pytest.mark.slow  # tests/devices/test_sharding.py restores on other devices, and steps on them
@pytest.mark.parametrize("uncut", ["spread"], indirect=True)
@pytest.mark.parametrize(
    ("count", "weights"),
    [(2, "sharded"), (1, "replicated"), (4, "replicated"), (8, "replicated"), (8, "sharded")],
)
def test_other_devices_begin_with_the_same_bits_and_make_nearly_the_same_steps(
    count: int, weights: str, uncut: Uncut, thirteen_steps_of_four: Path, tmp_path: Path
) -> None:
    shutil.copytree(thirteen_steps_of_four, tmp_path, dirs_exist_ok=True)
    changes = {"devices__data": count, "devices__weights": weights, "train__steps": 18, "train__eval_every": 0}
    begun: list[Snapshot] = []
    advance = training.advance

    def noting(*call: Any) -> Any:
        if not begun:
            position = {name: int(value) for name, value in call[5]._asdict().items()}
            begun.append(Snapshot.of(call[3], call[4], position))
            found, wanted = jax.tree.leaves(call[3]), jax.tree.leaves(like(call[0], call[1])[0])
            assert all(one.sharding == other.sharding for one, other in zip(found, wanted, strict=True))
        return advance(*call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "advance", noting)
        assert train(experiment(**VARIANTS["spread"] | changes), tmp_path).finished
    assert_same(begun[0], uncut.snapshots[13])
    ours, theirs = ([row for row in rows if "train/loss" in row] for rows in (figures(tmp_path), uncut.rows))
    assert [row["step"] for row in ours] == [*range(1, 19)]
    losses = np.array([[row["train/loss"] for row in rows[13:18]] for rows in (ours, theirs)], np.float64)
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)


def test_what_is_compared_is_all_there_is(uncut: Uncut) -> None:
    """Every part of a state has arrays of its own, and all of them change on the way but those that never do."""
    first, last = uncut.snapshots[1].arrays, uncut.snapshots[STEPS - 1].arrays
    for part in ("step", "weights", "ema", "opt_state", "carry", "key", "skipped_in_a_row"):
        assert any(f".{part}" in name for name in first), part
    assert any("totals" in name for name in first)
    same = {name for name, value in first.items() if last[name] == value}
    still = ("starts", "key", "skipped", "loss_not_finite", "learning_rate", "exact_accuracy")
    assert [name for name in same if not any(word in name for word in still)] == []
