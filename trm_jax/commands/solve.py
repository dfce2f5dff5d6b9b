"""Solves one puzzle and shows how: attempts, the answer after each step of the chosen one, and the rules' verdict."""

import os
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from rich.console import Console

from trm_jax.commands import searching
from trm_jax.config import Experiment
from trm_jax.console import Output, say
from trm_jax.data.fit import matched
from trm_jax.data.identifiers import Identifiers
from trm_jax.data.user_rules import load_rules
from trm_jax.display.show import show, show_grid, verdict
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.answers import Chosen, certify, choose, kept_rules
from trm_jax.inference.attempts import Attempts, attempt
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget
from trm_jax.inference.selection import Rule
from trm_jax.inference.thoughts import Thought, by_cycles, by_steps, is_right, think
from trm_jax.inference.trace import trace
from trm_jax.model.model import Model
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.runs.sources import identifiers, load

__all__ = ["Request", "Thought", "read_question", "run", "show", "think"]

# Longer than any puzzle that a model takes; a file beyond it is not one puzzle.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Request:
    """What `trm solve` was asked for; the fields are its arguments.

    puzzle: as `read_question` reads it; None: a row of a dataset, or standard input where no row is named either.
    data, row, split: a dataset ("" for the experiment's own held-out puzzles), and one row of it, from 0.
    steps: most supervision steps of an attempt; 0: as many as in training.
    effort: all else that is computed; its depths are set by `steps`.
    selection: how one of several attempts is chosen; "": by rules if the kind has any, or else by q.
    certify: show an answer that keeps to the rules, wherever in the attempts it came up, or none.
    budget: of the search, where the model carries candidates.
    rules: a file with the rules of a puzzle of kind "grid".
    cycles: show every cycle instead of every supervision step.
    quiet: print the answer alone.
    picture, gif: files to draw into.
    """

    puzzle: str | None = None
    data: str = ""
    row: int | None = None
    split: str = "test"
    steps: int = 0
    effort: Effort = field(default_factory=lambda: Effort((1,)))
    selection: Rule | str = ""
    certify: bool = False
    budget: Budget = field(default_factory=Budget)
    rules: Path | None = None
    cycles: bool = False
    quiet: bool = False
    picture: Path | None = None
    gif: Path | None = None


class Task(NamedTuple):
    """One puzzle: its kind, the question [cells], its row of the puzzle table, and the answer where it is known."""

    kind: Kind
    question: Tokens
    puzzle_id: int
    label: Tokens | None


def read_question(kind: Kind, source: str) -> Tokens:
    """A question from its own characters, from a file that holds them, or from standard input ("-").

    Raises:
      DataError: not readable, of another length, a character that means nothing, or clues that contradict each other.
    """
    text, where = source, "puzzle"
    try:
        if source == "-":
            where = "standard input"
            text = sys.stdin.read(_LONGEST) if sys.stdin else ""
        elif os.path.exists(source):  # unlike Path.exists, this takes a puzzle that is too long to be a file's name
            where = source
            with open(source, encoding="utf-8-sig") as file:
                text = file.read(_LONGEST)
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not readable as text: {error}") from None
    try:
        question = kind.parse(text.removeprefix("\ufeff"))
        kind.check_question(question)
    except DataError as error:
        looks_like_file = where == "puzzle" and ("/" in source or Path(source).suffix[1:].isalpha())
        hint = " (no file of that name either)" if looks_like_file else ""
        raise DataError(f"{where}: {str(error).removeprefix('puzzle: ')}{hint}") from None
    return question


def read_task(
    experiment: Experiment, request: Request, identifiers: Identifiers | None = None
) -> tuple[Experiment, Task]:
    """The puzzle that is asked for, and the experiment at its size; identifiers: as for `matched`.

    Raises:
      ConfigError: two puzzles are named.
      DataError: what is named cannot be read, or is none for a model of this experiment.
    """
    model = experiment.model
    rules = load_rules(request.rules) if request.rules else None
    if request.row is None and not request.data:
        name = experiment.data.puzzle or "tokens"
        kind = kind_of(name, model.seq_len, rules)
        if kind.vocab_size not in (0, model.vocab_size):
            raise DataError(f"{name}: {kind.vocab_size} kinds of token, but the model takes {model.vocab_size}")
        question = read_question(kind, request.puzzle or "-")
        if question.max() >= model.vocab_size:
            raise DataError(f"puzzle: token {question.max()}, but the model takes 0 to {model.vocab_size - 1}")
        return experiment, Task(kind, question, 0, None)
    if request.puzzle is not None:
        raise ConfigError("two puzzles are named, one by its characters and one by --data or --row: give one of them")
    row = request.row or 0
    found = matched(experiment, request.data, request.split, row + 1, rules, identifiers)
    puzzles, kind, source = found.puzzles, found.kind, found.source
    if row >= len(puzzles):
        raise DataError(f"{source}: no row {row}: there are {len(puzzles)}, so --row goes from 0 to {len(puzzles) - 1}")
    # That this row is a puzzle was looked at: it is the last of those that were read.
    question, label = (np.asarray(part[row : row + 1])[0] for part in (puzzles.inputs, puzzles.labels))
    return found.experiment, Task(kind, question, int(puzzles.puzzle_ids[row]), label)


def run(source: Path, request: Request) -> bool:
    """The command `trm solve`: prints as asked, and returns whether the answer is right.

    Right means that the rules and the question's clues are kept; for a kind without rules, that the answer is the known
    one, if it is known. An answer that nothing can check counts as right, and the output says that it was not checked.
    """
    experiment, weights = load(source)
    searches = experiment.model.states == "candidates"
    if searches:
        switches = {"steps": request.steps, "select": request.selection, "cycles": request.cycles, "gif": request.gif}
        searching.refuse(request.effort, switches)
    else:
        searching.refuse_budget(request.budget)
    experiment, task = read_task(experiment, request, identifiers(source))
    kind, question = task.kind, task.question
    _check(request, kind)
    if searches:
        return searching.solve(experiment, weights, kind, question, request.budget, request.quiet, request.picture)
    model = Model(experiment.model)
    depths = tuple(range(1, (request.steps or experiment.model.supervision_steps) + 1))
    effort = replace(request.effort, depths=depths)
    ids = np.array([task.puzzle_id], np.int32)
    (found,) = attempt(model, weights, effort, question[None], ids, experiment.train.eval_batch_size, kind)
    satisfied = kept_rules(found, kind, question[None])
    out = Output(highlight=False)
    if request.certify:
        assert satisfied is not None
        return _certify(task, request, found, certify(found, satisfied), out)

    rule = request.selection or ("rules" if kind.has_rules and effort.attempts > 1 else "q")
    chosen = int(choose(found, satisfied, cast(Rule, rule)).attempt[0])
    steps = by_steps(kind, question, found, chosen)
    moments = steps
    if request.cycles or request.gif:
        traced = trace(model, weights, effort, question, task.puzzle_id, chosen, kind)
        moments = by_cycles(kind, question, found, traced, chosen)
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
    _draw(request, task, moments if request.cycles else steps, moments)
    return right is not False


def _check(request: Request, kind: Kind) -> None:
    """Raises ConfigError for what the kind of puzzle, or one request for another, does not allow."""
    name = kind.to_dict()["kind"]
    for what, asked in (("--certify", request.certify), ("--select=rules", request.selection == "rules")):
        if asked and not kind.has_rules:
            mend = "give some with --rules FILE.py" if name == "grid" else "only kind 'grid' takes some, by --rules"
            raise ConfigError(f"{what} needs rules to check answers by; puzzles of kind {name!r} have none: {mend}")
    effort = request.effort
    effort.check_chosen(request.selection)
    if request.certify and request.selection:
        raise ConfigError("--certify takes the first answer that keeps the rules, of any attempt: leave out --select")
    if request.certify and request.cycles:
        raise ConfigError("--certify shows the answer that keeps the rules and no other: leave out --cycles")
    if request.cycles and request.quiet and request.picture is None:
        raise ConfigError("--quiet prints the last answer alone: leave out --cycles, or draw them with --picture")
    if effort.attempts == 1 and (effort.start_noise or effort.latent_noise or effort.symmetries):
        raise ConfigError("the first attempt has neither noise nor symmetries: give --attempts of at least 2")


def _certify(task: Task, request: Request, found: Attempts, answer: Chosen, out: Console) -> bool:
    """Shows the certified answer, or says that there is none, and nothing of any other."""
    step, number = int(answer.step[0]), int(answer.attempt[0])
    if number < 0:
        K, D = found.effort.attempts, found.effort.steps
        tried = f"{K} attempt{'s' * (K > 1)} of up to {D} supervision step{'s' * (D > 1)}"
        print("not solved" + ("" if request.quiet else f": no answer in {tried} keeps the rules"))
        _draw(request, task, [], [])
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
    _draw(request, task, [thought], [thought])
    return True


def _tell(number: int, end: Thought, halted_at: int) -> None:
    """One line about an attempt."""
    halted = f"halted at step {halted_at}" if halted_at else "did not halt"
    parts = [halted, f"q_halt {end.q_halt:+.2f} ({end.sure:.0%} sure)", f"change {end.change:.3f}"]
    print(f"attempt {number + 1}: {', '.join([*parts, *filter(None, [verdict(end.satisfied)])])}")


def _draw(request: Request, task: Task, strip: list[Thought], frames: list[Thought]) -> None:
    """The pictures asked for; of no thoughts, they hold the question alone."""
    if request.picture is None and request.gif is None:
        return
    from trm_jax.display.pictures import animate_thoughts, draw_thoughts

    if request.picture is not None:
        draw_thoughts(request.picture, task.kind, task.question, strip)
    if request.gif is not None:
        animate_thoughts(request.gif, task.kind, task.question, frames)
