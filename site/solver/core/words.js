/** What the page says in words: of a puzzle, of the network's calls, of an answer and of a cell. */

const UNSURE = 0.5; // lead of a digit, in logits, up to which the network is said not to be sure of it

export class Words {
  /**
   * @param kind as of kinds.js
   * @param searches whether the model is one of candidates
   */
  constructor(kind, searches) {
    this._kind = kind;
    this._searches = searches;
  }

  /** Of a puzzle before the first call; note: how it came here, in place of what is given. */
  start(question, note = "") {
    const missing = this._kind.missing(question);
    return missing ? `${capital(missing)}.` : `${note || `${this._kind.given(question)}.`} Press Solve.`;
  }

  /** Of a call that has not come to an answer; moment: as of search.js. */
  call(moment, question) {
    const kind = this._kind;
    if (!this._searches) {
      const sure = `${percent(moment.q)} sure`;
      return `Step ${moment.call}: the network has written a board, and is ${sure}; it breaks the rules still.`;
    }
    const guess = moment.guess
      ? `guess ${kind.called(moment.guess.digit)} at ${kind.place(moment.guess.cell)}. `
      : "no guess yet. ";
    const start = `Look ${moment.call}: ${guess}`;
    if (moment.event === "conflict") return `${start}That leads into a contradiction: back to the start of the guesses.`;
    if (moment.event === "wrong") return `${start}The board is full, but breaks the rules: back to the start of the guesses.`;
    const decided = moment.left.filter((left, cell) => left.length === 1 && !question[cell]).length;
    const open = question.filter((value) => !value).length;
    return `${start}${decided} of ${open} ${kind.called(0)} cells are decided.`;
  }

  /** Of any call, for the list of them. */
  listed(moment, question) {
    if (moment.event !== "answer") return this.call(moment, question);
    return `${this._searches ? "Look" : "Step"} ${moment.call}: the answer.`;
  }

  /** Of an attempt without an answer, after so many calls; doubt: why there may be none, "" for no reason. */
  givenUp(calls, doubt) {
    const advice = this._searches ? "Solve again: the network will guess otherwise" : "Shuffle the puzzle, and try again";
    return `No answer after ${calls} ${this._searches ? "looks" : "steps"}. ${doubt || advice}.`;
  }

  /** Of an answer; answers: {count, known}, what a search without the network has found. */
  solved({ call, chain }, { count, known }) {
    const steps = this._searches
      ? `${many(call, "look")} at the board${chain ? ` and ${many(chain, "round")} of guesses` : ", without a guess"}`
      : many(call, "step");
    const others = !known ? "Whether there are others is not known."
      : count > 1 ? "The puzzle has other answers, too." : "It is the only answer.";
    return `Solved after ${steps}. Checked: ${this._kind.says.solved}. ${others}`;
  }

  /** Of a cell; moment: null before the first call. */
  cell(cell, question, moment) {
    const kind = this._kind;
    const place = capital(kind.words(cell));
    if (question[cell]) return `${place}: ${kind.clue(question[cell])}.`;
    if (!moment) return `${place} is ${kind.called(0)}.`;
    const left = moment.left[cell];
    if (!left.length) return `${place}: nothing is possible any more, so a guess was wrong.`;
    const sure = percent(moment.sure[cell]);
    if (left.length === 1) return `${place}: ${kind.called(left[0])}${this._searches ? ", all else is crossed out" : ` (${sure} sure)`}.`;
    const possible = left.map((value) => kind.called(value)).join(", ");
    return `${place}: ${possible} possible; likeliest is ${kind.called(moment.board[cell])} (${sure}).`;
  }

  /** Before a list of the clues that a cell rests on; told: as of why.js. */
  why(cell, { digit, lead }) {
    const [called, place] = [this._kind.called(digit), this._kind.words(cell)];
    return lead > UNSURE
      ? `${this._searches ? "Before any guess the" : "The"} network says ${called} in ${place}. That rests on these clues, the strongest first:`
      : `${this._searches ? "Before any guess the" : "The"} network is not sure of ${place}. It leans to ${called}, by these clues:`;
  }

  /** One of these clues. */
  clue({ cell, share }, question) {
    return `${this._kind.called(question[cell])} in ${this._kind.words(cell)}: ${percent(share)}`;
  }

  /** How a network of so many weights finds an answer. */
  how(weights) {
    const looks = `A network of ${weights.toLocaleString("en")} weights looks at the board and`;
    return this._searches
      ? `${looks} crosses out what it holds to be impossible. Where that is not enough, it guesses a cell and looks again; a contradiction sends it back, and it guesses otherwise.`
      : `${looks} writes an answer, and improves it step by step.`;
  }
}

export function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

export function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function many(count, what) {
  return `${count} ${what}${count > 1 ? "s" : ""}`;
}
