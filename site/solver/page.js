/** The page: its buttons and fields, and what it says of the model that it has. */
import { Board } from "./board.js";
import { kindOf } from "./core/kinds.js";
import { Model } from "./core/model.js";
import { Refused } from "./core/refused.js";
import { Words } from "./core/words.js";
import { Network } from "./network.js";
import { Report } from "./report.js";
import { Selected } from "./selected.js";
import { Solving } from "./solving.js";

const TYPING = 800; // milliseconds without a key, after which a text that is too short is told so

const part = (id) => document.getElementById(id);

class Page {
  constructor({ about, name }, network) {
    const model = new Model(about, (arrays, boards) => network.ask("run", arrays, boards));
    const words = new Words(model.kind, model.searches);
    this.kind = model.kind;
    this.board = new Board(part("board"), this.kind, {
      write: (cell, value) => this.write(cell, value),
      select: () => this.selected.point(),
    });
    this.solving = new Solving(model, network, words, {
      board: this.board,
      report: new Report(part("status"), part("log")),
      pace: () => Number(part("pace").value),
      changed: () => this.label(),
      moved: () => this.selected.tell(),
    });
    const elements = { said: part("cell-said"), clues: part("why-said"), why: part("why") };
    this.selected = new Selected(model, words, this.board, this.solving, elements);
    this.solving.begin();
    this.offerExamples();
    this.wire();
    tellModel(name, model, words);
  }

  /** Another puzzle, which is none of the examples. */
  take(question, note) {
    part("examples").value = "";
    this.solving.take(question, note);
  }

  write(cell, value) {
    part("examples").value = "";
    this.solving.write(cell, value);
  }

  readText(text) {
    const said = part("text-said");
    said.classList.remove("refused");
    said.textContent = "";
    if (!text.trim()) return;
    try {
      const question = this.kind.read(text);
      this.take(question);
      said.textContent = `Read: ${this.kind.given(question)}.`;
    } catch (fault) {
      if (!(fault instanceof Refused)) throw fault;
      said.classList.add("refused");
      said.textContent = `Not read: ${fault.message}.`;
    }
  }

  /** What the buttons do now. */
  label() {
    const { goesOn, over, moment, loaded } = this.solving;
    part("solve").textContent = goesOn ? "Pause" : over ? "Solve again" : moment ? "Go on" : "Solve";
    part("restart").disabled = !loaded || !moment;
    part("solve").disabled = part("step").disabled = !loaded;
  }

  wire() {
    const { kind, solving } = this;
    part("solve").addEventListener("click", () => solving.solve());
    part("step").addEventListener("click", () => {
      solving.pause();
      if (solving.over) solving.begin();
      solving.step();
    });
    part("restart").addEventListener("click", () => solving.begin("Back to the beginning; other guesses are made."));
    part("clear").addEventListener("click", () => this.take(new Array(kind.cells).fill(0)));
    part("shuffle").addEventListener("click", () => this.take(kind.shuffled(solving.question), kind.says.shuffled));
    part("why").addEventListener("click", () => this.selected.tellWhy());
    let later;
    part("text").addEventListener("input", (event) => {
      clearTimeout(later);
      const text = event.target.value;
      if (text.length < kind.cells) later = setTimeout(() => this.readText(text), TYPING); // is being typed
      else this.readText(text);
    });
    part("board").addEventListener("paste", (event) => {
      part("text").value = event.clipboardData.getData("text");
      this.readText(part("text").value);
      event.preventDefault();
    });
    part("pad").replaceChildren(...kind.writes.map(({ value, sign, label }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = sign;
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => this.write(this.board.selected, value));
      return button;
    }));
  }

  /** Puzzles to choose from, the first of which is taken. */
  offerExamples() {
    const { examples } = this.kind;
    const list = part("examples");
    const none = new Option("your own", "");
    none.disabled = none.hidden = true;
    list.append(none, ...examples.map(([name, text]) => new Option(name, text)));
    list.addEventListener("change", () => this.solving.take(this.kind.read(list.value)));
    list.closest("label").hidden = !examples.length;
    part("text").placeholder = (examples[0]?.[1] ?? "").replace(/0/g, ".");
    if (!examples.length) return;
    list.value = examples[0][1];
    this.solving.take(this.kind.read(list.value));
  }
}

/** What the page says of the kind of puzzle, and of the network. */
function tellModel(name, { about, kind, searches }, words) {
  document.title = `${kind.says.title}, solved by a small neural network`;
  part("title").textContent = document.title;
  part("shuffle").title = kind.says.shuffle;
  part("written").textContent = kind.says.written;
  part("keys").textContent = `Keys: arrows move, ${kind.says.keys}, Backspace empties a cell.`;
  for (const item of document.querySelectorAll("[data-kind]")) item.hidden = item.dataset.kind !== kind.name;
  for (const item of document.querySelectorAll(".of-guess")) item.hidden = !searches;
  for (const item of document.querySelectorAll(".of-left")) item.hidden = !searches || !kind.showsCandidates;
  part("how").textContent = words.how(about.weights.count);
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
  const { solving } = new Page(chosen, network);
  try {
    await network.ask("load", chosen);
    solving.ready();
  } catch (fault) {
    solving.tell(`The network could not be loaded: ${fault.message}. Load the page again.`, "refused");
    return;
  }
  if (settings.offline && "serviceWorker" in navigator) await navigator.serviceWorker.register("offline.js");
}

main();
