"""What several commands take."""

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from trm_jax.commands import arguments
from trm_jax.commands.arguments import count, positive, whole

Commands: TypeAlias = "argparse._SubParsersAction[Any]"


def command(commands: Commands, name: str, about: str, takes_config: bool = False) -> argparse.ArgumentParser:
    """A parser for the words of a command, which `args.command` then names."""
    usage = f"trm {name} --config=FILE[:VARIANT] [--config.GROUP.KEY=VALUE ...] [options]" if takes_config else None
    note = "--config=FILE --config.help lists every value of the experiment and what it means" if takes_config else None
    word = name.removeprefix("data ").removeprefix("ledger ")
    sub: argparse.ArgumentParser = commands.add_parser(
        word, help=about, description=about, usage=usage, epilog=note, allow_abbrev=False
    )
    sub.set_defaults(command=name, takes_config=takes_config)
    return sub


def add_processes(parser: argparse.ArgumentParser) -> None:
    about = "found by themselves under SLURM, Open MPI and on Cloud TPUs; elsewhere start each with these"
    group = parser.add_argument_group("several processes", about)
    group.add_argument(
        "--coordinator", type=arguments.address, metavar="HOST:PORT", help="where process 0 is to listen"
    )
    group.add_argument("--processes", type=positive, default=0, metavar="N", help="how many; 1 stays alone anyway")
    group.add_argument("--process", type=count, default=-1, metavar="I", help="which of them this is, from 0")
    group.add_argument(
        "--start-timeout", type=positive, default=30, metavar="SECONDS", help="in which all have to come (30)"
    )


def add_effort(parser: argparse.ArgumentParser) -> None:
    """The switches of `Effort`, but for the supervision steps."""
    parser.add_argument("--halting", action="store_true", help="end an attempt at the first step with q_halt > 0")
    parser.add_argument("--halt-above", type=arguments.logit, default=0.0, help="the q_halt that it takes to halt (0)")
    parser.add_argument("--attempts", type=positive, default=1, help="K tries at each puzzle (1)")
    parser.add_argument(
        "--start-noise", type=arguments.noise, default=0.0, help="on y and z at first, of tries but the first"
    )
    parser.add_argument(
        "--latent-noise", type=arguments.noise, default=0.0, help="on z before each supervision step, likewise"
    )
    parser.add_argument("--symmetries", action="store_true", help="tries but the first see the puzzle turned")
    parser.add_argument(
        "--select", default="", help="the try to believe: first, q, change, vote, rules (rules if known, else q)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of noise and symmetries (0)")


def add_confidence(parser: argparse.ArgumentParser, about: str) -> None:
    """The switches that ask for a calibration."""
    parser.add_argument("--confidence", type=arguments.share, default=0.0, metavar="P", help=about)
    about = "that `trm calibrate` has written (the one beside the weights)"
    parser.add_argument("--calibration", type=Path, metavar="FILE", help=about)


def add_budget(parser: argparse.ArgumentParser) -> None:
    """The switches of `Budget`, for models of candidates."""
    group = parser.add_argument_group("search", "models of candidates search, with a verifier")
    group.add_argument("--calls", type=positive, default=1_024, help="of the network on a puzzle, at most (1024)")
    group.add_argument("--seconds", type=arguments.seconds, default=0.0, help="for a puzzle, at most (no limit)")
    group.add_argument("--chains", type=positive, default=8, help="of guesses, side by side (8)")


def add_legend(sub: argparse.ArgumentParser) -> None:
    about = "characters of the cells: of mazes wall, free, start, goal, path, e.g. '#.SE*'; of Sudokus blank, digits"
    sub.add_argument("--legend", default="", help=about)


def add_columns(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--columns", type=arguments.columns, default=("", ""), metavar="QUESTION,ANSWER",
        help="of a table; in JSON, the keys (usual names, such as question,answer or puzzle,solution)",
    )  # fmt: skip


def add_network(parser: argparse.ArgumentParser) -> None:
    """Of a command that takes a model, which may be made of a network of the user's own."""
    about = "Python file that calls trm_jax.register_mixer, run first"
    parser.add_argument("--network", type=Path, metavar="FILE", help=about)
