/** Which form a text has, and the board in it: read right or refused. As trm_jax/puzzles/text/reading.py. */
import { FORMS } from "./forms.js";
import { isFrame, linesOf, mayBeRow, partsOf } from "./lines.js";
import { boardsOf, isList } from "./lists.js";
import { Refused, quoted } from "../refused.js";
import { BARS, Writing, legendOf } from "./writing.js";

// More than any way to write a Sudoku of side 25 takes, or a maze of so many cells.
const LONGEST = 20_000;

/** The digits of the Sudoku of this side that a text holds, 0 for a blank, in the order of rows. Throws Refused. */
export function readSudoku(text, side) {
  const { cells, numbered } = boardIn(text, Writing.ofSudoku(side));
  return Writing.ofSudoku(side, legendOf(cells, numbered, side)).values(cells, numbered);
}

/** The tokens of the maze of this size that a text holds, 1 to 5, in the order of rows. Throws Refused. */
export function readMaze(text, rows, columns) {
  const writing = Writing.ofMaze(rows, columns);
  return writing.values(boardIn(text, writing).cells, false);
}

/** {cells, numbered} */
function boardIn(text, writing) {
  if (text.length > LONGEST) {
    const { board, rows, columns } = writing;
    const length = text.length.toLocaleString("en");
    throw new Refused(`a text of ${length} characters is no ${board}: give ${rows} rows of ${columns} cells, and no more`);
  }
  const boards = boardsIn(text, writing);
  if (boards.length > 1) {
    const line = boards[1].cells[0].line;
    throw new Refused(`${boards.length} boards found, the second from line ${line} on, but one is needed here`);
  }
  return boards[0];
}

function boardsIn(text, writing) {
  const lines = linesOf(text);
  const parts = partsOf(lines, writing);
  const kept = new Map(parts.flatMap((part) => part.lines).map((line) => [line.number, line.text]));
  const body = lines.map((line) => kept.get(line.number) ?? "").join("\n");
  let boards;
  if (isList(body)) {
    boards = boardsOf(body, writing);
    for (const board of boards) checkSigns([board.cells], writing, board.numbered, true);
  } else {
    boards = parts.map((part) => boardOf(part.lines, writing)).filter(Boolean);
  }
  if (!boards.length) {
    const line = lines.find((each) => each.text.trim());
    if (!line) writing.checkCells(0);
    const shown = quoted(line.text.trim(), 30);
    throw new Refused(
      `line ${line.number}, ${shown}, is a remark, a title or a frame, as every line is: there is no cell`);
  }
  return boards;
}

/** The board of lines that belong together, {cells, numbered}; null where there is no cell. */
function boardOf(given, writing) {
  const last = given.findLastIndex((line) => line.text);
  if (last < 0) return null;
  const lines = given.slice(0, last + 1);
  const rows = lines.filter((line) => !isFrame(line.text, writing));
  const withDashes = lines.filter((line) => !isFrame(line.text, writing) || mayBeRow(line.text));
  const found = new Map();
  const faults = [];
  readings(rows, writing, found, faults);
  if (withDashes.length > rows.length) readings(withDashes, writing, found, faults);
  if (found.size > 1) {
    throw new Refused(
      `line ${lines[0].number}: the text can be read in more than one way: write . for each blank`);
  }
  if (found.size) return [...found.values()][0];
  if (!faults.length && !rows.some((line) => line.text.trim())) return null;
  refuseCandidates(rows, writing);
  if (faults.length) throw faults[0];
  const line = rows.find((each) => each.text.trim());
  const shown = quoted(line.text.trim(), 30);
  throw new Refused(`line ${line.number}, ${shown}, is no row of cells: space them evenly or not at all`);
}

/** Adds the boards that forms make of lines, by what they say, and what is wrong where one makes none. */
function readings(lines, writing, found, faults) {
  for (const form of FORMS) {
    try {
      const written = form(lines, writing);
      if (!written?.rows.length) continue;
      const cells = arranged(written, writing);
      const key = cells.map((cell) => (writing.isBlank(cell.sign) ? "" : cell.sign)).join("\0");
      found.set(key, { cells, numbered: written.numbered });
    } catch (fault) {
      if (!(fault instanceof Refused)) throw fault;
      faults.push(fault);
    }
  }
}

/** The cells of the board that rows make; Refused for signs and shapes that none has. */
function arranged({ rows, numbered }, writing) {
  const one = rows.length === 1 && rows[0].length === writing.cells;
  checkSigns(rows, writing, numbered, one, writing.beyond);
  if (rows.length === 1) {
    writing.checkCells(rows[0].length);
  } else {
    checkLengths(rows, writing);
    writing.checkRows(rows.length, rows[0].length);
  }
  checkSigns(rows, writing, numbered, one);
  return rows.flat();
}

/** Refuses the first sign that is none. one: all of the board is one row. but: let them be. */
function checkSigns(rows, writing, numbered, one, but = new Set()) {
  rows.forEach((row, r) => row.forEach((cell, c) => {
    if (writing.value(cell.sign, numbered) !== undefined || but.has(cell.sign)) return;
    const place = one ? { row: Math.floor(c / writing.columns), column: c % writing.columns } : { row: r, column: c };
    throw writing.unknown(cell, one || rows.length > 1 ? place : null);
  }));
}

/** Refuses the first row that is longer or shorter than it should be. */
function checkLengths(rows, writing) {
  const lengths = rows.map((row) => row.length);
  if (new Set(lengths).size === 1) return;
  const wanted = rows.length === writing.rows ? writing.columns : lengths[0];
  const at = lengths.findIndex((length) => length !== wanted);
  const expected = wanted === lengths[0] ? `line ${rows[0][0].line}` : `a row of this ${writing.board}`;
  // Where spaces are cells, or there is no other blank, they may be what is missing.
  const mayBeLost = writing.spaced || !rows.some((row) => row.some((cell) => writing.isBlank(cell.sign)));
  const lost = lengths[at] < wanted && mayBeLost;
  const question = lost ? "; were spaces at its end lost?" : "";
  const found = `line ${rows[at][0].line} has ${lengths[at]} cells`;
  throw new Refused(`${found}, but ${expected} has ${wanted}: each row is a line${question}`);
}

/** Refuses cells that hold candidates: in place of each one character stand as many as there are digits. */
function refuseCandidates(lines, writing) {
  if (writing.spaced) return;
  const { columns: side } = writing;
  const words = lines.flatMap((line) => line.text.match(new RegExp(`[^\\s${BARS}]+`, "gu")) ?? []).map((word) => [...word]);
  if (!words.every((word) => word.every((char) => writing.plain.has(char)))) return;
  const count = words.reduce((sum, word) => sum + word.length, 0);
  const several = words.filter((word) => word.length > 1);
  const marks = several.length > 0 && several.every((word) =>
    word.every((char, i) => writing.signs.has(char) && (i === 0 || word[i - 1] < char)));
  const uneven = new Set(words.map((word) => word.length)).size > 1 && words.length > 3;
  if ((side > 3 && count === side ** 3) || (marks && uneven)) {
    throw new Refused(
      `line ${lines[0].number}: cells hold several digits, which are candidates (pencil marks): ` +
        "give one character for each cell");
  }
}
