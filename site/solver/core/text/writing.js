/** How Sudokus of one side are written: signs, blanks, sizes. The counterpart of trm_jax/puzzles/text/writing.py. */
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
  /** legend: the blank, then the digits; "": 1-9, A-P, and any blank. */
  constructor(side, legend = "") {
    const characters = legend || alphabetOf(side);
    this.side = side;
    this.signs = new Map();
    [...characters].slice(1).forEach((char, i) => {
      this.signs.set(char.toLowerCase(), i + 1).set(char.toUpperCase(), i + 1);
    });
    this.blanks = [...BLANKS].filter((char) => !this.signs.has(char)).join("");
    this.plain = new Set([...this.signs.keys(), ...this.blanks.replace(" ", "")]);
    this.beyond = new Set(CHARACTERS.slice(1) + CHARACTERS.slice(1).toLowerCase());
    const ends = `${characters[1]}-${characters[side]}`;
    const digits = !legend && side > 9 ? `1-9 or A-${characters[side]}` : ends;
    const shown = [...this.blanks].filter((char) => !"X ".includes(char)).join(" ");
    this.wanted = `is neither a digit ${digits} nor a blank (${shown} or a space)`;
  }

  isBlank(sign) {
    return this.blanks.includes(sign);
  }

  /** The digit of a sign, 0 for a blank; undefined where it is none. numbered: the board is written in numbers. */
  value(sign, numbered) {
    if (numbered && /^[0-9]+$/.test(sign)) {
      return sign.length <= String(this.side).length && Number(sign) <= this.side ? Number(sign) : undefined;
    }
    return this.isBlank(sign) ? 0 : this.signs.get(sign);
  }

  /** Refuses all but as many cells as a board has. */
  checkCells(count) {
    if (count !== this.side ** 2) {
      throw new Refused(`${count} cells found, but this Sudoku has ${this.side ** 2}: add or remove some`);
    }
  }

  checkRows(rows, columns, what = "lines", end = "; each row is a line") {
    if (rows !== this.side || columns !== this.side) {
      const wanted = `this Sudoku is ${this.side} x ${this.side}`;
      throw new Refused(`${rows} ${what} of ${columns} cells found, but ${wanted}${end}`);
    }
  }

  /** The error of a sign that is none. at: the place on the board, where it is known. */
  unknown(cell, at) {
    let hint = "";
    if (cell.sign === "+") hint = ": if + marks a digit that was filled in, leave out both";
    else if (/^-[0-9]/.test(cell.sign)) hint = `: a blank is one sign, such as ${this.blanks[0]}`;
    const place = at === null ? "" : ` (r${at.row + 1}c${at.column + 1})`;
    return new Refused(`${shown(cell)} of the text${place} ${this.wanted}${hint}`);
  }

  /** The digits of a board of cells, 0 for a blank. */
  values(cells, numbered) {
    let first = null;
    return cells.map((cell, i) => {
      const at = { row: Math.floor(i / this.side), column: i % this.side };
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
