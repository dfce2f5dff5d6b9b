"""trm demo, train and sweep."""

import argparse
from pathlib import Path

from trm_jax.commands import arguments
from trm_jax.commands.arguments import output_folder, positive
from trm_jax.commands.words.shared import Commands, add_network, add_processes, command


def add(commands: Commands) -> None:
    """demo, train and sweep."""
    demo = command(commands, "demo", "train a small model on generated Sudokus, evaluate it, draw what it does")
    demo.add_argument(
        "--workdir", type=output_folder, default=Path("runs/demo"), help="where everything goes (runs/demo)"
    )
    demo.add_argument("--variant", default="", help="of experiments/demo.py: another size of Sudoku")
    demo.add_argument(
        "--steps", type=positive, default=0, help="of training (as in the experiment); a few show the way"
    )

    train = command(commands, "train", "train an experiment; the same command again resumes it", takes_config=True)
    train.add_argument("--workdir", type=output_folder, help="folder for checkpoints and metrics (runs/NAME)")
    train.add_argument(
        "--profile",
        type=arguments.window,
        default=range(0),
        metavar="FIRST:LAST",
        help="profile these steps into WORKDIR/profile",
    )
    train.add_argument(
        "--deterministic",
        action="store_true",
        help="the same bits in every run on GPUs too, perhaps slower; CPUs do that anyway",
    )
    train.add_argument(
        "--force", action="store_true", help="go on although the experiment or the puzzles are not those of the workdir"
    )
    train.add_argument(
        "--debug-nans", action="store_true", help="stop at the first number that is not finite and name its operation"
    )
    train.add_argument(
        "--max-minutes",
        type=arguments.minutes,
        default=0.0,
        metavar="M",
        help="stop after so long, saved; the same command goes on from there",
    )
    group = train.add_argument_group("weights to begin with", "short for --config.init.source, parts and new_rows")
    for flag, key, metavar, about in (
        ("from", "source", "SOURCE", "a workdir, a checkpoint in it, a .safetensors file, or a model of `trm models`"),
        ("parts", "parts", "PARTS", "network, heads, embeddings, table, with commas between, or all of them (all)"),
        (
            "new",
            "new_rows",
            "ROW",
            "puzzle ids that are new begin at zero, at the mean, or as the id of this name (zero)",
        ),
    ):
        word = arguments.value_of(f"init.{key}")
        group.add_argument(
            f"--init-{flag}", dest="init", action="append", default=[], type=word, metavar=metavar, help=about
        )
    add_processes(train)

    about = "train an experiment at many points, and put each into the ledger; the same command again resumes it"
    sweep = command(commands, "sweep", about, takes_config=True)
    _add_sweep(sweep)
    add_network(train)
    add_network(sweep)


def _add_sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workdir", type=output_folder, required=True, help="folder with a folder for each point")
    parser.add_argument(
        "--over",
        action="append",
        default=[],
        metavar="KEY=VALUE,VALUE",
        help="values to go through, in all combinations",
    )
    parser.add_argument(
        "--turn",
        action="append",
        default=[],
        metavar="KEY=VALUE[+KEY=VALUE]",
        help="a switch, or several at once, to be compared with the experiment without it",
    )
    parser.add_argument(
        "--pflop", type=arguments.pflop, metavar="X", help="train each for X * 1e15 operations (as the experiment says)"
    )
    parser.add_argument("--show", action="store_true", help="print the table as it stands, and run nothing")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    group = parser.add_argument_group("evaluation", "of the best weights of each point, or else its newest")
    about = "tables or dataset folders (the experiment's own)"
    group.add_argument("--eval", type=arguments.puzzles, metavar="SET", help=about)
    group.add_argument("--limit", type=positive, help="read at most so many puzzles")
    group.add_argument(
        "--eval-steps",
        type=arguments.positives,
        default=[],
        metavar="N,N",
        help="supervision steps to report on (N_sup)",
    )
    group.add_argument("--calls", type=positive, help="of models of candidates: calls for a puzzle, at most (1024)")
    group.add_argument("--chains", type=positive, help="likewise: chains of guesses, side by side (8)")
    group.add_argument("--seconds", type=arguments.seconds, help="likewise: for a puzzle, at most (no limit)")
    rows = parser.add_argument_group("rows of the ledger")
    rows.add_argument(
        "--ledger", type=arguments.jsonl_file, metavar="FILE", help="another ledger than the repository's"
    )
    rows.add_argument("--beside", default="", metavar="TEXT", help="what else the machine did meanwhile")
    rows.add_argument("--note", default="", metavar="TEXT", help="what has to be said beside the figures")
