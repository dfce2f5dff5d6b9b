"""What a solver hands back: answers, moments of thought, figures; plain arrays that show themselves in a notebook."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trm_jax.display.html import boards_html, table_html
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens


class Moment(NamedTuple):
    """A model's mind after one supervision step.

    step: which, from 1.
    answer: what it would say now.
    y: the answer as it is embedded, float32 [L, D]; its last S positions are the cells.
    z: the latents, float32 [K, L, D]. Where the model has only one of the two, the other is None.
    q: how sure it is that the answer is right, 0 to 1.
    possible: of a model of candidates, the symbols that each cell may still have, bool [S, V]; y and z are None, a step
      is a call of the chain that found the answer.
    latents: what z would say if it were the answer, after each latent step of each cycle, tokens [T, n, S]; None where
      it was not asked for.
    """

    step: int
    answer: "Answers"
    y: NDArray[np.float32] | None
    z: NDArray[np.float32] | None
    q: float
    possible: NDArray[np.bool_] | None = None
    latents: Tokens | None = None


@dataclass(frozen=True)
class Answers:
    """Answers to one puzzle or to N. Of one, each field is a single value, without the axis N.

    tokens: int32 [N, S], as the model writes them; 0 everywhere where a certified answer was asked for and none found.
    valid: whether the answer keeps to the rules and to the clues, bool [N]; None where no rules are known.
    q: how sure the model is that the answer is right, 0 to 1, [N].
    steps: the supervision step after which the answer stood, or the calls that a search has made, [N].
    attempt: the attempt that it comes from, from 0, [N]; -1 where a certified answer was not found.
    questions: tokens of the puzzles, int32 [N, S].
    kind: of puzzle.
    confidence: how likely the answer is right by the calibration, 0 to 1, [N]; of a search, 1 where it is certified.
    sure: whether that is enough, bool [N]; tokens are 0 where it is not. Both are None where none was asked for.
    """

    tokens: Tokens
    valid: Any
    q: Any
    steps: Any
    attempt: Any
    questions: Tokens
    kind: Kind
    confidence: Any = None
    sure: Any = None

    @property
    def digits(self) -> Any:
        """The numbers in the cells, int [N, rows, columns]; 0 is a blank. ARC: a list of N grids of colours.

        Raises DataError for puzzles whose cells hold characters (take `characters` or `text`).
        """
        if self.tokens.ndim == 1:
            return self.kind.decode(self.tokens)
        boards = [self.kind.decode(tokens) for tokens in self.tokens]
        return np.stack(boards) if len({board.shape for board in boards}) == 1 else boards

    @property
    def characters(self) -> NDArray[np.str_]:
        """One character for each cell, [N, rows, columns]."""
        flat = self.tokens.reshape(-1, self.kind.cells)
        shape = (*self.tokens.shape[:-1], *self.kind.shape)
        return np.array([self.kind.glyphs(tokens) for tokens in flat]).reshape(shape)

    def text(self, number: int = 0) -> str:
        """An answer in one line, as `trm solve --quiet` prints it; "" where there is none."""
        tokens = self.tokens.reshape(-1, self.kind.cells)[number]
        return self.kind.text(tokens) if tokens.any() else ""

    def __len__(self) -> int:
        return 1 if self.tokens.ndim == 1 else len(self.tokens)

    def __getitem__(self, number: int) -> "Answers":
        if self.tokens.ndim == 1:
            raise TypeError("this is the answer to one puzzle, which has no number")
        return Answers(
            self.tokens[number],
            None if self.valid is None else self.valid[number],
            self.q[number],
            self.steps[number],
            self.attempt[number],
            self.questions[number],
            self.kind,
            None if self.confidence is None else self.confidence[number],
            None if self.sure is None else self.sure[number],
        )

    def __iter__(self) -> Iterator["Answers"]:
        return iter([self]) if self.tokens.ndim == 1 else (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        if self.tokens.ndim > 1:
            valid = "" if self.valid is None else f", {int(self.valid.sum())} of them valid"
            return f"<{len(self)} answers{valid}>"
        if self.sure is not None and not self.sure:
            return f"<no answer: not sure, {self.q:.0%} by q>"
        valid = {None: "", True: "valid, ", False: "not valid, "}[None if self.valid is None else bool(self.valid)]
        return f"<answer {self.text() or 'not found'}: {valid}{self.q:.0%} sure, after step {self.steps}>"

    def _repr_html_(self) -> str:
        captions = [repr(answer)[1:-1].partition(": ")[2] for answer in self]
        questions, answers = (tokens.reshape(-1, self.kind.cells) for tokens in (self.questions, self.tokens))
        return boards_html(self.kind, questions, answers, captions)


class Clue(NamedTuple):
    """What one clue does for a cell's answer.

    row, column: its place, from 1.
    symbol: its character.
    effect: what it adds to the lead of the answer; below zero where it speaks against it.
    share: its part of all that clues add, 0 to 1.
    without: what the cell would say without it.
    """

    row: int
    column: int
    symbol: str
    effect: float
    share: float
    without: str


@dataclass(frozen=True)
class Why:
    """What the answer in a cell rests on (inference/why.py says how that is found).

    row, column: of the cell, from 1.
    symbol: what the model says there.
    lead: the logit of that above the logit of the next best.
    clues: the strongest first.
    """

    row: int
    column: int
    symbol: str
    lead: float
    clues: tuple[Clue, ...]

    def _repr_html_(self) -> str:
        head = f"<p>{escape(self.symbol)} at r{self.row}c{self.column} leads the next best by {self.lead:.2f}</p>"
        rows = [
            {"clue": f"r{clue.row}c{clue.column} = {clue.symbol}", "adds": f"{clue.effect:.2f}"}
            | {"share": f"{clue.share:.0%}", "without it": clue.without}
            for clue in self.clues
        ]
        return head + table_html(rows)


class FirstMistake(NamedTuple):
    """The first cell of an answer that was wrong for good.

    row, column: its place, from 1; step: from which on.
    symbol, right: what it says, and what would have been right.
    against: the places of clues that contradict it, from 1; () where nothing is known to.
    """

    row: int
    column: int
    step: int
    symbol: str
    right: str
    against: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Cells:
    """How the cells of an answer came about.

    decided_at: the step (of a search, the call) from which on a cell stays as it ends, int [rows, columns].
    changes: in how many steps after the first it became another, int [rows, columns]; None of a search.
    mistake: the first cell that went wrong; None where the answer is right, or that is not known.
    """

    decided_at: NDArray[np.intp]
    changes: NDArray[np.intp] | None
    mistake: FirstMistake | None


class Figures(dict[str, Any]):
    """What an evaluation found: what `trm eval --json` writes, ready for json.dumps; a table in a notebook."""

    def _repr_html_(self) -> str:
        names = {
            "name": "puzzles",
            "supervision_steps": "steps",
            "exact": "exact",
            "satisfied": "valid",
            "cells": "cells",
        }
        names |= {"valid": "valid", "certified": "certified"}  # of puzzles without answers
        names |= {"false_claims": "false claims"}  # of a stress test
        rows = [
            {short: row[name] for name, short in names.items() if row.get(name) is not None} for row in self["rows"]
        ]
        shown = [{k: f"{v['value']:.2%}" if isinstance(v, Mapping) else str(v) for k, v in row.items()} for row in rows]
        return f"<p>{self['puzzles']:,} puzzles, {self['seconds']:.1f} s</p>{table_html(shown)}"
