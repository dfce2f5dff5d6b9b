/** A Sudoku model behind its ONNX step: what its metadata say, and the calls that search, attempt and why make of it. */
import { attempt, freshState, handedOn } from "./attempt.js";
import { Layout } from "./layout.js";
import { search } from "./search.js";
import { why } from "./why.js";

const FIRST_DIGIT = 2; // tokens: padding, the blank, 1, 2, ...
const MOST_CALLS = 1024;
const LEAST_STEPS = 16;

export class Model {
  /**
   * @param about metadata of the file, as docs/export.md has them
   * @param run arrays by name, and the number of boards, to arrays by name
   */
  constructor(about, run) {
    this.about = about;
    this.layout = new Layout(about.puzzle.box);
    this.searches = about.model.states === "candidates";
    this.states = about.inputs.filter((port) => port.name === "y" || port.name === "z");
    this.steps = Math.max(about.model.supervision_steps, LEAST_STEPS);
    this._run = run;
  }

  /** Yields what becomes of a puzzle, call by call. */
  solve(question, random) {
    const call = (feeds) => this._ask([question], feeds);
    return this.searches
      ? search(call, this.layout, question, random, MOST_CALLS)
      : attempt(call, this.layout, question, this.states, this.steps);
  }

  /** What the digit in a cell rests on. */
  why(question, cell, tell) {
    return why((boards) => this._logits(boards, cell), this.layout, question, cell, tell);
  }

  async _logits(boards, cell) {
    const { side, cells } = this.layout;
    const many = boards.length;
    let rows;
    if (this.searches) {
      const said = await this._ask(boards, {
        possible: new Uint8Array(many * cells * side).fill(1),
        symbols: new Float32Array(many * cells * side),
        pin: new Uint8Array(many),
        draws: new Float32Array(many * cells),
      });
      rows = { array: said.next_symbols, width: side, skip: 0 };
    } else {
      let [state, said] = [freshState(this.states, many), null];
      for (let step = 0; step < this.about.model.supervision_steps; step++) {
        said = await this._ask(boards, { ...state, fresh: new Uint8Array(many).fill(step === 0 ? 1 : 0) });
        state = handedOn(this.states, said);
      }
      rows = { array: said.logits, width: side + 2, skip: FIRST_DIGIT };
    }
    return boards.map((_, i) => {
      const start = (i * cells + cell) * rows.width + rows.skip;
      return Array.from(rows.array.subarray(start, start + side));
    });
  }

  _ask(boards, feeds) {
    const question = Int32Array.from(boards.flat(), (digit) => digit + FIRST_DIGIT - 1);
    const takesId = this.about.inputs.some((port) => port.name === "puzzle_id");
    const id = takesId ? { puzzle_id: new Int32Array(boards.length) } : {};
    return this._run({ question, ...id, ...feeds }, boards.length);
  }
}
