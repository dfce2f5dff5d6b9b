"""Solves puzzles. Of one it shows how: attempts, the answer after each step of the chosen one, the rules' verdict.

Of several, an answer a line.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from trm_jax.commands import searching
from trm_jax.commands.explaining import explain
from trm_jax.commands.questions import Request, Task, read_tasks
from trm_jax.commands.solve_several import solve_several
from trm_jax.console import Output, say
from trm_jax.display.canvas import Panel
from trm_jax.display.show import show, show_grid, verdict
from trm_jax.errors import ConfigError
from trm_jax.inference.answers import Chosen, certify, choose, kept_rules
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.thoughts import Thought, by_cycles, by_steps, is_right, think, with_latents
from trm_jax.inference.trace import trace
from trm_jax.inference.why import cell_at
from trm_jax.model.model import Model
from trm_jax.puzzles.kind import Kind
from trm_jax.runs import calibration
from trm_jax.runs.sources import load, trained_on

__all__ = ["Request", "Thought", "run", "show", "think"]


def run(source: Path, request: Request) -> bool | None:
    """The command `trm solve`: prints as asked, and returns whether the answer is right, or all are.

    None: no answer that was given is wrong, but there is one at least of which the model is not sure enough.
    Right means that the rules and the question's clues are kept; for a kind without rules, that the answer is the known
    one, if it is known. An answer that nothing can check counts as right, and the output says that it was not checked.
    """
    experiment, weights = load(source)
    searches = experiment.model.states == "candidates"
    if searches:
        searching.refuse_latents(request.latents)
        switches = {"steps": request.steps, "select": request.selection, "cycles": request.cycles, "gif": request.gif}
        searching.refuse(request.effort, switches)
    else:
        searching.refuse_budget(request.budget)
    experiment, tasks = read_tasks(experiment, request, source, trained_on(source))
    task = tasks[0]
    kind, question = task.kind, task.question
    _check(request, kind, len(tasks))
    if request.why:
        cell_at(kind, question, *request.why)  # told before the model thinks
    sure = None
    if request.confidence and not searches:
        effort = replace(request.effort, depths=(request.steps or experiment.model.supervision_steps,))
        how = kind, effort, request.rule(kind)
        sure = calibration.promise_of(source, request.calibration, weights, *how, request.confidence)
    if len(tasks) > 1 or request.json or request.answers or request.complete or request.confidence:
        return solve_several(experiment, weights, request, tasks, sure)
    if searches:
        return searching.solve(experiment, weights, request, task, _title(request, source, task))
    model = Model(experiment.model)
    depths = tuple(range(1, (request.steps or experiment.model.supervision_steps) + 1))
    effort = replace(request.effort, depths=depths)
    ids = np.array([task.puzzle_id], np.int32)
    (found,) = attempt(model, weights, effort, question[None], ids, experiment.train.eval_batch_size, kind)
    satisfied = kept_rules(found, kind, question[None])
    out = Output(highlight=False)
    if request.certify:
        assert satisfied is not None
        return _certify(task, request, source, found, certify(found, satisfied), out)

    rule = request.rule(kind)
    chosen = int(choose(found, satisfied, rule).attempt[0])
    steps = by_steps(kind, question, found, chosen)
    moments = steps
    if request.cycles or request.gif or request.latents:
        traced = trace(model, weights, effort, question, task.puzzle_id, chosen, kind, request.latents)
        moments = by_cycles(kind, question, found, traced, chosen)
        steps = with_latents(steps, traced) if request.latents else steps
        if (traced.tokens[: len(steps), -1] != found.answers[0, chosen, : len(steps)]).any():
            say("the cycles shown are those of a repetition, which rounding led elsewhere than the attempt itself")
    right = is_right(steps[-1], task.label)
    if request.quiet:
        print(kind.text(steps[-1].tokens))
        if right is None:
            say("not checked: there are no rules and no known answer to check it by")
    else:
        if effort.attempts > 1:
            for number in range(effort.attempts):
                _tell(number, by_steps(kind, question, found, number)[-1], int(found.halted_at[0, number]))
            print(f"attempt {chosen + 1} is shown, selected by {rule}\n")
        show(kind, question, moments if request.cycles else steps, out, task.label)
    panels = []
    if request.cells or request.why:
        panels = explain(experiment, weights, request, task, np.stack([step.tokens for step in steps]), right)
    _draw(request, source, task, moments if request.cycles else steps, moments, panels)
    return right is not False


def _check(request: Request, kind: Kind, puzzles: int) -> None:
    """Raises ConfigError for what the kind of puzzle, or one request for another, does not allow."""
    if request.calibration and not request.confidence:
        raise ConfigError("--calibration says how sure an answer is: give --confidence with it")
    if request.confidence and (request.certify or request.complete):
        what = "--certify" if request.certify else "--complete"
        raise ConfigError(f"{what} gives answers that keep the rules, which is certain: leave out --confidence")
    for_people = ("cycles", "latents", "why", "picture", "gif")
    for what, asked in [(f"--{name}", getattr(request, name)) for name in for_people]:
        if asked and request.confidence:
            raise ConfigError(f"{what} shows an answer whether it is sure or not: leave out --confidence")
        if asked and (puzzles > 1 or request.json or request.answers):
            other = "one puzzle" if puzzles > 1 else f"people, not for --{'json' if request.json else 'answers'}"
            raise ConfigError(f"{what} is for {other}: leave it out{', or name one' if puzzles > 1 else ''}")
    if request.json and request.answers:
        raise ConfigError("--json prints the answers and --answers writes them as a table: give one of them")
    name = kind.name
    for what, asked in (
        ("--certify", request.certify),
        ("--complete", request.complete),
        ("--select=rules", request.selection == "rules"),
    ):
        if asked and not kind.has_rules:
            mend = "give some with --rules FILE.py" if name == "grid" else "only kind 'grid' takes some, by --rules"
            raise ConfigError(f"{what} needs rules to check answers by; puzzles of kind {name!r} have none: {mend}")
    effort = request.effort
    effort.check_chosen(request.selection)
    if request.certify and request.selection:
        raise ConfigError("--certify takes the first answer that keeps the rules, of any attempt: leave out --select")
    for name in ("cycles", "latents", "cells", "why"):
        if request.certify and getattr(request, name):
            raise ConfigError(f"--certify shows the answer that keeps the rules and no other: leave out --{name}")
    if effort.halt_above and not effort.halting and effort.attempts == 1:
        raise ConfigError("--halt-above says when an attempt halts: give --halting with it")
    if request.nodes != Request.nodes and not request.complete:
        raise ConfigError("--nodes limits a complete search: give --complete with it")
    for name, drawn in (("cycles", "them"), ("latents", "them"), ("cells", "them"), ("why", "it")):
        shown = request.picture or request.json or (name == "latents" and request.gif)
        if getattr(request, name) and request.quiet and not shown:
            raise ConfigError(
                f"--quiet prints the last answer alone: leave out --{name}, or draw {drawn} with --picture"
            )
    in_lines = (puzzles > 1 or request.confidence) and not request.json
    if request.cells and (request.answers or request.complete or in_lines):
        raise ConfigError("--cells is for one puzzle, or for --json: leave it out, or print the answers as JSON")
    if request.why and (effort.attempts > 1 or request.complete):
        raise ConfigError("--why tells of the first attempt: leave out --attempts and --complete")
    if effort.attempts == 1 and (effort.start_noise or effort.latent_noise or effort.symmetries):
        raise ConfigError("the first attempt has neither noise nor symmetries: give --attempts of at least 2")


def _certify(task: Task, request: Request, source: Path, found: Attempts, answer: Chosen, out: Console) -> bool:
    """Shows the certified answer, or says that there is none, and nothing of any other."""
    step, number = int(answer.step[0]), int(answer.attempt[0])
    if number < 0:
        K, D = found.effort.attempts, found.effort.steps
        tried = f"{K} attempt{'s' * (K > 1)} of up to {D} supervision step{'s' * (D > 1)}"
        print("not solved" + ("" if request.quiet else f": no answer in {tried} keeps the rules"))
        _draw(request, source, task, [], [])
        return False
    thought = by_steps(task.kind, task.question, found, number)[step - 1]
    # The answer before it is not shown, so what changed is told against the question.
    thought = replace(thought, changed=thought.tokens != task.question)
    text = task.kind.text(thought.tokens)
    if request.quiet:
        print(text)
    else:
        show_grid(task.kind, thought.tokens, out)
        print(f"verified, from supervision step {step} of attempt {number + 1}: {text}")
    _draw(request, source, task, [thought], [thought])
    return True


def _tell(number: int, end: Thought, halted_at: int) -> None:
    """One line about an attempt."""
    halted = f"halted at step {halted_at}" if halted_at else "did not halt"
    parts = [halted, f"q_halt {end.q_halt:+.2f} ({end.sure:.0%} sure)", f"change {end.change:.3f}"]
    print(f"attempt {number + 1}: {', '.join([*parts, *filter(None, [verdict(end.satisfied)])])}")


def _title(request: Request, source: Path, task: Task) -> str:
    """Of pictures: the model, and which puzzle it is where it has a name."""
    which = f"; {task.name} of {request.data or 'its held-out puzzles'}" if request.of_data else ""
    return f"{source}, averaged weights{which}"


def _draw(
    request: Request,
    source: Path,
    task: Task,
    strip: list[Thought],
    frames: list[Thought],
    panels: Sequence[Panel] = (),
) -> None:
    """The pictures asked for, under the name of the model; of no thoughts, they hold the question alone."""
    if request.picture is None and request.gif is None:
        return
    from trm_jax.display.pictures import animate_thoughts, draw_thoughts

    title = _title(request, source, task)
    if request.picture is not None:
        draw_thoughts(request.picture, task.kind, task.question, strip, title, task.label, panels=panels)
    if request.gif is not None:
        animate_thoughts(request.gif, task.kind, task.question, frames, title, task.label)
