"""`trm data ...`: exit codes, one-line errors, what is printed, and that JAX stays away."""

import builtins
import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from trm_jax.commands.cli import main
from trm_jax.data import dataset
from trm_jax.data.builders import hub
from trm_jax.data.folder_writer import Writer
from trm_jax.display.datasets import show
from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku as sudokus
from trm_jax.puzzles import sudoku_search

GRID = ["grid", "new", "--train", "six.csv", "--shape"]
LAYOUT = sudokus.layout_for(9)


def trm(*words: object) -> int:
    return main(["data", *map(str, words)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Six Sudokus, rated 0 to 50."""
    questions, answers = sudoku_search.generate(6, LAYOUT, 4)
    with (tmp_path / "six.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("question", "answer", "rating"))
        for i, pair in enumerate(zip(questions, answers, strict=True)):
            writer.writerow((*map(sudokus.to_text, pair), 10 * i))
    return tmp_path / "six.csv"


class TestBuilding:
    def test_from_a_table(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "out"
        assert trm("sudoku", out, "--train", table, "--min-rating", 20, "--limit", 3, "--augmentations", 4) == 0
        told = capsys.readouterr()
        assert "train  3 puzzles, 15 puzzles with their images" in told.out
        assert f"{out}: " in told.out
        assert "peak memory" in told.out
        assert told.err == ""
        assert len(dataset.read_folder(out, "train")) == 15
        assert trm("verify", out) == 0

    def test_generated(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert trm("sudoku", tmp_path / "s", "--generate", "8,3", "--box", "2x3", "--seed", 5) == 0
        assert trm("maze", tmp_path / "m", "--generate", "5,2", "--size", "9x9", "--min-length", 9, "--augment") == 0
        assert "train  5 puzzles, 40 puzzles with their images" in capsys.readouterr().out
        assert trm("verify", tmp_path / "s", tmp_path / "m") == 0

    def test_more_clues_than_were_asked_for_are_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for out in ("s", "s.csv"):
            assert trm("sudoku", tmp_path / out, "--generate", 60, "--box", "2x2", "--clues", "4,4") == 0
            told = capsys.readouterr().out
            rows = dataset.read_folder(tmp_path / "s", "train").inputs
            more = int(((rows > 1).sum(axis=1) > 4).sum())
            assert 0 < more < 60
            assert f"\n{more} of 60 puzzles have more than 4 clues, since with fewer they had several solutions" in told
        assert trm("sudoku", tmp_path / "t", "--generate", 60, "--box", "2x2", "--clues", "8,9") == 0
        assert "puzzles have more" not in capsys.readouterr().out

    @pytest.mark.slow  # tests/data/builders/test_build.py has what is told
    def test_a_request_that_cannot_be_met_is_refused_soon(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of the few Sudokus of side 4, a training set of this size leaves hardly any for a test."""
        drawn: list[int] = []
        make = sudoku_search.generate
        monkeypatch.setattr(sudoku_search, "generate", lambda n, *a, **kw: drawn.append(n) or make(n, *a, **kw))
        assert trm("sudoku", tmp_path / "s", "--generate", "1500,400", "--box", "2x2", "--clues", "4,4") == 2
        assert drawn == [1500, 400]
        assert "of 400 test puzzles only " in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_rows_with_several_solutions_are_told(
        self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        lines = table.read_text().splitlines()
        question, answer, _ = lines[2].split(",")
        test = tmp_path / "test.csv"
        test.write_text("\n".join([lines[0], f"{question},{answer},1", f"{'.' * 60}{answer[60:]},{answer},0"]) + "\n")
        assert trm("sudoku", tmp_path / "s", "--train", table, "--test", test, "--overlap", "keep") == 0
        told = capsys.readouterr().out
        assert f"{test}: 1 of 2 puzzles looked at have several solutions, of which the answer is one" in told
        assert f"{table}: " not in told

    def test_tables(self, tmp_path: Path) -> None:
        assert trm("sudoku", tmp_path / "s.csv.gz", "--generate", 4, "--min-rating", 1) == 0
        assert trm("maze", tmp_path / "m.csv", "--generate", 4, "--size", "6x6", "--min-length", 6) == 0
        assert trm("verify", tmp_path / "s.csv.gz", tmp_path / "m.csv") == 0
        assert trm("sudoku", tmp_path / "folder", "--train", tmp_path / "s.csv.gz", "--limit", 2) == 0

    @pytest.mark.parametrize(
        ("words", "workers"),
        [
            (["sudoku", "x", "--generate=100,100"], 1),
            (["sudoku", "x", "--generate=900,100"], 7),
            (["sudoku", "x.csv", "--generate=1000", "--box=2x2"], 1),
            (["sudoku", "x.csv", "--generate=5000", "--box=2x2"], 7),
            (["sudoku", "x", "--generate=9", "--min-rating=20"], 7),
            (["sudoku", "x", "--generate=7", "--min-rating=20"], 1),
            (["maze", "x", "--generate=100", "--size=30x30", "--min-length=9"], 7),
            (["maze", "x", "--generate=80", "--size=30x30", "--min-length=9"], 1),
            (["maze", "x", "--generate=100", "--size=30x30", "--min-length=9", "--workers=3"], 3),
        ],
    )
    def test_all_cores_generate_what_takes_long(
        self, words: list[str], workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def generate(*_: object, **how: Any) -> None:
            told.append(how["workers"])
            raise DataError("enough")

        told: list[int] = []
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("trm_jax.commands.data.cores", lambda: 7)
        for module in ("sudoku", "maze"):
            for name in ("generate", "generate_table"):
                monkeypatch.setattr(f"trm_jax.data.builders.{module}.{name}", generate)
        assert trm(*words) == 2
        assert told == [workers]

    def test_tables_of_others(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = "quizzes;solutions\n1.34341221434321;1234341221434321\n"
        (tmp_path / "usual.csv").write_text(text)
        (tmp_path / "named.csv").write_text(text.replace("quizzes;solutions", "given;found"))
        (tmp_path / "maze.csv").write_text("given;found\nS   #   G;S  o# ooG\n")
        named = ["--columns", "given,found"]
        assert trm("sudoku", tmp_path / "one", "--train", tmp_path / "usual.csv") == 0
        assert trm("sudoku", tmp_path / "two", "--train", tmp_path / "named.csv", *named) == 0
        assert trm("maze", tmp_path / "three", "--train", tmp_path / "maze.csv", *named) == 0
        assert trm("verify", tmp_path / "named.csv", *named) == 0
        capsys.readouterr()
        guessed = "does not tell the kind of its puzzles; they look like sudoku 4 x 4 (guessed): --puzzle names another"
        assert trm("show", tmp_path / "usual.csv") == 0
        assert capsys.readouterr().err == f"{tmp_path / 'usual.csv'}: {guessed}\n"
        assert trm("show", tmp_path / "usual.csv", "--puzzle=sudoku") == trm("show", tmp_path / "one") == 0
        assert capsys.readouterr().err == ""
        shown = []
        for name, words in (("usual.csv", []), ("named.csv", named)):
            assert trm("show", tmp_path / name, "--puzzle=sudoku", *words) == 0
            shown.append(capsys.readouterr().out)
        assert shown[1] == shown[0].replace("usual", "named")
        assert trm("sudoku", tmp_path / "four", "--train", tmp_path / "named.csv") == 2
        assert "column question: is missing; the header has 'given', 'found'" in capsys.readouterr().err
        assert trm("sudoku", tmp_path / "four", "--generate", 3, *named) == 2
        assert "--columns counts only with --train" in capsys.readouterr().err
        same = [(tmp_path / name / "train" / "all__labels.npy").read_bytes() for name in ("one", "two")]
        assert same[0] == same[1]

    def test_puzzles_without_answers(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "open.txt").write_text("1.3434122143432.\n..34341221434321\n")
        assert trm("show", tmp_path / "open.txt", "--count", 1) == 0
        assert trm("sudoku", tmp_path / "out", "--train", tmp_path / "open.txt") == 2
        assert "the file holds one puzzle a line, without answers" in capsys.readouterr().err
        assert trm("verify", tmp_path / "open.txt") == 0
        told = capsys.readouterr().out
        assert "2 puzzles, 2 of them without answers" in told
        assert "  rules                      2  ok" in told
        # What the questions say is looked at: here that the second has several solutions, or contradicts itself.
        for second, fault in (
            ("." * 16, "more than one solution"),
            ("11" + "." * 14, "question: digit 1 stands twice"),
        ):
            (tmp_path / "open.txt").write_text(f"1.3434122143432.\n{second}\n")
            assert trm("verify", tmp_path / "open.txt") == 1
            assert f"    row 2: {fault}" in capsys.readouterr().out
        trm("maze", tmp_path / "m", "--generate", "3", "--size", "8x8", "--min-length", 8)
        assert trm("verify", tmp_path / "m", "--columns", "q,a") == 2
        assert "m: no table, and --columns are of tables: leave it out" in capsys.readouterr().err

    def test_a_users_own(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = [f"{a}{b}.,.{b}{a}" for a in ".xo" for b in ".xo"]
        (tmp_path / "rows.csv").write_text("\n".join(["q,a", *lines]))
        (tmp_path / "rules.py").write_text("def check(question, answer):\n    return answer == question[::-1]\n")
        words = ["--train", tmp_path / "rows.csv", "--shape", "1x3", "--alphabet", ".xo", "--columns", "q,a"]
        words += ["--symmetries", "relabel(xo)", "--rules", tmp_path / "rules.py"]
        assert trm("grid", tmp_path / "out", *words, "--holdout", 2, "--augmentations", 1) == 0
        told = capsys.readouterr().out
        assert "test  2 puzzles" in told
        assert "left out of training, being test puzzles up to symmetry: " in told
        assert trm("verify", tmp_path / "out", "--rules", tmp_path / "rules.py") == 0
        capsys.readouterr()
        # The folder keeps them, for later commands.
        kept = f"{tmp_path / 'out'}: its rules are in {tmp_path / 'rules.py'}"
        for command in ("verify", "show"):
            assert trm(command, tmp_path / "out") == 0
            told = capsys.readouterr()
            assert told.err == f"{kept}: answers are checked by them\n"
            assert command == "show" or f"  rules{len(lines) - 2:>24}  ok" in told.out or "  rules  " in told.out
        (tmp_path / "rules.py").write_text("raise SystemExit\n")
        assert trm("verify", tmp_path / "out") == 0
        assert capsys.readouterr().err.startswith(f"{kept}, which has changed since: ")

    def test_arc_in_folders_of_tasks(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def pair(colour: int) -> dict[str, Any]:
            return {"input": [[colour, 0], [0, 1]], "output": [[colour]]}

        for subset, number in (("training", 2), ("evaluation", 5)):
            (tmp_path / "data" / subset).mkdir(parents=True)
            for name in ("a", "b"):
                content = {"train": [pair(number)], "test": [pair(number + (name == "b"))]}
                (tmp_path / "data" / subset / f"{subset[0]}{name}.json").write_text(json.dumps(content))
        words = ["--test", "evaluation", "--augmentations", 2, "--overlap", "keep"]
        folders = [tmp_path / "data" / "training", tmp_path / "data" / "evaluation"]
        assert trm("arc", tmp_path / "one", "--files", *folders, *words) == 0
        sizes = capsys.readouterr().out.splitlines()[:3]
        assert sizes[0].split()[:3] == ["train", "4", "tasks,"]
        assert sizes[1].split()[:3] == ["test", "2", "tasks,"]
        for prefix in (tmp_path / "data", f"{tmp_path / 'data'}/"):
            out = tmp_path / ("two" if prefix == tmp_path / "data" else "three")
            assert trm("arc", out, "--prefix", prefix, "--subsets", "training,evaluation", *words) == 0
            assert capsys.readouterr().out.splitlines()[:3] == sizes
        assert trm("arc", tmp_path / "four", "--prefix", tmp_path / "data", "--subsets", "none", *words) == 2
        assert "no such file: the subsets there are: evaluation, training" in capsys.readouterr().err
        assert trm("arc", tmp_path / "four", "--files", tmp_path / "data", "--test", "data") == 2
        assert "holds no *.json; name one of its folders: evaluation, training" in capsys.readouterr().err
        assert not (tmp_path / "four").exists()

    def test_arc(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def tasks(name: str, first: int) -> dict[str, Any]:
            def pair(colour: int) -> dict[str, Any]:
                return {"input": [[colour, 0], [0, 1]], "output": [[colour], [first]]}

            hidden = {"input": [[first, 2, 3]]}
            return {f"{name}{i}": {"train": [pair(i + 1), pair(i + 3)], "test": [hidden]} for i in range(2)}

        (tmp_path / "x_train_challenges.json").write_text(json.dumps(tasks("a", 4)))
        (tmp_path / "x_train_solutions.json").write_text(json.dumps({"a0": [[[1]]], "a1": [[[2, 2]]]}))
        (tmp_path / "contest_challenges.json").write_text(json.dumps(tasks("b", 5)))
        words = ["--prefix", tmp_path / "x", "--subsets", "train", "--files", tmp_path / "contest_challenges.json"]
        out = tmp_path / "out"
        assert trm("arc", out, *words, "--test", "contest", "--augmentations", 6, "--overlap", "keep") == 0
        told = capsys.readouterr().out
        assert "train  4 tasks, 28 puzzles" in told
        assert "test  2 tasks, 14 puzzles, 14 examples" in told
        assert "29 identifiers" in told
        assert "2 test outputs hidden" in told
        assert trm("verify", out) in (0, 1)
        assert "augmentations" in capsys.readouterr().out

    def test_symmetries_that_the_rules_refute(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Of rows that rise from left to right: mirrored they fall, unless the signs of all cells change with them."""
        (tmp_path / "rows.csv").write_text("question,answer\na--,abc\n-b-,abc\n--d,abd\nb--,bcd\n")
        (tmp_path / "rising.py").write_text("def check(q, a):\n    return list(a) == sorted(set(a)) and '-' not in a\n")
        words = ["--train", tmp_path / "rows.csv", "--shape", "1x3", "--alphabet=-abcd", "--symmetries"]
        rules = ["--rules", tmp_path / "rising.py"]
        assert trm("grid", tmp_path / "out", *words, "rot180", *rules) == 2
        told = capsys.readouterr().err
        assert "symmetries: 'rot180' is none by the rules, which refuse 'cba' as the answer to '--a'" in told
        assert not (tmp_path / "out").exists()
        assert trm("grid", tmp_path / "fine", *words, "rot180(ad bc)", *rules) == 0
        assert trm("verify", tmp_path / "fine", *rules) == 0
        assert "symmetries                 4  ok" in capsys.readouterr().out
        # Without rules nothing is known when it is built; with them it is found.
        assert trm("grid", tmp_path / "bad", *words, "rot180") == 0
        assert trm("verify", tmp_path / "bad", *rules) == 1
        assert "'rot180' is none by the rules" in capsys.readouterr().out

    def test_another_task_of_a_name_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        def pair(colour: int) -> dict[str, Any]:
            return {"input": [[colour, 0]], "output": [[colour]]}

        one = {name: {"train": [pair(1)], "test": [pair(2)]} for name in ("same", "hidden", "changed")}
        other = json.loads(json.dumps(one))
        del other["hidden"]["test"][0]["output"]
        other["changed"]["train"][0]["output"] = [[7]]
        for name, content in (("one", one), ("two", other)):
            (tmp_path / f"{name}_challenges.json").write_text(json.dumps(content))
        files = [tmp_path / f"{name}_challenges.json" for name in ("one", "two")]
        assert trm("arc", tmp_path / "out", "--files", *files, "--augmentations", 0) == 0
        told = capsys.readouterr().out
        assert "3 tasks left out, being in an earlier subset" in told
        assert "1 task among these with other grids than the one that was kept, first changed in two" in told

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--foo"], "unknown option --foo: "),
            (["sudoku"], "the following arguments are required: out"),
            (["sudoku", "new"], "one of the arguments --train --generate is required"),
            (["sudoku", "new", "--train", "six.csv", "--generate", "3"], "not allowed with argument"),
            (["sudoku", "", "--generate", "3"], "'' is no name for a file or a folder"),
            (["sudoku", "/", "--generate", "3"], "'/' is no name"),
            (["sudoku", "a\nb", "--generate", "3"], r"'a\\nb' is no name"),
            (["sudoku", "..", "--generate", "3"], "exists already"),
            (["sudoku", "six.csv", "--generate", "3"], "six.csv exists already"),
            (["sudoku", "new.jsonl", "--generate", "3"], "new.jsonl is called like a file, and would become a folder"),
            (["sudoku", "new.gz", "--generate", "3"], "new.gz is called like a file"),
            (["maze", "new.npz", "--train", "six.csv"], "new.npz is called like a file"),
            (["arc", "new.csv", "--files", "six.csv"], "new.csv is called like a file"),
            ([GRID[0], "new.JSON", *GRID[2:], "9x9", "--alphabet", ".1"], "new.JSON is called like a file"),
            (["download", "maze-hard", "--to", "maze.csv"], "maze.csv is called like a file"),
            (["sudoku", "six.csv/new", "--generate", "3"], "six.csv is a file"),
            (["sudoku", "new", "--generate", "0"], "'0' is no whole number of at least 1"),
            (["sudoku", "new", "--generate", "3,x"], "'x' is no whole number"),
            (["sudoku", "new", "--generate", "3", "--box", "3"], "'3' is no size"),
            (["sudoku", "new", "--generate", "3", "--box", "9x9"], "make no Sudoku"),
            (["sudoku", "new", "--generate", "3", "--clues", "30"], "'30' is no range"),
            (["sudoku", "new", "--generate", "3", "--clues", "40,30"], "must be a (low, high) pair"),
            (["sudoku", "new", "--generate", "3", "--limit", "3"], "--limit counts only with --train"),
            (["sudoku", "new", "--generate", "3", "--seed", "-1"], "'-1' is no whole number|expected one argument"),
            (["sudoku", "new", "--generate", "3", "--seed", str(1 << 63)], "is no whole number|seed"),
            (["sudoku", "new", "--train", "six.csv", "--minimal"], "--minimal counts only with --generate"),
            (["sudoku", "new", "--train", "six.csv", "--workers", "2"], "--workers counts only with --generate"),
            (["sudoku", "new", "--train", "none.csv"], "none.csv: cannot be opened"),
            (["sudoku", "new", "--train", "six.csv", "--test", "six.csv"], "drop them from training by --overlap drop"),
            (["sudoku", "new", "--train", "six.csv", "--augmentations", "10001"], "give 0 to 10000"),
            (["sudoku", "new.csv", "--train", "six.csv"], "tables are written of generated puzzles only"),
            (["sudoku", "new.csv", "--generate", "3,1"], "a table holds one set: give --generate 3"),
            (["sudoku", "new.csv", "--generate", "3", "--augmentations", "1"], "counts only in a folder"),
            (["maze", "new", "--generate", "3"], "give --size and --min-length"),
            (["maze", "new", "--generate", "3", "--size", "4x4", "--min-length", "99"], "lower it"),
            (["maze", "new", "--train", "six.csv"], "row 2, column question"),
            (["arc", "new"], "which tasks?"),
            (["arc", "new", "--subsets", "a"], "--subsets goes with --prefix"),
            (["arc", "new", "--prefix", "x", "--subsets", "a"], "no such file"),
            ([*GRID, "9x9", "--alphabet", ""], "alphabet"),
            ([*GRID, "9x", "--alphabet", ".1"], "'9x' is no size"),
            ([*GRID, "9x9", "--alphabet", ".1", "--rules", "no.py"], "no such file"),
            ([*GRID, "9x9", "--alphabet", ".1", "--columns", "a,"], "two columns"),
            (["verify"], "the following arguments are required: paths"),
            (["verify", "none"], "none: cannot be opened"),
            (["verify", "."], "no dataset folder"),
            (["verify", "six.csv", "--json", "no/where.json"], "there is no folder no"),
            (["verify", "six.csv", "--puzzle", "chess"], "'chess' is no kind of puzzle"),
            (["show", "six.csv", "--rows", "8"], "no row 8: the last is 7, as the lines of the file are counted"),
            (["show", "six.csv", "--rows", "2,,3"], "is no whole number"),
            (["show", "six.csv", "--puzzle", "{"], "not readable as JSON"),
            (["download", "chess"], "is no benchmark that can be fetched"),
            (["download", "maze-hard", "--to", "six.csv"], "exists already"),
            (["verify", "six.csv", "--fast"], "unknown option --fast: "),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told_in_one_line(
        self, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        words: Sequence[str], message: str,
    ) -> None:  # fmt: skip
        monkeypatch.chdir(table.parent)
        assert trm(*words) == 2
        told = capsys.readouterr()
        (line,) = told.err.splitlines()
        assert line.startswith("trm: error: ")
        assert any(part.replace("\\\\", "\\") in line for part in message.split("|"))
        assert {path.name for path in table.parent.iterdir()} == {"six.csv"}

    def test_jax_stays_away(self, table: Path) -> None:
        program = """
import sys
from trm_jax.commands.cli import main
for words in (["sudoku", "out", "--train", "six.csv", "--augmentations", "2"], ["verify", "out", "six.csv"]):
    main(["data", *words])
sys.exit("jax" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", program], cwd=table.parent, capture_output=True)
        assert done.returncode == 0, done.stderr


class TestVerify:
    def test_faults_are_told_and_counted(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        text = table.read_text()
        lines = text.splitlines()
        fields = lines[3].split(",")
        fields[1] = fields[1][1::-1] + fields[1][2:]
        table.write_text("\n".join([*lines[:3], ",".join(fields), *lines[4:], lines[1]]))
        assert trm("verify", table, "--json", tmp_path / "report.json") == 1
        told = capsys.readouterr().out.splitlines()
        assert told[0] == str(table)
        assert "  rules                      7  1 at fault" in told
        assert any(line.startswith("    row 4: answer: digit ") for line in told)
        assert "    row 8: the same question as in row 2" in told
        assert told[-1].startswith("3 faults, ")
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["faults"] == 3
        assert [check["faults"] for check in report["checks"]] == [0, 0, 1, 1, 1]

    def test_more_faults_than_places(self, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
        lines = table.read_text().splitlines()
        table.write_text("\n".join([*lines, *([lines[1]] * 8)]))
        assert trm("verify", table, "--quick") == 1
        told = capsys.readouterr().out
        assert "    and 3 more" in told
        assert "one solution" not in told


class TestShow:
    def test_question_beside_answer(self, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert trm("show", table, "--rows", "4") == 0
        told = capsys.readouterr().out.splitlines()
        assert told[0] == f"{table} row 4"
        (question,), (answer,) = (side[2:3] for side in read_pairs(table))
        cells = [line.split("   ") for line in told[1:12] if "-" not in line]
        for side, wanted in enumerate((question, answer)):
            shown = "".join(char for line in cells for char in line[side] if char in ".123456789")
            assert shown == sudokus.to_text(sudokus.decode(wanted))

    def test_without_answers_it_shows_the_questions_alone(
        self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        pytest.importorskip("matplotlib")
        rows = [",".join(line.split(",")[::2]) for line in table.read_text().splitlines()]
        table.write_text("\n".join(rows))
        assert trm("show", table, "--count", 1, "--picture", tmp_path / "p.png") == 0
        told = capsys.readouterr().out.splitlines()
        assert told[0] == f"{table} row 2, no known answer"
        assert "".join(told[1:12]).translate(str.maketrans("", "", " |-+")).isprintable()
        assert sum(line.count(".") for line in told[1:]) < 81

    def test_a_known_answer_that_is_wrong_is_marked(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "t.csv"
        path.write_text("question,answer\n12..341.21434321,4234341221434321\n1.34341221434321,1234341221434321\n")
        assert trm("show", path) == 0
        told = capsys.readouterr().out
        assert " 4!2 | 3'4!\n" in told
        assert told.count("!") == 3 + 1  # the clue, one each of its row, its column and its box

    def test_kinds_that_cannot_be_guessed(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "t.csv"
        for question, mend in (
            (
                "4.3e+79",
                ": '4.3e+79' is a number that a spreadsheet has made of the cells, and rounded: fetch the file again, "
                "and import the column as text",
            ),
            (
                "1" * 80,
                ": give --puzzle, or of mazes that are no squares --size; did a spreadsheet drop zeros at its start? "
                "fetch the file again, and import the column as text",
            ),
            ("#S G###", ": give --puzzle, or of mazes that are no squares --size"),
        ):
            path.write_text(f"puzzle,solution\n{question},{'1' * 81}\n")
            assert trm("show", path) == 2
            told = "of which kind are its puzzles? they look like neither sudoku nor maze"
            assert capsys.readouterr().err == f"trm: error: {path}: {told}{mend}\n"

    def test_a_size_that_is_guessed_is_told(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "t.csv"
        path.write_text(f"puzzle\nS{' ' * 34}G\n")
        assert trm("show", path) == 0
        told = "they look like maze 6 x 6 (guessed): --puzzle names another, --size another size"
        assert capsys.readouterr().err == f"{path}: does not tell the kind of its puzzles; {told}\n"
        assert trm("show", path, "--size", "4x9") == 0
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("question", "problem"),
        [
            ("53+4+67......", "'+' in line 1, column 3 of the text is neither a digit 1-9 or A-P nor a blank"),
            ("42-13/3-1242/1234/4321", "'/' in line 1, column 6 of the text is neither"),
            ("4 2 -1 3\n3 -1 2 4\n1 2 3 4\n4 3 2 1", "'-1' in line 1, column 5 of the text (r1c3) is neither"),
            (
                "[[4, 2, -1, 3], [3, -1, 2, 4], [1, 2, 3, 4], [4, 3, 2, 1]]",
                "'-1' in line 1, column 9 of the text (r1c3)",
            ),
        ],
    )
    @pytest.mark.parametrize("command", ["show", "verify"])
    def test_signs_are_told_whatever_the_kind(
        self, command: str, question: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "t.csv"
        path.write_text(f'puzzle\n"{question}"\n')
        assert trm(command, path) == 2
        assert capsys.readouterr().err.startswith(f"trm: error: {path}: row 2, column puzzle: {problem}")

    @pytest.mark.parametrize("words", [["show"], ["verify"], ["sudoku", "out", "--train"]])
    def test_the_csv_of_2020_is_no_table(
        self, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("answers.csv").write_text("output_id,output\n00576224_0,|32|78| |00|00| \n")
        for more in ([], ["--columns", "output_id,output"]):
            assert trm(*words, "answers.csv", *more) == 2
            assert capsys.readouterr().err == (
                "trm: error: answers.csv: row 1, column ?: ARC answers in the CSV of the contest of 2020, which is "
                "not read: give its tasks, which are JSON, to `trm data arc`\n"
            )

    def test_a_legend_is_not_of_a_folder(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["show", tmp_path], ["verify", table, tmp_path]):
            assert trm(*words, "--legend", "#.SE*") == 2
            told = f"--legend is of tables and texts; {tmp_path} is a dataset folder, of tokens: leave it out"
            assert capsys.readouterr().err == f"trm: error: {told}\n"

    def test_the_first_ones_of_a_folder(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        trm("sudoku", tmp_path / "out", "--train", table, "--test", table, "--overlap", "keep", "--augmentations", 1)
        capsys.readouterr()
        assert trm("show", tmp_path / "out") == 0
        told = [line for line in capsys.readouterr().out.splitlines() if "row" in line]
        assert told == [f"{tmp_path / 'out'} train row {row + 1}, group {row // 2 + 1}" for row in range(3)]
        assert trm("show", tmp_path / "out", "--split", "test", "--count", "99") == 0
        assert capsys.readouterr().out.count("test row") == 6
        assert trm("show", tmp_path / "out", "--split", "nothing") == 2
        assert "no split 'nothing': there are test, train" in capsys.readouterr().err
        (tmp_path / "out" / "test").rename(tmp_path / "elsewhere")
        assert trm("show", tmp_path / "out", "--split", "nothing") == 2
        assert "no split 'nothing': there is train\n" in capsys.readouterr().err
        assert trm("show", table, "--split", "train") == 2
        assert "a table has no splits" in capsys.readouterr().err

    def test_names_from_a_foreign_file_cannot_move_the_cursor(self, tmp_path: Path) -> None:
        with Writer(tmp_path / "out", 4, 9, puzzle=None) as writer:
            writer.split("train").add(np.ones((1, 4), int), np.ones((1, 4), int), [1], [1])
            writer.finish(["<blank>", "evil\x1b[2Jname\n$"])
        out = Console(record=True, highlight=False, width=100, file=io.StringIO())
        show(tmp_path / "out", out=out, picture=tmp_path / "p.png")
        text = out.export_text()
        assert "id 1: evil?[2Jname?$" in text
        assert "\x1b" not in text

    def test_a_picture(self, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        pytest.importorskip("matplotlib")
        trm("maze", tmp_path / "m", "--generate", "3", "--size", "8x8", "--min-length", 8)
        for source in (table, tmp_path / "m"):
            picture = tmp_path / f"{source.name}.png"
            assert trm("show", source, "--count", 2, "--picture", picture) == 0
            assert picture.read_bytes().startswith(b"\x89PNG")
        capsys.readouterr()
        assert trm("show", table, "--rows", ",".join("2" * 51), "--picture", tmp_path / "p.png") == 2
        assert "a picture has 1 to 50 examples, not 51" in capsys.readouterr().err


def read_pairs(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    puzzles = dataset.read_table(path, "sudoku")
    return np.asarray(puzzles.inputs), np.asarray(puzzles.labels)


class TestDownload:
    def fake(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Exception | None = None) -> list[Any]:
        huggingface_hub = pytest.importorskip("huggingface_hub")
        asked: list[Any] = []

        def hf_hub_download(repository: str, file: str, **words: Any) -> str:
            asked.append((repository, file, words))
            if fault is not None and file == "test.csv":
                raise fault
            (tmp_path / "cache").mkdir(exist_ok=True)
            (tmp_path / "cache" / file).write_text(f"the {file}")
            return str(tmp_path / "cache" / file)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", hf_hub_download)
        return asked

    def test_both_files_at_the_revision_on_record(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        asked = self.fake(monkeypatch, tmp_path)
        assert trm("download", "maze-hard", "--to", tmp_path / "new" / "maze") == 0
        words = {"repo_type": "dataset", "revision": "549754de3d67eebe57b6b22c7d226b9412d55b07"}
        assert asked == [("sapientinc/maze-30x30-hard-1k", f"{split}.csv", words) for split in ("train", "test")]
        assert (tmp_path / "new" / "maze" / "test.csv").read_text() == "the test.csv"
        told = capsys.readouterr().out
        assert "train.csv  13 bytes" in told
        assert "next: trm data maze OUT --train " in told

    def test_another_revision(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked = self.fake(monkeypatch, tmp_path)
        hub.download("sudoku-extreme-1k", tmp_path / "a", "abc")
        assert [words["revision"] for _, _, words in asked] == ["abc", "abc"]
        with pytest.raises(DataError, match="give --revision, a commit of it"):
            hub.download("sudoku-extreme-1k", tmp_path / "b")

    def test_every_revision_is_a_whole_commit(self) -> None:
        for source in hub.SOURCES.values():
            assert source.revision is None or (len(source.revision) == 40 and int(source.revision, 16))

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("LocalEntryNotFoundError", "no\nnetwork", "could not reach the hub"),
            ("OfflineModeIsEnabled", "offline", "could not reach the hub"),
            ("ConnectionError", "refused", "could not reach the hub"),
            ("RepositoryNotFoundError", "401", "no such file for you"),
            ("RevisionNotFoundError", "404", "no such file for you"),
            ("EntryNotFoundError", "404", "no such file for you"),
            ("HfHubHTTPError", "503\nbusy", "not fetched (503 busy"),
            ("OSError", "No space left on device", "not fetched (No space left on device)"),
            ("RuntimeError", "", "not fetched (RuntimeError)"),
        ],
    )
    def test_one_line_and_nothing_half(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str],
        name: str, text: str, message: str,
    ) -> None:  # fmt: skip
        library = pytest.importorskip("huggingface_hub.errors")
        kind = getattr(library, name, None) or getattr(builtins, name)
        answered = issubclass(kind, library.HfHubHTTPError)
        fault = kind(text, response=SimpleNamespace(headers={}, request=None)) if answered else kind(text)
        self.fake(monkeypatch, tmp_path, fault)
        assert trm("download", "sudoku-extreme", "--to", tmp_path / "out") == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert "sapientinc/sudoku-extreme test.csv" in line
        assert "every builder works from local files" in line
        assert {path.name for path in tmp_path.iterdir()} == {"cache"}

    def test_without_the_library(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        assert trm("download", "maze-hard", "--to", tmp_path / "out") == 2
        assert 'pip install "trm_jax[hub]"' in capsys.readouterr().err

    def test_what_exists_is_kept(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        asked = self.fake(monkeypatch, tmp_path)
        (tmp_path / "out").mkdir()
        with pytest.raises(DataError, match="exists already"):
            hub.download("maze-hard", tmp_path / "out")
        assert asked == []


def test_a_dataset_says_how_it_was_built(tmp_path: Path) -> None:
    assert main(["data", "sudoku", str(tmp_path / "one"), "--generate", "5,2", "--box", "2x2", "--seed", "3"]) == 0
    built = json.loads((tmp_path / "one" / "built.json").read_text())
    assert built["command"] == "trm data sudoku"
    words = built["arguments"]
    assert (words["generate"], words["box"], words["seed"]) == ([5, 2], "2x2", 3)
    again = ["--generate", ",".join(map(str, words["generate"])), "--box", words["box"], "--seed", str(words["seed"])]
    assert main(["data", "sudoku", str(tmp_path / "two"), *again]) == 0
    for name in ("train/all__inputs.npy", "test/all__labels.npy", "puzzle.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class TestTexts:
    """Sizes and characters that the tables do not tell."""

    MAZES = "question,answer\nS  ### #   G,Sooo## o###\n"

    @pytest.fixture
    def mazes(self, tmp_path: Path) -> tuple[Path, Path]:
        """A maze of 2 x 6 as a table, and the same with other characters."""
        ours, theirs = tmp_path / "ours.csv", tmp_path / "theirs.csv"
        question, answer = "S  ####   G#", "So ####oooG#"
        ours.write_text(f"question,answer\n{question},{answer}\n")
        other = str.maketrans(" Go", ".E*")
        theirs.write_text(f"question,answer\n{question.translate(other)},{answer.translate(other)}\n")
        return ours, theirs

    def test_mazes(self, mazes: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        ours, theirs = mazes
        assert trm("verify", ours, "--size=2x6") == 0
        assert trm("verify", theirs, "--size=2x6", "--legend=#.SE*") == 0
        assert trm("verify", theirs, '--puzzle={"kind": "maze", "shape": [2, 6], "legend": "#.SE*"}') == 0
        assert trm("maze", tmp_path / "a", "--train", ours, "--size=2x6") == 0
        assert trm("maze", tmp_path / "b", "--train", theirs, "--size=2x6", "--legend=#.SE*") == 0
        read = [dataset.read_folder(tmp_path / name, "train") for name in "ab"]
        np.testing.assert_array_equal(read[0].inputs, read[1].inputs)
        np.testing.assert_array_equal(read[0].labels, read[1].labels)
        capsys.readouterr()
        assert trm("show", ours, "--size=2x6") == 0
        plain = capsys.readouterr().out
        assert trm("show", theirs, "--size=2x6", "--legend=#.SE*") == 0
        assert capsys.readouterr().out == plain.replace("ours", "theirs")

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (["show", "ours.csv"], "of which kind are its puzzles?"),
            (["verify", "ours.csv", "--size=3x5"], "12 cells found, but a maze of 3 x 5 is needed"),
            (["verify", "theirs.csv", "--size=2x6"], "for other characters give --legend, as #.SG*"),
            (
                ["verify", "theirs.csv", "--legend=#.SE*"],
                "--legend of which kind? give --puzzle=sudoku or --puzzle=maze",
            ),
            (
                ["verify", "ours.csv", "--puzzle=sudoku", "--size=2x6"],
                "'shape' says nothing of a puzzle of kind 'sudoku'",
            ),
            (
                ["maze", "new", "--train=ours.csv", "--size=2x6", "--legend=#.S"],
                "legend: '#.S' is none: give 5 characters",
            ),
            (
                ["maze", "new", "--generate=2", "--size=5x5", "--min-length=3", "--legend=#.SG*"],
                "--legend counts only with",
            ),
        ],
    )
    def test_what_is_refused(
        self, words: list[str], expected: str, mazes: tuple[Path, Path], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    ) -> None:  # fmt: skip
        monkeypatch.chdir(tmp_path)
        assert trm(*words) == 2
        assert expected in capsys.readouterr().err

    def test_hexadecimal_tables_are_told_by_all_rows(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        full = "".join("123456789ABCDEFG"[(4 * r + r // 4 + c) % 16] for r in range(16) for c in range(16))
        other = str.maketrans("123456789ABCDEFG", "0123456789ABCDEF")
        rows = [(full.replace("1", "."), full), ("." + full[1:], full)]
        tables = {
            "ours.csv": rows,
            "theirs.csv": [(q.translate(other), a.translate(other)) for q, a in rows],
            "zeros.csv": [(q.replace(".", "0"), a) for q, a in rows],
            "asked.csv": [(q.translate(other).replace(".", "0"), a.translate(other)) for q, a in rows],
        }
        for name, pairs in tables.items():
            (tmp_path / name).write_text("question,answer\n" + "".join(f"{q},{a}\n" for q, a in pairs))
        read = [dataset.read_table(tmp_path / name, "sudoku") for name in list(tables)[:3]]
        for other_set in read[1:]:
            np.testing.assert_array_equal(other_set.inputs, read[0].inputs)
            np.testing.assert_array_equal(other_set.labels, read[0].labels)
        for number, name in enumerate(list(tables)[:3]):
            assert trm("sudoku", tmp_path / str(number), "--train", tmp_path / name) == 0
            built = dataset.read_folder(tmp_path / str(number), "train")
            np.testing.assert_array_equal(built.inputs, read[0].inputs)
        capsys.readouterr()
        assert trm("show", tmp_path / "theirs.csv") == 0
        out = capsys.readouterr().out
        assert "F" in out
        assert "G" not in out
        for words in (["show"], ["verify"], ["sudoku", tmp_path / "new", "--train"]):
            assert trm(*words, tmp_path / "asked.csv") == 2
            assert "0 may be a blank or a digit" in capsys.readouterr().err
        assert trm("show", tmp_path / "asked.csv", "--puzzle=sudoku", "--legend=0123456789ABCDEFG") == 0
