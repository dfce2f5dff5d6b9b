/** A board of rows and columns, whose cells are numbered from 0 in the order of rows. */
export class Grid {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.cells = rows * columns;
  }

  /** "row 3, column 7" */
  words(cell) {
    return `row ${Math.floor(cell / this.columns) + 1}, column ${(cell % this.columns) + 1}`;
  }

  /** "r3c7" */
  place(cell) {
    return `r${Math.floor(cell / this.columns) + 1}c${(cell % this.columns) + 1}`;
  }
}
