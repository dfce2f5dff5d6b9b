// Reads [[text, side of a Sudoku or [rows, columns] of a maze], ...] as JSON from standard input; writes what the page makes of each: its values, or a message.
import { readMaze, readSudoku } from "../../site/solver/core/text/reading.js";
import { Refused } from "../../site/solver/core/refused.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const said = JSON.parse(Buffer.concat(chunks).toString("utf8")).map(([text, size]) => {
  try {
    return Array.isArray(size) ? readMaze(text, ...size) : readSudoku(text, size);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return fault.message;
  }
});
process.stdout.write(JSON.stringify(said));
