"""What is told of an answer cell by cell: when it was decided, what it rests on, where it went wrong."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from trm_jax.display.boards import number_lines, print_line, readable, side_by_side, window
from trm_jax.display.canvas import CHANGE, CHANGED, GIVEN, INK, START, SURE, WHITE, WRONG, WRONG_CELL, Panel, shade
from trm_jax.inference.decisions import Decisions, Mistake
from trm_jax.inference.why import Why, place_of
from trm_jax.puzzles import arc
from trm_jax.puzzles.contradictions import Contradiction
from trm_jax.puzzles.faults import counted
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.symmetry import Tokens

# Of clues, that are listed one by one, and that a sentence names.
_MOST_LISTED, _MOST_NAMED = 10, 12
# The deepest shade, so that black can be read on it.
_DEEPEST = 0.6
# A clue that adds less of the lead carries nothing.
_LITTLE = 0.1
# A smaller share of a clue is not written on the board.
_LEAST_SHARE = 0.02


def place(kind: Kind, cell: int) -> str:
    """Such as r1c3."""
    row, column = place_of(kind, cell)
    return f"r{row}c{column}"


def glyph(kind: Kind, token: int) -> str:
    """The character of a token."""
    return kind.glyphs(np.array([token], np.int32))[0]


def decision_boards(
    kind: Kind, question: Tokens, answer: Tokens, found: Decisions, step: str
) -> list[tuple[str, NDArray[np.str_], NDArray[np.intp]]]:
    """Boards about when cells were decided: a title, a text for each cell [S], and the numbers [S].

    Clues that stayed as they are bear a dot, and so do cells that were left empty or are none of an ARC grid.

    Args:
      kind, question, answer: the puzzle and what came of it, tokens [S].
      step: what a step is called.
    """
    silent = kind.given(question) & (found.at == 1) & (answer == question)
    if kind.blank is not None:
        silent |= answer == kind.blank
    if isinstance(kind, Arc):
        silent = readable(kind, answer) == arc.PAD
    titles = f"{step} that decided", "changes after the first"
    return [
        (title, np.where(silent, ".", numbers.astype(np.str_)), np.where(silent, 0, numbers))
        for title, numbers in zip(titles, found, strict=True)
        if numbers is not None
    ]


def show_decisions(kind: Kind, question: Tokens, answer: Tokens, found: Decisions, step: str, out: Console) -> None:
    """Prints for each cell the step at which it was decided, and how often it changed."""
    part = window(kind, answer)
    boards = decision_boards(kind, question, answer, found, step)
    blocks = [[Text(title), *number_lines(kind, part, texts)] for title, texts, _ in boards]
    for line in side_by_side(blocks, out.width):
        print_line(out, line)


def decision_panels(kind: Kind, question: Tokens, answer: Tokens, found: Decisions, step: str) -> list[Panel]:
    """The same for a picture: the later, or the more often, the deeper."""
    panels = []
    for board, (title, texts, numbers) in enumerate(decision_boards(kind, question, answer, found, step)):
        above = np.maximum(numbers - (board == 0), 0)  # steps are counted from 1
        shares = above / max(int(above.max()), 1)
        grounds = np.array([shade(START, _DEEPEST * share) for share in shares.tolist()])
        grounds, shown = np.where(texts == ".", GIVEN, grounds), np.where(texts == ".", "", texts)
        legend = ((shade(START, _DEEPEST), "decided later, or changed more often"),)
        panels.append(Panel(title, shown, np.full(len(texts), ""), grounds, np.full(len(texts), INK), legend))
    return panels


def told_mistake(kind: Kind, question: Tokens, found: Mistake, step: str) -> Iterator[str]:
    """Sentences about where an answer went wrong, and the clues that contradict it."""
    wrong, said, right = int(found.wrong.sum()), glyph(kind, found.token), glyph(kind, found.right)
    at = place(kind, found.cell)
    yield (
        f"{counted(wrong, 'cell')} wrong in the end; the first for good is {at}, from {step} {found.step} on, "
        f"which ends as {said} instead of {right}"
    )
    if found.against is not None:
        yield against(kind, question, found.cell, said, found.against)


def mistake_panel(kind: Kind, question: Tokens, found: Mistake) -> Panel:
    """The clues, those that contradict the first mistake in orange, and the mistake in red."""
    cells, given = len(question), kind.given(question)
    clues = np.isin(np.arange(cells), () if found.against is None else found.against.clues)
    texts = np.where(given, np.array(kind.glyphs(question)), "")
    notes = np.full(cells, "", "U8")
    texts[found.cell], notes[found.cell] = glyph(kind, found.token), f"not {glyph(kind, found.right)}"
    grounds = np.where(clues, shade(CHANGE, _DEEPEST), np.where(given, GIVEN, WHITE))
    inks = np.full(cells, INK)
    grounds[found.cell], inks[found.cell] = WRONG_CELL, WRONG
    title = f"wrong first: {glyph(kind, found.token)} at {place(kind, found.cell)}"
    legend = ((shade(CHANGE, _DEEPEST), "speaks against it"),)
    return Panel(title, texts, notes, grounds, inks, legend)


def against(kind: Kind, question: Tokens, cell: int, said: str, found: Contradiction) -> str:
    """A sentence about the clues that speak against what a cell says."""
    at = place(kind, cell)
    named = [f"{place(kind, clue)} = {glyph(kind, int(question[clue]))}" for clue in found.clues]
    if found.how == "overwritten":
        return f"{at} is a clue itself, {glyph(kind, int(question[cell]))}, which the answer overwrites"
    if found.how == "unit":
        return f"no {said} at {at}: {', '.join(named)} stand{'s' * (len(named) == 1)} in the same {found.unit}"
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    return (
        f"no {said} at {at}: no answer keeps {', '.join(named[:_MOST_NAMED])}{more}, "
        f"by complete search; {'it takes all of these' if len(named) > 1 else 'it takes this'}"
    )


def told_why(kind: Kind, question: Tokens, found: Why, when: str) -> Iterator[str]:
    """Lines about what a cell's answer rests on: the strongest clues first, each with its share.

    when: after what the model says so.
    """
    said = glyph(kind, found.token)
    yield (
        f"why {said} at {place(kind, found.cell)}: {when} it leads the next best by {found.lead:.2f}; "
        "what each clue adds to that, and its share:"
    )
    order = np.argsort(-found.effects, kind="stable")
    helping = [int(i) for i in order if found.effects[i] > 0]
    for i in helping[:_MOST_LISTED]:
        clue = int(found.clues[i])
        other = "" if found.without[i] == found.token else f", without it: {glyph(kind, int(found.without[i]))}"
        name = f"{place(kind, clue)} = {glyph(kind, int(question[clue]))}"
        yield f"  {name:<10}{found.effects[i]:>8.2f}{found.shares[i]:>6.0%}{other}"
    if rest := helping[_MOST_LISTED:]:
        yield f"  {counted(len(rest), 'more clue')}, together {found.shares[rest].sum():.0%}"
    if found.lead > 0 and found.effects.max() < _LITTLE * found.lead:
        yield "  no clue alone carries it: without any of them it leads nearly as far"
    opposing = [int(i) for i in order[::-1] if found.effects[i] < 0][:_MOST_LISTED]
    if opposing:
        named = ", ".join(f"{place(kind, int(found.clues[i]))} ({found.effects[i]:.2f})" for i in opposing)
        yield f"  against it: {named}"


def why_panel(kind: Kind, question: Tokens, found: Why) -> Panel:
    """The board of clues: blue the more a cell's answer rests on them, orange the more they speak against it."""
    cells = len(question)
    texts, notes = np.full(cells, "", "U8"), np.full(cells, "", "U8")
    grounds, inks = np.full(cells, WHITE), np.full(cells, INK)
    strongest = max(float(np.abs(found.effects).max()), 1e-12)
    for clue, effect, share in zip(found.clues.tolist(), found.effects.tolist(), found.shares.tolist(), strict=True):
        texts[clue] = glyph(kind, int(question[clue]))
        grounds[clue] = shade(SURE if effect > 0 else CHANGE, _DEEPEST * abs(effect) / strongest)
        notes[clue] = f"{share:.0%}" if share >= _LEAST_SHARE else ""
    texts[found.cell], inks[found.cell] = glyph(kind, found.token), CHANGED
    grounds[found.cell] = WHITE
    title = f"what {glyph(kind, found.token)} at {place(kind, found.cell)} rests on"
    legend = ((shade(SURE, _DEEPEST), "the answer rests on it"), (shade(CHANGE, _DEEPEST), "speaks against it"))
    return Panel(title, texts, notes, grounds, inks, legend)
