/**
 * What the digit in a cell rests on: how much of its lead is lost when a clue is taken away, one clue at a time.
 *
 * As `trm solve --why`: the lead is the logit of the digit above that of the best other. A model of candidates is asked
 * once, before anything is guessed.
 */

/** Boards that are asked about at once, so that the page can show how far it is. */
const TOGETHER = 4;

/**
 * The clues that a cell rests on, the strongest first: {digit, lead, clues: [{cell, effect, share}]}.
 * @param logitsOf question tokens of some boards [B][cells], and the cell, to logits of its digits [B][side]
 * @param tell is given the part that is done, 0 to 1
 */
export async function why(logitsOf, question, cell, tell = () => {}) {
  const clues = [...question.keys()].filter((each) => question[each]);
  const boards = [question, ...clues.map((clue) => question.map((digit, each) => (each === clue ? 0 : digit)))];
  const logits = [];
  for (let at = 0; at < boards.length; at += TOGETHER) {
    logits.push(...(await logitsOf(boards.slice(at, at + TOGETHER), cell)));
    tell(logits.length / boards.length);
  }
  const top = logits[0].indexOf(Math.max(...logits[0]));
  const leads = logits.map((each) => each[top] - Math.max(...each.filter((_, i) => i !== top)));
  const effects = leads.slice(1).map((lead) => leads[0] - lead);
  const sum = effects.reduce((total, effect) => total + Math.max(effect, 0), 0);
  const told = clues.map((clue, i) => ({ cell: clue, effect: effects[i], share: sum > 0 ? Math.max(effects[i], 0) / sum : 0 }));
  told.sort((a, b) => b.effect - a.effect);
  return { digit: top + 1, lead: leads[0], clues: told };
}
