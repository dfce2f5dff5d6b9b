"""The puzzles of a stress test as dataset folders: one for each perturbation, side by side in one folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trm_jax.data import folder
from trm_jax.data.folder_writer import Writer
from trm_jax.data.identifiers import names_of
from trm_jax.data.puzzle_set import PuzzleSet
from trm_jax.data.stress import StressSet
from trm_jax.errors import DataError


def check_free(out: Path) -> None:
    """Raises DataError where there is something of that name already."""
    if os.path.lexists(out):
        raise DataError(f"{out}: exists already: remove it or give another name")


def save(sets: Sequence[StressSet], puzzles: PuzzleSet, seed: int, out: Path) -> None:
    """Writes the sets as dataset folders out/NAME, each with a split "test" in the order of the puzzles.

    Args:
      puzzles, seed: what the sets were made of; the puzzles tell the names of their ids.
      out: a folder that is not there yet.

    Raises:
      DataError: there is one, or it cannot be written.
    """
    check_free(out)
    names = puzzles.forms.names(names_of(puzzles)) if puzzles.num_puzzles > 1 else [folder.BLANK]
    tasks: dict[str, Any] = {}
    for origin in puzzles.origins:
        if (origin.path / "test_puzzles.json").exists():
            tasks |= folder.read_test_puzzles(origin.path)
    for one in sets:
        vocab_size = one.kind.vocab_size or puzzles.vocab_size
        with Writer(out / one.name, one.kind.cells, vocab_size, puzzle=one.kind.to_dict()) as writer:
            ones = np.ones(1, np.int32)
            for question, label, number in zip(one.inputs, one.labels, one.puzzle_ids, strict=True):
                writer.split("test").add(question[None], label[None], ones, ones * number)
            about = {"perturbation": one.name, "about": one.about, "seed": seed, "faulty": _is_faulty(one)}
            writer.finish(names if len(names) > one.puzzle_ids.max() else _numbered(puzzles), tasks or None, about)


def _numbered(puzzles: PuzzleSet) -> list[str]:
    """Names for ids that have none."""
    return [folder.BLANK, *(f"puzzle {number}" for number in range(1, puzzles.num_puzzles))]


def _is_faulty(one: StressSet) -> bool:
    """Whether a question breaks the rules of its kind at sight, so that it is to be read as one that is meant to."""
    try:
        for question in one.inputs:
            one.kind.check_question(question)
    except DataError:
        return True
    return False
