/** How many answers a Sudoku has, by a search that leaves nothing out. No network takes part. */

/**
 * Counts the answers of a board up to `most`: {count, answer: the first or null, known: false where the search was
 * given up after so many nodes, and there may be more}.
 */
export function countAnswers(layout, question, most = 2, nodes = 100_000) {
  const { side, cells, groups, groupsOf } = layout;
  const board = Int8Array.from(question);
  const taken = new Int32Array(groups.length); // of each group, a bit for each digit
  const found = { count: 0, answer: null, known: true };
  for (let cell = 0; cell < cells; cell++) {
    if (board[cell] && !place(cell, board[cell])) return found;
  }
  visit();
  return found;

  function place(cell, digit) {
    const bit = 1 << digit;
    if (groupsOf[cell].some((g) => taken[g] & bit)) return false;
    board[cell] = digit;
    for (const g of groupsOf[cell]) taken[g] |= bit;
    return true;
  }

  function takeBack(cell) {
    for (const g of groupsOf[cell]) taken[g] &= ~(1 << board[cell]);
    board[cell] = 0;
  }

  function allowed(cell, digit) {
    return !board[cell] && !groupsOf[cell].some((g) => taken[g] & (1 << digit));
  }

  /** The moves of which one must be right, as few as there are; null for a full board. */
  function choices() {
    let best = null;
    for (let cell = 0; cell < cells; cell++) {
      if (board[cell]) continue;
      const moves = [];
      for (let digit = 1; digit <= side; digit++) if (allowed(cell, digit)) moves.push([cell, digit]);
      if (!best || moves.length < best.length) best = moves;
      if (best.length < 2) return best;
    }
    for (let g = 0; g < groups.length && best; g++) {
      for (let digit = 1; digit <= side; digit++) {
        if (taken[g] & (1 << digit)) continue;
        const moves = groups[g].cells.filter((cell) => allowed(cell, digit)).map((cell) => [cell, digit]);
        if (moves.length < best.length) best = moves;
        if (best.length < 2) return best;
      }
    }
    return best;
  }

  function visit() {
    const moves = choices();
    if (!moves) {
      found.count += 1;
      found.answer ??= Array.from(board);
      return;
    }
    for (const [cell, digit] of moves) {
      if (found.count >= most || !found.known) return;
      if (nodes-- <= 0) {
        found.known = false;
        return;
      }
      place(cell, digit);
      visit();
      takeBack(cell);
    }
  }
}

/** Clues that leave no answer together, of which none can be left out: their cells. The board has no answer. */
export function contradiction(layout, question) {
  const left = Int8Array.from(question);
  for (let cell = 0; cell < layout.cells; cell++) {
    const digit = left[cell];
    if (!digit) continue;
    left[cell] = 0;
    const { count, known } = countAnswers(layout, left, 1, 2_000);
    if (count || !known) left[cell] = digit;
  }
  return [...left.keys()].filter((cell) => left[cell]);
}
