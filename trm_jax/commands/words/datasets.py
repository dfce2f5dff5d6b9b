"""trm data and its commands."""

import argparse
from pathlib import Path

from trm_jax.commands import arguments
from trm_jax.commands.arguments import count, positive
from trm_jax.commands.words.shared import Commands, add_columns, add_legend, command


def add(commands: Commands) -> None:
    """data and its own commands."""
    data = commands.add_parser(
        "data", help="build, check and show datasets", description="Build, check, show datasets."
    )
    _add_kinds(data.add_subparsers(title="commands", required=True, metavar="COMMAND"))


def _add_kinds(kinds: Commands) -> None:
    sudoku = command(kinds, "data sudoku", "build a Sudoku dataset, from tables or generated")
    _add_pairs(sudoku)
    sudoku.add_argument("--box", type=arguments.box, help="rows x columns of a box, e.g. 2x3 (by the number of cells)")
    about = "puzzles beside each training puzzle with its answer, other clues and as many dead ends, up to 20 (0)"
    sudoku.add_argument("--neighbours", type=count, default=0, metavar="N", help=about)
    sudoku.add_argument("--augmentations", type=count, default=0, help="images of each training puzzle (0)")
    sudoku.add_argument(
        "--min-rating",
        type=count,
        help="of training rows (column rating), or generate: of all",
    )
    sudoku.add_argument("--clues", type=arguments.low_high, help="generate: LOW,HIGH clues, drawn evenly")
    sudoku.add_argument("--minimal", action="store_true", help="generate: no clue can go")

    maze = command(kinds, "data maze", "build a maze dataset, from tables or generated")
    _add_pairs(maze)
    maze.add_argument("--size", type=arguments.size, help="rows x columns, e.g. 30x30 (of a table: a square)")
    maze.add_argument("--min-length", type=positive, help="generate: steps of a shortest path at least")
    maze.add_argument("--perfect", action="store_true", help="generate: mazes with one path between any two cells")
    maze.add_argument("--augment", action="store_true", help="each training maze with its mirror images and turns")

    arc = command(kinds, "data arc", "build an ARC dataset from the contests' JSON files")
    arc.add_argument("out", type=arguments.new_folder, help="the dataset folder to be")
    arc.add_argument("--prefix", default="", help="of PREFIX_SUBSET_challenges.json, or of folders PREFIX/SUBSET")
    arc.add_argument("--subsets", type=arguments.names, default=[], help="e.g. training,evaluation,concept")
    arc.add_argument(
        "--files", nargs="+", default=[], metavar="CHALLENGES[:SOLUTIONS]",
        help="files, or folders with a file for each task; each is a subset of its name, less _challenges.json",
    )  # fmt: skip
    arc.add_argument("--test", type=arguments.names, default=[], help="subsets whose test examples are held out")
    arc.add_argument("--augmentations", type=count, default=1000, help="of each task, besides itself (1000)")
    arc.add_argument("--seed", type=count, default=0, help="of the augmentations (0)")
    _add_overlap(arc)

    grid = command(kinds, "data grid", "build a dataset of your own puzzle on a grid")
    grid.add_argument("out", type=arguments.new_folder, help="the dataset folder to be")
    grid.add_argument("--train", type=Path, required=True, help="CSV or JSON file of questions and answers")
    grid.add_argument("--test", type=Path, help="another, for the test split")
    grid.add_argument("--shape", type=arguments.size, required=True, help="rows x columns, e.g. 5x5")
    grid.add_argument("--alphabet", required=True, help="its characters, the blank first, e.g. .01234#O")
    grid.add_argument("--symmetries", default="", help="under which a puzzle stays one, e.g. 'dihedral relabel(123)'")
    add_columns(grid)
    grid.add_argument(
        "--rules", type=Path, help="Python file with check(question, answer), which every row has to pass"
    )
    grid.add_argument("--holdout", type=count, default=0, help="so many training rows become the test split")
    grid.add_argument("--augmentations", type=count, default=0, help="images of each training puzzle (0)")
    _add_choice(grid)
    _add_overlap(grid)

    verify = command(kinds, "data verify", "check datasets and tables, and what they have in common")
    verify.add_argument("paths", type=Path, nargs="+", help="dataset folders and tables")
    _add_kind(verify)
    verify.add_argument("--quick", action="store_true", help="prove neither single solutions nor augmented images")
    verify.add_argument("--workers", type=positive, default=1, help="processes for the proofs (1)")
    verify.add_argument("--json", type=arguments.json_file, help="also write what was found to this file")

    show = command(kinds, "data show", "print examples of a dataset or a table")
    show.add_argument("path", type=Path, help="dataset folder or table")
    show.add_argument("--split", default="", help="of a dataset folder (the first: train)")
    which = show.add_mutually_exclusive_group()
    which.add_argument("--rows", type=arguments.rows, default=[], help=f"which, e.g. 2,5,7: {arguments.ROWS}")
    which.add_argument("--count", type=positive, default=3, help="the first so many (3)")
    show.add_argument("--picture", type=arguments.png_file, help="also draw them into this PNG file")
    _add_kind(show)

    download = command(kinds, "data download", "fetch a public benchmark from the Hugging Face Hub")
    download.add_argument("name", help="sudoku-extreme, sudoku-extreme-1k or maze-hard")
    download.add_argument("--to", type=arguments.new_folder, help="the folder to be (data/NAME)")
    download.add_argument("--revision", default="", help="a commit of the repository (the one on record)")


def _add_pairs(sub: argparse.ArgumentParser) -> None:
    """What Sudokus and mazes have in common."""
    sub.add_argument(
        "out", type=arguments.new_folder_or_table, help="the folder to be, or a table to generate (.csv, .csv.gz)"
    )
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument("--train", type=Path, help="CSV or JSON file of questions and answers, plain or .gz")
    source.add_argument("--generate", type=arguments.amounts, metavar="TRAIN[,TEST]", help="make so many puzzles")
    sub.add_argument("--test", type=Path, help="file of the test puzzles")
    sub.add_argument("--workers", type=positive, help="processes that make puzzles (all cores; 1 for few puzzles)")
    add_columns(sub)
    add_legend(sub)
    _add_choice(sub)
    _add_overlap(sub)


def _add_choice(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--limit", type=positive, default=0, help="only the first so many training rows")
    sub.add_argument("--sample", type=positive, default=0, help="only so many of them, drawn at random")
    sub.add_argument("--seed", type=count, default=0, help="of all that is drawn (0)")


def _add_overlap(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--overlap", choices=("refuse", "drop", "keep"), default="refuse",
        help="training puzzles that are test puzzles up to symmetry (refuse)",
    )  # fmt: skip


def _add_kind(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--puzzle", default="", help="sudoku, maze, arc or JSON, where the files do not tell")
    sub.add_argument("--size", type=arguments.size, help="rows x columns of mazes that are no squares, e.g. 5x8")
    add_legend(sub)
    add_columns(sub)
    sub.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
