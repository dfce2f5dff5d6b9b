"""The commands `trm data ...`: their words, and what they tell when they are done. JAX is never imported."""

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trm_jax.commands import arguments
from trm_jax.data.builders.running import Progress, in_bytes, stoppable, tell_end, tell_pairs, tell_table
from trm_jax.errors import ConfigError, DataError
from trm_jax.version import VERSION

# As cli.py has them.
_DONE, _FAILED = 0, 1

_Run = Callable[[argparse.Namespace], int]


def add_commands(kinds: "argparse._SubParsersAction[Any]") -> None:
    """Adds a command for each thing to do to `trm data`; every one sets `run`, which takes (args, rest)."""

    def command(name: str, run: _Run, about: str) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=about, description=about, allow_abbrev=False)
        sub.set_defaults(run=lambda args, rest: stoppable(partial(_recorded, name, run), args), takes_config=False)
        return sub

    sudoku = command("sudoku", _sudoku, "build a Sudoku dataset, from tables or generated")
    _add_pairs(sudoku)
    sudoku.add_argument("--box", type=arguments.box, help="rows x columns of a box, e.g. 2x3 (by the number of cells)")
    sudoku.add_argument("--augmentations", type=arguments.count, default=0, help="images of each training puzzle (0)")
    sudoku.add_argument(
        "--min-rating",
        type=arguments.count,
        help="of training rows (column rating), or generate: of all",
    )
    sudoku.add_argument("--clues", type=arguments.low_high, help="generate: LOW,HIGH clues, drawn evenly")
    sudoku.add_argument("--minimal", action="store_true", help="generate: no clue can go")

    maze = command("maze", _maze, "build a maze dataset, from tables or generated")
    _add_pairs(maze)
    maze.add_argument("--size", type=arguments.size, help="rows x columns, e.g. 30x30 (of a table: a square)")
    maze.add_argument("--min-length", type=arguments.positive, help="generate: steps of a shortest path at least")
    maze.add_argument("--augment", action="store_true", help="each training maze with its mirror images and turns")

    arc = command("arc", _arc, "build an ARC dataset from the contests' JSON files")
    arc.add_argument("out", type=arguments.new_path, help="the dataset folder to be")
    arc.add_argument("--prefix", default="", help="the files are PREFIX_SUBSET_challenges.json and ..._solutions.json")
    arc.add_argument("--subsets", type=arguments.names, default=[], help="e.g. training,evaluation,concept")
    arc.add_argument(
        "--files", nargs="+", default=[], metavar="CHALLENGES[:SOLUTIONS]",
        help="single files; the name of each as a subset is the file's, less _challenges.json",
    )  # fmt: skip
    arc.add_argument("--test", type=arguments.names, default=[], help="subsets whose test examples are held out")
    arc.add_argument("--augmentations", type=arguments.count, default=1000, help="of each task, besides itself (1000)")
    arc.add_argument("--seed", type=arguments.count, default=0, help="of the augmentations (0)")
    _add_overlap(arc)

    grid = command("grid", _grid, "build a dataset of your own puzzle on a grid")
    grid.add_argument("out", type=arguments.new_path, help="the dataset folder to be")
    grid.add_argument("--train", type=Path, required=True, help="CSV or JSONL file of questions and answers")
    grid.add_argument("--test", type=Path, help="another, for the test split")
    grid.add_argument("--shape", type=arguments.size, required=True, help="rows x columns, e.g. 5x5")
    grid.add_argument("--alphabet", required=True, help="its characters, the blank first, e.g. .01234#O")
    grid.add_argument("--symmetries", default="", help="under which a puzzle stays one, e.g. 'dihedral relabel(123)'")
    _add_columns(grid)
    grid.add_argument(
        "--rules", type=Path, help="Python file with check(question, answer), which every row has to pass"
    )
    grid.add_argument("--holdout", type=arguments.count, default=0, help="so many training rows become the test split")
    grid.add_argument("--augmentations", type=arguments.count, default=0, help="images of each training puzzle (0)")
    _add_choice(grid)
    _add_overlap(grid)

    verify = command("verify", _verify, "check datasets and tables, and what they have in common")
    verify.add_argument("paths", type=Path, nargs="+", help="dataset folders and tables")
    _add_kind(verify)
    verify.add_argument("--quick", action="store_true", help="prove neither single solutions nor augmented images")
    verify.add_argument("--workers", type=arguments.positive, default=1, help="processes for the proofs (1)")
    verify.add_argument("--json", type=arguments.output_file, help="also write what was found to this file")

    show = command("show", _show, "print examples of a dataset or a table")
    show.add_argument("path", type=Path, help="dataset folder or table")
    show.add_argument("--split", default="", help="of a dataset folder (the first: train)")
    show.add_argument("--rows", type=arguments.rows, default=[], help="which, counted from 0, e.g. 0,5,7")
    show.add_argument("--count", type=arguments.positive, default=3, help="the first so many (3)")
    show.add_argument("--picture", type=arguments.output_file, help="also draw them into this PNG file")
    _add_kind(show)

    download = command("download", _download, "fetch a public benchmark from the Hugging Face Hub")
    download.add_argument("name", help="sudoku-extreme, sudoku-extreme-1k or maze-hard")
    download.add_argument("--to", type=arguments.new_path, help="the folder to be (data/NAME)")
    download.add_argument("--revision", default="", help="a commit of the repository (the one on record)")


def _recorded(name: str, run: _Run, args: argparse.Namespace) -> int:
    """Runs a command; beside the dataset that it has built, built.json says how, so that it can be built again."""
    code = run(args)
    out = getattr(args, "out", None)
    if out is not None and out.is_dir():
        words = {
            key: value for key, value in vars(args).items() if key not in ("run", "takes_config", "out", "workers")
        }
        versions = {"trm_jax": VERSION, "numpy": np.__version__}
        text = json.dumps({"command": f"trm data {name}", "arguments": words} | versions, indent=1, default=str)
        (out / "built.json").write_text(text + "\n")
    return code


def _add_pairs(sub: argparse.ArgumentParser) -> None:
    """What Sudokus and mazes have in common."""
    sub.add_argument("out", type=arguments.new_path, help="the folder to be, or a table to generate (.csv, .csv.gz)")
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=Path, help="CSV or JSONL file with question and answer, plain or .gz")
    source.add_argument("--generate", type=arguments.amounts, metavar="TRAIN[,TEST]", help="make so many puzzles")
    sub.add_argument("--test", type=Path, help="file of the test puzzles")
    sub.add_argument("--workers", type=arguments.positive, default=1, help="generate: processes (1)")
    _add_choice(sub)
    _add_overlap(sub)


def _add_choice(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--limit", type=arguments.positive, default=0, help="only the first so many training rows")
    sub.add_argument("--sample", type=arguments.positive, default=0, help="only so many of them, drawn at random")
    sub.add_argument("--seed", type=arguments.count, default=0, help="of all that is drawn (0)")


def _add_overlap(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--overlap", choices=("refuse", "drop", "keep"), default="refuse",
        help="training puzzles that are test puzzles up to symmetry (refuse)",
    )  # fmt: skip


def _add_columns(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--columns", type=arguments.columns, default=("question", "answer"), metavar="QUESTION,ANSWER",
        help="of a table; in JSONL, the keys (question,answer)",
    )  # fmt: skip


def _add_kind(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--puzzle", default="", help="sudoku, maze, arc or JSON, where the files do not tell")
    _add_columns(sub)
    sub.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")


def _sudoku(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import sudoku

    began = time.monotonic()
    if args.generate is None:
        _refuse(args, "only with --generate", clues=None, minimal=False, workers=1)
        _refuse_table(args.out)
        with Progress("building") as progress:
            summary = sudoku.build(
                args.out, args.train, args.test, box=args.box or "", choice=_choice(args),
                augmentations=args.augmentations, seed=args.seed, overlap=args.overlap, progress=progress,
            )  # fmt: skip
        tell_pairs(args.out, summary, began)
        return _DONE
    _refuse(args, "only with --train", test=None, limit=0, sample=0, overlap="refuse")
    wishes = sudoku.Wishes(args.box or "3x3", args.clues, args.minimal, args.min_rating)
    with Progress("generating") as progress:
        if _single(args):
            sudoku.generate_table(
                args.out, args.generate[0], wishes, seed=args.seed, workers=args.workers, progress=progress
            )
            tell_table(args.out, args.generate[0], began)
            return _DONE
        train, test = args.generate
        summary = sudoku.generate(
            args.out, train, test, wishes, seed=args.seed, augmentations=args.augmentations, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    tell_pairs(args.out, summary, began)
    return _DONE


def _maze(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import maze

    began = time.monotonic()
    if args.generate is None:
        _refuse(args, "only with --generate", min_length=None, workers=1)
        _refuse_table(args.out)
        puzzle = json.dumps({"kind": "maze"} | ({"shape": list(args.size)} if args.size else {}))
        with Progress("building") as progress:
            summary = maze.build(
                args.out, args.train, args.test, puzzle=puzzle, choice=_choice(args), augment=args.augment,
                overlap=args.overlap, progress=progress,
            )  # fmt: skip
        tell_pairs(args.out, summary, began)
        return _DONE
    _refuse(args, "only with --train", test=None, limit=0, sample=0, overlap="refuse")
    if args.size is None or args.min_length is None:
        raise ConfigError("which mazes? give --size and --min-length, such as --size 30x30 --min-length 110")
    wishes = maze.Wishes(args.size, args.min_length)
    with Progress("generating") as progress:
        if _single(args):
            maze.generate_table(
                args.out, args.generate[0], wishes, seed=args.seed, workers=args.workers, progress=progress
            )
            tell_table(args.out, args.generate[0], began)
            return _DONE
        train, test = args.generate
        summary = maze.generate(
            args.out, train, test, wishes, seed=args.seed, augment=args.augment, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    tell_pairs(args.out, summary, began)
    return _DONE


def _arc(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import arc

    began = time.monotonic()
    if args.subsets and not args.prefix:
        raise ConfigError("--subsets goes with --prefix: the files are PREFIX_SUBSET_challenges.json")
    sources = arc.find_subsets(args.prefix, args.subsets) + [_subset(text) for text in args.files]
    if not sources:
        raise ConfigError("which tasks? give --prefix and --subsets, or --files")
    with Progress("building") as progress:
        summary = arc.build(
            sources, args.out, test=args.test, augmentations=args.augmentations, seed=args.seed,
            overlap=args.overlap, progress=progress,
        )  # fmt: skip
    for split, sizes in summary.splits.items():
        print(f"{split:>8}  {sizes.groups} tasks, {sizes.puzzles} puzzles, {sizes.examples} examples")
    print(f"{summary.identifiers} identifiers")
    for count, words in (
        (summary.hidden, "test outputs are hidden"),
        (len(summary.overlap), "held-out tasks are in training subsets too, up to symmetry"),
        (len(summary.left_out), "tasks were left out of training for that"),
        (len(summary.repeated), "tasks were left out as an earlier subset has them"),
        (len(summary.fewer), "tasks have fewer augmentations than asked for, since no more of theirs differ"),
    ):
        if count:
            print(f"{count} {words}")
    tell_end(args.out, began)
    return _DONE


def _grid(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import grid
    from trm_jax.data.user_rules import load_rules

    began = time.monotonic()
    _refuse_table(args.out)
    about = {"kind": "grid", "shape": list(args.shape), "alphabet": args.alphabet, "symmetries": args.symmetries}
    with Progress("building") as progress:
        summary = grid.build(
            args.out, about, args.train, args.test, rules=load_rules(args.rules) if args.rules else None,
            columns=args.columns, choice=_choice(args), holdout=args.holdout, augmentations=args.augmentations,
            seed=args.seed, overlap=args.overlap, progress=progress,
        )  # fmt: skip
    tell_pairs(args.out, summary, began)
    return _DONE


def _verify(args: argparse.Namespace) -> int:
    from trm_jax.data.builders.verify import verify
    from trm_jax.data.user_rules import load_rules

    began = time.monotonic()
    rules = load_rules(args.rules) if args.rules else None
    with Progress("verifying") as progress:
        report = verify(
            args.paths, puzzle=args.puzzle, columns=args.columns, rules=rules, quick=args.quick, workers=args.workers,
            progress=progress,
        )  # fmt: skip
    where = ""
    for check in report.checks:
        if check.where != where:
            where = check.where
            print(where)
        found = f"{check.faults} at fault" if check.faults else "ok" if check.checked else "-"
        print(f"  {check.what:<18}{check.checked:>10}  {found}{'  ' + check.note if check.note else ''}")
        for place in check.places:
            print(f"    {place}")
        if check.faults > len(check.places):
            print(f"    and {check.faults - len(check.places)} more")
    print(f"{report.faults or 'no'} fault{'' if report.faults == 1 else 's'}, {time.monotonic() - began:.1f} s")
    if args.json:
        try:
            args.json.write_text(json.dumps(report.to_dict(), indent=1) + "\n")
        except OSError as error:
            raise DataError(f"{args.json}: cannot be written: {error.strerror}") from None
    return _FAILED if report.faults else _DONE


def _show(args: argparse.Namespace) -> int:
    from trm_jax.data.user_rules import load_rules
    from trm_jax.display.datasets import show

    rules = load_rules(args.rules) if args.rules else None
    show(args.path, args.split, args.rows or range(args.count), args.puzzle, args.columns, rules, args.picture)
    return _DONE


def _download(args: argparse.Namespace) -> int:
    from trm_jax.data.builders.hub import download

    to = args.to or Path("data") / args.name
    files = download(args.name, to, args.revision)
    for file in files:
        print(f"{file}  {in_bytes(file.stat().st_size)}")
    kind = "maze" if args.name.startswith("maze") else "sudoku"
    print(f"next: trm data {kind} OUT --train {files[0]} --test {files[1]}")
    return _DONE


def _choice(args: argparse.Namespace) -> Any:
    from trm_jax.data.builders.rows import Choice

    return Choice(args.limit, getattr(args, "min_rating", None), args.sample, args.seed)


def _refuse(args: argparse.Namespace, when: str, **defaults: Any) -> None:
    """ConfigError for an argument that would not be used."""
    for name, default in defaults.items():
        if getattr(args, name) != default:
            raise ConfigError(f"--{name.replace('_', '-')} counts {when}: leave it out")


def _refuse_table(out: Path) -> None:
    from trm_jax.data.builders.tables import is_table

    if is_table(out):
        raise ConfigError(f"{out}: tables are written of generated puzzles only: give the name of a folder")


def _single(args: argparse.Namespace) -> bool:
    """Whether one table of generated puzzles is wanted, not a dataset folder."""
    from trm_jax.data.builders.tables import is_table

    if not is_table(args.out):
        return False
    if args.generate[1]:
        raise ConfigError(f"{args.out}: a table holds one set: give --generate {args.generate[0]}, or name a folder")
    _refuse(args, "only in a folder", **({"augment": False} if "augment" in args else {"augmentations": 0}))
    return True


def _subset(text: str) -> Any:
    from trm_jax.data.builders.arc import Subset

    challenges, _, solutions = text.partition(":")
    name = Path(challenges).name.removesuffix(".json").removesuffix("_challenges")
    return Subset(name, Path(challenges), Path(solutions) if solutions else None)
