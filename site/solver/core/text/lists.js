/** Lists of Python and JSON, and what NumPy prints. As trm_jax/puzzles/text/lists.py. */
import { Refused, quoted } from "../refused.js";

const DEEPEST = 3; // several boards of rows of cells
// Of an assignment and of NumPy, before and behind the list.
const BEFORE = /^(?:[A-Za-z_][\p{L}\p{N}_]{0,40} ?= ?)?(?:(?<array>(?:np\.|numpy\.)?array\()\s{0,9})?(?=[[(])/u;
const END = /(?:,\s{0,99}dtype=[\p{L}\p{N}_.'"<>|]{1,40})?\)$/u;
const TOKEN = new RegExp(
  String.raw`(?<space>\s+)|(?<open>[\[(])|(?<close>[\])])|(?<comma>,)|"(?<double>[^"\\\n]*)"|'(?<single>[^'\\\n]*)'` +
    String.raw`|(?<number>[-+]?[0-9]+)(?:\.0*)?(?![\p{L}\p{N}_.])|(?<none>None|null|nan)(?![\p{L}\p{N}_])`, "uy");
const PAIRS = { "[": "]", "(": ")" };

/** Whether a text is written as a list, however wrongly. Refuses an object of JSON. */
export function isList(text) {
  const begin = text.trimStart().slice(0, 100);
  if (begin.startsWith("{")) throw new Refused("an object of JSON, but a board is a list of rows: give that alone");
  return BEFORE.test(begin);
}

/** The boards in a list, or in several one after another: {cells, numbered} of each. */
export function boardsOf(text, writing) {
  const top = parsed(text);
  const node = top.length === 1 ? top[0] : top;
  if (!Array.isArray(node)) throw new Refused("the list holds no rows");
  const one = boardOf(node, writing);
  if (one) return [one];
  const several = node.map((each) => boardOf(each, writing));
  if (!several.length || several.includes(null)) throw noBoard(node, writing);
  return several;
}

/** Arrays of arrays and of leaves {cells, text, numbered}. */
function parsed(given) {
  let text = given.trimEnd();
  const start = text.length - text.trimStart().length;
  const before = BEFORE.exec(text.slice(start));
  if (before?.[0]) text = " ".repeat(start + before[0].length) + text.slice(start + before[0].length); // keeps places
  if (before?.groups.array) text = text.replace(END, "");
  const stack = [[]];
  const opened = [];
  const parted = new Set(); // by commas or not
  let comma = false;
  let [at, line, begin] = [0, 1, 0];
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    const cell = { sign: "", line, column: at - begin + 1 };
    const place = `line ${cell.line}, column ${cell.column} of the text`;
    if (!match) {
      if (text.startsWith("...", at)) {
        throw new Refused(
          `... in ${place}: NumPy left cells out; print with np.set_printoptions(threshold=10**6)`);
      }
      const char = String.fromCodePoint(text.codePointAt(at));
      throw new Refused(`${quoted(char)} in ${place} is no part of a list of whole numbers or of texts`);
    }
    at = TOKEN.lastIndex;
    const found = match.groups;
    if (found.space !== undefined) {
      const breaks = found.space.split("\n").length - 1;
      if (breaks) [line, begin] = [line + breaks, match.index + found.space.lastIndexOf("\n") + 1];
      continue;
    }
    if (found.comma !== undefined) {
      if (comma || !stack.at(-1).length) throw new Refused(`',' in ${place} stands before nothing: remove it`);
      comma = true;
      continue;
    }
    if (found.close === undefined && stack.at(-1).length && opened.length) parted.add(comma);
    comma = false;
    if (found.close !== undefined) {
      if (PAIRS[opened.pop()] !== found.close) {
        throw new Refused(`'${found.close}' in ${place} closes nothing: correct the brackets`);
      }
      const done = stack.pop();
      stack.at(-1).push(done);
    } else if (found.open !== undefined) {
      if (opened.length === DEEPEST) {
        throw new Refused(
          `'${found.open}' in ${place}: lists go ${DEEPEST} deep; candidates of a cell are not read`);
      }
      opened.push(found.open);
      stack.push([]);
    } else if (found.number !== undefined || found.none !== undefined) {
      const numbered = found.number !== undefined;
      stack.at(-1).push({ cells: [{ ...cell, sign: found.number ?? "" }], text: false, numbered });
    } else {
      const signs = [...(found.double ?? found.single)];
      const cells = signs.map((sign, i) => ({ ...cell, sign, column: cell.column + 1 + i }));
      stack.at(-1).push({ cells, text: true, numbered: false });
    }
  }
  if (opened.length) throw new Refused(`'${opened.at(-1)}' is still open at the end of the text: close it`);
  if (parted.size > 1) {
    throw new Refused("commas stand between some members of the lists and not between others: write all alike");
  }
  return stack[0];
}

/** The cells of each member, null for one that is no row, as a number is none. */
function rowsOf(node) {
  return node.map((each) => (Array.isArray(each) || each.text ? rowOf(each) : null));
}

/** The cells of a text, or of a list of single cells; null for what is neither. */
function rowOf(node) {
  if (!Array.isArray(node)) return node.cells;
  const single = node.every((each) => !Array.isArray(each) && each.cells.length === 1);
  return single ? node.map((each) => each.cells[0]) : null;
}

/** The board that a node is; null where it is none. */
function boardOf(node, writing) {
  const numbered = hasNumbers(node);
  const flat = rowOf(node);
  if (flat?.length === writing.cells) return { cells: flat, numbered };
  if (!Array.isArray(node) || node.length !== writing.rows) return null;
  const rows = rowsOf(node);
  return rows.every((row) => row?.length === writing.columns) ? { cells: rows.flat(), numbered } : null;
}

function hasNumbers(node) {
  return Array.isArray(node) ? node.some(hasNumbers) : node.numbered;
}

/** What is wrong with a list, by its rows. */
function noBoard(node, writing) {
  const rows = rowsOf(node);
  const flat = rowOf(node);
  if (flat) writing.checkCells(flat.length);
  if (!rows.includes(null)) {
    const lengths = rows.map((row) => row.length);
    const at = lengths.findIndex((length) => length !== lengths[0]);
    if (at >= 0) {
      return new Refused(`row ${at + 1} of the list has ${lengths[at]} cells, but row 1 has ${lengths[0]}`);
    }
    writing.checkRows(rows.length, lengths[0] ?? 0, "rows", "");
  }
  return new Refused(
    "the list is no board: give a list of rows, each a text or a list of cells, or a list of such");
}
