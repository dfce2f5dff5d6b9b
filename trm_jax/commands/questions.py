"""What `trm solve` is asked, and the puzzles: by their characters, from a file or standard input, or of a dataset."""

import codecs
import io
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from trm_jax.config import Experiment
from trm_jax.console import say
from trm_jax.data.dataset import sources_of
from trm_jax.data.fit import at_size, matched, with_legend
from trm_jax.data.kept_rules import rules_of
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.effort import Effort
from trm_jax.inference.search import Budget
from trm_jax.inference.selection import Rule
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.kinds import cells_of, describe, kind_of, of_another_kind
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table import spoilt
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.puzzles.text.lists import is_list
from trm_jax.runs.sources import NOTHING_KNOWN, TrainedOn

# In characters. Whoever has more puzzles has a dataset.
_LONGEST = 1 << 24


@dataclass(frozen=True)
class Request:
    """What `trm solve` was asked for; the fields are its arguments.

    puzzle: as `read_questions` reads it; None: a row of a dataset, or standard input where none is named.
    data, row, split: a dataset ("" for the experiment's own held-out puzzles), and one row of it, as
      `PuzzleSet.row` has it (the first; for `answers`, all).
    columns: of a table, instead of the experiment's.
    steps: most supervision steps of an attempt; 0: as many as in training.
    effort: all else that is computed; its depths are set by `steps`.
    selection: how one of several attempts is chosen; "": by rules if the kind has any, or else by q.
    certify: show an answer that keeps to the rules, wherever in the attempts it came up, or none.
    complete: search to the end where the network has no such answer, so that each puzzle is solved, or shown to have
      none; nodes: of that search, at most.
    confidence: show answers that are right as often as this and say of others that one is not sure; 0: show all.
    calibration: a file that says which those are; None: the one beside the weights.
    budget: of the search, where the model carries candidates.
    rules: a file with the rules of a puzzle of kind "grid".
    cycles: show every cycle instead of every supervision step.
    latents: show what z says after every latent step.
    cells: tell for each cell when it was decided, and of a wrong answer what speaks against it.
    why: row and column of a cell, from 1, to tell which clues its answer rests on.
    quiet: print the answers alone.
    json: print them as JSON.
    answers: a table to write them into, of all rows of the dataset unless one is named.
    legend: the characters of the cells, where these are others.
    picture, gif: files to draw into.
    """

    puzzle: str | None = None
    data: str = ""
    row: int | None = None
    split: str = "test"
    columns: Columns = USUAL
    steps: int = 0
    effort: Effort = field(default_factory=lambda: Effort((1,)))
    selection: Rule | str = ""
    certify: bool = False
    complete: bool = False
    nodes: int = 1_000_000
    confidence: float = 0.0
    calibration: Path | None = None
    budget: Budget = field(default_factory=Budget)
    rules: Path | None = None
    cycles: bool = False
    latents: bool = False
    cells: bool = False
    why: tuple[int, int] | None = None
    quiet: bool = False
    json: bool = False
    answers: Path | None = None
    legend: str = ""
    picture: Path | None = None
    gif: Path | None = None

    @property
    def of_data(self) -> bool:
        """Whether the puzzles are rows of a dataset."""
        return self.row is not None or bool(self.data)

    def rule(self, kind: Kind) -> Rule:
        """By which one of several attempts is chosen."""
        return cast(Rule, self.selection or ("rules" if kind.has_rules and self.effort.attempts > 1 else "q"))


class Task(NamedTuple):
    """One puzzle: its kind, the question [cells], its row of the puzzle table, the answer where it is known, a name."""

    kind: Kind
    question: Tokens
    puzzle_id: int = 0
    label: Tokens | None = None
    name: str = ""


def read_questions(kind: Kind, source: str) -> list[Task]:
    """The puzzles in a text, in a file that holds one, or on standard input ("-"); at least one.

    Raises:
      DataError: not readable, of another length, a character that means nothing, or clues that contradict each other.
    """
    return _questions(kind, source, *_text_of(source))


def _questions(kind: Kind, source: str, where: str, text: str) -> list[Task]:
    try:
        kind = kind.told(kind.signs(text))
        found = kind.parse_several(text)
    except DataError as error:
        told = of_another_kind(kind.to_dict(), text) or spoilt(str(error).removeprefix("puzzle: "), text.strip())
        if where == "puzzle" and _may_be_name(kind, source):
            raise DataError(f"{source}: no such file; and as a puzzle, {told}") from None
        table = any(ending in (".csv", ".json", ".jsonl") for ending in Path(where).suffixes)
        raise DataError(f"{where}: {told}{f'; a table is named by --data {where}' if table else ''}") from None
    for number, each in enumerate(found, 1):
        try:
            kind.check_question(each.tokens)
        except DataError as error:
            which = f"puzzle {number}, line {each.line}: " if len(found) > 1 else ""
            raise DataError(f"{where}: {which}{str(error).removeprefix('puzzle: ')}") from None
    return [Task(kind, each.tokens, name=each.name) for each in found]


def _text_of(source: str) -> tuple[str, str]:
    """What a message calls the text, and the text."""
    where, text = "puzzle", source
    if not source:
        raise DataError("puzzle: the text is empty: give the characters of a puzzle, a file, or - for standard input")
    try:
        if source == "-":
            where = "standard input"
            if sys.stdin and sys.stdin.isatty():
                say("reading puzzles from standard input, up to its end (Ctrl-D)")
            text = sys.stdin.read(_LONGEST + 1) if sys.stdin else ""
        elif os.path.exists(source):  # unlike Path.exists, this takes a puzzle that is too long to be a file's name
            where = source
            with open(source, "rb") as file:  # once, since it may be a pipe
                marked = file.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
                text = io.TextIOWrapper(file, "utf-16" if marked else "utf-8-sig").read(_LONGEST + 1)
    except IsADirectoryError:
        raise DataError(f"{where} is a folder, not a puzzle: a dataset is named by --data {where}") from None
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: not readable as text: {error}; save it as UTF-8") from None
    if len(text) > _LONGEST:
        raise DataError(f"{where}: over {_LONGEST} characters: build a dataset of them, for `trm eval`")
    return where, text


def _may_be_name(kind: Kind, source: str) -> bool:
    """Whether a word that is no puzzle looks like the name of a file."""
    if "\n" in source or not source.isprintable() or not source.strip():
        return False
    if is_list(source, kind.writing):
        return False
    known = kind.writing.plain | set("0123456789 ") | set(kind.writing.row_mark)
    strange = [char for char in source if char not in known]
    return bool(strange) and ("/" in source or Path(source).suffix[1:].isalpha() or len(strange) * 2 >= len(source))


def _at_size_of(experiment: Experiment, text: str) -> Experiment:
    """The experiment at the size of the puzzle in a text, if its network serves every size and it is another puzzle."""
    name = experiment.data.puzzle
    if not experiment.model.any_size:
        return experiment
    try:
        kind_of(name, experiment.model.seq_len).parse_several(text)
    except DataError:
        with suppress(DataError):  # what is no puzzle of any size is told at the model's own
            # A box is of one size, a legend is how the text is written.
            sizeless = json.dumps({key: value for key, value in describe(name).items() if key != "box"})
            cells = cells_of(sizeless, text)
            return at_size(experiment, sizeless, cells, kind_of(sizeless, cells).vocab_size)
    return experiment


def read_tasks(
    experiment: Experiment, request: Request, checkpoint: str | Path = "", known: TrainedOn = NOTHING_KNOWN
) -> tuple[Experiment, list[Task]]:
    """The experiment, at the size of the puzzles that are asked for, and these.

    checkpoint, known: of which model, and what it keeps of its training.

    Raises:
      ConfigError: two sources of puzzles are named.
      DataError: what is named cannot be read, or is none for a model of this experiment.
    """
    source = request.data or experiment.data.test if request.of_data else ""
    experiment = with_legend(experiment, request.legend, source)
    rules = rules_of(request.rules, sources_of(experiment, request.data), checkpoint, known.rules)
    if not request.of_data:
        if request.columns != USUAL:
            raise ConfigError("--columns are of a table: name it by --data")
        if request.split != Request.split:
            raise ConfigError(f"--split={request.split} is of a dataset folder: name it by --data")
        source = "-" if request.puzzle is None else request.puzzle
        where, text = _text_of(source)
        experiment = _at_size_of(experiment, text)
        model, name = experiment.model, experiment.data.puzzle
        kind = kind_of(name or "tokens", model.seq_len, rules)
        if kind.vocab_size not in (0, model.vocab_size):
            raise DataError(f"{name}: {kind.vocab_size} kinds of token, but the model takes {model.vocab_size}")
        tasks = _questions(kind, source, where, text)
        top = max(int(task.question.max()) for task in tasks)
        if top >= model.vocab_size:
            raise DataError(f"puzzle: token {top}, but the model takes 0 to {model.vocab_size - 1}")
        return experiment, tasks
    if request.puzzle is not None:
        raise ConfigError("two puzzles are named, one by its characters and one by --data or --row: give one of them")
    whole = request.answers is not None and request.row is None
    # So many rows have that row among them; one more tells whether others stand on its line.
    limit = 0 if whole else (request.row or 0) + 1
    found = matched(experiment, request.data, request.split, limit, rules, known.identifiers, request.columns)
    puzzles, kind, source = found.puzzles, found.kind, found.source
    place = 0 if whole or request.row is None else puzzles.example(request.row, source)
    tasks = []
    for number in range(len(puzzles)) if whole else (place,):
        question, label = (np.asarray(part[number]) for part in (puzzles.inputs, puzzles.labels))
        name = puzzles.row_name(number)
        try:
            kind.check_question(question)
        except DataError as error:
            raise DataError(f"{source}: {name}: {str(error).removeprefix('puzzle: ')}") from None
        tasks.append(Task(kind, question, int(puzzles.puzzle_ids[number]), label if label.any() else None, name))
    return found.experiment, tasks
