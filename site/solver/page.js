/** The page: puzzles in, the network's calls one after another, and in words what they came to. */
import { Board } from "./board.js";
import { kindOf } from "./core/kinds.js";
import { Model } from "./core/model.js";
import { randomFrom } from "./core/random.js";
import { Refused } from "./core/refused.js";
import { Network } from "./network.js";

const LOG_LINES = 200;
const UNHURRIED = 25; // calls, after which the page no longer waits between two

const TYPING = 800; // milliseconds without a key, after which a text that is too short is told so
const UNSURE = 0.5; // lead of a digit, in logits, up to which the network is said not to be sure of it

const part = (id) => document.getElementById(id);
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

class Page {
  constructor(about, network) {
    this.network = network;
    this.model = new Model(about, (arrays, boards) => network.ask("run", arrays, boards));
    this.kind = this.model.kind;
    this.board = new Board(part("board"), this.kind, {
      write: (cell, value) => this.write(cell, value),
      select: () => {
        this.pointed = true;
        this.tellCell();
      },
    });
    this.question = new Array(this.kind.cells).fill(0);
    this.loaded = false;
    this.pointed = false; // whether a cell was ever selected
    this.seed = 0;
    this.pending = Promise.resolve();
    this.begin();
  }

  /** The puzzle as it stands, before the first call. note: what is said of it. */
  begin(note = "") {
    this.turn = this.run = null; // whatever goes on has lost the board
    this.moment = null;
    this.rests = new Map();
    this.over = false;
    part("log").replaceChildren();
    this.show();
    this.tellCell();
    try {
      this.kind.check(this.question);
      if (!this.loaded) return;
      const missing = this.kind.missing(this.question);
      this.tell(missing ? `${capital(missing)}.` : `${note || `${this.kind.given(this.question)}.`} Press Solve.`);
    } catch (fault) {
      this.refuse(fault);
    }
  }

  /** Another puzzle. */
  take(question, note) {
    this.question = question;
    this.begin(note);
  }

  write(cell, value) {
    this.question[cell] = value;
    part("examples").value = "";
    this.begin();
  }

  readText(text) {
    const said = part("text-said");
    said.classList.remove("refused");
    said.textContent = "";
    if (!text.trim()) return;
    try {
      const question = this.kind.read(text);
      part("examples").value = "";
      this.take(question);
      said.textContent = `Read: ${this.kind.given(question)}.`;
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
    this.kind.check(question);
    const missing = this.kind.missing(question);
    if (missing) throw new Refused(missing);
    this.tell("Thinking …");
    this.answers = await this.network.ask("answers", question);
    if (this.answers.known && !this.answers.count) {
      const { message, cells } = await this.network.ask("contradiction", question);
      throw new Refused(message, cells);
    }
    if (question.some((value, cell) => value !== this.question[cell])) return null;
    this.doubt = this.kind.doubt(question, this.answers);
    if (this.doubt) this.note(`${this.doubt}.`);
    this.seed += 1;
    return this.model.solve(question, randomFrom(this.seed));
  }

  givenUp() {
    const looks = this.model.searches ? "looks" : "steps";
    if (this.doubt) return `No answer after ${this.moment.call} ${looks}. ${this.doubt}.`;
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
    this.tell(`Solved after ${steps}. Checked: ${this.kind.says.solved}. ${others}`, "solved");
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
        `${this.kind.called(question[clue.cell])} in ${this.kind.words(clue.cell)}: ${Math.round(100 * clue.share)} %`)));
      const [digit, place] = [this.kind.called(told.digit), this.kind.words(cell)];
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
    const { kind } = this;
    const cell = this.board.selected;
    const place = kind.words(cell);
    const left = this.moment?.left[cell] ?? [];
    part("why-said").replaceChildren();
    part("why").hidden = !kind.explains || !this.loaded || this.question[cell] > 0 || !this.question.some(Boolean);
    if (this.rests.size) {
      this.rests = new Map();
      this.show();
    }
    let said = `${capital(place)} is ${kind.called(0)}.`;
    if (this.question[cell]) said = `${capital(place)}: ${kind.clue(this.question[cell])}.`;
    else if (this.moment && !left.length) said = `${capital(place)}: nothing is possible any more, so a guess was wrong.`;
    else if (this.moment) {
      const sure = `${Math.round(100 * this.moment.sure[cell])} %`;
      said = left.length > 1
        ? `${capital(place)}: ${left.map((value) => kind.called(value)).join(", ")} possible; likeliest is ${kind.called(this.moment.board[cell])} (${sure}).`
        : `${capital(place)}: ${kind.called(left[0])}${this.model.searches ? ", all else is crossed out" : ` (${sure} sure)`}.`;
    }
    part("cell-said").textContent = said;
  }

  words(moment) {
    const { kind } = this;
    const decided = moment.left.filter((left, cell) => left.length === 1 && !this.question[cell]).length;
    const open = this.question.filter((value) => !value).length;
    if (!this.model.searches) {
      const sure = `${Math.round(100 * moment.q)} % sure`;
      return `Step ${moment.call}: the network has written a board, and is ${sure}; it breaks the rules still.`;
    }
    const guess = moment.guess
      ? `guess ${kind.called(moment.guess.digit)} at ${kind.place(moment.guess.cell)}. `
      : "no guess yet. ";
    const start = `Look ${moment.call}: ${guess}`;
    if (moment.event === "conflict") return `${start}That leads into a contradiction: back to the start of the guesses.`;
    if (moment.event === "wrong") return `${start}The board is full, but breaks the rules: back to the start of the guesses.`;
    return `${start}${decided} of ${open} ${kind.called(0)} cells are decided.`;
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
  const { kind } = page;
  part("solve").addEventListener("click", () => page.solve());
  part("step").addEventListener("click", () => {
    page.pause();
    if (page.over) page.begin();
    page.step();
  });
  part("restart").addEventListener("click", () => {
    page.begin("Back to the beginning; other guesses are made.");
  });
  part("clear").addEventListener("click", () => {
    part("examples").value = "";
    page.take(new Array(kind.cells).fill(0));
  });
  part("shuffle").addEventListener("click", () => {
    part("examples").value = "";
    page.take(kind.shuffled(page.question), kind.says.shuffled);
  });
  part("why").addEventListener("click", () => page.tellWhy());
  let later;
  part("text").addEventListener("input", (event) => {
    clearTimeout(later);
    const text = event.target.value;
    if (text.length < kind.cells) later = setTimeout(() => page.readText(text), TYPING); // is being typed
    else page.readText(text);
  });
  part("board").addEventListener("paste", (event) => {
    part("text").value = event.clipboardData.getData("text");
    page.readText(part("text").value);
    event.preventDefault();
  });
  const { examples } = kind;
  const none = new Option("your own", "");
  none.disabled = none.hidden = true;
  part("examples").append(none, ...examples.map(([name, text]) => new Option(name, text)));
  part("examples").addEventListener("change", (event) => page.take(kind.read(event.target.value)));
  part("examples").closest("label").hidden = !examples.length;
  part("text").placeholder = (examples[0]?.[1] ?? "").replace(/0/g, ".");
  part("pad").replaceChildren(...kind.writes.map(({ value, sign, label }) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = sign;
    button.setAttribute("aria-label", label);
    button.addEventListener("click", () => page.write(page.board.selected, value));
    return button;
  }));
  if (examples.length) {
    part("examples").value = examples[0][1];
    page.take(kind.read(examples[0][1]));
  }
}

/** What the page says of the kind of puzzle, and of the network. */
function tellModel({ about, name }, model) {
  const { kind } = model;
  document.title = `${kind.says.title}, solved by a small neural network`;
  part("title").textContent = document.title;
  part("shuffle").title = kind.says.shuffle;
  part("written").textContent = kind.says.written;
  part("keys").textContent = `Keys: arrows move, ${kind.says.keys}, Backspace empties a cell.`;
  for (const item of document.querySelectorAll("[data-kind]")) item.hidden = item.dataset.kind !== kind.name;
  for (const item of document.querySelectorAll(".of-guess")) item.hidden = !model.searches;
  for (const item of document.querySelectorAll(".of-left")) item.hidden = !model.searches || !kind.showsCandidates;
  const count = about.weights.count.toLocaleString("en");
  part("how").textContent = model.searches
    ? `A network of ${count} weights looks at the board and crosses out what it holds to be impossible. Where that is not enough, it guesses a cell and looks again; a contradiction sends it back, and it guesses otherwise.`
    : `A network of ${count} weights looks at the board and writes an answer, and improves it step by step.`;
  const card = about.card ? ` It is for ${about.card.about}.` : "";
  part("model").textContent = `Model ${name}, weights ${about.weights.sha256.slice(0, 12)}, made by ${about.made_by}.${card}`;
}

/** Links to the models of this page, where there are several. */
function offer(models, chosen) {
  const titles = models.map(({ about }) => kindOf(about.puzzle).says.title);
  part("models").hidden = models.length < 2;
  part("models").replaceChildren(...models.map((model, i) => {
    const link = document.createElement("a");
    link.href = `?${encodeURIComponent(model.name)}`;
    link.textContent = titles.indexOf(titles[i]) === titles.lastIndexOf(titles[i]) ? titles[i] : model.name;
    if (model === chosen) link.setAttribute("aria-current", "page");
    return link;
  }));
}

async function main() {
  const settings = await (await fetch("page.json")).json();
  const chosen = settings.models.find(({ name }) => name === decodeURIComponent(location.search.slice(1))) ?? settings.models[0];
  offer(settings.models, chosen);
  const network = new Network();
  const page = new Page(chosen.about, network);
  wire(page);
  tellModel(chosen, page.model);
  try {
    await network.ask("load", chosen);
    page.ready();
  } catch (fault) {
    page.tell(`The network could not be loaded: ${fault.message}. Load the page again.`, "refused");
    return;
  }
  if (settings.offline && "serviceWorker" in navigator) await navigator.serviceWorker.register("offline.js");
}

main();
