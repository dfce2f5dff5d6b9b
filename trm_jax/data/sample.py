"""A few rows of a set against the rules of its kind: enough to see that it is encoded as this program encodes."""

import numpy as np
from numpy.typing import NDArray

from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import DataError, RulesError
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.symmetry import Tokens

# A set of another encoding is wrong in every row; the rules of a user's own may take their time.
_ROWS = 16
# By how much the tokens of other programs differ: those that have no padding, or no blank, or neither.
_SHIFTS = (1, -1, 2, -2)


def check_sample(kind: Kind, puzzles: PuzzleSet, source: str) -> None:
    """Holds some rows, from the first to the last, against the rules of their kind.

    Args:
      kind: what the puzzles are taken for.
      source: their name, for an error.

    Raises:
      DataError: names the first row at fault and what is wrong with it; or that all tokens are higher or lower by the
        same number than they should be.
    """
    rows = np.unique(np.linspace(0, len(puzzles) - 1, min(_ROWS, len(puzzles))).astype(np.int64))
    questions, labels = (np.asarray(part[rows]).astype(np.int32) for part in (puzzles.inputs, puzzles.labels))
    faults = _faults(kind, questions, labels, puzzles.faulty)
    if not faults:
        return
    row, fault = faults[0]
    name = kind.name
    for shift in _SHIFTS:
        if not _faults(kind, questions - shift, labels - shift):
            raise DataError(
                f"{source}: every token is {abs(shift)} too {'high' if shift > 0 else 'low'} for puzzles of kind "
                f"{name!r}: build it again with `trm data`, or in the encoding of data/README.md"
            )
    raise DataError(
        f"{source}: {puzzles.row_name(rows[row])} is no puzzle of kind {name!r} ({fault}): "
        "`trm data verify` names every row at fault"
    )


def check_labels(puzzles: PuzzleSet, source: str, use: str = "learn from") -> None:
    """Raises DataError for a set in which no cell has a label; source: its name; use: what there is nothing to do."""
    if not puzzles.has_labels():
        raise DataError(
            f"{source}: none of its {len(puzzles):,} puzzles has a labelled cell, so there is nothing to {use}: "
            "give puzzles with their answers"
        )


def _faults(
    kind: Kind, questions: NDArray[np.int32], labels: NDArray[np.int32], faulty: bool = False
) -> list[tuple[int, str]]:
    """Of questions and labels [n, S] the places of those that are none, and why; faulty: questions may break rules."""
    faults = []
    for place, (question, label) in enumerate(zip(questions, labels, strict=True)):
        try:
            _check(kind, question, label, faulty)
        except RulesError:
            raise
        except DataError as error:
            faults.append((place, str(error)))
    return faults


def _check(kind: Kind, question: Tokens, label: Tokens, faulty: bool) -> None:
    for tokens in (question, label):
        if kind.vocab_size and not 0 <= tokens.min() <= tokens.max() < kind.vocab_size:
            raise DataError(f"tokens from {tokens.min()} to {tokens.max()}, expected 0 to {kind.vocab_size - 1}")
    if not kind.padded and not question.all():
        raise DataError("padding, which no puzzle of this kind has")
    if not faulty:
        kind.check_question(question)
    # A label may be there in part, or not at all; only a whole one is an answer.
    if label.all() or (kind.padded and label.any()):
        kind.check_pair(question, label)
