"""Which form a text has, and the board or the boards in it."""

import re
from collections.abc import Sequence, Set
from dataclasses import replace

from trm_jax.errors import DataError
from trm_jax.puzzles.text.forms import FORMS, Rows, separators
from trm_jax.puzzles.text.lines import BARS, Line, Part, is_frame, lines_of, may_be_row, parts_of
from trm_jax.puzzles.text.lists import boards_of, is_list
from trm_jax.puzzles.text.writing import Board, Cell, Shape, Writing, unknown


def read_one(text: str, writing: Writing) -> Board:
    """The board that a text holds.

    Raises:
      DataError: none, or several; a text that is none of the forms, or several of them; with the place of the fault.
    """
    boards = _boards(text, writing, several=False)
    if len(boards) > 1:
        first = boards[1].cells[0].line
        raise DataError(f"{len(boards)} boards found, the second from line {first} on, but one is needed here")
    return boards[0]


def read_several(text: str, writing: Writing) -> list[Board]:
    """The boards that a text holds: at least one. They may stand one in a line, beside names and remarks.

    Raises:
      DataError: as `read_one`.
    """
    return _boards(text, writing, several=True)


def plain_values(text: str, writing: Writing) -> list[int] | None:
    """The values of a board that is no more than its characters, in one line or in a line for each row; or None.

    What `read_one` would give, for tables with millions of rows.
    """
    shape = writing.sizes.shape
    if "\n" in text and shape:
        lines = text.split("\n")
        text = "".join(lines) if len(lines) == shape[0] and {len(line) for line in lines} == {shape[1]} else ""
    if len(text) != writing.sizes.cells:
        return None
    found = set(text)
    if not found <= writing.plain or sum(writing.is_blank(char) for char in found) > 1:
        return None
    signs, blank = writing.signs, writing.blank
    return [signs.get(char, blank) for char in text]


def _boards(text: str, writing: Writing, several: bool) -> list[Board]:
    lines = lines_of(text)
    parts = parts_of(lines, writing)
    kept = {line.number: line.text for part in parts for line in part.lines}
    body = "\n".join(kept.get(line.number, "") for line in lines)
    if is_list(body, writing):
        boards = boards_of(body, writing)
        for board in boards:
            _check_signs([list(board.cells)], writing, board.numbered, board.shape)
    else:
        boards = [board for part in parts for board in _part(part, writing, several)]
    if not boards:
        if line := next((line for line in lines if line.text.strip()), None):
            shown = line.text.strip()[:30]
            raise DataError(
                f"line {line.number}, {shown!r}, is a remark, a title or a frame, as every line is: there is no cell"
            )
        writing.sizes.of_cells(0)
        raise DataError(f"0 cells found, but a {writing.sizes.board} has at least 1")
    return boards


def _part(part: Part, writing: Writing, several: bool) -> list[Board]:
    """The boards of lines that belong together; none where there is no cell."""
    name, lines = part
    filled = [i for i, line in enumerate(lines) if line.text]
    if not filled:
        return []
    lines = lines[: filled[-1] + 1]
    if writing.row_mark:
        lines, marked = _split_rows(lines, writing)
        if marked:
            return [board for row in marked for board in _part(Part(name, row), writing, several)]
    rows = [line for line in lines if not is_frame(line.text, writing)]
    with_dashes = [line for line in lines if not is_frame(line.text, writing) or may_be_row(line.text, writing)]
    found, faults = _readings(rows, writing, several)
    if len(with_dashes) > len(rows):  # of the two the one that makes a board
        more = _readings(with_dashes, writing, several)
        found, faults = found | more[0], faults + more[1]
    if len(found) > 1:
        raise DataError(f"line {lines[0].number}: the text can be read in more than one way: write . for each blank")
    if found:
        (boards,) = found.values()
        return [replace(board, name=name) for board in boards]
    if several and (boards := _listed(rows, writing)):
        return boards
    if not faults and not any(line.text.strip() for line in rows):
        return []
    _refuse_candidates(rows, writing)
    raise faults[0] if faults else _no_row(rows)


def _readings(
    lines: Sequence[Line], writing: Writing, several: bool
) -> tuple[dict[tuple[str, ...], list[Board]], list[DataError]]:
    """The boards that each form makes of lines, by what they say, and what is wrong where it makes none."""
    found: dict[tuple[str, ...], list[Board]] = {}
    faults: list[DataError] = []
    for form in FORMS:
        try:
            read = form.read(lines, writing)
            if read is not None and read.rows:
                boards = _arranged(read, writing, several)
                found[_key(boards, writing)] = boards
        except DataError as fault:
            faults.append(fault)
    return found, faults


def _split_rows(lines: Sequence[Line], writing: Writing) -> tuple[list[Line], list[list[Line]]]:
    """The lines, one that holds several rows cut into these; or, where rows end with a mark, those of each line."""
    filled = [line for line in lines if line.text.strip()]
    marked = [line for line in filled if writing.row_mark in line.text]
    if marked:
        if len(marked) < len(filled):
            raise DataError(f"some rows end with {writing.row_mark}, others with their lines: write all alike")
        return [], [_cut(line, line.text.split(writing.row_mark)) for line in marked]
    words = filled[0].text.split() if len(filled) == 1 and not separators(filled, writing) else []
    if len(words) < 2:
        return list(lines), []
    if max(map(len, words)) == 1:
        raise DataError(
            f"line {filled[0].number}: is it a row of {len(words)} cells or a column? put {writing.row_mark} "
            "between rows, or a row in each line"
        )
    return _cut(filled[0], words), []


def _cut(line: Line, texts: Sequence[str]) -> list[Line]:
    pieces, at = [], 0
    for text in texts:
        at = line.text.index(text, at)
        pieces.append(Line(line.number, text, line.column + at))
        at += len(text)
    return pieces


def _key(boards: Sequence[Board], writing: Writing) -> tuple[str, ...]:
    """Equal for readings that say the same."""
    return tuple(
        "" if writing.is_blank(cell.sign) and cell.sign not in writing.signs else cell.sign
        for board in boards
        for cell in board.cells
    )


def _arranged(read: Rows, writing: Writing, several: bool) -> list[Board]:
    """The boards that rows make; DataError for signs and shapes that none has."""
    rows, numbered = read
    shape = writing.sizes.shape if len(rows) == 1 and len(rows[0]) == writing.sizes.cells else None
    _check_signs(rows, writing, numbered, shape, writing.beyond)
    boards = _cut_into_boards(rows, numbered, writing, several)
    _check_signs(rows, writing, numbered, shape)
    return boards


def _cut_into_boards(rows: list[list[Cell]], numbered: bool, writing: Writing, several: bool) -> list[Board]:
    """One board of all rows, or one of each, or one after another with something between."""
    sizes = writing.sizes
    lengths = [len(row) for row in rows]
    if len(rows) == 1 or (several and set(lengths) == {sizes.cells}):
        return [Board(row, sizes.of_cells(len(row)), numbered) for row in rows]
    gaps = [0, *(i for i in range(1, len(rows)) if rows[i][0].line > rows[i - 1][0].line + 1)]
    if sizes.any_rows and sizes.cells is None:  # each is of a size of its own
        return [_joined(piece, numbered, writing) for piece in _pieces(rows, gaps)]
    try:
        return [_joined(rows, numbered, writing)]
    except DataError:
        height, columns = sizes.shape or (0, 0)
        starts = list(range(0, len(rows), height or 1))
        if not several or set(lengths) != {columns} or len(rows) % height or not set(starts) <= set(gaps):
            raise
        return [_joined(piece, numbered, writing) for piece in _pieces(rows, starts)]


def _pieces(rows: list[list[Cell]], starts: Sequence[int]) -> list[list[list[Cell]]]:
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def _joined(rows: list[list[Cell]], numbered: bool, writing: Writing) -> Board:
    """The board of some rows."""
    _check_lengths(rows, writing)
    shape = writing.sizes.of_rows(len(rows), len(rows[0]))
    return Board([cell for row in rows for cell in row], shape, numbered)


def _check_signs(
    rows: Sequence[Sequence[Cell]],
    writing: Writing,
    numbered: bool,
    shape: Shape | None,
    but: Set[str] = frozenset(),
) -> None:
    """DataError for the first sign that is none. shape: of the board where all of it is one row. but: let them be."""
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if writing.value(cell.sign, numbered) is None and cell.sign not in but:
                raise unknown(cell, writing, divmod(c, shape[1]) if shape else (r, c) if len(rows) > 1 else None)


def _check_lengths(rows: Sequence[Sequence[Cell]], writing: Writing) -> None:
    """DataError for the first row that is longer or shorter than it should be."""
    sizes = writing.sizes
    lengths = [len(row) for row in rows]
    if len(set(lengths)) == 1:
        return
    wanted = sizes.shape[1] if sizes.shape and len(rows) == sizes.shape[0] else lengths[0]
    at = next(i for i, length in enumerate(lengths) if length != wanted)
    # Rows that a mark ends may all stand in one line.
    alone = len({row[0].line for row in rows}) == len(rows)
    row, first = (f"line {rows[i][0].line}" if alone else f"row {i + 1}" for i in (at, 0))
    expected = f"a row of this {sizes.board}" if wanted != lengths[0] else first
    # Where spaces are cells, or there is no other blank, they may be what is missing.
    may_be_lost = writing.spaced or (
        " " in writing.blanks and not any(writing.is_blank(cell.sign) for row in rows for cell in row)
    )
    lost = "; were spaces at its end lost?" if lengths[at] < wanted and may_be_lost else ""
    mend = "each row is a line" if alone else "make all rows equally long"
    raise DataError(f"{row} has {lengths[at]} cells, but {expected} has {wanted}: {mend}{lost}")


def _listed(lines: Sequence[Line], writing: Writing) -> list[Board]:
    """The boards of lines that each hold one, in one word, with a name before it or remarks behind it; or none."""
    cells = writing.sizes.cells
    if not cells or writing.spaced:
        return []
    between = r"\s" + "".join(char for char in ",;:" if char not in writing.signs)
    boards = []
    for line in lines:
        words = list(re.finditer(f"[^{between}]+", line.text))
        found = [word for word in words if len(word[0]) == cells and writing.plain.issuperset(word[0])]
        if not words:
            continue
        if len(found) > 1:
            raise DataError(
                f"line {line.number} holds {len(found)} boards: are they puzzle and answer? give a table by --data"
            )
        if not found:
            return []
        start = found[0].start()
        row = [Cell(char, line.number, line.column + start + i) for i, char in enumerate(found[0][0])]
        boards.append(Board(row, writing.sizes.of_cells(cells), False, line.text[:start].strip(" \t,;:")))
    return boards


def _refuse_candidates(lines: Sequence[Line], writing: Writing) -> None:
    """DataError where cells hold candidates: in place of each one character stand as many as there are digits."""
    if not writing.framed or writing.sizes.any_rows:
        return
    words = [word for line in lines for word in re.findall(rf"[^\s{BARS}]+", line.text)]
    if not all(writing.plain.issuperset(word) for word in words):
        return
    count = sum(map(len, words))
    side = round(count ** (1 / 3))
    shape = writing.sizes.shape
    cubes = side > 3 and side**3 == count and (shape is None or shape == (side, side))
    several = [word for word in words if len(word) > 1]
    marks = several and all(sorted(set(word)) == list(word) and writing.signs.keys() >= set(word) for word in several)
    if cubes or (marks and len({len(word) for word in words}) > 1 and len(words) > 3):
        raise DataError(
            f"line {lines[0].number}: cells hold several digits, which are candidates (pencil marks): "
            "give one character for each cell"
        )


def _no_row(lines: Sequence[Line]) -> DataError:
    line = next(line for line in lines if line.text.strip())
    return DataError(
        f"line {line.number}, {line.text.strip()[:30]!r}, is no row of cells: space them evenly or not at all"
    )
