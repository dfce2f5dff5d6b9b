/** The puzzle on the board and the attempt at it: the network's calls one after another, and each as it is shown. */
import { randomFrom } from "./core/random.js";
import { Refused } from "./core/refused.js";
import { capital } from "./core/words.js";

const UNHURRIED = 25; // calls, after which the page no longer waits between two

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Solving {
  /**
   * @param model as of core/model.js
   * @param network as of network.js
   * @param words as of core/words.js
   * @param shown {board, report, pace(), changed(), moved()}: as of board.js and report.js; milliseconds between two
   *   calls; what is told that it goes on, stops or has drawn the board; and what is told of another moment
   */
  constructor(model, network, words, shown) {
    this._model = model;
    this._kind = model.kind;
    this._network = network;
    this._words = words;
    this._shown = shown;
    this._seed = 0;
    this._pending = Promise.resolve();
    this.question = new Array(this._kind.cells).fill(0);
    this.loaded = false;
    /** The last call, as of core/search.js; null before the first. */
    this.moment = null;
    /** Whether nothing more is to be done. */
    this.over = false;
  }

  /** Whether it goes on by itself. */
  get goesOn() {
    return Boolean(this._turn);
  }

  /** The network is here. */
  ready() {
    this.loaded = true;
    this.begin();
  }

  /** The puzzle as it stands, before the first call. note: what is said of it. */
  begin(note = "") {
    this._turn = this._run = null; // whatever goes on has lost the board
    this.moment = null;
    this.over = false;
    this._shown.report.forget();
    this.show();
    this._shown.moved();
    try {
      this._kind.check(this.question);
      if (this.loaded) this.tell(this._words.start(this.question, note));
    } catch (fault) {
      this._refuse(fault);
    }
  }

  /** Another puzzle. */
  take(question, note) {
    this.question = question;
    this.begin(note);
  }

  write(cell, value) {
    this.question[cell] = value;
    this.begin();
  }

  /** Goes on until the end; where it goes on already, stops. */
  async solve() {
    if (this._turn) {
      this.pause();
      return;
    }
    if (this.over) this.begin();
    const turn = {};
    this._turn = turn;
    this._shown.changed();
    while ((await this.step()) && this._turn === turn) {
      const pace = this._shown.pace() * Math.max(0, 1 - this.moment.call / UNHURRIED);
      await wait(this.moment.event === "call" ? pace : 2 * pace);
      if (this._turn !== turn) break;
    }
    if (this._turn === turn) this.pause();
  }

  pause() {
    this._turn = null;
    this._shown.changed();
  }

  /** One call, after those that are under way; false where there is nothing more to do. */
  step() {
    this._pending = this._pending.then(() => this._stepped());
    return this._pending;
  }

  /** Draws the board. rests: clues to be marked, with their shares. */
  show(rests = new Map()) {
    this._shown.board.show(this.question, this.moment, { rests });
    this._shown.changed();
  }

  tell(said, kind = "") {
    this._shown.report.tell(said, kind, this.goesOn && !kind);
  }

  async _stepped() {
    try {
      const run = this._run ?? (await this._started());
      if (!run || this.over) return false;
      this._run = run;
      const { value, done } = await run.next();
      if (this._run !== run) return false; // another puzzle has come meanwhile
      this.over = done || value.event === "answer";
      if (done) {
        this.tell(this._words.givenUp(this.moment.call, this._doubt), "refused");
        return false;
      }
      this.moment = value;
      this.show();
      this._shown.moved();
      const back = value.event === "conflict" || value.event === "wrong";
      this._shown.report.note(this._words.listed(value, this.question), back);
      if (this.over) this.tell(this._words.solved(value, this._answers), "solved");
      else this.tell(this._words.call(value, this.question));
      return !this.over;
    } catch (fault) {
      this._refuse(fault);
      return false;
    }
  }

  /** The calls on a puzzle that may have an answer; null where the board has changed meanwhile. */
  async _started() {
    const question = [...this.question];
    this._kind.check(question);
    const missing = this._kind.missing(question);
    if (missing) throw new Refused(missing);
    this.tell("Thinking …");
    this._answers = await this._network.ask("answers", question);
    if (this._answers.known && !this._answers.count) {
      const { message, cells } = await this._network.ask("contradiction", question);
      throw new Refused(message, cells);
    }
    if (question.some((value, cell) => value !== this.question[cell])) return null;
    this._doubt = this._kind.doubt(question, this._answers);
    if (this._doubt) this._shown.report.note(`${this._doubt}.`);
    this._seed += 1;
    return this._model.solve(question, randomFrom(this._seed));
  }

  _refuse(fault) {
    this.pause();
    if (!(fault instanceof Refused)) {
      this.tell(`The network has stopped: ${fault.message}. Load the page again.`, "refused");
      reportError(fault);
      return;
    }
    this.tell(`${capital(fault.message)}.`, "refused");
    this._shown.board.show(this.question, null, { wrong: fault.cells });
  }
}
