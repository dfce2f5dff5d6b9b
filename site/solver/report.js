/** What the page tells of an attempt: the line below the board, and the list of what has happened, the last first. */

const LINES = 200;

export class Report {
  /** Elements: a line and a list. */
  constructor(status, list) {
    this._status = status;
    this._list = list;
  }

  /**
   * @param kind "", "solved" or "refused"
   * @param passing whether the next line follows at once: what comes several times a second, nobody wants read aloud
   */
  tell(said, kind, passing) {
    this._status.className = `status ${kind}`;
    this._status.setAttribute("aria-live", passing ? "off" : "polite");
    this._status.textContent = said;
  }

  /** back: whether the attempt went back to the start of its guesses. */
  note(said, back = false) {
    const item = line(said);
    item.classList.toggle("back", back);
    this._list.prepend(item);
    while (this._list.children.length > LINES) this._list.lastChild.remove();
  }

  forget() {
    this._list.replaceChildren();
  }
}

/** An item of a list. */
export function line(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}
