"""What an experiment and a set of puzzles have to agree on: sizes, kind, and what tokens mean."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trm_jax.config import Experiment, validate
from trm_jax.data import dataset
from trm_jax.data.forms import forms_of
from trm_jax.data.identifiers import Identifiers, check_identifiers
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.sample import check_sample
from trm_jax.errors import ConfigError, DataError
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds import kind_of, with_keys
from trm_jax.puzzles.table_columns import USUAL, Columns

# Rows of a large puzzle table are a multiple of this, so that any usual number of devices can share it.
_TABLE_UNIT = 1_024


def resolve(experiment: Experiment, puzzles: PuzzleSet) -> Experiment:
    """Fills in the sizes and the kind of puzzle that the experiment leaves to the data, and checks what it states.

    Raises:
      ConfigError: the data is of another size or kind than the experiment says.
    """
    rows = forms_of(experiment).number_of_ids(puzzles.num_puzzles)
    if rows > _TABLE_UNIT and experiment.model.num_puzzles != rows:
        rows = -(-rows // _TABLE_UNIT) * _TABLE_UNIT
    sizes = {"vocab_size": puzzles.vocab_size, "seq_len": puzzles.seq_len, "num_puzzles": rows}
    for name, found in sizes.items():
        stated = getattr(experiment.model, name)
        if stated not in (0, found):
            raise ConfigError(
                f"config.model.{name} = {stated}, but the puzzles have {found}: set it to {found}, or to 0"
            )
    stated, found_puzzle = experiment.data.puzzle, puzzles.puzzle or "tokens"
    if stated and puzzles.puzzle:
        there, here = (kind_of(puzzle, puzzles.seq_len).to_dict() for puzzle in (puzzles.puzzle, stated))
        if there != here:
            raise ConfigError(
                f"config.data.puzzle = {stated!r}, but the data says {json.dumps(there)}: set it to that, or to ''"
            )
    model = replace(experiment.model, **sizes)  # type: ignore[arg-type]
    if model.needs_puzzle:
        model = replace(model, puzzle=_same_kind(model.puzzle, stated or found_puzzle, puzzles.seq_len))
    resolved = replace(
        experiment,
        model=model,
        data=replace(experiment.data, puzzle=stated or found_puzzle),
    )
    validate(resolved)
    return resolved


def _same_kind(of_model: str, of_data: str, cells: int) -> str:
    """What the network is made for: as the model says, or else as the data does. ConfigError where they differ."""
    if of_model and kind_of(of_model, cells).to_dict() != kind_of(of_data, cells).to_dict():
        raise ConfigError(
            f"config.model.puzzle = {of_model!r}, but the puzzles are {of_data!r}: set it to that, or to ''"
        )
    return of_model or of_data


def with_legend(experiment: Experiment, legend: str, source: str = "") -> Experiment:
    """The experiment with its cells written in other characters; "" for those that it has.

    Raises ConfigError where the puzzles are in dataset folders; source: their paths, with commas between them.
    """
    if not legend:
        return experiment
    refuse_for_folders(legend, source.split(",") if source else ())
    name = with_keys(experiment.data.puzzle or "tokens", legend=legend)
    return replace(experiment, data=replace(experiment.data, puzzle=name))


def refuse_for_folders(legend: str, sources: Iterable[str | Path]) -> None:
    """ConfigError for a legend of a dataset folder, whose cells are not written in characters."""
    for source in sources if legend else ():
        if Path(source).is_dir():
            raise ConfigError(f"--legend is of tables and texts; {source} is a dataset folder, of tokens: leave it out")


@dataclass(frozen=True)
class Matched:
    """Puzzles on which a trained model is to be evaluated.

    experiment: at the size of the puzzles.
    kind: of puzzle, with the user's rules where there are any.
    source: where they come from.
    """

    experiment: Experiment
    puzzles: PuzzleSet
    kind: Kind
    source: str


def matched(
    experiment: Experiment,
    source: str,
    split: str,
    limit: int = 0,
    rules: Rules | None = None,
    identifiers: Identifiers | None = None,
    columns: Columns = USUAL,
) -> Matched:
    """The puzzles for evaluating a model, as `dataset.load_named` finds them.

    identifiers: of the puzzles that it was trained on, as its checkpoint keeps them.
    columns: of tables, instead of the experiment's.

    Raises:
      DataError: they cannot be read, or not by this model. ConfigError: they have other units.
    """
    puzzles = dataset.load_named(experiment, source, split, limit, columns)
    source = source or experiment.data.test
    experiment = at_size(experiment, puzzles.puzzle or experiment.data.puzzle, puzzles.seq_len, puzzles.vocab_size)
    kind = check_fits(experiment, puzzles, source, rules, identifiers)
    return Matched(experiment, puzzles, kind, source)


def at_size(experiment: Experiment, puzzle: str, seq_len: int, vocab_size: int) -> Experiment:
    """The experiment for boards of these sizes, if its weights serve every size; otherwise as it is.

    Raises ConfigError where the puzzle's units are others than those that the network is made of.
    """
    model = experiment.model
    if not model.any_size or (seq_len, vocab_size) == (model.seq_len, model.vocab_size):
        return experiment
    sized = replace(model, puzzle=puzzle, seq_len=seq_len, vocab_size=vocab_size)
    made_of, has = ([name for name, _ in config.units.classes] for config in (model, sized))
    if made_of != has:
        raise ConfigError(f"the network is made of units {', '.join(made_of)}, and these puzzles have {', '.join(has)}")
    return replace(experiment, model=sized, data=replace(experiment.data, puzzle=puzzle))


def check_fits(
    experiment: Experiment,
    puzzles: PuzzleSet,
    source: str,
    rules: Rules | None = None,
    identifiers: Identifiers | None = None,
) -> Kind:
    """The kind of the puzzles, which a model of this experiment can read.

    Args:
      experiment: resolved.
      source: the puzzles' name, for an error.
      rules: of a user's own kind.
      identifiers: of the puzzles that the model was trained on, as its checkpoint keeps them.

    Raises:
      DataError: other sizes, other puzzles under the ids that it was trained on, another kind, or rows that are no
        puzzles of it (`check_sample`).
    """
    config = experiment.model
    for what, takes, found in (
        ("cells", config.seq_len, puzzles.seq_len),
        ("kinds of token", config.vocab_size, puzzles.vocab_size),
    ):
        if takes != found:
            raise DataError(f"{source}: puzzles with {found} {what}, the model takes {takes}: give puzzles of its kind")
    if config.puzzle_dim and int(puzzles.puzzle_ids.max()) >= config.num_puzzles:
        raise DataError(
            f"{source}: puzzle id {puzzles.puzzle_ids.max()}, the model's puzzle table ends before {config.num_puzzles}"
        )
    if config.puzzle_dim and identifiers:
        check_identifiers(identifiers, puzzles, source)
    kind = kind_of(experiment.data.puzzle or puzzles.puzzle or "tokens", puzzles.seq_len, rules)
    if puzzles.puzzle:
        there, here = _meaning(kind_of(puzzles.puzzle, puzzles.seq_len)), _meaning(kind)
        if there != here and here["kind"] != "tokens":
            raise DataError(
                f"{source}: puzzles that are {json.dumps(there)}, but the model was made for {json.dumps(here)}: "
                "give puzzles of its kind"
            )
    check_sample(kind, puzzles, source)
    return kind


def _meaning(kind: Kind) -> dict[str, Any]:
    """Of a description what says how tokens read."""
    return {key: value for key, value in kind.to_dict().items() if key not in ("symmetries", "units")}
