/** Mazes, as the page needs them (kinds.js): rules as of trm_jax/puzzles/maze.py. */
import { MAZES } from "./examples.js";
import { Grid } from "./grid.js";
import { Refused } from "./refused.js";
import { readMaze } from "./text/reading.js";

// Tokens. A board of the page has 0 in place of FREE, which is what the network is to fill: FREE again, or PATH.
const [WALL, FREE, START, GOAL, PATH] = [1, 2, 3, 4, 5];
const NAMES = ["free", "wall", "no path", "start", "goal", "path"];

export class Maze extends Grid {
  name = "maze";
  choices = PATH;
  blankToken = FREE;
  firstToken = WALL;
  explains = false;
  showsCandidates = false;
  writes = [
    { value: 0, sign: "⌫", label: "free the cell" }, { value: WALL, sign: "#", label: "wall" },
    { value: START, sign: "S", label: "start" }, { value: GOAL, sign: "G", label: "goal" },
  ];
  says = {
    title: "Maze",
    shuffle: "Turns and mirrors it: the same maze, seen from elsewhere",
    shuffled: "Turned or mirrored: the same maze.",
    solved: "the path leads from S to G in unbroken steps, and no way is shorter",
    written: "each row in a line: # for a wall, a space where it is free, S and G for start and goal",
    keys: "# makes a wall, S the start, G the goal",
  };

  constructor(rows, columns) {
    super(rows, columns);
    this.examples = MAZES[`${rows}x${columns}`] ?? [];
  }

  read(text) {
    return readMaze(text, this.rows, this.columns).map((token) => (token === FREE ? 0 : token));
  }

  typed(key) {
    return { "#": WALL, s: START, g: GOAL, " ": 0, ".": 0 }[key.toLowerCase()];
  }

  given(question) {
    return `${question.filter((value) => value === WALL).length} walls`;
  }

  missing(question) {
    if (!question.some(Boolean)) return "the board is empty: choose, paste or type a maze";
    for (const [value, sign] of [[START, "S"], [GOAL, "G"]]) {
      if (!question.includes(value)) return `there is no ${NAMES[value]}: write ${sign} into a cell`;
    }
    return "";
  }

  /** Throws Refused for a second start or goal, and for a path that is in the question already. */
  check(question) {
    for (const [value, sign] of [[START, "S"], [GOAL, "G"]]) {
      const cells = cellsOf(question, value);
      if (cells.length > 1) {
        const places = cells.map((cell) => this.place(cell));
        const where = `${places.slice(0, 12).join(" and ")}${cells.length > 12 ? " and elsewhere" : ""}`;
        throw new Refused(`${cells.length} ${NAMES[value]}s ${sign}, at ${where}: leave one of them`, cells);
      }
    }
    const path = cellsOf(question, PATH);
    if (path.length) {
      throw new Refused(`a path o at ${this.place(path[0])}, which the network is to find: free such cells`, path);
    }
  }

  /** Whether a board is the question with exactly one shortest path in it. */
  solves(board, question) {
    const kept = board.every((value, cell) => (question[cell] ? value === question[cell] : value === FREE || value === PATH));
    const [start, goal] = [board.indexOf(START), board.indexOf(GOAL)];
    if (!kept || start < 0 || goal < 0) return false;
    const steps = this._reached(question, start, (value) => value !== WALL).steps[goal];
    const along = this._reached(board, start, (value) => value === PATH || value === GOAL).steps[goal];
    // As many cells as a shortest path has, and a way through them: then they are that path.
    return along > 0 && cellsOf(board, PATH).length === steps - 1;
  }

  answers(question) {
    const { ways } = this._reached(question, question.indexOf(START), (value) => value !== WALL);
    return { count: ways[question.indexOf(GOAL)], known: true };
  }

  contradiction(question) {
    const cells = [START, GOAL].map((value) => question.indexOf(value));
    return { message: "no way leads from S to G: free some walls", cells };
  }

  doubt(question, answers) {
    if (answers.count > 1) return "Several ways are shortest, and the network may have learned from mazes that have one";
    const { steps } = this._reached(question, question.indexOf(START), (value) => value !== WALL);
    const cells = [...steps.keys()].filter((cell) => steps[cell] >= 0);
    const doors = cells.reduce((sum, cell) => sum + this._beside(cell).filter((next) => steps[next] >= 0).length, 0) / 2;
    return doors >= cells.length ? "Some ways lead in circles, and the network may have learned from mazes without any" : "";
  }

  /** Turned or mirrored, as far as the shape allows; never as it was. */
  shuffled(question) {
    const [rows, columns] = [this.rows, this.columns];
    const turn = 1 + Math.floor(Math.random() * (rows === columns ? 7 : 3)); // a bit each: upside down, mirrored, transposed
    return question.map((_, cell) => {
      let [row, column] = [Math.floor(cell / columns), cell % columns];
      if (turn & 1) row = rows - 1 - row;
      if (turn & 2) column = columns - 1 - column;
      return question[turn & 4 ? column * columns + row : row * columns + column];
    });
  }

  called(value) {
    return NAMES[value];
  }

  clue(value) {
    return NAMES[value];
  }

  drawn(question, moment, cell) {
    const value = question[cell];
    const drawn = { text: "", marks: [], classes: [], sure: 1 };
    if (value) return { ...drawn, text: { [START]: "S", [GOAL]: "G", [PATH]: "o" }[value] ?? "", classes: ["clue", NAMES[value]] };
    if (!moment) return drawn;
    const left = moment.left[cell];
    if (left.length === 1 && left[0] !== PATH) return { ...drawn, classes: ["off"] };
    const [text, looks] = left.length === 1 ? ["●", "path"] : ["·", "open"];
    const sure = moment.board[cell] === PATH ? moment.sure[cell] : 1 - moment.sure[cell];
    return { ...drawn, text, classes: [looks], sure: Math.max(0.4, sure) };
  }

  /** Steps to each cell from one, -1 where no way leads, and how many ways are as short, up to 2. */
  _reached(board, from, isOpen) {
    const steps = new Array(this.cells).fill(-1);
    const ways = new Array(this.cells).fill(0);
    [steps[from], ways[from]] = [0, 1];
    const queue = [from];
    for (const cell of queue) {
      for (const next of this._beside(cell).filter((each) => isOpen(board[each]))) {
        if (steps[next] < 0) {
          steps[next] = steps[cell] + 1;
          queue.push(next);
        }
        if (steps[next] === steps[cell] + 1) ways[next] = Math.min(2, ways[next] + ways[cell]);
      }
    }
    return { steps, ways };
  }

  _beside(cell) {
    const column = cell % this.columns;
    const found = [cell - this.columns, cell + this.columns];
    if (column > 0) found.push(cell - 1);
    if (column + 1 < this.columns) found.push(cell + 1);
    return found.filter((each) => each >= 0 && each < this.cells);
  }
}

function cellsOf(board, value) {
  return [...board.keys()].filter((cell) => board[cell] === value);
}
