"""A row tells what the folder of a run holds, and the file of an evaluation, if both are of the same weights."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from places import ROOT
from small_checkpoint import TOTALS, drawn_state

from trm_jax.config import Experiment, config_hash
from trm_jax.config.files import changed, experiment, read
from trm_jax.devices.machine import describe
from trm_jax.display.ledger import cells
from trm_jax.errors import CheckpointError, ConfigError, DataError, TrmError
from trm_jax.model.estimate import estimate
from trm_jax.runs import entry as entries
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.entry import Said, entry
from trm_jax.runs.ledger import append
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint

SHARE = {"value": 0.5, "low": 0.4, "high": 0.6}
GROWING = "latent_steps=1@0.2"
OURS = experiment(
    "demo:smoke",
    {"train.seed": 3, "optim.clip": 0.5, "train.curriculum": GROWING, "data.train": "/home/me/data/train.csv"},
)
POSITION = {"epoch": 1, "place": 0, "offset": 0, "fingerprint": "d" * 64}
MACHINES = [{"device": "one", "cores": 2}, {"device": "another", "cores": 4}]
METRICS = [
    {"step": 2, "time/puzzles_per_second": 0.008},
    {"step": 4, "time/puzzles_per_second": 0.004},
    {"step": 4, "eval/exact_accuracy": 0.5, "time/eval_seconds": 30_000.0},
    {"step": 6, "time/puzzles_per_second": 0.008},
    {"step": 8, "time/puzzles_per_second": 0.001},
    {"step": 8, "eval/exact_accuracy": 0.5, "time/eval_seconds": 60_000.0},
]
PARTS = [
    {"first": 0, "commit": "1" * 40, "machine": MACHINES[0], "last": 4, "peak_gib": 0.5},
    {"first": 4, "commit": "1" * 40, "machine": MACHINES[1]},
    {"first": 5, "commit": "2" * 40, "machine": MACHINES[0], "last": 7, "peak_gib": 0.25},
    {"first": 7, "commit": "3" * 40, "machine": {"device": "later"}, "last": 9, "peak_gib": 9.0},
]


REVEALING = replace(
    OURS,
    data=replace(OURS.data, reveal=0.5),
    init=replace(OURS.init, source="/home/me/runs/other", weights="e" * 64),
)


def save(run: Path, config: Experiment, step: int, best: bool = False) -> Path:
    """A run with a checkpoint of random weights, which differ from step to step."""
    with Checkpoints(run, best=best) as checkpoints:
        checkpoints.save(drawn_state(config, step, step), TOTALS, Meta(config, POSITION))
    return run


@pytest.fixture(autouse=True, scope="module")
def read_once() -> Iterator[None]:
    """Reading the same checkpoint again and again would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "load", cache(load))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demo in the folder `own`, saved at step 7, with figures and parts that go on after it."""
    folder = save(tmp_path_factory.mktemp("runs") / "own", OURS, 7)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in METRICS))
    (folder / "parts.jsonl").write_text("".join(json.dumps(part) + "\n" for part in PARTS))
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with revealed clues, saved at step 7, the best at step 5; it has neither figures nor parts."""
    folder = save(tmp_path_factory.mktemp("runs") / "bare", REVEALING, 7)
    return save(folder, REVEALING, 5, best=True)


@pytest.fixture(scope="module")
def facts(run: Path) -> dict[str, Any]:
    """What an evaluation of that run's average says of where it comes from."""
    _, weights = load(run)
    return {
        "command": f"trm eval {run} /home/me/test.csv --steps=1,16 --json=/home/me/out/figures.json",
        "commit": "4" * 40,
        "machine": MACHINES[0],
        "checkpoints": [str(run)],
        "weights": "averaged",
        "weights_sha256": fingerprint(weights),
        "config_sha256": config_hash(OURS),
        "data": "/home/me/test.csv",
        "data_sha256": "e" * 64,
        "split": "test",
        "peak_gib": 0.75,
        "puzzles": 20,
        "seconds": 1.25,
    }


SEARCH = {
    "search": "with a verifier",
    "budget": {"calls": 64, "seconds": 0.0, "chains": 8, "seed": 0},
    "thresholds": {"take_away_below": 0.05, "give_up_above": 0.6},
    "found": {"1": SHARE, "64": SHARE},
    "exact": SHARE,
    "first_call": SHARE | {"high": 0.7},
    "calls": 12.5,
}


def chains(attempts: int) -> dict[str, Any]:
    table = [
        {"supervision_steps": depth, "attempts": k, "exact": SHARE | {"high": 0.6 + k / 32}, "oracle": SHARE}
        for depth in (1, 16)
        for k in sorted({1, attempts})
    ]
    return {
        "effort": {"depths": [1, 16], "attempts": attempts, "halting": False, "seed": 0},
        "selection": "rules",
        "puzzle_ids": "own",
        "rows": [row for row in table if row["attempts"] == attempts],
        "table": table,
        "arc": None,
    }


Write = Callable[..., Path]


@pytest.fixture
def write(facts: dict[str, Any], tmp_path: Path) -> Write:
    """Writes a file of figures in which some facts are others; returns its path."""

    def call(figures: dict[str, Any], **changes: Any) -> Path:
        path = tmp_path / "figures.json"
        path.write_text(json.dumps(facts | figures | changes))
        return path

    return call


def test_a_run_tells_how_it_was_trained_up_to_its_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "_PFLOP", 1)  # or so few would be none
    row = entry(run, None, Said(beside="another run", note="a try"), ROOT)

    assert (row["experiment"], row["seed"], row["step"], row["note"]) == ("demo:smoke", 3, 7, "a try")
    changes = {"optim.clip": 0.5, "data.train": "train.csv", "train.seed": 3, "train.curriculum": GROWING}
    assert row["overrides"] == changes
    assert row["weight_count"] == estimate(OURS).trained
    trained = row["trained"]
    words = " ".join(f"--config.{key}={value}" for key, value in changes.items())
    assert trained["command"] == f"trm train --config=demo:smoke {words} --workdir=runs/own"
    assert trained["commits"] == ["1" * 40, "2" * 40]
    assert trained["machines"] == MACHINES
    assert trained["peak_gib"] == 0.5
    assert trained["puzzles"] == POSITION["fingerprint"]
    assert trained["rows"] == 7 * OURS.train.batch_size == 56
    # A step of n = 1 is six applications, one of n = 2 is nine; the first 4 of 20 steps are of n = 1.
    assert trained["pflop"] == (4 * 6 + 3 * 9) * estimate(OURS).flops_per_step / 9
    # 2 steps of 8 rows at 8 in 1,000 s, 2 at 4, the evaluation, 2 at 8, and one more, which no figure tells of.
    assert trained["hours"] == round((2 + 4 + 30 + 2 + 1) / 3.6, 3)
    assert trained["beside"] == "another run"
    assert "evaluated" not in row
    append(tmp_path / "ledger.jsonl", row, ROOT)


def test_the_command_of_a_row_gives_its_configuration(run: Path) -> None:
    row = entry(run, None, Said(), ROOT)
    assert config_hash(changed(read(row["experiment"]), row["overrides"])) == row["config"] == config_hash(OURS)


def test_single_chains_restarts_and_searches_stand_apart(run: Path, write: Write, tmp_path: Path) -> None:
    one = entry(run, write(chains(1)), Said(), ROOT)
    assert one["single"] == {"1": SHARE | {"high": 0.63125}, "16": SHARE | {"high": 0.63125}}
    assert not {"restarts", "search"} & one.keys()

    several = entry(run, write(chains(8)), Said(), ROOT)
    assert several["single"] == one["single"]
    exact = {"1": SHARE | {"high": 0.85}, "16": SHARE | {"high": 0.85}}
    assert several["restarts"] == {
        "attempts": 8, "selection": "rules", "exact": exact, "oracle": {"1": SHARE, "16": SHARE},
    }  # fmt: skip

    search = entry(run, write(SEARCH), Said(), ROOT)
    assert search["single"] == {"1": SHARE | {"high": 0.7}}
    assert search["search"] == {"found": SEARCH["found"], "exact": SHARE, "calls": 12.5}
    assert search["evaluated"]["how"] == SEARCH["budget"] | SEARCH["thresholds"]

    for row in (one, several, search):
        append(tmp_path / "ledger.jsonl", row, ROOT)


def test_an_evaluation_is_told_without_the_paths_of_ones_own_disk(run: Path, write: Write) -> None:
    evaluated = entry(run, write(chains(1)), Said(), ROOT)["evaluated"]
    assert evaluated["command"] == "trm eval runs/own test.csv --steps=1,16 --json=figures.json"
    assert evaluated["name"] == "test.csv"
    assert (evaluated["puzzles"], evaluated["sha256"], evaluated["seconds"]) == (20, "e" * 64, 1.2)

    command = f"trm eval {run}/checkpoints/7 {ROOT}/data/a.csv,../b.csv c/d.csv"
    evaluated = entry(run, write(chains(1), command=command), Said(), ROOT)["evaluated"]
    assert evaluated["command"] == "trm eval runs/own/checkpoints/7 data/a.csv,b.csv c/d.csv"


def test_the_weights_that_were_evaluated_are_found_and_else_the_best(bare: Path, write: Write) -> None:
    assert entry(bare, None, Said(), ROOT)["step"] == 5
    changes = {"config_sha256": config_hash(REVEALING)}
    for path, step in ((bare, 7), (bare / "checkpoints" / "7", 7), (bare / "checkpoints" / "best", 5)):
        changes |= {"checkpoints": [str(path)], "weights_sha256": fingerprint(load(path)[1])}
        row = entry(bare, write(chains(1), **changes), Said(), ROOT)
        assert (row["step"], row["weights"], row["averaged"]) == (step, changes["weights_sha256"], True)
    changes |= {"weights": "trained", "weights_sha256": fingerprint(load(bare, averaged=False)[1])}
    row = entry(bare, write(chains(1), **changes), Said(), ROOT)
    assert (row["step"], row["averaged"]) == (7, False)


def test_a_run_of_an_older_version_has_no_parts_and_a_person_says_what_is_known(bare: Path) -> None:
    trained = entry(bare, None, Said(), ROOT)["trained"]
    assert not {"commits", "machines", "peak_gib", "hours", "beside"} & trained.keys()
    trained = entry(bare, None, Said(commit="5" * 40, here=True), ROOT)["trained"]
    assert (trained["commits"], trained["machines"]) == (["5" * 40], [describe()])


def test_revealed_clues_are_told_without_being_asked(bare: Path) -> None:
    assert entry(bare, None, Said(), ROOT)["note"] == "revealed clues"
    assert entry(bare, None, Said(note="a try"), ROOT)["note"] == "revealed clues; a try"


def test_whose_weights_a_run_began_with_is_told_by_name_and_by_hash(bare: Path) -> None:
    row = entry(bare, None, Said(), ROOT)
    assert (row["overrides"]["init.source"], row["overrides"]["init.weights"]) == ("other", "e" * 64)
    assert f"--config.init.source=other --config.init.weights={'e' * 64}" in row["trained"]["command"]
    (_, (changes,)) = cells([row], ["changes"])
    assert ("init.source=other" in changes, "init.weights" in changes) == (True, False)


@pytest.mark.parametrize(
    ("changes", "error", "fault"),
    [
        ({"weights_sha256": "0" * 64}, CheckpointError, "has none of the weights that were evaluated"),
        ({"weights": "trained"}, CheckpointError, "has none of the weights that were evaluated"),
        ({"config_sha256": "0" * 64}, CheckpointError, "evaluated another configuration than that of"),
        ({"checkpoints": ["a", "b"]}, DataError, "2 checkpoints are pooled there"),
        ({"checkpoints": []}, DataError, "does not say which checkpoint"),
        ({"data_sha256": None}, DataError, "not what `trm eval --json` of this version writes"),
        ({"table": None}, DataError, "not the figures of an evaluation"),
        ({"table": [{"attempts": 1}]}, DataError, "not the figures of an evaluation: 'supervision_steps' is amiss"),
        ({"effort": 3}, DataError, "not the figures of an evaluation"),
        ({"seconds": "x"}, DataError, "not the figures of an evaluation"),
        ({"command": "trm eval '"}, DataError, "not the figures of an evaluation"),
    ],
)
def test_an_evaluation_of_something_else_is_refused(
    changes: dict[str, Any], error: type[TrmError], fault: str, run: Path, write: Write
) -> None:
    with pytest.raises(error) as refused:
        entry(run, write(chains(1), **changes), Said(), ROOT)
    assert fault in str(refused.value)


def test_figures_that_are_none_are_refused_by_the_ledger(run: Path, write: Write, tmp_path: Path) -> None:
    row = entry(run, write(SEARCH, found={"64": SHARE | {"low": 0.9}}), Said(), ROOT)
    with pytest.raises(DataError, match=r"search\.found is not shares with their intervals"):
        append(tmp_path / "ledger.jsonl", row, ROOT)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000])
def test_a_file_that_holds_no_figures_is_refused(content: str, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"figures\.json: (no JSON|not what)"):
        entry(run, path, Said(), ROOT)


@pytest.mark.parametrize("said", [Said(commit="5" * 40), Said(here=True)])
def test_what_a_run_has_recorded_nobody_says_again(said: Said, run: Path) -> None:
    with pytest.raises(ConfigError, match="has recorded that itself"):
        entry(run, None, said, ROOT)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        entry(tmp_path, None, Said(), ROOT)
