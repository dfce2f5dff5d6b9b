"""What every form of `trm eval` is asked, and what each does with it alike: the puzzles, and the files of figures."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from trm_jax.commands.origin import origin
from trm_jax.commands.written import write
from trm_jax.config import Experiment
from trm_jax.data.dataset import sources_of
from trm_jax.data.fit import Matched, matched, with_legend
from trm_jax.data.kept_rules import rules_of
from trm_jax.devices.machine import peak_gib
from trm_jax.errors import ConfigError
from trm_jax.inference.selection import Rule
from trm_jax.model.model import Weights
from trm_jax.puzzles.kind import Kind
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.runs.sources import trained_on


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Which weights, which puzzles, how many devices; the fields are arguments of the command.

    averaged: the moving average of the weights, or as trained.
    puzzles, split, limit: as for dataset.load_named.
    columns, legend: of tables, instead of the experiment's.
    batch_size: 0: as in the experiment.
    rules: a file with the rules of a puzzle of kind "grid".
    json: a file to write the figures into, together with where they come from.
    devices: how many evaluate; 0 for all.
    command: what was said, for that file.
    """

    averaged: bool = True
    puzzles: str = ""
    split: str = "test"
    columns: Columns = USUAL
    legend: str = ""
    limit: int = 0
    batch_size: int = 0
    rules: Path | None = None
    json: Path | None = None
    devices: int = 1
    command: str = ""

    def matched(self, experiment: Experiment, checkpoint: Path) -> Matched:
        """The puzzles, for the model of a checkpoint. Raises ConfigError, DataError: they are none for it."""
        known = trained_on(checkpoint)
        experiment = with_legend(experiment, self.legend, self.puzzles or experiment.data.test)
        rules = rules_of(self.rules, sources_of(experiment, self.puzzles), checkpoint, known.rules)
        what = self.puzzles, self.split, self.limit, rules, known.identifiers, self.columns
        return matched(experiment, *what)

    def origin(
        self, checkpoints: Sequence[Path], experiment: Experiment, weights: Weights, found: Matched
    ) -> dict[str, Any]:
        """Where the figures come from; nothing where no file of them is wanted, since hashes take their time.

        checkpoints, experiment, weights: what is evaluated, as loaded; of several checkpoints, the first one's.
        """
        if not self.json:
            return {}
        what = self.command, checkpoints, self.averaged, with_legend(experiment, self.legend), weights
        return origin(*what, found.puzzles, found.source, self.split)

    def write(self, about: dict[str, Any], figures: dict[str, Any]) -> None:
        """Writes the file of figures, if one is wanted; about: their origin."""
        if self.json:
            write(self.json, json.dumps(about | {"peak_gib": peak_gib()} | figures, indent=1) + "\n")


def rule_of(selection: Rule | str, kind: Kind) -> Rule:
    """By which one of several attempts is chosen: as asked, or else by rules if there are any, or by q.

    Raises ConfigError: by rules, and none are known.
    """
    if selection == "rules" and not kind.has_rules:
        raise ConfigError("--select rules: no rules are known for these puzzles: choose another selection")
    return cast(Rule, selection or ("rules" if kind.has_rules else "q"))
