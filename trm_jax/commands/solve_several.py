"""Solves several puzzles at once: an answer a line, JSON, or a table."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trm_jax.commands import explaining
from trm_jax.commands.completing import completed
from trm_jax.commands.questions import Request, Task
from trm_jax.commands.searching import searched
from trm_jax.config import Experiment
from trm_jax.console import say
from trm_jax.display.searched import deduced
from trm_jax.errors import DataError
from trm_jax.inference.answers import certify, choose, kept_rules
from trm_jax.inference.attempts import attempt
from trm_jax.inference.confidence import Promise
from trm_jax.inference.thoughts import judge, since
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.sizes import counted

_MOST_TOLD = 5  # puzzles that a line names


@dataclass(frozen=True)
class Answer:
    """What became of a task: the answer [cells], None where none was found; whether it is right, None where unknown.

    figures: what else JSON tells: of an attempt its number, the step after which the answer was taken, that from which
      on it stayed as it is, and that from which on it was right (None where it is not known to be); of a search its
      calls or nodes.
    """

    task: Task
    tokens: Tokens | None
    right: bool | None
    figures: dict[str, Any]

    def to_dict(self, number: int) -> dict[str, Any]:
        text = self.task.kind.text
        answer = None if self.tokens is None else text(self.tokens)
        told = {"puzzle": number, "name": self.task.name, "question": text(self.task.question), "answer": answer}
        return told | {"right": self.right} | self.figures


def solve_several(
    experiment: Experiment, weights: Weights, request: Request, tasks: list[Task], sure: Promise | None = None
) -> bool | None:
    """Prints an answer to each task, a line each, or as JSON, or writes a table.

    Args:
      sure: which answers are to be given; None: all, or with a confidence, those that the rules certify.

    Returns:
      Whether none is known to be wrong; None: so it is, but some were not given, for want of confidence.
    """
    answers: list[Answer] = []
    for answer in _answers(experiment, weights, request, tasks, sure):
        if request.complete and answer.tokens is None:
            answer = _completed(experiment, weights, request, answer)
        answers.append(answer)
        if not request.json and request.answers is None:
            unsolved = "no answer" if answer.figures.get("unsolvable") else "not solved"
            unsolved = "not sure" if request.confidence else unsolved
            print(unsolved if answer.tokens is None else answer.task.kind.text(answer.tokens))
    if request.json:
        print(json.dumps([answer.to_dict(number) for number, answer in enumerate(answers, 1)], indent=1))
    if request.answers is not None:
        _write(request.answers, answers)
        print(f"{request.answers}: the answers to {len(answers)} puzzle{'s' * (len(answers) > 1)}")
    if request.complete and not (request.json or request.quiet):
        say(_by_whom(answers))
    if not request.json and (told := _ending(answers, request)):
        say(told)
    given = [answer for answer in answers if answer.tokens is not None]
    if request.confidence and len(given) < len(answers) and all(answer.right is not False for answer in given):
        return None
    return all(answer.right is not False for answer in answers)


def _completed(experiment: Experiment, weights: Weights, request: Request, answer: Answer) -> Answer:
    """What a complete search makes of a task that the network has not solved."""
    ended = completed(experiment, weights, answer.task, request.nodes)
    figures = answer.figures | {"nodes": ended.nodes, "unsolvable": ended.reason == "unsolvable"}
    return Answer(answer.task, ended.tokens, ended.tokens is not None, figures)


def _by_whom(answers: list[Answer]) -> str:
    """Whether the network or the search has answered, in words."""
    searched = [answer for answer in answers if "nodes" in answer.figures]
    nodes = sum(answer.figures["nodes"] for answer in searched)
    parts = [f"answered by the network: {len(answers) - len(searched)}"]
    parts += [f"by complete search, in the network's order: {sum(a.tokens is not None for a in searched)}"]
    if none := sum(answer.figures["unsolvable"] for answer in searched):
        parts.append(f"shown to have no answer: {none}")
    return ", ".join(parts) + (f"; {counted(nodes, 'node')} searched" if searched else "")


def _write(path: Path, answers: list[Answer]) -> None:
    """The table: question, answer ("" where none was found), and whether it is right ("" where that is unknown)."""
    words = {True: "yes", False: "no", None: ""}
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("question", "answer", "right"))
            for answer in answers:
                told = answer.to_dict(0)
                writer.writerow((told["question"], told["answer"] or "", words[answer.right]))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None


def _ending(answers: list[Answer], request: Request) -> str:
    """How it ended, in words; nothing where that is not asked for."""
    named = ((answer.task.name if request.of_data else str(number), answer) for number, answer in enumerate(answers, 1))
    if request.confidence:
        return _sure(list(named), request)
    wrong = [name for name, answer in named if answer.right is False]
    if any(answer.right is None for answer in answers):
        return "not checked: there are no rules and no known answer to check them by"
    if request.quiet:
        return ""
    if len(answers) == 1:
        return f"the puzzle is {'not ' * bool(wrong)}solved"
    if not wrong:
        return f"all {len(answers)} puzzles are solved"
    return f"{len(wrong)} of {len(answers)} puzzles are not solved: {_first(wrong)}"


def _sure(named: list[tuple[str, Answer]], request: Request) -> str:
    """As `_ending`, where a confidence was asked for."""
    if request.quiet:
        return ""
    unsure = [name for name, answer in named if answer.tokens is None]
    told = f"sure of {len(named) - len(unsure)} of {counted(len(named), 'puzzle')} at confidence {request.confidence:g}"
    return told + (f"; not sure: {_first(unsure)}" if unsure else "")


def _first(names: list[str]) -> str:
    return ", ".join(names[:_MOST_TOLD]) + (", ..." if len(names) > _MOST_TOLD else "")


def _answers(
    experiment: Experiment, weights: Weights, request: Request, tasks: list[Task], sure: Promise | None
) -> Iterator[Answer]:
    """An answer to each task, in their order; all are of one kind."""
    kind, questions = tasks[0].kind, np.stack([task.question for task in tasks])
    model = Model(experiment.model)
    if experiment.model.states == "candidates":
        results = searched(experiment, weights, kind, questions, request.budget)
        for found in sorted(results, key=lambda each: each.number):
            task, told = tasks[found.number], {"calls": found.calls}
            if request.cells:
                calls = [step.tokens for step in deduced(found.path, task.question, experiment.model.units)]
                told |= explaining.decided(task, np.stack(calls))
            yield Answer(task, found.tokens, found.tokens is not None, told)
        return
    depths = tuple(range(1, (request.steps or experiment.model.supervision_steps) + 1))
    effort = replace(request.effort, depths=depths)
    ids = np.array([task.puzzle_id for task in tasks], np.int32)
    for attempts in attempt(model, weights, effort, questions, ids, experiment.train.eval_batch_size, kind):
        theirs = slice(attempts.first, attempts.first + len(attempts))
        satisfied = kept_rules(attempts, kind, questions[theirs])
        if request.certify or request.complete:
            assert satisfied is not None
            chosen = certify(attempts, satisfied)
        else:
            chosen = choose(attempts, satisfied, request.rule(kind))
        likely, is_sure = sure(attempts, chosen.attempt) if sure else (None, None)
        for i, task in enumerate(tasks[theirs]):
            if chosen.attempt[i] < 0:
                yield Answer(task, None, False, {})
                continue
            number, step = int(chosen.attempt[i]), int(chosen.step[i])
            answers = attempts.answers[i, number, :step]
            kept = [None] * step if satisfied is None else satisfied[i, number, :step].tolist()
            rights = [judge(*each, task.label) for each in zip(kept, answers, strict=True)]
            figures = {
                "attempt": number + 1,
                "step": step,
                "settled_at": since([bool(same) for same in (answers == answers[-1]).all(axis=1)]) + 1,
                "solved_at": since(rights) + 1 if rights[-1] else None,
                "q_halt": float(chosen.q_halt[i]),
            }
            if likely is not None and is_sure is not None:
                figures |= {"confidence": float(likely[i])}
                # Nobody who knows the rules is sure of an answer that breaks them.
                if not is_sure[i] or kept[-1] is False:
                    yield Answer(task, None, None, figures)
                    continue
            if request.cells:
                figures |= explaining.figures(task, answers, rights[-1])
            yield Answer(task, answers[-1], rights[-1], figures)
