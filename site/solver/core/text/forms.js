/**
 * The forms in which rows of cells are written. As trm_jax/puzzles/text/forms.py.
 *
 * A form takes all lines and returns {rows of cells {sign, line, column}, numbered}; null where the lines are not
 * written so. It throws Refused where they are, but wrongly.
 */
import { Refused } from "../refused.js";
import { BARS } from "./writing.js";

const NUMBER = /^[-+]?[0-9]+$/;
const SEPARATORS = new Map([[",", "commas"], [";", "semicolons"], ["\t", "tabs"]]);
const BAR = new RegExp(`[${BARS}]`, "u");
const ALL_BARS = new RegExp(`[${BARS}]`, "gu");
const WORD = new RegExp(`[^\\s${BARS}]+`, "gu");

/** A character for each cell; between them, evenly, spaces and bars. */
function characters(lines, writing) {
  if (separators(lines).length) return null;
  if (writing.spaced) return { rows: lines.filter((line) => line.text).map(each), numbered: false };
  const [rows, patterns] = [[], []];
  for (const line of lines) {
    const words = wordsOf(line);
    if (new Set(words.map((word) => [...word.sign].length)).size > 1) return null;
    if (!words.length) continue;
    rows.push(words.flatMap((word) => [...word.sign].map((sign, i) => ({ ...word, sign, column: word.column + i }))));
    patterns.push(line.text.replace(new RegExp(`[^\\s${BARS}]`, "gu"), "c").trim().split(/\s+/u).join(" "));
  }
  if (new Set(rows.map((row) => row.length)).size === 1) { // or else their lengths are to be told
    const at = patterns.findIndex((pattern) => pattern !== patterns[0]);
    if (at >= 0) {
      const [line, first] = [rows[at][0].line, rows[0][0].line];
      throw new Refused(`line ${line} has its spaces and bars elsewhere than line ${first}: space all rows alike`);
    }
  }
  return { rows, numbered: false };
}

/** A character for each cell, and a space for a blank. */
function spaces(lines, writing) {
  if (!writing.blanks.includes(" ") || separators(lines).length) return null;
  const texts = lines.map((line) => line.text.replace(ALL_BARS, ""));
  const others = writing.blanks.replace(" ", "");
  if (!texts.some((text) => text.includes(" "))) return null;
  if (texts.some((text) => [...text].some((char) => others.includes(char)))) return null;
  // Every other character is a space: these only part the cells.
  if (texts.every((text) => [...text].every((char, i) => i % 2 === 0 || !char.trim()))) return null;
  const rows = lines.filter((_, i) => texts[i]).map((line) =>
    each(line).filter((cell) => !BAR.test(cell.sign)));
  return { rows, numbered: false };
}

/** Commas, semicolons or tabs between cells; nothing between two of them is a blank. */
function separated(lines, writing) {
  const found = separators(lines, true);
  if (!found.length) return null;
  if (found.length > 1) {
    const names = found.map((char) => SEPARATORS.get(char)).join(" and ");
    throw new Refused(`${names} stand between cells: use one of them`);
  }
  const rows = [];
  for (const line of lines) {
    if (line.text.includes(found[0])) {
      rows.push(fields(line, line.text, line.column, found[0], writing));
    } else if (line.text.trim()) {
      const name = SEPARATORS.get(found[0]);
      throw new Refused(`line ${line.number} has no ${name}, but others have: write all rows alike`);
    }
  }
  return { rows, numbered: isNumbered(rows) };
}

/** Numbers of one or several digits, with spaces between them, and bars. */
function numbers(lines, writing) {
  if (!writing.numbers) return null;
  const rows = lines.map(wordsOf).filter((row) => row.length);
  const words = rows.flat().map((cell) => cell.sign);
  if (!words.every((word) => NUMBER.test(word) || writing.isBlank(word))) return null;
  return isNumbered(rows) ? { rows, numbered: true } : null; // or else they are characters
}

/** A bar between each cell and the next; nothing between two of them is a blank. */
function barred(lines, writing) {
  if (writing.spaced || separators(lines).length) return null;
  const rows = [];
  for (const line of lines) {
    const text = line.text.trim();
    if (!text) continue;
    if (!BAR.test(text)) return null;
    // One bar at either end is the edge; a second one would have an empty cell before it.
    const edge = BAR.test(text[0]) ? 1 : 0;
    let inner = text.slice(edge);
    if (inner && BAR.test(inner.at(-1))) inner = inner.slice(0, -1);
    rows.push(fields(line, inner, line.column + line.text.indexOf(text) + edge, ALL_BARS, writing));
  }
  if (rows.flat().some((cell) => [...cell.sign].length > 1 && !NUMBER.test(cell.sign))) return null;
  return { rows, numbered: isNumbered(rows) };
}

export const FORMS = [characters, spaces, separated, numbers, barred];

/** Which signs part cells in any of the lines. outside: before or behind all cells, too, where tabs may indent. */
function separators(lines, outside = false) {
  const texts = lines.map((line) => (outside ? line.text : line.text.trim()));
  return [...SEPARATORS.keys()].filter((char) => texts.some((text) => text.includes(char)));
}

function wordsOf(line) {
  return [...line.text.matchAll(WORD)].map((match) => (
    { sign: match[0], line: line.number, column: line.column + match.index }));
}

/** Each character is a cell. */
function each(line) {
  return [...line.text].map((sign, i) => ({ sign, line: line.number, column: line.column + i }));
}

/** What separators part, each less the spaces around it where these are no cells. */
function fields(line, text, column, between, writing) {
  let start = 0;
  return text.split(between).map((field) => {
    const sign = writing.spaced ? field : field.trim();
    const cell = { sign, line: line.number, column: column + start + (sign ? field.indexOf(sign) : 0) };
    start += field.length + 1;
    return cell;
  });
}

function isNumbered(rows) {
  return rows.some((row) => row.some((cell) => [...cell.sign].length > 1));
}
