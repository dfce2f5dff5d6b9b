"""`trm solve` and `trm eval` with models of candidates: a search with a verifier, told as one."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from trm_jax.commands.asked import Asked
from trm_jax.commands.explaining import explain
from trm_jax.commands.questions import Request, Task
from trm_jax.config import Experiment
from trm_jax.console import Bar, Output
from trm_jax.devices.sharding import mesh_layout
from trm_jax.display.searched import deduced, draw_search, show_search
from trm_jax.errors import ConfigError
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget, Found, search
from trm_jax.inference.searches import Searches, SearchReport
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.sizes import counted, si


def refuse(effort: Effort, switches: Mapping[str, object]) -> None:
    """Raises ConfigError for the first switch that was given and means nothing to a search.

    Args:
      effort: of attempts; its depths and its seed are not looked at.
      switches: others by name; what is false was not given.
    """
    plain = replace(Effort(effort.depths), seed=effort.seed)
    differing = {field.name: getattr(effort, field.name) != getattr(plain, field.name) for field in fields(Effort)}
    for name in [name for name, given in (differing | dict(switches)).items() if given]:
        raise ConfigError(
            f"--{name.replace('_', '-')} means nothing to a model of candidates, which searches: leave it out; "
            "--calls, --seconds, --chains and --seed say how"
        )


def refuse_latents(asked: bool) -> None:
    """Raises ConfigError for --latents of a model that carries candidates and has none."""
    if asked:
        raise ConfigError(
            "--latents: a model of candidates has no latent z: leave it out; --picture draws the candidates that each "
            "call leaves"
        )


def refuse_budget(budget: Budget) -> None:
    """Raises ConfigError for a switch of searches, which a model that makes none was given."""
    for field in fields(Budget):
        if field.name != "seed" and getattr(budget, field.name) != field.default:
            raise ConfigError(
                f"--{field.name} is for models of candidates, which search, and this is none: leave it out"
            )


def searched(
    experiment: Experiment, weights: Weights, kind: Kind, questions: Tokens, budget: Budget
) -> Iterator[Found]:
    """What the search for each question's answer comes to, [N, S], as soon as it is known; all devices search."""
    layout = mesh_layout(0)
    weights = layout.everywhere(weights)
    return search(
        Model(experiment.model), weights, experiment.candidates, kind, questions, budget.chains, budget, layout
    )


def solve(experiment: Experiment, weights: Weights, request: Request, task: Task, title: str = "") -> bool:
    """Searches for the answer to one puzzle and prints it; returns whether there is one. It is always certified.

    title: of the picture, if one is asked for, of the chain that found it.
    """
    kind, question, units = task.kind, task.question, experiment.model.units
    (found,) = searched(experiment, weights, kind, question[None], request.budget)
    spent = f"{counted(found.calls, 'call')} of the network in {counted(found.chains, 'chain')}, {found.seconds:.1f} s"
    if found.tokens is None:
        print("not solved" + ("" if request.quiet else f": no answer that keeps the rules came up in {spent}"))
    elif request.quiet:
        print(kind.text(found.tokens))
    else:
        show_search(kind, question, found, units, Output(highlight=False))
        print(f"verified, found by search after {spent}: {kind.text(found.tokens)}")
    panels = []
    if request.cells or request.why:
        answers = np.stack([step.tokens for step in deduced(found.path, question, units)])
        panels = explain(experiment, weights, request, task, answers, found.tokens is not None)
    if request.picture is not None:
        draw_search(request.picture, kind, question, found, units, title, panels)
    return found.tokens is not None


def evaluate(experiment: Experiment, weights: Weights, checkpoint: Path, asked: Asked, budget: Budget) -> SearchReport:
    """Searches for the answers to a set of puzzles and prints how many were found, by calls.

    Args:
      checkpoint: where experiment and weights are from.
    """
    layout = mesh_layout(asked.devices)
    found = asked.matched(experiment, checkpoint)
    about = asked.origin((checkpoint,), experiment, weights, found)
    experiment, puzzles = found.experiment, found.puzzles
    size = asked.batch_size or experiment.train.eval_batch_size
    searches = Searches(Model(experiment.model), experiment.candidates, puzzles, found.kind, size, budget, layout)
    with Bar("searching", len(puzzles), every=max(1, len(puzzles) // 10)) as bar:
        report = searches(layout.everywhere(weights), bar.update)
    print(_table(report))
    asked.write(about, report.to_dict())
    return report


def _table(report: SearchReport) -> str:
    """Lines for people."""
    chains = counted(report.budget.chains, "chain")
    lines = [
        f"search with a verifier, {counted(report.puzzles, 'puzzle')}, {chains} side by side:",
        f"{'calls':>8}  found and verified",
    ]
    for calls in report.marks:
        lines.append(f"{calls:>8}  {report.found(calls)}")
    mean = report.calls_per_puzzle
    if report.exact is not None and report.first_call is not None:
        lines += [
            f"of which the known answer: {report.exact.value:.2%}",
            f"the likeliest symbols after one call, unsearched: {report.first_call.value:.2%} exact",
        ]
    if report.unlabelled:
        lines.append(
            f"{report.unlabelled} of {report.puzzles} puzzles have no labelled cell: "
            "they have no known answer to be held to"
        )
    lines += [
        f"{mean:.1f} calls a puzzle ({si(mean * report.flops_per_call)} operations), "
        f"{report.puzzles / report.seconds:.1f} puzzles a second",
    ]
    return "\n".join(lines)
