"""`trm eval` as a person meets it: the table, JSON, CSV and plot tell the same figures, and nonsense is one line."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import matplotlib.image
import numpy as np
import pytest

from trm_jax.commands.cli import main
from trm_jax.commands.report import _histogram, _print
from trm_jax.config import DataConfig, Experiment, ModelConfig, TrainConfig, config_hash
from trm_jax.data import dataset
from trm_jax.data.folder_writer import Writer
from trm_jax.data.identifiers import identifiers_of
from trm_jax.data.user_rules import load_rules
from trm_jax.devices.machine import describe
from trm_jax.errors import DataError
from trm_jax.inference.attempts import attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.evaluate import Evaluator
from trm_jax.inference.statistics import Calibration
from trm_jax.model.estimate import supervision_flops
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kinds import kind_of
from trm_jax.runs.checkpoint import Checkpoints, load
from trm_jax.runs.meta import Meta
from trm_jax.runs.named_arrays import fingerprint
from trm_jax.runs.parts import commit
from trm_jax.sizes import si

GRID = {"kind": "grid", "shape": [2, 3], "alphabet": "abcd", "symmetries": "fliplr rot180"}
CONFIG = ModelConfig(
    vocab_size=5, seq_len=6, num_puzzles=4, width=16, heads=2, expansion=1.0, layers=1, mixer="mlp", positions="none",
    puzzle_dim=16, puzzle_tokens=1, latent_steps=1, cycles=1, supervision_steps=3, dtype="float32",
)  # fmt: skip
MODEL = Model(CONFIG)
COUNT, DEPTH = 24, 6
RULES = """
def check(question, answer):
    print("a word of the user's")
    return answer[0] != answer[5]
"""

Files = Callable[..., tuple[str, dict[str, Any]]]


def random_weights(seed: int = 3) -> Weights:
    """Weights that were never trained, whose q_halt has either sign, and whose answers have little padding."""
    weights = jax.jit(MODEL.init)(jax.random.key(seed))
    kernel, table = jax.random.normal(jax.random.key(seed + 1), (16, 2)), jax.random.normal(jax.random.key(2), (4, 16))
    q_head = {"kernel": kernel, "bias": jax.numpy.zeros(2)}
    token_head = {"kernel": weights.params["token_head"]["kernel"].at[:, 0].set(0.0)}
    params = weights.params | {"q_head": q_head, "token_head": token_head}
    return replace(weights, params=params, puzzle_table=table)


def save(workdir: Path, weights: Weights, data: Path, puzzle: str) -> Path:
    experiment = Experiment("own", CONFIG, data=DataConfig(puzzle, str(data), str(data)), train=TrainConfig())
    with Checkpoints(workdir) as checkpoints:
        checkpoints.save_weights(weights, Meta(experiment))
    return workdir


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint `run`, the same as `tokens` without a kind, and `data`: what is right at some depths and in some
    cells; `bad` says nan, and `other` is another model."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(1)
    inputs = rng.integers(1, 5, (COUNT, 6)).astype(np.int32)
    ids = rng.integers(1, 4, COUNT).astype(np.int32)
    weights = random_weights()
    (found,) = attempt(MODEL, weights, Effort(tuple(range(1, DEPTH + 1))), inputs, ids, COUNT)
    right_at = np.minimum(np.arange(COUNT) % 10, DEPTH - 1)
    labels = found.answers[np.arange(COUNT), 0, right_at].astype(np.int32)
    labels[::4, 2] = labels[::4, 2] % 4 + 1
    labels[1:9, 3] = 0
    labels[labels[:, 0] == labels[:, 5], 5] = 0  # no answer that is known breaks RULES
    for name, puzzle in (("data", GRID), ("plain", None)):
        with Writer(folder / name, 6, 5, puzzle=puzzle) as writer:
            # Three puzzles are one task.
            for i in range(0, COUNT, 3):
                writer.split("test").add(inputs[i : i + 3], labels[i : i + 3], [1, 1, 1], ids[i : i + 3])
            writer.finish(["<blank>", "one", "two", "three"])
    save(folder / "run", weights, folder / "data", json.dumps(GRID))
    save(folder / "tokens", weights, folder / "plain", "tokens")
    bad = replace(weights, params=weights.params | {"tokens": weights.params["tokens"] * np.nan})
    save(folder / "bad", bad, folder / "data", json.dumps(GRID))
    (folder / "rules.py").write_text(RULES)
    return folder


@pytest.fixture
def run_eval(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Files:
    """Runs `trm eval` with these arguments; returns what it printed and the JSON."""

    def call(*arguments: str, run: str = "run") -> tuple[str, dict[str, Any]]:
        path = tmp_path / "report.json"
        capsys.readouterr()
        code = main(["eval", "--devices=1", str(place / run), *arguments, "--batch-size=7", "--json", str(path)])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out, json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    return call


def table(lines: list[str], first: str) -> list[list[str]]:
    """The rows of the table whose header begins with a word; columns are two spaces or more apart."""
    start = next(i for i, line in enumerate(lines) if line.split()[:1] == [first])
    end = next((i for i in range(start, len(lines)) if not lines[i].strip()), len(lines))
    return [[cell.strip() for cell in line.strip().split("  ") if cell] for line in lines[start:end]]


def test_the_example_is_right_here_and_wrong_there(run_eval: Files) -> None:
    _, report = run_eval("--steps=1,2,3,4,5,6")
    shares = [row["exact"]["value"] for row in report["rows"]]
    assert len(set(shares)) >= 3, shares
    assert min(shares) > 0, shares
    assert max(shares) < 0.8, shares
    assert all(report["halting"][step] for step in (0, 1, -1)), report["halting"]


@pytest.mark.slow  # tests/inference/test_by_rules.py looks at the figures
def test_puzzles_without_answers_are_judged_by_the_rules(
    place: Path, run_eval: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    puzzles = dataset.read_folder(place / "data", "test")
    kind = kind_of(json.dumps(GRID), 6, load_rules(place / "rules.py"))
    texts = [kind.text(row) for row in np.asarray(puzzles.inputs)]
    path, rules = tmp_path / "open.csv", ["--rules", str(place / "rules.py")]
    path.write_text("\n".join(["task;ask", *(f"{i};{text}" for i, text in enumerate(texts))]) + "\n")
    words = ["--steps=1,3", "--attempts=2", "--latent-noise=0.5", "--select=change"]

    out, report = run_eval(str(path), *rules, *words, "--columns=ask")

    effort = Effort((1, 3), attempts=2, latent_noise=0.5)
    (found,) = attempt(MODEL, random_weights(), effort, np.asarray(puzzles.inputs), np.zeros(COUNT, np.int32), COUNT)
    asked = np.broadcast_to(np.asarray(puzzles.inputs)[:, None, None], found.answers.shape).reshape(-1, 6)
    kept = kind.satisfied(asked, found.answers.reshape(-1, 6)).reshape(COUNT, 2, 2)
    chosen = np.stack([found.change[:, :, depth - 1].argmin(axis=1) for depth in (1, 3)], axis=1)
    valid = np.take_along_axis(kept, chosen[:, None], axis=1)[:, 0].mean(axis=0)
    certified = [kept[:, :, :1].any(axis=(1, 2)).mean(), kept.any(axis=(1, 2)).mean()]
    assert 0 < valid.min() < valid.max() < 1
    rows = report["rows"]
    assert [row["supervision_steps"] for row in rows] == [1, 3]
    np.testing.assert_allclose([row["valid"]["value"] for row in rows], valid)
    np.testing.assert_allclose([row["certified"]["value"] for row in rows], certified)
    assert rows[0]["certified"]["value"] < rows[1]["certified"]["value"]
    lines = out.splitlines()
    assert lines[0].startswith(f"{COUNT} puzzles without answers, judged by the rules, ")
    assert [row[0] for row in table(lines, "steps")][:3] == ["steps", "1", "3"]

    run = ["eval", "--devices=1", str(place / "run"), str(path)]
    for more, expected in (
        ([], f"{path}: row 1, column question: is missing; the header has 'task', 'ask': say with --columns which"),
        (
            ["--columns=ask"],
            f"none of {COUNT} puzzles has an answer to compare with, and no rules are known to judge by",
        ),
        (["--columns=ask", *rules, f"--table={tmp_path / 't.csv'}"], "--table needs puzzles with their answers, and"),
        (["--columns=ask", *rules, "--puzzle-ids=blank"], "--puzzle-ids needs puzzles with their answers, and these"),
    ):
        assert main([*run, *more]) == 2
        assert f"trm: error: {expected}" in capsys.readouterr().err
    assert main([*run[:3], str(place / "data"), "--columns=ask"]) == 2
    assert "no table, and --columns are of tables: leave it out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("halting", "with_rules"),
    [
        (["--halting"], True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (([], False), ([], True), (["--halting"], False))),
    ],
)
def test_the_table_on_standard_output_has_the_figures_of_the_report(
    halting: list[str], with_rules: bool, place: Path, run_eval: Files
) -> None:
    rules = ["--rules", str(place / "rules.py")] if with_rules else []

    out, report = run_eval("--steps=6,1,2", *halting, *rules)

    lines = out.splitlines()
    assert lines[0] == f"24 puzzles of 8 tasks, {report['seconds']:.1f} s, averaged weights"
    header, *rows = table(lines, "steps")
    assert header == [
        "steps", "exact (95 % interval)", *["valid"] * with_rules, "cells", "q right", "halted", "FLOP a puzzle"
    ]  # fmt: skip
    assert [row["supervision_steps"] for row in report["rows"]] == [1, 2, 6]
    for shown, row in zip(rows, report["rows"], strict=True):
        exact = row["exact"]
        assert shown == [
            str(row["supervision_steps"]),
            f"{exact['value']:.2%} ({exact['low']:.1%} to {exact['high']:.1%})",
            *([f"{row['satisfied']['value']:.2%}"] if with_rules else []),
            f"{row['cells']['value']:.2%}",
            f"{row['q_right']:.2%}",
            f"{row['halted']:.2%}",
            si(row["flops"]),
        ]
        assert row["flops"] == row["steps"] * supervision_flops(CONFIG)
    counts = report["halting"]
    parts = [f"{step}: {count / COUNT:.1%}" for step, count in enumerate(counts[:-1], 1) if count]
    assert lines[-2] == f"halting (first attempts): at step {', '.join(parts)}; never {counts[-1] / COUNT:.1%}"
    figures = report["calibration"]
    assert lines[-1] == (
        f"q as confidence: AUROC {figures['auroc']:.3f}, expected calibration error {figures['expected_error']:.3f}"
    )
    assert "user's" not in out


def test_what_no_figure_can_say_is_said_in_words(run_eval: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = Calibration(None, 0.25, ())
    monkeypatch.setattr("trm_jax.inference.evaluate.calibration", lambda *_: alike)
    monkeypatch.setattr(
        "trm_jax.commands.report._print", lambda made, asked: _print(replace(made, unlabelled=3), asked)
    )
    out, report = run_eval("--steps=6", "--halt-above=1000")
    lines, wrong = out.splitlines(), report["rows"][-1]["exact"]["value"] < 0.5
    answers, q = ("wrong", "doubts") if wrong else ("right", "trusts")

    assert lines[1] == "3 of them have no labelled cell: exact, cells and q right leave them out"
    assert lines[-3:] == [
        "halting (first attempts): none in 6 steps, as q_halt never rose above 1000",
        "q as confidence: AUROC undefined (it compares right answers with wrong ones), "
        "expected calibration error 0.250",
        f"all answers are {answers}: q right is the share of them that q_halt {q}, and says no more",
    ]


@pytest.mark.parametrize(
    ("arguments", "effort", "selection"),
    [
        pytest.param(["--steps=1,4"], Effort((1, 4)), "q", marks=pytest.mark.slow),
        pytest.param(["--steps=5", "--halting"], Effort((5,), halting=True), "q", marks=pytest.mark.slow),
        (["--steps=5", "--halting", "--halt-above=1.5"], Effort((5,), halting=True, halt_above=1.5), "q"),
        (
            ["--steps=2,4", "--attempts=3", "--start-noise=0.5", "--latent-noise=0.25", "--seed=7", "--select=vote"],
            Effort((2, 4), attempts=3, start_noise=0.5, latent_noise=0.25, seed=7), "vote",
        ),
        pytest.param(
            ["--attempts=2", "--symmetries"], Effort((3,), attempts=2, symmetries=True), "q", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_json_holds_all_that_an_evaluator_says(
    arguments: list[str], effort: Effort, selection: Any, place: Path, run_eval: Files
) -> None:
    experiment, weights = load(place / "run")
    puzzles = dataset.load_named(experiment, "", "test", 0)
    kind = kind_of(experiment.data.puzzle, 6)
    expected = Evaluator(MODEL, puzzles, 7, effort, kind, selection)(weights).to_dict()

    _, report = run_eval(*arguments)

    assert report.pop("checkpoints") == [str(place / "run")]
    assert report.pop("weights") == "averaged"
    assert report.pop("data") == str(place / "data")
    assert report.pop("split") == "test"
    assert report.pop("command").startswith(f"trm eval --devices=1 {place / 'run'} ")
    assert report.pop("weights_sha256") == fingerprint(weights)
    assert report.pop("config_sha256") == config_hash(experiment)
    assert report.pop("data_sha256") == puzzles.fingerprint
    assert report.pop("machine") == describe()
    assert report.pop("commit") == commit()
    assert report.pop("peak_gib") > 0
    assert report.pop("seconds") > 0
    del expected["seconds"]
    assert report == json.loads(json.dumps(expected))
    assert (report["puzzles"], report["tasks"]) == (COUNT, 8)
    assert sum(report["halting"]) == sum(count for count, _, _ in report["calibration"]["bins"]) == COUNT
    for row in report["table"]:
        for name in ("exact", "cells", "oracle"):
            assert 0 <= row[name]["low"] <= row[name]["value"] <= row[name]["high"] <= 1


@pytest.mark.parametrize("with_rules", [pytest.param(False, marks=pytest.mark.slow), True])
def test_the_csv_table_reads_back_as_the_json_table(
    with_rules: bool, place: Path, tmp_path: Path, run_eval: Files
) -> None:
    path = tmp_path / "table.csv"
    rules = ["--rules", str(place / "rules.py")] if with_rules else []

    _, report = run_eval("--steps=1,3", "--attempts=4", "--latent-noise=0.5", "--table", str(path), *rules)

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report["table"]) == 2 * (1 + 2 * (4 + with_rules))
    for read, row in zip(rows, report["table"], strict=True):
        flat: dict[str, str] = {}
        for name, value in row.items():
            if isinstance(value, dict):
                flat |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            elif value is not None:
                flat[name] = value
        assert read == {name: str(value) for name, value in flat.items()}
        assert ("satisfied" in read) == with_rules


@pytest.mark.parametrize(
    "variation",
    [
        ["--symmetries", "--latent-noise=1"],
        *(
            pytest.param([v], marks=pytest.mark.slow)
            for v in ("--start-noise=0.5", "--latent-noise=0.5", "--symmetries")
        ),
    ],
)
def test_attempts_have_a_table_by_number_and_by_what_chooses(
    variation: list[str], place: Path, run_eval: Files
) -> None:
    plain = run_eval("--steps=2,5")[1]["rows"]

    out, report = run_eval("--steps=2,5", "--attempts=5", *variation, "--rules", str(place / "rules.py"))

    lines = out.splitlines()
    assert "5 attempts, of which one is chosen by 'rules'" in lines
    assert "after 5 steps, by what chooses among the attempts (oracle: any of them is right)" in lines
    header, *rows = table(lines, "attempts")
    assert header == ["attempts", "change", "first", "q", "rules", "vote", "oracle"]
    assert [row[0] for row in rows] == ["1", "2", "4", "5"]
    by_key = {(row["attempts"], row["selection"]): row for row in report["table"] if row["supervision_steps"] == 5}
    for number, *shares, oracle in rows:
        for name, shown in zip(header[1:-1], shares, strict=True):
            row = by_key[int(number), name if number != "1" else "only"]
            assert shown == f"{row['exact']['value']:.2%}"
            assert oracle == f"{row['oracle']['value']:.2%}"
    # The first attempt is the plain one, whatever the others are; and these are others.
    assert by_key[1, "only"]["exact"] == plain[1]["exact"]
    assert len({by_key[5, name]["cells"]["value"] for name in header[1:-1]}) >= 3
    assert by_key[5, "q"]["flops"] == 5 * plain[1]["flops"]


@pytest.mark.parametrize(
    "rule", ["change", *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("first", "q", "vote", "rules"))]
)
def test_the_rows_are_those_of_the_selection_asked_for(rule: str, place: Path, run_eval: Files) -> None:
    out, report = run_eval(
        "--steps=1,4", "--attempts=4", "--latent-noise=1", f"--select={rule}", "--rules", str(place / "rules.py")
    )

    assert f"4 attempts, of which one is chosen by {rule!r}" in out.splitlines()
    assert report["selection"] == rule
    assert report["rows"] == [row for row in report["table"] if row["attempts"] == 4 and row["selection"] == rule]
    assert [row["supervision_steps"] for row in report["rows"]] == [1, 4]


def test_rules_choose_where_there_are_any_and_q_elsewhere(place: Path, run_eval: Files) -> None:
    several = ["--steps=3", "--attempts=3", "--latent-noise=1"]

    assert run_eval(*several)[1]["selection"] == "q"
    report = run_eval(*several, "--rules", str(place / "rules.py"))[1]
    assert report["selection"] == "rules"
    (row,) = report["rows"]
    others = [other for other in report["table"] if other["attempts"] == 3]
    assert row["satisfied"]["value"] == max(other["satisfied"]["value"] for other in others)


def test_halting_costs_less_and_says_when(run_eval: Files) -> None:
    whole, halted = run_eval("--steps=1,6")[1], run_eval("--steps=1,6", "--halting")[1]

    assert halted["halting"] == whole["halting"]
    stops = [*range(1, 7), 6]
    assert halted["rows"][1]["steps"] == pytest.approx(np.dot(stops, whole["halting"]) / COUNT)
    assert halted["rows"][1]["flops"] < whole["rows"][1]["flops"]
    assert halted["rows"][0] == whole["rows"][0]
    patient = run_eval("--steps=6", "--halting", "--halt-above=1")[1]
    assert patient["rows"][0]["steps"] > halted["rows"][1]["steps"]
    assert sum(patient["halting"][:-1]) < sum(halted["halting"][:-1])


def test_many_steps_of_halting_stay_on_one_line() -> None:
    assert _histogram([0, 3, 0, 1]) == "at step 2: 75.0%"
    assert _histogram([0, 0, 4]) == "none"
    assert _histogram([2] * 6 + [8]) == "at step " + ", ".join(f"{step}: 10.0%" for step in range(1, 7))
    counts = np.arange(41)
    text = _histogram(counts.tolist())
    assert text.startswith("at step 2: 0.1%, 3-4: 0.6%, 5-8: 2.7%, 9-16: ")
    shares = [float(part.split(": ")[1].removesuffix("%")) for part in text.removeprefix("at step ").split(", ")]
    for share, (low, high) in zip(shares, pairwise([1, 2, 4, 8, 16, 32, 40]), strict=True):
        assert share == pytest.approx(100 * counts[low:high].sum() / counts.sum(), abs=0.06)


def test_a_race_is_told_for_all_attempts_together(run_eval: Files) -> None:
    several = ["--steps=6", "--attempts=4", "--latent-noise=1", "--halting", "--batch-size=96"]
    free, (out, race) = run_eval(*several)[1], run_eval(*several, "--race")

    assert {row["attempts"] for row in race["table"]} == {4}
    assert {row["attempts"] for row in free["table"]} == {1, 2, 4}
    assert race["rows"][0]["steps"] < free["rows"][0]["steps"]
    assert [row[0] for row in table(out.splitlines(), "attempts")] == ["attempts", "4"]
    assert "; stopped by another, or never " in out


def test_puzzle_ids_can_be_others(run_eval: Files) -> None:
    reports = {name: run_eval("--steps=1,4", f"--puzzle-ids={name}") for name in ("own", "blank", "random")}

    for name, (out, report) in reports.items():
        assert report["puzzle_ids"] == name
        assert (f"puzzle ids: {name}, not the puzzles' own" in out.splitlines()) == (name != "own")
    assert len({json.dumps(report["rows"]) for _, report in reports.values()}) == 3


def test_a_limit_and_other_puzzles(place: Path, run_eval: Files) -> None:
    out, report = run_eval(str(place / "plain"), "--limit=7", "--trained-weights")

    assert out.startswith("7 puzzles of 3 tasks, ")
    assert out.splitlines()[0].endswith("trained weights")
    assert (report["data"], report["weights"], report["puzzles"]) == (str(place / "plain"), "trained", 7)


@pytest.mark.parametrize("command", ["eval", "solve", "convert"])
def test_weights_that_have_diverged_are_refused(
    command: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise they answer padding alone, and q is right about all of it."""
    words = {"eval": [], "solve": ["abcdab"], "convert": [str(tmp_path / "weights.safetensors")]}[command]

    assert main([command, str(place / "bad"), *words]) == 2

    _, err = capsys.readouterr()
    assert err == (
        f"trm: error: {place / 'bad'}: weights that no model can use: params.tokens holds 80 of 80 values that are NaN "
        f"or infinite: name an earlier step, {place / 'bad'}/checkpoints/STEP\n"
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--steps=1,4", "--attempts=4", "--latent-noise=1"],
        pytest.param(["--steps=1,2,4"], marks=pytest.mark.slow),
        pytest.param(["--steps=1,2,4", "--attempts=8", "--latent-noise=0.5"], marks=pytest.mark.slow),
    ],
)
def test_a_plot_is_a_picture(arguments: list[str], tmp_path: Path, run_eval: Files) -> None:
    path = tmp_path / "plot.png"

    run_eval(*arguments, "--plot", str(path))

    height, width, _ = matplotlib.image.imread(path).shape
    assert 300 < height < 1200
    assert 600 < width < 2000


# ---- what is refused ----

SEVERAL = ["--attempts=2", "--latent-noise=1"]


@pytest.mark.parametrize(
    ("run", "arguments", "expected"),
    [
        (
            "run", ["--attempts=2"],
            "2 attempts would all be the same: let them differ by --start-noise, --latent-noise or --symmetries",
        ),
        ("run", ["--attempts=5000", "--symmetries"], "--attempts 5000: give 1 to 4096"),
        ("run", ["--steps=1000000000"], "1000000000 supervision steps: give at most 65536"),
        ("run", ["--race", *SEVERAL], "--race ends all attempts when one of them halts: give --halting with it"),
        ("run", ["--race", "--halting"], "--race is between attempts at a puzzle: give --attempts of at least 2"),
        ("run", ["--symmetries"], "the first attempt has neither noise nor symmetries: give --attempts of at least 2"),
        ("run", ["--start-noise=1"], "the first attempt has neither noise nor symmetries: give --attempts of at"),
        ("run", ["--latent-noise=-1"], "argument --latent-noise: '-1' is no standard deviation: give a number from 0"),
        (
            "run", ["--select=rules", *SEVERAL],
            "--select rules: no rules are known for puzzles of kind 'grid': give some with --rules FILE, or choose",
        ),
        (
            "tokens", ["--select=rules", *SEVERAL],
            "--select rules: no rules are known for puzzles of kind 'tokens': choose another selection",
        ),
        ("run", ["--select=votes", *SEVERAL], "--select=votes is unknown: did you mean 'vote'?"),
        (
            "tokens", ["--symmetries", "--attempts=2"],
            "--symmetries: none are known for puzzles of kind 'tokens': let attempts differ by noise instead",
        ),
        ("tokens", ["--rules", "RULES"], "puzzles of kind 'tokens' take no --rules: only those of kind 'grid' do"),
        ("run", ["--rules", "nowhere.py"], "--rules nowhere.py: no such file"),
        ("run", ["--pool", "RUN"], "--pool adds up the votes of checkpoints on ARC test puzzles: these are none"),
        ("run", ["--submission", "x.json"], "--submission writes answers to ARC test puzzles: these are none"),
        ("run", ["--puzzle-ids=none"], "argument --puzzle-ids: invalid choice: 'none'"),
        ("run", ["--table=no/x.csv"], "argument --table: no/x.csv cannot be written: there is no folder no"),
        ("run", ["--plot=no/x.png"], "argument --plot: no/x.png cannot be written: there is no folder no"),
    ],
)  # fmt: skip
def test_nonsense_is_one_line(
    run: str, arguments: list[str], expected: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(place / "run"), "RULES": str(place / "rules.py")}

    code = main(["eval", "--devices=1", str(place / run), *(names.get(word, word) for word in arguments)])

    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert err.startswith(f"trm: error: {expected}"), err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_missing_matplotlib_is_told_before_the_work(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> None:
        raise DataError('pictures need matplotlib: pip install "trm_jax[viz]"')

    monkeypatch.setattr("trm_jax.commands.report.new_figure", missing)
    monkeypatch.setattr("trm_jax.inference.evaluate.attempt", lambda *_: pytest.fail("worked first"))

    assert main(["eval", "--devices=1", str(place / "run"), f"--plot={tmp_path / 'x.png'}"]) == 2
    assert capsys.readouterr().err == 'trm: error: pictures need matplotlib: pip install "trm_jax[viz]"\n'


@pytest.mark.parametrize("option", [pytest.param("--json", marks=pytest.mark.slow), "--table"])
def test_a_full_disk_is_one_line(option: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--devices=1", str(place / "run"), option, "/dev/full"]) == 2
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == "trm: error: /dev/full: cannot be written: No space left on device"


@pytest.mark.parametrize("command", [pytest.param("eval", marks=pytest.mark.slow), "solve"])
def test_a_dataset_with_other_puzzles_under_its_ids_is_refused(
    command: str, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one of ARC that was built with another seed."""
    experiment, weights = load(place / "run")
    known = identifiers_of(dataset.read_folder(place / "data", "test"))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_weights(weights, Meta(experiment, identifiers=known))
    shutil.copytree(place / "data", tmp_path / "data")
    words = [command, str(tmp_path / "run"), *(["--data"] if command == "solve" else []), str(tmp_path / "data")]
    assert main(words) in (0, 1)
    (tmp_path / "data" / "identifiers.json").write_text(json.dumps(["<blank>", "one", "three", "two"]))
    capsys.readouterr()

    assert main(words) == 2

    assert capsys.readouterr().err == (
        f"trm: error: {tmp_path / 'data'}: puzzle id 2 is 'three' here and was 'two' in training, so the model's "
        "puzzle table does not speak of these puzzles: give the dataset that it was trained on\n"
    )


@pytest.mark.parametrize("command", ["eval", "train", "solve"])
def test_a_dataset_of_another_encoding_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Digits from 1 and the blank 0: answers of a right model would all be wrong."""
    kind = kind_of("sudoku", 16)
    question, answer = (kind.parse(text)[None] - 1 for text in ("1...3...2...4...", "1234341221434321"))
    with Writer(tmp_path / "data", 16, 6, puzzle=None) as writer:
        for split in ("train", "test"):
            writer.split(split).add_singles(question, answer)
        writer.finish()
    config = replace(CONFIG, vocab_size=6, seq_len=16, num_puzzles=1)
    experiment = Experiment(model=config, data=DataConfig("sudoku"))
    shapes = jax.eval_shape(Model(config).init, jax.random.key(0))
    weights = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    if command == "train":
        words = ["--config=sudoku_mlp:smoke", "--config.model.seq_len=16", "--config.model.vocab_size=6"]
        words += [f"--config.data.train={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"]
    else:
        with Checkpoints(tmp_path / "run") as checkpoints:
            checkpoints.save_weights(weights, Meta(experiment))
        words = [str(tmp_path / "run"), *(["--data"] if command == "solve" else []), str(tmp_path / "data")]

    assert main([command, *words]) == 2

    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .startswith(f"trm: error: {tmp_path / 'data'}: every token is 1 too low for puzzles of kind 'sudoku': build")
    )


def test_a_set_without_labels_is_not_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = kind_of("sudoku", 16).parse("1...3...2...4...")[None]
    with Writer(tmp_path / "data", 16, 6, puzzle=None) as writer:
        writer.split("train").add_singles(question, np.zeros_like(question))
        writer.finish()
    words = ["--config=sudoku_mlp:smoke", "--config.model.seq_len=16", "--config.model.vocab_size=6"]
    assert main(["train", *words, f"--config.data.train={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"]) == 2
    told = f"trm: error: {tmp_path / 'data'}: none of its 1 puzzles has a labelled cell, so there is nothing to learn"
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)


def test_rules_that_fail_are_told_with_their_line(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "failing.py"
    path.write_text("def check(question, answer):\n    return answer[99] == question\n")

    assert main(["eval", "--devices=1", str(place / "run"), "--rules", str(path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"trm: error: --rules {path}: check failed: IndexError (line 2): string index out of range"
    )
    assert load_rules(place / "rules.py")("aaaaab", "aaaaab")


def test_a_question_that_is_none_is_told_by_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not every row of a folder is judged when it is read: a maze without a start is found by its rules."""
    maze = {"kind": "maze", "shape": [2, 3]}
    config = replace(CONFIG, vocab_size=6, num_puzzles=1, puzzle_dim=0, puzzle_tokens=0)
    # Walls are 1, free 2, start 3, goal 4, path 5.
    inputs = np.tile(np.array([3, 2, 4, 1, 1, 1], np.int32), (40, 1))
    labels = np.where(inputs == 2, 5, inputs)
    inputs[1, 0] = 2
    with Writer(tmp_path / "data", 6, 6, puzzle=maze) as writer:
        writer.split("test").add_singles(inputs, labels)
    experiment = Experiment(model=config, data=DataConfig(json.dumps(maze), test=str(tmp_path / "data")))
    with Checkpoints(tmp_path / "run") as checkpoints:
        checkpoints.save_weights(jax.jit(Model(config).init)(jax.random.key(0)), Meta(experiment))

    assert main(["eval", "--devices=1", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "trm: error: row 2: puzzle: exactly one start S is needed, but 0 found"
    )
    assert main(["eval", "--devices=1", str(tmp_path / "run"), "--limit=1"]) == 0
