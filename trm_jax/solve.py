"""Solves one puzzle and shows how: the answer after each supervision step, what changed, q, and the rules' verdict."""

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
    if source == "-":
        text, where = sys.stdin.read(_LONGEST), "standard input"
    elif "\n" not in source and len(source) < 4_096 and Path(source).is_file():
        where = source
        try:
            with Path(source).open(encoding="utf-8-sig") as file:
                text = file.read(_LONGEST)
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source}: not readable as text: {error}") from None
    try:
        question = kind.parse(text)
        kind.check_question(question)
    except DataError as error:
        hint = " (no file of that name either)" if where == "puzzle" and "/" in source else ""
        raise DataError(f"{where}: {error}{hint}") from None
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
    """Prints the question and each step's grid; cells that changed are bold green, and marked ' without colours."""
    out = out or Console(highlight=False)
    out.print("question")
    out.print(_grid(kind, question, np.zeros(len(question), np.bool_)))
    for i, thought in enumerate(thoughts):
        sure = float(jax.nn.sigmoid(thought.q_halt))
        verdict = "keeps the rules" if thought.satisfied else "breaks the rules"
        count = int(thought.changed.sum())
        head = f"supervision step {i + 1}: {count} cells changed, q_halt {thought.q_halt:+.2f} ({sure:.0%} sure), "
        out.print(f"\n{head}[{'green' if thought.satisfied else 'red'}]{verdict}[/]")
        if count or i == 0:
            out.print(_grid(kind, thought.tokens, thought.changed))
    first = next((i for i, thought in enumerate(thoughts) if thought.satisfied), None)
    if thoughts[-1].satisfied:
        out.print(f"\nsolved at supervision step {(first or 0) + 1}: {kind.text(thoughts[-1].tokens)}", soft_wrap=True)
    else:
        out.print("\nnot solved: the last answer breaks the rules; more --steps may help")


def _grid(kind: Kind, tokens: Tokens, changed: NDArray[np.bool_]) -> Text:
    """The cells as a grid with lines between boxes."""
    rows, columns = kind.shape
    text, glyphs = Text(), kind.glyphs(tokens)
    box_rows, box_cols = kind.boxes or (rows, columns)
    for r in range(rows):
        if r and r % box_rows == 0:
            text.append("+".join(["-" * (2 * box_cols + 1)] * (columns // box_cols)) + "\n", style="dim")
        for c in range(columns):
            if c and c % box_cols == 0:
                text.append("| ", style="dim")
            cell = r * columns + c
            mark = "'" if changed[cell] else " "
            text.append((" " if c % box_cols == 0 and not c else "") + glyphs[cell] + mark, _style(bool(changed[cell])))
        text.append("\n" if r + 1 < rows else "")
    return text


def _style(changed: bool) -> str:
    return "bold green" if changed else ""
