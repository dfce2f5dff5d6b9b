"""`trm solve --cells` and `--why`: when each cell was decided, what went wrong, and which clues an answer rests on."""

from typing import Any

from trm_jax.commands.questions import Request, Task
from trm_jax.config import Experiment
from trm_jax.console import Output
from trm_jax.display.canvas import Panel
from trm_jax.display.explained import decision_panels, show_decisions, told_mistake, told_why, why_panel
from trm_jax.inference.decisions import Decisions, decisions, mistake, truth
from trm_jax.inference.why import cell_at, why
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.symmetry import Tokens

# Why a wrong answer cannot be held to a right one.
_NO_TRUTH = {
    "none": "the puzzle has no answer, by complete search: no cell is the one that went wrong",
    "several": "the puzzle has several answers, by complete search: no cell is the one that went wrong",
    "unknown": "no answer to this puzzle is known, so that no cell is known to be wrong",
}


def explain(
    experiment: Experiment, weights: Weights, request: Request, task: Task, answers: Tokens, right: bool | None
) -> list[Panel]:
    """Prints what was asked for about an answer, and returns it as boards for a picture.

    Args:
      answers: after each supervision step, or after each call of a search, tokens [D, S]; at least one.
      right: whether the last is right, None where that is not known.
    """
    kind, question, out = task.kind, task.question, Output(highlight=False)
    searches = experiment.model.states == "candidates"
    panels, lines = [], []
    if request.cells:
        step = "call" if searches else "step"
        found = decisions(answers)
        found = Decisions(found.at, None) if searches else found
        if not request.quiet:
            out.print()
            show_decisions(kind, question, answers[-1], found, step, out)
            lines += [] if searches or right else _mistake(task, answers)
        panels += decision_panels(kind, question, answers[-1], found, step)
    if request.why is not None:
        cell, steps = cell_at(kind, *request.why), len(answers)
        reason = why(Model(experiment.model), weights, kind, question, cell, steps, task.puzzle_id)
        when = "after the first call" if searches else f"after supervision step {steps}"
        lines += ["", *told_why(kind, question, reason, when)]
        panels.append(why_panel(kind, question, reason))
    if lines and not request.quiet:
        print("\n".join(lines))
    return panels


def _mistake(task: Task, answers: Tokens) -> list[str]:
    """Lines about where the last answer went wrong."""
    known = truth(task.kind, task.question, task.label)
    if known.answer is None:
        return ["", _NO_TRUTH[known.why]]
    found = mistake(task.kind, task.question, answers, known.answer)
    return [] if found is None else ["", *told_mistake(task.kind, task.question, found, "supervision step")]


def figures(task: Task, answers: Tokens, right: bool | None) -> dict[str, Any]:
    """The same of --cells for JSON: rows of numbers, and the first mistake where there is one that is known.

    Places are [row, column] from 1.
    """
    kind, found = task.kind, decisions(answers)
    assert found.changes is not None
    told: dict[str, Any] = {
        "decided_at": found.at.reshape(kind.shape).tolist(),
        "changes": found.changes.reshape(kind.shape).tolist(),
    }
    known = None if right else truth(kind, task.question, task.label).answer
    wrong = None if known is None else mistake(kind, task.question, answers, known)
    if wrong is not None:

        def place(cell: int) -> list[int]:
            return [cell // kind.shape[1] + 1, cell % kind.shape[1] + 1]

        told["first_mistake"] = {
            "place": place(wrong.cell),
            "step": wrong.step,
            "wrong_cells": int(wrong.wrong.sum()),
            "against": None if wrong.against is None else [place(clue) for clue in wrong.against.clues],
        }
    return told
