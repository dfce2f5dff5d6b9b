/** How a model that carries y and z finds an answer: supervision steps, each of which writes the whole board anew. */
import { likeliest } from "./search.js";

/**
 * Yields a Moment, as `search` does, for each supervision step; the last is the answer, or the steps are used up.
 * @param call inputs of the ONNX step, without the question, to its outputs; of one board
 * @param states of the model's metadata, the inputs that are handed on: {name, shape}
 */
export async function* attempt(call, kind, question, states, steps) {
  let state = freshState(states, 1);
  for (let number = 1; number <= steps; number++) {
    const said = await call({ ...state, fresh: new Uint8Array([number === 1 ? 1 : 0]) });
    state = handedOn(states, said);
    const { board, sure } = readout(kind, said.logits);
    const event = kind.solves(board, question) ? "answer" : "call";
    yield { call: number, chain: 0, event, board, sure, left: board.map((digit) => [digit]), guess: null, q: said.q[0] };
    if (event === "answer") return;
  }
}

/** What a step takes that begins, whatever it holds; of so many boards. */
export function freshState(states, boards) {
  return Object.fromEntries(states.map(({ name, shape }) => {
    const size = shape.slice(1).reduce((product, each) => product * each, boards);
    return [name, new Float32Array(size)];
  }));
}

/** What a step takes after another. */
export function handedOn(states, said) {
  return Object.fromEntries(states.map(({ name }) => [name, said[`next_${name}`]]));
}

/** Of each cell the likeliest digit and its probability, by logits of tokens. */
function readout({ choices, firstToken, cells }, logits) {
  const digits = Array.from({ length: choices }, (_, i) => i + 1);
  const width = firstToken + choices;
  const read = Array.from({ length: cells }, (_, cell) =>
    likeliest(digits, (digit) => logits[cell * width + firstToken + digit - 1]));
  return { board: read.map((each) => each.digit), sure: read.map((each) => each.probability) };
}
