"""The command `trm`. Nothing here computes: each command parses its words and calls the module of its name."""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from trm_jax.commands.arguments import (
    address,
    count,
    load_experiment,
    logit,
    memory,
    noise,
    output_file,
    output_folder,
    positive,
    whole,
    window,
)
from trm_jax.commands.data import add_commands
from trm_jax.config import check_sources
from trm_jax.console import hush
from trm_jax.devices import cluster
from trm_jax.devices.compilation import remember_programs, repeat_on_gpus
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError, TrmError, near_miss, one_line
from trm_jax.runs.lock import Lock
from trm_jax.runs.signals import ending_at_once, leave
from trm_jax.version import VERSION

if TYPE_CHECKING:
    from trm_jax.inference.inference import Effort

# Exit codes. 75 is EX_TEMPFAIL: whoever started the run may start it again, and it goes on.
DONE, FAILED, BAD_INPUT, RESUME_ME = 0, 1, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error that the user can mend is one line on standard error."""
    if argv is None:  # the process is ours
        keep_memory()
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        if words[:2] == ["eval", "arc-score"]:
            words[:2] = ["eval arc-score"]
        args, rest = _parser().parse_known_args(words)
        if rest and not args.takes_config:
            raise ConfigError(f"unknown argument {rest[0]!r}: `trm --help` lists the commands")
        return int(args.run(args, rest))
    except TrmError as error:
        print(f"trm: error: {one_line(error)}", file=sys.stderr)
        return _failed(error.exit_code)
    except KeyboardInterrupt:
        print("trm: interrupted", file=sys.stderr)
        return _failed(130)
    except BrokenPipeError:
        # The reader of our output has gone (`trm ... | head`); that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        # A full disk, say, or a folder without permission: nothing that a traceback would explain better.
        where = f"{error.filename}: " if error.filename else ""
        print(f"trm: error: {where}{error.strerror or error}", file=sys.stderr)
        return _failed(FAILED)
    except Exception:
        # A fault of ours. Python tells it when all has ended, too late where other processes wait for this one.
        if cluster.joined():
            traceback.print_exc()
            cluster.abandon(FAILED)
        raise


def _failed(code: int) -> int:
    cluster.abandon(code)
    return code


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, like all others."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="trm",
        description="Tiny Recursive Models in JAX: train, evaluate, solve, compare.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trm_jax {VERSION}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    config_help = "--config=FILE[:VARIANT] [--config.GROUP.KEY=VALUE ...]"

    def command(
        name: str, run: Callable[[argparse.Namespace, list[str]], int], about: str, takes_config: bool = False
    ) -> argparse.ArgumentParser:
        usage = f"trm {name} {config_help} [options]" if takes_config else None
        sub = commands.add_parser(name, help=about, description=about, usage=usage, allow_abbrev=False)
        sub.set_defaults(run=run, takes_config=takes_config)
        return sub

    demo = command("demo", _demo, "train a small model on generated Sudokus, evaluate it, draw what it does")
    demo.add_argument(
        "--workdir", type=output_folder, default=Path("runs/demo"), help="where everything goes (runs/demo)"
    )
    demo.add_argument("--variant", default="", help="of experiments/demo.py: another size of Sudoku")

    train = command("train", _train, "train an experiment; the same command again resumes it", takes_config=True)
    train.add_argument("--workdir", type=output_folder, required=True, help="folder for checkpoints and metrics")
    train.add_argument(
        "--profile",
        type=window,
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
    _add_processes(train)

    data = commands.add_parser(
        "data", help="build, check and show datasets", description="Build, check, show datasets."
    )
    add_commands(data.add_subparsers(title="commands", required=True, metavar="COMMAND"))

    evaluate = command("eval", _eval, "accuracy of a checkpoint on puzzles; `trm eval arc-score` scores a submission")
    evaluate.add_argument("checkpoint", type=Path, help="a workdir, or one checkpoint in it")
    evaluate.add_argument("puzzles", nargs="?", default="", help="tables or dataset folders (the experiment's own)")
    evaluate.add_argument("--split", default="test", help="of a dataset folder (test)")
    evaluate.add_argument("--limit", type=positive, default=0, help="read at most so many puzzles")
    evaluate.add_argument("--batch-size", type=positive, default=0, help="puzzles at once (as in the experiment)")
    evaluate.add_argument("--trained-weights", action="store_true", help="not their average")
    evaluate.add_argument("--steps", default="", help="supervision steps to report on, e.g. 1,2,4,16,64 (N_sup)")
    _add_effort(evaluate)
    evaluate.add_argument("--race", action="store_true", help="end all attempts at a puzzle when the first halts")
    evaluate.add_argument("--puzzle-ids", choices=("own", "blank", "random"), default="own", help="an ablation (own)")
    evaluate.add_argument("--pool", type=Path, nargs="+", default=[], help="checkpoints whose ARC votes are added")
    evaluate.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    evaluate.add_argument("--json", type=output_file, help="also write all figures to this file")
    evaluate.add_argument("--table", type=output_file, help="write accuracy against operations to this CSV file")
    evaluate.add_argument("--plot", type=output_file, help="draw accuracy against operations into this PNG file")
    evaluate.add_argument("--submission", type=output_file, help="write ARC answers in the contest's form")
    evaluate.add_argument("--devices", type=count, default=0, metavar="N", help="how many evaluate (0: all)")
    _add_processes(evaluate)

    arc_score = command("eval arc-score", _arc_score, "score a submission to an ARC contest")
    arc_score.add_argument("submission", type=Path, help="JSON file of attempts")
    arc_score.add_argument("solutions", type=Path, help="JSON file of solutions, or a dataset's test_puzzles.json")
    arc_score.add_argument("--tasks", action="store_true", help="print every task's score")
    arc_score.add_argument("--json", type=output_file, help="also write the scores to this file")

    solve = command("solve", _solve, "solve one puzzle, step by step")
    solve.add_argument("checkpoint", type=Path, help="a workdir, or one checkpoint in it")
    solve.add_argument("puzzle", nargs="?", help="its characters, a file that holds them, or - for stdin (-)")
    solve.add_argument("--data", default="", help="instead: a table or dataset folder (the experiment's own)")
    solve.add_argument("--row", type=whole, help="which puzzle of --data, from 0")
    solve.add_argument("--split", default="test", help="of a dataset folder (test)")
    solve.add_argument("--steps", type=positive, default=0, help="supervision steps (N_sup)")
    _add_effort(solve)
    solve.add_argument("--certify", action="store_true", help="show an answer that keeps the rules, or none at all")
    solve.add_argument("--rules", type=Path, help="Python file with check(question, answer), for your own puzzle")
    solve.add_argument("--cycles", action="store_true", help="show every cycle T of every supervision step")
    solve.add_argument("--quiet", action="store_true", help="print the answer alone, on one line")
    solve.add_argument("--picture", type=output_file, help="draw the answer after every step into this PNG file")
    solve.add_argument("--gif", type=output_file, help="animate the answer after every cycle in this GIF file")

    parity = command("parity", _parity, "compare with recordings of the original: is this the same model?")
    parity.add_argument("directory", type=Path, help="folder with recordings (*.npz)")

    convert = command("convert", _convert, "weights of the original in and out", takes_config=True)
    convert.add_argument("source", type=Path, help="a torch state dict or .safetensors file, or a workdir of ours")
    convert.add_argument("target", type=Path, help="a new workdir, or the file to write (.safetensors, else torch)")
    convert.add_argument("--trained-weights", action="store_true", help="write these, not their average")
    convert.add_argument("--compiled", action="store_true", help="write names with the prefix _orig_mod.")

    about = "count an experiment's weights and operations; which gradient policy fits into a device's memory"
    estimate = command("estimate", _estimate, about, takes_config=True)
    estimate.add_argument(
        "--device-memory", type=memory, metavar="SIZE", help="plan for a device with so much, as in 80GiB (this one's)"
    )
    estimate.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _train(args: argparse.Namespace, rest: list[str]) -> int:
    with ending_at_once(RESUME_ME):
        experiment = load_experiment(rest)
        if args.deterministic:
            repeat_on_gpus()
        alone = cluster.alone(args.coordinator or "", args.processes, args.process)
        # Of several processes all hear of a fault, once they have met; one that is alone need not wait for JAX.
        if alone:
            check_sources(experiment.data)
        with Lock(args.workdir) if alone else nullcontext():
            _join(args)
            from trm_jax.runs.checkpoint import hush_late_writes
            from trm_jax.runs.train import train

            hush_late_writes()
            outcome = train(experiment, args.workdir, args.profile, args.force, args.debug_nans)
            # Work that was left may still look at the folder: nobody else may, until the process has ended.
            return leave(DONE if outcome.finished else RESUME_ME)


def _eval(args: argparse.Namespace, rest: list[str]) -> int:
    steps = _steps(args.steps)
    _join(args)
    from trm_jax.commands.report import Request, evaluate
    from trm_jax.runs.checkpoint import load

    experiment, _ = load(args.checkpoint)
    depths = tuple(sorted(set(steps))) or (experiment.model.supervision_steps,)
    evaluate(
        Request(
            checkpoints=(args.checkpoint, *args.pool),
            averaged=not args.trained_weights,
            puzzles=args.puzzles,
            split=args.split,
            limit=args.limit,
            batch_size=args.batch_size,
            effort=_effort(args, depths, args.race),
            selection=args.select,
            puzzle_ids=args.puzzle_ids,
            rules=args.rules,
            json=args.json,
            table=args.table,
            plot=args.plot,
            submission=args.submission,
            devices=args.devices,
        )
    )
    return DONE


def _arc_score(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.puzzles.arc_score import run

    run(args.submission, args.solutions, args.json, each_task=args.tasks)
    return DONE


def _add_processes(parser: argparse.ArgumentParser) -> None:
    about = "found by themselves under SLURM, Open MPI and on Cloud TPUs; elsewhere start each with these"
    group = parser.add_argument_group("several processes", about)
    group.add_argument("--coordinator", type=address, metavar="HOST:PORT", help="where process 0 is to listen")
    group.add_argument("--processes", type=positive, default=0, metavar="N", help="how many; 1 stays alone anyway")
    group.add_argument("--process", type=count, default=-1, metavar="I", help="which of them this is, from 0")
    group.add_argument(
        "--start-timeout", type=positive, default=30, metavar="SECONDS", help="in which all have to come (30)"
    )


def _join(args: argparse.Namespace) -> None:
    """Joins the other processes, if there are any; of several, the first alone speaks."""
    cluster.join(args.coordinator or "", args.processes, args.process, args.start_timeout)
    if not cluster.is_main():
        hush()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    remember_programs()


def _add_effort(parser: argparse.ArgumentParser) -> None:
    """The switches of trm_jax.inference.inference.Effort, but for the supervision steps."""
    parser.add_argument("--halting", action="store_true", help="end an attempt at the first step with q_halt > 0")
    parser.add_argument("--halt-above", type=logit, default=0.0, help="the q_halt that it takes to halt (0)")
    parser.add_argument("--attempts", type=positive, default=1, help="K tries at each puzzle (1)")
    parser.add_argument("--start-noise", type=noise, default=0.0, help="on y and z at first, of tries but the first")
    parser.add_argument("--latent-noise", type=noise, default=0.0, help="on z before each supervision step, likewise")
    parser.add_argument("--symmetries", action="store_true", help="tries but the first see the puzzle turned")
    parser.add_argument(
        "--select", default="", help="the try to believe: first, q, change, vote, rules (rules if known, else q)"
    )
    parser.add_argument("--seed", type=whole, default=0, help="of noise and symmetries (0)")


def _effort(args: argparse.Namespace, depths: tuple[int, ...], race: bool = False) -> "Effort":
    from trm_jax.inference.inference import Effort
    from trm_jax.inference.selection import RULES

    if args.select and args.select not in RULES:
        raise ConfigError(f"--select={args.select} is unknown: {near_miss(args.select, RULES)}")
    noises = {"start_noise": args.start_noise, "latent_noise": args.latent_noise}
    return Effort(
        depths,
        args.halting,
        args.halt_above,
        args.attempts,
        **noises,
        symmetries=args.symmetries,
        race=race,
        seed=args.seed,
    )


def _solve(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.solve import Request, run

    remember_programs()
    request = Request(
        puzzle=args.puzzle,
        data=args.data,
        row=args.row,
        split=args.split,
        steps=args.steps,
        effort=_effort(args, (1,)),
        selection=args.select,
        certify=args.certify,
        rules=args.rules,
        cycles=args.cycles,
        quiet=args.quiet,
        picture=args.picture,
        gif=args.gif,
    )
    return DONE if run(args.checkpoint, request) else FAILED


def _parity(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.original.parity import run

    return DONE if run(args.directory) else FAILED


def _convert(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest) if rest else None
    from trm_jax.original.convert import convert

    print(convert(args.source, args.target, experiment, not args.trained_weights, args.compiled))
    return DONE


def _estimate(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest)
    from trm_jax.model.estimate import estimate
    from trm_jax.training.planner import compare

    figures = estimate(experiment)
    if not args.json:
        print(figures.table(), flush=True)  # before the compilations
    verdict = compare(experiment, args.device_memory)
    print(json.dumps(figures.to_dict() | {"memory": verdict.to_dict()}, indent=1) if args.json else verdict.table())
    return DONE if verdict.chosen else FAILED


def _demo(args: argparse.Namespace, rest: list[str]) -> int:
    with ending_at_once(RESUME_ME), Lock(args.workdir):
        from trm_jax.commands.demo import run

        remember_programs()
        return leave(DONE if run(args.workdir, args.variant) else RESUME_ME)


def _steps(text: str) -> list[int]:
    try:
        steps = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        steps = [0]
    if any(step < 1 for step in steps):
        raise ConfigError(f"--steps={text}: give numbers of supervision steps, each at least 1, such as 1,2,16")
    return steps


if __name__ == "__main__":
    sys.exit(main())
