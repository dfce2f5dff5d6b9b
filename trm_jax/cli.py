"""The command `trm`. Nothing here computes: each command parses its words and calls the module of its name."""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trm_jax.config import Experiment, experiment_from, near_miss, wanted
from trm_jax.errors import ConfigError, DataError, TrmError
from trm_jax.version import VERSION

# Exit codes. 75 is EX_TEMPFAIL: whoever started the run may start it again, and it goes on.
DONE, FAILED, BAD_INPUT, RESUME_ME = 0, 1, 2, 75


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error that the user can mend is one line on standard error."""
    try:
        args, rest = _parser().parse_known_args(argv)
        if rest and not args.takes_config:
            raise ConfigError(f"unknown argument {rest[0]!r}: `trm --help` lists the commands")
        return int(args.run(args, rest))
    except TrmError as error:
        print(f"trm: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("trm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`trm ... | head`); that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        # A full disk, say, or a folder without permission: nothing that a traceback would explain better.
        where = f"{error.filename}: " if error.filename else ""
        print(f"trm: error: {where}{error.strerror or error}", file=sys.stderr)
        return FAILED


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
        "--workdir", type=_output_folder, default=Path("runs/demo"), help="where everything goes (runs/demo)"
    )
    demo.add_argument("--variant", default="", help="of experiments/demo.py: another size of Sudoku")

    train = command("train", _train, "train an experiment; the same command again resumes it", takes_config=True)
    train.add_argument("--workdir", type=_output_folder, required=True, help="folder for checkpoints and metrics")

    evaluate = command("eval", _eval, "accuracy of a checkpoint on puzzles")
    evaluate.add_argument("checkpoint", type=Path, help="a workdir, or one checkpoint in it")
    evaluate.add_argument("puzzles", nargs="?", default="", help="CSV file or dataset folder (the experiment's own)")
    evaluate.add_argument("--steps", default="", help="supervision steps to report on, e.g. 1,2,4,16,64 (N_sup)")
    evaluate.add_argument("--split", default="test", help="of a dataset folder (test)")
    evaluate.add_argument("--limit", type=_positive, default=0, help="read at most so many puzzles")
    evaluate.add_argument("--batch-size", type=_positive, default=0, help="puzzles at once (as in the experiment)")
    evaluate.add_argument("--trained-weights", action="store_true", help="not their average")
    evaluate.add_argument("--json", type=_output_file, help="also write the figures to this file")

    solve = command("solve", _solve, "solve one puzzle, step by step")
    solve.add_argument("checkpoint", type=Path, help="a workdir, or one checkpoint in it")
    solve.add_argument("puzzle", nargs="?", default="-", help="its characters, a file that holds them, or - for stdin")
    solve.add_argument("--steps", type=_positive, default=0, help="supervision steps (N_sup)")
    solve.add_argument("--quiet", action="store_true", help="print the answer alone, on one line")
    solve.add_argument("--picture", type=_output_file, help="draw the answer after every step into this PNG file")

    parity = command("parity", _parity, "compare with recordings of the original: is this the same model?")
    parity.add_argument("directory", type=Path, help="folder with recordings (*.npz)")

    convert = command("convert", _convert, "weights of the original in and out", takes_config=True)
    convert.add_argument("source", type=Path, help="a torch state dict or .safetensors file, or a workdir of ours")
    convert.add_argument("target", type=Path, help="a new workdir, or the file to write (.safetensors, else torch)")
    convert.add_argument("--trained-weights", action="store_true", help="write these, not their average")
    convert.add_argument("--compiled", action="store_true", help="write names with the prefix _orig_mod.")

    estimate = command("estimate", _estimate, "count an experiment's weights and operations", takes_config=True)
    estimate.add_argument("--json", action="store_true", help="as JSON")
    return parser


def _train(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest)
    from trm_jax.train import train

    outcome = train(experiment, args.workdir)
    return DONE if outcome.finished else RESUME_ME


def _eval(args: argparse.Namespace, rest: list[str]) -> int:
    steps = _steps(args.steps)
    from trm_jax import dataset
    from trm_jax.checkpoint import load
    from trm_jax.console import Bar
    from trm_jax.evaluate import Evaluator
    from trm_jax.model import Model
    from trm_jax.train import check_fits

    experiment, weights = load(args.checkpoint, averaged=not args.trained_weights)
    puzzles = dataset.load_named(experiment, args.puzzles, args.split, args.limit)
    check_fits(experiment.model, puzzles, args.puzzles or experiment.data.test)
    evaluator = Evaluator(
        Model(experiment.model),
        puzzles,
        args.batch_size or experiment.train.eval_batch_size,
        steps or [experiment.model.supervision_steps],
    )
    with Bar("evaluating", len(puzzles), every=max(1, len(puzzles) // 10)) as bar:
        report = evaluator(weights, bar.update)
    print(
        f"{report.puzzles} puzzles, {report.seconds:.1f} s, {'trained' if args.trained_weights else 'averaged'} weights"
    )
    print(f"{'supervision steps':>18}{'exact':>10}{'cells':>10}{'q right':>10}{'halted':>10}")
    for row in report.rows:
        shares = (row.exact_accuracy, row.cell_accuracy, row.q_halt_accuracy, row.halted)
        print(f"{row.supervision_steps:18}" + "".join(f"{share:10.2%}" for share in shares))
    if args.json:
        values = {"checkpoint": str(args.checkpoint), "data": args.puzzles or experiment.data.test}
        try:
            args.json.write_text(json.dumps(values | report.to_dict(), indent=1) + "\n")
        except OSError as error:
            raise DataError(f"{args.json}: cannot be written: {error.strerror}") from None
    return DONE


def _solve(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.solve import run

    return DONE if run(args.checkpoint, args.puzzle, args.steps, args.quiet, args.picture) else FAILED


def _parity(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.parity import run

    return DONE if run(args.directory) else FAILED


def _convert(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest) if rest else None
    from trm_jax.convert import convert

    print(convert(args.source, args.target, experiment, not args.trained_weights, args.compiled))
    return DONE


def _estimate(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest)
    from trm_jax.estimate import estimate

    figures = estimate(experiment)
    print(json.dumps(figures.to_dict(), indent=1) if args.json else figures.table())
    return DONE


def _demo(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.demo import run

    return DONE if run(args.workdir, args.variant) else RESUME_ME


def load_experiment(arguments: Sequence[str]) -> Experiment:
    """The experiment that --config=FILE[:VARIANT] and --config.GROUP.KEY=VALUE name, validated.

    Raises:
      ConfigError: one line, naming the file or the key; typos with what was probably meant.
    """
    from absl import flags
    from ml_collections import config_flags

    files = [word.partition("=")[2] for word in arguments if word.startswith("--config=")]
    if len(files) != 1:
        raise ConfigError("which experiment? give one --config=experiments/NAME.py")
    overrides = ["trm", *(word for word in arguments if not word.startswith("--config="))]
    # Told here and not by the flags, which know neither near misses nor types beyond those in the file.
    types = {
        key: wanted(key)
        for word in overrides
        if word.startswith("--config.")
        for key in (word.removeprefix("--config.").partition("=")[0],)
    }
    config = _read_experiment(files[0])
    values = flags.FlagValues()
    try:
        holder = config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=overrides)
        left = values(overrides)
    except flags.IllegalFlagValueError as error:
        word = str(error).removeprefix("flag --").partition(": ")[0]
        raise ConfigError(f"{word}: give {types[word.removeprefix('config.').partition('=')[0]]}") from None
    except (KeyError, AttributeError) as error:
        missing = str(error.args[0]).splitlines()[0]
        raise ConfigError(f"{files[0]} does not set {missing}, so nothing can override it: add it there") from None
    except flags.Error as error:
        raise ConfigError(f"{_one_line(error)}: overrides are written --config.GROUP.KEY=VALUE") from None
    if len(left) > 1:
        raise ConfigError(f"unknown argument {left[1]!r}: overrides are written --config.GROUP.KEY=VALUE")
    return experiment_from(holder.value.to_dict())


def _read_experiment(source: str) -> Any:
    """The ConfigDict that get_config of an experiment file returns; source is FILE or FILE:VARIANT."""
    from ml_collections import ConfigDict

    path, _, variant = source.partition(":")
    spec = importlib.util.spec_from_file_location("experiment", path) if Path(path).is_file() else None
    if spec is None or spec.loader is None:
        names = [file.name for file in Path(path).parent.glob("*.py") if file.name != "__init__.py"]
        raise ConfigError(
            f"--config={path}: no such Python file" + (f", {near_miss(Path(path).name, names)}" if names else "")
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(variant) if variant else module.get_config()
    except TrmError:
        raise
    except Exception as error:  # the file is a program of the user's: whatever it raises is told as its fault
        raise ConfigError(f"--config={source}: {_one_line(error)}") from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"--config={source}: get_config returns {config!r}: let it return an ml_collections ConfigDict"
        )
    return config


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _steps(text: str) -> list[int]:
    try:
        steps = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        steps = [0]
    if any(step < 1 for step in steps):
        raise ConfigError(f"--steps={text}: give numbers of supervision steps, each at least 1, such as 1,2,16")
    return steps


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _output_file(text: str) -> Path:
    """A file that can be written. Told before hours of work end in nothing, not after."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} cannot be written: there is no folder {path.parent}")
    return path


def _output_folder(text: str) -> Path:
    """A folder that exists or can be made."""
    path = Path(text)
    for there in (path, *path.parents):
        if there.exists() and not there.is_dir():
            raise argparse.ArgumentTypeError(f"{text} cannot be a folder: {there} is a file")
    return path


if __name__ == "__main__":
    sys.exit(main())
