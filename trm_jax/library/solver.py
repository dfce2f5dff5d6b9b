"""A trained model in the hand: `load` it, `solve`, watch it `think`, `evaluate`, `save`."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trm_jax.config import Experiment
from trm_jax.data import puzzle_set
from trm_jax.data.fit import Matched, at_size, matched
from trm_jax.data.identifiers import Identifiers
from trm_jax.data.kept_rules import Kept
from trm_jax.data.user_rules import load_rules
from trm_jax.display.html import table_html
from trm_jax.display.pictures import animate_thoughts, draw_thoughts
from trm_jax.errors import ConfigError, DataError
from trm_jax.inference.by_rules import RulesEvaluator
from trm_jax.inference.effort import MOST_STEPS
from trm_jax.inference.evaluate import Evaluator, is_arc_test, votes_for
from trm_jax.inference.search import Budget, Found
from trm_jax.inference.searches import Searches
from trm_jax.inference.thoughts import think
from trm_jax.library import attempting, explaining, searching, thinking
from trm_jax.library.answers import Answers, Cells, Figures, Moment, Why
from trm_jax.library.asked import Asked, refuse, share, whole
from trm_jax.library.questions import read_boards, read_questions
from trm_jax.model.model import Model, Weights, count_weights
from trm_jax.puzzles.kind import Rules
from trm_jax.puzzles.kinds import describe, kind_of
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.runs import sources, weights_file
from trm_jax.runs.calibration import Calibrated, promise_of
from trm_jax.runs.checkpoint import Checkpoints
from trm_jax.runs.lock import Lock
from trm_jax.runs.meta import Meta
from trm_jax.training.step import TrainState, averaged_weights


def load(source: str | Path, *, averaged: bool = True, rules: Rules | str | Path | None = None) -> "Solver":
    """A trained model: one that ships, or in a folder that `trm train`, `trm convert` or `Solver.save` has written.

    Args:
      source: the name of a model that ships ("sudoku-extreme"; `trm models` lists them); a folder (its newest valid
        checkpoint), or one checkpoint's own: "runs/demo/checkpoints/500"; or a file that `Solver.save` has written.
      averaged: the moving average of the weights, as the paper evaluates; or the weights as trained.
      rules: of a puzzle of your own (kind "grid"): a function of question and answer as text, or a Python file with
        such a function `check`.

    Raises:
      CheckpointError: nothing is there, or it is damaged, or of another version.

    >>> import trm_jax as trm
    >>> model = trm.load("runs/demo")
    >>> len(model.solve(".21. ...4 .... .1..").text())
    16
    """
    if not isinstance(source, (str, os.PathLike)):
        raise ConfigError(f"load({source!r}): give the path of a folder, as text")
    solver = Solver(*sources.load(source, averaged), rules=rules, source=str(source))
    solver.identifiers, solver._kept = sources.trained_on(source)
    return solver


class Solver:
    """A trained model: an experiment and its weights.

    experiment: with all sizes filled in.
    weights: as evaluation uses them (`trm_jax.model.model.Weights`).
    kind: of puzzle that it solves.
    identifiers: of the puzzles that it was trained on, as its checkpoint keeps them; empty where nothing is known.
    calibration: what `calibrate` has found for `solve(..., confidence=)`; None: that of the file beside the weights.
    """

    def __init__(
        self,
        experiment: Experiment,
        weights: Weights | TrainState,
        *,
        rules: Rules | str | Path | None = None,
        source: str = "",
    ) -> None:
        """What `load` does with what it finds.

        Args:
          experiment, weights: a model; of a training state the averaged weights are taken.
          rules: as for `load`.
          source: where the weights come from, to be told in figures.
        """
        self.experiment = experiment
        self.weights = averaged_weights(weights) if isinstance(weights, TrainState) else weights
        self.source = source
        self.identifiers: Identifiers = {}
        self.calibration: Calibrated | None = None
        self._kept: Kept | None = None  # for what `save` writes; of rules, the library runs what it is given alone
        self._rules = load_rules(Path(rules)) if isinstance(rules, (str, os.PathLike)) else rules
        self.kind = kind_of(experiment.data.puzzle or "tokens", experiment.model.seq_len, self._rules)
        self._model = Model(experiment.model)

    def solve(
        self,
        puzzles: Any,
        *,
        steps: int | None = None,
        attempts: int = 1,
        select: str | None = None,
        symmetries: bool | None = None,
        certify: bool = False,
        confidence: float | None = None,
        halting: bool = False,
        start_noise: float = 0.0,
        latent_noise: float = 0.0,
        puzzle_ids: int | Sequence[int] | NDArray[np.integer[Any]] = 0,
        batch_size: int | None = None,
        seed: int = 0,
        calls: int = 1_024,
        seconds: float = 0.0,
        chains: int = 8,
    ) -> Answers:
        """Answers to one puzzle or to many.

        Args:
          puzzles: one as text, as rows of text, or, where cells hold numbers, as whole numbers [S] or [rows, columns]
            (0: blank); or a list or an array of many.
          steps: supervision steps, at least 1 (as many as in training).
          attempts: K tries at each puzzle; the first is the plain one.
          select: which of them to believe: "first", "q", "change", "vote", "rules" ("rules" if known, else "q").
          symmetries: tries but the first see the puzzle turned (where there are several tries, no noise is asked for
            and the kind has symmetries).
          certify: only an answer that keeps to the rules, from any step of any attempt; where there is none, none.
          confidence: only answers that are right as often as this (0.99, say), by the calibration that `calibrate` has
            made of this model and of puzzles that are tried in the same way; none that breaks rules.
          halting: an attempt ends at the first step at which the model says that it is done.
          start_noise, latent_noise: standard deviation of noise on tries but the first (inference.Effort).
          puzzle_ids: rows of the puzzle table, for models that have one; one for all, or [N].
          batch_size: attempts worked on at once (as in evaluation).
          seed: of symmetries and noise, or of a search.
          calls, seconds, chains: of a model of candidates, which searches for an answer that keeps to the rules
            (inference.search.Budget); it makes no attempts.

        Returns:
          `Answers`, to one puzzle if one was given.

        Raises:
          DataError: a puzzle that cannot be read or contradicts itself; names which, and where.
          ConfigError: an argument out of range, or one that this kind of puzzle does not allow; a confidence that the
            calibration does not keep.
          CheckpointError: a confidence, but no calibration of these weights.

        >>> import trm_jax as trm
        >>> model = trm.load("runs/demo")
        >>> out = model.solve([[0, 2, 1, 0], [0, 0, 0, 4], [0, 0, 0, 0], [0, 1, 0, 0]], attempts=4)
        >>> out.digits.shape, out.valid in (True, False)
        ((4, 4), True)
        >>> model.solve([".21. ...4 .... .1..", ".4.. .... 2.3. ..2."], steps=2).digits.shape
        (2, 4, 4)
        """
        if confidence is not None:
            confidence = share("confidence", confidence)
            if certify:
                raise ConfigError("certify = True gives answers that keep the rules, which is certain: no confidence")
        asked = Asked(steps, attempts, select, symmetries, halting, start_noise, latent_noise, seed)
        if self._searches:
            asked.refuse()
            budget = searching.budget_from(calls, seconds, chains, seed)
            questions, alone = read_questions(self.kind, puzzles, self.experiment.model.vocab_size)
            found = self._search(questions, budget, batch_size)
            answers = searching.answers(found, questions, self.kind)
            if confidence is not None:
                answers = replace(answers, confidence=answers.q, sure=answers.valid)
            return answers[0] if alone else answers
        D = self._depth(steps)
        effort = asked.effort(self.kind, tuple(range(1, D + 1)) if certify else (D,))
        rule = asked.rule(self.kind, certify)
        promise = None
        if confidence is not None:
            promise = promise_of(self.source, self.calibration, self.weights, self.kind, effort, rule, confidence)
        questions, alone = read_questions(self.kind, puzzles, self.experiment.model.vocab_size)
        ids = self._ids(puzzle_ids, len(questions))
        answers = attempting.answers(
            self._model, self.weights, self.kind, questions, ids, effort, rule, certify, self._size(batch_size), promise
        )
        return answers[0] if alone else answers

    def think(
        self, puzzle: Any, *, steps: int | None = None, puzzle_id: int = 0, latents: bool = False
    ) -> Iterator[Moment]:
        """A puzzle being solved: the answer, y, z and q after each supervision step; computed as they are asked for.

        Of a model of candidates, those that are left after each call of the chain that found the answer.

        Args:
          puzzle: one, as `solve` takes it.
          steps: how many (as many as in training; of a search, all).
          puzzle_id: its row of the puzzle table, for models that have one.
          latents: whether z is read too, as if it were the answer, after each latent step of each cycle.

        >>> import trm_jax as trm
        >>> model = trm.load("runs/demo")
        >>> [(moment.step, moment.y.shape) for moment in model.think(".21. ...4 .... .1..", steps=2)]
        [(1, (16, 64)), (2, (16, 64))]
        """
        if self._searches:
            refuse(steps=steps)
            if latents:
                raise ConfigError("latents: a model of candidates has no latent z: look at `possible`")
            question, units = self._one(puzzle), self.experiment.model.units
            (found,) = self._search(question, Budget(), None)
            return searching.moments(found, question[0], self.kind, units.symbols, units.blank)
        D = self._depth(steps)
        if latents and self.experiment.model.states == "y":
            raise ConfigError("latents: a model whose states are 'y' has no latent z: leave them out")
        question, ids = self._one(puzzle), self._ids(puzzle_id, 1)
        return thinking.moments(self._model, self.weights, self.kind, question, ids, D, latents)

    def why(self, puzzle: Any, row: int, column: int, *, steps: int | None = None, puzzle_id: int = 0) -> Why:
        """Which clues the answer in a cell rests on, the strongest first.

        Each clue is taken away, and the model thinks again: what it adds is what the lead of the answer over the next
        best loses. Of a model of candidates, that is the lead after the first call, before anything is guessed.

        Args:
          puzzle: one, as `solve` takes it.
          row, column: of the cell, from 1.
          steps: supervision steps (as many as in training).
          puzzle_id: its row of the puzzle table, for models that have one.

        Raises:
          ConfigError: a cell that is a clue or lies outside, or a kind of puzzle without an empty cell.

        >>> import trm_jax as trm
        >>> why = trm.load("sudoku-4x4").why(".21. ...4 .... .1..", 1, 1)
        >>> why.symbol, [(clue.row, clue.column) for clue in why.clues[:1]]
        ('4', [(1, 2)])
        """
        if self._searches:
            refuse(steps=steps)
        D, question, id_1 = self._depth(steps), self._one(puzzle)[0], self._ids(puzzle_id, 1)
        return explaining.reasons(self._model, self.weights, self.kind, question, row, column, D, int(id_1[0]))

    def cells(self, puzzle: Any, *, steps: int | None = None, puzzle_id: int = 0) -> Cells:
        """For each cell when it was decided and how often it changed; of a wrong answer, where it went wrong first.

        Whether it is wrong is known where the puzzle has rules, and one answer that a complete search finds.

        Args:
          puzzle, steps, puzzle_id: as for `think`.

        >>> import trm_jax as trm
        >>> cells = trm.load("sudoku-4x4").cells(".21. ...4 .... .1..")
        >>> int(cells.decided_at.max()), cells.mistake
        (1, None)
        """
        moments = list(self.think(puzzle, steps=steps, puzzle_id=puzzle_id))
        return explaining.cells(self.kind, self._one(puzzle)[0], moments, self._searches)

    def draw(self, puzzle: Any, path: str | Path, *, steps: int | None = None) -> Path:
        """Draws how the answer to a puzzle forms: the question, the answer after each step, how sure the model was.

        Args:
          puzzle, steps: as `think` takes them.
          path: the file to write: a filmstrip (.png), or an animation (.gif).

        Returns:
          The path.

        Raises:
          ConfigError: another ending, or matplotlib is missing. DataError: the file cannot be written.
        """
        path = Path(path)
        if path.suffix not in (".png", ".gif"):
            raise ConfigError(f"{path}: give a file that ends in .png or .gif")
        if self._searches:
            raise ConfigError("a model of candidates is drawn by `trm solve --picture`")
        D = self._depth(steps)
        question = self._one(puzzle)[0]
        thoughts = think(self._model, self.weights, self.kind, question, D)
        draw = draw_thoughts if path.suffix == ".png" else animate_thoughts
        draw(path, self.kind, question, thoughts, str(self.source or self.experiment.name))
        return path

    def evaluate(
        self,
        puzzles: Any = None,
        answers: Any = None,
        *,
        split: str = "test",
        columns: Columns = USUAL,
        limit: int = 0,
        steps: int | Sequence[int] | None = None,
        attempts: int = 1,
        select: str | None = None,
        symmetries: bool | None = None,
        halting: bool = False,
        start_noise: float = 0.0,
        latent_noise: float = 0.0,
        batch_size: int | None = None,
        seed: int = 0,
        calls: int = 1_024,
        seconds: float = 0.0,
        chains: int = 8,
    ) -> Figures:
        """Accuracy on puzzles, or how many answers keep the rules if none is known: what `trm eval --json` writes.

        Args:
          puzzles: the path of a table or dataset folder (several: with commas between); or puzzles as `solve` takes
            them, with their `answers`; or None: the experiment's own held-out ones.
          answers: of puzzles that are given themselves, likewise.
          split: of a dataset folder.
          columns: of tables, (question, answer); "" for a usual name, or for no answers.
          limit: read at most so many; 0: all.
          steps: numbers of supervision steps to report on (as many as in training).
          attempts, select, symmetries, halting, start_noise, latent_noise, batch_size, seed, calls, seconds, chains: as
            for `solve`.

        Raises:
          DataError: puzzles that cannot be read, or are none for this model.
          ConfigError: an argument out of range, or one that this kind of puzzle does not allow.

        >>> import trm_jax as trm
        >>> model = trm.load("runs/demo")
        >>> figures = model.evaluate(steps=[1, 8], limit=100)
        >>> figures["puzzles"], [row["supervision_steps"] for row in figures["rows"]]
        (100, [1, 8])
        """
        asked = Asked(steps, attempts, select, symmetries, halting, start_noise, latent_noise, seed)
        if self._searches:
            asked.refuse()
            budget = searching.budget_from(calls, seconds, chains, seed)
            given = self._puzzles(puzzles, answers, split, limit, columns)
            model, config = Model(given.experiment.model), self.experiment.candidates
            searches = Searches(model, config, given.puzzles, given.kind, self._size(batch_size), budget)
            told = {"checkpoints": [self.source], "data": given.source, "split": split}
            return Figures(told | searches(self.weights).to_dict())
        effort = asked.effort(self.kind, asked.depths(self._steps))
        rule = asked.rule(self.kind)
        given = self._puzzles(puzzles, answers, split, limit, columns)
        model = Model(given.experiment.model)
        about = {"checkpoints": [self.source], "data": given.source, "split": split}
        if not given.puzzles.has_labels():
            judge = RulesEvaluator(model, given.puzzles, self._size(batch_size), effort, given.kind, rule)
            return Figures(about | judge(self.weights).to_dict())
        evaluator = Evaluator(model, given.puzzles, self._size(batch_size), effort, given.kind, rule)
        votes = votes_for(given.puzzles) if is_arc_test(given.kind, given.puzzles, split) else None
        report = evaluator(self.weights, votes=votes)
        return Figures(about | report.to_dict())

    def save(self, target: str | Path) -> None:
        """Writes the model where `load`, `trm solve` and `trm eval` read it; weights only, no training state.

        Args:
          target: a folder, or one file whose name ends in .safetensors.

        Raises:
          CheckpointError: there is one already. StorageError: it cannot be written.
        """
        workdir = Path(target)
        if workdir.suffix == weights_file.SUFFIX:
            weights_file.write(workdir, self.experiment, self.weights)
            return
        with Lock(workdir), Checkpoints(workdir) as checkpoints:
            checkpoints.save_weights(
                self.weights, Meta(self.experiment, identifiers=self.identifiers, rules=self._kept)
            )

    def at(self, cells: int) -> "Solver":
        """The same weights for boards of so many cells, where the network serves every size (mixer "symmetric").

        Raises ConfigError: it serves one size, or there are no such boards.

        >>> import trm_jax as trm
        >>> trm.load("sudoku-extreme").at(16).kind.shape
        (4, 4)
        """
        puzzle = describe(self.experiment.data.puzzle or "tokens")["kind"]
        try:
            kind = kind_of(puzzle, whole("cells", cells, 1 << 16))
        except DataError as error:
            raise ConfigError(f"at({cells}): {error}") from None
        if not self.experiment.model.any_size:
            raise ConfigError(f"at({cells}): this network serves boards of {self.kind.cells} cells alone")
        return Solver(at_size(self.experiment, puzzle, cells, kind.vocab_size), self.weights, source=self.source)

    def __repr__(self) -> str:
        counts = count_weights(self.weights)
        puzzle = f"{self.kind.name} {self.kind.shape[0]} x {self.kind.shape[1]}"
        return f"<{self.experiment.name}: {sum(counts.values()):,} weights, for {puzzle}>"

    def _repr_html_(self) -> str:
        c = self.experiment.model
        facts = {
            "experiment": self.experiment.name,
            "puzzle": f"{self.kind.name}, {self.kind.shape[0]} x {self.kind.shape[1]}",
            "weights": f"{sum(count_weights(self.weights).values()):,}",
            "network": f"{c.mixer}, {c.layers} layers of width {c.width}",
            "recursion": f"n = {c.latent_steps}, T = {c.cycles}, N_sup = {c.supervision_steps}",
        }
        return table_html([{"": name, " ": value} for name, value in facts.items()])

    def _one(self, puzzle: Any) -> Tokens:
        """One puzzle as tokens [1, S]."""
        questions, _ = read_questions(self.kind, puzzle, self.experiment.model.vocab_size)
        if len(questions) != 1:
            raise DataError(f"one puzzle at a time is followed, and {len(questions)} were given: give one of them")
        return questions

    @property
    def _searches(self) -> bool:
        return self.experiment.model.states == "candidates"

    def _search(self, questions: Tokens, budget: Budget, batch_size: int | None) -> list[Found]:
        size = self._size(batch_size)
        return searching.found(self.experiment, self.weights, self.kind, questions, budget, size)

    @property
    def _steps(self) -> int:
        return self.experiment.model.supervision_steps

    def _depth(self, steps: int | None) -> int:
        return whole("steps", self._steps if steps is None else steps, MOST_STEPS)

    def _size(self, batch_size: int | None) -> int:
        default = self.experiment.train.eval_batch_size
        return whole("batch_size", default if batch_size is None else batch_size, 1 << 24)

    def _ids(self, puzzle_ids: Any, count: int) -> NDArray[np.int32]:
        ids = np.asarray(puzzle_ids)
        rows = self.experiment.model.num_puzzles
        if ids.dtype.kind not in "iu" or ids.shape not in ((), (count,)):
            raise ConfigError(f"puzzle_ids {ids.dtype}{list(ids.shape)}: give one whole number, or {count}")
        if ids.size and not 0 <= int(ids.min()) <= int(ids.max()) < max(rows, 1):
            raise ConfigError(f"puzzle_ids from {ids.min()} to {ids.max()}: the puzzle table has rows 0 to {rows - 1}")
        return np.broadcast_to(ids, (count,)).astype(np.int32)

    def _puzzles(self, puzzles: Any, answers: Any, split: str, limit: int, columns: Columns) -> Matched:
        """What to evaluate on."""
        config = self.experiment.model
        if puzzles is not None and answers is not None:
            questions, _ = read_questions(self.kind, puzzles, config.vocab_size)
            labels, _ = read_boards(self.kind, answers, "answer")
            if len(questions) != len(labels):
                raise DataError(f"{len(questions)} puzzles, but {len(labels)} answers: give one answer to each")
            name = self.experiment.data.puzzle
            pairs = puzzle_set.from_pairs(questions, labels, config.vocab_size, name)
            return Matched(self.experiment, pairs, self.kind, "given")
        if puzzles is None and answers is not None:
            raise DataError("answers without puzzles: give both, or a path")
        if puzzles is not None and not isinstance(puzzles, (str, os.PathLike)):
            raise DataError("evaluate() compares with known answers: give evaluate(puzzles, answers), or a path")
        given = "" if puzzles is None else os.fspath(puzzles)
        whole("limit", limit, 1 << 40, least=0)
        return matched(self.experiment, given, split, limit, self._rules, self.identifiers, (columns[0], columns[1]))
