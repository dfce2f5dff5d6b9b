"""Datasets checked again, from the outside: rules, single solutions, images, repeats, and what sets have in common."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trm_jax.data import folder
from trm_jax.data.builders.checks import Check, Faults, Report
from trm_jax.data.builders.sets import OpenSet, open_sets
from trm_jax.data.builders.verify_arc import check_examples, check_overlap
from trm_jax.errors import DataError, RulesError
from trm_jax.puzzles import maze, sudoku, sudoku_isomorphism, sudoku_search
from trm_jax.puzzles.kind import Kind, Rules
from trm_jax.puzzles.kinds.arc import Arc
from trm_jax.puzzles.kinds.grid import Grid
from trm_jax.puzzles.kinds.maze import Maze
from trm_jax.puzzles.kinds.sudoku import Sudoku
from trm_jax.puzzles.kinds.tokens import Numbers
from trm_jax.puzzles.parallel import in_order
from trm_jax.puzzles.symmetry import Tokens
from trm_jax.puzzles.table_columns import USUAL, Columns
from trm_jax.sizes import counted

_TURNED = 8  # groups on which declared symmetries are tried
_CHUNK = 4_096  # rows at once
_FEW = 5  # places told of each check
# A proof that meets more dead ends is given up, so that one Sudoku of 16 x 16 does not hold up all others.
_MAX_BACKTRACKS = 200_000
_PROOFS = 64  # for a process at once

Advance = Callable[[int], None]


def verify(
    paths: Sequence[Path],
    *,
    puzzle: str = "",
    columns: Columns = USUAL,
    rules: Rules | None = None,
    quick: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Checks datasets, and what any two sets of theirs have in common.

    Args:
      paths: dataset folders and tables.
      puzzle: their kind, where files do not tell it and it cannot be guessed.
      columns: of the question and the answer in tables.
      rules: of a user's own puzzle.
      quick: leave out what takes minutes: proofs that Sudokus have one solution, and that augmented puzzles are images.
      workers: processes for the proofs.
      progress: told how much of the work is done, of how much.

    Raises:
      DataError: something that cannot be read.
    """
    sets = [each for path in paths for each in open_sets(path, puzzle, columns, rules)]
    total, done = sum(_work(each, quick) for each in sets), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    checks: list[Check] = []
    for each in sets:
        checks += _checks_of(each, quick, workers, advance)
    checks += [_overlap(one, other) for one, other in combinations(sets, 2) if _comparable(one, other)]
    return Report(tuple(checks))


def _work(each: OpenSet, quick: bool) -> int:
    """Rows to read, and puzzles to solve."""
    proofs = len(each.firsts()) if isinstance(each.kind, Sudoku) and not quick else 0
    return len(each.puzzles) + proofs


def _checks_of(each: OpenSet, quick: bool, workers: int, advance: Advance) -> Iterator[Check]:
    puzzles = each.puzzles
    yield Check(each.name, "structure", len(puzzles), note=_described(each))
    if each.split:
        yield from _identifiers(each)
    if isinstance(each.kind, Arc):
        yield from check_examples(each, advance)
        return
    yield from _rules(each, advance)
    if isinstance(each.kind, Grid) and each.kind.has_rules and each.kind.has_symmetries:
        yield _symmetries(each)
    augmented = len(puzzles) > len(each.firsts())
    if isinstance(each.kind, Sudoku) and not quick:
        yield _single_solutions(each, workers, advance)
    if isinstance(each.kind, Maze):
        yield _tie_break(each)
    if augmented and each.kind.has_symmetries and not quick:
        yield _images(each)
    yield _repeats(each)


def _described(each: OpenSet) -> str:
    puzzles, (rows, columns) = each.puzzles, each.kind.shape
    groups, count = len(puzzles.group_starts) - 1, len(puzzles.puzzle_starts) - 1
    name = f"{each.kind.name} {rows} x {columns}{' (guessed)' if each.guessed else ''}"
    unanswered = sum(int((~_answered(each, each.pairs(rows)[1])).sum()) for rows in _chunks(len(puzzles)))
    told = f", {unanswered} of them without answers" if unanswered else ""
    return f"{name}, {counted(groups, 'group')}, {counted(count, 'puzzle')}{told}"


def _answered(each: OpenSet, answers: Tokens) -> NDArray[np.bool_]:
    """Which rows have answers, bool [n]: in a table they may be missing, in a dataset folder none may."""
    return np.array([bool(each.split) or bool(answer.any()) for answer in answers], np.bool_)


def _identifiers(each: OpenSet) -> Iterator[Check]:
    """identifiers.json, which a folder may lack where puzzles need no names."""
    needed = isinstance(each.kind, Arc)
    if not needed and not (each.path / "identifiers.json").exists():
        return
    faults = Faults()
    names = folder.read_identifiers(each.path)
    if len(names) != each.puzzles.num_puzzles:
        faults.add(f"identifiers.json has {len(names)} names, dataset.json has {each.puzzles.num_puzzles}")
    if names[0] != folder.BLANK:
        faults.add(f"identifiers.json calls id 0 {names[0]!r:.60}, not {folder.BLANK}")
    for name, count in Counter(names).items():
        if count > 1:
            faults.add(f"identifiers.json has the name {name!r:.60} {count} times")
    yield faults.check(each.name, "identifiers", len(names))


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))


def _rules(each: OpenSet, advance: Advance) -> Iterator[Check]:
    """Padding where there may be none, and rules where they are known."""
    padded, broken, puzzles = Faults(), Faults(), each.puzzles
    for rows in _chunks(len(each.puzzles)):
        questions, answers = each.pairs(rows)
        whole = (questions > 0).all(axis=1) & ((answers > 0).all(axis=1) | ~_answered(each, answers))
        if not isinstance(each.kind, Numbers):
            for row in np.flatnonzero(~whole).tolist():
                padded.add(f"{puzzles.row_name(rows.start + row)}: padding, which no puzzle of this kind has")
        if each.kind.has_rules:
            for row, message in _broken(each, questions, answers):
                broken.add(f"{puzzles.row_name(rows.start + row)}: {message}")
        advance(len(questions))
    if not isinstance(each.kind, Numbers):
        yield padded.check(each.name, "no padding", len(each.puzzles))
    if each.kind.has_rules:
        yield broken.check(each.name, "rules", len(each.puzzles))
    else:
        yield Check(
            each.name, "rules", 0, note="none known: give --rules" if isinstance(each.kind, Grid) else "none known"
        )


def _broken(each: OpenSet, questions: Tokens, answers: Tokens) -> Iterator[tuple[int, str]]:
    """Rows whose answer is none, with what is wrong."""
    kind, answered = each.kind, _answered(each, answers)
    if isinstance(kind, Grid):
        # The rules are the user's program, whose own errors are not the puzzles'; they judge answers alone.
        rows = np.flatnonzero(answered)
        for row in rows[~kind.satisfied(questions[rows], answers[rows])].tolist():
            yield row, "the rules do not accept the answer"
        return
    doubtful = np.arange(len(questions))
    if isinstance(kind, Sudoku):
        doubtful = np.flatnonzero(~answered | ~kind.satisfied(questions, answers))
    for row in doubtful.tolist():
        try:
            if answered[row]:
                kind.check_pair(questions[row], answers[row])
            else:
                _check_question(kind, questions[row])
        except DataError as error:
            yield row, str(error)


def _check_question(kind: Kind, question: Tokens) -> None:
    try:
        kind.check_question(question)
    except DataError as error:
        raise DataError(f"question: {str(error).removeprefix('puzzle: ')}") from None


def _single_solutions(each: OpenSet, workers: int, advance: Advance) -> Check:
    """Whether each Sudoku has one solution, and its label is that; of a group, the puzzle that is not augmented."""
    assert isinstance(each.kind, Sudoku)
    firsts = each.firsts()
    faults, undecided = Faults(), 0
    pieces = [firsts[start : start + _PROOFS] for start in range(0, len(firsts), _PROOFS)]
    prove = partial(_proved, each.kind.layout)
    for rows, verdicts in zip(pieces, in_order(prove, map(each.pairs, pieces), workers), strict=True):
        for row, verdict in zip(rows.tolist(), verdicts, strict=True):
            if verdict is None:
                undecided += 1
            elif verdict:
                faults.add(f"{each.puzzles.row_name(row)}: {verdict}")
        advance(len(rows))
    note = f"{undecided} not decided within {_MAX_BACKTRACKS} dead ends" if undecided else ""
    return faults.check(each.name, "one solution", len(firsts), note)


def _proved(layout: sudoku.Layout, pairs: tuple[Tokens, Tokens]) -> list[str | None]:
    """For each Sudoku "" where it is as it should be, or what is wrong; None where that would take too long."""
    verdicts: list[str | None] = []
    answered = [bool(answer.any()) for answer in pairs[1]]
    for question, answer, known in zip(*map(sudoku.decode, pairs), answered, strict=True):
        result = sudoku_search.solve(question, layout, limit=2, max_backtracks=_MAX_BACKTRACKS)
        if len(result.solutions) > 1:
            verdicts.append("more than one solution")
        elif not result.complete:
            verdicts.append(None)
        elif not result.solutions:
            verdicts.append("no solution")
        else:
            right = not known or np.array_equal(result.solutions[0], answer)
            verdicts.append("" if right else "the label is not the solution")
    return verdicts


def _symmetries(each: OpenSet) -> Check:
    """Whether the declared symmetries are some by the rules, on the first few groups."""
    assert isinstance(each.kind, Grid)
    faults, rows = Faults(), each.firsts()[:_TURNED]
    questions, answers = each.pairs(rows)
    kept = _answered(each, answers)
    kept[kept] = each.kind.satisfied(questions[kept], answers[kept])
    try:
        each.kind.check_symmetries(questions[kept], answers[kept])
    except RulesError:
        raise
    except DataError as error:
        faults.add(str(error))
    return faults.check(each.name, "symmetries", int(kept.sum()))


def _tie_break(each: OpenSet) -> Check:
    """How many answers are the one that a breadth-first search in the public order finds. Others are no faults."""
    same = count = 0
    for row in each.firsts():
        (question,), (answer,) = each.pairs(np.array([row]))
        try:
            if not answer.any():
                continue
            same += np.array_equal(maze.solve(question, each.kind.shape), answer)
        except DataError:
            continue
        count += 1
    return Check(each.name, "public tie-break", count, note=f"{same} of {count} labels follow it")


def _images(each: OpenSet) -> Check:
    """Whether all puzzles of a group are images of its first."""
    faults, puzzles, checked = Faults(), each.puzzles, 0
    starts = puzzles.puzzle_starts[puzzles.group_starts]
    for first, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        sides = each.pairs(slice(first, stop))
        # Where rules are known they tie the answer to its question.
        good = [_like_first(each, side) for side in (sides[:1] if each.kind.has_rules else sides)]
        for row in np.flatnonzero(~np.all(good, axis=0)):
            faults.add(
                f"{puzzles.row_name(first + row)}: no image of {puzzles.row_name(first)}, with which its group begins"
            )
        checked += stop - first - 1
    return faults.check(each.name, "images", checked)


def _like_first(each: OpenSet, grids: Tokens) -> NDArray[np.bool_]:
    """Of each of grids [n, S] whether it is an image of the first."""
    if isinstance(each.kind, Sudoku):
        # One search for each would take minutes where these take seconds, and chance hardly ever makes two equal.
        keys = sudoku_isomorphism.keys(sudoku.decode(grids), each.kind.layout)
        return np.asarray(keys == keys[0])
    good = np.zeros(len(grids), np.bool_)
    good[[j for _, j in each.kind.overlaps(grids[:1], grids)]] = True
    return good


def _repeats(each: OpenSet) -> Check:
    """Groups that begin with the same question, under the same puzzle id."""
    faults, seen = Faults(), {}  # type: Faults, dict[tuple[int, bytes], int]
    name = each.puzzles.row_name
    firsts = each.firsts()
    for rows in (firsts[part] for part in _chunks(len(firsts))):
        questions, _ = each.pairs(rows)
        for row, question in zip(rows.tolist(), questions, strict=True):
            key = int(each.puzzles.puzzle_ids[row]), question.tobytes()
            if seen.setdefault(key, row) != row:
                faults.add(f"{name(row)}: the same question as in {name(seen[key])}")
    return faults.check(each.name, "repeats", len(firsts))


def _comparable(one: OpenSet, other: OpenSet) -> bool:
    return one.kind.to_dict() == other.kind.to_dict() and one.kind.cells == other.kind.cells


def _overlap(one: OpenSet, other: OpenSet) -> Check:
    """Puzzles that both sets have, up to symmetry; of a group, the one that is not augmented."""
    if isinstance(one.kind, Arc):
        return check_overlap(one, other)
    faults = Faults()
    rows, others = one.firsts(), other.firsts()
    found = one.kind.overlaps(one.pairs(rows)[0], other.pairs(others)[0])
    seen = set()
    for i, j in found:
        if j not in seen:
            seen.add(j)
            here, there = one.puzzles.row_name(rows[i]), other.puzzles.row_name(others[j])
            faults.add(f"{there} of {other.name} is {here} of {one.name} up to symmetry")
    return faults.check(f"{one.name} / {other.name}", "overlap", len(others))
