"""The command line: every command does its work, and what is wrong is told in one line and leaves no trace."""

import argparse
import functools
import hashlib
import io
import json
import os
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import matplotlib.image
import numpy as np
import pytest
from places import TESTDATA
from small_run import SMALL_DEMO
from written_folder import write

from trm_jax.commands import cli, parser
from trm_jax.commands.arguments import csv_file, gif_file, json_file, load_experiment, output_file, png_file
from trm_jax.commands.cli import _sized, main
from trm_jax.config import Experiment
from trm_jax.config.mappings import flat
from trm_jax.errors import ConfigError
from trm_jax.runs.train import Outcome
from trm_jax.runs.writers import read_metrics
from trm_jax.training import costs
from trm_jax.version import VERSION

DEMO = SMALL_DEMO[0]
PUZZLE, SOLVED = "12..341.21434321", "1234341221434321"
EASY_9X9 = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
EASY_9X9_ANSWER = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after three steps."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *SMALL_DEMO, "--config.train.eval_every=3", f"--workdir={folder}"]) == 0
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Runs a command that has to fail cleanly, in `tmp_path` with "run" for the workdir; returns what it said."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        before, here = contents(workdir), contents(tmp_path)
        capsys.readouterr()
        code = main([str(workdir) if argument == "run" else argument for argument in arguments])
        out, err = capsys.readouterr()
        assert code == 2, err
        assert out == ""
        assert err.startswith("trm: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert contents(workdir) == before
        assert contents(tmp_path) == here
        return err.removeprefix("trm: error: ").strip()

    return call


# ---- what works ----


@pytest.mark.parametrize("words", [[], ["data"], ["ledger"]])
def test_a_command_alone_prints_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: {' '.join(['trm', *words])} [-h]")
    assert err == ""


def test_every_key_of_an_experiment_is_listed_with_its_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", DEMO, "--config.model.width=32", "--config.help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    keys = [line.split("=")[0].strip() for line in lines if line.startswith("  --config.")]
    assert keys == [f"--config.{key}" for key in flat(Experiment()) if key != "name"]
    assert "  --config.model.width=32".ljust(48) + "D, numbers in a position" in lines
    assert (
        "  --config.model.states=y_z".ljust(48) + "What recurses: TRM and HRM; single z; the one-pass baseline."
        in lines
    )
    assert (
        "train: how long, how many at once, and what is told and kept on the way. Intervals count steps; 0: never"
        in lines
    )
    assert not any("# " in line for line in lines)
    for command in ("estimate", "sweep", "convert"):  # whatever else the command needs
        assert main([command, "--config.help"]) == 0
        assert "  --config.model.width=512" in capsys.readouterr().out
        assert main([command, "--config.help", DEMO, "--config.model.width=32"]) == 0
        assert "  --config.model.width=32" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "moment"), [(["train", DEMO], "join"), (["demo"], "remember_programs")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_anything_was_begun_leaves_no_folder(
    words: list[str], moment: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        assert [path.name for path in (tmp_path / "runs" / "new").iterdir()] == ["lock"]
        signal.raise_signal(number)

    def end(code: int) -> None:
        assert list(tmp_path.iterdir()) == []
        raise SystemExit(code)

    monkeypatch.setattr(cli, moment, interrupted)
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(SystemExit) as ended:
        main([*words, f"--workdir={tmp_path / 'runs' / 'new'}"])
    assert ended.value.code == 75


def test_training_without_a_workdir_takes_runs_and_says_what_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def train(experiment: Experiment, workdir: Path, *_: object) -> Outcome:
        (workdir / "metrics.jsonl").touch()
        return Outcome(3, True, True, 125.0)

    monkeypatch.setattr("trm_jax.runs.train.train", train)
    assert main(["train", DEMO, "--config.name=my_run"]) == 0
    assert (tmp_path / "runs" / "my_run").is_dir()
    ended, following = capsys.readouterr().err.splitlines()
    assert ended == "finished at step 3 after 2m05s; checkpoint: runs/my_run/checkpoints/3"
    assert following.startswith("next: `trm eval runs/my_run`, `trm solve runs/my_run PUZZLE`; ")
    for name in ("", "..", "a/b", "a\nb"):
        assert main(["train", DEMO, f"--config.name={name}"]) == 2
        assert "is no name for a folder: give --workdir" in capsys.readouterr().err


def test_training_leaves_figures_and_a_checkpoint(workdir: Path) -> None:
    rows = read_metrics(workdir)

    assert [row["step"] for row in rows] == [1, 2, 3, 3]
    assert "eval/exact_accuracy" in rows[-1]
    assert (workdir / "checkpoints" / "3").is_dir()


@pytest.mark.slow  # tests/runs/test_resume.py goes on
def test_training_with_more_steps_goes_on(workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(workdir, run)

    assert main(["train", *SMALL_DEMO, "--config.train.steps=4", f"--workdir={run}"]) == 0

    assert "going on at step 3" in capsys.readouterr().err
    assert [row["step"] for row in read_metrics(run)] == [1, 2, 3, 3, 4]
    assert (run / "checkpoints" / "4").is_dir()


def test_eval_prints_a_row_for_each_depth_and_writes_them(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"

    assert main(["eval", "--devices=1", str(workdir), "--steps", "8,1,2", "--json", str(path)]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("20 puzzles, ")
    assert lines[0].endswith("averaged weights")
    columns = ["steps", "exact (95 % interval)", "valid", "cells", "q right", "halted", "FLOP a puzzle"]
    assert [column.strip() for column in lines[1].split("  ") if column] == columns
    assert [line.split()[0] for line in lines[2:5]] == ["1", "2", "8"]
    figures = json.loads(path.read_text())
    assert (figures["checkpoints"], figures["data"], figures["puzzles"]) == ([str(workdir)], "generated", 20)
    assert [row["supervision_steps"] for row in figures["rows"]] == [1, 2, 8]
    for line, row in zip(lines[2:5], figures["rows"], strict=True):
        exact, cells, kept = (row[key]["value"] for key in ("exact", "cells", "satisfied"))
        words = line.split()
        assert (words[1], words[5], words[6]) == (f"{exact:.2%}", f"{kept:.2%}", f"{cells:.2%}")
        assert words[7:9] == [f"{row[key]:.2%}" for key in ("q_right", "halted")]
    # A run that never heard of the figures in between says the same of the last ones.
    evaluated = read_metrics(workdir)[-1]
    assert main(["eval", "--devices=1", str(workdir), "--json", str(path)]) == 0
    row = json.loads(path.read_text())["rows"][0]
    assert row["cells"]["value"] == evaluated["eval/cell_accuracy"]


def test_eval_takes_a_checkpoint_a_csv_file_and_a_limit(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "puzzles.csv"
    csv.write_text(f"question,answer\n{PUZZLE},{SOLVED}\n{SOLVED},{SOLVED}\n")

    assert main(["eval", "--devices=1", str(workdir / "checkpoints" / "3"), str(csv), "--trained-weights"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("2 puzzles, ")
    assert main(["eval", "--devices=1", str(workdir), str(csv), "--limit", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("1 puzzle, ")


def test_solve_reads_a_string_a_file_and_standard_input_alike(
    workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "puzzle.txt"
    file.write_text("1 2 | . .\n3 4 | 1 .\n----+----\n2 1 | 4 3\n4 3 | 2 1\n")
    said = []
    for source in (PUZZLE, str(file), "-"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(PUZZLE + "\n"))
        code = main(["solve", str(workdir), source, "--steps", "2"])
        said.append((code, capsys.readouterr().out))
    assert said[0] == said[1] == said[2]
    code, out = said[0]
    assert code == (0 if "\nsolved at supervision step" in out else 1)
    assert out.startswith("question\n 1 2 | . .\n 3 4 | 1 .\n-----+-----\n 2 1 | 4 3\n 4 3 | 2 1\n\n(': changed")
    assert out.count("supervision step ") - out.count("solved at supervision step ") == 2


def test_solve_quietly_with_a_picture(workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answer.png"

    code = main(["solve", str(workdir), PUZZLE, "--quiet", "--picture", str(path)])

    out = capsys.readouterr().out
    assert len(out) == 17
    assert set(out[:16]) <= set(".1234")
    assert code == (0 if out == SOLVED + "\n" else 1)
    assert matplotlib.image.imread(path).ndim == 3


def test_files_that_were_written_are_told(workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "answer.png"
    main(["solve", str(workdir), PUZZLE, "--steps=1", "--picture", str(path)])
    assert capsys.readouterr().err.splitlines()[-1] == f"wrote {path}"


def test_every_file_that_is_asked_for_by_an_option_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    kinds = (output_file, png_file, gif_file, json_file, csv_file)
    asked = {
        action.dest for each in with_commands(parser._parser()) for action in each._actions if action.type in kinds
    }
    assert asked >= {"json", "picture", "answers"}
    for name in sorted(asked - {"answers", "file"}):  # of which `solve` says how many there are, `export` what it is
        cli._tell_files(argparse.Namespace(**{name: Path("x")}))
        assert capsys.readouterr().err == "wrote x\n", name


def with_commands(whole: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """A parser with those of its commands, and of theirs."""
    subs = [action.choices for action in whole._actions if isinstance(action, argparse._SubParsersAction)]
    return [whole, *(found for sub in subs for each in sub.values() for found in with_commands(each))]


def test_a_submission_that_is_scored_is_not_told_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.json").write_text('{"a": [{"attempt_1": [[1]], "attempt_2": null}]}')
    (tmp_path / "solutions.json").write_text('{"a": [[[1]]]}')
    assert main(["eval", "arc-score", str(tmp_path / "s.json"), str(tmp_path / "solutions.json")]) == 0
    assert "wrote" not in capsys.readouterr().err


def test_a_quick_estimate_counts_and_compiles_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trm_jax.training.costs.compare", None)
    assert main(["estimate", *SMALL_DEMO, "--quick"]) == 0
    out, err = capsys.readouterr()
    assert "one training step" in out
    assert "compiling" not in err
    assert main(["estimate", *SMALL_DEMO, "--quick", "--json"]) == 0
    assert "memory" not in json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_estimate_takes_sizes_from_the_puzzles_that_are_there(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", puzzle={"kind": "grid", "shape": [2, 2], "alphabet": string.ascii_letters[:29]})
    table = tmp_path / "table.csv"
    table.write_text("question,answer\n1234............,1234341221434321\nno row at all,\n")
    own = [
        "--config=own_puzzle",
        "--config.model.puzzle_dim=8",
        "--config.model.num_puzzles=0",
        f"--config.data.train={folder}",
    ]
    sudoku = ["--config=sudoku_mlp", *(f"--config.model.{size}=0" for size in ("vocab_size", "seq_len", "num_puzzles"))]

    def sizes(*words: str) -> tuple[int, int, int]:
        model = _sized(load_experiment(words)).model
        return model.vocab_size, model.seq_len, model.num_puzzles

    assert sizes(*own) == (30, 4, 7)
    assert sizes(*sudoku, f"--config.data.train={table}") == (6, 16, 1), "one row is enough"
    assert sizes(*sudoku, "--config.data.train=generated", "--config.data.side=9", "--config.data.train_puzzles=9") == (
        11, 81, 1,
    )  # fmt: skip
    assert sizes(*sudoku) == (0, 0, 0)
    with pytest.raises(ConfigError, match="there is no file or folder 'gone'"):
        sizes(*sudoku, "--config.data.train=gone")
    assert sizes("--config=sudoku_mlp", "--config.data.train=gone") == (11, 81, 1), "stated, so that none is needed"
    with pytest.raises(ConfigError, match=r"config\.model\.vocab_size = 11, but the puzzles have 6"):
        sizes("--config=sudoku_mlp", f"--config.data.train={table}")


@pytest.mark.slow  # the verdict is in tests/training/test_planner.py, the command above
def test_estimate_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    # Times are measured in tests/training/test_planner.py.
    monkeypatch.setattr("trm_jax.training.costs._rates", lambda experiment: (1e9, 0.5e9))
    # Both forms tell one verdict, which takes a compilation for each policy.
    monkeypatch.setattr(costs, "compare", functools.cache(costs.compare))
    assert main(["estimate", *SMALL_DEMO]) == 0
    table = capsys.readouterr().out
    assert main(["estimate", *SMALL_DEMO, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)

    assert table.splitlines()[-1].startswith("verdict: policy none fits into ")
    assert figures["memory"]["chosen"] == "none"
    assert [option["name"] for option in figures["memory"]["options"]] == ["none", "dots", "step"]
    assert f"(compiled for {jax.default_backend()})" in table.splitlines()[-1]
    assert figures["weights"]["network"] == 24_576
    assert f"{'network':28}{24_576:>16,} weights" in table.splitlines()
    assert figures["flops_per_step"] == 4 * figures["flops_per_puzzle_step"]


@pytest.mark.slow  # tests/original/test_parity.py has the same recording, and the table
def test_parity_with_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording = TESTDATA / "forward_mlp.npz"
    shutil.copy(recording, tmp_path)

    assert main(["parity", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(" 0 failed")


def test_convert_there_and_back(workdir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, back = tmp_path / "weights.safetensors", tmp_path / "back"

    assert main(["convert", str(workdir), str(file)]) == 0
    assert main(["convert", str(file), str(back), *SMALL_DEMO]) == 0
    capsys.readouterr()
    answers = []
    for folder in (workdir, back):
        main(["solve", str(folder), PUZZLE, "--quiet"])
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"trm_jax {VERSION}\n"
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")}
    assert {"demo", "train", "eval", "solve", "parity", "convert", "estimate"} <= listed


@pytest.mark.parametrize("command", ["demo", "train", "eval", "solve", "parity", "convert", "estimate"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: trm {command} ")


# ---- what does not ----


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "which experiment? give one --config=experiments/NAME.py"),
        (["--config.model.width=3"], "which experiment? give one --config="),
        ([DEMO, DEMO], "which experiment? give one --config="),
        ([DEMO, "--config.modle.width=3"], "config.modle is unknown: did you mean 'model'?"),
        ([DEMO, "--config.model.witdh=3"], "config.model.witdh is unknown: did you mean 'width'?"),
        ([DEMO, "--config.model.width=abc"], "config.model.width = 'abc': give a whole number"),
        ([DEMO, "--config.model.width=1.5"], "config.model.width = '1.5': give a whole number"),
        ([DEMO, "--config.model.width="], "config.model.width = '': give a whole number"),
        ([DEMO, "--config.optim.beta1=x"], "config.optim.beta1 = 'x': give a number"),
        ([DEMO, "--config.loss.continue_head=maybe"], "config.loss.continue_head = 'maybe': give True or False"),
        ([DEMO, "--config.model.checkpoint=True"], "config.model.checkpoint is unknown: known: answer_layers, "),
        ([DEMO, "--config.model.gradient=last_step"], "config.model.gradient = 'last_step' is unknown: give one of "),
        ([DEMO, "--config.memory.policy=binominal"], "config.memory.policy = 'binominal' is unknown: did you mean 'bi"),
        ([DEMO, "--config.memory.slices=x"], "config.memory.slices = 'x': give a whole number"),
        ([DEMO, "--config.memory.device_memory=lots"], "config.memory.device_memory = 'lots' is no size: give a size"),
        (
            [*SMALL_DEMO, "--config.memory.micro_batches=3"],
            "config.memory.micro_batches = 3 does not divide config.train.",
        ),
        ([DEMO, "--config.model.mixer=mlpp"], "config.model.mixer = 'mlpp' is unknown: give one of 'attention', 'mlp'"),
        ([DEMO, "--config.model=3"], "config.model is a group of values: give config.model.KEY=VALUE"),
        ([DEMO, "--config.optim.learning_rate=nan"], "config.optim.learning_rate = nan: give a number"),
        ([DEMO, "--config.train.batch_size=-1"], "config.train.batch_size = -1 is out of range: give a value from 1"),
        (
            [*SMALL_DEMO, "--config.model.grad_cycles=9"],
            "config.model.grad_cycles = 9 is more than config.model.cycles = 1",
        ),
        ([DEMO, "--config.model.width"], "config.model.width has no value: give a whole number"),
        ([DEMO, "model.width=3"], "unknown argument 'model.width=3': overrides are written --config.GROUP.KEY=VALUE"),
        ([DEMO, "--stepz=3"], "unknown option --stepz: "),
        (
            [DEMO + ":7x7"],
            f"{DEMO}:7x7: unknown variant '7x7' of the experiment: there are 6x6, 9x9, smoke, or",
        ),
        (
            [DEMO.replace("demo.py", "dmeo.py")],
            f"{DEMO.replace('demo.py', 'dmeo.py')}: no such Python file, did you mean 'demo.py'?",
        ),
        (["--config=nowhere/x.py"], "--config=nowhere/x.py: no such Python file"),
        (["--config=."], "--config=.: no such Python file"),
    ],
)
def test_bad_configurations(refused: Callable[..., str], arguments: list[str], expected: str) -> None:
    assert refused("train", "--workdir=new", *arguments).startswith(expected)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def get_config(:\n", "invalid syntax (bad.py, line 1)"),
        ("import no_such_module_at_all\n", "No module named 'no_such_module_at_all'"),
        ("x = 1\n", "module 'experiment' has no attribute 'get_config'"),
        ("def get_config():\n    raise RuntimeError('two\\nlines')\n", "two lines"),
        ("def get_config():\n    raise KeyError\n", "KeyError"),
        ("def get_config():\n    return 3\n", "get_config returns 3: let it return an ml_collections ConfigDict"),
        ("import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict({'modle': {}})\n", None),
    ],
)
def test_bad_experiment_files(
    refused: Callable[..., str], tmp_path: Path, program: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "bad.py").write_text(program)

    said = refused("train", "--workdir=new", "--config=bad.py")

    if expected is None:
        assert said == "config.modle is unknown: did you mean 'model'?"
    else:
        assert said == f"--config=bad.py: {expected}"


# What a hostile user writes after `trm train --config=demo.py --workdir=new`, and what the error has to name: key and
# value, as they read there.
WRONG: list[tuple[str, str]] = [
    *(
        (f"--config.{key}={value}", f"config.{key} = {shown}")
        for key, value, shown in (
            ("train.batch_size", "-1", "-1"),
            ("train.batch_size", "0", "0"),
            ("train.batch_size", "True", "'True'"),
            ("train.batch_size", "99999999999999999999", "99999999999999999999"),
            ("train.steps", "1e5", "'1e5'"),
            ("train.steps", "0", "0"),
            ("train.seed", "-1", "-1"),
            ("train.log_every", "0", "0"),
            ("train.save_every", "-1", "-1"),
            ("train.eval_batch_size", "0", "0"),
            ("train.bad_steps", "0", "0"),
            ("optim.learning_rate", "nan", "nan"),
            ("optim.learning_rate", "inf", "inf"),
            ("optim.learning_rate", "1e400", "inf"),
            ("optim.learning_rate", "-1e-4", "-0.0001"),
            ("optim.learning_rate", "None", "'None'"),
            ("optim.learning_rate", "a: b", "'a: b'"),
            ("optim.beta1", "(0.9,)", "'(0.9,)'"),
            ("optim.beta1", "(0.9, 0.95)", "'(0.9, 0.95)'"),
            ("optim.beta1", "", "''"),
            ("optim.beta2", "1", "1.0"),
            ("optim.ema_decay", "1", "1.0"),
            ("optim.warmup_steps", "-1", "-1"),
            ("model.width", "1.5", "'1.5'"),
            ("model.width", "1\n2", "'1\\n2'"),
            ("model.grad_cycles", "9", "9"),
            ("model.exploration", "50%", "'50%'"),
            ("model.dtype", "fp32", "'fp32'"),
            ("model.mixer", "MLP", "'MLP'"),
            ("model.seq_len", "81", "81"),
            ("model.vocab_size", "11", "11"),
            ("loss.continue_head", "maybe", "'maybe'"),
            ("loss.tokens", "mse", "'mse'"),
            ("memory.policy", "everything", "'everything'"),
            ("memory.micro_batches", "5", "5"),
            ("memory.slices", "5", "5"),
            ("memory.device_memory", "lots", "'lots'"),
            ("devices.data", "-1", "-1"),
            ("devices.data", "7", "7"),
            ("devices.steps_per_call", "7", "7"),
            ("devices.attention", "flash", "'flash'"),
            ("data.train", "", "''"),
            ("data.train", "nowhere.csv", "'nowhere.csv'"),
            ("data.train", "generatd", "'generatd'"),
            ("data.train", "generated,x.csv", "'generated,x.csv'"),
            ("data.train", "a,", "'a,'"),
            ("data.train", "x" * 300, "'" + "x" * 300 + "'"),
            ("data.train", ".", "'.'"),
            ("data.test", "\u2603.jsonl", "'\u2603.jsonl'"),
            ("data.puzzle", "chess", "'chess'"),
            ("data.puzzle", "{", "'{'"),
            ("data.puzzle", "maze", "'maze'"),
            ("data.side", "5", "5"),
            ("data.augment", "True", "True"),
            ("data.forms", "5", "5"),
            ("data.train_puzzles", "0", "0"),
        )
    ),
    ("--config.data.augment", "config.data.augment = True"),
    ("--config.train.batch_size -1", "config.train.batch_size = -1"),
    ("--config.train.batch_size", "config.train.batch_size has no value"),
    ("--config.lr 1", "config.lr is unknown"),
    ("--config.optim.lr=1", "config.optim.lr is unknown"),
    ("--config.model.witdh=1", "config.model.witdh is unknown: did you mean 'width'?"),
    ("--config.mo\ndel.width=1", "config.mo del is unknown"),
    ("--config.model=3", "config.model is a group of values"),
    ("config.lr=1", "'config.lr=1'"),
    ("config.optim.learning_rate=1", "'config.optim.learning_rate=1'"),
    ("-config.optim.learning_rate=1", "'-config.optim.learning_rate=1'"),
    ("--noconfig.data.augment", "--noconfig.data.augment"),
    ("--undefok=stepz --stepz=3", "--undefok"),
    ("--flagfile=nowhere", "--flagfile"),
]
MENDS = ("give ", "choose ", "set ", "change ", "lower ", "overrides are written ", "known: ", "did you mean ")


def test_whatever_is_wrong_is_one_line_with_key_value_and_mend_before_jax_starts() -> None:
    """All in one process, which has imported JAX for none of them."""
    program = """
import contextlib, io, json, sys
from trm_jax.commands.arguments import csv_file, gif_file, json_file, load_experiment, output_file, png_file
from trm_jax.commands.cli import _sized, main
from trm_jax.errors import ConfigError
told = []
for words in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(words)
    told.append([code, error.getvalue()])
assert not {"jax", "jaxlib", "flax"} & set(sys.modules)
print(json.dumps(told))
"""
    # A single space parts two words.
    commands = [["train", "--workdir=new", DEMO, *re.split(r"(?<=\w) (?=-)| (?=1$)", words)] for words, _ in WRONG]
    done = subprocess.run(
        [sys.executable, "-c", program], input=json.dumps(commands), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr

    for (words, named), (code, said) in zip(WRONG, json.loads(done.stdout), strict=True):
        assert code == 2, (words, said)
        assert said.startswith("trm: error: "), (words, said)
        assert said.count("\n") == 1, (words, said)
        assert named in said, (words, said)
        mend = said.removeprefix("trm: error: ").partition(": ")[2]
        assert any(word in mend for word in MENDS), (words, said)
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["train", DEMO, "--config.optim.beta1=2", "--workdir=never_made"],
            "config.optim.beta1 = 2.0 is out of range: give a value from 0 to 0.999999",
        ),
        (
            ["estimate", DEMO, "--config.memory.policy=binominal"],
            "config.memory.policy = 'binominal' is unknown: did you mean 'binomial'?",
        ),
    ],
)
def test_bad_configurations_are_told_at_once_and_without_jax(arguments: list[str], expected: str) -> None:
    program = (
        f"import sys; from trm_jax.commands.cli import main; code = main({arguments!r}); "
        "assert 'jax' not in sys.modules; sys.exit(code)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert time.monotonic() - began < 2
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"trm: error: {expected}\n"
    assert not Path("never_made").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--versoin"], "unknown option --versoin: did you mean '--version'? (see `trm --help`)"),
        (["eval", "run", "--step=3"], "unknown option --step: did you mean '--steps'? (see `trm eval --help`)"),
        (["train", DEMO, "--workdri=x"], "unknown option --workdri: did you mean '--workdir'? (see `trm train"),
        (["train", "--confg=demo"], "unknown option --confg: did you mean '--config'? (see `trm train --help`)"),
        (["eval", "run", "--config=demo"], "unknown option --config: "),
        (["estimate", DEMO, "--device-memory=80"], "argument --device-memory: '80' is no size: give a size such as"),
        (["estimate", DEMO, "--quick", "--device-memory=80GB"], "--quick counts and plans for no device"),
        (["eval", "no/run"], "no/run: no such file or folder: give one that"),
        (["evall", "run"], "unknown command 'evall': did you mean 'eval'? (see `trm --help`)"),
        (["data", "sudku", "x"], "unknown command 'sudku': did you mean 'sudoku'? (see `trm data --help`)"),
        (["eval", "run", "--split=train"], "split 'train': an experiment's own puzzles are its held-out ones: name"),
        (["eval", "run", "x.csv", "--split=train"], "x.csv: a table has no splits: leave out 'train'"),
        (["solve", "run", "--data=x.csv", "--split=train"], "x.csv: a table has no splits: leave out 'train'"),
        (["solve", "run", PUZZLE, "--split=train"], "--split=train is of a dataset folder: name it by --data"),
        (["data", "show", "x", "--rows=2", "--count=2"], "argument --count: not allowed with argument --rows"),
        (
            ["convert", "run", "x", "--own", "--compiled"],
            "--own writes a model of ours as it is, under our names: leave",
        ),
        (
            ["convert", "run", "x", "--own", DEMO],
            "--own writes a model of ours as it is, under our names: leave out --c",
        ),
        (["convert", __file__, "new", "--compiled"], "--compiled is for weights of ours that go out, and "),
        (["convert", __file__, "new", "--trained-weights"], "--trained-weights is for weights of ours that go out"),
        (["eval"], "the following arguments are required: checkpoint (see `trm eval --help`)"),
        (["eval", "run", ""], "argument puzzles: '' names no puzzles: leave it out for the experiment's own"),
        (["solve", "run", "--data="], "argument --data: '' names no puzzles: leave it out for the experiment's own"),
        (["eval", "run", "more", "words"], "unknown argument 'words': `trm eval --help` tells what it takes"),
        (["eval", "run", "--steps=0"], "--steps=0: give numbers of supervision steps, each at least 1"),
        (["eval", "run", "--steps=x"], "--steps=x: give numbers of supervision steps, each at least 1"),
        (["eval", "run", "--steps=1,,2"], "--steps=1,,2: give numbers of supervision steps"),
        (["eval", "run", "--limit", "0"], "argument --limit: '0' is no whole number of at least 1 (see `trm eval"),
        (["eval", "run", "--limit", "x"], "argument --limit: 'x' is no whole number of at least 1 (see `trm eval"),
        (["eval", "run", "--batch-size=-3"], "argument --batch-size: '-3' is no whole number of at least 1"),
        (["eval", "run", "--json", "no/x.json"], "argument --json: no/x.json cannot be written: there is no folder no"),
        *(
            ([*words, f"{option}=x{wrong}"], f"argument {option}: x{wrong}: this is written as {right[1:].upper()} and")
            for words, option, wrong, right in (
                (["eval", "run"], "--plot", ".pdf", ".png"),
                (["eval", "run"], "--json", ".csv", ".json"),
                (["eval", "run"], "--table", ".json", ".csv"),
                (["eval", "run"], "--submission", ".csv", ".json"),
                (["eval", "arc-score", "a", "b"], "--json", ".txt", ".json"),
                (["solve", "run", "x"], "--picture", ".svg", ".png"),
                (["solve", "run", "x"], "--gif", ".mp4", ".gif"),
                (["data", "show", "x"], "--picture", ".jpeg", ".png"),
                (["data", "verify", "x"], "--json", ".yaml", ".json"),
            )
        ),
        (["eval", "run", "--json", "."], "argument --json: . is a folder: give the name of a file"),
        (["eval", "nope"], "nope: no such file or folder: give a folder that `trm train` or `trm convert` has written"),
        (["eval", "run", "nope.csv"], "nope.csv: cannot be opened (No such file or directory); check the path"),
        (["eval", "run", "."], "test/dataset.json: not readable: no such file; name a folder"),
        (["solve", "nope", PUZZLE], "nope: no such file or folder: give a folder that"),
        (["solve", "run", PUZZLE, "--steps=0"], "argument --steps: '0' is no whole number of at least 1"),
        (["solve", "run", PUZZLE, "--picture", "no/x.png"], "argument --picture: no/x.png cannot be written: there is"),
        (["solve", "run", PUZZLE[:15]], "puzzle: 15 cells found, but this Sudoku has 16: add or remove some"),
        (["solve", "run", EASY_9X9[:80]], "puzzle: 80 cells found, but this Sudoku has 16: add or remove some"),
        (["solve", "run", "5" + PUZZLE[1:]], "puzzle: '5' in line 1, column 1 of the text (r1c1) is neither a digit 1"),
        (["solve", "run", "." * 81], "puzzle: 81 cells found, but this Sudoku has 16: add or remove some"),
        (["solve", "run", "." * 300], "puzzle: 300 cells found, but this Sudoku has 16: add or remove some"),
        (["solve", "run", "z" + PUZZLE[1:]], "puzzle: 'z' in line 1, column 1 of the text (r1c1) is neither a digit 1"),
        (
            ["solve", "run", "x" + PUZZLE[1:]],
            "puzzle: two signs for a blank, 'x' in line 1, column 1 and '.' in line 1",
        ),
        (
            ["solve", "run", "-" + PUZZLE[1:]],
            "puzzle: two signs for a blank, '-' in line 1, column 1 and '.' in line 1",
        ),
        (["solve", "run", "-" * 16, "-" * 15], "several puzzles are named: write them into a file, one a line"),
        (["solve", "run", ""], "puzzle: the text is empty: give the characters of a puzzle, a file, or - for standard"),
        (["solve", "run", "11" + "." * 14], "puzzle: digit 1 stands twice in row 1, at r1c1 and r1c2; correct one of"),
        (["solve", "run", "no/such.txt"], "no/such.txt: no such file; and as a puzzle, '/' in line 1, column 3 of the"),
        (["solve", "run", "."], ". is a folder, not a puzzle: a dataset is named by --data ."),
        (["parity", "nope"], "nope: no such folder: give the folder that holds them"),
        (["convert", "nope", "new"], "nope: no such file"),
        (["demo", "--variant=7x7", "--workdir=new"], "demo:7x7: unknown variant '7x7' of the experiment: there are 6x"),
    ],
)
def test_bad_arguments(refused: Callable[..., str], arguments: list[str], expected: str) -> None:
    assert refused(*arguments).startswith(expected)


def test_a_puzzle_that_looks_like_a_missing_file_is_told_so(refused: Callable[..., str]) -> None:
    for source in ("no/such", "such.txt", "puzzels", "my puzzle.sdk"):
        assert refused("solve", "run", source).startswith(f"{source}: no such file; and as a puzzle, ")
    assert "no such file" not in refused("solve", "run", "z" + PUZZLE[1:])


def test_missing_and_damaged_checkpoints(refused: Callable[..., str], workdir: Path, tmp_path: Path) -> None:
    assert refused("eval", str(workdir / "checkpoints" / "7")).endswith("no checkpoint of step 7 here")
    assert "no checkpoint here" in refused("eval", str(workdir / "metrics.jsonl"))
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    assert "no checkpoint here" in refused("eval", "empty")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a,b\n1,2\n", "row 1, column question: is missing; the header has 'a', 'b': say with --columns"),
        (b"", "row 1, column question: the file is empty"),
        (b"question,answer\n" + f"{PUZZLE},{PUZZLE}\n".encode(), "row 2, column answer: r1c3 is blank"),
        (b"question,answer\n" + f"{SOLVED[4:]}1234,{SOLVED}\n".encode(), "row 2, column answer: r1c1 is 1"),
        (
            b"question,answer\n" + f"{EASY_9X9},{EASY_9X9_ANSWER}\n".encode(),
            "puzzles with 81 cells, the model takes 16: give puzzles of its kind",
        ),
        (bytes(range(256)), "row 1, column 1: a NUL byte; save the file as plain UTF-8 text"),
    ],
)
def test_bad_csv_files(refused: Callable[..., str], tmp_path: Path, text: bytes, expected: str) -> None:
    (tmp_path / "bad.csv").write_bytes(text)

    assert refused("eval", "run", "bad.csv").startswith(f"bad.csv: {expected}")
    if b"5" not in text:
        assert refused("train", *SMALL_DEMO, "--workdir=new", "--config.data.train=bad.csv").startswith(
            f"bad.csv: {expected}"
        )


def test_a_file_of_bytes_is_no_puzzle(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bytes").write_bytes(bytes(range(128, 256)))
    assert refused("solve", "run", "bytes").startswith("bytes: not readable as text: ")

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert refused("solve", "run", "-").startswith("standard input: not readable as text: ")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert refused("solve", "run").startswith("standard input: 0 cells found")


def test_the_file_for_the_figures_is_checked_before_evaluating(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trm_jax.runs.checkpoint.load", lambda *_, **__: pytest.fail("loaded a checkpoint"))

    assert "there is no folder missing" in refused("eval", "run", "--json=missing/x.json")
    assert "there is no folder missing" in refused("solve", "run", PUZZLE, "--picture=missing/x.png")


def test_a_workdir_that_cannot_be_one(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    expected = "argument --workdir: file cannot be a folder: file is a file (see `trm train --help`)"
    assert refused("train", *SMALL_DEMO, "--workdir=file") == expected
    assert refused("train", *SMALL_DEMO, "--workdir=file/x").startswith("argument --workdir: file/x cannot be a folder")
    assert refused("demo", "--workdir=file").startswith("argument --workdir: file cannot be a folder: file is a file")


def test_weights_to_begin_with_that_cannot_be_had(refused: Callable[..., str], workdir: Path) -> None:
    """None there, none named, none of this size; and a run that has its own already."""
    new = "train", *SMALL_DEMO, "--workdir=new"
    assert refused(*new, "--init-from=sudoku-4x5").endswith("did you mean 'sudoku-4x4'?")
    assert refused(*new, "--init-from=").startswith("argument --init-from: '' names nothing: leave it out")
    assert refused(*new, "--init-parts=heads").startswith("config.init says what to take of another model's weights")
    said = refused(*new, f"--init-from={workdir}", "--init-parts=network,head")
    assert said.startswith("config.init.parts: 'head' is no part of the weights: did you mean 'heads'?")
    said = refused(*new, f"--init-from={workdir}", "--init-parts=network", "--config.model.width=32")
    assert said.startswith(f"{workdir}: weights that fit nowhere here: params.latent_net.")
    assert "holds a run that began with weights of its own: leave out --init-from" in refused(
        "train", *SMALL_DEMO, f"--workdir={workdir}", "--init-from=sudoku-4x4"
    )


def test_a_run_that_is_refused_leaves_no_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text(f"question,answer\n{PUZZLE},{PUZZLE.replace('.', '3')}\n")

    said = refused("train", *SMALL_DEMO, "--config.data.train=bad.csv", "--workdir=runs/new")
    assert said.startswith("bad.csv: row 2, column answer: digit 3 stands twice in row 1")
    assert refused("train", *SMALL_DEMO, "--config.data.train=bad.csv").startswith("bad.csv: row 2")
    assert refused("demo", "--variant=7x7", "--workdir=runs/new").startswith("demo:7x7: unknown variant '7x7'")


def test_the_workdir_of_another_experiment_stays_as_it_is(
    refused: Callable[..., str], workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused("train", *SMALL_DEMO, "--config.model.width=32", f"--workdir={workdir}")
    assert (
        said == f"{workdir} holds another experiment; these differ: model.width: 16 -> 32: use them, or a new workdir, "
        "or --force to go on all the same"
    )

    said = refused("train", *SMALL_DEMO, "--config.optim.beta1=0.5", f"--workdir={workdir}")
    assert said == (
        f"{workdir} holds another experiment; these differ: optim.beta1: 0.9 -> 0.5: use them, or a new workdir, "
        "or --force to go on all the same"
    )


def test_other_puzzles_are_refused_by_a_workdir(refused: Callable[..., str], workdir: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(f"question,answer\n{PUZZLE},{SOLVED}\n")

    said = refused("train", *SMALL_DEMO, "--config.data.train=other.csv", f"--workdir={workdir}")

    assert said.startswith(f"{workdir} ")


def test_faults_of_the_file_system_are_one_line_too(
    workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "metrics.jsonl")

    monkeypatch.setattr("trm_jax.runs.train.train", full)

    assert main(["train", *SMALL_DEMO, f"--workdir={workdir}"]) == 1
    assert capsys.readouterr().err == "trm: error: metrics.jsonl: No space left on device\n"


def test_an_interrupt_is_no_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trm_jax.original.parity.run", interrupted)

    assert main(["parity", "."]) == 130
    assert capsys.readouterr().err == "trm: interrupted\n"


def test_exit_codes_tell_the_outcome(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for right, code in ((True, 0), (False, 1)):
        monkeypatch.setattr("trm_jax.original.parity.run", lambda _, right=right: right)
        assert main(["parity", "."]) == code
    for finished, code in ((True, 0), (False, 75)):
        monkeypatch.setattr("trm_jax.commands.demo.run", lambda *_, finished=finished: finished)
        assert main(["demo", f"--workdir={tmp_path}"]) == code


def test_a_reader_that_leaves_is_no_fault(workdir: Path) -> None:
    program = "from trm_jax.commands.cli import main; import sys; sys.exit(main(['train', '--help']))"
    command = f'set -o pipefail; {sys.executable} -c "{program}" | true'

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)

    assert "Traceback" not in done.stderr
    assert np.isin(done.returncode, (0, 120))  # 120: Python found the pipe closed when it flushed at exit
