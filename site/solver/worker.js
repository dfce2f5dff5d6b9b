/** What takes long, beside the page: the network's calls, and counting answers. */
import { contradiction, countAnswers } from "./core/complete_search.js";
import { Layout } from "./core/layout.js";
import * as ort from "./runtime/ort.wasm.min.mjs";

let session = null;
let about = null;

const TASKS = {
  /** Loads the network; about: its metadata. */
  async load(given) {
    about = given;
    ort.env.wasm.numThreads = 1; // more would need headers that not every server sends
    ort.env.wasm.wasmPaths = new URL("runtime/", self.location.href).href;
    session = await ort.InferenceSession.create(new URL("model.onnx", self.location.href).href, {
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
  count: (question) => countAnswers(new Layout(about.puzzle.box), question),
  contradiction: (question) => contradiction(new Layout(about.puzzle.box), question),
};

self.addEventListener("message", async ({ data: { number, task, given } }) => {
  try {
    self.postMessage({ number, result: await TASKS[task](...given) });
  } catch (error) {
    self.postMessage({ number, fault: String(error?.message ?? error) });
  }
});
