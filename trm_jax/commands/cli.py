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
from typing import TYPE_CHECKING, Any

from trm_jax.commands import data, ledger
from trm_jax.commands.arguments import CONFIG_HELP, config_help, load_experiment, workdir_of
from trm_jax.commands.parser import parse
from trm_jax.config import Experiment, check_sources
from trm_jax.config.files import load_network
from trm_jax.console import duration, hush, say
from trm_jax.devices import cluster
from trm_jax.devices.compilation import remember_programs, repeat_on_gpus
from trm_jax.devices.cores import use_cores
from trm_jax.devices.host_memory import keep_memory
from trm_jax.errors import ConfigError, TrmError, near_miss, one_line
from trm_jax.runs.lock import Lock
from trm_jax.runs.signals import INTERRUPTED, end, ending_at_once, heed_interrupts, leave, was_interrupted
from trm_jax.sizes import format_bytes

if TYPE_CHECKING:
    from trm_jax.inference.effort import Effort
    from trm_jax.inference.search import Budget

# Exit codes. 75 is EX_TEMPFAIL: whoever started the run may start it again, and it goes on.
DONE, FAILED, BAD_INPUT, NOT_SURE, RESUME_ME = 0, 1, 2, 3, 75


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
            if args.command in ("train", "demo", "eval", "solve", "calibrate") and _alone(args):
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
        alone = _alone(args)
        # Of several processes all hear of a fault, once they have met; one that is alone need not wait for JAX.
        if alone:
            check_sources(experiment.data)
            held.enter_context(Lock(args.workdir))
        _join(args)
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


def _eval(args: argparse.Namespace, rest: list[str]) -> int:
    steps = _steps(args.steps)
    _join(args)
    from trm_jax.commands import searching
    from trm_jax.commands.asked import Asked
    from trm_jax.commands.report import Request, evaluate
    from trm_jax.runs.sources import load

    experiment, weights = load(args.checkpoint, not args.trained_weights)
    depths = tuple(sorted(set(steps))) or (experiment.model.supervision_steps,)
    effort = _effort(args, depths, args.race)
    if args.calibration and not args.confidence:
        raise ConfigError("--calibration says how sure an answer is: give --confidence with it")
    if args.stress:
        return _stress(args, effort, experiment.model.states == "candidates")
    for name in ("seed", "save"):
        if getattr(args, f"stress_{name}"):
            raise ConfigError(f"--stress-{name} is of a stress test: give --stress with it")
    if experiment.model.states == "candidates":
        switches = {
            name: getattr(args, name)
            for name in ("steps", "select", "pool", "table", "plot", "submission", "confidence")
        }
        searching.refuse(effort, switches | {"puzzle_ids": args.puzzle_ids != "own"})
        searching.evaluate(experiment, weights, args.checkpoint, Asked(**_asked(args)), _budget(args))
        return DONE
    searching.refuse_budget(_budget(args))
    if args.confidence:
        return _reliability(args, effort)
    evaluate(
        Request(
            checkpoints=(args.checkpoint, *args.pool),
            effort=effort,
            selection=args.select,
            puzzle_ids=args.puzzle_ids,
            table=args.table,
            plot=args.plot,
            submission=args.submission,
            **_asked(args),
        )
    )
    return DONE


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `asked.Asked`."""
    same = "split", "columns", "legend", "limit", "batch_size", "rules", "json", "devices"
    return {
        "averaged": not args.trained_weights,
        "puzzles": args.puzzles or "",
        "command": args.said,
        **{name: getattr(args, name) for name in same},
    }


def _reliability(args: argparse.Namespace, effort: "Effort") -> int:
    from trm_jax.commands.calibrate import Request, evaluate

    given = {name: getattr(args, name) for name in ("pool", "table", "submission", "race")}
    for name in [name for name, value in (given | {"puzzle-ids": args.puzzle_ids != "own"}).items() if value]:
        raise ConfigError(f"--{name} does not go with --confidence: leave out either")
    if len(effort.depths) > 1:
        raise ConfigError(f"--steps={args.steps}: a calibration is of one number of supervision steps: give one")
    evaluate(
        Request(
            checkpoint=args.checkpoint,
            effort=effort,
            selection=args.select,
            confidence=args.confidence,
            calibration=args.calibration,
            plot=args.plot,
            **_asked(args),
        )
    )
    return DONE


def _stress(args: argparse.Namespace, effort: "Effort", searches: bool) -> int:
    from trm_jax.commands import searching
    from trm_jax.commands.stress import Request, stress

    for name in ("pool", "table", "plot", "submission"):
        if getattr(args, name):
            raise ConfigError(f"--{name} is not of a stress test: leave out either")
    if args.puzzle_ids != "own":
        raise ConfigError("--puzzle-ids: a stress test has a row for wrong ids: leave it out")
    if searches:
        searching.refuse(effort, {name: getattr(args, name) for name in ("steps", "select", "confidence")})
    else:
        searching.refuse_budget(_budget(args))
        if len(effort.depths) > 1:
            raise ConfigError(f"--steps={args.steps}: a stress test takes one number of supervision steps: give one")
        effort.check_chosen(args.select)
    stress(
        Request(
            checkpoint=args.checkpoint,
            how=_budget(args) if searches else effort,
            seed=args.stress_seed,
            selection=args.select,
            save=args.stress_save,
            confidence=args.confidence,
            calibration=args.calibration,
            **_asked(args),
        )
    )
    return DONE


def _arc_score(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.puzzles.arc_score import run

    run(args.submission, args.solutions, args.json, each_task=args.tasks)
    return DONE


def _alone(args: argparse.Namespace) -> bool:
    """Whether this is the only process; commands that know no others always are."""
    return "processes" not in args or cluster.alone(args.coordinator or "", args.processes, args.process)


def _join(args: argparse.Namespace) -> None:
    """Joins the other processes, if there are any; of several, the first alone speaks."""
    cluster.join(args.coordinator or "", args.processes, args.process, args.start_timeout)
    if not cluster.is_main():
        hush()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    remember_programs()


def _effort(args: argparse.Namespace, depths: tuple[int, ...], race: bool = False) -> "Effort":
    from trm_jax.inference.effort import Effort
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


def _budget(args: argparse.Namespace) -> "Budget":
    from trm_jax.inference.search import Budget

    return Budget(args.calls, args.seconds, args.chains, args.seed)


def _solve(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.solve import Request, run

    remember_programs()
    request = Request(
        puzzle=args.puzzle,
        data=args.data or "",
        row=args.row,
        split=args.split,
        columns=args.columns,
        steps=args.steps,
        effort=_effort(args, (1,)),
        selection=args.select,
        certify=args.certify,
        complete=args.complete,
        nodes=args.nodes,
        confidence=args.confidence,
        calibration=args.calibration,
        budget=_budget(args),
        rules=args.rules,
        cycles=args.cycles,
        latents=args.latents,
        cells=args.cells,
        why=args.why,
        quiet=args.quiet,
        json=args.json,
        answers=args.answers,
        legend=args.legend,
        picture=args.picture,
        gif=args.gif,
    )
    return {True: DONE, False: FAILED, None: NOT_SURE}[run(args.checkpoint, request)]


def _calibrate(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.calibrate import Request, run
    from trm_jax.runs.sources import load

    remember_programs()
    experiment, _ = load(args.checkpoint)
    run(
        Request(
            checkpoint=args.checkpoint,
            effort=_effort(args, (args.steps or experiment.model.supervision_steps,)),
            selection=args.select,
            confidence=args.confidence,
            delta=args.delta,
            out=args.written,
            **_asked(args),
        )
    )
    return DONE


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

    check(args.file, args.program)  # before the model is read
    export(load(args.source, averaged=not args.trained_weights), args.file, program=args.program, chains=args.chains)
    print(f"{args.file}: wrote {args.source}, program {args.program}, {format_bytes(args.file.stat().st_size)}")
    return DONE


def _view(args: argparse.Namespace, rest: list[str]) -> int:
    from trm_jax.commands.view import run
    from trm_jax.library.solver import load

    run(load(args.source, averaged=not args.trained_weights), str(args.source), args.port, args.runtime, args.save)
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


def _steps(text: str) -> list[int]:
    try:
        steps = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        steps = [0]
    if any(step < 1 for step in steps):
        raise ConfigError(f"--steps={text}: give numbers of supervision steps, each at least 1, such as 1,2,16")
    return steps


# What a command does with its arguments and with the words about an experiment; what it returns is the exit code.
COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "demo": _demo,
    "train": _train,
    "sweep": _sweep,
    **data.COMMANDS,
    "eval": _eval,
    "eval arc-score": _arc_score,
    "solve": _solve,
    "calibrate": _calibrate,
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
