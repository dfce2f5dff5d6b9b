"""Which form a text has, and the board or the boards in it."""

import re
from collections.abc import Sequence

from trm_jax.errors import DataError
from trm_jax.puzzles.text.forms import FORMS, Rows, separators
from trm_jax.puzzles.text.lines import BARS, Line, Part, is_frame, lines_of, may_be_row, parts_of
from trm_jax.puzzles.text.lists import boards_of, is_list
from trm_jax.puzzles.text.writing import Board, Cell, Writing, unknown


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
    """The values of a board that is written as no more than its characters, in one line: what tables are full of."""
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
        writing.sizes.of_cells(0)
        raise DataError(f"0 cells found, but a {writing.sizes.board} has at least 1")
    return boards


def _part(part: Part, writing: Writing, several: bool) -> list[Board]:
    """The boards of lines that belong together; none where there is no cell."""
    name, lines = part
    while lines and not lines[-1].text:
        lines = lines[:-1]
    if not lines:
        return []
    if writing.row_mark:
        lines, marked = _split_rows(lines, writing)
        if marked:
            return [board for row in marked for board in _part(Part(name, row), writing, several)]
    found: dict[tuple[str, ...], list[Board]] = {}
    faults: list[DataError] = []
    unframed = [line for line in lines if not is_frame(line.text, writing)]
    with_dashes = [line for line in lines if line in unframed or may_be_row(line.text, writing)]
    for rows_of_text in [unframed] if len(with_dashes) == len(unframed) else [unframed, with_dashes]:
        for form in FORMS:
            try:
                read = form.read(rows_of_text, writing)
                if read is None or not read.rows:
                    continue
                boards = _arranged(read, writing, several)
            except DataError as fault:
                faults.append(fault)
            else:
                found[_key(boards, writing)] = boards
    if several and not found:
        boards = _listed(unframed, writing)
        if boards:
            return boards
    if len(found) > 1:
        raise DataError(f"line {lines[0].number}: the text can be read in more than one way: write . for each blank")
    if found:
        (boards,) = found.values()
        return [Board(board.cells, board.shape, board.numbered, name) for board in boards]
    if not faults and not any(line.text.strip() for line in unframed):
        return []
    _refuse_candidates(unframed, writing)
    raise faults[0] if faults else _no_row(unframed)


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
    """The boards that rows make: one of all rows, or one of each, or one after another with something between."""
    rows, numbered = read
    sizes = writing.sizes
    lengths = [len(row) for row in rows]
    if several and sizes.cells and set(lengths) == {sizes.cells}:
        shape = sizes.of_cells(sizes.cells)
        _check_signs(rows, writing, numbered, shape if len(rows) == 1 else None)
        return [Board(row, shape, numbered) for row in rows]
    if len(rows) == 1:
        _check_signs(rows, writing, numbered, sizes.shape if lengths[0] == sizes.cells else None)
        return [Board(rows[0], sizes.of_cells(lengths[0]), numbered)]
    _check_signs(rows, writing, numbered, None)
    _check_lengths(rows, writing)
    starts = [0, *(i for i in range(1, len(rows)) if rows[i][0].line > rows[i - 1][0].line + 1)]
    if sizes.any_rows and sizes.cells is None:
        height = 0  # each its own
    else:
        try:
            shape = sizes.of_rows(len(rows), lengths[0])
        except DataError:
            if sizes.shape is None or not several or not set(range(0, len(rows), sizes.shape[0])) <= set(starts):
                raise
            height, columns = sizes.shape
            if columns != lengths[0] or len(rows) % height:
                raise
        else:
            return [Board([cell for row in rows for cell in row], shape, numbered)]
    if height:
        starts = list(range(0, len(rows), height))
    pieces = [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]
    return [
        Board([cell for row in piece for cell in row], sizes.of_rows(len(piece), lengths[0]), numbered)
        for piece in pieces
    ]


def _check_signs(
    rows: Sequence[Sequence[Cell]], writing: Writing, numbered: bool, shape: tuple[int, int] | None
) -> None:
    """DataError for the first sign that is none. shape: of the board where all of it is one row of cells."""
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            if writing.value(cell.sign, numbered) is None:
                raise unknown(cell, writing, divmod(c, shape[1]) if shape else (r, c) if len(rows) > 1 else None)


def _check_lengths(rows: Sequence[Sequence[Cell]], writing: Writing) -> None:
    """DataError for the first row that is longer or shorter than it should be."""
    sizes = writing.sizes
    lengths = [len(row) for row in rows]
    if len(set(lengths)) == 1:
        return
    wanted = sizes.shape[1] if sizes.shape and len(rows) == sizes.shape[0] else lengths[0]
    row, length = next((row[0].line, len(row)) for row in rows if len(row) != wanted)
    expected = f"a row of this {sizes.board}" if wanted != lengths[0] else f"line {rows[0][0].line}"
    lost = "; were spaces at its end lost?" if length < wanted and writing.spaced else ""
    raise DataError(f"line {row} has {length} cells, but {expected} has {wanted}: each row is a line{lost}")


def _listed(lines: Sequence[Line], writing: Writing) -> list[Board]:
    """The boards of lines that each hold one, in one word, with a name before it or remarks behind it; or none."""
    cells = writing.sizes.cells
    if not cells or writing.spaced:
        return []
    between = r"\s" + "".join(char for char in ",;" if char not in writing.signs)
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
    count = sum(map(len, words))
    side = round(count ** (1 / 3))
    shape = writing.sizes.shape
    cubes = side > 3 and side**3 == count and (shape is None or shape == (side, side))
    several = [word for word in words if len(word) > 1]
    marks = several and all(word.isalnum() and sorted(set(word)) == list(word) for word in several)
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
