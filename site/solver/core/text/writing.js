/** How boards of one kind and size are written: signs, blanks, sizes. The counterpart of trm_jax/puzzles/text/writing.py. */
import { Refused, quoted } from "../refused.js";

export const BARS = "|¦│┃║┆┊";
const CHARACTERS = ".123456789ABCDEFGHIJKLMNOP";
const FROM_ZERO = "0123456789ABCDEFGHIJKLMNO";
const BLANKS = ".0_-*xX? ";
// From this side on there are two ways to write digits: 1-9, A, ... and, as in hexadecimal, 0-9, A, ...
const LEAST_IN_DOUBT = 10;

/** The signs of the digits 1 to `side`, as this page shows them; before them that of a blank. */
export function alphabetOf(side) {
  return CHARACTERS.slice(0, side + 1);
}

export class Writing {
  /**
   * @param of {board, rows, columns, signs, blanks, numbers, beyond, wanted}. signs: the value of each; numbers: the
   *   highest value that a number of several digits names, 0 for none; the others as in the module that this follows
   */
  constructor(of) {
    Object.assign(this, { blanks: "", numbers: 0, beyond: new Set(), ...of });
    this.cells = this.rows * this.columns;
    this.spaced = this.signs.has(" "); // a space fills a cell, so that nothing is decoration
    this.plain = new Set([...this.signs.keys(), ...this.blanks.replace(" ", "")]);
  }

  /** legend: the blank, then the digits; "": 1-9, A-P, and any blank. */
  static ofSudoku(side, legend = "") {
    const characters = legend || alphabetOf(side);
    const signs = new Map();
    [...characters].slice(1).forEach((char, i) => {
      signs.set(char.toLowerCase(), i + 1).set(char.toUpperCase(), i + 1);
    });
    const blanks = [...BLANKS].filter((char) => !signs.has(char)).join("");
    const beyond = new Set(CHARACTERS.slice(1) + CHARACTERS.slice(1).toLowerCase());
    const ends = `${characters[1]}-${characters[side]}`;
    const digits = !legend && side > 9 ? `1-9 or A-${characters[side]}` : ends;
    const shown = [...blanks].filter((char) => !"X ".includes(char)).join(" ");
    const wanted = `is neither a digit ${digits} nor a blank (${shown} or a space)`;
    return new Writing({ board: "Sudoku", rows: side, columns: side, signs, blanks, numbers: side, beyond, wanted });
  }

  static ofMaze(rows, columns) {
    const names = [["#", "wall"], [" ", "free"], ["S", "start"], ["G", "goal"], ["o", "path"]];
    const signs = new Map(names.map(([sign], i) => [sign, i + 1]));
    const wanted = `is none of ${names.map(([sign, name]) => `'${sign}' ${name}`).join(", ")}`;
    return new Writing({ board: "maze", rows, columns, signs, wanted });
  }

  isBlank(sign) {
    return this.blanks !== "" && this.blanks.includes(sign);
  }

  /** The value of a sign, 0 for a blank; undefined where it is none. numbered: the board is written in numbers. */
  value(sign, numbered) {
    if (numbered && this.numbers && /^[0-9]+$/.test(sign)) {
      return sign.length <= String(this.numbers).length && Number(sign) <= this.numbers ? Number(sign) : undefined;
    }
    return this.isBlank(sign) ? 0 : this.signs.get(sign);
  }

  /** Refuses all but as many cells as a board has. */
  checkCells(count) {
    if (count === this.cells) return;
    const needed = this.spaced ? `a ${this.board} of ${this.rows} x ${this.columns} is needed`
      : `this ${this.board} has ${this.cells}: add or remove some`;
    throw new Refused(`${count} cells found, but ${needed}`);
  }

  checkRows(rows, columns, what = "lines", end = "; each row is a line") {
    if (rows !== this.rows || columns !== this.columns) {
      const wanted = `this ${this.board} is ${this.rows} x ${this.columns}`;
      throw new Refused(`${rows} ${what} of ${columns} cells found, but ${wanted}${end}`);
    }
  }

  /** The error of a sign that is none. at: the place on the board, where it is known. */
  unknown(cell, at) {
    let hint = "";
    if (!this.blanks) hint = "";
    else if (cell.sign === "+") hint = ": if + marks a digit that was filled in, leave out both";
    else if (/^-[0-9]/.test(cell.sign)) hint = `: a blank is one sign, such as ${this.blanks[0]}`;
    const place = at === null ? "" : ` (r${at.row + 1}c${at.column + 1})`;
    return new Refused(`${shown(cell)} of the text${place} ${this.wanted}${hint}`);
  }

  /** The values of a board of cells, 0 for a blank. */
  values(cells, numbered) {
    let first = null;
    return cells.map((cell, i) => {
      const at = { row: Math.floor(i / this.columns), column: i % this.columns };
      const value = this.value(cell.sign, numbered);
      if (value === undefined) throw this.unknown(cell, at);
      if (this.isBlank(cell.sign)) {
        first ??= cell;
        if (cell.sign.toLowerCase() !== first.sign.toLowerCase()) {
          const both = `${shown(first)} and ${shown(cell)} (r${at.row + 1}c${at.column + 1})`;
          throw new Refused(`two signs for a blank, ${both}: use one of them`);
        }
      }
      return value;
    });
  }
}

/** The legend that the signs of a board show, "" where there is no doubt; refuses where 0 may be a blank or a digit. */
export function legendOf(cells, numbered, side) {
  if (side < LEAST_IN_DOUBT) return "";
  const signs = new Set(numbered ? [] : cells.map((cell) => cell.sign));
  const [fromOne, fromZero] = [alphabetOf(side), `.${FROM_ZERO.slice(0, side)}`];
  const top = fromOne[side];
  const highest = signs.has(top) || signs.has(top.toLowerCase());
  const blanks = [...signs].some((sign) => sign !== "0" && BLANKS.includes(sign));
  if (!signs.has("0") || (highest && !blanks)) return fromOne;
  if (!highest && blanks) return fromZero;
  const both = blanks ? `both ${top} and another blank stand` : `neither ${top} nor another blank stands`;
  throw new Refused(`0 may be a blank or a digit, since ${both} there: write . for each blank, or 1-9 and A-${top}`);
}

function shown(cell) {
  const sign = cell.sign ? quoted(cell.sign) : "an empty field";
  return `${sign} in line ${cell.line}, column ${cell.column}`;
}
