"""`trm solve --cells` and `--why`: when each cell was decided, what went wrong, and which clues an answer rests on."""

from typing import Any

import numpy as np

from trm_jax.commands.questions import Request, Task
from trm_jax.config import Experiment
from trm_jax.console import Output
from trm_jax.display.canvas import Panel
from trm_jax.display.explained import (
    decision_panels,
    glyph,
    mistake_panel,
    show_decisions,
    told_mistake,
    told_why,
    why_panel,
)
from trm_jax.inference.decisions import Decisions, Mistake, decisions, mistake, truth
from trm_jax.inference.why import cell_at, place_of, why
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
        panels += decision_panels(kind, question, answers[-1], found, step)
        if not (searches or right):
            known, wrong = _mistake(task, answers)
            lines += ["", *(told_mistake(kind, question, wrong, "supervision step") if wrong else [known])]
            panels += [mistake_panel(kind, question, wrong)] if wrong else []
    if request.why is not None:
        cell, steps = cell_at(kind, question, *request.why), len(answers)
        reason = why(Model(experiment.model), weights, kind, question, cell, steps, task.puzzle_id)
        when = "after the first call" if searches else f"after supervision step {steps}"
        lines += ["", *told_why(kind, question, reason, when)]
        if searches and right and answers[-1, cell] != reason.token:
            lines.append(f"  the search has found {glyph(kind, int(answers[-1, cell]))} there: that took more calls")
        panels.append(why_panel(kind, question, reason))
    if lines and not request.quiet:
        print("\n".join(lines))
    return panels


def _mistake(task: Task, answers: Tokens) -> tuple[str, Mistake | None]:
    """Where the last answer went wrong, or why nobody knows."""
    known = truth(task.kind, task.question, task.label)
    if known.answer is None:
        return _NO_TRUTH[known.why], None
    found = mistake(task.kind, task.question, answers, known.answer)
    return "" if found else "the answer is the known one, but breaks the rules", found


def decided(task: Task, answers: Tokens) -> dict[str, Any]:
    """For JSON, as rows of numbers: when each cell was decided, 0 where it was left empty."""
    at = decisions(answers).at
    if task.kind.blank is not None:
        at = np.where(answers[-1] == task.kind.blank, 0, at)
    return {"decided_at": at.reshape(task.kind.shape).tolist()}


def figures(task: Task, answers: Tokens, right: bool | None) -> dict[str, Any]:
    """All that --cells tells, for JSON; `decided`, changes, and the first mistake where there is one that is known.

    Places are [row, column] from 1.
    """
    kind, changes = task.kind, decisions(answers).changes
    assert changes is not None
    told = decided(task, answers) | {"changes": changes.reshape(kind.shape).tolist()}
    wrong = None if right else _mistake(task, answers)[1]
    if wrong is not None:
        told["first_mistake"] = {
            "place": list(place_of(kind, wrong.cell)),
            "step": wrong.step,
            "wrong_cells": int(wrong.wrong.sum()),
            "against": None if wrong.against is None else [list(place_of(kind, clue)) for clue in wrong.against.clues],
        }
    return told
