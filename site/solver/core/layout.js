/** The rows, columns and boxes of a Sudoku, and what its rules say of a board: digits [side * side], 0 for a blank. */
import { Grid } from "./grid.js";
import { Refused } from "./refused.js";
import { alphabetOf } from "./text/writing.js";

export class Layout extends Grid {
  /** box: its rows and columns, as "3x3". */
  constructor(box) {
    const [boxRows, boxCols] = box.split("x").map(Number);
    super(boxRows * boxCols, boxRows * boxCols);
    [this.boxRows, this.boxCols] = [boxRows, boxCols];
    this.side = this.rows;
    this.alphabet = alphabetOf(this.side);
    const parts = [
      ["row", (row) => row],
      ["column", (_, column) => column],
      ["box", (row, column) => this.boxRows * Math.floor(row / this.boxRows) + Math.floor(column / this.boxCols)],
    ];
    /** {name, cells}, each of which holds every digit once. */
    this.groups = parts.flatMap(([kind, numberOf]) => {
      const groups = Array.from({ length: this.side }, (_, i) => ({ name: `${kind} ${i + 1}`, cells: [] }));
      for (let cell = 0; cell < this.cells; cell++) {
        groups[numberOf(Math.floor(cell / this.side), cell % this.side)].cells.push(cell);
      }
      return groups;
    });
    /** Of each cell, the numbers of its groups. */
    this.groupsOf = Array.from({ length: this.cells }, () => []);
    this.groups.forEach((group, g) => group.cells.forEach((cell) => this.groupsOf[cell].push(g)));
  }

  /** Digits that stand twice in a group: {digit, group, cells}. */
  clashes(board) {
    const found = [];
    for (const group of this.groups) {
      for (let digit = 1; digit <= this.side; digit++) {
        const cells = group.cells.filter((cell) => board[cell] === digit);
        if (cells.length > 1) found.push({ digit, group: group.name, cells });
      }
    }
    return found;
  }

  /** Throws Refused for a board on which a digit stands twice in a group. */
  check(board) {
    const clashes = this.clashes(board);
    if (!clashes.length) return;
    const { digit, group, cells } = clashes[0];
    const places = cells.map((cell) => this.place(cell)).join(" and ");
    const cellsOfAll = [...new Set(clashes.flatMap((clash) => clash.cells))];
    throw new Refused(`${this.alphabet[digit]} stands twice in ${group}, at ${places}: change one of them`, cellsOfAll);
  }

  /** Whether a board is complete, keeps the clues of the question and has no digit twice in a group. */
  solves(board, question) {
    const kept = board.every((digit, cell) => digit > 0 && (question[cell] === 0 || question[cell] === digit));
    return kept && !this.clashes(board).length;
  }
}
