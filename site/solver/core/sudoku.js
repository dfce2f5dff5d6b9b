/** Sudokus, as the page needs them (kinds.js). */
import { contradiction, countAnswers } from "./complete_search.js";
import { SUDOKUS } from "./examples.js";
import { Layout } from "./layout.js";
import { symmetry } from "./symmetry.js";
import { readSudoku } from "./text/reading.js";

// Of larger boards nobody could read them.
const MOST_CANDIDATES = 12;

export class Sudoku extends Layout {
  name = "sudoku";
  blankToken = 1;
  firstToken = 2;
  /** Whether the network takes a board with a clue less, so that one can see what a cell rests on. */
  explains = true;
  says = {
    title: "Sudoku",
    shuffle: "Renames digits and swaps rows, columns and boxes: the same puzzle in other clothes",
    shuffled: "Digits renamed, rows and columns swapped: the same puzzle.",
    solved: "each row, column and box has every digit once, and all clues stand",
    written: "written in any usual way",
    keys: "digits fill in a clue",
  };

  constructor(box) {
    super(box);
    this.choices = this.side;
    this.showsCandidates = this.side <= MOST_CANDIDATES;
    /** [name, text] */
    this.examples = SUDOKUS[box] ?? [];
    /** What can be written into a cell: {value, sign, label}. */
    this.writes = [...this.alphabet].map((sign, value) =>
      (value ? { value, sign, label: sign } : { value, sign: "⌫", label: "empty the cell" }));
  }

  /** The board that a text holds. Throws Refused. */
  read(text) {
    return readSudoku(text, this.side);
  }

  /** What a key writes; undefined for a key that writes nothing. */
  typed(key) {
    if ("0. ".includes(key)) return 0;
    const digit = this.alphabet.indexOf(key.toUpperCase());
    return digit > 0 ? digit : undefined;
  }

  given(question) {
    return `${question.filter(Boolean).length} clues`;
  }

  /** What has yet to be entered before there is a puzzle; "" where there is one. */
  missing(question) {
    return question.some(Boolean) ? "" : "the board is empty: choose, paste or type a puzzle";
  }

  /** {count: up to 2, known: whether it is no less} */
  answers(question) {
    return countAnswers(this, question);
  }

  /** Of a puzzle without an answer: the message, and the cells that it names. */
  contradiction(question) {
    const cells = contradiction(this, question);
    const places = cells.map((cell) => this.place(cell));
    const which = cells.length < 13 ? places.join(", ") : `${places.slice(0, 12).join(", ")} and ${cells.length - 12} more`;
    return { message: `no answer has these clues together: ${which}. Change one of them`, cells };
  }

  /** Why the network may find no answer, "" for no reason. */
  doubt(question, answers) {
    return answers.count > 1
      ? "The puzzle has more than one answer, and the network learned from puzzles that have one: add clues"
      : "";
  }

  /** Another puzzle that is the same. */
  shuffled(question) {
    return symmetry(this, Math.random)(question);
  }

  /** What a value is called; 0 is a cell without one. */
  called(value) {
    return value ? this.alphabet[value] : "empty";
  }

  /** What a value of the question is called. */
  clue(value) {
    return `clue ${this.alphabet[value]}`;
  }

  /** How a cell looks: its text, or the marks in it; classes; and how sure its text is, 0 to 1. */
  drawn(question, moment, cell) {
    const left = moment && !question[cell] ? moment.left[cell] : [];
    const digit = question[cell] || (left.length === 1 ? left[0] : 0);
    const [row, column] = [Math.floor(cell / this.side) + 1, (cell % this.side) + 1];
    const classes = [
      question[cell] ? "clue" : "",
      row % this.boxRows === 0 && row < this.side ? "under" : "",
      column % this.boxCols === 0 && column < this.side ? "beside" : "",
    ];
    return {
      text: digit ? this.alphabet[digit] : "",
      // Each candidate in a place of its own, so that one sees it vanish.
      marks: left.length > 1 && this.showsCandidates
        ? [...this.alphabet].slice(1).map((sign, i) => (left.includes(i + 1) ? sign : ""))
        : [],
      classes: classes.filter(Boolean),
      sure: digit && moment ? Math.max(0.6, moment.sure[cell]) : 1,
    };
  }
}
