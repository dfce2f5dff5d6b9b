/** The board on the page: shows the question and what becomes of it, and tells what is typed and which cell is selected. */

export class Board {
  /**
   * @param element the grid
   * @param kind as of core/kinds.js
   * @param tell {write(cell, value), select(cell)}
   */
  constructor(element, kind, tell) {
    this._kind = kind;
    this._tell = tell;
    this.selected = 0;
    element.classList.add(kind.name);
    element.setAttribute("aria-label", kind.says.title);
    element.style.setProperty("--rows", kind.rows);
    element.style.setProperty("--columns", kind.columns);
    element.style.setProperty("--box-columns", kind.boxCols ?? 1);
    element.setAttribute("aria-rowcount", kind.rows);
    element.setAttribute("aria-colcount", kind.columns);
    this._cells = Array.from({ length: kind.cells }, (_, cell) => this._made(cell));
    for (let row = 0; row < kind.rows; row++) {
      const line = document.createElement("div");
      line.setAttribute("role", "row");
      line.className = "row";
      line.append(...this._cells.slice(row * kind.columns, (row + 1) * kind.columns));
      element.append(line);
    }
    element.addEventListener("keydown", (event) => this._key(event));
    element.addEventListener("click", (event) => {
      const at = this._cells.indexOf(event.target.closest(".cell"));
      if (at >= 0) this.select(at);
    });
    element.addEventListener("focusin", (event) => {
      const at = this._cells.indexOf(event.target);
      if (at >= 0 && at !== this.selected) this.select(at);
    });
    this._cells[0].tabIndex = 0;
  }

  select(cell) {
    this._cells[this.selected].tabIndex = -1;
    this._cells[this.selected].removeAttribute("aria-selected");
    this.selected = cell;
    this._cells[cell].tabIndex = 0;
    this._cells[cell].setAttribute("aria-selected", "true");
    this._cells[cell].focus();
    this._tell.select(cell);
  }

  /**
   * @param question values, 0 for a cell that is to be filled
   * @param moment as of core/search.js, or null before the first call
   * @param marks {wrong, rests}: cells that are wrong, and clues with their shares
   */
  show(question, moment, { wrong = [], rests = new Map() } = {}) {
    this._cells.forEach((element, cell) => {
      const left = moment && !question[cell] ? moment.left[cell] : [];
      const guess = moment?.guess?.cell === cell;
      const { text, marks, classes, sure } = this._kind.drawn(question, moment, cell);
      element.className = ["cell", ...classes].join(" ");
      element.classList.toggle("wrong", wrong.includes(cell) || (left.length === 0 && moment !== null && !question[cell]));
      element.classList.toggle("guess", guess);
      element.classList.toggle("rests", rests.has(cell));
      element.style.setProperty("--sure", sure.toFixed(2));
      element.style.setProperty("--share", (rests.get(cell) ?? 0).toFixed(2));
      if (marks.length) element.replaceChildren(listed(marks));
      else element.replaceChildren(...(text ? [text] : []));
      element.setAttribute("aria-label", this._words(cell, question, moment, left, guess, wrong.includes(cell)));
    });
  }

  _made(cell) {
    const element = document.createElement("div");
    element.className = "cell";
    element.setAttribute("role", "gridcell");
    element.setAttribute("aria-rowindex", Math.floor(cell / this._kind.columns) + 1);
    element.setAttribute("aria-colindex", (cell % this._kind.columns) + 1);
    element.tabIndex = -1;
    return element;
  }

  _words(cell, question, moment, left, guess, wrong) {
    const kind = this._kind;
    const place = kind.words(cell);
    const end = wrong ? ", contradicts another clue" : "";
    if (question[cell]) return `${place}: ${kind.clue(question[cell])}${end}`;
    if (!moment) return `${place}: ${kind.called(0)}`;
    if (!left.length) return `${place}: nothing is possible any more`;
    if (left.length > 1) return `${place}: ${left.map((value) => kind.called(value)).join(", ")} possible`;
    return `${place}: ${kind.called(left[0])}${guess ? ", a guess" : `, ${Math.round(100 * moment.sure[cell])} % sure`}`;
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { rows, columns } = this._kind;
    const [row, column] = [Math.floor(this.selected / columns), this.selected % columns];
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, columns - 1],
    };
    const erases = ["Backspace", "Delete"].includes(event.key);
    const value = erases ? 0 : event.key.length === 1 ? this._kind.typed(event.key) : undefined;
    if (moves[event.key]) {
      const [r, c] = moves[event.key].map((at, i) => Math.min(Math.max(at, 0), (i ? columns : rows) - 1));
      this.select(r * columns + c);
    } else if (value !== undefined) {
      this._tell.write(this.selected, value);
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** What is possible in a cell, each in a place of its own. */
function listed(marks) {
  const list = document.createElement("div");
  list.className = "marks";
  list.append(...marks.map((sign) => {
    const mark = document.createElement("span");
    mark.textContent = sign;
    return mark;
  }));
  return list;
}
