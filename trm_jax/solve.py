"""Solves one puzzle and shows how: the answer after each supervision step, what changed, q, and the rules' verdict."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from trm_jax import checkpoint
from trm_jax.errors import DataError
from trm_jax.evaluate import answer
from trm_jax.model import Model, Weights
from trm_jax.puzzles.kind import Kind, kind_of

Tokens = NDArray[np.integer[Any]]

# Longer than any puzzle that a model takes; a file beyond it is not one puzzle.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Thought:
    """The model's answer after one supervision step.

    tokens: the answer [cells], the question's fixed cells as the model gave them too.
    changed: which cells differ from the step before (at the first step: from the question), bool [cells].
    q_halt: the model's own logit that the answer is right.
    satisfied: whether the answer keeps to the rules and to the question.
    """

    tokens: Tokens
    changed: NDArray[np.bool_]
    q_halt: float
    satisfied: bool


def think(model: Model, weights: Weights, kind: Kind, question: Tokens, steps: int) -> list[Thought]:
    """The model's answers to one question [cells], one after each of `steps` supervision steps."""
    found = answer(model, weights, jnp.asarray(question, jnp.int32)[None], jnp.zeros((1,), jnp.int32), steps)
    thoughts, before = [], question
    for tokens, q in zip(np.asarray(found.tokens)[:, 0], np.asarray(found.q_halt)[:, 0], strict=True):
        thoughts.append(Thought(tokens, tokens != before, float(q), kind.satisfied(question, tokens)))
        before = tokens
    return thoughts


def read_question(kind: Kind, source: str) -> Tokens:
    """A question from its own characters, from a file that holds them, or from standard input ("-").

    Raises:
      DataError: not readable, of another length, a character that means nothing, or clues that contradict each other.
    """
    text, where = source, "puzzle"
    try:
        if source == "-":
            where = "standard input"
            text = sys.stdin.read(_LONGEST)
        elif os.path.exists(source):  # unlike Path.exists, this takes a puzzle that is too long to be a file's name
            where = source
            with open(source, encoding="utf-8-sig") as file:
                text = file.read(_LONGEST)
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not readable as text: {error}") from None
    try:
        question = kind.parse(text)
        kind.check_question(question)
    except DataError as error:
        looks_like_file = where == "puzzle" and ("/" in source or Path(source).suffix[1:].isalpha())
        hint = " (no file of that name either)" if looks_like_file else ""
        raise DataError(f"{where}: {str(error).removeprefix('puzzle: ')}{hint}") from None
    return question


def run(source: Path, puzzle: str, steps: int, quiet: bool, picture: Path | None) -> bool:
    """The command `trm solve`: prints each step, or with `quiet` the last answer alone; returns whether it is right.

    Right means that the rules and the question's clues are kept; nothing here knows the solution.
    """
    experiment, weights = checkpoint.load(source)
    kind = kind_of(experiment.data.puzzle, experiment.model.seq_len)
    question = read_question(kind, puzzle)
    model = Model(experiment.model)
    thoughts = think(model, weights, kind, question, steps or experiment.model.supervision_steps)
    if quiet:
        print(kind.text(thoughts[-1].tokens))
    else:
        show(kind, question, thoughts)
    if picture is not None:
        from trm_jax.pictures import draw_thoughts

        draw_thoughts(picture, kind, question, thoughts)
    return thoughts[-1].satisfied


def show(kind: Kind, question: Tokens, thoughts: list[Thought], out: Console | None = None) -> None:
    """Prints the question and each step's grid; cells that changed are bold green, or marked ' without colours."""
    out = out or Console(highlight=False)
    marked = out.no_color or out.color_system is None
    out.print("question")
    out.print(_grid(kind, question, np.zeros(len(question), np.bool_), marked), soft_wrap=True)
    for i, thought in enumerate(thoughts):
        sure = float(jax.nn.sigmoid(thought.q_halt))
        verdict = "keeps the rules" if thought.satisfied else "breaks the rules"
        count = int(thought.changed.sum())
        cells = "cell" if count == 1 else "cells"
        head = f"supervision step {i + 1}: {count} {cells} changed, q_halt {thought.q_halt:+.2f} ({sure:.0%} sure), "
        out.print(f"\n{head}[{'green' if thought.satisfied else 'red'}]{verdict}[/]", soft_wrap=True)
        if count or i == 0:
            out.print(_grid(kind, thought.tokens, thought.changed, marked), soft_wrap=True)
    first = next((i for i, thought in enumerate(thoughts) if thought.satisfied), None)
    if thoughts[-1].satisfied:
        out.print(f"\nsolved at supervision step {(first or 0) + 1}: {kind.text(thoughts[-1].tokens)}", soft_wrap=True)
    else:
        out.print("\nnot solved: the last answer breaks the rules; more --steps may help")


def _grid(kind: Kind, tokens: Tokens, changed: NDArray[np.bool_], marked: bool) -> Text:
    """The cells as a grid, two characters each so that it looks square: with lines between boxes, or with a frame."""
    rows, columns = kind.shape
    box_rows, box_cols = kind.boxes or kind.shape
    glyphs = kind.glyphs(tokens)
    rule = "+".join(["-" * (2 * box_cols + 1)] * (columns // box_cols))
    lines = []
    for r in range(rows):
        if r and r % box_rows == 0:
            lines.append(Text(rule, "dim"))
        line = Text()
        for c in range(columns):
            if c and c % box_cols == 0:
                line.append("| ", "dim")
            cell = r * columns + c
            # Walls of a maze are solid.
            beside = "'" if changed[cell] and marked else "#" if glyphs[cell] == "#" else " "
            line.append(glyphs[cell] + beside, "bold green" if changed[cell] else "")
        if kind.boxes:
            line = Text(" ") + line
            line.rstrip()
        else:
            line = Text.assemble(("|", "dim"), line, ("|", "dim"))
        lines.append(line)
    if not kind.boxes:
        frame = Text("+" + "-" * (2 * columns) + "+", "dim")
        lines = [frame, *lines, frame]
    return Text("\n").join(lines)
