"""The commands `trm data ...`: what they do, and what they tell when they are done. JAX is never imported."""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trm_jax.commands import arguments
from trm_jax.commands.written import write
from trm_jax.data.builders.running import Progress, in_bytes, stoppable, tell_end, tell_pairs, tell_table
from trm_jax.devices.cores import cores
from trm_jax.errors import ConfigError
from trm_jax.exit_codes import DONE, FAILED
from trm_jax.puzzles.kinds import with_keys
from trm_jax.sizes import counted
from trm_jax.version import VERSION

if TYPE_CHECKING:
    from trm_jax.data.builders.pairs import Summary

# Generating puzzles of fewer cells altogether, or fewer of a rating, takes this process as long as others to start.
_MANY_CELLS, _MANY_RATED = 80_000, 8


def _sudoku(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import sudoku

    if args.generate is None:
        _refuse(args, "only with --generate", clues=None, minimal=False)
        if not args.neighbours:
            _refuse(args, "only with --generate or --neighbours", workers=None)
        how: dict[str, Any] = {"box": args.box or "", "legend": args.legend, "columns": args.columns}
        how |= {"neighbours": args.neighbours, "workers": args.workers or (cores() if args.neighbours else 1)}
        return _build(args, partial(sudoku.build, **how, augmentations=args.augmentations, seed=args.seed))
    _refuse(args, "only with --train", neighbours=0)
    _refuse_unused(args)
    wishes = sudoku.Wishes(args.box or "3x3", args.clues, args.minimal, args.min_rating)
    return _generate(args, wishes, sudoku.generate_table, partial(sudoku.generate, augmentations=args.augmentations))


def _maze(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import maze

    if args.generate is None:
        _refuse(args, "only with --generate", min_length=None, perfect=False, workers=None)
        puzzle = _described("maze", shape=args.size and list(args.size), legend=args.legend)
        return _build(args, partial(maze.build, puzzle=puzzle, columns=args.columns, augment=args.augment))
    _refuse_unused(args)
    if args.size is None or args.min_length is None:
        raise ConfigError("which mazes? give --size and --min-length, such as --size 30x30 --min-length 110")
    wishes = maze.Wishes(args.size, args.min_length, args.perfect)
    return _generate(args, wishes, maze.generate_table, partial(maze.generate, augment=args.augment))


def _arc(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import arc

    began = time.monotonic()
    if args.subsets and not args.prefix:
        raise ConfigError(
            "--subsets goes with --prefix: the files are PREFIX_SUBSET_challenges.json, or folders PREFIX/SUBSET"
        )
    sources = arc.find_subsets(args.prefix, args.subsets) + [_subset(text) for text in args.files]
    if not sources:
        raise ConfigError("which tasks? give --prefix and --subsets, or --files")
    with Progress("building") as progress:
        summary = arc.build(
            sources, args.out, test=args.test, augmentations=args.augmentations, seed=args.seed,
            overlap=args.overlap, progress=progress,
        )  # fmt: skip
    for split, sizes in summary.splits.items():
        print(f"{split:>8}  {_sizes(sizes)}")
    print(counted(summary.identifiers, "identifier"))
    for count, noun, words in (
        (summary.hidden, "test output", "hidden"),
        (len(summary.overlap), "held-out task", "in training subsets too, up to symmetry"),
        (len(summary.left_out), "task", "left out of training for that"),
        (len(summary.repeated), "task", "left out, being in an earlier subset"),
        (len(summary.differing), "task", f"among these with other grids than the one that was kept{_first(summary)}"),
        (len(summary.fewer), "task", "with fewer augmentations than asked for, since no more of theirs differ"),
    ):
        if count:
            print(f"{counted(count, noun)} {words}")
    tell_end(args.out, began)
    return DONE


def _sizes(sizes: Any) -> str:
    parts = (sizes.groups, "task"), (sizes.puzzles, "puzzle"), (sizes.examples, "example")
    return ", ".join(counted(*part) for part in parts)


def _first(summary: Any) -> str:
    """Which task of an ARC dataset was the first to differ from one of its name."""
    return "".join(f", first {task} in {subset}" for task, subset in summary.differing[:1])


def _grid(args: argparse.Namespace) -> int:
    from trm_jax.data.builders import grid
    from trm_jax.data.kept_rules import keep, kept_from
    from trm_jax.data.user_rules import load_rules

    kept = kept_from(args.rules) if args.rules else None
    about = {"kind": "grid", "shape": list(args.shape), "alphabet": args.alphabet, "symmetries": args.symmetries}
    code = _build(
        args,
        partial(
            grid.build, about=about, rules=kept and load_rules(args.rules, kept.sha256), columns=args.columns,
            holdout=args.holdout, augmentations=args.augmentations, seed=args.seed,
        ),
    )  # fmt: skip
    if kept is not None:
        keep(kept, args.out)
    return code


def _build(args: argparse.Namespace, build: Callable[..., "Summary"]) -> int:
    """A dataset folder from tables."""
    from trm_jax.data.builders.tables import is_table

    began = time.monotonic()
    if is_table(args.out):
        raise ConfigError(f"{args.out}: tables are written of generated puzzles only: give the name of a folder")
    with Progress("building") as progress:
        summary = build(
            args.out, train=args.train, test=args.test, choice=_choice(args), overlap=args.overlap, progress=progress
        )
    tell_pairs(args.out, summary, began)
    return DONE


def _generate(
    args: argparse.Namespace, wishes: Any, table: Callable[..., tuple[str, ...]], folder: Callable[..., "Summary"]
) -> int:
    """A table or a dataset folder of generated puzzles."""
    began = time.monotonic()
    train, test = args.generate
    with Progress("generating") as progress:
        how: dict[str, Any] = {
            "seed": args.seed,
            "workers": args.workers or _workers(train + test, args),
            "progress": progress,
        }
        if _single(args):
            notes = table(args.out, train, wishes, **how)
            tell_table(args.out, train, notes, began)
            return DONE
        summary = folder(args.out, train, test, wishes, **how)
    tell_pairs(args.out, summary, began)
    return DONE


def _workers(puzzles: int, args: argparse.Namespace) -> int:
    """Processes for so many puzzles, where nobody says how many: all cores, unless starting them takes longer."""
    if getattr(args, "min_rating", None):
        many = puzzles >= _MANY_RATED
    else:
        rows, columns = args.size if "size" in args else arguments.size(args.box or "3x3")
        cells = rows * columns if "size" in args else (rows * columns) ** 2
        many = puzzles * cells >= _MANY_CELLS
    return min(cores(), 256) if many else 1


def _verify(args: argparse.Namespace) -> int:
    from trm_jax.data.builders.verify import verify
    from trm_jax.data.kept_rules import rules_of

    began = time.monotonic()
    _refuse_columns(args, args.paths)
    rules = rules_of(args.rules, args.paths)
    with Progress("verifying") as progress:
        report = verify(
            args.paths, puzzle=_kind(args, args.paths), columns=args.columns, rules=rules, quick=args.quick,
            workers=args.workers, progress=progress,
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
        write(args.json, json.dumps(report.to_dict(), indent=1) + "\n")
    return FAILED if report.faults else DONE


def _show(args: argparse.Namespace) -> int:
    from trm_jax.data.kept_rules import rules_of
    from trm_jax.display.datasets import show

    _refuse_columns(args, [args.path])
    rules = rules_of(args.rules, [args.path])
    show(args.path, args.split, args.rows or args.count, _kind(args, [args.path]), args.columns, rules, args.picture)
    return DONE


def _download(args: argparse.Namespace) -> int:
    from trm_jax.data.builders.hub import download

    to = args.to or Path("data") / args.name
    files = download(args.name, to, args.revision)
    for file in files:
        print(f"{file}  {in_bytes(file.stat().st_size)}")
    kind = "maze" if args.name.startswith("maze") else "sudoku"
    print(f"next: trm data {kind} OUT --train {files[0]} --test {files[1]}")
    return DONE


def _kind(args: argparse.Namespace, paths: Sequence[Path]) -> str:
    """The kind of puzzle that is named for these tables and folders, "" where none is."""
    from trm_jax.data.fit import refuse_for_folders

    refuse_for_folders(args.legend, paths)
    if args.legend and not (args.puzzle or args.size):
        raise ConfigError("--legend of which kind? give --puzzle=sudoku or --puzzle=maze")
    name = args.puzzle or ("maze" if args.size else "")
    return _described(name, shape=args.size and list(args.size), legend=args.legend)


def _described(puzzle: str, **keys: Any) -> str:
    """The description of a kind with what is said of it besides."""
    said = {key: value for key, value in keys.items() if value}
    return with_keys(puzzle, **said) if said else puzzle


def _choice(args: argparse.Namespace) -> Any:
    from trm_jax.data.builders.rows import Choice

    return Choice(args.limit, getattr(args, "min_rating", None), args.sample, args.seed)


def _refuse(args: argparse.Namespace, when: str, **defaults: Any) -> None:
    """ConfigError for an argument that would not be used."""
    for name, default in defaults.items():
        if getattr(args, name) != default:
            raise ConfigError(f"--{name.replace('_', '-')} counts {when}: leave it out")


def _refuse_columns(args: argparse.Namespace, paths: Sequence[Path]) -> None:
    """ConfigError for --columns where there is no table."""
    if args.columns != ("", "") and all(path.is_dir() for path in paths):
        raise ConfigError(f"{paths[0]}: no table, and --columns are of tables: leave it out")


def _refuse_unused(args: argparse.Namespace) -> None:
    """ConfigError for what only tables that are read take."""
    _refuse(args, "only with --train", test=None, limit=0, sample=0, overlap="refuse", legend="", columns=("", ""))


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
    from trm_jax.data.builders.arc import Subset, subset_name

    challenges, _, solutions = text.partition(":")
    return Subset(subset_name(Path(challenges)), Path(challenges), Path(solutions) if solutions else None)


def _recorded(run: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Runs a command; beside the dataset that it has built, built.json says how, so that it can be built again."""
    code = run(args)
    out = getattr(args, "out", None)
    if out is not None and out.is_dir():
        words = {
            key: value for key, value in vars(args).items() if key not in ("command", "takes_config", "out", "workers")
        }
        versions = {"trm_jax": VERSION, "numpy": np.__version__}
        text = json.dumps({"command": f"trm {args.command}", "arguments": words} | versions, indent=1, default=str)
        (out / "built.json").write_text(text + "\n")
    return code


def _command(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace, list[str]], int]:
    return lambda args, rest: stoppable(partial(_recorded, run), args)


COMMANDS = {
    "data sudoku": _command(_sudoku),
    "data maze": _command(_maze),
    "data arc": _command(_arc),
    "data grid": _command(_grid),
    "data verify": _command(_verify),
    "data show": _command(_show),
    "data download": _command(_download),
}
