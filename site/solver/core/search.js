/**
 * How a model of candidates finds an answer: calls of its network, guesses, and beginning again after a contradiction.
 *
 * As `trm solve --chains 1`: the first call makes no guess. What it leaves is where every other chain starts; the rest
 * start from the puzzle, since what was lost by mistake is lost to all that follows. A chain pins a cell to its
 * likeliest digit and calls, until it is solved or in contradiction. The rules have the last word.
 */

/**
 * What a call came to.
 * @typedef {object} Moment
 * @property {number} call from 1
 * @property {number} chain from 1; 0: before the first guess
 * @property {"call" | "conflict" | "wrong" | "answer"} event wrong: a full board that breaks the rules
 * @property {number[]} board what each cell has, its likeliest digit
 * @property {number[]} sure how likely that is, 0 to 1
 * @property {number[][]} left of each cell, the digits that are left
 * @property {?{cell: number, digit: number}} guess
 */

/**
 * Yields a Moment for each call; the last is the answer, or the calls are used up.
 * @param call inputs of the ONNX step, without the question, to its outputs; of one board
 */
export async function* search(call, kind, question, random, calls) {
  const { choices, cells } = kind;
  const everything = () => new Uint8Array(cells * choices).fill(1);
  let root = { possible: everything(), symbols: new Float32Array(cells * choices) };
  let here = root;
  let chain = 0;
  for (let number = 1; number <= calls; number++) {
    const draws = Float32Array.from({ length: cells }, random);
    const said = await call({ ...here, pin: new Uint8Array([chain > 0 ? 1 : 0]), draws });
    const after = { possible: said.next_possible, symbols: said.next_symbols };
    const moment = { call: number, chain, event: "call", ...readout(kind, question, after) };
    moment.guess = chain > 0 ? guessed(kind, question, here.possible, said.asked) : null;
    if (said.conflict[0]) moment.event = "conflict";
    else if (said.solved[0]) moment.event = kind.solves(moment.board, question) ? "answer" : "wrong";
    yield moment;
    if (moment.event === "answer") return;
    const over = moment.event !== "call";
    // Where the network is wrong before a guess is made, chains start from the puzzle.
    if (chain === 0) root = over ? { possible: everything(), symbols: after.symbols } : after;
    here = after;
    if (over || chain === 0) {
      chain += 1;
      here = chain % 2 ? root : { possible: everything(), symbols: root.symbols };
    }
  }
}

/** Of each cell the likeliest digit, how sure it is, and what is left. */
function readout({ choices, cells }, question, { possible, symbols }) {
  const [board, sure, left] = [[], [], []];
  for (let cell = 0; cell < cells; cell++) {
    const digits = Array.from({ length: choices }, (_, i) => i + 1).filter((digit) => possible[cell * choices + digit - 1]);
    const { digit, probability } = likeliest(digits, (each) => symbols[cell * choices + each - 1]);
    board.push(question[cell] || digit);
    sure.push(question[cell] ? 1 : probability);
    left.push(digits);
  }
  return { board, sure, left };
}

/** Of some digits the one with the largest logit, and its probability among them; digit 0 of none. */
export function likeliest(digits, logit) {
  if (!digits.length) return { digit: 0, probability: 0 };
  const top = digits.reduce((best, each) => (logit(each) > logit(best) ? each : best));
  const sum = digits.reduce((total, each) => total + Math.exp(logit(each) - logit(top)), 0);
  return { digit: top, probability: 1 / sum };
}

/** The cell that was pinned for a call, and to what; null where no cell had a choice. */
function guessed({ choices, cells }, question, before, asked) {
  const digitsOf = (set, cell) => set.subarray(cell * choices, (cell + 1) * choices);
  const count = (set, cell) => digitsOf(set, cell).reduce((sum, each) => sum + each, 0);
  for (let cell = 0; cell < cells; cell++) {
    if (!question[cell] && count(asked, cell) < count(before, cell)) {
      return { cell, digit: digitsOf(asked, cell).indexOf(1) + 1 };
    }
  }
  return null;
}
