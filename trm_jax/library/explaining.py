"""Answers explained in the hand: what a cell rests on, when it was decided, where an answer went wrong."""

import numpy as np

from trm_jax.display.explained import glyph
from trm_jax.inference.decisions import decisions, mistake, truth
from trm_jax.inference.why import cell_at, place_of, why
from trm_jax.library.answers import Cells, Clue, FirstMistake, Moment, Why
from trm_jax.model.model import Model, Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


def reasons(
    model: Model, weights: Weights, kind: Kind, question: Tokens, row: int, column: int, steps: int, puzzle_id: int
) -> Why:
    """What a cell of a question [S] rests on; the arguments are those of `Solver.why`."""
    found = why(model, weights, kind, question, cell_at(kind, question, row, column), steps, puzzle_id)
    clues = tuple(
        Clue(
            *place_of(kind, int(found.clues[i])),
            glyph(kind, int(question[found.clues[i]])),
            float(found.effects[i]),
            float(found.shares[i]),
            glyph(kind, int(found.without[i])),
        )
        for i in np.argsort(-found.effects, kind="stable")
    )
    return Why(row, column, glyph(kind, found.token), found.lead, clues)


def cells(kind: Kind, question: Tokens, moments: list[Moment], searches: bool) -> Cells:
    """How the cells of an answer came about, by all moments of it. searches: these are calls of a search."""
    answers = np.stack([moment.answer.tokens for moment in moments])
    found = decisions(answers)
    if searches or moments[-1].answer.valid:
        wrong = None
    else:
        known = truth(kind, question).answer
        wrong = None if known is None else mistake(kind, question, answers, known)
    if wrong is not None:
        against = () if wrong.against is None else tuple(place_of(kind, clue) for clue in wrong.against.clues)
        symbols = glyph(kind, wrong.token), glyph(kind, wrong.right)
        first = FirstMistake(*place_of(kind, wrong.cell), wrong.step, *symbols, against)
    changes = None if searches or found.changes is None else found.changes.reshape(kind.shape)
    return Cells(found.at.reshape(kind.shape), changes, None if wrong is None else first)
