"""Which columns of a table hold the questions and the answers."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from trm_jax.puzzles.table_lines import Fault

Columns: TypeAlias = tuple[str, str]
"""Of the question and of the answer, as the user names them; "" for a usual name."""

USUAL: Columns = ("", "")
QUESTIONS = ("question", "questions", "puzzle", "puzzles", "quiz", "quizzes")
ANSWERS = ("answer", "answers", "solution", "solutions")
SHORTEST_PUZZLE = 9  # characters; fewer are hardly ever one


def choose(names: Sequence[str], columns: Columns, answered: bool, whole: str) -> tuple[str, str | None]:
    """The names, among those of a table, of the question's and of the answer's column; None where it has no answers.

    Case and blanks around a name do not count, unless a table has several names that differ in these alone. Of usual
    names, question and answer go before the others, where a table has both.

    Args:
      names: of all columns.
      columns: those that are wanted.
      answered: refuse a table that has no answers.
      whole: what has these names, for an error: "the header has", "the keys are".

    Raises:
      Fault: a column that is missing, or may be one of several.
    """
    there = f"{whole} {', '.join(repr(name[:40]) for name in names[:20]) or 'none'}"
    if columns == USUAL:
        first, second = (_one(names, usual[:1], there) for usual in (QUESTIONS, ANSWERS))
        if first is not None and second is not None:
            return first, second
    question = _one(names, [columns[0]] if columns[0] else QUESTIONS, there)
    if question is None:
        raise Fault(columns[0] or "question", f"is missing; {there}: say with --columns which it is")
    answer = _one(names, [columns[1]] if columns[1] else ANSWERS, there)
    if answer is None and (answered or columns[1]):
        raise Fault(columns[1] or "answer", f"is missing; {there}: say with --columns which it is")
    return question, answer


def refuse_unnamed_answers(row: Mapping[str, object], question: str) -> None:
    """Refuses the row of a table without answers in which another column is as long as the question.

    Args:
      row: texts and lists by the names of their columns; other values are passed over.
      question: the question's column.

    Raises:
      Fault: such a column.
    """
    asked = row[question]
    for name, value in row.items():
        if name == question or not isinstance(value, str | list) or not isinstance(asked, type(value)):
            continue
        if len(value) == len(asked) >= (SHORTEST_PUZZLE if isinstance(value, str) else 2):
            puzzle, other = question.strip(), name.strip()
            raise Fault(
                name,
                f"are these the answers? they are as long as {puzzle!r}: say --columns '{puzzle},{other}', "
                f"or --columns '{puzzle}' for puzzles without answers",
            )


def is_usual(name: str) -> bool:
    """Whether a column of this name is looked for without being named."""
    return _plain(name) in (*QUESTIONS, *ANSWERS)


def _one(names: Sequence[str], sought: Sequence[str], there: str) -> str | None:
    """The one column that has one of these names, None where none has; Fault where several do."""
    exact = [name for name in names if name in sought]
    found = exact or [name for name in names if _plain(name) in map(_plain, sought)]
    if len(found) > 1:
        twice = len(set(found)) == 1
        problem = "stands there twice" if twice else f"may be each of {', '.join(map(repr, found[:5]))}"
        raise Fault(found[0] if twice else sought[0], f"{problem}; {there}: say with --columns which it is")
    return found[0] if found else None


def _plain(name: str) -> str:
    return name.strip().casefold()
