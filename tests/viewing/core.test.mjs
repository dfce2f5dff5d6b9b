// The core of the page (site/solver/core), without a browser and without a network: `node --test tests/viewing`.
import assert from "node:assert/strict";
import { test } from "node:test";

import { attempt } from "../../site/solver/core/attempt.js";
import { contradiction, countAnswers } from "../../site/solver/core/complete_search.js";
import { SUDOKUS, MAZES } from "../../site/solver/core/examples.js";
import { kindOf } from "../../site/solver/core/kinds.js";
import { Layout } from "../../site/solver/core/layout.js";
import { Maze } from "../../site/solver/core/maze.js";
import { Model } from "../../site/solver/core/model.js";
import { randomFrom } from "../../site/solver/core/random.js";
import { Refused, quoted } from "../../site/solver/core/refused.js";
import { search } from "../../site/solver/core/search.js";
import { Sudoku } from "../../site/solver/core/sudoku.js";
import { symmetry } from "../../site/solver/core/symmetry.js";
import { readMaze, readSudoku as read } from "../../site/solver/core/text/reading.js";
import { why } from "../../site/solver/core/why.js";

const FOUR = new Sudoku("2x2");
const PUZZLE = read(".21....4.....1..", 4);
const ANSWER = read("4213132424313142", 4);
const EMPTY = new Array(16).fill(0);

async function all(moments) {
  const found = [];
  for await (const moment of moments) found.push(moment);
  return found;
}

/** Candidates as the step gives them: what `keeps(cell, digit)` says. */
function set(keeps) {
  return Uint8Array.from({ length: 64 }, (_, i) => Number(keeps(Math.floor(i / 4), (i % 4) + 1)));
}

function logits(board) {
  return Float32Array.from({ length: 64 }, (_, i) => (board[Math.floor(i / 4)] === (i % 4) + 1 ? 3 : 0));
}

test("rows, columns and boxes of any shape", () => {
  const six = new Layout("2x3");
  assert.equal(six.side, 6);
  assert.equal(six.groups.length, 18);
  assert.deepEqual(six.groups.find((group) => group.name === "box 2").cells, [3, 4, 5, 9, 10, 11]);
  assert.ok(six.groups.every((group) => group.cells.length === 6));
  assert.equal(six.place(7), "r2c2");
});

test("what breaks the rules is said in words, with its cells", () => {
  const board = [...EMPTY];
  [board[4], board[6], board[8]] = [3, 3, 3];
  assert.throws(() => FOUR.check(board), (fault) => {
    assert.ok(fault instanceof Refused);
    assert.equal(fault.message, "3 stands twice in row 2, at r2c1 and r2c3: change one of them");
    assert.deepEqual(fault.cells, [4, 6, 8]);
    return true;
  });
  FOUR.check(PUZZLE);
  assert.ok(FOUR.solves(ANSWER, PUZZLE));
  assert.ok(!FOUR.solves(ANSWER, ANSWER.map((digit, cell) => (cell ? 0 : (digit % 4) + 1))), "a clue is changed");
  assert.ok(!FOUR.solves(EMPTY, EMPTY), "a board with blanks");
  assert.ok(!FOUR.solves(new Array(16).fill(1), EMPTY));
});

test("answers are counted, up to two", () => {
  assert.deepEqual(countAnswers(FOUR, ANSWER), { count: 1, answer: ANSWER, known: true });
  assert.equal(countAnswers(FOUR, EMPTY).count, 2);
  assert.equal(countAnswers(FOUR, EMPTY, 1000).count, 288); // all 4x4 Sudokus
  assert.equal(countAnswers(FOUR, EMPTY, 1000, 50).known, false);
  assert.equal(countAnswers(FOUR, [1, 1, ...EMPTY.slice(2)]).count, 0);
  for (const [box, examples] of Object.entries(SUDOKUS)) {
    const layout = new Layout(box);
    for (const [name, text] of examples) assert.equal(countAnswers(layout, read(text, layout.side)).count, 1, name);
  }
});

test("clues that leave no answer are named, and none too many", () => {
  // 1 to 8 in row 1, and a 9 below its empty cell; the 5 elsewhere has no part in it.
  const nine = new Layout("3x3");
  const board = new Array(81).fill(0);
  for (let cell = 0; cell < 8; cell++) board[cell] = cell + 1;
  [board[5 * 9 + 8], board[5 * 9 + 3]] = [9, 5];
  assert.equal(countAnswers(nine, board).count, 0);
  assert.deepEqual(contradiction(nine, board), [0, 1, 2, 3, 4, 5, 6, 7, 53]);
});

test("a symmetry gives the same puzzle in other clothes", () => {
  for (const layout of [FOUR, new Layout("2x3"), new Layout("3x3")]) {
    const { answer } = countAnswers(layout, new Array(layout.cells).fill(0), 1);
    for (let seed = 0; seed < 20; seed++) {
      const move = symmetry(layout, randomFrom(seed));
      const moved = move(answer);
      assert.ok(layout.solves(moved, move(answer.map((digit, cell) => (cell % 3 ? 0 : digit)))));
      assert.notDeepEqual(moved, answer);
    }
  }
});

test("random numbers repeat with their seed, and fill 0 to 1", () => {
  const [one, same, other] = [randomFrom(5), randomFrom(5), randomFrom(6)];
  const drawn = Array.from({ length: 1000 }, one);
  assert.deepEqual(drawn, Array.from({ length: 1000 }, same));
  assert.notEqual(drawn[0], other());
  assert.ok(drawn.every((x) => x >= 0 && x < 1));
  assert.ok(Math.abs(drawn.reduce((sum, x) => sum + x) / 1000 - 0.5) < 0.03);
});

test("a search starts chains in turn from the root and from the puzzle, and ends with an answer", async () => {
  const asked = [];
  const rootLeft = set((cell, digit) => cell !== 5 || digit === 3 || digit === 2);
  // No guess, then a contradiction, a full board that breaks the rules, one call that goes on, and the answer.
  const script = [
    { left: rootLeft }, { left: set(() => true), conflict: 1 }, { left: set((_, digit) => digit === 1), solved: 1 },
    { left: set((cell, digit) => cell > 3 || digit === ANSWER[cell]) },
    { left: set((cell, digit) => digit === ANSWER[cell]), solved: 1 },
  ];
  const call = async (feeds) => {
    const { left, conflict = 0, solved = 0 } = script[asked.length];
    asked.push(feeds);
    // It pins cell 5 to 3.
    const pinned = feeds.possible.map((one, i) => (feeds.pin[0] && Math.floor(i / 4) === 5 && i % 4 !== 2 ? 0 : one));
    return { asked: pinned, next_possible: left, next_symbols: logits(ANSWER), conflict: [conflict], solved: [solved] };
  };
  const found = await all(search(call, FOUR, PUZZLE, randomFrom(1), 100));
  assert.deepEqual(found.map((moment) => moment.event), ["call", "conflict", "wrong", "call", "answer"]);
  assert.deepEqual(found.map((moment) => moment.chain), [0, 1, 2, 3, 3]);
  assert.deepEqual(asked.map((feeds) => feeds.pin[0]), [0, 1, 1, 1, 1]);
  assert.deepEqual(asked[1].possible, rootLeft);
  assert.deepEqual(asked[2].possible, set(() => true));
  assert.deepEqual(asked[3].possible, rootLeft);
  assert.deepEqual(asked[4].possible, script[3].left);
  assert.ok(asked[1].symbols.some((logit) => logit > 0) && asked[0].symbols.every((logit) => logit === 0));
  assert.equal(found[0].guess, null);
  assert.deepEqual(found[1].guess, { cell: 5, digit: 3 });
  assert.deepEqual(found.at(-1).board, ANSWER);
  assert.deepEqual(found[0].left[5], [2, 3]);
  assert.ok(Math.abs(found[0].sure[5] - Math.exp(3) / (Math.exp(3) + 1)) < 1e-6);
});

test("a search whose first call is wrong starts from the puzzle; and it ends with its calls", async () => {
  const asked = [];
  const call = async (feeds) => {
    asked.push(feeds);
    return { asked: feeds.possible, next_possible: set(() => false), next_symbols: logits(ANSWER), conflict: [1], solved: [0] };
  };
  const found = await all(search(call, FOUR, PUZZLE, randomFrom(1), 4));
  assert.equal(found.length, 4);
  assert.ok(asked.every((feeds) => feeds.possible.every((one) => one === 1)));
});

test("an attempt hands its state on, and ends where the rules are kept", async () => {
  const asked = [];
  const states = [{ name: "y", shape: ["B", 2, 3] }, { name: "z", shape: ["B", 1] }];
  const call = async (feeds) => {
    asked.push(feeds);
    const board = asked.length < 3 ? ANSWER.map(() => 1) : ANSWER;
    const tokens = Float32Array.from({ length: 96 }, (_, i) => (i % 6 === board[Math.floor(i / 6)] + 1 ? 2 : 0));
    return { next_y: new Float32Array(6).fill(asked.length), next_z: new Float32Array(1), logits: tokens, q: [0.25] };
  };
  const found = await all(attempt(call, FOUR, PUZZLE, states, 10));
  assert.deepEqual(found.map((moment) => moment.event), ["call", "call", "answer"]);
  assert.deepEqual(asked.map((feeds) => feeds.fresh[0]), [1, 0, 0]);
  assert.deepEqual(asked.map((feeds) => feeds.y[0]), [0, 1, 2]);
  assert.deepEqual(found[2].board, ANSWER);
  assert.equal(found[0].q, 0.25);
});

test("what a cell rests on is what its lead loses without a clue", async () => {
  // The lead of digit 2 is 1, and each of two clues adds to it; the third speaks against it.
  const worth = new Map([[1, 3], [2, 1], [7, -0.5]]);
  const asked = [];
  const logitsOf = async (boards, cell) => boards.map((board) => {
    asked.push(board);
    assert.equal(cell, 0);
    return [0, [...worth].reduce((sum, [clue, effect]) => sum + (board[clue] ? effect : 0), 1), 0, 0];
  });
  const parts = [];
  const question = PUZZLE.map((digit, cell) => (worth.has(cell) ? digit : 0));
  const told = await why(logitsOf, question, 0, (part) => parts.push(part));
  assert.equal(told.digit, 2);
  assert.equal(told.lead, 4.5);
  assert.deepEqual(told.clues, [
    { cell: 1, effect: 3, share: 0.75 }, { cell: 2, effect: 1, share: 0.25 }, { cell: 7, effect: -0.5, share: 0 },
  ]);
  assert.equal(asked.length, 4);
  assert.equal(parts.at(-1), 1);
});

test("a model is asked in its own tokens, for as many boards as there are", async () => {
  const about = {
    puzzle: { kind: "sudoku", box: "2x2" }, model: { states: "candidates", supervision_steps: 3 },
    inputs: [{ name: "question" }, { name: "puzzle_id" }],
  };
  let feeds;
  const model = new Model(about, async (given, boards) => {
    feeds = given;
    return { next_symbols: new Float32Array(64 * boards) };
  });
  await model.why(PUZZLE, 0);
  assert.equal(feeds.question.length % 16, 0);
  assert.equal(feeds.question[0], 1); // the blank
  assert.equal(feeds.puzzle_id.length, feeds.question.length / 16);
  assert.equal(model.steps, 16);
});

const free = (text, rows, columns) => new Maze(rows, columns).read(text);

test("a cell of a Sudoku shows its digit, or what is possible in it", () => {
  const left = ANSWER.map((digit) => [digit]);
  [left[0], left[4]] = [[1, 4], []];
  const moment = { left, board: ANSWER, sure: new Array(16).fill(0.9), guess: null };
  const drawn = (cell) => FOUR.drawn(PUZZLE, moment, cell);
  assert.deepEqual(drawn(0), { text: "", marks: ["1", "", "", "4"], classes: [], sure: 1 });
  assert.deepEqual(drawn(3), { text: "3", marks: [], classes: [], sure: 0.9 });
  assert.deepEqual(drawn(4), { text: "", marks: [], classes: ["under"], sure: 1 });
  assert.deepEqual(drawn(1), { text: "2", marks: [], classes: ["clue", "beside"], sure: 0.9 });
  assert.deepEqual(["3", "0", ".", "5", "x", "Enter"].map((key) => FOUR.typed(key)), [3, 0, 0, undefined, undefined, undefined]);
  assert.deepEqual(["#", "s", "G", " ", "o", "5"].map((key) => new Maze(1, 1).typed(key)), [1, 3, 4, 0, undefined, undefined]);
});

test("mazes: ways are counted, and only a shortest one is an answer", () => {
  const maze = new Maze(3, 3);
  const question = maze.read("S #\n # \n  G");
  assert.deepEqual(question, [3, 0, 1, 0, 1, 0, 0, 0, 4]);
  assert.deepEqual(maze.answers(question), { count: 1, known: true });
  assert.equal(maze.doubt(question, { count: 1 }), "");
  const answer = [3, 2, 1, 5, 1, 2, 5, 5, 4];
  assert.ok(maze.solves(answer, question));
  assert.ok(!maze.solves(answer.map((value, cell) => (cell === 1 ? 5 : value)), question), "a cell too many");
  assert.ok(!maze.solves(answer.map((value, cell) => (cell === 6 ? 2 : value)), question), "a gap");
  assert.ok(!maze.solves([3, 5, 1, 5, 1, 2, 2, 5, 4], question), "as many cells, with a gap");
  assert.ok(!maze.solves([3, 5, 5, 2, 1, 5, 2, 2, 4], question), "through a wall");
  assert.ok(!maze.solves([3, 2, 1, 5, 1, 2, 5, 5, 3], question), "the goal is overwritten");
  assert.ok(!maze.solves([3, 1, 1, 5, 1, 2, 5, 5, 4], question), "a wall where there was none");
  const detour = new Maze(2, 4);
  assert.ok(!detour.solves([3, 2, 2, 4, 5, 5, 5, 5], detour.read("S  G    ")), "a longer way");
  assert.ok(detour.solves([3, 5, 5, 4, 2, 2, 2, 2], detour.read("S  G    ")));
  assert.match(new Maze(2, 2).doubt(free("SG  ", 2, 2), { count: 1 }), /^Some ways lead in circles/);
  // From the end of a row no step leads to the next.
  assert.equal(new Maze(2, 3).answers(free("#SG###", 2, 3)).count, 1);
  assert.equal(new Maze(2, 3).answers(free("##SG##", 2, 3)).count, 0);
  const ring = maze.read("S  \n # \n  G");
  assert.equal(maze.answers(ring).count, 2);
  assert.match(maze.doubt(ring, { count: 2 }), /^Several ways are shortest/);
  assert.ok(maze.solves([3, 5, 5, 2, 1, 5, 2, 2, 4], ring) && maze.solves([3, 2, 2, 5, 1, 2, 5, 5, 4], ring));
});

test("mazes: what is missing or contradicts is said in words, with its cells", () => {
  const maze = new Maze(2, 3);
  const refused = (text, message, cells) => assert.throws(() => maze.check(maze.read(text)), (fault) => {
    assert.ok(fault instanceof Refused);
    assert.equal(fault.message, message);
    assert.deepEqual(fault.cells, cells);
    return true;
  });
  refused("S G\n  S", "2 starts S, at r1c1 and r2c3: leave one of them", [0, 5]);
  refused("S G\nG  ", "2 goals G, at r1c3 and r2c1: leave one of them", [2, 3]);
  refused("SoG\n   ", "a path o at r1c2, which the network is to find: free such cells", [1]);
  maze.check(maze.read("S G\n   "));
  assert.equal(maze.missing(maze.read("      ")), "the board is empty: choose, paste or type a maze");
  assert.equal(maze.missing(maze.read("#G    ")), "there is no start: write S into a cell");
  assert.equal(maze.missing(maze.read("#S    ")), "there is no goal: write G into a cell");
  assert.equal(maze.missing(maze.read("SG    ")), "");
  const shut = maze.read("S#G\n ##");
  assert.equal(maze.answers(shut).count, 0);
  assert.deepEqual(maze.contradiction(shut), { message: "no way leads from S to G: free some walls", cells: [0, 2] });
});

test("mazes: each example has one way and no circle, also turned and mirrored", () => {
  for (const [size, examples] of Object.entries(MAZES)) {
    const [rows, columns] = size.split("x").map(Number);
    const maze = kindOf({ kind: "maze", shape: [rows, columns] });
    for (const [name, text] of examples) {
      const question = maze.read(text);
      for (let i = 0; i < 20; i++) {
        const moved = i ? maze.shuffled(question) : question;
        if (i) assert.notDeepEqual(moved, question);
        maze.check(moved);
        assert.equal(maze.missing(moved), "");
        assert.equal(maze.answers(moved).count, 1, name);
        assert.equal(maze.doubt(moved, { count: 1 }), "", name);
      }
    }
  }
  const flat = new Maze(1, 3);
  for (let i = 0; i < 20; i++) assert.deepEqual(flat.shuffled([3, 4, 1]).toSorted(), [1, 3, 4]);
});

test("mazes: the network gets their tokens, and cells look like what is left of them", async () => {
  const about = {
    puzzle: { kind: "maze", shape: [1, 4] }, model: { states: "candidates", supervision_steps: 3 },
    inputs: [{ name: "question" }],
  };
  let asked;
  const model = new Model(about, async (given) => {
    asked = given;
    const left = Uint8Array.from([0, 0, 1, 0, 0, /**/ 0, 0, 0, 0, 1, /**/ 0, 1, 0, 0, 1, /**/ 0, 0, 0, 1, 0]);
    return { next_possible: left, next_symbols: new Float32Array(20), conflict: [0], solved: [0] };
  });
  const question = model.kind.read("S  G");
  const { value } = await model.solve(question, randomFrom(1)).next();
  assert.deepEqual([...asked.question], [3, 2, 2, 4]);
  assert.deepEqual(value.left, [[3], [5], [2, 5], [4]]);
  const drawn = question.map((_, cell) => model.kind.drawn(question, value, cell));
  assert.deepEqual(drawn.map(({ text }) => text), ["S", "●", "·", "G"]);
  assert.deepEqual(drawn.map(({ classes }) => classes.at(-1)), ["start", "path", "open", "goal"]);
  value.left[2] = [2];
  assert.deepEqual(model.kind.drawn(question, value, 2).classes, ["off"]);
});

test("mazes: texts are read or refused in one line", () => {
  const tokens = [1, 3, 2, 4, 2, 2];
  for (const text of ["#S G  ", "#S \nG  ", '["#S ", "G  "]', "#,S, \nG, , ", "Maze 1:\n#S \nG  "]) {
    assert.deepEqual(readMaze(text, 2, 3), tokens, text);
  }
  const refused = (text, message) => assert.throws(() => readMaze(text, 2, 3), { name: "Refused", message });
  refused("#S.G  ", /^'\.' in line 1, column 3 of the text \(r1c3\) is none of '#' wall, ' ' free, 'S' start, 'G' goal, 'o' path$/);
  refused("#S \nG", /^line 2 has 1 cells, but line 1 has 3: each row is a line; were spaces at its end lost\?$/);
  refused("#SG", /^3 cells found, but a maze of 2 x 3 is needed$/);
  refused("#S\nG \n  ", /^3 lines of 2 cells found, but this maze is 2 x 3; each row is a line$/);
  refused("It was the best of times. ".repeat(1000), /^a text of 26,000 characters is no maze: give 2 rows of 3 cells/);
});

test("texts are read or refused in one line, however long", () => {
  assert.deepEqual(read("[[0,2,1,0],[0,0,0,4],[0,0,0,0],[0,1,0,0]]", 4), PUZZLE);
  assert.deepEqual(read(".2|1.\n..|.4\n--+--\n..|..\n.1|..", 4), PUZZLE);
  const novel = "It was the best of times, it was the worst of times. ".repeat(20_000);
  for (const text of [novel, novel.slice(0, 19_000), "[".repeat(19_000), "-".repeat(19_000), "1".repeat(19_000), " "]) {
    assert.throws(() => read(text, 9), (fault) => fault instanceof Refused && fault.message.length < 200);
  }
  assert.equal(quoted("a'b"), "\"a'b\"");
  assert.equal(quoted("\u0007\\"), "'\\x07\\\\'");
});
