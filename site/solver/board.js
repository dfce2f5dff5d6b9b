/** The board on the page: shows clues, digits and candidates, and tells what is typed and which cell is selected. */

// Of larger boards nobody could read them.
const MOST_CANDIDATES = 12;

export class Board {
  /**
   * @param element the grid
   * @param tell {write(cell, digit), select(cell)}
   */
  constructor(element, layout, tell) {
    this._layout = layout;
    this._tell = tell;
    this.selected = 0;
    this.showsCandidates = layout.side <= MOST_CANDIDATES;
    element.style.setProperty("--side", layout.side);
    element.style.setProperty("--box-columns", layout.boxCols);
    element.setAttribute("aria-rowcount", layout.side);
    element.setAttribute("aria-colcount", layout.side);
    this._cells = Array.from({ length: layout.cells }, (_, cell) => this._made(cell));
    for (let row = 0; row < layout.side; row++) {
      const line = document.createElement("div");
      line.setAttribute("role", "row");
      line.className = "row";
      line.append(...this._cells.slice(row * layout.side, (row + 1) * layout.side));
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
   * @param question digits, 0 for a blank
   * @param moment as of core/search.js, or null before the first call
   * @param marks {wrong, rests}: cells that are wrong, and clues with their shares
   */
  show(question, moment, { wrong = [], rests = new Map() } = {}) {
    this._cells.forEach((element, cell) => {
      const left = moment && !question[cell] ? moment.left[cell] : [];
      const digit = question[cell] || (left.length === 1 ? left[0] : 0);
      const guess = moment?.guess?.cell === cell;
      element.className = "cell";
      element.classList.toggle("clue", question[cell] > 0);
      element.classList.toggle("wrong", wrong.includes(cell) || (left.length === 0 && moment !== null && !question[cell]));
      element.classList.toggle("guess", guess);
      element.classList.toggle("rests", rests.has(cell));
      const row = Math.floor(cell / this._layout.side) + 1;
      const column = (cell % this._layout.side) + 1;
      element.classList.toggle("under", row % this._layout.boxRows === 0 && row < this._layout.side);
      element.classList.toggle("beside", column % this._layout.boxCols === 0 && column < this._layout.side);
      element.style.setProperty("--sure", digit && moment ? Math.max(0.6, moment.sure[cell]).toFixed(2) : 1);
      element.style.setProperty("--share", (rests.get(cell) ?? 0).toFixed(2));
      const said = digit ? this._layout.alphabet[digit] : "";
      if (said) element.replaceChildren(said);
      else element.replaceChildren(...this._candidates(left));
      element.setAttribute("aria-label", this._words(cell, question, moment, left, guess, wrong.includes(cell)));
    });
  }

  _made(cell) {
    const element = document.createElement("div");
    element.className = "cell";
    element.setAttribute("role", "gridcell");
    element.setAttribute("aria-rowindex", Math.floor(cell / this._layout.side) + 1);
    element.setAttribute("aria-colindex", (cell % this._layout.side) + 1);
    element.tabIndex = -1;
    return element;
  }

  /** Each candidate in a place of its own, so that one sees it vanish. */
  _candidates(left) {
    if (!left.length || !this.showsCandidates) return [];
    const marks = document.createElement("div");
    marks.className = "marks";
    for (let digit = 1; digit <= this._layout.side; digit++) {
      const mark = document.createElement("span");
      mark.textContent = left.includes(digit) ? this._layout.alphabet[digit] : "";
      marks.append(mark);
    }
    return [marks];
  }

  _words(cell, question, moment, left, guess, wrong) {
    const { alphabet } = this._layout;
    const place = this._layout.words(cell);
    const end = wrong ? ", contradicts another clue" : "";
    if (question[cell]) return `${place}: clue ${alphabet[question[cell]]}${end}`;
    if (!moment) return `${place}: empty`;
    if (!left.length) return `${place}: nothing is possible any more`;
    if (left.length > 1) return `${place}: ${left.map((digit) => alphabet[digit]).join(" ")} possible`;
    return `${place}: ${alphabet[left[0]]}${guess ? ", a guess" : `, ${Math.round(100 * moment.sure[cell])} % sure`}`;
  }

  _key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { side, alphabet } = this._layout;
    const [row, column] = [Math.floor(this.selected / side), this.selected % side];
    const moves = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, side - 1],
    };
    const digit = alphabet.indexOf(event.key.toUpperCase());
    if (moves[event.key]) {
      const [r, c] = moves[event.key].map((at) => Math.min(Math.max(at, 0), side - 1));
      this.select(r * side + c);
    } else if (["Backspace", "Delete", "0", ".", " "].includes(event.key)) {
      this._tell.write(this.selected, 0);
    } else if (event.key.length === 1 && digit > 0) {
      this._tell.write(this.selected, digit);
    } else {
      return;
    }
    event.preventDefault();
  }
}
