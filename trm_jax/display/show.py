"""The terminal's view of a puzzle being solved: grids, what changed in them, how sure the model is, the verdict."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from trm_jax.console import Output
from trm_jax.display.boards import board_lines, marks_explained, print_line, readable, side_by_side
from trm_jax.inference.thoughts import Thought, differing_cells, is_right, since
from trm_jax.puzzles import arc
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.symmetry import Tokens

# Boards of z beside the answer that comes of them.
_MOST_LATENTS = 7


def visibly_changed(kind: Kind, thought: Thought) -> NDArray[np.bool_]:
    """Which cells changed, of those worth a look: bool [cells]."""
    if not isinstance(kind, Arc):
        return thought.changed
    return thought.changed & (readable(kind, thought.tokens) != arc.PAD)


def marks(
    kind: Kind, question: Tokens, thought: Thought, label: Tokens | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which cells of a thought stand out: those that visibly changed, and those that are wrong; bool [cells]."""
    return visibly_changed(kind, thought), kind.faults(question, thought.tokens, label).cells


def changed_cells(kind: Kind, thought: Thought) -> str:
    """How many cells changed, in words."""
    count = int(visibly_changed(kind, thought).sum())
    return f"{count} cell{'' if count == 1 else 's'} changed"


def verdict(satisfied: bool | None) -> str:
    """In words whether an answer keeps to the rules; nothing where none are known."""
    return "" if satisfied is None else "keeps the rules" if satisfied else "breaks the rules"


def show(
    kind: Kind,
    question: Tokens,
    thoughts: Sequence[Thought],
    out: Console | None = None,
    label: Tokens | None = None,
) -> None:
    """Prints the question, each supervision step's answer (or each cycle's), and how it ended.

    Cells that changed are green, or marked ' without colours, and those that are wrong red, or marked !; ARC's colours
    are backgrounds, or digits without colours. Steps after which the answer stays as it is are one line.

    Args:
      kind, question: the puzzle, tokens [cells].
      thoughts: of one attempt, by steps or by cycles; the cycles of a step stand side by side where there is room.
      out: where to.
      label: the known answer, 0 where it is unknown.
    """
    out = out or Output(highlight=False)
    print_line(out, "question")
    show_grid(kind, question, out)
    print_line(out, "\n" + marks_explained(kind, out, label))
    if thoughts[0].latents is not None:
        print_line(out, "(z: what the latent says through the head of y; what y does not say is marked as changed)")
    settled = _settled(kind, thoughts)
    for step, group in groupby(thoughts, key=lambda thought: thought.step):
        if step > settled:
            break
        moments = list(group)
        last = moments[-1]
        told = Text(verdict(last.satisfied), "green" if last.satisfied else "red")
        if last.cycle == 0:
            figures = f"{changed_cells(kind, last)}, q_halt {last.q_halt:+.2f} ({last.sure:.0%} sure)"
            head = Text(f"\nsupervision step {step}: {figures}, change {last.change:.3f}")
            print_line(out, head + Text(", ") + told if told else head)
            if last.latents is not None:
                _show_latents(kind, last, [Text("y")], _board(kind, question, last, out, label), out)
            elif visibly_changed(kind, last).any() or step == 1:
                for line in _board(kind, question, last, out, label):
                    print_line(out, line)
        else:
            head = Text(f"\nsupervision step {step}")
            print_line(out, head + Text(": ") + told if told else head)
            if last.latents is not None:
                for thought in moments:
                    board = _board(kind, question, thought, out, label)
                    _show_latents(kind, thought, _figures(kind, thought), board, out)
                continue
            still = step > 1 and not any(visibly_changed(kind, thought).any() for thought in moments)
            blocks = [
                _figures(kind, thought) + ([] if still else _board(kind, question, thought, out, label))
                for thought in moments
            ]
            for line in side_by_side(blocks, out.width):
                print_line(out, line)
    if rest := [thought for thought in thoughts if thought.step > settled]:
        print_line(out, f"\n{_rest(rest)}")
    print_line(out, "")
    for ending in _ending(kind, question, thoughts, label):
        print_line(out, ending)


def latents_shown(thoughts: Sequence[Thought]) -> list[int]:
    """Which latent steps of a cycle have a board, from 0: the first ones and the last; none where z was not read."""
    if not thoughts or thoughts[0].latents is None:
        return []
    count = len(thoughts[0].latents)
    return list(range(count)) if count <= _MOST_LATENTS else [*range(_MOST_LATENTS - 1), count - 1]


def _show_latents(kind: Kind, thought: Thought, head: list[Text], board: list[Text], out: Console) -> None:
    """Prints what z says after each latent step, and beside it the answer that comes of it: lines of head and board."""
    assert thought.latents is not None
    shown = latents_shown([thought])
    below = [Text()] * (len(head) - 1)
    blocks = [
        [Text(f"z, latent step {i + 1}"), *below, *board_lines(kind, said, said != thought.tokens, out)]
        for i, said in zip(shown, thought.latents[shown], strict=True)
    ]
    for line in side_by_side([*blocks, head + board], out.width):
        print_line(out, line)


def outcome(kind: Kind, thoughts: Sequence[Thought], label: Tokens | None = None) -> str:
    """How it ended in a few words; nothing where nobody knows, or nothing was thought."""
    rights = [is_right(thought, label) for thought in thoughts]
    if not thoughts:
        return "not solved" if kind.has_rules else ""
    if rights[-1] is None:
        return ""
    return f"solved at {_since(thoughts, rights)}" if rights[-1] else "not solved"


def _since(thoughts: Sequence[Thought], rights: Sequence[bool | None]) -> str:
    """Since when the answer has been right without a break."""
    first = thoughts[since(rights)]
    return f"supervision step {first.step}" + (f", cycle {first.cycle}" if first.cycle else "")


def show_grid(kind: Kind, tokens: Tokens, out: Console) -> None:
    """Prints one grid."""
    for line in board_lines(kind, tokens, np.zeros(len(tokens), np.bool_), out):
        print_line(out, line)


def _figures(kind: Kind, thought: Thought) -> list[Text]:
    """What is known of a cycle, in narrow lines."""
    return [
        Text(f"cycle {thought.cycle}: {visibly_changed(kind, thought).sum()} changed"),
        Text(f"q_halt {thought.q_halt:+.2f}, {thought.sure:.0%} sure", "dim"),
        Text(f"change {thought.change:.3f}", "dim"),
    ]


def _board(kind: Kind, question: Tokens, thought: Thought, out: Console, label: Tokens | None) -> list[Text]:
    changed, wrong = marks(kind, question, thought, label)
    return board_lines(kind, thought.tokens, changed, out, wrong)


def _settled(kind: Kind, thoughts: Sequence[Thought]) -> int:
    """The supervision step from which on the answer stays as it is; the last, where only one step comes after it."""
    moving = [thought.step for thought in thoughts if visibly_changed(kind, thought).any()]
    settled, last = max(moving, default=1), thoughts[-1].step
    return settled if last - settled > 1 else last


def _rest(thoughts: Sequence[Thought]) -> str:
    """One line about steps in which nothing changed any more."""
    logits = [thought.q_halt for thought in thoughts]
    span = f"{min(logits):+.2f} to {max(logits):+.2f}"
    return f"supervision steps {thoughts[0].step} to {thoughts[-1].step}: nothing changed, q_halt {span}"


def _ending(kind: Kind, question: Tokens, thoughts: Sequence[Thought], label: Tokens | None) -> Iterator[str]:
    """How it ended: by the rules where there are any, or else by the label; and how the label compares."""
    rights = [is_right(thought, label) for thought in thoughts]
    text = kind.text(thoughts[-1].tokens)
    if rights[-1] is None:
        name = kind.name
        yield f"not checked, since no rules are known for puzzles of kind {name!r}, and no label for this one: {text}"
        return
    faults = "; ".join(kind.faults(question, thoughts[-1].tokens, label).told)
    told = f": {faults}" if faults else ""
    if rights[-1]:
        yield f"solved at {_since(thoughts, rights)}: {text}"
    elif kind.has_rules:
        yield f"not solved: the last answer breaks the rules{told}; more --steps may help"
    else:
        yield f"not solved: the last answer is not the known one{told}; more --steps may help"
    if label is not None and (label != 0).any():
        differ = differing_cells(thoughts[-1].tokens, label)
        known = f"differs from the known one in {differ} of {int((label != 0).sum())} cells"
        yield "the answer equals the known one" if not differ else f"the answer {known}"
