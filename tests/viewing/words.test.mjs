// What the page says in words (site/solver/core/words.js): `node --test tests/viewing`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { Maze } from "../../site/solver/core/maze.js";
import { Sudoku } from "../../site/solver/core/sudoku.js";
import { Words } from "../../site/solver/core/words.js";

const FOUR = new Sudoku("2x2");
const QUESTION = FOUR.read(".21....4.....1..");
const ANSWER = FOUR.read("4213132424313142");
const searching = new Words(FOUR, true);
const attempting = new Words(FOUR, false);

/** A call after which a cell is decided, one has a choice, and all others have no candidate left. */
const MOMENT = {
  call: 3, chain: 2, event: "call", board: ANSWER, guess: { cell: 4, digit: 1 }, q: 0.254,
  sure: new Array(16).fill(0.876),
  left: ANSWER.map((digit, cell) => (cell === 0 ? [digit] : cell === 3 ? [2, 3] : [])),
};

test("a puzzle before the first call", () => {
  assert.equal(searching.start(QUESTION), "4 clues. Press Solve.");
  assert.equal(searching.start(QUESTION, "Shuffled."), "Shuffled. Press Solve.");
  const empty = new Array(16).fill(0);
  assert.equal(searching.start(empty, "Shuffled."), "The board is empty: choose, paste or type a puzzle.");
});

test("a look: its guess, what it decided, or why it goes back", () => {
  const said = (changes) => searching.call({ ...MOMENT, ...changes }, QUESTION);
  assert.equal(said({}), "Look 3: guess 1 at r2c1. 1 of 12 empty cells are decided.");
  assert.equal(said({ guess: null }), "Look 3: no guess yet. 1 of 12 empty cells are decided.");
  const clues = ANSWER.map((digit, cell) => (QUESTION[cell] ? [digit] : []));
  assert.equal(said({ left: clues }), "Look 3: guess 1 at r2c1. 0 of 12 empty cells are decided.", "clues are not counted");
  assert.match(said({ event: "conflict" }), /^Look 3: guess 1 at r2c1\. That leads into a contradiction: back to /);
  assert.match(said({ event: "wrong" }), /^Look 3: guess 1 at r2c1\. The board is full, but breaks the rules: back to /);
  for (const moment of [MOMENT, { ...MOMENT, event: "conflict" }]) {
    assert.equal(searching.listed(moment, QUESTION), searching.call(moment, QUESTION));
  }
  assert.equal(searching.listed({ ...MOMENT, event: "answer" }, QUESTION), "Look 3: the answer.");
});

test("a step: how sure the network is", () => {
  const said = "Step 3: the network has written a board, and is 25 % sure; it breaks the rules still.";
  assert.equal(attempting.call(MOMENT, QUESTION), said);
  assert.equal(attempting.listed({ ...MOMENT, event: "answer" }, QUESTION), "Step 3: the answer.");
});

test("the end: an answer, what is known of others, or none", () => {
  const rules = "Checked: each row, column and box has every digit once, and all clues stand.";
  const said = (words, changes, count, known = true) => words.solved({ ...MOMENT, ...changes }, { count, known });
  assert.equal(said(searching, {}, 1), `Solved after 3 looks at the board and 2 rounds of guesses. ${rules} It is the only answer.`);
  assert.equal(
    said(searching, { call: 1, chain: 0 }, 2),
    `Solved after 1 look at the board, without a guess. ${rules} The puzzle has other answers, too.`,
  );
  assert.equal(said(attempting, {}, 1, false), `Solved after 3 steps. ${rules} Whether there are others is not known.`);
  assert.equal(searching.givenUp(1024, ""), "No answer after 1024 looks. Solve again: the network will guess otherwise.");
  assert.equal(attempting.givenUp(16, ""), "No answer after 16 steps. Shuffle the puzzle, and try again.");
  assert.equal(searching.givenUp(1024, "It has two"), "No answer after 1024 looks. It has two.");
});

test("a cell: a clue, what is left of it, or nothing", () => {
  const said = (cell, moment = MOMENT, words = searching) => words.cell(cell, QUESTION, moment);
  assert.equal(said(1), "Row 1, column 2: clue 2.");
  assert.equal(said(0, null), "Row 1, column 1 is empty.");
  assert.equal(said(0), "Row 1, column 1: 4, all else is crossed out.");
  assert.equal(said(0, MOMENT, attempting), "Row 1, column 1: 4 (88 % sure).");
  assert.equal(said(3), "Row 1, column 4: 2, 3 possible; likeliest is 3 (88 %).");
  assert.equal(said(5), "Row 2, column 2: nothing is possible any more, so a guess was wrong.");
});

test("the clues that a cell rests on, and whether the network is sure of it", () => {
  assert.equal(
    searching.why(0, { digit: 4, lead: 0.6 }),
    "Before any guess the network says 4 in row 1, column 1. That rests on these clues, the strongest first:",
  );
  assert.equal(
    attempting.why(0, { digit: 4, lead: 0.5 }),
    "The network is not sure of row 1, column 1. It leans to 4, by these clues:",
  );
  assert.equal(searching.clue({ cell: 7, share: 0.416 }, QUESTION), "4 in row 2, column 4: 42 %");
});

test("mazes are told in their own words", () => {
  const maze = new Maze(1, 4);
  const words = new Words(maze, true);
  const question = maze.read("S  G");
  const moment = { ...MOMENT, board: [3, 5, 5, 4], left: [[3], [5], [2, 5], [4]], guess: { cell: 2, digit: 5 } };
  assert.equal(words.call(moment, question), "Look 3: guess path at r1c3. 1 of 2 free cells are decided.");
  assert.equal(words.cell(2, question, moment), "Row 1, column 3: no path, path possible; likeliest is path (88 %).");
});

test("how a network finds an answer", () => {
  assert.match(searching.how(53_210), /^A network of 53,210 weights looks at the board and crosses out /);
  assert.match(attempting.how(53_210), /^A network of 53,210 weights looks at the board and writes an answer, /);
});
