"""Where the puzzles of an experiment come from: tables, dataset folders, or a generator."""

import json
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from trm_jax.config import DataConfig, Experiment
from trm_jax.data import folder
from trm_jax.data.forms import AllForms, Forms
from trm_jax.data.puzzle_set import Origin, PuzzleSet, first_examples, from_pairs, join
from trm_jax.data.table_texts import read_tokens
from trm_jax.errors import DataError
from trm_jax.puzzles import sudoku, sudoku_search
from trm_jax.puzzles.arc import IDENTITY, parse_name
from trm_jax.puzzles.arc_votes import read_names
from trm_jax.puzzles.kinds import describe, kind_of
from trm_jax.puzzles.table_columns import USUAL, Columns


def load(config: DataConfig, split: str, seed: int) -> PuzzleSet:
    """The puzzles of a split ("train" or "test"), from where the configuration says.

    With config.forms, those for training are the tasks themselves, since their forms are drawn for each batch; those of
    the test are there in all forms.

    Args:
      config: paths end in .csv, .jsonl (both plain or .gz), or name a folder in the public dataset format, or are
        "generated". Several paths, separated by commas, make one set; their puzzle ids are kept apart.
      split: which; of a dataset folder, the subfolder of that name.
      seed: of generated puzzles, and of forms. Both splits of one seed share no solution.

    Raises:
      DataError: names file, row and column, or array; forms are wanted of a set that has none or holds some already.
    """
    source = config.train if split == "train" else config.test
    if not source:
        raise DataError(f"config.data.{split} names no puzzles: give a CSV file or a dataset folder")
    if source == "generated":
        return _generated(config, split, seed)
    limit = config.test_puzzles if split == "test" else 0
    puzzles = _read(source, config, split, limit)
    forms = _forms(config, seed, puzzles, source)
    return puzzles if split == "train" else in_forms(puzzles, forms, limit)


def peek(config: DataConfig) -> PuzzleSet:
    """The first puzzle for training, alone, with the sizes of all: as `load` without forms, and at once."""
    if config.train == "generated":
        return _generated(replace(config, train_puzzles=1, test=""), "train", 0)
    return _read(config.train, config, "train", 1)


def load_named(experiment: Experiment, source: str, split: str, limit: int, columns: Columns = USUAL) -> PuzzleSet:
    """The puzzles for evaluating an experiment: `source`, or where that is empty the experiment's own held-out ones.

    Args:
      experiment: tells the kind of puzzle, its forms, and the seed of these and of generated puzzles.
      source: files or dataset folders as in `load`, or "". In files, puzzles need no answers.
      split: of a dataset folder.
      limit: at most so many; 0: all.
      columns: of tables, instead of the experiment's.

    Raises:
      DataError: as `load`; a split or columns that what is named does not have.
    """
    data = experiment.data
    if split != "test":
        if not source:
            raise DataError(
                f"split {split!r}: an experiment's own puzzles are its held-out ones: name a dataset folder"
            )
        if not any(map(os.path.isdir, source.split(","))):
            raise DataError(f"{source}: a table has no splits: leave out {split!r}")
    if columns != USUAL:
        named = source or data.test
        if named == "generated" or all(map(os.path.isdir, named.split(","))):
            raise DataError(f"{named}: no table, and --columns are of tables: leave it out")
        data = replace(data, columns=",".join(filter(None, columns)))
    if not source:
        if not data.test:
            raise DataError("the experiment has no held-out puzzles of its own: name a CSV file or a dataset folder")
        if data.test == "generated":
            # Which solutions are held out depends on how many puzzles were asked for while training.
            puzzles = load(data, "test", experiment.train.seed)
            return first_examples(puzzles, limit)
        return load(replace(data, test_puzzles=limit or data.test_puzzles), "test", experiment.train.seed)
    puzzles = _read(source, data, split, limit, answered=False)
    return in_forms(puzzles, _forms(data, experiment.train.seed, puzzles, source), limit)


def sources_of(experiment: Experiment, named: str) -> list[str]:
    """Where puzzles of an experiment's kind are, the ones that a command takes first: those named, its held-out ones,
    and those that it was trained on."""
    data = experiment.data
    return [name for names in (named, data.test, data.train) for name in names.split(",") if name]


def _read(source: str, config: DataConfig, split: str, limit: int, answered: bool = True) -> PuzzleSet:
    parts = []
    for name in source.split(","):
        path = Path(name)
        if path.is_dir():
            parts.append(read_folder(path, split, limit))
        else:
            parts.append(read_table(path, config.puzzle, limit, config.table_columns, answered))
    whole = parts[0] if len(parts) == 1 else join(parts, source.split(","))
    return first_examples(whole, limit)


def _forms(config: DataConfig, seed: int, puzzles: PuzzleSet, source: str) -> Forms:
    """The forms in which a configuration wants the puzzles of a set, which is from this source.

    Raises DataError where they cannot be had: no ARC tasks, tasks that are in forms already, or too many ids.
    """
    forms = Forms(config.forms, seed)
    if not forms.count:
        return forms
    about = f"config.data.forms = {forms.count}"
    kind = describe(puzzles.puzzle or config.puzzle or "tokens")["kind"]
    if kind != "arc":
        raise DataError(f"{source}: puzzles of kind {kind!r}, but {about} turns ARC tasks: set it to 0")
    for origin in puzzles.origins:
        for name in read_names(origin.path / "identifiers.json"):
            if parse_name(name)[1] != IDENTITY:
                raise DataError(
                    f"{origin.path}: its tasks are augmented ({name[:60]}), and {about} would turn them again: "
                    "set it to 0, or build the folder with --augmentations 0"
                )
    if (ids := forms.number_of_ids(puzzles.num_puzzles)) >= 1 << 31:
        raise DataError(f"{source}: {about} makes {ids:,} puzzle ids: give fewer, so that there are less than 2^31")
    return forms


def in_forms(puzzles: PuzzleSet, forms: Forms, limit: int = 0) -> PuzzleSet:
    """Every puzzle of a set in all its forms, one after the other, made when they are asked for.

    Args:
      puzzles: as read from folders, all of ARC, the tasks themselves.
      forms: which; a set without any is returned as it is.
      limit: at most so many examples; 0: all.
    """
    if not forms.count:
        return puzzles
    shown = AllForms(forms, puzzles.inputs, puzzles.labels, puzzles.puzzle_ids, puzzles.puzzle_starts)
    inputs, labels = shown.stacked()
    sizes = np.repeat(np.diff(puzzles.puzzle_starts), forms.count + 1)
    whole = replace(
        puzzles,
        inputs=inputs,
        labels=labels,
        puzzle_ids=shown.ids(np.arange(len(shown))),
        rows=None,
        files=(),
        puzzle_starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
        group_starts=puzzles.group_starts * (forms.count + 1),
        num_puzzles=forms.number_of_ids(puzzles.num_puzzles),
        forms=forms,
    )
    return first_examples(whole, limit)


def read_table(path: Path, puzzle: str, limit: int = 0, columns: Columns = USUAL, answered: bool = True) -> PuzzleSet:
    """Reads the columns of questions and answers of a table (`puzzles/table.py`); every row is checked.

    Args:
      columns: their names, "" for usual ones.
      answered: refuse puzzles without answers; otherwise these have no labelled cell.

    Raises:
      DataError: names file, row and column; or the kind of puzzle, if it does not stand in tables.
    """
    if not puzzle:
        raise DataError(f"{path}: of which kind are its puzzles? set config.data.puzzle, say to 'sudoku' or 'maze'")
    kind, questions, answers, rows = read_tokens(path, puzzle, columns, limit=limit, answered=answered)
    return from_pairs(questions, answers, kind.vocab_size, json.dumps(kind.to_dict()), rows)


def read_folder(path: Path, split: str, limit: int = 0) -> PuzzleSet:
    """Reads one split of a dataset in the public on-disk format, memory-mapped and checked (folder.read).

    Raises:
      DataError: names the file and what is wrong with it.
    """
    part = folder.read(path, split)
    described = folder.read_puzzle(path)
    puzzle = ""
    if described is not None:
        try:
            kind = kind_of(json.dumps(described), part.seq_len)
        except DataError as error:
            raise DataError(f"{path / 'puzzle.json'}: {error}") from None
        if kind.vocab_size not in (0, part.vocab_size):
            raise DataError(f"{path}: dataset.json has {part.vocab_size} tokens, puzzle.json {kind.vocab_size}")
        puzzle = json.dumps(kind.to_dict())
    per_example = np.repeat(part.puzzle_ids, np.diff(part.puzzle_starts)).astype(np.int32)
    whole = PuzzleSet(
        part.inputs,
        part.labels,
        per_example,
        part.puzzle_starts,
        part.group_starts,
        part.vocab_size,
        part.num_puzzles,
        puzzle,
        origins=(Origin(path, 0, part.num_puzzles),),
        faulty=folder.is_faulty(path),
    )
    return first_examples(whole, limit)


@lru_cache(maxsize=2)
def _generated(config: DataConfig, split: str, seed: int) -> PuzzleSet:
    """Made once in a process for each split, however many ask: larger boards take a minute. Nobody writes to a set."""
    layout = sudoku.layout_for(config.side)
    # One stream for the solutions, one for each split's puzzles.
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    if config.side == 4:
        solutions = rng.permutation(sudoku_search.all_solutions_4x4())
        held_out = len(solutions) // 5
    else:
        held_out = max(1, min(config.test_puzzles, 1_000)) if config.test == "generated" else 0
        wanted = held_out + max(1, min(config.train_puzzles, 10_000))
        solutions = np.unique(sudoku_search.random_solutions(wanted, layout, rng), axis=0)
        rng.shuffle(solutions)
    test = split == "test"
    part = solutions[:held_out] if test else solutions[held_out:]
    count = config.test_puzzles if test else config.train_puzzles
    questions, answers = sudoku_search.generate(count, layout, 2 * seed + test, solutions=part)
    return from_pairs(sudoku.encode(questions), sudoku.encode(answers), layout.vocab_size, "sudoku")
