/** The page: puzzles in, the network's calls one after another, and in words what they came to. */
import { Board } from "./board.js";
import { Model } from "./core/model.js";
import { randomFrom } from "./core/random.js";
import { Refused } from "./core/refused.js";
import { symmetry } from "./core/symmetry.js";
import { read } from "./core/text/reading.js";
import { EXAMPLES } from "./examples.js";
import { Network } from "./network.js";

const LOG_LINES = 200;
const UNHURRIED = 25; // calls, after which the page no longer waits between two

const TYPING = 800; // milliseconds without a key, after which a text that is too short is told so
const UNSURE = 0.5; // lead of a digit, in logits, up to which the network is said not to be sure of it
const SEVERAL = "The puzzle has more than one answer, and the network learned from puzzles that have one";

const part = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Page {
  constructor(settings, network) {
    this.network = network;
    this.model = new Model(settings.about, (arrays, boards) => network.ask("run", arrays, boards));
    this.layout = this.model.layout;
    this.board = new Board(part("board"), this.layout, {
      write: (cell, digit) => this.write(cell, digit),
      select: () => {
        this.pointed = true;
        this.tellCell();
      },
    });
    this.question = new Array(this.layout.cells).fill(0);
    this.loaded = false;
    this.pointed = false; // whether a cell was ever selected
    this.seed = 0;
    this.pending = Promise.resolve();
    this.begin();
  }

  /** The puzzle as it stands, before the first call. note: what is said instead of how to go on. */
  begin(note = "") {
    this.turn = this.run = null; // whatever goes on has lost the board
    this.moment = null;
    this.rests = new Map();
    this.over = false;
    part("log").replaceChildren();
    this.show();
    this.tellCell();
    const clues = this.question.filter(Boolean).length;
    try {
      this.layout.check(this.question);
      if (!this.loaded) return;
      this.tell(note || (clues ? `${clues} clues. Press Solve.` : "The board is empty: choose, paste or type a puzzle."));
    } catch (fault) {
      this.refuse(fault);
    }
  }

  /** Another puzzle. */
  take(question, note) {
    this.question = question;
    this.begin(note);
  }

  write(cell, digit) {
    this.question[cell] = digit;
    part("examples").value = "";
    this.begin();
  }

  readText(text) {
    const said = part("text-said");
    said.classList.remove("refused");
    said.textContent = "";
    if (!text.trim()) return;
    try {
      const question = read(text, this.layout.side);
      part("examples").value = "";
      this.take(question);
      said.textContent = `Read: ${question.filter(Boolean).length} clues are on the board.`;
    } catch (fault) {
      if (!(fault instanceof Refused)) throw fault;
      said.classList.add("refused");
      said.textContent = `Not read: ${fault.message}.`;
    }
  }

  /** Goes on until the end; where it goes on already, stops. */
  async solve() {
    if (this.turn) {
      this.pause();
      return;
    }
    if (this.over) this.begin();
    const turn = {};
    this.turn = turn;
    this.label();
    while ((await this.step()) && this.turn === turn) {
      const wait = Number(part("pace").value) * Math.max(0, 1 - this.moment.call / UNHURRIED);
      await pause(this.moment.event === "call" ? wait : 2 * wait);
      if (this.turn !== turn) break;
    }
    if (this.turn === turn) this.pause();
  }

  pause() {
    this.turn = null;
    this.label();
  }

  label() {
    part("solve").textContent = this.turn ? "Pause" : this.over ? "Solve again" : this.moment ? "Go on" : "Solve";
  }

  /** One call, after those that are under way; false where there is nothing more to do. */
  step() {
    this.pending = this.pending.then(() => this.stepped());
    return this.pending;
  }

  async stepped() {
    try {
      const run = this.run ?? (await this.started());
      if (!run || this.over) return false;
      this.run = run;
      const { value, done } = await run.next();
      if (this.run !== run) return false; // another puzzle has come meanwhile
      this.over = done || value.event === "answer";
      if (done) {
        this.tell(this.givenUp(), "refused");
        return false;
      }
      this.moment = value;
      this.rests = new Map();
      this.show();
      this.tellCell();
      this.log(value);
      if (this.over) this.certify();
      else this.tell(this.words(value));
      return !this.over;
    } catch (fault) {
      this.refuse(fault);
      return false;
    }
  }

  /** The calls on a puzzle that may have an answer; null where the board has changed meanwhile. */
  async started() {
    const question = [...this.question];
    this.layout.check(question);
    if (!question.some(Boolean)) throw new Refused("the board is empty: choose, paste or type a puzzle");
    this.tell("Thinking …");
    this.answers = await this.network.ask("count", question);
    if (this.answers.known && !this.answers.count) {
      const cells = await this.network.ask("contradiction", question);
      const places = cells.map((cell) => this.layout.place(cell));
      const which = cells.length < 13 ? places.join(", ") : `${places.slice(0, 12).join(", ")} and ${cells.length - 12} more`;
      throw new Refused(`no answer has these clues together: ${which}. Change one of them`, cells);
    }
    if (question.some((digit, cell) => digit !== this.question[cell])) return null;
    if (this.answers.count > 1) this.note(`${SEVERAL}.`);
    this.seed += 1;
    return this.model.solve(question, randomFrom(this.seed));
  }

  givenUp() {
    const looks = this.model.searches ? "looks" : "steps";
    if (this.answers.count > 1) return `No answer after ${this.moment.call} ${looks}. ${SEVERAL}: add clues.`;
    return `No answer after ${this.moment.call} ${looks}. ${
      this.model.searches ? "Solve again: the network will guess otherwise." : "Shuffle the puzzle, and try again."}`;
  }

  /** Says what is known of the answer that the network found. */
  certify() {
    const { call, chain } = this.moment;
    const steps = this.model.searches
      ? `${many(call, "look")} at the board${chain ? ` and ${many(chain, "round")} of guesses` : ", without a guess"}`
      : many(call, "step");
    const { known, count } = this.answers;
    const others = !known ? "Whether there are others is not known."
      : count > 1 ? "The puzzle has other answers, too." : "It is the only answer.";
    this.tell(`Solved after ${steps}. Checked: each row, column and box has every digit once, and all clues stand. ${others}`, "solved");
  }

  async tellWhy() {
    const cell = this.board.selected;
    const button = part("why");
    const question = [...this.question];
    button.disabled = true;
    try {
      const told = await this.model.why(question, cell, (done) => {
        button.textContent = `Taking clues away, one by one: ${Math.round(100 * done)} %`;
      });
      if (cell !== this.board.selected || question.some((digit, at) => digit !== this.question[at])) return;
      const strong = told.clues.filter((clue) => clue.share >= 0.03).slice(0, 8);
      this.rests = new Map(strong.map((clue) => [clue.cell, clue.share]));
      this.show();
      part("why-said").replaceChildren(...strong.map((clue) => line(
        `${this.layout.alphabet[question[clue.cell]]} in ${this.layout.words(clue.cell)}: ${Math.round(100 * clue.share)} %`)));
      const [digit, place] = [this.layout.alphabet[told.digit], this.layout.words(cell)];
      const when = this.model.searches ? "Before any guess the" : "The";
      part("cell-said").textContent = told.lead > UNSURE
        ? `${when} network says ${digit} in ${place}. That rests on these clues, the strongest first:`
        : `${when} network is not sure of ${place}. It leans to ${digit}, by these clues:`;
      button.hidden = true;
    } finally {
      button.disabled = false;
      button.textContent = "Which clues does it rest on?";
    }
  }

  /** What is known of the selected cell. */
  tellCell() {
    if (!this.pointed) return;
    const { alphabet } = this.layout;
    const cell = this.board.selected;
    const place = this.layout.words(cell);
    const left = this.moment?.left[cell] ?? [];
    part("why-said").replaceChildren();
    part("why").hidden = !this.loaded || this.question[cell] > 0 || !this.question.some(Boolean);
    if (this.rests.size) {
      this.rests = new Map();
      this.show();
    }
    let said = `${capital(place)} is empty.`;
    if (this.question[cell]) said = `${capital(place)} is a clue: ${alphabet[this.question[cell]]}.`;
    else if (this.moment && !left.length) said = `${capital(place)}: nothing is possible any more, so a guess was wrong.`;
    else if (this.moment) {
      const sure = `${Math.round(100 * this.moment.sure[cell])} %`;
      said = left.length > 1
        ? `${capital(place)}: ${left.map((digit) => alphabet[digit]).join(", ")} possible; likeliest is ${alphabet[this.moment.board[cell]]} (${sure}).`
        : `${capital(place)} is ${alphabet[left[0]]}${this.model.searches ? ": all others are crossed out" : ` (${sure} sure)`}.`;
    }
    part("cell-said").textContent = said;
  }

  words(moment) {
    const { alphabet } = this.layout;
    const decided = moment.left.filter((left, cell) => left.length === 1 && !this.question[cell]).length;
    const open = this.question.filter((digit) => !digit).length;
    if (!this.model.searches) {
      const sure = `${Math.round(100 * moment.q)} % sure`;
      return `Step ${moment.call}: the network has written a board, and is ${sure}; it breaks the rules still.`;
    }
    const guess = moment.guess
      ? `guess ${alphabet[moment.guess.digit]} at ${this.layout.place(moment.guess.cell)}. `
      : "no guess yet. ";
    const start = `Look ${moment.call}: ${guess}`;
    if (moment.event === "conflict") return `${start}That leads into a contradiction: back to the start of the guesses.`;
    if (moment.event === "wrong") return `${start}The board is full, but breaks the rules: back to the start of the guesses.`;
    return `${start}${decided} of ${open} empty cells are decided.`;
  }

  log(moment) {
    const said = moment.event === "answer" ? `${this.model.searches ? "Look" : "Step"} ${moment.call}: the answer.` : this.words(moment);
    this.note(said, moment.event === "conflict" || moment.event === "wrong");
  }

  note(said, back = false) {
    const list = part("log");
    const item = line(said);
    item.classList.toggle("back", back);
    list.prepend(item);
    while (list.children.length > LOG_LINES) list.lastChild.remove();
  }

  tell(said, kind = "") {
    const status = part("status");
    status.className = `status ${kind}`;
    // What comes several times a second, nobody wants read aloud: then the end is enough.
    status.setAttribute("aria-live", this.turn && !kind ? "off" : "polite");
    status.textContent = said;
  }

  refuse(fault) {
    this.pause();
    if (!(fault instanceof Refused)) {
      this.tell(`The network has stopped: ${fault.message}. Load the page again.`, "refused");
      reportError(fault);
      return;
    }
    this.tell(`${capital(fault.message)}.`, "refused");
    this.board.show(this.question, null, { wrong: fault.cells });
  }

  show() {
    this.board.show(this.question, this.moment, { rests: this.rests });
    part("restart").disabled = !this.loaded || !this.moment;
    this.label();
    part("legend-guess").hidden = !this.model.searches;
    part("legend-left").hidden = !this.model.searches || !this.board.showsCandidates;
  }

  /** The network is here. */
  ready() {
    this.loaded = true;
    part("solve").disabled = part("step").disabled = false;
    this.begin();
  }
}

function capital(text) {
  return text[0].toUpperCase() + text.slice(1);
}

function many(count, what) {
  return `${count} ${what}${count > 1 ? "s" : ""}`;
}

function line(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

/** Buttons and fields. */
function wire(page) {
  const { layout } = page;
  part("solve").addEventListener("click", () => page.solve());
  part("step").addEventListener("click", () => {
    page.pause();
    if (page.over) page.begin();
    page.step();
  });
  part("restart").addEventListener("click", () => {
    page.begin("Back to the clues. Press Solve: other guesses are made.");
  });
  part("clear").addEventListener("click", () => {
    part("examples").value = "";
    page.take(new Array(layout.cells).fill(0));
  });
  part("shuffle").addEventListener("click", () => {
    part("examples").value = "";
    page.take(symmetry(layout, Math.random)(page.question), "Digits renamed, rows and columns swapped: the same puzzle. Press Solve.");
  });
  part("why").addEventListener("click", () => page.tellWhy());
  let later;
  part("text").addEventListener("input", (event) => {
    clearTimeout(later);
    const text = event.target.value;
    if (text.length < layout.cells) later = setTimeout(() => page.readText(text), TYPING); // is being typed
    else page.readText(text);
  });
  part("board").addEventListener("paste", (event) => {
    part("text").value = event.clipboardData.getData("text");
    page.readText(part("text").value);
    event.preventDefault();
  });
  const examples = EXAMPLES[page.model.about.puzzle.box] ?? [];
  const none = new Option("your own", "");
  none.disabled = none.hidden = true;
  part("examples").append(none, ...examples.map(([name, text]) => new Option(name, text)));
  part("examples").addEventListener("change", (event) => page.take(read(event.target.value, layout.side)));
  part("examples").closest("label").hidden = !examples.length;
  part("text").placeholder = (examples[0]?.[1] ?? ".".repeat(layout.cells)).slice(0, 81).replace(/0/g, ".");
  part("pad").replaceChildren(...[...layout.alphabet].map((sign, digit) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = digit ? sign : "⌫";
    if (!digit) button.setAttribute("aria-label", "empty the cell");
    button.addEventListener("click", () => page.write(page.board.selected, digit));
    return button;
  }));
  if (examples.length) {
    part("examples").value = examples[0][1];
    page.take(read(examples[0][1], layout.side));
  }
}

function tellModel({ about, name }, model) {
  const count = about.weights.count.toLocaleString("en");
  part("how").textContent = model.searches
    ? `A network of ${count} weights looks at the board and crosses out digits that it holds to be impossible. Where that is not enough, it guesses a cell and looks again; a contradiction sends it back, and it guesses otherwise.`
    : `A network of ${count} weights looks at the board and writes an answer, and improves it step by step.`;
  part("model").textContent = `Model ${name}, weights ${about.weights.sha256.slice(0, 12)}, made by ${about.made_by}.`;
}

async function main() {
  const settings = await (await fetch("page.json")).json();
  const network = new Network();
  const page = new Page(settings, network);
  wire(page);
  tellModel(settings, page.model);
  try {
    await network.ask("load", settings.about);
    page.ready();
  } catch (fault) {
    page.tell(`The network could not be loaded: ${fault.message}. Load the page again.`, "refused");
    return;
  }
  if (settings.offline && "serviceWorker" in navigator) await navigator.serviceWorker.register("offline.js");
}

main();
