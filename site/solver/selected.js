/** What the page tells of the selected cell: what is left of it, and on request which clues it rests on. */
import { percent } from "./core/words.js";
import { line } from "./report.js";

const MOST_CLUES = 8;
const LEAST_SHARE = 0.03; // of a clue that is named

export class Selected {
  /**
   * @param model as of core/model.js
   * @param words as of core/words.js
   * @param board as of board.js
   * @param solving as of solving.js
   * @param elements {said, clues, why}: a line, a list, and the button that asks for the clues
   */
  constructor(model, words, board, solving, elements) {
    this._model = model;
    this._words = words;
    this._board = board;
    this._solving = solving;
    this._elements = elements;
    this._pointed = false; // whether a cell was ever selected
    this._marked = false; // whether clues are marked on the board
    this._asks = elements.why.textContent;
  }

  /** A cell is selected. */
  point() {
    this._pointed = true;
    this.tell();
  }

  /** What is known of it now. */
  tell() {
    if (!this._pointed) return;
    const { question, moment, loaded } = this._solving;
    const { said, clues, why } = this._elements;
    const cell = this._board.selected;
    clues.replaceChildren();
    why.hidden = !this._model.kind.explains || !loaded || question[cell] > 0 || !question.some(Boolean);
    if (this._marked) this._mark([]);
    said.textContent = this._words.cell(cell, question, moment);
  }

  async tellWhy() {
    const { said, clues, why } = this._elements;
    const cell = this._board.selected;
    const question = [...this._solving.question];
    why.disabled = true;
    try {
      const told = await this._model.why(question, cell, (done) => {
        why.textContent = `Taking clues away, one by one: ${percent(done)}`;
      });
      if (cell !== this._board.selected || question.some((value, at) => value !== this._solving.question[at])) return;
      const strong = told.clues.filter((clue) => clue.share >= LEAST_SHARE).slice(0, MOST_CLUES);
      this._mark(strong);
      clues.replaceChildren(...strong.map((clue) => line(this._words.clue(clue, question))));
      said.textContent = this._words.why(cell, told);
      why.hidden = true;
    } finally {
      why.disabled = false;
      why.textContent = this._asks;
    }
  }

  _mark(clues) {
    this._marked = clues.length > 0;
    this._solving.show(new Map(clues.map((clue) => [clue.cell, clue.share])));
  }
}
