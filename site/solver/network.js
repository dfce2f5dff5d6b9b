/** The worker, as a function of the page: `await network.ask("run", arrays, boards)`. */
export class Network {
  constructor() {
    this._worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this._waiting = new Map();
    this._number = 0;
    this._worker.addEventListener("message", ({ data: { number, result, fault } }) => {
      const { resolve, reject } = this._waiting.get(number);
      this._waiting.delete(number);
      if (fault === undefined) resolve(result);
      else reject(new Error(fault));
    });
    this._worker.addEventListener("error", (event) => {
      for (const { reject } of this._waiting.values()) reject(new Error(event.message || "a file is missing"));
      this._waiting.clear();
    });
  }

  /** What the worker's task of that name gives. */
  ask(task, ...given) {
    const number = (this._number += 1);
    return new Promise((resolve, reject) => {
      this._waiting.set(number, { resolve, reject });
      this._worker.postMessage({ number, task, given });
    });
  }
}
