/** What takes long, beside the page: the network's calls, and counting answers. */
import { kindOf } from "./core/kinds.js";
import * as ort from "./runtime/ort.wasm.min.mjs";

let session = null;
let about = null;
let kind = null;

const TASKS = {
  /** Loads a network; file: where it is, and about: its metadata. */
  async load({ file, about: given }) {
    about = given;
    kind = kindOf(about.puzzle);
    ort.env.wasm.numThreads = 1; // more would need headers that not every server sends
    ort.env.wasm.wasmPaths = new URL("runtime/", self.location.href).href;
    session = await ort.InferenceSession.create(new URL(file, self.location.href).href, {
      executionProviders: ["wasm"],
    });
  },
  /** Arrays by name, of so many boards, to arrays by name. */
  async run(arrays, boards) {
    const feeds = Object.fromEntries(about.inputs.map(({ name, dtype, shape }) => [
      name, new ort.Tensor(dtype, arrays[name], [boards, ...shape.slice(1)]),
    ]));
    const said = await session.run(feeds);
    // Copies, since those of the runtime lie in its own memory.
    return Object.fromEntries(Object.entries(said).map(([name, tensor]) => [name, tensor.data.slice()]));
  },
  answers: (question) => kind.answers(question),
  contradiction: (question) => kind.contradiction(question),
};

self.addEventListener("message", async ({ data: { number, task, given } }) => {
  try {
    self.postMessage({ number, result: await TASKS[task](...given) });
  } catch (error) {
    self.postMessage({ number, fault: String(error?.message ?? error) });
  }
});
