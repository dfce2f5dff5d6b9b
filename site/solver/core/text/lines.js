/** What stands around a board: fences, comments, titles, sections, frames. As trm_jax/puzzles/text/lines.py. */
import { Refused } from "../refused.js";
import { BARS } from "./writing.js";

const FENCE = /^\s*(```|~~~)\s*[\p{L}\p{N}_]*\s*$/u;
const SECTION = /^\s*\[\s*(\p{L}[\p{L}\p{N}_ ]*?)\s*\]\s*$/u;
// A word of three letters or more, and what belongs to it: "Puzzle 1:", "Grid 01", "Easy (#3)".
const TITLE = /^\s*\p{L}{3,}[\p{L}\p{N}_\s#.:,()'/-]*$/u;
const LONGEST_NUMBER = 4; // of a title
const LONGEST_HEADING = 200;
// Corners, crossings and sides of a frame, and the lines that every frame has.
const FRAME = new RegExp(`^[-=+:.'*\`,\\s${BARS}\\u2500-\\u257f]+$`, "u");
const RULE = /([-=─━═┄┅┈┉╌╍])[ \t|+]*\1|[─━═┄┅┈┉╌╍]/u;

/** All lines, {number from 1, text, column of the first character from 1}, without a byte-order mark. */
export function linesOf(text) {
  return text
    .replace(/^\ufeff/u, "")
    .split(/\r\n|\r|\n/u)
    .map((line, i) => ({ number: i + 1, text: line, column: 1 }));
}

/** The parts of lines between titles; of a text with sections, that which is called [Puzzle]. */
export function partsOf(lines, writing) {
  const kept = withoutRemarks(lines, writing);
  let parts = [{ name: "", lines: [] }];
  let sections = false;
  for (const line of kept) {
    const last = parts.at(-1);
    const match = SECTION.exec(line.text.slice(0, LONGEST_HEADING));
    if (match) {
      sections = true;
      parts.push({ name: `[${match[1].toLowerCase()}]`, lines: [] });
    } else if (isTitle(line.text, writing)) {
      if (!sections && last.lines.length) parts.push({ name: line.text.trim(), lines: [] });
    } else if (line.text || last.lines.length) {
      last.lines.push(line);
    }
  }
  if (!sections) {
    // A text of titles alone is no text of boards: its words are to be told as what they are.
    return parts.some((part) => part.lines.length) ? parts : [{ name: "", lines: kept }];
  }
  const names = parts.map((part) => part.name).filter(Boolean);
  parts = parts.filter((part) => part.name.startsWith("[puzzle"));
  if (!parts.length) {
    throw new Refused(`none of the sections ${names.join(", ").slice(0, 60)} is [Puzzle]: leave out what is none`);
  }
  return parts;
}

/** Whether a line names what follows, and can be no row of cells. */
function isTitle(text, writing) {
  if (text.length > LONGEST_HEADING || !TITLE.test(text)) return false;
  const words = text.trim().split(/\s+/u);
  if ([...words[0]].every((char) => !/\p{L}/u.test(char) || writing.plain.has(char))) return false;
  // A board may stand behind its name, in the same line and even in the same word.
  const isPlain = (word) => [...word].every((char) => writing.plain.has(char));
  if (words.slice(1).some((word) => word.length > LONGEST_NUMBER && isPlain(word))) return false;
  let [run, longest] = [0, 0];
  for (const char of text) {
    run = writing.plain.has(char) ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest < writing.cells;
}

/** Whether a line is nothing but a frame, such as +---+---+; it may be a row of dashes, too. */
export function isFrame(text, writing) {
  return !writing.spaced && FRAME.test(text) && RULE.test(text);
}

/** Whether a line that looks like a frame may be a row of blanks. */
export function mayBeRow(text) {
  return [...text].every((char) => `- \t${BARS}`.includes(char));
}

/** Less fences, and less comments where # is no cell. */
function withoutRemarks(lines, writing) {
  const kept = lines.filter((line) => !FENCE.test(line.text));
  if (writing.spaced) return kept;
  return kept
    .filter((line) => !line.text.trimStart().startsWith("#"))
    .map((line) => ({ ...line, text: line.text.replace(/\s#.*/u, "") }));
}
