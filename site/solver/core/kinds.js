/**
 * The kinds of puzzle that the page knows. What is of one kind stands in its class and nowhere else: how its texts are
 * read, its rules, its examples, how a cell looks and what it is called.
 *
 * A board is an array of values, of each cell in the order of rows: 0 where the network is to fill it, else a symbol, 1
 * to `choices`. To the network 0 is `blankToken`, and the symbols are tokens from `firstToken` on.
 */
import { Maze } from "./maze.js";
import { Sudoku } from "./sudoku.js";

/** puzzle: as the metadata of a model have it. */
export function kindOf(puzzle) {
  return puzzle.kind === "maze" ? new Maze(...puzzle.shape) : new Sudoku(puzzle.box);
}
