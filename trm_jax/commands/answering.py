"""The commands `trm eval`, `solve` and `calibrate`: what was said becomes the request of the module that does it."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trm_jax.commands.processes import join
from trm_jax.devices.compilation import remember_programs
from trm_jax.errors import ConfigError, near_miss
from trm_jax.exit_codes import DONE, FAILED, NOT_SURE

if TYPE_CHECKING:
    from trm_jax.inference.effort import Effort
    from trm_jax.inference.search import Budget


def _eval(args: argparse.Namespace, rest: list[str]) -> int:
    steps = _steps(args.steps)
    join(args)
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


def _asked(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `asked.Asked`."""
    same = "split", "columns", "legend", "limit", "batch_size", "rules", "json", "devices"
    return {
        "averaged": not args.trained_weights,
        "puzzles": args.puzzles or "",
        "command": args.said,
        **{name: getattr(args, name) for name in same},
    }


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


def _steps(text: str) -> list[int]:
    try:
        steps = [int(part) for part in text.split(",")] if text else []
    except ValueError:
        steps = [0]
    if any(step < 1 for step in steps):
        raise ConfigError(f"--steps={text}: give numbers of supervision steps, each at least 1, such as 1,2,16")
    return steps


COMMANDS: dict[str, Callable[[argparse.Namespace, list[str]], int]] = {
    "eval": _eval,
    "eval arc-score": _arc_score,
    "solve": _solve,
    "calibrate": _calibrate,
}
