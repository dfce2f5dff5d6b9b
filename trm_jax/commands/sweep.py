"""The command `trm sweep`: an experiment at many points, each with a row in the ledger, and one table of all."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trm_jax.commands.arguments import experiment_words
from trm_jax.commands.ledger import ledger_of
from trm_jax.console import say
from trm_jax.errors import together
from trm_jax.exit_codes import DONE, FAILED, RESUME_ME
from trm_jax.sizes import counted

if TYPE_CHECKING:
    from trm_jax.runs.points import Folder
    from trm_jax.runs.sweep import Plan


def run(args: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs what is left of a sweep, or only shows it; the exit code."""
    import jax

    # Accelerators are for the processes that train: one that is held here could not be used there.
    jax.config.update("jax_platforms", "cpu")

    from trm_jax.runs import points, sweep
    from trm_jax.runs.entry import Said
    from trm_jax.runs.lock import Lock
    from trm_jax.runs.parts import repository
    from trm_jax.runs.signals import StopSignals

    source, changes = experiment_words(rest)
    asked = sweep.Asked(args.eval or "", tuple(args.eval_steps), args.calls, args.chains, args.seconds, args.limit)
    plan = sweep.plan(source, changes, args.over, args.turn, args.pflop, asked)
    sweep.check(args.workdir, plan)
    folder = points.Folder(args.workdir, ledger_of(args))
    if args.show:
        _show(plan, folder, args.markdown)
        return DONE
    with Lock(args.workdir), StopSignals() as signals:
        sweep.claim(args.workdir, plan)
        said = Said(args.beside, args.note)
        failed = points.Running(plan, folder, said, repository(), signals, args.network).run()
    _show(plan, folder, args.markdown)
    if signals.stop:
        say(f"stopped by {signals.name}: the same command goes on from here")
        return RESUME_ME
    if failed:
        some = f"{len(failed)} of {counted(len(plan.points), 'point')} failed"
        say(f"{some}: {together(failed)}: the same command tries them again")
    return FAILED if failed else DONE


def _show(plan: "Plan", folder: "Folder", markdown: bool) -> None:
    from trm_jax.display import ledger as tables
    from trm_jax.display import sweep as display

    states = {point.name: display.State(folder.row(point), folder.reached(point)) for point in plan.points}
    table = display.cells(plan.points, states)
    print((tables.piped if markdown else tables.aligned)(table))
    legend = [display.LEGEND] + [display.DIFFERENCE_LEGEND] * any(point.turn for point in plan.points)
    print("\n" + "\n".join(legend))
