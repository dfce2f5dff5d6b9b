// Reads [[text, side], ...] as JSON from standard input; writes what the page makes of each: its digits, or a message.
import { read } from "../../site/solver/core/text/reading.js";
import { Refused } from "../../site/solver/core/refused.js";

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const said = JSON.parse(Buffer.concat(chunks).toString("utf8")).map(([text, side]) => {
  try {
    return read(text, side);
  } catch (fault) {
    if (!(fault instanceof Refused)) throw fault;
    return fault.message;
  }
});
process.stdout.write(JSON.stringify(said));
