"""The weights that a run begins with, where they are another model's: tensors and rows of the table by their names."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from trm_jax.config import WEIGHT_PARTS, Experiment, differences
from trm_jax.console import say
from trm_jax.data import dataset
from trm_jax.data.folder import BLANK
from trm_jax.data.forms import forms_of
from trm_jax.data.identifiers import all_names, check_identifiers, names_of
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.errors import CheckpointError, ConfigError, DataError, printable
from trm_jax.model.model import Model, Weights, part_of
from trm_jax.recursion.recursion import State
from trm_jax.runs.named_arrays import fingerprint, flat
from trm_jax.runs.sources import load, trained_on
from trm_jax.sizes import counted

# A name in a message; tensors of a part.
_SHOWN, _TOLD = 60, 2
# A table has fewer rows than these that are no id's (data/fit.py).
_FILLED_UP = 1_024


def beginning(experiment: Experiment, puzzles: PuzzleSet) -> tuple[Experiment, Weights]:
    """The weights that config.init names, and the experiment with their hash.

    Args:
      experiment: resolved, with a source of weights.
      puzzles: to be trained on.

    Returns:
      NumPy arrays of the parts that are taken over, and nothing of the others, for `Weights.with_given`.

    Raises:
      CheckpointError: no such weights, other ones than were wanted, or tensors that do not fit, by name.
      ConfigError, DataError: whose the rows of the puzzle table are is not known, or an id that is not there.
    """
    init = experiment.init
    trained, found = load(init.source, init.averaged)
    found = jax.tree.map(np.asarray, found)
    checksum = fingerprint(found)
    if init.weights not in ("", checksum):
        raise CheckpointError(
            f"{init.source} holds weights {checksum[:12]}..., and config.init.weights = {init.weights!r:.80} are "
            "wanted: give those, or set it to ''"
        )
    like = jax.eval_shape(Model(experiment.model).init, jax.random.key(0))
    parts = _fitting(init.source, init.parts_of(_parts_of(like, found)), like, found)
    told = f"beginning with weights of {init.source}: {', '.join(parts)}"
    # How many puzzles there are, a table's rows tell.
    counted_alike = replace(trained, model=replace(trained.model, num_puzzles=experiment.model.num_puzzles))
    changes = [change for change in differences(counted_alike, experiment) if change.startswith("model.")]
    table: Any = None
    if "table" in parts:
        table, rows = _table(experiment, puzzles, trained, found.puzzle_table)
        told += f"; {rows}"
    say(told + (f"; other than there: {', '.join(changes)}" if changes else ""))
    given = Weights(
        params={name: module for name, module in found.params.items() if part_of(name) in parts},
        starts=found.starts if "network" in parts else State(None, None),
        puzzle_table=table,
    )
    return replace(experiment, init=replace(init, weights=checksum)), given


def _parts_of(*models: Weights) -> tuple[str, ...]:
    """The parts that any of these has."""
    return tuple(part for part in WEIGHT_PARTS if any(_tensors(weights, part) for weights in models))


def _tensors(weights: Weights, part: str) -> Mapping[str, Any]:
    """The tensors of a part by their names."""
    if part == "table":
        return flat({"puzzle_table": weights.puzzle_table})
    params = {name: module for name, module in weights.params.items() if part_of(name) == part}
    return flat({"params": params, "starts": weights.starts} if part == "network" else {"params": params})


def _fitting(source: str, parts: Iterable[str], like: Weights, found: Weights) -> tuple[str, ...]:
    """The parts, if each fits. Raises CheckpointError, which names tensors, and parts to leave out."""
    wrong = {part: list(_misfits(part, _tensors(like, part), _tensors(found, part))) for part in parts}
    faults = [
        "; ".join([*each[:_TOLD], *([f"and {len(each) - _TOLD} more of the {part}"] if len(each) > _TOLD else [])])
        for part, each in wrong.items()
        if each
    ]
    fitting = [part for part, each in wrong.items() if not each]
    if faults and not fitting:
        raise CheckpointError(
            f"{source}: weights that fit nowhere here: {'; '.join(faults)}: give those of a model with the same "
            "config.model"
        )
    if faults:
        without = " and ".join(part for part, each in wrong.items() if each)
        raise CheckpointError(
            f"{source}: weights that do not fit: {'; '.join(faults)}: leave out {without}, by "
            f"--init-parts={','.join(fitting)}"
        )
    return tuple(fitting)


def _misfits(part: str, like: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    first = 1 if part == "table" else 0  # its rows are found by the names of ids
    for name in sorted(like.keys() | found.keys()):
        if name not in found:
            yield f"{name} is missing there"
        elif name not in like:
            yield f"{name} has no place here"
        elif found[name].shape[first:] != like[name].shape[first:]:
            there, here = ("x".join(map(str, each[name].shape[first:])) or "one" for each in (found, like))
            yield f"{name} is {there} there and {here} here"


def _table(
    experiment: Experiment, puzzles: PuzzleSet, trained: Experiment, found: NDArray[np.float32]
) -> tuple[NDArray[np.float32], str]:
    """The puzzle table [N, R] for these puzzles, and in words from where its rows come."""
    init = experiment.init
    tasks = names_of(puzzles)
    if not tasks:
        raise DataError(
            f"{experiment.data.train}: puzzle ids without names (identifiers.json), so that rows of the puzzle table "
            "cannot be found: leave the table out of --init-parts"
        )
    here, there = forms_of(experiment).names(tasks), _names_there(experiment, trained, len(found))
    rows = matching_rows(there, here)
    known = rows >= 0
    table = np.zeros((experiment.model.num_puzzles, found.shape[1]), np.float32)
    table[: len(here)] = np.where(known[:, None], found[rows], _new_row(init.new_rows, init.source, there, found))
    new = len(here) - int(known.sum())
    told = f"rows of {counted(int(known.sum()), 'puzzle id')} by name"
    return table, f"{told}, {new:,} new ({printable(init.new_rows)[:_SHOWN]})" if new else told


def matching_rows(there: Sequence[str], here: Sequence[str]) -> NDArray[np.int64]:
    """Of each name here, the place of the same name there, or -1.

    Where several have one name, as forms of a task that come out alike, the first is the first, and so on.
    """
    places = {name: place for place, name in enumerate(_numbered(there))}
    return np.array([places.get(name, -1) for name in _numbered(here)], np.int64)


def _numbered(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    seen: Counter[str] = Counter()
    for name in names:
        yield name, seen[name]
        seen[name] += 1


def _new_row(wanted: str, source: str, there: Sequence[str], found: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the row of a new id begins as, [R]."""
    if wanted == "zero":
        return np.zeros(found.shape[1], np.float32)
    if wanted == "mean":
        taught = found[1 : len(there)] if len(there) > 1 else found[:1]
        return taught.mean(axis=0, dtype=np.float64).astype(np.float32)
    if wanted not in there:
        raise ConfigError(
            f"config.init.new_rows = {wanted!r:.{_SHOWN}} (--init-new): {source} knows no puzzle id of that name: give "
            f"one that it does, such as {printable(there[-1])[:_SHOWN]!r}, or zero, or mean"
        )
    return found[there.index(wanted)]


def _names_there(experiment: Experiment, trained: Experiment, rows: int) -> list[str]:
    """The names of the ids whose rows a table of so many holds; fewer, where it is filled up."""
    init = experiment.init
    if rows == 1:
        return [BLANK]
    known = trained_on(init.source).identifiers
    if not init.names and (names := all_names(known)):
        return forms_of(trained).names(names)
    if not known and not init.names:
        raise ConfigError(
            f"{init.source} keeps no names of its puzzle ids, so that rows of its puzzle table cannot be found: name "
            "the dataset that it was trained on, --config.init.names=FOLDER, or leave the table out of --init-parts"
        )
    folders = init.names or trained.data.train
    mend = "give that dataset by --config.init.names=FOLDER, or leave the table out of --init-parts"
    for name in folders.split(","):
        if not Path(name).is_dir():
            raise ConfigError(
                f"{init.source} was trained on a dataset whose names are needed, and there is no folder {name}: {mend}"
            )
    try:
        puzzles = dataset.peek(replace(trained.data, train=folders))
        if known:
            check_identifiers(known, puzzles, folders)
        tasks = names_of(puzzles)
    except DataError as error:
        raise ConfigError(f"{init.source} was trained on a dataset whose names are needed: {error}: {mend}") from None
    names = forms_of(trained).names(tasks)
    if len(tasks) != known.get("count", len(tasks)) or not rows - _FILLED_UP < len(names) <= rows:
        raise ConfigError(
            f"{init.source}: its puzzle table has {rows:,} rows, and {folders} has {len(names):,} puzzle ids with "
            f"names, so that it was trained on another one: {mend}"
        )
    return names
