"""The command `trm`. Nothing here computes: each command takes its parsed words and calls the module of its name."""

import argparse
import json
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from trm_jax.commands import answering, data, ledger
from trm_jax.commands.arguments import CONFIG_HELP, config_help, load_experiment, workdir_of
from trm_jax.commands.parser import parse
from trm_jax.commands.processes import alone, join
from trm_jax.config import Experiment, check_sources
from trm_jax.config.files import load_network
from trm_jax.console import duration, say
from trm_jax.devices import cluster
from trm_jax.devices.compilation import remember_programs, repeat_on_gpus
from trm_jax.devices.cores import use_cores
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError, TrmError, one_line
from trm_jax.exit_codes import DONE, FAILED, RESUME_ME
from trm_jax.runs.lock import Lock
from trm_jax.runs.signals import INTERRUPTED, end, ending_at_once, heed_interrupts, leave, was_interrupted
from trm_jax.sizes import format_bytes


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error that the user can mend is one line on standard error.

    Without words it takes those of the process, which then is its own: unless all went well, it is ended here.
    """
    if argv is not None:
        return _run(argv)
    heed_interrupts()
    code = _run(sys.argv[1:], ours=True)
    return code if code == DONE else end(code)


def _run(words: Sequence[str], ours: bool = False) -> int:
    """ours: the process does nothing else, and may be made to fit."""
    try:
        args, rest = parse(words)
        if ours:
            if args.command in ("train", "demo", "eval", "solve", "calibrate") and alone(args):
                use_cores()
            keep_memory()
        if getattr(args, "network", None):
            load_network(args.network)
        if CONFIG_HELP in rest:
            print(config_help(rest))
            return DONE
        code = COMMANDS[args.command](args, rest)
        _tell_files(args)
        sys.stdout.flush()  # here, where it is known what to do if nobody listens
        return code
    except TrmError as error:
        print(f"trm: error: {one_line(error)}", file=sys.stderr)
        return _failed(error.exit_code)
    except KeyboardInterrupt:
        return _interrupted()
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
        if was_interrupted():
            return _interrupted()
        # A fault of ours. Python tells it when all has ended, too late where other processes wait for this one.
        if cluster.joined():
            traceback.print_exc()
            cluster.abandon(FAILED)
        raise


def _tell_files(args: argparse.Namespace) -> None:
    """Says which files a command has written; those that it makes by its own name it tells itself."""
    for name in ("json", "table", "plot", "submission", "picture", "gif", "written"):
        # What `trm eval arc-score` calls its submission, it reads.
        if isinstance(path := getattr(args, name, None), Path) and not (name == "submission" and "solutions" in args):
            say(f"wrote {path}")


def _interrupted() -> int:
    print("trm: interrupted", file=sys.stderr)
    return _failed(INTERRUPTED)


def _failed(code: int) -> int:
    cluster.abandon(code)
    return code


def _train(args: argparse.Namespace, rest: list[str]) -> int:
    with ExitStack() as held, ending_at_once(RESUME_ME, held.close):
        experiment = load_experiment([*rest, *args.init])
        args.workdir = args.workdir or workdir_of(experiment)
        if args.deterministic:
            repeat_on_gpus()
        by_itself = alone(args)
        # Of several processes all hear of a fault, once they have met; one that is alone need not wait for JAX.
        if by_itself:
            check_sources(experiment.data)
            held.enter_context(Lock(args.workdir))
        join(args)
        from trm_jax.runs.checkpoint import hush_late_writes
        from trm_jax.runs.train import train

        hush_late_writes()
        outcome = train(experiment, args.workdir, args.profile, args.force, args.debug_nans, args.max_minutes)
        if outcome.finished:
            _tell_trained(args.workdir, outcome.step, outcome.seconds)
        # Work that was left may still look at the folder: nobody else may, until the process has ended.
        return leave(DONE if outcome.finished else RESUME_ME)


def _tell_trained(workdir: Path, step: int, seconds: float) -> None:
    """Says where the checkpoint is, how long it took, and what can be done with it."""
    say(f"finished at step {step} after {duration(seconds)}; checkpoint: {workdir / 'checkpoints' / str(step)}")
    folder = shlex.quote(str(workdir))
    say(f"next: `trm eval {folder}`, `trm solve {folder} PUZZLE`; `tensorboard --logdir {folder}` draws the curves")


def _parity(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.original.parity import run

    return DONE if run(args.directory) else FAILED


def _convert(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = load_experiment(rest) if rest else None
    if args.own:
        if rest or args.compiled:
            what = "--config" if rest else "--compiled"
            raise ConfigError(f"--own writes a model of ours as it is, under our names: leave out {what}")
        from trm_jax.runs import weights_file
        from trm_jax.runs.sources import load

        checksum = weights_file.write(args.target, *load(args.source, not args.trained_weights))
        print(f"{args.target}: wrote the model of {args.source}; SHA-256 of its weights {checksum}")
        return DONE
    from trm_jax.original.convert import convert

    print(convert(args.source, args.target, experiment, not args.trained_weights, args.compiled))
    return DONE


def _export(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.exporting.export import check
    from trm_jax.library.export import export
    from trm_jax.library.solver import load

    check(args.file, args.program, args.weights, args.calibrate is not False)  # before the model is read
    export(
        load(args.source, averaged=not args.trained_weights),
        args.file,
        program=args.program,
        chains=args.chains,
        weights=args.weights,
        calibrate=args.calibrate,
    )
    print(f"{args.file}: wrote {args.source}, program {args.program}, {format_bytes(args.file.stat().st_size)}")
    return DONE


def _view(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.view import run
    from trm_jax.library.solver import load

    averaged = not args.trained_weights
    run(args.source, lambda source: load(source, averaged=averaged), args.port, args.runtime, args.save)
    return DONE


def _models(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.models import run

    run(args.name)
    return DONE


def _estimate(args: argparse.Namespace, rest: list[str]) -> int:
    experiment = _sized(load_experiment(rest))
    from trm_jax.model.estimate import estimate

    if args.quick and args.device_memory:
        raise ConfigError("--quick counts and plans for no device: leave out --device-memory")
    figures = estimate(experiment)
    if args.quick:
        print(json.dumps(figures.to_dict(), indent=1) if args.json else figures.table())
        return DONE
    from trm_jax.training.costs import compare

    if not args.json:
        print(figures.table(), flush=True)  # before the compilations
    verdict = compare(experiment, args.device_memory)
    print(json.dumps(figures.to_dict() | {"memory": verdict.to_dict()}, indent=1) if args.json else verdict.table())
    return DONE if verdict.chosen else FAILED


def _sized(experiment: Experiment) -> Experiment:
    """The experiment with the sizes of its puzzles, where these are there; ConfigError if it states others."""
    model, train = experiment.model, experiment.data.train
    sized = model.vocab_size and model.seq_len and (model.num_puzzles or not model.puzzle_dim)
    if not train or (sized and not all(Path(source).exists() for source in train.split(","))):
        return experiment
    check_sources(replace(experiment.data, test=""))
    from trm_jax.data import dataset
    from trm_jax.data.fit import resolve

    return resolve(experiment, dataset.peek(experiment.data))


def _sweep(args: argparse.Namespace, rest: list[str]) -> int:
    with ending_at_once(RESUME_ME):
        from trm_jax.commands.sweep import run

        return run(args, rest)


def _demo(args: argparse.Namespace, rest: list[str]) -> int:
    with ExitStack() as held, ending_at_once(RESUME_ME, held.close):
        held.enter_context(Lock(args.workdir))
        from trm_jax.commands.demo import run

        remember_programs()
        return leave(DONE if run(args.workdir, args.variant, args.steps) else RESUME_ME)


# What a command does with its arguments and with the words about an experiment; what it returns is the exit code.
COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "demo": _demo,
    "train": _train,
    "sweep": _sweep,
    **data.COMMANDS,
    **answering.COMMANDS,
    "parity": _parity,
    "convert": _convert,
    "export": _export,
    "view": _view,
    "models": _models,
    "estimate": _estimate,
    **ledger.COMMANDS,
}


if __name__ == "__main__":
    sys.exit(main())
