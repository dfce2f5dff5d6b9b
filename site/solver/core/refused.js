/** Input that is not taken; its message says in one line what is wrong, where, and how to mend it. */
export class Refused extends Error {
  /** cells: those that the message names, from 0 in the order of rows. */
  constructor(message, cells = []) {
    super(message);
    this.name = "Refused";
    this.cells = cells;
  }
}

/** A text in quotes, cut short, control characters escaped. */
export function quoted(text, most = 20) {
  const short = [...text].slice(0, most).join("");
  const mark = short.includes("'") && !short.includes('"') ? '"' : "'";
  const escape = (char) => {
    if (char === "\\" || char === mark) return `\\${char}`;
    if (char === "\t") return "\\t";
    const code = char.codePointAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  };
  return mark + short.replace(mark === "'" ? /[\\']/gu : /[\\"]/gu, escape).replace(/[\p{Cc}\p{Cf}]/gu, escape) + mark;
}
