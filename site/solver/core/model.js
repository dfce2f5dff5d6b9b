/** A model behind its ONNX step: what its metadata say, and the calls that search, attempt and why make of it. */
import { attempt, freshState, handedOn } from "./attempt.js";
import { kindOf } from "./kinds.js";
import { search } from "./search.js";
import { why } from "./why.js";

const MOST_CALLS = 1024;
const LEAST_STEPS = 16;

export class Model {
  /**
   * @param about metadata of the file, as docs/export.md has them
   * @param run arrays by name, and the number of boards, to arrays by name
   */
  constructor(about, run) {
    this.about = about;
    this.kind = kindOf(about.puzzle);
    this.searches = about.model.states === "candidates";
    this.states = about.inputs.filter((port) => port.name === "y" || port.name === "z");
    this.steps = Math.max(about.model.supervision_steps, LEAST_STEPS);
    this._run = run;
  }

  /** Yields what becomes of a puzzle, call by call. */
  solve(question, random) {
    const call = (feeds) => this._ask([question], feeds);
    return this.searches
      ? search(call, this.kind, question, random, MOST_CALLS)
      : attempt(call, this.kind, question, this.states, this.steps);
  }

  /** What the digit in a cell rests on. */
  why(question, cell, tell) {
    return why((boards) => this._logits(boards, cell), question, cell, tell);
  }

  async _logits(boards, cell) {
    const { choices, firstToken, cells } = this.kind;
    const many = boards.length;
    let rows;
    if (this.searches) {
      const said = await this._ask(boards, {
        possible: new Uint8Array(many * cells * choices).fill(1),
        symbols: new Float32Array(many * cells * choices),
        pin: new Uint8Array(many),
        draws: new Float32Array(many * cells),
      });
      rows = { array: said.next_symbols, width: choices, skip: 0 };
    } else {
      let [state, said] = [freshState(this.states, many), null];
      for (let step = 0; step < this.about.model.supervision_steps; step++) {
        said = await this._ask(boards, { ...state, fresh: new Uint8Array(many).fill(step === 0 ? 1 : 0) });
        state = handedOn(this.states, said);
      }
      rows = { array: said.logits, width: firstToken + choices, skip: firstToken };
    }
    return boards.map((_, i) => {
      const start = (i * cells + cell) * rows.width + rows.skip;
      return Array.from(rows.array.subarray(start, start + choices));
    });
  }

  _ask(boards, feeds) {
    const { blankToken, firstToken } = this.kind;
    const question = Int32Array.from(boards.flat(), (value) => (value ? firstToken + value - 1 : blankToken));
    const takesId = this.about.inputs.some((port) => port.name === "puzzle_id");
    const id = takesId ? { puzzle_id: new Int32Array(boards.length) } : {};
    return this._run({ question, ...id, ...feeds }, boards.length);
  }
}
